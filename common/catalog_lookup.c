#include "common/catalog_lookup.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/names.h"

struct lookup {
	struct kube_client *client;
	const char *system_ns;
	int64_t deadline_ms;
	json_t *objects;
	struct error *err;
	int rc; // the first failure; nothing is asked for after it
};

// The object, borrowed from l->objects; NULL where there is none, or after a failure.
static json_t *ask(struct lookup *l, const struct kube_resource *res, const char *ns, const char *name)
{
	int64_t left = l->deadline_ms - clock_mono_ms(&clock_real);
	if (l->rc < 0)
		return NULL;
	if (left <= 0) {
		l->rc = error_set(l->err, ETIMEDOUT, "the API server took more than %d ms", CATALOG_LOOKUP_MS);
		return NULL;
	}
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(res, ns, name, NULL, &path);
	const struct kube_request request = {.method = "GET", .path = buf_z(&path), .timeout_ms = (int)left};
	CLEANUP_KUBE_RESPONSE
	struct kube_response response = {0};
	int rc = kube_do(l->client, &request, &response, l->err);
	if (rc == -ENOENT)
		return NULL;
	if (rc < 0) {
		l->rc = rc;
		return NULL;
	}
	json_t *object = response.body;
	(void)json_array_append(l->objects, object);
	return object;
}

static void ask_config_map(void *ctx, const char *ns, const char *name)
{
	(void)ask(ctx, &KUBE_CONFIG_MAPS, ns, name);
}

static void ask_profile(struct lookup *l, const char *ns, const char *name)
{
	json_t *profile = ask(l, &KUBE_CONFIDENTIAL_PROFILES, ns, name);
	if (profile == NULL)
		profile = ask(l, &KUBE_CONFIDENTIAL_PROFILES, l->system_ns, name);
	if (profile != NULL)
		profile_config_maps(profile, l->system_ns, ask_config_map, l);
}

static void no_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	// The catalog remembers why a profile can't be used, and the pod's author is told that.
	(void)ctx;
	(void)origin;
	(void)key;
	(void)message;
}

static struct catalog *catalog_of(const json_t *objects, const char *system_ns, const struct catalog *base)
{
	size_t n = json_array_size(objects);
	CLEANUP_FREE
	struct catalog_document *docs = xcalloc(n + 1, sizeof(*docs));
	char origin[] = "API server";
	for (size_t i = 0; i < n; i++)
		docs[i] = (struct catalog_document){.object = json_array_get(objects, i), .origin = origin};
	return catalog_build(docs, n, system_ns, base, no_problem, NULL);
}

int catalog_lookup(struct kube_client *client, const struct catalog *base, struct str ns, struct str profile,
				   struct catalog **ret, struct error *err)
{
	struct lookup l = {
		.client = client,
		.system_ns = catalog_system_namespace(base),
		.deadline_ms = clock_mono_ms(&clock_real) + CATALOG_LOOKUP_MS,
		.objects = json_array(),
		.err = err,
	};
	CLEANUP_FREE
	char *pod_ns = xstrndup(ns);
	const json_t *namespace = ask(&l, &KUBE_NAMESPACES, NULL, pod_ns);
	const char *by_namespace = kube_annotation(namespace, ANNOTATION_DEFAULT_PROFILE);
	CLEANUP_FREE
	char *name = profile.p != NULL ? xstrndup(profile) : xstrdup(by_namespace != NULL ? by_namespace : DEFAULT_PROFILE);
	// A name that can't be one is in no URL, and in no cluster.
	if (is_object_name(name))
		ask_profile(&l, pod_ns, name);
	if (l.rc == 0)
		*ret = catalog_of(l.objects, l.system_ns, base);
	json_decref(l.objects);
	return l.rc;
}
