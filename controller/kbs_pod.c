// The pods of a KbsConfig: containers, and what is mounted in them.
//
// Fields that the API server would fill in stand here all the same where another choice excludes them: what we have applied
// goes away with us when the choice changes, and what the server has filled in would stay, and make the pod invalid.
#include <stdlib.h>
#include <string.h>

#include "common/decode.h"
#include "common/mem.h"
#include "controller/kbs_config.h"
#include "controller/kbs_private.h"

#define FILE_MODE 0644
#define CONFIG_DIR "/etc/kbs-config"
#define CONFIG_FILE CONFIG_DIR "/" KBS_CONFIG_KEY
#define AS_CONFIG_DIR "/etc/as-config"
#define RVPS_CONFIG_DIR "/etc/rvps-config"
#define AS_PORT 50004
#define RVPS_PORT 50003
#define IBM_SE_DIR "/run/confidential-containers/ibmse/"
#define VOLUME_NAME_MAX 64
// The KBS gives open connections 30 seconds when it is told to stop.
#define GRACE_S 40
// The KBS logs the address of its Postgres, password included, at level info.
#define POSTGRES_QUIET "key_value_storage::postgres=warn"

enum container { KBS, AS, RVPS, CONTAINERS };

struct pod {
	const struct kbs_render_input *in;
	const struct kbs_spec *spec;
	const struct trustee_dialect *dialect;
	enum container verifier, references; // which containers verify evidence, and keep reference values
	json_t *volumes;
	json_t *mounts[CONTAINERS];
};

// ---- Volumes

static void mount(struct pod *p, enum container c, const char *volume, const char *path, bool read_only)
{
	json_t *m = json_made(json_pack("{s:s, s:s}", "name", volume, "mountPath", path));
	if (read_only)
		json_put(m, "readOnly", json_true());
	(void)json_array_append_new(p->mounts[c], m);
}

// A volume that is empty at first, and lost with the pod; on it, what the KBS writes is never on a disk.
static void add_folder(struct pod *p, enum container c, const char *volume, const char *path)
{
	(void)json_array_append_new(p->volumes,
								json_made(json_pack("{s:s, s:{s:s}}", "name", volume, "emptyDir", "medium", "Memory")));
	mount(p, c, volume, path, false);
}

// A volume of a ConfigMap or Secret. Takes items; NULL: all keys.
static void add_volume(struct pod *p, const char *volume, const struct kube_resource *res, const char *name,
					   json_t *items)
{
	bool secret = res == &KUBE_SECRETS;
	json_t *source = json_made(json_pack("{s:s, s:i}", secret ? "secretName" : "name", name, "defaultMode", FILE_MODE));
	json_put_some(source, "items", items);
	(void)json_array_append_new(
		p->volumes, json_made(json_pack("{s:s, s:o}", "name", volume, secret ? "secret" : "configMap", source)));
}

static json_t *one_item(const char *key, const char *file)
{
	return json_made(json_pack("[{s:s, s:s}]", "key", key, "path", file));
}

static const char *file_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static char *folder_of(const char *path)
{
	return xstrndup((struct str){path, (size_t)(strrchr(path, '/') - path)});
}

// One key of a Secret as the only file of its folder; nothing where name is NULL.
static void add_secret_file(struct pod *p, const char *volume, const char *name, const char *key, const char *path)
{
	if (name == NULL)
		return;
	CLEANUP_FREE char *folder = folder_of(path);
	add_volume(p, volume, &KUBE_SECRETS, name, one_item(key, file_of(path)));
	mount(p, KBS, volume, folder, true);
}

// A file among others that the KBS writes itself. Nothing where name is NULL. old_key: another name of the key, or NULL.
static void add_file(struct pod *p, enum container c, const char *volume, const char *name, const char *key,
					 const char *old_key, const char *path)
{
	if (name == NULL)
		return;
	const json_t *object = kbs_object(p->in, &KUBE_CONFIG_MAPS, name);
	bool old = old_key != NULL && !kbs_object_has(object, key);
	const char *file = file_of(path);
	add_volume(p, volume, &KUBE_CONFIG_MAPS, name, one_item(old ? old_key : key, file));
	json_t *m =
		json_made(json_pack("{s:s, s:s, s:s, s:b}", "name", volume, "mountPath", path, "subPath", file, "readOnly", 1));
	(void)json_array_append_new(p->mounts[c], m);
}

