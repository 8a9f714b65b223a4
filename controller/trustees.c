#include "controller/trustees_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/trustee.h"
#include "controller/kbs_render.h"

// Asks which of the kinds that a cluster may lack are there.
#define WORLD_KEY "world"
#define WORLD_REFUSED_MS 2000

// ---- Keys

static char *key_of(const struct kube_resource *res, const char *ns, const char *name)
{
	return xasprintf("%s/%s/%s", res->plural, ns, name);
}

static void look_at(struct trustees *t, const struct kube_resource *res, const char *ns, const char *name)
{
	CLEANUP_FREE char *key = key_of(res, ns, name);
	workqueue_add(t->queue, key);
}

// Whoever stands for a KbsConfig: it may be the TrusteeConfig that it is named after, or itself. Whichever isn't there is
// nobody's work.
static void look_at_kbs_config(struct trustees *t, const char *ns, const char *name)
{
	size_t n = strlen(name);
	size_t suffix = strlen(KBS_CONFIG_SUFFIX);
	look_at(t, &KUBE_KBS_CONFIGS, ns, name);
	if (n <= suffix || strcmp(name + n - suffix, KBS_CONFIG_SUFFIX) != 0)
		return;
	CLEANUP_FREE char *trustee = xstrndup((struct str){name, n - suffix});
	look_at(t, &KUBE_TRUSTEE_CONFIGS, ns, trustee);
}

// By owner, and by label for one whose owner was taken away.
static void look_at_owners(struct trustees *t, const json_t *object)
{
	const char *ns = kube_namespace(object);
	size_t i = 0;
	const json_t *owner = NULL;
	json_array_foreach (json_object_get(json_object_get(object, "metadata"), "ownerReferences"), i, owner) {
		const char *kind = json_string_value(json_object_get(owner, "kind"));
		const char *name = json_string_value(json_object_get(owner, "name"));
		if (kind == NULL || name == NULL)
			continue;
		if (strcmp(kind, KUBE_TRUSTEE_CONFIGS.kind) == 0)
			look_at(t, &KUBE_TRUSTEE_CONFIGS, ns, name);
		else if (strcmp(kind, KUBE_KBS_CONFIGS.kind) == 0)
			look_at_kbs_config(t, ns, name);
	}
	const char *instance = kube_label(object, LABEL_INSTANCE);
	if (instance == NULL)
		return;
	look_at(t, &KUBE_TRUSTEE_CONFIGS, ns, instance);
	look_at(t, &KUBE_KBS_CONFIGS, ns, instance);
}

// ---- What is remembered

static struct trustee_state *state_of(struct trustees *t, const char *key)
{
	(void)pthread_mutex_lock(&t->lock);
	struct trustee_state *found = NULL;
	for (size_t i = 0; i < t->nstates && found == NULL; i++)
		if (strcmp(t->states[i]->key, key) == 0)
			found = t->states[i];
	if (found == NULL) {
		found = xcalloc(1, sizeof(*found));
		found->key = xstrdup(key);
		t->states = xreallocarray(t->states, t->nstates + 1, sizeof(struct trustee_state *));
		t->states[t->nstates++] = found;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return found;
}

static void free_state(struct trustee_state *s)
{
	if (s == NULL)
		return;
	remarks_release(&s->remarks);
	json_decref(s->config_maps);
	json_decref(s->objects);
	json_decref(s->reads);
	free(s->ca);
	free(s->key);
	free(s);
}

static void forget(struct trustees *t, const char *key)
{
	struct trustee_state *found = NULL;
	(void)pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->nstates && found == NULL; i++) {
		if (strcmp(t->states[i]->key, key) != 0)
			continue;
		found = t->states[i];
		t->states[i] = t->states[--t->nstates];
	}
	(void)pthread_mutex_unlock(&t->lock);
	free_state(found);
	view_forget(t->view, key);
}

// With the lock held: every key whose state says so.
static void look_at_states(struct trustees *t, bool (*says)(const struct trustee_state *s, const void *ctx),
						   const void *ctx)
{
	for (size_t i = 0; i < t->nstates; i++)
		if (says(t->states[i], ctx))
			workqueue_add(t->queue, t->states[i]->key);
}

static bool is_of_namespace(const struct trustee_state *s, const char *ns)
{
	const char *at = strchr(s->key, '/') + 1;
	size_t n = strlen(ns);
	return strncmp(at, ns, n) == 0 && at[n] == '/';
}

