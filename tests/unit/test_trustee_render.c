// Goldens: tests/golden/trustee/NAME/input.yaml and what comes of it, output.yaml; COCO_UPDATE_GOLDENS=1 writes the latter
// anew, for a person to read. Certificates, keys and digests are words there, as they differ each time.
#include <dirent.h>

#include "common/files.h"
#include "common/names.h"
#include "common/profile.h"
#include "trustee_checks.h"

#define GOLDENS "tests/golden/trustee"

// ---- What is rendered, for people

static const char *const levels[] = {"note", "warning", "error"};
static const char *const abouts[] = {"spec", "certificate", "route", "resources", "release"};

static char *policy_told(const char *text)
{
	static const struct {
		enum trustee_attestation_policy policy;
		enum trustee_references references;
		const char *name;
	} known[] = {
		{ATTESTATION_CPU, REFERENCES_QUERY, "(attestation policy for CPUs)"},
		{ATTESTATION_CPU, REFERENCES_DATA, "(attestation policy for CPUs, of Trustee before 0.16)"},
		{ATTESTATION_GPU, REFERENCES_QUERY, "(attestation policy for GPUs)"},
		{ATTESTATION_GPU, REFERENCES_DATA, "(attestation policy for GPUs, of Trustee before 0.16)"},
	};
	for (size_t i = 0; i < COUNT(known); i++) {
		CLEANUP_BUF
		struct buf b = BUF_INIT(WORLD_TEXT_MAX);
		trustee_policy_attestation(known[i].policy, known[i].references, &b);
		if (strcmp(buf_z(&b), text) == 0)
			return xstrdup(known[i].name);
	}
	// The profile, and the bindings. A text with a tab would be one long line in a ConfigMap.
	const char *bindings = strstr(text, "\nbindings := ");
	assert_null(strchr(text, '\t'));
	return xasprintf("%.*s\n(...)%s", (int)strcspn(text, ":"), text, bindings != NULL ? bindings : "");
}

static char *readable_value(const json_t *object, const char *key, const char *value)
{
	if (strcmp(json_string_value(json_object_get(object, "kind")), "Secret") == 0)
		return value_told(object, key);
	size_t n = strlen(key);
	return n > 5 && strcmp(key + n - 5, ".rego") == 0 ? policy_told(value) : told(value);
}

// Without what all objects have; check_objects() sees to that.
static json_t *readable(const json_t *object)
{
	json_t *copy = json_deep_copy(object);
	json_t *annotations = json_object_get(json_object_get(copy, "metadata"), "annotations");
	const char *key;
	void *tmp;
	json_t *v;
	(void)json_object_del(annotations, ANNOTATION_APPLIED);
	if (json_object_size(annotations) > 0)
		(void)json_object_set(copy, "annotations", annotations);
	(void)json_object_del(copy, "metadata");
	(void)json_object_del(copy, "apiVersion");
	json_object_foreach_safe(json_object_get(copy, "data"), tmp, key, v)
	{
		CLEANUP_FREE char *text = readable_value(object, key, json_string_value(v));
		(void)json_object_set_new(json_object_get(copy, "data"), key, json_string(text));
	}
	(void)json_object_del(copy, "kind");
	return copy;
}

static void set_time(json_t *report, const char *key, int64_t s)
{
	char when[CLOCK_TEXT_MAX];
	clock_text(s * 1000 * 1000, 0, when);
	if (s != 0)
		(void)json_object_set_new(report, key, json_string(when));
}

static json_t *report_of(const struct trustee_rendering *r)
{
	json_t *report = json_object();
	json_t *remarks = json_array();
	if (r->ca != NULL) {
		CLEANUP_FREE char *ca = told(r->ca);
		(void)json_object_set_new(report, "trust", json_string(ca));
	}
	set_time(report, "notAfter", r->not_after_s);
	set_time(report, "lookAgain", r->look_again_s);
	for (size_t i = 0; i < r->remarks.n; i++) {
		const struct remark *m = &r->remarks.v[i];
		CLEANUP_FREE char *kind = xasprintf("%s about %s, %s", levels[m->level], abouts[m->about], m->reason);
		(void)json_array_append_new(remarks, json_pack("{s:s}", kind, m->message));
	}
	(void)json_object_set_new(report, "remarks", remarks);
	return report;
}

