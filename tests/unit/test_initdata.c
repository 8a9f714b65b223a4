#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cases.h"
#include "common/encode.h"
#include "common/files.h"
#include "common/initdata.h"
#include "common/mem.h"

// Made by other tools than ours: see result.json there.
#define VECTORS "tests/data/vectors/initdata/"
#define TEXT_MAX ((size_t)16 * 1024 * 1024)

static void read_file(const char *path, struct buf *to)
{
	struct error err;
	if (file_read(path, to, &err) < 0)
		fail_msg("%s; run the test in the repository's root", err.msg);
}

// ---- Vectors

static void assert_hex(const struct digest *d, const char *want)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(2 * DIGEST_MAX);
	hex_encode(d->v, d->n, &got);
	assert_string_equal(buf_z(&got), want);
}

static const char *member(const json_t *result, const char *key)
{
	const char *text = json_string_value(json_object_get(result, key));
	if (text == NULL)
		fail_msg("result.json has no %s", key);
	return text;
}

static void test_vector(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf text = BUF_INIT(TEXT_MAX);
	struct initdata_digests d;
	struct error err = {0};
	read_file(VECTORS "initdata.toml", &toml);
	read_file(VECTORS "result.json", &text);
	json_auto_t *result = json_loads(buf_z(&text), 0, NULL);
	assert_int_equal(initdata_digests(buf_str(&toml), "sha256", &d, &err), 0);
	assert_string_equal(d.algorithm, "sha256");
	assert_hex(&d.digest, member(result, "digest_hex"));
	assert_hex(&d.snp_host_data, member(result, "snp_hostdata_hex_32"));
	assert_hex(&d.tdx_mr_config_id, member(result, "tdx_mrconfigid_hex_48"));
	assert_hex(&d.cca_personalization, member(result, "cca_personalization_hex_64"));
	assert_true(d.has_azure_pcr8);
	assert_hex(&d.azure_pcr8, member(result, "vtpm_pcr8_sha256_hex"));
}

// Longer digests are cut, shorter ones padded.
static void check_fitted(const struct digest *got, const char *hex, size_t bytes)
{
	char want[2 * DIGEST_MAX + 1];
	assert_int_equal(got->n, bytes);
	(void)snprintf(want, sizeof(want), "%.*s", (int)(2 * bytes), hex);
	for (size_t i = strlen(want); i < 2 * bytes; i++) {
		want[i] = '0';
		want[i + 1] = '\0';
	}
	assert_hex(got, want);
}

static void test_vector_long(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf text = BUF_INIT(TEXT_MAX);
	struct error err = {0};
	read_file(VECTORS "initdata.toml", &toml);
	read_file(VECTORS "result.json", &text);
	json_auto_t *result = json_loads(buf_z(&text), 0, NULL);
	static const char *const names[] = {"sha384", "sha512"};
	for (size_t i = 0; i < COUNT(names); i++) {
		struct initdata_digests d;
		const char *hex = member(json_object_get(result, "all_algs"), names[i]);
		assert_int_equal(initdata_digests(buf_str(&toml), names[i], &d, &err), 0);
		assert_hex(&d.digest, hex);
		check_fitted(&d.snp_host_data, hex, 32);
		check_fitted(&d.tdx_mr_config_id, hex, 48);
		check_fitted(&d.cca_personalization, hex, 64);
		assert_false(d.has_azure_pcr8);
	}
	struct initdata_digests d;
	assert_int_equal(initdata_digests(buf_str(&toml), "md5", &d, &err), -EINVAL);
}

static void assert_same(const struct digest *got, const struct digest *want)
{
	assert_int_equal(got->n, want->n);
	assert_memory_equal(got->v, want->v, want->n);
}

