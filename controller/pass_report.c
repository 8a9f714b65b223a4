// Where it is reached, and what its status says.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json_text.h"
#include "common/mem.h"
#include "controller/kbs_render.h"
#include "controller/pass.h"
#include "controller/trustee_render.h"
#include "controller/trustee_rules.h"
#include "controller/trustee_status.h"

// Its own: until 1.21 API servers keep one set of fields for each manager, whichever part of the object it applies. With the
// manager of the spec, a status would have us own nothing else, and no field of a spec would ever go.
#define STATUS_MANAGER MANAGED_BY "-status"

struct reach pass_find_reach(struct pass *p, struct remarks *remarks)
{
	struct reach r = {0};
	enum trustee_exposure exposure = kbs_exposure(p->kbs_spec, &p->world);
	const struct kube_resource *res = kbs_exposure_resource(exposure);
	CLEANUP_FREE char *service_name = kbs_service_name(p->kbs_spec);
	CLEANUP_FREE char *name = kbs_exposure_name(p->kbs_spec);
	json_t *service = view_get(p->t->view, &KUBE_SERVICES, p->ns, service_name);
	r.to_be_exposed = res != NULL;
	r.exposed = res != NULL ? view_get(p->t->view, res, p->ns, name) : NULL;
	r.url = kbs_url(p->kbs, p->kbs_spec, &p->world, service, r.exposed, remarks);
	json_decref(service);
	return r;
}

void reach_release(struct reach *r)
{
	free(r->url);
	json_decref(r->exposed);
}

char *pass_expected_host(struct pass *p, bool *ret_is_service)
{
	CLEANUP_REMARKS struct remarks unheard = {0};
	struct reach r = {0};
	if (p->kbs_spec != NULL)
		r = pass_find_reach(p, &unheard);
	char *host = trustee_expected_host(p->tc_spec, r.url, r.to_be_exposed, ret_is_service);
	reach_release(&r);
	return host;
}

int pass_publish_endpoint(struct pass *p, const char *url, struct error *err)
{
	bool https = kbs_speaks_https(p->kbs_spec);
	CLEANUP_RENDERED struct rendered r = {0};
	if (trustee_can_publish(p->kbs_spec, url, p->state->ca)) {
		trustee_render_endpoint(p->tc, url, https ? p->state->ca : NULL, &r);
	} else {
		CLEANUP_FREE char *name = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, kube_name(p->tc));
		rendered_keep(&r, &KUBE_CONFIG_MAPS, name);
	}
	int rc = pass_sync(p, &r, 0, r.n, p->tc, p->tc_spec->hosting.drift, err);
	// It counts for what the TrusteeConfig's objects are: the next pass finds them as they were left.
	if (rc == 0 && p->state->version[0] != '\0')
		pass_version(p, p->state->version);
	return rc;
}

// ---- Status

// after: has the status that the object has now.
static void tell_ready(const struct pass *p, const json_t *object, const json_t *after, bool starting)
{
	const json_t *before = status_condition(object, "Ready");
	const json_t *now = status_condition(after, "Ready");
	const char *value = json_string_value(json_object_get(now, "status"));
	const char *reason = json_string_value(json_object_get(now, "reason"));
	const char *message = trustee_status_told(after);
	const char *message_before = trustee_status_told(object);
	if (value == NULL || reason == NULL || message == NULL ||
		(message_before != NULL && strcmp(message_before, message) == 0 && json_text_is(before, "reason", reason)))
		return;
	// That something new is being made is no news yet: whether it comes to run is.
	if (starting && before == NULL)
		return;
	const bool fine = starting || strcmp(value, "True") == 0;
	kube_event(p->t->config.events, object, fine ? EVENT_NORMAL : EVENT_WARNING, reason, "Reconcile", message);
}

