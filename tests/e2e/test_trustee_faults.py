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

import contextlib
import json
import re
import signal
import time

from fault_world import (
    Deaths,
    FaultWorld,
    check_ready_was_whole,
    live,
    newest,
    renamed,
    revision,
    same_state,
    settled,
    state,
    without_digests,
)
from trustee_world import (
    DEPLOYMENT,
    SERVICE,
    condition,
    kbs_config,
    path_of,
    restricted,
    secret,
    tls_secret,
    trustee,
    uid,
)
from upstream_world import ALLOW_ALL, AUTH, FINALIZER, edit_as_admin, make_upstreams
from world import programs

from certificates import decode, make_pair, not_after
from fault_proxy import Answer, Half, Hole, Lost
from tap import check, equal, main, test

(CONTROLLER,) = programs("coco-controller")
HOST = "kbs.example"
EXPOSURE = {"exposure": {"type": "None"}}
OUTAGE_S = 20
REPAIRED_S = 3  # after an outage, on a machine that has nothing else to do; a test allows for others: see BUSY
BUSY = 10
HANDOVER_S = 2  # after a stop in order
LEASE_S = 15
DEADLY = (4, 13, 22, 31, 36)  # a takeover takes 40 writes


def settle(world, *namespaces, timeout=60):
    """Waits until all of them are ready in all their parts, and that is the last word: it may have been said of what was
    before, and what is being done about a change may replace pods."""

    def at_rest(ns):
        if not settled(world, ns, find=live):
            return False
        world.rested()
        return settled(world, ns, find=live)

    for ns in namespaces:
        try:
            world.cluster.wait_for(lambda: settled(world, ns), f"{ns}/t is settled", timeout)
            world.cluster.wait_for(lambda: at_rest(ns), f"{ns}/t is settled and at rest", timeout)
        except Exception:
            world.show("TrusteeConfig", ns, "t")
            raise


def revive(world, allowed=(1,)):
    """Starts what has ended, as the Deployment of the controllers does. Who has lost the Lease ends with status 1."""
    ended = [controller for controller in world.controllers if not controller.proc.alive()]
    statuses = [controller.proc.process.returncode for controller in ended]
    for controller, status in zip(ended, statuses):
        print(f"{controller.identity} ended with status {status}")
        controller.start()
    for status in statuses:
        check(status in allowed, f"a controller ended with status {status}")


@contextlib.contextmanager
def revived(world, allowed):
    """All are there again at the end of the with statement."""
    try:
        yield
    finally:
        revive(world, allowed)


# ---- Taken over from the upstream operator

def managers(world, ns):
    """(kind, name) -> the field managers, but for those whose fields are no part of what is rendered."""
    others = {("kube-controller-manager", "Update"), ("coco-controller", "Update")}
    return {
        key: sorted({(m["manager"], m["operation"]) for m in object["metadata"]["managedFields"]} - others)
        for key, object in world.children(ns).items()
    }


SIGNED = EXPOSURE | {"attestationTokenVerificationSpec": {"tlsSecretName": "token-tls"}}


class Upstreams:
    """A Trustee that is made new, and others like it that were upstream's."""

    def __init__(self, world):
        self.world = world
        self.pair, self.signer = make_pair(HOST), make_pair("signer")
        self.namespace("taken-new")
        world.apply(restricted("taken-new", **SIGNED))
        settle(world, "taken-new")
        edit_as_admin(world, "taken-new")
        settle(world, "taken-new")
        self.keys = {key: decode(value) for key, value in world.get("Secret", "taken-new", AUTH)["data"].items()}
        self.managers = managers(world, "taken-new")
        self.state = self.state_of("taken-new")

    def namespace(self, ns):
        others = [tls_secret(ns, "kbs-tls", self.pair), tls_secret(ns, "token-tls", self.signer)]
        self.world.namespace(ns, True, *others, secret(ns, "own", {"a": "b"}))

    def make(self, ns):
        """While no controller runs."""
        self.namespace(ns)
        self.world.apply(restricted(ns, **SIGNED))
        make_upstreams(self.world, ns, self.keys, self.pair, self.signer)
        edit_as_admin(self.world, ns)

    def state_of(self, ns):
        return renamed(without_digests(state(self.world, ns)), ns)

    def check(self, ns):
        same_state(self.state_of(ns), self.state, ns)
        equal(managers(self.world, ns), self.managers, f"the field managers in {ns}")
        finalizers = self.world.get("KbsConfig", ns, "t-kbs-config")["metadata"].get("finalizers")
        equal(finalizers, None, f"the finalizers in {ns}")
        equal(self.world.rollouts(ns), 1, f"the rollouts in {ns}")
        check_ready_was_whole(self.world, ns)


