// JSON Patch (RFC 6902), as far as our own patches go: add and replace. PURE
#ifndef COCO_COMMON_JSON_PATCH_H
#define COCO_COMMON_JSON_PATCH_H

#include <jansson.h>

#include "common/error.h"

// Changes *document in place, member by member of the array `patch`. On error *document may be half changed.
int json_patch_apply(json_t *document, const json_t *patch, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 3)));

#endif
