// The certificates of a KbsConfig that no TrusteeConfig has made. PURE
//
// It mounts the admin's Secrets as they are, so that a bad pair of key and certificate can't be kept out of them; but it can
// be kept from being rolled out.
#ifndef COCO_CONTROLLER_KBS_PAIRS_H
#define COCO_CONTROLLER_KBS_PAIRS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/kube/resource.h"
#include "common/trustee.h"
#include "controller/remarks.h"

struct kbs_pairs {
	bool bad;             // one isn't fit to be rolled out
	int64_t not_after_s;  // of the HTTPS certificate; 0: there is none
	int64_t look_again_s; // when time alone changes what is to be said; 0: never
};

// Tells of each Secret of the namespace that checking reads, whether it exists or not.
void kbs_pairs_needs(const struct kbs_spec *spec,
					 void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
	__attribute__((nonnull(1, 2)));
// objects: "Secret/NAME" to whole Secrets. That one is missing, kbs_render() says.
void kbs_pairs_check(const struct kbs_spec *spec, const json_t *objects, int64_t now_s, struct remarks *remarks,
					 struct kbs_pairs *ret) __attribute__((nonnull));

#endif
