// Load for `make bench`: N kept-alive connections, each with one request under way at any time, each in a thread of
// its own with blocking calls: a latency is the time from handing the request to TLS to having read the answer's last
// byte. Handshakes and one request of each connection come before the clock starts.
//
// Only for loopback. Prints one JSON object.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/mem.h"
#include "common/options.h"

#define BODY_MAX ((size_t)16 * 1024 * 1024)
#define ANSWER_MAX ((size_t)16 * 1024 * 1024)
#define CONNECTIONS_MAX 512
#define REQUESTS_MAX 2000000
#define SECONDS_MAX 60.0
#define IO_TIMEOUT_S 20
#define ALLOWED "\"allowed\":true"

static const char *arg_address = "127.0.0.1";
static const char *arg_port = "9443";
static const char *arg_path = "/mutate-pods";
static const char *arg_body;
static const char *arg_uid = "";
static const char *arg_connections = "1";
static const char *arg_seconds = "1";
static const char *arg_requests = "1000000";
static const char *arg_ca;
static const char *arg_server_pid;
static bool arg_plain;

static const struct option_spec options[] = {
	{"address", 0, "IP", NULL, "of the server; a loopback address", &arg_address, NULL, NULL, NULL},
	{"port", 0, "PORT", NULL, "of the server", &arg_port, NULL, NULL, NULL},
	{"path", 0, "PATH", NULL, "to POST to", &arg_path, NULL, NULL, NULL},
	{"body", 0, "FILE", NULL, "what to send", &arg_body, NULL, NULL, NULL},
	{"uid", 0, "UID", NULL, "what every answer must hold, beside " ALLOWED, &arg_uid, NULL, NULL, NULL},
	{"connections", 'c', "N", NULL, "1 to 512", &arg_connections, NULL, NULL, NULL},
	{"seconds", 's', "S", NULL, "stop after this time, at most 60", &arg_seconds, NULL, NULL, NULL},
	{"requests", 'n', "N", NULL, "stop after this many in all, at most 2000000", &arg_requests, NULL, NULL, NULL},
	{"ca", 0, "FILE", NULL, "check the server's certificate with this", &arg_ca, NULL, NULL, NULL},
	{"server-pid", 0, "PID", NULL, "tell the CPU time that this process takes meanwhile", &arg_server_pid, NULL, NULL,
	 NULL},
	{"plain", 0, NULL, NULL, "HTTP without TLS", NULL, &arg_plain, NULL, NULL},
};

static const struct command_spec command = {
	.name = "bench_load",
	.usage = "--body FILE [options]",
	.about = "Sends one request again and again over kept-alive connections, checks the answers, measures.",
	.options = options,
	.noptions = sizeof(options) / sizeof(options[0]),
};

struct plan {
	struct sockaddr_in to;
	SSL_CTX *tls; // NULL: plain
	struct buf request;
	unsigned connections;
	double seconds;
	pthread_barrier_t ready; // all connected, and the main thread
	_Atomic int64_t requests_left;
	_Atomic int64_t end_ns;
};

struct peer {
	struct plan *plan;
	pthread_t thread;
	int fd;
	SSL *ssl;
	struct buf in;
	uint32_t *us;
	size_t n, cap;
	size_t errors;
	char problem[160]; // the first one
};

static int64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool problem(struct peer *p, const char *what)
{
	if (p->errors++ == 0)
		(void)snprintf(p->problem, sizeof(p->problem), "%s", what);
	return false;
}

// ---- One request

static bool send_all(struct peer *p, struct str data)
{
	while (data.n > 0) {
		size_t n = 0;
		if (p->ssl != NULL) {
			if (SSL_write_ex(p->ssl, data.p, data.n, &n) != 1)
				return problem(p, "can't send");
		} else {
			ssize_t sent = send(p->fd, data.p, data.n, MSG_NOSIGNAL);
			if (sent <= 0)
				return problem(p, "can't send");
			n = (size_t)sent;
		}
		data.p += n;
		data.n -= n;
	}
	return true;
}

static bool receive_some(struct peer *p)
{
	enum { CHUNK = 16384 };
	char *to = buf_reserve(&p->in, CHUNK);
	size_t n = 0;
	if (to == NULL)
		return problem(p, "the answer is too large");
	if (p->ssl != NULL) {
		if (SSL_read_ex(p->ssl, to, CHUNK, &n) != 1)
			return problem(p, "can't receive");
	} else {
		ssize_t got = recv(p->fd, to, CHUNK, 0);
		if (got <= 0)
			return problem(p, "can't receive");
		n = (size_t)got;
	}
	buf_commit(&p->in, n);
	return true;
}

