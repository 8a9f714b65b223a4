#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/toml.h"

#define OUT_MAX ((size_t)16 * 1024 * 1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// ---- Reading: a document becomes this JSON, or is refused with this message ----

struct read_case {
	const char *name;
	const char *toml;
	const char *json;
	const char *error;
};

static struct read_case read_cases[] = {
	{"read: empty", "", "{}", NULL},
	{"read: order of the text", "b = 1\na = 2\n[z]\n[c]", "{\"b\":1,\"a\":2,\"z\":{},\"c\":{}}", NULL},
	{"read: keys", "a-B_1 = 1\n\"b c\" = 2\n'd.e' = 3\nf . \"g\" = 4",
	 "{\"a-B_1\":1,\"b c\":2,\"d.e\":3,\"f\":{\"g\":4}}", NULL},
	{"read: escapes", "a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e9\\U0001F600\"",
	 "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\xC3\xA9\xF0\x9F\x98\x80\"}", NULL},
	{"read: multi-line strings", "a = \"\"\"\nb \\\n\n  c\"\"\"\"\nd = '''\r\ne\r\n'f'''",
	 "{\"a\":\"b c\\\"\",\"d\":\"e\\n'f\"}", NULL},
	{"read: integers", "a = [0x7fffffffffffffff, -9223372036854775808, 1_000, 0o17, 0b11, +1, -0]",
	 "{\"a\":[9223372036854775807,-9223372036854775808,1000,15,3,1,0]}", NULL},
	{"read: floats", "a = [1.5, -1e3, 1_0.2_5, 1E-2]", "{\"a\":[1.5,-1000.0,10.25,0.01]}", NULL},
	{"read: dates and times", "a = [1979-05-27 07:32:00Z, 1979-05-27, 07:32:00.5, 1979-05-27T00:00:00-07:00]",
	 "{\"a\":[\"1979-05-27 07:32:00Z\",\"1979-05-27\",\"07:32:00.5\",\"1979-05-27T00:00:00-07:00\"]}", NULL},
	{"read: inline tables", "a = { b.c = 1, b.d = [ {}, ], e = true }",
	 "{\"a\":{\"b\":{\"c\":1,\"d\":[{}]},\"e\":true}}", NULL},
	{"read: tables", "[a.b]\nc = 1\n[a]\nd.e = 2\n[a.d.f]", "{\"a\":{\"b\":{\"c\":1},\"d\":{\"e\":2,\"f\":{}}}}", NULL},
	{"read: arrays of tables", "[[a]]\n[[a.b]]\n[a.b.c]\n[[a.b]]\n[[a]]", "{\"a\":[{\"b\":[{\"c\":{}},{}]},{}]}", NULL},
	{"read: byte order mark",
	 "\xEF\xBB\xBF"
	 "a = 1",
	 "{\"a\":1}", NULL},
	{"read: no value", "a =", NULL, "line 1, column 4: expected a value"},
	{"read: no equals sign", "\n\na b = 1", NULL, "line 3, column 3: expected \"=\" after the key"},
	{"read: no key", "= 1", NULL, "line 1, column 1: expected a key: letters, digits, - and _, or a quoted string"},
	{"read: column counts characters", "\"\xC3\xA9\" = 'x' y", NULL, "line 1, column 11: expected the end of the line"},
	{"read: key twice", "a = 1\na = 2", NULL, "line 2, column 1: \"a\" is defined already"},
	{"read: table twice", "[a]\n[a]", NULL, "line 2, column 2: \"a\" is defined already"},
	{"read: table over a dotted key's", "a.b = 1\n[a]", NULL, "line 2, column 2: \"a\" is defined already"},
	{"read: table below a value", "a = 1\n[a.b]", NULL, "line 2, column 2: \"a\" is a value: a header can't add to it"},
	{"read: dotted key into a table", "[a.b.c]\n[a]\nb.c.d = 1", NULL,
	 "line 3, column 1: \"c\" is defined already: a dotted key can't add to it"},
	{"read: array of tables over an array", "a = []\n[[a]]", NULL,
	 "line 2, column 3: \"a\" is defined already, and not as an array of tables"},
	{"read: string without end", "a = \"b\n", NULL,
	 "line 1, column 5: the string does not end on its line: close it, or use three quotes"},
	{"read: long string without end", "a = '''b\n", NULL,
	 "line 1, column 5: the string has no end: three quotes are missing"},
	{"read: unknown escape", "a = \"\\d\"", NULL,
	 "line 1, column 6: unknown escape: write \\\\ for a backslash, or use a literal string ('...')"},
	{"read: short escape", "a = \"\\u12\"", NULL, "line 1, column 6: expected 4 hexadecimal digits after \\u"},
	{"read: surrogate", "a = \"\\uD83D\"", NULL, "line 1, column 6: U+D83D is not a Unicode character"},
	{"read: U+0000", "a = \"\\u0000\"", NULL,
	 "line 1, column 6: U+0000 is not supported: what reads the text later would end there"},
	{"read: control character", "a = '\x01'", NULL,
	 "line 1, column 6: control character 0x01 in a string: write it as an escape"},
	{"read: control character in a comment", "# \x7F", NULL, "line 1, column 3: control character 0x7F in a comment"},
	{"read: not UTF-8", "a = '\xC0\xAF'", NULL, "line 1, column 6: not UTF-8"},
	{"read: integer of 65 bits", "a = 9223372036854775808", NULL,
	 "line 1, column 5: the integer does not fit into 64 bits"},
	{"read: hexadecimal of 64 bits", "a = 0xFFFFFFFFFFFFFFFF", NULL,
	 "line 1, column 5: the integer does not fit into 64 bits"},
	{"read: float out of range", "a = 1e999", NULL, "line 1, column 5: the number is out of range"},
	{"read: infinity", "a = -inf", NULL, "line 1, column 5: -inf is not supported: JSON has no such number"},
	{"read: leading zero", "a = 012", NULL, "line 1, column 5: \"012\" is not a value: quote it if it is text"},
	{"read: text without quotes", "a = kbs", NULL, "line 1, column 5: \"kbs\" is not a value: quote it if it is text"},
	{"read: no such day", "a = 2023-02-29", NULL, "line 1, column 5: \"2023-02-29\" is not a date or time"},
	{"read: array without comma", "a = [1 2]", NULL,
	 "line 1, column 8: expected \",\" or \"]\" after an array's value"},
	{"read: inline table over lines", "a = {b = 1\n}", NULL,
	 "line 1, column 11: expected \",\" or \"}\" after an inline table's value, on the same line"},
	{"read: header without end", "[[a]", NULL, "line 1, column 5: expected \"]]\" after the table's name"},
	{"read: carriage return alone", "a = 1\rb = 2", NULL, "line 1, column 6: expected the end of the line"},
};

