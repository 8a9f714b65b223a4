#include "common/kube/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/kube/status.h"
#include "common/live.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define LABEL_MAX 96

// AGAIN: it has asked for that itself. RETRY: it was given up, and is no failure.
enum outcome { SUCCESS, FAILURE, AGAIN, RETRY, OUTCOMES };

static const char *const OUTCOME_NAMES[OUTCOMES] = {
	[SUCCESS] = "success", [FAILURE] = "error", [AGAIN] = "requeue_after", [RETRY] = "requeue"};

struct workers {
	struct workqueue *q;
	reconcile_fn reconcile;
	reconcile_failed_fn failed;
	void *ctx;
	const struct clock *clock;
	char label[LABEL_MAX];
	struct live live;
	unsigned n;
	pthread_t threads[WORKERS_MAX];
	_Atomic int64_t outcomes[OUTCOMES];
	_Atomic int64_t final_errors; // of the failures, those that are not tried again by themselves
	_Atomic int64_t active;
	struct metric_histogram_series took;
};

static struct live_list all_workers = LIVE_LIST_INIT;

static const uint32_t BOUNDS_US[] = {5000,    10000,   25000,   50000,    100000,   250000,   500000,
									 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000};
static const struct metric_histogram TOOK = {
	.name = "controller_runtime_reconcile_time_seconds",
	.help = "How long each reconciliation took.",
	.bounds_us = BOUNDS_US,
	.nbounds = sizeof(BOUNDS_US) / sizeof(BOUNDS_US[0]),
};

// ---- The work

static bool worth_another_try(int code)
{
	return kube_error_transient(code) || code == EEXIST || code == ECANCELED;
}

static bool is_outage(int code)
{
	return code == ECONNREFUSED || code == ECONNRESET || code == EHOSTUNREACH || code == ETIMEDOUT;
}

// When the key is tried again by itself; -1 where it isn't. While nobody answers, asking costs nobody much, and everything
// waits for the first answer.
static int64_t plan_after_failure(struct workers *w, const char *key, int code, int64_t again_ms)
{
	if (worth_another_try(code)) {
		int64_t next_ms = workqueue_retry(w->q, key);
		if (!is_outage(code) || next_ms <= WORKERS_OUTAGE_MS)
			return next_ms;
		workqueue_add_after(w->q, key, WORKERS_OUTAGE_MS);
		return WORKERS_OUTAGE_MS;
	}
	workqueue_forget(w->q, key);
	if (again_ms <= 0)
		return -1;
	workqueue_add_after(w->q, key, again_ms);
	return again_ms;
}

static enum outcome plan_next(struct workers *w, const char *key, int failed, const struct reconcile_result *result,
							  struct error *err)
{
	if (failed != 0) {
		if (err->code == 0)
			err->code = -failed;
		int64_t next_ms = plan_after_failure(w, key, err->code, result->again_ms);
		if (err->code == ECANCELED)
			return RETRY;
		if (next_ms < 0)
			atomic_fetch_add(&w->final_errors, 1);
		w->failed(w->ctx, key, err, next_ms);
		return FAILURE;
	}
	workqueue_forget(w->q, key);
	if (result->again_ms <= 0)
		return SUCCESS;
	workqueue_add_after(w->q, key, result->again_ms);
	return AGAIN;
}

static void work_on(struct workers *w, const char *key)
{
	struct reconcile_result result = {0};
	struct error err = {0};
	atomic_fetch_add(&w->active, 1);
	int64_t start_ms = clock_mono_ms(w->clock);
	int failed = w->reconcile(w->ctx, key, &result, &err);
	int64_t took_ms = clock_mono_ms(w->clock) - start_ms;
	metric_observe_us(&TOOK, &w->took, took_ms > 0 ? (uint64_t)took_ms * 1000 : 0);
	atomic_fetch_add(&w->outcomes[plan_next(w, key, failed, &result, &err)], 1);
	atomic_fetch_sub(&w->active, 1);
}

