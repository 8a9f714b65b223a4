// /validate-resources for TrusteeConfigs and KbsConfigs: which are refused, what they are warned of, who has their names.
#include "webhook/validate_resources.h"
#include "world.h"

#define KIND_OF(kind, resource)                                                                                      \
	"resource: {group: " NAME_TRUSTEE_GROUP ", version: v1alpha1, resource: " resource "}, kind: {kind: " kind "}, " \
	"namespace: ns-1"
#define TRUSTEE KIND_OF("TrusteeConfig", "trusteeconfigs")
#define KBS_ KIND_OF("KbsConfig", "kbsconfigs")
#define META(kind, name) "kind: " kind ", metadata: {name: " name ", namespace: ns-1}"
#define T_NEW(spec) "{operation: CREATE, " TRUSTEE ", object: {" META("TrusteeConfig", "t") ", spec: {" spec "}}}"
#define K_NEW(spec) "{operation: CREATE, " KBS_ ", object: {" META("KbsConfig", "k") ", spec: {" spec "}}}"
#define CHANGE(what, kind, old, now)                                          \
	"{operation: UPDATE, " what ", object: {" META(kind, "t") ", spec: {" now \
															  "}}, oldObject: {" META(kind, "t") ", spec: {" old "}}}"
#define RESTRICTED "profileType: Restricted, httpsSpec: {tlsSecretName: a}"

struct asked {
	struct arena arena;
	struct handled h;
	struct buf text, out;
	json_t *response;
};

// What handle_review makes of the request; the answer's response is in a->response.
static void ask(const char *request, struct asked *a)
{
	json_t *review = json_pack("{s:s, s:s, s:o}", "kind", "AdmissionReview", "apiVersion", "admission.k8s.io/v1",
							   "request", yaml_tree(request));
	assert_int_equal(json_object_set_new(json_object_get(review, "request"), "uid", json_string("uid-1")), 0);
	*a = (struct asked){.text = BUF_INIT((size_t)1024 * 1024), .out = BUF_INIT((size_t)1024 * 1024)};
	char *text = json_dumps(review, JSON_COMPACT);
	buf_addz(&a->text, text);
	free(text);
	json_decref(review);
	memset(&a->h, 0xa5, sizeof(a->h)); // as a server's stack may be
	handle_review(ENDPOINT_VALIDATE_RESOURCES, NULL, buf_str(&a->text), &a->arena, &a->out, &a->h);
	assert_int_equal(a->h.status, 200);
}

// Once: what the answer says.
static void read_answer(struct asked *a)
{
	json_t *answer = json_loads(buf_z(&a->out), JSON_REJECT_DUPLICATES, NULL);
	a->response = json_incref(json_object_get(answer, "response"));
	json_decref(answer);
	assert_string_equal(json_string_value(json_object_get(a->response, "uid")), "uid-1");
}

static void asked_release(struct asked *a)
{
	json_decref(a->response);
	buf_release(&a->text);
	buf_release(&a->out);
	arena_release(&a->arena);
}

static const char *message_of(const struct asked *a)
{
	return json_string_value(json_object_get(json_object_get(a->response, "status"), "message"));
}

static const char *warning_of(const struct asked *a, size_t i)
{
	const char *text = json_string_value(json_array_get(json_object_get(a->response, "warnings"), i));
	assert_true(text == NULL || strlen(text) <= WARNING_MAX);
	return text;
}

// ---- Which are refused

