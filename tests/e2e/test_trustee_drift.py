#!/usr/bin/python3
"""What others do to the objects of a Trustee, and what becomes of these when their owners go: coco-controller (argv[1]) on a
real API server. The last cases judge all that went before, so alone (-k) they say little."""

import copy

from fault_world import revision
from trustee_world import (
    DEPLOYMENT,
    SERVICE,
    TrusteeWorld,
    condition,
    config_map,
    kbs_config,
    restricted,
    secret,
    tls_secret,
    trustee,
    uid,
)
from upstream_world import ALLOW_ALL
from world import programs

from certificates import make_pair
from tap import check, equal, main, test

(CONTROLLER,) = programs("coco-controller")
HOST = "kbs.example"
NS = "drift"
BACK_S = 15  # within seconds, on a busy machine
RENEWALS = 4
FINALIZER = "kbsconfig.confidentialcontainers.org/finalizer"
# By whom: another's label and annotation, which stay.
FOREIGN = {"labels": {"others.example/label": "stays"}, "annotations": {"others.example/annotation": "stays"}}


# ---- Each object, edited and deleted


class Rich(TrusteeWorld):
    """With a Trustee of all kinds of objects, and two more that are exposed otherwise."""

    def set_up(self):
        super().set_up()
        self.namespace(NS, True, tls_secret(NS, "kbs-tls", make_pair(HOST)), tls_secret(NS, "token-tls", make_pair("t")))
        self.create(secret(NS, "kbsres1", {"key1": "a secret that guests get"}))
        self.apply(
            restricted(
                NS,
                attestationTokenVerificationSpec={"tlsSecretName": "token-tls"},
                imagePolicy={"securityPolicy": '{"default": [{"type": "reject"}]}'},
                secretResources=["kbsres1"],
                metrics={"serviceMonitor": True},
            )
        )
        gateway = {"type": "TLSRoute", "host": HOST, "gatewayRef": {"name": "gateway"}}
        self.apply(restricted(NS, "u", instanceName="u", exposure=gateway))
        self.apply(restricted(NS, "v", instanceName="v", exposure={"type": "Ingress", "host": HOST}))
        self.admit_route(NS, HOST)
        for name in ("t", "u", "v"):
            self.ready(NS, name)
        self.rested()


def text(key):
    return {"data": {key: "edited"}}


def value(key):
    return {"stringData": {key: "edited"}}


def replace(path, value):
    return [{"op": "replace", "path": path, "value": value}]


# (kind, name, an edit, the field as an event tells it, rollouts by the edit)
IMAGE = "/spec/template/spec/containers/0/image"
EDITS = [
    ("ConfigMap", "t-kbs-config", text("kbs-config.toml"), "data[kbs-config.toml]", 0),
    ("ConfigMap", "t-resource-policy", text("resource-policy.rego"), "data[resource-policy.rego]", 0),
    ("ConfigMap", "t-attestation-policy-cpu", text("default_cpu.rego"), "data[default_cpu.rego]", 0),
    ("ConfigMap", "t-attestation-policy-gpu", {"data": {"default_gpu.rego": None}}, "data had been changed", 0),
    ("ConfigMap", "t-kbs-config-image-policy", text("policy.json"), "data[policy.json]", 0),
    ("ConfigMap", "trustee-endpoint-t", text("url"), "data.url", 0),
    ("Secret", "attestation-status", value("status"), "data.status", 0),
    ("Secret", "t-https-key-secret", value("privateKey"), "data.privateKey", 0),
    ("Secret", "t-https-cert-secret", {"data": {"certificate": None}}, "data had been changed", 0),
    ("Secret", "t-attestation-key-secret", value("token.key"), "data[token.key]", 0),
    ("Secret", "t-attestation-cert-secret", value("token.crt"), "data[token.crt]", 0),
    ("KbsConfig", "t-kbs-config", {"spec": {"kbsAuthSecretName": "other"}}, "spec.kbsAuthSecretName", 0),
    ("Deployment", DEPLOYMENT, replace(IMAGE, "edited"), "spec.template.spec.containers[name=kbs].image", 2),
    ("Service", SERVICE, replace("/spec/ports/0/targetPort", 9999), "spec.ports[port=8080,protocol=TCP].targetPort", 0),
    ("Route", "kbs", {"spec": {"to": {"name": "edited"}}}, "spec.to.name", 0),
    ("TLSRoute", "u-kbs", {"spec": {"hostnames": ["edited.example"]}}, "spec.hostnames", 0),
    ("Ingress", "v-kbs", replace("/spec/rules/0/host", "edited.example"), "spec.rules[0].host", 0),
    ("ServiceMonitor", SERVICE, {"spec": {"endpoints": []}}, "spec.endpoints", 0),
]


