#include "cli/doctor.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor_private.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/version.h"

#define CA_MAX ((size_t)1024 * 1024)
#define CA_CERTIFICATES_MAX 64
// A certificate that expires sooner is worth a warning. Less than a third of the 90 days of those that the webhook makes,
// since it renews them then.
#define SOON_S (25 * 86400LL)
#define OLDEST_MINOR 20
#define NEWEST_MINOR 36
#define LEASE_GRACE_US 60000000LL // a leader renews every few seconds; clocks differ by some
#define WEBHOOK_SUFFIX "." NAME_GROUP
#define SELECTOR_TEXT_MAX 512
#define APPLY_CRDS "apply the CRDs: kubectl apply -k crds"
#define APPLY_BASE "apply the manifests (manifests/overlays)"
#define INSTALL_KATA "install Kata Containers with confidential guests, or set spec.runtimeClassName of the profiles"
#define WHO_WRITES_BUNDLE                                                                                            \
	"coco-webhook writes it where it runs with --tls-secret, and cert-manager or OpenShift's service CA where they " \
	"are "                                                                                                           \
	"set up: see its logs, or theirs"

// ---- Versions

void doctor_check_version(struct doctor_report *r, const struct kube_version *v)
{
	bool known = v->major == 1 && v->minor >= OLDEST_MINOR && v->minor <= NEWEST_MINOR;
	if (known)
		doctor_note(r, DOCTOR_OK, "Kubernetes", "API server", NULL, "%s", v->git);
	else
		doctor_note(r, DOCTOR_WARN, "Kubernetes", "API server", "use a release from 1.20 to 1.36, or try it out first",
					"%s, which cocopipe " COCO_VERSION " was not tested with", v->git);
}

void doctor_check_tekton(struct doctor_report *r, const char *version)
{
	if (version != NULL)
		doctor_note(r, DOCTOR_OK, "Tekton", "TaskRuns", NULL, "tekton.dev/%s is served", version);
	else
		doctor_note(r, DOCTOR_WARN, "Tekton", "TaskRuns", "install Tekton Pipelines, if pipelines are to run here",
					"there is no such kind, so only pods that are labelled themselves become confidential");
}

// ---- Our own kinds

#define CRD_PROFILES "confidentialprofiles." NAME_GROUP
#define SERVED_VERSION "v1alpha1"
const char *const doctor_crds[] = {CRD_PROFILES, "trusteeconfigs." NAME_TRUSTEE_GROUP, "kbsconfigs." NAME_TRUSTEE_GROUP,
								   NULL};

static const json_t *served(const json_t *crd)
{
	size_t i;
	const json_t *v;
	json_array_foreach (json_object_get(spec_of(crd), "versions"), i, v)
		if (strcmp(text(v, "name"), SERVED_VERSION) == 0 && json_is_true(json_object_get(v, "served")))
			return v;
	return NULL;
}

static bool has_field(const json_t *version, const char *field)
{
	static const char *const steps[] = {"schema", "openAPIV3Schema", "properties", "spec", "properties"};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		version = json_object_get(version, steps[i]);
	return json_object_get(version, field) != NULL;
}

// Of an API server that doesn't know a field, a resource comes back without it, and without a word.
void doctor_check_crd(struct doctor_report *r, const char *name, const json_t *crd)
{
	bool profiles = strcmp(name, CRD_PROFILES) == 0;
	const char *field = profiles ? "memory" : "instanceName";
	const json_t *version = served(crd);
	if (crd == NULL && profiles)
		doctor_note(r, DOCTOR_FAIL, "CRD", name, APPLY_CRDS, "is not there, so no pod can be made confidential");
	else if (crd == NULL)
		doctor_note(r, DOCTOR_SKIPPED, "CRD", name, NULL, "is not there: this cluster runs no Trustee");
	else if (version == NULL)
		doctor_note(r, DOCTOR_FAIL, "CRD", name, APPLY_CRDS,
					"does not serve " SERVED_VERSION ", which cocopipe " COCO_VERSION " speaks");
	else if (!has_field(version, field))
		doctor_note(r, DOCTOR_FAIL, "CRD", name, APPLY_CRDS,
					"knows no spec.%s, and drops it from what is applied: it is of another release, or of the upstream "
					"trustee-operator",
					field);
	else
		doctor_note(r, DOCTOR_OK, "CRD", name, NULL, SERVED_VERSION " is served");
}

