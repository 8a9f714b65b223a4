#include "controller/recent.h"

#include <pthread.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"

struct recent {
	const struct clock *clock;
	pthread_mutex_t lock;
	// plural -> "namespace/name" -> {object, before: versions, null for nothing, ms}; without before: its end was heard of
	json_t *kinds;
};

struct recent *recent_new(const struct clock *clock)
{
	struct recent *r = xcalloc(1, sizeof(*r));
	r->clock = clock;
	r->kinds = json_object();
	(void)pthread_mutex_init(&r->lock, NULL);
	return r;
}

void recent_free(struct recent *r)
{
	if (r == NULL)
		return;
	json_decref(r->kinds);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

static json_t *entries_of(struct recent *r, const struct kube_resource *res)
{
	json_t *entries = json_object_get(r->kinds, res->plural);
	if (entries == NULL) {
		entries = json_object();
		(void)json_object_set_new(r->kinds, res->plural, entries);
	}
	return entries;
}

static int64_t age_of(const struct recent *r, const json_t *entry)
{
	return clock_mono_ms(r->clock) - json_integer_value(json_object_get(entry, "ms"));
}

static void drop_old(const struct recent *r, json_t *entries)
{
	const char *key = NULL;
	json_t *entry = NULL;
	void *next = NULL;
	json_object_foreach_safe(entries, next, key, entry)
	{
		if (age_of(r, entry) > RECENT_MS)
			(void)json_object_del(entries, key);
	}
}

static bool same_version(const char *before, const json_t *object)
{
	if (before == NULL || object == NULL)
		return before == NULL && object == NULL;
	return strcmp(before, kube_resource_version(object)) == 0;
}

// Newest first. Where there are too many, the oldest one stays: a store that hears nothing has that.
static void add_versions(json_t *entry, const json_t *versions)
{
	json_t *before = json_object_get(entry, "before");
	for (size_t i = 0; i < json_array_size(versions); i++) {
		if (json_array_size(before) == RECENT_WRITES_MAX)
			(void)json_array_remove(before, RECENT_WRITES_MAX - 1);
		(void)json_array_append(before, json_array_get(versions, i));
	}
}

void recent_wrote(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				  const char *before, json_t *object)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	json_t *entry = json_pack("{s:[s?], s:I}", "before", before, "ms", (json_int_t)clock_mono_ms(r->clock));
	if (object != NULL)
		(void)json_object_set(entry, "object", object);
	(void)pthread_mutex_lock(&r->lock);
	json_t *entries = entries_of(r, res);
	drop_old(r, entries);
	const json_t *last = json_object_get(entries, key);
	// Since it was read, which forgets this. It may be the end of what was written now.
	bool ended = last != NULL && json_object_get(last, "before") == NULL;
	if (last != NULL && same_version(before, json_object_get(last, "object")))
		add_versions(entry, json_object_get(last, "before"));
	if (ended)
		(void)json_object_del(entries, key);
	else
		(void)json_object_set(entries, key, entry);
	(void)pthread_mutex_unlock(&r->lock);
	json_decref(entry);
}

void recent_passed(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				   const char *version)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	json_auto_t *versions = json_pack("[s]", version);
	(void)pthread_mutex_lock(&r->lock);
	json_t *entry = json_object_get(entries_of(r, res), key);
	if (entry != NULL)
		add_versions(entry, versions);
	(void)pthread_mutex_unlock(&r->lock);
}

// With the lock held.
static void note_end(const struct recent *r, json_t *entries, const char *key)
{
	(void)json_object_del(entries, key);
	drop_old(r, entries);
	if (json_object_size(entries) < RECENT_ENDS_MAX)
		(void)json_object_set_new(entries, key, json_pack("{s:I}", "ms", (json_int_t)clock_mono_ms(r->clock)));
}

bool recent_heard(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				  const json_t *now)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	(void)pthread_mutex_lock(&r->lock);
	json_t *entries = entries_of(r, res);
	const json_t *written = json_object_get(json_object_get(entries, key), "object");
	bool ours = written != NULL && now != NULL && same_version(kube_resource_version(written), now);
	if (ours)
		(void)json_object_del(entries, key);
	if (now == NULL)
		note_end(r, entries, key);
	(void)pthread_mutex_unlock(&r->lock);
	return ours;
}

static bool is_of_namespace(const char *key, const char *ns)
{
	size_t n = strlen(ns);
	return strncmp(key, ns, n) == 0 && key[n] == '/';
}

void recent_listed(struct recent *r, const struct kube_resource *res, const char *ns, int64_t began_ms)
{
	const char *key = NULL;
	json_t *entry = NULL;
	void *next = NULL;
	(void)pthread_mutex_lock(&r->lock);
	json_t *entries = entries_of(r, res);
	json_object_foreach_safe(entries, next, key, entry)
	{
		if (json_integer_value(json_object_get(entry, "ms")) < began_ms && (ns == NULL || is_of_namespace(key, ns)))
			(void)json_object_del(entries, key);
	}
	(void)pthread_mutex_unlock(&r->lock);
}

static bool is_before(const json_t *entry, const json_t *stored)
{
	size_t i = 0;
	const json_t *version = NULL;
	json_array_foreach (json_object_get(entry, "before"), i, version)
		if (same_version(json_string_value(version), stored))
			return true;
	return false;
}

json_t *recent_get(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				   recent_stored_fn stored, void *ctx)
{
	CLEANUP_FREE char *key = kube_key(ns, name);
	(void)pthread_mutex_lock(&r->lock);
	json_t *found = stored(ctx, res, ns, name);
	json_t *entries = entries_of(r, res);
	const json_t *entry = json_object_get(entries, key);
	if (entry != NULL && age_of(r, entry) <= RECENT_MS && is_before(entry, found)) {
		json_decref(found);
		found = json_incref(json_object_get(entry, "object"));
	} else if (entry != NULL) {
		(void)json_object_del(entries, key);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return found;
}

void recent_each(struct recent *r, const struct kube_resource *res, const char *ns,
				 void (*fn)(void *ctx, const char *name, const json_t *object), void *ctx)
{
	(void)pthread_mutex_lock(&r->lock);
	json_t *copy = json_copy(entries_of(r, res));
	(void)pthread_mutex_unlock(&r->lock);
	const char *key = NULL;
	const json_t *entry = NULL;
	json_object_foreach (copy, key, entry) {
		const json_t *object = json_object_get(entry, "object");
		if (object != NULL && is_of_namespace(key, ns))
			fn(ctx, key + strlen(ns) + 1, object);
	}
	json_decref(copy);
}
