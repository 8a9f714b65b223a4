#include "common/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

static int read_all(int fd, const char *path, struct buf *out, struct error *err)
{
	for (;;) {
		size_t room = out->max - out->n;
		char *to = room > 0 ? buf_reserve(out, room < FILE_STEP_BYTES ? room : FILE_STEP_BYTES) : NULL;
		char beyond;
		ssize_t n = to != NULL ? read(fd, to, room < FILE_STEP_BYTES ? room : FILE_STEP_BYTES) : read(fd, &beyond, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "can't read %s: %s", path, strerror(errno));
		if (n > 0 && to == NULL)
			return error_set(err, EFBIG, "%s is larger than the %zu bytes that are read of such a file", path,
							 out->max);
		if (n == 0)
			return 0;
		buf_commit(out, (size_t)n);
	}
}

int file_read(const char *path, struct buf *out, struct error *err)
{
	if (strcmp(path, "-") == 0)
		return read_all(STDIN_FILENO, "standard input", out, err);
	CLEANUP_CLOSE
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "can't open %s: %s", path, strerror(errno));
	return read_all(fd, path, out, err);
}

int file_read_regular(const char *path, struct buf *out, struct error *err)
{
	struct stat st;
	// Without O_NONBLOCK, opening a pipe waits for its writer.
	CLEANUP_CLOSE
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, errno, "can't open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is not a regular file; put a file there", path);
	return read_all(fd, path, out, err);
}

static int64_t nanoseconds(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct file_mark file_mark(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return (struct file_mark){0};
	return (struct file_mark){st.st_dev, st.st_ino, st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim)};
}

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
		   a->ctime_ns == b->ctime_ns;
}
