#include "cli/render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/secret.h"
#include "controller/drift.h"
#include "controller/kbs_pairs.h"
#include "controller/kbs_render.h"
#include "controller/object_diff.h"
#include "controller/object_digest.h"
#include "controller/trustee_rules.h"

// One pass, after the one whose results are in `before`.
struct pass {
	const struct render_input *in;
	const struct render *before;
	struct catalog *catalog;
	struct render_trustee *t;          // the one at hand
	const struct render_trustee *last; // the same, in `before`; NULL in the first pass
	const char *ns;
	const struct trustee_spec *spec; // of the TrusteeConfig at hand; NULL where it is a KbsConfig
	json_t *found;                   // "Kind/name" to an object that is needed
};

static json_t *shared(const json_t *v)
{
	return json_incref((json_t *)(uintptr_t)v);
}

static const char *kind_of(const json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	return kind != NULL ? kind : "";
}

static bool is_trustee_config(const json_t *object)
{
	return strcmp(kind_of(object), KUBE_TRUSTEE_CONFIGS.kind) == 0;
}

// ---- What there is

// What the last pass has rendered; NULL where it has rendered no such object.
static const json_t *find_rendered(const struct render *r, const struct kube_resource *res, const char *ns,
								   const char *name)
{
	const json_t *found = NULL;
	for (size_t i = 0; i < r->n && found == NULL; i++) {
		const struct render_trustee *t = &r->v[i];
		if (strcmp(kube_namespace(t->object), ns) != 0)
			continue;
		const struct rendered *all[] = {&t->tc.objects, &t->kbs, &t->endpoint};
		for (size_t k = 0; k < sizeof(all) / sizeof(all[0]) && found == NULL; k++)
			found = rendered_find(all[k], res, name);
	}
	return found;
}

// A file's object after the rendered one was applied; new, NULL where there is neither.
static json_t *merged(const json_t *file, const json_t *rendered)
{
	if (file != NULL && rendered != NULL)
		return object_merge(file, rendered);
	return file != NULL ? shared(file) : rendered != NULL ? shared(rendered) : NULL;
}

// What an admin has set in a KbsConfig, as far as that can be told without knowing who set what: of one that we have made, the
// fields that are an admin's to change. New; NULL for nothing.
static json_t *admins_part(const json_t *kbs)
{
	static const char *const theirs[] = {"KbsDeploymentSpec", "KbsEnvVars", "kbsSecretResources",
										 "kbsLocalCertCacheSpec"};
	if (kbs == NULL || !rendered_is_ours(kbs))
		return kbs != NULL ? shared(kbs) : NULL;
	// One that was printed has nothing else in it than we do now.
	if (kube_uid(kbs)[0] == '\0')
		return NULL;
	json_t *part = json_deep_copy(kbs);
	const json_t *from = json_object_get(part, "spec");
	json_t *spec = json_object();
	for (size_t i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		if (json_object_get(from, theirs[i]) != NULL)
			(void)json_object_set(spec, theirs[i], json_object_get(from, theirs[i]));
	json_t *env = json_object_get(spec, "KbsEnvVars");
	const char *level = json_string_value(json_object_get(env, LOG_VARIABLE));
	const char *ours = kube_annotation(kbs, ANNOTATION_LOG_LEVEL);
	if (level != NULL && ours != NULL && strcmp(level, ours) == 0)
		(void)json_object_del(env, LOG_VARIABLE);
	(void)json_object_set_new(part, "spec", spec);
	return part;
}

// The KbsConfig of a TrusteeConfig, after the rendered one was applied; new, NULL for none.
static json_t *find_kbs(const struct pass *p, const char *name, const json_t *rendered)
{
	const json_t *file = objects_get(p->in->objects, &KUBE_KBS_CONFIGS, p->ns, name);
	// Where it is only kept, the live one is what there is.
	if (rendered == NULL)
		return merged(file, NULL);
	json_t *part = admins_part(file);
	json_t *all = merged(part, rendered);
	json_decref(part);
	return all;
}

static void keep_found(struct pass *p, const struct kube_resource *res, const char *name, json_t *object)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	if (object != NULL)
		(void)json_object_set_new(p->found, id, object);
}

// For rendering a TrusteeConfig: whole objects. Rendered ones were made of the files'.
static void find_whole(void *ctx, const struct kube_resource *res, const char *name)
{
	struct pass *p = ctx;
	const json_t *file = objects_get(p->in->objects, res, p->ns, name);
	const json_t *rendered = find_rendered(p->before, res, p->ns, name);
	if (res == &KUBE_KBS_CONFIGS)
		keep_found(p, res, name, find_kbs(p, name, rendered));
	else
		keep_found(p, res, name, merged(rendered == NULL ? file : NULL, rendered));
}

