#!/usr/bin/env python3
"""manifests/ as kubectl's kustomize builds it, without a cluster: what is generated is not stale, every overlay has what its
head promises, and none has what its oldest Kubernetes doesn't serve. Needs kubectl.
"""

import functools
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from tap import check, equal, main, test

MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(path.parent for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
SYSTEM_NAMESPACE = "coco-pipelines-system"
# The release that first served what we use, where 1.20 didn't.
SINCE = {
    ("policy/v1", "PodDisruptionBudget"): 21,
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): 30,
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): 30,
}
CEL_IN_CRDS, MATCH_CONDITIONS = 25, 28
OLDEST = {"single-cluster": 30, "dev": 20}


@functools.cache
def built(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ""), f"kubectl kustomize {folder.relative_to(ROOT)}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def key(document):
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace"), metadata["name"]


def all_keys(node):
    """Every key of every mapping below node."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield name
            yield from all_keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from all_keys(value)


def needs(document):
    """The oldest minor release of Kubernetes that takes the document whole."""
    since = SINCE.get((document["apiVersion"], document["kind"]), 20)
    keys = set(all_keys(document))
    if "x-kubernetes-validations" in keys:
        since = max(since, CEL_IN_CRDS)
    if "matchConditions" in keys and document["kind"].endswith("WebhookConfiguration"):
        since = max(since, MATCH_CONDITIONS)
    return since


@test("nothing that is generated is stale")
def _():
    command = [sys.executable, ROOT / "hack/manifests.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    equal((done.returncode, done.stdout, done.stderr), (0, "", ""), "what hack/manifests.py --check says")


@test("every overlay says its oldest Kubernetes, and has nothing that it doesn't serve")
def _():
    equal([folder.name for folder in OVERLAYS], sorted(OLDEST), "the overlays")
    for folder in OVERLAYS:
        oldest = OLDEST[folder.name]
        head = " ".join((folder / "kustomization.yaml").read_text().replace("#", "").split())
        check(f"Kubernetes 1.{oldest} and newer" in head, f"{folder.name} doesn't say Kubernetes 1.{oldest} and newer")
        newest = max(built(folder), key=needs)
        check(needs(newest) <= oldest, f"{folder.name}: {key(newest)} needs Kubernetes 1.{needs(newest)}, not 1.{oldest}")


@test("no build has an object twice, nor a kind whose CRD it brings")
def _():
    for folder in (MANIFESTS / "base", *OVERLAYS):
        documents = built(folder)
        keys = [key(document) for document in documents]
        equal(sorted(map(str, keys)), sorted(map(str, set(keys))), f"{folder.name}'s objects")
        brought = {d["spec"]["names"]["kind"] for d in documents if d["kind"] == "CustomResourceDefinition"}
        equal(brought & {d["kind"] for d in documents}, set(), f"{folder.name}'s objects of its own CRDs")


@test("the caBundle is left to who keeps the certificates")
def _():
    for folder in (MANIFESTS / "base", *OVERLAYS):
        for document in built(folder):
            check("caBundle" not in set(all_keys(document.get("webhooks"))), f"{folder.name}: {key(document)} has a caBundle")


main()
