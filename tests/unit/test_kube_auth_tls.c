// What kube_auth_setup_tls() trusts and shows, by handshakes in memory with a server of the test's.
#include <errno.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "cases.h"
#include "common/kube/auth.h"
#include "folder.h"
#include "pki.h"

#define V1 "client.authentication.k8s.io/v1"

static struct pki root, other, middle, leaf, direct, client, stranger;

static int make_all(void **state)
{
	root = pki_make("root", NULL, true);
	other = pki_make("another root", NULL, true);
	middle = pki_make("middle", &root, true);
	leaf = pki_make("server", &middle, false);
	direct = pki_make("server", &root, false);
	client = pki_make("client", &middle, false);
	stranger = pki_make("stranger", &other, false);
	return folder_make(state);
}

static int remove_all(void **state)
{
	struct pki *all[] = {&root, &other, &middle, &leaf, &direct, &client, &stranger};
	for (size_t i = 0; i < COUNT(all); i++)
		pki_release(all[i]);
	return folder_remove(state);
}

// ---- Two ends and a pair of pipes

struct server {
	const struct pki *own;
	const struct pki *chain; // sent with it; NULL for none
	bool asks;               // for a certificate that root stands behind
	int version;             // the only one; 0: any
};

static SSL_CTX *make_server(const struct server *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	assert_non_null(ctx);
	SSL_CTX_set_security_level(ctx, 0); // for old versions
	assert_int_equal(SSL_CTX_use_certificate(ctx, s->own->cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, s->own->key), 1);
	if (s->chain != NULL)
		assert_int_equal(SSL_CTX_add1_chain_cert(ctx, s->chain->cert), 1);
	if (s->asks) {
		assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), root.cert), 1);
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, s->version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, s->version), 1);
	return ctx;
}

static bool is_waiting(SSL *end, int rc)
{
	int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(end, rc);
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

// Both ends have to agree: in TLS 1.3 the client is done before the server has seen its certificate.
static bool shake(SSL_CTX *ours, SSL_CTX *theirs)
{
	SSL *a = SSL_new(ours);
	SSL *b = SSL_new(theirs);
	BIO *x = NULL;
	BIO *y = NULL;
	assert_true(a != NULL && b != NULL && BIO_new_bio_pair(&x, 0, &y, 0) == 1);
	SSL_set_bio(a, x, x);
	SSL_set_bio(b, y, y);
	SSL_set_connect_state(a);
	SSL_set_accept_state(b);
	int ra = -1;
	int rb = -1;
	for (int i = 0; i < 100 && (ra != 1 || rb != 1); i++) {
		ra = SSL_do_handshake(a);
		rb = SSL_do_handshake(b);
		if ((ra != 1 && !is_waiting(a, ra)) || (rb != 1 && !is_waiting(b, rb)))
			break;
	}
	SSL_free(a);
	SSL_free(b);
	return ra == 1 && rb == 1;
}

static bool connect_to(struct kube_auth *auth, const struct server *s)
{
	struct error err = {0};
	SSL_CTX *ours = SSL_CTX_new(TLS_client_method());
	SSL_CTX *theirs = make_server(s);
	// What was trusted before counts no more.
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ours), root.cert), 1);
	SSL_CTX_set_security_level(ours, 0);
	SSL_CTX_set_verify(ours, SSL_VERIFY_NONE, NULL);
	if (kube_auth_setup_tls(auth, ours, &err) < 0)
		fail_msg("%s", err.msg);
	bool done = shake(ours, theirs);
	SSL_CTX_free(ours);
	SSL_CTX_free(theirs);
	return done;
}

static char origin[] = "/k/config, context x";
static char server_url[] = "https://a";

static bool try_config(struct kube_config config, const struct server *s)
{
	config.origin = origin;
	config.server = server_url;
	struct kube_auth *auth = kube_auth_new(&config, &clock_real);
	bool done = connect_to(auth, s);
	kube_auth_free(auth);
	return done;
}

// ---- Whom we trust

struct trust_case {
	const char *name;
	const char *before; // text in front of the CAs
	const struct pki *ca[3];
	struct server server;
	bool insecure, done;
};

