// Whom to trust, and by which way: a TLS context for the vhost that new connections are made on, and the proxy.
//
// libwebsockets would make a context by itself, which trusts certificates of a relative folder besides; it is given ours.
// A vhost keeps its context for life, so that there is a new one where kube_auth_tls_generation() says that the material
// has changed; the streams on the old one go on.
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include "common/kube/server_url.h"
#include "common/kube/watch_private.h"
#include "common/mem.h"

#define CHECK_MS 1000               // how often the generation is looked at
#define PROXY_USER_MAX ((size_t)95) // as long as libwebsockets takes it

// ---- What the configuration says

static const char *server_name(const struct kube_watcher *w)
{
	return w->config->tls_server_name != NULL ? w->config->tls_server_name : w->config->host;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
		   : c >= 'a' && c <= 'f' ? c - 'a' + 10
		   : c >= 'A' && c <= 'F' ? c - 'A' + 10
								  : -1;
}

static void add_decoded(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		int high = s.p[i] == '%' && i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;
		buf_addc(out, low >= 0 ? (char)(high * 16 + low) : s.p[i]);
		i += low >= 0 ? 2 : 0;
	}
}

// "[USER:PASSWORD@]HOST:PORT" is how libwebsockets wants it. Messages show neither user nor password.
static int read_proxy(const char *url, char **ret, struct error *err)
{
	static const char http[] = "http://";
	if (strncasecmp(url, http, sizeof(http) - 1) != 0)
		return error_set(err, EINVAL,
						 "proxy-url: watch streams go through http:// proxies only; set one of those, or none");
	const char *rest = url + sizeof(http) - 1;
	const char *at = strrchr(rest, '@');
	const char *address = at != NULL ? at + 1 : rest;
	CLEANUP_FREE char *bare = xasprintf("%s%s", http, address);
	struct server_url u;
	if (server_url_parse(bare, "proxy-url", &u, err) < 0)
		return -err->code;
	CLEANUP_BUF struct buf out = BUF_INIT(SERVER_URL_MAX);
	if (at != NULL) {
		add_decoded(&out, (struct str){rest, (size_t)(at - rest)});
		if (out.n > PROXY_USER_MAX)
			return error_set(err, EINVAL, "proxy-url: user and password have %zu bytes: for watch streams, %zu at most",
							 out.n, PROXY_USER_MAX);
		buf_addc(&out, '@');
	}
	if (strlen(u.host) > WATCH_NAME_MAX)
		return error_set(err, EINVAL, "proxy-url: the host's name is longer than %zu bytes: use its address",
						 WATCH_NAME_MAX);
	bool v6 = strchr(u.host, ':') != NULL;
	buf_addf(&out, v6 ? "[%s]:%d" : "%s:%d", u.host, u.port);
	*ret = buf_take(&out);
	return 0;
}

void watch_trust_read_config(struct kube_watcher *w)
{
	struct error err;
	const char *name = server_name(w);
	bool v6 = strchr(name, ':') != NULL;
	if (w->config->port == (w->config->tls ? 443 : 80))
		w->authority = xasprintf(v6 ? "[%s]" : "%s", name);
	else
		w->authority = xasprintf(v6 ? "[%s]:%d" : "%s:%d", name, w->config->port);
	w->origin = xasprintf("%s://%s", w->config->tls ? "https" : "http", w->authority);
	if (strlen(w->authority) > WATCH_NAME_MAX || strlen(w->config->host) > WATCH_NAME_MAX)
		w->refusal = xasprintf("%s: watch streams need a host name of at most %zu bytes: use the address",
							   w->config->server, WATCH_NAME_MAX - 6);
	else if (w->config->proxy_url != NULL && read_proxy(w->config->proxy_url, &w->proxy, &err) < 0)
		w->refusal = xasprintf("%s: %s", w->config->origin, err.msg);
}

// ---- TLS

static bool is_address(const char *name)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

// libwebsockets sends addresses as names too, which RFC 6066 forbids and some servers refuse.
static void send_no_name(const SSL *tls, int where, int code)
{
	(void)code;
	if ((where & SSL_CB_HANDSHAKE_START) != 0)
		(void)SSL_set_tlsext_host_name((SSL *)(uintptr_t)tls, NULL);
}

static int set_name(const struct kube_watcher *w, SSL_CTX *tls, struct error *err)
{
	const char *name = server_name(w);
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls);
	bool address = is_address(name);
	if (address)
		SSL_CTX_set_info_callback(tls, send_no_name);
	if (w->config->insecure)
		return 0;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	int ok = address ? X509_VERIFY_PARAM_set1_ip_asc(param, name) : X509_VERIFY_PARAM_set1_host(param, name, 0);
	if (ok != 1)
		return error_set(err, EINVAL, "\"%s\" can't be compared with a certificate's names: set tls-server-name", name);
	return 0;
}

static void free_tls(SSL_CTX **tls)
{
	SSL_CTX_free(*tls);
}

static SSL_CTX *make_tls(struct kube_watcher *w, struct error *err)
{
	CLEANUP(free_tls) SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	if (tls == NULL) {
		(void)error_set(err, ENOMEM, "OpenSSL makes no context");
		return NULL;
	}
	// As libwebsockets does for its own; without the first, each idle connection keeps 17 KiB.
	(void)SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (kube_auth_setup_tls(w->auth, tls, err) < 0)
		return NULL;
	if (set_name(w, tls, err) < 0)
		return NULL;
	return TAKE_PTR(tls);
}

static int add_trust(struct kube_watcher *w, unsigned generation, struct error *err)
{
	CLEANUP(free_tls) SSL_CTX *tls = w->config->tls ? make_tls(w, err) : NULL;
	if (w->config->tls && tls == NULL)
		return -err->code;
	CLEANUP_FREE struct watch_trust *t = xcalloc(1, sizeof(*t));
	t->vhost = watch_lws_vhost(w, tls, t);
	if (t->vhost == NULL)
		return error_set(err, ENOMEM, "libwebsockets makes no vhost");
	t->tls = TAKE_PTR(tls);
	t->generation = generation;
	t->older = w->trust;
	w->trust = TAKE_PTR(t);
	return 0;
}

int watch_trust_refresh(struct kube_watcher *w, struct error *err)
{
	int64_t now = clock_mono_ms(w->clock);
	if (w->trust != NULL && (!w->config->tls || (w->trust_checked_ms >= 0 && now - w->trust_checked_ms < CHECK_MS)))
		return 0;
	// Before its material is read, so that what changes meanwhile is seen the next time.
	unsigned generation = w->config->tls ? kube_auth_tls_generation(w->auth) : 0;
	if (w->trust == NULL || w->trust->generation != generation) {
		w->trust_checked_ms = -1;
		int rc = add_trust(w, generation, err);
		if (rc < 0)
			return rc;
	}
	w->trust_checked_ms = now;
	return 0;
}

// The vhost is gone already, or goes with the context.
static void trust_free(struct watch_trust *t)
{
	SSL_CTX_free(t->tls);
	free(t);
}

void watch_trust_collect(struct kube_watcher *w)
{
	if (w->trust == NULL)
		return;
	for (struct watch_trust **at = &w->trust->older; *at != NULL;) {
		struct watch_trust *t = *at;
		if (t->connections > 0) {
			at = &t->older;
			continue;
		}
		*at = t->older;
		lws_vhost_destroy(t->vhost);
		trust_free(t);
	}
}

void watch_trust_free(struct kube_watcher *w)
{
	while (w->trust != NULL) {
		struct watch_trust *t = w->trust;
		w->trust = t->older;
		trust_free(t);
	}
}
