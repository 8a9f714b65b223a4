// A strict pull reader for JSON (RFC 8259) over a whole text in memory. PURE
//
// For the one place where time counts: an admission review is read in one pass, only what the rules look at is
// kept, and the rest (managedFields is most of a pod) is checked and dropped without building anything. Debian's
// readers are two to six times slower than this job may be (docs/performance.md), and none of the fast ones
// refuses duplicate keys. Tests compare it with jansson on the corpus, on hand-written cases and under a fuzzer.
//
// Strict: UTF-8 is checked, lone surrogates, control characters, duplicate keys, trailing commas and trailing
// text are errors, and so is nesting beyond JSON_DEPTH_MAX.
//
// Errors are sticky: after the first one every call answers "nothing here", so that decoding code reads straight
// down and asks json_read_end() once. The error names the path ("request.object.spec.containers[2].name"), and
// the offset where the text is not JSON.
//
// Strings are borrowed slices of the text, or of the arena where they held an escape.
#ifndef COCO_COMMON_JSON_READ_H
#define COCO_COMMON_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"

#define JSON_DEPTH_MAX 100
#define JSON_KEYS_FEW 64
#define JSON_WINDOW ((size_t)16 * 1024) // of the text, in which strings' ends are looked up beforehand

enum json_fault {
	JSON_FAULT_NONE,
	JSON_FAULT_SYNTAX, // not JSON, or not what we accept as JSON
	JSON_FAULT_TYPE,   // JSON, but a value has another type than its field
};

// Most keys of an object differ from all others of it in this: one of 64 bits, by a key's length and last byte (of an empty
// one, the quote before it).
static inline uint64_t json_key_mark(char last, size_t n)
{
	return (uint64_t)1 << (n + 10U * (unsigned char)last) % 64;
}

static inline uint64_t json_key_named(const char *name, size_t n)
{
	return json_key_mark(n > 0 ? name[n - 1] : '"', n);
}

// For json_next_of(): a name that JSON writes as it is, from a string literal.
#define JSON_KEY(lit) json_key_named("" lit, sizeof(lit) - 1)

struct json_level {
	uint64_t key_marks; // of an object: a bit for each key, of 64: what is unset is surely a new key
	size_t first_key;   // of an object: where its keys start in keys[], of which the last is the member under way
	size_t items;       // of an array: those begun
	bool object;
};

struct json_read {
	const char *start, *p, *end;
	const char *window; // where the window begins
	const char *roomy;  // before this, enough of the window follows for what is looked at together
	struct arena *arena;
	struct error *err;
	enum json_fault fault;
	struct json_level *top;                      // the innermost container that is open
	struct json_level level[JSON_DEPTH_MAX + 1]; // from the outermost on; [0] is for the text itself
	struct str *keys;                            // of the objects that are open; in `few` while they fit
	size_t nkeys, keys_cap;
	struct str few[JSON_KEYS_FEW];
	// A bit for each byte of the window, and for some behind it: see json_stops_unescaped(). Eight bytes are read at a time.
	unsigned char stops[JSON_WINDOW / 8 + 8];
};

// text and arena must outlive the reader's strings. A reader is not to be copied.
void json_read_init(struct json_read *r, struct str text, struct arena *arena, struct error *err)
	__attribute__((nonnull));

// Enters the object or array that comes next. false: there is none, since the value is null (read as absent), of
// another type (an error), or a fault came before. Leaving is done by json_next_key / json_next_item at its end.
bool json_enter_object(struct json_read *r) __attribute__((nonnull, warn_unused_result));
bool json_enter_array(struct json_read *r) __attribute__((nonnull, warn_unused_result));
// The next member or item: the caller must then read or skip exactly one value. false at the end.
bool json_next_key(struct json_read *r, struct str *ret_key) __attribute__((nonnull, warn_unused_result));
bool json_next_item(struct json_read *r) __attribute__((nonnull, warn_unused_result));
// The next member whose key may be one of those wanted, JSON_KEY("a") | JSON_KEY("b"). Others before it are checked and
// dropped, in less time than one by one; not quite all, so that the caller must compare, and skip what it doesn't want. A
// key with a quote may be handed out with its escape.
bool json_next_of(struct json_read *r, uint64_t wanted, struct str *ret_key)
	__attribute__((nonnull, warn_unused_result));

// Values. null reads as absent: p NULL, false.
struct str json_read_string(struct json_read *r) __attribute__((nonnull));
bool json_read_bool(struct json_read *r) __attribute__((nonnull));
// A quantity: a string, or a number as written.
struct str json_read_scalar_text(struct json_read *r) __attribute__((nonnull));
// Any value, checked, dropped. Returns its text.
struct str json_skip(struct json_read *r) __attribute__((nonnull));
// The one string that is wanted of an object; absent where the object or the member is.
struct str json_read_member(struct json_read *r, const char *name) __attribute__((nonnull));
// true, and consumed, where the next value is null.
bool json_read_null(struct json_read *r) __attribute__((nonnull, warn_unused_result));

// After the last value: only white space may follow. 0, or -EINVAL with the first fault in err.
int json_read_end(struct json_read *r) __attribute__((nonnull, warn_unused_result));

#endif
