// /validate-pods: what may be stored, and what may be changed afterwards.
#include "common/version.h"
#include "world.h"

#define YES LABEL_CONFIDENTIAL ": 'true'"
#define PATH_INITDATA "/metadata/annotations/" KATA_INITDATA

// The profile is Fixed at 4Gi. @A stands for its annotation, @J for what `injected` should be.
static char *filled(struct world *w, const char *text)
{
	const struct catalog_profile *e = catalog_profile(w->catalog, STR(DEFAULT_SYSTEM_NAMESPACE), STR(DEFAULT_PROFILE));
	char *injected = xasprintf("{\"profile\":\"coco-pipelines-system/default\",\"generation\":3,\"initdata\":\"%s\","
							   "\"vmMiB\":4096,\"version\":\"%s\"}",
							   e->profile->digest, COCO_VERSION);
	struct buf out = BUF_INIT(65536);
	for (const char *p = text; *p != '\0'; p++)
		if (p[0] == '@' && p[1] == 'A') {
			buf_addz(&out, e->profile->annotation);
			p++;
		} else if (p[0] == '@' && p[1] == 'J') {
			buf_addz(&out, injected);
			p++;
		} else {
			buf_addc(&out, *p);
		}
	free(injected);
	return buf_take(&out);
}

#define SIZED(bytes) "resources: {requests: {memory: " bytes "}, limits: {memory: " bytes "}}"
#define SPEC(class, bytes) "spec: {runtimeClassName: " class ", containers: [{name: step-a, " SIZED(bytes) "}]}"
#define KATA(initdata, memory) \
	"annotations: {" KATA_INITDATA ": '" initdata "', " KATA_MEMORY ": '" memory "', " ANNOTATION_INJECTED ": '@J'}"

struct create_case {
	const char *name;
	const char *object;
	const char *cause;
	const char *message;
	const char *warning;
};

#define NOT_CONFIDENTIAL(path)                                                                                         \
	"the pod is to be confidential, but " path                                                                         \
	" is not as profile \"default\" wants it: coco-webhook did not mutate it, "                                        \
	"or something changed it afterwards; see that the MutatingWebhookConfiguration of coco-webhook is in place, with " \
	"reinvocationPolicy IfNeeded"
#define RESIZED(path) path " was changed after coco-webhook sized the pod; its VM may not fit what it runs"

static struct create_case create_cases[] = {
	{"create: not selected", "{metadata: {name: a}, spec: {containers: [{name: a}]}}", "NotSelected", NULL, NULL},
	{"create: as we made it", "{metadata: {labels: {" YES "}, " KATA("@A", "4096") "}, " SPEC("kata-cc", "4Gi") "}",
	 "AlreadyConfidential", NULL, NULL},
	{"create: never mutated", "{metadata: {labels: {" YES "}}, spec: {containers: [{name: a}]}}", "NotConfidential",
	 NOT_CONFIDENTIAL(PATH_INITDATA), NULL},
	{"create: runtime class taken away",
	 "{metadata: {labels: {" YES "}, " KATA("@A", "4096") "}, spec: {containers: [{name: a, " SIZED("4Gi") "}]}}",
	 "NotConfidential", NOT_CONFIDENTIAL("/spec/runtimeClassName"), NULL},
	{"create: another runtime class",
	 "{metadata: {labels: {" YES "}, " KATA("@A", "4096") "}, " SPEC("runc", "4Gi") "}", "RuntimeClassConflict",
	 "spec.runtimeClassName is \"runc\", which is not confidential for profile \"default\"; remove it from the "
	 "podTemplate "
	 "(the profile sets \"kata-cc\"), or add it to spec.allowedRuntimeClasses of the profile",
	 NULL},
	{"create: initdata taken away",
	 "{metadata: {labels: {" YES "}, annotations: {" ANNOTATION_INJECTED ": '@J'}}, " SPEC("kata-cc", "4Gi") "}",
	 "NotConfidential", NOT_CONFIDENTIAL(PATH_INITDATA), NULL},
	{"create: initdata exchanged",
	 "{metadata: {labels: {" YES "}, " KATA("H4sI", "4096") "}, " SPEC("kata-cc", "4Gi") "}", "ForeignAnnotation",
	 "annotation " KATA_INITDATA
	 " is set on the pod, but the profile decides about it; remove it (Tekton copies it from "
	 "the TaskRun, PipelineRun, Task or Pipeline)",
	 NULL},
	{"create: size annotation changed by somebody",
	 "{metadata: {labels: {" YES "}, " KATA("@A", "512") "}, " SPEC("kata-cc", "4Gi") "}", "Resized", NULL,
	 RESIZED("/metadata/annotations/" KATA_MEMORY)},
	{"create: a request changed by somebody",
	 "{metadata: {labels: {" YES "}, " KATA("@A", "4096") "}, " SPEC("kata-cc", "1Gi") "}", "Resized", NULL,
	 RESIZED("/spec/containers/0/resources/requests/memory")},
	{"create: hostNetwork added by somebody",
	 "{metadata: {labels: {" YES "}, " KATA("@A", "4096") "}, spec: {hostNetwork: true, runtimeClassName: kata-cc, "
														  "containers: [{name: a, " SIZED("4Gi") "}]}}",
	 "HostNetwork",
	 "spec.hostNetwork is true; a confidential guest has a network of its own and does not start with the host's: "
	 "remove "
	 "hostNetwork",
	 NULL},
	{"create: profile annotation of nobody",
	 "{metadata: {labels: {" YES "}, annotations: {" ANNOTATION_PROFILE ": x}}, " SPEC("kata-cc", "4Gi") "}",
	 "ProfileMissing",
	 "there is no ConfidentialProfile \"x\" (annotation " ANNOTATION_PROFILE
	 " of the pod) in namespace \"team-a\" or \"coco-pipelines-system\"; create it, or name another with "
	 "annotation " ANNOTATION_PROFILE,
	 NULL},
};

