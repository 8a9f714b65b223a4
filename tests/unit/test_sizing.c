// How large a VM becomes, and how the pod says so: cases, and a simulation of Kubernetes and of the runtimes.
#include "common/json_patch.h"
#include "common/quantity.h"
#include "world.h"

#define LABELS "labels: {tekton.dev/taskRun: build, " LABEL_CONFIDENTIAL ": 'true'}"

// ---- Cases

struct sizing_case {
	const char *name;
	const char *policy;      // members of the profile's spec
	const char *annotations; // of the pod
	const char *spec;        // of the pod
	const char *want;        // "VM/annotation/vcpus TARGET...", or the message of a denial
	const char *warnings;    // each with a newline; NULL for none
};

#define MEM(policy) "memory: {" policy "}"
#define GO "sizing: ContainerdGo"
#define RS "sizing: RuntimeRs"
#define C(name, resources) "{name: " name ", resources: {" resources "}}"
#define REQ(r) "requests: {memory: " r "}"
#define LIM(l) "limits: {memory: " l "}"
#define ONE "containers: [{name: step-a}]"
#define SIZE(s) ANNOTATION_MEMORY ": '" s "'"
#define IMAGES(s) ANNOTATION_IMAGE_SIZE ": '" s "'"
#define RANGE(given, min, max)                                                                  \
	"annotation " ANNOTATION_MEMORY " is \"" given "\", but the profile allows " min " to " max \
	"; choose a size within "                                                                   \
	"that"
#define TOO_MUCH(vm, max, sum)                                                                                    \
	"the pod needs a VM of " vm ", but the profile allows at most " max ". The sum: " sum                         \
	". Lower computeResources, say how large the images are with annotation " ANNOTATION_IMAGE_SIZE ", or raise " \
	"spec.memory.max of the profile"
#define INSTEAD(vm, of) "the VM gets " vm " instead of " of ": the containers' own requests and limits add up to that\n"
#define SHORT_BY(d)                                           \
	"memory limits keep the scheduler from accounting for " d \
	" of the VM; leave a container without a limit, best an " \
	"init container\n"

static struct sizing_case sizing_cases[] = {
	// Auto, CRI-O. S = 2Gi, B = 512Mi, unless said.
	{"auto: nothing said", "", "", ONE, "4096/4096/0 c0=4Gi:4Gi", NULL},
	{"auto: S + R + B", "", "", "containers: [" C("step-a", REQ("3Gi")) "]", "5632/5632/0 c0=5632Mi:5632Mi", NULL},
	{"auto: 2 S", MEM("imageSize: 5Gi"), "", "containers: [" C("step-a", REQ("3Gi")) "]", "10240/10240/0 c0=10Gi:10Gi",
	 NULL},
	{"auto: base", MEM("base: 3Gi"), "", ONE, "5120/5120/0 c0=5Gi:5Gi", NULL},
	{"auto: min", MEM("min: 6Gi"), "", ONE, "6144/6144/0 c0=6Gi:6Gi", NULL},
	{"auto: rounded up to MiB", "", "", "containers: [" C("step-a", REQ("3000000001")) "]",
	 "5422/5422/0 c0=5422Mi:5422Mi", NULL},
	{"auto: image-size", "", IMAGES("3Gi"), ONE, "6144/6144/0 c0=6Gi:6Gi", NULL},
	{"auto: image-size below the profile's", "", IMAGES("1Gi"), ONE, "2048/2048/0 c0=2Gi:2Gi", NULL},
	{"auto: image-size of zero", "", IMAGES("0"), ONE,
	 "annotation " ANNOTATION_IMAGE_SIZE " is \"0\"; it must be above zero, such as 4Gi", NULL},
	{"auto: image-size of nonsense", "", IMAGES("big"), ONE,
	 "annotation " ANNOTATION_IMAGE_SIZE ": \"big\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", NULL},
	{"auto: steps follow each other", "", "", "containers: [" C("step-a", REQ("2Gi")) ", " C("step-b", REQ("3Gi")) "]",
	 "5632/5632/0 c1=3584Mi:5632Mi", NULL},
	{"auto: never below the sum that the scheduler sees", "", "",
	 "containers: [" C("step-a", REQ("4Gi")) ", " C("step-b", REQ("4Gi")) "]", "8192/8192/0 c0=4Gi:8Gi", NULL},
	{"auto: sidecars run beside", "", "", "containers: [" C("step-a", REQ("2Gi")) ", " C("sidecar-b", REQ("2Gi")) "]",
	 "6656/6656/0 c0=4608Mi:6656Mi", NULL},
	{"auto: native sidecars run beside", "", "",
	 "containers: [" C("step-a",
					   REQ("2Gi")) "], initContainers: [{name: s, restartPolicy: Always, resources: {" REQ("2Gi") "}}]",
	 "6656/6656/0 c0=4608Mi:6656Mi", NULL},
	{"auto: the largest step takes the difference, not a larger sidecar", "", "",
	 "containers: [" C("sidecar-x", REQ("5Gi")) ", {name: step-a}, " C("step-b", REQ("1Gi")) "]",
	 "8704/8704/0 c2=3584Mi:8704Mi", NULL},
	{"auto: an init container that dominates", "", "",
	 "containers: [" C("step-a", REQ("1Gi")) "], initContainers: [" C("prepare", REQ("9Gi")) "]",
	 "11776/11776/0 c0=11776Mi:11776Mi", NULL},
	{"auto: init containers don't add up", "", "",
	 ONE ", initContainers: [" C("a", REQ("3Gi")) ", " C("b", REQ("3Gi")) "]", "5632/5632/0 c0=5632Mi:5632Mi", NULL},
	{"auto: an init container beside the native sidecars before it", "", "",
	 ONE ", initContainers: [{name: s, restartPolicy: Always, resources: {" REQ("1Gi") "}}, " C("p", REQ("3Gi")) "]",
	 "6656/6656/0 c0=5632Mi:6656Mi", NULL},
	{"auto: an init container before the native sidecar", "", "",
	 ONE ", initContainers: [" C("p", REQ("3Gi")) ", {name: s, restartPolicy: Always, resources: {" REQ("1Gi") "}}]",
	 "5632/5632/0 c0=4608Mi:5632Mi", NULL},
	{"auto: memory volumes", "", "",
	 ONE ", volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 1Gi}}, {name: b, emptyDir: {sizeLimit: 9Gi}}, "
		 "{name: c, "
		 "emptyDir: {medium: Memory}}, {name: d, emptyDir: {sizeLimit: 2Gi, medium: Memory}}]",
	 "5632/5632/0 c0=5632Mi:5632Mi", NULL},
	{"auto: a memory volume of nonsense", "", "",
	 ONE ", volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: x}}]",
	 "spec.volumes[0].emptyDir.sizeLimit: \"x\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", NULL},

