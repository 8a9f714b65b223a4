#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/kube/status.h"

#define STATUS(reason, message, more) \
	"{\"kind\":\"Status\",\"reason\":\"" reason "\",\"message\":\"" message "\"" more "}"
#define CAUSE(field, message) "{\"field\":\"" field "\",\"message\":\"" message "\"}"

struct read_case {
	const char *name;
	int http;
	const char *body; // NULL for none
	int code;
	const char *reason;
	int retry_after_s;
	const char *message; // after "GET /x: "
};

#define STRANGER ", without the API server's word on why"

static struct read_case read_cases[] = {
	{"read: no body", 500, NULL, EIO, "", 0, "answered 500" STRANGER},
	{"read: a proxy's object", 404, "{\"error\":\"x\"}", ENOENT, "", 0, "answered 404" STRANGER},
	{"read: another kind", 404, "{\"kind\":\"Pod\",\"message\":\"x\"}", ENOENT, "", 0, "answered 404" STRANGER},
	{"read: no object", 502, "[1]", EIO, "", 0, "answered 502" STRANGER},
	{"read: reason and message", 404, STATUS("NotFound", "pods \\\"a\\\" not found", ""), ENOENT, "NotFound", 0,
	 "answered 404 NotFound: pods \"a\" not found"},
	{"read: message alone", 500, "{\"kind\":\"Status\",\"message\":\"m\"}", EIO, "", 0, "answered 500: m"},
	{"read: reason alone", 409, "{\"kind\":\"Status\",\"reason\":\"Conflict\"}", EBUSY, "Conflict", 0,
	 "answered 409 Conflict"},
	{"read: wrong types", 409,
	 "{\"kind\":\"Status\",\"reason\":1,\"message\":{},\"details\":[{\"retryAfterSeconds\":3}]}", EBUSY, "", 0,
	 "answered 409"},
	{"read: retry after", 429, STATUS("TooManyRequests", "m", ",\"details\":{\"retryAfterSeconds\":7}"), EAGAIN,
	 "TooManyRequests", 7, "answered 429 TooManyRequests: m"},
	{"read: retry after, negative", 429, STATUS("R", "m", ",\"details\":{\"retryAfterSeconds\":-7}"), EAGAIN, "R", 0,
	 "answered 429 R: m"},
	{"read: retry after, huge", 429, STATUS("R", "m", ",\"details\":{\"retryAfterSeconds\":9223372036854775807}"),
	 EAGAIN, "R", 86400, "answered 429 R: m"},
	{"read: a conflict names managers and fields", 409,
	 STATUS("Conflict", "Apply failed with 2 conflicts",
			",\"details\":{\"causes\":[" CAUSE(".spec.a", "conflict with \\\"kubectl\\\" using v1") "," //
			CAUSE(".spec.b", "conflict with \\\"helm\\\"") "]}"),
	 EBUSY, "Conflict", 0,
	 "answered 409 Conflict: Apply failed with 2 conflicts; .spec.a: conflict with \"kubectl\" using v1; .spec.b: "
	 "conflict with \"helm\""},
	{"read: causes that the message tells", 422,
	 STATUS("Invalid", "it is invalid: spec.a: Required value",
			",\"details\":{\"causes\":[" CAUSE("spec.a", "Required "
														 "value") "]}"),
	 EINVAL, "Invalid", 0, "answered 422 Invalid: it is invalid: spec.a: Required value"},
	{"read: three causes and no more", 422,
	 STATUS("Invalid", "m",
			",\"details\":{\"causes\":[" CAUSE("a", "1") "," CAUSE("b", "2") "," CAUSE("", "") "," //
			CAUSE("c", "3") "," CAUSE("d", "4") "]}"),
	 EINVAL, "Invalid", 0, "answered 422 Invalid: m; a: 1; b: 2; c: 3; and more, of 5 causes"},
	{"read: cause with one half", 422,
	 STATUS("Invalid", "m", ",\"details\":{\"causes\":[" CAUSE("a", "") "," CAUSE("", "2") ",3]}"), EINVAL, "Invalid",
	 0, "answered 422 Invalid: m; a; 2"},
	{"read: lines become one", 409, STATUS("Conflict", "a:\\n- b\\u001b[1m", ""), EBUSY, "Conflict", 0,
	 "answered 409 Conflict: a: - b?[1m"},
	{"read: redirect", 302, NULL, EINVAL, "", 0,
	 "answered 302; redirects are not followed, as the credential would go elsewhere: set the API server's own URL as "
	 "server"},
	{"read: unauthorized", 401, STATUS("Unauthorized", "Unauthorized", ""), EACCES, "Unauthorized", 0,
	 "answered 401 Unauthorized: Unauthorized; the credential was refused: renew it in the kubeconfig, or look at the "
	 "service account's token"},
};

static void test_read(void **state)
{
	const struct read_case *c = *state;
	json_auto_t *body = c->body != NULL ? json_loads(c->body, 0, NULL) : NULL;
	assert_int_equal(body != NULL, c->body != NULL);
	struct kube_status status;
	struct error err = {0};
	assert_int_equal(kube_status_read(c->http, body, "GET /x", &status, &err), -c->code);
	static const char prefix[] = "GET /x: ";
	assert_memory_equal(err.msg, prefix, strlen(prefix));
	assert_string_equal(err.msg + strlen(prefix), c->message);
	assert_int_equal(err.code, c->code);
	assert_int_equal(status.http, c->http);
	assert_string_equal(status.reason, c->reason);
	assert_int_equal(status.retry_after_s, c->retry_after_s);
}

struct secret_case {
	const char *name;
	const char *request;
	int http;
	bool quoted;
};

