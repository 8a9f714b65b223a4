#include "common/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREAD_NAME 15                     // what Linux keeps
#define WAIT_MAX_MS ((int64_t)3600 * 1000) // who waits longer looks again in between

void thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg)
{
	sigset_t all;
	sigset_t before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(ret, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0) {
		(void)fprintf(stderr, "start thread %s: %s: raise the limit of threads or of memory\n", name, strerror(code));
		abort();
	}
	char cut[THREAD_NAME + 1];
	(void)snprintf(cut, sizeof(cut), "%s", name);
	(void)pthread_setname_np(*ret, cut);
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

void thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms)
{
	if (ms < 0) {
		(void)pthread_cond_wait(cond, lock);
		return;
	}
	if (ms > WAIT_MAX_MS)
		ms = WAIT_MAX_MS;
	struct timespec until = {0};
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000 * 1000000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_timedwait(cond, lock, &until);
}
