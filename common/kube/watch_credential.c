// A plugin may take a minute to say who we are. One thread asks it for all streams that wait; files are read at once.
#include <errno.h>
#include <string.h>

#include "common/kube/watch_private.h"
#include "common/mem.h"
#include "common/secret.h"
#include "common/thread.h"

static void *ask(void *arg)
{
	struct kube_watcher *w = arg;
	struct watch_credential *c = &w->credential;
	c->rc = kube_auth_token(w->auth, &c->token, &c->serial, &c->err);
	(void)pthread_mutex_lock(&w->lock);
	c->done = true;
	(void)pthread_mutex_unlock(&w->lock);
	lws_cancel_service(w->lws);
	return NULL;
}

static void start(struct kube_watcher *w)
{
	struct watch_credential *c = &w->credential;
	c->done = false;
	c->running = true;
	c->round++;
	c->token = secret_buf(KUBE_TOKEN_MAX);
	thread_start(&c->thread, "credential", ask, w);
}

int watch_credential_get(struct kube_stream *s, struct error *err)
{
	struct kube_watcher *w = s->w;
	if (w->config->exec == NULL) {
		CLEANUP_SECRET_BUF struct buf token = secret_buf(KUBE_TOKEN_MAX);
		int rc = kube_auth_token(w->auth, &token, &s->serial, err);
		if (rc == 0 && token.n > 0)
			s->bearer = xstrndup(buf_str(&token));
		return rc < 0 ? rc : 1;
	}
	// One that is being asked for may be the one that was refused.
	s->credential_round = w->credential.round + (w->credential.running && !s->retried ? 0 : 1);
	if (!w->credential.running)
		start(w);
	return 0;
}

// The first that waits for a round up to this one; with a later one too in *ret_later.
static struct kube_stream *next_waiting(struct kube_watcher *w, unsigned round, bool *ret_later)
{
	struct kube_stream *found = NULL;
	(void)pthread_mutex_lock(&w->lock);
	for (struct kube_stream *s = w->streams; s != NULL && found == NULL; s = s->next) {
		if (s->state != STREAM_CREDENTIAL)
			continue;
		if (s->credential_round <= round)
			found = s;
		else
			*ret_later = true;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return found;
}

void watch_credential_collect(struct kube_watcher *w)
{
	struct watch_credential *c = &w->credential;
	(void)pthread_mutex_lock(&w->lock);
	bool done = c->done;
	(void)pthread_mutex_unlock(&w->lock);
	if (!c->running || !done)
		return;
	(void)pthread_join(c->thread, NULL);
	c->running = false;
	bool later = false;
	for (struct kube_stream *s; (s = next_waiting(w, c->round, &later)) != NULL;)
		stream_take_credential(s, c);
	secret_buf_release(&c->token);
	if (later)
		start(w);
}

void watch_credential_stop(struct kube_watcher *w)
{
	if (w->credential.running)
		(void)pthread_join(w->credential.thread, NULL);
	w->credential.running = false;
	secret_buf_release(&w->credential.token);
}
