#include "webhook/serving_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/certificate.h"
#include "common/certificate_chain.h"
#include "common/certificate_make.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/json_made.h"
#include "common/json_text.h"
#include "common/kube/resource.h"
#include "common/mem.h"
#include "common/secret.h"

#define DAY_S ((int64_t)24 * 60 * 60)

static const struct kube_resource *const kinds[SERVING_CONFIGURATIONS] = {
	[SERVING_MUTATING] = &KUBE_MUTATING_WEBHOOKS, [SERVING_VALIDATING] = &KUBE_VALIDATING_WEBHOOKS};

// Who is told by these to write caBundle; it would be written in turns.
static const char *const injectors[] = {"cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret",
										"cert-manager.io/inject-apiserver-ca",
										"service.beta.openshift.io/inject-cabundle"};

// What the plan is made from, and what is found on the way.
struct planning {
	const struct serving_input *in;
	struct serving_memory *memory;
	struct serving_plan *plan;
	struct serving_secret secret;
	size_t present;                       // configurations
	bool trusted[SERVING_CONFIGURATIONS]; // the pair in use; of one that is absent too, as nobody asks by it
	bool elsewhere[SERVING_CONFIGURATIONS];
	bool next_trusted;     // by all
	bool anybody;          // somebody is trusted now, though nobody may serve with it
	STACK_OF(X509) * kept; // whom, without those of the Secret's own ca.crt
};

// ---- Words

void serving_hosts(const struct serving_names *names, char *ret[SERVING_HOSTS])
{
	ret[0] = xasprintf("%s.%s.svc", names->service, names->ns);
	ret[1] = xasprintf("%s.%s.svc.cluster.local", names->service, names->ns);
	ret[2] = xasprintf("%s.%s", names->service, names->ns);
	ret[3] = xstrdup(names->service);
}

static void __attribute__((format(printf, 2, 3))) remark(struct planning *p, const char *fmt, ...)
{
	struct serving_plan *plan = p->plan;
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		abort();
	if (plan->nremarks == SERVING_REMARKS_MAX) {
		free(text);
		return;
	}
	text_sanitize(text);
	plan->remarks[plan->nremarks++] = text;
}

#define SAY_SERVICE \
	"have coco-webhook's --service and clientConfig.service name the same one, in the webhook's own namespace"
#define APPLY_BASE "apply the manifests again (kubectl apply -k manifests/base)"

char *serving_unready_text(enum serving_unready why, const struct serving_names *names)
{
	switch (why) {
	case SERVING_UNREAD:
		return xasprintf("Secret %s/%s and the webhook configurations %s are not read from the API server yet",
						 names->ns, names->secret, names->configuration);
	case SERVING_NO_SECRET:
		return xasprintf("there is no Secret %s/%s for the serving certificate: " APPLY_BASE, names->ns, names->secret);
	case SERVING_NO_PAIR:
		return xasprintf("Secret %s/%s has no serving certificate that can be used yet; one is being made", names->ns,
						 names->secret);
	case SERVING_NO_CONFIGURATION:
		return xasprintf("there is neither a %s nor a %s %s: " APPLY_BASE, KUBE_MUTATING_WEBHOOKS.kind,
						 KUBE_VALIDATING_WEBHOOKS.kind, names->configuration);
	case SERVING_ELSEWHERE_MUTATING:
	case SERVING_ELSEWHERE_VALIDATING:
		return xasprintf(
			"a webhook of %s %s calls another Service than %s/%s, which the serving certificate is for: " SAY_SERVICE,
			kinds[why == SERVING_ELSEWHERE_MUTATING ? SERVING_MUTATING : SERVING_VALIDATING]->kind,
			names->configuration, names->ns, names->service);
	case SERVING_UNTRUSTED_MUTATING:
	case SERVING_UNTRUSTED_VALIDATING:
		return xasprintf("caBundle of %s %s does not have the serving certificate's CA yet",
						 kinds[why == SERVING_UNTRUSTED_MUTATING ? SERVING_MUTATING : SERVING_VALIDATING]->kind,
						 names->configuration);
	case SERVING_EXPIRED:
		return xasprintf("the serving certificate has expired, and Secret %s/%s has no other", names->ns,
						 names->secret);
	case SERVING_READY:
	case SERVING_UNREADY_REASONS:
		break;
	}
	return NULL;
}

