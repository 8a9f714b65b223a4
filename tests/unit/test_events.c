#include "tests/unit/cases.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/kube/events.h"
#include "common/mem.h"
#include "common/thread.h"
#include "tests/unit/fake_clock.h"

#define WALL_MS 1767323045000 // 2026-01-02T03:04:05Z
#define REQUESTS_MAX 2048
#define WAIT_MS 30000

// ---- An API server of a few lines in place of the client

struct request {
	char *method, *path, *content_type;
	json_t *body;
	int timeout_ms;
};

static struct server {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct request requests[REQUESTS_MAX];
	int n;
	int fail_post, fail_patch; // errno, 0 for none
	bool held;                 // requests wait until they are let go
	struct fake_clock *slow;   // time passes as long as the request may take
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

int kube_do(struct kube_client *c, const struct kube_request *req, struct kube_response *ret, struct error *err)
{
	(void)c;
	(void)ret;
	(void)pthread_mutex_lock(&server.lock);
	if (server.n < REQUESTS_MAX)
		server.requests[server.n++] = (struct request){xstrdup(req->method), xstrdup(req->path),
													   req->content_type ? xstrdup(req->content_type) : NULL,
													   json_deep_copy(req->body), req->timeout_ms};
	(void)pthread_cond_broadcast(&server.changed);
	while (server.held)
		(void)pthread_cond_wait(&server.changed, &server.lock);
	if (server.slow != NULL)
		fake_clock_pass(server.slow, req->timeout_ms);
	int code = strcmp(req->method, "POST") == 0 ? server.fail_post : server.fail_patch;
	(void)pthread_mutex_unlock(&server.lock);
	assert_true(req->repeatable);
	return code != 0 ? error_set(err, code, "no") : 0;
}

void kube_response_release(struct kube_response *r)
{
	json_decref(r->body);
}

static void server_reset(void)
{
	(void)pthread_mutex_lock(&server.lock);
	for (int i = 0; i < server.n; i++) {
		free(server.requests[i].method);
		free(server.requests[i].path);
		free(server.requests[i].content_type);
		json_decref(server.requests[i].body);
	}
	server.n = 0;
	server.fail_post = server.fail_patch = 0;
	server.held = false;
	server.slow = NULL;
	(void)pthread_mutex_unlock(&server.lock);
}

static void server_fail(int post, int patch)
{
	(void)pthread_mutex_lock(&server.lock);
	server.fail_post = post;
	server.fail_patch = patch;
	(void)pthread_mutex_unlock(&server.lock);
}

static void server_hold(bool hold)
{
	(void)pthread_mutex_lock(&server.lock);
	server.held = hold;
	(void)pthread_cond_broadcast(&server.changed);
	(void)pthread_mutex_unlock(&server.lock);
}

static const char *text_in(const json_t *o, const char *a, const char *b)
{
	const json_t *v = json_object_get(o, a);
	return json_string_value(b != NULL ? json_object_get(v, b) : v);
}

// The nth request, counted from 1, of that method and note (NULL: any); under the lock. NULL where it has not come.
static const struct request *find_request(const char *method, const char *note, int nth)
{
	for (int i = 0; i < server.n; i++) {
		const struct request *r = &server.requests[i];
		const char *has = text_in(r->body, "note", NULL);
		if (strcmp(r->method, method) == 0 && (note == NULL || (has != NULL && strcmp(has, note) == 0)) && --nth == 0)
			return r;
	}
	return NULL;
}

// Waits for it. Borrowed until the reset.
static const struct request *request_of(const char *method, const char *note, int nth)
{
	int64_t end = clock_mono_ms(&clock_real) + WAIT_MS;
	const struct request *found = NULL;
	(void)pthread_mutex_lock(&server.lock);
	while ((found = find_request(method, note, nth)) == NULL && clock_mono_ms(&clock_real) < end)
		thread_cond_wait(&server.changed, &server.lock, 1000);
	(void)pthread_mutex_unlock(&server.lock);
	if (found == NULL)
		fail_msg("no %s number %d of an event \"%s\" came", method, nth, note != NULL ? note : "(any)");
	return found;
}

static const struct request *posted(const char *note, int nth)
{
	return request_of("POST", note, nth);
}

static const struct request *repeated(int nth)
{
	return request_of("PATCH", NULL, nth);
}

static bool has_come(const char *method, const char *note, int nth)
{
	(void)pthread_mutex_lock(&server.lock);
	bool come = find_request(method, note, nth) != NULL;
	(void)pthread_mutex_unlock(&server.lock);
	return come;
}

static int requests(void)
{
	(void)pthread_mutex_lock(&server.lock);
	int n = server.n;
	(void)pthread_mutex_unlock(&server.lock);
	return n;
}

// ---- The world

struct world {
	struct fake_clock fake;
	struct clock clock;
	struct kube_events *events;
	json_t *pod;
};

static json_t *object(const char *kind, const char *ns, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s*, s:s, s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind", kind, "metadata",
					 "namespace", ns, "name", name, "uid", "u-1", "resourceVersion", "7", "data", "secret", "c2VjcmV0");
}

