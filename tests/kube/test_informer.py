#!/usr/bin/python3
"""Informers before a real API server on the network's bad days: no event is lost, none is told twice.

    test_informer.py INFORMER_PROBE [--seed N] [--reconnects N] [-k SUBSTRING]

After each storm the informer's store is what a fresh list is, and the handler's calls, replayed, are the store (see
tests/lib/informer_probe.py). The proxy between them is tests/lib/fault_proxy.py; writers go to the API server directly.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "e2e")]

from cluster import Cluster, ClusterError
from config_maps import ConfigMaps
from fault_proxy import Answer, Cut, FaultProxy, Half, Hold, Hole, StripUpgrade, Weather
from informer_probe import Probe
from live import until
from tap import check, equal, main, test

parser = argparse.ArgumentParser()
parser.add_argument("probe")
parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
parser.add_argument("--reconnects", type=int, default=0, help="how many; 0: 500, or 200 with ThreadSanitizer")
options, sys.argv[1:] = parser.parse_known_args()

SANITIZER = next(
    (name for name in ("asan", "tsan") if f"__{name}_init".encode() in pathlib.Path(options.probe).read_bytes()), "")
# ThreadSanitizer looks for races, of which each storm has its fill sooner.
RECONNECTS, STORM, STREAM_STORM = (200, 400, 200) if SANITIZER == "tsan" else (500, 1000, 400)
RECONNECTS = options.reconnects or RECONNECTS
WATCH, LIST = "[?&]watch=", r"^GET [^?]*\?(?!.*watch=)"
FIRST_MS, MAX_MS, PAGE = 40, 400, 50
# A machine that is busy with other suites shall not look like a silent server where that isn't the question.
TIMING = {"backoff_first_ms": FIRST_MS, "backoff_max_ms": MAX_MS, "page": PAGE, "silent_ms": 8000, "ping_ms": 2000,
          "handshake_ms": 8000}
SILENT_MS = 1500
IMPATIENT = {"silent_ms": SILENT_MS, "ping_ms": 500, "handshake_ms": SILENT_MS, "plain_silent_ms": SILENT_MS}
SERIAL = itertools.count(1)
MARGIN_S = 0.02  # clocks of two processes, one of which rounds to milliseconds


def versions(objects):
    return {key: item["metadata"]["resourceVersion"] for key, item in objects.items()}


def hash_of(item, metadata):
    """As the probe has it, of an object as it is to be stored."""
    kept = {key: value for key, value in item.items() if not metadata or key in ("apiVersion", "kind", "metadata")}
    kept["metadata"] = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Scene:
    """A namespace, the proxy, and an informer of the namespace's ConfigMaps named "maps"; a context manager."""

    def __init__(self, cluster, fill=0, start=True, token_file=None, sanitizer_options="", **timing):
        self.cluster, self.fill, self.start, self.token_file = cluster, fill, start, token_file
        self.sanitizer_options = sanitizer_options
        self.timing = TIMING | timing
        self.maps = ConfigMaps(cluster, f"scene-{next(SERIAL)}")
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coco-informer-")))
            self.proxy = stack.enter_context(FaultProxy(self.cluster.port, self.cluster.dir / "certs" / "apiserver.crt"))
            self.maps.fill(self.fill)
            self.probe = stack.enter_context(
                Probe(options.probe, self.write_kubeconfig(), self.folder / "probe.log", self.sanitizer_options, **self.timing))
            if self.start:
                self.add()
                self.converge("the start")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.__exit__(*exception)
        if exception[0] is None:
            check(not self.proxy.errors, f"the proxy's own errors: {self.proxy.errors!r}")
        return False

    def write_kubeconfig(self):
        content = json.loads(self.cluster.kubeconfig().read_text())
        content["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{self.proxy.port}", "certificate-authority": str(self.proxy.ca)}
        if self.token_file is not None:
            content["users"][0]["user"] = {"tokenFile": str(self.token_file)}
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps(content))
        return path

    def add(self, name="maps", **selection):
        self.probe.add(name, "-", "v1", "configmaps", "ConfigMap", self.maps.namespace, **selection)

    # Judgements

    def agrees(self, name, labels):
        dump = self.probe.dump(name)
        if not dump["synced"] or dump["objects"] != self.probe.replayed(name):
            return False
        return dump["objects"] == versions(self.maps.list(labels))

    def converge(self, what, name="maps", labels="", metadata=False):
        """The store, the replayed calls and a fresh list become the same; no call was wrong."""
        try:
            self.cluster.wait_for(lambda: self.agrees(name, labels), f"agreement after {what}")
        except ClusterError as error:
            self.explain(error, name, labels)
        want = {key: hash_of(item, metadata) for key, item in self.maps.list(labels).items()}
        equal(self.probe.dump(name)["hashes"], want, "the hashes of the objects")
        self.probe.check_calls()

    def explain(self, error, name, labels):
        store, want, calls = self.probe.dump(name), versions(self.maps.list(labels)), self.probe.replayed(name)
        wrong = [key for key in sorted(want.keys() | store["objects"].keys() | calls.keys())
                 if len({objects.get(key) for objects in (want, store["objects"], calls)}) > 1]
        lines = [f"{key}: listed {want.get(key)}, stored {store['objects'].get(key)}, told {calls.get(key)}" for key in wrong]
        requests = [f"{r.at:.3f} {r.method} {r.path} {r.status}" for r in self.proxy.requests()]
        print("\n".join([*lines[:10], *map(str, self.probe.troubles[-10:]), *requests[-20:]]))
        check(False, f"{error}; synced: {store['synced']}; {len(wrong)} objects differ; {self.probe.stats(name)}")

    def strike(self, what, function, *arguments):
        """Has it hit the stream as soon as just one is open: one that was seen may be gone a moment later, and one that was
        given up may still be there."""
        hit = until(lambda: len(self.proxy.streams(WATCH)) == 1 and function(WATCH, *arguments), f"a stream is {what}")
        equal(hit, 1, f"the number of streams that are {what}")

    def cut(self, rst=True):
        self.strike("cut", self.proxy.cut, rst)

    def drop(self):
        self.strike("dropped", self.proxy.drop)

    def expire(self):
        self.strike("expired", self.proxy.expire)

    def disturb(self):
        """A change of each kind; returns, when they are written, the names of the two objects that are left."""
        names = [f"{word}-{next(SERIAL)}" for word in ("stays", "changes", "goes")]
        self.maps.create(*names)
        self.maps.change(names[1])
        self.maps.delete(names[2])
        return names[:2]

    def reach(self, pattern, count, since, what):
        """The requests that match since then, when there are so many."""
        until(lambda: self.proxy.count(pattern, since) >= count, what)
        return self.proxy.requests(pattern, since)

    def reopened(self, since):
        """The request of the stream that was opened since."""
        return until(lambda: [r for r in self.proxy.streams(WATCH) if r.at >= since], "a new watch is open")[0]


