#include "controller/object_diff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/quantity.h"

#define KEYS_MAX 2

enum merge {
	MERGE_USUAL,   // a map by its fields, a list item by item, all else by value
	MERGE_KEYED,   // a list by what its items have under keys
	MERGE_SET,     // a list of what must be in it
	MERGE_WHOLE,   // a map with nothing else in it
	MERGE_AMOUNTS, // a map of quantities
	MERGE_AMOUNT,  // a quantity
	MERGE_OMITTED, // a text that the API server leaves out where it is empty
};

// How the API server merges a field: what its schemas say in listType, listMapKeys and mapType, or patchMergeKey.
struct rule {
	const char *kind; // NULL: every kind
	const char *path; // fields with points between them, and [] after a list for its items
	enum merge merge;
	const char *keys[KEYS_MAX];
};

#define POD "spec.template.spec."
// clang-format off
#define CONTAINERS(list)                                                                 \
	{"Deployment", POD list, MERGE_KEYED, {"name"}},                                     \
	{"Deployment", POD list "[].env", MERGE_KEYED, {"name"}},                            \
	{"Deployment", POD list "[].env[].value", MERGE_OMITTED, {NULL}},                    \
	{"Deployment", POD list "[].ports", MERGE_KEYED, {"containerPort", "protocol"}},     \
	{"Deployment", POD list "[].volumeMounts", MERGE_KEYED, {"mountPath"}},              \
	{"Deployment", POD list "[].resources.requests", MERGE_AMOUNTS, {NULL}},             \
	{"Deployment", POD list "[].resources.limits", MERGE_AMOUNTS, {NULL}}
// clang-format on

static const struct rule rules[] = {
	{NULL, "metadata.ownerReferences", MERGE_KEYED, {"uid"}},
	{NULL, "metadata.finalizers", MERGE_SET, {NULL}},
	{"Deployment", "spec.selector", MERGE_WHOLE, {NULL}},
	CONTAINERS("containers"),
	CONTAINERS("initContainers"),
	{"Deployment", POD "volumes", MERGE_KEYED, {"name"}},
	{"Deployment", POD "volumes[].emptyDir.sizeLimit", MERGE_AMOUNT, {NULL}},
	{"Deployment", POD "imagePullSecrets", MERGE_KEYED, {"name"}},
	{"Service", "spec.ports", MERGE_KEYED, {"port", "protocol"}},
	{"Service", "spec.selector", MERGE_WHOLE, {NULL}},
	{"ServiceMonitor", "spec.selector", MERGE_WHOLE, {NULL}},
	{"PersistentVolumeClaim", "spec.resources.requests", MERGE_AMOUNTS, {NULL}},
	{"PersistentVolumeClaim", "spec.resources.limits", MERGE_AMOUNTS, {NULL}},
	{"PersistentVolumeClaim", "spec.selector", MERGE_WHOLE, {NULL}},
	{"KbsConfig", "spec.kbsSecretResources", MERGE_SET, {NULL}},
	{"KbsConfig", "spec.imagePullSecrets", MERGE_KEYED, {"name"}},
	{"KbsConfig", "spec.resources.requests", MERGE_AMOUNTS, {NULL}},
	{"KbsConfig", "spec.resources.limits", MERGE_AMOUNTS, {NULL}},
};

static const struct rule usual = {.merge = MERGE_USUAL};

// Where in the wanted object we are: one for each level, on the stack, linked upwards.
struct place {
	const struct place *up;  // NULL: the object itself
	const char *key;         // in a map; NULL: in a list
	const json_t *item;      // of the list
	size_t index;            // of the item
	const char *kind;        // the object's
	const struct rule *rule; // for what is here
};

// ---- Rules

// Whether the path is that of the place: told from its end.
static bool is_at(const struct place *p, const char *path, size_t n)
{
	if (p->up == NULL)
		return n == 0;
	struct str last = p->key != NULL ? str_from(p->key) : STR("[]");
	if (n < last.n || memcmp(path + n - last.n, last.p, last.n) != 0)
		return false;
	n -= last.n;
	if (p->key != NULL && p->up->up != NULL) {
		if (n == 0 || path[n - 1] != '.')
			return false;
		n--;
	}
	return is_at(p->up, path, n);
}

static const struct rule *rule_at(const struct place *p)
{
	static const struct rule amount = {.merge = MERGE_AMOUNT};
	if (p->up->rule->merge == MERGE_AMOUNTS)
		return &amount;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if ((rules[i].kind == NULL || strcmp(rules[i].kind, p->kind) == 0) &&
			is_at(p, rules[i].path, strlen(rules[i].path)))
			return &rules[i];
	return &usual;
}

