#!/usr/bin/python3
"""Measures the live half on a real API server, and prints Markdown: see docs/performance.md.

    make bench                              after bench.py
    tests/bench/bench_live.py               alone: five to ten minutes
    tests/bench/bench_live.py --quick       a minute, in a smaller cluster
    tests/bench/bench_live.py --json FILE   the raw numbers as well
    tests/bench/bench_live.py --build DIR   programs of another build than build/

Etcd, an API server, the webhook and the controller run on loopback, the programs with the rights that manifests/base
gives their service accounts. The cluster is filled first, so that all is measured among many objects that are none of
ours. Nothing here passes or fails.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import queue
import random
import re
import ssl
import statistics
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import yaml

from bench import CORPUS, LABEL, ROOT, cpu_model, make_certificate

sys.path.insert(0, str(ROOT / "tests/e2e"))

from cluster import HOST, Cluster, Proc, free_ports, wait_for

SYSTEM_NAMESPACE = "coco-pipelines-system"
GROUP = "pipelines.confidentialcontainers.org"
PROFILE_PATH = f"/apis/{GROUP}/v1alpha1/namespaces/{{}}/confidentialprofiles"
CONFIG_MAP_PATH = "/api/v1/namespaces/{}/configmaps"
MERGE = "application/merge-patch+json"
SYSTEM_KINDS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
FILLERS = 8  # threads that fill the cluster
SERVED_CONNECTIONS = 8
DEADLINE_S = 60
POLL_S = 0.0005

INITDATA = """\
version = "0.1.0"
algorithm = "sha256"

[data]
"aa.toml" = '''
[token_configs]
[token_configs.kbs]
url = "https://kbs-{0}.example.com"
'''

"cdh.toml" = '''
[kbc]
name = "cc_kbc"
url = "https://kbs-{0}.example.com"
'''

"policy.rego" = '''
package agent_policy
default AllowRequestsFailingPolicy := false
'''
"""


class Size(NamedTuple):
    """How much there is, and how long it is looked at."""

    namespaces: int
    config_maps: int
    pods: int
    profiles: int  # each refers to a ConfigMap of its own
    edits: int
    changes: int
    settle_s: int
    serve_s: int
    idle_s: int
    starts: int


FULL = Size(200, 10_000, 5_000, 20, 50, 200, 30, 15, 60, 10)
QUICK = Size(20, 400, 200, 6, 10, 20, 3, 3, 10, 3)


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


# ---- The API server


class Api:
    """A kept connection of the admin's. For one thread."""

    def __init__(self, cluster):
        self.headers = {"Authorization": f"Bearer {cluster.tokens['admin']}"}
        context = ssl.create_default_context(cafile=cluster.dir / "certs/apiserver.crt")
        self.connection = http.client.HTTPSConnection(HOST, cluster.port, timeout=DEADLINE_S, context=context)

    def call(self, method, path, body=None, content_type="application/json"):
        """The decoded answer; anything but a 2xx raises."""
        text = json.dumps(body).encode() if body is not None else None
        self.connection.request(method, path, text, self.headers | {"Content-Type": content_type})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status // 100 != 2:
            raise RuntimeError(f"{method} {path}: status {answer.status}, {content.decode()}")
        return json.loads(content)

    def patch(self, path, body):
        return self.call("PATCH", path, body, MERGE)


class Watch(threading.Thread):
    """The floor: a plain HTTP watch that does nothing but note when each event came."""

    def __init__(self, cluster, path, selector=""):
        super().__init__(daemon=True)
        api = Api(cluster)
        version = api.call("GET", f"{path}?limit=1")["metadata"]["resourceVersion"]
        self.events = queue.SimpleQueue()
        self.connection = api.connection
        self.connection.request("GET", f"{path}?watch=true&resourceVersion={version}{selector}", headers=api.headers)
        self.answer = self.connection.getresponse()
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            for line in self.answer:
                self.events.put((time.monotonic(), line))

    def when(self, matches):
        """When the first event came whose object matches; those before it are dropped."""
        while True:
            at, line = self.events.get(timeout=DEADLINE_S)
            if matches(json.loads(line)["object"]):
                return at


