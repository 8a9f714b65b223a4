#include "common/trustee_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/kube_name.h"

#define PATH_ROOM 128
#define RESTRICTED "Restricted"

// ---- TrusteeConfig

int trustee_check_name(const json_t *object, struct error *err)
{
	const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
	if (name == NULL || strlen(name) <= TRUSTEE_NAME_MAX)
		return 0;
	return error_set(
		err, EINVAL,
		"metadata.name is \"%s\", of %zu characters; it becomes the value of a label, which has at most %d: "
		"choose a shorter one",
		name, strlen(name), TRUSTEE_NAME_MAX);
}

static int check_profile(struct trustee_spec *s, struct error *err)
{
	int rc = check_optional_name(&s->https_secret, "spec.httpsSpec.tlsSecretName", "Secret", err);
	if (rc == 0)
		rc =
			check_optional_name(&s->token_secret, "spec.attestationTokenVerificationSpec.tlsSecretName", "Secret", err);
	if (rc < 0)
		return rc;
	if (s->profile == TRUSTEE_RESTRICTED && s->https_secret == NULL)
		return error_set(
			err, EINVAL,
			"spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the "
			"name of a Secret of type kubernetes.io/tls, or else guests could not tell the KBS from whoever "
			"answers in its place");
	if (s->ibm_se_given && (s->ibm_se.pv_name == NULL || s->ibm_se.pv_name[0] == '\0'))
		return error_set(
			err, EINVAL,
			"spec.ibmSE.pvName is missing; set it to the name of the PersistentVolume that holds the IBM SE "
			"certificates");
	return s->ibm_se_given ? check_object_name(s->ibm_se.pv_name, "spec.ibmSE.pvName", "PersistentVolume", err) : 0;
}

static int check_tls_version(const char *version, const char *path, struct error *err)
{
	if (version == NULL || strcmp(version, "1.2") == 0 || strcmp(version, "1.3") == 0)
		return 0;
	return error_set(err, EINVAL, "%s is \"%s\"; it must be 1.2 or 1.3, as Trustee knows no other and would not start",
					 path, version);
}

// They are joined by ':' into one line of Trustee's configuration.
static int check_tls_names(const json_t *names, const char *path, struct error *err)
{
	if (json_array_size(names) > TLS_NAMES_MAX)
		return error_set(err, EINVAL, "%s has %zu names; it may have %d", path, json_array_size(names), TLS_NAMES_MAX);
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		bool good = name[0] != '\0';
		for (const char *p = name; *p != '\0'; p++)
			good &= *p > ' ' && *p <= '~' && strchr("\"'\\", *p) == NULL;
		if (!good)
			return error_set(err, EINVAL,
							 "%s[%zu] is \"%s\"; it must be one IANA or OpenSSL name, without blanks, quotes, "
							 "backslashes and line breaks",
							 path, i, name);
	}
	return 0;
}

static int check_tls(const struct trustee_spec *s, struct error *err)
{
	const char *min = s->tls.min_version;
	const char *max = s->tls.max_version;
	int rc = check_tls_version(min, "spec.tlsConfig.minVersion", err);
	if (rc == 0)
		rc = check_tls_version(max, "spec.tlsConfig.maxVersion", err);
	if (rc == 0 && min != NULL && max != NULL && strcmp(min, max) > 0)
		rc = error_set(err, EINVAL,
					   "spec.tlsConfig.minVersion %s is above spec.tlsConfig.maxVersion %s; raise maxVersion or lower "
					   "minVersion",
					   min, max);
	if (rc == 0)
		rc = check_tls_names(s->tls.ciphers, "spec.tlsConfig.ciphers", err);
	return rc < 0 ? rc : check_tls_names(s->tls.groups, "spec.tlsConfig.groups", err);
}

// ---- Bindings

