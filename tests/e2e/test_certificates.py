#!/usr/bin/python3
"""Three coco-webhooks (argv[1]) make, renew and repair their serving certificate on a real API server, with the rights of
manifests/base and no others. The last case judges the audit log of all that went before, so alone (-k) it fails.
"""

import base64
import json
import time

import yaml
from certificates_world import (
    BUNDLE_PATCH,
    MANAGER,
    REPLICAS,
    SECRET,
    SECRET_PATCH,
    CertificatesWorld,
    Stream,
)
from world import MUTATING, SYSTEM_NAMESPACE, VALIDATING, programs

from cluster import wait_for
from fault_proxy import Answer, Lost
from tap import check, equal, main, test

(WEBHOOK,) = programs("coco-webhook")
SHORT_S = 15  # of a certificate's life, where it is renewed; another is made after two thirds of it
SHORT = f"--certificate-life={SHORT_S}s"
SHORTEST_S = 10
SHORTEST = f"--certificate-life={SHORTEST_S}s"
ROTATIONS = 2
CREATIONS = 1000
RENEWALS_S = 300  # a slow machine needs most of it for the pods
IDLE_S = 10


def written(world, since, resource="secrets"):
    """The status codes of what the replicas wrote."""
    return [e["responseStatus"]["code"] for e in world.writes(since) if e["objectRef"]["resource"] == resource]


# ---- From nothing


@test("from nothing: three replicas end with one certificate, which the API server trusts")
def _(world):
    world.wipe()
    world.start_all()
    no_secret = f"there is no Secret {SYSTEM_NAMESPACE}/{SECRET} for the serving certificate: apply the manifests again"
    for replica in world.replicas:
        world.cluster.wait_for(lambda: replica.ready()[1].startswith(no_secret), "it says that there is no Secret")
        equal(replica.ready()[0], 503, "the status of /readyz")
    since = len(world.cluster.audit())
    world.apply_all([world.secret])
    no_configuration = f"there is neither a {MUTATING} nor a {VALIDATING} coco-webhook: apply the manifests again"
    for replica in world.replicas:
        world.cluster.wait_for(lambda: replica.ready()[1].startswith(no_configuration), "it says what is missing")
    world.apply_all(world.manifests())
    world.all_ready()
    data = world.settled()
    equal(set(data), {"tls.crt", "tls.key", "ca.crt"}, "the Secret's keys")
    world.verify(data["tls.crt"], data["ca.crt"])
    world.cluster.wait_for(world.admits, "a pod is admitted")
    codes = sorted(written(world, since))
    equal((codes[:1], set(codes[1:]) - {409}), ([200], set()), "one writes the Secret, the others are told so")
    for replica in world.replicas:
        not_after = replica.metric("coco_webhook_certificate_not_after_timestamp_seconds")
        check(abs(not_after - time.time() - 90 * 86400) < 600, f"replica {replica.number}: its metric says {not_after}")
        equal(replica.metric("coco_webhook_certificate_trusted"), 1, "the metric of trust")


@test("a replica that comes later takes up what there is, and nobody writes anything while nothing happens")
def _(world):
    data = world.install_anew(replicas=REPLICAS - 1)
    since = len(world.cluster.audit())
    world.start_all()
    world.all_ready()
    equal(world.settled(), data, "the Secret's values")
    equal(world.writes(since), [], "writes of the one that came later")
    # A replica is ready once it has read everything; an upgrade that is refused then would count.
    world.cluster.wait_for(lambda: all(r.follows_all() for r in world.replicas), "all streams are open")
    since, start = len(world.cluster.audit()), time.monotonic()
    # That nothing comes can only be seen by waiting.
    wait_for(lambda: time.monotonic() > start + IDLE_S, "the time is over", IDLE_S + 5)
    equal([e["requestURI"] for e in world.requests(since)], [], "requests while nothing happens")


# ---- Renewal


