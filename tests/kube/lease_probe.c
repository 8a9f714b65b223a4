// A candidate for a lease, and a writer of events, on a real API server, driven by a test:
//
//     lease_probe KUBECONFIG AGENT [NS NAME IDENTITY DURATION_MS RENEW_MS RETRY_MS]    without a lease: events alone
//
// Commands, one a line, on stdin; a JSON object a line on stdout. Its end is the stop that was asked for.
//
//   event TYPE REASON NOTE...    about pod NS/"subject" (namespace "default" without a lease); TYPE: Normal, Warning
//   regard KIND APIVERSION NS NAME UID    what later events are about; NS "-" for none
//   look       {"held":BOOL,"holder":TEXT}
//   metrics    {"metrics":TEXT}
//   flush      {"flushed":true}, once all events have been sent, or given up
//
// By themselves come {"started":IDENTITY}, {"lost":WHY}, {"trouble":CODE,"message":TEXT}, and {"stopped":true} last.
// PROBE_WALL_SHIFT_S: how wrong its wall clock is, in seconds.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/events.h"
#include "common/kube/lease.h"

#define METRICS_MAX ((size_t)1024 * 1024)
#define REPORTER "example.com/lease-probe"

static int64_t shift_ms;
static json_t *subject;

static int64_t mono_ms(void *ctx)
{
	(void)ctx;
	return clock_mono_ms(&clock_real);
}

static int64_t wall_ms(void *ctx)
{
	(void)ctx;
	return clock_wall_ms(&clock_real) + shift_ms;
}

static const struct clock shifted = {mono_ms, wall_ms, NULL};

// Takes the object.
static void print(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text == NULL)
		abort();
	flockfile(stdout);
	(void)printf("%s\n", text);
	(void)fflush(stdout);
	funlockfile(stdout);
	free(text);
	json_decref(line);
}

// ---- What the lease tells

static void tell_started(void *ctx)
{
	print(json_pack("{s:s}", "started", (const char *)ctx));
}

static void tell_lost(void *ctx, const char *why)
{
	(void)ctx;
	print(json_pack("{s:s}", "lost", why));
}

static void tell_trouble(void *ctx, const struct error *err)
{
	(void)ctx;
	print(json_pack("{s:i, s:s}", "trouble", err->code, "message", err->msg));
}

// ---- Commands

static void run_regard(const char *kind, const char *version, const char *ns, const char *name, const char *uid)
{
	json_decref(subject);
	subject = json_pack("{s:s, s:s, s:{s:s*, s:s, s:s}}", "kind", kind, "apiVersion", version, "metadata", "namespace",
						strcmp(ns, "-") == 0 ? NULL : ns, "name", name, "uid", uid);
}

static void run_look(struct lease *l)
{
	char holder[LEASE_HOLDER_MAX] = "";
	if (l != NULL)
		lease_holder(l, holder, sizeof(holder));
	print(json_pack("{s:b, s:s}", "held", l != NULL && lease_held(l), "holder", holder));
}

static void run_metrics(void)
{
	struct buf out CLEANUP_BUF = BUF_INIT(METRICS_MAX);
	lease_write_metrics(&out);
	kube_events_write_metrics(&out);
	print(json_pack("{s:s}", "metrics", buf_z(&out)));
}

// Stopping sends; what comes later has another sender.
static void run_flush(struct kube_client *client, struct kube_events **e)
{
	kube_events_stop(*e);
	*e = kube_events_start(client, &shifted, REPORTER, "probe-1");
	print(json_pack("{s:b}", "flushed", 1));
}

static void run_line(char *line, struct lease *l, struct kube_client *client, struct kube_events **e)
{
	char w[5][256] = {"", "", "", "", ""};
	int note_at = 0;
	if (sscanf(line, "event %255s %255s %n", w[0], w[1], &note_at) == 2 && note_at > 0)
		kube_event(*e, subject, strcmp(w[0], "Warning") == 0 ? EVENT_WARNING : EVENT_NORMAL, w[1], "Probe",
				   line + note_at);
	else if (sscanf(line, "regard %255s %255s %255s %255s %255s", w[0], w[1], w[2], w[3], w[4]) == 5)
		run_regard(w[0], w[1], w[2], w[3], w[4]);
	else if (strcmp(line, "look") == 0)
		run_look(l);
	else if (strcmp(line, "metrics") == 0)
		run_metrics();
	else if (strcmp(line, "flush") == 0)
		run_flush(client, e);
	else
		print(json_pack("{s:s}", "error", line));
}

// ---- The program

static struct lease *start_lease(char **argv, struct kube_client *client)
{
	return lease_start(&(struct lease_config){
		.client = client,
		.clock = &shifted,
		.ns = argv[0],
		.name = argv[1],
		.identity = argv[2],
		.duration_ms = (int)strtol(argv[3], NULL, 10),
		.renew_ms = (int)strtol(argv[4], NULL, 10),
		.retry_ms = (int)strtol(argv[5], NULL, 10),
		.started = tell_started,
		.lost = tell_lost,
		.trouble = tell_trouble,
		.ctx = argv[2],
	});
}

static int run(struct kube_config *config, int argc, char **argv, struct error *err)
{
	struct kube_auth *auth = kube_auth_new(config, &clock_real);
	const struct kube_client_options options = {.user_agent = argv[2], .qps = 1000, .burst = 1000};
	struct kube_client *for_lease = kube_client_new(config, auth, &options, &clock_real, err);
	struct kube_client *for_events = kube_client_new(config, auth, &options, &clock_real, err);
	int rc = for_lease == NULL || for_events == NULL ? -err->code : 0;
	if (rc == 0) {
		struct kube_events *events = kube_events_start(for_events, &shifted, REPORTER, "probe-1");
		struct lease *l = argc > 8 ? start_lease(argv + 3, for_lease) : NULL;
		char *line = NULL;
		size_t room = 0;
		for (ssize_t n = getline(&line, &room, stdin); n > 0; n = getline(&line, &room, stdin)) {
			line[strcspn(line, "\n")] = '\0';
			run_line(line, l, for_events, &events);
		}
		free(line);
		lease_stop(l);
		kube_events_stop(events);
		print(json_pack("{s:b}", "stopped", 1));
	}
	kube_client_free(for_lease);
	kube_client_free(for_events);
	kube_auth_free(auth);
	return rc;
}

int main(int argc, char **argv)
{
	struct error err = {0};
	const char *shift = getenv("PROBE_WALL_SHIFT_S");
	shift_ms = shift != NULL ? strtoll(shift, NULL, 10) * 1000 : 0;
	if (argc != 3 && argc != 9) {
		(void)fprintf(stderr, "use: lease_probe KUBECONFIG AGENT [NS NAME IDENTITY DURATION_MS RENEW_MS RETRY_MS]\n");
		return 2;
	}
	run_regard("Pod", "v1", argc > 3 ? argv[3] : "default", "subject", "u-1");
	struct kube_config *config CLEANUP_KUBE_CONFIG = kube_config_load(argv[1], NULL, &err);
	int rc = config != NULL ? run(config, argc, argv, &err) : -err.code;
	if (rc < 0)
		(void)fprintf(stderr, "%s\n", err.msg);
	json_decref(subject);
	return rc < 0 ? 1 : 0;
}
