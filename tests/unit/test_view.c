// The view of the cluster, over informers that this test fills itself.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "common/cleanup.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/thread.h"
#include "common/trustee.h"
#include "controller/view.h"
#include "fake_clock.h"

#define FAKES_MAX 512

// ---- Informers without an API server

struct kube_informer {
	struct kube_informer_config config;
	char *ns, *fields;
	struct kube_store *store;
};

static struct {
	struct kube_informer *v[FAKES_MAX];
	size_t n;
	void (*removed)(void); // after each removal
	unsigned gets;
	int served; // kinds that a cluster may lack
} fakes;

struct kube_informer *kube_informer_add(struct kube_informers *s, const struct kube_informer_config *config)
{
	(void)s;
	struct kube_informer *i = xcalloc(1, sizeof(*i));
	i->config = *config;
	i->ns = config->ns != NULL ? xstrdup(config->ns) : NULL;
	i->fields = config->selector.fields != NULL ? xstrdup(config->selector.fields) : NULL;
	i->store = kube_store_new(config->indexes, config->nindexes);
	assert_true(fakes.n < FAKES_MAX);
	fakes.v[fakes.n++] = i;
	return i;
}

void kube_informer_remove(struct kube_informer *i)
{
	size_t at = 0;
	while (fakes.v[at] != i)
		at++;
	fakes.v[at] = fakes.v[--fakes.n];
	kube_store_free(i->store);
	i->store = NULL; // as the real one does: who still asks it crashes
	if (fakes.removed != NULL)
		fakes.removed();
	free(i->ns);
	free(i->fields);
	free(i);
}

struct kube_store *kube_informer_store(struct kube_informer *i)
{
	return i->store;
}

bool kube_informer_synced(struct kube_informer *i)
{
	(void)i;
	return true;
}

int kube_has_resource(struct kube_client *c, const struct kube_resource *res, struct error *err)
{
	(void)c;
	(void)res;
	(void)err;
	return fakes.served;
}

int kube_get(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
			 struct error *err)
{
	(void)c;
	(void)err;
	fakes.gets++;
	*ret = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind", res->kind, "metadata",
					 "name", name, "namespace", ns, "uid", "u-1", "resourceVersion", "1", "data", "key", "c2VjcmV0");
	return 0;
}

// Takes object.
static void put(const struct kube_resource *res, json_t *object)
{
	for (size_t k = 0; k < fakes.n; k++) {
		struct kube_informer *i = fakes.v[k];
		if (i->config.resource != res || (i->ns != NULL && strcmp(i->ns, kube_namespace(object)) != 0))
			continue;
		json_t *trimmed = i->config.trim(json_deep_copy(object));
		json_t *old = kube_store_put(i->store, json_incref(trimmed));
		json_decref(old);
		CLEANUP_FREE char *key = kube_key(kube_namespace(trimmed), kube_name(trimmed));
		i->config.changed(i->config.ctx, key, NULL, trimmed);
		json_decref(trimmed);
	}
	json_decref(object);
}

static void take_out(const struct kube_resource *res, const char *ns, const char *name)
{
	for (size_t k = 0; k < fakes.n; k++) {
		struct kube_informer *i = fakes.v[k];
		CLEANUP_FREE char *key = kube_key(ns, name);
		json_auto_t *old = i->config.resource == res ? kube_store_remove(i->store, key) : NULL;
		if (old != NULL)
			i->config.changed(i->config.ctx, key, old, NULL);
	}
}

// ---- A view

static struct fake_clock now;
static struct clock clock_of_test;
static struct view *view;
static unsigned listings;

static void on_changed(void *ctx, const struct kube_resource *res, const json_t *object, bool gone)
{
	(void)ctx;
	(void)res;
	(void)object;
	(void)gone;
}

static void on_listed(void *ctx, const char *ns)
{
	(void)ctx;
	(void)ns;
	listings++;
}

static void set_up(void)
{
	clock_of_test = fake_clock(&now);
	fakes.gets = 0;
	fakes.removed = NULL;
	fakes.served = 0;
	// Neither is looked into.
	const struct view_config config = {.client = (struct kube_client *)&fakes,
									   .informers = (struct kube_informers *)&fakes,
									   .clock = &clock_of_test,
									   .changed = on_changed,
									   .listed = on_listed};
	view = view_start(&config);
}

static void tear_down(void)
{
	view_stop(view);
	assert_int_equal(fakes.n, 0);
}

