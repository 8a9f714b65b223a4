// cocopipe initdata: TOML to annotation and back, digests, lint, diff.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/line_diff.h"
#include "common/files.h"
#include "common/initdata.h"
#include "common/mem.h"
#include "common/names.h"

static const char *arg_file;
static const char *arg_output;

#define FILE_OPTION(what)                                            \
	{                                                                \
		"file", 'f', "FILE", NULL, what, &arg_file, NULL, NULL, NULL \
	}
#define OUTPUT_OPTION(what)                                                \
	{                                                                      \
		"output", 'o', "FORMAT", NULL, what, &arg_output, NULL, NULL, NULL \
	}

// ---- Input: initdata in any of its forms

static bool is_base64_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", s.p[i]) == NULL ||
			s.p[i] == '\0')
			return false;
	return s.n > 0;
}

static struct str trimmed(struct str s)
{
	while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL)
		s.n--;
	while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL) {
		s.p++;
		s.n--;
	}
	return s;
}

static const char *annotation_of(const json_t *object)
{
	return json_string_value(
		json_object_get(json_object_get(json_object_get(object, "metadata"), "annotations"), KATA_INITDATA));
}

// A pod, or an AdmissionReview with one, that carries the annotation.
static int from_object(const char *path, struct str text, struct buf *toml, struct error *err)
{
	struct catalog_documents docs = {0};
	int rc = catalog_documents_read(&docs, text, path, err);
	const json_t *object = rc == 0 && docs.n == 1 ? docs.v[0].object : NULL;
	const json_t *request = json_object_get(object, "request");
	const char *annotation = annotation_of(request != NULL ? json_object_get(request, "object") : object);
	if (rc == 0 && annotation == NULL)
		rc = error_set(err, EINVAL, "%s holds no object with annotation " KATA_INITDATA, path);
	if (rc == 0)
		rc = initdata_decode(str_from(annotation), toml, err);
	catalog_documents_release(&docs);
	return rc;
}

static bool looks_like_object(struct str text)
{
	return text.p[0] == '{' || memmem(text.p, text.n, "kind:", 5) != NULL;
}

static int read_initdata(const char *path, struct buf *toml, struct error *err)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(INPUT_MAX);
	if (path == NULL)
		return error_set(err, EINVAL, "say which initdata: -f FILE, or -f - for standard input");
	if (file_read(path, &text, err) < 0)
		return -err->code;
	struct str whole = buf_str(&text);
	struct str bare = trimmed(whole);
	struct error not_toml;
	CLEANUP_INITDATA struct initdata i = {0};
	int rc = 0;
	if (bare.n == 0)
		rc = error_set(err, EINVAL, "it is empty");
	else if (whole.n > 2 && memcmp(whole.p, "\x1f\x8b", 2) == 0)
		rc = gzip_unpack(whole, toml, err);
	else if (is_base64_text(bare))
		rc = initdata_decode(bare, toml, err);
	else if (initdata_parse(whole, &i, &not_toml) < 0 && looks_like_object(bare))
		rc = from_object(path, whole, toml, err);
	else
		buf_add_str(toml, whole);
	return rc < 0 ? error_prefix(err, "%s", path) : 0;
}

// ---- build

static struct input_args world = INPUT_ARGS_INIT;
static const char *arg_name;

static void tell_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	(void)fprintf(stderr, "cocopipe: %s%s%s: %s\n", origin, key[0] != '\0' ? ": profile " : "", key, message);
}

static int build_from_profile(struct buf *toml, struct error *err)
{
	struct catalog *c = catalog_build(world.documents.v, world.documents.n, world.system_ns, NULL, tell_problem, NULL);
	size_t n = 0;
	const struct catalog_profile *all = catalog_profiles(c, &n);
	const struct catalog_profile *one = n == 1 && arg_name == NULL ? all : NULL;
	for (size_t i = 0; i < n && arg_name != NULL; i++)
		if (strcmp(all[i].name, arg_name) == 0)
			one = &all[i];
	int rc = 0;
	if (one == NULL)
		rc = error_set(err, EINVAL, "--profile holds %zu profiles; choose one with --name", n);
	else if (one->profile == NULL)
		rc = error_set(err, EINVAL, "profile \"%s\" is not valid", one->name);
	else
		buf_add(toml, one->profile->toml, one->profile->toml_n);
	catalog_unref(c);
	return rc;
}