// As a profile's status has it: the same forms as of the text itself.
static void test_vector_digest(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(TEXT_MAX);
	struct error err = {0};
	read_file(VECTORS "initdata.toml", &toml);
	for (size_t i = 0; initdata_algorithm_names[i] != NULL; i++) {
		struct initdata_digests want;
		struct initdata_digests got;
		CLEANUP_BUF
		struct buf text = BUF_INIT(TEXT_MAX);
		assert_int_equal(initdata_digests(buf_str(&toml), initdata_algorithm_names[i], &want, &err), 0);
		buf_addf(&text, "%s:", initdata_algorithm_names[i]);
		hex_encode(want.digest.v, want.digest.n, &text);
		assert_int_equal(initdata_digests_parse(buf_z(&text), &got, &err), 0);
		assert_string_equal(got.algorithm, want.algorithm);
		assert_same(&got.digest, &want.digest);
		assert_same(&got.snp_host_data, &want.snp_host_data);
		assert_same(&got.tdx_mr_config_id, &want.tdx_mr_config_id);
		assert_same(&got.cca_personalization, &want.cca_personalization);
		assert_int_equal(got.has_azure_pcr8, want.has_azure_pcr8);
		if (want.has_azure_pcr8)
			assert_same(&got.azure_pcr8, &want.azure_pcr8);
	}
}

#define HEX8 "0123456789abcdef"
#define HEX32 HEX8 HEX8 HEX8 HEX8

static struct digest_case {
	const char *name;
} bad_digests[] = {{""},
				   {"sha256"},
				   {"sha256:"},
				   {"sha"},
				   {"md5:" HEX8 HEX8},
				   {"sha256:" HEX8 HEX8 HEX8 "0123456789abcde"},
				   {"sha256:" HEX32 "0"},
				   {"sha256:" HEX8 HEX8 HEX8 "0123456789abcdeF"},
				   {"sha256:" HEX8 HEX8 HEX8 "0123456789abcde\n"},
				   {"sha384:" HEX32},
				   {"sha512:" HEX32},
				   {"SHA256:" HEX32},
				   {" sha256:" HEX32},
				   {HEX32}};

static void test_bad_digest(void **state)
{
	const struct digest_case *c = *state;
	struct initdata_digests d;
	struct error err = {0};
	assert_int_equal(initdata_digests_parse(c->name, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "sha256:HEX"));
}

static void test_vector_annotation(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf annotation = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf ours = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf decoded = BUF_INIT(INITDATA_TOML_MAX);
	struct error err = {0};
	read_file(VECTORS "initdata.toml", &toml);
	read_file(VECTORS "annotation.txt", &annotation);
	assert_int_equal(initdata_encode(buf_str(&toml), &ours, &err), 0);
	assert_string_equal(buf_z(&ours), buf_z(&annotation));
	assert_int_equal(initdata_decode(buf_str(&annotation), &decoded, &err), 0);
	assert_string_equal(buf_z(&decoded), buf_z(&toml));
}

// ---- Parsing

struct parse_case {
	const char *name;
	const char *toml;
	const char *error;
};

#define HEAD "version = '0.1.0'\nalgorithm = 'sha256'\n"
#define NEEDS "initdata needs version = \"0.1.0\" and algorithm = \"sha256\" as strings"
#define NO_DATA "[data] is missing; it holds aa.toml, cdh.toml and policy.rego"
#define ALGORITHM(a) "algorithm is \"" a "\"; the guest knows sha256, sha384 and sha512, written like this"

static struct parse_case parse_cases[] = {
	{"parse: empty data", HEAD "[data]\n", NULL},
	{"parse: more keys", HEAD "x = 1\n[data]\n'a' = 'b'\n[y]\n", NULL},
	{"parse: sha512", "version = '0.1.0'\nalgorithm = 'sha512'\n[data]\n", NULL},
	{"parse: not TOML", "version = \n", "line 1, column 11: expected a value"},
	{"parse: empty", "", NEEDS},
	{"parse: no version", "algorithm = 'sha256'\n[data]\n", NEEDS},
	{"parse: no algorithm", "version = '0.1.0'\n[data]\n", NEEDS},
	{"parse: version is a number", "version = 0.1\nalgorithm = 'sha256'\n[data]\n", NEEDS},
	{"parse: algorithm is a list", "version = '0.1.0'\nalgorithm = ['sha256']\n[data]\n", NEEDS},
	{"parse: other version", "version = '0.1.1'\nalgorithm = 'sha256'\n[data]\n",
	 "version is \"0.1.1\"; the guest accepts only \"0.1.0\""},
	{"parse: upper case", "version = '0.1.0'\nalgorithm = 'SHA256'\n[data]\n", ALGORITHM("SHA256")},
	{"parse: with a dash", "version = '0.1.0'\nalgorithm = 'sha-256'\n[data]\n", ALGORITHM("sha-256")},
	{"parse: no data", HEAD, NO_DATA},
	{"parse: data is text", HEAD "data = 'a'\n", NO_DATA},
	{"parse: a table in data", HEAD "[data.'aa.toml']\n", "data.\"aa.toml\" must be a string that holds a file's text"},
	{"parse: bare key with a dot", HEAD "[data]\naa.toml = 'a'\n",
	 "data.\"aa\" must be a string that holds a file's text"},
	{"parse: a number in data", HEAD "[data]\n'x' = 1\n", "data.\"x\" must be a string that holds a file's text"},
	{"parse: key twice", HEAD "[data]\n'x' = 'a'\n'x' = 'b'\n", "line 5, column 1: \"x\" is defined already"},
};

