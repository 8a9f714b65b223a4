#include <stdio.h>

#include "controller/profile_status.h"
#include "world.h"

#define NOW "2026-01-02T03:04:05Z"
#define BEFORE "2025-12-31T23:59:59Z"

// A profile p of team-a in a generation.
#define P(generation, spec)                                                                                          \
	"apiVersion: " NAME_GROUP_VERSION "\nkind: ConfidentialProfile\nmetadata: {name: p, namespace: team-a, uid: u, " \
	"generation: " generation "}\nspec: {" spec "}\n"
#define AND "---\n"
#define BAD "initdata: {kbs: {url: 'http://kbs:8080'}}, memory: {min: 8Gi, max: 4Gi}"
#define BAD_SAYS "spec.memory.min is above spec.memory.max; raise max or lower min. "
#define HAND "initdata: {configMapKeyRef: {name: hand, key: toml}}"
#define TOML(algorithm, data) "version = '0.1.0'\\nalgorithm = '" algorithm "'\\n[data]\\n" data
#define POLICY "'policy.rego' = 'package agent_policy'\\n"
#define MAP(name, key, text) \
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " name ", namespace: team-a}\ndata: {" key ": \"" text "\"}\n"
#define TRUSTEE "initdata: {trusteeConfigRef: {name: t, namespace: trust}}"
#define ENDPOINT                                                                                            \
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: trustee-endpoint-t, namespace: trust}\ndata: {url: " \
	"'http://kbs'}\n"

// What follows lastTransitionTime and generation in a condition.
#define TRUE_(generation, since) "True since " since " for generation " generation ": "
#define FALSE_(generation, since) "False since " since " for generation " generation ": "
#define GOOD "Compiled: Pods can use the profile."

