// Memory for one piece of work: many small allocations, all freed at once.
#ifndef COCO_COMMON_ARENA_H
#define COCO_COMMON_ARENA_H

#include <stddef.h>

#include "common/cleanup.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *head;
	size_t used; // in head
};

// Zeroed, aligned for any type; lives until arena_release. Never NULL. What bounds it is its caller's input.
void *arena_alloc(struct arena *a, size_t count, size_t size)
	__attribute__((nonnull, warn_unused_result, returns_nonnull));
// Text in the arena, NUL-terminated.
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((nonnull, warn_unused_result, returns_nonnull, format(printf, 2, 3)));
void arena_release(struct arena *a) __attribute__((nonnull));
#define CLEANUP_ARENA CLEANUP(arena_release)

#endif
