#include "webhook/mutate.h"
#include "webhook/decision.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/encode.h"
#include "common/json_write.h"
#include "common/names.h"
#include "common/quantity.h"
#include "common/version.h"

// Two names of up to 253 characters, a digest, and what is around them, escaped.
#define INJECTED_MAX 2048
#define EDIT_MOSTLY 128 // what an edit has beside its value; more is fine

struct work {
	const struct review *review;
	const struct pod *pod;
	const struct profile *profile;
	struct arena *arena;
	struct explain *explain;
	struct decision *out;
	size_t unsaid; // warnings beyond the limit
};

static bool deny(struct work *w, const char *rule, const char *cause, int code, const char *message)
{
	explain_note(w->explain, rule, "denied", "%s", message);
	decision_deny(w->out, cause, code, message);
	return false;
}

static void warn(struct work *w, const char *rule, const char *text)
{
	explain_note(w->explain, rule, "warning", "%s", text);
	if (w->out->nwarnings < WARNINGS_LIMIT - 1)
		w->out->warnings[w->out->nwarnings++] = text;
	else
		w->unsaid++;
}

// A rule that the profile makes strict, lax or void. false: denied.
static bool object_to(struct work *w, int strictness, const char *rule, const char *cause, const char *text)
{
	if (strictness == STRICT_DENY)
		return deny(w, rule, cause, 403, text);
	if (strictness == STRICT_WARN)
		warn(w, rule, text);
	return true;
}

// ---- What a confidential guest can't be, or shouldn't

static bool allowed_class(const struct profile *p, struct str name)
{
	if (str_is(name, p->spec.runtime_class))
		return true;
	const json_t *list = p->spec.allowed_runtime_classes;
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_is(name, json_string_value(json_array_get(list, i))))
			return true;
	return false;
}

static bool check_runtime_class(struct work *w)
{
	struct str name = w->pod->runtime_class;
	if (name.p == NULL || allowed_class(w->profile, name))
		return true;
	return deny(
		w, "runtime class", "RuntimeClassConflict", 403,
		arena_printf(
			w->arena,
			"spec.runtimeClassName is \"%.*s\", which is not confidential for profile \"%s\"; remove it from the "
			"podTemplate (the profile sets \"%s\"), or add it to spec.allowedRuntimeClasses of the profile",
			STR_ARG(name), w->profile->name, w->profile->spec.runtime_class));
}

// Set by a kubelet on the object that shows a static pod; that pod runs as its file says, whatever the object becomes.
#define ANNOTATION_MIRROR "kubernetes.io/config.mirror"

static bool check_host(struct work *w)
{
	if (key_values_get(&w->pod->annotations, ANNOTATION_MIRROR).p != NULL)
		return deny(w, "static pod", "StaticPod", 403,
					"the pod shows a static pod (annotation " ANNOTATION_MIRROR "), which the kubelet runs as its file "
					"on the node says, unprotected: remove the label " LABEL_CONFIDENTIAL " from the file, or create "
					"the pod through the API server");
	if (w->pod->host_network)
		return deny(
			w, "host namespaces", "HostNetwork", 403,
			"spec.hostNetwork is true; a confidential guest has a network of its own and does not start with the "
			"host's: remove hostNetwork");
	if (str_is(w->pod->os, "windows"))
		return deny(w, "operating system", "WindowsPod", 403,
					"spec.os.name is \"windows\"; confidential guests run Linux: remove the label " LABEL_CONFIDENTIAL);
	if (w->pod->host_pid || w->pod->host_ipc)
		warn(w, "host namespaces",
			 "spec.hostPID and spec.hostIPC have no effect in a confidential guest: it sees only its own processes");
	return true;
}

// More of a kind than any real pod has, and few enough for rules that look at pairs: a webhook that a stranger's pod can
// keep busy for seconds stops everyone's.
#define PARTS_MAX 1000

