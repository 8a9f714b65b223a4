#include "cli/objects.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/catalog_dir.h"
#include "common/files.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/secret.h"
#include "controller/object_diff.h"
#include "controller/rendered.h"

#define API_VERSION_MAX 256

static const struct kube_resource *const kinds[] = {
	&KUBE_TRUSTEE_CONFIGS, &KUBE_KBS_CONFIGS, &KUBE_CONFIDENTIAL_PROFILES,
	&KUBE_SECRETS,         &KUBE_CONFIG_MAPS, &KUBE_PVCS,
	&KUBE_DEPLOYMENTS,     &KUBE_SERVICES,    &KUBE_ROUTES,
	&KUBE_TLS_ROUTES,      &KUBE_INGRESSES,   &KUBE_SERVICE_MONITORS,
};

static char *id_of(const char *kind, const char *ns, const char *name)
{
	return xasprintf("%s %s/%s", kind, ns, name);
}

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static bool is_ours(const struct kube_resource *res)
{
	return strcmp(res->group, NAME_GROUP) == 0 || strcmp(res->group, NAME_TRUSTEE_GROUP) == 0;
}

// *ret: NULL where the kind says nothing here. Another version of a kind of ours is a mistake that would go unseen.
static int find_kind(const json_t *object, const struct kube_resource **ret, struct error *err)
{
	const char *kind = text_at(object, "kind");
	const char *version = text_at(object, "apiVersion");
	*ret = NULL;
	if (kind[0] == '\0' || version[0] == '\0')
		return error_set(err, EINVAL, "%s is missing; give objects as kubectl takes them",
						 kind[0] == '\0' ? "kind" : "apiVersion");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		CLEANUP_BUF struct buf is = BUF_INIT(API_VERSION_MAX);
		kube_api_version(kinds[i], &is);
		if (strcmp(kind, kinds[i]->kind) != 0)
			continue;
		if (strcmp(version, buf_z(&is)) == 0)
			*ret = kinds[i];
		else if (is_ours(kinds[i]))
			return error_set(err, EINVAL, "apiVersion of %s is \"%s\"; it must be %s", kind, version, buf_z(&is));
	}
	return 0;
}

const struct kube_resource *objects_kind(const json_t *object)
{
	const struct kube_resource *res = NULL;
	struct error err;
	return find_kind(object, &res, &err) < 0 ? NULL : res;
}

// Puts it where it would be on a cluster: its name can be one, and it has a namespace.
static int settle_down(json_t *object, const char *ns, struct error *err)
{
	json_t *metadata = json_object_get(object, "metadata");
	const char *kind = text_at(object, "kind");
	if (!is_object_name(kube_name(object)))
		return error_set(err, EINVAL, "metadata.name of the %s is \"%s\"; give it a name of a-z, 0-9, '-' and '.'",
						 kind, kube_name(object));
	const json_t *given = json_object_get(metadata, "namespace");
	if (given != NULL && !json_is_string(given) && !json_is_null(given))
		return error_set(err, EINVAL, "metadata.namespace of %s \"%s\" is no text to YAML; put it in quotes", kind,
						 kube_name(object));
	if (kube_namespace(object)[0] == '\0')
		(void)json_object_set_new(metadata, "namespace", json_string(ns));
	if (!is_object_name(kube_namespace(object)))
		return error_set(err, EINVAL, "metadata.namespace of %s \"%s\" is \"%s\", which is no namespace's name", kind,
						 kube_name(object), kube_namespace(object));
	return 0;
}

// As it was printed, not as a cluster has it: nothing of an admin's is in it.
static bool is_printed_kbs_config(const json_t *object)
{
	return rendered_is_ours(object) && kube_uid(object)[0] == '\0' &&
		   strcmp(text_at(object, "kind"), KUBE_KBS_CONFIGS.kind) == 0;
}

static void free_object(json_t *object)
{
	if (strcmp(text_at(object, "kind"), KUBE_SECRETS.kind) == 0)
		secret_json_free(object);
	else
		json_decref(object);
}

// Of two, one of them ours: what the other one says about it, wins. New.
static json_t *both(const json_t *a, const json_t *b)
{
	const json_t *ours = rendered_is_ours(a) ? a : b;
	const json_t *admins = rendered_is_ours(a) ? b : a;
	if (is_printed_kbs_config(ours))
		return json_deep_copy(admins);
	json_t *merged = object_merge(ours, admins);
	json_t *copy = json_deep_copy(merged);
	json_decref(merged);
	return copy;
}

// Takes the object.
static int put(struct objects *o, const char *id, const char *origin, json_t *object, struct error *err)
{
	json_t *first = json_object_get(o->by_id, id);
	int rc = 0;
	if (first == NULL && json_object_size(o->by_id) < OBJECTS_MAX) {
		(void)json_object_set_new(o->by_id, id, object);
		(void)json_object_set_new(o->origins, id, json_string(origin));
		return 0;
	}
	if (first == NULL) {
		rc =
			error_set(err, E2BIG, "there are more than %d objects; give those that the Trustees refer to", OBJECTS_MAX);
	} else if (rendered_is_ours(first) == rendered_is_ours(object)) {
		rc = error_set(err, EINVAL, "%s is there twice, before in %s; keep one of the two", id,
					   json_string_value(json_object_get(o->origins, id)));
	} else {
		(void)json_incref(first);
		(void)json_object_set_new(o->by_id, id, both(first, object));
		free_object(first);
	}
	free_object(object);
	return rc;
}

