#include "common/agent_policy.h"

#include <stddef.h>

// Made from common/policies/*.rego by the Makefile.
static const unsigned char no_exec[] = {
#include "gen/no-exec.inc"
	, 0};
static const unsigned char allow_all[] = {
#include "gen/allow-all.inc"
	, 0};
static const unsigned char strict[] = {
#include "gen/strict.inc"
	, 0};

const char *const agent_policy_preset_names[] = {"NoExec", "AllowAll", "Strict", NULL};

struct str agent_policy_text(enum agent_policy_preset preset)
{
	switch (preset) {
	case AGENT_POLICY_ALLOW_ALL:
		return (struct str){(const char *)allow_all, sizeof(allow_all) - 1};
	case AGENT_POLICY_STRICT:
		return (struct str){(const char *)strict, sizeof(strict) - 1};
	case AGENT_POLICY_NO_EXEC:
		break;
	}
	return (struct str){(const char *)no_exec, sizeof(no_exec) - 1};
}

static struct str next_word(struct str *line)
{
	while (line->n > 0 && (line->p[0] == ' ' || line->p[0] == '\t')) {
		line->p++;
		line->n--;
	}
	struct str word = {line->p, 0};
	while (word.n < line->n && strchr(" \t\r#=:", line->p[word.n]) == NULL)
		word.n++;
	// An operator is a word of its own.
	while (word.n < line->n && word.n < 2 && (word.n == 0 || line->p[0] == ':') &&
		   (line->p[word.n] == ':' || line->p[word.n] == '='))
		word.n++;
	line->p += word.n;
	line->n -= word.n;
	return word;
}

// `default RULE := VALUE`, or `RULE := true` without a condition; with := or =.
static enum agent_policy_default line_default(struct str line, const char *rule)
{
	struct str first = next_word(&line);
	bool unconditional = str_is(first, rule);
	if (!unconditional && (!str_is(first, "default") || !str_is(next_word(&line), rule)))
		return POLICY_UNDEFINED;
	struct str op = next_word(&line);
	if (!str_is(op, ":=") && !str_is(op, "="))
		return POLICY_UNDEFINED;
	bool yes = str_is(next_word(&line), "true");
	struct str rest = next_word(&line);
	if (unconditional)
		return yes && rest.n == 0 && (line.n == 0 || line.p[0] == '#' || line.p[0] == '\r') ? POLICY_TRUE
																							: POLICY_UNDEFINED;
	return yes ? POLICY_TRUE : POLICY_FALSE;
}

enum agent_policy_default agent_policy_default(struct str rego, const char *rule)
{
	enum agent_policy_default all = POLICY_UNDEFINED;
	while (rego.n > 0 && all != POLICY_TRUE) {
		const char *eol = memchr(rego.p, '\n', rego.n);
		size_t n = eol != NULL ? (size_t)(eol - rego.p) : rego.n;
		enum agent_policy_default found = line_default((struct str){rego.p, n}, rule);
		if (found != POLICY_UNDEFINED)
			all = found;
		size_t step = n + (eol != NULL);
		rego.p += step;
		rego.n -= step;
	}
	return all;
}

bool agent_policy_allows_exec(struct str rego)
{
	return rego.p == NULL || agent_policy_default(rego, "ExecProcessRequest") == POLICY_TRUE ||
		   agent_policy_default(rego, "AllowRequestsFailingPolicy") == POLICY_TRUE;
}
