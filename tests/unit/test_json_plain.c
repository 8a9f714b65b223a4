#include <stdbool.h>

#include "cases.h"
#include "common/json_plain.h"

#define TEXT_N ((size_t)8 * JSON_BLOCK)

// What a block's mask must be, byte by byte.
static uint32_t naive_stops(const char *p, bool unescaped)
{
	uint32_t stops = 0;
	for (size_t i = 0; i < JSON_BLOCK; i++) {
		bool stop = (signed char)p[i] < 0x20 || (p[i] == '"') != (unescaped && p[(ptrdiff_t)i - 1] == '\\');
		stop |= !unescaped && p[i] == '\\';
		stops |= (uint32_t)stop << i;
	}
	return stops;
}

// Some of each kind of byte, anew in each round.
static void fill(char text[TEXT_N], uint32_t *seed)
{
	static const char kinds[] = "\"\\\\\"\x1F\x20\x7F\x80\xFF\n";
	for (size_t i = 0; i < TEXT_N; i++) {
		*seed = *seed * 1103515245 + 12345;
		text[i] = (*seed >> 16) % 4 == 0 ? kinds[(*seed >> 20) % (sizeof(kinds) - 1)] : (char)(*seed >> 24);
	}
}

static void test_stops(void **state)
{
	(void)state;
	uint32_t seed = 1;
	for (int round = 0; round < 2000; round++) {
		char text[TEXT_N];
		fill(text, &seed);
		for (size_t at = 1; at + JSON_BLOCK < TEXT_N; at++) {
			const char *p = text + at;
			assert_int_equal(json_stops(p), naive_stops(p, false));
			assert_int_equal(json_stops_unescaped(p), naive_stops(p, true));
		}
		for (size_t at = 1; at + 4 * JSON_BLOCK < TEXT_N; at++) {
			uint64_t want = 0;
			for (size_t i = 0; i < 4; i++)
				want |= (uint64_t)naive_stops(text + at + i * JSON_BLOCK, true) << i * JSON_BLOCK;
			assert_true(json_stops_unescaped_4(text + at) == want);
		}
	}
}

// Only some processors use it.
static void test_portable(void **state)
{
	(void)state;
	uint32_t seed = 1;
	for (int round = 0; round < 2000; round++) {
		char text[TEXT_N];
		fill(text, &seed);
		for (size_t at = 0; at + JSON_BLOCK < TEXT_N; at++) {
			uint32_t want = 0;
			uint32_t odd = 0;
			for (size_t i = 0; i < JSON_BLOCK; i++) {
				want |= (uint32_t)((unsigned char)text[at + i] >> 7) << i;
				odd |= (uint32_t)((signed char)text[at + i] < 0x20) << i;
			}
			const json_bytes v = json_block(text + at);
			assert_int_equal(json_mask_portable(v), want);
			assert_int_equal(json_mask(v), want);
			assert_int_equal(json_mask_portable(json_odd_portable(v)), odd);
			assert_int_equal(json_mask(json_odd(v)), odd);
		}
	}
}

// In each place, each length to the end.
static void test_plain_end(void **state)
{
	(void)state;
	uint32_t seed = 1;
	for (int round = 0; round < 200; round++) {
		char text[TEXT_N];
		fill(text, &seed);
		for (size_t at = 0; at < TEXT_N; at++)
			for (size_t end = at; end <= TEXT_N; end++) {
				size_t want = at;
				while (want < end && (signed char)text[want] >= 0x20 && text[want] != '"' && text[want] != '\\')
					want++;
				assert_ptr_equal(json_plain_end(text + at, text + end), text + want);
			}
	}
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "what ends a plain run", test_stops, NULL);
	tests_add(&t, "without the processor's help", test_portable, NULL);
	tests_add(&t, "the end of what is plain", test_plain_end, NULL);
	return tests_run("json_plain", &t);
}
