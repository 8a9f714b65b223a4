// What there is to say about a Trustee beside that it runs: findings of rendering and reconciling, by condition.
//
// A remark is made where something is found, and read where the status is made of all of them. Texts name the field or
// object, the value and the remedy, and hold no secret.
#ifndef COCO_CONTROLLER_REMARKS_H
#define COCO_CONTROLLER_REMARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"

#define REMARKS_MAX 64 // more are dropped; errors are kept before warnings, warnings before notes

enum remark_level {
	REMARK_NOTE,    // to know
	REMARK_WARNING, // it runs, but not as it should: Degraded
	REMARK_ERROR,   // it can't be made as the spec says: not Ready, and what ran before keeps running
};

// Conditions that a remark can be about; Ready, Progressing and Degraded follow from all of them.
enum remark_about {
	ABOUT_SPEC,
	ABOUT_CERTIFICATE,
	ABOUT_ROUTE,
	ABOUT_RESOURCES,
	ABOUT_RELEASE, // a note: it runs, and why it releases nothing to anybody; the end of a sentence
};

struct remark {
	enum remark_level level;
	enum remark_about about;
	const char *reason; // static, CamelCase: a condition's reason
	char *message;      // new
};

struct remarks {
	struct remark v[REMARKS_MAX]; // in the order in which they were found
	size_t n;
};

void remarks_add(struct remarks *r, enum remark_level level, enum remark_about about, const char *reason,
				 const char *fmt, ...) __attribute__((format(printf, 5, 6), nonnull));
// Appends copies of another's.
void remarks_append(struct remarks *r, const struct remarks *more) __attribute__((nonnull));
// The first of the highest level that is at least `level`, about that or, with -1, about anything; NULL for none.
const struct remark *remarks_worst(const struct remarks *r, enum remark_level level, int about)
	__attribute__((nonnull));
struct certificate_report;
// What is wrong with a certificate.
void remarks_add_certificate(struct remarks *r, const struct certificate_report *report) __attribute__((nonnull));
void remarks_release(struct remarks *r) __attribute__((nonnull));
#define CLEANUP_REMARKS CLEANUP(remarks_release)

#endif