static size_t count_devices(const struct containers *list)
{
	size_t n = 0;
	for (size_t i = 0; i < list->n; i++)
		n += list->v[i].ndevices;
	return n;
}

static bool check_counts(struct work *w)
{
	const struct pod *p = w->pod;
	if (p->containers.n + p->init_containers.n <= PARTS_MAX && p->nvolumes <= PARTS_MAX &&
		count_devices(&p->containers) + count_devices(&p->init_containers) <= PARTS_MAX)
		return true;
	return deny(w, "size of the pod", "TooManyParts", 403,
				"the pod has more than 1000 containers, volumes or block devices; split the Task");
}

static bool is_device_of(const struct containers *list, struct str volume)
{
	for (size_t i = 0; i < list->n; i++)
		for (size_t k = 0; k < list->v[i].ndevices; k++)
			if (str_eq(list->v[i].devices[k], volume))
				return true;
	return false;
}

// A claim is a raw block device or a filesystem, never both; Kata passes devices on.
static bool is_device(const struct pod *pod, struct str volume)
{
	return is_device_of(&pod->containers, volume) || is_device_of(&pod->init_containers, volume);
}

static bool check_volumes(struct work *w)
{
	for (size_t i = 0; i < w->pod->nvolumes; i++) {
		const struct volume *v = &w->pod->volumes[i];
		if (v->kind == VOLUME_HOST_PATH &&
			!object_to(w, w->profile->spec.admission.host_path, "hostPath volumes", "HostPath",
					   arena_printf(
						   w->arena,
						   "spec.volumes[%zu] (%.*s) is a hostPath: the guest gets a copy from the untrusted host, and "
						   "nothing is written back; use an emptyDir",
						   i, STR_ARG(v->name))))
			return false;
		if (v->kind == VOLUME_CLAIM && !is_device(w->pod, v->name))
			warn(w, "persistent volumes",
				 arena_printf(
					 w->arena,
					 "spec.volumes[%zu] (%.*s): a filesystem volume is copied into the guest once and never written "
					 "back; hand results on by results or a registry",
					 i, STR_ARG(v->name)));
	}
	return true;
}

