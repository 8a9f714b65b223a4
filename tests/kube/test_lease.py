#!/usr/bin/python3
"""Leases and events of programs (argv[1] is a lease_probe) on a real API server."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from cluster import Cluster
from live import until
from tap import check, equal, main, test

BINARY = "build/asan/tests/lease_probe"
if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
    BINARY = sys.argv.pop(1)

DEADLINE_S = 60
# Short, so that the tests are; the machine may be busy, so the leader may miss some of its renewals.
DURATION_S, RENEW_S, RETRY_S = 6.0, 4.5, 0.5
SLACK_S = 3.0  # for what a busy machine adds
TEN_YEARS_S = 10 * 365 * 86400


class Probe:
    """A lease_probe: its lines with the time at which they came."""

    def __init__(self, cluster, agent, lease=None, times=(DURATION_S, RENEW_S, RETRY_S), shift_s=0):
        self.identity = agent
        self.lines = []  # (time, object)
        arguments = [BINARY, str(cluster.kubeconfig()), agent]
        if lease:
            arguments += ["default", lease, agent] + [str(int(t * 1000)) for t in times]
        self.errors = open(os.memfd_create("errors"), "w+b")
        self.program = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=os.environ | {"PROBE_WALL_SHIFT_S": str(shift_s)})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.program.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))

    def said(self, key):
        """(time, line) of the lines with that key."""
        return [(at, line) for at, line in self.lines if key in line]

    def wait(self, key, deadline_s=DEADLINE_S, count=1):
        """The line with that key, the count-th, as (time, value)."""
        until(lambda: len(self.said(key)) >= count or self.program.poll() is not None,
              f"{self.identity} says {key}; it said {self.lines}", deadline_s)
        check(len(self.said(key)) >= count, f"{self.identity} ended: {self.lines} {self._errors()}")
        at, line = self.said(key)[count - 1]
        return at, line[key]

    def send(self, command):
        self.program.stdin.write(command + "\n")
        self.program.stdin.flush()

    def ask(self, command, key):
        """The answer's line."""
        before = len(self.said(key))
        self.send(command)
        self.wait(key, count=before + 1)
        return self.said(key)[before][1]

    def holds(self):
        return self.ask("look", "held")["held"]

    def metric(self, name):
        text = self.ask("metrics", "metrics")["metrics"]
        found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)
        check(found, f"no metric {name} in {text}")
        return int(found.group(1))

    def events_metric(self, result):
        return self.metric(f'kube_events_total{{result="{result}"}}')

    def stop(self):
        """In order. Returns when it had ended."""
        self.program.stdin.close()
        status = self.program.wait(DEADLINE_S)
        at = time.monotonic()
        self.reader.join(DEADLINE_S)
        equal((status, self._errors()), (0, ""), f"status and errors of {self.identity}")
        check(self.said("stopped"), f"{self.identity} does not say that it stopped")
        return at

    def kill(self):
        self.program.kill()
        self.program.wait()
        return time.monotonic()

    def _errors(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def close(self):
        if self.program.poll() is None:
            self.kill()
        self.reader.join(DEADLINE_S)
        with contextlib.suppress(OSError):
            self.program.stdin.close()
        self.program.stdout.close()
        self.errors.close()


@contextlib.contextmanager
def probes(cluster, lease, *names, **options):
    """One for each name, the first of them leading."""
    made = []
    try:
        for name in names:
            made.append(Probe(cluster, f"{lease}-{name}", lease, **options))
            if len(made) == 1:
                made[0].wait("started")
        yield made
    finally:
        for probe in made:
            probe.close()


@contextlib.contextmanager
def writer(cluster, agent):
    """One without a lease."""
    probe = Probe(cluster, agent)
    try:
        yield probe
    finally:
        probe.close()


def lease_of(cluster, name):
    return cluster.get_json("lease", name, "-n", "default")


def age_of(cluster, name, shift_s=0):
    """How long ago it was renewed, in seconds; by a leader that may have missed some renewals. shift_s: of its clock."""
    renewed = datetime.datetime.fromisoformat(lease_of(cluster, name)["spec"]["renewTime"])
    return time.time() + shift_s - renewed.timestamp()


def first_to_start(candidates):
    """(time, candidate) of the one that leads next; fails where two do."""
    until(lambda: any(c.said("started") for c in candidates), "another one leads", DEADLINE_S)
    led = [c for c in candidates if c.said("started")]
    equal(len(led), 1, "the number of new leaders")
    return led[0].wait("started")[0], led[0]


def requests_of(cluster, agent):
    return [entry for entry in cluster.audit() if entry.get("userAgent") == agent]


# Leases


@test("of three candidates one leads, and all know who")
def _(cluster):
    with probes(cluster, "three", "a", "b", "c") as (a, b, c):
        for other in (b, c):
            until(lambda: other.ask("look", "held")["holder"] == "three-a", "it knows the leader", DEADLINE_S)
            check(not other.holds() and not other.said("started"), f"{other.identity} leads, too: {other.lines}")
            equal(other.metric('leader_election_master_status{name="three"}'), 0, "its metric")
        check(a.holds(), f"{a.identity} does not lead: {a.lines}")
        equal(a.metric('leader_election_master_status{name="three"}'), 1, "the leader's metric")
        spec = lease_of(cluster, "three")["spec"]
        equal((spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]), ("three-a", 6, 0), "the lease")
        for field in ("acquireTime", "renewTime"):
            check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec[field]), f"{field} is {spec[field]}")
        for candidate in (b, c, a):
            candidate.stop()
        check(not a.said("lost"), f"a stop that was asked for is told as a loss: {a.lines}")