static _Atomic int looks; // at the clock

// Counted once the time is read: what passes after that is no more in it.
static int64_t counted_mono_ms(void *ctx)
{
	int64_t now_ms = fake_mono_ms(ctx);
	atomic_fetch_add(&looks, 1);
	return now_ms;
}

static void world_start(struct world *w)
{
	server_reset();
	w->fake = (struct fake_clock){.mono = 5000000, .wall = WALL_MS};
	w->clock = fake_clock(&w->fake);
	w->clock.mono_ms = counted_mono_ms;
	w->events = kube_events_start((struct kube_client *)&server, &w->clock, "example.com/tester", "pod-1");
	w->pod = object("Pod", "ns", "a");
}

static void world_end(struct world *w)
{
	kube_events_stop(w->events);
	json_decref(w->pod);
	server_reset();
}

static void happens(struct world *w, const char *note)
{
	kube_event(w->events, w->pod, EVENT_WARNING, "Failed", "Reconcile", note);
}

static long long metric(const char *result)
{
	struct buf out = BUF_INIT(65536);
	char *line = xasprintf("kube_events_total{result=\"%s\"} ", result);
	kube_events_write_metrics(&out);
	const char *at = strstr(buf_z(&out), line);
	assert_non_null(at);
	long long n = strtoll(at + strlen(line), NULL, 10);
	free(line);
	buf_release(&out);
	return n;
}

static long long count_in(const json_t *body)
{
	return json_integer_value(json_object_get(json_object_get(body, "series"), "count"));
}

// ---- What is written

static void test_shape(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long before = metric("created");
	happens(&w, "it didn't work");
	const struct request *r = posted(NULL, 1);
	assert_text(r->path, "/apis/events.k8s.io/v1/namespaces/ns/events");
	assert_null(r->content_type);
	char name[64];
	(void)snprintf(name, sizeof(name), "%s", text_in(r->body, "metadata", "name"));
	assert_int_equal(strspn(name + 2, "0123456789abcdef"), 16);
	assert_int_equal(strlen(name), 18);
	json_t *want = json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s}}",
							 "apiVersion", "events.k8s.io/v1", "kind", "Event", "metadata", "name", name, "namespace",
							 "ns", "eventTime", "2026-01-02T03:04:05.000000Z", "reportingController",
							 "example.com/tester", "reportingInstance", "pod-1", "type", "Warning", "reason", "Failed",
							 "action", "Reconcile", "note", "it didn't work", "regarding", "apiVersion", "v1", "kind",
							 "Pod", "namespace", "ns", "name", "a", "uid", "u-1");
	char *g = json_dumps(r->body, JSON_SORT_KEYS | JSON_INDENT(1));
	char *x = json_dumps(want, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_text(g, x);
	free(g);
	free(x);
	json_decref(want);
	assert_true(r->timeout_ms <= EVENT_REQUEST_MS);
	world_end(&w);
	assert_int_equal(metric("created"), before + 1);
}

static void test_cluster_scoped(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	json_t *node = object("Node", NULL, "n");
	kube_event(w.events, node, EVENT_NORMAL, "Seen", "Look", "");
	json_decref(node);
	const struct request *r = posted(NULL, 1);
	assert_text(r->path, "/apis/events.k8s.io/v1/namespaces/default/events");
	assert_text(text_in(r->body, "metadata", "namespace"), "default");
	assert_null(text_in(r->body, "regarding", "namespace"));
	assert_text(text_in(r->body, "type", NULL), "Normal");
	world_end(&w);
}

