// coco-webhook: options, wiring, signals, and the loop that takes up what changed.
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/catalog_feed.h"
#include "common/certificate_make.h"
#include "common/cleanup.h"
#include "common/files.h"
#include "common/footprint.h"
#include "common/kube/session.h"
#include "common/kube_name.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/names.h"
#include "common/options.h"
#include "common/secret.h"
#include "common/stop_signals.h"
#include "common/version.h"
#include "webhook/serve.h"
#include "webhook/serve_metrics.h"
#include "webhook/serving_certificates.h"

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
#define PLACEHOLDER_LIFE_S (24 * 60 * 60)

static const char *arg_listen = "0.0.0.0:9443";
static const char *arg_plain_listen = "0.0.0.0:8080";
static const char *arg_tls_cert = "/etc/coco-webhook/tls/tls.crt";
static const char *arg_tls_key = "/etc/coco-webhook/tls/tls.key";
static const char *arg_tls_secret;
static const char *arg_service = "coco-webhook";
static const char *arg_webhook_configuration = "coco-webhook";
static const char *arg_certificate_life = "90d";
static int64_t certificate_life_s; // of that, once it was read
static const char *arg_kubeconfig;
static const char *arg_profiles;
static const char *arg_system_namespace = DEFAULT_SYSTEM_NAMESPACE;
static const char *arg_log_level = "info";
static const char *arg_threads = "2";
static const char *arg_drain = "0";

static const struct option_spec options[] = {
	{"listen", 0, "HOST:PORT", "COCO_LISTEN", "where admission is served, over TLS", &arg_listen, NULL, NULL, NULL},
	{"plain-listen", 0, "HOST:PORT", "COCO_PLAIN_LISTEN", "where /healthz, /readyz and /metrics are", &arg_plain_listen,
	 NULL, NULL, NULL},
	{"tls-secret", 0, "NAME", "COCO_TLS_SECRET",
	 "Secret of the system namespace in which the certificate is kept that the webhook makes for itself, renews, and "
	 "has the API server trust; in place of --tls-cert and --tls-key",
	 &arg_tls_secret, NULL, NULL, NULL},
	{"service", 0, "NAME", "COCO_SERVICE", "the webhook's Service, which that certificate is for", &arg_service, NULL,
	 NULL, NULL},
	{"webhook-configuration", 0, "NAME", "COCO_WEBHOOK_CONFIGURATION",
	 "MutatingWebhookConfiguration and ValidatingWebhookConfiguration whose caBundle is written then",
	 &arg_webhook_configuration, NULL, NULL, NULL},
	{"certificate-life", 0, "TIME", "COCO_CERTIFICATE_LIFE",
	 "how long such a certificate is good for, such as 90d, 12h, 30m or 90s; another is used when a third of that is "
	 "left",
	 &arg_certificate_life, NULL, NULL, NULL},
	{"tls-cert", 0, "FILE", "COCO_TLS_CERT", "certificate chain, PEM; read again when it changes", &arg_tls_cert, NULL,
	 NULL, NULL},
	{"tls-key", 0, "FILE", "COCO_TLS_KEY", "its private key, PEM", &arg_tls_key, NULL, NULL, NULL},
	{"kubeconfig", 0, "FILE", "COCO_KUBECONFIG",
	 "how to reach the API server, whose profiles, ConfigMaps and Namespaces are followed; in a pod: by its service "
	 "account",
	 &arg_kubeconfig, NULL, NULL, NULL},
	{"profiles", 0, "DIR", "COCO_PROFILES",
	 "folder of YAML with ConfidentialProfiles, ConfigMaps and Namespaces, instead of an API server or beside it "
	 "(whose profile counts where both have one of a name); read "
	 "again when it changes",
	 &arg_profiles, NULL, NULL, NULL},
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
			 "/mutate-pods, /validate-pods and /validate-resources. Profiles come from the API server (--kubeconfig, "
			 "or the pod's service\n"
			 "account), from a folder (--profiles), or from both.",
	.options = options,
	.noptions = sizeof(options) / sizeof(options[0]),
};

struct program {
	struct serving serving;
	struct kube_session session; // all zero without an API server
	struct catalog_feed *feed;
	struct http_server *admission;
	struct http_server *plain;
	struct file_mark cert_mark, key_mark;
	struct footprint footprint;
};

// ---- Profiles

static void log_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	log_error("a profile document can't be used: a profile keeps its last good version, pods of one without are denied",
			  LOG_Z("document", origin), LOG_Z("profile", key[0] != '\0' ? key : NULL), LOG_Z("reason", message));
}