static bool is_hex(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr("0123456789abcdef", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return true;
}

// NAME@sha256:HEX or NAME@sha512:HEX, whole.
static bool has_digest(struct str image)
{
	const char *at = image.n > 0 ? memrchr(image.p, '@', image.n) : NULL;
	if (at == NULL)
		return false;
	struct str digest = {at + 1, image.n - (size_t)(at + 1 - image.p)};
	size_t hex = str_has_prefix(digest, "sha256:") ? 64 : str_has_prefix(digest, "sha512:") ? 128 : 0;
	return hex > 0 && digest.n == 7 + hex && is_hex((struct str){digest.p + 7, hex});
}

static bool check_container(struct work *w, const struct container *c)
{
	const struct admission_policy *a = &w->profile->spec.admission;
	if (c->sub_path_mount.p != NULL &&
		!object_to(
			w, a->sub_path, "subPath mounts", "SubPath",
			arena_printf(w->arena,
						 "container \"%.*s\" mounts %.*s by subPath, which Kata guests don't support; mount the whole "
						 "volume",
						 STR_ARG(c->name), STR_ARG(c->sub_path_mount))))
		return false;
	if (a->require_image_digest != STRICT_OFF && !has_digest(c->image) &&
		!object_to(w, a->require_image_digest, "image digests", "ImageWithoutDigest",
				   arena_printf(w->arena,
								"container \"%.*s\" names image \"%.*s\" without a digest; write IMAGE@sha256:...",
								STR_ARG(c->name), STR_ARG(c->image))))
		return false;
	if (c->exec_hook && !w->profile->allows_exec)
		warn(w, "exec probes",
			 arena_printf(
				 w->arena,
				 "container \"%.*s\" has an exec probe or hook, which the profile's agent policy refuses, so it will "
				 "fail; use httpGet or tcpSocket",
				 STR_ARG(c->name)));
	return true;
}

static bool check_containers(struct work *w)
{
	const struct containers *lists[] = {&w->pod->init_containers, &w->pod->containers};
	for (size_t l = 0; l < 2; l++)
		for (size_t i = 0; i < lists[l]->n; i++)
			if (!check_container(w, &lists[l]->v[i]))
				return false;
	return true;
}

// The pod carries the very initdata that we would give it: a second call, after our own patch. A size beside it is
// ours to set then. The annotation `injected` proves nothing, since anyone can write it.
static bool carries_our_initdata(const struct work *w)
{
	struct str ours = {w->profile->annotation, w->profile->annotation_n};
	return str_eq(key_values_get(&w->pod->annotations, KATA_INITDATA), ours);
}

// What the note on the pod says its initdata's digest is; p NULL where it says nothing.
static struct str noted_digest(const struct work *w)
{
	struct str note = key_values_get(&w->pod->annotations, ANNOTATION_INJECTED);
	if (note.p == NULL)
		return note;
	struct json_read r __attribute__((uninitialized)); // 9 KiB, of which json_read_init() sets what counts
	struct error err __attribute__((uninitialized));
	json_read_init(&r, note, w->arena, &err);
	struct str digest = json_read_member(&r, "initdata");
	return json_read_end(&r) == 0 ? digest : (struct str){0};
}

// By its own word the pod has been here, and got the initdata of another generation: the profile was edited between two
// calls for one creation, or two replicas don't know the same yet. Its word proves nothing, so it is denied like one that
// brings foreign initdata; but whoever created it should try again, with what is in force by then.
static bool check_edited_meanwhile(struct work *w, bool ours)
{
	struct str noted = noted_digest(w);
	if (ours || noted.n == 0 || str_is(noted, w->profile->digest) ||
		w->profile->spec.admission.foreign_annotations != STRICT_DENY ||
		key_values_get(&w->pod->annotations, KATA_INITDATA).p == NULL)
		return true;
	return deny(w, "annotations of Kata", "ProfileEdited", 503,
				arena_printf(w->arena,
							 "the pod has initdata %.*s, but ConfidentialProfile \"%s\" makes %s now: it was edited "
							 "while the pod was created; try again (or remove annotation " KATA_INITDATA
							 " where the pod's template brings it)",
							 STR_ARG(noted), w->profile->name, w->profile->digest));
}

static bool is_ours_to_set(struct str key)
{
	return str_is(key, KATA_INITDATA) || str_is(key, KATA_MEMORY);
}

static bool check_annotations(struct work *w, bool ours)
{
	const struct key_values *a = &w->pod->annotations;
	for (size_t i = 0; i < a->n; i++) {
		struct str key = a->v[i].key;
		bool vcpus = str_is(key, KATA_VCPUS) && w->profile->spec.cpu.mode != CPU_OFF;
		if (!str_has_prefix(key, KATA_PREFIX) || (ours && (is_ours_to_set(key) || vcpus)))
			continue;
		const char *what = is_ours_to_set(key) || vcpus ? "the profile decides about it"
														: "it changes how the confidential guest is made";
		if (!object_to(w, w->profile->spec.admission.foreign_annotations, "annotations of Kata", "ForeignAnnotation",
					   arena_printf(w->arena,
									"annotation %.*s is set on the pod, but %s; remove it (Tekton copies it from the "
									"TaskRun, PipelineRun, Task or Pipeline)%s",
									STR_ARG(key), what,
									str_is(key, KATA_MEMORY) ? ", and set " ANNOTATION_MEMORY " instead" : "")))
			return false;
	}
	return true;
}

// ---- Edits

// Nothing that we write needs an escape in JSON: base64, numbers, names of Kubernetes objects.
static struct str quoted(struct arena *arena, struct str s)
{
	return ARENA_JOIN(arena, STR("\""), s, STR("\""));
}

static void add_edit(struct work *w, bool exists, const char *path, struct str value)
{
	struct decision *d = w->out;
	d->edits[d->nedits++] = (struct edit){exists ? "replace" : "add", path, value, {0}};
}

// Where an annotation of Kata's is: its key needs no escape in a JSON Pointer.
#define ANNOTATIONS_PATH "/metadata/annotations"
#define KATA_PATH(key) ANNOTATIONS_PATH "/" key
// '/' in a key is "~1" (RFC 6901).
#define INJECTED_PATH ANNOTATIONS_PATH "/" NAME_GROUP "~1injected"
static_assert(sizeof(INJECTED_PATH) == sizeof(ANNOTATIONS_PATH "/" ANNOTATION_INJECTED) + 1, "another name");

// json: the value as it stands in the patch, escaped. Returns whether the pod had another value, or none.
static bool set_annotation_json(struct work *w, const char *key, const char *path, struct str value, struct str json)
{
	struct str now = key_values_get(&w->pod->annotations, key);
	if (str_eq(now, value))
		return false;
	bool exists = false;
	for (size_t i = 0; i < w->pod->annotations.n; i++)
		exists |= str_is(w->pod->annotations.v[i].key, key);
	add_edit(w, exists, path, json);
	return true;
}

static bool set_annotation(struct work *w, const char *key, const char *path, struct str value)
{
	return set_annotation_json(w, key, path, value, quoted(w->arena, value));
}

static struct str number_text(struct arena *arena, int64_t n)
{
	char room[INT_TEXT_MAX];
	return ARENA_JOIN(arena, int_text(n, room));
}

static struct str resources_path(struct arena *arena, const struct sizing_target *t)
{
	char room[INT_TEXT_MAX];
	struct str index = int_text((int64_t)t->index, room);
	switch (t->place) {
	case PLACE_CONTAINER:
		return ARENA_JOIN(arena, STR("/spec/containers/"), index, STR("/resources"));
	case PLACE_INIT_CONTAINER:
		return ARENA_JOIN(arena, STR("/spec/initContainers/"), index, STR("/resources"));
	case PLACE_POD:
		break;
	}
	return STR("/spec/resources");
}

static const struct resources *target_resources(const struct pod *pod, const struct sizing_target *t)
{
	switch (t->place) {
	case PLACE_CONTAINER:
		return &pod->containers.v[t->index].resources;
	case PLACE_INIT_CONTAINER:
		return &pod->init_containers.v[t->index].resources;
	case PLACE_POD:
		break;
	}
	return &pod->resources;
}

static struct str quantity_json(struct arena *arena, int64_t bytes)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(64);
	quantity_write(bytes, &text);
	return quoted(arena, buf_str(&text));
}

