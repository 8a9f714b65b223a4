#include "common/kube/answer.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/buf.h"

#define KIND_MAX ((size_t)1024)
#define EXACT_BELOW 0x1p53 // what a double holds exactly, one by one

// jansson's own messages quote the text.
static const char *what_is_wrong(enum json_error_code code)
{
	switch (code) {
	case json_error_duplicate_key:
		return "a key is there twice";
	case json_error_numeric_overflow:
		return "a number is beyond what a double holds";
	case json_error_invalid_utf8:
		return "it is not UTF-8";
	case json_error_premature_end_of_input:
		return "it ends too early";
	case json_error_null_byte_in_key:
		return "a key has \\u0000 in it";
	case json_error_stack_overflow:
		return "it is nested too deep";
	case json_error_end_of_input_expected:
		return "something follows it";
	default:
		return "it is not JSON";
	}
}

// The integer that a real stands for, new; NULL where it stands for none, or a double might not have held it exactly.
static json_t *as_integer(const json_t *v)
{
	double d = json_real_value(v);
	return json_is_real(v) && d == trunc(d) && fabs(d) < EXACT_BELOW ? json_integer((json_int_t)d) : NULL;
}

// As deep as the reader goes.
static void restore_integers(json_t *tree)
{
	json_t *whole;
	for (void *i = json_object_iter(tree); i != NULL; i = json_object_iter_next(tree, i)) {
		if ((whole = as_integer(json_object_iter_value(i))) != NULL)
			(void)json_object_iter_set_new(tree, i, whole);
		else
			restore_integers(json_object_iter_value(i));
	}
	for (size_t i = 0; i < json_array_size(tree); i++) {
		if ((whole = as_integer(json_array_get(tree, i))) != NULL)
			(void)json_array_set_new(tree, i, whole);
		else
			restore_integers(json_array_get(tree, i));
	}
}

json_t *kube_answer_read(struct str text, struct error *err)
{
	json_error_t e;
	const char *p = text.p != NULL ? text.p : "";
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
	json_t *tree = json_loadb(p, text.n, flags, &e);
	if (tree == NULL && json_error_code(&e) == json_error_numeric_overflow) {
		tree = json_loadb(p, text.n, flags | JSON_DECODE_INT_AS_REAL, &e);
		restore_integers(tree);
	}
	if (tree == NULL)
		(void)error_set(err, EIO, "the answer can't be read: %s, at byte %d of %zu", what_is_wrong(json_error_code(&e)),
						e.position, text.n);
	return tree;
}

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

// "Pod" for "PodList".
static void add_item_kind(const char *list_kind, const struct kube_resource *res, struct buf *out)
{
	const size_t suffix = strlen("List");
	size_t n = strlen(list_kind);
	if (n > suffix && n < KIND_MAX && strcmp(list_kind + n - suffix, "List") == 0)
		buf_add(out, list_kind, n - suffix);
	else
		buf_addz(out, res->kind);
}

static int set_if_unset(json_t *item, const char *key, const char *value)
{
	return text_at(item, key)[0] != '\0' ? 0 : json_object_set_new(item, key, json_string(value));
}

static int name_items(json_t *items, const char *api_version, const char *kind, struct error *err)
{
	size_t i;
	json_t *item;
	json_array_foreach (items, i, item) {
		if (!json_is_object(item))
			return error_set(err, EIO, "item %zu of the list is no object", i);
		if (set_if_unset(item, "apiVersion", api_version) < 0 || set_if_unset(item, "kind", kind) < 0)
			return error_set(err, EIO, "item %zu of the list can't be given its kind %s", i, kind);
	}
	return 0;
}

int kube_list_page_read(json_t *list, const struct kube_resource *res, struct kube_list_page *ret, struct error *err)
{
	json_t *items = json_object_get(list, "items");
	// Go writes an empty list as null as well.
	if (!json_is_array(items) && !json_is_null(items))
		return error_set(err, EIO, "the answer is no list: it has no array of items, but kind \"%.100s\"",
						 text_at(list, "kind"));
	CLEANUP_BUF
	struct buf kind = BUF_INIT(KIND_MAX);
	CLEANUP_BUF
	struct buf api_version = BUF_INIT(KIND_MAX);
	add_item_kind(text_at(list, "kind"), res, &kind);
	if (text_at(list, "apiVersion")[0] != '\0')
		buf_addz(&api_version, text_at(list, "apiVersion"));
	else
		kube_api_version(res, &api_version);
	if (!buf_ok(&kind) || !buf_ok(&api_version))
		return error_set(err, EIO, "the list's apiVersion is longer than %zu bytes", KIND_MAX);
	if (name_items(items, buf_z(&api_version), buf_z(&kind), err) < 0)
		return -err->code;
	const json_t *meta = json_object_get(list, "metadata");
	const char *next = text_at(meta, "continue");
	*ret = (struct kube_list_page){
		.items = json_is_array(items) ? json_incref(items) : json_array(),
		.next = next[0] != '\0' ? next : NULL,
		.resource_version = text_at(meta, "resourceVersion"),
	};
	return 0;
}

void kube_list_page_release(struct kube_list_page *p)
{
	json_decref(p->items);
	*p = (struct kube_list_page){0};
}
