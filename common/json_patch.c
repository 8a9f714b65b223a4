#include "common/json_patch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"

// "~1" is '/', "~0" is '~' (RFC 6901).
static char *unescape(const char *token, size_t n)
{
	char *out = xcalloc(n + 1, 1);
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		bool escape = token[i] == '~' && i + 1 < n;
		out[len++] = !escape ? token[i] : token[++i] == '1' ? '/' : '~';
	}
	return out;
}

static json_t *child(json_t *parent, const char *token)
{
	if (json_is_array(parent)) {
		char *end = NULL;
		size_t index = strtoul(token, &end, 10);
		return *end == '\0' && end != token ? json_array_get(parent, index) : NULL;
	}
	return json_object_get(parent, token);
}

static int put(json_t *parent, const char *token, json_t *value, bool must_exist, struct error *err)
{
	if (must_exist && child(parent, token) == NULL)
		return error_set(err, ENOENT, "\"%s\" is not there to be replaced", token);
	if (json_is_object(parent))
		// A copy: a later operation may change what this one put in, but not the patch.
		return json_object_set_new(parent, token, json_deep_copy(value)) == 0
				   ? 0
				   : error_set(err, EINVAL, "\"%s\" can't be set", token);
	return error_set(err, EINVAL, "\"%s\" has no object around it", token);
}

static int apply_one(json_t *document, const json_t *op, struct error *err)
{
	const char *name = json_string_value(json_object_get(op, "op"));
	const char *path = json_string_value(json_object_get(op, "path"));
	json_t *value = json_object_get(op, "value");
	bool replace = name != NULL && strcmp(name, "replace") == 0;
	if (name == NULL || (!replace && strcmp(name, "add") != 0) || path == NULL || path[0] != '/' || value == NULL)
		return error_set(err, EINVAL, "a patch operation must be add or replace, with path and value");
	json_t *at = document;
	for (;;) {
		size_t n = strcspn(path + 1, "/");
		CLEANUP_FREE
		char *token = unescape(path + 1, n);
		path += 1 + n;
		if (*path == '\0')
			return put(at, token, value, replace, err);
		at = child(at, token);
		if (at == NULL)
			return error_set(err, ENOENT, "\"%s\" is not there", token);
	}
}

int json_patch_apply(json_t *document, const json_t *patch, struct error *err)
{
	if (json_typeof(patch) != JSON_ARRAY)
		return error_set(err, EINVAL, "a patch must be a list of operations");
	for (size_t i = 0; i < json_array_size(patch); i++)
		if (apply_one(document, json_array_get(patch, i), err) < 0)
			return error_prefix(err, "operation %zu of the patch", i);
	return 0;
}
