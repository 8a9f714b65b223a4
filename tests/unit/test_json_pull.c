// The reader as decoders use it, value by value; test_json_read.c has what is JSON, skipped as a whole.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/buf.h"
#include "common/json_read.h"
#include "common/mem.h"

#define AT(offset, where) "not valid JSON at byte " #offset ", in " where ": "
#define VALUE "a value was expected"

// From memory of just its size, so that a sanitizer sees what is read beyond it.
static int read_exact(struct str text, void (*read)(struct json_read *r, struct buf *got), struct error *err)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_FREE
	char *copy = xcalloc(text.n, 1);
	CLEANUP_BUF
	struct buf got = BUF_INIT(10000);
	struct json_read r;
	memcpy(copy, text.p, text.n);
	json_read_init(&r, (struct str){copy, text.n}, &arena, err);
	read(&r, &got);
	return json_read_end(&r);
}

static void read_nothing(struct json_read *r, struct buf *got)
{
	(void)got;
	(void)json_skip(r);
}

// ---- Asked for one by one, in compact text with much behind it

static void read_all(struct json_read *r, struct buf *got);

static void read_object_all(struct json_read *r, struct buf *got)
{
	struct str key;
	buf_addc(got, '{');
	if (json_enter_object(r))
		while (json_next_key(r, &key)) {
			buf_addf(got, "%.*s=", STR_ARG(key));
			read_all(r, got);
		}
	buf_addc(got, '}');
}

// Strings come out without quotes.
static void read_all(struct json_read *r, struct buf *got)
{
	struct str value;
	char c = r->p < r->end ? *r->p : '\0';
	if (c == '{') {
		read_object_all(r, got);
	} else if (c == '[') {
		buf_addc(got, '[');
		if (json_enter_array(r))
			while (json_next_item(r))
				read_all(r, got);
		buf_addc(got, ']');
	} else {
		value = c == '"' ? json_read_string(r) : json_skip(r);
		buf_addf(got, "%.*s;", STR_ARG(value));
	}
}

struct compact_case {
	const char *name;
	const char *text;
	const char *got; // then what is wrong
};

static struct compact_case compact_cases[] = {
	{"compact: members", "{\"a\":\"b\",\"c\":{},\"d\":[1,true,{}]}", "{a=b;c={}d=[1;true;{}]}"},
	{"compact: a value with quotes", "{\"a\":\"x\\\"y\\\"\"}", "{a=x\"y\";}"},
	{"compact: a key with quotes", "{\"x\\\"y\\\"\":{}}", "{x\"y\"={}}"},
	{"compact: a value with other escapes", "[\"x\\\\\",\"\\u0041\"]", "[x\\;A;]"},
	{"compact: a key with other escapes", "{\"\\\\\":1,\"\\u0041\":2}", "{\\=1;A=2;}"},
	{"compact: a comma first", "[,1]", "[;]" AT(1, "[0]") VALUE},
	{"compact: a comma last", "[1,]", "[1;;]" AT(3, "[1]") VALUE},
	{"compact: no comma", "[{}1]", "[{}]" AT(3, "[0]") "expected ',' or ']'"},
	{"compact: almost true", "[true,trux]", "[true;;]" AT(6, "[1]") VALUE},
	{"compact: the same key twice", "{\"a\":1,\"a\":2}", "{a=1;}" AT(10, "a") "key \"a\" stands twice in one object"},
	{"compact: a key of the same mark", "{\"name\":1,\"tame\":2,\"zbme\":3}", "{name=1;tame=2;zbme=3;}"},
};

static void test_compact(void **state)
{
	const struct compact_case *c = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_BUF
	struct buf text = BUF_INIT(1000);
	CLEANUP_BUF
	struct buf got = BUF_INIT(1000);
	struct error err = {0};
	struct json_read r;
	buf_addf(&text, "%s%200s", c->text, "");
	json_read_init(&r, buf_str(&text), &arena, &err);
	read_all(&r, &got);
	if (json_read_end(&r) < 0)
		buf_addz(&got, err.msg);
	assert_string_equal(buf_z(&got), c->got);
}

