#include "common/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/kube_name.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/version.h"

#define HELP_COLUMN 30
// Values that getopt_long returns for long options: behind all characters.
#define LONG_BASE 1000
#define LONG_HELP 998
#define LONG_VERSION 999

static void print_option(const struct option_spec *o)
{
	CLEANUP_FREE
	char *left =
		o->letter != 0
			? xasprintf("-%c, --%s%s%s", o->letter, o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "")
			: xasprintf("    --%s%s%s", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
	(void)printf("  %-*s %s", HELP_COLUMN, left, o->help);
	if (o->value != NULL && *o->value != NULL && (*o->value)[0] != '\0')
		(void)printf(" (default %s)", *o->value);
	if (o->env != NULL)
		(void)printf(" [%s]", o->env);
	(void)putchar('\n');
}

static void print_help(const struct command_spec *c)
{
	(void)printf("Usage: %s %s\n\n%s\n\nOptions:\n", c->name, c->usage, c->about);
	for (size_t i = 0; i < c->noptions; i++)
		print_option(&c->options[i]);
	(void)printf("  %-*s %s\n", HELP_COLUMN, "-h, --help", "show this and stop");
	(void)printf("  %-*s %s\n", HELP_COLUMN, "    --version", "show the version and stop");
}

static void set(const struct option_spec *o, const char *text)
{
	if (o->arg == NULL)
		*o->flag = true;
	else if (o->value != NULL)
		*o->value = text;
}

static void read_environment(const struct command_spec *c)
{
	for (size_t i = 0; i < c->noptions; i++) {
		const struct option_spec *o = &c->options[i];
		const char *text = o->env != NULL ? getenv(o->env) : NULL;
		if (text == NULL || text[0] == '\0')
			continue;
		if (o->arg != NULL || strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
			set(o, text);
	}
}

static enum options_outcome usage_error(const struct command_spec *c)
{
	(void)fprintf(stderr, "Usage: %s %s\n'%s --help' lists the options.\n", c->name, c->usage, c->name);
	return OPTIONS_EXIT_USAGE;
}

static const struct option_spec *option_of(const struct command_spec *c, int code)
{
	for (size_t i = 0; i < c->noptions; i++)
		if (code == LONG_BASE + (int)i || (c->options[i].letter != 0 && code == c->options[i].letter))
			return &c->options[i];
	return NULL;
}

static void prepare(const struct command_spec *c, char *letters, struct option *longs)
{
	*letters++ = ':';
	*letters++ = 'h';
	for (size_t i = 0; i < c->noptions; i++) {
		const struct option_spec *o = &c->options[i];
		int takes = o->arg != NULL ? required_argument : no_argument;
		longs[i] = (struct option){o->name, takes, NULL, LONG_BASE + (int)i};
		if (o->letter == 0)
			continue;
		*letters++ = o->letter;
		if (o->arg != NULL)
			*letters++ = ':';
	}
	longs[c->noptions] = (struct option){"help", no_argument, NULL, LONG_HELP};
	longs[c->noptions + 1] = (struct option){"version", no_argument, NULL, LONG_VERSION};
}

static enum options_outcome complain(const struct command_spec *c, int got, char **argv)
{
	const char *word = argv[optind - 1];
	if (got == ':')
		(void)fprintf(stderr, "%s: option %s needs a value\n", c->name, word);
	else if (optopt >= LONG_HELP)
		(void)fprintf(stderr, "%s: option %.*s takes no value\n", c->name, (int)strcspn(word, "="), word);
	else if (optopt > 0 && optopt < LONG_HELP)
		(void)fprintf(stderr, "%s: unknown option -%c\n", c->name, optopt);
	else
		(void)fprintf(stderr, "%s: unknown option %s\n", c->name, word);
	return usage_error(c);
}

enum options_outcome options_read(const struct command_spec *c, int argc, char **argv, char ***ret_operands)
{
	CLEANUP_FREE
	char *letters = xcalloc(2 * c->noptions + 3, 1);
	CLEANUP_FREE
	struct option *longs = xcalloc(c->noptions + 3, sizeof(*longs));
	prepare(c, letters, longs);
	read_environment(c);
	optind = 0; // a program may read two command lines: its own and a subcommand's
	opterr = 0;
	for (int got; (got = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
		if (got == 'h' || got == LONG_HELP) {
			print_help(c);
			return OPTIONS_EXIT_OK;
		}
		if (got == LONG_VERSION) {
			(void)printf("%.*s %s\n", (int)strcspn(c->name, " "), c->name, COCO_VERSION);
			return OPTIONS_EXIT_OK;
		}
		const struct option_spec *o = option_of(c, got);
		if (o == NULL)
			return complain(c, got, argv);
		set(o, optarg);
		if (o->each != NULL && o->each(o->ctx, optarg) < 0)
			return usage_error(c);
	}
	if ((size_t)(argc - optind) > c->operands_max) {
		(void)fprintf(stderr, "%s: \"%s\" is one word too many\n", c->name, argv[optind + (int)c->operands_max]);
		return usage_error(c);
	}
	*ret_operands = argv + optind;
	return OPTIONS_GO;
}

bool option_number(const char *program, const char *option, const char *text, unsigned long min, unsigned long max)
{
	char *end = NULL;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	bool good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && n >= min && n <= max;
	if (!good)
		(void)fprintf(stderr, "%s: %s is \"%s\"; it must be from %lu to %lu\n", program, option, text, min, max);
	return good;
}

bool option_log_level(const char *program, const char *text)
{
	enum log_level level = LOG_INFO;
	if (!log_level_parse(text, &level)) {
		(void)fprintf(stderr, "%s: --log-level is \"%s\"; it must be debug, info, warn or error\n", program, text);
		return false;
	}
	log_setup(level, STDERR_FILENO);
	return true;
}

bool option_namespace(const char *program, const char *option, const char *text)
{
	if (is_object_name(text))
		return true;
	(void)fprintf(stderr, "%s: %s is \"%s\"; it must be the name of a namespace\n", program, option, text);
	return false;
}