static void add_yaml(json_t *root, struct buf *out)
{
	struct error err;
	if (yaml_write(root, out, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(root);
}

static void write_readable(const struct trustee_rendering *r, struct buf *out)
{
	for (size_t i = 0; i < r->objects.n; i++) {
		const struct rendered_object *o = &r->objects.v[i];
		if (o->object == NULL) {
			buf_addf(out, "# %s %s stays as it is\n---\n", o->resource->kind, o->name);
			continue;
		}
		buf_addf(out, "# %s %s (%s)\n", o->resource->kind, o->name, kube_label(o->object, LABEL_COMPONENT));
		add_yaml(readable(o->object), out);
		buf_addz(out, "---\n");
	}
	buf_addz(out, "# What there is to say\n");
	add_yaml(report_of(r), out);
}

// ---- Goldens

static struct golden_case {
	const char *name; // of a folder
} goldens[] = {
	{"permissive"},
	{"permissive-https"},
	{"restricted"},
	{"restricted-own-signer"},
	{"restricted-0.15"},
	{"restricted-0.19-by-image"},
	{"everything"},
	{"vault"},
	{"vault-without-token"},
	{"ibm-se"},
	{"ibm-se-with-bindings"},
	{"bindings"},
	{"bindings-wait"},
	{"last-good-certificate"},
	{"no-certificate-yet"},
	{"version-too-old"},
	{"version-too-old-for-tls"},
	{"names-taken"},
	{"from-upstream"},
	{"restricted-again"},
};

static void read_golden(const char *name, const char *file, struct buf *out)
{
	struct error err;
	CLEANUP_FREE char *path = xasprintf("%s/%s/%s", GOLDENS, name, file);
	if (file_read(path, out, &err) < 0)
		fail_msg("%s", err.msg);
}

static void compare_with_golden(const char *name, const struct buf *got)
{
	CLEANUP_BUF
	struct buf want = BUF_INIT(WORLD_TEXT_MAX);
	if (getenv("COCO_UPDATE_GOLDENS") != NULL) {
		CLEANUP_FREE char *path = xasprintf("%s/%s/output.yaml", GOLDENS, name);
		CLEANUP_FCLOSE
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		assert_int_equal(fwrite(got->p, 1, got->n, f), got->n);
		return;
	}
	read_golden(name, "output.yaml", &want);
	assert_string_equal(got->p, buf_z(&want));
}

static void test_golden(void **state)
{
	const struct golden_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_BUF
	struct buf input = BUF_INIT(WORLD_TEXT_MAX);
	CLEANUP_BUF
	struct buf got = BUF_INIT(WORLD_TEXT_MAX);
	read_golden(row->name, "input.yaml", &input);
	world_make(&c, buf_z(&input));
	world_render(&c, &r);
	write_readable(&r, &got);
	compare_with_golden(row->name, &got);
	check_objects(&c, &r);
	check_again(&c, &r);
}

// ---- Reference values

static struct reference_case {
	const char *name;
	const char *version;
	const char *live; // the ConfigMap's content in flow style; NULL: there is none
	const char *want; // NULL: the object stays as it is
} reference_cases[] = {
	{"references: none yet", "0.21", NULL, "{\n}\n"},
	{"references: none yet, a list", "0.18", NULL, "[\n]\n"},
	{"references: a map from 0.19 on", "0.19", NULL, "{\n}\n"},
	{"references: the admin's", "0.21", "data: {reference_value: '{\"a\": \"b\"}', other: x}", "{\"a\": \"b\"}"},
	{"references: the admin's, whatever it is", "0.21", "data: {reference_value: 'no JSON'}", "no JSON"},
	{"references: the admin's, empty", "0.21", "data: {reference_value: ''}", ""},
	{"references: the key was removed", "0.21", "data: {other: x}", "{\n}\n"},
	{"references: all was removed", "0.21", "metadata2: {}", "{\n}\n"},
	{"references: of nobody, from an older release", "0.21", "data: {reference_value: \"[\\n]\\n\"}", "{\n}\n"},
	{"references: of nobody, from a newer release", "0.15", "data: {reference_value: \"{\\n}\\n\"}", "[\n]\n"},
	{"references: as bytes", "0.21", "binaryData: {reference_value: 'AAAA'}", NULL},
};

static void test_references(void **state)
{
	const struct reference_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *spec = xasprintf("trusteeVersion: '%s'", row->version);
	CLEANUP_FREE char *live =
		xasprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: t-rvps-reference-values}, %s}\n",
				  row->live != NULL ? row->live : "x: y");
	make_case(&c, NULL, spec, row->live != NULL ? live : "");
	world_render(&c, &r);
	const json_t *got = rendered_find(&r.objects, &KUBE_CONFIG_MAPS, "t-rvps-reference-values");
	assert_true(rendered_wants(&r.objects, &KUBE_CONFIG_MAPS, "t-rvps-reference-values"));
	assert_text(json_string_value(json_object_get(json_object_get(got, "data"), "reference_value")), row->want);
	assert_int_equal(json_object_size(json_object_get(got, "data")), row->want != NULL);
	check_again(&c, &r);
}

