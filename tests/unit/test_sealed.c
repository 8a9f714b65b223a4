// Sealed secrets, JWS and ES256 keys: what is refused, and with which words. tests/cli/test_seal.py compares them with
// another implementation.
#include <errno.h>
#include <stdio.h>

#include "common/certificate_make.h"
#include "common/encode.h"
#include "common/jws.h"
#include "common/sealed.h"
#include "tests/unit/cases.h"

// Of a key that nobody has.
#define X "fYaNSEH42izqi1liMNseDyQ3POXr8mT2BmYlaRNPrcw"
#define Y "-l9eey7cckpspjGF2TBsXfBleQ29Ev9Y4KASMO7V5aI"
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\""
#define PUBLIC "{" EC ",\"x\":\"" X "\",\"y\":\"" Y "\"}"
#define KID "kbs:///default/sealed/public"
#define HEADER "{\"alg\":\"ES256\",\"kid\":\"" KID "\"}"
#define VAULT                                                                                             \
	"{\"version\":\"0.1.0\",\"type\":\"vault\",\"name\":\"kbs:///default/app/key\",\"provider\":\"kbs\"," \
	"\"provider_settings\":{},\"annotations\":{}}"
#define OUT_MAX ((size_t)4 * 1024 * 1024)

static struct es256_key *signer;
static struct es256_key *verifier;

// ---- Keys

struct key_case {
	const char *name;
	const char *text;
	enum es256_part part;
	const char *error;
};

