#include "controller/view.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json_text.h"
#include "common/mem.h"
#include "common/secret.h"
#include "common/trustee.h"
#include "controller/kbs_render.h"
#include "controller/object_digest.h"
#include "controller/recent.h"
#include "controller/trustee_status.h"

#define OWNED_BY "owner"
#define OF_KBS_CONFIG "kbs-config"
#define OF_INSTANCE "instance"
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define OURS LABEL_MANAGED_BY "=" MANAGED_BY

// One informer, and what its handlers need to know.
struct followed {
	struct view *view;
	const struct kube_resource *resource;
	char *ns, *name; // NULL: all
	struct kube_informer *informer;
};

enum kind_scope { SCOPE_ALL, SCOPE_OURS };

struct kind {
	const struct kube_resource *resource;
	json_t *(*trim)(json_t *object);
	enum kind_scope scope;
	bool optional; // a cluster may lack it
};

// ---- Objects, as small as they may be
//
// A tree takes ten times the memory of its text: what is stored is the text, with as much around it as a store needs.

static bool is_own(const json_t *object)
{
	return json_text_is(object, "kind", KUBE_TRUSTEE_CONFIGS.kind) ||
		   json_text_is(object, "kind", KUBE_KBS_CONFIGS.kind);
}

// Of several, in one text: uids have no spaces.
static void note_owner(void *packed, const char *uid)
{
	const char *others = json_string_value(json_object_get(packed, OWNED_BY));
	json_t *all = others != NULL ? json_sprintf("%s %s", others, uid) : json_string(uid);
	(void)json_object_set_new(packed, OWNED_BY, all);
}

// What the indexes find it by is beside the text.
static json_t *pack(json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");
	char *text = json_dumps(object, JSON_COMPACT);
	json_t *packed = json_pack("{s:{s:s, s:O?, s:O?, s:O?}, s:s?}", "metadata", "name", kube_name(object), "namespace",
							   json_object_get(metadata, "namespace"), "uid", json_object_get(metadata, "uid"),
							   "resourceVersion", json_object_get(metadata, "resourceVersion"), "packed", text);
	free(text);
	kube_index_owners(object, note_owner, packed);
	if (kube_annotation(object, ANNOTATION_KBS_CONFIG) != NULL)
		(void)json_object_set_new(packed, OF_KBS_CONFIG, json_string(kube_annotation(object, ANNOTATION_KBS_CONFIG)));
	if (is_own(object))
		(void)json_object_set_new(packed, OF_INSTANCE, json_string(trustee_instance(object)));
	json_decref(object);
	return packed;
}

// New; NULL for NULL.
static json_t *unpack(const json_t *packed)
{
	const json_t *text = json_object_get(packed, "packed");
	return text != NULL ? json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL) : NULL;
}

// Beside it, by which rivals are told from each other: a namespace may have many.
static json_t *trim_own(json_t *object)
{
	json_t *metadata = json_object_get(object, "metadata");
	json_t *spec = json_object_get(object, "spec");
	(void)json_object_del(json_object_get(metadata, "annotations"), LAST_APPLIED);
	json_t *rival = json_pack("{s:O?, s:{s:O?, s:O?}, s:{s:O?}}", "kind", json_object_get(object, "kind"), "metadata",
							  "name", json_object_get(metadata, "name"), "creationTimestamp",
							  json_object_get(metadata, "creationTimestamp"), "spec", "instanceName",
							  json_object_get(spec, "instanceName"));
	json_t *packed = pack(object);
	(void)json_object_set_new(packed, "rival", rival);
	return packed;
}

// Others' annotations may be as large as they like, and a namespace's Secrets are many.
static void drop_foreign_annotations(json_t *object)
{
	json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");
	const char *key = NULL;
	json_t *value = NULL;
	void *next = NULL;
	json_object_foreach_safe(annotations, next, key, value)
	{
		if (strncmp(key, NAME_GROUP "/", strlen(NAME_GROUP "/")) != 0)
			(void)json_object_del(annotations, key);
	}
}

// Of a Secret's metadata what tells versions and owners apart.
static json_t *trim_secret(json_t *object)
{
	drop_foreign_annotations(object);
	(void)json_object_del(json_object_get(object, "metadata"), "selfLink");
	return pack(object);
}

static json_t *trim_config_map(json_t *object)
{
	json_t *digested = object_digest_trim(object);
	drop_foreign_annotations(digested);
	return pack(digested);
}

