// coco-webhook: options, wiring, signals, and the tick that notices changed files.
#include <errno.h>
#include <gnutls/x509.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/catalog_dir.h"
#include "common/files.h"
#include "common/kube_name.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/options.h"
#include "common/version.h"
#include "webhook/serve.h"

#define PEM_MAX ((size_t)256 * 1024)
#define TICK_MS 250
// An API server's webhook call may take 10 s by default, 30 s at most; ours ask for 3.
#define REQUEST_TIMEOUT_S 10
// Longer than the API server keeps an idle connection (90 s), so that we never close one that it is about to use.
#define IDLE_TIMEOUT_S 120
// A review holds an object and an old one; etcd takes 1.5 MiB of one, the API server 3 MiB of a request.
#define BODY_MAX ((size_t)6 * 1024 * 1024)
#define BODIES_MAX ((size_t)24 * 1024 * 1024)
#define CONNECTIONS_MAX 1000
#define STOP_GRACE_MS 10000
#define MMAP_THRESHOLD (128 * 1024)

static const char *arg_listen = "0.0.0.0:9443";
static const char *arg_plain_listen = "0.0.0.0:8080";
static const char *arg_tls_cert = "/etc/coco-webhook/tls/tls.crt";
static const char *arg_tls_key = "/etc/coco-webhook/tls/tls.key";
static const char *arg_profiles = "/etc/coco-webhook/profiles";
static const char *arg_system_namespace = DEFAULT_SYSTEM_NAMESPACE;
static const char *arg_log_level = "info";
static const char *arg_threads = "2";
static const char *arg_drain = "0";

static const struct option_spec options[] = {
	{"listen", 0, "HOST:PORT", "COCO_LISTEN", "where admission is served, over TLS", &arg_listen, NULL, NULL, NULL},
	{"plain-listen", 0, "HOST:PORT", "COCO_PLAIN_LISTEN", "where /healthz, /readyz and /metrics are", &arg_plain_listen,
	 NULL, NULL, NULL},
	{"tls-cert", 0, "FILE", "COCO_TLS_CERT", "certificate chain, PEM; read again when it changes", &arg_tls_cert, NULL,
	 NULL, NULL},
	{"tls-key", 0, "FILE", "COCO_TLS_KEY", "its private key, PEM", &arg_tls_key, NULL, NULL, NULL},
	{"profiles", 0, "DIR", "COCO_PROFILES",
	 "folder of YAML with ConfidentialProfiles, ConfigMaps and Namespaces; read again when it changes", &arg_profiles,
	 NULL, NULL, NULL},
	{"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of the profiles that are for everyone",
	 &arg_system_namespace, NULL, NULL, NULL},
	{"threads", 0, "N", "COCO_THREADS", "threads that serve admission, 1 to 16", &arg_threads, NULL, NULL, NULL},
	{"drain", 0, "SECONDS", "COCO_DRAIN",
	 "how long to go on serving, but not ready, after SIGTERM: until no one sends requests any more", &arg_drain, NULL,
	 NULL, NULL},
	{"log-level", 0, "LEVEL", "COCO_LOG_LEVEL", "debug, info, warn or error", &arg_log_level, NULL, NULL, NULL},
};

static const struct command_spec command = {
	.name = "coco-webhook",
	.usage = "[options]",
	.about = "Makes labelled Tekton TaskRun pods confidential: a Kubernetes admission webhook that serves\n"
			 "/mutate-pods, /validate-pods and /validate-resources.",
	.options = options,
	.noptions = sizeof(options) / sizeof(options[0]),
};

struct program {
	struct serving serving;
	struct catalog_dir *dir;
	struct http_server *admission;
	struct http_server *plain;
	struct file_mark cert_mark, key_mark;
};

// ---- Profiles

static void log_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	bool *any = ctx;
	*any = true;
	log_error("a profile document can't be used: a profile keeps its last good version, pods of one without are denied",
			  LOG_Z("document", origin), LOG_Z("profile", key[0] != '\0' ? key : NULL), LOG_Z("reason", message));
}

static int load_profiles(struct program *p, struct error *err)
{
	bool problems = false;
	struct catalog *previous = catalog_store_get(&p->serving.store);
	struct catalog *next = catalog_dir_load(p->dir, previous, log_problem, &problems, err);
	catalog_unref(previous);
	serve_note_reload(next != NULL && !problems);
	if (next == NULL)
		return -err->code;
	size_t n = 0;
	(void)catalog_profiles(next, &n);
	serve_note_profiles(next);
	log_info("profiles loaded", LOG_Z("folder", arg_profiles), LOG_I("profiles", n), LOG_B("problems", problems));
	catalog_store_put(&p->serving.store, next);
	return 0;
}