static struct status_case {
	const char *name;
	const char *before; // a catalog to come from, or NULL
	const char *now;
	const char *old;        // the object's status, in YAML
	const char *want;       // its condition; NULL: nothing to write
	const char *config_map; // of initdata; NULL: no initdata; "": without one
} status_cases[] = {
	{"good", NULL, P("1", KBS), "{}", TRUE_("1", NOW) GOOD, ""},
	{"good: of a ConfigMap", NULL, P("1", HAND) AND MAP("hand", "toml", TOML("sha256", POLICY)), "{}",
	 TRUE_("1", NOW) "Compiled: Pods can use the profile, but its initdata leaves the guest open: data.\"aa.toml\" is "
					 "missing: @.",
	 "{\"namespace\":\"team-a\",\"name\":\"hand\",\"key\":\"toml\"}"},
	{"good: of a Trustee", NULL, P("1", TRUSTEE) AND ENDPOINT, "{}", TRUE_("1", NOW) GOOD,
	 "{\"namespace\":\"trust\",\"name\":\"trustee-endpoint-t\",\"key\":\"url\"}"},
	{"invalid from the start", NULL, P("1", BAD), "{}",
	 FALSE_("1", NOW) "Invalid: " BAD_SAYS "Pods that use the profile are denied until then.", NULL},
	{"invalid after a good one", P("1", KBS), P("2", BAD), "{}",
	 FALSE_("2", NOW) "Invalid: " BAD_SAYS "Generation 1 stays in use until then.", ""},
	{"no ConfigMap", NULL, P("1", HAND), "{}",
	 FALSE_("1", NOW) "ConfigMapMissing: spec.initdata.configMapKeyRef: there is no ConfigMap \"hand\" in namespace "
					  "\"team-a\"; create it with key \"toml\". Pods that use the profile are denied until then.",
	 NULL},
	{"a ConfigMap without the key", NULL, P("1", HAND) AND MAP("hand", "yaml", ""), "{}",
	 FALSE_("1", NOW) "ConfigMapMissing: spec.initdata.configMapKeyRef: ConfigMap \"hand\" of namespace \"team-a\" has "
					  "no text under key \"toml\"; add it. Pods that use the profile are denied until then.",
	 NULL},
	{"a ConfigMap that went", P("1", HAND) AND MAP("hand", "toml", TOML("sha256", POLICY)), P("1", HAND), "{}",
	 FALSE_("1", NOW) "ConfigMapMissing: spec.initdata.configMapKeyRef: there is no ConfigMap \"hand\" in namespace "
					  "\"team-a\"; create it with key \"toml\". Generation 1 stays in use until then.",
	 "{\"namespace\":\"team-a\",\"name\":\"hand\",\"key\":\"toml\"}"},
	{"a ConfigMap of nonsense", NULL, P("1", HAND) AND MAP("hand", "toml", "version = 1"), "{}",
	 FALSE_("1", NOW) "Invalid: @ Pods that use the profile are denied until then.", NULL},
	{"no policy in a ConfigMap", NULL,
	 P("1", "initdata: {kbs: {url: 'http://k'}, agentPolicy: {configMapKeyRef: {name: a, key: b}}}"), "{}",
	 FALSE_("1", NOW) "ConfigMapMissing: spec.initdata.agentPolicy.configMapKeyRef: @", NULL},
	{"no Trustee", NULL, P("1", TRUSTEE), "{}",
	 FALSE_("1", NOW) "TrusteeUnknown: spec.initdata.trusteeConfigRef: the controller has not published TrusteeConfig "
					  "\"t\" of namespace \"trust\" (is it there, and ready?): there is no ConfigMap "
					  "\"trustee-endpoint-t\" in namespace \"trust\"; create it with key \"url\". Pods that use the "
					  "profile are denied until then.",
	 NULL},
	{"text that was cut is text all the same", NULL,
	 P("1", KBS ", memory: {min: '12345678901234567890123456789012345678901234567890123456789012345678901234567890"
				"12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
				"901234567890123456789\xC3\xA9'}"),
	 "{}", FALSE_("1", NOW) "Invalid: spec.memory.min: @", NULL},
	// The time of a change is kept, and is only of the status itself.
	{"good again: the time is now", NULL, P("2", KBS),
	 "{conditions: [{type: Ready, status: 'False', lastTransitionTime: '" BEFORE "'}]}", TRUE_("2", NOW) GOOD, ""},
	{"still good: the time stays", NULL, P("2", KBS),
	 "{observedGeneration: 1, conditions: [{type: Ready, status: 'True', observedGeneration: 1, lastTransitionTime: "
	 "'" BEFORE "', reason: Compiled, message: Pods can use the profile.}]}",
	 TRUE_("2", BEFORE) GOOD, ""},
	{"bad for another reason: the time stays", NULL, P("2", BAD),
	 "{conditions: [{type: Ready, status: 'False', lastTransitionTime: '" BEFORE "', reason: ConfigMapMissing}]}",
	 FALSE_("2", BEFORE) "Invalid: @", NULL},
	{"a condition without a time gets one", NULL, P("1", KBS), "{conditions: [{type: Ready, status: 'True'}]}",
	 TRUE_("1", NOW) GOOD, ""},
	{"other conditions are not ours", NULL, P("1", KBS),
	 "{conditions: [{type: Steady, status: 'True', lastTransitionTime: '" BEFORE "'}]}", TRUE_("1", NOW) GOOD, ""},
	{"a status of nonsense is written anew", NULL, P("1", KBS), "{conditions: {Ready: 1}, initdata: []}",
	 TRUE_("1", NOW) GOOD, ""},
	{"no status at all", NULL, P("1", KBS), "null", TRUE_("1", NOW) GOOD, ""},
};

// '@' in want stands for any text.
static void assert_like(const char *got, const char *want)
{
	const char *at = strchr(want, '@');
	size_t head = at != NULL ? (size_t)(at - want) : 0;
	size_t tail = at != NULL ? strlen(at + 1) : 0;
	if (at == NULL)
		assert_string_equal(got, want);
	else if (strncmp(got, want, head) != 0 || strlen(got) < head + tail ||
			 strcmp(got + strlen(got) - tail, at + 1) != 0)
		fail_msg("got %s\nnot %s", got, want);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "(none)";
}

static void assert_condition(const json_t *status, const char *want)
{
	const json_t *c = json_array_get(json_object_get(status, "conditions"), 0);
	assert_int_equal(json_array_size(json_object_get(status, "conditions")), 1);
	assert_int_equal(json_object_size(c), 6);
	assert_string_equal(text_of(c, "type"), "Ready");
	assert_true(json_equal(json_object_get(c, "observedGeneration"), json_object_get(status, "observedGeneration")));
	CLEANUP_FREE
	char *got =
		xasprintf("%s since %s for generation %lld: %s: %s", text_of(c, "status"), text_of(c, "lastTransitionTime"),
				  (long long)json_integer_value(json_object_get(c, "observedGeneration")), text_of(c, "reason"),
				  text_of(c, "message"));
	assert_like(got, want);
}

