#include "cli/render_cluster.h"

#include <errno.h>
#include <string.h>

#include "cli/after_apply.h"
#include "common/json_text.h"
#include "common/mem.h"

static const char cluster_origin[] = "the cluster";

struct reading {
	const struct kube_session *session;
	struct objects *live;
	json_t *read; // "KIND NAMESPACE" that was listed
};

static int add_page(void *ctx, const json_t *items, struct error *err)
{
	struct objects *live = ctx;
	size_t i = 0;
	const json_t *item = NULL;
	json_array_foreach (items, i, item) {
		// A list that begins anew, as its version was too old, has some of them again.
		const struct kube_resource *res = objects_kind(item);
		if (res != NULL && objects_get(live, res, kube_namespace(item), kube_name(item)) != NULL)
			continue;
		if (objects_add(live, item, cluster_origin, err) < 0)
			return -err->code;
	}
	return 0;
}

// A kind that the cluster hasn't got has no objects. ns NULL: of all namespaces.
static int list(const struct reading *r, const struct kube_resource *res, const char *ns, struct error *err)
{
	CLEANUP_FREE char *what = xasprintf("%s %s", res->kind, ns != NULL ? ns : "");
	if (json_object_get(r->read, what) != NULL)
		return 0;
	(void)json_object_set_new(r->read, what, json_true());
	int rc = kube_list(r->session->client, res, ns, NULL, add_page, NULL, r->live, NULL, err);
	return rc == -ENOENT ? 0 : rc;
}

static int list_namespace(const struct reading *r, const char *ns, struct error *err)
{
	static const struct kube_resource *const kinds[] = {
		&KUBE_SECRETS, &KUBE_CONFIG_MAPS, &KUBE_PVCS,      &KUBE_DEPLOYMENTS,      &KUBE_SERVICES,
		&KUBE_ROUTES,  &KUBE_TLS_ROUTES,  &KUBE_INGRESSES, &KUBE_SERVICE_MONITORS,
	};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		rc = list(r, kinds[i], ns, err);
	return rc;
}

static bool is_trustee(const struct kube_resource *res)
{
	return res == &KUBE_TRUSTEE_CONFIGS || res == &KUBE_KBS_CONFIGS;
}

// What belongs to each: its namespace's objects to a Trustee, the ConfigMaps to a profile.
static int list_around(const struct reading *r, const struct objects *all, struct error *err)
{
	json_auto_t *first = json_copy(all->by_id);
	const char *id = NULL;
	json_t *object = NULL;
	int rc = 0;
	json_object_foreach (first, id, object) {
		const struct kube_resource *res = objects_kind(object);
		if (rc == 0 && is_trustee(res))
			rc = list_namespace(r, kube_namespace(object), err);
		else if (rc == 0 && res == &KUBE_CONFIDENTIAL_PROFILES)
			rc = list(r, &KUBE_CONFIG_MAPS, kube_namespace(object), err);
	}
	return rc;
}

static int find_served(const struct kube_session *s, struct trustee_world *world, struct error *err)
{
	const struct {
		const struct kube_resource *resource;
		bool *served;
	} kinds[] = {
		{&KUBE_ROUTES, &world->served.route},
		{&KUBE_TLS_ROUTES, &world->served.tls_route},
		{&KUBE_SERVICE_MONITORS, &world->served.service_monitor},
	};
	world->served.ingress = true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int has = kube_has_resource(s->client, kinds[i].resource, err);
		if (has < 0)
			return has;
		*kinds[i].served = has > 0;
	}
	return 0;
}

int render_cluster_read(const struct cluster_args *args, const char *ns, const struct objects *files,
						struct objects *live, struct trustee_world *world, struct error *err)
{
	struct kube_session session = {0};
	json_auto_t *read = json_object();
	const struct reading r = {&session, live, read};
	int rc = cluster_open(args, &session, err);
	if (rc == 0)
		rc = find_served(&session, world, err);
	if (rc == 0)
		rc = list(&r, &KUBE_TRUSTEE_CONFIGS, ns, err);
	if (rc == 0)
		rc = list(&r, &KUBE_KBS_CONFIGS, ns, err);
	if (rc == 0)
		rc = list(&r, &KUBE_CONFIDENTIAL_PROFILES, NULL, err);
	if (rc == 0)
		rc = list_around(&r, live, err);
	if (rc == 0)
		rc = list_around(&r, files, err);
	kube_session_close(&session);
	return rc;
}

static bool is_made(const json_t *object)
{
	return json_text_is(kube_controller(object), "kind", KUBE_TRUSTEE_CONFIGS.kind);
}

int render_cluster_given(const struct objects *live, const struct objects *files, struct objects *given,
						 struct error *err)
{
	const char *id = NULL;
	json_t *object = NULL;
	json_object_foreach (live->by_id, id, object) {
		bool made = objects_kind(object) == &KUBE_KBS_CONFIGS && is_made(object);
		json_auto_t *admins = made ? others_part(object) : NULL;
		if (objects_add(given, made ? admins : object, cluster_origin, err) < 0)
			return -err->code;
	}
	objects_overlay(given, files);
	return 0;
}
