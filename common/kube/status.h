// The API server's word on what went wrong (meta/v1 Status). PURE
#ifndef COCO_COMMON_KUBE_STATUS_H
#define COCO_COMMON_KUBE_STATUS_H

#include <jansson.h>

#include "common/error.h"

struct kube_status {
	int http;          // 0: no answer came
	char reason[64];   // "AlreadyExists", "Conflict", ...; "" where there is none
	int retry_after_s; // details.retryAfterSeconds or the header; 0 for none
};

// Reads body, which may be NULL or no Status at all (a proxy's page). request: what was asked, such as
// "PATCH /apis/...". Fills *ret and err, whose message carries request, status, reason, message and up to three causes
// (field: message), and whose code is the errno below. Returns -err->code. Of requests about Secrets no message is carried that
// may quote one.
int kube_status_read(int http, const json_t *body, const char *request, struct kube_status *ret, struct error *err)
	__attribute__((nonnull(3, 4, 5)));

// Errors of requests, as errno:
//   ENOENT 404; EEXIST 409 AlreadyExists; EBUSY 409 otherwise (another writer was faster, or owns the field);
//   ESTALE 410, or reason Expired; EACCES 401; EPERM 403; EINVAL 400, 405, 406, 415, 422 and other 3xx and 4xx;
//   EFBIG 413, or an answer above KUBE_ANSWER_MAX; EAGAIN 429; EIO 5xx and answers that can't be read; ETIMEDOUT, 408;
//   ECONNREFUSED, ECONNRESET, EHOSTUNREACH; EPROTO TLS, where trying again won't help; ECANCELED stopping.
int kube_status_errno(int http, const char *reason) __attribute__((nonnull));
// Whether the same work may succeed later without anyone changing anything: the world read anew (EBUSY, ESTALE), a
// credential that renews itself (EACCES), a server or network that recovers.
int kube_error_transient(int code);

#endif
