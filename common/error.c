#include "common/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

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
	size_t n = whole_utf8(text, strlen(text));
	text[n] = '\0';
	for (size_t i = 0; i < n;) {
		unsigned char *c = (unsigned char *)text + i;
		size_t whole = *c < 0x80 ? 1 : utf8_sequence(c, n - i);
		// A character that was cut in the middle of the text, and U+0080 to U+009F, which terminals obey too.
		bool control = *c < 0x20 || *c == 0x7F || whole == 0 || (*c == 0xC2 && c[1] <= 0x9F);
		i += whole > 0 ? whole : 1;
		if (control)
			memset(c, '?', whole > 0 ? whole : 1);
	}
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