static int write_status(struct pass *p, const struct kube_resource *res, const json_t *object, json_t *status,
						struct error *err)
{
	json_auto_t *patch = json_pack("{s:O, s:O, s:{s:s, s:s}, s:O}", "apiVersion", json_object_get(object, "apiVersion"),
								   "kind", json_object_get(object, "kind"), "metadata", "name", kube_name(object),
								   "namespace", p->ns, "status", status);
	json_auto_t *answer = NULL;
	int rc = kube_apply(p->t->config.client, res, p->ns, "status", patch, STATUS_MANAGER, true, &answer, err);
	// It was deleted meanwhile, or the API server has just started and doesn't know the kind yet: the next pass sees which.
	if (rc == -ENOENT) {
		p->failed = true;
		return 0;
	}
	if (rc < 0)
		return rc;
	view_wrote(p->t->view, res, p->ns, kube_name(object), object, /* between= */ NULL, answer);
	return 0;
}

static bool says(const json_t *object, const char *type)
{
	return json_text_is(status_condition(object, type), "status", "True");
}

// For metrics. object: has the status.
static void note_status(struct pass *p, const json_t *object)
{
	const struct trustee_told told = {
		.known = true,
		.ready = says(object, "Ready"),
		.synced = says(object, "ResourcesSynced"),
		.not_after_s = p->not_after_s,
	};
	trustee_metrics_told(p->t, p->state, &told);
}

// tell: it is the one that the pass is about.
static int report(struct pass *p, const struct kube_resource *res, const json_t *object,
				  const struct trustee_status_input *about, bool tell, struct error *err)
{
	struct trustee_status_input in = *about;
	in.object = object;
	in.objects = object == p->tc ? p->tc_objects : p->kbs_objects;
	// That it starts, the TrusteeConfig says.
	bool starting = trustee_is_starting(&in);
	if (starting && !tell && status_condition(object, "Ready") == NULL)
		return 0;
	json_t *status = trustee_status(&in);
	if (status == NULL) {
		if (tell)
			note_status(p, object);
		return 0;
	}
	int rc = write_status(p, res, object, status, err);
	if (rc == 0 && tell) {
		json_auto_t *after = json_pack("{s:O}", "status", status);
		note_status(p, after);
		tell_ready(p, object, after, starting);
	}
	json_decref(status);
	return rc;
}

int pass_report(struct pass *p, const struct reach *reach, struct error *err)
{
	char now[CLOCK_TEXT_MAX];
	clock_text(clock_wall_ms(p->t->config.clock) * 1000, 0, now);
	CLEANUP_FREE char *deployment_name = p->kbs_spec != NULL ? kbs_deployment_name(p->kbs_spec) : NULL;
	json_auto_t *deployment =
		deployment_name != NULL ? view_get(p->t->view, &KUBE_DEPLOYMENTS, p->ns, deployment_name) : NULL;
	json_auto_t *pods = p->kbs != NULL ? view_pods(p->t->view, p->ns, kube_name(p->kbs)) : NULL;
	const struct trustee_status_input in = {
		.kbs = p->kbs,
		.remarks = &p->remarks,
		.deployment = deployment,
		.pods = pods,
		.https = p->kbs_spec != NULL && kbs_speaks_https(p->kbs_spec),
		.exposed = reach->to_be_exposed,
		.permissive = p->tc_spec != NULL && p->tc_spec->profile == TRUSTEE_PERMISSIVE,
		.synced = !p->failed && !p->held_back && remarks_worst(&p->remarks, REMARK_ERROR, -1) == NULL,
		.url = reach->url,
		.not_after_s = p->not_after_s,
		.now = now,
	};
	int rc = p->tc != NULL ? report(p, &KUBE_TRUSTEE_CONFIGS, p->tc, &in, true, err) : 0;
	if (rc == 0 && p->kbs != NULL)
		rc = report(p, &KUBE_KBS_CONFIGS, p->kbs, &in, p->tc == NULL, err);
	return rc;
}