static void add_config(struct pod *p)
{
	const struct kbs_spec *s = p->spec;
	bool secret = kbs_config_is_secret(&s->hosting);
	const struct kube_resource *res = secret ? &KUBE_SECRETS : &KUBE_CONFIG_MAPS;
	// A volume that has been another manager's ConfigMap can't become a Secret by an apply.
	const char *volume = secret ? "kbs-config-secret" : "kbs-config";
	// An admin's own may have more files beside it. In ours, somebody else's key could be chosen where none is named.
	bool ours = s->config_maps.kbs != NULL && rendered_is_ours(kbs_object(p->in, res, s->config_maps.kbs));
	add_volume(p, volume, res, s->config_maps.kbs, ours ? one_item(KBS_CONFIG_KEY, KBS_CONFIG_KEY) : NULL);
	mount(p, KBS, volume, CONFIG_DIR, true);
	if (s->deployment != KBS_MICROSERVICES)
		return;
	add_volume(p, "as-config", &KUBE_CONFIG_MAPS, s->config_maps.as, NULL);
	mount(p, AS, "as-config", AS_CONFIG_DIR, true);
	add_volume(p, "rvps-config", &KUBE_CONFIG_MAPS, s->config_maps.rvps, NULL);
	mount(p, RVPS, "rvps-config", RVPS_CONFIG_DIR, true);
}

// The KBS makes what is missing in its folders when it starts, under any user: so each folder is a volume of its own, as
// the folders above a mounted one belong to root.
static void add_storage(struct pod *p, struct remarks *remarks)
{
	const struct kbs_spec *s = p->spec;
	const struct trustee_dialect *d = p->dialect;
	CLEANUP_FREE char *policy_dir = folder_of(d->resource_policy);
	CLEANUP_FREE char *references_dir = folder_of(d->reference_values);
	CLEANUP_FREE char *cpu = xasprintf("%s/default_cpu.rego", d->attestation_policies);
	CLEANUP_FREE char *gpu = xasprintf("%s/default_gpu.rego", d->attestation_policies);
	add_folder(p, KBS, "base-storage-dir", d->storage);
	add_folder(p, p->verifier, "attestation-policy-dir", d->attestation_policies);
	add_file(p, p->verifier, "attestation-policy", s->config_maps.attestation_policy, file_of(cpu), NULL, cpu);
	add_file(p, p->verifier, "attestation-policy-gpu", s->config_maps.gpu_attestation_policy, file_of(gpu), NULL, gpu);
	add_folder(p, KBS, "resource-policy-dir", policy_dir);
	add_file(p, KBS, "resource-policy", s->config_maps.resource_policy, "resource-policy.rego", "policy.rego",
			 d->resource_policy);
	add_folder(p, p->references, "rvps-dir", references_dir);
	add_file(p, p->references, "reference-values", s->config_maps.reference_values, "reference_value",
			 "reference-values.json", d->reference_values);

	json_t *resources = kbs_resources(p->in, d, remarks);
	if (resources == NULL) {
		add_folder(p, KBS, "repository-dir", d->repository);
		return;
	}
	(void)json_array_append_new(p->volumes, resources);
	mount(p, KBS, KBS_RESOURCES_VOLUME, d->repository, true);
}

