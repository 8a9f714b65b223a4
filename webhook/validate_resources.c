#include "webhook/validate_resources.h"

#include <errno.h>

#include "common/names.h"
#include "common/profile.h"
#include "common/quantity.h"

#define RESOURCE "confidentialprofiles"
#define KIND "ConfidentialProfile"
#define VERSION "v1alpha1"

static void deny(struct decision *d, const char *cause, int code, const char *message)
{
	*d = (struct decision){.verdict = VERDICT_DENIED, .cause = cause, .code = code, .message = message};
}

static void allow(struct decision *d, const char *cause)
{
	*d = (struct decision){.verdict = VERDICT_LEFT_ALONE, .cause = cause};
}

static void warn(struct decision *d, const char *text)
{
	if (d->nwarnings < WARNINGS_LIMIT)
		d->warnings[d->nwarnings++] = text;
}

// ---- What is allowed, but dangerous or useless

static void warn_of_policy(const struct profile_spec *s, struct decision *d)
{
	if (s->initdata.agent_policy.preset == AGENT_POLICY_ALLOW_ALL)
		warn(d, "spec.initdata.agentPolicy.preset AllowAll lets whoever controls the host run commands in the guest "
				"(kubectl "
				"exec) and read what it holds: let Trustee release no real secret to this initdata");
	if (s->admission.foreign_annotations == STRICT_WARN)
		warn(d, "spec.admission.foreignAnnotations Warn lets whoever writes a Task or TaskRun change how the guest is "
				"made, "
				"by annotations " KATA_PREFIX "*; Deny is the default");
}

static void warn_of_url(const struct profile_spec *s, struct decision *d)
{
	static const char http[] = "http://";
	if (s->initdata.kbs_given && strncmp(s->initdata.kbs.url, http, sizeof(http) - 1) == 0)
		warn(d, "spec.initdata.kbs.url is plain http: guests can't tell the KBS from whoever answers in its place; use "
				"https, with caBundle or caConfigMapRef for a CA of your own");
}