// ---- Certificate

static int64_t not_after(struct str pem)
{
	const gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem.p, (unsigned)pem.n};
	gnutls_x509_crt_t x = NULL;
	int64_t when = 0;
	if (gnutls_x509_crt_init(&x) < 0)
		return 0;
	if (gnutls_x509_crt_import(x, &text, GNUTLS_X509_FMT_PEM) >= 0)
		when = (int64_t)gnutls_x509_crt_get_expiration_time(x);
	gnutls_x509_crt_deinit(x);
	return when;
}

static void wipe_buf(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_release(b);
}

// Reads the pair, and hands it to `use`.
static int with_certificate(struct program *p, int (*use)(struct program *, struct str, struct str, struct error *),
							struct error *err)
{
	CLEANUP_BUF
	struct buf cert = BUF_INIT(PEM_MAX);
	CLEANUP(wipe_buf) struct buf key = BUF_INIT(PEM_MAX);
	// Room at once: growing would leave copies of the key behind in freed memory.
	if (buf_reserve(&key, PEM_MAX) == NULL)
		return error_set(err, ENOMEM, "no memory for a private key");
	p->cert_mark = file_mark(arg_tls_cert);
	p->key_mark = file_mark(arg_tls_key);
	if (file_read_regular(arg_tls_cert, &cert, err) < 0)
		return error_prefix(err, "--tls-cert");
	if (file_read_regular(arg_tls_key, &key, err) < 0)
		return error_prefix(err, "--tls-key");
	int rc = use(p, buf_str(&cert), buf_str(&key), err);
	if (rc == 0)
		serve_note_certificate(not_after(buf_str(&cert)));
	return rc;
}

static int replace_certificate(struct program *p, struct str cert, struct str key, struct error *err)
{
	return http_server_set_certificate(p->admission, cert, key, err);
}

static void reload_certificate(struct program *p)
{
	struct error err;
	if (with_certificate(p, replace_certificate, &err) < 0)
		log_error("the certificate can't be replaced; the old one stays in use", LOG_Z("reason", err.msg));
	else
		log_info("certificate replaced", LOG_Z("file", arg_tls_cert));
}

static bool certificate_changed(const struct program *p)
{
	struct file_mark cert = file_mark(arg_tls_cert);
	struct file_mark key = file_mark(arg_tls_key);
	return !file_mark_equal(&cert, &p->cert_mark) || !file_mark_equal(&key, &p->key_mark);
}

// ---- Servers

static int start_admission(struct program *p, struct str cert, struct str key, struct error *err)
{
	static struct http_route routes[ROUTES_MAX];
	const struct http_config config = {
		.name = STR("admission"),
		.listen = arg_listen,
		.cert_pem = cert,
		.key_pem = key,
		.threads = (unsigned)strtoul(arg_threads, NULL, 10),
		.limits = {.body_max = BODY_MAX,
				   .bodies_max = BODIES_MAX,
				   .connections = CONNECTIONS_MAX,
				   .idle_timeout_s = IDLE_TIMEOUT_S,
				   .request_timeout_s = REQUEST_TIMEOUT_S,
				   .connection_memory = (size_t)16 * 1024},
		.routes = routes,
		.nroutes = serve_admission_routes(&p->serving, routes),
	};
	p->admission = http_server_start(&config, err);
	serving_set_admission(&p->serving, p->admission);
	return p->admission != NULL ? 0 : -err->code;
}

static int start_plain(struct program *p, struct error *err)
{
	static struct http_route routes[ROUTES_MAX];
	const struct http_config config = {
		.name = STR("plain"),
		.listen = arg_plain_listen,
		.threads = 1,
		.limits = {.body_max = 4096,
				   .bodies_max = 65536,
				   .connections = 100,
				   .idle_timeout_s = IDLE_TIMEOUT_S,
				   .request_timeout_s = REQUEST_TIMEOUT_S,
				   .connection_memory = (size_t)16 * 1024},
		.routes = routes,
		.nroutes = serve_plain_routes(&p->serving, routes),
	};
	p->plain = http_server_start(&config, err);
	return p->plain != NULL ? 0 : -err->code;
}

