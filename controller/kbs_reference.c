// Which objects of the namespace a KbsConfig's pods use, and which of them are missing.
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "controller/kbs_config.h"
#include "controller/kbs_private.h"

#define FIELD_ROOM 96
#define OBJECT_KEY_MAX 384 // a kind, a slash and a name

#define MISSING "ReferenceMissing"

struct listing {
	const struct kbs_spec *spec;
	kbs_reference_fn each;
	void *ctx;
};

// One that the pods can't start without.
static void list_needed(const struct listing *l, const char *field, const struct kube_resource *res, const char *name,
						const char *key, const char *old_key)
{
	struct kbs_reference ref = {
		.field = field,
		.resource = res,
		.name = name,
		.key = key,
		.old_key = old_key,
		.level = REMARK_ERROR,
		.about = ABOUT_SPEC,
		.reason = MISSING,
		.is_content = true,
	};
	l->each(l->ctx, &ref);
}

static void list_config_maps(const struct listing *l)
{
	const struct kbs_spec *s = l->spec;
	const struct kube_resource *config = kbs_config_is_secret(&s->hosting) ? &KUBE_SECRETS : &KUBE_CONFIG_MAPS;
	list_needed(l, "spec.kbsConfigMapName", config, s->config_maps.kbs, KBS_CONFIG_KEY, NULL);
	if (s->deployment == KBS_MICROSERVICES) {
		list_needed(l, "spec.kbsAsConfigMapName", &KUBE_CONFIG_MAPS, s->config_maps.as, "as-config.json", NULL);
		list_needed(l, "spec.kbsRvpsConfigMapName", &KUBE_CONFIG_MAPS, s->config_maps.rvps, "rvps-config.json", NULL);
	}
	const struct {
		const char *field, *name, *key, *old_key;
	} optional[] = {
		{"spec.kbsResourcePolicyConfigMapName", s->config_maps.resource_policy, "resource-policy.rego", "policy.rego"},
		{"spec.kbsAttestationPolicyConfigMapName", s->config_maps.attestation_policy, "default_cpu.rego", NULL},
		{"spec.kbsGpuAttestationPolicyConfigMapName", s->config_maps.gpu_attestation_policy, "default_gpu.rego", NULL},
		{"spec.kbsRvpsRefValuesConfigMapName", s->config_maps.reference_values, "reference_value",
		 "reference-values.json"},
	};
	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
		if (optional[i].name != NULL)
			list_needed(l, optional[i].field, &KUBE_CONFIG_MAPS, optional[i].name, optional[i].key,
						optional[i].old_key);
}

static void list_secrets(const struct listing *l)
{
	const struct kbs_spec *s = l->spec;
	const struct {
		const char *field, *name, *key;
		enum remark_about about;
	} named[] = {
		{"spec.kbsAuthSecretName", s->secrets.auth, "publicKey", ABOUT_SPEC},
		{"spec.kbsHttpsKeySecretName", s->secrets.https_key, "privateKey", ABOUT_CERTIFICATE},
		{"spec.kbsHttpsCertSecretName", s->secrets.https_cert, "certificate", ABOUT_CERTIFICATE},
		{"spec.kbsAttestationKeySecretName", s->secrets.attestation_key, "token.key", ABOUT_CERTIFICATE},
		{"spec.kbsAttestationCertSecretName", s->secrets.attestation_cert, "token.crt", ABOUT_CERTIFICATE},
		{"spec.vault.caSecretRef", s->hosting.vault.ca.name, s->hosting.vault.ca.key, ABOUT_SPEC},
		{"spec.sessionStorage.secretRef", s->hosting.sessions.url.name, s->hosting.sessions.url.key, ABOUT_SPEC},
	};
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (named[i].name == NULL)
			continue;
		struct kbs_reference ref = {
			.field = named[i].field,
			.resource = &KUBE_SECRETS,
			.name = named[i].name,
			.key = named[i].key,
			.level = REMARK_ERROR,
			.about = named[i].about,
			.reason = MISSING,
			.is_content = true,
		};
		l->each(l->ctx, &ref);
	}
	for (size_t i = 0; i < s->cert_caches.n; i++) {
		char field[FIELD_ROOM];
		(void)snprintf(field, sizeof(field), "spec.kbsLocalCertCacheSpec.secrets[%zu].secretName", i);
		list_needed(l, field, &KUBE_SECRETS, s->cert_caches.v[i].secret, NULL, NULL);
	}
}

// What the pods get on without, or wait for.
static void list_wanted(const struct listing *l)
{
	const struct kbs_spec *s = l->spec;
	const struct trustee_hosting *h = &s->hosting;
	if (s->ibm_se.cert_store_pvc != NULL) {
		struct kbs_reference ref = {
			.field = "spec.ibmSEConfigSpec.certStorePvc",
			.resource = &KUBE_PVCS,
			.name = s->ibm_se.cert_store_pvc,
			.level = REMARK_WARNING,
			.about = ABOUT_SPEC,
			.reason = MISSING,
			.without = "the pods wait for it",
		};
		l->each(l->ctx, &ref);
	}
	for (size_t i = 0; i < h->npull_secrets; i++) {
		char field[FIELD_ROOM];
		(void)snprintf(field, sizeof(field), "spec.imagePullSecrets[%zu].name", i);
		struct kbs_reference ref = {
			.field = field,
			.resource = &KUBE_SECRETS,
			.name = h->pull_secrets[i].name,
			.level = REMARK_WARNING,
			.about = ABOUT_SPEC,
			.reason = MISSING,
			.without = "images are pulled without it",
		};
		l->each(l->ctx, &ref);
	}
}