// Empty objects, wherever a window ends.
static void test_items_windows(void **state)
{
	(void)state;
	for (int shift = 0; shift < 3; shift++) {
		CLEANUP_ARENA
		struct arena arena = {0};
		CLEANUP_BUF
		struct buf text = BUF_INIT(4 * JSON_WINDOW);
		struct error err = {0};
		struct json_read r;
		size_t items = 0;
		buf_addf(&text, "%*s[", shift, "");
		for (; text.n < 3 * JSON_WINDOW; items++)
			buf_addz(&text, items > 0 ? ",{}" : "{}");
		buf_addz(&text, "]");
		json_read_init(&r, buf_str(&text), &arena, &err);
		assert_true(json_enter_array(&r));
		for (; json_next_item(&r); items--)
			assert_true(str_is(json_skip(&r), "{}"));
		assert_int_equal(items, 0);
		assert_int_equal(json_read_end(&r), 0);
	}
}

// More keys of open objects than there is room for at first: all are still known on the way out.
static void test_many_open(void **state)
{
	(void)state;
	const size_t levels = 40;
	for (size_t twice = 0; twice < levels; twice++) {
		CLEANUP_ARENA
		struct arena arena = {0};
		CLEANUP_BUF
		struct buf text = BUF_INIT(10000);
		CLEANUP_BUF
		struct buf got = BUF_INIT(10000);
		struct error err = {0};
		struct json_read r;
		for (size_t i = 0; i < levels; i++)
			buf_addz(&text, "{\"a\":1,\"b\":2,\"c\":3,\"n\":");
		buf_addz(&text, "{}");
		for (size_t i = levels; i-- > 0;)
			buf_addz(&text, i == twice ? ",\"b\":4}" : ",\"z\":5}");
		buf_addf(&text, "%200s", "");
		json_read_init(&r, buf_str(&text), &arena, &err);
		read_all(&r, &got);
		assert_int_equal(json_read_end(&r), -EINVAL);
		assert_non_null(strstr(err.msg, "\"b\" stands twice in one object"));
	}
}

// An empty object counts as a level, too.
static void test_deepest(void **state)
{
	(void)state;
	for (size_t arrays = JSON_DEPTH_MAX - 1; arrays <= JSON_DEPTH_MAX; arrays++) {
		CLEANUP_ARENA
		struct arena arena = {0};
		CLEANUP_BUF
		struct buf text = BUF_INIT(1000);
		struct error err = {0};
		struct json_read r;
		for (size_t i = 0; i < arrays; i++)
			buf_addc(&text, '[');
		buf_addf(&text, "{},true%200s", "");
		json_read_init(&r, buf_str(&text), &arena, &err);
		for (size_t i = 0; i < arrays; i++)
			assert_true(json_enter_array(&r) && json_next_item(&r));
		assert_int_equal(json_skip(&r).n, arrays < JSON_DEPTH_MAX ? 2 : 0);
		assert_int_equal(r.fault, arrays < JSON_DEPTH_MAX ? JSON_FAULT_NONE : JSON_FAULT_SYNTAX);
	}
}

// ---- The wanted among many

struct wanted_case {
	const char *name;
	const char *text;
	const char *got; // of "name", "a" and "kind": the keys that come with their values; then what is wrong
};

// "zbme" and "tame" have the mark of "name", which goes by length and last byte.
static struct wanted_case wanted_cases[] = {
	{"wanted: none", "{\"b\":1,\"c\":{\"name\":2}}", ""},
	{"wanted: empty", "{}", ""},
	{"wanted: all", "{\"name\":1,\"a\":{\"a\":1},\"kind\":\"x\"}", "name=1 a={\"a\":1} kind=\"x\" "},
	{"wanted: among others", "{\"zbme\":{},\"b\":\"\",\"name\":true,\"c\":true,\"tame\":[],\"kind\":{},\"z\":null}",
	 "name=true kind={} "},
	{"wanted: with white space", " { \"b\" : {} , \"a\" : 1 , \"c\":[ ] } ", "a=1 "},
	{"wanted: written with escapes", "{\"n\\u0061me\":1,\"\\u0061\":2,\"b\":3}", "name=1 a=2 "},
	{"wanted: a quote in another", "{\"na\\\"me\":1,\"x\\\"\":{},\"\\\"a\":2,\"a\":3}", "a=3 "},
	{"wanted: an empty key", "{\"\":1,\"a\":2}", "a=2 "},
	{"wanted: twice", "{\"a\":1,\"b\":2,\"a\":3}", "a=1 " AT(16, "a") "key \"a\" stands twice in one object"},
	{"wanted: twice, once with escapes", "{\"a\":1,\"\\u0061\":3}",
	 "a=1 " AT(15, "a") "key \"a\" stands twice in one object"},
	{"wanted: another twice", "{\"b\":1,\"a\":2,\"b\":3}", "a=2 " AT(16, "b") "key \"b\" stands twice in one object"},
	{"wanted: another twice inside", "{\"b\":{\"c\":{},\"c\":1}}",
	 AT(16, "b.c") "key \"c\" stands twice in one object"},
	{"wanted: a fault in another", "{\"b\":{\"c\":[1,x]},\"a\":2}", AT(13, "b.c[1]") VALUE},
	{"wanted: no comma", "{\"a\":{}\"kind\":1}", "a={} " AT(7, "a") "expected ',' or '}'"},
	{"wanted: no comma after another", "{\"b\":{}\"kind\":1}", AT(7, "b") "expected ',' or '}'"},
	{"wanted: a comma first", "{,\"a\":1}", AT(1, "(top)") "expected a key in double quotes"},
	{"wanted: a comma last", "{\"b\":\"\",}", AT(8, "b") "expected a key in double quotes"},
	{"wanted: not the end", "{\"b\":\"\",\"a\":1]", "a=1 " AT(13, "a") "expected ',' or '}'"},
};

