#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

#include "cli/doctor.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/version.h"
#include "pki.h"
#include "world.h"

#define NOW_US 1767323045000000LL // 2026-01-02T03:04:05Z
#define TRIAL "admission (dry run) a labelled pod"

// ---- What each check is given

static void profiles(struct doctor_report *r, const json_t *objects)
{
	doctor_check_profiles(r, objects, NULL);
}

// None, and what came of the trial.
static void profiles_and_trial(struct doctor_report *r, const json_t *pod)
{
	json_t *none = json_array();
	doctor_check_profiles(r, none, pod);
	json_decref(none);
}

static void trustees(struct doctor_report *r, const json_t *objects)
{
	doctor_check_trustees(r, "TrusteeConfig", json_is_null(objects) ? NULL : objects, NOW_US / 1000000);
}

static void classes(struct doctor_report *r, const json_t *both)
{
	doctor_check_runtime_classes(r, json_object_get(both, "profiles"), json_object_get(both, "classes"),
								 json_object_get(both, "nodes"));
}

static void policies(struct doctor_report *r, const json_t *all)
{
	doctor_check_policies(r, json_object_get(all, "policies"), json_object_get(all, "bindings"),
						  json_object_get(all, "profiles"));
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
	doctor_check_trial(r, "team-a", json_is_string(pod) ? NULL : pod, &refusal);
}

static void crd_profiles(struct doctor_report *r, const json_t *object)
{
	doctor_check_crd(r, doctor_crds[0], json_is_null(object) ? NULL : object);
}

static void crd_trustees(struct doctor_report *r, const json_t *object)
{
	doctor_check_crd(r, doctor_crds[1], json_is_null(object) ? NULL : object);
}

static void tekton(struct doctor_report *r, const json_t *version)
{
	doctor_check_tekton(r, json_string_value(version));
}

static void rights(struct doctor_report *r, const json_t *missing)
{
	doctor_check_rights(r, "team-a", "coco-pipelines-system", json_string_value(missing));
}

