#include "common/certificate.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/buf.h"
#include "common/certificate_chain.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/pem_key.h"

#define DAY_S ((int64_t)24 * 60 * 60)
#define RSA_BITS_MIN 2048
#define NAMES_SHOWN 5 // in a message

const char *const certificate_problem_names[] = {"Absent",        "Unreadable",   "HasPrivateKey", "CAUnreadable",
												 "KeyUnreadable", "KeyEncrypted", "KeyMismatch",   "KeyKind",
												 "Weak",          "Order",        "Chain",         "Expired",
												 "NotYetValid",   "ExpiresSoon",  "HostMissing",   "WrongPurpose",
												 "IsCA",          "NoIssuer",     "SelfSigned",    NULL};

struct check {
	const struct certificate_input *in;
	struct certificate_report *report;
	STACK_OF(X509) * chain, *ca; // ca NULL where there is none
	EVP_PKEY *key;
	bool misplaced; // the key's certificate isn't the first: the first says nothing of the server
};

static void check_release(struct check *c)
{
	sk_X509_pop_free(c->chain, X509_free);
	sk_X509_pop_free(c->ca, X509_free);
	EVP_PKEY_free(c->key);
	ERR_clear_error();
}

void certificate_report_release(struct certificate_report *r)
{
	for (size_t i = 0; i < r->nnames; i++)
		free(r->names[i]);
	*r = (struct certificate_report){0};
}

// Errors come before warnings, these before notes; else in the order of the checks.
static void __attribute__((format(printf, 4, 5)))
problem(struct check *c, enum certificate_problem_code code, enum certificate_level level, const char *fmt, ...)
{
	struct certificate_report *r = c->report;
	struct error message = {0};
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	(void)error_set(&message, EINVAL, "%s: %s", c->in->what, n >= 0 ? text : "no memory for a message");
	if (n >= 0)
		free(text);
	size_t at = r->nproblems;
	while (at > 0 && r->problems[at - 1].level > level)
		at--;
	if (at == CERTIFICATE_PROBLEMS_MAX)
		return;
	if (r->nproblems < CERTIFICATE_PROBLEMS_MAX)
		r->nproblems++;
	memmove(&r->problems[at + 1], &r->problems[at], (r->nproblems - at - 1) * sizeof(r->problems[0]));
	r->problems[at] = (struct certificate_problem){.code = code, .level = level};
	memcpy(r->problems[at].text, message.msg, sizeof(message.msg));
}

#define FAULT(c, code, ...) problem((c), (code), CERTIFICATE_ERROR, __VA_ARGS__)

// ---- Reading

static EVP_PKEY *read_key(struct str pem, bool *encrypted)
{
	BIO *in CLEANUP(bio_free_slot) = bio_of(pem);
	return pem_key_read(in, encrypted);
}

static bool check_present(struct check *c, struct str s, const char *file, const char *remedy)
{
	if (s.p != NULL && s.n > 0 && s.n <= CERTIFICATE_PEM_MAX)
		return true;
	if (s.n > CERTIFICATE_PEM_MAX)
		FAULT(c, CERTIFICATE_ABSENT, "%s has %zu bytes: at most 1 MiB is read", file, s.n);
	else
		FAULT(c, CERTIFICATE_ABSENT, "%s is %s: %s", file, s.p == NULL ? "missing" : "empty", remedy);
	return false;
}

static void load_chain(struct check *c)
{
	if (!check_present(c, c->in->cert, "tls.crt", "put the certificate there, as PEM, and its issuers after it"))
		return;
	if (memmem(c->in->cert.p, c->in->cert.n, "PRIVATE KEY-----", strlen("PRIVATE KEY-----")) != NULL)
		FAULT(c, CERTIFICATE_HAS_KEY,
			  "tls.crt has a private key in it, and certificates are published: make a new key, put it into tls.key "
			  "only");
	c->chain = certificates_read(c->in->cert);
	if (c->chain == NULL)
		FAULT(
			c, CERTIFICATE_UNREADABLE,
			"tls.crt can't be read: it must have 1 to %d certificates as PEM (-----BEGIN CERTIFICATE-----), all whole",
			CERTIFICATE_CHAIN_MAX);
}

