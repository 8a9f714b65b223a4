#include "common/json_read.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/json_escape.h"
#include "common/json_plain.h"
#include "common/json_write.h"
#include "common/utf8.h"

// Up to this many keys, each new one is compared with all before it; a larger object is sorted when it ends.
#define KEYS_COMPARED_DIRECTLY 16
#define PATH_TEXT_MAX 240
#define AHEAD 57 // the bits that are surely there when eight bytes are read from any bit on
// What is looked at together: `,"`, a key, `":`, and a string.
#define ROOM (2 + AHEAD + 7 + 2 + 1 + AHEAD + 7 + 1)
#define LIKELY(x) __builtin_expect((x), 1)

// A string as it stands in the text.
struct scanned {
	struct str raw;  // between the quotes; p NULL after a fault
	const char *end; // behind the closing quote
	bool escapes;
	bool rewrite; // with an escape that is not the only way to write its character
};

static inline __attribute__((always_inline)) void look_at_block(struct json_read *r, size_t i, const char *p)
{
	uint32_t mask;
	uint16_t stops = htole16((uint16_t)json_stops_unescaped(p, &mask));
	uint16_t escaped = htole16((uint16_t)mask);
	memcpy(r->stops + 2 * i, &stops, sizeof(stops));
	memcpy(r->escaped + 2 * i, &escaped, sizeof(escaped));
}

// Looks at the text from p on, inside a string or not: what matters is only what stands before a quote.
static __attribute__((noinline)) void move_window(struct json_read *r, const char *p)
{
	size_t left = (size_t)(r->end - p);
	size_t blocks = (left < JSON_WINDOW ? left : JSON_WINDOW) / JSON_BLOCK;
	if (blocks * JSON_BLOCK <= ROOM)
		return;
	// Of the first block, there may be no byte before it.
	char first[1 + JSON_BLOCK];
	first[0] = p > r->start ? p[-1] : ' ';
	memcpy(first + 1, p, JSON_BLOCK);
	look_at_block(r, 0, first + 1);
	for (size_t i = 1; i < blocks; i++)
		look_at_block(r, i, p + i * JSON_BLOCK);
	r->window = p;
	r->roomy = p + blocks * JSON_BLOCK - ROOM;
}

// A new window where p is near the end of this one.
static inline void look_ahead(struct json_read *r, const char *p)
{
	if (p >= r->roomy)
		move_window(r, p);
}

static inline uint64_t bits_from(const unsigned char *bits, size_t at)
{
	uint64_t eight;
	memcpy(&eight, bits + at / 8, sizeof(eight));
	return le64toh(eight) >> at % 8;
}

// The bytes from p on before the first stop: AHEAD or more where there is none near.
static inline __attribute__((always_inline)) size_t run_unescaped(const struct json_read *r, const char *p)
{
	uint64_t stops = bits_from(r->stops, (size_t)(p - r->window));
	return (unsigned)__builtin_ctzll(stops | (uint64_t)1 << 63);
}

// Whether no escape is among the n bytes at p.
static inline __attribute__((always_inline)) bool is_plain(const struct json_read *r, const char *p, size_t n)
{
	return (bits_from(r->escaped, (size_t)(p - r->window)) & ~(~(uint64_t)0 << n)) == 0;
}

void json_read_init(struct json_read *r, struct str text, struct arena *arena, struct error *err)
{
	r->start = r->p = text.p;
	r->end = text.p + text.n;
	r->roomy = r->window = r->start;
	move_window(r, r->start);
	r->arena = arena;
	r->err = err;
	r->fault = JSON_FAULT_NONE;
	r->top = r->level;
	r->level[0] = (struct json_level){0};
	r->keys = r->few;
	r->nkeys = 0;
	r->keys_cap = JSON_KEYS_FEW;
}

static inline bool is_started(const struct json_read *r, const struct json_level *l)
{
	return l->object ? r->nkeys > l->first_key : l->items > 0;
}