// Whether others have changed it, and spec.driftPolicy leaves it so: then the pods have that.
static bool stays_edited(const struct pass *p, const json_t *file, const json_t *rendered)
{
	CLEANUP_BUF struct buf where = BUF_INIT(ERROR_MSG_MAX);
	if (file == NULL || rendered == NULL || p->spec == NULL)
		return false;
	enum drift_verdict verdict = drift_judge(file, rendered, p->spec->hosting.drift, /* settled= */ false, &where);
	return verdict == DRIFT_NONE || verdict == DRIFT_REPORT;
}

// For rendering a KbsConfig: all digested, from this pass already where the TrusteeConfig has rendered it.
static void find_digested(void *ctx, const struct kube_resource *res, const char *name)
{
	struct pass *p = ctx;
	const json_t *file = objects_get(p->in->objects, res, p->ns, name);
	const json_t *rendered = rendered_find(&p->t->tc.objects, res, name);
	if (rendered == NULL)
		rendered = find_rendered(p->before, res, p->ns, name);
	json_t *file_digested = file != NULL ? object_digest(file) : NULL;
	json_t *rendered_digested = rendered != NULL ? object_digest(rendered) : NULL;
	bool stays = stays_edited(p, file_digested, rendered_digested);
	keep_found(p, res, name, merged(file_digested, stays ? NULL : rendered_digested));
	json_decref(file_digested);
	json_decref(rendered_digested);
}

static int find_profile(void *ctx, const char *ns, const char *name, struct initdata_digests *ret, struct error *err)
{
	const struct pass *p = ctx;
	return trustee_profile_digests(p->catalog, ns, name, ret, err);
}

// What is wrong with a profile that a binding names, a remark says; the others aren't asked about.
static void ignore_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	(void)origin;
	(void)key;
	(void)message;
}

static struct catalog *build_catalog(const struct pass *p)
{
	size_t n = 0;
	struct catalog_document *docs = xcalloc(json_object_size(p->in->objects->by_id) + p->before->n, sizeof(*docs));
	static char nowhere[] = "";
	const char *id;
	json_t *object;
	json_object_foreach (p->in->objects->by_id, id, object) {
		const bool config_map = strcmp(kind_of(object), KUBE_CONFIG_MAPS.kind) == 0;
		const json_t *rendered =
			config_map ? find_rendered(p->before, &KUBE_CONFIG_MAPS, kube_namespace(object), kube_name(object)) : NULL;
		if (rendered == NULL && (config_map || strcmp(kind_of(object), KUBE_CONFIDENTIAL_PROFILES.kind) == 0))
			docs[n++] = (struct catalog_document){.object = object, .origin = nowhere};
	}
	for (size_t i = 0; i < p->before->n; i++)
		if (p->before->v[i].endpoint.n > 0)
			docs[n++] = (struct catalog_document){.object = p->before->v[i].endpoint.v[0].object, .origin = nowhere};
	struct catalog *catalog = catalog_build(docs, n, DEFAULT_SYSTEM_NAMESPACE, NULL, ignore_problem, NULL);
	free(docs);
	return catalog;
}

// All Trustees of a namespace; new.
static json_t *neighbours(const struct objects *o, const char *ns)
{
	json_t *all = json_array();
	const char *id;
	json_t *object;
	json_object_foreach (o->by_id, id, object)
		if ((is_trustee_config(object) || strcmp(kind_of(object), KUBE_KBS_CONFIGS.kind) == 0) &&
			strcmp(kube_namespace(object), ns) == 0)
			(void)json_array_append(all, object);
	return all;
}

// ---- KbsConfig

static bool is_fit(struct pass *p, const struct kbs_spec *spec)
{
	struct kbs_pairs pairs;
	p->found = json_object();
	kbs_pairs_needs(spec, find_whole, p);
	kbs_pairs_check(spec, p->found, p->in->now_s, &p->t->kbs_remarks, &pairs);
	json_decref(p->found);
	return !pairs.bad;
}

// What exposes it, as a router or gateway leaves it that has taken the host which is asked for; new.
static json_t *admitted(const char *host)
{
	return json_pack("{s:{s:[{s:s, s:[{s:s, s:s}]}], s:[{s:[{s:s, s:s}]}]}}", "status", "ingress", "host", host,
					 "conditions", "type", "Admitted", "status", "True", "parents", "conditions", "type", "Accepted",
					 "status", "True");
}