int serving_life_parse(const char *text, int64_t *ret_s)
{
	static const struct {
		const char *unit;
		int64_t s;
	} units[] = {{"", DAY_S}, {"d", DAY_S}, {"h", 60 * 60}, {"m", 60}, {"s", 1}};
	char *end = NULL;
	if (text[0] < '0' || text[0] > '9' || strlen(text) > 10)
		return -EINVAL;
	int64_t n = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		*ret_s = n * units[i].s;
		return *ret_s >= SERVING_LIFE_MIN_S && *ret_s <= SERVING_LIFE_MAX_S ? 0 : -EINVAL;
	}
	return -EINVAL;
}

// ---- The configurations: whom they trust

json_t *serving_configuration_trim(json_t *configuration)
{
	const json_t *metadata = json_object_get(configuration, "metadata");
	json_t *annotations = json_object();
	json_t *webhooks = json_array();
	for (size_t i = 0; i < sizeof(injectors) / sizeof(injectors[0]); i++)
		if (kube_annotation(configuration, injectors[i]) != NULL)
			json_put(annotations, injectors[i], json_string(""));
	size_t i = 0;
	const json_t *webhook = NULL;
	json_array_foreach (json_object_get(configuration, "webhooks"), i, webhook)
		(void)json_array_append_new(
			webhooks,
			json_made(json_pack("{s:O?, s:{s:O*, s:O*}}", "name", json_object_get(webhook, "name"), "clientConfig",
								"caBundle", json_object_get(json_object_get(webhook, "clientConfig"), "caBundle"),
								"service", json_object_get(json_object_get(webhook, "clientConfig"), "service"))));
	json_t *trimmed = json_made(json_pack(
		"{s:O?, s:O?, s:{s:O?, s:O*, s:O?, s:o}, s:o}", "apiVersion", json_object_get(configuration, "apiVersion"),
		"kind", json_object_get(configuration, "kind"), "metadata", "name", json_object_get(metadata, "name"), "uid",
		json_object_get(metadata, "uid"), "resourceVersion", json_object_get(metadata, "resourceVersion"),
		"annotations", annotations, "webhooks", webhooks));
	json_decref(configuration);
	return trimmed;
}

static const char *bundle_of(const json_t *webhook)
{
	return json_text(json_object_get(webhook, "clientConfig"), "caBundle");
}

static STACK_OF(X509) * read_bundle(const char *base64)
{
	CLEANUP_BUF struct buf pem = BUF_INIT(CERTIFICATE_PEM_MAX);
	struct error err;
	if (base64[0] == '\0' || base64_decode(str_from(base64), &pem, &err) < 0)
		return NULL;
	return certificates_read_many(buf_str(&pem), SERVING_BUNDLE_CERTIFICATES);
}

static bool has_all(const STACK_OF(X509) * bundle, const STACK_OF(X509) * ca)
{
	for (int i = 0; i < sk_X509_num(ca); i++)
		if (!certificate_is_among(sk_X509_value(ca, i), bundle))
			return false;
	return sk_X509_num(ca) > 0;
}

// Those whom the API server trusts now, and who must not lose that before another is trusted.
static void keep_valid(struct planning *p, STACK_OF(X509) * bundle)
{
	for (int i = 0; i < sk_X509_num(bundle); i++) {
		X509 *x = sk_X509_value(bundle, i);
		if (certificate_seconds(X509_get0_notBefore(x)) > p->in->now_s ||
			certificate_seconds(X509_get0_notAfter(x)) < p->in->now_s)
			continue;
		p->anybody = true;
		if (certificate_is_among(x, p->secret.current.ca) || certificate_is_among(x, p->kept) ||
			sk_X509_num(p->kept) >= SERVING_KEPT_MAX)
			continue;
		if (X509_up_ref(x) != 1 || sk_X509_push(p->kept, x) == 0)
			abort();
	}
}

