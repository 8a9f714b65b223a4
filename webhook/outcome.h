// What became of a review, in a word: for metrics and the audit log. PURE
#ifndef COCO_WEBHOOK_OUTCOME_H
#define COCO_WEBHOOK_OUTCOME_H

#include <stddef.h>

#include "webhook/mutate.h"

enum outcome { OUTCOME_MUTATED, OUTCOME_ALLOWED, OUTCOME_DENIED, OUTCOMES };

enum outcome outcome_of(const struct decision *d) __attribute__((nonnull));
// "mutated", "allowed", "denied".
const char *outcome_name(enum outcome o) __attribute__((returns_nonnull));

// Why something is denied: every cause of a decision with VERDICT_DENIED. The last one stands for what is missing here, and
// a test sees to it that nothing is.
// clang-format off
#define DENIAL_REASONS(X) \
	X("AnnotationGuarded") X("EphemeralContainer") X("ForeignAnnotation") X("HostNetwork") X("HostPath") \
	X("ImageWithoutDigest") X("KbsInvalid") X("LabelInvalid") X("LabelledLate") X("Malformed") X("MemoryAboveMax") \
	X("MemoryInvalid") X("NamesTaken") X("NoContainers") X("NotConfidential") X("OptOutRefused") \
	X("PatchTooLarge") X("ProfileEdited") X("ProfileInvalid") X("ProfileMissing") X("ProfileUnknown") \
	X("RuntimeClassConflict") X("StaticPod") X("SubPath") X("TooManyParts") X("TrusteeInvalid") X("Unfit") X("WindowsPod") \
	X("other")
// clang-format on

// Where the cause of a denial stands in DENIAL_REASONS.
size_t denial_reason(const char *cause) __attribute__((nonnull));
extern const size_t DENIAL_OTHER;

#endif
