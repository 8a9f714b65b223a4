#include "cli/line_diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/str.h"

// The table of common subsequences takes n * m * 4 bytes.
#define LINES_MAX 2000
#define CONTEXT 3

struct lines {
	struct str *v;
	size_t n;
};

static void cleanup_lines(struct lines *l)
{
	free(l->v);
}

static struct lines split(const char *text)
{
	struct lines l = {0};
	while (*text != '\0') {
		size_t n = strcspn(text, "\n");
		l.v = xreallocarray(l.v, l.n + 1, sizeof(*l.v));
		l.v[l.n++] = (struct str){text, n};
		text += n + (text[n] == '\n');
	}
	return l;
}

// One step from a to b: ' ' a line of both, '-' of a, '+' of b.
struct step {
	char sign;
	struct str line;
};

struct script {
	struct step *v; // room for all lines of both
	size_t n;
};

static void cleanup_script(struct script *s)
{
	free(s->v);
}

static void step(struct script *s, char sign, struct str line)
{
	s->v[s->n++] = (struct step){sign, line};
}

// length[i][j]: of the longest common subsequence of a from i on and b from j on.
static void walk(const struct lines *a, const struct lines *b, const uint32_t *length, struct script *s)
{
	size_t width = b->n + 1;
	size_t i = 0;
	size_t j = 0;
	while (i < a->n || j < b->n) {
		if (i < a->n && j < b->n && str_eq(a->v[i], b->v[j])) {
			step(s, ' ', a->v[i++]);
			j++;
		} else if (j == b->n || (i < a->n && length[(i + 1) * width + j] >= length[i * width + j + 1])) {
			step(s, '-', a->v[i++]);
		} else {
			step(s, '+', b->v[j++]);
		}
	}
}

static void compare(const struct lines *a, const struct lines *b, struct script *s)
{
	s->v = xcalloc(a->n + b->n + 1, sizeof(*s->v));
	if (a->n > LINES_MAX || b->n > LINES_MAX) {
		for (size_t i = 0; i < a->n; i++)
			step(s, '-', a->v[i]);
		for (size_t j = 0; j < b->n; j++)
			step(s, '+', b->v[j]);
		return;
	}
	size_t width = b->n + 1;
	CLEANUP_FREE
	uint32_t *length = xcalloc((a->n + 1) * width, sizeof(*length));
	for (size_t i = a->n; i-- > 0;)
		for (size_t j = b->n; j-- > 0;) {
			uint32_t down = length[(i + 1) * width + j];
			uint32_t right = length[i * width + j + 1];
			length[i * width + j] = str_eq(a->v[i], b->v[j]) ? length[(i + 1) * width + j + 1] + 1
									: down > right           ? down
															 : right;
		}
	walk(a, b, length, s);
}

void line_diff(const char *a_text, const char *b_text, FILE *to)
{
	CLEANUP(cleanup_lines) struct lines a = split(a_text);
	CLEANUP(cleanup_lines) struct lines b = split(b_text);
	CLEANUP(cleanup_script) struct script s = {0};
	compare(&a, &b, &s);
	for (size_t i = 0; i < s.n; i++)
		if (s.v[i].sign != ' ')
			(void)fprintf(to, "  %c %.*s\n", s.v[i].sign, STR_ARG(s.v[i].line));
}

// The end of the hunk that begins with the change at i: changes with no more than twice the context between them are one.
static size_t hunk_end(const struct script *s, size_t i)
{
	size_t end = i + 1;
	for (size_t at = end; at < s->n && at - end <= 2 * (size_t)CONTEXT; at++)
		if (s->v[at].sign != ' ')
			end = at + 1;
	return end + CONTEXT < s->n ? end + CONTEXT : s->n;
}

// at: how many lines of a and b stand before the hunk; moved past it.
static void print_hunk(const struct script *s, size_t from, size_t to_step, size_t at[2], FILE *to)
{
	size_t n[2] = {0, 0};
	for (size_t i = from; i < to_step; i++) {
		n[0] += s->v[i].sign != '+';
		n[1] += s->v[i].sign != '-';
	}
	// A side without lines is said to begin at the line before.
	(void)fprintf(to, "@@ -%zu,%zu +%zu,%zu @@\n", at[0] + (n[0] > 0), n[0], at[1] + (n[1] > 0), n[1]);
	for (size_t i = from; i < to_step; i++)
		(void)fprintf(to, "%c%.*s\n", s->v[i].sign, STR_ARG(s->v[i].line));
	at[0] += n[0];
	at[1] += n[1];
}

void line_diff_unified(const char *a_text, const char *b_text, FILE *to)
{
	CLEANUP(cleanup_lines) struct lines a = split(a_text);
	CLEANUP(cleanup_lines) struct lines b = split(b_text);
	CLEANUP(cleanup_script) struct script s = {0};
	size_t at[2] = {0, 0};
	size_t done = 0;
	compare(&a, &b, &s);
	for (size_t i = 0; i < s.n; i++) {
		if (s.v[i].sign == ' ')
			continue;
		size_t from = i - done > CONTEXT ? i - CONTEXT : done;
		at[0] += from - done; // all of both
		at[1] += from - done;
		done = hunk_end(&s, i);
		print_hunk(&s, from, done, at, to);
		i = done - 1;
	}
}
