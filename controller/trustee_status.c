#include "controller/trustee_status.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_made.h"
#include "common/json_text.h"
#include "common/kube/resource.h"
#include "common/mem.h"
#include "common/trustee.h"
#include "controller/pod_trouble.h"

#define CONDITIONS 6
#define USECS_PER_SEC 1000000

// What all conditions follow from.
struct facts {
	const struct trustee_status_input *in;
	bool is_trustee;            // a TrusteeConfig, not a KbsConfig
	const struct remark *error; // the worst, or NULL
	bool available;             // a pod of the Deployment, of whatever generation, serves
	bool fewer;                 // than wanted do
	bool zero;                  // no pods are wanted
	bool rolling, stalled;
	struct pod_trouble trouble;
};

struct condition {
	const char *type, *status, *reason;
	char *message; // new
};

const json_t *status_condition(const json_t *object, const char *type)
{
	const json_t *conditions = json_object_get(json_object_get(object, "status"), "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++)
		if (json_text_is(json_array_get(conditions, i), "type", type))
			return json_array_get(conditions, i);
	return NULL;
}

static json_int_t number_of(const json_t *object, const char *part, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(object, part), key));
}

static void read_deployment(const json_t *d, struct facts *f)
{
	const json_t *replicas = json_object_get(json_object_get(d, "spec"), "replicas");
	const json_int_t wanted = json_is_integer(replicas) ? json_integer_value(replicas) : 1;
	const json_int_t available = number_of(d, "status", "availableReplicas");
	const json_int_t updated = number_of(d, "status", "updatedReplicas");
	const json_t *progressing = status_condition(d, "Progressing");
	const bool seen = number_of(d, "status", "observedGeneration") >= number_of(d, "metadata", "generation");
	f->zero = wanted == 0;
	f->available = available > 0;
	f->fewer = available < wanted;
	f->stalled = seen && json_text_is(progressing, "status", "False") &&
				 json_text_is(progressing, "reason", "ProgressDeadlineExceeded");
	// Once all pods were there, one that fails later is no rollout.
	const bool finished = json_text_is(progressing, "reason", "NewReplicaSetAvailable");
	f->rolling = !f->stalled &&
				 (!seen || updated < wanted || number_of(d, "status", "replicas") > updated || (f->fewer && !finished));
}

static struct condition verdict(const char *type, const char *status, const char *reason, char *message)
{
	return (struct condition){type, status, reason, message};
}

// ---- Who tells what
//
// Each text stands whole in one condition, the one that it belongs to; others say what follows from it, and point there.

#define SEE "as condition %s tells"

static const char *teller_of(const struct remark *r)
{
	switch (r->about) {
	case ABOUT_CERTIFICATE:
		return "CertificateValid";
	case ABOUT_ROUTE:
		return "RouteAdmitted";
	case ABOUT_RESOURCES:
		return "ResourcesSynced";
	default:
		return r->level == REMARK_ERROR ? "Ready" : "Degraded";
	}
}

// New. follows: what follows from the remark, where it is another condition's to tell.
static char *tell(const char *type, const struct remark *r, const char *follows)
{
	const char *teller = teller_of(r);
	return strcmp(teller, type) == 0 ? xstrdup(r->message) : xasprintf("%s, " SEE, follows, teller);
}

// Of the pods' trouble where the rollout is stalled; there is one.
static const char *teller_of_trouble(const struct facts *f)
{
	if (!f->available && f->error == NULL && !f->zero)
		return "Ready";
	if (f->available && f->trouble.lasting && remarks_worst(f->in->remarks, REMARK_WARNING, -1) == NULL)
		return "Degraded";
	return "Progressing";
}

