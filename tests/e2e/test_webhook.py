#!/usr/bin/python3
"""coco-webhook (argv[1]), with manifests/ as they stand, under a real API server; cocopipe (argv[2]) says the same.

The webhook runs beside the cluster, on loopback: of the webhook configurations that `kubectl kustomize manifests/base`
prints, only the way to reach it is replaced, clientConfig.service by a URL and a CA.
"""

import base64
import concurrent.futures
import contextlib
import copy
import http.client
import http.server
import itertools
import json
import pathlib
import re
import ssl
import subprocess
import threading

import yaml
from world import (
    CRDS,
    FORBIDDEN,
    HTTP_WARNING,
    KATA,
    LABEL,
    MUTATE,
    MUTATING,
    P,
    REFUSED,
    SAMPLES,
    SYSTEM_NAMESPACE,
    VALIDATE,
    VALIDATING,
    Webhook,
    World,
    check_confidential,
    documents,
    each_container,
    mib,
    namespace,
    pod,
    profile,
    programs,
    publish,
    sample_pod,
    stored_profile,
)

from cluster import HOST, ROOT, TEKTON_USER, wait_for
from tap import check, equal, main, test

WEBHOOK, COCOPIPE = programs("coco-webhook", "cocopipe")
CLIENTS = 8


# ---- Objects


NAMESPACES = [
    namespace("lenient", confidential="enabled", opt_out="allowed"),
    namespace("limited"),
    namespace("quota"),
]

# A RuntimeClass that isn't confidential.
ORDINARY = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "ordinary"}, "handler": "runc"}

PROFILES = [
    profile("strict", admission={"hostPath": "Deny", "subPath": "Deny", "requireImageDigest": "Deny"}),
    profile("debug", initdata={"agentPolicy": {"preset": "AllowAll"}}),
    profile("fill", memory={"fillOthers": True}),
    profile("limits", memory={"mode": "FromLimits"}),
    profile("broken", memory={"min": "8Gi", "max": "4Gi"}),
]


def corpus_pod(file, name):
    """A pod that a real Tekton, or a controller of Kubernetes, asked for."""
    made = json.loads((ROOT / "tests/data/corpus/tekton" / file).read_text())["request"]["object"]
    made["metadata"] = {
        key: made["metadata"][key] for key in ("labels", "annotations", "ownerReferences") if key in made["metadata"]
    } | {"name": name}
    return made


# ---- What runs


