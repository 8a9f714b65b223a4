// /validate-resources: what may be stored of our own resources.
#include "common/initdata.h"
#include "webhook/validate_resources.h"
#include "world.h"

#define KEYS_OF(group, version, resource) "group: " group ", version: " version ", resource: " resource
#define OURS \
	"resource: {" KEYS_OF(NAME_GROUP, "v1alpha1", "confidentialprofiles") "}, kind: {kind: ConfidentialProfile}"
#define META "metadata: {name: p, namespace: team-a, generation: 1}"
#define GOOD "initdata: {kbs: {url: 'https://kbs'}}"
#define OBJECT(spec) "object: {" META ", spec: {" spec "}}"

// A whole review of which `request` is part; the answer as JSON (new).
static json_t *ask(const char *request, struct handled *h, struct arena *arena)
{
	json_t *review = json_pack("{s:s, s:s, s:o}", "kind", "AdmissionReview", "apiVersion", "admission.k8s.io/v1",
							   "request", yaml_tree(request));
	json_t *body = json_object_get(review, "request");
	assert_int_equal(json_object_set_new(body, "uid", json_string("uid-1")), 0);
	CLEANUP_FREE
	char *text = json_dumps(review, JSON_COMPACT);
	json_decref(review);
	CLEANUP_BUF
	struct buf out = BUF_INIT((size_t)1024 * 1024);
	// It is asked for nothing: what profiles are in force doesn't matter.
	struct world w = {0};
	world_load(&w, "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-a}\n");
	memset(h, 0xa5, sizeof(*h)); // as a server's stack may be
	handle_review(ENDPOINT_VALIDATE_RESOURCES, w.catalog, str_from(text), arena, &out, h);
	world_release(&w);
	assert_int_equal(h->status, 200);
	json_t *answer = json_loads(buf_z(&out), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(answer);
	json_t *response = json_incref(json_object_get(answer, "response"));
	json_decref(answer);
	assert_string_equal(json_string_value(json_object_get(response, "uid")), "uid-1");
	assert_null(json_object_get(response, "patch"));
	return response;
}

// ---- Which requests are judged, and how

static struct request_case {
	const char *name;
	const char *request; // beside uid
	const char *cause;
	int code; // of a denial; 0: allowed
	const char *message;
} request_cases[] = {
	{"create: valid", "{operation: CREATE, " OURS ", " OBJECT(GOOD) "}", "ProfileValid", 0, NULL},
	{"create: invalid", "{operation: CREATE, " OURS ", " OBJECT("") "}", "ProfileInvalid", 422,
	 "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 0"},
	{"create: no spec", "{operation: CREATE, " OURS ", object: {" META "}}", "ProfileInvalid", 422,
	 "spec is missing; it needs at least spec.initdata"},
	{"create: being deleted says nothing",
	 "{operation: CREATE, " OURS
	 ", object: {metadata: {name: p, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {}}}",
	 "ProfileInvalid", 422, "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 0"},
	{"update: valid", "{operation: UPDATE, " OURS ", " OBJECT(GOOD) ", oldObject: {spec: {}}}", "ProfileValid", 0,
	 NULL},
	{"update: becomes invalid",
	 "{operation: UPDATE, " OURS ", " OBJECT("cpu: {mode: 2}") ", oldObject: {spec: {" GOOD "}}}", "ProfileInvalid",
	 422, "spec.cpu.mode must be a string, not an integer (put it in quotes)"},
	{"update: other, but as invalid", "{operation: UPDATE, " OURS ", " OBJECT("cpu: {}") ", oldObject: {spec: {}}}",
	 "ProfileInvalid", 422, "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 0"},
	{"update: the spec stays invalid",
	 "{operation: UPDATE, " OURS ", " OBJECT("cpu: {}") ", oldObject: {spec: {cpu: {}}}}", "SpecUnchanged", 0, NULL},
	{"update: no spec, as before", "{operation: UPDATE, " OURS ", object: {" META "}, oldObject: {" META "}}",
	 "ProfileInvalid", 422, "spec is missing; it needs at least spec.initdata"},
	{"update: being deleted",
	 "{operation: UPDATE, " OURS ", object: {metadata: {name: p, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: "
	 "{}}, oldObject: {spec: {cpu: {}}}}",
	 "Deleting", 0, NULL},
	{"update: of the status", "{operation: UPDATE, subResource: status, " OURS ", " OBJECT("") "}", "NotOurs", 0, NULL},
	{"delete", "{operation: DELETE, " OURS ", object: null, oldObject: {" META "}}", "NotOurs", 0, NULL},
	{"create: no object", "{operation: CREATE, " OURS ", object: null}", "Unfit", 400,
	 "request.object is missing; there is no profile to judge"},
	{"create: a list", "{operation: CREATE, " OURS ", object: []}", "Unfit", 400, "request.object is not an object"},
	{"update: the old one is a list", "{operation: UPDATE, " OURS ", " OBJECT(GOOD) ", oldObject: [1]}", "Unfit", 400,
	 "request.oldObject is not an object"},
	{"create: another kind",
	 "{operation: CREATE, resource: {" KEYS_OF(NAME_GROUP, "v1alpha1",
											   "confidentialprofiles") "}, kind: {kind: Scale}, " OBJECT(GOOD) "}",
	 "Unfit", 400, "request.kind.kind is \"Scale\"; for confidentialprofiles it must be ConfidentialProfile"},
	{"no operation of Kubernetes", "{operation: PATCH, " OURS ", " OBJECT(GOOD) "}", "Unfit", 400,
	 "request.operation is \"PATCH\"; it must be CREATE, UPDATE, DELETE or CONNECT"},
#define ASKED(resource, group, version)                                                                            \
	"coco-webhook was asked about \"" resource "\" of group \"" group "\", version \"" version                     \
	"\"; /validate-resources takes confidentialprofiles of " NAME_GROUP_VERSION ", trusteeconfigs and kbsconfigs " \
	"of " NAME_TRUSTEE_GROUP_VERSION ": correct the rules of the webhook configuration"
	{"another resource of ours", "{operation: CREATE, resource: {" KEYS_OF(NAME_GROUP, "v1alpha1", "others") "}}",
	 "Unfit", 400, ASKED("others", NAME_GROUP, "v1alpha1")},
	{"another version of ours",
	 "{operation: DELETE, resource: {" KEYS_OF(NAME_GROUP, "v1", "confidentialprofiles") "}}", "Unfit", 400,
	 ASKED("confidentialprofiles", NAME_GROUP, "v1")},
	{"pods", "{operation: CREATE, resource: {" KEYS_OF("''", "v1", "pods") "}, kind: {kind: Pod}, object: {spec: {}}}",
	 "Unfit", 400, ASKED("pods", "", "v1")},
};

static void test_request(void **state)
{
	const struct request_case *row = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	json_t *response = ask(row->request, &h, &arena);
	const json_t *status = json_object_get(response, "status");
	assert_string_equal(h.decision.cause, row->cause);
	assert_int_equal(json_is_true(json_object_get(response, "allowed")), row->code == 0);
	assert_text(json_string_value(json_object_get(status, "message")), row->message);
	assert_int_equal(json_integer_value(json_object_get(status, "code")), row->code);
	const char *reason = row->code == 400 ? "BadRequest" : row->code == 422 ? "Invalid" : NULL;
	assert_text(json_string_value(json_object_get(status, "reason")), reason);
	json_decref(response);
}

// ---- What a profile is refused for: every rule of the decoder comes through, and those of what is made of it

static struct refusal_case {
	const char *name;
	const char *spec;
	const char *message;
} refusal_cases[] = {
	{"refused: an unknown field", GOOD ", memori: {}",
	 "spec.memori is not a known field; spec has runtimeClassName, allowedRuntimeClasses, initdata, memory, cpu, "
	 "admission"},
	{"refused: an unquoted Off", GOOD ", admission: {hostPath: false}",
	 "spec.admission.hostPath must be a string, not a boolean (put it in quotes)"},
	{"refused: no such value", GOOD ", memory: {mode: Big}",
	 "spec.memory.mode is \"Big\"; it must be one of Auto, Fixed, FromLimits"},
	{"refused: no quantity", GOOD ", memory: {max: 8Gb}",
	 "spec.memory.max: \"8Gb\" is not a quantity; write one like 512Mi, 8Gi or 1.5G"},
	{"refused: min above max", GOOD ", memory: {min: 8Gi, max: 4Gi}",
	 "spec.memory.min is above spec.memory.max; raise max or lower min"},
	{"refused: Fixed without vm", GOOD ", memory: {mode: Fixed}",
	 "spec.memory.mode is Fixed, but spec.memory.vm is missing; set it, such as 8Gi"},
	{"refused: Fixed without vcpus", GOOD ", cpu: {mode: Fixed}",
	 "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it"},
	{"refused: no URL", "initdata: {kbs: {url: 'kbs:8080'}}",
	 "spec.initdata.kbs.url is \"kbs:8080\"; it must be https://HOST:PORT or http://HOST:PORT"},
	{"refused: two sources", "initdata: {kbs: {url: 'https://k'}, configMapKeyRef: {name: a, key: b}}",
	 "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 2"},
	{"refused: two CAs", "initdata: {kbs: {url: 'https://k', caBundle: a, caConfigMapRef: {name: a, key: b}}}",
	 "spec.initdata.kbs has both caBundle and caConfigMapRef; keep one of the two"},
	{"refused: no certificate", "initdata: {kbs: {url: 'https://k', caBundle: abc}}",
	 "spec.initdata.kbs.caBundle does not hold certificates in PEM form (-----BEGIN CERTIFICATE-----)"},
	{"refused: no root certificate", "initdata: {kbs: {url: 'https://k'}, image: {extraRootCertificates: [abc]}}",
	 "spec.initdata.image.extraRootCertificates[0] does not hold certificates in PEM form (-----BEGIN "
	 "CERTIFICATE-----)"},
	// What may come later is no reason to refuse, and no excuse for the rest.
	{"allowed: a ConfigMap that isn't there", "initdata: {configMapKeyRef: {name: a, key: b}}", NULL},
	{"allowed: a CA that isn't there", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: a, key: b}}}", NULL},
	{"allowed: a policy that isn't there",
	 "initdata: {kbs: {url: 'https://k'}, agentPolicy: {configMapKeyRef: {name: a, key: b}}}", NULL},
	{"allowed: a Trustee that isn't there", "initdata: {trusteeConfigRef: {name: a}}", NULL},
	{"refused: min above max, beside a ConfigMap that isn't there",
	 "initdata: {configMapKeyRef: {name: a, key: b}}, memory: {min: 8Gi, max: 4Gi}",
	 "spec.memory.min is above spec.memory.max; raise max or lower min"},
	{"allowed: Strict", "initdata: {kbs: {url: 'https://k'}, agentPolicy: {preset: Strict}}", NULL},
};

