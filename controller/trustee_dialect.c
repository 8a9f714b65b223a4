#include "controller/trustee_dialect.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define STORAGE "/opt/confidential-containers/storage"
#define OLD "/opt/confidential-containers"

#define OLD_FILES                                                                                                \
	.storage = OLD, .policy_section = "policy_engine", .attestation_dirs = true, .reference_values_table = true, \
	.resource_policy = OLD "/opa/policy.rego", .attestation_policies = OLD "/attestation-service/policies/opa",  \
	.repository = OLD "/kbs/repository", .repository_slash = "/",                                                \
	.reference_values = OLD "/rvps/reference-values/reference-values.json"
// The key-value storage keeps a key in one file, and writes its slashes so.
#define STORAGE_FILES                                                                                    \
	.storage_backend = true, .storage = STORAGE, .resource_policy = STORAGE "/kbs/resource-policy.rego", \
	.attestation_policies = STORAGE "/attestation_service_policy", .repository = STORAGE "/repository",  \
	.repository_slash = "\\x2F", .reference_values = STORAGE "/local_json/reference_value"

// Oldest first.
static const struct trustee_dialect dialects[] = {
	{"0.15", 15, ADMIN_KEY, "insecure_key", "type", "LocalFs", OLD_FILES},
	{"0.16", 16, ADMIN_TYPE, "insecure_key", "type", "LocalFs", OLD_FILES, .nvidia_verifier = true},
	{"0.17", 17, ADMIN_TYPE, "insecure_key", "type", "LocalFs", OLD_FILES, .nvidia_verifier = true,
	 .vcek_sources = true},
	{"0.18", 18, ADMIN_TYPE, "insecure_key", "type", "LocalFs", OLD_FILES, .nvidia_verifier = true,
	 .vcek_sources = true, .offline_collateral = true},
	{"0.19", 19, ADMIN_TYPE, "insecure_key", "type", "kvstorage", STORAGE_FILES, .nvidia_verifier = true,
	 .vcek_sources = true, .offline_collateral = true},
	{"0.20", 20, ADMIN_TYPE, "insecure_key", "storage_backend_type", "kvstorage", STORAGE_FILES,
	 .nvidia_verifier = true, .vcek_sources = true, .offline_collateral = true, .session_storage = true},
	{"0.21 and newer", 21, ADMIN_MODE, "insecure_header_jwk", "storage_backend_type", "kvstorage", STORAGE_FILES,
	 .nvidia_verifier = true, .vcek_sources = true, .offline_collateral = true, .session_storage = true,
	 .tls_profiles = true, .healthz = true},
};

const struct trustee_dialect *trustee_dialect_of(int major, int minor)
{
	const struct trustee_dialect *found = NULL;
	for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
		if (major > 0 || minor >= dialects[i].from_minor)
			found = &dialects[i];
	return found;
}

// "vMAJOR.MINOR" or "MAJOR.MINOR" at p, which ends the tag or goes on with '.' or '-'.
static bool read_version(const char *p, int *ret_major, int *ret_minor)
{
	char *end = NULL;
	p += *p == 'v';
	if (!isdigit((unsigned char)*p))
		return false;
	long major = strtol(p, &end, 10);
	if (*end != '.' || !isdigit((unsigned char)end[1]))
		return false;
	long minor = strtol(end + 1, &end, 10);
	if (major > 1000 || minor > 1000 || (*end != '\0' && *end != '.' && *end != '-'))
		return false;
	*ret_major = (int)major;
	*ret_minor = (int)minor;
	return true;
}

bool trustee_version_of_image(const char *image, int *ret_major, int *ret_minor)
{
	const char *name = strrchr(image, '/');
	const char *tag = strchr(name != NULL ? name : image, ':');
	if (tag == NULL || strchr(tag, '@') != NULL)
		return false;
	for (const char *p = tag + 1; p != NULL; p = strchr(p, '-'), p += p != NULL)
		if (read_version(p, ret_major, ret_minor))
			return true;
	return false;
}

const struct trustee_dialect *trustee_dialect_for(const struct trustee_hosting *h, const char *default_image)
{
	int major = 0;
	int minor = TRUSTEE_VERSION_MINOR;
	if (h->trustee_version != NULL)
		return trustee_dialect_of(h->version_major, h->version_minor);
	(void)trustee_version_of_image(h->image != NULL ? h->image : default_image, &major, &minor);
	return trustee_dialect_of(major, minor);
}
