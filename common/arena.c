#include "common/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

// Below malloc's mmap threshold, so that a server's next request gets the same memory back without a system call.
#define CHUNK_BYTES ((size_t)32 * 1024)
#define PRINTF_FIRST_TRY 256

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	max_align_t data[];
};

char *arena_text(struct arena *a, size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		abort();
	bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (a->head == NULL || a->head->size - a->used < bytes) {
		size_t chunk = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
		struct arena_chunk *c = xreallocarray(NULL, 1, sizeof(*c) + chunk);
		c->size = chunk;
		c->next = a->head;
		a->head = c;
		a->used = 0;
	}
	char *p = (char *)a->head->data + a->used;
	a->used += bytes;
	return p;
}

void *arena_alloc(struct arena *a, size_t count, size_t size)
{
	size_t bytes = 0;
	if (__builtin_mul_overflow(count, size, &bytes))
		abort();
	return memset(arena_text(a, bytes), 0, bytes);
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n)
{
	size_t bytes = 0;
	for (size_t i = 0; i < n; i++)
		bytes += parts[i].n;
	char *text = arena_text(a, bytes + 1);
	char *to = text;
	for (size_t i = 0; i < n; i++)
		to = parts[i].n > 0 ? mempcpy(to, parts[i].p, parts[i].n) : to;
	*to = '\0';
	return (struct str){text, bytes};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_list again;
	va_start(ap, fmt);
	va_copy(again, ap);
	// Mostly it fits here, and is formatted once.
	char first[PRINTF_FIRST_TRY];
	int n = vsnprintf(first, sizeof(first), fmt, ap);
	va_end(ap);
	size_t bytes = (size_t)(n < 0 ? 0 : n);
	char *text = arena_text(a, bytes + 1);
	text[bytes] = '\0';
	if (bytes < sizeof(first))
		memcpy(text, first, bytes);
	else
		(void)vsnprintf(text, bytes + 1, fmt, again);
	va_end(again);
	return text;
}

void arena_release(struct arena *a)
{
	while (a->head != NULL) {
		struct arena_chunk *next = a->head->next;
		free(a->head);
		a->head = next;
	}
	a->used = 0;
}
