#include "controller/profiles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/profile_status.h"

// What the API server refuses may be granted later, such as a right, without anything that we would hear of.
#define REFUSED_AGAIN_MS 300000

void profiles_look_at_all(struct profiles *p)
{
	json_t *keys = kube_store_keys(p->objects);
	for (size_t i = 0; i < json_array_size(keys); i++)
		workqueue_add(p->queue, json_string_value(json_array_get(keys, i)));
	json_decref(keys);
}

static const json_t *ready_condition(const json_t *status)
{
	size_t i = 0;
	const json_t *condition = NULL;
	json_array_foreach (json_object_get(status, "conditions"), i, condition) {
		const char *type = json_string_value(json_object_get(condition, "type"));
		if (type != NULL && strcmp(type, "Ready") == 0)
			return condition;
	}
	return NULL;
}

static const char *text(const json_t *object, const char *key)
{
	const char *z = json_string_value(json_object_get(object, key));
	return z != NULL ? z : "";
}

// Says what has changed for those who use the profile; a digest alone is in the status.
static void tell(const struct profiles *p, const json_t *object, const json_t *status)
{
	const json_t *before = ready_condition(json_object_get(object, "status"));
	const json_t *now = ready_condition(status);
	if (before != NULL && strcmp(text(before, "status"), text(now, "status")) == 0 &&
		strcmp(text(before, "message"), text(now, "message")) == 0)
		return;
	bool ready = strcmp(text(now, "status"), "True") == 0;
	kube_event(p->events, object, ready ? EVENT_NORMAL : EVENT_WARNING, text(now, "reason"), "Compile",
			   text(now, "message"));
}

static int write_status(const struct profiles *p, const json_t *object, const json_t *status, struct error *err)
{
	json_t *patch = json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", text(object, "apiVersion"), "kind",
							  text(object, "kind"), "metadata", "name", kube_name(object), "namespace",
							  kube_namespace(object), "status", status);
	if (patch == NULL)
		return error_set(err, EINVAL, "the status of ConfidentialProfile %s/%s is no text", kube_namespace(object),
						 kube_name(object));
	int rc = kube_apply(p->client, &KUBE_CONFIDENTIAL_PROFILES, kube_namespace(object), "status", patch,
						PROFILES_FIELD_MANAGER, true, NULL, err);
	json_decref(patch);
	// It was deleted meanwhile.
	return rc == -ENOENT ? 0 : rc;
}

static int reconcile(const struct profiles *p, const struct catalog *catalog, const json_t *object, struct error *err)
{
	const struct catalog_profile *entry =
		catalog_profile(catalog, str_from(kube_namespace(object)), str_from(kube_name(object)));
	// It came, or went, after the catalog was built, or isn't read whole yet: a later one brings it here again.
	if (entry == NULL || entry->problem_code == EAGAIN)
		return 0;
	char now[CLOCK_TEXT_MAX];
	clock_text(clock_wall_ms(&clock_real) * 1000, 0, now);
	json_t *status = profile_status(entry, object, now);
	if (status == NULL)
		return 0;
	int rc = write_status(p, object, status, err);
	if (rc == 0)
		tell(p, object, status);
	json_decref(status);
	return rc;
}

int profiles_reconcile(void *ctx, const char *key, struct reconcile_result *ret, struct error *err)
{
	const struct profiles *p = ctx;
	char *ns = NULL;
	char *name = NULL;
	kube_key_split(key, &ns, &name);
	json_t *object = kube_store_get(p->objects, ns, name);
	struct catalog *catalog = catalog_store_get(p->catalog);
	int rc = object != NULL && catalog != NULL ? reconcile(p, catalog, object, err) : 0;
	if (rc < 0)
		ret->again_ms = REFUSED_AGAIN_MS;
	catalog_unref(catalog);
	json_decref(object);
	free(ns);
	free(name);
	return rc;
}