static json_t *ask_create(const char *spec, struct handled *h, struct arena *arena)
{
	CLEANUP_FREE
	char *request = xasprintf("{operation: CREATE, namespace: team-a, name: p, " OURS ", " OBJECT("%s") "}", spec);
	return ask(request, h, arena);
}

static void test_refusal(void **state)
{
	const struct refusal_case *row = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	json_t *response = ask_create(row->spec, &h, &arena);
	assert_text(json_string_value(json_object_get(json_object_get(response, "status"), "message")), row->message);
	assert_int_equal(json_is_true(json_object_get(response, "allowed")), row->message == NULL);
	assert_null(json_object_get(response, "warnings"));
	json_decref(response);
}

// Initdata that is too large for an annotation, though the object is fine.
static void test_too_large(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	struct buf spec = BUF_INIT((size_t)4 * 1024 * 1024);
	buf_addz(&spec, "initdata: {kbs: {url: 'https://k'}, image: {proxy: {noProxy: '");
	for (uint32_t i = 0, x = 1; i < 40000; i++) { // nothing that packs well
		x = x * 1664525 + 1013904223;
		buf_addf(&spec, "%x,", x);
	}
	buf_addz(&spec, "'}}}");
	json_t *response = ask_create(buf_z(&spec), &h, &arena);
	assert_string_equal(h.decision.cause, "ProfileInvalid");
	json_decref(response);
	buf_release(&spec);
}