@test("renewal under load: every pod is admitted, and each certificate is trusted before it is used")
def _(world):
    world.install_anew(SHORT)
    seen, bundles = [], set()

    def look():
        certificate = world.data()["tls.crt"]
        if certificate not in seen:
            seen.append(certificate)
        bundles.update(world.bundles(VALIDATING))
        return len(seen) > ROTATIONS and stream.created >= CREATIONS

    since = len(world.cluster.audit())
    with Stream(world) as stream:
        world.cluster.wait_for(look, "there were enough renewals and pods", RENEWALS_S)
    print(f"{stream.created} pods, {stream.shaken} handshakes, {len(seen) - 1} renewals")
    equal(stream.failed, [], "what failed")
    check(stream.created >= CREATIONS, f"only {stream.created} pods were created")
    check(world.balancer.refused == 0, "the balancer had nobody to ask")
    check(max(bundle.count("BEGIN") for bundle in bundles) == 2, "never more than two CAs are trusted")
    # Of each renewal: one to make the next, one to use it.
    good = [code for code in written(world, since) if code == 200]
    check(len(good) <= 2 * len(seen), f"{len(good)} writes of the Secret for {len(seen) - 1} renewals")
    equal(set(written(world, since)) - {200, 409}, set(), "other answers")


# ---- Deaths


def is_made(data):
    return "tls.crt" in data


def is_next_made(data):
    return "next.tls.crt" in data


# What is there when the victim is to die, and at which request.
STEPS = {
    "a certificate is made": (None, SECRET_PATCH),
    "its CA gets into caBundle": (None, BUNDLE_PATCH),
    "the next one is made": (is_made, SECRET_PATCH),
    "the next one's CA gets into caBundle": (is_made, BUNDLE_PATCH),
    "the next one is put to use": (is_next_made, SECRET_PATCH),
}


def dies(name, before, pattern, answered):
    @test(f"a replica is killed when {name}, {'after' if answered else 'before'} the API server has heard of it")
    def _(world):
        victim = world.replicas[0]
        world.wipe()
        world.apply_all(world.manifests())
        if before is None:
            victim.proxy.add_rule(pattern, Lost(answered, victim.kill), times=1)
            victim.launch(SHORTEST)
        else:
            victim.start(SHORTEST)
            world.all_ready()
            world.cluster.wait_for(lambda: before(world.data()), "it is where it is to die", 2 * SHORTEST_S)
            victim.proxy.add_rule(pattern, Lost(answered, victim.kill), times=1)
        world.cluster.wait_for(lambda: not victim.alive(), "it dies", 2 * SHORTEST_S)
        world.start_all(SHORTEST)
        world.all_ready()
        world.cluster.wait_for(world.is_settled, "Secret, configurations and replicas agree", 2 * SHORTEST_S)
        world.cluster.wait_for(world.admits, "a pod is admitted")


for step, (before, pattern) in STEPS.items():
    for answered in (False, True):
        dies(step, before, pattern, answered)


# ---- Damage


def repaired(world, old, damage):
    """While pods are created, none of which fails: the Secret gets another certificate."""
    with Stream(world) as stream:
        damage()
        world.cluster.wait_for(lambda: world.data().get("tls.crt") not in (None, old["tls.crt"]), "another is in use", 60)
        data = world.settled()
        reached = stream.created + 100
        world.cluster.wait_for(lambda: stream.created >= reached, "further pods are created")
    print(f"{stream.created} pods, {stream.shaken} handshakes")
    equal(stream.failed, [], "what failed")
    world.verify(data["tls.crt"], data["ca.crt"])
    return data


@test("the Secret's data are deleted, or are no pair: others are made, and no pod fails meanwhile")
def _(world):
    old = world.install_anew()
    data = repaired(world, old, lambda: world.patch_secret({"data": None}))
    wrong = base64.b64encode(old["tls.key"].encode()).decode()
    repaired(world, data, lambda: world.patch_secret({"data": {"tls.key": wrong}}))
    said = [line["reason"] for replica in world.replicas for line in replica.log() if "reason" in line]
    check(any("can't be used (KeyMismatch)" in reason for reason in said), "nobody says what was wrong")


@test("a Secret that was damaged while nobody served is made anew")
def _(world):
    old = world.install_anew()
    for replica in world.replicas:
        replica.stop()
    world.patch_secret({"data": {"tls.crt": "Z2FyYmFnZQ=="}})
    world.start_all()
    world.all_ready()
    check(world.settled()["tls.crt"] != old["tls.crt"], "the certificate is the old one")
    world.cluster.wait_for(world.admits, "a pod is admitted")