class Neighbour:
    """Another mutating webhook that comes after ours: `change` turns a pod into a JSON Patch. asked: how often it was."""

    def __init__(self, webhook, change):
        neighbour = self
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                neighbour.asked += 1
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                patch = json.dumps(change(review["request"]["object"])).encode()
                review["response"] = {
                    "uid": review.pop("request")["uid"],
                    "allowed": True,
                    "patchType": "JSONPatch",
                    "patch": base64.b64encode(patch).decode(),
                }
                body = json.dumps(review).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(webhook.folder / "tls/tls.crt", webhook.folder / "tls/tls.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{HOST}:{self.server.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Offline(World):
    """The webhook has its profiles from a folder, and no word from the API server but reviews."""

    # Off by default in 1.20.
    apiserver_args = ("--feature-gates=EphemeralContainers=true",)

    def set_up(self):
        profiles = self.folder / "profiles"
        publish(profiles, {f"{i:02}.json": json.dumps(document) for i, document in enumerate(self.known())})
        self.webhook = Webhook(WEBHOOK, self.folder, self.cluster.env, f"--profiles={profiles}")
        self.start(self.webhook)
        self.prepare_cluster(*NAMESPACES, ORDINARY)
        self.install()

    @staticmethod
    def known():
        """What stands in the webhook's folder."""
        samples = ["profile.yaml", "profile-configmap-initdata.yaml", "namespace.yaml"]
        given = [document for file in samples for document in documents(SAMPLES / file)]
        return [*given, *PROFILES, namespace("plain"), *NAMESPACES]

    @contextlib.contextmanager
    def neighbour(self, change):
        """With another mutating webhook after ours, for labelled pods."""
        with Neighbour(self.webhook, change) as other:
            configuration = self.reachable(self.configurations[MUTATING])
            configuration["metadata"] = {"name": "zz-neighbour"}
            del configuration["webhooks"][1:]
            configuration["webhooks"][0]["name"] = "neighbour.test.invalid"
            configuration["webhooks"][0]["clientConfig"]["url"] = other.url
            self.cluster.apply(json.dumps(configuration))
            try:
                yield
            finally:
                self.cluster.kubectl("delete", MUTATING, "zz-neighbour")
                self.cluster.wait_for(lambda: not self.asks(other), "the neighbour is out of force")

    def asks(self, neighbour):
        """Whether the API server asks the neighbour now."""
        before = neighbour.asked
        self.reaches("mutate-pods")
        return neighbour.asked > before


def inject(made, *args):
    """What `cocopipe inject` makes of the pod."""
    done = subprocess.run(
        [COCOPIPE, "inject", "-f", "-", "-o", "json", "--as", TEKTON_USER, *args],
        input=json.dumps(made),
        capture_output=True,
        text=True,
    )
    equal(done.returncode, 0, f"cocopipe inject's exit status ({done.stderr})")
    return json.loads(done.stdout)


def normalized(amounts):
    return {kind: mib(values["memory"]) for kind, values in amounts.items()}


# ---- What becomes of a pod


@test("a labelled TaskRun pod is stored confidential, as cocopipe said")
def _(world):
    submitted = sample_pod("stored")
    stored = world.created(submitted, "team-a")
    check_confidential(stored, "the stored pod")
    command = [COCOPIPE, "initdata", "build", "--profile", SAMPLES / "profile.yaml"]
    initdata = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    equal(stored["metadata"]["annotations"][KATA + "cc_init_data"], initdata, "the initdata")
    equal(stored["metadata"]["annotations"][KATA + "default_memory"], "4096", "the VM's MiB")
    # From the RuntimeClass: the API server's own plugin looks at the pod again after the webhook.
    equal(stored["spec"]["overhead"], {"cpu": "250m", "memory": "350Mi"}, "the overhead")
    equal(stored["spec"]["nodeSelector"], {"node-role.kubernetes.io/kata-oc": ""}, "the node selector")
    tolerated = [toleration["key"] for toleration in stored["spec"]["tolerations"]]
    equal(tolerated[-1], "confidential", "the last toleration")

    expected = inject(submitted, "--profile", str(SAMPLES / "profile.yaml"))
    equal(stored["metadata"]["annotations"], expected["metadata"]["annotations"], "the annotations")
    equal(stored["spec"]["runtimeClassName"], expected["spec"]["runtimeClassName"], "the RuntimeClass")
    equal(
        [(c["name"], normalized(c["resources"])) for c in each_container(stored)],
        [(c["name"], normalized(c["resources"])) for c in each_container(expected)],
        "the resources",
    )
    # The second call is for the API server's additions, the last one is the validating webhook's.
    equal(world.webhook.decisions("stored"), ["Mutated", "AlreadyConfidential"], "what was decided")
    equal(world.webhook.decisions("stored", "validate-pods"), ["AlreadyConfidential"], "what the second look found")


@test("the sample pod is what the sample TaskRun says")
def _(_):
    made = sample_pod("build-pod")
    steps = documents(SAMPLES / "taskrun.yaml")[0]["spec"]["taskSpec"]["steps"]
    containers = made["spec"]["containers"]
    equal([c["name"] for c in containers], ["step-" + step["name"] for step in steps], "the steps")
    equal([c["image"] for c in containers], [step["image"] for step in steps], "the images")
    equal([c["resources"] for c in containers], [step.get("computeResources", {}) for step in steps], "the resources")
    script = made["spec"]["initContainers"][1]["args"][1]
    placed = [base64.b64decode(text).decode() for text in re.findall(r"'_EOF_'\n(.*)\n_EOF_", script)]
    wanted = [step["script"].replace("$(results.digest.path)", "/tekton/results/digest") for step in steps]
    equal(placed, wanted, "the scripts")


@test("pods that are not to be confidential are stored byte for byte as without the webhook")
def _(world):
    pods = [
        pod("simple", {}),
        sample_pod("taskrun"),
        corpus_pod("taskrun__native-sidecars.json", "sidecars"),
        corpus_pod("taskrun__parallel-t1.json", "parallel"),
        corpus_pod("statefulset__sts-0.json", "sts"),
        corpus_pod("job__job-1.json", "job"),
    ]
    del pods[1]["metadata"]["labels"][LABEL]

    def stored(suffix):
        texts = []
        for made in copy.deepcopy(pods):
            name = made["metadata"]["name"]
            made["metadata"]["name"] = f"{name}-{suffix}"
            answer = world.created(made)
            equal(world.webhook.reviews(f"{name}-{suffix}"), [], f"reviews of {name}")
            answer["metadata"]["name"] = name
            for field in ("uid", "creationTimestamp", "resourceVersion"):
                del answer["metadata"][field]
            for fields in answer["metadata"]["managedFields"]:
                del fields["time"]
            texts.append(json.dumps(answer))
        return texts

    with_webhook = stored("with")
    with world.without(MUTATING, VALIDATING):
        equal(stored("bare"), with_webhook, "the stored pods")


# ---- Denials and warnings, as people see them

SUB_PATH = {"volumeMounts": [{"name": "v", "mountPath": "/data", "subPath": "x"}]}
EMPTY_DIR = [{"name": "v", "emptyDir": {}}]
HOST_PATH = [{"name": "v", "hostPath": {"path": "/tmp"}}]
CLAIM = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]


def asks(profile_name):
    return {P + "profile": profile_name}


def needs(memory):
    return {"resources": {"requests": {"memory": memory}}}


