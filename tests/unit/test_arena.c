#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/arena.h"

static void assert_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			fail_msg("byte %zu of %zu is %d", i, n, p[i]);
}

// Many sizes, each written full: none overlaps another, all are zeroed and aligned.
static void test_alloc(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena a = {0};
	enum { N = 400 };
	unsigned char *p[N];
	for (size_t i = 0; i < N; i++) {
		size_t n = i * i % 5000;
		p[i] = arena_alloc(&a, n, 1);
		assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
		assert_zero(p[i], n);
		memset(p[i], (int)(i % 255 + 1), n);
	}
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < i * i % 5000; k++)
			if (p[i][k] != i % 255 + 1)
				fail_msg("piece %zu was overwritten", i);
}

static void test_large(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena a = {0};
	char *small = arena_alloc(&a, 1, 1);
	unsigned char *large = arena_alloc(&a, 1024 * 1024, 2);
	*small = 'a';
	assert_zero(large, (size_t)2 * 1024 * 1024);
	memset(large, 1, (size_t)2 * 1024 * 1024);
	assert_int_equal(*small, 'a');
	assert_zero(arena_alloc(&a, 100, 1), 100);
}

static void test_printf(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena a = {0};
	char want[1100 + 1];
	char *texts[1100];
	for (int n = 0; n < 1100; n++) {
		memset(want, 'a' + n % 26, sizeof(want));
		texts[n] = arena_printf(&a, "%.*s", n + 1, want);
	}
	for (size_t n = 0; n < 1100; n++) {
		memset(want, 'a' + (int)n % 26, sizeof(want));
		want[n + 1] = '\0';
		assert_string_equal(texts[n], want);
	}
	assert_string_equal(arena_printf(&a, "%s", ""), "");
	// What printing used and gave back is zeroed for others.
	assert_zero(arena_alloc(&a, 20000, 1), 20000);
}

static void test_release(void **state)
{
	(void)state;
	struct arena a = {0};
	arena_release(&a);
	assert_non_null(arena_alloc(&a, 0, 1));
	assert_non_null(arena_alloc(&a, 10, 0));
	arena_release(&a);
	assert_null(a.head);
	assert_non_null(arena_alloc(&a, 10, 1));
	arena_release(&a);
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "pieces do not overlap", test_alloc, NULL);
	tests_add(&t, "a piece larger than a chunk", test_large, NULL);
	tests_add(&t, "printf", test_printf, NULL);
	tests_add(&t, "release", test_release, NULL);
	return tests_run("arena", &t);
}
