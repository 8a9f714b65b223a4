#!/usr/bin/python3
"""TrusteeConfigs and KbsConfigs become running Trustees: coco-controller (argv[1]) on a real API server, from what people
apply to pods and status.

The controller runs with the rights that manifests give it and no others; each case has namespaces of its own. What others do to
the objects is in test_trustee_drift.py.
"""

import re
import shlex
import subprocess
import tomllib

from trustee_world import (
    DEPLOYMENT,
    GRANT,
    SERVICE,
    TrusteeWorld,
    condition,
    config_map,
    kbs_config,
    named,
    restricted,
    secret,
    tls_secret,
    trustee,
    uid,
)
from world import ROOT, SAMPLES, documents, profile, programs

from certificates import body_of, decode, make_pair, not_after
from tap import check, equal, main, test

(CONTROLLER,) = programs("coco-controller")
STORAGE = "/opt/confidential-containers/storage"
HOST = "kbs.example"
VAULT_TOKEN = "hvs.the-token-of-vault-that-nobody-may-see"
SOON_S = 15  # for what is to be picked up at once, on a busy machine; what isn't would come minutes later, or never
DOUBLINGS = 9  # of the wait between refusals, until it is longer than a case can wait
PATIENCE_RENEWALS = 20  # of the Lease: longer than an informer would wait before it tries again


# ---- What a Trustee is made of

# As upstream's: (kind, name) -> keys of its data, and the label component.
PLAIN = {
    ("ConfigMap", "t-kbs-config"): ({"kbs-config.toml"}, "config"),
    ("ConfigMap", "t-resource-policy"): ({"resource-policy.rego"}, "policy"),
    ("ConfigMap", "t-rvps-reference-values"): ({"reference_value"}, "reference-values"),
    ("ConfigMap", "t-attestation-policy-cpu"): ({"default_cpu.rego"}, "policy"),
    ("ConfigMap", "t-attestation-policy-gpu"): ({"default_gpu.rego"}, "policy"),
    ("Secret", "t-auth-secret"): ({"privateKey", "publicKey"}, "auth"),
    ("Secret", "attestation-status"): ({"status"}, "sample"),
    ("KbsConfig", "t-kbs-config"): (set(), "kbs"),
    ("Deployment", DEPLOYMENT): (set(), "kbs"),
    ("Service", SERVICE): (set(), "kbs"),
    ("ConfigMap", "trustee-endpoint-t"): ({"url"}, "endpoint"),
}
HTTPS = {
    ("Secret", "t-https-key-secret"): ({"privateKey"}, "https"),
    ("Secret", "t-https-cert-secret"): ({"certificate"}, "https"),
    ("Route", "kbs"): (set(), "exposure"),
    ("ConfigMap", "trustee-endpoint-t"): ({"url", "ca.crt"}, "endpoint"),
}
TOKEN = {
    ("Secret", "t-attestation-key-secret"): ({"token.key"}, "attestation"),
    ("Secret", "t-attestation-cert-secret"): ({"token.crt"}, "attestation"),
}
MOUNTS = {
    "/etc/kbs-config": ("ConfigMap", "t-kbs-config", None),
    "/etc/auth-secret": ("Secret", "t-auth-secret", None),
    STORAGE: ("tmpfs", None, None),
    f"{STORAGE}/attestation_service_policy": ("tmpfs", None, None),
    f"{STORAGE}/attestation_service_policy/default_cpu.rego": ("ConfigMap", "t-attestation-policy-cpu", "default_cpu.rego"),
    f"{STORAGE}/attestation_service_policy/default_gpu.rego": ("ConfigMap", "t-attestation-policy-gpu", "default_gpu.rego"),
    f"{STORAGE}/kbs": ("tmpfs", None, None),
    f"{STORAGE}/kbs/resource-policy.rego": ("ConfigMap", "t-resource-policy", "resource-policy.rego"),
    f"{STORAGE}/local_json": ("tmpfs", None, None),
    f"{STORAGE}/local_json/reference_value": ("ConfigMap", "t-rvps-reference-values", "reference_value"),
    f"{STORAGE}/repository": ("projected", None, None),
}
SECRET_MOUNTS = {
    "/etc/https-key": ("Secret", "t-https-key-secret", None),
    "/etc/https-cert": ("Secret", "t-https-cert-secret", None),
    "/etc/attestation-key": ("Secret", "t-attestation-key-secret", None),
    "/etc/attestation-cert": ("Secret", "t-attestation-cert-secret", None),
}


def check_children(children, owner, kbs, wanted):
    """Just these objects, with these keys and labels, and an owner each."""
    equal(sorted(children), sorted(wanted), "the objects")
    for (kind, name), object in children.items():
        keys, component = wanted[kind, name]
        what = f"{kind} {name}"
        equal(set(object.get("data", {})), keys, f"the keys of {what}")
        labels = {key.partition("/")[2]: value for key, value in object["metadata"]["labels"].items() if "/" in key}
        named = {"managed-by": "coco-controller", "part-of": "trustee", "instance": "t", "component": component}
        equal(labels, named, f"the labels of {what}")
        (reference,) = object["metadata"]["ownerReferences"]
        of_kbs = kind in ("Deployment", "Service", "Route", "TLSRoute", "Ingress", "ServiceMonitor")
        equal((reference["uid"], reference["controller"]), (uid(kbs if of_kbs else owner), True), f"the owner of {what}")


def mounts(pod, container=0):
    """mountPath -> (kind of volume, name of its object, subPath)."""

    def source(volume):
        if "emptyDir" in volume:
            equal(volume["emptyDir"].get("medium"), "Memory", f"the medium of {volume['name']}")
            return "tmpfs", None
        if "projected" in volume:
            return "projected", None
        if "persistentVolumeClaim" in volume:
            return "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        return ("Secret", volume["secret"]["secretName"]) if "secret" in volume else ("ConfigMap", volume["configMap"]["name"])

    volumes = {volume["name"]: source(volume) for volume in pod["volumes"]}
    return {
        m["mountPath"]: (*volumes[m["name"]], m.get("subPath")) for m in pod["containers"][container]["volumeMounts"]
    }


def check_pod(pod, wanted, https):
    equal(mounts(pod), wanted, "the mounts")
    for volume in pod["volumes"]:
        if volume.get("secret", {}).get("secretName") == "t-auth-secret":
            equal([item["key"] for item in volume["secret"]["items"]], ["publicKey"], "what is mounted of the admin's keys")
    (container,) = pod["containers"]
    probe = container["readinessProbe"]["httpGet"]
    scheme = "HTTPS" if https else "HTTP"
    equal((probe["path"], probe["port"], probe["scheme"]), ("/healthz", 8080, scheme), "the readiness probe")
    equal(container["securityContext"]["capabilities"], {"drop": ["ALL"]}, "the capabilities")
    equal(container["securityContext"]["allowPrivilegeEscalation"], False, "allowPrivilegeEscalation")
    equal(pod["automountServiceAccountToken"], False, "automountServiceAccountToken")