static void add_secrets(struct pod *p)
{
	const struct kbs_spec *s = p->spec;
	const struct object_key_ref *ca = &s->hosting.vault.ca;
	// The admin's private key stays where it is: nothing in the pod needs it.
	add_secret_file(p, "auth-secret", s->secrets.auth, file_of(KBS_ADMIN_KEY), KBS_ADMIN_KEY);
	add_secret_file(p, "https-key", s->secrets.https_key, file_of(KBS_HTTPS_KEY), KBS_HTTPS_KEY);
	add_secret_file(p, "https-cert", s->secrets.https_cert, file_of(KBS_HTTPS_CERT), KBS_HTTPS_CERT);
	add_secret_file(p, "attestation-key", s->secrets.attestation_key, file_of(KBS_TOKEN_KEY), KBS_TOKEN_KEY);
	add_secret_file(p, "attestation-cert", s->secrets.attestation_cert, file_of(KBS_TOKEN_CERT), KBS_TOKEN_CERT);
	add_secret_file(p, "vault-ca", ca->name, ca->key, KBS_VAULT_CA);
	if (p->verifier == KBS)
		return;
	// It is the attestation service that signs tokens.
	CLEANUP_FREE char *key_dir = folder_of(KBS_TOKEN_KEY);
	CLEANUP_FREE char *cert_dir = folder_of(KBS_TOKEN_CERT);
	if (s->secrets.attestation_key != NULL)
		mount(p, p->verifier, "attestation-key", key_dir, true);
	if (s->secrets.attestation_cert != NULL)
		mount(p, p->verifier, "attestation-cert", cert_dir, true);
}

static bool has_volume(const struct pod *p, const char *name)
{
	size_t i;
	json_t *volume;
	json_array_foreach (p->volumes, i, volume)
		if (strcmp(json_string_value(json_object_get(volume, "name")), name) == 0)
			return true;
	return false;
}

static void add_certificates(struct pod *p)
{
	const struct kbs_spec *s = p->spec;
	if (s->ibm_se.cert_store_pvc != NULL) {
		(void)json_array_append_new(
			p->volumes, json_made(json_pack("{s:s, s:{s:s}}", "name", "ibmse-certstore", "persistentVolumeClaim",
											"claimName", s->ibm_se.cert_store_pvc)));
		mount(p, p->verifier, "ibmse-certstore", IBM_SE_DIR, true);
	}
	for (size_t i = 0; i < s->cert_caches.n; i++) {
		const struct kbs_cert_cache *cache = &s->cert_caches.v[i];
		CLEANUP_BUF struct buf name = BUF_INIT(VOLUME_NAME_MAX);
		trustee_volume_name("cert-cache", cache->secret, &name);
		if (!has_volume(p, buf_z(&name)))
			add_volume(p, buf_z(&name), &KUBE_SECRETS, cache->secret, NULL);
		mount(p, p->verifier, buf_z(&name), cache->mount_path, true);
	}
}

// ---- The pod but for certificates and containers

static void pod_begin(struct pod *p, const struct kbs_render_input *in, const struct trustee_dialect *dialect,
					  struct remarks *remarks)
{
	bool several = in->spec->deployment == KBS_MICROSERVICES;
	*p = (struct pod){.in = in,
					  .spec = in->spec,
					  .dialect = dialect,
					  .verifier = several ? AS : KBS,
					  .references = several ? RVPS : KBS,
					  .volumes = json_array()};
	for (size_t i = 0; i < CONTAINERS; i++)
		p->mounts[i] = json_array();
	add_config(p);
	add_storage(p, remarks);
	add_secrets(p);
}

static void pod_end(struct pod *p)
{
	json_decref(p->volumes);
	for (size_t i = 0; i < CONTAINERS; i++)
		json_decref(p->mounts[i]);
}

// ---- Paths of certificate caches

// The path with single slashes, and none at its end; new.
static char *plain_path(const char *path)
{
	char *plain = xstrdup("");
	for (const char *p = path; *p != '\0';) {
		size_t n = strcspn(p, "/");
		bool here = n == 0 || (n == 1 && p[0] == '.');
		char *longer = here ? NULL : xasprintf("%s/%.*s", plain, (int)n, p);
		if (longer != NULL)
			free(plain);
		plain = longer != NULL ? longer : plain;
		p += n + (p[n] == '/');
	}
	return plain;
}

// Whether a is b, or a folder above it. Both plain.
static bool holds(const char *a, const char *b)
{
	size_t n = strlen(a);
	return strncmp(a, b, n) == 0 && (b[n] == '/' || b[n] == '\0');
}