@test("the Secret is deleted: replicas serve on, and its return brings another certificate")
def _(world):
    old = world.install_anew()

    def delete():
        world.cluster.kubectl("delete", "secret", SECRET, "-n", SYSTEM_NAMESPACE)
        reached = stream.created + 50
        world.cluster.wait_for(lambda: stream.created >= reached, "pods are created without it")
        world.apply_all([world.secret])

    with Stream(world) as stream:
        delete()
        world.cluster.wait_for(lambda: world.data().get("tls.crt") not in (None, old["tls.crt"]), "another is in use", 60)
        world.settled()
    equal(stream.failed, [], "what failed")


# ---- caBundle


def set_bundles(world, kind, bundle, which=slice(None)):
    webhooks = world.configuration(kind)["webhooks"]
    operations = [
        {"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": bundle} for i in range(len(webhooks))[which]
    ]
    world.cluster.kubectl("patch", kind, "coco-webhook", "--type=json", "-p", json.dumps(operations))


@test("a caBundle that was emptied by hand comes back, of all webhooks or one, and replicas stay ready")
def _(world):
    data = world.install_anew()
    wanted = {data["ca.crt"]}
    for kind in (MUTATING, VALIDATING):
        for which in (slice(None), slice(1, 2)):
            set_bundles(world, kind, "", which)
            world.cluster.wait_for(lambda: world.bundles(kind) == wanted, f"the caBundle of the {kind} is back", 10)
    equal([r.is_ready() for r in world.replicas], [True] * REPLICAS, "who is ready")
    for kind in (MUTATING, VALIDATING):
        world.cluster.kubectl("delete", kind, "coco-webhook")
    world.apply_all(world.manifests())
    world.settled()
    world.cluster.wait_for(world.admits, "a pod is admitted")


@test("a configuration that is another program's is left alone, which is said")
def _(world):
    world.install_anew()
    annotation = "cert-manager.io/inject-ca-from"
    world.cluster.kubectl("annotate", MUTATING, "coco-webhook", f"{annotation}=a/b")
    since = len(world.cluster.audit())
    set_bundles(world, MUTATING, "")
    set_bundles(world, VALIDATING, "")
    world.cluster.wait_for(lambda: world.bundles(VALIDATING) != {""}, "the other one is written")

    def said():
        lines = [line for replica in world.replicas for line in replica.log() if "reason" in line]
        return any(f"{MUTATING} coco-webhook has the annotation {annotation}" in line["reason"] for line in lines)

    world.cluster.wait_for(said, "it is said why")
    equal(written(world, since, "mutatingwebhookconfigurations"), [], "writes of the annotated one")
    world.cluster.kubectl("annotate", MUTATING, "coco-webhook", f"{annotation}-")
    world.settled()


def call_service(world, kind, name):
    operation = {"op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": name}
    world.cluster.kubectl("patch", kind, "coco-webhook", "--type=json", "-p", json.dumps([operation]))


@test("a configuration that calls another Service: the webhook isn't ready and says why, until it calls ours")
def _(world):
    for kind in (MUTATING, VALIDATING):
        world.wipe()
        world.apply_all(world.manifests())
        call_service(world, kind, "other")
        world.start_all(replicas=1)
        replica = world.replicas[0]

        def told():
            status, text = replica.ready()
            return status == 503 and f"a webhook of {kind} coco-webhook calls another Service than" in text

        world.cluster.wait_for(told, f"/readyz tells of the {kind}")
        named = f"calls Service {SYSTEM_NAMESPACE}/other, and the serving certificate is for {SYSTEM_NAMESPACE}/coco-webhook"
        world.cluster.wait_for(lambda: any(named in line.get("reason", "") for line in replica.log()), "the log names it")
        call_service(world, kind, "coco-webhook")
        world.all_ready()


# ---- GitOps


def owned(configuration):
    """What a field manager of ours owns: a set of paths."""

    def walk(fields, path):
        for key, inner in fields.items():
            yield from walk(inner, (*path, key)) if inner else [(*path, key)]

    entries = [e for e in configuration["metadata"]["managedFields"] if e["manager"] == MANAGER]
    equal([e["operation"] for e in entries], ["Apply"], "the operations of our field manager")
    return set(walk(entries[0]["fieldsV1"], ()))


