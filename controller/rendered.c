#include "controller/rendered.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/encode.h"
#include "common/mem.h"
#include "common/secret.h"

#define IMAGES "ghcr.io/confidential-containers/"
#define API_VERSION_MAX 256

const struct trustee_world TRUSTEE_WORLD_DEFAULT = {
	.images =
		{
			.kbs = IMAGES "key-broker-service:built-in-as-v0.21.0",
			.kbs_grpc = IMAGES "key-broker-service:v0.21.0",
			.as = IMAGES "attestation-service:v0.21.0",
			.rvps = IMAGES "reference-value-provider-service:v0.21.0",
		},
	.served = {.route = true},
};

// What can't be packed is a name that isn't UTF-8, which no API server and no reader of files lets through.
static json_t *packed(json_t *object)
{
	if (object == NULL)
		abort();
	return object;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

// All of it new, down to the owner's name: what a Secret's metadata shared with others would be wiped with it.
json_t *rendered_metadata(const json_t *owner, const char *name, const char *instance, const char *component)
{
	json_t *metadata =
		packed(json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "name", name, "labels", LABEL_MANAGED_BY, MANAGED_BY,
						 LABEL_PART_OF, "trustee", LABEL_INSTANCE, instance, LABEL_COMPONENT, component));
	if (kube_namespace(owner)[0] != '\0')
		(void)json_object_set_new(metadata, "namespace", json_string(kube_namespace(owner)));
	const char *uid = kube_uid(owner);
	if (uid[0] != '\0')
		(void)json_object_set_new(
			metadata, "ownerReferences",
			packed(json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", text_of(owner, "apiVersion"), "kind",
							 text_of(owner, "kind"), "name", kube_name(owner), "uid", uid, "controller", 1,
							 "blockOwnerDeletion", 1)));
	return metadata;
}

static json_t *digest_of_object(const json_t *object)
{
	struct error err;
	struct digest digest;
	const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
	size_t n = json_dumpb(object, NULL, 0, flags);
	// All of it at once, so that nothing of a Secret is left behind.
	CLEANUP_SECRET_BUF struct buf text = secret_buf(n);
	char *room = n > 0 ? buf_reserve(&text, n) : NULL;
	if (room == NULL || json_dumpb(object, room, n, flags) != n)
		abort();
	buf_commit(&text, n);
	if (digest_of(STR("sha256"), buf_str(&text), &digest, &err) < 0)
		abort();
	CLEANUP_BUF struct buf hex = BUF_INIT((size_t)2 * DIGEST_MAX);
	hex_encode(digest.v, digest.n, &hex);
	return json_string(buf_z(&hex));
}

// Takes an object, and returns it with apiVersion and kind, which readers look for first.
static json_t *with_kind(const struct kube_resource *res, json_t *object)
{
	CLEANUP_BUF struct buf version = BUF_INIT(API_VERSION_MAX);
	kube_api_version(res, &version);
	json_t *all = packed(json_pack("{s:s, s:s}", "apiVersion", buf_z(&version), "kind", res->kind));
	(void)json_object_update_missing(all, object);
	json_decref(object);
	return all;
}

static void add(struct rendered *r, const struct kube_resource *res, const char *name, json_t *object)
{
	if (r->n == RENDERED_MAX)
		abort();
	r->v[r->n++] = (struct rendered_object){res, xstrdup(name), object};
}

void rendered_add(struct rendered *r, const struct kube_resource *res, json_t *object)
{
	object = with_kind(res, object);
	json_t *metadata = json_object_get(object, "metadata");
	json_t *digest = digest_of_object(object);
	json_t *annotations = json_object_get(metadata, "annotations");
	if (annotations == NULL) {
		annotations = json_object();
		(void)json_object_set_new(metadata, "annotations", annotations);
	}
	(void)json_object_set_new(annotations, ANNOTATION_APPLIED, digest);
	add(r, res, kube_name(object), object);
}

void rendered_keep(struct rendered *r, const struct kube_resource *res, const char *name)
{
	add(r, res, name, NULL);
}

static const struct rendered_object *find(const struct rendered *r, const struct kube_resource *res, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].resource == res && strcmp(r->v[i].name, name) == 0)
			return &r->v[i];
	return NULL;
}

const json_t *rendered_find(const struct rendered *r, const struct kube_resource *res, const char *name)
{
	const struct rendered_object *found = find(r, res, name);
	return found != NULL ? found->object : NULL;
}

bool rendered_wants(const struct rendered *r, const struct kube_resource *res, const char *name)
{
	return find(r, res, name) != NULL;
}

bool rendered_is_ours(const json_t *object)
{
	const char *manager = kube_label(object, LABEL_MANAGED_BY);
	return manager != NULL && strcmp(manager, MANAGED_BY) == 0;
}

void rendered_release(struct rendered *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].name);
		if (r->v[i].resource == &KUBE_SECRETS)
			secret_json_free(r->v[i].object);
		else
			json_decref(r->v[i].object);
	}
	r->n = 0;
}
