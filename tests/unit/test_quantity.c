// Known answers were computed with exact fractions, not by this program.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/mem.h"
#include "common/quantity.h"

struct good_case {
	const char *name; // the text itself
	int64_t whole;
	int64_t milli;
};

static struct good_case good_cases[] = {
	{"0", 0, 0},
	{"00", 0, 0},
	{"-0", 0, 0},
	{"0.0", 0, 0},
	{"1", 1, 1000},
	{"17", 17, 17000},
	{"007", 7, 7000},
	{"1e9", 1000000000, 1000000000000},
	{"128974848", 128974848, 128974848000},
	{"129M", 129000000, 129000000000},
	{"129e6", 129000000, 129000000000},
	{"123Mi", 128974848, 128974848000},
	{"1.5Gi", 1610612736, 1610612736000},
	{"100m", 1, 100},
	{"2E9", 2000000000, 2000000000000},
	{"1e3", 1000, 1000000},
	{"1E3", 1000, 1000000},
	{"1e+3", 1000, 1000000},
	{"1e-3", 1, 1},
	{"5.", 5, 5000},
	{".5", 1, 500},
	{"+5", 5, 5000},
	{"5.Ki", 5120, 5120000},
	{".5Ki", 512, 512000},
	{"0.5Mi", 524288, 524288000},
	{"+1Gi", 1073741824, 1073741824000},
	{"-1Gi", -1073741824, -1073741824000},
	{"1E", 1000000000000000000, 9223372036854775807},
	{"1200e6", 1200000000, 1200000000000},
	{"100500m", 101, 100500},
	{"1395864371200m", 1395864372, 1395864371200},
	{"1k", 1000, 1000000},
	{"1M", 1000000, 1000000000},
	{"1G", 1000000000, 1000000000000},
	{"1T", 1000000000000, 1000000000000000},
	{"1P", 1000000000000000, 1000000000000000000},
	{"1Ki", 1024, 1024000},
	{"1Mi", 1048576, 1048576000},
	{"1Gi", 1073741824, 1073741824000},
	{"1Ti", 1099511627776, 1099511627776000},
	{"1Pi", 1125899906842624, 1125899906842624000},
	{"1Ei", 1152921504606846976, 9223372036854775807},
	{"7Ei", 8070450532247928832, 9223372036854775807},
	{"8Ei", 9223372036854775807, 9223372036854775807},
	{"9E", 9000000000000000000, 9223372036854775807},
	{"10E", 9223372036854775807, 9223372036854775807},
	{"0.1Ei", 115292150460684698, 9223372036854775807},
	{"99999999999999999999", 9223372036854775807, 9223372036854775807},
	{"9223372036854775806", 9223372036854775806, 9223372036854775807},
	{"9223372036854775807", 9223372036854775807, 9223372036854775807},
	{"9223372036854775808", 9223372036854775807, 9223372036854775807},
	{"-9223372036854775807", -9223372036854775807, -9223372036854775807},
	{"-9223372036854775808", -9223372036854775807, -9223372036854775807},
	{"-99E", -9223372036854775807, -9223372036854775807},
	{"9223372036854775806.5", 9223372036854775807, 9223372036854775807},
	{"9223372036854775807.1", 9223372036854775807, 9223372036854775807},
	{"1n", 1, 1},
	{"1u", 1, 1},
	{"1m", 1, 1},
	{"999m", 1, 999},
	{"1000m", 1, 1000},
	{"1001m", 2, 1001},
	{"-1m", -1, -1},
	{"-1001m", -2, -1001},
	{"1000000000n", 1, 1000},
	{"1000000001n", 2, 1001},
	{"1000000u", 1, 1000},
	{"1000001u", 2, 1001},
	{"1e18", 1000000000000000000, 9223372036854775807},
	{"1e19", 9223372036854775807, 9223372036854775807},
	{"1e1000", 9223372036854775807, 9223372036854775807},
	{"1e99999999999999999999", 9223372036854775807, 9223372036854775807},
	{"1e-1000", 1, 1},
	{"1e-99999999999999999999", 1, 1},
	{"-1e99999", -9223372036854775807, -9223372036854775807},
	{"0e99999", 0, 0},
	{"0.000000000000000000000000000001", 1, 1},
	{"1.0000000000000000000001", 2, 1001},
	{"0.00000000000000000001Ei", 1, 12},
	{"1.1Ki", 1127, 1126400},
	{"1.001Ki", 1026, 1025024},
	{"0.9999999999999999999999Ki", 1024, 1024000},
	{"123456789012345678901n", 123456789013, 123456789012346},
	{"0000000000000000000000000001", 1, 1000},
	{"10000000000000000000000e-22", 1, 1000},
	{"7.9999999999999999999Ei", 9223372036854775807, 9223372036854775807},
	{"3.3333333333333333333333Ti", 3665038759254, 3665038759253334},
	{"9007199254740993", 9007199254740993, 9007199254740993000},
	{"1.0000000000000000001", 2, 1001},
};

