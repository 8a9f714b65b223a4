#include "webhook/serve.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/catalog_lookup.h"
#include "common/log.h"
#include "common/names.h"
#include "common/told.h"
#include "webhook/serve_metrics.h"
#include "webhook/serving_certificates.h"
#include "webhook/trustee_lookup.h"

// The webhook configurations give us 3 s, and a lookup may take CATALOG_LOOKUP_MS of them. A lookup that begins later is one
// that nobody waits for, while others in line wait for it.
#define LINE_MAX_MS 900
#define TOO_MANY "too many pods wait for theirs already"
#define STOPPING "this webhook is about to stop"

static int64_t now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// By endpoint. Both paths of a kind have the same name in logs.
static const struct {
	const char *path;
	const char *name;
} endpoints[ENDPOINTS] = {
	[ENDPOINT_MUTATE] = {SERVE_PATH_MUTATE, "mutate-pods"},
	[ENDPOINT_MUTATE_ENABLED] = {SERVE_PATH_MUTATE_ENABLED, "mutate-pods"},
	[ENDPOINT_VALIDATE] = {SERVE_PATH_VALIDATE, "validate-pods"},
	[ENDPOINT_VALIDATE_ENABLED] = {SERVE_PATH_VALIDATE_ENABLED, "validate-pods"},
	[ENDPOINT_VALIDATE_RESOURCES] = {SERVE_PATH_VALIDATE_RESOURCES, "validate-resources"},
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
	serve_metrics_begin(e->endpoint);
	if (a->catalog == NULL && e->endpoint != ENDPOINT_VALIDATE_RESOURCES) {
		resp->status = 503;
		resp->retry_after_s = 1;
		buf_addz(&resp->body, "profiles are not loaded yet; try again\n");
		serve_metrics_turned_away(e->endpoint, (uint64_t)(now_us() - a->start_us));
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
	serve_metrics_end(a->entrance->endpoint, h, (uint64_t)us);
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
	serve_metrics_lookup(rc == 0);
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
	serve_metrics_lookup(rc == 0);
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
		if (resp->later) {
			serve_metrics_later(a.entrance->endpoint);
			return;
		}
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
		serve_metrics_server(&stats);
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
