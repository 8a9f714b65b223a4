// The schema that the API server checks (crds/) and the decoder (common/profile.c) must say the same: fields, enums,
// defaults.
#include <stdio.h>
#include <stdlib.h>

#include "common/files.h"
#include "common/profile.h"
#include "world.h"

#define CRD "crds/" NAME_GROUP "_confidentialprofiles.yaml"
#define TEXT_MAX ((size_t)1024 * 1024)

// Every leaf of spec with its default, as JSON; NULL for none.
static const struct leaf {
	const char *path;
	const char *value;
} leaves[] = {
	{"spec.runtimeClassName", "\"" DEFAULT_RUNTIME_CLASS "\""},
	{"spec.allowedRuntimeClasses", "[]"},
	{"spec.initdata.algorithm", NULL},
	{"spec.initdata.trusteeConfigRef.name", NULL},
	{"spec.initdata.trusteeConfigRef.namespace", "\"" DEFAULT_TRUSTEE_NAMESPACE "\""},
	{"spec.initdata.configMapKeyRef.name", NULL},
	{"spec.initdata.configMapKeyRef.key", NULL},
	{"spec.initdata.kbs.url", NULL},
	{"spec.initdata.kbs.caBundle", NULL},
	{"spec.initdata.kbs.caConfigMapRef.name", NULL},
	{"spec.initdata.kbs.caConfigMapRef.key", NULL},
	{"spec.initdata.agentPolicy.preset", NULL},
	{"spec.initdata.agentPolicy.configMapKeyRef.name", NULL},
	{"spec.initdata.agentPolicy.configMapKeyRef.key", NULL},
	{"spec.initdata.image.securityPolicyURI", NULL},
	{"spec.initdata.image.registryCredentialsURI", NULL},
	{"spec.initdata.image.extraRootCertificates", NULL},
	{"spec.initdata.image.proxy.httpsProxy", NULL},
	{"spec.initdata.image.proxy.httpProxy", NULL},
	{"spec.initdata.image.proxy.noProxy", NULL},
	{"spec.memory.mode", "\"Auto\""},
	{"spec.memory.vm", NULL},
	{"spec.memory.min", "\"2Gi\""},
	{"spec.memory.max", "\"64Gi\""},
	{"spec.memory.imageSize", "\"2Gi\""},
	{"spec.memory.base", "\"512Mi\""},
	{"spec.memory.sizing", "\"CRIO\""},
	{"spec.memory.accounting", "\"Container\""},
	{"spec.memory.fillOthers", "false"},
	{"spec.cpu.mode", "\"Off\""},
	{"spec.cpu.vcpus", NULL},
	{"spec.admission.foreignAnnotations", "\"Deny\""},
	{"spec.admission.hostPath", "\"Warn\""},
	{"spec.admission.subPath", "\"Warn\""},
	{"spec.admission.requireImageDigest", "\"Off\""},
};

struct crd {
	json_t *root;
	const json_t *schema; // borrowed
};

static void crd_read(struct crd *c)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(TEXT_MAX);
	struct error err;
	if (file_read_regular(CRD, &text, &err) < 0)
		fail_msg("%s", err.msg);
	c->root = yaml_tree(buf_z(&text));
	const json_t *version = json_array_get(json_object_get(json_object_get(c->root, "spec"), "versions"), 0);
	c->schema = json_object_get(json_object_get(version, "schema"), "openAPIV3Schema");
	assert_non_null(c->schema);
}

static const json_t *property(const json_t *schema, const char *name)
{
	return json_object_get(json_object_get(schema, "properties"), name);
}

// {spec: {..., PATH: value}} around what a profile needs at least; takes value.
static json_t *object_with(const char *path, json_t *value)
{
	json_t *object = yaml_tree("{spec: {" KBS "}}");
	json_t *at = object;
	CLEANUP_FREE
	char *copy = xstrdup(path);
	char *save = NULL;
	const char *name = strtok_r(copy, ".", &save);
	for (const char *next; (next = strtok_r(NULL, ".", &save)) != NULL; name = next) {
		if (json_object_get(at, name) == NULL)
			assert_int_equal(json_object_set_new(at, name, json_object()), 0);
		at = json_object_get(at, name);
	}
	assert_int_equal(json_object_set_new(at, name, value), 0);
	return object;
}

