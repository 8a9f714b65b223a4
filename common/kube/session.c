#include "common/kube/session.h"

#include <stdlib.h>
#include <sys/utsname.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/version.h"

// A start lists each ConfigMap that profiles refer to: hundreds must not take the time that a probe allows.
#define REQUESTS_A_SECOND 50
#define REQUESTS_BURST 300

// Informers tell at most once a minute each. An outage meets all of them: of that, one line a minute is enough.
static void log_trouble(void *ctx, const char *what, int http, const char *message, int64_t next_ms)
{
	struct kube_session *s = ctx;
	bool again = http >= 200 && http < 300;
	bool outage = http == 0;
	bool due = again    ? atomic_exchange(&s->outage_told, false)
			   : outage ? told_due(&s->told, "outage", clock_mono_ms(&clock_real))
						: true;
	if (!again && due)
		atomic_store(&s->outage_told, true);
	if (!due)
		log_debug("as others", LOG_Z("request", what), LOG_I("status", http), LOG_Z("reason", message));
	else if (again)
		log_info("the API server answers again", LOG_Z("request", what));
	else
		log_warn("the API server does not serve a request; what is known stays in force", LOG_Z("request", what),
				 LOG_I("status", http), LOG_Z("reason", message), LOG_I("nextTryMs", next_ms));
}

static char *user_agent(const char *program)
{
	struct utsname u;
	const char *machine = uname(&u) == 0 ? u.machine : "unknown";
	return xasprintf("%s/%s (linux/%s)", program, COCO_VERSION, machine);
}

static int follow(struct kube_session *s, struct error *err)
{
	s->watcher = kube_watcher_start(s->config, s->auth, &clock_real, s->user_agent, NULL, err);
	if (s->watcher == NULL)
		return -err->code;
	const struct kube_informers_config config = {
		.client = s->client,
		.watcher = s->watcher,
		.clock = &clock_real,
		.trouble = log_trouble,
		.trouble_ctx = s,
	};
	s->informers = kube_informers_start(&config);
	return 0;
}

int kube_session_open(struct kube_session *s, const char *kubeconfig, const char *context, const char *program,
					  bool follows, struct error *err)
{
	*s = (struct kube_session){.user_agent = user_agent(program), .told = TOLD_INIT};
	s->config = kube_config_load(kubeconfig, context, err);
	if (s->config == NULL)
		return -err->code;
	if (s->config->insecure)
		log_warn(
			"insecure-skip-tls-verify is set: whoever is between us and the API server can read our credentials and "
			"answer in its place; give certificate-authority-data instead",
			LOG_Z("kubeconfig", s->config->origin), LOG_Z("server", s->config->server));
	s->auth = kube_auth_new(s->config, &clock_real);
	const struct kube_client_options options = {
		.user_agent = s->user_agent, .qps = REQUESTS_A_SECOND, .burst = REQUESTS_BURST, .stop = &s->stop};
	s->client = kube_client_new(s->config, s->auth, &options, &clock_real, err);
	if (s->client == NULL)
		return -err->code;
	return follows ? follow(s, err) : 0;
}

void kube_session_stop(struct kube_session *s)
{
	atomic_store(&s->stop, true);
}

void kube_session_close(struct kube_session *s)
{
	kube_session_stop(s);
	kube_informers_stop(s->informers);
	kube_watcher_stop(s->watcher);
	kube_client_free(s->client);
	kube_auth_free(s->auth);
	kube_config_free(s->config);
	free(s->user_agent);
	told_release(&s->told);
	*s = (struct kube_session){0};
}
