#include <errno.h>

#include "cases.h"
#include "common/kube/reflector.h"

static const struct kube_resource MAPS = {"", "v1", "configmaps", "ConfigMap", true};
static const struct kube_resource ROUTES = {"route.openshift.io", "v1", "routes", "Route", true};

#define REQUEST "WATCH /api/v1/configmaps"

// ---- One event

#define META(rv) "\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"resourceVersion\":\"" rv "\"}"
#define MAP(rv) "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"," META(rv) "}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}"
#define STATUS(fields) "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\"," fields "}"
#define BOOKMARK(more) EVENT("BOOKMARK", "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"9\"" more "}}")
#define UNUSABLE(why, kind, name) \
	REQUEST ": an object can't be used: " why " (kind \"" kind "\" for ConfigMap, namespace \"\", name \"" name "\")"

struct event_case {
	const char *name;
	const char *text;
	bool metadata_only;
	enum kube_event_kind want;
	const char *version; // of the object
	int http;            // ERROR
	const char *message; // how it begins; NULL where there is none
	bool initial_end;
};

static struct event_case event_cases[] = {
	{"event: added", EVENT("ADDED", MAP("5")), false, KUBE_EVENT_PUT, "5", 0, NULL, false},
	{"event: modified", EVENT("MODIFIED", MAP("6")), false, KUBE_EVENT_PUT, "6", 0, NULL, false},
	{"event: deleted", EVENT("DELETED", MAP("7")), false, KUBE_EVENT_DELETED, "7", 0, NULL, false},
	{"event: a newline after it", EVENT("ADDED", MAP("5")) "\n", false, KUBE_EVENT_PUT, "5", 0, NULL, false},
	{"event: object first", "{\"object\":" MAP("5") ",\"type\":\"ADDED\"}", false, KUBE_EVENT_PUT, "5", 0, NULL, false},
	{"event: versions are opaque", EVENT("ADDED", MAP("a/b c")), false, KUBE_EVENT_PUT, "a/b c", 0, NULL, false},
	{"event: metadata only", EVENT("ADDED", "{\"kind\":\"PartialObjectMetadata\"," META("5") "}"), true, KUBE_EVENT_PUT,
	 "5", 0, NULL, false},
	{"event: metadata only, and the server sends all", EVENT("ADDED", MAP("5")), true, KUBE_EVENT_PUT, "5", 0, NULL,
	 false},
	{"event: metadata that nobody asked for", EVENT("ADDED", "{\"kind\":\"PartialObjectMetadata\",\"metadata\":{}}"),
	 false, KUBE_EVENT_ODD, NULL, 0, UNUSABLE("it is of another kind", "PartialObjectMetadata", ""), false},
	{"event: bookmark", BOOKMARK(""), false, KUBE_EVENT_BOOKMARK, "9", 0, NULL, false},
	{"event: bookmark, all was sent", BOOKMARK(",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"), false,
	 KUBE_EVENT_BOOKMARK, "9", 0, NULL, true},
	{"event: bookmark, not all was sent", BOOKMARK(",\"annotations\":{\"k8s.io/initial-events-end\":\"false\"}"), false,
	 KUBE_EVENT_BOOKMARK, "9", 0, NULL, false},
	{"event: bookmark of another kind's form", EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"9\"}}"), true,
	 KUBE_EVENT_BOOKMARK, "9", 0, NULL, false},
	{"event: bookmark without a version", EVENT("BOOKMARK", "{\"kind\":\"ConfigMap\",\"metadata\":{}}"), false,
	 KUBE_EVENT_ODD, NULL, 0, REQUEST ": a bookmark without metadata.resourceVersion", false},
	{"event: error 410",
	 EVENT("ERROR", STATUS("\"code\":410,\"reason\":\"Expired\",\"message\":\"too old resource version\"")), false,
	 KUBE_EVENT_ERROR, NULL, 410, REQUEST ": answered 410", false},
	{"event: error, expired under another code", EVENT("ERROR", STATUS("\"code\":500,\"reason\":\"Expired\"")), false,
	 KUBE_EVENT_ERROR, NULL, 410, REQUEST, false},
	{"event: error 500", EVENT("ERROR", STATUS("\"code\":500,\"reason\":\"InternalError\"")), false, KUBE_EVENT_ERROR,
	 NULL, 500, REQUEST ": answered 500", false},
	{"event: error 429",
	 EVENT("ERROR", STATUS("\"code\":429,\"reason\":\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":7}")), false,
	 KUBE_EVENT_ERROR, NULL, 429, REQUEST ": answered 429", false},
	{"event: error without a code", EVENT("ERROR", STATUS("\"message\":\"m\"")), false, KUBE_EVENT_ERROR, NULL, 500,
	 REQUEST, false},
	{"event: error with the code of success", EVENT("ERROR", STATUS("\"code\":200")), false, KUBE_EVENT_ERROR, NULL,
	 500, REQUEST, false},
	{"event: error that is no Status", EVENT("ERROR", "{\"a\":1}"), false, KUBE_EVENT_ERROR, NULL, 500, REQUEST, false},
	{"event: unknown type", EVENT("SYNCED", MAP("5")), false, KUBE_EVENT_ODD, NULL, 0,
	 REQUEST ": an event is of the unknown type \"SYNCED\"", false},
	{"event: types are written in capitals", EVENT("added", MAP("5")), false, KUBE_EVENT_ODD, NULL, 0,
	 REQUEST ": an event is of the unknown type", false},
	{"event: wrong kind",
	 EVENT("ADDED", "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"1\"}}"), false,
	 KUBE_EVENT_ODD, NULL, 0, UNUSABLE("it is of another kind", "Secret", "n"), false},
	{"event: no kind", EVENT("ADDED", "{" META("5") "}"), false, KUBE_EVENT_ODD, NULL, 0,
	 REQUEST ": an object can't be used: it has no kind", false},
	{"event: no metadata", EVENT("ADDED", "{\"kind\":\"ConfigMap\"}"), false, KUBE_EVENT_ODD, NULL, 0,
	 UNUSABLE("its metadata.name is missing", "ConfigMap", ""), false},
	{"event: metadata is no object", EVENT("ADDED", "{\"kind\":\"ConfigMap\",\"metadata\":[1]}"), false, KUBE_EVENT_ODD,
	 NULL, 0, UNUSABLE("its metadata.name is missing", "ConfigMap", ""), false},
	{"event: no version", EVENT("DELETED", "{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"n\"}}"), false,
	 KUBE_EVENT_ODD, NULL, 0, UNUSABLE("its metadata.resourceVersion is missing", "ConfigMap", "n"), false},
	{"event: version is a number",
	 EVENT("ADDED", "{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"n\",\"resourceVersion\":5}}"), false,
	 KUBE_EVENT_ODD, NULL, 0, UNUSABLE("its metadata.resourceVersion is missing", "ConfigMap", "n"), false},
	{"event: no type", "{\"object\":" MAP("5") "}", false, KUBE_EVENT_GARBAGE, NULL, 0,
	 REQUEST ": what came is no event", false},
	{"event: no object", "{\"type\":\"ADDED\"}", false, KUBE_EVENT_GARBAGE, NULL, 0, REQUEST ": what came is no event",
	 false},
	{"event: object is none", EVENT("ADDED", "[1]"), false, KUBE_EVENT_GARBAGE, NULL, 0,
	 REQUEST ": what came is no event", false},
	{"event: an array", "[]", false, KUBE_EVENT_GARBAGE, NULL, 0, REQUEST ": what came is no event", false},
	{"event: nothing", "", false, KUBE_EVENT_GARBAGE, NULL, 0, REQUEST ": the answer can't be read: it ", false},
	{"event: a page of HTML", "<html>proxy</html>", false, KUBE_EVENT_GARBAGE, NULL, 0,
	 REQUEST ": the answer can't be read: it ", false},
	{"event: cut off", "{\"type\":\"ADDED\",\"object\":{\"data\":{\"k\":\"s3cret", false, KUBE_EVENT_GARBAGE, NULL, 0,
	 REQUEST ": the answer can't be read: it ", false},
	{"event: two in one", EVENT("ADDED", MAP("5")) EVENT("ADDED", MAP("6")), false, KUBE_EVENT_GARBAGE, NULL, 0,
	 REQUEST ": the answer can't be read: something follows", false},
	{"event: NUL in a value", EVENT("ADDED", "{\"kind\":\"ConfigMap\",\"data\":{\"k\":\"a\\u0000b\"}," META("5") "}"),
	 false, KUBE_EVENT_PUT, "5", 0, NULL, false},
	{"event: an integer beyond 64 bits",
	 EVENT("ADDED", "{\"kind\":\"ConfigMap\",\"x\":100000000000000000000," META("5") "}"), false, KUBE_EVENT_PUT, "5",
	 0, NULL, false},
};

