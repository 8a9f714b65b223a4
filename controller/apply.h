// Applies several objects at once: server-side apply, as one field manager, taking our fields back by force.
#ifndef COCO_CONTROLLER_APPLY_H
#define COCO_CONTROLLER_APPLY_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/kube/client.h"

#define APPLY_LANES 8 // requests at a time; compare KUBE_HANDLES_MAX

struct apply_item {
	const struct kube_resource *resource;
	const char *ns;
	const json_t *object; // as rendered; borrowed
	bool take_over;       // it may be upstream's: what that has set and isn't rendered goes with this apply
	json_t *answer;       // new: as the API server has it now; NULL on failure
	json_t *between;      // new: its resourceVersions on the way, where it took several writes; or NULL
	int rc;               // 0 or -errno
	struct error err;
};

// Returns when all are done; each tells for itself what became of it. They depend on none of one another.
void apply_all(struct kube_client *client, struct apply_item *v, size_t n) __attribute__((nonnull(1)));

#endif
