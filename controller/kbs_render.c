#include "controller/kbs_render.h"

#include <string.h>

#include "common/encode.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "controller/kbs_config.h"
#include "controller/kbs_private.h"
#include "controller/object_digest.h"

#define HASH_BYTES 5
#define COMPONENT "kbs"

// ---- Names

static char *instance_name(const struct kbs_spec *spec, const char *name)
{
	const char *instance = spec->hosting.instance_name;
	return instance != NULL ? xasprintf("%s-%s", instance, name) : xstrdup(name);
}

char *kbs_deployment_name(const struct kbs_spec *spec)
{
	return instance_name(spec, "trustee-deployment");
}

char *kbs_service_name(const struct kbs_spec *spec)
{
	return instance_name(spec, "kbs-service");
}

char *kbs_exposure_name(const struct kbs_spec *spec)
{
	return instance_name(spec, "kbs");
}

// Upstream's where the names are: a Deployment's selector can't be changed, and its pods are to be taken over.
char *kbs_app(const struct kbs_spec *spec)
{
	return instance_name(spec, "kbs");
}

// The Trustee's name as the value of a label. A KbsConfig that no TrusteeConfig has made may have any name, of any length.
static char *trustee_name(const json_t *object)
{
	const char *name = kube_name(object);
	size_t n = strlen(name);
	size_t suffix = strlen(KBS_CONFIG_SUFFIX);
	if (n > suffix && strcmp(name + n - suffix, KBS_CONFIG_SUFFIX) == 0 && name[n - suffix - 1] != '-')
		n -= suffix;
	if (n <= TRUSTEE_NAME_MAX)
		return xstrndup((struct str){name, n});
	struct error err;
	struct digest hash;
	if (digest_of(STR("sha256"), (struct str){name, n}, &hash, &err) < 0)
		abort();
	CLEANUP_BUF struct buf hex = BUF_INIT((size_t)2 * DIGEST_MAX);
	hex_encode(hash.v, HASH_BYTES, &hex);
	return xasprintf("%.*s-%s", (int)(TRUSTEE_NAME_MAX - 1 - hex.n), name, buf_z(&hex));
}

const char *kbs_image(const struct kbs_render_input *in)
{
	const char *image = in->spec->hosting.image;
	bool several = in->spec->deployment == KBS_MICROSERVICES;
	if (image != NULL)
		return image;
	return several ? in->world->images.kbs_grpc : in->world->images.kbs;
}

json_t *kbs_metadata(const struct kbs_render_input *in, const char *name, const char *component)
{
	CLEANUP_FREE char *trustee = trustee_name(in->object);
	CLEANUP_FREE char *app = kbs_app(in->spec);
	json_t *metadata = rendered_metadata(in->object, name, trustee, component);
	json_put(json_object_get(metadata, "labels"), LABEL_APP, json_string(app));
	return metadata;
}

// ---- Needs

struct needs {
	void (*need)(void *ctx, const struct kube_resource *res, const char *name);
	void *ctx;
};

static void tell_need(void *ctx, const struct kbs_reference *ref)
{
	const struct needs *n = ctx;
	if (ref->name != NULL)
		n->need(n->ctx, ref->resource, ref->name);
}

