// What the KBS serves to guests: Secrets and the image policy, as files under the names that it looks for.
#include <stdio.h>
#include <string.h>

#include "common/encode.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/trustee_check.h"
#include "controller/kbs_config.h"
#include "controller/kbs_private.h"

#define FILE_MODE 0644 // also what the API server writes where nothing is said
#define FILE_NAME_MAX 255
#define OBJECT_NAME_MAX 253
#define REPOSITORY "default"
#define POLICY_TYPE "security-policy"
#define POLICY_KEY "policy.json"
#define POLICY_SUFFIX "-image-policy"

struct volume {
	const struct kbs_render_input *in;
	const char *slash; // what the KBS writes between the parts of a resource's path
	struct remarks *remarks;
	json_t *sources;
	json_t *taken; // paths that have a file already
};

// The file of a resource, new; NULL, with a remark, where the KBS could not serve it. what: for the message.
static char *file_path(struct volume *v, const char *type, const char *tag, const char *what)
{
	CLEANUP_FREE char *path = xasprintf("%s%s%s%s%s", REPOSITORY, v->slash, type, v->slash, tag);
	if (!is_resource_segment(type, strlen(type)) || !is_resource_segment(tag, strlen(tag)))
		remarks_add(v->remarks, REMARK_WARNING, ABOUT_RESOURCES, "NameNotServed",
					"%s can't be served as " REPOSITORY "/%s/%s, since the KBS takes letters, digits, '-', '_' and '.' "
					"there, the first no '.'; rename the key",
					what, type, tag);
	else if (v->slash[0] != '/' && strlen(path) > FILE_NAME_MAX)
		remarks_add(v->remarks, REMARK_WARNING, ABOUT_RESOURCES, "NameNotServed",
					"%s can't be served, since its path would be a file's name of %zu characters, where %d are "
					"possible; choose shorter names",
					what, strlen(path), FILE_NAME_MAX);
	else if (json_object_get(v->taken, path) != NULL)
		remarks_add(v->remarks, REMARK_WARNING, ABOUT_RESOURCES, "NameNotServed",
					"%s is not served, since spec.imagePolicy is " REPOSITORY "/%s/%s already; drop one of them", what,
					type, tag);
	else
		return TAKE_PTR(path);
	return NULL;
}

// Takes items.
static void add_source(struct volume *v, const struct kube_resource *res, const char *name, json_t *items)
{
	const char *kind = res == &KUBE_SECRETS ? "secret" : "configMap";
	(void)json_array_append_new(
		v->sources, json_made(json_pack("{s:{s:s, s:o, s:b}}", kind, "name", name, "items", items, "optional", 1)));
}

// ---- Image policy

// A KbsConfig's name may take all the room that a name has.
static char *policy_name(const json_t *object)
{
	struct error err;
	struct digest hash;
	const char *name = kube_name(object);
	if (strlen(name) + strlen(POLICY_SUFFIX) <= OBJECT_NAME_MAX)
		return xasprintf("%s" POLICY_SUFFIX, name);
	if (digest_of(STR("sha256"), str_from(name), &hash, &err) < 0)
		abort();
	CLEANUP_BUF struct buf hex = BUF_INIT((size_t)2 * DIGEST_MAX);
	hex_encode(hash.v, hash.n, &hex);
	return xasprintf("kbs-%s" POLICY_SUFFIX, buf_z(&hex));
}

json_t *kbs_image_policy(const struct kbs_render_input *in)
{
	const struct trustee_hosting *h = &in->spec->hosting;
	if (!h->image_policy_given || h->image_policy.text == NULL)
		return NULL;
	CLEANUP_FREE char *name = policy_name(in->object);
	return json_made(json_pack("{s:o, s:{s:s}}", "metadata", kbs_metadata(in, name, "image-policy"), "data", POLICY_KEY,
							   h->image_policy.text));
}

static void add_image_policy(struct volume *v)
{
	const struct trustee_hosting *h = &v->in->spec->hosting;
	const struct object_key_ref *ref = &h->image_policy.config_map;
	if (!h->image_policy_given)
		return;
	CLEANUP_FREE char *own = policy_name(v->in->object);
	CLEANUP_FREE char *path = file_path(v, POLICY_TYPE, h->image_policy.name, "spec.imagePolicy");
	if (path == NULL)
		return;
	json_put(v->taken, path, json_true());
	add_source(v, &KUBE_CONFIG_MAPS, ref->given ? ref->name : own,
			   json_made(json_pack("[{s:s, s:s}]", "key", ref->given ? ref->key : POLICY_KEY, "path", path)));
}

