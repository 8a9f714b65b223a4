// What is done with the API server, by kind of object: coco_writes_total{kind,verb}, coco_watches{kind},
// coco_watches_open{kind}, coco_watch_restarts_total{kind,reason}, coco_repairs_total{kind}. Thread-safe.
//
// Kinds that no program of ours uses count as "other". Leases and Events have metrics of their own.
#ifndef COCO_COMMON_KUBE_KIND_METRICS_H
#define COCO_COMMON_KUBE_KIND_METRICS_H

#include "common/kube/resource.h"

enum kind_verb { KIND_CREATE, KIND_UPDATE, KIND_PATCH, KIND_APPLY, KIND_DELETE, KIND_VERBS };

// Of a watch: the server ended it in order; its version had expired; it was refused, broke, or brought garbage, or the list
// before it failed.
enum kind_restart { KIND_ENDED, KIND_EXPIRED, KIND_FAILED, KIND_RESTARTS };

void kind_metrics_register(void);
// A write that the API server took, whether it changed anything or not.
void kind_metrics_wrote(const struct kube_resource *res, enum kind_verb verb) __attribute__((nonnull));
// One of ours that others had changed or deleted, and that is as it should be again.
void kind_metrics_repaired(const struct kube_resource *res) __attribute__((nonnull));
// More (1) or fewer (-1) watches are wanted; are open.
void kind_metrics_watches(const struct kube_resource *res, int by) __attribute__((nonnull));
void kind_metrics_open(const struct kube_resource *res, int by) __attribute__((nonnull));
void kind_metrics_restarted(const struct kube_resource *res, enum kind_restart reason) __attribute__((nonnull));

#endif