static void failure(struct doctor_report *r, const json_t *code)
{
	struct error err;
	(void)error_set(&err, (int)json_integer_value(code), "GET /api/v1/nodes: no");
	doctor_note_failure(r, "Node", NULL, "list nodes", &err);
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
#define UNTIL(time) \
	"status: {observedGeneration: 2, certificateExpiry: '" time "', conditions: [{type: Ready, status: 'True'}]}"
#define NODE(name, labels, ready, spec)                               \
	"{metadata: {name: " name ", labels: {" labels "}}, spec: {" spec \
	"}, status: {conditions: [{type: Ready, status: " ready "}]}}"
#define CLASSES(nodes)                                                                                                \
	"{profiles: [], classes: [{metadata: {name: kata-cc}, scheduling: {nodeSelector: {tdx: 'true'}}}], nodes: " nodes \
	"}"
#define CRD(version, served, field)                          \
	"{spec: {versions: [{name: " version ", served: " served \
	", schema: {openAPIV3Schema: {properties: {spec: {properties: {" field ": {}}}}}}}]}}"
#define WEBHOOK(name) HOOK(name, "Fail", "", "CREATE")
#define BUNDLE(text) HOOK(OURS, "Fail", "caBundle: '" text "'", "CREATE")
#define THERE "ok|mutating webhook|is there\n"
#define WRITES "coco-webhook writes it where it runs with --tls-secret, *\n"
#define OURS "labelled.mutate." NAME_GROUP
#define IMAGE(name) \
	"{spec: {replicas: 2, template: {spec: {containers: [{image: '" name "'}]}}}, status: {readyReplicas: 2}}"
#define CHECKED "admission policy "
#define PODS CHECKED "coco-pipelines|"
#define POLICY(name, spec) "{metadata: {name: coco-pipelines" name "}, spec: {" spec "}}"
#define BINDING(name, spec) "{metadata: {name: b}, spec: {policyName: coco-pipelines" name ", " spec "}}"
#define DENY "validationActions: [Audit, Deny]"
#define KNOWS(list) "variables: [{name: marked, expression: 'true'}, {name: runtimeClasses, expression: " list "}]"
#define LIST "\"['kata-cc', 'kata-remote']\""
// What else there is but that for pods, as it should be.
#define OTHERS POLICY("-debug", "") ", " POLICY("-configurations", "failurePolicy: Fail")
#define OTHER_BINDINGS BINDING("-debug", DENY) ", " BINDING("-configurations", DENY)
#define POLICIES(policy, binding, profiles) \
	"{policies: [" policy ", " OTHERS "], bindings: [" OTHER_BINDINGS binding "], profiles: " profiles "}"
// The policy for pods with these classes, and profiles.
#define WITH_CLASSES(list, profiles) POLICIES(POLICY("", KNOWS(list)), ", " BINDING("", DENY), profiles)
#define BOUND(binding) POLICIES(POLICY("", KNOWS(LIST)), ", " binding, "[]")
#define CLASS_PROFILE(spec) "[" OBJECT("p", "spec: {" spec "}") "]"
#define DENIES "|is there, and denies\n"
#define OTHERS_DENY "ok|" CHECKED "coco-pipelines-debug" DENIES "ok|" CHECKED "coco-pipelines-configurations" DENIES
#define ALL_DENY "ok|" CHECKED "coco-pipelines" DENIES OTHERS_DENY
#define UNREADABLE                                                                                       \
	"not checked|" PODS "its variable runtimeClasses can't be read, *; write it as quoted names alone: " \
	"*\n" OTHERS_DENY
#define LOST "labelled pods run unprotected once the webhook's configurations are gone"
#define WARNS                                                                                   \
	"warning|" PODS "its binding b has no validationActions Deny, so it refuses nothing: " LOST \
	"; set validationActions: [[]Deny, Audit] of the binding\n"
#define NARROWED                                                                                             \
	"warning|" PODS "its binding b has matchResources, so it judges only what they name: of all else, " LOST \
	"; take matchResources out of the binding\n"
#define ADD                                                                                                       \
	"if its VMs are confidential, add it to variable runtimeClasses of ValidatingAdmissionPolicy coco-pipelines " \
	"(Helm: admissionPolicy.runtimeClasses); if not, take it out of the profile\n"
#define UNKNOWN(class, profile)                                                          \
	"failed|" PODS "doesn't know RuntimeClass " class " of ConfidentialProfile " profile \
													  ", so it refuses pods of that class; " ADD
#define APPLY "; kubectl apply -f manifests/components/admission-policy/policy.yaml (Helm: admissionPolicy.enabled)\n"
#define ALL_READY "ok|Deployment coco-webhook|2 of 2 replicas are ready\n"
#define REPLICAS(wanted, ready) "{spec: {replicas: " wanted "}, status: {readyReplicas: " ready "}}"
#define LEASE(holder, renewed) "{spec: {holderIdentity: " holder ", renewTime: '" renewed "'}}"
#define NO_RENEWAL "host_1 has last renewed its Lease at "
#define REFUSES "'admission webhook \"" OURS "\" denied the request: there is no profile'"

static struct doctor_case {
	const char *name;
	void (*check)(struct doctor_report *r, const json_t *given);
	const char *given; // YAML
	const char *want;  // a line for each finding: status, check and what, result; remedy. With * for any text
} cases[] = {
	{"version: the oldest", version, "20", "ok|Kubernetes API server|v1.20.0\n"},
	{"version: the newest", version, "36", "ok|Kubernetes API server|v1.36.0\n"},
	{"version: too old", version, "19",
	 "warning|Kubernetes API server|v1.19.0, which cocopipe * was not tested with; use a release from 1.20 "
	 "to 1.36, *\n"},
	{"version: too new", version, "37",
	 "warning|Kubernetes API server|v1.37.0, which cocopipe * was not tested with; use a release from 1.20 "
	 "to 1.36, *\n"},

	{"profiles: none", profiles, "[]",
	 "failed|ConfidentialProfile|there is none, so every labelled pod is denied; apply one *\n"},
	{"profiles: none, but a pod is made confidential", profiles_and_trial,
	 "{metadata: {annotations: {" KATA_INITDATA ": a}}, spec: {runtimeClassName: kata-cc}}",
	 "skipped|ConfidentialProfile|there is none, but coco-webhook has one from a file *\n"},
	{"profiles: none, and a pod is accepted as it is", profiles_and_trial, "{spec: {runtimeClassName: kata-cc}}",
	 "failed|ConfidentialProfile|there is none, so every labelled pod is denied; apply one *\n"},
	{"profiles: ready", profiles, "[" OBJECT("p", READY("2", "status: 'True'")) "]",
	 "ok|ConfidentialProfile a/p|ready\n"},
	{"profiles: not ready", profiles,
	 "[" OBJECT("p", READY("2", "status: 'False', reason: Invalid, message: raise max")) "]",
	 "failed|ConfidentialProfile a/p|Invalid: raise max\n"},
	{"profiles: a status that lags", profiles, "[" OBJECT("p", READY("1", "status: 'True'")) "]",
	 "warning|ConfidentialProfile a/p|its status is of generation 1, but it is in generation 2; is coco-controller "
	 "*\n"},
	{"profiles: no status", profiles, "[" OBJECT("p", "spec: {}") "]",
	 "warning|ConfidentialProfile a/p|has no status; is coco-controller running? See its logs\n"},
	{"profiles: each is told", profiles, "[" OBJECT("p", READY("2", "status: 'True'")) ", " OBJECT("q", "spec: {}") "]",
	 "ok|ConfidentialProfile a/p|ready\nwarning|ConfidentialProfile a/q|*\n"},
	{"profiles: a message that controls a terminal", profiles,
	 "[" OBJECT("p", READY("2", "status: 'False', reason: R, message: \"a\\e[2Jb\"")) "]",
	 "failed|ConfidentialProfile a/p|R: a?[[]2Jb\n"},

	{"Trustees: no such kind", trustees, "null", "skipped|TrusteeConfig|this cluster has no such kind\n"},
	{"Trustees: none", trustees, "[]", ""},
	{"Trustees: a KbsConfig of a TrusteeConfig", trustees,
	 "[{metadata: {name: t, namespace: a, ownerReferences: [{kind: TrusteeConfig}]}}]", ""},
	{"Trustees: a certificate that lasts", trustees, "[" OBJECT("t", UNTIL("2026-03-01T00:00:00Z")) "]",
	 "ok|TrusteeConfig a/t|ready\nok|certificate a/t|is good until 2026-03-01T00:00:00Z\n"},
	{"Trustees: a certificate that expires soon", trustees, "[" OBJECT("t", UNTIL("2026-01-12T00:00:00Z")) "]",
	 "ok|TrusteeConfig a/t|ready\nwarning|certificate a/t|expires soon, at 2026-01-12T00:00:00Z; renew the Secret *\n"},
	{"Trustees: a certificate that has expired", trustees, "[" OBJECT("t", UNTIL("2026-01-02T03:04:05Z")) "]",
	 "ok|TrusteeConfig a/t|ready\nfailed|certificate a/t|has expired at 2026-01-02T03:04:05Z; renew the Secret *\n"},
	{"Trustees: a time that is none", trustees, "[" OBJECT("t", UNTIL("never")) "]",
	 "ok|TrusteeConfig a/t|ready\nwarning|certificate a/t|status.certificateExpiry is \"never\", which is no time; "
	 "*\n"},
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

	{"nodes: one of three", classes,
	 CLASSES("[" NODE("a", "tdx: 'true'", "'True'", "") ", " NODE("b", "tdx: 'false'", "'True'",
																  "") ", " NODE("c", "", "'True'", "") "]"),
	 "ok|RuntimeClass kata-cc|is there; 1 of 3 nodes can take its pods: tdx=true\n"},
	{"nodes: none with the labels", classes, CLASSES("[" NODE("b", "tdx: 'false'", "'True'", "") "]"),
	 "failed|RuntimeClass kata-cc|is there, but no node has its labels (tdx=true), so its pods stay pending; label "
	 "*\n"},
	{"nodes: none at all", classes, CLASSES("[]"),
	 "failed|RuntimeClass kata-cc|is there, but no node has its labels (tdx=true), *; label *\n"},
	{"nodes: not ready", classes, CLASSES("[" NODE("a", "tdx: 'true'", "'False'", "") "]"),
	 "failed|RuntimeClass kata-cc|of the 1 nodes that it may run on, none is ready and schedulable, *; see *\n"},
	{"nodes: cordoned", classes, CLASSES("[" NODE("a", "tdx: 'true'", "'True'", "unschedulable: true") "]"),
	 "failed|RuntimeClass kata-cc|of the 1 nodes that it may run on, none is ready and schedulable, *; see *\n"},
	{"nodes: a class without labels takes any", classes,
	 "{profiles: [], classes: [{metadata: {name: kata-cc}}], nodes: [" NODE("a", "", "'True'", "") "]}",
	 "ok|RuntimeClass kata-cc|is there; 1 of 1 nodes can take its pods\n"},

	{"CRD: none of profiles", crd_profiles, "null",
	 "failed|CRD confidentialprofiles." NAME_GROUP
	 "|is not there, so no pod can be made confidential; apply the CRDs: *\n"},
	{"CRD: none of Trustees", crd_trustees, "null",
	 "skipped|CRD trusteeconfigs." NAME_TRUSTEE_GROUP "|is not there: this cluster runs no Trustee\n"},
	{"CRD: ours", crd_trustees, CRD("v1alpha1", "true", "instanceName"),
	 "ok|CRD trusteeconfigs." NAME_TRUSTEE_GROUP "|v1alpha1 is served\n"},
	{"CRD: upstream's", crd_trustees, CRD("v1alpha1", "true", "profileType"),
	 "failed|CRD trusteeconfigs." NAME_TRUSTEE_GROUP "|knows no spec.instanceName, *; apply the CRDs: *\n"},
	{"CRD: profiles of another release", crd_profiles, CRD("v1alpha1", "true", "vm"),
	 "failed|CRD confidentialprofiles." NAME_GROUP "|knows no spec.memory, *; apply the CRDs: *\n"},
	{"CRD: another version", crd_profiles, CRD("v1", "true", "memory"),
	 "failed|CRD confidentialprofiles." NAME_GROUP "|does not serve v1alpha1, *; apply the CRDs: *\n"},
	{"CRD: not served any more", crd_profiles, CRD("v1alpha1", "false", "memory"),
	 "failed|CRD confidentialprofiles." NAME_GROUP "|does not serve v1alpha1, *\n"},

	{"Tekton: there", tekton, "v1beta1", "ok|Tekton TaskRuns|tekton.dev/v1beta1 is served\n"},
	{"Tekton: not there", tekton, "null",
	 "warning|Tekton TaskRuns|there is no such kind, so only pods *; install Tekton Pipelines, *\n"},

	{"rights: enough", rights, "null", "ok|controller's rights team-a|are enough for a Trustee\n"},
	{"rights: one is missing", rights, "patch secrets",
	 "failed|controller's rights team-a|coco-controller may not patch secrets there, so it can't run a Trustee; "
	 "kubectl -n "
	 "team-a create rolebinding coco-trustee --clusterrole=coco-trustee "
	 "--serviceaccount=coco-pipelines-system:coco-controller\n"},

	{"a request: forbidden", failure, "1", // EPERM
	 "not checked|Node|you may not list nodes; ask for the right to list nodes, or for somebody who has it\n"},
	{"a request: failed", failure, "5", "failed|Node|GET /api/v1/nodes: no\n"},

	{"webhooks: none", webhooks, "[]",
	 "failed|mutating webhook|there is none of coco-webhook's, so labelled pods run unprotected; apply the *\n"},
	{"webhooks: only others", webhooks, "[{webhooks: [" WEBHOOK("other.example") "]}]",
	 "failed|mutating webhook|there is none of coco-webhook's*\n"},
	{"webhooks: a name that only ends like ours", webhooks, "[{webhooks: [" WEBHOOK("not" NAME_GROUP) "]}]",
	 "failed|mutating webhook|there is none of coco-webhook's*\n"},
	{"webhooks: good", webhooks, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 THERE "ok|caBundle " OURS "|is good until 20*Z\n"},
	{"webhooks: each in a configuration of another name, as OLM makes them", webhooks,
	 "[{metadata: {name: " OURS
	 "-x7k2p}, webhooks: [" WEBHOOK(OURS) "]}, {metadata: {name: b}, webhooks: [" WEBHOOK("b." NAME_GROUP) "]}]",
	 "ok|mutating webhook " OURS "-x7k2p|is there\nok|caBundle " OURS "|is good until *\n"},
	{"webhooks: one bundle is told once", webhooks, "[{webhooks: [" WEBHOOK(OURS) ", " WEBHOOK("b." NAME_GROUP) "]}]",
	 THERE "ok|caBundle " OURS "|is good until *\n"},
	{"webhooks: soon to expire", webhooks_soon, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 THERE "warning|caBundle " OURS "|expires soon, at 20*Z; " WRITES},
	{"webhooks: expired", webhooks_late, "[{webhooks: [" WEBHOOK(OURS) "]}]",
	 THERE "failed|caBundle " OURS "|has expired at 20*Z; " WRITES},
	{"webhooks: no bundle", webhooks, "[{webhooks: [" BUNDLE("") "]}]",
	 THERE "failed|caBundle " OURS "|is empty, so the API server trusts no webhook and refuses labelled pods; " WRITES},
	{"webhooks: a bundle without certificates", webhooks, "[{webhooks: [" BUNDLE("Tk9ORQo=") "]}]",
	 THERE "failed|caBundle " OURS "|holds no certificate; " WRITES},
	{"webhooks: a bundle that is no base64", webhooks, "[{webhooks: [" BUNDLE("%") "]}]",
	 THERE "failed|caBundle " OURS "|holds no certificate; " WRITES},
	{"webhooks: fails open", webhooks, "[{webhooks: [" HOOK(OURS, "Ignore", "", "CREATE") "]}]",
	 "failed|mutating webhook " OURS "|failurePolicy is Ignore: *; set failurePolicy: Fail\nok|caBundle " OURS "|*\n"},
	{"webhooks: may fail open for updates", webhooks, "[{webhooks: [" HOOK(OURS, "Ignore", "", "UPDATE") "]}]",
	 THERE "ok|caBundle " OURS "|*\n"},

	{"policies: an API server that has none", policies, "{profiles: []}",
	 "skipped|admission policy|the API server has none before Kubernetes 1.30: nothing stands behind the *\n"},
	{"policies: none", policies, "{policies: [], bindings: []}",
	 "warning|admission policy|none of coco-pipelines is there: " LOST APPLY},
	{"policies: only others", policies, "{policies: [{metadata: {name: other}}], bindings: []}",
	 "warning|admission policy|none of coco-pipelines is there: " LOST APPLY},
	{"policies: one is missing", policies, "{policies: [" OTHERS "], bindings: [" OTHER_BINDINGS "]}",
	 "warning|" PODS "is not there: " LOST APPLY OTHERS_DENY},
	{"policies: good", policies, WITH_CLASSES(LIST, "[]"), ALL_DENY},
	{"policies: profiles can't be read", policies,
	 "{policies: [" POLICY("", "") ", " OTHERS "], bindings: [" OTHER_BINDINGS ", " BINDING("", DENY) "]}", ALL_DENY},
	{"policies: fails open", policies,
	 POLICIES(POLICY("", "failurePolicy: Ignore, " KNOWS(LIST)), ", " BINDING("", DENY), "[]"),
	 "warning|" PODS "failurePolicy is Ignore, so what it can't judge passes: then " LOST
	 "; set failurePolicy: Fail\n" OTHERS_DENY},

	{"bindings: none", policies, POLICIES(POLICY("", KNOWS(LIST)), "", "[]"),
	 "warning|" PODS "has no binding, so it judges nothing: " LOST APPLY OTHERS_DENY},
	{"bindings: only warns", policies, BOUND(BINDING("", "validationActions: [Warn]")), WARNS OTHERS_DENY},
	{"bindings: no actions", policies, BOUND(BINDING("", "paramRef: {}")), WARNS OTHERS_DENY},
	{"bindings: another one that denies is enough", policies,
	 BOUND(BINDING("", "validationActions: [Warn]") ", " BINDING("", DENY) ", " BINDING(
		 "", DENY ", matchResources: {objectSelector: {matchLabels: {a: b}}}")),
	 ALL_DENY},
	{"bindings: selectors that are empty", policies,
	 BOUND(BINDING("", DENY ", matchResources: {namespaceSelector: {}, objectSelector: {}, resourceRules: []}")),
	 ALL_DENY},
	{"bindings: some namespaces", policies,
	 BOUND(BINDING("", DENY ", matchResources: {namespaceSelector: {matchLabels: {a: b}}}")), NARROWED OTHERS_DENY},
	{"bindings: some pods", policies,
	 BOUND(BINDING("", DENY ", matchResources: {objectSelector: {matchExpressions: [{key: a, operator: Exists}]}}")),
	 NARROWED OTHERS_DENY},
	{"bindings: some resources", policies, BOUND(BINDING("", DENY ", matchResources: {resourceRules: [{}]}")),
	 NARROWED OTHERS_DENY},
	{"bindings: all but some resources", policies,
	 BOUND(BINDING("", DENY ", matchResources: {excludeResourceRules: [{}]}")), NARROWED OTHERS_DENY},

	{"policy's classes: those of profiles", policies,
	 WITH_CLASSES(LIST, CLASS_PROFILE("runtimeClassName: kata-remote, allowedRuntimeClasses: [kata-cc]")), ALL_DENY},
	{"policy's classes: a profile's class is not among them", policies,
	 WITH_CLASSES(LIST, CLASS_PROFILE("runtimeClassName: kata")), UNKNOWN("kata", "a/p") OTHERS_DENY},
	{"policy's classes: an allowed class is not among them", policies,
	 WITH_CLASSES(LIST, CLASS_PROFILE("allowedRuntimeClasses: [kata-cc, kata.x, 1]")),
	 UNKNOWN("kata.x", "a/p") OTHERS_DENY},
	{"policy's classes: the default is not among them", policies,
	 WITH_CLASSES("\"['kata-remote']\"", CLASS_PROFILE("")), UNKNOWN("kata-cc", "a/p") OTHERS_DENY},
	{"policy's classes: each is told once", policies,
	 WITH_CLASSES("'[]'", "[" OBJECT("p", "") ", " OBJECT("q", "spec: {allowedRuntimeClasses: [kata-cc, b]}") "]"),
	 UNKNOWN("kata-cc", "a/p") UNKNOWN("b", "a/q") OTHERS_DENY},
	{"policy's classes: of a policy that refuses nothing", policies,
	 POLICIES(POLICY("", KNOWS(LIST)), ", " BINDING("", "validationActions: [Audit]"),
			  CLASS_PROFILE("runtimeClassName: a")),
	 WARNS OTHERS_DENY},
	{"policy's classes: however they are written", policies,
	 WITH_CLASSES("\" [\\n\\t\\\"kata-a.b\\\" ,'kata-cc',\\r\\n ] \"", CLASS_PROFILE("runtimeClassName: kata-a.b")),
	 ALL_DENY},
	{"policy's classes: no such variable", policies,
	 POLICIES(POLICY("", "variables: [{name: a, expression: '[]'}]"), ", " BINDING("", DENY), "[]"), UNREADABLE},
	{"policy's classes: another expression", policies, WITH_CLASSES("\"['kata-cc'] + ['b']\"", "[]"), UNREADABLE},
	{"policy's classes: no list", policies, WITH_CLASSES("\"'kata-cc'\"", "[]"), UNREADABLE},
	{"policy's classes: a list without an end", policies, WITH_CLASSES("\"['kata-cc',\"", "[]"), UNREADABLE},
	{"policy's classes: a name without an end", policies, WITH_CLASSES("\"['kata-cc]\"", "[]"), UNREADABLE},
	{"policy's classes: two names without a comma", policies, WITH_CLASSES("\"['kata-cc' 'b']\"", "[]"), UNREADABLE},
	{"policy's classes: other quotes", policies, WITH_CLASSES("\"['kata-cc\\\"]\"", "[]"), UNREADABLE},
	{"policy's classes: an escape", policies, WITH_CLASSES("\"['kata\\\\u002dcc']\"", "[]"), UNREADABLE},
	{"policy's classes: an empty name", policies, WITH_CLASSES("\"['']\"", "[]"), UNREADABLE},
	{"policy's classes: no text", policies, WITH_CLASSES("1", "[]"), UNREADABLE},

	{"policies: doubtful expressions", policies,
	 "{policies: [{metadata: {name: coco-pipelines}, spec: {" KNOWS(
		 LIST) "}, status: {typeChecking: {expressionWarnings: "
			   "[{fieldRef: 'spec.validations[0].expression', warning: \"v1, Kind=Pod: ERROR: no field 'x'\\n | "
			   "object.x\"}, "
			   "{fieldRef: b}]}}}, " OTHERS "], bindings: [" OTHER_BINDINGS ", " BINDING("", DENY) "]}",
	 "warning|" PODS
	 "the API server doubts its spec.validations[[]0].expression: v1, Kind=Pod: ERROR: no field 'x'; use "
	 "the manifests of a release that was tested with this one\n" OTHERS_DENY},
	{"policies: no doubts", policies,
	 "{policies: [{metadata: {name: coco-pipelines}, spec: {" KNOWS(
		 LIST) "}, status: {typeChecking: {}}}, " OTHERS "], bindings: [" OTHER_BINDINGS ", " BINDING("", DENY) "]}",
	 ALL_DENY},

	{"deployment: none", deployment, "null",
	 "failed|Deployment coco-webhook|is not there; apply the manifests (manifests/overlays), or say "
	 "--system-namespace\n"},
	{"deployment: all ready", deployment, REPLICAS("2", "2"), "ok|Deployment coco-webhook|2 of 2 replicas are ready\n"},
	{"deployment: some ready", deployment, REPLICAS("2", "1"),
	 "warning|Deployment coco-webhook|1 of 2 replicas are ready; see kubectl describe of its pods, and their logs\n"},
	{"deployment: none ready", deployment, "{spec: {replicas: 2}, status: {}}",
	 "failed|Deployment coco-webhook|0 of 2 replicas are ready; *\n"},

	{"deployment: scaled to none", deployment, REPLICAS("0", "0"),
	 "failed|Deployment coco-webhook|0 of 0 replicas are ready; *\n"},
	{"deployment: the same version", deployment, IMAGE("a:5000/coco-webhook:v" COCO_VERSION), ALL_READY},
	{"deployment: another version", deployment, IMAGE("a:5000/coco-webhook:9.8.7"),
	 ALL_READY "warning|Deployment coco-webhook|runs version 9.8.7 and this is cocopipe *; use *\n"},
	{"deployment: a tag that says nothing", deployment, IMAGE("a/coco-webhook:latest"), ALL_READY},
	{"deployment: a digest", deployment, IMAGE("a:5000/coco-webhook@sha256:0.1"), ALL_READY},
	{"deployment: a port, no tag", deployment, IMAGE("a:5000/coco-webhook"), ALL_READY},

	{"lease: none", lease, "null",
	 "failed|Lease coco-controller's leader|there is none, so statuses are not written; see coco-controller's logs\n"},
	{"lease: released", lease, LEASE("''", "2026-01-02T03:04:00.000000Z"),
	 "failed|Lease coco-controller's leader|there is none*\n"},
	{"lease: held", lease, LEASE("host_1", "2026-01-02T03:04:00.000000Z"),
	 "ok|Lease coco-controller's leader|host_1\n"},
	{"lease: held by a clock that is ahead", lease, LEASE("host_1", "2026-01-02T03:04:30.000000Z"),
	 "ok|Lease coco-controller's leader|host_1\n"},
	{"lease: not renewed", lease, LEASE("host_1", "2026-01-02T03:03:00.000000Z"),
	 "failed|Lease coco-controller's leader|" NO_RENEWAL
	 "\"2026-01-02T03:03:00.000000Z\"; see coco-controller's logs\n"},
	{"lease: a time that is none", lease, LEASE("host_1", "soon"),
	 "failed|Lease coco-controller's leader|" NO_RENEWAL "\"soon\"; *\n"},

	{"trial: confidential", trial,
	 "{metadata: {annotations: {" KATA_INITDATA ": x, " KATA_MEMORY ": '4096'}}, spec: {runtimeClassName: kata-cc}}",
	 "ok|" TRIAL "|is made confidential: RuntimeClass kata-cc, VM of 4096 MiB\n"},
	{"trial: the runtime's own size", trial,
	 "{metadata: {annotations: {" KATA_INITDATA ": x}}, spec: {runtimeClassName: kata-cc}}",
	 "ok|" TRIAL "|is made confidential: RuntimeClass kata-cc, VM of (the runtime's default) MiB\n"},
	{"trial: without initdata", trial, "{metadata: {}, spec: {runtimeClassName: kata-cc}}",
	 "failed|" TRIAL "|was accepted as it is: *; apply the manifests *\n"},
	{"trial: without a RuntimeClass", trial, "{metadata: {annotations: {" KATA_INITDATA ": x}}, spec: {}}",
	 "failed|" TRIAL "|was accepted as it is: *\n"},
	{"trial: refused by the webhook", trial, REFUSES,
	 "warning|" TRIAL "|admission webhook \"" OURS "\" denied the request: there is no profile\n"},
	{"trial: a certificate of another CA", trial, "'Post: x509: certificate signed by unknown authority'",
	 "failed|" TRIAL "|*; the webhook's certificate isn't of caBundle: coco-webhook writes *\n"},
	{"trial: no endpoints", trial, "'no endpoints available for service \"coco-webhook\"'",
	 "failed|" TRIAL "|*; no coco-webhook pod is ready: see its logs\n"},
	{"trial: refused connection", trial, "'dial tcp: connect: connection refused'",
	 "failed|" TRIAL "|*; coco-webhook does not run: see its Deployment\n"},
	{"trial: no Service", trial, "'service \"coco-webhook\" not found'",
	 "failed|" TRIAL "|*; the Service coco-webhook is missing: apply the *\n"},
	{"trial: no RuntimeClass", trial, "'pod rejected: RuntimeClass \"kata-cc\" not found'",
	 "failed|" TRIAL "|*; install Kata Containers *\n"},
	{"trial: something else isn't there", trial, "'secrets \"a\" not found'", "failed|" TRIAL "|*; see the message\n"},
	{"trial: no answer", trial, "'context deadline exceeded'",
	 "failed|" TRIAL "|*; coco-webhook does not answer: see its logs, and NetworkPolicies\n"},
	{"trial: not allowed", trial, "'User \"a\" cannot create resource \"pods\" in API group \"\"'",
	 "not checked|" TRIAL
	 "|you may not create pods in namespace team-a; name a namespace with -n where you may create pods\n"},
	{"trial: no namespace", trial, "'namespaces \"x\" not found'",
	 "failed|" TRIAL "|*; name a namespace that is there, *\n"},
	{"trial: refused by the policy, unseen by the webhook", trial,
	 "\"ValidatingAdmissionPolicy 'coco-pipelines' with binding 'b' denied request: the pod is to be confidential and "
	 "its "
	 "runtimeClassName is not set, not one of kata-cc\"",
	 "failed|" TRIAL "|*; the webhook configurations don't send the pod to coco-webhook: apply the *\n"},
	{"trial: refused by the policy for its class", trial,
	 "\"ValidatingAdmissionPolicy 'coco-pipelines' with binding 'b' denied request: the pod is to be confidential and "
	 "its "
	 "runtimeClassName is \\\"certificate\\\", not one of kata-cc\"",
	 "failed|" TRIAL "|*; " ADD},
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
		buf_addf(&got, "%s|%s%s%s|%s%s%s\n", doctor_status_names[x->status], x->check, x->what[0] != '\0' ? " " : "",
				 x->what, x->result, x->remedy[0] != '\0' ? "; " : "", x->remedy);
		failed = failed || x->status == DOCTOR_FAIL || x->status == DOCTOR_UNCHECKED;
	}
	if (fnmatch(c->want, buf_z(&got), FNM_NOESCAPE) != 0)
		assert_text(buf_z(&got), c->want);
	assert_int_equal(doctor_healthy(&report), !failed);
}

