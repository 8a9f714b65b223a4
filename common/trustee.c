#include "common/trustee.h"

#include <errno.h>
#include <string.h>

#include "common/trustee_check.h"

const char *const trustee_profile_names[] = {"Permissive", "Restricted", NULL};
const char *const trustee_tls_names[] = {"old", "intermediate", "modern", "custom", NULL};
const char *const trustee_exposure_names[] = {"Auto", "Route", "TLSRoute", "Ingress", "None", NULL};
const char *const nvidia_verifier_names[] = {"Off", "Local", "Remote", NULL};
const char *const session_storage_names[] = {"Memory", "Redis", "Postgres", NULL};
const char *const drift_policy_names[] = {"Enforce", "Warn", "Off", NULL};
const char *const kbs_deployment_names[] = {"AllInOneDeployment", "MicroservicesDeployment", NULL};

#define DEFAULT_SERVICE_TYPE "ClusterIP"

// ---- Fields of both kinds

#define H(member) offsetof(struct trustee_hosting, member)
// Nested structs are decoded in place, so their offsets count from the struct that holds them.
// NOLINTNEXTLINE(bugprone-macro-parentheses): these are members' names
#define H_IN(outer, member) (H(outer.member) - H(outer))

static const struct decode_field gateway[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = H_IN(exposure.gateway, name)},
	{.name = "namespace", .kind = DECODE_STRING, .offset = H_IN(exposure.gateway, ns)},
	{.name = "sectionName", .kind = DECODE_STRING, .offset = H_IN(exposure.gateway, section)},
	{0}};

static const struct decode_field exposure[] = {
	{.name = "type", .kind = DECODE_ENUM, .offset = H_IN(exposure, type), .names = trustee_exposure_names},
	{.name = "host", .kind = DECODE_STRING, .offset = H_IN(exposure, host)},
	{.name = "gatewayRef",
	 .kind = DECODE_OBJECT,
	 .offset = H_IN(exposure, gateway),
	 .fields = gateway,
	 .seen_offset = H_IN(exposure, gateway.given)},
	{.name = "ingressClassName", .kind = DECODE_STRING, .offset = H_IN(exposure, ingress_class)},
	{0}};

static const struct decode_field vault[] = {
	{.name = "address", .kind = DECODE_STRING, .offset = H_IN(vault, address)},
	{.name = "mountPath", .kind = DECODE_STRING, .offset = H_IN(vault, mount_path)},
	{.name = "tokenSecretRef",
	 .kind = DECODE_OBJECT,
	 .offset = H_IN(vault, token),
	 .fields = object_key_ref_fields,
	 .seen_offset = H_IN(vault, token.given)},
	{.name = "caSecretRef",
	 .kind = DECODE_OBJECT,
	 .offset = H_IN(vault, ca),
	 .fields = object_key_ref_fields,
	 .seen_offset = H_IN(vault, ca.given)},
	{0}};

static const struct decode_field image_policy[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = H_IN(image_policy, name)},
	{.name = "securityPolicy", .kind = DECODE_STRING, .offset = H_IN(image_policy, text)},
	{.name = "configMapKeyRef",
	 .kind = DECODE_OBJECT,
	 .offset = H_IN(image_policy, config_map),
	 .fields = object_key_ref_fields,
	 .seen_offset = H_IN(image_policy, config_map.given)},
	{0}};

static const struct decode_field session_fields[] = {
	{.name = "type", .kind = DECODE_ENUM, .offset = H_IN(sessions, type), .names = session_storage_names},
	{.name = "secretRef",
	 .kind = DECODE_OBJECT,
	 .offset = H_IN(sessions, url),
	 .fields = object_key_ref_fields,
	 .seen_offset = H_IN(sessions, url.given)},
	{0}};

static const struct decode_field resources[] = {
	{.name = "requests", .kind = DECODE_ANY, .offset = H_IN(resources, requests)},
	{.name = "limits", .kind = DECODE_ANY, .offset = H_IN(resources, limits)},
	{0}};

static const struct decode_field object_name[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = offsetof(struct object_name, name)}, {0}};

static const struct decode_field metrics[] = {
	{.name = "serviceMonitor", .kind = DECODE_BOOL, .offset = H_IN(metrics, service_monitor)}, {0}};

