#!/usr/bin/python3
"""TrusteeConfigs and KbsConfigs, as kubectl gets them past a real API server, its schema and coco-webhook (argv[1]).

The webhook reaches the API server as its ServiceAccount, through a proxy that can take it away. Each case has a namespace of
its own, as a namespace has room for one Trustee.
"""

import json

import yaml
from world import VALIDATING, Account, Webhook, World, programs

from fault_proxy import FaultProxy, Hole
from tap import check, equal, main, test

(WEBHOOK,) = programs("coco-webhook")
API = "confidentialcontainers.org/v1alpha1"
DENIED = 'admission webhook "trustees.validate.pipelines.confidentialcontainers.org" denied the request: '
PERMISSIVE = (
    "Warning: spec.profileType Permissive releases every resource to whoever asks, genuine guest or not: it is for "
    "evaluation; Restricted is for production\n"
)
UNKNOWN = (
    "Warning: whether another Trustee of this namespace has the same names could not be found out, as the API server could "
    "not be asked: see condition Ready\n"
)
RESTRICTED = "profileType: Restricted, httpsSpec: {tlsSecretName: kbs-tls}"


class TrusteeWorld(World):
    def set_up(self):
        self.prepare_cluster()
        self.apply_base("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
        self.proxy = self.stack.enter_context(FaultProxy(self.cluster.port, self.cluster.dir / "certs/apiserver.crt"))
        self.account = Account(self, "coco-webhook", self.proxy)
        self.webhook = Webhook(
            WEBHOOK, self.folder / "webhook", self.cluster.env, f"--kubeconfig={self.account.kubeconfig}"
        )
        self.start(self.webhook)
        self.webhook.proc.wait_until(lambda: self.webhook.get("/readyz")[0] == 200, "is ready")
        self.install(VALIDATING)

    def namespace(self, name):
        self.cluster.kubectl("create", "namespace", name)
        return name

    def apply(self, ns, kind, name, spec="", **metadata):
        """(exit status, stdout, stderr) of kubectl apply, of a spec in YAML as people write it."""
        metadata = {"name": name, "namespace": ns} | metadata
        head = yaml.safe_dump({"apiVersion": API, "kind": kind, "metadata": metadata})
        return self.cluster.kubectl("apply", "-f", "-", stdin=f"{head}spec: {{{spec}}}\n", check=False)

    def applied(self, ns, kind, name, spec="", warning="", done="created"):
        plain = "trusteeconfig" if kind == "TrusteeConfig" else "kbsconfig"
        said = self.apply(ns, kind, name, spec)
        equal(said, (0, f"{plain}.confidentialcontainers.org/{name} {done}\n", warning), f"what kubectl says of {spec}")

    def refused(self, ns, kind, name, spec, message):
        """By the webhook. What kubectl says of an update quotes the whole object before that."""
        status, _, stderr = self.apply(ns, kind, name, spec)
        check(stderr.startswith("The request is invalid: "), f"kubectl says {stderr}")
        check(stderr.endswith(f"{DENIED}{message}\n"), f"kubectl says {stderr}\nand not {message}")
        equal(status, 1, f"kubectl's exit status for {spec}")

    def spec(self, ns, kind, name):
        return self.cluster.get_json(kind, name, "-n", ns)["spec"]

    def lookups(self):
        return sum(self.webhook.metric(f'coco_webhook_lookups_total{{result="{r}"}}') for r in ("success", "failure"))


# ---- What moves over from upstream


UPSTREAM = [
    ("TrusteeConfig", "profileType: Permissive, kbsServiceType: ClusterIP, httpsSpec: {}", PERMISSIVE),
    (
        "TrusteeConfig",
        "profileType: Restricted, kbsServiceType: LoadBalancer, httpsSpec: {tlsSecretName: a}, "
        "attestationTokenVerificationSpec: {tlsSecretName: b}, ibmSE: {pvName: c}, "
        "tlsConfig: {profile: custom, minVersion: '1.2', maxVersion: '1.3', ciphers: [TLS_AES_128_GCM_SHA256], "
        "groups: [x25519]}",
        "",
    ),
    (
        "KbsConfig",
        "kbsConfigMapName: a, kbsAuthSecretName: b, kbsDeploymentType: AllInOneDeployment, "
        "kbsRvpsRefValuesConfigMapName: c, kbsSecretResources: [kbsres1], kbsResourcePolicyConfigMapName: d, "
        "kbsAttestationPolicyConfigMapName: e, kbsHttpsKeySecretName: f, kbsHttpsCertSecretName: g, "
        "kbsLocalCertCacheSpec: {secrets: [{secretName: h}]}, ibmSEConfigSpec: {certStorePvc: i}, "
        "KbsEnvVars: {RUST_LOG: debug}, KbsDeploymentSpec: {replicas: 1}",
        "",
    ),
    (
        "KbsConfig",
        "kbsDeploymentType: MicroservicesDeployment, kbsAsConfigMapName: a, kbsRvpsConfigMapName: b, "
        "kbsServiceType: NodePort",
        "",
    ),
    ("KbsConfig", "kbsSecretResources: [made-beforehand]", ""),
]


@test("what upstream takes is taken as it stands")
def _(world):
    for number, (kind, spec, warning) in enumerate(UPSTREAM):
        ns = world.namespace(f"upstream-{number}")
        world.applied(ns, kind, "a", spec, warning)
        stored, given = world.spec(ns, kind, "a"), yaml.safe_load(f"{{{spec}}}")
        for field, value in given.items():
            kept = stored[field] if field != "kbsLocalCertCacheSpec" else value  # the API server adds a default in there
            equal(kept, value, f"{field} of {spec}")


@test("a bare object gets the defaults, and says so")
def _(world):
    ns = world.namespace("bare")
    world.applied(ns, "TrusteeConfig", "a", "", PERMISSIVE)
    spec = world.spec(ns, "tc", "a")
    equal(
        (spec["profileType"], spec["kbsServiceType"], spec["exposure"], spec["driftPolicy"], spec["nvidia"]),
        ("Permissive", "ClusterIP", {"type": "Auto"}, "Enforce", "Off"),
        "the defaults of a TrusteeConfig",
    )
    world.applied(ns, "KbsConfig", "a-kbs-config")
    spec = world.spec(ns, "kbs", "a-kbs-config")
    equal(
        (spec["kbsDeploymentType"], spec["kbsSecretResources"], spec["KbsDeploymentSpec"]),
        ("AllInOneDeployment", [], {"replicas": 1}),
        "the defaults of a KbsConfig",
    )


@test("an unquoted Off is Off for nvidia")
def _(world):
    ns = world.namespace("unquoted")
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED + ", nvidia: off")
    equal(world.spec(ns, "tc", "a")["nvidia"], False, "what is stored")


