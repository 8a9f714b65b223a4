// What the controller would change on a cluster, object by object. No I/O but for what is printed.
#ifndef COCO_CLI_RENDER_DIFF_H
#define COCO_CLI_RENDER_DIFF_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/render.h"

struct render_diff {
	const struct objects *live; // as the cluster has them, managedFields included
	const struct render *render;
	FILE *to;
	const char *keep; // a folder: ConfigMaps whose content is to be written over are saved there; NULL: nowhere
	size_t created, changed, deleted, others, same, kept;
	json_t *rollouts; // "NAMESPACE/NAME" of Deployments whose pods are to be replaced; the caller's, an empty array
};

// Prints a unified diff for each object that would be made, changed or deleted, Secrets by digests of their values. An object that
// others own is named on standard error.
int render_diff(struct render_diff *d, struct error *err) __attribute__((warn_unused_result, nonnull));
bool render_diff_is_empty(const struct render_diff *d) __attribute__((nonnull));
void render_diff_summary(const struct render_diff *d) __attribute__((nonnull));

#endif
