// Workers on a queue: each takes a key, reconciles it, and tries again later what failed.
#ifndef COCO_COMMON_KUBE_WORKERS_H
#define COCO_COMMON_KUBE_WORKERS_H

#include "common/error.h"
#include "common/kube/workqueue.h"

#define WORKERS_MAX 16
#define WORKERS_OUTAGE_MS 1000 // the longest wait before another try, while the API server isn't reached

struct reconcile_result {
	// Look at it again after this; 0: not before something changes. Counts after a failure too, where that isn't tried
	// again by itself.
	int64_t again_ms;
};

// Makes the world as the key's object says; reads the world, not the event. 0, or -errno with err: tried again with
// back-off where the same may work later (kube_error_transient, or EEXIST: another writer was faster); all else waits for
// the next change of something that adds the key. ECANCELED, at a stop, is no failure.
typedef int (*reconcile_fn)(void *ctx, const char *key, struct reconcile_result *ret, struct error *err);
// Told of each failure; for logs. next_ms: -1 where it isn't tried again by itself.
typedef void (*reconcile_failed_fn)(void *ctx, const char *key, const struct error *err, int64_t next_ms);

struct workers;

// Starts n threads, 1 to WORKERS_MAX. controller: static, for metrics, of letters, digits, '-', '_' and '.'.
// Metrics: controller_runtime_reconcile_total{controller,result}, controller_runtime_reconcile_errors_total,
// controller_runtime_reconcile_time_seconds, controller_runtime_active_workers, controller_runtime_max_concurrent_reconciles.
struct workers *workers_start(struct workqueue *q, const char *controller, unsigned n, reconcile_fn reconcile,
							  reconcile_failed_fn failed, void *ctx, const struct clock *clock)
	__attribute__((warn_unused_result, returns_nonnull, nonnull(1, 2, 4, 5, 7)));
// Closes the queue, waits for what is under way. NULL is fine.
void workers_stop(struct workers *w);
// Appends the metrics of all workers.
void workers_write_metrics(struct buf *out) __attribute__((nonnull));

#endif
