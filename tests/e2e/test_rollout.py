#!/usr/bin/python3
"""What operating it may not cost: 1,000 labelled pods are created while the webhook's certificate is renewed, the webhook is
rolled out anew, and the controller loses its leader. None may fail, and each is read back and is confidential.

What a webhook that dies without a word costs is measured: what fails until its endpoint is gone. The programs (argv[1]
coco-webhook, argv[2] coco-controller) run as the pods of manifests/overlays/dev with two replicas each and certificates that
live for half a minute.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time

from install_world import DEPLOYMENTS, DEV, SYSTEM_NAMESPACE, InstallWorld, case
from world import SAMPLES, check_confidential, pod, programs

from cluster import HOST
from tap import check, equal, main

BINARIES = dict(zip(DEPLOYMENTS, programs(*DEPLOYMENTS)))
NS = "team-a"
PODS = 1000  # in all, before the kill
CREATORS = 3
DRY_RUN_EACH = 5  # each fifth pod
LIFE = "30s"  # of a certificate; its follower comes after two thirds of it
PHASE_S = 120
WEBHOOK_HOST = f"coco-webhook.{SYSTEM_NAMESPACE}.svc"
WEBHOOK_FAILED = "failed calling webhook"


class Client:
    """An API client that keeps its connection, as they do."""

    def __init__(self, cluster):
        context = ssl.create_default_context(cafile=cluster.dir / "certs" / "apiserver.crt")
        self.connection = http.client.HTTPSConnection(HOST, cluster.port, timeout=30, context=context)
        self.headers = {"Authorization": f"Bearer {cluster.tokens['admin']}", "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


class Load:
    """Creates labelled pods, a few at a time, reads each back, and deletes it. A with statement around what is to go on
    meanwhile: at its end at least that many were created.

    failures: (begin and end in seconds since the start, message) of creations that failed. unprotected: what is wrong with
    pods that exist.
    """

    names = 0
    lock = threading.Lock()

    def __init__(self, world, at_least):
        self.world, self.at_least = world, at_least
        self.begin = time.monotonic()
        self.created = 0
        self.failures, self.unprotected = [], []
        self.slowest = 0
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CREATORS)]
        self.error = None

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.reach(self.at_least)
        finally:
            self.stopped.set()
            for thread in self.threads:
                thread.join()
        if self.error:
            raise self.error

    def reach(self, count):
        """Until so many were created."""
        self.world.cluster.wait_for(lambda: self.error or self.created >= count, f"{count} pods are created", PHASE_S)

    def _run(self):
        client = Client(self.world.cluster)
        try:
            while not self.stopped.is_set():
                with Load.lock:
                    Load.names += 1
                    number = Load.names
                self._create(client, f"load-{number}", number % DRY_RUN_EACH == 0)
        except Exception as error:  # told by __exit__()
            self.error = error
        finally:
            client.connection.close()

    def _create(self, client, name, dry_run):
        path = f"/api/v1/namespaces/{NS}/pods"
        begin = time.monotonic()
        status, answer = client.call("POST", path + ("?dryRun=All" if dry_run else ""), pod(name))
        end = time.monotonic()
        self.slowest = max(self.slowest, end - begin)
        if status == 201 and not dry_run:
            got, answer = client.call("GET", f"{path}/{name}")
            equal(got, 200, f"the status of reading {name} back")
            client.call("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 0})
        with Load.lock:
            if status != 201:
                self.failures.append((begin - self.begin, end - self.begin, answer["message"]))
                return
            self.created += 1
        try:
            check_confidential(answer, name)
        except Exception as error:
            self.unprotected.append(f"{name}: {error}")

    def check_flawless(self):
        seconds = time.monotonic() - self.begin
        print(f"{self.created} pods in {seconds:.1f} s, the slowest in {self.slowest * 1000:.0f} ms")
        equal(self.failures, [], "what failed")
        equal(self.unprotected, [], "what was not confidential")


class Handshakes:
    """Asks each ready webhook for its certificate, again and again, with the trust that the configurations have by then: an API
    server keeps its connections, and so would hardly notice.

    failures: what wasn't trusted. seen: the certificates.
    """

    def __init__(self, world):
        self.world = world
        self.failures, self.seen, self.count = [], [], 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.error = None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        if self.error:
            raise self.error

    def _run(self):
        try:
            while not self.stopped.wait(0.1):
                for kind in ("mutating", "validating"):
                    self._look(kind)
        except Exception as error:  # told by __exit__()
            self.error = error

    def _look(self, kind):
        bundle = self._bundle(kind)
        for running in self.world.node.running(SYSTEM_NAMESPACE, "coco-webhook"):
            if running.ready() and not running.terminating():
                why = self._shake(bundle, running)
                # Another one may have come to be trusted, and used, since the bundle was read.
                if why and self._bundle(kind) == bundle:
                    self.failures.append(f"{running.name}: {why}")

    def _bundle(self, kind):
        path = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/coco-webhook"
        bundles = {w["clientConfig"].get("caBundle", "") for w in self.world.node.call("GET", path)[1]["webhooks"]}
        equal(len(bundles), 1, f"how many bundles the {kind} configuration has")
        return bundles.pop()

    def _shake(self, bundle, running):
        """Why it isn't trusted; None where it is."""
        context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        with contextlib.suppress(ConnectionError, TimeoutError):  # of pods that go
            with socket.create_connection((running.address, 9443), 5) as plain:
                try:
                    with context.wrap_socket(plain, server_hostname=WEBHOOK_HOST) as secure:
                        certificate = secure.getpeercert(binary_form=True)
                except ssl.SSLCertVerificationError as error:
                    return error
            self.count += 1
            if certificate not in self.seen:
                self.seen.append(certificate)
        return None


