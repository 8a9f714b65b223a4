// A record of the rules that a decision went through, for `cocopipe explain`. PURE
#ifndef COCO_WEBHOOK_EXPLAIN_H
#define COCO_WEBHOOK_EXPLAIN_H

#include <stddef.h>

#include "common/arena.h"

struct explain_step {
	const char *rule;    // what was asked
	const char *outcome; // yes, no, denied, warning, ...: one word
	const char *text;    // why, with the values; "" for nothing to add
};

struct explain {
	struct arena *arena;
	struct explain_step *steps;
	size_t n;
};

// Notes a rule. NULL is fine, and costs nothing: that is how the server runs.
void explain_note(struct explain *e, const char *rule, const char *outcome, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), nonnull(2, 3, 4)));

#endif
