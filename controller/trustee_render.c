#include "controller/trustee_render.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_made.h"
#include "common/mem.h"
#include "common/profile.h"
#include "common/secret.h"
#include "controller/kbs_config.h"
#include "controller/trustee_parts.h"
#include "controller/trustee_policy.h"

#define KBS_CONFIG_MAX ((size_t)128 * 1024)
#define REFERENCES_SINCE_MINOR 16 // policies ask for them by a function

// Reference values of nobody, as the admin finds them at first: of Trustee up to 0.18 a list, then a map.
#define NO_VALUES "{\n}\n"
#define NO_VALUES_LIST "[\n]\n"

// ---- Objects

char *parts_name(const struct parts *p, const char *suffix)
{
	return xasprintf("%s%s", p->name, suffix);
}

static char *status_name(const struct trustee_spec *spec)
{
	const char *instance = spec->hosting.instance_name;
	return xasprintf("%s%s" ATTESTATION_STATUS, instance != NULL ? instance : "", instance != NULL ? "-" : "");
}

char *parts_status_name(const struct parts *p)
{
	return status_name(p->in->spec);
}

const json_t *parts_live(const struct parts *p, const struct kube_resource *res, const char *name)
{
	CLEANUP_FREE char *key = xasprintf("%s/%s", res->kind, name);
	return json_object_get(p->in->objects, key);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

// Whether somebody else's controller has the name. One without a controller is taken over.
static bool is_taken(struct parts *p, const struct kube_resource *res, const char *name)
{
	const json_t *owner = kube_controller(parts_live(p, res, name));
	const char *uid = kube_uid(p->in->object);
	if (owner == NULL || uid[0] == '\0' || strcmp(text_of(owner, "uid"), uid) == 0)
		return false;
	bool earlier = strcmp(text_of(owner, "name"), p->name) == 0 &&
				   strcmp(text_of(owner, "kind"), text_of(p->in->object, "kind")) == 0;
	remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_RESOURCES, "NameTaken",
				"%s \"%s\" belongs to %s%s \"%s\" (uid %s), so it stays as it is: %s", res->kind, name,
				earlier ? "an earlier " : "", text_of(owner, "kind"), text_of(owner, "name"), text_of(owner, "uid"),
				earlier ? "it goes with that; if it doesn't, delete it"
						: "delete it, or give the TrusteeConfig another name");
	return true;
}

static void discard(const struct kube_resource *res, json_t *body)
{
	if (res == &KUBE_SECRETS)
		secret_json_free(body);
	else
		json_decref(body);
}

// Takes a body; its annotations, if there are some, go into the metadata.
static json_t *whole(const struct parts *p, const char *name, const char *component, json_t *body)
{
	json_t *metadata = rendered_metadata(p->in->object, name, p->name, component);
	(void)json_object_update(metadata, json_object_get(body, "metadata"));
	json_t *object = json_made(json_pack("{s:o}", "metadata", metadata));
	(void)json_object_update_missing(object, body);
	json_decref(body);
	return object;
}

void parts_put(struct parts *p, const struct kube_resource *res, char *name, const char *component, json_t *body)
{
	CLEANUP_FREE char *taken = name;
	if (p->hold || body == NULL || is_taken(p, res, name)) {
		discard(res, body);
		if (!p->hold) // else all are kept, once
			rendered_keep(&p->out->objects, res, name);
		return;
	}
	rendered_add(&p->out->objects, res, whole(p, name, component, body));
}

// All that may be there: of a spec that can't be rendered, nobody can tell what it would have no more.
static void keep_all(struct parts *p)
{
	static const struct {
		const struct kube_resource *resource;
		const char *suffix;
	} all[] = {
		{&KUBE_CONFIG_MAPS, KBS_CONFIG_SUFFIX},
		{&KUBE_SECRETS, KBS_CONFIG_SUFFIX},
		{&KUBE_CONFIG_MAPS, SUFFIX_RESOURCE_POLICY},
		{&KUBE_CONFIG_MAPS, SUFFIX_REFERENCE_VALUES},
		{&KUBE_CONFIG_MAPS, SUFFIX_CPU_POLICY},
		{&KUBE_CONFIG_MAPS, SUFFIX_GPU_POLICY},
		{&KUBE_SECRETS, SUFFIX_AUTH},
		{&KUBE_SECRETS, SUFFIX_HTTPS_KEY},
		{&KUBE_SECRETS, SUFFIX_HTTPS_CERT},
		{&KUBE_SECRETS, SUFFIX_TOKEN_KEY},
		{&KUBE_SECRETS, SUFFIX_TOKEN_CERT},
		{&KUBE_PVCS, SUFFIX_IBM_SE_STORE},
		{&KUBE_KBS_CONFIGS, KBS_CONFIG_SUFFIX},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		CLEANUP_FREE char *name = parts_name(p, all[i].suffix);
		rendered_keep(&p->out->objects, all[i].resource, name);
	}
	CLEANUP_FREE char *status = parts_status_name(p);
	rendered_keep(&p->out->objects, &KUBE_SECRETS, status);
}

