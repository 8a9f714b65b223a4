#include <regex.h>
#include <stdio.h>

#include "common/json_text.h"
#include "controller/trustee_status.h"
#include "crd.h"
#include "trustee_status_cases.h"

// ---- What a row says

struct trustee {
	struct trustee_status_input in;
	struct remarks remarks;
	json_t *object, *kbs, *deployment, *pods;
};

static bool flag(const struct status_case *c, char letter)
{
	return strchr(c->flags, letter) != NULL;
}

static json_t *object_of(const char *kind, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}}", "apiVersion", NAME_TRUSTEE_GROUP_VERSION, "kind", kind,
					 "metadata", "name", name, "namespace", "ns", "uid", "uid-1", "generation", 7);
}

static void trustee_set_up(struct trustee *t, const struct status_case *c)
{
	*t = (struct trustee){
		.object = flag(c, 'K') ? object_of("KbsConfig", "k") : object_of("TrusteeConfig", "t"),
		.kbs = flag(c, 'n') ? NULL : object_of("KbsConfig", "t-kbs-config"),
		.deployment = c->deployment != NULL ? yaml_tree(c->deployment) : NULL,
		.pods = c->pods != NULL ? yaml_tree(c->pods) : NULL,
	};
	if (flag(c, 'o'))
		(void)json_object_set_new(t->kbs, "spec", json_pack("{s:{s:s}}", "exposure", "host", "kbs"));
	if (flag(c, 'b'))
		(void)json_object_set_new(t->kbs, "spec", json_pack("{s:s}", "kbsServiceType", "LoadBalancer"));
	for (size_t i = 0; i < REMARKS && c->remarks[i].reason != NULL; i++)
		remarks_add(&t->remarks, c->remarks[i].level, c->remarks[i].about, c->remarks[i].reason, "%s",
					c->remarks[i].message);
	t->in = (struct trustee_status_input){
		.object = t->object,
		.kbs = flag(c, 'K') ? t->object : t->kbs,
		.remarks = &t->remarks,
		.deployment = t->deployment,
		.pods = t->pods,
		.https = flag(c, 'h'),
		.exposed = flag(c, 'e'),
		.permissive = flag(c, 'p'),
		.synced = flag(c, 's'),
		.url = flag(c, 'u') ? "https://kbs" : NULL,
		.not_after_s = flag(c, 'x') ? EXPIRY : 0,
		.now = NOW,
	};
}

static void trustee_tear_down(struct trustee *t)
{
	json_decref(t->object);
	json_decref(t->kbs);
	json_decref(t->deployment);
	json_decref(t->pods);
	remarks_release(&t->remarks);
}

// ---- What must hold of every status

static const json_t *status_schema(struct crd *crd, const char *kind)
{
	const bool kbs = strcmp(kind, "KbsConfig") == 0;
	crd_read(crd,
			 kbs ? "crds/" NAME_TRUSTEE_GROUP "_kbsconfigs.yaml" : "crds/" NAME_TRUSTEE_GROUP "_trusteeconfigs.yaml");
	return property(crd->schema, "status");
}

static bool has_type(const json_t *v, const char *type)
{
	return strcmp(type, "object") == 0    ? json_is_object(v)
		   : strcmp(type, "array") == 0   ? json_is_array(v)
		   : strcmp(type, "string") == 0  ? json_is_string(v)
		   : strcmp(type, "boolean") == 0 ? json_is_boolean(v)
										  : strcmp(type, "integer") == 0 && json_is_integer(v);
}

static void assert_pattern(const json_t *schema, const json_t *v, const char *path)
{
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	regex_t re;
	if (pattern == NULL)
		return;
	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, json_string_value(v), 0, NULL, 0) != 0)
		fail_msg("%s doesn't match %s: %s", path, pattern, json_string_value(v));
	regfree(&re);
}

