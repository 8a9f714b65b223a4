#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "common/metrics.h"
#include "common/version.h"

#define NELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT_MAX ((size_t)64 * 1024)
#define THREADS 4
#define ADDS 10000

static struct metric_series requests_series[] = {{"code=\"200\",path=\"/x\"", 0}, {"code=\"500\",path=\"/x\"", 0}};
static struct metric requests = {
	"test_requests_total", "Requests\nby \\code.", METRIC_COUNTER, requests_series, 2, NULL, NULL, false};

static struct metric_series open_series[] = {{"", 0}};
static struct metric open_now = {"test_open", "Open now.", METRIC_GAUGE, open_series, 1, NULL, NULL, false};

static struct metric_series nothing_series[] = {{"", 0}};
static struct metric nothing = {"test_nothing", "No series.", METRIC_GAUGE, nothing_series, 0, NULL, NULL, false};

static const uint32_t BOUNDS[] = {100, 2500, 1000000, 10000000};
static struct metric_histogram_series waits_series[2] = {{.labels = ""}, {.labels = "kind=\"a\""}};
static struct metric_histogram waits = {
	"test_wait_seconds", "Waits.", BOUNDS, NELEMS(BOUNDS), waits_series, 2, NULL, NULL, false};

static struct metric_histogram_series latency_series[1] = {{.labels = ""}};
static struct metric_histogram latency = {
	"test_latency_seconds", "Latency.", NULL, 0, latency_series, 1, NULL, NULL, false};

static const char OWN[] = "# HELP test_requests_total Requests\\nby \\\\code.\n"
						  "# TYPE test_requests_total counter\n"
						  "test_requests_total{code=\"200\",path=\"/x\"} 3\n"
						  "test_requests_total{code=\"500\",path=\"/x\"} 0\n"
						  "# HELP test_open Open now.\n"
						  "# TYPE test_open gauge\n"
						  "test_open -7\n"
						  "# HELP test_nothing No series.\n"
						  "# TYPE test_nothing gauge\n"
						  "# HELP test_wait_seconds Waits.\n"
						  "# TYPE test_wait_seconds histogram\n"
						  "test_wait_seconds_bucket{le=\"0.0001\"} 2\n"
						  "test_wait_seconds_bucket{le=\"0.0025\"} 3\n"
						  "test_wait_seconds_bucket{le=\"1\"} 3\n"
						  "test_wait_seconds_bucket{le=\"10\"} 4\n"
						  "test_wait_seconds_bucket{le=\"+Inf\"} 5\n"
						  "test_wait_seconds_sum 13.000201\n"
						  "test_wait_seconds_count 5\n"
						  "test_wait_seconds_bucket{kind=\"a\",le=\"0.0001\"} 0\n"
						  "test_wait_seconds_bucket{kind=\"a\",le=\"0.0025\"} 0\n"
						  "test_wait_seconds_bucket{kind=\"a\",le=\"1\"} 0\n"
						  "test_wait_seconds_bucket{kind=\"a\",le=\"10\"} 0\n"
						  "test_wait_seconds_bucket{kind=\"a\",le=\"+Inf\"} 0\n"
						  "test_wait_seconds_sum{kind=\"a\"} 0\n"
						  "test_wait_seconds_count{kind=\"a\"} 0\n"
						  "# HELP test_latency_seconds Latency.\n";

static void reset(void)
{
	metric_set(&requests_series[0], 0);
	metric_set(&requests_series[1], 0);
	metric_set(&open_series[0], 0);
	memset(waits_series, 0, sizeof(waits_series));
	waits_series[0].labels = "";
	waits_series[1].labels = "kind=\"a\"";
}

static void test_exposition(void **state)
{
	(void)state;
	reset();
	metric_add(&requests_series[0], 1);
	metric_add(&requests_series[0], 2);
	metric_set(&open_series[0], -7);
	static const uint64_t SEEN[] = {0, 100, 101, 2999999, 10000001};
	for (size_t i = 0; i < NELEMS(SEEN); i++)
		metric_observe_us(&waits, &waits_series[0], SEEN[i]);
	struct buf out = BUF_INIT(TEXT_MAX);
	metrics_write(&out);
	char head[sizeof(OWN)];
	(void)snprintf(head, sizeof(head), "%s", buf_z(&out));
	assert_string_equal(head, OWN);
	buf_release(&out);
}

