#include "common/kube/workqueue.h"

#include <pthread.h>
#include <search.h>
#include <string.h>

#include "common/live.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define NOWHERE SIZE_MAX // not in the heap
#define LABEL_MAX 96

// Of a key, for as long as there is anything to remember of it.
struct item {
	char *key;
	bool dirty;        // to be worked on: in the line, or once the worker that has it is done
	bool processing;   // a worker has it
	struct item *next; // in the line
	struct item *next_busy;
	int64_t added_ms, started_ms;
	int64_t due_ms; // where it is in the heap
	size_t heap_at; // or NOWHERE
	unsigned tries;
};

struct workqueue {
	char label[LABEL_MAX];
	const struct clock *clock;
	struct live live;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	void *items; // all there are, by key (tsearch)
	struct item *first, **last;
	size_t depth;
	struct item *busy;  // those that workers have
	struct item **heap; // those that wait for their time, the next one first
	size_t heap_n, heap_cap;

	int64_t adds, retries;
	struct metric_histogram_series waited, worked;
};

static struct live_list queues = LIVE_LIST_INIT;

static const uint32_t BOUNDS_US[] = {1000,    5000,    10000,    50000,    100000,    500000,
									 1000000, 5000000, 10000000, 60000000, 300000000, 1000000000};

static const struct metric_histogram WAITED = {
	.name = "workqueue_queue_duration_seconds",
	.help = "How long keys waited in the queue until a worker took them.",
	.bounds_us = BOUNDS_US,
	.nbounds = sizeof(BOUNDS_US) / sizeof(BOUNDS_US[0]),
};
static const struct metric_histogram WORKED = {
	.name = "workqueue_work_duration_seconds",
	.help = "How long workers took for a key.",
	.bounds_us = BOUNDS_US,
	.nbounds = sizeof(BOUNDS_US) / sizeof(BOUNDS_US[0]),
};

// Both histograms have the same bounds.
static void observe_ms(struct metric_histogram_series *s, int64_t ms)
{
	metric_observe_us(&WAITED, s, ms > 0 ? (uint64_t)ms * 1000 : 0);
}

// ---- Items

