#include "common/encode.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <zlib.h>

#include "common/cleanup.h"

#define WINDOW_GZIP (MAX_WBITS + 16) // zlib's way to say: gzip, not raw and not zlib
#define MEM_LEVEL 8                  // zlib's default; the packed bytes depend on it
#define OS_UNKNOWN 255
#define CHUNK ((size_t)16 * 1024)

// The two characters of any twelve bits: most of an answer is base64, and this is twice as fast as one at a time.
// clang-format off
#define PAIRS_OF(a) \
	a "A" a "B" a "C" a "D" a "E" a "F" a "G" a "H" a "I" a "J" a "K" a "L" a "M" a "N" a "O" a "P" \
	a "Q" a "R" a "S" a "T" a "U" a "V" a "W" a "X" a "Y" a "Z" a "a" a "b" a "c" a "d" a "e" a "f" \
	a "g" a "h" a "i" a "j" a "k" a "l" a "m" a "n" a "o" a "p" a "q" a "r" a "s" a "t" a "u" a "v" \
	a "w" a "x" a "y" a "z" a "0" a "1" a "2" a "3" a "4" a "5" a "6" a "7" a "8" a "9" a "+" a "/"
static const char pairs[64 * 64 * 2 + 1] =
	PAIRS_OF("A") PAIRS_OF("B") PAIRS_OF("C") PAIRS_OF("D") PAIRS_OF("E") PAIRS_OF("F") PAIRS_OF("G") PAIRS_OF("H")
	PAIRS_OF("I") PAIRS_OF("J") PAIRS_OF("K") PAIRS_OF("L") PAIRS_OF("M") PAIRS_OF("N") PAIRS_OF("O") PAIRS_OF("P")
	PAIRS_OF("Q") PAIRS_OF("R") PAIRS_OF("S") PAIRS_OF("T") PAIRS_OF("U") PAIRS_OF("V") PAIRS_OF("W") PAIRS_OF("X")
	PAIRS_OF("Y") PAIRS_OF("Z") PAIRS_OF("a") PAIRS_OF("b") PAIRS_OF("c") PAIRS_OF("d") PAIRS_OF("e") PAIRS_OF("f")
	PAIRS_OF("g") PAIRS_OF("h") PAIRS_OF("i") PAIRS_OF("j") PAIRS_OF("k") PAIRS_OF("l") PAIRS_OF("m") PAIRS_OF("n")
	PAIRS_OF("o") PAIRS_OF("p") PAIRS_OF("q") PAIRS_OF("r") PAIRS_OF("s") PAIRS_OF("t") PAIRS_OF("u") PAIRS_OF("v")
	PAIRS_OF("w") PAIRS_OF("x") PAIRS_OF("y") PAIRS_OF("z") PAIRS_OF("0") PAIRS_OF("1") PAIRS_OF("2") PAIRS_OF("3")
	PAIRS_OF("4") PAIRS_OF("5") PAIRS_OF("6") PAIRS_OF("7") PAIRS_OF("8") PAIRS_OF("9") PAIRS_OF("+") PAIRS_OF("/");
// clang-format on

static inline void put_pair(char *to, uint64_t bits)
{
	memcpy(to, &pairs[(bits & 0xFFF) * 2], 2);
}

void base64_encode(struct str data, struct buf *out)
{
	char *to = data.n <= SIZE_MAX / 2 ? buf_reserve(out, (data.n + 2) / 3 * 4) : NULL;
	if (to == NULL || data.n == 0)
		return;
	const unsigned char *from = (const unsigned char *)data.p;
	size_t left = data.n;
	// Six bytes at a time, of eight that are loaded.
	for (; left >= 8; left -= 6, from += 6, to += 8) {
		uint64_t v;
		memcpy(&v, from, sizeof(v));
		v = be64toh(v);
		put_pair(to, v >> 52);
		put_pair(to + 2, v >> 40);
		put_pair(to + 4, v >> 28);
		put_pair(to + 6, v >> 16);
	}
	while (left > 0) {
		size_t n = left < 3 ? left : 3;
		uint32_t v = (uint32_t)from[0] << 16 | (n > 1 ? (uint32_t)from[1] << 8 : 0) | (n > 2 ? from[2] : 0U);
		put_pair(to, v >> 12);
		put_pair(to + 2, v);
		memset(to + 1 + n, '=', 3 - n);
		left -= n;
		from += n;
		to += 4;
	}
	buf_commit(out, (data.n + 2) / 3 * 4);
}