def toml_of(world, ns, name="t"):
    return tomllib.loads(world.get("ConfigMap", ns, f"{name}-kbs-config")["data"]["kbs-config.toml"])


def pod_of(world, ns, name=DEPLOYMENT):
    return world.there("Deployment", ns, name)["spec"]["template"]["spec"]


def policy_of(world, ns, name="t"):
    return world.get("ConfigMap", ns, f"{name}-resource-policy")["data"]["resource-policy.rego"]


PERMISSIVE = "general if count(appraisals) > 0"


def check_status(world, ns, url, expiry, reason):
    """Both kinds say the same."""
    made = world.ready_at(ns, url)
    kbs = world.ready_at(ns, url, "t-kbs-config", "KbsConfig")
    for object in (made, kbs):
        status = object["status"]
        what = f"of {object['kind']}"
        equal(status["observedGeneration"], object["metadata"]["generation"], f"observedGeneration {what}")
        equal(status["isReady"], True, f"isReady {what}")
        equal(status.get("certificateExpiry"), expiry, f"certificateExpiry {what}")
        told = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
        admitted = ("True", "Admitted") if expiry else ("Unknown", "NeedsHTTPS")
        # A TrusteeConfig's profile is none of its KbsConfig's business.
        wanted = {
            "Ready": ("True", reason if object is made else told["Ready"][1]),
            "Progressing": ("False", "Complete"),
            "Degraded": ("False", "AsExpected"),
            "CertificateValid": ("True", "Valid") if expiry else ("Unknown", "PlainHTTP"),
            "RouteAdmitted": admitted,
            "ResourcesSynced": ("True", "Synced"),
        }
        equal(told, wanted, f"the conditions {what}")
    reference = made["status"]["kbsConfigRef"]
    equal((reference["name"], reference["uid"]), ("t-kbs-config", uid(kbs)), "kbsConfigRef")
    equal(made["status"]["statusDescription"], condition(made, "Ready")["message"], "statusDescription")
    return made, kbs


def kubectl_table(world, ns, kind):
    """One object's row, by column."""
    head, row = world.cluster.kubectl("get", kind, "-n", ns)[1].splitlines()
    columns = re.findall(r"\S+\s*", head)
    at = 0
    cells = {}
    for column in columns:
        cells[column.strip()] = row[at : at + len(column)].strip() if column is not columns[-1] else row[at:].strip()
        at += len(column)
    return cells


@test("Permissive: from nothing to Ready, in one rollout, with upstream's names and keys")
def _(world):
    ns = world.namespace("permissive")
    world.apply(trustee(ns, profileType="Permissive"))
    url = f"http://{SERVICE}.{ns}.svc:8080"
    made, kbs = check_status(world, ns, url, None, "NotForProduction")
    world.rested()
    children = world.children(ns)
    check_children(children, made, kbs, PLAIN)
    world.rolled(ns, 0)
    check_pod(pod_of(world, ns), MOUNTS, False)
    equal(pod_of(world, ns)["containers"][0]["env"], [{"name": "RUST_LOG", "value": "debug"}], "the environment")
    equal(kbs["spec"]["kbsSecretResources"], ["attestation-status"], "kbsSecretResources")
    equal(decode(children["Secret", "attestation-status"]["data"]["status"]), "success", "attestation-status")
    equal(children["ConfigMap", "t-rvps-reference-values"]["data"]["reference_value"], "{\n}\n", "the reference values")
    equal(toml_of(world, ns)["http_server"], {"sockets": ["0.0.0.0:8080"], "insecure_http": True}, "http_server")
    check(PERMISSIVE in policy_of(world, ns), "the policy isn't the permissive one")
    service = children["Service", SERVICE]["spec"]
    port = service["ports"][0]
    equal((port["name"], port["port"], service["selector"]), ("kbs-port", 8080, {"app": "kbs"}), "the Service")
    deployment = children["Deployment", DEPLOYMENT]["spec"]
    equal(deployment["selector"], {"matchLabels": {"app": "kbs"}}, "the Deployment's selector")


@test("Restricted: from nothing to Ready, with HTTPS, a token signer of its own, a Route, and what kubectl shows of it")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("restricted", True, tls_secret("restricted", "kbs-tls", pair))
    world.apply(restricted(ns))
    world.admit_route(ns, HOST)
    made, kbs = check_status(world, ns, f"https://{HOST}", not_after(pair[0]), "NoReferenceValues")
    told = condition(made, "Ready")["message"]
    for part in (f"It runs at https://{HOST}, but no guest gets a resource", 'ConfigMap "t-rvps-reference-values"'):
        check(part in told, f"the message has no {part}: {told}")
    world.rested()
    children = world.children(ns)
    check_children(children, made, kbs, PLAIN | HTTPS | TOKEN)
    world.rolled(ns, 0)
    check_pod(pod_of(world, ns), MOUNTS | SECRET_MOUNTS, True)
    check("env" not in pod_of(world, ns)["containers"][0], "there is an environment")
    equal(decode(children["Secret", "t-https-cert-secret"]["data"]["certificate"]), pair[0], "the certificate")
    equal(children["ConfigMap", "trustee-endpoint-t"]["data"]["ca.crt"], pair[0], "what guests trust")
    configuration = toml_of(world, ns)
    equal(configuration["http_server"]["insecure_http"], False, "insecure_http")
    check(not configuration["attestation_token"].get("insecure_header_jwk"), "insecure_header_jwk is on")
    check(PERMISSIVE not in policy_of(world, ns), "the policy is the permissive one")
    spec = children["Route", "kbs"]["spec"]
    equal((spec["to"]["name"], spec["tls"]["termination"]), (SERVICE, "passthrough"), "the Route")
    with world.rolls(ns, 1):
        values = {"data": {"reference_value": '{"snp_launch_measurement": ["00"]}'}}
        world.patch("ConfigMap", ns, "t-rvps-reference-values", values)
        world.says(ns, "t", "Ready", "True", "Ready")
    row = {"READY": "True", "REASON": "Ready", "URL": f"https://{HOST}", "CERT-EXPIRY": not_after(pair[0])}
    for kind, more in (("tc", {"NAME": "t", "PROFILE": "Restricted"}), ("kbs", {"NAME": "t-kbs-config"})):
        cells = kubectl_table(world, ns, kind)
        equal({key: cells.get(key) for key in row | more}, row | more, f"what kubectl get {kind} shows")

    def events():
        return [e for e in world.list("Event", ns) if e["regarding"]["kind"] == "TrusteeConfig" and e["reason"] == "Ready"]

    (event,) = world.cluster.wait_for(events, "an event says that it is ready")
    equal((event["type"], event["regarding"]["uid"]), ("Normal", uid(made)), "the event")
    described = world.cluster.kubectl("describe", "tc", "t", "-n", ns)[1]
    check(re.search(r"Normal +Ready .*coco-controller +Guests can use it", described), described)