static json_t *trim_pod(json_t *object)
{
	return pack(trustee_pod_trim(object));
}

static const struct kind kinds[] = {
	{&KUBE_TRUSTEE_CONFIGS, trim_own, SCOPE_ALL, false},
	{&KUBE_KBS_CONFIGS, trim_own, SCOPE_ALL, false},
	{&KUBE_CONFIG_MAPS, trim_config_map, SCOPE_OURS, false},
	{&KUBE_DEPLOYMENTS, pack, SCOPE_OURS, false},
	{&KUBE_SERVICES, pack, SCOPE_OURS, false},
	{&KUBE_PVCS, pack, SCOPE_OURS, false},
	{&KUBE_PODS, trim_pod, SCOPE_OURS, false},
	{&KUBE_INGRESSES, pack, SCOPE_OURS, false},
	{&KUBE_ROUTES, pack, SCOPE_OURS, true},
	{&KUBE_TLS_ROUTES, pack, SCOPE_OURS, true},
	{&KUBE_SERVICE_MONITORS, pack, SCOPE_OURS, true},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct view {
	struct view_config config;
	struct recent *recent;
	pthread_mutex_t lock; // of the rest
	struct followed *kinds[KINDS];
	struct followed **extra; // Secrets of namespaces, single ConfigMaps
	size_t nextra;
	json_t *users;   // user -> the ids of what it reads
	json_t *secrets; // "namespace/name" -> a digested Secret with its metadata
};

// ---- Indexes

static void emit_beside(const json_t *packed, const char *index, void (*emit)(void *emit_ctx, const char *value),
						void *emit_ctx)
{
	const char *value = json_string_value(json_object_get(packed, index));
	if (value == NULL)
		return;
	CLEANUP_FREE char *key = kube_key(kube_namespace(packed), value);
	emit(emit_ctx, key);
}

static void index_pods(const json_t *packed, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx)
{
	emit_beside(packed, OF_KBS_CONFIG, emit, emit_ctx);
}

static void index_instances(const json_t *packed, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx)
{
	emit_beside(packed, OF_INSTANCE, emit, emit_ctx);
}

static void index_owners(const json_t *packed, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx)
{
	const char *uids = json_string_value(json_object_get(packed, OWNED_BY));
	CLEANUP_FREE char *copy = xstrdup(uids != NULL ? uids : "");
	char *rest = copy;
	for (const char *uid = strtok_r(copy, " ", &rest); uid != NULL; uid = strtok_r(NULL, " ", &rest))
		emit(emit_ctx, uid);
}

static const struct kube_index indexes[] = {
	{OWNED_BY, index_owners}, {OF_KBS_CONFIG, index_pods}, {OF_INSTANCE, index_instances}};

// ---- Following

static void forget_secret(struct view *v, const char *ns, const char *name)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	(void)pthread_mutex_lock(&v->lock);
	(void)json_object_del(v->secrets, key);
	(void)pthread_mutex_unlock(&v->lock);
}

// With the lock held: those of a namespace that is followed no more, of which nobody would tell that they went.
static void forget_secrets(struct view *v, const char *ns)
{
	size_t n = strlen(ns);
	const char *key = NULL;
	json_t *secret = NULL;
	void *next = NULL;
	json_object_foreach_safe(v->secrets, next, key, secret)
	{
		if (strncmp(key, ns, n) == 0 && key[n] == '/')
			(void)json_object_del(v->secrets, key);
	}
}

// Whether it gives up the names that it had.
static bool has_moved(const json_t *before, const json_t *now)
{
	const json_t *from = json_object_get(before, OF_INSTANCE);
	const json_t *to = json_object_get(now, OF_INSTANCE);
	return from != NULL && to != NULL && json_equal(from, to) == 0;
}

static void on_changed(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	const struct followed *f = ctx;
	struct view *v = f->view;
	(void)key;
	const json_t *any = new_object != NULL ? new_object : old_object;
	bool ours = recent_heard(v->recent, f->resource, kube_namespace(any), kube_name(any), new_object);
	if (f->resource == &KUBE_SECRETS && new_object == NULL)
		forget_secret(v, kube_namespace(any), kube_name(any));
	bool moved = has_moved(old_object, new_object);
	if (ours && !moved)
		return;
	json_auto_t *object = unpack(any);
	v->config.changed(v->config.ctx, f->resource, object, new_object == NULL || moved);
}

