// AdmissionReview (admission.k8s.io/v1) in and out. PURE
#ifndef COCO_WEBHOOK_REVIEW_H
#define COCO_WEBHOOK_REVIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/error.h"
#include "webhook/pod.h"

struct review {
	struct str uid;
	struct str group, version, resource, sub_resource; // what the request is about
	struct str kind;                                   // of the object that it brings
	struct str operation;                              // CREATE, UPDATE, DELETE, CONNECT
	struct str name, ns;
	struct str user;
	bool dry_run;
	// Not in the body: the API server sent the request to the path for enabled namespaces, whose selectors it knows best.
	bool namespace_enabled;
	bool has_object, has_old_object;
	// What review_read reads:
	struct pod object;
	struct pod old_object;
	// What review_read_raw reads: JSON that was checked, not looked at.
	struct str object_text, old_object_text;
};

enum review_fault {
	REVIEW_OK,
	REVIEW_MALFORMED, // not an AdmissionReview v1 in JSON: answer with HTTP 400
	REVIEW_REFUSED,   // one, whose content we don't understand: ret->uid is known, answer with a denial
};

// Strings are borrowed from body or arena. On a fault err says what, with the path.
enum review_fault review_read(struct str body, struct arena *arena, struct review *ret, struct error *err)
	__attribute__((nonnull, warn_unused_result));

// The same for a review about anything else: its objects are kept as text.
enum review_fault review_read_raw(struct str body, struct arena *arena, struct review *ret, struct error *err)
	__attribute__((nonnull, warn_unused_result));

// About pods themselves, or a subresource of them.
bool review_is_pod(const struct review *r) __attribute__((nonnull));

// The namespace that the pod is or will be in: the request's, else the pod's own, else "default" (of a preview).
struct str review_namespace(const struct review *r) __attribute__((nonnull));

struct answer {
	struct str uid;
	bool allowed;
	int code;           // of a denial: 400, 403, 422
	const char *reason; // of a denial: a Kubernetes status reason: "BadRequest", "Forbidden", "Invalid"
	struct str message; // of a denial
	int retry_after_s;  // of a denial: when clients are to try again by themselves; 0: not
	struct str patch64; // base64 of a JSON Patch; n == 0 for none
	const char *const *warnings;
	size_t nwarnings;
	const struct key_value *audit; // audit annotations; keys need no escapes
	size_t naudit;
};

// The API server cuts a longer warning.
#define WARNING_MAX 256

// Appends the AdmissionReview that answers.
void answer_write(const struct answer *a, struct buf *out) __attribute__((nonnull));

#endif
