#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

#include "cli/doctor.h"
#include "common/clock.h"
#include "common/encode.h"
#include "pki.h"
#include "world.h"

#define NOW_US 1767323045000000LL // 2026-01-02T03:04:05Z
#define TRIAL "a labelled pod (dry run)"

// ---- What each check is given

static void profiles(struct doctor_report *r, const json_t *objects)
{
	doctor_check_profiles(r, objects);
}

static void trustees(struct doctor_report *r, const json_t *objects)
{
	doctor_check_trustees(r, json_is_null(objects) ? NULL : objects);
}

static void classes(struct doctor_report *r, const json_t *both)
{
	doctor_check_runtime_classes(r, json_object_get(both, "profiles"), json_object_get(both, "classes"));
}

static void deployment(struct doctor_report *r, const json_t *object)
{
	doctor_check_deployment(r, "coco-webhook", json_is_null(object) ? NULL : object);
}

static void lease(struct doctor_report *r, const json_t *object)
{
	doctor_check_lease(r, json_is_null(object) ? NULL : object, NOW_US);
}

// A pod, or the text of a refusal.
static void trial(struct doctor_report *r, const json_t *pod)
{
	struct error refusal = {0};
	if (json_is_string(pod))
		(void)error_set(&refusal, EACCES, "%s", json_string_value(pod));
	doctor_check_trial(r, json_is_string(pod) ? NULL : pod, &refusal);
}

static void version(struct doctor_report *r, const json_t *minor)
{
	struct kube_version v = {.major = 1, .minor = (int)json_integer_value(minor)};
	(void)snprintf(v.git, sizeof(v.git), "v1.%d.0", v.minor);
	doctor_check_version(r, &v);
}

// Configurations without a caBundle of their own get one that is good for an hour; at `now` it is that long until then.
static void webhooks_at(struct doctor_report *r, const json_t *configs, int64_t now_s)
{
	struct pki ca = pki_make("ca", NULL, true);
	struct buf text = BUF_INIT((size_t)64 * 1024);
	base64_encode(str_from(ca.cert_pem), &text);
	size_t i = 0;
	size_t k = 0;
	const json_t *config = NULL;
	const json_t *webhook = NULL;
	json_array_foreach (configs, i, config) {
		json_array_foreach (json_object_get(config, "webhooks"), k, webhook) {
			json_t *client = json_object_get(webhook, "clientConfig");
			if (json_object_get(client, "caBundle") == NULL)
				(void)json_object_set_new(client, "caBundle", json_string(buf_z(&text)));
		}
	}
	doctor_check_webhooks(r, "mutating webhook", configs, now_s);
	buf_release(&text);
	pki_release(&ca);
}

static int64_t wall_s(void)
{
	return clock_wall_ms(&clock_real) / 1000;
}

static void webhooks(struct doctor_report *r, const json_t *configs)
{
	webhooks_at(r, configs, wall_s() - 40 * 86400LL);
}

static void webhooks_soon(struct doctor_report *r, const json_t *configs)
{
	webhooks_at(r, configs, wall_s());
}

static void webhooks_late(struct doctor_report *r, const json_t *configs)
{
	webhooks_at(r, configs, wall_s() + 2 * 3600);
}

// ---- The table

#define OBJECT(name, rest) "{metadata: {name: " name ", namespace: a, generation: 2}, " rest "}"
#define READY(observed, status) \
	"status: {observedGeneration: " observed ", conditions: [{type: Other}, {type: Ready, " status "}]}"
#define HOOK(name, policy, client, operation) \
	"{name: " name ", failurePolicy: " policy ", clientConfig: {" client "}, rules: [{operations: [" operation "]}]}"
#define WEBHOOK(name) HOOK(name, "Fail", "", "CREATE")
#define BUNDLE(text) HOOK(OURS, "Fail", "caBundle: '" text "'", "CREATE")
#define OURS "labelled.mutate." NAME_GROUP
#define REPLICAS(wanted, ready) "{spec: {replicas: " wanted "}, status: {readyReplicas: " ready "}}"
#define LEASE(holder, renewed) "{spec: {holderIdentity: " holder ", renewTime: '" renewed "'}}"
#define NO_RENEWAL "host_1 has last renewed its Lease at "
#define REFUSES "'admission webhook \"" OURS "\" denied the request: there is no profile'"

