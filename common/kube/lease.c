#include "common/kube/lease.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/kube/backoff.h"
#include "common/live.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define LABEL_MAX 300
#define ATTEMPTS 3 // in a row, where others were faster

// ---- The rule

static const json_t *spec_of(const json_t *lease)
{
	return json_object_get(lease, "spec");
}

const char *lease_holder_of(const json_t *lease)
{
	const char *holder = json_string_value(json_object_get(spec_of(lease), "holderIdentity"));
	return holder != NULL ? holder : "";
}

// Nobody's; a holder of another type than a string's is somebody's.
static bool is_free(const json_t *lease)
{
	const json_t *holder = json_object_get(spec_of(lease), "holderIdentity");
	return holder == NULL || json_is_null(holder) || (json_is_string(holder) && json_string_length(holder) == 0);
}

static bool is_held_by(const json_t *lease, const char *identity)
{
	const json_t *holder = json_object_get(spec_of(lease), "holderIdentity");
	return json_is_string(holder) && json_string_length(holder) == strlen(identity) &&
		   memcmp(json_string_value(holder), identity, strlen(identity)) == 0;
}

static int64_t duration_ms_of(const json_t *lease, int duration_s)
{
	json_int_t s = json_integer_value(json_object_get(spec_of(lease), "leaseDurationSeconds"));
	return (int64_t)(s > 0 && s <= INT32_MAX ? s : duration_s) * 1000;
}

// Notes when the lease was first seen as it is; returns that time.
static int64_t seen_since(struct lease_view *view, const json_t *lease, int64_t now_ms)
{
	const char *version = kube_resource_version(lease);
	char cut[sizeof(view->resource_version)];
	(void)snprintf(cut, sizeof(cut), "%s", version);
	if (cut[0] == '\0' || strcmp(cut, view->resource_version) != 0) {
		memcpy(view->resource_version, cut, sizeof(cut));
		view->seen_ms = now_ms;
	}
	return view->seen_ms;
}

static json_t *time_new(int64_t wall_us)
{
	char text[CLOCK_TEXT_MAX];
	clock_text(wall_us, 1, text);
	return json_string(text);
}

static json_t *lease_new(const char *ns, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease", "metadata",
					 "name", name, "namespace", ns);
}

// The spec, to be changed; made where there is none.
static json_t *spec_to_write(json_t *lease)
{
	json_t *spec = json_object_get(lease, "spec");
	if (json_is_object(spec))
		return spec;
	(void)json_object_set_new(lease, "spec", json_object());
	return json_object_get(lease, "spec");
}

// One more than there were; the field has 32 bits.
static json_t *transitions_after(const json_t *spec)
{
	json_int_t n = json_integer_value(json_object_get(spec, "leaseTransitions"));
	return json_integer(n < 0 ? 1 : n < INT32_MAX ? n + 1 : INT32_MAX);
}

static void write_holder(json_t *spec, const char *identity, int duration_s, int64_t wall_us)
{
	(void)json_object_set_new(spec, "holderIdentity", json_string(identity));
	(void)json_object_set_new(spec, "leaseDurationSeconds", json_integer(duration_s));
	(void)json_object_set_new(spec, "renewTime", time_new(wall_us));
}

static json_t *first_lease(const char *ns, const char *name, const char *identity, int duration_s, int64_t wall_us)
{
	json_t *next = lease_new(ns, name);
	json_t *spec = spec_to_write(next);
	write_holder(spec, identity, duration_s, wall_us);
	(void)json_object_set_new(spec, "acquireTime", time_new(wall_us));
	(void)json_object_set_new(spec, "leaseTransitions", json_integer(0));
	return next;
}

static json_t *renewed_lease(const json_t *lease, const char *identity, int duration_s, int64_t wall_us)
{
	json_t *next = json_deep_copy(lease);
	json_t *spec = spec_to_write(next);
	int64_t ignored = 0;
	const char *acquired = json_string_value(json_object_get(spec, "acquireTime"));
	if (acquired == NULL || clock_parse(acquired, &ignored) != 0)
		(void)json_object_set_new(spec, "acquireTime", time_new(wall_us));
	write_holder(spec, identity, duration_s, wall_us);
	return next;
}

static json_t *taken_lease(const json_t *lease, const char *identity, int duration_s, int64_t wall_us)
{
	json_t *next = json_deep_copy(lease);
	json_t *spec = spec_to_write(next);
	(void)json_object_set_new(spec, "acquireTime", time_new(wall_us));
	(void)json_object_set_new(spec, "leaseTransitions", transitions_after(spec));
	write_holder(spec, identity, duration_s, wall_us);
	return next;
}

