// The catalog in force. Sources put new ones in, requests take a reference: neither waits for the other's work.
#ifndef COCO_COMMON_CATALOG_STORE_H
#define COCO_COMMON_CATALOG_STORE_H

#include <pthread.h>

#include "common/catalog.h"

struct catalog_store {
	pthread_mutex_t lock; // held for an exchange of pointers only
	struct catalog *current;
};

#define CATALOG_STORE_INIT                \
	{                                     \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

// A reference for the caller; NULL before the first catalog came.
struct catalog *catalog_store_get(struct catalog_store *s) __attribute__((nonnull, warn_unused_result));
// Takes c; NULL empties the store.
void catalog_store_put(struct catalog_store *s, struct catalog *c) __attribute__((nonnull(1)));

#endif
