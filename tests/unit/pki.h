// Keys and certificates made at run time, so that no private key is in the tree.
#ifndef COCO_TESTS_UNIT_PKI_H
#define COCO_TESTS_UNIT_PKI_H

#include <time.h>

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

// What a certificate says; what is NULL or 0 is left out, or as pki_make has it.
struct pki_spec {
	const char *name;
	const struct pki *by;    // NULL: self-signed
	EVP_PKEY *key;           // takes; NULL: a new one on P-256
	const char *basic, *san; // basicConstraints, subjectAltName
	const char *eku, *ku;    // extendedKeyUsage, keyUsage
	time_t from, to;         // 0: an hour before now, an hour after
	const EVP_MD *md;        // NULL: SHA-256; with an Ed25519 key, none is used
};

static inline void pki_times(X509 *cert, const struct pki_spec *s)
{
	time_t now = time(NULL);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), s->from != 0 ? s->from : now - 3600));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), s->to != 0 ? s->to : now + 3600));
}

static inline void pki_write(struct pki *p)
{
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_X509(out, p->cert), 1);
	p->cert_pem = pki_text(out);
	out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PrivateKey(out, p->key, NULL, NULL, 0, NULL, NULL), 1);
	p->key_pem = pki_text(out);
}

static inline struct pki pki_issue(const struct pki_spec *s)
{
	static long serial = 1;
	struct pki p = {.cert = X509_new(), .key = s->key != NULL ? s->key : EVP_EC_gen("P-256")};
	assert_true(p.cert != NULL && p.key != NULL);
	X509 *issuer = s->by != NULL ? s->by->cert : p.cert;
	EVP_PKEY *signer = s->by != NULL ? s->by->key : p.key;
	assert_int_equal(X509_set_version(p.cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++), 1);
	pki_times(p.cert, s);
	assert_int_equal(X509_set_pubkey(p.cert, p.key), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_UTF8,
												(const unsigned char *)s->name, -1, -1, 0),
					 1);
	assert_int_equal(X509_set_issuer_name(p.cert, X509_get_subject_name(issuer)), 1);
	pki_extend(p.cert, issuer, NID_subject_key_identifier, "hash");
	const struct {
		int nid;
		const char *value;
	} extensions[] = {{NID_basic_constraints, s->basic},
					  {NID_subject_alt_name, s->san},
					  {NID_ext_key_usage, s->eku},
					  {NID_key_usage, s->ku}};
	for (size_t i = 0; i < COUNT(extensions); i++)
		if (extensions[i].value != NULL)
			pki_extend(p.cert, issuer, extensions[i].nid, extensions[i].value);
	const EVP_MD *md = s->md != NULL ? s->md : EVP_sha256();
	assert_true(X509_sign(p.cert, signer, EVP_PKEY_is_a(signer, "ED25519") == 1 ? NULL : md) > 0);
	pki_write(&p);
	return p;
}

// by NULL: self-signed. ca: it may sign others; else it is good for 127.0.0.1 and localhost, as server and as client.
static inline struct pki pki_make(const char *name, const struct pki *by, bool ca)
{
	return pki_issue(&(struct pki_spec){
		.name = name,
		.by = by,
		.basic = ca ? "critical,CA:TRUE" : "critical,CA:FALSE",
		.san = ca ? NULL : "IP:127.0.0.1,DNS:localhost",
	});
}

static inline void pki_release(struct pki *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	free(p->cert_pem);
	free(p->key_pem);
}

#endif