// ---- kbs-config.toml

static void refuse(struct parts *p, const char *reason, const char *why)
{
	remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_SPEC, reason, "%s", why);
	p->hold = true;
}

static void choose_dialect(struct parts *p)
{
	const struct trustee_hosting *h = &p->in->spec->hosting;
	const char *default_image = p->in->world->images.kbs;
	p->dialect = trustee_dialect_for(h, default_image);
	if (p->dialect != NULL)
		return;
	CLEANUP_FREE char *why = xasprintf(
		"%s \"%s\" is a Trustee before 0.%d, whose configuration can't be written: take a newer one, or say in "
		"spec.trusteeVersion what it is",
		h->image != NULL ? "spec.image" : "the controller's --kbs-image", h->image != NULL ? h->image : default_image,
		TRUSTEE_OLDEST_MINOR);
	refuse(p, "UnsupportedVersion", why);
}

// A secret that stands in the configuration: one word. A newline at its end is none of it. false: a remark says what is
// wrong. field: that names it; what: what it is; reason, missing: of the remark.
static bool read_word(struct parts *p, const struct object_key_ref *ref, const char *field, const char *what,
					  const char *reason, const char *missing, struct secret_text *ret)
{
	const json_t *secret = parts_live(p, &KUBE_SECRETS, ref->name);
	bool readable = secret_text_read(secret, ref->key, ret);
	struct buf *text = &ret->text;
	while (readable && text->n > 0 && strchr("\r\n", text->p[text->n - 1]) != NULL)
		text->p[--text->n] = '\0';
	bool word = readable && text->n > 0 && text->n <= SECRET_WORD_MAX;
	for (size_t i = 0; word && i < text->n; i++)
		word = text->p[i] > ' ' && text->p[i] <= '~';
	if (word)
		return true;
	const char *wrong = secret == NULL ? "there is no such Secret"
						: !ret->there  ? "it has no such key"
									   : "that is none";
	remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_SPEC, ret->there ? reason : missing,
				"%s names key \"%s\" of Secret \"%s\" in namespace \"%s\", but %s; put %s there: one word of at most "
				"%zu characters",
				field, ref->key, ref->name, kube_namespace(p->in->object), wrong, what, SECRET_WORD_MAX);
	secret_text_release(ret);
	return false;
}

// Vault's token, and the address of Redis, where they stand in the configuration.
static bool read_secrets(struct parts *p, struct secret_text *ret_token, struct secret_text *ret_url)
{
	const struct trustee_hosting *h = &p->in->spec->hosting;
	bool ok = true;
	if (h->vault_given)
		ok = read_word(p, &h->vault.token, "spec.vault.tokenSecretRef", "Vault's token", "VaultToken",
					   "VaultTokenMissing", ret_token);
	if (h->sessions.type == SESSIONS_REDIS)
		ok &= read_word(p, &h->sessions.url, "spec.sessionStorage.secretRef", "the URL of Redis", "SessionURL",
						"SessionURLMissing", ret_url);
	return ok;
}

static void write_config(struct parts *p)
{
	const struct trustee_spec *spec = p->in->spec;
	CLEANUP_SECRET_TEXT struct secret_text vault_token = {0};
	CLEANUP_SECRET_TEXT struct secret_text sessions_url = {0};
	// Without them, it is still told whether the version can do what is asked for.
	bool whole = read_secrets(p, &vault_token, &sessions_url);
	struct kbs_config_input input = {
		.dialect = p->dialect,
		.https = p->https,
		.token_signer = p->signer,
		.tls = spec->tls.profile,
		.tls_min = spec->tls.min_version,
		.tls_max = spec->tls.max_version,
		.tls_ciphers = spec->tls.ciphers,
		.tls_groups = spec->tls.groups,
		.nvidia = spec->nvidia,
		.air_gapped = spec->air_gapped,
		.sessions = spec->hosting.sessions.type,
		.sessions_url = sessions_url.there ? buf_z(&sessions_url.text) : NULL,
	};
	if (spec->hosting.vault_given) {
		input.vault.address = spec->hosting.vault.address;
		input.vault.mount_path = spec->hosting.vault.mount_path;
		input.vault.token = vault_token.there ? buf_z(&vault_token.text) : NULL;
		input.vault.ca = spec->hosting.vault.ca.given;
	}
	struct error err;
	int rc = kbs_config_write(&input, &p->config, &err);
	p->config_ok = rc == 0 && whole;
	if (rc < 0)
		refuse(p, rc == -ENOTSUP ? "UnsupportedVersion" : "InvalidConfiguration", err.msg);
}

