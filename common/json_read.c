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
// The last bytes of a text are marked as stops where no quote is among them, as in most: they are brackets. Then runs end
// before them, and what is looked at from further ahead is inside the text, though ROOM does not follow.
#define TAIL 3
#define LOOKED_AT_ONCE ((size_t)4 * JSON_BLOCK)
#define LIKELY(x) __builtin_expect((x), 1)

// A string as it stands in the text.
struct scanned {
	struct str raw;  // between the quotes; p NULL after a fault
	const char *end; // behind the closing quote
	bool escapes;
	bool rewrite; // with an escape that is not the only way to write its character
};

static inline __attribute__((always_inline)) void look_at(struct json_read *r, size_t i, const char *p)
{
	uint64_t stops = htole64(json_stops_unescaped_4(p));
	memcpy(r->stops + i / 8, &stops, sizeof(stops));
}

// The same for where there may be no bytes beside these n. What follows them is a stop.
static void look_at_copy(struct json_read *r, size_t i, const char *p, size_t n)
{
	char copy[1 + LOOKED_AT_ONCE] = {p > r->start ? p[-1] : ' '};
	memcpy(copy + 1, p, n);
	look_at(r, i, copy + 1);
}

// Looks at the text from p on, inside a string or not: what matters is only what stands before a quote.
static __attribute__((noinline)) void move_window(struct json_read *r, const char *p)
{
	size_t left = (size_t)(r->end - p);
	size_t n = left < JSON_WINDOW ? left : JSON_WINDOW;
	bool to_end = n == left && n > TAIL && memchr(r->end - TAIL, '"', TAIL) == NULL;
	size_t room = to_end ? TAIL + 1 : ROOM;
	if (n <= room)
		return;
	size_t i = 0;
	if (p == r->start && n >= LOOKED_AT_ONCE) {
		look_at_copy(r, 0, p, LOOKED_AT_ONCE);
		i = LOOKED_AT_ONCE;
	}
	for (; n - i >= LOOKED_AT_ONCE; i += LOOKED_AT_ONCE)
		look_at(r, i, p + i);
	look_at_copy(r, i, p + i, n - i);
	for (size_t at = n - TAIL; to_end && at < n; at++)
		r->stops[at / 8] |= (unsigned char)(1U << at % 8);
	r->window = p;
	r->roomy = p + n - room;
}

// A new window where p is near the end of this one.
static inline void look_ahead(struct json_read *r, const char *p)
{
	if (p >= r->roomy)
		move_window(r, p);
}

// The bytes from p on before the first stop: AHEAD or more where there is none near, and then nobody may look there.
static inline __attribute__((always_inline)) size_t run_unescaped(const struct json_read *r, const char *p)
{
	size_t at = (size_t)(p - r->window);
	uint64_t stops;
	memcpy(&stops, r->stops + at / 8, sizeof(stops));
	return (unsigned)__builtin_ctzll(le64toh(stops) >> at % 8 | (uint64_t)1 << 63);
}

