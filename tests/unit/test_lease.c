#include "tests/unit/cases.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/kube/lease.h"
#include "common/mem.h"
#include "common/thread.h"

// ---- The rule

#define DURATION_S 15
#define NOW_MS 1000000
#define WALL_US 1767323045000006 // 2026-01-02T03:04:05.000006Z
#define WALL "'2026-01-02T03:04:05.000006Z'"

struct decide_case {
	const char *name;
	const char *lease; // JSON, with ' for "; NULL: there is none
	const char *seen_version;
	int64_t seen_ago_ms;
	enum lease_step step;
	const char *next; // what differs from lease: a merge patch; the whole where there was none
};

#define META "'metadata':{'name':'n','namespace':'ns','resourceVersion':'7'}"
#define LEASE_OF(holder, more) "{" META ",'spec':{'holderIdentity':'" holder "'" more "}}"
#define OTHERS(more) LEASE_OF("other", ",'leaseDurationSeconds':15" more)
#define TAKEN(transitions)                                                                              \
	"{'spec':{'holderIdentity':'me','leaseDurationSeconds':15,'acquireTime':" WALL ",'renewTime':" WALL \
	",'leaseTransitions':" transitions "}}"
#define RENEWED "{'spec':{'leaseDurationSeconds':15,'renewTime':" WALL "}}"
#define FULL                                                                                          \
	"{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','metadata':{'name':'n','namespace':'ns','" \
	"resourceVersion':'7','uid':'u','labels':{'a':'b'},'annotations':{'c':'d'},'ownerReferences':["   \
	"{'uid':'x'}]},'spec':{'holderIdentity':'%s','leaseDurationSeconds':15,'strategy':'keep'}}"

static struct decide_case decide_cases[] = {
	{"no lease: made, without a transition", NULL, "", 0, LEASE_CREATE,
	 "{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','metadata':{'name':'n','namespace':'ns'},'spec':{'"
	 "holderIdentity':'me','leaseDurationSeconds':15,'acquireTime':" WALL ",'renewTime':" WALL
	 ",'leaseTransitions':0}}"},
	{"no lease, though one was seen", NULL, "7", 100, LEASE_CREATE,
	 "{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','metadata':{'name':'n','namespace':'ns'},'spec':{'"
	 "holderIdentity':'me','leaseDurationSeconds':15,'acquireTime':" WALL ",'renewTime':" WALL
	 ",'leaseTransitions':0}}"},

	{"ours: renewed, acquireTime and leaseTransitions stay",
	 LEASE_OF("me", ",'leaseDurationSeconds':15,'acquireTime':'2026-01-01T00:00:00.000000Z','renewTime':'2026-01-01T00:"
					"00:10.000000Z','leaseTransitions':4"),
	 "7", 2000, LEASE_UPDATE, RENEWED},
	{"ours, never seen before", LEASE_OF("me", ",'acquireTime':'2026-01-01T00:00:00.000000Z'"), "", 0, LEASE_UPDATE,
	 RENEWED},
	{"ours, long expired, and nobody took it", LEASE_OF("me", ",'acquireTime':'2026-01-01T00:00:00Z'"), "7", 9999999,
	 LEASE_UPDATE, RENEWED},
	{"ours without an acquireTime", LEASE_OF("me", ",'leaseTransitions':4"), "7", 0, LEASE_UPDATE,
	 "{'spec':{'leaseDurationSeconds':15,'acquireTime':" WALL ",'renewTime':" WALL "}}"},
	{"ours with an acquireTime that is none", LEASE_OF("me", ",'acquireTime':'yesterday'"), "7", 0, LEASE_UPDATE,
	 "{'spec':{'leaseDurationSeconds':15,'acquireTime':" WALL ",'renewTime':" WALL "}}"},
	{"ours with another duration: the new one counts",
	 LEASE_OF("me", ",'leaseDurationSeconds':60,'acquireTime':'2026-01-01T00:00:00Z'"), "7", 0, LEASE_UPDATE, RENEWED},