// One of requests and limits of one container; bytes < 0 leaves it.
static void set_amount(struct work *w, struct str base, struct str which, const struct amounts *now, int64_t bytes)
{
	struct error err;
	int64_t value = 0;
	if (bytes < 0)
		return;
	bool set = now->memory.p != NULL;
	if (set && quantity_parse(now->memory, &value, &err) == 0 && value == bytes)
		return;
	struct str text = quantity_json(w->arena, bytes);
	if (now->present)
		add_edit(w, set, ARENA_JOIN(w->arena, base, which, STR("/memory")).p, text);
	else
		add_edit(w, false, ARENA_JOIN(w->arena, base, which).p,
				 ARENA_JOIN(w->arena, STR("{\"memory\":"), text, STR("}")));
}

static void set_resources(struct work *w, const struct sizing_target *t)
{
	const struct resources *now = target_resources(w->pod, t);
	struct str path = resources_path(w->arena, t);
	if (!now->present)
		add_edit(w, false, path.p, STR("{}"));
	set_amount(w, path, STR("/requests"), &now->requests, t->request);
	set_amount(w, path, STR("/limits"), &now->limits, t->limit);
}

static void set_injected(struct work *w)
{
	const struct profile *p = w->profile;
	char generation[INT_TEXT_MAX];
	char vm[INT_TEXT_MAX];
	struct str text = ARENA_JOIN(w->arena, STR("{\"profile\":\""), str_from(p->ns), STR("/"), str_from(p->name),
								 STR("\",\"generation\":"), int_text(p->generation, generation),
								 STR(",\"initdata\":\""), str_from(p->digest), STR("\",\"vmMiB\":"),
								 int_text(w->out->sizing.vm_mib, vm), STR(",\"version\":\"" COCO_VERSION "\"}"));
	CLEANUP_BUF
	struct buf json = BUF_INIT(INJECTED_MAX);
	json_write_string(&json, text);
	(void)set_annotation_json(w, ANNOTATION_INJECTED, INJECTED_PATH, text, ARENA_JOIN(w->arena, buf_str(&json)));
}

