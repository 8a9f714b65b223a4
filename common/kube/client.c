// How a request goes: for each try, a token of the limiter, the credential, a handle of the pool, one transfer. What is
// tried again gives its handle back while it waits.
#include "common/kube/client.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/kube/answer.h"
#include "common/kube/backoff.h"
#include "common/kube/client_metrics.h"
#include "common/kube/limiter.h"
#include "common/kube/transfer.h"
#include "common/mem.h"

#define DEFAULT_QPS 20.0
#define DEFAULT_BURST 40
#define WAIT_SLICE_MS 200 // how late a wait may see that it should stop
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define AUTHORIZATION "Authorization: Bearer "

// A handle of libcurl's with the connection that it keeps. One that is not busy belongs to whoever holds the lock.
struct handle {
	CURL *curl;          // NULL: not made yet, or not to be used again
	unsigned generation; // of the TLS material that its connection may have been made with
	bool busy;
};

struct kube_client {
	const struct kube_config *config;
	struct kube_auth *auth;
	const struct clock *clock;
	const atomic_bool *stop;
	char *user_agent;

	pthread_mutex_t lock; // of all below
	pthread_cond_t freed; // a handle was
	struct handle handles[KUBE_HANDLES_MAX];
	struct limiter limiter;
};

// ---- The client

void kube_client_register_metrics(void)
{
	client_metrics_register();
}

struct kube_client *kube_client_new(const struct kube_config *config, struct kube_auth *auth,
									const struct kube_client_options *options, const struct clock *clock,
									struct error *err)
{
	double qps = options->qps > 0 ? options->qps : DEFAULT_QPS;
	int burst = options->burst > 0 ? options->burst : DEFAULT_BURST;
	if (transfer_init(err) < 0)
		return NULL;
	struct kube_client *c = xcalloc(1, sizeof(*c));
	c->config = config;
	client_metrics_server(config->server);
	c->auth = auth;
	c->clock = clock;
	c->stop = options->stop;
	c->user_agent = xstrdup(options->user_agent != NULL ? options->user_agent : "coco-pipelines");
	limiter_init(&c->limiter, qps, burst, clock_mono_ms(clock));
	(void)pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->freed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return c;
}

void kube_client_free(struct kube_client *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < KUBE_HANDLES_MAX; i++)
		curl_easy_cleanup(c->handles[i].curl);
	(void)pthread_cond_destroy(&c->freed);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->user_agent);
	free(c);
}

// ---- One request, over all its tries

struct call {
	struct kube_client *c;
	const struct kube_request *req;
	char *what; // for messages: method and path, without the query
	char *body; // NULL for none; may hold a Secret
	size_t body_n;
	struct curl_slist *headers; // all but the credential
	bool repeatable;
	int64_t deadline_ms;
	unsigned tries;
	unsigned serial;  // of the credential that was sent last
	bool had_another; // it was refused once, and there was another
	struct backoff backoff;
};

static void call_release(struct call *call)
{
	if (call->body != NULL)
		explicit_bzero(call->body, call->body_n);
	free(call->body);
	free(call->what);
	curl_slist_free_all(call->headers);
}

static bool is_path(const char *path)
{
	for (const char *p = path; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7F || *p == '#')
			return false;
	return path[0] == '/';
}

static int call_add_header(struct call *call, const char *name, const char *value, struct error *err)
{
	CLEANUP_FREE
	char *line = xasprintf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(call->headers, line);
	if (longer == NULL)
		return error_set(err, ENOMEM, "libcurl is out of memory");
	call->headers = longer;
	return 0;
}

static int call_add_body(struct call *call, struct error *err)
{
	const struct kube_request *req = call->req;
	call->body = json_dumps(req->body, JSON_COMPACT | JSON_ENCODE_ANY);
	if (call->body == NULL)
		return error_set(err, EINVAL, "%s: the object can't be written as JSON: it holds text that is not UTF-8",
						 call->what);
	call->body_n = strlen(call->body);
	const char *type = req->content_type != NULL ? req->content_type : "application/json";
	// libcurl would ask before it sends a large body, which costs a round trip.
	int rc = call_add_header(call, "Content-Type", type, err);
	return rc < 0 ? rc : call_add_header(call, "Expect", "", err);
}