// ---- RuntimeClasses and their nodes

static const json_t *condition(const json_t *object, const char *type)
{
	size_t i;
	const json_t *c;
	json_array_foreach (json_object_get(json_object_get(object, "status"), "conditions"), i, c)
		if (strcmp(text(c, "type"), type) == 0)
			return c;
	return NULL;
}

static bool has_labels(const json_t *node, const json_t *selector)
{
	const char *key;
	const json_t *wanted;
	json_object_foreach ((json_t *)(uintptr_t)selector, key, wanted) {
		const char *got = kube_label(node, key);
		if (got == NULL || !json_is_string(wanted) || strcmp(got, json_string_value(wanted)) != 0)
			return false;
	}
	return true;
}

static bool takes_pods(const json_t *node)
{
	return strcmp(text(condition(node, "Ready"), "status"), "True") == 0 &&
		   !json_is_true(json_object_get(spec_of(node), "unschedulable"));
}

static void selector_text(const json_t *selector, struct buf *out)
{
	const char *key;
	const json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)selector, key, value) {
		buf_addf(out, "%s%s=%s", out->n > 0 ? "," : "", key, json_is_string(value) ? json_string_value(value) : "");
	}
}

static void check_nodes(struct doctor_report *r, const json_t *class, const json_t *nodes)
{
	const json_t *selector = json_object_get(json_object_get(class, "scheduling"), "nodeSelector");
	size_t matching = 0;
	size_t ready = 0;
	size_t i;
	const json_t *node;
	json_array_foreach (nodes, i, node) {
		bool match = has_labels(node, selector);
		matching += match;
		ready += match && takes_pods(node);
	}
	CLEANUP_BUF struct buf labels = BUF_INIT(SELECTOR_TEXT_MAX);
	selector_text(selector, &labels);
	const char *name = kube_name(class);
	if (ready > 0)
		doctor_note(r, DOCTOR_OK, "RuntimeClass", name, NULL, "is there; %zu of %zu nodes can take its pods%s%s", ready,
					json_array_size(nodes), labels.n > 0 ? ": " : "", buf_z(&labels));
	else if (matching > 0)
		doctor_note(r, DOCTOR_FAIL, "RuntimeClass", name, "see kubectl describe node, and kubectl uncordon",
					"of the %zu nodes that it may run on, none is ready and schedulable, so its pods stay pending",
					matching);
	else
		doctor_note(r, DOCTOR_FAIL, "RuntimeClass", name,
					"label the nodes whose hardware can run confidential guests, or let the Kata installation do it",
					"is there, but no node has its labels (%s), so its pods stay pending",
					labels.n > 0 ? buf_z(&labels) : "there are no nodes");
}

void doctor_check_runtime_classes(struct doctor_report *r, const json_t *profiles, const json_t *classes,
								  const json_t *nodes)
{
	json_t *wanted = json_object();
	size_t i;
	const json_t *p;
	json_array_foreach (profiles, i, p)
		(void)json_object_set_new(wanted, class_of(p), json_null());
	if (json_object_size(wanted) == 0)
		(void)json_object_set_new(wanted, DEFAULT_RUNTIME_CLASS, json_null());
	const char *name = NULL;
	json_t *unused = NULL;
	json_object_foreach (wanted, name, unused) {
		const json_t *class = find_named(classes, name);
		if (class == NULL)
			doctor_note(r, DOCTOR_FAIL, "RuntimeClass", name, INSTALL_KATA,
						"is not there, so pods that name it are refused");
		else if (nodes == NULL)
			doctor_note(r, DOCTOR_OK, "RuntimeClass", name, NULL, "is there");
		else
			check_nodes(r, class, nodes);
	}
	json_decref(wanted);
}

// ---- Conditions

