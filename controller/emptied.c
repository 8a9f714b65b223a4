#include "controller/emptied.h"

#include <stdbool.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json_made.h"
#include "common/mem.h"

#define SPEC "spec."
#define IS_NULL ": Invalid value: \"null\""
#define FIELD_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// Puts null at a path, of fields alone, such as spec.vault.caSecretRef. rendered: what is rendered at `to`, or NULL.
// false: it is rendered, so it isn't to be taken out.
static bool put_null(json_t *to, const char *path, const json_t *rendered)
{
	size_t n = strspn(path, FIELD_CHARS);
	CLEANUP_FREE char *field = xstrndup((struct str){path, n});
	const json_t *wanted = json_object_get(rendered, field);
	if (path[n] != '.') {
		if (wanted == NULL)
			json_put(to, field, json_null());
		return wanted == NULL;
	}
	json_auto_t *inner = json_object();
	json_t *known = json_object_get(to, field);
	if (known == NULL || json_is_null(known))
		known = inner;
	if (!put_null(known, path + n + 1, wanted))
		return false;
	if (known == inner)
		json_put(to, field, json_incref(inner));
	return true;
}

// Whether the text is a path of fields, and null is said of it.
static bool is_emptied(const char *path)
{
	for (;;) {
		size_t n = strspn(path, FIELD_CHARS);
		if (n == 0)
			return false;
		path += n;
		if (*path != '.')
			return strncmp(path, IS_NULL, strlen(IS_NULL)) == 0;
		path++;
	}
}

json_t *emptied_patch(const char *message, const json_t *rendered)
{
	json_t *patch = json_made(json_object());
	bool any = false;
	for (const char *at = strstr(message, SPEC); at != NULL; at = strstr(at + 1, SPEC))
		if ((at == message || strchr(" [", at[-1]) != NULL) && is_emptied(at))
			any = put_null(patch, at, rendered) || any;
	if (any)
		return patch;
	json_decref(patch);
	return NULL;
}
