#include "controller/rendered.h"
#include "world.h"

#define OWNER(metadata) \
	"{apiVersion: " NAME_TRUSTEE_GROUP_VERSION ", kind: KbsConfig, metadata: {name: k, " metadata "}}"
#define LABELS                                                                                     \
	"labels: {app.kubernetes.io/managed-by: coco-controller, app.kubernetes.io/part-of: trustee, " \
	"app.kubernetes.io/instance: t, app.kubernetes.io/component: kbs}"
#define OWNED                                                    \
	"ownerReferences: [{apiVersion: " NAME_TRUSTEE_GROUP_VERSION \
	", kind: KbsConfig, name: k, uid: u, controller: true, "     \
	"blockOwnerDeletion: true}]"

static void assert_json(const json_t *got, const char *yaml)
{
	json_t *want = yaml_tree(yaml);
	CLEANUP_FREE
	char *got_text = json_dumps(got, JSON_SORT_KEYS);
	CLEANUP_FREE
	char *want_text = json_dumps(want, JSON_SORT_KEYS);
	json_decref(want);
	assert_text(got_text, want_text);
}

static struct metadata_case {
	const char *name;
	const char *owner, *want; // YAML
} metadata_cases[] = {
	{"an owner in the cluster", OWNER("namespace: ns, uid: u"), "{name: a, namespace: ns, " LABELS ", " OWNED "}"},
	{"an owner in a file", OWNER("namespace: ns"), "{name: a, namespace: ns, " LABELS "}"},
	{"no namespace", OWNER("uid: u"), "{name: a, " LABELS ", " OWNED "}"},
};

// An owner that is wiped afterwards, as its parts may be, leaves what was made of it.
static void test_metadata(void **state)
{
	const struct metadata_case *c = *state;
	json_t *owner = yaml_tree(c->owner);
	json_t *metadata = rendered_metadata(owner, "a", "t", "kbs");
	json_decref(owner);
	assert_json(metadata, c->want);
	json_decref(metadata);
}

static const char *applied(const struct rendered *r, const struct kube_resource *res, const char *name)
{
	const char *digest = kube_annotation(rendered_find(r, res, name), ANNOTATION_APPLIED);
	assert_non_null(digest);
	assert_int_equal(strlen(digest), 64);
	return digest;
}

static void test_add(void **state)
{
	(void)state;
	CLEANUP_RENDERED struct rendered r = {0};
	rendered_add(&r, &KUBE_DEPLOYMENTS, yaml_tree("{metadata: {name: a, annotations: {b: c}}, spec: {d: e}}"));
	rendered_add(&r, &KUBE_SECRETS, yaml_tree("{metadata: {name: a}, data: {f: g}}"));
	CLEANUP_FREE
	char *want =
		xasprintf("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, annotations: {b: c, " ANNOTATION_APPLIED
				  ": %s}}, spec: {d: e}}",
				  applied(&r, &KUBE_DEPLOYMENTS, "a"));
	assert_json(rendered_find(&r, &KUBE_DEPLOYMENTS, "a"), want);
	assert_text(json_string_value(json_object_get(rendered_find(&r, &KUBE_SECRETS, "a"), "apiVersion")), "v1");
	assert_true(strcmp(applied(&r, &KUBE_DEPLOYMENTS, "a"), applied(&r, &KUBE_SECRETS, "a")) != 0);
}

// What sha256sum says of the compact text with sorted keys.
static void test_digest(void **state)
{
	(void)state;
	CLEANUP_RENDERED struct rendered r = {0};
	rendered_add(&r, &KUBE_CONFIG_MAPS, yaml_tree("{metadata: {name: a}, data: {b: c}}"));
	assert_string_equal(applied(&r, &KUBE_CONFIG_MAPS, "a"),
						"9447fbd438af0ae736dfcb73e1fac7d6218bad721eaf1e1a5f40b11e11a2c077");
}

