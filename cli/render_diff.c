#include "cli/render_diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/after_apply.h"
#include "cli/line_diff.h"
#include "common/json_made.h"
#include "common/json_text.h"
#include "common/mem.h"
#include "common/profile.h"
#include "common/trustee.h"
#include "common/yaml.h"
#include "controller/drift.h"
#include "controller/object_digest.h"

#define TEXT_MAX ((size_t)16 * 1024 * 1024)

// The Trustee at hand.
struct trustee_at {
	struct render_diff *d;
	const struct render_trustee *t;
	int policy; // enum drift_policy
};

// What an object is called in heads of diffs.
static char *title(const struct kube_resource *res, const json_t *object)
{
	return xasprintf("%s %s/%s", res->kind, kube_namespace(object), kube_name(object));
}

static int to_yaml(const json_t *object, struct buf *out, struct error *err)
{
	if (object == NULL)
		return 0;
	json_auto_t *plain = comparable(object);
	return yaml_write(plain, out, err);
}

// before, after: digested; NULL: it isn't there. Returns 1 where they differ.
static int print_change(struct render_diff *d, const struct kube_resource *res, const json_t *before,
						const json_t *after, struct error *err)
{
	CLEANUP_BUF struct buf a = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF struct buf b = BUF_INIT(TEXT_MAX);
	CLEANUP_FREE char *name = title(res, before != NULL ? before : after);
	if (to_yaml(before, &a, err) < 0 || to_yaml(after, &b, err) < 0)
		return error_prefix(err, "%s", name);
	if (strcmp(buf_z(&a), buf_z(&b)) == 0)
		return 0;
	(void)fprintf(d->to, "--- %s%s\n+++ %s%s\n", before != NULL ? "live " : "/dev/null", before != NULL ? name : "",
				  after != NULL ? "new " : "/dev/null", after != NULL ? name : "");
	line_diff_unified(buf_z(&a), buf_z(&b), d->to);
	return 1;
}

// ConfigMaps have texts whose lines are worth seeing; Secrets are never shown.
static json_t *shown(const struct kube_resource *res, const json_t *object)
{
	return res == &KUBE_SECRETS ? object_digest(object) : json_incref((json_t *)(uintptr_t)object);
}

// ---- Edited policies

static int save(struct render_diff *d, const json_t *live, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT(TEXT_MAX);
	CLEANUP_FREE char *path = xasprintf("%s/%s-%s.yaml", d->keep, kube_namespace(live), kube_name(live));
	json_auto_t *plain = json_made(json_pack("{s:s, s:s, s:{s:s, s:s}, s:O*}", "apiVersion", "v1", "kind", "ConfigMap",
											 "metadata", "name", kube_name(live), "namespace", kube_namespace(live),
											 "data", json_object_get(live, "data")));
	if (mkdir(d->keep, 0777) < 0 && errno != EEXIST)
		return error_set(err, errno, "can't make folder %s: %s", d->keep, strerror(errno));
	if (yaml_write(plain, &text, err) < 0)
		return error_prefix(err, "%s", path);
	FILE *f = fopen(path, "we");
	bool good = f != NULL && fwrite(buf_z(&text), 1, text.n, f) == text.n;
	good = f != NULL && fclose(f) == 0 && good;
	if (!good)
		return error_set(err, errno, "can't write %s: %s", path, strerror(errno));
	d->kept++;
	return 0;
}

static int keep(struct render_diff *d, const struct kube_resource *res, const json_t *live, const json_t *after,
				struct error *err)
{
	if (d->keep == NULL || res != &KUBE_CONFIG_MAPS ||
		json_equal(json_object_get(live, "data"), json_object_get(after, "data")) != 0)
		return 0;
	return save(d, live, err);
}

// ---- One object

// Whether it belongs to another than the rendered object would, as the controller tells it.
static bool is_others(struct render_diff *d, const struct kube_resource *res, const json_t *live, const json_t *wanted)
{
	const json_t *theirs = kube_controller(live);
	// An owner that is only about to be made has no uid yet, and owns nothing.
	const char *uid = json_text(kube_controller(wanted), "uid");
	if (theirs == NULL || (uid[0] != '\0' && json_text_is(theirs, "uid", uid)))
		return false;
	CLEANUP_FREE char *name = title(res, live);
	(void)fprintf(stderr, "warning: %s belongs to %s \"%s\", and is left alone\n", name, json_text(theirs, "kind"),
				  json_text(theirs, "name"));
	d->others++;
	return true;
}

// Whether the controller leaves it as it is.
static bool is_settled(const struct trustee_at *x, const json_t *live, const json_t *wanted)
{
	CLEANUP_BUF struct buf where = BUF_INIT(ERROR_MSG_MAX);
	json_auto_t *a = object_digest(live);
	json_auto_t *b = object_digest(wanted);
	enum drift_verdict verdict = drift_judge(a, b, x->policy, /* settled= */ false, &where);
	return verdict == DRIFT_NONE || verdict == DRIFT_REPORT;
}

static void note_rollout(struct render_diff *d, const json_t *live, const json_t *after)
{
	const json_t *before_pod = json_object_get(json_object_get(live, "spec"), "template");
	const json_t *after_pod = json_object_get(json_object_get(after, "spec"), "template");
	if (json_equal(before_pod, after_pod) == 0)
		(void)json_array_append_new(d->rollouts, json_sprintf("%s/%s", kube_namespace(live), kube_name(live)));
}

