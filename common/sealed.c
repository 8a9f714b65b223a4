#include "common/sealed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/encode.h"
#include "common/json_made.h"
#include "common/mem.h"
#include "common/trustee_check.h"

#define VERSION "0.1.0"
#define PARTS 4 // with the prefix
// What unsigned ones have always had where others have a header and a signature.
#define NO_HEADER "fakejwsheader"
#define NO_SIGNATURE "fakesignature"
#define RESOURCE_EXAMPLE "kbs:///default/app/key"
#define KID_EXAMPLE "kbs:///default/sealed-secret/public-key"

#define ERROR(f, where, ...) findings_add((f), FINDING_ERROR, (where), __VA_ARGS__)
#define WARN(f, where, ...) findings_add((f), FINDING_WARNING, (where), __VA_ARGS__)

// ---- The address of a resource

static bool is_plugin_scheme(const char *uri)
{
	return strncmp(uri, "kbs+", 4) == 0 && strstr(uri, "://") != NULL && strncmp(uri, "kbs+:", 5) != 0;
}

// REPOSITORY/TYPE/TAG
static bool is_resource(const char *path)
{
	for (int segment = 1; segment <= 3; segment++) {
		size_t n = strcspn(path, "/");
		if (!is_resource_segment(path, n) || (path[n] == '\0') != (segment == 3))
			return false;
		path += n + 1;
	}
	return true;
}

static void check_uri(const char *uri, const char *where, const char *example, struct findings *f)
{
	if (is_plugin_scheme(uri))
		return; // what follows is the plugin's to judge
	if (strncmp(uri, "kbs://", 6) != 0) {
		ERROR(f, where, "is \"%.200s\"; it must be kbs:///REPOSITORY/TYPE/TAG, such as %s", uri, example);
		return;
	}
	const char *path = strchr(uri + 6, '/');
	if (path == NULL || !is_resource(path + 1))
		ERROR(f, where,
			  "is \"%.200s\"; it must be kbs:///REPOSITORY/TYPE/TAG, each of letters, digits, \"-\", \"_\" and \".\", "
			  "such as %s",
			  uri, example);
	else if (uri[6] != '/')
		WARN(f, where,
			 "names an address, which the guest ignores: it asks the Trustee of its own initdata; write kbs://%s",
			 path);
}

void sealed_check_kid(const char *kid, struct findings *ret)
{
	if (kid[0] == '\0')
		ERROR(ret, "kid", "is empty; it must say where the guest finds the public key, such as " KID_EXAMPLE);
	else if (strncmp(kid, "kbs:", 4) == 0 || is_plugin_scheme(kid))
		check_uri(kid, "kid", KID_EXAMPLE, ret);
	else if (kid[0] == '/' || strstr(kid, "..") != NULL)
		ERROR(ret, "kid", "is \"%.200s\"; it must be a resource of the Trustee, such as " KID_EXAMPLE, kid);
	else
		WARN(
			ret, "kid",
			"is \"%.200s\", a file that the guest's image must have in /run/confidential-containers/cdh/sealed-secret; "
			"for a resource of the Trustee write it as " KID_EXAMPLE,
			kid);
}

// ---- The payload

static const char *text_of(const json_t *payload, const char *name, struct findings *f)
{
	const json_t *v = json_object_get(payload, name);
	if (v == NULL)
		ERROR(f, name, "is missing; the guest needs it");
	else if (!json_is_string(v))
		ERROR(f, name, "is no text");
	else if (json_string_length(v) == 0)
		ERROR(f, name, "is empty");
	else
		return json_string_value(v);
	return NULL;
}

static void check_exact(const json_t *payload, const char *name, const char *wanted, struct findings *f)
{
	const char *text = text_of(payload, name, f);
	if (text != NULL && strcmp(text, wanted) != 0)
		ERROR(f, name, "is \"%.100s\"; it must be %s", text, wanted);
}

static void check_map(const json_t *payload, const char *name, struct findings *f)
{
	const json_t *v = json_object_get(payload, name);
	if (!json_is_object(v))
		ERROR(f, name, "%s; it must be an object, {} for nothing", v == NULL ? "is missing" : "is no object");
}

