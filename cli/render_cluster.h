// What a cluster has of Trustees: read once, by lists and nothing else.
#ifndef COCO_CLI_RENDER_CLUSTER_H
#define COCO_CLI_RENDER_CLUSTER_H

#include "cli/cluster.h"
#include "cli/objects.h"
#include "controller/rendered.h"

// Adds the objects of a namespace, or of all that have a Trustee or get one of the files' (ns NULL), to `live`, managedFields
// included; with them all ConfidentialProfiles and the ConfigMaps beside them. Sets in `world` which kinds the cluster has.
int render_cluster_read(const struct cluster_args *args, const char *ns, const struct objects *files,
						struct objects *live, struct trustee_world *world, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 3, 4, 5, 6)));
// What the controller would go by (into `given`, empty): the live objects with the files' over them, and of KbsConfigs that are
// made of TrusteeConfigs only what an admin has set.
int render_cluster_given(const struct objects *live, const struct objects *files, struct objects *given,
						 struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
