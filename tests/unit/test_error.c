#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/error.h"

static void fill(char *to, size_t n, const char *end)
{
	memset(to, 'a', n);
	(void)snprintf(to + n, 8, "%s", end);
}

static void test_set(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(error_set(&err, ENOENT, "%s is %d", "a", 1), -ENOENT);
	assert_int_equal(err.code, ENOENT);
	assert_string_equal(err.msg, "a is 1");
}

static void test_prefix(void **state)
{
	(void)state;
	struct error err;
	(void)error_set(&err, EINVAL, "c");
	assert_int_equal(error_prefix(&err, "b"), -EINVAL);
	assert_int_equal(error_prefix(&err, "%s[%d]", "a", 1), -EINVAL);
	assert_string_equal(err.msg, "a[1]: b: c");
}

// What is put in, and where a message of `fill` times "a" and that ends.
struct long_case {
	const char *name;
	size_t fill;
	const char *end;
	size_t kept; // of the "a"s
	const char *want_end;
};

static struct long_case long_cases[] = {
	{"long: just fits", ERROR_MSG_MAX - 1, "", ERROR_MSG_MAX - 1, ""},
	{"long: one too many", ERROR_MSG_MAX, "", ERROR_MSG_MAX - 4, "..."},
	{"long: a whole character before the dots", ERROR_MSG_MAX - 6, "\xC3\xA9xyzu", ERROR_MSG_MAX - 6, "\xC3\xA9..."},
	{"long: half of a character before the dots", ERROR_MSG_MAX - 5, "\xC3\xA9xyz", ERROR_MSG_MAX - 5, "..."},
	{"long: two thirds of a character before the dots", ERROR_MSG_MAX - 6, "\xE2\x82\xACxyz", ERROR_MSG_MAX - 6, "..."},
	{"long: three quarters of a character before the dots", ERROR_MSG_MAX - 7, "\xF0\x9F\x98\x80xyz", ERROR_MSG_MAX - 7,
	 "..."},
	{"long: a character cut by the end", ERROR_MSG_MAX - 2, "\xC3\xA9", ERROR_MSG_MAX - 4, "..."},
};

static void test_long(void **state)
{
	const struct long_case *c = *state;
	char text[ERROR_MSG_MAX + 16];
	char want[ERROR_MSG_MAX + 16];
	struct error err;
	fill(text, c->fill, c->end);
	fill(want, c->kept, c->want_end);
	(void)error_set(&err, EINVAL, "%s", text);
	assert_string_equal(err.msg, want);
}

static void test_long_prefix(void **state)
{
	(void)state;
	char text[ERROR_MSG_MAX + 16];
	char want[ERROR_MSG_MAX + 16];
	struct error err;
	fill(want, ERROR_MSG_MAX - 4, "...");
	fill(text, ERROR_MSG_MAX - 2, "");
	(void)error_set(&err, EINVAL, "c");
	(void)error_prefix(&err, "%s", text);
	assert_string_equal(err.msg, want);
	(void)error_set(&err, EINVAL, "c");
	fill(text, ERROR_MSG_MAX + 4, "");
	(void)error_prefix(&err, "%s", text);
	assert_string_equal(err.msg, want);
	fill(text, ERROR_MSG_MAX - 1, "");
	(void)error_set(&err, EINVAL, "%s", text);
	(void)error_prefix(&err, "a");
	(void)snprintf(want, 4, "a: ");
	want[3] = 'a';
	assert_string_equal(err.msg, want);
}

struct sanitize_case {
	const char *name;
	const char *text;
	const char *want;
};

static struct sanitize_case sanitize_cases[] = {
	{"sanitize: nothing", "", ""},
	{"sanitize: plain", "a \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "a \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
	{"sanitize: control characters", "a\x1B[31m\r\n\tb\x7F", "a?[31m???b?"},
	{"sanitize: cut after one of two", "a\xC3", "a"},
	{"sanitize: cut after one of three", "a\xE2", "a"},
	{"sanitize: cut after two of three", "a\xE2\x82", "a"},
	{"sanitize: cut after three of four", "a\xF0\x9F\x98", "a"},
	{"sanitize: only continuation bytes", "\x80\x80", "??"},
	{"sanitize: cut in the middle", "a\xE2\x82\"b\xC3\xA9", "a??\"b\xC3\xA9"},
	{"sanitize: controls of two bytes", "a\xC2\x9B\xC2\xA0", "a??\xC2\xA0"},
};

static void test_sanitize(void **state)
{
	const struct sanitize_case *c = *state;
	char text[64];
	struct error err;
	(void)snprintf(text, sizeof(text), "%s", c->text);
	text_sanitize(text);
	assert_string_equal(text, c->want);
	(void)error_set(&err, EINVAL, "%s", c->text);
	assert_string_equal(err.msg, c->want);
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "set", test_set, NULL);
	tests_add(&t, "prefix", test_prefix, NULL);
	tests_add(&t, "long: prefixes", test_long_prefix, NULL);
	ADD_TABLE(&t, long_cases, test_long);
	ADD_TABLE(&t, sanitize_cases, test_sanitize);
	return tests_run("error", &t);
}