def content(object, foreign=False):
    """What is ours, or an admin's, in it: all but what the cluster and the given others write. foreign: without FOREIGN."""
    kept = copy.deepcopy(object)
    kept.pop("status", None)
    metadata = kept["metadata"]
    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "selfLink"):
        metadata.pop(field, None)
    metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    for field in FOREIGN if foreign else ():
        for key in FOREIGN[field]:
            metadata[field].pop(key)
    for field in {"Service": ("clusterIP", "clusterIPs"), "Route": ("host",)}.get(object["kind"], ()):
        kept["spec"].pop(field, None)
    return kept


def same_again(world, kind, name, before, foreign=False, other_than=None):
    """The object, once it is as it was. other_than: the uid of one that was deleted."""

    def is_so():
        now = world.get(kind, NS, name)
        if not now or uid(now) == other_than:
            return None
        return now if content(now, foreign) == content(before) else None

    try:
        return world.cluster.wait_for(is_so, f"{kind} {name} is as it was", BACK_S)
    except Exception:
        print(f"before: {content(before)}\nnow: {world.get(kind, NS, name)}")
        raise


def repaired(world, kind, name, part):
    """An event says so."""

    def events():
        return [e for e in world.list("Event", NS) if e["reason"] == "Repaired" and f'{kind} "{name}"' in e["note"]]

    world.cluster.wait_for(
        lambda: [e for e in events() if part in e["note"]], f"an event says that {kind} {name} was repaired: {part}"
    )


def edit(world, kind, name, patch):
    """The edit, in one request where it is a merge patch, with something of others' own."""
    if isinstance(patch, list):
        world.patch(kind, NS, name, {"metadata": FOREIGN})
        world.patch(kind, NS, name, patch, "json", manager="someone")
    else:
        world.patch(kind, NS, name, patch | {"metadata": FOREIGN}, manager="someone")


def row(kind, name, patch, field, rollouts):
    @test(f"{kind} {name}: edited, it is taken back; deleted, it is made again; others' own stays")
    def _(world):
        before = world.get(kind, NS, name)
        with world.rolls(NS, rollouts), world.heard():
            edit(world, kind, name, patch)
        now = same_again(world, kind, name, before, foreign=True)
        for field_of, wanted in FOREIGN.items():
            kept = {key: now["metadata"][field_of].get(key) for key in wanted}
            equal(kept, wanted, f"others' {field_of}")
        repaired(world, kind, name, field)
        if kind in ("KbsConfig", "Deployment"):
            return  # below
        with world.rolls(NS, 0), world.heard():
            world.delete(kind, NS, name)
        same_again(world, kind, name, before, other_than=uid(now))
        repaired(world, kind, name, "deleted")
        if kind == "Route":
            world.admit_route(NS, HOST)
        for owner in ("t", "u", "v"):
            world.ready(NS, owner)


for edited in EDITS:
    row(*edited)


@test("labels and owner of ours that others take away come back")
def _(world):
    taken = {"labels": {"app.kubernetes.io/managed-by": "others"}, "ownerReferences": None}
    for kind, name in (("ConfigMap", "t-resource-policy"), ("Secret", "t-https-key-secret"), ("Deployment", DEPLOYMENT)):
        before = world.get(kind, NS, name)
        with world.rolls(NS, 0), world.heard():
            world.patch(kind, NS, name, {"metadata": taken}, manager="someone")
        same_again(world, kind, name, before)


