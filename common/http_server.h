// An HTTP(S) server on libmicrohttpd: routes, limits, certificates replaced while it runs, graceful stop.
//
// One epoll thread, or a few. A handler is a function from request to response that doesn't block; everything
// about sockets, TLS and slow or hostile peers stays in here. The program need not ignore SIGPIPE, and the server's
// threads take no signals. Logging: this is a shell, it logs what a peer did wrong at debug level, and its own
// failures.
#ifndef COCO_COMMON_HTTP_SERVER_H
#define COCO_COMMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/str.h"

struct http_request {
	struct str path;
	struct str body; // whole, borrowed until the handler returns
	bool at_once;    // the route's `later` can't be used now: answer without it
	int64_t
		line_ms; // for `later`: how long the request has waited in line for it; nobody may wait for its answer any more
};

struct http_response {
	int status;               // 0 on entry to the handler, which must set it
	const char *content_type; // static text; NULL: text/plain; charset=utf-8
	struct buf body;          // limited to HTTP_RESPONSE_MAX; ends up with the server
	int retry_after_s;        // 0: no Retry-After header
	bool later;               // set by `handle` instead of all else: the route's `later` is to answer
};

#define HTTP_RESPONSE_MAX ((size_t)8 * 1024 * 1024)

typedef void (*http_handler)(void *ctx, const struct http_request *req, struct http_response *resp);

struct http_route {
	const char *method; // "GET" (serves HEAD too) or "POST"; another method gets 405 with Allow
	const char *path;   // exact, without the query string, which is ignored
	http_handler handle;
	void *ctx;
	// For POST: the media type that the body must have ("application/json"), NULL for any; else 415.
	const char *accepts;
	// For the few requests whose answer has to wait for something (the API server): called for the same request on a
	// thread of its own, where it may block for a second or two while the loops go on. NULL: `handle` never asks for it.
	// `stopping`: the server ends; answer without waiting.
	void (*later)(void *ctx, const struct http_request *req, bool stopping, struct http_response *resp);
};

struct http_limits {
	size_t body_max;         // of one request; more gets 413, before it is read where Content-Length tells
	size_t bodies_max;       // of all requests under way together, as allocated; more gets 503 with Retry-After
	unsigned connections;    // open at once; further ones wait in the listen queue
	unsigned idle_timeout_s; // a connection without traffic this long is closed
	// For a TLS handshake; from a request's first byte to its last; for the peer to take the answer. What takes
	// longer is closed within a second or an eighth of this; a body whose bytes still come gets a 408 before.
	unsigned request_timeout_s;
	size_t connection_memory; // allocated for each, half for its headers; larger ones get 431. 16 KiB is good
};

struct http_config {
	struct str name;     // for logs: "admission", "plain"
	const char *listen;  // ADDRESS:PORT, [IPV6]:PORT, or :PORT for all addresses; port 0 picks a free one
	struct str cert_pem; // certificate chain; absent (p NULL) for plain HTTP. Not kept.
	struct str key_pem;  // not copied: only the parsed key is kept
	unsigned threads;    // 1 to 64, each with an event loop of its own and its share of the connections
	struct http_limits limits;
	const struct http_route *routes; // borrowed for the server's life
	size_t nroutes;
};

struct http_server;

// Starts to listen; returns when it accepts. New; NULL on error. TLS 1.2 and 1.3 only.
struct http_server *http_server_start(const struct http_config *config, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// The port in use, for port 0.
uint16_t http_server_port(const struct http_server *s) __attribute__((nonnull));

// From the next handshake on, another certificate; open connections and requests under way go on unharmed.
// The pair is checked first (both parse, the key is the certificate's): a bad one is an error and changes nothing.
int http_server_set_certificate(struct http_server *s, struct str cert_pem, struct str key_pem, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Requests answered, and their time in the handler, are counted by the handlers themselves. This counts what never
// reaches one: connections open now, requests refused by a limit (408: those closed without a word as well).
struct http_stats {
	unsigned connections;
	uint64_t body_bytes; // of requests under way
	uint64_t refused_413, refused_503, refused_408;
};
void http_server_stats(const struct http_server *s, struct http_stats *ret) __attribute__((nonnull));

// Goes on serving, but asks each peer to close its connection after its next answer ("Connection: close"), so that it
// takes its further requests elsewhere: first step of a stop that loses nothing.
void http_server_drain(struct http_server *s) __attribute__((nonnull));

// Stops accepting (connecting is refused from then on), lets requests under way finish (at most grace_ms), answers
// with "Connection: close" meanwhile, closes idle connections, frees all. Takes s; NULL is fine. No other call on s
// may be under way but those that handlers make.
void http_server_stop(struct http_server *s, unsigned grace_ms);

#endif