static void test_series(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long before = metric("repeated");
	happens(&w, "again");
	const struct request *first = posted("again", 1);
	fake_clock_pass(&w.fake, 1500);
	happens(&w, "again");
	const struct request *second = repeated(1);
	char path[128];
	(void)snprintf(path, sizeof(path), "/apis/events.k8s.io/v1/namespaces/ns/events/%s",
				   text_in(first->body, "metadata", "name"));
	assert_text(second->path, path);
	assert_text(second->content_type, "application/merge-patch+json");
	char *body = json_dumps(second->body, JSON_SORT_KEYS | JSON_COMPACT);
	assert_text(body, "{\"series\":{\"count\":2,\"lastObservedTime\":\"2026-01-02T03:04:06.500000Z\"}}");
	free(body);
	// From now on, at most once in a while: what comes after it in the queue is written, it isn't.
	for (int i = 0; i < 5; i++)
		happens(&w, "again");
	happens(&w, "other");
	(void)posted("other", 1);
	fake_clock_pass(&w.fake, EVENT_SERIES_MS - 1);
	happens(&w, "again");
	happens(&w, "third");
	(void)posted("third", 1);
	assert_int_equal(requests(), 4);
	fake_clock_pass(&w.fake, 1);
	happens(&w, "fourth");
	const struct request *last = repeated(2);
	assert_text(last->path, path);
	assert_int_equal(count_in(last->body), 8);
	assert_text(text_in(last->body, "series", "lastObservedTime"), "2026-01-02T03:10:06.499000Z");
	world_end(&w);
	assert_int_equal(metric("repeated"), before + 2);
}

struct differs_case {
	const char *name;
	const char *kind, *ns, *object;
	enum event_type type;
	const char *reason, *action, *note;
};

static struct differs_case differs_cases[] = {
	{"another kind is another event", "Job", "ns", "a", EVENT_WARNING, "Failed", "Reconcile", "note"},
	{"another namespace", "Pod", "ns2", "a", EVENT_WARNING, "Failed", "Reconcile", "note"},
	{"another object", "Pod", "ns", "b", EVENT_WARNING, "Failed", "Reconcile", "note"},
	{"another type", "Pod", "ns", "a", EVENT_NORMAL, "Failed", "Reconcile", "note"},
	{"another reason", "Pod", "ns", "a", EVENT_WARNING, "Late", "Reconcile", "note"},
	{"another action", "Pod", "ns", "a", EVENT_WARNING, "Failed", "Apply", "note"},
	{"another note", "Pod", "ns", "a", EVENT_WARNING, "Failed", "Reconcile", "note "},
};

static void test_differs(void **state)
{
	const struct differs_case *c = *state;
	struct world w;
	world_start(&w);
	happens(&w, "note");
	json_t *o = object(c->kind, c->ns, c->object);
	kube_event(w.events, o, c->type, c->reason, c->action, c->note);
	json_decref(o);
	(void)posted(NULL, 2);
	world_end(&w);
}

static void test_object_that_changed_is_the_same(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	happens(&w, "note");
	(void)json_object_set_new(json_object_get(w.pod, "metadata"), "resourceVersion", json_string("8"));
	happens(&w, "note");
	(void)repeated(1);
	assert_int_equal(requests(), 2);
	// Made anew under its name: its uid differs.
	(void)json_object_set_new(json_object_get(w.pod, "metadata"), "uid", json_string("u-2"));
	happens(&w, "note");
	(void)posted("note", 2);
	world_end(&w);
}

static void test_quiet_series_is_over(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	happens(&w, "note");
	(void)posted("note", 1);
	fake_clock_pass(&w.fake, EVENT_KEEP_MS - 1);
	happens(&w, "note");
	(void)repeated(1);
	fake_clock_pass(&w.fake, EVENT_KEEP_MS);
	happens(&w, "note");
	assert_int_equal(count_in(posted("note", 2)->body), 0);
	world_end(&w);
}

// ---- Failures

