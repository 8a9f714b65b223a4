// coco-controller: options, wiring, leader election, and the loop that takes up what changed.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/catalog_feed.h"
#include "common/cleanup.h"
#include "common/footprint.h"
#include "common/kube/lease.h"
#include "common/kube/session.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/names.h"
#include "common/options.h"
#include "common/plain_server.h"
#include "common/stop_signals.h"
#include "common/told.h"
#include "common/version.h"
#include "controller/image_options.h"
#include "controller/profiles.h"
#include "controller/trustees.h"

#define TICK_MS 1000
#define WORKERS 2
#define LEASE_NAME "coco-controller"
// Shorter than client-go's 2 s, so that who takes over from a leader that has stopped in order does so within that.
#define RETRY_MS 1000

static const char *arg_kubeconfig;
static const char *arg_plain_listen = "0.0.0.0:8080";
static const char *arg_system_namespace = DEFAULT_SYSTEM_NAMESPACE;
static const char *arg_lease_namespace;
static const char *arg_log_level = "info";
static struct trustee_world arg_world;

static const struct option_spec options[] = {
	{"kubeconfig", 0, "FILE", "COCO_KUBECONFIG",
	 "how to reach the API server; without it: $KUBECONFIG, the pod's service account, ~/.kube/config", &arg_kubeconfig,
	 NULL, NULL, NULL},
	{"plain-listen", 0, "HOST:PORT", "COCO_PLAIN_LISTEN", "where /healthz, /readyz and /metrics are", &arg_plain_listen,
	 NULL, NULL, NULL},
	{"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of the profiles that are for everyone",
	 &arg_system_namespace, NULL, NULL, NULL},
	{"leader-elect-namespace", 0, "NS", "COCO_LEADER_ELECT_NAMESPACE",
	 "namespace of the Lease by which one replica leads; default: the system namespace", &arg_lease_namespace, NULL,
	 NULL, NULL},
	TRUSTEE_IMAGE_OPTIONS(arg_world),
	{"log-level", 0, "LEVEL", "COCO_LOG_LEVEL", "debug, info, warn or error", &arg_log_level, NULL, NULL, NULL},
};

static const struct command_spec command = {
	.name = "coco-controller",
	.usage = "[options]",
	.about =
		"Makes a running Trustee of each TrusteeConfig and KbsConfig, and keeps it as they say. Compiles\n"
		"ConfidentialProfiles, and says in their status whether pods can use them, and what their initdata hashes\n"
		"to. One replica leads, the others stand by.",
	.options = options,
	.noptions = sizeof(options) / sizeof(options[0]),
};

struct program {
	struct kube_session session;
	struct catalog_store catalog;
	struct catalog_feed *feed;
	struct kube_events *events;
	struct profiles profiles;
	struct trustees *trustees;
	pthread_mutex_t workers_lock; // of the three below
	struct workers *workers;      // while this replica leads
	struct workers *trustee_workers;
	bool stopping;                    // none may be started any more
	struct kube_client *lease_client; // its own, so that no other request holds a renewal up
	struct lease *lease;
	struct plain_server plain;
	struct http_server *plain_server;
	char *identity;
	atomic_bool lost; // the lease
	_Atomic(const char *) waits_for;
	struct footprint footprint;
};

// ---- Profiles

static void log_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	log_warn("a profile can't be used as it is", LOG_Z("document", origin),
			 LOG_Z("profile", key[0] != '\0' ? key : NULL), LOG_Z("reason", message));
}

static void log_failed(void *ctx, const char *key, const struct error *err, int64_t next_ms)
{
	static struct told told = TOLD_INIT;
	(void)ctx;
	if (!told_due(&told, err->msg, clock_mono_ms(&clock_real)))
		return;
	log_warn("a profile's status can't be brought up to date", LOG_Z("profile", key), LOG_Z("reason", err->msg),
			 LOG_I("nextTryMs", next_ms));
}

