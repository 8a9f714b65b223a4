#include "common/kube/store.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/resource.h"
#include "common/mem.h"

// Balanced trees (tsearch) rather than hash tables: what they hold comes out sorted, and no choice of names makes them
// slow.

// An object under its key: "namespace/name".
struct item {
	json_t *object;
	char key[];
};

// The objects that an index has under a value.
struct group {
	size_t index;
	void *items; // tree of struct item, borrowed from the store
	char value[];
};

struct kube_store {
	pthread_mutex_t lock;
	const struct kube_index *indexes;
	size_t nindexes;
	size_t size;
	void *items;  // tree of struct item
	void *groups; // tree of struct group
};

static int item_compare(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

static int group_compare(const void *a, const void *b)
{
	const struct group *x = a;
	const struct group *y = b;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return strcmp(x->value, y->value);
}

static struct item *item_new(const char *key)
{
	size_t n = strlen(key) + 1;
	struct item *e = xcalloc(1, sizeof(*e) + n);
	memcpy(e->key, key, n);
	return e;
}

static void item_free(void *item)
{
	struct item *e = item;
	json_decref(e->object);
	free(e);
}

static struct group *group_new(size_t index, const char *value)
{
	size_t n = strlen(value) + 1;
	struct group *g = xcalloc(1, sizeof(*g) + n);
	g->index = index;
	memcpy(g->value, value, n);
	return g;
}

static void keep(void *item)
{
	(void)item;
}

static void group_free(void *group)
{
	struct group *g = group;
	tdestroy(g->items, keep);
	free(g);
}

// Like all of our own allocations, those of a tree end the program where memory is out.
static void *tree_add(const void *node, void **tree, int (*compare)(const void *, const void *))
{
	void **slot = tsearch(node, tree, compare);
	if (slot == NULL)
		abort();
	return *slot;
}

static void *tree_find(const void *node, void *const *tree, int (*compare)(const void *, const void *))
{
	void **slot = tfind(node, tree, compare);
	return slot != NULL ? *slot : NULL;
}

// ---- Indexes: what an object's values are is found out again where it goes, as it was immutable meanwhile

struct indexing {
	struct kube_store *store;
	size_t index;
	struct item *item;
};

static void index_add(void *ctx, const char *value)
{
	const struct indexing *x = ctx;
	struct group *g = group_new(x->index, value);
	struct group *there = tree_add(g, &x->store->groups, group_compare);
	if (there != g)
		group_free(g);
	(void)tree_add(x->item, &there->items, item_compare);
}

static void index_remove(void *ctx, const char *value)
{
	const struct indexing *x = ctx;
	CLEANUP_FREE
	struct group *like = group_new(x->index, value);
	struct group *g = tree_find(like, &x->store->groups, group_compare);
	if (g == NULL)
		return;
	(void)tdelete(x->item, &g->items, item_compare);
	if (g->items != NULL)
		return;
	(void)tdelete(g, &x->store->groups, group_compare);
	group_free(g);
}

static void index_each(struct kube_store *s, struct item *e, void (*emit)(void *ctx, const char *value))
{
	for (size_t i = 0; i < s->nindexes; i++) {
		struct indexing x = {s, i, e};
		s->indexes[i].values(e->object, emit, &x);
	}
}

void kube_index_owners(const json_t *object, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx)
{
	const json_t *owners = json_object_get(json_object_get(object, "metadata"), "ownerReferences");
	for (size_t i = 0; i < json_array_size(owners); i++) {
		const char *uid = json_string_value(json_object_get(json_array_get(owners, i), "uid"));
		if (uid != NULL)
			emit(emit_ctx, uid);
	}
}

// ---- The store

struct kube_store *kube_store_new(const struct kube_index *indexes, size_t n)
{
	struct kube_store *s = xcalloc(1, sizeof(*s));
	(void)pthread_mutex_init(&s->lock, NULL);
	s->indexes = indexes;
	s->nindexes = n;
	return s;
}

void kube_store_free(struct kube_store *s)
{
	if (s == NULL)
		return;
	tdestroy(s->groups, group_free);
	tdestroy(s->items, item_free);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

json_t *kube_store_put(struct kube_store *s, json_t *object)
{
	CLEANUP_FREE
	char *key = kube_key(kube_namespace(object), kube_name(object));
	struct item *e = item_new(key);
	(void)pthread_mutex_lock(&s->lock);
	struct item *there = tree_add(e, &s->items, item_compare);
	json_t *old = there->object;
	if (old != NULL)
		index_each(s, there, index_remove);
	else
		s->size++;
	there->object = object;
	index_each(s, there, index_add);
	(void)pthread_mutex_unlock(&s->lock);
	if (there != e)
		free(e);
	return old;
}

json_t *kube_store_remove(struct kube_store *s, const char *key)
{
	CLEANUP_FREE
	struct item *like = item_new(key);
	json_t *old = NULL;
	(void)pthread_mutex_lock(&s->lock);
	struct item *e = tree_find(like, &s->items, item_compare);
	if (e != NULL) {
		index_each(s, e, index_remove);
		(void)tdelete(e, &s->items, item_compare);
		s->size--;
		old = TAKE_PTR(e->object);
	}
	(void)pthread_mutex_unlock(&s->lock);
	free(e);
	return old;
}

json_t *kube_store_get(struct kube_store *s, const char *ns, const char *name)
{
	CLEANUP_FREE
	char *key = kube_key(ns, name);
	CLEANUP_FREE
	struct item *like = item_new(key);
	(void)pthread_mutex_lock(&s->lock);
	const struct item *e = tree_find(like, &s->items, item_compare);
	json_t *object = e != NULL ? json_incref(e->object) : NULL;
	(void)pthread_mutex_unlock(&s->lock);
	return object;
}

static void collect(json_t *into, json_t *value)
{
	if (json_array_append_new(into, value) < 0)
		abort();
}

// Called up to three times for a node: a leaf once, any other before, between and after its two sides.
static void collect_object(const void *node, VISIT visit, void *ctx)
{
	const struct item *e = *(struct item *const *)node;
	if (visit == postorder || visit == leaf)
		collect(ctx, json_incref(e->object));
}

static void collect_key(const void *node, VISIT visit, void *ctx)
{
	const struct item *e = *(struct item *const *)node;
	if (visit == postorder || visit == leaf)
		collect(ctx, json_string_nocheck(e->key));
}

static json_t *new_array(void)
{
	json_t *array = json_array();
	if (array == NULL)
		abort();
	return array;
}

static json_t *collect_all(struct kube_store *s, void (*one)(const void *node, VISIT visit, void *ctx))
{
	json_t *array = new_array();
	(void)pthread_mutex_lock(&s->lock);
	twalk_r(s->items, one, array);
	(void)pthread_mutex_unlock(&s->lock);
	return array;
}

json_t *kube_store_list(struct kube_store *s)
{
	return collect_all(s, collect_object);
}

json_t *kube_store_keys(struct kube_store *s)
{
	return collect_all(s, collect_key);
}

json_t *kube_store_by_index(struct kube_store *s, const char *index, const char *value)
{
	json_t *array = new_array();
	for (size_t i = 0; i < s->nindexes; i++) {
		if (strcmp(s->indexes[i].name, index) != 0)
			continue;
		CLEANUP_FREE
		struct group *like = group_new(i, value);
		(void)pthread_mutex_lock(&s->lock);
		const struct group *g = tree_find(like, &s->groups, group_compare);
		if (g != NULL)
			twalk_r(g->items, collect_object, array);
		(void)pthread_mutex_unlock(&s->lock);
	}
	return array;
}

size_t kube_store_size(struct kube_store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	size_t n = s->size;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}