static const char *injector_of(const json_t *configuration)
{
	for (size_t i = 0; i < sizeof(injectors) / sizeof(injectors[0]); i++)
		if (kube_annotation(configuration, injectors[i]) != NULL)
			return injectors[i];
	return NULL;
}

// The API server would refuse our certificate, whomever it trusts. What it calls by a URL isn't ours to judge.
static void judge_service(struct planning *p, enum serving_configuration c, const json_t *webhook)
{
	const struct serving_names *names = p->in->names;
	const json_t *service = json_object_get(json_object_get(webhook, "clientConfig"), "service");
	const char *ns = json_text(service, "namespace");
	const char *name = json_text(service, "name");
	if (service == NULL || p->elsewhere[c] || (strcmp(ns, names->ns) == 0 && strcmp(name, names->service) == 0))
		return;
	p->elsewhere[c] = true;
	remark(p, "webhook %s of %s %s calls Service %s/%s, and the serving certificate is for %s/%s: " SAY_SERVICE,
		   json_text(webhook, "name"), kinds[c]->kind, names->configuration, ns, name, names->ns, names->service);
}

static void judge_configuration(struct planning *p, enum serving_configuration c, const char *wanted)
{
	const json_t *configuration = p->in->configurations[c];
	size_t i = 0;
	const json_t *webhook = NULL;
	const char *seen = NULL; // mostly, all are the same
	p->trusted[c] = true;
	if (configuration == NULL)
		return;
	p->present++;
	json_array_foreach (json_object_get(configuration, "webhooks"), i, webhook) {
		const char *base64 = bundle_of(webhook);
		judge_service(p, c, webhook);
		p->plan->apply[c] |= strcmp(base64, wanted) != 0;
		if (seen != NULL && strcmp(seen, base64) == 0)
			continue;
		STACK_OF(X509) * bundle CLEANUP(x509_stack_free_slot) = read_bundle(base64);
		p->trusted[c] &= has_all(bundle, p->secret.current.ca);
		p->next_trusted &= has_all(bundle, p->secret.next.ca);
		keep_valid(p, bundle);
		seen = base64;
	}
	p->plan->apply[c] &= wanted[0] != '\0';
	const char *injector = injector_of(configuration);
	if (injector == NULL || !p->plan->apply[c])
		return;
	p->plan->apply[c] = false;
	remark(p,
		   "%s %s has the annotation %s, so that another program writes its caBundle: remove the annotation, or run "
		   "coco-webhook with --tls-cert and --tls-key in place of --tls-secret",
		   kinds[c]->kind, p->in->names->configuration, injector);
}

static void judge_configurations(struct planning *p)
{
	CLEANUP_BUF struct buf base64 = BUF_INIT(2 * SERVING_BUNDLE_MAX);
	struct error err;
	if (serving_secret_bundle(&p->secret, &p->plan->bundle, &err) < 0) {
		buf_clear(&p->plan->bundle);
		remark(p, "Secret %s/%s: ca.crt, next.ca.crt and old.ca.crt: %s; remove those that aren't in use",
			   p->in->names->ns, p->in->names->secret, err.msg);
	}
	base64_encode(buf_str(&p->plan->bundle), &base64);
	p->next_trusted = true;
	p->kept = sk_X509_new_null();
	if (p->kept == NULL)
		abort();
	for (int c = 0; c < SERVING_CONFIGURATIONS; c++)
		judge_configuration(p, (enum serving_configuration)c, buf_z(&base64));
	p->plan->trusted = p->trusted[SERVING_MUTATING] && p->trusted[SERVING_VALIDATING];
}