static void check_settings(const char *provider, const json_t *settings, struct findings *f)
{
	const char *client = json_string_value(json_object_get(settings, "client_type"));
	const char *region = json_string_value(json_object_get(settings, "region"));
	if (strcasecmp(provider, "aws") == 0 && (region == NULL || region[0] == '\0'))
		ERROR(f, "provider_settings.region", "is missing; provider aws needs it, such as {\"region\": \"us-east-1\"}");
	if (strcasecmp(provider, "aliyun") == 0 &&
		(client == NULL || (strcmp(client, "client_key") != 0 && strcmp(client, "ecs_ram_role") != 0 &&
							strcmp(client, "sts_token") != 0)))
		ERROR(f, "provider_settings.client_type", "is \"%.100s\"; it must be client_key, ecs_ram_role or sts_token",
			  client != NULL ? client : "");
}

static void check_provider(const json_t *payload, const char *const *known, const char *known_text, struct findings *f)
{
	const char *provider = text_of(payload, "provider", f);
	if (provider == NULL)
		return;
	while (*known != NULL && strcasecmp(*known, provider) != 0)
		known++;
	if (*known == NULL)
		ERROR(f, "provider", "is \"%.100s\"; it must be %s", provider, known_text);
	else
		check_settings(provider, json_object_get(payload, "provider_settings"), f);
}

static void check_base64(const json_t *payload, const char *name, struct findings *f)
{
	const char *text = text_of(payload, name, f);
	CLEANUP_BUF struct buf bytes = BUF_INIT(JWS_TEXT_MAX);
	struct error why;
	if (text != NULL && base64_decode(str_from(text), &bytes, &why) < 0)
		ERROR(f, name, "is not base64: %s", why.msg);
}

static void check_unknown(const json_t *payload, const char *const *known, struct findings *f)
{
	const char *key;
	json_t *unused = NULL;
	json_object_foreach ((json_t *)(uintptr_t)payload, key, unused) {
		const char *const *k = known;
		while (*k != NULL && strcmp(*k, key) != 0)
			k++;
		if (*k == NULL)
			WARN(f, "payload", "has \"%.100s\", which the guest does not know and ignores", key);
	}
}

static void check_vault(const json_t *payload, struct findings *f)
{
	static const char *const providers[] = {"kbs", "aws", "aliyun", NULL};
	static const char *const keys[] = {"version", "type", "provider", "name", "provider_settings", "annotations", NULL};
	const char *name = text_of(payload, "name", f);
	const char *provider = json_string_value(json_object_get(payload, "provider"));
	check_provider(payload, providers, "kbs, aws or aliyun", f);
	if (name != NULL && provider != NULL && strcasecmp(provider, "kbs") == 0)
		check_uri(name, "name", RESOURCE_EXAMPLE, f);
	check_unknown(payload, keys, f);
}

static void check_envelope(const json_t *payload, struct findings *f)
{
	static const char *const providers[] = {"aws", "aliyun", "ehsm", NULL};
	static const char *const keys[] = {"version", "type",          "provider",       "provider_settings", "annotations",
									   "key_id",  "encrypted_key", "encrypted_data", "wrap_type",         "iv",
									   NULL};
	check_provider(payload, providers, "aws, aliyun or ehsm", f);
	(void)text_of(payload, "key_id", f);
	check_base64(payload, "encrypted_key", f);
	check_base64(payload, "encrypted_data", f);
	check_base64(payload, "iv", f);
	const char *wrap = text_of(payload, "wrap_type", f);
	if (wrap != NULL && strcmp(wrap, "A256GCM") != 0 && strcmp(wrap, "A256CTR") != 0)
		ERROR(f, "wrap_type", "is \"%.100s\"; it must be A256GCM", wrap);
	check_unknown(payload, keys, f);
}

void sealed_check(const json_t *payload, struct findings *ret)
{
	check_exact(payload, "version", VERSION, ret);
	check_map(payload, "provider_settings", ret);
	check_map(payload, "annotations", ret);
	const char *type = text_of(payload, "type", ret);
	if (type != NULL && strcmp(type, "vault") == 0)
		check_vault(payload, ret);
	else if (type != NULL && strcmp(type, "envelope") == 0)
		check_envelope(payload, ret);
	else if (type != NULL)
		ERROR(ret, "type", "is \"%.100s\"; it must be vault or envelope", type);
}