struct bucket_case {
	const char *name;
	uint64_t us;
	size_t bucket;
};

static const struct bucket_case BUCKETS[] = {
	{"nothing", 0, 0},
	{"just the first bound", 100, 0},
	{"past the first bound", 101, 1},
	{"just a bound in the middle", 2500, 1},
	{"just the last bound", 10000000, 3},
	{"past the last bound", 10000001, 4},
	{"past 32 bits", (uint64_t)1 << 40, 4},
};

static void test_bucket(void **state)
{
	const struct bucket_case *c = *state;
	reset();
	metric_observe_us(&waits, &waits_series[1], c->us);
	for (size_t i = 0; i <= METRIC_BUCKETS_MAX; i++)
		assert_int_equal(atomic_load(&waits_series[1].bucket[i]), i == c->bucket ? 1 : 0);
	assert_int_equal(atomic_load(&waits_series[1].sum_us), c->us);
}

static void test_too_many_bounds_stay_inside(void **state)
{
	(void)state;
	static uint32_t bounds[METRIC_BUCKETS_MAX + 10];
	for (size_t i = 0; i < NELEMS(bounds); i++)
		bounds[i] = (uint32_t)i + 1;
	struct metric_histogram_series series = {.labels = ""};
	const struct metric_histogram h = {"x_seconds", "X.", bounds, NELEMS(bounds), &series, 1, NULL, NULL, false};
	metric_observe_us(&h, &series, 1000);
	assert_int_equal(atomic_load(&series.bucket[METRIC_BUCKETS_MAX]), 1);
}

static void test_latency_bounds(void **state)
{
	(void)state;
	assert_true(METRIC_BOUNDS_LATENCY_N <= METRIC_BUCKETS_MAX);
	assert_int_equal(METRIC_BOUNDS_LATENCY_US[0], 100);
	assert_int_equal(METRIC_BOUNDS_LATENCY_US[METRIC_BOUNDS_LATENCY_N - 1], 10000000);
	for (size_t i = 1; i < METRIC_BOUNDS_LATENCY_N; i++)
		assert_true(METRIC_BOUNDS_LATENCY_US[i] > METRIC_BOUNDS_LATENCY_US[i - 1]);
}

static void test_registering_twice_counts_once(void **state)
{
	(void)state;
	metrics_register(&requests);
	metrics_register_histogram(&waits);
	struct buf out = BUF_INIT(TEXT_MAX);
	metrics_write(&out);
	const char *first = strstr(buf_z(&out), "# TYPE test_requests_total ");
	assert_non_null(first);
	assert_null(strstr(first + 1, "# TYPE test_requests_total "));
	const char *histogram = strstr(buf_z(&out), "# TYPE test_wait_seconds ");
	assert_non_null(histogram);
	assert_null(strstr(histogram + 1, "# TYPE test_wait_seconds "));
	buf_release(&out);
}

// Each line is a comment or "name{labels} value", and a name has its HELP and TYPE once, before it.
static void test_form_of_each_line(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(TEXT_MAX);
	metrics_write(&out);
	assert_true(buf_ok(&out));
	char *text = buf_take(&out);
	assert_int_equal(text[strlen(text) - 1], '\n');
	char *next = text;
	for (char *line = strsep(&next, "\n"); next != NULL; line = strsep(&next, "\n")) {
		assert_int_not_equal(line[0], '\0');
		if (line[0] == '#')
			continue;
		char *value = strrchr(line, ' ');
		assert_non_null(value);
		char *end = NULL;
		(void)strtod(value + 1, &end);
		assert_int_equal(*end, '\0');
	}
	free(text);
}