static void test_event(void **state)
{
	const struct event_case *c = *state;
	CLEANUP_KUBE_EVENT
	struct kube_event e;
	struct error err = {.code = 0};
	kube_event_read(str_from(c->text), &MAPS, c->metadata_only, REQUEST, &e, &err);
	if (e.kind != c->want)
		fail_msg("kind %d instead of %d: %s", (int)e.kind, (int)c->want, err.msg);
	if (c->version != NULL)
		assert_text(kube_resource_version(e.object), c->version);
	assert_int_equal(e.initial_end, c->initial_end);
	assert_int_equal(e.status.http, c->http);
	assert_int_equal(err.code != 0, c->message != NULL);
	if (c->message != NULL && strncmp(err.msg, c->message, strlen(c->message)) != 0)
		assert_text(err.msg, c->message);
	// An object may be a Secret.
	assert_null(strstr(err.msg, "s3cret"));
}

static void test_event_retry_after(void **state)
{
	(void)state;
	CLEANUP_KUBE_EVENT
	struct kube_event e;
	struct error err;
	kube_event_read(str_from(EVENT("ERROR", STATUS("\"code\":429,\"details\":{\"retryAfterSeconds\":7}"))), &MAPS,
					false, REQUEST, &e, &err);
	assert_int_equal(e.status.retry_after_s, 7);
}

