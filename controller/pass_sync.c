// What was rendered is compared, applied, or deleted.
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/kind_metrics.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/secret.h"
#include "controller/apply.h"
#include "controller/drift.h"
#include "controller/object_digest.h"
#include "controller/pass.h"
#include "controller/trustee_status.h"

// A timer of longer than this is set anew on the way.
#define LONGEST_MS 86400000
// What lets the controller work in a namespace, as manifests/base names things; takes the namespace.
#define GRANT                                                                   \
	"kubectl -n %s create rolebinding coco-trustee --clusterrole=coco-trustee " \
	"--serviceaccount=coco-pipelines-system:coco-controller"

void pass_again_in(struct pass *p, int64_t ms)
{
	if (ms > LONGEST_MS)
		ms = LONGEST_MS;
	if (p->again_ms == 0 || ms < p->again_ms)
		p->again_ms = ms > 0 ? ms : 1;
}

int64_t pass_now_s(const struct pass *p)
{
	return clock_wall_ms(p->t->config.clock) / 1000;
}

bool pass_may_work_later(int rc)
{
	return kube_error_transient(-rc) || rc == -ECANCELED || rc == -EEXIST;
}

int pass_refused(struct pass *p, int rc, const struct error *err)
{
	if (rc == 0 || pass_may_work_later(rc))
		return rc;
	p->failed = true;
	if (rc == -EPERM)
		remarks_add(&p->remarks, REMARK_ERROR, ABOUT_RESOURCES, "Forbidden",
					"%s; allow it: " GRANT
					"; that is found out within five minutes, and at once when this resource is changed",
					err->msg, p->ns);
	else
		remarks_add(&p->remarks, REMARK_ERROR, ABOUT_RESOURCES, "Refused", "%s", err->msg);
	return 0;
}

static json_t **objects_of(struct pass *p, const json_t *owner)
{
	return owner == p->tc ? &p->tc_objects : &p->kbs_objects;
}

static bool has_text(const json_t *array, const char *text)
{
	size_t i = 0;
	const json_t *item = NULL;
	json_array_foreach (array, i, item)
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	return false;
}

static void note_object(struct pass *p, const json_t *owner, const struct rendered_object *want)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", want->resource->kind, want->name);
	json_t *objects = *objects_of(p, owner);
	if (!has_text(objects, id))
		(void)json_array_append_new(objects, json_string(id));
}

bool pass_was_applied(const json_t *owner, const struct kube_resource *res, const char *name)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	return has_text(json_object_get(json_object_get(owner, "status"), "objects"), id);
}

// Whether a live object belongs to somebody else; remarked.
static bool is_others(struct pass *p, const struct kube_resource *res, const json_t *live, const json_t *owner)
{
	const json_t *other = kube_controller(live);
	const char *uid = json_string_value(json_object_get(other, "uid"));
	if (uid == NULL || strcmp(uid, kube_uid(owner)) == 0)
		return false;
	const char *kind = json_string_value(json_object_get(other, "kind"));
	const char *name = json_string_value(json_object_get(other, "name"));
	remarks_add(&p->remarks, REMARK_ERROR, ABOUT_RESOURCES, "NameTaken",
				"%s \"%s\" of this namespace belongs to %s \"%s\" and is left alone; delete that one, or rename this",
				res->kind, kube_name(live), kind != NULL ? kind : "", name != NULL ? name : "");
	return true;
}

// The live object in the form in which it is compared; *ret is new, NULL where there is none.
static int live_to_compare(struct pass *p, const struct rendered_object *want, json_t **ret, struct error *err)
{
	*ret = view_get(p->t->view, want->resource, p->ns, want->name);
	const char *applied = *ret != NULL ? kube_annotation(*ret, ANNOTATION_APPLIED) : NULL;
	const char *rendered = kube_annotation(want->object, ANNOTATION_APPLIED);
	// What a Secret holds is only asked for where its label says that it is what we applied.
	if (want->resource != &KUBE_SECRETS || applied == NULL || strcmp(applied, rendered) != 0)
		return 0;
	json_decref(*ret);
	return view_digest(p->t->view, want->resource, p->ns, want->name, ret, err);
}

struct change {
	const struct rendered_object *want;
	json_t *live; // new
	enum drift_verdict verdict;
	char *where;
};

