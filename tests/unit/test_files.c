#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"
#include "common/files.h"
#include "common/mem.h"

static char folder[] = "build/test_files.XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "build/test_files.XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void put(const char *name, const char *text, size_t n)
{
	CLEANUP_FREE
	char *path = in_folder(name);
	CLEANUP_FCLOSE
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
}

static void take_away(const char *name)
{
	CLEANUP_FREE
	char *path = in_folder(name);
	assert_int_equal(remove(path), 0);
}

struct read_case {
	const char *name;
	size_t bytes;
	size_t max;
	bool fits;
};

static struct read_case read_cases[] = {
	{"read: empty", 0, 100, true},
	{"read: empty, and nothing allowed", 0, 0, true},
	{"read: one byte, and nothing allowed", 1, 0, false},
	{"read: small", 3, 100, true},
	{"read: full", 100, 100, true},
	{"read: one too many", 101, 100, false},
	{"read: one step", 65536, 1000000, true},
	{"read: one step, full", 65536, 65536, true},
	{"read: two steps and a byte", 131073, 1000000, true},
	{"read: two steps and a byte too many", 131073, 131072, false},
};

static void test_read(void **state)
{
	const struct read_case *c = *state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(c->max);
	struct error err = {0};
	CLEANUP_FREE
	char *text = xcalloc(c->bytes, 1);
	CLEANUP_FREE
	char *path = in_folder("f");
	for (size_t i = 0; i < c->bytes; i++)
		text[i] = (char)(i % 251);
	put("f", text, c->bytes);
	int rc = file_read(path, &out, &err);
	take_away("f");
	assert_int_equal(rc, c->fits ? 0 : -EFBIG);
	CLEANUP_FREE
	char *want =
		c->fits ? xstrdup("") : xasprintf("%s is larger than the %zu bytes that are read of such a file", path, c->max);
	assert_string_equal(err.msg, want);
	if (!c->fits)
		return;
	assert_int_equal(out.n, c->bytes);
	assert_memory_equal(buf_z(&out), text, c->bytes);
	assert_int_equal(buf_z(&out)[c->bytes], '\0');
}

static void test_appends(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(5);
	struct error err = {0};
	CLEANUP_FREE
	char *path = in_folder("f");
	put("f", "bcd", 3);
	buf_addz(&out, "a");
	assert_int_equal(file_read(path, &out, &err), 0);
	assert_string_equal(buf_z(&out), "abcd");
	assert_int_equal(file_read(path, &out, &err), -EFBIG);
	take_away("f");
}

static void test_errors(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(5);
	struct error err = {0};
	assert_int_equal(file_read("build/no such file", &out, &err), -ENOENT);
	assert_string_equal(err.msg, "can't open build/no such file: No such file or directory");
	assert_int_equal(file_read("build", &out, &err), -EISDIR);
	assert_string_equal(err.msg, "can't read build: Is a directory");
	assert_string_equal(buf_z(&out), "");
}

static void test_standard_input(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf out = BUF_INIT(5);
	struct error err = {0};
	CLEANUP_FREE
	char *path = in_folder("f");
	put("f", "abcdef", 6);
	int saved = dup(STDIN_FILENO);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(saved >= 0 && fd >= 0);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	int rc = file_read("-", &out, &err);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(saved), 0);
	take_away("f");
	assert_int_equal(rc, -EFBIG);
	assert_string_equal(err.msg, "standard input is larger than the 5 bytes that are read of such a file");
}

static void test_mark(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *f = in_folder("f");
	CLEANUP_FREE
	char *link = in_folder("link");
	const struct file_mark none = {0};
	struct file_mark gone = file_mark(f);
	assert_true(file_mark_equal(&gone, &none));
	put("f", "a", 1);
	put("g", "a", 1);
	assert_int_equal(symlink("f", link), 0);
	struct file_mark one = file_mark(f);
	struct file_mark through = file_mark(link);
	assert_false(file_mark_equal(&one, &none));
	assert_true(file_mark_equal(&one, &through));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("g", link), 0);
	through = file_mark(link);
	assert_false(file_mark_equal(&one, &through));
	put("f", "ab", 2);
	struct file_mark longer = file_mark(f);
	assert_false(file_mark_equal(&one, &longer));
	take_away("f");
	take_away("g");
	take_away("link");
}

// Each part of a mark counts.
static void test_mark_parts(void **state)
{
	(void)state;
	const struct file_mark a = {1, 2, 3, 4, 5};
	struct file_mark b = a;
	assert_true(file_mark_equal(&a, &b));
	b.dev++;
	assert_false(file_mark_equal(&a, &b));
	b = a;
	b.ino++;
	assert_false(file_mark_equal(&a, &b));
	b = a;
	b.size++;
	assert_false(file_mark_equal(&a, &b));
	b = a;
	b.mtime_ns++;
	assert_false(file_mark_equal(&a, &b));
	b = a;
	b.ctime_ns++;
	assert_false(file_mark_equal(&a, &b));
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, read_cases, test_read);
	tests_add(&t, "read: appends", test_appends, NULL);
	tests_add(&t, "read: errors", test_errors, NULL);
	tests_add(&t, "read: standard input", test_standard_input, NULL);
	tests_add(&t, "mark: a file's states", test_mark, NULL);
	tests_add(&t, "mark: parts", test_mark_parts, NULL);
	return _cmocka_run_group_tests("files", t.v, t.n, make_folder, remove_folder);
}
