#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/buf.h"
#include "common/decode.h"

struct inner {
	int64_t size;
	bool size_seen;
};

struct outer {
	const char *text;
	bool flag;
	int64_t number;
	int choice;
	const json_t *list, *any;
	struct inner inner;
	bool inner_seen;
};

static const char *const choices[] = {"One", "Two", NULL};

static const struct decode_field inner_fields[] = {{.name = "size",
													.kind = DECODE_QUANTITY,
													.offset = offsetof(struct inner, size),
													.seen_offset = offsetof(struct inner, size_seen)},
												   {0}};

static const struct decode_field fields[] = {
	{.name = "text", .kind = DECODE_STRING, .offset = offsetof(struct outer, text)},
	{.name = "flag", .kind = DECODE_BOOL, .offset = offsetof(struct outer, flag)},
	{.name = "number", .kind = DECODE_INT, .offset = offsetof(struct outer, number)},
	{.name = "choice", .kind = DECODE_ENUM, .offset = offsetof(struct outer, choice), .names = choices},
	{.name = "list", .kind = DECODE_STRINGS, .offset = offsetof(struct outer, list)},
	{.name = "any", .kind = DECODE_ANY, .offset = offsetof(struct outer, any)},
	{.name = "inner",
	 .kind = DECODE_OBJECT,
	 .offset = offsetof(struct outer, inner),
	 .fields = inner_fields,
	 .seen_offset = offsetof(struct outer, inner_seen)},
	{0}};

static const struct outer usual = {.text = "usual", .flag = true, .number = 7, .choice = 1, .inner = {.size = 9}};

struct decode_case {
	const char *name;
	const char *json;
	const char *want; // what it became, or the error
};

static struct decode_case decode_cases[] = {
	{"decode: empty", "{}", "usual 1 7 1 - - 9 0 0"},
	{"decode: nulls", "{\"text\":null,\"flag\":null,\"number\":null,\"choice\":null,\"list\":null,\"inner\":null}",
	 "usual 1 7 1 - - 9 0 0"},
	{"decode: null within", "{\"inner\":{\"size\":null}}", "usual 1 7 1 - - 9 0 1"},
	{"decode: all",
	 "{\"text\":\"a\",\"flag\":false,\"number\":-3,\"choice\":\"One\",\"list\":[\"x\",\"\"],\"any\":{\"b\":[1]},"
	 "\"inner\":{\"size\":\"1Ki\"}}",
	 "a 0 -3 0 [\"x\",\"\"] {\"b\":[1]} 1024 1 1"},
	{"decode: empty text and list", "{\"text\":\"\",\"list\":[]}", " 1 7 1 [] - 9 0 0"},
	{"decode: any may be false", "{\"any\":false}", "usual 1 7 1 - false 9 0 0"},
	{"quantity: integer", "{\"inner\":{\"size\":17}}", "usual 1 7 1 - - 17 1 1"},
	{"quantity: integer beyond a double's digits", "{\"inner\":{\"size\":9007199254740993}}",
	 "usual 1 7 1 - - 9007199254740993 1 1"},
	{"quantity: largest", "{\"inner\":{\"size\":9223372036854775807}}", "usual 1 7 1 - - 9223372036854775807 1 1"},
	{"quantity: real", "{\"inner\":{\"size\":1.5e3}}", "usual 1 7 1 - - 1500 1 1"},
	{"quantity: large real", "{\"inner\":{\"size\":1e300}}", "usual 1 7 1 - - 9223372036854775807 1 1"},
	{"quantity: zero", "{\"inner\":{\"size\":0}}", "o.inner.size is \"0\"; it must be above zero"},
	{"quantity: negative", "{\"inner\":{\"size\":\"-1Gi\"}}", "o.inner.size is \"-1Gi\"; it must be above zero"},
	{"quantity: text", "{\"inner\":{\"size\":\"a\"}}",
	 "o.inner.size: \"a\" is not a quantity; write one like 512Mi, 8Gi or 1.5G"},
	{"quantity: list", "{\"inner\":{\"size\":[]}}", "o.inner.size must be a quantity such as 8Gi, not an array"},
	{"type: object", "[]", "o must be an object, not an array"},
	{"type: text", "{\"text\":1}", "o.text must be a string, not an integer (put it in quotes)"},
	{"type: text, real", "{\"text\":1.5}", "o.text must be a string, not a number (put it in quotes)"},
	{"type: text, object", "{\"text\":{}}", "o.text must be a string, not an object"},
	{"type: text, list", "{\"text\":[]}", "o.text must be a string, not an array"},
	{"type: boolean", "{\"flag\":\"true\"}", "o.flag must be true or false, not a string"},
	{"type: integer", "{\"number\":\"1\"}", "o.number must be an integer, not a string"},
	{"type: integer, real", "{\"number\":1.0}", "o.number must be an integer, not a number"},
	{"type: choice", "{\"choice\":1}", "o.choice must be a string, not an integer (put it in quotes)"},
	{"type: list", "{\"list\":\"a\"}", "o.list must be a list of strings, not a string"},
	{"type: list of numbers", "{\"list\":[\"a\",2]}", "o.list[1] must be a string, not an integer"},
	{"type: list of null", "{\"list\":[null]}", "o.list[0] must be a string, not null"},
	{"type: inner", "{\"inner\":\"a\"}", "o.inner must be an object, not a string"},
	{"choice: other", "{\"choice\":\"three\"}", "o.choice is \"three\"; it must be one of One, Two"},
	{"choice: case", "{\"choice\":\"one\"}", "o.choice is \"one\"; it must be one of One, Two"},
	{"choice: empty", "{\"choice\":\"\"}", "o.choice is \"\"; it must be one of One, Two"},
	{"unknown: outer", "{\"tex\":1}", "o.tex is not a known field; o has text, flag, number, choice, list, any, inner"},
	{"unknown: though null", "{\"tex\":null}",
	 "o.tex is not a known field; o has text, flag, number, choice, list, any, inner"},
	{"unknown: inner", "{\"inner\":{\"Size\":1}}", "o.inner.Size is not a known field; o.inner has size"},
	{"unknown: control characters", "{\"a\\u001b\\nb\":1}",
	 "o.a??b is not a known field; o has text, flag, number, choice, list, any, inner"},
};

