// Informers on a real API server, driven by a test: `informer_probe KUBECONFIG`. Commands, one a line, on stdin; a JSON
// object a line on stdout. It ends at `quit` or at the end of its input, and then says {"quit":true}.
//
//   timing BACKOFF_FIRST_MS BACKOFF_MAX_MS WATCH_MIN_S WATCH_MAX_S SILENT_MS PING_MS PAGE PLAIN_SILENT_MS HANDSHAKE_MS
//          PLAIN_MS  before the first add; 0, or left out at the end: the default
//   add ID GROUP VERSION PLURAL KIND [NS] [LABELS] [FIELDS] [metadata]    "-": the core group; none given
//   dump ID          {"dump":ID,"objects":{KEY:RESOURCE_VERSION},"hashes":{KEY:SHA256},"synced":BOOL}
//   stats ID         {"stats":ID,"lists":N,"watches":N,"events":N,"bookmarks":N,"expired":N,"failures":N,"size":N,
//                    "live":BOOL,"synced":BOOL}
//   wait-synced ID   {"synced":ID}, when it is so
//   remove ID        {"removed":ID}
//   quit
//
// By themselves come {"id":ID,"key":KEY,"old":RESOURCE_VERSION or null,"new":RESOURCE_VERSION or null} for each call of a
// handler, {"id":ID,"synced":true}, {"trouble":WHAT,"http":N,"message":TEXT,"next_ms":N}, and {"error":TEXT} for a command
// that can't be. A hash is that of the object with sorted keys, without spaces, in UTF-8.
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/encode.h"
#include "common/kube/informer.h"
#include "common/mem.h"

#define FOLLOWED_MAX 64
#define WORDS_MAX 12
#define HEX_MAX ((size_t)2 * DIGEST_MAX)

struct followed {
	char *line; // the command, whose words the resource borrows
	const char *id;
	struct kube_resource resource;
	struct kube_informer *informer;
	bool synced; // under synced_lock
};

static struct kube_informers_config informers_config;
static struct kube_watch_timing watch_timing;
static struct kube_config *config;
static struct kube_auth *auth;
static struct kube_client *client;
static struct kube_watcher *watcher;
static struct kube_informers *informers;
static atomic_bool stopping;
static struct followed *followed[FOLLOWED_MAX];
static pthread_mutex_t synced_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t synced_now = PTHREAD_COND_INITIALIZER;

// Takes the object.
static void print(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text == NULL)
		abort();
	flockfile(stdout);
	(void)printf("%s\n", text);
	(void)fflush(stdout);
	funlockfile(stdout);
	free(text);
	json_decref(line);
}

static void print_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void print_error(const char *fmt, ...)
{
	char text[ERROR_MSG_MAX];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	print(json_pack("{s:s}", "error", text));
}

// ---- What informers tell

static void note_changed(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	const struct followed *f = ctx;
	print(json_pack("{s:s, s:s, s:s?, s:s?}", "id", f->id, "key", key, "old",
					old_object != NULL ? kube_resource_version(old_object) : NULL, "new",
					new_object != NULL ? kube_resource_version(new_object) : NULL));
}

static void note_synced(void *ctx)
{
	struct followed *f = ctx;
	print(json_pack("{s:s, s:b}", "id", f->id, "synced", 1));
	(void)pthread_mutex_lock(&synced_lock);
	f->synced = true;
	(void)pthread_cond_broadcast(&synced_now);
	(void)pthread_mutex_unlock(&synced_lock);
}

static void note_trouble(void *ctx, const char *what, int http, const char *message, int64_t next_ms)
{
	(void)ctx;
	print(json_pack("{s:s, s:i, s:s, s:I}", "trouble", what, "http", http, "message", message, "next_ms",
					(json_int_t)next_ms));
}

// ---- Commands

static int start(struct error *err)
{
	if (informers != NULL)
		return 0;
	const struct kube_client_options options = {
		.user_agent = "informer_probe", .qps = 1000, .burst = 1000, .stop = &stopping};
	auth = kube_auth_new(config, &clock_real);
	client = kube_client_new(config, auth, &options, &clock_real, err);
	if (client == NULL)
		return -err->code;
	watcher = kube_watcher_start(config, auth, &clock_real, "informer_probe", &watch_timing, err);
	if (watcher == NULL)
		return -err->code;
	informers_config.client = client;
	informers_config.watcher = watcher;
	informers_config.clock = &clock_real;
	informers_config.trouble = note_trouble;
	informers = kube_informers_start(&informers_config);
	return 0;
}

static void stop(void)
{
	atomic_store(&stopping, true);
	kube_informers_stop(informers);
	kube_watcher_stop(watcher);
	kube_client_free(client);
	kube_auth_free(auth);
	kube_config_free(config);
	for (size_t i = 0; i < FOLLOWED_MAX; i++) {
		if (followed[i] != NULL)
			free(followed[i]->line);
		free(followed[i]);
	}
}

static struct followed **find(const char *id)
{
	for (size_t i = 0; i < FOLLOWED_MAX; i++)
		if (id != NULL ? followed[i] != NULL && strcmp(followed[i]->id, id) == 0 : followed[i] == NULL)
			return &followed[i];
	return NULL;
}

static int number(const char *word)
{
	return word != NULL ? (int)strtol(word, NULL, 10) : 0;
}

static void set_timing(char **w)
{
	informers_config.backoff_first_ms = number(w[1]);
	informers_config.backoff_max_ms = number(w[2]);
	informers_config.watch_min_s = number(w[3]);
	informers_config.watch_max_s = number(w[4]);
	watch_timing.silent_ms = number(w[5]);
	watch_timing.ping_ms = number(w[6]);
	informers_config.page = number(w[7]);
	watch_timing.plain_silent_ms = number(w[8]);
	watch_timing.handshake_ms = number(w[9]);
	watch_timing.plain_ms = number(w[10]);
}

