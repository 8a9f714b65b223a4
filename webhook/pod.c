#include "webhook/pod.h"

#include <string.h>

// Grows by doubling in the arena; the memory left behind is less than what is used.
#define PUSH(r, array, n, item)                                                            \
	do {                                                                                   \
		if (((n) & ((n)-1)) == 0) {                                                        \
			void *grown_ = arena_alloc((r)->arena, (n) > 0 ? (n)*2 : 1, sizeof(*(array))); \
			if ((n) > 0)                                                                   \
				memcpy(grown_, (array), (n) * sizeof(*(array)));                           \
			(array) = grown_;                                                              \
		}                                                                                  \
		(array)[(n)++] = (item);                                                           \
	} while (0)

static void read_key_values(struct json_read *r, struct key_values *ret)
{
	struct str key;
	ret->present = json_enter_object(r);
	while (ret->present && json_next_key(r, &key)) {
		struct key_value kv = {key, json_read_string(r)};
		// As the API server reads null into a map of strings: the key is there, and empty.
		if (kv.value.p == NULL)
			kv.value = STR("");
		PUSH(r, ret->v, ret->n, kv);
	}
}

struct str key_values_get(const struct key_values *map, const char *key)
{
	size_t n = strlen(key);
	for (size_t i = 0; i < map->n; i++)
		if (map->v[i].key.n == n && memcmp(map->v[i].key.p, key, n) == 0)
			return map->v[i].value;
	return (struct str){0};
}

static struct owner read_owner(struct json_read *r)
{
	struct owner o = {0};
	const uint64_t wanted = JSON_KEY("apiVersion") | JSON_KEY("kind") | JSON_KEY("name") | JSON_KEY("controller");
	struct str key;
	if (!json_enter_object(r))
		return o;
	while (json_next_of(r, wanted, &key)) {
		if (str_is(key, "apiVersion"))
			o.api_version = json_read_string(r);
		else if (str_is(key, "kind"))
			o.kind = json_read_string(r);
		else if (str_is(key, "name"))
			o.name = json_read_string(r);
		else if (str_is(key, "controller"))
			o.controller = json_read_bool(r);
		else
			(void)json_skip(r);
	}
	return o;
}

static void read_metadata(struct json_read *r, struct pod *pod)
{
	const uint64_t wanted = JSON_KEY("name") | JSON_KEY("generateName") | JSON_KEY("namespace") | JSON_KEY("labels") |
							JSON_KEY("annotations") | JSON_KEY("ownerReferences");
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, wanted, &key)) {
		if (str_is(key, "name")) {
			pod->name = json_read_string(r);
		} else if (str_is(key, "generateName")) {
			pod->generate_name = json_read_string(r);
		} else if (str_is(key, "namespace")) {
			pod->ns = json_read_string(r);
		} else if (str_is(key, "labels")) {
			read_key_values(r, &pod->labels);
		} else if (str_is(key, "annotations")) {
			read_key_values(r, &pod->annotations);
		} else if (str_is(key, "ownerReferences")) {
			if (json_enter_array(r))
				while (json_next_item(r))
					PUSH(r, pod->owners, pod->nowners, read_owner(r));
		} else {
			(void)json_skip(r);
		}
	}
}

static struct amounts read_amounts(struct json_read *r)
{
	struct str key;
	struct amounts a = {.present = json_enter_object(r)};
	while (a.present && json_next_of(r, JSON_KEY("memory") | JSON_KEY("cpu"), &key)) {
		if (str_is(key, "memory"))
			a.memory = json_read_scalar_text(r);
		else if (str_is(key, "cpu"))
			a.cpu = json_read_scalar_text(r);
		else
			(void)json_skip(r);
	}
	return a;
}

static struct resources read_resources(struct json_read *r)
{
	struct str key;
	struct resources res = {.present = json_enter_object(r)};
	while (res.present && json_next_of(r, JSON_KEY("requests") | JSON_KEY("limits"), &key)) {
		if (str_is(key, "requests"))
			res.requests = read_amounts(r);
		else if (str_is(key, "limits"))
			res.limits = read_amounts(r);
		else
			(void)json_skip(r);
	}
	return res;
}

static void read_mount(struct json_read *r, struct container *c)
{
	struct str key;
	struct str path = {0};
	bool sub = false;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, JSON_KEY("mountPath") | JSON_KEY("subPath") | JSON_KEY("subPathExpr"), &key)) {
		if (str_is(key, "mountPath"))
			path = json_read_string(r);
		else if (str_is(key, "subPath") || str_is(key, "subPathExpr"))
			sub |= json_read_string(r).n > 0;
		else
			(void)json_skip(r);
	}
	if (sub && c->sub_path_mount.p == NULL)
		c->sub_path_mount = path.p != NULL ? path : STR("");
}

// A probe, or one of a lifecycle's hooks: does it exec?
static bool read_hook(struct json_read *r)
{
	struct str key;
	bool exec = false;
	if (!json_enter_object(r))
		return false;
	while (json_next_of(r, JSON_KEY("exec"), &key))
		if (str_is(key, "exec"))
			exec |= !str_is(json_skip(r), "null");
		else
			(void)json_skip(r);
	return exec;
}

static bool read_lifecycle(struct json_read *r)
{
	struct str key;
	bool exec = false;
	if (!json_enter_object(r))
		return false;
	while (json_next_of(r, JSON_KEY("postStart") | JSON_KEY("preStop"), &key))
		if (str_is(key, "postStart") || str_is(key, "preStop"))
			exec |= read_hook(r);
		else
			(void)json_skip(r); // stopSignal is a string
	return exec;
}