@test("a Secret that an admin adds to a KbsConfig stays, whatever is applied of its own")
def _(world):
    ns = world.namespace("add-secret")
    path = f"/apis/{API}/namespaces/{ns}/kbsconfigs/a-kbs-config"
    mine = {
        "apiVersion": API,
        "kind": "KbsConfig",
        "metadata": {"name": "a-kbs-config"},
        "spec": {"kbsSecretResources": ["attestation-status"]},
    }

    def apply(own):
        mine["spec"]["kbsSecretResources"] = own
        status, answer = world.cluster.raw(
            "PATCH", f"{path}?fieldManager=coco-controller", mine, content_type="application/apply-patch+yaml"
        )
        check(status in (200, 201), f"server-side apply: {answer}")

    apply(["attestation-status"])
    patch = '[{"op": "add", "path": "/spec/kbsSecretResources/-", "value": "cosign.key"}]'
    world.cluster.kubectl("patch", "kbsconfig", "a-kbs-config", "-n", ns, "--type=json", "-p", patch)
    apply(["attestation-status", "another"])
    found = sorted(world.spec(ns, "kbs", "a-kbs-config")["kbsSecretResources"])
    equal(found, ["another", "attestation-status", "cosign.key"], "the Secrets")
    apply(["attestation-status"])
    found = sorted(world.spec(ns, "kbs", "a-kbs-config")["kbsSecretResources"])
    equal(found, ["attestation-status", "cosign.key"], "the Secrets when one's own is gone")


# ---- What is refused


