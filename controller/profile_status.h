// What the status of a ConfidentialProfile says: whether pods can use it, and which initdata they get. PURE
//
//   status:
//     observedGeneration: 3
//     conditions: [{type: Ready, status: "False", observedGeneration: 3, lastTransitionTime: ..., reason: Invalid,
//                   message: "spec.memory.min is above ...; generation 2 stays in use"}]
//     initdata: {digest: "sha256:...", algorithm: sha256, snpHostData: ..., tdxMrConfigId: ..., azurePcr8: ...,
//                annotationBytes: 1234, configMap: {namespace, name, key}}
//
// Reasons: Compiled (status True), and with False
//   ConfigMapMissing  a ConfigMap that it refers to isn't there, or lacks the key
//   TrusteeUnknown    the TrusteeConfig that it refers to isn't published
//   Invalid           anything else: the message names the field, its value and the remedy
//
// initdata is what is in force: of the last good generation where the newest one can't be used, absent where there never
// was a good one. configMap is the ConfigMap that it (configMapKeyRef) or the Trustee's address (trusteeConfigRef) comes
// from.
#ifndef COCO_CONTROLLER_PROFILE_STATUS_H
#define COCO_CONTROLLER_PROFILE_STATUS_H

#include <jansson.h>

#include "common/catalog.h"

// The status to apply, new, for an object as the API server has it and what became of it in the catalog. NULL where the
// object says all that already, so that nothing is written while nothing changes. All that the controller owns of
// status is in it, and nothing else: it is meant for server-side apply, under which what is left out goes.
//
// observedGeneration is the entry's: an object that the catalog has not caught up with gets no status ahead of time.
// now: RFC 3339, such as "2026-01-02T03:04:05Z"; becomes lastTransitionTime where Ready's status isn't what it was.
json_t *profile_status(const struct catalog_profile *entry, const json_t *object, const char *now)
	__attribute__((warn_unused_result, nonnull));

#endif
