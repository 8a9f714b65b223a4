#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "common/kube/watch.h"
#include "controller/recent.h"
#include "fake_clock.h"

// What the store has, and what is believed then, after a write where it had version 1 and the answer was version 2.
struct recent_case {
	const char *name;
	const char *before; // NULL: the store had nothing
	const char *answer; // NULL: it was deleted
	const char *stored;
	int64_t later_ms;
	bool gone; // an event told that it was deleted
	const char *believed;
};

static struct recent_case cases[] = {
	{"the store lags behind a change", "1", "2", "1", 0, false, "2"},
	{"the store lags behind a creation", NULL, "2", NULL, 0, false, "2"},
	{"the store lags behind a deletion", "1", NULL, "1", 0, false, NULL},
	{"the store has caught up", "1", "2", "2", 0, false, "2"},
	{"others have written since", "1", "2", "3", 0, false, "3"},
	{"others have deleted it since", "1", "2", NULL, 0, false, NULL},
	{"others have deleted what was new to the store", NULL, "2", NULL, 0, true, NULL},
	{"made anew after a deletion", "1", NULL, "3", 0, false, "3"},
	{"while a stream is silent that is dead", "1", "2", "1", (int64_t)2 * KUBE_WATCH_PLAIN_SILENT_MS, false, "2"},
	{"just in time", "1", "2", "1", RECENT_MS, false, "2"},
	{"not believed for ever", "1", "2", "1", RECENT_MS + 1, false, "1"},
};

static json_t *at_version(const char *version)
{
	return version != NULL ? json_pack("{s:{s:s}}", "metadata", "resourceVersion", version) : NULL;
}

static json_t *stored_version(void *ctx, const struct kube_resource *res, const char *ns, const char *name)
{
	(void)res;
	(void)ns;
	(void)name;
	return at_version(ctx);
}

// At a time that doesn't pass.
static struct recent *start(void)
{
	static struct fake_clock time;
	static struct clock clock;
	clock = fake_clock(&time);
	return recent_new(&clock);
}

// With this version in the store.
static json_t *get(struct recent *r, const struct kube_resource *res, const char *version)
{
	return recent_get(r, res, "ns", "name", stored_version, (void *)(uintptr_t)version);
}

static void test_get(void **state)
{
	const struct recent_case *c = *state;
	struct fake_clock time = {.mono = 5};
	struct clock clock = fake_clock(&time);
	struct recent *r = recent_new(&clock);
	json_auto_t *answer = at_version(c->answer);
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", c->before, answer);
	fake_clock_pass(&time, c->later_ms);
	if (c->gone)
		recent_heard(r, &KUBE_SECRETS, "ns", "name", NULL);
	json_auto_t *got = get(r, &KUBE_SECRETS, c->stored);
	assert_text(got != NULL ? kube_resource_version(got) : NULL, c->believed);
	// It concerns no other object.
	json_auto_t *other = get(r, &KUBE_CONFIG_MAPS, NULL);
	assert_null(other);
	recent_free(r);
}

static void test_heard(void **state)
{
	(void)state;
	struct recent *r = start();
	json_auto_t *older = at_version("1");
	json_auto_t *written = at_version("2");
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", NULL, written);
	recent_heard(r, &KUBE_SECRETS, "ns", "name", older);
	json_auto_t *still = get(r, &KUBE_SECRETS, NULL);
	assert_non_null(still);
	recent_heard(r, &KUBE_SECRETS, "ns", "name", written);
	json_auto_t *forgotten = get(r, &KUBE_SECRETS, NULL);
	assert_null(forgotten);
	recent_free(r);
}

// Two writes in a row, from version 1 over 2 and 3 (which the second passed on its way) to 4.
struct row_case {
	const char *name;
	const char *stored;
	const char *believed;
};

static struct row_case rows[] = {
	{"of two writes in a row, the store has heard of none", "1", "4"},
	{"of two writes in a row, the store has heard of the first", "2", "4"},
	{"of two writes in a row, the store has heard of what the second passed", "3", "4"},
	{"of two writes in a row, the store has heard of both", "4", "4"},
	{"others have written since two writes in a row", "5", "5"},
};

static void test_row(void **state)
{
	const struct row_case *c = *state;
	struct recent *r = start();
	json_auto_t *first = at_version("2");
	json_auto_t *second = at_version("4");
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", "1", first);
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", "2", second);
	recent_passed(r, &KUBE_SECRETS, "ns", "name", "3");
	recent_passed(r, &KUBE_SECRETS, "ns", "nobody", "5");
	json_auto_t *got = get(r, &KUBE_SECRETS, c->stored);
	assert_text(kube_resource_version(got), c->believed);
	recent_free(r);
}