// ---- The log level

static struct log_case {
	const char *name;
	bool restricted;
	const char *live; // RUST_LOG of the KbsConfig; NULL: none
	const char *ours; // its annotation
	const char *want; // that is rendered; NULL: none
	bool remark;
} log_cases[] = {
	{"log: Permissive", false, NULL, NULL, "debug", false},
	{"log: Permissive, ours", false, "debug", "debug", "debug", false},
	{"log: Permissive, upstream's", false, "debug", NULL, "debug", false},
	{"log: Permissive, the admin's", false, "info", NULL, NULL, false},
	{"log: Permissive, ours was changed", false, "warn", "debug", NULL, false},
	{"log: Permissive, the admin's is empty", false, "", NULL, NULL, false},
	{"log: Restricted", true, NULL, NULL, NULL, false},
	{"log: Restricted, the admin's", true, "info", NULL, NULL, false},
	{"log: Restricted, ours, that goes", true, "debug", "debug", NULL, false},
	{"log: Restricted, upstream's, that stays", true, "debug", NULL, NULL, true},
	{"log: Restricted, ours was changed", true, "kbs=trace,info", "debug", NULL, true},
	{"log: Restricted, in capitals", true, "DEBUG", NULL, NULL, true},
	{"log: Restricted, of one part", true, "info,kbs=Debug", NULL, NULL, true},
};

static void test_log(void **state)
{
	const struct log_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *live =
		xasprintf("---\napiVersion: confidentialcontainers.org/v1alpha1\nkind: KbsConfig\n"
				  "metadata: {name: t-kbs-config, annotations: {pipelines.confidentialcontainers.org/log-level: %s}}\n"
				  "spec: {KbsEnvVars: {RUST_LOG: '%s', OTHER: trace}}\n",
				  row->ours != NULL ? row->ours : "null", row->live != NULL ? row->live : "");
	CLEANUP_FREE char *given =
		secret_yaml("kbs-tls", "tls.crt", "@cert leaf inter", "tls.key", "@key leaf", "@cert root");
	CLEANUP_FREE char *all = xasprintf("%s%s", given, row->live != NULL ? live : "");
	make_case(&c, NULL, row->restricted ? OWN_SIGNER : HTTPS, all);
	world_render(&c, &r);
	const json_t *got = rendered_find(&r.objects, &KUBE_KBS_CONFIGS, "t-kbs-config");
	const json_t *env = json_object_get(json_object_get(got, "spec"), "KbsEnvVars");
	assert_text(json_string_value(json_object_get(env, "RUST_LOG")), row->want);
	assert_int_equal(json_object_size(env), row->want != NULL);
	assert_text(kube_annotation(got, "pipelines.confidentialcontainers.org/log-level"), row->want);
	CLEANUP_FREE char *reasons = xasprintf("%s%s%s", row->restricted ? "[NoReferenceValues]" : "",
										   row->remark ? " " : "", row->remark ? "(DebugLogging)" : "");
	assert_reasons(&r, reasons);
	check_again(&c, &r);
}

// ---- Nothing is released