// Where the keys of an object that is open end, and those of objects inside it begin.
static size_t keys_end(const struct json_read *r, const struct json_level *l)
{
	while (++l <= r->top)
		if (l->object)
			return l->first_key;
	return r->nkeys;
}

static void path_text(const struct json_read *r, struct buf *path)
{
	for (const struct json_level *l = r->level + 1; l <= r->top && is_started(r, l); l++) {
		if (!l->object) {
			buf_addf(path, "[%zu]", l->items - 1);
			continue;
		}
		struct str key = json_unescape(r->arena, r->keys[keys_end(r, l) - 1]);
		buf_addf(path, "%s%.*s", path->n > 0 ? "." : "", STR_ARG(key));
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

// A fault at p. Returns where reading goes on: at the end.
static __attribute__((noinline, cold)) const char *fail_at(struct json_read *r, const char *p, const char *what)
{
	if (r->fault == JSON_FAULT_NONE)
		r->p = p;
	fail(r, JSON_FAULT_SYNTAX, what);
	return r->end;
}

static __attribute__((noinline)) const char *past_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

// What walks over the text takes its position by pointer, and hands it on by value only: so it is r->p for who asks for
// one thing, and a register in json_skip().

// The next byte that isn't white space, 0 at the end or after a fault.
static inline char peek_at(const struct json_read *r, const char **at)
{
	if (*at < r->end && (unsigned char)**at > ' ')
		return **at;
	*at = past_space(*at, r->end);
	return *at < r->end ? **at : '\0';
}

static inline char peek(struct json_read *r)
{
	return peek_at(r, &r->p);
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

// The rest of a string that begins at `begin`, from the first byte at p that isn't plain.
static __attribute__((noinline)) struct scanned scan_special(struct json_read *r, const char *begin, const char *p)
{
	const char *bad = NULL; // an escape, said at the string's end
	struct scanned s = {0};
	for (;; p = json_plain_end(p, r->end)) {
		if (p == r->end) {
			bad = "the text ends inside a string";
			break;
		}
		if (*p == '"') {
			p++;
			break;
		}
		size_t step = 0;
		if (*p == '\\' && r->end - p >= 2) {
			s.escapes = true;
			p = json_check_escape(p, r->end, &bad, &s.rewrite);
			continue;
		}
		if ((unsigned char)*p >= 0x80)
			step = utf8_sequence((const unsigned char *)p, (size_t)(r->end - p));
		if (step == 0) {
			bad =
				(unsigned char)*p >= 0x80 ? "a string is not UTF-8" : "a control character or a cut escape in a string";
			break;
		}
		p += step;
	}
	if (bad != NULL)
		return (struct scanned){.end = fail_at(r, p, bad)};
	s.raw = (struct str){begin, (size_t)(p - 1 - begin)};
	s.end = p;
	return s;
}

// *at is at an opening quote, and then behind the closing one.
static inline __attribute__((always_inline)) struct scanned scan_string(struct json_read *r, const char **at)
{
	const char *begin = *at + 1;
	const char *p = json_plain_end(begin, r->end);
	struct scanned s = {.raw = {begin, (size_t)(p - begin)}, .end = p + 1};
	if (!LIKELY(p < r->end && *p == '"'))
		s = scan_special(r, begin, p);
	*at = s.end;
	return s;
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

static inline bool enter(struct json_read *r, bool object, const char **at)
{
	if (r->top == r->level + JSON_DEPTH_MAX) {
		*at = fail_at(r, *at, "nested too deeply");
		return false;
	}
	++*at;
	*++r->top = (struct json_level){.object = object, .first_key = r->nkeys};
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
		return enter(r, open == '{', &r->p);
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

static __attribute__((noinline, cold)) const char *duplicate(struct json_read *r, struct str key, const char *p)
{
	char what[256];
	struct str text = json_unescape(r->arena, key);
	(void)snprintf(what, sizeof(what), "key \"%.*s\" stands twice in one object", STR_ARG(text));
	return fail_at(r, p, what);
}

// Keys are compared as they stand in the text, so that those of what is skipped need not be unescaped. That is sound
// where every character has one way to be written: as json_write_string() writes it. A key that differs is rewritten.
static __attribute__((noinline)) struct str canonical_key(struct json_read *r, struct str raw)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(3 * raw.n + 2); // \b becomes \u0008
	json_write_string(&text, json_unescape(r->arena, raw));
	char *key = arena_text(r->arena, text.n);
	memcpy(key, buf_z(&text), text.n);
	return (struct str){key + 1, text.n - 2};
}

// Most keys differ from all before them in this: one of 64 bits, by length and some characters. A key stands in quotes,
// so that an empty one has bytes beside it, too.
static inline unsigned key_mark(struct str key)
{
	return ((unsigned)key.n + (unsigned char)key.p[key.n / 2] * 5U + (unsigned char)*(key.p + key.n - 1) * 11U) % 64;
}

static inline bool is_marked(uint64_t marks, unsigned mark)
{
	return marks >> mark & 1;
}

// Whether `key` is among the n at `keys`; those of a large object are compared when it ends.
static __attribute__((noinline)) bool known_key(const struct str *keys, size_t n, struct str key)
{
	if (n >= KEYS_COMPARED_DIRECTLY)
		return false;
	for (size_t i = 0; i < n; i++)
		if (keys[i].n == key.n && memcmp(keys[i].p, key.p, key.n) == 0)
			return true;
	return false;
}

static void grow_keys(struct json_read *r)
{
	size_t cap = r->keys_cap * 2;
	struct str *grown = arena_alloc(r->arena, cap, sizeof(*grown));
	memcpy(grown, r->keys, r->nkeys * sizeof(*grown));
	r->keys = grown;
	r->keys_cap = cap;
}

static void remember_key(struct json_read *r, struct json_level *l, struct str key, const char **at)
{
	unsigned mark = key_mark(key);
	bool known = is_marked(l->key_marks, mark) && known_key(r->keys + l->first_key, r->nkeys - l->first_key, key);
	l->key_marks |= (uint64_t)1 << mark;
	if (!LIKELY(r->nkeys < r->keys_cap))
		grow_keys(r);
	r->keys[r->nkeys++] = key;
	if (known)
		*at = duplicate(r, key, *at);
}

// An object of many keys: those not compared when they came.
static __attribute__((noinline)) const char *check_many_keys(struct json_read *r, struct str *keys, size_t n,
															 const char *p)
{
	struct str last = keys[n - 1];
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < n; i++)
		if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
			struct str twice = keys[i];
			keys[n - 1] = last; // for the fault's path
			return duplicate(r, twice, p);
		}
	return p;
}

static inline void leave(struct json_read *r, const struct json_level *l, const char **at)
{
	r->nkeys = l->first_key;
	r->top--;
	++*at;
}

// Leaves the innermost container where its end comes at once, and there is nothing to check about it.
static inline __attribute__((always_inline)) bool leaves_compactly(struct json_read *r, const struct json_level *l,
																   const char **at, char close)
{
	if (*at >= r->end || **at != close || r->nkeys - l->first_key > KEYS_COMPARED_DIRECTLY)
		return false;
	leave(r, l, at);
	return true;
}

// Positions before the next member or item of the innermost container; false at its end, which is left.
static bool next_element(struct json_read *r, struct json_level *l, char close, const char **at)
{
	char c = peek_at(r, at);
	if (c == close) {
		size_t n = r->nkeys - l->first_key;
		if (n > KEYS_COMPARED_DIRECTLY)
			*at = check_many_keys(r, r->keys + l->first_key, n, *at);
		if (r->fault == JSON_FAULT_NONE)
			leave(r, l, at);
		return false;
	}
	if (is_started(r, l)) {
		if (c != ',') {
			*at = fail_at(r, *at, l->object ? "expected ',' or '}'" : "expected ',' or ']'");
			return false;
		}
		++*at;
	}
	return true;
}

static inline bool pair_at(const char *p, const char pair[2])
{
	uint16_t is;
	uint16_t wanted;
	memcpy(&is, p, sizeof(is));
	memcpy(&wanted, pair, sizeof(wanted));
	return is == wanted;
}

// A member's head as it stands in compact text: `,"key":`, without the comma where it is the first (comma 0), the key
// short and plain. NULL where it is another; else its value.
static inline __attribute__((always_inline)) const char *compact_key(const struct json_read *r, const char *p,
																	 size_t comma, struct str *ret_key)
{
	if (p >= r->roomy || (comma > 0 && *p != ',') || p[comma] != '"')
		return NULL;
	ret_key->p = p + comma + 1;
	ret_key->n = run_unescaped(r, ret_key->p);
	p = ret_key->p + ret_key->n;
	return LIKELY(pair_at(p, "\":") && ret_key->n < AHEAD && is_plain(r, ret_key->p, ret_key->n)) ? p + 2 : NULL;
}

// Any member, or the object's end. ret_escapes: its key, the last of keys[] then, has escapes.
static __attribute__((noinline)) bool next_key(struct json_read *r, struct json_level *l, const char **at,
											   bool *ret_escapes)
{
	if (!next_element(r, l, '}', at))
		return false;
	if (peek_at(r, at) != '"') {
		*at = fail_at(r, *at, "expected a key in double quotes");
		return false;
	}
	struct scanned key = scan_string(r, at);
	if (key.raw.p == NULL)
		return false;
	if (key.rewrite)
		key.raw = canonical_key(r, key.raw);
	*ret_escapes = key.escapes;
	remember_key(r, l, key.raw, at);
	if (peek_at(r, at) != ':') {
		*at = fail_at(r, *at, "expected ':'");
		return false;
	}
	++*at;
	return true;
}

static bool next_item(struct json_read *r, struct json_level *l, const char **at)
{
	if (!next_element(r, l, ']', at))
		return false;
	l->items++;
	return true;
}

static __attribute__((noinline)) bool next_key_slowly(struct json_read *r, struct str *ret_key)
{
	look_ahead(r, r->p);
	bool escapes = false;
	if (r->fault != JSON_FAULT_NONE || !next_key(r, r->top, &r->p, &escapes))
		return false;
	struct str key = r->keys[r->nkeys - 1];
	*ret_key = escapes ? json_unescape(r->arena, key) : key;
	return true;
}

// Here for the many keys that are simple and surely new. After a fault there is no text left for any.
bool json_next_key(struct json_read *r, struct str *ret_key)
{
	struct json_level *l = r->top;
	struct str key;
	if (leaves_compactly(r, l, &r->p, '}'))
		return false;
	const char *value = compact_key(r, r->p, r->nkeys > l->first_key, &key);
	if (!LIKELY(value != NULL && r->nkeys < r->keys_cap))
		return next_key_slowly(r, ret_key);
	unsigned mark = key_mark(key);
	if (!LIKELY(!is_marked(l->key_marks, mark)))
		return next_key_slowly(r, ret_key);
	l->key_marks |= (uint64_t)1 << mark;
	r->keys[r->nkeys++] = key;
	r->p = value;
	*ret_key = key;
	return true;
}

bool json_next_item(struct json_read *r)
{
	if (leaves_compactly(r, r->top, &r->p, ']'))
		return false;
	return r->fault == JSON_FAULT_NONE && next_item(r, r->top, &r->p);
}

// The length, quotes included, of a string at p that is short and plain; 0 where there is none.
static inline __attribute__((always_inline)) size_t short_string(const struct json_read *r, const char *p)
{
	if (p >= r->roomy || *p != '"')
		return 0;
	size_t n = run_unescaped(r, p + 1);
	return LIKELY(p[1 + n] == '"' && n < AHEAD && is_plain(r, p + 1, n)) ? n + 2 : 0;
}

static __attribute__((noinline)) struct str read_string_slowly(struct json_read *r)
{
	look_ahead(r, r->p);
	if (peek(r) == '"') {
		struct scanned s = scan_string(r, &r->p);
		return s.escapes ? json_unescape(r->arena, s.raw) : s.raw;
	}
	if (!json_read_null(r))
		wrong_type(r, "a string");
	return (struct str){0};
}

struct str json_read_string(struct json_read *r)
{
	const char *p = r->p;
	size_t n = short_string(r, p);
	if (n == 0)
		return read_string_slowly(r);
	r->p = p + n;
	return (struct str){p + 1, n - 2};
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

// ---- Skipping what is compact, most of any review: in one loop, and in registers

struct walk {
	const char *p;
	struct json_level *l; // the innermost container
	uint64_t marks;       // of l: its key_marks are behind
	struct str *key;      // where the next key goes
	const struct str *keys_end;
};

// Into the container that begins at p. false, and nothing is done: it is the deepest, where `{}` is a fault.
static inline bool walk_into(const struct json_read *r, struct walk *w, bool object)
{
	if (w->l + 1 == r->level + JSON_DEPTH_MAX)
		return false;
	w->l->key_marks = w->marks;
	*++w->l = (struct json_level){.object = object, .first_key = (size_t)(w->key - r->keys)};
	w->marks = 0;
	w->p++;
	return true;
}

// Out of the container that ends at p.
static inline void walk_out(const struct json_read *r, struct walk *w)
{
	w->key = r->keys + w->l->first_key;
	w->marks = (--w->l)->key_marks;
	w->p++;
}

// Over a member's head to its value: `key":` at p, the key new, and simply written. false, and nothing is done: it is
// another.
static inline __attribute__((always_inline)) bool walk_key(const struct json_read *r, struct walk *w, const char *p)
{
	const struct str key = {p, run_unescaped(r, p)};
	const char *end = p + key.n;
	if (!pair_at(end, "\":") || key.n >= AHEAD || w->key == w->keys_end)
		return false;
	unsigned mark = key_mark(key);
	if (!LIKELY(!is_marked(w->marks, mark))) {
		const struct str *first = r->keys + w->l->first_key;
		if (known_key(first, (size_t)(w->key - first), key))
			return false;
	}
	w->marks |= (uint64_t)1 << mark;
	*w->key++ = key;
	w->p = end + 2;
	return true;
}

// A value at p: over it, or into it. false: it is of a less usual kind. *at_value: whether a value begins at p, then.
static inline __attribute__((always_inline)) bool walk_value(const struct json_read *r, struct walk *w, bool *at_value)
{
	*at_value = false;
	if (pair_at(w->p, "{}")) {
		w->p += 2;
		return true;
	}
	if (*w->p == '"') {
		size_t n = run_unescaped(r, w->p + 1);
		*at_value = n >= AHEAD || w->p[1 + n] != '"';
		w->p += *at_value ? 0 : n + 2;
		return !*at_value;
	}
	*at_value = true;
	if (*w->p == '{' && walk_into(r, w, true))
		return *at_value = *w->p == '"' && walk_key(r, w, w->p + 1);
	if (*w->p != '[' || !walk_into(r, w, false))
		return false;
	*at_value = *w->p == '"' || *w->p == '{';
	w->l->items = *at_value;
	return *at_value;
}

// What follows a value: over to the next, or out of what ends here. false, and nothing is done: it is less usual.
static inline __attribute__((always_inline)) bool walk_on(const struct json_read *r, struct walk *w, bool *at_value)
{
	if (w->l->object) {
		if (pair_at(w->p, ",\""))
			return *at_value = walk_key(r, w, w->p + 2);
		if (*w->p != '}' || (size_t)(w->key - r->keys) - w->l->first_key > KEYS_COMPARED_DIRECTLY)
			return false;
		walk_out(r, w);
		return true;
	}
	if (*w->p == ']') {
		walk_out(r, w);
		return true;
	}
	*at_value = *w->p == ',';
	w->l->items += *at_value;
	w->p += *at_value;
	return *at_value;
}

// From p on as far as it goes, at most to the end of what is in `outside`. *at_value: whether a value begins at p, or one
// has ended before it; then, where it stopped, the same, or a container was entered and nothing of it is read.
static inline const char *walk(struct json_read *r, const struct json_level *outside, const char *p, bool *at_value)
{
	look_ahead(r, p);
	struct walk w = {p, r->top, r->top->key_marks, r->keys + r->nkeys, r->keys + r->keys_cap};
	bool value = *at_value;
	if (w.l == r->level + JSON_DEPTH_MAX)
		return p;
	while (w.p < r->roomy && (value || w.l > outside))
		if (!(value ? walk_value(r, &w, &value) : walk_on(r, &w, &value)))
			break;
	w.l->key_marks = w.marks;
	r->top = w.l;
	r->nkeys = (size_t)(w.key - r->keys);
	*at_value = value;
	return w.p;
}

// ---- Skipping anything

// Returns what follows it.
static const char *skip_scalar(struct json_read *r, char c, const char *p)
{
	r->p = p;
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
	return r->p;
}

// Over a value, or only into it: true where that is an object or array.
static bool skip_or_enter(struct json_read *r, const char **at)
{
	char c = peek_at(r, at);
	if (c == '{' || c == '[')
		return enter(r, c == '{', at);
	if (c == '"')
		(void)scan_string(r, at);
	else
		*at = skip_scalar(r, c, *at);
	return false;
}

// Up and out of whatever ends here, to the next value inside what is skipped. false: there is none.
static bool next_inside(struct json_read *r, const struct json_level *outside, const char **at)
{
	bool escapes = false;
	while (r->top > outside) {
		struct json_level *l = r->top;
		if (l->object ? next_key(r, l, at, &escapes) : next_item(r, l, at))
			return true;
		if (r->fault != JSON_FAULT_NONE)
			return false;
	}
	return false;
}

// An object or array, at p. Returns what follows it.
static __attribute__((noinline)) const char *skip_container(struct json_read *r, const char *p)
{
	const struct json_level *outside = r->top;
	bool at_value = true;
	do {
		p = walk(r, outside, p, &at_value);
		bool between = !at_value || skip_or_enter(r, &p);
		at_value = between && next_inside(r, outside, &p);
	} while (r->top > outside && r->fault == JSON_FAULT_NONE);
	return p;
}

static __attribute__((noinline)) struct str skip_slowly(struct json_read *r)
{
	char c = peek(r);
	const char *from = r->p;
	if (c == '{' || c == '[')
		r->p = skip_container(r, from);
	else
		(void)skip_or_enter(r, &r->p);
	return r->fault == JSON_FAULT_NONE ? (struct str){from, (size_t)(r->p - from)} : (struct str){0};
}

struct str json_skip(struct json_read *r)
{
	const char *p = r->p;
	size_t n = short_string(r, p);
	if (n == 0)
		return skip_slowly(r);
	r->p = p + n;
	return (struct str){p, n};
}

struct str json_read_member(struct json_read *r, const char *name)
{
	struct str key;
	struct str value = {0};
	if (!json_enter_object(r))
		return value;
	while (json_next_key(r, &key))
		if (str_is(key, name))
			value = json_read_string(r);
		else
			(void)json_skip(r);
	return value;
}

int json_read_end(struct json_read *r)
{
	if (r->fault == JSON_FAULT_NONE && (r->top > r->level || peek(r) != '\0' || r->p != r->end))
		fail(r, JSON_FAULT_SYNTAX, r->top > r->level ? "the text ends too early" : "text follows the value");
	return r->fault == JSON_FAULT_NONE ? 0 : -EINVAL;
}
