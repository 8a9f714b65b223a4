// handle_review() alone, without network: bench_handle PROFILES_FOLDER N FILE... does each file N times and prints the
// microseconds of one time, the size of the answer and the verdict. For `make bench`, and to run under callgrind.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/catalog_dir.h"
#include "common/files.h"
#include "common/names.h"
#include "webhook/handle.h"

#define BODY_MAX ((size_t)16 * 1024 * 1024)
#define TIMES_MAX 1000000UL

static void complain(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	(void)fprintf(stderr, "bench_handle: %s %s: %s\n", origin, key, message);
}

static double now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

// Memory is taken and given back for each review, as the server does.
static size_t handle_once(const struct catalog *catalog, struct str body, const char **ret_cause)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(BODY_MAX);
	struct handled h;
	handle_review(ENDPOINT_MUTATE, catalog, body, &arena, &out, &h);
	*ret_cause = h.decision.cause;
	return out.n;
}

static int run(const struct catalog *catalog, const char *path, unsigned long times, struct error *err)
{
	CLEANUP_BUF
	struct buf body = BUF_INIT(BODY_MAX);
	size_t answer = 0;
	const char *cause = "";
	if (file_read(path, &body, err) < 0)
		return -err->code;
	double start = now_us();
	for (unsigned long i = 0; i < times; i++)
		answer = handle_once(catalog, buf_str(&body), &cause);
	double took = now_us() - start;
	(void)printf("{\"file\":\"%s\",\"bytes\":%zu,\"times\":%lu,\"us\":%.3f,\"answer_bytes\":%zu,\"cause\":\"%s\"}\n",
				 path, body.n, times, took / (double)times, answer, cause);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long times = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
	if (times < 1 || times > TIMES_MAX) {
		(void)fprintf(stderr, "Usage: bench_handle PROFILES_FOLDER N FILE...\n");
		return 2;
	}
	struct error err = {0};
	struct catalog_dir *dir = catalog_dir_new(argv[1], DEFAULT_SYSTEM_NAMESPACE);
	struct catalog *catalog = catalog_dir_load(dir, NULL, complain, NULL, &err);
	int rc = catalog != NULL ? 0 : -1;
	for (int i = 3; i < argc && rc == 0; i++)
		rc = run(catalog, argv[i], times, &err);
	if (rc < 0)
		(void)fprintf(stderr, "bench_handle: %s\n", err.msg);
	catalog_unref(catalog);
	catalog_dir_free(dir);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
