// The webhook's metrics. All functions but the first are thread-safe and cost a few atomic additions.
//
// Counted by path as controller-runtime counts its webhooks: controller_runtime_webhook_requests_total{webhook,code},
// controller_runtime_webhook_latency_seconds{webhook}, controller_runtime_webhook_requests_in_flight{webhook}. Ours:
// coco_webhook_admissions_total{endpoint,outcome}, coco_webhook_denials_total{reason}, coco_webhook_profiles{state},
// coco_webhook_profile_reloads_total{result}, coco_webhook_lookups_total{result}, coco_webhook_connections,
// coco_webhook_refused_requests_total{code}, coco_webhook_certificate_not_after_timestamp_seconds.
#ifndef COCO_WEBHOOK_SERVE_METRICS_H
#define COCO_WEBHOOK_SERVE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalog.h"
#include "common/http_server.h"
#include "webhook/handle.h"

#define SERVE_PATH_MUTATE "/mutate-pods"
#define SERVE_PATH_MUTATE_ENABLED "/mutate-pods/enabled-namespace"
#define SERVE_PATH_VALIDATE "/validate-pods"
#define SERVE_PATH_VALIDATE_ENABLED "/validate-pods/enabled-namespace"
#define SERVE_PATH_VALIDATE_RESOURCES "/validate-resources"

// Once, before anything is served.
void serve_metrics_register(void);

// A review is looked at, until one of the three below: it was answered; there was no catalog to answer by (503); another
// thread goes on with it, where it begins anew. us: since the beginning.
void serve_metrics_begin(enum endpoint endpoint);
void serve_metrics_end(enum endpoint endpoint, const struct handled *h, uint64_t us) __attribute__((nonnull));
void serve_metrics_turned_away(enum endpoint endpoint, uint64_t us);
void serve_metrics_later(enum endpoint endpoint);

void serve_metrics_lookup(bool good);
void serve_metrics_profiles(const struct catalog *c) __attribute__((nonnull));
void serve_metrics_reload(bool good);
void serve_metrics_certificate(int64_t not_after_s);
void serve_metrics_server(const struct http_stats *stats) __attribute__((nonnull));

#endif
