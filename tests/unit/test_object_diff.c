#include <ftw.h>
#include <stdio.h>

#include "common/files.h"
#include "controller/object_diff.h"
#include "world.h"

#define WHERE_MAX ((size_t)64 * 1024)
#define FILE_MAX ((size_t)1024 * 1024)

#define TEMPLATE(pod) "{kind: Deployment, spec: {template: {spec: {" pod "}}}}"
#define KBS_OF(fields) TEMPLATE("containers: [{name: kbs, " fields "}]")
#define AT_KBS "spec.template.spec.containers[name=kbs]"

static struct diff_case {
	const char *name;
	const char *wanted, *live; // YAML
	const char *where;         // "" where the live one covers the wanted one
} diff_cases[] = {
	// Maps and values
	{"the same", "{kind: Secret, metadata: {name: a, labels: {b: c}}}",
	 "{kind: Secret, metadata: {name: a, labels: {b: c}}}", ""},
	{"what the API server adds", "{kind: Secret, metadata: {name: a}}",
	 "{kind: Secret, metadata: {name: a, namespace: ns, uid: u, labels: {b: c}}, type: Opaque}", ""},
	{"a field is missing", "{kind: Secret, metadata: {name: a, labels: {b: c}}}", "{kind: Secret, metadata: {name: a}}",
	 "metadata.labels"},
	{"a value differs", "{kind: Route, spec: {to: {name: a}}}", "{kind: Route, spec: {to: {name: b}}}", "spec.to.name"},
	{"a key with points", "{kind: Secret, metadata: {labels: {app.kubernetes.io/name: a}}}",
	 "{kind: Secret, metadata: {labels: {app.kubernetes.io/name: b}}}", "metadata.labels[app.kubernetes.io/name]"},
	{"another kind", "{kind: Secret}", "{kind: ConfigMap}", "kind"},
	{"no kind", "{a: 1}", "{a: 1}", ""},
	{"another type", "{kind: A, a: 1}", "{kind: A, a: '1'}", "a"},
	{"a map for a text", "{kind: A, a: {b: c}}", "{kind: A, a: b}", "a"},
	{"a text for a map", "{kind: A, a: b}", "{kind: A, a: {b: c}}", "a"},
	{"a map for a list", "{kind: A, a: [b]}", "{kind: A, a: {b: c}}", "a"},
	{"1 and 1.0", "{kind: A, a: 1, b: 2.0}", "{kind: A, a: 1.0, b: 2}", ""},
	{"1 and 1.5", "{kind: A, a: 1}", "{kind: A, a: 1.5}", "a"},
	{"true and false", "{kind: A, a: false}", "{kind: A, a: true}", "a"},
	{"false isn't nothing", "{kind: A, a: false}", "{kind: A}", "a"},
	{"an empty map isn't nothing", "{kind: A, a: {}}", "{kind: A}", "a"},
	{"an empty list is nothing", "{kind: A, a: []}", "{kind: A}", ""},
	{"an empty list isn't a text", "{kind: A, a: []}", "{kind: A, a: b}", "a"},
	{"a list where none is wanted", "{kind: A, a: []}", "{kind: A, a: [b]}", "a"},
	{"the value isn't told", "{kind: Secret, data: {key: wanted}}", "{kind: Secret, data: {key: live}}", "data.key"},
	// Lists as a whole
	{"a list is compared item by item", "{kind: A, a: [{b: c}, {b: d}]}", "{kind: A, a: [{b: c, e: f}, {b: d}]}", ""},
	{"a list with one more", "{kind: A, a: [b]}", "{kind: A, a: [b, c]}", "a"},
	{"a list with one less", "{kind: A, a: [b, c]}", "{kind: A, a: [b]}", "a"},
	{"a list in another order", "{kind: A, a: [b, c]}", "{kind: A, a: [c, b]}", "a[0]"},
	{"inside a list", "{kind: Ingress, spec: {rules: [{host: a}, {host: b}]}}",
	 "{kind: Ingress, spec: {rules: [{host: a}, {host: c}]}}", "spec.rules[1].host"},
	// Lists with keys
	{"another container", KBS_OF("image: a"),
	 TEMPLATE("containers: [{name: sidecar, image: b}, {name: kbs, image: a, imagePullPolicy: Always}]"), ""},
	{"another image", KBS_OF("image: a"), TEMPLATE("containers: [{name: kbs, image: b}]"), AT_KBS ".image"},
	{"no container", KBS_OF("image: a"), TEMPLATE("containers: [{name: other, image: a}]"), AT_KBS},
	{"an init container's", TEMPLATE("initContainers: [{name: a, env: [{name: B, value: c}]}]"),
	 TEMPLATE("initContainers: [{name: a, env: [{name: B, value: d}]}]"),
	 "spec.template.spec.initContainers[name=a].env[name=B].value"},
	{"others' environment", KBS_OF("env: [{name: A, value: b}]"),
	 KBS_OF("env: [{name: C, value: d}, {name: A, value: b}]"), ""},
	{"an empty variable", KBS_OF("env: [{name: A, value: ''}]"), KBS_OF("env: [{name: A}]"), ""},
	{"an empty variable that is set", KBS_OF("env: [{name: A, value: ''}]"), KBS_OF("env: [{name: A, value: b}]"),
	 AT_KBS ".env[name=A].value"},
	{"a variable that is emptied", KBS_OF("env: [{name: A, value: b}]"), KBS_OF("env: [{name: A}]"),
	 AT_KBS ".env[name=A].value"},
	{"another empty text", KBS_OF("workingDir: ''"), KBS_OF("image: a"), AT_KBS ".workingDir"},
	{"ports: TCP is the default", KBS_OF("ports: [{containerPort: 8080, name: a}]"),
	 KBS_OF("ports: [{containerPort: 9, protocol: TCP}, {containerPort: 8080, protocol: UDP}, "
			"{containerPort: 8080, protocol: TCP, name: a}]"),
	 ""},
	{"ports: of another protocol", KBS_OF("ports: [{containerPort: 8080}]"),
	 KBS_OF("ports: [{containerPort: 8080, protocol: UDP}]"), AT_KBS ".ports[containerPort=8080,protocol=TCP]"},
	{"mounts by their path",
	 KBS_OF("volumeMounts: [{name: a, mountPath: /a}, {name: a, mountPath: /b, readOnly: true}]"),
	 KBS_OF("volumeMounts: [{name: x, mountPath: /x}, {name: a, mountPath: /b, readOnly: true}, {name: a, mountPath: "
			"/a}]"),
	 ""},
	{"mounts: another volume", KBS_OF("volumeMounts: [{name: a, mountPath: /a}]"),
	 KBS_OF("volumeMounts: [{name: b, mountPath: /a}]"), AT_KBS ".volumeMounts[mountPath=/a].name"},
	{"command: as a whole", KBS_OF("command: [a]"), KBS_OF("command: [a, b]"), AT_KBS ".command"},
	{"volumes", TEMPLATE("volumes: [{name: a, secret: {secretName: s, items: [{key: k, path: p}]}}]"),
	 TEMPLATE("volumes: [{name: b, emptyDir: {}}, {name: a, secret: {secretName: s, defaultMode: 420, items: [{key: k, "
			  "path: p}]}}]"),
	 ""},
	{"volumes: another key", TEMPLATE("volumes: [{name: a, secret: {secretName: s, items: [{key: k, path: p}]}}]"),
	 TEMPLATE("volumes: [{name: a, secret: {secretName: s, items: [{key: l, path: p}]}}]"),
	 "spec.template.spec.volumes[name=a].secret.items[0].key"},
	{"volumes: of another kind", TEMPLATE("volumes: [{name: a, emptyDir: {}}]"),
	 TEMPLATE("volumes: [{name: a, secret: {secretName: s}}]"), "spec.template.spec.volumes[name=a].emptyDir"},
	{"projected sources: one more", TEMPLATE("volumes: [{name: a, projected: {sources: [{secret: {name: b}}]}}]"),
	 TEMPLATE("volumes: [{name: a, projected: {sources: [{secret: {name: b}}, {secret: {name: c}}]}}]"),
	 "spec.template.spec.volumes[name=a].projected.sources"},
	{"projected sources: what is filled in",
	 TEMPLATE("volumes: [{name: a, projected: {sources: [{secret: {name: b}}]}}]"),
	 TEMPLATE("volumes: [{name: a, projected: {defaultMode: 420, sources: [{secret: {name: b, optional: false}}]}}]"),
	 ""},
	{"a limit of a volume", TEMPLATE("volumes: [{name: a, emptyDir: {sizeLimit: 1024Ki}}]"),
	 TEMPLATE("volumes: [{name: a, emptyDir: {sizeLimit: 1Mi}}]"), ""},
	{"pull secrets", TEMPLATE("imagePullSecrets: [{name: a}]"), TEMPLATE("imagePullSecrets: [{name: b}, {name: a}]"),
	 ""},
	{"pull secrets: gone", TEMPLATE("imagePullSecrets: [{name: a}]"), TEMPLATE("imagePullSecrets: [{name: b}]"),
	 "spec.template.spec.imagePullSecrets[name=a]"},
	{"a Service's ports", "{kind: Service, spec: {ports: [{name: kbs-port, port: 8080, targetPort: 8080}]}}",
	 "{kind: Service, spec: {ports: [{name: x, port: 1, protocol: TCP}, {name: kbs-port, port: 8080, protocol: TCP, "
	 "targetPort: 8080, nodePort: 31000}]}}",
	 ""},
	{"a Service's port: another target", "{kind: Service, spec: {ports: [{port: 8080, targetPort: 8080}]}}",
	 "{kind: Service, spec: {ports: [{port: 8080, protocol: TCP, targetPort: 1}]}}",
	 "spec.ports[port=8080,protocol=TCP].targetPort"},
	{"the keys are those of the kind", "{kind: Other, spec: {ports: [{port: 8080}]}}",
	 "{kind: Other, spec: {ports: [{port: 1}, {port: 8080}]}}", "spec.ports"},
	{"an owner beside ours", "{kind: Secret, metadata: {ownerReferences: [{uid: a, name: b}]}}",
	 "{kind: Secret, metadata: {ownerReferences: [{uid: c, name: d}, {uid: a, name: b}]}}", ""},
	{"an owner of another uid", "{kind: Secret, metadata: {ownerReferences: [{uid: a, name: b}]}}",
	 "{kind: Secret, metadata: {ownerReferences: [{uid: c, name: b}]}}", "metadata.ownerReferences[uid=a]"},
	// Sets
	{"a set with one more", "{kind: KbsConfig, spec: {kbsSecretResources: [a, b]}}",
	 "{kind: KbsConfig, spec: {kbsSecretResources: [c, b, a]}}", ""},
	{"a set with one less", "{kind: KbsConfig, spec: {kbsSecretResources: [a, b]}}",
	 "{kind: KbsConfig, spec: {kbsSecretResources: [a, c]}}", "spec.kbsSecretResources[=b]"},
	{"finalizers", "{kind: Secret, metadata: {finalizers: [a]}}", "{kind: Secret, metadata: {finalizers: [b, a]}}", ""},
	{"other lists of a KbsConfig are whole",
	 "{kind: KbsConfig, spec: {kbsLocalCertCacheSpec: {secrets: [{secretName: a}]}}}",
	 "{kind: KbsConfig, spec: {kbsLocalCertCacheSpec: {secrets: [{secretName: a}, {secretName: b}]}}}",
	 "spec.kbsLocalCertCacheSpec.secrets"},
	{"a KbsConfig's variables", "{kind: KbsConfig, spec: {KbsEnvVars: {A: b}}}",
	 "{kind: KbsConfig, spec: {KbsEnvVars: {A: b, C: d}}}", ""},
	{"a KbsConfig's pull secrets", "{kind: KbsConfig, spec: {imagePullSecrets: [{name: a}]}}",
	 "{kind: KbsConfig, spec: {imagePullSecrets: [{name: b}, {name: a}]}}", ""},
	{"access modes", "{kind: PersistentVolumeClaim, spec: {accessModes: [ReadOnlyMany]}}",
	 "{kind: PersistentVolumeClaim, spec: {accessModes: [ReadOnlyMany, ReadWriteMany]}}", "spec.accessModes"},
	// Maps as a whole
	{"a Service's selector with more", "{kind: Service, spec: {selector: {app: kbs}}}",
	 "{kind: Service, spec: {selector: {app: kbs, a: b}}}", "spec.selector"},
	{"a Service's selector", "{kind: Service, spec: {selector: {app: kbs, a: b}}}",
	 "{kind: Service, spec: {selector: {a: b, app: kbs}}}", ""},
	{"a Deployment's selector with more", "{kind: Deployment, spec: {selector: {matchLabels: {app: kbs}}}}",
	 "{kind: Deployment, spec: {selector: {matchLabels: {app: kbs, a: b}}}}", "spec.selector"},
	{"a ServiceMonitor's selector with more", "{kind: ServiceMonitor, spec: {selector: {matchLabels: {app: kbs}}}}",
	 "{kind: ServiceMonitor, spec: {selector: {matchLabels: {app: kbs, a: b}}}}", "spec.selector"},
	{"a Route's field of that name", "{kind: Route, spec: {selector: {app: kbs}}}",
	 "{kind: Route, spec: {selector: {app: kbs, a: b}}}", ""},
	// Quantities
	{"the same amount", KBS_OF("resources: {requests: {cpu: 0.5, memory: 1024Mi}, limits: {cpu: 1000m, memory: 1Gi}}"),
	 KBS_OF("resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: '1', memory: 1073741824}}"), ""},
	{"another amount", KBS_OF("resources: {requests: {cpu: 500m}}"), KBS_OF("resources: {requests: {cpu: 501m}}"),
	 AT_KBS ".resources.requests.cpu"},
	{"an amount beyond thousandths", KBS_OF("resources: {limits: {memory: 100P}}"),
	 KBS_OF("resources: {limits: {memory: 101P}}"), AT_KBS ".resources.limits.memory"},
	{"an amount that is none", KBS_OF("resources: {requests: {cpu: a}}"), KBS_OF("resources: {requests: {cpu: a}}"),
	 ""},
	{"an amount beside none", KBS_OF("resources: {requests: {cpu: 1}}"), KBS_OF("resources: {requests: {cpu: a}}"),
	 AT_KBS ".resources.requests.cpu"},
	{"an amount that is missing", KBS_OF("resources: {requests: {cpu: 1}}"), KBS_OF("resources: {requests: {}}"),
	 AT_KBS ".resources.requests.cpu"},
	{"storage", "{kind: PersistentVolumeClaim, spec: {resources: {requests: {storage: 100Mi}}}}",
	 "{kind: PersistentVolumeClaim, spec: {resources: {requests: {storage: 102400Ki}}}}", ""},
	{"a KbsConfig's", "{kind: KbsConfig, spec: {resources: {limits: {cpu: 1}}}}",
	 "{kind: KbsConfig, spec: {resources: {limits: {cpu: '1'}}}}", ""},
	{"elsewhere it is text", "{kind: Secret, metadata: {annotations: {a: 1Gi}}}",
	 "{kind: Secret, metadata: {annotations: {a: 1024Mi}}}", "metadata.annotations.a"},
};