	// Limits.
	{"limits: without a request", "", "", "containers: [" C("step-a", LIM("3Gi")) "]", "5632/5632/0 c0=5632Mi:5632Mi",
	 NULL},
	{"limits: above the request", "", "", "containers: [" C("step-a", REQ("1Gi") ", " LIM("3Gi")) "]",
	 "5632/5632/0 c0=5632Mi:5632Mi", NULL},
	{"limits: of the whole task, copied to each step", "", "",
	 "containers: [" C("step-a", REQ("1Gi") ", " LIM("3Gi")) ", " C("step-b", REQ("1Gi") ", " LIM("3Gi")) ", " C(
		 "step-c", REQ("1Gi") ", " LIM("3Gi")) "]",
	 "9216/9216/0 c0=7Gi:7Gi", NULL},
	{"limits: of zero are none", "", "", "containers: [" C("step-a", LIM("0")) "]", "4096/4096/0 c0=4Gi:4Gi", NULL},

	// The annotation.
	{"annotation: within the range", "", SIZE("3Gi"), ONE, "3072/3072/0 c0=3Gi:3Gi", NULL},
	{"annotation: at the ends", MEM("min: 3Gi, max: 3Gi"), SIZE("3Gi"), ONE, "3072/3072/0 c0=3Gi:3Gi", NULL},
	{"annotation: decimal, rounded up", "", SIZE("3G"), ONE, "2862/2862/0 c0=2862Mi:2862Mi", NULL},
	{"annotation: below min", "", SIZE("1Gi"), ONE, RANGE("1Gi", "2Gi", "64Gi"), NULL},
	{"annotation: above max", MEM("max: 8Gi"), SIZE("8193Mi"), ONE, RANGE("8193Mi", "2Gi", "8Gi"), NULL},
	{"annotation: a max that is no whole MiB", MEM("max: 4G"), SIZE("4G"), ONE, "3815/3815/0 c0=3815Mi:3815Mi", NULL},
	{"annotation: negative", "", SIZE("-1Gi"), ONE,
	 "annotation " ANNOTATION_MEMORY " is \"-1Gi\"; it must be above zero, such as 4Gi", NULL},
	{"annotation: nonsense", "", SIZE("8 Gi"), ONE,
	 "annotation " ANNOTATION_MEMORY ": \"8 Gi\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", NULL},
	{"annotation: absurd", "", SIZE("99999999999999999999"), ONE, RANGE("99999999999999999999", "2Gi", "64Gi"), NULL},
	{"annotation: empty", "", SIZE(""), ONE,
	 "annotation " ANNOTATION_MEMORY ": \"\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", NULL},
	{"annotation: below what the containers add up to", "", SIZE("3Gi"), "containers: [" C("step-a", REQ("5Gi")) "]",
	 "5120/5120/0 c0=5Gi:5Gi", INSTEAD("5Gi", "3Gi")},
	{"annotation: images are not asked for then", "", SIZE("3Gi") ", " IMAGES("nonsense"), ONE,
	 "3072/3072/0 c0=3Gi:3Gi", NULL},

	// Fixed and FromLimits.
	{"fixed", MEM("mode: Fixed, vm: 8Gi"), "", ONE, "8192/8192/0 c0=8Gi:8Gi", NULL},
	{"fixed: too small for the containers", MEM("mode: Fixed, vm: 4Gi"), "",
	 "containers: [" C("step-a", REQ("3Gi")) ", " C("sidecar-a", REQ("3Gi")) "]", "6144/6144/0 c0=3Gi:6Gi",
	 INSTEAD("6Gi", "4Gi")},
	{"fixed: the annotation wins", MEM("mode: Fixed, vm: 8Gi"), SIZE("4Gi"), ONE, "4096/4096/0 c0=4Gi:4Gi", NULL},
	{"from limits", MEM("mode: FromLimits"), "",
	 "containers: [" C("step-a", LIM("3Gi")) ", " C("step-b", LIM("1Gi")) "]", "4096/4096/0 c0=3Gi:3Gi", NULL},
	{"from limits: none", MEM("mode: FromLimits"), "", "containers: [" C("step-a", REQ("3Gi")) "]",
	 "the profile takes the VM's size from limits (memory.mode: FromLimits), but no container has a memory limit; set "
	 "computeResources.limits.memory, or annotation " ANNOTATION_MEMORY,
	 NULL},
	{"from limits: none, but the annotation", MEM("mode: FromLimits"), SIZE("3Gi"), ONE, "3072/3072/0 c0=3Gi:3Gi",
	 NULL},
	{"from limits: requests above them", MEM("mode: FromLimits"), "",
	 "containers: [" C("step-a", LIM("2Gi")) ", " C("step-b", REQ("4Gi")) "]", "6144/6144/0 c1=4Gi:4Gi", NULL},
	{"from limits: min", MEM("mode: FromLimits"), "", "containers: [" C("step-a", LIM("1Gi")) "]",
	 "2048/2048/0 c0=2Gi:2Gi", NULL},

