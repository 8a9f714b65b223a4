#include "common/secret_text.h"

#include "common/encode.h"
#include "common/secret.h"

bool secret_text_read(const json_t *secret, const char *key, struct secret_text *ret)
{
	struct error err;
	*ret = (struct secret_text){0};
	// A file's may have it in plain; the API server hands out data alone.
	const json_t *plain = json_object_get(json_object_get(secret, "stringData"), key);
	const json_t *coded = json_object_get(json_object_get(secret, "data"), key);
	const json_t *value = json_is_string(plain) ? plain : coded;
	if (!json_is_string(value))
		return true;
	struct str text = {json_string_value(value), json_string_length(value)};
	ret->text = secret_buf(text.n);
	ret->there = true;
	if (value == plain)
		buf_add_str(&ret->text, text);
	return value == plain || base64_decode(text, &ret->text, &err) == 0;
}

void secret_text_release(struct secret_text *t)
{
	secret_buf_release(&t->text);
	t->there = false;
}
