#include <errno.h>
#include <openssl/err.h>

#include "cases.h"
#include "common/certificate.h"
#include "common/certificate_chain.h"
#include "common/certificate_make.h"
#include "common/cleanup.h"
#include "common/secret.h"
#include "pki.h"

#define NOW ((time_t)1900000000) // 2030-03-17T17:46:40Z
#define DAY ((time_t)24 * 60 * 60)

// ---- Material: certificates by name, made once

static EVP_PKEY *rsa(unsigned bits)
{
	EVP_PKEY *k = EVP_RSA_gen(bits);
	assert_non_null(k);
	return k;
}

static EVP_PKEY *rsa_1024(void)
{
	return rsa(1024);
}

static EVP_PKEY *rsa_2048(void)
{
	return rsa(2048);
}

static EVP_PKEY *p384(void)
{
	return EVP_EC_gen("P-384");
}

static EVP_PKEY *k256(void)
{
	return EVP_EC_gen("secp256k1");
}

static EVP_PKEY *ed25519(void)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static EVP_PKEY *x25519_or_ed448(void)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
}

#define CA "critical,CA:TRUE"
#define SERVER "critical,CA:FALSE"
#define SAN "DNS:kbs-service.trustee.svc,DNS:*.apps.example.com,IP:192.0.2.7,IP:2001:db8::7"

static const struct material {
	const char *id;
	const char *by; // an earlier one
	EVP_PKEY *(*key)(void);
	const char *basic, *san, *eku, *ku;
	int from_days, to_days; // around now; 0 and 0: -90 and 365
	bool sha1;
} materials[] = {
	{.id = "root", .basic = CA},
	{.id = "inter", .by = "root", .basic = CA},
	{.id = "leaf", .by = "inter", .basic = SERVER, .san = SAN},
	{.id = "other-root", .basic = CA},
	{.id = "other", .by = "root", .basic = SERVER, .san = SAN},
	{.id = "self", .basic = SERVER, .san = SAN},
	{.id = "self-ca", .basic = CA, .san = SAN},
	{.id = "bare", .by = "root", .san = SAN},
	{.id = "rsa1024", .by = "root", .key = rsa_1024, .basic = SERVER, .san = SAN},
	{.id = "rsa2048", .by = "root", .key = rsa_2048, .basic = SERVER, .san = SAN},
	{.id = "p384", .by = "root", .key = p384, .basic = SERVER, .san = SAN},
	{.id = "k256", .by = "root", .key = k256, .basic = SERVER, .san = SAN},
	{.id = "ed25519", .by = "root", .key = ed25519, .basic = SERVER, .san = SAN},
	{.id = "ed448", .by = "root", .key = x25519_or_ed448, .basic = SERVER, .san = SAN},
	{.id = "expired", .by = "root", .basic = SERVER, .san = SAN, .from_days = -90, .to_days = -1},
	{.id = "future", .by = "root", .basic = SERVER, .san = SAN, .from_days = 1, .to_days = 90},
	{.id = "soon", .by = "root", .basic = SERVER, .san = SAN, .from_days = -90, .to_days = 29},
	{.id = "not-soon", .by = "root", .basic = SERVER, .san = SAN, .from_days = -90, .to_days = 30},
	{.id = "old-inter", .by = "root", .basic = CA, .from_days = -90, .to_days = -2},
	{.id = "of-old", .by = "old-inter", .basic = SERVER, .san = SAN},
	{.id = "no-san", .by = "root", .basic = SERVER},
	{.id = "client", .by = "root", .basic = SERVER, .san = SAN, .eku = "clientAuth"},
	{.id = "both", .by = "root", .basic = SERVER, .san = SAN, .eku = "clientAuth,serverAuth"},
	{.id = "any", .by = "root", .basic = SERVER, .san = SAN, .eku = "anyExtendedKeyUsage"},
	{.id = "agree", .by = "root", .basic = SERVER, .san = SAN, .ku = "keyAgreement"},
	{.id = "sign", .by = "root", .basic = SERVER, .san = SAN, .ku = "critical,digitalSignature"},
	{.id = "sha1", .by = "root", .basic = SERVER, .san = SAN, .sha1 = true},
	{.id = "sha1-root", .basic = CA, .sha1 = true},
	{.id = "of-sha1", .by = "sha1-root", .basic = SERVER, .san = SAN},
	{.id = "no-ca", .by = "root", .basic = SERVER},
	{.id = "of-no-ca", .by = "no-ca", .basic = SERVER, .san = SAN},
	{.id = "partial", .by = "root", .basic = SERVER, .san = "DNS:kb*.apps.example.com,DNS:*"},
	{.id = "odd\nname", .by = "root", .basic = SERVER, .san = SAN, .from_days = -9, .to_days = -8},
};
static struct pki made[COUNT(materials)];

