#include "webhook/trustee_lookup.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/mem.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

// Takes over what a list holds; lists leave out the kind.
static int take_items(const json_t *list, const char *kind, json_t *all, struct error *err)
{
	const char *more = json_string_value(json_object_get(json_object_get(list, "metadata"), "continue"));
	if (more != NULL && more[0] != '\0')
		return error_set(err, E2BIG, "the namespace has more than %d of kind %s", TRUSTEE_LOOKUP_MAX, kind);
	size_t i;
	json_t *item;
	json_array_foreach (json_object_get(list, "items"), i, item)
		if (json_object_set_new(item, "kind", json_string(kind)) < 0 || json_array_append(all, item) < 0)
			return error_set(err, EBADMSG, "the API server's list of kind %s holds what is no object", kind);
	return 0;
}

static int ask(struct kube_client *client, const struct kube_resource *res, const char *ns, int64_t deadline_ms,
			   json_t *all, struct error *err)
{
	int64_t left = deadline_ms - clock_mono_ms(&clock_real);
	if (left <= 0)
		return error_set(err, ETIMEDOUT, "the API server took more than %d ms", TRUSTEE_LOOKUP_MS);
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(res, ns, NULL, NULL, &path);
	kube_path_query(&path, "limit", STRINGIFY(TRUSTEE_LOOKUP_MAX));
	const struct kube_request request = {.method = "GET", .path = buf_z(&path), .timeout_ms = (int)left};
	CLEANUP_KUBE_RESPONSE
	struct kube_response response = {0};
	int rc = kube_do(client, &request, &response, err);
	// That kind isn't installed, so there is none.
	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? rc : take_items(response.body, res->kind, all, err);
}

int trustee_lookup(struct kube_client *client, struct str ns, json_t **ret, struct error *err)
{
	int64_t deadline_ms = clock_mono_ms(&clock_real) + TRUSTEE_LOOKUP_MS;
	json_t *all = json_array();
	CLEANUP_FREE
	char *namespace = xstrndup(ns);
	int rc = kube_is_segment(namespace) ? 0 : error_set(err, EINVAL, "request.namespace is \"%s\"", namespace);
	if (rc == 0)
		rc = ask(client, &KUBE_TRUSTEE_CONFIGS, namespace, deadline_ms, all, err);
	if (rc == 0)
		rc = ask(client, &KUBE_KBS_CONFIGS, namespace, deadline_ms, all, err);
	if (rc == 0)
		*ret = json_incref(all);
	json_decref(all);
	return rc;
}
