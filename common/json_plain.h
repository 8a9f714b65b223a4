// What stands in a JSON string as it is: the scan that reading and writing share. PURE
#ifndef COCO_COMMON_JSON_PLAIN_H
#define COCO_COMMON_JSON_PLAIN_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define JSON_BLOCK 16

typedef signed char json_bytes __attribute__((vector_size(JSON_BLOCK)));
typedef unsigned char json_unsigned_bytes __attribute__((vector_size(JSON_BLOCK)));
typedef uint64_t json_halves __attribute__((vector_size(JSON_BLOCK)));

// The highest bit of each byte of v, the first byte's lowest.
static inline uint32_t json_mask_portable(json_bytes v)
{
	const json_halves h = (json_halves)v >> 7 & 0x0101010101010101;
	// The product gathers the bits in its highest byte.
	uint64_t low = le64toh(h[0]) * 0x0102040810204080 >> 56;
	uint64_t high = le64toh(h[1]) * 0x0102040810204080 >> 56;
	return (uint32_t)(low | high << 8);
}

static inline uint32_t json_mask(json_bytes v)
{
#ifdef __SSE2__
	return (uint32_t)_mm_movemask_epi8((__m128i)v);
#else
	return json_mask_portable(v);
#endif
}

static inline json_bytes json_block(const char *p)
{
	json_bytes v;
	memcpy(&v, p, sizeof(v));
	return v;
}

// The highest bits are set for control characters (below U+0020) and for the parts of longer UTF-8.
static inline json_bytes json_odd_portable(json_bytes v)
{
	return (json_bytes)((json_unsigned_bytes)v - 0x20) | v;
}

static inline json_bytes json_odd(json_bytes v)
{
#ifdef __SSE2__
	return (json_bytes)_mm_subs_epi8((__m128i)v, _mm_set1_epi8(0x20));
#else
	return json_odd_portable(v);
#endif
}

// What ends a plain run in the block at p: quotes, backslashes, control characters and parts of longer UTF-8.
static inline uint32_t json_stops(const char *p)
{
	const json_bytes v = json_block(p);
	return json_mask((v == '"') | (v == '\\') | json_odd(v));
}

// The same, but for the escape \": an escaped quote is none, and of a backslash what it escapes is a stop, other than a
// quote. So the first stop in a string, where it is a quote, ends it. The byte before p counts, too.
static inline uint32_t json_stops_unescaped(const char *p)
{
	const json_bytes v = json_block(p);
	const json_bytes escaped = json_block(p - 1) == '\\';
	return json_mask(((v == '"') ^ escaped) | json_odd(v));
}

// For four blocks in a row.
static inline uint64_t json_stops_unescaped_4(const char *p)
{
	return json_stops_unescaped(p) | (uint64_t)json_stops_unescaped(p + JSON_BLOCK) << 16 |
		   (uint64_t)json_stops_unescaped(p + 2 * JSON_BLOCK) << 32 |
		   (uint64_t)json_stops_unescaped(p + 3 * JSON_BLOCK) << 48;
}

// How many bytes come before the first stop, of which there is one.
static inline size_t json_run(uint32_t stops)
{
	return (unsigned)__builtin_ctz(stops);
}

// The first byte from p on that isn't plain; end where there is none.
static inline __attribute__((always_inline)) const char *json_plain_end(const char *p, const char *end)
{
	for (; end - p >= JSON_BLOCK; p += JSON_BLOCK) {
		uint32_t stops = json_stops(p);
		if (stops != 0)
			return p + json_run(stops);
	}
	while (p < end && (signed char)*p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

#endif
