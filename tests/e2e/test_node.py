#!/usr/bin/python3
"""The stand-in for scheduler, kubelet and kube-proxy (node.py), with a program that tells how it sees the world."""

import contextlib
import http.client
import json
import os
import tempfile

from container import USER_ID, user_options
from node import TOKEN_FOLDER, Node
from world import ROOT

from tap import check, equal, main, test

PROGRAM = ROOT / "tests/lib/pod_probe.py"
NS = "probes"
# Whoever is slow to answer isn't sick: the machine may do other things as well.
PROBE = {"httpGet": {"path": "/readyz", "port": "plain"}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1}
RESTRICTED = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}


def probe(name, volumes=(), **container):
    """A pod of the probe; volumes: (mountPath, volume) of each."""
    made = [{"name": f"v{i}", **volume} for i, (_, volume) in enumerate(volumes)]
    mounts = [{"name": f"v{i}", "mountPath": path} for i, (path, _) in enumerate(volumes)]
    described = {
        "name": "main",
        "image": f"registry.invalid/coco/{PROGRAM.name}:0.1@sha256:{'0' * 64}",
        "ports": [{"name": "plain", "containerPort": 8080}],
        "volumeMounts": mounts,
        "readinessProbe": PROBE,
        "securityContext": RESTRICTED,
    }
    spec = {"containers": [described | container], "volumes": made, "terminationGracePeriodSeconds": 30}
    spec["serviceAccountName"] = "default"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


class Probes:
    """The cluster, its node, and what tests ask of both."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="coco-node-"))
            self.node = stack.enter_context(Node.for_cluster(folder, {PROGRAM.name: PROGRAM}))
            self.cluster = self.node.cluster
            self.cluster.kubectl("create", "namespace", NS)
            self.cluster.kubectl("create", "serviceaccount", "default", "-n", NS)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def create(self, kind, made):
        self.node.call("POST", f"/api/v1/namespaces/{NS}/{kind}", made, good=(201,))

    def get(self, kind, name):
        return self.node.call("GET", f"/api/v1/namespaces/{NS}/{kind}/{name}", good=(200, 404))

    def wait(self, name, what, predicate):
        """Until the predicate holds of the pod's object."""
        return self.cluster.wait_for(lambda: (o := self.get("pods", name)[1]) and predicate(o) and o, f"{name} {what}")

    def run(self, made):
        """Creates a pod and waits until it is ready."""
        self.create("pods", made)
        return self.wait(made["metadata"]["name"], "is ready", is_ready)

    def address(self, name):
        return self.node.inner(self.get("pods", name)[1]["status"]["podIP"])

    def ask(self, name, path="/", method="GET"):
        with contextlib.closing(http.client.HTTPConnection(self.address(name), 8080, timeout=10)) as connection:
            connection.request(method, path)
            return json.loads(connection.getresponse().read() or "null")

    def delete(self, name):
        self.cluster.kubectl("delete", "pod", name, "-n", NS)

    def events(self, name):
        found = self.cluster.get_json("events", "-n", NS)["items"]
        return {event["reason"] for event in found if event["involvedObject"]["name"] == name}