static void check_ready(struct doctor_report *r, const char *kind, const json_t *object)
{
	static const char running[] = "is coco-controller running? See its logs";
	const json_t *ready = condition(object, "Ready");
	CLEANUP_FREE
	char *what = xasprintf("%s/%s", kube_namespace(object), kube_name(object));
	json_int_t generation = json_integer_value(json_object_get(json_object_get(object, "metadata"), "generation"));
	json_int_t observed = json_integer_value(json_object_get(json_object_get(object, "status"), "observedGeneration"));
	if (ready == NULL)
		doctor_note(r, DOCTOR_WARN, kind, what, running, "has no status");
	else if (observed < generation)
		doctor_note(r, DOCTOR_WARN, kind, what, running,
					"its status is of generation %lld, but it is in generation %lld", (long long)observed,
					(long long)generation);
	else if (strcmp(text(ready, "status"), "True") == 0)
		doctor_note(r, DOCTOR_OK, kind, what, NULL, "ready");
	else
		doctor_note(r, DOCTOR_FAIL, kind, what, NULL, "%s: %s", text(ready, "reason"), text(ready, "message"));
}

static bool is_confidential(const json_t *pod)
{
	return kube_annotation(pod, KATA_INITDATA) != NULL && text(spec_of(pod), "runtimeClassName")[0] != '\0';
}

void doctor_check_profiles(struct doctor_report *r, const json_t *profiles, const json_t *trial)
{
	if (json_array_size(profiles) == 0 && trial != NULL && is_confidential(trial))
		doctor_note(r, DOCTOR_SKIPPED, "ConfidentialProfile", NULL, NULL,
					"there is none, but coco-webhook has one from a file (--profiles)");
	else if (json_array_size(profiles) == 0)
		doctor_note(r, DOCTOR_FAIL, "ConfidentialProfile", NULL, "apply one (manifests/samples/profile.yaml)",
					"there is none, so every labelled pod is denied");
	size_t i;
	const json_t *p;
	json_array_foreach (profiles, i, p) {
		check_ready(r, "ConfidentialProfile", p);
	}
}

// ---- Trustees

static void note_expiry(struct doctor_report *r, const char *check, const char *what, const char *remedy,
						int64_t until_s, int64_t now_s)
{
	char when[CLOCK_TEXT_MAX];
	clock_text(until_s * 1000000, 0, when);
	if (until_s <= now_s)
		doctor_note(r, DOCTOR_FAIL, check, what, remedy, "has expired at %s", when);
	else if (until_s <= now_s + SOON_S)
		doctor_note(r, DOCTOR_WARN, check, what, remedy, "expires soon, at %s", when);
	else
		doctor_note(r, DOCTOR_OK, check, what, NULL, "is good until %s", when);
}

static void check_trustee_certificate(struct doctor_report *r, const json_t *trustee, int64_t now_s)
{
	const char *until = text(json_object_get(trustee, "status"), "certificateExpiry");
	int64_t until_us = 0;
	if (until[0] == '\0')
		return;
	CLEANUP_FREE
	char *what = xasprintf("%s/%s", kube_namespace(trustee), kube_name(trustee));
	if (clock_parse(until, &until_us) < 0)
		doctor_note(r, DOCTOR_WARN, "certificate", what, "see coco-controller's logs",
					"status.certificateExpiry is \"%s\", which is no time", until);
	else
		note_expiry(r, "certificate", what,
					"renew the Secret that spec.httpsSpec or spec.attestationTokenVerificationSpec names",
					until_us / 1000000, now_s);
}

static bool is_owned(const json_t *object)
{
	size_t i;
	const json_t *owner;
	json_array_foreach (json_object_get(json_object_get(object, "metadata"), "ownerReferences"), i, owner)
		if (strcmp(text(owner, "kind"), "TrusteeConfig") == 0)
			return true;
	return false;
}

void doctor_check_trustees(struct doctor_report *r, const char *kind, const json_t *trustees, int64_t now_s)
{
	if (trustees == NULL)
		doctor_note(r, DOCTOR_SKIPPED, kind, NULL, NULL, "this cluster has no such kind");
	size_t i;
	const json_t *t;
	json_array_foreach (trustees, i, t) {
		if (is_owned(t))
			continue;
		check_ready(r, kind, t);
		check_trustee_certificate(r, t, now_s);
	}
}

void doctor_check_rights(struct doctor_report *r, const char *ns, const char *system_ns, const char *missing)
{
	if (missing == NULL) {
		doctor_note(r, DOCTOR_OK, "controller's rights", ns, NULL, "are enough for a Trustee");
		return;
	}
	CLEANUP_FREE
	char *remedy = xasprintf("kubectl -n %s create rolebinding coco-trustee --clusterrole=coco-trustee "
							 "--serviceaccount=%s:coco-controller",
							 ns, system_ns);
	doctor_note(r, DOCTOR_FAIL, "controller's rights", ns, remedy,
				"coco-controller may not %s there, so it can't run a Trustee", missing);
}