def change_of(scene, function, *names):
    """How much the stats rise while the function runs."""
    before = scene.probe.stats("maps")
    function()
    after = scene.probe.stats("maps")
    return tuple(after[name] - before[name] for name in names)


# ---- Good days


@test("a quiet day: one list, one watch, each event told once, no trouble")
def _(cluster):
    with Scene(cluster, fill=20) as scene:
        for _ in range(5):
            scene.disturb()
        scene.converge("some changes")
        equal(scene.proxy.count(LIST), 1, "the number of lists")
        watches = scene.proxy.requests(WATCH)
        equal([r.status for r in watches], [101], "the watches' statuses")
        check("allowWatchBookmarks=" in watches[0].path, f"it asks for no bookmarks: {watches[0].path}")
        equal(scene.probe.calls["maps"], 20 + 5 * 5, "the number of the handler's calls")
        equal(scene.probe.troubles, [], "the troubles")


@test("pages of a list, and selectors")
def _(cluster):
    with Scene(cluster, fill=130) as scene:
        equal(scene.proxy.count(LIST), 3, "the number of pages")
        scene.add("odd", labels="odd=yes")
        scene.add("one", fields="metadata.name=a-0007")
        scene.disturb()
        scene.maps.change(*(f"a-{i:04}" for i in range(40)))  # which moves some in and out of the selection
        scene.converge("changed labels", "odd", "odd%3Dyes")
        key = f"{scene.maps.namespace}/a-0007"
        until(lambda: scene.probe.dump("one")["objects"] == {key: versions(scene.maps.list())[key]}, "the one object")


