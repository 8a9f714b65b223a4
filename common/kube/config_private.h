// What is behind config.h and used beside it: config.c does the I/O, config_parse.c holds the rules.
#ifndef COCO_COMMON_KUBE_CONFIG_PRIVATE_H
#define COCO_COMMON_KUBE_CONFIG_PRIVATE_H

#include "common/kube/config.h"
#include "common/kube/server_url.h"

// Once for each config.
void kube_config_set_server(struct kube_config *c, const struct server_url *u) __attribute__((nonnull));
void kube_config_drop_exec(struct kube_config *c) __attribute__((nonnull));
// Token and client certificate.
void kube_config_drop_credentials(struct kube_config *c) __attribute__((nonnull));

// For kube_text_read() of a secret: with so much room that it won't move. Release it with secret_buf_release().
struct buf kube_text_buf(const struct kube_text *t, size_t max) __attribute__((nonnull));

#endif