static struct release_case {
	const char *name;
	const char *spec;
	const char *values; // as the ConfigMap has them; NULL: there is no such ConfigMap yet
	const char *said;
} release_cases[] = {
	{"release: Restricted, at first", OWN_SIGNER, NULL, "[NoReferenceValues]"},
	{"release: Restricted, an empty map", OWN_SIGNER, "data: {reference_value: '{ }'}", "[NoReferenceValues]"},
	{"release: Restricted, an empty list", OWN_SIGNER, "data: {reference_value: '[]'}", "[NoReferenceValues]"},
	{"release: Restricted, blank", OWN_SIGNER, "data: {reference_value: \" \\n\"}", "[NoReferenceValues]"},
	{"release: Restricted, null", OWN_SIGNER, "data: {reference_value: 'null'}", "[NoReferenceValues]"},
	{"release: Restricted, no such key", OWN_SIGNER, "data: {reference_values: '{\"a\": \"b\"}'}",
	 "[NoReferenceValues]"},
	{"release: Restricted, some values", OWN_SIGNER, "data: {reference_value: '{\"a\": \"b\"}'}", ""},
	{"release: Restricted, a list of values", OWN_SIGNER, "data: {reference_value: '[{\"a\": \"b\"}]'}", ""},
	{"release: Restricted, what can't be read", OWN_SIGNER, "data: {reference_value: 'a'}", ""},
	{"release: Restricted, as bytes", OWN_SIGNER, "binaryData: {reference_value: 'AAAA'}", ""},
	{"release: IBM SE needs none", OWN_SIGNER ", ibmSE: {pvName: a}", NULL, ""},
	{"release: Permissive", HTTPS, NULL, ""},
};

static void test_release(void **state)
{
	const struct release_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *given =
		secret_yaml("kbs-tls", "tls.crt", "@cert leaf inter", "tls.key", "@key leaf", "@cert root");
	CLEANUP_FREE char *values = xasprintf(
		"---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: t-rvps-reference-values}, %s}\n", row->values);
	CLEANUP_FREE char *all = xasprintf("%s%s", given, row->values != NULL ? values : "");
	make_case(&c, NULL, row->spec, all);
	world_render(&c, &r);
	assert_reasons(&r, row->said);
	check_again(&c, &r);
}

// ---- Bindings

static const char *policy_of(const struct trustee_rendering *r)
{
	const json_t *map = rendered_find(&r->objects, &KUBE_CONFIG_MAPS, "t-resource-policy");
	return json_string_value(json_object_get(json_object_get(map, "data"), "resource-policy.rego"));
}

static void test_binding_paths(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	make_case(&c, NULL, "bindings: [{profileRef: {name: p}, resources: [one, two/b, three/b/c]}]", "");
	world_render(&c, &r);
	static const char *const lines[] = {"\n  \"one/\": {", "\n  \"two/b/\": {", "\n  \"three/b/c\": {"};
	for (size_t i = 0; i < COUNT(lines); i++)
		assert_non_null(strstr(policy_of(&r), lines[i]));
}

// More than a policy may hold: everything stays, since the last policy may be Permissive's, and what is made beside it
// Restricted's.
static void test_too_many_bindings(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_BUF
	struct buf spec = BUF_INIT(WORLD_TEXT_MAX);
	buf_addz(&spec, "bindings: [{profileRef: {name: p}, resources: [a/b/c]}, {profileRef: {name: p}, resources: [");
	for (int i = 0; i < POLICY_BINDINGS_MAX; i++)
		buf_addf(&spec, "a/b/c%d, ", i);
	buf_addz(&spec, "]}]");
	make_case(&c, NULL, buf_z(&spec), "");
	world_render(&c, &r);
	assert_reasons(&r, "Bindings");
	assert_null(policy_of(&r));
	assert_true(rendered_wants(&r.objects, &KUBE_CONFIG_MAPS, "t-resource-policy"));
	assert_true(rendered_wants(&r.objects, &KUBE_KBS_CONFIGS, "t-kbs-config"));
	for (size_t i = 0; i < r.objects.n; i++)
		assert_null(r.objects.v[i].object);
}

// ---- What counts of a KbsConfig

#define KEYS "kbsHttpsKeySecretName: a, kbsAttestationCertSecretName: b"

