// Which pods are to be confidential, and by which profile.
#include "world.h"

#define LABELLED(value) "labels: {" LABEL_CONFIDENTIAL ": '" value "'}"
#define TASKRUN "tekton.dev/taskRun: build"
#define OWNER(version, kind, name, controller) \
	"ownerReferences: [{apiVersion: " version ", kind: " kind ", name: " name ", controller: " controller "}]"
#define STS OWNER("apps/v1", "StatefulSet", "affinity-assistant-0123456789", "true")

static const char namespaces[] = NAMESPACE("team-on", "labels: {" LABEL_CONFIDENTIAL ": enabled}") "---\n" NAMESPACE(
	"team-lax",
	"labels: {" LABEL_CONFIDENTIAL ": enabled, " LABEL_OPT_OUT
	": allowed}") "---\n" NAMESPACE("team-lax2",
									"labels: {" LABEL_CONFIDENTIAL ": enabled, " LABEL_OPT_OUT
									": 'true'}") "---\n" NAMESPACE("team-true",
																   "labels: {" LABEL_CONFIDENTIAL
																   ": 'true'}") "---\n" NAMESPACE("team-annotated",
																								  "annotations: "
																								  "{" LABEL_CONFIDENTIAL
																								  ": enabled}");

struct select_case {
	const char *name;
	const char *metadata; // of the pod
	const char *ns;
	const char *user;
	enum verdict verdict;
	const char *cause;
	const char *message;
};

#define REFUSED(ns)                                                                       \
	"label " LABEL_CONFIDENTIAL " is \"false\", but every TaskRun pod of namespace \"" ns \
	"\" is confidential; remove the label, or have the namespace labelled " LABEL_OPT_OUT "=allowed"

static struct select_case select_cases[] = {
	{"no label", "name: a", "team-a", TEKTON, VERDICT_LEFT_ALONE, "NotSelected", NULL},
	{"a TaskRun's pod without label", "labels: {" TASKRUN "}", "team-a", TEKTON, VERDICT_LEFT_ALONE, "NotSelected",
	 NULL},
	{"no metadata but a name, in an enabled namespace", "name: a", "team-on", "admin", VERDICT_LEFT_ALONE,
	 "NotSelected", NULL},
	{"label true on a TaskRun's pod", "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'true'}", "team-a", TEKTON,
	 VERDICT_CONFIDENTIAL, "", NULL},
	{"label true on anyone's pod", LABELLED("true"), "team-a", "admin", VERDICT_CONFIDENTIAL, "", NULL},
	{"label true in a namespace nobody knows", LABELLED("true"), "elsewhere", "admin", VERDICT_CONFIDENTIAL, "", NULL},
	{"the name as an annotation is no label", "annotations: {" LABEL_CONFIDENTIAL ": 'true'}", "team-a", "admin",
	 VERDICT_LEFT_ALONE, "NotSelected", NULL},
	{"label false", LABELLED("false"), "team-a", "admin", VERDICT_LEFT_ALONE, "OptedOut", NULL},
	{"label True", LABELLED("True"), "team-a", "admin", VERDICT_DENIED, "LabelInvalid",
	 "label " LABEL_CONFIDENTIAL " is \"True\"; it must be \"true\" or \"false\""},
	{"label enabled, the namespace's word", LABELLED("enabled"), "team-a", "admin", VERDICT_DENIED, "LabelInvalid",
	 "label " LABEL_CONFIDENTIAL " is \"enabled\"; it must be \"true\" or \"false\""},
	{"empty label", LABELLED(""), "team-a", "admin", VERDICT_DENIED, "LabelInvalid",
	 "label " LABEL_CONFIDENTIAL " is \"\"; it must be \"true\" or \"false\""},
	{"a longer label that begins with true", LABELLED("truely"), "team-on", "admin", VERDICT_DENIED, "LabelInvalid",
	 "label " LABEL_CONFIDENTIAL " is \"truely\"; it must be \"true\" or \"false\""},