static bool is_digest(const char *text)
{
	static const struct {
		const char *prefix;
		size_t digits;
	} kinds[] = {{"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);
		if (strncmp(text, kinds[i].prefix, n) == 0)
			return strlen(text + n) == kinds[i].digits && strspn(text + n, "0123456789abcdef") == kinds[i].digits;
	}
	return false;
}

// One to three segments.
static bool is_resource_path(const char *path)
{
	for (int segments = 1; segments <= 3; segments++) {
		size_t n = strcspn(path, "/");
		if (!is_resource_segment(path, n))
			return false;
		if (path[n] == '\0')
			return true;
		path += n + 1;
	}
	return false;
}

static int check_items(const json_t *list, const char *path, const char *name, bool (*good)(const char *),
					   const char *wanted, struct error *err)
{
	if (json_array_size(list) > TRUSTEE_BINDING_ITEMS_MAX)
		return error_set(err, EINVAL, "%s.%s has %zu items; it may have %d", path, name, json_array_size(list),
						 TRUSTEE_BINDING_ITEMS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (!good(text))
			return error_set(err, EINVAL, "%s.%s[%zu] is \"%s\"; it must be %s", path, name, i, text, wanted);
	}
	return 0;
}

static int check_binding(const struct trustee_binding *b, const char *path, struct error *err)
{
	if (b->profile_given == (json_array_size(b->digests) > 0))
		return error_set(err, EINVAL, "%s needs exactly one of profileRef and initdataDigests; it has %s", path,
						 b->profile_given ? "both" : "none");
	if (b->profile_given && (!is_subdomain(b->profile.name) || (b->profile.ns != NULL && !is_dns_label(b->profile.ns))))
		return error_set(
			err, EINVAL,
			"%s.profileRef is \"%s\" of namespace \"%s\"; it must be the name of a ConfidentialProfile, and "
			"of its namespace where that is another",
			path, b->profile.name != NULL ? b->profile.name : "", b->profile.ns != NULL ? b->profile.ns : "");
	if (json_array_size(b->resources) == 0)
		return error_set(err, EINVAL,
						 "%s.resources is missing; list the paths of resources that this initdata may get, such as "
						 "default/app/key",
						 path);
	int rc = check_items(b->digests, path, "initdataDigests", is_digest,
						 "as a profile's status has it, such as sha256:HEX with 64 digits of 0-9 and a-f", err);
	return rc < 0 ? rc
				  : check_items(b->resources, path, "resources", is_resource_path,
								"REPOSITORY, REPOSITORY/TYPE or REPOSITORY/TYPE/TAG, such as default/app/key, without "
								"kbs:/// and wildcards",
								err);
}

static int check_bindings(const struct trustee_spec *s, struct error *err)
{
	for (size_t i = 0; i < s->nbindings; i++) {
		char path[PATH_ROOM];
		(void)snprintf(path, sizeof(path), "spec.bindings[%zu]", i);
		int rc = check_binding(&s->bindings[i], path, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_together(const struct trustee_spec *s, struct error *err)
{
	if (s->air_gapped && s->nvidia == NVIDIA_REMOTE)
		return error_set(err, EINVAL,
						 "spec.nvidia is Remote, which asks NVIDIA's service, but spec.airGapped is true; set nvidia: "
						 "Local or airGapped: false");
	if (s->hosting.vault_given && json_array_size(s->secret_resources) > 0)
		return error_set(err, EINVAL,
						 "spec.secretResources and spec.vault exclude each other, as the KBS reads all resources from "
						 "Vault then; write these to Vault and drop spec.secretResources");
	return 0;
}

int trustee_check(struct trustee_spec *s, struct error *err)
{
	int rc = hosting_check(&s->hosting, err);
	if (rc == 0)
		rc = check_profile(s, err);
	if (rc == 0)
		rc = check_tls(s, err);
	if (rc == 0)
		rc = check_bindings(s, err);
	if (rc == 0)
		rc = check_secret_names(s->secret_resources, "spec.secretResources", err);
	if (rc == 0)
		rc = check_replicas(s->replicas, "spec.replicas", err);
	return rc < 0 ? rc : check_together(s, err);
}

static const char *profile_text(const json_t *object)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, "spec"), "profileType"));
	return text != NULL ? text : trustee_profile_names[TRUSTEE_PERMISSIVE];
}

int trustee_check_downgrade(const json_t *object, const json_t *old, struct error *err)
{
	const char *now = profile_text(object);
	if (strcmp(profile_text(old), RESTRICTED) != 0 || strcmp(now, RESTRICTED) == 0 ||
		json_is_true(json_object_get(json_object_get(object, "spec"), "allowDowngrade")))
		return 0;
	return error_set(
		err, EINVAL,
		"spec.profileType goes from Restricted to %s, which releases every resource to any guest; if that is "
		"meant, set spec.allowDowngrade: true as well",
		now);
}

// ---- KbsConfig

