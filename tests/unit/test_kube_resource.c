#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/kube/answer.h"
#include "common/kube/resource.h"

// ---- Paths

struct path_case {
	const char *name;
	const struct kube_resource *res;
	const char *ns, *object, *subresource;
	const char *want;
};

static const struct kube_resource odd = {"a/b", "v1?", "x y", "X", true};

static struct path_case path_cases[] = {
	{"path: core, all namespaces", &KUBE_PODS, NULL, NULL, NULL, "/api/v1/pods"},
	{"path: core, a namespace", &KUBE_PODS, "a", NULL, NULL, "/api/v1/namespaces/a/pods"},
	{"path: core object", &KUBE_PODS, "a", "b", NULL, "/api/v1/namespaces/a/pods/b"},
	{"path: subresource", &KUBE_DEPLOYMENTS, "a", "b", "status", "/apis/apps/v1/namespaces/a/deployments/b/status"},
	{"path: subresource of a collection is none", &KUBE_PODS, "a", NULL, "status", "/api/v1/namespaces/a/pods"},
	{"path: namespace object", &KUBE_NAMESPACES, NULL, "a", NULL, "/api/v1/namespaces/a"},
	{"path: cluster-scoped has no namespace", &KUBE_CRDS, "a", "b", NULL,
	 "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/b"},
	{"path: ours", &KUBE_CONFIDENTIAL_PROFILES, "a", "default", NULL,
	 "/apis/pipelines.confidentialcontainers.org/v1alpha1/namespaces/a/confidentialprofiles/default"},
	{"path: colon", &KUBE_CRDS, NULL, "system:a", NULL,
	 "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/system%3Aa"},
	{"path: what must be encoded", &odd, "\xC3\xA4", "../?#%&", "s\x7F",
	 "/apis/a%2Fb/v1%3F/namespaces/%C3%A4/x%20y/..%2F%3F%23%25%26/s%7F"},
	{"path: unreserved stays", &KUBE_PODS, "aZ09", "-._~", NULL, "/api/v1/namespaces/aZ09/pods/-._~"},
};

static void test_path(void **state)
{
	const struct path_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(KUBE_PATH_MAX);
	kube_path(c->res, c->ns, c->object, c->subresource, &out);
	assert_string_equal(buf_z(&out), c->want);
}

static void test_query(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(KUBE_PATH_MAX);
	buf_addz(&out, "/p");
	kube_path_query(&out, "none", NULL);
	assert_string_equal(buf_z(&out), "/p");
	kube_path_query(&out, "a", "x=y,z!=1");
	kube_path_query(&out, "none", NULL);
	kube_path_query(&out, "b&", "");
	kube_path_query(&out, "c", "?+/ ");
	assert_string_equal(buf_z(&out), "/p?a=x%3Dy%2Cz%21%3D1&b%26=&c=%3F%2B%2F%20");
}

static void test_path_too_long(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(16);
	kube_path(&KUBE_PODS, "a-namespace", "a-pod", NULL, &out);
	kube_path_query(&out, "a", "b");
	assert_false(buf_ok(&out));
}

struct version_case {
	const char *name;
	const struct kube_resource *res;
	const char *api_version, *path;
};

static struct version_case version_cases[] = {
	{"version: core", &KUBE_SECRETS, "v1", "/api/v1"},
	{"version: group", &KUBE_LEASES, "coordination.k8s.io/v1", "/apis/coordination.k8s.io/v1"},
};

static void test_version(void **state)
{
	const struct version_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(KUBE_PATH_MAX);
	kube_api_version(c->res, &out);
	assert_string_equal(buf_z(&out), c->api_version);
	buf_clear(&out);
	kube_group_path(c->res, &out);
	assert_string_equal(buf_z(&out), c->path);
}

struct segment_case {
	const char *name;
	const char *text;
	bool want;
};

static struct segment_case segment_cases[] = {
	{"segment: name", "a-b.c", true}, {"segment: three dots", "...", true}, {"segment: colon", "a:b", true},
	{"segment: none", NULL, false},   {"segment: empty", "", false},        {"segment: dot", ".", false},
	{"segment: dots", "..", false},   {"segment: slash", "a/b", false},     {"segment: percent", "%2e", false},
};

static void test_segment(void **state)
{
	const struct segment_case *c = *state;
	assert_int_equal(kube_is_segment(c->text), c->want);
}

// ---- Parts of objects