@test("taken over from the upstream operator: all as rendered, nothing of it left, the admin's own changes stay")
def _(world):
    upstreams = Upstreams(world)
    with revived(world, allowed={0, -signal.SIGKILL}):
        for controller in world.controllers:
            controller.stop()
        upstreams.make("taken-over")
        world.controllers[0].start()
        world.leader()
        settle(world, "taken-over")
        upstreams.check("taken-over")
        # And by one that dies at some of its writes, and at the one after.
        for n in DEADLY:
            world.controllers[0].stop()
            ns = f"taken-over-{n}"
            upstreams.make(ns)
            with Deaths(world, n) as deaths:
                deaths.start()
                deaths.wait_for(lambda: settled(world, ns), f"{ns} is settled")
            equal(deaths.count, 2, f"how often the controller died, at write {n} first")
            upstreams.check(ns)


# ---- An API server that fails

KINDS = {
    "configmaps": r"/configmaps/t-kbs-config\b",
    "secrets": r"/secrets/t-https-key-secret\b",
    "kbsconfigs": r"/kbsconfigs/t-kbs-config\?",
    "deployments": r"/deployments/",
    "services": r"/services/",
    "status of the TrusteeConfig": r"/trusteeconfigs/t/status",
    "status of the KbsConfig": r"/kbsconfigs/t-kbs-config/status",
}
FAULTS = {
    "internal": lambda: Answer(500),
    "busy": lambda: Answer(429, retry_after=1),
    "unavailable": lambda: Answer(503, retry_after=1),
    "conflict": lambda: Answer(409),
    "truncated": lambda: Half(),
    "lost": lambda: Lost(),
    "unheard": lambda: Lost(answered=True),
}


def rule_for(world, ns, pattern, fault, times, methods="PATCH|POST|PUT"):
    return world.proxy.add_rule(rf"^({methods}) .*/namespaces/{ns}(?=/).*{pattern}", fault, times)


@test("each kind of write fails in each way, twice: all of it is made, and said to be only then")
def _(world):
    pair = make_pair(HOST)
    rules = {}
    for ns, fault in FAULTS.items():
        world.namespace(ns, True, tls_secret(ns, "kbs-tls", pair))
        for kind, pattern in KINDS.items():
            rules[ns, kind] = rule_for(world, ns, pattern, fault(), 2)
    world.namespace("untroubled", True, tls_secret("untroubled", "kbs-tls", pair))
    spaces = ["untroubled", *FAULTS]
    for ns in spaces:
        world.apply(restricted(ns, **EXPOSURE))
    settle(world, *spaces)
    for (ns, kind), rule in rules.items():
        equal(rule.used, 2, f"how often {kind} were met by {ns}")
    fresh = [AUTH, "t-attestation-key-secret", "t-attestation-cert-secret"]
    states = {ns: renamed(without_digests(state(world, ns), fresh), ns) for ns in spaces}
    for ns in FAULTS:
        same_state(states[ns], states["untroubled"], f"made in spite of {ns}")
        check_ready_was_whole(world, ns)
        world.rolled(ns, 0)
    # What goes, goes too.
    deletes = [rule_for(world, ns, "/secrets/", fault(), 2, "DELETE") for ns, fault in FAULTS.items()]
    for ns in FAULTS:
        world.apply(trustee(ns, allowDowngrade=True, **EXPOSURE))
    for ns in FAULTS:
        for name in ("t-https-key-secret", "t-https-cert-secret", "t-attestation-key-secret"):
            world.gone("Secret", ns, name)
    settle(world, *FAULTS)
    for rule in deletes:
        equal(rule.used, 2, "how often deletions were met")


