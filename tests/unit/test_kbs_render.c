// Goldens: tests/golden/kbs-render/NAME.yaml, all objects in the order in which they are applied, after the remarks;
// COCO_UPDATE_GOLDENS=1 writes them anew, for a person to read. tests/e2e/test_kbs_render.py applies them to an API server.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "common/files.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/yaml.h"
#include "controller/kbs_private.h"
#include "controller/kbs_render.h"
#include "world.h"

#define GOLDENS "tests/golden/kbs-render"
#define TEXT_MAX ((size_t)256 * 1024)

// ---- A KbsConfig and what is there

#define AUTH "kbsAuthSecretName: kbs-auth"
#define HTTPS "kbsHttpsKeySecretName: kbs-https-key, kbsHttpsCertSecretName: kbs-https-cert"
#define TOKEN "kbsAttestationKeySecretName: kbs-token-key, kbsAttestationCertSecretName: kbs-token-cert"
#define POLICIES                                                                                \
	"kbsResourcePolicyConfigMapName: resource-policy, kbsAttestationPolicyConfigMapName: cpu, " \
	"kbsGpuAttestationPolicyConfigMapName: gpu, kbsRvpsRefValuesConfigMapName: references"
#define PERMISSIVE "kbsConfigMapName: config, " AUTH ", " POLICIES
#define RESTRICTED PERMISSIVE ", " HTTPS ", " TOKEN
#define MICROSERVICES "kbsDeploymentType: MicroservicesDeployment, kbsAsConfigMapName: as, kbsRvpsConfigMapName: rvps"
#define VAULT "vault: {address: 'https://vault:8200', tokenSecretRef: {name: vault, key: token}"

#define N64 "a234567890123456789012345678901234567890123456789012345678901234"
#define N253                \
	N64 "." N64 "." N64 "." \
		"a234567890123456789012345678901234567890123456789012345678"

static const char present[] = "ConfigMap/config: {data: {kbs-config.toml: '01'}}\n"
							  "ConfigMap/resource-policy: {data: {resource-policy.rego: '02'}}\n"
							  "ConfigMap/old-resource-policy: {data: {policy.rego: '02'}}\n"
							  "ConfigMap/cpu: {data: {default_cpu.rego: '03'}}\n"
							  "ConfigMap/gpu: {data: {default_gpu.rego: '04'}}\n"
							  "ConfigMap/references: {data: {reference_value: '05'}}\n"
							  "ConfigMap/old-references: {data: {reference-values.json: '05'}}\n"
							  "ConfigMap/as: {data: {as-config.json: '06'}}\n"
							  "ConfigMap/rvps: {data: {rvps-config.json: '07'}}\n"
							  "ConfigMap/images: {data: {policy: '08'}}\n"
							  "Secret/config: {data: {kbs-config.toml: '09'}}\n"
							  "Secret/kbs-auth: {data: {publicKey: '10', privateKey: '11'}}\n"
							  "Secret/kbs-https-key: {data: {privateKey: '12'}}\n"
							  "Secret/kbs-https-cert: {data: {certificate: '13'}}\n"
							  "Secret/kbs-token-key: {data: {token.key: '14'}}\n"
							  "Secret/kbs-token-cert: {data: {token.crt: '15'}}\n"
							  "Secret/vault-ca: {data: {ca.pem: '16'}}\n"
							  "Secret/sessions: {data: {url: '17'}}\n"
							  "Secret/app: {data: {key2: '18', key1: '19'}}\n"
							  "Secret/app.example.com: {data: {tls.crt: '20', tls.key: '21'}}\n"
							  "Secret/empty: {metadata: {name: empty}}\n"
							  "Secret/credentials: {data: {.dockerconfigjson: '22', config: '23'}}\n"
							  "Secret/security-policy: {data: {signed: '24', other: '25'}}\n"
							  "Secret/hwid-1: {data: {vcek.der: '26'}}\n"
							  "Secret/hwid.2: {data: {vcek.der: '27'}}\n"
							  "Secret/pull-1: {data: {.dockerconfigjson: '28'}}\n"
							  "Secret/pull-2: {data: {.dockerconfigjson: '29'}}\n"
							  "Secret/" N253 ": {data: {a: '30'}}\n"
							  "PersistentVolumeClaim/ibmse: {metadata: {name: ibmse}}\n";

static const struct trustee_world everything = {
	.images = {.kbs = "r/kbs:built-in-as-v0.21.0",
			   .kbs_grpc = "r/kbs:v0.21.0",
			   .as = "r/as:v0.21.0",
			   .rvps = "r/rvps:v0.21.0"},
	.served = {.route = true, .tls_route = true, .ingress = true, .service_monitor = true},
};
static const struct trustee_world bare = {
	.images = {.kbs = "r/kbs:built-in-as-v0.21.0",
			   .kbs_grpc = "r/kbs:v0.21.0",
			   .as = "r/as:v0.21.0",
			   .rvps = "r/rvps:v0.21.0"},
};

struct render_case {
	const char *name;
	const char *spec;                  // members of the KbsConfig's spec
	const char *without;               // "Kind/name" that isn't there, or "Kind/name#key"
	const struct trustee_world *world; // NULL: everything
	const char *kbs;                   // the KbsConfig's name; NULL: trusteeconfig-kbs-config
	const char *live;                  // of a live Deployment's template: annotations, with hold
};

struct world_of {
	json_t *object, *objects, *deployment;
	struct kbs_spec spec;
	struct kbs_render_input in;
	struct rendered rendered;
	struct remarks remarks;
};

