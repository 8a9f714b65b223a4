#include "webhook/sizing.h"

#include <errno.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/names.h"
#include "common/quantity.h"

#define PLACE_TEXT_MAX 64

// One resource of one container. A limit of 0 is Kubernetes' way to say "none", and can't be exceeded by a request.
struct need {
	int64_t request, limit;
	bool has_request, has_limit;
};

struct needs {
	struct need *containers;
	struct need *inits;
	struct need pod;
	const struct pod *p;
	const char *resource; // "memory" or "cpu"
};

// Whose resources, in words: "spec.containers[2]". Only made for messages.
struct place {
	const char *list; // NULL: the pod itself
	size_t index;
};

static const char *place_text(const struct place *at, char out[PLACE_TEXT_MAX])
{
	if (at->list == NULL)
		return "spec";
	(void)snprintf(out, PLACE_TEXT_MAX, "spec.%s[%zu]", at->list, at->index);
	return out;
}

static int parse_amount(const struct needs *n, struct str text, const char *what, const struct place *at, int64_t *ret,
						bool *has, struct error *err)
{
	char place[PLACE_TEXT_MAX];
	*has = text.p != NULL;
	if (!*has)
		return 0;
	int rc = n->resource[0] == 'm' ? quantity_parse(text, ret, err) : quantity_parse_milli(text, ret, err);
	if (rc < 0)
		return error_prefix(err, "%s.resources.%s.%s", place_text(at, place), what, n->resource);
	if (*ret < 0)
		return error_set(err, EINVAL, "%s.resources.%s.%s is \"%.*s\"; it can't be negative", place_text(at, place),
						 what, n->resource, STR_ARG(text));
	return 0;
}

static int parse_need(const struct needs *n, const struct resources *r, const struct place *at, struct need *ret,
					  struct error *err)
{
	bool memory = n->resource[0] == 'm';
	struct str request = memory ? r->requests.memory : r->requests.cpu;
	struct str limit = memory ? r->limits.memory : r->limits.cpu;
	int rc = parse_amount(n, request, "requests", at, &ret->request, &ret->has_request, err);
	if (rc == 0)
		rc = parse_amount(n, limit, "limits", at, &ret->limit, &ret->has_limit, err);
	// The API server's own default.
	if (rc == 0 && ret->has_limit && !ret->has_request)
		ret->request = ret->limit;
	return rc;
}

