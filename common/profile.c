#include "common/profile.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/decode.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/quantity.h"

static const char *const memory_modes[] = {"Auto", "Fixed", "FromLimits", NULL};
static const char *const sizings[] = {"CRIO", "ContainerdGo", "RuntimeRs", NULL};
static const char *const accountings[] = {"Container", "Pod", NULL};
static const char *const cpu_modes[] = {"Off", "Auto", "Fixed", NULL};
// Off is no choice for annotations: what they can do to a guest is not harmless.
static const char *const deny_or_warn[] = {"Deny", "Warn", NULL};
static const char *const strictnesses[] = {"Deny", "Warn", "Off", NULL};

#define AT(member) offsetof(struct profile_spec, member)
// Nested structs are decoded in place, so their offsets count from the struct that holds them.
// NOLINTNEXTLINE(bugprone-macro-parentheses): these are members' names
#define IN(outer, member) (AT(outer.member) - AT(outer))

static const struct decode_field trustee_ref[] = {
	{.name = "name", .kind = DECODE_STRING, .offset = IN(initdata.trustee, name)},
	{.name = "namespace", .kind = DECODE_STRING, .offset = IN(initdata.trustee, ns)},
	{0}};

static const struct decode_field kbs[] = {
	{.name = "url", .kind = DECODE_STRING, .offset = IN(initdata.kbs, url)},
	{.name = "caBundle", .kind = DECODE_STRING, .offset = IN(initdata.kbs, ca_bundle)},
	{.name = "caConfigMapRef",
	 .kind = DECODE_OBJECT,
	 .offset = IN(initdata.kbs, ca_config_map),
	 .fields = object_key_ref_fields,
	 .seen_offset = IN(initdata.kbs, ca_config_map.given)},
	{0}};

static const struct decode_field agent_policy[] = {{.name = "preset",
													.kind = DECODE_ENUM,
													.offset = IN(initdata.agent_policy, preset),
													.names = agent_policy_preset_names,
													.seen_offset = IN(initdata.agent_policy, preset_given)},
												   {.name = "configMapKeyRef",
													.kind = DECODE_OBJECT,
													.offset = IN(initdata.agent_policy, config_map),
													.fields = object_key_ref_fields,
													.seen_offset = IN(initdata.agent_policy, config_map.given)},
												   {0}};

static const struct decode_field proxy[] = {
	{.name = "httpsProxy", .kind = DECODE_STRING, .offset = IN(initdata.image.proxy, https_proxy)},
	{.name = "httpProxy", .kind = DECODE_STRING, .offset = IN(initdata.image.proxy, http_proxy)},
	{.name = "noProxy", .kind = DECODE_STRING, .offset = IN(initdata.image.proxy, no_proxy)},
	{0}};

static const struct decode_field image[] = {
	{.name = "securityPolicyURI", .kind = DECODE_STRING, .offset = IN(initdata.image, security_policy_uri)},
	{.name = "registryCredentialsURI", .kind = DECODE_STRING, .offset = IN(initdata.image, registry_credentials_uri)},
	{.name = "extraRootCertificates", .kind = DECODE_STRINGS, .offset = IN(initdata.image, extra_root_certificates)},
	{.name = "proxy", .kind = DECODE_OBJECT, .offset = IN(initdata.image, proxy), .fields = proxy},
	{0}};

static const struct decode_field initdata[] = {{.name = "algorithm",
												.kind = DECODE_ENUM,
												.offset = IN(initdata, algorithm),
												.names = initdata_algorithm_names,
												.seen_offset = IN(initdata, algorithm_given)},
											   {.name = "trusteeConfigRef",
												.kind = DECODE_OBJECT,
												.offset = IN(initdata, trustee),
												.fields = trustee_ref,
												.seen_offset = IN(initdata, trustee_given)},
											   {.name = "configMapKeyRef",
												.kind = DECODE_OBJECT,
												.offset = IN(initdata, config_map),
												.fields = object_key_ref_fields,
												.seen_offset = IN(initdata, config_map.given)},
											   {.name = "kbs",
												.kind = DECODE_OBJECT,
												.offset = IN(initdata, kbs),
												.fields = kbs,
												.seen_offset = IN(initdata, kbs_given)},
											   {.name = "agentPolicy",
												.kind = DECODE_OBJECT,
												.offset = IN(initdata, agent_policy),
												.fields = agent_policy,
												.seen_offset = IN(initdata, agent_policy_given)},
											   {.name = "image",
												.kind = DECODE_OBJECT,
												.offset = IN(initdata, image),
												.fields = image,
												.seen_offset = IN(initdata, image_given)},
											   {0}};