static int call_init(struct call *call, struct kube_client *c, const struct kube_request *req, struct error *err)
{
	int64_t timeout_ms = req->timeout_ms > 0 ? req->timeout_ms : KUBE_TIMEOUT_MS;
	*call = (struct call){
		.c = c,
		.req = req,
		.what = xasprintf("%s %.*s", req->method, (int)strcspn(req->path, "?"), req->path),
		.repeatable = req->repeatable || strcmp(req->method, "GET") == 0,
		.deadline_ms = clock_mono_ms(c->clock) + timeout_ms,
		.backoff = {.first_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS, .random = backoff_seed()},
	};
	if (strlen(req->path) > KUBE_PATH_MAX)
		return error_set(err, EINVAL, "%.200s...: the path is longer than %zu bytes", call->what, KUBE_PATH_MAX);
	if (!is_path(req->path))
		return error_set(err, EINVAL, "%s: the path must start with '/' and be percent-encoded", call->what);
	int rc = call_add_header(call, "Accept", req->accept != NULL ? req->accept : "application/json", err);
	return rc < 0 || req->body == NULL ? rc : call_add_body(call, err);
}

// ---- Waiting

static bool is_stopping(const struct kube_client *c)
{
	return c->stop != NULL && atomic_load(c->stop);
}

static int64_t left_ms(const struct call *call)
{
	return call->deadline_ms - clock_mono_ms(call->c->clock);
}

static int stopped(struct error *err)
{
	return error_set(err, ECANCELED, "given up, as the program stops");
}

// By the client's clock, and no longer than the caller has checked.
static int wait_ms(const struct call *call, int64_t ms, struct error *err)
{
	const struct clock *clock = call->c->clock;
	int64_t until = clock_mono_ms(clock) + ms;
	for (;;) {
		int64_t left = until - clock_mono_ms(clock);
		if (is_stopping(call->c))
			return stopped(err);
		if (left <= 0)
			return 0;
		int64_t slice = left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS;
		(void)nanosleep(&(struct timespec){.tv_nsec = slice * 1000000}, NULL);
	}
}

static int wait_for_limiter(const struct call *call, struct error *err)
{
	struct kube_client *c = call->c;
	(void)pthread_mutex_lock(&c->lock);
	int64_t wait = limiter_take(&c->limiter, clock_mono_ms(c->clock));
	double qps = c->limiter.qps;
	bool too_late = wait > left_ms(call);
	if (too_late)
		limiter_give_back(&c->limiter);
	(void)pthread_mutex_unlock(&c->lock);
	if (too_late)
		return error_set(err, ETIMEDOUT,
						 "this client's own limit of %g requests a second has it wait for longer than it may", qps);
	client_metrics_limited(call->req->method, wait);
	return wait_ms(call, wait, err);
}

// ---- The pool

// With the lock held: one that has a connection first.
static struct handle *find_free(struct kube_client *c)
{
	struct handle *found = NULL;
	for (size_t i = 0; i < KUBE_HANDLES_MAX; i++) {
		struct handle *h = &c->handles[i];
		if (!h->busy && (found == NULL || (found->curl == NULL && h->curl != NULL)))
			found = h;
	}
	return found;
}

static void wait_for_freed(struct kube_client *c)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)WAIT_SLICE_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_cond_timedwait(&c->freed, &c->lock, &until);
}

static struct handle *take_free(const struct call *call, struct error *err)
{
	struct kube_client *c = call->c;
	struct handle *h = NULL;
	int rc = 0;
	(void)pthread_mutex_lock(&c->lock);
	while (rc == 0 && (h = find_free(c)) == NULL) {
		if (is_stopping(c))
			rc = stopped(err);
		else if (left_ms(call) <= 0)
			rc =
				error_set(err, ETIMEDOUT, "all %d connections to the API server were busy for as long as it could wait",
						  KUBE_HANDLES_MAX);
		else
			wait_for_freed(c);
	}
	if (h != NULL)
		h->busy = true;
	(void)pthread_mutex_unlock(&c->lock);
	return h;
}

static void handle_drop(struct handle *h)
{
	curl_easy_cleanup(h->curl);
	h->curl = NULL;
}

static void handle_give(struct kube_client *c, struct handle *h)
{
	(void)pthread_mutex_lock(&c->lock);
	h->busy = false;
	(void)pthread_cond_signal(&c->freed);
	(void)pthread_mutex_unlock(&c->lock);
}

// Ours alone until handle_give(). One whose connection was made with other TLS material is made anew.
static struct handle *handle_take(const struct call *call, struct error *err)
{
	struct kube_client *c = call->c;
	struct handle *h = take_free(call, err);
	if (h == NULL)
		return NULL;
	unsigned generation = kube_auth_tls_generation(c->auth);
	if (h->curl != NULL && h->generation != generation)
		handle_drop(h);
	h->generation = generation;
	if (h->curl == NULL)
		h->curl = curl_easy_init();
	if (h->curl != NULL)
		return h;
	(void)error_set(err, ENOMEM, "libcurl is out of memory");
	handle_give(c, h);
	return NULL;
}

// ---- One try

static void wipe(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->n);
	buf_release(b);
}