// Of a single ConfigMap, what we write is another informer's to tell of.
static void on_listed(void *ctx, int64_t began_ms)
{
	const struct followed *f = ctx;
	if (f->name == NULL)
		recent_listed(f->view->recent, f->resource, f->ns, began_ms);
	f->view->config.listed(f->view->config.ctx, f->ns);
}

static struct followed *follow(struct view *v, const struct kube_resource *res, const char *ns, const char *name,
							   const struct kube_selector *selector, json_t *(*trim)(json_t *))
{
	struct followed *f = xcalloc(1, sizeof(*f));
	*f = (struct followed){
		.view = v, .resource = res, .ns = ns != NULL ? xstrdup(ns) : NULL, .name = name != NULL ? xstrdup(name) : NULL};
	const struct kube_informer_config config = {
		.resource = res,
		.ns = ns,
		.selector = *selector,
		.trim = trim,
		.indexes = indexes,
		.nindexes = sizeof(indexes) / sizeof(indexes[0]),
		.changed = on_changed,
		.listed = on_listed,
		.ctx = f,
	};
	f->informer = kube_informer_add(v->config.informers, &config);
	return f;
}

static void unfollow(struct followed *f)
{
	if (f == NULL)
		return;
	kube_informer_remove(f->informer);
	free(f->ns);
	free(f->name);
	free(f);
}

static void follow_kind(struct view *v, size_t i)
{
	const struct kube_selector selector = {.labels = kinds[i].scope == SCOPE_OURS ? OURS : NULL};
	v->kinds[i] = follow(v, kinds[i].resource, NULL, NULL, &selector, kinds[i].trim);
}

struct view *view_start(const struct view_config *config)
{
	struct view *v = xcalloc(1, sizeof(*v));
	v->config = *config;
	v->recent = recent_new(config->clock);
	v->users = json_object();
	v->secrets = json_object();
	(void)pthread_mutex_init(&v->lock, NULL);
	for (size_t i = 0; i < KINDS; i++)
		if (!kinds[i].optional)
			follow_kind(v, i);
	return v;
}

const char *view_waits_for(struct view *v)
{
	const char *plural = NULL;
	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < KINDS && plural == NULL; i++)
		if (v->kinds[i] != NULL && !kube_informer_synced(v->kinds[i]->informer))
			plural = v->kinds[i]->resource->plural;
	(void)pthread_mutex_unlock(&v->lock);
	return plural;
}

static int look_for(struct view *v, const struct kube_resource *res, bool *ret, bool *ret_news, struct error *err)
{
	int has = kube_has_resource(v->config.client, res, err);
	if (has < 0)
		return has;
	*ret = has > 0;
	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < KINDS; i++) {
		if (kinds[i].resource != res)
			continue;
		// An API server that has just started doesn't know all of its kinds: what was made of them doesn't go for that.
		*ret |= v->kinds[i] != NULL;
		if (!*ret || v->kinds[i] != NULL)
			continue;
		follow_kind(v, i);
		*ret_news = true;
	}
	(void)pthread_mutex_unlock(&v->lock);
	return 0;
}

int view_look_around(struct view *v, struct trustee_world *ret, bool *ret_news, struct error *err)
{
	*ret_news = false;
	ret->served.ingress = true;
	int rc = look_for(v, &KUBE_ROUTES, &ret->served.route, ret_news, err);
	if (rc == 0)
		rc = look_for(v, &KUBE_TLS_ROUTES, &ret->served.tls_route, ret_news, err);
	if (rc == 0)
		rc = look_for(v, &KUBE_SERVICE_MONITORS, &ret->served.service_monitor, ret_news, err);
	return rc;
}

// ---- Who reads what

static char *id_of(const struct kube_resource *res, const char *ns, const char *name)
{
	return xasprintf("%s/%s/%s", res->plural, ns, name != NULL ? name : "");
}

static struct followed *find_extra(struct view *v, const struct kube_resource *res, const char *ns, const char *name)
{
	for (size_t i = 0; i < v->nextra; i++) {
		struct followed *f = v->extra[i];
		if (f->resource == res && strcmp(f->ns, ns) == 0 && (name == NULL) == (f->name == NULL) &&
			(name == NULL || strcmp(f->name, name) == 0))
			return f;
	}
	return NULL;
}

static size_t count_config_maps(const struct view *v, const char *ns)
{
	size_t n = 0;
	for (size_t i = 0; i < v->nextra; i++)
		n += v->extra[i]->name != NULL && strcmp(v->extra[i]->ns, ns) == 0;
	return n;
}