static const struct decode_field memory[] = {
	{.name = "mode", .kind = DECODE_ENUM, .offset = IN(memory, mode), .names = memory_modes},
	{.name = "vm", .kind = DECODE_QUANTITY, .offset = IN(memory, vm)},
	{.name = "min", .kind = DECODE_QUANTITY, .offset = IN(memory, min)},
	{.name = "max", .kind = DECODE_QUANTITY, .offset = IN(memory, max)},
	{.name = "imageSize", .kind = DECODE_QUANTITY, .offset = IN(memory, image_size)},
	{.name = "base", .kind = DECODE_QUANTITY, .offset = IN(memory, base)},
	{.name = "sizing", .kind = DECODE_ENUM, .offset = IN(memory, sizing), .names = sizings},
	{.name = "accounting", .kind = DECODE_ENUM, .offset = IN(memory, accounting), .names = accountings},
	{.name = "fillOthers", .kind = DECODE_BOOL, .offset = IN(memory, fill_others)},
	{0}};

static const struct decode_field cpu[] = {
	{.name = "mode", .kind = DECODE_ENUM, .offset = IN(cpu, mode), .names = cpu_modes},
	{.name = "vcpus", .kind = DECODE_INT, .offset = IN(cpu, vcpus)},
	{0}};

static const struct decode_field admission[] = {
	{.name = "foreignAnnotations",
	 .kind = DECODE_ENUM,
	 .offset = IN(admission, foreign_annotations),
	 .names = deny_or_warn},
	{.name = "hostPath", .kind = DECODE_ENUM, .offset = IN(admission, host_path), .names = strictnesses},
	{.name = "subPath", .kind = DECODE_ENUM, .offset = IN(admission, sub_path), .names = strictnesses},
	{.name = "requireImageDigest",
	 .kind = DECODE_ENUM,
	 .offset = IN(admission, require_image_digest),
	 .names = strictnesses},
	{0}};

static const struct decode_field spec_fields[] = {
	{.name = "runtimeClassName", .kind = DECODE_STRING, .offset = AT(runtime_class)},
	{.name = "allowedRuntimeClasses", .kind = DECODE_STRINGS, .offset = AT(allowed_runtime_classes)},
	{.name = "initdata", .kind = DECODE_OBJECT, .offset = AT(initdata), .fields = initdata},
	{.name = "memory", .kind = DECODE_OBJECT, .offset = AT(memory), .fields = memory},
	{.name = "cpu", .kind = DECODE_OBJECT, .offset = AT(cpu), .fields = cpu},
	{.name = "admission", .kind = DECODE_OBJECT, .offset = AT(admission), .fields = admission},
	{0}};

static const struct profile_spec defaults = {
	.runtime_class = DEFAULT_RUNTIME_CLASS,
	.memory = {.min = 2 * GIB, .max = 64 * GIB, .image_size = 2 * GIB, .base = 512 * MIB},
	.admission = {.foreign_annotations = STRICT_DENY,
				  .host_path = STRICT_WARN,
				  .sub_path = STRICT_WARN,
				  .require_image_digest = STRICT_OFF},
};

// Every certificate in the text; at least one.
static int check_pem(const char *pem, const char *path, struct error *err)
{
	const gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem, (unsigned)strlen(pem)};
	gnutls_x509_crt_t *list = NULL;
	unsigned n = 0;
	int rc = gnutls_x509_crt_list_import2(&list, &n, &text, GNUTLS_X509_FMT_PEM, 0);
	for (unsigned i = 0; rc >= 0 && i < n; i++)
		gnutls_x509_crt_deinit(list[i]);
	if (rc >= 0)
		gnutls_free(list);
	if (rc < 0 || n == 0)
		return error_set(err, EINVAL, "%s does not hold certificates in PEM form (-----BEGIN CERTIFICATE-----)", path);
	if (strstr(pem, "PRIVATE KEY") != NULL)
		return error_set(err, EINVAL, "%s holds a private key; remove it, only certificates belong here", path);
	return 0;
}

