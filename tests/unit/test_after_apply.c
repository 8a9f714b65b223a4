#include <stdio.h>

#include "cases.h"
#include "cli/after_apply.h"
#include "cli/line_diff.h"

#define MANAGED(manager, operation, fields) \
	"{\"manager\":\"" manager "\",\"operation\":\"" operation "\",\"fieldsV1\":{\"f:spec\":" fields "}}"

struct apply_case {
	const char *name;
	const char *live, *wanted; // of spec
	const char *managers;      // entries of managedFields
	const char *after;         // spec
};

static struct apply_case applies[] = {
	{"what is wanted gets in, what nobody owns stays", "{\"a\":1}", "{\"b\":2}", "", "{\"a\":1,\"b\":2}"},
	{"what upstream had set and isn't wanted goes", "{\"a\":1,\"c\":3}", "{\"b\":2}",
	 MANAGED("manager", "Update", "{\"f:a\":{}}"), "{\"b\":2,\"c\":3}"},
	{"and what we had applied", "{\"a\":1}", "{\"b\":2}", MANAGED("coco-controller", "Apply", "{\"f:a\":{}}"),
	 "{\"b\":2}"},
	{"an admin's stays", "{\"a\":1}", "{}", MANAGED("kubectl-edit", "Update", "{\"f:a\":{}}"), "{\"a\":1}"},
	{"and what an admin owns beside upstream", "{\"m\":{\"a\":1,\"b\":2}}", "{}",
	 MANAGED("manager", "Update", "{\"f:m\":{\".\":{},\"f:a\":{},\"f:b\":{}}}") "," MANAGED("kubectl-edit", "Update",
																							"{\"f:m\":{\"f:a\":{}}}"),
	 "{\"m\":{\"a\":1}}"},
	{"a map that loses all goes, too", "{\"m\":{\"a\":1}}", "{\"b\":2}",
	 MANAGED("manager", "Update", "{\"f:m\":{\".\":{},\"f:a\":{}}}"), "{\"b\":2}"},
	{"a value of a set", "{\"kbsSecretResources\":[\"a\",\"own\"]}", "{}",
	 MANAGED("manager", "Update", "{\"f:kbsSecretResources\":{\".\":{},\"v:\\\"a\\\"\":{}}}"),
	 "{\"kbsSecretResources\":[\"own\"]}"},
	{"what the API server fills in comes back", "{\"revisionHistoryLimit\":10,\"paused\":true}", "{}",
	 MANAGED("manager", "Update", "{\"f:revisionHistoryLimit\":{},\"f:paused\":{}}"), "{\"revisionHistoryLimit\":10}"},
	{"another value than it fills in doesn't", "{\"revisionHistoryLimit\":3}", "{}",
	 MANAGED("manager", "Update", "{\"f:revisionHistoryLimit\":{}}"), "{}"},
	{"an item of a list that isn't wanted goes whole",
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"kbs\",\"image\":\"i\"},{\"name\":\"old\",\"image\":\"i\","
	 "\"terminationMessagePolicy\":\"File\"}]}}}",
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"kbs\",\"image\":\"j\"}]}}}",
	 MANAGED("manager", "Update",
			 "{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"old\\\"}\":{\".\":{},\"f:name\":{},"
			 "\"f:image\":{},\"f:terminationMessagePolicy\":{}}}}}}"),
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"kbs\",\"image\":\"j\"}]}}}"},
	{"one that is wanted keeps its place, and what is filled in",
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"i\",\"tty\":true,\"imagePullPolicy\":"
	 "\"Always\"},"
	 "{\"name\":\"a\",\"image\":\"i\"}]}}}",
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"k\"},{\"name\":\"b\",\"image\":\"j\"}]}}}",
	 MANAGED("manager", "Update",
			 "{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"b\\\"}\":{\".\":{},\"f:name\":{},"
			 "\"f:image\":{},\"f:tty\":{},\"f:imagePullPolicy\":{}}}}}}"),
	 "{\"template\":{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"j\",\"imagePullPolicy\":\"Always\"},"
	 "{\"name\":\"a\",\"image\":\"k\"}]}}}"},
};

