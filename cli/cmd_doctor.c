// cocopipe doctor: looks at a cluster, and says what is wrong.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "common/clock.h"
#include "common/names.h"
#include "common/options.h"

#define LEASE "coco-controller"

static struct cluster_args arg_cluster;
static const char *arg_ns = "default";
static const char *arg_system_ns = DEFAULT_SYSTEM_NAMESPACE;
static const char *arg_output = "table";

static const struct kube_resource trustee_configs = {"confidentialcontainers.org", "v1alpha1", "trusteeconfigs",
													 "TrusteeConfig", true};

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

// All objects of a kind; NULL where they can't be had, which is noted under `name`. missing: what to note where there is no
// such kind; NULL for nothing.
static json_t *ask_all(const struct kube_session *s, struct doctor_report *r, const struct kube_resource *res,
					   const char *name, const char *missing)
{
	struct error err;
	json_t *all = json_array();
	int rc = kube_list(s->client, res, NULL, NULL, append_page, forget_pages, all, NULL, &err);
	if (rc == 0)
		return all;
	json_decref(all);
	if (rc != -ENOENT)
		doctor_note(r, DOCTOR_FAIL, name, "%s", err.msg);
	else if (missing != NULL)
		doctor_note(r, DOCTOR_FAIL, name, "%s", missing);
	return NULL;
}

// NULL where there is none. false where it can't be told, which is noted.
static bool ask_one(const struct kube_session *s, struct doctor_report *r, const struct kube_resource *res,
					const char *name, json_t **ret)
{
	struct error err;
	*ret = NULL;
	int rc = kube_get(s->client, res, arg_system_ns, name, ret, &err);
	if (rc == 0 || rc == -ENOENT)
		return true;
	doctor_note(r, DOCTOR_FAIL, name, "%s", err.msg);
	return false;
}

static void examine_profiles(const struct kube_session *s, struct doctor_report *r)
{
	json_t *profiles = ask_all(s, r, &KUBE_CONFIDENTIAL_PROFILES, "ConfidentialProfiles",
							   "the cluster has no such kind; apply the CRDs (crds/)");
	json_t *classes = ask_all(s, r, &KUBE_RUNTIME_CLASSES, "RuntimeClasses", "the cluster has no such kind");
	if (profiles != NULL)
		doctor_check_profiles(r, profiles);
	if (classes != NULL) {
		json_t *none = json_array();
		doctor_check_runtime_classes(r, profiles != NULL ? profiles : none, classes);
		json_decref(none);
	}
	json_decref(profiles);
	json_decref(classes);
}

static void examine_webhooks(const struct kube_session *s, struct doctor_report *r)
{
	static const struct {
		const struct kube_resource *resource;
		const char *name;
	} kinds[] = {{&KUBE_MUTATING_WEBHOOKS, "mutating webhook"}, {&KUBE_VALIDATING_WEBHOOKS, "validating webhook"}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		json_t *configs = ask_all(s, r, kinds[i].resource, kinds[i].name, "the cluster has no such kind");
		if (configs != NULL)
			doctor_check_webhooks(r, kinds[i].name, configs, clock_wall_ms(&clock_real) / 1000);
		json_decref(configs);
	}
}

static void examine_programs(const struct kube_session *s, struct doctor_report *r)
{
	static const char *const names[] = {"coco-webhook", "coco-controller"};
	json_t *object = NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (ask_one(s, r, &KUBE_DEPLOYMENTS, names[i], &object))
			doctor_check_deployment(r, names[i], object);
		json_decref(object);
	}
	if (ask_one(s, r, &KUBE_LEASES, LEASE, &object))
		doctor_check_lease(r, object, clock_wall_ms(&clock_real) * 1000);
	json_decref(object);
}

static void try_a_pod(const struct kube_session *s, struct doctor_report *r)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_path(&KUBE_PODS, arg_ns, NULL, NULL, &path);
	kube_path_query(&path, "dryRun", "All");
	json_t *pod = doctor_trial_pod(arg_ns);
	const struct kube_request request = {.method = "POST", .path = buf_z(&path), .body = pod};
	CLEANUP_KUBE_RESPONSE
	struct kube_response response = {0};
	struct error err;
	int rc = kube_do(s->client, &request, &response, &err);
	doctor_check_trial(r, rc == 0 ? response.body : NULL, &err);
	json_decref(pod);
}

// -errno where the API server can't be spoken to at all.
static int examine(const struct kube_session *s, struct doctor_report *r, struct error *err)
{
	struct kube_version version;
	int rc = kube_server_version(s->client, &version, err);
	if (rc < 0)
		return rc;
	doctor_check_version(r, &version);
	examine_programs(s, r);
	examine_webhooks(s, r);
	examine_profiles(s, r);
	try_a_pod(s, r);
	json_t *trustees = ask_all(s, r, &trustee_configs, "TrusteeConfigs", NULL);
	doctor_check_trustees(r, trustees);
	json_decref(trustees);
	return 0;
}

// ---- Telling

static void print_table(const struct doctor_report *r)
{
	int width = 5;
	for (size_t i = 0; i < r->n; i++)
		width = (int)strlen(r->v[i].name) > width ? (int)strlen(r->v[i].name) : width;
	(void)printf("%-*s  %-7s  %s\n", width, "CHECK", "STATUS", "DETAIL");
	for (size_t i = 0; i < r->n; i++)
		(void)printf("%-*s  %-7s  %s\n", width, r->v[i].name, doctor_status_names[r->v[i].status], r->v[i].detail);
}

static void print_json(const struct doctor_report *r)
{
	json_t *checks = json_array();
	for (size_t i = 0; i < r->n; i++)
		(void)json_array_append_new(checks, json_pack("{s:s, s:s, s:s}", "check", r->v[i].name, "status",
													  doctor_status_names[r->v[i].status], "detail", r->v[i].detail));
	json_t *all = json_pack("{s:b, s:o}", "healthy", doctor_healthy(r), "checks", checks);
	char *out = json_dumps(all, JSON_INDENT(2));
	(void)printf("%s\n", out != NULL ? out : "");
	free(out);
	json_decref(all);
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
		{"namespace", 'n', "NS", NULL, "where a labelled pod is tried, by dryRun; default: default", &arg_ns, NULL,
		 NULL, NULL},
		{"output", 'o', "FORMAT", NULL, "table or json", &arg_output, NULL, NULL, NULL},
		CLUSTER_OPTIONS(arg_cluster),
		{"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of coco-webhook and coco-controller",
		 &arg_system_ns, NULL, NULL, NULL},
	};
	const struct command_spec command = {
		.name = "cocopipe doctor",
		.usage = "[-n NS] [-o table|json]",
		.about = "Looks at a cluster and tells what is wrong, and what to do about it. Changes nothing.\n"
				 "Exit status: 0 nothing failed, 1 something did, 2 usage, or the API server can't be reached.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	return got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
}