// ---- Warnings

static struct warning_case {
	const char *name;
	const char *spec;
	const char *warning; // NULL for none
	const char *second;
} warning_cases[] = {
	{"no warning: a careful profile", GOOD ", runtimeClassName: kata-qemu-snp, allowedRuntimeClasses: [kata-qemu-tdx]",
	 NULL, NULL},
	{"warning: AllowAll", "initdata: {kbs: {url: 'https://k'}, agentPolicy: {preset: AllowAll}}",
	 "spec.initdata.agentPolicy.preset AllowAll lets whoever controls the host run commands in the guest (kubectl "
	 "exec) and "
	 "read what it holds: let Trustee release no real secret to this initdata",
	 NULL},
	{"warning: foreignAnnotations", GOOD ", admission: {foreignAnnotations: Warn}",
	 "spec.admission.foreignAnnotations Warn lets whoever writes a Task or TaskRun change how the guest is made, by "
	 "annotations io.katacontainers.*; Deny is the default",
	 NULL},
	{"warning: http", "initdata: {kbs: {url: 'http://k'}}",
	 "spec.initdata.kbs.url is plain http: guests can't tell the KBS from whoever answers in its place; use https, "
	 "with "
	 "caBundle or caConfigMapRef for a CA of your own",
	 NULL},
	{"no warning: https that begins like http", "initdata: {kbs: {url: 'https://http'}}", NULL, NULL},
	{"warning: runtimeClassName", GOOD ", runtimeClassName: runc",
	 "spec.runtimeClassName \"runc\" is known as a class without confidential VMs: pods would run unprotected, under "
	 "the "
	 "name of protection",
	 NULL},
	{"warning: allowedRuntimeClasses", GOOD ", allowedRuntimeClasses: [kata-cc, kata-qemu-coco-dev, mine, gvisor]",
	 "spec.allowedRuntimeClasses[1] \"kata-qemu-coco-dev\" is known as a class without confidential VMs: a pod that "
	 "names "
	 "it runs unprotected",
	 "spec.allowedRuntimeClasses[3] \"gvisor\" is known as a class without confidential VMs: a pod that names it runs "
	 "unprotected"},
	{"warning: max below what images need", GOOD ", memory: {max: 3Gi}",
	 "spec.memory.max is 3Gi, but images of 2Gi (imageSize) need a VM of 4Gi: every pod that doesn't say how large its "
	 "images are is denied; raise max or lower imageSize",
	 NULL},
	{"warning: max below images and base", GOOD ", memory: {max: 1200Mi, min: 1Gi, imageSize: 512Mi, base: 1Gi}",
	 "spec.memory.max is 1200Mi, but images of 512Mi (imageSize) need a VM of 1536Mi: every pod that doesn't say how "
	 "large "
	 "its images are is denied; raise max or lower imageSize",
	 NULL},
	{"no warning: max is what images need", GOOD ", memory: {max: 4Gi}", NULL, NULL},
	{"no warning: FromLimits asks the pod", GOOD ", memory: {mode: FromLimits, max: 3Gi}", NULL, NULL},
	{"warning: vm below what images need", GOOD ", memory: {mode: Fixed, vm: 2Gi}",
	 "spec.memory.vm is 2Gi, but images of 2Gi (imageSize) need a VM of 4Gi: larger images fail to unpack in the "
	 "guest; "
	 "raise vm, or lower imageSize if yours are small",
	 NULL},
	{"no warning: vm has room", GOOD ", memory: {mode: Fixed, vm: 4Gi}", NULL, NULL},
	{"two warnings", "initdata: {kbs: {url: 'http://k'}}, memory: {max: 3Gi}",
	 "spec.initdata.kbs.url is plain http: guests can't tell the KBS from whoever answers in its place; use https, "
	 "with "
	 "caBundle or caConfigMapRef for a CA of your own",
	 "spec.memory.max is 3Gi, but images of 2Gi (imageSize) need a VM of 4Gi: every pod that doesn't say how large its "
	 "images are is denied; raise max or lower imageSize"},
};