@test("a watch that ends in order goes on where it ended, without a list")
def _(cluster):
    with Scene(cluster, fill=5, watch_min_s=2, watch_max_s=2) as scene:
        for _ in range(3):
            watches = scene.proxy.count(WATCH)
            scene.disturb()
            until(lambda: scene.proxy.count(WATCH) > watches, "the next watch", 10)
        scene.converge("three ends")
        equal(scene.proxy.count(LIST), 1, "the number of lists")
        equal(scene.probe.stats("maps")["events"], 3 * 5, "the number of events: none comes twice")
        check(all("timeoutSeconds=2" in r.path for r in scene.proxy.requests(WATCH)), "a watch asks for another time")
        equal(scene.probe.troubles, [], "the troubles")


@test("informers come and go: a removed one leaves no stream and no call")
def _(cluster):
    with Scene(cluster, fill=10) as scene:
        for round in range(10):
            scene.add(f"other-{round}")
            if round % 2:
                until(lambda: scene.probe.dump(f"other-{round}")["synced"], "it is synced")
            scene.probe.tell("remove", f"other-{round}")
        until(lambda: len(scene.proxy.streams(WATCH)) == 1, "one stream is left")
        scene.probe.dump("maps")  # all that was told before it is done
        told = {name: scene.probe.calls[name] for name in scene.probe.calls if name != "maps"}
        scene.disturb()
        scene.converge("removals")
        equal({name: scene.probe.calls[name] for name in told}, told, "the removed ones' calls")


# ---- Lists


@test("lists are cut, halved or refused between their pages")
def _(cluster):
    faults = (Half(), Half(rst=True), Cut(0), Cut(10_000), Cut(300, rst=False), Answer(500), Answer(503), Answer(429, 1))
    for fault in faults:
        with Scene(cluster, fill=120, start=False) as scene:
            rule = scene.proxy.add_rule("continue=", fault, times=1)
            scene.add()
            scene.converge(f"{fault} on a page")
            equal(rule.used, 1, f"how often {fault} struck")
            equal(scene.probe.calls["maps"], 120, f"the number of the handler's calls after {fault}")


@test("a list expires between its pages, as a proxy says it or as etcd does")
def _(cluster):
    with Scene(cluster, fill=120, start=False) as scene:
        rule = scene.proxy.add_rule("continue=", Answer(410), times=1)
        scene.add()
        scene.converge("410 on a page")
        equal((rule.used, scene.probe.calls["maps"]), (1, 120), "the 410s, and the handler's calls")
    with Scene(cluster, fill=120, start=False) as scene:
        hold = Hold()
        scene.proxy.add_rule(LIST, hold, times=1)
        scene.add()
        until(lambda: hold.waiting, "the first page is held")
        scene.maps.delete("a-0000", "a-0119")
        scene.disturb()
        cluster.compact_etcd()
        scene.proxy.release(hold)
        scene.converge("a compaction within a list")
        check([r for r in scene.proxy.requests("continue=") if r.status == 410 and not r.injected], "no token expired")


@test("an object that changes within a list is told as it is in the end")
def _(cluster):
    with Scene(cluster, fill=120, start=False) as scene:
        hold = Hold()
        scene.proxy.add_rule(r"continue=", hold)
        scene.add()
        until(lambda: hold.waiting, "the second page is held")
        scene.maps.change("a-0001", "a-0110")
        scene.maps.delete("a-0002", "a-0111")
        scene.proxy.release(hold)
        scene.converge("changes within a list")