// As far as the schema of a status goes.
static void assert_fits(const json_t *schema, json_t *v, const char *path)
{
	if (schema == NULL)
		fail_msg("%s isn't in the schema", path);
	if (!has_type(v, json_text(schema, "type")))
		fail_msg("%s is no %s", path, json_text(schema, "type"));
	size_t i;
	json_t *sub;
	const char *key;
	json_array_foreach (json_object_get(schema, "required"), i, sub) {
		if (json_object_get(v, json_string_value(sub)) == NULL)
			fail_msg("%s has no %s", path, json_string_value(sub));
	}
	bool is_listed = json_object_get(schema, "enum") == NULL;
	json_array_foreach (json_object_get(schema, "enum"), i, sub) {
		is_listed |= json_equal(sub, v) != 0;
	}
	assert_true(is_listed);
	assert_pattern(schema, v, path);
	json_array_foreach (v, i, sub) {
		assert_fits(json_object_get(schema, "items"), sub, path);
	}
	json_object_foreach (v, key, sub) {
		assert_fits(property(schema, key), sub, key);
	}
}

static void assert_schema(const struct trustee *t, json_t *status)
{
	struct crd crd = {0};
	assert_fits(status_schema(&crd, json_text(t->object, "kind")), status, "status");
	json_decref(crd.root);
}

// What is written is what the API server has next: then there is nothing to write, at whatever time, in whatever order.
static void assert_idle(struct trustee *t, json_t *status)
{
	json_t *stored = json_deep_copy(status);
	json_t *conditions = json_object_get(stored, "conditions");
	assert_int_equal(json_array_append(conditions, json_array_get(conditions, 0)), 0);
	assert_int_equal(json_array_remove(conditions, 0), 0);
	assert_int_equal(json_array_insert_new(conditions, 0, json_pack("{s:s}", "type", "Others")), 0);
	assert_int_equal(json_object_set_new(t->object, "status", stored), 0);
	t->in.now = "2030-01-01T00:00:00Z";
	assert_null(trustee_status(&t->in));
	for (size_t i = 0, n = json_array_size(t->pods); n > 0 && i < n; i++) {
		json_t *pod = json_incref(json_array_get(t->pods, n - 1));
		assert_int_equal(json_array_remove(t->pods, n - 1), 0);
		assert_int_equal(json_array_insert_new(t->pods, 0, pod), 0);
		assert_null(trustee_status(&t->in));
	}
}

static void assert_trimmed_says_the_same(struct trustee *t, const json_t *status)
{
	for (size_t i = 0; i < json_array_size(t->pods); i++)
		assert_int_equal(json_array_set_new(t->pods, i, trustee_pod_trim(json_incref(json_array_get(t->pods, i)))), 0);
	json_t *again = trustee_status(&t->in);
	assert_true(json_equal(again, status));
	json_decref(again);
}

static const json_t *find_condition(const json_t *status, const char *type)
{
	const json_t *conditions = json_object_get(status, "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++)
		if (json_text_is(json_array_get(conditions, i), "type", type))
			return json_array_get(conditions, i);
	fail_msg("there is no condition %s", type);
	return NULL;
}

// '@' in want stands for any text at the end.
static void assert_condition(const json_t *status, const char *want)
{
	CLEANUP_FREE
	char *type = xstrndup((struct str){want, strcspn(want, " ")});
	const json_t *c = find_condition(status, type);
	CLEANUP_FREE
	char *got =
		xasprintf("%s %s %s: %s", type, json_text(c, "status"), json_text(c, "reason"), json_text(c, "message"));
	const char *at = strchr(want, '@');
	if (at == NULL)
		assert_string_equal(got, want);
	else if (strncmp(got, want, (size_t)(at - want)) != 0)
		fail_msg("got %s\nnot %s", got, want);
}

static void test_status(void **state)
{
	const struct status_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, c);
	json_t *status = trustee_status(&t.in);
	assert_non_null(status);
	assert_int_equal(json_array_size(json_object_get(status, "conditions")), 6);
	for (size_t i = 0; i < WANTED && c->want[i] != NULL; i++)
		assert_condition(status, c->want[i]);
	const json_t *ready = find_condition(status, "Ready");
	assert_int_equal(json_is_true(json_object_get(status, "isReady")), json_text_is(ready, "status", "True"));
	assert_text(json_string_value(json_object_get(status, "statusDescription")),
				flag(c, 'K') ? NULL : json_text(ready, "message"));
	assert_int_equal(json_integer_value(json_object_get(status, "observedGeneration")), 7);
	assert_schema(&t, status);
	assert_trimmed_says_the_same(&t, status);
	assert_idle(&t, status);
	json_decref(status);
	trustee_tear_down(&t);
}

