#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "common/files.h"
#include "common/profile.h"
#include "common/quantity.h"
#include "common/toml.h"
#include "world.h"

#define GOLDEN "tests/golden/initdata"
#define TEXT_MAX ((size_t)4 * 1024 * 1024)

// Self-signed, made for this test; nothing looks at their dates.
#define CERTIFICATE                                                      \
	"-----BEGIN CERTIFICATE-----\n"                                      \
	"MIIBczCCARmgAwIBAgIUAg5GPLNDo6Vr0shDtQrnvAfAA4QwCgYIKoZIzj0EAwIw\n" \
	"DjEMMAoGA1UEAwwDa2JzMCAXDTI2MTEyMjAyMjExN1oYDzIxMjYxMDI5MDIyMTE3\n" \
	"WjAOMQwwCgYDVQQDDANrYnMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASbnSiy\n" \
	"AdsThLYbsdyvBk9mjq/GXfT1KcqMc6N4ad+AUWI2WjvY20KkDAtM1g06ix700QKV\n" \
	"88Y7GT5lyiQmm/JSo1MwUTAdBgNVHQ4EFgQUvJl1uy0BudOt6SVrvBvG4m3t6Lsw\n" \
	"HwYDVR0jBBgwFoAUvJl1uy0BudOt6SVrvBvG4m3t6LswDwYDVR0TAQH/BAUwAwEB\n" \
	"/zAKBggqhkjOPQQDAgNIADBFAiEA+JsTTF6rGytzkb7bqG79VUOmAjj5lFvp8TGq\n" \
	"pYQMvogCIFSFdwUhIb2HfchTDK93sKJpEK//FynRu6UIq8H6zQ3l\n"             \
	"-----END CERTIFICATE-----\n"
#define ROOT                                                             \
	"-----BEGIN CERTIFICATE-----\n"                                      \
	"MIIBdTCCARugAwIBAgIUaoyJYngeWo1XfJVkShNqxk9SgUgwCgYIKoZIzj0EAwIw\n" \
	"DzENMAsGA1UEAwwEcm9vdDAgFw0yNjExMjIwMjIxMTdaGA8yMTI2MTAyOTAyMjEx\n" \
	"N1owDzENMAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIJm\n" \
	"4Lv1td92sveRiW/OCvKOnMNqMOHl5Q7KYGQN7RMYr8K2gVYr/5MnCUFYRHNCRSmY\n" \
	"eWTZFFYwZ/Fj+pY7Vc2jUzBRMB0GA1UdDgQWBBTx/DVzV6fULVwRU907i4PMNTSY\n" \
	"aTAfBgNVHSMEGDAWgBTx/DVzV6fULVwRU907i4PMNTSYaTAPBgNVHRMBAf8EBTAD\n" \
	"AQH/MAoGCCqGSM49BAMCA0gAMEUCIHLj49aE6jbHdHeZd1yX4c1jFqm+suKHpsI2\n" \
	"OqX9rFHMAiEA/pw3NrHpyIvgGeH7aHedQCsMaVOULcMnHED0Lf3pSpI=\n"         \
	"-----END CERTIFICATE-----\n"

#define WITH_KBS "initdata: {kbs: {url: 'http://kbs:8080'}}\n"

// ---- ConfigMaps as the tests have them

static char large[INITDATA_TOML_MAX + 2];

static struct config_map {
	const char *ns, *name, *key, *text;
} config_maps[] = {
	{"team-a", "files", "toml", "version = '0.1.0'\nalgorithm = 'sha512'\n[data]\n'a' = 'b'\n"},
	{"team-a", "files", "open.toml",
	 "version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n'policy.rego' = '''\npackage "
	 "agent_policy\ndefault ExecProcessRequest := true\n'''\n"},
	{"team-a", "files", "no-kbc.toml", "version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n'cdh.toml' = '[kbc'\n"},
	{"team-a", "files", "no.toml", "version = 0.1\n"},
	{"team-a", "files", "version", "version = '0.2.0'\nalgorithm = 'sha256'\n[data]\n"},
	{"team-a", "files", "large", large},
	{"team-a", "files", "rego", "package agent_policy\ndefault ExecProcessRequest := true\n"},
	{"team-a", "files", "no.rego", "default ExecProcessRequest := true\n"},
	{"team-a", "files", "ca.pem", CERTIFICATE},
	{"team-a", "files", "ca-cut.pem", CERTIFICATE "-----BEGIN CERTIFICATE-----\nMIIB\n"},
	{"team-a", "files", "ca-key.pem", CERTIFICATE "# PRIVATE KEY\n"},
	{"team-a", "files", "ca-locked.pem",
	 "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00000000000000000000000000000000\n\n"
	 "AAAAAAAAAAAAAAAAAAAAAA==\n-----END CERTIFICATE-----\n"},
	{"team-a", "files", "empty", ""},
	{"trustee-operator-system", "trustee-endpoint-plain", "url", "http://kbs.trustee:8080"},
	{"trust", "trustee-endpoint-tls", "url", "https://kbs.trust:8080"},
	{"trust", "trustee-endpoint-tls", "ca.crt", CERTIFICATE},
	{"trust", "trustee-endpoint-newline", "url", "https://kbs.trust:8080\n"},
	{"trust", "trustee-endpoint-bad-ca", "url", "https://kbs.trust:8080"},
	{"trust", "trustee-endpoint-bad-ca", "ca.crt", "x"},
};

static struct str config_map(void *ctx, const char *ns, const char *name, const char *key, struct error *err)
{
	(void)ctx;
	for (size_t i = 0; i < COUNT(config_maps); i++) {
		const struct config_map *m = &config_maps[i];
		if (strcmp(m->ns, ns) == 0 && strcmp(m->name, name) == 0 && strcmp(m->key, key) == 0)
			return str_from(m->text);
	}
	(void)error_set(err, ENOENT, "no %s/%s %s", ns, name, key);
	return (struct str){0};
}