@test("exposed by a TLSRoute, an Ingress, a load balancer, and watched by a ServiceMonitor")
def _(world):
    pair = make_pair(HOST)

    def ns(name):
        return world.namespace(name, True, tls_secret(name, "kbs-tls", pair))

    tls, ingress, balancer = ns("tls-route"), ns("ingress"), ns("balancer")
    gateway = {"name": "gateway", "namespace": "gateways"}
    exposure = {"type": "TLSRoute", "host": HOST, "gatewayRef": gateway}
    world.apply(restricted(tls, exposure=exposure, metrics={"serviceMonitor": True}))
    world.apply(restricted(ingress, exposure={"type": "Ingress", "host": HOST}))
    world.apply(restricted(balancer, exposure={"type": "None"}, kbsServiceType="LoadBalancer"))
    world.there("TLSRoute", tls, "kbs")
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}], "parentRef": gateway, "controllerName": "a/b"}
    world.patch("TLSRoute", tls, "kbs", {"status": {"parents": [accepted]}}, subresource="status")
    world.there("Service", balancer, SERVICE)
    address = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    world.patch("Service", balancer, SERVICE, {"status": address}, subresource="status")
    for name, url in ((tls, f"https://{HOST}"), (ingress, f"https://{HOST}"), (balancer, "https://192.0.2.1:8080")):
        world.ready_at(name, url)
    equal(world.get("TLSRoute", tls, "kbs")["spec"]["parentRefs"][0]["name"], "gateway", "the TLSRoute's parent")
    check(world.get("ServiceMonitor", tls, SERVICE), "there is no ServiceMonitor")
    equal(world.get("Ingress", ingress, "kbs")["spec"]["rules"][0]["host"], HOST, "the Ingress's host")
    for name in (ingress, balancer):
        equal([k for k in world.children(name) if k[0] in ("Route", "TLSRoute")], [], f"other exposures of {name}")
    # The old one goes with another choice.
    world.apply(restricted(ingress, exposure={"type": "None"}))
    world.gone("Ingress", ingress, "kbs")


@test("behind a load balancer of the admin's own: url, certificate and what profiles find are its host's")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("own-balancer", True, tls_secret("own-balancer", "kbs-tls", pair))
    world.apply(restricted(ns, exposure={"type": "None", "host": HOST}))
    made = world.ready(ns)
    equal(made["status"]["url"], f"https://{HOST}", "the url")
    equal(condition(made, "CertificateValid")["reason"], "Valid", "CertificateValid")
    admitted = condition(made, "RouteAdmitted")
    check(admitted["reason"] == "NotExposed" and f'"{HOST}" leads to its Service' in admitted["message"], str(admitted))
    endpoint = world.there("ConfigMap", ns, "trustee-endpoint-t")["data"]
    equal(endpoint, {"url": f"https://{HOST}", "ca.crt": pair[0]}, "what profiles find")
    equal([kind for kind, _ in world.children(ns) if kind in ("Route", "TLSRoute", "Ingress")], [], "what exposes it")
    world.apply(restricted(ns, exposure={"type": "None", "host": "other.example"}))
    told = world.says(ns, "t", "CertificateValid", "False", "HostMissing")
    check('"other.example"' in told["message"], told["message"])


# ---- Samples


SAMPLE_NS = "trustee-operator-system"


def apply_sample(world, name):
    world.cluster.kubectl("apply", "-f", str(SAMPLES / "trustee" / f"{name}.yaml"))


def host_of_sample(name):
    """What its header says to make the certificate for, and its spec to expose."""
    path = SAMPLES / "trustee" / f"{name}.yaml"
    host = documents(path)[0]["spec"]["exposure"]["host"]
    check(re.search(rf"^#   hack/trustee-secrets.sh .*{re.escape(host)} \|", path.read_text(), re.M), f"{name} isn't for {host}")
    return host


def apply_secrets(world, sample, *options):
    """What hack/trustee-secrets.sh makes for the samples, as that one's header says."""
    command = [ROOT / "hack/trustee-secrets.sh", *options, host_of_sample(sample)]
    made = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    world.cluster.apply(made)


@test("the samples are taken as they stand, one after the other, and become what they say")
def _(world):
    ns = SAMPLE_NS
    there = {path.stem for path in (SAMPLES / "trustee").glob("*.yaml")}
    tried = {"permissive", "two-instances", "restricted", "restricted-bindings", "vault", "kbsconfig-microservices"}
    equal(there, tried, "the samples")
    world.cluster.kubectl("apply", "-k", str(GRANT.parent))
    apply_sample(world, "permissive")
    world.ready(ns, "trusteeconfig")
    apply_sample(world, "two-instances")
    world.ready(ns, "staging")
    check(world.get("Deployment", ns, f"staging-{DEPLOYMENT}"), "there is no Deployment of the second instance")
    with world.rolls(ns, 0, f"staging-{DEPLOYMENT}"):
        apply_secrets(world, "restricted")
        apply_sample(world, "restricted")
        # A router has a name of its own for a Route that asks for none.
        world.admit_route(ns, "kbs-trustee-operator-system.apps.example")
        made = world.ready_at(ns, f"https://{host_of_sample('restricted')}", "trusteeconfig")
    equal(condition(made, "CertificateValid")["status"], "True", "CertificateValid of the sample restricted")
    equal(toml_of(world, ns, "trusteeconfig")["http_server"]["tls_profile"], "modern", "tls_profile")
    apply_sample(world, "restricted-bindings")
    digest = digest_of(world, ns, "pipelines")
    world.cluster.wait_for(
        lambda: digest.partition(":")[2] in policy_of(world, ns, "trusteeconfig"), "the sample's binding is in the policy"
    )
    world.ready(ns, "trusteeconfig")
    files = {("app", "greeting"): "default\\x2Fapp\\x2Fgreeting"}
    world.cluster.wait_for(lambda: files.items() <= projected(world, ns).items(), "the sample's Secret is served")
    equal({k: v for k, v in projected(world, ns).items() if k[0] == "app"}, files, "the sample's Secret")
    world.create(secret(ns, "vault-token", {"token": VAULT_TOKEN}), secret(ns, "vault-ca", {"ca.crt": make_pair("v")[0]}))
    apply_sample(world, "vault")
    world.says(ns, "trusteeconfig", "ResourcesSynced", "True")
    world.ready(ns, "trusteeconfig")
    equal(world.get("ConfigMap", ns, "trusteeconfig-kbs-config"), None, "the configuration as a ConfigMap")
    configuration = decode(world.get("Secret", ns, "trusteeconfig-kbs-config")["data"]["kbs-config.toml"])
    check(VAULT_TOKEN in configuration, "Vault's token isn't in the configuration")
    for name in ("trusteeconfig", "staging"):
        world.delete("TrusteeConfig", ns, name)
    for name in (DEPLOYMENT, f"staging-{DEPLOYMENT}"):
        world.gone("Deployment", ns, name)
    apply_secrets(world, "kbsconfig-microservices", "--kbs-config")
    apply_sample(world, "kbsconfig-microservices")
    world.ready(ns, "advanced", "KbsConfig")
    equal(len(pod_of(world, ns)["containers"]), 3, "the containers")