static void test_diff(void **state)
{
	const struct diff_case *c = *state;
	json_t *wanted = yaml_tree(c->wanted);
	json_t *live = yaml_tree(c->live);
	CLEANUP_BUF
	struct buf where = BUF_INIT(WHERE_MAX);
	bool covered = object_covers(live, wanted, &where);
	assert_text(buf_z(&where), c->where);
	assert_int_equal(covered, c->where[0] == '\0');
	// Once it is applied, all of it is there; and where it was there before, nothing changes.
	json_t *merged = object_merge(live, wanted);
	buf_clear(&where);
	if (!object_covers(merged, wanted, &where))
		fail_msg("merged, it lacks %s", buf_z(&where));
	json_t *again = object_merge(merged, wanted);
	assert_true(json_equal(again, merged));
	json_decref(again);
	json_decref(merged);
	json_decref(wanted);
	json_decref(live);
}

// ---- Merging

static struct merge_case {
	const char *name;
	const char *live, *wanted, *merged; // YAML
} merge_cases[] = {
	{"what others have stays", "{kind: KbsConfig, spec: {KbsDeploymentSpec: {replicas: 3}, KbsEnvVars: {A: b}}}",
	 "{kind: KbsConfig, spec: {KbsEnvVars: {C: d}, kbsServiceType: NodePort}}",
	 "{kind: KbsConfig, spec: {KbsDeploymentSpec: {replicas: 3}, KbsEnvVars: {A: b, C: d}, kbsServiceType: NodePort}}"},
	{"what is wanted wins", "{kind: KbsConfig, spec: {KbsEnvVars: {A: b}, kbsServiceType: ClusterIP}}",
	 "{kind: KbsConfig, spec: {KbsEnvVars: {A: c}, kbsServiceType: NodePort}}",
	 "{kind: KbsConfig, spec: {KbsEnvVars: {A: c}, kbsServiceType: NodePort}}"},
	{"a set grows", "{kind: KbsConfig, spec: {kbsSecretResources: [b, a]}}",
	 "{kind: KbsConfig, spec: {kbsSecretResources: [c, a]}}",
	 "{kind: KbsConfig, spec: {kbsSecretResources: [b, a, c]}}"},
	{"a list with keys", "{kind: KbsConfig, spec: {imagePullSecrets: [{name: a, x: y}, {name: b}]}}",
	 "{kind: KbsConfig, spec: {imagePullSecrets: [{name: c}, {name: a, z: z}]}}",
	 "{kind: KbsConfig, spec: {imagePullSecrets: [{name: a, x: y, z: z}, {name: b}, {name: c}]}}"},
	{"any other list is replaced", "{kind: KbsConfig, spec: {kbsLocalCertCacheSpec: {secrets: [{secretName: a}]}}}",
	 "{kind: KbsConfig, spec: {kbsLocalCertCacheSpec: {secrets: [{secretName: b}]}}}",
	 "{kind: KbsConfig, spec: {kbsLocalCertCacheSpec: {secrets: [{secretName: b}]}}}"},
	{"so is a map as a whole", "{kind: Service, spec: {selector: {a: b}}}", "{kind: Service, spec: {selector: {c: d}}}",
	 "{kind: Service, spec: {selector: {c: d}}}"},
	{"of another type", "{kind: A, a: [b], c: {d: e}, f: g}", "{kind: A, a: {b: c}, c: d, f: [g]}",
	 "{kind: A, a: {b: c}, c: d, f: [g]}"},
};

