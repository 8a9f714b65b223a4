// Asks the API server which Trustees a namespace has, for one that is about to be created there.
#ifndef COCO_WEBHOOK_TRUSTEE_LOOKUP_H
#define COCO_WEBHOOK_TRUSTEE_LOOKUP_H

#include "common/kube/client.h"
#include "common/str.h"

// Both requests together; the webhook configuration gives us 3 s.
#define TRUSTEE_LOOKUP_MS 2000
// Of each kind, in one request. A namespace has a few.
#define TRUSTEE_LOOKUP_MAX 500

// *ret (new): the TrusteeConfigs and KbsConfigs of the namespace, with their kind. -errno where the API server can't be
// asked in time, or has more of them.
int trustee_lookup(struct kube_client *client, struct str ns, json_t **ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