// What the catalog in force is like, where it isn't what the one before was: statuses, and namespaces that are none of
// ours, change all the time.
static void note_catalog(struct program *p, const struct catalog *before)
{
	struct catalog *c = catalog_store_get(&p->serving.store);
	if (before != NULL && catalog_same_profiles(before, c)) {
		catalog_unref(c);
		return;
	}
	size_t n = 0;
	size_t bad = 0;
	const struct catalog_profile *v = catalog_profiles(c, &n);
	for (size_t i = 0; i < n; i++)
		bad += v[i].problem != NULL;
	serve_metrics_reload(bad == 0);
	serve_metrics_profiles(c);
	log_info("profiles loaded", LOG_I("profiles", n), LOG_I("withProblems", bad));
	catalog_unref(c);
}

static void take_up_profiles(struct program *p)
{
	struct error err;
	struct catalog *before = catalog_store_get(&p->serving.store);
	int rc = catalog_feed_step(p->feed, &err);
	if (rc > 0)
		note_catalog(p, before);
	catalog_unref(before);
	if (rc < 0) {
		serve_metrics_reload(false);
		log_error("profiles can't be read again; those loaded stay in force", LOG_Z("reason", err.msg));
	}
	atomic_store(&p->serving.waits_for, catalog_feed_waits_for(p->feed));
	(void)footprint_note(&p->footprint, rc > 0);
}

static bool in_pod(void)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	return host != NULL && host[0] != '\0' && access(KUBE_SERVICE_ACCOUNT_FOLDER "/token", R_OK) == 0;
}

static bool own_certificates(void)
{
	return arg_tls_secret != NULL && arg_tls_secret[0] != '\0';
}

static int start_feed(struct program *p, struct error *err)
{
	bool cluster = arg_kubeconfig != NULL || in_pod();
	if (!cluster && own_certificates())
		return error_set(err, EINVAL,
						 "--tls-secret %s needs an API server: give --kubeconfig FILE (in a pod, its service account's "
						 "token must be mounted), or a certificate in files by --tls-cert and --tls-key",
						 arg_tls_secret);
	if (!cluster && arg_profiles == NULL)
		return error_set(err, EINVAL,
						 "there is nowhere to take profiles from: give --kubeconfig FILE for an API server, or "
						 "--profiles DIR for a folder (in a pod, its service account's token must be mounted)");
	if (cluster) {
		kube_client_register_metrics();
		if (kube_session_open(&p->session, arg_kubeconfig, NULL, "coco-webhook", true, err) < 0)
			return -err->code;
		p->serving.lookup = p->session.client;
	}
	const struct catalog_feed_config config = {
		.system_ns = arg_system_namespace,
		.dir = arg_profiles,
		.informers = p->session.informers,
		.namespaces = true,
		.store = &p->serving.store,
		.problem = log_problem,
	};
	p->feed = catalog_feed_start(&config, err);
	if (p->feed == NULL)
		return -err->code;
	take_up_profiles(p);
	return 0;
}

// ---- Certificate, in files

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

