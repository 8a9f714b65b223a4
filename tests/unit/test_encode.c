#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/encode.h"

// From the repository's root. Made by other tools than ours: see result.json there.
#define VECTORS "tests/data/vectors/initdata/"
#define OUT_MAX ((size_t)16 * 1024 * 1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void load(const char *path, struct buf *to)
{
	CLEANUP_FCLOSE FILE *f = fopen(path, "rb");
	char chunk[4096];
	if (f == NULL)
		fail_msg("%s: not there: run the test in the repository's root", path);
	for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;)
		buf_add(to, chunk, n);
}

static void assert_bytes(const struct buf *got, struct str want)
{
	assert_int_equal(got->n, want.n);
	assert_memory_equal(buf_z(got), want.p, want.n);
}

// ---- Base64: RFC 4648 section 10, and what is not canonical ----

struct base64_case {
	const char *name;
	struct str data;
	const char *text;
	const char *error; // NULL: text decodes to data, which encodes to text
};

static struct base64_case base64_cases[] = {
	{"base64: empty", {"", 0}, "", NULL},
	{"base64: f", {"f", 1}, "Zg==", NULL},
	{"base64: fo", {"fo", 2}, "Zm8=", NULL},
	{"base64: foo", {"foo", 3}, "Zm9v", NULL},
	{"base64: foob", {"foob", 4}, "Zm9vYg==", NULL},
	{"base64: fooba", {"fooba", 5}, "Zm9vYmE=", NULL},
	{"base64: foobar", {"foobar", 6}, "Zm9vYmFy", NULL},
	{"base64: all bits", {"\xFF\xFE\xFB\xEF\xBE\x00\x10", 7}, "//77774AEA==", NULL},
	{"base64: no padding", {NULL, 0}, "Zg", "base64: 2 characters, expected a multiple of 4"},
	{"base64: one character", {NULL, 0}, "Zm9vY", "base64: 5 characters, expected a multiple of 4"},
	{"base64: only padding", {NULL, 0}, "====", "base64: byte 1 is not in the standard alphabet"},
	{"base64: three of padding", {NULL, 0}, "Z===", "base64: byte 2 is not in the standard alphabet"},
	{"base64: padding inside", {NULL, 0}, "Zg==Zm9v", "base64: byte 3 is not in the standard alphabet"},
	{"base64: trailing bits, one of padding", {NULL, 0}, "Zm9=", "base64: the last character has bits beyond the data"},
	{"base64: trailing bits, two of padding", {NULL, 0}, "Zh==", "base64: the last character has bits beyond the data"},
	{"base64: newline", {NULL, 0}, "Zm9v\nZm9", "base64: byte 5 is not in the standard alphabet"},
	{"base64: newline at the end", {NULL, 0}, "Zm9v\n", "base64: 5 characters, expected a multiple of 4"},
	{"base64: space", {NULL, 0}, " Zm9vZg=", "base64: byte 1 is not in the standard alphabet"},
	{"base64: URL alphabet", {NULL, 0}, "-_-_", "base64: byte 1 is not in the standard alphabet"},
	{"base64: high byte", {NULL, 0}, "Zm9\xC3", "base64: byte 4 is not in the standard alphabet"},
};

static void test_base64(void **state)
{
	const struct base64_case *c = *state;
	CLEANUP_BUF struct buf bytes = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	struct error err = {0};
	int rc = base64_decode(str_from(c->text), &bytes, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	if (rc < 0)
		return;
	assert_bytes(&bytes, c->data);
	base64_encode(c->data, &text);
	assert_string_equal(buf_z(&text), c->text);
}

// Every length up to a few groups, and one beyond the slices that OpenSSL gets.
static void test_base64_round_trip(void **state)
{
	(void)state;
	static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 256, 257, 3145727, 3145728, 3145729, 6291457};
	CLEANUP_FREE char *data = malloc(6291457);
	assert_non_null(data);
	for (size_t i = 0; i < 6291457; i++)
		data[i] = (char)(i * 2654435761U >> 13);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
		CLEANUP_BUF struct buf bytes = BUF_INIT(OUT_MAX);
		struct error err = {0};
		base64_encode((struct str){data, lengths[i]}, &text);
		assert_int_equal(text.n, (lengths[i] + 2) / 3 * 4);
		assert_int_equal(base64_decode(buf_str(&text), &bytes, &err), 0);
		assert_bytes(&bytes, (struct str){data, lengths[i]});
	}
}