	// The other runtimes.
	{"go: no limits", MEM(GO), "", ONE, "4096/4096/0 c0=4Gi:-", NULL},
	{"go: limits are added by the runtime", MEM(GO), "", "containers: [" C("step-a", LIM("3Gi")) "]",
	 "5632/2560/0 c0=3Gi:3Gi", SHORT_BY("2560Mi")},
	{"go: an init container says the rest", MEM(GO), "",
	 "containers: [" C("step-a", LIM("3Gi")) "], initContainers: [{name: prepare}]",
	 "5632/2560/0 c0=3Gi:3Gi i0=5632Mi:-", NULL},
	{"go: a container without a limit takes it", MEM(GO), "",
	 "containers: [" C("step-a", LIM("3Gi")) ", {name: step-b}]", "5632/2560/0 c1=2560Mi:-", NULL},
	{"go: at least 256 MiB stay for the annotation", MEM(GO ", mode: FromLimits"), "",
	 "containers: [" C("step-a", LIM("4Gi")) "], initContainers: [{name: prepare}]",
	 "4352/256/0 c0=4Gi:4Gi i0=4352Mi:-", NULL},
	{"go: a limit that is no whole MiB", MEM(GO), "",
	 "containers: [" C("step-a", LIM("3000000001")) ", {name: step-b}]", "5422/2561/0 c1=2685379071:-", NULL},
	{"rs: no limits", MEM(RS), "", ONE, "4096/4096/0 c0=4Gi:-", NULL},
	{"rs: limits make the size", MEM(RS), "",
	 "containers: [" C("step-a", LIM("3Gi")) "], initContainers: [{name: prepare}]",
	 "5632/5632/0 c0=5504Mi:5504Mi i0=5632Mi:-", NULL},
	{"rs: a CPU limit counts as one", MEM(RS), "",
	 "containers: [{name: step-a, resources: {limits: {cpu: 1}}}], initContainers: [{name: prepare}]",
	 "4096/4096/0 c0=3968Mi:3968Mi i0=4Gi:-", NULL},
	{"rs: even MiB", MEM(RS), SIZE("3073Mi"), ONE, "3074/3074/0 c0=3074Mi:-", NULL},
	{"rs: limits above the annotation", MEM(RS), SIZE("3Gi"),
	 "containers: [" C("step-a", LIM("3Gi")) "], initContainers: [{name: prepare}]",
	 "3200/3200/0 c0=3Gi:3Gi i0=3200Mi:-", INSTEAD("3200Mi", "3Gi")},
	{"rs: no limit below a request", MEM(RS), SIZE("3Gi"),
	 "containers: [" C("step-a", REQ("5Gi")) ", " C("sidecar-b", LIM("1Gi")) "], initContainers: [{name: prepare}]",
	 "6272/6272/0 c0=5Gi:5Gi i0=6272Mi:-", INSTEAD("6272Mi", "3Gi")},
	{"rs: every container has a limit", MEM(RS), "", "containers: [" C("step-a", LIM("3Gi")) "]",
	 "5632/5632/0 c0=5504Mi:5504Mi", SHORT_BY("128Mi")},

	// Accounting by the pod.
	{"pod: nothing said", MEM("accounting: Pod"), "", ONE, "4096/4096/0 p=4Gi:4Gi", NULL},
	{"pod: containers keep theirs", MEM("accounting: Pod"), "",
	 "containers: [" C("step-a", REQ("3Gi") ", " LIM("4Gi")) "]", "6656/6656/0 p=6656Mi:6656Mi", NULL},
	{"pod: go", MEM("accounting: Pod, " GO), "", ONE, "4096/4096/0 p=4Gi:-", NULL},
	{"pod: rs", MEM("accounting: Pod, " RS), "", ONE, "4096/4096/0 p=4Gi:-", NULL},
	{"pod: rs with limits", MEM("accounting: Pod, " RS), "", "containers: [" C("step-a", LIM("3Gi")) "]",
	 "5632/5632/0 p=5504Mi:5504Mi", "limits keep the pod's request 128Mi below the VM's size\n"},
	{"pod: rs, no limit below the containers' requests", MEM("accounting: Pod, " RS), SIZE("3Gi"),
	 "containers: [" C("step-a", REQ("5Gi")) ", " C("step-b", LIM("1Gi")) "]", "6272/6272/0 p=6Gi:6Gi",
	 INSTEAD("6272Mi", "3Gi") "limits keep the pod's request 128Mi below the VM's size\n"},
	{"pod: its own resources make it so", "", "", ONE ", resources: {" REQ("5Gi") "}", "7680/7680/0 p=7680Mi:7680Mi",
	 NULL},
	{"pod: a limit without a request", "", "", ONE ", resources: {" LIM("5Gi") "}", "7680/7680/0 p=7680Mi:7680Mi",
	 NULL},
	{"pod: from its limit", MEM("mode: FromLimits"), "", ONE ", resources: {" LIM("5Gi") "}", "5120/5120/0 p=5Gi:5Gi",
	 NULL},

