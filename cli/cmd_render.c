// cocopipe render: what the controller would apply for the Trustees in files, with no cluster.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/render.h"
#include "cli/render_cluster.h"
#include "cli/render_diff.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/profile.h"
#include "common/secret.h"
#include "common/yaml.h"
#include "controller/image_options.h"
#include "controller/kbs_render.h"

#define FILES_MAX 1000
// Of one object: the API server takes no larger one, and YAML's indentation doubles it at most.
#define DOCUMENT_MAX ((size_t)8 * 1024 * 1024)

struct file_list {
	const char *v[FILES_MAX];
	size_t n;
};

static struct file_list arg_files;
static const char *arg_output = "yaml";
static const char *arg_namespace;
static const char *arg_has = "Route,Ingress,ServiceMonitor";
static bool arg_diff;
static const char *arg_keep;
static struct cluster_args arg_cluster;
static struct trustee_world world;

static int add_file(void *ctx, const char *path)
{
	struct file_list *files = ctx;
	if (files->n == FILES_MAX) {
		(void)fprintf(stderr, "cocopipe render: -f stands more than %d times; name a folder\n", FILES_MAX);
		return -1;
	}
	files->v[files->n++] = path;
	return 0;
}

// ---- --has

// A kind by its name or plural, in any case.
static bool has_kind(struct str word)
{
	const struct {
		const struct kube_resource *resource;
		bool *served;
	} kinds[] = {
		{&KUBE_ROUTES, &world.served.route},
		{&KUBE_TLS_ROUTES, &world.served.tls_route},
		{&KUBE_INGRESSES, &world.served.ingress},
		{&KUBE_SERVICE_MONITORS, &world.served.service_monitor},
	};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *names[] = {kinds[i].resource->kind, kinds[i].resource->plural};
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (strlen(names[k]) == word.n && strncasecmp(names[k], word.p, word.n) == 0)
				return *kinds[i].served = true;
	}
	return false;
}

static bool read_has(void)
{
	memset(&world.served, 0, sizeof(world.served));
	if (strcasecmp(arg_has, "none") == 0)
		return true;
	for (const char *at = arg_has;; at++) {
		size_t n = strcspn(at, ",");
		if (!has_kind((struct str){at, n})) {
			(void)fprintf(stderr,
						  "cocopipe render: --has is \"%s\"; it must be none, or some of Route, TLSRoute, Ingress and "
						  "ServiceMonitor with commas between them\n",
						  arg_has);
			return false;
		}
		at += n;
		if (*at == '\0')
			return true;
	}
}

// ---- Output

typedef int (*each_fn)(void *ctx, const json_t *object, struct error *err);

static int each_of(const struct rendered *r, each_fn each, void *ctx, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->n; i++)
		if (r->v[i].object != NULL)
			rc = each(ctx, r->v[i].object, err);
	return rc;
}

// In the order in which they are applied.
static int each_object(const struct render *r, each_fn each, void *ctx, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->n; i++) {
		rc = each_of(&r->v[i].tc.objects, each, ctx, err);
		if (rc == 0)
			rc = each_of(&r->v[i].kbs, each, ctx, err);
		if (rc == 0)
			rc = each_of(&r->v[i].endpoint, each, ctx, err);
	}
	return rc;
}

struct printing {
	struct buf text; // wiped: Secrets go through it
	size_t n;
};

static int print_yaml(void *ctx, const json_t *object, struct error *err)
{
	struct printing *p = ctx;
	explicit_bzero(p->text.p, p->text.n);
	buf_clear(&p->text);
	if (yaml_write(object, &p->text, err) < 0)
		return error_prefix(err, "%s", kube_name(object));
	(void)fputs(p->n++ > 0 ? "---\n" : "", stdout);
	(void)fwrite(buf_z(&p->text), 1, p->text.n, stdout);
	return 0;
}