// ---- How it is told

static void make_report(struct doctor_report *r)
{
	doctor_note(r, DOCTOR_OK, "A", "one", NULL, "fine");
	doctor_note(r, DOCTOR_FAIL, "A longer one", NULL, "mend it", "broken \033[2J");
	doctor_note(r, DOCTOR_UNCHECKED, "B", "x", "ask", "you may not list b");
}

static void test_table(void **state)
{
	(void)state;
	CLEANUP_DOCTOR_REPORT struct doctor_report r = {0};
	CLEANUP_BUF struct buf plain = BUF_INIT(4096);
	CLEANUP_BUF struct buf coloured = BUF_INIT(4096);
	make_report(&r);
	doctor_table(&r, false, &plain);
	doctor_table(&r, true, &coloured);
	assert_text(buf_z(&plain), "STATUS       CHECK         WHAT  RESULT, AND REMEDY BELOW IT\n"
							   "ok           A             one   fine\n"
							   "failed       A longer one        broken ?[2J\n"
							   "                                 > mend it\n"
							   "not checked  B             x     you may not list b\n"
							   "                                 > ask\n"
							   "\n1 failed, 1 not checked, 1 ok\n");
	assert_non_null(strstr(buf_z(&coloured), "\033[31mfailed\033[0m       A longer one        broken"));
}

