// What becomes of a cluster's object when the controller applies what it renders. No I/O.
//
// As server-side apply has it: what is rendered gets in; what the controller, or upstream's operator before it, had set and
// isn't rendered goes, unless somebody else owns it too; all else stays. Who owns what is read from metadata.managedFields.
#ifndef COCO_CLI_AFTER_APPLY_H
#define COCO_CLI_AFTER_APPLY_H

#include <jansson.h>

// New; live and wanted of the same kind. Of Secrets and ConfigMaps both digested (controller/object_digest.h), or neither.
json_t *after_apply(const json_t *live, const json_t *wanted)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// The object without what the controller, or upstream's operator, has in its spec: what an admin has set there. New.
json_t *others_part(const json_t *live) __attribute__((warn_unused_result, nonnull, returns_nonnull));
// The object without what says nothing to people who compare two versions of it: status, managedFields, versions, our own
// bookkeeping. Keys are sorted. New.
json_t *comparable(const json_t *object) __attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