static bool receive_answer(struct peer *p, struct str *ret_body)
{
	static const char length[] = "\r\ncontent-length:";
	const char *end = NULL;
	buf_clear(&p->in);
	while (end == NULL) {
		if (!receive_some(p))
			return false;
		end = strstr(p->in.p, "\r\n\r\n");
	}
	size_t head = (size_t)(end - p->in.p) + 4;
	const char *field = strcasestr(p->in.p, length);
	if (strncmp(p->in.p, "HTTP/1.1 200 ", 13) != 0 || field == NULL || field > end)
		return problem(p, "the answer is no 200 with a Content-Length");
	size_t n = strtoul(field + sizeof(length) - 1, NULL, 10);
	while (p->in.n < head + n)
		if (!receive_some(p))
			return false;
	*ret_body = (struct str){p->in.p + head, p->in.n - head};
	return ret_body->n == n || problem(p, "bytes follow the answer");
}

static bool ask(struct peer *p)
{
	struct str body;
	if (!send_all(p, buf_str(&p->plan->request)) || !receive_answer(p, &body))
		return false;
	if (memmem(body.p, body.n, ALLOWED, sizeof(ALLOWED) - 1) == NULL)
		return problem(p, "the answer does not allow");
	if (memmem(body.p, body.n, arg_uid, strlen(arg_uid)) == NULL)
		return problem(p, "the answer has another uid");
	return true;
}

static void note_latency(struct peer *p, int64_t ns)
{
	if (p->n == p->cap) {
		p->cap = p->cap > 0 ? p->cap * 2 : 4096;
		p->us = xreallocarray(p->us, p->cap, sizeof(*p->us));
	}
	p->us[p->n++] = (uint32_t)(ns / 1000);
}

// ---- One connection

static bool open_peer(struct peer *p)
{
	static const int on = 1;
	static const struct timeval limit = {.tv_sec = IO_TIMEOUT_S};
	const struct sockaddr *to = (const void *)&p->plan->to;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, to, sizeof(p->plan->to)) != 0)
		return problem(p, "can't connect");
	(void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (p->plan->tls == NULL)
		return true;
	p->ssl = SSL_new(p->plan->tls);
	if (p->ssl == NULL || SSL_set_fd(p->ssl, p->fd) != 1 || SSL_connect(p->ssl) != 1)
		return problem(p, "the TLS handshake fails");
	return true;
}

static void *run_peer(void *arg)
{
	struct peer *p = arg;
	bool good = open_peer(p) && ask(p);
	(void)pthread_barrier_wait(&p->plan->ready);
	(void)pthread_barrier_wait(&p->plan->ready);
	for (int64_t start = now_ns(); good && start < atomic_load_explicit(&p->plan->end_ns, memory_order_relaxed) &&
								   atomic_fetch_sub_explicit(&p->plan->requests_left, 1, memory_order_relaxed) > 0;) {
		good = ask(p);
		int64_t end = now_ns();
		if (good)
			note_latency(p, end - start);
		start = end;
	}
	// Nobody closes before the server's CPU time has been read.
	(void)pthread_barrier_wait(&p->plan->ready);
	SSL_free(p->ssl);
	if (p->fd >= 0)
		(void)close(p->fd);
	buf_release(&p->in);
	return NULL;
}

// ---- The server's CPU time

// In nanoseconds, of all its threads; -1: not known.
static int64_t cpu_ns(const char *pid)
{
	char path[320];
	int64_t sum = 0;
	(void)snprintf(path, sizeof(path), "/proc/%s/task", pid);
	DIR *d = opendir(path);
	if (d == NULL)
		return -1;
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid, e->d_name);
		CLEANUP_FCLOSE FILE *f = fopen(path, "re");
		char line[128];
		if (f != NULL && fgets(line, sizeof(line), f) != NULL)
			sum += strtoll(line, NULL, 10);
	}
	(void)closedir(d);
	return sum;
}

// ---- All together

static int compare_us(const void *a, const void *b)
{
	const uint32_t *x = a;
	const uint32_t *y = b;
	return *x < *y ? -1 : *x > *y;
}

static uint32_t quantile(const uint32_t *sorted, size_t n, double q)
{
	return n > 0 ? sorted[(size_t)((double)(n - 1) * q + 0.5)] : 0;
}

