#include "common/catalog.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube_name.h"
#include "common/mem.h"
#include "common/names.h"

struct catalog {
	atomic_uint refs;
	char *system_ns;
	struct catalog_profile *profiles; // sorted
	size_t nprofiles;
	json_t *namespaces;  // name -> object
	json_t *config_maps; // "ns/name" -> object
};

struct builder {
	struct catalog *c;
	const struct catalog *previous;
	catalog_problem_fn problem;
	void *ctx;
};

static const char *meta_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(json_object_get(object, "metadata"), key));
}

static const char *namespace_of(const struct catalog *c, const json_t *object)
{
	const char *ns = meta_string(object, "namespace");
	return ns != NULL ? ns : c->system_ns;
}

static const char *kind_of(const json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *version = json_string_value(json_object_get(object, "apiVersion"));
	if (kind == NULL || version == NULL)
		return "";
	if (strcmp(kind, "ConfidentialProfile") == 0)
		return strcmp(version, NAME_GROUP_VERSION) == 0 ? kind : "";
	return strcmp(version, "v1") == 0 ? kind : "";
}

// Compiles one profile, and notes what it asked for.
struct compilation {
	const struct catalog *c;
	json_t *uses;
};

static struct str config_map_text(void *ctx, const char *ns, const char *name, const char *key, struct error *err)
{
	const struct compilation *x = ctx;
	CLEANUP_FREE
	char *id = xasprintf("%s/%s", ns, name);
	json_t *map = json_object_get(x->c->config_maps, id);
	(void)json_object_set_new(x->uses, id, map != NULL ? json_incref(map) : json_null());
	const json_t *v = json_object_get(json_object_get(map, "data"), key);
	if (json_is_string(v))
		return (struct str){json_string_value(v), json_string_length(v)};
	if (map == NULL)
		(void)error_set(err, ENOENT, "there is no ConfigMap \"%s\" in namespace \"%s\"; create it with key \"%s\"",
						name, ns, key);
	else
		(void)error_set(err, ENOENT, "ConfigMap \"%s\" of namespace \"%s\" has no text under key \"%s\"; add it", name,
						ns, key);
	return (struct str){0};
}

// Documents of files have no uid.
static bool same_uid(const json_t *a, const json_t *b)
{
	const char *uid = meta_string(a, "uid");
	const char *other_uid = meta_string(b, "uid");
	return uid == NULL || other_uid == NULL || strcmp(uid, other_uid) == 0;
}

static json_int_t generation_of(const json_t *object)
{
	return json_integer_value(json_object_get(json_object_get(object, "metadata"), "generation"));
}

// The API server counts generations of what was asked for, not of status; a document in a file has none. One that was
// restored from a backup counts anew from there, so that the same generation may hold something else.
static bool same_spec(const json_t *a, const json_t *b)
{
	return a == b || (generation_of(a) > 0 && generation_of(a) == generation_of(b) && meta_string(a, "uid") != NULL &&
					  meta_string(b, "uid") != NULL && same_uid(a, b) &&
					  json_equal(json_object_get(a, "spec"), json_object_get(b, "spec")));
}

// A good one whose sources are what they were.
static bool unchanged(const struct catalog *c, const struct catalog_profile *old, const json_t *object)
{
	if (old == NULL || old->profile == NULL || old->problem != NULL || !same_spec(old->profile->object, object))
		return false;
	const char *id = NULL;
	json_t *map = NULL;
	json_object_foreach (old->uses, id, map) {
		const json_t *now = json_object_get(c->config_maps, id);
		if (json_is_null(map) ? now != NULL : now != map)
			return false;
	}
	return true;
}

static int compare_profiles(const void *a, const void *b)
{
	const struct catalog_profile *x = a;
	const struct catalog_profile *y = b;
	int by_ns = strcmp(x->ns, y->ns);
	return by_ns != 0 ? by_ns : strcmp(x->name, y->name);
}

// While it is being built, and not sorted yet.
static struct catalog_profile *find(const struct catalog *c, const char *ns, const char *name)
{
	for (size_t i = 0; i < c->nprofiles; i++)
		if (strcmp(c->profiles[i].ns, ns) == 0 && strcmp(c->profiles[i].name, name) == 0)
			return &c->profiles[i];
	return NULL;
}

static const struct catalog_profile *previous_of(const struct builder *b, const struct catalog_profile *e)
{
	return b->previous != NULL ? catalog_profile(b->previous, str_from(e->ns), str_from(e->name)) : NULL;
}

// NULL where there is none, or only one of an object that had the name before.
static const struct catalog_profile *last_good_of(const struct builder *b, const struct catalog_profile *e,
												  const json_t *object)
{
	const struct catalog_profile *old = previous_of(b, e);
	return old != NULL && old->profile != NULL && same_uid(old->profile->object, object) ? old : NULL;
}