@test("an answer that doesn't come is given up, and others don't wait for it")
def _(world):
    ns, other = world.namespace("hanging"), world.namespace("others")
    rule = rule_for(world, ns, "/deployments/", Hole(), 1)
    world.apply(trustee(ns))
    world.cluster.wait_for(lambda: rule.used, "the request hangs")
    world.apply(trustee(other))
    world.cluster.wait_for(lambda: settled(world, other), "the other is settled")
    equal(condition(newest(world, "TrusteeConfig", ns, "t"), "Ready").get("status", "False"), "False", "Ready")
    world.proxy.cut(rf"/namespaces/{ns}/deployments/")  # as its timeout would, half a minute later
    settle(world, ns)


@test("one kind is forbidden: the status has the command, no pods are replaced by halves, and it goes on by itself")
def _(world):
    ns = world.namespace("forbidden", True, tls_secret("forbidden", "kbs-tls", make_pair(HOST)))
    world.apply(trustee(ns, profileType="Permissive", **EXPOSURE))
    settle(world, ns)
    before = world.there("Deployment", ns, DEPLOYMENT)["spec"]["template"]
    rule = rule_for(world, ns, "/configmaps/t-resource-policy", Answer(403, message="no"), None)
    world.apply(restricted(ns, **EXPOSURE))
    world.says(ns, "t", "Ready", "False", "Forbidden")
    told = world.says(ns, "t", "ResourcesSynced", "False", "Forbidden")
    for part in ('ConfigMap "t-resource-policy"', "kubectl -n forbidden create rolebinding"):
        check(part in told["message"], f"there is no {part} in: {told['message']}")
    world.cluster.wait_for(lambda: rule.used >= 2, "it is tried again")
    now = world.there("Deployment", ns, DEPLOYMENT)["spec"]["template"]
    check(now == before, "the pods were replaced by some that have half of what is new")
    world.proxy.remove_rule(rule)
    settle(world, ns)
    world.rolled(ns, 1)
    check_ready_was_whole(world, ns)


@test("what the API server refuses of a Secret is told without the Secret")
def _(world):
    ns = world.namespace("refused", True, tls_secret("refused", "kbs-tls", make_pair(HOST)))
    quoted = "the whole of a private key"
    rule_for(world, ns, "/secrets/t-auth-secret", Answer(422, message=quoted), 1)
    world.apply(restricted(ns, **EXPOSURE))
    told = world.has_said(ns, "t", "ResourcesSynced", "False", "Refused")  # until it is tried again, a second later
    check('Secret "t-auth-secret"' in told["message"] and "422" in told["message"], told["message"])
    settle(world, ns)
    for controller in world.controllers:
        check(quoted not in controller.proc.log.read_text(), "the log has it")
    for event in world.list("Event", ns):
        check(quoted not in event.get("note", ""), "an event has it")
    versions = world.histories["TrusteeConfig"].of(ns, "t")
    check(not any(quoted in str(version) for version in versions), "the status has it")


@test("a status that is refused, or meets an API server that doesn't know the kind yet, is written later")
def _(world):
    for code in (403, 404):
        ns = f"status-{code}"
        pair = tls_secret(ns, "kbs-tls", make_pair(HOST))
        world.namespace(ns, True, pair)
        world.apply(restricted(ns, **EXPOSURE))
        settle(world, ns)
        rule = rule_for(world, ns, "/trusteeconfigs/t/status", Answer(code), 2)
        world.delete("Secret", ns, "kbs-tls")
        world.says(ns, "t", "Degraded", "True")
        equal(rule.used, 2, f"how often {code} was met")
        world.apply(pair)
        settle(world, ns)


# ---- Leaders, and outages


def clear(world):
    """Takes away all Trustees of other cases: a controller that begins to lead looks at them all."""
    for made in world.list("TrusteeConfig"):
        world.delete("TrusteeConfig", made["metadata"]["namespace"], made["metadata"]["name"])
    world.cluster.wait_for(lambda: not world.list("KbsConfig"), "all Trustees are gone", 60)
    world.rested()


def repaired_in(world, begin, is_repaired, limit):
    """Waits until it is, and checks how long the controllers' last write of that came after the beginning."""

    def alive_and_repaired():
        revive(world)
        return is_repaired()

    world.cluster.wait_for(alive_and_repaired, "all is repaired", 60)
    took = max(request.at for request in world.writes(begin)) - begin
    print(f"all is repaired after {took:.1f} s, of {limit:.1f} s")
    check(took <= limit, f"all is repaired after {took:.1f} s, and {limit:.1f} s are allowed")