// ---- An object as it is stored

struct prepare_case {
	const char *name;
	const struct kube_resource *resource;
	bool metadata_only;
	const char *object;
	const char *want;
};

#define MANAGED "'managedFields':[{'manager':'m'}]"

static struct prepare_case prepare_cases[] = {
	{"prepare: managedFields go", &MAPS, false,
	 "{'kind':'ConfigMap','metadata':{'name':'n'," MANAGED "},'data':{'a':'b'}}",
	 "{'kind':'ConfigMap','metadata':{'name':'n'},'data':{'a':'b'}}"},
	{"prepare: only metadata's managedFields", &MAPS, false, "{'metadata':{'name':'n'},'data':{" MANAGED "}}",
	 "{'metadata':{'name':'n'},'data':{" MANAGED "}}"},
	{"prepare: metadata only of a whole object", &MAPS, true,
	 "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'n','labels':{'a':'b'}," MANAGED
	 "},'data':{'a':'b'},'x':1}",
	 "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'n','labels':{'a':'b'}}}"},
	{"prepare: metadata only, as asked for", &ROUTES, true,
	 "{'apiVersion':'meta.k8s.io/v1','kind':'PartialObjectMetadata','metadata':{'name':'n'}}",
	 "{'apiVersion':'route.openshift.io/v1','kind':'Route','metadata':{'name':'n'}}"},
	{"prepare: no metadata", &MAPS, true, "{'kind':'ConfigMap'}",
	 "{'apiVersion':'v1','kind':'ConfigMap','metadata':{}}"},
};

// JSON with ' for ".
static json_t *json_of(const char *text)
{
	char double_quoted[1024];
	(void)snprintf(double_quoted, sizeof(double_quoted), "%s", text);
	for (char *p = double_quoted; (p = strchr(p, '\'')) != NULL;)
		*p = '"';
	json_t *j = json_loads(double_quoted, 0, NULL);
	if (j == NULL)
		fail_msg("test data: %s", text);
	return j;
}

static void assert_json(const json_t *got, const char *want_text)
{
	json_t *want = json_of(want_text);
	char *got_dump = json_dumps(got, JSON_SORT_KEYS);
	char *want_dump = json_dumps(want, JSON_SORT_KEYS);
	assert_text(got_dump, want_dump);
	free(got_dump);
	free(want_dump);
	json_decref(want);
}