static struct place place_of_field(const struct place *up, const char *key)
{
	struct place p = {.up = up, .key = key, .kind = up->kind};
	p.rule = rule_at(&p);
	return p;
}

static struct place place_of_item(const struct place *up, const json_t *list, size_t index)
{
	struct place p = {.up = up, .item = json_array_get(list, index), .index = index, .kind = up->kind};
	p.rule = rule_at(&p);
	return p;
}

// What an item has under a key of its list.
static json_t *key_value(const json_t *item, const char *key)
{
	const json_t *v = json_object_get(item, key);
	return v == NULL && strcmp(key, "protocol") == 0 ? json_string("TCP") : json_incref((json_t *)(uintptr_t)v);
}

// ---- Telling

static void tell_keys(const struct place *p, struct buf *where)
{
	const char *const *keys = p->up->rule->keys;
	for (size_t i = 0; i < KEYS_MAX && keys[i] != NULL; i++) {
		json_t *v = key_value(p->item, keys[i]);
		buf_addf(where, "%s%s=", i > 0 ? "," : "", keys[i]);
		if (json_is_integer(v))
			buf_addf(where, "%lld", (long long)json_integer_value(v));
		else
			buf_addz(where, json_is_string(v) ? json_string_value(v) : "");
		json_decref(v);
	}
}

static void tell(const struct place *p, struct buf *where)
{
	if (p->up == NULL)
		return;
	tell(p->up, where);
	if (p->key != NULL && strpbrk(p->key, "./[") != NULL) {
		buf_addf(where, "[%s]", p->key);
	} else if (p->key != NULL) {
		buf_addf(where, "%s%s", p->up->up != NULL ? "." : "", p->key);
	} else {
		buf_addc(where, '[');
		if (p->up->rule->merge == MERGE_KEYED)
			tell_keys(p, where);
		else if (p->up->rule->merge == MERGE_SET && json_is_string(p->item))
			buf_addf(where, "=%s", json_string_value(p->item));
		else
			buf_addf(where, "%zu", p->index);
		buf_addc(where, ']');
	}
}

static bool differs(const struct place *p, struct buf *where)
{
	tell(p, where);
	return false;
}

// ---- Values

static bool same_value(const json_t *a, const json_t *b)
{
	// To JSON, 1 and 1.0 are the same number.
	if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
		return json_number_value(a) >= json_number_value(b) && json_number_value(a) <= json_number_value(b);
	return json_equal(a, b) != 0;
}

// Whole units tell apart what is too much for thousandths.
static bool read_amount(const json_t *v, int64_t *ret_milli, int64_t *ret_whole)
{
	struct error err;
	CLEANUP_FREE
	char *number = json_is_number(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
	struct str text = str_from(number != NULL ? number : json_string_value(v));
	return text.p != NULL && quantity_parse_milli(text, ret_milli, &err) == 0 &&
		   quantity_parse(text, ret_whole, &err) == 0;
}

static bool same_amount(const json_t *a, const json_t *b)
{
	int64_t milli_a;
	int64_t milli_b;
	int64_t whole_a;
	int64_t whole_b;
	if (!read_amount(a, &milli_a, &whole_a) || !read_amount(b, &milli_b, &whole_b))
		return same_value(a, b);
	return milli_a == milli_b && whole_a == whole_b;
}

static bool is_empty_text(const json_t *v)
{
	return json_is_string(v) && json_string_length(v) == 0;
}

// ---- Maps and lists

static bool covers(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where);

static bool map_covers(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where)
{
	const char *key;
	json_t *value;
	if (!json_is_object(live))
		return differs(p, where);
	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value) {
		struct place field = place_of_field(p, key);
		if (!covers(&field, json_object_get(live, key), value, where))
			return false;
	}
	return true;
}

static bool items_cover(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where)
{
	if (json_array_size(live) != json_array_size(wanted))
		return differs(p, where);
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		struct place at = place_of_item(p, wanted, i);
		if (!covers(&at, json_array_get(live, i), at.item, where))
			return false;
	}
	return true;
}

static bool has_same_keys(const json_t *a, const json_t *b, const char *const *keys)
{
	bool same = true;
	for (size_t i = 0; i < KEYS_MAX && keys[i] != NULL && same; i++) {
		json_t *value_a = key_value(a, keys[i]);
		json_t *value_b = key_value(b, keys[i]);
		same = same_value(value_a, value_b);
		json_decref(value_a);
		json_decref(value_b);
	}
	return same;
}