// ---- Objects but Secrets

static json_t *text_body(const char *key, struct str text)
{
	return json_made(json_pack("{s:{s:s%}}", "data", key, text.p, text.n));
}

static void put_text(struct parts *p, const char *suffix, const char *component, const char *key, struct str text)
{
	parts_put(p, &KUBE_CONFIG_MAPS, parts_name(p, suffix), component, text_body(key, text));
}

// With a secret in it, it is a Secret. Where it can't be written now, whichever of the two there is stays.
static void put_config(struct parts *p)
{
	if (!p->config_ok) {
		parts_put(p, &KUBE_CONFIG_MAPS, parts_name(p, KBS_CONFIG_SUFFIX), COMPONENT_CONFIG, NULL);
		parts_put(p, &KUBE_SECRETS, parts_name(p, KBS_CONFIG_SUFFIX), COMPONENT_CONFIG, NULL);
	} else if (kbs_config_is_secret(&p->in->spec->hosting)) {
		parts_put(p, &KUBE_SECRETS, parts_name(p, KBS_CONFIG_SUFFIX), COMPONENT_CONFIG,
				  parts_secret_body("kbs-config.toml", buf_str(&p->config)));
	} else {
		put_text(p, KBS_CONFIG_SUFFIX, COMPONENT_CONFIG, "kbs-config.toml", buf_str(&p->config));
	}
}

static void put_attestation_policy(struct parts *p, const char *suffix, const char *key,
								   enum trustee_attestation_policy policy)
{
	CLEANUP_BUF struct buf text = BUF_INIT(TRUSTEE_POLICY_MAX);
	bool query = p->dialect->from_minor >= REFERENCES_SINCE_MINOR;
	trustee_policy_attestation(policy, query ? REFERENCES_QUERY : REFERENCES_DATA, &text);
	put_text(p, suffix, COMPONENT_POLICY, key, buf_str(&text));
}

static void put_policies(struct parts *p)
{
	if (p->policy_ok)
		put_text(p, SUFFIX_RESOURCE_POLICY, COMPONENT_POLICY, "resource-policy.rego", buf_str(&p->policy));
	else
		parts_put(p, &KUBE_CONFIG_MAPS, parts_name(p, SUFFIX_RESOURCE_POLICY), COMPONENT_POLICY, NULL);
	put_attestation_policy(p, SUFFIX_CPU_POLICY, "default_cpu.rego", ATTESTATION_CPU);
	put_attestation_policy(p, SUFFIX_GPU_POLICY, "default_gpu.rego", ATTESTATION_GPU);
}

static bool has_no_values(struct str text)
{
	json_auto_t *values = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
	bool blank = true;
	for (size_t i = 0; i < text.n; i++)
		blank &= isspace((unsigned char)text.p[i]) != 0;
	return blank || json_is_null(values) || (json_is_object(values) && json_object_size(values) == 0) ||
		   (json_is_array(values) && json_array_size(values) == 0);
}

// The admin's, whatever it is, but for what we made in another version's form.
static void put_reference_values(struct parts *p)
{
	static const char key[] = "reference_value";
	CLEANUP_FREE char *name = parts_name(p, SUFFIX_REFERENCE_VALUES);
	const json_t *live = parts_live(p, &KUBE_CONFIG_MAPS, name);
	const json_t *now = json_object_get(json_object_get(live, "data"), key);
	struct str text = str_from(p->dialect->reference_values_table ? NO_VALUES_LIST : NO_VALUES);
	if (json_is_string(now) && strcmp(json_string_value(now), NO_VALUES) != 0 &&
		strcmp(json_string_value(now), NO_VALUES_LIST) != 0)
		text = (struct str){json_string_value(now), json_string_length(now)};
	bool binary = json_object_get(json_object_get(live, "binaryData"), key) != NULL;
	if (!binary && p->in->spec->profile == TRUSTEE_RESTRICTED && !p->in->spec->ibm_se_given && has_no_values(text))
		remarks_add(&p->out->remarks, REMARK_NOTE, ABOUT_RELEASE, "NoReferenceValues",
					"no guest gets a resource from it: spec.profileType Restricted releases them to guests that "
					"reference values approve of, and key \"%s\" of ConfigMap \"%s\" in namespace \"%s\" has none; "
					"put those of your guests there",
					key, name, kube_namespace(p->in->object));
	parts_put(p, &KUBE_CONFIG_MAPS, TAKE_PTR(name), COMPONENT_REFERENCE_VALUES, binary ? NULL : text_body(key, text));
}