static void test_merge(void **state)
{
	const struct merge_case *c = *state;
	json_t *live = yaml_tree(c->live);
	json_t *wanted = yaml_tree(c->wanted);
	json_t *expected = yaml_tree(c->merged);
	json_t *before = json_deep_copy(live);
	json_t *merged = object_merge(live, wanted);
	if (!json_equal(merged, expected)) {
		char *text = json_dumps(merged, 0);
		fail_msg("got %s", text);
	}
	assert_true(json_equal(live, before));
	json_decref(live);
	json_decref(wanted);
	json_decref(expected);
	json_decref(before);
	json_decref(merged);
}

// ---- Properties, over the objects below and over all that goldens have

#define DEPLOYMENT                                                                                                \
	"apiVersion: apps/v1\nkind: Deployment\n"                                                                     \
	"metadata: {name: trustee-deployment, labels: {app: kbs}, finalizers: [a], ownerReferences: [{uid: u, name: " \
	"k}]}\n"                                                                                                      \
	"spec:\n"                                                                                                     \
	"  replicas: 1\n"                                                                                             \
	"  selector: {matchLabels: {app: kbs}}\n"                                                                     \
	"  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 25%}}\n"                                           \
	"  template:\n"                                                                                               \
	"    metadata: {labels: {app: kbs}}\n"                                                                        \
	"    spec:\n"                                                                                                 \
	"      automountServiceAccountToken: false\n"                                                                 \
	"      imagePullSecrets: [{name: p}]\n"                                                                       \
	"      containers:\n"                                                                                         \
	"      - name: kbs\n"                                                                                         \
	"        image: i\n"                                                                                          \
	"        command: [/a, --b]\n"                                                                                \
	"        env: [{name: A, value: b}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n"               \
	"        ports: [{containerPort: 8080}]\n"                                                                    \
	"        resources: {requests: {cpu: 500m, memory: 1Gi}}\n"                                                   \
	"        volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b, subPath: c, readOnly: true}]\n"    \
	"      volumes:\n"                                                                                            \
	"      - {name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}\n"                                             \
	"      - {name: w, projected: {sources: [{secret: {name: s, optional: true, items: [{key: k, path: p}]}}]}}\n"

