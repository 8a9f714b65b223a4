#include "common/kube/client_metrics.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/kind_metrics.h"
#include "common/mem.h"
#include "common/metrics.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
// After these come the two that stand for all others: no answer, and another status.
static const int codes[] = {200, 201, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503};

// One for each code, with what comes after it.
#define SERIES(code, more)                       \
	{                                            \
		.labels = "code=\"" code "\"," more "\"" \
	}
#define BY_CODE(more)                                                                                            \
	SERIES("200", more), SERIES("201", more), SERIES("400", more), SERIES("401", more), SERIES("403", more),     \
		SERIES("404", more), SERIES("409", more), SERIES("410", more), SERIES("422", more), SERIES("429", more), \
		SERIES("500", more), SERIES("503", more), SERIES("<error>", more), SERIES("other", more)
#define BY_METHOD(label)                                                                                   \
	BY_CODE(label "=\"GET"), BY_CODE(label "=\"POST"), BY_CODE(label "=\"PUT"), BY_CODE(label "=\"PATCH"), \
		BY_CODE(label "=\"DELETE")

// The API server, as a label; new, never freed. Set once, by the first client.
static _Atomic(char *) host_label;

static const char *host(void)
{
	return atomic_load(&host_label);
}

void client_metrics_server(const char *server)
{
	const char *start = strstr(server, "://");
	start = start != NULL ? start + 3 : server;
	int n = (int)strcspn(start, "/\"\\\n");
	char *label = xasprintf("host=\"%.*s\"", n, start);
	char *none = NULL;
	if (!atomic_compare_exchange_strong(&host_label, &none, label))
		free(label);
}

static struct metric_series request_series[] = {BY_METHOD("method")};
#define SERIES_A_METHOD (COUNT(codes) + 2)
_Static_assert(COUNT(request_series) == COUNT(methods) * SERIES_A_METHOD, "a series for each method and code");

static struct metric requests = {
	.name = "rest_client_requests_total",
	.help = "Requests to the API server, by what it answered.",
	.type = METRIC_COUNTER,
	.series = request_series,
	.n = COUNT(request_series),
	.common = host,
	.sparse = true,
};

static struct metric_series retry_series[] = {BY_METHOD("verb")};
static struct metric retries = {
	.name = "rest_client_request_retries_total",
	.help = "Requests to the API server that were sent once more, by why.",
	.type = METRIC_COUNTER,
	.series = retry_series,
	.n = COUNT(retry_series),
	.common = host,
	.sparse = true,
};

static const uint32_t bounds_us[] = {5000,    25000,   100000,  250000,   500000,   1000000,
									 2000000, 4000000, 8000000, 15000000, 30000000, 60000000};

#define BY_VERB                                                                                                        \
	{.labels = "verb=\"GET\""}, {.labels = "verb=\"POST\""}, {.labels = "verb=\"PUT\""}, {.labels = "verb=\"PATCH\""}, \
	{                                                                                                                  \
		.labels = "verb=\"DELETE\""                                                                                    \
	}

static struct metric_histogram_series duration_series[] = {BY_VERB};
_Static_assert(COUNT(duration_series) == COUNT(methods), "a series for each method");
static struct metric_histogram durations = {
	.name = "rest_client_request_duration_seconds",
	.help = "How long requests to the API server took, each try by itself.",
	.bounds_us = bounds_us,
	.nbounds = COUNT(bounds_us),
	.series = duration_series,
	.n = COUNT(duration_series),
	.common = host,
	.sparse = true,
};

static struct metric_histogram_series limiter_series[] = {BY_VERB};
static struct metric_histogram limiter = {
	.name = "rest_client_rate_limiter_duration_seconds",
	.help = "How long requests waited for this client's own limit of requests a second.",
	.bounds_us = bounds_us,
	.nbounds = COUNT(bounds_us),
	.series = limiter_series,
	.n = COUNT(limiter_series),
	.common = host,
	.sparse = true,
};

void client_metrics_register(void)
{
	metrics_register(&requests);
	metrics_register(&retries);
	metrics_register_histogram(&durations);
	metrics_register_histogram(&limiter);
	kind_metrics_register();
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

// COUNT(methods): none of them.
static size_t method_index(const char *method)
{
	size_t i = 0;
	while (i < COUNT(methods) && strcmp(methods[i], method) != 0)
		i++;
	return i;
}

void client_metrics_request(const char *method, int http, int64_t took_ms)
{
	size_t i = method_index(method);
	if (i == COUNT(methods))
		return;
	metric_add(&request_series[i * SERIES_A_METHOD + code_index(http)], 1);
	metric_observe_us(&durations, &duration_series[i], us(took_ms));
}

void client_metrics_retry(const char *method, int http)
{
	size_t i = method_index(method);
	if (i < COUNT(methods))
		metric_add(&retry_series[i * SERIES_A_METHOD + code_index(http)], 1);
}

void client_metrics_limited(const char *method, int64_t waited_ms)
{
	size_t i = method_index(method);
	if (i < COUNT(methods))
		metric_observe_us(&limiter, &limiter_series[i], us(waited_ms));
}
