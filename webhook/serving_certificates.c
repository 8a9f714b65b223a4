#include "webhook/serving_certificates.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/certificate_make.h"
#include "common/kube/backoff.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "common/thread.h"
#include "common/told.h"

#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS 30000
// Who undoes what was applied is met again, but ever less often.
#define UNDONE_FIRST_MS 200
#define UNDONE_MAX_MS 60000
#define UNDONE_TOLD 4      // so often in a row
#define CALM_MAX_MS 300000 // so long without, and it is forgotten; less of a short life
#define CALM_PER_LIFE 10
#define CERT_PEM_MAX ((size_t)16 * 1024)
#define COMMON_NAME "coco-webhook"

static struct metric_series write_series[] = {
	{"object=\"secret\",result=\"success\"", 0},         {"object=\"secret\",result=\"conflict\"", 0},
	{"object=\"secret\",result=\"failure\"", 0},         {"object=\"configuration\",result=\"success\"", 0},
	{"object=\"configuration\",result=\"conflict\"", 0}, {"object=\"configuration\",result=\"failure\"", 0}};
static struct metric writes = {.name = "coco_webhook_certificate_writes_total",
							   .help = "Writes of the serving certificate's Secret and of caBundle of the webhook "
									   "configurations; conflict: another replica was quicker.",
							   .type = METRIC_COUNTER,
							   .series = write_series,
							   .n = sizeof(write_series) / sizeof(write_series[0])};
static struct metric_series trusted_series[] = {{"", 0}};
static struct metric trusted = {.name = "coco_webhook_certificate_trusted",
								.help = "1 where every webhook configuration that is there has the serving "
										"certificate's CA in its caBundle.",
								.type = METRIC_GAUGE,
								.series = trusted_series,
								.n = 1};

enum written { WRITTEN_SECRET, WRITTEN_CONFIGURATION };

// A configuration, and what was applied to it that the informer hasn't told of yet.
struct followed {
	const struct kube_resource *resource;
	struct kube_informer *informer;
	json_t *applied;       // new; NULL: nothing
	char *heard;           // the informer's version at that time
	struct backoff undone; // how long to wait before it is applied once more
	int64_t applied_ms, next_ms;
};

struct serving_certificates {
	struct serving_certificates_config config;
	char *field;                          // selects by name
	char *waits[SERVING_UNREADY_REASONS]; // texts
	_Atomic(const char *) waits_for;
	struct told told;
	pthread_t thread;

	pthread_mutex_t lock; // of the next two
	pthread_cond_t wake;
	bool woken, stopping;

	// The thread's own.
	struct kube_informer *secret_informer;
	struct followed followed[SERVING_CONFIGURATIONS];
	json_t *secret; // as read last, or as written; NULL: there is none
	char *heard;    // the informer's version at that time
	bool stale;     // the secret is to be read whatever the informer says
	struct serving_memory memory;
	struct backoff retry;
};

void serving_certificates_register_metrics(void)
{
	metrics_register(&writes);
	metrics_register(&trusted);
}

static void note_write(enum written what, int rc)
{
	size_t result = rc == 0 ? 0 : rc == -EBUSY ? 1 : 2;
	metric_add(&write_series[(size_t)what * 3 + result], 1);
}

static int64_t now_ms(const struct serving_certificates *s)
{
	return clock_mono_ms(s->config.clock);
}

static void warn(struct serving_certificates *s, const char *message, const char *reason)
{
	if (told_due(&s->told, reason, now_ms(s)))
		log_warn(message, LOG_Z("reason", reason));
}

// ---- What the API server has

static void wake(struct serving_certificates *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->woken = true;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
}

static void on_changed(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	(void)key;
	(void)old_object;
	(void)new_object;
	wake(ctx);
}

static void on_synced(void *ctx)
{
	wake(ctx);
}

// Of the Secret only the metadata are followed: its values are read when they have changed, and stay nowhere else.
static void follow(struct serving_certificates *s)
{
	struct kube_informer_config config = {.resource = &KUBE_SECRETS,
										  .ns = s->config.names.ns,
										  .selector = {.fields = s->field, .metadata_only = true},
										  .changed = on_changed,
										  .synced = on_synced,
										  .ctx = s};
	CLEANUP_FREE char *field = xasprintf("metadata.name=%s", s->config.names.secret);
	config.selector.fields = field;
	s->secret_informer = kube_informer_add(s->config.informers, &config);
	config.ns = NULL;
	config.selector = (struct kube_selector){.fields = s->field};
	config.trim = serving_configuration_trim;
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++) {
		config.resource = s->followed[i].resource;
		s->followed[i].informer = kube_informer_add(s->config.informers, &config);
	}
}