json_t *sealed_vault(const char *provider, const char *name, const json_t *settings, const json_t *annotations)
{
	json_t *payload = json_made(
		json_pack("{s:s, s:s, s:s, s:s}", "version", VERSION, "type", "vault", "name", name, "provider", provider));
	json_put(payload, "provider_settings", settings != NULL ? json_deep_copy(settings) : json_object());
	json_put(payload, "annotations", annotations != NULL ? json_deep_copy(annotations) : json_object());
	return payload;
}

// ---- Text

int sealed_write(const json_t *payload, const char *kid, const struct es256_key *key, struct buf *out,
				 struct error *err)
{
	CLEANUP_FREE
	char *text = json_dumps(payload, JSON_COMPACT);
	if (text == NULL)
		return error_set(err, EINVAL, "the payload can't be written as JSON");
	buf_addz(out, SEALED_PREFIX);
	if (key != NULL) {
		json_t *header = json_made(json_pack("{s:s}", "kid", kid != NULL ? kid : ""));
		int rc = jws_write(header, str_from(text), key, out, err);
		json_decref(header);
		return rc;
	}
	buf_addz(out, NO_HEADER ".");
	base64url_encode(str_from(text), out);
	buf_addz(out, "." NO_SIGNATURE);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "the sealed secret has more than %zu bytes", out->max);
}

static int read_payload(const struct buf *bytes, struct sealed *ret, struct error *err)
{
	json_error_t why;
	ret->payload = json_loadb(buf_z(bytes), bytes->n, JSON_REJECT_DUPLICATES, &why);
	if (ret->payload == NULL)
		return error_set(err, EINVAL, "payload is not JSON: %s", why.text);
	return json_is_object(ret->payload) ? 0 : error_set(err, EINVAL, "payload is no JSON object");
}

static int read_signed(struct str text, const struct es256_key *key, struct sealed *ret, struct error *err)
{
	if (str_has_prefix(text, NO_HEADER "."))
		return error_set(err, EINVAL,
						 "it is not signed, and guests refuse it unless their initdata has "
						 "skip_sealed_secret_verification; sign it, or read it with --unsigned");
	CLEANUP_JWS struct jws j = {0};
	if (jws_read(text, &j, err) < 0 || jws_verify(&j, key, err) < 0)
		return -err->code;
	const char *kid = json_string_value(json_object_get(j.header, "kid"));
	if (kid == NULL)
		return error_set(err, EINVAL,
						 "header.kid is missing, or is no text; it must say where the guest finds the public key, such "
						 "as " KID_EXAMPLE);
	ret->kid = xstrdup(kid);
	return read_payload(&j.payload, ret, err);
}

// As a guest that skips verification: of four parts, the third.
static int read_unsigned(struct str text, struct sealed *ret, struct error *err)
{
	struct str part = {text.p, 0};
	size_t parts = 2; // the prefix and what comes before the first dot
	struct str payload = {0};
	for (size_t i = 0; i <= text.n; i++) {
		if (i < text.n && text.p[i] != '.')
			continue;
		part.n = (size_t)(text.p + i - part.p);
		if (parts == 3)
			payload = part;
		part.p = text.p + i + 1;
		parts += i < text.n;
	}
	if (parts != PARTS)
		return error_set(err, EINVAL, "it has %zu parts; it must have " SEALED_PREFIX "HEADER.PAYLOAD.SIGNATURE",
						 parts);
	CLEANUP_BUF struct buf bytes = BUF_INIT(JWS_TEXT_MAX);
	if (base64url_decode(payload, &bytes, err) < 0)
		return error_prefix(err, "payload");
	return read_payload(&bytes, ret, err);
}

int sealed_read(struct str text, const struct es256_key *key, struct sealed *ret, struct error *err)
{
	if (text.n > SEALED_TEXT_MAX)
		return error_set(err, EFBIG, "it has %zu bytes; at most %zu are read", text.n, SEALED_TEXT_MAX);
	if (!str_has_prefix(text, SEALED_PREFIX))
		return error_set(err, EINVAL,
						 "it doesn't start with \"" SEALED_PREFIX "\", so the guest takes it for the secret");
	const size_t skip = strlen(SEALED_PREFIX);
	const struct str rest = {text.p + skip, text.n - skip};
	return key != NULL ? read_signed(rest, key, ret, err) : read_unsigned(rest, ret, err);
}

void sealed_release(struct sealed *s)
{
	json_decref(s->payload);
	free(s->kid);
	*s = (struct sealed){0};
}