@test("the leader is killed: another one leads once the lease has expired")
def _(cluster):
    with probes(cluster, "killed", "a", "b", "c") as (a, b, c):
        for other in (b, c):
            until(lambda: other.ask("look", "held")["holder"] == "killed-a", "it knows the leader", DEADLINE_S)
        killed = a.kill()
        renewed = time.monotonic() - age_of(cluster, "killed")
        at, leader = first_to_start((b, c))
        took = at - killed
        check(took <= DURATION_S + RETRY_S + SLACK_S, f"it took {took:.1f} s")
        check(at - renewed >= DURATION_S, f"after the last renewal, it took only {at - renewed:.1f} s: the lease had not expired")
        spec = lease_of(cluster, "killed")["spec"]
        equal((spec["holderIdentity"], spec["leaseTransitions"]), (leader.identity, 1), "the lease")
        check(spec["acquireTime"] <= spec["renewTime"], f"acquired after it was renewed: {spec}")


@test("the leader stops in order: another one leads within two seconds")
def _(cluster):
    # The lease itself would last for 15 s.
    with probes(cluster, "released", "a", "b", "c", times=(15, 10, 1)) as (a, b, c):
        for other in (b, c):
            until(lambda: other.ask("look", "held")["holder"] == "released-a", "it knows the leader", DEADLINE_S)
        stopped = a.stop()
        at, leader = first_to_start((b, c))
        check(at - stopped <= 2 + SLACK_S, f"it took {at - stopped:.1f} s")
        equal(lease_of(cluster, "released")["spec"]["holderIdentity"], leader.identity, "the holder")
        for candidate in (b, c):
            candidate.stop()
        spec = lease_of(cluster, "released")["spec"]
        equal((spec.get("holderIdentity", ""), spec["leaseDurationSeconds"]), ("", 1), "the lease at the end")