// ---- What to serve

static void serve(struct planning *p)
{
	struct serving_held *held = &p->secret.current;
	struct serving_memory *m = p->memory;
	bool nothing = m->served[0] == '\0' || m->served_not_after_s < p->in->now_s;
	// Out of its time it is better than none: the clock that is wrong may be ours.
	bool usable = held->grade == PAIR_GOOD
					  ? nothing || p->plan->trusted
					  : m->served[0] == '\0' && (held->grade == PAIR_EXPIRED || held->grade == PAIR_NOT_YET);
	if (!usable || strcmp(held->id, m->served) == 0)
		return;
	p->plan->cert = held->cert;
	p->plan->key = held->key;
	held->cert = (struct secret_text){0};
	held->key = (struct secret_text){0};
	p->plan->not_after_s = held->not_after_s;
	memcpy(p->plan->id, held->id, sizeof(held->id));
	memcpy(m->served, held->id, sizeof(held->id));
	m->served_not_after_s = held->not_after_s;
}

static enum serving_unready readiness(const struct planning *p)
{
	const struct serving_memory *m = p->memory;
	if (m->served[0] == '\0')
		return p->in->secret == NULL ? SERVING_NO_SECRET : SERVING_NO_PAIR;
	if (m->served_not_after_s < p->in->now_s)
		return SERVING_EXPIRED;
	// From then on, who trusts whom is the same for all replicas: to take this one out would help nobody.
	if (m->was_ready)
		return SERVING_READY;
	if (p->present == 0)
		return SERVING_NO_CONFIGURATION;
	if (p->elsewhere[SERVING_MUTATING] || p->elsewhere[SERVING_VALIDATING])
		return p->elsewhere[SERVING_MUTATING] ? SERVING_ELSEWHERE_MUTATING : SERVING_ELSEWHERE_VALIDATING;
	if (!p->trusted[SERVING_MUTATING])
		return SERVING_UNTRUSTED_MUTATING;
	return p->trusted[SERVING_VALIDATING] ? SERVING_READY : SERVING_UNTRUSTED_VALIDATING;
}

// ---- What to write into the Secret

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void look_in(struct planning *p, int64_t ms)
{
	if (ms > 0)
		p->plan->again_ms = min64(p->plan->again_ms, ms);
}

// When that second is over.
static void look_at(struct planning *p, int64_t when_s)
{
	if (when_s >= p->in->now_s && when_s - p->in->now_s < SERVING_LOOK_MAX_MS / 1000)
		look_in(p, (when_s - p->in->now_s + 1) * 1000);
}

static int64_t settle_ms(const struct planning *p)
{
	int64_t ms = serving_held_life_s(&p->secret.next) * 1000 / SERVING_SETTLE_PER_LIFE;
	ms = min64(ms, (int64_t)SERVING_SETTLE_MAX_S * 1000);
	return p->secret.current.grade == PAIR_GOOD ? ms : ms / SERVING_SETTLE_BROKEN;
}

static bool has_settled(struct planning *p)
{
	struct serving_memory *m = p->memory;
	const struct serving_held *next = &p->secret.next;
	if (next->grade != PAIR_GOOD || !p->next_trusted) {
		m->settled[0] = '\0';
		return false;
	}
	if (strcmp(m->settled, next->id) != 0) {
		memcpy(m->settled, next->id, sizeof(next->id));
		m->settled_ms = p->in->now_ms;
	}
	int64_t left_ms = m->settled_ms + settle_ms(p) - p->in->now_ms;
	look_in(p, left_ms);
	return left_ms <= 0;
}

// Short lives, as in tests, are not held up for long.
static int64_t window_ms(const struct serving_input *in, int64_t part)
{
	return min64(SERVING_MAKE_MAX_MS, in->life_s * 1000 / part);
}