# ---- Watches


def expire_handshake(scene):
    """The next watch is refused with 410, until it is listed again."""
    rule = scene.proxy.add_rule(WATCH, Answer(410))
    lists = scene.proxy.count(LIST)
    scene.proxy.cut(WATCH)
    until(lambda: scene.proxy.count(LIST) > lists, "the list after the 410")
    scene.proxy.remove_rule(rule)


@test("410 in the handshake: it lists again, and tells the difference")
def _(cluster):
    with Scene(cluster, fill=60) as scene:
        for round in range(3):
            scene.drop()  # so that it misses what follows
            scene.maps.change("a-0001", "a-0050")
            scene.maps.delete(f"a-000{round + 2}")
            scene.disturb()
            calls = scene.probe.calls["maps"]
            (expired,) = change_of(scene, lambda: (expire_handshake(scene), scene.converge("410")), "expired")
            check(expired >= 1, "the stats count no expired version")
            equal(scene.probe.calls["maps"] - calls, 5, "calls: two changed, one went, two came; one came and went unseen")


@test("410 in the stream: the same, over WebSocket and plain")
def _(cluster):
    for plain in (False, True):
        with Scene(cluster, fill=60, start=False) as scene:
            if plain:
                scene.proxy.add_rule(WATCH, StripUpgrade())
            scene.add()
            scene.converge("the start")
            for _ in range(3):
                start = time.monotonic()
                scene.expire()
                scene.disturb()
                scene.reach(LIST, 1, start, "the list after the ERROR event")
                scene.converge("an ERROR event")
                # Else the next round could hit the one that has expired already.
                until(lambda: [r.at >= start for r in scene.proxy.streams(WATCH)] == [True], "the new stream alone is open")
                equal(scene.reopened(start).status, 200 if plain else 101, "the stream's status")
            check(scene.probe.stats("maps")["expired"] >= 3, "the stats don't count what expired")


@test("a silent stream is given up in time, and goes on without a list")
def _(cluster):
    for fault in (None, StripUpgrade()):
        with Scene(cluster, fill=5, start=False, **IMPATIENT) as scene:
            if fault:
                scene.proxy.add_rule(WATCH, fault)
            scene.add()
            scene.converge("the start")
            for round in range(2):
                scene.drop()
                start = time.monotonic()
                scene.disturb()
                scene.maps.delete(f"a-000{round}")
                took = scene.reopened(start).at - start
                check(took < SILENT_MS / 1000 + 5, f"the silence lasted {took:.1f} s")
                scene.converge("silence")
            equal(scene.proxy.count(LIST), 1, "the number of lists")


@test("a quiet stream that answers pings is left alone")
def _(cluster):
    with Scene(cluster, fill=5, silent_ms=4000, ping_ms=500) as scene:
        opened = scene.reopened(0)
        until(lambda: time.monotonic() - opened.at > 7, "more than the silence that is borne")
        equal(scene.proxy.count(WATCH), 1, "the number of watches")


@test("the upgrade is refused: a plain watch does it too")
def _(cluster):
    refusals = (StripUpgrade(), Answer(400), Answer(403), Answer(501))
    for fault in refusals:
        with Scene(cluster, fill=5, start=False) as scene:
            rule = scene.proxy.add_rule(lambda request: request.upgrade, fault)
            scene.add()
            scene.converge("the start")
            scene.disturb()
            scene.converge(f"{fault}")
            equal([r.status for r in scene.proxy.streams(WATCH)], [200], "the open stream's status")
            for _ in range(3):
                start = time.monotonic()
                scene.cut()
                scene.disturb()
                scene.reopened(start)
                scene.converge("a cut plain watch")
            check(rule.used <= 2, f"{rule.used} upgrades were tried where none is to be had")
            equal(scene.proxy.count(LIST), 1, "the number of lists")