enum lease_step lease_decide(const json_t *lease, const char *ns, const char *name, const char *identity,
							 int duration_s, int64_t now_ms, int64_t wall_us, struct lease_view *view,
							 json_t **ret_next)
{
	*ret_next = NULL;
	if (lease == NULL) {
		*view = (struct lease_view){0};
		*ret_next = first_lease(ns, name, identity, duration_s, wall_us);
		return LEASE_CREATE;
	}
	int64_t since_ms = seen_since(view, lease, now_ms);
	if (is_held_by(lease, identity)) {
		*ret_next = renewed_lease(lease, identity, duration_s, wall_us);
	} else if (is_free(lease) || now_ms - since_ms >= duration_ms_of(lease, duration_s)) {
		*ret_next = taken_lease(lease, identity, duration_s, wall_us);
	} else {
		view->free_ms = since_ms + duration_ms_of(lease, duration_s);
		return LEASE_WAIT;
	}
	return LEASE_UPDATE;
}

json_t *lease_release(const json_t *lease, int64_t wall_us)
{
	json_t *next = json_deep_copy(lease);
	json_t *spec = spec_to_write(next);
	// A duration of 0 isn't allowed. Who reads the duration but not the holder waits a second.
	write_holder(spec, "", 1, wall_us);
	(void)json_object_set_new(spec, "acquireTime", time_new(wall_us));
	return next;
}

// ---- The thread

struct lease {
	struct lease_config config;
	char *ns, *name, *identity;
	char *collection_path, *path;
	char label[LABEL_MAX];
	struct live live;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping;
	bool leading;
	int64_t renewed_ms; // when the request was sent that renewed it last: others count from later on
	char holder[LEASE_HOLDER_MAX];

	// The thread's own.
	json_t *ours; // the lease as we wrote it, to be renewed without reading it; NULL: read
	struct lease_view view;
	struct backoff jitter;
	struct error trouble;
	int64_t told_ms;
};

static struct live_list leases = LIVE_LIST_INIT;

static int64_t now_ms_of(const struct lease *l)
{
	return clock_mono_ms(l->config.clock);
}

static int64_t wall_us_of(const struct lease *l)
{
	return clock_wall_ms(l->config.clock) * 1000;
}

static bool is_stopping(struct lease *l)
{
	(void)pthread_mutex_lock(&l->lock);
	bool stopping = l->stopping;
	(void)pthread_mutex_unlock(&l->lock);
	return stopping;
}

static int64_t left_ms(const struct lease *l)
{
	return l->renewed_ms + l->config.renew_ms - now_ms_of(l);
}

static void note_holder(struct lease *l, const char *holder)
{
	(void)pthread_mutex_lock(&l->lock);
	(void)snprintf(l->holder, sizeof(l->holder), "%s", holder);
	text_sanitize(l->holder);
	(void)pthread_mutex_unlock(&l->lock);
}

static void forget_ours(struct lease *l)
{
	json_decref(l->ours);
	l->ours = NULL;
}

// No request outlives the time until which a leader must have renewed.
static int request_ms(const struct lease *l)
{
	int64_t ms = l->config.renew_ms / 2 < LEASE_REQUEST_MS ? l->config.renew_ms / 2 : LEASE_REQUEST_MS;
	if (l->leading && left_ms(l) < ms)
		ms = left_ms(l);
	return ms > 1 ? (int)ms : 1;
}

// *ret (new): the lease that the API server answered with. What is written may be sent twice: the second one is a
// conflict, and then the lease is read.
static int ask(struct lease *l, const char *method, const char *path, const json_t *body, int timeout_ms, json_t **ret,
			   struct error *err)
{
	const struct kube_request req = {
		.method = method, .path = path, .body = body, .timeout_ms = timeout_ms, .repeatable = true};
	struct kube_response answer CLEANUP_KUBE_RESPONSE = {0};
	int failed = kube_do(l->config.client, &req, &answer, err);
	if (failed != 0)
		return failed;
	if (!json_is_object(answer.body))
		return error_set(err, EIO, "%s %s: the answer is no Lease", method, path);
	*ret = TAKE_PTR(answer.body);
	return 0;
}

// *ret (new): NULL where there is none.
static int read_lease(struct lease *l, json_t **ret, struct error *err)
{
	*ret = NULL;
	if (l->ours != NULL) {
		*ret = json_incref(l->ours);
		return 0;
	}
	int failed = ask(l, "GET", l->path, NULL, request_ms(l), ret, err);
	return failed == -ENOENT ? 0 : failed;
}

static void note_renewed(struct lease *l, json_t *ours, int64_t sent_ms)
{
	forget_ours(l);
	l->ours = ours;
	note_holder(l, l->identity);
	(void)pthread_mutex_lock(&l->lock);
	bool first = !l->leading;
	l->leading = true;
	l->renewed_ms = sent_ms;
	(void)pthread_mutex_unlock(&l->lock);
	if (first && l->config.started != NULL)
		l->config.started(l->config.ctx);
}