static int parse_list(const struct needs *n, const struct containers *list, const char *field, struct need *ret,
					  struct error *err)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct resources *r = &list->v[i].resources;
		int rc = r->present ? parse_need(n, r, &(struct place){field, i}, &ret[i], err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int parse_needs(const struct pod *pod, const char *resource, struct arena *arena, struct needs *ret,
					   struct error *err)
{
	*ret = (struct needs){.p = pod, .resource = resource};
	ret->containers = arena_alloc(arena, pod->containers.n, sizeof(struct need));
	ret->inits = arena_alloc(arena, pod->init_containers.n, sizeof(struct need));
	int rc = parse_list(ret, &pod->containers, "containers", ret->containers, err);
	if (rc == 0)
		rc = parse_list(ret, &pod->init_containers, "initContainers", ret->inits, err);
	if (rc == 0 && pod->resources.present)
		rc = parse_need(ret, &pod->resources, &(struct place){0}, &ret->pod, err);
	return rc;
}

static int64_t at_most(const struct need *n)
{
	return n->limit > n->request ? n->limit : n->request;
}

static int64_t request_of(const struct need *n)
{
	return n->request;
}

static int64_t limit_of(const struct need *n)
{
	return n->limit;
}

typedef int64_t (*amount_fn)(const struct need *n);

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool is_native_sidecar(const struct container *c)
{
	return str_is(c->restart_policy, "Always");
}

static int64_t native_sidecars_before(const struct needs *n, amount_fn amount, size_t end)
{
	int64_t sum = 0;
	for (size_t i = 0; i < end; i++)
		if (is_native_sidecar(&n->p->init_containers.v[i]))
			sum = quantity_add(sum, amount(&n->inits[i]));
	return sum;
}

// The most that is in use while init containers run: each alone, beside the native sidecars started before it.
static int64_t init_peak(const struct needs *n, amount_fn amount)
{
	int64_t peak = 0;
	int64_t sidecars = 0;
	for (size_t i = 0; i < n->p->init_containers.n; i++) {
		int64_t now = quantity_add(sidecars, amount(&n->inits[i]));
		peak = larger(peak, now);
		if (is_native_sidecar(&n->p->init_containers.v[i]))
			sidecars = now;
	}
	return peak;
}

// All containers and native sidecars together, but for one container (SIZE_MAX: none is left out).
static int64_t running_sum(const struct needs *n, amount_fn amount, size_t but)
{
	int64_t sum = native_sidecars_before(n, amount, n->p->init_containers.n);
	for (size_t i = 0; i < n->p->containers.n; i++)
		if (i != but)
			sum = quantity_add(sum, amount(&n->containers[i]));
	return sum;
}

// Kubernetes' rule for a pod (k8s.io/component-helpers resource.PodRequests and PodLimits), without pod-level values.
static int64_t effective(const struct needs *n, amount_fn amount)
{
	return larger(running_sum(n, amount, SIZE_MAX), init_peak(n, amount));
}

static int64_t pod_request(const struct needs *n)
{
	return n->pod.has_request || n->pod.has_limit ? n->pod.request : effective(n, request_of);
}

static int64_t pod_limit(const struct needs *n)
{
	return n->pod.has_limit ? n->pod.limit : effective(n, limit_of);
}

// The peak of use: steps follow each other, so that only the largest counts.
static int64_t workload_peak(const struct needs *n, bool sequential)
{
	int64_t steps = 0;
	int64_t beside = native_sidecars_before(n, at_most, n->p->init_containers.n);
	for (size_t i = 0; i < n->p->containers.n; i++) {
		int64_t v = at_most(&n->containers[i]);
		if (sequential && str_has_prefix(n->p->containers.v[i].name, STEP_PREFIX))
			steps = larger(steps, v);
		else
			beside = quantity_add(beside, v);
	}
	int64_t peak = larger(quantity_add(steps, beside), init_peak(n, at_most));
	return larger(peak, at_most(&n->pod));
}

static bool any_limit(const struct needs *n)
{
	bool any = n->pod.limit > 0;
	for (size_t i = 0; i < n->p->containers.n; i++)
		any |= n->containers[i].limit > 0;
	for (size_t i = 0; i < n->p->init_containers.n; i++)
		any |= n->inits[i].limit > 0;
	return any;
}

static int memory_volumes(const struct pod *pod, int64_t *ret, struct error *err)
{
	*ret = 0;
	for (size_t i = 0; i < pod->nvolumes; i++) {
		const struct volume *v = &pod->volumes[i];
		int64_t size = 0;
		if (v->kind != VOLUME_MEMORY || v->size_limit.p == NULL)
			continue;
		if (quantity_parse(v->size_limit, &size, err) < 0)
			return error_prefix(err, "spec.volumes[%zu].emptyDir.sizeLimit", i);
		*ret = quantity_add(*ret, larger(size, 0));
	}
	return 0;
}

static int parse_annotation(struct str text, const char *name, int64_t *ret, struct error *err)
{
	if (quantity_parse(text, ret, err) < 0)
		return error_prefix(err, "annotation %s", name);
	if (*ret <= 0)
		return error_set(err, EINVAL, "annotation %s is \"%.*s\"; it must be above zero, such as 4Gi", name,
						 STR_ARG(text));
	return 0;
}

static int64_t mib_to_bytes(int64_t mib)
{
	return mib > INT64_MAX / MIB ? INT64_MAX : mib * MIB;
}

static const char *show(struct arena *arena, int64_t bytes)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(64);
	// Whole MiB read better than an odd number of bytes.
	quantity_write(bytes % MIB == 0 || bytes < MIB ? bytes : quantity_round_up(bytes, MIB), &text);
	return ARENA_JOIN(arena, buf_str(&text)).p;
}

static const char *formula_text(const struct sizing_sum *s, struct arena *arena)
{
	const char *images = show(arena, s->images);
	return arena_printf(arena, "max(2 x images %s, images %s + workload %s + base %s)", images, images,
						show(arena, s->workload), show(arena, s->base));
}

const char *sizing_sum_text(const struct sizing_sum *sum, struct arena *arena)
{
	static const char *const said[] = {
		[SUM_ASKED] = "annotation " ANNOTATION_MEMORY,
		[SUM_FIXED] = "the profile's memory.vm",
		[SUM_DECIDED] = "the size that the pod has already",
		[SUM_LIMITS] = "the containers' limits",
	};
	const char *text = sum->by == SUM_FORMULA ? formula_text(sum, arena)
											  : arena_printf(arena, "%s, %s", said[sum->by], show(arena, sum->size));
	if (sum->containers > 0)
		text = arena_printf(arena, "the containers' own requests and limits, %s, above %s",
							show(arena, sum->containers), text);
	return text;
}