static int item_compare(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

static struct item *item_find(const struct workqueue *q, const char *key)
{
	union {
		const char *in;
		char *out;
	} loose = {.in = key};
	const struct item wanted = {.key = loose.out};
	void *const *slot = tfind(&wanted, &q->items, item_compare);
	return slot != NULL ? *slot : NULL;
}

static struct item *item_get(struct workqueue *q, const char *key)
{
	struct item *item = item_find(q, key);
	if (item != NULL)
		return item;
	item = xcalloc(1, sizeof(*item));
	item->key = xstrdup(key);
	item->heap_at = NOWHERE;
	// Out of memory is the one way to fail.
	if (tsearch(item, &q->items, item_compare) == NULL)
		abort();
	return item;
}

static void item_free(void *p)
{
	struct item *item = p;
	free(item->key);
	free(item);
}

static void item_drop_if_idle(struct workqueue *q, struct item *item)
{
	if (item->dirty || item->processing || item->heap_at != NOWHERE || item->tries > 0)
		return;
	(void)tdelete(item, &q->items, item_compare);
	item_free(item);
}

// ---- Those that wait for their time: a binary heap

static void heap_set(struct workqueue *q, size_t at, struct item *item)
{
	q->heap[at] = item;
	item->heap_at = at;
}

static void heap_rise(struct workqueue *q, size_t at)
{
	struct item *item = q->heap[at];
	while (at > 0 && q->heap[(at - 1) / 2]->due_ms > item->due_ms) {
		heap_set(q, at, q->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_set(q, at, item);
}

static void heap_sink(struct workqueue *q, size_t at)
{
	struct item *item = q->heap[at];
	for (size_t child = 2 * at + 1; child < q->heap_n; child = 2 * at + 1) {
		if (child + 1 < q->heap_n && q->heap[child + 1]->due_ms < q->heap[child]->due_ms)
			child++;
		if (q->heap[child]->due_ms >= item->due_ms)
			break;
		heap_set(q, at, q->heap[child]);
		at = child;
	}
	heap_set(q, at, item);
}

static void heap_add(struct workqueue *q, struct item *item)
{
	if (q->heap_n == q->heap_cap) {
		q->heap_cap = q->heap_cap > 0 ? q->heap_cap * 2 : 64;
		q->heap = xreallocarray(q->heap, q->heap_cap, sizeof(struct item *));
	}
	heap_set(q, q->heap_n++, item);
	heap_rise(q, item->heap_at);
}

static struct item *heap_take_first(struct workqueue *q)
{
	struct item *first = q->heap[0];
	first->heap_at = NOWHERE;
	q->heap_n--;
	if (q->heap_n > 0) {
		heap_set(q, 0, q->heap[q->heap_n]);
		heap_sink(q, 0);
	}
	return first;
}

// ---- The line

static void line_append(struct workqueue *q, struct item *item)
{
	item->next = NULL;
	*q->last = item;
	q->last = &item->next;
	q->depth++;
	(void)pthread_cond_signal(&q->changed);
}

static struct item *line_take_first(struct workqueue *q)
{
	struct item *item = q->first;
	q->first = item->next;
	if (q->first == NULL)
		q->last = &q->first;
	q->depth--;
	return item;
}

static void mark_dirty(struct workqueue *q, struct item *item, int64_t now_ms)
{
	if (item->dirty)
		return;
	item->dirty = true;
	item->added_ms = now_ms;
	q->adds++;
	if (!item->processing)
		line_append(q, item);
}

// What is due moves from the heap into the line.
static void move_due(struct workqueue *q, int64_t now_ms)
{
	while (q->heap_n > 0 && q->heap[0]->due_ms <= now_ms)
		mark_dirty(q, heap_take_first(q), now_ms);
}

// A copy of the first key that is due, NULL where there is none.
static char *take_due(struct workqueue *q, int64_t now_ms)
{
	move_due(q, now_ms);
	if (q->closed || q->first == NULL)
		return NULL;
	struct item *item = line_take_first(q);
	item->dirty = false;
	item->processing = true;
	item->started_ms = now_ms;
	item->next_busy = q->busy;
	q->busy = item;
	observe_ms(&q->waited, now_ms - item->added_ms);
	// This worker waits for no time now, so another one has to.
	if (q->heap_n > 0)
		(void)pthread_cond_signal(&q->changed);
	return xstrdup(item->key);
}

// ---- Life

struct workqueue *workqueue_new(const char *name, const struct clock *clock)
{
	struct workqueue *q = xcalloc(1, sizeof(*q));
	(void)snprintf(q->label, sizeof(q->label), "name=\"%s\"", name);
	q->waited.labels = q->worked.labels = q->label;
	q->clock = clock;
	q->last = &q->first;
	(void)pthread_mutex_init(&q->lock, NULL);
	thread_cond_init(&q->changed);
	live_add(&queues, &q->live, q);
	return q;
}

void workqueue_free(struct workqueue *q)
{
	if (q == NULL)
		return;
	live_remove(&queues, &q->live);
	tdestroy(q->items, item_free);
	free(q->heap);
	(void)pthread_cond_destroy(&q->changed);
	(void)pthread_mutex_destroy(&q->lock);
	free(q);
}

void workqueue_close(struct workqueue *q)
{
	(void)pthread_mutex_lock(&q->lock);
	q->closed = true;
	(void)pthread_cond_broadcast(&q->changed);
	(void)pthread_mutex_unlock(&q->lock);
}

// ---- In

void workqueue_add(struct workqueue *q, const char *key)
{
	(void)pthread_mutex_lock(&q->lock);
	if (!q->closed)
		mark_dirty(q, item_get(q, key), clock_mono_ms(q->clock));
	(void)pthread_mutex_unlock(&q->lock);
}

static void add_after(struct workqueue *q, struct item *item, int64_t delay_ms)
{
	int64_t now_ms = clock_mono_ms(q->clock);
	int64_t due_ms = delay_ms < INT64_MAX - now_ms ? now_ms + delay_ms : INT64_MAX;
	q->retries++;
	if (delay_ms <= 0) {
		mark_dirty(q, item, now_ms);
	} else if (item->heap_at == NOWHERE) {
		item->due_ms = due_ms;
		heap_add(q, item);
	} else if (due_ms < item->due_ms) {
		item->due_ms = due_ms;
		heap_rise(q, item->heap_at);
	}
	// One that waits for a later time should wait for this one.
	if (item->heap_at == 0)
		(void)pthread_cond_signal(&q->changed);
}

void workqueue_add_after(struct workqueue *q, const char *key, int64_t delay_ms)
{
	(void)pthread_mutex_lock(&q->lock);
	if (!q->closed)
		add_after(q, item_get(q, key), delay_ms);
	(void)pthread_mutex_unlock(&q->lock);
}

static int64_t backoff_ms(unsigned tries)
{
	int64_t ms = WORKQUEUE_BACKOFF_FIRST_MS;
	for (unsigned i = 0; i < tries && ms < WORKQUEUE_BACKOFF_MAX_MS; i++)
		ms *= 2;
	return ms < WORKQUEUE_BACKOFF_MAX_MS ? ms : WORKQUEUE_BACKOFF_MAX_MS;
}

int64_t workqueue_retry(struct workqueue *q, const char *key)
{
	int64_t ms = 0;
	(void)pthread_mutex_lock(&q->lock);
	if (!q->closed) {
		struct item *item = item_get(q, key);
		ms = backoff_ms(item->tries);
		if (item->tries < UINT32_MAX)
			item->tries++;
		add_after(q, item, ms);
	}
	(void)pthread_mutex_unlock(&q->lock);
	return ms;
}

void workqueue_forget(struct workqueue *q, const char *key)
{
	(void)pthread_mutex_lock(&q->lock);
	struct item *item = item_find(q, key);
	if (item != NULL) {
		item->tries = 0;
		item_drop_if_idle(q, item);
	}
	(void)pthread_mutex_unlock(&q->lock);
}

unsigned workqueue_tries(struct workqueue *q, const char *key)
{
	(void)pthread_mutex_lock(&q->lock);
	const struct item *item = item_find(q, key);
	unsigned tries = item != NULL ? item->tries : 0;
	(void)pthread_mutex_unlock(&q->lock);
	return tries;
}

// ---- Out

char *workqueue_get(struct workqueue *q)
{
	char *key = NULL;
	(void)pthread_mutex_lock(&q->lock);
	while (!q->closed) {
		int64_t now_ms = clock_mono_ms(q->clock);
		key = take_due(q, now_ms);
		if (key != NULL)
			break;
		thread_cond_wait(&q->changed, &q->lock, q->heap_n > 0 ? q->heap[0]->due_ms - now_ms : -1);
	}
	(void)pthread_mutex_unlock(&q->lock);
	return key;
}

char *workqueue_try_get(struct workqueue *q)
{
	(void)pthread_mutex_lock(&q->lock);
	char *key = take_due(q, clock_mono_ms(q->clock));
	(void)pthread_mutex_unlock(&q->lock);
	return key;
}

void workqueue_done(struct workqueue *q, const char *key)
{
	(void)pthread_mutex_lock(&q->lock);
	struct item *item = item_find(q, key);
	if (item != NULL && item->processing) {
		item->processing = false;
		struct item **at = &q->busy;
		while (*at != item)
			at = &(*at)->next_busy;
		*at = item->next_busy;
		observe_ms(&q->worked, clock_mono_ms(q->clock) - item->started_ms);
		if (item->dirty)
			line_append(q, item);
		else
			item_drop_if_idle(q, item);
	}
	(void)pthread_mutex_unlock(&q->lock);
}

size_t workqueue_depth(struct workqueue *q)
{
	(void)pthread_mutex_lock(&q->lock);
	size_t depth = q->depth;
	(void)pthread_mutex_unlock(&q->lock);
	return depth;
}

// ---- Metrics

// How long the workers have had their keys.
struct busy {
	int64_t sum_ms, longest_ms;
};

static struct busy busy_of(const struct workqueue *q)
{
	struct busy busy = {0};
	int64_t now_ms = clock_mono_ms(q->clock);
	for (const struct item *item = q->busy; item != NULL; item = item->next_busy) {
		int64_t ms = now_ms - item->started_ms;
		busy.sum_ms += ms;
		busy.longest_ms = ms > busy.longest_ms ? ms : busy.longest_ms;
	}
	return busy;
}

static int64_t depth_of(const struct workqueue *q)
{
	return (int64_t)q->depth;
}

static int64_t adds_of(const struct workqueue *q)
{
	return q->adds;
}

static int64_t retries_of(const struct workqueue *q)
{
	return q->retries;
}

static int64_t unfinished_of(const struct workqueue *q)
{
	return busy_of(q).sum_ms;
}

static int64_t longest_of(const struct workqueue *q)
{
	return busy_of(q).longest_ms;
}

static const struct number {
	const char *name, *help;
	int64_t (*of)(const struct workqueue *q); // under its lock
	enum metric_type type;
	bool is_ms;
} NUMBERS[] = {
	{"workqueue_depth", "Keys that wait in the queue.", depth_of, METRIC_GAUGE, false},
	{"workqueue_adds_total", "Keys that were put into the queue.", adds_of, METRIC_COUNTER, false},
	{"workqueue_retries_total", "Keys that were put back to be tried again later.", retries_of, METRIC_COUNTER, false},
	{"workqueue_unfinished_work_seconds",
	 "For how long workers have been at the keys that they have in hand, added up. One that is stuck adds a second "
	 "each second.",
	 unfinished_of, METRIC_GAUGE, true},
	{"workqueue_longest_running_processor_seconds",
	 "For how long the worker that has been busiest with one key has been at it.", longest_of, METRIC_GAUGE, true},
};

static void write_number(struct buf *out, const struct number *n)
{
	metric_write_head(out, n->name, n->help, n->type);
	for (const struct live *at = queues.first; at != NULL; at = at->next) {
		struct workqueue *q = at->object;
		(void)pthread_mutex_lock(&q->lock);
		int64_t value = n->of(q);
		(void)pthread_mutex_unlock(&q->lock);
		if (n->is_ms)
			metric_write_seconds(out, n->name, q->label, (uint64_t)value * 1000);
		else
			metric_write_value(out, n->name, q->label, value);
	}
}

void workqueue_write_metrics(struct buf *out)
{
	(void)pthread_mutex_lock(&queues.lock);
	for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++)
		write_number(out, &NUMBERS[i]);
	metric_write_head(out, WAITED.name, WAITED.help, METRIC_HISTOGRAM);
	for (const struct live *at = queues.first; at != NULL; at = at->next)
		metric_write_histogram(out, &WAITED, &((struct workqueue *)at->object)->waited);
	metric_write_head(out, WORKED.name, WORKED.help, METRIC_HISTOGRAM);
	for (const struct live *at = queues.first; at != NULL; at = at->next)
		metric_write_histogram(out, &WORKED, &((struct workqueue *)at->object)->worked);
	(void)pthread_mutex_unlock(&queues.lock);
}