@test("the leader is stopped: the other one works within 2 s; it is killed: within its Lease")
def _(world):
    clear(world)
    ns = world.namespace("leaders")
    world.apply(trustee(ns))
    settle(world, ns)
    for end, limit in (("stop", LEASE_S - HANDOVER_S), ("kill", 2 * LEASE_S)):
        leader = world.leader()
        with revived(world, allowed={0, -signal.SIGKILL}):
            old = uid(world.there("Service", ns, SERVICE))
            leader.proc.process.send_signal(signal.SIGTERM if end == "stop" else signal.SIGKILL)
            begin = time.monotonic()
            world.delete("Service", ns, SERVICE)

            def is_back():
                service = world.get("Service", ns, SERVICE)
                return service and uid(service) != old

            world.cluster.wait_for(is_back, "the Service is back", 60)
            took = time.monotonic() - begin
            leader.proc.process.wait()
        print(f"{end}: {took:.1f} s")
        check(took <= limit, f"after a {end}, the Service was back after {took:.1f} s; {limit} are allowed")
    settle(world, ns)


class Outage:
    """What others do where the controllers can't see it, and whether it was repaired."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.pair = make_pair(HOST, days=100)
        clear(world)
        names = [f"{name}-{part}" for part in ("edited", "renewed", "created", "ended")]
        self.edited, self.renewed, self.created, self.ended = names
        for ns in names:
            world.namespace(ns, True, tls_secret(ns, "kbs-tls", self.pair))
        world.apply(trustee(self.edited, **EXPOSURE), restricted(self.renewed, **EXPOSURE), trustee(self.ended))
        settle(world, self.edited, self.renewed, self.ended)
        self.before = state(world, self.edited)
        # Where other suites run at the same time, everything takes longer.
        self.limit = BUSY * REPAIRED_S

    def edit(self):
        """Before it, or as soon as the API server can be reached by others."""
        world = self.world
        world.patch("ConfigMap", self.edited, "t-resource-policy", {"data": {"resource-policy.rego": ALLOW_ALL}})
        world.delete("ConfigMap", self.edited, "t-kbs-config")
        world.delete("Service", self.edited, SERVICE)
        image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example/none"}]
        world.patch("Deployment", self.edited, DEPLOYMENT, image, "json")
        self.pair = make_pair(HOST, days=200)
        world.apply(tls_secret(self.renewed, "kbs-tls", self.pair))
        world.apply(restricted(self.created, **EXPOSURE))
        world.delete("TrusteeConfig", self.ended, "t")

    def is_repaired(self):
        world = self.world
        certificate = world.get("Secret", self.renewed, "t-https-cert-secret")["data"]["certificate"]
        expiry = newest(world, "TrusteeConfig", self.renewed, "t")["status"].get("certificateExpiry")
        return (
            decode(certificate) == self.pair[0]
            and expiry == not_after(self.pair[0])
            and world.get("Deployment", self.created, DEPLOYMENT)
            and {key: value for key, value in state(world, self.edited).items() if key[0] != "status"}
            == {key: value for key, value in self.before.items() if key[0] != "status"}
        )

    def check_end(self):
        settle(self.world, self.edited, self.renewed, self.created)
        same_state(state(self.world, self.edited), self.before, f"{self.edited} after it")
        check_ready_was_whole(self.world, self.created)


def last(world, begin, seconds=OUTAGE_S):
    """Waits until an outage has lasted so long."""
    while time.monotonic() < begin + seconds:
        revive(world)
        time.sleep(0.1)


@contextlib.contextmanager
def paused_apiserver(world):
    world.cluster.pause_apiserver()
    try:
        yield
    finally:
        world.cluster.resume_apiserver()


@contextlib.contextmanager
def unreachable(world):
    """The controllers don't reach the API server."""
    rule = world.proxy.add_rule("", Lost(), None)
    try:
        yield
    finally:
        world.proxy.remove_rule(rule)


@test("the API server hangs for 20 s: what had been done just before is repaired within 3 s of its return")
def _(world):
    outage = Outage(world, "paused")
    for controller in world.controllers:
        controller.proc.pause()
    outage.edit()
    with paused_apiserver(world):
        begin = time.monotonic()
        for controller in world.controllers:
            controller.proc.resume()
        last(world, begin)
    repaired_in(world, time.monotonic(), outage.is_repaired, outage.limit)
    outage.check_end()


