// TrusteeConfig and KbsConfig: which Trustee runs, and how. PURE
//
// A TrusteeConfig says what is wanted; the controller makes a KbsConfig of it, named NAME-kbs-config, which says what the
// Deployment and the Service are like. Both accept every field of the upstream operator under its name, and additions of
// ours, all of them optional. Either is decoded once into a plain struct: defaults set, "" read as unset where upstream
// does, and everything checked that can be told without other objects. The schemas in crds/ say the same.
//
// Additions whose shape was ours to choose, and why it is this one:
//   exposure        No upstream counterpart: it makes no Route. Auto takes what the cluster has. A TLSRoute belongs to a
//                   Gateway, which only its admin can name.
//   vault           The token is a reference, never a value: a spec is no place for a secret.
//   imagePolicy     A policy for images (containers-policy.json) that guests fetch as KBS resource
//                   default/security-policy/NAME: the very path that a profile's image.securityPolicyURI names. Its text is
//                   no secret, so it stands in the spec or in a ConfigMap.
//   bindings        Which initdata gets which resources. A binding names a ConfidentialProfile, whose digest is known to
//                   the controller and changes with the profile, or digests as its status shows them, for guests of
//                   other clusters. A resource that bindings cover is released to their initdata alone; what none
//                   covers is left to the profile's policy. A path of fewer than three segments covers all below it, so
//                   that no wildcard can match by accident.
//   sessionStorage  Where the KBS keeps sessions, which several replicas have to share. The address holds a password,
//                   so it comes from a Secret, and reaches the KBS as an environment variable.
//   nvidia          Who verifies a GPU's evidence. Off writes nothing about it, as upstream.
//   driftPolicy     What becomes of changes that others make to objects of ours.
// bindings, nvidia and airGapped shape the configuration and policies that a TrusteeConfig generates. A KbsConfig only names
// those, so it has none of the three. What shapes the pods stands in both: a TrusteeConfig hands it on to its KbsConfig.
//
// What is stored is borrowed from the decoded object.
#ifndef COCO_COMMON_TRUSTEE_H
#define COCO_COMMON_TRUSTEE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/spec_part.h"

#define TRUSTEE_BINDINGS_MAX 64
#define TRUSTEE_BINDING_ITEMS_MAX 256 // digests, and resources, of one binding
#define TRUSTEE_PULL_SECRETS_MAX 16
#define KBS_CERT_CACHES_MAX 1024
#define KBS_SECRETS_MAX 1024
#define TLS_NAMES_MAX 64 // ciphers, groups

// It is the value of label app.kubernetes.io/instance.
#define TRUSTEE_NAME_MAX 63
// INSTANCE-trustee-deployment, INSTANCE-kbs-service and INSTANCE-attestation-status are at most 63 characters then, as a
// Service's name has to be, with a few to spare.
#define INSTANCE_NAME_MAX 40

#define KBS_CONFIG_SUFFIX "-kbs-config" // of the KbsConfig and the ConfigMap that a TrusteeConfig makes
#define KBS_CERT_CACHE_PATH "/opt/confidential-containers/attestation-service/kds-store/vcek"
#define TRUSTEE_VERSION_MINOR 21 // where neither trusteeVersion nor the image tells: 0.21
#define TRUSTEE_OLDEST_MINOR 15  // the first whose configuration is known: 0.15

enum trustee_profile { TRUSTEE_PERMISSIVE, TRUSTEE_RESTRICTED };
enum trustee_tls { TRUSTEE_TLS_OLD, TRUSTEE_TLS_INTERMEDIATE, TRUSTEE_TLS_MODERN, TRUSTEE_TLS_CUSTOM };
enum trustee_exposure { EXPOSE_AUTO, EXPOSE_ROUTE, EXPOSE_TLS_ROUTE, EXPOSE_INGRESS, EXPOSE_NONE };
enum nvidia_verifier { NVIDIA_OFF, NVIDIA_LOCAL, NVIDIA_REMOTE };
enum session_storage { SESSIONS_MEMORY, SESSIONS_REDIS, SESSIONS_POSTGRES };
enum drift_policy { DRIFT_ENFORCE, DRIFT_WARN, DRIFT_OFF };
enum kbs_deployment { KBS_ALL_IN_ONE, KBS_MICROSERVICES };

// As users write them, in the enums' order; each ends in NULL.
extern const char *const trustee_profile_names[],
	*const trustee_tls_names[], *const trustee_exposure_names[], *const nvidia_verifier_names[],
																	 *const session_storage_names[],
																		 *const drift_policy_names[],
																			 *const kbs_deployment_names[];

struct object_name {
	const char *name;
};

