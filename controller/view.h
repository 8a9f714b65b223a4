// The cluster as the reconciling of Trustees sees it: live objects of all kinds that take part, as informers and our own
// writes tell, by name and by owner. Thread-safe.
//
// Followed are: TrusteeConfigs and KbsConfigs, all; of Deployments, Services, Pods and so on those that carry our label,
// in all namespaces; of Secrets only the metadata, and only in namespaces with a Trustee, so that the rights to read them
// need be given in no other; of ConfigMaps that aren't ours those that someone refers to, each by a watch of its own.
// What a Secret holds is read when it is needed, and remembered by digests alone (object_digest.h).
#ifndef COCO_CONTROLLER_VIEW_H
#define COCO_CONTROLLER_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/kube/client.h"
#include "common/kube/informer.h"
#include "controller/rendered.h"

#define VIEW_FOLLOWED_MAX 400   // namespaces and single ConfigMaps together; compare KUBE_STREAMS_MAX
#define VIEW_CONFIG_MAPS_MAX 64 // of one namespace, so that it leaves room for others
#define VIEW_WORLD_MS 600000    // how often the kinds that a cluster may lack are looked for

struct view;

struct view_config {
	struct kube_client *client;
	struct kube_informers *informers;
	const struct clock *clock;
	// An object came or changed, by another hand than ours, or (gone) went, or has by any hand another instanceName than it
	// had; on an informer's thread, quick.
	void (*changed)(void *ctx, const struct kube_resource *res, const json_t *object, bool gone);
	// Objects were listed, for the first time or anew: of a namespace, or (NULL) of all. A list tells of a change by another
	// hand only as far as no write of ours came after it, and not of what came and went meanwhile.
	void (*listed)(void *ctx, const char *ns);
	void *ctx;
};

struct view *view_start(const struct view_config *config) __attribute__((warn_unused_result, returns_nonnull, nonnull));
// Before the informers' stop. NULL is fine.
void view_stop(struct view *v);

// What is missing before anything can be told to be gone, for people; NULL where nothing is.
const char *view_waits_for(struct view *v) __attribute__((nonnull));

// Looks for the kinds that a cluster may lack, and follows those that are there from now on; one that was there once counts
// as there for good. true: there are others than before. ret: served is filled in.
int view_look_around(struct view *v, struct trustee_world *ret, bool *ret_news, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// `user` (a key) reads these from now on, in place of what it read before: the Secrets of its namespace, and ConfigMaps by
// name (an array of strings, or NULL). 0: all of it is there. 1: not all was listed yet; listed() tells when. -ENOSPC: too many.
int view_use(struct view *v, const char *user, const char *ns, const json_t *config_maps, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 5)));
// It reads nothing any more.
void view_forget(struct view *v, const char *user) __attribute__((nonnull));

// The object as it is now, new; NULL where there is none. Of Secrets the metadata; ConfigMaps digested; all others whole.
json_t *view_get(struct view *v, const struct kube_resource *res, const char *ns, const char *name)
	__attribute__((warn_unused_result, nonnull));
// All of a kind in a namespace: a new array.
json_t *view_list(struct view *v, const struct kube_resource *res, const char *ns)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// A Secret or ConfigMap digested, read anew only where it has changed. *ret is new, NULL where there is none.
int view_digest(struct view *v, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
				struct error *err) __attribute__((warn_unused_result, nonnull));
// The object whole, from the API server; to be freed with secret_json_free() where it is a Secret. *ret is new, NULL where
// there is none.
int view_read(struct view *v, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
			  struct error *err) __attribute__((warn_unused_result, nonnull));

// Calls fn for each object of the namespace that this uid owns; borrowed.
typedef void (*view_owned_fn)(void *ctx, const struct kube_resource *res, const json_t *object);
void view_owned(struct view *v, const char *ns, const char *uid, view_owned_fn fn, void *ctx)
	__attribute__((nonnull(1, 2, 3, 4)));

// TrusteeConfigs and KbsConfigs of the namespace with the same spec.instanceName: a new array of what trustee_rival() asks
// for: kind, name, creationTimestamp and instanceName.
json_t *view_same_instance(struct view *v, const char *ns, const char *instance)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// The pods of a KbsConfig, as trustee_pod_trim() leaves them: a new array.
json_t *view_pods(struct view *v, const char *ns, const char *kbs_config)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

// The API server answered a write of ours: object as it is now (borrowed; NULL: deleted), before: as view_get() had it (NULL
// for nothing). between: where it took several writes, the resourceVersions on the way; or NULL.
void view_wrote(struct view *v, const struct kube_resource *res, const char *ns, const char *name, const json_t *before,
				const json_t *between, const json_t *object) __attribute__((nonnull(1, 2, 3, 4)));

#endif