static void load_ca(struct check *c)
{
	if (c->in->ca.p == NULL)
		return;
	if (c->in->ca.n > 0 && c->in->ca.n <= CERTIFICATE_PEM_MAX)
		c->ca = certificates_read(c->in->ca);
	if (c->ca == NULL)
		FAULT(c, CERTIFICATE_CA_UNREADABLE,
			  "ca.crt can't be read: it must have 1 to %d certificates as PEM (-----BEGIN CERTIFICATE-----), all "
			  "whole; or "
			  "leave it out",
			  CERTIFICATE_CHAIN_MAX);
}

static void load_key(struct check *c)
{
	bool encrypted = false;
	if (!check_present(c, c->in->key, "tls.key", "put the certificate's private key there, as PEM"))
		return;
	c->key = read_key(c->in->key, &encrypted);
	if (c->key == NULL && encrypted)
		FAULT(c, CERTIFICATE_KEY_ENCRYPTED, "tls.key is encrypted: store the key without a password");
	else if (c->key == NULL)
		FAULT(c, CERTIFICATE_KEY_UNREADABLE,
			  "tls.key can't be read: it must be a private key as PEM (-----BEGIN PRIVATE KEY-----)");
}

// ---- What messages show

#define NAME_TEXT_MAX 200

static void subject_text(const X509 *x, char text[NAME_TEXT_MAX])
{
	text[0] = '\0';
	BIO *out CLEANUP(bio_free_slot) = BIO_new(BIO_s_mem());
	if (out == NULL || X509_NAME_print_ex(out, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) < 0)
		return;
	char *data = NULL;
	long n = BIO_get_mem_data(out, &data);
	(void)snprintf(text, NAME_TEXT_MAX, "%.*s", n < NAME_TEXT_MAX ? (int)n : NAME_TEXT_MAX - 1,
				   data != NULL ? data : "");
}

static void time_text(int64_t s, char text[CLOCK_TEXT_MAX])
{
	clock_text(s * 1000 * 1000, 0, text);
}

// ---- The key

static bool is_p256(const EVP_PKEY *key)
{
	char group[64] = "";
	size_t n = 0;
	return EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
		   strcmp(group, SN_X9_62_prime256v1) == 0;
}

static bool is_good_curve(const EVP_PKEY *key)
{
	char group[64] = "";
	size_t n = 0;
	return EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
		   (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, SN_secp384r1) == 0 ||
			strcmp(group, SN_secp521r1) == 0);
}

static void check_key_kind(struct check *c)
{
	int bits = EVP_PKEY_get_bits(c->key);
	const char *kind = EVP_PKEY_get0_type_name(c->key);
	kind = kind != NULL ? kind : "unknown";
	if (c->in->use == CERTIFICATE_TOKEN_SIGNER) {
		if (!c->report->is_p256)
			FAULT(c, CERTIFICATE_KEY_KIND,
				  "tls.key is of type %s with %d bits: Trustee signs tokens with EC keys on P-256 only, and does not "
				  "start "
				  "with another; of cert-manager's Certificate ask privateKey: {algorithm: ECDSA, size: 256}",
				  kind, bits);
		return;
	}
	bool rsa = EVP_PKEY_is_a(c->key, "RSA") == 1;
	if ((rsa && bits >= RSA_BITS_MIN) || (EVP_PKEY_is_a(c->key, "EC") == 1 && is_good_curve(c->key)) ||
		EVP_PKEY_is_a(c->key, "ED25519") == 1)
		return;
	FAULT(c, CERTIFICATE_KEY_KIND,
		  "tls.key is of type %s with %d bits: use EC (P-256, P-384), Ed25519, or RSA with %d bits or more", kind, bits,
		  RSA_BITS_MIN);
}