// What shapes the pods and how they are reached: the same fields in both kinds. Enums are ints: decoded by name.
struct trustee_hosting {
	const char *instance_name; // NULL: upstream's fixed names
	const char *service_type;  // ClusterIP, NodePort or LoadBalancer
	struct {
		int type;         // enum trustee_exposure
		const char *host; // NULL: the cluster chooses
		struct {
			const char *name;
			const char *ns;      // NULL: the same namespace
			const char *section; // the listener's name; NULL: any that fits
			bool given;
		} gateway;                 // of TLSRoute, and of nothing else
		const char *ingress_class; // of Ingress alone; NULL: the cluster's default
	} exposure;
	struct {
		const char *address;
		const char *mount_path; // without slashes at its ends
		struct object_key_ref token, ca;
	} vault;
	bool vault_given;
	struct {
		const char *name;                 // served as default/security-policy/NAME
		const char *text;                 // JSON; or:
		struct object_key_ref config_map; // exactly one of the two
	} image_policy;
	bool image_policy_given;
	struct {
		int type;                  // enum session_storage
		struct object_key_ref url; // a Secret's key; given unless Memory
	} sessions;
	struct {
		const json_t *requests, *limits; // objects of quantities, or NULL
	} resources;
	struct object_name pull_secrets[TRUSTEE_PULL_SECRETS_MAX];
	size_t npull_secrets;
	const char *image;                // NULL: the program's default
	const char *trustee_version;      // as written, or NULL
	int version_major, version_minor; // what it says; decides how Trustee is configured
	int drift;                        // enum drift_policy
	struct {
		bool service_monitor;
	} metrics;
};

struct trustee_binding {
	struct {
		const char *name;
		const char *ns; // NULL: the TrusteeConfig's
	} profile;
	bool profile_given;
	const json_t *digests;   // "sha256:HEX" and so on, as a profile's status has them; NULL or [] with a profile
	const json_t *resources; // "repository", "repository/type" or "repository/type/tag"; at least one
};

// TrusteeConfig.spec
struct trustee_spec {
	struct trustee_hosting hosting; // first: both kinds share the table that decodes it
	int profile;                    // enum trustee_profile
	bool allow_downgrade;
	const char *https_secret; // of type kubernetes.io/tls; NULL for plain HTTP
	const char *token_secret; // of type kubernetes.io/tls, EC P-256; NULL for none
	struct {
		const char *pv_name;
	} ibm_se;
	bool ibm_se_given;
	struct {
		int profile;                           // enum trustee_tls
		const char *min_version, *max_version; // "1.2", "1.3", NULL; these four are for custom alone
		const json_t *ciphers, *groups;        // strings, or NULL
	} tls;
	int nvidia; // enum nvidia_verifier
	bool air_gapped;
	const json_t *secret_resources; // names of Secrets, added to the KbsConfig's kbsSecretResources; or NULL
	struct trustee_binding bindings[TRUSTEE_BINDINGS_MAX];
	size_t nbindings;
	int64_t replicas;
	bool replicas_given; // else the KbsConfig's own stays
};

struct kbs_cert_cache {
	const char *secret;
	const char *mount_path; // absolute; no two the same
};

// KbsConfig.spec
struct kbs_spec {
	struct trustee_hosting hosting;
	int deployment; // enum kbs_deployment
	// Names of objects in the same namespace, NULL where unset. A TrusteeConfig may fill in what is missing.
	struct {
		const char *kbs, *as, *rvps, *reference_values;
		const char *attestation_policy, *gpu_attestation_policy, *resource_policy;
	} config_maps;
	struct {
		const char *auth, *https_key, *https_cert, *attestation_key, *attestation_cert;
	} secrets;
	const json_t *secret_resources; // names of Secrets, no two the same; or NULL
	struct {
		const char *cert_store_pvc; // NULL: no IBM SE
	} ibm_se;
	const json_t *env; // name to value, or NULL
	struct {
		struct kbs_cert_cache v[KBS_CERT_CACHES_MAX];
		size_t n;
	} cert_caches;
	int64_t replicas;
};

// Both take an object whose spec may be missing: upstream's is all optional. A struct is up to 17 KiB large. A message names the field, its value and the remedy.
int trustee_decode(const json_t *object, struct trustee_spec *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
int kbs_decode(const json_t *object, struct kbs_spec *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Whether an update weakens the profile: from Restricted to anything else, without the new object's allowDowngrade. What
// can't be decoded is judged by what it says; old may be anything.
int trustee_check_downgrade(const json_t *object, const json_t *old, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 3)));

// spec.instanceName of either kind; "" for the fixed names.
const char *trustee_instance(const json_t *object) __attribute__((warn_unused_result, returns_nonnull));

// Deployment, Service and a Secret have fixed names: one Trustee a namespace, or one for each instanceName. A KbsConfig holds
// them for itself, a TrusteeConfig for the KbsConfig that is made of it, so these two don't compete, nor does a KbsConfig that
// was made beforehand under that name. others: an array of TrusteeConfigs and KbsConfigs of the namespace, with their kind set,
// `object` itself among them or not. Returns the oldest that competes with it, borrowed; NULL for none.
const json_t *trustee_rival(const json_t *object, const json_t *others) __attribute__((warn_unused_result, nonnull));
// Which of two competitors is first: by creationTimestamp, then by name; one that isn't stored yet is behind those that are.
bool trustee_is_older(const json_t *a, const json_t *b) __attribute__((warn_unused_result, nonnull));

// Appends the name of a pod's volume for a Secret, as a volume's has no dots and at most 63 characters, and a Secret's may
// have dots and 253: PREFIX-NAME where that can be one, else PREFIX0-, a part of the name, and a hash that keeps it apart
// from others. No other volume's name may begin with a prefix that is used here: a label of at most 20 characters.
void trustee_volume_name(const char *prefix, const char *secret, struct buf *out) __attribute__((nonnull));

#endif