// clang-format off: rows of two tables
#define HOSTING_FIELDS                                                                                                \
	{.name = "instanceName", .kind = DECODE_STRING, .offset = H(instance_name)},                                      \
		{.name = "kbsServiceType", .kind = DECODE_STRING, .offset = H(service_type)},                                 \
		{.name = "exposure", .kind = DECODE_OBJECT, .offset = H(exposure), .fields = exposure},                       \
		{.name = "vault", .kind = DECODE_OBJECT, .offset = H(vault), .fields = vault, .seen_offset = H(vault_given)}, \
		{.name = "imagePolicy",                                                                                       \
		 .kind = DECODE_OBJECT,                                                                                       \
		 .offset = H(image_policy),                                                                                   \
		 .fields = image_policy,                                                                                      \
		 .seen_offset = H(image_policy_given)},                                                                       \
		{.name = "sessionStorage", .kind = DECODE_OBJECT, .offset = H(sessions), .fields = session_fields},           \
		{.name = "resources", .kind = DECODE_OBJECT, .offset = H(resources), .fields = resources},                    \
		{.name = "imagePullSecrets",                                                                                  \
		 .kind = DECODE_LIST,                                                                                         \
		 .offset = H(pull_secrets),                                                                                   \
		 .fields = object_name,                                                                                       \
		 .item_size = sizeof(struct object_name),                                                                     \
		 .items_max = TRUSTEE_PULL_SECRETS_MAX,                                                                       \
		 .count_offset = H(npull_secrets)},                                                                           \
		{.name = "image", .kind = DECODE_STRING, .offset = H(image)},                                                 \
		{.name = "trusteeVersion", .kind = DECODE_STRING, .offset = H(trustee_version)},                              \
		{.name = "driftPolicy", .kind = DECODE_ENUM, .offset = H(drift), .names = drift_policy_names},                \
	{                                                                                                                 \
		.name = "metrics", .kind = DECODE_OBJECT, .offset = H(metrics), .fields = metrics                             \
	}
// clang-format on

_Static_assert(offsetof(struct trustee_spec, hosting) == 0 && offsetof(struct kbs_spec, hosting) == 0,
			   "HOSTING_FIELDS count from the start of both");

#define HOSTING_DEFAULTS                                                                                             \
	{                                                                                                                \
		.service_type = DEFAULT_SERVICE_TYPE, .vault = {.mount_path = "secret"}, .image_policy = {.name = "signed"}, \
		.version_major = 0, .version_minor = TRUSTEE_VERSION_MINOR                                                   \
	}

// ---- TrusteeConfig

#define T(member) offsetof(struct trustee_spec, member)
// NOLINTNEXTLINE(bugprone-macro-parentheses): these are members' names
#define T_IN(outer, member) (T(outer.member) - T(outer))

static const struct decode_field https_spec[] = {{.name = "tlsSecretName", .kind = DECODE_STRING, .offset = 0}, {0}};

static const struct decode_field ibm_se[] = {{.name = "pvName", .kind = DECODE_STRING, .offset = T_IN(ibm_se, pv_name)},
											 {0}};

static const struct decode_field tls[] = {
	{.name = "profile", .kind = DECODE_ENUM, .offset = T_IN(tls, profile), .names = trustee_tls_names},
	{.name = "minVersion", .kind = DECODE_STRING, .offset = T_IN(tls, min_version)},
	{.name = "maxVersion", .kind = DECODE_STRING, .offset = T_IN(tls, max_version)},
	{.name = "ciphers", .kind = DECODE_STRINGS, .offset = T_IN(tls, ciphers)},
	{.name = "groups", .kind = DECODE_STRINGS, .offset = T_IN(tls, groups)},
	{0}};

static const struct decode_field profile_ref[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = offsetof(struct trustee_binding, profile.name)},
	{.name = "namespace", .kind = DECODE_STRING, .offset = offsetof(struct trustee_binding, profile.ns)},
	{0}};

_Static_assert(offsetof(struct trustee_binding, profile) == 0, "profile_ref counts from the start of a binding");

static const struct decode_field binding[] = {
	{.name = "profileRef",
	 .kind = DECODE_OBJECT,
	 .offset = offsetof(struct trustee_binding, profile),
	 .fields = profile_ref,
	 .seen_offset = offsetof(struct trustee_binding, profile_given)},
	{.name = "initdataDigests", .kind = DECODE_STRINGS, .offset = offsetof(struct trustee_binding, digests)},
	{.name = "resources", .kind = DECODE_STRINGS, .offset = offsetof(struct trustee_binding, resources)},
	{0}};

static const struct decode_field trustee_fields[] = {
	{.name = "profileType", .kind = DECODE_ENUM, .offset = T(profile), .names = trustee_profile_names},
	{.name = "allowDowngrade", .kind = DECODE_BOOL, .offset = T(allow_downgrade)},
	{.name = "httpsSpec", .kind = DECODE_OBJECT, .offset = T(https_secret), .fields = https_spec},
	{.name = "attestationTokenVerificationSpec",
	 .kind = DECODE_OBJECT,
	 .offset = T(token_secret),
	 .fields = https_spec},
	{.name = "ibmSE", .kind = DECODE_OBJECT, .offset = T(ibm_se), .fields = ibm_se, .seen_offset = T(ibm_se_given)},
	{.name = "tlsConfig", .kind = DECODE_OBJECT, .offset = T(tls), .fields = tls},
	{.name = "nvidia", .kind = DECODE_ENUM, .offset = T(nvidia), .names = nvidia_verifier_names},
	{.name = "airGapped", .kind = DECODE_BOOL, .offset = T(air_gapped)},
	{.name = "secretResources", .kind = DECODE_STRINGS, .offset = T(secret_resources)},
	{.name = "bindings",
	 .kind = DECODE_LIST,
	 .offset = T(bindings),
	 .fields = binding,
	 .item_size = sizeof(struct trustee_binding),
	 .items_max = TRUSTEE_BINDINGS_MAX,
	 .count_offset = T(nbindings)},
	{.name = "replicas", .kind = DECODE_INT, .offset = T(replicas), .seen_offset = T(replicas_given)},
	HOSTING_FIELDS,
	{0}};