# ---- Between profiles


def hardened(world, ns):
    """What Permissive must not leave behind: (insecure_http, insecure_header_jwk, permissive policy, debug log, TLS)."""
    configuration = toml_of(world, ns)
    environment = pod_of(world, ns)["containers"][0].get("env", [])
    http = configuration["http_server"]
    return (
        http["insecure_http"],
        configuration["attestation_token"].get("insecure_header_jwk", False),
        PERMISSIVE in policy_of(world, ns),
        any(variable["name"] == "RUST_LOG" for variable in environment),
        "/etc/https-key" in mounts(pod_of(world, ns)) and "private_key" in http,
    )


@test("Permissive to Restricted restricts all of it in one rollout, and so back with allowDowngrade")
def _(world):
    ns = world.namespace("hardened", True, tls_secret("hardened", "kbs-tls", make_pair(HOST)))
    exposure = {"type": "None"}
    world.apply(trustee(ns, profileType="Permissive", exposure=exposure))
    world.ready(ns)
    equal(hardened(world, ns), (True, True, True, True, False), "Permissive")
    keys = world.get("Secret", ns, "t-auth-secret")["data"]
    with world.rolls(ns, 1):
        world.apply(restricted(ns, exposure=exposure))
        world.ready(ns)
        world.rested()
    equal(hardened(world, ns), (False, False, False, False, True), "Restricted")
    equal(condition(world.get("KbsConfig", ns, "t-kbs-config"), "CertificateValid")["status"], "True", "its certificate")
    signer = world.get("Secret", ns, "t-attestation-key-secret")
    check(signer, "there is no signer of tokens")
    with world.rolls(ns, 1):
        world.apply(trustee(ns, profileType="Permissive", allowDowngrade=True, exposure=exposure))
        world.ready(ns)
        world.rested()
    equal(hardened(world, ns), (True, True, True, True, False), "Permissive again")
    equal(world.get("Secret", ns, "t-auth-secret")["data"], keys, "the admin's keys")
    for name in ("t-https-key-secret", "t-https-cert-secret", "t-attestation-key-secret"):
        equal(world.get("Secret", ns, name), None, name)


@test("what is taken out of a spec takes its objects along: HTTPS, IBM SE with its claim, another instanceName")
def _(world):
    ns = world.namespace("taken-out", True, tls_secret("taken-out", "kbs-tls", make_pair(HOST)))
    exposure = {"type": "None"}
    spec = {"exposure": exposure, "httpsSpec": {"tlsSecretName": "kbs-tls"}, "ibmSE": {"pvName": "se"}}
    world.apply(trustee(ns, **spec))
    world.ready(ns)
    claim = world.get("PersistentVolumeClaim", ns, "t-ibmse-certstore-pvc")["spec"]
    equal((claim["volumeName"], claim["storageClassName"], claim["accessModes"]), ("se", "", ["ReadOnlyMany"]), "the claim")
    equal(mounts(pod_of(world, ns))["/run/confidential-containers/ibmse/"][0], "PersistentVolumeClaim", "its mount")
    check("evidence.se" in policy_of(world, ns), "the policy isn't IBM SE's")
    with world.rolls(ns, 1):
        world.apply(trustee(ns, exposure=exposure))
        world.ready(ns)
        world.rested()
    world.gone("PersistentVolumeClaim", ns, "t-ibmse-certstore-pvc")
    check("evidence.se" not in policy_of(world, ns), "the policy is IBM SE's still")
    check("private_key" not in toml_of(world, ns)["http_server"], "the configuration names the key still")
    equal(set(mounts(pod_of(world, ns))) & {"/etc/https-key", "/etc/https-cert"}, set(), "mounts of HTTPS")
    equal(sorted(world.children(ns)), sorted(PLAIN), "the objects without HTTPS and IBM SE")
    world.apply(trustee(ns, exposure=exposure, instanceName="blue"))
    world.gone("Deployment", ns, DEPLOYMENT)
    world.ready(ns)
    world.rested()
    renamed = {("Deployment", DEPLOYMENT), ("Service", SERVICE), ("Secret", "attestation-status")}
    names = [(kind, f"blue-{name}" if (kind, name) in renamed else name) for kind, name in PLAIN]
    equal(sorted(world.children(ns)), sorted(names), "the objects with instanceName blue")


# ---- Certificates


def rested_status(world, ns):
    world.rested()
    return world.get("TrusteeConfig", ns, "t")


@test("a renewed certificate is one rollout, and a label on its Secret none")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("renewed", True, tls_secret("renewed", "kbs-tls", pair))
    world.apply(restricted(ns))
    world.admit_route(ns, HOST)
    world.ready(ns)
    world.rested()
    with world.rolls(ns, 0), world.heard():
        world.patch("Secret", ns, "kbs-tls", {"metadata": {"labels": {"renewed": "no"}, "annotations": {"a": "b"}}})
    with world.rolls(ns, 0), world.heard():  # the same once more
        world.patch("Secret", ns, "kbs-tls", {"data": tls_secret(ns, "kbs-tls", pair)["data"] | {"ca.crt": ""}})
    for _ in range(2):
        new = make_pair(HOST, days=200)
        with world.rolls(ns, 1):
            world.apply(tls_secret(ns, "kbs-tls", new))

            def served():
                made = world.get("Secret", ns, "t-https-cert-secret")["data"]["certificate"]
                return decode(made) == new[0] and world.ready(ns)["status"]["certificateExpiry"] == not_after(new[0])

            world.cluster.wait_for(served, "the new certificate is the KBS's")
            world.ready(ns)
            world.rested()
        equal(world.get("ConfigMap", ns, "trustee-endpoint-t")["data"]["ca.crt"], new[0], "what guests trust")


def bad_certificates():
    """(name, certificate, key, reason, what the message has)."""
    good, other = make_pair(HOST), make_pair(HOST)
    yield "garbage", "none", good[1], "Unreadable", "tls.crt"
    yield "the key of another", good[0], other[1], "KeyMismatch", "tls.key"
    yield "nothing", "", "", "Absent", "tls.crt"
    yield "expired", *make_pair(HOST, expired=True), "Expired", "2020-02-01"
    yield "for another host", *make_pair("other.example"), "HostMissing", HOST
    yield "a key in place of it", good[1], good[1], "HasPrivateKey", "tls.crt"


