// The objects of a KbsConfig.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/secret.h"
#include "controller/kbs_pairs.h"
#include "controller/kbs_render.h"
#include "controller/object_digest.h"
#include "controller/pass.h"

// ---- Whole objects

void pass_read_need(void *ctx, const struct kube_resource *res, const char *name)
{
	struct pass_reading *x = ctx;
	json_t *object = NULL;
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	if (x->rc < 0 || json_object_get(x->objects, id) != NULL)
		return;
	if (res == &KUBE_SECRETS || res == &KUBE_CONFIG_MAPS)
		x->rc = view_read(x->pass->t->view, res, x->pass->ns, name, &object, x->err);
	else
		object = view_get(x->pass->t->view, res, x->pass->ns, name);
	if (object != NULL && res == &KUBE_CONFIG_MAPS)
		(void)json_object_set_new(x->pass->read, id, json_string(kube_resource_version(object)));
	if (object != NULL)
		(void)json_object_set_new(x->objects, id, object);
}

void pass_free_read(json_t *objects)
{
	secret_json_free_members(objects, "Secret/");
}

// ---- Digested ones

struct gathering {
	struct pass *pass;
	json_t *objects;     // "Kind/name" -> digested object
	json_t *config_maps; // names of those that aren't ours
	int rc;
	struct error *err;
};

static void gather_name(void *ctx, const struct kube_resource *res, const char *name)
{
	struct gathering *x = ctx;
	pass_note_read(x->pass, res, name);
	if (res != &KUBE_CONFIG_MAPS)
		return;
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	if (json_object_get(x->pass->planned, id) != NULL)
		return;
	json_t *live = view_get(x->pass->t->view, res, x->pass->ns, name);
	const char *manager = live != NULL ? kube_label(live, LABEL_MANAGED_BY) : NULL;
	if (manager == NULL || strcmp(manager, MANAGED_BY) != 0)
		(void)json_array_append_new(x->config_maps, json_string(name));
	json_decref(live);
}

static void gather_object(void *ctx, const struct kube_resource *res, const char *name)
{
	struct gathering *x = ctx;
	json_t *object = NULL;
	if (x->rc < 0)
		return;
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	object = json_incref(json_object_get(x->pass->planned, id));
	if (object == NULL)
		x->rc = view_digest(x->pass->t->view, res, x->pass->ns, name, &object, x->err);
	// Others' claims aren't followed: pods tell where one isn't there.
	if (object == NULL && res == &KUBE_PVCS)
		object = json_pack("{s:{s:s}}", "metadata", "name", name);
	if (object != NULL)
		(void)json_object_set_new(x->objects, id, object);
}

// Also of ConfigMaps that are somebody else's, once they are followed. 1: they aren't all listed yet.
static int gather(struct gathering *x, struct error *err)
{
	struct pass *p = x->pass;
	kbs_needs(p->kbs, p->kbs_spec, gather_name, x);
	int rc = view_use(p->t->view, p->state->key, p->ns, x->config_maps, err);
	if (rc == 0 || rc == 1) {
		json_decref(p->state->config_maps);
		p->state->config_maps = json_incref(x->config_maps);
	}
	if (rc != 0)
		return rc;
	kbs_needs(p->kbs, p->kbs_spec, gather_object, x);
	return x->rc;
}

// A KbsConfig of an admin's own mounts the admin's Secrets as they are: a bad pair isn't rolled out.
static int read_own_pairs(struct pass *p, struct error *err)
{
	struct trustee_state *s = p->state;
	struct pass_reading x = {p, json_object(), 0, err};
	struct kbs_pairs pairs = {0};
	s->version[0] = '\0';
	remarks_release(&s->remarks);
	kbs_pairs_needs(p->kbs_spec, pass_read_need, &x);
	if (x.rc == 0)
		kbs_pairs_check(p->kbs_spec, x.objects, pass_now_s(p), &s->remarks, &pairs);
	pass_free_read(x.objects);
	s->not_after_s = pairs.not_after_s;
	s->look_again_s = pairs.look_again_s;
	s->bad_pair = pairs.bad;
	if (x.rc == 0)
		pass_version(p, s->version);
	return x.rc;
}

// They are read where one has changed, or time has changed what they are worth.
static int check_own_pairs(struct pass *p, bool *ret_bad, struct error *err)
{
	struct trustee_state *s = p->state;
	char version[VERSION_MAX];
	pass_read_versions(p);
	pass_version(p, version);
	bool due = s->look_again_s != 0 && pass_now_s(p) >= s->look_again_s;
	int rc = version[0] != '\0' && strcmp(version, s->version) == 0 && !due ? 0 : read_own_pairs(p, err);
	remarks_append(&p->remarks, &s->remarks);
	p->not_after_s = s->not_after_s;
	if (s->look_again_s != 0)
		pass_again_in(p, (s->look_again_s - pass_now_s(p)) * 1000);
	*ret_bad = s->bad_pair;
	return rc;
}

static int render_kbs(struct pass *p, const json_t *objects, struct error *err)
{
	bool bad_pair = false;
	int rc = p->tc == NULL ? check_own_pairs(p, &bad_pair, err) : 0;
	if (rc < 0)
		return rc;
	CLEANUP_FREE char *deployment = kbs_deployment_name(p->kbs_spec);
	json_t *live = view_get(p->t->view, &KUBE_DEPLOYMENTS, p->ns, deployment);
	const struct kbs_render_input in = {
		.object = p->kbs,
		.spec = p->kbs_spec,
		.trustee = p->tc_spec,
		.objects = objects,
		.deployment = live,
		// Of a TrusteeConfig, something may have been refused.
		.hold = bad_pair || p->failed,
		.world = &p->world,
	};
	CLEANUP_RENDERED struct rendered r = {0};
	kbs_render(&in, &r, &p->remarks);
	(void)json_array_clear(p->kbs_objects);
	rc = pass_sync(p, &r, 0, r.n, p->kbs, p->kbs_spec->hosting.drift, err);
	if (rc == 0)
		rc = pass_prune(p, &r, p->kbs, err);
	json_decref(live);
	return rc;
}

int pass_kbs(struct pass *p, struct error *err)
{
	struct gathering x = {p, json_object(), json_array(), 0, err};
	int rc = gather(&x, err);
	if (rc == 0)
		rc = render_kbs(p, x.objects, err);
	else if (rc < 0)
		rc = pass_refused(p, rc, err);
	json_decref(x.objects);
	json_decref(x.config_maps);
	return rc;
}
