// JSON that a program makes of its own texts: it fails for want of memory, and for what isn't UTF-8, which our texts and
// decoded JSON always are. Nothing is better then than to end, as in mem.h.
#ifndef COCO_COMMON_JSON_MADE_H
#define COCO_COMMON_JSON_MADE_H

#include <jansson.h>
#include <stdlib.h>

static inline json_t *json_made(json_t *v)
{
	if (v == NULL)
		abort();
	return v;
}

// Takes value.
static inline void json_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, json_made(value)) < 0)
		abort();
}

#endif
