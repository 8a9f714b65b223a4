// Who does what: each informer has a runner, which is not a thread but a turn. It is either with the lister's thread (its
// list is due or under way), or with the watcher's (a stream is open, or a wait is on), so that an informer's objects are
// dealt with by one thread at a time. Whoever has the turn holds a reference, and enters the informer for as long as it
// touches what a removal takes away: the store, the handlers, the set.
#include "common/kube/informer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/answer.h"
#include "common/kube/kind_metrics.h"
#include "common/kube/reflector.h"
#include "common/mem.h"
#include "common/thread.h"

#define WATCH_MIN_S 300
#define WATCH_MAX_S 600
#define METADATA_ONLY "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
// The first version whose API server sends a list as a stream without being told to.
#define STREAMED_LIST_MINOR 32

enum streamed_lists { STREAMED_LISTS_UNKNOWN, STREAMED_LISTS_YES, STREAMED_LISTS_NO };

struct kube_informers {
	struct kube_informers_config config;
	pthread_t lister;
	_Atomic enum streamed_lists streamed_lists;

	pthread_mutex_t lock; // taken with an informer's lock held, never the other way round
	pthread_cond_t wake;
	struct kube_informer *all;
	struct kube_informer *queue, **queue_end; // to be listed
	bool stopping;
};

struct kube_informer {
	// Set once
	struct kube_informers *set;
	struct kube_informer_config config;
	struct kube_resource resource;
	char *path; // of the collection
	struct kube_store *store;

	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned refs; // the owner's, the runner's, and that of a stream's end that is on its way
	bool gone;     // removed
	bool entered;  // by the runner

	// The set's
	struct kube_informer *next, **link;
	struct kube_informer *next_queued;

	// The runner's
	struct reflector reflector;
	struct reflector_troubles troubles;
	int64_t list_began_ms;
	int64_t opened_ms;          // 0: the stream isn't open yet
	struct kube_stream *stream; // touched by the watcher's thread only

	atomic_bool synced, live;
	atomic_ulong lists, watches, events, bookmarks, expired, failures;
};

// ---- Turns

static void informer_free(struct kube_informer *i)
{
	reflector_release(&i->reflector);
	free(i->path);
	const char *copies[] = {i->resource.group, i->resource.version,       i->resource.plural,       i->resource.kind,
							i->config.ns,      i->config.selector.labels, i->config.selector.fields};
	for (size_t n = 0; n < sizeof(copies) / sizeof(copies[0]); n++)
		free((void *)(uintptr_t)copies[n]);
	(void)pthread_cond_destroy(&i->idle);
	(void)pthread_mutex_destroy(&i->lock);
	free(i);
}

static void informer_unref(struct kube_informer *i)
{
	(void)pthread_mutex_lock(&i->lock);
	bool last = --i->refs == 0;
	(void)pthread_mutex_unlock(&i->lock);
	if (last)
		informer_free(i);
}

// false: the informer was removed; there is nothing to do but to give the runner's reference back.
static bool informer_enter(struct kube_informer *i)
{
	(void)pthread_mutex_lock(&i->lock);
	i->entered = !i->gone;
	bool entered = i->entered;
	(void)pthread_mutex_unlock(&i->lock);
	return entered;
}

static void list_due(void *ctx, bool ran);
static void watch_due(void *ctx, bool ran);

// Under the informer's lock: its removal waits, and so does the set's end.
static void queue_list(struct kube_informer *i)
{
	struct kube_informers *s = i->set;
	(void)pthread_mutex_lock(&s->lock);
	i->next_queued = NULL;
	*s->queue_end = i;
	s->queue_end = &i->next_queued;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
}

// Ends what informer_enter() began. next: hands the turn on, NULL where it stays with the caller.
static void informer_leave(struct kube_informer *i, const struct reflector_next *next)
{
	(void)pthread_mutex_lock(&i->lock);
	i->entered = false;
	(void)pthread_cond_broadcast(&i->idle);
	if (next != NULL && next->step == REFLECTOR_LIST && next->delay_ms == 0)
		queue_list(i);
	else if (next != NULL)
		kube_watcher_after(i->set->config.watcher, next->delay_ms, next->step == REFLECTOR_LIST ? list_due : watch_due,
						   i);
	(void)pthread_mutex_unlock(&i->lock);
}