static void test_warning(void **state)
{
	const struct warning_case *row = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	json_t *response = ask_create(row->spec, &h, &arena);
	const json_t *warnings = json_object_get(response, "warnings");
	assert_true(json_is_true(json_object_get(response, "allowed")));
	assert_text(json_string_value(json_array_get(warnings, 0)), row->warning);
	assert_text(json_string_value(json_array_get(warnings, 1)), row->second);
	assert_int_equal(json_array_size(warnings), (row->warning != NULL) + (row->second != NULL));
	for (size_t i = 0; i < json_array_size(warnings); i++)
		assert_true(json_string_length(json_array_get(warnings, i)) <= WARNING_MAX);
	json_decref(response);
}

// A list that is all wrong: as many warnings as there is room for, the others first.
static void test_many_warnings(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	json_t *response = ask_create("initdata: {kbs: {url: 'http://k'}}, allowedRuntimeClasses: [runc, runc, runc, runc, "
								  "runc, runc, runc, runc, runc, runc, runc, runc, runc, runc, runc, runc, runc, runc]",
								  &h, &arena);
	const json_t *warnings = json_object_get(response, "warnings");
	assert_int_equal(json_array_size(warnings), WARNINGS_LIMIT);
	assert_non_null(strstr(json_string_value(json_array_get(warnings, 0)), "plain http"));
	json_decref(response);
}

static void test_unchanged_says_why(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	json_t *response = ask(
		"{operation: UPDATE, " OURS ", " OBJECT("cpu: {mode: 2}") ", oldObject: {spec: {cpu: {mode: 2}}}}", &h, &arena);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(response, "warnings"), 0)),
		"the profile is not valid, as before: spec.cpu.mode must be a string, not an integer (put it in "
		"quotes)");
	json_decref(response);
}

// The reader of reviews checks what it keeps as text.
static void test_bad_text(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct handled h;
	struct world w = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	static const char twice[] =
		"{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
		"\"1\",\"object\":{\"spec\":1,\"spec\":2}}}";
	world_load(&w, "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-a}\n");
	handle_review(ENDPOINT_VALIDATE_RESOURCES, w.catalog, str_from(twice), &arena, &out, &h);
	assert_int_equal(h.status, 400);
	world_release(&w);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, request_cases, test_request);
	ADD_TABLE(&t, refusal_cases, test_refusal);
	tests_add(&t, "refused: initdata that is too large", test_too_large, NULL);
	ADD_TABLE(&t, warning_cases, test_warning);
	tests_add(&t, "warnings have a limit", test_many_warnings, NULL);
	tests_add(&t, "what stays invalid is said", test_unchanged_says_why, NULL);
	tests_add(&t, "the object's text is checked", test_bad_text, NULL);
	return tests_run("validate-resources", &t);
}
