#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/buf.h"
#include "common/json_read.h"
#include "common/mem.h"

// ---- What is JSON: each text is skipped as a whole

struct text_case {
	const char *name;
	const char *text;
	const char *error; // NULL: accepted
};

#define AT(offset, where) "not valid JSON at byte " #offset ", in " where ": "
#define VALUE "a value was expected"
#define NUMBER "not a number"
#define UTF8 "a string is not UTF-8"
#define ESCAPE "unknown escape in a string"
#define UNICODE "a \\u escape is not a Unicode character"
#define CONTROL "a control character or a cut escape in a string"
#define STRING_END "the text ends inside a string"
#define FOLLOWS "text follows the value"

static struct text_case text_cases[] = {
	{"accept: literals", "[true,false,null]", NULL},
	{"accept: alone", "null", NULL},
	{"accept: white space", "\t\r\n [ 1 , { \"a\" : 2 } , [ ] , { } ] \n\r\t", NULL},
	{"accept: numbers", "[0,-0,0.0,-0.0,1,10,-1,1.5,0.001,1e3,1E3,1e+3,1e-3,-1.5E-10,0e0,0e00]", NULL},
	{"accept: numbers of any size", "[1e999,-1e-999,123456789012345678901234567890,0.00000000000000000000000001]",
	 NULL},
	{"accept: escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\u20AC\\ud83d\\uDE00\"", NULL},
	{"accept: UTF-8",
	 "\"\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"", NULL},
	{"accept: U+2028", "\"\xE2\x80\xA8\"", NULL},
	{"accept: empty key", "{\"\":{\"\":1}}", NULL},
	{"accept: equal keys in other objects", "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}", NULL},
	{"accept: keys that begin alike", "{\"a\":1,\"ab\":2,\"abc\":3,\"b\":4,\"aa\":5}", NULL},

	{"text: empty", "", AT(0, "(top)") VALUE},
	{"text: white space only", " \n", AT(2, "(top)") VALUE},
	{"text: byte order mark", "\xEF\xBB\xBF{}", AT(0, "(top)") VALUE},
	{"text: form feed", "[\f1]", AT(1, "[0]") VALUE},
	{"text: no-break space", "[1\xC2\xA0]", AT(2, "[0]") "expected ',' or ']'"},
	{"text: comment", "[1/*a*/]", AT(2, "[0]") "expected ',' or ']'"},
	{"text: two values", "1 2", AT(2, "(top)") FOLLOWS},
	{"text: trailing bracket", "[1]]", AT(3, "(top)") FOLLOWS},
	{"text: trailing comma", "{},", AT(2, "(top)") FOLLOWS},
	{"text: word glued to a literal", "truex", AT(4, "(top)") FOLLOWS},
	{"text: capital literal", "True", AT(0, "(top)") VALUE},
	{"text: cut literal", "[nul]", AT(1, "[0]") VALUE},
	{"text: NaN", "[NaN]", AT(1, "[0]") VALUE},
	{"text: infinity", "[Infinity]", AT(1, "[0]") VALUE},

	{"number: leading zero", "01", AT(2, "(top)") NUMBER},
	{"number: leading zeros", "[-012]", AT(5, "[0]") NUMBER},
	{"number: plus", "+1", AT(0, "(top)") VALUE},
	{"number: minus alone", "[-]", AT(2, "[0]") NUMBER},
	{"number: two minus", "[--1]", AT(2, "[0]") NUMBER},
	{"number: no integer part", "[.5]", AT(1, "[0]") VALUE},
	{"number: minus and point", "[-.5]", AT(2, "[0]") NUMBER},
	{"number: no fraction", "[1.]", AT(3, "[0]") NUMBER},
	{"number: no fraction before an exponent", "[1.e3]", AT(3, "[0]") NUMBER},
	{"number: no exponent", "[1e]", AT(3, "[0]") NUMBER},
	{"number: sign of no exponent", "[1e+]", AT(4, "[0]") NUMBER},
	{"number: fraction of an exponent", "[1e1.5]", AT(4, "[0]") "expected ',' or ']'"},
	{"number: hexadecimal", "[0x1]", AT(2, "[0]") "expected ',' or ']'"},
	{"number: minus infinity", "[-Infinity]", AT(2, "[0]") NUMBER},
	{"number: separator", "[1_000]", AT(2, "[0]") "expected ',' or ']'"},

	{"string: without end", "[\"ab", AT(4, "[0]") STRING_END},
	{"string: ends in a backslash", "\"\\", AT(1, "(top)") CONTROL},
	{"string: ends in an escaped quote", "\"\\\"", AT(3, "(top)") STRING_END},
	{"string: single quotes", "['a']", AT(1, "[0]") VALUE},
	{"string: newline", "\"a\nb\"", AT(2, "(top)") CONTROL},
	{"string: tab", "\"a\tb\"", AT(2, "(top)") CONTROL},
	{"string: control character among the first eight",
	 "\"abc\x01"
	 "defghijkl\"",
	 AT(4, "(top)") CONTROL},
	{"string: control character further on", "\"abcdefghijkl\x1F\"", AT(13, "(top)") CONTROL},
	{"string: escape x", "\"\\x41\"", AT(6, "(top)") ESCAPE},
	{"string: escape '", "\"\\'\"", AT(4, "(top)") ESCAPE},
	{"string: escape U", "\"\\U0041\"", AT(8, "(top)") ESCAPE},
	{"string: escaped newline", "\"\\\n\"", AT(4, "(top)") ESCAPE},
	{"string: escaped letter of two bytes", "\"\\\xC3\xA9\"", AT(5, "(top)") ESCAPE},
	{"string: escaped byte", "\"\\\xA9\"", AT(2, "(top)") UTF8},

	{"unicode: three digits", "\"\\u123\"", AT(7, "(top)") UNICODE},
	{"unicode: no digits", "\"\\u\"", AT(4, "(top)") UNICODE},
	{"unicode: no hexadecimal", "\"\\u12G4\"", AT(8, "(top)") UNICODE},
	{"unicode: signs and blanks", "\"\\u +12\"", AT(8, "(top)") UNICODE},
	{"unicode: low surrogate alone", "\"\\uDC00\"", AT(8, "(top)") UNICODE},
	{"unicode: high surrogate alone", "\"\\uD800\"", AT(8, "(top)") UNICODE},
	{"unicode: high surrogate and text", "\"\\uD800abcdef\"", AT(14, "(top)") UNICODE},
	{"unicode: high surrogate and another escape", "\"\\uD800\\n12345\"", AT(15, "(top)") UNICODE},
	{"unicode: two high surrogates", "\"\\uD800\\uD800\"", AT(14, "(top)") UNICODE},
	{"unicode: surrogates in the wrong order", "\"\\uDC00\\uD800\"", AT(14, "(top)") UNICODE},
	{"unicode: high surrogate and a letter", "\"\\uDBFF\\u0041\"", AT(14, "(top)") UNICODE},

	{"UTF-8: continuation alone", "\"a\x80\"", AT(2, "(top)") UTF8},
	{"UTF-8: overlong of two", "\"\xC0\xAF\"", AT(1, "(top)") UTF8},
	{"UTF-8: overlong of two, C1", "\"\xC1\xBF\"", AT(1, "(top)") UTF8},
	{"UTF-8: overlong of three", "\"\xE0\x9F\xBF\"", AT(1, "(top)") UTF8},
	{"UTF-8: overlong of four", "\"\xF0\x8F\xBF\xBF\"", AT(1, "(top)") UTF8},
	{"UTF-8: surrogate", "\"\xED\xA0\x80\"", AT(1, "(top)") UTF8},
	{"UTF-8: above U+10FFFF", "\"\xF4\x90\x80\x80\"", AT(1, "(top)") UTF8},
	{"UTF-8: five bytes", "\"\xF8\x88\x80\x80\x80\"", AT(1, "(top)") UTF8},
	{"UTF-8: FF", "\"\xFF\"", AT(1, "(top)") UTF8},
	{"UTF-8: cut by the quote", "\"\xE2\x82\"", AT(1, "(top)") UTF8},
	{"UTF-8: cut by the end", "\"\xF0\x9F\x98", AT(1, "(top)") UTF8},
	{"UTF-8: behind eight plain bytes", "\"abcdefgh\xFF\"", AT(9, "(top)") UTF8},
	{"UTF-8: Latin-1 behind an escape",
	 "\"\\n\xE9"
	 "a\"",
	 AT(3, "(top)") UTF8},
	{"UTF-8: in a key", "{\"\xFF\":1}", AT(2, "(top)") UTF8},

	{"array: trailing comma", "[1,]", AT(3, "[1]") VALUE},
	{"array: only a comma", "[,]", AT(1, "[0]") VALUE},
	{"array: two commas", "[1,,2]", AT(3, "[1]") VALUE},
	{"array: no comma", "[1 2]", AT(3, "[0]") "expected ',' or ']'"},
	{"array: colon", "[1:2]", AT(2, "[0]") "expected ',' or ']'"},
	{"array: wrong end", "[1}", AT(2, "[0]") "expected ',' or ']'"},
	{"array: no end", "[1", AT(2, "[0]") "expected ',' or ']'"},
	{"array: open", "[", AT(1, "[0]") VALUE},
	{"object: trailing comma", "{\"a\":1,}", AT(7, "a") "expected a key in double quotes"},
	{"object: only a comma", "{,}", AT(1, "(top)") "expected a key in double quotes"},
	{"object: bare key", "{a:1}", AT(1, "(top)") "expected a key in double quotes"},
	{"object: number as key", "{1:1}", AT(1, "(top)") "expected a key in double quotes"},
	{"object: no colon", "{\"a\" 1}", AT(5, "a") "expected ':'"},
	{"object: comma for colon", "{\"a\",1}", AT(4, "a") "expected ':'"},
	{"object: two colons", "{\"a\"::1}", AT(5, "a") VALUE},
	{"object: no value", "{\"a\":}", AT(5, "a") VALUE},
	{"object: no comma", "{\"a\":1 \"b\":2}", AT(7, "a") "expected ',' or '}'"},
	{"object: wrong end", "{\"a\":1]", AT(6, "a") "expected ',' or '}'"},
	{"object: no end", "{\"a\":{}", AT(7, "a") "expected ',' or '}'"},
	{"object: open", "{", AT(1, "(top)") "expected a key in double quotes"},

	{"duplicate: at once", "{\"a\":1,\"a\":2}", AT(10, "a") "key \"a\" stands twice in one object"},
	{"duplicate: later", "{\"a\":1,\"b\":{\"a\":1},\"a\":2}", AT(22, "a") "key \"a\" stands twice in one object"},
	{"duplicate: empty", "{\"\":1,\"\":2}", AT(8, "(top)") "key \"\" stands twice in one object"},
	{"duplicate: equal once unescaped", "{\"ab\":1,\"a\\u0062\":2}",
	 AT(17, "ab") "key \"ab\" stands twice in one object"},
	{"duplicate: equal after a null", "{\"a\":null,\"a\":null}", AT(13, "a") "key \"a\" stands twice in one object"},
	{"duplicate: inside", "{\"x\":[0,{\"b\":1,\"b\":2}]}", AT(18, "x[1].b") "key \"b\" stands twice in one object"},
	{"duplicate: with control characters", "{\"\\n\":1,\"\\n\":2}", AT(12, "?") "key \"?\" stands twice in one object"},

	{"members: compact and not", "{\"a\":{},\"b\":\"x\" ,\"c\":{}, \"d\":{},\"e\" :{},\"f\": {},\"g\":{ },\"h\":1}",
	 NULL},
	{"members: comma after the last", "{\"a\":{},\"b\":{},}", AT(15, "b") "expected a key in double quotes"},
	{"members: two commas", "{\"a\":{},,\"b\":{}}", AT(8, "a") "expected a key in double quotes"},
	{"members: no comma", "{\"a\":{}\"b\":{}}", AT(7, "a") "expected ',' or '}'"},
	{"members: a comma first", "{,\"a\":{}}", AT(1, "(top)") "expected a key in double quotes"},
	{"members: duplicate", "{\"a\":{},\"b\":\"x\",\"a\":{}}", AT(19, "a") "key \"a\" stands twice in one object"},
	{"members: duplicate with escapes", "{\"k:{\\\"a\\\"}\":{},\"b\":{},\"k:{\\\"a\\\"}\":{}}",
	 AT(34, "k:{\"a\"}") "key \"k:{\"a\"}\" stands twice in one object"},
	{"members: duplicate, written otherwise", "{\"a/b\":{},\"c\":{},\"a\\/b\":{}}",
	 AT(23, "a/b") "key \"a/b\" stands twice in one object"},
	{"members: keys of 15 to 17 and 32 bytes",
	 "{\"123456789012345\":{},\"1234567890123456\":{},\"12345678901234567\":{},"
	 "\"12345678901234567890123456789012\":{}}",
	 NULL},
	{"members: bad UTF-8 in a key", "{\"a\":{},\"b\xFF\":{}}", AT(10, "a") UTF8},
	{"members: bad escape in a key", "{\"a\":{},\"b\\x\":{}}", AT(13, "a") ESCAPE},
	{"members: bad escape in a value", "{\"a\":{},\"b\":\"\\x\"}", AT(16, "b") ESCAPE},

	{"path: nested", "{\"a\":{\"b\":[0,[{\"c\":x}]]}}", AT(19, "a.b[1][0].c") VALUE},
	{"path: after an object", "{\"a\":{\"b\":1},\"c\":x}", AT(17, "c") VALUE},
	{"path: after an array", "[[1,2],x]", AT(7, "[1]") VALUE},
};

static int skip_text(struct str text, struct error *err)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	struct json_read r;
	json_read_init(&r, text, &arena, err);
	struct str got = json_skip(&r);
	int rc = json_read_end(&r);
	assert_int_equal(r.fault, rc == 0 ? JSON_FAULT_NONE : JSON_FAULT_SYNTAX);
	if (rc == 0)
		assert_true(got.p >= text.p && got.p + got.n <= text.p + text.n);
	return rc;
}

