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

#endif
