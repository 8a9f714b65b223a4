// The Rego policies that Trustee runs by: who gets a resource, and what evidence is worth. PURE
//
// The texts are controller/policies/*.rego, indented with spaces instead of tabs, which YAML can't show as lines;
// tests/policy/test_trustee_policies.py evaluates what is made of them. The same input makes the same bytes, in whatever
// order bindings and digests come: no rollout while nothing changes.
#ifndef COCO_CONTROLLER_TRUSTEE_POLICY_H
#define COCO_CONTROLLER_TRUSTEE_POLICY_H

#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/initdata.h"

// Trustee's Rego engine takes no line of 1024 columns or more, 20000 lines and 1 MiB; a ConfigMap takes 1 MiB. With the
// limits below a policy stays under TRUSTEE_POLICY_MAX: give `out` that much.
#define TRUSTEE_POLICY_MAX ((size_t)512 * 1024)
#define POLICY_PATH_MAX 512
#define POLICY_BINDINGS_MAX 256
#define POLICY_DIGESTS_MAX 512 // in all bindings together

enum trustee_resource_policy {
	RESOURCE_PERMISSIVE,  // whoever attested, whatever the verdict: for evaluation
	RESOURCE_RESTRICTIVE, // only where all of a guest is affirming; never the sample TEE
	RESOURCE_IBM_SE,      // the same, for IBM Secure Execution only
};

// A resource, or all below a prefix, that only guests with one of these initdata get. Where several paths name a
// resource, the longest decides alone; bindings with the same path add up. What none names follows the general rule.
struct policy_binding {
	const char *path;                       // "repository/type/tag", or the prefix "repository/type/" or "repository/"
	const struct initdata_digests *digests; // borrowed
	size_t n;                               // 0: nobody gets it
};

// Appends data.policy.allow of one policy. -EINVAL: a path that can't be one, or bindings with RESOURCE_IBM_SE, whose
// evidence has no initdata digest. -EFBIG: more than the limits above.
int trustee_policy_resource(enum trustee_resource_policy policy, const struct policy_binding *v, size_t n,
							struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull(4, 5)));

enum trustee_attestation_policy { ATTESTATION_CPU, ATTESTATION_GPU };

// How a policy asks for a reference value.
enum trustee_references {
	REFERENCES_QUERY, // query_reference_value(name): Trustee 0.16 and newer
	REFERENCES_DATA,  // data.reference[name]: Trustee before 0.16
};

// Appends data.policy.trust_claims for a class of devices. Never fails, but by buf_ok(out).
void trustee_policy_attestation(enum trustee_attestation_policy policy, enum trustee_references references,
								struct buf *out) __attribute__((nonnull));

#endif
