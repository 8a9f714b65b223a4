// The client's metrics, named as client-go names them.
#ifndef COCO_COMMON_KUBE_CLIENT_METRICS_H
#define COCO_COMMON_KUBE_CLIENT_METRICS_H

#include <stdint.h>

void client_metrics_register(void);
// http 0: no answer came.
void client_metrics_request(const char *method, int http, int64_t took_ms) __attribute__((nonnull));
void client_metrics_retry(void);
void client_metrics_limited(int64_t waited_ms);

#endif
