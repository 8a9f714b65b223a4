// Opens watch streams as told, and prints each call that comes back as a line of JSON on stdout.
//
//   watch_probe [--kubeconfig FILE] [--ping-ms N] [--silent-ms N] [--plain-silent-ms N] [--handshake-ms N] [--plain-ms N]
//
// Commands, a line each on stdin:
//   open ID PATH [HOW]   HOW: cancel-opened, cancel-event, cancel-ended: from that handler; keep: not freed when it ended;
//                        again=N: opened again from ended(), N times, and only then is told of
//   cancel ID            from this thread
//   race N PATH          opens and cancels N streams, each at once
//   after MS NAME
//   memory               what malloc has handed out, and the resident set
//   quit                 or the end of input
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/kube/watch.h"
#include "common/mem.h"

#define PROBES_MAX 1024
#define TEXT_MAX 2048 // of an event; of a longer one, its length is told

struct probe {
	char *id, *path, *how;
	struct kube_stream *stream; // under the lock
	long again;
	unsigned long events;
	bool cancelled; // under the lock
};

static struct kube_watcher *watcher;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct probe *probes[PROBES_MAX];
static size_t nprobes;

static void tell(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (text == NULL)
		abort();
	(void)pthread_mutex_lock(&lock);
	(void)puts(text);
	(void)fflush(stdout);
	(void)pthread_mutex_unlock(&lock);
	free(text);
}

static json_t *text_json(struct str s)
{
	if (s.p == NULL)
		return json_null();
	json_t *text = json_stringn(s.p, s.n);
	return text != NULL ? text : json_string("(no UTF-8)");
}

// Frees the stream unless somebody has.
static void cancel(struct probe *p)
{
	(void)pthread_mutex_lock(&lock);
	struct kube_stream *s = TAKE_PTR(p->stream);
	(void)pthread_mutex_unlock(&lock);
	if (s == NULL)
		return;
	kube_watch_cancel(s);
	// From here on, a call is late.
	(void)pthread_mutex_lock(&lock);
	p->cancelled = true;
	(void)pthread_mutex_unlock(&lock);
}

static void cancel_where(struct probe *p, const char *how)
{
	if (p->how != NULL && strcmp(p->how, how) == 0)
		cancel(p);
}

static void check_not_cancelled(const struct probe *p, const char *call)
{
	(void)pthread_mutex_lock(&lock);
	bool cancelled = p->cancelled;
	(void)pthread_mutex_unlock(&lock);
	if (cancelled)
		tell(json_pack("{s:s, s:s, s:s}", "id", p->id, "call", "late", "which", call));
}

static void on_opened(void *ctx)
{
	struct probe *p = ctx;
	check_not_cancelled(p, "opened");
	if (p->again == 0)
		tell(json_pack("{s:s, s:s}", "id", p->id, "call", "opened"));
	cancel_where(p, "cancel-opened");
}

static void on_event(void *ctx, struct str text)
{
	struct probe *p = ctx;
	check_not_cancelled(p, "event");
	p->events++;
	if (p->again == 0)
		tell(json_pack("{s:s, s:s, s:I, s:o}", "id", p->id, "call", "event", "bytes", (json_int_t)text.n, "text",
					   text.n <= TEXT_MAX ? text_json(text) : json_null()));
	check_not_cancelled(p, "event, while it was under way");
	cancel_where(p, "cancel-event");
}

static const struct kube_stream_handler handler;

static void open_stream(struct probe *p)
{
	(void)pthread_mutex_lock(&lock);
	p->cancelled = false;
	p->stream = kube_watch(watcher, p->path, NULL, &handler, p);
	(void)pthread_mutex_unlock(&lock);
}

static void on_ended(void *ctx, int http, struct str body, const char *reason)
{
	struct probe *p = ctx;
	check_not_cancelled(p, "ended");
	if (p->again > 0) {
		cancel(p);
		p->again--;
		open_stream(p);
		return;
	}
	tell(json_pack("{s:s, s:s, s:i, s:o, s:s, s:I}", "id", p->id, "call", "ended", "http", http, "body",
				   text_json(body), "reason", reason, "events", (json_int_t)p->events));
	if (p->how == NULL || strcmp(p->how, "keep") != 0)
		cancel(p);
}

static const struct kube_stream_handler handler = {on_opened, on_event, on_ended};

static void on_after(void *ctx, bool ran)
{
	char *name = ctx;
	tell(json_pack("{s:s, s:s, s:b}", "call", "after", "name", name, "ran", ran));
	free(name);
}