// With the lock held. -1: there is no room.
static int want_extra(struct view *v, const struct kube_resource *res, const char *ns, const char *name, json_t *ids,
					  bool *all_synced)
{
	struct followed *f = find_extra(v, res, ns, name);
	if (f == NULL) {
		if (v->nextra == VIEW_FOLLOWED_MAX || (name != NULL && count_config_maps(v, ns) >= VIEW_CONFIG_MAPS_MAX))
			return -1;
		CLEANUP_FREE char *field = name != NULL ? xasprintf("metadata.name=%s", name) : NULL;
		const struct kube_selector selector = {.fields = field, .metadata_only = name == NULL};
		f = follow(v, res, ns, name, &selector, name != NULL ? trim_config_map : trim_secret);
		v->extra = xreallocarray(v->extra, v->nextra + 1, sizeof(struct followed *));
		v->extra[v->nextra++] = f;
	}
	*all_synced &= kube_informer_synced(f->informer);
	CLEANUP_FREE char *id = id_of(res, ns, name);
	(void)json_object_set_new(ids, id, json_null());
	return 0;
}

static bool is_used(const struct view *v, const struct followed *f)
{
	CLEANUP_FREE char *id = id_of(f->resource, f->ns, f->name);
	const char *user = NULL;
	const json_t *ids = NULL;
	json_object_foreach (v->users, user, ids)
		if (json_object_get(ids, id) != NULL)
			return true;
	return false;
}

// With the lock held: takes out one that nobody reads; NULL where there is none.
static struct followed *take_unused(struct view *v)
{
	for (size_t i = 0; i < v->nextra; i++) {
		struct followed *f = v->extra[i];
		if (is_used(v, f))
			continue;
		v->extra[i] = v->extra[--v->nextra];
		if (f->resource == &KUBE_SECRETS)
			forget_secrets(v, f->ns);
		return f;
	}
	return NULL;
}

// Removing waits for handlers, which may wait for whoever calls us: never under the lock.
static void drop_unused(struct view *v)
{
	for (;;) {
		(void)pthread_mutex_lock(&v->lock);
		struct followed *f = take_unused(v);
		(void)pthread_mutex_unlock(&v->lock);
		if (f == NULL)
			return;
		unfollow(f);
	}
}

void view_stop(struct view *v)
{
	if (v == NULL)
		return;
	// The others' handlers go on meanwhile, and ask for objects of any kind.
	for (size_t i = 0; i < KINDS; i++) {
		(void)pthread_mutex_lock(&v->lock);
		struct followed *f = TAKE_PTR(v->kinds[i]);
		(void)pthread_mutex_unlock(&v->lock);
		unfollow(f);
	}
	(void)json_object_clear(v->users);
	drop_unused(v);
	free(v->extra);
	json_decref(v->users);
	json_decref(v->secrets);
	recent_free(v->recent);
	(void)pthread_mutex_destroy(&v->lock);
	free(v);
}

int view_use(struct view *v, const char *user, const char *ns, const json_t *config_maps, struct error *err)
{
	bool synced = true;
	json_t *ids = json_object();
	(void)pthread_mutex_lock(&v->lock);
	int rc = want_extra(v, &KUBE_SECRETS, ns, NULL, ids, &synced);
	for (size_t i = 0; rc == 0 && i < json_array_size(config_maps); i++)
		rc = want_extra(v, &KUBE_CONFIG_MAPS, ns, json_string_value(json_array_get(config_maps, i)), ids, &synced);
	bool same = json_equal(json_object_get(v->users, user), ids) != 0;
	(void)json_object_set_new(v->users, user, ids);
	(void)pthread_mutex_unlock(&v->lock);
	if (!same)
		drop_unused(v);
	if (rc < 0)
		return error_set(
			err, ENOSPC,
			"Trustees of namespace \"%s\" refer to more than %d ConfigMaps of others, or namespaces with a Trustee and "
			"such ConfigMaps are more than %d in all; run fewer Trustees, or put them into fewer namespaces",
			ns, VIEW_CONFIG_MAPS_MAX, VIEW_FOLLOWED_MAX);
	return synced ? 0 : 1;
}

void view_forget(struct view *v, const char *user)
{
	(void)pthread_mutex_lock(&v->lock);
	bool had = json_object_del(v->users, user) == 0;
	(void)pthread_mutex_unlock(&v->lock);
	if (had)
		drop_unused(v);
}

// ---- Objects