def is_ready(object):
    conditions = {c["type"]: c["status"] for c in object.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True"


def container_status(object):
    return object.get("status", {}).get("containerStatuses", [{}])[0]


@test("a container has its command line, environment, user, host name and read-only root")
def _(world):
    env = [
        {"name": "GREETING", "value": "hello $(NAME) $$(NAME)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "AGAIN", "value": "$(NAME)"},
        {"name": "UID_OF_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]
    made = world.run(probe("sees", [("/scratch", {"emptyDir": {}})], args=["--name=$(NAME)", "a b'c"], env=env))
    told = world.ask("sees")
    variables = told["environment"]
    equal(told["arguments"], ["--name=sees", "a b'c"], "the arguments")
    equal(variables["GREETING"], "hello $(NAME) $(NAME)", "a variable of one that comes later")
    equal((variables["AGAIN"], variables["UID_OF_POD"]), ("sees", made["metadata"]["uid"]), "variables of fields")
    check("HOME" not in variables, "the test's own environment is the container's")
    equal(told["host"], "sees", "the host name")
    equal(told["user"], USER_ID if user_options() else os.getuid(), "the user")
    if user_options():
        check(all(line.endswith("0" * 16) for line in told["capabilities"]), f"capabilities: {told['capabilities']}")
    equal(world.ask("sees", "/file?/"), {"error": "Read-only file system"}, "writing to the root")
    check("error" in world.ask("sees", "/file?/usr"), "it can write to /usr")
    equal(world.ask("sees", "/file?/scratch"), {"writable": True}, "writing to an emptyDir")
    equal(world.ask("sees", f"/file?{ROOT}"), {"error": "No such file or directory"}, "what the machine has")
    world.delete("sees")


@test("its token is the ServiceAccount's, bound to the pod; without one there is none")
def _(world):
    world.run(probe("known"))
    world.cluster.tokens["known"] = world.ask("known", f"/file?{TOKEN_FOLDER}/token")["text"]
    path = f"/api/v1/namespaces/{NS}/pods"
    status, answer = world.cluster.raw("GET", path, user="known")
    equal(status, 403, "the status of a request with it")
    check(f"system:serviceaccount:{NS}:default" in answer["message"], f"who it is: {answer['message']}")
    equal(world.ask("known", f"/file?{TOKEN_FOLDER}/namespace"), {"text": NS}, "the namespace's file")
    check("BEGIN CERTIFICATE" in world.ask("known", f"/file?{TOKEN_FOLDER}/ca.crt")["text"], "no CA")
    made = probe("unknown")
    made["spec"]["automountServiceAccountToken"] = False
    world.run(made)
    equal(world.ask("unknown", f"/file?{TOKEN_FOLDER}/token"), {"error": "No such file or directory"}, "the token")
    for name in ("known", "unknown"):
        world.delete(name)


@test("it waits for a Secret that is missing, and its files follow the Secret")
def _(world):
    made = probe("mounts", [("/etc/its", {"secret": {"secretName": "its"}})])
    world.create("pods", made)
    world.wait("mounts", "waits", lambda o: "its" in container_status(o).get("state", {}).get("waiting", {}).get("message", ""))
    world.cluster.wait_for(lambda: "FailedMount" in world.events("mounts"), "an event tells of it")
    secret = {"metadata": {"name": "its"}, "stringData": {"a": "one"}}
    world.create("secrets", secret)
    world.wait("mounts", "is ready", is_ready)
    equal(world.ask("mounts", "/file?/etc/its/a"), {"text": "one"}, "the file")
    equal(world.ask("mounts", "/file?/etc/its"), {"error": "Read-only file system"}, "writing to the volume")
    patch = json.dumps({"stringData": {"a": "two"}})
    world.cluster.kubectl("patch", "secret", "its", "-n", NS, "-p", patch)
    world.cluster.wait_for(lambda: world.ask("mounts", "/file?/etc/its/a") == {"text": "two"}, "the file follows")
    world.delete("mounts")


@test("readiness follows its probe, and what does not live is restarted")
def _(world):
    liveness = PROBE | {"httpGet": {"path": "/healthz", "port": 8080}}
    world.run(probe("probed", livenessProbe=liveness, startupProbe=PROBE | {"failureThreshold": 30}))
    world.ask("probed", "/unready", "POST")
    world.wait("probed", "is not ready", lambda o: not is_ready(o))
    world.ask("probed", "/ready", "POST")
    world.wait("probed", "is ready again", is_ready)
    world.ask("probed", "/sick", "POST")
    again = world.wait("probed", "is restarted", lambda o: container_status(o)["restartCount"] == 1 and is_ready(o))
    equal(container_status(again)["lastState"]["terminated"]["exitCode"], 0, "how it ended")
    with contextlib.suppress(OSError, http.client.HTTPException):  # it goes without an answer
        world.ask("probed", "/exit", "POST")
    again = world.wait("probed", "is restarted again", lambda o: container_status(o)["restartCount"] == 2 and is_ready(o))
    equal(container_status(again)["lastState"]["terminated"]["exitCode"], 3, "how it ended")
    world.delete("probed")


@test("it ends at SIGTERM, or by force when its grace is over, and is gone then")
def _(world):
    for name, linger, grace, status in (("brief", "0.5", 30, 0), ("stubborn", "60", 2, -9)):
        made = probe(name, env=[{"name": "LINGER", "value": linger}])
        made["spec"]["terminationGracePeriodSeconds"] = grace
        world.run(made)
        world.delete(name)
        equal(world.get("pods", name)[0], 404, f"the status of pod {name}")
        equal([s for _, pod, _, s in world.node.exits if pod == name], [status], f"how {name} ended")


@test("what it does not know is refused in words")
def _(world):
    cases = {
        "root": {"securityContext": {"runAsUser": 0}},
        "exec": {"envFrom": [{"configMapRef": {"name": "a"}}]},
        "host": {"volumes": [("/host", {"hostPath": {"path": "/"}})]},
    }
    for name, wanted in cases.items():
        world.create("pods", probe(name, **wanted))
        refused = world.wait(name, "is refused", lambda o: "waiting" in container_status(o).get("state", {}))
        equal(container_status(refused)["state"]["waiting"]["reason"], "CreateContainerConfigError", f"{name}: why it waits")
        world.delete(name)


@test("a Service's connections go to ready pods in turn, and to nobody where none is")
def _(world):
    service = {"selector": {"app": "served"}, "ports": [{"name": "plain", "port": 80, "targetPort": "plain"}]}
    world.create("services", {"metadata": {"name": "served"}, "spec": service})
    host = world.get("services", "served")[1]["spec"]["clusterIP"]
    equal(world.node.resolve(host, 80), None, "where it goes without pods")
    for name in ("one", "two"):
        made = probe(name)
        made["metadata"]["labels"]["app"] = "served"
        world.run(made)
    both = {(world.address(name), 8080) for name in ("one", "two")}
    world.cluster.wait_for(lambda: {world.node.resolve(host, 80) for _ in range(2)} == both, "it goes to both")
    equal(world.node.resolve(host, 81), None, "where another port goes")
    world.ask("one", "/unready", "POST")
    two = (world.address("two"), 8080)
    world.cluster.wait_for(lambda: {world.node.resolve(host, 80) for _ in range(2)} == {two}, "it goes to the ready one")
    for name in ("one", "two"):
        world.delete(name)
    world.cluster.wait_for(lambda: world.node.resolve(host, 80) is None, "it goes to nobody")


main(Probes())