static inline bool is_plain(struct str s)
{
	return memchr(s.p, '\\', s.n) == NULL;
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

static inline uint64_t key_mark(struct str key)
{
	return json_key_mark(*(key.p + key.n - 1), key.n);
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
	uint64_t mark = key_mark(key);
	bool known = (l->key_marks & mark) != 0 && known_key(r->keys + l->first_key, r->nkeys - l->first_key, key);
	l->key_marks |= mark;
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

// A member's head as it stands in compact text: `,"key":`, without the comma where it is the first, and the key short.
// NULL where it is another; else its value.
static inline __attribute__((always_inline)) const char *
compact_head(const struct json_read *r, const struct json_level *l, const char *p, struct str *ret_key)
{
	bool first = r->nkeys == l->first_key;
	if (p >= r->roomy || !(first ? *p == '"' : pair_at(p, ",\"")))
		return NULL;
	p += first ? 1 : 2;
	*ret_key = (struct str){p, run_unescaped(r, p)};
	const char *end = p + ret_key->n;
	return LIKELY(ret_key->n < AHEAD) && LIKELY(pair_at(end, "\":")) ? end + 2 : NULL;
}

// Any member, or the object's end. ret_escapes: its key, the last of keys[] then, has escapes.
static __attribute__((noinline)) bool next_key(struct json_read *r, struct json_level *l, const char **at,
											   bool *ret_escapes)
{
	struct str key;
	const char *value = compact_head(r, l, *at, &key);
	if (value != NULL) {
		*at = value - 1;
		*ret_escapes = !is_plain(key);
	} else {
		if (!next_element(r, l, '}', at))
			return false;
		if (peek_at(r, at) != '"') {
			*at = fail_at(r, *at, "expected a key in double quotes");
			return false;
		}
		struct scanned s = scan_string(r, at);
		if (s.raw.p == NULL)
			return false;
		key = s.rewrite ? canonical_key(r, s.raw) : s.raw;
		*ret_escapes = s.escapes;
	}
	remember_key(r, l, key, at);
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

// Remembers a key of the innermost object that is surely new; false: it may not be.
static inline bool remember_new_key(struct json_read *r, struct json_level *l, struct str key, uint64_t mark)
{
	if ((l->key_marks & mark) != 0 || r->nkeys == r->keys_cap)
		return false;
	l->key_marks |= mark;
	r->keys[r->nkeys++] = key;
	return true;
}

// Here for the many keys that are simple and surely new. After a fault there is no text left for any.
bool json_next_key(struct json_read *r, struct str *ret_key)
{
	struct json_level *l = r->top;
	struct str key;
	if (leaves_compactly(r, l, &r->p, '}'))
		return false;
	const char *value = compact_head(r, l, r->p, &key);
	if (!LIKELY(value != NULL && is_plain(key) && remember_new_key(r, l, key, key_mark(key))))
		return next_key_slowly(r, ret_key);
	r->p = value;
	*ret_key = key;
	return true;
}

bool json_next_item(struct json_read *r)
{
	struct json_level *l = r->top;
	if (leaves_compactly(r, l, &r->p, ']'))
		return false;
	if (LIKELY(r->p < r->roomy && *r->p == ',' && l->items > 0)) {
		r->p++;
		l->items++;
		return true;
	}
	return r->fault == JSON_FAULT_NONE && next_item(r, l, &r->p);
}

// The length, quotes included, of a string at p that is short and has no escape but \"; 0 where there is none.
static inline __attribute__((always_inline)) size_t short_string(const struct json_read *r, const char *p)
{
	if (p >= r->roomy || *p != '"')
		return 0;
	size_t n = run_unescaped(r, p + 1);
	return LIKELY(n < AHEAD) && LIKELY(p[1 + n] == '"') ? n + 2 : 0;
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
	struct str s = {p + 1, n - 2};
	return LIKELY(is_plain(s)) ? s : json_unescape(r->arena, s);
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
	bool at_value; // before a value; else after one, or in a container of which nothing is read
};

// Into the container that begins at p. false, and nothing is done: it is the deepest, where `{}` is a fault.
static inline bool walk_into(const struct json_read *r, struct walk *w, bool object)
{
	if (w->p >= r->roomy || w->l + 1 == r->level + JSON_DEPTH_MAX)
		return false;
	w->l->key_marks = w->marks;
	w->l++;
	w->l->first_key = (size_t)(w->key - r->keys);
	w->l->items = 0;
	w->l->object = object;
	w->marks = 0;
	w->p++;
	w->at_value = false;
	return true;
}

// Out of the container that ends at p. false: it was the last.
static inline bool walk_out(const struct json_read *r, struct walk *w, const struct json_level *outside)
{
	w->key = r->keys + w->l->first_key;
	w->marks = (--w->l)->key_marks;
	w->p++;
	return w->l > outside;
}

// Over a member's head to its value: `key":` at p, the key surely new, and simply written. false, and nothing is done: it
// is another.
static inline __attribute__((always_inline)) bool walk_key(const struct json_read *r, struct walk *w, const char *p)
{
	const struct str key = {p, run_unescaped(r, p)};
	const char *end = p + key.n;
	if (!LIKELY(key.n < AHEAD) || !LIKELY(pair_at(end, "\":")) || !LIKELY(w->key < w->keys_end))
		return false;
	uint64_t mark = key_mark(key);
	if (!LIKELY((w->marks & mark) == 0))
		return false;
	w->marks |= mark;
	*w->key++ = key;
	w->p = end + 2;
	w->at_value = true;
	return true;
}

// Over the value at p, or over the first in it, and so on. false: it is of a less usual kind, or what comes first in it is.
static inline __attribute__((always_inline)) bool walk_value(const struct json_read *r, struct walk *w)
{
	while (!pair_at(w->p, "{}")) {
		if (*w->p == '"') {
			size_t n = run_unescaped(r, w->p + 1);
			if (!LIKELY(n < AHEAD) || !LIKELY(w->p[1 + n] == '"'))
				return false;
			w->p += n + 2;
			return true;
		}
		if (*w->p == '{') {
			if (!walk_into(r, w, true) || *w->p != '"' || !walk_key(r, w, w->p + 1))
				return false;
			continue;
		}
		if (*w->p != '[' || !walk_into(r, w, false) || (*w->p != '"' && *w->p != '{'))
			return false;
		w->l->items = 1;
		w->at_value = true;
	}
	w->p += 2;
	return true;
}

// After a value, out of all that ends here, and to the next. false: what is here is less usual, or was the last.
static inline __attribute__((always_inline)) bool walk_on(const struct json_read *r, struct walk *w,
														  const struct json_level *outside)
{
	w->at_value = false;
	while (w->p < r->roomy) {
		if (w->l->object && pair_at(w->p, ",\""))
			return walk_key(r, w, w->p + 2);
		if (!w->l->object && *w->p == ',') {
			w->l->items++;
			w->p++;
			w->at_value = true;
			return true;
		}
		if (*w->p != (w->l->object ? '}' : ']') ||
			(size_t)(w->key - r->keys) - w->l->first_key > KEYS_COMPARED_DIRECTLY || !walk_out(r, w, outside))
			return false;
	}
	return false;
}

// From p on as far as it goes, at most to the end of what is in `outside`. *at_value, for where it begins and where it stops:
// as in struct walk.
static inline const char *walk(struct json_read *r, const struct json_level *outside, const char *p, bool *at_value)
{
	look_ahead(r, p);
	if (p >= r->roomy || r->top == r->level + JSON_DEPTH_MAX)
		return p;
	struct walk w = {p, r->top, r->top->key_marks, r->keys + r->nkeys, r->keys + r->keys_cap, *at_value};
	while ((!w.at_value || walk_value(r, &w)) && walk_on(r, &w, outside))
		;
	w.l->key_marks = w.marks;
	r->top = w.l;
	r->nkeys = (size_t)(w.key - r->keys);
	*at_value = w.at_value;
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

// The length of a value at p that is skipped at once; 0 where there is none.
static inline __attribute__((always_inline)) size_t short_value(const struct json_read *r, const char *p)
{
	if (p < r->roomy && pair_at(p, "{}"))
		return r->top < r->level + JSON_DEPTH_MAX ? 2 : 0;
	if (p < r->roomy && memcmp(p, "true", 4) == 0)
		return 4;
	return short_string(r, p);
}

static __attribute__((noinline)) struct str skip_slowly(struct json_read *r)
{
	char c = peek(r);
	const char *from = r->p;
	look_ahead(r, from);
	size_t n = short_value(r, from);
	if (n > 0)
		r->p += n;
	else if (c == '{' || c == '[')
		r->p = skip_container(r, from);
	else
		(void)skip_or_enter(r, &r->p);
	return r->fault == JSON_FAULT_NONE ? (struct str){from, (size_t)(r->p - from)} : (struct str){0};
}

static inline struct str skip_value(struct json_read *r)
{
	const char *p = r->p;
	size_t n = short_value(r, p);
	if (n == 0)
		return skip_slowly(r);
	r->p = p + n;
	return (struct str){p, n};
}

struct str json_skip(struct json_read *r)
{
	return skip_value(r);
}

bool json_next_of(struct json_read *r, uint64_t wanted, struct str *ret_key)
{
	for (;;) {
		struct json_level *l = r->top;
		struct str key;
		if (leaves_compactly(r, l, &r->p, '}'))
			return false;
		const char *value = compact_head(r, l, r->p, &key);
		uint64_t mark = value != NULL ? key_mark(key) : 0;
		if (LIKELY(value != NULL && remember_new_key(r, l, key, mark))) {
			r->p = value;
		} else {
			if (!next_key_slowly(r, ret_key))
				return false;
			key = *ret_key;
			mark = key_mark(key);
		}
		if ((wanted & mark) != 0) {
			*ret_key = key;
			return true;
		}
		(void)skip_value(r);
	}
}

struct str json_read_member(struct json_read *r, const char *name)
{
	struct str key;
	struct str value = {0};
	if (!json_enter_object(r))
		return value;
	while (json_next_of(r, json_key_named(name, strlen(name)), &key))
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
