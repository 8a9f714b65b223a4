// cocopipe unseal: what a sealed secret says, and whether a guest would take it.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "common/files.h"
#include "common/options.h"
#include "common/sealed.h"
#include "common/secret.h"
#include "common/yaml.h"

#define OUTPUT_MAX ((size_t)8 * 1024 * 1024)

static struct {
	const char *file;
	const char *key;
	const char *certificate;
	bool unsigned_too;
	const char *output;
} arg = {.output = "json"};

static int check_arguments(void)
{
	if (strcmp(arg.output, "json") != 0 && strcmp(arg.output, "yaml") != 0)
		return usage_failure("unseal: -o must be json or yaml");
	if (arg.file == NULL)
		return usage_failure("unseal: say which sealed secret: -f FILE, or -f - for standard input");
	if ((arg.key != NULL) + (arg.certificate != NULL) + arg.unsigned_too != 1)
		return usage_failure("unseal: give one of --key FILE and --certificate FILE, which must have signed it, or "
							 "--unsigned, which checks no signature");
	return EXIT_SUCCESS;
}

static struct es256_key *read_key(const char *path, struct error *err)
{
	// Somebody may give the private key.
	CLEANUP_SECRET_BUF struct buf text = secret_buf(ES256_KEY_MAX + FILE_STEP_BYTES);
	if (file_read(path, &text, err) < 0)
		return NULL;
	struct es256_key *key = es256_key_read(buf_str(&text), ES256_PUBLIC, err);
	if (key == NULL)
		(void)error_prefix(err, "%s", path);
	return key;
}

// Who pastes a sealed secret has one; who stores it so has no sealed secret.
static struct str without_newline(struct str text)
{
	if (text.n > 0 && text.p[text.n - 1] == '\n')
		(void)fputs("Warning: it ends with a newline: stored like that, guests take it for the secret itself\n",
					stderr);
	if (text.n > 0 && text.p[text.n - 1] == '\n')
		text.n--;
	if (text.n > 0 && text.p[text.n - 1] == '\r')
		text.n--;
	return text;
}

static int print_payload(const json_t *payload, struct error *err)
{
	CLEANUP_BUF struct buf out = BUF_INIT(OUTPUT_MAX);
	if (strcmp(arg.output, "json") == 0) {
		CLEANUP_FREE
		char *text = json_dumps(payload, JSON_INDENT(2));
		if (text == NULL)
			return error_set(err, EINVAL, "the payload can't be written as JSON");
		buf_addz(&out, text);
		buf_addc(&out, '\n');
	} else if (yaml_write(payload, &out, err) < 0) {
		return -err->code;
	}
	(void)fwrite(buf_z(&out), 1, out.n, stdout);
	return 0;
}

static int unseal(struct str text, const struct es256_key *key)
{
	struct error err;
	CLEANUP_SEALED struct sealed s = {0};
	if (sealed_read(text, key, &s, &err) < 0) {
		(void)fprintf(stderr, "cocopipe unseal: %s: not valid: %s\n", arg.file, err.msg);
		return EXIT_FAILURE;
	}
	CLEANUP_FINDINGS struct findings f = {0};
	sealed_check(s.payload, &f);
	if (s.kid != NULL)
		sealed_check_kid(s.kid, &f);
	if (tell_findings("cocopipe unseal", &f))
		return EXIT_FAILURE;
	if (s.kid != NULL) {
		text_sanitize(s.kid);
		(void)fprintf(stderr, "signed: kid %s\n", s.kid);
	} else {
		(void)fprintf(stderr, "Warning: no signature was checked\n");
	}
	return print_payload(s.payload, &err) < 0 ? usage_failure(err.msg) : EXIT_SUCCESS;
}

static int run(void)
{
	struct error err;
	if (check_arguments() != EXIT_SUCCESS)
		return EXIT_USAGE;
	const char *path = arg.key != NULL ? arg.key : arg.certificate;
	struct es256_key *key CLEANUP_ES256_KEY = path != NULL ? read_key(path, &err) : NULL;
	if (path != NULL && key == NULL)
		return usage_failure(err.msg);
	CLEANUP_BUF struct buf text = BUF_INIT(SEALED_TEXT_MAX + 2);
	if (file_read(arg.file, &text, &err) < 0)
		return usage_failure(err.msg);
	return unseal(without_newline(buf_str(&text)), key);
}

int cmd_unseal(int argc, char **argv)
{
	const struct option_spec options[] = {
		{"file", 'f', "FILE", NULL, "the sealed secret; - for standard input", &arg.file, NULL, NULL, NULL},
		{"key", 0, "FILE", NULL, "whose key must have signed it: a public key, PEM or JWK", &arg.key, NULL, NULL, NULL},
		{"certificate", 0, "FILE", NULL, "the same by a certificate, PEM", &arg.certificate, NULL, NULL, NULL},
		{"unsigned", 0, NULL, NULL, "check no signature, as a guest that skips verification", NULL, &arg.unsigned_too,
		 NULL, NULL},
		{"output", 'o', "FORMAT", NULL, "json or yaml", &arg.output, NULL, NULL, NULL},
	};
	const struct command_spec command = {
		.name = "cocopipe unseal",
		.usage = "-f FILE (--key FILE | --certificate FILE | --unsigned) [-o json|yaml]",
		.about =
			"Shows what a sealed secret points to, when its signature is right and a guest would take it. The secret "
			"itself is not in it: only a guest gets that.\n"
			"Exit status: 0 valid, 1 not valid (the reason is on stderr), 2 usage or unreadable input.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	return got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
}
