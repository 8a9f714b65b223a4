// From the text of an AdmissionReview to the text of its answer: /mutate-pods, /validate-pods, /validate-resources. PURE
#ifndef COCO_WEBHOOK_HANDLE_H
#define COCO_WEBHOOK_HANDLE_H

#include "common/buf.h"
#include "common/catalog.h"
#include "webhook/mutate.h"

// Those with ENABLED are for TaskRun pods of enabled namespaces: the webhook configurations send a pod there when their own
// namespaceSelector has found the namespace enabled, so that it is protected though we may not know the namespace yet.
// A pod with label "false" is sent there only where the namespace doesn't allow to opt out.
enum endpoint {
	ENDPOINT_MUTATE,
	ENDPOINT_VALIDATE,
	ENDPOINT_MUTATE_ENABLED,
	ENDPOINT_VALIDATE_ENABLED,
	ENDPOINT_VALIDATE_RESOURCES,
	ENDPOINTS
};

// What a handled review was, for logs and metrics. Text is borrowed from body, arena or catalog.
struct handled {
	int status; // HTTP: 200, or 400 where the body is no review; then `out` holds a line of text
	struct review review;
	struct decision decision;
};

// Appends the answer to `out`. catalog may be NULL for ENDPOINT_VALIDATE_RESOURCES alone, which needs none. Never fails: whatever is wrong becomes an answer that does not allow.
void handle_review(enum endpoint endpoint, const struct catalog *catalog, struct str body, struct arena *arena,
				   struct buf *out, struct handled *ret) __attribute__((nonnull(4, 5, 6)));

// The same, for a review that was read already, as the endpoint wants it. explain may be NULL.
void decide_review(enum endpoint endpoint, const struct catalog *catalog, const struct review *review,
				   struct arena *arena, struct explain *explain, struct decision *ret)
	__attribute__((nonnull(3, 4, 6)));

// Turns a decision that a lookup was to make into a denial that says why there was none; `out` is written anew.
void refuse_unknown(struct handled *h, const char *why, struct arena *arena, struct buf *out) __attribute__((nonnull));

// The answer after all to a review of which names_unchecked was set: validate_rivals, and `out` is written anew.
void judge_rivals(struct handled *h, const json_t *others, struct arena *arena, struct buf *out)
	__attribute__((nonnull(1, 3, 4)));

// The answer to a review that is decided. Becomes a denial, in *d too, where the patch would be too large.
void answer_decision(const struct review *review, struct decision *d, bool with_patch, struct arena *arena,
					 struct buf *out) __attribute__((nonnull));

// The last word, on /validate-pods: is what is about to be stored as it must be?
void validate(const struct catalog *catalog, const struct review *review, struct arena *arena, struct decision *ret)
	__attribute__((nonnull));

#endif
