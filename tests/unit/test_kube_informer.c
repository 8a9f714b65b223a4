// Informers over a client and a watcher that are the test's: kube_list() answers by a script on the lister's thread, and
// the test's own thread is the watcher's, which does what is due when the test says so. So nothing depends on time.

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "informer_world.h"

// ---- Scripts

static void send(const char *type, json_t *object)
{
	struct kube_stream *s = last_stream();
	json_t *event = json_pack("{s:s, s:o}", "type", type, "object", object);
	char *text = json_dumps(event, 0);
	s->handler->event(s->ctx, str_from(text));
	free(text);
	json_decref(event);
}

static void send_bookmark(const char *version, bool end)
{
	send("BOOKMARK", json_pack("{s:{s:s, s:{s:s*}}}", "metadata", "resourceVersion", version, "annotations",
							   "k8s.io/initial-events-end", end ? "true" : NULL));
}

static void send_error(const char *code)
{
	send("ERROR", json_pack("{s:s, s:i}", "kind", "Status", "code", (int)strtol(code, NULL, 10)));
}

// What the watcher does: ended() is the last call, after which the handle must be given back.
static void end_stream(const char *status)
{
	static const struct str body = {"{\"kind\":\"Status\",\"message\":\"no\"}", 32};
	struct kube_stream *s = last_stream();
	int http = (int)strtol(status, NULL, 10);
	s->handler->ended(s->ctx, http, http > 200 ? body : (struct str){NULL, 0}, "connection reset");
	assert_true(s->cancelled);
}

// One word of a script.
static void act(const char *word)
{
	const char *rest = word + 1;
	struct kube_stream *s = last_stream();
	switch (word[0]) {
	case 'g': // go on until a stream is asked for
		run_to_stream();
		return;
	case 'o': // the server agrees
		s->handler->opened(s->ctx);
		return;
	case 't': // time passes
		atomic_fetch_add(&world.now_ms, strtol(rest, NULL, 10));
		return;
	case '+':
		send("ADDED", object_of(rest, strlen(rest)));
		return;
	case '~':
		send("MODIFIED", object_of(rest, strlen(rest)));
		return;
	case '-':
		send("DELETED", object_of(rest, strlen(rest)));
		return;
	case 'b':
		send_bookmark(rest, false);
		return;
	case 'B':
		send_bookmark(rest, true);
		return;
	case '!':
		send_error(rest);
		return;
	case '?':
		send("SYNCED", json_object());
		return;
	case '#':
		s->handler->event(s->ctx, STR("<html>"));
		return;
	case 'e':
		end_stream(rest);
		return;
	default:
		fail_msg("test data: %s", word);
	}
}

struct script_case {
	const char *name;
	int minor;
	const char *lists;
	const char *script;
	const char *log;
	const char *stored;
	struct kube_informer_stats stats;
};

