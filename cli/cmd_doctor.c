// cocopipe doctor: looks at a cluster, and says what is wrong.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "common/clock.h"
#include "common/names.h"
#include "common/options.h"

#define LEASE "coco-controller"
#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)
#define USER_MAX ((size_t)600)
#define RIGHT_MAX ((size_t)600)

static struct cluster_args arg_cluster;
static const char *arg_ns; // NULL: all
static const char *arg_system_ns = DEFAULT_SYSTEM_NAMESPACE;
static const char *arg_output = "table";

static const struct kube_resource nodes = {"", "v1", "nodes", "Node", false};
static const struct kube_resource policies = {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies",
											  "ValidatingAdmissionPolicy", false};
static const struct kube_resource bindings = {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings",
											  "ValidatingAdmissionPolicyBinding", false};
static const struct kube_resource access_reviews = {"authorization.k8s.io", "v1", "subjectaccessreviews",
													"SubjectAccessReview", false};

static const char *trial_ns(void)
{
	return arg_ns != NULL ? arg_ns : "default";
}

static int64_t now_s(void)
{
	return clock_wall_ms(&clock_real) / 1000;
}

// ---- Asking

static int append_page(void *ctx, const json_t *items, struct error *err)
{
	(void)err;
	return json_array_extend(ctx, (json_t *)(uintptr_t)items);
}

static void forget_pages(void *ctx)
{
	(void)json_array_clear(ctx);
}

// "list nodes", "get deployments.apps in namespace a".
static void right_text(struct buf *out, const char *verb, const struct kube_resource *res, const char *ns)
{
	buf_addf(out, "%s %s%s%s", verb, res->plural, res->group[0] != '\0' ? "." : "", res->group);
	if (res->namespaced && ns != NULL)
		buf_addf(out, " in namespace %s", ns);
	else if (res->namespaced)
		buf_addz(out, " in all namespaces");
}

static void note_failure(struct doctor_report *r, const char *check, const char *what, const char *verb,
						 const struct kube_resource *res, const char *ns, const struct error *err)
{
	CLEANUP_BUF struct buf right = BUF_INIT(RIGHT_MAX);
	right_text(&right, verb, res, ns);
	doctor_note_failure(r, check, what, buf_z(&right), err);
}

// Those of a namespace, or all; NULL where they can't be had, which is noted unless it is that there is no such kind.
static json_t *ask_all(const struct kube_session *s, struct doctor_report *r, const struct kube_resource *res,
					   const char *ns, const char *check)
{
	struct error err;
	json_t *all = json_array();
	int rc = kube_list(s->client, res, ns, NULL, append_page, forget_pages, all, NULL, &err);
	if (rc == 0)
		return all;
	json_decref(all);
	if (rc != -ENOENT)
		note_failure(r, check, NULL, "list", res, ns, &err);
	return NULL;
}

// The same in the namespace that was asked for, and for profiles in that of everyone's.
static json_t *ask_scoped(const struct kube_session *s, struct doctor_report *r, const struct kube_resource *res,
						  bool system_too)
{
	json_t *all = ask_all(s, r, res, arg_ns, res->kind);
	if (arg_ns == NULL || !system_too || strcmp(arg_ns, arg_system_ns) == 0 || all == NULL)
		return all;
	json_t *more = ask_all(s, r, res, arg_system_ns, res->kind);
	if (more != NULL)
		(void)json_array_extend(all, more);
	json_decref(more);
	return all;
}

// NULL where there is none. false where it can't be told, which is noted.
static bool ask_one(const struct kube_session *s, struct doctor_report *r, const struct kube_resource *res,
					const char *check, const char *name, json_t **ret)
{
	struct error err;
	const char *ns = res->namespaced ? arg_system_ns : NULL;
	*ret = NULL;
	int rc = kube_get(s->client, res, ns, name, ret, &err);
	if (rc == 0 || rc == -ENOENT)
		return true;
	note_failure(r, check, name, "get", res, ns, &err);
	return false;
}

// ---- What is asked for

static void examine_kinds(const struct kube_session *s, struct doctor_report *r)
{
	json_t *crd = NULL;
	for (const char *const *name = doctor_crds; *name != NULL; name++) {
		if (ask_one(s, r, &KUBE_CRDS, "CRD", *name, &crd))
			doctor_check_crd(r, *name, crd);
		json_decref(crd);
	}
	static const char *const versions[] = {"v1", "v1beta1"};
	struct error err;
	int has = 0;
	size_t i = 0;
	for (; i < sizeof(versions) / sizeof(versions[0]) && has == 0; i++) {
		const struct kube_resource taskruns = {"tekton.dev", versions[i], "taskruns", "TaskRun", true};
		has = kube_has_resource(s->client, &taskruns, &err);
	}
	if (has < 0)
		doctor_note_failure(r, "Tekton", NULL, "get /apis/tekton.dev", &err);
	else
		doctor_check_tekton(r, has > 0 ? versions[i - 1] : NULL);
}