	{"enabled namespace: a TaskRun's pod", "labels: {" TASKRUN "}", "team-on", TEKTON, VERDICT_CONFIDENTIAL, "", NULL},
	{"enabled namespace: a TaskRun's pod that anyone made", "labels: {" TASKRUN "}", "team-on", "admin",
	 VERDICT_CONFIDENTIAL, "", NULL},
	{"enabled namespace: other pods", "labels: {app: web}", "team-on", "admin", VERDICT_LEFT_ALONE, "NotSelected",
	 NULL},
	{"enabled namespace: other pods with the label", LABELLED("true"), "team-on", "admin", VERDICT_CONFIDENTIAL, "",
	 NULL},
	{"enabled namespace: opt-out is refused", "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'false'}", "team-on",
	 TEKTON, VERDICT_DENIED, "OptOutRefused", REFUSED("team-on")},
	{"enabled namespace: opt-out allowed", "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'false'}", "team-lax", TEKTON,
	 VERDICT_LEFT_ALONE, "OptedOut", NULL},
	{"enabled namespace: opt-out not quite allowed", "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'false'}",
	 "team-lax2", TEKTON, VERDICT_DENIED, "OptOutRefused", REFUSED("team-lax2")},
	{"enabled namespace: false on a pod that isn't in anyway", LABELLED("false"), "team-on", "admin",
	 VERDICT_LEFT_ALONE, "OptedOut", NULL},
	{"enabled namespace: the pod's own opt-out label counts for nothing",
	 "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'false', " LABEL_OPT_OUT ": allowed}", "team-on", TEKTON,
	 VERDICT_DENIED, "OptOutRefused", REFUSED("team-on")},
	{"namespace labelled true, which is not enabled", "labels: {" TASKRUN "}", "team-true", TEKTON, VERDICT_LEFT_ALONE,
	 "NotSelected", NULL},
	{"namespace annotated, which is not labelled", "labels: {" TASKRUN "}", "team-annotated", TEKTON,
	 VERDICT_LEFT_ALONE, "NotSelected", NULL},

	{"affinity assistant", LABELLED("true") ", " STS, "team-a", USER_STATEFULSET_CONTROLLER, VERDICT_LEFT_ALONE,
	 "AffinityAssistant", NULL},
	{"affinity assistant, one controller manager for all", LABELLED("true") ", " STS, "team-a", USER_CONTROLLER_MANAGER,
	 VERDICT_LEFT_ALONE, "AffinityAssistant", NULL},
	{"affinity assistant in an enabled namespace, with a forged taskRun label", "labels: {" TASKRUN "}, " STS,
	 "team-on", USER_STATEFULSET_CONTROLLER, VERDICT_LEFT_ALONE, "AffinityAssistant", NULL},
	{"affinity assistant with label false in an enabled namespace",
	 "labels: {" TASKRUN ", " LABEL_CONFIDENTIAL ": 'false'}, " STS, "team-on", USER_STATEFULSET_CONTROLLER,
	 VERDICT_LEFT_ALONE, "AffinityAssistant", NULL},
	{"affinity assistant with a senseless label", LABELLED("maybe") ", " STS, "team-a", USER_STATEFULSET_CONTROLLER,
	 VERDICT_LEFT_ALONE, "AffinityAssistant", NULL},
	{"forged: the component label alone",
	 "labels: {app.kubernetes.io/component: affinity-assistant, " LABEL_CONFIDENTIAL ": 'true'}", "team-a", "admin",
	 VERDICT_CONFIDENTIAL, "", NULL},
	{"forged: the owner, by a user", LABELLED("true") ", " STS, "team-a", "admin", VERDICT_CONFIDENTIAL, "", NULL},
	{"forged: the owner, by Tekton's own account", LABELLED("true") ", " STS, "team-a", TEKTON, VERDICT_CONFIDENTIAL,
	 "", NULL},
	{"forged: the owner, by a controller of a like name", LABELLED("true") ", " STS, "team-a",
	 "system:serviceaccount:team-a:statefulset-controller", VERDICT_CONFIDENTIAL, "", NULL},
	{"another StatefulSet's pod with the label", LABELLED("true") ", " OWNER("apps/v1", "StatefulSet", "web", "true"),
	 "team-a", USER_STATEFULSET_CONTROLLER, VERDICT_CONFIDENTIAL, "", NULL},
	{"another StatefulSet's pod, with the assistant's label too",
	 "labels: {app.kubernetes.io/component: affinity-assistant, " LABEL_CONFIDENTIAL
	 ": 'true'}, " OWNER("apps/v1", "StatefulSet", "web", "true"),
	 "team-a", USER_STATEFULSET_CONTROLLER, VERDICT_CONFIDENTIAL, "", NULL},
	{"an owner that doesn't control it",
	 LABELLED("true") ", " OWNER("apps/v1", "StatefulSet", "affinity-assistant-0", "false"), "team-a",
	 USER_STATEFULSET_CONTROLLER, VERDICT_CONFIDENTIAL, "", NULL},
	{"an owner of another kind", LABELLED("true") ", " OWNER("apps/v1", "ReplicaSet", "affinity-assistant-0", "true"),
	 "team-a", USER_CONTROLLER_MANAGER, VERDICT_CONFIDENTIAL, "", NULL},
	{"an owner of another group",
	 LABELLED("true") ", " OWNER("example.com/v1", "StatefulSet", "affinity-assistant-0", "true"), "team-a",
	 USER_STATEFULSET_CONTROLLER, VERDICT_CONFIDENTIAL, "", NULL},
	{"no owner at all", LABELLED("true"), "team-a", USER_STATEFULSET_CONTROLLER, VERDICT_CONFIDENTIAL, "", NULL},
};