static void read_wanted(struct json_read *r, struct buf *got)
{
	const uint64_t wanted = JSON_KEY("name") | JSON_KEY("a") | JSON_KEY("kind");
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, wanted, &key)) {
		bool ours = str_is(key, "name") || str_is(key, "a") || str_is(key, "kind");
		struct str value = json_skip(r);
		if (ours && value.p != NULL)
			buf_addf(got, "%.*s=%.*s ", STR_ARG(key), STR_ARG(value));
	}
}

// At the text's end, and far from it.
static void test_wanted(void **state)
{
	const struct wanted_case *c = *state;
	for (int room = 0; room <= 200; room += 200) {
		CLEANUP_ARENA
		struct arena arena = {0};
		CLEANUP_BUF
		struct buf text = BUF_INIT(1000);
		CLEANUP_BUF
		struct buf got = BUF_INIT(1000);
		struct error err = {0};
		struct json_read r;
		buf_addf(&text, "%s%*s", c->text, room, "");
		json_read_init(&r, buf_str(&text), &arena, &err);
		read_wanted(&r, &got);
		if (json_read_end(&r) < 0)
			buf_addz(&got, err.msg);
		assert_string_equal(buf_z(&got), c->got);
	}
}

// ---- What stands at the text's end: nothing behind it is looked at, and it means the same as further ahead

static void test_ends(void **state)
{
	(void)state;
	static const char *const ends[] = {
		"",          "}",        "}}",        "}}}",        "\"",     "\"}",      "\"}}}",    "\\\"",
		"\\\"}}}",   "\\\":{}}", "\\\":{}}}", "\\}}}",      "\":{}}", "\":{}",    "\":{}}  ", "\":\"\"}",
		"\":\"a}}}", "\":1}",    "\":true}",  "\":true}}}", "\":[]}", "\":[{}]}",
	};
	static const char *const begins[] = {"{\"", "{\"a\":{},\"", "{\"a\":{\"", "[{}, {\"b\":\""};
	char filler[140];
	memset(filler, 'a', sizeof(filler));
	for (size_t b = 0; b < COUNT(begins); b++)
		for (size_t e = 0; e < COUNT(ends); e++)
			for (int n = 0; n < (int)sizeof(filler); n++) {
				CLEANUP_BUF
				struct buf text = BUF_INIT(1000);
				struct error at_end = {0};
				struct error pulled = {0};
				struct error ahead = {0};
				buf_addf(&text, "%s%.*s%s", begins[b], n, filler, ends[e]);
				int rc = read_exact(buf_str(&text), read_nothing, &at_end);
				assert_int_equal(read_exact(buf_str(&text), begins[b][0] == '{' ? read_wanted : read_nothing, &pulled),
								 rc);
				assert_string_equal(pulled.msg, at_end.msg);
				buf_addf(&text, "%200s", "");
				assert_int_equal(read_exact(buf_str(&text), read_nothing, &ahead), rc);
			}
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, compact_cases, test_compact);
	tests_add(&t, "items wherever a window ends", test_items_windows, NULL);
	tests_add(&t, "many keys of open objects", test_many_open, NULL);
	tests_add(&t, "the deepest empty object", test_deepest, NULL);
	ADD_TABLE(&t, wanted_cases, test_wanted);
	tests_add(&t, "whatever ends the text", test_ends, NULL);
	return tests_run("json_pull", &t);
}
