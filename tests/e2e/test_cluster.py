#!/usr/bin/python3
"""Tests of the test cluster itself: when these fail, no other end-to-end test says anything."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from cluster import STATEFULSET_USER, TEKTON_USER, Cluster, ClusterError, free_ports, wait_for
from tap import check, equal, main, test


def pod(name, labels=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"containers": [{"name": "main", "image": "none.invalid/none"}], **spec},
    }


def processes_naming(folder):
    """The processes (by id) in whose command lines the folder appears."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:  # it ended meanwhile
            pass
    return found


def start_as_program():
    """Runs cluster.py as a program; returns it and its temporary folder once the cluster serves."""
    argv = [sys.executable, pathlib.Path(__file__).with_name("cluster.py")]
    program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = program.stdout.readline().strip()
    check(line.startswith("export KUBECONFIG="), f"cluster.py says '{line}' and not where its kubeconfig is")
    return program, pathlib.Path(line.partition("=")[2]).parent


@test("kubectl gets the server's version")
def _(cluster):
    version = json.loads(cluster.kubectl("version", "-o", "json")[1])
    equal(version["serverVersion"]["gitVersion"], "v1.20.2", "the server's version")


@test("a pod in a new namespace stays Pending")
def _(cluster):
    cluster.apply(
        """\
apiVersion: v1
kind: Namespace
metadata:
  name: first
---
apiVersion: v1
kind: Pod
metadata:
  name: a
  namespace: first
spec:
  containers:
  - name: main
    image: none.invalid/none
"""
    )
    equal(cluster.get_json("pod", "a", "-n", "first")["status"]["phase"], "Pending", "the pod's phase")


@test("server-side apply works")  # it crashes an API server that was built with the old reflect2
def _(cluster):
    path = "/api/v1/namespaces/default/configmaps/applied?fieldManager=test"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"key": "value"}}
    status, answer = cluster.raw("PATCH", path, body, content_type="application/apply-patch+yaml")
    equal(status, 201, f"the status of an answer ({answer})")
    equal(answer["metadata"]["managedFields"][0]["operation"], "Apply", "the managed fields' operation")


@test("alice is refused, by kubectl and by a direct call")
def _(cluster):
    status, _, stderr = cluster.kubectl("get", "pods", user="alice", check=False)
    check(status != 0 and 'User "alice" cannot list' in stderr, f"kubectl as alice: status {status}, {stderr}")
    equal(cluster.raw("GET", "/api/v1/namespaces/default/pods", user="alice")[0], 403, "the status for alice")
    try:
        cluster.kubectl("get", "pods", user="alice")
    except ClusterError as error:
        check("cannot list" in str(error), f"the error does not show what kubectl said: {error}")
    else:
        check(False, "kubectl() does not raise when kubectl fails")


@test("controllers' users may create pods once they are granted that")
def _(cluster):
    path = "/api/v1/namespaces/default/pods"
    equal(cluster.raw("POST", path, pod("early"), user="tekton")[0], 403, "the status before the grant")
    cluster.grant_edit("tekton")
    cluster.grant_edit("statefulset")  # leaves the first one's grant alone
    for user in ("tekton", "statefulset"):
        cluster.wait_for(
            lambda: cluster.raw("POST", path + "?dryRun=All", pod("x"), user=user)[0] == 201, f"{user} may create pods"
        )
        equal(cluster.raw("POST", path, pod(f"by-{user}"), user=user)[0], 201, f"the status for {user}")
    equal(cluster.raw("GET", path, user="alice")[0], 403, "the status for alice")


@test("the audit log tells who created what")
def _(cluster):
    def creators():
        return {
            event["objectRef"].get("name"): event["user"]["username"]
            for event in cluster.audit()
            if event["verb"] == "create" and event.get("objectRef", {}).get("resource") == "pods"
        }

    cluster.grant_edit("tekton", "statefulset")
    for name, user in (("audit-t", "tekton"), ("audit-s", "statefulset")):
        body = json.dumps(pod(name))
        cluster.wait_for(
            lambda: cluster.kubectl("create", "-f", "-", user=user, stdin=body, check=False)[0] == 0, f"{user} creates"
        )
    cluster.wait_for(lambda: creators().get("audit-s"), "the audit log has the last pod")
    equal(creators().get("audit-t"), TEKTON_USER, "the creator of audit-t")
    equal(creators().get("audit-s"), STATEFULSET_USER, "the creator of audit-s")


@test("a pod of a RuntimeClass gets its overhead")
def _(cluster):
    overhead = {"cpu": "250m", "memory": "350Mi"}
    cluster.apply(
        json.dumps(
            {
                "apiVersion": "node.k8s.io/v1",
                "kind": "RuntimeClass",
                "metadata": {"name": "kata-cc"},
                "handler": "kata-cc",
                "overhead": {"podFixed": overhead},
            }
        )
    )
    status, created = cluster.raw("POST", "/api/v1/namespaces/default/pods", pod("cc", runtimeClassName="kata-cc"))
    equal(status, 201, f"the status of an answer ({created})")
    equal(created["spec"].get("overhead"), overhead, "the pod's overhead")
    status, answer = cluster.raw("POST", "/api/v1/namespaces/default/pods", pod("no", runtimeClassName="other"))
    equal(status, 403, f"the status for a pod of an unknown RuntimeClass ({answer})")


