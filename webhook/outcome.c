#include "webhook/outcome.h"

#include <string.h>

#define NAME(reason) reason,
static const char *const reasons[] = {DENIAL_REASONS(NAME)};
const size_t DENIAL_OTHER = sizeof(reasons) / sizeof(reasons[0]) - 1;

enum outcome outcome_of(const struct decision *d)
{
	if (d->verdict == VERDICT_DENIED)
		return OUTCOME_DENIED;
	return d->nedits > 0 ? OUTCOME_MUTATED : OUTCOME_ALLOWED;
}

const char *outcome_name(enum outcome o)
{
	static const char *const names[OUTCOMES] = {
		[OUTCOME_MUTATED] = "mutated", [OUTCOME_ALLOWED] = "allowed", [OUTCOME_DENIED] = "denied"};
	return names[o];
}

size_t denial_reason(const char *cause)
{
	size_t i = 0;
	while (i < DENIAL_OTHER && strcmp(reasons[i], cause) != 0)
		i++;
	return i;
}
