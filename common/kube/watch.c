#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/watch_private.h"
#include "common/mem.h"
#include "common/secret.h"
#include "common/thread.h"

// ---- The lists. A stream is freed by the loop alone, so that a pointer to it is good until the loop goes round.

// Under the lock.
static void queue_add(struct kube_stream *s)
{
	if (s->queued)
		return;
	s->queued = true;
	s->queue_next = NULL;
	*s->w->queue_end = s;
	s->w->queue_end = &s->queue_next;
}

void watch_queue(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	(void)pthread_mutex_lock(&w->lock);
	queue_add(s);
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
}

// The next stream that needs a look; *ret_released as of now.
static struct kube_stream *queue_take(struct kube_watcher *w, bool *ret_released)
{
	(void)pthread_mutex_lock(&w->lock);
	struct kube_stream *s = w->stopping ? NULL : w->queue;
	if (s != NULL) {
		w->queue = s->queue_next;
		if (w->queue == NULL)
			w->queue_end = &w->queue;
		s->queued = false;
		*ret_released = s->released;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return s;
}

static void stream_unlink(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	(void)pthread_mutex_lock(&w->lock);
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		w->streams = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	w->nstreams--;
	(void)pthread_mutex_unlock(&w->lock);
}

static void stream_free(struct kube_stream *s)
{
	stream_drop(s);
	stream_unlink(s);
	free(s->path);
	free(s->accept);
	free(s);
}

// ---- Calls of handlers

static bool call_begins(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	(void)pthread_mutex_lock(&w->lock);
	bool wanted = !s->released && !w->stopping;
	if (wanted)
		w->calling = s;
	(void)pthread_mutex_unlock(&w->lock);
	return wanted;
}

// Returns whether further ones are wanted.
static bool call_ends(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	(void)pthread_mutex_lock(&w->lock);
	w->calling = NULL;
	bool wanted = !s->released && !w->stopping;
	(void)pthread_cond_broadcast(&w->called);
	(void)pthread_mutex_unlock(&w->lock);
	return wanted;
}

bool watch_call_opened(struct kube_stream *s)
{
	if (!call_begins(s))
		return false;
	if (s->handler->opened != NULL)
		s->handler->opened(s->ctx);
	return call_ends(s);
}

bool watch_call_event(void *stream, struct str text)
{
	struct kube_stream *s = stream;
	if (!call_begins(s))
		return false;
	s->handler->event(s->ctx, text);
	return call_ends(s);
}

void watch_call_ended(struct kube_stream *s, int http, struct str body, const char *reason)
{
	if (!call_begins(s))
		return;
	s->handler->ended(s->ctx, http, body, reason);
	(void)call_ends(s);
}

// ---- Timers

static void timer_free(struct watch_timer *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		t->w->timers = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	free(t);
}

static void on_timer(lws_sorted_usec_list_t *sul)
{
	struct watch_timer *t = lws_container_of(sul, struct watch_timer, sul);
	t->fn(t->ctx, true);
	timer_free(t);
}

static void timers_take(struct kube_watcher *w)
{
	(void)pthread_mutex_lock(&w->lock);
	struct watch_timer *fresh = w->new_timers;
	w->new_timers = NULL;
	(void)pthread_mutex_unlock(&w->lock);
	while (fresh != NULL) {
		struct watch_timer *t = fresh;
		fresh = t->next;
		t->next = w->timers;
		if (t->next != NULL)
			t->next->prev = t;
		w->timers = t;
		lws_usec_t wait = t->due - lws_now_usecs();
		lws_sul_schedule(w->lws, 0, &t->sul, on_timer, wait > 0 ? wait : 1);
	}
}

// A timer's function may ask for another one.
static void timers_end(struct kube_watcher *w)
{
	for (timers_take(w); w->timers != NULL; timers_take(w)) {
		struct watch_timer *t = w->timers;
		lws_sul_cancel(&t->sul);
		t->fn(t->ctx, false);
		timer_free(t);
	}
}

void kube_watcher_after(struct kube_watcher *w, int64_t delay_ms, void (*fn)(void *ctx, bool ran), void *ctx)
{
	struct watch_timer *t = xcalloc(1, sizeof(*t));
	*t = (struct watch_timer){.due = lws_now_usecs() + delay_ms * LWS_US_PER_MS, .fn = fn, .ctx = ctx, .w = w};
	(void)pthread_mutex_lock(&w->lock);
	t->next = w->new_timers;
	w->new_timers = t;
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
}

// ---- The loop

static bool stopping(struct kube_watcher *w)
{
	(void)pthread_mutex_lock(&w->lock);
	bool yes = w->stopping;
	(void)pthread_mutex_unlock(&w->lock);
	return yes;
}

static void *watcher_main(void *arg)
{
	struct kube_watcher *w = arg;
	while (!stopping(w)) {
		watch_credential_collect(w);
		timers_take(w);
		bool released = false;
		for (struct kube_stream *s; (s = queue_take(w, &released)) != NULL;) {
			if (released)
				stream_free(s);
			else if (s->state == STREAM_NEW)
				stream_begin(s);
		}
		watch_trust_collect(w);
		(void)lws_service(w->lws, 0);
	}
	timers_end(w);
	for (struct kube_stream *s = w->streams, *next; s != NULL; s = next) {
		next = s->next;
		stream_free(s);
	}
	return NULL;
}

static int or_default(int ms, int fallback)
{
	return ms > 0 ? ms : fallback;
}

static struct kube_watch_timing complete_timing(const struct kube_watch_timing *timing)
{
	static const struct kube_watch_timing none = {0};
	const struct kube_watch_timing *t = timing != NULL ? timing : &none;
	return (struct kube_watch_timing){
		.ping_ms = or_default(t->ping_ms, KUBE_WATCH_PING_MS),
		.silent_ms = or_default(t->silent_ms, KUBE_WATCH_SILENT_MS),
		.plain_silent_ms = or_default(t->plain_silent_ms, KUBE_WATCH_PLAIN_SILENT_MS),
		.handshake_ms = or_default(t->handshake_ms, KUBE_WATCH_HANDSHAKE_MS),
		.plain_ms = or_default(t->plain_ms, KUBE_WATCH_PLAIN_MS),
	};
}

static void watcher_free(struct kube_watcher *w)
{
	if (w->lws != NULL)
		lws_context_destroy(w->lws);
	watch_trust_free(w);
	(void)pthread_cond_destroy(&w->called);
	(void)pthread_mutex_destroy(&w->lock);
	free(w->user_agent);
	free(w->authority);
	free(w->origin);
	secret_free(w->proxy);
	free(w->refusal);
	free(w);
}

struct kube_watcher *kube_watcher_start(const struct kube_config *config, struct kube_auth *auth,
										const struct clock *clock, const char *user_agent,
										const struct kube_watch_timing *timing, struct error *err)
{
	struct kube_watcher *w = xcalloc(1, sizeof(*w));
	*w = (struct kube_watcher){
		.config = config,
		.auth = auth,
		.clock = clock,
		.timing = complete_timing(timing),
		.user_agent = xstrdup(user_agent),
		.trust_checked_ms = -1,
		.plain_until_ms = INT64_MIN,
		.queue_end = &w->queue,
	};
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->called, NULL);
	watch_trust_read_config(w);
	if (watch_lws_start(w, err) < 0) {
		watcher_free(w);
		return NULL;
	}
	thread_start(&w->thread, "watch", watcher_main, w);
	return w;
}