static void test_parts(void **state)
{
	(void)state;
	json_auto_t *pod = json_loads("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"c\",\"resourceVersion\":"
								  "\"7\",\"labels\":{\"l\":\"1\",\"n\":2},\"annotations\":{\"l\":\"3\"}}}",
								  0, NULL);
	assert_string_equal(kube_name(pod), "a");
	assert_string_equal(kube_namespace(pod), "b");
	assert_string_equal(kube_uid(pod), "c");
	assert_string_equal(kube_resource_version(pod), "7");
	assert_text(kube_label(pod, "l"), "1");
	assert_text(kube_label(pod, "n"), NULL);
	assert_text(kube_label(pod, "m"), NULL);
	assert_text(kube_annotation(pod, "l"), "3");
	assert_text(kube_annotation(pod, "m"), NULL);
}

struct bare_case {
	const char *name;
	const char *text;
};

static struct bare_case bare_cases[] = {
	{"parts: no metadata", "{}"},
	{"parts: metadata is no object", "{\"metadata\":[]}"},
	{"parts: wrong types", "{\"metadata\":{\"name\":1,\"namespace\":null,\"uid\":{},\"labels\":[],\"annotations\":1}}"},
	{"parts: no object", "[]"},
};

static void test_bare(void **state)
{
	const struct bare_case *c = *state;
	json_auto_t *v = json_loads(c->text, 0, NULL);
	assert_string_equal(kube_name(v), "");
	assert_string_equal(kube_namespace(v), "");
	assert_string_equal(kube_uid(v), "");
	assert_string_equal(kube_resource_version(v), "");
	assert_text(kube_label(v, "l"), NULL);
	assert_text(kube_annotation(v, "l"), NULL);
}

static void test_parts_of_nothing(void **state)
{
	(void)state;
	assert_string_equal(kube_name(NULL), "");
	assert_string_equal(kube_resource_version(NULL), "");
	assert_text(kube_label(NULL, "l"), NULL);
}

// ---- Keys

struct key_case {
	const char *name;
	const char *ns, *object, *key;
};

static struct key_case key_cases[] = {
	{"key: namespaced", "a", "b", "a/b"},
	{"key: cluster-scoped", NULL, "b", "b"},
};

static void test_key(void **state)
{
	const struct key_case *c = *state;
	CLEANUP_FREE
	char *key = kube_key(c->ns, c->object);
	assert_string_equal(key, c->key);
	CLEANUP_FREE
	char *ns = NULL;
	CLEANUP_FREE
	char *name = NULL;
	kube_key_split(key, &ns, &name);
	assert_text(ns, c->ns);
	assert_string_equal(name, c->object);
}

static void test_key_of_empty_namespace(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *key = kube_key("", "b");
	assert_string_equal(key, "b");
}

// ---- Answers

struct answer_case {
	const char *name;
	const char *text;
	const char *error; // after "the answer can't be read: "; NULL for none
};

static struct answer_case answer_cases[] = {
	{"answer: object", "{\"a\":1}", NULL},
	{"answer: largest integer", "{\"a\":9223372036854775807}", NULL},
	{"answer: smallest integer", "{\"a\":-9223372036854775808}", NULL},
	{"answer: NUL in a text", "{\"a\":\"b\\u0000c\"}", NULL},
	{"answer: integer beyond", "{\"a\":9223372036854775808}", NULL},
	{"answer: integer beyond, far", "{\"a\":-100000000000000000000}", NULL},
	{"answer: integer beyond, and bad", "[9223372036854775808, secret]", "it is not JSON, at byte 28 of 29"},
	{"answer: real beyond", "[1e999]", "a number is beyond what a double holds, at byte 6 of 7"},
	{"answer: key twice", "{\"secret\":1,\"secret\":2}", "a key is there twice, at byte 20 of 23"},
	{"answer: NUL in a key", "{\"\\u0000\":1}", "a key has \\u0000 in it, at byte 9 of 12"},
	{"answer: not UTF-8", "[\"\xFF\"]", "it is not UTF-8, at byte 2 of 5"},
	{"answer: cut", "{\"secret\":", "it ends too early, at byte 10 of 10"},
	{"answer: more after it", "{} {}", "something follows it, at byte 4 of 5"},
	{"answer: page", "<html>secret", "it is not JSON, at byte 1 of 12"},
	{"answer: none", "", "it ends too early, at byte 0 of 0"},
};

static void test_answer(void **state)
{
	const struct answer_case *c = *state;
	struct error err = {0};
	json_auto_t *v = kube_answer_read(str_from(c->text), &err);
	static const char prefix[] = "the answer can't be read: ";
	if (c->error == NULL)
		assert_string_equal(err.msg, "");
	else
		assert_string_equal(strncmp(err.msg, prefix, strlen(prefix)) == 0 ? err.msg + strlen(prefix) : err.msg,
							c->error);
	assert_int_equal(v != NULL, c->error == NULL);
	assert_null(strstr(err.msg, "secret"));
}

