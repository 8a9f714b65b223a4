// Keys and certificates that the programs make where none are given, and keys in the form that Trustee reads.
//
// Random numbers come from OpenSSL, everything else from the parameters. A buffer for a private key must be a
// secret_buf() of KEY_PEM_MAX, which the caller wipes. What fails may have appended a part: don't use the buffers then.
#ifndef COCO_COMMON_CERTIFICATE_MAKE_H
#define COCO_COMMON_CERTIFICATE_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

#define KEY_PEM_MAX ((size_t)16 * 1024) // RSA with 16384 bits takes 13 KiB
#define SIGNER_NAME_MAX 64              // an X.509 common name
#define SIGNER_DAYS_MAX 3650

// A key on P-256, the only curve that Trustee signs tokens with, and a self-signed certificate for it: PKCS#8 and X.509
// in PEM. name: its common name, 1 to SIGNER_NAME_MAX bytes of UTF-8. It is valid from five minutes before now, since
// clocks differ, until days (1 to SIGNER_DAYS_MAX) after it.
int certificate_make_signer(const char *name, int64_t now_s, unsigned days, struct buf *key, struct buf *cert,
							struct error *err) __attribute__((warn_unused_result, nonnull));

#define SERVING_BACKDATE_S ((int64_t)60 * 60) // before now, from which on a serving certificate is valid: clocks differ
#define SERVING_LIFE_MAX_S ((int64_t)3650 * 24 * 60 * 60)
#define SERVING_HOSTS_MAX 16

struct serving_request {
	const char *name;         // its common name, and the beginning of the CA's: 1 to 32 bytes of UTF-8
	const char *const *hosts; // DNS names that it is good for; 1 to SERVING_HOSTS_MAX
	size_t nhosts;
	int64_t now_s, life_s; // it and its CA are valid until now + life; 1 to SERVING_LIFE_MAX_S
};

// A server's certificate on P-256 with a CA of its own, all in PEM, the key as PKCS#8. The CA can sign for these names
// only, and its key is wiped before this returns: it never signs anything else.
int certificate_make_serving(const struct serving_request *request, struct buf *key, struct buf *cert, struct buf *ca,
							 struct error *err) __attribute__((warn_unused_result, nonnull));

// An Ed25519 key pair, which Trustee checks the admin's requests with: PKCS#8 and SubjectPublicKeyInfo in PEM.
int certificate_make_admin_keys(struct buf *private_key, struct buf *public_key, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Whether they are such a pair.
bool certificate_is_admin_keys(struct str private_key, struct str public_key);

// Appends the same key as unencrypted PKCS#8 in PEM, its curve by name, without anything that stood around it: the one
// form that all releases of Trustee read. -EINVAL: not an unencrypted private key.
int certificate_key_pkcs8(struct str pem, struct buf *key, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
