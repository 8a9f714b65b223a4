#include "common/catalog_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/catalog_dir.h"
#include "common/cleanup.h"
#include "common/mem.h"
#include "common/names.h"

// One ConfigMap that profiles refer to.
struct followed {
	char *ns, *name;
	struct kube_informer *informer;
	bool wanted; // by a profile, at the last look
};

struct catalog_feed {
	struct catalog_feed_config config;
	struct catalog_dir *dir;
	int fd;
	bool dirty; // something that isn't told through fd: the folder, a set of followed ConfigMaps that changed
	struct kube_informer *profiles;
	struct kube_informer *namespaces;
	struct followed *followed;
	size_t nfollowed;
	size_t unfollowed; // beyond the limit
	json_t *told;      // problems of the catalog in force: "origin|key|message" -> null
	json_t *tell;      // those of the one that is being built
	bool built;
};

// ---- Objects, as small as they may be

static void keep_ours(json_t *map)
{
	const char *key = NULL;
	json_t *value = NULL;
	void *next = NULL;
	json_object_foreach_safe(map, next, key, value)
	{
		if (strncmp(key, NAME_GROUP "/", sizeof(NAME_GROUP)) != 0)
			(void)json_object_del(map, key);
	}
}

static json_t *trim_namespace(json_t *object)
{
	json_t *meta = json_object_get(object, "metadata");
	keep_ours(json_object_get(meta, "labels"));
	keep_ours(json_object_get(meta, "annotations"));
	(void)json_object_del(object, "spec");
	(void)json_object_del(object, "status");
	return object;
}

static json_t *trim_profile(json_t *object)
{
	(void)json_object_del(json_object_get(json_object_get(object, "metadata"), "annotations"), KUBE_LAST_APPLIED);
	return object;
}

static json_t *trim_config_map(json_t *object)
{
	(void)json_object_del(json_object_get(object, "metadata"), "annotations");
	(void)json_object_del(object, "binaryData");
	return object;
}

// ---- Waking

static void wake(struct catalog_feed *f)
{
	const uint64_t one = 1;
	// The counter is full at worst, and then it is readable.
	(void)!write(f->fd, &one, sizeof(one));
}

static void on_changed(void *ctx, const char *key, const json_t *old_object, const json_t *new_object)
{
	(void)key;
	(void)old_object;
	(void)new_object;
	wake(ctx);
}

static void on_synced(void *ctx)
{
	wake(ctx);
}

static bool woken(struct catalog_feed *f)
{
	uint64_t n = 0;
	return read(f->fd, &n, sizeof(n)) == sizeof(n);
}

static struct kube_informer *follow(struct catalog_feed *f, const struct kube_resource *res, const char *ns,
									const char *name, json_t *(*trim)(json_t *))
{
	CLEANUP_FREE
	char *field = name != NULL ? xasprintf("metadata.name=%s", name) : NULL;
	const struct kube_informer_config config = {
		.resource = res,
		.ns = ns,
		.selector = {.fields = field},
		.trim = trim,
		.changed = on_changed,
		.synced = on_synced,
		.ctx = f,
	};
	return kube_informer_add(f->config.informers, &config);
}

// ---- ConfigMaps that profiles refer to

static struct followed *find_followed(const struct catalog_feed *f, const char *ns, const char *name)
{
	for (size_t i = 0; i < f->nfollowed; i++)
		if (strcmp(f->followed[i].ns, ns) == 0 && strcmp(f->followed[i].name, name) == 0)
			return &f->followed[i];
	return NULL;
}

static void want(void *ctx, const char *ns, const char *name)
{
	struct catalog_feed *f = ctx;
	struct followed *old = find_followed(f, ns, name);
	if (old != NULL) {
		old->wanted = true;
		return;
	}
	if (f->nfollowed == CATALOG_FEED_CONFIG_MAPS_MAX) {
		f->unfollowed++;
		return;
	}
	f->followed = xreallocarray(f->followed, f->nfollowed + 1, sizeof(*f->followed));
	f->followed[f->nfollowed++] = (struct followed){
		.ns = xstrdup(ns),
		.name = xstrdup(name),
		.informer = follow(f, &KUBE_CONFIG_MAPS, ns, name, trim_config_map),
		.wanted = true,
	};
}

