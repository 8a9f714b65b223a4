// The reason why a call failed, in a struct on the caller's stack: nothing to allocate, nothing to free.
//
// A function that can fail returns 0 or a negative errno and takes `struct error *err` last; err is written
// on failure only. Callers add context on the way up with error_prefix(); a message is logged once, by the
// program's shell. Every message names the field or file, the value, and the remedy. No secret goes in.
#ifndef COCO_COMMON_ERROR_H
#define COCO_COMMON_ERROR_H

#define ERROR_MSG_MAX 1024

struct error {
	int code; // a positive errno value
	char msg[ERROR_MSG_MAX];
};

// Sets the message and returns -code, so that a failing function ends in `return error_set(err, EINVAL, ...)`.
// Control characters and what isn't UTF-8 become '?', and a message that is too long is cut at a UTF-8 boundary and ends in "...".
int error_set(struct error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4), nonnull(1, 3)));

// Puts context and ": " before the message. Returns -err->code.
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(1, 2)));

// Makes untrusted text printable UTF-8 in place: control characters and stray bytes become '?', a sequence cut at the
// end goes.
void text_sanitize(char *text) __attribute__((nonnull));

#endif
