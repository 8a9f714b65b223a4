// A growing byte buffer with a maximum.
//
// Invariant: p is always a NUL-terminated string of n bytes, even when empty. A buffer that would pass its
// maximum stops growing and remembers it: append freely, then ask buf_ok() once, before using the content.
#ifndef COCO_COMMON_BUF_H
#define COCO_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

// What buf_add does where the buffer must grow, or can't.
void buf_add_slowly(struct buf *b, const void *data, size_t n) __attribute__((nonnull(1)));

// Inline, as the three below: an answer is hundreds of short pieces.
static inline void buf_add(struct buf *b, const void *data, size_t n)
{
	if (n == 0 || b->overflowed || b->cap - b->n <= n) {
		buf_add_slowly(b, data, n);
		return;
	}
	memcpy(b->p + b->n, data, n);
	b->n += n;
	b->p[b->n] = '\0';
}

static inline void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

static inline void buf_addz(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

static inline void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((nonnull, format(printf, 2, 3)));
// n more bytes will probably come: one growth instead of many. Beyond the maximum, nothing happens.
void buf_expect(struct buf *b, size_t n) __attribute__((nonnull));
// Room for n more bytes; returns where they go, NULL when that passes the maximum. Pair it with buf_commit.
char *buf_reserve(struct buf *b, size_t n) __attribute__((nonnull, warn_unused_result));
void buf_commit(struct buf *b, size_t n) __attribute__((nonnull));

static inline bool buf_ok(const struct buf *b)
{
	return !b->overflowed;
}

#define INT_TEXT_MAX 20 // digits and sign

// A number as text, in `room`. For the hot path: printf takes ten times as long.
struct str int_text(int64_t n, char room[INT_TEXT_MAX]) __attribute__((nonnull));

// Borrowed until the next change. Never NULL.
const char *buf_z(const struct buf *b) __attribute__((nonnull, returns_nonnull));

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p != NULL ? b->p : "", b->n};
}

// New: the caller owns the text; the buffer is empty afterwards.
char *buf_take(struct buf *b) __attribute__((nonnull, warn_unused_result, returns_nonnull));

#endif
