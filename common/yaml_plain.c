#include "common/yaml_plain.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static enum yaml_meaning word_meaning(struct str s)
{
	static const struct {
		const char *word;
		enum yaml_meaning meaning;
	} words[] = {
		{"", MEANS_NULL},
		{"~", MEANS_NULL},
		{"null", MEANS_NULL},
		{"Null", MEANS_NULL},
		{"NULL", MEANS_NULL},
		{"y", MEANS_TRUE},
		{"Y", MEANS_TRUE},
		{"yes", MEANS_TRUE},
		{"Yes", MEANS_TRUE},
		{"YES", MEANS_TRUE},
		{"true", MEANS_TRUE},
		{"True", MEANS_TRUE},
		{"TRUE", MEANS_TRUE},
		{"on", MEANS_TRUE},
		{"On", MEANS_TRUE},
		{"ON", MEANS_TRUE},
		{"n", MEANS_FALSE},
		{"N", MEANS_FALSE},
		{"no", MEANS_FALSE},
		{"No", MEANS_FALSE},
		{"NO", MEANS_FALSE},
		{"false", MEANS_FALSE},
		{"False", MEANS_FALSE},
		{"FALSE", MEANS_FALSE},
		{"off", MEANS_FALSE},
		{"Off", MEANS_FALSE},
		{"OFF", MEANS_FALSE},
		{".nan", MEANS_NOT_FINITE},
		{".NaN", MEANS_NOT_FINITE},
		{".NAN", MEANS_NOT_FINITE},
		{".inf", MEANS_NOT_FINITE},
		{".Inf", MEANS_NOT_FINITE},
		{".INF", MEANS_NOT_FINITE},
		{"+.inf", MEANS_NOT_FINITE},
		{"+.Inf", MEANS_NOT_FINITE},
		{"+.INF", MEANS_NOT_FINITE},
		{"-.inf", MEANS_NOT_FINITE},
		{"-.Inf", MEANS_NOT_FINITE},
		{"-.INF", MEANS_NOT_FINITE},
	};
	if (s.n > 5)
		return MEANS_TEXT;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_is(s, words[i].word))
			return words[i].meaning;
	return MEANS_TEXT;
}

// All of text as digits of a base; false when it is not that. Past 64 bits *ret_overflow becomes true.
static bool parse_digits(const char *text, unsigned base, uint64_t *ret, bool *ret_overflow)
{
	uint64_t v = 0;
	*ret_overflow = false;
	for (const char *p = text; *p != '\0'; p++) {
		unsigned digit = yaml_is_digit(*p)        ? (unsigned)(*p - '0')
						 : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
						 : *p >= 'A' && *p <= 'F' ? (unsigned)(*p - 'A' + 10)
												  : 16;
		if (digit >= base)
			return false;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
			*ret_overflow = true;
	}
	*ret = v;
	return text[0] != '\0';
}

// 0x1F, 0b101, 0o17, 017 and 15, with a sign. text is without underscores.
static bool parse_integer(const char *text, struct yaml_plain *ret)
{
	bool negative = text[0] == '-';
	if (text[0] == '-' || text[0] == '+')
		text++;
	unsigned base = 10;
	if (text[0] == '0' && text[1] != '\0') {
		base = strchr("xX", text[1]) != NULL ? 16 : strchr("bB", text[1]) != NULL ? 2 : 8;
		text += strchr("xXbBoO", text[1]) != NULL ? 2 : 1;
	}
	uint64_t v = 0;
	bool overflow = false;
	if (!parse_digits(text, base, &v, &overflow))
		return false;
	ret->meaning = MEANS_INTEGER;
	if (overflow || v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		ret->meaning = MEANS_OUT_OF_RANGE;
	else
		ret->integer = negative ? (json_int_t)-v : (json_int_t)v;
	return true;
}

static size_t count_digits(const char *text)
{
	return strspn(text, "0123456789");
}

// 1.5, .5, 5. and 5e3, with a sign. text is without underscores.
static bool parse_real(const char *text, struct yaml_plain *ret)
{
	const char *p = text;
	if (*p == '-' || *p == '+')
		p++;
	size_t whole = count_digits(p);
	p += whole;
	size_t fraction = 0;
	if (*p == '.') {
		fraction = count_digits(++p);
		p += fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '-' || *p == '+')
			p++;
		size_t exponent = count_digits(p);
		p += exponent;
		if (exponent == 0)
			return false;
	}
	if (*p != '\0')
		return false;
	ret->real = strtod(text, NULL);
	ret->meaning = isfinite(ret->real) ? MEANS_REAL : MEANS_HUGE_REAL;
	return true;
}

// After a leading point go-yaml wants digits around each underscore; elsewhere underscores may be anywhere.
static bool has_stray_underscore(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '_' && (i == 0 || !yaml_is_digit(s.p[i - 1]) || i + 1 == s.n || !yaml_is_digit(s.p[i + 1])))
			return true;
	return false;
}

struct yaml_plain yaml_plain_resolve(struct str s)
{
	struct yaml_plain plain = {.meaning = word_meaning(s)};
	if (plain.meaning != MEANS_TEXT || strchr("+-.0123456789", s.p[0]) == NULL)
		return plain;
	CLEANUP_BUF
	struct buf text = BUF_INIT(s.n);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\0' || strchr("0123456789abcdefABCDEFxXoO_+-.", s.p[i]) == NULL)
			return plain;
		if (s.p[i] != '_')
			buf_addc(&text, s.p[i]);
	}
	if (s.p[0] == '.' && has_stray_underscore(s))
		return plain;
	if (!parse_integer(buf_z(&text), &plain))
		(void)parse_real(buf_z(&text), &plain);
	return plain;
}
