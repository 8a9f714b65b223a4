// A world to render Trustees in: a file of YAML, with words for certificates and keys, which are made at run time.
//
// In data and stringData of Secrets and ConfigMaps:
//   "@cert leaf inter"  certificates, one after the other
//   "@key leaf"         a private key as PKCS#8; "@sec1 leaf" as OpenSSL wrote it before
//   "@locked leaf"      encrypted
//   "@admin NAME", "@admin-public NAME"   of an Ed25519 pair
// What comes out is told by the same names.
#ifndef COCO_TESTS_UNIT_TRUSTEE_WORLD_H
#define COCO_TESTS_UNIT_TRUSTEE_WORLD_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "common/certificate_chain.h"
#include "common/clock.h"
#include "common/encode.h"
#include "common/secret.h"
#include "common/yaml.h"
#include "controller/trustee_policy.h"
#include "controller/trustee_render.h"
#include "pki.h"

#define NOW ((time_t)1900000000) // 2030-03-17T17:46:40Z
#define DAY ((time_t)24 * 60 * 60)
#define WORLD_TEXT_MAX ((size_t)1024 * 1024)

// ---- Material

#define CA "critical,CA:TRUE"
#define END "critical,CA:FALSE"
#define SAN "DNS:kbs.example.com,DNS:*.apps.example.com"

static const struct material {
	const char *id;
	const char *by; // an earlier one
	const char *basic, *san, *eku;
	int from_days, to_days; // around now; 0 and 0: -90 and 365
	enum { OF_P256, OF_P384, OF_RSA, OF_ED25519 } kind;
	bool sha1;
} materials[] = {
	{.id = "root", .basic = CA},
	{.id = "inter", .by = "root", .basic = CA},
	{.id = "leaf", .by = "inter", .basic = END, .san = SAN},
	{.id = "renewed", .by = "inter", .basic = END, .san = SAN, .from_days = -1, .to_days = 400},
	{.id = "other-root", .basic = CA},
	{.id = "rsa", .by = "root", .basic = END, .san = SAN, .kind = OF_RSA},
	{.id = "p384", .by = "root", .basic = END, .san = SAN, .kind = OF_P384},
	{.id = "self", .basic = END, .san = SAN},
	{.id = "signer", .basic = END},
	{.id = "self-p384", .basic = END, .kind = OF_P384},
	{.id = "of-root", .by = "root", .basic = END, .san = SAN},
	{.id = "client", .by = "inter", .basic = END, .san = SAN, .eku = "clientAuth"},
	{.id = "sha1", .by = "inter", .basic = END, .san = SAN, .sha1 = true},
	{.id = "expired", .by = "inter", .basic = END, .san = SAN, .from_days = -90, .to_days = -1},
	{.id = "future", .by = "inter", .basic = END, .san = SAN, .from_days = 1, .to_days = 90},
	{.id = "soon", .by = "inter", .basic = END, .san = SAN, .from_days = -90, .to_days = 20},
	{.id = "signer-soon", .basic = END, .from_days = -90, .to_days = 29},
	{.id = "signer-30-days", .basic = END, .from_days = -90, .to_days = 30},
	{.id = "signer-expired", .basic = END, .from_days = -90, .to_days = -1},
	{.id = "admin", .basic = END, .kind = OF_ED25519},
	{.id = "other-admin", .basic = END, .kind = OF_ED25519},
};
static struct pki made[COUNT(materials)];

static inline EVP_PKEY *material_key(const struct material *m)
{
	EVP_PKEY *k = m->kind == OF_P384   ? EVP_EC_gen("P-384")
				  : m->kind == OF_RSA  ? EVP_RSA_gen(2048)
				  : m->kind == OF_P256 ? EVP_EC_gen("P-256")
									   : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_non_null(k);
	return k;
}

static inline const struct pki *material(const char *id, size_t n)
{
	for (size_t i = 0; i < COUNT(materials); i++)
		if (strlen(materials[i].id) == n && memcmp(materials[i].id, id, n) == 0)
			return &made[i];
	fail_msg("no material \"%.*s\"", (int)n, id);
	return &made[0]; // not reached
}

static inline int materials_make(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(materials); i++) {
		const struct material *m = &materials[i];
		bool usual = m->from_days == 0 && m->to_days == 0;
		made[i] = pki_issue(&(struct pki_spec){
			.name = m->id,
			.by = m->by != NULL ? material(m->by, strlen(m->by)) : NULL,
			.key = material_key(m),
			.basic = m->basic,
			.san = m->san,
			.eku = m->eku,
			.from = NOW + (usual ? -90 : m->from_days) * DAY,
			.to = NOW + (usual ? 365 : m->to_days) * DAY,
			.md = m->sha1 ? EVP_sha1() : NULL,
		});
	}
	return 0;
}