	{"another's, never seen before", OTHERS(""), "", 0, LEASE_WAIT, NULL},
	{"another's, fresh", OTHERS(""), "7", 14999, LEASE_WAIT, NULL},
	{"another's, unchanged for its duration", OTHERS(""), "7", 15000, LEASE_UPDATE, TAKEN("1")},
	{"another's, changed since it was seen long ago", OTHERS(""), "6", 9999999, LEASE_WAIT, NULL},
	{"another's, renewed in the far past by its clock, but fresh", OTHERS(",'renewTime':'1999-01-01T00:00:00.000000Z'"),
	 "7", 14999, LEASE_WAIT, NULL},
	{"another's, renewed in the far future by its clock, but unchanged",
	 OTHERS(",'renewTime':'2999-01-01T00:00:00.000000Z','acquireTime':'2999-01-01T00:00:00.000000Z'"), "7", 15000,
	 LEASE_UPDATE, TAKEN("1")},
	{"another's for longer than ours: its duration counts", LEASE_OF("other", ",'leaseDurationSeconds':60"), "7", 59999,
	 LEASE_WAIT, NULL},
	{"and ends", LEASE_OF("other", ",'leaseDurationSeconds':60"), "7", 60000, LEASE_UPDATE, TAKEN("1")},
	{"another's for shorter", LEASE_OF("other", ",'leaseDurationSeconds':1"), "7", 1000, LEASE_UPDATE, TAKEN("1")},
	{"another's for as long as a number can say", LEASE_OF("other", ",'leaseDurationSeconds':2147483647"), "7", 9999999,
	 LEASE_WAIT, NULL},
	{"identities differ by case", LEASE_OF("ME", ""), "7", 14999, LEASE_WAIT, NULL},
	{"identities differ by what follows a NUL", LEASE_OF("me\\u0000", ""), "7", 14999, LEASE_WAIT, NULL},

	{"released: taken at once", LEASE_OF("", ",'leaseDurationSeconds':1,'leaseTransitions':2"), "", 0, LEASE_UPDATE,
	 TAKEN("3")},
	{"released, fresh", LEASE_OF("", ",'leaseDurationSeconds':15"), "7", 0, LEASE_UPDATE, TAKEN("1")},
	{"no holder: taken at once", "{" META ",'spec':{}}", "", 0, LEASE_UPDATE, TAKEN("1")},
	{"a holder null", "{" META ",'spec':{'holderIdentity':null}}", "", 0, LEASE_UPDATE, TAKEN("1")},
	{"no spec", "{" META "}", "", 0, LEASE_UPDATE, TAKEN("1")},
	{"a spec that is none", "{" META ",'spec':[1]}", "", 0, LEASE_UPDATE, TAKEN("1")},

	{"transitions are counted on", OTHERS(",'leaseTransitions':41"), "7", 15000, LEASE_UPDATE, TAKEN("42")},
	{"as far as 32 bits go", OTHERS(",'leaseTransitions':2147483647"), "7", 15000, LEASE_UPDATE, TAKEN("2147483647")},
	{"from below nothing", OTHERS(",'leaseTransitions':-3"), "7", 15000, LEASE_UPDATE, TAKEN("1")},
	{"from text", OTHERS(",'leaseTransitions':'many'"), "7", 15000, LEASE_UPDATE, TAKEN("1")},