@test("a webhook that does not answer refuses the pods it selects, and only these")
def _(cluster):
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    status, answer = cluster.raw(
        "POST",
        path,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "closed"},
            "webhooks": [
                {
                    "name": "closed.test.invalid",
                    "clientConfig": {"url": f"https://127.0.0.1:{free_ports(1)[0]}/mutate"},
                    "failurePolicy": "Fail",
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "objectSelector": {"matchLabels": {"selected": "yes"}},
                    "rules": [rule],
                }
            ],
        },
    )
    equal(status, 201, f"the status of an answer ({answer})")

    def create(name, selected):
        pods = "/api/v1/namespaces/default/pods?dryRun=All"
        return cluster.raw("POST", pods, pod(name, {"selected": selected}))

    cluster.wait_for(lambda: create("w", "yes")[0] != 201, "the webhook is in force")
    status, answer = create("w", "yes")
    check(
        status == 500 and 'failed calling webhook "closed.test.invalid"' in answer["message"],
        f"the refusal has status {status}: {answer}",
    )
    equal(create("w", "no")[0], 201, "the status for a pod that it does not select")
    cluster.kubectl("delete", "mutatingwebhookconfiguration", "closed")
    cluster.wait_for(lambda: create("w", "yes")[0] == 201, "the deleted webhook is out of force")


@test("a paused API server does not answer until it is resumed")
def _(cluster):
    cluster.pause_apiserver()
    try:
        status, _, _ = cluster.kubectl("get", "namespaces", "--request-timeout=1s", check=False)
    finally:
        cluster.resume_apiserver()
    check(status != 0, "kubectl got an answer")
    cluster.wait_for(lambda: cluster.raw("GET", "/readyz")[0] == 200, "it answers /readyz with 200 after it")


@test("the API server keeps the data over a restart")
def _(cluster):
    cluster.kubectl("create", "configmap", "kept", "--from-literal=key=value")
    cluster.stop_apiserver()
    status, _, _ = cluster.kubectl("get", "configmap", "kept", check=False)
    check(status != 0, "it still answers")
    cluster.start_apiserver()
    equal(cluster.get_json("configmap", "kept")["data"], {"key": "value"}, "the data")


@test("etcd keeps the data over a restart")
def _(cluster):
    cluster.kubectl("create", "configmap", "stored", "--from-literal=key=value")
    cluster.stop_etcd()
    cluster.start_etcd()
    path = "/api/v1/namespaces/default/configmaps/stored"
    cluster.wait_for(lambda: cluster.raw("GET", path)[0] == 200, "the API server reads from etcd again")
    equal(cluster.raw("GET", path)[1]["data"], {"key": "value"}, "the data")


@test("a compacted etcd has no place in an old list any more")
def _(cluster):
    path = "/api/v1/namespaces?limit=1"
    token = cluster.raw("GET", path)[1]["metadata"]["continue"]
    equal(cluster.raw("GET", f"{path}&continue={token}")[0], 200, "the status of the next page")
    cluster.kubectl("create", "namespace", "newer")
    cluster.compact_etcd()
    status, answer = cluster.raw("GET", f"{path}&continue={token}")
    equal((status, answer.get("reason")), (410, "Expired"), "the answer after it")


@test("a rotated token takes the old one's place")
def _(cluster):
    old = cluster.tokens["alice"]
    new = cluster.rotate_token("alice")
    check(new != old, "the token is the same")
    equal(cluster.raw("GET", "/api/v1/namespaces", user="alice")[0], 401, "the new one's status before a restart")
    cluster.stop_apiserver()
    cluster.start_apiserver()
    equal(cluster.raw("GET", "/api/v1/namespaces", user="alice")[0], 403, "its status after it")
    cluster.tokens["alice"] = old
    equal(cluster.raw("GET", "/api/v1/namespaces", user="alice")[0], 401, "the old one's status")
    cluster.tokens["alice"] = new


@test("waiting fails at once, and with the log's end, when a server died")
def _(_):
    with Cluster() as cluster:
        cluster.apiserver.process.kill()
        try:
            cluster.wait_for(lambda: False, "never", timeout=600)
        except ClusterError as error:
            check("kube-apiserver ended by itself with status -9" in str(error), f"it says: {error}")


@test("nothing is left of a stopped cluster")
def _(_):
    with Cluster() as cluster:
        folder = cluster.dir
        equal(len(processes_naming(folder)), 2, "the number of its processes while it runs")
    equal(processes_naming(folder), [], "its processes")
    check(not folder.exists(), f"{folder} is still there")


@test("nothing is left when the test gets SIGTERM")
def _(_):
    program, folder = start_as_program()
    with program:
        program.terminate()
        equal(program.wait(60), 128 + signal.SIGTERM, "the exit status")
    equal(processes_naming(folder), [], "its processes")
    check(not folder.exists(), f"{folder} is still there")


@test("no process is left when the test gets SIGKILL")
def _(_):
    program, folder = start_as_program()
    with program:
        program.kill()
    try:
        wait_for(lambda: not processes_naming(folder), "its processes are gone")
    finally:
        shutil.rmtree(folder)  # nobody was left to do that


main(Cluster())