// With the lock held, since an informer that nobody uses any more may go.
static json_t *stored(struct view *v, const struct kube_resource *res, const char *ns, const char *name)
{
	json_t *found = NULL;
	for (size_t i = 0; i < KINDS && found == NULL; i++)
		if (kinds[i].resource == res && v->kinds[i] != NULL)
			found = kube_store_get(kube_informer_store(v->kinds[i]->informer), ns, name);
	const struct followed *f = find_extra(v, res, ns, res == &KUBE_SECRETS ? NULL : name);
	if (found == NULL && f != NULL)
		found = kube_store_get(kube_informer_store(f->informer), ns, name);
	return found;
}

static json_t *get_stored(void *ctx, const struct kube_resource *res, const char *ns, const char *name)
{
	struct view *v = ctx;
	(void)pthread_mutex_lock(&v->lock);
	json_auto_t *packed = stored(v, res, ns, name);
	(void)pthread_mutex_unlock(&v->lock);
	return unpack(packed);
}

json_t *view_get(struct view *v, const struct kube_resource *res, const char *ns, const char *name)
{
	return recent_get(v->recent, res, ns, name, get_stored, v);
}

// Those of a kind as they are stored, under a value of an index (NULL: all): a new array.
static json_t *stored_list(struct view *v, const struct kube_resource *res, const char *index, const char *value)
{
	json_t *list = NULL;
	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < KINDS && list == NULL; i++) {
		if (kinds[i].resource != res || v->kinds[i] == NULL)
			continue;
		struct kube_store *store = kube_informer_store(v->kinds[i]->informer);
		list = index != NULL ? kube_store_by_index(store, index, value) : kube_store_list(store);
	}
	(void)pthread_mutex_unlock(&v->lock);
	return list != NULL ? list : json_array();
}

json_t *view_list(struct view *v, const struct kube_resource *res, const char *ns)
{
	json_auto_t *list = stored_list(v, res, /* index= */ NULL, /* value= */ NULL);
	json_t *all = json_array();
	size_t i = 0;
	json_t *object = NULL;
	json_array_foreach (list, i, object)
		if (strcmp(kube_namespace(object), ns) == 0)
			(void)json_array_append_new(all, unpack(object));
	return all;
}

json_t *view_same_instance(struct view *v, const char *ns, const char *instance)
{
	static const struct kube_resource *const both[] = {&KUBE_TRUSTEE_CONFIGS, &KUBE_KBS_CONFIGS};
	CLEANUP_FREE char *key = kube_key(ns, instance);
	json_t *all = json_array();
	for (size_t k = 0; k < sizeof(both) / sizeof(both[0]); k++) {
		json_auto_t *list = stored_list(v, both[k], OF_INSTANCE, key);
		size_t i = 0;
		const json_t *packed = NULL;
		json_array_foreach (list, i, packed)
			(void)json_array_append(all, json_object_get(packed, "rival"));
	}
	return all;
}

json_t *view_pods(struct view *v, const char *ns, const char *kbs_config)
{
	CLEANUP_FREE char *key = kube_key(ns, kbs_config);
	json_auto_t *list = stored_list(v, &KUBE_PODS, OF_KBS_CONFIG, key);
	json_t *pods = json_array();
	size_t i = 0;
	const json_t *packed = NULL;
	json_array_foreach (list, i, packed)
		(void)json_array_append_new(pods, unpack(packed));
	return pods;
}

// ---- What Secrets hold

static bool same_object(const json_t *a, const json_t *b)
{
	return strcmp(kube_uid(a), kube_uid(b)) == 0 && strcmp(kube_resource_version(a), kube_resource_version(b)) == 0;
}

static void remember(struct view *v, const json_t *digested)
{
	CLEANUP_FREE char *key = kube_key(kube_namespace(digested), kube_name(digested));
	(void)pthread_mutex_lock(&v->lock);
	(void)json_object_set(v->secrets, key, (json_t *)(uintptr_t)digested);
	(void)pthread_mutex_unlock(&v->lock);
}

static json_t *remembered(struct view *v, const char *ns, const char *name, const json_t *live)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	(void)pthread_mutex_lock(&v->lock);
	json_t *found = json_incref(json_object_get(v->secrets, key));
	if (found != NULL && (live == NULL || !same_object(found, live))) {
		json_decref(found);
		found = NULL;
		(void)json_object_del(v->secrets, key);
	}
	(void)pthread_mutex_unlock(&v->lock);
	return found;
}