@test("a Deployment that is deleted comes back as it was, and a KbsConfig with all that is its own")
def _(world):
    owned = (("Deployment", DEPLOYMENT), ("Service", SERVICE), ("Route", "kbs"))
    for kind, name in (("Deployment", DEPLOYMENT), ("KbsConfig", "t-kbs-config")):
        before = {each: world.get(*each[:1], NS, each[1]) for each in owned}
        deleted = uid(world.get(kind, NS, name))
        world.delete(kind, NS, name)

        def again():
            now = world.get(kind, NS, name)
            return now and uid(now) != deleted

        world.cluster.wait_for(again, f"{kind} {name} is made again", BACK_S)
        owner = uid(world.get("KbsConfig", NS, "t-kbs-config"))

        def all_again():
            now = {each: world.get(*each[:1], NS, each[1]) for each in before}
            return all(now.values()) and {o["metadata"]["ownerReferences"][0]["uid"] for o in now.values()} == {owner}

        world.cluster.wait_for(all_again, "the Deployment, the Service and the Route are there and the KbsConfig's")
        world.admit_route(NS, HOST)
        world.ready(NS)
        world.rested()
        template = world.get("Deployment", NS, DEPLOYMENT)["spec"]["template"]
        equal(template, before["Deployment", DEPLOYMENT]["spec"]["template"], "the pods' template")


@test("the admin's keys: deleted, there is a new pair and one rollout")
def _(world):
    before = world.get("Secret", NS, "t-auth-secret")
    with world.rolls(NS, 1):
        world.delete("Secret", NS, "t-auth-secret")
        now = world.cluster.wait_for(
            lambda: (world.get("Secret", NS, "t-auth-secret") or before)["data"] != before["data"]
            and world.get("Secret", NS, "t-auth-secret"),
            "there is a new pair",
        )
    equal(set(now["data"]), {"privateKey", "publicKey"}, "its keys")
    world.ready(NS)


@test("the admin's reference values stay, with one rollout; deleted, there are none")
def _(world):
    name, key = "t-rvps-reference-values", "reference_value"
    values = '{"launch": "values of the admin"}'
    with world.rolls(NS, 1):
        world.patch("ConfigMap", NS, name, {"data": {key: values}}, manager="kubectl-edit")
    equal(world.get("ConfigMap", NS, name)["data"][key], values, "the values")
    world.ready(NS)
    with world.rolls(NS, 1):
        world.delete("ConfigMap", NS, name)
    equal(world.get("ConfigMap", NS, name)["data"][key], "{\n}\n", "the values after they were deleted")
    world.ready(NS)


# ---- driftPolicy


def edited_policy(world, ns):
    return world.get("ConfigMap", ns, "t-attestation-policy-gpu")["data"]["default_gpu.rego"] == "edited"


@test("driftPolicy Warn reports the object and the field, and repairs neither; Enforce then does")
def _(world):
    ns = world.namespace("warn")
    world.apply(trustee(ns, driftPolicy="Warn"))
    world.ready(ns)
    world.says(ns, "t", "ResourcesSynced", "True")
    with world.heard():
        world.patch("ConfigMap", ns, "t-attestation-policy-gpu", text("default_gpu.rego"), manager="someone")
    told = world.says(ns, "t", "ResourcesSynced", "False", "Drifted")
    for part in ('ConfigMap "t-attestation-policy-gpu"', "data[default_gpu.rego]", "set it to Enforce"):
        check(part in told["message"], f"the message has no {part}: {told['message']}")
    told = world.says(ns, "t", "Degraded", "True", "Drifted")
    check("as condition ResourcesSynced tells" in told["message"], told["message"])
    check(edited_policy(world, ns), "it was repaired")
    world.ready(ns)
    with world.heard():
        world.delete("Service", ns, SERVICE)
    equal(world.get("Service", ns, SERVICE), None, "the Service")
    # A change of the spec is applied all the same, to what it concerns.
    world.apply(trustee(ns, driftPolicy="Warn", replicas=2, sessionStorage={"type": "Memory"}))
    world.cluster.wait_for(lambda: world.get("Deployment", ns, DEPLOYMENT)["spec"]["replicas"] == 2, "two replicas")
    world.apply(trustee(ns))
    world.says(ns, "t", "ResourcesSynced", "True")
    check(not edited_policy(world, ns) and world.get("Service", ns, SERVICE), "it wasn't repaired")
    world.ready(ns)


