"""A Trustee as the upstream operator leaves it: its objects, by its name, with what an admin has added."""

from trustee_world import DEPLOYMENT, SERVICE, kbs_config, named, path_of, secret, uid

AUTH = "t-auth-secret"
FINALIZER = "kbsconfig.confidentialcontainers.org/finalizer"
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