static int report(const struct peer *peers, unsigned n, int64_t took_ns, int64_t server_ns)
{
	size_t total = 0;
	size_t errors = 0;
	const char *why = NULL;
	for (unsigned i = 0; i < n; i++) {
		total += peers[i].n;
		errors += peers[i].errors;
		if (why == NULL && peers[i].errors > 0)
			why = peers[i].problem;
	}
	CLEANUP_FREE uint32_t *all = xcalloc(total + 1, sizeof(*all));
	size_t at = 0;
	for (unsigned i = 0; i < n; i++) {
		if (peers[i].n > 0)
			memcpy(all + at, peers[i].us, peers[i].n * sizeof(*all));
		at += peers[i].n;
	}
	qsort(all, total, sizeof(*all), compare_us);
	double seconds = (double)took_ns / 1e9;
	(void)printf("{\"requests\":%zu,\"seconds\":%.4f,\"rps\":%.1f,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,"
				 "\"max_us\":%u,\"errors\":%zu",
				 total, seconds, (double)total / seconds, quantile(all, total, 0.5), quantile(all, total, 0.9),
				 quantile(all, total, 0.99), quantile(all, total, 1), errors);
	if (server_ns >= 0 && total > 0)
		(void)printf(",\"server_cpu_us\":%.3f", (double)server_ns / 1000 / (double)total);
	(void)printf("}\n");
	if (why != NULL)
		(void)fprintf(stderr, "bench_load: %s\n", why);
	return errors > 0 || total == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(struct plan *plan)
{
	unsigned n = plan->connections;
	CLEANUP_FREE struct peer *peers = xcalloc(n, sizeof(*peers));
	(void)pthread_barrier_init(&plan->ready, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		peers[i] = (struct peer){.plan = plan, .fd = -1, .in = BUF_INIT(ANSWER_MAX)};
		if (pthread_create(&peers[i].thread, NULL, run_peer, &peers[i]) != 0) {
			(void)fprintf(stderr, "bench_load: can't start a thread\n");
			exit(EXIT_FAILURE);
		}
	}
	(void)pthread_barrier_wait(&plan->ready);
	int64_t cpu = arg_server_pid != NULL ? cpu_ns(arg_server_pid) : -1;
	int64_t start = now_ns();
	atomic_store(&plan->end_ns, start + (int64_t)(plan->seconds * 1e9));
	(void)pthread_barrier_wait(&plan->ready);
	(void)pthread_barrier_wait(&plan->ready);
	int64_t took = now_ns() - start;
	cpu = cpu >= 0 ? cpu_ns(arg_server_pid) - cpu : -1;
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(peers[i].thread, NULL);
	int rc = report(peers, n, took, cpu);
	for (unsigned i = 0; i < n; i++)
		free(peers[i].us);
	(void)pthread_barrier_destroy(&plan->ready);
	return rc;
}

static int make_tls(struct plan *plan, struct error *err)
{
	plan->tls = SSL_CTX_new(TLS_client_method());
	if (plan->tls == NULL)
		return error_set(err, ENOMEM, "OpenSSL can't start");
	(void)SSL_CTX_set_min_proto_version(plan->tls, TLS1_3_VERSION);
	if (arg_ca == NULL)
		return 0;
	SSL_CTX_set_verify(plan->tls, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_locations(plan->tls, arg_ca, NULL) != 1)
		return error_set(err, EINVAL, "--ca %s can't be used", arg_ca);
	return 0;
}

static int make_plan(struct plan *plan, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT(BODY_MAX);
	unsigned long connections = strtoul(arg_connections, NULL, 10);
	unsigned long requests = strtoul(arg_requests, NULL, 10);
	unsigned long port = strtoul(arg_port, NULL, 10);
	plan->seconds = strtod(arg_seconds, NULL);
	if (connections < 1 || connections > CONNECTIONS_MAX || requests < 1 || requests > REQUESTS_MAX || port < 1 ||
		port > 65535 || !(plan->seconds > 0 && plan->seconds <= SECONDS_MAX))
		return error_set(err, EINVAL, "--connections, --requests, --seconds or --port is out of bounds; see --help");
	plan->connections = (unsigned)connections;
	atomic_store(&plan->requests_left, (int64_t)requests);
	plan->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	if (inet_pton(AF_INET, arg_address, &plan->to.sin_addr) != 1 || ntohl(plan->to.sin_addr.s_addr) >> 24 != 127)
		return error_set(err, EINVAL, "--address is \"%s\"; it must be a loopback address, 127.x.y.z", arg_address);
	if (arg_body == NULL)
		return error_set(err, EINVAL, "--body is missing");
	if (file_read(arg_body, &body, err) < 0)
		return error_prefix(err, "--body");
	buf_addf(&plan->request,
			 "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			 arg_path, arg_address, arg_port, body.n);
	buf_add_str(&plan->request, buf_str(&body));
	return arg_plain ? 0 : make_tls(plan, err);
}

int main(int argc, char **argv)
{
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? 0 : EXIT_USAGE;
	(void)signal(SIGPIPE, SIG_IGN);
	struct plan plan = {.request = BUF_INIT(BODY_MAX + 4096)};
	struct error err;
	int rc = EXIT_USAGE;
	if (make_plan(&plan, &err) < 0)
		(void)fprintf(stderr, "bench_load: %s\n", err.msg);
	else
		rc = run(&plan);
	SSL_CTX_free(plan.tls);
	buf_release(&plan.request);
	return rc;
}
