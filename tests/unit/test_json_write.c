#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/json_write.h"

struct write_case {
	const char *name;
	struct str text;
	const char *want;
};

#define TEXT(t)          \
	{                    \
		t, sizeof(t) - 1 \
	}
#define BAD "\xEF\xBF\xBD"

static struct write_case write_cases[] = {
	{"write: absent", {NULL, 0}, "\"\""},
	{"write: empty", TEXT(""), "\"\""},
	{"write: plain", TEXT("a b/c"), "\"a b/c\""},
	{"write: quote and backslash", TEXT("\"a\\\""), "\"\\\"a\\\\\\\"\""},
	{"write: newline", TEXT("a\nb\n"), "\"a\\nb\\n\""},
	{"write: control characters", TEXT("\x01\t\r\x1F\x7F"), "\"\\u0001\\u0009\\u000d\\u001f\x7F\""},
	{"write: NUL", TEXT("a\0b"), "\"a\\u0000b\""},
	{"write: UTF-8", TEXT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
	{"write: not UTF-8",
	 TEXT("a\xFF"
		  "b\xC3"),
	 "\"a" BAD "b" BAD "\""},
	{"write: cut character", TEXT("\xE2\x82"), "\"" BAD BAD "\""},
	{"write: overlong", TEXT("\xC0\xAF"), "\"" BAD BAD "\""},
	{"write: surrogate", TEXT("\xED\xA0\x80"), "\"" BAD BAD BAD "\""},
};

static void test_write(void **state)
{
	const struct write_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(1000);
	buf_addz(&out, "=");
	json_write_string(&out, c->text);
	assert_string_equal(buf_z(&out) + 1, c->want);
	json_auto_t *read = json_loadb(out.p + 1, out.n - 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(read);
}

static void test_max(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(5);
	json_write_string(&out, STR("abc"));
	assert_true(buf_ok(&out));
	buf_clear(&out);
	json_write_string(&out, STR("abcd"));
	assert_false(buf_ok(&out));
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, write_cases, test_write);
	tests_add(&t, "write: maximum", test_max, NULL);
	return tests_run("json_write", &t);
}