static void log_trustee_failed(void *ctx, const char *key, const struct error *err, int64_t next_ms)
{
	static struct told told = TOLD_INIT;
	(void)ctx;
	if (!told_due(&told, err->msg, clock_mono_ms(&clock_real)))
		return;
	log_warn("a Trustee can't be brought up to date", LOG_Z("trustee", key), LOG_Z("reason", err->msg),
			 LOG_I("nextTryMs", next_ms));
}

static void take_up_changes(struct program *p)
{
	struct error err;
	bool news = catalog_feed_step(p->feed, &err) > 0;
	if (news) {
		profiles_look_at_all(&p->profiles);
		trustees_look_at_bindings(p->trustees);
	}
	const char *waits_for = catalog_feed_waits_for(p->feed);
	atomic_store(&p->waits_for, waits_for != NULL ? waits_for : trustees_wait_for(p->trustees));
	bool worked = trustees_have_worked(p->trustees);
	(void)footprint_note(&p->footprint, news || worked);
}

// ---- Leading

static void on_started(void *ctx)
{
	struct program *p = ctx;
	(void)pthread_mutex_lock(&p->workers_lock);
	if (!p->stopping) {
		log_info("leading", LOG_Z("identity", p->identity));
		p->workers = workers_start(p->profiles.queue, "profile", WORKERS, profiles_reconcile, log_failed, &p->profiles,
								   &clock_real);
		p->trustee_workers = workers_start(trustees_queue(p->trustees), "trustee", WORKERS, trustees_reconcile,
										   log_trustee_failed, p->trustees, &clock_real);
	}
	(void)pthread_mutex_unlock(&p->workers_lock);
}

// The Lease may be won while the program stops already: nobody would stop workers that begin then.
static void stop_workers(struct program *p)
{
	(void)pthread_mutex_lock(&p->workers_lock);
	p->stopping = true;
	struct workers *workers = TAKE_PTR(p->workers);
	struct workers *trustee_workers = TAKE_PTR(p->trustee_workers);
	(void)pthread_mutex_unlock(&p->workers_lock);
	workers_stop(workers);
	workers_stop(trustee_workers);
}

// Another replica may lead by now: nothing more is written, and the program ends, to start over as a candidate.
static void on_lost(void *ctx, const char *why)
{
	struct program *p = ctx;
	kube_session_stop(&p->session);
	log_error("no longer leading; this program ends, and is to be started again", LOG_Z("reason", why));
	atomic_store(&p->lost, true);
	(void)kill(getpid(), SIGTERM);
}

static void on_lease_trouble(void *ctx, const struct error *err)
{
	(void)ctx;
	log_warn("the Lease can't be read or written; it is tried again", LOG_Z("reason", err->msg));
}

// Unique, but the same for a container that is started again in its pod: it may go on with the Lease that it held, instead
// of waiting for its own to expire.
static char *make_identity(void)
{
	char host[256] = "unknown";
	uint64_t random = 0;
	const char *uid = getenv("COCO_POD_UID");
	(void)gethostname(host, sizeof(host) - 1);
	if (uid != NULL && uid[0] != '\0')
		return xasprintf("%s_%s", host, uid);
	(void)!getrandom(&random, sizeof(random), 0);
	return xasprintf("%s_%016llx", host, (unsigned long long)random);
}

static int start_lease(struct program *p, struct error *err)
{
	const struct kube_client_options limits = {.user_agent = p->session.user_agent};
	p->lease_client = kube_client_new(p->session.config, p->session.auth, &limits, &clock_real, err);
	if (p->lease_client == NULL)
		return -err->code;
	const struct lease_config config = {
		.client = p->lease_client,
		.clock = &clock_real,
		.ns = arg_lease_namespace != NULL ? arg_lease_namespace : arg_system_namespace,
		.name = LEASE_NAME,
		.identity = p->identity,
		.retry_ms = RETRY_MS,
		.started = on_started,
		.lost = on_lost,
		.trouble = on_lease_trouble,
		.ctx = p,
	};
	p->lease = lease_start(&config);
	return 0;
}

// ---- The plain port

static const char *not_ready(void *ctx)
{
	struct program *p = ctx;
	return atomic_load(&p->waits_for);
}