static json_t *object_of(const char *spec, const char *managers)
{
	char text[4096];
	assert_true(snprintf(text, sizeof(text),
						 "{\"kind\":\"Deployment\",\"metadata\":{\"managedFields\":[%s]},\"spec\":%s}", managers,
						 spec) < (int)sizeof(text));
	json_t *v = json_loads(text, 0, NULL);
	assert_non_null(v);
	return v;
}

static void test_apply(void **state)
{
	const struct apply_case *c = *state;
	json_auto_t *live = object_of(c->live, c->managers);
	json_auto_t *before = json_deep_copy(live);
	json_auto_t *wanted = object_of(c->wanted, "");
	json_auto_t *after = after_apply(live, wanted);
	assert_true(json_equal(live, before));
	char *got = json_dumps(json_object_get(after, "spec"), JSON_SORT_KEYS | JSON_COMPACT);
	json_auto_t *want = json_loads(c->after, 0, NULL);
	char *expected = json_dumps(want, JSON_SORT_KEYS | JSON_COMPACT);
	assert_string_equal(got, expected);
	free(got);
	free(expected);
}

static void test_finalizer(void **state)
{
	(void)state;
	json_auto_t *live =
		json_pack("{s:{s:[s]}}", "metadata", "finalizers", "kbsconfig.confidentialcontainers.org/finalizer");
	json_auto_t *wanted = json_pack("{s:s}", "kind", "KbsConfig");
	json_auto_t *after = after_apply(live, wanted);
	assert_null(json_object_get(json_object_get(after, "metadata"), "finalizers"));
}

static void test_others_part(void **state)
{
	(void)state;
	json_auto_t *live =
		object_of("{\"a\":1,\"KbsEnvVars\":{\"RUST_LOG\":\"debug\",\"OWN\":\"x\"}}",
				  MANAGED("manager", "Update", "{\"f:a\":{},\"f:KbsEnvVars\":{\".\":{},\"f:RUST_LOG\":{}}}"));
	json_auto_t *part = others_part(live);
	json_auto_t *want = json_pack("{s:{s:s}}", "KbsEnvVars", "OWN", "x");
	assert_true(json_equal(json_object_get(part, "spec"), want));
	assert_non_null(json_object_get(part, "metadata"));
}

static void test_comparable(void **state)
{
	(void)state;
	json_auto_t *object = json_loads("{\"status\":{},\"kind\":\"X\",\"metadata\":{\"uid\":\"u\",\"resourceVersion\":"
									 "\"7\",\"name\":\"n\",\"annotations\":"
									 "{\"pipelines.confidentialcontainers.org/applied\":\"d\"}}}",
									 0, NULL);
	json_auto_t *plain = comparable(object);
	char *got = json_dumps(plain, JSON_COMPACT);
	assert_string_equal(got, "{\"kind\":\"X\",\"metadata\":{\"name\":\"n\"}}");
	free(got);
}

// ---- Unified diffs

struct diff_case {
	const char *name;
	const char *a, *b, *want;
};

static struct diff_case diffs[] = {
	{"the same", "x\ny\n", "x\ny\n", ""},
	{"from nothing", "", "x\ny\n", "@@ -0,0 +1,2 @@\n+x\n+y\n"},
	{"to nothing", "x\n", "", "@@ -1,1 +0,0 @@\n-x\n"},
	{"three lines of context", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
	 "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
	{"near changes are one hunk", "1\n2\n3\n4\n5\n6\n7\n8\n", "one\n2\n3\n4\n5\n6\n7\neight\n",
	 "@@ -1,8 +1,8 @@\n-1\n+one\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+eight\n"},
	{"far ones are two, and lines are counted on", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n",
	 "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -6,4 +7,3 @@\n 6\n 7\n 8\n-9\n"},
};

static void test_diff(void **state)
{
	const struct diff_case *c = *state;
	char *got = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&got, &n);
	assert_non_null(to);
	line_diff_unified(c->a, c->b, to);
	assert_int_equal(fclose(to), 0);
	assert_string_equal(got, c->want);
	free(got);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, applies, test_apply);
	tests_add(&t, "upstream's finalizer goes", test_finalizer, NULL);
	tests_add(&t, "what others have set in a spec", test_others_part, NULL);
	tests_add(&t, "bookkeeping is not compared", test_comparable, NULL);
	ADD_TABLE(&t, diffs, test_diff);
	return tests_run("after_apply", &t);
}
