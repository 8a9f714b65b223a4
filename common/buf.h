// A growing byte buffer with a maximum.
//
// Invariant: p is always a NUL-terminated string of n bytes, even when empty. A buffer that would pass its
// maximum stops growing and remembers it: append freely, then ask buf_ok() once, before using the content.
#ifndef COCO_COMMON_BUF_H
#define COCO_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/str.h"

struct buf {
	char *p;
	size_t n;
	size_t cap;
	size_t max;
	bool overflowed;
};

// max: the most bytes that it may hold.
#define BUF_INIT(limit) ((struct buf){.max = (limit)})

void buf_release(struct buf *b) __attribute__((nonnull));
#define CLEANUP_BUF CLEANUP(buf_release)
// Empties it, and forgets an overflow; keeps the memory.
void buf_clear(struct buf *b) __attribute__((nonnull));

void buf_add(struct buf *b, const void *data, size_t n) __attribute__((nonnull(1)));
void buf_add_str(struct buf *b, struct str s) __attribute__((nonnull));
void buf_addz(struct buf *b, const char *z) __attribute__((nonnull));
void buf_addc(struct buf *b, char c) __attribute__((nonnull));
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((nonnull, format(printf, 2, 3)));
// Room for n more bytes; returns where they go, NULL when that passes the maximum. Pair it with buf_commit.
char *buf_reserve(struct buf *b, size_t n) __attribute__((nonnull, warn_unused_result));
void buf_commit(struct buf *b, size_t n) __attribute__((nonnull));

static inline bool buf_ok(const struct buf *b)
{
	return !b->overflowed;
}

// Borrowed until the next change. Never NULL.
const char *buf_z(const struct buf *b) __attribute__((nonnull, returns_nonnull));

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p != NULL ? b->p : "", b->n};
}

// New: the caller owns the text; the buffer is empty afterwards.
char *buf_take(struct buf *b) __attribute__((nonnull, warn_unused_result, returns_nonnull));

#endif
