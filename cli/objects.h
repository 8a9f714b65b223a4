// Kubernetes objects of files, found by kind, namespace and name as on a cluster that they were applied to.
//
// Only kinds that say something about a Trustee are kept. An object that names no namespace is in the one that is asked for,
// as kubectl has it.
#ifndef COCO_CLI_OBJECTS_H
#define COCO_CLI_OBJECTS_H

#include <jansson.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/kube/resource.h"

#define OBJECTS_FILE_MAX ((size_t)16 * 1024 * 1024)
#define OBJECTS_MAX 100000

struct objects {
	json_t *
		by_id; // "KIND NAMESPACE/NAME" to the object, in the order in which they were read. Secrets are wiped on release
	json_t *origins; // the same to where it was read
};

// Adds what a file has, all files (*.yaml, *.yml, *.json) of a folder, or standard input ("-"): YAML or JSON, any number of
// documents, Lists. An object that stands twice is an error, unless one of the two is as the controller has applied it: then
// the other one says what an admin has changed about it.
int objects_read(struct objects *o, const char *path, const char *ns, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Adds a copy of one that was read elsewhere, such as from a cluster; origin: where, for messages.
int objects_add(struct objects *o, const json_t *object, const char *origin, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Puts copies of all that `over` has in place of what is there, as if they had been applied: of the same objects, so with their
// uid and status.
void objects_overlay(struct objects *o, const struct objects *over) __attribute__((nonnull));
void objects_release(struct objects *o) __attribute__((nonnull));
#define CLEANUP_OBJECTS CLEANUP(objects_release)

// Which of the kinds that are kept; NULL for another.
const struct kube_resource *objects_kind(const json_t *object);
// Borrowed; NULL where there is none.
const json_t *objects_get(const struct objects *o, const struct kube_resource *res, const char *ns, const char *name)
	__attribute__((nonnull));

#endif