static struct doctor_case {
	const char *name;
	void (*check)(struct doctor_report *r, const json_t *given);
	const char *given; // YAML
	const char *want;  // a line for each finding: status, name, detail; with * for any text
} cases[] = {
	{"version: the oldest", version, "20", "ok|API server|Kubernetes v1.20.0\n"},
	{"version: the newest", version, "36", "ok|API server|Kubernetes v1.36.0\n"},
	{"version: too old", version, "19", "warning|API server|Kubernetes v1.19.0, which this version was not tested *\n"},
	{"version: too new", version, "37", "warning|API server|Kubernetes v1.37.0, which this version was not tested *\n"},

	{"profiles: none", profiles, "[]",
	 "failed|ConfidentialProfiles|there is none, so every labelled pod is denied; apply one *\n"},
	{"profiles: ready", profiles, "[" OBJECT("p", READY("2", "status: 'True'")) "]",
	 "ok|ConfidentialProfile a/p|ready\n"},
	{"profiles: not ready", profiles,
	 "[" OBJECT("p", READY("2", "status: 'False', reason: Invalid, message: raise max")) "]",
	 "failed|ConfidentialProfile a/p|Invalid: raise max\n"},
	{"profiles: a status that lags", profiles, "[" OBJECT("p", READY("1", "status: 'True'")) "]",
	 "warning|ConfidentialProfile a/p|its status is of generation 1, but it is in generation 2; is coco-controller "
	 "*\n"},
	{"profiles: no status", profiles, "[" OBJECT("p", "spec: {}") "]",
	 "warning|ConfidentialProfile a/p|has no status; is coco-controller running?\n"},
	{"profiles: each is told", profiles, "[" OBJECT("p", READY("2", "status: 'True'")) ", " OBJECT("q", "spec: {}") "]",
	 "ok|ConfidentialProfile a/p|ready\nwarning|ConfidentialProfile a/q|*\n"},
	{"profiles: a message that controls a terminal", profiles,
	 "[" OBJECT("p", READY("2", "status: 'False', reason: R, message: \"a\\e[2Jb\"")) "]",
	 "failed|ConfidentialProfile a/p|R: a?[[]2Jb\n"},

	{"Trustees: no such kind", trustees, "null", "skipped|TrusteeConfigs|this cluster has no such kind\n"},
	{"Trustees: none", trustees, "[]", ""},
	{"Trustees: ready", trustees, "[" OBJECT("t", READY("2", "status: 'True'")) "]", "ok|TrusteeConfig a/t|ready\n"},

	{"classes: the default, there", classes, "{profiles: [], classes: [" OBJECT("kata-cc", "") "]}",
	 "ok|RuntimeClass kata-cc|is there\n"},
	{"classes: the default, missing", classes, "{profiles: [], classes: []}",
	 "failed|RuntimeClass kata-cc|is not there, so pods that name it are refused; *\n"},
	{"classes: of profiles, each once", classes,
	 "{profiles: [{spec: {runtimeClassName: a}}, {spec: {runtimeClassName: b}}, {spec: {runtimeClassName: a}}], "
	 "classes: "
	 "[" OBJECT("b", "") "]}",
	 "failed|RuntimeClass a|is not there*\nok|RuntimeClass b|is there\n"},
	{"classes: a profile that names none", classes, "{profiles: [{spec: {}}], classes: [" OBJECT("kata", "") "]}",
	 "failed|RuntimeClass kata-cc|is not there*\n"},

	{"webhooks: none", webhooks, "[]",
	 "failed|mutating webhook|there is none of coco-webhook's, so labelled pods run unprotected; apply "
	 "manifests/base\n"},
	{"webhooks: only others", webhooks, "[{webhooks: [" WEBHOOK("other.example") "]}]",
	 "failed|mutating webhook|there is none of coco-webhook's*\n"},
	{"webhooks: a name that only ends like ours", webhooks, "[{webhooks: [" WEBHOOK("not" NAME_GROUP) "]}]",
	 "failed|mutating webhook|there is none of coco-webhook's*\n"},
	{"webhooks: good", webhooks, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 "ok|mutating webhook " OURS "|caBundle is good until 20*Z\n"},
	{"webhooks: one bundle is told once", webhooks, "[{webhooks: [" WEBHOOK(OURS) ", " WEBHOOK("b." NAME_GROUP) "]}]",
	 "ok|mutating webhook " OURS "|caBundle is good until *\n"},
	{"webhooks: soon to expire", webhooks_soon, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 "warning|mutating webhook " OURS "|a certificate of caBundle expires soon, at 20*Z; renew it\n"},
	{"webhooks: expired", webhooks_late, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 "failed|mutating webhook " OURS "|a certificate of caBundle has expired at 20*Z; run hack/certs.sh --patch\n"},
	{"webhooks: no bundle", webhooks, "[{webhooks: [" BUNDLE("") "]}]",
	 "failed|mutating webhook " OURS "|clientConfig.caBundle is empty, *; run hack/certs.sh --patch\n"},
	{"webhooks: a bundle without certificates", webhooks, "[{webhooks: [" BUNDLE("Tk9ORQo=") "]}]",
	 "failed|mutating webhook " OURS "|clientConfig.caBundle holds no certificate; run hack/certs.sh --patch\n"},
	{"webhooks: a bundle that is no base64", webhooks, "[{webhooks: [" BUNDLE("%") "]}]",
	 "failed|mutating webhook " OURS "|clientConfig.caBundle holds no certificate; run hack/certs.sh --patch\n"},
	{"webhooks: fails open", webhooks, "[{webhooks: [" HOOK(OURS, "Ignore", "", "CREATE") "]}]",
	 "failed|mutating webhook " OURS "|failurePolicy is Ignore: *; set Fail\nok|mutating webhook " OURS "|*\n"},
	{"webhooks: may fail open for updates", webhooks, "[{webhooks: [" HOOK(OURS, "Ignore", "", "UPDATE") "]}]",
	 "ok|mutating webhook " OURS "|*\n"},

	{"deployment: none", deployment, "null",
	 "failed|Deployment coco-webhook|is not there; apply manifests/base, or say --system-namespace\n"},
	{"deployment: all ready", deployment, REPLICAS("2", "2"), "ok|Deployment coco-webhook|2 of 2 replicas are ready\n"},
	{"deployment: some ready", deployment, REPLICAS("2", "1"),
	 "warning|Deployment coco-webhook|1 of 2 replicas are ready; see kubectl describe pods, and their logs\n"},
	{"deployment: none ready", deployment, "{spec: {replicas: 2}, status: {}}",
	 "failed|Deployment coco-webhook|0 of 2 replicas are ready; *\n"},

	{"lease: none", lease, "null",
	 "failed|coco-controller's leader|there is none, so statuses are not written; see coco-controller's logs\n"},
	{"lease: released", lease, LEASE("''", "2026-01-02T03:04:00.000000Z"),
	 "failed|coco-controller's leader|there is none*\n"},
	{"lease: held", lease, LEASE("host_1", "2026-01-02T03:04:00.000000Z"), "ok|coco-controller's leader|host_1\n"},
	{"lease: held by a clock that is ahead", lease, LEASE("host_1", "2026-01-02T03:04:30.000000Z"),
	 "ok|coco-controller's leader|host_1\n"},
	{"lease: not renewed", lease, LEASE("host_1", "2026-01-02T03:03:00.000000Z"),
	 "failed|coco-controller's leader|" NO_RENEWAL "\"2026-01-02T03:03:00.000000Z\"; see coco-controller's logs\n"},
	{"lease: a time that is none", lease, LEASE("host_1", "soon"),
	 "failed|coco-controller's leader|" NO_RENEWAL "\"soon\"; *\n"},

	{"trial: confidential", trial,
	 "{metadata: {annotations: {" KATA_INITDATA ": x, " KATA_MEMORY ": '4096'}}, spec: {runtimeClassName: kata-cc}}",
	 "ok|" TRIAL "|is made confidential: RuntimeClass kata-cc, VM of 4096 MiB\n"},
	{"trial: the runtime's own size", trial,
	 "{metadata: {annotations: {" KATA_INITDATA ": x}}, spec: {runtimeClassName: kata-cc}}",
	 "ok|" TRIAL "|is made confidential: RuntimeClass kata-cc, VM of (the runtime's default) MiB\n"},
	{"trial: without initdata", trial, "{metadata: {}, spec: {runtimeClassName: kata-cc}}",
	 "failed|" TRIAL "|was accepted as it is: *; apply manifests/base\n"},
	{"trial: without a RuntimeClass", trial, "{metadata: {annotations: {" KATA_INITDATA ": x}}, spec: {}}",
	 "failed|" TRIAL "|was accepted as it is: *\n"},
	{"trial: refused by the webhook", trial, REFUSES,
	 "warning|" TRIAL "|admission webhook \"" OURS "\" denied the request: there is no profile\n"},
	{"trial: a certificate of another CA", trial, "'Post: x509: certificate signed by unknown authority'",
	 "failed|" TRIAL "|*; the webhook's certificate isn't of caBundle: run hack/certs.sh --patch\n"},
	{"trial: no endpoints", trial, "'no endpoints available for service \"coco-webhook\"'",
	 "failed|" TRIAL "|*; no coco-webhook pod is ready: see its logs\n"},
	{"trial: refused connection", trial, "'dial tcp: connect: connection refused'",
	 "failed|" TRIAL "|*; coco-webhook does not run: see its Deployment\n"},
	{"trial: no Service", trial, "'service \"coco-webhook\" not found'",
	 "failed|" TRIAL "|*; the Service coco-webhook is missing: apply manifests/base\n"},
	{"trial: no answer", trial, "'context deadline exceeded'",
	 "failed|" TRIAL "|*; coco-webhook does not answer: see its logs, and NetworkPolicies\n"},
	{"trial: not allowed", trial, "'User \"a\" cannot create resource \"pods\" in API group \"\"'",
	 "failed|" TRIAL "|*; you may not create pods there: name another namespace with -n\n"},
	{"trial: something else", trial, "'exceeded quota'", "failed|" TRIAL "|exceeded quota; see the message\n"},
};