const char *trustee_status_told(const json_t *object)
{
	static const char *const tellers[] = {"CertificateValid", "RouteAdmitted", "ResourcesSynced"};
	const json_t *ready = status_condition(object, "Ready");
	const char *message = json_string_value(json_object_get(ready, "message"));
	if (message == NULL || json_text_is(ready, "status", "True"))
		return message;
	for (size_t i = 0; i < sizeof(tellers) / sizeof(tellers[0]); i++) {
		CLEANUP_FREE char *see = xasprintf(SEE, tellers[i]);
		const char *whole = json_string_value(json_object_get(status_condition(object, tellers[i]), "message"));
		if (whole != NULL && strstr(message, see) != NULL)
			return whole;
	}
	return message;
}

#define STALLED_SEE "the rollout doesn't come to its end, " SEE

// ---- The conditions

// New: what is to be made first.
static char *what_is_missing(const struct facts *f)
{
	if (f->in->kbs == NULL)
		return xasprintf("KbsConfig \"%s" KBS_CONFIG_SUFFIX "\" isn't made yet", kube_name(f->in->object));
	return xstrdup("the Deployment isn't made yet");
}

static struct condition ready_true(const struct facts *f)
{
	const struct remark *nothing = remarks_worst(f->in->remarks, REMARK_NOTE, ABOUT_RELEASE);
	CLEANUP_FREE char *use =
		f->in->url != NULL ? xasprintf("Guests can use it at %s", f->in->url)
						   : xstrdup("It runs, but has no address for guests yet, as condition RouteAdmitted tells");
	if (!f->in->permissive && nothing != NULL)
		return verdict("Ready", "True", nothing->reason,
					   f->in->url != NULL ? xasprintf("It runs at %s, but %s.", f->in->url, nothing->message)
										  : xasprintf("%s; and %s.", use, nothing->message));
	if (!f->in->permissive)
		return verdict("Ready", "True", "Ready", xasprintf("%s.", use));
	return verdict("Ready", "True", "NotForProduction",
				   xasprintf("%s; it is for evaluation only: spec.profileType Permissive releases every resource to "
							 "whoever asks, genuine guest or not%s; Restricted is for production.",
							 use, f->in->https ? "" : ", over plain HTTP"));
}

static struct condition ready(const struct facts *f)
{
	if (f->error != NULL) {
		CLEANUP_FREE char *why = tell("Ready", f->error, "it can't be run as its spec says");
		return verdict("Ready", "False", f->error->reason,
					   xasprintf("%s%s", why, f->available ? "; what ran before keeps running" : ""));
	}
	if (f->in->kbs == NULL || f->in->deployment == NULL)
		return verdict("Ready", "False", "Pending", what_is_missing(f));
	if (f->zero)
		return verdict("Ready", "False", "ScaledToZero",
					   xasprintf("Deployment \"%s\" is scaled to 0 pods; set %s to 1 or more",
								 kube_name(f->in->deployment),
								 f->is_trustee ? "spec.replicas" : "spec.KbsDeploymentSpec.replicas"));
	if (f->available)
		return ready_true(f);
	if (f->trouble.reason != NULL)
		return verdict("Ready", "False", f->trouble.reason, xstrdup(f->trouble.message));
	return verdict("Ready", "False", "NotRunning",
				   xasprintf("no pod of Deployment \"%s\" is available yet", kube_name(f->in->deployment)));
}

// New.
static char *why_stalled(const struct facts *f)
{
	const char *teller = f->trouble.reason != NULL ? teller_of_trouble(f) : "Progressing";
	if (strcmp(teller, "Progressing") != 0)
		return xasprintf(STALLED_SEE, teller);
	if (f->trouble.reason != NULL)
		return xstrdup(f->trouble.message);
	return xasprintf(
		"the rollout of Deployment \"%s\" doesn't come to its end; see: kubectl describe deployment -n %s %s",
		kube_name(f->in->deployment), kube_namespace(f->in->deployment), kube_name(f->in->deployment));
}

