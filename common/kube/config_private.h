// What the two halves of config.h share: config.c does the I/O, config_parse.c holds the rules.
#ifndef COCO_COMMON_KUBE_CONFIG_PRIVATE_H
#define COCO_COMMON_KUBE_CONFIG_PRIVATE_H

#include "common/kube/config.h"
#include "common/kube/server_url.h"

// Once for each config.
void kube_config_set_server(struct kube_config *c, const struct server_url *u) __attribute__((nonnull));
void kube_config_drop_exec(struct kube_config *c) __attribute__((nonnull));
// Token and client certificate.
void kube_config_drop_credentials(struct kube_config *c) __attribute__((nonnull));

#endif