static struct container read_container(struct json_read *r)
{
	struct container c = {0};
	const uint64_t wanted = JSON_KEY("name") | JSON_KEY("image") | JSON_KEY("restartPolicy") | JSON_KEY("resources") |
							JSON_KEY("volumeMounts") | JSON_KEY("volumeDevices") | JSON_KEY("livenessProbe") |
							JSON_KEY("readinessProbe") | JSON_KEY("startupProbe") | JSON_KEY("lifecycle");
	struct str key;
	if (!json_enter_object(r))
		return c;
	while (json_next_of(r, wanted, &key)) {
		if (str_is(key, "name")) {
			c.name = json_read_string(r);
		} else if (str_is(key, "image")) {
			c.image = json_read_string(r);
		} else if (str_is(key, "restartPolicy")) {
			c.restart_policy = json_read_string(r);
		} else if (str_is(key, "resources")) {
			c.resources = read_resources(r);
		} else if (str_is(key, "volumeMounts")) {
			if (json_enter_array(r))
				while (json_next_item(r))
					read_mount(r, &c);
		} else if (str_is(key, "volumeDevices")) {
			if (json_enter_array(r))
				while (json_next_item(r))
					PUSH(r, c.devices, c.ndevices, json_read_member(r, "name"));
		} else if (str_is(key, "livenessProbe") || str_is(key, "readinessProbe") || str_is(key, "startupProbe")) {
			c.exec_hook |= read_hook(r);
		} else if (str_is(key, "lifecycle")) {
			c.exec_hook |= read_lifecycle(r);
		} else {
			(void)json_skip(r);
		}
	}
	return c;
}

static void read_containers(struct json_read *r, struct containers *ret)
{
	if (json_enter_array(r))
		while (json_next_item(r))
			PUSH(r, ret->v, ret->n, read_container(r));
}

static void read_empty_dir(struct json_read *r, struct volume *v)
{
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, JSON_KEY("medium") | JSON_KEY("sizeLimit"), &key)) {
		if (str_is(key, "medium"))
			v->kind = str_is(json_read_string(r), "Memory") ? VOLUME_MEMORY : VOLUME_OTHER;
		else if (str_is(key, "sizeLimit"))
			v->size_limit = json_read_scalar_text(r);
		else
			(void)json_skip(r);
	}
}

static struct volume read_volume(struct json_read *r)
{
	struct volume v = {0};
	const uint64_t wanted = JSON_KEY("hostPath") | JSON_KEY("name") | JSON_KEY("emptyDir") |
							JSON_KEY("persistentVolumeClaim") | JSON_KEY("ephemeral");
	struct str key;
	if (!json_enter_object(r))
		return v;
	while (json_next_of(r, wanted, &key)) {
		bool host_path = str_is(key, "hostPath");
		if (str_is(key, "name")) {
			v.name = json_read_string(r);
		} else if (str_is(key, "emptyDir")) {
			read_empty_dir(r, &v);
		} else if (host_path || str_is(key, "persistentVolumeClaim") || str_is(key, "ephemeral")) {
			if (!str_is(json_skip(r), "null"))
				v.kind = host_path ? VOLUME_HOST_PATH : VOLUME_CLAIM;
		} else {
			(void)json_skip(r);
		}
	}
	return v;
}

static void read_spec(struct json_read *r, struct pod *pod)
{
	const uint64_t wanted = JSON_KEY("containers") | JSON_KEY("initContainers") | JSON_KEY("ephemeralContainers") |
							JSON_KEY("volumes") | JSON_KEY("runtimeClassName") | JSON_KEY("hostNetwork") |
							JSON_KEY("hostPID") | JSON_KEY("hostIPC") | JSON_KEY("os") | JSON_KEY("resources");
	struct str key;
	pod->has_spec = json_enter_object(r);
	while (pod->has_spec && json_next_of(r, wanted, &key)) {
		if (str_is(key, "containers")) {
			read_containers(r, &pod->containers);
		} else if (str_is(key, "initContainers")) {
			read_containers(r, &pod->init_containers);
		} else if (str_is(key, "ephemeralContainers")) {
			read_containers(r, &pod->ephemeral_containers);
		} else if (str_is(key, "volumes")) {
			if (json_enter_array(r))
				while (json_next_item(r))
					PUSH(r, pod->volumes, pod->nvolumes, read_volume(r));
		} else if (str_is(key, "runtimeClassName")) {
			pod->runtime_class = json_read_string(r);
		} else if (str_is(key, "hostNetwork")) {
			pod->host_network = json_read_bool(r);
		} else if (str_is(key, "hostPID")) {
			pod->host_pid = json_read_bool(r);
		} else if (str_is(key, "hostIPC")) {
			pod->host_ipc = json_read_bool(r);
		} else if (str_is(key, "os")) {
			pod->os = json_read_member(r, "name");
		} else if (str_is(key, "resources")) {
			pod->resources = read_resources(r);
		} else {
			(void)json_skip(r);
		}
	}
}

void pod_read(struct json_read *r, struct pod *ret)
{
	*ret = (struct pod){0};
	struct str key;
	if (!json_enter_object(r))
		return;
	while (json_next_of(r, JSON_KEY("metadata") | JSON_KEY("spec"), &key)) {
		if (str_is(key, "metadata"))
			read_metadata(r, ret);
		else if (str_is(key, "spec"))
			read_spec(r, ret);
		else
			(void)json_skip(r);
	}
}

struct str pod_display_name(const struct pod *pod)
{
	if (pod->name.n > 0)
		return pod->name;
	return pod->generate_name.n > 0 ? pod->generate_name : STR("(unnamed)");
}