static void test_parse(void **state)
{
	const struct parse_case *c = *state;
	struct error err = {0};
	CLEANUP_INITDATA
	struct initdata i = {0};
	int rc = initdata_parse(str_from(c->toml), &i, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
	assert_int_equal(i.tree == NULL, c->error != NULL);
}

static void test_parse_values(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_INITDATA
	struct initdata i = {0};
	assert_int_equal(initdata_parse(STR(HEAD "[data]\n'policy.rego' = 'a'\n'aa.toml' = 'b'\n"), &i, &err), 0);
	assert_string_equal(i.version, "0.1.0");
	assert_string_equal(i.algorithm, "sha256");
	assert_true(str_is(i.policy, "a"));
	initdata_release(&i);
	assert_int_equal(initdata_parse(STR(HEAD "[data]\n"), &i, &err), 0);
	assert_null(i.policy.p);
}

static void test_parse_max(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_INITDATA
	struct initdata i = {0};
	CLEANUP_FREE
	char *text = xcalloc(INITDATA_TOML_MAX + 2, 1);
	memset(text, '#', INITDATA_TOML_MAX + 1);
	memcpy(text, HEAD "[data]\n", strlen(HEAD "[data]\n"));
	assert_int_equal(initdata_parse((struct str){text, INITDATA_TOML_MAX}, &i, &err), 0);
	initdata_release(&i);
	assert_int_equal(initdata_parse((struct str){text, INITDATA_TOML_MAX + 1}, &i, &err), -EFBIG);
	assert_string_equal(err.msg, "initdata is 1048577 bytes; at most 1048576 are allowed");
}

// ---- Decoding an annotation

struct decode_case {
	const char *name;
	const char *annotation;
	const char *error;
};

#define NOT_BASE64 "the annotation is not standard base64: base64: "
#define NOT_GZIP "the annotation does not hold one gzip member: gzip: "
#define EMPTY "H4sIAAAAAAAC/wMAAAAAAAAAAAA=" // gzip of nothing

static struct decode_case decode_cases[] = {
	{"decode: nothing packed", EMPTY, NULL},
	{"decode: not base64", "version = '0.1.0'", NOT_BASE64 "17 characters, expected a multiple of 4"},
	{"decode: newline", EMPTY "\n", NOT_BASE64 "29 characters, expected a multiple of 4"},
	{"decode: URL alphabet", "H4sIAAAAAAAC_wMAAAAAAAAAAAA=", NOT_BASE64 "byte 13 is not in the standard alphabet"},
	{"decode: no padding", "H4sIAAAAAAAC/wMAAAAAAAAAAAA", NOT_BASE64 "27 characters, expected a multiple of 4"},
	{"decode: empty", "", NOT_GZIP "the data ends too early"},
	{"decode: not gzip", "dmVyc2lvbiA9IDE=", NOT_GZIP "incorrect header check"},
	{"decode: cut", "H4sIAAAAAAAC/wMAAAAA", NOT_GZIP "the data ends too early"},
	{"decode: two members",
	 "H4sIAAAAAAAC/wMAAAAAAAAAAAAfiwgAAAAAAAL/AwAAAAAAAAAAAA==", NOT_GZIP "20 bytes follow the end of the data"},
	{"decode: a byte more", "H4sIAAAAAAAC/wMAAAAAAAAAAAAK", NOT_GZIP "1 bytes follow the end of the data"},
	{"decode: bad checksum", "H4sIAAAAAAAC/wMAAQAAAAAAAAA=", NOT_GZIP "incorrect data check"},
};

static void test_decode(void **state)
{
	const struct decode_case *c = *state;
	struct error err = {0};
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	int rc = initdata_decode(str_from(c->annotation), &toml, &err);
	assert_string_equal(err.msg, c->error != NULL ? c->error : "");
	assert_int_equal(rc, c->error != NULL ? -EINVAL : 0);
}

// A small annotation of much text: what bounds it is the reader's buffer.
static void test_decode_bomb(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_FREE
	char *zeros = xcalloc(8 * INITDATA_TOML_MAX, 1);
	CLEANUP_BUF
	struct buf packed = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf annotation = BUF_INIT(INITDATA_ANNOTATION_MAX);
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	assert_int_equal(gzip_pack((struct str){zeros, 8 * INITDATA_TOML_MAX}, &packed, &err), 0);
	base64_encode(buf_str(&packed), &annotation);
	assert_true(buf_ok(&annotation));
	assert_int_equal(initdata_decode(buf_str(&annotation), &toml, &err), -EFBIG);
	assert_string_equal(err.msg, NOT_GZIP "more than 1048576 bytes when unpacked");
	assert_true(toml.cap <= INITDATA_TOML_MAX + 1);
}

static void test_encode_max(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_FREE
	char *noise = xcalloc(INITDATA_ANNOTATION_MAX, 1);
	uint32_t seed = 1;
	for (size_t i = 0; i < INITDATA_ANNOTATION_MAX; i++) {
		seed = seed * 1664525U + 1013904223U;
		noise[i] = (char)(seed >> 24);
	}
	static const size_t buffers[] = {TEXT_MAX, INITDATA_ANNOTATION_MAX, INITDATA_ANNOTATION_MAX + 1};
	for (size_t i = 0; i < COUNT(buffers); i++) {
		CLEANUP_BUF
		struct buf annotation = BUF_INIT(buffers[i]);
		assert_int_equal(initdata_encode((struct str){noise, INITDATA_ANNOTATION_MAX}, &annotation, &err), -EFBIG);
		assert_string_equal(
			err.msg, "initdata makes an annotation of more than 196608 bytes; shorten its policy or certificates");
	}
}

// ---- Findings: level, where and what, one a line

struct lint_case {
	const char *name;
	const char *aa, *cdh, *policy; // NULL: the usual ones; "": none
	const char *top;               // NULL: HEAD
	const char *want;
};

#define AA "[token_configs.kbs]\nurl = \"https://kbs\"\n"
#define KBC "[kbc]\nname = \"cc_kbc\"\nurl = \"https://kbs\"\n"
#define IMAGE "[image]\nimage_security_policy_uri = \"kbs:///a/b/c\"\n"
#define POLICY "package agent_policy\ndefault GetDiagnosticDataRequest := true\n"
#define W "warning "
#define E "error "
#define AA_URL "data.\"aa.toml\".token_configs.kbs.url: "
#define CDH_URL "data.\"cdh.toml\".kbc.url: "
#define REGO "data.\"policy.rego\": "
#define TYPO ": nothing in the guest reads this key; a typo? Known here: "
#define PLAIN(url) \
	"\"" url "\" is plain http: the network can see which resources are asked for; use https in production\n"
#define OTHER_KBS(cdh, aa) \
	"\"" cdh "\" is not the KBS of aa.toml, \"" aa "\": a token of one is no token of the other\n"
#define BOTH_NEED "is missing, though the other file has a certificate for the KBS; both need it\n"

static struct lint_case lint_cases[] = {
	{"lint: nothing to say", NULL, NULL, NULL, NULL, ""},
	{"lint: not initdata", NULL, NULL, NULL, "version = 1\n",
	 E "initdata: initdata needs version = \"0.1.0\" and algorithm = \"sha256\" as strings\n"},
	{"lint: unknown key at the top", NULL, NULL, NULL, HEAD "versoin = '1'\n",
	 W "versoin" TYPO "version, algorithm, data\n"},
	{"lint: sha384", NULL, NULL, NULL, "version = '0.1.0'\nalgorithm = 'sha384'\n",
	 W "algorithm: \"sha384\" can't be verified on Azure's vTPM; use sha256 there\n"},
	{"lint: no aa.toml", "", NULL, NULL, NULL, W "data.\"aa.toml\": is missing: the guest then has no attestation\n"},
	{"lint: no cdh.toml", NULL, "", NULL, NULL,
	 W "data.\"cdh.toml\": is missing: the guest then has no secrets and images settings\n"},
	{"lint: no policy", NULL, NULL, "", NULL,
	 W REGO "is missing: the guest image's own policy decides, which allows everything in stock images\n"},
	{"lint: aa.toml is not TOML", "a", NULL, NULL, NULL,
	 E "data.\"aa.toml\": line 1, column 2: expected \"=\" after the key\n"},
	{"lint: cdh.toml is not TOML", NULL, "= 1", NULL, NULL,
	 E "data.\"cdh.toml\": line 1, column 1: expected a key: letters, digits, - and _, or a quoted string\n"},
	{"lint: unknown keys of aa.toml", AA "crt = \"a\"\n[x]\n", NULL, NULL, NULL,
	 W "data.\"aa.toml\".token_configs.kbs.crt" TYPO "url, cert, tee_key_algorithm\n" //
	 W "data.\"aa.toml\".x" TYPO "token_configs, eventlog_config, log\n"},
	{"lint: unknown keys of cdh.toml", NULL, KBC "cert = \"a\"\n" IMAGE "[image.\"a.b\"]\n", NULL, NULL,
	 W "data.\"cdh.toml\".kbc.cert" TYPO "name, url, kbs_cert\n" //
	 W "data.\"cdh.toml\".image.\"a.b\"" TYPO
	   "image_security_policy_uri, image_security_policy, sigstore_config_uri, sigstore_config, "
	   "authenticated_registry_credentials_uri, registry_configuration_uri, registry_config, "
	   "max_concurrent_layer_downloads_per_image, image_pull_proxy, extra_root_certificates, work_dir\n"},
	{"lint: no URL in aa.toml", "[token_configs.kbs]\n", NULL, NULL, NULL,
	 E AA_URL "there is no url of the KBS; set it to https://HOST:PORT\n"},
	{"lint: no KBS in aa.toml", "[token_configs.coco_as]\nurl = \"http://as\"\n", NULL, NULL, NULL, ""},
	{"lint: no URL in cdh.toml", NULL, "[kbc]\nname = \"cc_kbc\"\n" IMAGE, NULL, NULL,
	 E CDH_URL "there is no url of the KBS; set it to https://HOST:PORT\n"},
	{"lint: offline", NULL, "[kbc]\nname = \"offline_fs_kbc\"\n" IMAGE, NULL, NULL, ""},
	{"lint: plain http", "[token_configs.kbs]\nurl = \"http://kbs\"\n",
	 "[kbc]\nname = \"cc_kbc\"\nurl = \"http://kbs\"\n" IMAGE, NULL, NULL, //
	 W AA_URL PLAIN("http://kbs") W CDH_URL PLAIN("http://kbs")},
	{"lint: no URL's scheme", "[token_configs.kbs]\nurl = \"kbs:8080\"\n", NULL, NULL, NULL,
	 E AA_URL "\"kbs:8080\" is not an http:// or https:// URL\n" //
	 W CDH_URL OTHER_KBS("https://kbs", "kbs:8080")},
	{"lint: certificate with http", "[token_configs.kbs]\nurl = \"http://kbs\"\ncert = \"a\"\n",
	 "[kbc]\nname = \"cc_kbc\"\nurl = \"http://kbs\"\nkbs_cert = \"a\"\n" IMAGE, NULL, NULL,
	 W AA_URL "a certificate is given, but the URL \"http://kbs\" is plain http; drop it or write https\n" //
	 W CDH_URL "a certificate is given, but the URL \"http://kbs\" is plain http; drop it or write https\n"},
	{"lint: two KBS", NULL, "[kbc]\nname = \"cc_kbc\"\nurl = \"https://kbs2\"\n" IMAGE, NULL, NULL,
	 W CDH_URL OTHER_KBS("https://kbs2", "https://kbs")},
	{"lint: certificate in aa.toml only", AA "cert = \"a\"\n", NULL, NULL, NULL,
	 W "data.\"cdh.toml\".kbc.kbs_cert: " BOTH_NEED},
	{"lint: certificate in cdh.toml only", NULL, KBC "kbs_cert = \"a\"\n" IMAGE, NULL, NULL,
	 W "data.\"aa.toml\".token_configs.kbs.cert: " BOTH_NEED},
	{"lint: no kbc.name", NULL, "[kbc]\nurl = \"https://kbs\"\n" IMAGE, NULL, NULL,
	 E "data.\"cdh.toml\".kbc.name: is missing; write name = \"cc_kbc\" under [kbc]\n"},
	{"lint: unknown kbc.name", NULL, "[kbc]\nname = \"kbs\"\n" IMAGE, NULL, NULL,
	 E "data.\"cdh.toml\".kbc.name: \"kbs\" is unknown; cc_kbc and offline_fs_kbc are known\n"},
	{"lint: sealed secrets unchecked", NULL, "skip_sealed_secret_verification = true\n" KBC IMAGE, NULL, NULL,
	 W "data.\"cdh.toml\".skip_sealed_secret_verification: true takes sealed secrets from anyone; drop it and sign "
	   "them\n"},
	{"lint: sealed secrets checked", NULL, "skip_sealed_secret_verification = false\n" KBC IMAGE, NULL, NULL, ""},
	{"lint: no [image]", NULL, KBC, NULL, NULL,
	 W "data.\"cdh.toml\".image: is missing: image settings then come from the kernel command line; write [image]\n"},
	{"lint: no image policy", NULL, KBC "[image]\n", NULL, NULL,
	 W "data.\"cdh.toml\".image.image_security_policy_uri: is not set: the guest runs any image, signed or not; name a "
	   "policy, such as kbs:///default/security-policy/signed\n"},
	{"lint: image policy in place", NULL, KBC "[image]\nimage_security_policy = \"{}\"\n", NULL, NULL, ""},
	{"lint: no package", NULL, NULL, "default GetDiagnosticDataRequest := true\n", NULL,
	 E REGO "does not say \"package agent_policy\", which the agent asks\n"},
	{"lint: failing requests allowed", NULL, NULL, POLICY "default AllowRequestsFailingPolicy := true\n", NULL,
	 W REGO "AllowRequestsFailingPolicy is true: every request is allowed, whatever the rules say; remove it\n"},
	{"lint: policy replaceable", NULL, NULL, POLICY "default SetPolicyRequest := true\n", NULL,
	 W REGO "SetPolicyRequest is true: the host can replace this policy; set it to false\n"},
	{"lint: exec", NULL, NULL, POLICY "default ExecProcessRequest := true\n", NULL,
	 W REGO
	 "ExecProcessRequest is true: whoever may exec into the pod reads its memory; set it to false in production\n"},
	{"lint: dangers that are false", NULL, NULL,
	 POLICY
	 "default ExecProcessRequest := false\ndefault SetPolicyRequest = false\n# default ExecProcessRequest := true\n",
	 NULL, ""},
	{"lint: no diagnostic data", NULL, NULL, "package agent_policy\n", NULL,
	 W REGO "has no rule GetDiagnosticDataRequest: Tekton's results and termination messages are lost silently\n"},
};

static void add_file(struct buf *toml, const char *key, const char *text, const char *usual)
{
	if (text == NULL || text[0] != '\0')
		buf_addf(toml, "\"%s\" = '''\n%s'''\n", key, text != NULL ? text : usual);
}

static void test_lint(void **state)
{
	const struct lint_case *c = *state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	CLEANUP_FINDINGS
	struct findings f = {0};
	buf_addf(&toml, "%s[data]\n", c->top != NULL ? c->top : HEAD);
	add_file(&toml, "aa.toml", c->aa, AA);
	add_file(&toml, "cdh.toml", c->cdh, KBC IMAGE);
	add_file(&toml, "policy.rego", c->policy, POLICY);
	initdata_lint(buf_str(&toml), &f);
	for (size_t i = 0; i < f.n; i++)
		buf_addf(&got, "%s%s: %s\n", f.v[i].level == FINDING_ERROR ? E : W, f.v[i].where, f.v[i].what);
	assert_string_equal(buf_z(&got), c->want);
}

static void test_lint_not_toml(void **state)
{
	(void)state;
	CLEANUP_FINDINGS
	struct findings f = {0};
	initdata_lint(STR("x"), &f);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.v[0].level, FINDING_ERROR);
	assert_string_equal(f.v[0].where, "initdata");
	assert_string_equal(f.v[0].what, "line 1, column 2: expected \"=\" after the key");
}