static bool all_read(const struct serving_certificates *s)
{
	bool all = kube_informer_synced(s->secret_informer);
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++)
		all &= kube_informer_synced(s->followed[i].informer);
	return all;
}

static void set_text(char **text, const char *value)
{
	char *copy = xstrdup(value);
	free(*text);
	*text = copy;
}

// Takes secret.
static void hold(struct serving_certificates *s, json_t *secret, const char *heard)
{
	secret_json_free(s->secret);
	s->secret = secret;
	set_text(&s->heard, heard);
	s->stale = false;
}

// Brings what is held up to date. now: whatever the informer says.
static int read_secret(struct serving_certificates *s, bool now, struct error *err)
{
	const struct serving_names *names = &s->config.names;
	json_auto_t *live = kube_store_get(kube_informer_store(s->secret_informer), names->ns, names->secret);
	const char *heard = kube_resource_version(live);
	json_t *read = NULL;
	if (live == NULL) {
		hold(s, NULL, "");
		return 0;
	}
	if (!now && !s->stale && s->secret != NULL && strcmp(heard, s->heard) == 0)
		return 0;
	if (!now && !s->stale && strcmp(heard, kube_resource_version(s->secret)) == 0) {
		set_text(&s->heard, heard);
		return 0;
	}
	int rc = kube_get(s->config.client, &KUBE_SECRETS, names->ns, names->secret, &read, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	hold(s, read, heard);
	return 0;
}

// As it is, new; NULL where there is none.
static json_t *configuration(struct serving_certificates *s, struct followed *f)
{
	json_t *live = kube_store_get(kube_informer_store(f->informer), NULL, s->config.names.configuration);
	if (f->applied == NULL)
		return live;
	if (live != NULL && strcmp(kube_resource_version(live), f->heard) == 0) {
		json_decref(live);
		return json_incref(f->applied);
	}
	json_decref(f->applied);
	f->applied = NULL;
	return live;
}

// ---- A look, and what follows from it

struct look {
	struct serving_input in;
	struct serving_plan plan;
	json_t *configurations[SERVING_CONFIGURATIONS];
};

static void release_look(struct look *l)
{
	serving_plan_release(&l->plan);
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++)
		json_decref(l->configurations[i]);
	*l = (struct look){0};
}

static int serve(struct serving_certificates *s, const struct serving_plan *p, struct error *err)
{
	if (!p->cert.there)
		return 0;
	int rc = s->config.serve(s->config.ctx, secret_text_str(&p->cert), secret_text_str(&p->key), p->not_after_s, err);
	if (rc < 0) {
		s->memory.served[0] = '\0';
		return error_prefix(err, "the certificate of Secret %s/%s", s->config.names.ns, s->config.names.secret);
	}
	char until[CLOCK_TEXT_MAX];
	clock_text(p->not_after_s * 1000 * 1000, 0, until);
	log_info("serving with another certificate", LOG_Z("sha256", p->id), LOG_Z("notAfter", until));
	return 0;
}

static int look(struct serving_certificates *s, struct look *ret, struct error *err)
{
	*ret = (struct look){.in = {.names = &s->config.names,
								.life_s = s->config.life_s,
								.secret = s->secret,
								.now_s = clock_wall_ms(s->config.clock) / 1000,
								.now_ms = now_ms(s)}};
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++) {
		ret->configurations[i] = configuration(s, &s->followed[i]);
		ret->in.configurations[i] = ret->configurations[i];
	}
	serving_plan_make(&ret->in, &s->memory, &ret->plan);
	for (size_t i = 0; i < ret->plan.nremarks; i++)
		warn(s, "the serving certificate needs somebody's attention", ret->plan.remarks[i]);
	metric_set(&trusted_series[0], ret->plan.trusted ? 1 : 0);
	int rc = serve(s, &ret->plan, err);
	atomic_store(&s->waits_for, s->waits[rc < 0 ? SERVING_NO_PAIR : ret->plan.unready]);
	return rc;
}

static bool wants_to_write(const struct serving_plan *p)
{
	return p->step != SERVING_KEEP || p->apply[SERVING_MUTATING] || p->apply[SERVING_VALIDATING];
}

