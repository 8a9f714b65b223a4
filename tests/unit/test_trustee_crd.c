// The schemas that the API server checks (crds/) and the decoders (common/trustee.c) must say the same: fields, enums,
// defaults. What both kinds have in common, both schemas say alike.
#include <stdio.h>

#include "common/trustee.h"
#include "crd.h"

#define TRUSTEE_CRD "crds/" NAME_TRUSTEE_GROUP "_trusteeconfigs.yaml"
#define KBS_CRD "crds/" NAME_TRUSTEE_GROUP "_kbsconfigs.yaml"

#define HOSTING_LEAVES                                                                                               \
	{"spec.instanceName", NULL}, {"spec.kbsServiceType", "\"ClusterIP\""}, {"spec.exposure.type", "\"Auto\""},       \
		{"spec.exposure.host", NULL}, {"spec.exposure.gatewayRef.name", NULL},                                       \
		{"spec.exposure.gatewayRef.namespace", NULL}, {"spec.exposure.gatewayRef.sectionName", NULL},                \
		{"spec.exposure.ingressClassName", NULL}, {"spec.vault.address", NULL},                                      \
		{"spec.vault.mountPath", "\"secret\""}, {"spec.vault.tokenSecretRef.name", NULL},                            \
		{"spec.vault.tokenSecretRef.key", NULL}, {"spec.vault.caSecretRef.name", NULL},                              \
		{"spec.vault.caSecretRef.key", NULL}, {"spec.imagePolicy.name", "\"signed\""},                               \
		{"spec.imagePolicy.securityPolicy", NULL}, {"spec.imagePolicy.configMapKeyRef.name", NULL},                  \
		{"spec.imagePolicy.configMapKeyRef.key", NULL}, {"spec.sessionStorage.type", "\"Memory\""},                  \
		{"spec.sessionStorage.secretRef.name", NULL}, {"spec.sessionStorage.secretRef.key", NULL},                   \
		{"spec.resources.requests", NULL}, {"spec.resources.limits", NULL}, {"spec.imagePullSecrets[0].name", NULL}, \
		{"spec.image", NULL}, {"spec.trusteeVersion", NULL}, {"spec.driftPolicy", "\"Enforce\""},                    \
	{                                                                                                                \
		"spec.metrics.serviceMonitor", "false"                                                                       \
	}

static const struct leaf trustee_leaves[] = {
	{"spec.profileType", "\"Permissive\""},
	{"spec.allowDowngrade", "false"},
	{"spec.httpsSpec.tlsSecretName", NULL},
	{"spec.attestationTokenVerificationSpec.tlsSecretName", NULL},
	{"spec.ibmSE.pvName", NULL},
	{"spec.tlsConfig.profile", "\"intermediate\""},
	{"spec.tlsConfig.minVersion", NULL},
	{"spec.tlsConfig.maxVersion", NULL},
	{"spec.tlsConfig.ciphers", NULL},
	{"spec.tlsConfig.groups", NULL},
	{"spec.nvidia", "\"Off\""},
	{"spec.airGapped", "false"},
	{"spec.secretResources", NULL},
	{"spec.bindings[0].profileRef.name", NULL},
	{"spec.bindings[0].profileRef.namespace", NULL},
	{"spec.bindings[0].initdataDigests", NULL},
	{"spec.bindings[0].resources", NULL},
	{"spec.replicas", NULL},
	HOSTING_LEAVES,
};