static json_t *profile_object(const char *spec)
{
	CLEANUP_FREE
	char *flow = xasprintf("metadata: {name: p, namespace: team-a, generation: 7}\nspec:\n  %s", spec);
	CLEANUP_BUF
	struct buf text = BUF_INIT(TEXT_MAX);
	for (const char *c = flow; *c != '\0'; c++) {
		buf_addc(&text, *c);
		if (*c == '\n' && c > strstr(flow, "spec:") + 6)
			buf_addz(&text, "  ");
	}
	return yaml_tree(buf_z(&text));
}

// ---- Fields: what differs from the defaults, in words

static void describe_ref(struct buf *out, const char *name, const struct object_key_ref *ref)
{
	if (ref->name != NULL)
		buf_addf(out, "%s=%s:%s\n", name, ref->name, ref->key);
}

static void describe_text(struct buf *out, const char *name, const char *value)
{
	if (value != NULL)
		buf_addf(out, "%s=%s\n", name, value);
}

static void describe_list(struct buf *out, const char *name, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		buf_addf(out, "%s[%zu]=%s\n", name, i, json_string_value(json_array_get(list, i)));
}

static void describe_initdata(struct buf *out, const struct profile_spec *s)
{
	if (s->initdata.algorithm_given)
		buf_addf(out, "algorithm=%d\n", s->initdata.algorithm);
	describe_text(out, "trustee.name", s->initdata.trustee.name);
	describe_text(out, "trustee.ns", s->initdata.trustee.ns);
	describe_ref(out, "configMap", &s->initdata.config_map);
	if (s->initdata.kbs_given)
		describe_text(out, "url", s->initdata.kbs.url);
	describe_text(out, "ca", s->initdata.kbs.ca_bundle);
	describe_ref(out, "caConfigMap", &s->initdata.kbs.ca_config_map);
	if (s->initdata.agent_policy.preset_given)
		buf_addf(out, "preset=%d\n", s->initdata.agent_policy.preset);
	describe_ref(out, "policy", &s->initdata.agent_policy.config_map);
	describe_text(out, "security", s->initdata.image.security_policy_uri);
	describe_text(out, "credentials", s->initdata.image.registry_credentials_uri);
	describe_list(out, "roots", s->initdata.image.extra_root_certificates);
	describe_text(out, "https", s->initdata.image.proxy.https_proxy);
	describe_text(out, "http", s->initdata.image.proxy.http_proxy);
	describe_text(out, "no", s->initdata.image.proxy.no_proxy);
}

static void describe_number(struct buf *out, const char *name, int64_t value, int64_t usual)
{
	if (value != usual)
		buf_addf(out, "%s=%lld\n", name, (long long)value);
}

static void describe(struct buf *out, const struct profile_spec *s)
{
	describe_initdata(out, s);
	if (strcmp(s->runtime_class, "kata-cc") != 0)
		describe_text(out, "class", s->runtime_class);
	describe_list(out, "allowed", s->allowed_runtime_classes);
	describe_number(out, "memory.mode", s->memory.mode, MEMORY_AUTO);
	describe_number(out, "memory.sizing", s->memory.sizing, SIZING_CRIO);
	describe_number(out, "memory.accounting", s->memory.accounting, ACCOUNTING_CONTAINER);
	describe_number(out, "memory.vm", s->memory.vm, 0);
	describe_number(out, "memory.min", s->memory.min, 2 * GIB);
	describe_number(out, "memory.max", s->memory.max, 64 * GIB);
	describe_number(out, "memory.image", s->memory.image_size, 2 * GIB);
	describe_number(out, "memory.base", s->memory.base, 512 * MIB);
	describe_number(out, "memory.fill", s->memory.fill_others, false);
	describe_number(out, "cpu.mode", s->cpu.mode, CPU_OFF);
	describe_number(out, "cpu.vcpus", s->cpu.vcpus, 0);
	describe_number(out, "foreign", s->admission.foreign_annotations, STRICT_DENY);
	describe_number(out, "hostPath", s->admission.host_path, STRICT_WARN);
	describe_number(out, "subPath", s->admission.sub_path, STRICT_WARN);
	describe_number(out, "digest", s->admission.require_image_digest, STRICT_OFF);
}

struct field_case {
	const char *name;
	const char *spec;
	const char *want; // behind the URL of KBS
};

static struct field_case field_cases[] = {
	{"field: defaults", KBS, ""},
	{"field: nulls are absent", WITH_KBS "memory: null\ncpu: {mode: null}\nadmission: {hostPath: null}\n", ""},
	{"field: runtimeClassName", WITH_KBS "runtimeClassName: kata-remote\n", "class=kata-remote\n"},
	{"field: allowedRuntimeClasses", WITH_KBS "allowedRuntimeClasses: [kata-a, kata.b]\n",
	 "allowed[0]=kata-a\nallowed[1]=kata.b\n"},
	{"field: memory.mode, vm", WITH_KBS "memory: {mode: Fixed, vm: 8Gi}\n", "memory.mode=1\nmemory.vm=8589934592\n"},
	{"field: memory.mode FromLimits", WITH_KBS "memory: {mode: FromLimits}\n", "memory.mode=2\n"},
	{"field: memory.min, max", WITH_KBS "memory: {min: 1Gi, max: 1.5G}\n",
	 "memory.min=1073741824\nmemory.max=1500000000\n"},
	{"field: memory.imageSize, base", WITH_KBS "memory: {imageSize: 100M, base: 1048576}\n",
	 "memory.image=100000000\nmemory.base=1048576\n"},
	{"field: memory.sizing ContainerdGo", WITH_KBS "memory: {sizing: ContainerdGo}\n", "memory.sizing=1\n"},
	{"field: memory.sizing RuntimeRs", WITH_KBS "memory: {sizing: RuntimeRs}\n", "memory.sizing=2\n"},
	{"field: memory.accounting", WITH_KBS "memory: {accounting: Pod}\n", "memory.accounting=1\n"},
	{"field: memory.fillOthers", WITH_KBS "memory: {fillOthers: true}\n", "memory.fill=1\n"},
	{"field: cpu.mode Auto", WITH_KBS "cpu: {mode: Auto}\n", "cpu.mode=1\n"},
	{"field: cpu.vcpus", WITH_KBS "cpu: {mode: Fixed, vcpus: 1024}\n", "cpu.mode=2\ncpu.vcpus=1024\n"},
	{"field: admission", WITH_KBS "admission: {foreignAnnotations: Warn, hostPath: 'Off', subPath: 'Off'}\n",
	 "foreign=1\nhostPath=2\nsubPath=2\n"},
	{"field: admission, strict", WITH_KBS "admission: {hostPath: Deny, subPath: Deny, requireImageDigest: Warn}\n",
	 "hostPath=0\nsubPath=0\ndigest=1\n"},
};