static void release_pair(struct serving_pair *pair)
{
	secret_buf_release(&pair->key);
	buf_release(&pair->cert);
	buf_release(&pair->ca);
}

static int make(const struct serving_certificates *s, const struct serving_input *in, struct serving_pair *ret,
				struct error *err)
{
	char *hosts[SERVING_HOSTS];
	serving_hosts(in->names, hosts);
	const struct serving_request request = {.name = COMMON_NAME,
											.hosts = (const char *const *)hosts,
											.nhosts = SERVING_HOSTS,
											.now_s = in->now_s,
											.life_s = s->config.life_s};
	int rc = certificate_make_serving(&request, &ret->key, &ret->cert, &ret->ca, err);
	for (size_t i = 0; i < SERVING_HOSTS; i++)
		free(hosts[i]);
	return rc;
}

static int write_secret(struct serving_certificates *s, const struct look *l, struct error *err)
{
	const struct serving_names *names = &s->config.names;
	struct serving_pair made CLEANUP(release_pair) = {secret_buf(KEY_PEM_MAX), BUF_INIT(CERT_PEM_MAX),
													  BUF_INIT(CERT_PEM_MAX)};
	bool makes = l->plan.step != SERVING_PROMOTE;
	int rc = makes ? make(s, &l->in, &made, err) : 0;
	if (rc < 0)
		return rc;
	CLEANUP_SECRET_JSON json_t *patch = serving_plan_secret_patch(&l->in, &l->plan, makes ? &made : NULL);
	json_t *answer = NULL;
	rc = kube_patch_merge(s->config.client, &KUBE_SECRETS, names->ns, names->secret, NULL, patch, &answer, err);
	note_write(WRITTEN_SECRET, rc);
	s->stale = rc < 0;
	if (rc < 0)
		return rc;
	static const char *const told[] = {[SERVING_MAKE] = "a serving certificate was made",
									   [SERVING_MAKE_NEXT] =
										   "the next serving certificate was made; it is used once its CA is trusted",
									   [SERVING_PROMOTE] = "the next serving certificate is the one in use now"};
	log_info(told[l->plan.step], LOG_Z("secret", names->secret), LOG_Z("reason", l->plan.why));
	if (makes)
		serving_memory_note_made(&s->memory, &l->in);
	CLEANUP_FREE char *heard = xstrdup(s->heard);
	hold(s, answer, heard);
	return 0;
}

static void note_applied(struct serving_certificates *s, struct followed *f, const json_t *before, json_t *answer)
{
	int64_t calm_ms = s->config.life_s * 1000 / CALM_PER_LIFE;
	int64_t at_ms = now_ms(s);
	if (at_ms - f->applied_ms > (calm_ms < CALM_MAX_MS ? calm_ms : CALM_MAX_MS))
		backoff_reset(&f->undone);
	f->applied_ms = at_ms;
	f->next_ms = at_ms + backoff_next_ms(&f->undone);
	if (f->applied == NULL)
		set_text(&f->heard, kube_resource_version(before));
	json_decref(f->applied);
	f->applied = serving_configuration_trim(answer);
	log_info("caBundle was written", LOG_Z("kind", f->resource->kind), LOG_Z("name", s->config.names.configuration));
	if (f->undone.tries >= UNDONE_TOLD)
		warn(s, "another program keeps changing caBundle, and the webhook writes it again",
			 "see metadata.managedFields of the webhook configurations for who it is; only one may write it");
}

static int apply_bundle(struct serving_certificates *s, struct look *l, size_t i, struct error *err)
{
	struct followed *f = &s->followed[i];
	json_auto_t *object = serving_plan_bundle_apply(l->configurations[i], &l->plan);
	json_t *answer = NULL;
	int rc = kube_apply(s->config.client, f->resource, NULL, NULL, object, SERVING_FIELD_MANAGER, true, &answer, err);
	note_write(WRITTEN_CONFIGURATION, rc);
	if (rc == 0)
		note_applied(s, f, l->configurations[i], answer);
	return rc;
}

// *ret_again_ms: when to look again.
static int apply_bundles(struct serving_certificates *s, struct look *l, int64_t *ret_again_ms, struct error *err)
{
	int first = 0;
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++) {
		struct error each;
		int64_t left_ms = s->followed[i].next_ms - now_ms(s);
		if (!l->plan.apply[i])
			continue;
		if (left_ms > 0) {
			*ret_again_ms = left_ms < *ret_again_ms ? left_ms : *ret_again_ms;
			continue;
		}
		int rc = apply_bundle(s, l, i, &each);
		*ret_again_ms = 0;
		// One that can't be written is no reason to leave the other one alone.
		if (rc < 0 && first == 0) {
			*err = each;
			first = rc;
		}
	}
	return first;
}

