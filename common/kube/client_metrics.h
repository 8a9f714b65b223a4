// The client's metrics, named as client-go names them.
#ifndef COCO_COMMON_KUBE_CLIENT_METRICS_H
#define COCO_COMMON_KUBE_CLIENT_METRICS_H

#include <stdint.h>

void client_metrics_register(void);
// The API server that all of them are about: https://HOST[:PORT][/PREFIX]. Only the first one counts.
void client_metrics_server(const char *server) __attribute__((nonnull));
// http 0: no answer came.
void client_metrics_request(const char *method, int http, int64_t took_ms) __attribute__((nonnull));
// http: what the try before was answered.
void client_metrics_retry(const char *method, int http) __attribute__((nonnull));
void client_metrics_limited(const char *method, int64_t waited_ms) __attribute__((nonnull));

#endif
