// Performs calls of common/kube/client.h, each a JSON object: an argument, or a line of standard input where there is none.
//
//     kube_call [--kubeconfig FILE] [--context NAME] [--qps N] [--burst N] [CALL...]
//     kube_call '{"verb": "get", "resource": "pods", "ns": "a", "name": "b"}'
//
// Prints a line for each: {"result":..., "ms":N}, or {"error":"ENOENT", "message":"...", "ms":N}; with "threads" and
// "times", how many calls ended how. SIGUSR1 has it stop, as a program's own stop flag would.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/client.h"
#include "common/metrics.h"

#define THREADS_MAX 32
#define METRICS_MAX ((size_t)1024 * 1024)

static atomic_bool stop;

static void on_stop(int number)
{
	(void)number;
	atomic_store(&stop, true);
}

// ---- What a call says

static const char *text_of(const json_t *call, const char *key)
{
	return json_string_value(json_object_get(call, key));
}

static int int_of(const json_t *call, const char *key, int otherwise)
{
	const json_t *v = json_object_get(call, key);
	return json_is_integer(v) ? (int)json_integer_value(v) : otherwise;
}

static bool is_set(const json_t *call, const char *key)
{
	return json_is_true(json_object_get(call, key));
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

// By its plural, or an object of its parts.
static struct kube_resource resource_of(const json_t *call)
{
	static const struct kube_resource *const known[] = {&KUBE_NAMESPACES,
														&KUBE_PODS,
														&KUBE_CONFIG_MAPS,
														&KUBE_SECRETS,
														&KUBE_LEASES,
														&KUBE_EVENTS,
														&KUBE_CRDS,
														&KUBE_SERVICES,
														&KUBE_DEPLOYMENTS,
														&KUBE_RUNTIME_CLASSES,
														&KUBE_MUTATING_WEBHOOKS,
														&KUBE_VALIDATING_WEBHOOKS,
														&KUBE_CONFIDENTIAL_PROFILES};
	const json_t *v = json_object_get(call, "resource");
	const char *plural = or_empty(json_string_value(v));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i]->plural, plural) == 0)
			return *known[i];
	return (struct kube_resource){
		.group = or_empty(text_of(v, "group")),
		.version = or_empty(text_of(v, "version")),
		.plural = or_empty(text_of(v, "plural")),
		.kind = or_empty(text_of(v, "kind")),
		.namespaced = is_set(v, "namespaced"),
	};
}

// ---- Verbs. *ret stays NULL where a call has nothing to show.

typedef int (*verb_fn)(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					   struct error *err);

static int verb_get(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					struct error *err)
{
	return kube_get(c, res, text_of(call, "ns"), or_empty(text_of(call, "name")), ret, err);
}

struct collected {
	json_t *items;
	int pages, restarts;
};

static int on_page(void *ctx, const json_t *items, struct error *err)
{
	struct collected *all = ctx;
	size_t i;
	json_t *item;
	all->pages++;
	json_array_foreach (items, i, item) {
		if (json_array_append(all->items, item) < 0)
			return error_set(err, ENOMEM, "can't keep item %zu", i);
	}
	return 0;
}

static void on_restart(void *ctx)
{
	struct collected *all = ctx;
	all->restarts++;
	(void)json_array_clear(all->items);
}

static int verb_list(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					 struct error *err)
{
	const struct kube_selector sel = {
		.labels = text_of(call, "labels"),
		.fields = text_of(call, "fields"),
		.metadata_only = is_set(call, "metadataOnly"),
		.page = int_of(call, "page", 0),
	};
	struct collected all = {.items = json_array()};
	CLEANUP_FREE
	char *version = NULL;
	int rc = kube_list(c, res, text_of(call, "ns"), &sel, on_page, on_restart, &all, &version, err);
	int count = (int)json_array_size(all.items);
	*ret = json_pack("{s:o, s:i, s:i, s:i, s:s*}", "items", all.items, "count", count, "pages", all.pages, "restarts",
					 all.restarts, "resourceVersion", version);
	if (is_set(call, "brief"))
		(void)json_object_del(*ret, "items");
	return rc;
}

static int verb_create(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					   struct error *err)
{
	return kube_create(c, res, text_of(call, "ns"), json_object_get(call, "object"), ret, err);
}

