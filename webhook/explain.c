#include "webhook/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"

#define TEXT_MAX 1024

void explain_note(struct explain *e, const char *rule, const char *outcome, const char *fmt, ...)
{
	if (e == NULL)
		return;
	char text[TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_sanitize(text);
	struct explain_step *grown = arena_alloc(e->arena, e->n + 1, sizeof(*grown));
	if (e->n > 0)
		memcpy(grown, e->steps, e->n * sizeof(*grown));
	grown[e->n] = (struct explain_step){rule, outcome, arena_printf(e->arena, "%s", text)};
	e->steps = grown;
	e->n++;
}
