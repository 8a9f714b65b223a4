#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/yaml.h"
#include "common/yaml_plain.h"

#define TAG_PREFIX "tag:yaml.org,2002:"
#define DIRECTIVES_MAX 100 // %TAG lines: libyaml compares each with all others

struct anchor {
	json_t *value; // ours
	size_t nodes;
	size_t height;
};

struct reader {
	struct str text;
	yaml_parser_t parser;
	yaml_event_t event; // the current one
	size_t nodes;
	json_t *anchor_names; // name: index into anchors
	struct anchor *anchors;
	size_t n_anchors;
	size_t cap_anchors;
	struct error *err;
};

struct node {
	json_t *value;
	size_t nodes;  // in all, itself included
	size_t height; // 0: a scalar
};

static void node_release(struct node *n)
{
	json_decref(n->value);
}

static void forget_anchors(struct reader *r)
{
	for (size_t i = 0; i < r->n_anchors; i++)
		json_decref(r->anchors[i].value);
	r->n_anchors = 0;
	(void)json_object_clear(r->anchor_names);
}

static void reader_release(struct reader *r)
{
	forget_anchors(r);
	free(r->anchors);
	json_decref(r->anchor_names);
	yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
}

__attribute__((format(printf, 3, 4))) static int fail(const struct reader *r, yaml_mark_t at, const char *fmt, ...)
{
	char what[ERROR_MSG_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_set(r->err, EINVAL, "line %zu, column %zu: %s", at.line + 1, at.column + 1, what);
}

// Where a byte of the text is, for errors of libyaml that say only its offset.
static yaml_mark_t mark_of_offset(struct str text, size_t offset)
{
	yaml_mark_t mark = {0};
	for (size_t i = 0; i < offset && i < text.n; i++) {
		if (text.p[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if (((unsigned char)text.p[i] & 0xC0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

static bool is_indented_with_tab(struct str text, size_t line)
{
	size_t i = 0;
	for (; line > 0 && i < text.n; i++)
		if (text.p[i] == '\n')
			line--;
	while (i < text.n && text.p[i] == ' ')
		i++;
	return i < text.n && text.p[i] == '\t';
}

static int fail_parser(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem != NULL ? p->problem : "not YAML";
	if (p->error == YAML_MEMORY_ERROR)
		return error_set(r->err, ENOMEM, "out of memory");
	if (p->error == YAML_READER_ERROR)
		return fail(r, mark_of_offset(r->text, p->problem_offset), "%s", problem);
	if (is_indented_with_tab(r->text, p->problem_mark.line))
		return fail(r, p->problem_mark, "%s: indent with spaces, not with tabs", problem);
	if (p->context == NULL)
		return fail(r, p->problem_mark, "%s", problem);
	return fail(r, p->problem_mark, "%s (%s, from line %zu)", problem, p->context, p->context_mark.line + 1);
}

static int next_event(struct reader *r)
{
	yaml_event_delete(&r->event);
	return yaml_parser_parse(&r->parser, &r->event) == 1 ? 0 : fail_parser(r);
}

static int count_nodes(struct reader *r, size_t n)
{
	r->nodes += n;
	if (r->nodes > YAML_NODES_MAX)
		return fail(r, r->event.start_mark, "more than %d values, aliases included", YAML_NODES_MAX);
	return 0;
}

static int check_depth(const struct reader *r, size_t depth)
{
	if (depth > YAML_DEPTH_MAX)
		return fail(r, r->event.start_mark, "more than %d lists and mappings within each other", YAML_DEPTH_MAX);
	return 0;
}

// Makes *name "str" of !!str, NULL when there is no tag. A tag of another's is an error.
static int core_tag(const struct reader *r, const yaml_char_t *tag, const char **name)
{
	struct str s = str_from((const char *)tag);
	*name = NULL;
	if (s.p == NULL)
		return 0;
	if (str_is(s, "!")) { // "don't resolve": a scalar is text then, a collection what it is anyway
		*name = r->event.type == YAML_SCALAR_EVENT ? "str" : NULL;
		return 0;
	}
	if (!str_has_prefix(s, TAG_PREFIX))
		return fail(r, r->event.start_mark, "tag \"%.*s\" is not supported: remove it", STR_ARG(s));
	*name = s.p + strlen(TAG_PREFIX);
	return 0;
}

static json_t *plain_value(const struct yaml_plain *plain, struct str s)
{
	switch (plain->meaning) {
	case MEANS_TEXT:
	case MEANS_HUGE_REAL:
		return json_stringn(s.p, s.n);
	case MEANS_NULL:
		return json_null();
	case MEANS_TRUE:
		return json_true();
	case MEANS_FALSE:
		return json_false();
	case MEANS_INTEGER:
		return json_integer(plain->integer);
	case MEANS_REAL:
		return json_real(plain->real);
	case MEANS_NOT_FINITE:
	case MEANS_OUT_OF_RANGE:
		break;
	}
	return NULL;
}

static int resolve_scalar(const struct reader *r, struct str s, json_t **ret)
{
	struct yaml_plain plain = yaml_plain_resolve(s);
	if (plain.meaning == MEANS_NOT_FINITE)
		return fail(r, r->event.start_mark, "%.*s is not supported, as JSON has no such number: quote it if it is text",
					STR_ARG(s));
	if (plain.meaning == MEANS_OUT_OF_RANGE)
		return fail(r, r->event.start_mark, "%.*s does not fit into 64 bits: quote it if it is text", STR_ARG(s));
	*ret = plain_value(&plain, s);
	return *ret != NULL ? 0 : fail(r, r->event.start_mark, "not UTF-8");
}

static bool tag_fits(const char *tag, const json_t *v)
{
	if (strcmp(tag, "null") == 0)
		return json_is_null(v);
	if (strcmp(tag, "bool") == 0)
		return json_is_boolean(v);
	return strcmp(tag, "int") == 0 ? json_is_integer(v) : json_is_real(v);
}

static int tagged_scalar(const struct reader *r, const char *tag, struct str s, json_t **ret)
{
	if (strcmp(tag, "null") != 0 && strcmp(tag, "bool") != 0 && strcmp(tag, "int") != 0 && strcmp(tag, "float") != 0)
		return fail(r, r->event.start_mark, "tag !!%.100s is not supported here: remove it", tag);
	json_auto_t *v = NULL;
	if (resolve_scalar(r, s, &v) < 0)
		return -EINVAL;
	if (strcmp(tag, "float") == 0 && json_is_integer(v)) {
		double real = (double)json_integer_value(v);
		json_decref(v);
		v = json_real(real);
	}
	if (!tag_fits(tag, v))
		return fail(r, r->event.start_mark, "\"%.*s\" is no !!%s", STR_ARG(s), tag);
	*ret = TAKE_PTR(v);
	return 0;
}

static int read_scalar(struct reader *r, struct node *ret)
{
	struct str s = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
	const char *tag = NULL;
	if (core_tag(r, r->event.data.scalar.tag, &tag) < 0)
		return -EINVAL;
	if (memchr(s.p, '\0', s.n) != NULL)
		return fail(r, r->event.start_mark, "text with U+0000 is not supported");
	if (tag == NULL && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return resolve_scalar(r, s, &ret->value);
	if (tag != NULL && strcmp(tag, "str") != 0)
		return tagged_scalar(r, tag, s, &ret->value);
	ret->value = json_stringn(s.p, s.n);
	return ret->value != NULL ? 0 : fail(r, r->event.start_mark, "not UTF-8");
}

static int read_node(struct reader *r, size_t depth, struct node *ret);

static void add_child(struct node *parent, const struct node *child)
{
	parent->nodes += child->nodes;
	if (parent->height < child->height + 1)
		parent->height = child->height + 1;
}

static int read_sequence(struct reader *r, size_t depth, struct node *ret)
{
	const char *tag = NULL;
	if (check_depth(r, depth) < 0 || core_tag(r, r->event.data.sequence_start.tag, &tag) < 0)
		return -EINVAL;
	if (tag != NULL && strcmp(tag, "seq") != 0)
		return fail(r, r->event.start_mark, "tag !!%.100s is not supported here: remove it", tag);
	json_auto_t *array = json_array();
	ret->height = 1;
	for (;;) {
		if (next_event(r) < 0)
			return -EINVAL;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		struct node item = {0};
		if (read_node(r, depth, &item) < 0)
			return -EINVAL;
		add_child(ret, &item);
		if (json_array_append_new(array, item.value) < 0)
			return error_set(r->err, ENOMEM, "out of memory");
	}
	ret->value = TAKE_PTR(array);
	return 0;
}

// Where the keys of one mapping are, in their order.
struct key_lines {
	size_t *v;
	size_t n;
	size_t cap;
};

static void key_lines_release(struct key_lines *l)
{
	free(l->v);
}

static void key_lines_add(struct key_lines *l, size_t line)
{
	if (l->n == l->cap) {
		l->cap = l->cap > 0 ? l->cap * 2 : 8;
		l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = line;
}

static int fail_duplicate(const struct reader *r, yaml_mark_t at, json_t *map, struct str name,
						  const struct key_lines *lines)
{
	size_t i = 0;
	void *iter = json_object_iter(map);
	for (; iter != NULL; iter = json_object_iter_next(map, iter), i++)
		if (str_eq((struct str){json_object_iter_key(iter), json_object_iter_key_len(iter)}, name))
			break;
	size_t line = i < lines->n ? lines->v[i] : 0;
	return fail(r, at, "key \"%.*s\" is in line %zu already", STR_ARG(name), line);
}

static int fail_key(const struct reader *r, yaml_mark_t at)
{
	if (r->event.type != YAML_SCALAR_EVENT)
		return fail(r, at, "a key must be text");
	struct str s = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
	return fail(r, at, "key %.*s is not text in YAML: quote it", STR_ARG(s));
}

static bool is_merge(const yaml_event_t *e)
{
	if (e->type != YAML_SCALAR_EVENT)
		return false;
	const char *tag = (const char *)e->data.scalar.tag;
	return (tag != NULL && strcmp(tag, TAG_PREFIX "merge") == 0) ||
		   (tag == NULL && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && e->data.scalar.length == 2 &&
			memcmp(e->data.scalar.value, "<<", 2) == 0);
}

// The current event begins a key. depth: of the mapping.
static int read_pair(struct reader *r, size_t depth, json_t *map, struct key_lines *lines, struct node *ret)
{
	CLEANUP(node_release) struct node key = {0};
	yaml_mark_t at = r->event.start_mark;
	if (is_merge(&r->event))
		return fail(r, at, "merge keys (<<) are not supported: write the keys out, or quote it");
	if (read_node(r, depth, &key) < 0)
		return -EINVAL;
	if (!json_is_string(key.value))
		return fail_key(r, at);
	struct str name = {json_string_value(key.value), json_string_length(key.value)};
	if (json_object_getn(map, name.p, name.n) != NULL)
		return fail_duplicate(r, at, map, name, lines);
	struct node value = {0};
	if (next_event(r) < 0 || read_node(r, depth, &value) < 0)
		return -EINVAL;
	add_child(ret, &key);
	add_child(ret, &value);
	key_lines_add(lines, at.line + 1);
	if (json_object_setn_new_nocheck(map, name.p, name.n, value.value) < 0)
		return error_set(r->err, ENOMEM, "out of memory");
	return 0;
}

static int read_mapping(struct reader *r, size_t depth, struct node *ret)
{
	const char *tag = NULL;
	if (check_depth(r, depth) < 0 || core_tag(r, r->event.data.mapping_start.tag, &tag) < 0)
		return -EINVAL;
	if (tag != NULL && strcmp(tag, "map") != 0)
		return fail(r, r->event.start_mark, "tag !!%.100s is not supported here: remove it", tag);
	json_auto_t *map = json_object();
	CLEANUP(key_lines_release) struct key_lines lines = {0};
	ret->height = 1;
	for (;;) {
		if (next_event(r) < 0)
			return -EINVAL;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (read_pair(r, depth, map, &lines, ret) < 0)
			return -EINVAL;
	}
	ret->value = TAKE_PTR(map);
	return 0;
}

static int read_alias(struct reader *r, size_t depth, struct node *ret)
{
	const char *name = (const char *)r->event.data.alias.anchor;
	const json_t *index = json_object_get(r->anchor_names, name);
	if (index == NULL)
		return fail(r, r->event.start_mark, "alias *%.100s has no anchor &%.100s that ends before it", name, name);
	const struct anchor *anchor = &r->anchors[json_integer_value(index)];
	// Before the copy: that is what a billion laughs is about.
	if (count_nodes(r, anchor->nodes - 1) < 0 || check_depth(r, depth + anchor->height) < 0)
		return -EINVAL;
	*ret = (struct node){json_deep_copy(anchor->value), anchor->nodes, anchor->height};
	return ret->value != NULL ? 0 : error_set(r->err, ENOMEM, "out of memory");
}

// A later anchor of the same name takes its place.
static int remember_anchor(struct reader *r, const char *name, const struct node *node)
{
	if (r->n_anchors == r->cap_anchors) {
		r->cap_anchors = r->cap_anchors > 0 ? r->cap_anchors * 2 : 8;
		r->anchors = xreallocarray(r->anchors, r->cap_anchors, sizeof(*r->anchors));
	}
	if (json_object_set_new(r->anchor_names, name, json_integer((json_int_t)r->n_anchors)) < 0)
		return error_set(r->err, ENOMEM, "out of memory");
	r->anchors[r->n_anchors++] = (struct anchor){json_incref(node->value), node->nodes, node->height};
	return 0;
}

static const yaml_char_t *event_anchor(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return e->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return e->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return e->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static int read_content(struct reader *r, size_t depth, struct node *ret)
{
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, ret);
	case YAML_SEQUENCE_START_EVENT:
		return read_sequence(r, depth + 1, ret);
	case YAML_MAPPING_START_EVENT:
		return read_mapping(r, depth + 1, ret);
	case YAML_ALIAS_EVENT:
		return read_alias(r, depth, ret);
	default:
		return fail(r, r->event.start_mark, "expected a value");
	}
}

// The current event begins the node; afterwards it is its last one. depth: how many collections are around it.
static int read_node(struct reader *r, size_t depth, struct node *ret)
{
	CLEANUP(node_release) struct node node = {.nodes = 1};
	CLEANUP_FREE
	char *anchor = NULL;
	if (event_anchor(&r->event) != NULL)
		anchor = xstrdup((const char *)event_anchor(&r->event));
	if (count_nodes(r, 1) < 0 || read_content(r, depth, &node) < 0)
		return -EINVAL;
	if (anchor != NULL && remember_anchor(r, anchor, &node) < 0)
		return -r->err->code;
	*ret = node;
	node.value = NULL;
	return 0;
}

static void docs_add(struct yaml_docs *docs, json_t *root, size_t line)
{
	// Grows at each power of two.
	if ((docs->n & (docs->n - 1)) == 0)
		docs->v = xreallocarray(docs->v, docs->n > 0 ? docs->n * 2 : 1, sizeof(*docs->v));
	docs->v[docs->n++] = (struct yaml_doc){root, line};
}

static bool is_nothing(const yaml_event_t *e)
{
	return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		   e->data.scalar.length == 0 && e->data.scalar.tag == NULL && e->data.scalar.anchor == NULL;
}

// The current event starts the document.
static int read_document(struct reader *r, struct yaml_docs *docs)
{
	if (next_event(r) < 0)
		return -EINVAL;
	if (!is_nothing(&r->event)) {
		size_t line = r->event.start_mark.line + 1;
		struct node root = {0};
		if (read_node(r, 0, &root) < 0)
			return -EINVAL;
		docs_add(docs, root.value, line);
	}
	forget_anchors(r);
	return next_event(r); // the document's end
}

static int read_stream(struct reader *r, struct yaml_docs *docs)
{
	for (;;) {
		if (next_event(r) < 0)
			return -EINVAL;
		if (r->event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (r->event.type == YAML_DOCUMENT_START_EVENT && read_document(r, docs) < 0)
			return -EINVAL;
	}
}

// Whether JSON stays within our limits, so that jansson, which has others, may read it.
static bool json_fits(struct str s)
{
	size_t nodes = 1;
	size_t depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < s.n && nodes <= YAML_NODES_MAX && depth <= YAML_DEPTH_MAX; i++) {
		char c = s.p[i];
		if (quoted) {
			if (c == '\\')
				i++;
			quoted = c != '"';
			continue;
		}
		quoted = c == '"';
		nodes += c == '[' || c == '{' || c == ',' || c == ':';
		depth += c == '[' || c == '{';
		depth -= (c == ']' || c == '}') && depth > 0;
	}
	return nodes <= YAML_NODES_MAX && depth <= YAML_DEPTH_MAX;
}

// JSON goes to jansson first: libyaml knows no surrogate pairs (\ud83d\ude00) and no tabs for indentation.
static bool read_json(struct str text, struct yaml_docs *docs)
{
	size_t start = 0;
	while (start < text.n && strchr(" \t\r\n", text.p[start]) != NULL && text.p[start] != '\0')
		start++;
	if (start == text.n || (text.p[start] != '{' && text.p[start] != '[') || !json_fits(text))
		return false;
	json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	if (root == NULL)
		return false; // perhaps YAML's flow style, whose reader also has the better message
	docs_add(docs, root, mark_of_offset(text, start).line + 1);
	return true;
}

static bool ends_line(char c)
{
	unsigned char u = (unsigned char)c;
	return u == '\n' || u == '\r' || u == 0x85 || u == 0xA8 || u == 0xA9; // the last three end NEL, LS and PS
}

static int check_directives(struct str text, struct error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		const char *percent = memchr(text.p + i, '%', text.n - i);
		if (percent == NULL)
			break;
		i = (size_t)(percent - text.p);
		n += str_has_prefix((struct str){percent, text.n - i}, "%TAG") && (i == 0 || ends_line(text.p[i - 1]));
		if (n > DIRECTIVES_MAX)
			return error_set(err, EINVAL, "line %zu, column 1: more than %d %%TAG directives",
							 mark_of_offset(text, i).line + 1, DIRECTIVES_MAX);
	}
	return 0;
}

static int read_yaml(struct str text, struct yaml_docs *docs, struct error *err)
{
	CLEANUP(reader_release) struct reader r = {.text = text, .anchor_names = json_object(), .err = err};
	if (yaml_parser_initialize(&r.parser) != 1)
		return error_set(err, ENOMEM, "out of memory");
	if (check_directives(text, err) < 0)
		return -EINVAL;
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
	return read_stream(&r, docs);
}

int yaml_read(struct str text, struct yaml_docs *ret, struct error *err)
{
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	if (text.n > YAML_TEXT_MAX)
		return error_set(err, EFBIG, "%zu bytes of YAML, at most %zu are read", text.n, YAML_TEXT_MAX);
	if (text.p == NULL)
		text = STR("");
	if (str_has_prefix(text, "\xEF\xBB\xBF")) // the byte order mark that some editors write
		text = (struct str){text.p + 3, text.n - 3};
	if (!read_json(text, &docs) && read_yaml(text, &docs, err) < 0)
		return -err->code;
	*ret = docs;
	docs = (struct yaml_docs){0};
	return 0;
}

void yaml_docs_release(struct yaml_docs *docs)
{
	for (size_t i = 0; i < docs->n; i++)
		json_decref(docs->v[i].root);
	free(docs->v);
	*docs = (struct yaml_docs){0};
}
