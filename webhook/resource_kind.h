// A kind of ours, as /validate-resources judges it. PURE
#ifndef COCO_WEBHOOK_RESOURCE_KIND_H
#define COCO_WEBHOOK_RESOURCE_KIND_H

#include <jansson.h>

#include "webhook/mutate.h"

struct resource_kind {
	const char *group; // its version is v1alpha1
	const char *resource;
	const char *kind;
	const char *noun;            // for messages
	const char *valid, *invalid; // causes
	// What it is refused for. old: NULL for a new one. ns: of the request.
	int (*check)(json_t *now, const json_t *old, const char *ns, struct error *err);
	// What is dangerous or useless about one that isn't refused.
	void (*warn)(const json_t *now, struct arena *arena, struct decision *d);
	// Whether its names may be taken already by another object of the namespace; NULL: never.
	bool (*takes_names)(const json_t *now, const json_t *old);
};

extern const struct resource_kind RESOURCE_PROFILE, RESOURCE_TRUSTEE_CONFIG, RESOURCE_KBS_CONFIG;

#define RESOURCE_VERSION "v1alpha1"

// What there is no room for is dropped.
void decision_warn(struct decision *d, const char *text) __attribute__((nonnull));

#endif
