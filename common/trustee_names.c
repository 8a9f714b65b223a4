// Which names the objects of a Trustee take, and who else wants them.
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "common/encode.h"
#include "common/kube/resource.h"
#include "common/kube_name.h"
#include "common/trustee.h"

#define HASH_BYTES 5

static bool is_trustee(const json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	return kind != NULL && strcmp(kind, "TrusteeConfig") == 0;
}

const char *trustee_instance(const json_t *object)
{
	const char *name = json_string_value(json_object_get(json_object_get(object, "spec"), "instanceName"));
	return name != NULL ? name : "";
}

// Whether both stand for one KbsConfig, be it there or still to be made.
static bool is_same_kbs(const json_t *a, const json_t *b)
{
	const char *x = kube_name(a);
	const char *y = kube_name(b);
	if (is_trustee(a) == is_trustee(b))
		return strcmp(x, y) == 0;
	const char *trustee = is_trustee(a) ? x : y;
	const char *kbs = is_trustee(a) ? y : x;
	size_t n = strlen(trustee);
	return strncmp(kbs, trustee, n) == 0 && strcmp(kbs + n, KBS_CONFIG_SUFFIX) == 0;
}

bool trustee_is_older(const json_t *a, const json_t *b)
{
	// Both as the API server writes them, RFC 3339 in UTC: their order is that of their text.
	const char *x = json_string_value(json_object_get(json_object_get(a, "metadata"), "creationTimestamp"));
	const char *y = json_string_value(json_object_get(json_object_get(b, "metadata"), "creationTimestamp"));
	if ((x == NULL) != (y == NULL))
		return x != NULL;
	int order = x != NULL ? strcmp(x, y) : 0;
	return order != 0 ? order < 0 : strcmp(kube_name(a), kube_name(b)) < 0;
}

const json_t *trustee_rival(const json_t *object, const json_t *others)
{
	const json_t *oldest = NULL;
	size_t i;
	const json_t *other;
	json_array_foreach (others, i, other) {
		if (is_same_kbs(object, other) || strcmp(trustee_instance(object), trustee_instance(other)) != 0)
			continue;
		if (oldest == NULL || trustee_is_older(other, oldest))
			oldest = other;
	}
	return oldest;
}

void trustee_volume_name(const char *prefix, const char *secret, struct buf *out)
{
	if (strlen(prefix) + 1 + strlen(secret) <= DNS_LABEL_MAX && strchr(secret, '.') == NULL) {
		buf_addf(out, "%s-%s", prefix, secret);
		return;
	}
	struct digest hash;
	struct error err;
	// "sha256" is one that it knows.
	if (digest_of(STR("sha256"), str_from(secret), &hash, &err) < 0)
		return;
	// No name of the first form is one of these: it has a '-' where they have a '0'.
	size_t room = DNS_LABEL_MAX - strlen(prefix) - 3 - (size_t)HASH_BYTES * 2;
	buf_addf(out, "%s0-", prefix);
	for (size_t i = 0; i < room && secret[i] != '\0'; i++)
		buf_addc(out, secret[i] == '.' ? '-' : secret[i]);
	buf_addc(out, '-');
	hex_encode(hash.v, HASH_BYTES, out);
}