struct filter_case {
	const char *name;
	const char *spec; // of the TrusteeConfig
	const char *kbs;  // the KbsConfig's
	const char *left; // fields that are ignored, in order; NULL: none
};

static struct filter_case filter_cases[] = {
	{"an admin's fields", "",
	 "kbsSecretResources: [a], KbsEnvVars: {A: b}, KbsDeploymentSpec: {replicas: 2}, kbsLocalCertCacheSpec: {secrets: "
	 "[]}, "
	 "ibmSEConfigSpec: {certStorePvc: a}",
	 NULL},
	{"what both say", "trusteeVersion: '0.20', image: a", "trusteeVersion: '0.20', image: b", NULL},
	{"null is nothing", "", "image: null", NULL},
	{"what an apply leaves is nothing", "", "resources: {limits: {}}, vault: {caSecretRef: null}", NULL},
	{"a version that the configuration isn't of", "", "trusteeVersion: '0.17'", "trusteeVersion"},
	{"an image, where the TrusteeConfig says null", "image: null", "image: a", "image"},
	{"a second instance", "", "instanceName: b, exposure: {type: None}", "instanceName exposure"},
	{"keys that nothing is configured for", "", KEYS, "kbsHttpsKeySecretName kbsAttestationCertSecretName"},
	{"keys of what there is", "profileType: Restricted, httpsSpec: {tlsSecretName: a}", KEYS, NULL},
	{"a signer's key alone", "attestationTokenVerificationSpec: {tlsSecretName: a}", KEYS, "kbsHttpsKeySecretName"},
};

static json_t *parsed(const char *text)
{
	CLEANUP_YAML_DOCS struct yaml_docs docs = {0};
	struct error err;
	if (yaml_read(str_from(text), &docs, &err) < 0)
		fail_msg("test data: %s in: %s", err.msg, text);
	return json_incref(docs.v[0].root);
}

static void test_filter(void **state)
{
	const struct filter_case *c = *state;
	CLEANUP_FREE char *text = xasprintf("{metadata: {name: t}, spec: {%s}}", c->spec);
	CLEANUP_FREE char *kbs_text = xasprintf("{metadata: {name: t-kbs-config}, spec: {%s}}", c->kbs);
	json_auto_t *object = parsed(text);
	json_auto_t *kbs = parsed(kbs_text);
	json_auto_t *before = json_deep_copy(kbs);
	struct trustee_spec spec;
	struct error err;
	CLEANUP_REMARKS struct remarks remarks = {0};
	assert_int_equal(trustee_decode(object, &spec, &err), 0);
	json_auto_t *left = trustee_filter_kbs_config(object, &spec, kbs, &remarks);
	assert_true(json_equal(kbs, before));
	const char *rest = c->left != NULL ? c->left : "";
	for (size_t i = 0; i < remarks.n; i++, rest += strcspn(rest, " "), rest += *rest == ' ') {
		CLEANUP_FREE char *field = xstrndup((struct str){rest, strcspn(rest, " ")});
		CLEANUP_FREE char *said = xasprintf("KbsConfig \"t-kbs-config\" sets spec.%s, which", field);
		assert_string_equal(remarks.v[i].reason, "FieldIgnored");
		assert_non_null(strstr(remarks.v[i].message, said));
		assert_int_equal(json_object_del(json_object_get(before, "spec"), field), 0);
	}
	assert_string_equal(rest, "");
	// What says nothing is left out, too.
	if (strstr(c->name, "nothing") != NULL)
		(void)json_object_clear(json_object_get(before, "spec"));
	assert_true(json_equal(left, before));
}

// ---- Names that are taken, and versions