static void list_due(void *ctx, bool ran)
{
	struct kube_informer *i = ctx;
	if (!ran || !informer_enter(i)) {
		informer_unref(i);
		return;
	}
	informer_leave(i, &(struct reflector_next){REFLECTOR_LIST, 0, false});
}

// ---- Troubles

static void tell(const struct kube_informer *i, enum reflector_step step, int http, const char *message,
				 int64_t next_ms)
{
	const struct kube_informers_config *c = &i->set->config;
	CLEANUP_FREE
	char *what = xasprintf("%s %s", step == REFLECTOR_LIST ? "LIST" : "WATCH", i->path);
	if (c->trouble != NULL)
		c->trouble(c->trouble_ctx, what, http, message, next_ms);
}

// code: an errno or status, which tells causes apart.
static void tell_trouble(struct kube_informer *i, enum reflector_step step, int code, int http, const char *message,
						 int64_t next_ms)
{
	int64_t now_ms = clock_mono_ms(i->set->config.clock);
	if (reflector_trouble_due(&i->troubles, step, code, next_ms >= 0, now_ms))
		tell(i, step, http, message, next_ms);
}

static void tell_odd(struct kube_informer *i, enum reflector_step step, const struct error *err)
{
	tell_trouble(i, step, err->code, 0, err->msg, -1);
}

// ---- Objects

static void changed(const struct kube_informer *i, const char *key, const json_t *old_object, const json_t *new_object)
{
	if (i->config.changed != NULL)
		i->config.changed(i->config.ctx, key, old_object, new_object);
}

// Takes an object that the API server told of, in a list or an event.
static void object_put(struct kube_informer *i, json_t *object)
{
	CLEANUP_FREE
	char *key = kube_key(kube_namespace(object), kube_name(object));
	json_t *known = kube_store_get(i->store, kube_namespace(object), kube_name(object));
	bool news = reflector_seen(&i->reflector, key, known != NULL ? kube_resource_version(known) : NULL,
							   kube_resource_version(object));
	json_decref(known);
	if (!news) {
		json_decref(object);
		return;
	}
	object = kube_object_prepare(object, &i->resource, i->config.selector.metadata_only);
	if (i->config.trim != NULL)
		object = i->config.trim(object);
	json_t *old = kube_store_put(i->store, json_incref(object));
	changed(i, key, old, object);
	json_decref(old);
	json_decref(object);
}

static void object_remove(struct kube_informer *i, const char *key)
{
	json_t *old = kube_store_remove(i->store, key);
	if (old != NULL)
		changed(i, key, old, NULL);
	json_decref(old);
}

static void list_complete(struct kube_informer *i, const char *resource_version)
{
	json_t *gone = reflector_list_end(&i->reflector, resource_version);
	for (size_t n = 0; n < json_array_size(gone); n++)
		object_remove(i, json_string_value(json_array_get(gone, n)));
	json_decref(gone);
	bool first = !atomic_exchange(&i->synced, true);
	if (i->config.listed != NULL)
		i->config.listed(i->config.ctx, i->list_began_ms);
	if (first && i->config.synced != NULL)
		i->config.synced(i->config.ctx);
}

// ---- Lists: on the lister's thread

static int list_page(void *ctx, const json_t *items, struct error *err)
{
	struct kube_informer *i = ctx;
	if (!informer_enter(i))
		return error_set(err, ECANCELED, "the informer was removed");
	for (size_t n = 0; n < json_array_size(items); n++) {
		json_t *object = json_array_get(items, n);
		struct error odd;
		if (kube_object_check(object, &i->resource, i->config.selector.metadata_only, &odd) < 0)
			tell_odd(i, REFLECTOR_LIST, &odd);
		else
			object_put(i, json_incref(object));
	}
	informer_leave(i, NULL);
	return 0;
}