// One number that is too large must not turn its neighbours into something else.
static void test_integer_beyond(void **state)
{
	(void)state;
	struct error err = {0};
	json_auto_t *v = kube_answer_read(
		str_from("{\"a\":[1e20,100000000000000000000,{\"b\":[3,-7,0.5,[]]}],\"c\":8589934592,\"d\":9007199254740991,"
				 "\"e\":9007199254740993}"),
		&err);
	json_auto_t *want = json_loads("{\"a\":[1e20,1e20,{\"b\":[3,-7,0.5,[]]}],\"c\":8589934592,\"d\":9007199254740991,"
								   "\"e\":9007199254740992.0}",
								   0, NULL);
	assert_string_equal(err.msg, "");
	assert_non_null(want);
	assert_true(json_equal(v, want));
}

struct page_case {
	const char *name;
	const char *list;
	const char *items; // NULL: an error
	const char *next, *version;
	const char *error;
};

#define META ",\"metadata\":{\"resourceVersion\":\"5\"}"

static struct page_case page_cases[] = {
	{"page: kinds are set", "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[{\"a\":1},{}]" META "}",
	 "[{\"a\":1,\"apiVersion\":\"v1\",\"kind\":\"Pod\"},{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}]", NULL, "5", NULL},
	{"page: kinds that are there stay",
	 "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[{\"kind\":\"A\",\"apiVersion\":\"b/v1\"}]" META "}",
	 "[{\"kind\":\"A\",\"apiVersion\":\"b/v1\"}]", NULL, "5", NULL},
	{"page: metadata only",
	 "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"items\":[{}]" META "}",
	 "[{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\"}]", NULL, "5", NULL},
	{"page: no kind of its own", "{\"items\":[{}]}", "[{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\"}]",
	 NULL, "", NULL},
	{"page: a list's odd kind", "{\"kind\":\"Leases\",\"items\":[{}]}",
	 "[{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\"}]", NULL, "", NULL},
	{"page: more to come",
	 "{\"kind\":\"XList\",\"items\":[],\"metadata\":{\"continue\":\"t\",\"resourceVersion\":\"5\"}}", "[]", "t", "5",
	 NULL},
	{"page: empty token is the end", "{\"items\":[],\"metadata\":{\"continue\":\"\"}}", "[]", NULL, "", NULL},
	{"page: null items", "{\"items\":null}", "[]", NULL, "", NULL},
	{"page: no items", "{\"kind\":\"Pod\"}", NULL, NULL, NULL,
	 "the answer is no list: it has no array of items, but kind \"Pod\""},
	{"page: items is no array", "{\"items\":{}}", NULL, NULL, NULL,
	 "the answer is no list: it has no array of items, but kind \"\""},
	{"page: an item is no object", "{\"items\":[{},1]}", NULL, NULL, NULL, "item 1 of the list is no object"},
};

static void test_page(void **state)
{
	const struct page_case *c = *state;
	json_auto_t *list = json_loads(c->list, 0, NULL);
	assert_non_null(list);
	struct kube_list_page p = {0};
	struct error err = {0};
	int rc = kube_list_page_read(list, &KUBE_LEASES, &p, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc < 0, c->error != NULL);
	if (c->items != NULL) {
		json_auto_t *want = json_loads(c->items, 0, NULL);
		char *text = json_dumps(p.items, JSON_COMPACT);
		if (!json_equal(p.items, want))
			assert_string_equal(text, c->items);
		free(text);
		assert_text(p.next, c->next);
		assert_text(p.resource_version, c->version);
	}
	kube_list_page_release(&p);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, path_cases, test_path);
	tests_add(&t, "query: each kind of value", test_query, NULL);
	tests_add(&t, "path: too long is noticed", test_path_too_long, NULL);
	ADD_TABLE(&t, version_cases, test_version);
	ADD_TABLE(&t, segment_cases, test_segment);
	tests_add(&t, "parts: all", test_parts, NULL);
	ADD_TABLE(&t, bare_cases, test_bare);
	tests_add(&t, "parts: of nothing", test_parts_of_nothing, NULL);
	ADD_TABLE(&t, key_cases, test_key);
	tests_add(&t, "key: empty namespace", test_key_of_empty_namespace, NULL);
	ADD_TABLE(&t, answer_cases, test_answer);
	tests_add(&t, "answer: integer beyond, and its neighbours", test_integer_beyond, NULL);
	ADD_TABLE(&t, page_cases, test_page);
	return tests_run("kube_resource", &t);
}
