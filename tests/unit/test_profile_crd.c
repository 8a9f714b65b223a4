// The schema that the API server checks (crds/) and the decoder (common/profile.c) must say the same: fields, enums,
// defaults.
#include <stdio.h>

#include "common/profile.h"
#include "crd.h"

#define CRD "crds/" NAME_GROUP "_confidentialprofiles.yaml"

static const struct leaf leaves[] = {
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

static int decode(const json_t *object, struct error *err)
{
	struct profile_spec spec;
	return profile_decode(object, &spec, err);
}

static struct crd crd_open(void)
{
	struct crd c = {.base = "{spec: {" KBS "}}", .decode = decode, .leaves = leaves, .nleaves = COUNT(leaves)};
	crd_read(&c, CRD);
	return c;
}

static void test_same_fields(void **state)
{
	(void)state;
	struct crd c = crd_open();
	assert_same_fields(&c);
	json_decref(c.root);
}

static void test_same_defaults(void **state)
{
	(void)state;
	struct crd c = crd_open();
	struct error err = {0};
	struct profile_spec x;
	struct profile_spec y;
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
	struct crd c = crd_open();
	struct error err;
	struct profile_spec spec;
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