static struct request_case {
	const char *name;
	const char *request;
	const char *cause;
	const char *message; // of a denial
	bool names;          // asks for the others of the namespace
} request_cases[] = {
	{"create", T_NEW(RESTRICTED), "TrusteeValid", NULL, true},
	{"create: no spec", "{operation: CREATE, " TRUSTEE ", object: {" META("TrusteeConfig", "t") "}}", "TrusteeValid",
	 NULL, true},
	{"create: invalid", T_NEW("tlsConfig: {minVersion: '1.1'}"), "TrusteeInvalid",
	 "spec.tlsConfig.minVersion is \"1.1\"; it must be 1.2 or 1.3, as Trustee knows no other and would not start",
	 false},
	{"create: Restricted without https", T_NEW("profileType: Restricted"), "TrusteeInvalid",
	 "spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the name of a Secret of "
	 "type "
	 "kubernetes.io/tls, or else guests could not tell the KBS from whoever answers in its place",
	 false},
	{"create: Permissive has nothing to come down from", T_NEW(""), "TrusteeValid", NULL, true},
	{"update: down", CHANGE(TRUSTEE, "TrusteeConfig", RESTRICTED, "profileType: Permissive"), "TrusteeInvalid",
	 "spec.profileType goes from Restricted to Permissive, which releases every resource to any guest; if that is "
	 "meant, "
	 "set spec.allowDowngrade: true as well",
	 false},
	{"update: down, allowed",
	 CHANGE(TRUSTEE, "TrusteeConfig", RESTRICTED, "profileType: Permissive, allowDowngrade: true"), "TrusteeValid",
	 NULL, false},
	{"update: up", CHANGE(TRUSTEE, "TrusteeConfig", "profileType: Permissive", RESTRICTED), "TrusteeValid", NULL,
	 false},
	{"update: other names", CHANGE(TRUSTEE, "TrusteeConfig", "", "instanceName: two"), "TrusteeValid", NULL, true},
	{"update: fixed names", CHANGE(KBS_, "KbsConfig", "instanceName: two", ""), "KbsValid", NULL, true},
	{"update: the same names", CHANGE(KBS_, "KbsConfig", "instanceName: two", "instanceName: two, image: a"),
	 "KbsValid", NULL, false},
	{"update: invalid as before", CHANGE(TRUSTEE, "TrusteeConfig", "replicas: -1", "replicas: -1"), "SpecUnchanged",
	 NULL, false},
	{"update: otherwise invalid", CHANGE(TRUSTEE, "TrusteeConfig", "replicas: -1", "replicas: -2"), "TrusteeInvalid",
	 "spec.replicas is -2; it must be from 0 to 2147483647", false},
	{"update: being deleted",
	 "{operation: UPDATE, " KBS_
	 ", object: {metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {image: ' '}}, oldObject: {}}",
	 "Deleting", NULL, false},
	{"status", "{operation: UPDATE, subResource: status, " TRUSTEE ", object: {spec: {x: 1}}}", "NotOurs", NULL, false},
	{"delete", "{operation: DELETE, " TRUSTEE ", object: null}", "NotOurs", NULL, false},
	{"another kind", "{operation: CREATE, " KIND_OF("KbsConfig", "trusteeconfigs") ", object: {}}", "Unfit",
	 "request.kind.kind is \"KbsConfig\"; for trusteeconfigs it must be TrusteeConfig", false},
	{"no object", "{operation: CREATE, " KBS_ ", object: null}", "Unfit",
	 "request.object is missing; there is no KbsConfig to judge", false},
	{"another group's",
	 "{operation: CREATE, resource: {group: " NAME_GROUP
	 ", version: v1alpha1, resource: kbsconfigs}, kind: {kind: KbsConfig}, object: {}}",
	 "Unfit",
	 "coco-webhook was asked about \"kbsconfigs\" of group \"" NAME_GROUP
	 "\", version \"v1alpha1\"; /validate-resources takes confidentialprofiles of " NAME_GROUP_VERSION
	 ", trusteeconfigs and kbsconfigs of " NAME_TRUSTEE_GROUP_VERSION
	 ": correct the rules of the webhook configuration",
	 false},
	{"kbs: create", K_NEW("kbsSecretResources: [a]"), "KbsValid", NULL, true},
	{"kbs: invalid", K_NEW("KbsDeploymentSpec: {replicas: -1}"), "KbsInvalid",
	 "spec.KbsDeploymentSpec.replicas is -1; it must be from 0 to 2147483647", false},
};

static void test_request(void **state)
{
	const struct request_case *row = *state;
	struct asked a;
	ask(row->request, &a);
	read_answer(&a);
	assert_string_equal(a.h.decision.cause, row->cause);
	assert_int_equal(json_is_true(json_object_get(a.response, "allowed")), row->message == NULL);
	assert_text(message_of(&a), row->message);
	assert_int_equal(a.h.decision.names_unchecked, row->names);
	asked_release(&a);
}

// ---- What they are warned of