static void test_selection(void **state)
{
	const struct select_case *c = *state;
	struct world w = {0};
	world_default(&w, "", "", namespaces);
	char *request = xasprintf("{object: {metadata: {%s}, spec: {containers: [{name: step-a}]}}, namespace: %s, "
							  "userInfo: {username: '%s'}}",
							  c->metadata, c->ns, c->user);
	world_review(&w, request);
	decide_selection(w.catalog, &w.review, &w.review.object, &w.arena, NULL, &w.decision);
	assert_text(w.decision.cause, c->cause[0] != '\0' ? c->cause : w.decision.cause);
	assert_int_equal(w.decision.verdict, c->verdict);
	assert_text(w.decision.message, c->message);
	assert_int_equal(w.decision.code, c->verdict == VERDICT_DENIED ? 403 : 0);
	// What the rules say holds for the whole way, too.
	world_judge(&w, ENDPOINT_MUTATE, request);
	assert_int_equal(w.decision.verdict, c->verdict);
	assert_int_equal(w.decision.nedits > 0, c->verdict == VERDICT_CONFIDENTIAL);
	free(request);
	world_release(&w);
}

// ---- Which profile

static const char profiles[] =
	PROFILE("team-a", "default", KBS) "---\n" PROFILE("team-a", "big", KBS) "---\n" PROFILE("coco-pipelines-system", "big", KBS) "---\n" PROFILE(
		"coco-pipelines-system", "gpu",
		KBS) "---\n" PROFILE("team-c", "own",
							 KBS) "---\n" NAMESPACE("team-c",
													"annotations: {" ANNOTATION_DEFAULT_PROFILE
													": own}") "---\n" NAMESPACE("team-d",
																				"annotations: "
																				"{" ANNOTATION_DEFAULT_PROFILE
																				": gpu}") "---\n" NAMESPACE("team-e",
																											"annotation"
																											"s: "
																											"{" ANNOTATION_DEFAULT_PROFILE
																											": gone}") "---\n" NAMESPACE("team-f",
																																		 "labels: {" ANNOTATION_DEFAULT_PROFILE
																																		 ": gpu}");

