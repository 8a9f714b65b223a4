#!/usr/bin/env python3
"""A live webhook and peers that mean no good, or don't know better: test_hostile.py SANITIZED-WEBHOOK PLAIN-WEBHOOK

Whatever comes in, what goes out is a documented HTTP status, or an AdmissionReview with the right uid that doesn't allow;
and the server serves on. The sanitized build is asked; memory is measured on the plain one.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from live import Webhook, until  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

SANITIZED, PLAIN = sys.argv[1:3]
del sys.argv[1:3]
CORPUS = HERE.parent / "data" / "corpus" / "tekton"

P = "pipelines.confidentialcontainers.org/"
BODY_MAX = 6 * 1024 * 1024
SECRET = "do-not-log-me-7f3a"


def profile(name="default", url="http://kbs.trustee.svc:8080", more=""):
    return f"""apiVersion: {P}v1alpha1
kind: ConfidentialProfile
metadata: {{name: {name}, namespace: coco-pipelines-system}}
spec: {{initdata: {{kbs: {{url: "{url}"}}}}{more}}}
"""


class World:
    def __init__(self, folder, webhook):
        self.folder, self.webhook = folder, webhook


@contextlib.contextmanager
def world():
    with tempfile.TemporaryDirectory(prefix="coco-hostile-") as folder:
        (pathlib.Path(folder) / "default.yaml").write_text(profile())
        with Webhook(SANITIZED, folder, "--log-level", "debug") as webhook:
            yield World(pathlib.Path(folder), webhook)


def review(uid="uid-1", labelled=True, **request):
    """A review of a labelled pod; keywords replace members of the request, None removes one."""
    tree = {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "team-a",
            "operation": "CREATE",
            "userInfo": {"username": "admin"},
            "object": {
                "metadata": {"name": "a", "labels": {P + "confidential": "true"} if labelled else {}},
                "spec": {"containers": [{"name": "step-a", "image": "img"}]},
            },
        },
    }
    for key, value in request.items():
        tree["request"][key] = value
        if value is None:
            del tree["request"][key]
    return tree


def pod(metadata=None, **spec):
    tree = review()["request"]["object"]
    tree["metadata"] |= metadata or {}
    tree["spec"] |= spec
    return tree


def encoded(tree):
    return json.dumps(tree).encode()


def ask(w, body, path="/mutate-pods"):
    return w.post(path, body)


def serves(webhook):
    status, body = ask(webhook, encoded(review("still-here")))
    response = json.loads(body)["response"]
    equal((status, response["uid"], response["allowed"], "patch" in response), (200, "still-here", True, True),
          "a good review, afterwards")


# What a body gets: an HTTP status, or "denied": an AdmissionReview with uid-1 that says no.
GOOD = encoded(review())
ACCEPTED = b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":'
HOSTILE = {
    "empty": (b"", 400),
    "white space": (b" \n\t", 400),
    "no JSON": (b"hello", 400),
    "YAML": (b"kind: AdmissionReview\n", 400),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "a number": (b"7", 400),
    "a NUL byte before": (b"\0" + GOOD, 400),
    "a NUL byte behind": (GOOD + b"\0", 400),
    "a NUL byte in a string": (GOOD.replace(b"step-a", b"step\0a"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, 400),
    "two reviews": (GOOD + GOOD, 400),
    "a comma too many": (GOOD.replace(b'"image": "img"', b'"image": "img",'), 400),
    "single quotes": (GOOD.replace(b'"', b"'"), 400),
    "a control character in a string": (GOOD.replace(b"step-a", b"step\x01a"), 400),
    "not UTF-8": (GOOD.replace(b"step-a", b"step-\xff"), 400),
    "UTF-8 that is too long": (GOOD.replace(b"step-a", b"step-\xc0\xaf"), 400),
    "a surrogate in UTF-8": (GOOD.replace(b"step-a", b"\xed\xa0\x80"), 400),
    "half a surrogate pair": (GOOD.replace(b"step-a", b"\\ud800"), 400),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400),
    "NaN": (GOOD.replace(b'"CREATE"', b"NaN"), 400),
    "a key twice": (GOOD.replace(b'"name": "a"', b'"name": "a", "name": "b"'), 400),
    "a label twice": (GOOD.replace(b'confidential": "true"', b'confidential": "false", "%sconfidential": "true"' % P.encode()),
                      400),
    "a key twice, once escaped": (GOOD.replace(b'"name": "a"', b'"name": "a", "n\\u0061me": "b"'), 400),
    "uid twice": (GOOD.replace(b'"uid": "uid-1"', b'"uid": "uid-1", "uid": "uid-2"'), 400),
    "nesting without end": (b"[" * 100000, 400),
    "deep nesting": (GOOD.replace(b'"img"', b"[" * 5000 + b"]" * 5000), "denied"),
    "deep nesting in what nobody reads": (encoded(review())[:-2] + b',"options":' + b'{"a":' * 2000 + b"1" + b"}" * 2002, 400),
    "another version": (GOOD.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"), 400),
    "another kind": (GOOD.replace(b'"AdmissionReview"', b'"Pod"'), 400),
    "no request": (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', 400),
    "request null": (ACCEPTED + b"null}", 400),
    "request a list": (ACCEPTED + b"[]}", 400),
    "no uid": (encoded(review(uid=None)).replace(b'"uid": null, ', b""), 400),
    "uid null": (encoded(review(uid=None)), 400),
    "uid empty": (encoded(review(uid="")), 400),
    "uid a number": (encoded(review(uid=7)), 400),
    "another resource": (encoded(review(resource={"group": "", "version": "v1", "resource": "secrets"})), "denied"),
    "another group": (encoded(review(resource={"group": "x", "version": "v1", "resource": "pods"})), "denied"),
    "another API version": (encoded(review(resource={"group": "", "version": "v2", "resource": "pods"})), "denied"),
    "no resource": (encoded(review(resource=None)), "denied"),
    "another object": (encoded(review(kind={"kind": "Secret"})), "denied"),
    "no kind": (encoded(review(kind=None)), "denied"),
    "no operation": (encoded(review(operation=None)), "denied"),
    "an operation in lower case": (encoded(review(operation="create")), "denied"),
    "no object": (encoded(review(object=None)), "denied"),
    "an object that is null": (GOOD.replace(json.dumps(pod()).encode(), b"null"), "denied"),
    "an object that is text": (encoded(review(object="pod")), "denied"),
    "an empty object": (encoded(review(object={})), "denied"),
    "no spec": (encoded(review(object={"metadata": {}})), "denied"),
    "spec null": (encoded(review(object={"metadata": {}, "spec": None})), "denied"),
    "no containers": (encoded(review(object=pod(containers=[]))), "denied"),
    "labels as a list": (encoded(review(object=pod({"labels": [P + "confidential"]}))), "denied"),
    "labels as text": (encoded(review(object=pod({"labels": "true"}))), "denied"),
    "the label as a boolean": (encoded(review(object=pod({"labels": {P + "confidential": True}}))), "denied"),
    "an annotation as a number": (encoded(review(object=pod({"annotations": {"a": 1}}))), "denied"),
    "name as a number": (encoded(review(object=pod({"name": 7}))), "denied"),
    "namespace as a list": (encoded(review(namespace=["team-a"])), "denied"),
    "dryRun as text": (encoded(review(dryRun="true")), "denied"),
    "userInfo as text": (encoded(review(userInfo="admin")), "denied"),
    "containers as a map": (encoded(review(object=pod(containers={"a": {}}))), "denied"),
    "a container that is a number": (encoded(review(object=pod(containers=[1]))), "denied"),
    "hostNetwork as text": (encoded(review(object=pod(hostNetwork="no"))), "denied"),
    "a quantity that is a list": (
        encoded(review(object=pod(containers=[{"resources": {"limits": {"memory": []}}}]))), "denied"),
    "a quantity of nonsense": (
        encoded(review(object=pod(containers=[{"resources": {"limits": {"memory": "much"}}}]))), "denied"),
    "a quantity that is negative": (
        encoded(review(object=pod(containers=[{"resources": {"limits": {"memory": -5}}}]))), "denied"),
    "a quantity of a thousand digits": (
        encoded(review(object=pod(containers=[{"resources": {"limits": {"memory": "9" * 1000}}}]))), "denied"),
    "a number with a huge exponent": (
        GOOD.replace(b'"image": "img"', b'"resources": {"limits": {"memory": 1e999999999}}'), "denied"),
    "a senseless label": (encoded(review(object=pod({"labels": {P + "confidential": "\x1b[2J" * 50}}))), "denied"),
    "a profile's name of a megabyte": (
        encoded(review(object=pod({"annotations": {P + "profile": "x" * 1000000}}))), "denied"),
    "a profile's name that walks": (
        encoded(review(object=pod({"annotations": {P + "profile": "../../etc/passwd"}}))), "denied"),
    "an annotation of Kata among a hundred thousand": (
        encoded(review(object=pod({"annotations": {f"a{i}": "b" for i in range(100000)} | {"io.katacontainers.x": "y"}}))),
        "denied"),
}


def judge(w, name, body, want, path):
    status, text = ask(w, body, path)
    if want == "denied":
        equal(status, 200, f"{name}: HTTP status ({text[:200]!r})")
        response = json.loads(text)["response"]
        equal((response["uid"], response["allowed"]), ("uid-1", False), f"{name}: answer {text[:300]!r}")
        check(response["status"]["code"] in (400, 403) and response["status"]["message"], f"{name}: no reason")
        check("patch" not in response, f"{name}: a denial with a patch")
    else:
        equal(status, want, f"{name}: HTTP status ({text[:200]!r})")
        check(b"allowed" not in text and text.endswith(b"\n") and len(text) < 2000, f"{name}: {text[:300]!r}")


for _name, (_body, _want) in HOSTILE.items():
    @test(f"body: {_name}")
    def _(w, name=_name, body=_body, want=_want):
        for path in ("/mutate-pods", "/validate-pods"):
            judge(w.webhook, name, body, want, path)
        serves(w.webhook)


@test("body: cut short anywhere")
def _(w):
    whole = (CORPUS / "taskrun__sidecars.json").read_bytes().rstrip()
    step = max(1, len(whole) // 200)
    for cut in [*range(0, len(whole), step), len(whole) - 1]:
        judge(w.webhook, f"cut at {cut}", whole[:cut], 400, "/mutate-pods")
    serves(w.webhook)


@test("body: one byte wrong anywhere never crashes, and never gives the uid of another")
def _(w):
    whole = GOOD
    for at in range(0, len(whole), 3):
        status, text = ask(w.webhook, whole[:at] + b"\x7f" + whole[at + 1:])
        check(status in (200, 400), f"byte {at}: HTTP status {status}")
        if status == 200:
            check(len(json.loads(text)["response"]["uid"]) == 5, f"byte {at}: {text!r}")
    serves(w.webhook)


@test("body: larger than allowed, told or not")
def _(w):
    big = GOOD + b" " * (10 * 1024 * 1024)
    with contextlib.closing(w.webhook.connect()) as c:
        try:
            c.request("POST", "/mutate-pods", big, {"Content-Type": "application/json"})
        except (BrokenPipeError, ConnectionError, OSError):
            pass  # it need not read what it refuses
        with contextlib.suppress(ConnectionError, OSError):
            equal(c.getresponse().status, 413, "HTTP status")
    pieces = (b" " * 65536 for _ in range(200))
    with contextlib.closing(w.webhook.connect()) as c, contextlib.suppress(ConnectionError, OSError):
        c.request("POST", "/mutate-pods", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        equal(c.getresponse().status, 413, "HTTP status, chunked")
    text = w.webhook.get("/metrics")[1]
    check(int(re.search(r'refused_requests_total\{code="413"\} (\d+)', text)[1]) >= 1, "413 isn't counted")
    serves(w.webhook)


@test("body: as large as allowed")
def _(w):
    filled = review(labelled=False)
    filled["request"]["options"] = {"filler": "x" * (BODY_MAX - 2000)}
    status, text = ask(w.webhook, encoded(filled))
    left = {"decision": "allowed", "reason": "NotSelected"}
    equal((status, json.loads(text)["response"]), (200, {"uid": "uid-1", "allowed": True, "auditAnnotations": left}), "answer")


@test("body: a hundred thousand containers")
def _(w):
    many = [{"name": f"step-{i}", "image": "i"} for i in range(100000)]
    started = time.monotonic()
    status, text = ask(w.webhook, encoded(review(object=pod(containers=many))))
    took = time.monotonic() - started
    response = json.loads(text)["response"]
    equal((status, response["uid"]), (200, "uid-1"), "answer")
    check(took < 10, f"it took {took:.1f} s")
    serves(w.webhook)


@test("body: a thousand things to warn of are told as sixteen")
def _(w):
    many = [{"name": f"v{i}", "hostPath": {"path": "/"}} for i in range(1000)]
    status, text = ask(w.webhook, encoded(review(object=pod(volumes=many))))
    response = json.loads(text)["response"]
    equal((status, response["allowed"], len(response["warnings"])), (200, True, 16), "answer")
    equal(response["warnings"][-1], "and 985 more", "the last one")


@test("body: more volumes and devices than rules can pair are refused at once")
def _(w):
    claims = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": "c"}} for i in range(17000)]
    devices = [{"name": f"d{i}", "devicePath": "/dev/x"} for i in range(50000)]
    made = pod(volumes=claims, containers=[{"name": "step-a", "image": "i", "volumeDevices": devices}])
    started = time.monotonic()
    status, text = ask(w.webhook, encoded(review(object=made)))
    took = time.monotonic() - started
    response = json.loads(text)["response"]
    equal((status, response["allowed"]), (200, False), "answer")
    check("more than 1000" in response["status"]["message"], f"the message is {response['status']['message']}")
    check(took < 5, f"it took {took:.1f} s")


@test("body: ten thousand guarded annotations are not compared with each other")
def _(w):
    notes = {f"io.katacontainers.{i}": "x" for i in range(10500)}
    labels = {"pipelines.confidentialcontainers.org/confidential": "true"}
    old = pod()
    old["metadata"] = old.get("metadata", {}) | {"labels": labels, "annotations": notes}
    request = review(object=old)
    request["request"] |= {"operation": "UPDATE", "oldObject": old}
    started = time.monotonic()
    status, text = ask(w.webhook, encoded(request), "/validate-pods")
    took = time.monotonic() - started
    equal((status, json.loads(text)["response"]["allowed"]), (200, False), "answer")
    check(took < 5, f"it took {took:.1f} s")


@test("escapes in the uid come back as the same text")
def _(w):
    for uid in ('quote"back\\slash', "tab\tline\n", "\u00e9\u4e16\U0001f600", "a" * 10000, "\u0000nul"):
        status, text = ask(w.webhook, encoded(review(uid)))
        equal((status, json.loads(text)["response"]["uid"]), (200, uid), "uid")


@test("HTTP: paths, methods, types")
def _(w):
    h = w.webhook
    equal(h.post("/nothing", GOOD)[0], 404, "another path")
    equal(h.post("/mutate-pods/", GOOD)[0], 404, "a path with a slash behind")
    equal(h.post("/mutate-pods?timeout=3s", GOOD)[0], 200, "a query")
    equal(h.post("/mutate-pods", GOOD, {"Content-Type": "text/plain"})[0], 415, "another type")
    equal(h.post("/mutate-pods", GOOD, {"Content-Type": "application/json; charset=utf-8"})[0], 200, "a parameter")
    with contextlib.closing(h.connect()) as c:
        c.request("GET", "/mutate-pods")
        equal(c.getresponse().status, 405, "GET")
    equal(h.get("/mutate-pods")[0], 404, "admission on the plain port")
    equal(h.post("/metrics", GOOD)[0], 404, "metrics on the admission port")
    serves(h)


# ---- Health and metrics

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|\+Inf|NaN)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parse_metrics(text):
    """(name, labels) -> value; strict about the text format 0.0.4: HELP and TYPE once, before, and lines together."""
    check(text.endswith("\n"), "the last line has no end")
    types, helped, values, family = {}, set(), {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            check(name not in helped and name not in types, f"HELP of {name} twice, or late")
            helped.add(name)
            family = name
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            check(name == family and name not in types, f"TYPE of {name} at the wrong place")
            check(kind in ("counter", "gauge", "histogram"), f"type {kind}")
            types[name] = kind
        else:
            sample = SAMPLE.fullmatch(line)
            check(sample, f"no sample: {line!r}")
            name, labels, value = sample.groups()
            base = re.sub("_(bucket|sum|count)$", "", name) if types.get(family) == "histogram" else name
            check(base == family and family in types, f"{name} stands below {family}")
            check(types[family] != "counter" or name.endswith("_total"), f"counter {name}")
            pairs = LABEL.findall(labels or "")
            equal(",".join(f'{k}="{v}"' for k, v in pairs), labels or "", f"labels of {name}")
            key = (name, tuple(sorted(pairs)))
            check(key not in values, f"{key} twice")
            values[key] = float(value)
    return types, values


def check_histograms(types, values):
    for family in (name for name, kind in types.items() if kind == "histogram"):
        rows = {}
        for (name, labels), value in values.items():
            if name == family + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                rows.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        check(rows, f"{family} has no buckets")
        for rest, buckets in rows.items():
            equal(buckets, sorted(buckets), f"buckets of {family}: order")
            counts = [count for _, count in buckets]
            equal(counts, sorted(counts), f"buckets of {family}: they add up")
            equal(buckets[-1], (float("inf"), values[family + "_count", rest]), f"the last bucket of {family}")
            check((family + "_sum", rest) in values, f"{family} has no sum")


def admissions(webhook, endpoint, outcome):
    values = parse_metrics(webhook.get("/metrics")[1])[1]
    return values["coco_webhook_admissions_total", (("endpoint", endpoint), ("outcome", outcome))]


@test("/healthz and /readyz")
def _(w):
    equal(w.webhook.get("/healthz"), (200, "ok\n"), "/healthz")
    equal(w.webhook.get("/readyz"), (200, "ok\n"), "/readyz")


@test("/metrics is in the text format, and counts")
def _(w):
    types, values = parse_metrics(w.webhook.get("/metrics")[1])
    check_histograms(types, values)
    equal(values["coco_webhook_profiles", (("state", "good"),)], 1, "good profiles")
    check(values["coco_webhook_certificate_not_after_timestamp_seconds", ()] > time.time(), "the certificate has expired")
    for body, outcome in ((GOOD, "mutated"), (encoded(review(labelled=False)), "allowed"),
                          (encoded(review(object=pod(hostNetwork=True))), "denied"), (b"{}", "malformed")):
        before = admissions(w.webhook, "mutate-pods", outcome)
        ask(w.webhook, body)
        equal(admissions(w.webhook, "mutate-pods", outcome), before + 1, f"{outcome}, counted")


# ---- The log

@test("the log: one JSON object a line, and nothing of bodies and annotations")
def _(w):
    marked = {"annotations": {"note": SECRET, "io.katacontainers.config.hypervisor.kernel_params": SECRET}}
    env = [{"name": "step-a", "env": [{"name": "A", "value": SECRET}], "args": [SECRET]}]
    bodies = [
        encoded(review(labelled=False, object=pod(marked | {"labels": {}}, containers=env))),
        encoded(review(object=pod(marked, containers=env))),
        encoded(review(object=pod({"annotations": {"note": SECRET}}, containers=env))),
        encoded(review(object=pod(containers=env, hostNetwork=True))),
        encoded(review(options=SECRET, object={"metadata": {"labels": [SECRET]}})),
        GOOD[:-1] + SECRET.encode(),
    ]
    for body in bodies:
        for path in ("/mutate-pods", "/validate-pods"):
            ask(w.webhook, body, path)
    ask(w.webhook, encoded(review("the-last-one", labelled=False)))
    until(lambda: any("the-last-one" in line for line in w.webhook.lines), "the last review's log line")
    lines = list(w.webhook.lines)
    for line in lines:
        entry = json.loads(line)
        check(isinstance(entry, dict) and {"ts", "level", "msg"} <= entry.keys(), f"no log entry: {line}")
        check(len(line) < 9000, "a line that is too long")
        check(not re.search("[\x00-\x1f\x7f]", line), f"control characters: {line!r}")
    leaked = [line for line in lines if SECRET in line]
    equal(leaked, [], "lines that tell what was in a body")
    check(any(entry["decision"] == "ForeignAnnotation" for entry in w.webhook.logged("denied")), "the denial isn't logged")


# ---- Profiles that change under way

def digest_of(webhook):
    response = json.loads(ask(webhook, GOOD)[1])["response"]
    return response.get("auditAnnotations", {}).get("initdata") if response["allowed"] else response["status"]["message"]


def put(path, text):
    """In one step, as ConfigMaps' volumes change: what is half written is another profile, or none."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