static void test_field(void **state)
{
	const struct field_case *c = *state;
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	CLEANUP_FREE
	char *want = xasprintf("url=http://kbs:8080\n%s", c->want);
	struct profile_spec spec;
	struct error err = {0};
	json_auto_t *object = profile_object(c->spec);
	int rc = profile_decode(object, &spec, &err);
	assert_string_equal(err.msg, "");
	assert_int_equal(rc, 0);
	describe(&got, &spec);
	assert_string_equal(buf_z(&got), want);
}

static void test_initdata_fields(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	struct profile_spec spec;
	struct error err = {0};
	json_auto_t *object = profile_object(
		"initdata:\n  algorithm: sha384\n  kbs: {url: 'https://kbs', caConfigMapRef: {name: c, key: k}}\n"
		"  agentPolicy: {preset: Strict}\n  image: {securityPolicyURI: s, registryCredentialsURI: r,\n"
		"    extraRootCertificates: [x, z], proxy: {httpsProxy: p, httpProxy: q, noProxy: o}}\n");
	assert_int_equal(profile_decode(object, &spec, &err), 0);
	describe(&got, &spec);
	assert_string_equal(buf_z(&got),
						"algorithm=1\nurl=https://kbs\ncaConfigMap=c:k\npreset=2\nsecurity=s\ncredentials=r\n"
						"roots[0]=x\nroots[1]=z\nhttps=p\nhttp=q\nno=o\n");
}

// ---- Compiling: refused with this message

struct error_case {
	const char *name;
	const char *spec;
	const char *error;
};

#define SOURCES "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has "
#define NOT_PEM " does not hold certificates in PEM form (-----BEGIN CERTIFICATE-----)"
#define NOT_A_CLASS "; a RuntimeClass' name has only a-z, 0-9, '-' and '.'"
#define URL_FORM "; it must be https://HOST:PORT or http://HOST:PORT"
#define KBS_URL(url) "initdata: {kbs: {url: \"" url "\"}}\n"
#define BAD_URL(url) "spec.initdata.kbs.url is \"" url "\"" URL_FORM

