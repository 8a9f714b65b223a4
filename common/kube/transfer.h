// One HTTP exchange with the API server on one libcurl handle: how libcurl is told whom to trust, what to send and what
// to refuse. Tries once; knows nothing of JSON. kube/client.h is what programs use.
#ifndef COCO_COMMON_KUBE_TRANSFER_H
#define COCO_COMMON_KUBE_TRANSFER_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/kube/auth.h"
#include "common/kube/config.h"

#define KUBE_HEADERS_MAX ((size_t)64 * 1024) // of an answer, all lines together
#define KUBE_PIECE_BYTES 16384L              // read and written at once

// All borrowed for the call.
struct transfer {
	const struct kube_config *config;
	struct kube_auth *auth; // for TLS alone: what is sent is in headers
	const char *user_agent;
	const char *method;
	const char *path;
	const struct curl_slist *headers;
	struct str body; // p NULL for none
	// libcurl sends anew, by itself, what a reused connection broke under; not where that could do something twice.
	bool repeatable;
	int64_t timeout_ms; // above 0
	int64_t connect_timeout_ms;
	const atomic_bool *stop; // NULL for none
};

struct transfer_result {
	int http;          // 0: no answer came
	int retry_after_s; // 0 for none
};

// libcurl's global state: any number of times, from any thread.
int transfer_init(struct error *err) __attribute__((warn_unused_result, nonnull));

// Appends the answer's body, at most what out allows. 0 where an answer came whole, whatever its status. Errors as
// kube/status.h has them; after one the handle may hold a connection that is no good: make a new one.
int transfer_run(CURL *handle, const struct transfer *t, struct buf *out, struct transfer_result *ret,
				 struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
