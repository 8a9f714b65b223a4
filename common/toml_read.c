#include "common/toml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/toml_chars.h"
#include "common/utf8.h"

// ---- Tables by how they came to be ----
//
// What a header or a dotted key may extend depends on that, and a jansson object can't carry it: hence a map from
// the object to its origin. Whatever is not in the map is a plain value, inline tables and arrays among them, and
// nothing extends those.

enum origin {
	ORIGIN_VALUE,
	ORIGIN_IMPLICIT, // the a of [a.b]: its own header may still come
	ORIGIN_DOTTED,   // the a of a.b = 1: no header of its own
	ORIGIN_HEADER,   // [a], and each table of [[a]]
	ORIGIN_TABLES,   // the array of [[a]]
};

struct origins {
	const json_t **key;
	enum origin *value;
	size_t n;
	size_t cap; // a power of two, or 0
};

static void origins_release(struct origins *o)
{
	free(o->key);
	free(o->value);
	*o = (struct origins){0};
}

static size_t origins_slot(const struct origins *o, const json_t *key)
{
	size_t i = (size_t)((uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (o->cap - 1);
	while (o->key[i] != NULL && o->key[i] != key)
		i = (i + 1) & (o->cap - 1);
	return i;
}

static enum origin origins_get(const struct origins *o, const json_t *key)
{
	return o->cap > 0 ? o->value[origins_slot(o, key)] : ORIGIN_VALUE;
}

static void origins_set(struct origins *o, const json_t *key, enum origin value);

static void origins_grow(struct origins *o)
{
	struct origins big = {.cap = o->cap > 0 ? o->cap * 2 : 64};
	big.key = xcalloc(big.cap, sizeof(*big.key));
	big.value = xcalloc(big.cap, sizeof(*big.value));
	for (size_t i = 0; i < o->cap; i++)
		if (o->key[i] != NULL)
			origins_set(&big, o->key[i], o->value[i]);
	origins_release(o);
	*o = big;
}

static void origins_set(struct origins *o, const json_t *key, enum origin value)
{
	if (o->n >= o->cap / 2)
		origins_grow(o);
	size_t i = origins_slot(o, key);
	if (o->key[i] == NULL)
		o->n++;
	o->key[i] = key;
	o->value[i] = value;
}

// ---- Reading: characters ----

struct reader {
	struct str text;
	size_t at;
	size_t nodes;
	struct origins origins;
	struct buf scratch; // a scalar's text while it is read
	struct error *err;
};

static void reader_release(struct reader *r)
{
	origins_release(&r->origins);
	buf_release(&r->scratch);
}

// An error at a byte offset; the column counts characters.
__attribute__((format(printf, 3, 4))) static int fail(const struct reader *r, size_t at, const char *fmt, ...)
{
	size_t line = 1;
	size_t column = 1;
	for (size_t i = 0; i < at && i < r->text.n; i++) {
		if (r->text.p[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)r->text.p[i] & 0xC0) != 0x80) {
			column++;
		}
	}
	char what[ERROR_MSG_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_set(r->err, EINVAL, "line %zu, column %zu: %s", line, column, what);
}

#define END (-1)

static int peek_at(const struct reader *r, size_t ahead)
{
	return ahead < r->text.n - r->at ? (unsigned char)r->text.p[r->at + ahead] : END;
}

static int peek(const struct reader *r)
{
	return peek_at(r, 0);
}

static bool take(struct reader *r, char c)
{
	if (peek(r) != (unsigned char)c)
		return false;
	r->at++;
	return true;
}

static bool starts_with(const struct reader *r, const char *what)
{
	size_t n = strlen(what);
	return r->text.n - r->at >= n && memcmp(r->text.p + r->at, what, n) == 0;
}

static bool take_newline(struct reader *r)
{
	if (peek(r) == '\r' && peek_at(r, 1) == '\n')
		r->at++;
	return take(r, '\n');
}

static void skip_blanks(struct reader *r)
{
	while (peek(r) == ' ' || peek(r) == '\t')
		r->at++;
}

static int hex_value(int c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Up to the newline, which stays.
static int skip_comment(struct reader *r)
{
	if (!take(r, '#'))
		return 0;
	while (peek(r) != END && !is_control(peek(r)))
		r->at++;
	if (peek(r) == END || peek(r) == '\n' || (peek(r) == '\r' && peek_at(r, 1) == '\n'))
		return 0;
	return fail(r, r->at, "control character 0x%02X in a comment", (unsigned)peek(r));
}

static int read_line_end(struct reader *r)
{
	skip_blanks(r);
	if (skip_comment(r) < 0)
		return -EINVAL;
	if (peek(r) == END || take_newline(r))
		return 0;
	return fail(r, r->at, "expected the end of the line");
}

// Between the values of an array.
static int skip_lines(struct reader *r)
{
	do {
		skip_blanks(r);
		if (skip_comment(r) < 0)
			return -EINVAL;
	} while (take_newline(r));
	return 0;
}

static int check_utf8(const struct reader *r)
{
	const unsigned char *p = (const unsigned char *)r->text.p;
	for (size_t i = 0, len; i < r->text.n; i += len) {
		len = p[i] < 0x80 ? 1 : utf8_sequence(p + i, r->text.n - i);
		if (len == 0)
			return fail(r, i, "not UTF-8");
	}
	return 0;
}

// ---- Reading: strings ----

static void add_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_addc(b, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_addc(b, (char)(0xC0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_addc(b, (char)(0xE0 | c >> 12));
		} else {
			buf_addc(b, (char)(0xF0 | c >> 18));
			buf_addc(b, (char)(0x80 | (c >> 12 & 0x3F)));
		}
		buf_addc(b, (char)(0x80 | (c >> 6 & 0x3F)));
	}
	buf_addc(b, (char)(0x80 | (c & 0x3F)));
}

// The digits of \uXXXX and \UXXXXXXXX.
static int read_code_point(struct reader *r, size_t digits, struct buf *to)
{
	size_t start = r->at - 2;
	uint32_t c = 0;
	for (size_t i = 0; i < digits; i++, r->at++) {
		int v = hex_value(peek(r));
		if (v < 0)
			return fail(r, start, "expected %zu hexadecimal digits after \\%c", digits, digits == 4 ? 'u' : 'U');
		c = c << 4 | (uint32_t)v;
	}
	if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return fail(r, start, "U+%04" PRIX32 " is not a Unicode character", c);
	if (c == 0)
		return fail(r, start, "U+0000 is not supported: what reads the text later would end there");
	add_utf8(to, c);
	return 0;
}

static int read_escape(struct reader *r, struct buf *to)
{
	static const char names[] = "btnfr\"\\";
	static const char meant[] = "\b\t\n\f\r\"\\";
	r->at++;
	int c = peek(r);
	if (c == 'u' || c == 'U') {
		r->at++;
		return read_code_point(r, c == 'u' ? 4 : 8, to);
	}
	const char *name = c > 0 ? strchr(names, c) : NULL;
	if (name == NULL)
		return fail(r, r->at - 1, "unknown escape: write \\\\ for a backslash, or use a literal string ('...')");
	r->at++;
	buf_addc(to, meant[name - names]);
	return 0;
}

// A backslash at the end of a line takes away all white space up to the next text. false when it is not that.
static bool skip_folded(struct reader *r)
{
	size_t back = r->at++;
	skip_blanks(r);
	if (!take_newline(r)) {
		r->at = back;
		return false;
	}
	do
		skip_blanks(r);
	while (take_newline(r));
	return true;
}

// quote: '"' or '\''. At the opening quote.
static int read_short_string(struct reader *r, char quote, struct buf *to)
{
	size_t start = r->at++;
	while (!take(r, quote)) {
		int c = peek(r);
		if (c == '\\' && quote == '"') {
			if (read_escape(r, to) < 0)
				return -EINVAL;
			continue;
		}
		if (c == END || c == '\n' || c == '\r')
			return fail(r, start, "the string does not end on its line: close it, or use three quotes");
		if (is_control(c))
			return fail(r, r->at, "control character 0x%02X in a string: write it as an escape", (unsigned)c);
		buf_addc(to, (char)c);
		r->at++;
	}
	return 0;
}

// The quotes at the end: three of them close, and up to two before those are content.
static bool take_long_end(struct reader *r, char quote, struct buf *to)
{
	size_t n = 0;
	while (n < 5 && peek_at(r, n) == (unsigned char)quote)
		n++;
	r->at += n;
	bool closes = n >= 3;
	for (size_t i = closes ? 3 : 0; i < n; i++)
		buf_addc(to, quote);
	return closes;
}

// At the opening quotes. Newlines become \n, so that a document means the same with either kind of line end.
static int read_long_string(struct reader *r, char quote, struct buf *to)
{
	size_t start = r->at;
	r->at += 3;
	(void)take_newline(r);
	for (;;) {
		int c = peek(r);
		if (c == END)
			return fail(r, start, "the string has no end: three quotes are missing");
		if (c == (unsigned char)quote) {
			if (take_long_end(r, quote, to))
				return 0;
		} else if (c == '\\' && quote == '"') {
			if (!skip_folded(r) && read_escape(r, to) < 0)
				return -EINVAL;
		} else if (take_newline(r)) {
			buf_addc(to, '\n');
		} else if (is_control(c)) {
			return fail(r, r->at, "control character 0x%02X in a string: write it as an escape", (unsigned)c);
		} else {
			buf_addc(to, (char)c);
			r->at++;
		}
	}
}

static int read_string(struct reader *r, json_t **ret)
{
	char quote = (char)peek(r);
	bool is_long = peek_at(r, 1) == (unsigned char)quote && peek_at(r, 2) == (unsigned char)quote;
	buf_clear(&r->scratch);
	int rc = is_long ? read_long_string(r, quote, &r->scratch) : read_short_string(r, quote, &r->scratch);
	if (rc < 0)
		return rc;
	struct str s = buf_str(&r->scratch);
	*ret = json_stringn_nocheck(s.p, s.n);
	return 0;
}

// ---- Reading: keys ----

// A dotted key: its parts after each other in one text.
struct key {
	struct buf text;
	size_t end[TOML_DEPTH_MAX];
	size_t n;
	size_t at; // in the document
};

static void key_release(struct key *k)
{
	buf_release(&k->text);
}

static struct str key_part(const struct key *k, size_t i)
{
	size_t start = i > 0 ? k->end[i - 1] : 0;
	return (struct str){buf_str(&k->text).p + start, k->end[i] - start};
}

static int read_key_part(struct reader *r, struct key *k)
{
	int c = peek(r);
	if (c == '"' || c == '\'') {
		if (peek_at(r, 1) == c && peek_at(r, 2) == c)
			return fail(r, r->at, "a key has no three quotes: use one on each side");
		return read_short_string(r, (char)c, &k->text);
	}
	size_t start = r->at;
	while (is_bare(peek(r)))
		r->at++;
	if (r->at == start)
		return fail(r, start, "expected a key: letters, digits, - and _, or a quoted string");
	buf_add(&k->text, r->text.p + start, r->at - start);
	return 0;
}

// Also takes the blanks after it.
static int read_key(struct reader *r, struct key *k)
{
	k->at = r->at;
	k->n = 0;
	do {
		skip_blanks(r);
		if (k->n == TOML_DEPTH_MAX)
			return fail(r, r->at, "more than %d tables within each other", TOML_DEPTH_MAX);
		if (read_key_part(r, k) < 0)
			return -EINVAL;
		k->end[k->n++] = k->text.n;
		skip_blanks(r);
	} while (take(r, '.'));
	return 0;
}

// ---- Reading: numbers, dates and times ----

// Digits of a base with single underscores between them, from *at on. Advances *at.
static bool scan_digits(struct str s, size_t *at, int base)
{
	bool after_digit = false;
	for (; *at < s.n; ++*at) {
		int v = hex_value((unsigned char)s.p[*at]);
		if (v >= 0 && v < base)
			after_digit = true;
		else if (s.p[*at] == '_' && after_digit)
			after_digit = false;
		else
			break;
	}
	return after_digit;
}

static bool scan_char(struct str s, size_t *at, const char *set)
{
	if (*at >= s.n || s.p[*at] == '\0' || strchr(set, s.p[*at]) == NULL)
		return false;
	++*at;
	return true;
}

// What a number's text is: 0 for an integer of that base, 1 for a float, -1 for neither.
static int scan_number(struct str s, int *ret_base)
{
	*ret_base = 10;
	size_t at = 0;
	if (s.n > 2 && s.p[0] == '0' && strchr("xob", s.p[1]) != NULL) {
		*ret_base = s.p[1] == 'x' ? 16 : s.p[1] == 'o' ? 8 : 2;
		at = 2;
		return s.p[2] != '_' && scan_digits(s, &at, *ret_base) && at == s.n ? 0 : -1;
	}
	(void)scan_char(s, &at, "+-");
	size_t first = at;
	if (!scan_digits(s, &at, 10) || (s.p[first] == '0' && at - first > 1))
		return -1;
	if (at == s.n)
		return 0;
	if (scan_char(s, &at, ".") && !scan_digits(s, &at, 10))
		return -1;
	if (scan_char(s, &at, "eE")) {
		(void)scan_char(s, &at, "+-");
		if (!scan_digits(s, &at, 10))
			return -1;
	}
	return at == s.n ? 1 : -1;
}

static int read_integer(struct reader *r, size_t start, int base, json_t **ret)
{
	const char *digits = buf_z(&r->scratch);
	if (base != 10)
		digits += 2;
	errno = 0;
	long long v = strtoll(digits, NULL, base);
	if (errno == ERANGE)
		return fail(r, start, "the integer does not fit into 64 bits");
	*ret = json_integer(v);
	return 0;
}

static int read_number(struct reader *r, size_t start, struct str s, json_t **ret)
{
	struct str name = s;
	if (name.n > 0 && (name.p[0] == '+' || name.p[0] == '-'))
		name = (struct str){s.p + 1, s.n - 1};
	if (str_is(name, "inf") || str_is(name, "nan"))
		return fail(r, start, "%.*s is not supported: JSON has no such number", STR_ARG(s));
	int base = 10;
	int kind = scan_number(s, &base);
	if (kind < 0)
		return fail(r, start, "\"%.*s\" is not a value: quote it if it is text", STR_ARG(s));
	buf_clear(&r->scratch);
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '_')
			buf_addc(&r->scratch, s.p[i]);
	if (kind == 0)
		return read_integer(r, start, base, ret);
	double v = strtod(buf_z(&r->scratch), NULL);
	if (!isfinite(v))
		return fail(r, start, "the number is out of range");
	*ret = json_real(v);
	return 0;
}

// A number of n digits, or -1.
static int scan_field(struct str s, size_t *at, size_t n)
{
	int v = 0;
	if (s.n - *at < n)
		return -1;
	for (size_t end = *at + n; *at < end; ++*at) {
		if (!is_digit((unsigned char)s.p[*at]))
			return -1;
		v = v * 10 + (s.p[*at] - '0');
	}
	return v;
}

static bool scan_date(struct str s, size_t *at)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = scan_field(s, at, 4);
	if (year < 0 || !scan_char(s, at, "-"))
		return false;
	int month = scan_field(s, at, 2);
	if (month < 1 || month > 12 || !scan_char(s, at, "-"))
		return false;
	int day = scan_field(s, at, 2);
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool scan_clock(struct str s, size_t *at)
{
	int hour = scan_field(s, at, 2);
	if (hour < 0 || hour > 23 || !scan_char(s, at, ":"))
		return false;
	int minute = scan_field(s, at, 2);
	return minute >= 0 && minute <= 59;
}

static bool scan_time(struct str s, size_t *at)
{
	if (!scan_clock(s, at) || !scan_char(s, at, ":"))
		return false;
	int second = scan_field(s, at, 2);
	if (second < 0 || second > 59)
		return false;
	if (!scan_char(s, at, "."))
		return true;
	size_t first = *at;
	while (*at < s.n && is_digit((unsigned char)s.p[*at]))
		++*at;
	return *at > first;
}

static bool is_date_time(struct str s)
{
	size_t at = 0;
	if (s.n > 2 && s.p[2] == ':')
		return scan_time(s, &at) && at == s.n;
	if (!scan_date(s, &at))
		return false;
	if (at == s.n)
		return true;
	if (!scan_char(s, &at, "Tt ") || !scan_time(s, &at))
		return false;
	if (at < s.n && !scan_char(s, &at, "Zz") && (!scan_char(s, &at, "+-") || !scan_clock(s, &at)))
		return false;
	return at == s.n;
}

static bool looks_like_date_time(const struct reader *r)
{
	size_t digits = 0;
	while (digits < 5 && is_digit(peek_at(r, digits)))
		digits++;
	return (digits == 2 && peek_at(r, 2) == ':') || (digits == 4 && peek_at(r, 4) == '-');
}

static void skip_word(struct reader *r)
{
	while (is_bare(peek(r)) || peek(r) == '+' || peek(r) == '.' || peek(r) == ':')
		r->at++;
}

// Everything that is neither quoted nor bracketed.
static int read_word(struct reader *r, json_t **ret)
{
	size_t start = r->at;
	bool dated = looks_like_date_time(r);
	skip_word(r);
	// A date and a time may have one space between them.
	if (dated && r->at - start == 10 && peek(r) == ' ' && is_digit(peek_at(r, 1))) {
		r->at++;
		skip_word(r);
	}
	struct str s = {r->text.p + start, r->at - start};
	if (s.n == 0)
		return fail(r, start, "expected a value");
	if (str_is(s, "true") || str_is(s, "false")) {
		*ret = json_boolean(s.p[0] == 't');
		return 0;
	}
	if (!dated)
		return read_number(r, start, s, ret);
	if (!is_date_time(s))
		return fail(r, start, "\"%.*s\" is not a date or time", STR_ARG(s));
	*ret = json_stringn_nocheck(s.p, s.n);
	return 0;
}

// ---- Reading: values ----

// depth: how many tables and arrays are around it.
static int read_value(struct reader *r, size_t depth, json_t **ret);
static int read_pair(struct reader *r, json_t *table, size_t depth);

static int count_node(struct reader *r)
{
	if (++r->nodes > TOML_NODES_MAX)
		return fail(r, r->at, "more than %d values", TOML_NODES_MAX);
	return 0;
}

static int read_array(struct reader *r, size_t depth, json_t **ret)
{
	json_auto_t *array = json_array();
	r->at++;
	for (;;) {
		if (skip_lines(r) < 0)
			return -EINVAL;
		if (take(r, ']'))
			break;
		json_t *item = NULL;
		if (read_value(r, depth, &item) < 0)
			return -EINVAL;
		if (json_array_append_new(array, item) < 0)
			return fail(r, r->at, "out of memory");
		if (skip_lines(r) < 0)
			return -EINVAL;
		if (!take(r, ',') && peek(r) != ']')
			return fail(r, r->at, "expected \",\" or \"]\" after an array's value");
	}
	*ret = TAKE_PTR(array);
	return 0;
}

static int read_inline_table(struct reader *r, size_t depth, json_t **ret)
{
	json_auto_t *table = json_object();
	r->at++;
	skip_blanks(r);
	if (!take(r, '}')) {
		for (;;) {
			skip_blanks(r);
			if (read_pair(r, table, depth) < 0)
				return -EINVAL;
			skip_blanks(r);
			if (take(r, '}'))
				break;
			if (!take(r, ','))
				return fail(r, r->at, "expected \",\" or \"}\" after an inline table's value, on the same line");
		}
	}
	*ret = TAKE_PTR(table);
	return 0;
}

static int read_value(struct reader *r, size_t depth, json_t **ret)
{
	int c = peek(r);
	if (count_node(r) < 0)
		return -EINVAL;
	if (c == '"' || c == '\'')
		return read_string(r, ret);
	if (c != '[' && c != '{')
		return read_word(r, ret);
	if (depth >= TOML_DEPTH_MAX)
		return fail(r, r->at, "more than %d tables and arrays within each other", TOML_DEPTH_MAX);
	return c == '[' ? read_array(r, depth + 1, ret) : read_inline_table(r, depth + 1, ret);
}

// ---- Reading: tables ----

// Adds what a table gets; takes value. Returns value, borrowed, NULL when memory is out.
static json_t *add(json_t *table, struct str name, json_t *value)
{
	return json_object_setn_new_nocheck(table, name.p, name.n, value) == 0 ? value : NULL;
}

static json_t *find(const json_t *table, struct str name)
{
	return json_object_getn(table, name.p, name.n);
}

static int add_table(struct reader *r, json_t *table, struct str name, enum origin origin, json_t **ret)
{
	if (count_node(r) < 0)
		return -EINVAL;
	*ret = add(table, name, json_object());
	if (*ret == NULL)
		return fail(r, r->at, "out of memory");
	origins_set(&r->origins, *ret, origin);
	return 0;
}

static int check_depth(const struct reader *r, const struct key *k, size_t depth)
{
	return depth > TOML_DEPTH_MAX ? fail(r, k->at, "more than %d tables and arrays within each other", TOML_DEPTH_MAX)
								  : 0;
}

// The table that a dotted key's part but the last names.
static int enter_dotted(struct reader *r, const struct key *k, size_t i, json_t **table)
{
	struct str name = key_part(k, i);
	json_t *next = find(*table, name);
	if (next == NULL)
		return add_table(r, *table, name, ORIGIN_DOTTED, table);
	enum origin origin = origins_get(&r->origins, next);
	if (origin != ORIGIN_DOTTED && origin != ORIGIN_IMPLICIT)
		return fail(r, k->at, "\"%.*s\" is defined already: a dotted key can't add to it", STR_ARG(name));
	origins_set(&r->origins, next, ORIGIN_DOTTED);
	*table = next;
	return 0;
}

// key = value. depth: of the table.
static int read_pair(struct reader *r, json_t *table, size_t depth)
{
	CLEANUP(key_release) struct key k = {.text = BUF_INIT(TOML_TEXT_MAX)};
	if (read_key(r, &k) < 0)
		return -EINVAL;
	if (!take(r, '='))
		return fail(r, r->at, "expected \"=\" after the key");
	skip_blanks(r);
	if (check_depth(r, &k, depth + k.n - 1) < 0)
		return -EINVAL;
	for (size_t i = 0; i + 1 < k.n; i++)
		if (enter_dotted(r, &k, i, &table) < 0)
			return -EINVAL;
	struct str name = key_part(&k, k.n - 1);
	if (find(table, name) != NULL)
		return fail(r, k.at, "\"%.*s\" is defined already", STR_ARG(name));
	json_t *value = NULL;
	if (read_value(r, depth + k.n - 1, &value) < 0)
		return -EINVAL;
	return add(table, name, value) != NULL ? 0 : fail(r, r->at, "out of memory");
}

// The table that a header's part but the last names; of an array of tables its latest.
static int enter_header(struct reader *r, const struct key *k, size_t i, json_t **table, size_t *depth)
{
	struct str name = key_part(k, i);
	json_t *next = find(*table, name);
	++*depth;
	if (next == NULL)
		return add_table(r, *table, name, ORIGIN_IMPLICIT, table);
	enum origin origin = origins_get(&r->origins, next);
	if (origin == ORIGIN_VALUE)
		return fail(r, k->at, "\"%.*s\" is a value: a header can't add to it", STR_ARG(name));
	if (origin == ORIGIN_TABLES) {
		next = json_array_get(next, json_array_size(next) - 1);
		++*depth;
	}
	*table = next;
	return 0;
}

// [name]
static int define_table(struct reader *r, const struct key *k, json_t **table)
{
	struct str name = key_part(k, k->n - 1);
	json_t *next = find(*table, name);
	if (next == NULL)
		return add_table(r, *table, name, ORIGIN_HEADER, table);
	if (origins_get(&r->origins, next) != ORIGIN_IMPLICIT)
		return fail(r, k->at, "\"%.*s\" is defined already", STR_ARG(name));
	origins_set(&r->origins, next, ORIGIN_HEADER);
	*table = next;
	return 0;
}

// [[name]]
static int append_table(struct reader *r, const struct key *k, json_t **table)
{
	struct str name = key_part(k, k->n - 1);
	json_t *tables = find(*table, name);
	if (tables == NULL) {
		tables = add(*table, name, json_array());
		if (tables == NULL)
			return fail(r, r->at, "out of memory");
		origins_set(&r->origins, tables, ORIGIN_TABLES);
	}
	if (origins_get(&r->origins, tables) != ORIGIN_TABLES)
		return fail(r, k->at, "\"%.*s\" is defined already, and not as an array of tables", STR_ARG(name));
	if (count_node(r) < 0)
		return -EINVAL;
	json_t *next = json_object();
	if (json_array_append_new(tables, next) < 0)
		return fail(r, r->at, "out of memory");
	origins_set(&r->origins, next, ORIGIN_HEADER);
	*table = next;
	return 0;
}

// Moves *table to what the header names.
static int read_header(struct reader *r, json_t *root, json_t **table, size_t *depth)
{
	CLEANUP(key_release) struct key k = {.text = BUF_INIT(TOML_TEXT_MAX)};
	r->at++;
	bool array = take(r, '[');
	if (read_key(r, &k) < 0)
		return -EINVAL;
	if (!take(r, ']') || (array && !take(r, ']')))
		return fail(r, r->at, "expected \"%s\" after the table's name", array ? "]]" : "]");
	*table = root;
	*depth = 0;
	for (size_t i = 0; i + 1 < k.n; i++)
		if (enter_header(r, &k, i, table, depth) < 0)
			return -EINVAL;
	*depth += array ? 2 : 1;
	if (check_depth(r, &k, *depth) < 0)
		return -EINVAL;
	return array ? append_table(r, &k, table) : define_table(r, &k, table);
}

static int read_document(struct reader *r, json_t *root)
{
	json_t *table = root;
	size_t depth = 0;
	while (peek(r) != END) {
		skip_blanks(r);
		int c = peek(r);
		if (c == '[') {
			if (read_header(r, root, &table, &depth) < 0)
				return -EINVAL;
		} else if (c != '#' && c != '\n' && c != '\r' && c != END) {
			if (read_pair(r, table, depth) < 0)
				return -EINVAL;
		}
		if (read_line_end(r) < 0)
			return -EINVAL;
	}
	return 0;
}

json_t *toml_read(struct str text, struct error *err)
{
	CLEANUP(reader_release)
	struct reader r = {.text = text, .scratch = BUF_INIT(TOML_TEXT_MAX), .err = err};
	if (text.n > TOML_TEXT_MAX) {
		(void)error_set(err, EFBIG, "%zu bytes of TOML, at most %zu are read", text.n, TOML_TEXT_MAX);
		return NULL;
	}
	if (check_utf8(&r) < 0)
		return NULL;
	if (starts_with(&r, "\xEF\xBB\xBF")) // the byte order mark that some editors write
		r.text = (struct str){text.p + 3, text.n - 3};
	json_auto_t *root = json_object();
	if (read_document(&r, root) < 0)
		return NULL;
	return TAKE_PTR(root);
}
