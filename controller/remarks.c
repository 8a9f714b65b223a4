#include "controller/remarks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/certificate.h"
#include "common/error.h"
#include "common/mem.h"

// Where the list is full, the last one of the lowest level makes room for a worse one; the others stay in their order.
static struct remark *make_room(struct remarks *r, enum remark_level level)
{
	struct remark *least = NULL;
	if (r->n < REMARKS_MAX)
		return &r->v[r->n++];
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].level < level && (least == NULL || r->v[i].level <= least->level))
			least = &r->v[i];
	if (least == NULL)
		return NULL;
	struct remark *last = &r->v[r->n - 1];
	free(least->message);
	memmove(least, least + 1, (size_t)(last - least) * sizeof(*least));
	return last;
}

void remarks_add(struct remarks *r, enum remark_level level, enum remark_about about, const char *reason,
				 const char *fmt, ...)
{
	char text[2 * ERROR_MSG_MAX];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	text_sanitize(text);
	struct remark *slot = make_room(r, level);
	if (slot != NULL)
		*slot = (struct remark){level, about, reason, xstrdup(text)};
}

void remarks_add_certificate(struct remarks *r, const struct certificate_report *report)
{
	static const enum remark_level levels[] = {
		[CERTIFICATE_ERROR] = REMARK_ERROR, [CERTIFICATE_WARNING] = REMARK_WARNING, [CERTIFICATE_NOTE] = REMARK_NOTE};
	for (size_t i = 0; i < report->nproblems; i++) {
		const struct certificate_problem *problem = &report->problems[i];
		remarks_add(r, levels[problem->level], ABOUT_CERTIFICATE, certificate_problem_names[problem->code], "%s",
					problem->text);
	}
}

void remarks_append(struct remarks *r, const struct remarks *more)
{
	for (size_t i = 0; i < more->n; i++)
		remarks_add(r, more->v[i].level, more->v[i].about, more->v[i].reason, "%s", more->v[i].message);
}

const struct remark *remarks_worst(const struct remarks *r, enum remark_level level, int about)
{
	const struct remark *worst = NULL;
	for (size_t i = 0; i < r->n; i++) {
		const struct remark *m = &r->v[i];
		if (m->level >= level && (about < 0 || m->about == (enum remark_about)about) &&
			(worst == NULL || m->level > worst->level))
			worst = m;
	}
	return worst;
}

void remarks_release(struct remarks *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].message);
	r->n = 0;
}
