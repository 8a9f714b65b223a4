// The Secrets of a Trustee, and what is to be told of its certificates.
#include <stdlib.h>
#include <string.h>

#include "common/certificate.h"
#include "common/certificate_chain.h"
#include "common/certificate_make.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/json_made.h"
#include "common/mem.h"
#include "common/profile.h"
#include "common/secret.h"
#include "controller/trustee_parts.h"

// Of a derived certificate: its chain, and roots behind it.
#define CHAIN_PEM_MAX (2 * CERTIFICATE_PEM_MAX)

// ---- Values

json_t *parts_secret_body(const char *key, struct str value)
{
	CLEANUP_SECRET_BUF struct buf coded = secret_buf((value.n + 2) / 3 * 4);
	base64_encode(value, &coded);
	return json_made(json_pack("{s:{s:s%}}", "data", key, buf_z(&coded), coded.n));
}

static void put(struct parts *p, const char *suffix, const char *component, const char *key, struct str value)
{
	parts_put(p, &KUBE_SECRETS, parts_name(p, suffix), component, parts_secret_body(key, value));
}

static void read_live(const struct parts *p, const char *suffix, const char *key, struct secret_text *ret)
{
	CLEANUP_FREE char *name = parts_name(p, suffix);
	if (!secret_text_read(parts_live(p, &KUBE_SECRETS, name), key, ret))
		secret_text_release(ret);
}

// A live one as it is: it is not made where it isn't there, since there is nothing to make it of.
static void put_live(struct parts *p, const char *suffix, const char *component, const char *key,
					 const struct secret_text *value)
{
	CLEANUP_FREE char *name = parts_name(p, suffix);
	if (value->there)
		put(p, suffix, component, key, secret_text_str(value));
	else if (parts_live(p, &KUBE_SECRETS, name) != NULL)
		parts_put(p, &KUBE_SECRETS, TAKE_PTR(name), component, NULL);
}

static void note_made(struct parts *p, const char *suffix)
{
	p->out->made[p->out->nmade++] = parts_name(p, suffix);
}

// ---- A certificate with its key, from one Secret of an admin's into two of ours

struct pair_kind {
	const char *field; // that names the Secret
	const char *key_suffix, *key;
	const char *cert_suffix, *cert;
	const char *component;
	enum certificate_use use;
};

static const struct pair_kind https = {"spec.httpsSpec.tlsSecretName",
									   SUFFIX_HTTPS_KEY,
									   "privateKey",
									   SUFFIX_HTTPS_CERT,
									   "certificate",
									   COMPONENT_HTTPS,
									   CERTIFICATE_SERVER};
static const struct pair_kind token = {"spec.attestationTokenVerificationSpec.tlsSecretName",
									   SUFFIX_TOKEN_KEY,
									   "token.key",
									   SUFFIX_TOKEN_CERT,
									   "token.crt",
									   COMPONENT_ATTESTATION,
									   CERTIFICATE_TOKEN_SIGNER};

struct pair {
	struct secret_text cert, key, ca;
};

static void pair_release(struct pair *pair)
{
	secret_text_release(&pair->cert);
	secret_text_release(&pair->key);
	secret_text_release(&pair->ca);
}

// Notes when a verdict changes by time alone.
static void note_times(struct parts *p, const struct certificate_report *report)
{
	int64_t *next = &p->out->look_again_s;
	int64_t at_s = certificate_look_again_s(report, p->in->now_s);
	if (at_s != 0 && (*next == 0 || at_s < *next))
		*next = at_s;
}

static void check(const struct parts *p, const struct pair_kind *kind, const char *what, const struct pair *pair,
				  struct certificate_report *ret)
{
	const char *hosts[] = {p->in->host};
	certificate_check(&(struct certificate_input){.what = what,
												  .cert = secret_text_str(&pair->cert),
												  .key = secret_text_str(&pair->key),
												  .ca = secret_text_str(&pair->ca),
												  .use = kind->use,
												  .hosts = hosts,
												  .nhosts = p->in->host != NULL,
												  .hosts_may_differ = p->in->host_is_service,
												  .now_s = p->in->now_s},
					  ret);
}

// The values of a Secret of type kubernetes.io/tls. false: one of them is none.
static bool read_given(const json_t *secret, struct pair *ret)
{
	bool ok = secret_text_read(secret, "tls.crt", &ret->cert);
	ok &= secret_text_read(secret, "tls.key", &ret->key);
	ok &= secret_text_read(secret, "ca.crt", &ret->ca);
	// Issuers that don't know their CA leave it empty.
	if (ret->ca.text.n == 0)
		secret_text_release(&ret->ca);
	return ok;
}