static const struct leaf kbs_leaves[] = {
	{"spec.kbsConfigMapName", NULL},
	{"spec.kbsAsConfigMapName", NULL},
	{"spec.kbsRvpsConfigMapName", NULL},
	{"spec.kbsRvpsRefValuesConfigMapName", NULL},
	{"spec.kbsAttestationPolicyConfigMapName", NULL},
	{"spec.kbsGpuAttestationPolicyConfigMapName", NULL},
	{"spec.kbsResourcePolicyConfigMapName", NULL},
	{"spec.kbsAuthSecretName", NULL},
	{"spec.kbsHttpsKeySecretName", NULL},
	{"spec.kbsHttpsCertSecretName", NULL},
	{"spec.kbsAttestationKeySecretName", NULL},
	{"spec.kbsAttestationCertSecretName", NULL},
	{"spec.kbsDeploymentType", "\"AllInOneDeployment\""},
	{"spec.kbsSecretResources", "[]"},
	{"spec.ibmSEConfigSpec.certStorePvc", NULL},
	{"spec.KbsEnvVars", NULL},
	{"spec.kbsLocalCertCacheSpec.secrets[0].secretName", NULL},
	{"spec.kbsLocalCertCacheSpec.secrets[0].mountPath", "\"" KBS_CERT_CACHE_PATH "\""},
	{"spec.KbsDeploymentSpec.replicas", "1"},
	HOSTING_LEAVES,
};

static int decode_trustee(const json_t *object, struct error *err)
{
	struct trustee_spec spec;
	return trustee_decode(object, &spec, err);
}

static int decode_kbs(const json_t *object, struct error *err)
{
	struct kbs_spec spec;
	return kbs_decode(object, &spec, err);
}

static struct crd trustee_crd(void)
{
	struct crd c = {
		.base = "{spec: {}}", .decode = decode_trustee, .leaves = trustee_leaves, .nleaves = COUNT(trustee_leaves)};
	crd_read(&c, TRUSTEE_CRD);
	return c;
}

static struct crd kbs_crd(void)
{
	struct crd c = {.base = "{spec: {}}", .decode = decode_kbs, .leaves = kbs_leaves, .nleaves = COUNT(kbs_leaves)};
	crd_read(&c, KBS_CRD);
	return c;
}

static void test_same_fields(void **state)
{
	(void)state;
	struct crd c = trustee_crd();
	assert_same_fields(&c);
	json_decref(c.root);
	c = kbs_crd();
	assert_same_fields(&c);
	json_decref(c.root);
}

static void test_shared(void **state)
{
	(void)state;
	struct crd t = trustee_crd();
	struct crd k = kbs_crd();
	const json_t *ours = json_object_get(property(t.schema, "spec"), "properties");
	const json_t *theirs = json_object_get(property(k.schema, "spec"), "properties");
	const char *name;
	json_t *schema;
	size_t shared = 0;
	json_object_foreach ((json_t *)(uintptr_t)ours, name, schema) {
		const json_t *other = json_object_get(theirs, name);
		if (other != NULL && !json_equal(schema, other))
			fail_msg("spec.%s is not the same in both schemas", name);
		shared += other != NULL;
	}
	assert_int_equal(shared, 12);
	json_decref(t.root);
	json_decref(k.root);
}

// A decoded spec but for what it borrows, whose addresses differ between two objects.
static void same_hosting(const struct trustee_hosting *x, const struct trustee_hosting *y)
{
	assert_text(x->instance_name, y->instance_name);
	assert_text(x->service_type, y->service_type);
	assert_int_equal(x->exposure.type, y->exposure.type);
	assert_text(x->exposure.host, y->exposure.host);
	assert_int_equal(x->vault_given, y->vault_given);
	assert_int_equal(x->image_policy_given, y->image_policy_given);
	assert_int_equal(x->sessions.type, y->sessions.type);
	assert_int_equal(x->sessions.url.given, y->sessions.url.given);
	assert_int_equal(x->npull_secrets, y->npull_secrets);
	assert_text(x->image, y->image);
	assert_text(x->trustee_version, y->trustee_version);
	assert_int_equal(x->version_minor, y->version_minor);
	assert_int_equal(x->drift, y->drift);
	assert_int_equal(x->metrics.service_monitor, y->metrics.service_monitor);
}

