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
#include "common/yaml.h"

#define OUT_MAX ((size_t)16 * 1024 * 1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// ---- Reading: a stream becomes this array of documents, or is refused with this message ----

struct read_case {
	const char *name;
	const char *yaml;
	const char *json;
	const char *error;
};

static struct read_case read_cases[] = {
	{"read: nothing", "", "[]", NULL},
	{"read: documents", "# a\n---\na: 1\n---\n---\n# b\n---\n- c\n...\n", "[{\"a\":1},[\"c\"]]", NULL},
	{"read: null is a document", "~", "[null]", NULL},
	{"read: block style", "a:\n- b: c\n  d: [e, {f: g}]\n-\n  - h\n",
	 "[{\"a\":[{\"b\":\"c\",\"d\":[\"e\",{\"f\":\"g\"}]},[\"h\"]]}]", NULL},
	{"read: text blocks", "a: |\n  b\n   c\n\nd: >-\n  e\n  f\n", "[{\"a\":\"b\\n c\\n\",\"d\":\"e f\"}]", NULL},
	{"read: no value in a list", "[a, , b]", NULL,
	 "line 1, column 5: did not find expected node content (while parsing a flow node, from line 1)"},
	{"read: nulls", "- ~\n- null\n- Null\n- NULL\n-\n- !!null ''\n", "[[null,null,null,null,null,null]]", NULL},
	{"read: booleans", "[y, Y, yes, Yes, YES, true, True, TRUE, on, On, ON]",
	 "[[true,true,true,true,true,true,true,true,true,true,true]]", NULL},
	{"read: booleans, false", "[n, N, no, No, NO, false, False, FALSE, off, Off, OFF]",
	 "[[false,false,false,false,false,false,false,false,false,false,false]]", NULL},
	{"read: integers", "[0, -1, +2, 0x1F, -0o17, 017, 0b11, 1_000, 9223372036854775807, -9223372036854775808]",
	 "[[0,-1,2,31,-15,15,3,1000,9223372036854775807,-9223372036854775808]]", NULL},
	{"read: reals", "[1.5, .5, 5., 1e3, -1.5E-2, 08, 1_0.5]", "[[1.5,0.5,5.0,1000.0,-0.015,8.0,10.5]]", NULL},
	{"read: text", "[2001-01-01, 10:30, 1.2.3, yEs, 'yes', \"1\", 0x, _1, 5e75421, a b]",
	 "[[\"2001-01-01\",\"10:30\",\"1.2.3\",\"yEs\",\"yes\",\"1\",\"0x\",\"_1\",\"5e75421\",\"a b\"]]", NULL},
	{"read: tags", "[!!str 1, !!int '2', !!float 3, !!bool no, ! 4, !!seq [], !!map {}]",
	 "[[\"1\",2,3.0,false,\"4\",[],{}]]", NULL},
	{"read: aliases", "a: &x [1, &y b]\nc: *x\nd: {*y : *y}\n",
	 "[{\"a\":[1,\"b\"],\"c\":[1,\"b\"],\"d\":{\"b\":\"b\"}}]", NULL},
	{"read: later anchor counts", "[&a 1, *a, &a 2, *a]", "[[1,1,2,2]]", NULL},
	{"read: byte order mark",
	 "\xEF\xBB\xBF"
	 "a: b",
	 "[{\"a\":\"b\"}]", NULL},
	{"read: quoted merge key", "'<<': a", "[{\"<<\":\"a\"}]", NULL},
	{"read: merge sign as value", "a: <<", "[{\"a\":\"<<\"}]", NULL},
	{"read: JSON", "{\n\t\"a\\/\": [\"\\ud83d\\ude00\", 1e2, null, \"yes\"]\n}",
	 "[{\"a/\":[\"\xF0\x9F\x98\x80\",100.0,null,\"yes\"]}]", NULL},
	{"read: JSON documents", "{\"a\": 1}\n---\n[2]\n", "[{\"a\":1},[2]]", NULL},
	{"read: flow that is not JSON", "{a: [b, 'c']}", "[{\"a\":[\"b\",\"c\"]}]", NULL},