static void put_ibm_se_store(struct parts *p)
{
	json_t *body = json_made(json_pack("{s:{s:[s], s:{s:{s:s}}, s:s, s:s}}", "spec", "accessModes", "ReadOnlyMany",
									   "resources", "requests", "storage", "100Mi", "storageClassName", "",
									   "volumeName", p->in->spec->ibm_se.pv_name));
	parts_put(p, &KUBE_PVCS, parts_name(p, SUFFIX_IBM_SE_STORE), COMPONENT_STORAGE, body);
}

// ---- All of it

static void prepare(struct parts *p)
{
	choose_dialect(p);
	if (p->in->spec->profile == TRUSTEE_RESTRICTED && !p->https)
		refuse(p, "HTTPSMissing",
			   "spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the name of a "
			   "Secret of type kubernetes.io/tls");
	if (!p->hold)
		write_config(p);
	parts_bind(p);
}

static int put_all(struct parts *p, struct error *err)
{
	if (!p->hold) {
		put_config(p);
		put_policies(p);
		put_reference_values(p);
	}
	int rc = parts_put_secrets(p, err);
	if (rc < 0)
		return rc;
	if (p->hold) {
		keep_all(p);
		return 0;
	}
	if (p->in->spec->ibm_se_given)
		put_ibm_se_store(p);
	parts_put_kbs_config(p);
	return 0;
}

int trustee_render(const struct trustee_render_input *in, struct trustee_rendering *ret, struct error *err)
{
	*ret = (struct trustee_rendering){0};
	const struct trustee_spec *spec = in->spec;
	struct parts p = {
		.in = in,
		.out = ret,
		.name = kube_name(in->object),
		.https = spec->https_secret != NULL,
		.signer = spec->profile == TRUSTEE_RESTRICTED || spec->token_secret != NULL,
		.config = secret_buf(KBS_CONFIG_MAX),
		.policy = BUF_INIT(TRUSTEE_POLICY_MAX),
	};
	prepare(&p);
	int rc = put_all(&p, err);
	secret_buf_release(&p.config);
	buf_release(&p.policy);
	if (rc < 0)
		trustee_rendering_release(ret);
	return rc;
}

void trustee_rendering_release(struct trustee_rendering *r)
{
	rendered_release(&r->objects);
	remarks_release(&r->remarks);
	free(r->ca);
	for (size_t i = 0; i < r->nmade; i++)
		free(r->made[i]);
	*r = (struct trustee_rendering){0};
}

void trustee_needs(const json_t *object, const struct trustee_spec *spec,
				   void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
{
	const struct {
		const struct kube_resource *resource;
		const char *prefix, *suffix;
		bool read;
	} ours[] = {
		{&KUBE_KBS_CONFIGS, "", KBS_CONFIG_SUFFIX, true},
		{&KUBE_CONFIG_MAPS, "", SUFFIX_REFERENCE_VALUES, true},
		{&KUBE_CONFIG_MAPS, TRUSTEE_ENDPOINT_PREFIX, "", spec->https_secret != NULL},
		{&KUBE_SECRETS, "", SUFFIX_AUTH, true},
		{&KUBE_SECRETS, "", SUFFIX_HTTPS_KEY, spec->https_secret != NULL},
		{&KUBE_SECRETS, "", SUFFIX_HTTPS_CERT, spec->https_secret != NULL},
		{&KUBE_SECRETS, "", SUFFIX_TOKEN_KEY, spec->profile == TRUSTEE_RESTRICTED || spec->token_secret != NULL},
		{&KUBE_SECRETS, "", SUFFIX_TOKEN_CERT, spec->profile == TRUSTEE_RESTRICTED || spec->token_secret != NULL},
	};
	const char *given[] = {spec->https_secret, spec->token_secret,
						   spec->hosting.vault_given ? spec->hosting.vault.token.name : NULL,
						   spec->hosting.sessions.type == SESSIONS_REDIS ? spec->hosting.sessions.url.name : NULL};
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		if (given[i] != NULL)
			need(ctx, &KUBE_SECRETS, given[i]);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		CLEANUP_FREE char *name = xasprintf("%s%s%s", ours[i].prefix, kube_name(object), ours[i].suffix);
		if (ours[i].read)
			need(ctx, ours[i].resource, name);
	}
}

void trustee_render_endpoint(const json_t *object, const char *url, const char *ca, struct rendered *r)
{
	const char *name = kube_name(object);
	CLEANUP_FREE char *full = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, name);
	json_t *endpoint = json_made(json_pack("{s:o, s:{s:s, s:s*}}", "metadata",
										   rendered_metadata(object, full, name, COMPONENT_ENDPOINT), "data", "url",
										   url, "ca.crt", ca));
	rendered_add(r, &KUBE_CONFIG_MAPS, endpoint);
}
