// The objects of a KbsConfig.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mem.h"
#include "common/secret.h"
#include "controller/certificate.h"
#include "controller/kbs_render.h"
#include "controller/object_digest.h"
#include "controller/pass.h"

struct gathering {
	struct pass *pass;
	json_t *objects;     // "Kind/name" -> digested object
	json_t *config_maps; // names of those that aren't ours
	int rc;
	struct error *err;
};

static void gather_name(void *ctx, const struct kube_resource *res, const char *name)
{
	struct gathering *x = ctx;
	if (res == &KUBE_SECRETS)
		(void)json_object_set_new(x->pass->secrets, name, json_null());
	if (res != &KUBE_CONFIG_MAPS)
		return;
	json_t *live = view_get(x->pass->t->view, res, x->pass->ns, name);
	const char *manager = live != NULL ? kube_label(live, LABEL_MANAGED_BY) : NULL;
	if (manager == NULL || strcmp(manager, MANAGED_BY) != 0)
		(void)json_array_append_new(x->config_maps, json_string(name));
	json_decref(live);
}

static void gather_object(void *ctx, const struct kube_resource *res, const char *name)
{
	struct gathering *x = ctx;
	json_t *object = NULL;
	if (x->rc < 0)
		return;
	x->rc = view_digest(x->pass->t->view, res, x->pass->ns, name, &object, x->err);
	CLEANUP_FREE char *id = xasprintf("%s/%s", res->kind, name);
	if (object != NULL)
		(void)json_object_set_new(x->objects, id, object);
}

// Also of ConfigMaps that are somebody else's, once they are followed. 1: they aren't all listed yet.
static int gather(struct gathering *x, struct error *err)
{
	struct pass *p = x->pass;
	kbs_needs(p->kbs, p->kbs_spec, gather_name, x);
	int rc = view_use(p->t->view, p->state->key, p->ns, x->config_maps, err);
	if (rc == 0 || rc == 1) {
		json_decref(p->state->config_maps);
		p->state->config_maps = json_incref(x->config_maps);
	}
	if (rc != 0)
		return rc;
	kbs_needs(p->kbs, p->kbs_spec, gather_object, x);
	return x->rc;
}

static struct str key_text(const json_t *secret, const char *key, struct buf *out)
{
	struct error err;
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
	if (text == NULL || base64_decode(str_from(text), out, &err) < 0)
		return (struct str){0};
	return buf_str(out);
}

struct own_pair {
	const char *key_secret, *key, *cert_secret, *cert;
	const char *field;
	enum certificate_use use;
};

static void remark_problems(struct pass *p, const struct certificate_report *report, bool *bad)
{
	static const enum remark_level levels[] = {
		[CERTIFICATE_ERROR] = REMARK_ERROR, [CERTIFICATE_WARNING] = REMARK_WARNING, [CERTIFICATE_NOTE] = REMARK_NOTE};
	for (size_t i = 0; i < report->nproblems; i++) {
		const struct certificate_problem *problem = &report->problems[i];
		remarks_add(&p->remarks, levels[problem->level], ABOUT_CERTIFICATE, certificate_problem_names[problem->code],
					"%s", problem->text);
		*bad |= problem->level == CERTIFICATE_ERROR;
	}
}

// A KbsConfig of an admin's own mounts the admin's Secrets as they are: a bad pair isn't rolled out.
static int check_own_pair(struct pass *p, const struct own_pair *pair, bool *bad, struct error *err)
{
	CLEANUP_SECRET_JSON json_t *key = NULL;
	CLEANUP_SECRET_JSON json_t *cert = NULL;
	if (pair->key_secret == NULL || pair->cert_secret == NULL)
		return 0;
	int rc = view_read(p->t->view, &KUBE_SECRETS, p->ns, pair->key_secret, &key, err);
	if (rc == 0)
		rc = view_read(p->t->view, &KUBE_SECRETS, p->ns, pair->cert_secret, &cert, err);
	// That one is missing, rendering says.
	if (rc < 0 || key == NULL || cert == NULL)
		return rc;
	CLEANUP_SECRET_BUF struct buf key_pem = secret_buf(CERTIFICATE_PEM_MAX);
	CLEANUP_BUF struct buf cert_pem = BUF_INIT(CERTIFICATE_PEM_MAX);
	CLEANUP_FREE char *what =
		xasprintf("%s: Secret \"%s\" with Secret \"%s\"", pair->field, pair->cert_secret, pair->key_secret);
	const struct certificate_input in = {
		.what = what,
		.cert = key_text(cert, pair->cert, &cert_pem),
		.key = key_text(key, pair->key, &key_pem),
		.use = pair->use,
		.now_s = pass_now_s(p),
	};
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report = {0};
	certificate_check(&in, &report);
	remark_problems(p, &report, bad);
	if (pair->use == CERTIFICATE_SERVER)
		p->not_after_s = report.not_after_s;
	if (report.not_after_s > pass_now_s(p))
		pass_again_in(p, (report.not_after_s - pass_now_s(p)) * 1000);
	return 0;
}

static int check_own_pairs(struct pass *p, bool *ret_bad, struct error *err)
{
	const struct kbs_spec *s = p->kbs_spec;
	const struct own_pair pairs[] = {
		{s->secrets.https_key, "privateKey", s->secrets.https_cert, "certificate", "spec.kbsHttpsCertSecretName",
		 CERTIFICATE_SERVER},
		{s->secrets.attestation_key, "token.key", s->secrets.attestation_cert, "token.crt",
		 "spec.kbsAttestationCertSecretName", CERTIFICATE_TOKEN_SIGNER},
	};
	int rc = 0;
	*ret_bad = false;
	for (size_t i = 0; rc == 0 && i < sizeof(pairs) / sizeof(pairs[0]); i++)
		rc = check_own_pair(p, &pairs[i], ret_bad, err);
	return rc;
}

static int render_kbs(struct pass *p, const json_t *objects, struct error *err)
{
	bool hold = false;
	int rc = p->tc == NULL ? check_own_pairs(p, &hold, err) : 0;
	if (rc < 0)
		return rc;
	CLEANUP_FREE char *deployment = kbs_deployment_name(p->kbs_spec);
	json_t *live = view_get(p->t->view, &KUBE_DEPLOYMENTS, p->ns, deployment);
	const struct kbs_render_input in = {
		.object = p->kbs,
		.spec = p->kbs_spec,
		.objects = objects,
		.deployment = live,
		.hold = hold,
		.world = &p->world,
	};
	CLEANUP_RENDERED struct rendered r = {0};
	kbs_render(&in, &r, &p->remarks);
	(void)json_array_clear(p->kbs_objects);
	rc = pass_sync(p, &r, 0, r.n, p->kbs, p->kbs_spec->hosting.drift, err);
	if (rc == 0)
		rc = pass_prune(p, &r, p->kbs, err);
	json_decref(live);
	return rc;
}

int pass_kbs(struct pass *p, struct error *err)
{
	struct gathering x = {p, json_object(), json_array(), 0, err};
	int rc = gather(&x, err);
	if (rc == 0)
		rc = render_kbs(p, x.objects, err);
	else if (rc < 0)
		rc = pass_refused(p, rc, err);
	json_decref(x.objects);
	json_decref(x.config_maps);
	return rc;
}