static json_t *named(const struct kube_resource *res, const char *ns, const char *name, const char *version)
{
	return json_pack("{s:s, s:{s:s, s:s, s:s, s:s, s:{s:s, s:s}}}", "kind", res->kind, "metadata", "name", name,
					 "namespace", ns, "uid", "u-1", "resourceVersion", version, "annotations", "other", "large",
					 NAME_GROUP "/applied", "a");
}

// ---- Stop

static void *ask_for_all(void *arg)
{
	(void)arg;
	json_decref(view_list(view, &KUBE_TRUSTEE_CONFIGS, "a"));
	json_decref(view_same_instance(view, "a", ""));
	json_decref(view_pods(view, "a", "k"));
	json_decref(view_get(view, &KUBE_SERVICES, "a", "k"));
	return NULL;
}

// As another informer's handler may, that nobody has removed yet.
static void ask_from_another_thread(void)
{
	pthread_t thread;
	thread_start(&thread, "handler", ask_for_all, NULL);
	(void)pthread_join(thread, NULL);
}

static void test_stop(void **state)
{
	(void)state;
	struct error err;
	set_up();
	put(&KUBE_TRUSTEE_CONFIGS, named(&KUBE_TRUSTEE_CONFIGS, "a", "t", "1"));
	assert_int_equal(view_use(view, "user", "a", NULL, &err), 0);
	fakes.removed = ask_from_another_thread;
	tear_down();
}

// ---- Shares

static json_t *some_names(size_t n)
{
	json_t *names = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(names, json_sprintf("config-%zu", i));
	return names;
}

// One namespace can't take what others need, and what it gives up is there for it again.
static void test_share(void **state)
{
	(void)state;
	struct error err;
	set_up();
	json_auto_t *most = some_names(VIEW_CONFIG_MAPS_MAX);
	json_auto_t *too_many = some_names(VIEW_CONFIG_MAPS_MAX + 1);
	json_auto_t *one = json_pack("[s]", "another");
	assert_int_equal(view_use(view, "trustees/a/t", "a", too_many, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "namespace \"a\""));
	assert_int_equal(view_use(view, "trustees/a/t", "a", most, &err), 0);
	assert_int_equal(view_use(view, "trustees/a/u", "a", one, &err), -ENOSPC);
	assert_int_equal(view_use(view, "trustees/a/v", "a", most, &err), 0);
	assert_int_equal(view_use(view, "trustees/b/t", "b", most, &err), 0);
	view_forget(view, "trustees/a/t");
	view_forget(view, "trustees/a/v");
	assert_int_equal(view_use(view, "trustees/a/u", "a", one, &err), 0);
	tear_down();
}

// ---- What is kept

static void test_annotations(void **state)
{
	(void)state;
	static const struct kube_resource *const both[] = {&KUBE_SECRETS, &KUBE_CONFIG_MAPS};
	struct error err;
	set_up();
	assert_int_equal(view_use(view, "user", "a", NULL, &err), 0);
	for (size_t i = 0; i < COUNT(both); i++) {
		put(both[i], named(both[i], "a", "s", "1"));
		json_auto_t *kept = view_get(view, both[i], "a", "s");
		assert_null(kube_annotation(kept, "other"));
		assert_string_equal(kube_annotation(kept, NAME_GROUP "/applied"), "a");
	}
	tear_down();
}

static void digest_once(unsigned gets)
{
	struct error err;
	json_t *digested = NULL;
	assert_int_equal(view_digest(view, &KUBE_SECRETS, "a", "s", &digested, &err), 0);
	assert_non_null(digested);
	json_decref(digested);
	assert_int_equal(fakes.gets, gets);
}

// Else what was remembered of namespaces that come and go would add up. Seen by the reads: of the same uid and version there
// would be none.
static void test_forgotten_secrets(void **state)
{
	(void)state;
	struct error err;
	set_up();
	assert_int_equal(view_use(view, "user", "a", NULL, &err), 0);
	put(&KUBE_SECRETS, named(&KUBE_SECRETS, "a", "s", "1"));
	digest_once(1);
	digest_once(1);
	take_out(&KUBE_SECRETS, "a", "s");
	put(&KUBE_SECRETS, named(&KUBE_SECRETS, "a", "s", "1"));
	digest_once(2);
	view_forget(view, "user");
	assert_int_equal(view_use(view, "user", "a", NULL, &err), 0);
	put(&KUBE_SECRETS, named(&KUBE_SECRETS, "a", "s", "1"));
	digest_once(3);
	tear_down();
}

// ---- Kinds that a cluster may lack

