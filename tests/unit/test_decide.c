// What is denied, warned about, or done to a selected pod; sizes have tests of their own.
#include "common/encode.h"
#include "common/version.h"
#include "world.h"

#define LABELS "labels: {tekton.dev/taskRun: build, " LABEL_CONFIDENTIAL ": 'true'}"
#define ONE "containers: [{name: step-a, image: img}]"
#define ANNOTATED(text) "annotations: {" text "}"

struct decide_case {
	const char *name;
	const char *initdata; // of the profile
	const char *profile;  // the rest of its spec
	const char *metadata; // of the pod, besides its labels
	const char *spec;     // of the pod
	const char *cause;
	const char *message;  // of a denial; NULL: not denied
	const char *warnings; // each with a newline
};

#define CONFLICT(name)                                                                                              \
	"spec.runtimeClassName is \"" name "\", which is not confidential for profile \"default\"; remove it from the " \
	"podTemplate (the profile sets \"kata-cc\"), or add it to spec.allowedRuntimeClasses of the profile"
#define FOREIGN(key, what, instead)                                                                      \
	"annotation " key " is set on the pod, but " what "; remove it (Tekton copies it from the TaskRun, " \
	"PipelineRun, Task or Pipeline)" instead
#define CHANGES "it changes how the confidential guest is made"
#define DECIDES "the profile decides about it"
#define KERNEL KATA_PREFIX "config.hypervisor.kernel_params"
#define HOSTPATH                                                                                           \
	"spec.volumes[1] (sock) is a hostPath: the guest gets a copy from the untrusted host, and nothing is " \
	"written back; use an emptyDir"
#define HOSTPATH_SPEC ONE ", volumes: [{name: a, emptyDir: {}}, {name: sock, hostPath: {path: /run}}]"
#define SUBPATH "container \"step-a\" mounts /w by subPath, which Kata guests don't support; mount the whole volume"
#define MOUNTS(m) "containers: [{name: step-a, image: img, volumeMounts: [" m "]}]"
#define DIGEST(c, image) "container \"" c "\" names image \"" image "\" without a digest; write IMAGE@sha256:..."
#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IMAGE(image) "containers: [{name: step-a, image: '" image "'}]"
#define CLAIM(i, name)                                                                                     \
	"spec.volumes[" i "] (" name "): a filesystem volume is copied into the guest once and never written " \
	"back; hand results on by results or a registry\n"
#define EXEC(c)                                                                                                  \
	"container \"" c "\" has an exec probe or hook, which the profile's agent policy refuses, so it will fail; " \
	"use httpGet or tcpSocket\n"
#define REQUIRE(how) "admission: {requireImageDigest: " how "}"

static struct decide_case decide_cases[] = {
	{"nothing special", "", "", "", ONE, "Mutated", NULL, ""},
	{"class: ours already", "", "", "", ONE ", runtimeClassName: kata-cc", "Mutated", NULL, ""},
	{"class: another", "", "", "", ONE ", runtimeClassName: gvisor", "RuntimeClassConflict", CONFLICT("gvisor"), ""},
	{"class: one that begins like ours", "", "", "", ONE ", runtimeClassName: kata-cc-nvidia-gpu",
	 "RuntimeClassConflict", CONFLICT("kata-cc-nvidia-gpu"), ""},
	{"class: empty", "", "", "", ONE ", runtimeClassName: ''", "RuntimeClassConflict", CONFLICT(""), ""},
	{"class: null is none", "", "", "", ONE ", runtimeClassName: null", "Mutated", NULL, ""},
	{"class: an allowed one", "", "allowedRuntimeClasses: [a, kata-cc-nvidia-gpu]", "",
	 ONE ", runtimeClassName: kata-cc-nvidia-gpu", "Mutated", NULL, ""},
	{"class: kata-cc where the profile sets another", "", "runtimeClassName: kata-qemu-snp", "",
	 ONE ", runtimeClassName: kata-cc", "RuntimeClassConflict",
	 "spec.runtimeClassName is \"kata-cc\", which is not confidential for profile \"default\"; remove it from the "
	 "podTemplate (the profile sets \"kata-qemu-snp\"), or add it to spec.allowedRuntimeClasses of the profile",
	 ""},

