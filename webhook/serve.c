#include "webhook/serve.h"

#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/metrics.h"

#define ADMISSION_OUTCOMES(endpoint)                                                                            \
	{"endpoint=\"" endpoint "\",outcome=\"mutated\"", 0}, {"endpoint=\"" endpoint "\",outcome=\"allowed\"", 0}, \
		{"endpoint=\"" endpoint "\",outcome=\"denied\"", 0},                                                    \
	{                                                                                                           \
		"endpoint=\"" endpoint "\",outcome=\"malformed\"", 0                                                    \
	}

enum outcome { OUTCOME_MUTATED, OUTCOME_ALLOWED, OUTCOME_DENIED, OUTCOME_MALFORMED, OUTCOMES };

static struct metric_series admission_series[] = {
	ADMISSION_OUTCOMES("mutate-pods"), ADMISSION_OUTCOMES("validate-pods"), ADMISSION_OUTCOMES("validate-resources")};
static struct metric admissions = {.name = "coco_webhook_admissions_total",
								   .help = "Admission reviews answered.",
								   .type = METRIC_COUNTER,
								   .series = admission_series,
								   .n = sizeof(admission_series) / sizeof(admission_series[0])};

static struct metric_histogram_series duration_series[] = {{.labels = "endpoint=\"mutate-pods\""},
														   {.labels = "endpoint=\"validate-pods\""},
														   {.labels = "endpoint=\"validate-resources\""}};
static struct metric_histogram durations = {.name = "coco_webhook_admission_duration_seconds",
											.help =
												"Time to decide about an admission review, without network and TLS.",
											.series = duration_series,
											.n = sizeof(duration_series) / sizeof(duration_series[0])};

static struct metric_series profile_series[] = {
	{"state=\"good\"", 0}, {"state=\"stale\"", 0}, {"state=\"invalid\"", 0}};
static struct metric profiles = {.name = "coco_webhook_profiles",
								 .help =
									 "ConfidentialProfiles known: good, stale (the newest version is not valid, the "
									 "last good one is used), invalid (pods that name it are denied).",
								 .type = METRIC_GAUGE,
								 .series = profile_series,
								 .n = 3};

static struct metric_series reload_series[] = {{"result=\"success\"", 0}, {"result=\"failure\"", 0}};
static struct metric reloads = {.name = "coco_webhook_profile_reloads_total",
								.help =
									"Times that profiles were read anew; failure: something in them could not be used.",
								.type = METRIC_COUNTER,
								.series = reload_series,
								.n = 2};

static struct metric_series certificate_series[] = {{"", 0}};
static struct metric certificate = {.name = "coco_webhook_certificate_not_after_timestamp_seconds",
									.help = "When the serving certificate in use expires.",
									.type = METRIC_GAUGE,
									.series = certificate_series,
									.n = 1};

static struct metric_series connection_series[] = {{"", 0}};
static struct metric connections = {.name = "coco_webhook_connections",
									.help = "Open connections to the admission port.",
									.type = METRIC_GAUGE,
									.series = connection_series,
									.n = 1};

static struct metric_series refused_series[] = {{"code=\"408\"", 0}, {"code=\"413\"", 0}, {"code=\"503\"", 0}};
static struct metric refused = {.name = "coco_webhook_refused_requests_total",
								.help = "Requests that a limit refused before they were read whole.",
								.type = METRIC_COUNTER,
								.series = refused_series,
								.n = 3};

void serve_register_metrics(void)
{
	durations.bounds_us = METRIC_BOUNDS_LATENCY_US;
	durations.nbounds = METRIC_BOUNDS_LATENCY_N;
	struct metric *all[] = {&admissions, &profiles, &reloads, &certificate, &connections, &refused};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		metrics_register(all[i]);
	metrics_register_histogram(&durations);
}

void serve_note_profiles(const struct catalog *c)
{
	size_t n = 0;
	int64_t count[3] = {0};
	const struct catalog_profile *v = catalog_profiles(c, &n);
	for (size_t i = 0; i < n; i++)
		count[v[i].profile == NULL ? 2 : v[i].problem != NULL ? 1 : 0]++;
	for (size_t i = 0; i < 3; i++)
		metric_set(&profile_series[i], count[i]);
}

void serve_note_reload(bool good)
{
	metric_add(&reload_series[good ? 0 : 1], 1);
}

void serve_note_certificate(int64_t not_after_s)
{
	metric_set(&certificate_series[0], not_after_s);
}

static int64_t now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static enum outcome outcome_of(const struct handled *h)
{
	if (h->status != 200)
		return OUTCOME_MALFORMED;
	if (h->decision.verdict == VERDICT_DENIED)
		return OUTCOME_DENIED;
	return h->decision.nedits > 0 ? OUTCOME_MUTATED : OUTCOME_ALLOWED;
}

// By endpoint. Both paths of a kind count as one in metrics and logs.
static const struct {
	const char *path;
	const char *name;
	size_t series;
} endpoints[ENDPOINTS] = {
	[ENDPOINT_MUTATE] = {"/mutate-pods", "mutate-pods", 0},
	[ENDPOINT_MUTATE_ENABLED] = {"/mutate-pods/enabled-namespace", "mutate-pods", 0},
	[ENDPOINT_VALIDATE] = {"/validate-pods", "validate-pods", 1},
	[ENDPOINT_VALIDATE_ENABLED] = {"/validate-pods/enabled-namespace", "validate-pods", 1},
	[ENDPOINT_VALIDATE_RESOURCES] = {"/validate-resources", "validate-resources", 2},
};