// Whatever of ours belongs to another controller stays, and is named; all else is made.
static void test_taken(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering all;
	CLEANUP_FREE char *given =
		secret_yaml("kbs-tls", "tls.crt", "@cert leaf inter", "tls.key", "@key leaf", "@cert root");
	make_case(&c, NULL, "ibmSE: {pvName: pv}, " OWN_SIGNER, given);
	world_render(&c, &all);
	assert_int_equal(all.objects.n, 13);
	world_apply(&c, &all);
	for (size_t i = 0; i < all.objects.n; i++) {
		CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
		const struct rendered_object *o = &all.objects.v[i];
		CLEANUP_FREE char *key = xasprintf("%s/%s", o->resource->kind, o->name);
		json_t *owner = json_array_get(
			json_object_get(json_object_get(json_object_get(c.objects, key), "metadata"), "ownerReferences"), 0);
		assert_int_equal(json_object_set_new(owner, "uid", json_string("u-9")), 0);
		world_render(&c, &r);
		assert_reasons(&r, "NameTaken");
		assert_int_equal(r.objects.n, all.objects.n);
		for (size_t j = 0; j < r.objects.n; j++)
			assert_int_equal(r.objects.v[j].object == NULL, j == i);
		assert_int_equal(json_object_set_new(owner, "uid", json_string("u-1")), 0);
	}
}

// Of a file, which has no uid: objects have no owner, and nothing is anybody's.
static void test_no_uid(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	make_case(&c, NULL, "profileType: Permissive",
			  "---\napiVersion: v1\nkind: Secret\nmetadata: {name: t-auth-secret, ownerReferences: [{kind: X, name: x, "
			  "uid: u-9, controller: true}]}\n");
	(void)json_object_del(json_object_get(c.object, "metadata"), "uid");
	world_render(&c, &r);
	assert_reasons(&r, "");
	for (size_t i = 0; i < r.objects.n; i++)
		assert_null(json_object_get(json_object_get(r.objects.v[i].object, "metadata"), "ownerReferences"));
}

static struct version_case {
	const char *name, *spec, *image; // image: the program's default; NULL: it names none
	const char *has, *reasons;       // a line of the configuration
} version_cases[] = {
	{"version: the newest", "x: y", NULL, "\nauthorization_mode = ", ""},
	{"version: the default image's", "x: y", "kbs:v0.19.0", "\ntype = \"DenyAll\"", ""},
	{"version: the spec's image's", "image: 'kbs:v0.19.0'", "kbs:v0.21.0", "\ntype = \"DenyAll\"", ""},
	{"version: the spec's before its image's", "image: 'kbs:v0.19.0', trusteeVersion: '0.21'", NULL,
	 "\nauthorization_mode = ", ""},
	{"version: an image that tells nothing", "image: 'kbs:latest'", "kbs:v0.19.0", "\nauthorization_mode = ", ""},
	{"version: an image too old", "image: 'kbs:v0.13.0'", NULL, NULL, "UnsupportedVersion"},
	{"version: the default image too old", "x: y", "kbs:v0.13.0", NULL, "UnsupportedVersion"},
	{"version: no Redis yet", "trusteeVersion: '0.20', sessionStorage: {type: Redis, secretRef: {name: r, key: u}}",
	 NULL, NULL, "SessionURLMissing UnsupportedVersion"},
};

static void test_version(void **state)
{
	const struct version_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	struct trustee_world world = TRUSTEE_WORLD_DEFAULT;
	make_case(&c, NULL, strcmp(row->spec, "x: y") == 0 ? "profileType: Permissive" : row->spec, "");
	if (row->image != NULL)
		world.images.kbs = row->image;
	c.in.world = &world;
	world_render(&c, &r);
	assert_reasons(&r, row->reasons);
	const json_t *map = rendered_find(&r.objects, &KUBE_CONFIG_MAPS, "t-kbs-config");
	const char *toml = json_string_value(json_object_get(json_object_get(map, "data"), "kbs-config.toml"));
	assert_int_equal(toml != NULL, row->has != NULL);
	if (row->has != NULL && strstr(toml, row->has) == NULL)
		fail_msg("no \"%s\" in:\n%s", row->has, toml);
	for (size_t i = 0; i < r.objects.n; i++)
		assert_int_equal(r.objects.v[i].object != NULL, row->has != NULL);
}

// The decoder refuses it; who calls with one nevertheless gets no KBS over plain HTTP.
static void test_restricted_without_https(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	make_case(&c, NULL, "profileType: Permissive", "");
	c.spec.profile = TRUSTEE_RESTRICTED;
	world_render(&c, &r);
	assert_reasons(&r, "HTTPSMissing");
	for (size_t i = 0; i < r.objects.n; i++)
		assert_null(r.objects.v[i].object);
}

