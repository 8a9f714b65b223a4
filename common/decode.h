// Decodes a JSON object into a plain struct by a table: once, at the edge. PURE
//
// Unknown fields, wrong types and values outside an enum are errors that name the path, the value and what is
// allowed: a misspelled setting must not be a setting that silently isn't there.
#ifndef COCO_COMMON_DECODE_H
#define COCO_COMMON_DECODE_H

#include <jansson.h>
#include <stddef.h>

#include "common/error.h"

enum decode_kind {
	DECODE_STRING,     // const char *
	DECODE_BOOL,       // bool
	DECODE_INT,        // int64_t
	DECODE_QUANTITY,   // int64_t, whole units; must be above zero
	DECODE_ENUM,       // int: the index of the value in names
	DECODE_STRINGS,    // const json_t *, an array whose items are all strings
	DECODE_STRING_MAP, // const json_t *, an object whose values are all strings
	DECODE_OBJECT,     // a nested struct, by fields
	DECODE_LIST,       // an array of such structs in place, by fields
	DECODE_ANY,        // const json_t *
};

struct decode_field {
	const char *name;
	enum decode_kind kind;
	size_t offset;
	const char *const *names;          // DECODE_ENUM: ends in NULL
	const struct decode_field *fields; // DECODE_OBJECT, DECODE_LIST: ends in a name of NULL
	size_t seen_offset;                // of a bool that tells whether the field is there; 0 for none
	size_t item_size, items_max;       // DECODE_LIST
	size_t count_offset;               // DECODE_LIST: of a size_t, the number of items; beside the list, as offset is
};

// Fills what the object has and leaves the rest of `into` as it was, so set defaults first; JSON null reads as
// absent. What is stored is borrowed from `object`. path: for messages, such as "spec".
int decode_object(const json_t *object, const struct decode_field *fields, const char *path, void *into,
				  struct error *err) __attribute__((warn_unused_result, nonnull(2, 3, 4, 5)));

// The text of a quantity, which JSON may hold as a string or as a number; NULL for anything else. Valid as long as v and
// room.
#define DECODE_NUMBER_MAX 64
const char *decode_quantity_text(const json_t *v, char room[DECODE_NUMBER_MAX]) __attribute__((nonnull(2)));

#endif
