// What an admission needs to know of the cluster: profiles, ready to use, and namespaces. PURE
//
// A catalog is immutable: it is built whole from documents, whoever delivers them (a folder, the API server), and
// replaced whole. Readers hold a reference and take no lock.
#ifndef COCO_COMMON_CATALOG_H
#define COCO_COMMON_CATALOG_H

#include <jansson.h>
#include <stdbool.h>

#include "common/profile.h"
#include "common/str.h"

struct catalog;

// One Kubernetes object: ConfidentialProfile, ConfigMap or Namespace; other kinds are a problem that gets reported.
struct catalog_document {
	json_t *object; // borrowed; kept by reference where needed
	char *origin;   // for messages, such as "profiles/team-a.yaml:12"; borrowed
	// Of a profile: what it refers to is not read yet. It is as it was in the previous catalog; where it wasn't good there,
	// only its name is known, with the problem EAGAIN, so that none of the same name takes its place.
	bool unread;
	bool fallback; // a profile that counts only where there is none of the same name among those before it
};

// Told of every document that can't be used. key: "namespace/name" of a profile or "" for other documents.
typedef void (*catalog_problem_fn)(void *ctx, const char *origin, const char *key, const char *message);

// New. A profile that doesn't compile keeps the last good one of `previous` (NULL for none), and remembers why. One that
// is in `previous` with the same spec in the same generation, or as the same object, and whose ConfigMaps are the same
// objects as then, is taken from there as it is: a change costs what it concerns. An object of another uid is another
// profile, and takes nothing over.
// system_ns: where objects without a namespace are, and where profiles for everyone live.
struct catalog *catalog_build(const struct catalog_document *docs, size_t n, const char *system_ns,
							  const struct catalog *previous, catalog_problem_fn problem, void *ctx)
	__attribute__((warn_unused_result, returns_nonnull, nonnull(3, 5)));

struct catalog *catalog_ref(struct catalog *c) __attribute__((nonnull));
void catalog_unref(struct catalog *c); // NULL is fine

struct catalog_profile {
	char *ns;
	char *name;
	struct profile *profile; // NULL: there never was a good one
	char *problem;           // NULL: this is the newest one and it is good
	int problem_code;        // its errno, as profile_compile gives it, or EAGAIN; 0 without a problem
	int64_t generation;      // of the newest one, good or not
	bool fallback;           // as its document
	json_t *uses; // the ConfigMaps that it was compiled from: "namespace/name" -> object, null for a missing one
};

// Borrowed from the catalog; NULL where there is none of that name.
const struct catalog_profile *catalog_profile(const struct catalog *c, struct str ns, struct str name);
// All profiles, sorted by namespace and name.
const struct catalog_profile *catalog_profiles(const struct catalog *c, size_t *ret_n);
bool catalog_knows_namespace(const struct catalog *c, struct str ns) __attribute__((nonnull));
// A namespace's label or annotation, borrowed; p NULL where the namespace or the key isn't known.
struct str catalog_namespace_label(const struct catalog *c, struct str ns, const char *key);
struct str catalog_namespace_annotation(const struct catalog *c, struct str ns, const char *key);
// Whether both have the same profiles, compiled to the same, with the same problems.
bool catalog_same_profiles(const struct catalog *a, const struct catalog *b) __attribute__((nonnull));
const char *catalog_system_namespace(const struct catalog *c);

#endif