static int print_json(void *ctx, const json_t *object, struct error *err)
{
	struct printing *p = ctx;
	(void)fputs(p->n++ > 0 ? ",\n" : "\n", stdout);
	if (json_dumpf(object, stdout, JSON_INDENT(2)) < 0 && ferror(stdout) == 0)
		return error_set(err, EINVAL, "%s can't be written as JSON", kube_name(object));
	return 0;
}

static int print_objects(const struct render *r, struct error *err)
{
	struct printing p = {0};
	if (strcmp(arg_output, "json") == 0) {
		(void)fputs("{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [", stdout);
		int rc = each_object(r, print_json, &p, err);
		(void)fputs("\n]}\n", stdout);
		return rc;
	}
	p.text = secret_buf(DOCUMENT_MAX);
	int rc = each_object(r, print_yaml, &p, err);
	secret_buf_release(&p.text);
	return rc;
}

// ---- What there is to say

static void tell(const json_t *object, const char *level, const char *text)
{
	(void)fprintf(stderr, "%s: %s %s/%s: %s\n", level, json_string_value(json_object_get(object, "kind")),
				  kube_namespace(object), kube_name(object), text);
}

static void tell_remarks(const json_t *object, const struct remarks *remarks)
{
	static const char *const levels[] = {
		[REMARK_NOTE] = "note", [REMARK_WARNING] = "warning", [REMARK_ERROR] = "error"};
	for (size_t i = 0; i < remarks->n; i++) {
		CLEANUP_FREE char *text = xasprintf("%s: %s", remarks->v[i].reason, remarks->v[i].message);
		tell(object, levels[remarks->v[i].level], text);
	}
}

static void tell_made(const struct render_trustee *t)
{
	size_t i;
	json_t *name;
	json_array_foreach (t->made, i, name) {
		CLEANUP_FREE char *text = xasprintf(
			"the keys in Secret \"%s\" are made anew here, and are others each time; give that Secret in a file "
			"to have it kept",
			json_string_value(name));
		tell(t->object, "note", text);
	}
}

static void tell_unknown_url(const struct render_trustee *t)
{
	if (t->url != NULL || t->kbs.n == 0 || t->tc.objects.n == 0)
		return;
	CLEANUP_FREE char *text = xasprintf(
		"where guests reach it is the cluster's to say, so ConfigMap \"%s%s\", which tells profiles, isn't here; %s",
		TRUSTEE_ENDPOINT_PREFIX, kube_name(t->object),
		t->exposed ? "name a host in spec.exposure.host, or give the cluster's object in a file"
				   : "give the cluster's Service in a file");
	tell(t->object, "note", text);
}