static int check_kbs(const struct profile_spec *s, struct error *err)
{
	if (!s->initdata.kbs_given)
		return 0;
	const char *url = s->initdata.kbs.url;
	if (url == NULL)
		return error_set(err, EINVAL, "spec.initdata.kbs.url is missing; set it to https://HOST:PORT of the KBS");
	int rc = check_url(url, "spec.initdata.kbs.url", err);
	if (rc < 0)
		return rc;
	bool https = is_https(url);
	bool ref = s->initdata.kbs.ca_config_map.given;
	if (s->initdata.kbs.ca_bundle != NULL && ref)
		return error_set(err, EINVAL, "spec.initdata.kbs has both caBundle and caConfigMapRef; keep one of the two");
	if (!https && (s->initdata.kbs.ca_bundle != NULL || ref))
		return error_set(err, EINVAL,
						 "spec.initdata.kbs has a CA, but its url \"%s\" is plain http; write https or drop the CA",
						 url);
	if (s->initdata.kbs.ca_bundle != NULL)
		return check_pem(s->initdata.kbs.ca_bundle, "spec.initdata.kbs.caBundle", err);
	return check_key_ref(&s->initdata.kbs.ca_config_map, "spec.initdata.kbs.caConfigMapRef", err);
}

static int check_initdata(const struct profile_spec *s, struct error *err)
{
	int sources = s->initdata.trustee_given + s->initdata.config_map.given + s->initdata.kbs_given;
	if (sources != 1)
		return error_set(err, EINVAL,
						 "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has %d",
						 sources);
	if (s->initdata.trustee_given && (s->initdata.trustee.name == NULL || s->initdata.trustee.name[0] == '\0'))
		return error_set(err, EINVAL, "spec.initdata.trusteeConfigRef needs the name of a TrusteeConfig");
	if (s->initdata.config_map.given && (s->initdata.agent_policy_given || s->initdata.image_given))
		return error_set(
			err, EINVAL,
			"spec.initdata.configMapKeyRef is the whole initdata; write agentPolicy and image settings into it");
	if (s->initdata.agent_policy.preset_given && s->initdata.agent_policy.config_map.given)
		return error_set(err, EINVAL,
						 "spec.initdata.agentPolicy has both preset and configMapKeyRef; keep one of the two");
	int rc = check_key_ref(&s->initdata.config_map, "spec.initdata.configMapKeyRef", err);
	if (rc == 0)
		rc = check_key_ref(&s->initdata.agent_policy.config_map, "spec.initdata.agentPolicy.configMapKeyRef", err);
	return rc < 0 ? rc : check_kbs(s, err);
}

static int check_sizes(const struct profile_spec *s, struct error *err)
{
	const struct memory_policy *m = &s->memory;
	if (m->min > m->max)
		return error_set(err, EINVAL, "spec.memory.min is above spec.memory.max; raise max or lower min");
	if (m->mode == MEMORY_FIXED && m->vm == 0)
		return error_set(err, EINVAL, "spec.memory.mode is Fixed, but spec.memory.vm is missing; set it, such as 8Gi");
	if (m->mode != MEMORY_FIXED && m->vm != 0)
		return error_set(err, EINVAL, "spec.memory.vm is set, but spec.memory.mode is %s; set mode: Fixed or drop vm",
						 memory_modes[m->mode]);
	if (m->vm != 0 && (m->vm < m->min || m->vm > m->max))
		return error_set(err, EINVAL, "spec.memory.vm is outside spec.memory.min and max");
	if ((s->cpu.mode == CPU_FIXED) != (s->cpu.vcpus != 0))
		return error_set(err, EINVAL, "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it");
	if (s->cpu.vcpus < 0 || s->cpu.vcpus > 1024)
		return error_set(err, EINVAL, "spec.cpu.vcpus is %lld; it must be from 1 to 1024", (long long)s->cpu.vcpus);
	return 0;
}