// profiles: NULL where they can't be had.
static void examine_profiles(const struct kube_session *s, struct doctor_report *r, const json_t *profiles,
							 const json_t *trial)
{
	json_t *classes = ask_all(s, r, &KUBE_RUNTIME_CLASSES, NULL, "RuntimeClass");
	json_t *all_nodes = ask_all(s, r, &nodes, NULL, "RuntimeClass, its nodes");
	if (profiles != NULL)
		doctor_check_profiles(r, profiles, trial);
	if (classes != NULL) {
		json_t *none = json_array();
		doctor_check_runtime_classes(r, profiles != NULL ? profiles : none, classes, all_nodes);
		json_decref(none);
	}
	json_decref(classes);
	json_decref(all_nodes);
}

static void examine_policies(const struct kube_session *s, struct doctor_report *r, const json_t *profiles)
{
	struct error err;
	int has =
		kube_has_resource(s->client, &policies, &err); // anyone may ask, also where nobody may list what isn't there
	if (has < 0)
		doctor_note_failure(r, DOCTOR_POLICIES, NULL, "get /apis/admissionregistration.k8s.io/v1", &err);
	if (has == 0)
		doctor_check_policies(r, NULL, NULL, profiles);
	if (has <= 0)
		return;
	json_t *all = ask_all(s, r, &policies, NULL, DOCTOR_POLICIES);
	json_t *bound = ask_all(s, r, &bindings, NULL, DOCTOR_POLICIES ", its binding");
	if (all != NULL && bound != NULL)
		doctor_check_policies(r, all, bound, profiles);
	json_decref(all);
	json_decref(bound);
}

static void examine_webhooks(const struct kube_session *s, struct doctor_report *r)
{
	static const struct {
		const struct kube_resource *resource;
		const char *name;
	} kinds[] = {{&KUBE_MUTATING_WEBHOOKS, "mutating webhook"}, {&KUBE_VALIDATING_WEBHOOKS, "validating webhook"}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		json_t *configs = ask_all(s, r, kinds[i].resource, NULL, kinds[i].name);
		if (configs != NULL)
			doctor_check_webhooks(r, kinds[i].name, configs, now_s());
		json_decref(configs);
	}
}

static void examine_programs(const struct kube_session *s, struct doctor_report *r)
{
	static const char *const names[] = {"coco-webhook", "coco-controller"};
	json_t *object = NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (ask_one(s, r, &KUBE_DEPLOYMENTS, "Deployment", names[i], &object))
			doctor_check_deployment(r, names[i], object);
		json_decref(object);
	}
	if (ask_one(s, r, &KUBE_LEASES, "Lease", LEASE, &object))
		doctor_check_lease(r, object, clock_wall_ms(&clock_real) * 1000);
	json_decref(object);
}

// Returns the pod as it would be stored, new; NULL: refused, as *refusal says.
static json_t *try_a_pod(const struct kube_session *s, struct error *refusal)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(&KUBE_PODS, trial_ns(), NULL, NULL, &path);
	kube_path_query(&path, "dryRun", "All");
	json_t *pod = doctor_trial_pod(trial_ns());
	const struct kube_request request = {.method = "POST", .path = buf_z(&path), .body = pod};
	CLEANUP_KUBE_RESPONSE
	struct kube_response response = {0};
	int rc = kube_do(s->client, &request, &response, refusal);
	json_decref(pod);
	return rc == 0 ? json_incref(response.body) : NULL;
}

// ---- Trustees, and the controller's rights where they are

// Whether the controller's ServiceAccount may; -errno.
static int ask_access(const struct kube_session *s, const char *ns, const char *verb, const struct kube_resource *res,
					  struct error *err)
{
	CLEANUP_BUF struct buf user = BUF_INIT(USER_MAX);
	CLEANUP_BUF struct buf group = BUF_INIT(USER_MAX);
	buf_addf(&user, "system:serviceaccount:%s:coco-controller", arg_system_ns);
	buf_addf(&group, "system:serviceaccounts:%s", arg_system_ns);
	json_t *review =
		json_pack("{s:s, s:s, s:{s:s, s:[s, s, s], s:{s:s, s:s, s:s, s:s}}}", "apiVersion", "authorization.k8s.io/v1",
				  "kind", "SubjectAccessReview", "spec", "user", buf_z(&user), "groups", "system:serviceaccounts",
				  buf_z(&group), "system:authenticated", "resourceAttributes", "namespace", ns, "verb", verb, "group",
				  res->group, "resource", res->plural);
	json_t *answer = NULL;
	int rc = kube_create(s->client, &access_reviews, NULL, review, &answer, err);
	json_decref(review);
	if (rc == 0)
		rc = json_is_true(json_object_get(json_object_get(answer, "status"), "allowed"));
	json_decref(answer);
	return rc;
}

