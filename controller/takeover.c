#include "controller/takeover.h"

#include <string.h>

#include "common/json_made.h"
#include "common/json_text.h"
#include "common/kube/resource.h"
#include "controller/rendered.h"

// What its program is called: field managers are named after programs.
static const char *const upstream_names[] = {"manager", "trustee-operator", "trustee-operator-controller-manager"};

static bool is_upstreams(const json_t *entry)
{
	// A status isn't applied with the object.
	if (!json_text_is(entry, "operation", "Update") || json_text(entry, "subresource")[0] != '\0')
		return false;
	for (size_t i = 0; i < sizeof(upstream_names) / sizeof(upstream_names[0]); i++)
		if (json_text_is(entry, "manager", upstream_names[i]))
			return true;
	return false;
}

static bool is_ours(const json_t *entry)
{
	return json_text_is(entry, "operation", "Apply") && json_text_is(entry, "manager", MANAGED_BY) &&
		   json_text(entry, "subresource")[0] == '\0';
}

// Both are sets: objects whose keys are fields and whose values are such sets.
static void add_fields(json_t *to, const json_t *fields)
{
	const char *key = NULL;
	json_t *value = NULL;
	json_object_foreach ((json_t *)(uintptr_t)fields, key, value) {
		json_t *here = json_object_get(to, key);
		if (here == NULL)
			json_put(to, key, json_deep_copy(value));
		else
			add_fields(here, value);
	}
}

// All of it its own: what it shared with a Secret would be wiped with that.
static json_t *new_entry(const json_t *like)
{
	json_t *entry = json_made(json_deep_copy(like));
	json_put(entry, "manager", json_string(MANAGED_BY));
	json_put(entry, "operation", json_string("Apply"));
	json_put(entry, "fieldsV1", json_object());
	return entry;
}

// A status that upstream wrote into the same entry is nothing that we apply here. Finalizers are others' business, whoever
// has created an object with them.
static void drop_others_business(json_t *fields)
{
	(void)json_object_del(fields, "f:status");
	(void)json_object_del(json_object_get(fields, "f:metadata"), "f:finalizers");
}

json_t *takeover_patch(const json_t *object)
{
	const json_t *entries = json_object_get(json_object_get(object, "metadata"), "managedFields");
	json_t *rest = json_made(json_array());
	json_t *fields = json_made(json_object());
	json_t *ours = NULL;
	const json_t *theirs = NULL;
	size_t i = 0;
	const json_t *entry = NULL;
	json_array_foreach (entries, i, entry) {
		if (is_upstreams(entry)) {
			add_fields(fields, json_object_get(entry, "fieldsV1"));
			theirs = entry;
			continue;
		}
		json_t *copy = json_made(json_deep_copy(entry));
		(void)json_array_append_new(rest, copy);
		if (is_ours(entry))
			ours = copy;
	}
	drop_others_business(fields);
	json_t *patch = NULL;
	if (json_object_size(fields) > 0) {
		if (ours == NULL) {
			ours = new_entry(theirs);
			(void)json_array_append_new(rest, ours);
		}
		add_fields(json_object_get(ours, "fieldsV1"), fields);
		patch = json_made(json_pack("{s:{s:s, s:O}}", "metadata", "resourceVersion", kube_resource_version(object),
									"managedFields", rest));
	}
	json_decref(rest);
	json_decref(fields);
	return patch;
}

// What others have goes out of a set: a field, an item, or an item's place in its list.
static void drop_shared(json_t *fields, const json_t *others)
{
	const char *key = NULL;
	json_t *theirs = NULL;
	json_object_foreach ((json_t *)(uintptr_t)others, key, theirs) {
		json_t *here = json_object_get(fields, key);
		if (json_object_size(here) > 0)
			drop_shared(here, theirs);
		if (here != NULL && json_object_size(here) == 0)
			(void)json_object_del(fields, key);
	}
}

json_t *takeover_fields(const json_t *object)
{
	const json_t *entries = json_object_get(json_object_get(object, "metadata"), "managedFields");
	json_t *fields = json_made(json_object());
	json_t *others = json_made(json_object());
	size_t i = 0;
	const json_t *entry = NULL;
	json_array_foreach (entries, i, entry) {
		json_t *set = is_upstreams(entry) || is_ours(entry) ? fields : others;
		add_fields(set, json_object_get(entry, "fieldsV1"));
	}
	drop_others_business(fields);
	drop_shared(fields, others);
	json_decref(others);
	return fields;
}