@test("a certificate that can't be used is told with the remedy, and the last good one goes on")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("bad", True, tls_secret("bad", "kbs-tls", pair))
    world.apply(restricted(ns))
    world.admit_route(ns, HOST)
    world.ready(ns)
    world.rested()
    with world.rolls(ns, 0):
        for what, certificate, key, reason, part in bad_certificates():
            world.apply(tls_secret(ns, "kbs-tls", (certificate, key)))
            told = world.says(ns, "t", "CertificateValid", "False", reason)
            for word in ('spec.httpsSpec.tlsSecretName: Secret "kbs-tls"', part):
                check(word in told["message"], f"{what}: the message has no {word}: {told['message']}")
            made = rested_status(world, ns)
            ready = condition(made, "Ready")
            equal((ready["status"], ready["reason"]), ("False", told["reason"]), f"{what}: Ready")
            check(ready["message"].endswith("what ran before keeps running"), f"{what}: {ready['message']}")
            for type in ("Ready", "Degraded"):
                short = condition(made, type)["message"]
                check("as condition CertificateValid tells" in short, f"{what}: {type} says {short}")
            world.cluster.wait_for(
                lambda: told["message"] in [e["note"] for e in world.list("Event", ns) if e["reason"] == reason],
                f"{what}: an event has it whole: {told['message']}",
            )
            equal(made["status"]["certificateExpiry"], not_after(pair[0]), f"{what}: certificateExpiry")
            kept = world.get("Secret", ns, "t-https-cert-secret")["data"]["certificate"]
            equal(decode(kept), pair[0], f"{what}: the certificate in use")
        # Of another type, with other keys; a type can't be changed.
        world.delete("Secret", ns, "kbs-tls")
        told = world.says(ns, "t", "CertificateValid", "False", "SecretMissing")
        check('there is no Secret "kbs-tls"' in told["message"], told["message"])
        world.create(secret(ns, "kbs-tls", {"cert": pair[0], "key": pair[1]}))
        world.says(ns, "t", "CertificateValid", "False", "Absent")
        world.delete("Secret", ns, "kbs-tls")
        world.says(ns, "t", "CertificateValid", "False", "SecretMissing")
        equal(pod_of(world, ns)["containers"][0]["readinessProbe"]["httpGet"]["scheme"], "HTTPS", "the probe")
        world.create(tls_secret(ns, "kbs-tls", pair))
        world.ready(ns)
        world.rested()


@test("a certificate that comes late is taken up at once")
def _(world):
    ns = world.namespace("late")
    world.apply(restricted(ns, exposure={"type": "None"}))
    world.says(ns, "t", "Ready", "False", "SecretMissing")
    told = world.says(ns, "t", "CertificateValid", "False", "SecretMissing")
    check("create it, of type kubernetes.io/tls" in told["message"], told["message"])
    world.create(tls_secret(ns, "kbs-tls", make_pair(HOST)))
    world.there("Deployment", ns, DEPLOYMENT)
    world.ready(ns, timeout=SOON_S)
    world.rolled(ns, 0)


@test("a token signer of the admin's is used, and one on another curve refused")
def _(world):
    signer = make_pair("signer")
    ns = world.namespace("signer", True, tls_secret("signer", "kbs-tls", make_pair(HOST)))
    spec = {"exposure": {"type": "None"}, "attestationTokenVerificationSpec": {"tlsSecretName": "token-tls"}}
    world.create(tls_secret(ns, "token-tls", signer))
    world.apply(restricted(ns, **spec))
    world.ready(ns)
    made = world.get("Secret", ns, "t-attestation-key-secret")["data"]["token.key"]
    equal(body_of(decode(made)), body_of(signer[1]), "the signer's key")
    with world.rolls(ns, 0):
        world.apply(tls_secret(ns, "token-tls", make_pair("signer", kind="p384")))
        told = world.says(ns, "t", "CertificateValid", "False")
        check("attestationTokenVerificationSpec" in told["message"] and "P-256" in told["message"], told["message"])
        equal(rested_status(world, ns)["status"]["isReady"], False, "isReady")
    equal(world.get("Secret", ns, "t-attestation-key-secret")["data"]["token.key"], made, "the key in use")


# ---- Resources


def projected(world, ns):
    """Of the volume with resources: (Secret or ConfigMap, key) -> file."""
    (volume,) = [v for v in pod_of(world, ns)["volumes"] if "projected" in v]
    sources = [kind for source in volume["projected"]["sources"] for kind in source.values()]
    check(all(source["optional"] for source in sources), "one isn't optional")
    return {(s["name"], item["key"]): item["path"] for s in sources for item in s["items"]}


@test("Secrets are served under the KBS's file names; an admin's patch stays; each change of content is one rollout")
def _(world):
    ns = world.namespace("resources", True, secret("resources", "kbsres1", {"key1": "one", "key2": "two"}))
    world.create(secret(ns, "with.dots", {"a.b": "three"}))
    world.apply(trustee(ns, secretResources=["kbsres1"]))
    world.ready(ns)
    world.rested()
    files = {
        ("attestation-status", "status"): "default\\x2Fattestation-status\\x2Fstatus",
        ("kbsres1", "key1"): "default\\x2Fkbsres1\\x2Fkey1",
        ("kbsres1", "key2"): "default\\x2Fkbsres1\\x2Fkey2",
    }
    equal(projected(world, ns), files, "the files")

    def add(name):
        patch = [{"op": "add", "path": "/spec/kbsSecretResources/-", "value": name}]
        world.patch("KbsConfig", ns, "t-kbs-config", patch, "json", manager="kubectl-patch")

    with world.rolls(ns, 1), world.heard():
        add("with.dots")
    files["with.dots", "a.b"] = "default\\x2Fwith.dots\\x2Fa.b"
    equal(projected(world, ns), files, "the files with the admin's")
    world.apply(trustee(ns, secretResources=["kbsres1"], kbsServiceType="NodePort"))
    world.cluster.wait_for(lambda: world.get("Service", ns, SERVICE)["spec"]["type"] == "NodePort", "the Service's type")
    world.rested()
    listed = world.get("KbsConfig", ns, "t-kbs-config")["spec"]["kbsSecretResources"]
    equal(sorted(listed), ["attestation-status", "kbsres1", "with.dots"], "kbsSecretResources")
    with world.rolls(ns, 1), world.heard():
        world.patch("Secret", ns, "kbsres1", {"stringData": {"key3": "new"}})
    files["kbsres1", "key3"] = "default\\x2Fkbsres1\\x2Fkey3"
    equal(projected(world, ns), files, "the files with the new key")
    with world.rolls(ns, 1), world.heard():
        world.patch("Secret", ns, "with.dots", {"stringData": {"a.b": "changed"}})
    with world.rolls(ns, 0), world.heard():
        world.patch("Secret", ns, "with.dots", {"metadata": {"labels": {"a": "b"}}})
    # One that isn't there is no reason not to run.
    with world.heard():
        add("missing")
    told = world.says(ns, "t", "ResourcesSynced", "False", "SecretMissing")
    check('Secret "missing"' in told["message"] and "create it" in told["message"], told["message"])
    world.says(ns, "t", "Degraded", "True", "SecretMissing")
    world.ready(ns)
    equal(projected(world, ns), files, "the files with a Secret missing")
    with world.rolls(ns, 1), world.heard():
        world.create(secret(ns, "missing", {"here": "now"}))
    world.says(ns, "t", "Degraded", "False")
    files["missing", "here"] = "default\\x2Fmissing\\x2Fhere"
    equal(projected(world, ns), files, "the files with the Secret that came late")
    world.delete("Secret", ns, "kbsres1")
    world.says(ns, "t", "Degraded", "True", "SecretMissing")
    world.ready(ns)