static struct warning_case {
	const char *name;
	const char *request;
	const char *warning;
	const char *second;
} warning_cases[] = {
	{"no warning", T_NEW(RESTRICTED), NULL, NULL},
	{"warning: Permissive", T_NEW(""),
	 "spec.profileType Permissive releases every resource to whoever asks, genuine guest or not: it is for evaluation; "
	 "Restricted is for production",
	 NULL},
	{"warning: bindings of Permissive", T_NEW("bindings: [{profileRef: {name: a}, resources: [b]}]"),
	 "spec.profileType Permissive releases every resource to whoever asks, genuine guest or not: it is for evaluation; "
	 "Restricted is for production",
	 "spec.bindings keep nobody out with spec.profileType Permissive, which takes any evidence for genuine"},
	{"warning: the way down stays open", T_NEW(RESTRICTED ", allowDowngrade: true"),
	 "spec.allowDowngrade lets profileType go back to Permissive at any time: remove it until that is meant", NULL},
	{"warning: TLS settings without custom", T_NEW(RESTRICTED ", tlsConfig: {profile: modern, ciphers: [A]}"),
	 "spec.tlsConfig: minVersion, maxVersion, ciphers and groups count with profile custom alone, and it is modern",
	 NULL},
	{"no warning: custom", T_NEW(RESTRICTED ", tlsConfig: {profile: custom, minVersion: '1.3'}"), NULL, NULL},
	{"warning: replicas", T_NEW(RESTRICTED ", replicas: 2"),
	 "spec.replicas is 2, but each pod keeps sessions to itself: a guest whose requests reach several pods fails to "
	 "attest; set spec.sessionStorage to Redis or Postgres",
	 NULL},
	{"no warning: replicas that share",
	 T_NEW(RESTRICTED ", replicas: 2, sessionStorage: {type: Redis, secretRef: {name: a, key: b}}"), NULL, NULL},
	{"warning: Vault in the clear", K_NEW("vault: {address: 'http://v', tokenSecretRef: {name: a, key: b}}"),
	 "spec.vault.address is plain http: Vault's token and every secret travel in the clear, to whoever answers in its "
	 "place; use https, with caSecretRef for a CA of your own",
	 NULL},
	{"warning: Vault and Secrets",
	 K_NEW("kbsSecretResources: [a], vault: {address: 'https://v', tokenSecretRef: {name: a, key: b}}"),
	 "spec.kbsSecretResources are not served with spec.vault, as the KBS reads all resources from Vault then", NULL},
	{"warning: half of HTTPS", K_NEW("kbsHttpsKeySecretName: a, KbsDeploymentSpec: {replicas: 3}"),
	 "spec.KbsDeploymentSpec.replicas is 3, but each pod keeps sessions to itself: a guest whose requests reach "
	 "several "
	 "pods fails to attest; set spec.sessionStorage to Redis or Postgres",
	 "spec.kbsHttpsKeySecretName and spec.kbsHttpsCertSecretName go together: nothing is rolled out with one of "
	 "them; set both, or none for plain HTTP"},
	{"no warning: HTTPS", K_NEW("kbsHttpsKeySecretName: a, kbsHttpsCertSecretName: a"), NULL, NULL},
	{"warning: as invalid as before", CHANGE(KBS_, "KbsConfig", "image: ' '", "image: ' '"),
	 "the KbsConfig is not valid, as before: spec.image is \" \"; it must be an image such as "
	 "registry.example.com/kbs:v0.21.0 or registry.example.com/kbs@sha256:DIGEST",
	 NULL},
};

static void test_warning(void **state)
{
	const struct warning_case *row = *state;
	struct asked a;
	ask(row->request, &a);
	read_answer(&a);
	assert_true(json_is_true(json_object_get(a.response, "allowed")));
	assert_text(warning_of(&a, 0), row->warning);
	assert_text(warning_of(&a, 1), row->second);
	assert_null(warning_of(&a, 2));
	asked_release(&a);
}

// ---- Who has the names

static struct rival_case {
	const char *name;
	const char *request;
	const char *others;  // NULL: the API server could not be asked
	const char *message; // of a denial
	const char *warning;
} rival_cases[] = {
	{"names: free", T_NEW(RESTRICTED), "[]", NULL, NULL},
	{"names: its own KbsConfig", T_NEW(RESTRICTED), "[{" META("KbsConfig", "t-kbs-config") "}]", NULL, NULL},
	{"names: taken", T_NEW(""), "[{" META("TrusteeConfig", "other") "}]",
	 "TrusteeConfig \"other\" of this namespace has the names trustee-deployment and kbs-service already; set "
	 "spec.instanceName to another name to run another Trustee beside it, or delete that one",
	 NULL},
	{"names: taken, of an instance", K_NEW("instanceName: two"),
	 "[{" META("KbsConfig", "other") ", spec: {instanceName: two}}]",
	 "KbsConfig \"other\" of this namespace has the names two-trustee-deployment and two-kbs-service already; set "
	 "spec.instanceName to another name to run another Trustee beside it, or delete that one",
	 NULL},
	{"names: taken by one that goes", K_NEW(""),
	 "[{kind: KbsConfig, metadata: {name: other, deletionTimestamp: '2026-01-01T00:00:00Z'}}]",
	 "KbsConfig \"other\" of this namespace has the names trustee-deployment and kbs-service already (it is being "
	 "deleted); set spec.instanceName to another name to run another Trustee beside it, or delete that one",
	 NULL},
	{"names: not known", T_NEW(RESTRICTED), NULL, NULL,
	 "whether another Trustee of this namespace has the same names could not be found out, as the API server could not "
	 "be "
	 "asked: see condition Ready"},
};

static void test_rival(void **state)
{
	const struct rival_case *row = *state;
	struct asked a;
	ask(row->request, &a);
	assert_true(a.h.decision.names_unchecked);
	json_t *others = row->others != NULL ? yaml_tree(row->others) : NULL;
	judge_rivals(&a.h, others, &a.arena, &a.out);
	json_decref(others);
	read_answer(&a);
	assert_false(a.h.decision.names_unchecked);
	assert_int_equal(json_is_true(json_object_get(a.response, "allowed")), row->message == NULL);
	assert_text(message_of(&a), row->message);
	assert_text(warning_of(&a, 0), row->warning);
	if (row->message != NULL)
		assert_string_equal(a.h.decision.cause, "NamesTaken");
	asked_release(&a);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, request_cases, test_request);
	ADD_TABLE(&t, warning_cases, test_warning);
	ADD_TABLE(&t, rival_cases, test_rival);
	return tests_run("validate-trustee", &t);
}