	{"annotation: kernel_params", "", "", ANNOTATED(KERNEL ": debug"), ONE, "ForeignAnnotation",
	 FOREIGN(KERNEL, CHANGES, ""), ""},
	{"annotation: any of Kata's", "", "", ANNOTATED("io.katacontainers.anything: ''"), ONE, "ForeignAnnotation",
	 FOREIGN("io.katacontainers.anything", CHANGES, ""), ""},
	{"annotation: a like prefix is none of Kata's", "", "", ANNOTATED("io.katacontainersX/a: b"), ONE, "Mutated", NULL,
	 ""},
	{"annotation: default_memory", "", "", ANNOTATED(KATA_MEMORY ": '512'"), ONE, "ForeignAnnotation",
	 FOREIGN(KATA_MEMORY, DECIDES, ", and set " ANNOTATION_MEMORY " instead"), ""},
	{"annotation: somebody else's initdata", "", "", ANNOTATED(KATA_INITDATA ": H4sI"), ONE, "ForeignAnnotation",
	 FOREIGN(KATA_INITDATA, DECIDES, ""), ""},
	{"annotation: null, a key all the same", "", "", ANNOTATED(KATA_INITDATA ": null"), ONE, "ForeignAnnotation",
	 FOREIGN(KATA_INITDATA, DECIDES, ""), ""},
	{"annotation: forged injected doesn't make initdata ours", "", "",
	 ANNOTATED(ANNOTATION_INJECTED ": '{}', " KATA_INITDATA ": H4sI"), ONE, "ForeignAnnotation",
	 FOREIGN(KATA_INITDATA, DECIDES, ""), ""},
	{"annotation: a note that is no JSON", "", "",
	 ANNOTATED(ANNOTATION_INJECTED ": '{\"initdata\":\"sha256:00\"} x', " KATA_INITDATA ": H4sI"), ONE,
	 "ForeignAnnotation", FOREIGN(KATA_INITDATA, DECIDES, ""), ""},
	{"annotation: a note without its initdata", "", "",
	 ANNOTATED(ANNOTATION_INJECTED ": '{\"initdata\":\"sha256:00\"}', " KATA_MEMORY ": '512'"), ONE,
	 "ForeignAnnotation", FOREIGN(KATA_MEMORY, DECIDES, ", and set " ANNOTATION_MEMORY " instead"), ""},
	{"annotation: forged injected alone is overwritten", "", "", ANNOTATED(ANNOTATION_INJECTED ": '{\"vmMiB\":1}'"),
	 ONE, "Mutated", NULL, ""},
	{"annotation: vcpus where the profile has none", "", "", ANNOTATED(KATA_VCPUS ": '4'"), ONE, "ForeignAnnotation",
	 FOREIGN(KATA_VCPUS, CHANGES, ""), ""},
	{"annotation: vcpus where the profile has some", "", "cpu: {mode: Fixed, vcpus: 2}", ANNOTATED(KATA_VCPUS ": '4'"),
	 ONE, "ForeignAnnotation", FOREIGN(KATA_VCPUS, DECIDES, ""), ""},
	{"annotation: warned about", "", "admission: {foreignAnnotations: Warn}", ANNOTATED(KERNEL ": debug"), ONE,
	 "Mutated", NULL, FOREIGN(KERNEL, CHANGES, "") "\n"},
	{"annotation: initdata warned about", "", "admission: {foreignAnnotations: Warn}",
	 ANNOTATED(KATA_INITDATA ": H4sI"), ONE, "Mutated", NULL, FOREIGN(KATA_INITDATA, DECIDES, "") "\n"},

	{"the mirror of a static pod", "", "", ANNOTATED("kubernetes.io/config.mirror: 0a1b"), ONE, "StaticPod",
	 "the pod shows a static pod (annotation kubernetes.io/config.mirror), which the kubelet runs as its file on the "
	 "node "
	 "says, unprotected: remove the label " LABEL_CONFIDENTIAL
	 " from the file, or create the pod through the API server",
	 ""},
	{"hostNetwork", "", "", "", ONE ", hostNetwork: true", "HostNetwork",
	 "spec.hostNetwork is true; a confidential guest has a network of its own and does not start with the host's: "
	 "remove "
	 "hostNetwork",
	 ""},
	{"hostNetwork false", "", "", "", ONE ", hostNetwork: false", "Mutated", NULL, ""},
	{"hostPID", "", "", "", ONE ", hostPID: true", "Mutated", NULL,
	 "spec.hostPID and spec.hostIPC have no effect in a confidential guest: it sees only its own processes\n"},
	{"windows", "", "", "", ONE ", os: {name: windows}", "WindowsPod",
	 "spec.os.name is \"windows\"; confidential guests run Linux: remove the label " LABEL_CONFIDENTIAL, ""},
	{"linux", "", "", "", ONE ", os: {name: linux}", "Mutated", NULL, ""},