static void examine_rights(const struct kube_session *s, struct doctor_report *r, const char *ns)
{
	static const struct {
		const char *verb;
		const struct kube_resource *resource;
	} wanted[] = {{"list", &KUBE_SECRETS}, {"patch", &KUBE_SECRETS}, {"patch", &KUBE_DEPLOYMENTS}};
	CLEANUP_BUF struct buf right = BUF_INIT(RIGHT_MAX);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct error err;
		int rc = ask_access(s, ns, wanted[i].verb, wanted[i].resource, &err);
		if (rc < 0) {
			doctor_note_failure(r, "controller's rights", ns, "create subjectaccessreviews.authorization.k8s.io", &err);
			return;
		}
		if (rc == 0) {
			buf_addf(&right, "%s %s", wanted[i].verb, wanted[i].resource->plural);
			break;
		}
	}
	doctor_check_rights(r, ns, arg_system_ns, right.n > 0 ? buf_z(&right) : NULL);
}

static void examine_trustees(const struct kube_session *s, struct doctor_report *r)
{
	static const struct kube_resource *const kinds[] = {&KUBE_TRUSTEE_CONFIGS, &KUBE_KBS_CONFIGS};
	json_t *namespaces = json_object();
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		size_t noted = r->n;
		json_t *trustees = ask_scoped(s, r, kinds[k], false);
		if (trustees != NULL || r->n == noted)
			doctor_check_trustees(r, kinds[k]->kind, trustees, now_s());
		size_t i;
		const json_t *t;
		json_array_foreach (trustees, i, t)
			(void)json_object_set_new(namespaces, kube_namespace(t), json_null());
		json_decref(trustees);
	}
	const char *ns;
	json_t *unused = NULL;
	json_object_foreach (namespaces, ns, unused) {
		examine_rights(s, r, ns);
	}
	json_decref(namespaces);
}

// -errno where the API server can't be spoken to at all.
static int examine(const struct kube_session *s, struct doctor_report *r, struct error *err)
{
	struct kube_version version;
	int rc = kube_server_version(s->client, &version, err);
	if (rc < 0)
		return rc;
	doctor_check_version(r, &version);
	struct error refusal = {0};
	json_auto_t *trial = try_a_pod(s, &refusal);
	examine_kinds(s, r);
	examine_programs(s, r);
	examine_webhooks(s, r);
	json_auto_t *profiles = ask_scoped(s, r, &KUBE_CONFIDENTIAL_PROFILES, true);
	examine_profiles(s, r, profiles, trial);
	examine_policies(s, r, profiles);
	doctor_check_trial(r, trial_ns(), trial, &refusal);
	examine_trustees(s, r);
	return 0;
}

// ---- Telling

static bool wants_colour(void)
{
	const char *terminal = getenv("TERM");
	const char *none = getenv("NO_COLOR");
	return isatty(STDOUT_FILENO) == 1 && (none == NULL || none[0] == '\0') && terminal != NULL &&
		   strcmp(terminal, "dumb") != 0;
}

static void print_json(const struct doctor_report *r)
{
	json_t *all = doctor_json(r);
	char *out = json_dumps(all, JSON_INDENT(2));
	(void)printf("%s\n", out != NULL ? out : "");
	free(out);
	json_decref(all);
}

static void print_table(const struct doctor_report *r)
{
	CLEANUP_BUF struct buf out = BUF_INIT(OUTPUT_MAX);
	doctor_table(r, wants_colour(), &out);
	(void)fwrite(buf_z(&out), 1, out.n, stdout);
}

static int run(void)
{
	bool json = strcmp(arg_output, "json") == 0;
	if (!json && strcmp(arg_output, "table") != 0) {
		(void)fprintf(stderr, "cocopipe doctor: -o is \"%s\"; it must be table or json\n", arg_output);
		return EXIT_USAGE;
	}
	CLEANUP_DOCTOR_REPORT struct doctor_report report = {0};
	struct kube_session session = {0};
	struct error err;
	int rc = cluster_open(&arg_cluster, &session, &err);
	if (rc == 0)
		rc = examine(&session, &report, &err);
	kube_session_close(&session);
	if (rc < 0)
		return usage_failure(err.msg);
	if (json)
		print_json(&report);
	else
		print_table(&report);
	return doctor_healthy(&report) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cmd_doctor(int argc, char **argv)
{
	const struct option_spec options[] = {
		{"namespace", 'n', "NS", NULL,
		 "look at this namespace's profiles and Trustees alone, and try a pod there; default: all, and default",
		 &arg_ns, NULL, NULL, NULL},
		{"output", 'o', "FORMAT", NULL, "table or json", &arg_output, NULL, NULL, NULL},
		CLUSTER_OPTIONS(arg_cluster),
		{"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of coco-webhook and coco-controller",
		 &arg_system_ns, NULL, NULL, NULL},
	};
	const struct command_spec command = {
		.name = "cocopipe doctor",
		.usage = "[-n NS] [-o table|json]",
		.about =
			"Looks at a cluster and tells what is wrong, and what to do about it. Changes nothing. What you may not "
			"look "
			"at is not checked, and is said to be so.\n"
			"Exit status: 0 all is well, warnings aside; 1 something is wrong, or was not checked; 2 usage, or the "
			"API server can't be reached.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	return got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
}