static int change(struct render_diff *d, const struct kube_resource *res, const json_t *live, const json_t *wanted,
				  struct error *err)
{
	json_auto_t *before = shown(res, live);
	json_auto_t *want = shown(res, wanted);
	json_auto_t *after = after_apply(before, want);
	int rc = print_change(d, res, before, after, err);
	if (rc <= 0) {
		d->same += rc == 0;
		return rc;
	}
	d->changed++;
	if (res == &KUBE_DEPLOYMENTS)
		note_rollout(d, before, after);
	return keep(d, res, before, after, err);
}

static int compare(const struct trustee_at *x, const struct rendered_object *r, struct error *err)
{
	struct render_diff *d = x->d;
	const json_t *live = objects_get(d->live, r->resource, kube_namespace(x->t->object), r->name);
	if (r->object == NULL) {
		d->same++;
		return 0;
	}
	if (live == NULL) {
		json_auto_t *new = shown(r->resource, r->object);
		d->created++;
		int rc = print_change(d, r->resource, NULL, new, err);
		return rc < 0 ? rc : 0;
	}
	if (is_others(d, r->resource, live, r->object))
		return 0;
	if (is_settled(x, live, r->object)) {
		d->same++;
		return 0;
	}
	return change(d, r->resource, live, r->object, err);
}

static int compare_all(const struct trustee_at *x, const struct rendered *r, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->n; i++)
		rc = compare(x, &r->v[i], err);
	return rc;
}

// ---- What is no longer wanted

static bool is_wanted(const struct render_trustee *t, const struct kube_resource *res, const char *name)
{
	CLEANUP_FREE char *endpoint = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, kube_name(t->object));
	return rendered_wants(&t->tc.objects, res, name) || rendered_wants(&t->kbs, res, name) ||
		   rendered_wants(&t->endpoint, res, name) || (res == &KUBE_CONFIG_MAPS && strcmp(name, endpoint) == 0);
}

// Whether the object, which the controller has made, is one of the Trustee's or of its KbsConfig's.
static bool is_of(const struct trustee_at *x, const json_t *live)
{
	const char *owner = json_text(kube_controller(live), "uid");
	CLEANUP_FREE char *name = xasprintf("%s%s", kube_name(x->t->object), KBS_CONFIG_SUFFIX);
	const json_t *kbs = objects_get(x->d->live, &KUBE_KBS_CONFIGS, kube_namespace(x->t->object), name);
	return rendered_is_ours(live) && owner[0] != '\0' &&
		   (strcmp(owner, kube_uid(x->t->object)) == 0 || strcmp(owner, kube_uid(kbs)) == 0);
}

static int drop_unwanted(const struct trustee_at *x, struct error *err)
{
	const char *id;
	json_t *live;
	int rc = 0;
	json_object_foreach (x->d->live->by_id, id, live) {
		const struct kube_resource *res = objects_kind(live);
		if (rc < 0 || res == NULL || strcmp(kube_namespace(live), kube_namespace(x->t->object)) != 0 ||
			!is_of(x, live) || is_wanted(x->t, res, kube_name(live)))
			continue;
		json_auto_t *before = shown(res, live);
		x->d->deleted++;
		rc = print_change(x->d, res, before, NULL, err);
	}
	return rc < 0 ? rc : 0;
}

// ---- All

static int policy_of(const json_t *object)
{
	const char *policy = json_text(json_object_get(object, "spec"), "driftPolicy");
	for (int i = 0; drift_policy_names[i] != NULL; i++)
		if (strcmp(drift_policy_names[i], policy) == 0)
			return i;
	return DRIFT_ENFORCE;
}

static int diff_one(struct render_diff *d, const struct render_trustee *t, struct error *err)
{
	const struct trustee_at x = {d, t, policy_of(t->object)};
	const struct rendered *all[] = {&t->tc.objects, &t->kbs, &t->endpoint};
	bool any = false;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < sizeof(all) / sizeof(all[0]); i++) {
		any |= all[i]->n > 0;
		rc = compare_all(&x, all[i], err);
	}
	// One that can't be made sense of is left as it is.
	return rc == 0 && any ? drop_unwanted(&x, err) : rc;
}

int render_diff(struct render_diff *d, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < d->render->n; i++)
		rc = diff_one(d, &d->render->v[i], err);
	return rc;
}

bool render_diff_is_empty(const struct render_diff *d)
{
	return d->created + d->changed + d->deleted == 0;
}

void render_diff_summary(const struct render_diff *d)
{
	(void)fprintf(d->to, "%s%zu to be made, %zu changed, %zu deleted; %zu stay as they are",
				  render_diff_is_empty(d) ? "" : "\n", d->created, d->changed, d->deleted, d->same);
	if (d->others > 0)
		(void)fprintf(d->to, "; %zu left to their owners", d->others);
	(void)fputs(".\n", d->to);
	size_t i = 0;
	const json_t *name = NULL;
	json_array_foreach (d->rollouts, i, name)
		(void)fprintf(d->to, "The pods of Deployment %s are replaced.\n", json_string_value(name));
	if (d->keep != NULL)
		(void)fprintf(d->to, "%zu ConfigMaps that are written over are saved in %s.\n", d->kept, d->keep);
}
