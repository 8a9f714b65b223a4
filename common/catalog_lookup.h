// Asks the API server itself for what the decision about one pod needs, for a pod that came before informers told of its
// profile or namespace.
#ifndef COCO_COMMON_CATALOG_LOOKUP_H
#define COCO_COMMON_CATALOG_LOOKUP_H

#include "common/catalog.h"
#include "common/kube/client.h"

// All requests of one lookup together; the webhook configurations give us 3 s.
#define CATALOG_LOOKUP_MS 2000

// base: what is known; its last good profiles stay good. ns: the pod's namespace. profile: what the pod names, p NULL for
// its namespace's default. *ret (new) knows that namespace and that profile, as they are now, or that there is none; and
// nothing else. -errno where the API server can't be asked in time.
int catalog_lookup(struct kube_client *client, const struct catalog *base, struct str ns, struct str profile,
				   struct catalog **ret, struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