static void report_drift(struct pass *p, const struct change *c)
{
	p->held_back = true;
	if (c->live == NULL)
		remarks_add(
			&p->remarks, REMARK_WARNING, ABOUT_RESOURCES, "Drifted",
			"%s \"%s\" was deleted by others, and spec.driftPolicy is Warn; set it to Enforce to have it made again",
			c->want->resource->kind, c->want->name);
	else
		remarks_add(&p->remarks, REMARK_WARNING, ABOUT_RESOURCES, "Drifted",
					"%s \"%s\": %s was changed by others, and spec.driftPolicy is Warn; set it to Enforce to have it "
					"taken back",
					c->want->resource->kind, c->want->name, c->where);
}

static int judge(struct pass *p, const struct rendered_object *want, const json_t *owner, int policy,
				 struct change *ret, struct error *err)
{
	*ret = (struct change){.want = want};
	int rc = live_to_compare(p, want, &ret->live, err);
	if (rc < 0)
		return rc;
	if (ret->live != NULL && is_others(p, want->resource, ret->live, owner)) {
		p->failed = true;
		return 0;
	}
	CLEANUP_BUF struct buf where = BUF_INIT(ERROR_MSG_MAX);
	json_t *digested = object_digest(want->object);
	ret->verdict =
		drift_judge(ret->live, digested, policy, pass_was_applied(owner, want->resource, want->name), &where);
	json_decref(digested);
	ret->where = xstrdup(buf_z(&where));
	// What upstream had set in it may be there still, beside all that is ours.
	if (p->taking_over)
		ret->verdict = DRIFT_NEW;
	if (ret->verdict == DRIFT_REPORT)
		report_drift(p, ret);
	if (ret->verdict == DRIFT_NONE || ret->live != NULL || pass_was_applied(owner, want->resource, want->name))
		note_object(p, owner, want);
	return 0;
}

static bool is_owners(const json_t *live, const json_t *owner)
{
	const char *uid = json_string_value(json_object_get(kube_controller(live), "uid"));
	return uid != NULL && strcmp(uid, kube_uid(owner)) == 0;
}

// Somebody else's was never applied: when it goes, ours is made, whatever is to become of what others delete.
void pass_keep(struct pass *p, const struct rendered *r, size_t from, size_t to, const json_t *owner)
{
	for (size_t i = from; i < to; i++) {
		const struct rendered_object *want = &r->v[i];
		json_auto_t *live = view_get(p->t->view, want->resource, p->ns, want->name);
		if ((live != NULL && is_owners(live, owner)) || pass_was_applied(owner, want->resource, want->name))
			note_object(p, owner, want);
	}
}

static void tell_applied(const struct pass *p, const struct change *c, const json_t *owner)
{
	const char *kind = c->want->resource->kind;
	bool repaired = c->verdict == DRIFT_REPAIR;
	log_info(repaired ? "applied again what others had changed" : "applied", LOG_Z("kind", kind),
			 LOG_Z("namespace", p->ns), LOG_Z("name", c->want->name),
			 LOG_Z("field", repaired && c->where[0] != '\0' ? c->where : NULL));
	if (!repaired)
		return;
	kind_metrics_repaired(c->want->resource);
	CLEANUP_FREE char *note =
		c->where[0] != '\0'
			? xasprintf("%s \"%s\": %s had been changed by others, and was taken back", kind, c->want->name, c->where)
			: xasprintf("%s \"%s\" had been deleted by others, and was made again", kind, c->want->name);
	kube_event(p->t->config.events, owner, EVENT_NORMAL, "Repaired", "Apply", note);
}

// Refusals are remarks, since trying again at once won't help: nothing is said of them twice.
static int take_answer(struct pass *p, struct apply_item *x, const struct change *c, const json_t *owner,
					   struct error *err)
{
	if (x->rc == 0) {
		pass_wrote(p, owner, x->resource, c->want->name, c->live, x->between, x->answer);
		tell_applied(p, c, owner);
		note_object(p, owner, c->want);
		return 0;
	}
	if (pass_may_work_later(x->rc)) {
		*err = x->err;
		return x->rc;
	}
	(void)error_prefix(&x->err, "%s \"%s\" can't be applied", x->resource->kind, c->want->name);
	return pass_refused(p, x->rc, &x->err);
}

// The body of a request, new. What an admin has in an object of ours, and is rendered again as it was read, must not be
// overwritten by that where it has changed meanwhile: the API server refuses then, and the next pass reads it anew.
static json_t *body_of(const struct pass *p, const struct rendered_object *want)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", want->resource->kind, want->name);
	json_t *version = json_object_get(p->read, id);
	if (version == NULL)
		return json_incref(want->object);
	json_t *body = json_copy(want->object);
	json_t *metadata = json_copy(json_object_get(body, "metadata"));
	(void)json_object_set(metadata, "resourceVersion", version);
	(void)json_object_set_new(body, "metadata", metadata);
	return body;
}

