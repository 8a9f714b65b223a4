#include "common/quantity.h"

#include <errno.h>
#include <stdbool.h>

// Digits kept exactly: 19 always fit in 64 bits. Of further ones only their number and whether one is not zero counts:
// with 19 digits known, they can move a rounded-up value that fits in 63 bits only by that, and by one or two bytes
// more where the value is beyond an exbibyte.
#define DIGITS_MAX 19
// Beyond what the digits of any text that we read can bring back.
#define EXPONENT_MAX 100000000

struct decimal {
	uint64_t digits;
	int exponent; // of ten
	bool more;    // than digits say, by less than one in the last place
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

// Reads digits with an optional point; false where there is no digit.
static bool read_decimal(struct str *s, struct decimal *ret)
{
	*ret = (struct decimal){0};
	int kept = 0;
	bool any = false;
	bool point = false;
	for (; s->n > 0; s->p++, s->n--) {
		char c = s->p[0];
		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (!is_digit(c))
			break;
		any = true;
		if (kept < DIGITS_MAX) {
			ret->digits = ret->digits * 10 + (uint64_t)(c - '0');
			kept += ret->digits != 0;
			ret->exponent -= point;
		} else {
			ret->more |= c != '0';
			ret->exponent += !point;
		}
	}
	return any;
}

struct scale {
	int shift; // power of two
	int ten;   // power of ten
};

// The whole rest of the text must be one suffix.
static bool read_suffix(struct str s, struct scale *ret)
{
	static const struct {
		const char *name;
		struct scale scale;
	} suffixes[] = {
		{"", {0, 0}},    {"Ki", {10, 0}}, {"Mi", {20, 0}}, {"Gi", {30, 0}}, {"Ti", {40, 0}}, {"Pi", {50, 0}},
		{"Ei", {60, 0}}, {"n", {0, -9}},  {"u", {0, -6}},  {"m", {0, -3}},  {"k", {0, 3}},   {"M", {0, 6}},
		{"G", {0, 9}},   {"T", {0, 12}},  {"P", {0, 15}},  {"E", {0, 18}},
	};
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (str_is(s, suffixes[i].name)) {
			*ret = suffixes[i].scale;
			return true;
		}
	if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
		return false;
	size_t i = 1;
	bool negative = s.p[i] == '-';
	if (negative || s.p[i] == '+')
		i++;
	if (i == s.n)
		return false;
	int exponent = 0;
	for (; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return false;
		exponent = exponent < EXPONENT_MAX ? exponent * 10 + (s.p[i] - '0') : exponent;
	}
	*ret = (struct scale){0, negative ? -exponent : exponent};
	return true;
}

// d * 2^shift * 10^ten, rounded up, capped.
static int64_t scaled(struct decimal d, struct scale scale)
{
	if (d.digits == 0)
		return 0;
	unsigned __int128 v = d.digits;
	const unsigned __int128 cap = INT64_MAX;
	int ten = d.exponent + scale.ten;
	v <<= scale.shift; // below 2^64 * 2^60
	for (; ten > 0 && v <= cap; ten--)
		v *= 10;
	bool more = d.more;
	for (; ten < 0 && v > 0; ten++) {
		more |= v % 10 != 0;
		v /= 10;
	}
	more |= ten < 0;
	if (ten > 0 || v > cap)
		return INT64_MAX;
	if (more && v < cap)
		v++;
	return (int64_t)v;
}

static int parse(struct str text, int ten, int64_t *ret, struct error *err)
{
	struct str s = text;
	bool negative = s.n > 0 && s.p[0] == '-';
	if (s.n > 0 && (negative || s.p[0] == '+')) {
		s.p++;
		s.n--;
	}
	struct decimal d;
	struct scale scale;
	if (!read_decimal(&s, &d) || !read_suffix(s, &scale))
		return error_set(err, EINVAL, "\"%.*s\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", STR_ARG(text));
	scale.ten += ten;
	int64_t v = scaled(d, scale);
	*ret = negative ? -v : v;
	return 0;
}

int quantity_parse(struct str text, int64_t *ret, struct error *err)
{
	return parse(text, 0, ret, err);
}

int quantity_parse_milli(struct str text, int64_t *ret, struct error *err)
{
	return parse(text, 3, ret, err);
}

void quantity_write(int64_t bytes, struct buf *out)
{
	static const struct str suffixes[] = {{"", 0}, {"Ki", 2}, {"Mi", 2}, {"Gi", 2}, {"Ti", 2}, {"Pi", 2}, {"Ei", 2}};
	char room[INT_TEXT_MAX];
	size_t i = 0;
	while (bytes != 0 && bytes % 1024 == 0 && i + 1 < sizeof(suffixes) / sizeof(suffixes[0])) {
		bytes /= 1024;
		i++;
	}
	buf_add_str(out, int_text(bytes, room));
	buf_add_str(out, suffixes[i]);
}