static void test_prepare(void **state)
{
	const struct prepare_case *c = *state;
	json_t *object = kube_object_prepare(json_of(c->object), c->resource, c->metadata_only);
	assert_json(object, c->want);
	json_decref(object);
}

// ---- Steps: ends of streams, one after the other, and what comes next

#define FIRST 800
#define MAX 30000
#define LONG (FIRST * REFLECTOR_LIVED)

enum want { L, W, END }; // list, watch

struct ending {
	int http;
	int after_s;   // Retry-After
	int64_t lived; // ms
	enum want step;
	int64_t delay; // the longest; half of it the shortest
};

struct step_case {
	const char *name;
	bool streaming; // the list comes as a stream, else a watch from "1" is on
	struct ending v[12];
};

#define STOP            \
	{                   \
		0, 0, 0, END, 0 \
	}

static struct step_case step_cases[] = {
	{"next: ended in order after long", false, {{200, 0, LONG, W, 0}, {200, 0, LONG, W, 0}, STOP}},
	{"next: broke after long", false, {{0, 0, LONG, W, 0}, STOP}},
	{"next: ended at once, again and again",
	 false,
	 {{200, 0, 0, W, 800},
	  {200, 0, 1, W, 1600},
	  {200, 0, LONG - 1, W, 3200},
	  {200, 0, 0, W, 6400},
	  {200, 0, 0, W, 12800},
	  {200, 0, 0, W, 25600},
	  {200, 0, 0, W, MAX},
	  {200, 0, 0, W, MAX},
	  {200, 0, LONG, W, 0},
	  {200, 0, 0, W, 800},
	  STOP}},
	{"next: can't connect",
	 false,
	 {{0, 0, 0, W, 800}, {0, 0, 0, W, 1600}, {0, 0, 0, W, 2000}, {0, 0, 0, W, 2000}, STOP}},
	{"next: refused after an outage",
	 false,
	 {{0, 0, 0, W, 800}, {0, 0, 0, W, 1600}, {0, 0, 0, W, 2000}, {403, 0, 0, W, 800}, {403, 0, 0, W, 1600}, STOP}},
	{"next: an outage after refusals",
	 false,
	 {{403, 0, 0, W, 800}, {403, 0, 0, W, 1600}, {0, 0, 0, W, 800}, {403, 0, 0, W, 800}, STOP}},
	{"next: 401", false, {{401, 0, 0, W, 800}, {401, 0, 0, W, 1600}, {401, 0, 0, W, 3200}, {401, 0, 0, W, 6400}, STOP}},
	{"next: 403", false, {{403, 0, 0, W, 800}, {403, 0, 0, W, 1600}, {403, 0, 0, W, 3200}, {403, 0, 0, W, 6400}, STOP}},
	{"next: 404", false, {{404, 0, 0, L, 800}, STOP}},
	{"next: 405", false, {{405, 0, 0, L, 800}, STOP}},
	{"next: 400 to a version", false, {{400, 0, 0, L, 800}, STOP}},
	{"next: expired", false, {{410, 0, 0, L, 0}, STOP}},
	{"next: expired after long", false, {{410, 0, LONG, L, 0}, STOP}},
	{"next: expired, again and again",
	 false,
	 {{410, 0, 0, L, 0}, {410, 0, 0, L, 1600}, {410, 0, 0, L, 3200}, {410, 0, LONG, L, 0}, {410, 0, 0, L, 1600}, STOP}},
	{"next: expired after other failures",
	 false,
	 {{0, 0, 0, W, 800}, {0, 0, 0, W, 1600}, {410, 0, 0, L, 0}, {410, 0, 0, L, 1600}, STOP}},
	{"next: 429", false, {{429, 0, 0, W, 800}, {429, 0, 0, W, 1600}, STOP}},
	{"next: 429 with a wait", false, {{429, 5, 0, W, -5000}, STOP}},
	{"next: 429 with a shorter wait",
	 false,
	 {{0, 0, 0, W, 800}, {0, 0, 0, W, 1600}, {429, 0, 0, W, 800}, {429, 1, 0, W, 1600}, {429, 1, 0, W, 3200}, STOP}},
	{"next: 429 with a wait beyond reason", false, {{429, 86400, 0, W, -60000}, STOP}},
	{"next: 503 with a wait", false, {{503, 5, LONG, W, -5000}, STOP}},
	{"next: 500 in a row gives the version up",
	 false,
	 {{500, 0, 0, W, 800}, {503, 0, 0, W, 1600}, {500, 0, 0, L, 3200}, {500, 0, 0, W, 6400}, STOP}},
	{"next: 500 between streams that live",
	 false,
	 {{500, 0, LONG, W, 800},
	  {500, 0, LONG, W, 800},
	  {500, 0, LONG, W, 800},
	  {500, 0, 0, W, 1600},
	  {500, 0, 0, L, 3200},
	  STOP}},
	{"next: 500 before and after a stream that opened",
	 false,
	 {{500, 0, 0, W, 800},
	  {500, 0, 0, W, 1600},
	  {0, 0, 5, W, 3200},
	  {500, 0, 0, W, 6400},
	  {500, 0, 5, W, 12800},
	  {500, 0, 5, L, 25600},
	  STOP}},
	{"next: 500 before and after a connection that could not be made",
	 false,
	 {{500, 0, 0, W, 800}, {500, 0, 0, W, 1600}, {0, 0, 0, W, 800}, {500, 0, 0, L, 800}, STOP}},
	{"next: a streamed list is refused", true, {{422, 0, 0, L, 0}, STOP}},
	{"next: a streamed list is refused as bad", true, {{400, 0, 0, L, 0}, STOP}},
	{"next: a streamed list is more than the server's etcd can do", true, {{500, 0, 5, L, 0}, STOP}},
	{"next: a streamed list while the server is busy", true, {{503, 0, 0, L, 800}, STOP}},
	{"next: a streamed list breaks", true, {{0, 0, 0, L, 800}, STOP}},
	{"next: a streamed list breaks after long", true, {{0, 0, LONG, L, 0}, STOP}},
	{"next: a streamed list is forbidden", true, {{403, 0, 0, L, 800}, STOP}},
};

