// Our readers and writers as a filter, for the tests that compare them with those of Python.
//
//     convert toml2json|json2toml|yaml2json|json2yaml < in > out
//
// Both json sides are one JSON text; YAML's is an array of the stream's documents. Exit status 1: the input is
// refused, with the reason on stderr. 2: misuse. With --many the input is many texts, each after a line with its
// length in bytes, and the output is as many JSON lines: {"ok": text} or {"error": reason}.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/toml.h"
#include "common/yaml.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)

static int add_json(const json_t *v, struct buf *out)
{
	CLEANUP_FREE char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	buf_addz(out, text != NULL ? text : "");
	return text != NULL ? 0 : -EINVAL;
}

static json_t *load(struct str in, struct error *err)
{
	json_error_t e;
	json_t *v = json_loadb(in.p, in.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
	if (v == NULL)
		(void)error_set(err, EINVAL, "JSON: %s", e.text);
	return v;
}

static int toml2json(struct str in, struct buf *out, struct error *err)
{
	json_auto_t *v = toml_read(in, err);
	return v != NULL ? add_json(v, out) : -err->code;
}

static int json2toml(struct str in, struct buf *out, struct error *err)
{
	json_auto_t *v = load(in, err);
	return v != NULL ? toml_write(v, out, err) : -err->code;
}

static int yaml2json(struct str in, struct buf *out, struct error *err)
{
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	json_auto_t *all = json_array();
	if (yaml_read(in, &docs, err) < 0)
		return -err->code;
	for (size_t i = 0; i < docs.n; i++)
		(void)json_array_append(all, docs.v[i].root);
	return add_json(all, out);
}

static int json2yaml(struct str in, struct buf *out, struct error *err)
{
	json_auto_t *v = load(in, err);
	return v != NULL ? yaml_write(v, out, err) : -err->code;
}

static const struct {
	const char *name;
	int (*run)(struct str in, struct buf *out, struct error *err);
} modes[] = {
	{"toml2json", toml2json},
	{"json2toml", json2toml},
	{"yaml2json", yaml2json},
	{"json2yaml", json2yaml},
};

#define N_MODES (sizeof(modes) / sizeof(modes[0]))

static int read_all(FILE *f, struct buf *to)
{
	char chunk[65536];
	for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;)
		buf_add(to, chunk, n);
	return ferror(f) != 0 || !buf_ok(to) ? -EIO : 0;
}

static int convert_one(size_t mode)
{
	CLEANUP_BUF struct buf in = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	if (read_all(stdin, &in) < 0)
		return 2;
	if (modes[mode].run(buf_str(&in), &out, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	return fwrite(buf_z(&out), 1, out.n, stdout) == out.n ? 0 : 2;
}

static int convert_many(size_t mode)
{
	char line[32];
	while (fgets(line, sizeof(line), stdin) != NULL) {
		CLEANUP_BUF struct buf in = BUF_INIT(OUT_MAX);
		CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
		struct error err = {0};
		size_t n = (size_t)strtoul(line, NULL, 10);
		char *to = buf_reserve(&in, n);
		if (to == NULL || fread(to, 1, n, stdin) != n)
			return 2;
		buf_commit(&in, n);
		int rc = modes[mode].run(buf_str(&in), &out, &err);
		json_auto_t *answer = rc < 0 ? json_pack("{s:s}", "error", err.msg) : json_pack("{s:s}", "ok", buf_z(&out));
		CLEANUP_FREE char *text = json_dumps(answer, JSON_COMPACT);
		if (text == NULL || puts(text) == EOF)
			return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool many = argc == 3 && strcmp(argv[2], "--many") == 0;
	for (size_t i = 0; i < N_MODES && (argc == 2 || many); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			return many ? convert_many(i) : convert_one(i);
	(void)fprintf(stderr, "usage: convert toml2json|json2toml|yaml2json|json2yaml [--many] < in > out\n");
	return 2;
}
