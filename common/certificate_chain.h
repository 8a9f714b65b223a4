// Chains of X.509 certificates: what they lead to, and what has to be published of them. PURE
//
// Texts are PEM. Below them, what the certificate_*.c files share of OpenSSL.
#ifndef COCO_COMMON_CERTIFICATE_CHAIN_H
#define COCO_COMMON_CERTIFICATE_CHAIN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/x509.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

// Appends the one certificate that who is to accept `cert` must trust: that of `ca` which it leads to, the root where there
// is one; else, and where ca's p is NULL, the last one of cert itself. -EINVAL: cert can't be read.
int certificate_anchor(struct str cert, struct str ca, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Appends cert, and behind it those of `ca` that lead from its end to a root. Where cert ends in a root itself, or ca leads
// to none (or has p NULL), it is cert alone. -EINVAL: cert can't be read.
int certificate_with_root(struct str cert, struct str ca, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// All certificates in a text, new; NULL where there is none, or more than CERTIFICATE_CHAIN_MAX, or a damaged one.
STACK_OF(X509) * certificates_read(struct str pem) __attribute__((warn_unused_result));
// The same for a text that was put together of several: up to max.
STACK_OF(X509) * certificates_read_many(struct str pem, int max) __attribute__((warn_unused_result));
bool certificate_is_self_signed(X509 *x) __attribute__((nonnull));
// Since 1970; 0 for no time at all.
int64_t certificate_seconds(const ASN1_TIME *t) __attribute__((nonnull));
// Appends it as PEM. -EFBIG: there is no room.
int certificate_append(X509 *x, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));
// Whether it is among them; `all` may be NULL.
bool certificate_is_among(const X509 *x, const STACK_OF(X509) * all) __attribute__((nonnull(1)));

// Reads s, which must outlive it. At most INT_MAX bytes.
static inline BIO *bio_of(struct str s)
{
	BIO *b = s.n <= INT_MAX ? BIO_new_mem_buf(s.p, (int)s.n) : NULL;
	if (b == NULL)
		abort();
	return b;
}

static inline void bio_free_slot(BIO **b)
{
	BIO_free(*b);
}

static inline void x509_stack_free_slot(STACK_OF(X509) * *all)
{
	sk_X509_pop_free(*all, X509_free);
}

#endif