// Values are printed as decimal numbers when they differ.
static void assert_number(const char *text, int64_t got, int64_t want)
{
	if (got != want)
		fail_msg("%s: got %lld, want %lld", text, (long long)got, (long long)want);
}

static void check(struct str text, const char *shown, int64_t whole, int64_t milli)
{
	struct error err = {0};
	int64_t got = -7;
	assert_int_equal(quantity_parse(text, &got, &err), 0);
	assert_number(shown, got, whole);
	assert_int_equal(quantity_parse_milli(text, &got, &err), 0);
	assert_number(shown, got, milli);
	assert_string_equal(err.msg, "");
}

static void test_good(void **state)
{
	const struct good_case *c = *state;
	check(str_from(c->name), c->name, c->whole, c->milli);
}

// Digits beyond all precision, and exponents that bring them back.
struct long_case {
	const char *name;
	const char *before;
	size_t zeros;
	const char *after;
	int64_t whole, milli;
};

static struct long_case long_cases[] = {
	{"long: 10^30 e-30", "1", 30, "e-30", 1, 1000},
	{"long: a fraction and its exponent", "0.", 1500, "1e1501", 1, 1000},
	{"long: a fraction one smaller", "0.", 1500, "1e1500", 1, 100},
	{"long: an integer and its exponent", "1", 1500, "e-1501", 1, 100},
	{"long: an exponent of five digits", "0.", 12000, "1e12001", 1, 1000},
	{"long: an exponent of six digits", "1", 100000, "e-100000", 1, 1000},
	{"long: zeros only", "0.", 5000, "", 0, 0},
	{"long: leading zeros", "", 5000, "12Ki", 12288, 12288000},
	{"long: a million digits", "1", 1000000, "", INT64_MAX, INT64_MAX},
};

static void test_long(void **state)
{
	const struct long_case *c = *state;
	CLEANUP_BUF
	struct buf text = BUF_INIT(2000000);
	buf_addz(&text, c->before);
	for (size_t i = 0; i < c->zeros; i++)
		buf_addc(&text, '0');
	buf_addz(&text, c->after);
	check(buf_str(&text), c->name, c->whole, c->milli);
}

struct bad_case {
	const char *name; // the text itself
};

static struct bad_case bad_cases[] = {
	{"."},    {"+"},     {"-"},    {"Gi"},   {"m"},     {"1 Gi"}, {" 1"},    {"1 "},   {"1Gi\n"},     {"1gi"},
	{"1KI"},  {"1ki"},   {"1K"},   {"1mi"},  {"1e"},    {"1E+"},  {"1e+"},   {"1e-"},  {"1e+-3"},     {"1e1.5"},
	{"1EE3"}, {"1e3Ki"}, {"1e3m"}, {"0x10"}, {"1_000"}, {"1,5"},  {"1.2.3"}, {"1..2"}, {"..5"},       {"--1"},
	{"+-1"},  {"1Kib"},  {"1KiB"}, {"1i"},   {"1Gi1"},  {"NaN"},  {"inf"},   {"-inf"}, {"1\xC2\xB5"}, {"\xD9\xA1"},
};

