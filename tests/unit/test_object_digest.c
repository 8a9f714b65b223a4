#include "common/kube/resource.h"
#include "controller/object_digest.h"
#include "world.h"

#define HEX_MAX 256
// What sha256sum says of "value", "other", nothing, and the bytes 0 to 3.
#define VALUE "cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"
#define OTHER "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define BYTES "054edec1d0211f624fed0cbca9d4f9400b0e491c43742af2c5b0abebf0c990d8"
#define HEAD(kind) "apiVersion: v1\nkind: " kind "\nmetadata: {name: a, namespace: ns, resourceVersion: '7'}\n"

static struct digest_case {
	const char *name;
	const char *object, *want; // YAML
} digest_cases[] = {
	{"a ConfigMap's text", HEAD("ConfigMap") "data: {a: value, b: ''}",
	 HEAD("ConfigMap") "data: {a: " VALUE ", b: " NOTHING "}"},
	{"a ConfigMap's text that could be base64", HEAD("ConfigMap") "data: {a: AAECAw==}",
	 HEAD("ConfigMap") "data: {a: 25464e8d1c31533cfab75eae73087189c62ca36a4d974af2eb828d5c0c8356d7}"},
	{"a ConfigMap's bytes", HEAD("ConfigMap") "binaryData: {a: AAECAw==}",
	 HEAD("ConfigMap") "binaryData: {a: " BYTES "}"},
	{"a Secret by its bytes", HEAD("Secret") "data: {a: dmFsdWU=, b: AAECAw==, c: ''}",
	 HEAD("Secret") "data: {a: " VALUE ", b: " BYTES ", c: " NOTHING "}"},
	{"a Secret that isn't base64 counts as written", HEAD("Secret") "data: {a: value}",
	 HEAD("Secret") "data: {a: " VALUE "}"},
	{"a Secret's texts go over its data",
	 HEAD("Secret") "data: {a: dmFsdWU=, b: dmFsdWU=}\nstringData: {b: other, c: value}",
	 HEAD("Secret") "data: {a: " VALUE ", b: " OTHER ", c: " VALUE "}"},
	{"a Secret's text that could be base64", HEAD("Secret") "stringData: {a: AAECAw==}",
	 HEAD("Secret") "data: {a: 25464e8d1c31533cfab75eae73087189c62ca36a4d974af2eb828d5c0c8356d7}"},
	{"a Secret's texts alone", HEAD("Secret") "stringData: {a: value}", HEAD("Secret") "data: {a: " VALUE "}"},
	{"null, as Go writes nothing", HEAD("Secret") "data: null", HEAD("Secret") "data: {}"},
	{"no data", HEAD("Secret") "type: Opaque", HEAD("Secret") "type: Opaque"},
	{"what kubectl applied goes",
	 "kind: Secret\nmetadata: {name: a, annotations: {b: c, kubectl.kubernetes.io/last-applied-configuration: "
	 "'{\"data\":{\"a\":\"dmFsdWU=\"}}'}}\ndata: {a: dmFsdWU=}\nimmutable: true",
	 "kind: Secret\nmetadata: {name: a, annotations: {b: c}}\ndata: {a: " VALUE "}\nimmutable: true"},
	{"another kind", "kind: KbsConfig\nmetadata: {name: a}\ndata: {a: value}\nspec: {a: b}",
	 "kind: KbsConfig\nmetadata: {name: a}\ndata: {a: value}\nspec: {a: b}"},
	{"no kind", "data: {a: value}", "data: {a: value}"},
};

static void assert_same_json(const json_t *got, const char *want)
{
	json_t *tree = yaml_tree(want);
	CLEANUP_FREE
	char *got_text = json_dumps(got, JSON_SORT_KEYS);
	CLEANUP_FREE
	char *want_text = json_dumps(tree, JSON_SORT_KEYS);
	json_decref(tree);
	assert_text(got_text, want_text);
}