// Names that runtimes' own installers give to classes without a TEE.
static bool is_open_class(const char *name)
{
	static const char *const names[] = {
		"runc",
		"crun",
		"youki",
		"nvidia",
		"runsc",
		"gvisor",
		"kata",
		"kata-fc",
		"kata-qemu",
		"kata-qemu-runtime-rs",
		"kata-clh",
		"kata-clh-runtime-rs",
		"kata-dragonball",
		"kata-stratovirt",
		"kata-qemu-nvidia-gpu",
		"kata-qemu-coco-dev",
		"kata-qemu-coco-dev-runtime-rs",
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void warn_of_classes(const struct profile_spec *s, struct arena *arena, struct decision *d)
{
	if (is_open_class(s->runtime_class))
		warn(d,
			 arena_printf(arena,
						  "spec.runtimeClassName \"%s\" is known as a class without confidential VMs: pods would run "
						  "unprotected, under the name of protection",
						  s->runtime_class));
	for (size_t i = 0; i < json_array_size(s->allowed_runtime_classes); i++) {
		const char *name = json_string_value(json_array_get(s->allowed_runtime_classes, i));
		if (is_open_class(name))
			warn(d,
				 arena_printf(arena,
							  "spec.allowedRuntimeClasses[%zu] \"%s\" is known as a class without confidential VMs: a "
							  "pod that names it runs unprotected",
							  i, name));
	}
}

static const char *show(struct arena *arena, int64_t bytes)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(32);
	quantity_write(bytes, &text);
	return arena_printf(arena, "%s", buf_z(&text));
}

// The smallest VM of the formula (webhook/sizing.c), for a pod that asks for nothing.
static void warn_of_memory(const struct profile_spec *s, struct arena *arena, struct decision *d)
{
	const struct memory_policy *m = &s->memory;
	int64_t twice = quantity_twice(m->image_size);
	int64_t all = quantity_add(m->image_size, m->base);
	int64_t least = twice > all ? twice : all;
	if (m->mode == MEMORY_AUTO && m->max < least)
		warn(d,
			 arena_printf(arena,
						  "spec.memory.max is %s, but images of %s (imageSize) need a VM of %s: every pod that doesn't "
						  "say how large its images are is denied; raise max or lower imageSize",
						  show(arena, m->max), show(arena, m->image_size), show(arena, least)));
	if (m->mode == MEMORY_FIXED && m->vm < least)
		warn(d,
			 arena_printf(arena,
						  "spec.memory.vm is %s, but images of %s (imageSize) need a VM of %s: larger images fail to "
						  "unpack in the guest; raise vm, or lower imageSize if yours are small",
						  show(arena, m->vm), show(arena, m->image_size), show(arena, least)));
}

static void warn_of_all(const struct profile_spec *s, struct arena *arena, struct decision *d)
{
	warn_of_policy(s, d);
	warn_of_url(s, d);
	warn_of_memory(s, arena, d);
	warn_of_classes(s, arena, d);
}

// ---- What is refused

// No ConfigMap is there when a profile is judged: it may be applied a moment later, from the same folder.
static struct str no_config_map(void *ctx, const char *ns, const char *name, const char *key, struct error *err)
{
	(void)ctx;
	(void)error_set(err, ENOENT, "ConfigMap \"%s\" of namespace \"%s\", key \"%s\"", name, ns, key);
	return (struct str){0};
}

static bool is_usable(json_t *profile, const char *ns, struct error *err)
{
	struct profile *p = profile_compile(profile, ns, no_config_map, NULL, err);
	bool waits = p == NULL && (err->code == ENOENT || err->code == ENXIO);
	profile_unref(p);
	return p != NULL || waits;
}

static void judge(json_t *now, const json_t *old, const char *ns, struct arena *arena, struct decision *ret)
{
	struct error err;
	struct profile_spec spec;
	if (is_usable(now, ns, &err) && profile_decode(now, &spec, &err) == 0) {
		allow(ret, "ProfileValid");
		warn_of_all(&spec, arena, ret);
		return;
	}
	// It was stored before this rule, or past it: who adds a label or takes a finalizer off can't help it.
	const json_t *spec_now = json_object_get(now, "spec");
	if (json_equal(spec_now, json_object_get(old, "spec"))) {
		allow(ret, "SpecUnchanged");
		warn(ret, arena_printf(arena, "the profile is not valid, as before: %s", err.msg));
		return;
	}
	deny(ret, "ProfileInvalid", 422, arena_printf(arena, "%s", err.msg));
}

static bool is_profile(const struct review *r)
{
	return str_is(r->group, NAME_GROUP) && str_is(r->version, VERSION) && str_is(r->resource, RESOURCE);
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

static void validate_profile(const struct review *r, struct arena *arena, struct decision *ret)
{
	const char *why = r->object_text.p == NULL ? "request.object is missing; there is no profile to judge" : NULL;
	CLEANUP(cleanup_json) json_t *now = load_object(r->object_text, "request.object", arena, &why);
	CLEANUP(cleanup_json) json_t *old = load_object(r->old_object_text, "request.oldObject", arena, &why);
	if (!str_is(r->kind, KIND))
		why = arena_printf(arena, "request.kind.kind is \"%.*s\"; for " RESOURCE " it must be " KIND, STR_ARG(r->kind));
	if (why != NULL)
		deny(ret, "Unfit", 400, why);
	else if (old != NULL && is_going(now))
		allow(ret, "Deleting");
	else
		judge(now, old, ARENA_JOIN(arena, r->ns).p, arena, ret);
}

void validate_resource(const struct review *r, struct arena *arena, struct decision *ret)
{
	if (!is_profile(r))
		deny(ret, "Unfit", 400,
			 arena_printf(
				 arena,
				 "coco-webhook was asked about \"%.*s\" of group \"%.*s\", version \"%.*s\"; /validate-resources "
				 "takes " RESOURCE " of " NAME_GROUP_VERSION ": correct the rules of the webhook configuration",
				 STR_ARG(r->resource), STR_ARG(r->group), STR_ARG(r->version)));
	else if (r->sub_resource.n > 0 || !(str_is(r->operation, "CREATE") || str_is(r->operation, "UPDATE")))
		allow(ret, "NotOurs");
	else
		validate_profile(r, arena, ret);
}