static int step(struct serving_certificates *s, int64_t *ret_again_ms, struct error *err)
{
	struct look l CLEANUP(release_look) = {0};
	int rc = read_secret(s, /* now= */ false, err);
	if (rc == 0)
		rc = look(s, &l, err);
	if (rc == 0 && wants_to_write(&l.plan)) {
		release_look(&l);
		rc = read_secret(s, /* now= */ true, err);
		if (rc == 0)
			rc = look(s, &l, err);
	}
	*ret_again_ms = l.plan.again_ms;
	if (rc == 0 && l.plan.step != SERVING_KEEP) {
		*ret_again_ms = 0;
		return write_secret(s, &l, err);
	}
	return rc == 0 ? apply_bundles(s, &l, ret_again_ms, err) : rc;
}

// What another replica has done first is no trouble, nor is an object that has just gone.
static bool is_race(int code)
{
	return code == EBUSY || code == ENOENT || code == ECANCELED;
}

// Returns how long to wait before the next turn.
static int64_t turn(struct serving_certificates *s)
{
	struct error err;
	int64_t again_ms = SERVING_LOOK_MAX_MS;
	if (!all_read(s))
		return again_ms;
	if (step(s, &again_ms, &err) == 0) {
		backoff_reset(&s->retry);
		return again_ms;
	}
	if (!is_race(err.code))
		warn(s, "the serving certificate can't be kept up to date; what is served stays", err.msg);
	return backoff_next_ms(&s->retry);
}

static void *run(void *ctx)
{
	struct serving_certificates *s = ctx;
	int64_t again_ms = SERVING_LOOK_MAX_MS;
	for (;;) {
		int64_t end_ms = now_ms(s) + again_ms;
		(void)pthread_mutex_lock(&s->lock);
		for (int64_t left_ms = again_ms; left_ms > 0 && !s->woken && !s->stopping; left_ms = end_ms - now_ms(s))
			thread_cond_wait(&s->wake, &s->lock, left_ms);
		s->woken = false;
		bool stopping = s->stopping;
		(void)pthread_mutex_unlock(&s->lock);
		if (stopping)
			return NULL;
		again_ms = turn(s);
	}
}

// ---- Start and stop

struct serving_certificates *serving_certificates_start(const struct serving_certificates_config *config)
{
	struct serving_certificates *s = xcalloc(1, sizeof(*s));
	s->config = *config;
	s->told = (struct told)TOLD_INIT;
	s->field = xasprintf("metadata.name=%s", config->names.configuration);
	s->heard = xstrdup("");
	s->retry = (struct backoff){RETRY_FIRST_MS, RETRY_MAX_MS, 0, backoff_seed()};
	s->followed[SERVING_MUTATING].resource = &KUBE_MUTATING_WEBHOOKS;
	s->followed[SERVING_VALIDATING].resource = &KUBE_VALIDATING_WEBHOOKS;
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++)
		s->followed[i].undone = (struct backoff){UNDONE_FIRST_MS, UNDONE_MAX_MS, 0, backoff_seed()};
	for (int i = 0; i < SERVING_UNREADY_REASONS; i++)
		s->waits[i] = serving_unready_text((enum serving_unready)i, &s->config.names);
	atomic_store(&s->waits_for, s->waits[SERVING_UNREAD]);
	(void)pthread_mutex_init(&s->lock, NULL);
	thread_cond_init(&s->wake);
	follow(s);
	thread_start(&s->thread, "certificates", run, s);
	return s;
}

void serving_certificates_stop(struct serving_certificates *s)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stopping = true;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	kube_informer_remove(s->secret_informer);
	for (size_t i = 0; i < SERVING_CONFIGURATIONS; i++) {
		kube_informer_remove(s->followed[i].informer);
		json_decref(s->followed[i].applied);
		free(s->followed[i].heard);
	}
	for (size_t i = 0; i < SERVING_UNREADY_REASONS; i++)
		free(s->waits[i]);
	secret_json_free(s->secret);
	free(s->heard);
	free(s->field);
	told_release(&s->told);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

const char *serving_certificates_waits_for(struct serving_certificates *s)
{
	return atomic_load(&s->waits_for);
}