static bool may_make(struct planning *p)
{
	const struct serving_memory *m = p->memory;
	if (m->makes == 0)
		return true;
	unsigned doublings = m->makes - 1 < 20 ? m->makes - 1 : 20;
	int64_t spacing_ms = min64((int64_t)SERVING_MAKE_FIRST_MS << doublings, window_ms(p->in, 10));
	int64_t left_ms = m->made_ms + spacing_ms - p->in->now_ms;
	look_in(p, left_ms);
	return left_ms <= 0;
}

void serving_memory_note_made(struct serving_memory *m, const struct serving_input *in)
{
	bool soon = m->makes > 0 && in->now_ms - m->made_ms <= window_ms(in, 4);
	m->makes = soon ? m->makes + 1 : 1;
	m->made_ms = in->now_ms;
}

// Why the pair in use needs another; NULL where it needs none.
static const char *need(struct planning *p)
{
	const struct serving_held *held = &p->secret.current;
	switch (held->grade) {
	case PAIR_ABSENT:
		return "there is no certificate";
	case PAIR_DAMAGED:
		remark(p, "Secret %s/%s: tls.crt, tls.key and ca.crt can't be used (%s); others are made in their place",
			   p->in->names->ns, p->in->names->secret, held->trouble);
		return "the certificate can't be used";
	case PAIR_EXPIRED:
		return "the certificate has expired";
	case PAIR_NOT_YET:
		return "the certificate isn't valid yet";
	case PAIR_GOOD:
		look_at(p, serving_held_due_s(held) - 1);
		return p->in->now_s >= serving_held_due_s(held) ? "a third of its life is left" : NULL;
	}
	return NULL;
}

