// What is said of a resource of ours that is about to be stored: /validate-resources. PURE
//
// Of ConfidentialProfiles, TrusteeConfigs and KbsConfigs, what could not be used is refused, with the field, its value and
// the remedy; what is dangerous or useless gets a warning. What depends on other objects (ConfigMaps, Secrets, a Trustee) is
// for their status to say: they may come later. Refused is never what would keep an object from being repaired or deleted: deletions, writes of status, of
// objects that are being deleted, and those that leave the spec as it was.
// Any other kind is refused: then the rules of the webhook configuration are wrong.
#ifndef COCO_WEBHOOK_VALIDATE_RESOURCES_H
#define COCO_WEBHOOK_VALIDATE_RESOURCES_H

#include <jansson.h>

#include "webhook/mutate.h"

// review: as review_read_raw reads it. In ret only verdict (LEFT_ALONE or DENIED), cause, code, message and warnings are
// set; what they hold is in the arena or static.
// Besides, names_unchecked asks for validate_rivals.
void validate_resource(const struct review *review, struct arena *arena, struct decision *ret) __attribute__((nonnull));

// The second half, where a first one has found that an object takes names which others of its namespace may have already.
// others: its TrusteeConfigs and KbsConfigs, with their kind; NULL where they could not be asked for: then a warning is all,
// since two Trustees in a namespace are a rare mistake, and the status tells of it too.
void validate_rivals(const struct review *review, const json_t *others, struct arena *arena, struct decision *d)
	__attribute__((nonnull(1, 3, 4)));

#endif
