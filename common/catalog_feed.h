// Keeps a catalog in a store up to date: from the API server by informers, from a folder, or from both together. Of two profiles
// of the same name, that of the API server counts.
//
// It has no thread: the program's loop waits for the feed's file descriptor (and looks a few times a second, for the
// folder), and calls catalog_feed_step(), which builds a new catalog where something changed. Informers only wake it.
//
// Of ConfigMaps only those are followed that profiles refer to, each by a watch of its own: a cluster may have tens of
// thousands. A profile counts once what it refers to was read; until then it is as it was before, or known by name alone.
//
// Logging: none; problems and news are told to the caller.
#ifndef COCO_COMMON_CATALOG_FEED_H
#define COCO_COMMON_CATALOG_FEED_H

#include <stdbool.h>

#include "common/catalog_store.h"
#include "common/error.h"
#include "common/kube/informer.h"

// More ConfigMaps than this are not followed: profiles that need them stay unread, which is told as a problem.
#define CATALOG_FEED_CONFIG_MAPS_MAX 500

struct catalog_feed;

struct catalog_feed_config {
	const char *system_ns;
	const char *dir;                  // NULL: no folder
	struct kube_informers *informers; // NULL: no API server
	bool namespaces;                  // follow Namespaces as well
	struct catalog_store *store;
	// Told of each problem once, until it goes and comes again.
	catalog_problem_fn problem;
	void *ctx;
};

// Strings and the rest are borrowed for its life. Reads the folder, whose first failure is an error. New; NULL on error.
struct catalog_feed *catalog_feed_start(const struct catalog_feed_config *config, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Before the informers' stop; the catalog stays in the store. NULL is fine.
void catalog_feed_stop(struct catalog_feed *f);

// Readable when there is something to do.
int catalog_feed_fd(const struct catalog_feed *f) __attribute__((nonnull));
// Takes up what changed. 1: there is a new catalog in the store; 0: nothing new, or not all is read yet; -errno: the folder
// can't be read, and what was loaded stays in force.
int catalog_feed_step(struct catalog_feed *f, struct error *err) __attribute__((warn_unused_result, nonnull));

// What is missing before the first catalog, for people; NULL where nothing is.
const char *catalog_feed_waits_for(struct catalog_feed *f) __attribute__((nonnull));
// Profile objects as they are now, status included; NULL without an API server.
struct kube_store *catalog_feed_profiles(struct catalog_feed *f) __attribute__((nonnull));

#endif