static void assert_delay(int64_t got, int64_t want)
{
	// Below 0: exactly. Else half is drawn.
	int64_t low = want < 0 ? -want : want / 2;
	int64_t high = want < 0 ? -want : want;
	if (got < low || got > high)
		fail_msg("a delay of %lld ms instead of %lld to %lld", (long long)got, (long long)low, (long long)high);
}

static void test_steps(void **state)
{
	const struct step_case *c = *state;
	struct reflector r;
	reflector_init(&r, 0, 0, 42);
	for (const struct ending *e = c->v; e->step != END; e++) {
		// What the shell did meanwhile.
		if (c->streaming)
			reflector_list_begin(&r, NULL, true);
		else if (r.resource_version == NULL)
			reflector_advance(&r, "1");
		struct kube_status status = {.http = e->http, .retry_after_s = e->after_s};
		struct reflector_next next = reflector_stream_ended(&r, &status, e->lived);
		assert_int_equal(next.step == REFLECTOR_WATCH ? W : L, e->step);
		assert_delay(next.delay_ms, e->delay);
		assert_int_equal(next.refused_stream, c->streaming && (e->http == 400 || e->http == 422 || e->http == 500));
		assert_text(r.resource_version, e->step == W ? "1" : NULL);
		assert_null(r.unseen);
	}
	reflector_release(&r);
}

static void test_list_failed(void **state)
{
	(void)state;
	struct reflector r;
	reflector_init(&r, 100, 400, 42);
	static const int64_t want[] = {100, 200, 400, 400};
	for (size_t i = 0; i < COUNT(want); i++) {
		reflector_list_begin(&r, NULL, false);
		struct reflector_next next = reflector_list_failed(&r, false);
		assert_int_equal(next.step, REFLECTOR_LIST);
		assert_delay(next.delay_ms, want[i]);
	}
	reflector_release(&r);
	reflector_init(&r, 0, 0, 42);
	static const int64_t unreached[] = {800, 1600, 2000, 2000};
	for (size_t i = 0; i < COUNT(unreached); i++)
		assert_delay(reflector_list_failed(&r, true).delay_ms, unreached[i]);
	assert_delay(reflector_list_failed(&r, false).delay_ms, 800);
	reflector_release(&r);
}