static int add(struct objects *o, const struct catalog_document *doc, const char *ns, struct error *err)
{
	const struct kube_resource *res = NULL;
	if (!json_is_object(doc->object))
		return error_set(err, EINVAL, "it is no object");
	if (find_kind(doc->object, &res, err) < 0)
		return -err->code;
	if (res == NULL)
		return 0;
	if (settle_down(doc->object, ns, err) < 0)
		return -err->code;
	CLEANUP_FREE char *id = id_of(res->kind, kube_namespace(doc->object), kube_name(doc->object));
	return put(o, id, doc->origin, json_deep_copy(doc->object), err);
}

static int add_all(struct objects *o, const struct catalog_document *docs, size_t n, const char *ns, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (add(o, &docs[i], ns, err) < 0)
			return error_prefix(err, "%s", docs[i].origin);
	return 0;
}

// ---- Files

static void wipe_secrets(struct catalog_documents *docs)
{
	for (size_t i = 0; i < docs->n; i++) {
		free_object(docs->v[i].object);
		docs->v[i].object = NULL;
	}
}

static int read_file(struct objects *o, const char *path, const char *name, const char *ns, struct error *err)
{
	CLEANUP_CATALOG_DOCUMENTS struct catalog_documents docs = {0};
	CLEANUP_SECRET_BUF struct buf text = secret_buf(OBJECTS_FILE_MAX + FILE_STEP_BYTES);
	if (file_read(path, &text, err) < 0)
		return -err->code;
	int rc = catalog_documents_read(&docs, buf_str(&text), name, err);
	if (rc == 0)
		rc = add_all(o, docs.v, docs.n, ns, err);
	wipe_secrets(&docs);
	return rc;
}

static int is_document(const struct dirent *e)
{
	return catalog_dir_is_document(e->d_name);
}

static int read_folder(struct objects *o, const char *path, const char *ns, struct error *err)
{
	struct dirent **files = NULL;
	int n = scandir(path, &files, is_document, alphasort);
	int rc = n < 0    ? error_set(err, errno, "can't read folder %s: %s", path, strerror(errno))
			 : n == 0 ? error_set(err, ENOENT, "folder %s has no *.yaml, *.yml or *.json", path)
					  : 0;
	for (int i = 0; i < n; i++) {
		CLEANUP_FREE char *full = xasprintf("%s/%s", path, files[i]->d_name);
		if (rc == 0)
			rc = read_file(o, full, full, ns, err);
		free(files[i]);
	}
	free(files);
	return rc;
}

static void begin(struct objects *o)
{
	if (o->by_id != NULL)
		return;
	o->by_id = json_object();
	o->origins = json_object();
}

int objects_read(struct objects *o, const char *path, const char *ns, struct error *err)
{
	struct stat st;
	begin(o);
	if (strcmp(path, "-") == 0)
		return read_file(o, path, "standard input", ns, err);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return read_folder(o, path, ns, err);
	return read_file(o, path, path, ns, err);
}

int objects_add(struct objects *o, const json_t *object, const char *origin, struct error *err)
{
	const struct kube_resource *res = NULL;
	begin(o);
	if (find_kind(object, &res, err) < 0)
		return -err->code;
	if (res == NULL)
		return 0;
	CLEANUP_FREE char *id = id_of(res->kind, kube_namespace(object), kube_name(object));
	return put(o, id, origin, json_deep_copy(object), err);
}

static void keep_identity(json_t *object, const json_t *before)
{
	static const char *const identity[] = {"uid", "resourceVersion", "creationTimestamp", "generation"};
	const json_t *from = json_object_get(before, "metadata");
	for (size_t i = 0; i < sizeof(identity) / sizeof(identity[0]); i++)
		if (json_object_get(from, identity[i]) != NULL)
			(void)json_object_set_new(json_object_get(object, "metadata"), identity[i],
									  json_deep_copy(json_object_get(from, identity[i])));
	if (json_object_get(before, "status") != NULL)
		(void)json_object_set_new(object, "status", json_deep_copy(json_object_get(before, "status")));
}

void objects_overlay(struct objects *o, const struct objects *over)
{
	const char *id;
	json_t *object;
	begin(o);
	json_object_foreach (over->by_id, id, object) {
		json_t *before = json_object_get(o->by_id, id);
		json_t *copy = json_deep_copy(object);
		keep_identity(copy, before);
		(void)json_incref(before);
		(void)json_object_set_new(o->by_id, id, copy);
		(void)json_object_set(o->origins, id, json_object_get(over->origins, id));
		if (before != NULL)
			free_object(before);
	}
}

void objects_release(struct objects *o)
{
	secret_json_free_members(o->by_id, "Secret ");
	json_decref(o->origins);
	*o = (struct objects){0};
}

const json_t *objects_get(const struct objects *o, const struct kube_resource *res, const char *ns, const char *name)
{
	CLEANUP_FREE char *id = id_of(res->kind, ns, name);
	return json_object_get(o->by_id, id);
}