// ---- What is needed, and the endpoint

static struct needs_case {
	const char *name, *spec, *want;
} needs_cases[] = {
	{"needs: Permissive", "profileType: Permissive",
	 "KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values Secret/t-auth-secret "},
	{"needs: Permissive over HTTPS", HTTPS,
	 "Secret/kbs-tls KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values ConfigMap/trustee-endpoint-t "
	 "Secret/t-auth-secret Secret/t-https-key-secret Secret/t-https-cert-secret "},
	{"needs: a signer", TOKEN,
	 "Secret/token-tls KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values Secret/t-auth-secret "
	 "Secret/t-attestation-key-secret Secret/t-attestation-cert-secret "},
	{"needs: Redis", "sessionStorage: {type: Redis, secretRef: {name: r, key: k}}",
	 "Secret/r KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values Secret/t-auth-secret "},
	{"needs: Postgres", "sessionStorage: {type: Postgres, secretRef: {name: r, key: k}}",
	 "KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values Secret/t-auth-secret "},
	{"needs: Restricted with Vault", OWN_SIGNER ", vault: {address: 'https://v', tokenSecretRef: {name: v, key: k}}",
	 "Secret/kbs-tls Secret/v KbsConfig/t-kbs-config ConfigMap/t-rvps-reference-values ConfigMap/trustee-endpoint-t "
	 "Secret/t-auth-secret Secret/t-https-key-secret Secret/t-https-cert-secret Secret/t-attestation-key-secret "
	 "Secret/t-attestation-cert-secret "},
};

static void note_need(void *ctx, const struct kube_resource *res, const char *name)
{
	buf_addf(ctx, "%s/%s ", res->kind, name);
}

static void test_needs(void **state)
{
	const struct needs_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_BUF
	struct buf got = BUF_INIT(4096);
	make_case(&c, NULL, row->spec, "");
	trustee_needs(c.object, &c.spec, note_need, &got);
	assert_string_equal(buf_z(&got), row->want);
}

static void test_endpoint(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_RENDERED struct rendered r = {0};
	make_case(&c, NULL, "profileType: Permissive", "");
	trustee_render_endpoint(c.object, "https://kbs", "PEM", &r);
	trustee_render_endpoint(c.object, "http://kbs", NULL, &r);
	const char *const want[] = {"{\"url\":\"https://kbs\",\"ca.crt\":\"PEM\"}", "{\"url\":\"http://kbs\"}"};
	for (size_t i = 0; i < 2; i++) {
		CLEANUP_FREE char *data = json_dumps(json_object_get(r.v[i].object, "data"), JSON_COMPACT);
		assert_string_equal(data, want[i]);
		assert_string_equal(r.v[i].name, TRUSTEE_ENDPOINT_PREFIX "t");
		check_metadata(&c, &r.v[i]);
	}
}

// ---- All of them

// Each folder is a case: one that isn't in the table would be compared with nothing.
static void test_folders(void **state)
{
	(void)state;
	size_t n = 0;
	DIR *d = opendir(GOLDENS);
	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	assert_int_equal(n, COUNT(goldens));
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, goldens, test_golden);
	tests_add(&t, "goldens: all folders are cases", test_folders, NULL);
	ADD_TABLE(&t, reference_cases, test_references);
	ADD_TABLE(&t, log_cases, test_log);
	ADD_TABLE(&t, release_cases, test_release);
	tests_add(&t, "bindings: paths", test_binding_paths, NULL);
	tests_add(&t, "bindings: too many", test_too_many_bindings, NULL);
	ADD_TABLE(&t, filter_cases, test_filter);
	tests_add(&t, "names that are taken", test_taken, NULL);
	tests_add(&t, "no uid", test_no_uid, NULL);
	ADD_TABLE(&t, version_cases, test_version);
	tests_add(&t, "Restricted without HTTPS", test_restricted_without_https, NULL);
	ADD_TABLE(&t, needs_cases, test_needs);
	tests_add(&t, "endpoint", test_endpoint, NULL);
	return _cmocka_run_group_tests("trustee_render", t.v, t.n, materials_make, materials_release);
}
