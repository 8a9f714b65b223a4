// A KbsConfig's objects: the Deployment, the Service, and what makes it reachable. PURE
//
//   Deployment [INSTANCE-]trustee-deployment
//   Service    [INSTANCE-]kbs-service
//   Route, TLSRoute or Ingress [INSTANCE-]kbs   TLS is passed through: the guest pins the KBS's own certificate
//   ConfigMap  KBSCONFIG-image-policy           for an imagePolicy whose text stands in the spec
//   ServiceMonitor [INSTANCE-]kbs-service
//
// Secrets that are served as resources, and the image policy, are one projected volume whose items have the very file names
// that the KBS looks for (default\x2FSECRET\x2FKEY): no init container, no second copy of a secret in the pod, and the kubelet
// keeps the files up to date. They are optional: a Secret that isn't there yet is no reason for the KBS not to run.
//
// The pod's template carries a digest over the content of every ConfigMap and Secret that is mounted (ANNOTATION_CONTENT): one
// rollout for one change of content, none for a label. A new pod must be ready before an old one goes (maxUnavailable 0), so
// that a bad change never stops what runs.
#ifndef COCO_CONTROLLER_KBS_RENDER_H
#define COCO_CONTROLLER_KBS_RENDER_H

#include "common/trustee.h"
#include "controller/remarks.h"
#include "controller/rendered.h"

#define ANNOTATION_CONTENT NAME_GROUP "/content"
// On pods: the KbsConfig that they belong to.
#define ANNOTATION_KBS_CONFIG NAME_GROUP "/kbs-config"
#define KBS_POLL_HOST_MAX 256

struct kbs_render_input {
	const json_t *object;        // the KbsConfig, with metadata
	const struct kbs_spec *spec; // decoded from it
	// Of the TrusteeConfig that it is made of; NULL where there is none.
	const struct trustee_spec *trustee;
	// "Secret/NAME", "ConfigMap/NAME", "PersistentVolumeClaim/NAME" in the same namespace to digested objects
	// (object_digest.h): those that kbs_needs() names and that exist.
	const json_t *objects;
	const json_t *deployment; // the live one, or NULL
	// What is mounted isn't fit to be rolled out: the live template's ANNOTATION_CONTENT stays; without a Deployment, none is made.
	bool hold;
	const struct trustee_world *world;
};

// Tells of each object of the namespace that the pods use, whether it exists or not.
void kbs_needs(const json_t *object, const struct kbs_spec *spec,
			   void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
	__attribute__((nonnull(1, 2, 3)));

// Any earlier content of ret is overwritten, not released. Never fails: where something that the pods can't start without is
// missing, that is a remark, and the Deployment is kept as it is, if there is one.
void kbs_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
	__attribute__((nonnull));

// What exposes a Service outside the cluster here: EXPOSE_ROUTE, EXPOSE_TLS_ROUTE, EXPOSE_INGRESS or EXPOSE_NONE. Auto is a
// Route where the cluster has Routes and the KBS speaks HTTPS.
enum trustee_exposure kbs_exposure(const struct kbs_spec *spec, const struct trustee_world *world)
	__attribute__((nonnull));
bool kbs_speaks_https(const struct kbs_spec *spec) __attribute__((nonnull));
const struct kube_resource *kbs_exposure_resource(enum trustee_exposure exposure); // NULL for EXPOSE_NONE
// Names of its objects; new.
char *kbs_deployment_name(const struct kbs_spec *spec) __attribute__((warn_unused_result, returns_nonnull, nonnull));
char *kbs_service_name(const struct kbs_spec *spec) __attribute__((warn_unused_result, returns_nonnull, nonnull));
char *kbs_exposure_name(const struct kbs_spec *spec) __attribute__((warn_unused_result, returns_nonnull, nonnull));

// Where guests reach it: the exposing object's admitted host, spec.exposure.host where exposing is left to the admin, a load
// balancer's address, or the Service's name in the cluster. New; NULL while that isn't known (a Route that isn't admitted
// yet), or where the exposure that is asked for, with its host, can't be had. remarks: why, but for the latter, which
// kbs_render() says (ABOUT_ROUTE). service, exposed: live objects, or NULL.
char *kbs_url(const json_t *object, const struct kbs_spec *spec, const struct trustee_world *world,
			  const json_t *service, const json_t *exposed, struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 6)));

#endif
