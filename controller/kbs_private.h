// What the files that render a KbsConfig share. PURE
#ifndef COCO_CONTROLLER_KBS_PRIVATE_H
#define COCO_CONTROLLER_KBS_PRIVATE_H

#include "common/json_made.h"
#include "controller/kbs_render.h"
#include "controller/trustee_dialect.h"

#define KBS_PORT_NAME "kbs-port"
#define KBS_CONFIG_KEY "kbs-config.toml"
#define LABEL_APP "app"
#define KBS_RESOURCES_VOLUME "resources"

// ---- What the pods use

// An object of the namespace that a field names. Borrowed for the call.
struct kbs_reference {
	const char *field;
	const struct kube_resource *resource;
	const char *name;        // NULL: unset, and it has to be set
	const char *key;         // that it must have; NULL: none in particular
	const char *old_key;     // the name of that key with older releases, which will do; or NULL
	enum remark_level level; // of the remark where it is missing; REMARK_ERROR: the pods can't start without it
	enum remark_about about; // of the same
	const char *reason;      // of the same
	const char *without;     // what becomes of the pods without it, for the message; or NULL
	bool is_content;         // what is in it reaches the pods
};

typedef void (*kbs_reference_fn)(void *ctx, const struct kbs_reference *ref);
void kbs_references(const struct kbs_spec *spec, kbs_reference_fn each, void *ctx) __attribute__((nonnull(1, 2)));

// Remarks about each one that is missing. content: a JSON object to which those whose content reaches the pods are added, by
// "Kind/name". false: the pods can't start.
bool kbs_references_check(const struct kbs_render_input *in, json_t *content, struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull));

// The digested object; NULL where it isn't there.
const json_t *kbs_object(const struct kbs_render_input *in, const struct kube_resource *res, const char *name)
	__attribute__((nonnull));
// object may be NULL.
bool kbs_object_has(const json_t *object, const char *key) __attribute__((nonnull(2)));

// ---- Parts

// The value of label app of a KbsConfig's pods; new.
char *kbs_app(const struct kbs_spec *spec) __attribute__((warn_unused_result, returns_nonnull, nonnull));
// The image of the KBS. Borrowed.
const char *kbs_image(const struct kbs_render_input *in) __attribute__((returns_nonnull, nonnull));
// metadata with all labels; new.
json_t *kbs_metadata(const struct kbs_render_input *in, const char *name, const char *component)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));

// false: what the spec asks for would hide what the pods need; remarked.
bool kbs_pod_check(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull));
// The pod's spec; new.
json_t *kbs_pod(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));

// The projected volume of what is served: new, or NULL where nothing is. remarks: what can't be served.
json_t *kbs_resources(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
	__attribute__((warn_unused_result, nonnull));
// The ConfigMap of an image policy whose text stands in the spec: new, or NULL where there is none.
json_t *kbs_image_policy(const struct kbs_render_input *in) __attribute__((warn_unused_result, nonnull));

void kbs_exposure_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
	__attribute__((nonnull));
void kbs_monitor_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
	__attribute__((nonnull));

// ---- JSON

// Takes value; nothing happens where it is NULL.
static inline void json_put_some(json_t *object, const char *key, json_t *value)
{
	if (value != NULL)
		json_put(object, key, value);
}

// The object's keys in order, json_object_size() of them: new, but for the keys.
const char **kbs_sorted_keys(const json_t *object) __attribute__((warn_unused_result, returns_nonnull));

#endif
