// cocopipe: a thin shell over the functions of the two servers.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "common/options.h"
#include "common/version.h"

static const struct subcommand subcommands[] = {
	{"inject", cmd_inject, "what the webhook would do to a Pod or an AdmissionReview"},
	{"explain", cmd_explain, "why a pod is, or is not, made confidential: each rule in order"},
	{"render", cmd_render, "the objects that the controller would apply for a TrusteeConfig or KbsConfig"},
	{"doctor", cmd_doctor, "what is wrong with a cluster, and what to do about it"},
	{"initdata", cmd_initdata, "build, show, digest, lint and diff initdata"},
	{"seal", cmd_seal, "a pointer to a secret, signed, that only a confidential guest follows"},
	{"unseal", cmd_unseal, "what a sealed secret points to, and whether a guest would take it"},
	{0}};

static void print_subcommands(FILE *to, const char *program, const char *about, const struct subcommand *table)
{
	(void)fprintf(to, "Usage: %s COMMAND [options]\n\n%s\n\nCommands:\n", program, about);
	for (const struct subcommand *s = table; s->name != NULL; s++)
		(void)fprintf(to, "  %-10s %s\n", s->name, s->about);
	(void)fprintf(to, "\n'%s COMMAND --help' tells more.\n", program);
}

int run_subcommand(const char *program, const char *about, const struct subcommand *table, int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	if (word != NULL && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
		print_subcommands(stdout, program, about, table);
		return 0;
	}
	if (word != NULL && strcmp(word, "--version") == 0) {
		(void)printf("cocopipe %s\n", COCO_VERSION);
		return 0;
	}
	for (const struct subcommand *s = table; word != NULL && s->name != NULL; s++)
		if (strcmp(s->name, word) == 0)
			return s->run(argc - 1, argv + 1);
	if (word != NULL)
		(void)fprintf(stderr, "%s: unknown command \"%s\"\n", program, word);
	print_subcommands(stderr, program, about, table);
	return EXIT_USAGE;
}

int usage_failure(const char *message)
{
	(void)fprintf(stderr, "cocopipe: %s\n", message);
	return EXIT_USAGE;
}

bool tell_findings(const char *name, const struct findings *f)
{
	bool wrong = false;
	for (size_t i = 0; i < f->n; i++) {
		bool is_error = f->v[i].level == FINDING_ERROR;
		(void)fprintf(stderr, "%s: %s: %s %s\n", name, is_error ? "error" : "warning", f->v[i].where, f->v[i].what);
		wrong |= is_error;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	int status = run_subcommand(
		"cocopipe",
		"Confidential Tekton pipelines: the webhook's and the controller's functions, with and without a cluster.",
		subcommands, argc, argv);
	// A file that a full disk has cut must not look like the answer.
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		(void)fprintf(stderr, "cocopipe: can't write the output: %s\n", strerror(errno));
		return EXIT_USAGE;
	}
	return status;
}
