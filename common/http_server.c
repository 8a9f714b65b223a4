// How it hangs together.
//
// Each thread is an MHD daemon of its own with an epoll loop; all accept from one listening socket that belongs to
// us. MHD's own thread pool isn't used, since MHD 0.9.75 aborts the program when quiescing a pool races with a worker
// that takes the socket out of its epoll set.
//
// A connection is a struct conn from MHD_CONNECTION_NOTIFY_STARTED to _CLOSED, and its loop's alone but for what the
// watch thread looks at. HTTP/1.1 has one request at a time on a connection, so the request lives in it: nothing is
// allocated per request but its body.
//
// A request that has to wait is suspended in its loop and handed to the lane (http_lane.h). Until the lane resumes it,
// MHD leaves the connection and the request alone, so both are the lane's.
//
// SIGPIPE: nobody needs to ignore it. MHD sends with MSG_NOSIGNAL, and so do we.
#include "common/http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/http_lane.h"
#include "common/http_private.h"
#include "common/listen_socket.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls_pair.h"
#include "common/tls_transport.h"

#define RETRY_AFTER_S 1
#define RESERVE_MAX ((size_t)64 * 1024) // a body announced with at most this gets its memory at once
#define ALLOW_MAX 128
#define PATHS_MAX 512
#define TEXT_MAX 1024

struct conn {
	struct http_server *s;
	struct watched watched; // and what carries it: fd, tls

	// The request under way.
	const struct http_route *route;
	bool head;  // HEAD
	int refuse; // 0, or the status that the request gets once it is complete
	struct buf body;
	size_t charged; // of the bodies' budget

	// The request on the lane.
	struct http_job job;
	int64_t handed_ms;                // over to the lane
	struct MHD_Connection *suspended; // NULL: not there
	const char *path;
	bool answered; // resp is complete
	struct http_response resp;
};

struct loop {
	struct MHD_Daemon *daemon;
	int listen_fd; // a duplicate, ours again once the daemon is quiesced
};

struct http_server {
	char *name;
	struct http_limits limits;
	const struct http_route *routes;
	size_t nroutes;
	char *paths; // for the text of 404
	bool tls;
	int listen_fd;
	uint16_t port;
	struct loop *loops;
	unsigned nloops;

	bool quiesced;
	_Atomic bool stopping;
	_Atomic unsigned connections;
	_Atomic uint64_t body_bytes;
	_Atomic uint64_t refused_413, refused_503;
	struct http_watch watch;
	struct http_lane lane;

	pthread_mutex_t pair_lock;
	struct tls_pair *pair; // for the next handshake
};

// Where this thread wants to hear what MHD says: the reason why a daemon doesn't start comes as a message only.
static _Thread_local struct error *mhd_says;

// ---- Certificates

static struct tls_pair *current_pair(void *ctx)
{
	struct http_server *s = ((struct conn *)ctx)->s;
	(void)pthread_mutex_lock(&s->pair_lock);
	struct tls_pair *pair = tls_pair_ref(s->pair);
	(void)pthread_mutex_unlock(&s->pair_lock);
	return pair;
}

int http_server_set_certificate(struct http_server *s, struct str cert_pem, struct str key_pem, struct error *err)
{
	if (!s->tls)
		return error_set(err, EINVAL, "server %s speaks plain HTTP: it takes no certificate", s->name);
	struct tls_pair *pair = tls_pair_load(cert_pem, key_pem, err);
	if (pair == NULL)
		return -err->code;
	(void)pthread_mutex_lock(&s->pair_lock);
	struct tls_pair *old = s->pair;
	s->pair = pair;
	(void)pthread_mutex_unlock(&s->pair_lock);
	tls_pair_unref(old);
	return 0;
}

// ---- Connections

static void on_shaken(void *ctx)
{
	struct conn *conn = ctx;
	http_watch_waits(&conn->watched);
}

static struct conn *conn_open(struct http_server *s, struct MHD_Connection *c)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));
	conn->s = s;
	conn->body = BUF_INIT(s->limits.body_max);
	conn->watched.fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	if (s->tls) {
		const struct tls_owner owner = {.pair = current_pair, .shaken = on_shaken, .ctx = conn};
		void *session = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
		conn->watched.tls = tls_transport_new(session, conn->watched.fd, &owner);
	}
	atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
	http_watch_add(&s->watch, &conn->watched);
	return conn;
}

