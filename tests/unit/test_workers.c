#include "tests/unit/cases.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/kube/workers.h"
#include "common/thread.h"

#define WAIT_MS 30000

// A reconciler that does as a row says, and notes what it sees.
struct world {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct workqueue *q;
	int code, failures; // errno of that many calls
	int last_code;      // of the last of them, where it differs
	int64_t again_ms;   // of the first call
	bool mute;          // fails without a code in its error
	int calls, told, inside, most;
	int told_code;
	int64_t told_next_ms;
	int meet; // calls that wait for each other
};

static int reconcile(void *ctx, const char *key, struct reconcile_result *ret, struct error *err)
{
	struct world *w = ctx;
	(void)key;
	(void)pthread_mutex_lock(&w->lock);
	int call = ++w->calls;
	w->inside++;
	w->most = w->inside > w->most ? w->inside : w->most;
	(void)pthread_cond_broadcast(&w->changed);
	int64_t end = clock_mono_ms(&clock_real) + WAIT_MS;
	while (w->most < w->meet && clock_mono_ms(&clock_real) < end)
		thread_cond_wait(&w->changed, &w->lock, 1000);
	w->inside--;
	int code = call <= w->failures ? w->code : 0;
	if (call == w->failures && w->last_code != 0)
		code = w->last_code;
	if (call == 1)
		ret->again_ms = w->again_ms;
	bool mute = w->mute;
	(void)pthread_mutex_unlock(&w->lock);
	if (code != 0 && mute)
		return -code;
	return code != 0 ? error_set(err, code, "it didn't work") : 0;
}

static void failed(void *ctx, const char *key, const struct error *err, int64_t next_ms)
{
	struct world *w = ctx;
	(void)pthread_mutex_lock(&w->lock);
	assert_text(key, "ns/a");
	w->told++;
	w->told_code = err->code;
	w->told_next_ms = next_ms;
	(void)pthread_mutex_unlock(&w->lock);
}

static void world_init(struct world *w)
{
	*w = (struct world){.q = workqueue_new("test", &clock_real)};
	(void)pthread_mutex_init(&w->lock, NULL);
	thread_cond_init(&w->changed);
}

static int calls_of(struct world *w)
{
	(void)pthread_mutex_lock(&w->lock);
	int calls = w->calls;
	(void)pthread_mutex_unlock(&w->lock);
	return calls;
}

static void await_calls(struct world *w, int n)
{
	int64_t end = clock_mono_ms(&clock_real) + WAIT_MS;
	(void)pthread_mutex_lock(&w->lock);
	while (w->calls < n && clock_mono_ms(&clock_real) < end)
		thread_cond_wait(&w->changed, &w->lock, 1000);
	(void)pthread_mutex_unlock(&w->lock);
	assert_int_equal(calls_of(w), n);
}

struct outcome_case {
	const char *name;
	int code, failures;
	int64_t again_ms;
	int calls, told;
	int64_t told_next_ms;
	const char *metrics[2];
};

#define TOTAL(result, n) "\ncontroller_runtime_reconcile_total{controller=\"test\",result=\"" result "\"} " n "\n"

#define FINAL(n) "\ncontroller_runtime_terminal_reconcile_errors_total{controller=\"test\"} " n "\n"

static struct outcome_case outcome_cases[] = {
	{"success", 0, 0, 0, 1, 0, 0, {TOTAL("success", "1"), TOTAL("error", "0")}},
	{"success, and again later", 0, 0, 3, 2, 0, 0, {TOTAL("success", "1"), TOTAL("requeue_after", "1")}},
	{"what may work later is tried again", ETIMEDOUT, 1, 0, 2, 1, 5, {FINAL("0"), TOTAL("error", "1")}},
	{"later and later", EAGAIN, 3, 0, 4, 3, 20, {TOTAL("success", "1"), TOTAL("error", "3")}},
	{"whatever it wanted", EIO, 1, 3600000, 2, 1, 5, {TOTAL("success", "1"), TOTAL("error", "1")}},
	{"another writer was faster", EBUSY, 1, 0, 2, 1, 5, {TOTAL("success", "1"), TOTAL("error", "1")}},
	{"another made it first", EEXIST, 1, 0, 2, 1, 5, {TOTAL("success", "1"), TOTAL("error", "1")}},
	{"what won't work waits for a change", EINVAL, 1, 0, 1, 1, -1, {FINAL("1"), TOTAL("error", "1")}},
	{"so does what isn't allowed", EPERM, 1, 0, 1, 1, -1, {TOTAL("success", "0"), TOTAL("error", "1")}},
	{"or for the time that it asked for", EINVAL, 1, 3, 2, 1, 3, {TOTAL("success", "1"), TOTAL("error", "1")}},
	{"a stop is no failure", ECANCELED, 1, 0, 2, 0, 0, {TOTAL("requeue", "1"), TOTAL("error", "0")}},
};

static void await_idle(struct world *w)
{
	// The last call's key is not done yet when it is counted.
	for (int64_t end = clock_mono_ms(&clock_real) + WAIT_MS; clock_mono_ms(&clock_real) < end;) {
		struct buf out = BUF_INIT(65536);
		workers_write_metrics(&out);
		bool idle = strstr(buf_z(&out), "controller_runtime_active_workers{controller=\"test\"} 0\n") != NULL;
		buf_release(&out);
		if (idle && workqueue_depth(w->q) == 0)
			return;
	}
	fail_msg("a worker is never done");
}

