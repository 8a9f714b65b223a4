#include "common/certificate_chain.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/certificate.h"
#include "common/cleanup.h"

#define DAY_S ((int64_t)24 * 60 * 60)

STACK_OF(X509) * certificates_read(struct str pem)
{
	return certificates_read_many(pem, CERTIFICATE_CHAIN_MAX);
}

STACK_OF(X509) * certificates_read_many(struct str pem, int max)
{
	BIO *in CLEANUP(bio_free_slot) = bio_of(pem);
	STACK_OF(X509) *all = sk_X509_new_null();
	if (all == NULL)
		abort();
	ERR_clear_error();
	for (X509 *x; (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL;)
		if (sk_X509_push(all, x) == 0)
			abort();
	bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; // so it ends
	ERR_clear_error();
	if (whole && sk_X509_num(all) > 0 && sk_X509_num(all) <= max)
		return all;
	sk_X509_pop_free(all, X509_free);
	return NULL;
}

int64_t certificate_seconds(const ASN1_TIME *t)
{
	int days = 0;
	int rest = 0;
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	if (epoch == NULL)
		abort();
	bool ok = ASN1_TIME_diff(&days, &rest, epoch, t) == 1;
	ASN1_TIME_free(epoch);
	return ok ? days * DAY_S + rest : 0;
}

bool certificate_is_self_signed(X509 *x)
{
	return X509_self_signed(x, 1) == 1;
}

static X509 *last_of(const STACK_OF(X509) * all)
{
	return sk_X509_value(all, sk_X509_num(all) - 1);
}

int certificate_append(X509 *x, struct buf *out, struct error *err)
{
	BIO *text CLEANUP(bio_free_slot) = BIO_new(BIO_s_mem());
	if (text == NULL || PEM_write_bio_X509(text, x) != 1)
		abort();
	char *data = NULL;
	long n = BIO_get_mem_data(text, &data);
	buf_add(out, data, (size_t)n);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "the certificates have more than %zu bytes; use fewer", out->max);
}

// From the first certificate of `chain` to one of `ca`, new; NULL where it doesn't lead there. Time doesn't count.
static STACK_OF(X509) * way_to(STACK_OF(X509) * chain, const STACK_OF(X509) * ca, unsigned long flags)
{
	STACK_OF(X509) *way = NULL;
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (store == NULL || ctx == NULL)
		abort();
	for (int i = 0; i < sk_X509_num(ca); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(ca, i)) != 1)
			abort();
	if (X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) != 1)
		abort();
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME | flags);
	if (X509_verify_cert(ctx) == 1)
		way = X509_STORE_CTX_get1_chain(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return way;
}

static STACK_OF(X509) * read_or_fail(struct str pem, struct error *err)
{
	STACK_OF(X509) *all = pem.p != NULL && pem.n <= CERTIFICATE_PEM_MAX ? certificates_read(pem) : NULL;
	if (all == NULL)
		(void)error_set(err, EINVAL, "the certificate can't be read: it must be PEM (-----BEGIN CERTIFICATE-----)");
	return all;
}

int certificate_anchor(struct str cert, struct str ca, struct buf *out, struct error *err)
{
	STACK_OF(X509) * chain CLEANUP(x509_stack_free_slot) = read_or_fail(cert, err);
	STACK_OF(X509) * trusted CLEANUP(x509_stack_free_slot) = ca.p != NULL ? certificates_read(ca) : NULL;
	if (chain == NULL)
		return -err->code;
	if (trusted == NULL)
		return certificate_append(last_of(chain), out, err);
	STACK_OF(X509) * way CLEANUP(x509_stack_free_slot) = way_to(chain, trusted, 0);
	// Not every client takes a certificate for trusted that isn't a root: only where ca has no root.
	if (way == NULL)
		way = way_to(chain, trusted, X509_V_FLAG_PARTIAL_CHAIN);
	return certificate_append(last_of(way != NULL ? way : chain), out, err);
}

bool certificate_is_among(const X509 *x, const STACK_OF(X509) * all)
{
	for (int i = 0; i < sk_X509_num(all); i++)
		if (X509_cmp(sk_X509_value(all, i), x) == 0)
			return true;
	return false;
}

int certificate_with_root(struct str cert, struct str ca, struct buf *out, struct error *err)
{
	STACK_OF(X509) * chain CLEANUP(x509_stack_free_slot) = read_or_fail(cert, err);
	if (chain == NULL)
		return -err->code;
	bool whole = certificate_is_self_signed(last_of(chain));
	STACK_OF(X509) * trusted CLEANUP(x509_stack_free_slot) = ca.p != NULL && !whole ? certificates_read(ca) : NULL;
	STACK_OF(X509) * way CLEANUP(x509_stack_free_slot) = trusted != NULL ? way_to(chain, trusted, 0) : NULL;
	buf_add_str(out, cert);
	if (way != NULL && cert.n > 0 && cert.p[cert.n - 1] != '\n')
		buf_addc(out, '\n');
	for (int i = 0; i < sk_X509_num(way); i++) {
		X509 *x = sk_X509_value(way, i);
		int rc = certificate_is_among(x, chain) ? 0 : certificate_append(x, out, err);
		if (rc < 0)
			return rc;
	}
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "the certificates have more than %zu bytes; use fewer", out->max);
}