static int start(struct program *p, struct error *err)
{
	p->dir = catalog_dir_new(arg_profiles, arg_system_namespace);
	int rc = load_profiles(p, err);
	if (rc == 0)
		rc = with_certificate(p, start_admission, err);
	if (rc == 0)
		rc = start_plain(p, err);
	if (rc == 0)
		log_info("serving", LOG_Z("version", COCO_VERSION), LOG_Z("listen", arg_listen),
				 LOG_I("port", http_server_port(p->admission)), LOG_Z("plainListen", arg_plain_listen),
				 LOG_I("plainPort", http_server_port(p->plain)));
	return rc;
}

static void tick(struct program *p)
{
	struct error err;
	if (catalog_dir_changed(p->dir) && load_profiles(p, &err) < 0)
		log_error("profiles can't be read again; those loaded stay in force", LOG_Z("reason", err.msg));
	if (certificate_changed(p))
		reload_certificate(p);
	log_flush();
}

// Until a signal says to stop, or `ticks` have passed; 0 for no end.
static void run(struct program *p, const sigset_t *signals, unsigned long ticks)
{
	const struct timespec wait = {.tv_nsec = TICK_MS * 1000000L};
	for (unsigned long n = 0; ticks == 0 || n < ticks; n++) {
		int got = sigtimedwait(signals, NULL, &wait);
		if (got == SIGTERM || got == SIGINT)
			return;
		tick(p);
	}
}

// It takes a cluster some seconds to send no more requests to a pod that is going. A second signal ends the wait.
static void drain(struct program *p, const sigset_t *signals)
{
	unsigned long seconds = strtoul(arg_drain, NULL, 10);
	atomic_store(&p->serving.stopping, true);
	http_server_drain(p->admission);
	log_info("draining", LOG_I("seconds", seconds));
	log_flush();
	if (seconds > 0)
		run(p, signals, seconds * 1000 / TICK_MS);
}

static void stop(struct program *p)
{
	log_gather(false);
	log_info("stopping");
	atomic_store(&p->serving.stopping, true);
	serving_set_admission(&p->serving, NULL);
	http_server_stop(p->admission, STOP_GRACE_MS);
	http_server_stop(p->plain, 0);
	catalog_store_put(&p->serving.store, NULL);
	catalog_dir_free(p->dir);
}

// A number in digits within bounds; complains on stderr otherwise.
static bool good_number(const char *option, const char *text, unsigned long min, unsigned long max)
{
	char *end = NULL;
	unsigned long n = strtoul(text, &end, 10);
	bool good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && n >= min && n <= max;
	if (!good)
		(void)fprintf(stderr, "coco-webhook: %s is \"%s\"; it must be from %lu to %lu\n", option, text, min, max);
	return good;
}

static bool good_arguments(void)
{
	enum log_level level = LOG_INFO;
	if (!log_level_parse(arg_log_level, &level)) {
		(void)fprintf(stderr, "coco-webhook: --log-level is \"%s\"; it must be debug, info, warn or error\n",
					  arg_log_level);
		return false;
	}
	if (!is_object_name(arg_system_namespace)) {
		(void)fprintf(stderr, "coco-webhook: --system-namespace is \"%s\"; it must be the name of a namespace\n",
					  arg_system_namespace);
		return false;
	}
	if (!good_number("--threads", arg_threads, 1, 16) || !good_number("--drain", arg_drain, 0, 300))
		return false;
	log_setup(level, STDERR_FILENO);
	return true;
}

static void serve(struct program *p, const sigset_t *signals)
{
	log_gather(!log_enabled(LOG_DEBUG)); // whoever debugs wants to see each line as it comes
	run(p, signals, 0);
	drain(p, signals);
}

int main(int argc, char **argv)
{
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? 0 : EXIT_USAGE;
	if (!good_arguments())
		return EXIT_USAGE;
	// Left to itself, malloc raises its threshold once a large body was freed, and keeps all such memory from then on.
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	// Before any thread, so that only run() gets these.
	sigset_t signals;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	serve_register_metrics();
	struct program p = {.serving = SERVING_INIT};
	struct error err;
	int rc = start(&p, &err);
	if (rc < 0)
		log_error("can't start", LOG_Z("reason", err.msg));
	else
		serve(&p, &signals);
	stop(&p);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