static struct base64_case base64url_cases[] = {
	{"base64url: empty", {"", 0}, "", NULL},
	{"base64url: f", {"f", 1}, "Zg", NULL},
	{"base64url: fo", {"fo", 2}, "Zm8", NULL},
	{"base64url: foo", {"foo", 3}, "Zm9v", NULL},
	{"base64url: all bits", {"\xFF\xFE\xFB\xEF\xBE\x00\x10", 7}, "__77774AEA", NULL},
	{"base64url: both odd characters", {"\xFB\xEF\xFF", 3}, "--__", NULL},
	{"base64url: one character", {NULL, 0}, "Z", "base64url: 1 characters can't be; some are missing"},
	{"base64url: five characters", {NULL, 0}, "Zm9vY", "base64url: 5 characters can't be; some are missing"},
	{"base64url: padding", {NULL, 0}, "Zg==", "base64url: byte 3 is not in the URL alphabet"},
	{"base64url: standard alphabet", {NULL, 0}, "ab+/", "base64url: byte 3 is not in the URL alphabet"},
	{"base64url: newline", {NULL, 0}, "Zm9v\nZm", "base64url: byte 5 is not in the URL alphabet"},
	{"base64url: trailing bits, two characters",
	 {NULL, 0},
	 "Zh",
	 "base64url: the last character has bits beyond the data"},
	{"base64url: trailing bits, three characters",
	 {NULL, 0},
	 "Zm9",
	 "base64url: the last character has bits beyond the data"},
};

