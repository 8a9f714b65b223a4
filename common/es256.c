#include "common/es256.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "common/encode.h"
#include "common/json_made.h"
#include "common/mem.h"
#include "common/pem_key.h"
#include "common/secret.h"

#define COORDINATE 32
#define POINT (1 + 2 * COORDINATE) // uncompressed: 4, x, y
#define POINT_UNCOMPRESSED 4
#define DER_MAX 80 // of a signature: two integers of 33 bytes at most, and their heads

struct es256_key {
	EVP_PKEY *key;
};

static void free_pkey(EVP_PKEY **slot)
{
	EVP_PKEY_free(*slot);
}

static void free_pkey_ctx(EVP_PKEY_CTX **slot)
{
	EVP_PKEY_CTX_free(*slot);
}

static void free_md_ctx(EVP_MD_CTX **slot)
{
	EVP_MD_CTX_free(*slot);
}

static void free_bio(BIO **slot)
{
	BIO_free(*slot);
}

static void free_signature(ECDSA_SIG **slot)
{
	ECDSA_SIG_free(*slot);
}

static int openssl_error(struct error *err, const char *what)
{
	ERR_clear_error();
	return error_set(err, EIO, "OpenSSL can't %s; see whether its configuration or FIPS mode forbids it", what);
}

void es256_key_free(struct es256_key *key)
{
	if (key != NULL)
		EVP_PKEY_free(key->key);
	free(key);
}

// ---- PEM

static EVP_PKEY *certificate_key(BIO *in)
{
	X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
	EVP_PKEY *key = cert != NULL ? X509_get_pubkey(cert) : NULL;
	X509_free(cert);
	return key;
}

static bool has(struct str text, const char *what)
{
	return memmem(text.p, text.n, what, strlen(what)) != NULL;
}

static EVP_PKEY *read_pem(struct str text, enum es256_part part, struct error *err)
{
	bool encrypted = false;
	BIO *in CLEANUP(free_bio) = BIO_new_mem_buf(text.p, (int)text.n);
	EVP_PKEY *key = NULL;
	if (has(text, "PRIVATE KEY-----"))
		key = pem_key_read(in, &encrypted);
	else if (part == ES256_PRIVATE)
		(void)error_set(err, EINVAL, "it is PEM, but no private key; give the key that signs");
	else
		key = has(text, "BEGIN CERTIFICATE-----") ? certificate_key(in) : PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
	ERR_clear_error();
	if (encrypted)
		(void)error_set(err, EINVAL, "the key has a password; take it off: openssl pkey -in FILE");
	else if (key == NULL && (part == ES256_PUBLIC || has(text, "PRIVATE KEY-----")))
		(void)error_set(err, EINVAL, "the PEM text can't be read as a key; is it whole?");
	return key;
}

static bool is_p256(const EVP_PKEY *key, char *room, size_t n)
{
	size_t length = 0;
	if (EVP_PKEY_get_group_name(key, room, n, &length) != 1) {
		ERR_clear_error();
		(void)snprintf(room, n, "%s", EVP_PKEY_get0_type_name(key) != NULL ? EVP_PKEY_get0_type_name(key) : "unknown");
		return false;
	}
	return EVP_PKEY_is_a(key, "EC") == 1 && strcmp(room, SN_X9_62_prime256v1) == 0;
}

// ---- JWK

static int read_coordinate(const json_t *jwk, const char *name, unsigned char *to, struct error *err)
{
	const char *text = json_string_value(json_object_get(jwk, name));
	CLEANUP_SECRET_BUF struct buf bytes = secret_buf(COORDINATE);
	if (text == NULL)
		return error_set(err, EINVAL, "%s is missing, or is no text", name);
	struct error why;
	if (base64url_decode(str_from(text), &bytes, &why) < 0 || bytes.n != COORDINATE)
		return error_set(err, EINVAL, "%s must be %d bytes in base64url without padding", name, COORDINATE);
	memcpy(to, bytes.p, COORDINATE);
	return 0;
}

static int check_member(const json_t *jwk, const char *name, const char *wanted, bool needed, struct error *err)
{
	const json_t *v = json_object_get(jwk, name);
	if ((v == NULL && !needed) || (json_is_string(v) && strcmp(json_string_value(v), wanted) == 0))
		return 0;
	return error_set(err, EINVAL, "%s is \"%.100s\"; it must be %s", name,
					 json_is_string(v) ? json_string_value(v) : "", wanted);
}

