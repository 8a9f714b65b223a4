// What may be stored: the second look, after every other webhook has had its turn.
#include "common/initdata.h"
#include "common/names.h"
#include "webhook/decision.h"
#include "webhook/handle.h"

static void not_confidential(struct decision *ret, const char *path, struct arena *arena)
{
	decision_deny(
		ret, "NotConfidential", CODE_FORBIDDEN,
		arena_printf(
			arena,
			"the pod is to be confidential, but %s is not as profile \"%s\" wants it: coco-webhook did not mutate "
			"it, or something changed it afterwards; see that the MutatingWebhookConfiguration of coco-webhook is "
			"in place, with reinvocationPolicy IfNeeded",
			path, ret->profile->name));
}

// A pod that the rules for mutation would still have to protect did not go through them, or was changed afterwards.
static void validate_create(const struct catalog *catalog, const struct review *review, struct arena *arena,
							struct decision *ret)
{
	static const char initdata[] = "/metadata/annotations/" KATA_INITDATA;
	decide(catalog, review, arena, NULL, ret);
	if (ret->profile == NULL)
		return;
	bool bare = key_values_get(&review->object.annotations, KATA_INITDATA).p == NULL;
	// Whose initdata is gone still carries our size, which would be blamed on the pod's author.
	if (bare && strcmp(ret->cause, "ForeignAnnotation") == 0) {
		not_confidential(ret, initdata, arena);
		return;
	}
	if (ret->verdict != VERDICT_CONFIDENTIAL || ret->nedits == 0)
		return;
	const char *first = ret->edits[0].path;
	for (size_t i = 0; i < ret->nedits; i++)
		if (strcmp(ret->edits[i].path, initdata) == 0)
			first = initdata;
	if (ret->protection_changed) {
		not_confidential(ret, first, arena);
		return;
	}
	// Protected, but with another size than we gave it: what else is in the admission chain may know why.
	ret->nwarnings = 0;
	ret->warnings[ret->nwarnings++] =
		arena_printf(arena, "%s was changed after coco-webhook sized the pod; its VM may not fit what it runs", first);
	ret->nedits = 0;
	ret->cause = "Resized";
}

// What is compared with each other: a pod has a few of these, and one with hundreds is no pod of ours.
#define GUARDED_MAX 200

static bool is_guarded(struct str key)
{
	return str_has_prefix(key, KATA_PREFIX) || str_is(key, ANNOTATION_INJECTED);
}

static size_t count_guarded(const struct pod *pod)
{
	size_t n = 0;
	for (size_t i = 0; i < pod->annotations.n; i++)
		n += is_guarded(pod->annotations.v[i].key);
	return n;
}

static bool has_same(const struct pod *pod, const struct key_value *kv)
{
	for (size_t i = 0; i < pod->annotations.n; i++)
		if (str_eq(pod->annotations.v[i].key, kv->key))
			return str_eq(pod->annotations.v[i].value, kv->value);
	return false;
}

// The first annotation of a that is guarded and differs in b.
static struct str guarded_difference(const struct pod *a, const struct pod *b)
{
	for (size_t i = 0; i < a->annotations.n; i++)
		if (is_guarded(a->annotations.v[i].key) && !has_same(b, &a->annotations.v[i]))
			return a->annotations.v[i].key;
	return (struct str){0};
}

static bool marked(const struct catalog *catalog, const struct review *review, const struct pod *pod,
				   struct arena *arena)
{
	struct decision d = {0};
	decide_selection(catalog, review, pod, arena, NULL, &d);
	// A label that is neither true nor false marks a pod too: it can't have been created like that.
	return d.verdict != VERDICT_LEFT_ALONE;
}

static bool either_marked(const struct catalog *catalog, const struct review *review, struct arena *arena)
{
	return marked(catalog, review, &review->object, arena) || marked(catalog, review, &review->old_object, arena);
}

// Nobody makes a guest of a pod that runs: labelled now, it would only look confidential.
static bool is_labelled_late(const struct catalog *catalog, const struct review *review, struct arena *arena)
{
	const struct pod *now = &review->object;
	bool protected = now->runtime_class.n > 0 && key_values_get(&now->annotations, KATA_INITDATA).p != NULL;
	return !protected && marked(catalog, review, now, arena) && !marked(catalog, review, &review->old_object, arena);
}

static void validate_update(const struct catalog *catalog, const struct review *review, struct arena *arena,
							struct decision *ret)
{
	const struct pod *now = &review->object;
	const struct pod *old = &review->old_object;
	decision_leave(ret, "UpdateAllowed");
	if (!either_marked(catalog, review, arena))
		return;
	if (count_guarded(now) > GUARDED_MAX || count_guarded(old) > GUARDED_MAX) {
		decision_deny(
			ret, "AnnotationGuarded", CODE_FORBIDDEN,
			"a confidential pod has more than 200 annotations of Kata, none of which can be changed; create the pod "
			"anew");
		return;
	}
	struct str key = guarded_difference(now, old);
	if (key.p == NULL)
		key = guarded_difference(old, now);
	if (key.p != NULL)
		decision_deny(ret, "AnnotationGuarded", CODE_FORBIDDEN,
					  arena_printf(arena,
								   "annotation %.*s of a confidential pod can't be changed after its creation; create "
								   "the pod anew with the "
								   "profile that you want",
								   STR_ARG(key)));
	else if (is_labelled_late(catalog, review, arena))
		decision_deny(
			ret, "LabelledLate", CODE_FORBIDDEN,
			"the pod was created without protection, and a label added now would have it look confidential; create it "
			"anew with the label " LABEL_CONFIDENTIAL "=true");
}

// What the guest will really do: the policy that the pod carries, not the one that its profile has by now.
static bool guest_allows_exec(const struct pod *pod, struct error *err)
{
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_INITDATA struct initdata i = {0};
	struct str annotation = key_values_get(&pod->annotations, KATA_INITDATA);
	if (annotation.p == NULL || initdata_decode(annotation, &toml, err) < 0 ||
		initdata_parse(buf_str(&toml), &i, err) < 0)
		return false;
	return agent_policy_allows_exec(i.policy);
}

static void validate_ephemeral(const struct catalog *catalog, const struct review *review, struct arena *arena,
							   struct decision *ret)
{
	struct error err;
	const struct pod *now = &review->object;
	const struct pod *old = &review->old_object;
	decision_leave(ret, "UpdateAllowed");
	if (now->ephemeral_containers.n <= old->ephemeral_containers.n)
		return;
	if (!either_marked(catalog, review, arena) || guest_allows_exec(old, &err))
		return;
	const struct container *c = &now->ephemeral_containers.v[now->ephemeral_containers.n - 1];
	decision_deny(
		ret, "EphemeralContainer", CODE_FORBIDDEN,
		arena_printf(
			arena,
			"ephemeral container \"%.*s\" would run inside a confidential guest whose agent policy refuses exec; to "
			"debug, run the TaskRun again with a profile whose agentPolicy.preset is AllowAll",
			STR_ARG(c->name)));
}

void validate(const struct catalog *catalog, const struct review *review, struct arena *arena, struct decision *ret)
{
	*ret = (struct decision){0};
	bool update = str_is(review->operation, "UPDATE");
	if (str_is(review->operation, "CREATE") && review->sub_resource.n == 0)
		validate_create(catalog, review, arena, ret);
	else if (update && review->sub_resource.n == 0)
		validate_update(catalog, review, arena, ret);
	else if (update && str_is(review->sub_resource, "ephemeralcontainers"))
		validate_ephemeral(catalog, review, arena, ret);
	else
		decision_leave(ret, "NotOurs");
}