@test("driftPolicy Off neither reports nor repairs")
def _(world):
    ns = world.namespace("off")
    world.apply(trustee(ns, driftPolicy="Off"))
    world.ready(ns)
    world.says(ns, "t", "ResourcesSynced", "True")
    with world.heard():
        world.patch("ConfigMap", ns, "t-attestation-policy-gpu", text("default_gpu.rego"), manager="someone")
    with world.heard():
        world.delete("Service", ns, SERVICE)
    check(edited_policy(world, ns), "it was repaired")
    equal(world.get("Service", ns, SERVICE), None, "the Service")
    equal(condition(world.get("TrusteeConfig", ns, "t"), "ResourcesSynced")["status"], "True", "ResourcesSynced")


@test("with driftPolicy Warn, what could not be made at first is made when it can be")
def _(world):
    ns = world.namespace("warn-late")
    world.apply(restricted(ns, driftPolicy="Warn", exposure={"type": "None"}))
    world.says(ns, "t", "Ready", "False", "SecretMissing")
    world.create(tls_secret(ns, "kbs-tls", make_pair(HOST)))
    world.ready(ns)
    world.says(ns, "t", "ResourcesSynced", "True")


@test("with driftPolicy Warn, what another's object was in the way of is made when that is gone")
def _(world):
    ns = world.namespace("in-the-way", True, config_map("in-the-way", "holder", {}))
    holder = world.get("ConfigMap", ns, "holder")
    taken = secret(ns, "t-auth-secret", {"key": "value"})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "holder", "uid": uid(holder), "controller": True}
    taken["metadata"]["ownerReferences"] = [owner]
    world.create(taken)
    world.apply(trustee(ns, driftPolicy="Warn"))
    world.says(ns, "t", "ResourcesSynced", "False", "NameTaken")
    world.rested()
    world.delete("Secret", ns, "t-auth-secret")
    world.ready(ns)


# ---- Several in a namespace


@test("a second Trustee in a namespace is refused in its status, the first left alone, and takes over when that goes")
def _(world):
    ns = world.namespace("two")
    world.apply(trustee(ns, "a"))
    world.ready(ns, "a")
    world.rested()
    before = {key: object["metadata"]["resourceVersion"] for key, object in world.children(ns).items()}
    world.apply(trustee(ns, "b"), kbs_config(ns, "c", kbsConfigMapName="own"))
    for kind, name in (("TrusteeConfig", "b"), ("KbsConfig", "c")):
        told = world.says(ns, name, "Ready", "False", "NameTaken", kind)
        for part in ('TrusteeConfig "a"', "spec.instanceName"):
            check(part in told["message"], f"the message has no {part}: {told['message']}")
    world.rested()
    equal(world.idle(RENEWALS), [], "requests while two compete")
    after = {key: object["metadata"]["resourceVersion"] for key, object in world.children(ns).items()}
    equal(after, before, "the versions of the first one's objects")
    world.ready(ns, "a")
    world.apply(trustee(ns, "b", instanceName="blue"))
    world.ready(ns, "b")
    world.apply(trustee(ns, "b"))
    world.says(ns, "b", "Ready", "False", "NameTaken")
    world.delete("KbsConfig", ns, "c")
    world.delete("TrusteeConfig", ns, "a")
    world.ready(ns, "b")
    world.rested()
    left = {labels["app.kubernetes.io/instance"] for labels in (o["metadata"]["labels"] for o in world.children(ns).values())}
    equal(left, {"b"}, "whose objects are left")


@test("a second Trustee takes over when the first one takes other names")
def _(world):
    ns = world.namespace("moved")
    world.apply(trustee(ns, "a"))
    world.ready(ns, "a")
    world.apply(trustee(ns, "b"))
    world.says(ns, "b", "Ready", "False", "NameTaken")
    world.rested()
    world.apply(trustee(ns, "a", instanceName="blue"))
    world.ready(ns, "a")
    world.ready(ns, "b")


@test("what lies under the names of a new Trustee is replaced before it has pods, so that none goes by it")
def _(world):
    left = config_map("left", "t-resource-policy", {"resource-policy.rego": ALLOW_ALL})
    ns = world.namespace("left", True, tls_secret("left", "kbs-tls", make_pair(HOST)), left)
    world.apply(restricted(ns))
    world.ready(ns)
    world.rested()
    policy = world.get("ConfigMap", ns, "t-resource-policy")
    check(ALLOW_ALL not in policy["data"]["resource-policy.rego"], "it is the old policy")
    first = world.histories["Deployment"].of(ns, DEPLOYMENT, world.there("Deployment", ns, DEPLOYMENT))[0]
    check(revision(policy) < revision(first), "pods were made that could go by the old policy")
    world.rolled(ns, 0)


