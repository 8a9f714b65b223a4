// What the parts of the watcher share: watch.c starts it, keeps its lists and calls handlers; watch_stream.c is the life of
// a stream; watch_lws.c speaks with libwebsockets; watch_trust.c holds what TLS and proxy need.
//
// Everything here belongs to the watcher's thread, but for what is said to be under the lock.
#ifndef COCO_COMMON_KUBE_WATCH_PRIVATE_H
#define COCO_COMMON_KUBE_WATCH_PRIVATE_H

#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

#include "common/kube/lines.h"
#include "common/kube/watch.h"

#define WATCH_NAME_MAX ((size_t)119) // of a host with its port: libwebsockets has 128 for the whole header
#define WATCH_REASON_MAX 512

// A libwebsockets vhost with the TLS context of one generation. Older ones live on while they have connections.
struct watch_trust {
	struct lws_vhost *vhost;
	SSL_CTX *tls; // NULL for http://
	unsigned generation;
	unsigned connections;
	struct watch_trust *older;
};

struct watch_timer {
	lws_sorted_usec_list_t sul;
	lws_usec_t due;
	void (*fn)(void *ctx, bool ran);
	void *ctx;
	struct kube_watcher *w;
	struct watch_timer *next, *prev;
};

// The thread that asks for a credential where that may take long. round: how many there have been.
struct watch_credential {
	pthread_t thread;
	bool running;
	bool done; // under the lock
	unsigned round;
	struct buf token;
	unsigned serial;
	int rc;
	struct error err;
};

struct kube_watcher {
	const struct kube_config *config;
	struct kube_auth *auth;
	const struct clock *clock;
	struct kube_watch_timing timing; // none is 0
	char *user_agent;
	char *authority; // for the Host header
	char *origin;    // without one, API servers take no WebSocket
	char *proxy;     // as libwebsockets wants it; NULL for none
	char *refusal;   // why no stream can be opened with this configuration; NULL where one can

	struct lws_context *lws;
	struct watch_trust *trust; // the newest, with the older ones behind it
	int64_t trust_checked_ms;  // -1: look again
	int64_t plain_until_ms;
	struct watch_credential credential;
	struct watch_timer *timers;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t called;
	// Under the lock.
	struct kube_stream *streams;            // all
	struct kube_stream *queue, **queue_end; // those that need a look
	size_t nstreams;
	struct watch_timer *new_timers;
	struct kube_stream *calling; // whose handler is being called
	bool stopping;
};

enum stream_state {
	STREAM_NEW,        // to be connected, perhaps again
	STREAM_CREDENTIAL, // waits for the plugin
	STREAM_CONNECTING, // until the answer's head
	STREAM_REFUSED,    // the body that says why is coming
	STREAM_OPEN,
	STREAM_OVER, // ended() has been called, or there is nobody to call
};

struct kube_stream {
	struct kube_watcher *w;
	char *path; // with the server's prefix
	char *accept;
	const struct kube_stream_handler *handler;
	void *ctx;

	enum stream_state state;
	struct lws *wsi; // NULL for none
	lws_sorted_usec_list_t timer;
	lws_usec_t heard_us; // when something came last
	bool ping, pinged;   // to be sent; sent since then
	bool plain;          // ask without an upgrade
	unsigned refused;    // upgrades, by any answer
	bool passing;        // the refusal may have passed once this comes up plain: ask for the upgrade again
	bool remember;       // that the upgrade was refused, once this comes up plain
	bool retried;        // with another credential
	bool excess;         // one more than there may be
	unsigned credential_round;
	unsigned serial;
	char *bearer; // until it is sent
	int http;     // of what is in `body`
	struct lines lines;
	struct buf body;
	char trouble[WATCH_REASON_MAX]; // what TLS found wrong; "" for nothing

	// Under the lock.
	bool released, queued;
	struct kube_stream *next, *prev, *queue_next;
};

// ---- watch.c

// Has the stream looked at by the loop soon.
void watch_queue(struct kube_stream *s) __attribute__((nonnull));
bool watch_call_opened(struct kube_stream *s) __attribute__((nonnull));
// false where nobody wants further ones.
bool watch_call_event(void *stream, struct str text);
void watch_call_ended(struct kube_stream *s, int http, struct str body, const char *reason) __attribute__((nonnull));

// ---- watch_stream.c

void stream_begin(struct kube_stream *s) __attribute__((nonnull));
// The plugin's credential of that round has come.
void stream_take_credential(struct kube_stream *s, const struct watch_credential *c) __attribute__((nonnull));
// Cuts it off from its connection, without calls, and drops what it holds.
void stream_drop(struct kube_stream *s) __attribute__((nonnull));
// The connection is going away by itself.
void stream_forget_connection(struct kube_stream *s) __attribute__((nonnull));
void stream_end(struct kube_stream *s, int http, struct str body, const char *fmt, ...)
	__attribute__((nonnull(1, 4), format(printf, 4, 5)));

// What libwebsockets tells. int: whether the connection may stay (0) or is to be closed (-1).
int stream_on_open(struct kube_stream *s, int http) __attribute__((nonnull));
int stream_on_message(struct kube_stream *s, struct str part, bool first, bool last) __attribute__((nonnull));
int stream_on_bytes(struct kube_stream *s, struct str bytes) __attribute__((nonnull));
void stream_on_heard(struct kube_stream *s) __attribute__((nonnull));
// The connection could not be made, or the upgrade was refused with a status.
void stream_on_no_connection(struct kube_stream *s, int http, struct str why) __attribute__((nonnull));
// close_code: of the WebSocket's close frame; 0 where none came. whole: a plain answer came to its end.
void stream_on_close(struct kube_stream *s, unsigned close_code, struct str why, bool whole) __attribute__((nonnull));

// ---- watch_credential.c

// The credential for a stream is its `bearer` and `serial` at once (1), or later by stream_take_credential() (0).
int watch_credential_get(struct kube_stream *s, struct error *err) __attribute__((nonnull));
// Hands out what has come meanwhile.
void watch_credential_collect(struct kube_watcher *w) __attribute__((nonnull));
void watch_credential_stop(struct kube_watcher *w) __attribute__((nonnull));

// ---- watch_lws.c

int watch_lws_start(struct kube_watcher *w, struct error *err) __attribute__((nonnull));
int watch_lws_connect(struct kube_stream *s, struct error *err) __attribute__((nonnull));
// The vhost, without TLS where tls is NULL. user: of the vhost.
struct lws_vhost *watch_lws_vhost(struct kube_watcher *w, SSL_CTX *tls, void *user) __attribute__((nonnull(1)));

// ---- watch_trust.c

// Reads what the configuration says of proxy and names into w.
void watch_trust_read_config(struct kube_watcher *w) __attribute__((nonnull));
// Makes w->trust what new connections should use.
int watch_trust_refresh(struct kube_watcher *w, struct error *err) __attribute__((nonnull));
// Frees older ones that no connection needs; after the context's end all of them.
void watch_trust_collect(struct kube_watcher *w) __attribute__((nonnull));
void watch_trust_free(struct kube_watcher *w) __attribute__((nonnull));

#endif