#define FIXED "memory: {mode: Fixed, vm: 4Gi}"

static void test_create(void **state)
{
	const struct create_case *c = *state;
	struct world w = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	world_default(&w, "", FIXED, "");
	char *object = filled(&w, c->object);
	char *request = xasprintf("{object: %s}", object);
	world_judge(&w, ENDPOINT_VALIDATE, request);
	assert_text(w.decision.message, c->message);
	assert_text(w.decision.cause, c->cause);
	assert_int_equal(w.decision.nwarnings, c->warning != NULL);
	assert_text(w.decision.nwarnings > 0 ? w.decision.warnings[0] : NULL, c->warning);
	assert_int_equal(w.decision.nedits > 0 && c->message == NULL, 0);
	answer_decision(&w.review, &w.decision, false, &w.arena, &out);
	assert_null(strstr(buf_z(&out), "patch"));
	assert_int_equal(strstr(buf_z(&out), "\"allowed\":true") != NULL, c->message == NULL);
	free(object);
	free(request);
	world_release(&w);
}

// ---- Updates

struct update_case {
	const char *name;
	const char *ns;
	const char *old; // metadata
	const char *now;
	const char *guarded; // the key that may not change; NULL: it passes
};

#define IN(labels, annotations) "labels: {" labels "}, annotations: {" annotations "}"
#define M(v) KATA_MEMORY ": '" v "'"
#define J(v) ANNOTATION_INJECTED ": '" v "'"

static struct update_case update_cases[] = {
	{"update: nothing changes", "team-a", IN(YES, M("1")), IN(YES, M("1")), NULL},
	{"update: tekton.dev/ready", "team-a", IN(YES, M("1")), IN(YES, M("1") ", tekton.dev/ready: READY"), NULL},
	{"update: tekton.dev/cancel, first annotation of all", "team-a", "labels: {" YES "}",
	 IN(YES, "tekton.dev/cancel: CANCEL"), NULL},
	{"update: our other annotations", "team-a", IN(YES, ANNOTATION_MEMORY ": 1Gi"), IN(YES, ANNOTATION_MEMORY ": 2Gi"),
	 NULL},
	{"update: order of annotations", "team-a", IN(YES, M("1") ", " J("x")), IN(YES, J("x") ", " M("1")), NULL},
	{"update: changed", "team-a", IN(YES, M("1")), IN(YES, M("2")), KATA_MEMORY},
	{"update: added", "team-a", IN(YES, M("1")), IN(YES, M("1") ", io.katacontainers.x: ''"), "io.katacontainers.x"},
	{"update: added, first annotation of all", "team-a", "labels: {" YES "}", IN(YES, M("1")), KATA_MEMORY},
	{"update: removed", "team-a", IN(YES, M("1")), IN(YES, ""), KATA_MEMORY},
	{"update: removed, with all annotations", "team-a", IN(YES, M("1")), "labels: {" YES "}", KATA_MEMORY},
	{"update: emptied", "team-a", IN(YES, M("1")), IN(YES, M("")), KATA_MEMORY},
	{"update: injected changed", "team-a", IN(YES, J("a")), IN(YES, J("b")), ANNOTATION_INJECTED},
	{"update: injected removed", "team-a", IN(YES, J("a")), IN(YES, ""), ANNOTATION_INJECTED},
	{"update: label removed at once", "team-a", IN(YES, M("1")), IN("", M("2")), KATA_MEMORY},
	{"update: label set to false at once", "team-a", IN(YES, M("1")), IN(LABEL_CONFIDENTIAL ": 'false'", M("2")),
	 KATA_MEMORY},
	{"update: label added at once", "team-a", IN("", M("1")), IN(YES, M("2")), KATA_MEMORY},
	{"update: label alone removed", "team-a", IN(YES, M("1")), IN("", M("1")), NULL},
	{"update: a pod that isn't selected", "team-a", IN("", M("1")), IN("", M("2")), NULL},
	{"update: label false", "team-a", IN(LABEL_CONFIDENTIAL ": 'false'", M("1")),
	 IN(LABEL_CONFIDENTIAL ": 'false'", M("2")), NULL},
	{"update: enabled namespace", "team-on", IN("tekton.dev/taskRun: b", M("1")), IN("tekton.dev/taskRun: b", M("2")),
	 KATA_MEMORY},
	{"update: enabled namespace, taskRun label removed at once", "team-on", IN("tekton.dev/taskRun: b", M("1")),
	 IN("", M("2")), KATA_MEMORY},
	{"update: enabled namespace, another pod", "team-on", IN("", M("1")), IN("", M("2")), NULL},
};