// ---- Secrets

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **kbs_sorted_keys(const json_t *object)
{
	const char **keys = xcalloc(json_object_size(object) + 1, sizeof(*keys));
	size_t n = 0;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), compare_names);
	return keys;
}

// Whether a Trustee's keys are in it, be it another one's of the namespace: by the labels of those that are made.
static bool is_made_of_keys(const json_t *secret)
{
	static const char *const components[] = {COMPONENT_CONFIG, COMPONENT_AUTH, COMPONENT_HTTPS, COMPONENT_ATTESTATION};
	const char *component = kube_label(secret, LABEL_COMPONENT);
	if (component == NULL || !rendered_is_ours(secret))
		return false;
	for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++)
		if (strcmp(component, components[i]) == 0)
			return true;
	return false;
}

// The KBS's own keys, and what they are copied from: for no guest, whoever lists them. Who has the key of the certificate can
// pass for the KBS, and who has that of the tokens needs no evidence.
static bool is_own(const struct kbs_render_input *in, const char *name)
{
	const struct kbs_spec *s = in->spec;
	const char *const own[] = {s->secrets.auth,
							   s->secrets.https_key,
							   s->secrets.attestation_key,
							   s->hosting.sessions.url.name,
							   kbs_config_is_secret(&s->hosting) ? s->config_maps.kbs : NULL,
							   in->trustee != NULL ? in->trustee->https_secret : NULL,
							   in->trustee != NULL ? in->trustee->token_secret : NULL};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i] != NULL && strcmp(own[i], name) == 0)
			return true;
	return is_made_of_keys(kbs_object(in, &KUBE_SECRETS, name));
}

static void add_secret(struct volume *v, const char *name)
{
	const json_t *secret = kbs_object(v->in, &KUBE_SECRETS, name);
	const json_t *data = json_object_get(secret, "data");
	if (secret == NULL)
		return; // said already
	if (is_own(v->in, name)) {
		remarks_add(
			v->remarks, REMARK_WARNING, ABOUT_RESOURCES, "SecretNotServed",
			"Secret \"%s\" (spec.kbsSecretResources) holds secrets of the KBS itself, and is not handed to guests; "
			"drop it from the list",
			name);
		return;
	}
	json_t *items = json_array();
	CLEANUP_FREE const char **keys = kbs_sorted_keys(data);
	for (size_t i = 0; i < json_object_size(data); i++) {
		CLEANUP_FREE char *what = xasprintf("key \"%s\" of Secret \"%s\" (spec.kbsSecretResources)", keys[i], name);
		CLEANUP_FREE char *path = file_path(v, name, keys[i], what);
		if (path != NULL)
			(void)json_array_append_new(items, json_made(json_pack("{s:s, s:s}", "key", keys[i], "path", path)));
	}
	if (json_object_size(data) == 0)
		remarks_add(
			v->remarks, REMARK_WARNING, ABOUT_RESOURCES, "SecretEmpty",
			"Secret \"%s\" (spec.kbsSecretResources) has no keys, so nothing of it is served; add some, or drop "
			"it from the list",
			name);
	// Without items, all keys would be projected, under names of their own.
	if (json_array_size(items) > 0)
		add_source(v, &KUBE_SECRETS, name, items);
	else
		json_decref(items);
}

// The list is a set: in another order it is the same, and no reason to replace pods.
static void add_secrets(struct volume *v)
{
	json_t *set = json_object();
	size_t i;
	json_t *name;
	json_array_foreach (v->in->spec->secret_resources, i, name) {
		json_put(set, json_string_value(name), json_true());
	}
	CLEANUP_FREE const char **names = kbs_sorted_keys(set);
	for (size_t k = 0; k < json_object_size(set); k++)
		add_secret(v, names[k]);
	json_decref(set);
}

json_t *kbs_resources(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
{
	if (in->spec->hosting.vault_given)
		return NULL;
	struct volume v = {in, dialect->repository_slash, remarks, json_array(), json_object()};
	add_image_policy(&v);
	add_secrets(&v);
	json_decref(v.taken);
	if (json_array_size(v.sources) > 0)
		return json_made(json_pack("{s:s, s:{s:o, s:i}}", "name", KBS_RESOURCES_VOLUME, "projected", "sources",
								   v.sources, "defaultMode", FILE_MODE));
	json_decref(v.sources);
	return NULL;
}