# A pod's name, the pod, the message.
DENIALS = [
    (
        "no-profile",
        pod("", annotations=asks("nope")),
        'there is no ConfidentialProfile "nope" (annotation pipelines.confidentialcontainers.org/profile of the pod) '
        'in namespace "plain" or "coco-pipelines-system"; create it, or name another with annotation '
        "pipelines.confidentialcontainers.org/profile",
    ),
    (
        "bad-profile",
        pod("", annotations=asks("broken")),
        'ConfidentialProfile "broken" of namespace "coco-pipelines-system" is not valid: spec.memory.min is above '
        "spec.memory.max; raise max or lower min",
    ),
    (
        "kernel-params",
        pod("", annotations={KATA + "kernel_params": "agent.debug_console"}),
        "annotation io.katacontainers.config.hypervisor.kernel_params is set on the pod, but it changes how the "
        "confidential guest is made; remove it (Tekton copies it from the TaskRun, PipelineRun, Task or Pipeline)",
    ),
    (
        "own-memory",
        pod("", annotations={KATA + "default_memory": "8192"}),
        "annotation io.katacontainers.config.hypervisor.default_memory is set on the pod, but the profile decides "
        "about it; remove it (Tekton copies it from the TaskRun, PipelineRun, Task or Pipeline), and set "
        "pipelines.confidentialcontainers.org/memory instead",
    ),
    (
        "own-initdata",
        pod("", annotations={KATA + "cc_init_data": "H4sIAAAA"}),
        "annotation io.katacontainers.config.hypervisor.cc_init_data is set on the pod, but the profile decides about "
        "it; remove it (Tekton copies it from the TaskRun, PipelineRun, Task or Pipeline)",
    ),
    (
        "other-class",
        pod("", runtimeClassName="ordinary"),
        'spec.runtimeClassName is "ordinary", which is not confidential for profile "default"; remove it from the '
        'podTemplate (the profile sets "kata-cc"), or add it to spec.allowedRuntimeClasses of the profile',
    ),
    (
        "host-network",
        pod("", hostNetwork=True),
        "spec.hostNetwork is true; a confidential guest has a network of its own and does not start with the host's: "
        "remove hostNetwork",
    ),
    (
        "too-large",
        pod("", container=needs("100Gi")),
        "the pod needs a VM of 104960Mi, but the profile allows at most 64Gi. The sum: max(2 x images 2Gi, images 2Gi "
        "+ workload 100Gi + base 512Mi). Lower computeResources, say how large the images are with annotation "
        "pipelines.confidentialcontainers.org/image-size, or raise spec.memory.max of the profile",
    ),
    (
        "memory-word",
        pod("", annotations={P + "memory": "plenty"}),
        'annotation pipelines.confidentialcontainers.org/memory: "plenty" is not a quantity; write one like 512Mi, 8Gi '
        "or 1.5G",
    ),
    (
        "memory-zero",
        pod("", annotations={P + "memory": "0"}),
        'annotation pipelines.confidentialcontainers.org/memory is "0"; it must be above zero, such as 4Gi',
    ),
    (
        "memory-small",
        pod("", annotations={P + "memory": "1Gi"}),
        'annotation pipelines.confidentialcontainers.org/memory is "1Gi", but the profile allows 2Gi to 64Gi; choose a '
        "size within that",
    ),
    (
        "image-size",
        pod("", annotations={P + "image-size": "3 GB"}),
        'annotation pipelines.confidentialcontainers.org/image-size: "3 GB" is not a quantity; write one like 512Mi, '
        "8Gi or 1.5G",
    ),
    (
        "no-limits",
        pod("", annotations=asks("limits")),
        "the profile takes the VM's size from limits (memory.mode: FromLimits), but no container has a memory limit; "
        "set computeResources.limits.memory, or annotation pipelines.confidentialcontainers.org/memory",
    ),
    (
        "label",
        pod("", {LABEL: "yes"}),
        'label pipelines.confidentialcontainers.org/confidential is "yes"; it must be "true" or "false"',
    ),
    (
        "host-path",
        pod("", annotations=asks("strict"), volumes=HOST_PATH),
        "spec.volumes[0] (v) is a hostPath: the guest gets a copy from the untrusted host, and nothing is written "
        "back; use an emptyDir",
    ),
    (
        "sub-path",
        pod("", annotations=asks("strict"), container=SUB_PATH, volumes=EMPTY_DIR),
        'container "main" mounts /data by subPath, which Kata guests don\'t support; mount the whole volume',
    ),
    (
        "no-digest",
        pod("", annotations=asks("strict")),
        'container "main" names image "none.invalid/none" without a digest; write IMAGE@sha256:...',
    ),
]


# A pod's name, the pod, the warning.
WARNINGS = [
    (
        "warn-host-path",
        pod("", volumes=HOST_PATH),
        "spec.volumes[0] (v) is a hostPath: the guest gets a copy from the untrusted host, and nothing is written "
        "back; use an emptyDir",
    ),
    (
        "warn-claim",
        pod("", volumes=CLAIM),
        "spec.volumes[0] (v): a filesystem volume is copied into the guest once and never written back; hand results "
        "on by results or a registry",
    ),
    (
        "warn-sub-path",
        pod("", container=SUB_PATH, volumes=EMPTY_DIR),
        'container "main" mounts /data by subPath, which Kata guests don\'t support; mount the whole volume',
    ),
    (
        "warn-exec",
        pod("", container={"readinessProbe": {"exec": {"command": ["true"]}}}),
        'container "main" has an exec probe or hook, which the profile\'s agent policy refuses, so it will fail; use '
        "httpGet or tcpSocket",
    ),
    (
        "warn-host-pid",
        pod("", hostPID=True),
        "spec.hostPID and spec.hostIPC have no effect in a confidential guest: it sees only its own processes",
    ),
    (
        "warn-memory",
        pod("", annotations={P + "memory": "4Gi"}, container=needs("6Gi")),
        "the VM gets 6Gi instead of 4Gi: the containers' own requests and limits add up to that",
    ),
    ("warn-not", pod("", container=needs("1Gi")), None),
]


def all_created(world, rows):
    """What kubectl said of each row's pod."""

    def said(row):
        made = copy.deepcopy(row[1])
        made["metadata"]["name"] = row[0]
        return world.kubectl_create(made)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(said, rows))


@test("each refusal says what to do, word for word")
def _(world):
    for (name, _, message), answer in zip(DENIALS, all_created(world, DENIALS)):
        equal(answer, (1, "", f"{FORBIDDEN}{MUTATE}{message}\n"), name)


@test("each warning is printed by kubectl, once, and the pod is created")
def _(world):
    for (name, _, warning), answer in zip(WARNINGS, all_created(world, WARNINGS)):
        equal(answer, (0, f"pod/{name} created\n", f"Warning: {warning}\n" if warning else ""), name)


@test("a server-side dry run shows the confidential pod and stores nothing")
def _(world):
    status, out, err = world.kubectl_create(sample_pod("dry"), "plain", "tekton", "--dry-run=server", "-o", "json")
    equal((status, err), (0, ""), "kubectl's status and stderr")
    check_confidential(json.loads(out), "the pod shown")
    equal(world.cluster.raw("GET", "/api/v1/namespaces/plain/pods/dry")[0], 404, "the status of getting it")
    check(all(review["dryRun"] for review in world.webhook.reviews("dry")), "a review does not say that it is dry")


# ---- Namespaces


@test("in an enabled namespace, a TaskRun's pod needs no label")
def _(world):
    made = sample_pod("implicit")
    del made["metadata"]["labels"][LABEL]
    check_confidential(world.created(made, "team-a"), "the pod")
    world.created(pod("bystander", {}), "team-a")
    equal(world.webhook.reviews("bystander"), [], "reviews of a pod that is no TaskRun's")