static void test_update(void **state)
{
	const struct update_case *c = *state;
	struct world w = {0};
	world_default(&w, "", "", NAMESPACE("team-on", "labels: {" LABEL_CONFIDENTIAL ": enabled}"));
	char *request =
		xasprintf("{operation: UPDATE, namespace: %s, object: {metadata: {%s}, spec: {containers: [{name: a, "
				  "image: nop}]}}, oldObject: {metadata: {%s}, spec: {containers: [{name: a, image: b}]}}}",
				  c->ns, c->now, c->old);
	world_judge(&w, ENDPOINT_VALIDATE, request);
	const char *message =
		c->guarded == NULL
			? NULL
			: arena_printf(&w.arena,
						   "annotation %s of a confidential pod can't be changed after its creation; create "
						   "the pod anew with the profile that you want",
						   c->guarded);
	assert_text(w.decision.message, message);
	assert_text(w.decision.cause, c->guarded != NULL ? "AnnotationGuarded" : "UpdateAllowed");
	// The mutating half has no say in updates.
	decide_review(ENDPOINT_MUTATE, w.catalog, &w.review, &w.arena, NULL, &w.decision);
	assert_text(w.decision.cause, "NotOurs");
	assert_int_equal(w.decision.nedits, 0);
	free(request);
	world_release(&w);
}

struct late_case {
	const char *name;
	const char *ns;
	const char *old, *now; // metadata
	const char *runtime_class;
	bool refused;
};

static struct late_case late_cases[] = {
	{"late: labelled without protection", "team-a", IN("", ""), IN(YES, ""), "", true},
	{"late: among other labels", "team-a", IN("app: a", ""), IN("app: a, " YES, "tekton.dev/ready: READY"), "", true},
	{"late: in place of false", "team-a", IN(LABEL_CONFIDENTIAL ": 'false'", ""), IN(YES, ""), "", true},
	{"late: misspelled", "team-a", IN("", ""), IN(LABEL_CONFIDENTIAL ": 'yes'", ""), "", true},
	{"late: with a runtime class alone", "team-a", IN("", ""), IN(YES, ""), "kata-cc", true},
	{"late: with initdata alone", "team-a", IN("", KATA_INITDATA ": x"), IN(YES, KATA_INITDATA ": x"), "", true},
	{"late: a TaskRun's label in an enabled namespace", "team-on", IN("", ""), IN("tekton.dev/taskRun: b", ""), "",
	 true},
	{"late: a TaskRun's label in another one", "team-a", IN("", ""), IN("tekton.dev/taskRun: b", ""), "", false},
	{"late: a confidential pod gets its label back", "team-a", IN("", KATA_INITDATA ": x"),
	 IN(YES, KATA_INITDATA ": x"), "kata-cc", false},
	{"late: labelled from the beginning", "team-a", IN(YES, ""), IN(YES, "tekton.dev/ready: READY"), "", false},
	{"late: selected from the beginning, labelled now", "team-on", IN("tekton.dev/taskRun: b", ""),
	 IN("tekton.dev/taskRun: b, " YES, ""), "", false},
	{"late: label false", "team-a", IN("", ""), IN(LABEL_CONFIDENTIAL ": 'false'", ""), "", false},
	{"late: another label", "team-a", IN("", ""), IN("app: a", ""), "", false},
};

