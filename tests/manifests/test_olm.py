#!/usr/bin/env python3
"""The OLM bundle: what OLM would refuse, and what it would run otherwise than the overlays do. That it is made of them is for
test_manifests.py to say.
"""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from kustomize import built
from tap import check, equal, main, test

OLM = ROOT / "manifests/olm"
NAMED = [(path, yaml.safe_load(path.read_text())) for path in sorted((OLM / "bundle/manifests").glob("*.yaml"))]
OBJECTS = [document for _, document in NAMED]
CSV = next(d for d in OBJECTS if d["kind"] == "ClusterServiceVersion")
INSTALL = CSV["spec"]["install"]["spec"]
OPENSHIFT = built(ROOT / "manifests/overlays/openshift")
DNS = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
# Of what we have; OLM takes more, but neither webhook configurations nor admission policies.
TAKEN = {"ClusterServiceVersion", "CustomResourceDefinition", "ClusterRole", "PriorityClass", "PodDisruptionBudget"}


def of(kind):
    return [d for d in OPENSHIFT if d["kind"] == kind]


@test("the bundle has what OLM takes, without a namespace")
def _():
    equal({d["kind"] for d in OBJECTS} - TAKEN, set(), "kinds that OLM doesn't take")
    for document in OBJECTS:
        if document is not CSV:
            check("namespace" not in document["metadata"], f"{document['metadata']['name']} has a namespace")
    equal(len([d for d in OBJECTS if d["kind"] == "ClusterServiceVersion"]), 1, "how many CSVs there are")


@test("annotations and the image's labels say the same")
def _():
    annotations = yaml.safe_load((OLM / "bundle/metadata/annotations.yaml").read_text())["annotations"]
    labels = dict(re.findall(r"^LABEL (\S+?)=(\S+)$", (OLM / "Containerfile").read_text(), re.M))
    equal(labels, annotations, "the labels")
    for folder in ("manifests", "metadata"):
        equal(annotations[f"operators.operatorframework.io.bundle.{folder}.v1"], f"{folder}/", f"where {folder} are")
        check(f"COPY bundle/{folder} /{folder}/" in (OLM / "Containerfile").read_text(), f"{folder} aren't copied")


@test("the CSV's name, version and modes")
def _():
    version = re.search(r'COCO_VERSION "(.*)"', (ROOT / "common/version.h").read_text())[1]
    spec = CSV["spec"]
    equal((CSV["metadata"]["name"], spec["version"]), (f"coco-pipelines.v{version}", version), "name and version")
    modes = {mode["type"]: mode["supported"] for mode in spec["installModes"]}
    # Webhooks of a CSV are for all namespaces.
    wanted = {"OwnNamespace": False, "SingleNamespace": False, "MultiNamespace": False, "AllNamespaces": True}
    equal(modes, wanted, "the modes of installation")
    for field in ("displayName", "description", "keywords", "maintainers", "provider", "maturity", "minKubeVersion"):
        check(spec.get(field), f"the CSV has no {field}")


@test("every owned CRD is there, in a version that is served, with an example")
def _():
    crds = {d["metadata"]["name"]: d for d in OBJECTS if d["kind"] == "CustomResourceDefinition"}
    owned = CSV["spec"]["customresourcedefinitions"]["owned"]
    equal({o["name"] for o in owned}, set(crds), "the owned CRDs")
    for o in owned:
        spec = crds[o["name"]]["spec"]
        equal(o["kind"], spec["names"]["kind"], f"{o['name']}'s kind")
        check(o["version"] in [v["name"] for v in spec["versions"] if v["served"]], f"{o['name']} isn't served as {o['version']}")
        check(o["displayName"] and o["description"], f"{o['name']} isn't described")
    examples = json.loads(CSV["metadata"]["annotations"]["alm-examples"])
    equal({e["kind"] for e in examples}, {o["kind"] for o in owned}, "the examples' kinds")


@test("OLM gives the programs the rights of the overlay, but for those of certificates")
def _():
    for account in ("coco-webhook", "coco-controller"):
        for part, kind in (("clusterPermissions", "ClusterRole"), ("permissions", "Role")):
            got = [rule for p in INSTALL[part] if p["serviceAccountName"] == account for rule in p["rules"]]
            want = [rule for role in of(kind) if role["metadata"]["name"].startswith(account) for rule in role["rules"]]
            equal(got, want, f"{account}'s {part}")
    trustee = [d for d in OBJECTS if d["kind"] == "ClusterRole"]
    equal([d["rules"] for d in trustee], [d["rules"] for d in of("ClusterRole") if d["metadata"]["name"] == "coco-trustee"],
          "what a namespace with a Trustee binds")


@test("the Deployments are the overlay's, with the certificate where OLM puts it")
def _():
    equal([d["name"] for d in INSTALL["deployments"]], [d["metadata"]["name"] for d in of("Deployment")], "the Deployments")
    for got, want in zip(INSTALL["deployments"], of("Deployment"), strict=True):
        pod, container = got["spec"]["template"]["spec"], got["spec"]["template"]["spec"]["containers"][0]
        origin = want["spec"]["template"]["spec"]["containers"][0]
        check("volumes" not in pod, f"{got['name']} has volumes")
        changed = {field for field in origin.keys() | container.keys() if origin.get(field) != container.get(field)}
        allowed = {"env"} if got["name"] == "coco-controller" else {"env", "args", "volumeMounts"}
        equal(changed, allowed, f"{got['name']}: what differs from the overlay")
        names = [e["name"] for e in container["env"]]
        check("COCO_SYSTEM_NAMESPACE" in names, f"{got['name']} doesn't learn its namespace")
    args = INSTALL["deployments"][1]["spec"]["template"]["spec"]["containers"][0]["args"]
    folder = "/tmp/k8s-webhook-server/serving-certs"
    equal(args[-2:], [f"--tls-cert={folder}/tls.crt", f"--tls-key={folder}/tls.key"], "where the certificate is")


@test("the webhooks select what those of the overlay do; a namespace is looked at by the webhook itself")
def _():
    definitions = {(d["type"], d["generateName"]): d for d in CSV["spec"]["webhookdefinitions"]}
    wanted = {
        (c["kind"].replace("WebhookConfiguration", "AdmissionWebhook"), w["name"]): w
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for c in of(kind)
        for w in c["webhooks"]
    }
    equal(sorted(definitions), sorted(wanted), "the webhooks")
    for name, webhook in wanted.items():
        got = definitions[name]
        check(DNS.fullmatch(name[1]), f"{name} can't be a name")
        equal((got["deploymentName"], got["targetPort"]), ("coco-webhook", 9443), f"{name}: who is asked")
        # There, it is the namespaceSelector's word that a namespace is enabled; OLM has none.
        path = webhook["clientConfig"]["service"]["path"].removesuffix("/enabled-namespace")
        equal(got["webhookPath"], path, f"{name}: the path")
        for field in ("rules", "objectSelector", "failurePolicy", "matchPolicy", "sideEffects", "timeoutSeconds",
                      "reinvocationPolicy", "admissionReviewVersions"):
            equal(got.get(field), webhook.get(field), f"{name}: {field}")


main()