static struct starting_case {
	const char *name;
	struct status_case of;
	bool starting;
} starting_cases[] = {
	{"starting: nothing is made yet", {"", NULL, NULL, {{0}}, "n", {NULL}}, true},
	{"starting: no pod yet", {"", STARTS, "[]", {{0}}, "", {NULL}}, true},
	{"starting: a container is being made",
	 {"", STARTS, "[" IN(WAITS("ContainerCreating", "")) "]", {{0}}, "", {NULL}},
	 true},
	{"not starting: an image can't be pulled",
	 {"", STARTS, "[" IN(WAITS("ImagePullBackOff", "")) "]", {{0}}, "", {NULL}},
	 false},
	{"not starting: an error", {"", NULL, NULL, {{REMARK_ERROR, ABOUT_SPEC, "A", "b"}}, "", {NULL}}, false},
	{"not starting: scaled to zero",
	 {"", DEPLOY("0", COUNTS("0", "0", "0") ", " FINISHED), "[]", {{0}}, "", {NULL}},
	 false},
	{"not starting: it runs", {"", RUNS, "[" GOOD "]", {{0}}, "", {NULL}}, false},
};

static void test_starting(void **state)
{
	const struct starting_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &c->of);
	assert_int_equal(trustee_is_starting(&t.in), c->starting);
	trustee_tear_down(&t);
}

// ---- The address

static struct url_case {
	const char *name, *deployment;
	const char *before; // status.url
	const char *flags;
	const char *want;
} url_cases[] = {
	{"url: nothing is made yet", NULL, NULL, "nu", NULL},
	{"url: no pod has run yet", STARTS, NULL, "u", NULL},
	{"url: a pod runs", RUNS, NULL, "u", "https://kbs"},
	{"url: pods ran once", STARTS, "https://kbs", "u", "https://kbs"},
	{"url: another one, and pods ran once", STARTS, "https://old", "u", "https://kbs"},
	{"url: it isn't known any more", RUNS, "https://kbs", "", NULL},
};

static void test_url(void **state)
{
	const struct url_case *c = *state;
	const struct status_case of = {.deployment = c->deployment, .flags = c->flags};
	struct trustee t;
	trustee_set_up(&t, &of);
	if (c->before != NULL)
		assert_int_equal(json_object_set_new(t.object, "status", json_pack("{s:s}", "url", c->before)), 0);
	json_t *status = trustee_status(&t.in);
	assert_text(json_string_value(json_object_get(status, "url")), c->want);
	json_decref(status);
	trustee_tear_down(&t);
}

// ---- What an Event tells

static struct told_case {
	const char *name;
	struct status_case of;
	const char *want;
} told_cases[] = {
	{"told: Ready's own",
	 {"", RUNS, NULL, {{REMARK_ERROR, ABOUT_SPEC, "A", "all of it"}}, "", {NULL}},
	 "all of it; what ran before keeps running"},
	{"told: another condition's",
	 {"", RUNS, NULL, {{REMARK_ERROR, ABOUT_CERTIFICATE, "A", "all of it"}}, "h", {NULL}},
	 "all of it"},
	{"told: what isn't done yet", {"", NULL, NULL, {{0}}, "", {NULL}}, "the Deployment isn't made yet"},
	{"told: it runs",
	 {"", RUNS, NULL, {{REMARK_NOTE, ABOUT_ROUTE, "A", "no route"}}, "", {NULL}},
	 "It runs, but has no address for guests yet, as condition RouteAdmitted tells."},
};

static void test_told(void **state)
{
	const struct told_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &c->of);
	assert_null(trustee_status_told(t.object));
	assert_int_equal(json_object_set_new(t.object, "status", trustee_status(&t.in)), 0);
	assert_text(trustee_status_told(t.object), c->want);
	trustee_tear_down(&t);
}