@test("a slow trickle, both ways")
def _(cluster):
    for weather in (Weather(piece=1), Weather(piece=40, gap_ms=1), Weather(delay_ms=150)):
        with Scene(cluster, start=False, fill=20) as scene:
            scene.proxy.to_client = scene.proxy.to_server = weather
            scene.add()
            scene.converge("a trickled list")
            for _ in range(5):
                scene.disturb()
            scene.converge(f"{weather}")
            equal(scene.proxy.count(WATCH), 1, "the number of watches")


# ---- Too many requests, and servers in trouble


@test("429: nothing is asked for until Retry-After is over")
def _(cluster):
    with Scene(cluster, fill=5, start=False) as scene:
        scene.proxy.add_rule(LIST, Answer(429, retry_after=2), times=1)
        scene.add()
        scene.converge("429 for a list")
        first, second, *_ = scene.proxy.requests(LIST)
        check(second.at - first.at >= 2 - MARGIN_S, f"it asked again after {second.at - first.at:.3f} s")
        check(second.at - first.at < 6, f"it waited for {second.at - first.at:.3f} s")
        start = time.monotonic()
        scene.reopened(0)
        rule = scene.proxy.add_rule(WATCH, Answer(429, retry_after=2), times=2)  # the handshake, and the plain one after it
        scene.cut()
        scene.disturb()
        watch = scene.reopened(start)
        scene.converge("429 for a watch")
        refused = [r for r in scene.proxy.requests(WATCH, start) if r.injected]
        equal(len(refused), rule.used, "the refused requests")
        check(watch.at - refused[-1].at >= 2 - MARGIN_S, f"it asked again after {watch.at - refused[-1].at:.3f} s")
        equal(scene.proxy.count(LIST), 2, "the number of lists: a version is as good after a 429")


def check_gaps(requests, what):
    """The waits grow as the back-off has it: half of each is sure."""
    gaps = [b.at - a.at for a, b in itertools.pairwise(requests)]
    for i, gap in enumerate(gaps):
        least = min(FIRST_MS * 2**i, MAX_MS) / 2000 - MARGIN_S
        check(gap >= least, f"{what}: wait {i + 1} was {gap:.3f} s, less than {least:.3f} s; all: {gaps}")


@test("500s are backed off from, for lists and for watches")
def _(cluster):
    with Scene(cluster, fill=5, start=False) as scene:
        rule = scene.proxy.add_rule(LIST, Answer(500), times=7)
        scene.add()
        scene.converge("500s for lists")
        equal(rule.used, 7, "the number of 500s")
        check_gaps(scene.proxy.requests(LIST)[:8], "lists")
        start = time.monotonic()
        scene.reopened(0)
        scene.proxy.add_rule("", Answer(503))
        scene.cut()
        scene.disturb()
        requests = scene.reach("", 12, start, "a dozen refused requests")
        scene.proxy.clear()
        took = requests[-1].at - start
        # Each step is two requests at most (WebSocket, plain); MAX_MS / 2 lies between steps once they are backed off from.
        check(took >= (12 / 2 - 5) * MAX_MS / 2000, f"a dozen requests within {took:.2f} s")
        scene.converge("503s for all")


@test("the API server stops and starts again")
def _(cluster):
    with Scene(cluster, fill=60) as scene:
        start = time.monotonic()
        cluster.stop_apiserver()
        until(lambda: scene.proxy.accepted >= 4, "it tries again")
        cluster.start_apiserver()
        scene.disturb()
        scene.maps.change("a-0003")
        scene.reopened(start)
        scene.converge("a restart of the API server")


@test("etcd stops and starts again")
def _(cluster):
    with Scene(cluster, fill=60) as scene:
        cluster.stop_etcd()
        scene.cut()
        cluster.start_etcd()
        cluster.wait_for(lambda: cluster.raw("GET", scene.maps.path)[0] == 200, "the API server reads from etcd again")
        scene.disturb()
        scene.maps.change("a-0003")
        scene.converge("a restart of etcd")