#define KBS_CONFIG                                                                                            \
	"apiVersion: confidentialcontainers.org/v1alpha1\nkind: KbsConfig\nmetadata: {name: t-kbs-config}\n"      \
	"spec:\n"                                                                                                 \
	"  kbsSecretResources: [a, b]\n"                                                                          \
	"  KbsEnvVars: {A: b}\n"                                                                                  \
	"  KbsDeploymentSpec: {replicas: 2}\n"                                                                    \
	"  kbsLocalCertCacheSpec: {secrets: [{secretName: a, mountPath: /b}]}\n"                                  \
	"  resources: {limits: {cpu: 2}}\n"                                                                       \
	"---\n"                                                                                                   \
	"kind: Service\nmetadata: {name: s}\nspec: {type: ClusterIP, selector: {app: kbs}, ports: [{port: 1}]}\n" \
	"---\n"                                                                                                   \
	"kind: PersistentVolumeClaim\nmetadata: {name: p}\n"                                                      \
	"spec: {accessModes: [ReadOnlyMany], storageClassName: '', resources: {requests: {storage: 1Gi}}}\n"

// Asks about each leaf of `at`, a part of `live`, which is a copy of wanted: without it, and changed.
struct probe {
	json_t *live;
	const json_t *wanted;
	const char *origin;
	size_t leaves;
};

