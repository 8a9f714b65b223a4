// Base64, gzip and digests. PURE
//
// What fails may have appended a part: its buffer is not to be used then. -EFBIG: more than the buffer's maximum.
// A function without an error says so through buf_ok().
#ifndef COCO_COMMON_ENCODE_H
#define COCO_COMMON_ENCODE_H

#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

// Appends standard base64 (RFC 4648 section 4) with padding and without newlines.
void base64_encode(struct str data, struct buf *out) __attribute__((nonnull));
// Appends the bytes. Strict: standard alphabet, canonical padding, no white space, zero trailing bits.
int base64_decode(struct str text, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));
// The same in the alphabet for URLs and without padding, as JWS has it (RFC 4648 section 5).
void base64url_encode(struct str data, struct buf *out) __attribute__((nonnull));
int base64url_decode(struct str text, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));

// Appends one gzip member, level 9, without time or system in its header: the same bytes everywhere.
int gzip_pack(struct str data, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));
// Appends the content of exactly one gzip member; trailing bytes are an error, and so is more than out->max.
int gzip_unpack(struct str data, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));

#define DIGEST_MAX 64 // bytes, SHA-512

struct digest {
	unsigned char v[DIGEST_MAX];
	size_t n;
};

// algorithm: "sha256", "sha384" or "sha512"; anything else is -EINVAL.
int digest_of(struct str algorithm, struct str data, struct digest *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Appends lower-case hexadecimal.
void hex_encode(const void *data, size_t n, struct buf *out) __attribute__((nonnull));

#endif
