// cocopipe seal: a pointer to a secret, signed, as a confidential guest takes it.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "common/files.h"
#include "common/json_made.h"
#include "common/kube_name.h"
#include "common/options.h"
#include "common/sealed.h"
#include "common/secret.h"
#include "common/yaml.h"

#define SETTINGS_MAX ((size_t)64 * 1024)
#define OUTPUT_MAX ((size_t)4 * 1024 * 1024)
#define DATA_KEY_MAX 253

static struct {
	const char *resource;
	const char *provider;
	const char *settings;
	const char *annotations;
	const char *key;
	const char *kid;
	bool unsigned_too;
	const char *output;
	const char *name;
	const char *ns;
	const char *data_key;
} arg = {.provider = "kbs", .output = "text", .name = "sealed-secret", .data_key = "secret"};

// ---- What was asked for

static bool is(const char *format)
{
	return strcmp(arg.output, format) == 0;
}

static bool is_data_key(const char *text)
{
	size_t n = strlen(text);
	return n > 0 && n <= DATA_KEY_MAX && strcmp(text, ".") != 0 && strncmp(text, "..", 2) != 0 &&
		   strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static int check_arguments(void)
{
	if (!is("text") && !is("yaml") && !is("jwk"))
		return usage_failure("seal: -o must be text, yaml or jwk");
	if (is("jwk") && arg.key == NULL)
		return usage_failure("seal: -o jwk shows the public half of a key; say which: --key FILE");
	if (!is("jwk") && arg.resource == NULL)
		return usage_failure("seal: say which secret: --resource kbs:///REPOSITORY/TYPE/TAG");
	if (arg.unsigned_too && (arg.key != NULL || arg.kid != NULL))
		return usage_failure("seal: --unsigned goes without --key and --kid");
	if (!arg.unsigned_too && !is("jwk") && (arg.key == NULL || arg.kid == NULL))
		return usage_failure(
			"seal: sign it with --key FILE and --kid kbs:///REPOSITORY/TYPE/TAG, where the guest finds "
			"the public key; or say --unsigned, for guests that skip verification");
	if (is("yaml") && (!is_subdomain(arg.name) || (arg.ns != NULL && !is_dns_label(arg.ns))))
		return usage_failure("seal: --name and --namespace must be names of a Secret and of a namespace");
	if (is("yaml") && !is_data_key(arg.data_key))
		return usage_failure("seal: --data-key must be a key of a Secret: letters, digits, \"-\", \"_\" and \".\"");
	return EXIT_SUCCESS;
}

// A JSON object of the command line; NULL for none.
static int read_object(const char *option, const char *text, json_t **ret, struct error *err)
{
	if (text == NULL)
		return 0;
	json_error_t why;
	*ret = strlen(text) <= SETTINGS_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
	if (json_is_object(*ret))
		return 0;
	return error_set(err, EINVAL, "%s must be a JSON object, such as {\"region\": \"us-east-1\"}", option);
}

static struct es256_key *read_key(struct error *err)
{
	CLEANUP_SECRET_BUF struct buf text = secret_buf(ES256_KEY_MAX + FILE_STEP_BYTES);
	if (file_read(arg.key, &text, err) < 0)
		return NULL;
	struct es256_key *key = es256_key_read(buf_str(&text), ES256_PRIVATE, err);
	if (key == NULL)
		(void)error_prefix(err, "%s", arg.key);
	return key;
}

// ---- Output

// Without a newline where it goes into a file or a variable: a guest takes none at the end of a sealed secret, and
// would hand out the sealed text in place of the secret.
static void print_text(const struct buf *text)
{
	(void)fwrite(buf_z(text), 1, text->n, stdout);
	if (isatty(STDOUT_FILENO) == 1)
		(void)putchar('\n');
}

static int print_secret(const struct buf *text, struct error *err)
{
	json_t *meta = json_made(json_pack("{s:s, s:s*}", "name", arg.name, "namespace", arg.ns));
	json_t *secret = json_made(json_pack("{s:s, s:s, s:o, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Secret",
										 "metadata", meta, "type", "Opaque", "stringData", arg.data_key, buf_z(text)));
	CLEANUP_BUF struct buf out = BUF_INIT(OUTPUT_MAX);
	int rc = yaml_write(secret, &out, err);
	json_decref(secret);
	if (rc == 0)
		(void)fwrite(buf_z(&out), 1, out.n, stdout);
	return rc;
}

static int print_jwk(const struct es256_key *key, struct error *err)
{
	json_t *jwk = es256_key_jwk(key, arg.kid, err);
	if (jwk == NULL)
		return -err->code;
	CLEANUP_FREE
	char *text = json_dumps(jwk, JSON_COMPACT);
	json_decref(jwk);
	if (text == NULL)
		return error_set(err, ENOMEM, "the key can't be written as JSON");
	(void)puts(text);
	return 0;
}

// ---- Run

// EXIT_FAILURE where the guest would refuse it.
static int judge(const json_t *payload)
{
	CLEANUP_FINDINGS struct findings f = {0};
	sealed_check(payload, &f);
	if (arg.kid != NULL)
		sealed_check_kid(arg.kid, &f);
	return tell_findings("cocopipe seal", &f) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int seal(const struct es256_key *key)
{
	struct error err;
	json_t *settings = NULL;
	json_t *annotations = NULL;
	int rc = read_object("--provider-settings", arg.settings, &settings, &err);
	if (rc == 0)
		rc = read_object("--annotations", arg.annotations, &annotations, &err);
	json_t *payload = rc == 0 ? sealed_vault(arg.provider, arg.resource, settings, annotations) : NULL;
	json_decref(settings);
	json_decref(annotations);
	int status = payload != NULL ? judge(payload) : EXIT_USAGE;
	CLEANUP_BUF struct buf text = BUF_INIT(SEALED_TEXT_MAX);
	if (status == EXIT_SUCCESS)
		rc = sealed_write(payload, arg.kid, key, &text, &err);
	json_decref(payload);
	if (rc == 0 && status == EXIT_SUCCESS && is("yaml"))
		rc = print_secret(&text, &err);
	else if (rc == 0 && status == EXIT_SUCCESS)
		print_text(&text);
	return rc < 0 ? usage_failure(err.msg) : status;
}

static int run(void)
{
	struct error err;
	if (check_arguments() != EXIT_SUCCESS)
		return EXIT_USAGE;
	struct es256_key *key CLEANUP_ES256_KEY = arg.key != NULL ? read_key(&err) : NULL;
	if (key == NULL && arg.key != NULL)
		return usage_failure(err.msg);
	if (key != NULL && is("jwk"))
		return print_jwk(key, &err) < 0 ? usage_failure(err.msg) : EXIT_SUCCESS;
	return seal(key);
}

int cmd_seal(int argc, char **argv)
{
	const struct option_spec options[] = {
		{"resource", 'r', "URI", NULL, "the secret: kbs:///REPOSITORY/TYPE/TAG, or its name at another provider",
		 &arg.resource, NULL, NULL, NULL},
		{"key", 0, "FILE", NULL, "what signs it: a private key on P-256, PEM or JWK; - for standard input", &arg.key,
		 NULL, NULL, NULL},
		{"kid", 0, "URI", NULL, "where the guest finds the public key, a JWK: kbs:///REPOSITORY/TYPE/TAG", &arg.kid,
		 NULL, NULL, NULL},
		{"unsigned", 0, NULL, NULL, "don't sign it, for guests that skip verification", NULL, &arg.unsigned_too, NULL,
		 NULL},
		{"provider", 0, "NAME", NULL, "who has the secret: kbs, aws or aliyun", &arg.provider, NULL, NULL, NULL},
		{"provider-settings", 0, "JSON", NULL, "what the provider needs, such as {\"region\": \"us-east-1\"}",
		 &arg.settings, NULL, NULL, NULL},
		{"annotations", 0, "JSON", NULL, "what the provider wants to know of this secret, such as its version",
		 &arg.annotations, NULL, NULL, NULL},
		{"output", 'o', "FORMAT", NULL, "text; yaml: a Kubernetes Secret; jwk: the key's public half, for --kid",
		 &arg.output, NULL, NULL, NULL},
		{"name", 0, "NAME", NULL, "of the Kubernetes Secret", &arg.name, NULL, NULL, NULL},
		{"namespace", 'n', "NS", NULL, "of the Kubernetes Secret; default: none, as kubectl takes it", &arg.ns, NULL,
		 NULL, NULL},
		{"data-key", 0, "KEY", NULL, "of the Kubernetes Secret, under which the text stands", &arg.data_key, NULL, NULL,
		 NULL},
	};
	const struct command_spec command = {
		.name = "cocopipe seal",
		.usage = "--resource URI (--key FILE --kid URI | --unsigned) [-o text|yaml]",
		.about = "Makes a sealed secret: a signed pointer to a secret, which only a confidential guest follows, after "
				 "attestation. Nothing of the secret is in it.\n"
				 "Exit status: 0 made, 1 a guest would refuse it, 2 usage or unreadable input.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	return got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
}
