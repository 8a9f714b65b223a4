#!/usr/bin/python3
"""What a KbsConfig is rendered to (tests/golden/kbs-render), applied to a real API server.

All that is rendered has to come back as it was, or it would be applied again and again; and what has been one KbsConfig's
has to become any other's by applying that, with nothing left over.
"""

import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from cluster import ROOT, Cluster
from tap import check, equal, main, test

GOLDENS = ROOT / "tests/golden/kbs-render"
APPLY = "application/apply-patch+yaml"
PATHS = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Service": "api/v1/namespaces/{}/services",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Ingress": "apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "Route": "apis/route.openshift.io/v1/namespaces/{}/routes",
    "TLSRoute": "apis/gateway.networking.k8s.io/v1alpha2/namespaces/{}/tlsroutes",
    "ServiceMonitor": "apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
}
CUSTOM = ("Route", "TLSRoute", "ServiceMonitor")
# What the API server chooses, and keeps.
CHOSEN = ("clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "ipFamilies", "ipFamilyPolicy")
# The same amount in the API server's words.
AMOUNTS = {"0.5": "500m"}


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def crd(kind):
    """A kind without a schema of its own: what its real one does is not tested here."""
    _, group, version, _, _, plural = PATHS[kind].split("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups below k8s.io ask for this.
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def differences(got, wanted, path=""):
    """Paths at which what is wanted is not there."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key, value in wanted.items():
            if key not in got:
                yield f"{path}.{key} is missing"
            else:
                yield from differences(got[key], value, f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(got, list) and len(got) == len(wanted):
        for i, value in enumerate(wanted):
            yield from differences(got[i], value, f"{path}[{i}]")
    elif got != wanted and got != AMOUNTS.get(str(wanted)):
        yield f"{path} is {got!r}, not {wanted!r}"


class Applied:
    def __init__(self, cluster):
        self.cluster = cluster
        for kind in CUSTOM:
            cluster.kubectl("create", "-f", "-", stdin=json.dumps(crd(kind)))
        for kind in CUSTOM:
            path = "/" + PATHS[kind].format("default")
            cluster.wait_for(lambda path=path: cluster.raw("GET", path)[0] == 200, f"{kind} is served")

    def namespace(self, name):
        self.cluster.kubectl("create", "namespace", name)
        return name

    def apply(self, ns, document):
        document = document | {"metadata": document["metadata"] | {"namespace": ns}}
        path = "/" + PATHS[document["kind"]].format(ns) + "/" + document["metadata"]["name"]
        query = "?fieldManager=coco-controller&force=true"
        status, answer = self.cluster.raw("PATCH", path + query, document, content_type=APPLY)
        check(status in (200, 201), f"{document['kind']} is refused: {answer}")
        return document, answer


def comes_back(applied, ns, path):
    for document in documents(path):
        wanted, live = applied.apply(ns, document)
        equal(list(differences(live, wanted)), [], f"{wanted['kind']}: what came back otherwise")
        again = applied.apply(ns, document)[1]
        version = live["metadata"]["resourceVersion"]
        equal(again["metadata"]["resourceVersion"], version, f"{wanted['kind']}: the version after a second time")


def canonical(tree):
    """Without what the API server chooses; lists with keys, whose order is that of their past, in the keys' order."""
    if isinstance(tree, dict):
        return {key: canonical(value) for key, value in tree.items() if key not in CHOSEN}
    if not isinstance(tree, list):
        return tree
    tree = [canonical(value) for value in tree]
    for key in ("mountPath", "name"):
        if tree and all(isinstance(value, dict) and key in value for value in tree):
            return sorted(tree, key=lambda value: value[key])
    return tree


def becomes(applied, kind, name):
    """Every golden's object of that kind and name becomes every other's, and back."""
    found = {}
    for path in sorted(GOLDENS.glob("*.yaml")):
        for document in documents(path):
            same = any(document["spec"] == other["spec"] for other in found.values() if "spec" in document)
            if document["kind"] == kind and document["metadata"]["name"] == name and not same:
                found[path.stem] = document
    check(len(found) > 1, f"there are {len(found)} of them")
    fresh = {}
    for i, (golden, document) in enumerate(found.items()):
        ns = applied.namespace(f"{kind.lower()}-{i}")
        fresh[golden] = canonical(applied.apply(ns, document)[1]["spec"])
    ns = applied.namespace(f"{kind.lower()}-all")
    for a in found:
        applied.apply(ns, found[a])
        for b in (b for b in found if b > a):
            for golden, before in ((b, a), (a, b)):
                live = applied.apply(ns, found[golden])[1]
                equal(canonical(live["spec"]), fresh[golden], f"the spec of {golden}, applied to {before}")


with Cluster() as cluster:
    world = Applied(cluster)
    for number, golden in enumerate(sorted(GOLDENS.glob("*.yaml"))):

        @test(f"comes back as it was: {golden.stem}")
        def _(number=number, golden=golden):
            comes_back(world, world.namespace(f"golden-{number}"), golden)

    for kind, name in (("Deployment", "trustee-deployment"), ("Service", "kbs-service"), ("Route", "kbs")):

        @test(f"any becomes any other: {kind}")
        def _(kind=kind, name=name):
            becomes(world, kind, name)

    main()
