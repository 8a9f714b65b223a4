// Objects that the upstream operator made become ours, with all that it had set in them. PURE
//
// Server-side apply removes a field only where its last owner gives it up: what upstream's operator once wrote, such as the
// init container of its Deployment or the log level of its KbsConfig, would stay for ever. So its entry in managedFields is
// made part of ours, and the next apply takes away what isn't rendered. What others own, such as an admin's own changes,
// stays theirs, and finalizers stay.
#ifndef COCO_CONTROLLER_TAKEOVER_H
#define COCO_CONTROLLER_TAKEOVER_H

#include <jansson.h>

// On its KbsConfigs. Its operator waits for it to be removed by itself, which isn't there any more.
#define UPSTREAM_FINALIZER "kbsconfig.confidentialcontainers.org/finalizer"

// A merge patch (new) for an object as the API server has it, managedFields included: after it, apply. NULL: upstream's operator
// owns nothing in it.
json_t *takeover_patch(const json_t *object) __attribute__((warn_unused_result, nonnull));

// The fields (fieldsV1, new) that the next apply takes away where it doesn't name them: those that are ours, and those that
// takeover_patch() makes ours; without the ones that somebody else owns as well.
json_t *takeover_fields(const json_t *object) __attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
