#include "webhook/validate_resources.h"
#include "webhook/decision.h"

#include "common/kube/resource.h"
#include "common/names.h"
#include "common/trustee.h"
#include "webhook/resource_kind.h"

static const struct resource_kind *const kinds[] = {&RESOURCE_PROFILE, &RESOURCE_TRUSTEE_CONFIG, &RESOURCE_KBS_CONFIG};

void decision_warn(struct decision *d, const char *text)
{
	if (d->nwarnings < WARNINGS_LIMIT)
		d->warnings[d->nwarnings++] = text;
}

static void judge(const struct resource_kind *k, json_t *now, const json_t *old, const char *ns, struct arena *arena,
				  struct decision *ret)
{
	struct error err;
	if (k->check(now, old, ns, &err) == 0) {
		decision_leave(ret, k->valid);
		k->warn(now, arena, ret);
		ret->names_unchecked = k->takes_names != NULL && k->takes_names(now, old);
		return;
	}
	// It was stored before this rule, or past it: who adds a label or takes a finalizer off can't help it.
	const json_t *spec_now = json_object_get(now, "spec");
	if (json_equal(spec_now, json_object_get(old, "spec"))) {
		decision_leave(ret, "SpecUnchanged");
		decision_warn(ret, arena_printf(arena, "the %s is not valid, as before: %s", k->noun, err.msg));
		return;
	}
	decision_deny(ret, k->invalid, 422, arena_printf(arena, "%s", err.msg));
}

static bool is_going(const json_t *object)
{
	return json_is_string(json_object_get(json_object_get(object, "metadata"), "deletionTimestamp"));
}

// New; NULL where there is none or, with why set, where it isn't one.
static json_t *load_object(struct str text, const char *path, struct arena *arena, const char **why)
{
	json_error_t e;
	if (text.p == NULL)
		return NULL;
	json_t *v = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
	if (v == NULL)
		*why = arena_printf(arena, "%s can't be read: %s", path, e.text);
	if (v == NULL || json_is_object(v))
		return v;
	*why = arena_printf(arena, "%s is not an object", path);
	json_decref(v);
	return NULL;
}

static void cleanup_json(json_t **v)
{
	json_decref(*v);
}

static void validate_kind(const struct resource_kind *k, const struct review *r, struct arena *arena,
						  struct decision *ret)
{
	const char *why = NULL;
	if (r->object_text.p == NULL)
		why = arena_printf(arena, "request.object is missing; there is no %s to judge", k->noun);
	CLEANUP(cleanup_json) json_t *now = load_object(r->object_text, "request.object", arena, &why);
	CLEANUP(cleanup_json) json_t *old = load_object(r->old_object_text, "request.oldObject", arena, &why);
	if (!str_is(r->kind, k->kind))
		why = arena_printf(arena, "request.kind.kind is \"%.*s\"; for %s it must be %s", STR_ARG(r->kind), k->resource,
						   k->kind);
	if (why != NULL)
		decision_deny(ret, "Unfit", 400, why);
	else if (old != NULL && is_going(now))
		decision_leave(ret, "Deleting");
	else
		judge(k, now, old, ARENA_JOIN(arena, r->ns).p, arena, ret);
}

static const struct resource_kind *kind_of(const struct review *r)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (str_is(r->group, kinds[i]->group) && str_is(r->version, RESOURCE_VERSION) &&
			str_is(r->resource, kinds[i]->resource))
			return kinds[i];
	return NULL;
}

void validate_resource(const struct review *r, struct arena *arena, struct decision *ret)
{
	const struct resource_kind *k = kind_of(r);
	*ret = (struct decision){0};
	if (k == NULL)
		decision_deny(ret, "Unfit", 400,
					  arena_printf(arena,
								   "coco-webhook was asked about \"%.*s\" of group \"%.*s\", version \"%.*s\"; "
								   "/validate-resources takes confidentialprofiles of " NAME_GROUP_VERSION
								   ", trusteeconfigs and kbsconfigs of " NAME_TRUSTEE_GROUP_VERSION
								   ": correct the rules of the webhook configuration",
								   STR_ARG(r->resource), STR_ARG(r->group), STR_ARG(r->version)));
	else if (r->sub_resource.n > 0 || !(str_is(r->operation, "CREATE") || str_is(r->operation, "UPDATE")))
		decision_leave(ret, "NotOurs");
	else
		validate_kind(k, r, arena, ret);
}

static void deny_rival(const json_t *now, const json_t *rival, struct arena *arena, struct decision *d)
{
	const char *instance = trustee_instance(now);
	const char *dash = instance[0] == '\0' ? "" : "-";
	const char *kind = json_string_value(json_object_get(rival, "kind"));
	// Nothing that was said while it was allowed counts any more.
	*d = (struct decision){0};
	decision_deny(
		d, "NamesTaken", 422,
		arena_printf(
			arena,
			"%s \"%s\" of this namespace has the names %s%strustee-deployment and %s%skbs-service already%s; set "
			"spec.instanceName to another name to run another Trustee beside it, or delete that one",
			kind != NULL ? kind : "", kube_name(rival), instance, dash, instance, dash,
			is_going(rival) ? " (it is being deleted)" : ""));
}

void validate_rivals(const struct review *r, const json_t *others, struct arena *arena, struct decision *d)
{
	const char *fault = NULL;
	d->names_unchecked = false;
	CLEANUP(cleanup_json) json_t *now = load_object(r->object_text, "request.object", arena, &fault);
	if (now == NULL)
		return;
	if (others == NULL) {
		decision_warn(d,
					  "whether another Trustee of this namespace has the same names could not be found out, as the API "
					  "server could not be asked: see condition Ready");
		return;
	}
	const json_t *rival = trustee_rival(now, others);
	if (rival != NULL)
		deny_rival(now, rival, arena, d);
}