# ---- The end


@test("a TrusteeConfig that is deleted takes all of its objects along, and nobody else's")
def _(world):
    ns = world.namespace("deleted", True, tls_secret("deleted", "kbs-tls", make_pair(HOST)))
    world.apply(restricted(ns, ibmSE={"pvName": "se"}, metrics={"serviceMonitor": True}))
    world.admit_route(ns, HOST)
    world.ready(ns)
    world.rested()
    world.delete("TrusteeConfig", ns, "t")
    world.cluster.wait_for(lambda: not world.children(ns), "all of its objects are gone")
    world.cluster.wait_for(lambda: not world.list("Pod", ns), "its pods are gone")
    equal([s["metadata"]["name"] for s in world.list("Secret", ns)], ["kbs-tls"], "the Secrets that are left")


@test("deleted without its objects and made again, it takes them over as they are")
def _(world):
    ns = world.namespace("orphaned")
    world.apply(trustee(ns))
    world.ready(ns)
    world.rested()
    before = {key: uid(object) for key, object in world.children(ns).items()}
    keys = world.get("Secret", ns, "t-auth-secret")["data"]
    with world.rolls(ns, 0):
        world.delete("TrusteeConfig", ns, "t", "Orphan")
        world.gone("TrusteeConfig", ns, "t")
        world.cluster.wait_for(
            lambda: "ownerReferences" not in world.get("Secret", ns, "t-auth-secret")["metadata"], "it has no owner"
        )
        world.ready(ns, "t-kbs-config", "KbsConfig")
        made = world.apply(trustee(ns))
        world.ready(ns)
        world.rested()
    children = world.children(ns)
    equal({key: uid(object) for key, object in children.items()}, before, "the objects")
    equal(children["Secret", "t-auth-secret"]["data"], keys, "the admin's keys")
    owners = {key: object["metadata"]["ownerReferences"][0]["uid"] for key, object in children.items()}
    kbs = uid(children["KbsConfig", "t-kbs-config"])
    equal(set(owners.values()), {uid(made), kbs}, "the owners")
    world.delete("TrusteeConfig", ns, "t")
    world.cluster.wait_for(lambda: not world.children(ns), "all of its objects are gone")


@test("upstream's finalizer is taken off, also of a KbsConfig that is being deleted; a namespace comes to its end")
def _(world):
    ns = world.namespace("ended")
    world.apply(trustee(ns))
    world.ready(ns)
    world.patch("KbsConfig", ns, "t-kbs-config", {"metadata": {"finalizers": [FINALIZER, "others.example/finalizer"]}})

    def finalizers():
        return world.get("KbsConfig", ns, "t-kbs-config")["metadata"].get("finalizers", [])

    world.cluster.wait_for(lambda: finalizers() == ["others.example/finalizer"], "upstream's finalizer is gone")
    world.delete("KbsConfig", ns, "t-kbs-config")
    world.patch("KbsConfig", ns, "t-kbs-config", {"metadata": {"finalizers": None}})
    world.ready(ns)
    stuck = kbs_config(ns, "left-behind")
    stuck["metadata"]["finalizers"] = [FINALIZER]
    world.create(stuck)
    world.forbidden_in.add(ns)  # its RoleBinding may go before the Trustee
    world.delete("Namespace", None, ns)
    world.gone("Namespace", None, ns, timeout=60)


# ---- All that went before


@test("at rest, nothing but the Lease is asked for or written")
def _(world):
    world.rested()
    equal(world.idle(RENEWALS), [], "requests while nothing changes")


@test("what is in a Secret is nowhere else")
def _(world):
    found = world.secrets()
    check(len(found) > 10, f"there were only these secrets: {list(found)}")
    equal(world.leaks(), [], "secrets that are elsewhere")


@test("nothing was forbidden that no case meant, and the proxy had no trouble")
def _(world):
    equal(world.refusals(), [], "what was forbidden")
    equal(world.proxy.errors, [], "errors of the proxy")


main(Rich(CONTROLLER))