	// fillOthers.
	{"fill: zeros for those who say nothing", MEM("fillOthers: true"), "",
	 "containers: [{name: step-a}, {name: sidecar-b}, " C(
		 "sidecar-c",
		 REQ("1Gi")) "], initContainers: [{name: prepare}, {name: s, restartPolicy: Always}, " C("t", LIM("1Mi")) "]",
	 "4096/4096/0 c0=3Gi:4Gi c1=0:0 i0=0:0 i1=0:0", NULL},
	{"fill: not those who say the rest", MEM("fillOthers: true, " GO), "",
	 "containers: [" C("step-a", LIM("3Gi")) "], initContainers: [{name: prepare}, {name: place-scripts}]",
	 "5632/2560/0 c0=3Gi:3Gi i0=5632Mi:- i1=0:0", NULL},
	{"fill: with the pod's own accounting", MEM("fillOthers: true, accounting: Pod"), "",
	 ONE ", initContainers: [{name: prepare}]", "4096/4096/0 p=4Gi:4Gi c0=0:0 i0=0:0", NULL},

	// Too much.
	{"max: with the sum", MEM("max: 4Gi"), "", "containers: [" C("step-a", REQ("3Gi")) "]",
	 TOO_MUCH("5632Mi", "4Gi", "max(2 x images 2Gi, images 2Gi + workload 3Gi + base 512Mi)"), NULL},
	{"max: by the containers alone", MEM("max: 8Gi"), "",
	 "containers: [" C("step-a", REQ("5Gi")) ", " C("step-b", REQ("5Gi")) "]",
	 TOO_MUCH(
		 "10Gi", "8Gi",
		 "the containers' own requests and limits, 10Gi, above max(2 x images 2Gi, images 2Gi + workload 5Gi + base "
		 "512Mi)"),
	 NULL},
	{"max: fixed", MEM("mode: Fixed, vm: 4Gi, max: 4Gi"), "", "containers: [" C("step-a", REQ("5Gi")) "]",
	 TOO_MUCH("5Gi", "4Gi", "the containers' own requests and limits, 5Gi, above the profile's memory.vm, 4Gi"), NULL},
	{"max: absurd", "", "", "containers: [" C("step-a", REQ("'99999999999999999999'")) "]",
	 TOO_MUCH("8796093022207Mi", "64Gi", "max(2 x images 2Gi, images 2Gi + workload 8796093022207Mi + base 512Mi)"),
	 NULL},

	// Values that make no sense.
	{"value: negative request", "", "", "containers: [{name: a}, " C("step-a", REQ("-1Gi")) "]",
	 "spec.containers[1].resources.requests.memory is \"-1Gi\"; it can't be negative", NULL},
	{"value: negative limit of an init container", "", "", ONE ", initContainers: [" C("i", LIM("-1")) "]",
	 "spec.initContainers[0].resources.limits.memory is \"-1\"; it can't be negative", NULL},
	{"value: negative, of the pod", "", "", ONE ", resources: {" REQ("-1Gi") "}",
	 "spec.resources.requests.memory is \"-1Gi\"; it can't be negative", NULL},
	{"value: nonsense", "", "", "containers: [" C("step-a", LIM("1GiB")) "]",
	 "spec.containers[0].resources.limits.memory: \"1GiB\" is not a quantity; write one like 512Mi, 8Gi or 1.5G", NULL},
	{"value: thousandths of a byte", "", "", "containers: [" C("step-a", REQ("1395864371200m")) "]",
	 "4096/4096/0 c0=4Gi:4Gi", NULL},
	{"value: a number", "", "", "containers: [" C("step-a", REQ("3221225472")) "]", "5632/5632/0 c0=5632Mi:5632Mi",
	 NULL},

	// CPU.
	{"cpu: off", "", "", "containers: [{name: step-a, resources: {limits: {cpu: 4}}}]", "4096/4096/0 c0=4Gi:4Gi", NULL},
	{"cpu: fixed", "cpu: {mode: Fixed, vcpus: 3}", "", ONE, "4096/4096/3 c0=4Gi:4Gi", NULL},
	{"cpu: auto, nothing said", "cpu: {mode: Auto}", "", ONE, "4096/4096/1 c0=4Gi:4Gi", NULL},
	{"cpu: auto, rounded up", "cpu: {mode: Auto}", "",
	 "containers: [{name: step-a, resources: {requests: {cpu: 1500m}}}, {name: step-b, resources: {limits: {cpu: 2}}}, "
	 "{name: sidecar-c, resources: {requests: {cpu: 100m}}}]",
	 "4096/4096/3 c0=4Gi:4Gi", NULL},
	{"cpu: auto, what Go adds is taken off", "cpu: {mode: Auto}, " MEM(GO), "",
	 "containers: [{name: step-a, resources: {requests: {cpu: 4}}}, {name: step-b, resources: {limits: {cpu: 1}}}]",
	 "4096/4096/3 c0=4Gi:-", NULL},
};

static const char *outcome_text(struct world *w)
{
	const struct sizing *s = &w->decision.sizing;
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	if (w->decision.message != NULL)
		return w->decision.message;
	buf_addf(&out, "%lld/%lld/%lld", (long long)s->vm_mib, (long long)s->annotation_mib, (long long)s->vcpus);
	for (size_t i = 0; i < s->ntargets; i++) {
		const struct sizing_target *t = &s->targets[i];
		if (t->place == PLACE_POD)
			buf_addz(&out, " p=");
		else
			buf_addf(&out, " %c%zu=", t->place == PLACE_CONTAINER ? 'c' : 'i', t->index);
		if (t->request >= 0)
			quantity_write(t->request, &out);
		else
			buf_addc(&out, '-');
		buf_addc(&out, ':');
		if (t->limit >= 0)
			quantity_write(t->limit, &out);
		else
			buf_addc(&out, '-');
	}
	return arena_printf(&w->arena, "%s", buf_z(&out));
}

static const char *warnings_text(struct world *w)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(65536);
	for (size_t i = 0; i < w->decision.nwarnings; i++)
		buf_addf(&out, "%s\n", w->decision.warnings[i]);
	return arena_printf(&w->arena, "%s", buf_z(&out));
}

