// The address of an API server, taken apart. PURE
#ifndef COCO_COMMON_KUBE_SERVER_URL_H
#define COCO_COMMON_KUBE_SERVER_URL_H

#include <stdbool.h>

#include "common/error.h"

#define SERVER_URL_MAX 2048
#define SERVER_HOST_MAX 253

struct server_url {
	char host[SERVER_HOST_MAX + 1]; // an IPv6 address without brackets
	int port;
	bool port_given;
	bool tls;
	char path[SERVER_URL_MAX]; // "/PREFIX" without a trailing '/', or ""
};

// https:// or http://, then HOST[:PORT][/PREFIX]; HOST a name, an IPv4 or a bracketed IPv6 address. Neither user nor query:
// -EINVAL with a message that doesn't show a password, and begins with what, which says where the text stands.
int server_url_parse(const char *text, const char *what, struct server_url *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// New: the same address, without what may be left out.
char *server_url_text(const struct server_url *u) __attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