@test("the schema refuses what is no value of its field")
def _(world):
    ns = world.namespace("schema")
    rows = [
        ("TrusteeConfig", "profileType: restricted", 'spec.profileType: Unsupported value: "restricted"'),
        ("TrusteeConfig", "profileType: ''", "spec.profileType"),
        ("TrusteeConfig", "kbsServiceType: ExternalName", 'spec.kbsServiceType: Unsupported value: "ExternalName"'),
        ("TrusteeConfig", "replicas: -1", "spec.replicas"),
        ("TrusteeConfig", "tlsConfig: {minVersion: '1.4'}", "spec.tlsConfig.minVersion"),
        ("TrusteeConfig", 'tlsConfig: {ciphers: ["A\\nb = 1"]}', "spec.tlsConfig.ciphers"),
        ("TrusteeConfig", "trusteeVersion: 0.21", "spec.trusteeVersion"),
        ("TrusteeConfig", "instanceName: '2nd'", "spec.instanceName"),
        ("TrusteeConfig", "httpsSpec: {secretName: a}", 'unknown field "secretName"'),
        ("TrusteeConfig", "ibmSE: {}", 'missing required field "pvName"'),
        ("KbsConfig", "KbsDeploymentSpec: {replicas: -1}", "spec.KbsDeploymentSpec.replicas"),
        ("KbsConfig", "kbsSecretResources: [a, a]", 'spec.kbsSecretResources[1]: Duplicate value: "a"'),
        ("KbsConfig", "kbsenvvars: {}", 'unknown field "kbsenvvars"'),
    ]
    for kind, spec, part in rows:
        status, _, stderr = world.apply(ns, kind, "a", spec)
        check(status == 1 and part in stderr, f"kubectl says of {spec}: {stderr}")


@test("the webhook refuses what the schema can't tell, with the field, the value and the remedy")
def _(world):
    ns = world.namespace("refused")
    rows = [
        (
            "TrusteeConfig",
            "profileType: Restricted",
            "spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the name of a Secret of "
            "type kubernetes.io/tls, or else guests could not tell the KBS from whoever answers in its place",
        ),
        (
            "TrusteeConfig",
            "tlsConfig: {profile: custom, minVersion: '1.1'}",
            'spec.tlsConfig.minVersion is "1.1"; it must be 1.2 or 1.3, as Trustee knows no other and would not start',
        ),
        (
            "TrusteeConfig",
            "airGapped: true, nvidia: Remote",
            "spec.nvidia is Remote, which asks NVIDIA's service, but spec.airGapped is true; set nvidia: Local or "
            "airGapped: false",
        ),
        (
            "TrusteeConfig",
            "bindings: [{resources: [default/app/key]}]",
            "spec.bindings[0] needs exactly one of profileRef and initdataDigests; it has none",
        ),
        (
            "KbsConfig",
            "resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}",
            "spec.resources.requests.cpu is above spec.resources.limits.cpu; raise the limit or lower the request",
        ),
        (
            "KbsConfig",
            "kbsLocalCertCacheSpec: {secrets: [{secretName: a}, {secretName: b}]}",
            "spec.kbsLocalCertCacheSpec.secrets[1].mountPath is "
            '"/opt/confidential-containers/attestation-service/kds-store/vcek", as is that of secrets[0]; give each a path '
            "of its own, such as that and /HWID",
        ),
    ]
    for kind, spec, message in rows:
        world.refused(ns, kind, "a", spec, message)
    long = "a" * 64
    world.refused(
        ns,
        "TrusteeConfig",
        long,
        "",
        f'metadata.name is "{long}", of 64 characters; it becomes the value of a label, which has at most 63: choose a '
        "shorter one",
    )


@test("Restricted comes back to Permissive only where that is allowed")
def _(world):
    ns = world.namespace("downgrade")
    down = (
        "spec.profileType goes from Restricted to Permissive, which releases every resource to any guest; if that is meant, "
        "set spec.allowDowngrade: true as well"
    )
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED)
    world.refused(ns, "TrusteeConfig", "a", "profileType: Permissive", down)
    world.refused(ns, "TrusteeConfig", "a", "", down)
    world.applied(ns, "TrusteeConfig", "a", "profileType: Permissive, allowDowngrade: true", PERMISSIVE, "configured")
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED, "", "configured")


# ---- One Trustee a namespace, or one for each instanceName


def taken(holder, instance=""):
    return (
        f"{holder} of this namespace has the names {instance}trustee-deployment and {instance}kbs-service already; set "
        "spec.instanceName to another name to run another Trustee beside it, or delete that one"
    )


