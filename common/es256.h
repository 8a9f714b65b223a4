// ES256: ECDSA on P-256 with SHA-256 as JWS has it (RFC 7518), and its keys as PEM and as JWK. PURE
//
// Nothing of a private key goes into a message. OpenSSL wipes what it holds of one; the text is the caller's to wipe.
#ifndef COCO_COMMON_ES256_H
#define COCO_COMMON_ES256_H

#include <jansson.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/str.h"

#define ES256_SIGNATURE_BYTES 64          // r and s, big-endian, 32 bytes each: not DER
#define ES256_KEY_MAX ((size_t)64 * 1024) // bytes of a key's text

struct es256_key;

enum es256_part {
	ES256_PUBLIC,  // a public key, a certificate, or a private key, whose public half is taken
	ES256_PRIVATE, // a private key without a password
};

// text: PEM, or one JWK. New; NULL on error: it can't be read, or is no key on P-256.
struct es256_key *es256_key_read(struct str text, enum es256_part part, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// A key of a JWK that has been decoded, the same way.
struct es256_key *es256_key_from_jwk(const json_t *jwk, enum es256_part part, struct error *err)
	__attribute__((warn_unused_result, nonnull(3)));
// NULL is fine.
void es256_key_free(struct es256_key *key);

static inline void es256_key_free_slot(struct es256_key **slot)
{
	es256_key_free(*slot);
}
#define CLEANUP_ES256_KEY CLEANUP(es256_key_free_slot)

// The public half as a JWK, with this kid unless it is NULL; new, NULL on error.
json_t *es256_key_jwk(const struct es256_key *key, const char *kid, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 3)));

// The key must be private.
int es256_sign(const struct es256_key *key, struct str data, unsigned char ret[ES256_SIGNATURE_BYTES],
			   struct error *err) __attribute__((warn_unused_result, nonnull));
// 0, or -EBADMSG where the signature is of another key or of other data.
int es256_verify(const struct es256_key *key, struct str data, const unsigned char signature[ES256_SIGNATURE_BYTES],
				 struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