static struct probe *find(const char *id)
{
	for (size_t i = nprobes; i-- > 0;)
		if (strcmp(probes[i]->id, id) == 0)
			return probes[i];
	(void)fprintf(stderr, "no stream %s\n", id);
	exit(2);
}

static struct probe *add(const char *id, const char *path, const char *how)
{
	static const char again[] = "again=";
	if (nprobes == PROBES_MAX) {
		(void)fprintf(stderr, "more than %d streams\n", PROBES_MAX);
		exit(2);
	}
	struct probe *p = xcalloc(1, sizeof(*p));
	p->id = xstrdup(id);
	p->path = xstrdup(path);
	p->how = how != NULL ? xstrdup(how) : NULL;
	if (how != NULL && strncmp(how, again, sizeof(again) - 1) == 0)
		p->again = strtol(how + sizeof(again) - 1, NULL, 10);
	probes[nprobes++] = p;
	return p;
}

static void free_probes(void)
{
	for (size_t i = 0; i < nprobes; i++) {
		free(probes[i]->id);
		free(probes[i]->path);
		free(probes[i]->how);
		free(probes[i]);
	}
}

static void tell_memory(void)
{
	struct mallinfo2 m = mallinfo2();
	long rss_kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "VmRSS:", 6) == 0)
			rss_kib = strtol(line + 6, NULL, 10);
	if (f != NULL)
		(void)fclose(f);
	tell(json_pack("{s:s, s:I, s:I}", "call", "memory", "bytes", (json_int_t)(m.uordblks + m.hblkhd), "rss_kib",
				   (json_int_t)rss_kib));
}

static void race(long n, const char *path)
{
	struct probe *p = add("race", path, NULL);
	for (long i = 0; i < n; i++) {
		open_stream(p);
		cancel(p);
	}
	tell(json_pack("{s:s}", "call", "raced"));
}

static bool obey(char *line)
{
	char *rest = NULL;
	line[strcspn(line, "\n")] = '\0';
	const char *verb = strtok_r(line, " ", &rest);
	const char *first = strtok_r(NULL, " ", &rest);
	const char *second = strtok_r(NULL, " ", &rest);
	const char *third = strtok_r(NULL, " ", &rest);
	if (verb == NULL || strcmp(verb, "quit") == 0)
		return false;
	if (strcmp(verb, "open") == 0 && second != NULL)
		open_stream(add(first, second, third));
	else if (strcmp(verb, "cancel") == 0 && first != NULL)
		cancel(find(first));
	else if (strcmp(verb, "race") == 0 && second != NULL)
		race(strtol(first, NULL, 10), second);
	else if (strcmp(verb, "after") == 0 && second != NULL)
		kube_watcher_after(watcher, strtol(first, NULL, 10), on_after, xstrdup(second));
	else if (strcmp(verb, "memory") == 0)
		tell_memory();
	else
		(void)fprintf(stderr, "no such command: %s\n", verb);
	return true;
}

static int run(const char *kubeconfig, const struct kube_watch_timing *timing)
{
	struct error err;
	CLEANUP_KUBE_CONFIG struct kube_config *config = kube_config_load(kubeconfig, NULL, &err);
	if (config == NULL) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	struct kube_auth *auth = kube_auth_new(config, &clock_real);
	watcher = kube_watcher_start(config, auth, &clock_real, "watch_probe/0", timing, &err);
	if (watcher == NULL) {
		(void)fprintf(stderr, "%s\n", err.msg);
		kube_auth_free(auth);
		return 1;
	}
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) > 0 && obey(line))
		continue;
	free(line);
	kube_watcher_stop(watcher);
	kube_auth_free(auth);
	free_probes();
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"kubeconfig", required_argument, NULL, 'k'},
		{"ping-ms", required_argument, NULL, 'p'},
		{"silent-ms", required_argument, NULL, 's'},
		{"plain-silent-ms", required_argument, NULL, 'q'},
		{"handshake-ms", required_argument, NULL, 'h'},
		{"plain-ms", required_argument, NULL, 'n'},
		{0},
	};
	const char *kubeconfig = NULL;
	struct kube_watch_timing timing = {0};
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'k') {
			kubeconfig = optarg;
			continue;
		}
		int *ms = c == 'p'   ? &timing.ping_ms
				  : c == 's' ? &timing.silent_ms
				  : c == 'q' ? &timing.plain_silent_ms
				  : c == 'h' ? &timing.handshake_ms
				  : c == 'n' ? &timing.plain_ms
							 : NULL;
		if (ms == NULL)
			return 2;
		*ms = (int)strtol(optarg, NULL, 10);
	}
	return run(kubeconfig, &timing);
}