	{"a holder that is a number is somebody", "{" META ",'spec':{'holderIdentity':5}}", "7", 14999, LEASE_WAIT, NULL},
	{"for our duration", "{" META ",'spec':{'holderIdentity':5}}", "7", 15000, LEASE_UPDATE, TAKEN("1")},
	{"a duration of text counts as ours", LEASE_OF("other", ",'leaseDurationSeconds':'1'"), "7", 14999, LEASE_WAIT,
	 NULL},
	{"a duration of 0 as well", LEASE_OF("other", ",'leaseDurationSeconds':0"), "7", 14999, LEASE_WAIT, NULL},
	{"a negative one as well", LEASE_OF("other", ",'leaseDurationSeconds':-5"), "7", 14999, LEASE_WAIT, NULL},
	{"one beyond 32 bits as well", LEASE_OF("other", ",'leaseDurationSeconds':9223372036854775807"), "7", 15000,
	 LEASE_UPDATE, TAKEN("1")},
	{"no resourceVersion: never unchanged", "{'metadata':{},'spec':{'holderIdentity':'other'}}", "", 9999999,
	 LEASE_WAIT, NULL},
};

// JSON with ' for ".
static json_t *quoted(const char *text)
{
	char *copy = xstrdup(text);
	for (char *c = copy; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	json_error_t e;
	json_t *value = json_loads(copy, JSON_ALLOW_NUL, &e);
	if (value == NULL)
		fail_msg("%s: %s", e.text, copy);
	free(copy);
	return value;
}

static void assert_json(const json_t *got, const json_t *want)
{
	char *g = json_dumps(got, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_ENCODE_ANY);
	char *w = json_dumps(want, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_ENCODE_ANY);
	assert_text(g, w);
	free(g);
	free(w);
}

// The spec alone is changed, so the patch has no deeper objects.
static json_t *patched(const json_t *lease, json_t *patch)
{
	json_t *after = lease != NULL ? json_deep_copy(lease) : json_object();
	if (lease != NULL && !json_is_object(json_object_get(after, "spec")))
		(void)json_object_set_new(after, "spec", json_object());
	(void)json_object_update_recursive(after, patch);
	return after;
}

static void test_decide(void **state)
{
	const struct decide_case *c = *state;
	json_t *lease = c->lease != NULL ? quoted(c->lease) : NULL;
	json_t *before = json_deep_copy(lease);
	struct lease_view view = {.seen_ms = NOW_MS - c->seen_ago_ms};
	(void)snprintf(view.resource_version, sizeof(view.resource_version), "%s", c->seen_version);
	json_t *next = NULL;
	assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, NOW_MS, WALL_US, &view, &next), c->step);
	assert_json(lease, before);
	if (c->next == NULL) {
		assert_null(next);
	} else {
		json_t *patch = quoted(c->next);
		json_t *want = patched(lease, patch);
		assert_json(next, want);
		json_decref(want);
		json_decref(patch);
	}
	assert_text(view.resource_version, lease == NULL ? "" : kube_resource_version(lease));
	if (lease != NULL && strcmp(c->seen_version, kube_resource_version(lease)) != 0)
		assert_int_equal(view.seen_ms, NOW_MS);
	json_decref(next);
	json_decref(before);
	json_decref(lease);
}

// ---- The rule over time

static void test_waits_from_what_it_has_seen(void **state)
{
	(void)state;
	json_t *lease = quoted(OTHERS(",'renewTime':'2026-01-02T03:04:05.000006Z'"));
	struct lease_view view = {0};
	json_t *next = NULL;
	for (int64_t now = NOW_MS; now < NOW_MS + 15000; now += 2500) {
		assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, now, WALL_US, &view, &next), LEASE_WAIT);
		assert_int_equal(view.free_ms, NOW_MS + 15000);
	}
	// Renewed: the time starts again.
	(void)json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion", json_string("8"));
	int64_t renewed = NOW_MS + 14999;
	assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, renewed, WALL_US, &view, &next), LEASE_WAIT);
	assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, renewed + 14999, WALL_US, &view, &next),
					 LEASE_WAIT);
	assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, renewed + 15000, WALL_US, &view, &next),
					 LEASE_UPDATE);
	assert_text(kube_resource_version(next), "8");
	json_decref(next);
	json_decref(lease);
}