static int write_lease(struct lease *l, enum lease_step step, const json_t *next, struct error *err)
{
	int64_t sent_ms = now_ms_of(l);
	json_t *written = NULL;
	int failed = step == LEASE_CREATE ? ask(l, "POST", l->collection_path, next, request_ms(l), &written, err)
									  : ask(l, "PUT", l->path, next, request_ms(l), &written, err);
	if (failed == 0)
		note_renewed(l, written, sent_ms);
	else
		forget_ours(l);
	return failed;
}

// Another one has written, made or deleted the lease since it was read.
static bool was_raced(enum lease_step step, int failed)
{
	return failed == -EBUSY || failed == -EEXIST || (step == LEASE_UPDATE && failed == -ENOENT);
}

enum attempt {
	ATTEMPT_LEADS,
	ATTEMPT_WAITS, // another one leads
	ATTEMPT_RACED,
	ATTEMPT_FAILED, // with err
};

static enum attempt attempt_once(struct lease *l, struct error *err)
{
	json_t *lease = NULL;
	if (read_lease(l, &lease, err) != 0)
		return ATTEMPT_FAILED;
	note_holder(l, lease_holder_of(lease));
	json_t *next = NULL;
	int duration_s = (l->config.duration_ms + 999) / 1000;
	enum lease_step step =
		lease_decide(lease, l->ns, l->name, l->identity, duration_s, now_ms_of(l), wall_us_of(l), &l->view, &next);
	json_decref(lease);
	if (step == LEASE_WAIT)
		return ATTEMPT_WAITS;
	if (next == NULL) {
		(void)error_set(err, ENOMEM, "lease %s/%s: out of memory", l->ns, l->name);
		return ATTEMPT_FAILED;
	}
	int failed = write_lease(l, step, next, err);
	json_decref(next);
	if (was_raced(step, failed))
		return ATTEMPT_RACED;
	return failed == 0 ? ATTEMPT_LEADS : ATTEMPT_FAILED;
}

static enum attempt attempt(struct lease *l, struct error *err)
{
	enum attempt result = ATTEMPT_RACED;
	for (int i = 0; i < ATTEMPTS && result == ATTEMPT_RACED; i++)
		result = attempt_once(l, err);
	return result;
}

static void tell_trouble(struct lease *l, const struct error *err)
{
	int64_t now_ms = now_ms_of(l);
	bool same = l->trouble.code == err->code && now_ms - l->told_ms < LEASE_TROUBLE_MS;
	l->trouble = *err;
	if (same || l->config.trouble == NULL || err->code == ECANCELED)
		return;
	l->told_ms = now_ms;
	l->config.trouble(l->config.ctx, err);
}

static void lose(struct lease *l, const char *why)
{
	(void)pthread_mutex_lock(&l->lock);
	l->leading = false;
	(void)pthread_mutex_unlock(&l->lock);
	if (l->config.lost != NULL)
		l->config.lost(l->config.ctx, why);
}

// Whether a leader isn't one any more, told.
static bool has_lost(struct lease *l, enum attempt result)
{
	struct error why = {0};
	if (!l->leading)
		return false;
	if (result == ATTEMPT_WAITS) {
		char holder[LEASE_HOLDER_MAX];
		lease_holder(l, holder, sizeof(holder));
		(void)error_set(&why, EBUSY, "%s holds lease %s/%s now: restart this program", holder, l->ns, l->name);
	} else if (left_ms(l) <= 0) {
		(void)error_set(&why, ETIMEDOUT, "lease %s/%s could not be renewed for %d ms: restart this program%s%s", l->ns,
						l->name, l->config.renew_ms, l->trouble.code != 0 ? "; at last: " : "", l->trouble.msg);
	} else {
		return false;
	}
	lose(l, why.msg);
	return true;
}

// Candidates spread a little, so that they don't all come at once to a lease that is free; but when one expires, they look.
static int64_t pause_ms(struct lease *l)
{
	int64_t retry_ms = l->config.retry_ms;
	int64_t free_in_ms = l->view.free_ms - now_ms_of(l);
	if (!l->leading) {
		int64_t ms = backoff_between(&l->jitter, retry_ms * 3 / 4, retry_ms + 1);
		return free_in_ms > 0 && free_in_ms < ms ? free_in_ms : ms;
	}
	return left_ms(l) < retry_ms ? left_ms(l) : retry_ms;
}