static const struct pki *find(const char *id, size_t n)
{
	for (size_t i = 0; i < COUNT(materials); i++)
		if (strlen(materials[i].id) == n && memcmp(materials[i].id, id, n) == 0)
			return &made[i];
	fail_msg("no material \"%.*s\"", (int)n, id);
	return NULL;
}

static int make_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(materials); i++) {
		const struct material *m = &materials[i];
		bool usual = m->from_days == 0 && m->to_days == 0;
		made[i] = pki_issue(&(struct pki_spec){
			.name = m->id,
			.by = m->by != NULL ? find(m->by, strlen(m->by)) : NULL,
			.key = m->key != NULL ? m->key() : NULL,
			.basic = m->basic,
			.san = m->san,
			.eku = m->eku,
			.ku = m->ku,
			.from = NOW + (usual ? -90 : m->from_days) * DAY,
			.to = NOW + (usual ? 365 : m->to_days) * DAY,
			.md = m->sha1 ? EVP_sha1() : NULL,
		});
	}
	return 0;
}

static int release_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(materials); i++)
		pki_release(&made[i]);
	return 0;
}

// "leaf+inter": their certificates, one after the other; "=text": that text.
static void certificates(const char *ids, struct buf *out)
{
	if (ids[0] == '=') {
		buf_addz(out, ids + 1);
		return;
	}
	for (size_t n; *ids != '\0'; ids += n + (ids[n] == '+')) {
		n = strcspn(ids, "+");
		buf_addz(out, find(ids, n)->cert_pem);
	}
}

// ---- Checks

#define SERVICE "kbs-service.trustee.svc"

#define SERVES CERTIFICATE_SERVER
#define SIGNS CERTIFICATE_TOKEN_SIGNER

