// A TLS certificate chain and its private key: loaded, checked, shared by reference count.
//
// A pair is immutable, so any thread may use one that it has a reference to. GnuTLS neither copies nor frees what a
// handshake is answered with: who answers one keeps a reference until the session is gone.
#ifndef COCO_COMMON_TLS_PAIR_H
#define COCO_COMMON_TLS_PAIR_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "common/error.h"
#include "common/str.h"

#define TLS_PEM_MAX ((size_t)1024 * 1024) // of each of the two texts
#define TLS_CHAIN_MAX 16                  // certificates in a chain; GnuTLS sorts no more

struct tls_pair;

// cert: PEM, the server's certificate first, then the issuers in any order. key: PEM without a password; RSA, ECDSA
// or Ed25519. New, with one reference; NULL on error: one of the two can't be read, or the key isn't the certificate's.
// Whether the certificate is still valid, and for which names, is for the peers to judge. Neither text is kept.
struct tls_pair *tls_pair_load(struct str cert, struct str key, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Another reference to the same pair.
struct tls_pair *tls_pair_ref(struct tls_pair *pair) __attribute__((nonnull, returns_nonnull, warn_unused_result));
// Drops a reference, the last one frees the pair. NULL is fine.
void tls_pair_unref(struct tls_pair *pair);

// The pair as GnuTLS wants it; borrowed for as long as the reference.
void tls_pair_parts(const struct tls_pair *pair, gnutls_pcert_st **ret_chain, unsigned *ret_n,
					gnutls_privkey_t *ret_key) __attribute__((nonnull));

#endif
