#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/agent_policy.h"

struct default_case {
	const char *name;
	const char *rego;
	enum agent_policy_default want; // of rule R
};

static struct default_case default_cases[] = {
	{"default: empty", "", POLICY_UNDEFINED},
	{"default: true", "package agent_policy\ndefault R := true\n", POLICY_TRUE},
	{"default: false", "default R := false\n", POLICY_FALSE},
	{"default: old operator", "default R = true\n", POLICY_TRUE},
	{"default: no blanks", "default R:=true", POLICY_TRUE},
	{"default: old operator, no blanks", "default R=true", POLICY_TRUE},
	{"default: blanks and tabs", " \tdefault\t R \t:= \ttrue \t\r\n", POLICY_TRUE},
	{"default: a comment behind", "default R := true# why\n", POLICY_TRUE},
	{"default: no newline at the end", "x\ndefault R := true", POLICY_TRUE},
	{"default: after others", "default Q := false\ndefault RR := false\ndefault R := true\n", POLICY_TRUE},
	{"default: the first one", "default R := true\ndefault R := false\n", POLICY_TRUE},
	{"default: another rule", "default RR := true\ndefault r := true\n", POLICY_UNDEFINED},
	{"default: comment", "# default R := true\n#default R := true\n", POLICY_UNDEFINED},
	{"default: no value", "default R :=\n", POLICY_FALSE},
	{"default: no operator", "default R true\n", POLICY_UNDEFINED},
	{"default: an object", "default R := {\"allowed\": true}\n", POLICY_FALSE},
	{"default: a longer word", "default R := trueish\n", POLICY_FALSE},
	{"default: no default, no condition", "R := true\n", POLICY_TRUE},
	{"default: false, then granted", "default R := false\nR := true # for all\n", POLICY_TRUE},
	{"default: false, then granted under a condition", "default R := false\nR := true if { input.x }\n", POLICY_FALSE},
	{"default: no default, a condition", "R := true { input.x }\n", POLICY_UNDEFINED},
	{"default: no default, false", "R := false\n", POLICY_UNDEFINED},
	{"default: the word alone", "default", POLICY_UNDEFINED},
	{"default: a rule", "R if { true }\n", POLICY_UNDEFINED},
};

static void test_default(void **state)
{
	const struct default_case *c = *state;
	// Exactly its size, so that a look beyond it is seen.
	size_t n = strlen(c->rego);
	char *copy = malloc(n > 0 ? n : 1);
	assert_non_null(copy);
	memcpy(copy, c->rego, n);
	assert_int_equal(agent_policy_default((struct str){copy, n}, "R"), c->want);
	free(copy);
}

struct exec_case {
	const char *name;
	const char *rego; // NULL: the guest image's own
	bool want;
};

static struct exec_case exec_cases[] = {
	{"exec: no policy", NULL, true},
	{"exec: empty policy", "", false},
	{"exec: true", "default ExecProcessRequest := true\n", true},
	{"exec: false", "default ExecProcessRequest := false\n", false},
	{"exec: all that fails is allowed",
	 "default ExecProcessRequest := false\ndefault AllowRequestsFailingPolicy := true\n", true},
	{"exec: other rules", "default WriteStreamRequest := true\n", false},
};

static void test_exec(void **state)
{
	const struct exec_case *c = *state;
	assert_int_equal(agent_policy_allows_exec(str_from(c->rego)), c->want);
}

struct preset_case {
	const char *name;
	enum agent_policy_preset preset;
	const char *preset_name, *begins;
	bool exec;
};

static struct preset_case preset_cases[] = {
	{"preset: NoExec", AGENT_POLICY_NO_EXEC, "NoExec", "# NoExec:", false},
	{"preset: AllowAll", AGENT_POLICY_ALLOW_ALL, "AllowAll", "# AllowAll:", true},
	{"preset: Strict", AGENT_POLICY_STRICT, "Strict", "# Strict:", false},
};

static void test_preset(void **state)
{
	const struct preset_case *c = *state;
	struct str text = agent_policy_text(c->preset);
	assert_string_equal(agent_policy_preset_names[c->preset], c->preset_name);
	assert_true(str_has_prefix(text, c->begins));
	assert_int_equal(text.p[text.n], '\0');
	assert_int_equal(strlen(text.p), text.n);
	assert_non_null(strstr(text.p, "\npackage agent_policy\n"));
	assert_int_equal(agent_policy_allows_exec(text), c->exec);
	// None lets the host replace it, and Tekton's results go through all.
	assert_int_not_equal(agent_policy_default(text, "SetPolicyRequest"), POLICY_TRUE);
	assert_non_null(strstr(text.p, "\ndefault GetDiagnosticDataRequest := "));
}

static void test_names_end(void **state)
{
	(void)state;
	assert_null(agent_policy_preset_names[COUNT(preset_cases)]);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, default_cases, test_default);
	ADD_TABLE(&t, exec_cases, test_exec);
	ADD_TABLE(&t, preset_cases, test_preset);
	tests_add(&t, "preset: names end", test_names_end, NULL);
	return tests_run("agent_policy", &t);
}