static int verb_update(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					   struct error *err)
{
	return kube_update(c, res, text_of(call, "ns"), or_empty(text_of(call, "name")), text_of(call, "subresource"),
					   json_object_get(call, "object"), ret, err);
}

static int verb_patch(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					  struct error *err)
{
	return kube_patch_merge(c, res, text_of(call, "ns"), or_empty(text_of(call, "name")), text_of(call, "subresource"),
							json_object_get(call, "object"), ret, err);
}

static int verb_apply(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					  struct error *err)
{
	return kube_apply(c, res, text_of(call, "ns"), text_of(call, "subresource"), json_object_get(call, "object"),
					  or_empty(text_of(call, "manager")), is_set(call, "force"), ret, err);
}

static int verb_delete(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					   struct error *err)
{
	(void)ret;
	return kube_delete(c, res, text_of(call, "ns"), or_empty(text_of(call, "name")), text_of(call, "uid"),
					   text_of(call, "resourceVersion"), text_of(call, "propagation"), err);
}

static int verb_has(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
					struct error *err)
{
	(void)call;
	int rc = kube_has_resource(c, res, err);
	*ret = rc >= 0 ? json_integer(rc) : NULL;
	return rc;
}

static int verb_version(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
						struct error *err)
{
	(void)call;
	(void)res;
	struct kube_version v;
	int rc = kube_server_version(c, &v, err);
	*ret = rc == 0 ? json_pack("{s:i, s:i, s:s}", "major", v.major, "minor", v.minor, "git", v.git) : NULL;
	return rc;
}

// Any request, with its status beside the body.
static int verb_do(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
				   struct error *err)
{
	(void)res;
	const struct kube_request req = {
		.method = or_empty(text_of(call, "method")),
		.path = or_empty(text_of(call, "path")),
		.body = json_object_get(call, "object"),
		.content_type = text_of(call, "contentType"),
		.accept = text_of(call, "accept"),
		.timeout_ms = int_of(call, "timeoutMs", 0),
		.repeatable = is_set(call, "repeatable"),
	};
	CLEANUP_KUBE_RESPONSE struct kube_response r = {0};
	int rc = kube_do(c, &req, &r, err);
	*ret = json_pack("{s:i, s:s, s:i, s:O*}", "http", r.status.http, "reason", r.status.reason, "retryAfterS",
					 r.status.retry_after_s, "body", r.body);
	return rc;
}

static int verb_metrics(struct kube_client *c, const json_t *call, const struct kube_resource *res, json_t **ret,
						struct error *err)
{
	(void)c;
	(void)call;
	(void)res;
	(void)err;
	CLEANUP_BUF
	struct buf out = BUF_INIT(METRICS_MAX);
	metrics_write(&out);
	*ret = json_string(buf_z(&out));
	return 0;
}

static verb_fn verb_of(const json_t *call)
{
	static const struct {
		const char *name;
		verb_fn fn;
	} verbs[] = {
		{"get", verb_get},         {"list", verb_list},   {"create", verb_create},   {"update", verb_update},
		{"patch", verb_patch},     {"apply", verb_apply}, {"delete", verb_delete},   {"has", verb_has},
		{"version", verb_version}, {"do", verb_do},       {"metrics", verb_metrics},
	};
	const char *verb = or_empty(text_of(call, "verb"));
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, verb) == 0)
			return verbs[i].fn;
	return NULL;
}

// ---- Running

