#include "tests/unit/cases.h"

#include <ctype.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/kube/workqueue.h"
#include "common/mem.h"
#include "tests/unit/fake_clock.h"

// ---- Properties, each a script: steps with a ';' between them.
//
//   add K         after K MS    retry K MS (what it returns)   forget K     tries K N
//   get K         none (nothing is due)         done K         depth N      pass MS       close

struct script {
	const char *name;
	const char *steps;
};

static struct script SCRIPTS[] = {
	{"an empty queue has nothing", "none; depth 0"},
	{"first in, first out", "add a; add b; add c; get a; get b; get c; none"},
	{"a key that is added while it waits is there once", "add a; add b; add a; depth 2; get a; get b; none"},
	{"one that was done is gone", "add a; get a; done a; none; depth 0"},
	{"one that is added again after it was done comes again", "add a; get a; done a; add a; get a"},
	{"one that is added while a worker has it waits for that worker",
	 "add a; get a; add a; none; depth 0; done a; get a"},
	{"and comes once, however often it was added", "add a; get a; add a; add a; add a; done a; get a; done a; none"},
	{"and comes last", "add a; get a; add a; add b; done a; get b; get a"},
	{"other keys go on meanwhile", "add a; get a; add a; add b; get b; none"},
	{"done for a key that nobody has does nothing", "add a; done a; done b; depth 1; get a; none"},

	{"a delay ends at its time", "after a 100; none; depth 0; pass 99; none; pass 1; get a; none"},
	{"delays end in order, not as they were added",
	 "after c 300; after a 100; after b 200; pass 300; get a; get b; get c"},
	{"many delays end in order",
	 "after h 80; after d 40; after b 20; after f 60; after a 10; after g 70; after c 30; after e 50; pass 25; get a; "
	 "get b; none; pass 55; get c; get d; get e; get f; get g; get h; none"},
	{"no delay is none", "after a 0; after b -5; get a; get b"},
	{"of two delays the one that ends first counts",
	 "after a 300; after a 100; pass 100; get a; done a; pass 200; none"},
	{"whichever came first", "after a 100; after a 300; pass 100; get a; done a; pass 200; none"},
	{"a delay that is cut short passes others",
	 "after a 100; after b 200; after c 300; after c 50; pass 50; get c; none"},
	{"a delay doesn't hold up the same key added at once", "after a 100; add a; get a; done a; pass 100; get a"},
	{"a delay that ends while the key waits adds nothing", "after a 100; add a; pass 100; get a; done a; none"},
	{"one that ends while a worker has the key waits for that worker",
	 "add a; get a; after a 100; pass 100; none; done a; get a; done a; none"},
	{"a delay for ever overflows nothing", "after a 9223372036854775807; pass 1000000; none; add b; get b"},

	{"the back-off doubles",
	 "retry a 5; pass 5; get a; done a; retry a 10; pass 9; none; pass 1; get a; done a; retry a 20"},
	{"up to its limit",
	 "retry a 5; retry a 10; retry a 20; retry a 40; retry a 80; retry a 160; retry a 320; retry a 640; retry a 1280; "
	 "retry a 2560; retry a 5120; retry a 10240; retry a 20480; retry a 40960; retry a 81920; retry a 163840; "
	 "retry a 300000; retry a 300000; tries a 18"},
	{"each key has its own", "retry a 5; retry a 10; retry b 5; tries a 2; tries b 1; tries c 0"},
	{"forgetting starts it anew", "retry a 5; retry a 10; forget a; tries a 0; retry a 5"},
	{"and takes nothing out of the queue",
	 "retry a 5; add b; forget a; forget b; forget c; pass 5; get b; get a; none"},
	{"nor from a worker", "add a; get a; add a; forget a; none; done a; get a"},
	{"adding or having done it does not",
	 "retry a 5; pass 5; get a; done a; add a; get a; done a; tries a 1; retry a 10"},
	{"a retry while a worker has it is the usual order", "add a; get a; retry a 5; pass 5; none; done a; get a"},

	{"a closed queue hands nothing out", "add a; add b; get a; close; none; done a; none"},
	{"and takes nothing", "close; add a; after a 0; retry a 0; depth 0; tries a 0; none"},
	{"closing twice is closing", "close; close; none"},
};