int64_t sizing_runtime_vm_mib(enum memory_sizing runtime, int64_t annotation_mib, int64_t pod_limit_bytes, bool limited)
{
	switch (runtime) {
	case SIZING_CONTAINERD_GO:
		return quantity_add(annotation_mib, pod_limit_bytes / MIB);
	case SIZING_RUNTIME_RS:
		return limited ? quantity_add(RS_OVERHEAD_MIB, quantity_round_up(pod_limit_bytes, 2 * MIB) / MIB)
					   : annotation_mib;
	case SIZING_CRIO:
		break;
	}
	return annotation_mib;
}

struct work {
	const struct sizing_input *in;
	struct arena *arena;
	struct needs memory;
	struct needs cpu;
	bool limited; // a limit of CPU or memory is set somewhere
	int64_t vm;   // bytes
	struct sizing *out;
};

static void warn(struct work *w, const char *text)
{
	w->out->warnings[w->out->nwarnings++] = text;
}

// The least VM that leaves every request and limit of the containers as it is.
static int64_t own_sum(const struct work *w)
{
	int64_t requests = pod_request(&w->memory);
	// Our own top-up may have raised limits past the VM; that pod was sized already.
	if (w->in->decided_mib > 0)
		return requests;
	return larger(requests, larger(pod_limit(&w->memory), effective(&w->memory, limit_of)));
}

static bool accounts_by_pod(const struct work *w)
{
	return w->in->memory->accounting == ACCOUNTING_POD || w->memory.pod.has_request || w->memory.pod.has_limit;
}

// The container that takes the difference: the largest step, else the largest container. SIZE_MAX: there is none.
static size_t largest(const struct work *w, bool without_limit)
{
	const struct containers *list = &w->in->pod->containers;
	size_t best = SIZE_MAX;
	bool best_is_step = false;
	for (size_t i = 0; i < list->n; i++) {
		bool step = w->in->sequential && str_has_prefix(list->v[i].name, STEP_PREFIX);
		if (without_limit && w->memory.containers[i].has_limit)
			continue;
		if (best != SIZE_MAX &&
			(best_is_step > step ||
			 (best_is_step == step && at_most(&w->memory.containers[i]) <= at_most(&w->memory.containers[best]))))
			continue;
		best = i;
		best_is_step = step;
	}
	return best;
}

// The least sum of limits that runtime-rs may be given: it is to make the VM, and no limit may be below a request.
static int64_t limits_to_be(const struct work *w)
{
	int64_t limits = pod_limit(&w->memory);
	if (accounts_by_pod(w))
		return larger(larger(limits, effective(&w->memory, limit_of)), pod_request(&w->memory));
	size_t c = largest(w, false);
	return larger(limits, quantity_add(running_sum(&w->memory, limit_of, c), at_most(&w->memory.containers[c])));
}

static int64_t runtime_floor(const struct work *w)
{
	int64_t limits = pod_limit(&w->memory);
	if (w->in->memory->sizing == SIZING_CONTAINERD_GO && limits > 0)
		return quantity_add(limits, GO_MEMORY_MIN_MIB * MIB);
	if (w->in->memory->sizing == SIZING_RUNTIME_RS && w->limited)
		return quantity_add(quantity_round_up(limits_to_be(w), 2 * MIB), RS_OVERHEAD_MIB * MIB);
	return GO_MEMORY_MIN_MIB * MIB;
}

// What the formula asks for.
static int automatic(struct work *w, int64_t *ret, struct error *err)
{
	const struct memory_policy *m = w->in->memory;
	int64_t images = m->image_size;
	int64_t volumes = 0;
	if (w->in->image_size.p != NULL && parse_annotation(w->in->image_size, ANNOTATION_IMAGE_SIZE, &images, err) < 0)
		return -EINVAL;
	if (memory_volumes(w->in->pod, &volumes, err) < 0)
		return -EINVAL;
	int64_t peak = quantity_add(workload_peak(&w->memory, w->in->sequential), volumes);
	int64_t twice = quantity_twice(images);
	int64_t all = quantity_add(quantity_add(images, peak), m->base);
	w->out->sum = (struct sizing_sum){.by = SUM_FORMULA, .images = images, .workload = peak, .base = m->base};
	*ret = larger(twice, all);
	return 0;
}

static int from_limits(struct work *w, int64_t *ret, struct error *err)
{
	*ret = pod_limit(&w->memory);
	if (*ret == 0)
		return error_set(
			err, EINVAL,
			"the profile takes the VM's size from limits (memory.mode: FromLimits), but no container has a "
			"memory limit; set computeResources.limits.memory, or annotation " ANNOTATION_MEMORY);
	w->out->sum.by = SUM_LIMITS;
	return 0;
}