	{"hostPath: warned about", "", "", "", HOSTPATH_SPEC, "Mutated", NULL, HOSTPATH "\n"},
	{"hostPath: denied", "", "admission: {hostPath: Deny}", "", HOSTPATH_SPEC, "HostPath", HOSTPATH, ""},
	{"hostPath: off", "", "admission: {hostPath: 'Off'}", "", HOSTPATH_SPEC, "Mutated", NULL, ""},
	{"subPath: warned about", "", "", "", MOUNTS("{name: v, mountPath: /w, subPath: s}"), "Mutated", NULL,
	 SUBPATH "\n"},
	{"subPath: denied", "", "admission: {subPath: Deny}", "", MOUNTS("{subPath: s, mountPath: /w}"), "SubPath", SUBPATH,
	 ""},
	{"subPath: off", "", "admission: {subPath: 'Off'}", "", MOUNTS("{mountPath: /w, subPath: s}"), "Mutated", NULL, ""},
	{"subPath: empty is none", "", "", "", MOUNTS("{mountPath: /w, subPath: ''}"), "Mutated", NULL, ""},
	{"subPathExpr", "", "", "", MOUNTS("{mountPath: /v}, {mountPath: /w, subPathExpr: $(X)}"), "Mutated", NULL,
	 SUBPATH "\n"},
	{"subPath of an init container", "", "admission: {subPath: Deny}", "",
	 ONE ", initContainers: [{name: step-a, image: img, volumeMounts: [{mountPath: /w, subPath: s}]}]", "SubPath",
	 SUBPATH, ""},
	{"claims", "", "", "",
	 ONE ", volumes: [{name: a, persistentVolumeClaim: {claimName: c}}, {name: b, ephemeral: {}}, {name: c, ephemeral: "
		 "null}]",
	 "Mutated", NULL, CLAIM("0", "a") CLAIM("1", "b")},
	{"claims: raw block devices are supported", "", "", "",
	 "containers: [{name: step-a, image: img, volumeDevices: [{name: a, devicePath: /dev/x}]}], volumes: [{name: a, "
	 "persistentVolumeClaim: {claimName: c}}, {name: b, persistentVolumeClaim: {claimName: d}}]",
	 "Mutated", NULL, CLAIM("1", "b")},

	{"digests: off", "", "", "", ONE, "Mutated", NULL, ""},
	{"digests: denied", "", REQUIRE("Deny"), "", ONE, "ImageWithoutDigest", DIGEST("step-a", "img"), ""},
	{"digests: warned about", "", REQUIRE("Warn"), "", ONE, "Mutated", NULL, DIGEST("step-a", "img") "\n"},
	{"digests: there is one", "", REQUIRE("Deny"), "", IMAGE("r/i:tag@sha256:" HEX64), "Mutated", NULL, ""},
	{"digests: a longer one", "", REQUIRE("Deny"), "", IMAGE("r/i@sha512:" HEX64 HEX64), "Mutated", NULL, ""},
	{"digests: a beginning of one", "", REQUIRE("Deny"), "", IMAGE("r/i@sha256:0123"), "ImageWithoutDigest",
	 DIGEST("step-a", "r/i@sha256:0123"), ""},
	{"digests: no image at all", "", REQUIRE("Warn"), "", "containers: [{name: step-a}]", "Mutated", NULL,
	 DIGEST("step-a", "") "\n"},
	{"digests: init containers too", "", REQUIRE("Deny"), "",
	 IMAGE("i@sha256:" HEX64) ", initContainers: [{name: prepare, image: p}]", "ImageWithoutDigest",
	 DIGEST("prepare", "p"), ""},