// Where guests reach it, as far as files can tell. A host that is asked for is taken for given.
static void find_reach(struct pass *p, const json_t *kbs, const struct kbs_spec *spec)
{
	const struct kube_resource *res = kbs_exposure_resource(kbs_exposure(spec, p->in->world));
	CLEANUP_FREE char *service_name = kbs_service_name(spec);
	CLEANUP_FREE char *name = kbs_exposure_name(spec);
	CLEANUP_REMARKS struct remarks unheard = {0};
	const json_t *service = objects_get(p->in->objects, &KUBE_SERVICES, p->ns, service_name);
	const json_t *exposed = res != NULL ? objects_get(p->in->objects, res, p->ns, name) : NULL;
	const char *host = spec->hosting.exposure.host;
	bool is_live = json_object_get(res != NULL ? exposed : service, "status") != NULL;
	json_t *made_up = res != NULL && host != NULL && !is_live ? admitted(host) : NULL;
	p->t->exposed = res != NULL;
	p->t->url = kbs_url(kbs, spec, p->in->world, service, made_up != NULL ? made_up : exposed,
						is_live ? &p->t->kbs_remarks : &unheard);
	json_decref(made_up);
}

static void render_objects(struct pass *p, const json_t *kbs, const struct kbs_spec *spec)
{
	CLEANUP_FREE char *deployment = kbs_deployment_name(spec);
	bool hold = !is_trustee_config(p->t->object) && !is_fit(p, spec);
	p->found = json_object();
	kbs_needs(kbs, spec, find_digested, p);
	const struct kbs_render_input in = {
		.object = kbs,
		.spec = spec,
		.trustee = p->spec,
		.objects = p->found,
		.deployment = objects_get(p->in->objects, &KUBE_DEPLOYMENTS, p->ns, deployment),
		.hold = hold,
		.world = p->in->world,
	};
	kbs_render(&in, &p->t->kbs, &p->t->kbs_remarks);
	json_decref(p->found);
	find_reach(p, kbs, spec);
	if (!is_trustee_config(p->t->object) || !trustee_can_publish(spec, p->t->url, p->t->tc.ca))
		return;
	trustee_render_endpoint(p->t->object, p->t->url, kbs_speaks_https(spec) ? p->t->tc.ca : NULL, &p->t->endpoint);
}

static void render_kbs(struct pass *p, const json_t *kbs)
{
	struct error err;
	struct kbs_spec *spec = xcalloc(1, sizeof(*spec));
	json_auto_t *counted =
		p->spec != NULL ? trustee_filter_kbs_config(p->t->object, p->spec, kbs, &p->t->kbs_remarks) : shared(kbs);
	if (kbs_decode(counted, spec, &err) == 0)
		render_objects(p, counted, spec);
	else
		remarks_add(&p->t->kbs_remarks, REMARK_ERROR, ABOUT_SPEC, "Invalid", "%s", err.msg);
	free(spec);
}

// ---- TrusteeConfig

static int render_config(struct pass *p, const struct trustee_spec *spec, struct error *err)
{
	bool is_service = false;
	CLEANUP_FREE char *host = trustee_expected_host(spec, p->last != NULL ? p->last->url : NULL,
													p->last != NULL && p->last->exposed, &is_service);
	p->found = json_object();
	p->spec = spec;
	trustee_needs(p->t->object, spec, find_whole, p);
	const struct trustee_render_input in = {
		.object = p->t->object,
		.spec = spec,
		.objects = p->found,
		.profile = find_profile,
		.profile_ctx = p,
		.host = host,
		.host_is_service = is_service,
		.now_s = p->in->now_s,
		.world = p->in->world,
	};
	int rc = trustee_render(&in, &p->t->tc, err);
	json_decref(p->found);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < p->t->tc.nmade; i++)
		(void)json_array_append_new(p->t->made, json_string(p->t->tc.made[i]));
	remarks_append(&p->t->remarks, &p->t->tc.remarks);
	CLEANUP_FREE char *name = xasprintf("%s%s", kube_name(p->t->object), KBS_CONFIG_SUFFIX);
	json_t *kbs = find_kbs(p, name, rendered_find(&p->t->tc.objects, &KUBE_KBS_CONFIGS, name));
	if (kbs != NULL)
		render_kbs(p, kbs);
	json_decref(kbs);
	return 0;
}

