"""What the Trustee suites about faults share: whole states to compare, and a controller that dies while it writes."""

import difflib
import itertools
import json
import os
import signal
import threading

from trustee_world import APPLIED, CONTENT, DEPLOYMENT, TrusteeWorld, condition, content, uid

from cluster import ClusterError
from fault_proxy import Lost
from tap import check, equal

DONE_S = 60
WRITES = ("PATCH", "POST", "PUT", "DELETE")


def is_write(request):
    """A write of the controller's work: not its Lease, and no event."""
    return request.method in WRITES and "/leases" not in request.path and "/events" not in request.path


class FaultWorld(TrusteeWorld):
    """Controllers that are started again are the same candidates for the Lease, as the containers of a pod are."""

    def set_up(self):
        super().set_up()
        for number, controller in enumerate(self.controllers):
            controller.stop()
            controller.env = controller.env | {"COCO_POD_UID": f"pod-{number}"}
            controller.start()
        self.leader()

    @property
    def controller(self):
        return self.controllers[0]

    def writes(self, since=0.0):
        """What the controllers wrote, by way of the proxy."""
        return self.proxy.requests(is_write, since)


# ---- Whole states


def conditions(object):
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in object.get("status", {}).get("conditions", [])}


def said(object):
    """All that a status says, but for when."""
    status = {key: value for key, value in object.get("status", {}).items() if key != "observedGeneration"}
    status.pop("kbsConfigRef", None)
    return status | {"conditions": conditions(object), "objects": sorted(status.get("objects", []))}


