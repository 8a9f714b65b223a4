// What is so of whatever a TrusteeConfig is rendered as, and rows of tables about it.
#ifndef COCO_TESTS_UNIT_TRUSTEE_CHECKS_H
#define COCO_TESTS_UNIT_TRUSTEE_CHECKS_H

#include "controller/kbs_config.h"
#include "trustee_world.h"

// ---- What is so of every rendering

static inline void check_metadata(const struct trustee_case *c, const struct rendered_object *o)
{
	const json_t *metadata = json_object_get(o->object, "metadata");
	const json_t *owner = json_array_get(json_object_get(metadata, "ownerReferences"), 0);
	assert_string_equal(kube_name(o->object), o->name);
	assert_string_equal(kube_namespace(o->object), kube_namespace(c->object));
	assert_string_equal(kube_label(o->object, LABEL_MANAGED_BY), MANAGED_BY);
	assert_string_equal(kube_label(o->object, LABEL_PART_OF), "trustee");
	assert_string_equal(kube_label(o->object, LABEL_INSTANCE), kube_name(c->object));
	assert_int_equal(strlen(kube_annotation(o->object, ANNOTATION_APPLIED)), 64);
	assert_string_equal(json_string_value(json_object_get(owner, "uid")), kube_uid(c->object));
	assert_string_equal(json_string_value(json_object_get(owner, "kind")), "TrusteeConfig");
	assert_true(json_is_true(json_object_get(owner, "controller")));
	assert_string_equal(json_string_value(json_object_get(o->object, "kind")), o->resource->kind);
}

