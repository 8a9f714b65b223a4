// Files that are read whole, and noticed when they change.
#ifndef COCO_COMMON_FILES_H
#define COCO_COMMON_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/error.h"

#define FILE_STEP_BYTES ((size_t)64 * 1024) // read at once; a buffer with this much room beyond the file won't grow

// Appends a file's content, at most what out allows. "-" is standard input.
int file_read(const char *path, struct buf *out, struct error *err) __attribute__((warn_unused_result, nonnull));

// The same for a file that a server reads while it runs: only a regular one, since a pipe would make it wait for ever.
int file_read_regular(const char *path, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Tells one state of a file from another, through symbolic links: a Secret's or ConfigMap's volume swaps one.
// All zero: the file isn't there.
struct file_mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	int64_t mtime_ns, ctime_ns;
};

struct file_mark file_mark(const char *path) __attribute__((nonnull));
bool file_mark_equal(const struct file_mark *a, const struct file_mark *b) __attribute__((nonnull));

#endif