	{"exec: a probe", "", "", "", "containers: [{name: step-a, livenessProbe: {exec: {command: [x]}}}]", "Mutated",
	 NULL, EXEC("step-a")},
	{"exec: hooks and probes of several", "", "", "",
	 "containers: [{name: a, lifecycle: {preStop: {exec: {}}}}, {name: b, readinessProbe: {httpGet: {port: 1}}}, "
	 "{name: c, "
	 "startupProbe: {exec: {}}}], initContainers: [{name: d, lifecycle: {postStart: {exec: {}}, stopSignal: SIGTERM}}]",
	 "Mutated", NULL, EXEC("d") EXEC("a") EXEC("c")},
	{"exec: null is none", "", "", "",
	 "containers: [{name: step-a, livenessProbe: {exec: null, tcpSocket: {port: 1}}}]", "Mutated", NULL, ""},
	{"exec: allowed by the policy", "agentPolicy: {preset: AllowAll}", "", "",
	 "containers: [{name: step-a, livenessProbe: {exec: {}}}]", "Mutated", NULL, ""},
	{"exec: refused by Strict", "agentPolicy: {preset: Strict}", "", "",
	 "containers: [{name: step-a, livenessProbe: {exec: {}}}]", "Mutated", NULL, EXEC("step-a")},

	{"no containers", "", "", "", "containers: []", "NoContainers",
	 "spec.containers is empty; a pod needs at least one container", ""},
	{"containers absent", "", "", "", "initContainers: [{name: a}]", "NoContainers",
	 "spec.containers is empty; a pod needs at least one container", ""},
};

static char *request_of(const char *metadata, const char *spec)
{
	return xasprintf("{object: {metadata: {" LABELS "%s%s}, spec: {%s}}}", metadata[0] != '\0' ? ", " : "", metadata,
					 spec);
}

static const char *joined_warnings(struct world *w)
{
	CLEANUP_BUF
	struct buf all = BUF_INIT(65536);
	for (size_t i = 0; i < w->decision.nwarnings; i++)
		buf_addf(&all, "%s\n", w->decision.warnings[i]);
	return arena_printf(&w->arena, "%s", buf_z(&all));
}

static void test_decision(void **state)
{
	const struct decide_case *c = *state;
	struct world w = {0};
	world_default(&w, c->initdata, c->profile, "");
	char *request = request_of(c->metadata, c->spec);
	world_judge(&w, ENDPOINT_MUTATE, request);
	assert_text(w.decision.message, c->message);
	assert_text(w.decision.cause, c->cause);
	assert_text(joined_warnings(&w), c->warnings);
	assert_int_equal(w.decision.verdict, c->message != NULL ? VERDICT_DENIED : VERDICT_CONFIDENTIAL);
	assert_int_equal(w.decision.code, c->message == NULL ? 0 : strcmp(c->cause, "NoContainers") == 0 ? 400 : 403);
	if (c->message == NULL)
		assert_non_null(edit_at(&w, "/metadata/annotations/" KATA_INITDATA));
	free(request);
	world_release(&w);
}

// ---- Profiles that can't be used

struct broken_case {
	const char *name;
	const char *before; // loaded first; "" for nothing
	const char *now;
	const char *cause;
	const char *message;
	const char *warnings;
};

#define GOOD PROFILE("coco-pipelines-system", "default", KBS)
#define BAD PROFILE("coco-pipelines-system", "default", KBS ", memory: {min: 8Gi, max: 4Gi}")
#define WHY "spec.memory.min is above spec.memory.max; raise max or lower min"