static void test_expired_event_is_made_anew(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	happens(&w, "note");
	const struct request *first = posted("note", 1);
	server_fail(0, ENOENT);
	fake_clock_pass(&w.fake, 1000);
	happens(&w, "note");
	(void)repeated(1);
	const struct request *anew = posted("note", 2);
	assert_string_not_equal(text_in(anew->body, "metadata", "name"), text_in(first->body, "metadata", "name"));
	assert_text(text_in(anew->body, "eventTime", NULL), "2026-01-02T03:04:06.000000Z");
	assert_int_equal(count_in(anew->body), 2);
	server_fail(0, 0);
	fake_clock_pass(&w.fake, EVENT_SERIES_MS);
	happens(&w, "note");
	const struct request *last = repeated(2);
	assert_non_null(strstr(last->path, text_in(anew->body, "metadata", "name")));
	assert_int_equal(count_in(last->body), 3);
	world_end(&w);
}

static void test_transient_failure_is_tried_again(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long failed = metric("failed");
	long long created = metric("created");
	server_fail(ECONNREFUSED, 0);
	happens(&w, "note");
	const struct request *first = posted("note", 1);
	server_fail(0, 0);
	happens(&w, "note");
	happens(&w, "note");
	happens(&w, "after them");
	(void)posted("after them", 1);
	assert_int_equal(requests(), 2);
	fake_clock_pass(&w.fake, EVENT_RETRY_MS);
	happens(&w, "wake");
	const struct request *again = posted("note", 2);
	assert_text(text_in(again->body, "metadata", "name"), text_in(first->body, "metadata", "name"));
	assert_text(text_in(again->body, "eventTime", NULL), "2026-01-02T03:04:05.000000Z");
	assert_int_equal(count_in(again->body), 3);
	world_end(&w);
	assert_int_equal(metric("failed"), failed + 1);
	assert_int_equal(metric("created"), created + 3);
}

static void test_transient_failures_end(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	server_fail(ETIMEDOUT, 0);
	happens(&w, "note");
	for (int i = 1; i <= EVENT_TRIES_MAX; i++) {
		(void)posted("note", i);
		fake_clock_pass(&w.fake, EVENT_RETRY_MS);
		char wake[32];
		(void)snprintf(wake, sizeof(wake), "wake %d", i);
		happens(&w, wake);
	}
	server_fail(0, 0);
	// Each lets the thread look for what is due.
	for (int i = 0; i < 5; i++) {
		char look[32];
		(void)snprintf(look, sizeof(look), "look %d", i);
		happens(&w, look);
		(void)posted(look, 1);
	}
	assert_false(has_come("POST", "note", EVENT_TRIES_MAX + 1));
	// The next time that it tells of is a series' next.
	fake_clock_pass(&w.fake, EVENT_SERIES_MS);
	happens(&w, "note");
	assert_int_equal(count_in(posted("note", EVENT_TRIES_MAX + 1)->body), 2);
	world_end(&w);
}

static void test_lasting_failure_is_dropped(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long failed = metric("failed");
	server_fail(EPERM, 0); // a namespace that is going away
	happens(&w, "note");
	(void)posted("note", 1);
	fake_clock_pass(&w.fake, EVENT_RETRY_MS);
	happens(&w, "note");
	happens(&w, "after it");
	(void)posted("after it", 1);
	assert_int_equal(requests(), 2);
	kube_events_stop(w.events);
	w.events = NULL;
	// At the end, what was not told yet is tried once more.
	assert_int_equal(requests(), 3);
	assert_int_equal(metric("failed"), failed + 3);
	world_end(&w);
}

static void test_there_already_is_created(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long failed = metric("failed");
	server_fail(EEXIST, 0);
	happens(&w, "note");
	happens(&w, "note");
	(void)repeated(1);
	world_end(&w);
	assert_int_equal(metric("failed"), failed);
}

// ---- Limits

static void happen_many(struct world *w, int n)
{
	for (int i = 0; i < n; i++) {
		char note[16];
		(void)snprintf(note, sizeof(note), "%d", i);
		happens(w, note);
	}
}

static void test_full_queue_drops_the_newest(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long dropped = metric("dropped");
	server_hold(true);
	happens(&w, "first");
	(void)posted("first", 1);
	happen_many(&w, EVENT_QUEUE_MAX + 10);
	assert_int_equal(metric("dropped"), dropped + 10);
	server_hold(false);
	char last[16];
	(void)snprintf(last, sizeof(last), "%d", EVENT_QUEUE_MAX - 1);
	(void)posted(last, 1);
	assert_int_equal(requests(), 1 + EVENT_QUEUE_MAX);
	world_end(&w);
	assert_int_equal(metric("dropped"), dropped + 10);
}

