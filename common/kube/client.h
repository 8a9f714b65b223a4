// Requests to the Kubernetes API server, on libcurl. Blocking; thread-safe: a client keeps a small pool of handles, so
// that connections are reused (HTTP/2 where offered), and a request takes one for its duration.
//
// Every request has a timeout. Tried again here, within it and KUBE_TRIES_MAX times in all: 429 and 503 by Retry-After
// (else with back-off), broken connections where the request is safe to repeat (GET; server-side apply; PUT, DELETE and
// patches with a resourceVersion; DELETE with a uid), one 401 with a fresh credential. All else is the caller's, a
// connection that could not be made too. Errors: kube/status.h. A namespace or name that can't stand in a path is EINVAL.
// A rate limit of the client's own (token bucket) applies before anything is sent.
// Not logging. Metrics: rest_client_requests_total{code,method,host}, rest_client_request_duration_seconds{verb,host},
// rest_client_request_retries_total{code,verb,host}, rest_client_rate_limiter_duration_seconds{verb,host}, and of the verbs
// below those in kind_metrics.h.
#ifndef COCO_COMMON_KUBE_CLIENT_H
#define COCO_COMMON_KUBE_CLIENT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/kube/auth.h"
#include "common/kube/config.h"
#include "common/kube/resource.h"
#include "common/kube/status.h"

#define KUBE_TIMEOUT_MS 30000
#define KUBE_CONNECT_TIMEOUT_MS 10000
#define KUBE_ANSWER_MAX ((size_t)64 * 1024 * 1024) // unpacked
#define KUBE_PAGE 500                              // objects a list page, as client-go's reflector asks for
#define KUBE_PAGES_MAX 10000                       // of one list
#define KUBE_HANDLES_MAX 8
#define KUBE_TRIES_MAX 6 // of one request

struct kube_client_options {
	const char *user_agent;  // "coco-webhook/0.1.0 (linux/amd64)"
	double qps;              // 0: 20
	int burst;               // 0: 40
	const atomic_bool *stop; // once true, requests end within a second with ECANCELED; NULL for none
};

struct kube_client;

// config, auth, clock are borrowed for its life. Connects to nothing yet.
struct kube_client *kube_client_new(const struct kube_config *config, struct kube_auth *auth,
									const struct kube_client_options *options, const struct clock *clock,
									struct error *err) __attribute__((warn_unused_result, nonnull));
void kube_client_free(struct kube_client *c); // no request may be under way; NULL is fine

// Once, at start.
void kube_client_register_metrics(void);

struct kube_request {
	const char *method;
	const char *path;         // with query
	const json_t *body;       // NULL for none
	const char *content_type; // of body; NULL: application/json
	const char *accept;       // NULL: application/json
	int timeout_ms;           // of all tries together; 0: KUBE_TIMEOUT_MS
	bool repeatable;          // GETs are, without saying so
};

struct kube_response {
	struct kube_status status;
	json_t *body; // new; NULL where the answer had none
};

void kube_response_release(struct kube_response *r) __attribute__((nonnull));
#define CLEANUP_KUBE_RESPONSE CLEANUP(kube_response_release)

// 0 for 2xx. On error the response's status is filled too, and body where one came.
int kube_do(struct kube_client *c, const struct kube_request *req, struct kube_response *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// ---- The common cases. ret_* may be NULL where the caller doesn't want the answer; what is stored there is new.

int kube_get(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
			 struct error *err) __attribute__((warn_unused_result, nonnull(1, 2, 4, 6)));

struct kube_selector {
	const char *labels; // both as in the URL's parameters, NULL for all
	const char *fields;
	bool metadata_only; // PartialObjectMetadata: neither spec nor data travels
	int page;           // objects a page; 0: KUBE_PAGE
};

// Called once a page, with the array of its objects: borrowed, but the callee may take references to items and change
// them. apiVersion and kind are set in each item, as lists leave them out.
typedef int (*kube_page_fn)(void *ctx, const json_t *items, struct error *err);
// All pages. *ret_resource_version (new): what to watch from. A list that expires midway (410) starts over once, without
// pages, after `restart`, which may be NULL, told the caller to forget what it was given. A page above KUBE_ANSWER_MAX is
// asked for anew in smaller ones.
int kube_list(struct kube_client *c, const struct kube_resource *res, const char *ns, const struct kube_selector *sel,
			  kube_page_fn page, void (*restart)(void *ctx), void *ctx, char **ret_resource_version, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 5, 9)));

int kube_create(struct kube_client *c, const struct kube_resource *res, const char *ns, const json_t *object,
				json_t **ret, struct error *err) __attribute__((warn_unused_result, nonnull(1, 2, 4, 6)));
// PUT: object carries the resourceVersion that it replaces.
int kube_update(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
				const char *subresource, const json_t *object, json_t **ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 4, 6, 8)));
// JSON merge patch (RFC 7386).
int kube_patch_merge(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
					 const char *subresource, const json_t *patch, json_t **ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 4, 6, 8)));
// Server-side apply of an object that names itself. Without force a conflict is EBUSY, whose message names the other
// managers and the fields.
int kube_apply(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *subresource,
			   const json_t *object, const char *field_manager, bool force, json_t **ret, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 5, 6, 9)));
// Preconditions: uid, resource_version; NULL for any. propagation: "Background", "Foreground", "Orphan", or NULL.
int kube_delete(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
				const char *uid, const char *resource_version, const char *propagation, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 2, 4, 8)));

// ---- What the cluster has

// 1, 0, or -errno. Asked anew each time: callers keep what they learn.
int kube_has_resource(struct kube_client *c, const struct kube_resource *res, struct error *err)
	__attribute__((warn_unused_result, nonnull));
struct kube_version {
	int major, minor;
	char git[64];
};
int kube_server_version(struct kube_client *c, struct kube_version *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
