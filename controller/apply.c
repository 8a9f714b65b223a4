#include "controller/apply.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/secret.h"
#include "common/thread.h"
#include "controller/emptied.h"
#include "controller/rendered.h"
#include "controller/takeover.h"

#define EMPTIED_TRIES 4 // a refusal may not name all of them at once

struct lanes {
	struct kube_client *client;
	struct apply_item *v;
	size_t n;
	atomic_size_t next;
};

static void free_answer(struct apply_item *x)
{
	if (x->resource == &KUBE_SECRETS)
		secret_json_free(x->answer);
	else
		json_decref(x->answer);
	x->answer = NULL;
}

static int apply(struct kube_client *client, struct apply_item *x, const json_t *object)
{
	return kube_apply(client, x->resource, x->ns, NULL, object, MANAGED_BY, true, &x->answer, &x->err);
}

static json_t *without_version(const json_t *object)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)object);
	json_t *metadata = json_copy(json_object_get(copy, "metadata"));
	(void)json_object_del(metadata, "resourceVersion");
	(void)json_object_set_new(copy, "metadata", metadata);
	return copy;
}

// It took more than one write.
static void note_between(struct apply_item *x)
{
	if (x->between == NULL)
		x->between = json_array();
	(void)json_array_append_new(x->between, json_string(kube_resource_version(x->answer)));
	free_answer(x);
}

static int patch_first(struct kube_client *client, struct apply_item *x, const json_t *patch)
{
	int rc = kube_patch_merge(client, x->resource, x->ns, kube_name(x->object), NULL, patch, &x->answer, &x->err);
	if (rc < 0)
		return rc;
	note_between(x);
	json_auto_t *object = without_version(x->object);
	return apply(client, x, object);
}

// What upstream's operator had set in it is ours from now on, and goes where it isn't rendered. Before anything is applied:
// else pods would run for a moment with both what was and what is to be.
static int apply_over(struct kube_client *client, struct apply_item *x)
{
	json_auto_t *nothing = json_object();
	// It is answered with the object as it is: to read it, there need be no right.
	int rc = kube_patch_merge(client, x->resource, x->ns, kube_name(x->object), NULL, nothing, &x->answer, &x->err);
	if (rc < 0)
		return rc == -ENOENT ? apply(client, x, x->object) : rc;
	json_auto_t *patch = takeover_patch(x->answer);
	free_answer(x);
	return patch != NULL ? patch_first(client, x, patch) : apply(client, x, x->object);
}

// One that nobody has said it was upstream's.
static int take_over(struct kube_client *client, struct apply_item *x)
{
	json_auto_t *patch = takeover_patch(x->answer);
	if (patch == NULL)
		return 0;
	note_between(x);
	return patch_first(client, x, patch);
}

// Where maps that are no longer rendered were left as null, they are taken out first.
static int apply_without_emptied(struct kube_client *client, struct apply_item *x)
{
	json_auto_t *patch = emptied_patch(x->err.msg, x->object);
	return patch != NULL ? patch_first(client, x, patch) : -EINVAL;
}

static void *run_lane(void *arg)
{
	struct lanes *l = arg;
	for (size_t i = atomic_fetch_add(&l->next, 1); i < l->n; i = atomic_fetch_add(&l->next, 1)) {
		struct apply_item *x = &l->v[i];
		x->rc = x->take_over ? apply_over(l->client, x) : apply(l->client, x, x->object);
		for (int tries = 0; x->rc == -EINVAL && tries < EMPTIED_TRIES; tries++)
			x->rc = apply_without_emptied(l->client, x);
		if (x->rc == 0)
			x->rc = take_over(l->client, x);
		if (x->rc < 0)
			free_answer(x);
	}
	return NULL;
}

void apply_all(struct kube_client *client, struct apply_item *v, size_t n)
{
	struct lanes l = {.client = client, .v = v, .n = n};
	pthread_t threads[APPLY_LANES - 1];
	size_t started = 0;
	while (started < APPLY_LANES - 1 && started + 1 < n)
		thread_start(&threads[started++], "apply", run_lane, &l);
	(void)run_lane(&l);
	for (size_t i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
}