// ---- Webhook configurations

static bool is_ours(const json_t *webhook)
{
	const char *name = text(webhook, "name");
	size_t n = strlen(name);
	size_t suffix = strlen(WEBHOOK_SUFFIX);
	return n > suffix && strcmp(name + n - suffix, WEBHOOK_SUFFIX) == 0;
}

// When the last of the bundle's certificates expires, in seconds since 1970; -1 where it holds none. The last, since a CA
// that was followed by another stays in the bundle for a while.
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
	int64_t last = -1;
	for (unsigned i = 0; i < n; i++) {
		int64_t when = (int64_t)gnutls_x509_crt_get_expiration_time(certs[i]);
		last = when > last ? when : last;
		gnutls_x509_crt_deinit(certs[i]);
	}
	return last;
}

static void check_bundle(struct doctor_report *r, const char *name, const char *base64, int64_t now_s)
{
	int64_t until = base64[0] != '\0' ? bundle_not_after(base64) : -1;
	if (base64[0] == '\0')
		doctor_note(r, DOCTOR_FAIL, "caBundle", name, WHO_WRITES_BUNDLE,
					"is empty, so the API server trusts no webhook and refuses labelled pods");
	else if (until < 0)
		doctor_note(r, DOCTOR_FAIL, "caBundle", name, WHO_WRITES_BUNDLE, "holds no certificate");
	else
		note_expiry(r, "caBundle", name, WHO_WRITES_BUNDLE, until, now_s);
}

static bool guards_creation(const json_t *webhook)
{
	size_t i;
	size_t k;
	const json_t *rule;
	const json_t *operation;
	json_array_foreach (json_object_get(webhook, "rules"), i, rule) {
		json_array_foreach (json_object_get(rule, "operations"), k, operation)
			if (json_is_string(operation) && strcmp(json_string_value(operation), "CREATE") == 0)
				return true;
	}
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
			const char *one = text(webhook, "name");
			const json_t *client = json_object_get(webhook, "clientConfig");
			const json_t *bundle = json_object_get(client, "caBundle");
			if (guards_creation(webhook) && strcmp(text(webhook, "failurePolicy"), "Ignore") == 0)
				doctor_note(r, DOCTOR_FAIL, name, one, "set failurePolicy: Fail",
							"failurePolicy is Ignore: while the webhook is down, labelled pods run unprotected");
			else if (!any)
				doctor_note(r, DOCTOR_OK, name, kube_name(config), NULL, "is there");
			if (!any || !json_equal(seen, bundle))
				check_bundle(r, one, text(client, "caBundle"), now_s);
			any = true;
			seen = bundle;
		}
	}
	if (!any)
		doctor_note(r, DOCTOR_FAIL, name, NULL, APPLY_BASE,
					"there is none of coco-webhook's, so labelled pods run unprotected");
}

// ---- Programs

// The version that an image's tag says; NULL where it says none: a digest, or another word than numbers.
static const char *image_version(const json_t *deployment)
{
	const json_t *pod = json_object_get(json_object_get(spec_of(deployment), "template"), "spec");
	const char *image = text(json_array_get(json_object_get(pod, "containers"), 0), "image");
	const char *slash = strrchr(image, '/');
	const char *tag = strchr(slash != NULL ? slash : image, ':');
	if (tag == NULL || strchr(image, '@') != NULL)
		return NULL;
	tag += tag[1] == 'v' ? 2 : 1;
	return tag[0] >= '0' && tag[0] <= '9' && strchr(tag, '.') != NULL ? tag : NULL;
}

void doctor_check_deployment(struct doctor_report *r, const char *name, const json_t *deployment)
{
	if (deployment == NULL) {
		doctor_note(r, DOCTOR_FAIL, "Deployment", name, APPLY_BASE ", or say --system-namespace", "is not there");
		return;
	}
	json_int_t wanted = json_integer_value(json_object_get(spec_of(deployment), "replicas"));
	json_int_t ready = json_integer_value(json_object_get(json_object_get(deployment, "status"), "readyReplicas"));
	enum doctor_status status = ready >= wanted && wanted > 0 ? DOCTOR_OK : ready > 0 ? DOCTOR_WARN : DOCTOR_FAIL;
	doctor_note(r, status, "Deployment", name,
				status == DOCTOR_OK ? NULL : "see kubectl describe of its pods, and their logs",
				"%lld of %lld replicas are ready", (long long)ready, (long long)wanted);
	const char *version = image_version(deployment);
	if (version != NULL && strcmp(version, COCO_VERSION) != 0)
		doctor_note(r, DOCTOR_WARN, "Deployment", name, "use cocopipe of the same version",
					"runs version %s and this is cocopipe " COCO_VERSION ", so previews may differ", version);
}

