// What http_server.c and http_watch.c share: who watches that no request takes longer than it may.
//
// libmicrohttpd's connection timeout starts anew at each byte, so it only closes idle connections. A request's whole
// duration is watched here: by a thread that looks at all connections a few times within the limit, and shuts the
// socket of one that is overdue. libmicrohttpd then sees its end and closes it.
//
// A connection's loop, the thread that serves it, tells how far it is; the functions on a struct watched are the
// loop's, unless they say otherwise.
#ifndef COCO_COMMON_HTTP_PRIVATE_H
#define COCO_COMMON_HTTP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/tls_transport.h"

// What a connection waits for.
enum watch_phase {
	WATCH_IDLE,      // for a request: no deadline but libmicrohttpd's idle timeout, until a byte of one comes
	WATCH_HANDSHAKE, // for the end of the handshake
	WATCH_BODY,      // for the rest of a request whose header is complete
	WATCH_ANSWER,    // for the peer to take the answer
};

// A connection's part in this; all zero but fd and tls, which are borrowed until http_watch_remove().
struct watched {
	int fd;
	struct tls_transport *tls; // NULL: plain

	// In the list; guarded by the watch's lock.
	struct watched *prev;
	struct watched *next;

	// Written by the loop.
	_Atomic int phase;        // enum watch_phase
	_Atomic int64_t since_ms; // when it began; 0 while idle
	_Atomic unsigned turns;   // counts what ends a wait for a request: a handshake, a request
	_Atomic uint64_t read; // bytes, when the wait for a request began: more than that are of one; of a handshake before

	// Written by the watch thread, for the loop: the header that is coming in.
	_Atomic int64_t header_since_ms; // 0: no byte seen
	_Atomic unsigned header_turn;    // of which turn it speaks

	// The watch thread's own.
	unsigned seen_turns;
	uint64_t seen_bytes;

	_Atomic bool late; // found overdue, by the watch thread or the loop: whoever is first counts it
};

struct http_watch {
	const char *name; // for logs
	int64_t limit_ms;
	_Atomic uint64_t overdue; // requests that took too long, since start

	pthread_mutex_t lock;
	pthread_cond_t changed; // the first connection, or `ends`
	struct watched *list;
	bool ends;
	bool running;
	pthread_t thread;
};

// name: borrowed. limit_s: at least 1.
void http_watch_init(struct http_watch *w, const char *name, unsigned limit_s) __attribute__((nonnull));
// Starts the thread.
int http_watch_start(struct http_watch *w, struct error *err) __attribute__((warn_unused_result, nonnull));
// Ends the thread, if it runs. The other functions go on to work.
void http_watch_end(struct http_watch *w) __attribute__((nonnull));
// After http_watch_end(), with no connection left.
void http_watch_release(struct http_watch *w) __attribute__((nonnull));

// From here on the watch thread uses c.
void http_watch_add(struct http_watch *w, struct watched *c) __attribute__((nonnull));
// After this no other thread uses c or its fd: only then may either go.
void http_watch_remove(struct http_watch *w, struct watched *c) __attribute__((nonnull));

// The handshake is over, or a request, however it ended: another may come.
void http_watch_waits(struct watched *c) __attribute__((nonnull));
// A request's header is complete.
void http_watch_request(struct watched *c) __attribute__((nonnull));
// Its answer is on the way.
void http_watch_answer(struct watched *c) __attribute__((nonnull));

// Whether the request under way has taken longer than it may; counted, and the loop's to refuse then.
bool http_watch_overdue(struct http_watch *w, struct watched *c) __attribute__((nonnull));

// Waits until nothing has come of a request that isn't over, nor of a handshake, at most limit_ms. From any thread but a loop.
void http_watch_wait_quiet(struct http_watch *w, unsigned limit_ms) __attribute__((nonnull));

#endif