static void test_case(void **state)
{
	const struct sizing_case *c = *state;
	struct world w = {0};
	world_default(&w, "", c->policy, "");
	char *request =
		xasprintf("{object: {metadata: {" LABELS ", annotations: {%s}}, spec: {%s}}}", c->annotations, c->spec);
	world_judge(&w, ENDPOINT_MUTATE, request);
	assert_text(outcome_text(&w), c->want);
	assert_text(warnings_text(&w), c->warnings != NULL ? c->warnings : "");
	free(request);
	world_release(&w);
}

// Steps of a pod that is no TaskRun's run at the same time, like any containers.
static void test_not_a_taskrun(void **state)
{
	(void)state;
	struct world w = {0};
	world_default(&w, "", "", "");
	world_judge(&w, ENDPOINT_MUTATE,
				"{object: {metadata: {labels: {" LABEL_CONFIDENTIAL
				": 'true'}}, spec: {containers: [" C("step-a", REQ("2Gi")) ", " C("b", REQ("3Gi")) "]}}}");
	assert_text(outcome_text(&w), "7680/7680/0 c1=5632Mi:7680Mi");
	world_release(&w);
}

// ---- A pod as others see it, on JSON trees: Kubernetes' rules and the runtimes', written down once more
//
// k8s.io/component-helpers/resource (PodRequests, PodLimits), and what the runtimes do (docs/sizing.md).

enum what { REQUEST, LIMIT };

static int64_t amount(const json_t *resources, const char *map, const char *name)
{
	const json_t *v = json_object_get(json_object_get(resources, map), name);
	struct error err;
	int64_t n = -1;
	if (v == NULL)
		return -1;
	assert_int_equal(quantity_parse(str_from(json_string_value(v)), &n, &err), 0);
	return n;
}

// -1: not set. What the API server fills in is filled in.
static int64_t has(const json_t *resources, enum what what)
{
	int64_t limit = amount(resources, "limits", "memory");
	int64_t request = amount(resources, "requests", "memory");
	return what == LIMIT ? limit : request >= 0 ? request : limit;
}

static int64_t of_container(const json_t *container, enum what what)
{
	int64_t n = has(json_object_get(container, "resources"), what);
	return n > 0 ? n : 0;
}

static bool always(const json_t *container)
{
	const char *policy = json_string_value(json_object_get(container, "restartPolicy"));
	return policy != NULL && strcmp(policy, "Always") == 0;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

// AggregateContainerRequests, AggregateContainerLimits.
static int64_t aggregate(const json_t *spec, enum what what)
{
	int64_t running = 0;
	int64_t sidecars = 0;
	int64_t init = 0;
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(spec, "containers"), i, c)
		running += of_container(c, what);
	json_array_foreach (json_object_get(spec, "initContainers"), i, c) {
		int64_t now = of_container(c, what) + sidecars;
		if (always(c)) {
			running += of_container(c, what);
			sidecars = now;
		}
		init = most(init, now);
	}
	return most(running, init);
}

static int64_t effective(const json_t *spec, enum what what)
{
	const json_t *pod = json_object_get(spec, "resources");
	int64_t limit = amount(pod, "limits", "memory");
	int64_t request = amount(pod, "requests", "memory");
	int64_t own = aggregate(spec, what);
	if (what == LIMIT)
		return limit >= 0 ? limit : own;
	if (request >= 0)
		return request;
	return limit >= 0 && own == 0 ? limit : own;
}

static bool any_limit(const json_t *spec)
{
	static const char *const lists[] = {"containers", "initContainers"};
	bool any = amount(json_object_get(spec, "resources"), "limits", "memory") > 0;
	size_t i;
	json_t *c;
	for (size_t l = 0; l < 2; l++)
		json_array_foreach (json_object_get(spec, lists[l]), i, c) {
			const json_t *r = json_object_get(c, "resources");
			any |= amount(r, "limits", "memory") > 0 || amount(r, "limits", "cpu") > 0;
		}
	return any;
}

static int64_t vm_of(const json_t *pod, int runtime)
{
	const json_t *spec = json_object_get(pod, "spec");
	const json_t *annotations = json_object_get(json_object_get(pod, "metadata"), "annotations");
	const char *text = json_string_value(json_object_get(annotations, KATA_MEMORY));
	assert_non_null(text);
	int64_t memory = strtoll(text, NULL, 10);
	int64_t w = effective(spec, LIMIT);
	assert_true(memory >= 256);
	if (runtime == SIZING_CONTAINERD_GO)
		return memory + w / MIB;
	if (runtime == SIZING_CRIO || !any_limit(spec))
		return memory;
	int64_t mib = (w + MIB - 1) / MIB;
	return 128 + mib + mib % 2;
}

// R: steps follow each other in a TaskRun's pod.
static int64_t peak(const json_t *spec, bool taskrun)
{
	int64_t steps = 0;
	int64_t beside = 0;
	int64_t sidecars = 0;
	int64_t init = 0;
	int64_t volumes = 0;
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(spec, "containers"), i, c) {
		int64_t n = most(of_container(c, REQUEST), of_container(c, LIMIT));
		if (taskrun && strncmp(json_string_value(json_object_get(c, "name")), "step-", 5) == 0)
			steps = most(steps, n);
		else
			beside += n;
	}
	json_array_foreach (json_object_get(spec, "initContainers"), i, c) {
		int64_t now = sidecars + most(of_container(c, REQUEST), of_container(c, LIMIT));
		init = most(init, now);
		sidecars = always(c) ? now : sidecars;
	}
	json_array_foreach (json_object_get(spec, "volumes"), i, c) {
		const json_t *dir = json_object_get(c, "emptyDir");
		const char *size = json_string_value(json_object_get(dir, "sizeLimit"));
		struct error err;
		int64_t n = 0;
		if (size != NULL && json_object_get(dir, "medium") != NULL) {
			assert_int_equal(quantity_parse(str_from(size), &n, &err), 0);
			volumes += n;
		}
	}
	const json_t *pod = json_object_get(spec, "resources");
	int64_t whole = most(steps + beside + sidecars, init);
	return volumes + most(whole, most(has(pod, REQUEST), has(pod, LIMIT)));
}