@test("a version that has really expired: etcd compacted, the API server started anew")
def _(cluster):
    with Scene(cluster, fill=60) as scene:
        scene.disturb()
        scene.converge("some changes")
        start = time.monotonic()
        scene.proxy.drop()
        hold = scene.proxy.add_rule("", Hole())
        scene.maps.change("a-0001")
        scene.maps.delete("a-0002")
        scene.disturb()
        cluster.compact_etcd()
        cluster.stop_apiserver()
        cluster.start_apiserver()
        scene.disturb()
        scene.proxy.remove_rule(hold)
        scene.proxy.cut()
        scene.converge("an expired version")
        check(scene.proxy.count(LIST, start) >= 1, "it did not list again")
        check(scene.probe.stats("maps")["expired"] >= 1, "the stats count no expired version")


# ---- Credentials


@test("the token changes: the old one is refused by a proxy, and events go on")
def _(cluster):
    with tempfile.TemporaryDirectory(prefix="coco-token-") as folder:
        token_file = pathlib.Path(folder, "token")
        token_file.write_text(cluster.tokens["admin"])
        with Scene(cluster, fill=20, token_file=token_file) as scene:
            old, start = cluster.tokens["admin"], time.monotonic()
            new = cluster.tokens["tekton"]
            cluster.kubectl("create", "clusterrolebinding", "rotated", "--clusterrole=cluster-admin",
                            "--user=system:serviceaccount:tekton-pipelines:tekton-pipelines-controller")
            cluster.wait_for(lambda: cluster.raw("GET", scene.maps.path, user="tekton")[0] == 200, "the binding is in force")
            scene.reopened(0)
            scene.proxy.add_rule(lambda request: request.bearer == old, Answer(401))
            write_token(token_file, new)
            scene.cut()
            scene.disturb()
            equal(scene.reopened(start).bearer, new, "the new stream's token")
            scene.converge("another token")
            refused = [r for r in scene.proxy.requests(since=start) if r.status == 401]
            check(len(refused) <= 4, f"the old token was tried {len(refused)} times")


def write_token(path, token):
    path.with_suffix(".new").write_text(token)
    path.with_suffix(".new").rename(path)


@test("the token changes: the API server starts with another one, which is written late")
def _(cluster):
    with tempfile.TemporaryDirectory(prefix="coco-token-") as folder:
        token_file = pathlib.Path(folder, "token")
        token_file.write_text(cluster.tokens["admin"])
        with Scene(cluster, fill=20, token_file=token_file) as scene:
            start = time.monotonic()
            new = cluster.rotate_token("admin")
            cluster.stop_apiserver()
            cluster.start_apiserver()
            until(lambda: [r for r in scene.proxy.requests(since=start) if r.status == 401], "the old token is refused")
            scene.disturb()
            write_token(token_file, new)
            equal(scene.reopened(start).bearer, new, "the new stream's token")
            scene.converge("a restart with another token")
            troubles = json.dumps(scene.probe.troubles)
            check("401" in troubles, f"no trouble names the status: {troubles}")
            check(new not in troubles and new not in scene.probe.log.read_text(), "a token was told")


# ---- Metadata only


@test("an informer of metadata never gets an object's data")
def _(cluster):
    with Scene(cluster, start=False) as scene:
        secrets = ConfigMaps(cluster, scene.maps.namespace, "secrets")
        secrets.fill(60)
        scene.maps = secrets
        scene.probe.add("maps", "-", "v1", "secrets", "Secret", secrets.namespace, metadata=True)
        scene.converge("the start", metadata=True)
        secrets.change("a-0001")
        secrets.delete("a-0002")
        scene.disturb()
        scene.converge("changes", metadata=True)
        start = time.monotonic()
        scene.expire()
        scene.reach(LIST, 1, start, "a list")
        scene.converge("a list", metadata=True)
        requests = scene.proxy.requests("secrets")
        check(all("PartialObjectMetadata" in r.headers.get("accept", "") for r in requests), "a request wants more")


# ---- Troubles