static const struct row {
	const char *name;
	const char *cert, *key, *ca; // material; NULL: absent
	const char *want;            // errors, then (warnings), then [notes]
	const char *says;            // in the first problem's text
	const char *host;            // NULL: SERVICE; "": none; ?HOST: clients may use others
	enum certificate_use use;
} rows[] = {
	{"a chain with its root", "leaf+inter+root", "leaf", NULL, "", NULL, NULL, SERVES},
	{"a chain without its root", "leaf+inter", "leaf", NULL, "", NULL, NULL, SERVES},
	{"a chain with its CA", "leaf+inter", "leaf", "root", "", NULL, NULL, SERVES},
	{"the CA may be an intermediate one", "leaf", "leaf", "inter", "", NULL, NULL, SERVES},
	{"the CA among others", "leaf+inter", "leaf", "other-root+root", "", NULL, NULL, SERVES},
	{"a chain with root and CA", "leaf+inter+root", "leaf", "root", "", NULL, NULL, SERVES},
	{"self-signed", "self", "self", NULL, "[SelfSigned]", "given the new one", NULL, SERVES},
	{"self-signed, itself as CA", "self", "self", "self", "[SelfSigned]", NULL, NULL, SERVES},
	{"self-signed, another CA", "self", "self", "root", "Chain", "ca.crt", NULL, SERVES},
	{"self-signed, a CA's", "self-ca", "self-ca", NULL, "(IsCA) [SelfSigned]", "CA:FALSE", NULL, SERVES},
	{"no issuer", "other", "other", NULL, "(NoIssuer)", "append the issuers", NULL, SERVES},
	{"no issuer, but the CA", "other", "other", "root", "", NULL, NULL, SERVES},
	{"an intermediate is missing", "leaf", "leaf", "root", "Chain", "append its issuers", NULL, SERVES},
	{"another CA", "leaf+inter+root", "leaf", "other-root", "Chain", "ca.crt", NULL, SERVES},
	{"intermediate first", "inter+leaf", "leaf", NULL, "Order", "place 2", NULL, SERVES},
	{"wrong order behind the first", "leaf+root+inter", "leaf", NULL, "Order", "\"CN=root\", which did not issue it",
	 NULL, SERVES},
	{"a stranger at the end", "leaf+inter+other-root", "leaf", NULL, "Order", "\"CN=other-root\"", NULL, SERVES},
	{"twice the same", "leaf+leaf+inter", "leaf", NULL, "Order", "\"CN=leaf\"", NULL, SERVES},
	{"the issuer is no CA", "of-no-ca+no-ca+root", "of-no-ca", NULL, "Chain", "issue it anew", NULL, SERVES},
	{"without basicConstraints", "bare+root", "bare", NULL, "", NULL, NULL, SERVES},

	{"no certificate", NULL, "leaf", NULL, "Absent", "tls.crt is missing", NULL, SERVES},
	{"an empty certificate", "=", "leaf", NULL, "Absent", "tls.crt is empty", NULL, SERVES},
	{"no key", "leaf+inter", NULL, NULL, "Absent", "tls.key is missing", NULL, SERVES},
	{"an empty key", "leaf+inter", "=", NULL, "Absent", "tls.key is empty", NULL, SERVES},
	{"neither", NULL, NULL, NULL, "Absent Absent", "tls.crt is missing", NULL, SERVES},
	{"garbage", "=garbage", "leaf", NULL, "Unreadable", "BEGIN CERTIFICATE", NULL, SERVES},
	{"a damaged certificate", "=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "leaf", NULL,
	 "Unreadable", "all whole", NULL, SERVES},
	{"a cut certificate", "=-----BEGIN CERTIFICATE-----\nMIIB\n", "leaf", NULL, "Unreadable", "all whole", NULL,
	 SERVES},
	{"a garbage key", "leaf+inter", "=garbage", NULL, "KeyUnreadable", "BEGIN PRIVATE KEY", NULL, SERVES},
	{"a certificate as key", "leaf+inter", "=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NULL,
	 "KeyUnreadable", NULL, NULL, SERVES},
	{"a garbage CA", "leaf+inter", "leaf", "=garbage", "CAUnreadable", "or leave it out", NULL, SERVES},
	{"an empty CA", "leaf+inter", "leaf", "=", "CAUnreadable", "ca.crt", NULL, SERVES},
	{"garbage everywhere", "=x", "=y", "=z", "Unreadable CAUnreadable KeyUnreadable", NULL, NULL, SERVES},
	{"another key", "leaf+inter", "other", NULL, "KeyMismatch", "replace both together", NULL, SERVES},
	{"another key of the same kind as the issuer's", "leaf+inter", "inter", NULL, "Order", "place 2", NULL, SERVES},

	{"RSA with 1024 bits", "rsa1024+root", "rsa1024", NULL, "KeyKind", "RSA with 1024 bits", NULL, SERVES},
	{"RSA with 2048 bits", "rsa2048+root", "rsa2048", NULL, "", NULL, NULL, SERVES},
	{"P-384", "p384+root", "p384", NULL, "", NULL, NULL, SERVES},
	{"secp256k1", "k256+root", "k256", NULL, "KeyKind", "use EC (P-256, P-384)", NULL, SERVES},
	{"Ed25519", "ed25519+root", "ed25519", NULL, "", NULL, NULL, SERVES},
	{"Ed448", "ed448+root", "ed448", NULL, "KeyKind", "ED448", NULL, SERVES},
	{"signed with SHA-1", "sha1+root", "sha1", NULL, "Weak", "SHA1", NULL, SERVES},
	{"a root that is signed with SHA-1", "of-sha1+sha1-root", "of-sha1", NULL, "", NULL, NULL, SERVES},

	{"expired", "expired+root", "expired", NULL, "Expired", "expired at 2030-03-16T17:46:40Z: renew it", NULL, SERVES},
	{"not yet valid", "future+root", "future", NULL, "NotYetValid", "from 2030-03-18T17:46:40Z", NULL, SERVES},
	{"expires soon", "soon+root", "soon", NULL, "(ExpiresSoon)", "2030-04-15T17:46:40Z, within 30 days", NULL, SERVES},
	{"expires in 30 days", "not-soon+root", "not-soon", NULL, "", NULL, NULL, SERVES},
	{"an issuer is expired", "of-old+old-inter+root", "of-old", NULL, "Expired", "\"CN=old-inter\" expired", NULL,
	 SERVES},
	{"a line break in a name", "odd\nname+root", "odd\nname", NULL, "Expired", "\"CN=odd\\0Aname\" expired", NULL,
	 SERVES},

	{"a host by wildcard", "other+root", "other", NULL, "", NULL, "kbs.apps.example.com", SERVES},
	{"a host in capitals", "other+root", "other", NULL, "", NULL, "KBS.apps.Example.com", SERVES},
	{"a wildcard is for one label", "other+root", "other", NULL, "HostMissing", "\"a.kbs.apps.example.com\"",
	 "a.kbs.apps.example.com", SERVES},
	{"a wildcard is not for none", "other+root", "other", NULL, "HostMissing", NULL, "apps.example.com", SERVES},
	{"a part of a label is no wildcard", "partial+root", "partial", NULL, "HostMissing", NULL, "kbs.apps.example.com",
	 SERVES},
	{"a wildcard alone is none", "partial+root", "partial", NULL, "HostMissing", NULL, "localhost", SERVES},
	{"a host below a name", "other+root", "other", NULL, "HostMissing", NULL, ".apps.example.com", SERVES},
	{"another host", "other+root", "other", NULL, "HostMissing",
	 "not good for \"kbs.example.org\", but for kbs-service.trustee.svc, *.apps.example.com, 192.0.2.7, 2001:db8::7",
	 "kbs.example.org", SERVES},
	{"an address", "other+root", "other", NULL, "", NULL, "192.0.2.7", SERVES},
	{"an address of IPv6", "other+root", "other", NULL, "", NULL, "2001:db8:0::7", SERVES},
	{"another host, where others may be used", "other+root", "other", NULL, "(HostMissing)", "\"x.org\"", "?x.org",
	 SERVES},
	{"another address", "other+root", "other", NULL, "HostMissing", NULL, "192.0.2.8", SERVES},
	{"a common name is no name", "no-san+root", "no-san", NULL, "HostMissing", "no name at all", "no-san", SERVES},
	{"no host to be good for", "no-san+root", "no-san", NULL, "", NULL, "", SERVES},
	{"for clients only", "client+root", "client", NULL, "WrongPurpose", "serverAuth", NULL, SERVES},
	{"for both", "both+root", "both", NULL, "", NULL, NULL, SERVES},
	{"for any use", "any+root", "any", NULL, "", NULL, NULL, SERVES},
	{"not for signatures", "agree+root", "agree", NULL, "WrongPurpose", "digitalSignature", NULL, SERVES},
	{"for signatures", "sign+root", "sign", NULL, "", NULL, NULL, SERVES},
	{"all at once", "expired", "rsa1024", NULL, "KeyKind KeyMismatch Expired HostMissing (NoIssuer)", NULL, "x.org",
	 SERVES},

	{"signer, self-signed", "self", "self", NULL, "[SelfSigned]", NULL, "", SIGNS},
	{"signer, a CA's", "self-ca", "self-ca", NULL, "[SelfSigned]", NULL, "", SIGNS},
	{"signer, with root", "leaf+inter+root", "leaf", NULL, "", NULL, "", SIGNS},
	{"signer, with CA", "leaf+inter", "leaf", "root", "", NULL, "", SIGNS},
	{"signer, root and another CA", "leaf+inter+root", "leaf", "other-root", "", NULL, "", SIGNS},
	{"signer, no root", "leaf+inter", "leaf", NULL, "Chain", "accept no token", "", SIGNS},
	{"signer, alone", "other", "other", NULL, "Chain", "accept no token", "", SIGNS},
	{"signer, the CA is no root", "leaf", "leaf", "inter", "Chain", "accept no token", "", SIGNS},
	{"signer, RSA", "rsa2048+root", "rsa2048", NULL, "KeyKind", "P-256 only", "", SIGNS},
	{"signer, P-384", "p384+root", "p384", NULL, "KeyKind", "P-256 only", "", SIGNS},
	{"signer, secp256k1", "k256+root", "k256", NULL, "KeyKind", "P-256 only", "", SIGNS},
	{"signer, Ed25519", "ed25519+root", "ed25519", NULL, "KeyKind", "P-256 only", "", SIGNS},
	{"signer, for no host and clients", "client+root", "client", NULL, "", NULL, "x.org", SIGNS},
	{"signer, expired", "expired+root", "expired", NULL, "Expired", NULL, "", SIGNS},
};