#define LEADER "coco-controller's leader"

void doctor_check_lease(struct doctor_report *r, const json_t *lease, int64_t now_us)
{
	static const char remedy[] = "see coco-controller's logs";
	const char *holder = text(spec_of(lease), "holderIdentity");
	const char *renew_time = text(spec_of(lease), "renewTime");
	int64_t renewed = 0;
	if (holder[0] == '\0')
		doctor_note(r, DOCTOR_FAIL, "Lease", LEADER, remedy, "there is none, so statuses are not written");
	else if (clock_parse(renew_time, &renewed) < 0 || renewed < now_us - LEASE_GRACE_US)
		doctor_note(r, DOCTOR_FAIL, "Lease", LEADER, remedy, "%s has last renewed its Lease at \"%s\"", holder,
					renew_time);
	else
		doctor_note(r, DOCTOR_OK, "Lease", LEADER, NULL, "%s", holder);
}

// ---- The trial

#define TRIAL "admission (dry run)"
#define TRIAL_POD "a labelled pod"

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
		const char *says, *remedy;
	} known[] = {
		// A pod that the webhook has made confidential, and one that it wasn't asked about.
		{"its runtimeClassName is \"", ADD_CLASS},
		{"ValidatingAdmissionPolicy '" POD_POLICY "'",
		 "the webhook configurations don't send the pod to coco-webhook: " APPLY_BASE},
		{"x509", "the webhook's certificate isn't of caBundle: " WHO_WRITES_BUNDLE},
		{"certificate", "the webhook's certificate isn't of caBundle: " WHO_WRITES_BUNDLE},
		{"no endpoints", "no coco-webhook pod is ready: see its logs"},
		{"connection refused", "coco-webhook does not run: see its Deployment"},
		{"namespaces \"", "name a namespace that is there, with -n"},
		{"service \"", "the Service coco-webhook is missing: " APPLY_BASE},
		{"RuntimeClass \"", INSTALL_KATA},
		{"deadline exceeded", "coco-webhook does not answer: see its logs, and NetworkPolicies"},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(message, known[i].says) != NULL)
			return known[i].remedy;
	return "see the message";
}

static void note_refusal(struct doctor_report *r, const char *ns, const struct error *refusal)
{
	CLEANUP_FREE
	char *right = xasprintf("create pods in namespace %s", ns);
	// The webhook's own word: it works, and says what is to be done for this namespace.
	if (strstr(refusal->msg, NAME_GROUP "\" denied the request") != NULL)
		doctor_note(r, DOCTOR_WARN, TRIAL, TRIAL_POD, NULL, "%s", refusal->msg);
	else if (strstr(refusal->msg, "cannot create resource") != NULL)
		doctor_note(r, DOCTOR_UNCHECKED, TRIAL, TRIAL_POD, "name a namespace with -n where you may create pods",
					"you may not %s", right);
	else
		doctor_note(r, DOCTOR_FAIL, TRIAL, TRIAL_POD, trial_remedy(refusal->msg), "%s", refusal->msg);
}

void doctor_check_trial(struct doctor_report *r, const char *ns, const json_t *pod, const struct error *refusal)
{
	if (pod == NULL) {
		note_refusal(r, ns, refusal);
		return;
	}
	const char *class = text(spec_of(pod), "runtimeClassName");
	const char *memory = kube_annotation(pod, KATA_MEMORY);
	if (!is_confidential(pod))
		doctor_note(r, DOCTOR_FAIL, TRIAL, TRIAL_POD, APPLY_BASE,
					"was accepted as it is: the webhook configurations don't send it to coco-webhook");
	else
		doctor_note(r, DOCTOR_OK, TRIAL, TRIAL_POD, NULL, "is made confidential: RuntimeClass %s, VM of %s MiB", class,
					memory != NULL ? memory : "(the runtime's default)");
}