@test("a namespace that the cluster has enabled and the webhook has not heard of is enabled all the same")
def _(world):
    world.apply_all([namespace("unheard-of", confidential="enabled")])
    made = sample_pod("unheard")
    del made["metadata"]["labels"][LABEL]
    check_confidential(world.created(made, "unheard-of"), "the pod")
    made = sample_pod("opts-out-unheard")
    made["metadata"]["labels"][LABEL] = "false"
    status, _, err = world.kubectl_create(made, "unheard-of")
    check(status == 1 and "every TaskRun pod of namespace" in err, f"opting out was not refused: {err}")


@test("the webhook is not asked about its own namespace, nor about kube-system")
def _(world):
    for ns in (SYSTEM_NAMESPACE, "kube-system"):
        world.created(pod("unasked"), ns)
    equal(world.webhook.reviews("unasked"), [], "reviews")


@test("opting out is refused in an enabled namespace, and works where that allows it")
def _(world):
    made = sample_pod("opts-out")
    made["metadata"]["labels"][LABEL] = "false"
    refusal = (
        'label pipelines.confidentialcontainers.org/confidential is "false", but every TaskRun pod of namespace '
        '"team-a" is confidential; remove the label, or have the namespace labelled '
        "pipelines.confidentialcontainers.org/opt-out=allowed"
    )
    said = f"{FORBIDDEN}{MUTATE.replace('labelled', 'optout')}{refusal}\n"
    equal(world.kubectl_create(made, "team-a"), (1, "", said), "kubectl's answer")
    for ns in ("lenient", "plain"):
        check("runtimeClassName" not in world.created(made, ns)["spec"], f"it is confidential in {ns}")


@test("Tekton's affinity assistant is left alone, and a forged one is not")
def _(world):
    def assistant(name):
        made = corpus_pod("affinity-assistant__affinity-assistant-3a3c5b9f79-0.json", name)
        # A PipelineRun's labels come along, and a user can write this one.
        made["metadata"]["labels"] |= {LABEL: "true", "tekton.dev/taskRun": "forged"}
        return made

    real = world.created(assistant("assistant"), "team-a", user="statefulset")
    equal(world.webhook.decisions("assistant"), ["AffinityAssistant"], "what was decided")
    check("runtimeClassName" not in real["spec"], "the assistant is confidential")
    check_confidential(world.created(assistant("forged"), "team-a", user="alice"), "the forged assistant")


@test("a LimitRange's defaults are counted")
def _(world):
    limits = [{"type": "Container", "default": {"memory": "512Mi"}, "defaultRequest": {"memory": "256Mi"}}]
    meta = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults", "namespace": "limited"}}
    world.apply_all([meta | {"spec": {"limits": limits}}])
    bare = pod("bare", {})
    bare["spec"]["containers"].append({"name": "other", "image": "none.invalid/none"})
    world.cluster.wait_for(
        lambda: "limits" in world.create(bare, "limited", dry_run=True)[1]["spec"]["containers"][0]["resources"],
        "the LimitRange is in force",
    )
    stored = world.created(sample_pod("in-limits"), "limited")
    check_confidential(stored, "the pod")
    # The VM of 4Gi less the other step's request. The default limit would have been below the step's own request.
    limits = {c["name"]: c["resources"]["limits"]["memory"] for c in each_container(stored)}
    others = {"prepare": "512Mi", "place-scripts": "512Mi", "step-digest": "512Mi"}
    equal(limits, others | {"step-compile": "3840Mi"}, "the limits")


@test("a namespace's quota of memory is charged with the VM, and wants a profile that fills the others")
def _(world):
    hard = {"requests.memory": "10Gi", "limits.memory": "10Gi"}
    meta = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "memory", "namespace": "quota"}}
    world.apply_all([meta | {"spec": {"hard": hard}}])
    path = "/api/v1/namespaces/quota/resourcequotas/memory"

    def quota():
        return world.cluster.raw("GET", path)[1]

    # As the controller manager would, which is not here.
    counted = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    status, answer = world.cluster.raw("PUT", path + "/status", quota() | {"status": counted})
    equal(status, 200, f"the status of the quota's update ({answer})")
    without = sample_pod("unfilled")
    world.cluster.wait_for(lambda: world.create(without, "quota", dry_run=True)[0] == 403, "the quota is in force")
    refusal = 'pods "unfilled" is forbidden: failed quota: memory: must specify limits.memory,requests.memory'
    equal(world.create(without, "quota")[1]["message"], refusal, "the message without fillOthers")
    filled = sample_pod("filled")
    filled["metadata"]["annotations"][P + "profile"] = "fill"
    stored = world.created(filled, "quota")
    check_confidential(stored, "the pod")
    equal(
        [c["resources"]["limits"]["memory"] for c in each_container(stored)], ["0", "0", "4Gi", "0"], "the limits"
    )
    # Kubernetes 1.20 leaves the overhead out.
    equal(quota()["status"]["used"], dict.fromkeys(hard, "4Gi"), "what is used")


# ---- Afterwards


def json_patch(world, name, operations, ns="plain", user="tekton"):
    return world.cluster.raw(
        "PATCH", f"/api/v1/namespaces/{ns}/pods/{name}", operations, user, "application/json-patch+json"
    )


