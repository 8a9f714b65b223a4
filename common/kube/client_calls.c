// The verbs: which path, query, body and headers each has.
#include "common/kube/client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/kube/answer.h"
#include "common/kube/kind_metrics.h"
#include "common/mem.h"

#define METADATA_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
#define MERGE_PATCH "application/merge-patch+json"
#define APPLY_PATCH "application/apply-patch+yaml" // JSON is YAML
#define PAGE_SHRINK 8

// What a verb asks for: an object, or a collection where name is NULL.
struct target {
	const struct kube_resource *res;
	const char *ns, *name, *subresource;
};

static int check_part(const struct target *t, const char *part, const char *value, struct error *err)
{
	if (kube_is_segment(value))
		return 0;
	return error_set(err, EINVAL,
					 "\"%s\" can't be the %s of a %s: it must not be empty, \".\" or \"..\", nor hold / or %%",
					 value != NULL ? value : "", part, t->res->kind);
}

static int target_path(const struct target *t, bool wants_ns, struct buf *out, struct error *err)
{
	if (t->res->namespaced && (wants_ns || t->ns != NULL) && check_part(t, "namespace", t->ns, err) < 0)
		return -err->code;
	if (t->name != NULL && check_part(t, "name", t->name, err) < 0)
		return -err->code;
	kube_path(t->res, t->ns, t->name, t->subresource, out);
	return 0;
}

// Sends it, and hands the answer's body on.
static int ask(struct kube_client *c, const struct kube_request *req, json_t **ret, struct error *err)
{
	CLEANUP_KUBE_RESPONSE struct kube_response r = {0};
	if (kube_do(c, req, &r, err) < 0)
		return -err->code;
	if (ret == NULL)
		return 0;
	if (!json_is_object(r.body))
		return error_set(err, EIO, "%s %.*s: answered %d without an object; is the server an API server?", req->method,
						 (int)strcspn(req->path, "?"), req->path, r.status.http);
	*ret = TAKE_PTR(r.body);
	return 0;
}

int kube_get(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name, json_t **ret,
			 struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, name, NULL}, true, &path, err) < 0)
		return -err->code;
	return ask(c, &(struct kube_request){.method = "GET", .path = buf_z(&path)}, ret, err);
}

// ---- Lists

struct listing {
	struct kube_client *c;
	const struct kube_resource *res;
	const struct kube_selector *sel;
	const char *collection; // path
	int limit;              // objects a page; 0: all at once
	char *next;             // token
	char *resource_version;
};

static void listing_release(struct listing *l)
{
	free(l->next);
	free(l->resource_version);
}

static int ask_for_page(const struct listing *l, json_t **ret, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	char limit[16];
	(void)snprintf(limit, sizeof(limit), "%d", l->limit);
	buf_addz(&path, l->collection);
	kube_path_query(&path, "labelSelector", l->sel->labels);
	kube_path_query(&path, "fieldSelector", l->sel->fields);
	kube_path_query(&path, "limit", l->limit > 0 ? limit : NULL);
	kube_path_query(&path, "continue", l->next);
	if (!buf_ok(&path))
		return error_set(err, EINVAL, "GET %s: selectors and token make a path longer than %zu bytes", l->collection,
						 KUBE_PATH_MAX);
	const struct kube_request req = {
		.method = "GET", .path = buf_z(&path), .accept = l->sel->metadata_only ? METADATA_LIST : NULL};
	return ask(l->c, &req, ret, err);
}

// What list holds is borrowed by page.
static int read_page(const struct listing *l, json_t **ret_list, struct kube_list_page *ret, struct error *err)
{
	int rc = ask_for_page(l, ret_list, err);
	if (rc < 0)
		return rc;
	if (kube_list_page_read(*ret_list, l->res, ret, err) < 0)
		return error_prefix(err, "GET %s", l->collection);
	return rc;
}

static void advance(struct listing *l, const struct kube_list_page *p)
{
	free(l->next);
	l->next = p->next != NULL ? xstrdup(p->next) : NULL;
	free(l->resource_version);
	l->resource_version = xstrdup(p->resource_version);
}

// Whether there is another way to what could not be had.
static bool recover(struct listing *l, int code, void (*restart)(void *ctx), void *ctx)
{
	if (code == EFBIG && l->limit > 1) {
		l->limit = l->limit > PAGE_SHRINK ? l->limit / PAGE_SHRINK : 1; // the same page, of fewer objects
		return true;
	}
	if (code != ESTALE || l->next == NULL)
		return false;
	if (restart != NULL)
		restart(ctx);
	free(TAKE_PTR(l->next));
	l->limit = 0;
	return true;
}

int kube_list(struct kube_client *c, const struct kube_resource *res, const char *ns, const struct kube_selector *sel,
			  kube_page_fn page, void (*restart)(void *ctx), void *ctx, char **ret_resource_version, struct error *err)
{
	static const struct kube_selector all = {0};
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, NULL, NULL}, false, &path, err) < 0)
		return -err->code;
	CLEANUP(listing_release)
	struct listing l = {.c = c, .res = res, .sel = sel != NULL ? sel : &all, .collection = buf_z(&path)};
	l.limit = l.sel->page > 0 ? l.sel->page : KUBE_PAGE;
	for (unsigned pages = 0; pages < KUBE_PAGES_MAX; pages++) {
		json_auto_t *list = NULL;
		CLEANUP(kube_list_page_release) struct kube_list_page p = {0};
		if (read_page(&l, &list, &p, err) < 0) {
			if (!recover(&l, err->code, restart, ctx))
				return -err->code;
			continue;
		}
		if (page(ctx, p.items, err) < 0)
			return -err->code;
		advance(&l, &p);
		if (l.next != NULL)
			continue;
		if (ret_resource_version != NULL)
			*ret_resource_version = TAKE_PTR(l.resource_version);
		return 0;
	}
	return error_set(err, EIO, "GET %s: the list has not ended after %d pages", buf_z(&path), KUBE_PAGES_MAX);
}

