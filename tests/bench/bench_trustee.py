#!/usr/bin/python3
"""Measures coco-controller's work on Trustees on a real API server, from its audit log, and prints Markdown.

    make bench                      after the others
    tests/bench/bench_trustee.py    alone: about two minutes; a number of Trustees of each profile may follow

Etcd, the API server, kube-controller-manager and the controller run on loopback, the latter with the rights of
manifests/base and manifests/trustee-namespace; a stand-in for the kubelet calls pods ready. Nothing here passes or fails.
See docs/performance.md.
"""

import datetime
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/lib")]

from certificates import make_pair
from trustee_world import TrusteeWorld, iso, is_lease, restricted, tls_secret, trustee

CONTROLLER = ROOT / "build/bin/coco-controller"
MANY = 50
IDLE_RENEWALS = 10
WATCH = "watch"


class Direct(TrusteeWorld):
    behind_proxy = False


def at(event, field):
    return datetime.datetime.fromisoformat(event[field].replace("Z", "+00:00")).timestamp()


def reference(event):
    ref = event.get("objectRef", {})
    return ref.get("resource"), ref.get("subresource"), ref.get("namespace")


def memory_kib(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return None


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(world, profile, count):
    """Milliseconds from each TrusteeConfig's creation to its Deployment's, and requests until it was ready."""
    delays, requests = [], []
    for number in range(count):
        ns = world.namespace(f"{profile.lower()}-{number}")
        made = trustee(ns)
        if profile == "Restricted":
            pairs = {"kbs-tls": make_pair("kbs.example.com"), "token-tls": make_pair("token")}
            world.create(*(tls_secret(ns, name, pair) for name, pair in pairs.items()))
            made = restricted(ns, attestationTokenVerificationSpec={"tlsSecretName": "token-tls"})
        since = iso(time.time())
        world.create(made)
        world.ready(ns)
        world.rested()
        audit = [e for e in world.cluster.audit() if e["requestReceivedTimestamp"] >= since]
        mine = [e for e in audit if reference(e)[2] == ns]
        created = [e for e in mine if reference(e)[:2] == ("trusteeconfigs", None) and e["verb"] == "create"]
        deployed = [
            e
            for e in mine
            if reference(e)[:2] == ("deployments", None) and e["responseStatus"]["code"] == 201
        ]
        delays.append((at(deployed[0], "stageTimestamp") - at(created[0], "stageTimestamp")) * 1000)
        asked = [e for e in world.requests(since) if not is_lease(e) and e["verb"] != WATCH and reference(e)[2] == ns]
        requests.append(len(asked))
    return delays, requests


def show(title, rows):
    print(f"\n{title}\n")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def show_convergence(world, count):
    rows = [("Profile", "Deployment after, median", "least", "most", "requests, median", "most"), ("---",) * 6]
    for profile in ("Permissive", "Restricted"):
        delays, requests = measure(world, profile, count)
        times = [f"{f(delays):.0f} ms" for f in (statistics.median, min, max)]
        rows.append((profile, *times, int(statistics.median(requests)), max(requests)))
    show(f"A TrusteeConfig's way to its Deployment, and requests until it is ready, of {count}:", rows)


def show_many(world, several):
    """RSS with many Trustees, in one namespace or in one each."""
    pid = world.leader().proc.pid
    before = memory_kib(pid)
    spaces = [world.namespace(f"many-{n}") for n in range(MANY)] if several else [world.namespace("many")] * MANY
    began = time.monotonic()
    world.create(*(trustee(ns, f"t{n}", instanceName=f"i{n}") for n, ns in enumerate(spaces)))
    for n, ns in enumerate(spaces):
        world.ready(ns, f"t{n}", timeout=120)
    took = time.monotonic() - began
    world.rested()
    world.idle(2)  # what was needed for a moment is given back
    where = "a namespace each" if several else "one namespace"
    show(
        f"{MANY} more Trustees in {where}:",
        [
            ("RSS before", "after", "highest ever", "all ready after"),
            ("---",) * 4,
            (f"{before} KiB", f"{memory_kib(pid)} KiB", f"{memory_kib(pid, 'VmHWM')} KiB", f"{took:.1f} s"),
        ],
    )


def show_idle(world):
    pid = world.leader().proc.pid
    began, used = time.monotonic(), cpu_s(pid)
    asked = world.idle(IDLE_RENEWALS)
    took = time.monotonic() - began
    print(f"\nIdle for {took:.0f} s: {len(asked)} requests beside the Lease, {(cpu_s(pid) - used) / took * 100:.2f} % of a core")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with Direct(CONTROLLER) as world:
        show_convergence(world, count)
    for several in (False, True):
        with Direct(CONTROLLER) as world:
            show_many(world, several)
            show_idle(world)


main()
