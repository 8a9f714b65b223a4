#include "common/json_escape.h"

#include <stdint.h>
#include <string.h>

static int hex4(const char *s)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
				: c >= 'a' && c <= 'f' ? c - 'a' + 10
				: c >= 'A' && c <= 'F' ? c - 'A' + 10
									   : -1;
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

static size_t utf8_put(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3F));
	to[0] = (char)(lead[n] | c);
	return n;
}

// The code point of a \u escape whose four digits start at *p; moves *p behind it. -1: not a scalar value.
static int64_t unicode_escape(const char **p, const char *end)
{
	int hi = end - *p >= 4 ? hex4(*p) : -1;
	if (hi < 0 || (hi >= 0xDC00 && hi <= 0xDFFF))
		return -1;
	*p += 4;
	if (hi < 0xD800 || hi > 0xDBFF)
		return hi;
	int lo = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2) : -1;
	if (lo < 0xDC00 || lo > 0xDFFF)
		return -1;
	*p += 6;
	return 0x10000 + ((int64_t)(hi - 0xD800) << 10) + (lo - 0xDC00);
}

struct str json_unescape(struct arena *arena, struct str raw)
{
	static const char means[256] = {
		['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
	const char *end = raw.p + raw.n;
	// What is escaped never grows.
	const char *slash = raw.n > 0 ? memchr(raw.p, '\\', raw.n) : NULL;
	if (slash == NULL)
		return raw;
	char *to = arena_text(arena, raw.n + 1);
	size_t n = 0;
	for (const char *p = raw.p; p < end;) {
		size_t plain = (size_t)((slash != NULL ? slash : end) - p);
		memcpy(to + n, p, plain);
		n += plain;
		if (slash == NULL)
			break;
		p = slash + 2;
		if (slash[1] == 'u')
			n += utf8_put(to + n, (uint32_t)unicode_escape(&p, end));
		else
			to[n++] = means[(unsigned char)slash[1]];
		slash = p < end ? memchr(p, '\\', (size_t)(end - p)) : NULL;
	}
	return (struct str){to, n};
}

const char *json_check_escape(const char *p, const char *end, const char **bad, bool *rewrite)
{
	// 1: the only way to write its character.
	static const unsigned char good[256] = {
		['"'] = 1, ['\\'] = 1, ['n'] = 1, ['/'] = 2, ['b'] = 2, ['f'] = 2, ['r'] = 2, ['t'] = 2};
	unsigned char name = (unsigned char)p[1];
	*rewrite |= good[name] != 1;
	p += 2;
	if (good[name] == 0 && name != 'u') {
		*bad = *bad != NULL ? *bad : "unknown escape in a string";
		// It may be any byte that a string may hold.
		return name < 0x80 ? p : p - 1;
	}
	if (name == 'u' && unicode_escape(&p, end) < 0)
		*bad = *bad != NULL ? *bad : "a \\u escape is not a Unicode character";
	return p;
}
