// What is said of a resource of ours that is about to be stored: /validate-resources. PURE
//
// Of a ConfidentialProfile, what no pod could use is refused, with the field, its value and the remedy; what is dangerous
// or useless gets a warning. What depends on other objects (ConfigMaps, a Trustee) is for its status to say: they may come
// later. Refused is never what would keep an object from being repaired or deleted: deletions, writes of status, of
// objects that are being deleted, and those that leave the spec as it was.
// Any other kind is refused: then the rules of the webhook configuration are wrong.
#ifndef COCO_WEBHOOK_VALIDATE_RESOURCES_H
#define COCO_WEBHOOK_VALIDATE_RESOURCES_H

#include "webhook/mutate.h"

// review: as review_read_raw reads it. In ret only verdict (LEFT_ALONE or DENIED), cause, code, message and warnings are
// set; what they hold is in the arena or static.
void validate_resource(const struct review *review, struct arena *arena, struct decision *ret) __attribute__((nonnull));

#endif