struct profile_case {
	const char *name;
	const char *annotation; // the pod's, NULL for none
	const char *ns;
	const char *want; // namespace/name; NULL: denied
	const char *message;
};

#define MISSING(name, from, ns)                                                  \
	"there is no ConfidentialProfile \"" name "\" (" from ") in namespace \"" ns \
	"\" or \"coco-pipelines-system\"; create it, or name another with annotation " ANNOTATION_PROFILE

static struct profile_case profile_cases[] = {
	{"named, in the pod's namespace", "big", "team-a", "team-a/big", NULL},
	{"named, only in the system namespace", "gpu", "team-a", "coco-pipelines-system/gpu", NULL},
	{"named, and the system namespace's where the pod's has none", "big", "team-b", "coco-pipelines-system/big", NULL},
	{"named, in a third namespace", "own", "team-a", NULL,
	 MISSING("own", "annotation " ANNOTATION_PROFILE " of the pod", "team-a")},
	{"named, and empty", "", "team-a", NULL, MISSING("", "annotation " ANNOTATION_PROFILE " of the pod", "team-a")},
	{"named, with another namespace before it", "team-c/own", "team-a", NULL,
	 MISSING("team-c/own", "annotation " ANNOTATION_PROFILE " of the pod", "team-a")},
	{"the pod's annotation wins over the namespace's", "default", "team-c", "coco-pipelines-system/default", NULL},
	{"the namespace's default, in the namespace", NULL, "team-c", "team-c/own", NULL},
	{"the namespace's default, in the system namespace", NULL, "team-d", "coco-pipelines-system/gpu", NULL},
	{"the namespace's default is gone", NULL, "team-e", NULL,
	 MISSING("gone", "annotation " ANNOTATION_DEFAULT_PROFILE " of the namespace", "team-e")},
	{"a label names no profile", NULL, "team-f", "coco-pipelines-system/default", NULL},
	{"default of the pod's namespace", NULL, "team-a", "team-a/default", NULL},
	{"default of the system namespace", NULL, "team-b", "coco-pipelines-system/default", NULL},
};

static void test_profile(void **state)
{
	const struct profile_case *c = *state;
	struct world w = {0};
	world_default(&w, "", "", profiles);
	char *own =
		c->annotation != NULL ? xasprintf(", annotations: {" ANNOTATION_PROFILE ": '%s'}", c->annotation) : xstrdup("");
	char *request = xasprintf("{object: {metadata: {" LABELLED("true") "%s}, spec: {containers: [{name: a}]}}, "
																	   "namespace: %s}",
							  own, c->ns);
	world_judge(&w, ENDPOINT_MUTATE, request);
	if (c->want == NULL) {
		assert_text(w.decision.cause, "ProfileMissing");
		assert_int_equal(w.decision.verdict, VERDICT_DENIED);
		assert_int_equal(w.decision.code, 403);
	} else {
		assert_int_equal(w.decision.verdict, VERDICT_CONFIDENTIAL);
		assert_text(arena_printf(&w.arena, "%s/%s", w.decision.profile->ns, w.decision.profile->name), c->want);
	}
	assert_text(w.decision.message, c->message);
	free(own);
	free(request);
	world_release(&w);
}

static void test_no_default_anywhere(void **state)
{
	(void)state;
	struct world w = {0};
	world_load(&w, NAMESPACE("team-a", "labels: {}"));
	world_judge(&w, ENDPOINT_MUTATE, "{object: {metadata: {" LABELLED("true") "}, spec: {containers: [{name: a}]}}}");
	assert_int_equal(w.decision.verdict, VERDICT_DENIED);
	assert_text(w.decision.message, MISSING("default", "no annotation names one, so the default", "team-a"));
	world_release(&w);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, select_cases, test_selection);
	ADD_TABLE(&t, profile_cases, test_profile);
	tests_add(&t, "no default profile anywhere", test_no_default_anywhere, NULL);
	return tests_run("select", &t);
}
