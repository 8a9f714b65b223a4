#include "cases.h"
#include "common/kube/limiter.h"

// A burst, then waits that grow by one interval each.
static void test_burst(void **state)
{
	(void)state;
	struct limiter l;
	limiter_init(&l, 10, 3, 1000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limiter_take(&l, 1000), 0);
	assert_int_equal(limiter_take(&l, 1000), 100);
	assert_int_equal(limiter_take(&l, 1000), 200);
	assert_int_equal(limiter_take(&l, 1050), 250);
}

static void test_refill(void **state)
{
	(void)state;
	struct limiter l;
	limiter_init(&l, 10, 3, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limiter_take(&l, 0), 0);
	assert_int_equal(limiter_take(&l, 100), 0);
	assert_int_equal(limiter_take(&l, 100), 100);
	// The one that was owed is paid at 200; a burst is there again at 500, and never more.
	for (int i = 0; i < 3; i++)
		assert_int_equal(limiter_take(&l, 1000000), 0);
	assert_int_equal(limiter_take(&l, 1000000), 100);
}

// One a second at 2.5 qps would be too slow, three too fast.
static void test_long_run(void **state)
{
	(void)state;
	struct limiter l;
	limiter_init(&l, 2.5, 1, 0);
	int64_t now = 0;
	for (int i = 0; i < 251; i++)
		now += limiter_take(&l, now);
	assert_in_range(now, 100000, 100300); // each wait is rounded up by less than 1 ms
}

static void test_give_back(void **state)
{
	(void)state;
	struct limiter l;
	limiter_init(&l, 10, 1, 0);
	assert_int_equal(limiter_take(&l, 0), 0);
	assert_int_equal(limiter_take(&l, 0), 100);
	limiter_give_back(&l);
	assert_int_equal(limiter_take(&l, 0), 100);
	limiter_give_back(&l);
	limiter_give_back(&l);
	limiter_give_back(&l);
	limiter_give_back(&l);
	assert_int_equal(limiter_take(&l, 0), 0);
	assert_int_equal(limiter_take(&l, 0), 100);
}

static void test_clock_behind(void **state)
{
	(void)state;
	struct limiter l;
	limiter_init(&l, 10, 2, 1000);
	assert_int_equal(limiter_take(&l, 1000), 0);
	assert_int_equal(limiter_take(&l, 900), 0);
	assert_int_equal(limiter_take(&l, 950), 100);
	assert_int_equal(limiter_take(&l, 1000), 200);
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "limiter: burst", test_burst, NULL);
	tests_add(&t, "limiter: refill", test_refill, NULL);
	tests_add(&t, "limiter: long run", test_long_run, NULL);
	tests_add(&t, "limiter: give back", test_give_back, NULL);
	tests_add(&t, "limiter: a clock that is behind", test_clock_behind, NULL);
	return tests_run("kube_limiter", &t);
}
