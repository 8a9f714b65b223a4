#include "cases.h"
#include "controller/emptied.h"

#define HEAD "PATCH /apis/x: answered 422 Invalid: KbsConfig.confidentialcontainers.org \"t\" is invalid: "
#define NULL_AT(path) path ": Invalid value: \"null\": " path " in body must be of type object: \"null\""

struct emptied_case {
	const char *name;
	const char *message, *rendered;
	const char *patch; // NULL: nothing is to be done
};

static struct emptied_case cases[] = {
	{"one map", HEAD NULL_AT("spec.vault"), "{\"spec\":{}}", "{\"spec\":{\"vault\":null}}"},
	{"two maps", HEAD "[" NULL_AT("spec.vault") ", " NULL_AT("spec.KbsEnvVars") "]", "{\"spec\":{\"a\":1}}",
	 "{\"spec\":{\"vault\":null,\"KbsEnvVars\":null}}"},
	{"a map within another", HEAD NULL_AT("spec.vault.caSecretRef"), "{\"spec\":{\"vault\":{\"address\":\"a\"}}}",
	 "{\"spec\":{\"vault\":{\"caSecretRef\":null}}}"},
	{"two within one", HEAD "[" NULL_AT("spec.a.b") ", " NULL_AT("spec.a.c") "]", "{\"spec\":{}}",
	 "{\"spec\":{\"a\":{\"b\":null,\"c\":null}}}"},
	{"a rendered one stays", HEAD NULL_AT("spec.vault"), "{\"spec\":{\"vault\":{\"address\":\"a\"}}}", NULL},
	{"of two, the one that isn't rendered", HEAD "[" NULL_AT("spec.vault") ", " NULL_AT("spec.b") "]",
	 "{\"spec\":{\"vault\":{}}}", "{\"spec\":{\"b\":null}}"},
	{"another value", HEAD "spec.replicas: Invalid value: \"-1\": must be more", "{\"spec\":{}}", NULL},
	{"null in a list", HEAD NULL_AT("spec.list[0]"), "{\"spec\":{}}", NULL},
	{"no field", HEAD NULL_AT("spec."), "{\"spec\":{}}", NULL},
	{"cut", HEAD "spec.vault: Invalid val...", "{\"spec\":{}}", NULL},
	{"another part", HEAD NULL_AT("status.a"), "{\"spec\":{}}", NULL},
	{"the end of another word", HEAD NULL_AT("xspec.a"), "{\"spec\":{}}", NULL},
	{"nothing", "", "{}", NULL},
};

static void test_patch(void **state)
{
	const struct emptied_case *c = *state;
	json_auto_t *rendered = json_loads(c->rendered, 0, NULL);
	json_auto_t *before = json_deep_copy(rendered);
	json_auto_t *patch = emptied_patch(c->message, rendered);
	assert_true(json_equal(rendered, before));
	assert_int_equal(patch != NULL, c->patch != NULL);
	if (c->patch == NULL)
		return;
	json_auto_t *want = json_loads(c->patch, 0, NULL);
	assert_non_null(want);
	assert_true(json_equal(patch, want));
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, cases, test_patch);
	return tests_run("emptied", &t);
}