static void step_get(struct workqueue *q, const char *want, const char *at)
{
	char *key = workqueue_try_get(q);
	if ((key == NULL) != (want == NULL) || (key != NULL && strcmp(key, want) != 0))
		fail_msg("at \"%s\": got %s, not %s", at, key != NULL ? key : "nothing", want != NULL ? want : "nothing");
	free(key);
}

static void step_number(int64_t got, int64_t want, const char *at)
{
	if (got != want)
		fail_msg("at \"%s\": got %lld, not %lld", at, (long long)got, (long long)want);
}

static void run_step(struct workqueue *q, struct fake_clock *clock, const char *at)
{
	char verb[16] = "";
	char key[32] = "";
	long long n = 0;
	int found = sscanf(at, " %15[a-z] %31[a-z] %lld", verb, key, &n);
	if (found == 1)
		found = sscanf(at, " %15[a-z] %lld", verb, &n);
	if (strcmp(verb, "add") == 0)
		workqueue_add(q, key);
	else if (strcmp(verb, "after") == 0)
		workqueue_add_after(q, key, n);
	else if (strcmp(verb, "retry") == 0)
		step_number(workqueue_retry(q, key), n, at);
	else if (strcmp(verb, "forget") == 0)
		workqueue_forget(q, key);
	else if (strcmp(verb, "tries") == 0)
		step_number(workqueue_tries(q, key), n, at);
	else if (strcmp(verb, "get") == 0)
		step_get(q, key, at);
	else if (strcmp(verb, "none") == 0)
		step_get(q, NULL, at);
	else if (strcmp(verb, "done") == 0)
		workqueue_done(q, key);
	else if (strcmp(verb, "depth") == 0)
		step_number((int64_t)workqueue_depth(q), n, at);
	else if (strcmp(verb, "pass") == 0)
		fake_clock_pass(clock, n);
	else if (strcmp(verb, "close") == 0)
		workqueue_close(q);
	else
		fail_msg("no step \"%s\"", at);
}

static void test_script(void **state)
{
	const struct script *c = *state;
	struct fake_clock fake = {.mono = 1000};
	struct clock clock = fake_clock(&fake);
	struct workqueue *q = workqueue_new("script", &clock);
	char *steps = xstrdup(c->steps);
	char *next = steps;
	for (const char *at = strsep(&next, ";"); at != NULL; at = strsep(&next, ";"))
		run_step(q, &fake, at);
	free(steps);
	workqueue_free(q);
}

// ---- Metrics

static const char METRICS[] =
	"# HELP workqueue_depth Keys that wait in the queue.\n"
	"# TYPE workqueue_depth gauge\n"
	"workqueue_depth{name=\"one\"} 1\n"
	"workqueue_depth{name=\"two\"} 0\n"
	"# HELP workqueue_adds_total Keys that were put into the queue.\n"
	"# TYPE workqueue_adds_total counter\n"
	"workqueue_adds_total{name=\"one\"} 4\n"
	"workqueue_adds_total{name=\"two\"} 0\n"
	"# HELP workqueue_retries_total Keys that were put back to be tried again later.\n"
	"# TYPE workqueue_retries_total counter\n"
	"workqueue_retries_total{name=\"one\"} 2\n"
	"workqueue_retries_total{name=\"two\"} 0\n"
	"# HELP workqueue_unfinished_work_seconds For how long workers have been at the keys that they have in hand, added "
	"up. One that is stuck adds a second each second.\n"
	"# TYPE workqueue_unfinished_work_seconds gauge\n"
	"workqueue_unfinished_work_seconds{name=\"one\"} 4.5\n"
	"workqueue_unfinished_work_seconds{name=\"two\"} 0\n"
	"# HELP workqueue_longest_running_processor_seconds For how long the worker that has been busiest with one "
	"key has been at it.\n"
	"# TYPE workqueue_longest_running_processor_seconds gauge\n"
	"workqueue_longest_running_processor_seconds{name=\"one\"} 2.5\n"
	"workqueue_longest_running_processor_seconds{name=\"two\"} 0\n";