def plain(kind, object):
    """An object's content without what API servers and controllers of theirs choose for it."""
    kept = content(object)
    if kind == "Service":
        for field in ("clusterIP", "clusterIPs"):
            kept["spec"].pop(field, None)
        for port in kept["spec"]["ports"]:
            port.pop("nodePort", None)
    if kind == "Deployment":
        kept["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        pod = kept["spec"]["template"]["spec"]
        pod["volumes"].sort(key=lambda volume: volume["name"])  # server-side apply leaves what is there in its order
        for container in pod["containers"]:
            container["volumeMounts"].sort(key=lambda mount: mount["mountPath"])
            container.get("env", []).sort(key=lambda variable: variable["name"])
    return kept


def state(world, ns, name="t"):
    """(kind, name) -> what it is now: all objects that the controller has made, and both statuses."""
    children = world.children(ns)
    found = {key: plain(key[0], object) for key, object in children.items()}
    found["status", "TrusteeConfig"] = said(world.get("TrusteeConfig", ns, name))
    found["status", "KbsConfig"] = said(world.get("KbsConfig", ns, f"{name}-kbs-config"))
    return found


def without_digests(found, fresh=()):
    """The state without what follows from its owner's uid, and from the keys in the Secrets named `fresh`, which are made
    anew each time: of these the keys' names are left."""
    found = json.loads(json.dumps([[*key, value] for key, value in found.items()]))
    states = {}
    for kind, name, object in found:
        states[kind, name] = object
        if kind == "status":
            continue
        check(object["metadata"]["annotations"].pop(APPLIED, None), f"{kind} {name} has no annotation {APPLIED}")
        if kind == "Deployment":
            check(object["spec"]["template"]["metadata"]["annotations"].pop(CONTENT, None), f"{name} has no {CONTENT}")
        if kind == "Secret" and name in fresh:
            object["data"] = sorted(object["data"])
    return states


def renamed(found, ns):
    """The state with another name for the namespace, which must be no part of another word."""
    text = json.dumps([[*key, value] for key, value in found.items()])
    return {(kind, name): value for kind, name, value in json.loads(text.replace(ns, "NAMESPACE"))}


def same_state(got, want, what):
    """Fails with the first difference."""
    equal(sorted(got), sorted(want), f"{what}: the objects")
    for key in want:
        if got[key] != want[key]:
            texts = [json.dumps(one[key], sort_keys=True, indent=1).splitlines() for one in (want, got)]
            print("\n".join(difflib.unified_diff(*texts, lineterm="", n=2)))
        check(got[key] == want[key], f"{what}: {' '.join(key)} differs")


def newest(world, kind, ns, name):
    """The object as the history has it, which costs no request; {} before it is there."""
    return (world.histories[kind].of(ns, name) or [{}])[-1]


def live(world, kind, ns, name):
    """The object as it is; {} before it is there."""
    return world.get(kind, ns, name) or {}


def settled(world, ns, name="t", find=newest):
    """Whether it is ready in all its parts."""
    for kind, of in (("TrusteeConfig", name), ("KbsConfig", f"{name}-kbs-config")):
        object = find(world, kind, ns, of)
        for type, status in (("Ready", "True"), ("Progressing", "False"), ("Degraded", "False")):
            told = condition(object, type)
            if not told or (told["status"], told["observedGeneration"]) != (status, object["metadata"]["generation"]):
                return False
    return True


def check_ready_was_whole(world, ns, name="t"):
    """Whenever the TrusteeConfig of today said that it is ready, the Deployment was as it is now."""
    live = world.get("TrusteeConfig", ns, name)
    instance = live["spec"].get("instanceName")
    deployment = world.there("Deployment", ns, f"{instance}-{DEPLOYMENT}" if instance else DEPLOYMENT)
    generation, wanted = live["metadata"]["generation"], deployment["spec"]["template"]
    deployments = world.histories["Deployment"].of(ns, deployment["metadata"]["name"], deployment)
    for version in world.histories["TrusteeConfig"].of(ns, name, live):
        ready = condition(version, "Ready")
        told = (uid(version), ready.get("observedGeneration"), ready.get("status"))
        if told != (uid(live), generation, "True"):
            continue
        before = [d for d in deployments if revision(d) < revision(version)]
        check(before and before[-1]["spec"]["template"] == wanted, f"{ns}/{name} said that it is ready, and was not")


def revision(object):
    """When it was written, as etcd counts."""
    return int(object["metadata"]["resourceVersion"])


# ---- Death


class Deaths:
    """The controller, which has to be the only one, is killed at its n-th write, which nobody hears of; started again, it is
    killed at its first one, when the API server has done it; and started again.

        with Deaths(world, 3) as deaths:
            world.apply(...)
            deaths.wait_for(lambda: settled(world, ns), "it is settled")
        deaths.count     how many there were: less than two where so many writes weren't needed
    """

    def __init__(self, world, n):
        self.world, self.count = world, 0
        self.plan = [(n, False), (1, True)]
        self.struck = threading.Event()

    def __enter__(self):
        self._prepare()
        return self

    def __exit__(self, *_):
        self.world.proxy.remove_rule(self.rule)
        if self.struck.is_set():
            self._revive()

    def _prepare(self):
        n, answered = self.plan[self.count] if self.count < len(self.plan) else (0, False)
        numbers = itertools.count(1)
        # What the dead one has sent may still be on its way.
        last = self.world.proxy.accepted if self.count else 0
        self.struck.clear()
        self.rule = self.world.proxy.add_rule(
            lambda request: is_write(request) and request.connection > last and next(numbers) == n,
            Lost(answered, self._strike),
            1,
        )

    def _strike(self):
        self.struck.set()  # first: who sees it end has to know why
        os.kill(self.world.controller.proc.pid, signal.SIGKILL)

    def _revive(self):
        self.count += 1
        self.world.proxy.remove_rule(self.rule)
        self.world.controller.proc.process.wait()
        # A connection of its may not even be known yet, and would be taken for one of the next life.
        self.world.cluster.wait_for(self.world.proxy.is_idle, "the proxy has heard that the controller died")
        self._prepare()
        self.start()

    def start(self):
        """Starts the controller."""
        try:
            self.world.controller.start()
        except ClusterError:
            # It may write, and so be struck, before it was seen to listen.
            if not self.struck.is_set():
                raise

    def wait_for(self, is_done, what):
        """Waits until it is done and the controller is at rest, whoever dies meanwhile."""

        def struck_or_done():
            return self.struck.is_set() or (is_done() and self.world.controller.is_resting() and is_done())

        try:
            while self.world.cluster.wait_for(struck_or_done, what, DONE_S) and self.struck.is_set():
                self._revive()
        except Exception:
            for trustee in self.world.list("TrusteeConfig"):
                self.world.show("TrusteeConfig", trustee["metadata"]["namespace"], trustee["metadata"]["name"])
            raise
