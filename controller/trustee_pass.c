// One pass over a TrusteeConfig with its KbsConfig, or over a KbsConfig alone: render, compare, apply, report.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/secret.h"
#include "controller/kbs_render.h"
#include "controller/object_digest.h"
#include "controller/pass.h"
#include "controller/takeover.h"
#include "controller/trustee_render.h"
#include "controller/trustee_rules.h"

// A namespace's Secrets are listed in a moment, or something is wrong.
#define LISTING_MS 3000
#define REFUSED_FIRST_MS ((int64_t)1000)
#define REFUSED_DOUBLINGS 9
// Of a KbsConfig that was upstream's, until all of it is ours: where we are stopped halfway, the next pass goes on.
#define ANNOTATION_TAKING_OVER NAME_GROUP "/taking-over"

// ---- The TrusteeConfig's objects

static json_t *kbs_config_now(const struct pass *p)
{
	CLEANUP_FREE char *name = xasprintf("%s%s", kube_name(p->tc), KBS_CONFIG_SUFFIX);
	return view_get(p->t->view, &KUBE_KBS_CONFIGS, p->ns, name);
}

static void decode_kbs(struct pass *p, bool remark)
{
	struct error err;
	free(p->kbs_spec);
	p->kbs_spec = NULL;
	json_decref(p->kbs_counted);
	p->kbs_counted = NULL;
	if (p->kbs == NULL)
		return;
	CLEANUP_REMARKS struct remarks unheard = {0};
	p->kbs_counted = p->tc_spec != NULL
						 ? trustee_filter_kbs_config(p->tc, p->tc_spec, p->kbs, remark ? &p->remarks : &unheard)
						 : json_incref(p->kbs);
	p->kbs_spec = xcalloc(1, sizeof(*p->kbs_spec));
	if (kbs_decode(p->kbs_counted, p->kbs_spec, &err) == 0)
		return;
	free(p->kbs_spec);
	p->kbs_spec = NULL;
	if (remark)
		remarks_add(&p->remarks, REMARK_ERROR, ABOUT_SPEC, "Invalid", "KbsConfig \"%s\": %s", kube_name(p->kbs),
					err.msg);
}

// Takes the KbsConfig as it is now.
static void look_at_kbs_again(struct pass *p, bool remark)
{
	json_t *kbs = kbs_config_now(p);
	json_decref(p->kbs);
	p->kbs = kbs;
	decode_kbs(p, remark);
}

static json_t *digests_of(const struct rendered *r, size_t n)
{
	json_t *all = json_object();
	for (size_t i = 0; i < n; i++) {
		CLEANUP_FREE char *id = xasprintf("%s/%s", r->v[i].resource->kind, r->v[i].name);
		if (r->v[i].object != NULL)
			(void)json_object_set_new(all, id, object_digest(r->v[i].object));
	}
	return all;
}

// ConfigMaps come first in a rendering, and the KbsConfig last.
static size_t first_secret(const struct rendered *r)
{
	size_t i = 0;
	while (i < r->n && r->v[i].resource == &KUBE_CONFIG_MAPS)
		i++;
	return i;
}

// Of a new Trustee, what makes the Deployment what it is comes first: the KbsConfig, which owns it, and Secrets, whose keys
// would be others the next time. ConfigMaps are rendered the same each time: pods are being scheduled while they are made, and
// can't start before, as there are none yet. What there is to say of it, the pass says when it comes to it.
static int begin(struct pass *p, const struct trustee_rendering *r, struct error *err)
{
	size_t first = first_secret(&r->objects);
	int rc = pass_sync(p, &r->objects, first, r->objects.n, p->tc, p->tc_spec->hosting.drift, err);
	if (rc < 0 || p->failed)
		return rc;
	struct remarks before = p->remarks;
	p->remarks = (struct remarks){0};
	look_at_kbs_again(p, /* remark= */ false);
	p->planned = digests_of(&r->objects, first);
	rc = p->kbs_spec != NULL ? pass_kbs(p, err) : 0;
	json_decref(p->planned);
	p->planned = NULL;
	if (p->failed)
		remarks_append(&before, &p->remarks);
	remarks_release(&p->remarks);
	p->remarks = before;
	return rc < 0 ? rc : 0;
}