static void *worker_main(void *arg)
{
	struct workers *w = arg;
	for (;;) {
		char *key CLEANUP_FREE = workqueue_get(w->q);
		if (key == NULL)
			return NULL;
		work_on(w, key);
		workqueue_done(w->q, key);
	}
}

// ---- Start and stop

struct workers *workers_start(struct workqueue *q, const char *controller, unsigned n, reconcile_fn reconcile,
							  reconcile_failed_fn failed, void *ctx, const struct clock *clock)
{
	struct workers *w = xcalloc(1, sizeof(*w));
	w->q = q;
	w->reconcile = reconcile;
	w->failed = failed;
	w->ctx = ctx;
	w->clock = clock;
	(void)snprintf(w->label, sizeof(w->label), "controller=\"%s\"", controller);
	w->took.labels = w->label;
	w->n = n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : n;
	live_add(&all_workers, &w->live, w);
	for (unsigned i = 0; i < w->n; i++)
		thread_start(&w->threads[i], controller, worker_main, w);
	return w;
}

void workers_stop(struct workers *w)
{
	if (w == NULL)
		return;
	workqueue_close(w->q);
	for (unsigned i = 0; i < w->n; i++)
		(void)pthread_join(w->threads[i], NULL);
	live_remove(&all_workers, &w->live);
	free(w);
}

// ---- Metrics

static int64_t errors_of(const struct workers *w)
{
	return atomic_load(&w->outcomes[FAILURE]);
}

static int64_t final_errors_of(const struct workers *w)
{
	return atomic_load(&w->final_errors);
}

static int64_t active_of(const struct workers *w)
{
	return atomic_load(&w->active);
}

static int64_t threads_of(const struct workers *w)
{
	return w->n;
}

static const struct number {
	const char *name, *help;
	enum metric_type type;
	int64_t (*of)(const struct workers *w);
} NUMBERS[] = {
	{"controller_runtime_reconcile_errors_total", "Reconciliations that failed.", METRIC_COUNTER, errors_of},
	{"controller_runtime_terminal_reconcile_errors_total",
	 "Reconciliations that failed and aren't tried again by themselves.", METRIC_COUNTER, final_errors_of},
	{"controller_runtime_active_workers", "Workers that have a key in hand.", METRIC_GAUGE, active_of},
	{"controller_runtime_max_concurrent_reconciles", "Workers that there are.", METRIC_GAUGE, threads_of},
};

static void write_outcomes(struct buf *out)
{
	static const char NAME[] = "controller_runtime_reconcile_total";
	metric_write_head(out, NAME, "Reconciliations by what they came to.", METRIC_COUNTER);
	for (const struct live *at = all_workers.first; at != NULL; at = at->next) {
		const struct workers *w = at->object;
		for (int i = 0; i < OUTCOMES; i++) {
			char labels[2 * LABEL_MAX];
			(void)snprintf(labels, sizeof(labels), "%s,result=\"%s\"", w->label, OUTCOME_NAMES[i]);
			metric_write_value(out, NAME, labels, atomic_load(&w->outcomes[i]));
		}
	}
}

void workers_write_metrics(struct buf *out)
{
	(void)pthread_mutex_lock(&all_workers.lock);
	write_outcomes(out);
	for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
		metric_write_head(out, NUMBERS[i].name, NUMBERS[i].help, NUMBERS[i].type);
		for (const struct live *at = all_workers.first; at != NULL; at = at->next) {
			const struct workers *w = at->object;
			metric_write_value(out, NUMBERS[i].name, w->label, NUMBERS[i].of(w));
		}
	}
	metric_write_head(out, TOOK.name, TOOK.help, METRIC_HISTOGRAM);
	for (const struct live *at = all_workers.first; at != NULL; at = at->next)
		metric_write_histogram(out, &TOOK, &((const struct workers *)at->object)->took);
	(void)pthread_mutex_unlock(&all_workers.lock);
}
