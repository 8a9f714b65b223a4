// A server for tests/http/test_http_server.py, and for measuring: what it serves is in ROUTES. It prints its port on
// stdout when it accepts, reads the certificate anew at SIGHUP and prints "reloaded" or "refused: why", and stops at
// SIGTERM.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/http_server.h"
#include "common/log.h"

#define FILE_MAX ((size_t)1024 * 1024)
#define CONSTANT_SIZE 5120

static struct http_server *_Atomic server;

static void serve_echo(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	buf_add_str(&resp->body, req->body);
	resp->content_type = "application/octet-stream";
	resp->status = 200;
}

static void serve_health(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	buf_addz(&resp->body, "ok\n");
	resp->status = 200;
}

static void serve_slowly(void *ctx, const struct http_request *req, struct http_response *resp)
{
	const struct timespec pause = {.tv_nsec = 300000000};
	(void)nanosleep(&pause, NULL);
	serve_echo(ctx, req, resp);
}

static void serve_constant(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	char *p = buf_reserve(&resp->body, CONSTANT_SIZE);
	memset(p, 'x', CONSTANT_SIZE);
	buf_commit(&resp->body, CONSTANT_SIZE);
	resp->content_type = "application/json";
	resp->status = 200;
}

static void serve_large(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	char *p = buf_reserve(&resp->body, HTTP_RESPONSE_MAX);
	memset(p, 'y', HTTP_RESPONSE_MAX);
	buf_commit(&resp->body, HTTP_RESPONSE_MAX);
	resp->status = 200;
}

// What comes to /later waits for a GET of /release, as a handler waits for another server.
static pthread_mutex_t release_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t release_changed = PTHREAD_COND_INITIALIZER;
static unsigned released;
static unsigned waiting;

static void serve_later_first(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	resp->later = !req->at_once;
	resp->status = 429;
	buf_addz(&resp->body, "busy\n");
}

static void serve_later(void *ctx, const struct http_request *req, bool stopping, struct http_response *resp)
{
	struct timespec limit;
	(void)clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 20;
	(void)pthread_mutex_lock(&release_lock);
	waiting++;
	while (released == 0 && !stopping && pthread_cond_timedwait(&release_changed, &release_lock, &limit) == 0)
		;
	if (released > 0)
		released--;
	waiting--;
	(void)pthread_mutex_unlock(&release_lock);
	serve_echo(ctx, req, resp);
	if (stopping)
		resp->status = 503;
}

static void serve_release(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	(void)pthread_mutex_lock(&release_lock);
	released++;
	(void)pthread_cond_signal(&release_changed);
	(void)pthread_mutex_unlock(&release_lock);
	resp->status = 204;
}

static void serve_waiting(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	(void)pthread_mutex_lock(&release_lock);
	buf_addf(&resp->body, "%u", waiting);
	(void)pthread_mutex_unlock(&release_lock);
	resp->status = 200;
}

static void serve_nothing(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	resp->status = 204;
}

static void serve_broken(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	buf_addz(&resp->body, "never sent");
	resp->status = 0;
}

static void serve_stats(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	struct http_stats st;
	http_server_stats(atomic_load(&server), &st);
	buf_addf(&resp->body,
			 "{\"connections\":%u,\"body_bytes\":%" PRIu64 ",\"refused_413\":%" PRIu64 ",\"refused_503\":%" PRIu64
			 ",\"refused_408\":%" PRIu64 "}\n",
			 st.connections, st.body_bytes, st.refused_413, st.refused_503, st.refused_408);
	resp->content_type = "application/json";
	resp->status = 200;
}

static const struct http_route ROUTES[] = {
	{.method = "POST", .path = "/echo", .handle = serve_echo},
	{.method = "GET", .path = "/echo", .handle = serve_health},
	{.method = "GET", .path = "/healthz", .handle = serve_health},
	{.method = "POST", .path = "/slow", .handle = serve_slowly},
	{.method = "POST", .path = "/json", .handle = serve_echo, .accepts = "application/json"},
	{.method = "POST", .path = "/constant", .handle = serve_constant},
	{.method = "POST", .path = "/later", .handle = serve_later_first, .later = serve_later},
	{.method = "GET", .path = "/release", .handle = serve_release},
	{.method = "GET", .path = "/waiting", .handle = serve_waiting},
	{.method = "GET", .path = "/large", .handle = serve_large},
	{.method = "GET", .path = "/nothing", .handle = serve_nothing},
	{.method = "GET", .path = "/broken", .handle = serve_broken},
	{.method = "GET", .path = "/stats", .handle = serve_stats},
};

struct options {
	const char *listen;
	const char *cert;
	const char *key;
	unsigned threads;
	unsigned grace_ms;
	struct http_limits limits;
};

