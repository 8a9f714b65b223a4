// What is libwebsockets' (4.1 of Debian 12): the context, connections, and its one callback taken apart into the calls of
// watch_stream.c. The wsi's opaque user data is the stream, NULL once that is done with the connection.
#include <errno.h>
#include <string.h>

#include "common/kube/watch_private.h"
#include "common/mem.h"
#include "common/secret.h"

#define RX_SIZE 4096     // a frame's part that is handed on at once; each stream has as much
#define HEADER_SIZE 8192 // of an answer's head, while it is there
#define SERVICE_SIZE ((unsigned)KUBE_TOKEN_MAX + 8192) // the head of a request is put together here
#define CONNECTIONS_MAX (KUBE_STREAMS_MAX + 100)       // with those that are being closed
#define LIBRARY_TIMEOUT_S 60                           // our own timers come first
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES 3
#define NO_CLOSE_CODE 1005 // RFC 6455 7.1.5

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

static const struct lws_protocols protocols[] = {
	{.name = "watch", .callback = on_lws, .rx_buffer_size = RX_SIZE},
	{0},
};
// Ours are in watch_stream.c; a hang-up after 0 s is none.
static const lws_retry_bo_t no_idle_policy = {0};

// ---- Certificates

// Returns what OpenSSL takes for an answer: 0 with the context's error cleared where the certificate will do.
static int judge_certificate(struct lws *wsi, X509_STORE_CTX *chain, bool good)
{
	const struct kube_watcher *w = lws_context_user(lws_get_context(wsi));
	struct kube_stream *s = lws_get_opaque_user_data(wsi);
	if (good)
		return 0;
	if (w->config->insecure) {
		X509_STORE_CTX_set_error(chain, X509_V_OK);
		return 0;
	}
	int code = X509_STORE_CTX_get_error(chain);
	const char *wanted = w->config->tls_server_name != NULL ? w->config->tls_server_name : w->config->host;
	const char *why = X509_verify_cert_error_string(code);
	if (s == NULL)
		return 0;
	if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)
		(void)snprintf(s->trouble, sizeof(s->trouble),
					   "its certificate isn't for %s (%s): ask for a name that is in it, by tls-server-name", wanted,
					   why);
	else
		(void)snprintf(s->trouble, sizeof(s->trouble),
					   "its certificate is not to be trusted: %s; certificate-authority is to hold who signed it", why);
	return 0;
}

// ---- The request's head

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **p, unsigned char *end)
{
	return lws_add_http_header_by_name(wsi, (const unsigned char *)name, (const unsigned char *)value,
									   (int)strlen(value), p, end);
}

static int add_headers(struct lws *wsi, struct kube_stream *s, unsigned char **p, size_t room)
{
	unsigned char *end = *p + room;
	if (add_header(wsi, "user-agent:", s->w->user_agent, p, end) != 0 ||
		add_header(wsi, "accept:", s->accept, p, end) != 0)
		return -1;
	if (!s->plain && add_header(wsi, "origin:", s->w->origin, p, end) != 0)
		return -1;
	if (s->bearer == NULL)
		return 0;
	CLEANUP_SECRET char *value = xasprintf("Bearer %s", s->bearer);
	secret_free(TAKE_PTR(s->bearer));
	return add_header(wsi, "authorization:", value, p, end) != 0 ? -1 : 0;
}

// ---- The callback

// What of a connection is told to its stream. -1 closes it.
static int on_stream(struct lws *wsi, struct kube_stream *s, enum lws_callback_reasons reason, void *in, size_t len)
{
	unsigned char ping[LWS_PRE];
	char *none = NULL;
	int none_size = 0;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return add_headers(wsi, s, in, len);
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		return stream_on_open(s, 200);
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return stream_on_message(s, (struct str){in, len}, lws_is_first_fragment(wsi) != 0,
								 lws_is_final_fragment(wsi) != 0);
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
		stream_on_heard(s);
		return 0;
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		if (!s->ping)
			return 0;
		s->ping = false;
		return lws_write(wsi, ping + LWS_PRE, 0, LWS_WRITE_PING) < 0 ? -1 : 0;
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
		// Of an upgrade too, before what becomes of it.
		return s->plain ? stream_on_open(s, (int)lws_http_client_http_response(wsi)) : 0;
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
		return lws_http_client_read(wsi, &none, &none_size) < 0 ? -1 : 0;
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
		return stream_on_bytes(s, (struct str){in, len});
	default:
		return 0;
	}
}

// In the words of who has to do something about it, where libwebsockets' own don't do. By how they begin.
static struct str explain(struct str why)
{
	static const struct {
		const char *theirs, *ours;
	} words[] = {
		{"Unable to connect", "connection refused, or no route to it"},
		{"connect SSL err", "TLS can't be agreed on: is this a TLS server, with TLS 1.2 or later?"},
		{"connect SYSCALL", "it broke in the TLS handshake"},
		{"proxy not h1", "the proxy refuses CONNECT: is this host allowed there, and are user and password right?"},
		{"proxy conn dead", "the proxy hung up"},
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_has_prefix(why, words[i].theirs))
			return str_from(words[i].ours);
	return why;
}