static double value_of(const char *name)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	char *mark = NULL;
	metrics_write(&out);
	assert_true(asprintf(&mark, "\n%s ", name) > 0);
	const char *at = strstr(buf_z(&out), mark);
	if (at == NULL)
		fail_msg("no %s", name);
	double value = at != NULL ? strtod(at + strlen(mark), NULL) : 0;
	free(mark);
	buf_release(&out);
	return value;
}

struct process_case {
	const char *name;
	double low;
	double high;
};

static struct process_case process_cases[] = {
	{"process_resident_memory_bytes", 500e3, 4e9},
	{"process_virtual_memory_bytes", 500e3, 1e15},
	{"process_cpu_seconds_total", 1e-6, 1e6},
	{"process_start_time_seconds", 1.7e9, 1e10},
	{"process_open_fds", 3, 1000},
	{"process_max_fds", 16, 1e10},
};

static void test_process_value(void **state)
{
	const struct process_case *c = *state;
	double got = value_of(c->name);
	if (got < c->low || got > c->high)
		fail_msg("%s is %f, not %f to %f", c->name, got, c->low, c->high);
}

static void test_process_values_agree(void **state)
{
	(void)state;
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true((uint64_t)value_of("process_max_fds") == (uint64_t)limit.rlim_cur);
	double before = value_of("process_open_fds");
	FILE *f = fopen("/dev/null", "re");
	assert_non_null(f);
	assert_int_equal((int)value_of("process_open_fds"), (int)before + 1);
	(void)fclose(f);
	double age = (double)time(NULL) - value_of("process_start_time_seconds");
	if (age < -5 || age > 3600)
		fail_msg("started %f s ago", age);
}

static void test_overflow_is_remembered(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(100);
	metrics_write(&out);
	assert_false(buf_ok(&out));
	buf_release(&out);
}

static void *add_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < ADDS; i++) {
		metric_add(&requests_series[1], 1);
		metric_observe_us(&waits, &waits_series[1], (uint64_t)i);
	}
	return NULL;
}

// ---- What only some metrics have

static const char *common_labels;

static const char *common(void)
{
	return common_labels;
}

static const uint32_t ONE_BOUND[] = {1000};

struct form_case {
	const char *name;
	const char *labels, *common;
	bool sparse;
	int64_t value; // of the one series, and an observation of as many microseconds where it isn't 0
	const char *series;
	const char *histogram;
};

static const struct form_case forms[] = {
	{"neither labels of its own nor common ones", "", NULL, false, 7, "x_total 7\n",
	 "x_seconds_bucket{le=\"0.001\"} 1\nx_seconds_bucket{le=\"+Inf\"} 1\nx_seconds_sum 0.000007\nx_seconds_count 1\n"},
	{"labels that come with the program", "", "host=\"h\"", false, 7, "x_total{host=\"h\"} 7\n",
	 "x_seconds_bucket{host=\"h\",le=\"0.001\"} 1\nx_seconds_bucket{host=\"h\",le=\"+Inf\"} 1\n"
	 "x_seconds_sum{host=\"h\"} 0.000007\nx_seconds_count{host=\"h\"} 1\n"},
	{"both", "a=\"b\"", "host=\"h\"", true, 7, "x_total{a=\"b\",host=\"h\"} 7\n",
	 "x_seconds_bucket{a=\"b\",host=\"h\",le=\"0.001\"} 1\nx_seconds_bucket{a=\"b\",host=\"h\",le=\"+Inf\"} 1\n"
	 "x_seconds_sum{a=\"b\",host=\"h\"} 0.000007\nx_seconds_count{a=\"b\",host=\"h\"} 1\n"},
	{"nothing yet, sparse", "a=\"b\"", "host=\"h\"", true, 0, "", ""},
	{"nothing yet", "", NULL, false, 0, "x_total 0\n",
	 "x_seconds_bucket{le=\"0.001\"} 0\nx_seconds_bucket{le=\"+Inf\"} 0\nx_seconds_sum 0\nx_seconds_count 0\n"},
};