static void list_resources(const struct listing *l)
{
	const struct kbs_spec *s = l->spec;
	const struct object_key_ref *policy = &s->hosting.image_policy.config_map;
	// With Vault, all resources are there.
	if (s->hosting.vault_given)
		return;
	for (size_t i = 0; i < json_array_size(s->secret_resources); i++) {
		char field[FIELD_ROOM];
		(void)snprintf(field, sizeof(field), "spec.kbsSecretResources[%zu]", i);
		struct kbs_reference ref = {
			.field = field,
			.resource = &KUBE_SECRETS,
			.name = json_string_value(json_array_get(s->secret_resources, i)),
			.level = REMARK_WARNING,
			.about = ABOUT_RESOURCES,
			.reason = "SecretMissing",
			.without = "all others are served",
			.is_content = true,
		};
		l->each(l->ctx, &ref);
	}
	if (s->hosting.image_policy_given && policy->given) {
		struct kbs_reference ref = {
			.field = "spec.imagePolicy.configMapKeyRef",
			.resource = &KUBE_CONFIG_MAPS,
			.name = policy->name,
			.key = policy->key,
			.level = REMARK_WARNING,
			.about = ABOUT_RESOURCES,
			.reason = "ConfigMapMissing",
			.without = "guests that need the policy run no image",
			.is_content = true,
		};
		l->each(l->ctx, &ref);
	}
}

void kbs_references(const struct kbs_spec *spec, kbs_reference_fn each, void *ctx)
{
	const struct listing l = {spec, each, ctx};
	list_config_maps(&l);
	list_secrets(&l);
	list_wanted(&l);
	list_resources(&l);
}

// ---- What is missing

struct check {
	const struct kbs_render_input *in;
	json_t *content;
	struct remarks *remarks;
	bool can_start;
};

static void object_key(const struct kube_resource *res, const char *name, char room[OBJECT_KEY_MAX])
{
	(void)snprintf(room, OBJECT_KEY_MAX, "%s/%s", res->kind, name);
}

const json_t *kbs_object(const struct kbs_render_input *in, const struct kube_resource *res, const char *name)
{
	char key[OBJECT_KEY_MAX];
	object_key(res, name, key);
	return json_object_get(in->objects, key);
}

bool kbs_object_has(const json_t *object, const char *key)
{
	return json_object_get(json_object_get(object, "data"), key) != NULL ||
		   json_object_get(json_object_get(object, "binaryData"), key) != NULL;
}

static void add_missing(struct check *c, const struct kbs_reference *ref, const json_t *object)
{
	CLEANUP_FREE char *what = NULL;
	const char *kind = ref->resource->kind;
	if (ref->name == NULL)
		what = xasprintf("%s is unset; set it to the %s with the key \"%s\"", ref->field, kind, ref->key);
	else if (object != NULL)
		what = xasprintf("%s is %s \"%s\", which has no key \"%s\"; add it", ref->field, kind, ref->name, ref->key);
	else if (ref->key != NULL)
		what = xasprintf("%s is %s \"%s\", which isn't there; create it, with the key \"%s\"", ref->field, kind,
						 ref->name, ref->key);
	else
		what = xasprintf("%s is %s \"%s\", which isn't there; create it", ref->field, kind, ref->name);
	bool more = ref->without != NULL;
	remarks_add(c->remarks, ref->level, ref->about, ref->reason, "%s%s%s%s", what, more ? " (" : "",
				more ? ref->without : "", more ? ")" : "");
	c->can_start = c->can_start && ref->level < REMARK_ERROR;
}

static void check_reference(void *ctx, const struct kbs_reference *ref)
{
	struct check *c = ctx;
	const json_t *object = ref->name != NULL ? kbs_object(c->in, ref->resource, ref->name) : NULL;
	bool has_key = ref->key == NULL || kbs_object_has(object, ref->key) ||
				   (ref->old_key != NULL && kbs_object_has(object, ref->old_key));
	if (object == NULL || !has_key)
		add_missing(c, ref, object);
	if (object == NULL || !ref->is_content)
		return;
	char key[OBJECT_KEY_MAX];
	object_key(ref->resource, ref->name, key);
	json_put(c->content, key, json_incref((json_t *)(uintptr_t)object));
}

bool kbs_references_check(const struct kbs_render_input *in, json_t *content, struct remarks *remarks)
{
	struct check c = {in, content, remarks, true};
	kbs_references(in->spec, check_reference, &c);
	return c.can_start;
}
