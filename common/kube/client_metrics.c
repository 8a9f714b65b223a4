#include "common/kube/client_metrics.h"

#include <string.h>

#include "common/metrics.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
// After these come the two that stand for all others: no answer, and another status.
static const int codes[] = {200, 201, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503};

#define REQUEST(code, method)                               \
	{                                                       \
		.labels = "code=\"" code "\",method=\"" method "\"" \
	}
#define REQUESTS(method)                                                                                \
	REQUEST("200", method), REQUEST("201", method), REQUEST("400", method), REQUEST("401", method),     \
		REQUEST("403", method), REQUEST("404", method), REQUEST("409", method), REQUEST("410", method), \
		REQUEST("422", method), REQUEST("429", method), REQUEST("500", method), REQUEST("503", method), \
		REQUEST("<error>", method), REQUEST("other", method)

static struct metric_series request_series[] = {REQUESTS("GET"), REQUESTS("POST"), REQUESTS("PUT"), REQUESTS("PATCH"),
												REQUESTS("DELETE")};
#define SERIES_A_METHOD (COUNT(codes) + 2)
_Static_assert(COUNT(request_series) == COUNT(methods) * SERIES_A_METHOD, "a series for each method and code");

static struct metric requests = {
	.name = "rest_client_requests_total",
	.help = "Requests to the API server, each try by itself.",
	.type = METRIC_COUNTER,
	.series = request_series,
	.n = COUNT(request_series),
};

static struct metric_series retry_series[] = {{.labels = ""}};
static struct metric retries = {
	.name = "rest_client_retries_total",
	.help = "Requests to the API server that were tried again.",
	.type = METRIC_COUNTER,
	.series = retry_series,
	.n = COUNT(retry_series),
};

static const uint32_t bounds_us[] = {5000,    25000,   100000,  250000,   500000,   1000000,
									 2000000, 4000000, 8000000, 15000000, 30000000, 60000000};

static struct metric_histogram_series duration_series[] = {{.labels = "verb=\"GET\""},
														   {.labels = "verb=\"POST\""},
														   {.labels = "verb=\"PUT\""},
														   {.labels = "verb=\"PATCH\""},
														   {.labels = "verb=\"DELETE\""}};
_Static_assert(COUNT(duration_series) == COUNT(methods), "a series for each method");
static struct metric_histogram durations = {
	.name = "rest_client_request_duration_seconds",
	.help = "How long a request to the API server took, each try by itself.",
	.bounds_us = bounds_us,
	.nbounds = COUNT(bounds_us),
	.series = duration_series,
	.n = COUNT(duration_series),
};

static struct metric_histogram_series limiter_series[] = {{.labels = ""}};
static struct metric_histogram limiter = {
	.name = "rest_client_rate_limiter_duration_seconds",
	.help = "How long requests waited for the client's own rate limit.",
	.bounds_us = bounds_us,
	.nbounds = COUNT(bounds_us),
	.series = limiter_series,
	.n = COUNT(limiter_series),
};

void client_metrics_register(void)
{
	metrics_register(&requests);
	metrics_register(&retries);
	metrics_register_histogram(&durations);
	metrics_register_histogram(&limiter);
}

static size_t code_index(int http)
{
	for (size_t i = 0; i < COUNT(codes); i++)
		if (codes[i] == http)
			return i;
	return http == 0 ? COUNT(codes) : COUNT(codes) + 1;
}

static uint64_t us(int64_t ms)
{
	return ms > 0 ? (uint64_t)ms * 1000 : 0;
}

void client_metrics_request(const char *method, int http, int64_t took_ms)
{
	for (size_t i = 0; i < COUNT(methods); i++) {
		if (strcmp(methods[i], method) != 0)
			continue;
		metric_add(&request_series[i * SERIES_A_METHOD + code_index(http)], 1);
		metric_observe_us(&durations, &duration_series[i], us(took_ms));
	}
}

void client_metrics_retry(void)
{
	metric_add(&retry_series[0], 1);
}

void client_metrics_limited(int64_t waited_ms)
{
	metric_observe_us(&limiter, &limiter_series[0], us(waited_ms));
}
