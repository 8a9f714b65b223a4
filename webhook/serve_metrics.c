#include "webhook/serve_metrics.h"

#include "common/metrics.h"
#include "webhook/outcome.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// ---- By path, as controller-runtime names them

enum code { CODE_200, CODE_400, CODE_503, CODES };

#define BY_CODE(path)                                                                   \
	{"webhook=\"" path "\",code=\"200\"", 0}, {"webhook=\"" path "\",code=\"400\"", 0}, \
	{                                                                                   \
		"webhook=\"" path "\",code=\"503\"", 0                                          \
	}
static struct metric_series request_series[ENDPOINTS * CODES] = {
	BY_CODE(SERVE_PATH_MUTATE), BY_CODE(SERVE_PATH_VALIDATE), BY_CODE(SERVE_PATH_MUTATE_ENABLED),
	BY_CODE(SERVE_PATH_VALIDATE_ENABLED), BY_CODE(SERVE_PATH_VALIDATE_RESOURCES)};
_Static_assert(ENDPOINT_MUTATE == 0 && ENDPOINT_VALIDATE == 1 && ENDPOINT_MUTATE_ENABLED == 2 &&
				   ENDPOINT_VALIDATE_ENABLED == 3 && ENDPOINT_VALIDATE_RESOURCES == 4,
			   "their order, above");
static struct metric requests = {.name = "controller_runtime_webhook_requests_total",
								 .help = "Reviews that were answered, by the HTTP status of the answer.",
								 .type = METRIC_COUNTER,
								 .series = request_series,
								 .n = COUNT(request_series)};

#define PATH(endpoint, path) [endpoint] = {.labels = "webhook=\"" path "\""}
#define BY_PATH                                                                             \
	PATH(ENDPOINT_MUTATE, SERVE_PATH_MUTATE), PATH(ENDPOINT_VALIDATE, SERVE_PATH_VALIDATE), \
		PATH(ENDPOINT_MUTATE_ENABLED, SERVE_PATH_MUTATE_ENABLED),                           \
		PATH(ENDPOINT_VALIDATE_ENABLED, SERVE_PATH_VALIDATE_ENABLED),                       \
		PATH(ENDPOINT_VALIDATE_RESOURCES, SERVE_PATH_VALIDATE_RESOURCES)

static struct metric_series in_flight_series[ENDPOINTS] = {BY_PATH};
static struct metric in_flight = {.name = "controller_runtime_webhook_requests_in_flight",
								  .help = "Reviews that are being worked on.",
								  .type = METRIC_GAUGE,
								  .series = in_flight_series,
								  .n = ENDPOINTS};

static struct metric_histogram_series latency_series[ENDPOINTS] = {BY_PATH};
static struct metric_histogram latencies = {.name = "controller_runtime_webhook_latency_seconds",
											.help = "How long reviews took, from the body's end to the answer.",
											.series = latency_series,
											.n = ENDPOINTS};

// ---- Ours

#define BY_OUTCOME(endpoint)                                                                                    \
	{"endpoint=\"" endpoint "\",outcome=\"mutated\"", 0}, {"endpoint=\"" endpoint "\",outcome=\"allowed\"", 0}, \
		{"endpoint=\"" endpoint "\",outcome=\"denied\"", 0},                                                    \
	{                                                                                                           \
		"endpoint=\"" endpoint "\",outcome=\"malformed\"", 0                                                    \
	}
#define OUTCOME_MALFORMED OUTCOMES // no review: answered with 400

static struct metric_series admission_series[] = {BY_OUTCOME("mutate-pods"), BY_OUTCOME("validate-pods"),
												  BY_OUTCOME("validate-resources")};
static struct metric admissions = {.name = "coco_webhook_admissions_total",
								   .help = "Admission reviews answered, by what became of them.",
								   .type = METRIC_COUNTER,
								   .series = admission_series,
								   .n = COUNT(admission_series)};
static const size_t admissions_of[ENDPOINTS] = {[ENDPOINT_MUTATE] = 0,
												[ENDPOINT_MUTATE_ENABLED] = 0,
												[ENDPOINT_VALIDATE] = 1,
												[ENDPOINT_VALIDATE_ENABLED] = 1,
												[ENDPOINT_VALIDATE_RESOURCES] = 2};

#define DENIAL(reason) {"reason=\"" reason "\"", 0},
static struct metric_series denial_series[] = {DENIAL_REASONS(DENIAL)};
static struct metric denials = {.name = "coco_webhook_denials_total",
								.help = "Pods and resources denied, by the reason that the audit log has too.",
								.type = METRIC_COUNTER,
								.series = denial_series,
								.n = COUNT(denial_series)};

