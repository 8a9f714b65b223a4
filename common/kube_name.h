// What Kubernetes takes as an object's name (RFC 1123 subdomain, its characters and length). Documents in a folder did
// not go through the API server, which would insist on it. PURE
#ifndef COCO_COMMON_KUBE_NAME_H
#define COCO_COMMON_KUBE_NAME_H

#include <stdbool.h>
#include <string.h>

static inline bool is_object_name(const char *name)
{
	size_t n = name != NULL ? strlen(name) : 0;
	return n > 0 && n <= 253 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

// As the API server judges it: labels of letters and digits at both ends, with dots between them.
static inline bool is_subdomain(const char *name)
{
	if (!is_object_name(name) || strchr("-.", name[0]) != NULL || strchr("-.", name[strlen(name) - 1]) != NULL)
		return false;
	return strstr(name, "..") == NULL && strstr(name, ".-") == NULL && strstr(name, "-.") == NULL;
}

#define DNS_LABEL_MAX ((size_t)63)

// A subdomain of one label: the name of a volume or container, the value of a label.
static inline bool is_dns_label(const char *name)
{
	return is_subdomain(name) && strchr(name, '.') == NULL && strlen(name) <= DNS_LABEL_MAX;
}

#endif
