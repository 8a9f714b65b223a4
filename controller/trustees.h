// Makes the cluster as TrusteeConfigs and KbsConfigs say, keeps it so, and reports in their status.
//
// A TrusteeConfig, the KbsConfig that is made of it, and all their objects are one piece of work, done by one worker at a
// time: what follows from one change reaches the pods as one rollout. A KbsConfig that nobody's TrusteeConfig stands for is
// a piece of its own. A key of the queue is "trusteeconfigs/NAMESPACE/NAME" or "kbsconfigs/NAMESPACE/NAME".
//
// A pass is level-triggered and reads everything from the view. What it read and found is remembered as one digest over all
// versions, so that a pass over what hasn't changed costs no request. Secrets are read only where one of them has changed,
// and wiped with the end of the pass.
#ifndef COCO_CONTROLLER_TRUSTEES_H
#define COCO_CONTROLLER_TRUSTEES_H

#include "common/catalog_store.h"
#include "common/kube/client.h"
#include "common/kube/events.h"
#include "common/kube/informer.h"
#include "common/kube/workers.h"
#include "controller/rendered.h"

struct trustees;

struct trustees_config {
	struct kube_client *client;
	struct kube_informers *informers;
	struct kube_events *events;
	struct catalog_store *catalog; // of profiles, for bindings
	const struct clock *clock;
	struct trustee_world world; // served is found out
};

struct trustees *trustees_start(const struct trustees_config *config)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// After the workers' stop, before the informers'. NULL is fine.
void trustees_stop(struct trustees *t);

struct workqueue *trustees_queue(struct trustees *t) __attribute__((nonnull));
// What is missing before work can begin, for people; NULL where nothing is.
const char *trustees_wait_for(struct trustees *t) __attribute__((nonnull));
// The catalog of profiles is another one: those with bindings are looked at again.
void trustees_look_at_bindings(struct trustees *t) __attribute__((nonnull));
// Whether a pass was made since this was asked last.
bool trustees_have_worked(struct trustees *t) __attribute__((nonnull));
// Of each that is tended, while this replica leads: coco_trustees{state}, and of at most TRUSTEE_SERIES_MAX by name
// coco_trustee_ready, _resources_synced and _certificate_not_after_timestamp_seconds{kind,trustee_namespace,trustee}.
#define TRUSTEE_SERIES_MAX 200
void trustees_write_metrics(struct buf *out) __attribute__((nonnull));
// reconcile_fn; ctx is a struct trustees.
int trustees_reconcile(void *ctx, const char *key, struct reconcile_result *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