// The six bits of a character, -1 when it is not in the alphabet, whose last two characters are given.
static int sextet(unsigned char c, const unsigned char last[2])
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == last[0] ? 62 : c == last[1] ? 63 : -1;
}

struct base64_kind {
	const char *name;
	const char *alphabet; // in messages
	unsigned char last[2];
};

// text without its padding, of which a length of 4n+1 can't be.
static int decode_bare(const struct base64_kind *kind, struct str text, struct buf *out, struct error *err)
{
	size_t n = text.n / 4 * 3 + (text.n % 4 > 0 ? text.n % 4 - 1 : 0);
	char *to = buf_reserve(out, n);
	if (to == NULL)
		return error_set(err, EFBIG, "%s: more than %zu bytes", kind->name, out->max);

	uint32_t bits = 0;
	size_t wrote = 0;
	for (size_t i = 0; i < text.n; i++) {
		int v = sextet((unsigned char)text.p[i], kind->last);
		if (v < 0)
			return error_set(err, EINVAL, "%s: byte %zu is not in the %s alphabet", kind->name, i + 1, kind->alphabet);
		bits = bits << 6 | (uint32_t)v;
		// After characters 2, 3 and 4 of a group one more byte is whole; 4, 2 and 0 bits stay.
		if (i % 4 != 0)
			to[wrote++] = (char)(bits >> (6 - i % 4 * 2) & 0xFF);
	}
	uint32_t rest = text.n % 4 == 2 ? 0xF : text.n % 4 == 3 ? 0x3 : 0;
	if ((bits & rest) != 0)
		return error_set(err, EINVAL, "%s: the last character has bits beyond the data", kind->name);
	if (n > 0)
		buf_commit(out, n);
	return 0;
}

// EVP_DecodeBlock skips white space and ignores trailing bits, so that many texts mean the same bytes: not here.
int base64_decode(struct str text, struct buf *out, struct error *err)
{
	static const struct base64_kind kind = {"base64", "standard", {'+', '/'}};
	if (text.n % 4 != 0)
		return error_set(err, EINVAL, "base64: %zu characters, expected a multiple of 4", text.n);
	size_t pad = 0;
	while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=')
		pad++;
	return decode_bare(&kind, (struct str){text.p, text.n - pad}, out, err);
}

