#include "common/kube/status.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

#define CAUSES_MAX 3
#define RETRY_AFTER_MAX_S 86400
#define SECRET_MESSAGE "the API server's words aren't shown, as they may quote a Secret; its log may tell more"
#define MESSAGE_MAX ((size_t)2 * ERROR_MSG_MAX) // error_set cuts the rest

int kube_status_errno(int http, const char *reason)
{
	if (strcmp(reason, "Expired") == 0)
		return ESTALE;
	switch (http) {
	case 401:
		return EACCES;
	case 403:
		return EPERM;
	case 404:
		return ENOENT;
	case 408:
		return ETIMEDOUT;
	case 409:
		return strcmp(reason, "AlreadyExists") == 0 ? EEXIST : EBUSY;
	case 410:
		return ESTALE;
	case 413:
		return EFBIG;
	case 429:
		return EAGAIN;
	default:
		return http >= 300 && http < 500 ? EINVAL : EIO;
	}
}

int kube_error_transient(int code)
{
	switch (code) {
	case EAGAIN:
	case EIO:
	case ETIMEDOUT:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EBUSY:
	case ESTALE:
	case EACCES:
		return 1;
	default:
		return 0;
	}
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

// Messages of several lines become one.
static void add_line(struct buf *out, const char *text)
{
	for (const char *p = text; *p != '\0' && out->n < MESSAGE_MAX; p++)
		buf_addc(out, *p == '\n' ? ' ' : *p);
}

// The message mostly tells the causes already: those are left out.
static void add_causes(struct buf *out, const char *message, const json_t *causes)
{
	size_t shown = 0;
	size_t i;
	const json_t *cause;
	json_array_foreach (causes, i, cause) {
		const char *field = text_of(cause, "field");
		const char *what = text_of(cause, "message");
		if ((field[0] == '\0' && what[0] == '\0') || (strstr(message, field) != NULL && strstr(message, what) != NULL))
			continue;
		if (shown++ == CAUSES_MAX) {
			buf_addf(out, "; and more, of %zu causes", json_array_size(causes));
			return;
		}
		buf_addz(out, "; ");
		add_line(out, field);
		buf_addz(out, field[0] != '\0' && what[0] != '\0' ? ": " : "");
		add_line(out, what);
	}
}

// What to do about it, where the answer's own words don't say.
static const char *remedy(int http)
{
	if (http >= 300 && http < 400)
		return "; redirects are not followed, as the credential would go elsewhere: set the API server's own URL as "
			   "server";
	if (http == 401)
		return "; the credential was refused: renew it in the kubeconfig, or look at the service account's token";
	return "";
}

static bool is_status(const json_t *body)
{
	return strcmp(text_of(body, "kind"), "Status") == 0;
}

static int seconds_of(const json_t *details)
{
	json_int_t s = json_integer_value(json_object_get(details, "retryAfterSeconds"));
	return s <= 0 ? 0 : s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int)s;
}

// A refused body is quoted in what is said of it, data of a Secret with it. What names only objects, users and fields may be told.
static bool may_quote(const char *request, int http)
{
	if (strstr(request, "/secrets") == NULL)
		return true;
	return http == 401 || http == 403 || http == 404 || http == 409 || http == 410 || http == 429;
}

int kube_status_read(int http, const json_t *body, const char *request, struct kube_status *ret, struct error *err)
{
	const json_t *status = is_status(body) ? body : NULL;
	const json_t *details = json_object_get(status, "details");
	bool quote = may_quote(request, http);
	const char *message = quote ? text_of(status, "message") : SECRET_MESSAGE;
	*ret = (struct kube_status){.http = http, .retry_after_s = seconds_of(details)};
	(void)snprintf(ret->reason, sizeof(ret->reason), "%s", text_of(status, "reason"));
	text_sanitize(ret->reason);

	CLEANUP_BUF
	struct buf out = BUF_INIT(4 * MESSAGE_MAX);
	if (ret->reason[0] != '\0')
		buf_addf(&out, " %s", ret->reason);
	if (message[0] != '\0') {
		buf_addz(&out, ": ");
		add_line(&out, message);
	}
	if (quote)
		add_causes(&out, message, json_object_get(details, "causes"));
	buf_addz(&out, remedy(http));
	// An API server always says why: something else answered.
	const char *stranger =
		status == NULL && (http < 300 || http >= 400) ? ", without the API server's word on why" : "";
	return error_set(err, kube_status_errno(http, ret->reason), "%s: answered %d%s%s", request, http, buf_z(&out),
					 stranger);
}