@test("a leader that is cut from the API server loses in time and says so; no two ever lead")
def _(cluster):
    with probes(cluster, "cut", "a", "b") as (a, b):
        until(lambda: b.ask("look", "held")["holder"] == "cut-a", "it knows the leader", DEADLINE_S)
        paused = time.monotonic()
        cluster.pause_apiserver()
        try:
            at, why = a.wait("lost")
            check(at - paused <= RENEW_S + 1, f"it took {at - paused:.1f} s, though it may hold {RENEW_S} s without renewing")
            check("lease default/cut could not be renewed for 4500 ms" in why, f"it says: {why}")
            check(a.said("trouble") and "leases/cut" in a.said("trouble")[0][1]["message"], f"no trouble is told: {a.lines}")
            check(not a.holds() and not b.holds(), "one leads, though nobody can renew")
            equal(b.said("started"), [], "the other's starts")
            # Until the other one has seen it unchanged for its duration.
            until(lambda: time.monotonic() > paused + DURATION_S + 1, "the lease's time is over", DEADLINE_S)
        finally:
            cluster.resume_apiserver()
        started, _ = b.wait("started")
        check(started > at, "the other one led before this one had lost")
        check(not a.said("started")[1:], f"the one that lost leads again: {a.lines}")
        equal(len(a.said("lost")), 1, "the number of losses told")
        a.stop()
        equal(lease_of(cluster, "cut")["spec"]["holderIdentity"], "cut-b", "the holder: who lost releases nothing")
        b.stop()


@test("a leader that was frozen for longer than its lease loses when it wakes")
def _(cluster):
    with probes(cluster, "frozen", "a", "b") as (a, b):
        until(lambda: b.ask("look", "held")["holder"] == "frozen-a", "it knows the leader", DEADLINE_S)
        a.program.send_signal(signal.SIGSTOP)
        b.wait("started")
        a.program.send_signal(signal.SIGCONT)
        check(not a.holds(), "it still believes that it leads")
        a.wait("lost")
        check(b.holds(), "the other one lost the lease to it")
        a.stop()
        b.stop()


@test("stopping ends soon while the API server does not answer")
def _(cluster):
    with probes(cluster, "silent", "a", times=(15, 10, 1)) as (a,):
        cluster.pause_apiserver()
        try:
            start = time.monotonic()
            a.send("event Normal Gone nobody hears it")
            took = a.stop() - start
        finally:
            cluster.resume_apiserver()
        check(took <= 5 + 3 + 2 + SLACK_S, f"it took {took:.1f} s")


@test("clocks that disagree by decades make no difference")
def _(cluster):
    made = [Probe(cluster, "clocks-ahead", "clocks", shift_s=TEN_YEARS_S)]
    try:
        made[0].wait("started")
        made.append(Probe(cluster, "clocks-behind", "clocks", shift_s=-TEN_YEARS_S))
        ahead, behind = made
        until(lambda: behind.ask("look", "held")["holder"] == "clocks-ahead", "it knows the leader", DEADLINE_S)
        renewed = lease_of(cluster, "clocks")["spec"]["renewTime"]
        year = datetime.datetime.now(datetime.timezone.utc).year
        check(int(renewed[:4]) >= year + 9, f"the clock isn't shifted: {renewed}")
        # To the one, the lease ends in ten years; to the other, every lease ended twenty years ago.
        since = time.monotonic()
        until(lambda: time.monotonic() > since + DURATION_S + 2 * RETRY_S, "more than a lease's time", DEADLINE_S)
        check(ahead.holds() and not behind.said("started"), f"taken from a leader that renews: {behind.lines}")
        killed = ahead.kill()
        renewed = time.monotonic() - age_of(cluster, "clocks", TEN_YEARS_S)
        at, _ = behind.wait("started")
        check(at - killed <= DURATION_S + RETRY_S + SLACK_S, f"it took {at - killed:.1f} s")
        check(at - renewed >= DURATION_S, f"after the last renewal, it took only {at - renewed:.1f} s")
        # And the other way round: to a new one that is ahead, this lease has expired long ago.
        made.append(Probe(cluster, "clocks-again", "clocks", shift_s=TEN_YEARS_S))
        again = made[-1]
        until(lambda: again.ask("look", "held")["holder"] == "clocks-behind", "it knows the leader", DEADLINE_S)
        since = time.monotonic()
        until(lambda: time.monotonic() > since + DURATION_S + 2 * RETRY_S, "more than a lease's time", DEADLINE_S)
        check(behind.holds() and not again.said("started"), f"taken from a leader that renews: {again.lines}")
    finally:
        for probe in made:
            probe.close()