static unsigned number(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

static struct options parse_options(int argc, char **argv)
{
	static const struct option LONG[] = {
		{"listen", 1, NULL, 'l'},     {"cert", 1, NULL, 'c'},        {"key", 1, NULL, 'k'},
		{"threads", 1, NULL, 't'},    {"grace-ms", 1, NULL, 'g'},    {"body-max", 1, NULL, 'b'},
		{"bodies-max", 1, NULL, 'B'}, {"connections", 1, NULL, 'n'}, {"idle-s", 1, NULL, 'i'},
		{"request-s", 1, NULL, 'r'},  {"memory", 1, NULL, 'm'},      {"debug", 0, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	struct options o = {
		.listen = "127.0.0.1:0",
		.threads = 1,
		.grace_ms = 5000,
		.limits = {.body_max = 3 * 1024 * 1024,
				   .bodies_max = 32 * 1024 * 1024,
				   .connections = 512,
				   .idle_timeout_s = 90,
				   .request_timeout_s = 10,
				   .connection_memory = 16 * 1024},
	};
	for (int c = getopt_long(argc, argv, "", LONG, NULL); c != -1; c = getopt_long(argc, argv, "", LONG, NULL)) {
		switch (c) {
		case 'l':
			o.listen = optarg;
			break;
		case 'c':
			o.cert = optarg;
			break;
		case 'k':
			o.key = optarg;
			break;
		case 't':
			o.threads = number(optarg);
			break;
		case 'g':
			o.grace_ms = number(optarg);
			break;
		case 'b':
			o.limits.body_max = number(optarg);
			break;
		case 'B':
			o.limits.bodies_max = number(optarg);
			break;
		case 'n':
			o.limits.connections = number(optarg);
			break;
		case 'i':
			o.limits.idle_timeout_s = number(optarg);
			break;
		case 'r':
			o.limits.request_timeout_s = number(optarg);
			break;
		case 'm':
			o.limits.connection_memory = number(optarg);
			break;
		case 'd':
			log_setup(LOG_DEBUG, 2);
			break;
		default:
			exit(2);
		}
	}
	return o;
}

static int read_file(const char *path, struct buf *out, struct error *err)
{
	FILE *f CLEANUP_FCLOSE = fopen(path, "re");
	if (f == NULL)
		return error_set(err, errno, "open %s: %s", path, strerror(errno));
	char chunk[4096];
	for (size_t n = fread(chunk, 1, sizeof(chunk), f); n > 0; n = fread(chunk, 1, sizeof(chunk), f))
		buf_add(out, chunk, n);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "%s is too large", path);
}

static int read_pair(const struct options *o, struct buf *cert, struct buf *key, struct error *err)
{
	return read_file(o->cert, cert, err) < 0 ? -err->code : read_file(o->key, key, err);
}

static void reload(const struct options *o)
{
	struct error err;
	struct buf cert CLEANUP_BUF = BUF_INIT(FILE_MAX);
	struct buf key CLEANUP_BUF = BUF_INIT(FILE_MAX);
	int r = read_pair(o, &cert, &key, &err);
	if (r == 0)
		r = http_server_set_certificate(atomic_load(&server), buf_str(&cert), buf_str(&key), &err);
	(void)printf("%s%s\n", r == 0 ? "reloaded" : "refused: ", r == 0 ? "" : err.msg);
	(void)fflush(stdout);
}

static struct http_server *start(const struct options *o, struct error *err)
{
	struct buf cert CLEANUP_BUF = BUF_INIT(FILE_MAX);
	struct buf key CLEANUP_BUF = BUF_INIT(FILE_MAX);
	struct http_config config = {
		.name = STR("echo"),
		.listen = o->listen,
		.threads = o->threads,
		.limits = o->limits,
		.routes = ROUTES,
		.nroutes = sizeof(ROUTES) / sizeof(ROUTES[0]),
	};
	if (o->cert != NULL) {
		if (read_pair(o, &cert, &key, err) < 0)
			return NULL;
		config.cert_pem = buf_str(&cert);
		config.key_pem = buf_str(&key);
	}
	return http_server_start(&config, err);
}

int main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv);
	sigset_t wanted;
	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGHUP);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &wanted, NULL);
	struct error err;
	struct http_server *s = start(&o, &err);
	if (s == NULL) {
		(void)fprintf(stderr, "echo_server: %s\n", err.msg);
		return 1;
	}
	atomic_store(&server, s);
	(void)printf("%u\n", (unsigned)http_server_port(s));
	(void)fflush(stdout);
	for (;;) {
		int got = 0;
		(void)sigwait(&wanted, &got);
		if (got == SIGTERM)
			break;
		reload(&o);
	}
	http_server_stop(s, o.grace_ms);
	(void)printf("stopped\n");
	return 0;
}
