// Why common/json_read exists: the same texts through our reader and through Debian's, as ratios within one run.
//
//     json_readers FILE...        a Markdown table, a row for each file
//
// jansson, yajl and cJSON are compared as a program would use them: jansson and cJSON build a tree, yajl calls back for
// each value (here: for none). "the review" is what the webhook does: read it, and keep what the rules look at.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if __has_include(<yajl/yajl_parse.h>)
#include <yajl/yajl_parse.h>
#define HAVE_YAJL 1
#endif
#if __has_include(<cjson/cJSON.h>)
#include <cjson/cJSON.h>
#define HAVE_CJSON 1
#endif

#include "common/files.h"
#include "common/json_read.h"
#include "webhook/review.h"

#define BODY_MAX ((size_t)16 * 1024 * 1024)
#define ROUNDS 15
#define ROUND_US 4000.0

static double now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool read_ours(struct str text)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	struct json_read r;
	struct error err;
	json_read_init(&r, text, &arena, &err);
	(void)json_skip(&r);
	return json_read_end(&r) == 0;
}

static bool read_the_review(struct str text)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	struct review review;
	struct error err;
	return review_read(text, &arena, &review, &err) == REVIEW_OK;
}

static bool read_jansson(struct str text)
{
	json_error_t e;
	json_auto_t *v = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
	return v != NULL;
}

#ifdef HAVE_YAJL
static bool read_yajl(struct str text)
{
	static const yajl_callbacks none = {0};
	yajl_handle h = yajl_alloc(&none, NULL, NULL);
	bool good = yajl_parse(h, (const unsigned char *)text.p, text.n) == yajl_status_ok &&
				yajl_complete_parse(h) == yajl_status_ok;
	yajl_free(h);
	return good;
}
#endif

#ifdef HAVE_CJSON
static bool read_cjson(struct str text)
{
	cJSON *v = cJSON_ParseWithLength(text.p, text.n);
	cJSON_Delete(v);
	return v != NULL;
}
#endif

static const struct reader {
	const char *name;
	bool (*read)(struct str text);
} readers[] = {
	{"json_read, all checked, nothing kept", read_ours},
	{"json_read, the review", read_the_review},
	{"jansson", read_jansson},
#ifdef HAVE_YAJL
	{"yajl, no callbacks", read_yajl},
#endif
#ifdef HAVE_CJSON
	{"cJSON", read_cjson},
#endif
};

#define READERS (sizeof(readers) / sizeof(readers[0]))

static int compare(const void *a, const void *b)
{
	const double *x = a;
	const double *y = b;
	return *x < *y ? -1 : *x > *y;
}

// Microseconds of one reading, over about ROUND_US.
static double one_round(const struct reader *r, struct str text, bool *good)
{
	double start = now_us();
	double now = start;
	unsigned n = 0;
	for (; now - start < ROUND_US; now = now_us(), n++)
		*good &= r->read(text);
	return (now - start) / n;
}

static int compare_readers(const char *path, struct error *err)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(BODY_MAX);
	double us[READERS][ROUNDS];
	bool good = true;
	if (file_read(path, &text, err) < 0)
		return -err->code;
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < READERS; i++)
			us[i][round] = one_round(&readers[i], buf_str(&text), &good);
	if (!good)
		return error_set(err, EINVAL, "%s is no AdmissionReview that every reader takes", path);
	const char *slash = strrchr(path, '/');
	(void)printf("| %s, %zu bytes |", slash != NULL ? slash + 1 : path, text.n);
	for (size_t i = 0; i < READERS; i++)
		qsort(us[i], ROUNDS, sizeof(double), compare);
	for (size_t i = 0; i < READERS; i++)
		(void)printf(" %.1f us (%.1fx) |", us[i][ROUNDS / 2], us[i][ROUNDS / 2] / us[1][ROUNDS / 2]);
	(void)printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		(void)fprintf(stderr, "Usage: json_readers FILE...\n");
		return 2;
	}
	(void)printf("| Text |");
	for (size_t i = 0; i < READERS; i++)
		(void)printf(" %s |", readers[i].name);
	(void)printf("\n|---|");
	for (size_t i = 0; i < READERS; i++)
		(void)printf("---:|");
	(void)printf("\n");
	for (int i = 1; i < argc; i++) {
		struct error err;
		if (compare_readers(argv[i], &err) < 0) {
			(void)fprintf(stderr, "json_readers: %s\n", err.msg);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}
