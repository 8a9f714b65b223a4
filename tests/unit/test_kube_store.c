#include <pthread.h>
#include <stdatomic.h>

#include "cases.h"
#include "common/buf.h"
#include "common/kube/resource.h"
#include "common/kube/store.h"
#include "common/mem.h"

#define TEXT_MAX ((size_t)1024 * 1024)

static void index_color(const json_t *object, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx)
{
	const char *color = kube_label(object, "color");
	if (color != NULL)
		emit(emit_ctx, color);
}

static const struct kube_index INDEXES[] = {{"owner", kube_index_owners}, {"color", index_color}};

// New. owners: uids, one a letter.
static json_t *object_of(const char *ns, const char *name, const char *version, const char *color, const char *owners)
{
	json_t *references = json_array();
	for (const char *o = owners; *o != '\0'; o++)
		json_array_append_new(references, json_pack("{s:s%}", "uid", o, (size_t)1));
	json_t *object = json_pack("{s:{s:s*, s:s, s:s, s:{s:s*}, s:o}}", "metadata", "namespace", ns, "name", name,
							   "resourceVersion", version, "labels", "color", color, "ownerReferences", references);
	assert_non_null(object);
	return object;
}

// ---- Steps, and what is in the store then

struct step {
	char verb; // 'p'ut, 'r'emove, 0 for the end
	const char *ns, *name, *version, *color, *owners;
	const char *old; // the version that was there; NULL: none
};

struct store_case {
	const char *name;
	struct step v[8];
	const char *want;    // "key=version ..."
	const char *red;     // by color
	const char *owner_a; // by owner
};

static struct store_case store_cases[] = {
	{"store: empty", {{0}}, "", "", ""},
	{"store: one", {{'p', "s", "n", "1", NULL, "", NULL}, {0}}, "s/n=1", "", ""},
	{"store: of the cluster", {{'p', NULL, "n", "1", NULL, "", NULL}, {0}}, "n=1", "", ""},
	{"store: sorted by key",
	 {{'p', "b", "a", "1", NULL, "", NULL},
	  {'p', "a", "c", "2", NULL, "", NULL},
	  {'p', "a-b", "a", "3", NULL, "", NULL},
	  {'p', "a", "b", "4", NULL, "", NULL},
	  {0}},
	 "a-b/a=3 a/b=4 a/c=2 b/a=1",
	 "",
	 ""},
	{"store: the same name elsewhere",
	 {{'p', "a", "n", "1", NULL, "", NULL}, {'p', "b", "n", "2", NULL, "", NULL}, {0}},
	 "a/n=1 b/n=2",
	 "",
	 ""},
	{"store: in place of another",
	 {{'p', "s", "n", "1", NULL, "", NULL}, {'p', "s", "n", "2", NULL, "", "1"}, {0}},
	 "s/n=2",
	 "",
	 ""},
	{"store: removed",
	 {{'p', "s", "n", "1", NULL, "", NULL},
	  {'p', "s", "m", "2", NULL, "", NULL},
	  {'r', "s", "n", NULL, NULL, NULL, "1"},
	  {0}},
	 "s/m=2",
	 "",
	 ""},
	{"store: removed twice",
	 {{'p', "s", "n", "1", NULL, "", NULL},
	  {'r', "s", "n", NULL, NULL, NULL, "1"},
	  {'r', "s", "n", NULL, NULL, NULL, NULL},
	  {0}},
	 "",
	 "",
	 ""},
	{"store: remove what was never there", {{'r', "s", "n", NULL, NULL, NULL, NULL}, {0}}, "", "", ""},
	{"index: by value",
	 {{'p', "s", "n", "1", "red", "a", NULL},
	  {'p', "s", "m", "2", "blue", "b", NULL},
	  {'p', "s", "l", "3", "red", "", NULL},
	  {0}},
	 "s/l=3 s/m=2 s/n=1",
	 "s/l=3 s/n=1",
	 "s/n=1"},
	{"index: several values", {{'p', "s", "n", "1", NULL, "bac", NULL}, {0}}, "s/n=1", "", "s/n=1"},
	{"index: the same value twice", {{'p', "s", "n", "1", NULL, "aa", NULL}, {0}}, "s/n=1", "", "s/n=1"},
	{"index: the same value twice, removed",
	 {{'p', "s", "n", "1", NULL, "aa", NULL}, {'r', "s", "n", NULL, NULL, NULL, "1"}, {0}},
	 "",
	 "",
	 ""},
	{"index: the value changes",
	 {{'p', "s", "n", "1", "red", "a", NULL}, {'p', "s", "n", "2", "blue", "b", "1"}, {0}},
	 "s/n=2",
	 "",
	 ""},
	{"index: the value comes",
	 {{'p', "s", "n", "1", NULL, "", NULL}, {'p', "s", "n", "2", "red", "a", "1"}, {0}},
	 "s/n=2",
	 "s/n=2",
	 "s/n=2"},
	{"index: the value stays",
	 {{'p', "s", "n", "1", "red", "a", NULL}, {'p', "s", "n", "2", "red", "a", "1"}, {0}},
	 "s/n=2",
	 "s/n=2",
	 "s/n=2"},
	{"index: removed",
	 {{'p', "s", "n", "1", "red", "a", NULL},
	  {'p', "s", "m", "2", "red", "a", NULL},
	  {'r', "s", "n", NULL, NULL, NULL, "1"},
	  {0}},
	 "s/m=2",
	 "s/m=2",
	 "s/m=2"},
	{"index: a value of another index", {{'p', "s", "n", "1", "a", "", NULL}, {0}}, "s/n=1", "", ""},
};