static struct broken_case broken_cases[] = {
	{"profile: missing", "", NAMESPACE("a", "labels: {}"), "ProfileMissing",
	 "there is no ConfidentialProfile \"default\" (no annotation names one, so the default) in namespace \"team-a\" or "
	 "\"coco-pipelines-system\"; create it, or name another with annotation " ANNOTATION_PROFILE,
	 ""},
	{"profile: never was good", "", BAD, "ProfileInvalid",
	 "ConfidentialProfile \"default\" of namespace \"coco-pipelines-system\" is not valid: " WHY, ""},
	{"profile: was good, is not", GOOD, BAD, "Mutated", NULL,
	 "profile \"default\" is used as it was before: its newest version is not valid: " WHY "\n"},
	{"profile: was bad, is good", BAD, GOOD, "Mutated", NULL, ""},
	{"profile: was good, is gone", GOOD, NAMESPACE("a", "labels: {}"), "ProfileMissing",
	 "there is no ConfidentialProfile \"default\" (no annotation names one, so the default) in namespace \"team-a\" or "
	 "\"coco-pipelines-system\"; create it, or name another with annotation " ANNOTATION_PROFILE,
	 ""},
	{"profile: waits for its Trustee", "",
	 PROFILE("coco-pipelines-system", "default", "initdata: {trusteeConfigRef: {name: tc}}"), "ProfileInvalid",
	 "ConfidentialProfile \"default\" of namespace \"coco-pipelines-system\" is not valid: "
	 "spec.initdata.trusteeConfigRef: "
	 "the controller has not published TrusteeConfig \"tc\" of namespace \"trustee-operator-system\" (is it there, and "
	 "ready?): there is no ConfigMap \"trustee-endpoint-tc\" in namespace \"trustee-operator-system\"; create it with "
	 "key "
	 "\"url\"",
	 ""},
	{"profile: a broken one of the pod's namespace is not passed over", "",
	 PROFILE("team-a", "default", "memory: {}") "---\n" GOOD, "ProfileInvalid",
	 "ConfidentialProfile \"default\" of namespace \"team-a\" is not valid: spec.initdata needs exactly one of kbs, "
	 "configMapKeyRef and trusteeConfigRef; it has 0",
	 ""},
};