// EPERM is 1, ENOENT 2, ECANCELED 125, ESTALE 116.
static struct script_case script_cases[] = {
	{"informer: list, then watch",
	 20,
	 "a=1,b=2@10",
	 "g",
	 "version list a:->1 b:->2 synced watch@10",
	 "a=1 b=2",
	 {1, 1, 0, 0, 0, 0}},
	{"informer: an empty list", 20, "@10", "g", "version list synced watch@10", "", {1, 1, 0, 0, 0, 0}},
	{"informer: pages",
	 20,
	 "a=1|b=2|c=3@10",
	 "g",
	 "version list a:->1 b:->2 c:->3 synced watch@10",
	 "a=1 b=2 c=3",
	 {1, 1, 0, 0, 0, 0}},
	{"informer: a list that starts over",
	 20,
	 "a=1,b=1|*a=1|c=3@10",
	 "g",
	 "version list a:->1 b:->1 c:->3 b:1>- synced watch@10",
	 "a=1 c=3",
	 {1, 1, 0, 0, 1, 0}},
	{"informer: events",
	 20,
	 "a=1@10",
	 "g o +b=11 ~a=12 -b=13",
	 "version list a:->1 synced watch@10 b:->11 a:1>12 b:11>-",
	 "a=12",
	 {1, 1, 3, 0, 0, 0}},
	{"informer: deleted what was never known",
	 20,
	 "@10",
	 "g o -b=13",
	 "version list synced watch@10",
	 "",
	 {1, 1, 1, 0, 0, 0}},
	{"informer: an event twice",
	 20,
	 "@10",
	 "g o +b=11 +b=11",
	 "version list synced watch@10 b:->11",
	 "b=11",
	 {1, 1, 2, 0, 0, 0}},
	{"informer: resumes from the last event",
	 20,
	 "@10",
	 "g o +a=11 t9000 e200 g",
	 "version list synced watch@10 a:->11 watch@11",
	 "a=11",
	 {1, 2, 1, 0, 0, 0}},
	{"informer: resumes from a deletion",
	 20,
	 "a=1@10",
	 "g o -a=12 t9000 e0 g",
	 "version list a:->1 synced watch@10 a:1>- watch@12",
	 "",
	 {1, 2, 1, 0, 0, 0}},
	{"informer: resumes from a bookmark",
	 20,
	 "@10",
	 "g o +a=11 b15 t9000 e0 g",
	 "version list synced watch@10 a:->11 watch@15",
	 "a=11",
	 {1, 2, 1, 1, 0, 0}},
	{"informer: a stream that ends at once",
	 20,
	 "@10",
	 "g o e200 g o e200 g o t8000 e200 g",
	 "version list synced watch@10 trouble{WATCH 0} later watch@10 well{WATCH 200} later watch@10 watch@10",
	 "",
	 {1, 4, 0, 0, 0, 2}},
	{"informer: can't connect",
	 20,
	 "@10",
	 "g e0 g e0 g o",
	 "version list synced watch@10 trouble{WATCH 0} later watch@10 later watch@10 well{WATCH 200}",
	 "",
	 {1, 3, 0, 0, 0, 2}},
	{"informer: trouble is told again after a minute",
	 20,
	 "@10",
	 "g e403 t59999 g e403 t1 g e403",
	 "version list synced watch@10 trouble{WATCH 403} later watch@10 later watch@10 trouble{WATCH 403}",
	 "",
	 {1, 3, 0, 0, 0, 3}},
	{"informer: expired in the handshake",
	 20,
	 "a=1,b=2,c=3@10 b=2,c=4,d=5@20",
	 "g e410 g",
	 "version list a:->1 b:->2 c:->3 synced watch@10 list c:3>4 d:->5 a:1>- watch@20",
	 "b=2 c=4 d=5",
	 {2, 2, 0, 0, 1, 0}},
	{"informer: expired in the stream",
	 20,
	 "a=1@10 a=1@20",
	 "g o !410 g",
	 "version list a:->1 synced watch@10 list watch@20",
	 "a=1",
	 {2, 2, 0, 0, 1, 0}},
	{"informer: expired again and again",
	 20,
	 "@10",
	 "g e410 g e410 g",
	 "version list synced watch@10 list watch@10 trouble{WATCH 410} later list watch@10",
	 "",
	 {3, 3, 0, 0, 2, 1}},
	{"informer: another error in the stream",
	 20,
	 "@10",
	 "g o !500 g",
	 "version list synced watch@10 trouble{WATCH 500} later watch@10",
	 "",
	 {1, 2, 0, 0, 0, 1}},
	{"informer: garbage",
	 20,
	 "a=1@10 a=2@20",
	 "g o # g",
	 "version list a:->1 synced watch@10 trouble{WATCH 0} later list a:1>2 watch@20",
	 "a=2",
	 {2, 2, 0, 0, 0, 1}},
	{"informer: something odd",
	 20,
	 "@10",
	 "g o ? +a=11 ?",
	 "version list synced watch@10 odd{WATCH 0} a:->11",
	 "a=11",
	 {1, 1, 1, 0, 0, 0}},
	{"informer: an object without a version in a list",
	 20,
	 "=1,a=1@10",
	 "g",
	 "version list odd{LIST 0} a:->1 synced watch@10",
	 "a=1",
	 {1, 1, 0, 0, 0, 0}},
	{"informer: a list that fails",
	 20,
	 "!1 !1 a=1@10",
	 "g o",
	 "version list trouble{LIST 403} later list later list a:->1 synced watch@10 well{WATCH 200}",
	 "a=1",
	 {3, 1, 0, 0, 0, 2}},
	{"informer: a list that fails midway",
	 20,
	 "a=1,b=2|!2 b=2,c=3@10",
	 "g",
	 "version list a:->1 b:->2 trouble{LIST 404} later list c:->3 a:1>- synced watch@10",
	 "b=2 c=3",
	 {2, 1, 0, 0, 0, 1}},
	{"informer: a list that always expires",
	 20,
	 "!116 @10",
	 "g",
	 "version list trouble{LIST 410} later list synced watch@10",
	 "",
	 {2, 1, 0, 0, 1, 1}},
	{"informer: a kind that is gone keeps its objects",
	 20,
	 "a=1@10 !2 a=1@20",
	 "g o e404 g",
	 "version list a:->1 synced watch@10 trouble{WATCH 404} later list trouble{LIST 404} later list watch@20",
	 "a=1",
	 {3, 2, 0, 0, 0, 2}},
	{"informer: the program stops",
	 20,
	 "!125 @10",
	 "g",
	 "version list later list synced watch@10",
	 "",
	 {2, 1, 0, 0, 0, 1}},

