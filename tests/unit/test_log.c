#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/log.h"

#define NELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define FIELDS_MAX 4
#define FFFD "\xEF\xBF\xBD"
// {"ts":"2024-01-02T03:04:05.678Z",
#define STAMP_LENGTH 33

static int lines[2] = {-1, -1};

struct line_case {
	const char *name;
	enum log_level level;
	struct str msg;
	struct log_field fields[FIELDS_MAX];
	size_t n;
	const char *want; // after the time stamp
};

#define INFO "\"level\":\"info\",\"msg\":"

static const struct line_case LINES[] = {
	{"no field", LOG_INFO, STR("started"), {{.i = 0}}, 0, INFO "\"started\"}\n"},
	{"debug", LOG_DEBUG, STR("m"), {{.i = 0}}, 0, "\"level\":\"debug\",\"msg\":\"m\"}\n"},
	{"warn", LOG_WARN, STR("m"), {{.i = 0}}, 0, "\"level\":\"warn\",\"msg\":\"m\"}\n"},
	{"error", LOG_ERROR, STR("m"), {{.i = 0}}, 0, "\"level\":\"error\",\"msg\":\"m\"}\n"},
	{"empty message", LOG_INFO, STR(""), {{.i = 0}}, 0, INFO "\"\"}\n"},
	{"each kind of field",
	 LOG_INFO,
	 STR("m"),
	 {{STR("s"), LOG_KIND_STR, STR("v"), 0},
	  {STR("i"), LOG_KIND_INT, {0}, -42},
	  {STR("t"), LOG_KIND_BOOL, {0}, 1},
	  {STR("f"), LOG_KIND_BOOL, {0}, 0}},
	 4,
	 INFO "\"m\",\"s\":\"v\",\"i\":-42,\"t\":true,\"f\":false}\n"},
	{"extreme numbers",
	 LOG_INFO,
	 STR("m"),
	 {{STR("a"), LOG_KIND_INT, {0}, INT64_MIN}, {STR("b"), LOG_KIND_INT, {0}, INT64_MAX}},
	 2,
	 INFO "\"m\",\"a\":-9223372036854775808,\"b\":9223372036854775807}\n"},
	{"absent text is left out",
	 LOG_INFO,
	 STR("m"),
	 {{STR("a"), LOG_KIND_STR, {0}, 0}, {STR("b"), LOG_KIND_STR, STR("x"), 0}},
	 2,
	 INFO "\"m\",\"b\":\"x\"}\n"},
	{"empty text stays", LOG_INFO, STR("m"), {{STR("a"), LOG_KIND_STR, STR(""), 0}}, 1, INFO "\"m\",\"a\":\"\"}\n"},
	{"quotes and backslashes", LOG_INFO, STR("a\"b\\c"), {{.i = 0}}, 0, INFO "\"a\\\"b\\\\c\"}\n"},
	{"named controls", LOG_INFO, STR("\b\t\n\f\r"), {{.i = 0}}, 0, INFO "\"\\b\\t\\n\\f\\r\"}\n"},
	{"other controls", LOG_INFO, STR("\x01\x1b[0m\x7f"), {{.i = 0}}, 0, INFO "\"\\u0001\\u001b[0m\\u007f\"}\n"},
	{"NUL inside a field",
	 LOG_INFO,
	 STR("m"),
	 {{STR("a"), LOG_KIND_STR, STR("x\0y"), 0}},
	 1,
	 INFO "\"m\",\"a\":\"x\\u0000y\"}\n"},
	{"a line break can't forge a line",
	 LOG_INFO,
	 STR("x\n{\"level\":\"error\"}"),
	 {{.i = 0}},
	 0,
	 INFO "\"x\\n{\\\"level\\\":\\\"error\\\"}\"}\n"},
	{"UTF-8 stays",
	 LOG_INFO,
	 STR("\u00fc \u20ac \U0001F600 \uFFFD"),
	 {{.i = 0}},
	 0,
	 INFO "\"\u00fc \u20ac \U0001F600 \uFFFD\"}\n"},
	{"highest and lowest of each length",
	 LOG_INFO,
	 STR("\xC2\x80\u07FF\u0800\uD7FF\uE000\U00010000\U0010FFFF"),
	 {{.i = 0}},
	 0,
	 INFO "\"\xC2\x80\u07FF\u0800\uD7FF\uE000\U00010000\U0010FFFF\"}\n"},
	{"lone continuation byte", LOG_INFO, STR("a\x80z"), {{.i = 0}}, 0, INFO "\"a" FFFD "z\"}\n"},
	{"Latin-1", LOG_INFO, STR("\xfcr"), {{.i = 0}}, 0, INFO "\"" FFFD "r\"}\n"},
	{"cut sequence at the end", LOG_INFO, STR("\xE2\x82"), {{.i = 0}}, 0, INFO "\"" FFFD FFFD "\"}\n"},
	{"cut sequence before ASCII",
	 LOG_INFO,
	 STR("\xE2\x82"
		 "a"),
	 {{.i = 0}},
	 0,
	 INFO "\"" FFFD FFFD "a\"}\n"},
	{"overlong", LOG_INFO, STR("\xC0\xAF\xE0\x80\xAF"), {{.i = 0}}, 0, INFO "\"" FFFD FFFD FFFD FFFD FFFD "\"}\n"},
	{"surrogate", LOG_INFO, STR("\xED\xA0\x80"), {{.i = 0}}, 0, INFO "\"" FFFD FFFD FFFD "\"}\n"},
	{"past U+10FFFF", LOG_INFO, STR("\xF4\x90\x80\x80"), {{.i = 0}}, 0, INFO "\"" FFFD FFFD FFFD FFFD "\"}\n"},
	{"bytes that UTF-8 never has", LOG_INFO, STR("\xFE\xFF"), {{.i = 0}}, 0, INFO "\"" FFFD FFFD "\"}\n"},
};