@test("Tekton's updates, and people's, pass; what makes the guest stays as it is")
def _(world):
    world.created(sample_pod("updated"))
    ready = [{"op": "add", "path": "/metadata/annotations/tekton.dev~1ready", "value": "READY"}]
    cancel = [{"op": "add", "path": "/metadata/annotations/tekton.dev~1cancel", "value": "CANCEL"}]
    nop = [{"op": "replace", "path": "/spec/containers/1/image", "value": "tektoncd/pipeline/nop:v1.6.0"}]
    for patch in (ready, cancel, nop):
        status, answer = json_patch(world, "updated", patch)
        equal(status, 200, f"the status of Tekton's {patch} ({answer.get('message')})")
    kubectl = world.cluster.kubectl
    kubectl("label", "pod", "updated", "-n", "plain", "team=a", user="alice")
    kubectl("annotate", "pod", "updated", "-n", "plain", "note=mine", user="alice")
    made = world.stored("updated")
    equal(made["metadata"]["labels"]["team"], "a", "the new label")
    check_confidential(made, "the pod after its updates")

    for key, change in (
        (KATA + "default_memory", "=1"),
        (KATA + "cc_init_data", "-"),
        (KATA + "kernel_params", "=debug"),
        (P + "injected", "={}"),
    ):
        status, out, err = kubectl(
            "annotate", "pod", "updated", "-n", "plain", "--overwrite", key + change, user="alice", check=False
        )
        message = (
            "Error from server (Forbidden): admission webhook "
            '"labelled.update.pipelines.confidentialcontainers.org" denied the request: annotation '
            f"{key} of a confidential pod can't be changed after its creation; create the pod anew with the profile "
            "that you want\n"
        )
        equal((status, out, err), (1, "", message), f"kubectl annotate {key}")


@test("a pod that runs unprotected isn't labelled as if it were")
def _(world):
    world.created(pod("unprotected", {}))
    status, out, err = world.cluster.kubectl(
        "label", "pod", "unprotected", "-n", "plain", f"{LABEL}=true", user="alice", check=False
    )
    message = (
        "Error from server (Forbidden): admission webhook "
        '"labelled.update.pipelines.confidentialcontainers.org" denied the request: the pod was created without '
        f"protection, and a label added now would have it look confidential; create it anew with the label {LABEL}=true\n"
    )
    equal((status, out, err), (1, "", message), "kubectl label")
    equal(LABEL in world.stored("unprotected")["metadata"].get("labels", {}), False, "whether it has the label")