static void test_longest_quiet_series_goes_first(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	for (int i = 0; i < EVENT_SERIES_COUNT; i++) {
		char note[16];
		(void)snprintf(note, sizeof(note), "%d", i);
		happens(&w, note);
		(void)posted(note, 1);
		fake_clock_pass(&w.fake, 1);
	}
	happens(&w, "0"); // so that "1" is the one
	assert_int_equal(count_in(repeated(1)->body), 2);
	happens(&w, "one more");
	(void)posted("one more", 1);
	fake_clock_pass(&w.fake, 1);
	happens(&w, "2");
	(void)repeated(2);
	happens(&w, "1");
	(void)posted("1", 2);
	world_end(&w);
}

static void test_stop_sends_what_waits(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	server_hold(true);
	happens(&w, "a");
	(void)posted("a", 1);
	happens(&w, "b");
	for (int i = 0; i < 4; i++)
		happens(&w, "a");
	server_hold(false);
	kube_events_stop(w.events);
	w.events = NULL;
	(void)posted("b", 1);
	assert_int_equal(count_in(repeated(1)->body), 2);
	assert_int_equal(count_in(repeated(2)->body), 5);
	assert_int_equal(requests(), 4);
	world_end(&w);
}

static void *stop_events(void *arg)
{
	kube_events_stop(arg);
	return NULL;
}

static void test_stop_ends_in_time(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	long long dropped = metric("dropped");
	server_hold(true);
	happens(&w, "a");
	(void)posted("a", 1);
	happen_many(&w, 100);
	// The one request takes as long as it may; nothing but the stop looks at the clock meanwhile.
	int before = atomic_load(&looks);
	pthread_t stopping;
	assert_int_equal(pthread_create(&stopping, NULL, stop_events, w.events), 0);
	while (atomic_load(&looks) == before)
		(void)sched_yield();
	(void)pthread_mutex_lock(&server.lock);
	server.slow = &w.fake;
	server.fail_post = ETIMEDOUT;
	(void)pthread_mutex_unlock(&server.lock);
	server_hold(false);
	(void)pthread_join(stopping, NULL);
	w.events = NULL;
	assert_int_equal(requests(), 1);
	assert_int_equal(metric("dropped"), dropped + 100);
	world_end(&w);
}

// ---- Texts

struct note_case {
	const char *name;
	const char *pad; // repeated first
	size_t times;
	const char *rest;
	size_t want_n;
	const char *want_end;
};

static struct note_case note_cases[] = {
	{"an empty note", "", 0, "", 0, ""},
	{"a short note", "", 0, "gr\xC3\xBC\xC3\x9F", 6, "gr\xC3\xBC\xC3\x9F"},
	{"a note of 1024 bytes", "x", 1023, "y", 1024, "xy"},
	{"one of 1025 bytes is cut", "x", 1024, "y", 1024, "xx..."},
	{"a character of two bytes that just fits", "x", 1022, "\xC3\xBC", 1024, "x\xC3\xBC"},
	{"one that doesn't is left out whole", "x", 1020, "\xC3\xBCzzzz", 1023, "x..."},
	{"of three bytes", "x", 1019, "\xE2\x82\xACzzzz", 1022, "x..."},
	{"of four bytes", "x", 1018, "\xF0\x9F\x98\x80zzzz", 1021, "x..."},
	{"of four bytes, which fits before the dots", "x", 1017, "\xF0\x9F\x98\x80zzzz", 1024, "x\xF0\x9F\x98\x80..."},
	{"a long one of such", "\xF0\x9F\x98\x80", 1000, "", 1023, "\xF0\x9F\x98\x80..."},
	{"bytes that are no text", "", 0, "a\xFF\xC3z\xED\xA0\x80", 7, "a??z???"},
	{"control characters", "", 0, "a\nb\x1B[0m\x7F", 8, "a?b?[0m?"},
};