static void assert_outcome(struct world *w, const struct outcome_case *c)
{
	await_calls(w, c->calls);
	await_idle(w);
	struct buf out = BUF_INIT(65536);
	workers_write_metrics(&out);
	for (size_t i = 0; i < COUNT(c->metrics); i++)
		if (strstr(buf_z(&out), c->metrics[i]) == NULL)
			fail_msg("no %s in\n%s", c->metrics[i], buf_z(&out));
	buf_release(&out);
	(void)pthread_mutex_lock(&w->lock);
	assert_int_equal(w->told, c->told);
	if (c->told > 0) {
		assert_int_equal(w->told_code, c->code);
		assert_int_equal(w->told_next_ms, c->told_next_ms);
	}
	(void)pthread_mutex_unlock(&w->lock);
	assert_int_equal(workqueue_tries(w->q, "ns/a"), 0);
}

static void run_outcome(const struct outcome_case *c, bool mute)
{
	struct world w;
	world_init(&w);
	w.code = c->code;
	w.failures = c->failures;
	w.again_ms = c->again_ms;
	w.mute = mute;
	struct workers *workers = workers_start(w.q, "test", 2, reconcile, failed, &w, &clock_real);
	workqueue_add(w.q, "ns/a");
	assert_outcome(&w, c);
	workers_stop(workers);
	assert_int_equal(w.calls, c->calls);
	workqueue_free(w.q);
}

static void test_outcome(void **state)
{
	run_outcome(*state, false);
}

static void test_error_without_a_code(void **state)
{
	(void)state;
	run_outcome(&outcome_cases[2], true);
}

// Its tries count no more when a change brings it back.
static void test_lasting_failure_is_forgotten(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	w.code = ETIMEDOUT;
	w.failures = 3;
	w.last_code = EINVAL;
	struct workers *workers = workers_start(w.q, "test", 2, reconcile, failed, &w, &clock_real);
	workqueue_add(w.q, "ns/a");
	await_calls(&w, 3);
	await_idle(&w);
	assert_int_equal(workqueue_tries(w.q, "ns/a"), 0);
	workers_stop(workers);
	assert_int_equal(w.told, 3);
	assert_int_equal(w.told_code, EINVAL);
	assert_int_equal(w.told_next_ms, -1);
	workqueue_free(w.q);
}

struct count_case {
	const char *name;
	unsigned asked;
	int got;
};

static struct count_case count_cases[] = {
	{"one worker", 1, 1}, {"no worker is one", 0, 1},   {"three", 3, 3},
	{"sixteen", 16, 16},  {"more are sixteen", 99, 16},
};

// As many as there are meet; and there are no more.
static void test_count(void **state)
{
	const struct count_case *c = *state;
	struct world w;
	world_init(&w);
	w.meet = c->got;
	struct workers *workers = workers_start(w.q, "test", c->asked, reconcile, failed, &w, &clock_real);
	for (int i = 0; i < 40; i++) {
		char key[16];
		(void)snprintf(key, sizeof(key), "k%d", i);
		workqueue_add(w.q, key);
	}
	await_calls(&w, 40);
	char line[128];
	(void)snprintf(line, sizeof(line), "\ncontroller_runtime_max_concurrent_reconciles{controller=\"test\"} %d\n",
				   c->got);
	struct buf out = BUF_INIT(65536);
	workers_write_metrics(&out);
	assert_non_null(strstr(buf_z(&out), line));
	buf_release(&out);
	workers_stop(workers);
	assert_int_equal(w.most, c->got);
	workqueue_free(w.q);
}

static void *stop_workers(void *arg)
{
	workers_stop(arg);
	return NULL;
}

static void test_stop_waits_for_what_is_under_way(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	w.meet = 2; // nobody comes, until the test lets go
	struct workers *workers = workers_start(w.q, "test", 1, reconcile, failed, &w, &clock_real);
	workqueue_add(w.q, "ns/a");
	workqueue_add(w.q, "ns/b");
	await_calls(&w, 1);
	pthread_t stopping;
	assert_int_equal(pthread_create(&stopping, NULL, stop_workers, workers), 0);
	// The closed queue gives nothing more.
	for (char *key = workqueue_try_get(w.q); key != NULL; key = workqueue_try_get(w.q)) {
		workqueue_done(w.q, key);
		workqueue_add(w.q, key);
		free(key);
	}
	(void)pthread_mutex_lock(&w.lock);
	assert_int_equal(w.inside, 1);
	w.meet = 0;
	(void)pthread_cond_broadcast(&w.changed);
	(void)pthread_mutex_unlock(&w.lock);
	(void)pthread_join(stopping, NULL);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.inside, 0);
	struct buf out = BUF_INIT(65536);
	workers_write_metrics(&out);
	assert_null(strstr(buf_z(&out), "controller=\"test\""));
	buf_release(&out);
	workqueue_free(w.q);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, outcome_cases, test_outcome);
	tests_add(&t, "an error without a code has the call's", test_error_without_a_code, NULL);
	tests_add(&t, "a failure that lasts ends the back-off", test_lasting_failure_is_forgotten, NULL);
	ADD_TABLE(&t, count_cases, test_count);
	tests_add(&t, "stopping waits for what is under way, and takes no more", test_stop_waits_for_what_is_under_way,
			  NULL);
	return tests_run("workers", &t);
}
