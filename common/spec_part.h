// What the specs of several kinds of ours have in common: references to keys, addresses, names. PURE
//
// Every check takes the path of the field for its message and returns 0, or -EINVAL with err set.
#ifndef COCO_COMMON_SPEC_PART_H
#define COCO_COMMON_SPEC_PART_H

#include <stdbool.h>

#include "common/decode.h"
#include "common/error.h"

// A key of a ConfigMap or Secret in the namespace of the object that refers to it.
struct object_key_ref {
	const char *name;
	const char *key;
	bool given;
};

// {name, key}, into a struct object_key_ref.
extern const struct decode_field object_key_ref_fields[];

// One that is given has both name and key.
int check_key_ref(const struct object_key_ref *ref, const char *path, struct error *err)
	__attribute__((warn_unused_result, nonnull));

bool is_https(const char *url) __attribute__((nonnull));
// http:// or https://, a host, and nothing that would break out of the texts that it is put into.
int check_url(const char *url, const char *path, struct error *err) __attribute__((warn_unused_result, nonnull));

// name may be NULL, for a field that isn't set. kind is for the message: "Secret", "ConfigMap".
int check_object_name(const char *name, const char *path, const char *kind, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 3, 4)));

#endif
