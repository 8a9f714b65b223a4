// The main job: what becomes of a pod. PURE
//
// decide() is the one function behind /mutate-pods, /validate-pods, `cocopipe inject` and `cocopipe explain`.
#ifndef COCO_WEBHOOK_MUTATE_H
#define COCO_WEBHOOK_MUTATE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/catalog.h"
#include "webhook/explain.h"
#include "webhook/review.h"
#include "webhook/sizing.h"

enum verdict {
	VERDICT_LEFT_ALONE,   // not ours: allowed, untouched
	VERDICT_CONFIDENTIAL, // allowed, with edits where it isn't as it must be yet
	VERDICT_DENIED,
};

// One change of a pod. Both texts are in the arena or static.
struct edit {
	const char *op;   // "add" or "replace"
	const char *path; // JSON Pointer, escaped
	struct str value; // JSON text
	struct str ready; // the value in base64 without padding, where that was made before; p NULL where not
};

#define WARNINGS_LIMIT 16 // of one pod; what more there is to say is said as a number

struct decision {
	enum verdict verdict;
	const char *cause;             // one word for metrics and logs: NotSelected, Mutated, ProfileMissing, ...
	int code;                      // of a denial: 400 where the request is wrong, 422 where the object is, else 403
	const char *message;           // of a denial
	const struct profile *profile; // borrowed from the catalog; NULL before one was found
	const struct catalog_profile *entry;
	struct sizing sizing;
	struct edit *edits;
	size_t nedits;
	bool names_unchecked;    // of our own resources: allowed only where no other has its names (validate_rivals)
	bool protection_changed; // an edit concerns runtime class or initdata, not only sizes and notes
	const char *warnings[WARNINGS_LIMIT];
	size_t nwarnings;
};

// Decides about the creation of review->object. Everything in ret lives as long as the arena, the body that the
// review was read from, and the catalog. explain may be NULL.
void decide(const struct catalog *catalog, const struct review *review, struct arena *arena, struct explain *explain,
			struct decision *ret) __attribute__((nonnull(1, 2, 3, 5)));

// The edits as a JSON Patch (RFC 6902), "[]" where there are none.
void decision_patch(const struct decision *d, struct buf *out) __attribute__((nonnull));
// The same in base64, as an answer carries it. The patch has blanks where its pieces meet.
void decision_patch_base64(const struct decision *d, struct buf *out) __attribute__((nonnull));

// The profile of a selected pod, by the same rules as above; NULL with the reason in ret.
const struct profile *decide_profile(const struct catalog *catalog, const struct pod *pod, struct str ns,
									 struct arena *arena, struct explain *explain, struct decision *ret)
	__attribute__((nonnull(1, 2, 4, 6)));

// Is this pod of the review, the new or the old one, to be confidential? VERDICT_CONFIDENTIAL, or one of the others
// with cause and message.
void decide_selection(const struct catalog *catalog, const struct review *review, const struct pod *pod,
					  struct arena *arena, struct explain *explain, struct decision *ret)
	__attribute__((nonnull(1, 2, 3, 4, 6)));

#endif
