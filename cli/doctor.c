#include "cli/doctor.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/mem.h"
#include "common/names.h"

#define CA_MAX ((size_t)1024 * 1024)
#define CA_CERTIFICATES_MAX 64
#define SOON_S (30 * 86400LL) // a CA that expires sooner is worth a warning
#define OLDEST_MINOR 20
#define NEWEST_MINOR 36
#define LEASE_GRACE_US 60000000LL // a leader renews every few seconds; clocks differ by some
#define WEBHOOK_SUFFIX "." NAME_GROUP

const char *const doctor_status_names[] = {"ok", "warning", "failed", "skipped"};

void doctor_note(struct doctor_report *r, enum doctor_status status, const char *name, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *detail = NULL;
	if (vasprintf(&detail, fmt, ap) < 0)
		abort();
	va_end(ap);
	text_sanitize(detail);
	r->v = xreallocarray(r->v, r->n + 1, sizeof(*r->v));
	r->v[r->n++] = (struct doctor_check){status, xstrdup(name), detail};
}

void doctor_report_release(struct doctor_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].name);
		free(r->v[i].detail);
	}
	free(r->v);
	*r = (struct doctor_report){0};
}

int doctor_healthy(const struct doctor_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].status == DOCTOR_FAIL)
			return 0;
	return 1;
}

static const char *text(const json_t *object, const char *key)
{
	const char *z = json_string_value(json_object_get(object, key));
	return z != NULL ? z : "";
}

void doctor_check_version(struct doctor_report *r, const struct kube_version *v)
{
	bool known = v->major == 1 && v->minor >= OLDEST_MINOR && v->minor <= NEWEST_MINOR;
	doctor_note(r, known ? DOCTOR_OK : DOCTOR_WARN, "API server", "Kubernetes %s%s", v->git,
				known ? "" : ", which this version was not tested with: 1.20 to 1.36 are");
}

// ---- RuntimeClasses

static bool has_named(const json_t *objects, const char *name)
{
	size_t i;
	const json_t *o;
	json_array_foreach (objects, i, o)
		if (strcmp(kube_name(o), name) == 0)
			return true;
	return false;
}

void doctor_check_runtime_classes(struct doctor_report *r, const json_t *profiles, const json_t *classes)
{
	json_t *wanted = json_object();
	size_t i;
	const json_t *p;
	json_array_foreach (profiles, i, p) {
		const char *name = text(json_object_get(p, "spec"), "runtimeClassName");
		(void)json_object_set_new(wanted, name[0] != '\0' ? name : DEFAULT_RUNTIME_CLASS, json_null());
	}
	if (json_object_size(wanted) == 0)
		(void)json_object_set_new(wanted, DEFAULT_RUNTIME_CLASS, json_null());
	const char *name = NULL;
	json_t *unused = NULL;
	json_object_foreach (wanted, name, unused) {
		CLEANUP_FREE
		char *check = xasprintf("RuntimeClass %s", name);
		bool there = has_named(classes, name);
		doctor_note(r, there ? DOCTOR_OK : DOCTOR_FAIL, check, "%s",
					there ? "is there"
						  : "is not there, so pods that name it are refused; install Kata Containers with confidential "
							"guests, or set spec.runtimeClassName of the profiles");
	}
	json_decref(wanted);
}

// ---- Conditions

static const json_t *condition(const json_t *object, const char *type)
{
	size_t i;
	const json_t *c;
	json_array_foreach (json_object_get(json_object_get(object, "status"), "conditions"), i, c)
		if (strcmp(text(c, "type"), type) == 0)
			return c;
	return NULL;
}

static void check_ready(struct doctor_report *r, const char *kind, const json_t *object)
{
	const json_t *ready = condition(object, "Ready");
	CLEANUP_FREE
	char *check = xasprintf("%s %s/%s", kind, kube_namespace(object), kube_name(object));
	json_int_t generation = json_integer_value(json_object_get(json_object_get(object, "metadata"), "generation"));
	json_int_t observed = json_integer_value(json_object_get(json_object_get(object, "status"), "observedGeneration"));
	if (ready == NULL)
		doctor_note(r, DOCTOR_WARN, check, "has no status; is coco-controller running?");
	else if (observed < generation)
		doctor_note(r, DOCTOR_WARN, check,
					"its status is of generation %lld, but it is in generation %lld; is coco-controller running?",
					(long long)observed, (long long)generation);
	else if (strcmp(text(ready, "status"), "True") == 0)
		doctor_note(r, DOCTOR_OK, check, "ready");
	else
		doctor_note(r, DOCTOR_FAIL, check, "%s: %s", text(ready, "reason"), text(ready, "message"));
}