static void keep_last_good(const struct builder *b, struct catalog_profile *e, const struct catalog_document *doc,
						   int code, const char *why)
{
	const struct catalog_profile *old = last_good_of(b, e, doc->object);
	if (e->profile == NULL && old != NULL)
		e->profile = profile_ref(old->profile);
	free(e->problem);
	e->problem = xstrdup(why);
	e->problem_code = code;
	CLEANUP_FREE
	char *key = xasprintf("%s/%s", e->ns, e->name);
	b->problem(b->ctx, doc->origin, key, why);
}

// It was told then what is wrong with it, if anything was.
static void keep_as_it_was(const struct builder *b, struct catalog_profile *e, const json_t *object)
{
	const struct catalog_profile *old = last_good_of(b, e, object);
	if (old == NULL) {
		e->uses = json_object();
		e->problem = xstrdup("the ConfigMaps that it refers to are not read from the API server yet; try again");
		e->problem_code = EAGAIN;
		return;
	}
	e->profile = profile_ref(old->profile);
	e->uses = json_incref(old->uses);
	e->problem = old->problem != NULL ? xstrdup(old->problem) : NULL;
	e->problem_code = old->problem_code;
	e->generation = old->generation;
}

static void add_profile(const struct builder *b, const struct catalog_document *doc)
{
	struct catalog *c = b->c;
	const char *name = meta_string(doc->object, "name");
	if (!is_object_name(name) || !is_object_name(namespace_of(c, doc->object))) {
		b->problem(
			b->ctx, doc->origin, "",
			"metadata.name or namespace is missing, or has other characters than a-z, 0-9, '-' and '.'; correct it");
		return;
	}
	struct catalog_profile *twin = find(c, namespace_of(c, doc->object), name);
	if (twin != NULL && doc->fallback && !twin->fallback)
		return;
	if (twin != NULL) {
		profile_unref(twin->profile);
		twin->profile = NULL;
		keep_last_good(b, twin, doc, EEXIST, "two documents define this profile; remove one");
		return;
	}
	c->profiles = xreallocarray(c->profiles, c->nprofiles + 1, sizeof(*c->profiles));
	struct catalog_profile *e = &c->profiles[c->nprofiles++];
	*e = (struct catalog_profile){
		.ns = xstrdup(namespace_of(c, doc->object)),
		.name = xstrdup(name),
		.generation = generation_of(doc->object),
		.fallback = doc->fallback,
	};
	if (doc->unread) {
		keep_as_it_was(b, e, doc->object);
		return;
	}
	const struct catalog_profile *old = previous_of(b, e);
	if (unchanged(c, old, doc->object)) {
		e->profile = profile_ref(old->profile);
		e->uses = json_incref(old->uses);
		return;
	}
	struct error err;
	e->uses = json_object();
	struct compilation x = {c, e->uses};
	e->profile = profile_compile(doc->object, c->system_ns, config_map_text, &x, &err);
	if (e->profile == NULL)
		keep_last_good(b, e, doc, err.code, err.msg);
}

// Whoever labels a namespace in vain should hear of it, and two documents for one namespace must not take protection away.
static void add_namespace(const struct builder *b, const struct catalog_document *doc, const char *name)
{
	json_t *namespaces = b->c->namespaces;
	const json_t *label =
		json_object_get(json_object_get(json_object_get(doc->object, "metadata"), "labels"), LABEL_CONFIDENTIAL);
	const char *value = json_is_string(label) ? json_string_value(label) : "";
	bool twice = json_object_get(namespaces, name) != NULL;
	bool enabled = strcmp(value, "enabled") == 0;
	if (label != NULL && !enabled && strcmp(value, "disabled") != 0 && strcmp(value, "false") != 0)
		b->problem(b->ctx, doc->origin, "",
				   "label " LABEL_CONFIDENTIAL
				   " of a Namespace is neither \"enabled\" nor \"disabled\": its TaskRun pods are "
				   "left alone; correct it");
	if (twice)
		b->problem(b->ctx, doc->origin, "", "a Namespace stands twice, an enabled one counts; remove one");
	if (!twice || enabled)
		(void)json_object_set(namespaces, name, doc->object);
}

