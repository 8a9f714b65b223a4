// Which pods are to be confidential, and by which profile.
#include "common/names.h"
#include "webhook/decision.h"
#include "webhook/mutate.h"

static bool deny(struct decision *d, const char *cause, const char *message)
{
	decision_deny(d, cause, CODE_FORBIDDEN, message);
	return false;
}

// Tekton's placeholder that keeps a PipelineRun's pods on one node. It inherits the PipelineRun's labels, but runs no
// code of the pipeline's. Labels and owners can be written by anyone who may create pods; that the StatefulSet
// controller made it can't be.
static bool is_affinity_assistant(const struct pod *pod, struct str user)
{
	if (!str_is(user, USER_STATEFULSET_CONTROLLER) && !str_is(user, USER_CONTROLLER_MANAGER))
		return false;
	for (size_t i = 0; i < pod->nowners; i++) {
		const struct owner *o = &pod->owners[i];
		if (o->controller && str_is(o->kind, "StatefulSet") && str_has_prefix(o->api_version, "apps/") &&
			str_has_prefix(o->name, AFFINITY_ASSISTANT_PREFIX))
			return true;
	}
	return false;
}

// The API server itself may have found the namespace enabled, and without leave to opt out (review.namespace_enabled);
// otherwise it is as we know the namespace.
static void decide_opt_out(const struct catalog *c, const struct review *review, bool enabled_here, struct arena *arena,
						   struct explain *e, struct decision *ret)
{
	struct str ns = review_namespace(review);
	bool allowed = !review->namespace_enabled && str_is(catalog_namespace_label(c, ns, LABEL_OPT_OUT), "allowed");
	if (!enabled_here || allowed) {
		explain_note(e, "opts out", "left alone", "label " LABEL_CONFIDENTIAL " is \"false\"");
		decision_leave(ret, "OptedOut");
		return;
	}
	explain_note(e, "opts out", "denied", "namespace \"%.*s\" does not allow it", STR_ARG(ns));
	(void)deny(
		ret, "OptOutRefused",
		arena_printf(arena,
					 "label %s is \"false\", but every TaskRun pod of namespace \"%.*s\" is confidential; remove the "
					 "label, or have the namespace labelled %s=allowed",
					 LABEL_CONFIDENTIAL, STR_ARG(ns), LABEL_OPT_OUT));
}

void decide_selection(const struct catalog *catalog, const struct review *review, const struct pod *pod,
					  struct arena *arena, struct explain *e, struct decision *ret)
{
	struct str ns = review_namespace(review);
	struct str user = review->user;
	struct str label = key_values_get(&pod->labels, LABEL_CONFIDENTIAL);
	bool taskrun = key_values_get(&pod->labels, LABEL_TASKRUN).p != NULL;
	bool enabled =
		review->namespace_enabled || str_is(catalog_namespace_label(catalog, ns, LABEL_CONFIDENTIAL), "enabled");
	ret->verdict = VERDICT_CONFIDENTIAL;
	bool assistant = is_affinity_assistant(pod, user);
	explain_note(e, "is Tekton's affinity assistant", assistant ? "left alone" : "no", "created by \"%.*s\"",
				 STR_ARG(user));
	if (assistant) {
		decision_leave(ret, "AffinityAssistant");
		return;
	}
	if (str_is(label, "true")) {
		explain_note(e, "is labelled " LABEL_CONFIDENTIAL, "selected", "the label is \"true\"");
		return;
	}
	if (str_is(label, "false")) {
		decide_opt_out(catalog, review, enabled && taskrun, arena, e, ret);
		return;
	}
	if (label.p != NULL) {
		explain_note(e, "is labelled " LABEL_CONFIDENTIAL, "denied", "\"%.*s\" is neither true nor false",
					 STR_ARG(label));
		(void)deny(ret, "LabelInvalid",
				   arena_printf(arena, "label %s is \"%.*s\"; it must be \"true\" or \"false\"", LABEL_CONFIDENTIAL,
								STR_ARG(label)));
		return;
	}
	explain_note(e, "is labelled " LABEL_CONFIDENTIAL, "no", "%s", "");
	if (enabled && taskrun) {
		explain_note(e, "is a TaskRun's pod in an enabled namespace", "selected",
					 "namespace \"%.*s\" is labelled %s=enabled", STR_ARG(ns), LABEL_CONFIDENTIAL);
		return;
	}
	explain_note(e, "is a TaskRun's pod in an enabled namespace", "no",
				 "it %s label " LABEL_TASKRUN ", and namespace \"%.*s\" %s labelled " LABEL_CONFIDENTIAL "=enabled",
				 taskrun ? "has" : "has no", STR_ARG(ns), enabled ? "is" : "is not");
	decision_leave(ret, "NotSelected");
}

// Why a profile can't be used, ready for the pod's author.
static const struct profile *usable(const struct catalog_profile *entry, struct arena *arena, struct explain *e,
									struct decision *ret)
{
	ret->entry = entry;
	if (entry->profile == NULL) {
		explain_note(e, "the profile can be used", "denied", "%s", entry->problem);
		(void)deny(ret, "ProfileInvalid",
				   arena_printf(arena, "ConfidentialProfile \"%s\" of namespace \"%s\" is not valid: %s", entry->name,
								entry->ns, entry->problem));
		return NULL;
	}
	if (entry->problem != NULL)
		explain_note(e, "the profile can be used", "warning", "as it was before; its newest version is not valid: %s",
					 entry->problem);
	else
		explain_note(e, "the profile can be used", "yes", "initdata %s", entry->profile->digest);
	ret->profile = entry->profile;
	return entry->profile;
}

const struct profile *decide_profile(const struct catalog *catalog, const struct pod *pod, struct str ns,
									 struct arena *arena, struct explain *e, struct decision *ret)
{
	struct str system_ns = str_from(catalog_system_namespace(catalog));
	struct str name = key_values_get(&pod->annotations, ANNOTATION_PROFILE);
	const char *from = "annotation " ANNOTATION_PROFILE " of the pod";
	if (name.p == NULL) {
		name = catalog_namespace_annotation(catalog, ns, ANNOTATION_DEFAULT_PROFILE);
		from = "annotation " ANNOTATION_DEFAULT_PROFILE " of the namespace";
	}
	if (name.p == NULL) {
		name = STR(DEFAULT_PROFILE);
		from = "no annotation names one, so the default";
	}
	const struct catalog_profile *entry = catalog_profile(catalog, ns, name);
	if (entry == NULL)
		entry = catalog_profile(catalog, system_ns, name);
	if (entry != NULL) {
		explain_note(e, "which profile", "found", "\"%s\" of namespace \"%s\" (%s)", entry->name, entry->ns, from);
		return usable(entry, arena, e, ret);
	}
	explain_note(e, "which profile", "denied", "\"%.*s\" (%s) is not there", STR_ARG(name), from);
	(void)deny(
		ret, "ProfileMissing",
		arena_printf(
			arena,
			"there is no ConfidentialProfile \"%.*s\" (%s) in namespace \"%.*s\" or \"%.*s\"; create it, or name "
			"another with annotation %s",
			STR_ARG(name), from, STR_ARG(ns), STR_ARG(system_ns), ANNOTATION_PROFILE));
	return NULL;
}