// ---- All of it, and times

static struct status_case whole = {"", RUNS, "[" GOOD "]", {{0}}, "hesux", {NULL}};

static void test_whole(void **state)
{
	(void)state;
	struct trustee t;
	trustee_set_up(&t, &whole);
	json_t *status = trustee_status(&t.in);
	assert_int_equal(json_object_del(status, "conditions"), 0);
	CLEANUP_FREE
	char *got = json_dumps(status, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_string_equal(got, "{\n"
							 " \"certificateExpiry\": \"2027-01-01T00:00:00Z\",\n"
							 " \"isReady\": true,\n"
							 " \"kbsConfigRef\": {\n"
							 "  \"apiVersion\": \"confidentialcontainers.org/v1alpha1\",\n"
							 "  \"kind\": \"KbsConfig\",\n"
							 "  \"name\": \"t-kbs-config\",\n"
							 "  \"namespace\": \"ns\",\n"
							 "  \"uid\": \"uid-1\"\n"
							 " },\n"
							 " \"observedGeneration\": 7,\n"
							 " \"statusDescription\": \"Guests can use it at https://kbs.\",\n"
							 " \"url\": \"https://kbs\"\n"
							 "}");
	json_decref(status);
	trustee_tear_down(&t);
}

static struct change_case {
	const char *name;
	// What is missing in a stored condition, or with a point before it in the stored status; NULL: a field is there that isn't
	// said any more.
	const char *path;
	const char *flags; // of the world that comes then
} change_cases[] = {
	{"a message of another's", "message", "hesux"},
	{"a time that is missing", "lastTransitionTime", "hesux"},
	{"the generation", "observedGeneration", "hesux"},
	{"a field that is missing", ".isReady", "hesux"},
	{"the status' generation", ".observedGeneration", "hesux"},
	{"no URL any more", NULL, "hesx"},
	{"no certificate any more", NULL, "esu"},
	{"no KbsConfig any more", NULL, "hesuxn"},
};

static void test_change(void **state)
{
	const struct change_case *c = *state;
	struct status_case then = whole;
	struct trustee t;
	trustee_set_up(&t, &whole);
	json_t *stored = trustee_status(&t.in);
	trustee_tear_down(&t);
	if (c->path != NULL && c->path[0] == '.')
		assert_int_equal(json_object_del(stored, c->path + 1), 0);
	else if (c->path != NULL)
		assert_int_equal(json_object_del(json_array_get(json_object_get(stored, "conditions"), 3), c->path), 0);
	then.flags = c->flags;
	trustee_set_up(&t, &then);
	assert_int_equal(json_object_set_new(t.object, "status", stored), 0);
	json_t *status = trustee_status(&t.in);
	assert_non_null(status);
	json_decref(status);
	trustee_tear_down(&t);
}

static struct time_case {
	const char *name;
	const char *old; // condition Ready before
	const char *want;
} time_cases[] = {
	{"time: nothing before", "{type: Ready}", NOW},
	{"time: the same status, for another reason",
	 "{type: Ready, status: 'True', reason: X, lastTransitionTime: '" BEFORE "'}", BEFORE},
	{"time: another status", "{type: Ready, status: 'False', reason: Ready, lastTransitionTime: '" BEFORE "'}", NOW},
	{"time: another type", "{type: Degraded, status: 'True', lastTransitionTime: '" BEFORE "'}", NOW},
	{"time: none before", "{type: Ready, status: 'True'}", NOW},
	{"time: nonsense before", "7", NOW},
};

static void test_time(void **state)
{
	const struct time_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &whole);
	assert_int_equal(json_object_set_new(t.object, "status", json_pack("{s:[o]}", "conditions", yaml_tree(c->old))), 0);
	json_t *status = trustee_status(&t.in);
	assert_text(json_text(find_condition(status, "Ready"), "lastTransitionTime"), c->want);
	json_decref(status);
	trustee_tear_down(&t);
}

// ---- What alternates while a kubelet tries again