@test("what an admin sets in a made KbsConfig stays: replicas, variables, caches of certificates")
def _(world):
    ns = world.namespace("admins", True, secret("admins", "vcek", {"a": "b"}))
    world.apply(trustee(ns, profileType="Permissive"))
    world.ready(ns)
    own = {
        "KbsDeploymentSpec": {"replicas": 2},
        "KbsEnvVars": {"RUST_LOG": "info", "HTTPS_PROXY": "http://proxy:3128"},
        "kbsLocalCertCacheSpec": {"secrets": [{"secretName": "vcek"}]},
    }
    world.patch("KbsConfig", ns, "t-kbs-config", {"spec": own})
    world.cluster.wait_for(lambda: world.get("Deployment", ns, DEPLOYMENT)["spec"]["replicas"] == 2, "two replicas")
    world.ready(ns)
    world.apply(trustee(ns, profileType="Permissive", kbsServiceType="NodePort"))
    world.cluster.wait_for(lambda: world.get("Service", ns, SERVICE)["spec"]["type"] == "NodePort", "the Service's type")
    world.rested()
    spec = world.ready(ns, "t-kbs-config", "KbsConfig")["spec"]
    equal({key: spec[key] for key in ("KbsDeploymentSpec", "KbsEnvVars")}, dict(list(own.items())[:2]), "the admin's")
    equal(spec["kbsLocalCertCacheSpec"]["secrets"][0]["secretName"], "vcek", "the cache of certificates")
    pod = pod_of(world, ns)
    environment = {v["name"]: v["value"] for v in pod["containers"][0]["env"]}
    equal(environment, own["KbsEnvVars"], "the environment")
    check(("Secret", "vcek", None) in mounts(pod).values(), "the cache isn't mounted")


# ---- A KbsConfig alone


CONFIGURATION = '[http_server]\nsockets = ["0.0.0.0:8080"]\ninsecure_http = true\n'


def own_maps(ns):
    return [
        config_map(ns, "own-config", {"kbs-config.toml": CONFIGURATION}),
        config_map(ns, "own-policy", {"resource-policy.rego": "package policy\ndefault allow := false\n"}),
        config_map(ns, "own-values", {"reference_value": "{}"}),
        config_map(ns, "as", {"as-config.json": "{}"}),
        config_map(ns, "rvps", {"rvps-config.json": "{}"}),
        secret(ns, "own-auth", {"publicKey": "none"}),
    ]


OWN = {
    "kbsConfigMapName": "own-config",
    "kbsResourcePolicyConfigMapName": "own-policy",
    "kbsRvpsRefValuesConfigMapName": "own-values",
    "kbsAuthSecretName": "own-auth",
}


@test("a KbsConfig alone names what is missing, runs once all is there, and follows the admin's ConfigMaps")
def _(world):
    ns = world.namespace("alone")
    world.apply(kbs_config(ns, "own", **OWN))
    for made in own_maps(ns)[:3] + own_maps(ns)[5:]:
        kind, name = made["kind"], made["metadata"]["name"]
        told = world.says(ns, "own", "Ready", "False", "ReferenceMissing", "KbsConfig")
        pattern = re.compile(rf'^spec\.\w+ is {kind} "{name}", which isn\'t there; create it')
        world.cluster.wait_for(
            lambda: pattern.match(world.says(ns, "own", "Ready", "False", kind="KbsConfig")["message"]), f"it misses {name}"
        )
        world.create(made)
    world.ready(ns, "own", "KbsConfig")
    world.rested()
    world.rolled(ns, 0)
    children = world.children(ns)
    equal(sorted(children), [("Deployment", DEPLOYMENT), ("Service", SERVICE)], "the objects")
    with world.rolls(ns, 1), world.heard():
        world.patch("ConfigMap", ns, "own-config", {"data": {"kbs-config.toml": CONFIGURATION + "# more\n"}})
    with world.rolls(ns, 0), world.heard():
        world.patch("ConfigMap", ns, "own-config", {"metadata": {"annotations": {"a": "b"}}})
    with world.rolls(ns, 1), world.heard():
        world.patch("Secret", ns, "own-auth", {"stringData": {"publicKey": "another"}})
    with world.rolls(ns, 0):
        world.delete("ConfigMap", ns, "own-policy")
        told = world.says(ns, "own", "Ready", "False", "ReferenceMissing", "KbsConfig")
        check("spec.kbsResourcePolicyConfigMapName" in told["message"], told["message"])
        check(told["message"].endswith("what ran before keeps running"), told["message"])
        world.rested()
        world.create(own_maps(ns)[1])
        world.ready(ns, "own", "KbsConfig")


@test("a KbsConfig alone rolls a good pair of its admin's out, and a bad one not")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("own-pair", True, *own_maps("own-pair"))
    world.create(secret(ns, "key", {"privateKey": pair[1]}), secret(ns, "cert", {"certificate": pair[0]}))
    names = {"kbsHttpsKeySecretName": "key", "kbsHttpsCertSecretName": "cert", "exposure": {"type": "None"}}
    world.apply(kbs_config(ns, "own", **OWN, **names))
    made = world.ready(ns, "own", "KbsConfig")
    equal(made["status"]["certificateExpiry"], not_after(pair[0]), "certificateExpiry")
    world.rested()
    new = make_pair(HOST)
    with world.rolls(ns, 0), world.heard():
        world.patch("Secret", ns, "key", {"stringData": {"privateKey": new[1]}})
    told = world.says(ns, "own", "CertificateValid", "False", kind="KbsConfig")
    check(told["reason"] == "KeyMismatch" and "spec.kbsHttpsCertSecretName" in told["message"], str(told))
    with world.rolls(ns, 1), world.heard():
        world.patch("Secret", ns, "cert", {"stringData": {"certificate": new[0]}})
    world.ready(ns, "own", "KbsConfig")


