#include "common/json_read.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

static __attribute__((noinline, cold)) void fail(struct json_read *r, enum json_fault fault, const char *what)
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

static __attribute__((noinline)) char peek_past_space(struct json_read *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? *r->p : '\0';
}

// The next byte that isn't white space, 0 at the end or after a fault.
static inline char peek(struct json_read *r)
{
	if (r->p < r->end && (unsigned char)*r->p > ' ')
		return *r->p;
	return peek_past_space(r);
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
	static const char means[256] = {
		['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
	char *to = arena_alloc(r->arena, from.n + 1, 1);
	size_t n = 0;
	const char *end = from.p + from.n;
	for (const char *p = from.p; p < end;) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t plain = (size_t)((slash != NULL ? slash : end) - p);
		memcpy(to + n, p, plain);
		n += plain;
		p += plain;
		if (slash == NULL)
			break;
		char name = p[1];
		p += 2;
		if (name == 'u') {
			int64_t c = unicode_escape(&p, end);
			if (c < 0) {
				fail(r, JSON_FAULT_SYNTAX, "a \\u escape is not a Unicode character");
				return (struct str){0};
			}
			n += utf8_put(to + n, (uint32_t)c);
		} else if (means[(unsigned char)name] != '\0') {
			to[n++] = means[(unsigned char)name];
		} else {
			fail(r, JSON_FAULT_SYNTAX, "unknown escape in a string");
			return (struct str){0};
		}
	}
	return (struct str){to, n};
}

// The first byte from p on that stops_string[], or end. Many bytes at a time: strings are nine tenths of a review.
static inline const char *plain_run(const char *p, const char *end)
{
#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const void *)p);
		__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
		__m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
		// As signed numbers, the bytes of longer UTF-8 are below the control characters.
		__m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
		unsigned stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
		if (stops != 0)
			return p + __builtin_ctz(stops);
	}
#endif
	const uint64_t ones = 0x0101010101010101U;
	const uint64_t highs = 0x8080808080808080U;
	for (; end - p >= 8; p += 8) {
		uint64_t w;
		memcpy(&w, p, sizeof(w));
		w = le64toh(w);
		uint64_t quote = w ^ (ones * '"');
		uint64_t slash = w ^ (ones * '\\');
		// A high bit is set where a byte is zero (the xors), below 0x20, or 0x80 and above. A borrow can set one too
		// many, but only behind such a byte: the first is right.
		uint64_t stops = ((quote - ones) | (slash - ones) | (w - ones * 0x20) | w) & highs;
		if (stops != 0)
			return p + __builtin_ctzll(stops) / 8;
	}
	while (p < end && !stops_string[(unsigned char)*p])
		p++;
	return p;
}