static int check_object_names(struct kbs_spec *s, struct error *err)
{
	const struct {
		const char **name;
		const char *path;
		const char *kind;
	} all[] = {
		{&s->config_maps.kbs, "spec.kbsConfigMapName", "ConfigMap"},
		{&s->config_maps.as, "spec.kbsAsConfigMapName", "ConfigMap"},
		{&s->config_maps.rvps, "spec.kbsRvpsConfigMapName", "ConfigMap"},
		{&s->config_maps.reference_values, "spec.kbsRvpsRefValuesConfigMapName", "ConfigMap"},
		{&s->config_maps.attestation_policy, "spec.kbsAttestationPolicyConfigMapName", "ConfigMap"},
		{&s->config_maps.gpu_attestation_policy, "spec.kbsGpuAttestationPolicyConfigMapName", "ConfigMap"},
		{&s->config_maps.resource_policy, "spec.kbsResourcePolicyConfigMapName", "ConfigMap"},
		{&s->secrets.auth, "spec.kbsAuthSecretName", "Secret"},
		{&s->secrets.https_key, "spec.kbsHttpsKeySecretName", "Secret"},
		{&s->secrets.https_cert, "spec.kbsHttpsCertSecretName", "Secret"},
		{&s->secrets.attestation_key, "spec.kbsAttestationKeySecretName", "Secret"},
		{&s->secrets.attestation_cert, "spec.kbsAttestationCertSecretName", "Secret"},
		{&s->ibm_se.cert_store_pvc, "spec.ibmSEConfigSpec.certStorePvc", "PersistentVolumeClaim"},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int rc = check_optional_name(all[i].name, all[i].path, all[i].kind, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_env_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._0123456789";
	return name[0] != '\0' && strspn(name, letters) == strlen(name) && strchr("0123456789", name[0]) == NULL;
}

// Values may be secrets: they are in no message.
static int check_env(const json_t *env, struct error *err)
{
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)env, name, value)
		if (!is_env_name(name))
			return error_set(
				err, EINVAL,
				"spec.KbsEnvVars has \"%s\"; the name of an environment variable has letters, digits, '_', "
				"'-' and '.', and begins with no digit",
				name);
	return 0;
}

static int check_cert_cache(struct kbs_cert_cache *c, const char *path, struct error *err)
{
	char at[2 * PATH_ROOM];
	(void)snprintf(at, sizeof(at), "%s.secretName", path);
	if (c->secret == NULL)
		return error_set(err, EINVAL, "%s is missing; set it to the name of a Secret", at);
	int rc = check_object_name(c->secret, at, "Secret", err);
	if (rc < 0)
		return rc;
	if (c->mount_path == NULL || c->mount_path[0] == '\0')
		c->mount_path = KBS_CERT_CACHE_PATH;
	const char *p = c->mount_path;
	size_t n = strlen(p);
	bool climbs = strstr(p, "/../") != NULL || (n >= 3 && strcmp(p + n - 3, "/..") == 0);
	if (p[0] == '/' && strpbrk(p, ":\n\r") == NULL && !climbs)
		return 0;
	return error_set(err, EINVAL,
					 "%s.mountPath is \"%s\"; it must be an absolute path without ':', line breaks and \"..\"", path,
					 p);
}

static int check_cert_caches(struct kbs_spec *s, struct error *err)
{
	struct kbs_cert_cache *v = s->cert_caches.v;
	for (size_t i = 0; i < s->cert_caches.n; i++) {
		char path[PATH_ROOM];
		(void)snprintf(path, sizeof(path), "spec.kbsLocalCertCacheSpec.secrets[%zu]", i);
		int rc = check_cert_cache(&v[i], path, err);
		for (size_t j = 0; rc == 0 && j < i; j++)
			if (strcmp(v[i].mount_path, v[j].mount_path) == 0)
				rc = error_set(
					err, EINVAL,
					"%s.mountPath is \"%s\", as is that of secrets[%zu]; give each a path of its own, such as "
					"that and /HWID",
					path, v[i].mount_path, j);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int kbs_check(struct kbs_spec *s, struct error *err)
{
	int rc = hosting_check(&s->hosting, err);
	if (rc == 0)
		rc = check_object_names(s, err);
	if (rc == 0)
		rc = check_secret_names(s->secret_resources, "spec.kbsSecretResources", err);
	if (rc == 0)
		rc = check_env(s->env, err);
	if (rc == 0)
		rc = check_cert_caches(s, err);
	return rc < 0 ? rc : check_replicas(s->replicas, "spec.KbsDeploymentSpec.replicas", err);
}
