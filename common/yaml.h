// YAML in and out, over jansson trees; JSON is read as YAML too. PURE
//
// Plain scalars are resolved as kubectl does it (YAML 1.1: y/n/yes/no/on/off are booleans, dates are strings), so
// that a document means the same here as there. What kubectl would make the best of is an error: duplicate keys, keys
// that are not strings (8080, on), merge keys (<<), integers beyond 64 bits, .inf, .nan, and tags but YAML's own.
#ifndef COCO_COMMON_YAML_H
#define COCO_COMMON_YAML_H

#include <jansson.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/str.h"

#define YAML_TEXT_MAX ((size_t)16 * 1024 * 1024) // of one stream
#define YAML_NODES_MAX 1000000                   // of one stream, aliases expanded: no billion laughs
#define YAML_DEPTH_MAX 128

struct yaml_doc {
	json_t *root; // never NULL
	size_t line;  // of its first line, from 1
};

struct yaml_docs {
	struct yaml_doc *v;
	size_t n;
};

// All documents of a stream, empty ones left out. Aliases become copies of what they name. 0 or a negative errno, in
// general -EINVAL with "line L, column C: what" in err.
int yaml_read(struct str text, struct yaml_docs *ret, struct error *err) __attribute__((warn_unused_result, nonnull));
void yaml_docs_release(struct yaml_docs *docs) __attribute__((nonnull));
#define CLEANUP_YAML_DOCS CLEANUP(yaml_docs_release)

// Appends one document in block style, keys in the object's order, no "---". Text with newlines becomes a literal
// block (|) where that says exactly the same; every string that some YAML 1.1 or 1.2 reader would take for something
// else is quoted. After an error out holds a part. -EFBIG: more than the buffer's maximum.
int yaml_write(const json_t *root, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
