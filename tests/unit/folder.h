// A folder of a test's own below build/, with files in it.
#ifndef COCO_TESTS_UNIT_FOLDER_H
#define COCO_TESTS_UNIT_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"
#include "common/cleanup.h"
#include "common/mem.h"

static char folder[4096]; // absolute

// For a group's setup and teardown.
static inline int folder_make(void **state)
{
	(void)state;
	char name[] = "build/test_folder.XXXXXX";
	if (mkdtemp(name) == NULL)
		return -1;
	return realpath(name, folder) != NULL ? 0 : -1;
}

// It must be empty by now.
static inline int folder_remove(void **state)
{
	(void)state;
	return rmdir(folder);
}

static inline char *folder_path(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

// Replaces the file as a whole, as whoever renews a certificate should. New: its path.
static inline char *folder_put(const char *name, const char *text)
{
	char *path = folder_path(name);
	CLEANUP_FREE
	char *draft = xasprintf("%s/.draft", folder);
	FILE *f = fopen(draft, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(draft, path), 0);
	return path;
}

static inline void folder_write(const char *name, const char *text)
{
	free(folder_put(name, text));
}

static inline char *folder_put_program(const char *name, const char *text)
{
	char *path = folder_put(name, text);
	assert_int_equal(chmod(path, 0700), 0);
	return path;
}

static inline void folder_take(const char *name)
{
	CLEANUP_FREE
	char *path = folder_path(name);
	assert_int_equal(remove(path), 0);
}

#endif