struct news {
	const char *ns, *id, *except;
};

static bool is_reader(const struct trustee_state *s, const void *ctx)
{
	const struct news *n = ctx;
	bool knows = n->except != NULL && strcmp(s->key, n->except) == 0;
	return !knows && is_of_namespace(s, n->ns) && json_object_get(s->reads, n->id) != NULL;
}

static bool has_bindings(const struct trustee_state *s, const void *ctx)
{
	(void)ctx;
	return s->bindings;
}

static void look_at_all_states(struct trustees *t, bool (*says)(const struct trustee_state *s, const void *ctx),
							   const void *ctx)
{
	(void)pthread_mutex_lock(&t->lock);
	look_at_states(t, says, ctx);
	(void)pthread_mutex_unlock(&t->lock);
}

void trustees_look_at_readers(struct trustees *t, const struct kube_resource *res, const char *ns, const char *name,
							  const char *except)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	const struct news news = {ns, id, except};
	look_at_all_states(t, is_reader, &news);
}

void trustees_look_at_bindings(struct trustees *t)
{
	look_at_all_states(t, has_bindings, NULL);
}

// ---- What the view tells

// Another one may have the names that this one gives up.
static void look_at_namespace(struct trustees *t, const char *ns)
{
	static const struct kube_resource *const both[] = {&KUBE_TRUSTEE_CONFIGS, &KUBE_KBS_CONFIGS};
	// An event may come before view_start() has returned.
	(void)pthread_mutex_lock(&t->lock);
	struct view *view = t->view;
	(void)pthread_mutex_unlock(&t->lock);
	for (size_t k = 0; k < sizeof(both) / sizeof(both[0]); k++) {
		json_t *list = view_list(view, both[k], ns);
		size_t i = 0;
		const json_t *object = NULL;
		json_array_foreach (list, i, object) {
			look_at(t, both[k], ns, kube_name(object));
		}
		json_decref(list);
	}
}

static bool is_resource_of_ours(const struct kube_resource *res)
{
	return res == &KUBE_TRUSTEE_CONFIGS || res == &KUBE_KBS_CONFIGS;
}

static void on_changed(void *ctx, const struct kube_resource *res, const json_t *object, bool gone)
{
	struct trustees *t = ctx;
	const char *ns = kube_namespace(object);
	const char *kbs_config = res == &KUBE_PODS ? kube_annotation(object, ANNOTATION_KBS_CONFIG) : NULL;
	if (res == &KUBE_TRUSTEE_CONFIGS)
		look_at(t, res, ns, kube_name(object));
	else if (res == &KUBE_KBS_CONFIGS)
		look_at_kbs_config(t, ns, kube_name(object));
	else if (kbs_config != NULL)
		look_at_kbs_config(t, ns, kbs_config);
	else
		look_at_owners(t, object);
	// Whatever labels it has: Helm, for one, calls its releases instances too.
	if (res == &KUBE_SECRETS || res == &KUBE_CONFIG_MAPS)
		trustees_look_at_readers(t, res, ns, kube_name(object), NULL);
	if (is_resource_of_ours(res) && gone)
		look_at_namespace(t, ns);
}

static bool any_of_namespace(const struct trustee_state *s, const void *ctx)
{
	return ctx == NULL || is_of_namespace(s, ctx);
}

static void on_listed(void *ctx, const char *ns)
{
	struct trustees *t = ctx;
	// What came before the last kind was listed was put aside, and what a later list hides wakes nobody.
	look_at_all_states(t, any_of_namespace, ns);
}

// ---- The queue

struct trustees *trustees_start(const struct trustees_config *config)
{
	struct trustees *t = xcalloc(1, sizeof(*t));
	t->config = *config;
	t->world = config->world;
	t->queue = workqueue_new("trustee", config->clock);
	(void)pthread_mutex_init(&t->lock, NULL);
	const struct view_config view = {
		.client = config->client,
		.informers = config->informers,
		.clock = config->clock,
		.changed = on_changed,
		.listed = on_listed,
		.ctx = t,
	};
	(void)pthread_mutex_lock(&t->lock);
	t->view = view_start(&view);
	(void)pthread_mutex_unlock(&t->lock);
	workqueue_add(t->queue, WORLD_KEY);
	trustee_metrics_add(t);
	return t;
}

