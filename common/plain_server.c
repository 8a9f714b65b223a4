#include "common/plain_server.h"

#include <stdint.h>

#include "common/metrics.h"

#define IDLE_TIMEOUT_S 120

static struct metric_series ready_series[] = {{"", 0}};
static struct metric ready = {
	.name = "coco_ready", .help = "1 where /readyz says yes.", .type = METRIC_GAUGE, .series = ready_series, .n = 1};

#define REQUEST_TIMEOUT_S 10

static void healthz(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	resp->status = 200;
	buf_addz(&resp->body, "ok\n");
}

static void readyz(void *ctx, const struct http_request *req, struct http_response *resp)
{
	const struct plain_server *s = ctx;
	(void)req;
	const char *why = s->not_ready(s->ctx);
	resp->status = why == NULL ? 200 : 503;
	buf_addf(&resp->body, "%s\n", why == NULL ? "ok" : why);
}

static void metrics(void *ctx, const struct http_request *req, struct http_response *resp)
{
	const struct plain_server *s = ctx;
	(void)req;
	metric_set(&ready_series[0], s->not_ready(s->ctx) == NULL ? 1 : 0);
	if (s->metrics != NULL)
		s->metrics(s->ctx, &resp->body);
	resp->status = 200;
	resp->content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_write(&resp->body);
}

struct http_server *plain_server_start(const struct plain_server *s, const char *listen, struct error *err)
{
	// One in a program: the routes are the same for each, but for their context.
	metrics_register(&ready);
	static struct http_route routes[3];
	void *ctx = (void *)(uintptr_t)s;
	routes[0] = (struct http_route){.method = "GET", .path = "/healthz", .handle = healthz, .ctx = ctx};
	routes[1] = (struct http_route){.method = "GET", .path = "/readyz", .handle = readyz, .ctx = ctx};
	routes[2] = (struct http_route){.method = "GET", .path = "/metrics", .handle = metrics, .ctx = ctx};
	const struct http_config config = {
		.name = STR("plain"),
		.listen = listen,
		.threads = 1,
		.limits = {.body_max = 4096,
				   .bodies_max = 65536,
				   .connections = 100,
				   .idle_timeout_s = IDLE_TIMEOUT_S,
				   .request_timeout_s = REQUEST_TIMEOUT_S,
				   .connection_memory = (size_t)16 * 1024},
		.routes = routes,
		.nroutes = 3,
	};
	return http_server_start(&config, err);
}
