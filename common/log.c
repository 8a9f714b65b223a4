#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"

// Ends a line that lost fields; room for it is always kept.
#define LOG_TAIL_CUT ",\"truncated\":true}\n"
#define LOG_TAIL "}\n"

// The most bytes that one byte of text becomes: \u001f.
#define LOG_ESCAPED_MAX 6

static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_fd = STDERR_FILENO;

static const char *const LEVEL_NAMES[] = {"debug", "info", "warn", "error"};
#define NLEVELS (sizeof(LEVEL_NAMES) / sizeof(LEVEL_NAMES[0]))

// A line in the making. What doesn't fit is left out as a whole: full says that it happened.
struct line {
	char text[LOG_LINE_MAX];
	size_t n;
	bool full;
};

#define LOG_ROOM (LOG_LINE_MAX - (sizeof(LOG_TAIL_CUT) - 1))

void log_setup(enum log_level level, int fd)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
	atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < NLEVELS; i++) {
		if (strcmp(text, LEVEL_NAMES[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static inline bool line_add(struct line *l, const char *p, size_t n)
{
	if (n > LOG_ROOM - l->n) {
		l->full = true;
		return false;
	}
	memcpy(l->text + l->n, p, n);
	l->n += n;
	return true;
}

static inline bool line_addz(struct line *l, const char *z)
{
	return line_add(l, z, strlen(z));
}

// Bytes of the UTF-8 sequence at p; 0 where it is none: overlong, a surrogate, past U+10FFFF or cut short.
static size_t utf8_length(const unsigned char *p, size_t n)
{
	unsigned char first = p[0];
	size_t want = first >= 0xC2 && first < 0xE0   ? 2
				  : first >= 0xE0 && first < 0xF0 ? 3
				  : first >= 0xF0 && first < 0xF5 ? 4
												  : 0;
	if (want == 0 || n < want)
		return 0;
	unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
	unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < want; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	}
	return want;
}

// Writes one character of text as JSON; returns how many bytes of the text it took.
static size_t escape_one(const unsigned char *p, size_t n, char out[LOG_ESCAPED_MAX + 1], size_t *ret_n)
{
	static const char SHORT[] = "\b\t\n\f\r\"\\";
	static const char LETTER[] = "btnfr\"\\";
	const char *named = p[0] != '\0' ? strchr(SHORT, p[0]) : NULL;
	if (named != NULL) {
		out[0] = '\\';
		out[1] = LETTER[named - SHORT];
		*ret_n = 2;
		return 1;
	}
	if (p[0] < 0x20 || p[0] == 0x7F) {
		*ret_n = (size_t)snprintf(out, LOG_ESCAPED_MAX + 1, "\\u%04x", (unsigned)p[0]);
		return 1;
	}
	size_t took = p[0] < 0x80 ? 1 : utf8_length(p, n);
	if (took == 0) {
		memcpy(out, "\xEF\xBF\xBD", 3); // U+FFFD
		*ret_n = 3;
		return 1;
	}
	memcpy(out, p, took);
	*ret_n = took;
	return took;
}

// How many bytes of text from p on stand for themselves.
static size_t plain_run(const unsigned char *p, size_t n)
{
	static const unsigned char special[256] = {[0 ... 0x1F] = 1, ['"'] = 1, ['\\'] = 1, [0x7F ... 0xFF] = 1};
	size_t i = 0;
	while (i < n && special[p[i]] == 0)
		i++;
	return i;
}

// A JSON string, quotes included. Cut at a whole character when the line is full, and still closed, where cut is
// allowed; nothing usable otherwise.
static bool line_add_string(struct line *l, struct str s, bool may_cut)
{
	if (!line_addz(l, "\""))
		return false;
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0; i < s.n;) {
		size_t room = LOG_ROOM - l->n;
		room -= room > 0 ? 1 : 0; // for the quote
		size_t run = plain_run(p + i, s.n - i < room ? s.n - i : room);
		(void)line_add(l, (const char *)p + i, run);
		i += run;
		if (i == s.n)
			break;
		char out[LOG_ESCAPED_MAX + 1];
		size_t n = 0;
		i += escape_one(p + i, s.n - i, out, &n);
		if (n + 1 > LOG_ROOM - l->n) {
			l->full = true;
			return may_cut && line_addz(l, "\"");
		}
		(void)line_add(l, out, n);
	}
	return line_addz(l, "\"");
}

static bool line_add_value(struct line *l, const struct log_field *f)
{
	char number[INT_TEXT_MAX];
	struct str digits;
	switch (f->kind) {
	case LOG_KIND_STR:
		return line_add_string(l, f->s, false);
	case LOG_KIND_INT:
		digits = int_text(f->i, number);
		return line_add(l, digits.p, digits.n);
	case LOG_KIND_BOOL:
		return line_addz(l, f->i != 0 ? "true" : "false");
	}
	return false;
}

static void line_add_field(struct line *l, const struct log_field *f)
{
	if (f->kind == LOG_KIND_STR && f->s.p == NULL)
		return;
	size_t before = l->n;
	// Keys are literals of ours, without anything to escape.
	bool ok = line_addz(l, ",\"") && line_add(l, f->key.p, f->key.n) && line_addz(l, "\":") && line_add_value(l, f);
	if (!ok)
		l->n = before;
}

// Whole seconds are written out once each: a busy server has many lines in one.
static void line_add_time(struct line *l)
{
	static _Thread_local time_t second = -1;
	static _Thread_local char text[32];
	struct timespec now = {0};
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != second) {
		struct tm utc = {0};
		(void)gmtime_r(&now.tv_sec, &utc);
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
		second = now.tv_sec;
	}
	long ms = now.tv_nsec / 1000000;
	char rest[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
	(void)line_addz(l, text);
	(void)line_add(l, rest, sizeof(rest));
}

static void line_add_head(struct line *l, enum log_level level, const char *msg)
{
	(void)line_addz(l, "{\"ts\":\"");
	line_add_time(l);
	(void)line_addz(l, "\",\"level\":\"");
	(void)line_addz(l, LEVEL_NAMES[(size_t)level < NLEVELS ? (size_t)level : NLEVELS - 1]);
	(void)line_addz(l, "\",\"msg\":");
	(void)line_add_string(l, str_from(msg), true);
}

// Lines that wait to be written: none, unless they are gathered.
#define PENDING_MAX ((size_t)32 * 1024)
static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static char pending[PENDING_MAX];
static size_t pending_n;
static bool gathering;

// With the lock held.
static void write_pending(void)
{
	ssize_t wrote;
	if (pending_n == 0)
		return;
	do {
		wrote = write(atomic_load_explicit(&log_fd, memory_order_relaxed), pending, pending_n);
	} while (wrote < 0 && errno == EINTR);
	// A reader that is gone or a full pipe loses lines: a server doesn't stop, or wait, for its log.
	pending_n = 0;
}

void log_line(enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
	if (!log_enabled(level))
		return;
	// Callers log an errno's text right after the call that failed, and may still look at errno afterwards.
	int keep = errno;
	// Neither an initializer nor the compiler clears 8 KiB a line.
	struct line l __attribute__((uninitialized));
	l.n = 0;
	l.full = false;
	line_add_head(&l, level, msg != NULL ? msg : "");
	for (size_t i = 0; i < n && !l.full; i++)
		line_add_field(&l, &fields[i]);
	const struct str tail = l.full ? STR(LOG_TAIL_CUT) : STR(LOG_TAIL);
	memcpy(l.text + l.n, tail.p, tail.n);
	l.n += tail.n;
	(void)pthread_mutex_lock(&pending_lock);
	if (pending_n + l.n > sizeof(pending))
		write_pending();
	memcpy(pending + pending_n, l.text, l.n);
	pending_n += l.n;
	if (!gathering || level >= LOG_WARN)
		write_pending();
	(void)pthread_mutex_unlock(&pending_lock);
	errno = keep;
}

void log_gather(bool on)
{
	(void)pthread_mutex_lock(&pending_lock);
	gathering = on;
	write_pending();
	(void)pthread_mutex_unlock(&pending_lock);
}

void log_flush(void)
{
	(void)pthread_mutex_lock(&pending_lock);
	write_pending();
	(void)pthread_mutex_unlock(&pending_lock);
}
