// A sealed secret, a NUL byte, a key: no crash. What is taken without a look at its signature can be written and read
// again as the same payload; what was signed by nobody is never taken for signed.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/jws.h"
#include "common/sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// Whose private half nobody has, and which signed nothing of the corpus.
static const char public_key[] =
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"EZBmR-tVO0x0nRc4knpjLc-bzbrezvdxk7_J-Ous39g\","
	"\"y\":\"E0t2xnfBlwqK0PB4mt2yHYKIzndrE78z__lXrOuQECI\"}";

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s\n", what);
	abort();
}

static void check_failure(int rc, const struct error *err)
{
	must(rc == -err->code && err->msg[0] != '\0', "an error without a reason");
	must(err->code == EINVAL || err->code == EFBIG || err->code == EBADMSG || err->code == EIO, "another error");
}

static void check_round_trip(const json_t *payload)
{
	struct error err;
	CLEANUP_BUF struct buf text = BUF_INIT(SEALED_TEXT_MAX);
	CLEANUP_SEALED struct sealed again = {0};
	CLEANUP_FINDINGS struct findings f = {0};
	sealed_check(payload, &f);
	for (size_t i = 0; i < f.n; i++)
		must(f.v[i].where[0] != '\0' && f.v[i].what[0] != '\0', "a finding without words");
	if (sealed_write(payload, NULL, NULL, &text, &err) < 0)
		return;
	must(sealed_read(buf_str(&text), NULL, &again, &err) == 0, "can't be read again");
	must(json_equal(payload, again.payload), "read again as something else");
}

static void check_signed(struct str text, struct str key_text)
{
	struct error err;
	CLEANUP_ES256_KEY struct es256_key *known = es256_key_read(str_from(public_key), ES256_PUBLIC, &err);
	must(known != NULL, "the key");
	CLEANUP_SEALED struct sealed s = {0};
	int rc = sealed_read(text, known, &s, &err);
	must(rc < 0, "taken for signed");
	check_failure(rc, &err);
	// A key of the input may have signed it.
	CLEANUP_ES256_KEY struct es256_key *key = es256_key_read(key_text, ES256_PUBLIC, &err);
	CLEANUP_SEALED struct sealed own = {0};
	if (key == NULL)
		return;
	rc = sealed_read(text, key, &own, &err);
	if (rc < 0)
		check_failure(rc, &err);
	else
		must(own.kid != NULL && json_is_object(own.payload), "signed, without kid or payload");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *z = n > 0 ? memchr(data, '\0', n) : NULL;
	const struct str text = {(const char *)data, z != NULL ? (size_t)(z - (const char *)data) : n};
	const struct str key = {z != NULL ? z + 1 : "", z != NULL ? n - text.n - 1 : 0};
	struct error err;
	CLEANUP_SEALED struct sealed s = {0};
	int rc = sealed_read(text, NULL, &s, &err);
	if (rc < 0)
		check_failure(rc, &err);
	else
		check_round_trip(s.payload);
	check_signed(text, key);
	return 0;
}