@test("manifests that are applied again, by client or server, change nothing, and nobody writes after them")
def _(world):
    data = world.install_anew()
    text = "---\n".join(yaml.safe_dump(document) for document in world.manifests())
    cluster = world.cluster
    equal(cluster.kubectl("diff", "-f", "-", stdin=text)[:2], (0, ""), "kubectl diff")
    versions = {kind: world.configuration(kind)["metadata"]["resourceVersion"] for kind in (MUTATING, VALIDATING)}
    since = len(cluster.audit())
    out = cluster.kubectl("apply", "-f", "-", stdin=text)[1].splitlines()
    check(len(out) == 3 and all(line.endswith(" unchanged") for line in out), f"kubectl apply: {out}")
    for kind, version in versions.items():
        configuration = world.configuration(kind)
        equal(configuration["metadata"]["resourceVersion"], version, f"the version of the {kind}")
        leaves = owned(configuration)
        names = {json.dumps({"name": w["name"]}, separators=(",", ":")) for w in configuration["webhooks"]}
        wanted = {("f:webhooks", f"k:{name}", *leaf) for name in names for leaf in ((".",), ("f:name",), ("f:clientConfig", "f:caBundle"))}
        equal(leaves, wanted, f"what {MANAGER} owns of the {kind}")
    for _ in range(2):
        cluster.kubectl("apply", "--server-side", "--field-manager=gitops", "--force-conflicts", "-f", "-", stdin=text)
    equal(cluster.kubectl("diff", "--server-side", "--field-manager=gitops", "-f", "-", stdin=text)[:2], (0, ""), "kubectl diff --server-side")
    equal(world.settled(), data, "the Secret's values")
    equal([e["requestURI"] for e in world.writes(since)], [], "what the replicas wrote after it")


# ---- Without the API server


@test("a replica that is cut off serves on through a renewal, and takes it up when it is back")
def _(world):
    old = world.install_anew()
    alone = world.replicas[0]
    alone.proxy.add_rule("", Answer(503))
    alone.proxy.cut()
    with Stream(world) as stream:
        world.patch_secret({"data": None})
        world.cluster.wait_for(
            lambda: all(r.served() not in (old["tls.crt"],) for r in world.replicas[1:]), "the others have another", 60
        )
        equal(alone.served(), old["tls.crt"], "the certificate of the one that is cut off")
        check(alone.is_ready(), "the one that is cut off isn't ready")
        alone.proxy.clear()
        world.cluster.wait_for(world.is_settled, "it has taken up the new one", 60)
    equal(stream.failed, [], "what failed")


@test("writes that fail are tried again")
def _(world):
    world.wipe()
    for replica in world.replicas:
        replica.proxy.add_rule(SECRET_PATCH, Answer(500), times=2)
        replica.proxy.add_rule(BUNDLE_PATCH, Answer(500), times=2)
    world.apply_all(world.manifests())
    world.start_all()
    world.all_ready()
    world.settled()
    said = [line for replica in world.replicas for line in replica.logged("the serving certificate can't be kept up to date; what is served stays")]
    check(said, "nobody says that writes fail")


# ---- Rights


def rights_of(world):
    """What the base allows: (verb, resource, name)."""
    return {
        (verb, resource, name)
        for document in world.base
        if document["kind"] in ("ClusterRole", "Role") and document["metadata"]["name"] == "coco-webhook-certificates"
        for rule in document["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule["resourceNames"]
    }


@test("the base gives the replicas every right that they use, and none that they do not; no key is in a log")
def _(world):
    events = world.requests()
    equal([e["requestURI"] for e in events if e["responseStatus"]["code"] == 403], [], "what was forbidden")
    kinds = {"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    references = [(e["verb"], e["objectRef"]) for e in world.requests(stage=None) if "objectRef" in e]
    used = {(verb, r["resource"], r.get("name")) for verb, r in references if r["resource"] in kinds}
    equal(used, rights_of(world), "what was used, and what is allowed")
    for replica in world.replicas:
        check("PRIVATE KEY" not in replica.proc.log.read_text(), "a key is in a log")
        # Base64 of "-----BEGIN PRIVATE".
        check("LS0tLS1CRUdJTiBQUklWQVRF" not in replica.proc.log.read_text(), "a key is in a log")
        equal(replica.proxy.errors, [], "errors of a proxy")


main(CertificatesWorld(WEBHOOK))
