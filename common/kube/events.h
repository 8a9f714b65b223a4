// Events about objects, through events.k8s.io/v1: what `kubectl describe` and `kubectl events` show.
//
// The same event (object, type, reason, action, note) is one Event whose series counts: written when it happens first, when
// it happens again, and from then on at most once every EVENT_SERIES_MS; so a fault that repeats costs the API server
// little. One thread sends; a queue that is full drops the newest. Failing to write an event is never more than a number
// in the metric kube_events_total{result="created|repeated|failed|dropped"}: created Events, written counts, requests that
// failed (what may work later is tried again, EVENT_TRIES_MAX times in all), and events that were not even tried.
// No secret goes in: notes are made of messages, which have none.
#ifndef COCO_COMMON_KUBE_EVENTS_H
#define COCO_COMMON_KUBE_EVENTS_H

#include "common/kube/client.h"

#define EVENT_NOTE_MAX 1024 // the API's limits, in bytes; what is longer is cut
#define EVENT_WORD_MAX 128  // of reason, action, and the instance that reports
#define EVENT_QUEUE_MAX 256
#define EVENT_REQUEST_MS 2000
#define EVENT_STOP_MS 2000
#define EVENT_RETRY_MS 30000
#define EVENT_TRIES_MAX 5
#define EVENT_SERIES_MS 360000
#define EVENT_KEEP_MS 600000   // a series that stays quiet this long is over
#define EVENT_SERIES_COUNT 512 // remembered at once; the longest quiet goes first

enum event_type { EVENT_NORMAL, EVENT_WARNING };

struct kube_events;

// reporter: the controller's name, such as "pipelines.confidentialcontainers.org/coco-controller"; instance: the pod. Both
// are copied; client and clock are borrowed.
struct kube_events *kube_events_start(struct kube_client *client, const struct clock *clock, const char *reporter,
									  const char *instance)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Sends what waits, at most EVENT_STOP_MS. Before the client's stop flag is set. NULL is fine.
void kube_events_stop(struct kube_events *e);

// Returns at once; everything is copied. regarding: an object with apiVersion, kind and metadata; the Event lies in its
// namespace, in "default" for a cluster-scoped one (where Kubernetes 1.20 refuses it). reason and action: CamelCase, not empty.
void kube_event(struct kube_events *e, const json_t *regarding, enum event_type type, const char *reason,
				const char *action, const char *note) __attribute__((nonnull));
void kube_events_write_metrics(struct buf *out) __attribute__((nonnull));

#endif
