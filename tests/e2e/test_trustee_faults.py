#!/usr/bin/python3
"""What goes wrong around a Trustee: coco-controller (argv[1]) on an API server that fails, hangs, goes and comes; leaders
that end; objects that the upstream operator has left; and what people get wrong.

Each fault of the upstream operator that was seen has its test:

| what was done, and upstream got wrong | test |
|---|---|
| a generated ConfigMap or Secret deleted, annotated, or a key of it taken out; a Service edited | test_trustee_drift.py |
| a certificate renewed, garbled, missing, of the wrong type; its Secret deleted | test_trustee.py: certificates |
| httpsSpec or ibmSE removed; Permissive to Restricted | test_trustee.py: between profiles |
| ibmSE without its PersistentVolume | here: "IBM SE without its volume" |
| two TrusteeConfigs in a namespace; deleted without its objects and made again | test_trustee_drift.py |
| many namespaces; one that nobody has granted | test_trustee.py |
| deleting a KbsConfig elsewhere deletes the operator's Deployment | here: "a KbsConfig that is deleted elsewhere" |
| the Deployment gone before the KbsConfig; a namespace that never ends | here; test_trustee_drift.py |
| profileType, kbsServiceType, replicas, ciphers that are none | test_trustee_crds.py; here, where they are stored already |
| a name of more than 63 characters | here: "a name that is too long" |
| Permissive with httpsSpec | here: "Permissive with HTTPS" |
| a referenced ConfigMap missing; a Secret's name with a dot; the samples; events | test_trustee.py |
| the operator stopped, or killed; the API server away for 20 s | here: leaders, outages |
| another program that does its work | here: "taken over" |
"""

import copy
import time

from fault_world import (
    FaultWorld,
    check_ready_was_whole,
    is_write,
    newest,
    renamed,
    revision,
    same_state,
    settled,
    state,
    without_digests,
)
from trustee_world import (
    API,
    DEPLOYMENT,
    SERVICE,
    condition,
    kbs_config,
    named,
    path_of,
    restricted,
    secret,
    tls_secret,
    trustee,
    uid,
)
from world import programs

from certificates import decode, make_pair, not_after
from fault_proxy import Answer, Half, Hole, Lost
from tap import check, equal, main, test

(CONTROLLER,) = programs("coco-controller")
HOST = "kbs.example"
EXPOSURE = {"exposure": {"type": "None"}}
AUTH = "t-auth-secret"
FINALIZER = "kbsconfig.confidentialcontainers.org/finalizer"
OUTAGE_S = 20
REPAIRED_S = 3  # after an outage
HANDOVER_S = 2  # after a stop in order
LEASE_S = 15


def settle(world, *namespaces, timeout=60):
    for ns in namespaces:
        try:
            world.cluster.wait_for(lambda: settled(world, ns), f"{ns}/t is settled", timeout)
        except Exception:
            world.show("TrusteeConfig", ns, "t")
            raise
    world.rested()


# ---- Taken over from the upstream operator

STORAGE = "/opt/confidential-containers/storage"
UPSTREAM_LABELS = {"app.kubernetes.io/managed-by": "trustee-operator", "app.kubernetes.io/part-of": "trustee"}
ALLOW_ALL = "package policy\n\ndefault allow = true\n"
UPSTREAM_TOML = """\
[http_server]
sockets = ["0.0.0.0:8080"]
insecure_http = true

[attestation_token]
insecure_header_jwk = true
"""


def owned(object, owner):
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
        "name": owner["metadata"]["name"],
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    object["metadata"]["ownerReferences"] = [reference]
    return object


def upstream_maps(ns, toml):
    return [
        named("ConfigMap", ns, "t-kbs-config", data={"kbs-config.toml": toml}),
        named("ConfigMap", ns, "t-resource-policy", data={"resource-policy.rego": ALLOW_ALL}),
        named("ConfigMap", ns, "t-rvps-reference-values", data={"reference_value": "{\n}\n"}),
        named("ConfigMap", ns, "t-attestation-policy-cpu", data={"default_cpu.rego": "package policy\n"}),
        named("ConfigMap", ns, "t-attestation-policy-gpu", data={"default_gpu.rego": "package policy\n"}),
    ]


