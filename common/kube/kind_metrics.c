#include "common/kube/kind_metrics.h"

#include <string.h>

#include "common/metrics.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// The last one stands for all others.
#define KINDS(X)                        \
	X("ConfidentialProfile")            \
	X("TrusteeConfig")                  \
	X("KbsConfig")                      \
	X("ConfigMap")                      \
	X("Secret")                         \
	X("Service")                        \
	X("Deployment")                     \
	X("Pod")                            \
	X("Namespace")                      \
	X("PersistentVolumeClaim")          \
	X("Ingress")                        \
	X("Route")                          \
	X("TLSRoute")                       \
	X("ServiceMonitor")                 \
	X("MutatingWebhookConfiguration")   \
	X("ValidatingWebhookConfiguration") \
	X("other")

#define NAME(kind) kind,
static const char *const kinds[] = {KINDS(NAME)};

#define ONE(kind) {.labels = "kind=\"" kind "\""},
#define WRITE(kind, verb) {.labels = "kind=\"" kind "\",verb=\"" verb "\""},
#define WRITES(kind) \
	WRITE(kind, "create") WRITE(kind, "update") WRITE(kind, "patch") WRITE(kind, "apply") WRITE(kind, "delete")
#define RESTART(kind, reason) {.labels = "kind=\"" kind "\",reason=\"" reason "\""},
#define RESTARTS(kind) RESTART(kind, "ended") RESTART(kind, "expired") RESTART(kind, "failed")

static struct metric_series write_series[] = {KINDS(WRITES)};
_Static_assert(COUNT(write_series) == COUNT(kinds) * KIND_VERBS, "a series for each kind and verb");
static struct metric writes = {.name = "coco_writes_total",
							   .help = "Writes that the API server took, but for Leases and Events.",
							   .type = METRIC_COUNTER,
							   .series = write_series,
							   .n = COUNT(write_series),
							   .sparse = true};

static struct metric_series watch_series[] = {KINDS(ONE)};
static struct metric watches = {.name = "coco_watches",
								.help = "Watches that are wanted: lists of objects that are followed.",
								.type = METRIC_GAUGE,
								.series = watch_series,
								.n = COUNT(watch_series),
								.sparse = true};

// Not sparse where watches isn't: none open, of some that are wanted, must be seen as 0.
static struct metric_series open_series[] = {KINDS(ONE)};
static struct metric open_watches = {.name = "coco_watches_open",
									 .help = "Watches whose stream is open.",
									 .type = METRIC_GAUGE,
									 .series = open_series,
									 .n = COUNT(open_series)};

static struct metric_series restart_series[] = {KINDS(RESTARTS)};
_Static_assert(COUNT(restart_series) == COUNT(kinds) * KIND_RESTARTS, "a series for each kind and reason");
static struct metric restarts = {.name = "coco_watch_restarts_total",
								 .help = "Watches that began again: the API server ended the stream in order, their "
										 "version had expired, or the stream or the list before it failed.",
								 .type = METRIC_COUNTER,
								 .series = restart_series,
								 .n = COUNT(restart_series),
								 .sparse = true};

static struct metric_series repair_series[] = {KINDS(ONE)};
static struct metric repairs = {.name = "coco_repairs_total",
								.help =
									"Objects of ours that others had changed or deleted, and that were applied again.",
								.type = METRIC_COUNTER,
								.series = repair_series,
								.n = COUNT(repair_series),
								.sparse = true};

void kind_metrics_register(void)
{
	struct metric *all[] = {&writes, &watches, &open_watches, &restarts, &repairs};
	for (size_t i = 0; i < COUNT(all); i++)
		metrics_register(all[i]);
}

static size_t kind_index(const struct kube_resource *res)
{
	size_t i = 0;
	while (i + 1 < COUNT(kinds) && strcmp(kinds[i], res->kind) != 0)
		i++;
	return i;
}

void kind_metrics_wrote(const struct kube_resource *res, enum kind_verb verb)
{
	metric_add(&write_series[kind_index(res) * KIND_VERBS + verb], 1);
}

void kind_metrics_repaired(const struct kube_resource *res)
{
	metric_add(&repair_series[kind_index(res)], 1);
}

void kind_metrics_watches(const struct kube_resource *res, int by)
{
	metric_add(&watch_series[kind_index(res)], by);
}

void kind_metrics_open(const struct kube_resource *res, int by)
{
	metric_add(&open_series[kind_index(res)], by);
}

void kind_metrics_restarted(const struct kube_resource *res, enum kind_restart reason)
{
	metric_add(&restart_series[kind_index(res) * KIND_RESTARTS + reason], 1);
}
