// Events about objects, through events.k8s.io/v1: what `kubectl describe` and `kubectl events` show.
//
// The same event (object, type, reason, action, note) is one Event whose series counts, written at most once every
// EVENT_SERIES_MS after the first; so a fault that repeats costs the API server little. One thread sends; a queue that is full
// drops the newest, counted. Failing to write an event is never more than a number in the metrics.
// No secret goes in: notes are made of messages, which have none.
#ifndef COCO_COMMON_KUBE_EVENTS_H
#define COCO_COMMON_KUBE_EVENTS_H

#include "common/kube/client.h"

#define EVENT_NOTE_MAX 1024 // the API's limit
#define EVENT_QUEUE_MAX 256
#define EVENT_SERIES_MS 360000
#define EVENT_KEEP_MS 600000   // a series that stays quiet this long is over
#define EVENT_SERIES_COUNT 512 // remembered at once; the longest quiet goes first

enum event_type { EVENT_NORMAL, EVENT_WARNING };

struct kube_events;

// reporter: the controller's name, such as "pipelines.confidentialcontainers.org/coco-controller"; instance: the pod.
struct kube_events *kube_events_start(struct kube_client *client, const struct clock *clock, const char *reporter,
									  const char *instance)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Sends what waits, at most two seconds. NULL is fine.
void kube_events_stop(struct kube_events *e);

// regarding: an object with apiVersion, kind and metadata. reason and action: CamelCase, at most 128 bytes.
void kube_event(struct kube_events *e, const json_t *regarding, enum event_type type, const char *reason,
				const char *action, const char *note) __attribute__((nonnull));
void kube_events_write_metrics(struct buf *out) __attribute__((nonnull));

#endif
