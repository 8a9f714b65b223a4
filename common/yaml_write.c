#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/real.h"
#include "common/yaml.h"
#include "common/yaml_plain.h"

struct writer {
	yaml_emitter_t emitter;
	struct buf *out;
	struct error *err;
};

static void writer_release(struct writer *w)
{
	yaml_emitter_delete(&w->emitter);
}

static int write_handler(void *data, unsigned char *text, size_t n)
{
	struct buf *out = data;
	buf_add(out, text, n);
	return buf_ok(out);
}

// Takes the event.
static int emit(struct writer *w, yaml_event_t *event)
{
	if (yaml_emitter_emit(&w->emitter, event) == 1)
		return 0;
	if (!buf_ok(w->out))
		return error_set(w->err, EFBIG, "more than %zu bytes of YAML", w->out->max);
	return error_set(w->err, EINVAL, "%s", w->emitter.problem != NULL ? w->emitter.problem : "libyaml fails");
}

static int emit_made(struct writer *w, int made, yaml_event_t *event)
{
	return made == 1 ? emit(w, event) : error_set(w->err, EINVAL, "not UTF-8");
}

static bool all_of(struct str s, const char *set)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || strchr(set, s.p[i]) == NULL)
			return false;
	return true;
}

// Numbers of readers other than ours: 1:30 (YAML 1.1: sexagesimal), 0x_ and the like, dates.
static bool looks_like_number(struct str s)
{
	struct str abs = s;
	if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+'))
		abs = (struct str){s.p + 1, s.n - 1};
	if (abs.n == 0 || (!yaml_is_digit(abs.p[0]) && abs.p[0] != '.'))
		return false;
	if (all_of(abs, "0123456789_:.") && (memchr(abs.p, ':', abs.n) != NULL || memchr(abs.p, '_', abs.n) != NULL))
		return true;
	if (abs.n > 1 && abs.p[0] == '0' && strchr("xXoObB", abs.p[1]) != NULL)
		return all_of(abs, "0123456789abcdefABCDEFxXoO_+-");
	return s.n > 4 && s.p[4] == '-' && all_of((struct str){s.p, 4}, "0123456789");
}

static bool needs_quotes(struct str s)
{
	return memchr(s.p, '\t', s.n) != NULL || str_is(s, "=") || str_is(s, "<<") || looks_like_number(s) ||
		   yaml_plain_resolve(s).meaning != MEANS_TEXT;
}

// Whether a literal block says exactly s. libyaml itself takes quotes where there is a space before a newline, a tab
// or another control character, or a character beyond U+FFFF.
static bool fits_literal(struct str s)
{
	if (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n')
		return false; // indentation would be up to an indicator, where readers differ
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r')
			return false;
		// NEL, LS and PS are line breaks in YAML 1.1.
		if (str_has_prefix((struct str){s.p + i, s.n - i}, "\xC2\x85") ||
			str_has_prefix((struct str){s.p + i, s.n - i}, "\xE2\x80\xA8") ||
			str_has_prefix((struct str){s.p + i, s.n - i}, "\xE2\x80\xA9"))
			return false;
	}
	return true;
}

static int write_scalar(struct writer *w, struct str s, yaml_scalar_style_t style)
{
	if (s.n > INT_MAX)
		return error_set(w->err, EFBIG, "text of %zu bytes", s.n);
	yaml_event_t event;
	bool plain = style == YAML_PLAIN_SCALAR_STYLE;
	int made = yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s.p, (int)s.n, plain, 1, style);
	return emit_made(w, made, &event);
}

static int write_string(struct writer *w, struct str s, bool key)
{
	if (memchr(s.p, '\0', s.n) != NULL)
		return error_set(w->err, EINVAL, "text with U+0000 is not supported");
	yaml_scalar_style_t style = needs_quotes(s) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
	if (memchr(s.p, '\n', s.n) != NULL)
		style = !key && fits_literal(s) ? YAML_LITERAL_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	return write_scalar(w, s, style);
}

static int write_node(struct writer *w, const json_t *v, size_t depth);

static int write_array(struct writer *w, const json_t *array, size_t depth)
{
	yaml_event_t event;
	int made = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
	if (emit_made(w, made, &event) < 0)
		return -w->err->code;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (write_node(w, json_array_get(array, i), depth) < 0)
			return -w->err->code;
	return emit_made(w, yaml_sequence_end_event_initialize(&event), &event);
}

static int write_object(struct writer *w, const json_t *object, size_t depth)
{
	yaml_event_t event;
	const char *name;
	size_t n;
	json_t *v;
	if (emit_made(w, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE), &event) < 0)
		return -w->err->code;
	// The macro wants a pointer that is not const, and only reads through it.
	json_object_keylen_foreach((json_t *)(uintptr_t)object, name, n, v)
	{
		struct str key = {name, n};
		if (write_string(w, key, true) < 0 || write_node(w, v, depth) < 0)
			return error_prefix(w->err, "%.*s", STR_ARG(key));
	}
	return emit_made(w, yaml_mapping_end_event_initialize(&event), &event);
}

static int write_number(struct writer *w, const json_t *v)
{
	char text[REAL_TEXT_MAX];
	if (json_is_integer(v)) {
		(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return write_scalar(w, str_from(text), YAML_PLAIN_SCALAR_STYLE);
	}
	if (!isfinite(json_real_value(v)))
		return error_set(w->err, EINVAL, "the number is not finite");
	return write_scalar(w, str_from(real_text(json_real_value(v), text)), YAML_PLAIN_SCALAR_STYLE);
}

// depth: how many collections are around it.
static int write_node(struct writer *w, const json_t *v, size_t depth)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return write_string(w, (struct str){json_string_value(v), json_string_length(v)}, false);
	case JSON_INTEGER:
	case JSON_REAL:
		return write_number(w, v);
	case JSON_TRUE:
		return write_scalar(w, STR("true"), YAML_PLAIN_SCALAR_STYLE);
	case JSON_FALSE:
		return write_scalar(w, STR("false"), YAML_PLAIN_SCALAR_STYLE);
	case JSON_NULL:
		return write_scalar(w, STR("null"), YAML_PLAIN_SCALAR_STYLE);
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	if (depth >= YAML_DEPTH_MAX)
		return error_set(w->err, EINVAL, "more than %d lists and mappings within each other", YAML_DEPTH_MAX);
	return json_is_array(v) ? write_array(w, v, depth + 1) : write_object(w, v, depth + 1);
}

static int write_stream(struct writer *w, const json_t *root)
{
	yaml_event_t event;
	if (emit_made(w, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event) < 0 ||
		emit_made(w, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event) < 0 ||
		write_node(w, root, 0) < 0 || emit_made(w, yaml_document_end_event_initialize(&event, 1), &event) < 0)
		return -w->err->code;
	// Else libyaml writes "..." after a last text that ends in newlines; the end of the stream says as much.
	w->emitter.open_ended = 0;
	return emit_made(w, yaml_stream_end_event_initialize(&event), &event);
}

int yaml_write(const json_t *root, struct buf *out, struct error *err)
{
	CLEANUP(writer_release) struct writer w = {.out = out, .err = err};
	if (yaml_emitter_initialize(&w.emitter) != 1)
		return error_set(err, ENOMEM, "out of memory");
	yaml_emitter_set_output(&w.emitter, write_handler, out);
	yaml_emitter_set_indent(&w.emitter, 2);
	yaml_emitter_set_width(&w.emitter, -1);
	yaml_emitter_set_unicode(&w.emitter, 1);
	return write_stream(&w, root);
}