void doctor_check_profiles(struct doctor_report *r, const json_t *profiles)
{
	if (json_array_size(profiles) == 0)
		doctor_note(r, DOCTOR_FAIL, "ConfidentialProfiles",
					"there is none, so every labelled pod is denied; apply one (manifests/samples/profile.yaml)");
	size_t i;
	const json_t *p;
	json_array_foreach (profiles, i, p)
		check_ready(r, "ConfidentialProfile", p);
}

void doctor_check_trustees(struct doctor_report *r, const json_t *trustees)
{
	if (trustees == NULL)
		doctor_note(r, DOCTOR_SKIPPED, "TrusteeConfigs", "this cluster has no such kind");
	size_t i;
	const json_t *t;
	json_array_foreach (trustees, i, t)
		check_ready(r, "TrusteeConfig", t);
}

// ---- Webhook configurations

static bool is_ours(const json_t *webhook)
{
	const char *name = text(webhook, "name");
	size_t n = strlen(name);
	size_t suffix = strlen(WEBHOOK_SUFFIX);
	return n > suffix && strcmp(name + n - suffix, WEBHOOK_SUFFIX) == 0;
}

// When the first of the bundle's certificates expires, in seconds since 1970; -1 where it holds none.
static int64_t bundle_not_after(const char *base64)
{
	CLEANUP_BUF
	struct buf pem = BUF_INIT(CA_MAX);
	struct error err;
	if (base64_decode(str_from(base64), &pem, &err) < 0)
		return -1;
	gnutls_x509_crt_t certs[CA_CERTIFICATES_MAX];
	unsigned n = CA_CERTIFICATES_MAX;
	const gnutls_datum_t data = {(unsigned char *)(uintptr_t)buf_z(&pem), (unsigned)pem.n};
	if (gnutls_x509_crt_list_import(certs, &n, &data, GNUTLS_X509_FMT_PEM, 0) < 0)
		return -1;
	int64_t first = -1;
	for (unsigned i = 0; i < n; i++) {
		int64_t when = (int64_t)gnutls_x509_crt_get_expiration_time(certs[i]);
		first = first < 0 || when < first ? when : first;
		gnutls_x509_crt_deinit(certs[i]);
	}
	return first;
}

static void check_bundle(struct doctor_report *r, const char *check, const char *base64, int64_t now_s)
{
	if (base64[0] == '\0') {
		doctor_note(
			r, DOCTOR_FAIL, check,
			"clientConfig.caBundle is empty, so the API server trusts no webhook and refuses labelled pods; run "
			"hack/certs.sh --patch");
		return;
	}
	int64_t until = bundle_not_after(base64);
	char when[CLOCK_TEXT_MAX];
	clock_text(until * 1000000, 0, when);
	if (until < 0)
		doctor_note(r, DOCTOR_FAIL, check, "clientConfig.caBundle holds no certificate; run hack/certs.sh --patch");
	else if (until <= now_s)
		doctor_note(r, DOCTOR_FAIL, check, "a certificate of caBundle has expired at %s; run hack/certs.sh --patch",
					when);
	else if (until <= now_s + SOON_S)
		doctor_note(r, DOCTOR_WARN, check, "a certificate of caBundle expires soon, at %s; renew it", when);
	else
		doctor_note(r, DOCTOR_OK, check, "caBundle is good until %s", when);
}

static bool guards_creation(const json_t *webhook)
{
	size_t i;
	size_t k;
	const json_t *rule;
	const json_t *operation;
	json_array_foreach (json_object_get(webhook, "rules"), i, rule)
		json_array_foreach (json_object_get(rule, "operations"), k, operation)
			if (json_is_string(operation) && strcmp(json_string_value(operation), "CREATE") == 0)
				return true;
	return false;
}

void doctor_check_webhooks(struct doctor_report *r, const char *name, const json_t *configs, int64_t now_s)
{
	const json_t *seen = NULL; // bundles differ only where somebody has edited one
	bool any = false;
	size_t i;
	size_t k;
	const json_t *config;
	const json_t *webhook;
	json_array_foreach (configs, i, config) {
		json_array_foreach (json_object_get(config, "webhooks"), k, webhook) {
			if (!is_ours(webhook))
				continue;
			any = true;
			CLEANUP_FREE
			char *check = xasprintf("%s %s", name, text(webhook, "name"));
			if (guards_creation(webhook) && strcmp(text(webhook, "failurePolicy"), "Ignore") == 0)
				doctor_note(
					r, DOCTOR_FAIL, check,
					"failurePolicy is Ignore: while the webhook is down, labelled pods run unprotected; set Fail");
			const json_t *bundle = json_object_get(json_object_get(webhook, "clientConfig"), "caBundle");
			if (seen == NULL || !json_equal(seen, bundle))
				check_bundle(r, check, text(json_object_get(webhook, "clientConfig"), "caBundle"), now_s);
			seen = bundle;
		}
	}
	if (!any)
		doctor_note(r, DOCTOR_FAIL, name,
					"there is none of coco-webhook's, so labelled pods run unprotected; apply manifests/base");
}

