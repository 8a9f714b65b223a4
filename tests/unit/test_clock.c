#include <errno.h>

#include "cases.h"
#include "common/clock.h"

struct good_case {
	const char *name; // the text itself
	int64_t us;
	const char *micros; // as we write it; NULL: the text
};

static struct good_case good_cases[] = {
	{"1970-01-01T00:00:00.000000Z", 0, NULL},
	{"2026-01-02T03:04:05.000006Z", 1767323045000006, NULL},
	{"1969-12-31T23:59:59.999999Z", -1, NULL},
	{"2000-02-29T12:00:00.000000Z", 951825600000000, NULL},
	{"2100-02-28T23:59:59.500000Z", 4107542399500000, NULL},
	{"9999-12-31T23:59:59.999999Z", 253402300799999999, NULL},
	{"0000-01-01T00:00:00.000000Z", -62167219200000000, NULL},
	{"2026-01-02T03:04:05Z", 1767323045000000, "2026-01-02T03:04:05.000000Z"},
	{"2026-01-02t03:04:05z", 1767323045000000, "2026-01-02T03:04:05.000000Z"},
	{"2026-01-02T03:04:05.1Z", 1767323045100000, "2026-01-02T03:04:05.100000Z"},
	{"2026-01-02T03:04:05.12345678901234567890Z", 1767323045123456, "2026-01-02T03:04:05.123456Z"},
	{"2026-01-02T03:04:05.0000009Z", 1767323045000000, "2026-01-02T03:04:05.000000Z"},
	{"2026-01-02T03:04:05+02:30", 1767314045000000, "2026-01-02T00:34:05.000000Z"},
	{"2026-01-02T03:04:05.5-23:59", 1767409385500000, "2026-01-03T03:03:05.500000Z"},
	{"2026-01-02T03:04:05-00:00", 1767323045000000, "2026-01-02T03:04:05.000000Z"},
	{"2016-12-31T23:59:60Z", 1483228800000000, "2017-01-01T00:00:00.000000Z"},
};

static void test_good(void **state)
{
	const struct good_case *c = *state;
	char text[CLOCK_TEXT_MAX];
	int64_t us = -7;
	assert_int_equal(clock_parse(c->name, &us), 0);
	if (us != c->us)
		fail_msg("%s: got %lld, want %lld", c->name, (long long)us, (long long)c->us);
	clock_text(us, 1, text);
	assert_string_equal(text, c->micros != NULL ? c->micros : c->name);
	clock_text(us, 0, text);
	assert_memory_equal(text, c->micros != NULL ? c->micros : c->name, strlen("2026-01-02T03:04:05"));
	assert_string_equal(text + strlen("2026-01-02T03:04:05"), "Z");
}

struct bad_case {
	const char *name; // the text itself
};

static struct bad_case bad_cases[] = {
	{""},
	{"2026"},
	{"2026-01-02"},
	{"2026-01-02T03:04"},
	{"2026-01-02T03:04:05"},
	{"2026-01-02 03:04:05Z"},
	{"2026-01-02T03:04:05.Z"},
	{"2026-01-02T03:04:05,5Z"},
	{"2026-01-02T03:04:05ZZ"},
	{"2026-01-02T03:04:05Z "},
	{" 2026-01-02T03:04:05Z"},
	{"2026-1-02T03:04:05Z"},
	{"+2026-01-02T03:04:05Z"},
	{"12026-01-02T03:04:05Z"},
	{"-026-01-02T03:04:05Z"},
	{"2026-00-02T03:04:05Z"},
	{"2026-13-02T03:04:05Z"},
	{"2026-01-00T03:04:05Z"},
	{"2026-01-32T03:04:05Z"},
	{"2026-04-31T03:04:05Z"},
	{"2026-02-29T03:04:05Z"},
	{"2100-02-29T03:04:05Z"},
	{"2026-01-02T24:00:00Z"},
	{"2026-01-02T03:60:05Z"},
	{"2026-01-02T03:04:61Z"},
	{"2026-01-02T03:04:05+2:30"},
	{"2026-01-02T03:04:05+0230"},
	{"2026-01-02T03:04:05+24:00"},
	{"2026-01-02T03:04:05+02:60"},
	{"2026-01-02T03:04:05+02"},
};

static void test_bad(void **state)
{
	const struct bad_case *c = *state;
	int64_t us = -7;
	assert_int_equal(clock_parse(c->name, &us), -EINVAL);
	assert_true(us == -7);
}

// The farthest times are still text that ends within its room.
static void test_extremes(void **state)
{
	(void)state;
	char text[CLOCK_TEXT_MAX];
	clock_text(INT64_MAX, 1, text);
	assert_string_equal(text, "294247-01-10T04:00:54.775807Z");
	clock_text(INT64_MIN + 1000000, 1, text);
	assert_string_equal(text, "-290308-12-21T19:59:06.224192Z");
	clock_text(INT64_MIN, 1, text);
	assert_string_equal(text, "-290308-12-21T19:59:05.224192Z");
}

static void test_real(void **state)
{
	(void)state;
	int64_t built = 0;
	assert_int_equal(clock_parse("2024-01-01T00:00:00Z", &built), 0);
	assert_true(clock_wall_ms(&clock_real) > built / 1000);
	int64_t before = clock_mono_ms(&clock_real);
	assert_true(before > 0);
	assert_true(clock_mono_ms(&clock_real) >= before);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, good_cases, test_good);
	ADD_TABLE(&t, bad_cases, test_bad);
	tests_add(&t, "the farthest times", test_extremes, NULL);
	tests_add(&t, "the machine's clock", test_real, NULL);
	return tests_run("clock", &t);
}