static struct retry_case {
	const char *name;
	const char *states[3]; // of the container, one after the other
} retry_cases[] = {
	{"retry: an image",
	 {WAITS("ErrImagePull", "not found"), WAITS("ImagePullBackOff", "Back-off pulling image"),
	  WAITS("ErrImagePull", "not found")}},
	{"retry: an image, with a newer kubelet",
	 {WAITS("ErrImagePull", "not found"),
	  WAITS("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found"),
	  WAITS("ErrImagePull", "not found")}},
	{"retry: a crash",
	 {"restartCount: 1, state: " ENDED("1", "Error"),
	  "restartCount: 1, lastState: " ENDED("1", "Error") ", " WAITS("CrashLoopBackOff", "back-off 20s"),
	  "restartCount: 2, lastState: " ENDED("1", "Error") ", state: {running: {}}"}},
};

// Nothing is written but the first status.
static void test_retry(void **state)
{
	const struct retry_case *c = *state;
	struct status_case starts = {"", STARTS, "[" IN("state: {}") "]", {{0}}, "", {NULL}};
	struct trustee t;
	trustee_set_up(&t, &starts);
	for (size_t i = 0; i < COUNT(c->states); i++) {
		CLEANUP_FREE
		char *pods = xasprintf(
			"[{metadata: {name: d-1}, status: {containerStatuses: [{name: kbs, ready: false, %s}]}}]", c->states[i]);
		json_decref(t.pods);
		t.pods = yaml_tree(pods);
		t.in.pods = t.pods;
		json_t *status = trustee_status(&t.in);
		assert_int_equal(status != NULL, i == 0);
		if (status != NULL)
			assert_int_equal(json_object_set_new(t.object, "status", status), 0);
	}
	trustee_tear_down(&t);
}

// ---- Pods

static void test_trim(void **state)
{
	(void)state;
	json_t *pod = yaml_tree("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns, uid: u, resourceVersion: "
							"'1', labels: {b: c}, annotations: "
							"{d: e}, managedFields: [x], ownerReferences: [x]}, spec: {containers: [{name: kbs, env: "
							"[{name: A, value: secret}]}]}, "
							"status: {phase: Running, podIP: x, conditions: [{type: Initialized, status: 'True'}, "
							"{type: Ready, status: 'False', "
							"reason: R, message: M, lastTransitionTime: x}], containerStatuses: [{name: kbs, image: i, "
							"ready: false, restartCount: 2, "
							"state: {running: {startedAt: x}}, lastState: {terminated: {exitCode: 1, reason: Error, "
							"message: secret, finishedAt: x}}}]}}");
	json_t *trimmed = trustee_pod_trim(pod);
	json_t *want = yaml_tree(
		"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns, uid: u, resourceVersion: '1', labels: {b: c}, "
		"annotations: "
		"{d: e}}, status: {phase: Running, conditions: [{type: Ready, status: 'False', reason: R, message: M}], "
		"initContainerStatuses: [], containerStatuses: [{name: kbs, ready: false, restartCount: 2, state: {}, "
		"lastState: "
		"{terminated: {exitCode: 1, reason: Error}}}]}}");
	CLEANUP_FREE
	char *got = json_dumps(trimmed, JSON_SORT_KEYS);
	CLEANUP_FREE
	char *expected = json_dumps(want, JSON_SORT_KEYS);
	assert_string_equal(got, expected);
	json_decref(want);
	// Once more, it is the same.
	trimmed = trustee_pod_trim(trimmed);
	CLEANUP_FREE
	char *again = json_dumps(trimmed, JSON_SORT_KEYS);
	assert_string_equal(again, expected);
	json_decref(trimmed);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, url_cases, test_url);
	ADD_TABLE(&tests, told_cases, test_told);
	ADD_TABLE(&tests, status_cases, test_status);
	ADD_TABLE(&tests, starting_cases, test_starting);
	tests_add(&tests, "all fields", test_whole, NULL);
	ADD_TABLE(&tests, change_cases, test_change);
	ADD_TABLE(&tests, time_cases, test_time);
	ADD_TABLE(&tests, retry_cases, test_retry);
	tests_add(&tests, "a trimmed pod", test_trim, NULL);
	return tests_run("trustee status", &tests);
}
