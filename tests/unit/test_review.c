// AdmissionReview in and out.
#include <stdlib.h>

#include "cases.h"
#include "common/mem.h"
#include "webhook/handle.h"
#include "world.h"

#define HEAD "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u-1\","
#define PODS "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"kind\":{\"kind\":\"Pod\"},"

struct read_case {
	const char *name;
	const char *text;
	enum review_fault fault;
	const char *uid;
	const char *message;
};

#define NO_REVIEW(kind, version)                                                                                   \
	"the body is kind \"" kind "\" of apiVersion \"" version "\"; send an AdmissionReview of admission.k8s.io/v1 " \
	"(admissionReviewVersions: [v1] in the webhook configuration)"

static struct read_case read_cases[] = {
	{"the least that there is", HEAD "\"operation\":\"CREATE\"}}", REVIEW_OK, "u-1", NULL},
	{"white space around", " \t\r\n" HEAD "\"a\":1}}\n ", REVIEW_OK, "u-1", NULL},
	{"members nobody knows are passed over", HEAD "\"futureField\":{\"a\":[1,2.5e3,null,true]},\"name\":\"x\"}}",
	 REVIEW_OK, "u-1", NULL},
	{"null for object, oldObject, options and userInfo",
	 HEAD "\"object\":null,\"oldObject\":null,\"options\":null,\"userInfo\":null,\"subResource\":null}}", REVIEW_OK,
	 "u-1", NULL},
	{"request before kind and version",
	 "{\"request\":{\"uid\":\"u-1\"},\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}", REVIEW_OK,
	 "u-1", NULL},
	{"an answer from before is passed over",
	 "{\"response\":{\"uid\":\"old\"},"
	 "\"kind\":\"AdmissionReview\","
	 "\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u-1\"}}",
	 REVIEW_OK, "u-1", NULL},
	{"escapes in the uid",
	 "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
	 "\"\\u0075\\u002d\\\"1\"}}",
	 REVIEW_OK, "u-\"1", NULL},
	{"lifecycle.stopSignal is a string",
	 HEAD "\"object\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"lifecycle\":"
		  "{\"stopSignal\":\"SIGUSR1\"}}]}}}}",
	 REVIEW_OK, "u-1", NULL},
	{"dryRun null", HEAD "\"dryRun\":null}}", REVIEW_OK, "u-1", NULL},

	{"empty", "", REVIEW_MALFORMED, NULL, NULL},
	{"another kind", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"request\":{\"uid\":\"u-1\"}}", REVIEW_MALFORMED, NULL,
	 NO_REVIEW("Pod", "v1")},
	{"v1beta1",
	 "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1beta1\",\"request\":{\"uid\":\"u\"}}",
	 REVIEW_MALFORMED, NULL, NO_REVIEW("AdmissionReview", "admission.k8s.io/v1beta1")},
	{"an empty object", "{}", REVIEW_MALFORMED, NULL, NO_REVIEW("", "")},
	{"no request", "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}", REVIEW_MALFORMED, NULL,
	 "the AdmissionReview has no request.uid; an answer could not be matched to it"},
	{"an empty uid", "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"\"}}",
	 REVIEW_MALFORMED, NULL, "the AdmissionReview has no request.uid; an answer could not be matched to it"},
	{"uid twice", HEAD "\"uid\":\"u-2\"}}", REVIEW_MALFORMED, NULL, NULL},
	{"text behind", HEAD "\"a\":1}} x", REVIEW_MALFORMED, NULL, NULL},
	{"a list", "[]", REVIEW_MALFORMED, NULL, NULL},
	{"a wrong type before the uid",
	 "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"name\":5,\"uid\":\"u-1\"}}",
	 REVIEW_MALFORMED, NULL, NULL},
	{"labels as a list", HEAD PODS "\"object\":{\"metadata\":{\"labels\":[\"a\"]}}}}", REVIEW_REFUSED, "u-1",
	 "request.object.metadata.labels: must be an object, not an array"},
	{"a number as a label", HEAD PODS "\"object\":{\"metadata\":{\"labels\":{\"a/b\":1}}}}}", REVIEW_REFUSED, "u-1",
	 "request.object.metadata.labels.a/b: must be a string, not a number; put it in quotes"},
	{"a string for containers", HEAD PODS "\"object\":{\"spec\":{\"containers\":\"x\"}}}}", REVIEW_REFUSED, "u-1",
	 "request.object.spec.containers: must be an array, not a string"},
	{"a string as a container", HEAD PODS "\"object\":{\"spec\":{\"containers\":[{},\"x\"]}}}}", REVIEW_REFUSED, "u-1",
	 "request.object.spec.containers[1]: must be an object, not a string"},
	{"hostNetwork as text", HEAD PODS "\"object\":{\"spec\":{\"hostNetwork\":\"true\"}}}}", REVIEW_REFUSED, "u-1",
	 "request.object.spec.hostNetwork: must be a boolean, not a string"},
	{"a list as a quantity",
	 HEAD PODS "\"object\":{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"memory\":[]}}}]}}}}",
	 REVIEW_REFUSED, "u-1", NULL},
};

