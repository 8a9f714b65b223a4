// How Trustees fare, for /metrics. Their number is the cluster's affair, so only so many are named.
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/resource.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "controller/trustees_private.h"

static struct live_list all = LIVE_LIST_INIT;

void trustee_metrics_add(struct trustees *t)
{
	live_add(&all, &t->live, t);
}

void trustee_metrics_remove(struct trustees *t)
{
	live_remove(&all, &t->live);
}

void trustee_metrics_told(struct trustees *t, struct trustee_state *state, const struct trustee_told *told)
{
	(void)pthread_mutex_lock(&t->lock);
	state->told = *told;
	(void)pthread_mutex_unlock(&t->lock);
}

// Of a key "trusteeconfigs/NAMESPACE/NAME". The API server lets no character into a name that would need an escape.
static char *labels_of(const char *key)
{
	const char *ns = strchr(key, '/') + 1;
	const char *name = strchr(ns, '/') + 1;
	bool config = strncmp(key, KUBE_KBS_CONFIGS.plural, (size_t)(ns - 1 - key)) == 0;
	return xasprintf("kind=\"%s\",trustee_namespace=\"%.*s\",trustee=\"%s\"",
					 config ? KUBE_KBS_CONFIGS.kind : KUBE_TRUSTEE_CONFIGS.kind, (int)(name - 1 - ns), ns, name);
}

#define NO_VALUE (-1)

static int64_t ready(const struct trustee_told *told)
{
	return told->ready ? 1 : 0;
}

static int64_t synced(const struct trustee_told *told)
{
	return told->synced ? 1 : 0;
}

static int64_t not_after(const struct trustee_told *told)
{
	return told->not_after_s != 0 ? told->not_after_s : NO_VALUE;
}

// One series for each Trustee.
static const struct gauge {
	const char *name, *help;
	int64_t (*value)(const struct trustee_told *told); // NO_VALUE: this one has none
} GAUGES[] = {
	{"coco_trustee_ready", "1 where condition Ready of its status is True.", ready},
	{"coco_trustee_resources_synced", "1 where condition ResourcesSynced of its status is True.", synced},
	{"coco_trustee_certificate_not_after_timestamp_seconds", "When the HTTPS certificate of a Trustee expires.",
	 not_after},
};

static bool write_of(struct buf *out, const struct gauge *gauge, const struct trustee_state *s)
{
	const int64_t value = s->told.known ? gauge->value(&s->told) : NO_VALUE;
	if (value == NO_VALUE)
		return false;
	CLEANUP_FREE char *labels = labels_of(s->key);
	metric_write_value(out, gauge->name, labels, value);
	return true;
}

static void write_each(struct buf *out, const struct gauge *gauge)
{
	size_t n = 0;
	metric_write_head(out, gauge->name, gauge->help, METRIC_GAUGE);
	for (const struct live *at = all.first; at != NULL; at = at->next) {
		struct trustees *t = at->object;
		(void)pthread_mutex_lock(&t->lock);
		for (size_t i = 0; i < t->nstates && n < TRUSTEE_SERIES_MAX; i++)
			if (write_of(out, gauge, t->states[i]))
				n++;
		(void)pthread_mutex_unlock(&t->lock);
	}
}

enum state { READY, NOT_READY, PENDING, STATES };

static void write_counts(struct buf *out)
{
	static const char *const LABELS[STATES] = {"state=\"ready\"", "state=\"not_ready\"", "state=\"pending\""};
	int64_t counts[STATES] = {0};
	for (const struct live *at = all.first; at != NULL; at = at->next) {
		struct trustees *t = at->object;
		(void)pthread_mutex_lock(&t->lock);
		for (size_t i = 0; i < t->nstates; i++)
			counts[!t->states[i]->told.known ? PENDING : t->states[i]->told.ready ? READY : NOT_READY]++;
		(void)pthread_mutex_unlock(&t->lock);
	}
	metric_write_head(out, "coco_trustees",
					  "TrusteeConfigs, and KbsConfigs without one; pending: no status is known yet.", METRIC_GAUGE);
	for (size_t i = 0; i < STATES; i++)
		metric_write_value(out, "coco_trustees", LABELS[i], counts[i]);
}

void trustees_write_metrics(struct buf *out)
{
	(void)pthread_mutex_lock(&all.lock);
	write_counts(out);
	for (size_t i = 0; i < sizeof(GAUGES) / sizeof(GAUGES[0]); i++)
		write_each(out, &GAUGES[i]);
	(void)pthread_mutex_unlock(&all.lock);
}