static void list_begin(struct kube_informer *i, bool streaming)
{
	json_t *known = kube_store_keys(i->store);
	reflector_list_begin(&i->reflector, known, streaming);
	json_decref(known);
	i->list_began_ms = clock_mono_ms(i->set->config.clock);
}

static void list_restart(void *ctx)
{
	struct kube_informer *i = ctx;
	if (!informer_enter(i))
		return;
	atomic_fetch_add(&i->expired, 1);
	list_begin(i, false);
	informer_leave(i, NULL);
}

// What the API server said, as far as an error of kube_list() still tells; 0 where it said nothing.
static int status_of(int code)
{
	static const struct {
		int code, http;
	} known[] = {{EACCES, 401}, {EPERM, 403},  {ENOENT, 404}, {ESTALE, 410},
				 {EFBIG, 413},  {EINVAL, 422}, {EAGAIN, 429}, {EIO, 500}};
	for (size_t n = 0; n < sizeof(known) / sizeof(known[0]); n++)
		if (known[n].code == code)
			return known[n].http;
	return 0;
}

static bool is_unreached(int code)
{
	return code == ECONNREFUSED || code == ECONNRESET || code == EHOSTUNREACH || code == ETIMEDOUT;
}

static struct reflector_next list_failed(struct kube_informer *i, const struct error *err)
{
	struct reflector_next next = reflector_list_failed(&i->reflector, is_unreached(err->code));
	if (err->code == ESTALE)
		atomic_fetch_add(&i->expired, 1);
	atomic_fetch_add(&i->failures, 1);
	kind_metrics_restarted(&i->resource, err->code == ESTALE ? KIND_EXPIRED : KIND_FAILED);
	// The program is stopping: no trouble.
	if (err->code != ECANCELED)
		tell_trouble(i, REFLECTOR_LIST, err->code, status_of(err->code), err->msg, next.delay_ms);
	return next;
}

// Whether to ask for the list as a stream. May take a request, so the informer isn't entered.
static bool lists_are_streamed(struct kube_informers *s)
{
	if (atomic_load(&s->streamed_lists) == STREAMED_LISTS_UNKNOWN) {
		struct kube_version v = {0};
		struct error err;
		// Asked again with the next list: this one will meet the same trouble, and tell of it.
		if (kube_server_version(s->config.client, &v, &err) < 0)
			return false;
		bool has = v.major > 1 || (v.major == 1 && v.minor >= STREAMED_LIST_MINOR);
		atomic_store(&s->streamed_lists, has ? STREAMED_LISTS_YES : STREAMED_LISTS_NO);
	}
	return atomic_load(&s->streamed_lists) == STREAMED_LISTS_YES;
}

static void list_step(struct kube_informers *s, struct kube_informer *i)
{
	bool wanted = informer_enter(i);
	if (wanted)
		informer_leave(i, NULL);
	bool streaming = wanted && lists_are_streamed(s);
	if (!informer_enter(i)) {
		informer_unref(i);
		return;
	}
	atomic_fetch_add(&i->lists, 1);
	list_begin(i, streaming);
	struct reflector_next next = {REFLECTOR_WATCH, 0, false};
	if (streaming) {
		informer_leave(i, &next);
		return;
	}
	informer_leave(i, NULL);

	struct kube_selector selector = i->config.selector;
	selector.page = s->config.page;
	CLEANUP_FREE
	char *version = NULL;
	struct error err;
	int rc =
		kube_list(s->config.client, &i->resource, i->config.ns, &selector, list_page, list_restart, i, &version, &err);
	if (!informer_enter(i)) {
		informer_unref(i);
		return;
	}
	if (rc == 0)
		list_complete(i, version);
	else
		next = list_failed(i, &err);
	informer_leave(i, &next);
}

static void *lister_run(void *ctx)
{
	struct kube_informers *s = ctx;
	for (;;) {
		(void)pthread_mutex_lock(&s->lock);
		while (s->queue == NULL && !s->stopping)
			thread_cond_wait(&s->wake, &s->lock, -1);
		struct kube_informer *i = s->queue;
		if (i != NULL && (s->queue = i->next_queued) == NULL)
			s->queue_end = &s->queue;
		(void)pthread_mutex_unlock(&s->lock);
		if (i == NULL)
			return NULL;
		list_step(s, i);
	}
}