static int check_classes(const struct profile_spec *s, struct error *err)
{
	if (!is_object_name(s->runtime_class))
		return error_set(err, EINVAL,
						 "spec.runtimeClassName is \"%s\"; a RuntimeClass' name has only a-z, 0-9, '-' and '.'",
						 s->runtime_class);
	for (size_t i = 0; i < json_array_size(s->allowed_runtime_classes); i++) {
		const char *name = json_string_value(json_array_get(s->allowed_runtime_classes, i));
		if (!is_object_name(name))
			return error_set(
				err, EINVAL,
				"spec.allowedRuntimeClasses[%zu] is \"%s\"; a RuntimeClass' name has only a-z, 0-9, '-' and '.'", i,
				name);
	}
	return 0;
}

int profile_decode(const json_t *object, struct profile_spec *ret, struct error *err)
{
	*ret = defaults;
	const json_t *spec = json_object_get(object, "spec");
	if (spec == NULL)
		return error_set(err, EINVAL, "spec is missing; it needs at least spec.initdata");
	int rc = decode_object(spec, spec_fields, "spec", ret, err);
	if (rc == 0)
		rc = check_classes(ret, err);
	if (rc == 0)
		rc = check_initdata(ret, err);
	return rc < 0 ? rc : check_sizes(ret, err);
}

struct lookup {
	profile_config_map_fn fn;
	void *ctx;
	const char *ns;
};

static int get_key(const struct lookup *l, const struct object_key_ref *ref, const char *path, struct str *ret,
				   struct error *err)
{
	*ret = l->fn(l->ctx, l->ns, ref->name, ref->key, err);
	return ret->p != NULL ? 0 : error_prefix(err, "%s", path);
}

static const char *trustee_namespace(const struct profile_spec *s)
{
	return s->initdata.trustee.ns != NULL ? s->initdata.trustee.ns : DEFAULT_TRUSTEE_NAMESPACE;
}

// New.
static char *trustee_config_map(const struct profile_spec *s)
{
	return xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, s->initdata.trustee.name);
}

// The URL and CA that the controller publishes for a Trustee.
static int trustee_endpoint(const struct profile_spec *s, const struct lookup *l, struct initdata_source *src,
							struct error *err)
{
	const char *ns = trustee_namespace(s);
	CLEANUP_FREE
	char *name = trustee_config_map(s);
	struct str url = l->fn(l->ctx, ns, name, "url", err);
	if (url.p == NULL) {
		err->code = ENXIO;
		return error_prefix(err,
							"spec.initdata.trusteeConfigRef: the controller has not published TrusteeConfig \"%s\" of "
							"namespace \"%s\" (is it there, and ready?)",
							s->initdata.trustee.name, ns);
	}
	struct error no_ca;
	src->kbs_url = url.p;
	src->kbs_ca = l->fn(l->ctx, ns, name, "ca.crt", &no_ca).p;
	int rc = check_url(src->kbs_url, "its url", err);
	if (rc == 0 && src->kbs_ca != NULL)
		rc = check_pem(src->kbs_ca, "its ca.crt", err);
	return rc == 0
			   ? 0
			   : error_prefix(err, "spec.initdata.trusteeConfigRef: ConfigMap \"%s\" of namespace \"%s\"", name, ns);
}

static int check_roots(const struct profile_spec *s, struct error *err)
{
	const json_t *roots = s->initdata.image.extra_root_certificates;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < json_array_size(roots); i++) {
		char path[64];
		(void)snprintf(path, sizeof(path), "spec.initdata.image.extraRootCertificates[%zu]", i);
		rc = check_pem(json_string_value(json_array_get(roots, i)), path, err);
	}
	return rc;
}

