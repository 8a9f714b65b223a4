// The KbsConfig that a TrusteeConfig comes to.
#include <stdlib.h>
#include <string.h>

#include "common/json_made.h"
#include "common/mem.h"
#include "controller/trustee_parts.h"

#define LOG_LEVEL "debug"

static void set_name(const struct parts *p, json_t *spec, const char *key, const char *suffix)
{
	CLEANUP_FREE char *name = parts_name(p, suffix);
	json_put(spec, key, json_string(name));
}

static void set_names(const struct parts *p, json_t *spec)
{
	set_name(p, spec, "kbsConfigMapName", KBS_CONFIG_SUFFIX);
	set_name(p, spec, "kbsRvpsRefValuesConfigMapName", SUFFIX_REFERENCE_VALUES);
	set_name(p, spec, "kbsResourcePolicyConfigMapName", SUFFIX_RESOURCE_POLICY);
	set_name(p, spec, "kbsAttestationPolicyConfigMapName", SUFFIX_CPU_POLICY);
	set_name(p, spec, "kbsGpuAttestationPolicyConfigMapName", SUFFIX_GPU_POLICY);
	set_name(p, spec, "kbsAuthSecretName", SUFFIX_AUTH);
	if (p->https) {
		set_name(p, spec, "kbsHttpsKeySecretName", SUFFIX_HTTPS_KEY);
		set_name(p, spec, "kbsHttpsCertSecretName", SUFFIX_HTTPS_CERT);
	}
	if (p->signer) {
		set_name(p, spec, "kbsAttestationKeySecretName", SUFFIX_TOKEN_KEY);
		set_name(p, spec, "kbsAttestationCertSecretName", SUFFIX_TOKEN_CERT);
	}
}

// With Vault, the KBS serves no files. Items of a set: others' stay beside them.
static void set_resources(const struct parts *p, json_t *spec)
{
	if (p->in->spec->hosting.vault_given)
		return;
	CLEANUP_FREE char *status = parts_status_name(p);
	json_t *names = json_made(json_pack("[s]", status));
	for (size_t i = 0; i < json_array_size(p->in->spec->secret_resources); i++) {
		const char *name = json_string_value(json_array_get(p->in->spec->secret_resources, i));
		if (strcmp(name, status) != 0)
			(void)json_array_append_new(names, json_string(name));
	}
	json_put(spec, "kbsSecretResources", names);
}

// What both kinds have.
static const char *const shared_fields[] = {"instanceName",   "exposure",    "vault",  "imagePolicy",
											"sessionStorage", "resources",   "image",  "imagePullSecrets",
											"trusteeVersion", "driftPolicy", "metrics"};
#define SHARED_FIELDS (sizeof(shared_fields) / sizeof(shared_fields[0]))

static bool is_set(const json_t *spec, const char *field)
{
	const json_t *value = json_object_get(spec, field);
	return value != NULL && !json_is_null(value);
}

// As it is written: only what is set there.
static void hand_on(const struct parts *p, json_t *spec)
{
	const json_t *from = json_object_get(p->in->object, "spec");
	for (size_t i = 0; i < SHARED_FIELDS; i++)
		if (is_set(from, shared_fields[i]))
			json_put(spec, shared_fields[i], json_deep_copy(json_object_get(from, shared_fields[i])));
}

// The log level of the profile Permissive, unless an admin has chosen another one. true: it was rendered.
static bool set_log_level(struct parts *p, const json_t *live, json_t *spec)
{
	const char *now =
		json_string_value(json_object_get(json_object_get(json_object_get(live, "spec"), "KbsEnvVars"), LOG_VARIABLE));
	if (p->in->spec->profile == TRUSTEE_PERMISSIVE) {
		if (now != NULL && strcmp(now, LOG_LEVEL) != 0)
			return false;
		json_put(spec, "KbsEnvVars", json_pack("{s:s}", LOG_VARIABLE, LOG_LEVEL));
		return true;
	}
	const char *ours = kube_annotation(live, ANNOTATION_LOG_LEVEL);
	if (now != NULL && (strcasestr(now, "debug") != NULL || strcasestr(now, "trace") != NULL) &&
		(ours == NULL || strcmp(ours, now) != 0))
		remarks_add(
			&p->out->remarks, REMARK_WARNING, ABOUT_RESOURCES, "DebugLogging",
			"KbsConfig \"%s\" sets KbsEnvVars." LOG_VARIABLE
			" to \"%.100s\": with that, the KBS logs what guests send, which a Restricted one should not; remove "
			"it from the KbsConfig, or set it to info",
			kube_name(live), now);
	return false;
}