static struct condition progressing(const struct facts *f)
{
	if (f->in->deployment == NULL)
		return f->error != NULL ? verdict("Progressing", "False", "Waiting",
										  tell("Progressing", f->error, "the Deployment can't be made"))
								: verdict("Progressing", "True", "RollingOut", what_is_missing(f));
	if (f->stalled)
		return verdict("Progressing", "False", "Stalled", why_stalled(f));
	if (f->rolling)
		return verdict("Progressing", "True", "RollingOut",
					   xstrdup(f->available ? "Pods are being replaced." : "Pods are being started."));
	return verdict("Progressing", "False", "Complete",
				   xstrdup(f->zero ? "No pods are wanted." : "The pods run with the newest settings."));
}

static struct condition degraded(const struct facts *f)
{
	const struct remark *worst = remarks_worst(f->in->remarks, REMARK_WARNING, -1);
	if (worst != NULL)
		return verdict("Degraded", "True", worst->reason, tell("Degraded", worst, "there is something to put right"));
	if (f->available && f->trouble.lasting)
		return verdict("Degraded", "True", f->trouble.reason, xstrdup(f->trouble.message));
	if (f->stalled)
		return verdict("Degraded", "True", "Stalled",
					   xasprintf(STALLED_SEE, f->trouble.reason != NULL ? teller_of_trouble(f) : "Progressing"));
	if (f->available && f->fewer && !f->rolling)
		return verdict("Degraded", "True", "NotAllReplicas",
					   xasprintf("fewer pods than wanted are available%s%s", f->trouble.reason != NULL ? ": " : "",
								 f->trouble.reason != NULL ? f->trouble.message : ""));
	return verdict("Degraded", "False", "AsExpected", xstrdup("There is nothing to complain of."));
}

static struct condition certificate_valid(const struct facts *f)
{
	static const char type[] = "CertificateValid";
	const struct remark *r = remarks_worst(f->in->remarks, REMARK_WARNING, ABOUT_CERTIFICATE);
	if (r != NULL)
		return verdict(type, r->level == REMARK_ERROR ? "False" : "True", r->reason, xstrdup(r->message));
	if (!f->in->https)
		return verdict(type, "Unknown", "PlainHTTP", xstrdup("It speaks plain HTTP, without a certificate."));
	if (f->in->not_after_s == 0)
		return verdict(type, "Unknown", "NotKnown", xstrdup("The certificate hasn't been read yet."));
	char until[CLOCK_TEXT_MAX];
	clock_text(f->in->not_after_s * USECS_PER_SEC, /* micros= */ 0, until);
	return verdict(type, "True", "Valid", xasprintf("The certificate is valid until %s.", until));
}

// New: where nothing is made that exposes it.
static char *how_reached(const struct facts *f)
{
	const json_t *spec = json_object_get(f->in->kbs, "spec");
	const char *host = json_text(json_object_get(spec, "exposure"), "host");
	if (json_text_is(spec, "kbsServiceType", "LoadBalancer"))
		return xstrdup("It is reached by its Service's load balancer.");
	if (host[0] == '\0')
		return xstrdup("It is reached inside the cluster only.");
	return xasprintf("Nothing is made that exposes it: see to it yourself that \"%s\" leads to its Service%s.", host,
					 f->in->https ? ", with TLS passed through" : "");
}

static struct condition route_admitted(const struct facts *f)
{
	static const char type[] = "RouteAdmitted";
	const struct remark *r = remarks_worst(f->in->remarks, REMARK_NOTE, ABOUT_ROUTE);
	if (r != NULL)
		return verdict(type, r->level == REMARK_NOTE ? "Unknown" : "False", r->reason, xstrdup(r->message));
	if (!f->in->exposed)
		return verdict(type, "Unknown", "NotExposed", how_reached(f));
	if (f->in->url == NULL)
		return verdict(type, "Unknown", "Pending", xstrdup("What exposes it has no address yet."));
	return verdict(type, "True", "Admitted", xasprintf("It is exposed at %s.", f->in->url));
}