// What we build ourselves has nothing worse to be said of it than what its source says.
static void test_lint_built(void **state)
{
	(void)state;
	static const char *const want[] = {"data.\"cdh.toml\".image.image_security_policy_uri"};
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_FINDINGS
	struct findings f = {0};
	struct error err = {0};
	const struct initdata_source s = {.kbs_url = "https://kbs", .kbs_ca = "a", .policy = STR(POLICY)};
	assert_int_equal(initdata_build(&s, &toml, &err), 0);
	initdata_lint(buf_str(&toml), &f);
	assert_int_equal(f.n, COUNT(want));
	assert_string_equal(f.v[0].where, want[0]);
}

static void test_build_max(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *policy = xcalloc(INITDATA_TOML_MAX + 1, 1);
	memset(policy, 'a', INITDATA_TOML_MAX);
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	struct error err = {0};
	const struct initdata_source s = {.kbs_url = "https://kbs", .policy = {policy, INITDATA_TOML_MAX}};
	assert_int_equal(initdata_build(&s, &toml, &err), -EFBIG);
	assert_string_equal(err.msg, "initdata: more than 1048576 bytes of TOML");
}

static void test_build_not_utf8(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	struct error err = {0};
	struct initdata_source s = {.kbs_url = "https://kbs\xFF", .policy = STR("a")};
	assert_int_equal(initdata_build(&s, &toml, &err), -EINVAL);
	assert_string_equal(err.msg, "aa.toml: a value is not UTF-8; give text");
	s.kbs_url = "https://kbs";
	s.policy = STR("\xFF");
	assert_int_equal(initdata_build(&s, &toml, &err), -EINVAL);
	assert_string_equal(err.msg, "initdata: a value is not UTF-8; give text");
	s.https_proxy = "\xFF";
	assert_int_equal(initdata_build(&s, &toml, &err), -EINVAL);
	assert_string_equal(err.msg, "cdh.toml: a value is not UTF-8; give text");
	json_auto_t *roots = json_pack("[s]", "a");
	s.https_proxy = "a";
	s.image_extra_root_certificates = roots;
	s.image_security_policy_uri = "\xFF";
	assert_int_equal(initdata_build(&s, &toml, &err), -EINVAL);
	assert_string_equal(err.msg, "cdh.toml: a value is not UTF-8; give text");
}

