#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube_name.h"
#include "common/quantity.h"
#include "common/trustee_check.h"

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define PATH_ROOM 512
#define HOST_MAX 253

int check_optional_name(const char **name, const char *path, const char *kind, struct error *err)
{
	if (*name != NULL && (*name)[0] == '\0')
		*name = NULL;
	return check_object_name(*name, path, kind, err);
}

int check_secret_names(const json_t *list, const char *path, struct error *err)
{
	size_t n = json_array_size(list);
	if (n > KBS_SECRETS_MAX)
		return error_set(err, EINVAL, "%s has %zu names; it may have %zu", path, n, (size_t)KBS_SECRETS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(list, i));
		char at[PATH_ROOM];
		(void)snprintf(at, sizeof(at), "%s[%zu]", path, i);
		int rc = check_object_name(name, at, "Secret", err);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++)
			if (strcmp(name, json_string_value(json_array_get(list, j))) == 0)
				return error_set(err, EINVAL, "%s is \"%s\", as is %s[%zu]; remove one of them", at, name, path, j);
	}
	return 0;
}

int check_replicas(int64_t replicas, const char *path, struct error *err)
{
	if (replicas >= 0 && replicas <= INT32_MAX)
		return 0;
	return error_set(err, EINVAL, "%s is %lld; it must be from 0 to %d", path, (long long)replicas, INT32_MAX);
}

// ---- Addresses

static int check_instance(struct trustee_hosting *h, struct error *err)
{
	const char *name = h->instance_name;
	if (name != NULL && name[0] == '\0')
		h->instance_name = name = NULL;
	bool good = name == NULL || (is_dns_label(name) && strchr(DIGITS, name[0]) == NULL);
	if (good && (name == NULL || strlen(name) <= INSTANCE_NAME_MAX))
		return 0;
	return error_set(
		err, EINVAL,
		"spec.instanceName is \"%s\"; it becomes the beginning of a Service's name: at most %d of a-z, 0-9 "
		"and '-', the first a letter, the last no '-'",
		name, INSTANCE_NAME_MAX);
}

// In upstream's schema any text will do, and "" is the default.
static int check_service_type(struct trustee_hosting *h, struct error *err)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
	if (h->service_type[0] == '\0')
		h->service_type = types[0];
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], h->service_type) == 0)
			return 0;
	return error_set(err, EINVAL, "spec.kbsServiceType is \"%s\"; it must be one of ClusterIP, NodePort, LoadBalancer",
					 h->service_type);
}

static bool is_host_name(const char *host)
{
	return strlen(host) <= HOST_MAX && is_subdomain(host);
}

// "" is unset.
static void unset_empty(const char **text)
{
	if (*text != NULL && (*text)[0] == '\0')
		*text = NULL;
}

static int check_gateway(struct trustee_hosting *h, struct error *err)
{
	const char *type = trustee_exposure_names[h->exposure.type];
	bool needs = h->exposure.type == EXPOSE_TLS_ROUTE;
	if (needs && !h->exposure.gateway.given)
		return error_set(err, EINVAL,
						 "spec.exposure.type is TLSRoute, but spec.exposure.gatewayRef is missing; set its name to the "
						 "Gateway with a listener of protocol TLS and mode Passthrough");
	if (!needs && h->exposure.gateway.given)
		return error_set(err, EINVAL,
						 "spec.exposure.gatewayRef is set, but spec.exposure.type is %s; set type to TLSRoute, or drop "
						 "gatewayRef",
						 type);
	if (!needs)
		return 0;
	unset_empty(&h->exposure.gateway.ns);
	unset_empty(&h->exposure.gateway.section);
	const char *ns = h->exposure.gateway.ns;
	const char *section = h->exposure.gateway.section;
	if (!is_subdomain(h->exposure.gateway.name) || (ns != NULL && !is_dns_label(ns)) ||
		(section != NULL && !is_subdomain(section)))
		return error_set(err, EINVAL,
						 "spec.exposure.gatewayRef is \"%s\" of namespace \"%s\", sectionName \"%s\"; it must be the "
						 "name of a Gateway, of its namespace where that is another, and of a listener where only that "
						 "one will do",
						 h->exposure.gateway.name != NULL ? h->exposure.gateway.name : "", ns != NULL ? ns : "",
						 section != NULL ? section : "");
	return 0;
}