static inline int materials_release(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(materials); i++)
		pki_release(&made[i]);
	return 0;
}

// ---- Words to texts

static inline char *key_text(const struct pki *p, const char *how)
{
	BIO *out = BIO_new(BIO_s_mem());
	int ok = strcmp(how, "sec1") == 0 ? PEM_write_bio_PrivateKey_traditional(out, p->key, NULL, NULL, 0, NULL, NULL)
			 : strcmp(how, "locked") == 0
				 ? PEM_write_bio_PKCS8PrivateKey(out, p->key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL)
			 : strcmp(how, "public") == 0 ? PEM_write_bio_PUBKEY(out, p->key)
										  : PEM_write_bio_PKCS8PrivateKey(out, p->key, NULL, NULL, 0, NULL, NULL);
	assert_int_equal(ok, 1);
	return pki_text(out);
}

// What a word stands for, new.
static inline char *expanded(const char *text)
{
	static const char *const keys[][2] = {{"@key ", "pkcs8"},
										  {"@sec1 ", "sec1"},
										  {"@locked ", "locked"},
										  {"@admin ", "pkcs8"},
										  {"@admin-public ", "public"}};
	if (strncmp(text, "@cert ", 6) == 0) {
		struct buf all = BUF_INIT(WORLD_TEXT_MAX);
		for (const char *id = text + 6; *id != '\0'; id += strcspn(id, " "), id += *id == ' ')
			buf_addz(&all, material(id, strcspn(id, " "))->cert_pem);
		return buf_take(&all);
	}
	for (size_t i = 0; i < COUNT(keys); i++) {
		const char *id = text + strlen(keys[i][0]);
		if (strncmp(text, keys[i][0], strlen(keys[i][0])) == 0)
			return key_text(material(id, strlen(id)), keys[i][1]);
	}
	return xstrdup(text);
}

static inline json_t *coded(const char *text)
{
	CLEANUP_BUF
	struct buf b = BUF_INIT(2 * WORLD_TEXT_MAX);
	base64_encode(str_from(text), &b);
	return json_string(buf_z(&b));
}

// An object of a test as the API server would hand it out.
static inline void expand(json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *key;
	void *tmp;
	json_t *v;
	bool secret = strcmp(kind, "Secret") == 0;
	json_t *texts = json_object_get(object, secret ? "stringData" : "data");
	json_object_foreach_safe(texts, tmp, key, v)
	{
		CLEANUP_FREE char *text = expanded(json_string_value(v));
		if (secret) {
			if (json_object_get(object, "data") == NULL)
				assert_int_equal(json_object_set_new(object, "data", json_object()), 0);
			assert_int_equal(json_object_set_new(json_object_get(object, "data"), key, coded(text)), 0);
		} else {
			assert_int_equal(json_object_set_new(texts, key, json_string(text)), 0);
		}
	}
	(void)json_object_del(object, "stringData");
}

// ---- Texts to words

static inline const char *name_of_cert(X509 *x)
{
	for (size_t i = 0; i < COUNT(materials); i++)
		if (X509_cmp(made[i].cert, x) == 0)
			return materials[i].id;
	return "one that is new";
}

static inline const char *name_of_key(const EVP_PKEY *k)
{
	for (size_t i = 0; i < COUNT(materials); i++)
		if (EVP_PKEY_eq(made[i].key, k) == 1)
			return materials[i].id;
	return EVP_PKEY_is_a(k, "ED25519") == 1 ? "one that is new, Ed25519" : "one that is new";
}

// Certificates and keys as words; anything else as it is. New.
static inline char *told(const char *text)
{
	struct buf out = BUF_INIT(WORLD_TEXT_MAX);
	STACK_OF(X509) * all CLEANUP(x509_stack_free_slot) = certificates_read(str_from(text));
	if (all != NULL && strncmp(text, "-----BEGIN CERT", 15) == 0) {
		buf_addz(&out, "(certificates: ");
		for (int i = 0; i < sk_X509_num(all); i++)
			buf_addf(&out, "%s%s", i > 0 ? ", " : "", name_of_cert(sk_X509_value(all, i)));
		buf_addc(&out, ')');
		return buf_take(&out);
	}
	BIO *in = bio_of(str_from(text));
	bool private_key = strstr(text, "PRIVATE KEY-----") != NULL;
	EVP_PKEY *k =
		private_key ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
	BIO_free(in);
	if (k == NULL)
		return xstrdup(text);
	bool pkcs8 = strncmp(text, "-----BEGIN PRIVATE KEY-----\n", 28) == 0;
	buf_addf(&out, "(%s key: %s%s)", private_key ? "private" : "public", name_of_key(k),
			 private_key && !pkcs8 ? ", not PKCS#8" : "");
	EVP_PKEY_free(k);
	return buf_take(&out);
}