int main(void)
{
	struct tests t = {0};
	tests_add(&t, "vector: sha256 on all platforms", test_vector, NULL);
	tests_add(&t, "vector: longer digests", test_vector_long, NULL);
	tests_add(&t, "vector: annotation", test_vector_annotation, NULL);
	tests_add(&t, "vector: digests as a status has them", test_vector_digest, NULL);
	ADD_TABLE(&t, bad_digests, test_bad_digest);
	ADD_TABLE(&t, parse_cases, test_parse);
	tests_add(&t, "parse: values", test_parse_values, NULL);
	tests_add(&t, "parse: maximum", test_parse_max, NULL);
	ADD_TABLE(&t, decode_cases, test_decode);
	tests_add(&t, "decode: zeros that unpack to too much", test_decode_bomb, NULL);
	tests_add(&t, "encode: maximum", test_encode_max, NULL);
	ADD_TABLE(&t, lint_cases, test_lint);
	tests_add(&t, "lint: not TOML", test_lint_not_toml, NULL);
	tests_add(&t, "lint: our own", test_lint_built, NULL);
	tests_add(&t, "build: maximum", test_build_max, NULL);
	tests_add(&t, "build: not UTF-8", test_build_not_utf8, NULL);
	return tests_run("initdata", &t);
}
