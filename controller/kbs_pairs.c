#include "controller/kbs_pairs.h"

#include "common/certificate.h"
#include "common/mem.h"
#include "common/secret_text.h"

#define PAIRS 2

struct own_pair {
	const char *key_secret, *key, *cert_secret, *cert;
	const char *field;
	enum certificate_use use;
};

static void own_pairs(const struct kbs_spec *s, struct own_pair ret[PAIRS])
{
	ret[0] = (struct own_pair){s->secrets.https_key,          "privateKey",      s->secrets.https_cert, "certificate",
							   "spec.kbsHttpsCertSecretName", CERTIFICATE_SERVER};
	ret[1] = (struct own_pair){s->secrets.attestation_key,          "token.key",
							   s->secrets.attestation_cert,         "token.crt",
							   "spec.kbsAttestationCertSecretName", CERTIFICATE_TOKEN_SIGNER};
}

void kbs_pairs_needs(const struct kbs_spec *spec,
					 void (*need)(void *ctx, const struct kube_resource *res, const char *name), void *ctx)
{
	struct own_pair pairs[PAIRS];
	own_pairs(spec, pairs);
	for (size_t i = 0; i < PAIRS; i++) {
		if (pairs[i].key_secret == NULL || pairs[i].cert_secret == NULL)
			continue;
		need(ctx, &KUBE_SECRETS, pairs[i].key_secret);
		need(ctx, &KUBE_SECRETS, pairs[i].cert_secret);
	}
}

static const json_t *secret_of(const json_t *objects, const char *name)
{
	CLEANUP_FREE char *id = xasprintf("%s/%s", KUBE_SECRETS.kind, name);
	return json_object_get(objects, id);
}

static void check_pair(const struct own_pair *pair, const json_t *objects, int64_t now_s, struct remarks *remarks,
					   struct kbs_pairs *ret)
{
	if (pair->key_secret == NULL || pair->cert_secret == NULL)
		return;
	const json_t *key_secret = secret_of(objects, pair->key_secret);
	const json_t *cert_secret = secret_of(objects, pair->cert_secret);
	if (key_secret == NULL || cert_secret == NULL)
		return;
	CLEANUP_SECRET_TEXT struct secret_text key = {0};
	CLEANUP_SECRET_TEXT struct secret_text cert = {0};
	if (!secret_text_read(key_secret, pair->key, &key))
		secret_text_release(&key);
	if (!secret_text_read(cert_secret, pair->cert, &cert))
		secret_text_release(&cert);
	CLEANUP_FREE char *what =
		xasprintf("%s: Secret \"%s\" with Secret \"%s\"", pair->field, pair->cert_secret, pair->key_secret);
	const struct certificate_input in = {
		.what = what,
		.cert = secret_text_str(&cert),
		.key = secret_text_str(&key),
		.use = pair->use,
		.now_s = now_s,
	};
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report = {0};
	certificate_check(&in, &report);
	remarks_add_certificate(remarks, &report);
	ret->bad |= !certificate_usable(&report);
	if (pair->use == CERTIFICATE_SERVER)
		ret->not_after_s = report.not_after_s;
	int64_t at_s = certificate_look_again_s(&report, now_s);
	if (at_s != 0 && (ret->look_again_s == 0 || at_s < ret->look_again_s))
		ret->look_again_s = at_s;
}

void kbs_pairs_check(const struct kbs_spec *spec, const json_t *objects, int64_t now_s, struct remarks *remarks,
					 struct kbs_pairs *ret)
{
	struct own_pair pairs[PAIRS];
	own_pairs(spec, pairs);
	*ret = (struct kbs_pairs){0};
	for (size_t i = 0; i < PAIRS; i++)
		check_pair(&pairs[i], objects, now_s, remarks, ret);
}
