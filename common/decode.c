#include "common/decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/quantity.h"

#define PATH_MAX_BYTES 256
#define LIST_MAX_BYTES 896

// For messages; one that is too long is cut.
__attribute__((format(printf, 2, 3))) static void write_path(char room[PATH_MAX_BYTES], const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(room, PATH_MAX_BYTES, fmt, args);
	va_end(args);
}

static const char *type_name(const json_t *v)
{
	static const char *const names[] = {"an object", "an array",  "a string",  "an integer",
										"a number",  "a boolean", "a boolean", "null"};
	return v != NULL ? names[json_typeof(v)] : "nothing";
}

static int wrong_type(const char *path, const json_t *v, const char *wanted, struct error *err)
{
	bool scalar = json_is_number(v) || json_is_boolean(v);
	const char *hint = scalar && strcmp(wanted, "a string") == 0 ? " (put it in quotes)" : "";
	return error_set(err, EINVAL, "%s must be %s, not %s%s", path, wanted, type_name(v), hint);
}

static int decode_enum(const struct decode_field *f, const json_t *v, const char *path, int *ret, struct error *err)
{
	// YAML 1.1, which kubectl reads, takes an unquoted Off for false, but "no" too: taken for Off only where that is the
	// default anyway.
	bool off = json_is_false(v) && strcmp(f->names[*ret], "Off") == 0;
	const char *text = off ? "Off" : json_string_value(v);
	if (text == NULL)
		return wrong_type(path, v, "a string", err);
	CLEANUP_BUF
	struct buf all = BUF_INIT(LIST_MAX_BYTES);
	for (int i = 0; f->names[i] != NULL; i++) {
		if (strcmp(f->names[i], text) == 0) {
			*ret = i;
			return 0;
		}
		buf_addf(&all, "%s%s", i > 0 ? ", " : "", f->names[i]);
	}
	return error_set(err, EINVAL, "%s is \"%s\"; it must be one of %s", path, text, buf_z(&all));
}

const char *decode_quantity_text(const json_t *v, char room[DECODE_NUMBER_MAX])
{
	if (json_is_integer(v))
		(void)snprintf(room, DECODE_NUMBER_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		(void)snprintf(room, DECODE_NUMBER_MAX, "%.17g", json_real_value(v));
	return json_is_number(v) ? room : json_string_value(v);
}

static int decode_quantity(const json_t *v, const char *path, int64_t *ret, struct error *err)
{
	char number[DECODE_NUMBER_MAX];
	const char *text = decode_quantity_text(v, number);
	if (text == NULL)
		return wrong_type(path, v, "a quantity such as 8Gi", err);
	int rc = quantity_parse(str_from(text), ret, err);
	if (rc < 0)
		return error_prefix(err, "%s", path);
	if (*ret <= 0)
		return error_set(err, EINVAL, "%s is \"%s\"; it must be above zero", path, text);
	return 0;
}

static int check_strings(const json_t *v, const char *path, struct error *err)
{
	if (!json_is_array(v))
		return wrong_type(path, v, "a list of strings", err);
	for (size_t i = 0; i < json_array_size(v); i++)
		if (!json_is_string(json_array_get(v, i)))
			return error_set(err, EINVAL, "%s[%zu] must be a string, not %s", path, i, type_name(json_array_get(v, i)));
	return 0;
}

static int check_string_map(const json_t *v, const char *path, struct error *err)
{
	if (!json_is_object(v))
		return wrong_type(path, v, "an object", err);
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)v, key, value) {
		char sub[PATH_MAX_BYTES];
		write_path(sub, "%s.%s", path, key);
		if (!json_is_string(value))
			return wrong_type(sub, value, "a string", err);
	}
	return 0;
}

static int decode_list(const struct decode_field *f, const json_t *v, const char *path, char *items, size_t *count,
					   struct error *err)
{
	size_t n = json_array_size(v);
	if (!json_is_array(v))
		return wrong_type(path, v, "a list of objects", err);
	if (n > f->items_max)
		return error_set(err, EINVAL, "%s has %zu items; it may have %zu", path, n, f->items_max);
	for (size_t i = 0; i < n; i++) {
		char sub[PATH_MAX_BYTES];
		write_path(sub, "%s[%zu]", path, i);
		int rc = decode_object(json_array_get(v, i), f->fields, sub, items + i * f->item_size, err);
		if (rc < 0)
			return rc;
	}
	*count = n;
	return 0;
}

static int decode_value(const struct decode_field *f, const json_t *v, const char *path, char *into, struct error *err)
{
	char *slot = into + f->offset;
	switch (f->kind) {
	case DECODE_STRING:
		if (!json_is_string(v))
			return wrong_type(path, v, "a string", err);
		*(const char **)(void *)slot = json_string_value(v);
		return 0;
	case DECODE_BOOL:
		if (!json_is_boolean(v))
			return wrong_type(path, v, "true or false", err);
		*(bool *)(void *)slot = json_is_true(v);
		return 0;
	case DECODE_INT:
		if (!json_is_integer(v))
			return wrong_type(path, v, "an integer", err);
		*(int64_t *)(void *)slot = json_integer_value(v);
		return 0;
	case DECODE_QUANTITY:
		return decode_quantity(v, path, (int64_t *)(void *)slot, err);
	case DECODE_ENUM:
		return decode_enum(f, v, path, (int *)(void *)slot, err);
	case DECODE_STRINGS:
		*(const json_t **)(void *)slot = v;
		return check_strings(v, path, err);
	case DECODE_STRING_MAP:
		*(const json_t **)(void *)slot = v;
		return check_string_map(v, path, err);
	case DECODE_LIST:
		return decode_list(f, v, path, slot, (size_t *)(void *)(into + f->count_offset), err);
	case DECODE_OBJECT:
		return decode_object(v, f->fields, path, slot, err);
	case DECODE_ANY:
		*(const json_t **)(void *)slot = v;
		return 0;
	}
	return 0;
}

static const struct decode_field *find_field(const struct decode_field *fields, const char *name)
{
	for (const struct decode_field *f = fields; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static int unknown_field(const struct decode_field *fields, const char *path, const char *name, struct error *err)
{
	CLEANUP_BUF
	struct buf all = BUF_INIT(LIST_MAX_BYTES);
	for (const struct decode_field *f = fields; f->name != NULL; f++)
		buf_addf(&all, "%s%s", f == fields ? "" : ", ", f->name);
	return error_set(err, EINVAL, "%s.%s is not a known field; %s has %s", path, name, path, buf_z(&all));
}

int decode_object(const json_t *object, const struct decode_field *fields, const char *path, void *into,
				  struct error *err)
{
	if (!json_is_object(object))
		return wrong_type(path, object, "an object", err);
	const char *key;
	json_t *v;
	// jansson's iterator takes no const tree, though it changes nothing.
	json_object_foreach ((json_t *)(uintptr_t)object, key, v) {
		const struct decode_field *f = find_field(fields, key);
		if (f == NULL)
			return unknown_field(fields, path, key, err);
		if (json_is_null(v))
			continue;
		char sub[PATH_MAX_BYTES];
		write_path(sub, "%s.%s", path, key);
		int rc = decode_value(f, v, sub, (char *)into, err);
		if (rc < 0)
			return rc;
		if (f->seen_offset != 0)
			*(bool *)(void *)((char *)into + f->seen_offset) = true;
	}
	return 0;
}
