// Kubernetes quantities: "1.5Gi", "129M", "1e9", "100m", "128974848". PURE
//
// The grammar is that of k8s.io/apimachinery/pkg/api/resource: sign, decimal digits with an optional point
// ("5." and ".5" too), then one suffix out of n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or a decimal exponent (e9, E-3).
// As there, a fraction is rounded up and a value too large is read as the largest one.
#ifndef COCO_COMMON_QUANTITY_H
#define COCO_COMMON_QUANTITY_H

#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

#define KIB ((int64_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

// The value in whole units (bytes, for memory), rounded away from zero; capped at INT64_MAX and -INT64_MAX.
int quantity_parse(struct str text, int64_t *ret, struct error *err) __attribute__((warn_unused_result, nonnull));
// The value in thousandths (millicores, for CPU), rounded and capped likewise.
int quantity_parse_milli(struct str text, int64_t *ret, struct error *err) __attribute__((warn_unused_result, nonnull));

// Appends a number of bytes in its shortest exact binary form, as the API server prints it: "8Gi", "1536Mi", "17".
void quantity_write(int64_t bytes, struct buf *out) __attribute__((nonnull));

// a + b and 2 a for values that are not negative, capped at INT64_MAX.
static inline int64_t quantity_add(int64_t a, int64_t b)
{
	int64_t sum = 0;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static inline int64_t quantity_twice(int64_t a)
{
	return quantity_add(a, a);
}

// Rounded up to a multiple of step; capped at the largest multiple.
static inline int64_t quantity_round_up(int64_t a, int64_t step)
{
	int64_t max = INT64_MAX / step * step;
	return a >= max ? max : (a + step - 1) / step * step;
}

#endif
