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