static int render_one(struct pass *p, struct error *err)
{
	struct render_trustee *t = p->t;
	struct error why;
	p->ns = kube_namespace(t->object);
	p->spec = NULL;
	t->made = p->last != NULL ? json_incref(p->last->made) : json_array();
	json_auto_t *others = neighbours(p->in->objects, p->ns);
	if (trustee_has_older_rival(t->object, others, &t->remarks))
		return 0;
	if (!is_trustee_config(t->object)) {
		render_kbs(p, t->object);
		return 0;
	}
	struct trustee_spec *spec = xcalloc(1, sizeof(*spec));
	int rc = 0;
	if (trustee_decode(t->object, spec, &why) == 0)
		rc = render_config(p, spec, err);
	else
		remarks_add(&t->remarks, REMARK_ERROR, ABOUT_SPEC, "Invalid", "%s", why.msg);
	free(spec);
	return rc;
}

// ---- Passes

static bool same_objects(const struct rendered *a, const struct rendered *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].resource != b->v[i].resource || strcmp(a->v[i].name, b->v[i].name) != 0 ||
			(a->v[i].object != NULL) != (b->v[i].object != NULL) ||
			(a->v[i].object != NULL && !json_equal(a->v[i].object, b->v[i].object)))
			return false;
	return true;
}

static bool same(const struct render *a, const struct render *b)
{
	bool is_same = a->n == b->n;
	for (size_t i = 0; i < a->n && is_same; i++)
		is_same = same_objects(&a->v[i].tc.objects, &b->v[i].tc.objects) && same_objects(&a->v[i].kbs, &b->v[i].kbs) &&
				  same_objects(&a->v[i].endpoint, &b->v[i].endpoint);
	return is_same;
}

// Whether a KbsConfig is the one that a TrusteeConfig of the files comes to.
static bool has_trustee_config(const struct objects *o, const json_t *kbs)
{
	const char *name = kube_name(kbs);
	size_t n = strlen(name);
	size_t suffix = strlen(KBS_CONFIG_SUFFIX);
	if (n <= suffix || strcmp(name + n - suffix, KBS_CONFIG_SUFFIX) != 0)
		return false;
	CLEANUP_FREE char *of = xstrndup((struct str){name, n - suffix});
	return objects_get(o, &KUBE_TRUSTEE_CONFIGS, kube_namespace(kbs), of) != NULL;
}

static void list_trustees(const struct objects *o, struct render *ret)
{
	const char *id;
	json_t *object;
	*ret = (struct render){.v = xcalloc(json_object_size(o->by_id) + 1, sizeof(*ret->v))};
	json_object_foreach (o->by_id, id, object)
		if (is_trustee_config(object) ||
			(strcmp(kind_of(object), KUBE_KBS_CONFIGS.kind) == 0 && !has_trustee_config(o, object)))
			ret->v[ret->n++].object = object;
}

static int run_pass(const struct render_input *in, const struct render *before, struct render *ret, struct error *err)
{
	struct pass p = {.in = in, .before = before};
	int rc = 0;
	list_trustees(in->objects, ret);
	p.catalog = build_catalog(&p);
	for (size_t i = 0; rc == 0 && i < ret->n; i++) {
		p.t = &ret->v[i];
		p.last = i < before->n ? &before->v[i] : NULL;
		rc = render_one(&p, err);
		if (rc < 0)
			(void)error_prefix(err, "%s %s/%s", kind_of(p.t->object), p.ns, kube_name(p.t->object));
	}
	catalog_unref(p.catalog);
	return rc;
}

int render_trustees(const struct render_input *in, struct render *ret, struct error *err)
{
	*ret = (struct render){0};
	for (int i = 0; i < RENDER_PASSES_MAX; i++) {
		struct render now;
		int rc = run_pass(in, ret, &now, err);
		bool settled = i > 0 && same(ret, &now);
		render_release(ret);
		*ret = now;
		if (rc < 0 || settled)
			return rc;
		if (now.n == 0)
			return error_set(err, ENOENT, "there is no TrusteeConfig and no KbsConfig");
	}
	return error_set(err, ELOOP, "what is rendered still changes after %d passes; please report this",
					 RENDER_PASSES_MAX);
}

void render_release(struct render *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct render_trustee *t = &r->v[i];
		trustee_rendering_release(&t->tc);
		rendered_release(&t->kbs);
		rendered_release(&t->endpoint);
		remarks_release(&t->remarks);
		remarks_release(&t->kbs_remarks);
		json_decref(t->made);
		free(t->url);
	}
	free(r->v);
	*r = (struct render){0};
}
