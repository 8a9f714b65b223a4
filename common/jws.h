// A signed text: JWS, compact, ES256 alone (RFC 7515). PURE
//
// Three parts with dots between them, each in base64url: a header in JSON, the payload's bytes, the signature. Reading is
// strict, so that one document has one text: base64url is canonical, the header has no key twice, alg is ES256 and there
// is no extension (crit) that would have to be understood.
#ifndef COCO_COMMON_JWS_H
#define COCO_COMMON_JWS_H

#include <jansson.h>

#include "common/buf.h"
#include "common/es256.h"

#define JWS_TEXT_MAX ((size_t)1024 * 1024) // of a whole one: a Secret holds no more
#define JWS_HEADER_MAX ((size_t)16 * 1024)

struct jws {
	json_t *header;     // new
	struct buf payload; // the bytes
	struct str content; // header and payload as they are signed; borrowed of the text
	unsigned char signature[ES256_SIGNATURE_BYTES];
};

// What is there, with no look at who signed it. ret must be zeroed; it is to be released after an error, too.
int jws_read(struct str text, struct jws *ret, struct error *err) __attribute__((warn_unused_result, nonnull));
void jws_release(struct jws *j) __attribute__((nonnull));
#define CLEANUP_JWS CLEANUP(jws_release)

int jws_verify(const struct jws *j, const struct es256_key *key, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Appends the text. header must have what is wanted beside alg, which is set first.
int jws_write(const json_t *header, struct str payload, const struct es256_key *key, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