// A pod that is left alone is none of ours; our own resources always are.
static enum log_level level_of(enum endpoint endpoint, const struct decision *d)
{
	if (d->verdict == VERDICT_DENIED)
		return LOG_WARN;
	return d->verdict == VERDICT_CONFIDENTIAL || endpoint == ENDPOINT_VALIDATE_RESOURCES ? LOG_INFO : LOG_DEBUG;
}

static void log_review(enum endpoint endpoint, const struct handled *h, int64_t us)
{
	const struct review *r = &h->review;
	const struct decision *d = &h->decision;
	bool pods = endpoint != ENDPOINT_VALIDATE_RESOURCES;
	enum log_level level = level_of(endpoint, d);
	LOG_CALL(level, d->verdict == VERDICT_DENIED ? "denied" : "reviewed", LOG_Z("endpoint", endpoints[endpoint].name),
			 LOG_S("uid", r->uid), LOG_S("operation", r->operation), LOG_S("namespace", r->ns),
			 LOG_S(pods ? "pod" : "object", pods ? pod_display_name(&r->object) : r->name), LOG_S("user", r->user),
			 LOG_B("dryRun", r->dry_run), LOG_Z("decision", d->cause),
			 LOG_Z("profile", d->profile != NULL ? d->profile->name : NULL), LOG_I("vmMiB", d->sizing.vm_mib),
			 LOG_I("warnings", d->nwarnings), LOG_Z("reason", d->message), LOG_I("us", us));
}

static void serve_review(void *ctx, const struct http_request *req, struct http_response *resp)
{
	const struct entrance *e = ctx;
	int64_t start = now_us();
	struct catalog *catalog = catalog_store_get(&e->serving->store);
	if (catalog == NULL) {
		resp->status = 503;
		resp->retry_after_s = 1;
		buf_addz(&resp->body, "profiles are not loaded yet; try again\n");
		return;
	}
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	handle_review(e->endpoint, catalog, req->body, &arena, &resp->body, &h);
	resp->status = h.status;
	resp->content_type = h.status == 200 ? "application/json" : NULL;
	int64_t us = now_us() - start;
	size_t series = endpoints[e->endpoint].series;
	metric_add(&admission_series[series * OUTCOMES + (size_t)outcome_of(&h)], 1);
	metric_observe_us(&durations, &duration_series[series], (uint64_t)us);
	log_review(e->endpoint, &h, us);
	catalog_unref(catalog);
}

static void healthz(void *ctx, const struct http_request *req, struct http_response *resp)
{
	(void)ctx;
	(void)req;
	resp->status = 200;
	buf_addz(&resp->body, "ok\n");
}

static void readyz(void *ctx, const struct http_request *req, struct http_response *resp)
{
	struct serving *s = ctx;
	(void)req;
	struct catalog *catalog = catalog_store_get(&s->store);
	const char *why = atomic_load(&s->stopping) ? "stopping" : catalog == NULL ? "profiles are not loaded yet" : NULL;
	catalog_unref(catalog);
	resp->status = why == NULL ? 200 : 503;
	buf_addf(&resp->body, "%s\n", why == NULL ? "ok" : why);
}

void serving_set_admission(struct serving *s, struct http_server *admission)
{
	(void)pthread_mutex_lock(&s->admission_lock);
	s->admission = admission;
	(void)pthread_mutex_unlock(&s->admission_lock);
}

static void metrics(void *ctx, const struct http_request *req, struct http_response *resp)
{
	struct serving *s = ctx;
	(void)req;
	(void)pthread_mutex_lock(&s->admission_lock);
	if (s->admission != NULL) {
		struct http_stats stats;
		http_server_stats(s->admission, &stats);
		metric_set(&connection_series[0], stats.connections);
		metric_set(&refused_series[0], (int64_t)stats.refused_408);
		metric_set(&refused_series[1], (int64_t)stats.refused_413);
		metric_set(&refused_series[2], (int64_t)stats.refused_503);
	}
	(void)pthread_mutex_unlock(&s->admission_lock);
	resp->status = 200;
	resp->content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_write(&resp->body);
}

size_t serve_admission_routes(struct serving *s, struct http_route routes[ROUTES_MAX])
{
	for (size_t i = 0; i < ENDPOINTS; i++) {
		s->entrances[i] = (struct entrance){s, (enum endpoint)i};
		routes[i] = (struct http_route){.method = "POST",
										.path = endpoints[i].path,
										.handle = serve_review,
										.ctx = &s->entrances[i],
										.accepts = "application/json"};
	}
	return ENDPOINTS;
}

size_t serve_plain_routes(struct serving *s, struct http_route routes[ROUTES_MAX])
{
	routes[0] = (struct http_route){.method = "GET", .path = "/healthz", .handle = healthz, .ctx = s};
	routes[1] = (struct http_route){.method = "GET", .path = "/readyz", .handle = readyz, .ctx = s};
	routes[2] = (struct http_route){.method = "GET", .path = "/metrics", .handle = metrics, .ctx = s};
	return 3;
}