// MHD is done with the TLS session by now, and closes the socket after this.
static void conn_close(struct conn *conn)
{
	http_watch_remove(&conn->s->watch, &conn->watched);
	atomic_fetch_sub_explicit(&conn->s->connections, 1, memory_order_relaxed);
	tls_transport_free(conn->watched.tls);
	buf_release(&conn->body);
	free(conn);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **socket_context,
						  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = conn_open(cls, c);
	} else if (*socket_context != NULL) {
		conn_close(*socket_context);
		*socket_context = NULL;
	}
}

// ---- The bodies' budget

// Charges what the body's buffer takes by now to the budget. False when that is used up.
static bool charge_body(struct conn *conn)
{
	size_t takes = conn->body.cap > 0 ? conn->body.cap - 1 : 0; // its NUL is ours
	size_t more = takes - conn->charged;
	if (more == 0)
		return true;
	struct http_server *s = conn->s;
	conn->charged += more;
	return atomic_fetch_add_explicit(&s->body_bytes, more, memory_order_relaxed) + more <= s->limits.bodies_max;
}

static void drop_body(struct conn *conn)
{
	buf_release(&conn->body);
	if (conn->charged > 0)
		atomic_fetch_sub_explicit(&conn->s->body_bytes, conn->charged, memory_order_relaxed);
	conn->charged = 0;
}

// ---- Answers