@test("a KbsConfig alone in several containers")
def _(world):
    ns = world.namespace("several", True, *own_maps("several"))
    several = {"kbsDeploymentType": "MicroservicesDeployment", "kbsAsConfigMapName": "as", "kbsRvpsConfigMapName": "rvps"}
    world.apply(kbs_config(ns, "own", **OWN, **several))
    world.ready(ns, "own", "KbsConfig")
    pod = pod_of(world, ns)
    equal([c["name"] for c in pod["containers"]], ["kbs", "as", "rvps"], "the containers")
    equal(mounts(pod, 1)["/etc/as-config"], ("ConfigMap", "as", None), "the configuration of as")
    equal(mounts(pod, 2)["/etc/rvps-config"], ("ConfigMap", "rvps", None), "the configuration of rvps")
    with world.rolls(ns, 1), world.heard():
        world.patch("ConfigMap", ns, "as", {"data": {"as-config.json": '{"a": 1}'}})


@test("a KbsConfig alone follows what we made for another Trustee of its namespace")
def _(world):
    ns = world.namespace("beside", True, *own_maps("beside"))
    made = {"kbsResourcePolicyConfigMapName": "t-resource-policy", "kbsAuthSecretName": "t-auth-secret"}
    world.apply(kbs_config(ns, "own", **OWN | made, instanceName="own"))
    world.says(ns, "own", "Ready", "False", "ReferenceMissing", "KbsConfig")
    world.apply(trustee(ns))
    world.ready(ns)
    world.ready(ns, "own", "KbsConfig")
    world.rested()
    name = f"own-{DEPLOYMENT}"
    world.rolled(ns, 0, name)
    digest = "sha256:" + "0" * 64
    with world.rolls(ns, 1, name):
        world.apply(trustee(ns, bindings=[{"initdataDigests": [digest], "resources": ["default/app"]}]))


# ---- Profiles


def digest_of(world, ns, name, other_than=None):
    def digest():
        found = world.get("ConfidentialProfile", ns, name).get("status", {}).get("initdata", {}).get("digest")
        return found if found != other_than else None

    return world.cluster.wait_for(digest, f"profile {ns}/{name} has a digest other than {other_than}")


@test("a binding's digest follows the profile, in one rollout; a profile that isn't there is told")
def _(world):
    ns = world.namespace("bound")
    bindings = [{"profileRef": {"name": "app"}, "resources": ["default/app"]}]
    world.apply(trustee(ns, bindings=bindings))
    told = world.says(ns, "t", "Degraded", "True", "ProfileNotFound")
    check("spec.bindings[0].profileRef" in told["message"] and "create it" in told["message"], told["message"])
    world.ready(ns)
    check('"default/app/": {}' in policy_of(world, ns) or "default/app" in policy_of(world, ns), policy_of(world, ns))
    old = None
    for number in range(2):
        with world.rolls(ns, 1):
            made = profile("app", ns, initdata={"kbs": {"url": f"https://kbs-{number}.example"}})
            world.apply(made)
            digest = digest_of(world, ns, "app", old)
            world.cluster.wait_for(
                lambda: digest.partition(":")[2] in policy_of(world, ns), "the policy has the profile's digest"
            )
            if old:
                check(old.partition(":")[2] not in policy_of(world, ns), "the policy has the old digest still")
            world.ready(ns)
            world.rested()
        old = digest
    world.says(ns, "t", "Degraded", "False")


@test("a profile that names a TrusteeConfig gets its address and CA, and so gets bound to it")
def _(world):
    pair = make_pair(HOST)
    ns = world.namespace("pointed-at", True, tls_secret("pointed-at", "kbs-tls", pair))
    made = profile("app", ns)
    made["spec"]["initdata"].pop("kbs")
    made["spec"]["initdata"]["trusteeConfigRef"] = {"name": "t", "namespace": ns}
    world.apply(made)
    world.apply(restricted(ns, bindings=[{"profileRef": {"name": "app"}, "resources": ["default"]}]))
    world.admit_route(ns, HOST)
    endpoint = world.there("ConfigMap", ns, "trustee-endpoint-t")["data"]
    equal(endpoint, {"url": f"https://{HOST}", "ca.crt": pair[0]}, "what is published")
    digest = digest_of(world, ns, "app")
    ready = condition(world.get("ConfidentialProfile", ns, "app"), "Ready")
    equal((ready["status"], ready["reason"]), ("True", "Compiled"), "the profile's condition")
    world.cluster.wait_for(lambda: digest.partition(":")[2] in policy_of(world, ns), "the policy has the digest")
    world.ready(ns)
    world.rested()
    check(world.rollouts(ns) <= 1, f"there were {world.rollouts(ns)} rollouts after the first")
    equal(condition(world.get("TrusteeConfig", ns, "t"), "Degraded")["status"], "False", "Degraded")


# ---- Pods that don't run


TROUBLES = [
    ("pending", "Pending", "the pods are being started"),
    ("unschedulable", "Unschedulable", "3 Insufficient memory"),
    ("image", "ImagePull", "spec.imagePullSecrets"),
    ("crash", "CrashLoop", "kubectl logs -n troubled deploy/trustee-deployment -c kbs --previous"),
    ("unready", "NotRunning", "readiness probe fails"),
]


@test("pods that don't run are told with the reason and the remedy")
def _(world):
    ns = "troubled"
    world.kubelet.decide(ns, "pending")
    world.namespace(ns)
    world.apply(trustee(ns))
    for fate, reason, part in TROUBLES:
        world.kubelet.decide(ns, fate)
        # That it starts, only the TrusteeConfig says; a write less for each.
        for kind, name in (("TrusteeConfig", "t"), ("KbsConfig", "t-kbs-config"))[: 1 if fate == "pending" else 2]:
            told = world.says(ns, name, "Ready", "False", reason, kind)
            check(part in told["message"], f"the message for {fate} is: {told['message']}")
            world.says(ns, name, "Progressing", "True", "RollingOut", kind)
            equal(world.get(kind, ns, name)["status"].get("url"), None, f"the url of {kind} before a pod has run")
    world.kubelet.decide(ns, "ready")
    url = f"http://{SERVICE}.{ns}.svc:8080"
    equal(world.ready(ns)["status"]["url"], url, "the url once a pod runs")
    # The old pod serves while a new one doesn't come up.
    world.kubelet.decide(ns, "image", new_only=True)
    world.apply(trustee(ns, image="registry.example/kbs:none"))
    told = world.says(ns, "t", "Degraded", "True", "ImagePull")
    check("registry.example/kbs:none" in told["message"], told["message"])
    world.says(ns, "t", "Ready", "True")
    world.says(ns, "t", "Progressing", "True", "RollingOut")
    world.kubelet.decide(ns, "crash")
    world.says(ns, "t", "Ready", "False")
    equal(world.get("TrusteeConfig", ns, "t")["status"].get("url"), url, "the url after pods have failed")


# ---- What others give, and what isn't theirs to change


@test("a ConfigMap of an admin's own reaches the pods whatever labels it has, as Helm's instance")
def _(world):
    ns = world.namespace("helm")
    given = config_map(ns, "own", {"kbs-config.toml": "a = 1\n"})
    given["metadata"]["labels"] = {"app.kubernetes.io/instance": "release", "app.kubernetes.io/managed-by": "Helm"}
    world.create(given)
    world.apply(kbs_config(ns, "k", kbsConfigMapName="own"))
    world.ready(ns, "k", "KbsConfig")
    world.rested()
    with world.rolls(ns, 1):
        world.patch("ConfigMap", ns, "own", {"data": {"kbs-config.toml": "a = 2\n"}})