// What the decoder says of a value at a path; "" for nothing. Valid until the next call.
static const char *verdict(const char *path, json_t *value)
{
	static struct error err;
	struct profile_spec spec;
	json_t *object = object_with(path, value);
	bool good = profile_decode(object, &spec, &err) == 0;
	json_decref(object);
	return good ? "" : err.msg;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// "a, b" in another order must be the same: sorts the words of a list.
static void sort_words(const char *list, struct buf *out)
{
	CLEANUP_FREE
	char *copy = xstrdup(list);
	const char *words[64];
	size_t n = 0;
	char *save = NULL;
	for (const char *w = strtok_r(copy, ", ", &save); w != NULL; w = strtok_r(NULL, ", ", &save)) {
		assert_true(n < COUNT(words));
		words[n++] = w;
	}
	qsort(words, n, sizeof(*words), by_text);
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s ", words[i]);
}

static void assert_same_words(const char *path, const char *said, const char *intro, const struct buf *ours)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf want = BUF_INIT(TEXT_MAX);
	const char *list = strstr(said, intro);
	if (list == NULL)
		fail_msg("%s: the decoder says \"%s\"", path, said);
	sort_words(list + strlen(intro), &want);
	sort_words(buf_z(ours), &got);
	if (strcmp(buf_z(&got), buf_z(&want)) != 0)
		fail_msg("%s: the schema has %s, the decoder %s", path, buf_z(&got), buf_z(&want));
}

static void check_enum(const char *path, const json_t *values)
{
	CLEANUP_BUF
	struct buf names = BUF_INIT(TEXT_MAX);
	bool takes_false = false;
	for (size_t i = 0; i < json_array_size(values); i++) {
		const json_t *v = json_array_get(values, i);
		takes_false |= json_is_false(v);
		if (json_is_string(v))
			buf_addf(&names, "%s ", json_string_value(v));
	}
	assert_same_words(path, verdict(path, json_string("?")), "it must be one of ", &names);
	if (takes_false != (strcmp(verdict(path, json_false()), "") == 0))
		fail_msg("%s: an unquoted Off is for one of schema and decoder, and not for the other", path);
}

static void walk(const char *path, const json_t *schema, size_t *leaf)
{
	if (json_string_length(json_object_get(schema, "description")) < 10)
		fail_msg("%s has no description", path);
	json_t *properties = json_object_get(schema, "properties");
	const json_t *values = json_object_get(schema, "enum");
	if (values != NULL)
		check_enum(path, values);
	if (properties == NULL) {
		if (*leaf >= COUNT(leaves) || strcmp(leaves[*leaf].path, path) != 0)
			fail_msg("%s is not in the table, or not at its place: %s", path,
					 *leaf < COUNT(leaves) ? leaves[*leaf].path : "(end)");
		CLEANUP_FREE
		char *value = json_dumps(json_object_get(schema, "default"), JSON_ENCODE_ANY | JSON_COMPACT);
		assert_text(value, leaves[(*leaf)++].value);
		return;
	}
	CLEANUP_BUF
	struct buf names = BUF_INIT(TEXT_MAX);
	const char *name;
	json_t *sub;
	json_object_foreach (properties, name, sub) {
		CLEANUP_FREE
		char *below = xasprintf("%s.%s", path, name);
		buf_addf(&names, "%s ", name);
		walk(below, sub, leaf);
	}
	CLEANUP_FREE
	char *unknown = xasprintf("%s.unknown", path);
	CLEANUP_FREE
	char *intro = xasprintf("is not a known field; %s has ", path);
	assert_same_words(path, verdict(unknown, json_true()), intro, &names);
}

static void test_same_fields(void **state)
{
	(void)state;
	struct crd c;
	crd_read(&c);
	size_t leaf = 0;
	walk("spec", property(c.schema, "spec"), &leaf);
	assert_int_equal(leaf, COUNT(leaves));
	json_decref(c.root);
}