// In memory of exactly its size, so that a look beyond the end is seen.
static int skip_exact(struct str text, struct error *err)
{
	CLEANUP_FREE
	char *copy = xreallocarray(NULL, text.n, 1);
	if (text.n > 0)
		memcpy(copy, text.p, text.n);
	return skip_text((struct str){copy, text.n}, err);
}

static void test_text(void **state)
{
	const struct text_case *c = *state;
	struct error err = {0};
	int rc = skip_exact(str_from(c->text), &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	assert_int_equal(err.code, c->error != NULL ? EINVAL : 0);
}

// Where much text follows, keys and members are read another way: the same faults, but for those that the end makes.
static void test_text_in_room(void **state)
{
	const struct text_case *c = *state;
	size_t offset = c->error != NULL ? strtoul(c->error + strlen("not valid JSON at byte "), NULL, 10) : 0;
	if (c->error != NULL && (offset >= strlen(c->text) || strstr(c->error, CONTROL) != NULL))
		return;
	CLEANUP_BUF
	struct buf text = BUF_INIT(1000);
	buf_addf(&text, "%s%200s", c->text, "");
	struct error err = {0};
	(void)skip_exact(buf_str(&text), &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
}

struct nul_case {
	const char *name;
	struct str text;
	const char *error;
};

static struct nul_case nul_cases[] = {
	{"NUL: alone", {"\0", 1}, AT(0, "(top)") VALUE},
	{"NUL: after the value", {"1\0", 2}, AT(1, "(top)") FOLLOWS},
	{"NUL: in a string", {"\"a\0b\"", 5}, AT(2, "(top)") CONTROL},
	{"NUL: escaped", {"\"\\\0\"", 4}, AT(4, "(top)") ESCAPE},
	{"NUL: between", {"[1\0]", 4}, AT(2, "[0]") "expected ',' or ']'"},
	{"NUL: for a key", {"{\0}", 3}, AT(1, "(top)") "expected a key in double quotes"},
	{"NUL: keys equal to there", {"{\"a\\u0000b\":1,\"a\\u0000c\":2}", 27}, NULL},
	{"NUL: keys equal beyond",
	 {"{\"a\\u0000b\":1,\"a\\u0000b\":2}", 27},
	 AT(24, "a") "key \"a\" stands twice in one object"},
};

static void test_nul(void **state)
{
	const struct nul_case *c = *state;
	struct error err = {0};
	(void)skip_exact(c->text, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
}

// ---- A document cut at every byte, or with one byte replaced

static const char small[] =
	"{\"a\":[1,-2.5e+3,\"b\\u00e9\\ud83d\\ude00\\n\xC3\xA9\",true,false,null,{}],\"c\":{\"\":[]}}";

static void test_cut(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(skip_exact(str_from(small), &err), 0);
	for (size_t n = 0; n < sizeof(small) - 1; n++) {
		err = (struct error){0};
		if (skip_exact((struct str){small, n}, &err) == 0)
			fail_msg("accepted when cut at byte %zu", n);
		assert_int_equal(strncmp(err.msg, "not valid JSON at byte ", 23), 0);
		if (strtoul(err.msg + 23, NULL, 10) > n)
			fail_msg("cut at byte %zu: %s", n, err.msg);
	}
}

// Every byte at every place of a string: strings are read several bytes at a time.
static void test_bytes(void **state)
{
	(void)state;
	char text[] = "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\"";
	for (size_t place = 1; place + 1 < sizeof(text) - 1; place++)
		for (int byte = 0; byte < 256; byte++) {
			struct error err = {0};
			char was = text[place];
			bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
			text[place] = (char)byte;
			// A backslash before a letter that makes an escape.
			good |= byte == '\\' && strchr("bfnrt\"", text[place + 1]) != NULL && place + 2 < sizeof(text) - 1;
			if ((skip_exact((struct str){text, sizeof(text) - 1}, &err) == 0) != good)
				fail_msg("byte 0x%02X at %zu: %s", (unsigned int)byte, place, good ? err.msg : "accepted");
			text[place] = was;
		}
}

// An escape at every place of a key and of a value: those that are simple, those that aren't, and none at all.
struct escape_case {
	const char *name;
	const char *text;
	const char *error; // of the fault, at the string's end; NULL: accepted
};

static struct escape_case escape_cases[] = {
	{"escape anywhere: quote", "\\\"", NULL},
	{"escape anywhere: what looks like a member's end", "\\\":{}", NULL},
	{"escape anywhere: two quotes", "\\\"\\\"", NULL},
	{"escape anywhere: backslash", "\\\\", NULL},
	{"escape anywhere: backslash, quote", "\\\\\\\"", NULL},
	{"escape anywhere: line feed", "\\n", NULL},
	{"escape anywhere: code point", "\\u00e9", NULL},
	{"escape anywhere: UTF-8", "\xC3\xA9", NULL},
	{"escape anywhere: unknown", "\\x", ESCAPE},
	{"escape anywhere: half a pair", "\\ud800", UNICODE},
};

static void test_escape(void **state)
{
	static const char *const shapes[] = {"{\"%.*s%s%.*s\":{},\"z\":{}}%200s", "{\"y\":\"%.*s%s%.*s\",\"z\":{}}%200s"};
	const struct escape_case *c = *state;
	char filler[100];
	memset(filler, 'a', sizeof(filler));
	for (int before = 0; before < 100; before++)
		for (int after = 0; after < 36; after++)
			for (size_t i = 0; i < COUNT(shapes); i++) {
				CLEANUP_BUF
				struct buf text = BUF_INIT(1000);
				struct error err = {0};
				// Their format is one of two literals.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
				buf_addf(&text, shapes[i], before, filler, c->text, after, filler, "");
#pragma GCC diagnostic pop
				int rc = skip_exact(buf_str(&text), &err);
				if ((rc == 0) != (c->error == NULL) || (rc < 0 && strstr(err.msg, c->error) == NULL))
					fail_msg("%d before, %d after: %s", before, after, err.msg);
			}
}

// The same key twice, with an escape at every place: found, and named.
static void test_escaped_twice(void **state)
{
	(void)state;
	char filler[100];
	memset(filler, 'a', sizeof(filler));
	for (int before = 0; before < 100; before++) {
		CLEANUP_BUF
		struct buf text = BUF_INIT(1000);
		struct error err = {0};
		buf_addf(&text, "{\"%.*s\\\"b\":{},\"%.*s\\\"c\":{},\"%.*s\\\"b\":{}}%200s", before, filler, before, filler,
				 before, filler, "");
		assert_int_equal(skip_exact(buf_str(&text), &err), -EINVAL);
		if (strstr(err.msg, "\"b\" stands twice in one object") == NULL)
			fail_msg("%d before: %s", before, err.msg);
	}
}

// Members wherever a window of the text ends: all are read, skipped, and known when one comes again.
static void test_windows(void **state)
{
	(void)state;
	for (int shift = 0; shift < 150; shift++) {
		CLEANUP_BUF
		struct buf text = BUF_INIT(4 * JSON_WINDOW);
		buf_addf(&text, "%*s{\"a\":{\"b\":[", shift, "");
		for (int i = 0; text.n < 3 * JSON_WINDOW; i++)
			buf_addf(&text, "%s{\"%.*s\":{\"f:\\\"%d\":{}},\"%d\":\"%.*s\"}", i > 0 ? "," : "", i % 70,
					 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", i, i, i % 61,
					 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
		size_t fine = text.n;
		struct error err = {0};
		buf_addz(&text, "]}}");
		assert_int_equal(skip_exact(buf_str(&text), &err), 0);
		text.n = fine;
		buf_addf(&text, ",{\"c\":{},\"d\":{},\"c\":{}}]}}%200s", "");
		assert_int_equal(skip_exact(buf_str(&text), &err), -EINVAL);
		if (strstr(err.msg, "\"c\" stands twice in one object") == NULL)
			fail_msg("%d before: %s", shift, err.msg);
	}
}

// Objects in objects, wherever a window ends.
static void deep_objects(struct buf *text, int shift, int key)
{
	const int levels = 90;
	char filler[60];
	memset(filler, 'a', sizeof(filler));
	buf_addf(text, "%*s[", shift, "");
	while (text->n < 2 * JSON_WINDOW) {
		for (int i = 0; i < levels; i++)
			buf_addf(text, "{\"%.*s\":", key, filler);
		buf_addz(text, "{}");
		for (int i = 0; i < levels; i++)
			buf_addc(text, '}');
		buf_addc(text, ',');
	}
	buf_addz(text, "{}]");
}

static void test_deep_windows(void **state)
{
	(void)state;
	for (int key = 0; key < 60; key++)
		for (int shift = 0; shift < 500; shift += 100) {
			CLEANUP_BUF
			struct buf text = BUF_INIT(4 * JSON_WINDOW);
			struct error err = {0};
			deep_objects(&text, shift, key);
			if (skip_exact(buf_str(&text), &err) != 0)
				fail_msg("keys of %d: %s", key, err.msg);
		}
}

// ---- Depth

struct depth_case {
	const char *name;
	const char *open, *close;
	size_t times;
	const char *error;
};

static struct depth_case depth_cases[] = {
	{"depth: 100 arrays", "[", "]", 100, NULL},
	{"depth: 101 arrays", "[", "]", 101, "nested too deeply"},
	{"depth: 50 of each", "{\"a\":[", "]}", 50, NULL},
	{"depth: 51 of each", "{\"a\":[", "]}", 51, "nested too deeply"},
	{"depth: 100000 arrays", "[", "", 100000, "nested too deeply"},
	{"depth: many side by side", "[[[]]],", "", 100000, NULL},
};

static void test_depth(void **state)
{
	const struct depth_case *c = *state;
	CLEANUP_BUF
	struct buf text = BUF_INIT((size_t)4 * 1024 * 1024);
	struct error err = {0};
	bool side_by_side = c->error == NULL && c->close[0] == '\0';
	buf_addz(&text, side_by_side ? "[" : "");
	for (size_t i = 0; i < c->times; i++)
		buf_addz(&text, c->open);
	for (size_t i = 0; i < c->times; i++)
		buf_addz(&text, c->close);
	buf_addz(&text, side_by_side ? "0]" : "");
	int rc = skip_exact(buf_str(&text), &err);
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	if (c->error != NULL && strstr(err.msg, c->error) == NULL)
		fail_msg("%s", err.msg);
}

// An empty object counts as a level, too, wherever it stands.
static void test_deepest(void **state)
{
	(void)state;
	static const char *const empty[] = {"{\"a\":{}", "{\"a\":\"x\",\"b\":{}", "{\"a\":{},\"b\":[{}]"};
	for (size_t objects = 97; objects < 102; objects++)
		for (size_t i = 0; i < COUNT(empty); i++) {
			CLEANUP_BUF
			struct buf text = BUF_INIT(10000);
			struct error err = {0};
			size_t depth = objects + 2 + (i == 2 ? 1 : 0);
			for (size_t k = 0; k < objects; k++)
				buf_addz(&text, "{\"k\":");
			buf_addz(&text, empty[i]);
			for (size_t k = 0; k <= objects; k++)
				buf_addc(&text, '}');
			buf_addf(&text, "%200s", "");
			if ((skip_exact(buf_str(&text), &err) == 0) != (depth <= JSON_DEPTH_MAX))
				fail_msg("%zu levels, %zu: %s", depth, i, err.msg);
		}
}

// ---- Duplicate keys among many: for each number of keys, each pair of places in turn holds the same key

static void many_keys(struct buf *text, size_t n, size_t same, size_t as)
{
	buf_clear(text);
	buf_addc(text, '{');
	for (size_t i = 0; i < n; i++)
		buf_addf(text, "%s\"key-%zu\":{\"x\":%zu}", i > 0 ? "," : "", i == same ? as : i, i);
	buf_addc(text, '}');
}

static void test_many_keys(void **state)
{
	(void)state;
	static const size_t sizes[] = {2, 3, 15, 16, 17, 18, 33, 64, 65, 70};
	CLEANUP_BUF
	struct buf text = BUF_INIT(100000);
	for (size_t s = 0; s < COUNT(sizes); s++) {
		struct error err = {0};
		many_keys(&text, sizes[s], SIZE_MAX, 0);
		if (skip_text(buf_str(&text), &err) != 0)
			fail_msg("%zu keys: %s", sizes[s], err.msg);
		for (size_t second = 1; second < sizes[s]; second++)
			for (size_t first = 0; first < second; first++) {
				CLEANUP_FREE
				char *want = xasprintf("key \"key-%zu\" stands twice in one object", first);
				many_keys(&text, sizes[s], second, first);
				if (skip_text(buf_str(&text), &err) == 0)
					fail_msg("%zu keys: accepted with %zu the same as %zu", sizes[s], second, first);
				if (strstr(err.msg, want) == NULL)
					fail_msg("%zu keys: %s", sizes[s], err.msg);
			}
	}
}

// ---- Typed readers

enum reader { READ_STRING, READ_BOOL, READ_SCALAR, READ_OBJECT, READ_ARRAY, READ_NULL };

struct typed_case {
	const char *name;
	enum reader reader;
	const char *value; // of the member "v" of an object in an array
	const char *want;  // as text; NULL: absent
	size_t n;          // of want where it holds a NUL
	const char *error; // after "[1].v: "
};

static struct typed_case typed_cases[] = {
	{"string: plain", READ_STRING, "\"a b\"", "a b", 0, NULL},
	{"string: empty", READ_STRING, "\"\"", "", 0, NULL},
	{"string: long", READ_STRING, "\"abcdefghijklmnopqrstuvwxyz\"", "abcdefghijklmnopqrstuvwxyz", 0, NULL},
	{"string: escapes", READ_STRING, "\"\\\"\\\\\\/\\b\\f\\n\\r\\tabcdefghij\"", "\"\\/\b\f\n\r\tabcdefghij", 0, NULL},
	{"string: code points", READ_STRING, "\"\\u0041\\u007f\\u0080\\u07FF\\u0800\\uffff\\ud800\\udc00\\uDBFF\\uDFFF\"",
	 "A\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 0, NULL},
	{"string: U+0000", READ_STRING, "\"a\\u0000b\"", "a\0b", 3, NULL},
	{"string: null", READ_STRING, "null", NULL, 0, NULL},
	{"string: number", READ_STRING, "-1", NULL, 0, "must be a string, not a number; put it in quotes"},
	{"string: boolean", READ_STRING, "true", NULL, 0, "must be a string, not a boolean; put it in quotes"},
	{"string: object", READ_STRING, "{}", NULL, 0, "must be a string, not an object"},
	{"string: array", READ_STRING, "[]", NULL, 0, "must be a string, not an array"},
	{"boolean: true", READ_BOOL, "true", "true", 0, NULL},
	{"boolean: false", READ_BOOL, "false", "false", 0, NULL},
	{"boolean: null", READ_BOOL, "null", "false", 0, NULL},
	{"boolean: string", READ_BOOL, "\"true\"", NULL, 0, "must be a boolean, not a string"},
	{"boolean: number", READ_BOOL, "1", NULL, 0, "must be a boolean, not a number"},
	{"scalar: number", READ_SCALAR, "-1.50e+3", "-1.50e+3", 0, NULL},
	{"scalar: string", READ_SCALAR, "\"1Gi\"", "1Gi", 0, NULL},
	{"scalar: null", READ_SCALAR, "null", NULL, 0, NULL},
	{"scalar: boolean", READ_SCALAR, "false", NULL, 0, "must be a string, not a boolean; put it in quotes"},
	{"object: null", READ_OBJECT, "null", NULL, 0, NULL},
	{"object: empty", READ_OBJECT, "{}", "", 0, NULL},
	{"object: members", READ_OBJECT, "{\"a\":[{}],\"b\":2}", "ab", 0, NULL},
	{"object: array", READ_OBJECT, "[]", NULL, 0, "must be an object, not an array"},
	{"object: string", READ_OBJECT, "\"a\"", NULL, 0, "must be an object, not a string"},
	{"array: null", READ_ARRAY, "null", NULL, 0, NULL},
	{"array: empty", READ_ARRAY, "[]", "", 0, NULL},
	{"array: items", READ_ARRAY, "[1,{\"a\":[]},null]", "...", 0, NULL},
	{"array: object", READ_ARRAY, "{}", NULL, 0, "must be an array, not an object"},
	{"null: null", READ_NULL, "null", "null", 0, NULL},
	{"null: something", READ_NULL, "\"null\"", NULL, 0, NULL},
};

static struct str read_keys(struct json_read *r, struct arena *arena)
{
	struct str key;
	const char *all = "";
	if (!json_enter_object(r))
		return (struct str){0};
	while (json_next_key(r, &key)) {
		all = arena_printf(arena, "%s%.*s", all, STR_ARG(key));
		(void)json_skip(r);
	}
	return str_from(all);
}

static struct str read_items(struct json_read *r, struct arena *arena)
{
	const char *all = "";
	if (!json_enter_array(r))
		return (struct str){0};
	while (json_next_item(r)) {
		all = arena_printf(arena, "%s.", all);
		(void)json_skip(r);
	}
	return str_from(all);
}

static struct str read_null(struct json_read *r)
{
	if (json_read_null(r))
		return STR("null");
	(void)json_skip(r);
	return (struct str){0};
}

static struct str read_typed(struct json_read *r, enum reader reader, struct arena *arena)
{
	switch (reader) {
	case READ_STRING:
		return json_read_string(r);
	case READ_BOOL:
		return json_read_bool(r) ? STR("true") : r->fault == JSON_FAULT_NONE ? STR("false") : (struct str){0};
	case READ_SCALAR:
		return json_read_scalar_text(r);
	case READ_OBJECT:
		return read_keys(r, arena);
	case READ_ARRAY:
		return read_items(r, arena);
	case READ_NULL:
		break;
	}
	return read_null(r);
}

// Down to the value in [0, {"u": 0, "v": VALUE, "w": 0}], and out again.
static struct str read_member(struct json_read *r, enum reader reader, struct arena *arena)
{
	struct str key;
	struct str got = {0};
	if (!json_enter_object(r))
		return got;
	while (json_next_key(r, &key))
		if (str_is(key, "v"))
			got = read_typed(r, reader, arena);
		else if (!str_is(json_skip(r), "0"))
			fail_msg("the value of %.*s is lost", STR_ARG(key));
	return got;
}

static struct str read_inside(struct json_read *r, enum reader reader, struct arena *arena)
{
	struct str got = {0};
	if (!json_enter_array(r))
		return got;
	for (int i = 0; json_next_item(r); i++)
		if (i == 0)
			(void)json_skip(r);
		else
			got = read_member(r, reader, arena);
	return got;
}

static void test_typed(void **state)
{
	const struct typed_case *c = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_FREE
	char *text = xasprintf(" [0, {\"u\": 0, \"v\": %s , \"w\": 0}]\n", c->value);
	struct json_read r;
	struct error err = {0};
	json_read_init(&r, str_from(text), &arena, &err);
	struct str got = read_inside(&r, c->reader, &arena);
	const char *want_error = c->error != NULL ? arena_printf(&arena, "[1].v: %s", c->error) : "";
	int rc = json_read_end(&r);
	assert_string_equal(err.msg, want_error);
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	assert_int_equal(r.fault, c->error != NULL ? JSON_FAULT_TYPE : JSON_FAULT_NONE);
	if (c->want == NULL) {
		assert_null(got.p);
		return;
	}
	size_t n = c->n > 0 ? c->n : strlen(c->want);
	assert_non_null(got.p);
	if (got.n != n || memcmp(got.p, c->want, n) != 0)
		fail_msg("got %.*s, want %s", STR_ARG(got), c->want);
}

// The first fault is the one that is told, and nothing is there any more after it.
static void test_sticky(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct json_read r;
	struct error err = {0};
	struct str key;
	json_read_init(&r, STR("{\"a\":1,\"b\":x}"), &arena, &err);
	assert_true(json_enter_object(&r));
	assert_true(json_next_key(&r, &key));
	assert_null(json_read_string(&r).p);
	assert_false(json_next_key(&r, &key));
	assert_false(json_next_item(&r));
	assert_false(json_enter_object(&r));
	assert_false(json_enter_array(&r));
	assert_false(json_read_bool(&r));
	assert_false(json_read_null(&r));
	assert_null(json_read_string(&r).p);
	assert_null(json_read_scalar_text(&r).p);
	assert_null(json_skip(&r).p);
	assert_int_equal(json_read_end(&r), -EINVAL);
	assert_int_equal(r.fault, JSON_FAULT_TYPE);
	assert_string_equal(err.msg, "a: must be a string, not a number; put it in quotes");
}

static void test_left_early(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct json_read r;
	struct error err = {0};
	json_read_init(&r, STR("[1]"), &arena, &err);
	assert_true(json_enter_array(&r));
	assert_int_equal(json_read_end(&r), -EINVAL);
	assert_string_equal(err.msg, "not valid JSON at byte 1, in (top): the text ends too early");
}

// What is skipped is the value's text, without what is around it.
static void test_skipped_text(void **state)
{
	(void)state;
	CLEANUP_ARENA
	struct arena arena = {0};
	struct json_read r;
	struct error err = {0};
	struct str key;
	json_read_init(&r, STR("{ \"a\" : {\"b\":[1, 2]} , \"c\" : null }"), &arena, &err);
	assert_true(json_enter_object(&r));
	assert_true(json_next_key(&r, &key));
	assert_true(str_is(json_skip(&r), "{\"b\":[1, 2]}"));
	assert_true(json_next_key(&r, &key));
	assert_true(str_is(json_skip(&r), "null"));
	assert_false(json_next_key(&r, &key));
	assert_int_equal(json_read_end(&r), 0);
}

// A long path is cut, and what is wrong is still told.
static void test_long_path(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf text = BUF_INIT(100000);
	struct error err = {0};
	for (int i = 0; i < 90; i++)
		buf_addf(&text, "{\"%0200d\":", i);
	buf_addz(&text, "x");
	assert_int_equal(skip_text(buf_str(&text), &err), -EINVAL);
	assert_non_null(strstr(err.msg, ": " VALUE));
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, text_cases, test_text);
	ADD_TABLE(&t, text_cases, test_text_in_room);
	ADD_TABLE(&t, nul_cases, test_nul);
	ADD_TABLE(&t, escape_cases, test_escape);
	ADD_TABLE(&t, depth_cases, test_depth);
	ADD_TABLE(&t, typed_cases, test_typed);
	tests_add(&t, "cut at every byte", test_cut, NULL);
	tests_add(&t, "every byte at every place", test_bytes, NULL);
	tests_add(&t, "escaped keys that stand twice", test_escaped_twice, NULL);
	tests_add(&t, "wherever a window ends", test_windows, NULL);
	tests_add(&t, "deep wherever a window ends", test_deep_windows, NULL);
	tests_add(&t, "the deepest empty object", test_deepest, NULL);
	tests_add(&t, "the same key among many", test_many_keys, NULL);
	tests_add(&t, "errors are sticky", test_sticky, NULL);
	tests_add(&t, "left early", test_left_early, NULL);
	tests_add(&t, "the text of what is skipped", test_skipped_text, NULL);
	tests_add(&t, "a long path", test_long_path, NULL);
	return tests_run("json_read", &t);
}
