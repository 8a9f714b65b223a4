// The limit for `make bench`: the webhook's HTTP server, with the webhook's limits and threads, around a handler that
// answers every review with the same text. What the webhook costs beyond this is the price of its decision.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/http_server.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/options.h"

#define PEM_MAX ((size_t)256 * 1024)
#define ANSWER_HEAD "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":\""
#define ANSWER_MIDDLE "\",\"allowed\":true,\"auditAnnotations\":{\"padding\":\""
#define ANSWER_TAIL "\"}}}"

static const char *arg_listen = "127.0.0.1:0";
static const char *arg_tls_cert = "tls.crt";
static const char *arg_tls_key = "tls.key";
static const char *arg_threads = "2";
static const char *arg_answer_bytes = "5120";
static const char *arg_uid = "00000000-0000-0000-0000-000000000000";
static bool arg_plain;

static const struct option_spec options[] = {
	{"listen", 0, "HOST:PORT", NULL, "where it serves; port 0 picks one", &arg_listen, NULL, NULL, NULL},
	{"tls-cert", 0, "FILE", NULL, "certificate chain, PEM", &arg_tls_cert, NULL, NULL, NULL},
	{"tls-key", 0, "FILE", NULL, "its private key, PEM", &arg_tls_key, NULL, NULL, NULL},
	{"threads", 0, "N", NULL, "threads that serve", &arg_threads, NULL, NULL, NULL},
	{"answer-bytes", 0, "N", NULL, "size of the answer", &arg_answer_bytes, NULL, NULL, NULL},
	{"uid", 0, "UID", NULL, "uid in the answer", &arg_uid, NULL, NULL, NULL},
	{"plain", 0, NULL, NULL, "HTTP without TLS", NULL, &arg_plain, NULL, NULL},
};

static const struct command_spec command = {
	.name = "bench_server",
	.usage = "[options]",
	.about = "Answers every POST to /mutate-pods with one AdmissionReview that allows and changes nothing.",
	.options = options,
	.noptions = sizeof(options) / sizeof(options[0]),
};

static void answer(void *ctx, const struct http_request *req, struct http_response *resp)
{
	const struct buf *constant = ctx;
	(void)req;
	buf_add_str(&resp->body, buf_str(constant));
	resp->content_type = "application/json";
	resp->status = 200;
}

static void make_answer(struct buf *out)
{
	size_t want = strtoul(arg_answer_bytes, NULL, 10);
	buf_addz(out, ANSWER_HEAD);
	buf_addz(out, arg_uid);
	buf_addz(out, ANSWER_MIDDLE);
	while (out->n + sizeof(ANSWER_TAIL) - 1 < want && buf_ok(out))
		buf_addc(out, 'x');
	buf_addz(out, ANSWER_TAIL);
}

static struct http_server *start(const struct http_route *route, struct error *err)
{
	CLEANUP_BUF
	struct buf cert = BUF_INIT(PEM_MAX);
	CLEANUP_BUF
	struct buf key = BUF_INIT(PEM_MAX);
	// The limits of webhook/main.c.
	struct http_config config = {
		.name = STR("constant"),
		.listen = arg_listen,
		.threads = (unsigned)strtoul(arg_threads, NULL, 10),
		.limits = {.body_max = (size_t)6 * 1024 * 1024,
				   .bodies_max = (size_t)24 * 1024 * 1024,
				   .connections = 1000,
				   .idle_timeout_s = 120,
				   .request_timeout_s = 10,
				   .connection_memory = (size_t)16 * 1024},
		.routes = route,
		.nroutes = 1,
	};
	if (!arg_plain) {
		if (file_read(arg_tls_cert, &cert, err) < 0 || file_read(arg_tls_key, &key, err) < 0)
			return NULL;
		config.cert_pem = buf_str(&cert);
		config.key_pem = buf_str(&key);
	}
	return http_server_start(&config, err);
}

int main(int argc, char **argv)
{
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? 0 : EXIT_USAGE;
	mem_setup_server();
	sigset_t signals;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);

	CLEANUP_BUF
	struct buf constant = BUF_INIT(HTTP_RESPONSE_MAX);
	make_answer(&constant);
	const struct http_route route = {
		.method = "POST", .path = "/mutate-pods", .handle = answer, .ctx = &constant, .accepts = "application/json"};
	struct error err;
	struct http_server *s = start(&route, &err);
	if (s == NULL) {
		(void)fprintf(stderr, "bench_server: %s\n", err.msg);
		return EXIT_FAILURE;
	}
	log_info("serving", LOG_I("port", http_server_port(s)), LOG_I("answerBytes", constant.n));
	int signal = 0;
	(void)sigwait(&signals, &signal);
	http_server_stop(s, 0);
	return EXIT_SUCCESS;
}