static void release_item(struct apply_item *x)
{
	if (x->resource == &KUBE_SECRETS)
		secret_json_free(x->answer);
	else
		json_decref(x->answer);
	json_decref(x->between);
	json_decref((json_t *)(uintptr_t)x->object);
}

static int apply_changes(struct pass *p, struct change *v, size_t n, const json_t *owner, struct error *err)
{
	struct apply_item *items = xcalloc(n, sizeof(*items));
	const struct change **of = xcalloc(n, sizeof(*of));
	size_t nitems = 0;
	for (size_t i = 0; i < n; i++) {
		if (v[i].verdict != DRIFT_NEW && v[i].verdict != DRIFT_REPAIR)
			continue;
		of[nitems] = &v[i];
		items[nitems++] = (struct apply_item){
			.resource = v[i].want->resource, .ns = p->ns, .object = body_of(p, v[i].want), .take_over = p->taking_over};
	}
	apply_all(p->t->config.client, items, nitems);
	int rc = 0;
	for (size_t i = 0; i < nitems; i++) {
		int one = take_answer(p, &items[i], of[i], owner, err);
		rc = rc < 0 ? rc : one;
		release_item(&items[i]);
	}
	free(items);
	free(of);
	return rc;
}

// Brings objects from..to of what was rendered to the API server, where they aren't so already.
int pass_sync(struct pass *p, const struct rendered *r, size_t from, size_t to, const json_t *owner, int policy,
			  struct error *err)
{
	struct change *v = xcalloc(to - from + 1, sizeof(*v));
	size_t n = 0;
	int rc = 0;
	for (size_t i = from; rc == 0 && i < to; i++)
		if (r->v[i].object != NULL)
			rc = judge(p, &r->v[i], owner, policy, &v[n++], err);
		else
			pass_keep(p, r, i, i + 1, owner);
	if (rc == 0)
		rc = apply_changes(p, v, n, owner, err);
	for (size_t i = 0; i < n; i++) {
		json_decref(v[i].live);
		free(v[i].where);
	}
	free(v);
	return rc;
}

// ---- What is no longer wanted

struct pruning {
	struct pass *pass;
	const struct rendered *wanted;
	json_t *unwanted; // [resource's index, object]
	const struct kube_resource *resources[RENDERED_MAX];
	size_t n;
};

static void note_unwanted(void *ctx, const struct kube_resource *res, const json_t *object)
{
	struct pruning *x = ctx;
	const char *manager = kube_label(object, LABEL_MANAGED_BY);
	bool ours = manager != NULL && strcmp(manager, MANAGED_BY) == 0;
	if (!ours || x->n == RENDERED_MAX || rendered_wants(x->wanted, res, kube_name(object)))
		return;
	x->resources[x->n++] = res;
	(void)json_array_append(x->unwanted, (json_t *)(uintptr_t)object);
}

static int delete_unwanted(struct pass *p, const json_t *owner, const struct kube_resource *res, const json_t *object,
						   struct error *err)
{
	const char *name = kube_name(object);
	if (json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL)
		return 0;
	int rc = kube_delete(p->t->config.client, res, p->ns, name, kube_uid(object), NULL, "Background", err);
	if (rc == 0 || rc == -ENOENT) {
		pass_wrote(p, owner, res, name, object, NULL, NULL);
		log_info("deleted what is no longer wanted", LOG_Z("kind", res->kind), LOG_Z("namespace", p->ns),
				 LOG_Z("name", name));
		return 0;
	}
	if (pass_may_work_later(rc))
		return rc;
	p->failed = true;
	remarks_add(&p->remarks, REMARK_WARNING, ABOUT_RESOURCES, "NotDeleted",
				"%s \"%s\" is no longer wanted and can't be deleted: %s", res->kind, name, err->msg);
	return 0;
}

int pass_prune(struct pass *p, const struct rendered *wanted, const json_t *owner, struct error *err)
{
	struct pruning x = {.pass = p, .wanted = wanted, .unwanted = json_array()};
	view_owned(p->t->view, p->ns, kube_uid(owner), note_unwanted, &x);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < x.n; i++)
		rc = delete_unwanted(p, owner, x.resources[i], json_array_get(x.unwanted, i), err);
	json_decref(x.unwanted);
	return rc;
}