// Else Routes went whenever an API server that has just started knows no Routes yet.
static void test_look_around(void **state)
{
	static const struct look {
		int served;
		bool counts, news;
	} looks[] = {{0, false, false}, {1, true, true}, {1, true, false}, {0, true, false}};
	(void)state;
	struct error err;
	set_up();
	for (size_t i = 0; i < COUNT(looks); i++) {
		struct trustee_world world = {0};
		bool news = false;
		fakes.served = looks[i].served;
		assert_int_equal(view_look_around(view, &world, &news, &err), 0);
		assert_int_equal(world.served.route, looks[i].counts);
		assert_int_equal(news, looks[i].news);
	}
	tear_down();
}

// ---- Lists

// A list of all that there is was begun now, and told.
static void list(const struct kube_resource *res, const char *ns)
{
	for (size_t k = 0; k < fakes.n; k++) {
		const struct kube_informer *i = fakes.v[k];
		bool same = ns == NULL || i->ns == NULL ? ns == i->ns : strcmp(i->ns, ns) == 0;
		if (i->config.resource == res && same)
			i->config.listed(i->config.ctx, now.mono);
	}
}

static bool is_there(const struct kube_resource *res, const char *ns)
{
	json_auto_t *found = view_get(view, res, ns, "s");
	return found != NULL;
}

// What was written before a list and isn't in it is no more; what is written while it goes on may come after it.
static void test_listed(void **state)
{
	(void)state;
	struct error err;
	set_up();
	assert_int_equal(view_use(view, "user", "a", NULL, &err), 0);
	assert_int_equal(view_use(view, "another", "b", NULL, &err), 0);
	listings = 0;
	json_auto_t *secret = named(&KUBE_SECRETS, "a", "s", "1");
	json_auto_t *service = named(&KUBE_SERVICES, "a", "s", "1");
	view_wrote(view, &KUBE_SECRETS, "a", "s", NULL, NULL, secret);
	view_wrote(view, &KUBE_SERVICES, "a", "s", NULL, NULL, service);
	list(&KUBE_SECRETS, "a");
	assert_true(is_there(&KUBE_SECRETS, "a"));
	fake_clock_pass(&now, 1);
	list(&KUBE_SECRETS, "b");
	assert_true(is_there(&KUBE_SECRETS, "a"));
	list(&KUBE_SECRETS, "a");
	assert_false(is_there(&KUBE_SECRETS, "a"));
	assert_true(is_there(&KUBE_SERVICES, "a"));
	list(&KUBE_SERVICES, NULL);
	assert_false(is_there(&KUBE_SERVICES, "a"));
	assert_int_equal(listings, 4);
	tear_down();
}

// ---- Rivals

static json_t *own(const struct kube_resource *res, const char *name, const char *instance)
{
	json_t *object = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s*}}", "apiVersion", "v1", "kind", res->kind,
							   "metadata", "name", name, "namespace", "a", "resourceVersion", "1", "creationTimestamp",
							   "2026-01-01T00:00:00Z", "spec", "instanceName", instance);
	assert_non_null(object);
	return object;
}

static void test_same_instance(void **state)
{
	(void)state;
	set_up();
	put(&KUBE_TRUSTEE_CONFIGS, own(&KUBE_TRUSTEE_CONFIGS, "t", NULL));
	put(&KUBE_KBS_CONFIGS, own(&KUBE_KBS_CONFIGS, "k", "two"));
	json_auto_t *plain = view_same_instance(view, "a", "");
	json_auto_t *two = view_same_instance(view, "a", "two");
	assert_int_equal(json_array_size(plain), 1);
	assert_int_equal(json_array_size(two), 1);
	const json_t *k = json_array_get(two, 0);
	assert_string_equal(kube_name(k), "k");
	assert_string_equal(json_string_value(json_object_get(k, "kind")), "KbsConfig");
	assert_string_equal(trustee_instance(k), "two");
	assert_non_null(json_object_get(json_object_get(k, "metadata"), "creationTimestamp"));
	tear_down();
}

int main(void)
{
	static struct tests t;
	tests_add(&t, "handlers go on while it stops", test_stop, NULL);
	tests_add(&t, "each namespace has its share", test_share, NULL);
	tests_add(&t, "others' annotations aren't kept", test_annotations, NULL);
	tests_add(&t, "Secrets that went are forgotten", test_forgotten_secrets, NULL);
	tests_add(&t, "a kind that was there once", test_look_around, NULL);
	tests_add(&t, "a list tells what is no more", test_listed, NULL);
	tests_add(&t, "who has the same instanceName", test_same_instance, NULL);
	return tests_run("view", &t);
}