static void take_away(json_t *objects, const char *without)
{
	const char *hash = strchr(without, '#');
	CLEANUP_FREE char *key = xstrndup((struct str){without, hash != NULL ? (size_t)(hash - without) : strlen(without)});
	assert_non_null(json_object_get(objects, key));
	if (hash == NULL)
		assert_int_equal(json_object_del(objects, key), 0);
	else
		assert_int_equal(json_object_del(json_object_get(json_object_get(objects, key), "data"), hash + 1), 0);
}

static void set_up(struct world_of *w, const struct render_case *c)
{
	struct error err;
	*w = (struct world_of){0};
	CLEANUP_FREE char *text = xasprintf("{apiVersion: " NAME_TRUSTEE_GROUP_VERSION
										", kind: KbsConfig, metadata: {name: %s, namespace: trustee, uid: "
										"00000000-0000-0000-0000-000000000001}, spec: {%s}}",
										c->kbs != NULL ? c->kbs : "trusteeconfig-kbs-config", c->spec);
	w->object = yaml_tree(text);
	w->objects = yaml_tree(present);
	if (c->without != NULL)
		take_away(w->objects, c->without);
	if (kbs_decode(w->object, &w->spec, &err) < 0)
		fail_msg("test data: %s", err.msg);
	if (c->live != NULL) {
		CLEANUP_FREE char *live = xasprintf("{spec: {template: {metadata: {annotations: {%s}}}}}", c->live);
		w->deployment = yaml_tree(live);
	}
	w->in = (struct kbs_render_input){.object = w->object,
									  .spec = &w->spec,
									  .objects = w->objects,
									  .deployment = w->deployment,
									  .hold = c->live != NULL,
									  .world = c->world != NULL ? c->world : &everything};
}

static void render(struct world_of *w, const struct render_case *c)
{
	set_up(w, c);
	kbs_render(&w->in, &w->rendered, &w->remarks);
}

static void tear_down(struct world_of *w)
{
	json_decref(w->object);
	json_decref(w->objects);
	json_decref(w->deployment);
	rendered_release(&w->rendered);
	remarks_release(&w->remarks);
}

static const json_t *deployment_of(const struct world_of *w)
{
	CLEANUP_FREE char *name = kbs_deployment_name(&w->spec);
	return rendered_find(&w->rendered, &KUBE_DEPLOYMENTS, name);
}

static const json_t *template_of(const struct world_of *w)
{
	return json_object_get(json_object_get(deployment_of(w), "spec"), "template");
}

static const json_t *pod_of(const struct world_of *w)
{
	return json_object_get(template_of(w), "spec");
}

// ---- Goldens

// With the fields in the order in which people write them.
static json_t *as_read(const json_t *object)
{
	static const char *const first[] = {"apiVersion", "kind", "metadata"};
	json_t *ret = json_object();
	for (size_t i = 0; i < COUNT(first); i++)
		(void)json_object_set(ret, first[i], json_object_get(object, first[i]));
	(void)json_object_update(ret, (json_t *)(uintptr_t)object);
	return ret;
}

static void write_remark(const struct remark *m, struct buf *out)
{
	static const char *const levels[] = {"note", "warning", "error"};
	static const char *const abouts[] = {"spec", "certificate", "route", "resources", "release"};
	buf_addf(out, "%s, %s, %s: %s", levels[m->level], abouts[m->about], m->reason, m->message);
}

static void write_all(const struct world_of *w, struct buf *out)
{
	struct error err;
	for (size_t i = 0; i < w->remarks.n; i++) {
		buf_addz(out, "# ");
		write_remark(&w->remarks.v[i], out);
		buf_addc(out, '\n');
	}
	for (size_t i = 0; i < w->rendered.n; i++) {
		const struct rendered_object *o = &w->rendered.v[i];
		buf_addz(out, "---\n");
		if (o->object == NULL) {
			buf_addf(out, "# %s %s is kept\n", o->resource->kind, o->name);
			continue;
		}
		json_t *object = as_read(o->object);
		if (yaml_write(object, out, &err) < 0)
			fail_msg("%s", err.msg);
		json_decref(object);
	}
	assert_true(buf_ok(out));
}

