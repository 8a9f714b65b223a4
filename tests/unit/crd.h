// A schema that the API server checks (crds/) beside the decoder of the same kind: fields, enums, defaults.
#ifndef COCO_TESTS_UNIT_CRD_H
#define COCO_TESTS_UNIT_CRD_H

#include <stdlib.h>

#include "common/files.h"
#include "world.h"

#define CRD_MAX ((size_t)1024 * 1024)

// A leaf of spec with its default, as JSON; NULL for none.
struct leaf {
	const char *path;
	const char *value;
};

struct crd {
	const char *base; // an object in YAML with what the decoder asks for at least
	int (*decode)(const json_t *object, struct error *err);
	const struct leaf *leaves; // every one, in the schema's order
	size_t nleaves;
	size_t leaf; // the next one
	json_t *root;
	const json_t *schema; // borrowed
};

static inline void crd_read(struct crd *c, const char *path)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(CRD_MAX);
	struct error err;
	if (file_read_regular(path, &text, &err) < 0)
		fail_msg("%s", err.msg);
	c->root = yaml_tree(buf_z(&text));
	const json_t *version = json_array_get(json_object_get(json_object_get(c->root, "spec"), "versions"), 0);
	c->schema = json_object_get(json_object_get(version, "schema"), "openAPIV3Schema");
	assert_non_null(c->schema);
}

static inline const json_t *property(const json_t *schema, const char *name)
{
	return json_object_get(json_object_get(schema, "properties"), name);
}

// The object or, for "name[0]", the only item of the list that a segment of a path names; made where it isn't there.
static inline json_t *step_into(json_t *at, char *segment)
{
	char *bracket = strchr(segment, '[');
	if (bracket != NULL)
		*bracket = '\0';
	if (json_object_get(at, segment) == NULL)
		assert_int_equal(json_object_set_new(at, segment, bracket != NULL ? json_pack("[{}]") : json_object()), 0);
	json_t *next = json_object_get(at, segment);
	return bracket != NULL ? json_array_get(next, 0) : next;
}

// The base with {PATH: value} in it; takes value.
static inline json_t *object_with(const char *base, const char *path, json_t *value)
{
	json_t *object = yaml_tree(base);
	json_t *at = object;
	CLEANUP_FREE
	char *copy = xstrdup(path);
	char *save = NULL;
	char *name = strtok_r(copy, ".", &save);
	for (char *next; (next = strtok_r(NULL, ".", &save)) != NULL; name = next)
		at = step_into(at, name);
	assert_int_equal(json_object_set_new(at, name, value), 0);
	return object;
}

// What the decoder says of a value at a path; "" for nothing. Valid until the next call.
static inline const char *verdict(const struct crd *c, const char *path, json_t *value)
{
	static struct error err;
	json_t *object = object_with(c->base, path, value);
	bool good = c->decode(object, &err) == 0;
	json_decref(object);
	return good ? "" : err.msg;
}

static inline int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// "a, b" in another order must be the same: sorts the words of a list.
static inline void sort_words(const char *list, struct buf *out)
{
	CLEANUP_FREE
	char *copy = xstrdup(list);
	const char *words[64];
	size_t n = 0;
	char *save = NULL;
	for (const char *w = strtok_r(copy, ", ", &save); w != NULL; w = strtok_r(NULL, ", ", &save)) {
		assert_true(n < COUNT(words));
		words[n++] = w;
	}
	qsort(words, n, sizeof(*words), by_text);
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s ", words[i]);
}

static inline void assert_same_words(const char *path, const char *said, const char *intro, const struct buf *ours)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(CRD_MAX);
	CLEANUP_BUF
	struct buf want = BUF_INIT(CRD_MAX);
	const char *list = strstr(said, intro);
	if (list == NULL)
		fail_msg("%s: the decoder says \"%s\"", path, said);
	sort_words(list + strlen(intro), &want);
	sort_words(buf_z(ours), &got);
	if (strcmp(buf_z(&got), buf_z(&want)) != 0)
		fail_msg("%s: the schema has %s, the decoder %s", path, buf_z(&got), buf_z(&want));
}

static inline void check_enum(const struct crd *c, const char *path, const json_t *values)
{
	CLEANUP_BUF
	struct buf names = BUF_INIT(CRD_MAX);
	bool takes_false = false;
	for (size_t i = 0; i < json_array_size(values); i++) {
		const json_t *v = json_array_get(values, i);
		takes_false |= json_is_false(v);
		if (json_is_string(v))
			buf_addf(&names, "%s ", json_string_value(v));
	}
	assert_same_words(path, verdict(c, path, json_string("?")), "it must be one of ", &names);
	if (takes_false != (strcmp(verdict(c, path, json_false()), "") == 0))
		fail_msg("%s: an unquoted Off is for one of schema and decoder, and not for the other", path);
}

static inline void check_leaf(struct crd *c, const char *path, const json_t *schema)
{
	if (c->leaf >= c->nleaves || strcmp(c->leaves[c->leaf].path, path) != 0)
		fail_msg("%s is not in the table, or not at its place: %s", path,
				 c->leaf < c->nleaves ? c->leaves[c->leaf].path : "(end)");
	CLEANUP_FREE
	char *value = json_dumps(json_object_get(schema, "default"), JSON_ENCODE_ANY | JSON_COMPACT);
	assert_text(value, c->leaves[c->leaf++].value);
}

// Fields and enums of a schema and of all below it, and its leaves in the table's order.
static inline void walk(struct crd *c, const char *path, const json_t *schema)
{
	if (json_string_length(json_object_get(schema, "description")) < 10)
		fail_msg("%s has no description", path);
	const json_t *values = json_object_get(schema, "enum");
	if (values != NULL)
		check_enum(c, path, values);
	const json_t *items = json_object_get(schema, "items");
	json_t *properties = json_object_get(items != NULL ? items : schema, "properties");
	if (properties == NULL) {
		check_leaf(c, path, schema);
		return;
	}
	CLEANUP_FREE
	char *here = xasprintf("%s%s", path, items != NULL ? "[0]" : "");
	CLEANUP_BUF
	struct buf names = BUF_INIT(CRD_MAX);
	const char *name;
	json_t *sub;
	json_object_foreach (properties, name, sub) {
		CLEANUP_FREE
		char *below = xasprintf("%s.%s", here, name);
		buf_addf(&names, "%s ", name);
		walk(c, below, sub);
	}
	CLEANUP_FREE
	char *unknown = xasprintf("%s.unknown", here);
	CLEANUP_FREE
	char *intro = xasprintf("is not a known field; %s has ", here);
	assert_same_words(path, verdict(c, unknown, json_true()), intro, &names);
}

static inline void assert_same_fields(struct crd *c)
{
	walk(c, "spec", property(c->schema, "spec"));
	assert_int_equal(c->leaf, c->nleaves);
}

// What the API server fills in where an object leaves it out.
static inline json_t *with_defaults(const json_t *schema, json_t *value)
{
	const char *name;
	json_t *sub;
	json_object_foreach (json_object_get(schema, "properties"), name, sub) {
		json_t *usual = json_object_get(sub, "default");
		if (json_object_get(value, name) == NULL && usual != NULL)
			assert_int_equal(json_object_set_new(value, name, json_deep_copy(usual)), 0);
		if (json_is_object(json_object_get(value, name)))
			(void)with_defaults(sub, json_object_get(value, name));
	}
	return value;
}

#endif
