#include "controller/drift.h"

#include <string.h>

#include "common/trustee.h"
#include "controller/object_diff.h"
#include "controller/rendered.h"

static enum drift_verdict by_policy(int policy)
{
	static const enum drift_verdict verdicts[] = {
		[DRIFT_ENFORCE] = DRIFT_REPAIR, [DRIFT_WARN] = DRIFT_REPORT, [DRIFT_OFF] = DRIFT_NONE};
	return verdicts[policy];
}

enum drift_verdict drift_judge(const json_t *live, const json_t *wanted, int policy, bool settled, struct buf *where)
{
	if (live == NULL)
		return settled ? by_policy(policy) : DRIFT_NEW;
	const char *applied = kube_annotation(live, ANNOTATION_APPLIED);
	const char *rendered = kube_annotation(wanted, ANNOTATION_APPLIED);
	if (applied == NULL || rendered == NULL || strcmp(applied, rendered) != 0)
		return DRIFT_NEW;
	return object_covers(live, wanted, where) ? DRIFT_NONE : by_policy(policy);
}
