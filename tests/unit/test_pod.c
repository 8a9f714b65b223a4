// Each member that our rules look at, alone: a decoder names it twice, for json_next_of() and where it is read.
#include <stdio.h>

#include "cases.h"
#include "common/buf.h"
#include "webhook/pod.h"
#include "webhook/review.h"

// ---- What was read, as text: what there is, each as name=value

static void add(struct buf *out, const char *name, struct str value)
{
	if (value.p != NULL)
		buf_addf(out, "%s=%.*s ", name, STR_ARG(value));
}

static void add_flag(struct buf *out, const char *name, bool is)
{
	add(out, name, is ? STR("true") : (struct str){0});
}

static void add_map(struct buf *out, const char *name, const struct key_values *map)
{
	for (size_t i = 0; i < map->n; i++)
		buf_addf(out, "%s:%.*s=%.*s ", name, STR_ARG(map->v[i].key), STR_ARG(map->v[i].value));
}

static void add_resources(struct buf *out, const struct resources *r)
{
	add(out, "requests.memory", r->requests.memory);
	add(out, "requests.cpu", r->requests.cpu);
	add(out, "limits.memory", r->limits.memory);
	add(out, "limits.cpu", r->limits.cpu);
}

static void add_containers(struct buf *out, const char *name, const struct containers *all)
{
	for (const struct container *c = all->v; c < all->v + all->n; c++) {
		buf_addf(out, "%s: ", name);
		add(out, "name", c->name);
		add(out, "image", c->image);
		add(out, "restart", c->restart_policy);
		add(out, "sub", c->sub_path_mount);
		add_flag(out, "exec", c->exec_hook);
		add_resources(out, &c->resources);
		for (size_t i = 0; i < c->ndevices; i++)
			add(out, "device", c->devices[i]);
	}
}

static void add_pod(struct buf *out, const struct pod *pod)
{
	static const char *const kinds[] = {"other", "memory", "host", "claim"};
	add(out, "name", pod->name);
	add(out, "generateName", pod->generate_name);
	add(out, "ns", pod->ns);
	add_map(out, "label", &pod->labels);
	add_map(out, "note", &pod->annotations);
	for (const struct owner *o = pod->owners; o < pod->owners + pod->nowners; o++) {
		add(out, "owner.api", o->api_version);
		add(out, "owner.kind", o->kind);
		add(out, "owner.name", o->name);
		add_flag(out, "owner.controller", o->controller);
	}
	add(out, "class", pod->runtime_class);
	add(out, "os", pod->os);
	add_flag(out, "hostNetwork", pod->host_network);
	add_flag(out, "hostPID", pod->host_pid);
	add_flag(out, "hostIPC", pod->host_ipc);
	add_containers(out, "c", &pod->containers);
	add_containers(out, "init", &pod->init_containers);
	add_containers(out, "eph", &pod->ephemeral_containers);
	for (const struct volume *v = pod->volumes; v < pod->volumes + pod->nvolumes; v++) {
		add(out, kinds[v->kind], v->name);
		add(out, "limit", v->size_limit);
	}
	add_resources(out, &pod->resources);
}

static void add_review(struct buf *out, const struct review *r)
{
	add(out, "group", r->group);
	add(out, "version", r->version);
	add(out, "resource", r->resource);
	add(out, "sub", r->sub_resource);
	add(out, "kind", r->kind);
	add(out, "operation", r->operation);
	add(out, "name", r->name);
	add(out, "ns", r->ns);
	add(out, "user", r->user);
	add_flag(out, "dryRun", r->dry_run);
	add_flag(out, "object", r->has_object);
	add_pod(out, &r->object);
	add_flag(out, "old", r->has_old_object);
	add_pod(out, &r->old_object);
}

// ---- The members, of a request

struct member_case {
	const char *name;
	const char *text;
	const char *want;
};

#define META(text) "\"object\":{\"metadata\":{" text "}}"
#define SPEC(text) "\"object\":{\"spec\":{" text "}}"
#define CONTAINER(text) SPEC("\"containers\":[{" text "}]")

static struct member_case member_cases[] = {
	{"request: resource", "\"resource\":{\"group\":\"g\",\"version\":\"v\",\"resource\":\"r\"}",
	 "group=g version=v resource=r "},
	{"request: subResource", "\"subResource\":\"s\"", "sub=s "},
	{"request: kind", "\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"}", "kind=Pod "},
	{"request: operation", "\"operation\":\"CREATE\"", "operation=CREATE "},
	{"request: name", "\"name\":\"n\"", "name=n "},
	{"request: namespace", "\"namespace\":\"n\"", "ns=n "},
	{"request: user", "\"userInfo\":{\"uid\":\"1\",\"username\":\"me\",\"groups\":[]}", "user=me "},
	{"request: dryRun", "\"dryRun\":true", "dryRun=true "},
	{"request: object", "\"object\":{\"metadata\":{\"name\":\"n\"}}", "object=true name=n "},
	{"request: oldObject", "\"oldObject\":{\"metadata\":{\"name\":\"n\"}}", "old=true name=n "},