def ask(world, endpoint, review):
    """What the webhook answers, asked directly as the API server would."""
    context = ssl.create_default_context(cadata=world.webhook.ca)
    connection = http.client.HTTPSConnection(HOST, world.webhook.port, timeout=10, context=context)
    with contextlib.closing(connection):
        connection.request("POST", endpoint, json.dumps(review), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["response"]


@test("an ephemeral container is refused where the guest's policy has no exec, else allowed")
def _(world):
    world.created(pod("locked"))
    world.created(pod("open", annotations=asks("debug")))
    world.created(pod("ordinary", {}))
    path = "/api/v1/namespaces/plain/pods/locked/ephemeralcontainers"
    container = {"name": "shell", "image": "none.invalid/shell"}
    # Up to 1.21 the body is an object of its own without the pod's labels, so no objectSelector matches it: such an API
    # server never asks. What later ones send, the pod itself, we send in its place.
    body = world.cluster.raw("GET", path)[1]
    equal((body["kind"], body["metadata"].get("labels")), ("EphemeralContainers", None), "the subresource's object")
    equal(world.cluster.raw("PUT", path, body | {"ephemeralContainers": [container]})[0], 200, "the status of a PUT")
    equal(len(world.webhook.reviews("locked", "validate-pods")), 1, "the reviews: none but the creation's")

    def answer(name):
        old = world.stored(name)
        old["spec"].pop("ephemeralContainers", None)
        new = copy.deepcopy(old)
        new["spec"]["ephemeralContainers"] = [container]
        request = {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": "ephemeralcontainers",
            "name": name,
            "namespace": "plain",
            "operation": "UPDATE",
            "userInfo": {"username": "alice"},
            "object": new,
            "oldObject": old,
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        return ask(world, "/validate-pods", review)

    refused = answer("locked")
    equal(refused["allowed"], False, "what is said about the locked pod")
    equal(
        refused["status"]["message"],
        'ephemeral container "shell" would run inside a confidential guest whose agent policy refuses exec; to debug, '
        "run the TaskRun again with a profile whose agentPolicy.preset is AllowAll",
        "the message",
    )
    for name in ("open", "ordinary"):
        equal(answer(name)["allowed"], True, f"what is said about the {name} pod")


# ---- Our own resources

PROFILES_PATH = f"/apis/{P}v1alpha1/namespaces/plain/confidentialprofiles"

# What is written, and what kubectl shows. The first ones are for the webhook alone to see on an API server without CEL.
MISTAKES = [
    ("memory: {min: 8Gi, max: 4Gi}", REFUSED + "spec.memory.min is above spec.memory.max; raise max or lower min"),
    ("cpu: {mode: Fixed}", REFUSED + "spec.cpu.vcpus goes with spec.cpu.mode: Fixed, and only with it"),
    (
        "initdata: {}",
        REFUSED + "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 0",
    ),
    (
        "initdata: {kbs: {url: 'http://kbs', caBundle: x}}",
        f'{REFUSED}spec.initdata.kbs has a CA, but its url "http://kbs" is plain http; write https or drop the CA',
    ),
    (
        "initdata: {kbs: {url: 'https://kbs', caBundle: x}}",
        REFUSED + "spec.initdata.kbs.caBundle does not hold certificates in PEM form (-----BEGIN CERTIFICATE-----)",
    ),
    (
        "admission: {hostPath: Off}",
        'spec.admission.hostPath in body must be of type string: "boolean"',
    ),
    ("cpu: {mode: On}", 'spec.cpu.mode: Unsupported value: true: supported values: "Off", "Auto", "Fixed", "false"'),
    ("memory: {max: 8Gb}", 'spec.memory.max: Invalid value: "8Gb": spec.memory.max in body should match'),
    ("memori: {max: 8Gi}", 'unknown field "memori"'),
]


@test("a mistake in a profile is refused when it is made, and kubectl says what to do")
def _(world):
    for spec, message in MISTAKES:
        status, out, err = world.cluster.kubectl("apply", "-f", "-", stdin=stored_profile("mistake", spec), check=False)
        equal((status, out), (1, ""), f"kubectl's status for {spec}")
        check(message in err, f"for {spec}, kubectl says: {err}")
    kubectl_says = (
        f'The request is invalid: error when creating "STDIN": {REFUSED}spec.memory.min is above spec.memory.max; '
        "raise max or lower min\n"
    )
    made = stored_profile("mistake", "memory: {min: 8Gi, max: 4Gi}")
    equal(world.cluster.kubectl("create", "-f", "-", stdin=made, check=False)[2], kubectl_says, "kubectl create's words")
    review = [r for r in world.webhook.log() if r.get("object") == "mistake"][-1]
    equal((review["endpoint"], review["decision"]), ("validate-resources", "ProfileInvalid"), "what the log says")


@test("a profile is stored with its defaults, and an unquoted Off is Off")
def _(world):
    cluster = world.cluster
    equal(cluster.apply(stored_profile("short", "cpu: {mode: Off}, admission: {requireImageDigest: Off}"))[2], "", "stderr")
    spec = cluster.get_json("ccp", "short", "-n", "plain")["spec"]
    equal(spec["memory"]["max"], "64Gi", "the default of memory.max")
    equal((spec["cpu"], spec["admission"]["hostPath"]), ({"mode": False}, "Warn"), "cpu and admission.hostPath")
    cluster.apply(stored_profile("short", "memory: {max: 8589934592}"))
    table = cluster.kubectl("get", "ccp", "short", "-n", "plain", "-o", "wide")[1].splitlines()
    columns = ["NAME", "READY", "REASON", "SIZING", "MIN", "MAX", "VM", "RUNTIMECLASS", "DIGEST", "AGE"]
    equal(table[0].split(), columns, "the columns")
    equal(table[1].split()[:5], ["short", "Auto", "2Gi", "8589934592", "kata-cc"], "the columns' values")
    equal(cluster.get_json("confidential", "-n", "plain")["items"][0]["kind"], "ConfidentialProfile", "the category")
    for field in ("memory.max", "initdata.kbs.url", "cpu.mode"):
        out = cluster.kubectl("explain", f"ccp.spec.{field}")[1]
        check("<empty>" not in out, f"kubectl explain {field} says: {out}")
    # By then the name that the API server makes is there.
    named = stored_profile("", "", generateName="made-")
    equal(cluster.kubectl("create", "-f", "-", stdin=named.replace('"name": "", ', ""))[2], "", "stderr of generateName")


@test("a dangerous profile is stored with a warning")
def _(world):
    err = world.cluster.apply(stored_profile("open", "initdata: {kbs: {url: 'http://kbs'}}"))[2]
    equal(err, HTTP_WARNING, "what kubectl says")


@test("an invalid profile that is stored already can be relabelled, repaired and deleted")
def _(world):
    cluster = world.cluster
    invalid = {"memory": {"min": "8Gi", "max": "4Gi"}, "initdata": {"kbs": {"url": "https://kbs"}}}
    made = yaml.safe_load(stored_profile("old", "", finalizers=["test.invalid/kept"]))
    with world.without(VALIDATING):
        equal(world.cluster.raw("POST", PROFILES_PATH, made | {"spec": invalid})[0], 201, "the status while nobody looks")
    command = ["ccp", "old", "-n", "plain"]
    err = cluster.kubectl("label", *command, "a=b")[2]
    reason = "spec.memory.min is above spec.memory.max; raise max or lower min"
    equal(err, f"Warning: the profile is not valid, as before: {reason}\n", "what kubectl label says")
    patch = ["patch", *command, "--type=merge", "-p"]
    err = cluster.kubectl(*patch, '{"spec": {"memory": {"max": "5Gi"}}}', check=False)[2]
    check(REFUSED + reason in err, f"for a change that is no better, kubectl says: {err}")
    equal(cluster.kubectl(*patch, '{"spec": {"memory": {"max": "8Gi"}}}')[2], "", "what kubectl says of a repair")
    with world.without(VALIDATING):
        cluster.kubectl(*patch, '{"spec": {"memory": {"max": "4Gi"}}}')
    cluster.kubectl("delete", *command, "--wait=false")
    equal(cluster.kubectl(*patch, '{"metadata": {"finalizers": null}}')[2], "", "what kubectl says of a last finalizer")
    cluster.wait_for(lambda: cluster.kubectl("get", *command, check=False)[0] == 1, "the profile is gone")


@test("a status is kept whole, is not judged, and shows in the table")
def _(world):
    cluster = world.cluster
    cluster.apply(stored_profile("reported", ""))
    condition = {
        "type": "Ready",
        "status": "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "reason": "ConfigMapMissing",
        "message": "there is no ConfigMap",
    }
    digests = {name: "ab" for name in ("snpHostData", "tdxMrConfigId", "azurePcr8")}
    source = {"namespace": "plain", "name": "a", "key": "b"}
    initdata = {"digest": "sha256:ab", "algorithm": "sha256", "annotationBytes": 12, "configMap": source} | digests
    status = {"observedGeneration": 1, "conditions": [condition], "initdata": initdata}
    body = {
        "apiVersion": P + "v1alpha1",
        "kind": "ConfidentialProfile",
        "metadata": {"name": "reported", "namespace": "plain"},
        "status": status,
    }
    path = f"{PROFILES_PATH}/reported/status?fieldManager=test&force=true"
    reviews = len(world.webhook.log())
    code, answer = cluster.raw("PATCH", path, body, content_type="application/apply-patch+yaml")
    equal(code, 200, f"the status ({answer})")
    equal(answer["status"], status, "what is stored")
    equal(answer["metadata"]["generation"], 1, "the generation")
    check(not [r for r in world.webhook.log()[reviews:] if r.get("object") == "reported"], "a status was judged")
    table = cluster.kubectl("get", "ccp", "reported", "-n", "plain")[1].splitlines()[1].split()
    equal(table[:6], ["reported", "False", "ConfigMapMissing", "Auto", "2Gi", "64Gi"], "the table")
    # What is left out is taken away.
    del body["status"]["initdata"]
    code, answer = cluster.raw("PATCH", path, body, content_type="application/apply-patch+yaml")
    equal((code, "initdata" in answer["status"]), (200, False), "the status without initdata")


# Who may do what: verb, resource, -n; more than that, nobody.
RIGHTS = {
    "coco-webhook": {
        ("watch", "confidentialprofiles", "plain"): True,
        ("list", "configmaps", "plain"): True,
        ("watch", "namespaces", None): True,
        ("get", "secrets", SYSTEM_NAMESPACE): False,
        ("update", "configmaps", SYSTEM_NAMESPACE): False,
        ("patch", "confidentialprofiles/status", "plain"): False,
        ("update", "leases", SYSTEM_NAMESPACE): False,
    },
    "coco-controller": {
        ("watch", "confidentialprofiles", "plain"): True,
        ("list", "configmaps", "plain"): True,
        ("list", "namespaces", None): False,
        ("patch", "confidentialprofiles/status", "plain"): True,
        ("patch", "confidentialprofiles", "plain"): False,
        ("create", "events.events.k8s.io", "plain"): True,
        ("patch", "events.events.k8s.io", "plain"): True,
        ("create", "leases.coordination.k8s.io", SYSTEM_NAMESPACE): True,
        ("update", "leases.coordination.k8s.io", SYSTEM_NAMESPACE): True,
        ("update", "leases.coordination.k8s.io", "plain"): False,
        ("get", "secrets", SYSTEM_NAMESPACE): False,
        ("create", "pods", SYSTEM_NAMESPACE): False,
    },
}


@test("the programs may do what they do, and no more")
def _(world):
    world.apply_base("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")

    def may(account, verb, resource, namespace):
        resource, _, subresource = resource.partition("/")
        where = ["-n", namespace] if namespace else []
        where += [f"--subresource={subresource}"] if subresource else []
        account = f"--as=system:serviceaccount:{SYSTEM_NAMESPACE}:{account}"
        return world.cluster.kubectl("auth", "can-i", verb, resource, *where, account, check=False)[1].strip() == "yes"

    for account, rights in RIGHTS.items():
        world.cluster.wait_for(lambda: may(account, "list", "configmaps", "plain"), f"{account} has its rights")
        for right, allowed in rights.items():
            equal(may(account, *right), allowed, f"whether {account} may {right}")


# ---- Other webhooks


@test("a pod that was not mutated is refused by the second look")
def _(world):
    refusal = (
        "the pod is to be confidential, but /metadata/annotations/io.katacontainers.config.hypervisor.cc_init_data is "
        'not as profile "default" wants it: coco-webhook did not mutate it, or something changed it afterwards; see '
        "that the MutatingWebhookConfiguration of coco-webhook is in place, with reinvocationPolicy IfNeeded"
    )
    with world.without(MUTATING):
        equal(world.kubectl_create(pod("unmutated")), (1, "", f"{FORBIDDEN}{VALIDATE}{refusal}\n"), "kubectl's answer")
        world.created(pod("unlabelled", {}))


def until_changed(world, change, name):
    """Creates sample pods until the neighbour's change is in force: that pod, and (status, answer)."""
    with world.neighbour(change):
        for number in range(1000):
            made = sample_pod(f"{name}-{number}")
            status, answer = world.create(made)
            if status != 201 or "late" in answer["metadata"]["labels"]:
                return made["metadata"]["name"], status, answer
    raise AssertionError("the neighbour never came into force")


def and_label(made, *operations):
    """A neighbour's patch: these operations when it sees the pod first, and a label that says so."""
    if "late" in made["metadata"]["labels"]:
        return []
    return [{"op": "add", "path": "/metadata/labels/late", "value": "yes"}, *operations]


@test("a sidecar that a later webhook adds is counted")
def _(world):
    sidecar = {"name": "late", "image": "none.invalid/late"}
    sidecar["resources"] = {kind: {"memory": "256Mi"} for kind in ("requests", "limits")}
    add = {"op": "add", "path": "/spec/containers/-", "value": sidecar}
    name, status, made = until_changed(world, lambda made: and_label(made, add), "with-sidecar")
    equal(status, 201, f"the status ({made.get('message')})")
    check_confidential(made, "the pod")
    equal(made["spec"]["containers"][2]["resources"], sidecar["resources"], "the sidecar's resources")
    # The VM has room for it, and was not just relabelled.
    equal(made["metadata"]["annotations"][KATA + "default_memory"], "4352", "the VM's MiB")
    equal(world.webhook.decisions(name), ["Mutated", "Mutated"], "what was decided")
    equal(world.webhook.decisions(name, "validate-pods"), ["AlreadyConfidential"], "what the second look found")


@test("a later webhook that changes nothing of ours brings a second call and no second patch")
def _(world):
    name, status, made = until_changed(world, and_label, "with-label")
    equal(status, 201, f"the status ({made.get('message')})")
    check_confidential(made, "the pod")
    equal(world.webhook.decisions(name), ["Mutated", "AlreadyConfidential"], "what was decided")


INITDATA_PATH = "/metadata/annotations/io.katacontainers.config.hypervisor.cc_init_data"

# What a later webhook does, and the refusal that follows.
MEDDLING = [
    (
        "no-initdata",
        {"op": "remove", "path": INITDATA_PATH},
        "annotation io.katacontainers.config.hypervisor.default_memory is set on the pod, but the profile decides "
        "about it; remove it (Tekton copies it from the TaskRun, PipelineRun, Task or Pipeline), and set "
        "pipelines.confidentialcontainers.org/memory instead",
    ),
    (
        "kernel-params",
        {"op": "add", "path": "/metadata/annotations/io.katacontainers.config.hypervisor.kernel_params", "value": "x"},
        "annotation io.katacontainers.config.hypervisor.kernel_params is set on the pod, but it changes how the "
        "confidential guest is made; remove it (Tekton copies it from the TaskRun, PipelineRun, Task or Pipeline)",
    ),
    (
        "other-class",
        {"op": "replace", "path": "/spec/runtimeClassName", "value": "ordinary"},
        'spec.runtimeClassName is "ordinary", which is not confidential for profile "default"; remove it from the '
        'podTemplate (the profile sets "kata-cc"), or add it to spec.allowedRuntimeClasses of the profile',
    ),
]


@test("a later webhook that takes protection away has the pod refused")
def _(world):
    for name, operation, message in MEDDLING:
        _, status, answer = until_changed(world, lambda made: and_label(made, operation), name)
        equal((status, answer.get("message")), (403, MUTATE + message), name)


@test("what a webhook does after our last call, the second look sees")
def _(world):
    def in_second_call(operation):
        return lambda made: [operation] if "late" in made["metadata"]["labels"] else and_label(made)

    strip = {"op": "remove", "path": INITDATA_PATH}
    _, status, answer = until_changed(world, in_second_call(strip), "last-strip")
    equal(status, 403, "the status without initdata")
    check(answer["message"].startswith(VALIDATE), f"the refusal is: {answer['message']}")
    grow = {"op": "add", "path": "/spec/containers/1/resources/requests", "value": {"memory": "1Gi"}}
    name, status, _ = until_changed(world, in_second_call(grow), "last-grow")
    equal(status, 201, "the status with another size")
    equal(world.webhook.reviews(name, "validate-pods")[0]["warnings"], 1, "the number of warnings")


# ---- Faults


@test("while the webhook is down or stuck, labelled pods are refused, and nothing else is")
def _(world):
    world.created(sample_pod("before"))
    url = f"https://{HOST}:{world.webhook.port}/mutate-pods?timeout=3s"
    prefix = (
        'Error from server (InternalError): error when creating "STDIN": Internal error occurred: failed calling '
        f'webhook "labelled.mutate.pipelines.confidentialcontainers.org": Post "{url}": '
    )
    world.webhook.stop()
    try:
        refused = f"{prefix}dial tcp {HOST}:{world.webhook.port}: connect: connection refused\n"
        equal(world.kubectl_create(pod("down")), (1, "", refused), "kubectl's answer")
        world.created(pod("not-asked", {}))
        # Registered with failurePolicy Ignore.
        ready = [{"op": "add", "path": "/metadata/annotations/tekton.dev~1ready", "value": "READY"}]
        equal(json_patch(world, "before", ready)[0], 200, "the status of Tekton's update")
    finally:
        world.webhook.start()
    world.webhook.proc.pause()
    try:
        equal(world.kubectl_create(pod("stuck")), (1, "", f"{prefix}context deadline exceeded\n"), "kubectl's answer")
        world.created(pod("still-not-asked", {}))
    finally:
        world.webhook.proc.resume()
    check_confidential(world.created(pod("up-again")), "a pod after it")


@test("certificates are replaced under load, and no pod notices")
def _(world):
    done = threading.Event()
    numbers = itertools.count()

    def keep_creating(_):
        created = 0
        while not done.is_set():
            number = next(numbers)
            status, answer = world.create(pod(f"load-{number}"), dry_run=bool(number % 4))
            equal(status, 201, f"the status for load-{number} ({answer.get('message')})")
            check_confidential(answer, f"load-{number}")
            created += 1
        return created

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(keep_creating, i) for i in range(CLIENTS)]
        try:
            for _ in range(5):
                old = world.webhook.served_certificate()
                world.webhook.renew_certificate()
                wait_for(lambda: world.webhook.served_certificate() != old, "another certificate is served")
                # With another CA bundle in the configuration the API server connects anew.
                world.install(MUTATING, VALIDATING, ca=world.webhook.ca + "\n")
                world.install(MUTATING, VALIDATING)
        finally:
            done.set()
        counts = [client.result() for client in clients]
    equal(world.webhook.served_certificate().strip(), world.webhook.certificate.strip(), "the certificate served")
    check(min(counts) > 0, f"a client created nothing: {counts}")
    print(f"{sum(counts)} pods created meanwhile")


@test("300 pods by 8 clients: all confidential")
def _(world):
    def create(number):
        status, answer = world.create(sample_pod(f"scale-{number}"), "team-a")
        equal(status, 201, f"the status for scale-{number} ({answer.get('message')})")

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(create, range(300)))
    pods = world.cluster.raw("GET", "/api/v1/namespaces/team-a/pods")[1]["items"]
    scale = [made for made in pods if made["metadata"]["name"].startswith("scale-")]
    equal(len(scale), 300, "how many are stored")
    for made in scale:
        check_confidential(made, made["metadata"]["name"])
    status = pathlib.Path(f"/proc/{world.webhook.proc.pid}/status").read_text()
    print("the webhook's memory at its peak:", re.search(r"VmHWM:\s*(.*)", status)[1])