// An empty text is none: the guest would take it for an address.
static const char *unless_empty(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

static int gather(const struct profile_spec *s, const struct lookup *l, struct initdata_source *src, struct error *err)
{
	*src = (struct initdata_source){
		.algorithm = (enum initdata_algorithm)s->initdata.algorithm,
		.kbs_url = s->initdata.kbs.url,
		.kbs_ca = s->initdata.kbs.ca_bundle,
		.policy = agent_policy_text((enum agent_policy_preset)s->initdata.agent_policy.preset),
		.image_security_policy_uri = unless_empty(s->initdata.image.security_policy_uri),
		.image_registry_credentials_uri = unless_empty(s->initdata.image.registry_credentials_uri),
		.image_extra_root_certificates = s->initdata.image.extra_root_certificates,
		.https_proxy = unless_empty(s->initdata.image.proxy.https_proxy),
		.http_proxy = unless_empty(s->initdata.image.proxy.http_proxy),
		.no_proxy = unless_empty(s->initdata.image.proxy.no_proxy),
	};
	int rc = check_roots(s, err);
	struct str text;
	if (rc == 0 && s->initdata.agent_policy.config_map.given) {
		rc = get_key(l, &s->initdata.agent_policy.config_map, "spec.initdata.agentPolicy.configMapKeyRef", &src->policy,
					 err);
		if (rc == 0 && memmem(src->policy.p, src->policy.n, "package agent_policy", 20) == NULL)
			return error_set(err, EINVAL,
							 "spec.initdata.agentPolicy.configMapKeyRef: the text has no \"package agent_policy\"");
	}
	if (rc == 0 && s->initdata.kbs.ca_config_map.given) {
		rc = get_key(l, &s->initdata.kbs.ca_config_map, "spec.initdata.kbs.caConfigMapRef", &text, err);
		if (rc == 0)
			rc = check_pem(text.p, "spec.initdata.kbs.caConfigMapRef", err);
		src->kbs_ca = rc == 0 ? text.p : NULL;
	}
	if (rc == 0 && s->initdata.trustee_given)
		rc = trustee_endpoint(s, l, src, err);
	return rc;
}

static int assemble(const struct profile_spec *s, const struct lookup *l, struct buf *toml, struct error *err)
{
	if (!s->initdata.config_map.given) {
		struct initdata_source src;
		int rc = gather(s, l, &src, err);
		return rc < 0 ? rc : initdata_build(&src, toml, err);
	}
	struct str text;
	int rc = get_key(l, &s->initdata.config_map, "spec.initdata.configMapKeyRef", &text, err);
	if (rc == 0)
		buf_add_str(toml, text);
	return rc;
}

// Initdata that was written by hand: what the guest would refuse is refused here, and what leaves it open is told to
// whoever uses the profile. What is merely unusual is for `cocopipe initdata lint`.
static int judge_handwritten(struct profile *p, struct str toml, struct error *err)
{
	CLEANUP_FINDINGS
	struct findings f = {0};
	initdata_lint(toml, &f);
	for (size_t i = 0; i < f.n; i++) {
		const struct finding *x = &f.v[i];
		if (x->level == FINDING_ERROR)
			return error_set(err, EINVAL, "spec.initdata.configMapKeyRef: %s: %s", x->where, x->what);
		bool open = strcmp(x->where, "data.\"policy.rego\"") == 0 || strncmp(x->what, "is missing", 10) == 0;
		if (open && p->caution == NULL)
			p->caution = xasprintf("%s %s", x->where, x->what);
	}
	return 0;
}

// The annotation needs no escape in JSON: it is base64.
static void prepare_annotation(struct profile *p)
{
	struct buf json = BUF_INIT(p->annotation_n + 4);
	struct buf base64 = BUF_INIT((p->annotation_n + 4) / 3 * 4);
	buf_addc(&json, '"');
	buf_add(&json, p->annotation, p->annotation_n);
	buf_addc(&json, '"');
	p->annotation_json_n = json.n;
	buf_add(&json, "  ", (3 - json.n % 3) % 3);
	base64_encode(buf_str(&json), &base64);
	p->annotation_json = buf_take(&json);
	p->annotation_json64_n = base64.n;
	p->annotation_json64 = buf_take(&base64);
}

static int compile_initdata(struct profile *p, const struct lookup *l, struct error *err)
{
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_BUF
	struct buf annotation = BUF_INIT(INITDATA_ANNOTATION_MAX + 1);
	CLEANUP_INITDATA struct initdata i = {0};
	if (assemble(&p->spec, l, &toml, err) < 0)
		return -err->code;
	if (!buf_ok(&toml))
		return error_set(err, EFBIG, "spec.initdata is larger than %zu bytes; shorten it", INITDATA_TOML_MAX);
	if (initdata_parse(buf_str(&toml), &i, err) < 0)
		return error_prefix(err, "spec.initdata");
	if (p->spec.initdata.config_map.given && judge_handwritten(p, buf_str(&toml), err) < 0)
		return -err->code;
	const char *asked = initdata_algorithm_names[p->spec.initdata.algorithm];
	if (p->spec.initdata.algorithm_given && strcmp(asked, i.algorithm) != 0)
		return error_set(err, EINVAL, "spec.initdata.algorithm is %s, but the initdata itself says %s; make them agree",
						 asked, i.algorithm);
	if (initdata_encode(buf_str(&toml), &annotation, err) < 0)
		return error_prefix(err, "spec.initdata");
	size_t which = 0;
	while (strcmp(initdata_algorithm_names[which], i.algorithm) != 0)
		which++;
	if (initdata_digests(buf_str(&toml), initdata_algorithm_names[which], &p->digests, err) < 0)
		return -err->code;
	struct buf hex = BUF_INIT(2 * DIGEST_MAX + 16);
	buf_addf(&hex, "%s:", p->digests.algorithm);
	hex_encode(p->digests.digest.v, p->digests.digest.n, &hex);
	p->digest = buf_take(&hex);
	p->allows_exec = agent_policy_allows_exec(i.policy);
	p->toml_n = toml.n;
	p->toml = buf_take(&toml);
	p->annotation_n = annotation.n;
	p->annotation = buf_take(&annotation);
	prepare_annotation(p);
	return 0;
}

struct profile *profile_compile(json_t *object, const char *default_ns, profile_config_map_fn config_map, void *ctx,
								struct error *err)
{
	struct profile *p = xcalloc(1, sizeof(*p));
	atomic_init(&p->refs, 1);
	p->object = json_incref(object);
	const json_t *meta = json_object_get(object, "metadata");
	p->name = json_string_value(json_object_get(meta, "name"));
	const char *ns = json_string_value(json_object_get(meta, "namespace"));
	p->ns = xstrdup(ns != NULL ? ns : default_ns); // the catalog that default_ns is of may go before the profile
	p->generation = json_integer_value(json_object_get(meta, "generation"));
	const struct lookup l = {config_map, ctx, p->ns};
	int rc =
		p->name == NULL ? error_set(err, EINVAL, "metadata.name is missing") : profile_decode(object, &p->spec, err);
	if (rc == 0)
		rc = compile_initdata(p, &l, err);
	if (rc == 0)
		return p;
	profile_unref(p);
	return NULL;
}

void profile_config_maps(const json_t *object, const char *default_ns,
						 void (*emit)(void *ctx, const char *ns, const char *name), void *ctx)
{
	struct profile_spec s;
	struct error err;
	if (profile_decode(object, &s, &err) < 0)
		return;
	const char *ns = json_string_value(json_object_get(json_object_get(object, "metadata"), "namespace"));
	const struct object_key_ref *const refs[] = {&s.initdata.config_map, &s.initdata.kbs.ca_config_map,
												 &s.initdata.agent_policy.config_map};
	for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
		if (refs[i]->given)
			emit(ctx, ns != NULL ? ns : default_ns, refs[i]->name);
	if (s.initdata.trustee_given) {
		CLEANUP_FREE
		char *name = trustee_config_map(&s);
		emit(ctx, trustee_namespace(&s), name);
	}
}

struct profile *profile_ref(struct profile *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void profile_unref(struct profile *p)
{
	if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
		return;
	json_decref(p->object);
	free(p->ns);
	free(p->toml);
	free(p->annotation);
	free(p->annotation_json);
	free(p->annotation_json64);
	free(p->digest);
	free(p->caution);
	free(p);
}