// ---- Random pods that the API server would take

static uint64_t seed;

static uint64_t roll(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

// Ascending.
static const char *const amounts[] = {"0",   "1",   "4096",           "64Mi",  "100M",       "512Mi", "629145600",
									  "1e9", "1Gi", "1395864371200m", "1.5Gi", "2148532225", "3Gi",   "5G"};

static void set_amounts(json_t *resources, size_t request, size_t limit)
{
	if (request < COUNT(amounts))
		(void)json_object_set_new(resources, "requests", json_pack("{s:s}", "memory", amounts[request]));
	if (limit < COUNT(amounts))
		(void)json_object_set_new(resources, "limits", json_pack("{s:s}", "memory", amounts[limit]));
}

// 0 as a limit forbids every other request than 0: see the case "limits: of zero are none".
static json_t *random_container(const char *name)
{
	json_t *c = json_pack("{s:s}", "name", name);
	size_t limit = 1 + roll(COUNT(amounts) - 1);
	json_t *resources = json_object();
	switch (roll(6)) {
	case 0:
		set_amounts(resources, roll(COUNT(amounts)), SIZE_MAX);
		break;
	case 1: // as the API server fills it in
		set_amounts(resources, limit, limit);
		break;
	case 2: // as a preview may see it
		set_amounts(resources, SIZE_MAX, limit);
		break;
	case 3:
		set_amounts(resources, roll(limit + 1), limit);
		break;
	default:
		break;
	}
	if (roll(8) == 0) {
		json_t *limits = json_object_get(resources, "limits");
		if (limits == NULL)
			(void)json_object_set_new(resources, "limits", json_pack("{s:s}", "cpu", "500m"));
		else
			(void)json_object_set_new(limits, "cpu", json_string("2"));
	}
	if (json_object_size(resources) > 0 || roll(3) == 0)
		(void)json_object_set(c, "resources", resources);
	json_decref(resources);
	return c;
}

static void add_containers(json_t *spec)
{
	json_t *containers = json_array();
	json_t *inits = json_array();
	char name[32];
	for (uint64_t i = 0, n = 1 + roll(5); i < n; i++) {
		(void)snprintf(name, sizeof(name), "%s%d", i == 0 || roll(3) > 0 ? "step-" : "sidecar-", (int)i);
		(void)json_array_append_new(containers, random_container(name));
	}
	for (uint64_t i = 0, n = roll(4); i < n; i++) {
		bool sidecar = roll(3) == 0;
		(void)snprintf(name, sizeof(name), "init-%d", (int)i);
		json_t *c = random_container(name);
		if (sidecar)
			(void)json_object_set_new(c, "restartPolicy", json_string("Always"));
		(void)json_array_append_new(inits, c);
	}
	(void)json_object_set_new(spec, "containers", containers);
	if (json_array_size(inits) > 0 || roll(2) == 0)
		(void)json_object_set(spec, "initContainers", inits);
	json_decref(inits);
}

// Pod-level values within Kubernetes' rules: request >= the containers' sum, limit >= request and >= each limit.
static void add_pod_level(json_t *spec)
{
	int64_t request = aggregate(spec, REQUEST) + (int64_t)roll(3) * GIB / 2;
	int64_t limit = most(request, aggregate(spec, LIMIT)) + (int64_t)roll(3) * GIB / 2;
	char r[32];
	char l[32];
	(void)snprintf(r, sizeof(r), "%lld", (long long)request);
	(void)snprintf(l, sizeof(l), "%lld", (long long)limit);
	json_t *resources = json_pack("{s:{s:s}}", "requests", "memory", r);
	if (limit > 0 && roll(2) == 0)
		(void)json_object_set_new(resources, "limits", json_pack("{s:s}", "memory", l));
	(void)json_object_set_new(spec, "resources", resources);
}

static json_t *random_pod(bool *ret_taskrun)
{
	json_t *pod = json_pack("{s:s, s:s, s:{s:{s:s}}, s:{}}", "apiVersion", "v1", "kind", "Pod", "metadata", "labels",
							LABEL_CONFIDENTIAL, "true", "spec");
	json_t *meta = json_object_get(pod, "metadata");
	json_t *spec = json_object_get(pod, "spec");
	json_t *annotations = json_object();
	*ret_taskrun = roll(4) > 0;
	if (*ret_taskrun)
		(void)json_object_set_new(json_object_get(meta, "labels"), "tekton.dev/taskRun", json_string("t"));
	add_containers(spec);
	if (roll(8) == 0)
		add_pod_level(spec);
	if (roll(4) == 0)
		(void)json_object_set_new(spec, "volumes",
								  json_pack("[{s:s, s:{s:s, s:s}}, {s:s, s:{s:s}}]", "name", "m", "emptyDir", "medium",
											"Memory", "sizeLimit", amounts[roll(COUNT(amounts))], "name", "d",
											"emptyDir", "sizeLimit", "9Gi"));
	static const char *const sizes[] = {"2Gi", "4000M", "5Gi", "12345Mi"};
	if (roll(5) == 0)
		(void)json_object_set_new(annotations, ANNOTATION_MEMORY, json_string(sizes[roll(COUNT(sizes))]));
	if (roll(5) == 0)
		(void)json_object_set_new(annotations, ANNOTATION_IMAGE_SIZE, json_string(sizes[roll(COUNT(sizes))]));
	if (json_object_size(annotations) > 0 || roll(2) == 0)
		(void)json_object_set(meta, "annotations", annotations);
	json_decref(annotations);
	return pod;
}

// ---- What must hold

struct trial {
	const struct memory_policy *m;
	struct world w;
	json_t *before, *after;
	bool taskrun;
	char *note; // for messages
};

#define HOLDS(t, condition)                                                                                     \
	do {                                                                                                        \
		if (!(condition)) {                                                                                     \
			char *before_ = json_dumps((t)->before, JSON_COMPACT);                                              \
			char *after_ = json_dumps((t)->after, JSON_COMPACT);                                                \
			fail_msg("%s does not hold\npolicy: %s\noutcome: %s\nbefore: %s\nafter: %s", #condition, (t)->note, \
					 outcome_text(&(t)->w), before_, after_);                                                   \
		}                                                                                                       \
	} while (0)

static void judge_tree(struct trial *t, const json_t *pod)
{
	json_t *request = json_pack("{s:O}", "object", pod);
	char *text = json_dumps(request, JSON_COMPACT);
	world_judge(&t->w, ENDPOINT_MUTATE, text);
	free(text);
	json_decref(request);
}

static void apply(struct trial *t)
{
	struct error err;
	json_error_t bad;
	CLEANUP_BUF
	struct buf patch = BUF_INIT(1024 * 1024);
	decision_patch(&t->w.decision, &patch);
	json_t *ops = json_loads(buf_z(&patch), JSON_REJECT_DUPLICATES, &bad);
	assert_non_null(ops);
	assert_int_equal(json_patch_apply(t->after, ops, &err), 0);
	json_decref(ops);
}

// Each list's containers, before and after. Returns how many got or changed an amount other than an explicit zero.
static size_t check_list(struct trial *t, const char *list, bool *ret_unlimited)
{
	size_t changed = 0;
	size_t i;
	json_t *was;
	json_array_foreach (json_object_get(json_object_get(t->before, "spec"), list), i, was) {
		const json_t *is = json_array_get(json_object_get(json_object_get(t->after, "spec"), list), i);
		const json_t *r0 = json_object_get(was, "resources");
		const json_t *r1 = json_object_get(is, "resources");
		int64_t request = amount(r1, "requests", "memory");
		int64_t limit = amount(r1, "limits", "memory");
		int64_t old_limit = amount(r0, "limits", "memory");
		HOLDS(t, request < 0 || limit < 0 || request <= limit);
		HOLDS(t, limit >= old_limit);
		HOLDS(t, has(r1, REQUEST) >= has(r0, REQUEST));
		HOLDS(t, amount(r1, "limits", "cpu") == amount(r0, "limits", "cpu"));
		bool filled = has(r0, REQUEST) < 0 && request == 0 && limit == 0;
		HOLDS(t, !filled || t->m->fill_others);
		HOLDS(t, !t->m->fill_others || has(r1, REQUEST) >= 0);
		changed += !filled && (has(r1, REQUEST) != has(r0, REQUEST) || limit != old_limit);
		// Under runtime-rs, one of the running containers must get a limit.
		bool may = list[0] == 'i' || t->m->sizing != SIZING_RUNTIME_RS;
		*ret_unlimited |= may && old_limit < 0 && !always(was);
	}
	return changed;
}

static int64_t round_to(int64_t v, int64_t step)
{
	return (v + step - 1) / step * step;
}

// runtime-rs makes the VM of the limits: what they must add up to, so that none is below a request.
static int64_t least_limits(struct trial *t, const json_t *spec)
{
	int64_t limits = effective(spec, LIMIT);
	if (t->m->accounting == ACCOUNTING_POD || json_object_get(spec, "resources") != NULL)
		return most(most(limits, aggregate(spec, LIMIT)), effective(spec, REQUEST));
	int64_t sum = 0;
	int64_t difference = 0; // between what the one that takes all asks for, and its limit
	int64_t largest = -1;
	bool step = false;
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(spec, "initContainers"), i, c)
		sum += always(c) ? of_container(c, LIMIT) : 0;
	json_array_foreach (json_object_get(spec, "containers"), i, c) {
		int64_t n = most(of_container(c, REQUEST), of_container(c, LIMIT));
		bool is_step = t->taskrun && strncmp(json_string_value(json_object_get(c, "name")), "step-", 5) == 0;
		sum += of_container(c, LIMIT);
		if (is_step < step || (is_step == step && n <= largest))
			continue;
		step = is_step;
		largest = n;
		difference = n - of_container(c, LIMIT);
	}
	return most(limits, sum + difference);
}

