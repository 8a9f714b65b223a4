#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cases.h"
#include "common/buf.h"
#include "common/files.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/version.h"

#define ENV_FILE "COCO_TEST_FILE"
#define ENV_FLAG "COCO_TEST_FLAG"
#define WORDS_MAX 16

struct settings {
	const char *file, *name;
	bool flag;
	struct buf each;
};

static int note_each(void *ctx, const char *value)
{
	buf_addf(ctx, "%s,", value);
	return strcmp(value, "bad") == 0 ? -EINVAL : 0;
}

struct options_case {
	const char *name;
	const char *words; // separated by blanks
	const char *env_file, *env_flag;
	enum options_outcome outcome;
	const char *want; // settings and operands, "file name flag each | operands"
	const char *out, *err;
};

#define USAGE "Usage: prog sub -f FILE [WORD]\n'prog sub --help' lists the options.\n"
#define HELP                                                                  \
	"Usage: prog sub -f FILE [WORD]\n\nDoes a thing.\n\nOptions:\n"           \
	"  -f, --file FILE                where (default usual) [" ENV_FILE "]\n" \
	"      --name NAME                whose\n"                                \
	"  -x, --flag                     whether [" ENV_FLAG "]\n"               \
	"  -e, --each V                   more than once\n"                       \
	"  -h, --help                     show this and stop\n"                   \
	"      --version                  show the version and stop\n"