# ---- What the cluster holds


def namespace_name(number):
    return f"team-{number:03}"


def profile_names(size):
    """(namespace, name) of all profiles: half of them for everyone, the others one to a namespace."""
    yield SYSTEM_NAMESPACE, "default"
    for number in range(1, size.profiles):
        yield (SYSTEM_NAMESPACE, f"shared-{number}") if number % 2 == 0 else (namespace_name(number), "own")


def config_map(name, data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def profile(name, initdata):
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ConfidentialProfile", "metadata": {"name": name},
            "spec": {"initdata": initdata, "memory": {"max": "32Gi"}}}


def generated(name, number):
    """Initdata made from fields, with the KBS's CA in a ConfigMap."""
    kbs = {"url": f"https://kbs-{number}.example.com", "caConfigMapRef": {"name": f"of-{name}", "key": "ca.crt"}}
    return {"kbs": kbs, "agentPolicy": {"preset": "NoExec"}}


def is_generated(namespace):
    """The others' initdata is a ConfigMap's text."""
    return namespace == SYSTEM_NAMESPACE


def reference(name):
    return {"configMapKeyRef": {"name": f"of-{name}", "key": "initdata.toml"}}


def pod(name):
    """Of the size that a small Tekton pod has."""
    containers = [{"name": f"step-{number}", "image": "registry.example.com/team/image:1.0",
                   "command": ["/tekton/bin/entrypoint"], "args": ["-wait_file", "/tekton/downward/ready", "--"],
                   "resources": {"requests": {"memory": "64Mi", "cpu": "10m"}}} for number in range(3)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bystander"}},
            "spec": {"containers": containers}}


def strangers(size):
    """(path, object) of what is none of ours."""
    for number in range(size.config_maps):
        where = namespace_name(number % size.namespaces)
        yield CONFIG_MAP_PATH.format(where), config_map(f"stranger-{number}", {"key": "value " * 20})
    for number in range(size.pods):
        where = namespace_name(number % size.namespaces)
        yield f"/api/v1/namespaces/{where}/pods", pod(f"stranger-{number}")


def create_all(cluster, objects):
    """Creates them from several threads, as fast as the API server takes them."""
    source, lock = iter(objects), threading.Lock()

    def create():
        api = Api(cluster)
        with contextlib.closing(api.connection):
            while True:
                with lock:
                    item = next(source, None)
                if item is None:
                    return
                api.call("POST", *item)

    with concurrent.futures.ThreadPoolExecutor(FILLERS) as pool:
        for done in [pool.submit(create) for _ in range(FILLERS)]:
            done.result()


def fill(cluster, size, ca):
    """Our manifests, our profiles, and everyone else's objects."""
    cluster.kubectl("apply", "--validate=false", "-k", str(ROOT / "crds"))  # 1.20 knows no rules in CEL
    base = yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "manifests/base"))[1])
    base = [document for document in base if document["kind"] in SYSTEM_KINDS]
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": base}))
    cluster.wait_for(lambda: cluster.raw("GET", PROFILE_PATH.format("default"))[0] == 200, "profiles are served")
    say(f"creating {size.namespaces} namespaces, {size.config_maps} ConfigMaps and {size.pods} pods: up to two minutes")
    begin = time.monotonic()
    names = [namespace_name(number) for number in range(size.namespaces)]
    create_all(cluster, (("/api/v1/namespaces", {"metadata": {"name": name}}) for name in names))
    ours = []
    for number, (where, name) in enumerate(profile_names(size)):
        data = {"ca.crt": ca} if is_generated(where) else {"initdata.toml": INITDATA.format(number)}
        initdata = generated(name, number) if is_generated(where) else reference(name)
        ours += [(CONFIG_MAP_PATH.format(where), config_map(f"of-{name}", data)),
                 (PROFILE_PATH.format(where), profile(name, initdata))]
    create_all(cluster, ours)
    create_all(cluster, strangers(size))
    say(f"created in {time.monotonic() - begin:.0f} s")