static void assert_has(const struct buf *text, const char *line)
{
	if (strstr(buf_z(text), line) == NULL)
		fail_msg("no line \"%s\" in:\n%s", line, buf_z(text));
}

static void test_metrics(void **state)
{
	(void)state;
	struct fake_clock fake = {.mono = 1000};
	struct clock clock = fake_clock(&fake);
	struct workqueue *one = workqueue_new("one", &clock);
	struct workqueue *two = workqueue_new("two", &clock);
	run_step(one, &fake, "add a");
	run_step(one, &fake, "add a");
	run_step(one, &fake, "add b");
	run_step(one, &fake, "after c 500");
	run_step(one, &fake, "after d 999999");
	run_step(one, &fake, "pass 500");
	run_step(one, &fake, "get a");
	run_step(one, &fake, "pass 500");
	run_step(one, &fake, "get b");
	run_step(one, &fake, "pass 2000");
	run_step(one, &fake, "add a");
	struct buf out = BUF_INIT(65536);
	workqueue_write_metrics(&out);
	char head[sizeof(METRICS)];
	(void)snprintf(head, sizeof(head), "%s", buf_z(&out));
	assert_string_equal(head, METRICS);
	run_step(one, &fake, "done a");
	run_step(one, &fake, "done b");
	buf_clear(&out);
	workqueue_write_metrics(&out);
	assert_has(&out, "\nworkqueue_depth{name=\"one\"} 2\n");
	assert_has(&out, "\nworkqueue_unfinished_work_seconds{name=\"one\"} 0\n");
	assert_has(&out, "\nworkqueue_queue_duration_seconds_bucket{name=\"one\",le=\"0.5\"} 1\n");
	assert_has(&out, "\nworkqueue_queue_duration_seconds_sum{name=\"one\"} 1.5\n");
	assert_has(&out, "\nworkqueue_queue_duration_seconds_count{name=\"two\"} 0\n");
	assert_has(&out, "\nworkqueue_work_duration_seconds_sum{name=\"one\"} 4.5\n");
	assert_has(&out, "\nworkqueue_work_duration_seconds_count{name=\"one\"} 2\n");
	workqueue_free(one);
	workqueue_free(two);
	buf_clear(&out);
	workqueue_write_metrics(&out);
	assert_null(strstr(buf_z(&out), "name="));
	buf_release(&out);
}

// ---- Threads

static void *get_until_closed(void *arg)
{
	size_t n = 0;
	for (char *key = workqueue_get(arg); key != NULL; key = workqueue_get(arg)) {
		n++;
		workqueue_done(arg, key);
		free(key);
	}
	return (void *)(uintptr_t)n;
}

static void test_close_wakes_waiters(void **state)
{
	(void)state;
	struct workqueue *q = workqueue_new("waiters", &clock_real);
	workqueue_add_after(q, "later", 3600 * 1000);
	pthread_t threads[3];
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_until_closed, q), 0);
	workqueue_close(q);
	for (size_t i = 0; i < COUNT(threads); i++) {
		void *got = NULL;
		(void)pthread_join(threads[i], &got);
		assert_null(got);
	}
	workqueue_free(q);
}

struct meeting {
	struct workqueue *q;
	pthread_barrier_t both;
};

// Ends only where another worker comes while this one still has its key.
static void *get_and_meet(void *arg)
{
	struct meeting *m = arg;
	char *key = workqueue_get(m->q);
	(void)pthread_barrier_wait(&m->both);
	if (key != NULL)
		workqueue_done(m->q, key);
	free(key);
	return NULL;
}

static int64_t counted_mono_ms(void *ctx)
{
	atomic_fetch_add((_Atomic int *)ctx, 1);
	return clock_mono_ms(&clock_real);
}

