// Our JSON reader beside jansson: the same texts are accepted, and the same tree comes out of them.
//
// Known differences, which are left out: nesting beyond JSON_DEPTH_MAX (jansson goes deeper), integers beyond 64 bits
// and numbers beyond a double's range (jansson refuses them, our reader hands out text), U+0000 in keys (jansson's
// trees can't hold one), a NUL byte outside strings (jansson takes it for the end).
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

// What jansson has no place for.
struct building {
	struct json_read r;
	bool beyond_jansson;
};

static char next_byte(struct json_read *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? *r->p : '\0';
}

static json_t *build(struct building *b);

static json_t *build_object(struct building *b)
{
	json_t *object = json_object();
	struct str key;
	if (json_enter_object(&b->r))
		while (json_next_key(&b->r, &key)) {
			json_t *value = build(b);
			b->beyond_jansson |= key.n > 0 && memchr(key.p, '\0', key.n) != NULL;
			(void)json_object_setn_new(object, key.p, key.n, value);
		}
	return object;
}

static json_t *build_array(struct building *b)
{
	json_t *array = json_array();
	if (json_enter_array(&b->r))
		while (json_next_item(&b->r))
			(void)json_array_append_new(array, build(b));
	return array;
}

static json_t *build_number(struct building *b)
{
	char text[4096];
	struct str s = json_read_scalar_text(&b->r);
	if (s.p == NULL || s.n >= sizeof(text)) {
		b->beyond_jansson |= s.p != NULL;
		return json_null();
	}
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	errno = 0;
	if (strpbrk(text, ".eE") == NULL) {
		long long v = strtoll(text, NULL, 10);
		b->beyond_jansson |= errno == ERANGE;
		return json_integer(v);
	}
	double v = strtod(text, NULL);
	b->beyond_jansson |= isinf(v) != 0;
	return json_real(isinf(v) != 0 ? 0 : v);
}

static json_t *build(struct building *b)
{
	char c = next_byte(&b->r);
	if (c == '{')
		return build_object(b);
	if (c == '[')
		return build_array(b);
	if (c == '-' || (c >= '0' && c <= '9'))
		return build_number(b);
	if (c == 't' || c == 'f')
		return json_boolean(json_read_bool(&b->r));
	if (c == '"') {
		struct str s = json_read_string(&b->r);
		return s.p != NULL ? json_stringn_nocheck(s.p, s.n) : json_null();
	}
	(void)json_skip(&b->r); // null, or a fault
	return json_null();
}

// Skipping checks as much as reading, and drops everything.
static bool skips(struct str text, struct arena *arena)
{
	struct json_read r;
	struct error err;
	json_read_init(&r, text, arena, &err);
	(void)json_skip(&r);
	return json_read_end(&r) == 0;
}

// Down through the wanted members of objects in objects, as the decoders of reviews go. They are what is in the tree.
static void pull_wanted(struct json_read *r, const json_t *tree)
{
	const uint64_t wanted = JSON_KEY("a") | JSON_KEY("request") | JSON_KEY("metadata") | JSON_KEY("k2");
	static const char *const names[] = {"a", "request", "metadata", "k2"};
	bool came[sizeof(names) / sizeof(names[0])] = {false};
	struct str key;
	if (next_byte(r) != '{') {
		(void)json_skip(r);
		return;
	}
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, wanted, &key)) {
		size_t i = 0;
		while (i < sizeof(names) / sizeof(names[0]) && !str_is(key, names[i]))
			i++;
		if (i < sizeof(names) / sizeof(names[0])) {
			came[i] = true;
			pull_wanted(r, json_object_get(tree, names[i]));
		} else {
			(void)json_skip(r);
		}
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && r->fault == JSON_FAULT_NONE; i++)
		must(came[i] == (json_object_get(tree, names[i]) != NULL), "a wanted member is lost", names[i]);
}

static bool pulls(struct str text, struct arena *arena, const json_t *tree, struct error *err)
{
	struct json_read r;
	json_read_init(&r, text, arena, err);
	pull_wanted(&r, tree);
	return json_read_end(&r) == 0;
}

static void check_error(const struct building *b, const struct error *err, size_t n)
{
	const char *at = strstr(err->msg, "not valid JSON at byte ");
	must(b->r.fault == JSON_FAULT_SYNTAX && err->code == EINVAL, "fault", err->msg);
	must(at == err->msg && strtoul(at + strlen("not valid JSON at byte "), NULL, 10) <= n, "offset", err->msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	struct building b = {.beyond_jansson = false};
	struct error err = {0};
	const struct str text = {(const char *)data, n};
	json_error_t why;
	json_read_init(&b.r, text, &arena, &err);
	json_auto_t *ours = build(&b);
	bool accepted = json_read_end(&b.r) == 0;
	must(skips(text, &arena) == accepted, "reading and skipping differ", err.msg);
	struct error pulled = {0};
	must(pulls(text, &arena, ours, &pulled) == accepted, "reading and pulling differ", err.msg);
	must(strcmp(pulled.msg, err.msg) == 0, "another error", pulled.msg);
	if (!accepted) {
		check_error(&b, &err, n);
		if (strstr(err.msg, "nested too deeply") != NULL)
			return 0;
	}
	json_auto_t *theirs = json_loadb(text.p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (n > 0 && memchr(data, '\0', n) != NULL) {
		must(!accepted, "a NUL byte is accepted", "");
		return 0;
	}
	if (b.beyond_jansson) {
		must(theirs == NULL, "jansson takes it", "numbers or keys that it can't hold");
		return 0;
	}
	must(accepted == (theirs != NULL), accepted ? "only we accept" : "only jansson accepts",
		 accepted ? why.text : err.msg);
	must(!accepted || json_equal(ours, theirs) == 1, "other trees", "");
	return 0;
}
