// What the doctor has found, and how it is told.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "common/json_made.h"
#include "common/mem.h"
#include "common/version.h"

#define FORMAT_VERSION 1
#define GAP 2 // between columns

const char *const doctor_status_names[] = {"ok", "warning", "failed", "skipped", "not checked"};

static char *printable(char *text)
{
	text_sanitize(text);
	return text;
}

void doctor_note(struct doctor_report *r, enum doctor_status status, const char *check, const char *what,
				 const char *remedy, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *result = NULL;
	if (vasprintf(&result, fmt, ap) < 0)
		abort();
	va_end(ap);
	r->v = xreallocarray(r->v, r->n + 1, sizeof(*r->v));
	r->v[r->n++] =
		(struct doctor_check){status, printable(xstrdup(check)), printable(xstrdup(what != NULL ? what : "")),
							  printable(result), printable(xstrdup(remedy != NULL ? remedy : ""))};
}

void doctor_note_failure(struct doctor_report *r, const char *check, const char *what, const char *right,
						 const struct error *err)
{
	if (err->code != EPERM) {
		doctor_note(r, DOCTOR_FAIL, check, what, NULL, "%s", err->msg);
		return;
	}
	CLEANUP_FREE
	char *remedy = xasprintf("ask for the right to %s, or for somebody who has it", right);
	doctor_note(r, DOCTOR_UNCHECKED, check, what, remedy, "you may not %s", right);
}

void doctor_report_release(struct doctor_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].check);
		free(r->v[i].what);
		free(r->v[i].result);
		free(r->v[i].remedy);
	}
	free(r->v);
	*r = (struct doctor_report){0};
}

static size_t count(const struct doctor_report *r, enum doctor_status status)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		n += r->v[i].status == status;
	return n;
}

bool doctor_healthy(const struct doctor_report *r)
{
	return count(r, DOCTOR_FAIL) == 0 && count(r, DOCTOR_UNCHECKED) == 0;
}

// ---- Table

struct widths {
	int status, check, what;
};

static void widen(int *width, const char *text)
{
	int n = (int)strlen(text);
	*width = n > *width ? n : *width;
}

static void add_padded(struct buf *out, const char *text, int width)
{
	buf_addf(out, "%-*s", width + GAP, text);
}

static void add_status(struct buf *out, enum doctor_status status, bool colour, int width)
{
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m", "", "\033[33m"};
	const char *name = doctor_status_names[status];
	bool coloured = colour && colours[status][0] != '\0';
	buf_addz(out, coloured ? colours[status] : "");
	buf_addz(out, name);
	buf_addz(out, coloured ? "\033[0m" : "");
	buf_addf(out, "%*s", width + GAP - (int)strlen(name), "");
}

static void add_total(const struct doctor_report *r, struct buf *out)
{
	static const enum doctor_status order[] = {DOCTOR_FAIL, DOCTOR_WARN, DOCTOR_UNCHECKED, DOCTOR_SKIPPED, DOCTOR_OK};
	const char *comma = "";
	buf_addc(out, '\n');
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		size_t n = count(r, order[i]);
		if (n == 0 && order[i] != DOCTOR_FAIL)
			continue;
		buf_addf(out, "%s%zu %s", comma, n, doctor_status_names[order[i]]);
		comma = ", ";
	}
	buf_addc(out, '\n');
}

void doctor_table(const struct doctor_report *r, bool colour, struct buf *out)
{
	struct widths w = {0};
	widen(&w.status, "STATUS");
	widen(&w.check, "CHECK");
	widen(&w.what, "WHAT");
	for (size_t i = 0; i < r->n; i++) {
		widen(&w.status, doctor_status_names[r->v[i].status]);
		widen(&w.check, r->v[i].check);
		widen(&w.what, r->v[i].what);
	}
	add_padded(out, "STATUS", w.status);
	add_padded(out, "CHECK", w.check);
	add_padded(out, "WHAT", w.what);
	buf_addz(out, "RESULT, AND REMEDY BELOW IT\n");
	for (size_t i = 0; i < r->n; i++) {
		const struct doctor_check *c = &r->v[i];
		add_status(out, c->status, colour, w.status);
		add_padded(out, c->check, w.check);
		add_padded(out, c->what, w.what);
		buf_addf(out, "%s\n", c->result);
		if (c->remedy[0] != '\0')
			buf_addf(out, "%*s> %s\n", w.status + w.check + w.what + 3 * GAP, "", c->remedy);
	}
	add_total(r, out);
}

// ---- JSON

json_t *doctor_json(const struct doctor_report *r)
{
	json_t *checks = json_made(json_array());
	for (size_t i = 0; i < r->n; i++) {
		const struct doctor_check *c = &r->v[i];
		json_t *one = json_made(json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", c->check, "what", c->what, "status",
										  doctor_status_names[c->status], "result", c->result, "remedy", c->remedy));
		if (json_array_append_new(checks, one) < 0)
			abort();
	}
	json_t *counts = json_made(json_object());
	for (int s = 0; s < DOCTOR_STATUS_MAX; s++)
		json_put(counts, doctor_status_names[s], json_integer((json_int_t)count(r, (enum doctor_status)s)));
	return json_made(json_pack("{s:i, s:s, s:b, s:o, s:o}", "version", FORMAT_VERSION, "program", COCO_VERSION,
							   "healthy", (int)doctor_healthy(r), "counts", counts, "checks", checks));
}