static struct error_case error_cases[] = {
	{"unknown field", WITH_KBS "memry: {}\n",
	 "spec.memry is not a known field; spec has runtimeClassName, allowedRuntimeClasses, initdata, memory, cpu, "
	 "admission"},
	{"unknown field of memory", WITH_KBS "memory: {size: 1}\n",
	 "spec.memory.size is not a known field; spec.memory has mode, vm, min, max, imageSize, base, sizing, accounting, "
	 "fillOthers"},
	{"unknown field of cpu", WITH_KBS "cpu: {count: 1}\n",
	 "spec.cpu.count is not a known field; spec.cpu has mode, vcpus"},
	{"unknown field of admission", WITH_KBS "admission: {hostpath: Deny}\n",
	 "spec.admission.hostpath is not a known field; spec.admission has foreignAnnotations, hostPath, subPath, "
	 "requireImageDigest"},
	{"runtimeClassName: upper case", WITH_KBS "runtimeClassName: Kata\n",
	 "spec.runtimeClassName is \"Kata\"" NOT_A_CLASS ""},
	{"runtimeClassName: empty", WITH_KBS "runtimeClassName: ''\n", "spec.runtimeClassName is \"\"" NOT_A_CLASS ""},
	{"runtimeClassName: quote", WITH_KBS "runtimeClassName: 'a\"b'\n",
	 "spec.runtimeClassName is \"a\"b\"" NOT_A_CLASS ""},
	{"runtimeClassName: number", WITH_KBS "runtimeClassName: 1\n",
	 "spec.runtimeClassName must be a string, not an integer (put it in quotes)"},
	{"allowedRuntimeClasses: text", WITH_KBS "allowedRuntimeClasses: a\n",
	 "spec.allowedRuntimeClasses must be a list of strings, not a string"},
	{"allowedRuntimeClasses: number", WITH_KBS "allowedRuntimeClasses: [a, 1]\n",
	 "spec.allowedRuntimeClasses[1] must be a string, not an integer"},
	{"allowedRuntimeClasses: empty", WITH_KBS "allowedRuntimeClasses: [a, '']\n",
	 "spec.allowedRuntimeClasses[1] is \"\"" NOT_A_CLASS ""},
	{"memory.mode", WITH_KBS "memory: {mode: auto}\n",
	 "spec.memory.mode is \"auto\"; it must be one of Auto, Fixed, FromLimits"},
	{"memory.sizing", WITH_KBS "memory: {sizing: Go}\n",
	 "spec.memory.sizing is \"Go\"; it must be one of CRIO, ContainerdGo, RuntimeRs"},
	{"memory.accounting", WITH_KBS "memory: {accounting: x}\n",
	 "spec.memory.accounting is \"x\"; it must be one of Container, Pod"},
	{"memory.fillOthers", WITH_KBS "memory: {fillOthers: 1}\n",
	 "spec.memory.fillOthers must be true or false, not an integer"},
	{"memory.min: text", WITH_KBS "memory: {min: 1gi}\n",
	 "spec.memory.min: \"1gi\" is not a quantity; write one like 512Mi, 8Gi or 1.5G"},
	{"memory.min: zero", WITH_KBS "memory: {min: 0}\n", "spec.memory.min is \"0\"; it must be above zero"},
	{"memory.base: negative", WITH_KBS "memory: {base: -1Mi}\n", "spec.memory.base is \"-1Mi\"; it must be above zero"},
	{"memory.imageSize: boolean", WITH_KBS "memory: {imageSize: true}\n",
	 "spec.memory.imageSize must be a quantity such as 8Gi, not a boolean"},
	{"memory: min above max", WITH_KBS "memory: {min: 65Gi}\n",
	 "spec.memory.min is above spec.memory.max; raise max or lower min"},
	{"memory: Fixed without vm", WITH_KBS "memory: {mode: Fixed}\n",
	 "spec.memory.mode is Fixed, but spec.memory.vm is missing; set it, such as 8Gi"},
	{"memory: vm without Fixed", WITH_KBS "memory: {vm: 8Gi}\n",
	 "spec.memory.vm is set, but spec.memory.mode is Auto; set mode: Fixed or drop vm"},
	{"memory: vm with FromLimits", WITH_KBS "memory: {mode: FromLimits, vm: 8Gi}\n",
	 "spec.memory.vm is set, but spec.memory.mode is FromLimits; set mode: Fixed or drop vm"},
	{"memory: vm above max", WITH_KBS "memory: {mode: Fixed, vm: 65Gi}\n",
	 "spec.memory.vm is outside spec.memory.min and max"},
	{"memory: vm below min", WITH_KBS "memory: {mode: Fixed, vm: 1Gi}\n",
	 "spec.memory.vm is outside spec.memory.min and max"},
	{"cpu.mode", WITH_KBS "cpu: {mode: On}\n", "spec.cpu.mode must be a string, not a boolean (put it in quotes)"},
	{"cpu: Fixed without vcpus", WITH_KBS "cpu: {mode: Fixed}\n",
	 "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it"},
	{"cpu: vcpus without Fixed", WITH_KBS "cpu: {vcpus: 2}\n",
	 "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it"},
	{"cpu: zero vcpus", WITH_KBS "cpu: {mode: Fixed, vcpus: 0}\n",
	 "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it"},
	{"cpu: negative vcpus", WITH_KBS "cpu: {mode: Fixed, vcpus: -1}\n",
	 "spec.cpu.vcpus is -1; it must be from 1 to 1024"},
	{"cpu: too many vcpus", WITH_KBS "cpu: {mode: Fixed, vcpus: 1025}\n",
	 "spec.cpu.vcpus is 1025; it must be from 1 to 1024"},
	{"cpu: text", WITH_KBS "cpu: {mode: Fixed, vcpus: '2'}\n", "spec.cpu.vcpus must be an integer, not a string"},
	{"cpu: real", WITH_KBS "cpu: {mode: Fixed, vcpus: 1.5}\n", "spec.cpu.vcpus must be an integer, not a number"},
	{"admission: Off for annotations", WITH_KBS "admission: {foreignAnnotations: 'Off'}\n",
	 "spec.admission.foreignAnnotations is \"Off\"; it must be one of Deny, Warn"},
	{"admission: true is no word", WITH_KBS "admission: {hostPath: true}\n",
	 "spec.admission.hostPath must be a string, not a boolean (put it in quotes)"},
	{"foreignAnnotations has no Off, quoted or not", WITH_KBS "admission: {foreignAnnotations: Off}\n",
	 "spec.admission.foreignAnnotations must be a string, not a boolean (put it in quotes)"},
	{"hostPath: no is not Off", WITH_KBS "admission: {hostPath: no}\n",
	 "spec.admission.hostPath must be a string, not a boolean (put it in quotes)"},
	{"admission: value", WITH_KBS "admission: {subPath: Refuse}\n",
	 "spec.admission.subPath is \"Refuse\"; it must be one of Deny, Warn, Off"},
	{"no initdata", "memory: {}\n", SOURCES "0"},
	{"initdata: empty", "initdata: {}\n", SOURCES "0"},
	{"initdata: two sources", "initdata: {kbs: {url: 'http://k'}, configMapKeyRef: {name: a, key: b}}\n", SOURCES "2"},
	{"initdata: three sources",
	 "initdata: {kbs: {url: 'http://k'}, configMapKeyRef: {name: a, key: b}, trusteeConfigRef: {name: c}}\n",
	 SOURCES "3"},
	{"initdata: unknown field", "initdata: {kbs: {url: 'http://k'}, policy: a}\n",
	 "spec.initdata.policy is not a known field; spec.initdata has algorithm, trusteeConfigRef, configMapKeyRef, kbs, "
	 "agentPolicy, image"},
	{"initdata: algorithm", "initdata: {algorithm: SHA256, kbs: {url: 'http://k'}}\n",
	 "spec.initdata.algorithm is \"SHA256\"; it must be one of sha256, sha384, sha512"},
	{"trustee: without a name", "initdata: {trusteeConfigRef: {namespace: a}}\n",
	 "spec.initdata.trusteeConfigRef needs the name of a TrusteeConfig"},
	{"trustee: unknown field", "initdata: {trusteeConfigRef: {name: a, ns: b}}\n",
	 "spec.initdata.trusteeConfigRef.ns is not a known field; spec.initdata.trusteeConfigRef has name, namespace"},
	{"trustee: not there", "initdata: {trusteeConfigRef: {name: x}}\n",
	 "spec.initdata.trusteeConfigRef: the controller has not published TrusteeConfig \"x\" of namespace "
	 "\"trustee-operator-system\" (is it there, and ready?): no trustee-operator-system/trustee-endpoint-x url"},
	{"trustee: URL with a newline", "initdata: {trusteeConfigRef: {name: newline, namespace: trust}}\n",
	 "spec.initdata.trusteeConfigRef: ConfigMap \"trustee-endpoint-newline\" of namespace \"trust\": its url is "
	 "\"https://kbs.trust:8080?\"" URL_FORM},
	{"trustee: CA is not PEM", "initdata: {trusteeConfigRef: {name: bad-ca, namespace: trust}}\n",
	 "spec.initdata.trusteeConfigRef: ConfigMap \"trustee-endpoint-bad-ca\" of namespace \"trust\": its "
	 "ca.crt" NOT_PEM},
	{"kbs: without url", "initdata: {kbs: {}}\n",
	 "spec.initdata.kbs.url is missing; set it to https://HOST:PORT of the KBS"},
	{"kbs: null", "initdata: {kbs: null}\n", SOURCES "0"},
	{"kbs: url null", "initdata: {kbs: {url: null}}\n",
	 "spec.initdata.kbs.url is missing; set it to https://HOST:PORT of the KBS"},
	{"kbs: unknown field", "initdata: {kbs: {url: 'http://k', ca: x}}\n",
	 "spec.initdata.kbs.ca is not a known field; spec.initdata.kbs has url, caBundle, caConfigMapRef"},
	{"kbs.url: no scheme", KBS_URL("kbs:8080"), BAD_URL("kbs:8080")},
	{"kbs.url: other scheme", KBS_URL("ftp://kbs"), BAD_URL("ftp://kbs")},
	{"kbs.url: upper case", KBS_URL("HTTPS://kbs"), BAD_URL("HTTPS://kbs")},
	{"kbs.url: no host", KBS_URL("https://"), BAD_URL("https://")},
	{"kbs.url: a path only", KBS_URL("http:///a"), BAD_URL("http:///a")},
	{"kbs.url: a port only", KBS_URL("https://:8080"), BAD_URL("https://:8080")},
	{"kbs.url: blank", KBS_URL("https://k bs"), BAD_URL("https://k bs")},
	{"kbs.url: newline", KBS_URL("https://kbs\\n"), BAD_URL("https://kbs?")},
	{"kbs.url: quote", KBS_URL("https://kbs\\\""), BAD_URL("https://kbs\"")},
	{"kbs.url: empty", KBS_URL(""), BAD_URL("")},
	{"kbs: two CAs", "initdata: {kbs: {url: 'https://k', caBundle: a, caConfigMapRef: {name: a, key: b}}}\n",
	 "spec.initdata.kbs has both caBundle and caConfigMapRef; keep one of the two"},
	{"kbs: CA with http", "initdata: {kbs: {url: 'http://k', caBundle: a}}\n",
	 "spec.initdata.kbs has a CA, but its url \"http://k\" is plain http; write https or drop the CA"},
	{"kbs: CA reference with http", "initdata: {kbs: {url: 'http://k', caConfigMapRef: {name: a, key: b}}}\n",
	 "spec.initdata.kbs has a CA, but its url \"http://k\" is plain http; write https or drop the CA"},
	{"kbs: CA is not PEM", "initdata: {kbs: {url: 'https://k', caBundle: a}}\n", "spec.initdata.kbs.caBundle" NOT_PEM},
	{"kbs: CA is empty", "initdata: {kbs: {url: 'https://k', caBundle: ''}}\n", "spec.initdata.kbs.caBundle" NOT_PEM},
	{"kbs: CA is cut", "initdata: {kbs: {url: 'https://k', caBundle: \"-----BEGIN CERTIFICATE-----\\nMIIB\\n\"}}\n",
	 "spec.initdata.kbs.caBundle" NOT_PEM},
	{"kbs: CA reference without key", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: a}}}\n",
	 "spec.initdata.kbs.caConfigMapRef needs both name and key"},
	{"kbs: CA reference without name", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {key: a}}}\n",
	 "spec.initdata.kbs.caConfigMapRef needs both name and key"},
	{"kbs: CA not there", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: a, key: b}}}\n",
	 "spec.initdata.kbs.caConfigMapRef: no team-a/a b"},
	{"kbs: CA of the ConfigMap is not PEM",
	 "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: files, key: empty}}}\n",
	 "spec.initdata.kbs.caConfigMapRef" NOT_PEM},
	{"kbs: second certificate is cut",
	 "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: files, key: ca-cut.pem}}}\n",
	 "spec.initdata.kbs.caConfigMapRef" NOT_PEM},
	{"kbs: a private key", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: files, key: ca-key.pem}}}\n",
	 "spec.initdata.kbs.caConfigMapRef"
	 " holds a private key; remove it, only certificates belong here"},
	{"kbs: an encrypted certificate",
	 "initdata: {kbs: {url: 'https://k', caConfigMapRef: {name: files, key: ca-locked.pem}}}\n",
	 "spec.initdata.kbs.caConfigMapRef" NOT_PEM},
	{"configMapKeyRef: without key", "initdata: {configMapKeyRef: {name: a}}\n",
	 "spec.initdata.configMapKeyRef needs both name and key"},
	{"configMapKeyRef: empty key", "initdata: {configMapKeyRef: {name: a, key: ''}}\n",
	 "spec.initdata.configMapKeyRef needs both name and key"},
	{"configMapKeyRef: not there", "initdata: {configMapKeyRef: {name: a, key: b}}\n",
	 "spec.initdata.configMapKeyRef: no team-a/a b"},
	{"configMapKeyRef: with a policy", "initdata: {configMapKeyRef: {name: a, key: b}, agentPolicy: {}}\n",
	 "spec.initdata.configMapKeyRef is the whole initdata; write agentPolicy and image settings into it"},
	{"configMapKeyRef: with image settings", "initdata: {configMapKeyRef: {name: a, key: b}, image: {}}\n",
	 "spec.initdata.configMapKeyRef is the whole initdata; write agentPolicy and image settings into it"},
	{"configMapKeyRef: not initdata", "initdata: {configMapKeyRef: {name: files, key: no.toml}}\n",
	 "spec.initdata: initdata needs version = \"0.1.0\" and algorithm = \"sha256\" as strings"},
	{"configMapKeyRef: version", "initdata: {configMapKeyRef: {name: files, key: version}}\n",
	 "spec.initdata: version is \"0.2.0\"; the guest accepts only \"0.1.0\""},
	{"configMapKeyRef: empty", "initdata: {configMapKeyRef: {name: files, key: empty}}\n",
	 "spec.initdata: initdata needs version = \"0.1.0\" and algorithm = \"sha256\" as strings"},
	{"configMapKeyRef: what the guest would refuse", "initdata: {configMapKeyRef: {name: files, key: no-kbc.toml}}\n",
	 "spec.initdata.configMapKeyRef: data.\"cdh.toml\": line 1, column 5: expected \"]\" after the table's name"},
	{"configMapKeyRef: other algorithm", "initdata: {algorithm: sha384, configMapKeyRef: {name: files, key: toml}}\n",
	 "spec.initdata.algorithm is sha384, but the initdata itself says sha512; make them agree"},
	{"agentPolicy: preset", "initdata: {kbs: {url: 'http://k'}, agentPolicy: {preset: None}}\n",
	 "spec.initdata.agentPolicy.preset is \"None\"; it must be one of NoExec, AllowAll, Strict"},
	{"agentPolicy: two",
	 "initdata: {kbs: {url: 'http://k'}, agentPolicy: {preset: NoExec, configMapKeyRef: {name: a, key: b}}}\n",
	 "spec.initdata.agentPolicy has both preset and configMapKeyRef; keep one of the two"},
	{"agentPolicy: without key", "initdata: {kbs: {url: 'http://k'}, agentPolicy: {configMapKeyRef: {name: a}}}\n",
	 "spec.initdata.agentPolicy.configMapKeyRef needs both name and key"},
	{"agentPolicy: not there",
	 "initdata: {kbs: {url: 'http://k'}, agentPolicy: {configMapKeyRef: {name: a, key: b}}}\n",
	 "spec.initdata.agentPolicy.configMapKeyRef: no team-a/a b"},
	{"agentPolicy: not a policy",
	 "initdata: {kbs: {url: 'http://k'}, agentPolicy: {configMapKeyRef: {name: files, key: no.rego}}}\n",
	 "spec.initdata.agentPolicy.configMapKeyRef: the text has no \"package agent_policy\""},
	{"image: roots that are none", "initdata: {kbs: {url: 'http://k'}, image: {extraRootCertificates: [x]}}\n",
	 "spec.initdata.image.extraRootCertificates[0]" NOT_PEM},
	{"configMapKeyRef: empty", "initdata: {configMapKeyRef: {}}\n",
	 "spec.initdata.configMapKeyRef needs both name and key"},
	{"kbs: caConfigMapRef without name", "initdata: {kbs: {url: 'https://k', caConfigMapRef: {key: a}}}\n",
	 "spec.initdata.kbs.caConfigMapRef needs both name and key"},
	{"image: roots", "initdata: {kbs: {url: 'http://k'}, image: {extraRootCertificates: {}}}\n",
	 "spec.initdata.image.extraRootCertificates must be a list of strings, not an object"},
	{"image: unknown field", "initdata: {kbs: {url: 'http://k'}, image: {proxy: {https: a}}}\n",
	 "spec.initdata.image.proxy.https is not a known field; spec.initdata.image.proxy has httpsProxy, httpProxy, "
	 "noProxy"},
};

