#include "common/kube/transfer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/mem.h"

#define URL_MAX ((size_t)64 * 1024)
#define RETRY_AFTER_MAX_S 86400
#define KEEPALIVE_IDLE_S 30L
#define KEEPALIVE_INTERVAL_S 15L

// ---- Global state

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static CURLcode init_result;

static void init_curl(void)
{
	init_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int transfer_init(struct error *err)
{
	(void)pthread_once(&init_once, init_curl);
	if (init_result != CURLE_OK)
		return error_set(err, EIO, "libcurl can't be started: %s", curl_easy_strerror(init_result));
	return 0;
}

// ---- What libcurl calls

struct exchange {
	const struct transfer *t;
	struct buf *out;
	size_t header_bytes;
	bool has_header;           // down to the empty line
	size_t sent;               // of the body
	struct error refused;      // why a callback ended it; code 0: none did
	char why[CURL_ERROR_SIZE]; // libcurl's words
};

static CURLcode on_tls(CURL *handle, void *ssl_ctx, void *ctx)
{
	(void)handle;
	struct exchange *x = ctx;
	return kube_auth_setup_tls(x->t->auth, ssl_ctx, &x->refused) == 0 ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	x->header_bytes += size * n;
	x->has_header = size * n > 0 && (p[0] == '\r' || p[0] == '\n');
	if (x->header_bytes <= KUBE_HEADERS_MAX)
		return size * n;
	(void)error_set(&x->refused, EIO, "the answer's headers are larger than %zu bytes", KUBE_HEADERS_MAX);
	return 0;
}

static size_t on_answer(char *p, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	buf_add(x->out, p, size * n);
	if (buf_ok(x->out))
		return size * n;
	(void)error_set(&x->refused, EFBIG, "the answer is larger than %zu bytes", x->out->max);
	return 0;
}

static size_t on_body(char *to, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	size_t left = x->t->body.n - x->sent;
	size_t piece = size * n < left ? size * n : left;
	if (piece > 0)
		memcpy(to, x->t->body.p + x->sent, piece);
	x->sent += piece;
	return piece;
}

// The only reason to go back is to send it all again.
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
	struct exchange *x = ctx;
	if (origin != SEEK_SET || offset != 0 || (!x->t->repeatable && x->sent > 0))
		return CURL_SEEKFUNC_FAIL;
	x->sent = 0;
	return CURL_SEEKFUNC_OK;
}

static bool is_stopping(const struct transfer *t)
{
	return t->stop != NULL && atomic_load(t->stop);
}

static int on_progress(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	const struct exchange *x = ctx;
	return is_stopping(x->t) ? 1 : 0;
}

// ---- Options

struct address {
	struct buf url;
	char *connect_to; // NULL: where the URL says
	char *host;       // the header; NULL: as the URL says
	char *proxy;
};

static void address_release(struct address *a)
{
	buf_release(&a->url);
	free(a->connect_to);
	free(a->host);
	free(a->proxy);
}

static char *bracketed(const char *host)
{
	return strchr(host, ':') != NULL ? xasprintf("[%s]", host) : xstrdup(host);
}

// A server name other than the host stands in the URL, for SNI and verification; the connection and the Host header are
// the host's. SOCKS proxies look names up themselves, as client-go has it.
static int address_fill(struct address *a, const struct transfer *t, struct error *err)
{
	static const char socks[] = "socks5://";
	const struct kube_config *c = t->config;
	if (c->tls && c->tls_server_name != NULL && strcmp(c->tls_server_name, c->host) != 0) {
		CLEANUP_FREE
		char *name = bracketed(c->tls_server_name);
		CLEANUP_FREE
		char *host = bracketed(c->host);
		buf_addf(&a->url, "https://%s:%d%s", name, c->port, c->path);
		a->connect_to = xasprintf("%s:%d:%s:%d", name, c->port, host, c->port);
		a->host = xasprintf("Host: %s:%d", host, c->port);
	} else {
		buf_addz(&a->url, c->server);
	}
	buf_addz(&a->url, t->path);
	if (!buf_ok(&a->url))
		return error_set(err, E2BIG, "the URL is longer than %zu bytes", a->url.max);
	const char *proxy = c->proxy_url != NULL ? c->proxy_url : "";
	bool is_socks = strncasecmp(proxy, socks, sizeof(socks) - 1) == 0;
	a->proxy = is_socks ? xasprintf("socks5h://%s", proxy + sizeof(socks) - 1) : xstrdup(proxy);
	return 0;
}

