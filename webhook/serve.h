// The webhook's routes on common/http_server: handlers and their log lines. Their metrics: serve_metrics.h.
#ifndef COCO_WEBHOOK_SERVE_H
#define COCO_WEBHOOK_SERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/catalog_store.h"
#include "common/http_server.h"
#include "common/kube/client.h"
#include "common/plain_server.h"
#include "webhook/handle.h"

struct serving;
struct serving_certificates;

// One path of the admission port.
struct entrance {
	struct serving *serving;
	enum endpoint endpoint;
};

struct serving {
	struct catalog_store store;
	atomic_bool stopping;            // /readyz then says no, so that the Service takes us out first
	_Atomic(const char *) waits_for; // what the first catalog waits for, static text; NULL for nothing
	// For pods that come before their profile or namespace is known; NULL without an API server.
	struct kube_client *lookup;
	// For its numbers in /metrics; NULL while it doesn't run. The lock keeps it from being stopped under a reader.
	pthread_mutex_t admission_lock;
	struct http_server *admission;
	struct serving_certificates *certificates; // NULL: they are in files
	struct plain_server plain;                 // filled by serving_init_plain
	struct entrance entrances[ENDPOINTS];      // filled by serve_admission_routes
};

#define SERVING_INIT                                                             \
	{                                                                            \
		.store = CATALOG_STORE_INIT, .admission_lock = PTHREAD_MUTEX_INITIALIZER \
	}

void serving_set_admission(struct serving *s, struct http_server *admission) __attribute__((nonnull(1)));
// From the next handshake on, this certificate. -ECANCELED: the admission server doesn't run (any more).
int serving_replace_certificate(struct serving *s, struct str cert, struct str key, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Room for the admission server's routes.
#define ROUTES_MAX ENDPOINTS

// Fills `routes`, returns how many.
size_t serve_admission_routes(struct serving *s, struct http_route routes[ROUTES_MAX]) __attribute__((nonnull));
// What the plain port says.
void serving_init_plain(struct serving *s) __attribute__((nonnull));

#endif