static void append_metrics(void *ctx, struct buf *out)
{
	(void)ctx;
	workqueue_write_metrics(out);
	workers_write_metrics(out);
	lease_write_metrics(out);
	kube_events_write_metrics(out);
	trustees_write_metrics(out);
}

// ---- Start and stop

static void start_trustees(struct program *p)
{
	const struct trustees_config config = {
		.client = p->session.client,
		.informers = p->session.informers,
		.events = p->events,
		.catalog = &p->catalog,
		.clock = &clock_real,
		.world = arg_world,
	};
	p->trustees = trustees_start(&config);
}

static int start(struct program *p, struct error *err)
{
	p->plain = (struct plain_server){.not_ready = not_ready, .metrics = append_metrics, .ctx = p};
	atomic_store(&p->waits_for, "starting");
	p->plain_server = plain_server_start(&p->plain, arg_plain_listen, err);
	if (p->plain_server == NULL)
		return -err->code;
	kube_client_register_metrics();
	if (kube_session_open(&p->session, arg_kubeconfig, NULL, "coco-controller", true, err) < 0)
		return -err->code;
	const struct catalog_feed_config config = {
		.system_ns = arg_system_namespace,
		.informers = p->session.informers,
		.store = &p->catalog,
		.problem = log_problem,
	};
	p->feed = catalog_feed_start(&config, err);
	if (p->feed == NULL)
		return -err->code;
	p->identity = make_identity();
	p->events = kube_events_start(p->session.client, &clock_real, NAME_GROUP "/coco-controller", p->identity);
	p->profiles = (struct profiles){
		.client = p->session.client,
		.objects = catalog_feed_profiles(p->feed),
		.catalog = &p->catalog,
		.events = p->events,
		.queue = workqueue_new("profile", &clock_real),
	};
	start_trustees(p);
	if (start_lease(p, err) < 0)
		return -err->code;
	log_info("started", LOG_Z("version", COCO_VERSION), LOG_Z("server", p->session.config->server),
			 LOG_Z("identity", p->identity), LOG_I("plainPort", http_server_port(p->plain_server)));
	return 0;
}

static void stop(struct program *p)
{
	log_info("stopping");
	stop_workers(p);
	// Only once nothing is written any more may another one lead.
	lease_stop(p->lease);
	kube_client_free(p->lease_client);
	kube_events_stop(p->events);
	kube_session_stop(&p->session);
	trustees_stop(p->trustees);
	catalog_feed_stop(p->feed);
	workqueue_free(p->profiles.queue);
	kube_session_close(&p->session);
	http_server_stop(p->plain_server, 0);
	catalog_store_put(&p->catalog, NULL);
	free(p->identity);
}

static bool good_arguments(void)
{
	return option_log_level("coco-controller", arg_log_level) &&
		   option_namespace("coco-controller", "--system-namespace", arg_system_namespace) &&
		   (arg_lease_namespace == NULL ||
			option_namespace("coco-controller", "--leader-elect-namespace", arg_lease_namespace));
}

int main(int argc, char **argv)
{
	char **operands = NULL;
	arg_world = TRUSTEE_WORLD_DEFAULT;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? 0 : EXIT_USAGE;
	if (!good_arguments())
		return EXIT_USAGE;
	// Threads that take turns don't need heaps of their own.
	(void)mallopt(M_ARENA_MAX, 2);
	metrics_set_program(command.name);
	struct program p = {
		.catalog = CATALOG_STORE_INIT, .workers_lock = PTHREAD_MUTEX_INITIALIZER, .footprint = {.repeat = true}};
	struct error err;
	CLEANUP_CLOSE int signals = stop_signals_open(&err);
	int rc = signals < 0 ? signals : start(&p, &err);
	if (rc < 0)
		log_error("can't start", LOG_Z("reason", err.msg));
	while (rc == 0 && !stop_signals_wait(signals, catalog_feed_fd(p.feed), TICK_MS))
		take_up_changes(&p);
	stop(&p);
	return rc < 0 || atomic_load(&p.lost) ? EXIT_FAILURE : EXIT_SUCCESS;
}