static const struct trustee_spec trustee_defaults = {
	.hosting = HOSTING_DEFAULTS, .tls = {.profile = TRUSTEE_TLS_INTERMEDIATE}, .replicas = 1};

int trustee_decode(const json_t *object, struct trustee_spec *ret, struct error *err)
{
	*ret = trustee_defaults;
	const json_t *spec = json_object_get(object, "spec");
	int rc = spec == NULL || json_is_null(spec) ? 0 : decode_object(spec, trustee_fields, "spec", ret, err);
	if (rc == 0)
		rc = trustee_check_name(object, err);
	return rc < 0 ? rc : trustee_check(ret, err);
}

// ---- KbsConfig

#define K(member) offsetof(struct kbs_spec, member)
// NOLINTNEXTLINE(bugprone-macro-parentheses): these are members' names
#define K_IN(outer, member) (K(outer.member) - K(outer))

static const struct decode_field ibm_se_store[] = {
	{.name = "certStorePvc", .kind = DECODE_STRING, .offset = K_IN(ibm_se, cert_store_pvc)}, {0}};

static const struct decode_field cert_cache[] = {
	{.name = "secretName", .kind = DECODE_STRING, .offset = offsetof(struct kbs_cert_cache, secret)},
	{.name = "mountPath", .kind = DECODE_STRING, .offset = offsetof(struct kbs_cert_cache, mount_path)},
	{0}};

static const struct decode_field cert_caches[] = {{.name = "secrets",
												   .kind = DECODE_LIST,
												   .offset = K_IN(cert_caches, v),
												   .fields = cert_cache,
												   .item_size = sizeof(struct kbs_cert_cache),
												   .items_max = KBS_CERT_CACHES_MAX,
												   .count_offset = K_IN(cert_caches, n)},
												  {0}};

// Its only field is decoded straight into the spec.
static const struct decode_field deployment[] = {{.name = "replicas", .kind = DECODE_INT, .offset = 0}, {0}};

static const struct decode_field kbs_fields[] = {
	{.name = "kbsConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.kbs)},
	{.name = "kbsAsConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.as)},
	{.name = "kbsRvpsConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.rvps)},
	{.name = "kbsRvpsRefValuesConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.reference_values)},
	{.name = "kbsAttestationPolicyConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.attestation_policy)},
	{.name = "kbsGpuAttestationPolicyConfigMapName",
	 .kind = DECODE_STRING,
	 .offset = K(config_maps.gpu_attestation_policy)},
	{.name = "kbsResourcePolicyConfigMapName", .kind = DECODE_STRING, .offset = K(config_maps.resource_policy)},
	{.name = "kbsAuthSecretName", .kind = DECODE_STRING, .offset = K(secrets.auth)},
	{.name = "kbsHttpsKeySecretName", .kind = DECODE_STRING, .offset = K(secrets.https_key)},
	{.name = "kbsHttpsCertSecretName", .kind = DECODE_STRING, .offset = K(secrets.https_cert)},
	{.name = "kbsAttestationKeySecretName", .kind = DECODE_STRING, .offset = K(secrets.attestation_key)},
	{.name = "kbsAttestationCertSecretName", .kind = DECODE_STRING, .offset = K(secrets.attestation_cert)},
	{.name = "kbsDeploymentType", .kind = DECODE_ENUM, .offset = K(deployment), .names = kbs_deployment_names},
	{.name = "kbsSecretResources", .kind = DECODE_STRINGS, .offset = K(secret_resources)},
	{.name = "ibmSEConfigSpec", .kind = DECODE_OBJECT, .offset = K(ibm_se), .fields = ibm_se_store},
	{.name = "KbsEnvVars", .kind = DECODE_STRING_MAP, .offset = K(env)},
	{.name = "kbsLocalCertCacheSpec", .kind = DECODE_OBJECT, .offset = K(cert_caches), .fields = cert_caches},
	{.name = "KbsDeploymentSpec", .kind = DECODE_OBJECT, .offset = K(replicas), .fields = deployment},
	HOSTING_FIELDS,
	{0}};

static const struct kbs_spec kbs_defaults = {.hosting = HOSTING_DEFAULTS, .replicas = 1};

int kbs_decode(const json_t *object, struct kbs_spec *ret, struct error *err)
{
	*ret = kbs_defaults;
	const json_t *spec = json_object_get(object, "spec");
	int rc = spec == NULL || json_is_null(spec) ? 0 : decode_object(spec, kbs_fields, "spec", ret, err);
	return rc < 0 ? rc : kbs_check(ret, err);
}