// The pair that the spec names. true: it can be used, until *ret_not_after_s. What there is to say about it is remarked.
static bool take_given(struct parts *p, const struct pair_kind *kind, const char *name, struct pair *ret,
					   int64_t *ret_not_after_s)
{
	const json_t *secret = parts_live(p, &KUBE_SECRETS, name);
	if (secret == NULL) {
		remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_CERTIFICATE, "SecretMissing",
					"%s: there is no Secret \"%s\" in namespace \"%s\"; create it, of type kubernetes.io/tls with "
					"tls.crt and tls.key",
					kind->field, name, kube_namespace(p->in->object));
		return false;
	}
	if (!read_given(secret, ret)) {
		remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_CERTIFICATE,
					certificate_problem_names[CERTIFICATE_UNREADABLE],
					"%s: a value of Secret \"%s\" is no base64; create it anew with kubectl create secret tls",
					kind->field, name);
		return false;
	}
	CLEANUP_FREE char *what = xasprintf("%s: Secret \"%s\"", kind->field, name);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report;
	check(p, kind, what, ret, &report);
	remarks_add_certificate(&p->out->remarks, &report);
	note_times(p, &report);
	*ret_not_after_s = report.not_after_s;
	return certificate_usable(&report);
}

// In the form that Trustee reads: the key alone, and a chain that ends in a root where tokens are verified by it.
static int put_given(struct parts *p, const struct pair_kind *kind, const struct pair *pair, struct error *err)
{
	CLEANUP_SECRET_BUF struct buf key = secret_buf(KEY_PEM_MAX);
	CLEANUP_BUF struct buf cert = BUF_INIT(CHAIN_PEM_MAX);
	int rc = certificate_key_pkcs8(secret_text_str(&pair->key), &key, err);
	if (rc < 0)
		return rc;
	struct str chain = secret_text_str(&pair->cert);
	if (kind->use == CERTIFICATE_TOKEN_SIGNER) {
		rc = certificate_with_root(chain, secret_text_str(&pair->ca), &cert, err);
		if (rc < 0)
			return rc;
		chain = buf_str(&cert);
	}
	put(p, kind->key_suffix, kind->component, kind->key, buf_str(&key));
	put(p, kind->cert_suffix, kind->component, kind->cert, chain);
	return 0;
}

static void read_live_pair(const struct parts *p, const struct pair_kind *kind, struct pair *ret)
{
	read_live(p, kind->key_suffix, kind->key, &ret->key);
	read_live(p, kind->cert_suffix, kind->cert, &ret->cert);
}

static void put_live_pair(struct parts *p, const struct pair_kind *kind, const struct pair *pair)
{
	put_live(p, kind->key_suffix, kind->component, kind->key, &pair->key);
	put_live(p, kind->cert_suffix, kind->component, kind->cert, &pair->cert);
}

// ---- HTTPS

// What guests must trust in order to accept a chain. That of the last good certificate is known no more but by what is
// published already.
static int note_anchor(struct parts *p, struct str chain, struct str ca, struct error *err)
{
	CLEANUP_BUF struct buf anchor = BUF_INIT(CERTIFICATE_PEM_MAX);
	int rc = certificate_anchor(chain, ca, &anchor, err);
	if (rc == 0)
		p->out->ca = buf_take(&anchor);
	return rc;
}

static struct str published_ca(const struct parts *p)
{
	CLEANUP_FREE char *name = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, p->name);
	const json_t *live = parts_live(p, &KUBE_CONFIG_MAPS, name);
	const json_t *ca = json_object_get(json_object_get(live, "data"), "ca.crt");
	return (struct str){json_string_value(ca), json_string_length(ca)};
}

// Of the last good certificate. Where that has been lost or damaged, what guests were told stays as it is: pods' initdata
// depends on it.
static void note_live(struct parts *p, const struct pair *live)
{
	struct error err;
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report;
	struct str published = published_ca(p);
	check(p, &https, "the last good certificate", live, &report);
	p->out->not_after_s = report.not_after_s;
	if (note_anchor(p, secret_text_str(&live->cert), published, &err) < 0 && published.p != NULL)
		(void)note_anchor(p, published, (struct str){0}, &err);
}

