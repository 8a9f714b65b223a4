#include "common/http_lane.h"

#include <string.h>

void http_lane_init(struct http_lane *l)
{
	*l = (struct http_lane){0};
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_cond_init(&l->changed, NULL);
	l->last = &l->first;
}

// The next job, NULL at the end. *ret_stopping: as the job is to be told.
static struct http_job *take(struct http_lane *l, bool *ret_stopping)
{
	(void)pthread_mutex_lock(&l->lock);
	while (l->first == NULL && !l->ends)
		(void)pthread_cond_wait(&l->changed, &l->lock);
	struct http_job *job = l->first;
	if (job != NULL) {
		l->first = job->next;
		l->waiting--;
		if (l->first == NULL)
			l->last = &l->first;
	}
	*ret_stopping = l->ends;
	(void)pthread_mutex_unlock(&l->lock);
	return job;
}

static void *lane_main(void *arg)
{
	struct http_lane *l = arg;
	bool stopping = false;
	for (struct http_job *job; (job = take(l, &stopping)) != NULL;)
		job->run(job, stopping);
	return NULL;
}

int http_lane_start(struct http_lane *l, struct error *err)
{
	int failed = pthread_create(&l->thread, NULL, lane_main, l);
	if (failed != 0)
		return error_set(err, failed, "start a thread for requests that wait: %s; raise the limit of threads",
						 strerror(failed));
	l->running = true;
	return 0;
}

bool http_lane_add(struct http_lane *l, struct http_job *job)
{
	(void)pthread_mutex_lock(&l->lock);
	bool taken = l->running && !l->ends && l->waiting < HTTP_LANE_MAX;
	if (taken) {
		job->next = NULL;
		*l->last = job;
		l->last = &job->next;
		l->waiting++;
		(void)pthread_cond_signal(&l->changed);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return taken;
}

void http_lane_end(struct http_lane *l)
{
	(void)pthread_mutex_lock(&l->lock);
	l->ends = true;
	(void)pthread_cond_signal(&l->changed);
	(void)pthread_mutex_unlock(&l->lock);
	if (l->running)
		(void)pthread_join(l->thread, NULL);
	l->running = false;
}

void http_lane_release(struct http_lane *l)
{
	(void)pthread_cond_destroy(&l->changed);
	(void)pthread_mutex_destroy(&l->lock);
}