static void test_garbled(void **state)
{
	(void)state;
	struct reflector r;
	reflector_init(&r, 0, 0, 42);
	for (int64_t want = 800; want <= 3200; want *= 2) {
		reflector_advance(&r, "1");
		struct reflector_next next = reflector_stream_garbled(&r);
		assert_int_equal(next.step, REFLECTOR_LIST);
		assert_delay(next.delay_ms, want);
		assert_null(r.resource_version);
	}
	reflector_release(&r);
}

// Even where the first wait is the longest there is, so that the back-off has nothing to count.
static void test_expired_once(void **state)
{
	(void)state;
	struct reflector r;
	reflector_init(&r, 100, 100, 42);
	struct kube_status status = {.http = 410};
	assert_int_equal(reflector_stream_ended(&r, &status, 0).delay_ms, 0);
	assert_delay(reflector_stream_ended(&r, &status, 0).delay_ms, 100);
	reflector_release(&r);
}

// ---- A list against what was known

struct compare_case {
	const char *name;
	const char *known;  // [[key, version], ...]
	const char *listed; // the same
	const char *news;   // keys
	const char *gone;   // keys
};

static struct compare_case compare_cases[] = {
	{"list: the first", "[]", "[['a','1'],['b','2']]", "['a','b']", "[]"},
	{"list: nothing new", "[['a','1'],['b','2']]", "[['a','1'],['b','2']]", "[]", "[]"},
	{"list: changed", "[['a','1'],['b','2']]", "[['a','1'],['b','3']]", "['b']", "[]"},
	{"list: an earlier version is another, too", "[['a','10']]", "[['a','9']]", "['a']", "[]"},
	{"list: gone", "[['a','1'],['b','2'],['c','3']]", "[['b','2']]", "[]", "['a','c']"},
	{"list: all gone", "[['a','1'],['b','2']]", "[]", "[]", "['a','b']"},
	{"list: one for another", "[['a','1']]", "[['b','1']]", "['b']", "['a']"},
	{"list: made anew", "[['a','1']]", "[['a','7']]", "['a']", "[]"},
	{"list: empty", "[]", "[]", "[]", "[]"},
};

static const char *version_of(const json_t *pairs, const char *key)
{
	for (size_t i = 0; i < json_array_size(pairs); i++)
		if (strcmp(json_string_value(json_array_get(json_array_get(pairs, i), 0)), key) == 0)
			return json_string_value(json_array_get(json_array_get(pairs, i), 1));
	return NULL;
}

static void test_compare(void **state)
{
	const struct compare_case *c = *state;
	json_t *known = json_of(c->known);
	json_t *listed = json_of(c->listed);
	json_t *keys = json_array();
	json_t *news = json_array();
	for (size_t i = 0; i < json_array_size(known); i++)
		json_array_append(keys, json_array_get(json_array_get(known, i), 0));

	struct reflector r;
	reflector_init(&r, 0, 0, 42);
	reflector_list_begin(&r, keys, false);
	for (size_t i = 0; i < json_array_size(listed); i++) {
		json_t *key = json_array_get(json_array_get(listed, i), 0);
		const char *name = json_string_value(key);
		if (reflector_seen(&r, name, version_of(known, name), version_of(listed, name)))
			json_array_append(news, key);
	}
	json_t *gone = reflector_list_end(&r, "99");
	assert_json(news, c->news);
	assert_json(gone, c->gone);
	assert_text(r.resource_version, "99");
	assert_null(r.unseen);
	reflector_release(&r);
	json_decref(gone);
	json_decref(news);
	json_decref(keys);
	json_decref(listed);
	json_decref(known);
}

