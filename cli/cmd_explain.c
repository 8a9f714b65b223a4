// cocopipe explain: the rules that a decision went through, in order.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "webhook/handle.h"

static struct input_args args = INPUT_ARGS_INIT;

static void print_steps(const struct explain *e)
{
	int rule = 4;
	int outcome = 7;
	for (size_t i = 0; i < e->n; i++) {
		int a = (int)strlen(e->steps[i].rule);
		int b = (int)strlen(e->steps[i].outcome);
		rule = a > rule ? a : rule;
		outcome = b > outcome ? b : outcome;
	}
	(void)printf("%-*s  %-*s  %s\n", rule, "RULE", outcome, "OUTCOME", "WHY");
	for (size_t i = 0; i < e->n; i++)
		(void)printf("%-*s  %-*s  %s\n", rule, e->steps[i].rule, outcome, e->steps[i].outcome, e->steps[i].text);
}

static int conclude(struct input *in, const struct decision *d)
{
	struct str ns = review_namespace(&in->review);
	struct str name = pod_display_name(&in->review.object);
	const char *who = arena_printf(&in->arena, "Pod %.*s of namespace %.*s", STR_ARG(name), STR_ARG(ns));
	(void)printf("\n%s: ", input_printable(in, who));
	switch (d->verdict) {
	case VERDICT_CONFIDENTIAL:
		(void)printf("confidential%s.\n", d->nedits > 0 ? "" : " already; nothing to change");
		return EXIT_SUCCESS;
	case VERDICT_LEFT_ALONE:
		(void)printf("left alone (%s).\n", d->cause);
		return EXIT_SUCCESS;
	case VERDICT_DENIED:
		break;
	}
	(void)printf("denied (%s): %s.\n", d->cause, input_printable(in, d->message));
	return EXIT_FAILURE;
}

static int run(void)
{
	CLEANUP_INPUT struct input in = {0};
	struct error err;
	struct decision d;
	if (input_read(&args, &in, &err) < 0)
		return usage_failure(err.msg);
	struct explain e = {.arena = &in.arena};
	decide_review(ENDPOINT_MUTATE, in.catalog, &in.review, &in.arena, &e, &d);
	print_steps(&e);
	return conclude(&in, &d);
}

// None, or "pod NAME".
static bool good_operands(char **operands)
{
	if (operands[0] == NULL)
		return true;
	if (strcmp(operands[0], "pod") != 0 || operands[1] == NULL) {
		(void)fprintf(stderr, "cocopipe explain: \"%s%s%s\" is not understood; write: pod NAME\n", operands[0],
					  operands[1] != NULL ? " " : "", operands[1] != NULL ? operands[1] : "");
		return false;
	}
	args.pod_name = operands[1];
	return true;
}

int cmd_explain(int argc, char **argv)
{
	const struct option_spec options[] = {INPUT_OPTIONS(args)};
	const struct command_spec command = {
		.name = "cocopipe explain",
		.usage = "-f FILE [--profile FILE | --server] | pod NAME [-n NS]",
		.about = "Tells why a pod is, or is not, made confidential: each rule in order, with its outcome.\n"
				 "The pod is in a file, or on a cluster; so are the profiles (--server).\n"
				 "Exit status: 0 confidential or left alone, 1 denied, 2 usage or unreadable input.",
		.options = options,
		.noptions = INPUT_OPTIONS_N,
		.operands_max = 2,
	};
	char **operands = NULL;
	enum options_outcome got = options_read(&command, argc, argv, &operands);
	if (got == OPTIONS_GO && !good_operands(operands))
		got = OPTIONS_EXIT_USAGE;
	int status = got == OPTIONS_GO ? run() : got == OPTIONS_EXIT_OK ? EXIT_SUCCESS : EXIT_USAGE;
	input_args_release(&args);
	return status;
}