void trustees_stop(struct trustees *t)
{
	if (t == NULL)
		return;
	trustee_metrics_remove(t);
	view_stop(t->view);
	for (size_t i = 0; i < t->nstates; i++)
		free_state(t->states[i]);
	free(t->states);
	workqueue_free(t->queue);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

struct workqueue *trustees_queue(struct trustees *t)
{
	return t->queue;
}

const char *trustees_wait_for(struct trustees *t)
{
	return view_waits_for(t->view);
}

bool trustees_have_worked(struct trustees *t)
{
	return atomic_exchange(&t->worked, false);
}

static int look_around(struct trustees *t, struct reconcile_result *ret, struct error *err)
{
	struct trustee_world world = t->config.world;
	bool news = false;
	// Nothing is made before this is known, and an API server that has just started refuses what it allows a moment later.
	ret->again_ms = WORLD_REFUSED_MS;
	int rc = view_look_around(t->view, &world, &news, err);
	if (rc < 0)
		return rc;
	ret->again_ms = VIEW_WORLD_MS;
	(void)pthread_mutex_lock(&t->lock);
	t->world = world;
	bool first = !t->looked_around;
	t->looked_around = true;
	if (news || first)
		look_at_states(t, any_of_namespace, NULL);
	(void)pthread_mutex_unlock(&t->lock);
	return 0;
}

static bool knows_world(struct trustees *t)
{
	(void)pthread_mutex_lock(&t->lock);
	bool knows = t->looked_around;
	(void)pthread_mutex_unlock(&t->lock);
	return knows && view_waits_for(t->view) == NULL;
}

static json_t *config_of(struct trustees *t, const char *ns, const char *trustee)
{
	CLEANUP_FREE char *name = xasprintf("%s%s", trustee, KBS_CONFIG_SUFFIX);
	return view_get(t->view, &KUBE_KBS_CONFIGS, ns, name);
}

// The TrusteeConfig that stands for a KbsConfig of that name; NULL where none does.
static json_t *trustee_of(struct trustees *t, const char *ns, const char *kbs_config)
{
	size_t n = strlen(kbs_config);
	size_t suffix = strlen(KBS_CONFIG_SUFFIX);
	if (n <= suffix || strcmp(kbs_config + n - suffix, KBS_CONFIG_SUFFIX) != 0)
		return NULL;
	CLEANUP_FREE char *name = xstrndup((struct str){kbs_config, n - suffix});
	return view_get(t->view, &KUBE_TRUSTEE_CONFIGS, ns, name);
}

static int reconcile(struct trustees *t, const char *key, const char *kind, const char *ns, const char *name,
					 struct reconcile_result *ret, struct error *err)
{
	bool is_trustee = strcmp(kind, KUBE_TRUSTEE_CONFIGS.plural) == 0;
	json_t *tc = is_trustee ? view_get(t->view, &KUBE_TRUSTEE_CONFIGS, ns, name) : trustee_of(t, ns, name);
	json_t *kbs = is_trustee ? config_of(t, ns, name) : view_get(t->view, &KUBE_KBS_CONFIGS, ns, name);
	// Gone, or another key's work: a KbsConfig that was left behind stands for itself from now on, and the other way round.
	if (is_trustee ? tc == NULL : kbs == NULL || tc != NULL) {
		if (is_trustee && kbs != NULL)
			look_at(t, &KUBE_KBS_CONFIGS, ns, kube_name(kbs));
		json_decref(tc);
		json_decref(kbs);
		forget(t, key);
		return 0;
	}
	atomic_store(&t->worked, true);
	return trustee_pass(t, state_of(t, key), tc, kbs, ret, err);
}

int trustees_reconcile(void *ctx, const char *key, struct reconcile_result *ret, struct error *err)
{
	struct trustees *t = ctx;
	if (strcmp(key, WORLD_KEY) == 0)
		return look_around(t, ret, err);
	// The state is there for look_around() and on_listed() to find the key by.
	(void)state_of(t, key);
	if (!knows_world(t))
		return 0;
	char *ns = NULL;
	char *rest = NULL;
	kube_key_split(key, &ns, &rest);
	char *namespace = NULL;
	char *name = NULL;
	kube_key_split(rest, &namespace, &name);
	int rc = namespace != NULL ? reconcile(t, key, ns, namespace, name, ret, err) : 0;
	free(ns);
	free(rest);
	free(namespace);
	free(name);
	return rc;
}
