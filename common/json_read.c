#include "common/json_read.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/utf8.h"

// Up to this many keys, each new one is compared with all before it; a larger object is sorted when it ends.
#define KEYS_COMPARED_DIRECTLY 16
#define PATH_TEXT_MAX 240

// What ends the fast loop over a string: quote, backslash, control characters, and the bytes of longer UTF-8.
static const unsigned char stops_string[256] = {[0 ... 0x1F] = 1, ['"'] = 1, ['\\'] = 1, [0x80 ... 0xFF] = 1};

void json_read_init(struct json_read *r, struct str text, struct arena *arena, struct error *err)
{
	r->start = r->p = text.p;
	r->end = text.p + text.n;
	r->arena = arena;
	r->err = err;
	r->fault = JSON_FAULT_NONE;
	r->depth = 0;
	r->keys = NULL;
	r->nkeys = r->keys_cap = 0;
}

static void path_text(const struct json_read *r, struct buf *path)
{
	for (size_t i = 0; i < r->depth; i++) {
		const struct json_level *l = &r->level[i];
		if (!l->started)
			break;
		if (l->object)
			buf_addf(path, "%s%.*s", path->n > 0 ? "." : "", STR_ARG(l->key));
		else
			buf_addf(path, "[%zu]", l->index);
	}
}

static void fail(struct json_read *r, enum json_fault fault, const char *what)
{
	if (r->fault != JSON_FAULT_NONE)
		return;
	r->fault = fault;
	CLEANUP_BUF
	struct buf path = BUF_INIT(PATH_TEXT_MAX);
	path_text(r, &path);
	const char *at = path.n > 0 ? buf_z(&path) : "(top)";
	if (fault == JSON_FAULT_TYPE)
		(void)error_set(r->err, EINVAL, "%s: %s", at, what);
	else
		(void)error_set(r->err, EINVAL, "not valid JSON at byte %zu, in %s: %s", (size_t)(r->p - r->start), at, what);
	r->p = r->end;
}

// The next byte that isn't white space, 0 at the end or after a fault.
static inline char peek(struct json_read *r)
{
	for (; r->p < r->end; r->p++)
		if ((unsigned char)*r->p > ' ' || (*r->p != ' ' && *r->p != '\n' && *r->p != '\t' && *r->p != '\r'))
			return *r->p;
	return '\0';
}

static bool literal(struct json_read *r, const char *word, size_t n)
{
	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) {
		fail(r, JSON_FAULT_SYNTAX, "a value was expected");
		return false;
	}
	r->p += n;
	return true;
}

static int hex4(const char *s)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
				: c >= 'a' && c <= 'f' ? c - 'a' + 10
				: c >= 'A' && c <= 'F' ? c - 'A' + 10
									   : -1;
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

static size_t utf8_put(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3F));
	to[0] = (char)(lead[n] | c);
	return n;
}

// The code point of a \u escape whose four digits start at *p; moves *p behind it. -1: not a scalar value.
static int64_t unicode_escape(const char **p, const char *end)
{
	int hi = end - *p >= 4 ? hex4(*p) : -1;
	if (hi < 0 || (hi >= 0xDC00 && hi <= 0xDFFF))
		return -1;
	*p += 4;
	if (hi < 0xD800 || hi > 0xDBFF)
		return hi;
	int lo = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2) : -1;
	if (lo < 0xDC00 || lo > 0xDFFF)
		return -1;
	*p += 6;
	return 0x10000 + ((int64_t)(hi - 0xD800) << 10) + (lo - 0xDC00);
}

// from: the raw text between the quotes, already checked for everything but its escapes. Escapes never grow.
static struct str unescape(struct json_read *r, struct str from)
{
	char *to = arena_alloc(r->arena, from.n + 1, 1);
	size_t n = 0;
	const char *end = from.p + from.n;
	for (const char *p = from.p; p < end;) {
		if (*p != '\\') {
			to[n++] = *p++;
			continue;
		}
		static const char names[] = "\"\\/bfnrt";
		static const char means[] = "\"\\/\b\f\n\r\t";
		const char *known = strchr(names, p[1]);
		p += 2;
		if (p[-1] == 'u') {
			int64_t c = unicode_escape(&p, end);
			if (c < 0) {
				fail(r, JSON_FAULT_SYNTAX, "a \\u escape is not a Unicode character");
				return (struct str){0};
			}
			n += utf8_put(to + n, (uint32_t)c);
		} else if (known != NULL && p[-1] != '\0') {
			to[n++] = means[known - names];
		} else {
			fail(r, JSON_FAULT_SYNTAX, "unknown escape in a string");
			return (struct str){0};
		}
	}
	return (struct str){to, n};
}

// The first byte from p on that stops_string[], or end. Eight bytes at a time: strings are nine tenths of a review.
static inline const char *plain_run(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101U;
	const uint64_t highs = 0x8080808080808080U;
	for (; end - p >= 8; p += 8) {
		uint64_t w;
		memcpy(&w, p, sizeof(w));
		uint64_t quote = w ^ (ones * '"');
		uint64_t slash = w ^ (ones * '\\');
		// A high bit is set where a byte is zero (the xors), below 0x20, or 0x80 and above; a borrow can only set
		// one too many behind such a byte, which costs a look at the table, not an error.
		if ((((quote - ones) | (slash - ones) | (w - ones * 0x20) | w) & highs) != 0)
			break;
	}
	while (p < end && !stops_string[(unsigned char)*p])
		p++;
	return p;
}

