#include <stdio.h>

#include "cases.h"
#include "common/told.h"

struct step {
	const char *text;
	int64_t at_ms;
	bool due;
};

static const struct step steps[] = {
	{"a", 0, true},      {"a", 1, false},    {"b", 1, true},       {"a", 59999, false}, {"a", 60000, true},
	{"b", 60000, false}, {"b", 60001, true}, {"a", 119999, false}, {"a", 120000, true}, {"\xff", 0, true},
};

static void test_due(void **state)
{
	(void)state;
	struct told t = TOLD_INIT;
	for (size_t i = 0; i < COUNT(steps); i++)
		if (told_due(&t, steps[i].text, steps[i].at_ms) != steps[i].due)
			fail_msg("step %zu: \"%s\" at %lld ms is%s due", i, steps[i].text, (long long)steps[i].at_ms,
					 steps[i].due ? " not" : "");
	told_release(&t);
}

static void test_bound(void **state)
{
	(void)state;
	struct told t = TOLD_INIT;
	for (int i = 0; i < 3 * TOLD_MAX; i++) {
		char text[32];
		(void)snprintf(text, sizeof(text), "text %d", i);
		assert_true(told_due(&t, text, 0));
		assert_true(json_object_size(t.when) <= TOLD_MAX);
	}
	assert_false(told_due(&t, "text 2999", 0));
	told_release(&t);
}

int main(void)
{
	static struct tests t;
	tests_add(&t, "due once a minute, text by text", test_due, NULL);
	tests_add(&t, "bounded", test_bound, NULL);
	return tests_run("told", &t);
}