static struct options_case options_cases[] = {
	{"options: none", "", NULL, NULL, OPTIONS_GO, "usual - 0 | ", "", ""},
	{"options: letter", "-f a", NULL, NULL, OPTIONS_GO, "a - 0 | ", "", ""},
	{"options: letter, joined", "-fa", NULL, NULL, OPTIONS_GO, "a - 0 | ", "", ""},
	{"options: long", "--file a --name b --flag", NULL, NULL, OPTIONS_GO, "a b 1 | ", "", ""},
	{"options: long, joined", "--file=a --name=", NULL, NULL, OPTIONS_GO, "a  0 | ", "", ""},
	{"options: letters together", "-xf a", NULL, NULL, OPTIONS_GO, "a - 1 | ", "", ""},
	{"options: the last one counts", "-f a --file b", NULL, NULL, OPTIONS_GO, "b - 0 | ", "", ""},
	{"options: each", "-e a --each=b -ec", NULL, NULL, OPTIONS_GO, "usual - 0 a,b,c,| ", "", ""},
	{"options: operand", "-x a", NULL, NULL, OPTIONS_GO, "usual - 1 | a ", "", ""},
	{"options: operand before an option", "a -x", NULL, NULL, OPTIONS_GO, "usual - 1 | a ", "", ""},
	{"options: operand that looks like one", "-- -x", NULL, NULL, OPTIONS_GO, "usual - 0 | -x ", "", ""},
	{"options: dash", "-f -", NULL, NULL, OPTIONS_GO, "- - 0 | ", "", ""},
	{"environment: value", "", "e", NULL, OPTIONS_GO, "e - 0 | ", "", ""},
	{"environment: the command line wins", "-f a", "e", NULL, OPTIONS_GO, "a - 0 | ", "", ""},
	{"environment: empty", "", "", "", OPTIONS_GO, "usual - 0 | ", "", ""},
	{"environment: flag true", "", NULL, "true", OPTIONS_GO, "usual - 1 | ", "", ""},
	{"environment: flag 1", "", NULL, "1", OPTIONS_GO, "usual - 1 | ", "", ""},
	{"environment: flag false", "", NULL, "false", OPTIONS_GO, "usual - 0 | ", "", ""},
	{"environment: flag 0", "", NULL, "0", OPTIONS_GO, "usual - 0 | ", "", ""},
	{"help: letter", "-h", NULL, NULL, OPTIONS_EXIT_OK, NULL, HELP, ""},
	{"help: long", "--help", NULL, NULL, OPTIONS_EXIT_OK, NULL, HELP, ""},
	{"help: before what is wrong", "--help --nonsense", NULL, NULL, OPTIONS_EXIT_OK, NULL, HELP, ""},
	{"version", "--version", NULL, NULL, OPTIONS_EXIT_OK, NULL, "prog " COCO_VERSION "\n", ""},
	{"error: unknown letter", "-q", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "", "prog sub: unknown option -q\n" USAGE},
	{"error: unknown letter among others", "-xqf a", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: unknown option -q\n" USAGE},
	{"error: unknown long", "--fil3=a", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: unknown option --fil3=a\n" USAGE},
	{"error: unknown long behind an operand", "a --nonsense", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: unknown option --nonsense\n" USAGE},
	{"error: letter without a value", "-f", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: option -f needs a value\n" USAGE},
	{"error: long without a value", "--name", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: option --name needs a value\n" USAGE},
	{"error: value for a flag", "--flag=yes", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: option --flag takes no value\n" USAGE},
	{"error: value for help", "--help=me", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: option --help takes no value\n" USAGE},
	{"error: refused by the program", "-e bad -e c", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "", USAGE},
	{"error: two words too many", "a b c", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: \"b\" is one word too many\n" USAGE},
	{"error: one word too many", "a b", NULL, NULL, OPTIONS_EXIT_USAGE, NULL, "",
	 "prog sub: \"b\" is one word too many\n" USAGE},
};

// ---- What goes to a stream lands in a file meanwhile

struct capture {
	FILE *stream;
	FILE *file;
	int saved;
};

static void capture_begin(struct capture *c, FILE *stream)
{
	(void)fflush(stream);
	*c = (struct capture){stream, tmpfile(), dup(fileno(stream))};
	assert_non_null(c->file);
	assert_true(dup2(fileno(c->file), fileno(stream)) >= 0);
}

static void capture_end(struct capture *c, struct buf *to)
{
	(void)fflush(c->stream);
	assert_true(dup2(c->saved, fileno(c->stream)) >= 0);
	(void)close(c->saved);
	rewind(c->file);
	for (int ch; (ch = fgetc(c->file)) != EOF;)
		buf_addc(to, (char)ch);
	(void)fclose(c->file);
}

static int split(char *words, char **argv)
{
	int argc = 0;
	char *save = NULL;
	argv[argc++] = words + strlen(words); // the program's name is not looked at
	for (char *w = strtok_r(words, " ", &save); w != NULL && argc < WORDS_MAX - 1; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	return argc;
}

static void set_environment(const char *name, const char *value)
{
	assert_int_equal(value != NULL ? setenv(name, value, 1) : unsetenv(name), 0);
}

static enum options_outcome run(const struct options_case *c, struct settings *s, struct buf *operands)
{
	CLEANUP_FREE
	char *words = xstrdup(c->words);
	char *argv[WORDS_MAX];
	char **rest = NULL;
	const struct option_spec options[] = {
		{.name = "file", .letter = 'f', .arg = "FILE", .env = ENV_FILE, .help = "where", .value = &s->file},
		{.name = "name", .arg = "NAME", .help = "whose", .value = &s->name},
		{.name = "flag", .letter = 'x', .env = ENV_FLAG, .help = "whether", .flag = &s->flag},
		{.name = "each", .letter = 'e', .arg = "V", .help = "more than once", .each = note_each, .ctx = &s->each},
	};
	const struct command_spec command = {"prog sub", "-f FILE [WORD]", "Does a thing.", options, COUNT(options), 1};
	int argc = split(words, argv);
	enum options_outcome outcome = options_read(&command, argc, argv, &rest);
	if (outcome == OPTIONS_GO) {
		buf_addf(operands, "%s %s %d %s| ", s->file, s->name != NULL ? s->name : "-", s->flag, buf_z(&s->each));
		for (; *rest != NULL; rest++)
			buf_addf(operands, "%s ", *rest);
	}
	return outcome;
}

static void test_options(void **state)
{
	const struct options_case *c = *state;
	CLEANUP_BUF
	struct buf got = BUF_INIT(1000);
	CLEANUP_BUF
	struct buf out = BUF_INIT(10000);
	CLEANUP_BUF
	struct buf err = BUF_INIT(10000);
	struct settings s = {.file = "usual", .each = BUF_INIT(1000)};
	struct capture cout;
	struct capture cerr;
	set_environment(ENV_FILE, c->env_file);
	set_environment(ENV_FLAG, c->env_flag);
	capture_begin(&cout, stdout);
	capture_begin(&cerr, stderr);
	enum options_outcome outcome = run(c, &s, &got);
	capture_end(&cerr, &err);
	capture_end(&cout, &out);
	assert_string_equal(buf_z(&err), c->err);
	assert_string_equal(buf_z(&out), c->out);
	assert_int_equal(outcome, c->outcome);
	assert_string_equal(buf_z(&got), c->want != NULL ? c->want : "");
	buf_release(&s.each);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, options_cases, test_options);
	return tests_run("options", &t);
}
