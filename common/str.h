// A borrowed slice of text: not NUL-terminated, never freed. A slice whose p is NULL means "absent", which
// differs from empty.
#ifndef COCO_COMMON_STR_H
#define COCO_COMMON_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

// From a string literal or a char array.
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
// For printf's "%.*s": at most 200 bytes, since values in messages come from strangers.
#define STR_ARG(s) (int)((s).n < 200 ? (s).n : 200), ((s).p != NULL ? (s).p : "")

static inline struct str str_from(const char *z)
{
	return (struct str){z, z != NULL ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.p != NULL && b.p != NULL && a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static inline bool str_is(struct str a, const char *z)
{
	return str_eq(a, str_from(z));
}

static inline bool str_has_prefix(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);
	return s.p != NULL && s.n >= n && memcmp(s.p, prefix, n) == 0;
}

#endif
