// JSON text into a buffer, piece by piece. PURE
#ifndef COCO_COMMON_JSON_WRITE_H
#define COCO_COMMON_JSON_WRITE_H

#include "common/buf.h"
#include "common/str.h"

// Appends a string literal, quoted and escaped. Bytes that are not UTF-8 become U+FFFD, so that the result is
// always JSON. An absent slice writes "".
void json_write_string(struct buf *out, struct str s) __attribute__((nonnull));

#endif