static void check_key(struct check *c)
{
	c->report->is_p256 = is_p256(c->key);
	check_key_kind(c);
	if (c->chain == NULL)
		return;
	for (int i = 0; i < sk_X509_num(c->chain); i++) {
		EVP_PKEY *of = X509_get0_pubkey(sk_X509_value(c->chain, i));
		if (of == NULL || EVP_PKEY_eq(of, c->key) != 1)
			continue;
		c->misplaced = i > 0;
		if (c->misplaced)
			FAULT(c, CERTIFICATE_ORDER,
				  "tls.crt has the key's certificate at place %d: put it first, then each one's issuer", i + 1);
		return;
	}
	FAULT(c, CERTIFICATE_KEY_MISMATCH,
		  "tls.key isn't the key of the certificate in tls.crt: replace both together, from one request");
}

// ---- Time

static void check_time(struct check *c, int i)
{
	const X509 *x = sk_X509_value(c->chain, i);
	int64_t from = certificate_seconds(X509_get0_notBefore(x));
	int64_t to = certificate_seconds(X509_get0_notAfter(x));
	char name[NAME_TEXT_MAX];
	char when[CLOCK_TEXT_MAX];
	subject_text(x, name);
	if (i == 0 || from > c->report->not_before_s)
		c->report->not_before_s = from;
	if (i == 0 || to < c->report->not_after_s)
		c->report->not_after_s = to;
	if (c->in->now_s > to) {
		time_text(to, when);
		FAULT(c, CERTIFICATE_EXPIRED, "tls.crt: the certificate of \"%s\" expired at %s: renew it", name, when);
	} else if (c->in->now_s < from) {
		time_text(from, when);
		FAULT(c, CERTIFICATE_NOT_YET_VALID,
			  "tls.crt: the certificate of \"%s\" is valid from %s only: wait, or issue it with an earlier start; if "
			  "that time has come, set the clock",
			  name, when);
	} else if (to - c->in->now_s < CERTIFICATE_SOON_DAYS * DAY_S) {
		time_text(to, when);
		problem(c, CERTIFICATE_EXPIRES_SOON, CERTIFICATE_WARNING,
				"tls.crt: the certificate of \"%s\" expires at %s, within %d days: renew it", name, when,
				CERTIFICATE_SOON_DAYS);
	}
}

// ---- Names

static char *address_text(const ASN1_OCTET_STRING *ip)
{
	char text[INET6_ADDRSTRLEN] = "";
	int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;
	if (ASN1_STRING_length(ip) != 4 && ASN1_STRING_length(ip) != 16)
		return NULL;
	return inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof(text)) != NULL ? xstrdup(text) : NULL;
}

static void list_names(struct check *c)
{
	struct certificate_report *r = c->report;
	GENERAL_NAMES *names = X509_get_ext_d2i(sk_X509_value(c->chain, 0), NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && r->nnames < CERTIFICATE_NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		char *text = NULL;
		if (name->type == GEN_DNS)
			text = xstrndup((struct str){(const char *)ASN1_STRING_get0_data(name->d.dNSName),
										 (size_t)ASN1_STRING_length(name->d.dNSName)});
		else if (name->type == GEN_IPADD)
			text = address_text(name->d.iPAddress);
		if (text != NULL) {
			text_sanitize(text);
			r->names[r->nnames++] = text;
		}
	}
	GENERAL_NAMES_free(names);
}

// A wildcard stands for one label. The common name doesn't count: no client of today looks at it.
static bool covers(X509 *x, const char *host)
{
	int ip = X509_check_ip_asc(x, host, 0);
	if (ip != -2) // -2: not an address
		return ip == 1;
	const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
	return host[0] != '.' && X509_check_host(x, host, strlen(host), flags, NULL) == 1;
}

