#include "cli/line_diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/str.h"

// The table of common subsequences takes n * m * 4 bytes.
#define LINES_MAX 2000

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

static void print(FILE *to, char sign, struct str line)
{
	(void)fprintf(to, "  %c %.*s\n", sign, (int)line.n, line.p);
}

// length[i][j]: of the longest common subsequence of a from i on and b from j on.
static void walk(const struct lines *a, const struct lines *b, const uint32_t *length, FILE *to)
{
	size_t width = b->n + 1;
	size_t i = 0;
	size_t j = 0;
	while (i < a->n || j < b->n) {
		if (i < a->n && j < b->n && str_eq(a->v[i], b->v[j])) {
			i++;
			j++;
		} else if (j == b->n || (i < a->n && length[(i + 1) * width + j] >= length[i * width + j + 1])) {
			print(to, '-', a->v[i++]);
		} else {
			print(to, '+', b->v[j++]);
		}
	}
}

void line_diff(const char *a_text, const char *b_text, FILE *to)
{
	CLEANUP(cleanup_lines) struct lines a = split(a_text);
	CLEANUP(cleanup_lines) struct lines b = split(b_text);
	if (a.n > LINES_MAX || b.n > LINES_MAX) {
		for (size_t i = 0; i < a.n; i++)
			print(to, '-', a.v[i]);
		for (size_t j = 0; j < b.n; j++)
			print(to, '+', b.v[j]);
		return;
	}
	size_t width = b.n + 1;
	CLEANUP_FREE
	uint32_t *length = xcalloc((a.n + 1) * width, sizeof(*length));
	for (size_t i = a.n; i-- > 0;)
		for (size_t j = b.n; j-- > 0;) {
			uint32_t down = length[(i + 1) * width + j];
			uint32_t right = length[i * width + j + 1];
			length[i * width + j] = str_eq(a.v[i], b.v[j]) ? length[(i + 1) * width + j + 1] + 1
									: down > right         ? down
														   : right;
		}
	walk(&a, &b, length, to);
}