// What one attempt saw counts for nothing in the next.
static void test_list_again(void **state)
{
	(void)state;
	json_t *keys = json_of("['a','b']");
	struct reflector r;
	reflector_init(&r, 0, 0, 42);
	reflector_list_begin(&r, keys, false);
	(void)reflector_seen(&r, "a", "1", "1");
	reflector_list_begin(&r, keys, false);
	(void)reflector_seen(&r, "b", "1", "1");
	json_t *gone = reflector_list_end(&r, "5");
	assert_json(gone, "['a']");
	json_decref(gone);
	json_decref(keys);
	reflector_release(&r);
}

static void test_versions(void **state)
{
	(void)state;
	struct reflector r;
	reflector_init(&r, 0, 0, 42);
	reflector_list_begin(&r, NULL, true);
	reflector_advance(&r, "3");
	// An event before the list is complete is no place to resume from.
	assert_null(r.resource_version);
	json_decref(reflector_list_end(&r, "5"));
	assert_text(r.resource_version, "5");
	const struct kube_status failed = {.http = 500};
	for (int i = 1; i < REFLECTOR_WATCH_TRIES; i++)
		assert_int_equal(reflector_stream_ended(&r, &failed, 0).step, REFLECTOR_WATCH);
	reflector_advance(&r, "4");
	assert_text(r.resource_version, "4");
	// Failures of another version count for nothing.
	assert_int_equal(reflector_stream_ended(&r, &failed, 0).step, REFLECTOR_WATCH);
	reflector_release(&r);
}

// ---- Troubles

static void test_troubles(void **state)
{
	(void)state;
	struct reflector_troubles t = {0};
	assert_false(reflector_recovered(&t));
	assert_true(reflector_trouble_due(&t, REFLECTOR_WATCH, 403, true, 1000));
	assert_false(reflector_trouble_due(&t, REFLECTOR_WATCH, 403, true, 60999));
	assert_true(reflector_trouble_due(&t, REFLECTOR_LIST, 403, true, 60999));
	assert_true(reflector_trouble_due(&t, REFLECTOR_WATCH, 0, true, 60999));
	assert_true(reflector_trouble_due(&t, REFLECTOR_WATCH, 403, true, 61000));
	assert_false(reflector_trouble_due(&t, REFLECTOR_WATCH, 403, true, 61001));
	assert_true(reflector_recovered(&t));
	assert_false(reflector_recovered(&t));
	// Not told: then nobody waits to hear that it works.
	assert_false(reflector_trouble_due(&t, REFLECTOR_WATCH, 403, true, 61002));
	assert_false(reflector_recovered(&t));
	// Something odd doesn't mean that the rest fails.
	assert_true(reflector_trouble_due(&t, REFLECTOR_WATCH, 74, false, 61003));
	assert_false(reflector_recovered(&t));
}

static void test_troubles_many(void **state)
{
	(void)state;
	struct reflector_troubles t = {0};
	for (int i = 0; i < REFLECTOR_CAUSES_MAX; i++)
		assert_true(reflector_trouble_due(&t, REFLECTOR_LIST, i, true, i));
	// The one told longest ago makes room.
	assert_true(reflector_trouble_due(&t, REFLECTOR_LIST, 100, true, 10));
	assert_false(reflector_trouble_due(&t, REFLECTOR_LIST, 1, true, 11));
	assert_true(reflector_trouble_due(&t, REFLECTOR_LIST, 0, true, 12));
	assert_int_equal(t.n, REFLECTOR_CAUSES_MAX);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, event_cases, test_event);
	tests_add(&t, "event: how long to wait", test_event_retry_after, NULL);
	ADD_TABLE(&t, prepare_cases, test_prepare);
	ADD_TABLE(&t, step_cases, test_steps);
	tests_add(&t, "next: a list failed", test_list_failed, NULL);
	tests_add(&t, "next: garbage", test_garbled, NULL);
	tests_add(&t, "next: expired, with waits that don't grow", test_expired_once, NULL);
	ADD_TABLE(&t, compare_cases, test_compare);
	tests_add(&t, "list: started over", test_list_again, NULL);
	tests_add(&t, "list: where to resume", test_versions, NULL);
	tests_add(&t, "troubles: once a minute", test_troubles, NULL);
	tests_add(&t, "troubles: more causes than are kept", test_troubles_many, NULL);
	return tests_run("kube_reflector", &t);
}