# ---- Our programs


def make_kubeconfig(cluster, folder, name):
    """For the service account, as a pod of it would be."""
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = cluster.raw("POST", path, request)
    if status != 201:
        raise RuntimeError(f"no token for {name}: status {status}, {answer}")
    content = json.loads(cluster.kubeconfig().read_text())
    content["users"][0]["user"] = {"token": answer["status"]["token"]}
    made = folder / f"kubeconfig-{name}"
    made.write_text(json.dumps(content))
    return made


class Program:
    """One of ours: started, asked whether it is ready, weighed."""

    def __init__(self, cluster, folder, build, name, *options):
        self.name, self.folder, self.env = name, folder, cluster.env
        self.user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{name}"
        self.plain_port, self.port = free_ports(2)
        self.argv = [build / "bin" / name, f"--kubeconfig={make_kubeconfig(cluster, folder, name)}",
                     f"--plain-listen={HOST}:{self.plain_port}", *options]
        self.proc = None

    def start(self):
        """Returns the milliseconds from the start of the process to the first 200 of /readyz."""
        begin = time.monotonic()
        self.proc = Proc(self.name, self.argv, self.folder / f"{self.name}.log", self.env)
        while not self.is_ready():
            self.proc.check_alive()
            if time.monotonic() > begin + DEADLINE_S:
                raise RuntimeError(f"{self.name} is not ready after {DEADLINE_S} s:\n{self.proc.tail()}")
            time.sleep(POLL_S)
        return (time.monotonic() - begin) * 1000

    def is_ready(self):
        with contextlib.suppress(OSError), contextlib.closing(
                http.client.HTTPConnection(HOST, self.plain_port, timeout=5)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def stop(self):
        if self.proc is not None:
            self.proc.stop()

    def memory_kib(self):
        """Resident, and how much of that is no file's."""
        status = pathlib.Path(f"/proc/{self.proc.pid}/status").read_text()
        return {name: int(re.search(rf"{key}:\s+(\d+)", status)[1])
                for name, key in (("rss", "VmRSS"), ("own", "RssAnon"), ("peak", "VmHWM"))}

    def cpu_s(self):
        """Of all threads, those that have ended included: clock_getcpuclockid(3), made by hand."""
        return time.clock_gettime((~self.proc.pid << 3) | 2)


class Reviews:
    """A kept connection to the webhook."""

    def __init__(self, webhook, ca):
        context = ssl.create_default_context(cafile=ca)
        self.connection = http.client.HTTPSConnection(HOST, webhook.port, timeout=DEADLINE_S, context=context)

    def ask(self, body):
        self.connection.request("POST", "/mutate-pods", body, {"Content-Type": "application/json"})
        return self.connection.getresponse().read()

    def digest(self, body):
        """Of the initdata that this pod gets now."""
        response = json.loads(self.ask(body))["response"]
        if not response["allowed"]:
            raise RuntimeError(f"the webhook denies: {response['status']}")
        return response["auditAnnotations"]["initdata"]


def make_review(file, namespace, labelled=True):
    """A review as the API server sends it, of a pod in that namespace."""
    review = json.loads(file.read_text())
    request = review["request"]
    request["namespace"] = namespace
    if labelled and "metadata" in (request.get("object") or {}):
        request["object"]["metadata"].setdefault("labels", {})[LABEL] = "true"
    return json.dumps(review, separators=(",", ":"), ensure_ascii=False).encode()


# ---- Measuring


class Latencies:
    """Edits, one after the other, each followed until webhook and status have it. All times are from the moment at
    which the answer to the edit is here; a watch may be told before that."""

    def __init__(self, cluster, webhook, folder):
        self.api = Api(cluster)
        self.reviews = Reviews(webhook, folder / "tls.crt")
        self.cluster = cluster
        self.random = random.Random(1)

    def follow(self, edit, count, review, floor, profiles, says):
        """edit(number): makes the edit, and returns its answer. floor: a watch that sees the edit itself; profiles: one
        that sees the status, which says(status, answer, digest) what it should."""
        times = {"floor": [], "webhook": [], "status": []}
        digest = self.reviews.digest(review)
        for number in range(count):
            time.sleep(self.random.uniform(0.05, 0.35))  # so that it meets the programs at any moment
            answer = edit(number)
            begin = time.monotonic()
            before = digest
            while digest == before:
                time.sleep(POLL_S)
                digest = self.reviews.digest(review)
                if time.monotonic() > begin + DEADLINE_S:
                    raise RuntimeError(f"the webhook does not take up edit {number}")
            times["webhook"].append(time.monotonic() - begin)
            version = answer["metadata"]["resourceVersion"]
            times["floor"].append(floor.when(lambda o: o["metadata"]["resourceVersion"] == version) - begin)
            times["status"].append(profiles.when(lambda o: says(o.get("status", {}), answer, digest)) - begin)
        return {name: [s * 1000 for s in seconds] for name, seconds in times.items()}

    def profile(self, count):
        path = PROFILE_PATH.format(SYSTEM_NAMESPACE)
        return self.follow(
            lambda n: self.api.patch(f"{path}/default", {"spec": {"initdata": {"kbs": {"url": f"https://edit-{n}"}}}}),
            count, make_review(CORPUS / "taskrun__single-step.json", namespace_name(0)),
            Watch(self.cluster, path), Watch(self.cluster, path),
            lambda status, answer, _: status.get("observedGeneration") == answer["metadata"]["generation"])

    def config_map(self, count):
        where = namespace_name(1)
        path = CONFIG_MAP_PATH.format(where)
        # A profile of the namespace goes before the system's only when it is chosen, or named "default".
        review = json.loads(make_review(CORPUS / "taskrun__single-step.json", where))
        review["request"]["object"]["metadata"].setdefault("annotations", {})[f"{GROUP}/profile"] = "own"
        return self.follow(
            lambda n: self.api.patch(f"{path}/of-own", {"data": {"initdata.toml": INITDATA.format(f"edit-{n}")}}),
            count, json.dumps(review).encode(),
            Watch(self.cluster, path), Watch(self.cluster, PROFILE_PATH.format(where)),
            lambda status, _, digest: status.get("initdata", {}).get("digest") == digest)


def change_many(cluster, size):
    """Changes profiles and ConfigMaps in turn, without waiting, until the status of the last one is written."""
    api = Api(cluster)
    names = list(profile_names(size))
    for number in range(size.changes):
        where, name = names[number % len(names)]
        if is_generated(where):
            path, body = PROFILE_PATH, {"spec": {"initdata": {"kbs": {"url": f"https://change-{number}"}}}}
            api.patch(f"{path.format(where)}/{name}", body)
        else:
            body = {"data": {"initdata.toml": INITDATA.format(f"change-{number}")}}
            api.patch(f"{CONFIG_MAP_PATH.format(where)}/of-{name}", body)

    def settled():
        profiles = api.call("GET", PROFILE_PATH.format(SYSTEM_NAMESPACE))["items"]
        return all(p.get("status", {}).get("observedGeneration") == p["metadata"]["generation"] for p in profiles)

    wait_for(settled, "the controller has seen all changes", DEADLINE_S)


class AuditLog:
    """Requests of our programs, from now on."""

    def __init__(self, cluster):
        self.path = cluster.dir / "audit.log"
        self.offset = self.path.stat().st_size

    def count(self, users):
        """{(user, verb, resource): requests}: of a watch its start counts."""
        with self.path.open() as file:
            file.seek(self.offset)
            events = [json.loads(line) for line in file if line.endswith("\n")]
        counts = collections.Counter()
        for event in events:
            starts = event["verb"] == "watch"
            if event["user"]["username"] not in users or event["stage"] != (
                    "ResponseStarted" if starts else "ResponseComplete"):
                continue
            target = event.get("objectRef", {})
            resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
            counts[users[event["user"]["username"]], event["verb"], resource or event["requestURI"]] += 1
        return counts


class Peak(threading.Thread):
    """The most memory that programs had resident while it ran."""

    def __init__(self, programs):
        super().__init__(daemon=True)
        self.programs, self.over = programs, threading.Event()
        self.kib = dict.fromkeys(programs, 0)

    def run(self):
        while not self.over.wait(0.02):
            for name, program in self.programs.items():
                self.kib[name] = max(self.kib[name], program.memory_kib()["rss"])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def serve_corpus(webhook, size, ca):
    """All reviews of the corpus, half of them labelled, over several connections. Returns how many were answered."""
    files = sorted(CORPUS.glob("*.json"))
    bodies = [make_review(file, namespace_name(number % size.namespaces), number % 2 == 0)
              for number, file in enumerate(files)]
    end = time.monotonic() + size.serve_s

    def serve(first):
        reviews, number = Reviews(webhook, ca), first
        while time.monotonic() < end:
            reviews.ask(bodies[number % len(bodies)])
            number += 1
        return number - first

    with concurrent.futures.ThreadPoolExecutor(SERVED_CONNECTIONS) as pool:
        return sum(pool.map(serve, range(0, len(bodies), len(bodies) // SERVED_CONNECTIONS)))


def weigh(programs):
    return {name: program.memory_kib() for name, program in programs.items()}


def measure_starts(programs, count):
    """Milliseconds until ready, and of CPU until then."""
    starts = {name: {"took": [], "cpu": []} for name in programs}
    for _ in range(count):
        for name, program in programs.items():
            starts[name]["took"].append(program.start())
            starts[name]["cpu"].append(program.cpu_s() * 1000)
            program.stop()
    return starts


def measure_memory(cluster, programs, size, folder, users):
    """The programs have just been started."""
    say(f"waiting for {size.settle_s} s")
    time.sleep(2)
    memory = {"2 s after the start": weigh(programs)}
    time.sleep(size.settle_s)
    memory[f"after {size.settle_s} s"] = weigh(programs)
    say(f"{size.changes} changes")
    log = AuditLog(cluster)
    change_many(cluster, size)
    time.sleep(1)
    memory[f"after {size.changes} changes"] = weigh(programs)
    requests = log.count(users)
    say(f"serving the corpus for {size.serve_s} s")
    with Peak(programs) as peak:
        served = serve_corpus(programs["webhook"], size, folder / "tls.crt")
    memory["serving the corpus, at most"] = {name: {"rss": kib} for name, kib in peak.kib.items()}
    time.sleep(1)
    memory["after that"] = weigh(programs)
    return {"memory": memory, "served": served, "requests_of_changes": requests}


def measure_idle(cluster, programs, size, users):
    say(f"idle for {size.idle_s} s")
    time.sleep(min(size.idle_s, 5))
    log = AuditLog(cluster)
    begin, before = time.monotonic(), {name: program.cpu_s() for name, program in programs.items()}
    time.sleep(size.idle_s)
    took = time.monotonic() - begin
    percent = {name: (program.cpu_s() - before[name]) / took * 100 for name, program in programs.items()}
    return {"cpu_percent": percent, "requests": log.count(users), "seconds": took}


def measure(build, folder, size):
    make_certificate(folder)
    with Cluster() as cluster:
        fill(cluster, size, (folder / "tls.crt").read_text())
        webhook = Program(cluster, folder, build, "coco-webhook", f"--tls-cert={folder}/tls.crt",
                          f"--tls-key={folder}/tls.key")
        webhook.argv.append(f"--listen={HOST}:{webhook.port}")
        programs = {"webhook": webhook, "controller": Program(cluster, folder, build, "coco-controller")}
        users = {program.user: name for name, program in programs.items()}
        with contextlib.ExitStack() as stack:
            for program in programs.values():
                stack.callback(program.stop)
            say(f"starting each {size.starts} times")
            result = {"starts_ms": measure_starts(programs, size.starts)}
            for program in programs.values():
                program.start()
            result |= measure_memory(cluster, programs, size, folder, users)
            latencies = Latencies(cluster, webhook, folder)
            say(f"{size.edits} edits of a profile, {size.edits} of a ConfigMap")
            result["profile_ms"] = latencies.profile(size.edits)
            result["config_map_ms"] = latencies.config_map(size.edits)
            result["idle"] = measure_idle(cluster, programs, size, users)
    return result


# ---- Saying it


def quantile(values, q):
    values = sorted(values)
    return values[round((len(values) - 1) * q)]


def ms(value):
    return f"{value:.1f} ms"


LATENCIES = (
    ("floor", "a plain HTTP watch reads it"),
    ("webhook", "the webhook answers with the new initdata"),
    ("status", "the controller's status, read by such a watch"),
)


def print_latencies(result):
    print("| From the answer to an edit until | Median | p95 | Max |\n|---|---:|---:|---:|")
    for key, what in (("profile_ms", "profile"), ("config_map_ms", "ConfigMap")):
        for name, until in LATENCIES:
            values = result[key][name]
            print(f"| {what}: {until} | {ms(statistics.median(values))} | {ms(quantile(values, 0.95))} "
                  f"| {ms(max(values))} |")


def print_memory(result):
    def cell(kib):
        own = f" ({kib['own'] / 1024:.1f})" if "own" in kib else ""
        return f"{kib['rss'] / 1024:.1f} MiB{own}"

    print("| Resident memory (of it no file's) | Webhook | Controller |\n|---|---:|---:|")
    for when, programs in result["memory"].items():
        print(f"| {when} | {cell(programs['webhook'])} | {cell(programs['controller'])} |")


def print_requests(counts, name):
    return ", ".join(f"{count} {verb} {resource}" for (who, verb, resource), count in sorted(counts.items())
                     if who == name) or "none"


def print_idle(result):
    idle = result["idle"]
    print(f"| Idle for {idle['seconds']:.0f} s | CPU of a core | Requests to the API server |\n|---|---:|---|")
    for name in ("webhook", "controller"):
        print(f"| {name} | {idle['cpu_percent'][name]:.3f} % | {print_requests(idle['requests'], name)} |")


def print_all(result, size):
    print(f"{cpu_model()}; {size.namespaces} namespaces, {size.config_maps} ConfigMaps, {size.pods} pods, "
          f"{size.profiles} profiles that refer to a ConfigMap each; {size.edits} edits of each kind.\n")
    print_latencies(result)
    print()
    print_memory(result)
    print(f"\n{result['served']:,} reviews were served meanwhile. The {size.changes} changes cost:")
    for name in ("webhook", "controller"):
        print(f"- {name}: {print_requests(result['requests_of_changes'], name)}")
    print()
    print_idle(result)
    print("\n| Start of the process to /readyz | Median | Max | CPU, median |\n|---|---:|---:|---:|")
    for name, starts in result["starts_ms"].items():
        print(f"| {name} | {ms(statistics.median(starts['took']))} | {ms(max(starts['took']))} "
              f"| {ms(statistics.median(starts['cpu']))} |")


def plain(value):
    """The result as JSON can say it."""
    if isinstance(value, collections.Counter):
        return {" ".join(key): count for key, count in value.items()}
    return {key: plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def main():
    parser = argparse.ArgumentParser(description="Measures webhook and controller on a real API server.")
    parser.add_argument("--quick", action="store_true", help="a minute, in a smaller cluster")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the raw numbers here")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, default=ROOT / "build", help="where programs are")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    sys.setswitchinterval(0.0005)  # the watch's thread notes the time, and must not wait for others
    with tempfile.TemporaryDirectory(prefix="coco-bench-") as folder:
        result = measure(options.build, pathlib.Path(folder), size)
    if options.json is not None:
        options.json.write_text(json.dumps(plain(result), indent=1) + "\n")
    print_all(result, size)


if __name__ == "__main__":
    main()