static struct secret_case secret_cases[] = {
	{"secret: what is refused isn't quoted", "PATCH /api/v1/namespaces/a/secrets/b", 422, false},
	{"secret: nor what can't be read", "POST /api/v1/namespaces/a/secrets", 400, false},
	{"secret: nor a fault of the server's", "PATCH /api/v1/namespaces/a/secrets/b", 500, false},
	{"secret: nor of a list", "GET /api/v1/secrets", 500, false},
	{"secret: what is forbidden is told", "PATCH /api/v1/namespaces/a/secrets/b", 403, true},
	{"secret: and a conflict", "PATCH /api/v1/namespaces/a/secrets/b", 409, true},
	{"secret: and what isn't there", "GET /api/v1/namespaces/a/secrets/b", 404, true},
	{"secret: a ConfigMap is none", "PATCH /api/v1/namespaces/a/configmaps/b", 422, true},
};

static void test_secret(void **state)
{
	const struct secret_case *c = *state;
	json_auto_t *body =
		json_loads(STATUS("R", "message", ",\"details\":{\"causes\":[" CAUSE("field", "cause") "]}"), 0, NULL);
	assert_non_null(body);
	struct kube_status status;
	struct error err = {0};
	assert_true(kube_status_read(c->http, body, c->request, &status, &err) < 0);
	assert_string_equal(status.reason, "R");
	assert_non_null(strstr(err.msg, c->request));
	assert_non_null(strstr(err.msg, c->quoted ? "R: message; field: cause" : "may quote a Secret"));
	assert_int_equal(strstr(err.msg, "cause") != NULL, c->quoted);
}

// A reason, message and causes of any length end where the error does, with all its parts in order.
static void test_read_long(void **state)
{
	(void)state;
	char *reason = calloc(1, 100001);
	assert_non_null(reason);
	memset(reason, 'r', 100000);
	json_auto_t *body = json_pack("{s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "kind", "Status", "reason", reason, "message",
								  reason, "details", "causes", "field", reason, "message", "x");
	free(reason);
	assert_non_null(body);
	struct kube_status status;
	struct error err = {0};
	assert_int_equal(kube_status_read(422, body, "GET /x", &status, &err), -EINVAL);
	assert_int_equal(strlen(status.reason), sizeof(status.reason) - 1);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + strlen(err.msg) - 3, "...");
}

struct errno_case {
	const char *name;
	int http;
	const char *reason;
	int want;
};

static struct errno_case errno_cases[] = {
	{"errno: 301", 301, "", EINVAL},
	{"errno: 400", 400, "BadRequest", EINVAL},
	{"errno: 401", 401, "Unauthorized", EACCES},
	{"errno: 403", 403, "Forbidden", EPERM},
	{"errno: 404", 404, "NotFound", ENOENT},
	{"errno: 405", 405, "MethodNotAllowed", EINVAL},
	{"errno: 406", 406, "NotAcceptable", EINVAL},
	{"errno: 408", 408, "", ETIMEDOUT},
	{"errno: 409 exists", 409, "AlreadyExists", EEXIST},
	{"errno: 409 conflict", 409, "Conflict", EBUSY},
	{"errno: 409 without a reason", 409, "", EBUSY},
	{"errno: 410 gone", 410, "Gone", ESTALE},
	{"errno: 410 expired", 410, "Expired", ESTALE},
	{"errno: expired otherwise", 500, "Expired", ESTALE},
	{"errno: 413", 413, "RequestEntityTooLarge", EFBIG},
	{"errno: 415", 415, "UnsupportedMediaType", EINVAL},
	{"errno: 418", 418, "", EINVAL},
	{"errno: 422", 422, "Invalid", EINVAL},
	{"errno: 429", 429, "TooManyRequests", EAGAIN},
	{"errno: 500", 500, "InternalError", EIO},
	{"errno: 503", 503, "ServiceUnavailable", EIO},
	{"errno: 504", 504, "Timeout", EIO},
	{"errno: beyond", 999, "", EIO},
	{"errno: none", 0, "", EIO},
	{"errno: 199", 199, "", EIO},
};

static void test_errno(void **state)
{
	const struct errno_case *c = *state;
	assert_int_equal(kube_status_errno(c->http, c->reason), c->want);
}

struct transient_case {
	const char *name;
	int code;
	int want;
};

static struct transient_case transient_cases[] = {
	{"transient: EAGAIN", EAGAIN, 1},         {"transient: EIO", EIO, 1},
	{"transient: ETIMEDOUT", ETIMEDOUT, 1},   {"transient: ECONNREFUSED", ECONNREFUSED, 1},
	{"transient: ECONNRESET", ECONNRESET, 1}, {"transient: EHOSTUNREACH", EHOSTUNREACH, 1},
	{"transient: EBUSY", EBUSY, 1},           {"transient: ESTALE", ESTALE, 1},
	{"transient: EACCES", EACCES, 1},         {"lasting: ENOENT", ENOENT, 0},
	{"lasting: EEXIST", EEXIST, 0},           {"lasting: EPERM", EPERM, 0},
	{"lasting: EINVAL", EINVAL, 0},           {"lasting: EFBIG", EFBIG, 0},
	{"lasting: EPROTO", EPROTO, 0},           {"lasting: ECANCELED", ECANCELED, 0},
};

static void test_transient(void **state)
{
	const struct transient_case *c = *state;
	assert_int_equal(kube_error_transient(c->code), c->want);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, read_cases, test_read);
	tests_add(&t, "read: long", test_read_long, NULL);
	ADD_TABLE(&t, secret_cases, test_secret);
	ADD_TABLE(&t, errno_cases, test_errno);
	ADD_TABLE(&t, transient_cases, test_transient);
	return tests_run("kube_status", &t);
}
