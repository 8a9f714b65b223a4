// Kubernetes resources and their URL paths. PURE
#ifndef COCO_COMMON_KUBE_RESOURCE_H
#define COCO_COMMON_KUBE_RESOURCE_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"

struct kube_resource {
	const char *group; // "" for the core group
	const char *version;
	const char *plural; // as in the path
	const char *kind;
	bool namespaced;
};

// Those that the programs use; a file of rules may define its own as well.
extern const struct kube_resource KUBE_NAMESPACES, KUBE_PODS, KUBE_CONFIG_MAPS, KUBE_SECRETS, KUBE_LEASES, KUBE_EVENTS,
	KUBE_CRDS, KUBE_RUNTIME_CLASSES, KUBE_MUTATING_WEBHOOKS, KUBE_VALIDATING_WEBHOOKS, KUBE_DEPLOYMENTS, KUBE_SERVICES,
	KUBE_CONFIDENTIAL_PROFILES, KUBE_TRUSTEE_CONFIGS, KUBE_KBS_CONFIGS, KUBE_PVCS, KUBE_INGRESSES, KUBE_ROUTES,
	KUBE_TLS_ROUTES, KUBE_SERVICE_MONITORS;

// The annotation in which kubectl apply repeats the whole object, a Secret's data too.
#define KUBE_LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

#define KUBE_PATH_MAX ((size_t)8 * 1024)

// Appends the path of a collection (name NULL), an object, or its subresource (NULL for none), percent-encoded:
// "/apis/apps/v1/namespaces/NS/deployments/NAME/status". ns NULL: all namespaces, or a cluster-scoped resource.
void kube_path(const struct kube_resource *res, const char *ns, const char *name, const char *subresource,
			   struct buf *out) __attribute__((nonnull(1, 5)));
// Appends "?key=value" or "&key=value", percent-encoded; nothing where value is NULL. The path's first '?' tells which.
void kube_path_query(struct buf *path, const char *key, const char *value) __attribute__((nonnull(1, 2)));

// Appends where a group's version describes itself: "/api/v1", "/apis/apps/v1".
void kube_group_path(const struct kube_resource *res, struct buf *out) __attribute__((nonnull));
// Whether a namespace or name can stand in a path: an empty one would name the whole collection, and "..", which no
// encoding hides, another path. NULL can't.
bool kube_is_segment(const char *text);

// "v1", "apps/v1".
void kube_api_version(const struct kube_resource *res, struct buf *out) __attribute__((nonnull));

// Parts of an object; "" where it has none. Borrowed.
const char *kube_name(const json_t *object);
const char *kube_namespace(const json_t *object);
const char *kube_uid(const json_t *object);
// The owner that controls it, borrowed; NULL where there is none.
const json_t *kube_controller(const json_t *object);
const char *kube_resource_version(const json_t *object);
const char *kube_label(const json_t *object, const char *key) __attribute__((nonnull(2)));      // NULL where unset
const char *kube_annotation(const json_t *object, const char *key) __attribute__((nonnull(2))); // NULL where unset

// "namespace/name", or "name" of a cluster-scoped object: what stores and queues call it. New.
char *kube_key(const char *ns, const char *name) __attribute__((nonnull(2), returns_nonnull));
// Splits a key in place of a copy: *ret_ns (new; NULL for a cluster-scoped one) and *ret_name (new).
void kube_key_split(const char *key, char **ret_ns, char **ret_name) __attribute__((nonnull));

#endif