static void add_problems(const struct certificate_report *r, struct buf *out)
{
	static const char *const open[] = {"", "(", "["};
	static const char *const close[] = {"", ")", "]"};
	for (size_t i = 0; i < r->nproblems; i++) {
		const struct certificate_problem *p = &r->problems[i];
		buf_addf(out, "%s%s%s%s", i > 0 ? " " : "", open[p->level], certificate_problem_names[p->code],
				 close[p->level]);
	}
}

// No line of any key's text, nor a piece of one, is in a message.
static void assert_no_secret(const struct certificate_report *r)
{
	for (size_t i = 0; i < COUNT(materials); i++) {
		const char *body = strchr(made[i].key_pem, '\n') + 1;
		char piece[13] = "";
		for (size_t at = 0; at + 12 < strlen(body); at += 12) {
			memcpy(piece, body + at, 12);
			for (size_t p = 0; p < r->nproblems; p++)
				if (strstr("-----END PRIVATE KEY-----", piece) == NULL)
					assert_null(strstr(r->problems[p].text, piece));
		}
	}
}

static struct str text_or_none(const char *ids, const struct buf *text)
{
	return ids != NULL ? buf_str(text) : (struct str){0};
}

static void test_row(void **state)
{
	const struct row *row = *state;
	CLEANUP_BUF
	struct buf cert = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf ca = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf got = BUF_INIT(4096);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	const char *key = row->key == NULL || row->key[0] == '=' ? row->key : find(row->key, strlen(row->key))->key_pem;
	const char *host = row->host != NULL ? row->host : SERVICE;
	bool may_differ = host[0] == '?';
	host += may_differ;
	certificates(row->cert != NULL ? row->cert : "=", &cert);
	certificates(row->ca != NULL ? row->ca : "=", &ca);
	certificate_check(
		&(struct certificate_input){
			.what = "spec.x: Secret \"s\"",
			.cert = text_or_none(row->cert, &cert),
			.key = str_from(key != NULL && key[0] == '=' ? key + 1 : key),
			.ca = text_or_none(row->ca, &ca),
			.use = row->use,
			.hosts = &host,
			.nhosts = host[0] != '\0',
			.hosts_may_differ = may_differ,
			.now_s = NOW,
		},
		&r);
	add_problems(&r, &got);
	assert_string_equal(buf_z(&got), row->want);
	assert_int_equal(certificate_usable(&r), row->want[0] == '\0' || strchr("([", row->want[0]) != NULL);
	for (size_t i = 0; i < r.nproblems; i++)
		assert_ptr_equal(strstr(r.problems[i].text, "spec.x: Secret \"s\": "), r.problems[i].text);
	if (row->says != NULL && strstr(r.problems[0].text, row->says) == NULL)
		fail_msg("the message is: %s", r.problems[0].text);
	assert_no_secret(&r);
	assert_int_equal(ERR_peek_error(), 0);
}

