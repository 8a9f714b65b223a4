#include "common/toml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/real.h"
#include "common/toml_chars.h"

// Where the writer is, for headers and messages.
struct path {
	const struct path *up; // NULL: the document itself
	struct str name;
	size_t depth;
};

struct writer {
	struct buf *out;
	size_t start; // of the document in out
	struct error *err;
};

static int write_value(struct writer *w, const struct path *path, const json_t *v, size_t depth);
static int write_table(struct writer *w, const struct path *path, const json_t *table);

static bool is_bare_key(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_bare((unsigned char)s.p[i]))
			return false;
	return s.n > 0;
}

// A character that can't stand for itself in any basic string; false: it can.
static bool write_escape(struct buf *out, unsigned char c)
{
	static const char meant[] = "\b\f\r\\";
	static const char names[] = "bfr\\";
	const char *m = c != '\0' ? strchr(meant, c) : NULL;
	if (m != NULL)
		buf_addf(out, "\\%c", names[m - meant]);
	else if (is_control(c) && c != '\n')
		buf_addf(out, "\\u%04X", c);
	else
		return false;
	return true;
}

static void write_basic(struct buf *out, struct str s)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (write_escape(out, (unsigned char)c))
			continue;
		if (c == '"')
			buf_addz(out, "\\\"");
		else if (c == '\n')
			buf_addz(out, "\\n");
		else if (c == '\t')
			buf_addz(out, "\\t");
		else
			buf_addc(out, c);
	}
	buf_addc(out, '"');
}

// With newlines and quotes as they are, but for what would end the string: a third quote in a row, and one at the end.
static void write_long_basic(struct buf *out, struct str s)
{
	size_t quotes = 0;
	buf_addz(out, "\"\"\"\n"); // the reader drops this first newline
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (write_escape(out, (unsigned char)c)) {
			quotes = 0;
			continue;
		}
		quotes = c == '"' ? quotes + 1 : 0;
		if (c == '"' && (quotes == 3 || i + 1 == s.n)) {
			buf_addc(out, '\\');
			quotes = 0;
		}
		buf_addc(out, c);
	}
	buf_addz(out, "\"\"\"");
}

static void write_name(struct buf *out, struct str name)
{
	if (is_bare_key(name))
		buf_add_str(out, name);
	else
		write_basic(out, name);
}

static void write_path(struct buf *out, const struct path *path)
{
	if (path->up == NULL)
		return;
	if (path->up->up != NULL) {
		write_path(out, path->up);
		buf_addc(out, '.');
	}
	write_name(out, path->name);
}

static int fail_at(const struct writer *w, const struct path *path, const char *what)
{
	CLEANUP_BUF
	struct buf where = BUF_INIT(ERROR_MSG_MAX / 2);
	write_path(&where, path);
	return error_set(w->err, EINVAL, "%s: %s", where.n > 0 ? buf_z(&where) : "document", what);
}

// The key of a value, up to the value.
static int write_key(struct writer *w, const struct path *path)
{
	if (memchr(path->name.p, '\0', path->name.n) != NULL)
		return fail_at(w, path, "a key with U+0000 is not supported");
	write_name(w->out, path->name);
	buf_addz(w->out, " = ");
	return 0;
}

// Whether ''' says exactly s: no escapes there, and a newline is written as it is.
static bool fits_literal(struct str s)
{
	size_t quotes = 0;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		quotes = c == '\'' ? quotes + 1 : 0;
		if (quotes == 3 || (is_control(c) && c != '\n'))
			return false;
	}
	return quotes == 0;
}

static int write_string(struct writer *w, const struct path *path, const json_t *v)
{
	struct str s = {json_string_value(v), json_string_length(v)};
	if (memchr(s.p, '\0', s.n) != NULL)
		return fail_at(w, path, "text with U+0000 is not supported");
	if (memchr(s.p, '\n', s.n) == NULL) {
		write_basic(w->out, s);
		return 0;
	}
	if (!fits_literal(s)) {
		write_long_basic(w->out, s);
		return 0;
	}
	buf_addz(w->out, "'''\n"); // the reader drops this first newline
	buf_add_str(w->out, s);
	buf_addz(w->out, "'''");
	return 0;
}

static int write_real(struct writer *w, const struct path *path, double v)
{
	char text[REAL_TEXT_MAX];
	if (!isfinite(v))
		return fail_at(w, path, "the number is not finite");
	buf_addz(w->out, real_text(v, text));
	return 0;
}

static int write_array(struct writer *w, const struct path *path, const json_t *array, size_t depth)
{
	buf_addc(w->out, '[');
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (i > 0)
			buf_addz(w->out, ", ");
		if (write_value(w, path, json_array_get(array, i), depth) < 0)
			return -EINVAL;
	}
	buf_addc(w->out, ']');
	return 0;
}