static void pause_thread(struct lease *l, int64_t ms)
{
	int64_t until_ms = now_ms_of(l) + ms;
	(void)pthread_mutex_lock(&l->lock);
	for (int64_t left = ms; !l->stopping && left > 0; left = until_ms - now_ms_of(l))
		thread_cond_wait(&l->changed, &l->lock, left);
	(void)pthread_mutex_unlock(&l->lock);
}

// A failure here is nobody's: the lease then expires.
static void release(struct lease *l)
{
	struct error err;
	int64_t end_ms = now_ms_of(l) + LEASE_RELEASE_MS;
	for (int i = 0; i < ATTEMPTS && now_ms_of(l) < end_ms; i++) {
		json_t *lease = NULL;
		if (read_lease(l, &lease, &err) != 0 || lease == NULL)
			return;
		int failed = 0;
		if (is_held_by(lease, l->identity)) {
			json_t *next = lease_release(lease, wall_us_of(l));
			json_t *written = NULL;
			failed = ask(l, "PUT", l->path, next, (int)(end_ms - now_ms_of(l)), &written, &err);
			json_decref(written);
			json_decref(next);
		}
		json_decref(lease);
		forget_ours(l);
		if (!was_raced(LEASE_UPDATE, failed))
			return;
	}
}

static void *lease_main(void *arg)
{
	struct lease *l = arg;
	enum attempt result = ATTEMPT_WAITS;
	while (!is_stopping(l)) {
		struct error err = {0};
		result = attempt(l, &err);
		if (result == ATTEMPT_FAILED)
			tell_trouble(l, &err);
		else
			l->trouble.code = 0;
		if (has_lost(l, result))
			return NULL;
		pause_thread(l, pause_ms(l));
		if (!is_stopping(l) && has_lost(l, ATTEMPT_FAILED))
			return NULL;
	}
	if (l->leading)
		release(l);
	return NULL;
}

// ---- Life

static int or_default(int given, int otherwise)
{
	return given > 0 ? given : otherwise;
}

static char *path_of(const char *ns, const char *name)
{
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(&KUBE_LEASES, ns, name, NULL, &path);
	return buf_take(&path);
}

struct lease *lease_start(const struct lease_config *config)
{
	struct lease *l = xcalloc(1, sizeof(*l));
	l->config = *config;
	l->config.duration_ms = or_default(config->duration_ms, LEASE_DURATION_MS);
	l->config.renew_ms = or_default(config->renew_ms, LEASE_RENEW_MS);
	l->config.retry_ms = or_default(config->retry_ms, LEASE_RETRY_MS);
	l->ns = xstrdup(config->ns);
	l->name = xstrdup(config->name);
	l->identity = xstrdup(config->identity);
	for (char *c = l->identity; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	l->collection_path = path_of(config->ns, NULL);
	l->path = path_of(config->ns, config->name);
	l->jitter.random = backoff_seed();
	(void)snprintf(l->label, sizeof(l->label), "name=\"%s\"", l->name);
	(void)pthread_mutex_init(&l->lock, NULL);
	thread_cond_init(&l->changed);
	live_add(&leases, &l->live, l);
	thread_start(&l->thread, "lease", lease_main, l);
	return l;
}

void lease_stop(struct lease *l)
{
	if (l == NULL)
		return;
	(void)pthread_mutex_lock(&l->lock);
	l->stopping = true;
	(void)pthread_cond_signal(&l->changed);
	(void)pthread_mutex_unlock(&l->lock);
	(void)pthread_join(l->thread, NULL);
	live_remove(&leases, &l->live);
	forget_ours(l);
	free(l->ns);
	free(l->name);
	free(l->identity);
	free(l->collection_path);
	free(l->path);
	(void)pthread_cond_destroy(&l->changed);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

bool lease_held(struct lease *l)
{
	(void)pthread_mutex_lock(&l->lock);
	bool held = l->leading && left_ms(l) > 0;
	(void)pthread_mutex_unlock(&l->lock);
	return held;
}

void lease_holder(struct lease *l, char *ret, size_t n)
{
	(void)pthread_mutex_lock(&l->lock);
	(void)snprintf(ret, n, "%s", l->holder);
	(void)pthread_mutex_unlock(&l->lock);
}

void lease_write_metrics(struct buf *out)
{
	static const char NAME[] = "leader_election_master_status";
	metric_write_head(out, NAME, "1 where this process leads by the Lease of that name, 0 where it stands by.",
					  METRIC_GAUGE);
	(void)pthread_mutex_lock(&leases.lock);
	for (const struct live *at = leases.first; at != NULL; at = at->next) {
		struct lease *l = at->object;
		metric_write_value(out, NAME, l->label, lease_held(l) ? 1 : 0);
	}
	(void)pthread_mutex_unlock(&leases.lock);
}
