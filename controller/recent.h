// What we wrote and haven't heard of yet: bridges the time between a request's answer and its event. Thread-safe.
//
// A store that lags behind our own writes would have us write again. resourceVersions are opaque: what we wrote counts as
// long as the store has what it had before, or what it had between several writes of ours, and not for longer than RECENT_MS.
#ifndef COCO_CONTROLLER_RECENT_H
#define COCO_CONTROLLER_RECENT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/clock.h"
#include "common/kube/resource.h"

// Longer than it takes until a dead stream is given up and another one is open: a store that lags behind until then would have
// us make what we have made already, such as keys.
#define RECENT_MS 300000
#define RECENT_ENDS_MAX 256  // of objects of a kind, that are remembered
#define RECENT_WRITES_MAX 16 // of one object in a row, that the store hasn't heard of

struct recent;

struct recent *recent_new(const struct clock *clock) __attribute__((warn_unused_result, returns_nonnull, nonnull));
void recent_free(struct recent *r); // NULL is fine

// The API server answered a write with object (borrowed, NULL for a deletion) where the store had the version `before`
// (NULL: nothing). Where its end was heard of since it was read last, what is stored counts.
void recent_wrote(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				  const char *before, json_t *object) __attribute__((nonnull(1, 2, 3, 4)));
// Of what was written last: on the way it also had this version, which the store may have meanwhile.
void recent_passed(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				   const char *version) __attribute__((nonnull));
// An event, which the store has taken up, tells of an object: what was written is forgotten where this is it, or the object's
// end. now: NULL for a deletion.
// true: it is what we wrote last, and no news.
bool recent_heard(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				  const json_t *now) __attribute__((nonnull(1, 2, 3, 4)));
// A list of the kind (of a namespace, or with NULL of all) is in the store, which was begun at that time: what was written
// before is in it, or is no more.
void recent_listed(struct recent *r, const struct kube_resource *res, const char *ns, int64_t began_ms)
	__attribute__((nonnull(1, 2)));
// The object as the store has it: new, NULL for nothing.
typedef json_t *(*recent_stored_fn)(void *ctx, const struct kube_resource *res, const char *ns, const char *name);
// What counts: what is stored, or what was written after it. New. The store is read while nothing can be heard: read before,
// it could be from before an event by which what was written is forgotten, and neither of the two would be believed.
json_t *recent_get(struct recent *r, const struct kube_resource *res, const char *ns, const char *name,
				   recent_stored_fn stored, void *ctx) __attribute__((warn_unused_result, nonnull(1, 2, 3, 4, 5)));
// Calls fn for each object of a kind and namespace that was written lately, whether it still counts or not.
void recent_each(struct recent *r, const struct kube_resource *res, const char *ns,
				 void (*fn)(void *ctx, const char *name, const json_t *object), void *ctx)
	__attribute__((nonnull(1, 2, 3, 4)));

#endif