// One whose KbsConfig was deleted has a past: objects that are there may not be as they were rendered.
static bool is_new(const struct pass *p)
{
	CLEANUP_FREE char *name = xasprintf("%s%s", kube_name(p->tc), KBS_CONFIG_SUFFIX);
	return p->kbs == NULL && !pass_was_applied(p->tc, &KUBE_KBS_CONFIGS, name);
}

struct search {
	const struct rendered *wanted;
	bool found;
};

static int look_for_wanted(void *ctx, const json_t *items, struct error *err)
{
	struct search *x = ctx;
	size_t i = 0;
	const json_t *item = NULL;
	(void)err;
	json_array_foreach (items, i, item) {
		x->found |= rendered_wants(x->wanted, &KUBE_CONFIG_MAPS, kube_name(item));
	}
	return 0;
}

// Whether none of the ConfigMaps is there, be it somebody else's, which the view doesn't follow: the Deployment's pods would
// start with that, and nothing would replace them. Where it can't be told, they come in the ordinary order.
static bool lacks_config_maps(const struct pass *p, const struct rendered *r)
{
	const struct kube_selector all = {.metadata_only = true};
	struct search x = {r, false};
	struct error unheard;
	int rc = kube_list(p->t->config.client, &KUBE_CONFIG_MAPS, p->ns, &all, look_for_wanted, NULL, &x, NULL, &unheard);
	return rc == 0 && !x.found;
}

static int apply_trustee(struct pass *p, struct trustee_rendering *r, struct error *err)
{
	size_t n = r->objects.n;
	size_t last = n > 0 && r->objects.v[n - 1].resource == &KUBE_KBS_CONFIGS ? n - 1 : n;
	int policy = p->tc_spec->hosting.drift;
	int rc = is_new(p) && lacks_config_maps(p, &r->objects) ? begin(p, r, err) : 0;
	if (rc == 0)
		rc = pass_sync(p, &r->objects, 0, last, p->tc, policy, err);
	// What the KbsConfig names is there before it changes. Where something was refused, it stays as it is, and with it the pods:
	// they aren't replaced by some that have only half of what is new.
	if (rc == 0 && !p->failed)
		rc = pass_sync(p, &r->objects, last, n, p->tc, policy, err);
	else if (rc == 0)
		pass_keep(p, &r->objects, last, n, p->tc);
	CLEANUP_FREE char *endpoint = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, kube_name(p->tc));
	rendered_keep(&r->objects, &KUBE_CONFIG_MAPS, endpoint);
	return rc < 0 || p->failed ? rc : pass_prune(p, &r->objects, p->tc, err);
}

static void keep_rendering(struct pass *p, struct trustee_rendering *r, size_t remarks_before)
{
	struct trustee_state *s = p->state;
	remarks_release(&s->remarks);
	for (size_t i = remarks_before; i < p->remarks.n; i++)
		remarks_add(&s->remarks, p->remarks.v[i].level, p->remarks.v[i].about, p->remarks.v[i].reason, "%s",
					p->remarks.v[i].message);
	json_decref(s->objects);
	s->objects = json_copy(p->tc_objects);
	s->not_after_s = r->not_after_s;
	s->look_again_s = r->look_again_s;
	free(s->ca);
	s->ca = TAKE_PTR(r->ca);
}

static json_t *generation_of(const json_t *object)
{
	return json_object_get(json_object_get(object, "metadata"), "generation");
}

// Whether the KbsConfig is another one than the pass has begun with.
static bool was_rewritten(const struct pass *p)
{
	json_auto_t *now = kbs_config_now(p);
	return p->kbs != NULL && json_equal(generation_of(p->kbs), generation_of(now)) == 0;
}