static void test_read(void **state)
{
	const struct read_case *c = *state;
	struct arena arena = {0};
	struct review r;
	struct error err = {0};
	// A copy of the exact size, so that a sanitizer sees reads past the end.
	size_t n = strlen(c->text);
	char *text = xreallocarray(NULL, n > 0 ? n : 1, 1);
	memcpy(text, c->text, n);
	assert_int_equal(review_read((struct str){text, n}, &arena, &r, &err), c->fault);
	if (c->uid != NULL)
		assert_true(str_is(r.uid, c->uid));
	if (c->message != NULL)
		assert_text(err.msg, c->message);
	if (c->fault != REVIEW_OK)
		assert_true(err.msg[0] != '\0');
	free(text);
	arena_release(&arena);
}

static void test_read_fields(void **state)
{
	(void)state;
	static const char text[] =
		"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\","
		"\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},"
		"\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},"
		"\"requestResource\":{\"group\":\"apps\",\"version\":\"v9\",\"resource\":\"other\"},"
		"\"subResource\":\"ephemeralcontainers\",\"operation\":\"UPDATE\",\"name\":\"p\",\"namespace\":\"n\","
		"\"userInfo\":{\"username\":\"me\",\"groups\":[\"a\"],\"extra\":{\"username\":[\"not me\"]}},\"dryRun\":true,"
		"\"object\":{\"metadata\":{\"name\":\"new\"}},\"oldObject\":{\"metadata\":{\"name\":\"old\"}}}}";
	struct arena arena = {0};
	struct review r;
	struct error err;
	assert_int_equal(review_read(str_from(text), &arena, &r, &err), REVIEW_OK);
	assert_true(str_is(r.kind, "Pod") && str_is(r.resource, "pods") && str_is(r.version, "v1") && r.group.n == 0);
	assert_true(str_is(r.sub_resource, "ephemeralcontainers") && str_is(r.operation, "UPDATE"));
	assert_true(str_is(r.name, "p") && str_is(r.ns, "n") && str_is(r.user, "me") && r.dry_run);
	assert_true(r.has_object && r.has_old_object);
	assert_true(str_is(r.object.name, "new") && str_is(r.old_object.name, "old"));
	assert_true(review_is_pod(&r));
	arena_release(&arena);
}

// ---- Cut short anywhere, it is malformed, and no byte past the end is looked at

static void test_truncated(void **state)
{
	(void)state;
	static const char text[] = HEAD PODS "\"object\":{\"metadata\":{\"labels\":{\"a\":\"\\u00e9\\n\"},\"x\":[1,-2.5e+3,"
										 "true,false,null,{}]},\"spec\":{\"containers\":[{\"name\":\"a\"}]}}}}";
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		struct arena arena = {0};
		struct review r;
		struct error err;
		char *copy = xreallocarray(NULL, n + (n == 0), 1);
		memcpy(copy, text, n);
		assert_int_equal(review_read((struct str){copy, n}, &arena, &r, &err), REVIEW_MALFORMED);
		free(copy);
		arena_release(&arena);
	}
}

// ---- Out

#define ANSWER(more) "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{" more "}}"