static struct digest_case {
	const char *name;
	const char *object; // beside {metadata: {name: a, labels: {b: c}}, data: {d: e, f: g}}
	bool same;
} digest_cases[] = {
	{"digest: another order", "{data: {f: g, d: e}, metadata: {labels: {b: c}, name: a}}", true},
	{"digest: another kind's words are replaced",
	 "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {b: c}}, data: {d: e, f: g}}", true},
	{"digest: another value", "{metadata: {name: a, labels: {b: c}}, data: {d: e, f: h}}", false},
	{"digest: a field less", "{metadata: {name: a, labels: {b: c}}, data: {d: e}}", false},
	{"digest: a label less", "{metadata: {name: a}, data: {d: e, f: g}}", false},
	{"digest: an annotation more", "{metadata: {name: a, labels: {b: c}, annotations: {x: y}}, data: {d: e, f: g}}",
	 false},
};

static void test_digests(void **state)
{
	const struct digest_case *c = *state;
	CLEANUP_RENDERED struct rendered r = {0};
	CLEANUP_RENDERED struct rendered other = {0};
	rendered_add(&r, &KUBE_CONFIG_MAPS, yaml_tree("{metadata: {name: a, labels: {b: c}}, data: {d: e, f: g}}"));
	rendered_add(&other, &KUBE_CONFIG_MAPS, yaml_tree(c->object));
	assert_int_equal(strcmp(applied(&r, &KUBE_CONFIG_MAPS, "a"), applied(&other, &KUBE_CONFIG_MAPS, "a")) == 0,
					 c->same);
}

static void test_find(void **state)
{
	(void)state;
	CLEANUP_RENDERED struct rendered r = {0};
	rendered_add(&r, &KUBE_SECRETS, yaml_tree("{metadata: {name: a}}"));
	rendered_keep(&r, &KUBE_SERVICES, "b");
	assert_int_equal(r.n, 2);
	assert_ptr_equal(rendered_find(&r, &KUBE_SECRETS, "a"), r.v[0].object);
	assert_true(rendered_wants(&r, &KUBE_SECRETS, "a"));
	// Kept: wanted, and not to be applied.
	assert_null(rendered_find(&r, &KUBE_SERVICES, "b"));
	assert_true(rendered_wants(&r, &KUBE_SERVICES, "b"));
	assert_null(rendered_find(&r, &KUBE_CONFIG_MAPS, "a"));
	assert_false(rendered_wants(&r, &KUBE_CONFIG_MAPS, "a"));
	assert_false(rendered_wants(&r, &KUBE_SECRETS, "b"));
	rendered_release(&r);
	assert_int_equal(r.n, 0);
	assert_false(rendered_wants(&r, &KUBE_SECRETS, "a"));
}

// Whoever forgot a reference to a Secret's data sees nothing in it afterwards; of other kinds, nothing is touched.
static void test_release(void **state)
{
	(void)state;
	struct rendered r = {0};
	rendered_add(&r, &KUBE_SECRETS, yaml_tree("{metadata: {name: a}, data: {b: secret}}"));
	rendered_add(&r, &KUBE_CONFIG_MAPS, yaml_tree("{metadata: {name: a}, data: {b: public}}"));
	json_t *secret = json_incref(json_object_get(rendered_find(&r, &KUBE_SECRETS, "a"), "data"));
	json_t *public = json_incref(json_object_get(rendered_find(&r, &KUBE_CONFIG_MAPS, "a"), "data"));
	rendered_release(&r);
	assert_text(json_string_value(json_object_get(secret, "b")), "");
	assert_text(json_string_value(json_object_get(public, "b")), "public");
	json_decref(secret);
	json_decref(public);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, metadata_cases, test_metadata);
	tests_add(&tests, "an object gets its kind and its digest", test_add, NULL);
	tests_add(&tests, "a digest is that of sha256sum", test_digest, NULL);
	ADD_TABLE(&tests, digest_cases, test_digests);
	tests_add(&tests, "objects are found by kind and name", test_find, NULL);
	tests_add(&tests, "release wipes Secrets", test_release, NULL);
	return tests_run("rendered", &tests);
}
