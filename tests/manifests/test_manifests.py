#!/usr/bin/env python3
"""manifests/ as kubectl's kustomize builds it, without a cluster: what is generated is not stale, every overlay has what its
head promises, and none has what its oldest Kubernetes doesn't serve. Needs kubectl.
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from kustomize import built, key
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
OLDEST = {"single-cluster": 30, "monitored": 30, "dev": 20, "openshift": 29, "cert-manager": 30, "spoke": 30, "trusted-hub": 25}
WORKLOAD = ("Deployment", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount")


def builds():
    """(name, documents) of the base and of every overlay."""
    return [(folder.name, built(folder)) for folder in (MANIFESTS / "base", *OVERLAYS)]


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
    for name, documents in builds():
        keys = [key(document) for document in documents]
        equal(sorted(map(str, keys)), sorted(map(str, set(keys))), f"{name}'s objects")
        brought = {d["spec"]["names"]["kind"] for d in documents if d["kind"] == "CustomResourceDefinition"}
        equal(brought & {d["kind"] for d in documents}, set(), f"{name}'s objects of its own CRDs")


@test("the caBundle is left to who keeps the certificates")
def _():
    for name, documents in builds():
        for document in documents:
            check("caBundle" not in set(all_keys(document.get("webhooks"))), f"{name}: {key(document)} has a caBundle")


def names(overlay, *kinds):
    return {d["metadata"]["name"] for d in built(MANIFESTS / "overlays" / overlay) if d["kind"] in kinds}


def find(documents, kind, name):
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)


@test("a hub runs the controller alone, a spoke the webhook alone")
def _():
    equal(names("trusted-hub", *WORKLOAD), {"coco-controller"}, "what the hub runs")
    roles = {"coco-controller", "coco-trustee"}
    equal(names("trusted-hub", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"), roles, "the hub's roles")
    webhook = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "Service")
    equal(names("trusted-hub", *webhook), set(), "the hub's admission")
    equal(names("spoke", *WORKLOAD), {"coco-webhook"}, "what the spoke runs")
    roles = {"coco-webhook", "coco-webhook-certificates"}
    equal(names("spoke", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"), roles, "the spoke's roles")
    crd = "confidentialprofiles.pipelines.confidentialcontainers.org"
    equal(names("spoke", "CustomResourceDefinition"), {crd}, "the spoke's CRDs")
    validating = find(built(MANIFESTS / "overlays/spoke"), "ValidatingWebhookConfiguration", "coco-webhook")
    served = {resource for w in validating["webhooks"] for rule in w["rules"] for resource in rule["resources"]}
    equal(served, {"pods", "pods/ephemeralcontainers", "confidentialprofiles"}, "what the spoke's webhook judges")


@test("where others make the certificate, the webhook reads it from files and has no right to make one")
def _():
    args = find(built(MANIFESTS / "base"), "Deployment", "coco-webhook")["spec"]["template"]["spec"]["containers"][0]["args"]
    for overlay in ("openshift", "cert-manager"):
        equal(names(overlay, "Secret"), set(), f"{overlay}'s Secrets")
        check("coco-webhook-certificates" not in names(overlay, "Role", "ClusterRole"), f"{overlay} has the right")
        pod = find(built(MANIFESTS / "overlays" / overlay), "Deployment", "coco-webhook")["spec"]["template"]["spec"]
        wanted = [a for a in args if not a.startswith("--tls-secret")]
        equal(pod["containers"][0]["args"], wanted, f"{overlay}'s arguments")
        equal(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/etc/coco-webhook/tls", "where the files are")
        equal(pod["volumes"][0]["secret"]["secretName"], "coco-webhook-serving", "whose they are")
    service = find(built(MANIFESTS / "overlays/openshift"), "Service", "coco-webhook")
    equal(list(service["metadata"]["annotations"].values()), ["coco-webhook-serving"], "the Secret of OpenShift's service CA")
    serving = find(built(MANIFESTS / "overlays/cert-manager"), "Certificate", "coco-webhook-serving")
    equal(serving["spec"]["secretName"], "coco-webhook-serving", "the Secret of cert-manager")


@test("pods run restricted, as nobody in particular, on a filesystem that they can't write")
def _():
    for name, documents in builds():
        for document in (d for d in documents if d["kind"] == "Deployment"):
            what, pod = f"{name}: {key(document)}", document["spec"]["template"]["spec"]
            wanted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
            equal(pod["securityContext"], wanted, f"{what}'s securityContext")
            for forbidden in ("runAsUser", "hostNetwork", "hostPID", "hostIPC", "hostPath", "privileged"):
                check(forbidden not in set(all_keys(pod)), f"{what} has {forbidden}")
            check(pod["priorityClassName"] == "coco-pipelines", f"{what} has another priority")
            for container in pod["containers"]:
                wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                equal(container["securityContext"], wanted, f"{what}'s container")
                check(set(container["resources"]["requests"]) == {"cpu", "memory"}, f"{what}'s requests")
                equal(list(container["resources"]["limits"]), ["memory"], f"{what}'s limits")
                check("livenessProbe" in container and "readinessProbe" in container, f"{what} lacks a probe")


@test("every webhook that sees pods keeps out our namespace, answers in 3 s, and fails closed where a pod is made")
def _():
    for name, documents in builds():
        for document in (d for d in documents if d["kind"].endswith("WebhookConfiguration")):
            for webhook in document["webhooks"]:
                check_webhook(f"{name}: {webhook['name']}", document["kind"], webhook)


def check_webhook(what, kind, webhook):
    facts = ("timeoutSeconds", "matchPolicy", "sideEffects", "admissionReviewVersions")
    equal([webhook[fact] for fact in facts], [3, "Equivalent", "None", ["v1"]], what)
    operations = {operation for rule in webhook["rules"] for operation in rule["operations"]}
    pods = {resource for rule in webhook["rules"] for resource in rule["resources"]} <= {"pods", "pods/ephemeralcontainers"}
    equal(webhook["failurePolicy"], "Ignore" if pods and operations == {"UPDATE"} else "Fail", f"{what}: failurePolicy")
    if kind.startswith("Mutating"):
        equal((operations, webhook["reinvocationPolicy"]), ({"CREATE"}, "IfNeeded"), f"{what}: when it is asked")
    if pods:
        ours = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SYSTEM_NAMESPACE, "kube-system"]}
        check(ours in webhook["namespaceSelector"]["matchExpressions"], f"{what} doesn't keep our namespace out")
        check("objectSelector" in webhook, f"{what} is asked about every pod")


main()
