#!/usr/bin/env python3
"""The Helm chart, rendered by Helm's own code, makes what the overlays make: object by object, field by field."""

import copy
import itertools
import pathlib
import re
import sys

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from kustomize import built, key
from tap import check, equal, main, test

CHART = ROOT / "manifests/helm/coco-pipelines"
OVERLAYS = ROOT / "manifests/overlays"
NAMESPACE = "coco-pipelines-system"
# Helm's own, on every object.
HELMS = {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "coco-pipelines-0.1.0"}
OFF = {"enabled": False}
HUB = {"webhook": OFF}
SPOKE = {"controller": OFF}
# Values, and the overlay that they make.
SAME = [
    ("single-cluster", {}),
    ("monitored", {"monitoring": {"enabled": True}}),
    ("cert-manager", {"certificates": {"mode": "cert-manager"}}),
    ("openshift", {"certificates": {"mode": "openshift"}, "admissionPolicy": OFF}),
    ("trusted-hub", HUB),
    ("spoke", SPOKE),
]


def render(values, namespace=NAMESPACE):
    """{key: object}, without what Helm adds."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(chart.merge_values(values))
        texts = chart.render(values, name="coco", namespace=namespace)
    found = {}
    for path, text in texts.items():
        if path.endswith("NOTES.txt"):
            continue
        for document in yaml.safe_load_all(text):
            if document is not None:
                check(key(document) not in found, f"{key(document)} is there twice")
                found[key(document)] = document
    return found


def plain(document):
    """The object without what Helm adds to all, checked."""
    document = copy.deepcopy(document)
    metadata = document["metadata"]
    for label, value in HELMS.items():
        equal(metadata["labels"].pop(label), value, f"{key(document)}'s label {label}")
    if not metadata["labels"]:
        del metadata["labels"]
    if document["kind"] in ("CustomResourceDefinition", "Namespace"):
        equal(metadata["annotations"].pop("helm.sh/resource-policy"), "keep", f"{key(document)}'s policy")
        if not metadata["annotations"]:
            del metadata["annotations"]
    return document


def differences(got, want, path=""):
    """Where two trees differ, for people."""
    if isinstance(got, dict) and isinstance(want, dict):
        for name in sorted(got.keys() | want.keys()):
            yield from differences(got.get(name), want.get(name), f"{path}.{name}")
    elif isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
        for number, pair in enumerate(zip(got, want)):
            yield from differences(*pair, f"{path}[{number}]")
    elif got != want:
        yield f"{path}: {got!r}, not {want!r}"


@test("each overlay's objects are those of the chart")
def _():
    for overlay, values in SAME:
        want = {key(d): d for d in built(OVERLAYS / overlay)}
        del want["Namespace", None, NAMESPACE]  # by helm --create-namespace
        got = render(values)
        equal(sorted(map(str, got)), sorted(map(str, want)), f"{overlay}'s objects")
        for name, document in want.items():
            equal(list(differences(plain(got[name]), document)), [], f"{overlay}: {name}")


@test("every combination of the switches renders, to nothing that refers to what isn't there")
def _():
    parts = ("networkPolicy", "podDisruptionBudget", "admissionPolicy", "matchConditions", "trusteeNamespace", "crds", "monitoring")
    for topology, mode, on in itertools.product(({}, HUB, SPOKE), ("self", "cert-manager", "openshift"), (True, False)):
        values = topology | {"certificates": {"mode": mode}} | {part: {"enabled": on} for part in parts}
        check_references(render(values), f"{values}")


def check_references(objects, what):
    """Bindings name roles and accounts of the chart, pods their accounts, policies their bindings."""
    names = {(kind, name) for kind, _, name in objects}
    for document in objects.values():
        if document["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            role, subject = document["roleRef"], document["subjects"][0]
            check((role["kind"], role["name"]) in names, f"{what}: {key(document)} binds {role['name']}, which isn't there")
            check(("ServiceAccount", subject["name"]) in names, f"{what}: {key(document)} is for {subject['name']}")
        if document["kind"] == "Deployment":
            account = document["spec"]["template"]["spec"]["serviceAccountName"]
            check(("ServiceAccount", account) in names, f"{what}: {key(document)} runs as {account}")
        if document["kind"] == "ValidatingAdmissionPolicyBinding":
            check(("ValidatingAdmissionPolicy", document["spec"]["policyName"]) in names, f"{what}: {key(document)}")


@test("values reach the objects")
def _():
    values = {
        "webhook": {
            "replicas": 3,
            "image": {"repository": "registry.example/w", "tag": "1", "pullPolicy": "Always"},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
        "controller": {"image": {"repository": "registry.example/c"}},
        "imagePullSecrets": [{"name": "pull"}],
        "admissionPolicy": {"runtimeClasses": ["kata-cc", "kata-snp"]},
        "crds": {"keep": False},
    }
    objects = render(values)
    spec = objects["Deployment", NAMESPACE, "coco-webhook"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    equal((spec["replicas"], container["image"]), (3, "registry.example/w:1"), "replicas and image")
    equal((container["imagePullPolicy"], container["resources"]), ("Always", values["webhook"]["resources"]), "the container")
    equal((pod["nodeSelector"], pod["tolerations"]), ({"a": "b"}, [{"key": "k", "operator": "Exists"}]), "where it runs")
    equal(pod["imagePullSecrets"], [{"name": "pull"}], "how it is pulled")
    other = objects["Deployment", NAMESPACE, "coco-controller"]["spec"]["template"]["spec"]
    equal(other["containers"][0]["image"], "registry.example/c:0.1.0", "the controller's image")
    equal(other["imagePullSecrets"], [{"name": "pull"}], "how the controller is pulled")
    variables = objects["ValidatingAdmissionPolicy", None, "coco-pipelines"]["spec"]["variables"]
    equal(variables[0]["expression"], "['kata-cc', 'kata-snp']", "the policy's classes")
    crds = [d for (kind, _, _), d in objects.items() if kind == "CustomResourceDefinition"]
    check(len(crds) == 3 and not any("annotations" in d["metadata"] and "helm.sh/resource-policy" in d["metadata"]["annotations"]
                                     for d in crds), "CRDs that are to go stay")


def refused(values, namespace=NAMESPACE):
    try:
        render(values, namespace)
    except helm_python.HelmError as error:
        return str(error)
    return ""


@test("what can't work is refused with what to do")
def _():
    rows = [
        ({}, "elsewhere", "install it into namespace coco-pipelines-system"),
        (HUB | SPOKE, NAMESPACE, "nothing would be installed"),
        ({"certificates": {"mode": "none"}}, NAMESPACE, "certificates"),
        ({"webhook": {"replicas": 0}}, NAMESPACE, "replicas"),
        ({"webhok": {}}, NAMESPACE, "webhok"),
        ({"admissionPolicy": {"runtimeClasses": ["a' || true || '"]}}, NAMESPACE, "runtimeClasses"),
    ]
    for values, namespace, words in rows:
        said = refused(values, namespace)
        check(words in said, f"{values} in {namespace}: {said!r} doesn't say {words!r}")


@test("the chart's description agrees with the tree")
def _():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'COCO_VERSION "(.*)"', (ROOT / "common/version.h").read_text())[1]
    equal((chart["version"], chart["appVersion"]), (version, version), "the versions")
    crds = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in (ROOT / "crds").glob("*_*.yaml")}
    told = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])
    equal({crd["name"] for crd in told}, crds, "the CRDs that it tells of")
    images = {image["image"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
    used = {d["spec"]["template"]["spec"]["containers"][0]["image"] for d in render({}).values() if d["kind"] == "Deployment"}
    equal(images, used, "the images that it tells of")
    for example in yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"]):
        check(example["kind"] in {crd["kind"] for crd in told}, f"an example of kind {example['kind']}")
    equal(helm_python.lint(str(CHART))["errors"], [], "what helm lint says")


main()
