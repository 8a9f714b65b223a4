#include "common/jws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/encode.h"
#include "common/json_made.h"

#define ALGORITHM "ES256"

void jws_release(struct jws *j)
{
	json_decref(j->header);
	buf_release(&j->payload);
	*j = (struct jws){0};
}

// ---- Reading

static int split(struct str text, struct str part[3], struct error *err)
{
	size_t n = 0;
	const char *from = text.p;
	const char *end = text.p + text.n;
	for (const char *p = text.p; p <= end; p++) {
		if (p < end && *p != '.')
			continue;
		if (n < 3)
			part[n] = (struct str){from, (size_t)(p - from)};
		n++;
		from = p + 1;
	}
	if (n != 3)
		return error_set(err, EINVAL, "it has %zu parts; a JWS has header.payload.signature", n);
	return 0;
}

static int check_header(const json_t *header, struct error *err)
{
	if (!json_is_object(header))
		return error_set(err, EINVAL, "header is no JSON object");
	const json_t *alg = json_object_get(header, "alg");
	if (!json_is_string(alg))
		return error_set(err, EINVAL, "header.alg is missing, or is no text; it must be " ALGORITHM);
	if (strcmp(json_string_value(alg), ALGORITHM) != 0)
		return error_set(err, EINVAL, "header.alg is \"%.100s\"; it must be " ALGORITHM, json_string_value(alg));
	if (json_object_get(header, "crit") != NULL || json_object_get(header, "b64") != NULL)
		return error_set(err, EINVAL, "header has an extension (crit, b64); sign without one");
	return 0;
}

static int read_header(struct str part, struct jws *ret, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT(JWS_HEADER_MAX);
	if (base64url_decode(part, &text, err) < 0)
		return error_prefix(err, "header");
	json_error_t why;
	ret->header = json_loadb(buf_z(&text), text.n, JSON_REJECT_DUPLICATES, &why);
	if (ret->header == NULL)
		return error_set(err, EINVAL, "header is not JSON: %s", why.text);
	return check_header(ret->header, err);
}

static int read_signature(struct str part, struct jws *ret, struct error *err)
{
	CLEANUP_BUF struct buf bytes = BUF_INIT(JWS_HEADER_MAX);
	if (base64url_decode(part, &bytes, err) < 0)
		return error_prefix(err, "signature");
	if (bytes.n != ES256_SIGNATURE_BYTES)
		return error_set(err, EINVAL, "signature has %zu bytes%s; " ALGORITHM " has r and s, 32 bytes each", bytes.n,
						 bytes.n > 2 && bytes.p[0] == 0x30 ? " in DER" : "");
	memcpy(ret->signature, bytes.p, ES256_SIGNATURE_BYTES);
	return 0;
}

int jws_read(struct str text, struct jws *ret, struct error *err)
{
	struct str part[3] = {{0}};
	if (text.n > JWS_TEXT_MAX)
		return error_set(err, EFBIG, "it has %zu bytes; at most %zu are read", text.n, JWS_TEXT_MAX);
	if (split(text, part, err) < 0 || read_header(part[0], ret, err) < 0 || read_signature(part[2], ret, err) < 0)
		return -err->code;
	ret->payload = BUF_INIT(JWS_TEXT_MAX);
	if (base64url_decode(part[1], &ret->payload, err) < 0)
		return error_prefix(err, "payload");
	ret->content = (struct str){text.p, part[0].n + 1 + part[1].n};
	return 0;
}

int jws_verify(const struct jws *j, const struct es256_key *key, struct error *err)
{
	return es256_verify(key, j->content, j->signature, err);
}

// ---- Writing

static int encode_json(const json_t *tree, struct buf *out, struct error *err)
{
	CLEANUP_FREE
	char *text = json_dumps(tree, JSON_COMPACT);
	if (text == NULL)
		return error_set(err, EINVAL, "the header can't be written as JSON");
	base64url_encode(str_from(text), out);
	return 0;
}

int jws_write(const json_t *header, struct str payload, const struct es256_key *key, struct buf *out, struct error *err)
{
	size_t from = out->n;
	unsigned char signature[ES256_SIGNATURE_BYTES];
	json_t *whole = json_made(json_pack("{s:s}", "alg", ALGORITHM));
	int rc = json_object_update_missing(whole, (json_t *)(uintptr_t)header);
	if (rc == 0)
		rc = encode_json(whole, out, err);
	json_decref(whole);
	if (rc < 0)
		return rc;
	buf_addc(out, '.');
	base64url_encode(payload, out);
	if (!buf_ok(out))
		return error_set(err, EFBIG, "the signed text has more than %zu bytes", out->max);
	rc = es256_sign(key, (struct str){out->p + from, out->n - from}, signature, err);
	if (rc < 0)
		return rc;
	buf_addc(out, '.');
	base64url_encode((struct str){(const char *)signature, sizeof(signature)}, out);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "the signed text has more than %zu bytes", out->max);
}