static size_t read_lines(char *out, size_t cap)
{
	ssize_t n = read(lines[0], out, cap - 1);
	size_t got = n > 0 ? (size_t)n : 0;
	out[got] = '\0';
	return got;
}

static void check_stamp(const char *line)
{
	static const char SHAPE[] = "{\"ts\":\"dddd-dd-ddTdd:dd:dd.dddZ\",";
	for (size_t i = 0; i < STAMP_LENGTH; i++) {
		if (SHAPE[i] == 'd' && i > 6)
			assert_in_range(line[i], '0', '9');
		else
			assert_int_equal(line[i], SHAPE[i]);
	}
}

static void test_line(void **state)
{
	const struct line_case *c = *state;
	char got[2 * LOG_LINE_MAX];
	log_setup(LOG_DEBUG, lines[1]);
	log_line(c->level, c->msg.p, c->fields, c->n);
	(void)read_lines(got, sizeof(got));
	check_stamp(got);
	assert_string_equal(got + STAMP_LENGTH, c->want);
}

struct level_case {
	const char *name;
	const char *text;
	bool ok;
	enum log_level want;
};

static const struct level_case LEVELS[] = {
	{"level debug", "debug", true, LOG_DEBUG},
	{"level info", "info", true, LOG_INFO},
	{"level warn", "warn", true, LOG_WARN},
	{"level error", "error", true, LOG_ERROR},
	{"level unknown", "trace", false, 0},
	{"level in capitals", "INFO", false, 0},
	{"level empty", "", false, 0},
	{"level with space", "info ", false, 0},
};

static void test_level_parse(void **state)
{
	const struct level_case *c = *state;
	enum log_level got = LOG_DEBUG;
	assert_int_equal(log_level_parse(c->text, &got), c->ok);
	if (c->ok)
		assert_int_equal(got, c->want);
}

static void test_levels_filter(void **state)
{
	(void)state;
	char got[1024];
	log_setup(LOG_WARN, lines[1]);
	assert_false(log_enabled(LOG_INFO));
	assert_true(log_enabled(LOG_WARN));
	log_debug("no");
	log_info("no", LOG_I("a", 1));
	log_line(LOG_INFO, "no", NULL, 0);
	log_warn("yes", LOG_I("a", 1), LOG_Z("gone", NULL), LOG_B("b", true));
	(void)read_lines(got, sizeof(got));
	assert_string_equal(got + STAMP_LENGTH, "\"level\":\"warn\",\"msg\":\"yes\",\"a\":1,\"b\":true}\n");
}

static void test_dropped_arguments_are_not_evaluated(void **state)
{
	(void)state;
	int asked = 0;
	log_setup(LOG_ERROR, lines[1]);
	log_info("no", LOG_I("a", ++asked));
	assert_int_equal(asked, 0);
}

// The line stays JSON, whole fields go from the end, and it says so.
static void test_long_field_is_dropped(void **state)
{
	(void)state;
	static char text[2 * LOG_LINE_MAX];
	char got[2 * LOG_LINE_MAX];
	memset(text, 'x', sizeof(text) - 1);
	log_setup(LOG_INFO, lines[1]);
	log_info("m", LOG_I("a", 1), LOG_Z("long", text), LOG_I("b", 2));
	assert_true(read_lines(got, sizeof(got)) <= LOG_LINE_MAX);
	assert_string_equal(got + STAMP_LENGTH, INFO "\"m\",\"a\":1,\"truncated\":true}\n");
}

