#include "common/secret.h"

#include <stdint.h>

static void wipe_strings(json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;
	if (json_is_string(v)) {
		// jansson hands its own memory out as const; nobody else has this tree.
		explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
	} else if (json_is_object(v)) {
		json_object_foreach (v, key, member) {
			wipe_strings(member);
		}
	} else {
		json_array_foreach (v, i, member) {
			wipe_strings(member);
		}
	}
}

void secret_json_free(json_t *root)
{
	wipe_strings(root);
	json_decref(root);
}

void secret_json_free_members(json_t *map, const char *prefix)
{
	const char *key = NULL;
	json_t *member = NULL;
	void *next = NULL;
	json_object_foreach_safe(map, next, key, member)
	{
		if (strncmp(key, prefix, strlen(prefix)) != 0)
			continue;
		(void)json_incref(member);
		(void)json_object_del(map, key);
		secret_json_free(member);
	}
	json_decref(map);
}