static struct condition resources_synced(const struct facts *f)
{
	static const char type[] = "ResourcesSynced";
	const struct remark *r = remarks_worst(f->in->remarks, REMARK_WARNING, ABOUT_RESOURCES);
	if (r != NULL)
		return verdict(type, "False", r->reason, xstrdup(r->message));
	if (!f->in->synced)
		return verdict(type, "False", "Pending", xstrdup("Not all objects are as this generation asks for yet."));
	return verdict(type, "True", "Synced", xstrdup("All objects are as this generation asks for."));
}

// ---- The status

// Takes c's message.
static json_t *condition_json(const json_t *object, struct condition c, const char *now)
{
	const json_t *old = status_condition(object, c.type);
	const char *since = json_text(old, "lastTransitionTime");
	const bool same = json_text_is(old, "status", c.status) && since[0] != '\0';
	json_t *v =
		json_made(json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "type", c.type, "status", c.status, "observedGeneration",
							number_of(object, "metadata", "generation"), "lastTransitionTime", same ? since : now,
							"reason", c.reason, "message", c.message));
	free(c.message);
	return v;
}

static json_t *reference_to(const json_t *kbs)
{
	const char *uid = kube_uid(kbs);
	return json_made(json_pack("{s:s, s:s, s:s, s:s, s:s*}", "apiVersion", json_text(kbs, "apiVersion"), "kind",
							   json_text(kbs, "kind"), "name", kube_name(kbs), "namespace", kube_namespace(kbs), "uid",
							   uid[0] != '\0' ? uid : NULL));
}

static json_t *status_of(const struct facts *f)
{
	const struct trustee_status_input *in = f->in;
	const struct condition all[CONDITIONS] = {ready(f),          progressing(f),     degraded(f), certificate_valid(f),
											  route_admitted(f), resources_synced(f)};
	json_t *status =
		json_made(json_pack("{s:I, s:b}", "observedGeneration", number_of(in->object, "metadata", "generation"),
							"isReady", strcmp(all[0].status, "True") == 0));
	if (f->is_trustee) {
		json_put(status, "statusDescription", json_string(all[0].message));
		if (in->kbs != NULL)
			json_put(status, "kbsConfigRef", reference_to(in->kbs));
	}
	if (json_array_size(in->objects) > 0)
		json_put(status, "objects", json_deep_copy(in->objects));
	// Whoever finds it uses it: so not before it has run once. A pod that fails later is no reason to take it back.
	const bool has_run = f->available || json_text(json_object_get(in->object, "status"), "url")[0] != '\0';
	if (in->url != NULL && has_run)
		json_put(status, "url", json_string(in->url));
	if (in->not_after_s != 0) {
		char until[CLOCK_TEXT_MAX];
		clock_text(in->not_after_s * USECS_PER_SEC, /* micros= */ 0, until);
		json_put(status, "certificateExpiry", json_string(until));
	}
	json_t *conditions = json_made(json_array());
	for (size_t i = 0; i < CONDITIONS; i++)
		if (json_array_append_new(conditions, condition_json(in->object, all[i], in->now)) < 0)
			abort();
	json_put(status, "conditions", conditions);
	return status;
}

static bool says_condition(const json_t *object, const json_t *condition)
{
	return json_equal(condition, status_condition(object, json_text(condition, "type"))) != 0;
}

// Whether the object says all of it already, and nothing more of what we own.
static bool says(const json_t *object, const json_t *status)
{
	static const char *const owned[] = {"observedGeneration", "isReady", "statusDescription", "kbsConfigRef", "url",
										"certificateExpiry",  "objects"};
	const json_t *old = json_object_get(object, "status");
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
		const json_t *a = json_object_get(status, owned[i]);
		const json_t *b = json_object_get(old, owned[i]);
		// Two NULLs are no equals to jansson.
		if (a != b && json_equal(a, b) == 0)
			return false;
	}
	const json_t *conditions = json_object_get(status, "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++)
		if (!says_condition(object, json_array_get(conditions, i)))
			return false;
	return true;
}

