// What a TrusteeConfig or KbsConfig is refused for, when its fields have been decoded: of common/trustee alone. PURE
#ifndef COCO_COMMON_TRUSTEE_CHECK_H
#define COCO_COMMON_TRUSTEE_CHECK_H

#include "common/trustee.h"

// These set what follows from other fields as well: "" becomes unset, versions become numbers.
int trustee_check(struct trustee_spec *s, struct error *err) __attribute__((warn_unused_result, nonnull));
int kbs_check(struct kbs_spec *s, struct error *err) __attribute__((warn_unused_result, nonnull));
// Of what both have.
int hosting_check(struct trustee_hosting *h, struct error *err) __attribute__((warn_unused_result, nonnull));

// metadata.name of a TrusteeConfig.
int trustee_check_name(const json_t *object, struct error *err) __attribute__((warn_unused_result, nonnull));

// ---- Parts of these

// A name that may be "" for unset, as upstream takes it: becomes NULL.
int check_optional_name(const char **name, const char *path, const char *kind, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// list may be NULL. Names of Secrets, no two the same.
int check_secret_names(const json_t *list, const char *path, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 3)));
int check_replicas(int64_t replicas, const char *path, struct error *err) __attribute__((warn_unused_result, nonnull));
// The first n characters as a segment of a resource's path in the KBS.
bool is_resource_segment(const char *text, size_t n) __attribute__((nonnull));

#endif
