#include "common/spec_part.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/kube_name.h"

const struct decode_field object_key_ref_fields[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = offsetof(struct object_key_ref, name)},
	{.name = "key", .kind = DECODE_STRING, .offset = offsetof(struct object_key_ref, key)},
	{0}};

int check_key_ref(const struct object_key_ref *ref, const char *path, struct error *err)
{
	if (!ref->given)
		return 0;
	if (ref->name == NULL || ref->name[0] == '\0' || ref->key == NULL || ref->key[0] == '\0')
		return error_set(err, EINVAL, "%s needs both name and key", path);
	return 0;
}

bool is_https(const char *url)
{
	return strncmp(url, "https://", 8) == 0;
}

int check_url(const char *url, const char *path, struct error *err)
{
	const char *host = is_https(url) ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : "";
	if (strchr("/:?#", host[0]) != NULL || strpbrk(url, " \t\r\n\"'\\") != NULL)
		return error_set(err, EINVAL, "%s is \"%s\"; it must be https://HOST:PORT or http://HOST:PORT", path, url);
	return 0;
}

int check_object_name(const char *name, const char *path, const char *kind, struct error *err)
{
	if (name == NULL || is_subdomain(name))
		return 0;
	return error_set(
		err, EINVAL,
		"%s is \"%s\"; the name of a %s has a-z, 0-9, '-' and '.', begins and ends with a letter or digit, "
		"and has at most 253 characters",
		path, name, kind);
}
