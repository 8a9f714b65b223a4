// Allocation that ends the program when memory is out: there is nothing better to do for a small server that
// its supervisor starts again, and it keeps every other path free of checks that no test reaches.
#ifndef COCO_COMMON_MEM_H
#define COCO_COMMON_MEM_H

#include <stddef.h>

#include "common/str.h"

// For a program that serves, before any thread: what malloc gives back to the kernel, and when.
void mem_setup_server(void);

// New, zeroed. count * size is checked for overflow.
void *xcalloc(size_t count, size_t size) __attribute__((warn_unused_result, malloc, returns_nonnull));
// New; takes p.
void *xreallocarray(void *p, size_t count, size_t size) __attribute__((warn_unused_result, returns_nonnull));
// New, NUL-terminated.
char *xstrdup(const char *s) __attribute__((warn_unused_result, malloc, returns_nonnull, nonnull));
char *xstrndup(struct str s) __attribute__((warn_unused_result, malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((warn_unused_result, malloc, returns_nonnull, format(printf, 1, 2)));

#endif