static void set_initdata(struct work *w)
{
	const struct profile *p = w->profile;
	struct str value = {p->annotation, p->annotation_n};
	struct str json = {p->annotation_json, p->annotation_json_n};
	if (!set_annotation_json(w, KATA_INITDATA, KATA_PATH(KATA_INITDATA), value, json))
		return;
	w->out->edits[w->out->nedits - 1].ready = (struct str){p->annotation_json64, p->annotation_json64_n};
	w->out->protection_changed = true;
}

static void make_edits(struct work *w)
{
	const struct sizing *s = &w->out->sizing;
	// Four annotations and their map, the runtime class, and three edits for each target.
	w->out->edits = arena_alloc(w->arena, 6 + 3 * s->ntargets, sizeof(*w->out->edits));
	if (w->pod->runtime_class.p == NULL) {
		add_edit(w, false, "/spec/runtimeClassName", quoted(w->arena, str_from(w->profile->spec.runtime_class)));
		w->out->protection_changed = true;
	}
	if (!w->pod->annotations.present)
		add_edit(w, false, ANNOTATIONS_PATH, STR("{}"));
	set_initdata(w);
	(void)set_annotation(w, KATA_MEMORY, KATA_PATH(KATA_MEMORY), number_text(w->arena, s->annotation_mib));
	if (s->vcpus > 0)
		(void)set_annotation(w, KATA_VCPUS, KATA_PATH(KATA_VCPUS), number_text(w->arena, s->vcpus));
	set_injected(w);
	for (size_t i = 0; i < s->ntargets; i++)
		set_resources(w, &s->targets[i]);
}

// ---- The decision

static int64_t decided_size(const struct work *w, bool ours)
{
	struct error err;
	int64_t mib = 0;
	struct str text = key_values_get(&w->pod->annotations, KATA_MEMORY);
	// As we write it: a plain number of MiB. Anything else is not a size that we decided, and is replaced.
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < '0' || text.p[i] > '9')
			return 0;
	if (!ours || text.n == 0 || quantity_parse(text, &mib, &err) < 0)
		return 0;
	return mib;
}

static bool size(struct work *w, bool ours)
{
	struct error err;
	const struct sizing_input in = {
		.memory = &w->profile->spec.memory,
		.cpu = &w->profile->spec.cpu,
		.pod = w->pod,
		.sequential = key_values_get(&w->pod->labels, LABEL_TASKRUN).p != NULL,
		.wanted = key_values_get(&w->pod->annotations, ANNOTATION_MEMORY),
		.image_size = key_values_get(&w->pod->annotations, ANNOTATION_IMAGE_SIZE),
		.decided_mib = decided_size(w, ours),
	};
	if (sizing_of(&in, w->arena, &w->out->sizing, &err) < 0)
		return deny(w, "memory", err.code == E2BIG ? "MemoryAboveMax" : "MemoryInvalid", 403,
					arena_printf(w->arena, "%s", err.msg));
	if (w->explain != NULL)
		explain_note(w->explain, "memory", "sized", "VM of %lld MiB: %s", (long long)w->out->sizing.vm_mib,
					 sizing_sum_text(&w->out->sizing.sum, w->arena));
	for (size_t i = 0; i < w->out->sizing.nwarnings; i++)
		warn(w, "memory", w->out->sizing.warnings[i]);
	return true;
}