static void check_hosts(struct check *c)
{
	CLEANUP_BUF
	struct buf have = BUF_INIT(ERROR_MSG_MAX);
	for (size_t i = 0; i < c->report->nnames && i < NAMES_SHOWN; i++)
		buf_addf(&have, "%s%s", i > 0 ? ", " : "", c->report->names[i]);
	if (c->report->nnames > NAMES_SHOWN)
		buf_addf(&have, " and %zu more", c->report->nnames - NAMES_SHOWN);
	for (size_t i = 0; i < c->in->nhosts; i++)
		if (!covers(sk_X509_value(c->chain, 0), c->in->hosts[i]))
			problem(
				c, CERTIFICATE_HOST, c->in->hosts_may_differ ? CERTIFICATE_WARNING : CERTIFICATE_ERROR,
				"tls.crt is not good for \"%.253s\", but for %.200s: add it to the certificate's subjectAltName (with "
				"cert-manager: dnsNames or ipAddresses), or set spec.exposure.host to the name that guests use",
				c->in->hosts[i], have.n > 0 ? buf_z(&have) : "no name at all");
}

// ---- Purpose

static void check_purpose(struct check *c)
{
	X509 *x = sk_X509_value(c->chain, 0);
	uint32_t extended = X509_get_extended_key_usage(x); // all bits where there is no such extension
	if ((extended & (XKU_SSL_SERVER | XKU_ANYEKU)) == 0)
		FAULT(
			c, CERTIFICATE_PURPOSE,
			"tls.crt is not for servers: its extendedKeyUsage lacks serverAuth; issue it with that (with cert-manager: "
			"usages: [server auth])");
	if ((X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE) == 0)
		FAULT(c, CERTIFICATE_PURPOSE,
			  "tls.crt is not for servers: its keyUsage lacks digitalSignature; issue it with that (with cert-manager: "
			  "usages: [digital signature])");
	if (X509_check_ca(x) == 1)
		problem(
			c, CERTIFICATE_IS_CA, CERTIFICATE_WARNING,
			"tls.crt begins with a CA's certificate (basicConstraints CA:TRUE), which the TLS library of guests takes "
			"for no server's: issue one with CA:FALSE");
}

// ---- The chain

static bool is_issuer(X509 *issuer, X509 *x)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	return X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) == 0 && key != NULL &&
		   X509_verify(x, key) == 1;
}

static bool check_order(struct check *c)
{
	for (int i = 0; i + 1 < sk_X509_num(c->chain); i++) {
		char name[NAME_TEXT_MAX];
		char next[NAME_TEXT_MAX];
		X509 *x = sk_X509_value(c->chain, i);
		if (is_issuer(sk_X509_value(c->chain, i + 1), x))
			continue;
		subject_text(x, name);
		subject_text(sk_X509_value(c->chain, i + 1), next);
		FAULT(
			c, CERTIFICATE_ORDER,
			"tls.crt: the certificate of \"%s\" is followed by that of \"%s\", which did not issue it: put each one's "
			"issuer after it, and nothing else",
			name, next);
		return false;
	}
	return true;
}

static void check_signatures(struct check *c)
{
	for (int i = 0; i < sk_X509_num(c->chain); i++) {
		X509 *x = sk_X509_value(c->chain, i);
		int digest = NID_undef;
		if (i > 0 && certificate_is_self_signed(x)) // a root is known by itself, not by its signature
			continue;
		if (X509_get_signature_info(x, &digest, NULL, NULL, NULL) != 1 || (digest != NID_sha1 && digest != NID_md5))
			continue;
		char name[NAME_TEXT_MAX];
		subject_text(x, name);
		FAULT(c, CERTIFICATE_WEAK,
			  "tls.crt: the certificate of \"%s\" is signed with %s, which OpenSSL takes from no server: issue it with "
			  "SHA-256",
			  name, OBJ_nid2sn(digest));
	}
}

static void add_trusted(X509_STORE *store, X509 *x)
{
	if (X509_STORE_add_cert(store, x) != 1)
		abort();
}

