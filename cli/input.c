#include "cli/input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/yaml.h"

int input_add_profile_file(void *ctx, const char *path)
{
	struct input_args *args = ctx;
	struct error err;
	CLEANUP_BUF
	struct buf text = BUF_INIT(INPUT_MAX);
	if (file_read(path, &text, &err) < 0 || catalog_documents_read(&args->documents, buf_str(&text), path, &err) < 0) {
		(void)fprintf(stderr, "cocopipe: --profile: %s\n", err.msg);
		return -err.code;
	}
	args->nprofile_files++;
	return 0;
}

void input_args_release(struct input_args *args)
{
	catalog_documents_release(&args->documents);
}

json_t *input_document(const char *path, struct error *err)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(INPUT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
	if (file_read(path, &text, err) < 0)
		return NULL;
	if (yaml_read(buf_str(&text), &docs, err) < 0) {
		(void)error_prefix(err, "%s", name);
		return NULL;
	}
	if (docs.n != 1 || !json_is_object(docs.v[0].root)) {
		(void)error_set(err, EINVAL, "%s holds %zu documents; give it exactly one object", name, docs.n);
		return NULL;
	}
	return json_incref(docs.v[0].root);
}

static const char *text_at(const json_t *tree, const char *a, const char *b)
{
	const json_t *v = json_object_get(tree, a);
	return json_string_value(b != NULL ? json_object_get(v, b) : v);
}

static bool is_kind(const json_t *object, const char *kind)
{
	const char *is = text_at(object, "kind", NULL);
	return is != NULL && strcmp(is, kind) == 0;
}

// The only profile that was given, NULL where there are none or several.
static const json_t *only_profile(const struct input_args *args)
{
	const json_t *only = NULL;
	size_t n = 0;
	for (size_t i = 0; i < args->documents.n; i++)
		if (is_kind(args->documents.v[i].object, "ConfidentialProfile")) {
			only = args->documents.v[i].object;
			n++;
		}
	return n == 1 && args->profiles_dir == NULL ? only : NULL;
}

static void tell_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	(void)fprintf(stderr, "cocopipe: %s%s%s: %s\n", origin, key[0] != '\0' ? ": profile " : "", key, message);
}

// A single --profile is meant to be used, whatever its name: as if the namespace had it as its default. The Namespace is
// added to the documents, and said.
static void use_only_profile(struct input_args *args, const struct input *in)
{
	const json_t *profile = only_profile(args);
	const char *name = profile != NULL ? text_at(profile, "metadata", "name") : NULL;
	if (name == NULL || strcmp(name, DEFAULT_PROFILE) == 0 ||
		key_values_get(&in->review.object.annotations, ANNOTATION_PROFILE).p != NULL)
		return;
	struct str ns = review_namespace(&in->review);
	for (size_t i = 0; i < args->documents.n; i++)
		if (is_kind(args->documents.v[i].object, "Namespace"))
			return; // the namespaces are part of what is tried out
	json_t *object = json_pack("{s:s, s:s, s:{s:s%, s:{s:s}}}", "apiVersion", "v1", "kind", "Namespace", "metadata",
							   "name", ns.p, ns.n, "annotations", ANNOTATION_DEFAULT_PROFILE, name);
	if (object == NULL)
		return;
	(void)fprintf(stderr,
				  "note: profile \"%s\" is used since it is the only one given; on a cluster, name it with annotation "
				  "%s, or make it the namespace's %s\n",
				  name, ANNOTATION_PROFILE, ANNOTATION_DEFAULT_PROFILE);
	args->documents.v = xreallocarray(args->documents.v, args->documents.n + 1, sizeof(*args->documents.v));
	args->documents.v[args->documents.n++] =
		(struct catalog_document){.object = object, .origin = xstrdup("(made up)")};
}

static int build_catalog(struct input_args *args, struct input *in, struct error *err)
{
	if (in->session.client != NULL) {
		if (args->profiles_dir != NULL || args->nprofile_files > 0)
			return error_set(
				err, EINVAL,
				"profiles come from the cluster here; leave --profile and --profiles (or COCO_PROFILES) out");
		in->catalog = cluster_catalog(&in->session, &in->review, args->system_ns, tell_problem, err);
		return in->catalog != NULL ? 0 : -err->code;
	}
	if (args->profiles_dir != NULL && args->nprofile_files > 0)
		return error_set(err, EINVAL,
						 "--profile and --profiles (or COCO_PROFILES) are both given; keep one of the two");
	if (args->profiles_dir != NULL) {
		struct catalog_dir *dir = catalog_dir_new(args->profiles_dir, args->system_ns);
		in->catalog = catalog_dir_load(dir, NULL, tell_problem, NULL, err);
		catalog_dir_free(dir);
		return in->catalog != NULL ? 0 : -err->code;
	}
	use_only_profile(args, in);
	in->catalog = catalog_build(args->documents.v, args->documents.n, args->system_ns, NULL, tell_problem, NULL);
	return 0;
}