static void test_broken_profile(void **state)
{
	const struct broken_case *c = *state;
	struct world w = {0};
	if (c->before[0] != '\0')
		world_load(&w, c->before);
	world_load(&w, c->now);
	char *request = request_of("", ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	assert_text(w.decision.message, c->message);
	assert_text(w.decision.cause, c->cause);
	assert_text(joined_warnings(&w), c->warnings);
	assert_int_equal(w.decision.nedits > 0, c->message == NULL);
	free(request);
	world_release(&w);
}

// ---- What is written

// The patch as an answer carries it, decoded.
static struct buf carried_patch(const struct decision *d)
{
	CLEANUP_BUF
	struct buf base64 = BUF_INIT(65536);
	struct buf text = BUF_INIT(65536);
	struct error err;
	decision_patch_base64(d, &base64);
	assert_true(buf_ok(&base64));
	assert_int_equal(base64_decode(buf_str(&base64), &text, &err), 0);
	return text;
}

// What is ready in base64 meets what is not at each remainder of three bytes.
static void test_carried_patch(void **state)
{
	(void)state;
	for (int n = 1; n <= 6; n++) {
		struct world w = {0};
		char *class = xasprintf("runtimeClassName: %.*s", n, "kkkkkk");
		world_default(&w, "", class, "");
		char *request = request_of("", ONE);
		world_judge(&w, ENDPOINT_MUTATE, request);
		CLEANUP_BUF
		struct buf plain = BUF_INIT(65536);
		CLEANUP_BUF
		struct buf carried = carried_patch(&w.decision);
		decision_patch(&w.decision, &plain);
		json_auto_t *want = json_loads(buf_z(&plain), 0, NULL);
		json_auto_t *got = json_loads(buf_z(&carried), 0, NULL);
		assert_true(json_array_size(want) > 0 && json_equal(got, want));
		free(class);
		free(request);
		world_release(&w);
	}
}

// A patch that doesn't fit says so, wherever it ends.
static void test_patch_limit(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "", "");
	char *request = request_of("", ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	CLEANUP_BUF
	struct buf whole = BUF_INIT(65536);
	decision_patch_base64(&w.decision, &whole);
	for (size_t max = 0; max <= whole.n; max++) {
		CLEANUP_BUF
		struct buf base64 = BUF_INIT(max);
		decision_patch_base64(&w.decision, &base64);
		assert_int_equal(buf_ok(&base64), max == whole.n);
	}
	free(request);
	world_release(&w);
}

static void test_edits(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "memory: {vm: 4Gi, mode: Fixed}, cpu: {mode: Fixed, vcpus: 2}", "");
	char *request = request_of("", ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	const struct profile *p = w.decision.profile;
	CLEANUP_BUF
	struct buf got = BUF_INIT(65536);
	decision_patch(&w.decision, &got);
	char *want = xasprintf(
		"[{\"op\":\"add\",\"path\":\"/spec/runtimeClassName\",\"value\":\"kata-cc\"},"
		"{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{}},"
		"{\"op\":\"add\",\"path\":\"/metadata/annotations/" KATA_INITDATA "\",\"value\":\"%s\"},"
		"{\"op\":\"add\",\"path\":\"/metadata/annotations/" KATA_MEMORY "\",\"value\":\"4096\"},"
		"{\"op\":\"add\",\"path\":\"/metadata/annotations/" KATA_VCPUS "\",\"value\":\"2\"},"
		"{\"op\":\"add\",\"path\":\"/metadata/annotations/pipelines.confidentialcontainers.org~1injected\",\"value\":"
		"\"{\\\"profile\\\":\\\"coco-pipelines-system/default\\\",\\\"generation\\\":3,\\\"initdata\\\":\\\"%s\\\","
		"\\\"vmMiB\\\":4096,\\\"version\\\":\\\"%s\\\"}\"},"
		"{\"op\":\"add\",\"path\":\"/spec/containers/0/resources\",\"value\":{}},"
		"{\"op\":\"add\",\"path\":\"/spec/containers/0/resources/requests\",\"value\":{\"memory\":\"4Gi\"}},"
		"{\"op\":\"add\",\"path\":\"/spec/containers/0/resources/limits\",\"value\":{\"memory\":\"4Gi\"}}]",
		p->annotation, p->digest, COCO_VERSION);
	assert_text(buf_z(&got), want);
	free(want);
	free(request);
	world_release(&w);
}

// The pod as our own patch leaves it, with what a stranger or a reinvocation may have made of it since.
static void judge_again(struct world *w, const char *kernel, const char *memory, const char *injected, bool ours)
{
	const struct profile *p = w->decision.profile;
	char *metadata = xasprintf(
		"annotations: {%s%s'" KATA_INITDATA "': '%s', '" KATA_MEMORY "': '%s', '" ANNOTATION_INJECTED "': '%s'}",
		kernel, kernel[0] != '\0' ? ", " : "", ours ? p->annotation : "H4sIAAAA", memory, injected);
	char *request = request_of(metadata, "runtimeClassName: kata-cc, nodeSelector: {a: b}, overhead: {memory: 350Mi}, "
										 "containers: [{name: step-a, image: img, resources: {requests: {memory: 4Gi}, "
										 "limits: {memory: 4Gi}}}]");
	world_judge(w, ENDPOINT_MUTATE, request);
	free(metadata);
	free(request);
}

static void test_second_call(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "memory: {vm: 4Gi, mode: Fixed}", "");
	char *request = request_of("", ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	free(request);
	char *injected = xasprintf("{\"profile\":\"coco-pipelines-system/default\",\"generation\":3,\"initdata\":\"%s\","
							   "\"vmMiB\":4096,\"version\":\"%s\"}",
							   w.decision.profile->digest, COCO_VERSION);
	judge_again(&w, "", "4096", injected, true);
	assert_text(w.decision.cause, "AlreadyConfidential");
	assert_int_equal(w.decision.nedits, 0);
	assert_int_equal(w.decision.nwarnings, 0);
	judge_again(&w, "", "4096", "forged", true);
	assert_text(w.decision.cause, "Mutated");
	assert_int_equal(w.decision.nedits, 1);
	assert_false(w.decision.protection_changed);
	judge_again(&w, "", "512", injected, true);
	assert_text(edit_at(&w, "/metadata/annotations/" KATA_MEMORY), "replace \"4096\"");
	assert_false(w.decision.protection_changed);
	judge_again(&w, KERNEL ": debug", "4096", injected, true);
	assert_text(w.decision.cause, "ForeignAnnotation");
	judge_again(&w, "", "4096", injected, false);
	assert_text(w.decision.cause, "ForeignAnnotation");
	judge_again(&w, "", "4096", "{\"initdata\":\"sha256:00\"}", false);
	assert_text(w.decision.cause, "ProfileEdited");
	assert_int_equal(w.decision.code, 503);
	assert_non_null(
		strstr(w.decision.message, "the pod has initdata sha256:00, but ConfidentialProfile \"default\" makes "));
	free(injected);
	world_release(&w);
}

// Somebody else's initdata, where the profile only warns of it, is still replaced.
static void test_replaces_initdata(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "admission: {foreignAnnotations: Warn}", "");
	char *request =
		request_of(ANNOTATED(KATA_INITDATA ": H4sI, " KATA_MEMORY ": '99999', " ANNOTATION_INJECTED ": x"), ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	assert_text(edit_at(&w, "/metadata/annotations/" KATA_INITDATA),
				arena_printf(&w.arena, "replace \"%s\"", w.decision.profile->annotation));
	assert_text(edit_at(&w, "/metadata/annotations/" KATA_MEMORY), "replace \"4096\"");
	assert_true(w.decision.protection_changed);
	assert_null(edit_at(&w, "/metadata/annotations"));
	free(request);
	world_release(&w);
}

// ---- A limit to how much is said

static void warn_volumes(struct world *w, size_t n)
{
	CLEANUP_BUF
	struct buf spec = BUF_INIT(65536);
	buf_addz(&spec, ONE ", volumes: [");
	for (size_t i = 0; i < n; i++)
		buf_addf(&spec, "%s{name: v%zu, hostPath: {path: /}}", i > 0 ? ", " : "", i);
	buf_addz(&spec, "]");
	char *request = request_of("", buf_z(&spec));
	world_judge(w, ENDPOINT_MUTATE, request);
	free(request);
}

static void test_warnings_limit(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "", "");
	warn_volumes(&w, WARNINGS_LIMIT - 1);
	assert_int_equal(w.decision.nwarnings, WARNINGS_LIMIT - 1);
	assert_non_null(strstr(w.decision.warnings[WARNINGS_LIMIT - 2], "spec.volumes[14]"));
	warn_volumes(&w, 200);
	assert_int_equal(w.decision.nwarnings, WARNINGS_LIMIT);
	assert_text(w.decision.warnings[WARNINGS_LIMIT - 1], "and 185 more");
	assert_int_equal(w.decision.verdict, VERDICT_CONFIDENTIAL);
	world_release(&w);
}