static void test_error(void **state)
{
	const struct error_case *c = *state;
	struct error err = {0};
	json_auto_t *object = profile_object(c->spec);
	struct profile *p = profile_compile(object, "sys", config_map, NULL, &err);
	assert_string_equal(err.msg, c->error);
	assert_null(p);
}

struct object_case {
	const char *name;
	const char *object;
	const char *error;
};

static struct object_case object_cases[] = {
	{"object: no name",
	 "metadata: {namespace: a}\nspec: {"
	 "initdata: {kbs: {url: 'http://k'}}}\n",
	 "metadata.name is missing"},
	{"object: no spec", "metadata: {name: a}\n", "spec is missing; it needs at least spec.initdata"},
	{"object: spec is null", "metadata: {name: a}\nspec: null\n", "spec must be an object, not null"},
	{"object: spec is a list", "metadata: {name: a}\nspec: []\n", "spec must be an object, not an array"},
};

static void test_object(void **state)
{
	const struct object_case *c = *state;
	struct error err = {0};
	json_auto_t *object = yaml_tree(c->object);
	assert_null(profile_compile(object, "sys", config_map, NULL, &err));
	assert_string_equal(err.msg, c->error);
}

// Nothing of an error that came before is taken for the new one's.
static void test_too_large(void **state)
{
	(void)state;
	struct error err = {0};
	json_auto_t *object = profile_object("initdata: {configMapKeyRef: {name: files, key: large}}\n");
	assert_null(profile_compile(object, "sys", config_map, NULL, &err));
	assert_string_equal(err.msg, "spec.initdata is larger than 1048576 bytes; shorten it");
	assert_int_equal(err.code, EFBIG);
}

