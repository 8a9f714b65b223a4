// Whom we trust and what we show, for OpenSSL.
#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "common/kube/auth_private.h"
#include "common/kube/config_private.h"
#include "common/mem.h"
#include "common/pem_key.h"
#include "common/secret.h"

static void cleanup_bio(BIO **b)
{
	BIO_free_all(*b);
}

static void cleanup_store(X509_STORE **s)
{
	X509_STORE_free(*s);
}

static void cleanup_x509(X509 **x)
{
	X509_free(*x);
}

static void cleanup_key(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

// OpenSSL's queue is left empty: who calls us has its own use for it.
static const char *last_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	ERR_clear_error();
	return reason != NULL ? reason : "OpenSSL gives no reason";
}

static bool queue_says_end(void)
{
	unsigned long e = ERR_peek_last_error();
	return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

// PEM text and where it is from, for messages.
struct pem {
	struct buf text; // wiped
	char *origin;
};

static void pem_release(struct pem *p)
{
	secret_buf_release(&p->text);
	free(p->origin);
}

// field: in the config; inline: where the text stands if it isn't in a file.
static int pem_read(const struct kube_config *c, const struct kube_text *t, const char *field, const char *inline_field,
					struct pem *ret, struct error *err)
{
	if (t->data == NULL && t->file == NULL)
		return error_set(err, EINVAL, "%s: there is no %s", c->origin, field);
	ret->text = kube_text_buf(t, KUBE_PEM_MAX);
	ret->origin = t->file == NULL || t->data != NULL ? xasprintf("%s: %s", c->origin, inline_field) : xstrdup(t->file);
	return kube_text_read(t, &ret->text, err) < 0 ? error_prefix(err, "%s", field) : 0;
}

static BIO *pem_open(const struct pem *p)
{
	return BIO_new_mem_buf(p->text.p != NULL ? p->text.p : "", (int)p->text.n); // at most KUBE_PEM_MAX
}

// Calls take for each certificate, in order; what else is in the text (keys, parameters, words) is passed over.
static int each_certificate(const struct pem *p, int (*take)(void *to, X509 *cert), void *to, struct error *err)
{
	CLEANUP(cleanup_bio) BIO *in = pem_open(p);
	int n = 0;
	if (in == NULL)
		return error_set(err, ENOMEM, "%s: %s", p->origin, last_reason());
	for (;;) {
		CLEANUP(cleanup_x509) X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
		if (cert == NULL)
			break;
		n++;
		if (take(to, cert) != 1)
			return error_set(err, EINVAL, "%s: certificate %d can't be used: %s", p->origin, n, last_reason());
	}
	if (!queue_says_end())
		return error_set(err, EINVAL, "%s: certificate %d can't be read: %s", p->origin, n + 1, last_reason());
	ERR_clear_error();
	return n > 0 ? 0
				 : error_set(err, EINVAL, "%s holds no certificate; put PEM there (-----BEGIN CERTIFICATE-----)",
							 p->origin);
}

static int take_trusted(void *to, X509 *cert)
{
	return X509_STORE_add_cert(to, cert);
}

static int setup_trust(const struct kube_config *c, SSL_CTX *ctx, struct error *err)
{
	CLEANUP(cleanup_store) X509_STORE *store = X509_STORE_new();
	if (store == NULL || X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) != 1)
		return error_set(err, ENOMEM, "can't make a store for CA certificates: %s", last_reason());
	if (c->ca.data != NULL || c->ca.file != NULL) {
		CLEANUP(pem_release) struct pem pem = {0};
		if (pem_read(c, &c->ca, "certificate-authority", "certificate-authority-data", &pem, err) < 0 ||
			each_certificate(&pem, take_trusted, store, err) < 0)
			return -err->code;
	} else if (X509_STORE_set_default_paths(store) != 1) {
		return error_set(err, EIO, "can't load the system's CA certificates: %s", last_reason());
	}
	SSL_CTX_set_cert_store(ctx, TAKE_PTR(store));
	return 0;
}