// ---- Programs

void doctor_check_deployment(struct doctor_report *r, const char *name, const json_t *deployment)
{
	CLEANUP_FREE
	char *check = xasprintf("Deployment %s", name);
	if (deployment == NULL) {
		doctor_note(r, DOCTOR_FAIL, check, "is not there; apply manifests/base, or say --system-namespace");
		return;
	}
	json_int_t wanted = json_integer_value(json_object_get(json_object_get(deployment, "spec"), "replicas"));
	json_int_t ready = json_integer_value(json_object_get(json_object_get(deployment, "status"), "readyReplicas"));
	doctor_note(r,
				ready >= wanted ? DOCTOR_OK
				: ready > 0     ? DOCTOR_WARN
								: DOCTOR_FAIL,
				check, "%lld of %lld replicas are ready%s", (long long)ready, (long long)wanted,
				ready >= wanted ? "" : "; see kubectl describe pods, and their logs");
}

void doctor_check_lease(struct doctor_report *r, const json_t *lease, int64_t now_us)
{
	const json_t *spec = json_object_get(lease, "spec");
	const char *holder = text(spec, "holderIdentity");
	int64_t renewed = 0;
	if (holder[0] == '\0')
		doctor_note(r, DOCTOR_FAIL, "coco-controller's leader",
					"there is none, so statuses are not written; see coco-controller's logs");
	else if (clock_parse(text(spec, "renewTime"), &renewed) < 0 || renewed < now_us - LEASE_GRACE_US)
		doctor_note(r, DOCTOR_FAIL, "coco-controller's leader",
					"%s has last renewed its Lease at \"%s\"; see coco-controller's logs", holder,
					text(spec, "renewTime"));
	else
		doctor_note(r, DOCTOR_OK, "coco-controller's leader", "%s", holder);
}

// ---- The trial

#define TRIAL "a labelled pod (dry run)"

json_t *doctor_trial_pod(const char *ns)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}, s:{s:s, s:[{s:s, s:s}]}}", "apiVersion", "v1", "kind", "Pod",
					 "metadata", "generateName", "cocopipe-doctor-", "namespace", ns, "labels", LABEL_CONFIDENTIAL,
					 "true", "spec", "restartPolicy", "Never", "containers", "name", "trial", "image",
					 "registry.k8s.io/pause:3.9");
}

static const char *trial_remedy(const char *message)
{
	static const struct {
		const char *says;
		const char *remedy;
	} known[] = {
		{"x509", "the webhook's certificate isn't of caBundle: run hack/certs.sh --patch"},
		{"no endpoints", "no coco-webhook pod is ready: see its logs"},
		{"connection refused", "coco-webhook does not run: see its Deployment"},
		{"not found", "the Service coco-webhook is missing: apply manifests/base"},
		{"deadline exceeded", "coco-webhook does not answer: see its logs, and NetworkPolicies"},
		{"cannot create resource", "you may not create pods there: name another namespace with -n"},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(message, known[i].says) != NULL)
			return known[i].remedy;
	return "see the message";
}

void doctor_check_trial(struct doctor_report *r, const json_t *pod, const struct error *refusal)
{
	if (pod == NULL) {
		// The webhook's own word: it works, and says what is to be done for this namespace.
		bool answered = strstr(refusal->msg, NAME_GROUP "\" denied the request") != NULL;
		doctor_note(r, answered ? DOCTOR_WARN : DOCTOR_FAIL, TRIAL, "%s%s%s", refusal->msg, answered ? "" : "; ",
					answered ? "" : trial_remedy(refusal->msg));
		return;
	}
	const char *class = text(json_object_get(pod, "spec"), "runtimeClassName");
	const char *memory = kube_annotation(pod, KATA_MEMORY);
	if (kube_annotation(pod, KATA_INITDATA) == NULL || class[0] == '\0')
		doctor_note(r, DOCTOR_FAIL, TRIAL,
					"was accepted as it is: the webhook configurations don't send it to coco-webhook; apply "
					"manifests/base");
	else
		doctor_note(r, DOCTOR_OK, TRIAL, "is made confidential: RuntimeClass %s, VM of %s MiB", class,
					memory != NULL ? memory : "(the runtime's default)");
}