static void print_line(json_t *line)
{
	(void)json_dumpf(line, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
	json_decref(line);
}

static void run_once(struct kube_client *c, const json_t *call, verb_fn verb)
{
	const struct kube_resource res = resource_of(call);
	json_t *result = NULL;
	struct error err = {0};
	int64_t start = clock_mono_ms(&clock_real);
	int rc = verb(c, call, &res, &result, &err);
	json_int_t ms = clock_mono_ms(&clock_real) - start;
	if (rc >= 0)
		print_line(json_pack("{s:o*, s:I}", "result", result, "ms", ms));
	else
		print_line(json_pack("{s:s, s:s, s:o*, s:I}", "error", or_empty(strerrorname_np(err.code)), "message", err.msg,
							 "result", result, "ms", ms));
}

struct crowd {
	struct kube_client *c;
	const json_t *call;
	verb_fn verb;
	int times;
	pthread_mutex_t lock;
	json_t *counts; // by the error's name, "0" for none
};

static void *run_many(void *arg)
{
	struct crowd *w = arg;
	const struct kube_resource res = resource_of(w->call);
	for (int i = 0; i < w->times; i++) {
		json_t *result = NULL;
		struct error err = {0};
		int rc = w->verb(w->c, w->call, &res, &result, &err);
		const char *how = rc >= 0 ? "0" : or_empty(strerrorname_np(err.code));
		(void)pthread_mutex_lock(&w->lock);
		json_int_t n = json_integer_value(json_object_get(w->counts, how));
		(void)json_object_set_new(w->counts, how, json_integer(n + 1));
		(void)pthread_mutex_unlock(&w->lock);
		json_decref(result);
	}
	return NULL;
}

static void run_crowd(struct kube_client *c, const json_t *call, verb_fn verb)
{
	pthread_t threads[THREADS_MAX];
	int n = int_of(call, "threads", 1);
	int started = 0;
	struct crowd w = {.c = c, .call = call, .verb = verb, .times = int_of(call, "times", 1), .counts = json_object()};
	(void)pthread_mutex_init(&w.lock, NULL);
	int64_t start = clock_mono_ms(&clock_real);
	while (started < n && started < THREADS_MAX && pthread_create(&threads[started], NULL, run_many, &w) == 0)
		started++;
	for (int i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	(void)pthread_mutex_destroy(&w.lock);
	json_int_t ms = clock_mono_ms(&clock_real) - start;
	print_line(json_pack("{s:o, s:I}", "result", w.counts, "ms", ms));
}

static int run(struct kube_client *c, const char *text)
{
	json_error_t e = {.text = "unknown verb"};
	json_auto_t *call = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	verb_fn verb = verb_of(call);
	if (verb == NULL) {
		(void)fprintf(stderr, "kube_call: no call: %s: %s\n", text, e.text);
		return 2;
	}
	if (json_object_get(call, "threads") != NULL)
		run_crowd(c, call, verb);
	else
		run_once(c, call, verb);
	return 0;
}

static int run_lines(struct kube_client *c)
{
	CLEANUP_FREE
	char *line = NULL;
	size_t cap = 0;
	int rc = 0;
	while (rc == 0 && getline(&line, &cap, stdin) > 0)
		rc = run(c, line);
	return rc;
}

struct arguments {
	const char *kubeconfig, *context;
	struct kube_client_options options;
	int calls; // index of the first
};

static int read_arguments(int argc, char **argv, struct arguments *ret)
{
	int i = 1;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		if (strcmp(argv[i], "--kubeconfig") == 0)
			ret->kubeconfig = argv[i + 1];
		else if (strcmp(argv[i], "--context") == 0)
			ret->context = argv[i + 1];
		else if (strcmp(argv[i], "--qps") == 0)
			ret->options.qps = strtod(argv[i + 1], NULL);
		else if (strcmp(argv[i], "--burst") == 0)
			ret->options.burst = (int)strtol(argv[i + 1], NULL, 10);
		else
			return -1;
	}
	ret->calls = i;
	return 0;
}

static int run_all(struct kube_config *config, const struct arguments *a, int argc, char **argv)
{
	struct error err = {0};
	struct kube_auth *auth = kube_auth_new(config, &clock_real);
	struct kube_client *c = kube_client_new(config, auth, &a->options, &clock_real, &err);
	int rc = c != NULL ? 0 : 1;
	if (c == NULL)
		(void)fprintf(stderr, "kube_call: %s\n", err.msg);
	for (int i = a->calls; rc == 0 && i < argc; i++)
		rc = run(c, argv[i]);
	if (rc == 0 && a->calls == argc)
		rc = run_lines(c);
	kube_client_free(c);
	kube_auth_free(auth);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments a = {.options = {.user_agent = "kube_call/0", .stop = &stop}};
	if (read_arguments(argc, argv, &a) < 0) {
		(void)fprintf(stderr,
					  "usage: kube_call [--kubeconfig FILE] [--context NAME] [--qps N] [--burst N] [CALL...]\n");
		return 2;
	}
	const struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
	(void)sigaction(SIGUSR1, &action, NULL);
	kube_client_register_metrics();
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *config = kube_config_load(a.kubeconfig, a.context, &err);
	if (config == NULL) {
		(void)fprintf(stderr, "kube_call: %s\n", err.msg);
		return 1;
	}
	return run_all(config, &a, argc, argv);
}