static enum MHD_Result answer(struct conn *conn, struct MHD_Connection *c, struct http_response *resp,
							  const char *allow)
{
	char *p = NULL;
	size_t n = resp->body.n;
	if (n > 0)
		p = buf_take(&resp->body);
	else
		buf_release(&resp->body);
	struct MHD_Response *r = MHD_create_response_from_buffer(n, p, MHD_RESPMEM_MUST_FREE);
	if (r == NULL) {
		free(p);
		return MHD_NO;
	}
	const char *type = resp->content_type != NULL ? resp->content_type : "text/plain; charset=utf-8";
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (allow != NULL)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	if (resp->retry_after_s > 0) {
		char seconds[16];
		(void)snprintf(seconds, sizeof(seconds), "%d", resp->retry_after_s);
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (atomic_load_explicit(&conn->s->stopping, memory_order_relaxed))
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	http_watch_answer(&conn->watched);
	// The body follows the header at once.
	if (conn->watched.tls != NULL && n > 0 && !conn->head && resp->status != 204 && resp->status != 304)
		tls_transport_hold_next(conn->watched.tls);
	enum MHD_Result ok = MHD_queue_response(c, (unsigned)resp->status, r);
	MHD_destroy_response(r);
	return ok;
}

// "GET, HEAD, POST": the methods that the path has.
static void allowed_methods(const struct http_server *s, const char *path, struct buf *out)
{
	for (size_t i = 0; i < s->nroutes; i++) {
		if (strcmp(s->routes[i].path, path) != 0)
			continue;
		bool get = strcmp(s->routes[i].method, "GET") == 0;
		buf_addf(out, "%s%s", out->n > 0 ? ", " : "", get ? "GET, HEAD" : s->routes[i].method);
	}
}

static void refusal_text(const struct conn *conn, int status, const char *allow, struct buf *out)
{
	const struct http_server *s = conn->s;
	switch (status) {
	case 400:
		buf_addz(out, "the request has a Transfer-Encoding other than chunked, or beside a Content-Length\n");
		break;
	case 404:
		buf_addf(out, "no such path: this server has %s\n", s->paths);
		break;
	case 405:
		buf_addf(out, "method not allowed: this path takes %s\n", allow);
		break;
	case 408:
		buf_addf(out, "the request took longer than %u s\n", s->limits.request_timeout_s);
		break;
	case 413:
		buf_addf(out, "the body is larger than %zu bytes\n", s->limits.body_max);
		break;
	case 415:
		buf_addf(out, "unsupported media type: send %s\n",
				 conn->route != NULL && conn->route->accepts != NULL ? conn->route->accepts : "another one");
		break;
	case 503:
		buf_addz(out, "too many requests under way: try again shortly\n");
		break;
	default:
		buf_addz(out, "the request can't be served\n");
		break;
	}
}

// But for 408, which the watch counts.
static void count_refusal(struct conn *conn, int status)
{
	struct http_server *s = conn->s;
	if (status == 413)
		atomic_fetch_add_explicit(&s->refused_413, 1, memory_order_relaxed);
	else if (status == 503)
		atomic_fetch_add_explicit(&s->refused_503, 1, memory_order_relaxed);
	log_debug("request refused", LOG_Z("server", s->name), LOG_I("status", status));
}

static enum MHD_Result refuse(struct conn *conn, struct MHD_Connection *c, const char *path, int status)
{
	struct buf allow CLEANUP_BUF = BUF_INIT(ALLOW_MAX);
	if (status == 405)
		allowed_methods(conn->s, path, &allow);
	struct http_response resp = {.status = status, .body = BUF_INIT(HTTP_RESPONSE_MAX)};
	resp.retry_after_s = status == 503 ? RETRY_AFTER_S : 0;
	refusal_text(conn, status, buf_z(&allow), &resp.body);
	count_refusal(conn, status);
	drop_body(conn);
	return answer(conn, c, &resp, allow.n > 0 ? buf_z(&allow) : NULL);
}

// In the middle of a body MHD 0.9.75 takes no answer, only the end of the connection. MHD sends nothing then, and
// this is its thread, so the answer is written past it; the connection ends either way, so a short write is no loss.
static enum MHD_Result refuse_amid_body(struct conn *conn, int status)
{
	struct buf text CLEANUP_BUF = BUF_INIT(TEXT_MAX);
	struct buf whole CLEANUP_BUF = BUF_INIT(2 * TEXT_MAX);
	refusal_text(conn, status, "", &text);
	buf_addf(&whole, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n", status,
			 MHD_get_reason_phrase_for((unsigned)status), text.n);
	if (status == 503)
		buf_addf(&whole, "Retry-After: %d\r\n", RETRY_AFTER_S);
	buf_addz(&whole, "Connection: close\r\n\r\n");
	buf_add_str(&whole, buf_str(&text));
	if (conn->watched.tls != NULL)
		tls_transport_last_words(conn->watched.tls, buf_z(&whole), whole.n);
	else
		(void)send(conn->watched.fd, buf_z(&whole), whole.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	count_refusal(conn, status);
	return MHD_NO;
}

// ---- Requests

static bool route_takes(const struct http_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 || (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

// Sets conn->route; returns 0 or a status.
static int find_route(struct conn *conn, const char *method, const char *path)
{
	const struct http_server *s = conn->s;
	int status = 404;
	conn->route = NULL;
	for (size_t i = 0; i < s->nroutes; i++) {
		if (strcmp(s->routes[i].path, path) != 0)
			continue;
		if (route_takes(&s->routes[i], method)) {
			conn->route = &s->routes[i];
			return 0;
		}
		status = 405;
	}
	return status;
}

// Parameters like charset are ignored.
static bool media_type_is(const char *value, const char *type)
{
	size_t n = strlen(type);
	return value != NULL && strncasecmp(value, type, n) == 0 && strchr("; \t", value[n]) != NULL;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

// What the header tells of the body.
struct announced {
	bool any;
	bool known;
	uint64_t n;
	bool bad; // the two ways of telling disagree, or a coding that MHD would misread
};

static struct announced announced_body(struct MHD_Connection *c)
{
	struct announced a = {0};
	const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	const char *coding = header(c, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	if (coding != NULL) {
		a.any = true;
		a.bad = length != NULL || strcasecmp(coding, "chunked") != 0;
	} else if (length != NULL) {
		// MHD has checked the digits. A value that doesn't fit becomes the largest, which is refused.
		a.n = strtoull(length, NULL, 10);
		a.known = true;
		a.any = a.n > 0;
	}
	return a;
}

static int check_request(struct conn *conn, struct MHD_Connection *c, const char *method, const char *path,
						 const struct announced *a)
{
	if (a->bad)
		return 400;
	int status = find_route(conn, method, path);
	if (conn->route == NULL)
		return status;
	if (a->known && a->n > conn->s->limits.body_max)
		return 413;
	if (conn->route->accepts != NULL && !media_type_is(header(c, MHD_HTTP_HEADER_CONTENT_TYPE), conn->route->accepts))
		return 415;
	if (!a->any)
		return 0;
	if (a->known && a->n <= RESERVE_MAX && buf_reserve(&conn->body, (size_t)a->n) != NULL && !charge_body(conn))
		return 503;
	if (atomic_load_explicit(&conn->s->body_bytes, memory_order_relaxed) > conn->s->limits.bodies_max)
		return 503;
	return 0;
}

static enum MHD_Result begin_request(struct conn *conn, struct MHD_Connection *c, const char *method, const char *path)
{
	http_watch_request(&conn->watched);
	struct announced a = announced_body(c);
	conn->head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	conn->refuse = check_request(conn, c, method, path, &a);
	// An answer at this point makes MHD close the connection. That is right where a body would have to be read
	// first; a request without one is refused when it is complete, and keeps its connection.
	if (conn->refuse != 0 && a.any)
		return refuse(conn, c, path, conn->refuse);
	return MHD_YES;
}

static enum MHD_Result add_body(struct conn *conn, const char *data, size_t *n)
{
	buf_add(&conn->body, data, *n);
	*n = 0;
	if (!buf_ok(&conn->body))
		return refuse_amid_body(conn, 413);
	if (!charge_body(conn))
		return refuse_amid_body(conn, 503);
	if (http_watch_overdue(&conn->s->watch, &conn->watched))
		return refuse_amid_body(conn, 408);
	return MHD_YES;
}

// Gives the handler's answer to the peer, or says that there is none.
static enum MHD_Result answer_with(struct conn *conn, struct MHD_Connection *c, const char *path,
								   struct http_response *resp)
{
	drop_body(conn);
	if (resp->status < 200 || resp->status > 599 || !buf_ok(&resp->body)) {
		log_error("handler gave no usable answer", LOG_Z("server", conn->s->name), LOG_Z("path", path),
				  LOG_I("status", resp->status), LOG_B("too_large", !buf_ok(&resp->body)));
		buf_clear(&resp->body);
		buf_addz(&resp->body, "internal error: see the server's log\n");
		resp->status = 500;
		resp->content_type = NULL;
	}
	return answer(conn, c, resp, NULL);
}

static void answer_later(struct http_job *job, bool stopping)
{
	struct conn *conn = (struct conn *)(void *)((char *)job - offsetof(struct conn, job));
	const struct http_request req = {.path = str_from(conn->path),
									 .body = buf_str(&conn->body),
									 .line_ms = clock_mono_ms(&clock_real) - conn->handed_ms};
	conn->route->later(conn->route->ctx, &req, stopping, &conn->resp);
	struct MHD_Connection *c = TAKE_PTR(conn->suspended);
	conn->answered = true;
	MHD_resume_connection(c);
}

// False where the lane doesn't take it: then nothing has happened.
static bool hand_over(struct conn *conn, struct MHD_Connection *c, const char *path)
{
	conn->job.run = answer_later;
	conn->handed_ms = clock_mono_ms(&clock_real);
	conn->suspended = c;
	conn->path = path;
	conn->answered = false;
	conn->resp = (struct http_response){.body = BUF_INIT(HTTP_RESPONSE_MAX)};
	// Before the lane can have it: a connection that isn't suspended yet can't be resumed.
	MHD_suspend_connection(c);
	if (http_lane_add(&conn->s->lane, &conn->job))
		return true;
	conn->suspended = NULL;
	return false;
}

static enum MHD_Result serve(struct conn *conn, struct MHD_Connection *c, const char *path)
{
	struct http_request req = {.path = str_from(path), .body = buf_str(&conn->body)};
	struct http_response resp = {.body = BUF_INIT(HTTP_RESPONSE_MAX)};
	conn->route->handle(conn->route->ctx, &req, &resp);
	if (!resp.later || conn->route->later == NULL)
		return answer_with(conn, c, path, &resp);
	buf_release(&resp.body);
	if (hand_over(conn, c, path))
		return MHD_YES;
	// The line is full: an answer without waiting. MHD calls on_request() once more after the resume.
	req.at_once = true;
	conn->route->handle(conn->route->ctx, &req, &conn->resp);
	conn->answered = true;
	MHD_resume_connection(c);
	return MHD_YES;
}

// MHD calls this when the header is complete, then for each piece of the body, then once more.
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
								  const char *version, const char *data, size_t *n, void **request_context)
{
	(void)cls;
	(void)version;
	struct conn *conn = *request_context;
	if (conn == NULL) {
		conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
		*request_context = conn;
		return begin_request(conn, c, method, url);
	}
	if (*n > 0)
		return add_body(conn, data, n);
	if (conn->refuse != 0)
		return refuse(conn, c, url, conn->refuse);
	if (conn->answered) {
		conn->answered = false;
		return answer_with(conn, c, url, &conn->resp);
	}
	return serve(conn, c, url);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **request_context,
						 enum MHD_RequestTerminationCode how)
{
	(void)cls;
	(void)c;
	(void)how;
	struct conn *conn = *request_context;
	if (conn == NULL)
		return;
	*request_context = NULL;
	drop_body(conn);
	// An answer that came when the peer was gone.
	if (conn->answered)
		buf_release(&conn->resp.body);
	conn->answered = false;
	http_watch_waits(&conn->watched);
}

// ---- Start and stop

__attribute__((format(printf, 2, 0))) static void on_mhd_message(void *cls, const char *fmt, va_list ap)
{
	struct http_server *s = cls;
	if (mhd_says == NULL && !log_enabled(LOG_DEBUG))
		return;
	char text[512];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	if (mhd_says != NULL)
		(void)error_set(mhd_says, EIO, "%s", text);
	else
		log_debug("libmicrohttpd", LOG_Z("server", s->name), LOG_Z("said", text));
}

static bool needs_lane(const struct http_server *s)
{
	for (size_t i = 0; i < s->nroutes; i++)
		if (s->routes[i].later != NULL)
			return true;
	return false;
}

static int start_loop(struct http_server *s, struct loop *loop, unsigned connections, struct error *err)
{
	// MHD closes it itself on most ways of failing to start, and nobody can tell: on the others it stays open.
	loop->listen_fd = fcntl(s->listen_fd, F_DUPFD_CLOEXEC, 0);
	if (loop->listen_fd < 0)
		return error_set(err, errno, "duplicate the listening socket: %s: raise the limit of open files",
						 strerror(errno));
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG | (s->tls ? MHD_USE_TLS : 0U) |
					 (needs_lane(s) ? MHD_ALLOW_SUSPEND_RESUME : 0U);
	// The options for TLS are behind the first end for plain HTTP.
	loop->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_message, (void *)s,
		MHD_OPTION_LISTEN_SOCKET, loop->listen_fd, MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_CONNECTION_TIMEOUT, s->limits.idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		s->limits.connection_memory, MHD_OPTION_NOTIFY_COMPLETED, on_completed, (void *)s, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, (void *)s, s->tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, tls_transport_certificate,
		MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES, MHD_OPTION_END);
	if (loop->daemon == NULL)
		return error_prefix(err, "start the HTTP server %s", s->name);
	return 0;
}

static int start_threads(struct http_server *s, struct error *err)
{
	struct error said;
	(void)error_set(&said, EIO, "libmicrohttpd gave no reason: raise the limits of threads and open files");
	mhd_says = &said;
	int r = 0;
	for (unsigned i = 0; i < s->nloops && r == 0; i++) {
		// Equal shares, of which the first loops' are one larger where it doesn't divide.
		unsigned share = s->limits.connections / s->nloops + (i < s->limits.connections % s->nloops ? 1 : 0);
		r = start_loop(s, &s->loops[i], share, &said);
	}
	mhd_says = NULL;
	if (r < 0) {
		*err = said;
		return r;
	}
	if (needs_lane(s) && http_lane_start(&s->lane, err) < 0)
		return -err->code;
	return http_watch_start(&s->watch, err);
}

// Signals belong to the program's own threads.
static int start_threads_without_signals(struct http_server *s, struct error *err)
{
	sigset_t all;
	sigset_t before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = start_threads(s, err);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int check_config(const struct http_config *config, struct error *err)
{
	const struct http_limits *l = &config->limits;
	if (config->listen == NULL)
		return error_set(err, EINVAL, "no listen address: write ADDRESS:PORT");
	if (config->threads < 1 || config->threads > 64)
		return error_set(err, EINVAL, "%u server threads: use 1 to 64", config->threads);
	if (l->connections < config->threads)
		return error_set(err, EINVAL, "%u connections for %u threads: allow at least one for each", l->connections,
						 config->threads);
	if (l->body_max == 0 || l->body_max > (size_t)1024 * 1024 * 1024 || l->bodies_max < l->body_max)
		return error_set(err, EINVAL, "body limits %zu and %zu: use 1 byte to 1 GiB for one, no less for all",
						 l->body_max, l->bodies_max);
	if (l->idle_timeout_s == 0 || l->request_timeout_s == 0)
		return error_set(err, EINVAL, "a timeout of 0 s: use at least 1");
	if (l->connection_memory < 1024)
		return error_set(err, EINVAL, "%zu bytes for a connection's headers: use at least 1024", l->connection_memory);
	return 0;
}

static char *list_paths(const struct http_config *config)
{
	struct buf b = BUF_INIT(PATHS_MAX);
	for (size_t i = 0; i < config->nroutes; i++) {
		bool first = true;
		for (size_t j = 0; j < i && first; j++)
			first = strcmp(config->routes[i].path, config->routes[j].path) != 0;
		if (first)
			buf_addf(&b, "%s%s", b.n > 0 ? ", " : "", config->routes[i].path);
	}
	return buf_take(&b);
}

static struct http_server *server_new(const struct http_config *config)
{
	struct http_server *s = xcalloc(1, sizeof(*s));
	s->name = xstrndup(config->name);
	s->limits = config->limits;
	s->routes = config->routes;
	s->nroutes = config->nroutes;
	s->paths = list_paths(config);
	s->tls = config->cert_pem.p != NULL;
	s->listen_fd = -1;
	s->nloops = config->threads;
	s->loops = xcalloc(s->nloops, sizeof(*s->loops));
	http_watch_init(&s->watch, s->name, s->limits.request_timeout_s);
	http_lane_init(&s->lane);
	(void)pthread_mutex_init(&s->pair_lock, NULL);
	return s;
}

static void stop_accepting(struct http_server *s)
{
	if (s->quiesced)
		return;
	s->quiesced = true;
	for (unsigned i = 0; i < s->nloops; i++) {
		if (s->loops[i].daemon != NULL)
			(void)MHD_quiesce_daemon(s->loops[i].daemon);
	}
	// Closing alone wouldn't do, as the duplicates stay open until the loops have ended. From here on connecting is
	// refused, and who waits to be accepted is reset.
	if (s->listen_fd >= 0)
		(void)shutdown(s->listen_fd, SHUT_RDWR);
}

static void end_loops(struct http_server *s)
{
	for (unsigned i = 0; i < s->nloops; i++) {
		if (s->loops[i].daemon == NULL)
			continue;
		MHD_stop_daemon(s->loops[i].daemon);
		// Quiesced before, so MHD has left it to us.
		(void)close(s->loops[i].listen_fd);
	}
}

static void server_free(struct http_server *s)
{
	stop_accepting(s);
	http_watch_end(&s->watch);
	// Before the loops: MHD can't end while a connection is suspended.
	http_lane_end(&s->lane);
	end_loops(s);
	if (s->listen_fd >= 0)
		(void)close(s->listen_fd);
	tls_pair_unref(s->pair);
	http_watch_release(&s->watch);
	http_lane_release(&s->lane);
	(void)pthread_mutex_destroy(&s->pair_lock);
	free(s->loops);
	free(s->paths);
	free(s->name);
	free(s);
}

static void cleanup_server(struct http_server **s)
{
	if (*s != NULL)
		server_free(*s);
}

struct http_server *http_server_start(const struct http_config *config, struct error *err)
{
	if (check_config(config, err) < 0)
		return NULL;
	struct http_server *s CLEANUP(cleanup_server) = server_new(config);
	if (s->tls) {
		s->pair = tls_pair_load(config->cert_pem, config->key_pem, err);
		if (s->pair == NULL)
			return NULL;
	}
	if (listen_socket_open(config->listen, &s->listen_fd, err) < 0)
		return NULL;
	s->port = listen_socket_port(s->listen_fd);
	if (start_threads_without_signals(s, err) < 0)
		return NULL;
	return TAKE_PTR(s);
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

void http_server_stats(const struct http_server *s, struct http_stats *ret)
{
	ret->connections = atomic_load_explicit(&s->connections, memory_order_relaxed);
	ret->body_bytes = atomic_load_explicit(&s->body_bytes, memory_order_relaxed);
	ret->refused_413 = atomic_load_explicit(&s->refused_413, memory_order_relaxed);
	ret->refused_503 = atomic_load_explicit(&s->refused_503, memory_order_relaxed);
	ret->refused_408 = atomic_load_explicit(&s->watch.overdue, memory_order_relaxed);
}

void http_server_drain(struct http_server *s)
{
	atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
}

void http_server_stop(struct http_server *s, unsigned grace_ms)
{
	if (s == NULL)
		return;
	atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
	stop_accepting(s);
	http_watch_wait_quiet(&s->watch, grace_ms);
	server_free(s);
}
