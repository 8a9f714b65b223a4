#include "common/kube/resource.h"

#include <string.h>

#include "common/mem.h"
#include "common/names.h"

const struct kube_resource KUBE_NAMESPACES = {"", "v1", "namespaces", "Namespace", false};
const struct kube_resource KUBE_PODS = {"", "v1", "pods", "Pod", true};
const struct kube_resource KUBE_CONFIG_MAPS = {"", "v1", "configmaps", "ConfigMap", true};
const struct kube_resource KUBE_SECRETS = {"", "v1", "secrets", "Secret", true};
const struct kube_resource KUBE_SERVICES = {"", "v1", "services", "Service", true};
const struct kube_resource KUBE_DEPLOYMENTS = {"apps", "v1", "deployments", "Deployment", true};
const struct kube_resource KUBE_PVCS = {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true};
const struct kube_resource KUBE_INGRESSES = {"networking.k8s.io", "v1", "ingresses", "Ingress", true};
const struct kube_resource KUBE_ROUTES = {"route.openshift.io", "v1", "routes", "Route", true};
const struct kube_resource KUBE_TLS_ROUTES = {"gateway.networking.k8s.io", "v1alpha2", "tlsroutes", "TLSRoute", true};
const struct kube_resource KUBE_SERVICE_MONITORS = {"monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor",
													true};
const struct kube_resource KUBE_LEASES = {"coordination.k8s.io", "v1", "leases", "Lease", true};
const struct kube_resource KUBE_EVENTS = {"events.k8s.io", "v1", "events", "Event", true};
const struct kube_resource KUBE_RUNTIME_CLASSES = {"node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false};
const struct kube_resource KUBE_CRDS = {"apiextensions.k8s.io", "v1", "customresourcedefinitions",
										"CustomResourceDefinition", false};
const struct kube_resource KUBE_MUTATING_WEBHOOKS = {
	"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false};
const struct kube_resource KUBE_VALIDATING_WEBHOOKS = {
	"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false};
const struct kube_resource KUBE_CONFIDENTIAL_PROFILES = {NAME_GROUP, "v1alpha1", "confidentialprofiles",
														 "ConfidentialProfile", true};
const struct kube_resource KUBE_TRUSTEE_CONFIGS = {NAME_TRUSTEE_GROUP, "v1alpha1", "trusteeconfigs", "TrusteeConfig",
												   true};
const struct kube_resource KUBE_KBS_CONFIGS = {NAME_TRUSTEE_GROUP, "v1alpha1", "kbsconfigs", "KbsConfig", true};

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
		   c == '_' || c == '~';
}

// All but RFC 3986's unreserved characters.
static void add_encoded(struct buf *out, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	for (const char *p = text; *p != '\0'; p++) {
		if (is_unreserved(*p)) {
			buf_addc(out, *p);
			continue;
		}
		unsigned char c = (unsigned char)*p;
		buf_add(out, (char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
	}
}

static void add_segment(struct buf *out, const char *text)
{
	buf_addc(out, '/');
	add_encoded(out, text);
}

void kube_path(const struct kube_resource *res, const char *ns, const char *name, const char *subresource,
			   struct buf *out)
{
	kube_group_path(res, out);
	if (res->namespaced && ns != NULL) {
		buf_addz(out, "/namespaces");
		add_segment(out, ns);
	}
	add_segment(out, res->plural);
	if (name != NULL)
		add_segment(out, name);
	if (name != NULL && subresource != NULL)
		add_segment(out, subresource);
}

void kube_group_path(const struct kube_resource *res, struct buf *out)
{
	buf_addz(out, res->group[0] != '\0' ? "/apis" : "/api");
	if (res->group[0] != '\0')
		add_segment(out, res->group);
	add_segment(out, res->version);
}

void kube_path_query(struct buf *path, const char *key, const char *value)
{
	if (value == NULL)
		return;
	buf_addc(path, strchr(buf_z(path), '?') != NULL ? '&' : '?');
	add_encoded(path, key);
	buf_addc(path, '=');
	add_encoded(path, value);
}

bool kube_is_segment(const char *text)
{
	return text != NULL && text[0] != '\0' && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 &&
		   strpbrk(text, "/%") == NULL;
}

void kube_api_version(const struct kube_resource *res, struct buf *out)
{
	if (res->group[0] != '\0') {
		buf_addz(out, res->group);
		buf_addc(out, '/');
	}
	buf_addz(out, res->version);
}

static const char *meta_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));
	return text != NULL ? text : "";
}

const char *kube_name(const json_t *object)
{
	return meta_text(object, "name");
}

const char *kube_namespace(const json_t *object)
{
	return meta_text(object, "namespace");
}

const char *kube_uid(const json_t *object)
{
	return meta_text(object, "uid");
}

const json_t *kube_controller(const json_t *object)
{
	size_t i = 0;
	const json_t *owner = NULL;
	json_array_foreach (json_object_get(json_object_get(object, "metadata"), "ownerReferences"), i, owner)
		if (json_is_true(json_object_get(owner, "controller")))
			return owner;
	return NULL;
}

const char *kube_resource_version(const json_t *object)
{
	return meta_text(object, "resourceVersion");
}

static const char *meta_entry(const json_t *object, const char *map, const char *key)
{
	return json_string_value(json_object_get(json_object_get(json_object_get(object, "metadata"), map), key));
}

const char *kube_label(const json_t *object, const char *key)
{
	return meta_entry(object, "labels", key);
}

const char *kube_annotation(const json_t *object, const char *key)
{
	return meta_entry(object, "annotations", key);
}

char *kube_key(const char *ns, const char *name)
{
	return ns != NULL && ns[0] != '\0' ? xasprintf("%s/%s", ns, name) : xstrdup(name);
}

void kube_key_split(const char *key, char **ret_ns, char **ret_name)
{
	const char *slash = strchr(key, '/');
	*ret_ns = slash != NULL ? xstrndup((struct str){key, (size_t)(slash - key)}) : NULL;
	*ret_name = xstrdup(slash != NULL ? slash + 1 : key);
}