	{"read: key twice", "a: 1\nb: 2\n\"a\": 3", NULL, "line 3, column 1: key \"a\" is in line 1 already"},
	{"read: key twice in JSON", "{\"a\": 1,\n \"a\": 2}", NULL, "line 2, column 2: key \"a\" is in line 1 already"},
	{"read: integer as key", "a:\n  8080: b", NULL, "line 2, column 3: key 8080 is not text in YAML: quote it"},
	{"read: boolean as key", "on: push", NULL, "line 1, column 1: key on is not text in YAML: quote it"},
	{"read: list as key", "? [a]\n: b", NULL, "line 1, column 3: a key must be text"},
	{"read: merge", "a: &a {b: c}\nd:\n  <<: *a", NULL,
	 "line 3, column 3: merge keys (<<) are not supported: write the keys out, or quote it"},
	{"read: infinity", "a: -.inf", NULL,
	 "line 1, column 4: -.inf is not supported, as JSON has no such number: quote it if it is text"},
	{"read: integer of 65 bits", "a: 18446744073709551616", NULL,
	 "line 1, column 4: 18446744073709551616 does not fit into 64 bits: quote it if it is text"},
	{"read: integer of 64 bits", "a: 9223372036854775808", NULL,
	 "line 1, column 4: 9223372036854775808 does not fit into 64 bits: quote it if it is text"},
	{"read: binary", "a: !!binary aGk=", NULL, "line 1, column 4: tag !!binary is not supported here: remove it"},
	{"read: tag of another's", "!foo a", NULL, "line 1, column 1: tag \"!foo\" is not supported: remove it"},
	{"read: tag of a list", "!!str [a]", NULL, "line 1, column 1: tag !!str is not supported here: remove it"},
	{"read: tag that does not fit", "!!int a", NULL, "line 1, column 1: \"a\" is no !!int"},
	{"read: unknown alias", "a: *b", NULL, "line 1, column 4: alias *b has no anchor &b that ends before it"},
	{"read: alias in its anchor", "a: &b [*b]", NULL,
	 "line 1, column 8: alias *b has no anchor &b that ends before it"},
	{"read: alias over documents", "--- &a b\n--- *a", NULL,
	 "line 2, column 5: alias *a has no anchor &a that ends before it"},
	{"read: U+0000", "\"a\\0\"", NULL, "line 1, column 1: text with U+0000 is not supported"},
	{"read: tab", "a:\n\tb: c", NULL,
	 "line 2, column 1: found character that cannot start any token: indent with spaces, not with tabs"},
	{"read: wrong indentation", "a:\n  b: c\n d: e", NULL,
	 "line 3, column 2: did not find expected key (while parsing a block mapping, from line 1)"},
	{"read: list without end", "a: [b", NULL,
	 "line 2, column 1: did not find expected ',' or ']' (while parsing a flow sequence, from line 1)"},
	{"read: control character", "a: b\nc: \xC3\xA9\x01", NULL, "line 2, column 5: control characters are not allowed"},
	{"read: not UTF-8", "a: \xFF", NULL, "line 1, column 4: invalid leading UTF-8 octet"},
	{"read: UTF-16",
	 "\xFF\xFE"
	 "a",
	 NULL, "line 1, column 1: invalid leading UTF-8 octet"},
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
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	int rc = yaml_read(str_from(c->yaml), &docs, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	if (rc < 0)
		return;
	json_auto_t *all = json_array();
	for (size_t i = 0; i < docs.n; i++)
		assert_int_equal(json_array_append(all, docs.v[i].root), 0);
	assert_json(all, c->json);
}

static void test_lines(void **state)
{
	(void)state;
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	CLEANUP_YAML_DOCS struct yaml_docs json = {0};
	struct error err = {0};
	assert_int_equal(yaml_read(STR("# a\n\nb: c\n---\n# d\ne: f\n--- g\n"), &docs, &err), 0);
	assert_int_equal(docs.n, 3);
	assert_int_equal(docs.v[0].line, 3);
	assert_int_equal(docs.v[1].line, 6);
	assert_int_equal(docs.v[2].line, 7);
	assert_int_equal(yaml_read(STR("\n\n {}"), &json, &err), 0);
	assert_int_equal(json.v[0].line, 3);
}

// A copy: what changes one place does not change the other.
static void test_alias_is_a_copy(void **state)
{
	(void)state;
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	assert_int_equal(yaml_read(STR("a: &x {b: c}\nd: *x"), &docs, &err), 0);
	assert_int_equal(json_object_set_new(json_object_get(docs.v[0].root, "a"), "b", json_true()), 0);
	assert_json(docs.v[0].root, "{\"a\":{\"b\":true},\"d\":{\"b\":\"c\"}}");
}

// ---- Writing: JSON becomes this text, which reads back as the same ----

struct write_case {
	const char *name;
	const char *json;
	const char *yaml;
	const char *error;
};

static struct write_case write_cases[] = {
	{"write: as kubectl does", "{\"b\":{\"c\":[1,{\"d\":true,\"e\":null}]},\"a\":[[\"f\"],[],{}]}",
	 "b:\n  c:\n  - 1\n  - d: true\n    e: null\na:\n- - f\n- []\n- {}\n", NULL},
	{"write: empty", "{}", "{}\n", NULL},
	{"write: text", "\"a\"", "a\n", NULL},
	{"write: plain", "[\"a b\",\"10.0.0.1/24\",\"1.2.3\",\"a/b:c\",\"--x\",\"yEs\",\"caf\xC3\xA9\",\"tru\",\"-a\"]",
	 "- a b\n- 10.0.0.1/24\n- 1.2.3\n- a/b:c\n- --x\n- yEs\n- caf\xC3\xA9\n- tru\n- -a\n", NULL},
	{"write: words", "[\"yes\",\"N\",\"on\",\"null\",\"~\",\"\",\"True\",\"=\",\"<<\",\".inf\"]",
	 "- \"yes\"\n- \"N\"\n- \"on\"\n- \"null\"\n- \"~\"\n- \"\"\n- \"True\"\n- \"=\"\n- \"<<\"\n- \".inf\"\n", NULL},
	{"write: looks like a number",
	 "[\"1\",\"0o17\",\"1_000\",\"0x_\",\"1e3\",\"5e75421\",\"1:30\",\"2001-01-01\",\"18446744073709551616\"]",
	 "- \"1\"\n- \"0o17\"\n- \"1_000\"\n- \"0x_\"\n- \"1e3\"\n"
	 "- \"5e75421\"\n- \"1:30\"\n- \"2001-01-01\"\n- \"18446744073709551616\"\n",
	 NULL},
	{"write: keys", "{\"y\":1,\"8080\":2,\"a b\":3,\"a: b\":4,\"c\\nd\":5}",
	 "\"y\": 1\n\"8080\": 2\na b: 3\n'a: b': 4\n? \"c\\nd\"\n: 5\n", NULL},
	{"write: syntax", "[\"a: b\",\"- a\",\"#a\",\"a #b\",\" a\",\"a \",\"it's\",\"'\",\"*a\",\"{\",\"---\",\"a\\tb\"]",
	 "- 'a: b'\n- '- a'\n- '#a'\n- 'a #b'\n- ' a'\n- 'a '\n- it's\n- ''''\n- '*a'\n- '{'\n- '---'\n- \"a\\tb\"\n",
	 NULL},
	{"write: literal blocks", "{\"a\":\"b\\n  c\\n\\nd\\n\",\"e\":\"f\\ng\",\"h\":\"i\\n\\n\",\"j\":[\"k\\n l\\n\"]}",
	 "a: |\n  b\n    c\n\n  d\ne: |-\n  f\n  g\nh: |+\n  i\n\nj:\n- |\n  k\n   l\n", NULL},
	{"write: no literal block",
	 "[\"a \\nb\",\" a\\nb\",\"\\na\",\"a\\r\\nb\",\"a\\n\\u0001\",\"a\\u2028\\nb\",\"a\\n\\tb\",\"\\n\"]",
	 "- \"a \\nb\"\n- \" a\\nb\"\n- \"\\na\"\n- \"a\\r\\nb\"\n- \"a\\n\\x01\"\n"
	 "- \"a\\L\\nb\"\n- \"a\\n\\tb\"\n- \"\\n\"\n",
	 NULL},
	{"write: no \"...\" at the end", "\"a\\n\\n\"", "|+\n  a\n\n", NULL},
	{"write: numbers", "[0,-1,9223372036854775807,-9223372036854775808,1.0,0.1,1e20,-0.0,1.5e-7]",
	 "- 0\n- -1\n- 9223372036854775807\n- -9223372036854775808\n- 1.0\n- 0.1\n- 1.0e+20\n- -0.0\n- 1.5e-07\n", NULL},
	{"write: U+0000", "{\"a\":[{\"b\":\"c\\u0000\"}]}", NULL, "a: b: text with U+0000 is not supported"},
};

static void test_write(void **state)
{
	const struct write_case *c = *state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs again = {0};
	struct error err = {0};
	json_auto_t *tree = json_loads(c->json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(tree);
	int rc = yaml_write(tree, &out, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	if (rc < 0)
		return;
	assert_string_equal(buf_z(&out), c->yaml);
	assert_int_equal(yaml_read(buf_str(&out), &again, &err), 0);
	assert_int_equal(again.n, 1);
	assert_json(again.v[0].root, c->json);
}

// A key longer than 128 bytes needs "? "; a text of any length stays on its line.
static void test_write_long(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf want = BUF_INIT(OUT_MAX);
	struct error err = {0};
	for (int i = 0; i < 1000; i++)
		buf_addz(&text, "word ");
	buf_addz(&text, "end");
	json_auto_t *tree = json_pack("{s:s}", buf_z(&text), buf_z(&text));
	assert_int_equal(yaml_write(tree, &out, &err), 0);
	buf_addf(&want, "? %s\n: %s\n", buf_z(&text), buf_z(&text));
	assert_string_equal(buf_z(&out), buf_z(&want));
}

static void test_write_appends(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_pack("{s:s}", "a", "b\n\n");
	for (int i = 0; i < 2; i++) {
		buf_addz(&out, "---\n");
		assert_int_equal(yaml_write(tree, &out, &err), 0);
	}
	assert_string_equal(buf_z(&out), "---\na: |+\n  b\n\n---\na: |+\n  b\n\n");
}

static void test_write_max(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(8);
	struct error err = {0};
	json_auto_t *tree = json_pack("{s:s}", "a", "123456789");
	assert_int_equal(yaml_write(tree, &out, &err), -EFBIG);
	assert_string_equal(err.msg, "more than 8 bytes of YAML");
}

static void test_write_depth(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *tree = json_array();
	for (int i = 1; i < YAML_DEPTH_MAX; i++)
		tree = json_pack("[o]", tree);
	assert_int_equal(yaml_write(tree, &out, &err), 0);
	tree = json_pack("[o]", tree);
	assert_int_equal(yaml_write(tree, &out, &err), -EINVAL);
	assert_string_equal(err.msg, "more than 128 lists and mappings within each other");
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
	{"limit: 128 lists", "", "- ", 128, "a", NULL},
	{"limit: 129 lists", "", "- ", 129, "a", "line 1, column 257: more than 128 lists and mappings within each other"},
	{"limit: 129 lists in JSON", "", "[", 129, "",
	 "line 1, column 129: more than 128 lists and mappings within each other"},
	{"limit: a million brackets", "", "[", 1000000, "",
	 "line 1, column 129: more than 128 lists and mappings within each other"},
	{"limit: a million values", "", "- a\n", 1000000, "",
	 "line 1000000, column 3: more than 1000000 values, aliases included"},
	{"limit: a million values in JSON", "[0", ",0", 999999, "]",
	 "line 1, column 2000000: more than 1000000 values, aliases included"},
	{"limit: many values in JSON", "[0", ",0", 500000, "]", NULL},
	{"limit: documents", "", "--- a\n", 100000, "", NULL},
	{"limit: empty documents", "", "---\n", 250000, "", NULL},
	{"limit: one anchor often", "- &a b\n", "- &a b\n- *a\n", 90000, "", NULL},
	{"limit: alias of a list often", "- &a [b, c, d, e, f, g, h, i, j]\n", "- *a\n", 100000, "",
	 "line 100000, column 3: more than 1000000 values, aliases included"},
	{"limit: long plain text", "a: ", "b c\n  ", 150000, "", NULL},
	{"limit: long quoted text", "a: \"", "\\u00e9\n\n", 100000, "\"", NULL},
	{"limit: a directive", "", "%TAG !a! b\n", 1, "--- a", NULL},
	{"limit: 101 directives", "", "%TAG !a! b\n", 101, "--- a", "line 101, column 1: more than 100 %TAG directives"},
	{"limit: no directives", "a: \"", "%TAG ", 1000, "\"", NULL},
	{"limit: flow pairs", "[", "a: b, ", 150000, "]", NULL},
};

static void test_limit(void **state)
{
	const struct limit_case *c = *state;
	CLEANUP_BUF struct buf text = BUF_INIT(YAML_TEXT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	buf_addz(&text, c->before);
	for (size_t i = 0; i < c->times; i++)
		buf_addz(&text, c->repeated);
	buf_addz(&text, c->after);
	int rc = yaml_read(buf_str(&text), &docs, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
}

static void test_billion_laughs(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf text = BUF_INIT(YAML_TEXT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	buf_addz(&text, "a0: &a0 [lol]\n");
	for (int i = 1; i <= 9; i++) {
		buf_addf(&text, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			buf_addf(&text, "%s*a%d", j > 0 ? "," : "", i - 1);
		buf_addz(&text, "]\n");
	}
	assert_int_equal(yaml_read(buf_str(&text), &docs, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 1000000 values, aliases included"));
}

// Each line is two levels deeper than the one before it, through an alias.
static void test_alias_depth(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf text = BUF_INIT(YAML_TEXT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	buf_addz(&text, "- &a0 [b]\n");
	for (int i = 1; i <= 70; i++)
		buf_addf(&text, "- &a%d [[*a%d]]\n", i, i - 1);
	assert_int_equal(yaml_read(buf_str(&text), &docs, &err), -EINVAL);
	assert_string_equal(err.msg, "line 65, column 10: more than 128 lists and mappings within each other");
}

static void test_text_max(void **state)
{
	(void)state;
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	CLEANUP_FREE char *text = calloc(YAML_TEXT_MAX + 1, 1);
	struct error err = {0};
	assert_non_null(text);
	assert_int_equal(yaml_read((struct str){text, YAML_TEXT_MAX + 1}, &docs, &err), -EFBIG);
	assert_string_equal(err.msg, "16777217 bytes of YAML, at most 16777216 are read");
}

int main(void)
{
	struct CMUnitTest tests[COUNT(read_cases) + COUNT(write_cases) + COUNT(limit_cases) + 9] = {
		cmocka_unit_test(test_lines),          cmocka_unit_test(test_alias_is_a_copy),
		cmocka_unit_test(test_write_long),     cmocka_unit_test(test_write_appends),
		cmocka_unit_test(test_write_max),      cmocka_unit_test(test_write_depth),
		cmocka_unit_test(test_billion_laughs), cmocka_unit_test(test_alias_depth),
		cmocka_unit_test(test_text_max),
	};
	size_t n = 9;
	for (size_t i = 0; i < COUNT(read_cases); i++)
		tests[n++] = (struct CMUnitTest){read_cases[i].name, test_read, NULL, NULL, &read_cases[i]};
	for (size_t i = 0; i < COUNT(write_cases); i++)
		tests[n++] = (struct CMUnitTest){write_cases[i].name, test_write, NULL, NULL, &write_cases[i]};
	for (size_t i = 0; i < COUNT(limit_cases); i++)
		tests[n++] = (struct CMUnitTest){limit_cases[i].name, test_limit, NULL, NULL, &limit_cases[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