	{"stream: from 1.32 on", 31, "@10", "g", "version list synced watch@10", "", {1, 1, 0, 0, 0, 0}},
	{"stream: the list",
	 32,
	 "",
	 "g o +a=1 +b=2 B10 ~a=11",
	 "version stream@ a:->1 b:->2 synced a:1>11",
	 "a=11 b=2",
	 {1, 1, 3, 1, 0, 0}},
	{"stream: resumes where the list ended",
	 32,
	 "",
	 "g o +a=1 B10 t9000 e200 g",
	 "version stream@ a:->1 synced watch@10",
	 "a=1",
	 {1, 2, 1, 1, 0, 0}},
	{"stream: a list that breaks",
	 32,
	 "",
	 "g o +a=1 +b=1 e0 g o +a=1 B20",
	 "version stream@ a:->1 b:->1 trouble{WATCH 0} later stream@ well{WATCH 200} b:1>- synced",
	 "a=1",
	 {2, 2, 3, 1, 0, 1}},
	{"stream: expired",
	 32,
	 "",
	 "g o +a=1 +b=2 B10 !410 g o +b=2 +c=3 B20",
	 "version stream@ a:->1 b:->2 synced stream@ c:->3 a:1>-",
	 "b=2 c=3",
	 {2, 2, 4, 2, 1, 0}},
	{"stream: a deletion amid the list",
	 32,
	 "",
	 "g o +a=1 +b=2 -a=3 B10",
	 "version stream@ a:->1 b:->2 a:1>- synced",
	 "b=2",
	 {1, 1, 3, 1, 0, 0}},
	{"stream: refused",
	 32,
	 "a=1@10 a=1@20",
	 "g e422 g o !410 g",
	 "version stream@ list a:->1 synced watch@10 list watch@20",
	 "a=1",
	 {3, 3, 0, 0, 1, 0}},
	{"stream: more than the server's etcd can do",
	 32,
	 "a=1@10",
	 "g o !500 g",
	 "version stream@ list a:->1 synced watch@10",
	 "a=1",
	 {2, 2, 0, 0, 0, 0}},
	{"stream: refused in the stream",
	 32,
	 "a=1@10",
	 "g o !400 g",
	 "version stream@ list a:->1 synced watch@10",
	 "a=1",
	 {2, 2, 0, 0, 0, 0}},
	{"stream: not understood",
	 32,
	 "a=1@10",
	 "g o b9 g",
	 "version stream@ trouble{WATCH 0} later list a:->1 synced watch@10",
	 "a=1",
	 {2, 2, 0, 1, 0, 1}},
	{"stream: no version to be had",
	 0,
	 "!1 @10",
	 "g",
	 "version list trouble{LIST 403} later version list synced watch@10",
	 "",
	 {2, 1, 0, 0, 0, 1}},
};

