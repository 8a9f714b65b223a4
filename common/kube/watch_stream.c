// The life of a stream: credential, handshake, perhaps again in another way, events, end.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/kube/watch_private.h"
#include "common/mem.h"
#include "common/secret.h"

#define UNAUTHORIZED 401
#define CLOSE_NORMAL 1000 // RFC 6455 7.4.1
#define CLOSE_GOING_AWAY 1001
#define CLOSE_NO_STATUS 1005

static const struct str no_body = {0};

// ---- The end

void stream_forget_connection(struct kube_stream *s)
{
	if (s->wsi != NULL)
		lws_set_opaque_user_data(s->wsi, NULL);
	s->wsi = NULL;
}

static void hang_up(struct kube_stream *s)
{
	struct lws *wsi = s->wsi;
	stream_forget_connection(s);
	if (wsi != NULL)
		lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
}

void stream_drop(struct kube_stream *s)
{
	s->state = STREAM_OVER;
	hang_up(s);
	lws_sul_cancel(&s->timer);
	secret_free(TAKE_PTR(s->bearer));
	lines_release(&s->lines);
	buf_release(&s->body);
}

void stream_end(struct kube_stream *s, int http, struct str body, const char *fmt, ...)
{
	if (s->state == STREAM_OVER)
		return;
	char reason[WATCH_REASON_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	text_sanitize(reason);
	s->state = STREAM_OVER; // the handler may cancel
	hang_up(s);
	lws_sul_cancel(&s->timer);
	watch_call_ended(s, http, body, reason);
	stream_drop(s);
}

// The answer that refused has come, as far as it goes.
static void end_refused(struct kube_stream *s)
{
	stream_end(s, s->http, s->body.n > 0 ? buf_str(&s->body) : no_body, "%s refused with status %d",
			   s->w->config->server, s->http);
}

// ---- Timers

static void set_timer(struct kube_stream *s, int64_t ms);

static void check_silence(struct kube_stream *s)
{
	const struct kube_watch_timing *t = &s->w->timing;
	int64_t limit = s->plain ? t->plain_silent_ms : t->silent_ms;
	int64_t silent = (lws_now_usecs() - s->heard_us) / LWS_US_PER_MS;
	if (silent >= limit) {
		stream_end(s, 0, no_body, "%s: nothing came for %lld ms%s", s->w->config->server, (long long)silent,
				   s->plain ? "" : ", no answer to a ping either");
		return;
	}
	if (!s->plain && !s->pinged && silent >= t->ping_ms) {
		s->ping = s->pinged = true;
		(void)lws_callback_on_writable(s->wsi);
	}
	set_timer(s, s->plain || s->pinged ? limit - silent : t->ping_ms - silent);
}

static void on_timer(lws_sorted_usec_list_t *sul)
{
	struct kube_stream *s = lws_container_of(sul, struct kube_stream, timer);
	if (s->state == STREAM_OPEN)
		check_silence(s);
	else if (s->state == STREAM_REFUSED)
		end_refused(s);
	else
		stream_end(s, 0, no_body, "%s: no answer to the handshake in %d ms", s->w->config->server,
				   s->w->timing.handshake_ms);
}

static void set_timer(struct kube_stream *s, int64_t ms)
{
	lws_sul_schedule(s->w->lws, 0, &s->timer, on_timer, (ms > 0 ? ms : 1) * LWS_US_PER_MS);
}

// ---- Connecting

static void connect_now(struct kube_stream *s)
{
	struct kube_watcher *w = s->w;
	struct error err;
	if (watch_trust_refresh(w, &err) < 0) {
		stream_end(s, 0, no_body, "%s: %s", w->config->server, err.msg);
		return;
	}
	s->state = STREAM_CONNECTING;
	s->trouble[0] = '\0';
	set_timer(s, w->timing.handshake_ms);
	if (watch_lws_connect(s, &err) < 0)
		stream_end(s, 0, no_body, "%s: %s", w->config->server, err.msg);
	else if (s->state == STREAM_OVER)
		hang_up(s); // its end was told before the call returned
}

// What can't be asked for at all. NULL where nothing speaks against it.
static const char *impossible(const struct kube_stream *s)
{
	if (s->w->refusal != NULL)
		return s->w->refusal;
	if (strlen(s->path) > KUBE_WATCH_PATH_MAX)
		return "the path is longer than libwebsockets takes (2000 bytes): shorten the selectors";
	for (const char *p = s->path; *p != '\0'; p++)
		if (*p <= ' ' || *p == 0x7F)
			return "the path has spaces or control characters: percent-encode them";
	return s->excess ? "too many streams (500): end some, or watch with selectors" : NULL;
}

void stream_begin(struct kube_stream *s)
{
	const char *why = impossible(s);
	if (why != NULL) {
		stream_end(s, 0, no_body, "%s", why);
		return;
	}
	if (clock_mono_ms(s->w->clock) < s->w->plain_until_ms)
		s->plain = true;
	struct error err;
	s->state = STREAM_CREDENTIAL;
	int rc = watch_credential_get(s, &err);
	if (rc < 0)
		stream_end(s, 0, no_body, "%s", err.msg);
	else if (rc > 0)
		connect_now(s);
}

void stream_take_credential(struct kube_stream *s, const struct watch_credential *c)
{
	if (c->rc < 0) {
		stream_end(s, 0, no_body, "%s", c->err.msg);
		return;
	}
	s->serial = c->serial;
	s->bearer = c->token.n > 0 ? xstrndup(buf_str(&c->token)) : NULL;
	connect_now(s);
}

// From the beginning, once the loop comes round.
static void again(struct kube_stream *s)
{
	hang_up(s);
	lws_sul_cancel(&s->timer);
	s->state = STREAM_NEW;
	watch_queue(s);
}

// Whether another credential may do better, and hasn't been tried.
static bool try_other_credential(struct kube_stream *s, int http)
{
	if (http != UNAUTHORIZED || !kube_auth_refused(s->w->auth, s->serial) || s->retried)
		return false;
	s->retried = true;
	again(s);
	return true;
}

// A refusal that says nothing about upgrades.
static bool passes_by_itself(int http)
{
	return http == UNAUTHORIZED || http == 429 || http == 500 || http == 503 || http == 504;
}

void stream_on_no_connection(struct kube_stream *s, int http, struct str why)
{
	stream_forget_connection(s);
	if (s->trouble[0] != '\0') {
		s->w->trust_checked_ms = -1; // a new CA may be there already
		stream_end(s, 0, no_body, "%s: %s", s->w->config->server, s->trouble);
	} else if (http == 0) {
		stream_end(s, 0, no_body, "%s: no connection: %.*s", s->w->config->server, STR_ARG(why));
	} else if (!try_other_credential(s, http)) {
		s->plain = true;
		s->remember = !passes_by_itself(http);
		s->passing = s->refused++ == 0 && http != 200; // with 200, the upgrade was taken away
		again(s);
	}
}

// ---- Open

void stream_on_heard(struct kube_stream *s)
{
	s->heard_us = lws_now_usecs();
	s->pinged = false;
}

int stream_on_open(struct kube_stream *s, int http)
{
	struct kube_watcher *w = s->w;
	if (http != 200) {
		if (try_other_credential(s, http))
			return -1;
		s->state = STREAM_REFUSED; // the timer goes on
		s->http = http;
		return 0;
	}
	if (s->passing) {
		s->passing = s->plain = false;
		again(s);
		return -1;
	}
	if (s->plain && s->remember)
		w->plain_until_ms = clock_mono_ms(w->clock) + w->timing.plain_ms;
	s->state = STREAM_OPEN;
	stream_on_heard(s);
	set_timer(s, s->plain ? w->timing.plain_silent_ms : w->timing.ping_ms);
	return watch_call_opened(s) ? 0 : -1;
}

static int after_events(struct kube_stream *s, int rc)
{
	if (rc == -EFBIG)
		stream_end(s, 0, no_body, "%s: an event has more than %zu bytes", s->w->config->server, KUBE_EVENT_MAX);
	else if (rc == -EPROTO)
		stream_end(s, 0, no_body, "%s: WebSocket messages in no order", s->w->config->server);
	return rc < 0 ? -1 : 0;
}

int stream_on_message(struct kube_stream *s, struct str part, bool first, bool last)
{
	stream_on_heard(s);
	return after_events(s, lines_fragment(&s->lines, part, first, last, watch_call_event, s));
}

int stream_on_bytes(struct kube_stream *s, struct str bytes)
{
	stream_on_heard(s);
	if (s->state == STREAM_OPEN)
		return after_events(s, lines_feed(&s->lines, bytes, watch_call_event, s));
	size_t room = s->body.max - s->body.n;
	buf_add(&s->body, bytes.p, bytes.n < room ? bytes.n : room);
	return 0;
}

// ---- The connection ends

static bool ended_in_order(const struct kube_stream *s, unsigned close_code, bool whole)
{
	if (lines_partial(&s->lines))
		return false;
	return whole || close_code == CLOSE_NORMAL || close_code == CLOSE_GOING_AWAY || close_code == CLOSE_NO_STATUS;
}

void stream_on_close(struct kube_stream *s, unsigned close_code, struct str why, bool whole)
{
	const char *server = s->w->config->server;
	stream_forget_connection(s);
	if (s->state == STREAM_REFUSED)
		end_refused(s);
	else if (s->state != STREAM_OPEN)
		stream_end(s, 0, no_body, "%s closed the connection without an answer", server);
	else if (ended_in_order(s, close_code, whole))
		stream_end(s, 200, no_body, "%s ended the stream", server);
	else if (lines_partial(&s->lines))
		stream_end(s, 0, no_body, "%s: the connection broke in the middle of an event", server);
	else if (close_code != 0)
		stream_end(s, 0, no_body, "%s ended the stream with WebSocket code %u: %.*s", server, close_code, STR_ARG(why));
	else
		stream_end(s, 0, no_body, "%s: the connection broke", server);
}
