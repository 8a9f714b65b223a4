// Keeps the status of every ConfidentialProfile: whether it compiles, and what its initdata hashes to.
#ifndef COCO_CONTROLLER_PROFILES_H
#define COCO_CONTROLLER_PROFILES_H

#include "common/catalog_feed.h"
#include "common/kube/client.h"
#include "common/kube/events.h"
#include "common/kube/workers.h"

#define PROFILES_FIELD_MANAGER "coco-controller"

struct profiles {
	struct kube_client *client;
	struct kube_store *objects;    // of the feed
	struct catalog_store *catalog; // which the feed fills
	struct kube_events *events;
	struct workqueue *queue;
};

// Puts every profile into the queue: something has changed. Those that are as their status says cost no request.
void profiles_look_at_all(struct profiles *p) __attribute__((nonnull));
// reconcile_fn; ctx is a struct profiles.
int profiles_reconcile(void *ctx, const char *key, struct reconcile_result *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
