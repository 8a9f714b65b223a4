// Of what a TrusteeConfig's objects are made, and whether that has changed.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "controller/kbs_pairs.h"
#include "controller/pass.h"
#include "controller/trustee_render.h"
#include "controller/trustee_rules.h"

#define VERSION_TEXT_MAX ((size_t)1024 * 1024)

// ---- Profiles

int pass_find_profile(void *ctx, const char *ns, const char *name, struct initdata_digests *ret, struct error *err)
{
	const struct pass *p = ctx;
	struct catalog *catalog = catalog_store_get(p->t->config.catalog);
	int rc = trustee_profile_digests(catalog, ns, name, ret, err);
	catalog_unref(catalog);
	return rc;
}

// ---- The lines: one for each object, by resource and name

// All but what changes with its status, which is ours.
static json_t *line_of_kbs_config(const json_t *object)
{
	json_auto_t *copy = json_copy((json_t *)(uintptr_t)object);
	json_t *metadata = json_copy(json_object_get(object, "metadata"));
	(void)json_object_del(copy, "status");
	(void)json_object_del(metadata, "resourceVersion");
	(void)json_object_del(metadata, "managedFields");
	(void)json_object_set_new(copy, "metadata", metadata);
	CLEANUP_FREE char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	return json_string(text != NULL ? text : "");
}

static json_t *line_of(const struct kube_resource *res, const json_t *object)
{
	if (res == &KUBE_KBS_CONFIGS)
		return line_of_kbs_config(object);
	return json_sprintf("%s %s", kube_uid(object), kube_resource_version(object));
}

// What isn't there has no line, whether it is needed or was deleted.
static void note_line(struct pass *p, const struct kube_resource *res, const char *name, const json_t *object)
{
	CLEANUP_FREE char *id = xasprintf("%s %s", res->plural, name);
	if (object != NULL)
		(void)json_object_set_new(p->versions, id, line_of(res, object));
	else
		(void)json_object_del(p->versions, id);
}

void pass_note_read(struct pass *p, const struct kube_resource *res, const char *name)
{
	if (res != &KUBE_SECRETS && res != &KUBE_CONFIG_MAPS)
		return;
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	(void)json_object_set_new(p->reads, id, json_null());
}

static void note_need(void *ctx, const struct kube_resource *res, const char *name)
{
	struct pass *p = ctx;
	json_auto_t *object = view_get(p->t->view, res, p->ns, name);
	note_line(p, res, name, object);
	pass_note_read(p, res, name);
}

static void note_owned(void *ctx, const struct kube_resource *res, const json_t *object)
{
	note_line(ctx, res, kube_name(object), object);
}

// What a binding's profile hashes to may change while the pass goes on: then the next one is to see it.
static void note_bindings(struct pass *p)
{
	for (size_t i = 0; i < p->tc_spec->nbindings; i++) {
		const struct trustee_binding *b = &p->tc_spec->bindings[i];
		struct initdata_digests digests = {0};
		struct error err;
		if (!b->profile_given)
			continue;
		int rc = pass_find_profile(p, b->profile.ns != NULL ? b->profile.ns : p->ns, b->profile.name, &digests, &err);
		CLEANUP_BUF struct buf hex = BUF_INIT(VERSION_MAX);
		if (rc == 0)
			hex_encode(digests.digest.v, digests.digest.n, &hex);
		CLEANUP_FREE char *id = xasprintf("binding %zu", i);
		(void)json_object_set_new(p->versions, id, json_sprintf("%d %s", rc, buf_z(&hex)));
	}
}

void pass_read_versions(struct pass *p)
{
	(void)json_object_clear(p->versions);
	if (p->tc == NULL) {
		kbs_pairs_needs(p->kbs_spec, note_need, p);
		return;
	}
	trustee_needs(p->tc, p->tc_spec, note_need, p);
	note_bindings(p);
	view_owned(p->t->view, p->ns, kube_uid(p->tc), note_owned, p);
}

void pass_wrote(struct pass *p, const json_t *owner, const struct kube_resource *res, const char *name,
				const json_t *before, const json_t *between, const json_t *answer)
{
	view_wrote(p->t->view, res, p->ns, name, before, between, answer);
	if (res == &KUBE_SECRETS || res == &KUBE_CONFIG_MAPS)
		trustees_look_at_readers(p->t, res, p->ns, name, p->state->key);
	if (owner == p->tc)
		note_line(p, res, name, answer);
}

// ---- The digest

void pass_version(struct pass *p, char ret[VERSION_MAX])
{
	CLEANUP_BUF struct buf text = BUF_INIT(VERSION_TEXT_MAX);
	buf_addf(&text, "%s %lld %s %d\n", kube_uid(p->object),
			 (long long)json_integer_value(json_object_get(json_object_get(p->object, "metadata"), "generation")),
			 p->host != NULL ? p->host : "", p->world.served.route);
	CLEANUP_FREE char *lines = json_dumps(p->versions, JSON_COMPACT | JSON_SORT_KEYS);
	buf_addz(&text, lines != NULL ? lines : "");
	struct digest digest;
	struct error err;
	ret[0] = '\0';
	if (!buf_ok(&text) || digest_of(STR("sha256"), buf_str(&text), &digest, &err) < 0)
		return;
	CLEANUP_BUF struct buf hex = BUF_INIT(VERSION_MAX);
	hex_encode(digest.v, digest.n, &hex);
	memcpy(ret, buf_z(&hex), hex.n + 1);
}
