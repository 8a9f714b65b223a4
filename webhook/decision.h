// The ways in which a decision ends, for those who make it. PURE
#ifndef COCO_WEBHOOK_DECISION_H
#define COCO_WEBHOOK_DECISION_H

#include "webhook/mutate.h"

#define CODE_FORBIDDEN 403

// Sets the verdict and what explains it, and leaves what else the decision holds. Borrows cause and message.
static inline void decision_deny(struct decision *d, const char *cause, int code, const char *message)
{
	d->verdict = VERDICT_DENIED;
	d->cause = cause;
	d->code = code;
	d->message = message;
}

static inline void decision_leave(struct decision *d, const char *cause)
{
	d->verdict = VERDICT_LEFT_ALONE;
	d->cause = cause;
}

#endif