static int render_trustee(struct pass *p, struct error *err)
{
	struct trustee_state *s = p->state;
	size_t remarks_before = p->remarks.n;
	s->version[0] = '\0';
	(void)json_array_clear(p->tc_objects);
	struct pass_reading x = {p, json_object(), 0, err};
	trustee_needs(p->tc, p->tc_spec, pass_read_need, &x);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r = {0};
	const struct trustee_render_input in = {
		.object = p->tc,
		.spec = p->tc_spec,
		.objects = x.objects,
		.profile = pass_find_profile,
		.profile_ctx = p,
		.host = p->host,
		.host_is_service = p->host_is_service,
		.now_s = pass_now_s(p),
		.world = &p->world,
	};
	int rc = x.rc == 0 ? trustee_render(&in, &r, err) : pass_refused(p, x.rc, err);
	bool rendered = x.rc == 0 && rc == 0;
	pass_free_read(x.objects);
	if (!rendered)
		return rc;
	remarks_append(&p->remarks, &r.remarks);
	rc = apply_trustee(p, &r, err);
	if (rc < 0)
		return rc;
	keep_rendering(p, &r, remarks_before);
	// A remark about the KbsConfig is about the one that was read: where that was changed, it is looked at once more.
	bool stale = p->remarks.n > remarks_before && was_rewritten(p);
	if (!p->failed && !stale)
		pass_version(p, s->version);
	return 0;
}

static bool is_due(const struct pass *p)
{
	return p->state->look_again_s != 0 && pass_now_s(p) >= p->state->look_again_s;
}

static int do_trustee(struct pass *p, struct error *err)
{
	struct trustee_state *s = p->state;
	char version[VERSION_MAX];
	pass_read_versions(p);
	pass_version(p, version);
	int rc = 0;
	if (version[0] != '\0' && strcmp(version, s->version) == 0 && !is_due(p)) {
		remarks_append(&p->remarks, &s->remarks);
		(void)json_array_clear(p->tc_objects);
		(void)json_array_extend(p->tc_objects, s->objects);
		p->held_back = remarks_worst(&s->remarks, REMARK_WARNING, ABOUT_RESOURCES) != NULL;
	} else {
		rc = render_trustee(p, err);
	}
	p->not_after_s = s->not_after_s;
	if (s->look_again_s != 0)
		pass_again_in(p, (s->look_again_s - pass_now_s(p)) * 1000);
	return rc;
}

// ---- The pass

static json_t *finalizers_of(const json_t *object)
{
	return json_object_get(json_object_get(object, "metadata"), "finalizers");
}

static bool has_upstream_finalizer(const json_t *kbs)
{
	size_t i = 0;
	const json_t *finalizer = NULL;
	json_array_foreach (finalizers_of(kbs), i, finalizer)
		if (strcmp(json_string_value(finalizer), UPSTREAM_FINALIZER) == 0)
			return true;
	return false;
}