static int parse_review(struct input *in, struct error *err)
{
	if (review_read(str_from(in->text), &in->arena, &in->review, err) != REVIEW_OK)
		return -EINVAL;
	json_t *object = json_object_get(json_object_get(in->tree, "request"), "object");
	in->pod = json_is_object(object) ? object : NULL; // null where something is deleted
	return 0;
}

// Who makes such a pod, where it isn't said: the pods of a StatefulSet come from its controller.
static const char *usual_creator(const struct pod *pod)
{
	for (size_t i = 0; i < pod->nowners; i++)
		if (pod->owners[i].controller && str_is(pod->owners[i].kind, "StatefulSet"))
			return USER_STATEFULSET_CONTROLLER;
	return "";
}

static const char *context_namespace(const struct input *in)
{
	return in->session.config != NULL ? in->session.config->ns : NULL;
}

static int parse_pod(const struct input_args *args, struct input *in, struct error *err)
{
	struct json_read r;
	in->pod = in->tree;
	json_read_init(&r, str_from(in->text), &in->arena, err);
	pod_read(&r, &in->review.object);
	if (json_read_end(&r) < 0)
		return -EINVAL;
	const struct pod *pod = &in->review.object;
	const json_t *profile = only_profile(args);
	const char *ns = args->ns;
	if (ns == NULL && pod->ns.n == 0)
		ns = profile != NULL ? text_at(profile, "metadata", "namespace") : context_namespace(in);
	struct review *v = &in->review;
	v->uid = STR("preview");
	v->version = STR("v1");
	v->resource = STR("pods");
	v->kind = STR("Pod");
	v->operation = STR("CREATE");
	v->name = pod->name;
	v->ns = pod->ns.n > 0 || ns == NULL ? pod->ns : str_from(ns);
	v->user = str_from(args->user != NULL ? args->user : usual_creator(pod));
	v->dry_run = true;
	v->has_object = true;
	return 0;
}

// The pod or review to judge, new; from the cluster where a name is given.
static json_t *get_tree(const struct input_args *args, const struct input *in, struct error *err)
{
	if (args->pod_name != NULL)
		return cluster_pod(&in->session, args->ns != NULL ? args->ns : context_namespace(in), args->pod_name, err);
	if (args->file != NULL)
		return input_document(args->file, err);
	(void)error_set(err, EINVAL, "say what to look at: -f FILE, or -f - for standard input");
	return NULL;
}

int input_read(struct input_args *args, struct input *ret, struct error *err)
{
	if (args->pod_name != NULL && args->file != NULL)
		return error_set(err, EINVAL, "-f %s and pod %s are both given; keep one of the two", args->file,
						 args->pod_name);
	if ((args->server || args->pod_name != NULL) && cluster_open(&args->cluster, &ret->session, err) < 0)
		return -err->code;
	ret->tree = get_tree(args, ret, err);
	if (ret->tree == NULL)
		return -err->code;
	const char *name = args->pod_name != NULL ? args->pod_name : args->file;
	ret->text = json_dumps(ret->tree, JSON_COMPACT);
	if (ret->text == NULL)
		return error_set(err, EINVAL, "%s can't be written as JSON", name);
	bool review = is_kind(ret->tree, "AdmissionReview");
	if (!review && !is_kind(ret->tree, "Pod")) {
		const char *kind = text_at(ret->tree, "kind", NULL);
		return error_set(err, EINVAL,
						 "%s is of kind \"%s\"; give the Pod that Kubernetes makes of it (kubectl get pod NAME -o "
						 "yaml), or an AdmissionReview",
						 name, kind != NULL ? kind : "");
	}
	int rc = review ? parse_review(ret, err) : parse_pod(args, ret, err);
	if (rc < 0)
		return error_prefix(err, "%s", name);
	return build_catalog(args, ret, err);
}

const char *input_printable(struct input *in, const char *text)
{
	char *copy = arena_printf(&in->arena, "%s", text);
	text_sanitize(copy);
	return copy;
}

void input_release(struct input *in)
{
	json_decref(in->tree);
	free(in->text);
	arena_release(&in->arena);
	catalog_unref(in->catalog);
	kube_session_close(&in->session);
}