// Registered only now, and the last of their kinds: what came before isn't looked at.
static void test_form(void **state)
{
	const struct form_case *c = *state;
	static struct metric_series counter_series[1];
	static struct metric counter = {"x_total", "X.", METRIC_COUNTER, counter_series, 1, NULL, common, false};
	static struct metric_histogram_series histogram_series[1];
	static struct metric_histogram histogram = {"x_seconds", "X.", ONE_BOUND, 1,    histogram_series,
												1,           NULL, common,    false};
	memset(histogram_series, 0, sizeof(histogram_series));
	counter_series[0].labels = c->labels;
	histogram_series[0].labels = c->labels;
	common_labels = c->common;
	counter.sparse = c->sparse;
	histogram.sparse = c->sparse;
	metrics_register(&counter);
	metrics_register_histogram(&histogram);
	metric_set(&counter_series[0], c->value);
	if (c->value != 0)
		metric_observe_us(&histogram, &histogram_series[0], (uint64_t)c->value);
	struct buf out = BUF_INIT(TEXT_MAX);
	metrics_write(&out);
	char *want = NULL;
	assert_true(asprintf(&want, "# TYPE x_total counter\n%s#", c->series) > 0);
	if (strstr(buf_z(&out), want) == NULL)
		fail_msg("no %s in %s", want, buf_z(&out));
	free(want);
	assert_true(asprintf(&want, "# TYPE x_seconds histogram\n%s#", c->histogram) > 0);
	if (strstr(buf_z(&out), want) == NULL)
		fail_msg("no %s in %s", want, buf_z(&out));
	free(want);
	buf_release(&out);
}

static void test_build(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(TEXT_MAX);
	metrics_write(&out);
	assert_null(strstr(buf_z(&out), "coco_build_info"));
	metrics_set_program("coco-test");
	buf_clear(&out);
	metrics_write(&out);
	assert_non_null(strstr(buf_z(&out), "\ncoco_build_info{program=\"coco-test\",version=\"" COCO_VERSION "\"} 1\n"));
	buf_release(&out);
}

static void test_threads_lose_nothing(void **state)
{
	(void)state;
	reset();
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&requests_series[1].value), THREADS * ADDS);
	assert_int_equal((int)value_of("test_wait_seconds_count{kind=\"a\"}"), THREADS * ADDS);
}

static int register_all(void **state)
{
	(void)state;
	latency.bounds_us = METRIC_BOUNDS_LATENCY_US;
	latency.nbounds = METRIC_BOUNDS_LATENCY_N;
	metrics_register(&requests);
	metrics_register(&open_now);
	metrics_register(&nothing);
	metrics_register_histogram(&waits);
	metrics_register_histogram(&latency);
	return 0;
}

// cmocka wants a pointer to data that isn't const.
static void *loose(const void *p)
{
	union {
		const void *in;
		void *out;
	} u = {.in = p};
	return u.out;
}

int main(void)
{
	static struct CMUnitTest tests[NELEMS(BUCKETS) + NELEMS(process_cases) + NELEMS(forms) + 9];
	size_t n = 0;
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_exposition);
	for (size_t i = 0; i < NELEMS(BUCKETS); i++)
		tests[n++] =
			(struct CMUnitTest){.name = BUCKETS[i].name, .test_func = test_bucket, .initial_state = loose(&BUCKETS[i])};
	for (size_t i = 0; i < NELEMS(process_cases); i++)
		tests[n++] = (struct CMUnitTest){
			.name = process_cases[i].name, .test_func = test_process_value, .initial_state = &process_cases[i]};
	for (size_t i = 0; i < NELEMS(forms); i++)
		tests[n++] =
			(struct CMUnitTest){.name = forms[i].name, .test_func = test_form, .initial_state = loose(&forms[i])};
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_build);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_too_many_bounds_stay_inside);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_latency_bounds);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_registering_twice_counts_once);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_form_of_each_line);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_process_values_agree);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_overflow_is_remembered);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_threads_lose_nothing);
	return cmocka_run_group_tests_name("metrics", tests, register_all, NULL);
}