static int check_ingress_class(struct trustee_hosting *h, struct error *err)
{
	unset_empty(&h->exposure.ingress_class);
	const char *class = h->exposure.ingress_class;
	if (class == NULL)
		return 0;
	if (h->exposure.type != EXPOSE_INGRESS)
		return error_set(err, EINVAL,
						 "spec.exposure.ingressClassName is \"%s\", but spec.exposure.type is %s; set type to Ingress, "
						 "or drop ingressClassName",
						 class, trustee_exposure_names[h->exposure.type]);
	return is_subdomain(class)
			   ? 0
			   : error_set(err, EINVAL,
						   "spec.exposure.ingressClassName is \"%s\"; it must be the name of an IngressClass", class);
}

static int check_exposure(struct trustee_hosting *h, struct error *err)
{
	unset_empty(&h->exposure.host);
	const char *host = h->exposure.host;
	if (host != NULL && !is_host_name(host))
		return error_set(err, EINVAL,
						 "spec.exposure.host is \"%s\"; it must be a host's name such as kbs.example.com, without port "
						 "or path, in lower case",
						 host);
	bool needs_host = h->exposure.type == EXPOSE_INGRESS || h->exposure.type == EXPOSE_TLS_ROUTE;
	if (host == NULL && needs_host)
		return error_set(err, EINVAL,
						 "spec.exposure.type is %s, but spec.exposure.host is missing; set it to the host's name that "
						 "guests use, such as kbs.example.com",
						 trustee_exposure_names[h->exposure.type]);
	int rc = check_gateway(h, err);
	return rc < 0 ? rc : check_ingress_class(h, err);
}

// ---- What it keeps elsewhere

static bool is_mount_path(const char *path)
{
	size_t n = strlen(path);
	return n > 0 && strspn(path, LETTERS DIGITS "-_./") == n && path[0] != '/' && path[n - 1] != '/' &&
		   strstr(path, "//") == NULL && strstr(path, "..") == NULL;
}

static int check_secret_ref(const struct object_key_ref *ref, const char *path, struct error *err)
{
	int rc = check_key_ref(ref, path, err);
	char at[PATH_ROOM];
	(void)snprintf(at, sizeof(at), "%s.name", path);
	return rc < 0 || !ref->given ? rc : check_object_name(ref->name, at, "Secret", err);
}

static int check_vault(const struct trustee_hosting *h, struct error *err)
{
	if (!h->vault_given)
		return 0;
	const char *address = h->vault.address;
	if (address == NULL)
		return error_set(err, EINVAL, "spec.vault.address is missing; set it to https://HOST:PORT of Vault");
	int rc = check_url(address, "spec.vault.address", err);
	if (rc < 0)
		return rc;
	if (!is_mount_path(h->vault.mount_path))
		return error_set(err, EINVAL,
						 "spec.vault.mountPath is \"%s\"; it must be where the KV v1 engine is mounted, such as secret "
						 "or team-a/kv, without slashes at its ends",
						 h->vault.mount_path);
	if (!h->vault.token.given)
		return error_set(
			err, EINVAL,
			"spec.vault.tokenSecretRef is missing; set name and key of the Secret that holds Vault's token");
	if (h->vault.ca.given && !is_https(address))
		return error_set(err, EINVAL,
						 "spec.vault.caSecretRef is set, but spec.vault.address \"%s\" is plain http; write https or "
						 "drop it",
						 address);
	rc = check_secret_ref(&h->vault.token, "spec.vault.tokenSecretRef", err);
	return rc < 0 ? rc : check_secret_ref(&h->vault.ca, "spec.vault.caSecretRef", err);
}

