// Threads, and waiting in them. What a thread needs to start is as sure to be there as memory: where the system gives none,
// the program ends with a message (compare mem.h).
#ifndef COCO_COMMON_THREAD_H
#define COCO_COMMON_THREAD_H

#include <pthread.h>
#include <stdint.h>

// Starts run(arg). The thread takes no signals: those are for the main thread. name: for ps and gdb, cut to 15 bytes.
void thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg)
	__attribute__((nonnull(1, 2, 3)));

// A condition whose waits go by the monotonic clock.
void thread_cond_init(pthread_cond_t *cond) __attribute__((nonnull));
// Waits for a signal, at most ms; without end where ms is negative. May return sooner.
void thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms) __attribute__((nonnull));

#endif