static inline struct buf decoded(const char *base64)
{
	struct buf b = BUF_INIT(WORLD_TEXT_MAX);
	struct error err;
	if (base64_decode(str_from(base64), &b, &err) < 0)
		fail_msg("%s", err.msg);
	return b;
}

// A value of a rendered Secret as words, new; NULL where it isn't there.
static inline char *value_told(const json_t *secret, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
	if (text == NULL)
		return NULL;
	CLEANUP_BUF
	struct buf b = decoded(text);
	return told(buf_z(&b));
}

// ---- The world

struct trustee_case {
	json_t *object;  // the TrusteeConfig
	json_t *objects; // "Kind/name"
	struct trustee_spec spec;
	struct trustee_render_input in;
};

// Of a name's own, but for some names that tell what is wrong with them.
static inline int test_digests(void *ctx, const char *ns, const char *name, struct initdata_digests *ret,
							   struct error *err)
{
	(void)ctx;
	if (strcmp(name, "missing") == 0)
		return error_set(err, ENOENT, "there is no ConfidentialProfile \"%s\" in namespace \"%s\"; create it", name,
						 ns);
	if (strcmp(name, "never-good") == 0)
		return error_set(err, EINVAL, "ConfidentialProfile \"%s\" can't be used; correct it", name);
	if (strcmp(name, "unknown-yet") == 0)
		return error_set(err, EAGAIN, "ConfidentialProfiles are not read yet");
	CLEANUP_FREE char *toml = xasprintf("%s/%s", ns, name);
	return initdata_digests(str_from(toml), "sha256", ret, err);
}

// Adds an object to those that exist. Takes it.
static inline void world_put(struct trustee_case *c, json_t *object)
{
	CLEANUP_FREE char *key = xasprintf("%s/%s", json_string_value(json_object_get(object, "kind")), kube_name(object));
	assert_int_equal(json_object_set_new(c->objects, key, object), 0);
}

// The first document is the TrusteeConfig; the others exist.
static inline void world_make(struct trustee_case *c, const char *yaml)
{
	struct error err;
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	if (yaml_read(str_from(yaml), &docs, &err) < 0)
		fail_msg("test data: %s", err.msg);
	*c = (struct trustee_case){.object = json_incref(docs.v[0].root), .objects = json_object()};
	for (size_t i = 1; i < docs.n; i++) {
		expand(docs.v[i].root);
		world_put(c, json_incref(docs.v[i].root));
	}
	if (trustee_decode(c->object, &c->spec, &err) < 0)
		fail_msg("test data: %s", err.msg);
	c->in = (struct trustee_render_input){
		.object = c->object,
		.spec = &c->spec,
		.objects = c->objects,
		.profile = test_digests,
		.host = kube_annotation(c->object, "host"),
		.now_s = NOW,
		.world = &TRUSTEE_WORLD_DEFAULT,
	};
}

static inline void world_release(struct trustee_case *c)
{
	json_decref(c->object);
	json_decref(c->objects);
}

static inline void world_render(const struct trustee_case *c, struct trustee_rendering *r)
{
	struct error err = {0};
	if (trustee_render(&c->in, r, &err) < 0)
		fail_msg("%s", err.msg);
}

// What a rendering makes exists from now on, beside what others have set. (What was ours and is rendered no more stays, as
// nobody here knows whose it is.)
static inline void world_apply(struct trustee_case *c, const struct trustee_rendering *r)
{
	for (size_t i = 0; i < r->objects.n; i++) {
		const struct rendered_object *o = &r->objects.v[i];
		CLEANUP_FREE char *key = xasprintf("%s/%s", o->resource->kind, o->name);
		json_t *live = json_object_get(c->objects, key);
		if (o->object == NULL)
			continue;
		json_t *copy = json_deep_copy(o->object);
		assert_int_equal(
			live != NULL ? json_object_update_recursive(live, copy) : json_object_set(c->objects, key, copy), 0);
		json_decref(copy);
	}
}

#endif
