// Runs a fuzz target over every file of the folders that are its arguments: a regression test without a fuzzer. TAP.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/mem.h"

#define INPUT_MAX ((size_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// A copy of exactly the input's size, so that a read beyond it is seen.
static int run_file(const char *path)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(INPUT_MAX);
	struct error err;
	if (file_read(path, &text, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return -1;
	}
	CLEANUP_FREE
	uint8_t *exact = xcalloc(text.n, 1);
	if (text.n > 0)
		memcpy(exact, text.p, text.n);
	return LLVMFuzzerTestOneInput(exact, text.n);
}

static int run_folder(const char *path, size_t *count)
{
	DIR *dir = opendir(path);
	if (dir == NULL) {
		perror(path);
		return -1;
	}
	int rc = 0;
	for (const struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		CLEANUP_FREE
		char *file = xasprintf("%s/%s", path, e->d_name);
		// Before it is run, so that a crash has a name.
		(void)printf("# %s\n", file);
		(void)fflush(stdout);
		rc = run_file(file);
		(*count)++;
		(void)printf("%sok %zu - %s\n", rc == 0 ? "" : "not ", *count, e->d_name);
	}
	(void)closedir(dir);
	return rc;
}

// Weak: a fuzzer's own main goes before it.
__attribute__((weak)) int main(int argc, char **argv)
{
	size_t count = 0;
	for (int i = 1; i < argc; i++)
		if (run_folder(argv[i], &count) < 0)
			return 1;
	(void)printf("1..%zu\n", count);
	return count > 0 ? 0 : 1;
}