static void test_release_keeps_the_rest(void **state)
{
	(void)state;
	char *text = xasprintf(FULL, "me");
	json_t *lease = quoted(text);
	json_t *released = lease_release(lease, WALL_US);
	json_t *patch =
		quoted("{'spec':{'holderIdentity':'','leaseDurationSeconds':1,'acquireTime':" WALL ",'renewTime':" WALL "}}");
	json_t *want = patched(lease, patch);
	assert_json(released, want);
	// And is there for anybody, at once.
	struct lease_view view = {0};
	json_t *next = NULL;
	assert_int_equal(lease_decide(released, "ns", "n", "you", DURATION_S, NOW_MS, WALL_US, &view, &next), LEASE_UPDATE);
	assert_text(lease_holder_of(next), "you");
	assert_text(lease_holder_of(released), "");
	json_decref(next);
	json_decref(want);
	json_decref(patch);
	json_decref(released);
	json_decref(lease);
	free(text);
}

static void test_other_fields_are_kept(void **state)
{
	const char *const *holder = *state;
	char *text = xasprintf(FULL, *holder);
	json_t *lease = quoted(text);
	struct lease_view view = {.resource_version = "7"};
	json_t *next = NULL;
	assert_int_equal(lease_decide(lease, "ns", "n", "me", DURATION_S, NOW_MS, WALL_US, &view, &next), LEASE_UPDATE);
	assert_json(json_object_get(next, "metadata"), json_object_get(lease, "metadata"));
	assert_text(json_string_value(json_object_get(json_object_get(next, "spec"), "strategy")), "keep");
	json_decref(next);
	json_decref(lease);
	free(text);
}

// ---- The thread, with an API server of a few lines in place of the client