// Reads the pair, and hands it to `use`.
static int with_certificate(struct program *p, int (*use)(struct program *, struct str, struct str, struct error *),
							struct error *err)
{
	CLEANUP_BUF
	struct buf cert = BUF_INIT(PEM_MAX);
	CLEANUP_SECRET_BUF struct buf key = secret_buf(PEM_MAX);
	p->cert_mark = file_mark(arg_tls_cert);
	p->key_mark = file_mark(arg_tls_key);
	if (file_read_regular(arg_tls_cert, &cert, err) < 0)
		return error_prefix(err, "--tls-cert");
	if (file_read_regular(arg_tls_key, &key, err) < 0)
		return error_prefix(err, "--tls-key");
	int rc = use(p, buf_str(&cert), buf_str(&key), err);
	if (rc == 0)
		serve_metrics_certificate(not_after(buf_str(&cert)));
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

// ---- Certificate, of our own

static int take_certificate(void *ctx, struct str cert, struct str key, int64_t not_after_s, struct error *err)
{
	struct program *p = ctx;
	int rc = serving_replace_certificate(&p->serving, cert, key, err);
	if (rc == 0)
		serve_metrics_certificate(not_after_s);
	return rc;
}

// The port is open from the start, so that one that can't be had is told of at once. Until there is a certificate that the
// API server trusts, which sends nothing before, one is shown that nobody trusts.
static int start_with_placeholder(struct program *p, struct error *err)
{
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF struct buf cert = BUF_INIT(PEM_MAX);
	CLEANUP_BUF struct buf ca = BUF_INIT(PEM_MAX);
	const struct serving_request request = {.name = "coco-webhook",
											.hosts = &arg_service,
											.nhosts = 1,
											.now_s = clock_wall_ms(&clock_real) / 1000,
											.life_s = PLACEHOLDER_LIFE_S};
	int rc = certificate_make_serving(&request, &key, &cert, &ca, err);
	return rc < 0 ? rc : start_admission(p, buf_str(&cert), buf_str(&key), err);
}

static int start_with_own_certificates(struct program *p, struct error *err)
{
	int rc = start_with_placeholder(p, err);
	if (rc < 0)
		return rc;
	const struct serving_certificates_config config = {.names = {.ns = arg_system_namespace,
																 .service = arg_service,
																 .secret = arg_tls_secret,
																 .configuration = arg_webhook_configuration},
													   .life_s = certificate_life_s,
													   .client = p->session.client,
													   .informers = p->session.informers,
													   .clock = &clock_real,
													   .serve = take_certificate,
													   .ctx = p};
	p->serving.certificates = serving_certificates_start(&config);
	return 0;
}

static int start(struct program *p, struct error *err)
{
	int rc = start_feed(p, err);
	if (rc == 0)
		rc = own_certificates() ? start_with_own_certificates(p, err) : with_certificate(p, start_admission, err);
	if (rc < 0)
		return rc;
	p->plain = plain_server_start(&p->serving.plain, arg_plain_listen, err);
	if (p->plain == NULL)
		return -err->code;
	log_info("serving", LOG_Z("version", COCO_VERSION), LOG_Z("listen", arg_listen),
			 LOG_I("port", http_server_port(p->admission)), LOG_Z("plainListen", arg_plain_listen),
			 LOG_I("plainPort", http_server_port(p->plain)));
	return 0;
}

static void tick(struct program *p)
{
	take_up_profiles(p);
	if (!own_certificates() && certificate_changed(p))
		reload_certificate(p);
	log_flush();
}

// Until a signal says to stop, or `limit_ms` have passed; 0 for no end. A profile that changed is taken up at once,
// files are looked at a few times a second.
static void run(struct program *p, int signals, int64_t limit_ms)
{
	int64_t end_ms = clock_mono_ms(&clock_real) + limit_ms;
	while (limit_ms == 0 || clock_mono_ms(&clock_real) < end_ms) {
		if (stop_signals_wait(signals, catalog_feed_fd(p->feed), TICK_MS))
			return;
		tick(p);
	}
}

// It takes a cluster some seconds to send no more requests to a pod that is going. A second signal ends the wait.
static void drain(struct program *p, int signals)
{
	unsigned long seconds = strtoul(arg_drain, NULL, 10);
	atomic_store(&p->serving.stopping, true);
	http_server_drain(p->admission);
	log_info("draining", LOG_I("seconds", seconds));
	log_flush();
	if (seconds > 0)
		run(p, signals, (int64_t)seconds * 1000);
}

static void stop(struct program *p)
{
	log_gather(false);
	log_info("stopping");
	atomic_store(&p->serving.stopping, true);
	serving_set_admission(&p->serving, NULL);
	http_server_stop(p->admission, STOP_GRACE_MS);
	http_server_stop(p->plain, 0); // which asks for readiness up to here
	kube_session_stop(&p->session);
	serving_certificates_stop(p->serving.certificates);
	catalog_feed_stop(p->feed);
	kube_session_close(&p->session);
	catalog_store_put(&p->serving.store, NULL);
}

static bool good_name(const char *option, const char *name, bool good)
{
	if (!good)
		fprintf(stderr, "coco-webhook: %s \"%s\" can't be the name of that; use lower-case letters, digits and '-'\n",
				option, name);
	return good;
}

static bool good_life(void)
{
	if (serving_life_parse(arg_certificate_life, &certificate_life_s) == 0)
		return true;
	fprintf(
		stderr,
		"coco-webhook: --certificate-life \"%s\" is no time between %d seconds and ten years; use a number with d, h, "
		"m or s, such as 90d\n",
		arg_certificate_life, SERVING_LIFE_MIN_S);
	return false;
}

static bool good_certificate_arguments(void)
{
	return !own_certificates() ||
		   (good_name("--tls-secret", arg_tls_secret, is_subdomain(arg_tls_secret)) &&
			good_name("--service", arg_service, is_dns_label(arg_service)) &&
			good_name("--webhook-configuration", arg_webhook_configuration, is_subdomain(arg_webhook_configuration)) &&
			good_life());
}

static bool good_arguments(void)
{
	return good_certificate_arguments() && option_log_level("coco-webhook", arg_log_level) &&
		   option_namespace("coco-webhook", "--system-namespace", arg_system_namespace) &&
		   option_number("coco-webhook", "--threads", arg_threads, 1, 16) &&
		   option_number("coco-webhook", "--drain", arg_drain, 0, 300);
}

static void serve(struct program *p, int signals)
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
	mem_setup_server();
	struct error err;
	// Before any thread, so that none but run() gets these.
	CLEANUP_CLOSE int signals = stop_signals_open(&err);
	metrics_set_program(command.name);
	serve_metrics_register();
	if (own_certificates())
		serving_certificates_register_metrics();
	struct program p = {.serving = SERVING_INIT};
	serving_init_plain(&p.serving);
	int rc = signals < 0 ? signals : start(&p, &err);
	if (rc < 0)
		log_error("can't start", LOG_Z("reason", err.msg));
	else
		serve(&p, signals);
	stop(&p);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
