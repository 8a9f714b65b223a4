// Secrets and ConfigMaps as we remember them: by the digest of each value, never by the value. PURE
//
// Enough to tell whether something has changed, which keys there are, and whether an object is as it was applied.
#ifndef COCO_CONTROLLER_OBJECT_DIGEST_H
#define COCO_CONTROLLER_OBJECT_DIGEST_H

#include <jansson.h>

#include "common/buf.h"

// A copy (new), which shares nothing with the object, in which each value under data, binaryData and stringData is its SHA-256
// in hexadecimal, stringData's and data's under `data` as the API server would have them (a Secret's by its bytes, not by the
// base64). The annotation of kubectl apply, which has all values once more, is left out. Of other kinds: the object itself, a
// new reference.
json_t *object_digest(const json_t *object) __attribute__((warn_unused_result, nonnull, returns_nonnull));
// The same as an informer's trim: takes the object, and wipes the values in it. Returns it or another (new).
json_t *object_digest_trim(json_t *object) __attribute__((warn_unused_result, nonnull, returns_nonnull));

// One digest over what several digested objects hold, for a pod's template: content only, so that neither labels nor
// versions count. objects: "Kind/name" to a digested object, in any order; one without data counts as one that isn't there.
// Appends hexadecimal.
void object_digest_all(const json_t *objects, struct buf *out) __attribute__((nonnull));

#endif