// At an opening quote.
static struct str scan_string(struct json_read *r)
{
	const char *p = r->p + 1;
	const char *begin = p;
	bool escapes = false;
	for (;;) {
		p = plain_run(p, r->end);
		if (p == r->end) {
			r->p = p;
			fail(r, JSON_FAULT_SYNTAX, "the text ends inside a string");
			return (struct str){0};
		}
		if (*p == '"')
			break;
		size_t step = 0;
		if (*p == '\\') {
			escapes = true;
			step = r->end - p >= 2 ? 2 : 0;
		} else if ((unsigned char)*p >= 0x80) {
			step = utf8_sequence((const unsigned char *)p, (size_t)(r->end - p));
		}
		if (step == 0) {
			r->p = p;
			fail(r, JSON_FAULT_SYNTAX,
				 (unsigned char)*p >= 0x80 ? "a string is not UTF-8"
										   : "a control character or a cut escape in a string");
			return (struct str){0};
		}
		// What follows a backslash is looked at by unescape(); it may be any byte that a string may hold.
		if (*p == '\\' && (unsigned char)p[1] >= 0x80)
			step = 1;
		p += step;
	}
	r->p = p + 1;
	struct str raw = {begin, (size_t)(p - begin)};
	return escapes ? unescape(r, raw) : raw;
}

static size_t digits(struct json_read *r)
{
	const char *from = r->p;
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return (size_t)(r->p - from);
}

static bool accept_char(struct json_read *r, char a, char b)
{
	if (r->p == r->end || (*r->p != a && *r->p != b))
		return false;
	r->p++;
	return true;
}

static struct str scan_number(struct json_read *r)
{
	const char *from = r->p;
	(void)accept_char(r, '-', '-');
	const char *lead = r->p;
	size_t n = digits(r);
	bool good = n > 0 && (n == 1 || *lead != '0');
	if (good && accept_char(r, '.', '.'))
		good = digits(r) > 0;
	if (good && accept_char(r, 'e', 'E')) {
		(void)accept_char(r, '+', '-');
		good = digits(r) > 0;
	}
	if (!good) {
		fail(r, JSON_FAULT_SYNTAX, "not a number");
		return (struct str){0};
	}
	return (struct str){from, (size_t)(r->p - from)};
}

static bool enter(struct json_read *r, bool object)
{
	if (r->depth == JSON_DEPTH_MAX) {
		fail(r, JSON_FAULT_SYNTAX, "nested too deeply");
		return false;
	}
	r->p++;
	r->level[r->depth++] = (struct json_level){.object = object, .first_key = r->nkeys};
	return true;
}

static const char *kind_name(char c)
{
	switch (c) {
	case '{':
		return "an object";
	case '[':
		return "an array";
	case '"':
		return "a string";
	case 't':
	case 'f':
		return "a boolean";
	default:
		return "a number";
	}
}

static void wrong_type(struct json_read *r, const char *wanted)
{
	char c = peek(r);
	if (c == '\0' || strchr("{[\"tf-0123456789", c) == NULL) {
		fail(r, JSON_FAULT_SYNTAX, "a value was expected");
		return;
	}
	char what[96];
	bool unquoted = strcmp(wanted, "a string") == 0 && c != '{' && c != '[';
	(void)snprintf(what, sizeof(what), "must be %s, not %s%s", wanted, kind_name(c),
				   unquoted ? "; put it in quotes" : "");
	fail(r, JSON_FAULT_TYPE, what);
}

bool json_read_null(struct json_read *r)
{
	return peek(r) == 'n' && literal(r, "null", 4);
}

static bool enter_kind(struct json_read *r, char open, const char *wanted)
{
	char c = peek(r);
	if (c == open)
		return enter(r, open == '{');
	if (!json_read_null(r))
		wrong_type(r, wanted);
	return false;
}

bool json_enter_object(struct json_read *r)
{
	return enter_kind(r, '{', "an object");
}

bool json_enter_array(struct json_read *r)
{
	return enter_kind(r, '[', "an array");
}

static int compare_keys(const void *a, const void *b)
{
	const struct str *x = a;
	const struct str *y = b;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return memcmp(x->p, y->p, x->n);
}

static void duplicate(struct json_read *r, struct str key)
{
	char what[256];
	(void)snprintf(what, sizeof(what), "key \"%.*s\" stands twice in one object", STR_ARG(key));
	fail(r, JSON_FAULT_SYNTAX, what);
}

