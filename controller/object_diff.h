// Whether a live object is as we want it, and what it comes to once that is applied. PURE
//
// The API server adds fields of its own and others', which don't count: every field that is wanted must be there with its
// value. Lists are compared as server-side apply merges them: those with keys (containers and volumes by name, mounts by
// mountPath, ports by port and protocol, ownerReferences by uid, ...) by key, so that others' items don't count; sets as
// sets; all others item by item. Maps that are replaced as a whole (a Service's and a Deployment's selector) must be the
// same. Resources' quantities are the same where they say the same amount, and an empty list is the same as none, as the
// API server leaves it out.
#ifndef COCO_CONTROLLER_OBJECT_DIFF_H
#define COCO_CONTROLLER_OBJECT_DIFF_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"

// true where the live object has all that is wanted. Otherwise appends the path of the first field that differs, without its
// value, which may be secret: spec.template.spec.containers[name=kbs].image, spec.ports[port=8080,protocol=TCP].targetPort,
// spec.kbsSecretResources[=attestation-status], metadata.labels[app.kubernetes.io/name], spec.rules[0].host. Of Secrets and ConfigMaps compare
// digested ones (object_digest.h), on both sides.
bool object_covers(const json_t *live, const json_t *wanted, struct buf *where) __attribute__((nonnull));

// What server-side apply makes of the two: the live object, with all that is wanted in it (new; it shares values with both).
// What whoever applies has stopped to want stays, since nothing here tells who owned it.
json_t *object_merge(const json_t *live, const json_t *wanted)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