static int run_build(void)
{
	struct error err;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_BUF
	struct buf annotation = BUF_INIT(INITDATA_ANNOTATION_MAX + 1);
	CLEANUP_INITDATA struct initdata i = {0};
	bool as_toml = arg_output != NULL && strcmp(arg_output, "toml") == 0;
	if (arg_output != NULL && !as_toml && strcmp(arg_output, "annotation") != 0)
		return usage_failure("-o must be annotation or toml");
	if ((world.nprofile_files > 0) == (arg_file != NULL))
		return usage_failure("give either -f FILE with initdata in TOML, or --profile FILE");
	if (arg_file != NULL && read_initdata(arg_file, &toml, &err) < 0)
		return usage_failure(err.msg);
	int rc = arg_file != NULL ? 0 : build_from_profile(&toml, &err);
	if (rc == 0 && initdata_parse(buf_str(&toml), &i, &err) < 0)
		rc = error_prefix(&err, "%s", arg_file != NULL ? arg_file : "profile");
	if (rc == 0 && !as_toml)
		rc = initdata_encode(buf_str(&toml), &annotation, &err);
	if (rc < 0) {
		(void)fprintf(stderr, "cocopipe: %s\n", err.msg);
		return EXIT_FAILURE;
	}
	const struct buf *out = as_toml ? &toml : &annotation;
	(void)fwrite(buf_z(out), 1, out->n, stdout);
	if (!as_toml)
		(void)putchar('\n');
	return EXIT_SUCCESS;
}

static int cmd_build(int argc, char **argv)
{
	const struct option_spec options[] = {
		FILE_OPTION("initdata as TOML; - for standard input"),
		{"profile", 0, "FILE", NULL, "build it from a ConfidentialProfile instead", NULL, NULL, input_add_profile_file,
		 &world},
		{"name", 0, "NAME", NULL, "which profile, where the file has several", &arg_name, NULL, NULL, NULL},
		{"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of profiles that name none", &world.system_ns,
		 NULL, NULL, NULL},
		OUTPUT_OPTION("annotation (the default) or toml"),
	};
	const struct command_spec command = {"cocopipe initdata build",
										 "-f FILE | --profile FILE [-o annotation|toml]",
										 "Makes the value of the annotation " KATA_INITDATA ".\n"
										 "Exit status: 0 made, 1 refused, 2 usage or unreadable input.",
										 options,
										 5,
										 0};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	int status = got == OPTIONS_GO ? run_build() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
	input_args_release(&world);
	return status;
}

// ---- show, digest, lint

// Reads the one command line of the commands that take only a file.
static int with_file(const char *name, const char *about, const char *output_help, int argc, char **argv,
					 int (*run)(const struct buf *toml))
{
	const struct option_spec options[] = {
		FILE_OPTION("initdata: TOML, annotation value, gzip, or a Pod that carries it; - for standard input"),
		OUTPUT_OPTION(output_help != NULL ? output_help : ""),
	};
	const struct command_spec command = {
		name, output_help != NULL ? "-f FILE [-o FORMAT]" : "-f FILE", about, options, output_help != NULL ? 2 : 1, 0};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
	struct error err;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	if (read_initdata(arg_file, &toml, &err) < 0)
		return usage_failure(err.msg);
	return run(&toml);
}

static int run_show(const struct buf *toml)
{
	(void)fwrite(buf_z(toml), 1, toml->n, stdout);
	return EXIT_SUCCESS;
}

static int cmd_show(int argc, char **argv)
{
	return with_file("cocopipe initdata show", "Prints initdata as TOML, byte for byte what is measured.", NULL, argc,
					 argv, run_show);
}

struct platform_digest {
	const char *key;
	const char *label;
	const struct digest *digest;
};

static void print_digest(const struct platform_digest *p, bool json, bool last)
{
	CLEANUP_BUF
	struct buf hex = BUF_INIT(2 * DIGEST_MAX);
	hex_encode(p->digest->v, p->digest->n, &hex);
	if (json)
		(void)printf("  \"%s\": \"%s\"%s\n", p->key, buf_z(&hex), last ? "" : ",");
	else
		(void)printf("%-22s %s\n", p->label, buf_z(&hex));
}

static int run_digest(const struct buf *toml)
{
	struct error err;
	CLEANUP_INITDATA struct initdata i = {0};
	struct initdata_digests d;
	bool json = arg_output != NULL && strcmp(arg_output, "json") == 0;
	if (arg_output != NULL && !json && strcmp(arg_output, "text") != 0)
		return usage_failure("-o must be text or json");
	if (initdata_parse(buf_str(toml), &i, &err) < 0 || initdata_digests(buf_str(toml), i.algorithm, &d, &err) < 0) {
		(void)fprintf(stderr, "cocopipe: %s\n", err.msg);
		return EXIT_FAILURE;
	}
	const struct platform_digest all[] = {
		{"digest", i.algorithm, &d.digest},
		{"snpHostData", "SNP HOSTDATA", &d.snp_host_data},
		{"tdxMrConfigId", "TDX MRCONFIGID", &d.tdx_mr_config_id},
		{"ccaPersonalization", "CCA personalization", &d.cca_personalization},
		{"azurePcr8", "Azure vTPM PCR8", &d.azure_pcr8},
	};
	size_t n = d.has_azure_pcr8 ? 5 : 4;
	if (json)
		(void)printf("{\n  \"algorithm\": \"%s\",\n", i.algorithm);
	for (size_t k = 0; k < n; k++)
		print_digest(&all[k], json, k + 1 == n);
	if (json)
		(void)printf("}\n");
	else if (!d.has_azure_pcr8)
		(void)printf("%-22s %s\n", "Azure vTPM PCR8", "none: verifiers disagree about other algorithms than sha256");
	return EXIT_SUCCESS;
}