// What the API server fills in where an object leaves it out.
static json_t *with_defaults(const json_t *schema, json_t *value)
{
	const char *name;
	json_t *sub;
	json_object_foreach (json_object_get(schema, "properties"), name, sub) {
		json_t *usual = json_object_get(sub, "default");
		if (json_object_get(value, name) == NULL && usual != NULL)
			assert_int_equal(json_object_set_new(value, name, json_deep_copy(usual)), 0);
		if (json_is_object(json_object_get(value, name)))
			(void)with_defaults(sub, json_object_get(value, name));
	}
	return value;
}

static void test_same_defaults(void **state)
{
	(void)state;
	struct crd c;
	struct error err = {0};
	struct profile_spec x;
	struct profile_spec y;
	crd_read(&c);
	json_t *bare = yaml_tree("{spec: {" KBS "}}");
	json_t *filled = with_defaults(c.schema, json_deep_copy(bare));
	assert_false(json_equal(bare, filled));
	assert_int_equal(profile_decode(bare, &x, &err), 0);
	if (profile_decode(filled, &y, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(x.runtime_class, y.runtime_class);
	assert_int_equal(json_array_size(x.allowed_runtime_classes), json_array_size(y.allowed_runtime_classes));
	const int64_t numbers[][2] = {
		{x.initdata.algorithm, y.initdata.algorithm},
		{x.initdata.algorithm_given, y.initdata.algorithm_given},
		{x.initdata.agent_policy_given, y.initdata.agent_policy_given},
		{x.initdata.image_given, y.initdata.image_given},
		{x.memory.mode, y.memory.mode},
		{x.memory.sizing, y.memory.sizing},
		{x.memory.accounting, y.memory.accounting},
		{x.memory.vm, y.memory.vm},
		{x.memory.min, y.memory.min},
		{x.memory.max, y.memory.max},
		{x.memory.image_size, y.memory.image_size},
		{x.memory.base, y.memory.base},
		{x.memory.fill_others, y.memory.fill_others},
		{x.cpu.mode, y.cpu.mode},
		{x.cpu.vcpus, y.cpu.vcpus},
		{x.admission.foreign_annotations, y.admission.foreign_annotations},
		{x.admission.host_path, y.admission.host_path},
		{x.admission.sub_path, y.admission.sub_path},
		{x.admission.require_image_digest, y.admission.require_image_digest},
	};
	for (size_t i = 0; i < COUNT(numbers); i++)
		if (numbers[i][0] != numbers[i][1])
			fail_msg("default %zu: %lld without the API server's, %lld with them", i, (long long)numbers[i][0],
					 (long long)numbers[i][1]);
	json_decref(filled);
	json_decref(bare);
	json_decref(c.root);
}

// Filled in, they must stay harmless for every other way to write a profile.
static struct filled_case {
	const char *name;
	const char *spec;
} filled_cases[] = {
	{"filled in: configMapKeyRef", "initdata: {configMapKeyRef: {name: a, key: b}}"},
	{"filled in: trusteeConfigRef", "initdata: {trusteeConfigRef: {name: a}}"},
	{"filled in: a policy of one's own",
	 "initdata: {kbs: {url: 'http://k'}, agentPolicy: {configMapKeyRef: {name: a, key: b}}}"},
	{"filled in: Fixed", KBS ", memory: {mode: Fixed, vm: 8Gi}, cpu: {mode: Fixed, vcpus: 2}"},
	{"filled in: empty parts", KBS ", memory: {}, cpu: {}, admission: {}"},
};

static void test_filled(void **state)
{
	const struct filled_case *row = *state;
	struct crd c;
	struct error err;
	struct profile_spec spec;
	crd_read(&c);
	CLEANUP_FREE
	char *text = xasprintf("{spec: {%s}}", row->spec);
	json_t *object = with_defaults(c.schema, yaml_tree(text));
	if (profile_decode(object, &spec, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(object);
	json_decref(c.root);
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "schema and decoder have the same fields, enums and defaults", test_same_fields, NULL);
	tests_add(&t, "the schema's defaults change nothing", test_same_defaults, NULL);
	ADD_TABLE(&t, filled_cases, test_filled);
	return tests_run("profile-crd", &t);
}