static int check_sessions(const struct trustee_hosting *h, struct error *err)
{
	const char *type = session_storage_names[h->sessions.type];
	bool needs = h->sessions.type != SESSIONS_MEMORY;
	if (needs && !h->sessions.url.given)
		return error_set(
			err, EINVAL,
			"spec.sessionStorage.type is %s, but spec.sessionStorage.secretRef is missing; set name and key "
			"of the Secret that holds its URL",
			type);
	if (!needs && h->sessions.url.given)
		return error_set(
			err, EINVAL,
			"spec.sessionStorage.secretRef is set, but spec.sessionStorage.type is Memory; set type to Redis "
			"or Postgres, or drop secretRef");
	return check_secret_ref(&h->sessions.url, "spec.sessionStorage.secretRef", err);
}

// ---- Image policy

bool is_resource_segment(const char *text, size_t n)
{
	return n > 0 && text[0] != '.' && strspn(text, LETTERS DIGITS "-_.") >= n;
}

static int check_policy_text(const char *text, struct error *err)
{
	json_error_t why;
	json_t *policy = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	bool good = json_is_array(json_object_get(policy, "default"));
	bool read = policy != NULL;
	json_decref(policy);
	if (good)
		return 0;
	return error_set(err, EINVAL,
					 "spec.imagePolicy.securityPolicy is not a policy for images (%s%s); write JSON such as "
					 "{\"default\": [{\"type\": \"reject\"}], \"transports\": {}}",
					 read ? "it has no list \"default\"" : "not JSON: ", read ? "" : why.text);
}

static int check_image_policy(const struct trustee_hosting *h, struct error *err)
{
	if (!h->image_policy_given)
		return 0;
	const char *name = h->image_policy.name;
	bool text = h->image_policy.text != NULL;
	bool ref = h->image_policy.config_map.given;
	if (text == ref)
		return error_set(err, EINVAL,
						 "spec.imagePolicy needs exactly one of securityPolicy and configMapKeyRef; it has %s",
						 text ? "both" : "none");
	if (!is_resource_segment(name, strlen(name)))
		return error_set(err, EINVAL,
						 "spec.imagePolicy.name is \"%s\"; it ends the path default/security-policy/NAME: letters, "
						 "digits, '-', '_' and '.', the first no '.'",
						 name);
	// The KBS serves resources from one place.
	if (h->vault_given)
		return error_set(
			err, EINVAL,
			"spec.imagePolicy and spec.vault exclude each other, as the KBS reads all resources from Vault "
			"then; write the policy to Vault as default/security-policy/%s and drop spec.imagePolicy",
			name);
	int rc = text ? check_policy_text(h->image_policy.text, err) : 0;
	if (rc == 0)
		rc = check_key_ref(&h->image_policy.config_map, "spec.imagePolicy.configMapKeyRef", err);
	return rc < 0 || !ref ? rc
						  : check_object_name(h->image_policy.config_map.name, "spec.imagePolicy.configMapKeyRef.name",
											  "ConfigMap", err);
}

// ---- Pods

static int check_amounts(const json_t *amounts, const char *path, struct error *err)
{
	if (amounts != NULL && !json_is_object(amounts))
		return error_set(err, EINVAL, "%s must be an object, such as {cpu: 500m, memory: 512Mi}", path);
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)amounts, name, v) {
		char room[DECODE_NUMBER_MAX];
		int64_t milli = 0;
		const char *text = decode_quantity_text(v, room);
		if (text == NULL)
			return error_set(err, EINVAL, "%s.%s must be a quantity such as 500m or 512Mi", path, name);
		if (quantity_parse_milli(str_from(text), &milli, err) < 0)
			return error_prefix(err, "%s.%s", path, name);
		if (milli < 0)
			return error_set(err, EINVAL, "%s.%s is \"%s\"; it must not be below zero", path, name, text);
	}
	return 0;
}

// Of a quantity that was checked.
static int64_t milli_of(const json_t *v)
{
	char room[DECODE_NUMBER_MAX];
	struct error err;
	int64_t milli = 0;
	return quantity_parse_milli(str_from(decode_quantity_text(v, room)), &milli, &err) == 0 ? milli : 0;
}

