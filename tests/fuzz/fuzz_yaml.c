// YAML that reads also writes, and what is written reads as the same tree.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/yaml.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

static void check_document(const json_t *root)
{
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	CLEANUP_YAML_DOCS struct yaml_docs again = {0};
	struct error err = {0};
	must(yaml_write(root, &out, &err) == 0, "write", err.msg);
	must(yaml_read(buf_str(&out), &again, &err) == 0, "read again", err.msg);
	must(again.n == 1, "not one document", buf_z(&out));
	must(json_equal(root, again.v[0].root), "differs", buf_z(&out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err = {0};
	if (yaml_read((struct str){(const char *)data, n}, &docs, &err) < 0)
		return 0;
	for (size_t i = 0; i < docs.n; i++)
		check_document(docs.v[i].root);
	return 0;
}