static void check(const char *cert, const char *key, struct certificate_report *ret)
{
	certificate_check(
		&(struct certificate_input){
			.what = "x", .cert = str_from(cert), .key = str_from(key), .use = CERTIFICATE_TOKEN_SIGNER, .now_s = NOW},
		ret);
}

static void test_facts(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf chain = BUF_INIT(65536);
	certificates("soon+root", &chain);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(buf_z(&chain), find("soon", 4)->key_pem, &r);
	assert_int_equal(r.not_before_s, NOW - 90 * DAY);
	assert_int_equal(r.not_after_s, NOW + 29 * DAY);
	assert_true(r.is_p256);
	assert_false(r.is_self_signed);
	assert_int_equal(r.nnames, 4);
	assert_string_equal(r.names[0], "kbs-service.trustee.svc");
	assert_string_equal(r.names[1], "*.apps.example.com");
	assert_string_equal(r.names[2], "192.0.2.7");
	assert_string_equal(r.names[3], "2001:db8::7");
}

static void test_earliest_end(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf chain = BUF_INIT(65536);
	certificates("of-old+old-inter+root", &chain);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(buf_z(&chain), find("of-old", 6)->key_pem, &r);
	assert_int_equal(r.not_after_s, NOW - 2 * DAY);
}

static void test_key_in_certificate(void **state)
{
	(void)state;
	const struct pki *p = find("self", 4);
	CLEANUP_FREE char *both = xasprintf("%s%s", p->cert_pem, p->key_pem);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(both, p->key_pem, &r);
	assert_int_equal(r.problems[0].code, CERTIFICATE_HAS_KEY);
	assert_false(certificate_usable(&r));
	assert_non_null(strstr(r.problems[0].text, "make a new key"));
	assert_no_secret(&r);
}

// As `kubectl create secret tls` takes it, with a password.
static void test_encrypted_key(void **state)
{
	(void)state;
	const struct pki *p = find("self", 4);
	BIO *out = BIO_new(BIO_s_mem());
	char password[] = "correct horse";
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, p->key, EVP_aes_256_cbc(), password, 13, NULL, NULL), 1);
	CLEANUP_FREE char *pem = pki_text(out);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(p->cert_pem, pem, &r);
	assert_int_equal(r.problems[0].code, CERTIFICATE_KEY_ENCRYPTED);
	assert_non_null(strstr(r.problems[0].text, "without a password"));
}

static void test_limits(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf many = BUF_INIT((size_t)4 * 1024 * 1024);
	const struct pki *p = find("self", 4);
	for (int i = 0; i <= CERTIFICATE_CHAIN_MAX; i++)
		buf_addz(&many, p->cert_pem);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(buf_z(&many), p->key_pem, &r);
	assert_int_equal(r.problems[0].code, CERTIFICATE_UNREADABLE);
	certificate_report_release(&r);
	while (many.n <= CERTIFICATE_PEM_MAX)
		buf_addz(&many, p->cert_pem);
	check(buf_z(&many), buf_z(&many), &r);
	assert_int_equal(r.nproblems, 2);
	assert_int_equal(r.problems[0].code, CERTIFICATE_ABSENT);
	assert_non_null(strstr(r.problems[0].text, "at most 1 MiB"));
}

// More problems than have room: errors stay, warnings go.
static void test_many_problems(void **state)
{
	(void)state;
	static const char *hosts[CERTIFICATE_PROBLEMS_MAX + 5];
	for (size_t i = 0; i < COUNT(hosts); i++)
		hosts[i] = "x.org";
	CLEANUP_BUF
	struct buf chain = BUF_INIT(65536);
	certificates("soon", &chain);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	certificate_check(&(struct certificate_input){.what = "x",
												  .cert = buf_str(&chain),
												  .key = str_from(find("soon", 4)->key_pem),
												  .hosts = hosts,
												  .nhosts = COUNT(hosts),
												  .now_s = NOW},
					  &r);
	assert_int_equal(r.nproblems, CERTIFICATE_PROBLEMS_MAX);
	for (size_t i = 0; i < r.nproblems; i++)
		assert_int_equal(r.problems[i].code, CERTIFICATE_HOST);
}