static struct trust_case trust_cases[] = {
	{"trust: the CA", NULL, {&root}, {&direct, NULL, false, 0}, false, true},
	{"trust: another CA", NULL, {&other}, {&direct, NULL, false, 0}, false, false},
	{"trust: the last of three", NULL, {&other, &middle, &root}, {&direct, NULL, false, 0}, false, true},
	{"trust: the same twice", NULL, {&root, &root}, {&direct, NULL, false, 0}, false, true},
	{"trust: words before it", "# our CA\nsubject=x\n\n", {&root}, {&direct, NULL, false, 0}, false, true},
	{"trust: a chain to the CA", NULL, {&root}, {&leaf, &middle, false, 0}, false, true},
	{"trust: a chain that lacks a part", NULL, {&root}, {&leaf, NULL, false, 0}, false, false},
	{"trust: the part is with the CA", NULL, {&root, &middle}, {&leaf, NULL, false, 0}, false, true},
	{"trust: an intermediate alone", NULL, {&middle}, {&leaf, NULL, false, 0}, false, true},
	{"trust: the server's own certificate", NULL, {&direct}, {&direct, NULL, false, 0}, false, true},
	{"trust: the system's CAs", NULL, {NULL}, {&direct, NULL, false, 0}, false, false},
	{"trust: anybody", NULL, {NULL}, {&direct, NULL, false, 0}, true, true},
	{"trust: TLS 1.2", NULL, {&root}, {&direct, NULL, false, TLS1_2_VERSION}, false, true},
	{"trust: TLS 1.3", NULL, {&root}, {&direct, NULL, false, TLS1_3_VERSION}, false, true},
	{"trust: no TLS 1.1", NULL, {&root}, {&direct, NULL, false, TLS1_1_VERSION}, false, false},
};

static char *join(const char *before, const struct pki *const *of, size_t n)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(100000);
	buf_addz(&text, before != NULL ? before : "");
	for (size_t i = 0; i < n && of[i] != NULL; i++)
		buf_addz(&text, of[i]->cert_pem);
	return buf_take(&text);
}

static void test_trust(void **state)
{
	const struct trust_case *c = *state;
	CLEANUP_FREE
	char *text = join(c->before, c->ca, COUNT(c->ca));
	struct kube_config config = {.insecure = c->insecure};
	if (text[0] == '\0') {
		assert_int_equal(try_config(config, &c->server), c->done);
		return;
	}
	config.ca.data = text;
	assert_int_equal(try_config(config, &c->server), c->done);
	CLEANUP_FREE
	char *file = folder_put("ca", text);
	config.ca = (struct kube_text){.file = file};
	assert_int_equal(try_config(config, &c->server), c->done);
	folder_take("ca");
}

// OpenSSL's name for where they are.
static void test_system(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *file = folder_put("ca", root.cert_pem);
	assert_int_equal(setenv("SSL_CERT_FILE", file, 1), 0);
	assert_true(try_config((struct kube_config){0}, &(struct server){.own = &direct}));
	// With a CA of the config's own, they don't count.
	assert_false(try_config((struct kube_config){.ca.data = other.cert_pem}, &(struct server){.own = &direct}));
	assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
	folder_take("ca");
}

// From the next connection on, without a restart.
static void test_renewed(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *ca = folder_put("ca", other.cert_pem);
	CLEANUP_FREE
	char *cert = folder_put("cert", stranger.cert_pem);
	CLEANUP_FREE
	char *key = folder_put("key", stranger.key_pem);
	struct kube_config config = {
		.origin = origin, .server = server_url, .ca.file = ca, .client_cert.file = cert, .client_key.file = key};
	const struct server s = {&direct, NULL, true, 0};
	struct kube_auth *auth = kube_auth_new(&config, &clock_real);
	unsigned before = kube_auth_tls_generation(auth);
	assert_false(connect_to(auth, &s));
	folder_write("ca", root.cert_pem);
	assert_int_not_equal(kube_auth_tls_generation(auth), before);
	assert_false(connect_to(auth, &s)); // now it doesn't like us
	CLEANUP_FREE
	char *chain = join(NULL, (const struct pki *const[]){&client, &middle}, 2);
	folder_write("cert", chain);
	folder_write("key", client.key_pem);
	assert_true(connect_to(auth, &s));
	kube_auth_free(auth);
	folder_take("ca");
	folder_take("cert");
	folder_take("key");
}