@test("an admin's own claim with IBM SE's certificates is nothing to complain of")
def _(world):
    ns = world.namespace("own-claim")
    amount = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Mi"}}}
    world.create(config_map(ns, "own", {"kbs-config.toml": "a = 1\n"}))
    world.create(named("PersistentVolumeClaim", ns, "own", spec=amount))
    world.apply(kbs_config(ns, "k", kbsConfigMapName="own", ibmSEConfigSpec={"certStorePvc": "own"}))
    world.ready(ns, "k", "KbsConfig")
    world.says(ns, "k", "Degraded", "False", "AsExpected", "KbsConfig")


@test("what others set in the KbsConfig that is the TrusteeConfig's to say takes no policy away")
def _(world):
    ns = world.namespace("others-fields")
    world.apply(trustee(ns))
    world.ready(ns)
    world.rested()
    for spec in ({"trusteeVersion": "0.17"}, {"instanceName": "two"}, {"image": "registry.example/other:v0.17.0"}):
        with world.rolls(ns, 0):
            with world.heard():
                world.patch("KbsConfig", ns, "t-kbs-config", {"spec": spec})
            told = world.says(ns, "t", "ResourcesSynced", "False", "FieldIgnored")
            check(f"spec.{next(iter(spec))}" in told["message"], told["message"])
            equal(mounts(pod_of(world, ns)), MOUNTS, "the mounts")
        with world.heard():
            world.patch("KbsConfig", ns, "t-kbs-config", {"spec": dict.fromkeys(spec)})
    world.says(ns, "t", "ResourcesSynced", "True", "Synced")


@test("a cache of certificates that would hide the policy isn't rolled out")
def _(world):
    ns = world.namespace("hidden", True, secret("hidden", "cache", {"resource-policy.rego": "package policy"}))
    world.apply(trustee(ns))
    world.ready(ns)
    world.rested()
    cache = {"secretName": "cache", "mountPath": f"{STORAGE}/kbs/"}
    with world.rolls(ns, 0):
        world.patch("KbsConfig", ns, "t-kbs-config", {"spec": {"kbsLocalCertCacheSpec": {"secrets": [cache]}}})
        told = world.says(ns, "t", "Ready", "False", "InvalidConfiguration")
        check(cache["mountPath"] in told["message"], told["message"])


@test("the Secrets that the KBS's keys are copied from are served to nobody")
def _(world):
    ns = world.namespace("sources", True, tls_secret("sources", "kbs-tls", make_pair(HOST)))
    world.apply(restricted(ns, secretResources=["kbs-tls"], exposure={"type": "None"}))
    world.says(ns, "t", "Degraded", "True", "SecretNotServed")
    told = world.says(ns, "t", "ResourcesSynced", "False", "SecretNotServed")
    check('"kbs-tls"' in told["message"], told["message"])
    for volume in pod_of(world, ns)["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            equal(source["secret"]["name"], "attestation-status", "what is served")


# ---- Rights


@test("a KbsConfig that upstream's operator has left where nobody has granted anything says so, too")
def _(world):
    ns = world.namespace("left-ungranted", False)
    left = kbs_config(ns, "k", kbsConfigMapName="own")
    left["metadata"]["finalizers"] = ["kbsconfig.confidentialcontainers.org/finalizer"]
    world.create(left)
    world.says(ns, "k", "Ready", "False", "Forbidden", "KbsConfig")
    world.bind(ns)
    world.says(ns, "k", "Ready", "False", "ReferenceMissing", "KbsConfig", timeout=60)
    equal(world.get("KbsConfig", ns, "k")["metadata"].get("finalizers"), None, "the finalizers")


@test("in a namespace that nobody has granted, the status has the very command that does, and that is enough")
def _(world):
    ns = world.namespace("ungranted", False)
    world.apply(trustee(ns))
    world.says(ns, "t", "Ready", "False", "Forbidden")
    told = world.says(ns, "t", "ResourcesSynced", "False", "Forbidden")
    command = re.search(r"kubectl (-n ungranted create rolebinding [^;]*)", told["message"])
    check(command, f"there is no command in: {told['message']}")
    equal(world.get("Deployment", ns, DEPLOYMENT), None, "the Deployment")
    world.cluster.kubectl(*shlex.split(command[1]))
    world.ready(ns, timeout=60)


@test("where nothing is granted it asks ever more rarely, and at once when the resource is changed")
def _(world):
    ns = world.namespace("patient", False)
    world.apply(trustee(ns))
    world.says(ns, "t", "Ready", "False", "Forbidden")

    def refused():
        return [e for e in world.requests() if e.get("objectRef", {}).get("namespace") == ns and e["responseStatus"]["code"] == 403]

    def change(value):
        world.patch("TrusteeConfig", ns, "t", {"metadata": {"annotations": {"changed": value}}})

    for number in range(DOUBLINGS):
        before = len(refused())
        change(str(number))
        world.cluster.wait_for(lambda: len(refused()) > before, "it is tried after a change", SOON_S)
    world.rested()
    since = len(refused())
    world.idle(PATIENCE_RENEWALS)
    # A pass that was due before the last change comes all the same; what follows it is far off.
    asked = [e["requestURI"] for e in refused()[since:]]
    check(len(asked) <= 1, f"asked although nothing has changed: {asked}")
    world.bind(ns)
    change("granted")
    world.ready(ns, timeout=SOON_S)


# ---- Many


@test("twenty TrusteeConfigs in as many namespaces, at once")
def _(world):
    names = [world.namespace(f"many-{n}") for n in range(20)]
    for ns in names:
        world.apply(trustee(ns))
    for ns in names:
        world.ready(ns, timeout=60)
    world.rested()
    for ns in names:
        world.rolled(ns, 0)
    writes = [e for e in world.requests() if e["verb"] in ("create", "patch", "update", "delete")]
    each = [len([e for e in writes if e.get("objectRef", {}).get("namespace") == ns]) for ns in names]
    print(f"writes of each: {min(each)} to {max(each)}")
    check(max(each) <= 30, f"one took {max(each)} writes")


# ---- All that went before


@test("what is in a Secret, Vault's token too, is nowhere else")
def _(world):
    check(any(VAULT_TOKEN in texts for texts in world.secrets().values()), "Vault's token is in no Secret")
    equal(world.leaks(), [], "secrets that are elsewhere")


@test("nothing was forbidden that no case meant, and the proxy had no trouble")
def _(world):
    equal(world.refusals(), [], "what was forbidden")
    equal(world.proxy.errors, [], "errors of the proxy")


main(TrusteeWorld(CONTROLLER))