// The size by the contract's formula, from the pod as it came.
static int64_t expected_vm(struct trial *t)
{
	const json_t *spec = json_object_get(t->before, "spec");
	const json_t *annotations = json_object_get(json_object_get(t->before, "metadata"), "annotations");
	const json_t *wanted = json_object_get(annotations, ANNOTATION_MEMORY);
	const json_t *size = json_object_get(annotations, ANNOTATION_IMAGE_SIZE);
	struct error err;
	int64_t vm = 0;
	int64_t images = t->m->image_size;
	int64_t limits = effective(spec, LIMIT);
	if (size != NULL)
		assert_int_equal(quantity_parse(str_from(json_string_value(size)), &images, &err), 0);
	if (wanted != NULL)
		assert_int_equal(quantity_parse(str_from(json_string_value(wanted)), &vm, &err), 0);
	else if (t->m->mode == MEMORY_FIXED)
		vm = t->m->vm;
	else if (t->m->mode == MEMORY_FROM_LIMITS)
		vm = limits;
	else
		vm = most(2 * images, images + peak(spec, t->taskrun) + t->m->base);
	vm = most(vm, most(effective(spec, REQUEST), most(limits, aggregate(spec, LIMIT))));
	if (t->m->sizing == SIZING_CONTAINERD_GO && limits > 0)
		vm = most(vm, limits + 256 * MIB);
	if (t->m->sizing == SIZING_RUNTIME_RS && any_limit(spec))
		vm = most(vm, round_to(least_limits(t, spec), 2 * MIB) + 128 * MIB);
	return round_to(most(vm, t->m->min), t->m->sizing == SIZING_RUNTIME_RS ? 2 * MIB : MIB);
}

