#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/buf.h"

static void assert_buf(const struct buf *b, const char *want)
{
	assert_string_equal(buf_z(b), want);
	assert_int_equal(b->n, strlen(want));
	assert_true(b->cap <= b->max + 1);
}

static void test_empty(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(8);
	assert_buf(&b, "");
	assert_non_null(buf_str(&b).p);
	assert_int_equal(buf_str(&b).n, 0);
	assert_true(buf_ok(&b));
	char *text = buf_take(&b);
	assert_string_equal(text, "");
	free(text);
	buf_release(&b);
}

static void test_append(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(1000);
	buf_add(&b, "ab", 2);
	buf_add(&b, NULL, 0);
	buf_add_str(&b, (struct str){"cde", 1});
	buf_addz(&b, "d");
	buf_addc(&b, 'e');
	buf_addf(&b, "%d%s", 12, "f");
	assert_buf(&b, "abcde12f");
	buf_addf(&b, "%0500d", 7);
	assert_int_equal(b.n, 508);
	assert_int_equal(strlen(buf_z(&b)), 508);
	assert_true(buf_ok(&b));
}

// A buffer of 8 that holds "abcdef", and what is then added.
struct limit_case {
	const char *name;
	const char *added;
	bool formatted;
	const char *want;
	bool ok;
};

static struct limit_case limit_cases[] = {
	{"limit: below", "g", false, "abcdefg", true},
	{"limit: full", "gh", false, "abcdefgh", true},
	{"limit: one too many", "ghi", false, "abcdef", false},
	{"limit: nothing", "", false, "abcdef", true},
	{"limit: formatted, full", "gh", true, "abcdefgh", true},
	{"limit: formatted, one too many", "ghi", true, "abcdef", false},
	{"limit: formatted, many too many", "ghijklmnopqrstuvwxyz", true, "abcdef", false},
};

static void test_limit(void **state)
{
	const struct limit_case *c = *state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(8);
	buf_addz(&b, "abcdef");
	if (c->formatted)
		buf_addf(&b, "%s", c->added);
	else
		buf_addz(&b, c->added);
	assert_buf(&b, c->want);
	assert_int_equal(buf_ok(&b), c->ok);
}

// After an overflow nothing more comes in, though it would fit, until the buffer is cleared.
static void test_overflow_stays(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(4);
	buf_addz(&b, "abcde");
	buf_addz(&b, "a");
	buf_addf(&b, "%s", "b");
	assert_false(buf_ok(&b));
	assert_buf(&b, "");
	assert_null(buf_reserve(&b, 0));
	buf_clear(&b);
	assert_true(buf_ok(&b));
	buf_addz(&b, "abcd");
	assert_buf(&b, "abcd");
	assert_true(buf_ok(&b));
}

static void test_nothing_allowed(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(0);
	buf_addz(&b, "");
	assert_true(buf_ok(&b));
	buf_addc(&b, 'a');
	assert_false(buf_ok(&b));
	assert_buf(&b, "");
}

static void test_reserve(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(300);
	char *to = buf_reserve(&b, 300);
	assert_non_null(to);
	// Text even where nothing came: the end of a file, say.
	assert_buf(&b, "");
	memset(to, 'a', 300);
	buf_commit(&b, 3);
	assert_buf(&b, "aaa");
	assert_null(buf_reserve(&b, 298));
	assert_false(buf_ok(&b));
	buf_clear(&b);
	assert_null(buf_reserve(&b, SIZE_MAX));
}

static void test_take(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(8);
	buf_addz(&b, "abc");
	char *text = buf_take(&b);
	assert_string_equal(text, "abc");
	assert_buf(&b, "");
	assert_int_equal(b.max, 8);
	free(text);
	buf_addz(&b, "de");
	assert_buf(&b, "de");
	buf_release(&b);
	assert_buf(&b, "");
	assert_int_equal(b.max, 8);
}

// Every length around the steps by which it grows.
static void test_growth(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(5000);
	for (size_t i = 0; i < 5000; i++) {
		buf_addc(&b, (char)('a' + i % 26));
		if (b.p[i] != (char)('a' + i % 26) || b.p[i + 1] != '\0' || b.n != i + 1)
			fail_msg("at %zu", i);
	}
	for (size_t i = 0; i < 5000; i++)
		if (b.p[i] != (char)('a' + i % 26))
			fail_msg("lost %zu", i);
	assert_true(buf_ok(&b));
	buf_addc(&b, 'a');
	assert_false(buf_ok(&b));
}

// Formatted text of every length around the sizes that are formatted at once.
static void test_formatted(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf b = BUF_INIT(5000);
	char want[1101] = {0};
	for (size_t n = 0; n < 1100; n++) {
		buf_clear(&b);
		buf_addf(&b, "%s", want);
		if (strcmp(buf_z(&b), want) != 0 || b.n != n)
			fail_msg("%zu bytes: got %zu", n, b.n);
		want[n] = (char)('a' + n % 26);
	}
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "empty", test_empty, NULL);
	tests_add(&t, "append", test_append, NULL);
	tests_add(&t, "an overflow stays", test_overflow_stays, NULL);
	tests_add(&t, "nothing allowed", test_nothing_allowed, NULL);
	tests_add(&t, "reserve", test_reserve, NULL);
	tests_add(&t, "take", test_take, NULL);
	tests_add(&t, "growth", test_growth, NULL);
	tests_add(&t, "formatted", test_formatted, NULL);
	ADD_TABLE(&t, limit_cases, test_limit);
	return tests_run("buf", &t);
}