// Whom a chain has to lead to. Clients have ca.crt, else what is last. The key broker trusts a signer whose chain leads to
// a root, in tls.crt or in ca.crt.
static unsigned long choose_trusted(const struct check *c, X509_STORE *store)
{
	bool signer = c->in->use == CERTIFICATE_TOKEN_SIGNER;
	X509 *last = sk_X509_value(c->chain, sk_X509_num(c->chain) - 1);
	for (int i = 0; i < sk_X509_num(c->ca); i++)
		add_trusted(store, sk_X509_value(c->ca, i));
	if (signer ? certificate_is_self_signed(last) : c->ca == NULL)
		add_trusted(store, last);
	return X509_V_FLAG_NO_CHECK_TIME | (signer ? 0 : (unsigned long)X509_V_FLAG_PARTIAL_CHAIN);
}

static int verify(const struct check *c)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (store == NULL || ctx == NULL)
		abort();
	unsigned long flags = choose_trusted(c, store);
	if (X509_STORE_CTX_init(ctx, store, sk_X509_value(c->chain, 0), c->chain) != 1)
		abort();
	X509_STORE_CTX_set_flags(ctx, flags);
	int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return result;
}

static void check_chain(struct check *c)
{
	bool alone = sk_X509_num(c->chain) == 1;
	c->report->is_self_signed = certificate_is_self_signed(sk_X509_value(c->chain, 0));
	check_signatures(c);
	if (!check_order(c) || (c->in->ca.p != NULL && c->ca == NULL))
		return;
	int result = verify(c);
	if (result != X509_V_OK && c->in->use == CERTIFICATE_TOKEN_SIGNER)
		FAULT(c, CERTIFICATE_CHAIN,
			  "tls.crt does not lead to a root (%s), so that the key broker would accept no token: append the issuers "
			  "up to "
			  "the self-signed root to tls.crt, or put the root into ca.crt",
			  X509_verify_cert_error_string(result));
	else if (result != X509_V_OK && c->ca != NULL)
		FAULT(c, CERTIFICATE_CHAIN,
			  "tls.crt does not lead to ca.crt (%s): append its issuers to tls.crt, or put the CA that issued it into "
			  "ca.crt",
			  X509_verify_cert_error_string(result));
	else if (result != X509_V_OK)
		FAULT(c, CERTIFICATE_CHAIN, "tls.crt can't be verified (%s): issue it anew",
			  X509_verify_cert_error_string(result));
	else if (c->report->is_self_signed)
		problem(c, CERTIFICATE_SELF_SIGNED, CERTIFICATE_NOTE,
				"tls.crt is self-signed: who trusts it has to be given the new one whenever it is renewed");
	else if (alone && c->ca == NULL && c->in->use == CERTIFICATE_SERVER)
		problem(
			c, CERTIFICATE_NO_ISSUER, CERTIFICATE_WARNING,
			"tls.crt has no issuer in it, and there is no ca.crt: clients that don't know the issuer can't accept it; "
			"append the issuers to tls.crt");
}

void certificate_check(const struct certificate_input *in, struct certificate_report *ret)
{
	*ret = (struct certificate_report){0};
	struct check c CLEANUP(check_release) = {.in = in, .report = ret};
	load_chain(&c);
	load_ca(&c);
	load_key(&c);
	if (c.key != NULL)
		check_key(&c);
	if (c.chain == NULL)
		return;
	for (int i = 0; i < sk_X509_num(c.chain); i++)
		check_time(&c, i);
	if (c.misplaced)
		return;
	list_names(&c);
	if (in->use == CERTIFICATE_SERVER) {
		check_hosts(&c);
		check_purpose(&c);
	}
	check_chain(&c);
}

int64_t certificate_look_again_s(const struct certificate_report *r, int64_t now_s)
{
	const int64_t at_s[] = {r->not_before_s, r->not_after_s - CERTIFICATE_SOON_DAYS * DAY_S + 1, r->not_after_s + 1};
	if (r->not_after_s == 0)
		return 0;
	for (size_t i = 0; i < sizeof(at_s) / sizeof(at_s[0]); i++)
		if (at_s[i] > now_s)
			return at_s[i];
	return 0;
}
