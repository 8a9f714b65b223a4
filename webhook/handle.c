#include "webhook/handle.h"

#include "common/names.h"
#include "common/version.h"
#include "webhook/outcome.h"
#include "webhook/validate_resources.h"

#define AUDIT_MAX 7
// The API server makes a header of it, upon which clients like Tekton's try again by themselves, some ten times.
#define RETRY_AFTER_S 1
#define PATCH_BASE64_MAX (((size_t)1024 * 1024 + 2) / 3 * 4)

static void refuse(struct decision *d, const char *cause, int code, const char *message)
{
	*d = (struct decision){.verdict = VERDICT_DENIED, .cause = cause, .code = code, .message = message};
}

static struct str profile_name(const struct decision *d, struct arena *arena)
{
	const struct catalog_profile *e = d->entry;
	return e != NULL ? ARENA_JOIN(arena, str_from(e->ns), STR("/"), str_from(e->name)) : (struct str){0};
}

// What an auditor wants to find later, without reading pods: what became of it, why, and by which profile as it was then.
static size_t audit(const struct decision *d, struct arena *arena, char numbers[2][INT_TEXT_MAX], struct key_value *to)
{
	size_t n = 0;
	to[n++] = (struct key_value){STR("decision"), str_from(outcome_name(outcome_of(d)))};
	to[n++] = (struct key_value){STR("reason"), str_from(d->cause)};
	if (d->entry != NULL) {
		int64_t generation = d->profile != NULL ? d->profile->generation : d->entry->generation;
		to[n++] = (struct key_value){STR("profile"), profile_name(d, arena)};
		to[n++] = (struct key_value){STR("generation"), int_text(generation, numbers[0])};
	}
	if (d->verdict != VERDICT_CONFIDENTIAL || d->profile == NULL)
		return n;
	to[n++] = (struct key_value){STR("initdata"), str_from(d->profile->digest)};
	to[n++] = (struct key_value){STR("vm-mib"), int_text(d->sizing.vm_mib, numbers[1])};
	to[n++] = (struct key_value){STR("version"), STR(COCO_VERSION)};
	return n;
}

void answer_decision(const struct review *review, struct decision *d, bool with_patch, struct arena *arena,
					 struct buf *out)
{
	struct key_value notes[AUDIT_MAX];
	char numbers[2][INT_TEXT_MAX];
	CLEANUP_BUF
	struct buf patch = BUF_INIT(PATCH_BASE64_MAX);
	if (with_patch && d->verdict == VERDICT_CONFIDENTIAL && d->nedits > 0)
		decision_patch_base64(d, &patch);
	// A patch that doesn't fit must not become an answer that allows without it.
	if (!buf_ok(&patch)) {
		refuse(d, "PatchTooLarge", 403,
			   "the pod has too many containers to be changed: the patch would be larger than 1 MiB; split the Task");
		buf_clear(&patch);
	}
	const struct answer a = {
		.uid = review->uid,
		.allowed = d->verdict != VERDICT_DENIED,
		.code = d->code,
		.reason = d->code == 400   ? "BadRequest"
				  : d->code == 422 ? "Invalid"
				  : d->code == 503 ? "ServiceUnavailable"
								   : "Forbidden",
		.message = str_from(d->message),
		.retry_after_s = d->code == 503 ? RETRY_AFTER_S : 0,
		.patch64 = buf_str(&patch),
		.warnings = d->warnings,
		.nwarnings = d->nwarnings,
		.audit = notes,
		.naudit = audit(d, arena, numbers, notes),
	};
	answer_write(&a, out);
}

// What can't be judged must not be let through: rules of a webhook configuration may be wrong, or a peer may lie.
static const char *unfit_operation(const struct review *r, struct arena *arena)
{
	static const char *const operations[] = {"CREATE", "UPDATE", "DELETE", "CONNECT"};
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (str_is(r->operation, operations[i]))
			return NULL;
	return arena_printf(arena, "request.operation is \"%.*s\"; it must be CREATE, UPDATE, DELETE or CONNECT",
						STR_ARG(r->operation));
}