// Damaged texts of every kind end in a report; sanitizers watch.
static void test_damaged(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf chain = BUF_INIT(65536);
	certificates("leaf+inter+root", &chain);
	CLEANUP_FREE char *key = xstrdup(find("leaf", 4)->key_pem);
	uint32_t seed = 1;
	for (int i = 0; i < 600; i++) {
		seed = seed * 1664525 + 1013904223;
		char *text = i % 3 == 0 ? key : chain.p;
		char *at = text + (seed >> 8) % strlen(text);
		char was = *at;
		*at = (char)(seed >> 4 & 0x7f);
		CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
		certificate_check(
			&(struct certificate_input){
				.what = "x", .cert = buf_str(&chain), .key = str_from(key), .ca = buf_str(&chain), .now_s = NOW},
			&r);
		assert_no_secret(&r);
		*at = was;
	}
}

static void test_names_are_complete(void **state)
{
	(void)state;
	size_t n = 0;
	while (certificate_problem_names[n] != NULL)
		n++;
	assert_int_equal(n, CERTIFICATE_SELF_SIGNED + 1);
}

// ---- What we make

static X509 *parsed_cert(const struct buf *pem)
{
	BIO *in = BIO_new_mem_buf(pem->p, (int)pem->n);
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	BIO_free(in);
	assert_non_null(x);
	return x;
}

static void test_signer(void **state)
{
	(void)state;
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF
	struct buf cert = BUF_INIT(65536);
	struct error err = {0};
	assert_int_equal(certificate_make_signer("kbs-token", NOW, 365, &key, &cert, &err), 0);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	check(buf_z(&cert), buf_z(&key), &r);
	assert_int_equal(r.nproblems, 1);
	assert_int_equal(r.problems[0].code, CERTIFICATE_SELF_SIGNED);
	assert_true(r.is_p256 && r.is_self_signed);
	assert_int_equal(r.not_before_s, NOW - 300);
	assert_int_equal(r.not_after_s, NOW + 365 * DAY);
	X509 *x = parsed_cert(&cert);
	assert_int_equal(X509_check_ca(x), 0);
	X509_free(x);
	assert_ptr_equal(strstr(buf_z(&key), "-----BEGIN PRIVATE KEY-----\n"), buf_z(&key));
	assert_non_null(strstr(buf_z(&key), "-----END PRIVATE KEY-----\n"));
}

static void test_signers_differ(void **state)
{
	(void)state;
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_SECRET_BUF struct buf key2 = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF
	struct buf cert = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf cert2 = BUF_INIT(65536);
	struct error err = {0};
	assert_int_equal(certificate_make_signer("a", NOW, 1, &key, &cert, &err), 0);
	assert_int_equal(certificate_make_signer("a", NOW, 1, &key2, &cert2, &err), 0);
	assert_string_not_equal(buf_z(&key), buf_z(&key2));
	X509 *a = parsed_cert(&cert);
	X509 *b = parsed_cert(&cert2);
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)), 0);
	X509_free(a);
	X509_free(b);
}

static void test_signer_refused(void **state)
{
	(void)state;
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF
	struct buf cert = BUF_INIT(65536);
	struct error err = {0};
	char name[SIGNER_NAME_MAX + 2];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(certificate_make_signer(name, NOW, 1, &key, &cert, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "65 bytes"));
	assert_int_equal(certificate_make_signer(name + 1, NOW, 1, &key, &cert, &err), 0);
	assert_int_equal(certificate_make_signer("", NOW, 1, &key, &cert, &err), -EINVAL);
	assert_int_equal(certificate_make_signer("a", NOW, 0, &key, &cert, &err), -EINVAL);
	assert_int_equal(certificate_make_signer("a", NOW, SIGNER_DAYS_MAX + 1, &key, &cert, &err), -EINVAL);
	struct buf small = BUF_INIT(10);
	assert_int_equal(certificate_make_signer("a", NOW, 1, &key, &small, &err), -EFBIG);
	buf_release(&small);
}

static EVP_PKEY *parsed(const struct buf *pem)
{
	BIO *in = BIO_new_mem_buf(pem->p, (int)pem->n);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	BIO_free(in);
	assert_non_null(k);
	return k;
}

static void test_admin_keys(void **state)
{
	(void)state;
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF
	struct buf pub = BUF_INIT(4096);
	struct error err = {0};
	assert_int_equal(certificate_make_admin_keys(&key, &pub, &err), 0);
	assert_ptr_equal(strstr(buf_z(&key), "-----BEGIN PRIVATE KEY-----\n"), buf_z(&key));
	assert_ptr_equal(strstr(buf_z(&pub), "-----BEGIN PUBLIC KEY-----\n"), buf_z(&pub));
	EVP_PKEY *k = parsed(&key);
	assert_int_equal(EVP_PKEY_is_a(k, "ED25519"), 1);
	BIO *in = BIO_new_mem_buf(pub.p, (int)pub.n);
	EVP_PKEY *p = PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
	assert_int_equal(EVP_PKEY_eq(k, p), 1);
	BIO_free(in);
	EVP_PKEY_free(p);
	EVP_PKEY_free(k);
}

static char *traditional(EVP_PKEY *key)
{
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(out, key, NULL, NULL, 0, NULL, NULL), 1);
	return pki_text(out);
}

