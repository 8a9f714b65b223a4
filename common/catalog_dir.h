// A folder of YAML files as the source of a catalog: every *.yaml, *.yml and *.json directly in it.
//
// Looked at by polling, which works for every file system and for volumes that swap symbolic links. A change is taken
// up when the folder looks the same twice in a row, so that a file is not read while it is being written.
#ifndef COCO_COMMON_CATALOG_DIR_H
#define COCO_COMMON_CATALOG_DIR_H

#include <stdbool.h>

#include "common/catalog.h"
#include "common/error.h"

#define CATALOG_DIR_FILE_MAX ((size_t)4 * 1024 * 1024)
#define CATALOG_DIR_FILES_MAX 1000

struct catalog_dir;

// Whether a file of that name is read.
bool catalog_dir_is_document(const char *name) __attribute__((nonnull));

// New. path and system_ns are copied.
struct catalog_dir *catalog_dir_new(const char *path, const char *system_ns)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
void catalog_dir_free(struct catalog_dir *d); // NULL is fine

// Reads the folder now. A file that can't be parsed counts as it was when it last could; problem is told of it, as of
// every document that can't be used. New reference; NULL with err where the folder can't be read: keep what you have.
struct catalog *catalog_dir_load(struct catalog_dir *d, const struct catalog *previous, catalog_problem_fn problem,
								 void *ctx, struct error *err) __attribute__((warn_unused_result, nonnull(1, 3, 5)));

// The two halves of the above, for a catalog with another source beside the folder: read it, and add what it has to
// *docs, which then borrows from d until the next read.
int catalog_dir_read(struct catalog_dir *d, catalog_problem_fn problem, void *ctx, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 4)));
void catalog_dir_append(const struct catalog_dir *d, struct catalog_document **docs, size_t *n)
	__attribute__((nonnull));

// Whether the folder has changed since it was loaded, and stopped changing; or has just become unreadable, which the
// load then says. Call it a few times a second.
bool catalog_dir_changed(struct catalog_dir *d) __attribute__((nonnull));

// All documents of one text, for programs that are handed a file: appended to *docs, which grows.
struct catalog_documents {
	struct catalog_document *v; // objects and origins are owned by this list
	size_t n;
};
int catalog_documents_read(struct catalog_documents *docs, struct str text, const char *name, struct error *err)
	__attribute__((warn_unused_result, nonnull));
void catalog_documents_release(struct catalog_documents *docs) __attribute__((nonnull));
#define CLEANUP_CATALOG_DOCUMENTS CLEANUP(catalog_documents_release)

#endif
