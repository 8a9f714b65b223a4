// The subcommands of cocopipe. Each takes its own command line, argv[0] being its name, and returns an exit status.
#ifndef COCO_CLI_COMMANDS_H
#define COCO_CLI_COMMANDS_H

#include <stdbool.h>

#include "common/findings.h"

int cmd_inject(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_initdata(int argc, char **argv);
int cmd_seal(int argc, char **argv);
int cmd_unseal(int argc, char **argv);

struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *about;
};

// Finds argv[1] in a table that ends in a name of NULL and runs it; prints help, version or what is known otherwise.
int run_subcommand(const char *program, const char *about, const struct subcommand *table, int argc, char **argv)
	__attribute__((nonnull));

// Prints "cocopipe: MESSAGE" on stderr; returns EXIT_USAGE.
int usage_failure(const char *message) __attribute__((nonnull));
// Prints them on stderr, each after "NAME: "; whether one is an error.
bool tell_findings(const char *name, const struct findings *f) __attribute__((nonnull));

#endif