class RolloutWorld(InstallWorld):
    """Installed, with two replicas each and short-lived certificates."""

    def set_up(self):
        self.created = 0
        self.cluster.kubectl("apply", "-f", str(SAMPLES / "namespace.yaml"))
        self.overlay = self.folder / "overlay"
        self.overlay.mkdir()
        life = {"name": "COCO_CERTIFICATE_LIFE", "value": LIFE}
        patch = [{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": life}]
        made = {
            "resources": [os.path.relpath(DEV, self.overlay.resolve())],
            "replicas": [{"name": name, "count": 2} for name in DEPLOYMENTS],
            "patches": [{"target": {"kind": "Deployment", "name": "coco-webhook"}, "patch": json.dumps(patch)}],
        }
        (self.overlay / "kustomization.yaml").write_text(json.dumps(made))
        begin = self.install()
        print(f"available {time.monotonic() - begin:.1f} s after the command")

    def certificate(self):
        """The one in use, as the Secret has it."""
        return self.cluster.get_json("secret", "coco-webhook-tls", "-n", SYSTEM_NAMESPACE)["data"].get("tls.crt")

    def leader(self):
        """The name of the controller's pod that leads."""
        lease = self.cluster.get_json("lease", "coco-controller", "-n", SYSTEM_NAMESPACE)
        return (lease["spec"].get("holderIdentity") or "").split("_")[0]

    def pods(self, app):
        return {running.name: running for running in self.node.running(SYSTEM_NAMESPACE, app)}


@case("the certificate is made anew and renewed: no creation fails, none is unprotected")
def _(world):
    before = world.certificate()
    with Load(world, PODS // 2) as load, Handshakes(world) as handshakes:
        load.reach(20)
        # What is in use is lost; what takes its place is renewed by itself.
        patch = json.dumps({"data": None})
        world.cluster.kubectl("patch", "secret", "coco-webhook-tls", "-n", SYSTEM_NAMESPACE, "--type=merge", "-p", patch)
        known = {before, None}
        for what in ("made", "renewed"):
            begin = time.monotonic()
            world.cluster.wait_for(lambda: world.certificate() not in known, f"a certificate is {what}", PHASE_S)
            known.add(world.certificate())
            print(f"a certificate was {what} after {time.monotonic() - begin:.1f} s")
    world.created += load.created
    print(f"{handshakes.count} handshakes, {len(handshakes.seen)} certificates")
    load.check_flawless()
    equal(handshakes.failures, [], "what was not trusted")
    check(len(handshakes.seen) >= 3, f"{len(handshakes.seen)} certificates were served; tell the old one from two new ones")


@case("the webhook is rolled out: no creation fails, none is unprotected")
def _(world):
    old = set(world.pods("coco-webhook"))
    with Load(world, PODS // 4) as load:
        load.reach(20)
        world.cluster.kubectl("rollout", "restart", "deployment/coco-webhook", "-n", SYSTEM_NAMESPACE)
        world.wait_available()
        print(f"rolled out after {time.monotonic() - load.begin:.1f} s")
        world.cluster.wait_for(lambda: not old & set(world.pods("coco-webhook")), "the old pods are gone", PHASE_S)
        print(f"the old pods were gone after {time.monotonic() - load.begin:.1f} s")
    world.created += load.created
    load.check_flawless()
    ended = {name: status for _, name, _, status in world.node.exits if name in old}
    equal(ended, dict.fromkeys(old, 0), "the exit statuses of the old pods")


@case("the controller's leader is lost: no creation fails, none is unprotected")
def _(world):
    leader = world.cluster.wait_for(world.leader, "a controller leads")
    with Load(world, max(0, PODS - world.created)) as load:
        load.reach(20)
        os.kill(world.pods("coco-controller")[leader].containers[0].proc.pid, signal.SIGKILL)
        world.cluster.kubectl("delete", "pod", leader, "-n", SYSTEM_NAMESPACE, "--wait=false")
        world.cluster.wait_for(lambda: world.leader() not in ("", leader), "another controller leads", PHASE_S)
        print(f"another leads after {time.monotonic() - load.begin:.1f} s")
    world.created += load.created
    load.check_flawless()
    check(world.created >= PODS, f"{world.created} pods were created in all")
    world.wait_available()


@case("a webhook dies without a word: creations fail for a moment, and none is unprotected")
def _(world):
    victim = next(iter(world.pods("coco-webhook").values()))
    container = victim.containers[0]
    restarts = container.restarts
    with Load(world, 100) as load:
        load.reach(20)
        killed = time.monotonic() - load.begin
        os.kill(container.proc.pid, signal.SIGKILL)
        world.cluster.wait_for(lambda: container.restarts > restarts and victim.ready(), "it is back", PHASE_S)
        back = time.monotonic() - load.begin
        load.reach(load.created + 100)
    last = max((begin for begin, _, _ in load.failures), default=killed)
    print(f"killed after {killed:.1f} s, back after {back:.1f} s; {load.created} pods were created, {len(load.failures)} failed")
    print(f"connections refused: {world.node.proxy.failures}")
    print(f"the last one that failed began {last - killed:.1f} s after the kill: {load.failures[-1:]}")
    equal(load.unprotected, [], "what was not confidential")
    other = [message for _, _, message in load.failures if WEBHOOK_FAILED not in message]
    equal(other, [], "what failed for other reasons")
    # What was under way at the kill may have begun long before.
    check(all(killed <= end and begin <= back + 5 for begin, end, _ in load.failures), f"when it failed: {load.failures}")


@case("nothing of ours was forbidden")
def _(world):
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")


main(RolloutWorld(BINARIES, others=None))