// ---- Who we are

struct identity_case {
	const char *name;
	const struct pki *shown[3]; // the first with its key
	bool done;
};

static struct identity_case identity_cases[] = {
	{"identity: none", {NULL}, false},
	{"identity: with its chain", {&client, &middle}, true},
	{"identity: without its chain", {&client}, false},
	{"identity: of another CA", {&stranger, &other}, false},
	{"identity: of the CA itself", {&direct}, true},
};

static void test_identity(void **state)
{
	const struct identity_case *c = *state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	CLEANUP_FREE
	char *text = join(NULL, c->shown, COUNT(c->shown));
	struct kube_config config = {.ca.data = root.cert_pem};
	if (c->shown[0] != NULL) {
		config.client_cert.data = text;
		config.client_key.data = c->shown[0]->key_pem;
	}
	for (size_t i = 0; i < COUNT(versions); i++)
		assert_int_equal(try_config(config, &(struct server){&direct, NULL, true, versions[i]}), c->done);
}

// As kubelets keep theirs: both in one file.
static void test_one_file(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *text = xasprintf("%s%s%s", client.cert_pem, middle.cert_pem, client.key_pem);
	CLEANUP_FREE
	char *file = folder_put("both", text);
	struct kube_config config = {.ca.data = root.cert_pem, .client_cert.file = file, .client_key.file = file};
	assert_true(try_config(config, &(struct server){&direct, NULL, true, 0}));
	folder_take("both");
}

// JSON's escapes for PEM's newlines.
static char *escape(const char *pem)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(100000);
	for (; *pem != '\0'; pem++)
		buf_addz(&out, *pem == '\n' ? "\\n" : (char[]){*pem, '\0'});
	return buf_take(&out);
}

static void test_plugin(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *chain = join(NULL, (const struct pki *const[]){&client, &middle}, 2);
	CLEANUP_FREE
	char *cert = escape(chain);
	CLEANUP_FREE
	char *key = escape(client.key_pem);
	CLEANUP_FREE
	char *text = xasprintf("#!/bin/sh\ncat <<'END'\n{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":"
						   "{\"clientCertificateData\":\"%s\",\"clientKeyData\":\"%s\"}}\nEND\n",
						   cert, key);
	CLEANUP_FREE
	char *plugin = folder_put_program("plugin", text);
	char version[] = V1;
	char *none[1] = {NULL};
	struct kube_exec exec = {.api_version = version, .command = plugin, .args = none, .env = none};
	struct kube_config config = {.ca.data = root.cert_pem, .exec = &exec};
	assert_true(try_config(config, &(struct server){&direct, NULL, true, 0}));
	folder_take("plugin");
}

// ---- What can't be used

static char not_pem[] = "MIIB";
static char broken[] = "-----BEGIN CERTIFICATE-----\nMIIB*\n-----END CERTIFICATE-----\n";
static char cut[] = "-----BEGIN CERTIFICATE-----\nMIIB\n";
static char no_certificate[] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
static char broken_key[] = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
static char nowhere[] = "/nowhere/x.pem";
static char *encrypted;

struct bad_case {
	const char *name;
	char *const *ca, *const *cert, *const *key; // NULL: one that is good
	const char *message;
};

static char *const not_pem_at[] = {not_pem};
static char *const broken_at[] = {broken};
static char *const cut_at[] = {cut};
static char *const no_certificate_at[] = {no_certificate};
static char *const broken_key_at[] = {broken_key};