static void assert_refused(struct str text)
{
	struct error err = {0};
	int64_t got = -7;
	CLEANUP_FREE
	char *want = xasprintf("\"%.*s\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", STR_ARG(text));
	text_sanitize(want);
	assert_int_equal(quantity_parse(text, &got, &err), -EINVAL);
	assert_string_equal(err.msg, want);
	assert_int_equal(err.code, EINVAL);
	assert_int_equal(quantity_parse_milli(text, &got, &err), -EINVAL);
	assert_number(want, got, -7);
}

static void test_bad(void **state)
{
	const struct bad_case *c = *state;
	assert_refused(str_from(c->name));
}

static void test_nul(void **state)
{
	(void)state;
	assert_refused((struct str){"1\0Gi", 4});
	assert_refused((struct str){NULL, 0});
	assert_refused(STR(""));
}

// A slice ends where it ends, whatever follows.
static void test_slice(void **state)
{
	(void)state;
	check((struct str){"12Gi", 2}, "12", 12, 12000);
	check((struct str){"12Gi", 1}, "1", 1, 1000);
}

struct write_case {
	const char *name; // the text itself
	int64_t bytes;
};

static struct write_case write_cases[] = {
	{"0", 0},
	{"17", 17},
	{"1023", 1023},
	{"1Ki", 1024},
	{"1025", 1025},
	{"1536Mi", 1536 * MIB},
	{"8Gi", 8 * GIB},
	{"1Ti", 1024 * GIB},
	{"1Pi", 1024 * 1024 * GIB},
	{"7Ei", (int64_t)7 << 60},
	{"9223372036854775807", INT64_MAX},
	{"-1Ki", -1024},
	{"-8Ei", INT64_MIN},
};

static void test_write(void **state)
{
	const struct write_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(64);
	buf_addz(&out, "=");
	quantity_write(c->bytes, &out);
	assert_string_equal(buf_z(&out) + 1, c->name);
	if (c->bytes > -INT64_MAX)
		check(str_from(c->name), c->name, c->bytes,
			  __builtin_mul_overflow_p(c->bytes, 1000, (int64_t)0) ? INT64_MAX : c->bytes * 1000);
}

static void test_arithmetic(void **state)
{
	(void)state;
	assert_number("add", quantity_add(1, 2), 3);
	assert_number("add", quantity_add(INT64_MAX - 1, 1), INT64_MAX);
	assert_number("add", quantity_add(INT64_MAX, INT64_MAX), INT64_MAX);
	assert_number("twice", quantity_twice(INT64_MAX / 2 + 1), INT64_MAX);
	assert_number("twice", quantity_twice(21), 42);
	assert_number("round up", quantity_round_up(0, MIB), 0);
	assert_number("round up", quantity_round_up(1, MIB), MIB);
	assert_number("round up", quantity_round_up(MIB, MIB), MIB);
	assert_number("round up", quantity_round_up(MIB + 1, MIB), 2 * MIB);
	assert_number("round up", quantity_round_up(INT64_MAX, MIB), INT64_MAX / MIB * MIB);
	assert_number("round up", quantity_round_up(INT64_MAX - 1, 1), INT64_MAX - 1);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, good_cases, test_good);
	ADD_TABLE(&t, long_cases, test_long);
	ADD_TABLE(&t, bad_cases, test_bad);
	ADD_TABLE(&t, write_cases, test_write);
	tests_add(&t, "a NUL byte; no text", test_nul, NULL);
	tests_add(&t, "a slice ends where it ends", test_slice, NULL);
	tests_add(&t, "sums are capped", test_arithmetic, NULL);
	return tests_run("quantity", &t);
}
