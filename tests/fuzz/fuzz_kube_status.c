// Bytes as the API server's answer: no crash; an error that names the request, its code as the rule says, and no control
// characters; a list whose items all have a kind.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/answer.h"
#include "common/kube/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

static void check_text(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7F, "control character", text);
}

static void check_status(int http, const json_t *body)
{
	struct kube_status status;
	struct error err = {0};
	int rc = kube_status_read(http, body, "GET /x", &status, &err);
	must(rc < 0 && rc == -err.code, "return", err.msg);
	must(strncmp(err.msg, "GET /x: answered ", 17) == 0, "message", err.msg);
	must(err.code == kube_status_errno(http, status.reason), "code", err.msg);
	must(status.http == http && status.retry_after_s >= 0 && status.retry_after_s <= 86400, "status", err.msg);
	check_text(err.msg);
	check_text(status.reason);
}

static void check_page(json_t *list)
{
	struct kube_list_page p = {0};
	struct error err = {0};
	if (kube_list_page_read(list, &KUBE_PODS, &p, &err) < 0) {
		must(err.code == EIO, "code", err.msg);
		check_text(err.msg);
		return;
	}
	must(json_is_array(p.items) && p.resource_version != NULL, "page", "incomplete");
	must(p.next == NULL || p.next[0] != '\0', "page", "empty token");
	size_t i;
	json_t *item;
	json_array_foreach (p.items, i, item) {
		const char *kind = json_string_value(json_object_get(item, "kind"));
		const char *version = json_string_value(json_object_get(item, "apiVersion"));
		must(kind != NULL && kind[0] != '\0' && version != NULL && version[0] != '\0', "item", "no kind");
		char *ns = NULL;
		char *name = NULL;
		char *key = kube_key(kube_namespace(item), kube_name(item));
		kube_key_split(key, &ns, &name);
		free(key);
		free(ns);
		free(name);
	}
	kube_list_page_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const int statuses[] = {302, 401, 404, 409, 410, 422, 429, 500, 503};
	struct error err = {0};
	json_t *body = kube_answer_read((struct str){(const char *)data, n}, &err);
	if (body == NULL) {
		must(err.code == EIO, "code", err.msg);
		check_text(err.msg);
	}
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		check_status(statuses[i], body);
	if (body != NULL)
		check_page(body);
	json_decref(body);
	return 0;
}