static int write_inline_table(struct writer *w, const struct path *path, const json_t *table, size_t depth)
{
	const char *name;
	size_t n;
	json_t *v;
	const char *between = "{";
	// The macro wants a pointer that is not const, and only reads through it.
	json_object_keylen_foreach((json_t *)(uintptr_t)table, name, n, v)
	{
		struct path at = {path, {name, n}, depth};
		buf_addz(w->out, between);
		if (write_key(w, &at) < 0 || write_value(w, &at, v, depth) < 0)
			return -EINVAL;
		between = ", ";
	}
	buf_addz(w->out, json_object_size(table) > 0 ? "}" : "{}");
	return 0;
}

// depth: how many tables and arrays are around it.
static int write_value(struct writer *w, const struct path *path, const json_t *v, size_t depth)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return write_string(w, path, v);
	case JSON_INTEGER:
		buf_addf(w->out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return 0;
	case JSON_REAL:
		return write_real(w, path, json_real_value(v));
	case JSON_TRUE:
	case JSON_FALSE:
		buf_addz(w->out, json_is_true(v) ? "true" : "false");
		return 0;
	case JSON_NULL:
		return fail_at(w, path, "TOML has no null: leave the key out");
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	if (depth >= TOML_DEPTH_MAX)
		return fail_at(w, path, "too many tables and arrays within each other");
	return json_is_array(v) ? write_array(w, path, v, depth + 1) : write_inline_table(w, path, v, depth + 1);
}

// Whether [[name]] can say it.
static bool is_tables(const json_t *v)
{
	if (!json_is_array(v) || json_array_size(v) == 0)
		return false;
	for (size_t i = 0; i < json_array_size(v); i++)
		if (!json_is_object(json_array_get(v, i)))
			return false;
	return true;
}

// Whether a table's header may be left out, since the headers below it imply it.
static bool has_only_tables(const json_t *table)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)table, name, v) {
		if (!json_is_object(v) && !is_tables(v))
			return false;
	}
	return json_object_size(table) > 0;
}

static void write_header(struct writer *w, const struct path *path, bool array)
{
	if (w->out->n > w->start)
		buf_addc(w->out, '\n');
	buf_addz(w->out, array ? "[[" : "[");
	write_path(w->out, path);
	buf_addz(w->out, array ? "]]\n" : "]\n");
}

static int write_tables(struct writer *w, const struct path *path, const json_t *tables)
{
	for (size_t i = 0; i < json_array_size(tables); i++) {
		write_header(w, path, true);
		if (write_table(w, path, json_array_get(tables, i)) < 0)
			return -EINVAL;
	}
	return 0;
}

static int write_below(struct writer *w, const struct path *up, struct str name, const json_t *v)
{
	struct path path = {up, name, up->depth + (json_is_array(v) ? 2 : 1)};
	if (path.depth > TOML_DEPTH_MAX)
		return fail_at(w, &path, "too many tables and arrays within each other");
	if (memchr(name.p, '\0', name.n) != NULL)
		return fail_at(w, &path, "a key with U+0000 is not supported");
	if (json_is_array(v))
		return write_tables(w, &path, v);
	if (!has_only_tables(v))
		write_header(w, &path, false);
	return write_table(w, &path, v);
}

static int write_plain(struct writer *w, const struct path *up, struct str name, const json_t *v)
{
	struct path path = {up, name, up->depth};
	if (write_key(w, &path) < 0 || write_value(w, &path, v, path.depth) < 0)
		return -EINVAL;
	buf_addc(w->out, '\n');
	return 0;
}

// First the plain values, since whatever follows a header belongs to it.
static int write_table(struct writer *w, const struct path *path, const json_t *table)
{
	for (int tables = 0; tables <= 1; tables++) {
		const char *name;
		size_t n;
		json_t *v;
		json_object_keylen_foreach((json_t *)(uintptr_t)table, name, n, v)
		{
			bool below = json_is_object(v) || is_tables(v);
			struct str key = {name, n};
			if (below != (tables == 1))
				continue;
			if ((below ? write_below(w, path, key, v) : write_plain(w, path, key, v)) < 0)
				return -EINVAL;
		}
	}
	return 0;
}

int toml_write(const json_t *table, struct buf *out, struct error *err)
{
	struct writer w = {.out = out, .start = out->n, .err = err};
	struct path root = {0};
	if (json_typeof(table) != JSON_OBJECT)
		return error_set(err, EINVAL, "document: the root of a TOML document is a table");
	if (write_table(&w, &root, table) < 0)
		return -EINVAL;
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "more than %zu bytes of TOML", out->max);
}
