#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/json_patch.h"

struct patch_case {
	const char *name;
	const char *document, *patch;
	const char *want;  // NULL: an error
	const char *error; // after "operation N of the patch: "
};

#define ADD(path, value) "{\"op\":\"add\",\"path\":\"" path "\",\"value\":" value "}"
#define REPLACE(path, value) "{\"op\":\"replace\",\"path\":\"" path "\",\"value\":" value "}"
#define FORM "operation 0 of the patch: a patch operation must be add or replace, with path and value"

static struct patch_case patch_cases[] = {
	{"patch: none", "{\"a\":1}", "[]", "{\"a\":1}", NULL},
	{"patch: add", "{}", "[" ADD("/a", "1") "]", "{\"a\":1}", NULL},
	{"patch: add over", "{\"a\":1}", "[" ADD("/a", "2") "]", "{\"a\":2}", NULL},
	{"patch: replace", "{\"a\":1,\"b\":2}", "[" REPLACE("/a", "[]") "]", "{\"a\":[],\"b\":2}", NULL},
	{"patch: null", "{\"a\":1}", "[" ADD("/a", "null") "]", "{\"a\":null}", NULL},
	{"patch: replace null", "{\"a\":null}", "[" REPLACE("/a", "1") "]", "{\"a\":1}", NULL},
	{"patch: below an array", "{\"a\":[{},{\"b\":{}}]}", "[" ADD("/a/1/b/c", "1") "]", "{\"a\":[{},{\"b\":{\"c\":1}}]}",
	 NULL},
	{"patch: into what was added", "{}", "[" ADD("/a", "{}") "," ADD("/a/b", "1") "]", "{\"a\":{\"b\":1}}", NULL},
	{"patch: slash and tilde", "{\"a/b\":{\"~c\":0}}", "[" REPLACE("/a~1b/~0c", "1") "," ADD("/~01", "2") "]",
	 "{\"a/b\":{\"~c\":1},\"~1\":2}", NULL},
	{"patch: empty key", "{}", "[" ADD("/", "1") "]", "{\"\":1}", NULL},
	{"patch: key that looks like an index", "{\"0\":{}}", "[" ADD("/0/1", "1") "]", "{\"0\":{\"1\":1}}", NULL},

	{"error: replace what is not there", "{}", "[" REPLACE("/a", "1") "]", NULL,
	 "operation 0 of the patch: \"a\" is not there to be replaced"},
	{"error: no parent", "{}", "[" ADD("/a", "1") "," ADD("/b/c", "1") "]", NULL,
	 "operation 1 of the patch: \"b\" is not there"},
	{"error: index beyond", "{\"a\":[{}]}", "[" ADD("/a/1/b", "1") "]", NULL,
	 "operation 0 of the patch: \"1\" is not there"},
	{"error: no index", "{\"a\":[{}]}", "[" ADD("/a/-/b", "1") "]", NULL,
	 "operation 0 of the patch: \"-\" is not there"},
	{"error: negative index", "{\"a\":[{}]}", "[" ADD("/a/-1/b", "1") "]", NULL,
	 "operation 0 of the patch: \"-1\" is not there"},
	{"error: empty index", "{\"a\":[{}]}", "[" ADD("/a//b", "1") "]", NULL,
	 "operation 0 of the patch: \"\" is not there"},
	{"error: into an array", "{\"a\":[]}", "[" ADD("/a/0", "1") "]", NULL,
	 "operation 0 of the patch: \"0\" has no object around it"},
	{"error: into a string", "{\"a\":\"b\"}", "[" ADD("/a/c", "1") "]", NULL,
	 "operation 0 of the patch: \"c\" has no object around it"},
	{"error: through a string", "{\"a\":\"b\"}", "[" ADD("/a/c/d", "1") "]", NULL,
	 "operation 0 of the patch: \"c\" is not there"},
	{"error: remove", "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, FORM},
	{"error: no op", "{}", "[{\"path\":\"/a\",\"value\":1}]", NULL, FORM},
	{"error: no value", "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, FORM},
	{"error: no path", "{}", "[{\"op\":\"add\",\"value\":1}]", NULL, FORM},
	{"error: whole document", "{}", "[" ADD("", "1") "]", NULL, FORM},
	{"error: path without a slash", "{}", "[" ADD("a", "1") "]", NULL, FORM},
	{"error: no object", "{}", "[1]", NULL, FORM},
	{"error: no list", "{}", ADD("/a", "1"), NULL, "a patch must be a list of operations"},
};

static void assert_json(const json_t *got, const char *want)
{
	json_auto_t *tree = json_loads(want, 0, NULL);
	char *text = json_dumps(got, JSON_COMPACT);
	assert_non_null(tree);
	if (!json_equal(got, tree))
		assert_string_equal(text, want);
	free(text);
}

static void test_patch(void **state)
{
	const struct patch_case *c = *state;
	struct error err = {0};
	json_auto_t *document = json_loads(c->document, 0, NULL);
	json_auto_t *patch = json_loads(c->patch, 0, NULL);
	assert_non_null(document);
	assert_non_null(patch);
	int rc = json_patch_apply(document, patch, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc < 0, c->error != NULL);
	if (c->want != NULL)
		assert_json(document, c->want);
	// The patch is as it was, whatever its operations did to each other.
	assert_json(patch, c->patch);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, patch_cases, test_patch);
	return tests_run("json_patch", &t);
}
