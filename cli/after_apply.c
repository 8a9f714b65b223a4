#include "cli/after_apply.h"

#include <string.h>

#include "common/json_made.h"
#include "common/kube/resource.h"
#include "controller/object_diff.h"
#include "controller/rendered.h"
#include "controller/takeover.h"

// What the API server fills in where nothing is said: whoever writes the whole object owns it, and when it is given up it comes
// back as it was. value: JSON; NULL: whatever it is.
static const struct {
	const char *key, *value;
} defaults[] = {
	{"clusterIP", NULL},
	{"clusterIPs", NULL},
	{"defaultMode", "420"},
	{"dnsPolicy", "\"ClusterFirst\""},
	{"externalTrafficPolicy", NULL},
	{"failureThreshold", "3"},
	{"healthCheckNodePort", NULL},
	{"imagePullPolicy", NULL},
	{"internalTrafficPolicy", NULL},
	{"ipFamilies", NULL},
	{"ipFamilyPolicy", NULL},
	{"maxSurge", "\"25%\""},
	{"nodePort", NULL},
	{"periodSeconds", "10"},
	{"progressDeadlineSeconds", "600"},
	{"protocol", "\"TCP\""},
	{"replicas", "1"},
	{"resources", "{}"},
	{"restartPolicy", "\"Always\""},
	{"revisionHistoryLimit", "10"},
	{"schedulerName", "\"default-scheduler\""},
	{"scheme", "\"HTTP\""},
	{"securityContext", "{}"},
	{"sessionAffinity", "\"None\""},
	{"storageClassName", NULL},
	{"successThreshold", "1"},
	{"terminationGracePeriodSeconds", "30"},
	{"terminationMessagePath", "\"/dev/termination-log\""},
	{"terminationMessagePolicy", "\"File\""},
	{"timeoutSeconds", "1"},
	{"type", "\"RollingUpdate\""},
	{"type", "\"ClusterIP\""},
	{"type", "\"Opaque\""},
	{"volumeMode", NULL},
	{"volumeName", NULL},
};

static bool is_default(const char *key, const json_t *value)
{
	bool is = false;
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]) && !is; i++) {
		if (strcmp(defaults[i].key, key) != 0)
			continue;
		json_auto_t *want = defaults[i].value != NULL ? json_loads(defaults[i].value, JSON_DECODE_ANY, NULL) : NULL;
		is = defaults[i].value == NULL || json_equal(want, value) != 0;
	}
	return is;
}

static bool is_empty(const json_t *v)
{
	return json_is_object(v) ? json_object_size(v) == 0 : json_is_array(v) && json_array_size(v) == 0;
}

static void drop(json_t *at, const json_t *fields, const json_t *wanted);

static void drop_field(json_t *at, const char *name, const json_t *below, const json_t *wanted)
{
	json_t *value = json_object_get(at, name);
	if (value == NULL)
		return;
	bool leaf = json_object_size(below) == 0;
	bool was_empty = is_empty(value);
	if (!leaf)
		drop(value, below, json_object_get(wanted, name));
	if (leaf || (!was_empty && is_empty(value)))
		(void)json_object_del(at, name);
}

// Whether an item of a list is the one that a key such as k:{"name":"kbs"} names.
static bool has_all(const json_t *item, const json_t *keys)
{
	const char *name = NULL;
	json_t *value = NULL;
	json_object_foreach ((json_t *)(uintptr_t)keys, name, value)
		if (json_equal(json_object_get(item, name), value) == 0)
			return false;
	return true;
}

static json_t *find_item(const json_t *list, const json_t *keys)
{
	size_t i = 0;
	json_t *item = NULL;
	json_array_foreach ((json_t *)(uintptr_t)list, i, item)
		if (has_all(item, keys))
			return item;
	return NULL;
}

static void drop_item(json_t *list, const json_t *keys, const json_t *below, const json_t *wanted)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		if (!has_all(item, keys))
			continue;
		const json_t *again = find_item(wanted, keys);
		drop(item, below, again);
		// The place itself is in the set, so it goes, but for what others have in it, which needs the keys. One that is wanted
		// keeps its place in the list.
		bool placed = json_object_get(below, ".") != NULL && again == NULL;
		if (placed && (is_empty(item) || has_all(keys, item)))
			(void)json_array_remove(list, i);
		else
			(void)json_object_update_missing(item, (json_t *)(uintptr_t)keys);
		return;
	}
}

static void drop_value(json_t *list, const json_t *value)
{
	for (size_t i = json_array_size(list); i-- > 0;)
		if (json_equal(json_array_get(list, i), value) != 0)
			(void)json_array_remove(list, i);
}