static void test_case(void **state)
{
	const struct doctor_case *c = *state;
	CLEANUP_DOCTOR_REPORT struct doctor_report report = {0};
	json_t *given = yaml_tree(c->given);
	c->check(&report, given);
	json_decref(given);
	CLEANUP_BUF
	struct buf got = BUF_INIT((size_t)64 * 1024);
	bool failed = false;
	for (size_t i = 0; i < report.n; i++) {
		const struct doctor_check *x = &report.v[i];
		buf_addf(&got, "%s|%s|%s\n", doctor_status_names[x->status], x->name, x->detail);
		failed = failed || x->status == DOCTOR_FAIL;
	}
	if (fnmatch(c->want, buf_z(&got), FNM_NOESCAPE) != 0)
		assert_text(buf_z(&got), c->want);
	assert_int_equal(doctor_healthy(&report), !failed);
}

static void test_trial_pod(void **state)
{
	(void)state;
	json_t *pod = doctor_trial_pod("team-a");
	assert_text(kube_namespace(pod), "team-a");
	const json_t *meta = json_object_get(pod, "metadata");
	assert_text(json_string_value(json_object_get(json_object_get(meta, "labels"), LABEL_CONFIDENTIAL)), "true");
	assert_non_null(json_object_get(meta, "generateName"));
	json_decref(pod);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, cases, test_case);
	tests_add(&t, "the pod of the trial is labelled, and has a name made for it", test_trial_pod, NULL);
	return tests_run("doctor", &t);
}