static void test_note(void **state)
{
	const struct note_case *c = *state;
	struct buf note = BUF_INIT(65536);
	for (size_t i = 0; i < c->times; i++)
		buf_addz(&note, c->pad);
	buf_addz(&note, c->rest);
	struct world w;
	world_start(&w);
	happens(&w, buf_z(&note));
	const char *got = text_in(posted(NULL, 1)->body, "note", NULL);
	assert_non_null(got);
	assert_int_equal(strlen(got), c->want_n);
	assert_text(got + strlen(got) - strlen(c->want_end), c->want_end);
	world_end(&w);
	buf_release(&note);
}

struct name_case {
	const char *name;
	const char *object;
	const char *want; // before the suffix
};

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static struct name_case name_cases[] = {
	{"an object's name", "web-1.example", "web-1.example."},
	{"one that no Event may have", "system:Node.Proxier", "system-ode.roxier."},
	{"one that begins with such", "-_.:a", "a."},
	{"one that ends with such", "a-.:", "a."},
	{"one without a letter", ":-", "event."},
	{"none", "", "event."},
	{"one as long as names get", X50 X50 X50 X50 X50 "xyz", X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."},
	{"one that would be cut after a dot", X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.xyz",
	 X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."},
};

static void test_name(void **state)
{
	const struct name_case *c = *state;
	struct world w;
	world_start(&w);
	(void)json_object_set_new(json_object_get(w.pod, "metadata"), "name", json_string(c->object));
	happens(&w, "note");
	const char *got = text_in(posted(NULL, 1)->body, "metadata", "name");
	size_t n = strlen(got) - 16;
	char *head = xstrndup((struct str){got, n});
	assert_text(head, c->want);
	assert_int_equal(strspn(got + n, "0123456789abcdef"), 16);
	assert_true(strlen(got) <= 253);
	free(head);
	world_end(&w);
}

static void test_long_words_are_cut(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	kube_event(w.events, w.pod, EVENT_NORMAL, X50 X50 X50, X50 X50 X50, "");
	const json_t *body = posted(NULL, 1)->body;
	assert_int_equal(strlen(text_in(body, "reason", NULL)), EVENT_WORD_MAX);
	assert_int_equal(strlen(text_in(body, "action", NULL)), EVENT_WORD_MAX);
	world_end(&w);
}

static void test_metrics_text(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(65536);
	kube_events_write_metrics(&out);
	static const char HEAD[] =
		"# HELP kube_events_total Events written, their counts written again, requests that failed, events dropped.\n"
		"# TYPE kube_events_total counter\n"
		"kube_events_total{result=\"created\"} ";
	assert_int_equal(strncmp(buf_z(&out), HEAD, strlen(HEAD)), 0);
	buf_release(&out);
}

int main(void)
{
	static struct tests t;
	thread_cond_init(&server.changed);
	tests_add(&t, "an event, as it is created", test_shape, NULL);
	tests_add(&t, "of a cluster-scoped object, in namespace default", test_cluster_scoped, NULL);
	tests_add(&t, "a series counts, and is written now and then", test_series, NULL);
	ADD_TABLE(&t, differs_cases, test_differs);
	tests_add(&t, "an object that changed is the same, one made anew isn't", test_object_that_changed_is_the_same,
			  NULL);
	tests_add(&t, "a series that was quiet is over", test_quiet_series_is_over, NULL);
	tests_add(&t, "an event that has expired is made anew", test_expired_event_is_made_anew, NULL);
	tests_add(&t, "what may work later is tried again", test_transient_failure_is_tried_again, NULL);
	tests_add(&t, "but not for ever", test_transient_failures_end, NULL);
	tests_add(&t, "what won't work is dropped", test_lasting_failure_is_dropped, NULL);
	tests_add(&t, "what is there already was created", test_there_already_is_created, NULL);
	tests_add(&t, "a full queue drops the newest", test_full_queue_drops_the_newest, NULL);
	tests_add(&t, "the longest quiet series goes first", test_longest_quiet_series_goes_first, NULL);
	tests_add(&t, "stopping sends what waits", test_stop_sends_what_waits, NULL);
	tests_add(&t, "and ends in time", test_stop_ends_in_time, NULL);
	ADD_TABLE(&t, note_cases, test_note);
	ADD_TABLE(&t, name_cases, test_name);
	tests_add(&t, "long words are cut", test_long_words_are_cut, NULL);
	tests_add(&t, "metrics", test_metrics_text, NULL);
	return tests_run("events", &t);
}
