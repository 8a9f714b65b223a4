// cocopipe inject: the webhook's decision about one pod, without a webhook.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "common/json_patch.h"
#include "common/yaml.h"
#include "webhook/handle.h"

#define OUTPUT_MAX ((size_t)64 * 1024 * 1024)

static struct input_args args = INPUT_ARGS_INIT;
static const char *arg_output = "yaml";

static int print_tree(const json_t *tree, struct error *err)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(OUTPUT_MAX);
	if (strcmp(arg_output, "json") == 0) {
		CLEANUP_FREE
		char *text = json_dumps(tree, JSON_INDENT(2));
		buf_addz(&out, text != NULL ? text : "");
		buf_addc(&out, '\n');
	} else if (yaml_write(tree, &out, err) < 0) {
		return -err->code;
	}
	(void)fwrite(buf_z(&out), 1, out.n, stdout);
	return 0;
}

static int print_pod(const struct input *in, const struct buf *patch, struct error *err)
{
	json_error_t bad;
	json_t *ops = json_loads(buf_z(patch), JSON_REJECT_DUPLICATES, &bad);
	int rc = json_patch_apply(in->pod, ops, err);
	json_decref(ops);
	return rc < 0 ? rc : print_tree(in->pod, err);
}

static int print_decision(struct input *in, struct decision *d, struct error *err)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(OUTPUT_MAX);
	if (strcmp(arg_output, "review") == 0) {
		answer_decision(&in->review, d, true, &in->arena, &out);
		(void)printf("%s\n", buf_z(&out));
		return 0;
	}
	if (d->verdict == VERDICT_DENIED)
		return 0;
	decision_patch(d, &out);
	if (strcmp(arg_output, "patch") == 0) {
		(void)printf("%s\n", buf_z(&out));
		return 0;
	}
	return in->pod != NULL ? print_pod(in, &out, err) : 0;
}

static int report(struct input *in, const struct decision *d)
{
	for (size_t i = 0; i < d->nwarnings; i++)
		(void)fprintf(stderr, "Warning: %s\n", input_printable(in, d->warnings[i]));
	if (d->verdict == VERDICT_LEFT_ALONE)
		(void)fprintf(stderr, "left alone: %s ('cocopipe explain' tells why)\n", d->cause);
	if (d->verdict == VERDICT_DENIED)
		(void)fprintf(stderr, "denied: %s\n", input_printable(in, d->message));
	return d->verdict == VERDICT_DENIED ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(void)
{
	static const char *const outputs[] = {"yaml", "json", "patch", "review", NULL};
	const char *const *known = outputs;
	while (*known != NULL && strcmp(*known, arg_output) != 0)
		known++;
	if (*known == NULL) {
		(void)fprintf(stderr, "cocopipe inject: -o is \"%s\"; it must be yaml, json, patch or review\n", arg_output);
		return EXIT_USAGE;
	}
	CLEANUP_INPUT struct input in = {0};
	struct error err;
	struct decision d;
	if (input_read(&args, &in, &err) < 0)
		return usage_failure(err.msg);
	decide_review(ENDPOINT_MUTATE, in.catalog, &in.review, &in.arena, NULL, &d);
	if (print_decision(&in, &d, &err) < 0)
		return usage_failure(err.msg);
	return report(&in, &d);
}

int cmd_inject(int argc, char **argv)
{
	const struct option_spec options[] = {
		INPUT_OPTIONS(args),
		{"output", 'o', "FORMAT", NULL, "yaml, json: the pod afterwards; patch: the JSON Patch; review: the answer",
		 &arg_output, NULL, NULL, NULL},
	};
	const struct command_spec command = {
		.name = "cocopipe inject",
		.usage = "-f FILE [--profile FILE | --server] [-o yaml|json|patch|review]",
		.about = "Shows what the webhook would do to a Pod, or answer to an AdmissionReview: the same functions, and "
				 "no cluster but for --server.\n"
				 "Exit status: 0 mutated or left alone, 1 denied, 2 usage or unreadable input.",
		.options = options,
		.noptions = sizeof(options) / sizeof(options[0]),
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	int status = got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
	input_args_release(&args);
	return status;
}
