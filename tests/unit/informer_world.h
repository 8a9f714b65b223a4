// A client and a watcher that follow a script, and what informers told: the world of test_kube_informer.c.
#ifndef COCO_TESTS_INFORMER_WORLD_H
#define COCO_TESTS_INFORMER_WORLD_H

#include "cases.h"
#include "common/buf.h"
#include "common/kube/informer.h"
#include "common/kube/reflector.h"
#include "common/mem.h"
#include "common/thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define TEXT_MAX ((size_t)1024 * 1024)
#define STREAMS_MAX 2048
#define DUE_MAX 64

// ---- The world

struct kube_stream {
	char *path;
	char *accept;
	const struct kube_stream_handler *handler;
	void *ctx;
	bool cancelled;
};

struct due {
	int64_t delay_ms;
	void (*fn)(void *ctx, bool ran);
	void *ctx;
};

static struct world {
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct buf log;
	struct kube_stream *streams[STREAMS_MAX];
	size_t nstreams;
	struct due due[DUE_MAX];
	size_t ndue;
	int minor;         // of the server's version; 0: can't say
	const char *lists; // what kube_list() answers, one word each; the last one for ever
	bool hold_lists;   // kube_list() waits
	int held;          // calls that do
	_Atomic int64_t now_ms;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t fake_mono_ms(void *ctx)
{
	(void)ctx;
	return atomic_load(&world.now_ms);
}

static const struct clock fake_clock = {fake_mono_ms, fake_mono_ms, NULL};

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	(void)pthread_mutex_lock(&world.lock);
	buf_addf(&world.log, "%s%s", world.log.n > 0 ? " " : "", text);
	(void)pthread_mutex_unlock(&world.lock);
}

static void world_change(void)
{
	(void)pthread_cond_broadcast(&world.change);
	(void)pthread_mutex_unlock(&world.lock);
}

struct kube_stream *kube_watch(struct kube_watcher *w, const char *path, const char *accept,
							   const struct kube_stream_handler *handler, void *ctx)
{
	(void)w;
	struct kube_stream *s = xcalloc(1, sizeof(*s));
	*s = (struct kube_stream){xstrdup(path), accept != NULL ? xstrdup(accept) : NULL, handler, ctx, false};
	(void)pthread_mutex_lock(&world.lock);
	if (world.nstreams == STREAMS_MAX)
		abort();
	world.streams[world.nstreams++] = s;
	world_change();
	return s;
}

// Kept to the end of the test, so that it can see what was asked for.
void kube_watch_cancel(struct kube_stream *s)
{
	if (s->cancelled)
		abort();
	s->cancelled = true;
}

void kube_watcher_after(struct kube_watcher *w, int64_t delay_ms, void (*fn)(void *ctx, bool ran), void *ctx)
{
	(void)w;
	(void)pthread_mutex_lock(&world.lock);
	if (world.ndue == DUE_MAX)
		abort();
	world.due[world.ndue++] = (struct due){delay_ms, fn, ctx};
	world_change();
}

int kube_server_version(struct kube_client *c, struct kube_version *ret, struct error *err)
{
	(void)c;
	note("version");
	if (world.minor == 0)
		return error_set(err, ECONNREFUSED, "no version");
	*ret = (struct kube_version){.major = 1, .minor = world.minor};
	return 0;
}

// "a=1" to an object; new.
static json_t *object_of(const char *text, size_t n)
{
	char word[128];
	(void)snprintf(word, sizeof(word), "%.*s", (int)n, text);
	char *version = strchr(word, '=');
	if (version == NULL)
		abort();
	*version++ = '\0';
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:[{s:s}]}, s:{s:s}}", "apiVersion", "v1", "kind", "Thing", "metadata",
					 "name", word, "resourceVersion", version, "managedFields", "manager", "m", "spec", "secret",
					 "s3cret");
}

// "a=1,b=2" to an array; new.
static json_t *page_of(const char *text, size_t n)
{
	json_t *page = json_array();
	const char *end = text + n;
	while (text < end) {
		size_t word = strcspn(text, ",|@ ");
		if (word > 0)
			(void)json_array_append_new(page, object_of(text, word));
		text += word + 1;
	}
	return page;
}

static void hold_list(void)
{
	(void)pthread_mutex_lock(&world.lock);
	world.held++;
	(void)pthread_cond_broadcast(&world.change);
	while (world.hold_lists)
		(void)pthread_cond_wait(&world.change, &world.lock);
	world.held--;
	(void)pthread_mutex_unlock(&world.lock);
}

