#include <stdbool.h>

#include "cases.h"
#include "common/kube/backoff.h"

struct wait_case {
	const char *name;
	int64_t first_ms, max_ms;
	unsigned tries;
	int64_t full_ms; // of which the upper half is drawn
};

static struct wait_case wait_cases[] = {
	{"the first", 100, 10000, 0, 100},
	{"the second", 100, 10000, 1, 200},
	{"the fifth", 100, 10000, 4, 1600},
	{"the last below the limit", 100, 10000, 6, 6400},
	{"the limit, between two powers", 100, 10000, 7, 10000},
	{"far beyond the limit", 100, 10000, 4000000000, 10000},
	{"a limit near the end of numbers", 3, INT64_MAX - 1, 4000000000, INT64_MAX - 1},
	{"a limit below the first", 100, 30, 0, 30},
	{"one millisecond", 1, 1, 5, 1},
};

static void test_wait(void **state)
{
	const struct wait_case *c = *state;
	int64_t least = INT64_MAX;
	int64_t most = 0;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		struct backoff b = {.first_ms = c->first_ms, .max_ms = c->max_ms, .tries = c->tries, .random = seed};
		int64_t ms = backoff_next_ms(&b);
		if (ms < c->full_ms / 2 || ms > c->full_ms)
			fail_msg("seed %u: %lld of %lld", (unsigned)seed, (long long)ms, (long long)c->full_ms);
		least = ms < least ? ms : least;
		most = ms > most ? ms : most;
	}
	// All of the half is drawn from, to its ends.
	assert_true(least - c->full_ms / 2 <= c->full_ms / 50);
	assert_true(c->full_ms - most <= c->full_ms / 50);
}

static void test_grows(void **state)
{
	(void)state;
	struct backoff b = {.first_ms = 5, .max_ms = 300000, .random = 42};
	int64_t full = 5;
	for (int i = 0; i < 40; i++) {
		int64_t ms = backoff_next_ms(&b);
		assert_true(ms >= full / 2 && ms <= full);
		full = full * 2 < 300000 ? full * 2 : 300000;
	}
	backoff_reset(&b);
	assert_true(backoff_next_ms(&b) <= 5);
}

static void test_differs(void **state)
{
	(void)state;
	struct backoff a = {.first_ms = 1000000, .max_ms = 1000000, .random = 1};
	struct backoff b = {.first_ms = 1000000, .max_ms = 1000000, .random = 2};
	int same = 0;
	int repeated = 0;
	int64_t last = 0;
	for (int i = 0; i < 100; i++) {
		int64_t ms = backoff_next_ms(&a);
		same += ms == backoff_next_ms(&b);
		repeated += ms == last;
		last = ms;
	}
	assert_true(same < 3);
	assert_true(repeated < 3);
}

static void test_between(void **state)
{
	(void)state;
	struct backoff b = {.random = 7};
	bool seen[5] = {0};
	for (int i = 0; i < 1000; i++) {
		int64_t v = backoff_between(&b, -2, 3);
		assert_in_range(v + 2, 0, 4);
		seen[v + 2] = true;
	}
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_true(seen[i]);
	assert_true(backoff_between(&b, 9, 10) == 9);
	assert_true(backoff_between(&b, 9, 9) == 9);
	assert_true(backoff_between(&b, 9, 3) == 9);
	int64_t wide = backoff_between(&b, INT64_MIN, INT64_MAX);
	assert_true(wide != INT64_MAX);
}

static void test_seed(void **state)
{
	(void)state;
	uint64_t a = backoff_seed();
	uint64_t b = backoff_seed();
	assert_true(a != 0 && b != 0 && a != b);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, wait_cases, test_wait);
	tests_add(&t, "it grows, and starts over", test_grows, NULL);
	tests_add(&t, "two seeds, two rows of waits", test_differs, NULL);
	tests_add(&t, "a number between two others", test_between, NULL);
	tests_add(&t, "seeds", test_seed, NULL);
	return tests_run("backoff", &t);
}