def upstream_secrets(ns, keys, pair, signer):
    rows = [
        (AUTH, "auth", keys),
        ("attestation-status", "sample", {"status": "success"}),
        ("t-https-key-secret", "https", {"privateKey": pair[1]}),
        ("t-https-cert-secret", "https", {"certificate": pair[0]}),
        ("t-attestation-key-secret", "attestation", {"token.key": signer[1]}),
        ("t-attestation-cert-secret", "attestation", {"token.crt": signer[0]}),
    ]
    made = []
    for name, component, data in rows:
        labels = {"app.kubernetes.io/instance": "t", "app.kubernetes.io/component": component}
        made.append(secret(ns, name, data))
        made[-1]["metadata"]["labels"] = UPSTREAM_LABELS | labels
    return made


def upstream_kbs_config(ns):
    made = kbs_config(
        ns,
        "t-kbs-config",
        kbsConfigMapName="t-kbs-config",
        kbsResourcePolicyConfigMapName="t-resource-policy",
        kbsRvpsRefValuesConfigMapName="t-rvps-reference-values",
        kbsAttestationPolicyConfigMapName="t-attestation-policy-cpu",
        kbsGpuAttestationPolicyConfigMapName="t-attestation-policy-gpu",
        kbsAuthSecretName=AUTH,
        kbsHttpsKeySecretName="t-https-key-secret",
        kbsHttpsCertSecretName="t-https-cert-secret",
        kbsAttestationKeySecretName="t-attestation-key-secret",
        kbsAttestationCertSecretName="t-attestation-cert-secret",
        kbsDeploymentType="AllInOneDeployment",
        kbsServiceType="ClusterIP",
        kbsSecretResources=["attestation-status"],
        KbsDeploymentSpec={"replicas": 1},
        KbsEnvVars={"RUST_LOG": "debug"},
    )
    made["metadata"]["finalizers"] = [FINALIZER]
    return made


def upstream_pod():
    """The pod's template, of which much has another name in ours, or none."""

    def mount(name, path, sub=None):
        return {"name": name, "mountPath": path} | ({"subPath": sub} if sub else {})

    maps = {"kbs-config": "t-kbs-config", "resource-policy": "t-resource-policy", "values": "t-rvps-reference-values"}
    secrets = {"auth-secret": AUTH, "https-key": "t-https-key-secret", "resource-0": "attestation-status"}
    volumes = [{"name": name, "configMap": {"name": source}} for name, source in maps.items()]
    volumes += [{"name": name, "secret": {"secretName": source}} for name, source in secrets.items()]
    tmpfs = ("base-storage-dir", "repository-dir", "resource-policy-dir", "rvps-dir", "attestation-policy-dir")
    volumes += [{"name": name, "emptyDir": {"medium": "Memory"}} for name in tmpfs]
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 10}
    kbs = {
        "name": "kbs",
        "image": "ghcr.io/confidential-containers/key-broker-service:v0.20.0",
        "command": ["/usr/local/bin/kbs", "--config-file", "/etc/kbs-config/kbs-config.toml"],
        "ports": [{"name": "kbs", "containerPort": 8080}],
        "env": [{"name": "RUST_LOG", "value": "debug"}],
        "readinessProbe": probe,
        "livenessProbe": probe | {"initialDelaySeconds": 15, "periodSeconds": 30},
        "volumeMounts": [mount("kbs-config", "/etc/kbs-config"), mount("auth-secret", "/etc/auth-secret"),
                         mount("base-storage-dir", STORAGE), mount("repository-dir", f"{STORAGE}/repository")],
    }  # fmt: skip
    converter = {
        "name": "secret-converter",
        "image": "ghcr.io/confidential-containers/key-broker-service:v0.20.0",
        "command": ["sh", "-c", "cp /resources/* /repository"],
        "volumeMounts": [mount("resource-0", "/resources"), mount("repository-dir", "/repository")],
    }
    versions = {"kbs.confidentialcontainers.org/configmap-versions": "t-kbs-config:1,t-resource-policy:2"}
    pod = {"initContainers": [converter], "containers": [kbs], "volumes": volumes, "restartPolicy": "Always"}
    return {"metadata": {"labels": {"app": "kbs"}, "annotations": versions}, "spec": pod}


