#include <errno.h>

#include "common/names.h"
#include "common/profile.h"
#include "common/quantity.h"
#include "webhook/resource_kind.h"

// ---- What is allowed, but dangerous or useless

static void warn_of_policy(const struct profile_spec *s, struct decision *d)
{
	if (s->initdata.agent_policy.preset == AGENT_POLICY_ALLOW_ALL)
		decision_warn(
			d, "spec.initdata.agentPolicy.preset AllowAll lets whoever controls the host run commands in the guest "
			   "(kubectl "
			   "exec) and read what it holds: let Trustee release no real secret to this initdata");
	if (s->admission.foreign_annotations == STRICT_WARN)
		decision_warn(
			d, "spec.admission.foreignAnnotations Warn lets whoever writes a Task or TaskRun change how the guest is "
			   "made, "
			   "by annotations " KATA_PREFIX "*; Deny is the default");
}

static void warn_of_url(const struct profile_spec *s, struct decision *d)
{
	static const char http[] = "http://";
	if (s->initdata.kbs_given && strncmp(s->initdata.kbs.url, http, sizeof(http) - 1) == 0)
		decision_warn(
			d, "spec.initdata.kbs.url is plain http: guests can't tell the KBS from whoever answers in its place; use "
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
		decision_warn(
			d, arena_printf(arena,
							"spec.runtimeClassName \"%s\" is known as a class without confidential VMs: pods would run "
							"unprotected, under the name of protection",
							s->runtime_class));
	for (size_t i = 0; i < json_array_size(s->allowed_runtime_classes); i++) {
		const char *name = json_string_value(json_array_get(s->allowed_runtime_classes, i));
		if (is_open_class(name))
			decision_warn(
				d,
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
		decision_warn(
			d,
			arena_printf(arena,
						 "spec.memory.max is %s, but images of %s (imageSize) need a VM of %s: every pod that doesn't "
						 "say how large its images are is denied; raise max or lower imageSize",
						 show(arena, m->max), show(arena, m->image_size), show(arena, least)));
	if (m->mode == MEMORY_FIXED && m->vm < least)
		decision_warn(
			d, arena_printf(arena,
							"spec.memory.vm is %s, but images of %s (imageSize) need a VM of %s: larger images fail to "
							"unpack in the guest; raise vm, or lower imageSize if yours are small",
							show(arena, m->vm), show(arena, m->image_size), show(arena, least)));
}

static void warn_of_profile(const json_t *object, struct arena *arena, struct decision *d)
{
	struct profile_spec s;
	struct error err;
	if (profile_decode(object, &s, &err) < 0)
		return;
	warn_of_policy(&s, d);
	warn_of_url(&s, d);
	warn_of_memory(&s, arena, d);
	warn_of_classes(&s, arena, d);
}

// ---- What is refused

// No ConfigMap is there when a profile is judged: it may be applied a moment later, from the same folder.
static struct str no_config_map(void *ctx, const char *ns, const char *name, const char *key, struct error *err)
{
	(void)ctx;
	(void)error_set(err, ENOENT, "ConfigMap \"%s\" of namespace \"%s\", key \"%s\"", name, ns, key);
	return (struct str){0};
}

static int check_profile(json_t *profile, const json_t *old, const char *ns, struct error *err)
{
	(void)old;
	struct profile *p = profile_compile(profile, ns, no_config_map, NULL, err);
	bool waits = p == NULL && (err->code == ENOENT || err->code == ENXIO);
	profile_unref(p);
	return p != NULL || waits ? 0 : -err->code;
}

const struct resource_kind RESOURCE_PROFILE = {
	.group = NAME_GROUP,
	.resource = "confidentialprofiles",
	.kind = "ConfidentialProfile",
	.noun = "profile",
	.valid = "ProfileValid",
	.invalid = "ProfileInvalid",
	.check = check_profile,
	.warn = warn_of_profile,
};