static struct bad_case bad_cases[] = {
	{"bad: the CA is no PEM", not_pem_at, NULL, NULL, "certificate-authority-data holds no certificate; put PEM there"},
	{"bad: the CA is a key", &root.key_pem, NULL, NULL, "certificate-authority-data holds no certificate"},
	{"bad: the CA's base64", broken_at, NULL, NULL,
	 "certificate-authority-data: certificate 1 can't be read: bad base64"},
	{"bad: the CA is cut", cut_at, NULL, NULL, "certificate-authority-data: certificate 1 can't be read: "},
	{"bad: the CA's content", no_certificate_at, NULL, NULL,
	 "certificate-authority-data: certificate 1 can't be read: "},
	{"bad: the certificate is no PEM", NULL, not_pem_at, NULL, "client-certificate-data holds no certificate"},
	{"bad: the certificate is a key", NULL, &client.key_pem, NULL, "client-certificate-data holds no certificate"},
	{"bad: the key is no PEM", NULL, NULL, not_pem_at, "client-key-data holds no key; put PEM there"},
	{"bad: the key is a certificate", NULL, NULL, &client.cert_pem, "client-key-data holds no key"},
	{"bad: the key's content", NULL, NULL, broken_key_at, "client-key-data: the key can't be read: "},
	{"bad: another's key", NULL, NULL, &stranger.key_pem,
	 "client-key-data is not the key of the certificate in /k/config, context x: client-certificate-data; bring the "
	 "two"},
	{"bad: an encrypted key", NULL, NULL, &encrypted, "client-key-data: the key is encrypted, and nobody can be asked"},
};

static void assert_refused(struct kube_config config, int code, const char *message)
{
	struct error err = {0};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	config.origin = origin;
	config.server = server_url;
	struct kube_auth *auth = kube_auth_new(&config, &clock_real);
	assert_int_equal(kube_auth_setup_tls(auth, ctx, &err), -code);
	if (strstr(err.msg, message) == NULL)
		fail_msg("%s", err.msg);
	assert_memory_equal(err.msg, "TLS for https://a: ", 19);
	assert_null(strstr(err.msg, "MIIB"));
	assert_int_equal(ERR_peek_error(), 0);
	kube_auth_free(auth);
	SSL_CTX_free(ctx);
}

static void test_bad(void **state)
{
	const struct bad_case *c = *state;
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(
		PEM_write_bio_PrivateKey(out, client.key, EVP_aes_128_cbc(), NULL, 0, NULL, (void *)(uintptr_t) "pw"), 1);
	encrypted = pki_text(out);
	struct kube_config config = {.ca.data = c->ca != NULL ? *c->ca : root.cert_pem,
								 .client_cert.data = c->cert != NULL ? *c->cert : client.cert_pem,
								 .client_key.data = c->key != NULL ? *c->key : client.key_pem};
	assert_refused(config, EINVAL, c->message);
	free(encrypted);
	encrypted = NULL;
}

static void test_missing(void **state)
{
	(void)state;
	assert_refused((struct kube_config){.ca.file = nowhere}, ENOENT,
				   "certificate-authority: can't open /nowhere/x.pem: No such file or directory");
	assert_refused((struct kube_config){.client_cert.file = nowhere, .client_key.data = client.key_pem}, ENOENT,
				   "client-certificate: can't open /nowhere/x.pem");
	assert_refused((struct kube_config){.client_key.file = nowhere, .client_cert.data = client.cert_pem}, ENOENT,
				   "client-key: can't open /nowhere/x.pem");
	assert_refused((struct kube_config){.client_cert.data = client.cert_pem}, EINVAL,
				   "/k/config, context x: there is no client-key");
	CLEANUP_FREE
	char *file = folder_put("ca", "");
	CLEANUP_FREE
	char *want = xasprintf("%s holds no certificate; put PEM there", file);
	assert_refused((struct kube_config){.ca.file = file}, EINVAL, want);
	folder_take("ca");
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, trust_cases, test_trust);
	tests_add(&t, "trust: the system's CAs, one of which is ours", test_system, NULL);
	tests_add(&t, "trust and identity: files that are renewed", test_renewed, NULL);
	ADD_TABLE(&t, identity_cases, test_identity);
	tests_add(&t, "identity: certificate and key in one file", test_one_file, NULL);
	tests_add(&t, "identity: a plugin's", test_plugin, NULL);
	ADD_TABLE(&t, bad_cases, test_bad);
	tests_add(&t, "bad: files that are missing, or empty", test_missing, NULL);
	return _cmocka_run_group_tests("kube_auth_tls", t.v, t.n, make_all, remove_all);
}