void kbs_needs(const json_t *object, const struct kbs_spec *spec,
			   void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
{
	(void)object;
	struct needs n = {need, ctx};
	kbs_references(spec, tell_need, &n);
}

// ---- Service

static json_t *service(const struct kbs_render_input *in, const char *name)
{
	CLEANUP_FREE char *app = kbs_app(in->spec);
	json_t *spec = json_made(json_pack("{s:s, s:{s:s}, s:[{s:s, s:i, s:s, s:i}]}", "type",
									   in->spec->hosting.service_type, "selector", LABEL_APP, app, "ports", "name",
									   KBS_PORT_NAME, "port", KBS_PORT, "protocol", "TCP", "targetPort", KBS_PORT));
	// A guest has to meet the pod again that it has begun to attest to.
	if (in->spec->replicas > 1 && in->spec->hosting.sessions.type == SESSIONS_MEMORY)
		json_put(spec, "sessionAffinity", json_string("ClientIP"));
	return json_made(json_pack("{s:o, s:o}", "metadata", kbs_metadata(in, name, COMPONENT), "spec", spec));
}

// ---- Deployment

static json_t *live_content(const json_t *deployment)
{
	const json_t *template = json_object_get(json_object_get(deployment, "spec"), "template");
	const char *content = kube_annotation(template, ANNOTATION_CONTENT);
	return content != NULL ? json_string(content) : NULL;
}

// policy: the rendered image policy, or NULL.
static json_t *content_digest(const json_t *content, const json_t *policy)
{
	json_t *all = json_copy((json_t *)(uintptr_t)content);
	if (policy != NULL) {
		CLEANUP_FREE char *key = xasprintf("ConfigMap/%s", kube_name(policy));
		json_put(all, key, object_digest(policy));
	}
	CLEANUP_BUF struct buf hex = BUF_INIT((size_t)2 * DIGEST_MAX);
	object_digest_all(all, &hex);
	json_decref(all);
	return json_string(buf_z(&hex));
}

static json_t *template(const struct kbs_render_input *in, const json_t *metadata, json_t *content, json_t *pod)
{
	json_t *annotations = json_made(json_pack("{s:s}", ANNOTATION_KBS_CONFIG, kube_name(in->object)));
	json_put_some(annotations, ANNOTATION_CONTENT, content);
	return json_made(json_pack("{s:{s:O, s:o}, s:o}", "metadata", "labels", json_object_get(metadata, "labels"),
							   "annotations", annotations, "spec", pod));
}

static json_t *deployment(const struct kbs_render_input *in, const struct trustee_dialect *dialect, const char *name,
						  const json_t *content, struct remarks *remarks)
{
	CLEANUP_FREE char *app = kbs_app(in->spec);
	json_t *metadata = kbs_metadata(in, name, COMPONENT);
	json_t *policy = kbs_image_policy(in);
	json_t *digest = in->hold ? live_content(in->deployment) : content_digest(content, policy);
	json_decref(policy);
	json_t *pods = template(in, metadata, digest, kbs_pod(in, dialect, remarks));
	return json_made(json_pack("{s:o, s:{s:I, s:{s:{s:s}}, s:{s:s, s:{s:i, s:i}}, s:o}}", "metadata", metadata, "spec",
							   "replicas", (json_int_t)in->spec->replicas, "selector", "matchLabels", LABEL_APP, app,
							   "strategy", "type", "RollingUpdate", "rollingUpdate", "maxUnavailable", 0, "maxSurge", 1,
							   "template", pods));
}

// trusteeVersion is for images whose tag doesn't tell, and chooses none: the default image is that of its own release.
static void check_version(const struct kbs_spec *s, const struct trustee_dialect *dialect, const char *image,
						  struct remarks *remarks)
{
	int major = 0;
	int minor = 0;
	if (s->hosting.trustee_version != NULL && s->hosting.image == NULL &&
		trustee_version_of_image(image, &major, &minor) && trustee_dialect_of(major, minor) != dialect)
		remarks_add(
			remarks, REMARK_WARNING, ABOUT_SPEC, "ImageOfOtherVersion",
			"spec.trusteeVersion is %s, but spec.image is unset, and the default image \"%s\" doesn't start with "
			"such a configuration; set spec.image to one of that release, or leave spec.trusteeVersion out",
			s->hosting.trustee_version, image);
}

// What the pods can't start with, beside objects that are missing.
static bool check_spec(const struct kbs_render_input *in, const struct trustee_dialect *dialect, const char *image,
					   struct remarks *remarks)
{
	const struct kbs_spec *s = in->spec;
	if (dialect == NULL)
		remarks_add(remarks, REMARK_ERROR, ABOUT_SPEC, "UnsupportedVersion",
					"spec.trusteeVersion is unset, and image \"%s\" is a Trustee before 0.%d, which can't be run: take "
					"a newer one, "
					"or say in spec.trusteeVersion what it is",
					image, TRUSTEE_OLDEST_MINOR);
	check_version(s, dialect, image, remarks);
	bool half = (s->secrets.https_key != NULL) != (s->secrets.https_cert != NULL);
	if (half)
		remarks_add(remarks, REMARK_ERROR, ABOUT_CERTIFICATE, "ReferenceMissing",
					"spec.%s is unset, but spec.%s is set; set both, or none for plain HTTP",
					s->secrets.https_key != NULL ? "kbsHttpsCertSecretName" : "kbsHttpsKeySecretName",
					s->secrets.https_key != NULL ? "kbsHttpsKeySecretName" : "kbsHttpsCertSecretName");
	if (s->config_maps.resource_policy == NULL)
		remarks_add(remarks, REMARK_NOTE, ABOUT_SPEC, "OwnPolicy",
					"spec.kbsResourcePolicyConfigMapName is unset: the KBS goes by a policy of its own, which releases "
					"every resource to any guest that isn't a sample");
	return dialect != NULL && !half;
}

static void render_deployment(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
{
	const char *image = kbs_image(in);
	const struct trustee_dialect *dialect = trustee_dialect_for(&in->spec->hosting, image);
	CLEANUP_FREE char *name = kbs_deployment_name(in->spec);
	json_t *content = json_object();
	bool good = check_spec(in, dialect, image, remarks);
	good = kbs_references_check(in, content, remarks) && good;
	// A pod can be made only of what is there.
	good = good && kbs_pod_check(in, dialect, remarks) && !(in->hold && in->deployment == NULL);
	if (good)
		rendered_add(ret, &KUBE_DEPLOYMENTS, deployment(in, dialect, name, content, remarks));
	else
		rendered_keep(ret, &KUBE_DEPLOYMENTS, name);
	json_decref(content);
}

void kbs_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
{
	*ret = (struct rendered){0};
	json_t *policy = kbs_image_policy(in);
	CLEANUP_FREE char *name = kbs_service_name(in->spec);
	if (policy != NULL)
		rendered_add(ret, &KUBE_CONFIG_MAPS, policy);
	render_deployment(in, ret, remarks);
	rendered_add(ret, &KUBE_SERVICES, service(in, name));
	kbs_exposure_render(in, ret, remarks);
	kbs_monitor_render(in, ret, remarks);
}
