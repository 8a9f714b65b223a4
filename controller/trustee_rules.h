// What holds for a Trustee wherever its objects go: to an API server, or to a terminal. PURE
#ifndef COCO_CONTROLLER_TRUSTEE_RULES_H
#define COCO_CONTROLLER_TRUSTEE_RULES_H

#include <jansson.h>
#include <stdbool.h>

#include "common/catalog.h"
#include "common/trustee.h"
#include "controller/remarks.h"

// Whether an older Trustee of the namespace has the names of its objects, so that it comes to nothing; remarked. others: an
// array of TrusteeConfigs and KbsConfigs of the namespace, with their kind: all of them, or those of its instance.
bool trustee_has_older_rival(const json_t *object, const json_t *others, struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull));

// The name that the HTTPS certificate must be good for: the one that is asked for, or that the cluster has chosen. url:
// where guests reach it, NULL while that isn't known; exposed: by what exposes it outside the cluster. *ret_is_service: it
// is its Service's, as nothing exposes it, and nothing is asked for. New, or NULL.
char *trustee_expected_host(const struct trustee_spec *spec, const char *url, bool exposed, bool *ret_is_service)
	__attribute__((warn_unused_result, nonnull(1, 4)));

// Whether trustee-endpoint-T can say how to reach it. ca: what guests must trust, NULL while that isn't known.
bool trustee_can_publish(const struct kbs_spec *kbs, const char *url, const char *ca)
	__attribute__((warn_unused_result, nonnull(1)));

// For a profile_digests_fn: out of a catalog, NULL while there is none.
int trustee_profile_digests(const struct catalog *catalog, const char *ns, const char *name,
							struct initdata_digests *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 3, 4, 5)));

#endif