void base64url_encode(struct str data, struct buf *out)
{
	size_t from = out->n;
	base64_encode(data, out);
	if (!buf_ok(out))
		return;
	while (out->n > from && out->p[out->n - 1] == '=')
		out->p[--out->n] = '\0';
	for (char *p = out->p + from; from < out->n; from++, p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

int base64url_decode(struct str text, struct buf *out, struct error *err)
{
	static const struct base64_kind kind = {"base64url", "URL", {'-', '_'}};
	if (text.n % 4 == 1)
		return error_set(err, EINVAL, "base64url: %zu characters can't be; some are missing", text.n);
	return decode_bare(&kind, text, out, err);
}

// zlib counts its input in unsigned int: hands it the next slice.
static void feed(z_stream *z, struct str *data)
{
	if (z->avail_in > 0 || data->n == 0)
		return;
	size_t n = data->n < UINT_MAX ? data->n : UINT_MAX;
	z->next_in = (z_const Bytef *)(uintptr_t)data->p; // zlib only reads it
	z->avail_in = (uInt)n;
	data->p += n;
	data->n -= n;
}

static void cleanup_deflate(z_stream *z)
{
	(void)deflateEnd(z);
}

static void cleanup_inflate(z_stream *z)
{
	(void)inflateEnd(z);
}

int gzip_pack(struct str data, struct buf *out, struct error *err)
{
	CLEANUP(cleanup_deflate) z_stream z = {0};
	gz_header header = {.os = OS_UNKNOWN};
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, WINDOW_GZIP, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK ||
		deflateSetHeader(&z, &header) != Z_OK)
		return error_set(err, ENOMEM, "gzip: zlib can't start");
	unsigned char chunk[CHUNK];
	for (int rc = Z_OK; rc != Z_STREAM_END;) {
		feed(&z, &data);
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		rc = deflate(&z, data.n == 0 ? Z_FINISH : Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END)
			return error_set(err, EIO, "gzip: zlib fails with %d", rc);
		buf_add(out, chunk, sizeof(chunk) - z.avail_out);
		if (!buf_ok(out))
			return error_set(err, EFBIG, "gzip: more than %zu bytes when packed", out->max);
	}
	return 0;
}

int gzip_unpack(struct str data, struct buf *out, struct error *err)
{
	CLEANUP(cleanup_inflate) z_stream z = {0};
	if (inflateInit2(&z, WINDOW_GZIP) != Z_OK)
		return error_set(err, ENOMEM, "gzip: zlib can't start");
	unsigned char chunk[CHUNK];
	for (int rc = Z_OK; rc != Z_STREAM_END;) {
		feed(&z, &data);
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc == Z_BUF_ERROR)
			return error_set(err, EINVAL, "gzip: the data ends too early");
		if (rc != Z_OK && rc != Z_STREAM_END)
			return error_set(err, EINVAL, "gzip: %s", z.msg != NULL ? z.msg : "not gzip data");
		buf_add(out, chunk, sizeof(chunk) - z.avail_out);
		if (!buf_ok(out))
			return error_set(err, EFBIG, "gzip: more than %zu bytes when unpacked", out->max);
	}
	if (z.avail_in > 0 || data.n > 0)
		return error_set(err, EINVAL, "gzip: %zu bytes follow the end of the data", z.avail_in + data.n);
	return 0;
}

static gnutls_digest_algorithm_t digest_find(struct str algorithm)
{
	if (str_is(algorithm, "sha256"))
		return GNUTLS_DIG_SHA256;
	if (str_is(algorithm, "sha384"))
		return GNUTLS_DIG_SHA384;
	if (str_is(algorithm, "sha512"))
		return GNUTLS_DIG_SHA512;
	return GNUTLS_DIG_UNKNOWN;
}

int digest_of(struct str algorithm, struct str data, struct digest *ret, struct error *err)
{
	gnutls_digest_algorithm_t md = digest_find(algorithm);
	if (md == GNUTLS_DIG_UNKNOWN)
		return error_set(err, EINVAL, "digest algorithm \"%.*s\" is unknown: use sha256, sha384 or sha512",
						 STR_ARG(algorithm));
	struct digest digest = {.n = gnutls_hash_get_len(md)};
	int rc = gnutls_hash_fast(md, data.p, data.n, digest.v);
	if (rc < 0)
		return error_set(err, EIO, "digest %.*s: %s", STR_ARG(algorithm), gnutls_strerror(rc));
	*ret = digest;
	return 0;
}

void hex_encode(const void *data, size_t n, struct buf *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = data;
	char *to = n <= SIZE_MAX / 2 ? buf_reserve(out, n * 2) : NULL;
	if (to == NULL)
		return;
	for (size_t i = 0; i < n; i++) {
		to[i * 2] = digits[from[i] >> 4];
		to[i * 2 + 1] = digits[from[i] & 0xF];
	}
	buf_commit(out, n * 2);
}
