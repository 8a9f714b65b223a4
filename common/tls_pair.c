#include "common/tls_pair.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"

struct tls_pair {
	_Atomic unsigned refs;
	gnutls_pcert_st *chain;
	unsigned n;
	gnutls_privkey_t key;
};

static void pair_free(struct tls_pair *pair)
{
	for (unsigned i = 0; i < pair->n; i++)
		gnutls_pcert_deinit(&pair->chain[i]);
	free(pair->chain);
	if (pair->key != NULL)
		gnutls_privkey_deinit(pair->key);
	free(pair);
}

struct tls_pair *tls_pair_ref(struct tls_pair *pair)
{
	atomic_fetch_add_explicit(&pair->refs, 1, memory_order_relaxed);
	return pair;
}

void tls_pair_unref(struct tls_pair *pair)
{
	if (pair != NULL && atomic_fetch_sub_explicit(&pair->refs, 1, memory_order_acq_rel) == 1)
		pair_free(pair);
}

static void cleanup_pair(struct tls_pair **pair)
{
	tls_pair_unref(*pair);
}

void tls_pair_parts(const struct tls_pair *pair, gnutls_pcert_st **ret_chain, unsigned *ret_n,
					gnutls_privkey_t *ret_key)
{
	*ret_chain = pair->chain;
	*ret_n = pair->n;
	*ret_key = pair->key;
}

struct certificates {
	gnutls_x509_crt_t *list;
	unsigned n;
};

static void certificates_release(struct certificates *c)
{
	for (unsigned i = 0; i < c->n; i++)
		gnutls_x509_crt_deinit(c->list[i]);
	gnutls_free(c->list);
}

static void cleanup_pubkey(gnutls_pubkey_t *k)
{
	if (*k != NULL)
		gnutls_pubkey_deinit(*k);
}

static gnutls_datum_t datum(struct str s)
{
	// GnuTLS takes a pointer to non-const data that it only reads.
	union {
		const char *in;
		unsigned char *out;
	} p = {.in = s.p};
	return (gnutls_datum_t){p.out, (unsigned)s.n};
}

static int check_pem_size(struct str pem, const char *what, struct error *err)
{
	if (pem.p == NULL || pem.n == 0)
		return error_set(err, EINVAL, "the %s is empty: give it as PEM", what);
	if (pem.n > TLS_PEM_MAX)
		return error_set(err, EINVAL, "the %s has %zu bytes: at most 1 MiB is read", what, pem.n);
	return 0;
}

static int check_algorithm(gnutls_x509_crt_t leaf, struct error *err)
{
	int algorithm = gnutls_x509_crt_get_pk_algorithm(leaf, NULL);
	switch (algorithm) {
	case GNUTLS_PK_RSA:
	case GNUTLS_PK_RSA_PSS:
	case GNUTLS_PK_ECDSA:
	case GNUTLS_PK_EDDSA_ED25519:
		return 0;
	default:
		return error_set(err, EINVAL, "the certificate has a key of type %s: use RSA, ECDSA (P-256, P-384) or Ed25519",
						 algorithm >= 0 ? gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm) : "unknown");
	}
}

static int load_chain(struct tls_pair *pair, struct certificates *certs, struct str pem, struct error *err)
{
	int r = check_pem_size(pem, "certificate", err);
	if (r < 0)
		return r;
	gnutls_datum_t d = datum(pem);
	r = gnutls_x509_crt_list_import2(&certs->list, &certs->n, &d, GNUTLS_X509_FMT_PEM, 0);
	if (r < 0) {
		*certs = (struct certificates){0};
		(void)error_set(err, EINVAL, "the certificate can't be read: %s: it must be PEM, server's first",
						gnutls_strerror(r));
		return -EINVAL;
	}
	if (certs->n == 0 || certs->n > TLS_CHAIN_MAX)
		return error_set(err, EINVAL, "the certificate chain has %u certificates: 1 to %d can be used", certs->n,
						 TLS_CHAIN_MAX);
	r = check_algorithm(certs->list[0], err);
	if (r < 0)
		return r;
	pair->chain = xcalloc(certs->n, sizeof(*pair->chain));
	unsigned n = certs->n;
	r = gnutls_pcert_import_x509_list(pair->chain, certs->list, &n, GNUTLS_X509_CRT_LIST_SORT);
	if (r < 0)
		return error_set(err, EINVAL,
						 "the certificate chain can't be used: %s: put the server's certificate "
						 "first, then each one's issuer",
						 gnutls_strerror(r));
	pair->n = n;
	return 0;
}

static int load_key(struct tls_pair *pair, struct str pem, struct error *err)
{
	if (check_pem_size(pem, "private key", err) < 0)
		return -err->code;
	int r = gnutls_privkey_init(&pair->key);
	if (r < 0) {
		pair->key = NULL;
		return error_set(err, ENOMEM, "no memory for the private key: %s", gnutls_strerror(r));
	}
	gnutls_datum_t d = datum(pem);
	r = gnutls_privkey_import_x509_raw(pair->key, &d, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r == GNUTLS_E_DECRYPTION_FAILED)
		return error_set(err, EINVAL, "the private key is encrypted: give it without a password");
	if (r < 0)
		return error_set(err, EINVAL,
						 "the private key can't be read: %s: it must be PEM (PKCS#8, or EC or RSA "
						 "PRIVATE KEY)",
						 gnutls_strerror(r));
	return 0;
}

static int check_match(const struct tls_pair *pair, gnutls_x509_crt_t leaf, struct error *err)
{
	unsigned char of_cert[32];
	unsigned char of_key[32];
	size_t ncert = sizeof(of_cert);
	size_t nkey = sizeof(of_key);
	gnutls_pubkey_t pub CLEANUP(cleanup_pubkey) = NULL;
	int r = gnutls_pubkey_init(&pub);
	if (r >= 0)
		r = gnutls_pubkey_import_privkey(pub, pair->key, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, of_key, &nkey);
	if (r >= 0)
		r = gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, of_cert, &ncert);
	if (r < 0)
		return error_set(err, EINVAL, "the private key can't be compared with the certificate: %s: make a new pair",
						 gnutls_strerror(r));
	if (nkey != ncert || memcmp(of_key, of_cert, nkey) != 0)
		return error_set(err, EINVAL, "the private key isn't the certificate's: replace both together");
	return 0;
}

struct tls_pair *tls_pair_load(struct str cert, struct str key, struct error *err)
{
	struct tls_pair *pair CLEANUP(cleanup_pair) = xcalloc(1, sizeof(*pair));
	pair->refs = 1;
	struct certificates certs CLEANUP(certificates_release) = {0};
	// The key is read from the caller's memory: GnuTLS wipes what it decodes on the way, and no copy is ours.
	if (load_chain(pair, &certs, cert, err) < 0 || load_key(pair, key, err) < 0 ||
		check_match(pair, certs.list[0], err) < 0)
		return NULL;
	return TAKE_PTR(pair);
}