# ---- Manifests


@test("every sample is accepted as it stands")
def _(world):
    files = sorted(SAMPLES.glob("*.yaml"))
    check(len(files) >= 7, f"{SAMPLES} has only {len(files)} samples")
    for file in files:
        expected = HTTP_WARNING if file.name == "profile.yaml" else ""  # its comment says why it is http
        said = world.cluster.kubectl("apply", "-f", str(file))[2]
        equal(said, expected, f"what kubectl says of {file.name} on stderr")
    check_confidential(world.stored("build-pod", "team-a"), "the sample pod")


@test("the base is accepted as it stands, as far as Kubernetes 1.20 knows it")
def _(world):
    crds = [document for document in world.base if document["kind"] == "CustomResourceDefinition"]
    rest = [document for document in world.base if document not in crds]
    equal(len(crds), len(list(CRDS.glob("*_*.yaml"))), "how many CRDs there are")
    # Rules in CEL came with 1.25.
    for objects, flags in ((crds, ["--validate=false"]), (rest, [])):
        text = "---\n".join(yaml.safe_dump(document) for document in objects)
        _, out, err = world.cluster.kubectl("apply", "--dry-run=server", *flags, "-f", "-", stdin=text)
        equal(err, "", "what kubectl says on stderr")
        equal(len(out.splitlines()), len(objects), "how many objects were accepted")


main(Offline())
