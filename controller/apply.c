#include "controller/apply.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/thread.h"
#include "controller/rendered.h"

struct lanes {
	struct kube_client *client;
	struct apply_item *v;
	size_t n;
	atomic_size_t next;
};

static void *run_lane(void *arg)
{
	struct lanes *l = arg;
	for (size_t i = atomic_fetch_add(&l->next, 1); i < l->n; i = atomic_fetch_add(&l->next, 1)) {
		struct apply_item *x = &l->v[i];
		x->rc = kube_apply(l->client, x->resource, x->ns, NULL, x->object, MANAGED_BY, true, &x->answer, &x->err);
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