static void test_long_message_is_cut_at_a_character(void **state)
{
	(void)state;
	char got[2 * LOG_LINE_MAX];
	for (size_t shift = 0; shift < 4; shift++) {
		char text[LOG_LINE_MAX + 8] = "abc";
		for (size_t i = shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\u20ac", 4);
		log_setup(LOG_INFO, lines[1]);
		log_info(text, LOG_I("a", 1));
		size_t n = read_lines(got, sizeof(got));
		static const char TAIL[] = "\u20ac\",\"truncated\":true}\n";
		assert_in_range(n, LOG_LINE_MAX - 8, LOG_LINE_MAX);
		assert_string_equal(got + n - strlen(TAIL), TAIL);
		assert_null(strstr(got, FFFD));
	}
}

// Every length around the limit: never past it, always closed.
static void test_lengths_around_the_limit(void **state)
{
	(void)state;
	static char text[LOG_LINE_MAX];
	char got[2 * LOG_LINE_MAX];
	log_setup(LOG_INFO, lines[1]);
	bool fitted = false;
	bool cut = false;
	for (size_t n = LOG_LINE_MAX - 150; n < LOG_LINE_MAX - 1; n++) {
		memset(text, 'x', n);
		text[n] = '\0';
		log_info("m", LOG_Z("t", text));
		size_t length = read_lines(got, sizeof(got));
		assert_true(length <= LOG_LINE_MAX);
		assert_string_equal(got + length - 2, "}\n");
		bool whole = strstr(got, "truncated") == NULL;
		assert_false(cut && whole);
		fitted = fitted || whole;
		cut = cut || !whole;
	}
	assert_true(fitted && cut);
}

static void test_errno_is_kept(void **state)
{
	(void)state;
	log_setup(LOG_INFO, -1);
	errno = ENOENT;
	log_info("to a descriptor that isn't there");
	assert_int_equal(errno, ENOENT);
}

static void test_message_may_be_absent(void **state)
{
	(void)state;
	char got[1024];
	log_setup(LOG_INFO, lines[1]);
	log_line(LOG_INFO, NULL, NULL, 0);
	(void)read_lines(got, sizeof(got));
	assert_string_equal(got + STAMP_LENGTH, INFO "\"\"}\n");
}

static void test_time_is_now_in_utc(void **state)
{
	(void)state;
	char got[1024];
	char want[64];
	log_setup(LOG_INFO, lines[1]);
	// Once more when the second changed in between.
	for (int i = 0; i < 2; i++) {
		time_t now = time(NULL);
		struct tm utc;
		(void)gmtime_r(&now, &utc);
		(void)strftime(want, sizeof(want), "{\"ts\":\"%Y-%m-%dT%H:%M:%S.", &utc);
		log_info("m");
		(void)read_lines(got, sizeof(got));
		if (strncmp(got, want, strlen(want)) == 0)
			return;
	}
	fail_msg("got %.40s, wanted %s", got, want);
}

#define WRITERS 4
#define WRITES 200

static void *write_many(void *arg)
{
	for (int i = 0; i < WRITES; i++)
		log_info("line", LOG_I("i", i), LOG_Z("who", (const char *)arg));
	return NULL;
}

static void test_threads_write_whole_lines(void **state)
{
	(void)state;
	static char who[] = "a thread with a name of some length, so that lines could be torn";
	pthread_t threads[WRITERS];
	log_setup(LOG_INFO, lines[1]);
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, who), 0);
	FILE *in = fdopen(dup(lines[0]), "r");
	assert_non_null(in);
	char line[1024];
	for (int n = 0; n < WRITERS * WRITES; n++) {
		assert_non_null(fgets(line, sizeof(line), in));
		check_stamp(line);
		assert_string_equal(line + strlen(line) - 3, "\"}\n");
	}
	for (size_t i = 0; i < WRITERS; i++)
		(void)pthread_join(threads[i], NULL);
	(void)fclose(in);
}

static int open_lines(void **state)
{
	(void)state;
	return pipe2(lines, O_CLOEXEC);
}

static int close_lines(void **state)
{
	(void)state;
	(void)close(lines[0]);
	(void)close(lines[1]);
	return 0;
}

// cmocka wants a pointer to data that isn't const.
static void *loose(const void *p)
{
	union {
		const void *in;
		void *out;
	} u = {.in = p};
	return u.out;
}

int main(void)
{
	static struct CMUnitTest tests[NELEMS(LINES) + NELEMS(LEVELS) + 9];
	size_t n = 0;
	for (size_t i = 0; i < NELEMS(LINES); i++)
		tests[n++] =
			(struct CMUnitTest){.name = LINES[i].name, .test_func = test_line, .initial_state = loose(&LINES[i])};
	for (size_t i = 0; i < NELEMS(LEVELS); i++)
		tests[n++] = (struct CMUnitTest){
			.name = LEVELS[i].name, .test_func = test_level_parse, .initial_state = loose(&LEVELS[i])};
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_levels_filter);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_dropped_arguments_are_not_evaluated);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_long_field_is_dropped);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_long_message_is_cut_at_a_character);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_lengths_around_the_limit);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_errno_is_kept);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_message_may_be_absent);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_time_is_now_in_utc);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_threads_write_whole_lines);
	return cmocka_run_group_tests_name("log", tests, open_lines, close_lines);
}
