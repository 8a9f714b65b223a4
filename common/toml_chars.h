// Classes of characters that TOML's reader and writer must agree on. PURE
#ifndef COCO_COMMON_TOML_CHARS_H
#define COCO_COMMON_TOML_CHARS_H

#include <stdbool.h>

static inline bool is_control(int c)
{
	return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7F;
}

static inline bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static inline bool is_bare(int c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

#endif