def upstream_rest(ns):
    deployment = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "kbs"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "25%"}},
        "template": upstream_pod(),
    }
    ports = [{"name": "kbs-port", "port": 8080, "targetPort": 8080, "protocol": "TCP"}]
    service = {"type": "ClusterIP", "selector": {"app": "kbs"}, "ports": ports}
    return [named("Deployment", ns, DEPLOYMENT, "apps/v1", spec=deployment), named("Service", ns, SERVICE, spec=service)]


def make_upstreams(world, ns, keys, pair, signer):
    """All that the upstream operator makes of the TrusteeConfig; its program is called manager, and updates."""

    def post(object, owner):
        path = path_of(object["kind"], ns) + "?fieldManager=manager"
        return world.request("POST", path, owned(object, owner))

    owner = world.get("TrusteeConfig", ns, "t")
    for object in (*upstream_maps(ns, UPSTREAM_TOML), *upstream_secrets(ns, keys, pair, signer)):
        post(object, owner)
    kbs = post(upstream_kbs_config(ns), owner)
    for object in upstream_rest(ns):
        post(object, kbs)


def edit_as_admin(world, ns):
    """What an admin adds to the KbsConfig by hand."""
    own = {"KbsDeploymentSpec": {"replicas": 2}, "KbsEnvVars": {"HTTPS_PROXY": "http://proxy:3128"}}
    world.patch("KbsConfig", ns, "t-kbs-config", {"spec": own}, manager="kubectl-edit")
    more = [{"op": "add", "path": "/spec/kbsSecretResources/-", "value": "own"}]
    world.patch("KbsConfig", ns, "t-kbs-config", more, "json", manager="kubectl-patch")


def managers(world, ns):
    """(kind, name) -> the field managers, but for those whose fields are no part of what is rendered."""
    others = {("kube-controller-manager", "Update"), ("coco-controller", "Update")}
    return {
        key: sorted({(m["manager"], m["operation"]) for m in object["metadata"]["managedFields"]} - others)
        for key, object in world.children(ns).items()
    }


@test("taken over from the upstream operator: all as rendered, nothing of it left, the admin's own changes stay")
def _(world):
    pair, signer = make_pair(HOST), make_pair("signer")
    spec = EXPOSURE | {"attestationTokenVerificationSpec": {"tlsSecretName": "token-tls"}}
    for ns in ("taken-new", "taken-over"):
        others = [tls_secret(ns, "kbs-tls", pair), tls_secret(ns, "token-tls", signer), secret(ns, "own", {"a": "b"})]
        world.namespace(ns, True, *others)
    world.apply(restricted("taken-new", **spec))
    settle(world, "taken-new")
    edit_as_admin(world, "taken-new")
    keys = {key: decode(value) for key, value in world.get("Secret", "taken-new", AUTH)["data"].items()}
    for controller in world.controllers:
        controller.stop()
    world.apply(restricted("taken-over", **spec))
    make_upstreams(world, "taken-over", keys, pair, signer)
    edit_as_admin(world, "taken-over")
    for controller in world.controllers:
        controller.start()
    world.leader()
    settle(world, "taken-new", "taken-over")
    wanted, found = (renamed(without_digests(state(world, ns)), ns) for ns in ("taken-new", "taken-over"))
    same_state(found, wanted, "what was upstream's")
    equal(managers(world, "taken-over"), managers(world, "taken-new"), "the field managers")
    equal(world.get("KbsConfig", "taken-over", "t-kbs-config")["metadata"].get("finalizers"), None, "the finalizers")
    equal(world.rollouts("taken-over"), 1, "the rollouts")
    check_ready_was_whole(world, "taken-over")


main(FaultWorld(CONTROLLER, 2))