// The item of a live list that the wanted one is about; NULL where there is none. It is at the same place, mostly.
static const json_t *counterpart(const struct place *p, const json_t *live)
{
	const struct rule *rule = p->up->rule;
	const size_t n = json_array_size(live);
	for (size_t i = 0; i < n; i++) {
		const json_t *candidate = json_array_get(live, (p->index + i) % n);
		if (rule->merge == MERGE_SET ? same_value(candidate, p->item) : has_same_keys(candidate, p->item, rule->keys))
			return candidate;
	}
	return NULL;
}

static bool merged_cover(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where)
{
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		struct place at = place_of_item(p, wanted, i);
		const json_t *other = counterpart(&at, live);
		if (other == NULL)
			return differs(&at, where);
		if (p->rule->merge == MERGE_KEYED && !covers(&at, other, at.item, where))
			return false;
	}
	return true;
}

static bool list_covers(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where)
{
	// The API server leaves empty lists out.
	if (live == NULL && json_array_size(wanted) == 0)
		return true;
	if (!json_is_array(live))
		return differs(p, where);
	if (p->rule->merge == MERGE_KEYED || p->rule->merge == MERGE_SET)
		return merged_cover(p, live, wanted, where);
	return items_cover(p, live, wanted, where);
}

static bool value_covers(const struct place *p, const json_t *live, const json_t *wanted)
{
	switch (p->rule->merge) {
	case MERGE_AMOUNT:
		return same_amount(live, wanted);
	case MERGE_OMITTED:
		return same_value(live, wanted) || (live == NULL && is_empty_text(wanted));
	default:
		return same_value(live, wanted);
	}
}

// live: NULL where the field is missing.
static bool covers(const struct place *p, const json_t *live, const json_t *wanted, struct buf *where)
{
	if (json_is_array(wanted))
		return list_covers(p, live, wanted, where);
	if (json_is_object(wanted) && p->rule->merge != MERGE_WHOLE)
		return map_covers(p, live, wanted, where);
	return value_covers(p, live, wanted) || differs(p, where);
}

bool object_covers(const json_t *live, const json_t *wanted, struct buf *where)
{
	const char *kind = json_string_value(json_object_get(wanted, "kind"));
	const struct place top = {.kind = kind != NULL ? kind : "", .rule = &usual};
	return covers(&top, live, wanted, where);
}

// ---- Merging

static json_t *merged(const struct place *p, const json_t *live, const json_t *wanted);

// What jansson makes is NULL for want of memory alone here.
static json_t *made(json_t *v)
{
	if (v == NULL)
		abort();
	return v;
}

static json_t *shared(const json_t *v)
{
	return json_incref((json_t *)(uintptr_t)v);
}

static json_t *merged_map(const struct place *p, const json_t *live, const json_t *wanted)
{
	json_t *all = made(json_copy((json_t *)(uintptr_t)live));
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value) {
		struct place field = place_of_field(p, key);
		(void)json_object_set_new(all, key, merged(&field, json_object_get(live, key), value));
	}
	return all;
}

static json_t *merged_list(const struct place *p, const json_t *live, const json_t *wanted)
{
	json_t *all = made(json_copy((json_t *)(uintptr_t)live));
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		struct place at = place_of_item(p, wanted, i);
		const json_t *other = counterpart(&at, live);
		size_t k = 0;
		while (k < json_array_size(all) && (other == NULL || json_array_get(all, k) != other))
			k++;
		if (other == NULL)
			(void)json_array_append_new(all, shared(at.item));
		else if (p->rule->merge == MERGE_KEYED && k < json_array_size(all))
			(void)json_array_set_new(all, k, merged(&at, other, at.item));
	}
	return all;
}

static json_t *merged(const struct place *p, const json_t *live, const json_t *wanted)
{
	const bool by_item = p->rule->merge == MERGE_KEYED || p->rule->merge == MERGE_SET;
	if (json_is_array(wanted) && json_is_array(live) && by_item)
		return merged_list(p, live, wanted);
	if (json_is_object(wanted) && json_is_object(live) && p->rule->merge != MERGE_WHOLE)
		return merged_map(p, live, wanted);
	return shared(wanted);
}

json_t *object_merge(const json_t *live, const json_t *wanted)
{
	const char *kind = json_string_value(json_object_get(wanted, "kind"));
	const struct place top = {.kind = kind != NULL ? kind : "", .rule = &usual};
	return merged(&top, live, wanted);
}