static void test_script(void **state)
{
	const struct script_case *c = *state;
	struct kube_informers *s = start(c->lists, c->minor);
	const struct kube_informer_config config = plain_config();
	struct kube_informer *i = kube_informer_add(s, &config);
	CLEANUP_FREE
	char *script = xstrdup(c->script);
	char *rest = script;
	for (const char *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
		act(word);
	assert_log(c->log);
	assert_stored(i, c->stored);
	struct kube_informer_stats got;
	kube_informer_stats(i, &got);
	assert_int_equal(got.lists, c->stats.lists);
	assert_int_equal(got.watches, c->stats.watches);
	assert_int_equal(got.events, c->stats.events);
	assert_int_equal(got.bookmarks, c->stats.bookmarks);
	assert_int_equal(got.expired, c->stats.expired);
	assert_int_equal(got.failures, c->stats.failures);
	finish(s);
}

static void test_live(void **state)
{
	(void)state;
	struct kube_informers *s = start("@10", 20);
	const struct kube_informer_config config = plain_config();
	struct kube_informer *i = kube_informer_add(s, &config);
	assert_false(kube_informer_live(i));
	act("g");
	assert_true(kube_informer_synced(i));
	assert_false(kube_informer_live(i));
	act("o");
	assert_true(kube_informer_live(i));
	act("!500");
	assert_false(kube_informer_live(i));
	act("g");
	act("o");
	assert_true(kube_informer_live(i));
	act("e0");
	assert_false(kube_informer_live(i));
	finish(s);
}

// ---- What is asked for, and what is kept of it

static void test_path(void **state)
{
	(void)state;
	struct kube_informers *s = start("@1/0", 20);
	struct kube_informer_config config = plain_config();
	// The caller's strings may go at once.
	char labels[] = "a in (b,c)";
	char fields[] = "metadata.name=n";
	char group[] = "g.io";
	struct kube_resource resource = {group, "v2", "things", "Thing", true};
	config.resource = &resource;
	config.ns = "team";
	config.selector = (struct kube_selector){.labels = labels, .fields = fields, .metadata_only = true};
	(void)kube_informer_add(s, &config);
	labels[0] = fields[0] = group[0] = 'X';
	resource = (struct kube_resource){0};
	act("g");
	char *path = last_stream()->path;
	char *seconds = strstr(path, "timeoutSeconds=");
	assert_non_null(seconds);
	long asked = strtol(seconds + 15, NULL, 10);
	assert_in_range((unsigned long)asked, 300, 600);
	memcpy(seconds + 15, "NNN", 3);
	assert_text(path, "/apis/g.io/v2/namespaces/team/things?watch=true&allowWatchBookmarks=true&resourceVersion=1%2F0"
					  "&timeoutSeconds=NNN&labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dn");
	assert_text(last_stream()->accept, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");
	assert_log("version list/team?a in (b,c) synced watch@1%2F0");
	finish(s);
}

static void test_path_streamed(void **state)
{
	(void)state;
	struct kube_informers *s = start("", 33);
	const struct kube_informer_config config = plain_config();
	(void)kube_informer_add(s, &config);
	act("g");
	char *path = last_stream()->path;
	char *seconds = strstr(path, "timeoutSeconds=");
	assert_non_null(seconds);
	*seconds = '\0';
	assert_text(path, "/api/v1/things?watch=true&allowWatchBookmarks=true&sendInitialEvents=true"
					  "&resourceVersionMatch=NotOlderThan&");
	assert_null(last_stream()->accept);
	finish(s);
}

static void assert_metadata_only(struct kube_informer *i, const char *name)
{
	json_t *o = kube_store_get(kube_informer_store(i), NULL, name);
	assert_non_null(o);
	assert_int_equal(json_object_size(o), 3);
	assert_text(json_string_value(json_object_get(o, "kind")), "Thing");
	json_decref(o);
}

// Whatever a server sends.
static void test_metadata_only(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	struct kube_informer_config config = plain_config();
	config.selector.metadata_only = true;
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	act("+b=11");
	assert_metadata_only(i, "a");
	assert_metadata_only(i, "b");
	finish(s);
}

static json_t *trim_spec(json_t *object)
{
	assert_null(json_object_get(json_object_get(object, "metadata"), "managedFields"));
	(void)json_object_del(object, "spec");
	return object;
}

static void test_trim(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	struct kube_informer_config config = plain_config();
	config.trim = trim_spec;
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	act("+b=11");
	assert_metadata_only(i, "a");
	assert_metadata_only(i, "b");
	finish(s);
}

// Nobody needs to be told.
static void test_silent(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	const struct kube_informer_config config = {.resource = &THINGS};
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	act("-a=11");
	assert_log("version list watch@10");
	assert_stored(i, "");
	finish(s);
}

// ---- Removal

static void wait_held(void)
{
	(void)pthread_mutex_lock(&world.lock);
	while (world.held == 0)
		(void)pthread_cond_wait(&world.change, &world.lock);
	(void)pthread_mutex_unlock(&world.lock);
}

static void hold_lists(bool hold)
{
	(void)pthread_mutex_lock(&world.lock);
	world.hold_lists = hold;
	world_change();
}

static void test_remove_streaming(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	const struct kube_informer_config config = plain_config();
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	kube_informer_remove(i);
	// What was on its way.
	act("+b=11");
	act("!410");
	assert_log("version list a:->1 synced watch@10");
	run_due(true);
	assert_true(last_stream()->cancelled);
	assert_int_equal(world.ndue, 0);
	finish(s);
}

static void test_remove_ended(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	const struct kube_informer_config config = plain_config();
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	kube_informer_remove(i);
	act("e0");
	run_due(true);
	assert_int_equal(world.ndue, 0);
	assert_log("version list a:->1 synced watch@10");
	finish(s);
}

static void test_remove_waiting(void **state)
{
	(void)state;
	struct kube_informers *s = start("@10", 20);
	const struct kube_informer_config config = plain_config();
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("e0");
	kube_informer_remove(i);
	run_due(true); // its back-off
	run_due(true); // its end
	assert_int_equal(world.ndue, 0);
	assert_int_equal(world.nstreams, 1);
	finish(s);
}

static void test_remove_listing(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	hold_lists(true);
	struct kube_informer_config config = plain_config();
	struct kube_resource resource = THINGS;
	config.resource = &resource;
	struct kube_informer *i = kube_informer_add(s, &config);
	wait_held();
	// Returns though the list goes on; nobody hears of what it brings.
	kube_informer_remove(i);
	resource = (struct kube_resource){0};
	config.resource = &THINGS;
	(void)kube_informer_add(s, &config);
	hold_lists(false);
	run_due(true);
	act("g");
	assert_log("version list list a:->1 synced watch@10");
	finish(s);
}

static void test_remove_queued(void **state)
{
	(void)state;
	struct kube_informers *s = start("@10", 0);
	hold_lists(true);
	const struct kube_informer_config config = plain_config();
	(void)kube_informer_add(s, &config);
	struct kube_informer *i = kube_informer_add(s, &config);
	wait_held();
	kube_informer_remove(i);
	hold_lists(false);
	act("g");
	kube_informers_stop(s);
	// Nothing was asked for the one that was gone when its turn came.
	assert_log("version list synced watch@10");
	finish(NULL);
}

// A stop waits for the list that is under way, and for nothing else.
static void *stop_set(void *ctx)
{
	kube_informers_stop(ctx);
	return NULL;
}

static void test_stop_listing(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1@10", 20);
	hold_lists(true);
	const struct kube_informer_config config = plain_config();
	(void)kube_informer_add(s, &config);
	(void)kube_informer_add(s, &config);
	wait_held();
	pthread_t stopper;
	thread_start(&stopper, "stopper", stop_set, s);
	struct due first = take_due();
	struct due second = take_due();
	hold_lists(false);
	assert_int_equal(pthread_join(stopper, NULL), 0);
	assert_log("version list");
	first.fn(first.ctx, true);
	second.fn(second.ctx, false);
	finish(NULL);
}

static void test_stop_waiting(void **state)
{
	(void)state;
	struct kube_informers *s = start("@10", 20);
	const struct kube_informer_config config = plain_config();
	(void)kube_informer_add(s, &config);
	act("g");
	act("e0");
	// The back-off ends with the watcher, after the set.
	finish(s);
}

// ---- Handlers that do more than note a key

static struct kube_informers *handler_set;
static struct kube_informer *handler_other;

static void add_another(void *ctx)
{
	(void)ctx;
	note("synced");
	if (handler_other != NULL)
		return;
	const struct kube_informer_config config = plain_config();
	handler_other = kube_informer_add(handler_set, &config);
}

static void remove_other(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	note_changed(ctx, key, old_object, new_object);
	if (handler_other != NULL)
		kube_informer_remove(TAKE_PTR(handler_other));
}

static void test_handlers(void **state)
{
	(void)state;
	handler_set = start("@10 b=1@20", 20);
	handler_other = NULL;
	struct kube_informer_config config = plain_config();
	config.synced = add_another;
	config.changed = remove_other;
	(void)kube_informer_add(handler_set, &config);
	act("g");
	struct kube_stream *first = last_stream();
	act("g");
	assert_non_null(handler_other);
	struct kube_stream *second = last_stream();
	first->handler->opened(first->ctx);
	json_t *event = json_pack("{s:s, s:o}", "type", "ADDED", "object", object_of("a=11", 4));
	char *text = json_dumps(event, 0);
	first->handler->event(first->ctx, str_from(text));
	free(text);
	json_decref(event);
	assert_null(handler_other);
	run_due(true);
	assert_true(second->cancelled);
	assert_false(first->cancelled);
	finish(handler_set);
}

static atomic_bool handler_runs, handler_may_end, removed;

static void linger(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	(void)ctx;
	(void)key;
	(void)old_object;
	(void)new_object;
	atomic_store(&handler_runs, true);
	while (!atomic_load(&handler_may_end))
		sched_yield();
	// Whoever removes waits for this.
	if (atomic_load(&removed))
		note("too early");
}

static void *remove_it(void *ctx)
{
	while (!atomic_load(&handler_runs))
		sched_yield();
	atomic_store(&handler_may_end, true);
	kube_informer_remove(ctx);
	atomic_store(&removed, true);
	return NULL;
}

static void test_remove_waits(void **state)
{
	(void)state;
	struct kube_informers *s = start("@10", 20);
	struct kube_informer_config config = plain_config();
	config.changed = linger;
	struct kube_informer *i = kube_informer_add(s, &config);
	act("g");
	act("o");
	pthread_t remover;
	thread_start(&remover, "remover", remove_it, i);
	act("+a=11");
	assert_int_equal(pthread_join(remover, NULL), 0);
	assert_log("version list synced watch@10");
	finish(s);
}

// ---- Many at once, for the sanitizers

#define ROUNDS 300

static _Atomic unsigned long calls;
static atomic_bool over;

static void count_call(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	(void)key;
	const json_t *o = new_object != NULL ? new_object : old_object;
	// ctx is the informer's life: freed once nobody calls any more.
	atomic_fetch_add((_Atomic unsigned long *)ctx, kube_name(o)[0] != '\0' ? 1 : 0);
	atomic_fetch_add(&calls, 1);
}

// The watcher's thread: does what is due, and lets each stream have an event and then end.
static void *be_watcher(void *ctx)
{
	(void)ctx;
	for (size_t served = 0; !atomic_load(&over);) {
		(void)pthread_mutex_lock(&world.lock);
		bool due = world.ndue > 0;
		struct kube_stream *s = served < world.nstreams ? world.streams[served] : NULL;
		(void)pthread_mutex_unlock(&world.lock);
		if (due) {
			struct due d = take_due();
			d.fn(d.ctx, true);
		} else if (s != NULL) {
			served++;
			if (!s->cancelled)
				s->handler->opened(s->ctx);
			if (!s->cancelled)
				s->handler->event(s->ctx,
								  STR("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Thing\",\"metadata\":{\"name\":\"z\","
									  "\"resourceVersion\":\"99\"}}}"));
		} else {
			sched_yield();
		}
	}
	return NULL;
}

static void test_many(void **state)
{
	(void)state;
	struct kube_informers *s = start("a=1,b=2|c=3@10", 20);
	atomic_store(&over, false);
	pthread_t watcher;
	thread_start(&watcher, "watcher", be_watcher, NULL);
	for (int round = 0; round < ROUNDS; round++) {
		_Atomic unsigned long *life[4];
		struct kube_informer *i[4];
		for (size_t n = 0; n < COUNT(i); n++) {
			life[n] = xcalloc(1, sizeof(*life[n]));
			struct kube_informer_config config = {.resource = &THINGS, .changed = count_call, .ctx = life[n]};
			i[n] = kube_informer_add(s, &config);
		}
		// Some are removed before they did anything, some later.
		while (round % 2 == 0 && atomic_load(life[round % 4]) < (round % 8 < 4 ? 3 : 4))
			sched_yield();
		for (size_t n = 0; n < COUNT(i); n++) {
			json_decref(kube_store_list(kube_informer_store(i[n])));
			kube_informer_remove(i[n]);
			free(life[n]);
		}
		(void)pthread_mutex_lock(&world.lock);
		bool full = world.nstreams > STREAMS_MAX - 8;
		(void)pthread_mutex_unlock(&world.lock);
		if (full)
			break;
	}
	assert_true(atomic_load(&calls) > 0);
	kube_informers_stop(s);
	atomic_store(&over, true);
	assert_int_equal(pthread_join(watcher, NULL), 0);
	finish(NULL);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, script_cases, test_script);
	tests_add(&t, "informer: live", test_live, NULL);
	tests_add(&t, "asks: the watch's path", test_path, NULL);
	tests_add(&t, "asks: the path of a list as a stream", test_path_streamed, NULL);
	tests_add(&t, "keeps: metadata only", test_metadata_only, NULL);
	tests_add(&t, "keeps: what trim leaves", test_trim, NULL);
	tests_add(&t, "informer: without handlers", test_silent, NULL);
	tests_add(&t, "remove: while a stream is open", test_remove_streaming, NULL);
	tests_add(&t, "remove: while a stream ends", test_remove_ended, NULL);
	tests_add(&t, "remove: while it waits", test_remove_waiting, NULL);
	tests_add(&t, "remove: while it lists", test_remove_listing, NULL);
	tests_add(&t, "remove: while it waits to list", test_remove_queued, NULL);
	tests_add(&t, "remove: waits for a handler", test_remove_waits, NULL);
	tests_add(&t, "stop: while it lists", test_stop_listing, NULL);
	tests_add(&t, "stop: while it waits", test_stop_waiting, NULL);
	tests_add(&t, "handlers: add and remove others", test_handlers, NULL);
	tests_add(&t, "threads", test_many, NULL);
	return tests_run("kube_informer", &t);
}