static void test_late(void **state)
{
	const struct late_case *c = *state;
	struct world w = {0};
	world_default(&w, "", "", NAMESPACE("team-on", "labels: {" LABEL_CONFIDENTIAL ": enabled}"));
	char *spec =
		xasprintf("spec: {%s%s%s containers: [{name: a, image: b}]}", c->runtime_class[0] ? "runtimeClassName: " : "",
				  c->runtime_class, c->runtime_class[0] ? "," : "");
	char *request =
		xasprintf("{operation: UPDATE, namespace: %s, object: {metadata: {%s}, %s}, oldObject: {metadata: {%s}, %s}}",
				  c->ns, c->now, spec, c->old, spec);
	world_judge(&w, ENDPOINT_VALIDATE, request);
	assert_text(w.decision.cause, c->refused ? "LabelledLate" : "UpdateAllowed");
	assert_text(w.decision.message,
				c->refused
					? "the pod was created without protection, and a label added now would have it look confidential; "
					  "create it anew with the label " LABEL_CONFIDENTIAL "=true"
					: NULL);
	free(spec);
	free(request);
	world_release(&w);
}

// A profile that is gone or broken must not hang updates of pods that run.
static void test_update_without_profile(void **state)
{
	(void)state;
	struct world w = {0};
	world_load(&w, NAMESPACE("a", "labels: {}"));
	world_judge(&w, ENDPOINT_VALIDATE,
				"{operation: UPDATE, object: {metadata: {labels: {" YES
				"}, annotations: {tekton.dev/ready: READY}}, spec: {}},"
				" oldObject: {metadata: {labels: {" YES "}}, spec: {}}}");
	assert_int_equal(w.decision.verdict, VERDICT_LEFT_ALONE);
	world_release(&w);
}

// ---- Ephemeral containers

struct ephemeral_case {
	const char *name;
	const char *policy; // members of initdata in the profile
	const char *labels;
	const char *annotation;     // "@A": the profile's; "": none
	const char *before, *after; // the lists
	bool allowed;
};

#define CUSTOM(key) "agentPolicy: {configMapKeyRef: {name: policies, key: " key "}}"
#define NOEXEC "agentPolicy: {preset: NoExec}"
#define ALLOW "agentPolicy: {preset: AllowAll}"
#define DBG "{name: debugger-1, image: busybox}"

static struct ephemeral_case ephemeral_cases[] = {
	{"ephemeral: NoExec", NOEXEC, YES, "@A", "", DBG, false},
	{"ephemeral: Strict", "agentPolicy: {preset: Strict}", YES, "@A", "", DBG, false},
	{"ephemeral: AllowAll", ALLOW, YES, "@A", "", DBG, true},
	{"ephemeral: no initdata on the pod", ALLOW, YES, "", "", DBG, false},
	{"ephemeral: initdata that can't be read", ALLOW, YES, "H4sIAAAA", "", DBG, false},
	{"ephemeral: none added", NOEXEC, YES, "@A", DBG, DBG, true},
	{"ephemeral: one more", NOEXEC, YES, "@A", "{name: debugger-0}", "{name: debugger-0}, " DBG, false},
	{"ephemeral: not selected", NOEXEC, "app: web", "", "", DBG, true},
	{"ephemeral: custom policy that allows", CUSTOM("allows"), YES, "@A", "", DBG, true},
	{"ephemeral: custom policy that refuses", CUSTOM("refuses"), YES, "@A", "", DBG, false},
	{"ephemeral: custom policy that doesn't say", CUSTOM("silent"), YES, "@A", "", DBG, false},
	{"ephemeral: custom policy that allows what fails", CUSTOM("lax"), YES, "@A", "", DBG, true},
	{"ephemeral: custom policy with it in a comment", CUSTOM("comment"), YES, "@A", "", DBG, false},
	{"ephemeral: custom policy that allows some", CUSTOM("some"), YES, "@A", "", DBG, false},
};

static const char policies[] =
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: policies, namespace: " DEFAULT_SYSTEM_NAMESPACE "}\ndata:\n"
	"  allows: \"package agent_policy\\ndefault  ExecProcessRequest=true\\n\"\n"
	"  refuses: \"package agent_policy\\ndefault ExecProcessRequest := false\\n\"\n"
	"  silent: \"package agent_policy\\ndefault CreateContainerRequest := true\\n\"\n"
	"  lax: \"package agent_policy\\ndefault ExecProcessRequest := false\\ndefault AllowRequestsFailingPolicy := "
	"true\\n\"\n"
	"  comment: \"package agent_policy\\n# default ExecProcessRequest := true\\ndefault ExecProcessRequest := "
	"false\\n\"\n"
	"  some: \"package agent_policy\\ndefault ExecProcessRequest := false\\nExecProcessRequest { input.x == 1 }\\n\"\n";

