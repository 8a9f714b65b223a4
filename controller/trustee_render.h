// A TrusteeConfig's objects: configuration, policies, keys, and the KbsConfig that runs them. PURE
//
// But for new keys, which OpenSSL makes where there are none yet: whatever exists is kept, so that rendering again renders
// the same. Object names and keys are upstream's:
//
//   ConfigMap T-kbs-config            kbs-config.toml; a Secret where a secret is in it: Vault's token, the address of Redis
//   ConfigMap T-resource-policy       resource-policy.rego
//   ConfigMap T-rvps-reference-values reference_value: the admin's once it is there, "{\n}\n" at first
//   ConfigMap T-attestation-policy-cpu, -gpu   default_cpu.rego, default_gpu.rego
//   Secret    T-auth-secret           privateKey, publicKey (Ed25519); only the latter is ever mounted
//   Secret    T-https-key-secret, T-https-cert-secret              privateKey, certificate
//   Secret    T-attestation-key-secret, T-attestation-cert-secret  token.key, token.crt
//   Secret    [INSTANCE-]attestation-status                        status: success
//   PersistentVolumeClaim T-ibmse-certstore-pvc
//   KbsConfig T-kbs-config            the last one
//
// Where Restricted names no token signer, one is made: P-256, self-signed, renewed before it expires.
#ifndef COCO_CONTROLLER_TRUSTEE_RENDER_H
#define COCO_CONTROLLER_TRUSTEE_RENDER_H

#include <stdint.h>

#include "common/initdata.h"
#include "common/trustee.h"
#include "controller/remarks.h"
#include "controller/rendered.h"

#define TRUSTEE_SIGNER_DAYS 3650
#define LOG_VARIABLE "RUST_LOG" // of KbsEnvVars
// On the KbsConfig: the log level that is ours, and goes with the profile Permissive.
#define ANNOTATION_LOG_LEVEL NAME_GROUP "/log-level"
#define TRUSTEE_MADE_MAX 2 // the admin's keys, the signer of tokens

// What a profile's initdata hashes to. 0; -ENOENT: there is no such profile; -EAGAIN: it isn't known yet; -EINVAL: there
// never was a good one. err: for people, with the remedy.
typedef int (*profile_digests_fn)(void *ctx, const char *ns, const char *name, struct initdata_digests *ret,
								  struct error *err);

struct trustee_render_input {
	const json_t *object;            // the TrusteeConfig, with metadata
	const struct trustee_spec *spec; // decoded from it
	// "Secret/NAME", "ConfigMap/NAME", "KbsConfig/NAME" in the same namespace to whole objects: those that trustee_needs()
	// names and that exist.
	const json_t *objects;
	profile_digests_fn profile;
	void *profile_ctx;
	const char *host; // where guests reach it, once that is known: the HTTPS certificate must be good for it; or NULL
	bool
		host_is_service; // they reach it by its Service, or by a name that nobody has told: not good for it is a warning
	int64_t now_s;
	const struct trustee_world *world;
};

// Tells of each object of the namespace that rendering reads, whether it exists or not.
void trustee_needs(const json_t *object, const struct trustee_spec *spec,
				   void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
	__attribute__((nonnull(1, 2, 3)));

struct trustee_rendering {
	struct rendered objects;
	struct remarks remarks;
	// Of the certificate that is in use, the last good one where the given one isn't good; 0 and NULL where there is none.
	int64_t not_after_s;
	char *ca;             // PEM, new: what guests must trust to reach it
	int64_t look_again_s; // when a certificate changes its standing by time alone, since 1970; 0: never
	// Names of Secrets (new) whose keys were made just now, as there were none that are good.
	char *made[TRUSTEE_MADE_MAX];
	size_t nmade;
};

// Any earlier content of ret is overwritten, not released. What is wrong with the inputs is a remark: then the objects that
// it concerns are kept as they are, if they are there. An error, -ENOMEM or of OpenSSL's random numbers, means: nothing can
// be said, try again.
int trustee_render(const struct trustee_render_input *in, struct trustee_rendering *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
void trustee_rendering_release(struct trustee_rendering *r) __attribute__((nonnull));
#define CLEANUP_TRUSTEE_RENDERING CLEANUP(trustee_rendering_release)

// The KbsConfig of a TrusteeConfig as it counts: without what others have set there though it is the TrusteeConfig's to say,
// and it doesn't; remarked. An admin's are only KbsDeploymentSpec, KbsEnvVars, kbsSecretResources, kbsLocalCertCacheSpec and
// ibmSEConfigSpec. New; it shares with kbs.
json_t *trustee_filter_kbs_config(const json_t *object, const struct trustee_spec *spec, const json_t *kbs,
								  struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

// ConfigMap trustee-endpoint-T with the keys url and ca.crt (NULL: none), from which profiles make initdata
// (trusteeConfigRef); appended to r.
void trustee_render_endpoint(const json_t *object, const char *url, const char *ca, struct rendered *r)
	__attribute__((nonnull(1, 2, 4)));

#endif
