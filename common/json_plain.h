// What stands in a JSON string as it is: the scan that reading and writing share. PURE
#ifndef COCO_COMMON_JSON_PLAIN_H
#define COCO_COMMON_JSON_PLAIN_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_PLAIN_STEP 16

typedef signed char json_bytes __attribute__((vector_size(JSON_PLAIN_STEP)));
typedef uint64_t json_halves __attribute__((vector_size(JSON_PLAIN_STEP)));

// How many of the sixteen bytes at p come before the first quote, backslash, control character (below U+0020) or part
// of longer UTF-8. In what vectors the processor has: strings are nine tenths of a review.
static inline __attribute__((always_inline)) size_t json_plain_step(const char *p)
{
	json_bytes v;
	memcpy(&v, p, sizeof(v));
	// Bytes are signed here, so that those of 0x80 and above are below zero.
	const json_halves stops = (json_halves)((v == '"') | (v == '\\') | (v < 0x20));
	if (stops[0] != 0)
		return (size_t)__builtin_ctzll(le64toh(stops[0])) / 8;
	if (stops[1] != 0)
		return (size_t)__builtin_ctzll(le64toh(stops[1])) / 8 + 8;
	return JSON_PLAIN_STEP;
}

// The first such byte from p on; end where there is none.
static inline __attribute__((always_inline)) const char *json_plain_end(const char *p, const char *end)
{
	for (; end - p >= JSON_PLAIN_STEP; p += JSON_PLAIN_STEP) {
		size_t n = json_plain_step(p);
		if (n < JSON_PLAIN_STEP)
			return p + n;
	}
	while (p < end && (signed char)*p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

#endif
