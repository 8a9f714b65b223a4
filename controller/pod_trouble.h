// Why the pods of a Deployment don't run, as the kubelet, the scheduler and the API server tell. PURE
//
//   ImagePull      an image can't be pulled, or its name is none
//   CrashLoop      a container ends again and again
//   Unschedulable  the scheduler finds no node
//   FailedCreate   the API server takes no pod: a quota, an admission webhook
//   Pending        a container can't be set up (a Secret is missing), or is being set up
//   NotRunning     a container runs, and its readiness probe fails
//
// Pods that are ready, on their way out, or over (evicted) count for nothing. Of several troubles the first kind of that list is
// told, whatever the order of the pods. Kubelets alternate between two states while they try again and again: what is told
// stays the same through both.
#ifndef COCO_CONTROLLER_POD_TROUBLE_H
#define COCO_CONTROLLER_POD_TROUBLE_H

#include <jansson.h>
#include <stdbool.h>

#include "common/cleanup.h"

struct pod_trouble {
	const char *reason; // static; NULL: no trouble is known
	bool lasting;       // it won't pass by itself in a moment, as the start of a pod does
	char *message;      // new; names the container, what is told of it, and the remedy
};

struct pod_trouble_input {
	const json_t *deployment; // live
	const json_t *pods;       // an array of its pods, each whole or trimmed (trustee_pod_trim); NULL: not known
	const json_t *object; // whose status it is for: a message there that told more of the same trouble stays; or NULL
};

// Any earlier content of ret is overwritten, not released.
void pod_trouble_find(const struct pod_trouble_input *in, struct pod_trouble *ret) __attribute__((nonnull));
void pod_trouble_release(struct pod_trouble *t) __attribute__((nonnull));
#define CLEANUP_POD_TROUBLE CLEANUP(pod_trouble_release)

#endif
