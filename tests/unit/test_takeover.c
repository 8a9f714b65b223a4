#include <stdio.h>

#include "cases.h"
#include "common/kube/resource.h"
#include "controller/takeover.h"

#define OURS "{\"manager\":\"coco-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{}}}}"
#define ADMINS "{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"fieldsV1\":{\"f:spec\":{\"f:b\":{}}}}"
#define UPSTREAM(name) \
	"{\"manager\":\"" name "\",\"operation\":\"Update\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{},\"f:c\":{}}}}"
#define BOTH \
	"{\"manager\":\"coco-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{},\"f:c\":{}}}}"

struct takeover_case {
	const char *name;
	const char *entries;
	const char *after; // NULL: nothing is to be done
};

static struct takeover_case cases[] = {
	{"ours alone", OURS, NULL},
	{"an admin's beside ours", OURS "," ADMINS, NULL},
	{"upstream's becomes ours", OURS "," UPSTREAM("manager"), BOTH},
	{"so under its other name", UPSTREAM("trustee-operator") "," OURS, BOTH},
	{"an admin's stays", OURS "," ADMINS "," UPSTREAM("manager"), BOTH "," ADMINS},
	{"before there is any of ours, one is made", UPSTREAM("manager"),
	 "{\"manager\":\"coco-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{},\"f:c\":{}}}}"},
	{"that is like upstream's",
	 "{\"manager\":\"manager\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"t\",\"fieldsType\":"
	 "\"FieldsV1\","
	 "\"fieldsV1\":{\"f:data\":{}}}",
	 "{\"manager\":\"coco-controller\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"time\":\"t\","
	 "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{}}}"},
	{"upstream's status stays",
	 OURS
	 ",{\"manager\":\"manager\",\"operation\":\"Update\",\"subresource\":\"status\",\"fieldsV1\":{\"f:status\":{}}}",
	 NULL},
	{"a status in the same entry is nothing of ours",
	 OURS ",{\"manager\":\"manager\",\"operation\":\"Update\",\"fieldsV1\":{\"f:status\":{},\"f:spec\":{\"f:c\":{}}}}",
	 BOTH},
	{"finalizers stay",
	 OURS ",{\"manager\":\"manager\",\"operation\":\"Update\",\"fieldsV1\":{\"f:metadata\":{\"f:finalizers\":{}},"
		  "\"f:spec\":{\"f:c\":{}}}}",
	 "{\"manager\":\"coco-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{},\"f:c\":{}},"
	 "\"f:metadata\":{}}}"},
	{"one that applies is somebody else",
	 OURS ",{\"manager\":\"manager\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:c\":{}}}}", NULL},
	{"no entries", "", NULL},
};

static json_t *entries_of(const char *text)
{
	char whole[2048];
	assert_true(snprintf(whole, sizeof(whole), "[%s]", text) < (int)sizeof(whole));
	json_t *entries = json_loads(whole, 0, NULL);
	assert_non_null(entries);
	return entries;
}

static void test_patch(void **state)
{
	const struct takeover_case *c = *state;
	json_auto_t *object =
		json_pack("{s:{s:s, s:o}}", "metadata", "resourceVersion", "7", "managedFields", entries_of(c->entries));
	json_auto_t *before = json_deep_copy(object);
	json_auto_t *patch = takeover_patch(object);
	assert_true(json_equal(object, before));
	assert_int_equal(patch != NULL, c->after != NULL);
	if (c->after == NULL)
		return;
	json_auto_t *want = entries_of(c->after);
	assert_true(json_equal(json_object_get(json_object_get(patch, "metadata"), "managedFields"), want));
	assert_string_equal(kube_resource_version(patch), "7");
}

struct fields_case {
	const char *name;
	const char *entries;
	const char *fields;
};

static struct fields_case fields_cases[] = {
	{"ours and upstream's", OURS "," UPSTREAM("manager"), "{\"f:spec\":{\"f:a\":{},\"f:c\":{}}}"},
	{"not an admin's", ADMINS, "{}"},
	{"nor what an admin owns as well",
	 UPSTREAM(
		 "manager") ",{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"fieldsV1\":{\"f:spec\":{\"f:a\":{}}}}",
	 "{\"f:spec\":{\"f:c\":{}}}"},
	{"nor a status", "{\"manager\":\"manager\",\"operation\":\"Update\",\"fieldsV1\":{\"f:status\":{\"f:a\":{}}}}",
	 "{}"},
};

static void test_fields(void **state)
{
	const struct fields_case *c = *state;
	json_auto_t *object = json_pack("{s:{s:o}}", "metadata", "managedFields", entries_of(c->entries));
	json_auto_t *before = json_deep_copy(object);
	json_auto_t *fields = takeover_fields(object);
	json_auto_t *want = json_loads(c->fields, 0, NULL);
	assert_true(json_equal(object, before));
	assert_true(json_equal(fields, want));
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, cases, test_patch);
	ADD_TABLE(&t, fields_cases, test_fields);
	return tests_run("takeover", &t);
}