static const char *unfit_pod(const struct review *r, struct arena *arena)
{
	if (!review_is_pod(r))
		return arena_printf(
			arena,
			"coco-webhook was asked about \"%.*s\" of group \"%.*s\", version \"%.*s\"; it takes pods of v1: "
			"correct the rules of the webhook configuration",
			STR_ARG(r->resource), STR_ARG(r->group), STR_ARG(r->version));
	const char *why = unfit_operation(r, arena);
	if (why != NULL)
		return why;
	// Subresources bring other objects (a Binding, PodExecOptions), but for the one that is judged.
	bool brings_pod = r->sub_resource.n == 0 || str_is(r->sub_resource, "ephemeralcontainers");
	if (!brings_pod || !(str_is(r->operation, "CREATE") || str_is(r->operation, "UPDATE")))
		return NULL;
	if (!str_is(r->kind, "Pod"))
		return arena_printf(arena, "request.kind.kind is \"%.*s\"; for pods it must be Pod", STR_ARG(r->kind));
	if (!r->has_object || !r->object.has_spec)
		return "request.object is missing or has no spec; there is no pod to judge";
	return NULL;
}

static bool mutates(enum endpoint endpoint)
{
	return endpoint == ENDPOINT_MUTATE || endpoint == ENDPOINT_MUTATE_ENABLED;
}

void decide_review(enum endpoint endpoint, const struct catalog *catalog, const struct review *r, struct arena *arena,
				   struct explain *explain, struct decision *ret)
{
	bool resources = endpoint == ENDPOINT_VALIDATE_RESOURCES;
	const char *why = resources ? unfit_operation(r, arena) : unfit_pod(r, arena);
	if (why != NULL)
		refuse(ret, "Unfit", 400, why);
	else if (resources)
		validate_resource(r, arena, ret);
	else if (!mutates(endpoint))
		validate(catalog, r, arena, ret);
	else if (str_is(r->operation, "CREATE") && r->sub_resource.n == 0)
		decide(catalog, r, arena, explain, ret);
	else
		*ret = (struct decision){.verdict = VERDICT_LEFT_ALONE, .cause = "NotOurs"};
}

void refuse_unknown(struct handled *h, const char *why, struct arena *arena, struct buf *out)
{
	// 503, since it isn't the pod's fault: who created it should try again, and Tekton's client does.
	refuse(&h->decision, "ProfileUnknown", 503,
		   arena_printf(arena,
						"the ConfidentialProfile of this pod is not known yet, and the API server could not be asked "
						"for it: %s; try again",
						why));
	buf_clear(out);
	answer_decision(&h->review, &h->decision, false, arena, out);
}

void judge_rivals(struct handled *h, const json_t *others, struct arena *arena, struct buf *out)
{
	validate_rivals(&h->review, others, arena, &h->decision);
	buf_clear(out);
	answer_decision(&h->review, &h->decision, false, arena, out);
}

void handle_review(enum endpoint endpoint, const struct catalog *catalog, struct str body, struct arena *arena,
				   struct buf *out, struct handled *ret)
{
	struct error err;
	ret->status = 200;
	enum review_fault fault = endpoint == ENDPOINT_VALIDATE_RESOURCES ? review_read_raw(body, arena, &ret->review, &err)
																	  : review_read(body, arena, &ret->review, &err);
	ret->review.namespace_enabled = endpoint == ENDPOINT_MUTATE_ENABLED || endpoint == ENDPOINT_VALIDATE_ENABLED;
	if (fault == REVIEW_MALFORMED) {
		ret->status = 400;
		refuse(&ret->decision, "Malformed", 400, arena_printf(arena, "%s", err.msg));
		buf_addf(out, "%s\n", err.msg);
		return;
	}
	if (fault == REVIEW_REFUSED)
		refuse(&ret->decision, "Malformed", 400, arena_printf(arena, "%s", err.msg));
	else
		decide_review(endpoint, catalog, &ret->review, arena, NULL, &ret->decision);
	answer_decision(&ret->review, &ret->decision, mutates(endpoint), arena, out);
}
