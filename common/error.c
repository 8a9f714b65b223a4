#include "common/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// Length without a UTF-8 sequence that was cut at the end.
static size_t whole_utf8(const char *s, size_t n)
{
	size_t back = 0;
	while (back < n && back < 3 && ((unsigned char)s[n - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back == n)
		return n;
	unsigned char lead = (unsigned char)s[n - 1 - back];
	size_t want = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
	return want > back ? n - 1 - back : n;
}

void text_sanitize(char *text)
{
	for (char *c = text; *c != '\0'; c++) {
		unsigned char u = (unsigned char)*c;
		if (u < 0x20 || u == 0x7F)
			*c = '?';
		// U+0080 to U+009F, which terminals obey too.
		if (u == 0xC2 && (unsigned char)c[1] >= 0x80 && (unsigned char)c[1] <= 0x9F)
			c[0] = c[1] = '?';
	}
	text[whole_utf8(text, strlen(text))] = '\0';
}

static void finish(struct error *err, int would_be)
{
	text_sanitize(err->msg);
	if (would_be >= ERROR_MSG_MAX) {
		size_t n = whole_utf8(err->msg, ERROR_MSG_MAX - 4);
		memcpy(err->msg + n, "...", 4);
	}
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	err->code = code;
	finish(err, n);
	return -code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char old[ERROR_MSG_MAX];
	memcpy(old, err->msg, sizeof(old));
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && n < ERROR_MSG_MAX)
		n += snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", old);
	finish(err, n);
	return -err->code;
}
