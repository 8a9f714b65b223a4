// Sealed secrets: a pointer to a secret, signed, that travels as a Kubernetes Secret, and that a confidential guest
// replaces by the secret itself. PURE
//
// The text is "sealed." and a JWS (common/jws) whose header has a kid: the place where the guest finds the public key, a
// JWK. An unsigned one has the same four parts, and only the third, the payload, says something: guests take it only where
// their configuration has skip_sealed_secret_verification.
//
// What the guest's Confidential Data Hub does was read in guest-components: confidential-data-hub, hub/src/secret and
// kms/src/plugins.
#ifndef COCO_COMMON_SEALED_H
#define COCO_COMMON_SEALED_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/es256.h"
#include "common/findings.h"
#include "common/jws.h"

#define SEALED_PREFIX "sealed."
#define SEALED_TEXT_MAX (JWS_TEXT_MAX + sizeof(SEALED_PREFIX))

// A vault secret's payload; new. settings, annotations: objects, or NULL for empty ones.
json_t *sealed_vault(const char *provider, const char *name, const json_t *settings, const json_t *annotations)
	__attribute__((warn_unused_result, nonnull(1, 2), returns_nonnull));

// What the guest would refuse in a payload (an error), or what looks wrong (a warning).
void sealed_check(const json_t *payload, struct findings *ret) __attribute__((nonnull));
// The same for the name of the key.
void sealed_check_kid(const char *kid, struct findings *ret) __attribute__((nonnull));

// Appends the text. key and kid: NULL for an unsigned one.
int sealed_write(const json_t *payload, const char *kid, const struct es256_key *key, struct buf *out,
				 struct error *err) __attribute__((warn_unused_result, nonnull(1, 4, 5)));

struct sealed {
	json_t *payload; // new, an object; to be checked
	char *kid;       // new; NULL where no signature was checked
};

// key: what must have signed it; NULL reads signed and unsigned ones alike, and checks no signature. ret must be zeroed.
int sealed_read(struct str text, const struct es256_key *key, struct sealed *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(3, 4)));
void sealed_release(struct sealed *s) __attribute__((nonnull));
#define CLEANUP_SEALED CLEANUP(sealed_release)

#endif