// ---- Compiling: what goes in comes out of the inner files

struct build_case {
	const char *name;
	const char *initdata; // of spec
	const char *algorithm;
	const char *aa, *cdh; // JSON
	const char *policy;   // what it holds; NULL for a whole file of the user's own
	bool allows_exec;
};

#define SOCKET "\"socket\":\"unix:///run/confidential-containers/cdh.sock\",\"credentials\":[]"
#define AA(url) "{\"token_configs\":{\"kbs\":{\"url\":\"" url "\"}}}"
#define CDH(url) "{" SOCKET ",\"kbc\":{\"name\":\"cc_kbc\",\"url\":\"" url "\"},\"image\":{}}"
#define IMAGE(image) "{" SOCKET ",\"kbc\":{\"name\":\"cc_kbc\",\"url\":\"http://kbs:8080\"},\"image\":{" image "}}"
#define AA_CA(url) "{\"token_configs\":{\"kbs\":{\"url\":\"" url "\",\"cert\":\"@CA@\"}}}"
#define CDH_CA(url) "{" SOCKET ",\"kbc\":{\"name\":\"cc_kbc\",\"url\":\"" url "\",\"kbs_cert\":\"@CA@\"},\"image\":{}}"

static struct build_case build_cases[] = {
	{"build: http", "{kbs: {url: 'http://kbs:8080'}}", "sha256", AA("http://kbs:8080"), CDH("http://kbs:8080"),
	 "# NoExec:", false},
	{"build: https without a CA", "{kbs: {url: 'https://kbs'}}", "sha256", AA("https://kbs"), CDH("https://kbs"),
	 "# NoExec:", false},
	{"build: https with caBundle", "{kbs: {url: 'https://kbs', caBundle: \"@CA@\"}}", "sha256", AA_CA("https://kbs"),
	 CDH_CA("https://kbs"), "# NoExec:", false},
	{"build: https with caConfigMapRef", "{kbs: {url: 'https://kbs', caConfigMapRef: {name: files, key: ca.pem}}}",
	 "sha256", AA_CA("https://kbs"), CDH_CA("https://kbs"), "# NoExec:", false},
	{"build: sha384", "{algorithm: sha384, kbs: {url: 'http://kbs:8080'}}", "sha384", AA("http://kbs:8080"),
	 CDH("http://kbs:8080"), "# NoExec:", false},
	{"build: sha512", "{algorithm: sha512, kbs: {url: 'http://kbs:8080'}}", "sha512", AA("http://kbs:8080"),
	 CDH("http://kbs:8080"), "# NoExec:", false},
	{"build: preset NoExec", "{kbs: {url: 'http://kbs:8080'}, agentPolicy: {preset: NoExec}}", "sha256",
	 AA("http://kbs:8080"), CDH("http://kbs:8080"), "# NoExec:", false},
	{"build: preset Strict", "{kbs: {url: 'http://kbs:8080'}, agentPolicy: {preset: Strict}}", "sha256",
	 AA("http://kbs:8080"), CDH("http://kbs:8080"), "# Strict:", false},
	{"build: preset AllowAll", "{kbs: {url: 'http://kbs:8080'}, agentPolicy: {preset: AllowAll}}", "sha256",
	 AA("http://kbs:8080"), CDH("http://kbs:8080"), "# AllowAll:", true},
	{"build: own policy", "{kbs: {url: 'http://kbs:8080'}, agentPolicy: {configMapKeyRef: {name: files, key: rego}}}",
	 "sha256", AA("http://kbs:8080"), CDH("http://kbs:8080"),
	 "package agent_policy\ndefault ExecProcessRequest := true\n", true},
	{"build: trustee", "{trusteeConfigRef: {name: plain}}", "sha256", AA("http://kbs.trustee:8080"),
	 CDH("http://kbs.trustee:8080"), "# NoExec:", false},
	{"build: trustee with a CA", "{trusteeConfigRef: {name: tls, namespace: trust}, agentPolicy: {preset: AllowAll}}",
	 "sha256", AA_CA("https://kbs.trust:8080"), CDH_CA("https://kbs.trust:8080"), "# AllowAll:", true},
	{"build: image URIs",
	 "{kbs: {url: 'http://kbs:8080'}, image: {securityPolicyURI: 'kbs:///a', registryCredentialsURI: 'kbs:///b'}}",
	 "sha256", AA("http://kbs:8080"),
	 IMAGE("\"image_security_policy_uri\":\"kbs:///a\",\"authenticated_registry_credentials_uri\":\"kbs:///b\""),
	 "# NoExec:", false},
	{"build: empty texts are none",
	 "{kbs: {url: 'http://kbs:8080'}, image: {securityPolicyURI: '', registryCredentialsURI: '', proxy: {httpsProxy: "
	 "''}}}",
	 "sha256", AA("http://kbs:8080"), IMAGE(""), "# NoExec:", false},
	{"build: one proxy", "{kbs: {url: 'http://kbs:8080'}, image: {proxy: {httpsProxy: 'http://p'}}}", "sha256",
	 AA("http://kbs:8080"), IMAGE("\"image_pull_proxy\":{\"https_proxy\":\"http://p\"}"), "# NoExec:", false},
	{"build: proxies", "{kbs: {url: 'http://kbs:8080'}, image: {proxy: {httpsProxy: p, httpProxy: q, noProxy: o}}}",
	 "sha256", AA("http://kbs:8080"),
	 IMAGE("\"image_pull_proxy\":{\"https_proxy\":\"p\",\"http_proxy\":\"q\",\"no_proxy\":\"o\"}"), "# NoExec:", false},
	{"build: extra roots", "{kbs: {url: 'http://kbs:8080'}, image: {extraRootCertificates: [\"@CA@\", \"@CA@\"]}}",
	 "sha256", AA("http://kbs:8080"), IMAGE("\"extra_root_certificates\":[\"@CA@\",\"@CA@\"]"), "# NoExec:", false},
	{"build: no extra roots", "{kbs: {url: 'http://kbs:8080'}, image: {extraRootCertificates: []}}", "sha256",
	 AA("http://kbs:8080"), IMAGE(""), "# NoExec:", false},
	{"build: a whole file", "{configMapKeyRef: {name: files, key: toml}}", "sha512", NULL, NULL, NULL, true},
	{"build: a whole file that allows exec", "{algorithm: sha256, configMapKeyRef: {name: files, key: open.toml}}",
	 "sha256", NULL, NULL, NULL, true},
};