// ConfigMaps and Namespaces come first: profiles are compiled from them.
static void add_supporting(const struct builder *b, const struct catalog_document *doc)
{
	const char *kind = kind_of(doc->object);
	const char *name = meta_string(doc->object, "name");
	if (strcmp(kind, "ConfidentialProfile") == 0)
		return;
	if (strcmp(kind, "ConfigMap") != 0 && strcmp(kind, "Namespace") != 0) {
		b->problem(b->ctx, doc->origin, "",
				   "is neither a ConfidentialProfile (" NAME_GROUP_VERSION
				   ") nor a ConfigMap nor a Namespace (v1); correct kind and apiVersion, or remove it");
		return;
	}
	if (!is_object_name(name)) {
		b->problem(b->ctx, doc->origin, "", "metadata.name is missing, or is no name of Kubernetes; correct it");
		return;
	}
	if (strcmp(kind, "Namespace") == 0) {
		add_namespace(b, doc, name);
		return;
	}
	CLEANUP_FREE
	char *id = xasprintf("%s/%s", namespace_of(b->c, doc->object), name);
	if (json_object_get(b->c->config_maps, id) != NULL)
		b->problem(b->ctx, doc->origin, "", "a ConfigMap stands twice, the last one counts; remove one");
	(void)json_object_set(b->c->config_maps, id, doc->object);
}

struct catalog *catalog_build(const struct catalog_document *docs, size_t n, const char *system_ns,
							  const struct catalog *previous, catalog_problem_fn problem, void *ctx)
{
	struct catalog *c = xcalloc(1, sizeof(*c));
	atomic_init(&c->refs, 1);
	c->system_ns = xstrdup(system_ns);
	c->namespaces = json_object();
	c->config_maps = json_object();
	const struct builder b = {c, previous, problem, ctx};
	for (size_t i = 0; i < n; i++)
		add_supporting(&b, &docs[i]);
	for (size_t i = 0; i < n; i++)
		if (strcmp(kind_of(docs[i].object), "ConfidentialProfile") == 0)
			add_profile(&b, &docs[i]);
	if (c->nprofiles > 0)
		qsort(c->profiles, c->nprofiles, sizeof(*c->profiles), compare_profiles);
	// What profiles needed of ConfigMaps is in them now.
	json_decref(c->config_maps);
	c->config_maps = NULL;
	return c;
}

struct catalog *catalog_ref(struct catalog *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void catalog_unref(struct catalog *c)
{
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < c->nprofiles; i++) {
		profile_unref(c->profiles[i].profile);
		free(c->profiles[i].ns);
		free(c->profiles[i].name);
		free(c->profiles[i].problem);
		json_decref(c->profiles[i].uses);
	}
	free(c->profiles);
	json_decref(c->namespaces);
	free(c->system_ns);
	free(c);
}

static int compare_text(struct str a, const char *z)
{
	size_t n = strlen(z);
	int head = a.n > 0 && n > 0 ? memcmp(a.p, z, a.n < n ? a.n : n) : 0;
	return head != 0 ? head : a.n < n ? -1 : a.n > n ? 1 : 0;
}

const struct catalog_profile *catalog_profile(const struct catalog *c, struct str ns, struct str name)
{
	for (size_t lo = 0, hi = c->nprofiles; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		const struct catalog_profile *e = &c->profiles[mid];
		int order = compare_text(ns, e->ns);
		if (order == 0)
			order = compare_text(name, e->name);
		if (order == 0)
			return e;
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct catalog_profile *catalog_profiles(const struct catalog *c, size_t *ret_n)
{
	*ret_n = c->nprofiles;
	return c->profiles;
}

static bool same_text(const char *a, const char *b)
{
	return a != NULL && b != NULL ? strcmp(a, b) == 0 : a == b;
}

bool catalog_same_profiles(const struct catalog *a, const struct catalog *b)
{
	bool same = a->nprofiles == b->nprofiles;
	for (size_t i = 0; same && i < a->nprofiles; i++) {
		const struct catalog_profile *x = &a->profiles[i];
		const struct catalog_profile *y = &b->profiles[i];
		same = compare_profiles(x, y) == 0 && x->profile == y->profile && same_text(x->problem, y->problem);
	}
	return same;
}

static struct str namespace_meta(const struct catalog *c, struct str ns, const char *map, const char *key)
{
	const json_t *object = ns.n > 0 ? json_object_getn(c->namespaces, ns.p, ns.n) : NULL;
	const json_t *v = json_object_get(json_object_get(json_object_get(object, "metadata"), map), key);
	return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : (struct str){0};
}

bool catalog_knows_namespace(const struct catalog *c, struct str ns)
{
	return ns.n > 0 && json_object_getn(c->namespaces, ns.p, ns.n) != NULL;
}

struct str catalog_namespace_label(const struct catalog *c, struct str ns, const char *key)
{
	return namespace_meta(c, ns, "labels", key);
}

struct str catalog_namespace_annotation(const struct catalog *c, struct str ns, const char *key)
{
	return namespace_meta(c, ns, "annotations", key);
}

const char *catalog_system_namespace(const struct catalog *c)
{
	return c->system_ns;
}