static void test_ephemeral(void **state)
{
	const struct ephemeral_case *c = *state;
	struct world w = {0};
	world_default(&w, c->policy, "", policies);
	char *annotation = filled(&w, c->annotation);
	char *metadata = annotation[0] != '\0'
						 ? xasprintf("labels: {%s}, annotations: {" KATA_INITDATA ": '%s'}", c->labels, annotation)
						 : xasprintf("labels: {%s}", c->labels);
	char *request =
		xasprintf("{operation: UPDATE, subResource: ephemeralcontainers, object: {metadata: {%s}, spec: "
				  "{containers: [{name: a}], ephemeralContainers: [%s]}}, oldObject: {metadata: {%s}, spec: "
				  "{containers: [{name: a}], ephemeralContainers: [%s]}}}",
				  metadata, c->after, metadata, c->before);
	world_judge(&w, ENDPOINT_VALIDATE, request);
	assert_text(w.decision.message,
				c->allowed
					? NULL
					: "ephemeral container \"debugger-1\" would run inside a confidential guest whose agent policy "
					  "refuses exec; to debug, run the TaskRun again with a profile whose agentPolicy.preset is "
					  "AllowAll");
	assert_text(w.decision.cause, c->allowed ? "UpdateAllowed" : "EphemeralContainer");
	free(annotation);
	free(metadata);
	free(request);
	world_release(&w);
}

// What counts is the policy that the running guest has, not the profile's of today.
static void test_ephemeral_old_policy(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, NOEXEC, "", "");
	char *old = filled(&w, "@A");
	world_default(&w, ALLOW, "", "");
	char *now = filled(&w, "@A");
	// A patch of the annotation in the same update doesn't help either.
	char *request = xasprintf("{operation: UPDATE, subResource: ephemeralcontainers, object: {metadata: {labels: {" YES
							  "}, annotations: {" KATA_INITDATA ": '%s'}}, spec: {ephemeralContainers: [" DBG
							  "]}}, oldObject: {metadata: {labels: {" YES "}, annotations: {" KATA_INITDATA ": '%s'}}, "
							  "spec: {}}}",
							  now, old);
	world_judge(&w, ENDPOINT_VALIDATE, request);
	assert_text(w.decision.cause, "EphemeralContainer");
	free(old);
	free(now);
	free(request);
	world_release(&w);
}

// ---- The rest

struct other_case {
	const char *name;
	const char *request;
};

#define NEVER "metadata: {labels: {" YES "}}, spec: {containers: [{name: a}]}"

static struct other_case other_cases[] = {
	{"other: DELETE", "{operation: DELETE, object: null, oldObject: {" NEVER "}}"},
	{"other: DELETE without an old object", "{operation: DELETE}"},
	{"other: CONNECT exec", "{operation: CONNECT, subResource: exec, object: {kind: PodExecOptions}}"},
	{"other: CREATE binding", "{operation: CREATE, subResource: binding, kind: {kind: Binding}, object: {}}"},
	{"other: CREATE eviction", "{operation: CREATE, subResource: eviction, kind: {kind: Eviction}, object: {}}"},
	{"other: UPDATE status", "{operation: UPDATE, subResource: status, object: {" NEVER "}, oldObject: {" NEVER "}}"},
	{"other: UPDATE resize", "{operation: UPDATE, subResource: resize, object: {" NEVER "}, oldObject: {" NEVER "}}"},
};

static void test_other(void **state)
{
	const struct other_case *c = *state;
	struct world w = {0};
	world_default(&w, "", "", "");
	world_judge(&w, ENDPOINT_VALIDATE, c->request);
	assert_text(w.decision.cause, "NotOurs");
	assert_int_equal(w.decision.verdict, VERDICT_LEFT_ALONE);
	world_judge(&w, ENDPOINT_MUTATE, c->request);
	assert_text(w.decision.cause, "NotOurs");
	world_release(&w);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, create_cases, test_create);
	ADD_TABLE(&t, update_cases, test_update);
	ADD_TABLE(&t, late_cases, test_late);
	tests_add(&t, "update: no profile is needed", test_update_without_profile, NULL);
	ADD_TABLE(&t, ephemeral_cases, test_ephemeral);
	tests_add(&t, "ephemeral: the policy of the running guest", test_ephemeral_old_policy, NULL);
	ADD_TABLE(&t, other_cases, test_other);
	return tests_run("validate", &t);
}
