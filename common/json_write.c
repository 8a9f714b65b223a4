#include "common/json_write.h"

#include "common/json_plain.h"
#include "common/utf8.h"

// Writes the character at p, which isn't plain; returns what follows it.
static const char *write_special(struct buf *out, const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p;
	size_t whole = c < 0x80 ? 1 : utf8_sequence((const unsigned char *)p, (size_t)(end - p));
	if (c == '"' || c == '\\' || c == '\n')
		buf_add(out, (char[]){'\\', c == '\n' ? 'n' : *p}, 2);
	else if (c < 0x20)
		buf_addf(out, "\\u%04x", c);
	else if (whole > 0)
		buf_add(out, p, whole);
	else
		buf_addz(out, "\xEF\xBF\xBD");
	return p + (whole > 0 ? whole : 1);
}

void json_write_string(struct buf *out, struct str s)
{
	const char *end = s.p + s.n;
	buf_addc(out, '"');
	for (const char *p = s.p; p < end;) {
		const char *plain = p;
		p = json_plain_end(p, end);
		buf_add(out, plain, (size_t)(p - plain));
		if (p < end)
			p = write_special(out, p, end);
	}
	buf_addc(out, '"');
}
