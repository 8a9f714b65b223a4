#!/usr/bin/env python3
"""The table of test_policy.py on a real API server that has ValidatingAdmissionPolicies, install.yaml applied, no webhook:

    COCO_KUBE_APISERVER=PATH tests/manifests/policy_live.py      # 1.30 or newer

No part of the suites, whose API server is 1.20: run it where the policies, the match conditions or install.yaml change.
"""

import contextlib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/lib")]

from cluster import USERS, Cluster
from policy_cases import CASES, CHANGES, DEBUGS, EDITS, P
from tap import check, equal, main, test
from world import LABEL

RUNTIME_CLASSES = ("kata-cc", "kata-remote", "runc")


class World:
    def __enter__(self):
        self.cluster = Cluster().__enter__()
        self.namespaces = {}
        return self

    def __exit__(self, *_):
        self.cluster.__exit__(None, None, None)

    def namespace(self, labels):
        """The name of a namespace with these labels."""
        key = json.dumps(labels, sort_keys=True)
        if key not in self.namespaces:
            name = f"ns-{len(self.namespaces)}"
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
            self.namespaces[key] = name
        return self.namespaces[key]

    def apply(self, object):
        self.cluster.apply(json.dumps(object))

    def user(self, name):
        return next(key for key, (user, _) in USERS.items() if user == name)

    def create(self, namespace, pod, user="admin", dry_run=True):
        query = "?dryRun=All" if dry_run else ""
        return self.cluster.raw("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod, user=user)


@contextlib.contextmanager
def world():
    with World() as w:
        cluster = w.cluster
        for name in RUNTIME_CLASSES:
            w.apply({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name})
        cluster.grant_edit("tekton", "statefulset")
        w.namespace({})
        status, _, err = cluster.kubectl("apply", "-f", str(ROOT / "manifests/install.yaml"))
        equal((status, err), (0, ""), "what kubectl apply -f install.yaml says on stderr")
        for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
            cluster.kubectl("delete", kind, "coco-webhook")
        probe = next(case for case in CASES if case.refused)
        # Policies and the absence of webhooks take effect within a second or two.
        cluster.wait_for(lambda: "ValidatingAdmissionPolicy" in w.create("ns-0", probe.pod())[1].get("message", ""),
                         "the policy is in force, and the webhook isn't")
        cluster.wait_for(lambda: w.create("ns-0", CASES[0].pod())[0] == 201, "an ordinary pod is created")
        yield w


def check_answer(answer, refused, what):
    status, body = answer
    if refused is None:
        check(status < 300, f"{what}: status {status}, {body.get('message')}")
    else:
        check(status == 403 and refused in body["message"], f"{what}: status {status}, {body.get('message')}")
        print(f"{what}: {body['message']}")


@test("pods are judged as the table says")
def _(world):
    for case in CASES:
        answer = world.create(world.namespace(case.namespace), case.pod(), world.user(case.user))
        check_answer(answer, case.refused, case.name)


@test("ephemeral containers are judged as the table says")
def _(world):
    for number, case in enumerate(DEBUGS):
        namespace = world.namespace(case.namespace)
        pod = case.pod(0)
        pod["metadata"]["name"] = f"debugged-{number}"
        pod["spec"] |= {"runtimeClassName": "kata-cc"}
        status, _ = world.create(namespace, pod, dry_run=False)
        equal(status, 201, f"{case.name}: the status of creating it")
        path = f"/api/v1/namespaces/{namespace}/pods/debugged-{number}/ephemeralcontainers"
        if case.had:
            # There is no way to have had one but for a namespace that allows it for a moment.
            world.cluster.kubectl("label", "namespace", namespace, P + "debug=allowed")
            patch = {"spec": {"ephemeralContainers": case.pod(case.had)["spec"]["ephemeralContainers"]}}
            world.cluster.wait_for(lambda p=path, b=patch: patched(world, p, b)[0] == 200, "the first one is added")
            world.cluster.kubectl("label", "namespace", namespace, P + "debug-")
            # In force again once the next one would be refused.
            more = {"spec": {"ephemeralContainers": [{"name": "more", "image": "none.invalid/none"}]}}
            world.cluster.wait_for(lambda p=path, b=more: patched(world, p + "?dryRun=All", b)[0] == 403, "refused again")
        body = {"spec": {"ephemeralContainers": case.pod(case.has)["spec"].get("ephemeralContainers", [])}}
        check_answer(patched(world, path, body), case.refused, case.name)


@test("what a confidential pod is known by stays, and no other gets it, as the table says")
def _(world):
    for number, case in enumerate(CHANGES):
        namespace = world.namespace(case.namespace)
        before, after = case.pods()
        before["metadata"]["name"] = f"changed-{number}"
        status, made = world.create(namespace, before, dry_run=False)
        equal(status, 201, f"{case.name}: the status of creating it")
        for part in ("annotations", "labels"):
            made["metadata"][part] = after["metadata"].get(part, {})
        path = f"/api/v1/namespaces/{namespace}/pods/changed-{number}"
        check_answer(world.cluster.raw("PUT", path, made), case.refused, case.name)


def patched(world, path, body):
    return world.cluster.raw("PATCH", path, body, content_type="application/strategic-merge-patch+json")


@test("our own namespace and kube-system are kept out")
def _(world):
    for name in ("coco-pipelines-system", "kube-system"):
        pod = {"metadata": {"name": "a", "labels": {LABEL: "true"}}, "spec": {
            "containers": [{"name": "main", "image": "none.invalid/none", "securityContext": {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}}
        check_answer(world.create(name, pod), None, f"a pod in {name}")


# The last one: from here on, the API server asks a webhook that isn't there.
@test("of its configurations the webhook may change caBundle alone")
def _(world):
    cluster = world.cluster
    cluster.apply((ROOT / "manifests/base/webhook/webhooks.yaml").read_text())
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        for edit in EDITS:
            as_user = [] if edit.user == "admin" else ["--as", edit.user, "--as-group", "system:masters"]
            command = ["patch", kind, "coco-webhook", "--type=json", "--dry-run=server", "-p", json.dumps(edit.patch())]
            status, _, err = cluster.kubectl(*command, *as_user, check=False)
            check((status != 0) == edit.refused, f"{kind}, {edit.name}: status {status}, {err}")
            if edit.refused:
                check("may change nothing of its configurations but caBundle" in err, f"{kind}, {edit.name}: {err}")


main(world())
