#include "common/certificate_make.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/certificate_chain.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/kube_name.h"
#include "common/pem_key.h"

#define DAY_S ((int64_t)24 * 60 * 60)
#define SKEW_S ((int64_t)5 * 60)
#define SERIAL_BITS 127 // positive, and never twice
#define SERVING_NAME_MAX 32
#define SERVING_EXTENSION_MAX ((size_t)SERVING_HOSTS_MAX * 300)

static void free_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void free_cert(X509 **cert)
{
	X509_free(*cert);
}

static int openssl_error(struct error *err, const char *what)
{
	char why[200] = "no reason given";
	unsigned long code = ERR_peek_error();
	if (code != 0)
		ERR_error_string_n(code, why, sizeof(why));
	ERR_clear_error();
	return error_set(err, EIO, "OpenSSL can't %s: %s; see whether its configuration or FIPS mode forbids it", what,
					 why);
}

// ---- PEM. OpenSSL wipes what its memory BIOs held.

// All of a BIO into a buffer.
static int take(BIO *from, struct buf *to, struct error *err)
{
	char *data = NULL;
	long n = BIO_get_mem_data(from, &data);
	if (n <= 0)
		return openssl_error(err, "write PEM");
	buf_add(to, data, (size_t)n);
	return buf_ok(to) ? 0 : error_set(err, EFBIG, "the PEM text has more than %zu bytes: use a smaller key", to->max);
}

static int write_private(EVP_PKEY *key, struct buf *to, struct error *err)
{
	BIO *out CLEANUP(bio_free_slot) = BIO_new(BIO_s_mem());
	if (out == NULL || PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
		return openssl_error(err, "write the private key");
	return take(out, to, err);
}

static int write_public(EVP_PKEY *key, struct buf *to, struct error *err)
{
	BIO *out CLEANUP(bio_free_slot) = BIO_new(BIO_s_mem());
	if (out == NULL || PEM_write_bio_PUBKEY(out, key) != 1)
		return openssl_error(err, "write the public key");
	return take(out, to, err);
}

static int write_cert(X509 *cert, struct buf *to, struct error *err)
{
	BIO *out CLEANUP(bio_free_slot) = BIO_new(BIO_s_mem());
	if (out == NULL || PEM_write_bio_X509(out, cert) != 1)
		return openssl_error(err, "write the certificate");
	return take(out, to, err);
}

// ---- The signer

static bool set_serial(X509 *cert)
{
	BIGNUM *serial = BN_new();
	bool ok = serial != NULL && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
			  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
	BN_free(serial);
	return ok;
}

static bool set_name(X509 *cert, X509 *issuer, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1 &&
		   X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1;
}

static bool extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

// All but what a certificate is for. issuer: itself where it is self-signed.
static bool fill(X509 *cert, EVP_PKEY *key, X509 *issuer, const char *name, int64_t from_s, int64_t to_s)
{
	return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
		   ASN1_TIME_set(X509_getm_notBefore(cert), from_s) != NULL &&
		   ASN1_TIME_set(X509_getm_notAfter(cert), to_s) != NULL && X509_set_pubkey(cert, key) == 1 &&
		   set_name(cert, issuer, name) && extend(cert, issuer, NID_subject_key_identifier, "hash");
}

// No keyUsage: OpenSSL before 3.0 takes a certificate that has one without keyCertSign for no root of its own.
static bool sign_signer(X509 *cert, EVP_PKEY *key)
{
	return extend(cert, cert, NID_basic_constraints, "critical,CA:FALSE") && X509_sign(cert, key, EVP_sha256()) > 0;
}

int certificate_make_signer(const char *name, int64_t now_s, unsigned days, struct buf *key, struct buf *cert,
							struct error *err)
{
	size_t n = strlen(name);
	if (n == 0 || n > SIGNER_NAME_MAX)
		return error_set(err, EINVAL, "the token signer's name \"%.80s\" has %zu bytes: use 1 to %d", name, n,
						 SIGNER_NAME_MAX);
	if (days == 0 || days > SIGNER_DAYS_MAX)
		return error_set(err, EINVAL, "the token signer's lifetime of %u days can't be: use 1 to %d", days,
						 SIGNER_DAYS_MAX);
	EVP_PKEY *k CLEANUP(free_key) = EVP_EC_gen("P-256");
	X509 *x CLEANUP(free_cert) = X509_new();
	if (k == NULL || x == NULL)
		return openssl_error(err, "make a key on P-256");
	if (!fill(x, k, x, name, now_s - SKEW_S, now_s + days * DAY_S) || !sign_signer(x, k))
		return openssl_error(err, "make the token signer's certificate");
	int r = write_private(k, key, err);
	return r < 0 ? r : write_cert(x, cert, err);
}

// ---- A server, and the CA that signs it alone

// "PREFIXhost,PREFIXhost", as extensions are written.
static void list_hosts(const struct serving_request *r, const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < r->nhosts; i++)
		buf_addf(out, "%s%s%s", i > 0 ? "," : "", prefix, r->hosts[i]);
}

// A distinct name for each, as several are trusted together: who looks at a bundle can tell them apart.
static bool make_ca(const struct serving_request *r, X509 *ca, EVP_PKEY *key)
{
	CLEANUP_BUF struct buf names = BUF_INIT(SERVING_EXTENSION_MAX);
	char since[CLOCK_TEXT_MAX];
	char name[SIGNER_NAME_MAX + 1];
	clock_text(r->now_s * 1000 * 1000, 0, since);
	(void)snprintf(name, sizeof(name), "%s CA %s", r->name, since);
	buf_addz(&names, "critical,");
	list_hosts(r, "permitted;DNS:", &names);
	return buf_ok(&names) && fill(ca, key, ca, name, r->now_s - SERVING_BACKDATE_S, r->now_s + r->life_s) &&
		   extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		   extend(ca, ca, NID_key_usage, "critical,keyCertSign") &&
		   extend(ca, ca, NID_name_constraints, buf_z(&names)) && X509_sign(ca, key, EVP_sha256()) > 0;
}