// The value that a key of a set is about, such as {"name":"kbs"} of k:{"name":"kbs"}; new, NULL for a field.
static json_t *value_of(const char *key)
{
	return strncmp(key, "k:", 2) == 0 || strncmp(key, "v:", 2) == 0 ? json_loads(key + 2, JSON_DECODE_ANY, NULL) : NULL;
}

// Takes the fields of a set (fieldsV1) out of the tree at hand. wanted: what gets in again; NULL for nothing.
static void drop(json_t *at, const json_t *fields, const json_t *wanted)
{
	const char *key = NULL;
	json_t *below = NULL;
	json_object_foreach ((json_t *)(uintptr_t)fields, key, below) {
		json_auto_t *named = value_of(key);
		if (strncmp(key, "f:", 2) == 0)
			drop_field(at, key + 2, below, wanted);
		else if (strncmp(key, "k:", 2) == 0)
			drop_item(at, named, below, wanted);
		else if (strncmp(key, "v:", 2) == 0)
			drop_value(at, named);
	}
}

// Of the fields of a set that were given up, those come back that the API server fills in, where what they are in is still there.
static void fill_in(json_t *after, const json_t *live, const json_t *fields)
{
	const char *key = NULL;
	json_t *below = NULL;
	json_object_foreach ((json_t *)(uintptr_t)fields, key, below) {
		const bool field = strncmp(key, "f:", 2) == 0;
		json_auto_t *named = value_of(key);
		if (!field && !json_is_object(named))
			continue;
		const json_t *was = field ? json_object_get(live, key + 2) : find_item(live, named);
		json_t *is = field ? json_object_get(after, key + 2) : find_item(after, named);
		if (field && was != NULL && is == NULL && json_is_object(after) && is_default(key + 2, was))
			json_put(after, key + 2, json_deep_copy(was));
		else if (was != NULL && is != NULL)
			fill_in(is, was, below);
	}
}

static void drop_finalizer(json_t *object)
{
	json_t *metadata = json_object_get(object, "metadata");
	json_t *finalizers = json_object_get(metadata, "finalizers");
	json_auto_t *upstreams = json_made(json_string(UPSTREAM_FINALIZER));
	drop_value(finalizers, upstreams);
	if (finalizers != NULL && json_array_size(finalizers) == 0)
		(void)json_object_del(metadata, "finalizers");
}

json_t *after_apply(const json_t *live, const json_t *wanted)
{
	json_auto_t *rest = json_made(json_deep_copy(live));
	json_auto_t *fields = takeover_fields(live);
	drop(rest, fields, wanted);
	drop_finalizer(rest);
	// It shares values with both.
	json_auto_t *merged = object_merge(rest, wanted);
	json_t *after = json_made(json_deep_copy(merged));
	fill_in(after, live, fields);
	return after;
}

json_t *others_part(const json_t *live)
{
	json_t *rest = json_made(json_deep_copy(live));
	json_auto_t *fields = takeover_fields(live);
	json_auto_t *spec = json_made(json_pack("{s:O*}", "f:spec", json_object_get(fields, "f:spec")));
	drop(rest, spec, NULL);
	if (json_object_get(rest, "spec") == NULL)
		json_put(rest, "spec", json_object());
	return rest;
}

static void drop_keys(json_t *object, const char *const *keys)
{
	for (size_t i = 0; keys[i] != NULL; i++)
		(void)json_object_del(object, keys[i]);
}

json_t *comparable(const json_t *object)
{
	static const char *const versions[] = {"managedFields",     "resourceVersion", "uid", "generation",
										   "creationTimestamp", "selfLink",        NULL};
	static const char *const bookkeeping[] = {ANNOTATION_APPLIED, KUBE_LAST_APPLIED,
											  "deployment.kubernetes.io/revision", NULL};
	json_auto_t *copy = json_made(json_deep_copy(object));
	json_t *metadata = json_object_get(copy, "metadata");
	json_t *annotations = json_object_get(metadata, "annotations");
	(void)json_object_del(copy, "status");
	drop_keys(metadata, versions);
	drop_keys(annotations, bookkeeping);
	if (annotations != NULL && json_object_size(annotations) == 0)
		(void)json_object_del(metadata, "annotations");
	char *text = json_dumps(copy, JSON_SORT_KEYS | JSON_COMPACT);
	json_t *sorted = json_made(text != NULL ? json_loads(text, 0, NULL) : NULL);
	free(text);
	return sorted;
}