@test("the API server is away for 20 s, and is there for others first: all is repaired within 3 s")
def _(world):
    outage = Outage(world, "stopped")
    with unreachable(world):
        world.cluster.stop_apiserver()
        begin = time.monotonic()
        last(world, begin, OUTAGE_S / 2)
        world.cluster.start_apiserver()
        outage.edit()
        last(world, begin)
    repaired_in(world, time.monotonic(), outage.is_repaired, outage.limit)
    outage.check_end()


@test("a leader that is refused its first look at what the API server has looks again")
def _(world):
    ns = world.namespace("first-look")
    rules = [world.proxy.add_rule(r"^GET /apis/route\.openshift\.io/v1$", Answer(code), 1) for code in (403, 403)]
    for controller in world.controllers:
        controller.stop()
    world.controllers[0].start()
    world.leader()
    world.apply(trustee(ns, **EXPOSURE))
    world.cluster.wait_for(lambda: settled(world, ns), "it is settled", 60)
    equal([rule.used for rule in rules], [1, 1], "how often it was refused")
    world.controllers[1].start()


# ---- What a list doesn't tell


@contextlib.contextmanager
def listed_anew(world, plural):
    """The controllers don't hear of objects of that kind for the time being, and then what they are by now, from a list:
    the API server has forgotten all that was before."""
    stream = rf"^GET [^?]*/{plural}\?.*watch=true"

    def all_watch():
        return len(world.proxy.streams(stream)) == len(world.controllers)

    world.cluster.wait_for(all_watch, f"all have a stream of {plural}")
    rule = world.proxy.add_rule(stream, Lost(), None)
    world.proxy.cut(stream)
    yield
    now = revision(world.request("GET", path_of("Namespace", None), None))

    def is_forgotten(request):
        return request.matches(stream) and int(re.search(r"resourceVersion=(\d+)", request.path)[1]) < now

    expired = world.proxy.add_rule(is_forgotten, Answer(410), None)
    world.proxy.remove_rule(rule)
    world.cluster.wait_for(all_watch, f"all have a stream of {plural} again")
    check(expired.used >= len(world.controllers), f"only {expired.used} were told to list")
    world.proxy.remove_rule(expired)


@test("an edit that only a list tells of, with a status of ours on top of it, is taken up")
def _(world):
    pair = tls_secret("edit-unheard", "kbs-tls", make_pair(HOST))
    ns = world.namespace("edit-unheard", True, pair)
    world.apply(restricted(ns, **EXPOSURE))
    settle(world, ns)

    def degraded():
        return condition(newest(world, "TrusteeConfig", ns, "t"), "Degraded")["status"] == "True"

    with listed_anew(world, "trusteeconfigs"):
        world.patch("TrusteeConfig", ns, "t", {"spec": {"allowDowngrade": True}})
        world.delete("Secret", ns, "kbs-tls")
        world.cluster.wait_for(degraded, "the status is another one")
    world.says(ns, "t", "Degraded", "True")
    world.apply(pair)
    settle(world, ns)


@test("what we made and others have deleted, which a list tells nothing of, comes back")
def _(world):
    ns = world.namespace("deletion-unheard")
    with listed_anew(world, "services"):
        world.apply(trustee(ns, **EXPOSURE))
        world.cluster.wait_for(lambda: settled(world, ns), "it is settled")
        world.delete("Service", ns, SERVICE)
    world.there("Service", ns, SERVICE)
    settle(world, ns)


@test("while a stream is dead, and nobody has noticed yet, keys that were made stay")
def _(world):
    ns = world.namespace("dead-stream")
    world.apply(trustee(ns, "u", instanceName="u"))
    world.ready(ns, "u")
    world.rested()
    stream = rf"/namespaces/{ns}/secrets\?.*watch=true"
    equal(world.proxy.drop(stream), 1, "the streams of Secrets")
    streams = world.proxy.count(stream)
    world.apply(trustee(ns, **EXPOSURE))

    def noticed():
        if world.get("Service", ns, SERVICE):  # something to look at, again and again
            world.patch("Service", ns, SERVICE, {"metadata": {"annotations": {"a": str(time.monotonic())}}})
        return world.proxy.count(stream) > streams

    world.cluster.wait_for(noticed, "another stream is asked for", 90)
    settle(world, ns)
    made = {json.dumps(version["data"]) for version in world.histories["Secret"].of(ns, "t-auth-secret")}
    equal(len(made), 1, "how many pairs of keys there were")
    world.rolled(ns, 0)