static void add_json(struct buf *out, const json_t *v)
{
	char *text = v != NULL ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	buf_addf(out, "%s ", text != NULL ? text : "-");
	free(text);
}

static void test_decode(void **state)
{
	const struct decode_case *c = *state;
	CLEANUP_BUF
	struct buf got = BUF_INIT(2000);
	struct outer o = usual;
	struct error err = {0};
	json_auto_t *tree = json_loads(c->json, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(tree);
	int rc = decode_object(tree, fields, "o", &o, &err);
	if (rc < 0) {
		assert_int_equal(rc, -EINVAL);
		assert_string_equal(err.msg, c->want);
		return;
	}
	buf_addf(&got, "%s %d %lld %d ", o.text, o.flag, (long long)o.number, o.choice);
	add_json(&got, o.list);
	add_json(&got, o.any);
	buf_addf(&got, "%lld %d %d", (long long)o.inner.size, o.inner.size_seen, o.inner_seen);
	assert_string_equal(buf_z(&got), c->want);
}

static void test_nothing(void **state)
{
	(void)state;
	struct outer o = usual;
	struct error err = {0};
	assert_int_equal(decode_object(NULL, fields, "o", &o, &err), -EINVAL);
	assert_string_equal(err.msg, "o must be an object, not nothing");
}

// ---- Lists of objects, maps of strings

struct item {
	const char *name;
	int64_t number;
};

struct many {
	struct item items[2];
	size_t n;
	const json_t *map;
};

static const struct decode_field item_fields[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = offsetof(struct item, name)},
	{.name = "number", .kind = DECODE_INT, .offset = offsetof(struct item, number)},
	{0}};

static const struct decode_field many_fields[] = {
	{.name = "items",
	 .kind = DECODE_LIST,
	 .offset = offsetof(struct many, items),
	 .fields = item_fields,
	 .item_size = sizeof(struct item),
	 .items_max = 2,
	 .count_offset = offsetof(struct many, n)},
	{.name = "map", .kind = DECODE_STRING_MAP, .offset = offsetof(struct many, map)},
	{0}};

static struct decode_case many_cases[] = {
	{"many: nothing", "{}", "0 - 0 - 0 -"},
	{"many: nulls", "{\"items\":null,\"map\":null}", "0 - 0 - 0 -"},
	{"list: empty", "{\"items\":[]}", "0 - 0 - 0 -"},
	{"list: one", "{\"items\":[{\"name\":\"a\",\"number\":1}]}", "1 a 1 - 0 -"},
	{"list: full", "{\"items\":[{\"number\":1},{\"name\":\"b\",\"number\":2}]}", "2 - 1 b 2 -"},
	{"list: too many", "{\"items\":[{},{},{}]}", "o.items has 3 items; it may have 2"},
	{"list: an object", "{\"items\":{}}", "o.items must be a list of objects, not an object"},
	{"list: null within", "{\"items\":[{},null]}", "o.items[1] must be an object, not null"},
	{"list: unknown field", "{\"items\":[{},{\"nam\":1}]}",
	 "o.items[1].nam is not a known field; o.items[1] has name, number"},
	{"list: type", "{\"items\":[{\"name\":1}]}", "o.items[0].name must be a string, not an integer (put it in quotes)"},
	{"map: empty", "{\"map\":{}}", "0 - 0 - 0 {}"},
	{"map: two", "{\"map\":{\"a\":\"\",\"b\":\"c\"}}", "0 - 0 - 0 {\"a\":\"\",\"b\":\"c\"}"},
	{"map: a number", "{\"map\":{\"a\":1}}", "o.map.a must be a string, not an integer (put it in quotes)"},
	{"map: null within", "{\"map\":{\"a\":null}}", "o.map.a must be a string, not null"},
	{"map: a list", "{\"map\":[]}", "o.map must be an object, not an array"},
};

static void test_many(void **state)
{
	const struct decode_case *c = *state;
	struct many m = {0};
	struct error err = {0};
	json_auto_t *tree = json_loads(c->json, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(tree);
	if (decode_object(tree, many_fields, "o", &m, &err) < 0) {
		assert_string_equal(err.msg, c->want);
		return;
	}
	char *map = m.map != NULL ? json_dumps(m.map, JSON_COMPACT) : NULL;
	CLEANUP_BUF
	struct buf got = BUF_INIT(2000);
	buf_addf(&got, "%zu", m.n);
	for (size_t i = 0; i < COUNT(m.items); i++)
		buf_addf(&got, " %s %lld", m.items[i].name != NULL ? m.items[i].name : "-", (long long)m.items[i].number);
	buf_addf(&got, " %s", map != NULL ? map : "-");
	free(map);
	assert_string_equal(buf_z(&got), c->want);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, decode_cases, test_decode);
	ADD_TABLE(&t, many_cases, test_many);
	tests_add(&t, "decode: nothing", test_nothing, NULL);
	return tests_run("decode", &t);
}
