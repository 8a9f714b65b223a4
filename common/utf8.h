// UTF-8 as RFC 3629 defines it. PURE
#ifndef COCO_COMMON_UTF8_H
#define COCO_COMMON_UTF8_H

#include <stddef.h>

// The length of the well-formed sequence of two to four bytes at s (no overlong form, no surrogate, nothing above
// U+10FFFF), 0 where there is none in the bytes left.
static inline size_t utf8_sequence(const unsigned char *s, size_t left)
{
	unsigned char a = s[0];
	size_t n = a >= 0xC2 && a <= 0xDF ? 2 : a >= 0xE0 && a <= 0xEF ? 3 : a >= 0xF0 && a <= 0xF4 ? 4 : 0;
	if (n == 0 || left < n)
		return 0;
	unsigned char low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80;
	unsigned char high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return n;
}

#endif