// The connection ends, for whatever reason.
static int on_end(struct lws *wsi, struct kube_stream *s, enum lws_callback_reasons reason, void *in, size_t len)
{
	const unsigned char *close = in;
	struct str text = {in, in != NULL ? len : 0};
	unsigned code = NO_CLOSE_CODE;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		stream_on_no_connection(s, s->plain ? 0 : (int)lws_http_client_http_response(wsi), explain(text));
		break;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		if (text.n >= 2) {
			code = (unsigned)close[0] << 8 | close[1];
			text = (struct str){text.p + 2, text.n - 2};
		}
		stream_on_close(s, code, text, false);
		break;
	case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
		stream_on_close(s, 0, (struct str){0}, true);
		return -1;
	default:
		stream_on_close(s, 0, (struct str){0}, false);
		break;
	}
	return 0;
}

static void on_destroy(struct lws *wsi, struct kube_stream *s)
{
	struct lws_vhost *vhost = lws_get_vhost(wsi);
	struct watch_trust *trust = vhost != NULL ? lws_get_vhost_user(vhost) : NULL;
	if (trust != NULL)
		trust->connections--;
	if (s != NULL && s->wsi == wsi)
		stream_on_close(s, 0, (struct str){0}, false);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct kube_stream *s;
	switch (reason) {
	case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
		return judge_certificate(wsi, user, len != 0);
	case LWS_CALLBACK_WSI_DESTROY:
		on_destroy(wsi, lws_get_opaque_user_data(wsi));
		return 0;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
	case LWS_CALLBACK_CLIENT_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
	case LWS_CALLBACK_CLIENT_WRITEABLE:
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
		s = lws_get_opaque_user_data(wsi);
		return s != NULL ? on_stream(wsi, s, reason, in, len) : -1;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
	case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
	case LWS_CALLBACK_CLIENT_CLOSED:
	case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
		s = lws_get_opaque_user_data(wsi);
		return s != NULL ? on_end(wsi, s, reason, in, len) : 0;
	default:
		return 0;
	}
}

// ---- Context, vhosts, connections

int watch_lws_start(struct kube_watcher *w, struct error *err)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.gid = -1,
		.uid = -1,
		.fd_limit_per_thread = CONNECTIONS_MAX,
		.pt_serv_buf_size = SERVICE_SIZE,
		.max_http_header_data = HEADER_SIZE,
		.timeout_secs = LIBRARY_TIMEOUT_S,
		.user = w,
	};
	lws_set_log_level(0, NULL); // errors are ours to tell
	w->lws = lws_create_context(&info);
	if (w->lws == NULL)
		return error_set(err, ENOMEM, "libwebsockets makes no context: raise the limit of open files");
	return 0;
}

struct lws_vhost *watch_lws_vhost(struct kube_watcher *w, SSL_CTX *tls, void *user)
{
	struct lws_context_creation_info info = {
		.vhost_name = "watch",
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options = tls != NULL ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0,
		.provided_client_ssl_ctx = tls,
		.http_proxy_address = w->proxy != NULL ? w->proxy : "", // with NULL, the environment's is taken
		.connect_timeout_secs = LIBRARY_TIMEOUT_S,
		.retry_and_idle_policy = &no_idle_policy,
		.ka_time = KEEPALIVE_IDLE_S,
		.ka_interval = KEEPALIVE_INTERVAL_S,
		.ka_probes = KEEPALIVE_PROBES,
		.user = user,
	};
	return lws_create_vhost(w->lws, &info);
}

// Where the connection goes; in a CONNECT, an IPv6 address has brackets.
static char *address(const struct kube_watcher *w)
{
	bool brackets = w->proxy != NULL && strchr(w->config->host, ':') != NULL;
	return xasprintf(brackets ? "[%s]" : "%s", w->config->host);
}

int watch_lws_connect(struct kube_stream *s, struct error *err)
{
	struct kube_watcher *w = s->w;
	struct watch_trust *trust = w->trust;
	CLEANUP_FREE char *to = address(w);
	// Names are in the context already, as libwebsockets would take an IPv6 address for a name of four letters.
	struct lws_client_connect_info info = {
		.context = w->lws,
		.vhost = trust->vhost,
		.address = to,
		.port = w->config->port,
		.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
						  (w->config->tls ? LCCSCF_USE_SSL : 0),
		.path = s->path,
		.host = w->authority,
		.method = s->plain ? "GET" : NULL,
		.alpn = "http/1.1",
		.local_protocol_name = protocols[0].name,
		.userdata = w, // any but NULL: without one, bodies aren't handed on
		.opaque_user_data = s,
		.retry_and_idle_policy = &no_idle_policy,
	};
	unsigned with_this = ++trust->connections;
	s->wsi = lws_client_connect_via_info(&info);
	if (s->wsi != NULL)
		return 0;
	if (trust->connections == with_this) // where it failed early, its end isn't told
		trust->connections--;
	return error_set(err, EHOSTUNREACH, "%s: no way to connect to port %d: is the name right, and the network up?",
					 w->proxy != NULL ? "the proxy" : w->config->host, w->config->port);
}