static struct metric_series profile_series[] = {
	{"state=\"good\"", 0}, {"state=\"stale\"", 0}, {"state=\"invalid\"", 0}};
static struct metric profiles = {.name = "coco_webhook_profiles",
								 .help =
									 "ConfidentialProfiles known: good, stale (the newest version is not valid, the "
									 "last good one is used), invalid (pods that name it are denied).",
								 .type = METRIC_GAUGE,
								 .series = profile_series,
								 .n = COUNT(profile_series)};

static struct metric_series reload_series[] = {{"result=\"success\"", 0}, {"result=\"failure\"", 0}};
static struct metric reloads = {.name = "coco_webhook_profile_reloads_total",
								.help =
									"Times that profiles were read anew; failure: something in them could not be used.",
								.type = METRIC_COUNTER,
								.series = reload_series,
								.n = COUNT(reload_series)};

static struct metric_series lookup_series[] = {{"result=\"success\"", 0}, {"result=\"failure\"", 0}};
static struct metric lookups = {.name = "coco_webhook_lookups_total",
								.help = "Reviews for which the API server was asked: pods whose profile or namespace "
										"was not known yet, new Trustees; failure: it did not answer, and a pod was "
										"denied.",
								.type = METRIC_COUNTER,
								.series = lookup_series,
								.n = COUNT(lookup_series)};

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
								.n = COUNT(refused_series)};

void serve_metrics_register(void)
{
	latencies.bounds_us = METRIC_BOUNDS_LATENCY_US;
	latencies.nbounds = METRIC_BOUNDS_LATENCY_N;
	struct metric *all[] = {&requests, &in_flight, &admissions,  &denials,     &profiles,
							&reloads,  &lookups,   &certificate, &connections, &refused};
	for (size_t i = 0; i < COUNT(all); i++)
		metrics_register(all[i]);
	metrics_register_histogram(&latencies);
}

// ---- Reviews

void serve_metrics_begin(enum endpoint endpoint)
{
	metric_add(&in_flight_series[endpoint], 1);
}

void serve_metrics_later(enum endpoint endpoint)
{
	metric_add(&in_flight_series[endpoint], -1);
}

static void answered(enum endpoint endpoint, enum code code, uint64_t us)
{
	metric_add(&in_flight_series[endpoint], -1);
	metric_add(&request_series[(size_t)endpoint * CODES + code], 1);
	metric_observe_us(&latencies, &latency_series[endpoint], us);
}

void serve_metrics_end(enum endpoint endpoint, const struct handled *h, uint64_t us)
{
	bool malformed = h->status != 200;
	answered(endpoint, malformed ? CODE_400 : CODE_200, us);
	size_t outcome = malformed ? OUTCOME_MALFORMED : outcome_of(&h->decision);
	metric_add(&admission_series[admissions_of[endpoint] * (OUTCOMES + 1) + outcome], 1);
	if (outcome == OUTCOME_DENIED)
		metric_add(&denial_series[denial_reason(h->decision.cause)], 1);
}

void serve_metrics_turned_away(enum endpoint endpoint, uint64_t us)
{
	answered(endpoint, CODE_503, us);
}

// ---- The rest

void serve_metrics_lookup(bool good)
{
	metric_add(&lookup_series[good ? 0 : 1], 1);
}

void serve_metrics_profiles(const struct catalog *c)
{
	size_t n = 0;
	int64_t count[3] = {0};
	const struct catalog_profile *v = catalog_profiles(c, &n);
	for (size_t i = 0; i < n; i++)
		count[v[i].profile == NULL ? 2 : v[i].problem != NULL ? 1 : 0]++;
	for (size_t i = 0; i < 3; i++)
		metric_set(&profile_series[i], count[i]);
}

void serve_metrics_reload(bool good)
{
	metric_add(&reload_series[good ? 0 : 1], 1);
}

void serve_metrics_certificate(int64_t not_after_s)
{
	metric_set(&certificate_series[0], not_after_s);
}

void serve_metrics_server(const struct http_stats *stats)
{
	metric_set(&connection_series[0], stats->connections);
	metric_set(&refused_series[0], (int64_t)stats->refused_408);
	metric_set(&refused_series[1], (int64_t)stats->refused_413);
	metric_set(&refused_series[2], (int64_t)stats->refused_503);
}