static int check_resources(const struct trustee_hosting *h, struct error *err)
{
	int rc = check_amounts(h->resources.requests, "spec.resources.requests", err);
	if (rc == 0)
		rc = check_amounts(h->resources.limits, "spec.resources.limits", err);
	if (rc < 0)
		return rc;
	const char *name;
	json_t *request;
	json_object_foreach ((json_t *)(uintptr_t)h->resources.requests, name, request) {
		const json_t *limit = json_object_get(h->resources.limits, name);
		if (limit != NULL && milli_of(request) > milli_of(limit))
			return error_set(
				err, EINVAL,
				"spec.resources.requests.%s is above spec.resources.limits.%s; raise the limit or lower the "
				"request",
				name, name);
	}
	return 0;
}

static int check_pull_secrets(const struct trustee_hosting *h, struct error *err)
{
	for (size_t i = 0; i < h->npull_secrets; i++) {
		char at[PATH_ROOM];
		(void)snprintf(at, sizeof(at), "spec.imagePullSecrets[%zu].name", i);
		if (h->pull_secrets[i].name == NULL)
			return error_set(err, EINVAL, "%s is missing; set it to the name of a Secret", at);
		int rc = check_object_name(h->pull_secrets[i].name, at, "Secret", err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_image(struct trustee_hosting *h, struct error *err)
{
	const char *image = h->image;
	if (image != NULL && image[0] == '\0')
		h->image = image = NULL;
	if (image == NULL ||
		(strspn(image, LETTERS DIGITS "._:/@+-") == strlen(image) && strchr(LETTERS DIGITS, image[0]) != NULL))
		return 0;
	return error_set(err, EINVAL,
					 "spec.image is \"%s\"; it must be an image such as registry.example.com/kbs:v0.21.0 or "
					 "registry.example.com/kbs@sha256:DIGEST",
					 image);
}

// "0.21", "v0.21.0"
static int check_version(struct trustee_hosting *h, struct error *err)
{
	const char *text = h->trustee_version;
	if (text != NULL && text[0] == '\0')
		h->trustee_version = text = NULL;
	if (text == NULL)
		return 0;
	unsigned major = 0;
	unsigned minor = 0;
	int n = 0;
	const char *p = text[0] == 'v' ? text + 1 : text;
	bool good = p[0] >= '0' && p[0] <= '9' && sscanf(p, "%3u.%3u%n", &major, &minor, &n) == 2 &&
				p[strspn(p, DIGITS)] == '.' && p[strspn(p, DIGITS) + 1] >= '0' && p[strspn(p, DIGITS) + 1] <= '9';
	if (good && p[n] == '.')
		good = strspn(p + n + 1, DIGITS) == strlen(p + n + 1) && p[n + 1] != '\0';
	else if (good)
		good = p[n] == '\0';
	if (!good)
		return error_set(err, EINVAL, "spec.trusteeVersion is \"%s\"; it must be a release of Trustee such as \"0.21\"",
						 text);
	if (major == 0 && minor < TRUSTEE_OLDEST_MINOR)
		return error_set(err, EINVAL,
						 "spec.trusteeVersion is \"%s\"; releases before 0.%d are not supported: take a newer image",
						 text, TRUSTEE_OLDEST_MINOR);
	h->version_major = (int)major;
	h->version_minor = (int)minor;
	return 0;
}

int hosting_check(struct trustee_hosting *h, struct error *err)
{
	int rc = check_instance(h, err);
	if (rc == 0)
		rc = check_service_type(h, err);
	if (rc == 0)
		rc = check_exposure(h, err);
	if (rc == 0)
		rc = check_vault(h, err);
	if (rc == 0)
		rc = check_sessions(h, err);
	if (rc == 0)
		rc = check_image_policy(h, err);
	if (rc == 0)
		rc = check_resources(h, err);
	if (rc == 0)
		rc = check_pull_secrets(h, err);
	if (rc == 0)
		rc = check_image(h, err);
	return rc < 0 ? rc : check_version(h, err);
}