// What `openssl ecparam -genkey` writes: the curve's parameters, then the key.
static char *with_parameters(EVP_PKEY *key)
{
	CLEANUP_FREE char *sec1 = traditional(key);
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_Parameters(out, key), 1);
	CLEANUP_FREE char *parameters = pki_text(out);
	return xasprintf("a comment\n%s%s", parameters, sec1);
}

static char *explicit_curve(EVP_PKEY *key)
{
	EVP_PKEY *copy = EVP_PKEY_dup(key);
	assert_int_equal(EVP_PKEY_set_utf8_string_param(copy, "encoding", "explicit"), 1);
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, copy, NULL, NULL, 0, NULL, NULL), 1);
	EVP_PKEY_free(copy);
	return pki_text(out);
}

static char *as_it_is(EVP_PKEY *key)
{
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
	return pki_text(out);
}

static struct key_row {
	const char *name, *id;
	char *(*form)(EVP_PKEY *key);
	const char *head;
} key_rows[] = {
	{"PKCS#8 as it is", "self", as_it_is, "-----BEGIN PRIVATE KEY-----"},
	{"PKCS#8 from SEC1", "self", traditional, "-----BEGIN EC PRIVATE KEY-----"},
	{"PKCS#8 from SEC1 with parameters", "self", with_parameters, "a comment\n-----BEGIN EC PARAMETERS-----"},
	{"PKCS#8 from a curve in full", "self", explicit_curve, "-----BEGIN PRIVATE KEY-----"},
	{"PKCS#8 from PKCS#1", "rsa2048", traditional, "-----BEGIN RSA PRIVATE KEY-----"},
	{"PKCS#8 of Ed25519", "ed25519", as_it_is, "-----BEGIN PRIVATE KEY-----"},
};