@test("profiles: changed, broken, repaired, removed")
def _(_w):
    with tempfile.TemporaryDirectory(prefix="coco-reload-") as folder:
        path = pathlib.Path(folder) / "default.yaml"
        put(path, profile())
        with Webhook(SANITIZED, folder) as h:
            first = digest_of(h)
            put(path, profile(url="http://kbs2.trustee.svc:8080"))
            until(lambda: digest_of(h) != first, "the new profile's digest")
            second = digest_of(h)
            check(second.startswith("sha256:"), f"digest: {second}")

            put(path, profile(more=", memory: {min: 9Gi, max: 3Gi}"))
            problem = until(lambda: h.logged("a profile document can't be used: a profile keeps its last good version, pods of one without are denied"),
                            "the log line about the profile")[-1]
            equal(problem["profile"], "coco-pipelines-system/default", "which profile")
            check("spec.memory.min is above spec.memory.max" in problem["reason"], f"why: {problem}")
            until(lambda: 'profiles{state="stale"} 1' in h.get("/metrics")[1], "the metric")
            equal(digest_of(h), second, "the last good one stays")
            warned = json.loads(ask(h, GOOD)[1])["response"]["warnings"]
            check("its newest version is not valid" in warned[0], f"the user isn't told: {warned}")

            put(path, "{")
            until(lambda: len(h.logged("a profile document can't be used: a profile keeps its last good version, pods of one without are denied")) > 1,
                  "the log line about the file")
            equal(digest_of(h), second, "the last good one stays, with a file that is no YAML")
            equal(h.get("/readyz"), (200, "ok\n"), "/readyz")

            put(path, profile())
            until(lambda: digest_of(h) == first, "the repaired profile's digest")
            path.unlink()
            until(lambda: "there is no ConfidentialProfile" in digest_of(h), "the denial")
            check('"default" (no annotation names one, so the default) in namespace "team-a"' in digest_of(h), digest_of(h))
            equal(h.stop(), 0, "exit status")