static int keep(const struct planning *p, struct error *err)
{
	for (int i = 0; i < sk_X509_num(p->kept); i++) {
		int rc = certificate_append(sk_X509_value(p->kept, i), &p->plan->kept, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void choose_step(struct planning *p)
{
	struct serving_plan *plan = p->plan;
	struct error err;
	int rc = 0;
	bool settled = has_settled(p);
	const char *why = need(p);
	look_at(p, p->secret.current.not_after_s);
	if (p->in->secret == NULL)
		return;
	if (settled) {
		plan->step = SERVING_PROMOTE;
		why = "every webhook configuration has trusted its CA for long enough";
		rc = serving_secret_old_of_next(&p->secret, &plan->kept, &err);
	} else if (why == NULL || p->secret.next.grade == PAIR_GOOD || !may_make(p)) {
		return;
	} else if (p->secret.current.grade == PAIR_GOOD) {
		plan->step = SERVING_MAKE_NEXT;
	} else if (p->anybody) {
		plan->step = SERVING_MAKE_NEXT;
		rc = keep(p, &err);
	} else {
		plan->step = SERVING_MAKE;
	}
	// More than fits would have been too large for the bundle as well: trust begins anew.
	if (rc < 0)
		buf_clear(&plan->kept);
	plan->why = xstrdup(why);
}

static void release_planning(struct planning *p)
{
	serving_secret_release(&p->secret);
	sk_X509_pop_free(p->kept, X509_free);
}

void serving_plan_make(const struct serving_input *in, struct serving_memory *memory, struct serving_plan *ret)
{
	*ret = (struct serving_plan){
		.bundle = BUF_INIT(SERVING_BUNDLE_MAX), .kept = BUF_INIT(SERVING_BUNDLE_MAX), .again_ms = SERVING_LOOK_MAX_MS};
	struct planning p CLEANUP(release_planning) = {.in = in, .memory = memory, .plan = ret};
	char *hosts[SERVING_HOSTS];
	serving_hosts(in->names, hosts);
	serving_secret_read(in->secret, (const char *const *)hosts, SERVING_HOSTS, in->now_s, &p.secret);
	for (size_t i = 0; i < SERVING_HOSTS; i++)
		free(hosts[i]);
	if (in->secret == NULL)
		remark(&p, "there is no Secret %s/%s for the serving certificate, and coco-webhook may make none: " APPLY_BASE,
			   in->names->ns, in->names->secret);
	judge_configurations(&p);
	serve(&p);
	choose_step(&p);
	ret->unready = readiness(&p);
	memory->was_ready |= ret->unready == SERVING_READY;
}

void serving_plan_release(struct serving_plan *p)
{
	secret_text_release(&p->cert);
	secret_text_release(&p->key);
	buf_release(&p->bundle);
	buf_release(&p->kept);
	free(p->why);
	for (size_t i = 0; i < p->nremarks; i++)
		free(p->remarks[i]);
}

// ---- What is sent

static void put_value(json_t *data, const char *key, struct str value)
{
	CLEANUP_SECRET_BUF struct buf coded = secret_buf((value.n + 2) / 3 * 4);
	base64_encode(value, &coded);
	json_put(data, key, value.n > 0 ? json_stringn(buf_z(&coded), coded.n) : json_null());
}

static const char *const pair_keys[] = {SERVING_CERT_KEY, SERVING_KEY_KEY, SERVING_CA_KEY};
#define PAIR_KEYS (sizeof(pair_keys) / sizeof(pair_keys[0]))

static void put_pair(json_t *data, const char *prefix, const struct serving_pair *made)
{
	const struct buf *values[PAIR_KEYS] = {&made->cert, &made->key, &made->ca};
	for (size_t i = 0; i < PAIR_KEYS; i++) {
		CLEANUP_FREE char *key = xasprintf("%s%s", prefix, pair_keys[i]);
		put_value(data, key, buf_str(values[i]));
	}
}

// A copy of its own, as what is patched is wiped.
static void move_next(const json_t *secret, json_t *data)
{
	for (size_t i = 0; i < PAIR_KEYS; i++) {
		CLEANUP_FREE char *next = xasprintf(SERVING_NEXT "%s", pair_keys[i]);
		json_put(data, pair_keys[i], json_deep_copy(json_object_get(json_object_get(secret, "data"), next)));
	}
}

static void drop_next(json_t *data)
{
	for (size_t i = 0; i < PAIR_KEYS; i++) {
		CLEANUP_FREE char *next = xasprintf(SERVING_NEXT "%s", pair_keys[i]);
		json_put(data, next, json_null());
	}
}

json_t *serving_plan_secret_patch(const struct serving_input *in, const struct serving_plan *p,
								  const struct serving_pair *made)
{
	json_t *data = json_made(json_object());
	if (p->step == SERVING_PROMOTE)
		move_next(in->secret, data);
	else if (made != NULL)
		put_pair(data, p->step == SERVING_MAKE ? "" : SERVING_NEXT, made);
	if (p->step != SERVING_MAKE_NEXT)
		drop_next(data);
	put_value(data, SERVING_OLD_CA_KEY, buf_str(&p->kept));
	return json_made(
		json_pack("{s:{s:s}, s:o}", "metadata", "resourceVersion", kube_resource_version(in->secret), "data", data));
}

json_t *serving_plan_bundle_apply(const json_t *configuration, const struct serving_plan *p)
{
	CLEANUP_BUF struct buf base64 = BUF_INIT(2 * SERVING_BUNDLE_MAX);
	base64_encode(buf_str(&p->bundle), &base64);
	json_t *webhooks = json_made(json_array());
	size_t i = 0;
	const json_t *webhook = NULL;
	json_array_foreach (json_object_get(configuration, "webhooks"), i, webhook)
		(void)json_array_append_new(webhooks, json_made(json_pack("{s:s, s:{s:s}}", "name", json_text(webhook, "name"),
																  "clientConfig", "caBundle", buf_z(&base64))));
	return json_made(json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", json_text(configuration, "apiVersion"),
							   "kind", json_text(configuration, "kind"), "metadata", "name", kube_name(configuration),
							   "resourceVersion", kube_resource_version(configuration), "webhooks", webhooks));
}