struct chain {
	SSL_CTX *ctx;
	X509 *leaf; // ours
};

static void chain_release(struct chain *c)
{
	X509_free(c->leaf);
}

static int take_own(void *to, X509 *cert)
{
	struct chain *c = to;
	if (c->leaf != NULL)
		return SSL_CTX_add1_chain_cert(c->ctx, cert) == 1;
	c->leaf = cert;
	(void)X509_up_ref(cert);
	return SSL_CTX_use_certificate(c->ctx, cert);
}

static int setup_key(SSL_CTX *ctx, const struct pem *pem, const struct pem *cert_pem, X509 *leaf, struct error *err)
{
	bool asked = false;
	// OpenSSL's decoders know one reason for whatever they can't make a key of.
	if (strstr(buf_z(&pem->text), "PRIVATE KEY-----") == NULL)
		return error_set(err, EINVAL, "%s holds no key; put PEM there (-----BEGIN PRIVATE KEY-----)", pem->origin);
	CLEANUP(cleanup_bio) BIO *in = pem_open(pem);
	CLEANUP(cleanup_key) EVP_PKEY *key = in != NULL ? pem_key_read(in, &asked) : NULL;
	const char *why = key == NULL ? last_reason() : "";
	if (asked)
		return error_set(err, EINVAL, "%s: the key is encrypted, and nobody can be asked for its password; decrypt it",
						 pem->origin);
	if (key == NULL)
		return error_set(err, EINVAL, "%s: the key can't be read: %s", pem->origin, why);
	if (X509_check_private_key(leaf, key) != 1) {
		ERR_clear_error();
		return error_set(err, EINVAL, "%s is not the key of the certificate in %s; bring the two that belong together",
						 pem->origin, cert_pem->origin);
	}
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return error_set(err, EINVAL, "%s: the key can't be used: %s", pem->origin, last_reason());
	return 0;
}

static int setup_identity(struct kube_auth *a, SSL_CTX *ctx, struct error *err)
{
	const struct kube_config *c = kube_auth_config(a);
	CLEANUP_KUBE_CREDENTIAL
	struct kube_credential given = {0};
	if (kube_auth_plugin_certificate(a, &given, err) < 0)
		return -err->code;
	const struct kube_text by_plugin[] = {{.data = given.cert}, {.data = given.key}};
	bool plugin = given.cert != NULL;
	const struct kube_text *cert = plugin ? &by_plugin[0] : &c->client_cert;
	const struct kube_text *key = plugin ? &by_plugin[1] : &c->client_key;
	if (cert->data == NULL && cert->file == NULL)
		return 0;
	CLEANUP(pem_release) struct pem cert_pem = {0};
	CLEANUP(pem_release) struct pem key_pem = {0};
	CLEANUP(chain_release) struct chain chain = {.ctx = ctx};
	if (pem_read(c, cert, "client-certificate",
				 plugin ? "the exec plugin's clientCertificateData" : "client-certificate-data", &cert_pem, err) < 0 ||
		pem_read(c, key, "client-key", plugin ? "the exec plugin's clientKeyData" : "client-key-data", &key_pem, err) <
			0)
		return -err->code;
	if (each_certificate(&cert_pem, take_own, &chain, err) < 0)
		return -err->code;
	return setup_key(ctx, &key_pem, &cert_pem, chain.leaf, err);
}

int kube_auth_setup_tls(struct kube_auth *a, SSL_CTX *ctx, struct error *err)
{
	const struct kube_config *c = kube_auth_config(a);
	ERR_clear_error();
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		return error_set(err, EPROTO, "can't ask for TLS 1.2 or later: %s", last_reason());
	SSL_CTX_set_verify(ctx, c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, SSL_CTX_get_verify_callback(ctx));
	if (setup_trust(c, ctx, err) < 0 || setup_identity(a, ctx, err) < 0)
		return error_prefix(err, "TLS for %s", c->server);
	return 0;
}