// The certificate, escaped, for @CA@.
static char *with_certificate(const char *text)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(TEXT_MAX);
	for (const char *c = text; *c != '\0'; c++)
		if (strncmp(c, "@CA@", 4) == 0) {
			for (const char *k = CERTIFICATE; *k != '\0'; k++)
				buf_addf(&out, *k == '\n' ? "\\n" : "%c", *k);
			c += 3;
		} else {
			buf_addc(&out, *c);
		}
	return buf_take(&out);
}

static struct profile *compile(const char *initdata)
{
	struct error err = {0};
	CLEANUP_FREE
	char *escaped = with_certificate(initdata);
	CLEANUP_FREE
	char *spec = xasprintf("initdata: %s\n", escaped);
	json_auto_t *object = profile_object(spec);
	struct profile *p = profile_compile(object, "sys", config_map, NULL, &err);
	assert_string_equal(err.msg, "");
	assert_non_null(p);
	return p;
}

static void assert_inner(const json_t *data, const char *file, const char *want)
{
	struct error err = {0};
	CLEANUP_FREE
	char *json = with_certificate(want);
	json_auto_t *got = toml_read(str_from(json_string_value(json_object_get(data, file))), &err);
	json_auto_t *tree = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	assert_string_equal(err.msg, "");
	assert_non_null(tree);
	if (!json_equal(got, tree)) {
		CLEANUP_FREE
		char *text = json_dumps(got, JSON_COMPACT);
		assert_string_equal(text, json);
	}
}

