// Escapes in JSON strings, as json_read meets them. PURE
#ifndef COCO_COMMON_JSON_ESCAPE_H
#define COCO_COMMON_JSON_ESCAPE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/str.h"

// The escape at p, a backslash with a byte behind it. Returns what follows it. *bad says what is wrong with it, unless it
// says something already; *rewrite is set where json_write_string() writes the character in another way.
const char *json_check_escape(const char *p, const char *end, const char **bad, bool *rewrite)
	__attribute__((nonnull, warn_unused_result));
// What a text between quotes means; its escapes were checked before. Borrowed from it where it has none, else from the
// arena.
struct str json_unescape(struct arena *arena, struct str raw) __attribute__((nonnull(1)));

#endif