// Nothing is trusted but what kube_auth_setup_tls() puts there: not libcurl's own default files, nor a cached store, nor a
// session that was made when another CA or client certificate counted.
static unsigned set_trust(CURL *h, struct exchange *x)
{
	const struct kube_config *c = x->t->config;
	long peer = c->insecure ? 0 : 1;
	long host = c->insecure ? 0 : 2;
	unsigned bad = 0;
	bad |= curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, c->tls ? "https" : "http");
	bad |= curl_easy_setopt(h, CURLOPT_CAINFO, NULL);
	bad |= curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
	bad |= curl_easy_setopt(h, CURLOPT_PROXY_CAINFO, NULL);
	bad |= curl_easy_setopt(h, CURLOPT_PROXY_CAPATH, NULL);
	bad |= curl_easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	bad |= curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, peer);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, host);
	bad |= curl_easy_setopt(h, CURLOPT_PROXY_SSL_VERIFYPEER, peer);
	bad |= curl_easy_setopt(h, CURLOPT_PROXY_SSL_VERIFYHOST, host);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_CTX_DATA, x);
	return bad;
}

// No environment variable has a say, and no answer sends us elsewhere with our credential.
static unsigned set_connection(CURL *h, const struct transfer *t, const struct address *a,
							   struct curl_slist *connect_to)
{
	int64_t connect_ms = t->connect_timeout_ms < t->timeout_ms ? t->connect_timeout_ms : t->timeout_ms;
	unsigned bad = 0;
	bad |= curl_easy_setopt(h, CURLOPT_URL, buf_z(&a->url));
	bad |= curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_CONNECT_TO, connect_to);
	bad |= curl_easy_setopt(h, CURLOPT_PROXY, a->proxy);
	bad |= curl_easy_setopt(h, CURLOPT_NOPROXY, "");
	bad |= curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	bad |= curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	bad |= curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)t->timeout_ms);
	bad |= curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	bad |= curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	bad |= curl_easy_setopt(h, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	bad |= curl_easy_setopt(h, CURLOPT_MAXCONNECTS, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	bad |= curl_easy_setopt(h, CURLOPT_PIPEWAIT, 0L);
	return bad;
}

static unsigned set_answer(CURL *h, struct exchange *x)
{
	unsigned bad = 0;
	bad |= curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "gzip");
	bad |= curl_easy_setopt(h, CURLOPT_BUFFERSIZE, KUBE_PIECE_BYTES);
	bad |= curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	bad |= curl_easy_setopt(h, CURLOPT_HEADERDATA, x);
	bad |= curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_answer);
	bad |= curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
	bad |= curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	bad |= curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	bad |= curl_easy_setopt(h, CURLOPT_XFERINFODATA, x);
	bad |= curl_easy_setopt(h, CURLOPT_ERRORBUFFER, x->why);
	return bad;
}

static unsigned set_request(CURL *h, struct exchange *x, const struct curl_slist *headers)
{
	const struct transfer *t = x->t;
	unsigned bad = 0;
	bad |= curl_easy_setopt(h, CURLOPT_USERAGENT, t->user_agent);
	bad |= curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	if (t->body.p != NULL) {
		bad |= curl_easy_setopt(h, CURLOPT_POST, 1L);
		bad |= curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.n);
		bad |= curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, KUBE_PIECE_BYTES);
		bad |= curl_easy_setopt(h, CURLOPT_READFUNCTION, on_body);
		bad |= curl_easy_setopt(h, CURLOPT_READDATA, x);
		bad |= curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_rewind);
		bad |= curl_easy_setopt(h, CURLOPT_SEEKDATA, x);
	}
	// Without a body there is nothing to rewind, which could be refused.
	if (t->body.p == NULL && !t->repeatable)
		bad |= curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, t->method);
	return bad;
}

// ---- What went wrong

// Of a connection that could not be made.
static int connect_errno(CURL *h)
{
	long os = 0;
	(void)curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os);
	switch (os) {
	case ETIMEDOUT:
		return ETIMEDOUT;
	case ECONNRESET:
		return ECONNRESET;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EACCES:
	case EPERM:
	case EADDRNOTAVAIL:
		return EHOSTUNREACH;
	default:
		return ECONNREFUSED;
	}
}