// The profile p of the world, as the API server has it.
static json_t *object_with(const char *status)
{
	json_t *object = json_pack("{s:{s:s, s:s}}", "metadata", "name", "p", "namespace", "team-a");
	assert_int_equal(json_object_set_new(object, "status", yaml_tree(status)), 0);
	return object;
}

static const struct catalog_profile *entry(const struct world *w)
{
	const struct catalog_profile *e = catalog_profile(w->catalog, STR("team-a"), STR("p"));
	assert_non_null(e);
	return e;
}

// What was written is what the API server has next: then there is nothing to write, whatever the time.
static void assert_idle(const struct world *w, json_t *object, json_t *status)
{
	assert_int_equal(json_object_set(object, "status", status), 0);
	assert_null(profile_status(entry(w), object, "2030-01-01T00:00:00Z"));
	json_t *other = json_pack("{s:s}", "type", "Other");
	assert_int_equal(json_array_insert_new(json_object_get(status, "conditions"), 0, other), 0);
	assert_null(profile_status(entry(w), object, "2030-01-01T00:00:00Z"));
}

static void test_status(void **state)
{
	const struct status_case *row = *state;
	struct world w = {0};
	if (row->before != NULL)
		world_load(&w, row->before);
	world_load(&w, row->now);
	json_t *object = object_with(row->old);
	json_t *status = profile_status(entry(&w), object, NOW);
	assert_non_null(status);
	assert_condition(status, row->want);
	const json_t *initdata = json_object_get(status, "initdata");
	assert_int_equal(initdata != NULL, row->config_map != NULL);
	assert_int_equal(json_object_size(status), initdata != NULL ? 3 : 2);
	CLEANUP_FREE
	char *source = json_dumps(json_object_get(initdata, "configMap"), JSON_COMPACT);
	if (row->config_map != NULL && row->config_map[0] != '\0')
		assert_text(source, row->config_map);
	else
		assert_null(source);
	assert_idle(&w, object, status);
	json_decref(status);
	json_decref(object);
	world_release(&w);
}

// ---- The digests, as sha256sum and the like say of the text below

#define FULL "'aa.toml' = ''\\n" POLICY

static struct digest_case {
	const char *name;
	const char *algorithm;
	const char *want;
} digest_cases[] = {
	{"digests: sha256", "sha256",
	 "{\n"
	 " \"algorithm\": \"sha256\",\n"
	 " \"azurePcr8\": \"fee92d748d7571b531e1d9a651a7b317720e64c1b4afe0c9af8644b9de0288e1\",\n"
	 " \"digest\": \"sha256:b9dfe5fe309c2d4c028566309b00a78f43bfef21615d6951e4c36fb8d3b7d039\",\n"
	 " \"snpHostData\": \"b9dfe5fe309c2d4c028566309b00a78f43bfef21615d6951e4c36fb8d3b7d039\",\n"
	 " \"tdxMrConfigId\": "
	 "\"b9dfe5fe309c2d4c028566309b00a78f43bfef21615d6951e4c36fb8d3b7d03900000000000000000000000000000000\"\n"
	 "}"},
	{"digests: sha384", "sha384",
	 "{\n"
	 " \"algorithm\": \"sha384\",\n"
	 " \"digest\": "
	 "\"sha384:476f19b11f400a5d62760325ea4e7d6ca42a0b2ffd7bece68bffeb9dbe545d7b3496b54d764ce9c6b339cf2900e2c035\",\n"
	 " \"snpHostData\": \"476f19b11f400a5d62760325ea4e7d6ca42a0b2ffd7bece68bffeb9dbe545d7b\",\n"
	 " \"tdxMrConfigId\": "
	 "\"476f19b11f400a5d62760325ea4e7d6ca42a0b2ffd7bece68bffeb9dbe545d7b3496b54d764ce9c6b339cf2900e2c035\"\n"
	 "}"},
	{"digests: sha512", "sha512",
	 "{\n"
	 " \"algorithm\": \"sha512\",\n"
	 " \"digest\": "
	 "\"sha512:"
	 "522f8c88821729225709a7ae1406eaf9c37a7ca9fb1af253c744724c1a7945afa8f47780ae57b50f0c83b49b9074feda"
	 "0cf36d2897ccb57ef4493c358d1d709a\",\n"
	 " \"snpHostData\": \"522f8c88821729225709a7ae1406eaf9c37a7ca9fb1af253c744724c1a7945af\",\n"
	 " \"tdxMrConfigId\": "
	 "\"522f8c88821729225709a7ae1406eaf9c37a7ca9fb1af253c744724c1a7945afa8f47780ae57b50f0c83b49b9074feda\"\n"
	 "}"},
};

