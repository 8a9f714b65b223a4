#include "webhook/serve.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/catalog_lookup.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/names.h"
#include "common/told.h"
#include "webhook/serving_certificates.h"
#include "webhook/trustee_lookup.h"

// The webhook configurations give us 3 s, and a lookup may take CATALOG_LOOKUP_MS of them. A lookup that begins later is one
// that nobody waits for, while others in line wait for it.
#define LINE_MAX_MS 900
#define TOO_MANY "too many pods wait for theirs already"
#define STOPPING "this webhook is about to stop"

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

static struct metric_series lookup_series[] = {{"result=\"success\"", 0}, {"result=\"failure\"", 0}};
static struct metric lookups = {.name = "coco_webhook_lookups_total",
								.help = "Reviews for which the API server was asked: pods whose profile or namespace "
										"was not known yet, new Trustees; failure: it did not answer, and a pod was "
										"denied.",
								.type = METRIC_COUNTER,
								.series = lookup_series,
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
	struct metric *all[] = {&admissions, &profiles, &reloads, &lookups, &certificate, &connections, &refused};
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

// An admission under way.
struct admission {
	const struct entrance *entrance;
	int64_t start_us;
	struct catalog *catalog; // what the decision borrows from
	struct catalog *fresh;   // after a lookup
	struct arena arena;
	struct handled h;
};

static void cleanup_admission(struct admission *a)
{
	arena_release(&a->arena);
	catalog_unref(a->catalog);
	catalog_unref(a->fresh);
}

// false: there is no catalog yet, and resp says so.
static bool begin(struct admission *a, const struct entrance *e, const struct http_request *req,
				  struct http_response *resp)
{
	// Not h, which is large and written by handle_review().
	a->entrance = e;
	a->start_us = now_us();
	a->catalog = catalog_store_get(&e->serving->store);
	a->fresh = NULL;
	a->arena = (struct arena){0};
	if (a->catalog == NULL && e->endpoint != ENDPOINT_VALIDATE_RESOURCES) {
		resp->status = 503;
		resp->retry_after_s = 1;
		buf_addz(&resp->body, "profiles are not loaded yet; try again\n");
		return false;
	}
	handle_review(e->endpoint, a->catalog, req->body, &a->arena, &resp->body, &a->h);
	return true;
}

static void finish(struct admission *a, struct http_response *resp)
{
	const struct handled *h = &a->h;
	resp->status = h->status;
	resp->content_type = h->status == 200 ? "application/json" : NULL;
	int64_t us = now_us() - a->start_us;
	size_t series = endpoints[a->entrance->endpoint].series;
	metric_add(&admission_series[series * OUTCOMES + (size_t)outcome_of(h)], 1);
	metric_observe_us(&durations, &duration_series[series], (uint64_t)us);
	log_review(a->entrance->endpoint, h, us);
}

// Whether the API server may know more than the catalog of what this pod needs: its profile isn't there, or not read
// yet, or was chosen without knowing the namespace, which may name another.
static bool needs_lookup(const struct admission *a)
{
	const struct decision *d = &a->h.decision;
	return a->entrance->serving->lookup != NULL && a->h.status == 200 && d->verdict != VERDICT_LEFT_ALONE &&
		   (strcmp(d->cause, "ProfileMissing") == 0 || (d->entry != NULL && d->entry->problem_code == EAGAIN) ||
			(d->entry != NULL && !catalog_knows_namespace(a->catalog, review_namespace(&a->h.review))));
}

static void look_up(struct admission *a, const struct http_request *req, struct http_response *resp)
{
	struct error err;
	const struct review *r = &a->h.review;
	struct str profile = key_values_get(&r->object.annotations, ANNOTATION_PROFILE);
	int rc = catalog_lookup(a->entrance->serving->lookup, a->catalog, review_namespace(r), profile, &a->fresh, &err);
	metric_add(&lookup_series[rc == 0 ? 0 : 1], 1);
	if (rc < 0) {
		// Where the API server is, and how we speak with it, is none of the pod's author's business.
		static struct told told = TOLD_INIT;
		if (told_due(&told, "lookup", clock_mono_ms(&clock_real)))
			log_warn("the API server can't be asked for a pod's profile; the pod is denied", LOG_S("namespace", r->ns),
					 LOG_Z("reason", err.msg));
		refuse_unknown(&a->h, "it did not answer in time, or refused; the log of coco-webhook tells why", &a->arena,
					   &resp->body);
		return;
	}
	buf_clear(&resp->body);
	handle_review(a->entrance->endpoint, a->fresh, req->body, &a->arena, &resp->body, &a->h);
}

// Whether other Trustees of the namespace have to be known.
static bool needs_rivals(const struct admission *a)
{
	return a->entrance->serving->lookup != NULL && a->h.status == 200 && a->h.decision.names_unchecked;
}

static void look_up_rivals(struct admission *a, struct http_response *resp)
{
	struct error err;
	json_t *others = NULL;
	int rc = trustee_lookup(a->entrance->serving->lookup, a->h.review.ns, &others, &err);
	metric_add(&lookup_series[rc == 0 ? 0 : 1], 1);
	if (rc < 0) {
		static struct told told = TOLD_INIT;
		if (told_due(&told, "lookup", clock_mono_ms(&clock_real)))
			log_warn("the API server can't be asked for a namespace's other Trustees; one is stored with a warning",
					 LOG_S("namespace", a->h.review.ns), LOG_Z("reason", err.msg));
	}
	judge_rivals(&a->h, others, &a->arena, &resp->body);
	json_decref(others);
}

// why: for a pod that is denied.
static void go_without(struct admission *a, const char *why, struct http_response *resp)
{
	if (needs_rivals(a))
		judge_rivals(&a->h, NULL, &a->arena, &resp->body);
	else
		refuse_unknown(&a->h, why, &a->arena, &resp->body);
}

static void serve_review(void *ctx, const struct http_request *req, struct http_response *resp)
{
	CLEANUP(cleanup_admission) struct admission a __attribute__((uninitialized)); // by begin()
	if (!begin(&a, ctx, req, resp))
		return;
	if (needs_lookup(&a) || needs_rivals(&a)) {
		resp->later = !req->at_once;
		if (resp->later)
			return;
		go_without(&a, TOO_MANY, resp);
	}
	finish(&a, resp);
}

static void serve_review_later(void *ctx, const struct http_request *req, bool stopping, struct http_response *resp)
{
	CLEANUP(cleanup_admission) struct admission a __attribute__((uninitialized)); // by begin()
	if (!begin(&a, ctx, req, resp))
		return;
	// It may have come meanwhile.
	bool pod = needs_lookup(&a);
	bool trustee = needs_rivals(&a);
	if (stopping && (pod || trustee))
		go_without(&a, STOPPING, resp);
	else if (req->line_ms > LINE_MAX_MS && (pod || trustee))
		go_without(&a, TOO_MANY, resp);
	else if (pod)
		look_up(&a, req, resp);
	else if (trustee)
		look_up_rivals(&a, resp);
	finish(&a, resp);
}

static const char *not_ready(void *ctx)
{
	struct serving *s = ctx;
	if (atomic_load(&s->stopping))
		return "stopping";
	struct catalog *catalog = catalog_store_get(&s->store);
	bool loaded = catalog != NULL;
	catalog_unref(catalog);
	if (loaded)
		return s->certificates != NULL ? serving_certificates_waits_for(s->certificates) : NULL;
	const char *waits_for = atomic_load(&s->waits_for);
	return waits_for != NULL ? waits_for : "profiles are not loaded yet";
}

void serving_set_admission(struct serving *s, struct http_server *admission)
{
	(void)pthread_mutex_lock(&s->admission_lock);
	s->admission = admission;
	(void)pthread_mutex_unlock(&s->admission_lock);
}

int serving_replace_certificate(struct serving *s, struct str cert, struct str key, struct error *err)
{
	(void)pthread_mutex_lock(&s->admission_lock);
	int rc = s->admission != NULL ? http_server_set_certificate(s->admission, cert, key, err)
								  : error_set(err, ECANCELED, "the admission server has stopped");
	(void)pthread_mutex_unlock(&s->admission_lock);
	return rc;
}

static void bring_metrics_up_to_date(void *ctx, struct buf *out)
{
	struct serving *s = ctx;
	(void)out;
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
}

void serving_init_plain(struct serving *s)
{
	s->plain = (struct plain_server){.not_ready = not_ready, .metrics = bring_metrics_up_to_date, .ctx = s};
}

size_t serve_admission_routes(struct serving *s, struct http_route routes[ROUTES_MAX])
{
	for (size_t i = 0; i < ENDPOINTS; i++) {
		s->entrances[i] = (struct entrance){s, (enum endpoint)i};
		routes[i] = (struct http_route){.method = "POST",
										.path = endpoints[i].path,
										.handle = serve_review,
										.ctx = &s->entrances[i],
										.accepts = "application/json",
										.later = serve_review_later};
	}
	return ENDPOINTS;
}
