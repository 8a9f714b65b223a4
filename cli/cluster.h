// What the subcommands take from a cluster, by the servers' own client.
#ifndef COCO_CLI_CLUSTER_H
#define COCO_CLI_CLUSTER_H

#include <jansson.h>

#include "common/catalog.h"
#include "common/error.h"
#include "common/kube/session.h"
#include "webhook/review.h"

struct cluster_args {
	const char *kubeconfig;
	const char *context;
};

#define CLUSTER_OPTIONS(args)                                                                                     \
	{"kubeconfig",                                                                                                \
	 0,                                                                                                           \
	 "FILE",                                                                                                      \
	 "COCO_KUBECONFIG",                                                                                           \
	 "how to reach the API server; without it: $KUBECONFIG, the pod's service account, ~/.kube/config",           \
	 &(args).kubeconfig,                                                                                          \
	 NULL,                                                                                                        \
	 NULL,                                                                                                        \
	 NULL},                                                                                                       \
	{                                                                                                             \
		"context", 0, "NAME", NULL, "which context of the kubeconfig; default: its current one", &(args).context, \
			NULL, NULL, NULL                                                                                      \
	}

int cluster_open(const struct cluster_args *args, struct kube_session *s, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// New; NULL on error.
json_t *cluster_pod(const struct kube_session *s, const char *ns, const char *name, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// What the cluster knows that the decision about the review's pod needs; new, NULL on error.
struct catalog *cluster_catalog(const struct kube_session *s, const struct review *review, const char *system_ns,
								catalog_problem_fn problem, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