static void test_base64url(void **state)
{
	const struct base64_case *c = *state;
	CLEANUP_BUF struct buf bytes = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	struct error err = {0};
	int rc = base64url_decode(str_from(c->text), &bytes, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	if (rc < 0)
		return;
	assert_bytes(&bytes, c->data);
	buf_addz(&text, "/+=");
	base64url_encode(c->data, &text);
	assert_memory_equal(buf_z(&text), "/+=", 3);
	assert_string_equal(buf_z(&text) + 3, c->text);
}

static void test_base64_max(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(3);
	struct error err = {0};
	base64_encode(STR("a"), &out);
	assert_false(buf_ok(&out));
	buf_clear(&out);
	assert_int_equal(base64_decode(STR("Zm9v"), &out, &err), 0);
	assert_int_equal(base64_decode(STR("Zg=="), &out, &err), -EFBIG);
	assert_string_equal(err.msg, "base64: more than 3 bytes");
}

// ---- gzip ----

static void test_gzip_vector(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf toml = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf gz = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf packed = BUF_INIT(OUT_MAX);
	struct error err = {0};
	load(VECTORS "initdata.toml", &toml);
	load(VECTORS "initdata.toml.gz", &gz);
	assert_int_equal(gzip_pack(buf_str(&toml), &packed, &err), 0);
	assert_bytes(&packed, buf_str(&gz));
}

static void test_annotation_vector(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf toml = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf packed = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf unpacked = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf again = BUF_INIT(OUT_MAX);
	struct error err = {0};
	load(VECTORS "initdata.toml", &toml);
	load(VECTORS "annotation.txt", &text);
	assert_int_equal(base64_decode(buf_str(&text), &packed, &err), 0);
	assert_int_equal(gzip_unpack(buf_str(&packed), &unpacked, &err), 0);
	assert_bytes(&unpacked, buf_str(&toml));
	base64_encode(buf_str(&packed), &again);
	assert_bytes(&again, buf_str(&text));
}

#define GZIP_HEADER "\x1F\x8B\x08\x00\x00\x00\x00\x00\x02\xFF"
#define GZIP_EMPTY GZIP_HEADER "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"

struct gzip_case {
	const char *name;
	struct str packed;
	const char *error;
};

static struct gzip_case gzip_cases[] = {
	{"gzip: empty member", {GZIP_EMPTY, sizeof(GZIP_EMPTY) - 1}, NULL},
	{"gzip: no bytes", {"", 0}, "gzip: the data ends too early"},
	{"gzip: header only", {GZIP_HEADER, sizeof(GZIP_HEADER) - 1}, "gzip: the data ends too early"},
	{"gzip: cut off", {GZIP_EMPTY, sizeof(GZIP_EMPTY) - 2}, "gzip: the data ends too early"},
	{"gzip: two members",
	 {GZIP_EMPTY GZIP_EMPTY, 2 * (sizeof(GZIP_EMPTY) - 1)},
	 "gzip: 20 bytes follow the end of the data"},
	{"gzip: a byte more", {GZIP_EMPTY "\n", sizeof(GZIP_EMPTY)}, "gzip: 1 bytes follow the end of the data"},
	{"gzip: zlib's format", {"\x78\x9C\x03\x00\x00\x00\x00\x01", 8}, "gzip: incorrect header check"},
	{"gzip: plain text", {"version = 1", 11}, "gzip: incorrect header check"},
	{"gzip: bad checksum", {GZIP_HEADER "\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00", 20}, "gzip: incorrect data check"},
	{"gzip: bad length", {GZIP_HEADER "\x03\x00\x00\x00\x00\x00\x01\x00\x00\x00", 20}, "gzip: incorrect length check"},
	{"gzip: bad block", {GZIP_HEADER "\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20}, "gzip: invalid block type"},
};

static void test_gunzip(void **state)
{
	const struct gzip_case *c = *state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	int rc = gzip_unpack(c->packed, &out, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
}

static void test_gzip_header(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
	struct error err = {0};
	assert_int_equal(gzip_pack((struct str){NULL, 0}, &out, &err), 0);
	assert_bytes(&out, (struct str){GZIP_EMPTY, sizeof(GZIP_EMPTY) - 1});
}

// Zeros pack a thousandfold: what bounds the output is the buffer, not the input.
static void test_gzip_bomb(void **state)
{
	(void)state;
	CLEANUP_FREE char *zeros = calloc(8 * 1024 * 1024, 1);
	CLEANUP_BUF struct buf packed = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf small = BUF_INIT(8 * 1024 * 1024 - 1);
	CLEANUP_BUF struct buf fits = BUF_INIT(8 * 1024 * 1024);
	struct error err = {0};
	assert_int_equal(gzip_pack((struct str){zeros, 8 * 1024 * 1024}, &packed, &err), 0);
	assert_true(packed.n < 10000);
	assert_int_equal(gzip_unpack(buf_str(&packed), &small, &err), -EFBIG);
	assert_string_equal(err.msg, "gzip: more than 8388607 bytes when unpacked");
	assert_int_equal(gzip_unpack(buf_str(&packed), &fits, &err), 0);
	assert_int_equal(fits.n, 8 * 1024 * 1024);
}

static void test_gzip_max(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(10);
	struct error err = {0};
	assert_int_equal(gzip_pack(STR("a"), &out, &err), -EFBIG);
	assert_string_equal(err.msg, "gzip: more than 10 bytes when packed");
}

// ---- Digests ----

static void check_digest(const char *algorithm, struct str data, const char *hex)
{
	CLEANUP_BUF struct buf got = BUF_INIT(2 * DIGEST_MAX);
	struct digest digest;
	struct error err = {0};
	assert_int_equal(digest_of(str_from(algorithm), data, &digest, &err), 0);
	hex_encode(digest.v, digest.n, &got);
	assert_string_equal(buf_z(&got), hex);
}

struct digest_case {
	const char *name;
	const char *algorithm;
	const char *text;
	const char *hex;
};

// FIPS 180-4's examples.
static struct digest_case digest_cases[] = {
	{"digest: sha256 of nothing", "sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"digest: sha256", "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"digest: sha384", "sha384", "abc",
	 "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
	{"digest: sha512", "sha512", "abc",
	 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
};

static void test_digest(void **state)
{
	const struct digest_case *c = *state;
	check_digest(c->algorithm, str_from(c->text), c->hex);
}

static void test_digest_vectors(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf toml = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	load(VECTORS "initdata.toml", &toml);
	load(VECTORS "result.json", &text);
	json_auto_t *result = json_loads(buf_z(&text), 0, NULL);
	const char *name;
	json_t *hex;
	assert_int_equal(json_object_size(json_object_get(result, "all_algs")), 3);
	json_object_foreach (json_object_get(result, "all_algs"), name, hex) {
		check_digest(name, buf_str(&toml), json_string_value(hex));
	}
}

static void test_digest_unknown(void **state)
{
	(void)state;
	static const char *const names[] = {"", "md5", "SHA256", "sha256 "};
	for (size_t i = 0; i < COUNT(names); i++) {
		struct digest digest;
		struct error err = {0};
		char want[128];
		(void)snprintf(want, sizeof(want), "digest algorithm \"%s\" is unknown: use sha256, sha384 or sha512",
					   names[i]);
		assert_int_equal(digest_of(str_from(names[i]), STR("a"), &digest, &err), -EINVAL);
		assert_string_equal(err.msg, want);
	}
}

static void test_hex(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf out = BUF_INIT(8);
	hex_encode("\x00\x7F\xFF", 3, &out);
	assert_string_equal(buf_z(&out), "007fff");
	hex_encode("ab", 2, &out);
	assert_false(buf_ok(&out));
}

int main(void)
{
	struct CMUnitTest
		tests[COUNT(base64_cases) + COUNT(base64url_cases) + COUNT(gzip_cases) + COUNT(digest_cases) + 10] = {
			cmocka_unit_test(test_base64_round_trip), cmocka_unit_test(test_base64_max),
			cmocka_unit_test(test_gzip_vector),       cmocka_unit_test(test_annotation_vector),
			cmocka_unit_test(test_gzip_header),       cmocka_unit_test(test_gzip_bomb),
			cmocka_unit_test(test_gzip_max),          cmocka_unit_test(test_digest_vectors),
			cmocka_unit_test(test_digest_unknown),    cmocka_unit_test(test_hex),
		};
	size_t n = 10;
	for (size_t i = 0; i < COUNT(base64_cases); i++)
		tests[n++] = (struct CMUnitTest){base64_cases[i].name, test_base64, NULL, NULL, &base64_cases[i]};
	for (size_t i = 0; i < COUNT(base64url_cases); i++)
		tests[n++] = (struct CMUnitTest){base64url_cases[i].name, test_base64url, NULL, NULL, &base64url_cases[i]};
	for (size_t i = 0; i < COUNT(gzip_cases); i++)
		tests[n++] = (struct CMUnitTest){gzip_cases[i].name, test_gunzip, NULL, NULL, &gzip_cases[i]};
	for (size_t i = 0; i < COUNT(digest_cases); i++)
		tests[n++] = (struct CMUnitTest){digest_cases[i].name, test_digest, NULL, NULL, &digest_cases[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