static void unfollow(struct followed *x)
{
	kube_informer_remove(x->informer);
	free(x->ns);
	free(x->name);
}

// Follows what the profiles refer to now, and nothing else.
static void update_followed(struct catalog_feed *f, const json_t *profiles)
{
	for (size_t i = 0; i < f->nfollowed; i++)
		f->followed[i].wanted = false;
	f->unfollowed = 0;
	for (size_t i = 0; i < json_array_size(profiles); i++)
		profile_config_maps(json_array_get(profiles, i), f->config.system_ns, want, f);
	size_t kept = 0;
	for (size_t i = 0; i < f->nfollowed; i++) {
		if (f->followed[i].wanted)
			f->followed[kept++] = f->followed[i];
		else
			unfollow(&f->followed[i]);
	}
	f->nfollowed = kept;
}

// ---- Building

struct documents {
	struct catalog_document *v;
	size_t n;
	json_t *held;   // the arrays that objects are borrowed from
	char **origins; // of those from the API server
	size_t norigins;
};

static void documents_release(struct documents *d)
{
	for (size_t i = 0; i < d->norigins; i++)
		free(d->origins[i]);
	free(d->origins);
	free(d->v);
	json_decref(d->held);
}

static void add_document(struct documents *d, json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *ns = kube_namespace(object);
	d->origins = xreallocarray(d->origins, d->norigins + 1, sizeof(*d->origins));
	char *origin = xasprintf("%s %s%s%s", kind != NULL ? kind : "", ns, ns[0] != '\0' ? "/" : "", kube_name(object));
	d->origins[d->norigins++] = origin;
	d->v = xreallocarray(d->v, d->n + 1, sizeof(*d->v));
	d->v[d->n++] = (struct catalog_document){.object = object, .origin = origin};
}

static void add_store(struct documents *d, struct kube_informer *informer)
{
	json_t *all = kube_store_list(kube_informer_store(informer));
	for (size_t i = 0; i < json_array_size(all); i++)
		add_document(d, json_array_get(all, i));
	(void)json_array_append_new(d->held, all);
}

struct readiness {
	const struct catalog_feed *f;
	bool ready;
};

static void check_ready(void *ctx, const char *ns, const char *name)
{
	struct readiness *r = ctx;
	const struct followed *x = find_followed(r->f, ns, name);
	r->ready = r->ready && x != NULL && kube_informer_synced(x->informer);
}

static void add_profile(const struct catalog_feed *f, struct documents *d, json_t *object)
{
	struct readiness r = {f, true};
	profile_config_maps(object, f->config.system_ns, check_ready, &r);
	add_document(d, object);
	d->v[d->n - 1].unread = !r.ready;
}

static void note_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	struct catalog_feed *f = ctx;
	CLEANUP_FREE
	char *id = xasprintf("%s|%s|%s", origin, key, message);
	if (json_object_get(f->told, id) == NULL)
		f->config.problem(f->config.ctx, origin, key, message);
	(void)json_object_set_new(f->tell, id, json_null());
}

static void note_unfollowed(struct catalog_feed *f)
{
	CLEANUP_FREE
	char *message = xasprintf("profiles refer to %zu ConfigMaps more than the %d that are followed: for pods of those "
							  "profiles the API server is asked each time; have profiles share ConfigMaps",
							  f->unfollowed, CATALOG_FEED_CONFIG_MAPS_MAX);
	if (f->unfollowed > 0)
		note_problem(f, "API server", "", message);
}

static void gather(struct catalog_feed *f, struct documents *d)
{
	d->held = json_array();
	if (f->config.informers != NULL) {
		json_t *profiles = kube_store_list(kube_informer_store(f->profiles));
		(void)json_array_append_new(d->held, profiles);
		update_followed(f, profiles);
		if (f->namespaces != NULL)
			add_store(d, f->namespaces);
		for (size_t i = 0; i < f->nfollowed; i++)
			add_store(d, f->followed[i].informer);
		for (size_t i = 0; i < json_array_size(profiles); i++)
			add_profile(f, d, json_array_get(profiles, i));
	}
	// An object that is made later takes the place of a file that came with the installation.
	size_t first = d->n;
	if (f->dir != NULL)
		catalog_dir_append(f->dir, &d->v, &d->n);
	for (size_t i = first; i < d->n; i++)
		d->v[i].fallback = true;
}

