#include "webhook/review.h"

#include <errno.h>

#include "common/json_write.h"

#define GROUP_VERSION "admission.k8s.io/v1"
#define ANSWER_MOSTLY 1024 // what an answer has beside its patch and message; more is fine

static void read_resource(struct json_read *r, struct review *ret)
{
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, JSON_KEY("group") | JSON_KEY("version") | JSON_KEY("resource"), &key)) {
		if (str_is(key, "group"))
			ret->group = json_read_string(r);
		else if (str_is(key, "version"))
			ret->version = json_read_string(r);
		else if (str_is(key, "resource"))
			ret->resource = json_read_string(r);
		else
			(void)json_skip(r);
	}
}

// Into text where that isn't NULL, else into pod.
static bool read_object(struct json_read *r, struct str *text, struct pod *pod)
{
	if (json_read_null(r))
		return false;
	if (text != NULL)
		*text = json_skip(r);
	else
		pod_read(r, pod);
	return true;
}

static void read_request(struct json_read *r, bool raw, struct review *ret)
{
	const uint64_t wanted = JSON_KEY("uid") | JSON_KEY("resource") | JSON_KEY("subResource") | JSON_KEY("operation") |
							JSON_KEY("name") | JSON_KEY("namespace") | JSON_KEY("userInfo") | JSON_KEY("kind") |
							JSON_KEY("dryRun") | JSON_KEY("object") | JSON_KEY("oldObject");
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, wanted, &key)) {
		if (str_is(key, "uid"))
			ret->uid = json_read_string(r);
		else if (str_is(key, "resource"))
			read_resource(r, ret);
		else if (str_is(key, "subResource"))
			ret->sub_resource = json_read_string(r);
		else if (str_is(key, "operation"))
			ret->operation = json_read_string(r);
		else if (str_is(key, "name"))
			ret->name = json_read_string(r);
		else if (str_is(key, "namespace"))
			ret->ns = json_read_string(r);
		else if (str_is(key, "userInfo"))
			ret->user = json_read_member(r, "username");
		else if (str_is(key, "kind"))
			ret->kind = json_read_member(r, "kind");
		else if (str_is(key, "dryRun"))
			ret->dry_run = json_read_bool(r);
		else if (str_is(key, "object"))
			ret->has_object = read_object(r, raw ? &ret->object_text : NULL, &ret->object);
		else if (str_is(key, "oldObject"))
			ret->has_old_object = read_object(r, raw ? &ret->old_object_text : NULL, &ret->old_object);
		else
			(void)json_skip(r);
	}
}

static enum review_fault read_review(struct str body, bool raw, struct arena *arena, struct review *ret,
									 struct error *err)
{
	*ret = (struct review){0};
	struct json_read r __attribute__((uninitialized)); // 5 KiB, of which json_read_init() sets what counts
	struct str key;
	struct str kind = {0};
	struct str version = {0};
	json_read_init(&r, body, arena, err);
	if (json_enter_object(&r))
		while (json_next_of(&r, JSON_KEY("kind") | JSON_KEY("apiVersion") | JSON_KEY("request"), &key)) {
			if (str_is(key, "kind"))
				kind = json_read_string(&r);
			else if (str_is(key, "apiVersion"))
				version = json_read_string(&r);
			else if (str_is(key, "request"))
				read_request(&r, raw, ret);
			else
				(void)json_skip(&r);
		}
	if (json_read_end(&r) < 0)
		return r.fault == JSON_FAULT_TYPE && ret->uid.n > 0 ? REVIEW_REFUSED : REVIEW_MALFORMED;
	if (!str_is(kind, "AdmissionReview") || !str_is(version, GROUP_VERSION)) {
		(void)error_set(err, EINVAL,
						"the body is kind \"%.*s\" of apiVersion \"%.*s\"; send an AdmissionReview of " GROUP_VERSION
						" (admissionReviewVersions: [v1] in the webhook configuration)",
						STR_ARG(kind), STR_ARG(version));
		return REVIEW_MALFORMED;
	}
	if (ret->uid.n == 0) {
		(void)error_set(err, EINVAL, "the AdmissionReview has no request.uid; an answer could not be matched to it");
		return REVIEW_MALFORMED;
	}
	return REVIEW_OK;
}

enum review_fault review_read(struct str body, struct arena *arena, struct review *ret, struct error *err)
{
	return read_review(body, false, arena, ret, err);
}

enum review_fault review_read_raw(struct str body, struct arena *arena, struct review *ret, struct error *err)
{
	return read_review(body, true, arena, ret, err);
}

bool review_is_pod(const struct review *r)
{
	return r->group.n == 0 && str_is(r->version, "v1") && str_is(r->resource, "pods");
}

struct str review_namespace(const struct review *r)
{
	if (r->ns.n > 0)
		return r->ns;
	return r->object.ns.n > 0 ? r->object.ns : STR("default");
}

static void write_member(struct buf *out, struct str key, struct str value)
{
	json_write_string(out, key);
	buf_addc(out, ':');
	json_write_string(out, value);
}

static void write_status(const struct answer *a, struct buf *out)
{
	buf_addf(out, ",\"status\":{\"code\":%d,\"reason\":\"%s\",", a->code, a->reason);
	write_member(out, STR("message"), a->message);
	if (a->retry_after_s > 0)
		buf_addf(out, ",\"details\":{\"retryAfterSeconds\":%d}", a->retry_after_s);
	buf_addc(out, '}');
}

static void write_patch(const struct answer *a, struct buf *out)
{
	buf_addz(out, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
	buf_add_str(out, a->patch64);
	buf_addc(out, '"');
}

void answer_write(const struct answer *a, struct buf *out)
{
	buf_expect(out, a->patch64.n + a->message.n + ANSWER_MOSTLY);
	buf_addz(out, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"" GROUP_VERSION "\",\"response\":{");
	write_member(out, STR("uid"), a->uid);
	buf_addz(out, a->allowed ? ",\"allowed\":true" : ",\"allowed\":false");
	if (!a->allowed)
		write_status(a, out);
	if (a->patch64.n > 0)
		write_patch(a, out);
	for (size_t i = 0; i < a->nwarnings; i++) {
		buf_addz(out, i == 0 ? ",\"warnings\":[" : ",");
		json_write_string(out, str_from(a->warnings[i]));
	}
	buf_addz(out, a->nwarnings > 0 ? "]" : "");
	for (size_t i = 0; i < a->naudit; i++) {
		buf_addz(out, i == 0 ? ",\"auditAnnotations\":{\"" : ",\"");
		buf_add_str(out, a->audit[i].key);
		buf_addz(out, "\":");
		json_write_string(out, a->audit[i].value);
	}
	buf_addz(out, a->naudit > 0 ? "}}}" : "}}");
}
