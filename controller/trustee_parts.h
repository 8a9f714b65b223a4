// What the files that render a TrusteeConfig share (trustee_render.c, trustee_bindings.c, trustee_keys.c, trustee_kbs.c);
// for them alone. PURE
#ifndef COCO_CONTROLLER_TRUSTEE_PARTS_H
#define COCO_CONTROLLER_TRUSTEE_PARTS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/secret_text.h"
#include "controller/trustee_dialect.h"
#include "controller/trustee_render.h"

// Names behind that of the TrusteeConfig.
#define SUFFIX_RESOURCE_POLICY "-resource-policy"
#define SUFFIX_REFERENCE_VALUES "-rvps-reference-values"
#define SUFFIX_CPU_POLICY "-attestation-policy-cpu"
#define SUFFIX_GPU_POLICY "-attestation-policy-gpu"
#define SUFFIX_AUTH "-auth-secret"
#define SUFFIX_HTTPS_KEY "-https-key-secret"
#define SUFFIX_HTTPS_CERT "-https-cert-secret"
#define SUFFIX_TOKEN_KEY "-attestation-key-secret"
#define SUFFIX_TOKEN_CERT "-attestation-cert-secret"
#define SUFFIX_IBM_SE_STORE "-ibmse-certstore-pvc"
#define ATTESTATION_STATUS "attestation-status"

// Of Vault's token, which goes into a header of each request, and of an address.
#define SECRET_WORD_MAX ((size_t)8 * 1024)

struct parts {
	const struct trustee_render_input *in;
	struct trustee_rendering *out;
	const char *name;                      // the TrusteeConfig's
	const struct trustee_dialect *dialect; // NULL: of a version that has none
	bool https, signer;                    // it is meant to have a certificate, a signer of tokens
	bool hold;                             // all objects stay as they are
	struct buf config;                     // kbs-config.toml; a secret with Vault's token
	bool config_ok;
	struct buf policy; // resource-policy.rego
	bool policy_ok;
};

// The TrusteeConfig's name and a suffix; new.
char *parts_name(const struct parts *p, const char *suffix)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// Of the Secret attestation-status; new.
char *parts_status_name(const struct parts *p) __attribute__((warn_unused_result, nonnull, returns_nonnull));
// Of in->objects; NULL where it isn't there. Borrowed.
const json_t *parts_live(const struct parts *p, const struct kube_resource *res, const char *name)
	__attribute__((nonnull));
// Renders an object, whose body is all but its metadata. Takes name and body; body NULL: it stays as it is. So it does where
// its name is another's (a remark), and with p->hold.
void parts_put(struct parts *p, const struct kube_resource *res, char *name, const char *component, json_t *body)
	__attribute__((nonnull(1, 2, 3, 4)));

// trustee_bindings.c: the policy that releases resources, with its bindings, into p->policy. Sets p->hold where a profile
// isn't known yet.
void parts_bind(struct parts *p) __attribute__((nonnull));

// trustee_kbs.c
void parts_put_kbs_config(struct parts *p) __attribute__((nonnull));

// trustee_keys.c: all Secrets, and what is to be told of certificates. With p->hold, only the latter.
int parts_put_secrets(struct parts *p, struct error *err) __attribute__((warn_unused_result, nonnull));
// The body of a Secret with one key.
json_t *parts_secret_body(const char *key, struct str value)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