static void remember_key(struct json_read *r, struct str key)
{
	size_t first = r->level[r->depth - 1].first_key;
	if (r->nkeys - first < KEYS_COMPARED_DIRECTLY)
		for (size_t i = first; i < r->nkeys; i++)
			if (r->keys[i].n == key.n && memcmp(r->keys[i].p, key.p, key.n) == 0) {
				duplicate(r, key);
				return;
			}
	if (r->nkeys == r->keys_cap) {
		size_t cap = r->keys_cap > 0 ? r->keys_cap * 2 : 64;
		struct str *grown = arena_alloc(r->arena, cap, sizeof(*grown));
		if (r->nkeys > 0)
			memcpy(grown, r->keys, r->nkeys * sizeof(*grown));
		r->keys = grown;
		r->keys_cap = cap;
	}
	r->keys[r->nkeys++] = key;
}

static void leave(struct json_read *r)
{
	struct json_level *l = &r->level[r->depth - 1];
	size_t n = r->nkeys - l->first_key;
	if (l->object && n > KEYS_COMPARED_DIRECTLY) {
		struct str *keys = r->keys + l->first_key;
		qsort(keys, n, sizeof(*keys), compare_keys);
		for (size_t i = 1; i < n; i++)
			if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
				duplicate(r, keys[i]);
				return;
			}
	}
	r->nkeys = l->first_key;
	r->depth--;
	r->p++;
}

// Positions before the next member or item of the innermost container; false at its end, which is left.
static bool next_element(struct json_read *r, char close)
{
	if (r->fault != JSON_FAULT_NONE)
		return false;
	struct json_level *l = &r->level[r->depth - 1];
	char c = peek(r);
	if (c == close) {
		leave(r);
		return false;
	}
	if (l->started) {
		if (c != ',') {
			fail(r, JSON_FAULT_SYNTAX, l->object ? "expected ',' or '}'" : "expected ',' or ']'");
			return false;
		}
		r->p++;
	}
	return true;
}

bool json_next_key(struct json_read *r, struct str *ret_key)
{
	if (!next_element(r, '}'))
		return false;
	struct json_level *l = &r->level[r->depth - 1];
	if (peek(r) != '"') {
		fail(r, JSON_FAULT_SYNTAX, "expected a key in double quotes");
		return false;
	}
	struct str key = scan_string(r);
	if (r->fault != JSON_FAULT_NONE)
		return false;
	l->key = key;
	l->started = true;
	remember_key(r, key);
	if (r->fault == JSON_FAULT_NONE && peek(r) != ':')
		fail(r, JSON_FAULT_SYNTAX, "expected ':'");
	if (r->fault != JSON_FAULT_NONE)
		return false;
	r->p++;
	*ret_key = key;
	return true;
}

bool json_next_item(struct json_read *r)
{
	if (!next_element(r, ']'))
		return false;
	struct json_level *l = &r->level[r->depth - 1];
	if (l->started)
		l->index++;
	l->started = true;
	return true;
}

struct str json_read_string(struct json_read *r)
{
	if (peek(r) == '"')
		return scan_string(r);
	if (!json_read_null(r))
		wrong_type(r, "a string");
	return (struct str){0};
}

struct str json_read_scalar_text(struct json_read *r)
{
	char c = peek(r);
	if (c == '-' || (c >= '0' && c <= '9'))
		return scan_number(r);
	return json_read_string(r);
}

bool json_read_bool(struct json_read *r)
{
	char c = peek(r);
	if (c == 't')
		return literal(r, "true", 4);
	if (c == 'f')
		(void)literal(r, "false", 5);
	else if (!json_read_null(r))
		wrong_type(r, "a boolean");
	return false;
}

static void skip_scalar(struct json_read *r, char c)
{
	switch (c) {
	case '"':
		(void)scan_string(r);
		break;
	case 't':
		(void)literal(r, "true", 4);
		break;
	case 'f':
		(void)literal(r, "false", 5);
		break;
	case 'n':
		(void)literal(r, "null", 4);
		break;
	default:
		if (c == '-' || (c >= '0' && c <= '9'))
			(void)scan_number(r);
		else
			fail(r, JSON_FAULT_SYNTAX, "a value was expected");
	}
}

struct str json_skip(struct json_read *r)
{
	char c = peek(r);
	const char *from = r->p;
	size_t outside = r->depth;
	for (;;) {
		if (c == '{' || c == '[')
			(void)enter(r, c == '{');
		else
			skip_scalar(r, c);
		// Up and out of whatever ends here, to the next value, if there is one inside what we skip.
		struct str key;
		while (r->fault == JSON_FAULT_NONE && r->depth > outside &&
			   !(r->level[r->depth - 1].object ? json_next_key(r, &key) : json_next_item(r)))
			continue;
		if (r->fault != JSON_FAULT_NONE)
			return (struct str){0};
		if (r->depth == outside)
			return (struct str){from, (size_t)(r->p - from)};
		c = peek(r);
	}
}

int json_read_end(struct json_read *r)
{
	if (r->fault == JSON_FAULT_NONE && (r->depth > 0 || peek(r) != '\0' || r->p != r->end))
		fail(r, JSON_FAULT_SYNTAX, r->depth > 0 ? "the text ends too early" : "text follows the value");
	return r->fault == JSON_FAULT_NONE ? 0 : -EINVAL;
}