// Takes the array.
static void assert_objects(json_t *objects, const char *want)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	for (size_t i = 0; i < json_array_size(objects); i++) {
		const json_t *o = json_array_get(objects, i);
		CLEANUP_FREE
		char *key = kube_key(kube_namespace(o), kube_name(o));
		buf_addf(&got, "%s%s=%s", i > 0 ? " " : "", key, kube_resource_version(o));
	}
	json_decref(objects);
	assert_text(buf_z(&got), want);
}

static void take_step(struct kube_store *s, const struct step *step)
{
	json_t *old;
	if (step->verb == 'p') {
		old = kube_store_put(s, object_of(step->ns, step->name, step->version, step->color, step->owners));
	} else {
		CLEANUP_FREE
		char *key = kube_key(step->ns, step->name);
		old = kube_store_remove(s, key);
	}
	assert_text(old != NULL ? kube_resource_version(old) : NULL, step->old);
	json_decref(old);
}

static void test_store(void **state)
{
	const struct store_case *c = *state;
	struct kube_store *s = kube_store_new(INDEXES, COUNT(INDEXES));
	for (const struct step *step = c->v; step->verb != 0; step++)
		take_step(s, step);
	json_t *list = kube_store_list(s);
	json_t *keys = kube_store_keys(s);
	assert_int_equal(kube_store_size(s), json_array_size(list));
	assert_int_equal(json_array_size(keys), json_array_size(list));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		CLEANUP_FREE
		char *key = kube_key(kube_namespace(o), kube_name(o));
		assert_text(json_string_value(json_array_get(keys, i)), key);
		json_t *got = kube_store_get(s, kube_namespace(o), kube_name(o));
		assert_ptr_equal(got, o);
		json_decref(got);
	}
	json_decref(keys);
	assert_objects(list, c->want);
	assert_objects(kube_store_by_index(s, "color", "red"), c->red);
	assert_objects(kube_store_by_index(s, "owner", "a"), c->owner_a);
	assert_objects(kube_store_by_index(s, "no such index", "a"), "");
	assert_null(kube_store_get(s, "s", "absent"));
	assert_null(kube_store_get(s, NULL, "absent"));
	kube_store_free(s);
}

