// Texts in decoded JSON, for readers to whom one that is missing, or no text, is an empty one.
#ifndef COCO_COMMON_JSON_TEXT_H
#define COCO_COMMON_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

// Borrowed, never NULL. object: NULL is fine.
static inline const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static inline bool json_text_is(const json_t *object, const char *key, const char *text)
{
	return strcmp(json_text(object, key), text) == 0;
}

#endif