// ---- Streams: on the watcher's thread

static void note_live(struct kube_informer *i, bool live)
{
	if (atomic_exchange(&i->live, live) != live)
		kind_metrics_open(&i->resource, live ? 1 : -1);
}

// From within its handler: gives the stream up, or its handle back where it has ended.
static void stream_drop(struct kube_informer *i)
{
	kube_watch_cancel(i->stream);
	i->stream = NULL;
	note_live(i, false);
}

static void stream_opened(void *ctx)
{
	struct kube_informer *i = ctx;
	if (!informer_enter(i))
		return;
	i->opened_ms = clock_mono_ms(i->set->config.clock);
	note_live(i, true);
	if (reflector_recovered(&i->troubles))
		tell(i, REFLECTOR_WATCH, 200, "works again", 0);
	informer_leave(i, NULL);
}

static struct reflector_next stream_over(struct kube_informer *i, const struct kube_status *status, const char *message)
{
	int64_t lived_ms = i->opened_ms != 0 ? clock_mono_ms(i->set->config.clock) - i->opened_ms : 0;
	struct reflector_next next = reflector_stream_ended(&i->reflector, status, lived_ms);
	if (status->http == 410)
		atomic_fetch_add(&i->expired, 1);
	kind_metrics_restarted(&i->resource, status->http == 410 ? KIND_EXPIRED
										 : next.delay_ms > 0 ? KIND_FAILED
															 : KIND_ENDED);
	if (next.refused_stream)
		atomic_store(&i->set->streamed_lists, STREAMED_LISTS_NO);
	if (next.delay_ms > 0) {
		bool refused = status->http >= 300;
		atomic_fetch_add(&i->failures, 1);
		tell_trouble(i, REFLECTOR_WATCH, status->http, refused ? status->http : 0, message, next.delay_ms);
	}
	return next;
}

static struct reflector_next stream_garbled(struct kube_informer *i, const struct error *err)
{
	struct reflector_next next = reflector_stream_garbled(&i->reflector);
	atomic_fetch_add(&i->failures, 1);
	kind_metrics_restarted(&i->resource, KIND_FAILED);
	tell_trouble(i, REFLECTOR_WATCH, err->code, 0, err->msg, next.delay_ms);
	return next;
}

// true: the stream has said its last, and *ret_next is what comes then.
static bool bookmark_apply(struct kube_informer *i, const struct kube_event *e, struct reflector_next *ret_next)
{
	const char *version = kube_resource_version(e->object);
	atomic_fetch_add(&i->bookmarks, 1);
	if (!i->reflector.streaming) {
		reflector_advance(&i->reflector, version);
		return false;
	}
	if (e->initial_end) {
		list_complete(i, version);
		return false;
	}
	// A server that takes the parameter and doesn't know it: it would never send what there was before.
	struct error err;
	(void)error_set(&err, EPROTO,
					"WATCH %s: a list as a stream was asked for, and none came; lists are asked for in pages", i->path);
	atomic_store(&i->set->streamed_lists, STREAMED_LISTS_NO);
	*ret_next = stream_garbled(i, &err);
	return true;
}

static bool event_apply(struct kube_informer *i, struct kube_event *e, const struct error *err,
						struct reflector_next *ret_next)
{
	switch (e->kind) {
	case KUBE_EVENT_PUT:
		atomic_fetch_add(&i->events, 1);
		reflector_advance(&i->reflector, kube_resource_version(e->object));
		object_put(i, TAKE_PTR(e->object));
		return false;
	case KUBE_EVENT_DELETED: {
		CLEANUP_FREE
		char *key = kube_key(kube_namespace(e->object), kube_name(e->object));
		atomic_fetch_add(&i->events, 1);
		reflector_advance(&i->reflector, kube_resource_version(e->object));
		object_remove(i, key);
		return false;
	}
	case KUBE_EVENT_BOOKMARK:
		return bookmark_apply(i, e, ret_next);
	case KUBE_EVENT_ODD:
		tell_odd(i, REFLECTOR_WATCH, err);
		return false;
	case KUBE_EVENT_ERROR:
		*ret_next = stream_over(i, &e->status, err->msg);
		return true;
	case KUBE_EVENT_GARBAGE:
		break;
	}
	*ret_next = stream_garbled(i, err);
	return true;
}