static void check_pod_level(struct trial *t)
{
	const json_t *spec = json_object_get(t->after, "spec");
	const json_t *now = json_object_get(spec, "resources");
	const json_t *was = json_object_get(json_object_get(t->before, "spec"), "resources");
	int64_t request = amount(now, "requests", "memory");
	int64_t limit = amount(now, "limits", "memory");
	HOLDS(t, limit >= amount(was, "limits", "memory"));
	HOLDS(t, request >= amount(was, "requests", "memory"));
	HOLDS(t, request < 0 || limit < 0 || request <= limit);
	// What the API server checks of a pod with pod-level resources.
	HOLDS(t, request < 0 || aggregate(spec, REQUEST) <= request);
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(spec, "containers"), i, c)
		HOLDS(t, limit < 0 || of_container(c, LIMIT) <= limit);
}

static void check_second_pass(struct trial *t)
{
	const char *first = warnings_text(&t->w);
	int64_t vm = t->w.decision.sizing.vm_mib;
	judge_tree(t, t->after);
	HOLDS(t, t->w.decision.verdict == VERDICT_CONFIDENTIAL);
	HOLDS(t, t->w.decision.nedits == 0);
	HOLDS(t, t->w.decision.sizing.vm_mib == vm);
	// Nothing to say that wasn't said before.
	for (size_t i = 0; i < t->w.decision.nwarnings; i++)
		HOLDS(t, strstr(first, t->w.decision.warnings[i]) != NULL);
}

static void try_pod(struct trial *t)
{
	const struct decision *d = &t->w.decision;
	judge_tree(t, t->before);
	if (d->verdict == VERDICT_DENIED) {
		bool no_limits = t->m->mode == MEMORY_FROM_LIMITS && effective(json_object_get(t->before, "spec"), LIMIT) == 0;
		HOLDS(t, no_limits || expected_vm(t) > t->m->max);
		return;
	}
	apply(t);
	int64_t vm = d->sizing.vm_mib * MIB;
	HOLDS(t, vm == expected_vm(t));
	HOLDS(t, vm <= t->m->max);
	HOLDS(t, vm_of(t->after, t->m->sizing) * MIB == vm);
	bool unlimited = false;
	size_t changed = check_list(t, "containers", &unlimited);
	changed += check_list(t, "initContainers", &unlimited);
	check_pod_level(t);
	HOLDS(t, changed <= 2);
	bool said = strstr(warnings_text(&t->w), "memory limits keep the scheduler") != NULL;
	bool pod_limited = strstr(warnings_text(&t->w), "limits keep the pod's request") != NULL;
	HOLDS(t, said || pod_limited || effective(json_object_get(t->after, "spec"), REQUEST) == vm);
	HOLDS(t, !(said || pod_limited) || effective(json_object_get(t->after, "spec"), REQUEST) < vm);
	HOLDS(t, !said || !unlimited);
	check_second_pass(t);
}

// ---- Every policy

#define PODS_PER_POLICY 150

struct policy_case {
	const char *name;
	const char *sizing, *accounting, *mode, *fill;
};

static void test_random(void **state)
{
	const struct policy_case *c = *state;
	struct trial t = {.note = xasprintf("memory: {sizing: %s, accounting: %s, %s, fillOthers: %s, max: 24Gi}",
										c->sizing, c->accounting, c->mode, c->fill)};
	seed = 0x9E3779B97F4A7C15;
	world_default(&t.w, "", t.note, "");
	t.m = &catalog_profile(t.w.catalog, STR(DEFAULT_SYSTEM_NAMESPACE), STR(DEFAULT_PROFILE))->profile->spec.memory;
	for (size_t i = 0; i < PODS_PER_POLICY; i++) {
		t.before = random_pod(&t.taskrun);
		t.after = json_deep_copy(t.before);
		try_pod(&t);
		json_decref(t.before);
		json_decref(t.after);
		arena_release(&t.w.arena);
	}
	free(t.note);
	world_release(&t.w);
}

static void add_policies(struct tests *t)
{
	static const char *const sizings[] = {"CRIO", "ContainerdGo", "RuntimeRs"};
	static const char *const accountings[] = {"Container", "Pod"};
	static const char *const modes[] = {"mode: Auto", "mode: Fixed, vm: 6000M", "mode: FromLimits"};
	static const char *const fills[] = {"false", "true"};
	static struct policy_case cases[36];
	size_t n = 0;
	for (size_t s = 0; s < COUNT(sizings); s++)
		for (size_t a = 0; a < COUNT(accountings); a++)
			for (size_t m = 0; m < COUNT(modes); m++)
				for (size_t f = 0; f < COUNT(fills); f++, n++) {
					cases[n] = (struct policy_case){xasprintf("random pods: %s, %s, %s, fillOthers %s", sizings[s],
															  accountings[a], modes[m], fills[f]),
													sizings[s], accountings[a], modes[m], fills[f]};
					tests_add(t, cases[n].name, test_random, &cases[n]);
				}
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, sizing_cases, test_case);
	tests_add(&t, "not a TaskRun's pod", test_not_a_taskrun, NULL);
	add_policies(&t);
	return tests_run("sizing", &t);
}