static struct server {
	pthread_mutex_t lock;
	json_t *lease;
	int version;
	int gets, posts, puts;
	int fail;      // the errno of every request, 0 for none
	int failed;    // requests by that
	int race_once; // the next write finds that the lease was made or touched since
	int longest_timeout_ms;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static json_t *stored(json_t *lease)
{
	char version[16];
	(void)snprintf(version, sizeof(version), "%d", ++server.version);
	(void)json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion", json_string(version));
	json_decref(server.lease);
	server.lease = lease;
	return json_deep_copy(lease);
}

static int serve_put(const json_t *body, json_t **ret, struct error *err)
{
	server.puts++;
	if (server.lease == NULL)
		return error_set(err, ENOENT, "not found");
	if (server.race_once > 0) {
		server.race_once--;
		json_decref(stored(json_deep_copy(server.lease)));
	}
	if (strcmp(kube_resource_version(body), kube_resource_version(server.lease)) != 0)
		return error_set(err, EBUSY, "conflict");
	*ret = stored(json_deep_copy(body));
	return 0;
}

static int serve(const struct kube_request *req, json_t **ret, struct error *err)
{
	if (req->timeout_ms > server.longest_timeout_ms)
		server.longest_timeout_ms = req->timeout_ms;
	if (server.fail != 0) {
		server.failed++;
		return error_set(err, server.fail, "%s %s: no answer", req->method, req->path);
	}
	if (strcmp(req->method, "PUT") == 0)
		return serve_put(req->body, ret, err);
	if (strcmp(req->method, "POST") == 0) {
		server.posts++;
		assert_text(req->path, "/apis/coordination.k8s.io/v1/namespaces/ns/leases");
		if (server.race_once > 0) {
			server.race_once--;
			json_decref(stored(quoted(OTHERS(""))));
		}
		if (server.lease != NULL)
			return error_set(err, EEXIST, "already exists");
		*ret = stored(json_deep_copy(req->body));
		return 0;
	}
	server.gets++;
	assert_text(req->path, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/n");
	if (server.lease == NULL)
		return error_set(err, ENOENT, "not found");
	*ret = json_deep_copy(server.lease);
	return 0;
}

int kube_do(struct kube_client *c, const struct kube_request *req, struct kube_response *ret, struct error *err)
{
	(void)c;
	(void)pthread_mutex_lock(&server.lock);
	int code = serve(req, &ret->body, err);
	(void)pthread_mutex_unlock(&server.lock);
	return code;
}

void kube_response_release(struct kube_response *r)
{
	json_decref(r->body);
}

static void server_reset(const char *lease)
{
	(void)pthread_mutex_lock(&server.lock);
	json_decref(server.lease);
	server.lease = NULL;
	server.version = server.gets = server.posts = server.puts = server.fail = server.race_once = 0;
	server.failed = server.longest_timeout_ms = 0;
	if (lease != NULL)
		json_decref(stored(quoted(lease)));
	(void)pthread_mutex_unlock(&server.lock);
}

static void server_fail(int code)
{
	(void)pthread_mutex_lock(&server.lock);
	server.fail = code;
	(void)pthread_mutex_unlock(&server.lock);
}

// A holder of another's choosing, in one step as an API server would do it.
static void server_set_holder(const char *holder)
{
	(void)pthread_mutex_lock(&server.lock);
	json_t *lease = json_deep_copy(server.lease);
	(void)json_object_set_new(json_object_get(lease, "spec"), "holderIdentity", json_string(holder));
	json_decref(stored(lease));
	(void)pthread_mutex_unlock(&server.lock);
}

struct told {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int started, lost, troubles;
	char why[ERROR_MSG_MAX];
	int trouble_code;
};

static void tell_started(void *ctx)
{
	struct told *t = ctx;
	(void)pthread_mutex_lock(&t->lock);
	t->started++;
	(void)pthread_cond_broadcast(&t->changed);
	(void)pthread_mutex_unlock(&t->lock);
}

static void tell_lost(void *ctx, const char *why)
{
	struct told *t = ctx;
	(void)pthread_mutex_lock(&t->lock);
	t->lost++;
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
	(void)pthread_cond_broadcast(&t->changed);
	(void)pthread_mutex_unlock(&t->lock);
}

static void tell_trouble(void *ctx, const struct error *err)
{
	struct told *t = ctx;
	(void)pthread_mutex_lock(&t->lock);
	t->troubles++;
	t->trouble_code = err->code;
	(void)pthread_cond_broadcast(&t->changed);
	(void)pthread_mutex_unlock(&t->lock);
}

static void told_init(struct told *t)
{
	*t = (struct told){0};
	(void)pthread_mutex_init(&t->lock, NULL);
	thread_cond_init(&t->changed);
}

// Waits until the count is 1, at most half a minute.
static void await(struct told *t, const int *count)
{
	int64_t end = clock_mono_ms(&clock_real) + 30000;
	(void)pthread_mutex_lock(&t->lock);
	while (*count < 1 && clock_mono_ms(&clock_real) < end)
		thread_cond_wait(&t->changed, &t->lock, 1000);
	int got = *count;
	(void)pthread_mutex_unlock(&t->lock);
	assert_int_equal(got, 1);
}

static int count_of(const int *counter)
{
	(void)pthread_mutex_lock(&server.lock);
	int n = *counter;
	(void)pthread_mutex_unlock(&server.lock);
	return n;
}

static void await_server(const int *counter, int at_least)
{
	for (int64_t end = clock_mono_ms(&clock_real) + 30000; count_of(counter) < at_least; (void)usleep(1000))
		if (clock_mono_ms(&clock_real) > end)
			fail_msg("the API server was asked %d times, not %d", count_of(counter), at_least);
}

// How far the time is ahead: for all, and for the thread that asks alone.
static _Atomic int64_t shift_ms;
static _Thread_local int64_t own_shift_ms;

static int64_t shifted_mono_ms(void *ctx)
{
	(void)ctx;
	return clock_mono_ms(&clock_real) + atomic_load(&shift_ms) + own_shift_ms;
}

static int64_t real_wall_ms(void *ctx)
{
	(void)ctx;
	return clock_wall_ms(&clock_real);
}

static const struct clock shifted = {shifted_mono_ms, real_wall_ms, NULL};

static struct lease *elector(struct told *t, const char *identity, int renew_ms, int retry_ms)
{
	told_init(t);
	return lease_start(&(struct lease_config){
		.client = (struct kube_client *)&server,
		.clock = &shifted,
		.ns = "ns",
		.name = "n",
		.identity = identity,
		.duration_ms = 60000,
		.renew_ms = renew_ms,
		.retry_ms = retry_ms,
		.started = tell_started,
		.lost = tell_lost,
		.trouble = tell_trouble,
		.ctx = t,
	});
}

static void assert_holder(struct lease *l, const char *want)
{
	char holder[LEASE_HOLDER_MAX];
	lease_holder(l, holder, sizeof(holder));
	assert_text(holder, want);
}

static void test_leads_renews_and_releases(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await(&t, &t.started);
	assert_true(lease_held(l));
	assert_holder(l, "me");
	struct buf out = BUF_INIT(65536);
	lease_write_metrics(&out);
	assert_non_null(strstr(buf_z(&out), "\n# TYPE leader_election_master_status gauge\n"
										"leader_election_master_status{name=\"n\"} 1\n"));
	await_server(&server.puts, 5);
	// It knows what it wrote, so it reads no more.
	assert_int_equal(count_of(&server.gets), 1);
	assert_int_equal(count_of(&server.posts), 1);
	lease_stop(l);
	assert_text(lease_holder_of(server.lease), "");
	assert_int_equal(t.lost, 0);
	assert_int_equal(t.started, 1);
	assert_int_equal(t.troubles, 0);
	assert_true(server.longest_timeout_ms <= LEASE_REQUEST_MS);
	buf_clear(&out);
	lease_write_metrics(&out);
	assert_null(strstr(buf_z(&out), "name="));
	buf_release(&out);
}

static void test_waits_for_another(void **state)
{
	(void)state;
	server_reset(LEASE_OF("other\\u0007", ",'leaseDurationSeconds':3600"));
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await_server(&server.gets, 5);
	assert_holder(l, "other?");
	assert_false(lease_held(l));
	struct buf out = BUF_INIT(65536);
	lease_write_metrics(&out);
	assert_non_null(strstr(buf_z(&out), "leader_election_master_status{name=\"n\"} 0\n"));
	buf_release(&out);
	assert_int_equal(count_of(&server.puts), 0);
	server_set_holder("");
	await(&t, &t.started);
	assert_true(lease_held(l));
	lease_stop(l);
	assert_int_equal(t.lost, 0);
}

static void test_another_makes_it_first(void **state)
{
	(void)state;
	server_reset(NULL);
	server.race_once = 1;
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await_server(&server.gets, 3);
	assert_holder(l, "other");
	lease_stop(l);
	assert_int_equal(server.posts, 1);
	assert_int_equal(t.started, 0);
	assert_int_equal(t.troubles, 0);
}

static void test_stops_without_having_led(void **state)
{
	(void)state;
	server_reset(LEASE_OF("other", ",'leaseDurationSeconds':3600"));
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await_server(&server.gets, 1);
	lease_stop(l);
	assert_text(lease_holder_of(server.lease), "other");
	assert_int_equal(server.puts, 0);
	assert_int_equal(t.lost, 0);
}

static void test_conflict_is_read_again(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await(&t, &t.started);
	(void)pthread_mutex_lock(&server.lock);
	server.race_once = 1;
	(void)pthread_mutex_unlock(&server.lock);
	await_server(&server.gets, 2);
	await_server(&server.puts, count_of(&server.puts) + 3);
	assert_true(lease_held(l));
	// The same at the end: it is released all the same.
	(void)pthread_mutex_lock(&server.lock);
	server.race_once = 2;
	(void)pthread_mutex_unlock(&server.lock);
	lease_stop(l);
	assert_text(lease_holder_of(server.lease), "");
	assert_int_equal(t.troubles, 0);
	assert_int_equal(t.lost, 0);
}

static void test_deleted_is_made_again(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await(&t, &t.started);
	(void)pthread_mutex_lock(&server.lock);
	json_decref(server.lease);
	server.lease = NULL;
	(void)pthread_mutex_unlock(&server.lock);
	await_server(&server.posts, 2);
	assert_true(lease_held(l));
	lease_stop(l);
	assert_int_equal(t.lost, 0);
	assert_int_equal(t.troubles, 0);
}

static void test_loses_to_another_at_once(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	struct lease *l = elector(&t, "me", 3600000, 5);
	await(&t, &t.started);
	server_set_holder("other");
	await(&t, &t.lost);
	assert_text(t.why, "other holds lease ns/n now: restart this program");
	assert_false(lease_held(l));
	int puts = count_of(&server.puts);
	lease_stop(l);
	assert_int_equal(server.puts, puts);
	assert_text(lease_holder_of(server.lease), "other");
	assert_int_equal(t.lost, 1);
}

static void test_loses_at_the_deadline(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	struct lease *l = elector(&t, "me", 8000, 5);
	await(&t, &t.started);
	server_fail(ETIMEDOUT);
	await_server(&server.failed, 3);
	atomic_store(&shift_ms, 8000);
	await(&t, &t.lost);
	assert_non_null(strstr(t.why, "lease ns/n could not be renewed for 8000 ms: restart this program; at last: "));
	assert_non_null(strstr(t.why, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/n: no answer"));
	assert_false(lease_held(l));
	// Told once, though it failed often.
	assert_int_equal(t.troubles, 1);
	assert_int_equal(t.trouble_code, ETIMEDOUT);
	assert_true(server.longest_timeout_ms <= 4000);
	server_fail(0);
	int puts = count_of(&server.puts);
	lease_stop(l);
	atomic_store(&shift_ms, 0);
	assert_int_equal(server.puts, puts);
	assert_text(lease_holder_of(server.lease), "me");
}

static void test_failures_pass(void **state)
{
	(void)state;
	server_reset(NULL);
	server_fail(ECONNREFUSED);
	struct told t;
	struct lease *l = elector(&t, "me", 30000, 5);
	await(&t, &t.troubles);
	assert_false(lease_held(l));
	server_fail(0);
	await(&t, &t.started);
	server_fail(EPERM);
	int64_t end = clock_mono_ms(&clock_real) + 30000;
	for (bool told = false; !told && clock_mono_ms(&clock_real) < end;) {
		(void)pthread_mutex_lock(&t.lock);
		told = t.trouble_code == EPERM;
		(void)pthread_mutex_unlock(&t.lock);
	}
	assert_true(lease_held(l));
	server_fail(0);
	await_server(&server.puts, 3);
	assert_true(lease_held(l));
	lease_stop(l);
	assert_int_equal(t.started, 1);
	assert_int_equal(t.lost, 0);
}

// The thread hasn't seen yet that the time is over, as after the process was frozen: whoever asks learns it.
static void test_held_knows_the_time_itself(void **state)
{
	(void)state;
	server_reset(NULL);
	struct told t;
	told_init(&t);
	struct lease *l = lease_start(&(struct lease_config){
		.client = (struct kube_client *)&server,
		.clock = &shifted,
		.ns = "ns",
		.name = "n",
		.identity = "m\n\xC3\xA4",
		.duration_ms = 9000000,
		.renew_ms = 8000000,
		.retry_ms = 3600000,
		.started = tell_started,
		.lost = tell_lost,
		.ctx = &t,
	});
	await(&t, &t.started);
	assert_holder(l, "m???");
	assert_true(lease_held(l));
	own_shift_ms = 8000000;
	assert_false(lease_held(l));
	own_shift_ms = 0;
	assert_true(lease_held(l));
	lease_stop(l);
	assert_int_equal(t.lost, 0);
}

// Any number of candidates, all at once: never two leaders. Each leads in its turn, and releases.
#define CANDIDATES 4

struct race {
	struct told told;
	_Atomic int *leaders;
	_Atomic int *most;
};

static void race_started(void *ctx)
{
	struct race *r = ctx;
	int now = atomic_fetch_add(r->leaders, 1) + 1;
	if (now > atomic_load(r->most))
		atomic_store(r->most, now);
	tell_started(&r->told);
}

static void test_never_two_leaders(void **state)
{
	(void)state;
	server_reset(NULL);
	_Atomic int leaders = 0;
	_Atomic int most = 0;
	struct race races[CANDIDATES];
	struct lease *l[CANDIDATES];
	static const char *const NAMES[CANDIDATES] = {"a", "b", "c", "d"};
	for (size_t i = 0; i < CANDIDATES; i++) {
		told_init(&races[i].told);
		races[i].leaders = &leaders;
		races[i].most = &most;
		l[i] = lease_start(&(struct lease_config){
			.client = (struct kube_client *)&server,
			.clock = &clock_real,
			.ns = "ns",
			.name = "n",
			.identity = NAMES[i],
			.duration_ms = 60000,
			.renew_ms = 30000,
			.retry_ms = 2,
			.started = race_started,
			.ctx = &races[i],
		});
	}
	for (size_t gone = 0; gone < CANDIDATES; gone++) {
		size_t leader = CANDIDATES;
		for (int64_t end = clock_mono_ms(&clock_real) + 30000; leader == CANDIDATES; (void)usleep(100)) {
			assert_true(clock_mono_ms(&clock_real) < end);
			for (size_t i = 0; i < CANDIDATES; i++)
				if (l[i] != NULL && lease_held(l[i]))
					leader = i;
		}
		await(&races[leader].told, &races[leader].told.started);
		atomic_fetch_sub(&leaders, 1);
		lease_stop(l[leader]);
		l[leader] = NULL;
	}
	assert_int_equal(atomic_load(&most), 1);
}

int main(void)
{
	static struct tests t;
	static const char *holders[] = {"me", "", "other"};
	ADD_TABLE(&t, decide_cases, test_decide);
	tests_add(&t, "a lease is watched from when it was first seen so", test_waits_from_what_it_has_seen, NULL);
	tests_add(&t, "renewing keeps all other fields", test_other_fields_are_kept, &holders[0]);
	tests_add(&t, "taking what was released keeps all other fields", test_other_fields_are_kept, &holders[1]);
	tests_add(&t, "taking what has expired keeps all other fields", test_other_fields_are_kept, &holders[2]);
	tests_add(&t, "releasing keeps all other fields", test_release_keeps_the_rest, NULL);
	tests_add(&t, "leads, renews without reading, releases", test_leads_renews_and_releases, NULL);
	tests_add(&t, "waits while another leads", test_waits_for_another, NULL);
	tests_add(&t, "another makes the lease first", test_another_makes_it_first, NULL);
	tests_add(&t, "writes nothing at a stop without having led", test_stops_without_having_led, NULL);
	tests_add(&t, "reads again after a conflict", test_conflict_is_read_again, NULL);
	tests_add(&t, "makes a deleted lease again", test_deleted_is_made_again, NULL);
	tests_add(&t, "loses at once to another that holds the lease", test_loses_to_another_at_once, NULL);
	tests_add(&t, "loses when it could not renew in time", test_loses_at_the_deadline, NULL);
	tests_add(&t, "failures that pass lose nothing", test_failures_pass, NULL);
	tests_add(&t, "who asks learns that the time is over", test_held_knows_the_time_itself, NULL);
	tests_add(&t, "never two leaders", test_never_two_leaders, NULL);
	int failed = tests_run("lease", &t);
	server_reset(NULL);
	return failed;
}
