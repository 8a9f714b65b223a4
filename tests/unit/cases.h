// Tables that become tests: one row per case, each reported by its name.
#ifndef COCO_TESTS_UNIT_CASES_H
#define COCO_TESTS_UNIT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TESTS_MAX 512

struct tests {
	struct CMUnitTest v[TESTS_MAX];
	size_t n;
};

static inline void tests_add(struct tests *t, const char *name, CMUnitTestFunction run, void *row)
{
	if (t->n == TESTS_MAX)
		fail_msg("more than %d cases; raise TESTS_MAX", TESTS_MAX);
	t->v[t->n++] = (struct CMUnitTest){.name = name, .test_func = run, .initial_state = row};
}

// The row's type must have a member `name`.
#define ADD_TABLE(tests, table, run)                                       \
	do {                                                                   \
		for (size_t row_ = 0; row_ < COUNT(table); row_++)                 \
			tests_add((tests), (table)[row_].name, (run), &(table)[row_]); \
	} while (0)

static inline int tests_run(const char *group, struct tests *t)
{
	return _cmocka_run_group_tests(group, t->v, t->n, NULL, NULL);
}

// As assert_string_equal, but NULL is a value too.
static inline void assert_text_at(const char *got, const char *want, const char *file, int line)
{
	_assert_string_equal(got != NULL ? got : "(null)", want != NULL ? want : "(null)", file, line);
}
#define assert_text(got, want) assert_text_at((got), (want), __FILE__, __LINE__)

#endif