static int asked_size(struct work *w, int64_t *ret, struct error *err)
{
	const struct memory_policy *m = w->in->memory;
	if (parse_annotation(w->in->wanted, ANNOTATION_MEMORY, ret, err) < 0)
		return -EINVAL;
	if (*ret < m->min || *ret > m->max)
		return error_set(err, E2BIG,
						 "annotation %s is \"%.*s\", but the profile allows %s to %s; choose a size within that",
						 ANNOTATION_MEMORY, STR_ARG(w->in->wanted), show(w->arena, m->min), show(w->arena, m->max));
	w->out->sum.by = SUM_ASKED;
	return 0;
}

static int mode_size(struct work *w, int64_t *ret, struct error *err)
{
	const struct memory_policy *m = w->in->memory;
	if (w->in->wanted.p != NULL)
		return asked_size(w, ret, err);
	if (m->mode == MEMORY_FIXED) {
		*ret = m->vm;
		w->out->sum.by = SUM_FIXED;
		return 0;
	}
	if (w->in->decided_mib > 0) {
		*ret = mib_to_bytes(sizing_runtime_vm_mib((enum memory_sizing)m->sizing, w->in->decided_mib,
												  pod_limit(&w->memory), w->limited));
		w->out->sum.by = SUM_DECIDED;
		return 0;
	}
	return m->mode == MEMORY_FROM_LIMITS ? from_limits(w, ret, err) : automatic(w, ret, err);
}

static int decide_vm(struct work *w, struct error *err)
{
	const struct memory_policy *m = w->in->memory;
	int64_t size = 0;
	int rc = mode_size(w, &size, err);
	if (rc < 0)
		return rc;
	w->out->sum.size = size;
	// Sizes are compared as they will be: a first call may round up, and a second one must not find that strange.
	int64_t step = m->sizing == SIZING_RUNTIME_RS ? 2 * MIB : MIB;
	size = quantity_round_up(size, step);
	int64_t least = quantity_round_up(larger(own_sum(w), runtime_floor(w)), step);
	bool said = w->in->wanted.p != NULL || m->mode == MEMORY_FIXED;
	if (least > size && said)
		warn(w, arena_printf(w->arena,
							 "the VM gets %s instead of %s: the containers' own requests and limits add up to that",
							 show(w->arena, least), show(w->arena, size)));
	w->out->sum.containers = least > size ? least : 0;
	w->vm = larger(larger(size, least), quantity_round_up(m->min, step));
	if (w->vm > quantity_round_up(m->max, step))
		return error_set(
			err, E2BIG,
			"the pod needs a VM of %s, but the profile allows at most %s. The sum: %s. Lower computeResources, say "
			"how large the images are with annotation " ANNOTATION_IMAGE_SIZE
			", or raise spec.memory.max of the profile",
			show(w->arena, w->vm), show(w->arena, m->max), sizing_sum_text(&w->out->sum, w->arena));
	w->out->vm_mib = w->vm / MIB;
	return 0;
}

static void put(struct work *w, struct sizing_target t)
{
	w->out->targets[w->out->ntargets++] = t;
}

// Where limits hold requests below the VM: an init container without a limit can still say the rest, since a pod's
// effective request is the larger one of its init and its running phase.
static void account_rest(struct work *w, int64_t accounted)
{
	const struct pod *pod = w->in->pod;
	if (accounted >= w->vm)
		return;
	for (size_t i = 0; i < pod->init_containers.n; i++) {
		if (is_native_sidecar(&pod->init_containers.v[i]) || w->memory.inits[i].has_limit)
			continue;
		put(w, (struct sizing_target){PLACE_INIT_CONTAINER, i,
									  w->vm - native_sidecars_before(&w->memory, request_of, i), -1});
		return;
	}
	warn(w, arena_printf(
				w->arena,
				"memory limits keep the scheduler from accounting for %s of the VM; leave a container without a limit, "
				"best an init container",
				show(w->arena, w->vm - accounted)));
}

