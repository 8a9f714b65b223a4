// The objects that a resource of ours comes to, as they are applied. PURE
//
// Every object says whose it is: labels app.kubernetes.io/managed-by, part-of, instance (the Trustee's name) and component,
// the owner's ownerReference as its controller, and annotation ANNOTATION_APPLIED, a digest over all the rest. What is
// applied anew is told by that digest, and by comparing (object_diff.h): a field that is no longer rendered leaves no other
// trace in the live object.
#ifndef COCO_CONTROLLER_RENDERED_H
#define COCO_CONTROLLER_RENDERED_H

#include <jansson.h>
#include <stdbool.h>

#include "common/cleanup.h"
#include "common/kube/resource.h"
#include "common/names.h"

#define RENDERED_MAX 32

#define MANAGED_BY "coco-controller" // also the field manager
#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"
#define LABEL_PART_OF "app.kubernetes.io/part-of"
#define LABEL_INSTANCE "app.kubernetes.io/instance"
#define LABEL_COMPONENT "app.kubernetes.io/component"
#define ANNOTATION_APPLIED NAME_GROUP "/applied"

// Values of LABEL_COMPONENT.
#define COMPONENT_CONFIG "config"
#define COMPONENT_POLICY "policy"
#define COMPONENT_REFERENCE_VALUES "reference-values"
#define COMPONENT_AUTH "auth"
#define COMPONENT_SAMPLE "sample"
#define COMPONENT_HTTPS "https"
#define COMPONENT_ATTESTATION "attestation"
#define COMPONENT_KBS "kbs"
#define COMPONENT_STORAGE "storage"
#define COMPONENT_ENDPOINT "endpoint"

struct rendered_object {
	const struct kube_resource *resource;
	char *name;
	// NULL: it is ours and stays as it is, whatever that is. A Secret's is wiped on release: take no reference to it, or to a
	// part.
	json_t *object;
};

struct rendered {
	struct rendered_object v[RENDERED_MAX]; // in the order in which they are applied
	size_t n;
};

// metadata for an object of the owner's: name, namespace, labels, and the ownerReference where the owner has a uid (a file's
// hasn't). New. instance: the Trustee's name; component: such as "kbs".
json_t *rendered_metadata(const json_t *owner, const char *name, const char *instance, const char *component)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// Takes an object with metadata; sets apiVersion and kind as the resource has them, and ANNOTATION_APPLIED.
void rendered_add(struct rendered *r, const struct kube_resource *res, json_t *object) __attribute__((nonnull));
// Notes that an object is still wanted, though it can't be rendered now: it is neither changed nor deleted.
void rendered_keep(struct rendered *r, const struct kube_resource *res, const char *name) __attribute__((nonnull));
// NULL where there is none of that name, or it is only kept. Borrowed.
const json_t *rendered_find(const struct rendered *r, const struct kube_resource *res, const char *name)
	__attribute__((nonnull));
bool rendered_wants(const struct rendered *r, const struct kube_resource *res, const char *name)
	__attribute__((nonnull));
// Whether an object's labels say that the controller has made it.
bool rendered_is_ours(const json_t *object);
void rendered_release(struct rendered *r) __attribute__((nonnull));
#define CLEANUP_RENDERED CLEANUP(rendered_release)

// What the program was told, and what the cluster has: the same for all Trustees.
struct trustee_world {
	struct {
		const char *kbs;                  // with everything in it
		const char *kbs_grpc, *as, *rvps; // of MicroservicesDeployment
	} images;
	struct {
		bool route, tls_route, ingress, service_monitor;
	} served; // kinds that the API server has
};

extern const struct trustee_world TRUSTEE_WORLD_DEFAULT; // upstream's images of TRUSTEE_VERSION_MINOR, on OpenShift

#endif