static int tell_all(const struct render *r)
{
	bool bad = false;
	for (size_t i = 0; i < r->n; i++) {
		const struct render_trustee *t = &r->v[i];
		tell_made(t);
		tell_remarks(t->object, &t->remarks);
		tell_remarks(t->object, &t->kbs_remarks);
		tell_unknown_url(t);
		bad |= remarks_worst(&t->remarks, REMARK_ERROR, -1) != NULL ||
			   remarks_worst(&t->kbs_remarks, REMARK_ERROR, -1) != NULL;
	}
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

// ---- The command

static bool good_arguments(void)
{
	if (strcmp(arg_output, "yaml") != 0 && strcmp(arg_output, "json") != 0) {
		(void)fprintf(stderr, "cocopipe render: -o is \"%s\"; it must be yaml or json\n", arg_output);
		return false;
	}
	if (arg_files.n == 0 && !arg_diff) {
		(void)usage_failure("say what to render: -f FILE, or -f - for standard input; or --diff for a cluster's");
		return false;
	}
	if (!arg_diff && (arg_keep != NULL || arg_cluster.context != NULL)) {
		(void)usage_failure("--keep and --context go with --diff");
		return false;
	}
	return read_has();
}

static int read_files(struct objects *objects, struct error *err)
{
	const char *ns = arg_namespace != NULL ? arg_namespace : "default";
	for (size_t i = 0; i < arg_files.n; i++)
		if (objects_read(objects, arg_files.v[i], ns, err) < 0)
			return -err->code;
	return 0;
}

static int run_files(void)
{
	CLEANUP_OBJECTS struct objects objects = {0};
	CLEANUP_RENDER struct render r = {0};
	struct error err;
	if (read_files(&objects, &err) < 0)
		return usage_failure(err.msg);
	const struct render_input in = {&objects, &world, clock_wall_ms(&clock_real) / 1000};
	if (render_trustees(&in, &r, &err) < 0 || print_objects(&r, &err) < 0)
		return usage_failure(err.msg);
	return tell_all(&r);
}

static int run_diff(void)
{
	CLEANUP_OBJECTS struct objects files = {0};
	CLEANUP_OBJECTS struct objects live = {0};
	CLEANUP_OBJECTS struct objects given = {0};
	CLEANUP_RENDER struct render r = {0};
	json_auto_t *rollouts = json_array();
	struct render_diff d = {.live = &live, .render = &r, .to = stdout, .keep = arg_keep, .rollouts = rollouts};
	struct error err;
	if (read_files(&files, &err) < 0 ||
		render_cluster_read(&arg_cluster, arg_namespace, &files, &live, &world, &err) < 0 ||
		render_cluster_given(&live, &files, &given, &err) < 0)
		return usage_failure(err.msg);
	const struct render_input in = {&given, &world, clock_wall_ms(&clock_real) / 1000};
	if (render_trustees(&in, &r, &err) < 0 || render_diff(&d, &err) < 0)
		return usage_failure(err.msg);
	render_diff_summary(&d);
	if (tell_all(&r) != EXIT_SUCCESS)
		return EXIT_USAGE;
	return render_diff_is_empty(&d) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cmd_render(int argc, char **argv)
{
	world = TRUSTEE_WORLD_DEFAULT;
	const struct option_spec options[] = {
		{"file", 'f', "FILE", NULL,
		 "TrusteeConfigs, KbsConfigs, and the Secrets, ConfigMaps and ConfidentialProfiles that they refer to: a file, "
		 "a folder, or - for standard input; may stand more than once",
		 NULL, NULL, add_file, &arg_files},
		{"namespace", 'n', "NS", NULL,
		 "the namespace of objects that name none, by default: default; with --diff, look at this one alone, by "
		 "default at "
		 "all that have a Trustee",
		 &arg_namespace, NULL, NULL, NULL},
		{"output", 'o', "FORMAT", NULL, "yaml: documents; json: a List", &arg_output, NULL, NULL, NULL},
		{"has", 0, "KINDS", NULL, "which of Route, TLSRoute, Ingress, ServiceMonitor the cluster has, or none",
		 &arg_has, NULL, NULL, NULL},
		{"diff", 0, NULL, NULL,
		 "print what the controller would change on a cluster: its Trustees as they are there, with those of -f in "
		 "their "
		 "place. It reads, and writes nothing",
		 NULL, &arg_diff, NULL, NULL},
		{"keep", 0, "FOLDER", NULL,
		 "with --diff: save ConfigMaps whose text would be written over, such as edited policies", &arg_keep, NULL,
		 NULL, NULL},
		CLUSTER_OPTIONS(arg_cluster),
		TRUSTEE_IMAGE_OPTIONS(world),
	};
	const struct command_spec command = {
		.name = "cocopipe render",
		.usage = "-f FILE... [-o yaml|json] | --diff [-n NS] [-f FILE...]",
		.about = "Prints what the controller would apply for the TrusteeConfigs and KbsConfigs in files: the same "
				 "functions, and no cluster.\n"
				 "Secrets are printed as they are applied, keys and all. What there is to say goes to stderr.\n"
				 "Exit status: 0 rendered, 1 something can't be made as asked for, 2 usage or unreadable input.\n"
				 "With --diff: what the controller would change on a cluster, Secrets by digests alone.\n"
				 "Exit status: 0 nothing, 1 something, 2 usage, no access, or something can't be made as asked for.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got == OPTIONS_GO && !good_arguments())
		return EXIT_USAGE;
	return got == OPTIONS_GO        ? (arg_diff ? run_diff() : run_files())
		   : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS
									: EXIT_USAGE;
}