static void stream_event(void *ctx, struct str text)
{
	struct kube_informer *i = ctx;
	if (!informer_enter(i))
		return;
	CLEANUP_FREE
	char *request = xasprintf("WATCH %s", i->path);
	CLEANUP_KUBE_EVENT
	struct kube_event e;
	struct error err;
	struct reflector_next next;
	kube_event_read(text, &i->resource, i->config.selector.metadata_only, request, &e, &err);
	bool over = event_apply(i, &e, &err, &next);
	if (over)
		stream_drop(i);
	informer_leave(i, over ? &next : NULL);
}

static void stream_ended(void *ctx, int http, struct str status_body, const char *reason)
{
	struct kube_informer *i = ctx;
	if (!informer_enter(i)) {
		stream_drop(i);
		informer_unref(i);
		return;
	}
	CLEANUP_FREE
	char *request = xasprintf("WATCH %s", i->path);
	struct kube_status status = {.http = http};
	struct error err;
	if (http == 0 || http == 200) {
		(void)error_set(&err, EPIPE, "%s: %s", request, http == 0 ? reason : "the stream ended early");
	} else {
		struct error unread; // by a proxy, perhaps
		json_t *body = status_body.p != NULL ? kube_answer_read(status_body, &unread) : NULL;
		if (kube_status_read(http, body, request, &status, &err) == -ESTALE)
			status.http = 410;
		json_decref(body);
	}
	struct reflector_next next = stream_over(i, &status, err.msg);
	stream_drop(i); // now, as the arguments were the stream's
	informer_leave(i, &next);
}

static const struct kube_stream_handler stream_handler = {stream_opened, stream_event, stream_ended};

static void stream_path(struct kube_informer *i, struct buf *path)
{
	const struct kube_informers_config *c = &i->set->config;
	char seconds[24];
	int min_s = c->watch_min_s > 0 ? c->watch_min_s : WATCH_MIN_S;
	int max_s = c->watch_max_s > 0 ? c->watch_max_s : WATCH_MAX_S;
	(void)snprintf(seconds, sizeof(seconds), "%lld",
				   (long long)backoff_between(&i->reflector.backoff, min_s, (int64_t)max_s + 1));
	bool streaming = i->reflector.streaming;
	buf_addz(path, i->path);
	kube_path_query(path, "watch", "true");
	kube_path_query(path, "allowWatchBookmarks", "true");
	kube_path_query(path, "sendInitialEvents", streaming ? "true" : NULL);
	kube_path_query(path, "resourceVersionMatch", streaming ? "NotOlderThan" : NULL);
	kube_path_query(path, "resourceVersion", i->reflector.resource_version);
	kube_path_query(path, "timeoutSeconds", seconds);
	kube_path_query(path, "labelSelector", i->config.selector.labels);
	kube_path_query(path, "fieldSelector", i->config.selector.fields);
}

static void watch_due(void *ctx, bool ran)
{
	struct kube_informer *i = ctx;
	if (!ran || !informer_enter(i)) {
		informer_unref(i);
		return;
	}
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	stream_path(i, &path);
	i->opened_ms = 0;
	atomic_fetch_add(&i->watches, 1);
	i->stream = kube_watch(i->set->config.watcher, buf_z(&path),
						   i->config.selector.metadata_only ? METADATA_ONLY : NULL, &stream_handler, i);
	informer_leave(i, NULL);
}

// After a removal. Here rather than in the removal, as the stream is the watcher's thread's alone.
static void stream_end(void *ctx, bool ran)
{
	struct kube_informer *i = ctx;
	if (i->stream != NULL) {
		if (ran)
			kube_watch_cancel(i->stream);
		i->stream = NULL;
		note_live(i, false);
		informer_unref(i); // the runner's
	}
	informer_unref(i);
}

// ---- Informers and their set

