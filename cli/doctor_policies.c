// The ValidatingAdmissionPolicies behind the webhook: whether they are in force, and know the RuntimeClasses of profiles.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/doctor_private.h"
#include "common/json_made.h"
#include "common/mem.h"

#define APPLY_POLICY \
	"kubectl apply -f manifests/components/admission-policy/policy.yaml (Helm: admissionPolicy.enabled)"
#define CLASSES_TEXT_MAX ((size_t)16 * 1024)
#define WARNING_TEXT_MAX 300

static const struct policy {
	const char *name;
	const char *lost; // without it
} known[] = {
	{POD_POLICY, "labelled pods run unprotected once the webhook's configurations are gone"},
	{"coco-pipelines-debug", "the webhook alone keeps confidential pods as they were created, and it isn't asked about "
							 "those whose labels were taken away"},
	{"coco-pipelines-configurations", "whoever has captured coco-webhook can change all of its configurations"},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

// ---- Bindings

static bool denies(const json_t *binding)
{
	size_t i;
	const json_t *action;
	json_array_foreach (json_object_get(spec_of(binding), "validationActions"), i, action)
		if (json_is_string(action) && strcmp(json_string_value(action), "Deny") == 0)
			return true;
	return false;
}

// The API server writes empty selectors into matchResources that have none.
static bool is_narrowed(const json_t *binding)
{
	static const char *const selectors[] = {"namespaceSelector", "objectSelector"};
	static const char *const rules[] = {"resourceRules", "excludeResourceRules"};
	const json_t *match = json_object_get(spec_of(binding), "matchResources");
	for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
		if (json_object_size(json_object_get(match, selectors[i])) > 0 ||
			json_array_size(json_object_get(match, rules[i])) > 0)
			return true;
	return false;
}

// The one that does most, as one is enough; NULL: none.
static const json_t *find_binding(const json_t *bindings, const char *policy)
{
	const json_t *best = NULL;
	int most = -1;
	size_t i;
	const json_t *b;
	json_array_foreach (bindings, i, b) {
		int does = !denies(b) ? 0 : is_narrowed(b) ? 1 : 2;
		if (strcmp(text(spec_of(b), "policyName"), policy) != 0 || does <= most)
			continue;
		best = b;
		most = does;
	}
	return best;
}

static void check_binding(struct doctor_report *r, const struct policy *p, const json_t *binding)
{
	if (binding == NULL)
		doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, p->name, APPLY_POLICY, "has no binding, so it judges nothing: %s",
					p->lost);
	else if (!denies(binding))
		doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, p->name, "set validationActions: [Deny, Audit] of the binding",
					"its binding %s has no validationActions Deny, so it refuses nothing: %s", kube_name(binding),
					p->lost);
	else if (is_narrowed(binding))
		doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, p->name, "take matchResources out of the binding",
					"its binding %s has matchResources, so it judges only what they name: of all else, %s",
					kube_name(binding), p->lost);
}

// ---- RuntimeClasses

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

// Takes a quoted name at *p into names.
static bool take_name(const char **p, json_t *names)
{
	const char quote = **p;
	if (quote != '\'' && quote != '"')
		return false;
	const char *name = *p + 1;
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.");
	if (n == 0 || name[n] != quote)
		return false;
	if (json_object_setn_new(names, name, n, json_null()) < 0)
		abort();
	*p = name + n + 1;
	return true;
}

// The names in a list of CEL that has nothing but quoted ones, as the keys of a new object; NULL: it is another expression.
static json_t *read_names(const char *expression)
{
	json_auto_t *names = json_made(json_object());
	const char *p = skip_space(expression);
	if (strlen(expression) > CLASSES_TEXT_MAX || *p++ != '[')
		return NULL;
	p = skip_space(p);
	while (*p != ']') {
		if (!take_name(&p, names))
			return NULL;
		p = skip_space(p);
		if (*p == ',')
			p = skip_space(p + 1);
		else if (*p != ']')
			return NULL;
	}
	return *skip_space(p + 1) == '\0' ? TAKE_PTR(names) : NULL;
}

static json_t *known_classes(const json_t *policy)
{
	size_t i;
	const json_t *v;
	json_array_foreach (json_object_get(spec_of(policy), "variables"), i, v)
		if (strcmp(text(v, "name"), CLASSES_VARIABLE) == 0)
			return read_names(text(v, "expression"));
	return NULL;
}