@test("an idle leader only renews, and never faster than it should")
def _(cluster):
    with probes(cluster, "idle", "a") as (a,):
        until(lambda: len(requests_of(cluster, "idle-a")) >= 10, "ten requests", DEADLINE_S)
        a.stop()
        until(lambda: lease_of(cluster, "idle")["spec"].get("holderIdentity", "") == "", "it is released", DEADLINE_S)

        def audited():
            seen = requests_of(cluster, "idle-a")
            return seen if len([r for r in seen if r["verb"] == "update"]) >= 9 else None

        seen = until(audited, "the audit log has the last", DEADLINE_S)
        equal({r["objectRef"]["resource"] for r in seen}, {"leases"}, "what it asks for")
        equal([r["verb"] for r in seen[:2]], ["get", "create"], "how it begins")
        # Where an answer came too late, it reads again; mostly none does.
        others = [r for r in seen[2:] if r["verb"] != "update"]
        check(len(others) <= 1, f"it does more than renew: {[r['requestURI'] for r in others]}")
        times = [datetime.datetime.fromisoformat(r["requestReceivedTimestamp"].rstrip("Z")) for r in seen]
        renewals = times[1:-1]  # the last one is the release
        took = (renewals[-1] - renewals[0]).total_seconds()
        check(took >= (len(renewals) - 1) * RETRY_S * 0.9, f"{len(renewals)} renewals in {took:.1f} s")
        equal(cluster.get_json("events", "-n", "default", "--field-selector", "involvedObject.name=idle")["items"], [],
              "events about it")


@test("labels, annotations and whatever else is in the lease stay")
def _(cluster):
    with probes(cluster, "kept", "a", "b") as (a, b):
        cluster.kubectl("label", "lease", "kept", "-n", "default", "team=x")
        cluster.kubectl("annotate", "lease", "kept", "-n", "default", "note=hands off")
        version = lease_of(cluster, "kept")["metadata"]["resourceVersion"]
        until(lambda: lease_of(cluster, "kept")["metadata"]["resourceVersion"] != version, "it is renewed", DEADLINE_S)
        check(a.holds() and not a.said("trouble"), f"another writer troubles it: {a.lines}")
        a.stop()
        b.wait("started")
        metadata = lease_of(cluster, "kept")["metadata"]
        equal((metadata["labels"], metadata["annotations"]), ({"team": "x"}, {"note": "hands off"}), "what others wrote")


@test("a lease that is deleted is made again by its leader")
def _(cluster):
    with probes(cluster, "deleted", "a") as (a,):
        cluster.kubectl("delete", "lease", "deleted", "-n", "default")
        cluster.wait_for(
            lambda: cluster.kubectl("get", "lease", "deleted", "-n", "default", check=False)[0] == 0, "it is there again")
        check(a.holds() and not a.said("lost"), f"it lost: {a.lines}")


@test("a lease that an admin gives to another is lost at once")
def _(cluster):
    with probes(cluster, "given", "a") as (a,):
        patch = json.dumps({"spec": {"holderIdentity": "somebody"}})
        cluster.kubectl("patch", "lease", "given", "-n", "default", "--type=merge", "-p", patch)
        at = time.monotonic()
        lost, why = a.wait("lost")
        check(lost - at <= RETRY_S + SLACK_S, f"it took {lost - at:.1f} s")
        check(why.startswith("somebody holds lease default/given now"), f"it says: {why}")
        a.stop()
        equal(lease_of(cluster, "given")["spec"]["holderIdentity"], "somebody", "the holder")


