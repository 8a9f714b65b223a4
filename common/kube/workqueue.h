// Keys that wait to be worked on: client-go's work queue. Thread-safe.
//
// A key that is added while it waits is there once; one that is added while a worker has it comes back when that worker
// is done, and no two workers ever have the same key. Nothing is dropped, so a queue is as long as there are keys: who adds
// only keys of objects in a store has that store's bound. Metrics (client-go's names, label name="..."):
// workqueue_depth, workqueue_adds_total, workqueue_retries_total, workqueue_queue_duration_seconds,
// workqueue_work_duration_seconds, workqueue_unfinished_work_seconds, workqueue_longest_running_processor_seconds.
#ifndef COCO_COMMON_KUBE_WORKQUEUE_H
#define COCO_COMMON_KUBE_WORKQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"

#define WORKQUEUE_BACKOFF_FIRST_MS 5
#define WORKQUEUE_BACKOFF_MAX_MS 300000

struct workqueue;

// name: for metrics, static, of letters, digits, '-', '_' and '.'.
struct workqueue *workqueue_new(const char *name, const struct clock *clock)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// After the workers have ended. NULL is fine.
void workqueue_free(struct workqueue *q);

void workqueue_add(struct workqueue *q, const char *key) __attribute__((nonnull));
// Of several delays of a key the one that ends first counts; none, or a negative one, is workqueue_add(). What waits so
// isn't in the depth yet.
void workqueue_add_after(struct workqueue *q, const char *key, int64_t delay_ms) __attribute__((nonnull));
// After the key's own back-off, which doubles with each call until workqueue_forget(). Returns how long that is.
int64_t workqueue_retry(struct workqueue *q, const char *key) __attribute__((nonnull));
void workqueue_forget(struct workqueue *q, const char *key) __attribute__((nonnull));
unsigned workqueue_tries(struct workqueue *q, const char *key) __attribute__((nonnull));

// Waits for a key (new; the caller hands it to workqueue_done and frees it). NULL: the queue was closed.
char *workqueue_get(struct workqueue *q) __attribute__((warn_unused_result, nonnull));
// The same without waiting; NULL also where nothing is due.
char *workqueue_try_get(struct workqueue *q) __attribute__((warn_unused_result, nonnull));
void workqueue_done(struct workqueue *q, const char *key) __attribute__((nonnull));

// Nothing more is handed out or taken; waiting workers wake.
void workqueue_close(struct workqueue *q) __attribute__((nonnull));
size_t workqueue_depth(struct workqueue *q) __attribute__((nonnull));
// Appends the metrics of every queue there is.
void workqueue_write_metrics(struct buf *out) __attribute__((nonnull));

#endif