static bool covered(const struct probe *p, struct buf *where)
{
	buf_clear(where);
	return object_covers(p->live, p->wanted, where);
}

static void expect_noticed(struct probe *p, const char *what, const char *key)
{
	CLEANUP_BUF
	struct buf where = BUF_INIT(WHERE_MAX);
	if (covered(p, &where))
		fail_msg("%s: %s %s isn't noticed", p->origin, key, what);
	if (where.n == 0)
		fail_msg("%s: %s %s is at no path", p->origin, key, what);
}

static json_t *other_value(const json_t *v)
{
	if (json_is_boolean(v))
		return json_boolean(!json_is_true(v));
	if (json_is_integer(v))
		return json_integer(json_integer_value(v) + 1);
	return json_string("7777");
}

static void probe_below(struct probe *p, json_t *at);

static void probe_field(struct probe *p, json_t *map, const char *key)
{
	json_t *was = json_incref(json_object_get(map, key));
	if (json_array_size(was) > 0 || json_object_size(was) > 0)
		probe_below(p, was);
	// No list and an empty one are the same.
	if (!json_is_array(was) || json_array_size(was) > 0) {
		p->leaves++;
		assert_int_equal(json_object_del(map, key), 0);
		expect_noticed(p, "that is missing", key);
		assert_int_equal(json_object_set_new(map, key, other_value(was)), 0);
		expect_noticed(p, "that is another", key);
	}
	assert_int_equal(json_object_set_new(map, key, was), 0);
}

