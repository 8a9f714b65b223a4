#include "common/kube/events.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/kube/backoff.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/thread.h"

#define NAME_MAX_BYTES 253
#define SUFFIX_BYTES 17 // ".0123456789abcdef"

// What was asked for.
struct wanted {
	json_t *event; // as it is to be created, but for what each one has of its own: name, eventTime, series
	int64_t wall_us;
};

// An event that happened once or more.
struct series {
	json_t *event;
	char name[NAME_MAX_BYTES + 1]; // the Event's
	bool exists;                   // the API server has it
	int64_t count, written;        // times that it happened, and that the Event tells of
	int64_t first_us, last_us;
	int64_t seen_ms;
	int64_t due_ms; // not written again before
	int tries;      // in a row that failed
};

struct kube_events {
	struct kube_client *client;
	const struct clock *clock;
	char *reporter, *instance;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct wanted queue[EVENT_QUEUE_MAX]; // a ring
	size_t first, n;
	bool stopping;
	int64_t end_ms; // of sending, where it stops

	// The thread's own.
	struct series *series[EVENT_SERIES_COUNT];
	size_t nseries;
};

enum outcome { CREATED, REPEATED, FAILED, DROPPED, OUTCOMES };

static _Atomic int64_t outcomes[OUTCOMES];

static void count(enum outcome which)
{
	atomic_fetch_add_explicit(&outcomes[which], 1, memory_order_relaxed);
}

// ---- What an Event says

// Printable text of at most `max` bytes, in text (max + 1); what was cut ends in "...".
static void copy_text(char *text, size_t max, const char *from)
{
	size_t n = strlen(from);
	bool cut = n > max;
	n = cut ? max - 3 : n;
	memcpy(text, from, n);
	text[n] = '\0';
	text_sanitize(text);
	if (cut)
		memcpy(text + strlen(text), "...", 4);
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// A new name: the object's, as far as an Event's name may look like it, and a random suffix.
static void make_name(struct series *s)
{
	const char *object = json_string_value(json_object_get(json_object_get(s->event, "regarding"), "name"));
	size_t n = 0;
	for (const char *c = object != NULL ? object : ""; *c != '\0' && n < NAME_MAX_BYTES - SUFFIX_BYTES; c++) {
		if (is_name_char(*c))
			s->name[n++] = *c;
		else if (n > 0 && is_name_char(s->name[n - 1])) // each part begins with a letter or digit
			s->name[n++] = *c == '.' ? '.' : '-';
	}
	while (n > 0 && !is_name_char(s->name[n - 1]))
		n--;
	if (n == 0)
		n = (size_t)snprintf(s->name, sizeof(s->name), "event");
	(void)snprintf(s->name + n, SUFFIX_BYTES + 1, ".%016" PRIx64, backoff_seed());
}

static const char *or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

// New; NULL where the object's names aren't text.
static json_t *reference_to(const json_t *object)
{
	return json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*}", "apiVersion",
					 json_string_value(json_object_get(object, "apiVersion")), "kind",
					 json_string_value(json_object_get(object, "kind")), "namespace", or_null(kube_namespace(object)),
					 "name", or_null(kube_name(object)), "uid", or_null(kube_uid(object)));
}

static json_t *event_new(const struct kube_events *e, const json_t *regarding, enum event_type type, const char *reason,
						 const char *action, const char *note)
{
	char reason_cut[EVENT_WORD_MAX + 1];
	char action_cut[EVENT_WORD_MAX + 1];
	char note_cut[EVENT_NOTE_MAX + 1];
	copy_text(reason_cut, EVENT_WORD_MAX, reason);
	copy_text(action_cut, EVENT_WORD_MAX, action);
	copy_text(note_cut, EVENT_NOTE_MAX, note);
	const char *ns = or_null(kube_namespace(regarding));
	return json_pack("{s:s, s:s, s:{s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "apiVersion", "events.k8s.io/v1", "kind",
					 "Event", "metadata", "namespace", ns != NULL ? ns : "default", "reportingController", e->reporter,
					 "reportingInstance", e->instance, "type", type == EVENT_WARNING ? "Warning" : "Normal", "reason",
					 reason_cut, "action", action_cut, "note", note_cut, "regarding", reference_to(regarding));
}

static json_t *time_new(int64_t wall_us)
{
	char text[CLOCK_TEXT_MAX];
	clock_text(wall_us, 1, text);
	return json_string(text);
}

static json_t *series_json(const struct series *s)
{
	return json_pack("{s:I, s:o}", "count", (json_int_t)s->count, "lastObservedTime", time_new(s->last_us));
}

static json_t *event_to_create(const struct series *s)
{
	json_t *event = json_deep_copy(s->event);
	(void)json_object_set_new(json_object_get(event, "metadata"), "name", json_string(s->name));
	(void)json_object_set_new(event, "eventTime", time_new(s->first_us));
	if (s->count > 1)
		(void)json_object_set_new(event, "series", series_json(s));
	return event;
}