static void make_confidential(struct work *w)
{
	const char *stale = w->out->entry->problem;
	if (stale != NULL)
		warn(w, "profile",
			 arena_printf(w->arena, "profile \"%s\" is used as it was before: its newest version is not valid: %s",
						  w->profile->name, stale));
	if (w->profile->caution != NULL)
		warn(w, "profile", arena_printf(w->arena, "profile \"%s\": %s", w->profile->name, w->profile->caution));
	if (w->pod->containers.n == 0) {
		(void)deny(w, "containers", "NoContainers", 400,
				   "spec.containers is empty; a pod needs at least one container");
		return;
	}
	bool ours = carries_our_initdata(w);
	if (!check_counts(w) || !check_runtime_class(w) || !check_host(w) || !check_edited_meanwhile(w, ours) ||
		!check_annotations(w, ours) || !check_volumes(w) || !check_containers(w) || !size(w, ours))
		return;
	make_edits(w);
	if (w->unsaid > 0)
		w->out->warnings[w->out->nwarnings++] = arena_printf(w->arena, "and %zu more", w->unsaid);
	w->out->cause = w->out->nedits > 0 ? "Mutated" : "AlreadyConfidential";
	explain_note(
		w->explain, "result", "confidential", "runtime class %.*s, VM of %lld MiB, initdata %s; %zu changes",
		STR_ARG(w->pod->runtime_class.p != NULL ? w->pod->runtime_class : str_from(w->profile->spec.runtime_class)),
		(long long)w->out->sizing.vm_mib, w->profile->digest, w->out->nedits);
}

void decide(const struct catalog *catalog, const struct review *review, struct arena *arena, struct explain *explain,
			struct decision *ret)
{
	*ret = (struct decision){.cause = ""};
	struct work w = {.review = review, .pod = &review->object, .arena = arena, .explain = explain, .out = ret};
	struct str ns = review_namespace(review);
	decide_selection(catalog, review, w.pod, arena, explain, ret);
	if (ret->verdict != VERDICT_CONFIDENTIAL)
		return;
	w.profile = decide_profile(catalog, w.pod, ns, arena, explain, ret);
	if (w.profile != NULL)
		make_confidential(&w);
}

// All of an edit before its value.
static void write_edit_head(const struct edit *e, bool first, struct buf *out)
{
	buf_addz(out, first ? "[{\"op\":\"" : ",{\"op\":\"");
	buf_addz(out, e->op);
	buf_addz(out, "\",\"path\":\"");
	buf_addz(out, e->path);
	buf_addz(out, "\",\"value\":");
}

void decision_patch(const struct decision *d, struct buf *out)
{
	for (size_t i = 0; i < d->nedits; i++) {
		write_edit_head(&d->edits[i], i == 0, out);
		buf_add_str(out, d->edits[i].value);
		buf_addc(out, '}');
	}
	buf_addz(out, d->nedits > 0 ? "]" : "[]");
}

void decision_patch_base64(const struct decision *d, struct buf *out)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(out->max); // what isn't in base64 yet
	buf_expect(&text, d->nedits * EDIT_MOSTLY);
	for (size_t i = 0; i < d->nedits; i++) {
		const struct edit *e = &d->edits[i];
		write_edit_head(e, i == 0, &text);
		if (e->ready.p != NULL) {
			// Base64 of two pieces is that of both where the first is a multiple of three bytes.
			buf_add(&text, "  ", (3 - text.n % 3) % 3);
			base64_encode(buf_str(&text), out);
			buf_add_str(out, e->ready);
			buf_clear(&text);
		} else {
			buf_add_str(&text, e->value);
		}
		buf_addc(&text, '}');
	}
	buf_addz(&text, d->nedits > 0 ? "]" : "[]");
	base64_encode(buf_str(&text), out);
	out->overflowed |= !buf_ok(&text);
}
