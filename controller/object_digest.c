#include "controller/object_digest.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/encode.h"
#include "common/json_made.h"
#include "common/kube/resource.h"
#include "common/secret.h"

static void add_digest(struct str content, struct buf *out)
{
	struct error err;
	struct digest digest;
	if (digest_of(STR("sha256"), content, &digest, &err) < 0)
		abort();
	hex_encode(digest.v, digest.n, out);
}

// What isn't base64, which no API server lets through, counts as it is written.
static json_t *digest_of_value(const json_t *value, bool is_base64)
{
	struct str text = {json_is_string(value) ? json_string_value(value) : "", json_string_length(value)};
	CLEANUP_SECRET_BUF
	struct buf bytes = secret_buf(text.n);
	CLEANUP_BUF
	struct buf hex = BUF_INIT((size_t)2 * DIGEST_MAX);
	struct error err;
	if (is_base64 && base64_decode(text, &bytes, &err) == 0)
		text = buf_str(&bytes);
	add_digest(text, &hex);
	return json_string(buf_z(&hex));
}

static void add_digests(const json_t *values, bool is_base64, json_t *to)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)values, key, value) {
		json_put(to, key, digest_of_value(value, is_base64));
	}
}

static bool is_kind(const json_t *object, const struct kube_resource *res)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	return kind != NULL && strcmp(kind, res->kind) == 0;
}

// All but the values, sharing nothing: whoever wipes a Secret wipes all of its texts.
static json_t *copy_without_values(const json_t *object)
{
	json_t *copy = json_made(json_object());
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (strcmp(key, "data") != 0 && strcmp(key, "stringData") != 0 && strcmp(key, "binaryData") != 0)
			json_put(copy, key, json_deep_copy(value));
	}
	(void)json_object_del(json_object_get(json_object_get(copy, "metadata"), "annotations"), KUBE_LAST_APPLIED);
	return copy;
}

json_t *object_digest(const json_t *object)
{
	const bool is_secret = is_kind(object, &KUBE_SECRETS);
	if (!is_secret && !is_kind(object, &KUBE_CONFIG_MAPS))
		return json_incref((json_t *)(uintptr_t)object);
	json_t *copy = copy_without_values(object);
	const json_t *data = json_object_get(object, "data");
	const json_t *texts = json_object_get(object, "stringData");
	const json_t *bytes = json_object_get(object, "binaryData");
	if (data != NULL || texts != NULL) {
		json_t *digests = json_made(json_object());
		add_digests(data, is_secret, digests);
		add_digests(texts, /* is_base64= */ false, digests);
		json_put(copy, "data", digests);
	}
	if (bytes != NULL) {
		json_t *digests = json_made(json_object());
		add_digests(bytes, /* is_base64= */ true, digests);
		json_put(copy, "binaryData", digests);
	}
	return copy;
}

// A text that somebody else refers to as well, such as a literal's owner, isn't ours to wipe.
static void wipe(const json_t *value)
{
	if (json_is_string(value) && value->refcount == 1)
		explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static void wipe_all(const json_t *values)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)values, key, value) {
		wipe(value);
	}
}

json_t *object_digest_trim(json_t *object)
{
	json_t *digested = object_digest(object);
	if (digested != object) {
		wipe_all(json_object_get(object, "data"));
		wipe_all(json_object_get(object, "stringData"));
		wipe_all(json_object_get(object, "binaryData"));
		wipe(json_object_get(json_object_get(json_object_get(object, "metadata"), "annotations"), KUBE_LAST_APPLIED));
	}
	json_decref(object);
	return digested;
}

static void add_content(json_t *content, const json_t *values)
{
	if (json_is_object(values) && json_object_update(content, (json_t *)(uintptr_t)values) < 0)
		abort();
}

void object_digest_all(const json_t *objects, struct buf *out)
{
	json_t *all = json_made(json_object());
	const char *name;
	json_t *object;
	json_object_foreach ((json_t *)(uintptr_t)objects, name, object) {
		// A file is the same whichever of the two it comes from.
		json_t *content = json_made(json_object());
		add_content(content, json_object_get(object, "data"));
		add_content(content, json_object_get(object, "binaryData"));
		if (json_object_size(content) > 0)
			json_put(all, name, json_incref(content));
		json_decref(content);
	}
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	if (text == NULL)
		abort();
	add_digest(str_from(text), out);
	free(text);
	json_decref(all);
}