// The rest of a string that begins at `begin`, from the first byte at p that isn't plain.
static __attribute__((noinline)) struct str scan_special(struct json_read *r, const char *begin, const char *p)
{
	bool escapes = false;
	for (;; p = plain_run(p, r->end)) {
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

// At an opening quote.
static inline struct str scan_string(struct json_read *r)
{
	const char *begin = r->p + 1;
	const char *p = plain_run(begin, r->end);
	if (p == r->end || *p != '"')
		return scan_special(r, begin, p);
	r->p = p + 1;
	return (struct str){begin, (size_t)(p - begin)};
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

static inline bool enter(struct json_read *r, bool object)
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

// Most keys differ from all before them in this: one of 64 bits, by length and some characters.
static inline uint64_t key_mark(struct str key)
{
	if (key.n == 0)
		return 1;
	size_t sum = key.n + (unsigned char)key.p[key.n / 2] * 5U + (unsigned char)key.p[key.n - 1] * 11U;
	return (uint64_t)1 << (sum % 64);
}

static bool known_key(const struct json_read *r, size_t first, struct str key)
{
	for (size_t i = first; i < r->nkeys; i++)
		if (r->keys[i].n == key.n && memcmp(r->keys[i].p, key.p, key.n) == 0)
			return true;
	return false;
}

static void grow_keys(struct json_read *r)
{
	size_t cap = r->keys_cap > 0 ? r->keys_cap * 2 : 64;
	struct str *grown = arena_alloc(r->arena, cap, sizeof(*grown));
	if (r->nkeys > 0)
		memcpy(grown, r->keys, r->nkeys * sizeof(*grown));
	r->keys = grown;
	r->keys_cap = cap;
}

static inline void remember_key(struct json_read *r, struct json_level *l, struct str key)
{
	uint64_t mark = key_mark(key);
	if ((l->key_marks & mark) != 0 && r->nkeys - l->first_key < KEYS_COMPARED_DIRECTLY &&
		known_key(r, l->first_key, key)) {
		duplicate(r, key);
		return;
	}
	l->key_marks |= mark;
	if (r->nkeys == r->keys_cap)
		grow_keys(r);
	r->keys[r->nkeys++] = key;
}

// An object of many keys: those not compared when they came.
static void check_many_keys(struct json_read *r, struct str *keys, size_t n)
{
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < n; i++)
		if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
			duplicate(r, keys[i]);
			return;
		}
}

static inline void leave(struct json_read *r, const struct json_level *l)
{
	size_t n = r->nkeys - l->first_key;
	if (n > KEYS_COMPARED_DIRECTLY)
		check_many_keys(r, r->keys + l->first_key, n);
	if (r->fault != JSON_FAULT_NONE)
		return;
	r->nkeys = l->first_key;
	r->depth--;
	r->p++;
}

// Positions before the next member or item of the innermost container; false at its end, which is left.
static inline bool next_element(struct json_read *r, struct json_level *l, char close)
{
	char c = peek(r);
	if (c == close) {
		leave(r, l);
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

// The next member's key is left in the level.
static inline bool next_key(struct json_read *r, struct json_level *l)
{
	if (!next_element(r, l, '}'))
		return false;
	if (peek(r) != '"') {
		fail(r, JSON_FAULT_SYNTAX, "expected a key in double quotes");
		return false;
	}
	struct str key = scan_string(r);
	if (key.p == NULL)
		return false;
	l->key = key;
	l->started = true;
	remember_key(r, l, key);
	if (peek(r) != ':')
		fail(r, JSON_FAULT_SYNTAX, "expected ':'");
	if (r->fault != JSON_FAULT_NONE)
		return false;
	r->p++;
	return true;
}

static inline bool next_item(struct json_read *r, struct json_level *l)
{
	if (!next_element(r, l, ']'))
		return false;
	if (l->started)
		l->index++;
	l->started = true;
	return true;
}

bool json_next_key(struct json_read *r, struct str *ret_key)
{
	if (r->fault != JSON_FAULT_NONE)
		return false;
	struct json_level *l = &r->level[r->depth - 1];
	if (!next_key(r, l))
		return false;
	*ret_key = l->key;
	return true;
}

bool json_next_item(struct json_read *r)
{
	return r->fault == JSON_FAULT_NONE && next_item(r, &r->level[r->depth - 1]);
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

// Up and out of whatever ends here, to the next value inside what is skipped. false: there is none.
static inline bool next_inside(struct json_read *r, size_t outside)
{
	while (r->fault == JSON_FAULT_NONE && r->depth > outside) {
		struct json_level *l = &r->level[r->depth - 1];
		if (l->object ? next_key(r, l) : next_item(r, l))
			return true;
	}
	return false;
}

struct str json_skip(struct json_read *r)
{
	char c = peek(r);
	const char *from = r->p;
	size_t outside = r->depth;
	for (;; c = peek(r)) {
		if (c == '"')
			(void)scan_string(r);
		else if (c == '{' && r->end - r->p >= 2 && r->p[1] == '}' && r->depth < JSON_DEPTH_MAX)
			r->p += 2; // as half of all objects in managedFields
		else if (c == '{' || c == '[')
			(void)enter(r, c == '{');
		else
			skip_scalar(r, c);
		if (!next_inside(r, outside))
			break;
	}
	return r->fault == JSON_FAULT_NONE ? (struct str){from, (size_t)(r->p - from)} : (struct str){0};
}

int json_read_end(struct json_read *r)
{
	if (r->fault == JSON_FAULT_NONE && (r->depth > 0 || peek(r) != '\0' || r->p != r->end))
		fail(r, JSON_FAULT_SYNTAX, r->depth > 0 ? "the text ends too early" : "text follows the value");
	return r->fault == JSON_FAULT_NONE ? 0 : -EINVAL;
}