static void test_snapshot(void **state)
{
	(void)state;
	struct kube_store *s = kube_store_new(NULL, 0);
	assert_null(kube_store_put(s, object_of("s", "n", "1", NULL, "")));
	json_t *list = kube_store_list(s);
	json_t *got = kube_store_get(s, "s", "n");
	json_decref(kube_store_put(s, object_of("s", "n", "2", NULL, "")));
	json_decref(kube_store_remove(s, "s/n"));
	kube_store_free(s);
	// What was handed out stays as it was.
	assert_text(kube_resource_version(got), "1");
	json_decref(got);
	assert_objects(list, "s/n=1");
}

static void test_many(void **state)
{
	(void)state;
	struct kube_store *s = kube_store_new(INDEXES, COUNT(INDEXES));
	char name[16];
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "n%04d", i * 7919 % 3000);
		json_decref(kube_store_put(s, object_of("s", name, "1", i % 3 == 0 ? "red" : "blue", "a")));
	}
	assert_int_equal(kube_store_size(s), 3000);
	json_t *red = kube_store_by_index(s, "color", "red");
	assert_int_equal(json_array_size(red), 1000);
	json_decref(red);
	json_t *list = kube_store_list(s);
	for (size_t i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "n%04zu", i);
		assert_text(kube_name(json_array_get(list, i)), name);
	}
	json_decref(list);
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "s/n%04d", i);
		json_decref(kube_store_remove(s, name));
	}
	assert_int_equal(kube_store_size(s), 0);
	assert_objects(kube_store_by_index(s, "owner", "a"), "");
	kube_store_free(s);
}

// ---- Threads: for the sanitizers, and for what must hold at any moment

#define ROUNDS 2000
#define NAMES 16

struct shared {
	struct kube_store *store;
	atomic_bool stop;
};

static void *write_objects(void *ctx)
{
	struct shared *sh = ctx;
	char name[16];
	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(name, sizeof(name), "s/n%d", i * 7 % NAMES);
		json_t *old = i % 5 == 0
						  ? kube_store_remove(sh->store, name)
						  : kube_store_put(sh->store, object_of("s", name + 2, "1", i % 2 == 0 ? "red" : "blue", "ab"));
		json_decref(old);
	}
	return NULL;
}

// Counts what can't be. Always goes round once.
static void *read_objects(void *ctx)
{
	struct shared *sh = ctx;
	uintptr_t wrong = 0;
	do {
		json_t *list = kube_store_list(sh->store);
		json_t *red = kube_store_by_index(sh->store, "color", "red");
		for (size_t i = 0; i < json_array_size(red); i++)
			if (strcmp(kube_label(json_array_get(red, i), "color"), "red") != 0)
				wrong++;
		if (json_array_size(list) > NAMES || kube_store_size(sh->store) > NAMES)
			wrong++;
		json_t *one = kube_store_get(sh->store, "s", "n3");
		if (one != NULL && strcmp(kube_name(one), "n3") != 0)
			wrong++;
		json_decref(one);
		json_decref(red);
		json_decref(list);
	} while (!atomic_load(&sh->stop));
	return (void *)wrong;
}

static void test_threads(void **state)
{
	(void)state;
	struct shared sh = {.store = kube_store_new(INDEXES, COUNT(INDEXES))};
	pthread_t writers[2];
	pthread_t readers[2];
	for (size_t i = 0; i < COUNT(readers); i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_objects, &sh), 0);
	for (size_t i = 0; i < COUNT(writers); i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_objects, &sh), 0);
	for (size_t i = 0; i < COUNT(writers); i++)
		assert_int_equal(pthread_join(writers[i], NULL), 0);
	atomic_store(&sh.stop, true);
	for (size_t i = 0; i < COUNT(readers); i++) {
		void *wrong;
		assert_int_equal(pthread_join(readers[i], &wrong), 0);
		assert_null(wrong);
	}
	kube_store_free(sh.store);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, store_cases, test_store);
	tests_add(&t, "store: what was handed out stays", test_snapshot, NULL);
	tests_add(&t, "store: many", test_many, NULL);
	tests_add(&t, "store: threads", test_threads, NULL);
	return tests_run("kube_store", &t);
}