static int put_https(struct parts *p, struct error *err)
{
	struct pair given CLEANUP(pair_release) = {0};
	struct pair live CLEANUP(pair_release) = {0};
	const char *name = p->in->spec->https_secret;
	int64_t not_after_s = 0;
	if (take_given(p, &https, name, &given, &not_after_s) && !p->hold) {
		p->out->not_after_s = not_after_s;
		int rc = note_anchor(p, secret_text_str(&given.cert), secret_text_str(&given.ca), err);
		return rc < 0 ? rc : put_given(p, &https, &given, err);
	}
	read_live_pair(p, &https, &live);
	put_live_pair(p, &https, &live);
	note_live(p, &live);
	return 0;
}

// ---- The signer of tokens

static bool is_fresh(const struct certificate_report *report)
{
	for (size_t i = 0; i < report->nproblems; i++)
		if (report->problems[i].code == CERTIFICATE_EXPIRES_SOON)
			return false;
	return certificate_usable(report);
}

static int make_signer(const struct parts *p, struct pair *ret, struct error *err)
{
	pair_release(ret);
	ret->key = (struct secret_text){secret_buf(KEY_PEM_MAX), true};
	ret->cert = (struct secret_text){secret_buf(KEY_PEM_MAX), true};
	return certificate_make_signer(p->name, p->in->now_s, TRUSTEE_SIGNER_DAYS, &ret->key.text, &ret->cert.text, err);
}

// One of our own: kept while it is good.
static int put_own_signer(struct parts *p, struct error *err)
{
	struct pair own CLEANUP(pair_release) = {0};
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report;
	read_live_pair(p, &token, &own);
	check(p, &token, "the token signer", &own, &report);
	if (!p->hold && !is_fresh(&report)) {
		int rc = make_signer(p, &own, err);
		if (rc < 0)
			return rc;
		note_made(p, SUFFIX_TOKEN_KEY);
		certificate_report_release(&report);
		check(p, &token, "the token signer", &own, &report);
	}
	note_times(p, &report);
	put_live_pair(p, &token, &own);
	return 0;
}

static int put_signer(struct parts *p, struct error *err)
{
	struct pair given CLEANUP(pair_release) = {0};
	struct pair live CLEANUP(pair_release) = {0};
	const char *name = p->in->spec->token_secret;
	int64_t not_after_s = 0;
	if (name == NULL)
		return put_own_signer(p, err);
	if (take_given(p, &token, name, &given, &not_after_s) && !p->hold)
		return put_given(p, &token, &given, err);
	read_live_pair(p, &token, &live);
	put_live_pair(p, &token, &live);
	return 0;
}

// ---- The admin's keys

static int put_auth(struct parts *p, struct error *err)
{
	CLEANUP_SECRET_TEXT struct secret_text private_key = {0};
	CLEANUP_SECRET_TEXT struct secret_text public_key = {0};
	read_live(p, SUFFIX_AUTH, "privateKey", &private_key);
	read_live(p, SUFFIX_AUTH, "publicKey", &public_key);
	if (!certificate_is_admin_keys(secret_text_str(&private_key), secret_text_str(&public_key))) {
		secret_text_release(&private_key);
		secret_text_release(&public_key);
		private_key = (struct secret_text){secret_buf(KEY_PEM_MAX), true};
		public_key = (struct secret_text){secret_buf(KEY_PEM_MAX), true};
		int rc = certificate_make_admin_keys(&private_key.text, &public_key.text, err);
		if (rc < 0)
			return rc;
		note_made(p, SUFFIX_AUTH);
	}
	json_t *body = parts_secret_body("privateKey", secret_text_str(&private_key));
	json_t *other = parts_secret_body("publicKey", secret_text_str(&public_key));
	(void)json_object_update(json_object_get(body, "data"), json_object_get(other, "data"));
	json_decref(other);
	parts_put(p, &KUBE_SECRETS, parts_name(p, SUFFIX_AUTH), COMPONENT_AUTH, body);
	return 0;
}

int parts_put_secrets(struct parts *p, struct error *err)
{
	int rc = p->hold ? 0 : put_auth(p, err);
	if (rc == 0 && p->https)
		rc = put_https(p, err);
	if (rc == 0 && p->signer)
		rc = put_signer(p, err);
	if (rc == 0 && !p->hold)
		parts_put(p, &KUBE_SECRETS, parts_status_name(p), COMPONENT_SAMPLE,
				  parts_secret_body("status", STR("success")));
	return rc;
}