static void assert_json(const json_t *got, const char *want)
{
	json_auto_t *tree = json_loads(want, JSON_DECODE_ANY, NULL);
	CLEANUP_FREE char *text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_non_null(tree);
	assert_non_null(text);
	if (!json_equal(got, tree))
		assert_string_equal(text, want);
}

static void test_read(void **state)
{
	const struct read_case *c = *state;
	struct error err = {0};
	json_auto_t *got = toml_read(str_from(c->toml), &err);
	if (c->error != NULL) {
		assert_null(got);
		assert_string_equal(err.msg, c->error);
		return;
	}
	assert_string_equal(err.msg, "");
	assert_json(got, c->json);
	CLEANUP_FREE char *ordered = json_dumps(got, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (strcmp(c->name, "read: order of the text") == 0)
		assert_string_equal(ordered, c->json);
}

// ---- Writing: JSON becomes this document, which reads back as the same ----

struct write_case {
	const char *name;
	const char *json;
	const char *toml;
	const char *error;
};

static struct write_case write_cases[] = {
	{"write: empty", "{}", "", NULL},
	{"write: values before tables", "{\"a\":{\"b\":1},\"c\":true,\"d\":[{\"e\":2},{}],\"f\":-3}",
	 "c = true\nf = -3\n\n[a]\nb = 1\n\n[[d]]\ne = 2\n\n[[d]]\n", NULL},
	{"write: tables within each other", "{\"a\":{\"b\":{\"c\":1},\"d\":{}}}", "[a.b]\nc = 1\n\n[a.d]\n", NULL},
	{"write: tables in arrays of tables", "{\"a\":[{\"b\":{\"c\":1}}]}", "[[a]]\n\n[a.b]\nc = 1\n", NULL},
	{"write: quoted keys", "{\"a b\":1,\"\":{\"c.d\":{}},\"\\n\":2,\"-_1\":3}",
	 "\"a b\" = 1\n\"\\n\" = 2\n-_1 = 3\n\n[\"\".\"c.d\"]\n", NULL},
	{"write: reals", "{\"a\":[1.0,0.1,1e20,-0.0,1e-7,5e-324]}",
	 "a = [1.0, 0.1, 1.0e+20, -0.0, 1.0e-07, 4.94065645841247e-324]\n", NULL},
	{"write: integers", "{\"a\":[9223372036854775807,-9223372036854775808]}",
	 "a = [9223372036854775807, -9223372036854775808]\n", NULL},
	{"write: mixed array", "{\"a\":[1,{\"b\":{\"c d\":[]}},[{}]]}", "a = [1, {b = {\"c d\" = []}}, [{}]]\n", NULL},
	{"write: short text", "{\"a\":\"it's \\\"b\\\" \\\\ \\t \\u0001 \\u007f \xC3\xA9\"}",
	 "a = \"it's \\\"b\\\" \\\\ \\t \\u0001 \\u007F \xC3\xA9\"\n", NULL},
	{"write: text with newlines", "{\"a\":\"\\nb = '''c\\n\",\"d\":\"[e]\\n\\tf = \\\"g\\\\\\\"\\n\"}",
	 "a = \"\"\"\n\nb = '''c\n\"\"\"\nd = '''\n[e]\n\tf = \"g\\\"\n'''\n", NULL},
	{"write: leading newline", "{\"a\":\"\\nb\"}", "a = '''\n\nb'''\n", NULL},
	{"write: quote at the end", "{\"a\":\"b\\n'\"}", "a = \"\"\"\nb\n'\"\"\"\n", NULL},
	{"write: both kinds of quotes", "{\"a\":\"'''\\n\\\"\\\"\\\"\\\"\\\\\\\"\"}",
	 "a = \"\"\"\n'''\n\"\"\\\"\"\\\\\\\"\"\"\"\n", NULL},
	{"write: carriage return", "{\"a\":\"b\\r\\n\"}", "a = \"\"\"\nb\\r\n\"\"\"\n", NULL},
	{"write: null", "{\"a\":{\"b c\":[1,null]}}", NULL, "a.\"b c\": TOML has no null: leave the key out"},
	{"write: no table", "[]", NULL, "document: the root of a TOML document is a table"},
	{"write: U+0000", "{\"a\":\"b\\u0000\"}", NULL, "a: text with U+0000 is not supported"},
};

static void test_write(void **state)
{
	const struct write_case *c = *state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_loads(c->json, JSON_ALLOW_NUL, NULL);
	assert_non_null(tree);
	int rc = toml_write(tree, &out, &err);
	if (c->error != NULL) {
		assert_int_equal(rc, -EINVAL);
		assert_string_equal(err.msg, c->error);
		return;
	}
	assert_string_equal(err.msg, "");
	assert_string_equal(buf_z(&out), c->toml);
	json_auto_t *again = toml_read(buf_str(&out), &err);
	assert_non_null(again);
	assert_json(again, c->json);
}

// ---- Limits: text many times over ----

struct limit_case {
	const char *name;
	const char *before;
	const char *repeated;
	size_t times;
	const char *after;
	const char *error; // NULL: it reads
};

static struct limit_case limit_cases[] = {
	{"limit: 64 arrays", "a = ", "[", 64, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", NULL},
	{"limit: 65 arrays", "a = ", "[", 65, "", "line 1, column 69: more than 64 tables and arrays within each other"},
	{"limit: 65 inline tables", "", "a = {", 65, "",
	 "line 1, column 325: more than 64 tables and arrays within each other"},
	{"limit: 64 parts of a header", "[a", ".a", 63, "]", NULL},
	{"limit: 65 parts of a header", "[a", ".a", 64, "]", "line 1, column 130: more than 64 tables within each other"},
	{"limit: value below 64 tables", "[a", ".a", 63, "]\nb = []",
	 "line 2, column 5: more than 64 tables and arrays within each other"},
	{"limit: dotted key below 64 tables", "[a", ".a", 63, "]\nb.c = 1",
	 "line 2, column 1: more than 64 tables and arrays within each other"},
	{"limit: a million values", "a = [", "0,", 1000001, "]", "line 1, column 2000004: more than 1000000 values"},
	{"limit: a million tables", "", "[[a]]\n", 1000001, "", "line 1000001, column 6: more than 1000000 values"},
	{"limit: brackets without end", "", "a = [[[[{", 100000, "",
	 "line 1, column 117: more than 64 tables and arrays within each other"},
	{"limit: quotes in a string", "a = \"\"\"", "\"\"b", 349525, "\"\"\"", NULL},
	{"limit: headers", "", "[[a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p]]\n", 30000, "", NULL},
	{"limit: comments in an array", "a = [", "# b\n", 250000, "]", NULL},
};

static void test_limit(void **state)
{
	const struct limit_case *c = *state;
	CLEANUP_BUF struct buf text = BUF_INIT(TOML_TEXT_MAX);
	struct error err = {0};
	buf_addz(&text, c->before);
	for (size_t i = 0; i < c->times; i++)
		buf_addz(&text, c->repeated);
	buf_addz(&text, c->after);
	json_auto_t *got = toml_read(buf_str(&text), &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_true((got != NULL) == (c->error == NULL));
}

static void test_text_max(void **state)
{
	(void)state;
	CLEANUP_FREE char *text = calloc(TOML_TEXT_MAX + 1, 1);
	struct error err = {0};
	assert_non_null(text);
	assert_null(toml_read((struct str){text, TOML_TEXT_MAX + 1}, &err));
	assert_int_equal(err.code, EFBIG);
	assert_string_equal(err.msg, "16777217 bytes of TOML, at most 16777216 are read");
}

static void test_write_max(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(8);
	struct error err = {0};
	json_auto_t *tree = json_pack("{s:s}", "a", "123456789");
	assert_int_equal(toml_write(tree, &out, &err), -EFBIG);
	assert_string_equal(err.msg, "more than 8 bytes of TOML");
}

static void test_write_depth(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_object();
	for (int i = 0; i < 64; i++)
		tree = json_pack("{s:o}", "a", tree);
	assert_int_equal(toml_write(tree, &out, &err), 0);
	tree = json_pack("{s:o}", "a", tree);
	assert_int_equal(toml_write(tree, &out, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "a.a: too many tables and arrays within each other"));
}

static void check_nul_key(json_t *value, const char *message)
{
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_object();
	assert_int_equal(json_object_setn_new(tree, "a\0b", 3, value), 0);
	assert_int_equal(toml_write(tree, &out, &err), -EINVAL);
	assert_string_equal(err.msg, message);
}

static void test_write_nul_key(void **state)
{
	(void)state;
	check_nul_key(json_true(), "\"a\\u0000b\": a key with U+0000 is not supported");
	check_nul_key(json_object(), "\"a\\u0000b\": a key with U+0000 is not supported");
}

static void test_appends(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_pack("{s:{}}", "a");
	buf_addz(&out, "# b\n");
	assert_int_equal(toml_write(tree, &out, &err), 0);
	assert_string_equal(buf_z(&out), "# b\n[a]\n");
}

int main(void)
{
	struct CMUnitTest tests[COUNT(read_cases) + COUNT(write_cases) + COUNT(limit_cases) + 5] = {
		cmocka_unit_test(test_text_max),      cmocka_unit_test(test_write_max), cmocka_unit_test(test_write_depth),
		cmocka_unit_test(test_write_nul_key), cmocka_unit_test(test_appends),
	};
	size_t n = 5;
	for (size_t i = 0; i < COUNT(read_cases); i++)
		tests[n++] = (struct CMUnitTest){read_cases[i].name, test_read, NULL, NULL, &read_cases[i]};
	for (size_t i = 0; i < COUNT(write_cases); i++)
		tests[n++] = (struct CMUnitTest){write_cases[i].name, test_write, NULL, NULL, &write_cases[i]};
	for (size_t i = 0; i < COUNT(limit_cases); i++)
		tests[n++] = (struct CMUnitTest){limit_cases[i].name, test_limit, NULL, NULL, &limit_cases[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