static void test_json(void **state)
{
	(void)state;
	CLEANUP_DOCTOR_REPORT struct doctor_report r = {0};
	make_report(&r);
	json_t *got = doctor_json(&r);
	json_t *want = yaml_tree(
		"{version: 1, program: " COCO_VERSION ", healthy: false, counts: {ok: 1, warning: 0, failed: 1, skipped: "
		"0, not checked: 1}, checks: [{check: A, what: one, status: ok, result: fine, remedy: ''}, {check: A longer "
		"one, what: '', status: failed, result: 'broken ?[2J', remedy: mend it}, {check: B, what: x, status: not "
		"checked, result: you may not list b, remedy: ask}]}");
	assert_true(json_equal(got, want));
	json_decref(got);
	json_decref(want);
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

// A list of names that goes on for 20 KiB.
static void test_long_list(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf list = BUF_INIT((size_t)64 * 1024);
	buf_addz(&list, "['kata-cc'");
	while (list.n < (size_t)20 * 1024)
		buf_addz(&list, ", 'kata-remote'");
	buf_addz(&list, "]");
	json_t *all = yaml_tree(WITH_CLASSES(LIST, "[]"));
	json_t *policy = json_array_get(json_object_get(all, "policies"), 0);
	json_t *variables = json_object_get(json_object_get(policy, "spec"), "variables");
	(void)json_object_set_new(json_array_get(variables, 1), "expression", json_string(buf_z(&list)));
	CLEANUP_DOCTOR_REPORT struct doctor_report report = {0};
	policies(&report, all);
	json_decref(all);
	assert_int_equal(report.v[0].status, DOCTOR_UNCHECKED);
	assert_non_null(strstr(report.v[0].result, "its variable runtimeClasses can't be read"));
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, cases, test_case);
	tests_add(&t, "the pod of the trial is labelled, and has a name made for it", test_trial_pod, NULL);
	tests_add(&t, "policy's classes: a list that is too long", test_long_list, NULL);
	tests_add(&t, "the table: columns, remedies, colours, the sum", test_table, NULL);
	tests_add(&t, "the JSON", test_json, NULL);
	return tests_run("doctor", &t);
}