// ---- What is noted for auditors

static void test_audit(void **state)
{
	(void)state;
	struct world w = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	world_default(&w, "", "", "");
	char *request = request_of("", ONE);
	world_judge(&w, ENDPOINT_MUTATE, request);
	answer_decision(&w.review, &w.decision, true, &w.arena, &out);
	const char *notes = strstr(buf_z(&out), "\"auditAnnotations\"");
	assert_text(
		notes,
		arena_printf(&w.arena,
					 "\"auditAnnotations\":{\"decision\":\"mutated\",\"reason\":\"Mutated\",\"profile\":"
					 "\"coco-pipelines-system/"
					 "default\",\"generation\":\"3\",\"initdata\":\"%s\",\"vm-mib\":\"4096\",\"version\":\"%s\"}}}",
					 w.decision.profile->digest, COCO_VERSION));
	buf_clear(&out);
	free(request);
	request = request_of("", ONE ", hostNetwork: true");
	world_judge(&w, ENDPOINT_MUTATE, request);
	answer_decision(&w.review, &w.decision, true, &w.arena, &out);
	assert_text(strstr(buf_z(&out), "\"auditAnnotations\""),
				"\"auditAnnotations\":{\"decision\":\"denied\",\"reason\":\"HostNetwork\",\"profile\":"
				"\"coco-pipelines-system/default\",\"generation\":\"3\"}}}");
	assert_null(strstr(buf_z(&out), "\"patch\""));
	free(request);
	buf_clear(&out);
	request = xstrdup("{object: {metadata: {name: p}, spec: {containers: [{name: a}]}}}");
	world_judge(&w, ENDPOINT_VALIDATE, request);
	answer_decision(&w.review, &w.decision, false, &w.arena, &out);
	assert_text(strstr(buf_z(&out), "\"auditAnnotations\""),
				"\"auditAnnotations\":{\"decision\":\"allowed\",\"reason\":\"NotSelected\"}}}");
	free(request);
	world_release(&w);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, decide_cases, test_decision);
	ADD_TABLE(&t, broken_cases, test_broken_profile);
	tests_add(&t, "the patch, whole", test_edits, NULL);
	tests_add(&t, "the patch in base64", test_carried_patch, NULL);
	tests_add(&t, "a patch that is too large", test_patch_limit, NULL);
	tests_add(&t, "a second call changes nothing", test_second_call, NULL);
	tests_add(&t, "foreign initdata is replaced, not added to", test_replaces_initdata, NULL);
	tests_add(&t, "more warnings than are said", test_warnings_limit, NULL);
	tests_add(&t, "audit annotations", test_audit, NULL);
	return tests_run("decide", &t);
}
