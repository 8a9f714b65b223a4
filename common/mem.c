#include "common/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Left to itself, malloc raises this once a large body was freed, and keeps all such memory from then on.
#define MMAP_THRESHOLD (128 * 1024)
// Bodies come and go in waves, by the dozen. To give a thread's memory back after each, and to take it again page by page,
// costs more than any of it is worth.
#define TRIM_THRESHOLD (1024 * 1024)

void mem_setup_server(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
}

static void *must(void *p)
{
	if (p == NULL) {
		(void)fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	return must(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *xreallocarray(void *p, size_t count, size_t size)
{
	return must(reallocarray(p, count > 0 ? count : 1, size > 0 ? size : 1));
}

char *xstrdup(const char *s)
{
	return must(strdup(s));
}

char *xstrndup(struct str s)
{
	char *copy = xcalloc(s.n + 1, 1);
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : text);
}
