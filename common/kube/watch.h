// Watch streams, all on one thread with a libwebsockets event loop.
//
// The API server serves every watch as a WebSocket, one event a message. Where the upgrade is refused (a proxy in
// between, or the API server itself with a reason that a handshake can't carry), the same URL is asked for as a plain
// HTTP watch, one event a line: that brings either the stream or the Status that says why. Where it brings the stream, what
// had refused the upgrade may have passed meanwhile (an API server that starts, or a version that it has forgotten), and
// the upgrade is asked for once more, as a plain stream that dies in silence is noticed late; but not where the answer to
// the upgrade was the stream itself, which is what a proxy does that takes upgrades away. A stream that came up plain tells
// its watcher to skip the upgrade for the next KUBE_WATCH_PLAIN_MS, unless what had refused the upgrade passes by itself
// (429, 500, 503, 504). After a 401, another credential is tried once, where there may be one.
//
// A stream on which nothing arrives, not even a pong or a bookmark, is ended. The next step is the caller's: this
// knows no resource versions.
//
// Connecting, TLS and reading wait for nobody. Two things hold all streams up while they last: the system's look-up of a
// host name (none for an IP address, as in a pod), and a token file on a slow disk. A credential plugin runs on a thread
// of its own; kube_watcher_stop() waits for it, KUBE_EXEC_TIMEOUT_S at most. Of a name's addresses, those that refuse are
// passed over, while one that swallows packets takes the handshake's time.
// A kubeconfig's proxy-url is used where it is http:// (CONNECT); with another, streams end with a reason that says so.
#ifndef COCO_COMMON_KUBE_WATCH_H
#define COCO_COMMON_KUBE_WATCH_H

#include "common/clock.h"
#include "common/error.h"
#include "common/kube/auth.h"
#include "common/kube/config.h"
#include "common/str.h"

#define KUBE_EVENT_MAX ((size_t)8 * 1024 * 1024) // an object is at most 3 MiB in the API server
#define KUBE_WATCH_PING_MS 20000                 // WebSocket: ping after this long without a byte,
#define KUBE_WATCH_SILENT_MS 30000               // and the end without one after this
#define KUBE_WATCH_PLAIN_SILENT_MS 150000        // plain HTTP has no pings, but a bookmark about every minute
#define KUBE_WATCH_HANDSHAKE_MS 15000
#define KUBE_WATCH_PLAIN_MS 600000
#define KUBE_WATCH_PATH_MAX ((size_t)2000)   // libwebsockets has 2 KiB for the line of a request
#define KUBE_REFUSAL_MAX ((size_t)64 * 1024) // of a body that says why; a longer one is cut
#define KUBE_STREAMS_MAX 500

struct kube_watcher;
struct kube_stream;

struct kube_stream_handler {
	// On the watcher's thread; quick, and never calls kube_watcher_stop().
	void (*opened)(void *ctx);                 // the server agreed; may be NULL
	void (*event)(void *ctx, struct str text); // one whole event, borrowed
	// Exactly once, the last call: the connection is gone. http: the API server's status where it refused; 0 where the
	// connection could not be made or broke (reason says how); 200 where the server ended it in order, between two events.
	// status_body: the text of the answer that refused, perhaps a Status; p NULL for none. Not called after a cancel.
	void (*ended)(void *ctx, int http, struct str status_body, const char *reason);
};

// Shortens all the waits above, for tests: 0 keeps a default.
struct kube_watch_timing {
	int ping_ms, silent_ms, plain_silent_ms, handshake_ms, plain_ms;
};

// Starts the thread. config, auth, clock are borrowed for its life; timing may be NULL.
struct kube_watcher *kube_watcher_start(const struct kube_config *config, struct kube_auth *auth,
										const struct clock *clock, const char *user_agent,
										const struct kube_watch_timing *timing, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 3, 4, 6)));
// Ends all streams without further calls, and the thread. NULL is fine.
void kube_watcher_stop(struct kube_watcher *w);

// Opens a stream: path with its query, such as "/api/v1/namespaces?watch=true&...". accept: NULL for application/json.
// handler is borrowed until the cancel. Returns at once; whatever goes wrong comes through ended(). From any thread, the
// handlers included. What it returns is freed by kube_watch_cancel(), or by the watcher's stop.
struct kube_stream *kube_watch(struct kube_watcher *w, const char *path, const char *accept,
							   const struct kube_stream_handler *handler, void *ctx)
	__attribute__((returns_nonnull, nonnull(1, 2, 4)));
// Ends the stream and frees it: once for each, whether ended() was called or not, since who isn't on the watcher's thread
// can't know that it isn't being called. No further call of the handler begins once this has returned; where it is called
// from another thread than the watcher's, it waits for the one under way (so hold no lock that a handler takes).
// From handlers too, ended() included.
void kube_watch_cancel(struct kube_stream *s) __attribute__((nonnull));

// Calls fn(ctx) on the watcher's thread, once, after delay_ms or sooner at the stop (ran false then). For callers that
// need a timer beside their streams.
void kube_watcher_after(struct kube_watcher *w, int64_t delay_ms, void (*fn)(void *ctx, bool ran), void *ctx)
	__attribute__((nonnull(1, 3)));

#endif