static int check_jwk(const json_t *jwk, struct error *err)
{
	if (json_object_get(jwk, "keys") != NULL)
		return error_set(err, EINVAL, "it is a set of keys; give one of them");
	int rc = check_member(jwk, "kty", "EC", true, err);
	if (rc == 0)
		rc = check_member(jwk, "crv", "P-256", true, err);
	if (rc == 0)
		rc = check_member(jwk, "alg", "ES256", false, err);
	return rc < 0 ? rc : check_member(jwk, "use", "sig", false, err);
}

// d: NULL for a public key; OpenSSL wants it as an integer of this machine.
static EVP_PKEY *pkey_of(unsigned char point[POINT], unsigned char *d)
{
	OSSL_PARAM params[4];
	size_t n = 0;
	char group[] = "P-256";
	params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[n++] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, POINT);
	if (d != NULL)
		params[n++] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, d, COORDINATE);
	params[n] = OSSL_PARAM_construct_end();
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *make CLEANUP(free_pkey_ctx) = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (make == NULL || EVP_PKEY_fromdata_init(make) != 1 ||
		EVP_PKEY_fromdata(make, &key, d != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
		return NULL;
	EVP_PKEY_CTX *check CLEANUP(free_pkey_ctx) = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool good = check != NULL && EVP_PKEY_public_check(check) == 1 &&
				(d == NULL || (EVP_PKEY_private_check(check) == 1 && EVP_PKEY_pairwise_check(check) == 1));
	if (!good) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

static EVP_PKEY *read_jwk(const json_t *jwk, enum es256_part part, struct error *err)
{
	unsigned char point[POINT] = {POINT_UNCOMPRESSED};
	unsigned char d[COORDINATE] = {0};
	bool private = part == ES256_PRIVATE;
	if (private && json_object_get(jwk, "d") == NULL) {
		(void)error_set(err, EINVAL, "d is missing: it is a public key; give the key that signs");
		return NULL;
	}
	if (check_jwk(jwk, err) < 0 || read_coordinate(jwk, "x", point + 1, err) < 0 ||
		read_coordinate(jwk, "y", point + 1 + COORDINATE, err) < 0 ||
		(private && read_coordinate(jwk, "d", d, err) < 0))
		return NULL;
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		for (size_t i = 0; i < COORDINATE / 2; i++) {
			unsigned char c = d[i];
			d[i] = d[COORDINATE - 1 - i];
			d[COORDINATE - 1 - i] = c;
		}
	EVP_PKEY *key = pkey_of(point, private ? d : NULL);
	explicit_bzero(d, sizeof(d));
	ERR_clear_error();
	if (key == NULL)
		(void)error_set(err, EINVAL, "%s", private ? "d isn't the key of the point x, y" : "x, y is no point of P-256");
	return key;
}

struct es256_key *es256_key_from_jwk(const json_t *jwk, enum es256_part part, struct error *err)
{
	EVP_PKEY *pkey CLEANUP(free_pkey) = json_is_object(jwk) ? read_jwk(jwk, part, err) : NULL;
	if (pkey == NULL) {
		if (!json_is_object(jwk))
			(void)error_set(err, EINVAL, "no JSON object");
		(void)error_prefix(err, "JWK");
		return NULL;
	}
	struct es256_key *key = xcalloc(1, sizeof(*key));
	key->key = TAKE_PTR(pkey);
	return key;
}

// ---- Either

static struct es256_key *read_jwk_text(struct str text, enum es256_part part, struct error *err)
{
	json_error_t why;
	json_t *jwk CLEANUP_SECRET_JSON = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
	if (jwk != NULL)
		return es256_key_from_jwk(jwk, part, err);
	// The parser's own words would show a piece of the key.
	(void)error_set(err, EINVAL, "the JWK is no JSON: line %d, column %d", why.line, why.column);
	return NULL;
}

struct es256_key *es256_key_read(struct str text, enum es256_part part, struct error *err)
{
	if (text.n > ES256_KEY_MAX || text.n > INT_MAX) {
		(void)error_set(err, EFBIG, "it has %zu bytes; a key has at most %zu", text.n, ES256_KEY_MAX);
		return NULL;
	}
	size_t blank = 0;
	while (blank < text.n && strchr(" \t\r\n", text.p[blank]) != NULL && text.p[blank] != '\0')
		blank++;
	if (blank < text.n && text.p[blank] == '{')
		return read_jwk_text(text, part, err);
	if (!has(text, "-----BEGIN ")) {
		(void)error_set(err, EINVAL, "it is no key: it must be PEM, or a JWK");
		return NULL;
	}
	EVP_PKEY *pkey CLEANUP(free_pkey) = read_pem(text, part, err);
	char group[64];
	if (pkey == NULL)
		return NULL;
	if (!is_p256(pkey, group, sizeof(group))) {
		(void)error_set(err, EINVAL,
						"the key is %s; ES256 takes only P-256: openssl genpkey -algorithm EC -pkeyopt "
						"ec_paramgen_curve:P-256",
						group);
		return NULL;
	}
	struct es256_key *key = xcalloc(1, sizeof(*key));
	key->key = TAKE_PTR(pkey);
	return key;
}

json_t *es256_key_jwk(const struct es256_key *key, const char *kid, struct error *err)
{
	unsigned char point[2 * COORDINATE];
	// A key may say that its point is to be written compressed: x and y are asked for one by one.
	BIGNUM *x = NULL;
	BIGNUM *y = NULL;
	bool ok = EVP_PKEY_get_bn_param(key->key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
			  EVP_PKEY_get_bn_param(key->key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
			  BN_bn2binpad(x, point, COORDINATE) == COORDINATE &&
			  BN_bn2binpad(y, point + COORDINATE, COORDINATE) == COORDINATE;
	BN_free(x);
	BN_free(y);
	if (!ok) {
		(void)openssl_error(err, "tell the key's point");
		return NULL;
	}
	CLEANUP_BUF struct buf x64 = BUF_INIT(POINT);
	CLEANUP_BUF struct buf y64 = BUF_INIT(POINT);
	base64url_encode((struct str){(const char *)point, COORDINATE}, &x64);
	base64url_encode((struct str){(const char *)point + COORDINATE, COORDINATE}, &y64);
	json_t *jwk = json_made(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256", "x", buf_z(&x64),
									  "y", buf_z(&y64), "alg", "ES256", "use", "sig"));
	if (kid != NULL)
		json_put(jwk, "kid", json_string(kid));
	return jwk;
}

// ---- Signatures

int es256_sign(const struct es256_key *key, struct str data, unsigned char ret[ES256_SIGNATURE_BYTES],
			   struct error *err)
{
	unsigned char der[DER_MAX];
	size_t n = sizeof(der);
	EVP_MD_CTX *ctx CLEANUP(free_md_ctx) = EVP_MD_CTX_new();
	if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->key) != 1 ||
		EVP_DigestSign(ctx, der, &n, (const unsigned char *)data.p, data.n) != 1)
		return openssl_error(err, "sign with the key");
	const unsigned char *at = der;
	ECDSA_SIG *parts CLEANUP(free_signature) = d2i_ECDSA_SIG(NULL, &at, (long)n);
	if (parts == NULL ||
		BN_bn2binpad(ECDSA_SIG_get0_r(parts), ret, ES256_SIGNATURE_BYTES / 2) != ES256_SIGNATURE_BYTES / 2 ||
		BN_bn2binpad(ECDSA_SIG_get0_s(parts), ret + ES256_SIGNATURE_BYTES / 2, ES256_SIGNATURE_BYTES / 2) !=
			ES256_SIGNATURE_BYTES / 2)
		return openssl_error(err, "write the signature");
	return 0;
}

// The signature in DER, as OpenSSL checks it; its length, 0 on error.
static int der_of(const unsigned char signature[ES256_SIGNATURE_BYTES], unsigned char der[DER_MAX])
{
	const int half = ES256_SIGNATURE_BYTES / 2;
	ECDSA_SIG *parts CLEANUP(free_signature) = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, half, NULL);
	BIGNUM *s = BN_bin2bn(signature + half, half, NULL);
	if (parts == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(parts, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		return 0;
	}
	int n = i2d_ECDSA_SIG(parts, NULL);
	if (n <= 0 || n > DER_MAX)
		return 0;
	return i2d_ECDSA_SIG(parts, &der);
}

int es256_verify(const struct es256_key *key, struct str data, const unsigned char signature[ES256_SIGNATURE_BYTES],
				 struct error *err)
{
	unsigned char der[DER_MAX];
	int n = der_of(signature, der);
	EVP_MD_CTX *ctx CLEANUP(free_md_ctx) = EVP_MD_CTX_new();
	if (n <= 0 || ctx == NULL || EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->key) != 1)
		return openssl_error(err, "check a signature with the key");
	int rc = EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)data.p, data.n);
	ERR_clear_error();
	if (rc == 1)
		return 0;
	return error_set(err, EBADMSG, "the signature is not this key's, or what it signs was changed");
}
