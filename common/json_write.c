#include "common/json_write.h"

#include <stdint.h>

#include "common/utf8.h"

void json_write_string(struct buf *out, struct str s)
{
	buf_addc(out, '"');
	size_t plain = 0; // where the run of bytes begins that need no escape
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t whole = c < 0x80 ? 1 : utf8_sequence((const unsigned char *)s.p + i, s.n - i);
		if (whole > 0 && c >= 0x20 && c != '"' && c != '\\') {
			i += whole;
			continue;
		}
		buf_add(out, s.p + plain, i - plain);
		if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c == '\n')
			buf_addz(out, "\\n");
		else if (c < 0x20)
			buf_addf(out, "\\u%04x", c);
		else
			buf_addz(out, "\xEF\xBF\xBD");
		plain = ++i;
	}
	buf_add(out, s.p + plain, s.n - plain);
	buf_addc(out, '"');
}