static char *copy(const char *text)
{
	return text != NULL ? xstrdup(text) : NULL;
}

struct kube_informer *kube_informer_add(struct kube_informers *s, const struct kube_informer_config *config)
{
	struct kube_informer *i = xcalloc(1, sizeof(*i));
	i->set = s;
	i->config = *config;
	// Copies: a list that is under way may outlive a removal.
	const struct kube_resource *r = config->resource;
	i->resource = (struct kube_resource){xstrdup(r->group), xstrdup(r->version), xstrdup(r->plural), xstrdup(r->kind),
										 r->namespaced};
	i->config.resource = &i->resource;
	i->config.ns = copy(config->ns);
	i->config.selector.labels = copy(config->selector.labels);
	i->config.selector.fields = copy(config->selector.fields);
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(&i->resource, config->ns, NULL, NULL, &path);
	i->path = buf_take(&path);
	i->store = kube_store_new(config->indexes, config->nindexes);
	(void)pthread_mutex_init(&i->lock, NULL);
	thread_cond_init(&i->idle);
	i->refs = 2; // the owner's and the runner's
	reflector_init(&i->reflector, s->config.backoff_first_ms, s->config.backoff_max_ms, backoff_seed());
	kind_metrics_watches(&i->resource, 1);

	(void)pthread_mutex_lock(&i->lock);
	(void)pthread_mutex_lock(&s->lock);
	i->next = s->all;
	i->link = &s->all;
	if (i->next != NULL)
		i->next->link = &i->next;
	s->all = i;
	(void)pthread_mutex_unlock(&s->lock);
	queue_list(i);
	(void)pthread_mutex_unlock(&i->lock);
	return i;
}

// Called with the set's lock.
static void set_unlink(struct kube_informer *i)
{
	*i->link = i->next;
	if (i->next != NULL)
		i->next->link = i->link;
}

static void informer_end(struct kube_informer *i)
{
	(void)pthread_mutex_lock(&i->lock);
	i->gone = true;
	while (i->entered)
		thread_cond_wait(&i->idle, &i->lock, -1);
	i->refs++; // for stream_end
	(void)pthread_mutex_unlock(&i->lock);
	kube_store_free(i->store);
	i->store = NULL;
	kind_metrics_watches(&i->resource, -1);
	kube_watcher_after(i->set->config.watcher, 0, stream_end, i);
	informer_unref(i);
}

void kube_informer_remove(struct kube_informer *i)
{
	struct kube_informers *s = i->set;
	(void)pthread_mutex_lock(&s->lock);
	set_unlink(i);
	(void)pthread_mutex_unlock(&s->lock);
	informer_end(i);
}

struct kube_informers *kube_informers_start(const struct kube_informers_config *config)
{
	struct kube_informers *s = xcalloc(1, sizeof(*s));
	s->config = *config;
	s->queue_end = &s->queue;
	(void)pthread_mutex_init(&s->lock, NULL);
	thread_cond_init(&s->wake);
	thread_start(&s->lister, "lister", lister_run, s);
	return s;
}

void kube_informers_stop(struct kube_informers *s)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	// Handlers that still run may add informers.
	while (s->all != NULL) {
		struct kube_informer *i = s->all;
		set_unlink(i);
		(void)pthread_mutex_unlock(&s->lock);
		informer_end(i);
		(void)pthread_mutex_lock(&s->lock);
	}
	s->stopping = true;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->lister, NULL);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

bool kube_informer_synced(struct kube_informer *i)
{
	return atomic_load(&i->synced);
}

struct kube_store *kube_informer_store(struct kube_informer *i)
{
	return i->store;
}

bool kube_informer_live(struct kube_informer *i)
{
	return atomic_load(&i->live);
}

void kube_informer_stats(struct kube_informer *i, struct kube_informer_stats *ret)
{
	*ret = (struct kube_informer_stats){
		.lists = atomic_load(&i->lists),
		.watches = atomic_load(&i->watches),
		.events = atomic_load(&i->events),
		.bookmarks = atomic_load(&i->bookmarks),
		.expired = atomic_load(&i->expired),
		.failures = atomic_load(&i->failures),
	};
}