static void probe_item(struct probe *p, json_t *list, size_t i)
{
	json_t *was = json_incref(json_array_get(list, i));
	if (json_is_object(was) || json_is_array(was))
		probe_below(p, was);
	assert_int_equal(json_array_remove(list, i), 0);
	expect_noticed(p, "has an item less", "a list");
	assert_int_equal(json_array_insert_new(list, i, other_value(was)), 0);
	expect_noticed(p, "has another item", "a list");
	assert_int_equal(json_array_set_new(list, i, was), 0);
	p->leaves++;
}

static void probe_below(struct probe *p, json_t *at)
{
	for (size_t i = 0; i < json_array_size(at); i++)
		probe_item(p, at, i);
	if (!json_is_object(at))
		return;
	// Keys of their own: the map changes meanwhile.
	json_t *keys = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (at, key, value) {
		assert_int_equal(json_array_append_new(keys, json_string(key)), 0);
	}
	for (size_t i = 0; i < json_array_size(keys); i++)
		probe_field(p, at, json_string_value(json_array_get(keys, i)));
	json_decref(keys);
}

// Fields of others' in every map, but in those that are replaced as a whole.
static void add_fields(json_t *at)
{
	const char *key;
	json_t *value;
	size_t i;
	json_array_foreach (at, i, value) {
		add_fields(value);
	}
	if (!json_is_object(at))
		return;
	json_object_foreach (at, key, value) {
		if (strcmp(key, "selector") != 0)
			add_fields(value);
	}
	assert_int_equal(json_object_set_new(at, "addedByOthers", json_true()), 0);
}