// Notes each class that the policy doesn't know once, in noted.
static void check_class(struct doctor_report *r, const json_t *names, const json_t *profile, const char *class,
						json_t *noted)
{
	if (json_object_get(names, class) != NULL || json_object_get(noted, class) != NULL)
		return;
	json_put(noted, class, json_null());
	doctor_note(r, DOCTOR_FAIL, DOCTOR_POLICIES, POD_POLICY, ADD_CLASS,
				"doesn't know RuntimeClass %s of ConfidentialProfile %s/%s, so it refuses pods of that class", class,
				kube_namespace(profile), kube_name(profile));
}

static void check_classes(struct doctor_report *r, const json_t *policy, const json_t *profiles)
{
	json_auto_t *names = known_classes(policy);
	if (names == NULL) {
		doctor_note(r, DOCTOR_UNCHECKED, DOCTOR_POLICIES, POD_POLICY,
					"write it as quoted names alone: ['kata-cc', 'kata-remote']",
					"its variable " CLASSES_VARIABLE " can't be read, so whether it knows the profiles' RuntimeClasses "
					"is not known");
		return;
	}
	json_auto_t *noted = json_made(json_object());
	size_t i;
	size_t k;
	const json_t *profile;
	const json_t *class;
	json_array_foreach (profiles, i, profile) {
		check_class(r, names, profile, class_of(profile), noted);
		json_array_foreach (json_object_get(spec_of(profile), "allowedRuntimeClasses"), k, class)
			if (json_is_string(class))
				check_class(r, names, profile, json_string_value(class), noted);
	}
}

// ---- Policies

// What the API server says of expressions whose types don't fit: its first line, as the others draw where it is.
static void check_types(struct doctor_report *r, const char *name, const json_t *policy)
{
	const json_t *checking = json_object_get(json_object_get(policy, "status"), "typeChecking");
	const json_t *first = json_array_get(json_object_get(checking, "expressionWarnings"), 0);
	if (first == NULL)
		return;
	const char *warning = text(first, "warning");
	size_t line = strcspn(warning, "\n");
	doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, name, "use the manifests of a release that was tested with this one",
				"the API server doubts its %s: %.*s", text(first, "fieldRef"),
				(int)(line < WARNING_TEXT_MAX ? line : WARNING_TEXT_MAX), warning);
}

static void check_policy(struct doctor_report *r, const struct policy *p, const json_t *policy, const json_t *binding,
						 const json_t *profiles)
{
	size_t noted = r->n;
	const char *failing = text(spec_of(policy), "failurePolicy");
	check_binding(r, p, binding);
	if (failing[0] != '\0' && strcmp(failing, "Fail") != 0)
		doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, p->name, "set failurePolicy: Fail",
					"failurePolicy is %s, so what it can't judge passes: then %s", failing, p->lost);
	check_types(r, p->name, policy);
	if (strcmp(p->name, POD_POLICY) == 0 && denies(binding) && profiles != NULL)
		check_classes(r, policy, profiles);
	if (r->n == noted)
		doctor_note(r, DOCTOR_OK, DOCTOR_POLICIES, p->name, NULL, "is there, and denies");
}

void doctor_check_policies(struct doctor_report *r, const json_t *policies, const json_t *bindings,
						   const json_t *profiles)
{
	size_t missing = 0;
	for (size_t i = 0; i < KNOWN; i++)
		missing += find_named(policies, known[i].name) == NULL;
	if (policies == NULL)
		doctor_note(
			r, DOCTOR_SKIPPED, DOCTOR_POLICIES, NULL, NULL,
			"the API server has none before Kubernetes 1.30: nothing stands behind the webhook's configurations");
	else if (missing == KNOWN)
		doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, NULL, APPLY_POLICY, "none of coco-pipelines is there: %s",
					known[0].lost);
	for (size_t i = 0; i < KNOWN && policies != NULL && missing < KNOWN; i++) {
		const struct policy *p = &known[i];
		const json_t *policy = find_named(policies, p->name);
		if (policy != NULL)
			check_policy(r, p, policy, find_binding(bindings, p->name), profiles);
		else
			doctor_note(r, DOCTOR_WARN, DOCTOR_POLICIES, p->name, APPLY_POLICY, "is not there: %s", p->lost);
	}
}