@test("troubles name the request, the status and what happens next, once a minute for the same cause")
def _(cluster):
    with Scene(cluster, fill=5) as scene:
        start = time.monotonic()
        for status in (500, 403):
            scene.reopened(0)
            rule = scene.proxy.add_rule("", Answer(status))
            scene.cut()
            count = scene.proxy.count("", start)
            scene.reach("", count + 8, start, "eight refused requests")
            scene.proxy.remove_rule(rule)
            scene.converge(f"{status}s")
        check_troubles(scene, (500, 403))
        check(time.monotonic() - start < 55, "this test took so long that it proves nothing")


def check_troubles(scene, statuses):
    lines = [line for line in scene.probe.troubles if line["http"] != 200]
    for status in statuses:
        check(status in [line["http"] for line in lines], f"no trouble has status {status}: {lines}")
    causes = [(line["trouble"], line["http"]) for line in lines]
    equal(len(causes), len(set(causes)), f"the number of causes told of ({causes})")
    for line in lines:
        check(line["trouble"].split()[1] == scene.maps.path and line["message"], f"it names no request: {line}")
        check(line["next_ms"] > 0, f"it does not say what happens next: {line}")
    check([line for line in scene.probe.troubles if line["http"] == 200], "no line says that it works again")


# ---- The storm


class Storm:
    """Faults of many kinds, one after the other, in an order drawn from the seed.

    Methods named stream_ are of those after which a stream goes on where it was, list_ of those that cost a list.
    """

    def __init__(self, scene, seed, *families):
        self.scene, self.proxy, self.draw = scene, scene.proxy, random.Random(seed)
        self.struck = 0
        self.kinds = [getattr(self, name) for name in sorted(dir(self)) if name.startswith(families)]

    def run(self, enough):
        """Goes on until enough() is true and each kind has struck."""
        deck = []
        while not enough() or self.struck < len(self.kinds):
            deck = deck or self.draw.sample(self.kinds, len(self.kinds))
            deck.pop()()
            self.struck += 1
        self.proxy.clear()

    def strike(self, pattern, fault, times, trigger):
        """Has the fault hit what the trigger brings about; for a while only, as there may be no open stream just now."""
        rule = self.proxy.add_rule(pattern, fault, times)
        trigger(WATCH)
        end = time.monotonic() + 3
        until(lambda: rule.left == 0 or time.monotonic() > end, "a struck request")
        self.proxy.remove_rule(rule)

    def blow(self, weather):
        """The weather, in one direction, until some events have come through it."""
        setattr(self.proxy, self.draw.choice(("to_client", "to_server")), weather)
        calls, end = self.scene.probe.calls["maps"], time.monotonic() + 2
        until(lambda: self.scene.probe.calls["maps"] > calls + 20 or time.monotonic() > end, "the weather's end")
        self.proxy.to_client = self.proxy.to_server = Weather()

    def stream_cut(self):
        self.proxy.cut(WATCH, self.draw.random() < 0.5)

    def stream_cut_within(self):
        self.strike(WATCH, Cut(self.draw.randrange(6000), self.draw.random() < 0.5), 3, self.proxy.cut)

    def stream_refuse(self):
        self.strike(WATCH, Answer(self.draw.choice((401, 429, 500, 503))), 2, self.proxy.cut)

    def stream_too_many(self):
        self.strike(WATCH, Answer(429, retry_after=1), 2, self.proxy.cut)

    def stream_refuse_upgrade(self):
        fault = self.draw.choice((StripUpgrade(), Answer(400)))
        self.strike(lambda request: request.upgrade, fault, 1, self.proxy.cut)

    def stream_drop(self):
        start = time.monotonic()
        if self.proxy.drop(WATCH):
            self.scene.reopened(start)

    def stream_hole(self):
        self.strike(WATCH, Hole(self.draw.choice((0, 10, 150, 2000))), 1, self.proxy.cut)

    def stream_delay(self):
        self.blow(Weather(delay_ms=self.draw.randrange(10, 200)))

    def stream_split(self):
        self.blow(Weather(piece=self.draw.randrange(1, 9)))

    def list_expire(self):
        self.proxy.expire(WATCH)

    def list_refuse_watch(self):
        self.strike(WATCH, Answer(410), 2, self.proxy.cut)

    def list_refuse(self):
        self.strike(LIST, Answer(self.draw.choice((401, 410, 500, 503))), 2, self.proxy.expire)

    def list_cut(self):
        fault = self.draw.choice((Half(), Half(rst=True), Cut(self.draw.randrange(20_000))))
        self.strike(LIST, fault, 1, self.proxy.expire)

    def list_hold(self):
        hold = Hold()
        rule = self.proxy.add_rule(LIST, hold, times=2)
        self.proxy.expire(WATCH)
        end = time.monotonic() + 2
        until(lambda: hold.waiting or time.monotonic() > end, "a held list")
        self.proxy.release(hold)
        self.proxy.remove_rule(rule)