# ---- What people get wrong


@test("IBM SE without its volume: the pods' trouble is told, and all of it goes with ibmSE")
def _(world):
    ns = world.namespace("no-volume")
    world.kubelet.decide(ns, "unschedulable")
    world.apply(trustee(ns, ibmSE={"pvName": "none"}, **EXPOSURE))
    told = world.says(ns, "t", "Ready", "False", "Unschedulable")
    check(told["message"], "there is no message")
    check(world.get("PersistentVolumeClaim", ns, "t-ibmse-certstore-pvc"), "there is no claim")
    world.kubelet.decide(ns, "ready")
    world.apply(trustee(ns, **EXPOSURE))
    settle(world, ns)
    world.gone("PersistentVolumeClaim", ns, "t-ibmse-certstore-pvc")


@test("Permissive with HTTPS: server and probe speak it both")
def _(world):
    ns = world.namespace("permissive-https", True, tls_secret("permissive-https", "kbs-tls", make_pair(HOST)))
    world.apply(trustee(ns, profileType="Permissive", httpsSpec={"tlsSecretName": "kbs-tls"}, **EXPOSURE))
    settle(world, ns)
    toml = world.get("ConfigMap", ns, "t-kbs-config")["data"]["kbs-config.toml"]
    check("insecure_http = false" in toml and "/etc/https-key/" in toml, f"it speaks plain HTTP: {toml}")
    (container,) = world.there("Deployment", ns, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        equal(container[probe]["httpGet"]["scheme"], "HTTPS", f"the scheme of {probe}")


@test("a name that is too long, where nothing refuses it: the status says so, and that is all")
def _(world):
    ns = world.namespace("long-name")
    name = "t" * 64
    world.apply(trustee(ns, name, **EXPOSURE))
    told = world.says(ns, name, "Ready", "False")
    check("63" in told["message"], f"the limit isn't in: {told['message']}")
    world.rested()
    equal(world.children(ns), {}, "the objects")


@test("a KbsConfig that is deleted elsewhere, without rights there, takes nobody else's objects along")
def _(world):
    ns, elsewhere = world.namespace("bystander"), world.namespace("elsewhere", False)
    world.apply(trustee(ns, **EXPOSURE))
    settle(world, ns)
    before = state(world, ns)
    stranger = kbs_config(elsewhere, "t-kbs-config")
    stranger["metadata"]["finalizers"] = [FINALIZER]
    world.create(stranger)
    world.says(elsewhere, "t-kbs-config", "Ready", "False", "Forbidden", "KbsConfig")
    world.delete("KbsConfig", elsewhere, "t-kbs-config")
    world.rested()
    same_state(state(world, ns), before, "the bystander")
    world.bind(elsewhere)
    world.gone("KbsConfig", elsewhere, "t-kbs-config", 60)
    same_state(state(world, ns), before, "the bystander")


@test("the Deployment is gone before the KbsConfig: both go, and the namespace with them")
def _(world):
    ns = world.namespace("gone-first")
    world.apply(trustee(ns, **EXPOSURE))
    settle(world, ns)
    world.delete("TrusteeConfig", ns, "t", "Orphan")
    world.delete("Deployment", ns, DEPLOYMENT)
    world.delete("KbsConfig", ns, "t-kbs-config")
    world.gone("KbsConfig", ns, "t-kbs-config")
    world.forbidden_in.add(ns)  # its RoleBinding may go first
    world.delete("Namespace", None, ns)
    world.gone("Namespace", None, ns, 60)


# ---- Of all that went before


@test("nothing was forbidden that no case meant, and the proxy had no trouble")
def _(world):
    ns = world.namespace("at-rest")
    world.apply(trustee(ns, **EXPOSURE))
    settle(world, ns)
    begin = time.monotonic()
    with world.heard():  # something to look at, so that a pass is made
        world.patch("Service", ns, SERVICE, {"metadata": {"annotations": {"a": "b"}}})
    equal([f"{r.method} {r.path}" for r in world.writes(begin)], [], "the writes at rest")
    equal(world.refusals(), [], "what was forbidden")
    equal(world.proxy.errors, [], "errors of the proxy")


main(FaultWorld(CONTROLLER, 2))