const char *catalog_feed_waits_for(struct catalog_feed *f)
{
	if (f->config.informers != NULL) {
		if (!kube_informer_synced(f->profiles))
			return "ConfidentialProfiles are not read from the API server yet";
		if (f->namespaces != NULL && !kube_informer_synced(f->namespaces))
			return "Namespaces are not read from the API server yet";
		// Later ones wait for themselves alone.
		for (size_t i = 0; i < f->nfollowed && !f->built; i++)
			if (!kube_informer_synced(f->followed[i].informer))
				return "ConfigMaps that profiles refer to are not read from the API server yet";
	}
	return NULL;
}

static int build(struct catalog_feed *f)
{
	struct catalog *previous = catalog_store_get(f->config.store);
	CLEANUP(documents_release) struct documents d = {0};
	gather(f, &d);
	// Only now is it known which ConfigMaps the first catalog needs.
	if (catalog_feed_waits_for(f) != NULL) {
		catalog_unref(previous);
		return 0;
	}
	f->tell = json_object();
	note_unfollowed(f);
	struct catalog *next = catalog_build(d.v, d.n, f->config.system_ns, previous, note_problem, f);
	json_decref(f->told);
	f->told = TAKE_PTR(f->tell);
	f->built = true;
	catalog_unref(previous);
	catalog_store_put(f->config.store, next);
	return 1;
}

int catalog_feed_step(struct catalog_feed *f, struct error *err)
{
	bool look = woken(f) || f->dirty;
	f->dirty = false;
	int rc = 0;
	if (f->dir != NULL && catalog_dir_changed(f->dir)) {
		look = true;
		f->tell = json_object();
		rc = catalog_dir_read(f->dir, note_problem, f, err);
		json_decref(TAKE_PTR(f->tell));
	}
	if (!look || rc < 0)
		return rc;
	if (f->config.informers != NULL && !kube_informer_synced(f->profiles))
		return 0;
	return build(f);
}

// ---- Start and stop

int catalog_feed_fd(const struct catalog_feed *f)
{
	return f->fd;
}

struct kube_store *catalog_feed_profiles(struct catalog_feed *f)
{
	return f->profiles != NULL ? kube_informer_store(f->profiles) : NULL;
}

static void cleanup_feed(struct catalog_feed **slot)
{
	catalog_feed_stop(*slot);
}

struct catalog_feed *catalog_feed_start(const struct catalog_feed_config *config, struct error *err)
{
	CLEANUP(cleanup_feed) struct catalog_feed *f = xcalloc(1, sizeof(*f));
	f->config = *config;
	f->told = json_object();
	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->fd < 0) {
		(void)error_set(err, errno, "eventfd: %s; raise the limit of open files", strerror(errno));
		return NULL;
	}
	if (config->dir != NULL) {
		f->dir = catalog_dir_new(config->dir, config->system_ns);
		f->tell = json_object();
		int rc = catalog_dir_read(f->dir, note_problem, f, err);
		json_decref(TAKE_PTR(f->tell));
		if (rc < 0)
			return NULL;
	}
	if (config->informers != NULL) {
		f->profiles = follow(f, &KUBE_CONFIDENTIAL_PROFILES, NULL, NULL, trim_profile);
		if (config->namespaces)
			f->namespaces = follow(f, &KUBE_NAMESPACES, NULL, NULL, trim_namespace);
	}
	f->dirty = true;
	return TAKE_PTR(f);
}

void catalog_feed_stop(struct catalog_feed *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->nfollowed; i++)
		unfollow(&f->followed[i]);
	free(f->followed);
	if (f->profiles != NULL)
		kube_informer_remove(f->profiles);
	if (f->namespaces != NULL)
		kube_informer_remove(f->namespaces);
	catalog_dir_free(f->dir);
	if (f->fd >= 0)
		(void)close(f->fd);
	json_decref(f->told);
	free(f);
}