static void compare_with_golden(const char *name, const struct buf *got)
{
	struct error err;
	CLEANUP_FREE
	char *path = xasprintf("%s/%s.yaml", GOLDENS, name);
	if (getenv("COCO_UPDATE_GOLDENS") != NULL) {
		CLEANUP_FCLOSE
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		assert_int_equal(fwrite(got->p, 1, got->n, f), got->n);
		return;
	}
	CLEANUP_BUF
	struct buf want = BUF_INIT(TEXT_MAX);
	if (file_read(path, &want, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(got->p, buf_z(&want));
}

static struct render_case golden_cases[] = {
	{.name = "permissive", .spec = PERMISSIVE ", KbsEnvVars: {RUST_LOG: debug}"},
	{.name = "restricted", .spec = RESTRICTED ", kbsSecretResources: [attestation-status, app]"},
	{.name = "restricted-instance",
	 .spec = RESTRICTED ", instanceName: two, KbsDeploymentSpec: {replicas: 3}, kbsServiceType: LoadBalancer",
	 .kbs = "other-kbs-config"},
	{.name = "replicas", .spec = RESTRICTED ", KbsDeploymentSpec: {replicas: 2}, kbsServiceType: LoadBalancer"},
	{.name = "restricted-0.15",
	 .spec = RESTRICTED ", trusteeVersion: '0.15', kbsSecretResources: [app, app.example.com]"},
	{.name = "restricted-0.18-old-keys",
	 .spec = "kbsConfigMapName: config, " AUTH
			 ", image: 'r/other:v0.18.1', kbsResourcePolicyConfigMapName: old-resource-policy, "
			 "kbsRvpsRefValuesConfigMapName: old-references"},
	{.name = "restricted-0.19", .spec = RESTRICTED ", trusteeVersion: '0.19', kbsSecretResources: [app]"},
	{.name = "restricted-0.20-postgres",
	 .spec = RESTRICTED
	 ", trusteeVersion: '0.20', sessionStorage: {type: Postgres, secretRef: {name: sessions, key: url}}, "
	 "KbsDeploymentSpec: {replicas: 2}"},
	{.name = "redis",
	 .spec = RESTRICTED ", sessionStorage: {type: Redis, secretRef: {name: sessions, key: url}}, KbsDeploymentSpec: "
						"{replicas: 2}, KbsEnvVars: {Z: '1', EMPTY: '', REDIS_URL: ignored, A: 'yes'}"},
	{.name = "vault",
	 .spec = RESTRICTED ", " VAULT ", caSecretRef: {name: vault-ca, key: ca.pem}}, kbsSecretResources: [app]"},
	{.name = "microservices",
	 .spec = RESTRICTED ", " MICROSERVICES
						", KbsEnvVars: {RUST_LOG: info}, kbsLocalCertCacheSpec: {secrets: [{secretName: hwid-1}]}"},
	{.name = "microservices-0.18", .spec = RESTRICTED ", " MICROSERVICES ", trusteeVersion: '0.18'"},
	{.name = "ibm-se", .spec = PERMISSIVE ", ibmSEConfigSpec: {certStorePvc: ibmse}"},
	{.name = "cert-caches",
	 .spec = PERMISSIVE
	 ", kbsLocalCertCacheSpec: {secrets: [{secretName: hwid-1, mountPath: /c/1}, {secretName: hwid.2, "
	 "mountPath: /c/2}, {secretName: hwid-1, mountPath: /c/3}, {secretName: " N253 ", mountPath: /c/4}]}"},
	{.name = "image-policy",
	 .spec =
		 RESTRICTED ", imagePolicy: {securityPolicy: '{\"default\": [{\"type\": \"reject\"}]}'}, kbsSecretResources: "
					"[security-policy, app]"},
	{.name = "image-policy-reference",
	 .spec = RESTRICTED ", imagePolicy: {name: signed-v2, configMapKeyRef: {name: images, key: policy}}"},
	{.name = "resources-odd",
	 .spec = RESTRICTED ", kbsSecretResources: [nowhere, empty, credentials, app.example.com, " N253 "]"},
	{.name = "pods",
	 .spec = PERMISSIVE
	 ", image: 'r/own:v0.21.3', imagePullSecrets: [{name: pull-2}, {name: pull-1}], resources: {requests: "
	 "{cpu: 0.5, memory: 256Mi}, limits: {cpu: 2}}, KbsDeploymentSpec: {replicas: 0}"},
	{.name = "route-host",
	 .spec = RESTRICTED ", exposure: {type: Route, host: kbs.example.com}, metrics: {serviceMonitor: true}"},
	{.name = "tls-route",
	 .spec =
		 RESTRICTED ", exposure: {type: TLSRoute, host: kbs.example.com, gatewayRef: {name: gate, namespace: infra, "
					"sectionName: tls}}"},
	{.name = "ingress",
	 .spec = RESTRICTED
	 ", exposure: {type: Ingress, host: kbs.example.com, ingressClassName: nginx}, kbsServiceType: NodePort"},
	{.name = "monitor-plain", .spec = PERMISSIVE ", metrics: {serviceMonitor: true}, exposure: {type: None}"},
	{.name = "bare-cluster", .spec = RESTRICTED ", metrics: {serviceMonitor: true}", .world = &bare},
	{.name = "minimal", .spec = "kbsConfigMapName: config", .kbs = "by-hand"},
	{.name = "hold", .spec = PERMISSIVE, .live = ANNOTATION_CONTENT ": as-it-was, other: x"},
	{.name = "auth-served", .spec = PERMISSIVE ", kbsSecretResources: [kbs-auth, app]"},
	{.name = "nothing-set", .spec = "kbsDeploymentType: MicroservicesDeployment"},
	{.name = "missing",
	 .spec = RESTRICTED ", kbsSecretResources: [nowhere]",
	 .without = "Secret/kbs-https-cert#certificate"},
};

static void test_golden(void **state)
{
	const struct render_case *c = *state;
	struct world_of w;
	render(&w, c);
	CLEANUP_BUF
	struct buf out = BUF_INIT(TEXT_MAX);
	write_all(&w, &out);
	tear_down(&w);
	compare_with_golden(c->name, &out);
}

// ---- What holds of all of them

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const json_t *named(const json_t *list, const char *name)
{
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item)
		if (strcmp(text_at(item, "name"), name) == 0)
			return item;
	return NULL;
}

static void test_same_bytes(void **state)
{
	struct world_of w;
	char *texts[2];
	for (size_t i = 0; i < 2; i++) {
		render(&w, *state);
		CLEANUP_BUF struct buf out = BUF_INIT(TEXT_MAX);
		write_all(&w, &out);
		texts[i] = buf_take(&out);
		tear_down(&w);
	}
	assert_string_equal(texts[0], texts[1]);
	free(texts[0]);
	free(texts[1]);
}

// Mounts have a volume each, volumes a mount; no two are at one path.
static void test_mounts(void **state)
{
	struct world_of w;
	render(&w, *state);
	const json_t *volumes = json_object_get(pod_of(&w), "volumes");
	json_t *used = json_object();
	size_t i;
	json_t *container;
	json_array_foreach (json_object_get(pod_of(&w), "containers"), i, container) {
		json_t *paths = json_object();
		size_t k;
		json_t *m;
		json_array_foreach (json_object_get(container, "volumeMounts"), k, m) {
			assert_non_null(named(volumes, text_at(m, "name")));
			assert_null(json_object_get(paths, text_at(m, "mountPath")));
			(void)json_object_set_new(paths, text_at(m, "mountPath"), json_true());
			(void)json_object_set_new(used, text_at(m, "name"), json_true());
		}
		json_decref(paths);
	}
	json_t *volume;
	json_array_foreach (volumes, i, volume) {
		const char *name = text_at(volume, "name");
		assert_true(is_dns_label(name));
		assert_non_null(json_object_get(used, name));
		assert_ptr_equal(named(volumes, name), volume);
	}
	json_decref(used);
	tear_down(&w);
}

// What a volume's source names: a list of {key, path}, or NULL for all keys.
static void each_source(const json_t *pod,
						void (*each)(void *ctx, const char *kind, const char *name, const json_t *items), void *ctx)
{
	size_t i;
	json_t *volume;
	json_array_foreach (json_object_get(pod, "volumes"), i, volume) {
		const json_t *secret = json_object_get(volume, "secret");
		const json_t *config_map = json_object_get(volume, "configMap");
		if (secret != NULL)
			each(ctx, "Secret", text_at(secret, "secretName"), json_object_get(secret, "items"));
		if (config_map != NULL)
			each(ctx, "ConfigMap", text_at(config_map, "name"), json_object_get(config_map, "items"));
		size_t k;
		json_t *source;
		json_array_foreach (json_object_get(json_object_get(volume, "projected"), "sources"), k, source) {
			secret = json_object_get(source, "secret");
			config_map = json_object_get(source, "configMap");
			if (secret != NULL)
				each(ctx, "Secret", text_at(secret, "name"), json_object_get(secret, "items"));
			if (config_map != NULL)
				each(ctx, "ConfigMap", text_at(config_map, "name"), json_object_get(config_map, "items"));
		}
	}
}

static void assert_public(void *ctx, const char *kind, const char *name, const json_t *items)
{
	(void)ctx;
	if (strcmp(kind, "Secret") != 0 || strcmp(name, "kbs-auth") != 0)
		return;
	assert_int_equal(json_array_size(items), 1);
	assert_string_equal(text_at(json_array_get(items, 0), "key"), "publicKey");
}

// The admin's private key is in no pod, not even where somebody lists its Secret among those to serve.
static void test_private_key(void **state)
{
	struct world_of w;
	render(&w, *state);
	each_source(pod_of(&w), assert_public, NULL);
	CLEANUP_FREE char *text = pod_of(&w) != NULL ? json_dumps(pod_of(&w), 0) : xstrdup("");
	// Of all Secrets, the one for HTTPS has a key of that name.
	const char *first = strstr(text, "\"key\": \"privateKey\"");
	assert_true(first == NULL || kbs_speaks_https(&w.spec));
	assert_true(first == NULL || strstr(first + 1, "\"key\": \"privateKey\"") == NULL);
	tear_down(&w);
}

static void assert_not_served(void *ctx, const char *kind, const char *name, const json_t *items)
{
	(void)ctx;
	(void)items;
	if (strcmp(kind, "Secret") == 0 && strcmp(name, "app") != 0 && strncmp(name, "kbs-", 4) != 0)
		fail_msg("Secret %s is in the pod", name);
}

// What the KBS's keys are copied from, and another Trustee's keys.
static void test_withheld(void **state)
{
	(void)state;
	const struct render_case c = {.spec = RESTRICTED
								  ", kbsSecretResources: [app, app.example.com, credentials, other-auth]"};
	const struct trustee_spec trustee = {.https_secret = "app.example.com", .token_secret = "credentials"};
	struct world_of w;
	set_up(&w, &c);
	(void)json_object_set_new(w.objects, "Secret/other-auth",
							  yaml_tree("{metadata: {labels: {app.kubernetes.io/managed-by: coco-controller, "
										"app.kubernetes.io/component: auth}}, data: {privateKey: '1'}}"));
	w.in.trustee = &trustee;
	kbs_render(&w.in, &w.rendered, &w.remarks);
	each_source(pod_of(&w), assert_not_served, NULL);
	size_t said = 0;
	for (size_t i = 0; i < w.remarks.n; i++)
		said += strcmp(w.remarks.v[i].reason, "SecretNotServed") == 0;
	assert_int_equal(said, 3);
	tear_down(&w);
}

// Of a configuration that was made the one file is mounted; an admin's own may have more beside it.
static void test_configuration_items(void **state)
{
	(void)state;
	const struct render_case c = {.spec = RESTRICTED};
	for (int made = 0; made < 2; made++) {
		struct world_of w;
		set_up(&w, &c);
		if (made)
			(void)json_object_set_new(
				json_object_get(w.objects, "ConfigMap/config"), "metadata",
				yaml_tree("{name: config, labels: {app.kubernetes.io/managed-by: coco-controller}}"));
		kbs_render(&w.in, &w.rendered, &w.remarks);
		const json_t *volume = json_array_get(json_object_get(pod_of(&w), "volumes"), 0);
		assert_string_equal(text_at(volume, "name"), "kbs-config");
		assert_int_equal(json_array_size(json_object_get(json_object_get(volume, "configMap"), "items")), made);
		tear_down(&w);
	}
}

static void note_need(void *ctx, const struct kube_resource *res, const char *name)
{
	CLEANUP_FREE char *key = xasprintf("%s/%s", res->kind, name);
	assert_true(res->namespaced);
	(void)json_object_set_new(ctx, key, json_true());
}

static void assert_told(void *ctx, const char *kind, const char *name, const json_t *items)
{
	(void)items;
	CLEANUP_FREE char *key = xasprintf("%s/%s", kind, name);
	if (json_object_get(ctx, key) == NULL && strstr(key, "-image-policy") == NULL)
		fail_msg("%s is mounted, but kbs_needs() doesn't tell of it", key);
}

// Else no change of it would reach the pods.
static void test_held_without_deployment(void **state)
{
	(void)state;
	struct world_of w;
	set_up(&w, &(const struct render_case){.spec = PERMISSIVE});
	w.in.hold = true;
	kbs_render(&w.in, &w.rendered, &w.remarks);
	assert_null(deployment_of(&w));
	// It isn't taken away either, where it has come meanwhile.
	assert_true(rendered_wants(&w.rendered, &KUBE_DEPLOYMENTS, "trustee-deployment"));
	tear_down(&w);
}

static void test_needs(void **state)
{
	struct world_of w;
	json_t *needs = json_object();
	render(&w, *state);
	kbs_needs(w.object, &w.spec, note_need, needs);
	each_source(pod_of(&w), assert_told, needs);
	json_decref(needs);
	tear_down(&w);
}

// Kubernetes would refuse the object, or the kubelet the pod.
static void assert_paths(void *ctx, const char *kind, const char *name, const json_t *items)
{
	(void)kind;
	(void)name;
	size_t i;
	json_t *item;
	json_array_foreach (items, i, item) {
		const char *path = text_at(item, "path");
		assert_true(path[0] != '/' && path[0] != '.' && strstr(path, "..") == NULL);
		while (path != NULL) {
			assert_true(strcspn(path, "/") <= 255);
			path = strchr(path, '/');
			path += path != NULL;
		}
		(void)ctx;
	}
}

static void test_paths(void **state)
{
	struct world_of w;
	render(&w, *state);
	each_source(pod_of(&w), assert_paths, NULL);
	tear_down(&w);
}

// ---- What is missing

struct missing_case {
	const char *name;
	struct render_case render;
	const char *said; // the worst remark, as goldens have it
	bool rendered;    // the Deployment, all the same
};

#define CASE(text, gone) .render = {.spec = text, .without = gone}
#define SESSIONS "sessionStorage: {type: Redis, secretRef: {name: sessions, key: url}}"

#define CACHE(path) ", kbsLocalCertCacheSpec: {secrets: [{secretName: hwid-1, mountPath: '" path "'}]}"

static struct missing_case missing_cases[] = {
	{"nothing is missing", CASE(RESTRICTED, NULL), NULL, true},
	{"configuration: unset", CASE(AUTH, NULL),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is unset; set it to the ConfigMap with the key "
	 "\"kbs-config.toml\"",
	 false},
	{"configuration: empty name", CASE("kbsConfigMapName: ''", NULL),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is unset; set it to the ConfigMap with the key "
	 "\"kbs-config.toml\"",
	 false},
	{"configuration", CASE(RESTRICTED, "ConfigMap/config"),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is ConfigMap \"config\", which isn't there; create it, with "
	 "the key \"kbs-config.toml\"",
	 false},
	{"configuration: key", CASE(RESTRICTED, "ConfigMap/config#kbs-config.toml"),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is ConfigMap \"config\", which has no key "
	 "\"kbs-config.toml\"; add it",
	 false},
	{"configuration: with Vault, of a Secret", CASE(RESTRICTED ", " VAULT "}", "Secret/config"),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is Secret \"config\", which isn't there; create it, with "
	 "the "
	 "key \"kbs-config.toml\"",
	 false},
	{"configuration: with Vault, no ConfigMap", CASE(RESTRICTED ", " VAULT "}", "ConfigMap/config"), NULL, true},
	{"configuration: with Redis, of a Secret", CASE(RESTRICTED ", " SESSIONS, "Secret/config"),
	 "error, spec, ReferenceMissing: spec.kbsConfigMapName is Secret \"config\", which isn't there; create it, with "
	 "the "
	 "key \"kbs-config.toml\"",
	 false},
	{"resource policy", CASE(RESTRICTED, "ConfigMap/resource-policy"),
	 "error, spec, ReferenceMissing: spec.kbsResourcePolicyConfigMapName is ConfigMap \"resource-policy\", which isn't "
	 "there; create it, with the key \"resource-policy.rego\"",
	 false},
	{"resource policy: key", CASE(RESTRICTED, "ConfigMap/resource-policy#resource-policy.rego"),
	 "error, spec, ReferenceMissing: spec.kbsResourcePolicyConfigMapName is ConfigMap \"resource-policy\", which has "
	 "no "
	 "key \"resource-policy.rego\"; add it",
	 false},
	{"CPU policy", CASE(RESTRICTED, "ConfigMap/cpu"),
	 "error, spec, ReferenceMissing: spec.kbsAttestationPolicyConfigMapName is ConfigMap \"cpu\", which isn't there; "
	 "create it, with the key \"default_cpu.rego\"",
	 false},
	{"GPU policy: key", CASE(RESTRICTED, "ConfigMap/gpu#default_gpu.rego"),
	 "error, spec, ReferenceMissing: spec.kbsGpuAttestationPolicyConfigMapName is ConfigMap \"gpu\", which has no key "
	 "\"default_gpu.rego\"; add it",
	 false},
	{"reference values", CASE(RESTRICTED, "ConfigMap/references"),
	 "error, spec, ReferenceMissing: spec.kbsRvpsRefValuesConfigMapName is ConfigMap \"references\", which isn't "
	 "there; "
	 "create it, with the key \"reference_value\"",
	 false},
	{"as-config", CASE(RESTRICTED ", " MICROSERVICES, "ConfigMap/as"),
	 "error, spec, ReferenceMissing: spec.kbsAsConfigMapName is ConfigMap \"as\", which isn't there; create it, with "
	 "the "
	 "key \"as-config.json\"",
	 false},
	{"rvps-config: key", CASE(RESTRICTED ", " MICROSERVICES, "ConfigMap/rvps#rvps-config.json"),
	 "error, spec, ReferenceMissing: spec.kbsRvpsConfigMapName is ConfigMap \"rvps\", which has no key "
	 "\"rvps-config.json\"; add it",
	 false},
	{"as-config, where there is no such container", CASE(RESTRICTED ", kbsAsConfigMapName: nowhere", NULL), NULL, true},
	{"auth", CASE(RESTRICTED, "Secret/kbs-auth"),
	 "error, spec, ReferenceMissing: spec.kbsAuthSecretName is Secret \"kbs-auth\", which isn't there; create it, with "
	 "the key \"publicKey\"",
	 false},
	{"auth: key", CASE(RESTRICTED, "Secret/kbs-auth#publicKey"),
	 "error, spec, ReferenceMissing: spec.kbsAuthSecretName is Secret \"kbs-auth\", which has no key \"publicKey\"; "
	 "add "
	 "it",
	 false},
	{"auth: the other key is no business of ours", CASE(RESTRICTED, "Secret/kbs-auth#privateKey"), NULL, true},
	{"https key", CASE(RESTRICTED, "Secret/kbs-https-key"),
	 "error, certificate, ReferenceMissing: spec.kbsHttpsKeySecretName is Secret \"kbs-https-key\", which isn't there; "
	 "create it, with the key \"privateKey\"",
	 false},
	{"https certificate: key", CASE(RESTRICTED, "Secret/kbs-https-cert#certificate"),
	 "error, certificate, ReferenceMissing: spec.kbsHttpsCertSecretName is Secret \"kbs-https-cert\", which has no key "
	 "\"certificate\"; add it",
	 false},
	{"token key: key", CASE(RESTRICTED, "Secret/kbs-token-key#token.key"),
	 "error, certificate, ReferenceMissing: spec.kbsAttestationKeySecretName is Secret \"kbs-token-key\", which has no "
	 "key \"token.key\"; add it",
	 false},
	{"token certificate", CASE(RESTRICTED, "Secret/kbs-token-cert"),
	 "error, certificate, ReferenceMissing: spec.kbsAttestationCertSecretName is Secret \"kbs-token-cert\", which "
	 "isn't "
	 "there; create it, with the key \"token.crt\"",
	 false},
	{"https: one of two", CASE(PERMISSIVE ", kbsHttpsKeySecretName: kbs-https-key", NULL),
	 "error, certificate, ReferenceMissing: spec.kbsHttpsCertSecretName is unset, but spec.kbsHttpsKeySecretName is "
	 "set; "
	 "set both, or none for plain HTTP",
	 false},
	{"https: the other of two", CASE(PERMISSIVE ", kbsHttpsCertSecretName: kbs-https-cert", NULL),
	 "error, certificate, ReferenceMissing: spec.kbsHttpsKeySecretName is unset, but spec.kbsHttpsCertSecretName is "
	 "set; "
	 "set both, or none for plain HTTP",
	 false},
	{"Vault's CA",
	 CASE(RESTRICTED ", " VAULT ", caSecretRef: {name: vault-ca, key: ca.pem}}", "Secret/vault-ca#ca.pem"),
	 "error, spec, ReferenceMissing: spec.vault.caSecretRef is Secret \"vault-ca\", which has no key \"ca.pem\"; add "
	 "it",
	 false},
	{"sessions", CASE(RESTRICTED ", " SESSIONS, "Secret/sessions"),
	 "error, spec, ReferenceMissing: spec.sessionStorage.secretRef is Secret \"sessions\", which isn't there; create "
	 "it, "
	 "with the key \"url\"",
	 false},
	{"cert cache", CASE(RESTRICTED ", kbsLocalCertCacheSpec: {secrets: [{secretName: hwid-1}]}", "Secret/hwid-1"),
	 "error, spec, ReferenceMissing: spec.kbsLocalCertCacheSpec.secrets[0].secretName is Secret \"hwid-1\", which "
	 "isn't "
	 "there; create it",
	 false},
	{"pull secret", CASE(RESTRICTED ", imagePullSecrets: [{name: pull-1}, {name: pull-2}]", "Secret/pull-2"),
	 "warning, spec, ReferenceMissing: spec.imagePullSecrets[1].name is Secret \"pull-2\", which isn't there; create "
	 "it "
	 "(images are pulled without it)",
	 true},
	{"IBM SE", CASE(RESTRICTED ", ibmSEConfigSpec: {certStorePvc: ibmse}", "PersistentVolumeClaim/ibmse"),
	 "warning, spec, ReferenceMissing: spec.ibmSEConfigSpec.certStorePvc is PersistentVolumeClaim \"ibmse\", which "
	 "isn't "
	 "there; create it (the pods wait for it)",
	 true},
	{"image policy",
	 CASE(RESTRICTED ", imagePolicy: {configMapKeyRef: {name: images, key: policy}}", "ConfigMap/images"),
	 "warning, resources, ConfigMapMissing: spec.imagePolicy.configMapKeyRef is ConfigMap \"images\", which isn't "
	 "there; "
	 "create it, with the key \"policy\" (guests that need the policy run no image)",
	 true},
	{"a Secret to serve", CASE(RESTRICTED ", kbsSecretResources: [app]", "Secret/app"),
	 "warning, resources, SecretMissing: spec.kbsSecretResources[0] is Secret \"app\", which isn't there; create it "
	 "(all "
	 "others are served)",
	 true},
	{"a Secret to serve, but Vault does", CASE(RESTRICTED ", kbsSecretResources: [app], " VAULT "}", "Secret/app"),
	 NULL, true},
	{"a cache of certificates over the policy",
	 CASE(RESTRICTED CACHE("/opt/confidential-containers//storage/./kbs/"), NULL),
	 "error, spec, InvalidConfiguration: spec.kbsLocalCertCacheSpec.secrets[0].mountPath is "
	 "\"/opt/confidential-containers//storage/./kbs/\", which would hide what the KBS has in "
	 "/opt/confidential-containers/storage/kbs; choose a folder of its own, such as "
	 "/opt/confidential-containers/attestation-service/kds-store/vcek",
	 false},
	{"a cache above the configuration", CASE(RESTRICTED CACHE("/etc"), NULL),
	 "error, spec, InvalidConfiguration: spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"/etc\", which would hide "
	 "what the KBS has in /etc/kbs-config; choose a folder of its own, such as "
	 "/opt/confidential-containers/attestation-service/kds-store/vcek",
	 false},
	{"a cache below the keys", CASE(RESTRICTED CACHE("/etc/https-key/more"), NULL),
	 "error, spec, InvalidConfiguration: spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"/etc/https-key/more\", "
	 "which would hide what the KBS has in /etc/https-key; choose a folder of its own, such as "
	 "/opt/confidential-containers/attestation-service/kds-store/vcek",
	 false},
	{"a cache over programs", CASE(RESTRICTED CACHE("/usr/local/bin"), NULL),
	 "error, spec, InvalidConfiguration: spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"/usr/local/bin\", which "
	 "would hide what the KBS has in /usr; choose a folder of its own, such as "
	 "/opt/confidential-containers/attestation-service/kds-store/vcek",
	 false},
	{"a cache over nothing", CASE(RESTRICTED CACHE("/"), NULL),
	 "error, spec, InvalidConfiguration: spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"/\", which would hide "
	 "what the KBS has in /etc/kbs-config; choose a folder of its own, such as "
	 "/opt/confidential-containers/attestation-service/kds-store/vcek",
	 false},
	{"a cache elsewhere", CASE(RESTRICTED CACHE("/etc/kbs-configuration"), NULL), NULL, true},
	{"a cache in the folder of old releases",
	 CASE(RESTRICTED ", trusteeVersion: '0.17', image: 'r/kbs:v0.17.0'" CACHE(""), NULL), NULL, true},
	{"an image that is too old", CASE(RESTRICTED ", image: 'r/kbs:v0.13.0'", NULL),
	 "error, spec, UnsupportedVersion: spec.trusteeVersion is unset, and image \"r/kbs:v0.13.0\" is a Trustee before "
	 "0.15, "
	 "which can't be run: take a newer one, or say in spec.trusteeVersion what it is",
	 false},
};

static void test_missing(void **state)
{
	const struct missing_case *c = *state;
	struct world_of w;
	render(&w, &c->render);
	const struct remark *worst = remarks_worst(&w.remarks, REMARK_WARNING, -1);
	CLEANUP_BUF struct buf said = BUF_INIT(TEXT_MAX);
	if (worst != NULL)
		write_remark(worst, &said);
	assert_text(worst != NULL ? buf_z(&said) : NULL, c->said);
	assert_int_equal(deployment_of(&w) != NULL, c->rendered);
	// Never to be deleted, whatever is missing; and there is an address in any case.
	CLEANUP_FREE char *name = kbs_deployment_name(&w.spec);
	assert_true(rendered_wants(&w.rendered, &KUBE_DEPLOYMENTS, name));
	assert_non_null(rendered_find(&w.rendered, &KUBE_SERVICES, "kbs-service"));
	tear_down(&w);
}

// ---- What makes new pods

static char *template_text(const struct render_case *c, const char *object, const char *changed)
{
	struct world_of w;
	set_up(&w, c);
	if (object != NULL)
		(void)json_object_set_new(w.objects, object, yaml_tree(changed));
	kbs_render(&w.in, &w.rendered, &w.remarks);
	char *text = json_dumps(template_of(&w), JSON_SORT_KEYS);
	assert_non_null(text);
	tear_down(&w);
	return text;
}

struct rollout_case {
	const char *name;
	struct render_case render;
	const char *object, *changed; // an object that is another afterwards
	const char *spec;             // NULL, or another spec
	bool rolls;
};

static struct rollout_case rollout_cases[] = {
	{"rollout: a configuration", CASE(RESTRICTED, NULL), "ConfigMap/config", "{data: {kbs-config.toml: '99'}}", NULL,
	 true},
	{"rollout: a certificate", CASE(RESTRICTED, NULL), "Secret/kbs-https-cert", "{data: {certificate: '99'}}", NULL,
	 true},
	{"rollout: a label", CASE(RESTRICTED, NULL), "Secret/kbs-https-cert",
	 "{metadata: {labels: {a: b}, resourceVersion: '7'}, data: {certificate: '13'}}", NULL, false},
	{"rollout: sessions' address", CASE(RESTRICTED ", " SESSIONS, NULL), "Secret/sessions", "{data: {url: '99'}}", NULL,
	 true},
	{"rollout: another key of what is served", CASE(RESTRICTED ", kbsSecretResources: [app]", NULL), "Secret/app",
	 "{data: {key2: '18', key1: '19', key3: '1'}}", NULL, true},
	{"rollout: a Secret of somebody else", CASE(RESTRICTED, NULL), "Secret/app", "{data: {a: '1'}}", NULL, false},
	{"rollout: a pull secret", CASE(RESTRICTED ", imagePullSecrets: [{name: pull-1}]", NULL), "Secret/pull-1",
	 "{data: {.dockerconfigjson: '99'}}", NULL, false},
	{"rollout: replicas", CASE(RESTRICTED, NULL), NULL, NULL, RESTRICTED ", KbsDeploymentSpec: {replicas: 4}", false},
	{"rollout: resources in another order", CASE(RESTRICTED ", kbsSecretResources: [app, app.example.com]", NULL), NULL,
	 NULL, RESTRICTED ", kbsSecretResources: [app.example.com, app]", false},
	{"rollout: variables in another order", CASE(RESTRICTED ", KbsEnvVars: {A: '1', B: '2'}", NULL), NULL, NULL,
	 RESTRICTED ", KbsEnvVars: {B: '2', A: '1'}", false},
	{"rollout: an image policy's text", CASE(RESTRICTED ", imagePolicy: {securityPolicy: '{\"default\": []}'}", NULL),
	 NULL, NULL, RESTRICTED ", imagePolicy: {securityPolicy: '{\"default\": [{}]}'}", true},
	{"rollout: exposure", CASE(RESTRICTED, NULL), NULL, NULL, RESTRICTED ", exposure: {type: None}", false},
	{"rollout: hold, and a certificate", .render = {.spec = RESTRICTED, .live = ANNOTATION_CONTENT ": before"},
	 "Secret/kbs-https-cert", "{data: {certificate: '99'}}", NULL, false},
	{"rollout: hold of upstream's Deployment", .render = {.spec = RESTRICTED, .live = "a: b"}, "Secret/kbs-https-cert",
	 "{data: {certificate: '99'}}", NULL, false},
};

static void test_rollout(void **state)
{
	const struct rollout_case *c = *state;
	struct render_case after = c->render;
	if (c->spec != NULL)
		after.spec = c->spec;
	CLEANUP_FREE char *x = template_text(&c->render, NULL, NULL);
	CLEANUP_FREE char *y = template_text(&after, c->object, c->changed);
	assert_int_equal(strcmp(x, y) != 0, c->rolls);
}

// ---- Names

struct name_case {
	const char *name;
	const char *kbs;      // the KbsConfig's
	const char *instance; // label
};

static struct name_case name_cases[] = {
	{"name: of a TrusteeConfig's", "a-kbs-config", "a"},
	{"name: of its own", "mine", "mine"},
	{"name: nothing before the suffix", "kbs-config", "kbs-config"},
	{"name: no label without the suffix", "a--kbs-config", "a--kbs-config"},
	{"name: dots", "a.b-kbs-config", "a.b"},
	{"name: 63", "a23456789012345678901234567890123456789012345678901234567890123-kbs-config",
	 "a23456789012345678901234567890123456789012345678901234567890123"},
	{"name: 64", N64 "-kbs-config", "a234567890123456789012345678901234567890123456789012-d882fd43b0"},
	{"name: 253", N253, "a234567890123456789012345678901234567890123456789012-e6b8eee794"},
};

static void test_name(void **state)
{
	const struct name_case *c = *state;
	const struct render_case render_it = {.spec = PERMISSIVE ", imagePolicy: {securityPolicy: '{\"default\": []}'}",
										  .kbs = c->kbs};
	struct world_of w;
	render(&w, &render_it);
	assert_text(kube_label(template_of(&w), LABEL_INSTANCE), c->instance);
	assert_text(kube_annotation(template_of(&w), ANNOTATION_KBS_CONFIG), c->kbs);
	for (size_t i = 0; i < w.rendered.n; i++) {
		assert_text(kube_label(w.rendered.v[i].object, LABEL_INSTANCE), c->instance);
		assert_true(is_subdomain(w.rendered.v[i].name));
	}
	tear_down(&w);
}

static struct {
	const char *name;
	CMUnitTestFunction run;
} properties[] = {
	{"the same bytes again", test_same_bytes},           {"mounts and volumes fit", test_mounts},
	{"no private key of the admin's", test_private_key}, {"all that is mounted is told", test_needs},
	{"files have names that can be", test_paths},
};

static void add_properties(struct tests *t)
{
	static char names[COUNT(properties) * COUNT(golden_cases)][128];
	size_t n = 0;
	for (size_t i = 0; i < COUNT(properties); i++)
		for (size_t k = 0; k < COUNT(golden_cases); k++, n++) {
			(void)snprintf(names[n], sizeof(names[n]), "%s: %s", properties[i].name, golden_cases[k].name);
			tests_add(t, names[n], properties[i].run, &golden_cases[k]);
		}
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, golden_cases, test_golden);
	ADD_TABLE(&t, missing_cases, test_missing);
	ADD_TABLE(&t, rollout_cases, test_rollout);
	ADD_TABLE(&t, name_cases, test_name);
	tests_add(&t, "what keys are made of isn't served", test_withheld, NULL);
	tests_add(&t, "what isn't fit to be rolled out makes no first pods", test_held_without_deployment, NULL);
	tests_add(&t, "which files of the configuration are mounted", test_configuration_items, NULL);
	add_properties(&t);
	return tests_run("kbs_render", &t);
}