static int patch_metadata(struct pass *p, const json_t *patch, struct error *err)
{
	json_t *answer = NULL;
	int rc =
		kube_patch_merge(p->t->config.client, &KUBE_KBS_CONFIGS, p->ns, kube_name(p->kbs), NULL, patch, &answer, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : pass_refused(p, rc, err);
	view_wrote(p->t->view, &KUBE_KBS_CONFIGS, p->ns, kube_name(p->kbs), p->kbs, /* between= */ NULL, answer);
	json_decref(p->kbs);
	p->kbs = answer;
	return 0;
}

// An annotation takes the place of upstream's finalizer, which nobody's end waits for.
static int drop_upstream_finalizer(struct pass *p, struct error *err)
{
	json_t *rest = json_array();
	size_t i = 0;
	json_t *finalizer = NULL;
	json_array_foreach (finalizers_of(p->kbs), i, finalizer)
		if (strcmp(json_string_value(finalizer), UPSTREAM_FINALIZER) != 0)
			(void)json_array_append(rest, finalizer);
	json_auto_t *patch = json_pack("{s:{s:o, s:s, s:{s:s}}}", "metadata", "finalizers", rest, "resourceVersion",
								   kube_resource_version(p->kbs), "annotations", ANNOTATION_TAKING_OVER, "true");
	return patch_metadata(p, patch, err);
}

static int note_taken_over(struct pass *p, struct error *err)
{
	json_auto_t *patch = json_pack("{s:{s:s, s:{s:n}}}", "metadata", "resourceVersion", kube_resource_version(p->kbs),
								   "annotations", ANNOTATION_TAKING_OVER);
	return patch_metadata(p, patch, err);
}

static bool is_being_deleted(const json_t *object)
{
	return json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL;
}

static bool has_older_rival(struct pass *p)
{
	json_auto_t *others = view_same_instance(p->t->view, p->ns, trustee_instance(p->object));
	return trustee_has_older_rival(p->object, others, &p->remarks);
}

static bool decode_trustee(struct pass *p)
{
	struct error err;
	p->tc_spec = xcalloc(1, sizeof(*p->tc_spec));
	if (trustee_decode(p->tc, p->tc_spec, &err) == 0)
		return true;
	remarks_add(&p->remarks, REMARK_ERROR, ABOUT_SPEC, "Invalid", "%s", err.msg);
	free(p->tc_spec);
	p->tc_spec = NULL;
	return false;
}

static int make(struct pass *p, struct error *err)
{
	if (has_older_rival(p))
		return 0;
	bool good = p->tc == NULL || decode_trustee(p);
	decode_kbs(p, p->tc == NULL);
	if (!good)
		return 0;
	if (p->tc != NULL) {
		// What no certificate is made for, needn't be rendered again when it is known.
		if (p->tc_spec->https_secret != NULL)
			p->host = pass_expected_host(p, &p->host_is_service);
		int rc = do_trustee(p, err);
		if (rc < 0)
			return rc;
		look_at_kbs_again(p, /* remark= */ true);
	}
	return p->kbs_spec != NULL ? pass_kbs(p, err) : 0;
}

static bool has_all(const json_t *names, const json_t *those)
{
	const char *name = NULL;
	const json_t *value = NULL;
	json_object_foreach ((json_t *)(uintptr_t)those, name, value)
		if (json_object_get(names, name) == NULL)
			return false;
	return true;
}

// From now on its key is looked at when one of these changes. What changed since it was read, before that was known, nobody
// has heard of: so it is looked at once more.
static void publish_reads(struct pass *p)
{
	bool bindings = p->tc_spec != NULL && p->tc_spec->nbindings > 0;
	(void)pthread_mutex_lock(&p->t->lock);
	json_t *before = p->state->reads;
	bool more = !has_all(before, p->reads) || (bindings && !p->state->bindings);
	p->state->reads = TAKE_PTR(p->reads);
	p->state->bindings = bindings;
	(void)pthread_mutex_unlock(&p->t->lock);
	json_decref(before);
	if (more)
		pass_again_in(p, 1);
}

static int make_and_report(struct pass *p, struct error *err)
{
	int rc = make(p, err);
	if (rc == 1)
		return 0; // what it refers to isn't listed yet
	if (rc == 0 && p->taking_over && p->kbs_spec != NULL && !p->failed)
		rc = note_taken_over(p, err);
	struct reach reach = {0};
	if (rc == 0 && p->kbs_spec != NULL)
		reach = pass_find_reach(p, &p->remarks);
	if (rc == 0 && p->tc_spec != NULL && p->kbs_spec != NULL)
		rc = pass_publish_endpoint(p, reach.url, err);
	if (rc == 0)
		rc = pass_report(p, &reach, err);
	reach_release(&reach);
	return rc;
}

static int nothing_on_a_page(void *ctx, const json_t *items, struct error *err)
{
	(void)ctx;
	(void)items;
	(void)err;
	return 0;
}

// Whether it may list the Secrets of the namespace; where it may not, the status says so. An informer would ask every half a
// minute, and a RoleBinding tells nobody of itself: it is left to passes, which come ever more rarely, and after each edit.
static int ask_for_secrets(struct pass *p, struct error *err)
{
	struct trustee_state *s = p->state;
	const struct kube_selector one = {.metadata_only = true};
	int rc = kube_list(p->t->config.client, &KUBE_SECRETS, p->ns, &one, nothing_on_a_page, NULL, NULL, NULL, err);
	s->waits_since_ms = 0;
	s->secrets_refused = rc < 0 && !pass_may_work_later(rc);
	if (!s->secrets_refused)
		return rc;
	view_forget(p->t->view, s->key);
	rc = pass_refused(p, rc, err);
	const struct reach nowhere = {0};
	return rc < 0 ? rc : pass_report(p, &nowhere, err);
}

// Secrets of the namespace aren't listed yet. When that takes long, the status says why.
static int wait_for_secrets(struct pass *p, struct error *err)
{
	struct trustee_state *s = p->state;
	int64_t now = clock_mono_ms(p->t->config.clock);
	if (s->waits_since_ms == 0)
		s->waits_since_ms = now;
	if (now - s->waits_since_ms < LISTING_MS) {
		pass_again_in(p, LISTING_MS);
		return 0;
	}
	int rc = ask_for_secrets(p, err);
	if (rc == 0 && !s->secrets_refused)
		pass_again_in(p, REFUSED_AGAIN_MS / 10);
	return rc;
}

// What goes isn't made any more; where something keeps it, the status says what.
static int let_go(struct pass *p, struct error *err)
{
	const struct reach nowhere = {0};
	return p->failed ? pass_report(p, &nowhere, err) : 0;
}

static int run(struct pass *p, struct error *err)
{
	int rc = p->kbs != NULL && has_upstream_finalizer(p->kbs) ? drop_upstream_finalizer(p, err) : 0;
	if (rc < 0)
		return rc;
	if (is_being_deleted(p->object))
		return let_go(p, err);
	p->taking_over = p->kbs != NULL && kube_annotation(p->kbs, ANNOTATION_TAKING_OVER) != NULL;
	if (p->state->secrets_refused) {
		rc = ask_for_secrets(p, err);
		if (rc < 0 || p->state->secrets_refused)
			return rc;
	}
	rc = view_use(p->t->view, p->state->key, p->ns, p->state->config_maps, err);
	if (rc == 1)
		return wait_for_secrets(p, err);
	p->state->waits_since_ms = 0;
	if (rc < 0)
		rc = pass_refused(p, rc, err);
	return rc < 0 ? rc : make_and_report(p, err);
}

// What the API server refuses may be granted later, without anything that we would hear of; one that has just started refuses
// for a moment what it doesn't know yet.
static int64_t refused_again_ms(unsigned before)
{
	int64_t ms = before < REFUSED_DOUBLINGS ? REFUSED_FIRST_MS << before : REFUSED_AGAIN_MS;
	return ms < REFUSED_AGAIN_MS ? ms : REFUSED_AGAIN_MS;
}

static json_t *objects_so_far(const json_t *object)
{
	const json_t *objects = json_object_get(json_object_get(object, "status"), "objects");
	return objects != NULL ? json_copy((json_t *)(uintptr_t)objects) : json_array();
}

int trustee_pass(struct trustees *t, struct trustee_state *state, json_t *tc, json_t *kbs, struct reconcile_result *ret,
				 struct error *err)
{
	struct pass p = {.t = t,
					 .state = state,
					 .tc = tc,
					 .kbs = kbs,
					 .read = json_object(),
					 .versions = json_object(),
					 .reads = json_object()};
	(void)pthread_mutex_lock(&t->lock);
	p.world = t->world;
	(void)pthread_mutex_unlock(&t->lock);
	json_t *object = json_incref(tc != NULL ? tc : kbs);
	p.object = object;
	p.ns = kube_namespace(object);
	// Until it is rendered, it is as it was.
	p.tc_objects = objects_so_far(tc);
	p.kbs_objects = objects_so_far(kbs);
	int rc = run(&p, err);
	publish_reads(&p);
	if (p.failed || (rc < 0 && !pass_may_work_later(rc)))
		pass_again_in(&p, refused_again_ms(state->refusals++));
	else
		state->refusals = 0;
	ret->again_ms = p.again_ms;
	remarks_release(&p.remarks);
	free(p.host);
	free(p.tc_spec);
	free(p.kbs_spec);
	json_decref(p.tc);
	json_decref(p.kbs);
	json_decref(p.kbs_counted);
	json_decref(p.reads);
	json_decref(p.read);
	json_decref(p.versions);
	json_decref(p.tc_objects);
	json_decref(p.kbs_objects);
	json_decref(object);
	return rc;
}