static void test_digest(void **state)
{
	const struct digest_case *c = *state;
	json_t *object = yaml_tree(c->object);
	json_t *digested = object_digest(object);
	assert_same_json(digested, c->want);
	json_decref(digested);
	// The object itself is as it was.
	assert_same_json(object, c->object);
	json_t *trimmed = object_digest_trim(object);
	assert_same_json(trimmed, c->want);
	json_decref(trimmed);
}

// Whoever still has a part of the tree sees no value in it.
static void test_trim_wipes(void **state)
{
	(void)state;
	json_t *object = yaml_tree(digest_cases[10].object);
	json_t *data = json_incref(json_object_get(object, "data"));
	json_t *annotations = json_incref(json_object_get(json_object_get(object, "metadata"), "annotations"));
	json_t *trimmed = object_digest_trim(object);
	assert_text(json_string_value(json_object_get(data, "a")), "");
	assert_text(json_string_value(json_object_get(annotations, KUBE_LAST_APPLIED)), "");
	assert_text(json_string_value(json_object_get(annotations, "b")), "c");
	json_decref(data);
	json_decref(annotations);
	json_decref(trimmed);
}

#define ALL "{Secret/s: {kind: Secret, metadata: {name: s}, data: {k: '1', l: '2'}}, ConfigMap/c: {data: {k: '3'}}}"

static struct all_case {
	const char *name;
	const char *objects; // beside ALL
	bool same;
} all_cases[] = {
	{"the same", ALL, true},
	{"in another order",
	 "{ConfigMap/c: {data: {k: '3'}}, Secret/s: {data: {l: '2', k: '1'}, metadata: {name: s}, kind: Secret}}", true},
	{"labels, annotations and versions don't count",
	 "{Secret/s: {metadata: {labels: {a: b}, annotations: {c: d}, resourceVersion: '9'}, type: x, data: {k: '1', l: "
	 "'2'}}, ConfigMap/c: {data: {k: '3'}}}",
	 true},
	{"without content it makes no file",
	 "{Secret/s: {data: {k: '1', l: '2'}}, ConfigMap/c: {data: {k: '3'}}, ConfigMap/d: {data: {}}, "
	 "PersistentVolumeClaim/p: {spec: {a: b}}}",
	 true},
	{"binaryData is content as data is", "{Secret/s: {data: {k: '1', l: '2'}}, ConfigMap/c: {binaryData: {k: '3'}}}",
	 true},
	{"another value", "{Secret/s: {data: {k: '1', l: '2'}}, ConfigMap/c: {data: {k: '4'}}}", false},
	{"another key", "{Secret/s: {data: {k: '1', m: '2'}}, ConfigMap/c: {data: {k: '3'}}}", false},
	{"one more key", "{Secret/s: {data: {k: '1', l: '2', m: '1'}}, ConfigMap/c: {data: {k: '3'}}}", false},
	{"another name", "{Secret/t: {data: {k: '1', l: '2'}}, ConfigMap/c: {data: {k: '3'}}}", false},
	{"another kind", "{ConfigMap/s: {data: {k: '1', l: '2'}}, ConfigMap/c: {data: {k: '3'}}}", false},
	{"values change places", "{Secret/s: {data: {k: '2', l: '1'}}, ConfigMap/c: {data: {k: '3'}}}", false},
	{"one less", "{ConfigMap/c: {data: {k: '3'}}}", false},
	{"none", "{}", false},
};

static void all_of(const char *objects, struct buf *out)
{
	json_t *tree = yaml_tree(objects);
	object_digest_all(tree, out);
	json_decref(tree);
}

static void test_all(void **state)
{
	const struct all_case *c = *state;
	CLEANUP_BUF
	struct buf got = BUF_INIT(HEX_MAX);
	CLEANUP_BUF
	struct buf want = BUF_INIT(HEX_MAX);
	all_of(c->objects, &got);
	all_of(ALL, &want);
	assert_int_equal(got.n, 64);
	assert_int_equal(strcmp(buf_z(&got), buf_z(&want)) == 0, c->same);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, digest_cases, test_digest);
	tests_add(&tests, "a trim wipes what it took", test_trim_wipes, NULL);
	ADD_TABLE(&tests, all_cases, test_all);
	return tests_run("object digest", &tests);
}