# Events


def events_about(cluster, name, ns="default"):
    return cluster.get_json("events.v1.events.k8s.io", "-n", ns, "--field-selector", f"regarding.name={name}")["items"]


def make_pod(cluster, name, ns="default"):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns},
           "spec": {"containers": [{"name": "main", "image": "none.invalid/none"}]}}
    cluster.apply(json.dumps(pod))
    return cluster.get_json("pod", name, "-n", ns)["metadata"]["uid"]


@test("the same event twice is one Event that counts; kubectl shows it")
def _(cluster):
    uid = make_pod(cluster, "twice")
    with writer(cluster, "events-twice") as probe:
        probe.send(f"regard Pod v1 default twice {uid}")
        for _ in range(2):
            probe.send("event Warning NotReady it doesn't answer")
        probe.send("event Normal Ready it does")
        probe.ask("flush", "flushed")
        events = {e["reason"]: e for e in events_about(cluster, "twice")}
        equal(set(events), {"NotReady", "Ready"}, "the reasons")
        event = events["NotReady"]
        equal(event["series"]["count"], 2, "the count")
        check(event["series"]["lastObservedTime"] >= event["eventTime"], f"it ended before it began: {event}")
        equal(event["regarding"],
              {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "twice", "uid": uid}, "the object")
        equal((event["type"], event["action"], event["note"], event["reportingController"], event["reportingInstance"]),
              ("Warning", "Probe", "it doesn't answer", "example.com/lease-probe", "probe-1"), "what it says")
        check("series" not in events["Ready"], "an event that happened once has a series")
        equal((probe.events_metric("created"), probe.events_metric("repeated")), (2, 1), "its metrics")
        equal((probe.events_metric("failed"), probe.events_metric("dropped")), (0, 0), "its failures")
        described = cluster.kubectl("describe", "pod", "twice", "-n", "default")[1]
        check(re.search(r"Warning\s+NotReady\s.*it doesn't answer", described), f"kubectl describe shows:\n{described}")
        listed = cluster.kubectl("get", "events", "-n", "default")[1]
        check(re.search(r"Warning\s+NotReady\s+pod/twice\s+it doesn't answer", listed), f"kubectl get shows:\n{listed}")
        probe.stop()


@test("a hundred of the same cost two requests, and a third at the end")
def _(cluster):
    uid = make_pod(cluster, "often")
    with writer(cluster, "events-often") as probe:
        probe.send(f"regard Pod v1 default often {uid}")
        for _ in range(100):
            probe.send("event Warning NotReady again and again")
        probe.ask("flush", "flushed")
        equal([e["series"]["count"] for e in events_about(cluster, "often")], [100], "the counts")
        equal((probe.events_metric("created"), probe.events_metric("repeated")), (1, 2), "its metrics")
        seen = until(lambda: len(requests_of(cluster, "events-often")) >= 3 and requests_of(cluster, "events-often"),
                     "the audit log has them", DEADLINE_S)
        equal([r["verb"] for r in seen], ["create", "patch", "patch"], "its requests")


@test("an event that the API server refuses is a number, and holds up no other")
def _(cluster):
    uid = make_pod(cluster, "accepted")
    with writer(cluster, "events-refused") as probe:
        # Kubernetes 1.20 wants events about cluster-scoped objects in kube-system; later ones take them in default.
        probe.send("regard Namespace v1 - kube-public u-2")
        probe.send("event Normal Seen hello")
        probe.send(f"regard Pod v1 default accepted {uid}")
        probe.send("event Normal Seen hello")
        until(lambda: probe.events_metric("created") == 1, "the other one is written", DEADLINE_S)
        equal(probe.events_metric("failed"), 1, "the number of failures")
        equal(len(events_about(cluster, "accepted")), 1, "the Events")
        seen = until(lambda: [r for r in requests_of(cluster, "events-refused") if r["responseStatus"]["code"] == 422],
                     "the audit log has it", DEADLINE_S)
        equal(seen[0]["objectRef"]["namespace"], "default", "the namespace of an event about a namespace")