// Release ret->trouble.
static void find_facts(const struct trustee_status_input *in, struct facts *ret)
{
	*ret = (struct facts){
		.in = in,
		.is_trustee = json_text_is(in->object, "kind", "TrusteeConfig"),
		.error = remarks_worst(in->remarks, REMARK_ERROR, -1),
	};
	if (in->deployment == NULL)
		return;
	const struct pod_trouble_input pods = {.deployment = in->deployment, .pods = in->pods, .object = in->object};
	read_deployment(in->deployment, ret);
	pod_trouble_find(&pods, &ret->trouble);
}

bool trustee_is_starting(const struct trustee_status_input *in)
{
	struct facts f;
	find_facts(in, &f);
	bool starting =
		f.error == NULL && !f.available && !f.zero && !f.trouble.lasting && (in->deployment == NULL || f.rolling);
	pod_trouble_release(&f.trouble);
	return starting;
}

json_t *trustee_status(const struct trustee_status_input *in)
{
	struct facts f;
	find_facts(in, &f);
	json_t *status = status_of(&f);
	pod_trouble_release(&f.trouble);
	if (!says(in->object, status))
		return status;
	json_decref(status);
	return NULL;
}

// ---- Pods

// A new object with those of the keys that the old one has.
static json_t *only(const json_t *object, const char *const *keys)
{
	json_t *less = json_made(json_object());
	for (; *keys != NULL; keys++) {
		json_t *v = json_object_get(object, *keys);
		if (v != NULL)
			json_put(less, *keys, json_incref(v));
	}
	return less;
}

static json_t *trim_state(const json_t *state)
{
	json_t *less = json_made(json_object());
	const json_t *waiting = json_object_get(state, "waiting");
	const json_t *terminated = json_object_get(state, "terminated");
	if (waiting != NULL)
		json_put(less, "waiting", only(waiting, (const char *const[]){"reason", "message", NULL}));
	if (terminated != NULL)
		json_put(less, "terminated", only(terminated, (const char *const[]){"reason", "exitCode", NULL}));
	return less;
}

static json_t *trim_containers(const json_t *statuses)
{
	json_t *less = json_made(json_array());
	for (size_t i = 0; i < json_array_size(statuses); i++) {
		const json_t *c = json_array_get(statuses, i);
		json_t *one = only(c, (const char *const[]){"name", "ready", "restartCount", NULL});
		json_put(one, "state", trim_state(json_object_get(c, "state")));
		json_put(one, "lastState", trim_state(json_object_get(c, "lastState")));
		if (json_array_append_new(less, one) < 0)
			abort();
	}
	return less;
}

static json_t *trim_conditions(const json_t *pod)
{
	static const char *const types[] = {"PodScheduled", "Ready"};
	json_t *less = json_made(json_array());
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const json_t *c = status_condition(pod, types[i]);
		if (c != NULL && json_array_append_new(
							 less, only(c, (const char *const[]){"type", "status", "reason", "message", NULL})) < 0)
			abort();
	}
	return less;
}

json_t *trustee_pod_trim(json_t *pod)
{
	const json_t *status = json_object_get(pod, "status");
	json_t *less = only(pod, (const char *const[]){"apiVersion", "kind", NULL});
	json_t *less_status = only(status, (const char *const[]){"phase", NULL});
	json_put(less, "metadata",
			 only(json_object_get(pod, "metadata"),
				  (const char *const[]){"name", "namespace", "uid", "resourceVersion", "annotations", "labels",
										"deletionTimestamp", NULL}));
	json_put(less_status, "conditions", trim_conditions(pod));
	json_put(less_status, "initContainerStatuses", trim_containers(json_object_get(status, "initContainerStatuses")));
	json_put(less_status, "containerStatuses", trim_containers(json_object_get(status, "containerStatuses")));
	json_put(less, "status", less_status);
	json_decref(pod);
	return less;
}