// All of the VM is requested by one container; limits follow where the runtime doesn't add them to the VM.
static void account_containers(struct work *w)
{
	const struct memory_policy *m = w->in->memory;
	bool adds_limits = m->sizing == SIZING_CONTAINERD_GO || (m->sizing == SIZING_RUNTIME_RS && !w->limited);
	size_t c = largest(w, adds_limits);
	if (c == SIZE_MAX)
		c = largest(w, false);
	const struct need *has = &w->memory.containers[c];
	int64_t request = w->vm - running_sum(&w->memory, request_of, c);
	int64_t limit = -1;
	if (m->sizing == SIZING_CRIO)
		limit = larger(larger(w->vm - running_sum(&w->memory, limit_of, c), request), has->limit);
	else if (m->sizing == SIZING_RUNTIME_RS && w->limited)
		limit = w->vm - RS_OVERHEAD_MIB * MIB - running_sum(&w->memory, limit_of, c);
	else if (has->has_limit)
		limit = has->limit;
	if (limit >= 0 && request > limit)
		request = limit;
	put(w, (struct sizing_target){PLACE_CONTAINER, c, request, limit});
	account_rest(w, quantity_add(request, running_sum(&w->memory, request_of, c)));
}

static void account_pod(struct work *w)
{
	const struct memory_policy *m = w->in->memory;
	struct sizing_target t = {PLACE_POD, 0, w->vm, -1};
	if (m->sizing == SIZING_CRIO)
		t.limit = w->vm;
	else if (m->sizing == SIZING_RUNTIME_RS && w->limited)
		t.limit = w->vm - RS_OVERHEAD_MIB * MIB;
	else if (w->memory.pod.has_limit)
		t.limit = w->memory.pod.limit;
	if (t.limit >= 0 && t.request > t.limit) {
		warn(w, arena_printf(w->arena, "limits keep the pod's request %s below the VM's size",
							 show(w->arena, t.request - t.limit)));
		t.request = t.limit;
	}
	put(w, t);
}

static bool is_target(const struct sizing *s, enum sizing_place place, size_t index)
{
	for (size_t i = 0; i < s->ntargets; i++)
		if (s->targets[i].place == place && s->targets[i].index == index)
			return true;
	return false;
}

static void fill_zeros(struct work *w, enum sizing_place place, const struct need *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!list[i].has_request && !list[i].has_limit && !is_target(w->out, place, i))
			put(w, (struct sizing_target){place, i, 0, 0});
}

// Limits as they will be: what the runtime sees.
static int64_t planned_limit(struct work *w)
{
	struct needs *n = &w->memory;
	for (size_t i = 0; i < w->out->ntargets; i++) {
		const struct sizing_target *t = &w->out->targets[i];
		struct need *to = t->place == PLACE_POD         ? &n->pod
						  : t->place == PLACE_CONTAINER ? &n->containers[t->index]
														: &n->inits[t->index];
		if (t->limit >= 0) {
			to->limit = t->limit;
			to->has_limit = true;
		}
	}
	return pod_limit(n);
}

static void size_vcpus(struct work *w)
{
	const struct cpu_policy *cpu = w->in->cpu;
	if (cpu->mode == CPU_OFF)
		return;
	int64_t milli = workload_peak(&w->cpu, w->in->sequential);
	int64_t n = cpu->mode == CPU_FIXED ? cpu->vcpus : larger(1, quantity_round_up(milli, 1000) / 1000);
	// Go adds the pod's CPU limit to default_vcpus.
	if (w->in->memory->sizing == SIZING_CONTAINERD_GO)
		n = larger(1, n - pod_limit(&w->cpu) / 1000);
	w->out->vcpus = n;
}

int sizing_of(const struct sizing_input *in, struct arena *arena, struct sizing *ret, struct error *err)
{
	struct work w = {.in = in, .arena = arena, .out = ret};
	const struct pod *pod = in->pod;
	*ret = (struct sizing){0};
	ret->targets = arena_alloc(arena, pod->containers.n + pod->init_containers.n + 1, sizeof(*ret->targets));
	int rc = parse_needs(pod, "memory", arena, &w.memory, err);
	if (rc == 0)
		rc = parse_needs(pod, "cpu", arena, &w.cpu, err);
	if (rc < 0)
		return rc;
	w.limited = any_limit(&w.memory) || any_limit(&w.cpu);
	rc = decide_vm(&w, err);
	if (rc < 0)
		return rc;
	if (accounts_by_pod(&w))
		account_pod(&w);
	else
		account_containers(&w);
	if (in->memory->fill_others) {
		fill_zeros(&w, PLACE_CONTAINER, w.memory.containers, pod->containers.n);
		fill_zeros(&w, PLACE_INIT_CONTAINER, w.memory.inits, pod->init_containers.n);
	}
	ret->annotation_mib = ret->vm_mib;
	if (in->memory->sizing == SIZING_CONTAINERD_GO)
		ret->annotation_mib -= planned_limit(&w) / MIB;
	size_vcpus(&w);
	return 0;
}