// What would be hidden by a volume at that path, or hide a part of it; NULL where nothing would. Borrowed.
static const char *hidden_by(const struct pod *p, const char *path)
{
	static const char *const system[] = {"/bin", "/dev", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"};
	CLEANUP_FREE char *plain = plain_path(path);
	size_t i;
	json_t *m;
	json_array_foreach (p->mounts[p->verifier], i, m) {
		const char *other = json_string_value(json_object_get(m, "mountPath"));
		CLEANUP_FREE char *other_plain = plain_path(other);
		// All that the KBS stores is in folders of their own below this one.
		bool base = strcmp(other, p->dialect->storage) == 0;
		if (holds(plain, other_plain) || (!base && holds(other_plain, plain)))
			return other;
	}
	for (i = 0; i < sizeof(system) / sizeof(system[0]); i++)
		if (holds(system[i], plain))
			return system[i];
	return NULL;
}

bool kbs_pod_check(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
{
	CLEANUP_REMARKS struct remarks unheard = {0};
	struct pod p;
	bool good = true;
	pod_begin(&p, in, dialect, &unheard);
	for (size_t i = 0; i < in->spec->cert_caches.n; i++) {
		const struct kbs_cert_cache *cache = &in->spec->cert_caches.v[i];
		const char *hidden = hidden_by(&p, cache->mount_path);
		if (hidden == NULL)
			continue;
		good = false;
		remarks_add(remarks, REMARK_ERROR, ABOUT_SPEC, "InvalidConfiguration",
					"spec.kbsLocalCertCacheSpec.secrets[%zu].mountPath is \"%s\", which would hide what the KBS has in "
					"%s; choose a folder of its own, such as " KBS_CERT_CACHE_PATH,
					i, cache->mount_path, hidden);
	}
	pod_end(&p);
	return good;
}

// ---- Containers

static json_t *variable(const char *name, const char *value)
{
	json_t *v = json_made(json_pack("{s:s}", "name", name));
	// The API server drops an empty one.
	if (value[0] != '\0')
		json_put(v, "value", json_string(value));
	return v;
}

// What the KBS needs to reach its sessions, on top of what the spec says.
static void add_session_variables(const struct kbs_spec *s, json_t *all, struct remarks *remarks)
{
	const struct object_key_ref *url = &s->hosting.sessions.url;
	if (s->hosting.sessions.type == SESSIONS_MEMORY)
		return;
	bool postgres = s->hosting.sessions.type == SESSIONS_POSTGRES;
	const char *name = postgres ? "POSTGRES_URL" : "REDIS_URL";
	if (json_object_get(all, name) != NULL)
		remarks_add(remarks, REMARK_WARNING, ABOUT_SPEC, "VariableIgnored",
					"spec.KbsEnvVars has %s, which spec.sessionStorage sets; drop it there", name);
	json_put(all, name,
			 json_pack("{s:s, s:{s:{s:s, s:s}}}", "name", name, "valueFrom", "secretKeyRef", "name", url->name, "key",
					   url->key));
	if (!postgres)
		return;
	const char *level = json_string_value(json_object_get(s->env, "RUST_LOG"));
	CLEANUP_FREE char *quiet = xasprintf("%s," POSTGRES_QUIET, level != NULL && level[0] != '\0' ? level : "info");
	json_put(all, "RUST_LOG", variable("RUST_LOG", quiet));
}

static json_t *variables(const struct pod *p, enum container c, struct remarks *remarks)
{
	json_t *all = json_object();
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)p->spec->env, name, value) {
		json_put(all, name, variable(name, json_string_value(value)));
	}
	if (c == KBS)
		add_session_variables(p->spec, all, remarks);
	json_t *list = json_object_size(all) > 0 ? json_array() : NULL;
	CLEANUP_FREE const char **names = kbs_sorted_keys(all);
	for (size_t i = 0; i < json_object_size(all); i++)
		(void)json_array_append(list, json_object_get(all, names[i]));
	json_decref(all);
	return list;
}

static json_t *amounts(const json_t *given)
{
	json_t *ret = json_object_size(given) > 0 ? json_object() : NULL;
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)given, name, value) {
		char room[DECODE_NUMBER_MAX];
		json_put(ret, name, json_string(decode_quantity_text(value, room)));
	}
	return ret;
}

static json_t *resources(const struct trustee_hosting *h)
{
	json_t *ret = json_object();
	json_put_some(ret, "requests", amounts(h->resources.requests));
	json_put_some(ret, "limits", amounts(h->resources.limits));
	if (json_object_size(ret) > 0)
		return ret;
	json_decref(ret);
	return NULL;
}