static void test_pkcs8(void **state)
{
	const struct key_row *row = *state;
	const struct pki *p = find(row->id, strlen(row->id));
	CLEANUP_FREE char *pem = row->form(p->key);
	CLEANUP_FREE char *want = as_it_is(p->key);
	CLEANUP_SECRET_BUF struct buf got = secret_buf(KEY_PEM_MAX);
	struct error err = {0};
	assert_ptr_equal(strstr(pem, row->head), pem);
	if (certificate_key_pkcs8(str_from(pem), &got, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(buf_z(&got), want);
}

static void test_pkcs8_refused(void **state)
{
	(void)state;
	CLEANUP_SECRET_BUF struct buf got = secret_buf(KEY_PEM_MAX);
	struct error err = {0};
	BIO *out = BIO_new(BIO_s_mem());
	char password[] = "correct horse";
	assert_int_equal(
		PEM_write_bio_PKCS8PrivateKey(out, find("self", 4)->key, EVP_aes_256_cbc(), password, 13, NULL, NULL), 1);
	CLEANUP_FREE char *encrypted = pki_text(out);
	const char *const texts[] = {encrypted, "", "garbage", NULL, find("self", 4)->cert_pem};
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_int_equal(certificate_key_pkcs8(str_from(texts[i]), &got, &err), -EINVAL);
		assert_int_equal(got.n, 0);
		assert_non_null(strstr(err.msg, "without a password"));
	}
}

// ---- What a chain leads to

static const struct chain_row {
	const char *name;
	const char *cert, *ca;     // material; NULL: no ca
	const char *anchor, *root; // what to trust, and the chain with its root; NULL: it can't be read
} chain_rows[] = {
	{"chain: self-signed", "self", NULL, "self", "self"},
	{"chain: with its root", "leaf+inter+root", NULL, "root", "leaf+inter+root"},
	{"chain: with its root, and the CA", "leaf+inter+root", "root", "root", "leaf+inter+root"},
	{"chain: with its root, and another CA", "leaf+inter+root", "other-root", "root", "leaf+inter+root"},
	{"chain: the root is the CA", "leaf+inter", "root", "root", "leaf+inter+root"},
	{"chain: the root among CAs", "leaf+inter", "other-root+root", "root", "leaf+inter+root"},
	{"chain: all issuers are CAs", "leaf", "root+inter", "root", "leaf+inter+root"},
	{"chain: the CA is no root", "leaf", "inter", "inter", "leaf"},
	{"chain: another CA", "leaf+inter", "other-root", "inter", "leaf+inter"},
	{"chain: no CA", "leaf+inter", NULL, "inter", "leaf+inter"},
	{"chain: a CA that can't be read", "leaf+inter", "=garbage", "inter", "leaf+inter"},
	{"chain: one that is expired", "expired", "root", "root", "expired+root"},
	{"chain: alone", "other", NULL, "other", "other"},
	{"chain: garbage", "=garbage", "root", NULL, NULL},
	{"chain: empty", "=", "root", NULL, NULL},
};

static void test_chain(void **state)
{
	const struct chain_row *row = *state;
	struct error err;
	CLEANUP_BUF
	struct buf cert = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf ca = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf want = BUF_INIT(65536);
	CLEANUP_BUF
	struct buf got = BUF_INIT(65536);
	certificates(row->cert, &cert);
	certificates(row->ca != NULL ? row->ca : "=", &ca);
	certificates(row->anchor != NULL ? row->anchor : "=", &want);
	assert_int_equal(certificate_anchor(buf_str(&cert), text_or_none(row->ca, &ca), &got, &err),
					 row->anchor != NULL ? 0 : -EINVAL);
	assert_string_equal(buf_z(&got), buf_z(&want));
	buf_clear(&got);
	buf_clear(&want);
	certificates(row->root != NULL ? row->root : "=", &want);
	assert_int_equal(certificate_with_root(buf_str(&cert), text_or_none(row->ca, &ca), &got, &err),
					 row->root != NULL ? 0 : -EINVAL);
	assert_string_equal(buf_z(&got), buf_z(&want));
	assert_int_equal(ERR_peek_error(), 0);
}

// A text without a newline at its end is no reason to spoil what comes behind it.
static void test_chain_newline(void **state)
{
	(void)state;
	struct error err;
	CLEANUP_BUF
	struct buf got = BUF_INIT(65536);
	const struct pki *other = find("other", strlen("other"));
	const struct pki *root = find("root", strlen("root"));
	struct str cut = {other->cert_pem, strlen(other->cert_pem) - 1};
	CLEANUP_FREE char *want = xasprintf("%s%s", other->cert_pem, root->cert_pem);
	assert_int_equal(certificate_with_root(cut, str_from(root->cert_pem), &got, &err), 0);
	assert_string_equal(buf_z(&got), want);
	struct buf small = BUF_INIT(16);
	assert_int_equal(certificate_anchor(cut, (struct str){0}, &small, &err), -EFBIG);
	buf_release(&small);
	assert_int_equal(certificate_anchor((struct str){0}, (struct str){0}, &got, &err), -EINVAL);
}

static void test_admin_pair(void **state)
{
	(void)state;
	struct error err;
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_SECRET_BUF struct buf other = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF struct buf pub = BUF_INIT(KEY_PEM_MAX);
	CLEANUP_BUF struct buf other_pub = BUF_INIT(KEY_PEM_MAX);
	assert_int_equal(certificate_make_admin_keys(&key, &pub, &err), 0);
	assert_int_equal(certificate_make_admin_keys(&other, &other_pub, &err), 0);
	assert_true(certificate_is_admin_keys(buf_str(&key), buf_str(&pub)));
	assert_false(certificate_is_admin_keys(buf_str(&key), buf_str(&other_pub)));
	assert_false(certificate_is_admin_keys(buf_str(&pub), buf_str(&key)));
	assert_false(certificate_is_admin_keys(buf_str(&key), (struct str){0}));
	assert_false(certificate_is_admin_keys((struct str){0}, buf_str(&pub)));
	assert_false(certificate_is_admin_keys(STR(""), STR("")));
	// A pair, but of another kind.
	const struct pki *leaf = find("leaf", strlen("leaf"));
	BIO *text = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PUBKEY(text, leaf->key), 1);
	CLEANUP_FREE char *leaf_pub = pki_text(text);
	assert_false(certificate_is_admin_keys(str_from(leaf->key_pem), str_from(leaf_pub)));
	assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
	static struct tests all;
	static struct row table[COUNT(rows)];
	memcpy(table, rows, sizeof(rows));
	ADD_TABLE(&all, table, test_row);
	tests_add(&all, "what a report says besides", test_facts, NULL);
	tests_add(&all, "the earliest end counts", test_earliest_end, NULL);
	tests_add(&all, "a private key in tls.crt", test_key_in_certificate, NULL);
	tests_add(&all, "an encrypted key", test_encrypted_key, NULL);
	tests_add(&all, "limits", test_limits, NULL);
	tests_add(&all, "more problems than have room", test_many_problems, NULL);
	tests_add(&all, "damaged texts", test_damaged, NULL);
	tests_add(&all, "every problem has a name", test_names_are_complete, NULL);
	tests_add(&all, "a signer is usable", test_signer, NULL);
	tests_add(&all, "signers differ", test_signers_differ, NULL);
	tests_add(&all, "signers that can't be", test_signer_refused, NULL);
	tests_add(&all, "an admin's keys", test_admin_keys, NULL);
	ADD_TABLE(&all, key_rows, test_pkcs8);
	tests_add(&all, "what is no key for PKCS#8", test_pkcs8_refused, NULL);
	tests_add(&all, "what is a pair of an admin's keys", test_admin_pair, NULL);
	static struct chain_row chains[COUNT(chain_rows)];
	memcpy(chains, chain_rows, sizeof(chain_rows));
	ADD_TABLE(&all, chains, test_chain);
	tests_add(&all, "chain: no newline at the end, no room, nothing", test_chain_newline, NULL);
	return _cmocka_run_group_tests("certificate", all.v, all.n, make_all, release_all);
}