// What the API server fills in must say what the decoder takes for granted.
static void test_trustee_defaults(void **state)
{
	(void)state;
	struct crd c = trustee_crd();
	struct error err;
	static struct trustee_spec x;
	static struct trustee_spec y;
	json_t *bare = yaml_tree("{}");
	json_t *filled = with_defaults(c.schema, yaml_tree("{}"));
	assert_non_null(json_object_get(json_object_get(filled, "spec"), "profileType"));
	if (trustee_decode(bare, &x, &err) < 0 || trustee_decode(filled, &y, &err) < 0)
		fail_msg("%s", err.msg);
	same_hosting(&x.hosting, &y.hosting);
	assert_int_equal(x.profile, y.profile);
	assert_int_equal(x.allow_downgrade, y.allow_downgrade);
	assert_text(x.https_secret, y.https_secret);
	assert_int_equal(x.ibm_se_given, y.ibm_se_given);
	assert_int_equal(x.tls.profile, y.tls.profile);
	assert_int_equal(x.nvidia, y.nvidia);
	assert_int_equal(x.air_gapped, y.air_gapped);
	assert_int_equal(x.nbindings, y.nbindings);
	assert_int_equal(x.replicas, y.replicas);
	assert_int_equal(x.replicas_given, y.replicas_given);
	json_decref(bare);
	json_decref(filled);
	json_decref(c.root);
}

static void test_kbs_defaults(void **state)
{
	(void)state;
	struct crd c = kbs_crd();
	struct error err;
	static struct kbs_spec x;
	static struct kbs_spec y;
	json_t *bare = yaml_tree("{}");
	json_t *filled = with_defaults(c.schema, yaml_tree("{}"));
	assert_non_null(json_object_get(json_object_get(filled, "spec"), "kbsDeploymentType"));
	if (kbs_decode(bare, &x, &err) < 0 || kbs_decode(filled, &y, &err) < 0)
		fail_msg("%s", err.msg);
	same_hosting(&x.hosting, &y.hosting);
	assert_int_equal(x.deployment, y.deployment);
	assert_int_equal(x.replicas, y.replicas);
	assert_int_equal(json_array_size(x.secret_resources), json_array_size(y.secret_resources));
	assert_int_equal(x.cert_caches.n, y.cert_caches.n);
	json_decref(bare);
	json_decref(filled);
	json_decref(c.root);
}

// Filled in, they must stay harmless for every other way to write an object.
static struct filled_case {
	const char *name;
	const char *spec;
	bool kbs;
} filled_cases[] = {
	{"filled in: Restricted", "profileType: Restricted, httpsSpec: {tlsSecretName: a}", false},
	{"filled in: empty parts", "exposure: {}, metrics: {}, sessionStorage: {}, tlsConfig: {}, httpsSpec: {}", false},
	{"filled in: TLSRoute", "exposure: {type: TLSRoute, host: kbs.example.com, gatewayRef: {name: a}}", false},
	{"filled in: Ingress", "exposure: {type: Ingress, host: kbs.example.com, ingressClassName: a}", false},
	{"filled in: vault", "vault: {address: 'https://v', tokenSecretRef: {name: a, key: b}}", false},
	{"filled in: sessions", "sessionStorage: {type: Redis, secretRef: {name: a, key: b}}", false},
	{"filled in: image policy", "imagePolicy: {configMapKeyRef: {name: a, key: b}}", false},
	{"filled in: KbsConfig, vault", "vault: {address: 'https://v', tokenSecretRef: {name: a, key: b}}", true},
	{"filled in: KbsConfig, empty parts", "KbsDeploymentSpec: {}, kbsLocalCertCacheSpec: {}, ibmSEConfigSpec: {}",
	 true},
};

static void test_filled(void **state)
{
	const struct filled_case *row = *state;
	struct crd c = row->kbs ? kbs_crd() : trustee_crd();
	struct error err;
	CLEANUP_FREE
	char *text = xasprintf("{spec: {%s}}", row->spec);
	json_t *object = with_defaults(c.schema, yaml_tree(text));
	if (c.decode(object, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(object);
	json_decref(c.root);
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "schemas and decoders have the same fields, enums and defaults", test_same_fields, NULL);
	tests_add(&t, "both schemas have the same shared fields", test_shared, NULL);
	tests_add(&t, "TrusteeConfig: the schema's defaults change nothing", test_trustee_defaults, NULL);
	tests_add(&t, "KbsConfig: the schema's defaults change nothing", test_kbs_defaults, NULL);
	ADD_TABLE(&t, filled_cases, test_filled);
	return tests_run("trustee-crd", &t);
}