@test("a second Trustee without a name of its own is refused, and the first left alone")
def _(world):
    ns = world.namespace("second")
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED)
    world.applied(ns, "KbsConfig", "a-kbs-config")
    first = taken('TrusteeConfig "a"')
    world.refused(ns, "TrusteeConfig", "b", RESTRICTED, first)
    world.refused(ns, "KbsConfig", "b", "", first)
    world.applied(ns, "TrusteeConfig", "b", RESTRICTED + ", instanceName: two")
    world.applied(ns, "KbsConfig", "b-kbs-config", "instanceName: two")
    second = taken('TrusteeConfig "b"', "two-")
    world.refused(ns, "TrusteeConfig", "c", RESTRICTED + ", instanceName: two", second)
    world.refused(ns, "KbsConfig", "a-kbs-config", "instanceName: two", second)
    world.cluster.kubectl("delete", "tc", "a", "-n", ns)
    world.refused(ns, "TrusteeConfig", "c", RESTRICTED, taken('KbsConfig "a-kbs-config"'))
    world.cluster.kubectl("delete", "kbs", "a-kbs-config", "-n", ns)
    world.applied(ns, "TrusteeConfig", "c", RESTRICTED)


@test("an update that keeps its names asks for no others")
def _(world):
    ns = world.namespace("quiet")
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED)
    before = world.lookups()
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED + ", replicas: 1", "", "configured")
    world.cluster.kubectl("label", "tc", "a", "-n", ns, "a=b")
    equal(world.lookups() - before, 0, "the lookups")


@test("while the webhook can't reach the API server, a Trustee is stored with a warning")
def _(world):
    ns = world.namespace("cut-off")
    rule = world.proxy.add_rule("/trusteeconfigs", Hole())
    try:
        status, stdout, stderr = world.apply(ns, "TrusteeConfig", "a", RESTRICTED)
        equal((status, stdout), (0, "trusteeconfig.confidentialcontainers.org/a created\n"), "what kubectl says")
        equal(stderr, UNKNOWN, "kubectl's warning")
        reasons = [line["reason"] for line in world.webhook.log() if "other Trustees" in line["msg"]]
        check(len(reasons) == 1 and reasons[0], f"the log's reasons are {reasons}")
    finally:
        world.proxy.remove_rule(rule)
    world.refused(ns, "TrusteeConfig", "b", RESTRICTED, taken('TrusteeConfig "a"'))


# ---- The rest


@test("kubectl get shows profile, readiness, URL and expiry")
def _(world):
    ns = world.namespace("columns")
    world.applied(ns, "TrusteeConfig", "a", RESTRICTED)
    status = {
        "isReady": True,
        "statusDescription": "all is well",
        "kbsConfigRef": {"kind": "KbsConfig", "namespace": ns, "name": "a-kbs-config"},
        "url": "https://kbs.example.com",
        "certificateExpiry": "2027-01-02T03:04:05Z",
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Available",
                "message": "all is well",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "observedGeneration": 1,
            }
        ],
    }
    path = f"/apis/{API}/namespaces/{ns}/trusteeconfigs/a/status"
    code, answer = world.cluster.raw(
        "PATCH", path, {"status": status}, content_type="application/merge-patch+json"
    )
    equal((code, answer.get("status")), (200, status), "the status as stored")
    lines = [line.split() for line in world.cluster.kubectl("get", "tc", "-n", ns)[1].splitlines()]
    equal(lines[0], ["NAME", "PROFILE", "READY", "REASON", "URL", "CERT-EXPIRY", "AGE"], "the columns")
    expected = ["a", "Restricted", "True", "Available", "https://kbs.example.com", "2027-01-02T03:04:05Z"]
    equal(lines[1][:-1], expected, "the row")


@test("the webhook may list Trustees' resources, and no more")
def _(world):
    def may(verb, resource):
        resource = f"{resource}.confidentialcontainers.org"
        return world.cluster.kubectl("auth", "can-i", verb, resource, "--as", world.account.user, check=False)[1] == "yes\n"

    for resource in ("trusteeconfigs", "kbsconfigs"):
        check(may("list", resource), f"it may not list {resource}")
        for verb in ("get", "watch", "create", "update", "patch", "delete"):
            check(not may(verb, resource), f"it may {verb} {resource}")


main(TrusteeWorld())