static struct key_case key_cases[] = {
	{"a key: public JWK", PUBLIC, ES256_PUBLIC, NULL},
	{"a key: blank space before a JWK", " \r\n\t" PUBLIC, ES256_PUBLIC, NULL},
	{"a key: JWK with alg and use", "{" EC ",\"alg\":\"ES256\",\"use\":\"sig\",\"x\":\"" X "\",\"y\":\"" Y "\"}",
	 ES256_PUBLIC, NULL},
	{"a key: a public JWK can't sign", PUBLIC, ES256_PRIVATE,
	 "JWK: d is missing: it is a public key; give the key that signs"},
	{"a key: another key's d", "{" EC ",\"x\":\"" X "\",\"y\":\"" Y "\",\"d\":\"" X "\"}", ES256_PRIVATE,
	 "JWK: d isn't the key of the point x, y"},
	{"a key: d of zero",
	 "{" EC ",\"x\":\"" X "\",\"y\":\"" Y "\",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", ES256_PRIVATE,
	 "JWK: d isn't the key of the point x, y"},
	{"a key: off the curve", "{" EC ",\"x\":\"" Y "\",\"y\":\"" X "\"}", ES256_PUBLIC,
	 "JWK: x, y is no point of P-256"},
	{"a key: the point at zero",
	 "{" EC ",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	 "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
	 ES256_PUBLIC, "JWK: x, y is no point of P-256"},
	{"a key: a short coordinate", "{" EC ",\"x\":\"AAAA\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "JWK: x must be 32 bytes in base64url without padding"},
	{"a key: a padded coordinate", "{" EC ",\"x\":\"" X "=\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "JWK: x must be 32 bytes in base64url without padding"},
	{"a key: no y", "{" EC ",\"x\":\"" X "\"}", ES256_PUBLIC, "JWK: y is missing, or is no text"},
	{"a key: another curve", "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "JWK: crv is \"P-384\"; it must be P-256"},
	{"a key: Ed25519", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X "\"}", ES256_PUBLIC,
	 "JWK: kty is \"OKP\"; it must be EC"},
	{"a key: a secret", "{\"kty\":\"oct\",\"k\":\"" X "\"}", ES256_PUBLIC, "JWK: kty is \"oct\"; it must be EC"},
	{"a key: for another algorithm", "{" EC ",\"alg\":\"ECDH-ES\",\"x\":\"" X "\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "JWK: alg is \"ECDH-ES\"; it must be ES256"},
	{"a key: for encryption", "{" EC ",\"use\":\"enc\",\"x\":\"" X "\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "JWK: use is \"enc\"; it must be sig"},
	{"a key: a set", "{\"keys\":[" PUBLIC "]}", ES256_PUBLIC, "JWK: it is a set of keys; give one of them"},
	{"a key: the same member twice", "{" EC ",\"x\":\"" X "\",\"x\":\"" X "\",\"y\":\"" Y "\"}", ES256_PUBLIC,
	 "the JWK is no JSON: line 1, column 79"},
	{"a key: text after it", PUBLIC " x", ES256_PUBLIC, "the JWK is no JSON: line 1, column 128"},
	{"a key: empty", "", ES256_PUBLIC, "it is no key: it must be PEM, or a JWK"},
	{"a key: something else", "hello", ES256_PRIVATE, "it is no key: it must be PEM, or a JWK"},
	{"a key: cut PEM", "-----BEGIN PUBLIC KEY-----\nMFkwEw", ES256_PUBLIC,
	 "the PEM text can't be read as a key; is it whole?"},
	{"a key: cut private PEM", "-----BEGIN PRIVATE KEY-----\nMFkwEw", ES256_PRIVATE,
	 "the PEM text can't be read as a key; is it whole?"},
	{"a key: public PEM can't sign", "-----BEGIN PUBLIC KEY-----\nMFkwEw", ES256_PRIVATE,
	 "it is PEM, but no private key; give the key that signs"},
};

static void test_key(void **state)
{
	const struct key_case *c = *state;
	struct error err = {0};
	CLEANUP_ES256_KEY struct es256_key *key = es256_key_read(str_from(c->text), c->part, &err);
	assert_text(err.msg[0] != '\0' ? err.msg : NULL, c->error);
	assert_int_equal(key != NULL, c->error == NULL);
	if (key == NULL)
		return;
	json_t *want = json_loads(PUBLIC, 0, NULL);
	json_t *jwk = es256_key_jwk(key, "k", &err);
	assert_text(json_string_value(json_object_get(jwk, "kid")), "k");
	assert_true(json_object_update(want, jwk) == 0 && json_equal(want, jwk));
	json_decref(want);
	json_decref(jwk);
}

static void test_key_too_large(void **state)
{
	(void)state;
	static char text[ES256_KEY_MAX + 2] = "{";
	struct error err;
	memset(text + 1, ' ', sizeof(text) - 2);
	assert_null(es256_key_read(str_from(text), ES256_PUBLIC, &err));
	assert_int_equal(err.code, EFBIG);
}

// ---- JWS

struct jws_case {
	const char *name;
	const char *header; // JSON
	const char *error;
};

static struct jws_case header_cases[] = {
	{"a header: ours", HEADER, NULL},
	{"a header: more than that", "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"" KID "\"}", NULL},
	{"a header: alg none", "{\"alg\":\"none\",\"kid\":\"" KID "\"}", "header.alg is \"none\"; it must be ES256"},
	{"a header: alg HS256", "{\"alg\":\"HS256\",\"kid\":\"" KID "\"}", "header.alg is \"HS256\"; it must be ES256"},
	{"a header: alg ES384", "{\"alg\":\"ES384\",\"kid\":\"" KID "\"}", "header.alg is \"ES384\"; it must be ES256"},
	{"a header: alg in other letters", "{\"alg\":\"es256\",\"kid\":\"" KID "\"}",
	 "header.alg is \"es256\"; it must be ES256"},
	{"a header: no alg", "{\"kid\":\"" KID "\"}", "header.alg is missing, or is no text; it must be ES256"},
	{"a header: alg a number", "{\"alg\":256}", "header.alg is missing, or is no text; it must be ES256"},
	{"a header: alg twice", "{\"alg\":\"none\",\"alg\":\"ES256\"}",
	 "header is not JSON: duplicate object key near '\"alg\"'"},
	{"a header: no kid", "{\"alg\":\"ES256\"}",
	 "header.kid is missing, or is no text; it must say where the guest finds the public key, such as "
	 "kbs:///default/sealed-secret/public-key"},
	{"a header: kid a number", "{\"alg\":\"ES256\",\"kid\":1}",
	 "header.kid is missing, or is no text; it must say where the guest finds the public key, such as "
	 "kbs:///default/sealed-secret/public-key"},
	{"a header: crit", "{\"alg\":\"ES256\",\"kid\":\"a\",\"crit\":[\"exp\"]}",
	 "header has an extension (crit, b64); sign without one"},
	{"a header: b64", "{\"alg\":\"ES256\",\"kid\":\"a\",\"b64\":false}",
	 "header has an extension (crit, b64); sign without one"},
	{"a header: an array", "[]", "header is no JSON object"},
	{"a header: nothing", "", "header is not JSON: '[' or '{' expected near end of file"},
	{"a header: text after it", HEADER "{}", "header is not JSON: end of file expected near '{'"},
};

// Signed rightly, whatever the header says.
static void sign_raw(const char *header, const char *payload, struct buf *out)
{
	struct error err;
	unsigned char signature[ES256_SIGNATURE_BYTES];
	base64url_encode(str_from(header), out);
	buf_addc(out, '.');
	base64url_encode(str_from(payload), out);
	assert_int_equal(es256_sign(signer, buf_str(out), signature, &err), 0);
	buf_addc(out, '.');
	base64url_encode((struct str){(const char *)signature, sizeof(signature)}, out);
}

static void assert_read(struct str text, const struct es256_key *key, const char *error)
{
	struct error err = {0};
	CLEANUP_SEALED struct sealed s = {0};
	int rc = sealed_read(text, key, &s, &err);
	assert_text(err.msg[0] != '\0' ? err.msg : NULL, error);
	assert_int_equal(rc, error == NULL ? 0 : -err.code);
}

static void test_header(void **state)
{
	const struct jws_case *c = *state;
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	buf_addz(&text, SEALED_PREFIX);
	CLEANUP_BUF struct buf jws = BUF_INIT(OUT_MAX);
	sign_raw(c->header, VAULT, &jws);
	buf_add_str(&text, buf_str(&jws));
	assert_read(buf_str(&text), verifier, c->error);
}

static struct jws_case payload_cases[] = {
	{"a payload: ours", VAULT, NULL},
	{"a payload: a key twice", "{\"type\":\"vault\",\"type\":\"vault\"}",
	 "payload is not JSON: duplicate object key near '\"type\"'"},
	{"a payload: an array", "[]", "payload is no JSON object"},
	{"a payload: a text", "\"a\"", "payload is not JSON: '[' or '{' expected near '\"a\"'"},
	{"a payload: nothing", "", "payload is not JSON: '[' or '{' expected near end of file"},
	{"a payload: text after it", VAULT " x", "payload is not JSON: end of file expected near 'x'"},
};

static void test_payload(void **state)
{
	const struct jws_case *c = *state;
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf jws = BUF_INIT(OUT_MAX);
	sign_raw(HEADER, c->header, &jws);
	buf_addf(&text, "sealed.%s", buf_z(&jws));
	assert_read(buf_str(&text), verifier, c->error);
	assert_read(buf_str(&text), NULL, c->error);
}

// ---- The text

// %h, %p, %s: header, payload, signature of a good one; %P: with another payload; %z: a signature of zeros.
struct text_case {
	const char *name;
	const char *shape;
	const char *error;          // with the key
	const char *unsigned_error; // without
};

#define CHANGED "the signature is not this key's, or what it signs was changed"

static struct text_case text_cases[] = {
	{"a text: ours", "sealed.%h.%p.%s", NULL, NULL},
	{"a text: another payload", "sealed.%h.%P.%s", CHANGED, NULL},
	{"a text: zeros for a signature", "sealed.%h.%p.%z", CHANGED, NULL},
	{"a text: no signature", "sealed.%h.%p.", "signature has 0 bytes; ES256 has r and s, 32 bytes each", NULL},
	{"a text: no third part", "sealed.%h.%p", "it has 2 parts; a JWS has header.payload.signature",
	 "it has 3 parts; it must have sealed.HEADER.PAYLOAD.SIGNATURE"},
	{"a text: a part too many", "sealed.%h.%p.%s.%s", "it has 4 parts; a JWS has header.payload.signature",
	 "it has 5 parts; it must have sealed.HEADER.PAYLOAD.SIGNATURE"},
	{"a text: a dot at the end", "sealed.%h.%p.%s.", "it has 4 parts; a JWS has header.payload.signature",
	 "it has 5 parts; it must have sealed.HEADER.PAYLOAD.SIGNATURE"},
	{"a text: a newline at the end", "sealed.%h.%p.%s\n", "signature: base64url: byte 87 is not in the URL alphabet",
	 NULL},
	{"a text: a padded signature", "sealed.%h.%p.%s==", "signature: base64url: byte 87 is not in the URL alphabet",
	 NULL},
	{"a text: a padded payload", "sealed.%h.%p==.%s", "payload: base64url: byte 165 is not in the URL alphabet",
	 "payload: base64url: byte 165 is not in the URL alphabet"},
	{"a text: unsigned", "sealed.fakejwsheader.%p.fakesignature",
	 "it is not signed, and guests refuse it unless their initdata has skip_sealed_secret_verification; sign it, or "
	 "read "
	 "it with --unsigned",
	 NULL},
	{"a text: no prefix", "%h.%p.%s", "it doesn't start with \"sealed.\", so the guest takes it for the secret",
	 "it doesn't start with \"sealed.\", so the guest takes it for the secret"},
	{"a text: the prefix twice", "sealed.sealed.%h.%p.%s", "it has 4 parts; a JWS has header.payload.signature",
	 "it has 5 parts; it must have sealed.HEADER.PAYLOAD.SIGNATURE"},
	{"a text: nothing", "", "it doesn't start with \"sealed.\", so the guest takes it for the secret",
	 "it doesn't start with \"sealed.\", so the guest takes it for the secret"},
	{"a text: the prefix alone", "sealed.", "it has 1 parts; a JWS has header.payload.signature",
	 "it has 2 parts; it must have sealed.HEADER.PAYLOAD.SIGNATURE"},
};

static void fill(const char *shape, struct buf *out)
{
	CLEANUP_BUF struct buf jws = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf other = BUF_INIT(OUT_MAX);
	static const char zeros[ES256_SIGNATURE_BYTES];
	sign_raw(HEADER, VAULT, &jws);
	base64url_encode(STR("{}"), &other);
	const char *payload = strchr(buf_z(&jws), '.') + 1;
	const char *signature = strchr(payload, '.') + 1;
	for (const char *p = shape; *p != '\0'; p++) {
		if (*p != '%') {
			buf_addc(out, *p);
			continue;
		}
		p++;
		if (*p == 'h')
			buf_add(out, buf_z(&jws), (size_t)(payload - 1 - buf_z(&jws)));
		else if (*p == 'p')
			buf_add(out, payload, (size_t)(signature - 1 - payload));
		else if (*p == 's')
			buf_addz(out, signature);
		else if (*p == 'P')
			buf_add_str(out, buf_str(&other));
		else
			base64url_encode((struct str){zeros, sizeof(zeros)}, out);
	}
}

static void test_text(void **state)
{
	const struct text_case *c = *state;
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	fill(c->shape, &text);
	assert_read(buf_str(&text), verifier, c->error);
	assert_read(buf_str(&text), NULL, c->unsigned_error);
}

// Each character of the signed text matters.
static void test_any_change(void **state)
{
	(void)state;
	CLEANUP_BUF struct buf text = BUF_INIT(OUT_MAX);
	fill("sealed.%h.%p.%s", &text);
	for (size_t i = 0; i < text.n; i++) {
		struct error err;
		CLEANUP_SEALED struct sealed s = {0};
		char was = text.p[i];
		text.p[i] = was == 'A' ? 'B' : 'A';
		if (sealed_read(buf_str(&text), verifier, &s, &err) == 0)
			fail_msg("byte %zu changed, and still valid", i);
		text.p[i] = was;
	}
	assert_read(buf_str(&text), verifier, NULL);
}

static void test_too_large(void **state)
{
	(void)state;
	static char text[SEALED_TEXT_MAX + 1];
	struct error err;
	CLEANUP_SEALED struct sealed s = {0};
	memset(text, 'A', sizeof(text));
	assert_int_equal(sealed_read((struct str){text, sizeof(text)}, NULL, &s, &err), -EFBIG);
}

static void test_write_limit(void **state)
{
	(void)state;
	struct error err;
	json_t *payload = sealed_vault("kbs", "kbs:///default/app/key", NULL, NULL);
	for (size_t max = 1; max < 400; max += 13) {
		CLEANUP_BUF struct buf signed_text = BUF_INIT(max);
		CLEANUP_BUF struct buf unsigned_text = BUF_INIT(max);
		int rc = sealed_write(payload, KID, signer, &signed_text, &err);
		assert_true(rc == -EFBIG || (rc == 0 && buf_ok(&signed_text)));
		rc = sealed_write(payload, NULL, NULL, &unsigned_text, &err);
		assert_true(rc == -EFBIG || (rc == 0 && buf_ok(&unsigned_text)));
	}
	json_decref(payload);
}

// ---- What a payload says

struct check_case {
	const char *name;
	const char *payload;
	const char *said; // one finding a line, after "E " or "W "; "" for none
};

#define VAULT_OF(provider, name, settings)                                                           \
	"{\"version\":\"0.1.0\",\"type\":\"vault\",\"provider\":\"" provider "\",\"name\":\"" name "\"," \
	"\"provider_settings\":" settings ",\"annotations\":{}}"
#define NOT_URI                                                                                            \
	"\"; it must be kbs:///REPOSITORY/TYPE/TAG, each of letters, digits, \"-\", \"_\" and \".\", such as " \
	"kbs:///default/app/key\n"

static struct check_case check_cases[] = {
	{"vault", VAULT, ""},
	{"vault: another version",
	 "{\"version\":\"0.2.0\",\"type\":\"vault\",\"provider\":\"kbs\","
	 "\"name\":\"kbs:///a/b/c\",\"provider_settings\":{},\"annotations\":{}}",
	 "E version is \"0.2.0\"; it must be 0.1.0\n"},
	{"vault: nothing else", "{\"type\":\"vault\"}",
	 "E version is missing; the guest needs it\n"
	 "E provider_settings is missing; it must be an object, {} for nothing\n"
	 "E annotations is missing; it must be an object, {} for nothing\n"
	 "E name is missing; the guest needs it\n"
	 "E provider is missing; the guest needs it\n"},
	{"vault: wrong types",
	 "{\"version\":1,\"type\":\"vault\",\"name\":[],\"provider\":\"\",\"provider_settings\":[],"
	 "\"annotations\":\"\"}",
	 "E version is no text\n"
	 "E provider_settings is no object; it must be an object, {} for nothing\n"
	 "E annotations is no object; it must be an object, {} for nothing\n"
	 "E name is no text\n"
	 "E provider is empty\n"},
	{"no type", "{\"version\":\"0.1.0\",\"provider_settings\":{},\"annotations\":{}}",
	 "E type is missing; the guest needs it\n"},
	{"another type", "{\"version\":\"0.1.0\",\"type\":\"Vault\",\"provider_settings\":{},\"annotations\":{}}",
	 "E type is \"Vault\"; it must be vault or envelope\n"},
	{"vault: a misspelled key",
	 "{\"version\":\"0.1.0\",\"type\":\"vault\",\"provider\":\"kbs\","
	 "\"name\":\"kbs:///a/b/c\",\"provider_settings\":{},\"annotations\":{},\"anotations\":1}",
	 "W payload has \"anotations\", which the guest does not know and ignores\n"},
	{"vault: another provider", VAULT_OF("vault", "a", "{}"),
	 "E provider is \"vault\"; it must be kbs, aws or aliyun\n"},
	{"vault: a provider in other letters", VAULT_OF("KBS", "kbs:///a/b/c", "{}"), ""},
	{"vault: ehsm keeps no secrets", VAULT_OF("ehsm", "a", "{}"),
	 "E provider is \"ehsm\"; it must be kbs, aws or aliyun\n"},
	{"vault: aws", VAULT_OF("aws", "db-password", "{\"region\":\"us-east-1\"}"), ""},
	{"vault: aws without a region", VAULT_OF("aws", "db-password", "{}"),
	 "E provider_settings.region is missing; provider aws needs it, such as {\"region\": \"us-east-1\"}\n"},
	{"vault: aliyun", VAULT_OF("aliyun", "x", "{\"client_type\":\"sts_token\"}"), ""},
	{"vault: aliyun with another client", VAULT_OF("aliyun", "x", "{\"client_type\":\"sts\"}"),
	 "E provider_settings.client_type is \"sts\"; it must be client_key, ecs_ram_role or sts_token\n"},
	{"vault: an address", VAULT_OF("kbs", "kbs://kbs.example.com:8080/a/b/c", "{}"),
	 "W name names an address, which the guest ignores: it asks the Trustee of its own initdata; write kbs:///a/b/c\n"},
	{"vault: two segments", VAULT_OF("kbs", "kbs:///a/b", "{}"), "E name is \"kbs:///a/b" NOT_URI},
	{"vault: four segments", VAULT_OF("kbs", "kbs:///a/b/c/d", "{}"), "E name is \"kbs:///a/b/c/d" NOT_URI},
	{"vault: an empty segment", VAULT_OF("kbs", "kbs:///a//c", "{}"), "E name is \"kbs:///a//c" NOT_URI},
	{"vault: a slash at the end", VAULT_OF("kbs", "kbs:///a/b/c/", "{}"), "E name is \"kbs:///a/b/c/" NOT_URI},
	{"vault: up and out", VAULT_OF("kbs", "kbs:///a/../c", "{}"), "E name is \"kbs:///a/../c" NOT_URI},
	{"vault: a query", VAULT_OF("kbs", "kbs:///a/b/c?d", "{}"), "E name is \"kbs:///a/b/c?d" NOT_URI},
	{"vault: no path", VAULT_OF("kbs", "kbs://a", "{}"), "E name is \"kbs://a" NOT_URI},
	{"vault: another scheme", VAULT_OF("kbs", "https://a/b/c", "{}"),
	 "E name is \"https://a/b/c\"; it must be kbs:///REPOSITORY/TYPE/TAG, such as kbs:///default/app/key\n"},
	{"vault: a plugin's", VAULT_OF("kbs", "kbs+pkcs11:///a", "{}"), ""},
	{"vault: no plugin", VAULT_OF("kbs", "kbs+:///a", "{}"),
	 "E name is \"kbs+:///a\"; it must be kbs:///REPOSITORY/TYPE/TAG, such as kbs:///default/app/key\n"},
	{"envelope",
	 "{\"version\":\"0.1.0\",\"type\":\"envelope\",\"provider\":\"aws\",\"key_id\":\"k\","
	 "\"encrypted_key\":\"YQ==\",\"encrypted_data\":\"YQ==\",\"wrap_type\":\"A256GCM\",\"iv\":\"YQ==\","
	 "\"provider_settings\":{\"region\":\"r\"},\"annotations\":{}}",
	 ""},
	{"envelope: much wrong",
	 "{\"version\":\"0.1.0\",\"type\":\"envelope\",\"provider\":\"kbs\",\"encrypted_key\":\"YQ\","
	 "\"encrypted_data\":\"YQ==\",\"wrap_type\":\"aes\",\"iv\":\"YQ==\","
	 "\"provider_settings\":{},\"annotations\":{},\"name\":\"n\"}",
	 "E provider is \"kbs\"; it must be aws, aliyun or ehsm\n"
	 "E key_id is missing; the guest needs it\n"
	 "E encrypted_key is not base64: base64: 2 characters, expected a multiple of 4\n"
	 "E wrap_type is \"aes\"; it must be A256GCM\n"
	 "W payload has \"name\", which the guest does not know and ignores\n"},
};

static void assert_findings(const struct findings *f, const char *said)
{
	CLEANUP_BUF struct buf got = BUF_INIT(OUT_MAX);
	for (size_t i = 0; i < f->n; i++)
		buf_addf(&got, "%c %s %s\n", f->v[i].level == FINDING_ERROR ? 'E' : 'W', f->v[i].where, f->v[i].what);
	assert_string_equal(buf_z(&got), said);
}

static void test_check(void **state)
{
	const struct check_case *c = *state;
	CLEANUP_FINDINGS struct findings f = {0};
	json_t *payload = json_loads(c->payload, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(payload);
	sealed_check(payload, &f);
	json_decref(payload);
	assert_findings(&f, c->said);
}

static struct check_case kid_cases[] = {
	{"kid: a resource", KID, ""},
	{"kid: a plugin's", "kbs+nebula-ca:///ca", ""},
	{"kid: empty", "",
	 "E kid is empty; it must say where the guest finds the public key, such as "
	 "kbs:///default/sealed-secret/public-key\n"},
	{"kid: two segments", "kbs:///a/b",
	 "E kid is \"kbs:///a/b\"; it must be kbs:///REPOSITORY/TYPE/TAG, each of letters, digits, \"-\", \"_\" and \".\", "
	 "such "
	 "as kbs:///default/sealed-secret/public-key\n"},
	{"kid: one slash", "kbs:/a/b/c",
	 "E kid is \"kbs:/a/b/c\"; it must be kbs:///REPOSITORY/TYPE/TAG, such as "
	 "kbs:///default/sealed-secret/public-key\n"},
	{"kid: up and out", "../../etc/passwd",
	 "E kid is \"../../etc/passwd\"; it must be a resource of the Trustee, such as "
	 "kbs:///default/sealed-secret/public-key\n"},
	{"kid: a path from the root", "/etc/passwd",
	 "E kid is \"/etc/passwd\"; it must be a resource of the Trustee, such as "
	 "kbs:///default/sealed-secret/public-key\n"},
	{"kid: a file of the guest", "my-key",
	 "W kid is \"my-key\", a file that the guest's image must have in /run/confidential-containers/cdh/sealed-secret; "
	 "for "
	 "a resource of the Trustee write it as kbs:///default/sealed-secret/public-key\n"},
};

static void test_kid(void **state)
{
	const struct check_case *c = *state;
	CLEANUP_FINDINGS struct findings f = {0};
	sealed_check_kid(c->payload, &f);
	assert_findings(&f, c->said);
}

// New ones for each run.
static void make_keys(void)
{
	struct error err;
	CLEANUP_BUF struct buf key = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf cert = BUF_INIT(OUT_MAX);
	assert_int_equal(certificate_make_signer("a", 1700000000, 1, &key, &cert, &err), 0);
	signer = es256_key_read(buf_str(&key), ES256_PRIVATE, &err);
	assert_non_null(signer);
	json_t *jwk = es256_key_jwk(signer, NULL, &err);
	verifier = es256_key_from_jwk(jwk, ES256_PUBLIC, &err);
	json_decref(jwk);
	assert_non_null(verifier);
}

int main(void)
{
	static struct tests t;
	make_keys();
	ADD_TABLE(&t, key_cases, test_key);
	tests_add(&t, "a key: too large", test_key_too_large, NULL);
	ADD_TABLE(&t, header_cases, test_header);
	ADD_TABLE(&t, payload_cases, test_payload);
	ADD_TABLE(&t, text_cases, test_text);
	tests_add(&t, "a text: any byte changed", test_any_change, NULL);
	tests_add(&t, "a text: too large", test_too_large, NULL);
	tests_add(&t, "a text: no room to write it", test_write_limit, NULL);
	ADD_TABLE(&t, check_cases, test_check);
	ADD_TABLE(&t, kid_cases, test_kid);
	int failed = tests_run("sealed", &t);
	es256_key_free(signer);
	es256_key_free(verifier);
	return failed;
}
