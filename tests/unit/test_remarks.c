#include <stdio.h>

#include "cases.h"
#include "common/error.h"
#include "common/mem.h"
#include "controller/remarks.h"

#define ROWS 5

static struct worst_case {
	const char *name;
	struct {
		enum remark_level level;
		enum remark_about about;
		const char *message; // NULL after the last
	} rows[ROWS];
	enum remark_level level; // what is asked for
	int about;
	const char *want; // NULL for none
} worst_cases[] = {
	{"none", {{0}}, REMARK_NOTE, -1, NULL},
	{"the worst",
	 {{REMARK_NOTE, ABOUT_SPEC, "a"}, {REMARK_ERROR, ABOUT_ROUTE, "b"}, {REMARK_WARNING, ABOUT_SPEC, "c"}},
	 REMARK_NOTE,
	 -1,
	 "b"},
	{"the first of those",
	 {{REMARK_NOTE, ABOUT_SPEC, "a"}, {REMARK_WARNING, ABOUT_ROUTE, "b"}, {REMARK_WARNING, ABOUT_SPEC, "c"}},
	 REMARK_NOTE,
	 -1,
	 "b"},
	{"of a condition",
	 {{REMARK_ERROR, ABOUT_SPEC, "a"}, {REMARK_NOTE, ABOUT_ROUTE, "b"}, {REMARK_WARNING, ABOUT_ROUTE, "c"}},
	 REMARK_NOTE,
	 ABOUT_ROUTE,
	 "c"},
	{"of a condition that has none", {{REMARK_ERROR, ABOUT_SPEC, "a"}}, REMARK_NOTE, ABOUT_CERTIFICATE, NULL},
	{"of the first condition",
	 {{REMARK_ERROR, ABOUT_ROUTE, "a"}, {REMARK_NOTE, ABOUT_SPEC, "b"}},
	 REMARK_NOTE,
	 ABOUT_SPEC,
	 "b"},
	{"of at least that level",
	 {{REMARK_NOTE, ABOUT_SPEC, "a"}, {REMARK_WARNING, ABOUT_SPEC, "b"}},
	 REMARK_WARNING,
	 -1,
	 "b"},
	{"none of that level", {{REMARK_NOTE, ABOUT_SPEC, "a"}, {REMARK_WARNING, ABOUT_SPEC, "b"}}, REMARK_ERROR, -1, NULL},
};

static void add_rows(const struct worst_case *c, struct remarks *r)
{
	for (size_t i = 0; i < ROWS && c->rows[i].message != NULL; i++)
		remarks_add(r, c->rows[i].level, c->rows[i].about, "Reason", "%s", c->rows[i].message);
}

static void assert_worst(const struct worst_case *c, const struct remarks *r)
{
	const struct remark *worst = remarks_worst(r, c->level, c->about);
	assert_text(worst != NULL ? worst->message : NULL, c->want);
}

static void test_worst(void **state)
{
	const struct worst_case *c = *state;
	CLEANUP_REMARKS struct remarks r = {0};
	CLEANUP_REMARKS struct remarks copies = {0};
	add_rows(c, &r);
	assert_worst(c, &r);
	remarks_append(&copies, &r);
	assert_int_equal(copies.n, r.n);
	assert_worst(c, &copies);
}

static void test_copies(void **state)
{
	(void)state;
	CLEANUP_REMARKS struct remarks all = {0};
	struct remarks r = {0};
	remarks_add(&all, REMARK_NOTE, ABOUT_SPEC, "First", "%s", "a");
	remarks_add(&r, REMARK_ERROR, ABOUT_ROUTE, "Second", "100%% of %d", 7);
	remarks_append(&all, &r);
	remarks_release(&r);
	assert_int_equal(r.n, 0);
	assert_int_equal(all.n, 2);
	assert_string_equal(all.v[0].message, "a");
	assert_int_equal(all.v[1].level, REMARK_ERROR);
	assert_int_equal(all.v[1].about, ABOUT_ROUTE);
	assert_string_equal(all.v[1].reason, "Second");
	assert_string_equal(all.v[1].message, "100% of 7");
}

static void test_text(void **state)
{
	(void)state;
	CLEANUP_REMARKS struct remarks r = {0};
	char bytes[4 * ERROR_MSG_MAX];
	memset(bytes, 'x', sizeof(bytes) - 1);
	bytes[sizeof(bytes) - 1] = '\0';
	remarks_add(&r, REMARK_NOTE, ABOUT_SPEC, "Reason", "%s", bytes);
	remarks_add(&r, REMARK_NOTE, ABOUT_SPEC, "Reason",
				"a\nb\xff"
				"c");
	assert_int_equal(strlen(r.v[0].message), 2 * ERROR_MSG_MAX - 1);
	assert_string_equal(r.v[1].message, "a?b?c");
}

// As many as fit, of all levels.
static void fill(struct remarks *r)
{
	for (size_t i = 0; i < REMARKS_MAX; i++)
		remarks_add(r, (enum remark_level)(i % 3), ABOUT_SPEC, "Reason", "%zu", i);
}

static size_t count(const struct remarks *r, enum remark_level level)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		n += r->v[i].level == level;
	return n;
}

// Their messages are numbers, in the order in which they were added.
static void assert_order(const struct remarks *r)
{
	for (size_t i = 1; i < r->n; i++)
		assert_true(strtol(r->v[i - 1].message, NULL, 10) < strtol(r->v[i].message, NULL, 10));
}

static struct full_case {
	const char *name;
	enum remark_level level; // of what is added to a full list
	size_t added;
	size_t notes, warnings, errors; // what is there then
	const char *last;               // message
} full_cases[] = {
	{"full: a note is dropped", REMARK_NOTE, 3, 22, 21, 21, "63"},
	{"full: a warning takes a note's place", REMARK_WARNING, 1, 21, 22, 21, "1000"},
	{"full: an error takes a note's place", REMARK_ERROR, 2, 20, 21, 23, "1001"},
	{"full: warnings take no warning's", REMARK_WARNING, 40, 0, 43, 21, "1021"},
	{"full: errors take a warning's", REMARK_ERROR, 30, 0, 13, 51, "1029"},
	{"full: of errors", REMARK_ERROR, 100, 0, 0, 64, "1042"},
};

static void test_full(void **state)
{
	const struct full_case *c = *state;
	CLEANUP_REMARKS struct remarks r = {0};
	fill(&r);
	for (size_t i = 0; i < c->added; i++)
		remarks_add(&r, c->level, ABOUT_SPEC, "Reason", "%zu", 1000 + i);
	assert_int_equal(r.n, REMARKS_MAX);
	assert_int_equal(count(&r, REMARK_NOTE), c->notes);
	assert_int_equal(count(&r, REMARK_WARNING), c->warnings);
	assert_int_equal(count(&r, REMARK_ERROR), c->errors);
	assert_string_equal(r.v[REMARKS_MAX - 1].message, c->last);
	assert_order(&r);
	// The first error is the worst all the time.
	assert_string_equal(remarks_worst(&r, REMARK_NOTE, -1)->message, "2");
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, worst_cases, test_worst);
	tests_add(&tests, "copies", test_copies, NULL);
	tests_add(&tests, "texts are cut, and cleaned", test_text, NULL);
	ADD_TABLE(&tests, full_cases, test_full);
	return tests_run("remarks", &tests);
}
