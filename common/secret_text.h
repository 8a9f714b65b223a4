// A value of a Secret, wiped on release. PURE
#ifndef COCO_COMMON_SECRET_TEXT_H
#define COCO_COMMON_SECRET_TEXT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/str.h"

struct secret_text {
	struct buf text;
	bool there;
};

// From data, or from stringData, which a file's may have. secret: NULL is fine. false: it is there, and no base64. Any
// earlier content of ret is overwritten, not released.
bool secret_text_read(const json_t *secret, const char *key, struct secret_text *ret)
	__attribute__((warn_unused_result, nonnull(2, 3)));
void secret_text_release(struct secret_text *t) __attribute__((nonnull));
#define CLEANUP_SECRET_TEXT CLEANUP(secret_text_release)

static inline struct str secret_text_str(const struct secret_text *t)
{
	return t->there ? buf_str(&t->text) : (struct str){0};
}

#endif