// By OpenSSL itself.
static void assert_digest(const struct profile *p, const char *algorithm)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	CLEANUP_BUF
	struct buf want = BUF_INIT(256);
	assert_int_equal(EVP_Digest(p->toml, p->toml_n, md, &n, EVP_get_digestbyname(algorithm), NULL), 1);
	buf_addf(&want, "%s:", algorithm);
	for (unsigned int i = 0; i < n; i++)
		buf_addf(&want, "%02x", md[i]);
	assert_string_equal(p->digest, buf_z(&want));
}

static void assert_annotation(const struct profile *p)
{
	struct error err = {0};
	CLEANUP_BUF
	struct buf toml = BUF_INIT(INITDATA_TOML_MAX);
	assert_int_equal(p->annotation_n, strlen(p->annotation));
	assert_int_equal(initdata_decode(str_from(p->annotation), &toml, &err), 0);
	assert_int_equal(toml.n, p->toml_n);
	assert_memory_equal(toml.p, p->toml, p->toml_n);
}

static void test_build(void **state)
{
	const struct build_case *c = *state;
	struct error err = {0};
	CLEANUP_INITDATA
	struct initdata i = {0};
	struct profile *p = compile(c->initdata);
	struct profile *again = compile(c->initdata);
	assert_string_equal(p->toml, again->toml);
	assert_string_equal(p->annotation, again->annotation);
	assert_string_equal(p->digest, again->digest);
	assert_int_equal(p->toml_n, strlen(p->toml));
	assert_int_equal(initdata_parse((struct str){p->toml, p->toml_n}, &i, &err), 0);
	assert_string_equal(i.algorithm, c->algorithm);
	assert_digest(p, c->algorithm);
	assert_annotation(p);
	assert_int_equal(p->allows_exec, c->allows_exec);
	assert_string_equal(p->ns, "team-a");
	assert_string_equal(p->name, "p");
	assert_int_equal(p->generation, 7);
	if (c->policy != NULL) {
		const json_t *data = json_object_get(i.tree, "data");
		assert_int_equal(json_object_size(data), 3);
		assert_inner(data, "aa.toml", c->aa);
		assert_inner(data, "cdh.toml", c->cdh);
		if (strstr(i.policy.p, c->policy) != i.policy.p)
			assert_string_equal(i.policy.p, c->policy);
	}
	profile_unref(p);
	profile_unref(again);
}

// A whole file is taken byte by byte.
static void test_whole_file(void **state)
{
	(void)state;
	struct profile *p = compile("{configMapKeyRef: {name: files, key: toml}}");
	assert_string_equal(p->toml, config_maps[0].text);
	profile_unref(p);
}

// The default namespace belongs to the caller, and may go before the profile.
static void test_default_namespace(void **state)
{
	(void)state;
	struct error err = {0};
	char *ns = xstrdup("sys");
	json_auto_t *object = yaml_tree("metadata: {name: a}\nspec: {initdata: {kbs: {url: 'http://kbs'}}}\n");
	struct profile *p = profile_compile(object, ns, config_map, NULL, &err);
	free(ns);
	assert_non_null(p);
	assert_string_equal(p->ns, "sys");
	assert_int_equal(p->generation, 0);
	assert_ptr_equal(profile_ref(p), p);
	profile_unref(p);
	assert_string_equal(p->name, "a");
	profile_unref(p);
	profile_unref(NULL);
}

// ---- Golden files: initdata of whole profiles, byte by byte

static void read_file(const char *path, struct buf *to)
{
	struct error err;
	if (file_read(path, to, &err) < 0)
		fail_msg("%s; run the test in the repository's root", err.msg);
}

static void test_golden(void **state)
{
	CLEANUP_FREE
	char *input = xasprintf(GOLDEN "/%s/profile.yaml", (const char *)*state);
	CLEANUP_FREE
	char *output = xasprintf(GOLDEN "/%s/initdata.toml", (const char *)*state);
	CLEANUP_BUF
	struct buf text = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf want = BUF_INIT(TEXT_MAX);
	struct world w = {0};
	read_file(input, &text);
	read_file(output, &want);
	world_load(&w, buf_z(&text));
	assert_string_equal(w.problem, "");
	const struct catalog_profile *p = catalog_profile(w.catalog, STR("team-a"), STR("golden"));
	assert_non_null(p);
	assert_string_equal(p->profile->toml, buf_z(&want));
	world_release(&w);
}

static void add_golden(struct tests *t, char names[][64], size_t max)
{
	DIR *dir = opendir(GOLDEN);
	size_t n = 0;
	if (dir == NULL)
		return;
	for (const struct dirent *e; n < max && (e = readdir(dir)) != NULL;)
		if (e->d_name[0] != '.') {
			(void)snprintf(names[n], 64, "%.60s", e->d_name);
			tests_add(t, names[n], test_golden, names[n]);
			n++;
		}
	(void)closedir(dir);
}

static void test_golden_there(void **state)
{
	(void)state;
	if (access(GOLDEN "/kbs-http/profile.yaml", R_OK) < 0)
		fail_msg(GOLDEN " is not there: run the test in the repository's root");
}

int main(void)
{
	static char golden[64][64];
	struct tests t = {0};
	memset(large, '#', sizeof(large) - 1);
	ADD_TABLE(&t, field_cases, test_field);
	tests_add(&t, "field: initdata", test_initdata_fields, NULL);
	ADD_TABLE(&t, error_cases, test_error);
	ADD_TABLE(&t, object_cases, test_object);
	tests_add(&t, "initdata too large", test_too_large, NULL);
	ADD_TABLE(&t, build_cases, test_build);
	tests_add(&t, "a whole file is taken as it is", test_whole_file, NULL);
	tests_add(&t, "default namespace, references", test_default_namespace, NULL);
	tests_add(&t, "golden files are there", test_golden_there, NULL);
	add_golden(&t, golden, COUNT(golden));
	return tests_run("profile", &t);
}
