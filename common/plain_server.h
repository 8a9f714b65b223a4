// The second, plain port of a server program: /healthz, /readyz and /metrics, among which is coco_ready.
#ifndef COCO_COMMON_PLAIN_SERVER_H
#define COCO_COMMON_PLAIN_SERVER_H

#include "common/http_server.h"

struct plain_server {
	// What it waits for, as static text; NULL: ready. On the server's thread.
	const char *(*not_ready)(void *ctx);
	// Brings metrics up to date before they are written, and appends those that aren't registered. NULL: nothing to do.
	void (*metrics)(void *ctx, struct buf *out);
	void *ctx;
};

// listen: ADDRESS:PORT. s is borrowed for the server's life. Stop it by http_server_stop().
struct http_server *plain_server_start(const struct plain_server *s, const char *listen, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