static const char *const two_warnings[] = {"a \"b\"", "c\n"};
static const struct key_value two_notes[] = {{STR("decision"), STR("Mutated")}, {STR("profile"), STR("a\\b")}};

struct write_case {
	const char *name;
	struct answer answer;
	const char *want;
};

static struct write_case write_cases[] = {
	{"allowed", {.uid = STR("u"), .allowed = true}, ANSWER("\"uid\":\"u\",\"allowed\":true")},
	{"allowed: code and message stay out",
	 {.uid = STR("u"), .allowed = true, .code = 403, .reason = "Forbidden", .message = STR("no")},
	 ANSWER("\"uid\":\"u\",\"allowed\":true")},
	{"a uid with quotes",
	 {.uid = STR("\"\\\x01"), .allowed = true},
	 ANSWER("\"uid\":\"\\\"\\\\\\u0001\",\"allowed\":true")},
	{"denied",
	 {.uid = STR("u"), .code = 403, .reason = "Forbidden", .message = STR("a\n\"b\"")},
	 ANSWER("\"uid\":\"u\",\"allowed\":false,\"status\":{\"code\":403,\"reason\":\"Forbidden\",\"message\":"
			"\"a\\n\\\"b\\\"\"}")},
	{"a message that is not UTF-8",
	 {.uid = STR("u"), .code = 400, .reason = "BadRequest", .message = STR("a\xC3")},
	 ANSWER("\"uid\":\"u\",\"allowed\":false,\"status\":{\"code\":400,\"reason\":\"BadRequest\",\"message\":"
			"\"a\xEF\xBF\xBD\"}")},
	{"denied for now",
	 {.uid = STR("u"), .code = 503, .reason = "ServiceUnavailable", .message = STR("a"), .retry_after_s = 2},
	 ANSWER("\"uid\":\"u\",\"allowed\":false,\"status\":{\"code\":503,\"reason\":\"ServiceUnavailable\",\"message\":"
			"\"a\",\"details\":{\"retryAfterSeconds\":2}}")},
	{"a patch",
	 {.uid = STR("u"), .allowed = true, .patch64 = STR("W3t9XQ==")},
	 ANSWER("\"uid\":\"u\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"W3t9XQ==\"")},
	{"warnings and notes",
	 {.uid = STR("u"), .allowed = true, .warnings = two_warnings, .nwarnings = 2, .audit = two_notes, .naudit = 2},
	 ANSWER("\"uid\":\"u\",\"allowed\":true,\"warnings\":[\"a \\\"b\\\"\",\"c\\n\"],\"auditAnnotations\":{\"decision\":"
			"\"Mutated\",\"profile\":\"a\\\\b\"}")},
};

static void test_write(void **state)
{
	const struct write_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(4096);
	answer_write(&c->answer, &out);
	assert_text(buf_z(&out), c->want);
}

// ---- From text to text

struct handle_case {
	const char *name;
	enum endpoint endpoint;
	const char *text;
	int status;
	const char *want;
};

#define DENIED400(message)                                                                                            \
	ANSWER(                                                                                                           \
		"\"uid\":\"u-1\",\"allowed\":false,\"status\":{\"code\":400,\"reason\":\"BadRequest\",\"message\":\"" message \
		"\"},\"auditAnnotations\":{\"decision\":\"denied\",\"reason\":\"Unfit\"}")
#define LEFT(reason)                                                                                                   \
	ANSWER("\"uid\":\"u-1\",\"allowed\":true,\"auditAnnotations\":{\"decision\":\"allowed\",\"reason\":\"" reason "\"" \
		   "}")
#define POD "\"object\":{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"a\"}]}}"
#define SPECLESS "request.object is missing or has no spec; there is no pod to judge"