@test("the API server takes the longest notes and names, and odd ones")
def _(cluster):
    with writer(cluster, "events-odd") as probe:
        long_name = "n" * 63 + "." + "o" * 63 + "." + "p" * 63 + "." + "q" * 61
        probe.send(f"regard Pod v1 default {long_name} u-3")
        probe.send("event Normal Long " + "ä" * 2000)
        probe.send("regard Role rbac.authorization.k8s.io/v1 default system:Node-Proxier u-4")
        probe.send("event Normal Odd control\x01 and \x7f")
        probe.ask("flush", "flushed")
        equal((probe.events_metric("created"), probe.events_metric("failed")), (2, 0), "its metrics")
        (event,) = events_about(cluster, long_name)
        check(event["note"].endswith("ä...") and 1022 <= len(event["note"].encode()) <= 1024, f"the note: {event['note'][-9:]}")
        (event,) = events_about(cluster, "system:Node-Proxier")
        equal(event["note"], "control? and ?", "the note")


@test("an Event that was deleted is made anew")
def _(cluster):
    uid = make_pod(cluster, "anew")
    with writer(cluster, "events-anew") as probe:
        probe.send(f"regard Pod v1 default anew {uid}")
        probe.send("event Warning NotReady it went")
        until(lambda: len(events_about(cluster, "anew")) == 1, "the Event", DEADLINE_S)
        old = events_about(cluster, "anew")[0]["metadata"]["name"]
        cluster.kubectl("delete", "events.v1.events.k8s.io", old, "-n", "default")
        probe.send("event Warning NotReady it went")
        probe.ask("flush", "flushed")
        (event,) = events_about(cluster, "anew")
        check(event["metadata"]["name"] != old, "it has its old name")
        equal(event["series"]["count"], 2, "the count")


@test("a namespace that is going away takes no events, and is not asked again")
def _(cluster):
    cluster.kubectl("create", "namespace", "going")
    cluster.kubectl("delete", "namespace", "going", "--wait=false")
    with writer(cluster, "events-going") as probe:
        probe.send("regard Pod v1 going a u-5")
        for _ in range(3):
            probe.send("event Warning NotReady gone")
        until(lambda: probe.events_metric("failed") >= 1, "it fails", DEADLINE_S)
        probe.send("regard Pod v1 default other u-6")
        probe.send("event Warning NotReady gone")
        until(lambda: probe.events_metric("created") == 1, "another object's event is written", DEADLINE_S)
        equal(probe.events_metric("failed"), 1, "the number of tries")
        seen = until(lambda: [r for r in requests_of(cluster, "events-going") if r["objectRef"]["namespace"] == "going"],
                     "the audit log has it", DEADLINE_S)
        equal([r["responseStatus"]["code"] for r in seen], [403], "the answers")


@test("a burst while the API server does not answer is cut, counted, and over when it answers")
def _(cluster):
    with writer(cluster, "events-burst") as probe:
        probe.send("regard Pod v1 default burst u-7")
        cluster.pause_apiserver()
        try:
            for number in range(400):
                probe.send(f"event Warning NotReady number {number}")
            until(lambda: probe.events_metric("dropped") >= 100, "events are dropped", DEADLINE_S)
        finally:
            cluster.resume_apiserver()
        dropped = probe.events_metric("dropped")
        until(lambda: probe.events_metric("created") + probe.events_metric("dropped") + probe.events_metric("failed") >= 399,
              "the others are written", DEADLINE_S)
        check(dropped <= 400 - 256, f"{dropped} were dropped, though the queue holds 256")
        check(probe.events_metric("created") >= 250, f"only {probe.events_metric('created')} were written")


main(Cluster())