static int add_credential(struct call *call, struct buf *line, struct error *err)
{
	// All at once, so that growing leaves no copies behind.
	buf_expect(line, line->max);
	buf_addz(line, AUTHORIZATION);
	return kube_auth_token(call->c->auth, line, &call->serial, err);
}

static int exchange(struct call *call, const struct curl_slist *headers, struct buf *text, struct transfer_result *ret,
					struct error *err)
{
	struct kube_client *c = call->c;
	struct handle *h = handle_take(call, err);
	if (h == NULL)
		return -err->code;
	int64_t start = clock_mono_ms(c->clock);
	int64_t left = call->deadline_ms - start;
	const struct transfer t = {
		.config = c->config,
		.auth = c->auth,
		.user_agent = c->user_agent,
		.method = call->req->method,
		.path = call->req->path,
		.headers = headers,
		.body = {call->body, call->body_n},
		.repeatable = call->repeatable,
		.timeout_ms = left > 0 ? left : 1,
		.connect_timeout_ms = KUBE_CONNECT_TIMEOUT_MS,
		.stop = c->stop,
	};
	int rc = transfer_run(h->curl, &t, text, ret, err);
	client_metrics_request(t.method, ret->http, clock_mono_ms(c->clock) - start);
	// A HTTP/2 connection would be kept though it has gone silent.
	if (rc < 0)
		handle_drop(h);
	handle_give(c, h);
	return rc;
}

static int read_answer(const struct call *call, struct str text, const struct transfer_result *result,
					   struct kube_response *ret, struct error *err)
{
	struct error unreadable;
	ret->body = text.n > 0 ? kube_answer_read(text, &unreadable) : NULL;
	if (result->http < 200 || result->http > 299) {
		int rc = kube_status_read(result->http, ret->body, call->what, &ret->status, err);
		if (ret->status.retry_after_s == 0)
			ret->status.retry_after_s = result->retry_after_s;
		return rc;
	}
	ret->status.http = result->http;
	if (ret->body != NULL || text.n == 0)
		return 0;
	return error_set(err, unreadable.code, "%s: answered %d: %s; is %s an API server?", call->what, result->http,
					 unreadable.msg, call->c->config->server);
}

static int try_once(struct call *call, struct kube_response *ret, struct error *err)
{
	call->tries++;
	CLEANUP(wipe) struct buf line = BUF_INIT(sizeof(AUTHORIZATION) + KUBE_TOKEN_MAX);
	CLEANUP(wipe) struct buf text = BUF_INIT(KUBE_ANSWER_MAX);
	struct transfer_result result = {0};
	if (wait_for_limiter(call, err) < 0 || add_credential(call, &line, err) < 0)
		return -err->code;
	// In front of the others, for this try.
	struct curl_slist credential = {.data = line.p, .next = call->headers};
	bool has_one = line.n > strlen(AUTHORIZATION);
	int rc = exchange(call, has_one ? &credential : call->headers, &text, &result, err);
	return rc < 0 ? rc : read_answer(call, buf_str(&text), &result, ret, err);
}

// ---- Again

// In how many ms to try again after what went wrong; -1: not.
static int64_t again_ms(struct call *call, const struct kube_status *status, const struct error *err)
{
	switch (status->http) {
	case 401:
		if (!kube_auth_refused(call->c->auth, call->serial) || call->had_another)
			return -1;
		call->had_another = true;
		return 0;
	case 429:
	case 503:
		return status->retry_after_s > 0 ? (int64_t)status->retry_after_s * 1000 : backoff_next_ms(&call->backoff);
	case 0:
		return call->repeatable && err->code == ECONNRESET ? backoff_next_ms(&call->backoff) : -1;
	default:
		return -1;
	}
}

int kube_do(struct kube_client *c, const struct kube_request *req, struct kube_response *ret, struct error *err)
{
	*ret = (struct kube_response){0};
	CLEANUP(call_release) struct call call;
	if (call_init(&call, c, req, err) < 0)
		return -err->code;
	for (;;) {
		if (try_once(&call, ret, err) == 0)
			return 0;
		// An answer's error says already what was asked.
		if (ret->status.http == 0)
			(void)error_prefix(err, "%s", call.what);
		int64_t wait = again_ms(&call, &ret->status, err);
		if (wait < 0 || call.tries == KUBE_TRIES_MAX || wait >= left_ms(&call))
			return -err->code;
		if (wait_ms(&call, wait, err) < 0)
			return error_prefix(err, "%s", call.what);
		client_metrics_retry(req->method, ret->status.http);
		kube_response_release(ret);
	}
}

void kube_response_release(struct kube_response *r)
{
	json_decref(r->body);
	*r = (struct kube_response){0};
}
