// What the two halves of auth.h share: auth.c keeps credentials, auth_tls.c hands them to OpenSSL.
#ifndef COCO_COMMON_KUBE_AUTH_PRIVATE_H
#define COCO_COMMON_KUBE_AUTH_PRIVATE_H

#include "common/kube/auth.h"
#include "common/kube/exec.h"

const struct kube_config *kube_auth_config(const struct kube_auth *a) __attribute__((nonnull, returns_nonnull));
// The plugin's client certificate and key; *ret stays as it is where there is no plugin, or it gives none.
int kube_auth_plugin_certificate(struct kube_auth *a, struct kube_credential *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