static const char *given(const char *word)
{
	return word != NULL && strcmp(word, "-") != 0 ? word : NULL;
}

// Takes line, of which w are the words.
static void add(char **w, char *line)
{
	struct followed **slot = find(NULL);
	struct error err;
	if (w[5] == NULL || find(w[1]) != NULL || slot == NULL || start(&err) < 0) {
		print_error("add: needs ID GROUP VERSION PLURAL KIND, with an ID that is free, and an API server: %s",
					informers == NULL && w[5] != NULL ? err.msg : "");
		free(line);
		return;
	}
	struct followed *f = xcalloc(1, sizeof(*f));
	const char *group = given(w[2]);
	*f = (struct followed){.line = line, .id = w[1], .resource = {group != NULL ? group : "", w[3], w[4], w[5], true}};
	*slot = f;
	const struct kube_informer_config c = {
		.resource = &f->resource,
		.ns = given(w[6]),
		.selector = {.labels = w[6] != NULL ? given(w[7]) : NULL,
					 .fields = w[6] != NULL && w[7] != NULL ? given(w[8]) : NULL,
					 .metadata_only = w[6] != NULL && w[7] != NULL && w[8] != NULL && w[9] != NULL},
		.changed = note_changed,
		.synced = note_synced,
		.ctx = f,
	};
	f->informer = kube_informer_add(informers, &c);
}

static json_t *hash_of(const json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	CLEANUP_BUF
	struct buf hex = BUF_INIT(HEX_MAX);
	struct digest digest;
	struct error err;
	if (text == NULL || digest_of(STR("sha256"), str_from(text), &digest, &err) < 0)
		abort();
	hex_encode(digest.v, digest.n, &hex);
	free(text);
	return json_string(buf_z(&hex));
}

static void dump(const struct followed *f)
{
	bool synced = kube_informer_synced(f->informer);
	json_t *list = kube_store_list(kube_informer_store(f->informer));
	json_t *objects = json_object();
	json_t *hashes = json_object();
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		CLEANUP_FREE
		char *key = kube_key(kube_namespace(o), kube_name(o));
		(void)json_object_set_new(objects, key, json_string(kube_resource_version(o)));
		(void)json_object_set_new(hashes, key, hash_of(o));
	}
	json_decref(list);
	print(json_pack("{s:s, s:o, s:o, s:b}", "dump", f->id, "objects", objects, "hashes", hashes, "synced", synced));
}

static void print_stats(const struct followed *f)
{
	struct kube_informer_stats s;
	kube_informer_stats(f->informer, &s);
	print(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "stats", f->id, "lists", (json_int_t)s.lists,
					"watches", (json_int_t)s.watches, "events", (json_int_t)s.events, "bookmarks",
					(json_int_t)s.bookmarks, "expired", (json_int_t)s.expired, "failures", (json_int_t)s.failures,
					"size", (json_int_t)kube_store_size(kube_informer_store(f->informer)), "live",
					kube_informer_live(f->informer), "synced", kube_informer_synced(f->informer)));
}

static void wait_synced(const struct followed *f)
{
	(void)pthread_mutex_lock(&synced_lock);
	while (!f->synced)
		(void)pthread_cond_wait(&synced_now, &synced_lock);
	(void)pthread_mutex_unlock(&synced_lock);
	print(json_pack("{s:s}", "synced", f->id));
}

static void drop(struct followed **slot)
{
	struct followed *f = TAKE_PTR(*slot);
	kube_informer_remove(f->informer);
	print(json_pack("{s:s}", "removed", f->id));
	free(f->line);
	free(f);
}

static void run_on(const char *command, const char *id)
{
	struct followed **slot = id != NULL ? find(id) : NULL;
	if (slot == NULL)
		print_error("%s: there is no informer %s", command, id != NULL ? id : "without an ID");
	else if (strcmp(command, "dump") == 0)
		dump(*slot);
	else if (strcmp(command, "stats") == 0)
		print_stats(*slot);
	else if (strcmp(command, "wait-synced") == 0)
		wait_synced(*slot);
	else if (strcmp(command, "remove") == 0)
		drop(slot);
	else
		print_error("%s: no such command", command);
}

// false: to quit.
static bool run(const char *text)
{
	char *line = xstrdup(text);
	char *w[WORDS_MAX + 1] = {0};
	char *rest = line;
	for (size_t n = 0; n < WORDS_MAX && (w[n] = strtok_r(rest, " \n", &rest)) != NULL;)
		n++;
	bool quit = w[0] != NULL && strcmp(w[0], "quit") == 0;
	if (w[0] != NULL && strcmp(w[0], "add") == 0) {
		add(w, TAKE_PTR(line));
	} else if (w[0] != NULL && strcmp(w[0], "timing") == 0) {
		set_timing(w);
	} else if (w[0] != NULL && !quit) {
		run_on(w[0], w[1]);
	}
	free(line);
	return !quit;
}

int main(int argc, char **argv)
{
	struct error err;
	config = argc == 2 ? kube_config_load(argv[1], NULL, &err) : NULL;
	if (config == NULL) {
		(void)fprintf(stderr, "%s\n", argc == 2 ? err.msg : "usage: informer_probe KUBECONFIG");
		return 2;
	}
	CLEANUP_FREE
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) >= 0 && run(line))
		continue;
	stop();
	print(json_pack("{s:b}", "quit", 1));
	return 0;
}