// A rendered KbsConfig is one, and names only what is rendered, kept, or waited for.
static inline void check_kbs_config(const struct trustee_rendering *r, const struct rendered_object *o)
{
	static struct kbs_spec spec;
	struct error err;
	if (kbs_decode(o->object, &spec, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(spec.deployment, KBS_ALL_IN_ONE);
	const char *const maps[] = {spec.config_maps.reference_values, spec.config_maps.attestation_policy,
								spec.config_maps.gpu_attestation_policy, spec.config_maps.resource_policy};
	for (size_t i = 0; i < COUNT(maps); i++)
		assert_true(rendered_wants(&r->objects, &KUBE_CONFIG_MAPS, maps[i]));
	assert_true(rendered_wants(&r->objects, kbs_config_is_secret(&spec.hosting) ? &KUBE_SECRETS : &KUBE_CONFIG_MAPS,
							   spec.config_maps.kbs));
	assert_true(rendered_wants(&r->objects, &KUBE_SECRETS, spec.secrets.auth));
	assert_ptr_equal(o, &r->objects.v[r->objects.n - 1]); // the last one
}

#define PIECE_MAX 32

// What is secret of a private key in PEM, and stands in no certificate: of EC and Ed25519 the first line's end, since the rest
// is public or the same for all; of RSA a line of its second half.
static inline void secret_piece(const char *pem, char piece[PIECE_MAX])
{
	const char *line = strchr(pem, '\n') + 1;
	size_t n = strlen(pem);
	if (n > 1000)
		line = strchr(pem + n / 2, '\n') + 1;
	assert_true(strcspn(line, "\n") == 64);
	(void)snprintf(piece, PIECE_MAX, "%.16s", line + 48);
}

struct secrets {
	char v[64][PIECE_MAX];
	size_t n;
};

static inline void secrets_add(struct secrets *s, const char *pem)
{
	assert_true(s->n < COUNT(s->v));
	secret_piece(pem, s->v[s->n++]);
}

static inline void assert_no_secret(const struct secrets *s, const char *text, const char *where)
{
	// In a text, and in a dump of one.
	assert_null(strstr(text, "PRIVATE KEY-----\n"));
	assert_null(strstr(text, "PRIVATE KEY-----\\n"));
	if (strstr(text, "hvs.made-up") != NULL || strstr(text, ":made-up@") != NULL)
		fail_msg("%s has Vault's token, or Redis' password", where);
	for (size_t i = 0; i < s->n; i++)
		if (strstr(text, s->v[i]) != NULL)
			fail_msg("%s has a piece of a private key", where);
}

static inline bool may_have_key(const struct rendered_object *o)
{
	static const char *const names[] = {"-auth-secret", "-https-key-secret", "-attestation-key-secret", "-kbs-config"};
	for (size_t i = 0; i < COUNT(names); i++) {
		size_t n = strlen(o->name);
		size_t m = strlen(names[i]);
		if (o->resource == &KUBE_SECRETS && n > m && strcmp(o->name + n - m, names[i]) == 0)
			return true;
	}
	return false;
}

// Looks for secrets in a Secret's values; where NULL: adds the keys in them.
static inline void secret_values(const json_t *secret, struct secrets *s, const char *where)
{
	const char *key;
	json_t *v;
	json_object_foreach (json_object_get(secret, "data"), key, v) {
		CLEANUP_BUF
		struct buf b = decoded(json_string_value(v));
		if (where != NULL)
			assert_no_secret(s, buf_z(&b), where);
		else if (strstr(buf_z(&b), "PRIVATE KEY") != NULL)
			secrets_add(s, buf_z(&b));
	}
}

// Nothing but the Secrets that are for it has a private key in it, Vault's token or Redis' password.
static inline void check_secrecy(const struct trustee_rendering *r)
{
	struct secrets s = {.n = 0};
	for (size_t i = 0; i < COUNT(materials); i++)
		secrets_add(&s, made[i].key_pem);
	for (size_t i = 0; i < r->objects.n; i++)
		if (may_have_key(&r->objects.v[i]))
			secret_values(r->objects.v[i].object, &s, NULL);
	for (size_t i = 0; i < r->objects.n; i++) {
		const struct rendered_object *o = &r->objects.v[i];
		if (o->object == NULL || may_have_key(o))
			continue;
		CLEANUP_FREE char *dump = json_dumps(o->object, JSON_COMPACT);
		assert_no_secret(&s, dump, o->name);
		if (o->resource == &KUBE_SECRETS)
			secret_values(o->object, &s, o->name);
	}
	for (size_t i = 0; i < r->remarks.n; i++)
		assert_no_secret(&s, r->remarks.v[i].message, "a remark");
	if (r->ca != NULL)
		assert_no_secret(&s, r->ca, "ca");
}

// No two of a name.
static inline void check_names(const struct trustee_rendering *r)
{
	for (size_t i = 0; i < r->objects.n; i++)
		for (size_t j = 0; j < i; j++)
			if (r->objects.v[i].resource == r->objects.v[j].resource)
				assert_string_not_equal(r->objects.v[i].name, r->objects.v[j].name);
}

static inline void check_objects(const struct trustee_case *c, const struct trustee_rendering *r)
{
	check_names(r);
	check_secrecy(r);
	for (size_t i = 0; i < r->objects.n; i++) {
		const struct rendered_object *o = &r->objects.v[i];
		if (o->object == NULL)
			continue;
		check_metadata(c, o);
		if (o->resource == &KUBE_KBS_CONFIGS)
			check_kbs_config(r, o);
	}
}

static inline void assert_same_objects(const struct rendered *a, const struct rendered *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		CLEANUP_FREE char *x = json_dumps(a->v[i].object, JSON_INDENT(1) | JSON_ENCODE_ANY);
		CLEANUP_FREE char *y = json_dumps(b->v[i].object, JSON_INDENT(1) | JSON_ENCODE_ANY);
		assert_string_equal(a->v[i].name, b->v[i].name);
		assert_text(x, y);
	}
}

// What was rendered exists: then the same is rendered again, to the byte. Only what was amiss in a live object may be said
// no more.
static inline void check_again(struct trustee_case *c, const struct trustee_rendering *first)
{
	struct trustee_rendering second;
	world_apply(c, first);
	world_render(c, &second);
	assert_same_objects(&second.objects, &first->objects);
	assert_int_equal(second.look_again_s, first->look_again_s);
	assert_int_equal(second.not_after_s, first->not_after_s);
	assert_text(second.ca, first->ca);
	assert_true(second.remarks.n <= first->remarks.n);
	trustee_rendering_release(&second);
}

// ---- Rows of tables: a TrusteeConfig's spec and what exists, in flow style

#define HEAD                                                                       \
	"apiVersion: confidentialcontainers.org/v1alpha1\nkind: TrusteeConfig\n"       \
	"metadata: {name: t, namespace: trustee, uid: u-1, annotations: {host: %s}}\n" \
	"spec: {%s}\n"
#define HTTPS "httpsSpec: {tlsSecretName: kbs-tls}"
#define TOKEN "attestationTokenVerificationSpec: {tlsSecretName: token-tls}"
#define OWN_SIGNER "profileType: Restricted, " HTTPS

// host NULL: it isn't known. more: further documents, each with a "---" before it.
static inline void make_case(struct trustee_case *c, const char *host, const char *spec, const char *more)
{
	CLEANUP_FREE char *yaml = xasprintf(HEAD "%s", host != NULL ? host : "null", spec, more);
	world_make(c, yaml);
}

static inline char *secret_yaml(const char *name, const char *a, const char *a_value, const char *b,
								const char *b_value, const char *ca)
{
	struct buf out = BUF_INIT(WORLD_TEXT_MAX);
	buf_addf(&out, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: trustee}\nstringData: {", name);
	if (a_value != NULL)
		buf_addf(&out, "%s: \"%s\", ", a, a_value);
	if (b_value != NULL)
		buf_addf(&out, "%s: \"%s\", ", b, b_value);
	if (ca != NULL)
		buf_addf(&out, "ca.crt: \"%s\"", ca);
	buf_addz(&out, "}\n");
	return buf_take(&out);
}

static inline const json_t *secret_of(const struct trustee_rendering *r, const char *name)
{
	return rendered_find(&r->objects, &KUBE_SECRETS, name);
}

static inline void add_reasons(const struct remarks *remarks, struct buf *out)
{
	static const char *const open[] = {"[", "(", ""};
	static const char *const close[] = {"]", ")", ""};
	for (size_t i = 0; i < remarks->n; i++) {
		const struct remark *m = &remarks->v[i];
		buf_addf(out, "%s%s%s%s", i > 0 ? " " : "", open[m->level], m->reason, close[m->level]);
	}
}

static inline void assert_reasons(const struct trustee_rendering *r, const char *want)
{
	CLEANUP_BUF
	struct buf got = BUF_INIT(4096);
	add_reasons(&r->remarks, &got);
	assert_string_equal(buf_z(&got), want);
}

#endif
