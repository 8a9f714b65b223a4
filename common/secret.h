// Memory that held tokens and keys, wiped before it is freed.
//
// A buffer for secrets gets all its room at once, since growing would leave copies behind that nobody wipes.
#ifndef COCO_COMMON_SECRET_H
#define COCO_COMMON_SECRET_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"

// max is all allocated; keep it small or short-lived.
static inline struct buf secret_buf(size_t max)
{
	struct buf b = BUF_INIT(max);
	buf_expect(&b, max);
	return b;
}

static inline void secret_buf_release(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_release(b);
}
#define CLEANUP_SECRET_BUF CLEANUP(secret_buf_release)

// NULL is fine.
static inline void secret_free(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

static inline void secret_free_slot(char **slot)
{
	secret_free(*slot);
}
#define CLEANUP_SECRET CLEANUP(secret_free_slot)

// Takes a tree that nobody else has a reference to, nor to a part of it. NULL is fine. Wipes its texts, not its keys.
void secret_json_free(json_t *root);

// Takes a map whose members with this prefix are such trees, held by it alone; the others are let go. NULL is fine.
void secret_json_free_members(json_t *map, const char *prefix) __attribute__((nonnull(2)));

static inline void secret_json_free_slot(json_t **slot)
{
	secret_json_free(*slot);
}
#define CLEANUP_SECRET_JSON CLEANUP(secret_json_free_slot)

#endif