void parts_put_kbs_config(struct parts *p)
{
	const struct trustee_spec *from = p->in->spec;
	char *name = parts_name(p, KBS_CONFIG_SUFFIX);
	const json_t *live = parts_live(p, &KUBE_KBS_CONFIGS, name);
	json_t *spec = json_object();
	set_names(p, spec);
	json_put(spec, "kbsServiceType", json_string(from->hosting.service_type));
	json_put(spec, "kbsDeploymentType", json_string(kbs_deployment_names[KBS_ALL_IN_ONE]));
	set_resources(p, spec);
	if (from->ibm_se_given) {
		CLEANUP_FREE char *store = parts_name(p, SUFFIX_IBM_SE_STORE);
		json_put(spec, "ibmSEConfigSpec", json_pack("{s:s}", "certStorePvc", store));
	}
	if (from->replicas_given)
		json_put(spec, "KbsDeploymentSpec", json_pack("{s:I}", "replicas", (json_int_t)from->replicas));
	hand_on(p, spec);
	json_t *body = json_made(json_pack("{s:o}", "spec", spec));
	if (set_log_level(p, live, spec))
		json_put(body, "metadata", json_pack("{s:{s:s}}", "annotations", ANNOTATION_LOG_LEVEL, LOG_LEVEL));
	parts_put(p, &KUBE_KBS_CONFIGS, name, COMPONENT_KBS, body);
}

// ---- What counts of it

struct filter {
	const char *name; // the KbsConfig's
	json_t *spec;     // of what is left
	struct remarks *remarks;
};

// Of what is no longer applied, API servers leave empty maps.
static bool says_something(const json_t *value)
{
	const char *key;
	json_t *member;
	if (!json_is_object(value))
		return value != NULL && !json_is_null(value);
	json_object_foreach ((json_t *)(uintptr_t)value, key, member)
		if (says_something(member))
			return true;
	return false;
}

static void ignore_field(const struct filter *f, const char *field, const char *instead)
{
	if (says_something(json_object_get(f->spec, field)))
		remarks_add(
			f->remarks, REMARK_WARNING, ABOUT_RESOURCES, "FieldIgnored",
			"KbsConfig \"%s\" sets spec.%s, which its TrusteeConfig doesn't: it is ignored, as the configuration "
			"is made without it; set %s of the TrusteeConfig, and drop it here",
			f->name, field, instead);
	(void)json_object_del(f->spec, field);
}

// A pod that goes by one version, and a configuration by another, would leave the KBS without the policy that it looks for.
json_t *trustee_filter_kbs_config(const json_t *object, const struct trustee_spec *spec, const json_t *kbs,
								  struct remarks *remarks)
{
	const json_t *from = json_object_get(object, "spec");
	const bool signer = spec->profile == TRUSTEE_RESTRICTED || spec->token_secret != NULL;
	json_t *counted = json_made(json_copy((json_t *)(uintptr_t)kbs));
	if (!json_is_object(json_object_get(kbs, "spec")))
		return counted;
	const struct filter f = {kube_name(kbs), json_made(json_copy(json_object_get(kbs, "spec"))), remarks};
	for (size_t i = 0; i < SHARED_FIELDS; i++) {
		CLEANUP_FREE char *instead = xasprintf("spec.%s", shared_fields[i]);
		if (!is_set(from, shared_fields[i]))
			ignore_field(&f, shared_fields[i], instead);
	}
	if (spec->https_secret == NULL) {
		ignore_field(&f, "kbsHttpsKeySecretName", "spec.httpsSpec");
		ignore_field(&f, "kbsHttpsCertSecretName", "spec.httpsSpec");
	}
	if (!signer) {
		ignore_field(&f, "kbsAttestationKeySecretName", "spec.attestationTokenVerificationSpec");
		ignore_field(&f, "kbsAttestationCertSecretName", "spec.attestationTokenVerificationSpec");
	}
	json_put(counted, "spec", f.spec);
	return counted;
}