// A peer that goes away in the handshake may be back soon; one that refuses it, or can't be believed, stays so. libcurl
// has one code for both, and OpenSSL names what the peer said an alert.
static int handshake_errno(const char *why)
{
	static const char *const gone[] = {"SSL_ERROR_SYSCALL", "unexpected eof", "Connection reset", "Broken pipe"};
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		if (strstr(why, gone[i]) != NULL)
			return ECONNRESET;
	return EPROTO;
}

static int curl_errno(CURL *h, CURLcode code, const char *why)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		return EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return connect_errno(h);
	case CURLE_OPERATION_TIMEDOUT:
		return ETIMEDOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return EPROTO;
	case CURLE_SSL_CONNECT_ERROR:
		return handshake_errno(why);
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		// TLS 1.3 refuses a client certificate after the handshake.
		return strstr(why, "alert") != NULL ? EPROTO : ECONNRESET;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_FAIL_REWIND:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return ECONNRESET;
	case CURLE_OUT_OF_MEMORY:
		return ENOMEM;
	default:
		return EIO;
	}
}

static const char *remedy(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return "; certificate-authority must hold who signed the server's certificate, and tls-server-name one of its "
			   "names";
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return "; is the API server up, and the server's URL right?";
	case CURLE_COULDNT_RESOLVE_PROXY:
		return "; is proxy-url right?";
	default:
		return "";
	}
}

static int explain(CURL *h, const struct exchange *x, CURLcode code, struct error *err)
{
	const struct kube_config *c = x->t->config;
	const char *why = x->why[0] != '\0' ? x->why : curl_easy_strerror(code);
	if (is_stopping(x->t))
		return error_set(err, ECANCELED, "given up, as the program stops");
	if (x->refused.code != 0)
		return error_set(err, x->refused.code, "%s (%s): %s", c->server, c->origin, x->refused.msg);
	return error_set(err, curl_errno(h, code, why), "%s (%s): %s%s", c->server, c->origin, why, remedy(code));
}

// ----

static int retry_after(CURL *h)
{
	curl_off_t s = 0;
	if (curl_easy_getinfo(h, CURLINFO_RETRY_AFTER, &s) != CURLE_OK || s <= 0)
		return 0;
	return s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int)s;
}

static void cleanup_slist(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

int transfer_run(CURL *h, const struct transfer *t, struct buf *out, struct transfer_result *ret, struct error *err)
{
	*ret = (struct transfer_result){0};
	CLEANUP(address_release) struct address a = {.url = BUF_INIT(URL_MAX)};
	if (address_fill(&a, t, err) < 0)
		return -err->code;
	struct exchange x = {.t = t, .out = out};
	CLEANUP(cleanup_slist) struct curl_slist *connect_to = NULL;
	if (a.connect_to != NULL && (connect_to = curl_slist_append(NULL, a.connect_to)) == NULL)
		return error_set(err, ENOMEM, "libcurl is out of memory");
	// In front of the caller's, whose list stays as it is.
	union {
		const struct curl_slist *in;
		struct curl_slist *out;
	} rest = {.in = t->headers};
	struct curl_slist host = {.data = a.host, .next = rest.out};

	// Forgets the last request, its headers above all; keeps the connection.
	curl_easy_reset(h);
	unsigned bad = set_trust(h, &x) | set_connection(h, t, &a, connect_to) | set_answer(h, &x);
	bad |= set_request(h, &x, a.host != NULL ? &host : t->headers);
	if (bad != 0)
		return error_set(err, EIO, "libcurl %s lacks an option that requests need: 7.88 or later does",
						 curl_version_info(CURLVERSION_NOW)->version);
	CURLcode code = curl_easy_perform(h);
	// An answer that ends within its header is one without a body to libcurl.
	if (code == CURLE_OK && !x.has_header)
		code = CURLE_PARTIAL_FILE;
	int rc = code == CURLE_OK ? 0 : explain(h, &x, code, err);
	if (rc == 0) {
		long http = 0;
		(void)curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &http);
		*ret = (struct transfer_result){(int)http, retry_after(h)};
	}
	// It must not keep what lives on this stack.
	curl_easy_reset(h);
	return rc;
}