// ---- Writing

// As ask(), of what changes something.
static int write_to(struct kube_client *c, const struct kube_resource *res, enum kind_verb verb,
					const struct kube_request *req, json_t **ret, struct error *err)
{
	int rc = ask(c, req, ret, err);
	if (rc == 0)
		kind_metrics_wrote(res, verb);
	return rc;
}

int kube_create(struct kube_client *c, const struct kube_resource *res, const char *ns, const json_t *object,
				json_t **ret, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, NULL, NULL}, true, &path, err) < 0)
		return -err->code;
	const struct kube_request req = {.method = "POST", .path = buf_z(&path), .body = object};
	return write_to(c, res, KIND_CREATE, &req, ret, err);
}

// Twice is not once more where the second finds another resourceVersion.
static bool says_version(const json_t *object)
{
	return kube_resource_version(object)[0] != '\0';
}

int kube_update(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
				const char *subresource, const json_t *object, json_t **ret, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, name, subresource}, true, &path, err) < 0)
		return -err->code;
	const struct kube_request req = {
		.method = "PUT", .path = buf_z(&path), .body = object, .repeatable = says_version(object)};
	return write_to(c, res, KIND_UPDATE, &req, ret, err);
}

int kube_patch_merge(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
					 const char *subresource, const json_t *patch, json_t **ret, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, name, subresource}, true, &path, err) < 0)
		return -err->code;
	const struct kube_request req = {
		.method = "PATCH",
		.path = buf_z(&path),
		.body = patch,
		.content_type = MERGE_PATCH,
		.repeatable = says_version(patch),
	};
	return write_to(c, res, KIND_PATCH, &req, ret, err);
}

int kube_apply(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *subresource,
			   const json_t *object, const char *field_manager, bool force, json_t **ret, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, kube_name(object), subresource}, true, &path, err) < 0)
		return -err->code;
	kube_path_query(&path, "fieldManager", field_manager);
	kube_path_query(&path, "force", force ? "true" : "false");
	const struct kube_request req = {
		.method = "PATCH",
		.path = buf_z(&path),
		.body = object,
		.content_type = APPLY_PATCH,
		.repeatable = true,
	};
	return write_to(c, res, KIND_APPLY, &req, ret, err);
}

int kube_delete(struct kube_client *c, const struct kube_resource *res, const char *ns, const char *name,
				const char *uid, const char *resource_version, const char *propagation, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	if (target_path(&(struct target){res, ns, name, NULL}, true, &path, err) < 0)
		return -err->code;
	json_auto_t *options =
		json_pack("{s:s, s:s, s:{s:s*, s:s*}, s:s*}", "apiVersion", "v1", "kind", "DeleteOptions", "preconditions",
				  "uid", uid, "resourceVersion", resource_version, "propagationPolicy", propagation);
	if (options == NULL)
		return error_set(err, EINVAL, "DELETE %s: uid, resourceVersion and propagation must be UTF-8", buf_z(&path));
	const struct kube_request req = {
		.method = "DELETE",
		.path = buf_z(&path),
		.body = options,
		.repeatable = uid != NULL || resource_version != NULL,
	};
	return write_to(c, res, KIND_DELETE, &req, NULL, err);
}

// ---- What the cluster has

int kube_has_resource(struct kube_client *c, const struct kube_resource *res, struct error *err)
{
	CLEANUP_BUF
	struct buf path = BUF_INIT(KUBE_PATH_MAX);
	kube_group_path(res, &path);
	json_auto_t *list = NULL;
	int rc = ask(c, &(struct kube_request){.method = "GET", .path = buf_z(&path)}, &list, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	size_t i;
	const json_t *entry;
	json_array_foreach (json_object_get(list, "resources"), i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		if (name != NULL && strcmp(name, res->plural) == 0)
			return 1;
	}
	return 0;
}

// "1", "20+".
static int read_number(const json_t *answer, const char *key, int *ret)
{
	const char *text = json_string_value(json_object_get(answer, key));
	if (text == NULL || !isdigit((unsigned char)text[0]) || strlen(text) > 6)
		return -EINVAL;
	*ret = (int)strtol(text, NULL, 10);
	return 0;
}

int kube_server_version(struct kube_client *c, struct kube_version *ret, struct error *err)
{
	json_auto_t *answer = NULL;
	if (ask(c, &(struct kube_request){.method = "GET", .path = "/version"}, &answer, err) < 0)
		return -err->code;
	struct kube_version v = {0};
	const char *git = json_string_value(json_object_get(answer, "gitVersion"));
	if (read_number(answer, "major", &v.major) < 0 || read_number(answer, "minor", &v.minor) < 0)
		return error_set(err, EIO, "GET /version: the answer has no major and minor version");
	(void)snprintf(v.git, sizeof(v.git), "%s", git != NULL ? git : "");
	text_sanitize(v.git);
	*ret = v;
	return 0;
}
