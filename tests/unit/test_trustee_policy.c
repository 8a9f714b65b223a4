#include <errno.h>

#include "cases.h"
#include "controller/trustee_policy.h"

static struct buf made(enum trustee_resource_policy policy, const struct policy_binding *v, size_t n)
{
	struct error err = {0};
	struct buf out = BUF_INIT(TRUSTEE_POLICY_MAX);
	if (trustee_policy_resource(policy, v, n, &out, &err) < 0)
		fail_msg("%s", err.msg);
	return out;
}

static struct initdata_digests hashed(const char *text)
{
	struct initdata_digests d;
	struct error err = {0};
	assert_int_equal(initdata_digests(str_from(text), "sha256", &d, &err), 0);
	return d;
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;
	for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
		n++;
	return n;
}

// What is in a text is evaluated by tests/policy; here is only how it is put together.
static void test_parts(void **state)
{
	(void)state;
	const struct initdata_digests d = hashed("text");
	const struct policy_binding bindings[] = {{"default/app/key", &d, 1}};
	for (int policy = RESOURCE_PERMISSIVE; policy <= RESOURCE_RESTRICTIVE; policy++) {
		for (size_t n = 0; n <= 1; n++) {
			CLEANUP_BUF
			struct buf text = made((enum trustee_resource_policy)policy, bindings, n);
			assert_int_equal(count(buf_z(&text), "package policy\n"), 1);
			assert_int_equal(count(buf_z(&text), "import rego.v1\n"), 1);
			assert_int_equal(count(buf_z(&text), "\nbindings := {"), 1);
			assert_int_equal(count(buf_z(&text), "\nbindings := {}\n"), n == 0);
			assert_int_equal(count(buf_z(&text), "\"default/app/key\": {"), n);
			assert_int_equal(count(buf_z(&text), "\ndefault allow := false\n"), 1);
		}
	}
}

static void test_profiles_differ(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf permissive = made(RESOURCE_PERMISSIVE, NULL, 0);
	CLEANUP_BUF
	struct buf restrictive = made(RESOURCE_RESTRICTIVE, NULL, 0);
	CLEANUP_BUF
	struct buf ibm_se = made(RESOURCE_IBM_SE, NULL, 0);
	assert_string_not_equal(buf_z(&permissive), buf_z(&restrictive));
	assert_string_not_equal(buf_z(&permissive), buf_z(&ibm_se));
	assert_string_not_equal(buf_z(&restrictive), buf_z(&ibm_se));
}

static void test_references(void **state)
{
	(void)state;
	for (int policy = ATTESTATION_CPU; policy <= ATTESTATION_GPU; policy++) {
		CLEANUP_BUF
		struct buf query = BUF_INIT(TRUSTEE_POLICY_MAX);
		CLEANUP_BUF
		struct buf data = BUF_INIT(TRUSTEE_POLICY_MAX);
		trustee_policy_attestation((enum trustee_attestation_policy)policy, REFERENCES_QUERY, &query);
		trustee_policy_attestation((enum trustee_attestation_policy)policy, REFERENCES_DATA, &data);
		assert_true(buf_ok(&query) && buf_ok(&data));
		assert_int_equal(count(buf_z(&query), ":= query_reference_value(name)\n"), 1);
		assert_int_equal(count(buf_z(&query), ":= data.reference[name]\n"), 0);
		assert_int_equal(count(buf_z(&data), "query_reference_value(name)"), 0);
		assert_int_equal(count(buf_z(&data), ":= data.reference[name]\n"), 1);
		// It is read with a Trustee of any version: which one it is for, its comments would tell wrong.
		assert_int_equal(count(buf_z(&data), "0.13"), 0);
		assert_int_equal(count(buf_z(&query), "0.13"), 0);
	}
}

static void test_small_buffer(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(100);
	assert_int_equal(trustee_policy_resource(RESOURCE_PERMISSIVE, NULL, 0, &out, &err), -EFBIG);
	assert_non_null(strstr(err.msg, "100 bytes"));
}

// A path with quotes would end the string in the text: the message shows it, the text never has it.
static void test_injection(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(TRUSTEE_POLICY_MAX);
	const struct policy_binding evil = {"a/b/c\": {}}\nallow := true #", NULL, 0};
	assert_int_equal(trustee_policy_resource(RESOURCE_RESTRICTIVE, &evil, 1, &out, &err), -EINVAL);
	assert_int_equal(out.n, 0);
	assert_non_null(strstr(err.msg, "bindings[0]"));
	assert_null(strchr(err.msg, '\n'));
}

int main(void)
{
	static struct tests all;
	tests_add(&all, "one head, one table, one default", test_parts, NULL);
	tests_add(&all, "profiles differ", test_profiles_differ, NULL);
	tests_add(&all, "references in both ways", test_references, NULL);
	tests_add(&all, "a buffer that is too small", test_small_buffer, NULL);
	tests_add(&all, "a path that is no path", test_injection, NULL);
	return tests_run("trustee_policy", &all);
}
