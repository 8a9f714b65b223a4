#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define PRINTF_FIRST_TRY 256

void buf_release(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->overflowed = false;
	if (b->p != NULL)
		b->p[0] = '\0';
}

// To hold n more bytes, which are within the maximum.
static void grow(struct buf *b, size_t n)
{
	size_t need = b->n + n + 1;
	if (need <= b->cap)
		return;
	size_t cap = b->cap < 128 ? 128 : b->cap;
	while (cap < need)
		cap *= 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	b->p = xreallocarray(b->p, cap, 1);
	b->p[b->n] = '\0'; // what is reserved may never be committed
	b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t n)
{
	if (b->overflowed || n > b->max || b->n > b->max - n) {
		b->overflowed = true;
		return NULL;
	}
	grow(b, n);
	return b->p + b->n;
}

void buf_expect(struct buf *b, size_t n)
{
	if (n <= b->max && b->n <= b->max - n)
		grow(b, n);
}

void buf_commit(struct buf *b, size_t n)
{
	b->n += n;
	b->p[b->n] = '\0';
}

void buf_add_slowly(struct buf *b, const void *data, size_t n)
{
	char *to = buf_reserve(b, n);
	if (to == NULL)
		return;
	if (n > 0)
		memcpy(to, data, n);
	buf_commit(b, n);
}

struct str int_text(int64_t n, char room[INT_TEXT_MAX])
{
	char *end = room + INT_TEXT_MAX;
	char *p = end;
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (n < 0)
		*--p = '-';
	return (struct str){p, (size_t)(end - p)};
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_list again;
	va_start(ap, fmt);
	va_copy(again, ap);
	// Mostly it fits here, and is formatted once.
	char first[PRINTF_FIRST_TRY];
	int n = vsnprintf(first, sizeof(first), fmt, ap);
	va_end(ap);
	char *to = n >= 0 ? buf_reserve(b, (size_t)n) : NULL;
	if (to != NULL && (size_t)n < sizeof(first))
		memcpy(to, first, (size_t)n);
	else if (to != NULL)
		(void)vsnprintf(to, (size_t)n + 1, fmt, again);
	if (to != NULL)
		buf_commit(b, (size_t)n);
	va_end(again);
}

const char *buf_z(const struct buf *b)
{
	return b->p != NULL ? b->p : "";
}

char *buf_take(struct buf *b)
{
	char *p = b->p != NULL ? b->p : xcalloc(1, 1);
	*b = BUF_INIT(b->max);
	return p;
}