// ---- Writing

static int64_t now_ms_of(const struct kube_events *e)
{
	return clock_mono_ms(e->clock);
}

// 0 where the time for sending is over.
static int request_ms(struct kube_events *e)
{
	(void)pthread_mutex_lock(&e->lock);
	int64_t left = e->stopping ? e->end_ms - now_ms_of(e) : EVENT_REQUEST_MS;
	(void)pthread_mutex_unlock(&e->lock);
	return left <= 0 ? 0 : left < EVENT_REQUEST_MS ? (int)left : EVENT_REQUEST_MS;
}

static int ask(struct kube_events *e, const struct series *s, bool create)
{
	const char *ns = kube_namespace(s->event);
	json_t *body = create ? event_to_create(s) : json_pack("{s:o}", "series", series_json(s));
	struct buf path CLEANUP_BUF = BUF_INIT(KUBE_PATH_MAX);
	kube_path(&KUBE_EVENTS, ns, create ? NULL : s->name, NULL, &path);
	// The name is there once, and the count is a whole one: nothing happens twice.
	const struct kube_request req = {
		.method = create ? "POST" : "PATCH",
		.path = buf_z(&path),
		.body = body,
		.content_type = create ? NULL : "application/merge-patch+json",
		.timeout_ms = request_ms(e),
		.repeatable = true,
	};
	struct error err;
	struct kube_response answer CLEANUP_KUBE_RESPONSE = {0};
	int failed = req.timeout_ms == 0 ? -ETIMEDOUT : kube_do(e->client, &req, &answer, &err);
	json_decref(body);
	return failed;
}

static int create(struct kube_events *e, struct series *s)
{
	int failed = ask(e, s, true);
	if (failed != 0 && failed != -EEXIST) // it came through, though its answer did not
		return failed;
	s->exists = true;
	count(CREATED);
	return 0;
}

static int repeat(struct kube_events *e, struct series *s)
{
	int failed = ask(e, s, false);
	if (failed == 0)
		count(REPEATED);
	if (failed != -ENOENT)
		return failed;
	// Events live for an hour or so.
	s->exists = false;
	s->first_us = s->last_us;
	make_name(s);
	return create(e, s);
}

static void write_series(struct kube_events *e, struct series *s)
{
	bool first = !s->exists && s->count == 1;
	int64_t now_ms = now_ms_of(e);
	int failed = s->exists ? repeat(e, s) : create(e, s);
	s->tries = failed != 0 ? s->tries + 1 : 0;
	if (failed != 0)
		count(FAILED);
	if (failed != 0 && kube_error_transient(-failed) && s->tries < EVENT_TRIES_MAX) {
		s->due_ms = now_ms + EVENT_RETRY_MS;
		return;
	}
	// Whether it could be told or not; but that something happens again is told at once.
	s->written = s->count;
	s->due_ms = failed == 0 && first ? now_ms : now_ms + EVENT_SERIES_MS;
}

// ---- Series

static void series_free(struct series *s)
{
	json_decref(s->event);
	free(s);
}

static void forget(struct kube_events *e, size_t i)
{
	series_free(e->series[i]);
	e->series[i] = e->series[--e->nseries];
}

static void forget_quiet(struct kube_events *e)
{
	int64_t now_ms = now_ms_of(e);
	for (size_t i = e->nseries; i > 0; i--)
		if (now_ms - e->series[i - 1]->seen_ms >= EVENT_KEEP_MS)
			forget(e, i - 1);
}

static void make_room(struct kube_events *e)
{
	if (e->nseries < EVENT_SERIES_COUNT)
		return;
	size_t quietest = 0;
	for (size_t i = 1; i < e->nseries; i++)
		if (e->series[i]->seen_ms < e->series[quietest]->seen_ms)
			quietest = i;
	if (e->series[quietest]->written < e->series[quietest]->count)
		write_series(e, e->series[quietest]);
	forget(e, quietest);
}

// Takes event.
static struct series *series_get(struct kube_events *e, json_t *event, int64_t wall_us)
{
	for (size_t i = 0; i < e->nseries; i++) {
		if (json_equal(e->series[i]->event, event)) {
			json_decref(event);
			return e->series[i];
		}
	}
	make_room(e);
	struct series *s = xcalloc(1, sizeof(*s));
	s->event = event;
	s->first_us = wall_us;
	make_name(s);
	e->series[e->nseries++] = s;
	return s;
}

// Takes what is wanted.
static void happen(struct kube_events *e, const struct wanted *w)
{
	struct series *s = series_get(e, w->event, w->wall_us);
	s->count++;
	s->last_us = w->wall_us;
	s->seen_ms = now_ms_of(e);
	if (request_ms(e) == 0)
		count(DROPPED);
	else if (s->due_ms <= s->seen_ms)
		write_series(e, s);
}

