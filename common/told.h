// What was told already: the same text is due at most once a minute. Thread-safe.
#ifndef COCO_COMMON_TOLD_H
#define COCO_COMMON_TOLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#define TOLD_EVERY_MS 60000
#define TOLD_MAX 1000 // texts that are remembered; beyond that they are forgotten, and told again too soon

struct told {
	pthread_mutex_t lock;
	json_t *when; // text -> ms, or NULL
};

#define TOLD_INIT                         \
	{                                     \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

// Whether to tell it now; it counts as told then. now_ms: monotonic.
bool told_due(struct told *t, const char *text, int64_t now_ms) __attribute__((nonnull));
void told_release(struct told *t) __attribute__((nonnull));

#endif
