// A thread beside the loops for the few requests that must wait for something: http_server.c's own.
//
// A request that is handed over is suspended in its loop until the lane has its answer. Jobs wait in line, at most
// HTTP_LANE_MAX of them.
#ifndef COCO_COMMON_HTTP_LANE_H
#define COCO_COMMON_HTTP_LANE_H

#include <pthread.h>
#include <stdbool.h>

#include "common/error.h"

#define HTTP_LANE_MAX 64

struct http_job {
	// On the lane's thread, once; stopping: the lane ends, so do not wait for anything.
	void (*run)(struct http_job *job, bool stopping);
	struct http_job *next;
};

struct http_lane {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct http_job *first;
	struct http_job **last;
	unsigned waiting;
	bool ends;
	bool running;
	pthread_t thread;
};

void http_lane_init(struct http_lane *l) __attribute__((nonnull));
// Starts the thread.
int http_lane_start(struct http_lane *l, struct error *err) __attribute__((warn_unused_result, nonnull));
// Hands a job over; it is the lane's until run() is called. false: the line is full or the lane ends.
bool http_lane_add(struct http_lane *l, struct http_job *job) __attribute__((warn_unused_result, nonnull));
// Runs what waits, with stopping set, and ends the thread. Nothing can be added from here on.
void http_lane_end(struct http_lane *l) __attribute__((nonnull));
// After http_lane_end().
void http_lane_release(struct http_lane *l) __attribute__((nonnull));

#endif