void kube_watcher_stop(struct kube_watcher *w)
{
	if (w == NULL)
		return;
	(void)pthread_mutex_lock(&w->lock);
	w->stopping = true;
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
	(void)pthread_join(w->thread, NULL);
	watch_credential_stop(w);
	watcher_free(w);
}

// ---- Streams

struct kube_stream *kube_watch(struct kube_watcher *w, const char *path, const char *accept,
							   const struct kube_stream_handler *handler, void *ctx)
{
	struct kube_stream *s = xcalloc(1, sizeof(*s));
	*s = (struct kube_stream){
		.w = w,
		.path = xasprintf("%s%s", w->config->path, path),
		.accept = xstrdup(accept != NULL ? accept : "application/json"),
		.handler = handler,
		.ctx = ctx,
		.lines = LINES_INIT(KUBE_EVENT_MAX),
		.body = BUF_INIT(KUBE_REFUSAL_MAX),
	};
	(void)pthread_mutex_lock(&w->lock);
	s->next = w->streams;
	if (s->next != NULL)
		s->next->prev = s;
	w->streams = s;
	s->excess = ++w->nstreams > KUBE_STREAMS_MAX;
	queue_add(s);
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
	return s;
}

void kube_watch_cancel(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	(void)pthread_mutex_lock(&w->lock);
	s->released = true;
	queue_add(s);
	// The loop may free it while this waits, so that only its address counts from here on.
	if (!pthread_equal(pthread_self(), w->thread))
		while (w->calling == s)
			(void)pthread_cond_wait(&w->called, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
}
