#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/kube/lines.h"

#define LIMIT 8

// What came, as "[event][event]"; stop: false is returned for that many-th event.
struct seen {
	struct buf text;
	size_t n, stop;
};

static bool note(void *ctx, struct str event)
{
	struct seen *seen = ctx;
	buf_addc(&seen->text, '[');
	buf_add_str(&seen->text, event);
	buf_addc(&seen->text, ']');
	return ++seen->n != seen->stop;
}

// A copy of exactly its size, so that a read beyond it is seen.
static struct str exact(const char *p, size_t n)
{
	char *copy = malloc(n > 0 ? n : 1);
	assert_non_null(copy);
	memcpy(copy, p, n);
	return (struct str){copy, n};
}

struct feed_case {
	const char *name;
	const char *pieces[8]; // ends in NULL
	const char *want;
	size_t stop;
	int rc; // of the last piece; those before give 0
	bool partial;
};

static struct feed_case feed_cases[] = {
	{"a line", {"abc\n"}, "[abc]", 0, 0, false},
	{"several at once", {"a\nbc\nd\n"}, "[a][bc][d]", 0, 0, false},
	{"one in pieces", {"a", "b", "c", "\n"}, "[abc]", 0, 0, false},
	{"the end of one with the next whole and another's start", {"ab", "c\nde\nf", "g\n"}, "[abc][de][fg]", 0, 0, false},
	{"without its newline it isn't whole", {"a\nbc"}, "[a]", 0, 0, true},
	{"empty lines are none", {"\n\na\n\n", "\n", "b\n"}, "[a][b]", 0, 0, false},
	{"nothing", {""}, "", 0, 0, false},
	{"nothing in the middle of a line", {"a", "", "b\n"}, "[ab]", 0, 0, false},
	{"of the maximum", {"12345678\n"}, "[12345678]", 0, 0, false},
	{"of the maximum, in pieces", {"1234", "5678", "\n"}, "[12345678]", 0, 0, false},
	{"the maximum is one event's", {"1234567\n1234567\n", "1234567\n"}, "[1234567][1234567][1234567]", 0, 0, false},
	{"above the maximum", {"123456789\n"}, "", 0, -EFBIG, false},
	{"above the maximum, in pieces", {"1234", "56789\n"}, "", 0, -EFBIG, true},
	{"above the maximum, not ended yet", {"1234", "56789"}, "", 0, -EFBIG, true},
	{"above the maximum after a good one", {"a\n123456789\n"}, "[a]", 0, -EFBIG, false},
	{"stopped at the first", {"a\nb\n"}, "[a]", 1, -ECANCELED, false},
	{"stopped at one that came in pieces", {"a\nb", "c\nd\n"}, "[a][bc]", 2, -ECANCELED, false},
};

static void test_feed(void **state)
{
	const struct feed_case *c = *state;
	CLEANUP(lines_release) struct lines l = LINES_INIT(LIMIT);
	CLEANUP(buf_release) struct buf text = BUF_INIT(4096);
	struct seen seen = {text, 0, c->stop};
	for (size_t i = 0; c->pieces[i] != NULL; i++) {
		struct str piece = exact(c->pieces[i], strlen(c->pieces[i]));
		int rc = lines_feed(&l, piece, note, &seen);
		free((char *)(uintptr_t)piece.p);
		assert_int_equal(rc, c->pieces[i + 1] == NULL ? c->rc : 0);
	}
	text = seen.text;
	assert_string_equal(buf_z(&text), c->want);
	assert_int_equal(lines_partial(&l), c->partial);
}

struct fragment {
	const char *text;
	bool first, last;
};

struct fragment_case {
	const char *name;
	struct fragment fragments[8]; // ends in text NULL
	const char *want;
	size_t stop;
	int rc;
	bool partial;
};

static struct fragment_case fragment_cases[] = {
	{"one", {{"abc", true, true}}, "[abc]", 0, 0, false},
	{"two messages", {{"a", true, true}, {"b", true, true}}, "[a][b]", 0, 0, false},
	{"three fragments", {{"a", true, false}, {"b", false, false}, {"c", false, true}}, "[abc]", 0, 0, false},
	{"newlines are text", {{"a\n", true, false}, {"\nb\n", false, true}}, "[a\n\nb\n]", 0, 0, false},
	{"an empty last fragment", {{"a", true, false}, {"", false, true}}, "[a]", 0, 0, false},
	{"an empty first fragment", {{"", true, false}, {"a", false, true}}, "[a]", 0, 0, false},
	{"an empty message is none", {{"", true, true}, {"a", true, true}}, "[a]", 0, 0, false},
	{"an empty message of two fragments is none", {{"", true, false}, {"", false, true}}, "", 0, 0, false},
	{"not ended", {{"a", true, true}, {"b", true, false}}, "[a]", 0, 0, true},
	{"begun, with nothing yet", {{"", true, false}}, "", 0, 0, true},
	{"of the maximum", {{"1234", true, false}, {"5678", false, true}}, "[12345678]", 0, 0, false},
	{"above the maximum", {{"1234", true, false}, {"56789", false, true}}, "", 0, -EFBIG, true},
	{"above the maximum in one", {{"123456789", true, true}}, "", 0, -EFBIG, false},
	{"begins in another", {{"a", true, false}, {"b", true, true}}, "", 0, -EPROTO, true},
	{"goes on without having begun", {{"a", true, true}, {"b", false, true}}, "[a]", 0, -EPROTO, false},
	{"stopped", {{"a", true, false}, {"b", false, true}}, "[ab]", 1, -ECANCELED, false},
};

static void test_fragment(void **state)
{
	const struct fragment_case *c = *state;
	CLEANUP(lines_release) struct lines l = LINES_INIT(LIMIT);
	CLEANUP(buf_release) struct buf text = BUF_INIT(4096);
	struct seen seen = {text, 0, c->stop};
	for (const struct fragment *f = c->fragments; f->text != NULL; f++) {
		struct str piece = exact(f->text, strlen(f->text));
		int rc = lines_fragment(&l, piece, f->first, f->last, note, &seen);
		free((char *)(uintptr_t)piece.p);
		assert_int_equal(rc, f[1].text == NULL ? c->rc : 0);
	}
	text = seen.text;
	assert_string_equal(buf_z(&text), c->want);
	assert_int_equal(lines_partial(&l), c->partial);
}

static bool count(void *ctx, struct str event)
{
	*(size_t *)ctx += event.n;
	return true;
}

static void test_large_memory_is_given_back(void **state)
{
	(void)state;
	CLEANUP(lines_release) struct lines l = LINES_INIT((size_t)1024 * 1024);
	static char large[LINES_KEEP];
	memset(large, 'x', sizeof(large));
	size_t got = 0;
	for (int i = 0; i < 4; i++)
		assert_int_equal(lines_feed(&l, (struct str){large, sizeof(large)}, count, &got), 0);
	assert_int_equal(lines_feed(&l, STR("\n"), count, &got), 0);
	assert_int_equal(got, 4 * sizeof(large));
	assert_int_equal(l.rest.cap, 0);
	// A small one's stays for the next.
	assert_int_equal(lines_feed(&l, STR("ab"), count, &got), 0);
	assert_int_equal(lines_feed(&l, STR("\n"), count, &got), 0);
	assert_true(l.rest.cap > 0);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, feed_cases, test_feed);
	ADD_TABLE(&t, fragment_cases, test_fragment);
	tests_add(&t, "what a large event took is given back", test_large_memory_is_given_back, NULL);
	return tests_run("lines", &t);
}
