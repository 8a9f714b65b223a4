// TOML that reads also writes, and what is written reads as the same tree.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/toml.h"

#define OUT_MAX ((size_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	json_auto_t *first = toml_read((struct str){(const char *)data, n}, &err);
	if (first == NULL)
		return 0;
	must(toml_write(first, &out, &err) == 0, "write", err.msg);
	json_auto_t *again = toml_read(buf_str(&out), &err);
	must(again != NULL, "read again", err.msg);
	must(json_equal(first, again), "differs", buf_z(&out));
	return 0;
}
