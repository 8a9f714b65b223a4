// Memory for one piece of work: many small allocations, all freed at once.
#ifndef COCO_COMMON_ARENA_H
#define COCO_COMMON_ARENA_H

#include <stddef.h>

#include "common/cleanup.h"
#include "common/str.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *head;
	size_t used; // in head
};

// Zeroed, aligned for any type; lives until arena_release. Never NULL. What bounds it is its caller's input.
void *arena_alloc(struct arena *a, size_t count, size_t size)
	__attribute__((nonnull, warn_unused_result, returns_nonnull));
// The same, but what is in it is anything: for text that is written at once.
char *arena_text(struct arena *a, size_t bytes) __attribute__((nonnull, warn_unused_result, returns_nonnull));
// The parts one after another, NUL-terminated. What is made for every pod is put together by this, not by printf.
struct str arena_join(struct arena *a, const struct str *parts, size_t n) __attribute__((nonnull));
#define ARENA_JOIN(a, ...) \
	arena_join((a), (const struct str[]){__VA_ARGS__}, sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
// Text in the arena, NUL-terminated.
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((nonnull, warn_unused_result, returns_nonnull, format(printf, 2, 3)));
void arena_release(struct arena *a) __attribute__((nonnull));
#define CLEANUP_ARENA CLEANUP(arena_release)

#endif
