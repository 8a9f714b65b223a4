// Keys and certificates made at run time, so that no private key is in the tree.
#ifndef COCO_TESTS_UNIT_PKI_H
#define COCO_TESTS_UNIT_PKI_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cases.h"
#include "common/mem.h"

// A certificate with its key.
struct pki {
	X509 *cert;
	EVP_PKEY *key;
	char *cert_pem, *key_pem; // new
};

static inline char *pki_text(BIO *from)
{
	char *data = NULL;
	long n = BIO_get_mem_data(from, &data);
	char *text = xstrndup((struct str){data, (size_t)n});
	BIO_free_all(from);
	return text;
}

static inline void pki_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

// by NULL: self-signed. ca: it may sign others; else it is good for 127.0.0.1 and localhost, as server and as client.
static inline struct pki pki_make(const char *name, const struct pki *by, bool ca)
{
	static long serial = 1;
	struct pki p = {.cert = X509_new(), .key = EVP_EC_gen("P-256")};
	assert_true(p.cert != NULL && p.key != NULL);
	X509 *issuer = by != NULL ? by->cert : p.cert;
	assert_int_equal(X509_set_version(p.cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(p.cert), -3600));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(p.cert), 3600));
	assert_int_equal(X509_set_pubkey(p.cert, p.key), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_UTF8,
												(const unsigned char *)name, -1, -1, 0),
					 1);
	assert_int_equal(X509_set_issuer_name(p.cert, X509_get_subject_name(issuer)), 1);
	pki_extend(p.cert, issuer, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	pki_extend(p.cert, issuer, NID_subject_key_identifier, "hash");
	if (!ca)
		pki_extend(p.cert, issuer, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
	assert_true(X509_sign(p.cert, by != NULL ? by->key : p.key, EVP_sha256()) > 0);
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_X509(out, p.cert), 1);
	p.cert_pem = pki_text(out);
	out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PrivateKey(out, p.key, NULL, NULL, 0, NULL, NULL), 1);
	p.key_pem = pki_text(out);
	return p;
}

static inline void pki_release(struct pki *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	free(p->cert_pem);
	free(p->key_pem);
}

#endif