static void test_digests(void **state)
{
	const struct digest_case *row = *state;
	struct world w = {0};
	CLEANUP_FREE
	char *docs = xasprintf(P("1", HAND) AND MAP("hand", "toml", TOML("%s", FULL)), row->algorithm);
	world_load(&w, docs);
	json_t *object = object_with("{}");
	json_t *status = profile_status(entry(&w), object, NOW);
	json_t *initdata = json_object_get(status, "initdata");
	assert_int_equal(json_integer_value(json_object_get(initdata, "annotationBytes")),
					 strlen(entry(&w)->profile->annotation));
	assert_int_equal(json_object_del(initdata, "annotationBytes"), 0); // zlib's choice
	assert_int_equal(json_object_del(initdata, "configMap"), 0);
	CLEANUP_FREE
	char *got = json_dumps(initdata, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_text(got, row->want);
	json_decref(status);
	json_decref(object);
	world_release(&w);
}

// Something else in the object's status than what would be written: each must be noticed.
static struct drift_case {
	const char *name;
	const char *path, *value; // of status; value NULL: taken away
} drift_cases[] = {
	{"drift: observedGeneration", "observedGeneration", "2"},
	{"drift: no observedGeneration", "observedGeneration", NULL},
	{"drift: digest", "initdata.digest", "\"sha256:0\""},
	{"drift: a digest that doesn't belong", "initdata.other", "\"0\""},
	{"drift: no initdata", "initdata", NULL},
	{"drift: no conditions", "conditions", NULL},
	{"drift: message", "conditions.0.message", "\"\""},
	{"drift: reason", "conditions.0.reason", "\"Invalid\""},
	{"drift: status", "conditions.0.status", "\"False\""},
	{"drift: the condition's generation", "conditions.0.observedGeneration", "0"},
};

static void change(json_t *status, const char *path, const char *value)
{
	json_t *at = status;
	const char *key = path;
	if (strncmp(path, "conditions.0.", 13) == 0) {
		at = json_array_get(json_object_get(status, "conditions"), 0);
		key = path + 13;
	} else if (strncmp(path, "initdata.", 9) == 0) {
		at = json_object_get(status, "initdata");
		key = path + 9;
	}
	if (value == NULL)
		assert_int_equal(json_object_del(at, key), 0);
	else
		assert_int_equal(json_object_set_new(at, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
}

static void test_drift(void **state)
{
	const struct drift_case *row = *state;
	struct world w = {0};
	world_load(&w, P("1", KBS));
	json_t *object = object_with("{}");
	json_t *status = profile_status(entry(&w), object, NOW);
	json_t *changed = json_deep_copy(status);
	change(changed, row->path, row->value);
	assert_int_equal(json_object_set_new(object, "status", changed), 0);
	json_t *again = profile_status(entry(&w), object, NOW);
	assert_true(json_equal(status, again));
	json_decref(again);
	json_decref(status);
	json_decref(object);
	world_release(&w);
}

// A bad one's status has no initdata: one that stands there from earlier times must go.
static void test_initdata_goes(void **state)
{
	(void)state;
	struct world w = {0};
	world_load(&w, P("1", BAD));
	json_t *object = object_with("{}");
	json_t *status = profile_status(entry(&w), object, NOW);
	assert_int_equal(json_object_set_new(status, "initdata", json_object()), 0);
	assert_int_equal(json_object_set_new(object, "status", status), 0);
	json_t *again = profile_status(entry(&w), object, NOW);
	assert_non_null(again);
	assert_null(json_object_get(again, "initdata"));
	json_decref(again);
	json_decref(object);
	world_release(&w);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, status_cases, test_status);
	ADD_TABLE(&t, digest_cases, test_digests);
	ADD_TABLE(&t, drift_cases, test_drift);
	tests_add(&t, "initdata of earlier times goes", test_initdata_goes, NULL);
	return tests_run("profile-status", &t);
}
