// Maps of which nothing is left: a fault of older API servers. PURE
//
// Where server-side apply takes the last field out of a map in a custom resource, API servers up to 1.20 (seen there; 1.34
// is well) leave null in its place, which the schema then refuses: "spec.vault: Invalid value: "null": ...". Nobody else owns
// anything in such a map, so it may be taken out before what is rendered is applied again.
#ifndef COCO_CONTROLLER_EMPTIED_H
#define COCO_CONTROLLER_EMPTIED_H

#include <jansson.h>

// The merge patch (new) that takes out the maps that a refusal's message names, unless the rendered object has them; NULL
// where it names none.
json_t *emptied_patch(const char *message, const json_t *rendered) __attribute__((warn_unused_result, nonnull));

#endif