// Writes the counts whose time has come. Returns how long until the next one's has, -1 where none waits.
static int64_t write_due(struct kube_events *e)
{
	int64_t next_ms = INT64_MAX;
	for (size_t i = 0; i < e->nseries; i++) {
		struct series *s = e->series[i];
		if (s->written < s->count && s->due_ms <= now_ms_of(e))
			write_series(e, s);
		if (s->written < s->count && s->due_ms < next_ms)
			next_ms = s->due_ms;
	}
	int64_t now_ms = now_ms_of(e);
	return next_ms == INT64_MAX ? -1 : next_ms > now_ms ? next_ms - now_ms : 0;
}

// At the end: what is known already, too.
static void write_rest(struct kube_events *e)
{
	for (size_t i = 0; i < e->nseries; i++)
		if (e->series[i]->written < e->series[i]->count && request_ms(e) > 0)
			write_series(e, e->series[i]);
}

// ---- The thread

// Waits for an event, at most so long; -1: for ever. False where there is none, and *ret_stopping says why.
static bool take_wanted(struct kube_events *e, int64_t wait_ms, struct wanted *ret, bool *ret_stopping)
{
	(void)pthread_mutex_lock(&e->lock);
	if (e->n == 0 && !e->stopping && wait_ms != 0)
		thread_cond_wait(&e->changed, &e->lock, wait_ms);
	bool any = e->n > 0;
	if (any) {
		*ret = e->queue[e->first];
		e->first = (e->first + 1) % EVENT_QUEUE_MAX;
		e->n--;
	}
	*ret_stopping = e->stopping;
	(void)pthread_mutex_unlock(&e->lock);
	return any;
}

static void *events_main(void *arg)
{
	struct kube_events *e = arg;
	bool stopping = false;
	for (int64_t wait_ms = -1; !stopping; wait_ms = write_due(e)) {
		struct wanted w;
		while (take_wanted(e, wait_ms, &w, &stopping)) {
			forget_quiet(e);
			happen(e, &w);
			wait_ms = 0;
		}
	}
	write_rest(e);
	return NULL;
}

struct kube_events *kube_events_start(struct kube_client *client, const struct clock *clock, const char *reporter,
									  const char *instance)
{
	struct kube_events *e = xcalloc(1, sizeof(*e));
	char instance_cut[EVENT_WORD_MAX + 1];
	copy_text(instance_cut, EVENT_WORD_MAX, instance);
	e->client = client;
	e->clock = clock;
	e->reporter = xstrdup(reporter);
	e->instance = xstrdup(instance_cut);
	(void)pthread_mutex_init(&e->lock, NULL);
	thread_cond_init(&e->changed);
	thread_start(&e->thread, "events", events_main, e);
	return e;
}

void kube_events_stop(struct kube_events *e)
{
	if (e == NULL)
		return;
	(void)pthread_mutex_lock(&e->lock);
	e->stopping = true;
	e->end_ms = now_ms_of(e) + EVENT_STOP_MS;
	(void)pthread_cond_signal(&e->changed);
	(void)pthread_mutex_unlock(&e->lock);
	(void)pthread_join(e->thread, NULL);
	for (size_t i = 0; i < e->nseries; i++)
		series_free(e->series[i]);
	free(e->reporter);
	free(e->instance);
	(void)pthread_cond_destroy(&e->changed);
	(void)pthread_mutex_destroy(&e->lock);
	free(e);
}

void kube_event(struct kube_events *e, const json_t *regarding, enum event_type type, const char *reason,
				const char *action, const char *note)
{
	struct wanted w = {event_new(e, regarding, type, reason, action, note), clock_wall_ms(e->clock) * 1000};
	bool taken = false;
	(void)pthread_mutex_lock(&e->lock);
	if (w.event != NULL && e->n < EVENT_QUEUE_MAX && !e->stopping) {
		e->queue[(e->first + e->n++) % EVENT_QUEUE_MAX] = w;
		taken = true;
		(void)pthread_cond_signal(&e->changed);
	}
	(void)pthread_mutex_unlock(&e->lock);
	if (!taken) {
		json_decref(w.event);
		count(DROPPED);
	}
}

void kube_events_write_metrics(struct buf *out)
{
	static const char NAME[] = "kube_events_total";
	static const char *const LABELS[OUTCOMES] = {
		[CREATED] = "result=\"created\"",
		[REPEATED] = "result=\"repeated\"",
		[FAILED] = "result=\"failed\"",
		[DROPPED] = "result=\"dropped\"",
	};
	metric_write_head(out, NAME, "Events written, their counts written again, requests that failed, events dropped.",
					  METRIC_COUNTER);
	for (int i = 0; i < OUTCOMES; i++)
		metric_write_value(out, NAME, LABELS[i], atomic_load_explicit(&outcomes[i], memory_order_relaxed));
}