// Releases before /healthz answer it with an error, which would have the kubelet kill them.
static json_t *probe(const struct pod *p, int delay_s, int period_s)
{
	json_t *ret = json_made(json_pack("{s:i, s:i, s:i, s:i, s:i}", "initialDelaySeconds", delay_s, "periodSeconds",
									  period_s, "timeoutSeconds", 5, "failureThreshold", 3, "successThreshold", 1));
	if (p->dialect->healthz)
		json_put(ret, "httpGet",
				 json_pack("{s:s, s:i, s:s}", "path", "/healthz", "port", KBS_PORT, "scheme",
						   kbs_speaks_https(p->spec) ? "HTTPS" : "HTTP"));
	else
		json_put(ret, "tcpSocket", json_pack("{s:i}", "port", KBS_PORT));
	return ret;
}

// Takes command.
static json_t *container(struct pod *p, enum container c, const char *name, const char *image, int port,
						 json_t *command, struct remarks *remarks)
{
	json_t *ret = json_made(json_pack("{s:s, s:s, s:o, s:[{s:s, s:i, s:s}], s:{s:b, s:{s:[s]}, s:{s:s}}}", "name", name,
									  "image", image, "command", command, "ports", "name", name, "containerPort", port,
									  "protocol", "TCP", "securityContext", "allowPrivilegeEscalation", 0,
									  "capabilities", "drop", "ALL", "seccompProfile", "type", "RuntimeDefault"));
	json_put_some(ret, "env", variables(p, c, remarks));
	json_put_some(ret, "volumeMounts", TAKE_PTR(p->mounts[c]));
	return ret;
}

static json_t *containers(struct pod *p, struct remarks *remarks)
{
	const struct trustee_world *w = p->in->world;
	bool several = p->spec->deployment == KBS_MICROSERVICES;
	json_t *kbs =
		container(p, KBS, "kbs", kbs_image(p->in), KBS_PORT,
				  json_made(json_pack("[s, s, s]", "/usr/local/bin/kbs", "--config-file", CONFIG_FILE)), remarks);
	json_put_some(kbs, "resources", resources(&p->spec->hosting));
	json_put(kbs, "readinessProbe", probe(p, 5, 10));
	json_put(kbs, "livenessProbe", probe(p, 15, 30));
	json_t *all = json_made(json_pack("[o]", kbs));
	if (!several)
		return all;
	json_t *as_command = json_made(json_pack("[s, s, s, s, s]", "/usr/local/bin/grpc-as", "--socket", "0.0.0.0:50004",
											 "--config-file", AS_CONFIG_DIR "/as-config.json"));
	json_t *rvps_command =
		json_made(json_pack("[s, s, s]", "/usr/local/bin/rvps", "-c", RVPS_CONFIG_DIR "/rvps-config.json"));
	(void)json_array_append_new(all, container(p, AS, "as", w->images.as, AS_PORT, as_command, remarks));
	(void)json_array_append_new(all, container(p, RVPS, "rvps", w->images.rvps, RVPS_PORT, rvps_command, remarks));
	return all;
}

static json_t *pull_secrets(const struct trustee_hosting *h)
{
	json_t *list = h->npull_secrets > 0 ? json_array() : NULL;
	for (size_t i = 0; i < h->npull_secrets; i++)
		(void)json_array_append_new(list, json_made(json_pack("{s:s}", "name", h->pull_secrets[i].name)));
	return list;
}

json_t *kbs_pod(const struct kbs_render_input *in, const struct trustee_dialect *dialect, struct remarks *remarks)
{
	struct pod p;
	pod_begin(&p, in, dialect, remarks);
	add_certificates(&p);
	// Variables that Kubernetes makes of Services begin with KBS_, as the KBS's own do.
	json_t *pod = json_made(json_pack("{s:b, s:b, s:i, s:o, s:o}", "automountServiceAccountToken", 0,
									  "enableServiceLinks", 0, "terminationGracePeriodSeconds", GRACE_S, "containers",
									  containers(&p, remarks), "volumes", p.volumes));
	json_put_some(pod, "imagePullSecrets", pull_secrets(&in->spec->hosting));
	p.volumes = NULL; // the pod's
	pod_end(&p);
	return pod;
}
