// What is found wrong in something that people wrote: all of it, not only the first.
#ifndef COCO_COMMON_FINDINGS_H
#define COCO_COMMON_FINDINGS_H

#include <stddef.h>

#include "common/cleanup.h"

enum finding_level { FINDING_ERROR, FINDING_WARNING };

struct finding {
	enum finding_level level;
	char *where; // such as data."cdh.toml".image
	char *what;  // with the remedy
};

struct findings {
	struct finding *v;
	size_t n;
};

// The text is made printable.
void findings_add(struct findings *f, enum finding_level level, const char *where, const char *fmt, ...)
	__attribute__((nonnull(1, 3, 4), format(printf, 4, 5)));
void findings_release(struct findings *f) __attribute__((nonnull));
#define CLEANUP_FINDINGS CLEANUP(findings_release)

#endif
