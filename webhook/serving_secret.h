// The Secret with the serving certificates, read and judged. PURE
#ifndef COCO_WEBHOOK_SERVING_SECRET_H
#define COCO_WEBHOOK_SERVING_SECRET_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "common/buf.h"
#include "common/certificate.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/secret_text.h"

#define SERVING_ID_MAX 65 // a SHA-256 in hexadecimal, or ""
#define SERVING_BUNDLE_MAX ((size_t)64 * 1024)
#define SERVING_BUNDLE_CERTIFICATES (3 * CERTIFICATE_CHAIN_MAX) // old.ca.crt, ca.crt and next.ca.crt

#define SERVING_CERT_KEY "tls.crt"
#define SERVING_KEY_KEY "tls.key"
#define SERVING_CA_KEY "ca.crt"
#define SERVING_NEXT "next."
#define SERVING_OLD_CA_KEY "old.ca.crt"

enum serving_grade {
	PAIR_ABSENT,
	PAIR_DAMAGED, // not parsable, of two pairs, for other names, not by its CA: trouble says which
	PAIR_NOT_YET, // valid
	PAIR_EXPIRED,
	PAIR_GOOD,
};

struct serving_held {
	struct secret_text cert, key;
	STACK_OF(X509) * ca; // NULL: none that can be read
	enum serving_grade grade;
	const char *trouble; // static: a name of certificate.h's problems, or the like
	int64_t not_before_s, not_after_s;
	char id[SERVING_ID_MAX]; // of cert
};

struct serving_secret {
	struct serving_held current, next;
	STACK_OF(X509) * old; // NULL: none
};

// secret: NULL is fine. Never fails; any earlier content of ret is overwritten, not released.
void serving_secret_read(const json_t *secret, const char *const *hosts, size_t nhosts, int64_t now_s,
						 struct serving_secret *ret) __attribute__((nonnull(2, 5)));
void serving_secret_release(struct serving_secret *s) __attribute__((nonnull));
#define CLEANUP_SERVING_SECRET CLEANUP(serving_secret_release)

// Appends the bundle: what the Secret says, whatever time it is, so that it is the same for all. -EFBIG: too large.
int serving_secret_bundle(const struct serving_secret *s, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Appends what is to be old.ca.crt once the next pair is the one in use.
int serving_secret_old_of_next(const struct serving_secret *s, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// How long a pair was made to live, in seconds.
int64_t serving_held_life_s(const struct serving_held *h) __attribute__((nonnull));
// From when on it is to be followed by another.
int64_t serving_held_due_s(const struct serving_held *h) __attribute__((nonnull));

#endif