static void check_properties(const json_t *wanted, const char *origin)
{
	CLEANUP_BUF
	struct buf where = BUF_INIT(WHERE_MAX);
	struct probe p = {.live = json_deep_copy(wanted), .wanted = wanted, .origin = origin};
	if (!covered(&p, &where))
		fail_msg("%s doesn't cover itself: %s", origin, buf_z(&where));
	probe_below(&p, p.live);
	assert_true(json_equal(p.live, wanted));
	assert_true(p.leaves > 3);
	add_fields(p.live);
	if (!covered(&p, &where))
		fail_msg("%s isn't covered with more fields: %s", origin, buf_z(&where));
	json_decref(p.live);
}

static void check_documents(struct str text, const char *origin)
{
	struct yaml_docs docs = {0};
	struct error err;
	if (yaml_read(text, &docs, &err) < 0)
		fail_msg("%s: %s", origin, err.msg);
	for (size_t i = 0; i < docs.n; i++)
		if (json_object_get(docs.v[i].root, "kind") != NULL)
			check_properties(docs.v[i].root, origin);
	yaml_docs_release(&docs);
}

static void test_properties(void **state)
{
	(void)state;
	check_documents(STR(DEPLOYMENT), "the Deployment");
	check_documents(STR(KBS_CONFIG), "the others");
}

static int check_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	const char *dot = strrchr(path, '.');
	if (type != FTW_F || dot == NULL || (strcmp(dot, ".yaml") != 0 && strcmp(dot, ".json") != 0))
		return 0;
	CLEANUP_BUF
	struct buf text = BUF_INIT(FILE_MAX);
	struct error err;
	if (file_read_regular(path, &text, &err) < 0)
		fail_msg("%s", err.msg);
	check_documents(buf_str(&text), path);
	return 0;
}

static void test_goldens(void **state)
{
	(void)state;
	assert_int_equal(nftw("tests/golden", check_file, 16, FTW_PHYS), 0);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, diff_cases, test_diff);
	ADD_TABLE(&tests, merge_cases, test_merge);
	tests_add(&tests, "whatever is missing or another is noticed, and more isn't", test_properties, NULL);
	tests_add(&tests, "the same over all goldens", test_goldens, NULL);
	return tests_run("object diff", &tests);
}