// After more writes in a row than are remembered, a store that has heard of none of them, as with a dead stream, is still known
// to lag behind.
static void test_long_row(void **state)
{
	(void)state;
	struct recent *r = start();
	for (int version = 1; version <= RECENT_WRITES_MAX + 2; version++) {
		char before[16];
		char after[16];
		(void)snprintf(before, sizeof(before), "%d", version - 1);
		(void)snprintf(after, sizeof(after), "%d", version);
		json_auto_t *object = at_version(after);
		recent_wrote(r, &KUBE_SECRETS, "ns", "name", before, object);
	}
	json_auto_t *got = get(r, &KUBE_SECRETS, "0");
	assert_string_not_equal(kube_resource_version(got), "0");
	recent_free(r);
}

// A write of what others have changed meanwhile says nothing of what was before that.
static void test_not_in_a_row(void **state)
{
	(void)state;
	struct recent *r = start();
	json_auto_t *first = at_version("2");
	json_auto_t *second = at_version("4");
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", "1", first);
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", "3", second);
	json_auto_t *got = get(r, &KUBE_SECRETS, "1");
	assert_text(kube_resource_version(got), "1");
	recent_free(r);
}

// The events of its creation and of its end by another hand come before the answer to the creation: nothing else would tell.
static void test_gone_before_answer(void **state)
{
	(void)state;
	struct recent *r = start();
	json_auto_t *first = at_version("2");
	json_auto_t *second = at_version("4");
	json_auto_t *before = get(r, &KUBE_SECRETS, NULL);
	assert_null(before);
	recent_heard(r, &KUBE_SECRETS, "ns", "name", first);
	recent_heard(r, &KUBE_SECRETS, "ns", "name", NULL);
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", NULL, first);
	json_auto_t *gone = get(r, &KUBE_SECRETS, NULL);
	assert_null(gone);
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", NULL, second);
	json_auto_t *made = get(r, &KUBE_SECRETS, NULL);
	assert_text(kube_resource_version(made), "4");
	recent_free(r);
}

// ---- Events come while objects are read

#define WRITES 1000

struct story {
	struct recent *recent;
	atomic_int written, stored;
};

static json_t *numbered(int version)
{
	char text[16];
	(void)snprintf(text, sizeof(text), "%d", version);
	return at_version(text);
}

static json_t *stored_in_story(void *ctx, const struct kube_resource *res, const char *ns, const char *name)
{
	struct story *s = ctx;
	(void)res;
	(void)ns;
	(void)name;
	return numbered(atomic_load(&s->stored));
}

// As an informer does: the store first.
static void *tell(void *ctx)
{
	struct story *s = ctx;
	for (int version = 1; version < WRITES; version++) {
		while (atomic_load(&s->written) < version)
			(void)sched_yield();
		json_auto_t *object = numbered(version);
		atomic_store(&s->stored, version);
		(void)recent_heard(s->recent, &KUBE_SECRETS, "ns", "name", object);
	}
	return NULL;
}

static void test_own_writes_are_seen(void **state)
{
	(void)state;
	struct story s = {.recent = start()};
	pthread_t teller;
	assert_int_equal(pthread_create(&teller, NULL, tell, &s), 0);
	int missed = 0;
	for (int version = 1; version < WRITES; version++) {
		char before[16];
		(void)snprintf(before, sizeof(before), "%d", version - 1);
		json_auto_t *object = numbered(version);
		recent_wrote(s.recent, &KUBE_SECRETS, "ns", "name", before, object);
		atomic_store(&s.written, version);
		while (atomic_load(&s.stored) < version) {
			json_auto_t *got = recent_get(s.recent, &KUBE_SECRETS, "ns", "name", stored_in_story, &s);
			missed += strcmp(kube_resource_version(got), kube_resource_version(object)) != 0;
		}
	}
	(void)pthread_join(teller, NULL);
	assert_int_equal(missed, 0);
	recent_free(s.recent);
}

static void count(void *ctx, const char *name, const json_t *object)
{
	(void)object;
	assert_string_equal(name, "name");
	*(int *)ctx += 1;
}

static void test_each(void **state)
{
	(void)state;
	struct recent *r = start();
	json_auto_t *object = at_version("1");
	recent_wrote(r, &KUBE_SECRETS, "ns", "name", NULL, object);
	recent_wrote(r, &KUBE_SECRETS, "ns2", "other", NULL, object);
	recent_wrote(r, &KUBE_SECRETS, "ns", "deleted", "1", NULL);
	recent_wrote(r, &KUBE_CONFIG_MAPS, "ns", "of-another-kind", NULL, object);
	int n = 0;
	recent_each(r, &KUBE_SECRETS, "ns", count, &n);
	assert_int_equal(n, 1);
	recent_free(r);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, cases, test_get);
	ADD_TABLE(&t, rows, test_row);
	tests_add(&t, "a long row of writes", test_long_row, NULL);
	tests_add(&t, "two writes that aren't in a row", test_not_in_a_row, NULL);
	tests_add(&t, "forgotten once it was heard of", test_heard, NULL);
	tests_add(&t, "an end that was heard of before the answer", test_gone_before_answer, NULL);
	tests_add(&t, "own writes are seen while events tell of them", test_own_writes_are_seen, NULL);
	tests_add(&t, "objects of a kind and namespace", test_each, NULL);
	return tests_run("recent", &t);
}