static int cmd_digest(int argc, char **argv)
{
	return with_file("cocopipe initdata digest", "Prints the digest as each platform's evidence shows it.",
					 "text (the default) or json", argc, argv, run_digest);
}

static int run_lint(const struct buf *toml)
{
	CLEANUP_FINDINGS struct findings f = {0};
	initdata_lint(buf_str(toml), &f);
	for (size_t i = 0; i < f.n; i++)
		(void)printf("%s: %s: %s: %s\n", arg_file, f.v[i].level == FINDING_ERROR ? "error" : "warning", f.v[i].where,
					 f.v[i].what);
	return f.n > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int cmd_lint(int argc, char **argv)
{
	return with_file("cocopipe initdata lint",
					 "Finds what the guest would refuse (error), and typos and dangerous settings (warning).\n"
					 "Exit status: 0 nothing found, 1 something, 2 usage or unreadable input.",
					 NULL, argc, argv, run_lint);
}

// ---- diff

static const char *data_text(const struct initdata *i, const char *key)
{
	return json_string_value(json_object_get(json_object_get(i->tree, "data"), key));
}

static bool diff_text(const char *what, const char *a, const char *b)
{
	if (a != NULL && b != NULL && strcmp(a, b) == 0)
		return false;
	(void)printf("%s%s\n", what, a == NULL ? " (only in the second)" : b == NULL ? " (only in the first)" : "");
	line_diff(a != NULL ? a : "", b != NULL ? b : "", stdout);
	return true;
}

static bool diff_data(const struct initdata *a, const struct initdata *b)
{
	bool differ = false;
	const char *key;
	json_t *v;
	json_object_foreach (json_object_get(a->tree, "data"), key, v)
		differ |= diff_text(key, json_string_value(v), data_text(b, key));
	json_object_foreach (json_object_get(b->tree, "data"), key, v)
		if (data_text(a, key) == NULL)
			differ |= diff_text(key, NULL, json_string_value(v));
	return differ;
}

static int diff(const struct buf *a, const struct buf *b, struct error *err)
{
	CLEANUP_INITDATA struct initdata x = {0};
	CLEANUP_INITDATA struct initdata y = {0};
	struct initdata_digests dx;
	struct initdata_digests dy;
	if (initdata_parse(buf_str(a), &x, err) < 0 || initdata_digests(buf_str(a), x.algorithm, &dx, err) < 0)
		return error_prefix(err, "the first");
	if (initdata_parse(buf_str(b), &y, err) < 0 || initdata_digests(buf_str(b), y.algorithm, &dy, err) < 0)
		return error_prefix(err, "the second");
	if (a->n == b->n && memcmp(buf_z(a), buf_z(b), a->n) == 0)
		return EXIT_SUCCESS;
	print_digest(&(struct platform_digest){"", "- digest", &dx.digest}, false, false);
	print_digest(&(struct platform_digest){"", "+ digest", &dy.digest}, false, false);
	bool differ = diff_text("algorithm", x.algorithm, y.algorithm);
	if (!diff_data(&x, &y) && !differ)
		(void)printf("The settings are the same; the bytes, and so the measurement, are not.\n");
	return EXIT_FAILURE;
}

static int cmd_diff(int argc, char **argv)
{
	const struct command_spec command = {
		"cocopipe initdata diff",
		"FIRST SECOND",
		"Compares two initdata, each in any form: digests, then settings line by line.\n"
		"Exit status: 0 the same bytes, 1 different, 2 usage or unreadable input.",
		NULL,
		0,
		2};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got != OPTIONS_GO)
		return got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
	if (operands[0] == NULL || operands[1] == NULL)
		return usage_failure("initdata diff compares two files; name both");
	struct error err;
	CLEANUP_BUF
	struct buf a = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_BUF
	struct buf b = BUF_INIT(INITDATA_TOML_MAX);
	if (read_initdata(operands[0], &a, &err) < 0 || read_initdata(operands[1], &b, &err) < 0)
		return usage_failure(err.msg);
	int status = diff(&a, &b, &err);
	return status < 0 ? usage_failure(err.msg) : status;
}

int cmd_initdata(int argc, char **argv)
{
	static const struct subcommand table[] = {
		{"build", cmd_build, "TOML, or a profile, to the annotation's value"},
		{"show", cmd_show, "the annotation's value, or a pod's, to TOML"},
		{"digest", cmd_digest, "the digest as SNP, TDX, CCA and Azure's vTPM report it"},
		{"lint", cmd_lint, "typos and dangerous settings"},
		{"diff", cmd_diff, "what changed between two"},
		{0}};
	return run_subcommand("cocopipe initdata", "Initdata: the measured configuration of a confidential guest.", table,
						  argc, argv);
}