static bool make_server(const struct serving_request *r, X509 *cert, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
	CLEANUP_BUF struct buf names = BUF_INIT(SERVING_EXTENSION_MAX);
	list_hosts(r, "DNS:", &names);
	return buf_ok(&names) && fill(cert, key, ca, r->name, r->now_s - SERVING_BACKDATE_S, r->now_s + r->life_s) &&
		   extend(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
		   extend(cert, ca, NID_key_usage, "critical,digitalSignature") &&
		   extend(cert, ca, NID_ext_key_usage, "serverAuth") &&
		   extend(cert, ca, NID_authority_key_identifier, "keyid:always") &&
		   extend(cert, ca, NID_subject_alt_name, buf_z(&names)) && X509_sign(cert, ca_key, EVP_sha256()) > 0;
}

static int check_request(const struct serving_request *r, struct error *err)
{
	size_t n = strlen(r->name);
	if (n == 0 || n > SERVING_NAME_MAX)
		return error_set(err, EINVAL, "the server's name \"%.80s\" has %zu bytes: use 1 to %d", r->name, n,
						 SERVING_NAME_MAX);
	if (r->life_s < 1 || r->life_s > SERVING_LIFE_MAX_S)
		return error_set(err, EINVAL, "a serving certificate can't live for %lld seconds: use 1 to %lld",
						 (long long)r->life_s, (long long)SERVING_LIFE_MAX_S);
	if (r->nhosts == 0 || r->nhosts > SERVING_HOSTS_MAX)
		return error_set(err, EINVAL, "a serving certificate can't be for %zu hosts: use 1 to %d", r->nhosts,
						 SERVING_HOSTS_MAX);
	for (size_t i = 0; i < r->nhosts; i++)
		if (!is_subdomain(r->hosts[i]))
			return error_set(err, EINVAL, "a serving certificate can't be for \"%.253s\", which is no DNS name",
							 r->hosts[i]);
	return 0;
}

int certificate_make_serving(const struct serving_request *request, struct buf *key, struct buf *cert, struct buf *ca,
							 struct error *err)
{
	int rc = check_request(request, err);
	if (rc < 0)
		return rc;
	EVP_PKEY *ca_key CLEANUP(free_key) = EVP_EC_gen("P-256");
	EVP_PKEY *k CLEANUP(free_key) = EVP_EC_gen("P-256");
	X509 *a CLEANUP(free_cert) = X509_new();
	X509 *x CLEANUP(free_cert) = X509_new();
	if (ca_key == NULL || k == NULL || a == NULL || x == NULL)
		return openssl_error(err, "make a key on P-256");
	if (!make_ca(request, a, ca_key) || !make_server(request, x, k, a, ca_key))
		return openssl_error(err, "make a serving certificate");
	rc = write_private(k, key, err);
	if (rc == 0)
		rc = write_cert(x, cert, err);
	return rc < 0 ? rc : write_cert(a, ca, err);
}

// ---- The admin, and any key

int certificate_make_admin_keys(struct buf *private_key, struct buf *public_key, struct error *err)
{
	EVP_PKEY *k CLEANUP(free_key) = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (k == NULL)
		return openssl_error(err, "make an Ed25519 key");
	int r = write_private(k, private_key, err);
	return r < 0 ? r : write_public(k, public_key, err);
}

static EVP_PKEY *read_public(struct str pem)
{
	BIO *in CLEANUP(bio_free_slot) = pem.p != NULL && pem.n <= INT_MAX ? bio_of(pem) : NULL;
	EVP_PKEY *k = in != NULL ? PEM_read_bio_PUBKEY(in, NULL, NULL, NULL) : NULL;
	ERR_clear_error();
	return k;
}

// New; NULL where there is none.
static EVP_PKEY *read_private(struct str pem)
{
	BIO *in CLEANUP(bio_free_slot) = pem.p != NULL && pem.n <= INT_MAX ? bio_of(pem) : NULL;
	bool encrypted = false;
	EVP_PKEY *k = in != NULL ? pem_key_read(in, &encrypted) : NULL;
	ERR_clear_error();
	return k;
}

bool certificate_is_admin_keys(struct str private_key, struct str public_key)
{
	EVP_PKEY *k CLEANUP(free_key) = read_private(private_key);
	EVP_PKEY *of CLEANUP(free_key) = read_public(public_key);
	return k != NULL && of != NULL && EVP_PKEY_is_a(k, "ED25519") == 1 && EVP_PKEY_eq(k, of) == 1;
}

int certificate_key_pkcs8(struct str pem, struct buf *key, struct error *err)
{
	EVP_PKEY *k CLEANUP(free_key) = read_private(pem);
	if (k == NULL)
		return error_set(
			err, EINVAL,
			"the private key can't be read: it must be PEM (-----BEGIN PRIVATE KEY-----) without a password");
	if (EVP_PKEY_is_a(k, "EC") == 1 &&
		EVP_PKEY_set_utf8_string_param(k, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_GROUP) != 1)
		return openssl_error(err, "name the key's curve");
	return write_private(k, key, err);
}
