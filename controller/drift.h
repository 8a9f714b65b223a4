// What is to be done about a live object, as it differs from what is rendered. PURE
#ifndef COCO_CONTROLLER_DRIFT_H
#define COCO_CONTROLLER_DRIFT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"

enum drift_verdict {
	DRIFT_NONE,   // it is as rendered, or what others did to it is not to be looked at
	DRIFT_NEW,    // it isn't there yet, or something else is rendered than was applied: apply it
	DRIFT_REPAIR, // others have changed or deleted it: apply it again, and say so
	DRIFT_REPORT, // others have changed or deleted it, and that is to be reported only
};

// live: NULL where there is none. wanted: as rendered; of Secrets and ConfigMaps both digested (object_digest.h). policy: enum
// drift_policy. settled: all objects were applied for the present generation once, so that one that isn't there was deleted.
// where: appended the path of the first field that differs, "" for a deleted object.
enum drift_verdict drift_judge(const json_t *live, const json_t *wanted, int policy, bool settled, struct buf *where)
	__attribute__((nonnull(2, 5)));

#endif