static struct handle_case handle_cases[] = {
	{"malformed: 400 and a line", ENDPOINT_MUTATE, "{}", 400, NO_REVIEW("", "") "\n"},
	{"refused: an answer with the uid", ENDPOINT_MUTATE, HEAD PODS "\"object\":[]}}", 200,
	 ANSWER("\"uid\":\"u-1\",\"allowed\":false,\"status\":{\"code\":400,\"reason\":\"BadRequest\",\"message\":"
			"\"request.object: must be an object, not an array\"},\"auditAnnotations\":{\"decision\":\"denied\","
			"\"reason\":\"Malformed\"}")},
	{"not selected: only allowed", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"CREATE\"," POD "}}", 200,
	 LEFT("NotSelected")},
	{"not selected: only allowed, validating", ENDPOINT_VALIDATE, HEAD PODS "\"operation\":\"CREATE\"," POD "}}", 200,
	 LEFT("NotSelected")},
	{"another resource", ENDPOINT_MUTATE,
	 HEAD
	 "\"resource\":{\"group\":\"apps\",\"version\":\"v1\",\"resource\":\"deployments\"},\"operation\":\"CREATE\"}}",
	 200,
	 DENIED400("coco-webhook was asked about \\\"deployments\\\" of group \\\"apps\\\", version \\\"v1\\\"; it takes "
			   "pods of v1: correct the rules of the webhook configuration")},
	{"an operation nobody knows", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"MERGE\"," POD "}}", 200,
	 DENIED400("request.operation is \\\"MERGE\\\"; it must be CREATE, UPDATE, DELETE or CONNECT")},
	{"no operation", ENDPOINT_VALIDATE, HEAD PODS POD "}}", 200,
	 DENIED400("request.operation is \\\"\\\"; it must be CREATE, UPDATE, DELETE or CONNECT")},
	{"another kind of object", ENDPOINT_MUTATE,
	 HEAD "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"kind\":{\"kind\":\"Binding\"},"
		  "\"operation\":\"CREATE\"," POD "}}",
	 200, DENIED400("request.kind.kind is \\\"Binding\\\"; for pods it must be Pod")},
	{"CREATE without an object", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"CREATE\"}}", 200, DENIED400(SPECLESS)},
	{"CREATE of null", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"CREATE\",\"object\":null}}", 200,
	 DENIED400(SPECLESS)},
	{"CREATE of a pod without spec", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"CREATE\",\"object\":{}}}", 200,
	 DENIED400(SPECLESS)},
	{"UPDATE without an object", ENDPOINT_VALIDATE, HEAD PODS "\"operation\":\"UPDATE\"}}", 200, DENIED400(SPECLESS)},
	{"ephemeral containers without an object", ENDPOINT_VALIDATE,
	 HEAD PODS "\"operation\":\"UPDATE\",\"subResource\":\"ephemeralcontainers\"}}", 200, DENIED400(SPECLESS)},
	{"DELETE needs no object", ENDPOINT_MUTATE, HEAD PODS "\"operation\":\"DELETE\",\"object\":null}}", 200,
	 LEFT("NotOurs")},
	{"CONNECT to exec brings PodExecOptions", ENDPOINT_VALIDATE,
	 HEAD
	 "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"kind\":{\"kind\":\"PodExecOptions\"},"
	 "\"subResource\":\"exec\",\"operation\":\"CONNECT\",\"object\":{\"kind\":\"PodExecOptions\",\"stdout\":true}}}",
	 200, LEFT("NotOurs")},
	{"a Binding is no pod", ENDPOINT_MUTATE,
	 HEAD "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"kind\":{\"kind\":\"Binding\"},"
		  "\"subResource\":\"binding\",\"operation\":\"CREATE\",\"object\":{\"target\":{\"kind\":\"Node\"}}}}",
	 200, LEFT("NotOurs")},
};

static void test_handle(void **state)
{
	const struct handle_case *c = *state;
	struct world w = {0};
	struct handled h;
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	world_default(&w, "", "", "");
	memset(&h, 0xa5, sizeof(h)); // as a server's stack may be
	handle_review(c->endpoint, w.catalog, str_from(c->text), &w.arena, &out, &h);
	assert_text(buf_z(&out), c->want);
	assert_int_equal(h.status, c->status);
	world_release(&w);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, read_cases, test_read);
	tests_add(&t, "every field", test_read_fields, NULL);
	tests_add(&t, "truncated anywhere", test_truncated, NULL);
	ADD_TABLE(&t, write_cases, test_write);
	ADD_TABLE(&t, handle_cases, test_handle);
	return tests_run("review", &t);
}