int view_read(struct view *v, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
			  struct error *err)
{
	*ret = NULL;
	json_t *live = view_get(v, res, ns, name);
	if (live == NULL)
		return 0;
	json_decref(live);
	int rc = kube_get(v->config.client, res, ns, name, ret, err);
	if (rc == -ENOENT)
		return 0;
	if (rc == 0 && res == &KUBE_SECRETS) {
		json_t *digested = object_digest(*ret);
		remember(v, digested);
		json_decref(digested);
	}
	return rc;
}

int view_digest(struct view *v, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
				struct error *err)
{
	json_t *live = view_get(v, res, ns, name);
	*ret = NULL;
	if (res != &KUBE_SECRETS || live == NULL) {
		*ret = live;
		return 0;
	}
	json_t *found = remembered(v, ns, name, live);
	json_decref(live);
	CLEANUP_SECRET_JSON json_t *whole = NULL;
	int rc = found == NULL ? view_read(v, res, ns, name, &whole, err) : 0;
	*ret = found != NULL ? found : whole != NULL ? object_digest(whole) : NULL;
	return rc;
}

// ---- Owners

struct owned_walk {
	struct view *view;
	const struct kube_resource *resource;
	const char *ns, *uid;
	json_t *names;
};

static void emit_owner(void *ctx, const char *value)
{
	const char **uid = ctx;
	if (*uid != NULL && strcmp(*uid, value) == 0)
		*uid = NULL;
}

static bool is_owned(const json_t *object, const char *uid)
{
	const char *wanted = uid;
	kube_index_owners(object, emit_owner, &wanted);
	return wanted == NULL;
}

static void note_recent(void *ctx, const char *name, const json_t *object)
{
	const struct owned_walk *w = ctx;
	if (is_owned(object, w->uid))
		(void)json_object_set_new(w->names, name, json_null());
}

static void note_stored(const struct owned_walk *w, const struct followed *f)
{
	json_t *list = f != NULL ? kube_store_by_index(kube_informer_store(f->informer), OWNED_BY, w->uid) : NULL;
	size_t i = 0;
	const json_t *object = NULL;
	json_array_foreach (list, i, object)
		if (strcmp(kube_namespace(object), w->ns) == 0)
			(void)json_object_set_new(w->names, kube_name(object), json_null());
	json_decref(list);
}

// What was written before what is stored: what is heard of meanwhile is in one of the two.
static void note_names(struct owned_walk *w)
{
	struct view *v = w->view;
	recent_each(v->recent, w->resource, w->ns, note_recent, w);
	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].resource == w->resource)
			note_stored(w, v->kinds[i]);
	if (w->resource == &KUBE_SECRETS)
		note_stored(w, find_extra(v, &KUBE_SECRETS, w->ns, NULL));
	(void)pthread_mutex_unlock(&v->lock);
}

static void walk_owned(struct view *v, const struct kube_resource *res, const char *ns, const char *uid,
					   view_owned_fn fn, void *ctx)
{
	struct owned_walk w = {v, res, ns, uid, json_object()};
	const char *name = NULL;
	const json_t *unused = NULL;
	note_names(&w);
	json_object_foreach (w.names, name, unused) {
		json_t *object = view_get(v, res, ns, name);
		if (object != NULL && is_owned(object, uid))
			fn(ctx, res, object);
		json_decref(object);
	}
	json_decref(w.names);
}

void view_owned(struct view *v, const char *ns, const char *uid, view_owned_fn fn, void *ctx)
{
	for (size_t i = 0; i < KINDS; i++)
		walk_owned(v, kinds[i].resource, ns, uid, fn, ctx);
	walk_owned(v, &KUBE_SECRETS, ns, uid, fn, ctx);
}

void view_wrote(struct view *v, const struct kube_resource *res, const char *ns, const char *name, const json_t *before,
				const json_t *between, const json_t *object)
{
	size_t i = 0;
	const json_t *version = NULL;
	json_t *kept = object != NULL ? object_digest(object) : NULL;
	if (kept != NULL)
		(void)json_object_del(json_object_get(kept, "metadata"), "managedFields");
	if (res == &KUBE_SECRETS && kept != NULL)
		remember(v, kept);
	recent_wrote(v->recent, res, ns, name, before != NULL ? kube_resource_version(before) : NULL, kept);
	json_array_foreach (between, i, version) {
		recent_passed(v->recent, res, ns, name, json_string_value(version));
	}
	json_decref(kept);
}