static void test_each_delay_finds_a_worker(void **state)
{
	(void)state;
	_Atomic int looks = 0;
	const struct clock clock = {.mono_ms = counted_mono_ms, .ctx = &looks};
	struct meeting m = {.q = workqueue_new("meeting", &clock)};
	(void)pthread_barrier_init(&m.both, NULL, 2);
	pthread_t threads[2];
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_and_meet, &m), 0);
	// Each has looked at the clock once, so it waits, or has the lock that the adding below needs.
	while (atomic_load(&looks) < 2)
		(void)sched_yield();
	workqueue_add_after(m.q, "a", 10);
	workqueue_add_after(m.q, "b", 20);
	for (size_t i = 0; i < COUNT(threads); i++)
		(void)pthread_join(threads[i], NULL);
	(void)pthread_barrier_destroy(&m.both);
	workqueue_free(m.q);
}

#define STRESS_KEYS 8
#define STRESS_WORKERS 6
#define STRESS_ADDS 20000

struct stress {
	struct workqueue *q;
	// Without atomics: where two workers have the same key, ThreadSanitizer says so, and the sums don't fit.
	int inside[STRESS_KEYS];
	long long worked[STRESS_KEYS];
	_Atomic int shared;
	_Atomic long long wanted[STRESS_KEYS], seen[STRESS_KEYS];
};

static void *stress_work(void *arg)
{
	struct stress *s = arg;
	unsigned turn = 0;
	for (char *key = workqueue_get(s->q); key != NULL; key = workqueue_get(s->q)) {
		size_t i = (size_t)(key[0] - 'a');
		if (s->inside[i]++ != 0)
			atomic_fetch_add(&s->shared, 1);
		s->worked[i]++;
		atomic_store(&s->seen[i], atomic_load(&s->wanted[i]));
		s->inside[i]--;
		if (++turn % 64 == 0)
			workqueue_add_after(s->q, key, 1);
		if (turn % 97 == 0)
			(void)workqueue_retry(s->q, key);
		else
			workqueue_forget(s->q, key);
		workqueue_done(s->q, key);
		free(key);
	}
	return NULL;
}

static void *stress_add(void *arg)
{
	struct stress *s = arg;
	for (int i = 0; i < STRESS_ADDS; i++) {
		const char key[2] = {(char)('a' + i % STRESS_KEYS), '\0'};
		atomic_fetch_add(&s->wanted[i % STRESS_KEYS], 1);
		workqueue_add(s->q, key);
	}
	return NULL;
}

static bool stress_is_served(struct stress *s)
{
	for (size_t i = 0; i < STRESS_KEYS; i++)
		if (atomic_load(&s->seen[i]) != atomic_load(&s->wanted[i]))
			return false;
	return true;
}

// No two workers have the same key, and the last change of each is seen by somebody.
static void test_stress(void **state)
{
	(void)state;
	static struct stress s;
	s.q = workqueue_new("stress", &clock_real);
	pthread_t workers[STRESS_WORKERS];
	pthread_t adders[2];
	for (size_t i = 0; i < COUNT(workers); i++)
		assert_int_equal(pthread_create(&workers[i], NULL, stress_work, &s), 0);
	for (size_t i = 0; i < COUNT(adders); i++)
		assert_int_equal(pthread_create(&adders[i], NULL, stress_add, &s), 0);
	for (size_t i = 0; i < COUNT(adders); i++)
		(void)pthread_join(adders[i], NULL);
	for (int64_t end = clock_mono_ms(&clock_real) + 30000; !stress_is_served(&s);)
		if (clock_mono_ms(&clock_real) > end)
			fail_msg("a change was seen by no worker for 30 s");
	struct buf out = BUF_INIT(65536);
	workqueue_write_metrics(&out);
	buf_release(&out);
	workqueue_close(s.q);
	for (size_t i = 0; i < COUNT(workers); i++)
		(void)pthread_join(workers[i], NULL);
	assert_int_equal(atomic_load(&s.shared), 0);
	for (size_t i = 0; i < STRESS_KEYS; i++)
		assert_true(s.worked[i] > 0);
	workqueue_free(s.q);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, SCRIPTS, test_script);
	tests_add(&t, "metrics of two queues", test_metrics, NULL);
	tests_add(&t, "closing wakes those that wait", test_close_wakes_waiters, NULL);
	tests_add(&t, "each delay finds a worker while others are busy", test_each_delay_finds_a_worker, NULL);
	tests_add(&t, "no two workers share a key, no change is lost", test_stress, NULL);
	return tests_run("workqueue", &t);
}
