// Command lines: one table says what there is, how it is set from the environment, its default and its help.
#ifndef COCO_COMMON_OPTIONS_H
#define COCO_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct option_spec {
	const char *name; // long option, without "--"
	char letter;      // short option, 0 for none
	const char *arg;  // what it takes, as the help shows it; NULL: a flag
	const char *env;  // environment variable that sets it, NULL for none; the command line wins
	const char *help;
	const char **value; // set to the argument; its value before is the default
	bool *flag;         // of a flag
	// For an option that may stand more than once: called for each.
	int (*each)(void *ctx, const char *value);
	void *ctx;
};

struct command_spec {
	const char *name;  // such as "cocopipe inject"
	const char *usage; // what follows the name, such as "-f FILE [options]"
	const char *about; // what it does, a paragraph
	const struct option_spec *options;
	size_t noptions;
	size_t operands_max; // words that are no options
};

enum options_outcome { OPTIONS_GO, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

// Reads argv[1..]. --help and --version are understood always and print to stdout. What is wrong is said on stderr,
// with what is known. *ret_operands: the first of the operands in argv, which ends in NULL.
enum options_outcome options_read(const struct command_spec *command, int argc, char **argv, char ***ret_operands)
	__attribute__((nonnull, warn_unused_result));

// Whether text is a number in digits within bounds; complains on stderr otherwise.
bool option_number(const char *program, const char *option, const char *text, unsigned long min, unsigned long max)
	__attribute__((nonnull, warn_unused_result));

// Whether text is a name of an enum log_level, which is set up then, for stderr; complains on stderr otherwise.
bool option_log_level(const char *program, const char *text) __attribute__((nonnull, warn_unused_result));
// Whether text can be the name of a namespace; complains on stderr otherwise.
bool option_namespace(const char *program, const char *option, const char *text)
	__attribute__((nonnull, warn_unused_result));

#define EXIT_USAGE 2

#endif