# ---- Connections and memory

def slow_request(connection, n):
    connection.sendall(b"POST /mutate-pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
                       + b" " * n)


@test("memory: bounded with 200 idle and 200 slow connections, and requests are served between them")
def _(w):
    with Webhook(PLAIN, w.folder) as h:
        serves(h)
        connections = [h.raw() for _ in range(400)]
        for i, connection in enumerate(connections[200:]):
            slow_request(connection, i * 10)
            if i % 20 == 0:
                serves(h)
        serves(h)
        rss = h.rss_kib()
        print(f"VmRSS with 400 connections: {rss} KiB")
        check(rss < 64 * 1024, f"VmRSS is {rss} KiB")
        values = parse_metrics(h.get("/metrics")[1])[1]
        check(values["coco_webhook_connections", ()] >= 400, "the connections aren't counted")
        for connection in connections:
            connection.close()
        until(lambda: parse_metrics(h.get("/metrics")[1])[1]["coco_webhook_connections", ()] <= 2, "they are closed")
        serves(h)


@test("memory: under 12 MiB while 2,000 reviews come over 8 connections")
def _(w):
    bodies = [path.read_bytes() for path in sorted(CORPUS.glob("*.json"))]
    with Webhook(PLAIN, w.folder) as h:
        def client(number):
            with contextlib.closing(h.connect()) as c:
                for i in range(250):
                    body = bodies[(i * 8 + number) % len(bodies)]
                    c.request("POST", "/mutate-pods", body, {"Content-Type": "application/json"})
                    answer = c.getresponse()
                    text = answer.read()
                    check(answer.status == 200 and b'"allowed":true' in text, f"answer {text[:200]!r}")
                return h.rss_kib()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            most = max(pool.map(client, range(8)))
        print(f"VmRSS: {most} KiB")
        check(most < 12 * 1024, f"VmRSS is {most} KiB")


