// Log lines on stderr: one JSON object a line, {"ts":...,"level":...,"msg":...,key:value...}.
//
// Only a program's shell logs; functions that can fail return errors instead. No secret, no whole pod, no body.
// Thread-safe: a line is one write(2), or gathered with others into one.
#ifndef COCO_COMMON_LOG_H
#define COCO_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_kind { LOG_KIND_STR, LOG_KIND_INT, LOG_KIND_BOOL };

struct log_field {
	struct str key; // a literal of ours, written as it is
	enum log_kind kind;
	struct str s;
	int64_t i;
};

#define LOG_S(k, v) ((struct log_field){.key = str_from(k), .kind = LOG_KIND_STR, .s = (v)})
#define LOG_Z(k, v) LOG_S((k), str_from(v)) // NULL leaves the field out
#define LOG_I(k, v) ((struct log_field){.key = str_from(k), .kind = LOG_KIND_INT, .i = (int64_t)(v)})
#define LOG_B(k, v) ((struct log_field){.key = str_from(k), .kind = LOG_KIND_BOOL, .i = (v) ? 1 : 0})

#define LOG_LINE_MAX 8192 // a longer line loses its last fields and says "truncated":true

// Lines below the level are dropped. Default LOG_INFO. fd: where lines go, default 2.
void log_setup(enum log_level level, int fd);
bool log_enabled(enum log_level level);
// "debug", "info", "warn", "error"; false for anything else.
bool log_level_parse(const char *text, enum log_level *ret) __attribute__((nonnull));
// While on, debug and info lines wait for the next warning or error, for 32 KiB of them, or for log_flush(): a write(2) for
// each costs a busy server more than the line itself. Off by default. Whoever turns it on flushes a few times a second,
// and turns it off before the program ends.
void log_gather(bool on);
void log_flush(void);
void log_line(enum log_level level, const char *msg, const struct log_field *fields, size_t n);

#define LOG_CALL(level, msg, ...)                                                                        \
	do {                                                                                                 \
		if (log_enabled(level)) {                                                                        \
			const struct log_field log_fields_[] = {LOG_Z("", NULL), ##__VA_ARGS__};                     \
			log_line((level), (msg), log_fields_ + 1, sizeof(log_fields_) / sizeof(log_fields_[0]) - 1); \
		}                                                                                                \
	} while (0)
#define log_debug(msg, ...) LOG_CALL(LOG_DEBUG, msg, ##__VA_ARGS__)
#define log_info(msg, ...) LOG_CALL(LOG_INFO, msg, ##__VA_ARGS__)
#define log_warn(msg, ...) LOG_CALL(LOG_WARN, msg, ##__VA_ARGS__)
#define log_error(msg, ...) LOG_CALL(LOG_ERROR, msg, ##__VA_ARGS__)

#endif