def weather_storm(scene, objects, *families):
    """Writers create, change and delete objects while the faults strike; three informers have to come through."""
    scene.add("odd", labels="odd=yes")
    scene.add("meta", metadata=True)
    failures = []

    def write():
        try:
            scene.maps.churn(objects, options.seed)
        except Exception as error:
            failures.append(error)

    for name in ("odd", "meta"):
        until(lambda: scene.probe.dump(name)["synced"], f"{name} is synced")
    writers = threading.Thread(target=write)
    writers.start()
    storm = Storm(scene, options.seed, *families)
    try:
        storm.run(lambda: not writers.is_alive())
    finally:
        writers.join()
    equal(failures, [], "the writers' failures")
    for name, labels in (("maps", ""), ("odd", "odd%3Dyes"), ("meta", "")):
        scene.converge("the storm", name, labels, name == "meta")
    print(f"{storm.struck} faults, {scene.proxy.count(WATCH)} watches, {scene.proxy.count(LIST)} pages of lists, "
          f"{scene.probe.calls['maps']} calls, {scene.probe.stats('maps')}")


@test(f"a storm of all faults while {STORM} objects come, change and go (--seed {options.seed})")
def _(cluster):
    with Scene(cluster, fill=100, plain_ms=1000, **IMPATIENT) as scene:
        weather_storm(scene, STORM, "stream_", "list_")


@test(f"a storm over streams alone: no list mends what was lost (--seed {options.seed})")
def _(cluster):
    with Scene(cluster, fill=100, plain_ms=1000, **IMPATIENT) as scene:
        weather_storm(scene, STREAM_STORM, "stream_")
        for name in ("maps", "odd", "meta"):
            equal(scene.probe.stats(name)["lists"], 1, f"the number of lists of {name}")


# ---- For long

# What sanitizers keep for themselves comes on top.
GROWTH_KIB = 4096 if SANITIZER else 1024
LITTLE_KEPT = {"asan": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_stack_use_after_return=0"}


def reconnect(scene, times):
    """So many new watches, by cuts of both kinds."""
    for i in range(times):
        start = time.monotonic()
        check(scene.proxy.cut(WATCH, rst=i % 2 == 0) >= 1, "no stream to cut")
        scene.reopened(start)
        if i % 50 == 0:
            scene.maps.delete(*scene.disturb())
            print(f"{i} reconnects: {scene.probe.rss_kib()} KiB")


@test(f"memory stays flat over {RECONNECTS} reconnects")
def _(cluster):
    with Scene(cluster, fill=50, sanitizer_options=LITTLE_KEPT.get(SANITIZER, ""), backoff_first_ms=1, backoff_max_ms=2) as scene:
        reconnect(scene, 100)
        before = scene.probe.rss_kib()
        reconnect(scene, RECONNECTS)
        scene.converge("the reconnects")
        after = scene.probe.rss_kib()
        print(f"{before} KiB before, {after} KiB after")
        check(after - before <= GROWTH_KIB, f"{after - before} KiB more than before, {GROWTH_KIB} allowed")


main(Cluster())