	{"metadata: name", META("\"name\":\"n\""), "object=true name=n "},
	{"metadata: generateName", META("\"generateName\":\"n-\""), "object=true generateName=n- "},
	{"metadata: namespace", META("\"namespace\":\"n\""), "object=true ns=n "},
	{"metadata: labels", META("\"labels\":{\"a\":\"b\",\"c\":null}"), "object=true label:a=b label:c= "},
	{"metadata: annotations", META("\"annotations\":{\"a\\\"\":\"b\"}"), "object=true note:a\"=b "},
	{"metadata: owners",
	 META("\"ownerReferences\":[{\"uid\":\"u\",\"apiVersion\":\"v\",\"kind\":\"k\",\"name\":\"n\","
		  "\"blockOwnerDeletion\":"
		  "true,\"controller\":true}]"),
	 "object=true owner.api=v owner.kind=k owner.name=n owner.controller=true "},

	{"spec: runtimeClassName", SPEC("\"runtimeClassName\":\"r\""), "object=true class=r "},
	{"spec: os", SPEC("\"os\":{\"name\":\"linux\"}"), "object=true os=linux "},
	{"spec: hostNetwork", SPEC("\"hostNetwork\":true"), "object=true hostNetwork=true "},
	{"spec: hostPID", SPEC("\"hostPID\":true"), "object=true hostPID=true "},
	{"spec: hostIPC", SPEC("\"hostIPC\":true"), "object=true hostIPC=true "},
	{"spec: initContainers", SPEC("\"initContainers\":[{\"name\":\"n\"}]"), "object=true init: name=n "},
	{"spec: ephemeralContainers", SPEC("\"ephemeralContainers\":[{\"name\":\"n\"}]"), "object=true eph: name=n "},
	{"spec: resources",
	 SPEC("\"resources\":{\"requests\":{\"memory\":\"1\",\"cpu\":2},\"claims\":[],\"limits\":{\"memory\":3,\"cpu\":"
		  "\"4\"}}"),
	 "object=true requests.memory=1 requests.cpu=2 limits.memory=3 limits.cpu=4 "},

	{"volume: emptyDir", SPEC("\"volumes\":[{\"name\":\"n\",\"emptyDir\":{}}]"), "object=true other=n "},
	{"volume: in memory",
	 SPEC("\"volumes\":[{\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1Gi\"},\"name\":\"n\"}]"),
	 "object=true memory=n limit=1Gi "},
	{"volume: hostPath", SPEC("\"volumes\":[{\"name\":\"n\",\"hostPath\":{\"path\":\"/\"}}]"), "object=true host=n "},
	{"volume: claim", SPEC("\"volumes\":[{\"name\":\"n\",\"persistentVolumeClaim\":{}}]"), "object=true claim=n "},
	{"volume: ephemeral", SPEC("\"volumes\":[{\"name\":\"n\",\"ephemeral\":{}}]"), "object=true claim=n "},

	{"container: name", CONTAINER("\"name\":\"n\""), "object=true c: name=n "},
	{"container: image", CONTAINER("\"image\":\"i\""), "object=true c: image=i "},
	{"container: restartPolicy", CONTAINER("\"restartPolicy\":\"Always\""), "object=true c: restart=Always "},
	{"container: resources", CONTAINER("\"resources\":{\"limits\":{\"cpu\":1}}"), "object=true c: limits.cpu=1 "},
	{"container: subPath", CONTAINER("\"volumeMounts\":[{\"name\":\"n\",\"mountPath\":\"/a\",\"subPath\":\"s\"}]"),
	 "object=true c: sub=/a "},
	{"container: subPathExpr", CONTAINER("\"volumeMounts\":[{},{\"subPathExpr\":\"s\",\"mountPath\":\"/a\"}]"),
	 "object=true c: sub=/a "},
	{"container: volumeDevices", CONTAINER("\"volumeDevices\":[{\"devicePath\":\"/\",\"name\":\"n\"}]"),
	 "object=true c: device=n "},
	{"container: livenessProbe", CONTAINER("\"livenessProbe\":{\"periodSeconds\":1,\"exec\":{}}"),
	 "object=true c: exec=true "},
	{"container: readinessProbe", CONTAINER("\"readinessProbe\":{\"exec\":{}}"), "object=true c: exec=true "},
	{"container: startupProbe", CONTAINER("\"startupProbe\":{\"exec\":{}}"), "object=true c: exec=true "},
	{"container: postStart", CONTAINER("\"lifecycle\":{\"postStart\":{\"exec\":{}}}"), "object=true c: exec=true "},
	{"container: preStop", CONTAINER("\"lifecycle\":{\"preStop\":{\"exec\":{}}}"), "object=true c: exec=true "},
};

// After another member, and before one.
static void test_member(void **state)
{
	const struct member_case *c = *state;
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_BUF
	struct buf text = BUF_INIT(10000);
	CLEANUP_BUF
	struct buf got = BUF_INIT(10000);
	struct error err = {0};
	struct review r;
	buf_addf(
		&text,
		"{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u\",\"x\":{},%s,"
		"\"y\":\"\"}}",
		c->text);
	assert_int_equal(review_read(buf_str(&text), &arena, &r, &err), REVIEW_OK);
	assert_int_equal(r.uid.n, 1);
	add_review(&got, &r);
	assert_string_equal(buf_z(&got), c->want);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, member_cases, test_member);
	return tests_run("pod", &t);
}