# ---- The end

@test("SIGTERM: requests under way are answered, then exit status 0")
def _(w):
    with Webhook(SANITIZED, w.folder) as h, contextlib.closing(h.raw()) as under_way:
        body = encoded(review("under-way"))
        head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
        under_way.sendall(b"POST /mutate-pods HTTP/1.1\r\n" + head.encode() + b"\r\n")
        got = under_way.recv(65536)
        check(got.startswith(b"HTTP/1.1 100 "), f"the request isn't under way: {got!r}")
        under_way.sendall(body[:100])
        h.program.send_signal(15)
        until(lambda: h.logged("stopping"), "the log line 'stopping'")
        under_way.sendall(body[100:])
        answer = b""
        while b"}}}" not in answer:
            got = under_way.recv(65536)
            check(got, f"the connection ended: {answer!r}")
            answer += got
        check(answer.startswith(b"HTTP/1.1 200 ") and b'"uid":"under-way","allowed":true' in answer, f"answer {answer!r}")
        equal(h.program.wait(30), 0, "exit status")


@test("the sanitized server found nothing, and ends with exit status 0")
def _(w):
    serves(w.webhook)
    equal(w.webhook.stop(), 0, "exit status")
    strange = [line for line in w.webhook.lines if not line.startswith("{")]
    equal(strange, [], "what a sanitizer said")


main(world())