// The next word of the script: "!EPERM's number" fails, "a=1,b=2|c=3@10" are two pages, "*" among them starts over.
int kube_list(struct kube_client *c, const struct kube_resource *res, const char *ns, const struct kube_selector *sel,
			  kube_page_fn page, void (*restart)(void *ctx), void *ctx, char **ret_resource_version, struct error *err)
{
	(void)c;
	(void)res;
	hold_list();
	note("list%s%s%s%s", ns != NULL ? "/" : "", ns != NULL ? ns : "", sel->labels != NULL ? "?" : "",
		 sel->labels != NULL ? sel->labels : "");
	(void)pthread_mutex_lock(&world.lock);
	const char *p = world.lists;
	const char *rest = strchr(p, ' ');
	if (rest != NULL)
		world.lists = rest + 1;
	(void)pthread_mutex_unlock(&world.lock);
	for (; *p != '@'; p++) {
		if (*p == '!')
			return error_set(err, (int)strtol(p + 1, NULL, 10), "LIST fails");
		if (*p == '*') {
			restart(ctx);
			continue;
		}
		size_t n = strcspn(p, "|@*");
		json_t *items = page_of(p, n);
		int rc = page(ctx, items, err);
		json_decref(items);
		if (rc < 0)
			return rc;
		p += n;
		if (*p == '@')
			break;
	}
	*ret_resource_version = xstrndup((struct str){p + 1, strcspn(p + 1, " ")});
	return 0;
}

// ---- The watcher's thread, which is the test's

// Waits for something to do on it. Never longer than a test may take.
static struct due take_due(void)
{
	(void)pthread_mutex_lock(&world.lock);
	while (world.ndue == 0)
		(void)pthread_cond_wait(&world.change, &world.lock);
	struct due d = world.due[0];
	memmove(world.due, world.due + 1, --world.ndue * sizeof(world.due[0]));
	(void)pthread_mutex_unlock(&world.lock);
	return d;
}

static void run_due(bool ran)
{
	struct due d = take_due();
	if (ran && d.delay_ms > 0)
		note("later");
	d.fn(d.ctx, ran);
}

static struct kube_stream *last_stream(void)
{
	return world.nstreams > 0 ? world.streams[world.nstreams - 1] : NULL;
}

// Until the informer has asked for a stream.
static void run_to_stream(void)
{
	for (size_t n = world.nstreams; world.nstreams == n;)
		run_due(true);
	const char *path = last_stream()->path;
	const char *version = strstr(path, "resourceVersion=");
	size_t n = version != NULL ? strcspn(version + 16, "&") : 0;
	note("%s@%.*s", strstr(path, "sendInitialEvents=true") != NULL ? "stream" : "watch", (int)n,
		 version != NULL ? version + 16 : "");
}

static void stop_watcher(void)
{
	while (world.ndue > 0)
		run_due(false);
	for (size_t i = 0; i < world.nstreams; i++) {
		free(world.streams[i]->path);
		free(world.streams[i]->accept);
		free(world.streams[i]);
	}
	world.nstreams = 0;
}

// ---- What informers tell

static const char *version_or_none(const json_t *object)
{
	return object != NULL ? kube_resource_version(object) : "-";
}

static void note_changed(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	(void)ctx;
	note("%s:%s>%s", key, version_or_none(old_object), version_or_none(new_object));
}

static void note_synced(void *ctx)
{
	(void)ctx;
	note("synced");
}

static void note_trouble(void *ctx, const char *what, int http, const char *message, int64_t next_ms)
{
	(void)ctx;
	bool odd = next_ms < 0;
	note("%s{%.*s %d}", odd ? "odd" : (next_ms == 0 ? "well" : "trouble"), (int)strcspn(what, " "), what, http);
	if (message[0] == '\0' || strstr(message, "s3cret") != NULL)
		note("message: %s", message);
}

static const struct kube_resource THINGS = {"", "v1", "things", "Thing", true};

static struct kube_informers *start(const char *lists, int minor)
{
	thread_cond_init(&world.change);
	world.log = BUF_INIT(TEXT_MAX);
	world.lists = lists;
	world.minor = minor;
	world.hold_lists = false;
	atomic_store(&world.now_ms, 1000000);
	static char nobody;
	const struct kube_informers_config c = {
		.client = (struct kube_client *)&nobody,
		.watcher = (struct kube_watcher *)&nobody,
		.clock = &fake_clock,
		.trouble = note_trouble,
	};
	return kube_informers_start(&c);
}

static void finish(struct kube_informers *s)
{
	kube_informers_stop(s);
	stop_watcher();
	buf_release(&world.log);
}

static struct kube_informer_config plain_config(void)
{
	return (struct kube_informer_config){.resource = &THINGS, .changed = note_changed, .synced = note_synced};
}

static void assert_log(const char *want)
{
	(void)pthread_mutex_lock(&world.lock);
	char *got = xstrdup(buf_z(&world.log));
	(void)pthread_mutex_unlock(&world.lock);
	if (strcmp(got, want) != 0)
		print_message("got  %s\nwant %s\n", got, want);
	assert_string_equal(got, want);
	free(got);
}

// "a=1 b=2"
static void assert_stored(struct kube_informer *i, const char *want)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	json_t *list = kube_store_list(kube_informer_store(i));
	for (size_t n = 0; n < json_array_size(list); n++) {
		const json_t *o = json_array_get(list, n);
		buf_addf(&got, "%s%s=%s", n > 0 ? " " : "", kube_name(o), kube_resource_version(o));
		assert_null(json_object_get(json_object_get(o, "metadata"), "managedFields"));
	}
	json_decref(list);
	assert_text(buf_z(&got), want);
}

#endif
