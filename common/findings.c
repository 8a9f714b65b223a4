#include "common/findings.h"

#include <stdarg.h>
#include <stdlib.h>

#include "common/error.h"
#include "common/mem.h"

void findings_add(struct findings *f, enum finding_level level, const char *where, const char *fmt, ...)
{
	char *what = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		abort();
	va_end(ap);
	text_sanitize(what);
	f->v = xreallocarray(f->v, f->n + 1, sizeof(*f->v));
	f->v[f->n++] = (struct finding){level, xstrdup(where), what};
}

void findings_release(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].where);
		free(f->v[i].what);
	}
	free(f->v);
	*f = (struct findings){0};
}
