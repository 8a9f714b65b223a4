#!/usr/bin/env python3
"""What must hold for every review that Tekton and Kubernetes really sent: test_corpus.py COCOPIPE COCO-WEBHOOK

Each is judged as it came, with the label added, and in an enabled namespace; offline and by a live server. What is
selected, and what may change in a pod, is written down here once more, on its own.
"""

import base64
import concurrent.futures
import contextlib
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonpatch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from live import Webhook  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

COCOPIPE, WEBHOOK = sys.argv[1:3]
del sys.argv[1:3]
CORPUS = HERE.parent / "data" / "corpus" / "tekton"

P = "pipelines.confidentialcontainers.org/"
KATA = "io.katacontainers.config.hypervisor."
PROFILE = f"""
apiVersion: {P}v1alpha1
kind: ConfidentialProfile
metadata: {{name: default, namespace: coco-pipelines-system, generation: 7}}
spec:
  allowedRuntimeClasses: [gvisor, kata, kata-oh]
  initdata: {{kbs: {{url: "http://kbs.trustee.svc:8080"}}}}
"""

# Every place in a pod that may differ afterwards, and nothing else: the contract, with CRI-O's sizing.
MAY_CHANGE = re.compile(
    "|".join(
        [
            "/spec/runtimeClassName",
            f"/metadata/annotations/{re.escape(KATA)}(cc_init_data|default_memory)",
            f"/metadata/annotations/{re.escape(P[:-1])}~1injected",
            "/spec/containers/[0-9]+/resources/(requests|limits)/memory",
        ]
    )
)

# Selected reviews that are denied, and by what the message names.
FOREIGN = "annotation io.katacontainers.config.hypervisor.cc_init_data is set on the pod"
DENIED = {
    "bare__bare-kata-cc.json": FOREIGN,
    "bare__bare-mem-max.json": "the pod needs a VM of",
    "bare__bare-mem-over.json": "the pod needs a VM of",
    "bare__bare-no-containers.json": "spec.containers is empty",
    "bare__bare-os-windows.json": 'spec.os.name is "windows"',
    "chain-mutate__mutate-over-kata-pod__2.json": FOREIGN,
    "chain-mutate__mutate-plain-pod__2.json": FOREIGN,
    "taskrun__kata-annotations-preset.json": FOREIGN,
    "taskrun__mutate-over-kata__2.json": FOREIGN,
    "taskrun__mutate-reinvoke__2.json": FOREIGN,
}

# A user's edit of a size, which a pod that is selected doesn't allow.
GUARDED = "update__single-step-pod__2.json"


class Review:
    def __init__(self, path, how):
        self.name = path.name
        self.how = how
        self.tree = json.loads(path.read_bytes())
        self.request = self.tree["request"]
        # As it came, byte for byte; with a change, as the API server would write it.
        self.text = path.read_bytes()
        pod = self.request.get("object")
        if how == "labelled" and isinstance(pod, dict) and "metadata" in pod:
            for one in (pod, self.request.get("oldObject")):
                if one:
                    one["metadata"].setdefault("labels", {})[P + "confidential"] = "true"
            self.text = json.dumps(self.tree, separators=(",", ":")).encode()

    def __repr__(self):
        return f"{self.name} ({self.how})"

    def selected(self):
        request, pod = self.request, self.request.get("object")
        if request["operation"] != "CREATE" or request.get("subResource"):
            return False
        labels = pod["metadata"].get("labels", {})
        by_controller = request["userInfo"]["username"] == "system:serviceaccount:kube-system:statefulset-controller"
        owners = pod["metadata"].get("ownerReferences", [])
        if by_controller and any(o["name"].startswith("affinity-assistant-") for o in owners):
            return False
        if labels.get(P + "confidential") == "true":
            return True
        return self.how == "enabled namespace" and "tekton.dev/taskRun" in labels


PATHS = sorted(CORPUS.glob("*.json"))
HOWS = ("as it came", "labelled", "enabled namespace")
REVIEWS = [Review(path, how) for how in HOWS for path in PATHS]


class World:
    """The profiles and a live server, without and with namespaces that are enabled."""

    def __init__(self, folder, stack):
        self.folders, self.servers = {}, {}
        namespaces = sorted({r.request.get("namespace") or "default" for r in REVIEWS})
        enabled = "".join(
            f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: '{n}', labels: {{{P}confidential: enabled}}}}\n"
            for n in namespaces)
        for name, text in (("plain", PROFILE), ("enabled", PROFILE + enabled)):
            self.folders[name] = pathlib.Path(folder, name)
            self.folders[name].mkdir()
            (self.folders[name] / "profiles.yaml").write_text(text)
            self.servers[name] = stack.enter_context(Webhook(WEBHOOK, self.folders[name]))

    @staticmethod
    def of(review):
        return "enabled" if review.how == "enabled namespace" else "plain"

    def inject(self, review, output, text=None):
        got = subprocess.run([COCOPIPE, "inject", "-f", "-", "--profiles", self.folders[self.of(review)], "-o", output],
                             input=text or review.text, capture_output=True, timeout=30, check=False)
        check(got.returncode in (0, 1), f"{review}: exit status {got.returncode}: {got.stderr.decode()}")
        return got

    def ask(self, review, path, tree=None):
        text = review.text if tree is None else json.dumps(tree).encode()
        status, body = self.servers[self.of(review)].post(path + "?timeout=10s", text)
        equal(status, 200, f"{review}: HTTP status")
        return body


@contextlib.contextmanager
def world():
    with tempfile.TemporaryDirectory(prefix="coco-corpus-") as folder, contextlib.ExitStack() as stack:
        yield World(folder, stack)


_answers = {}


def answer(w, review):
    """The live server's answer, once."""
    if review not in _answers:
        _answers[review] = w.ask(review, "/mutate-pods")
    return _answers[review]


def response(w, review):
    tree = json.loads(answer(w, review))
    equal((tree["kind"], tree["apiVersion"]), ("AdmissionReview", "admission.k8s.io/v1"), f"{review}: what it is")
    return tree["response"]


def patch_of(answer_response):
    if "patch" not in answer_response:
        return None
    equal(answer_response["patchType"], "JSONPatch", "patchType")
    return json.loads(base64.b64decode(answer_response["patch"], validate=True))


def mutated(w, review):
    patch = patch_of(response(w, review))
    return jsonpatch.JsonPatch(patch).apply(review.request["object"]) if patch else None


def leaves(tree, at=""):
    """Pointer -> value of everything that isn't a map or list; empty maps and lists count as values."""
    if isinstance(tree, dict) and tree:
        pairs = [(key.replace("~", "~0").replace("/", "~1"), value) for key, value in tree.items()]
    elif isinstance(tree, list) and tree:
        pairs = list(enumerate(tree))
    else:
        return {at: json.dumps(tree)}
    found = {}
    for key, value in pairs:
        found |= leaves(value, f"{at}/{key}")
    return found


def each(function, reviews):
    """Calls for every review, a few at a time; the first failure is raised."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(function, review) for review in reviews]:
            done.result()


@test("the corpus is there, and has all kinds")
def _(_w):
    check(len(PATHS) >= 150, f"only {len(PATHS)} reviews")
    picked = [r for r in REVIEWS if r.selected()]
    check(len([r for r in picked if r.how == "labelled"]) >= 90, "too few selected by label")
    check(len([r for r in picked if r.how == "enabled namespace"]) >= 70, "too few selected by namespace")
    equal([r for r in picked if r.how == "as it came"], [], "selected as they came")


@test("an answer has the review's uid, and is allowed unless a rule denies it")
def _(w):
    for review in REVIEWS:
        got = response(w, review)
        equal(got["uid"], review.request["uid"], f"{review}: uid")
        denied = review.selected() and review.name in DENIED
        equal(got["allowed"], not denied, f"{review}: allowed ({got.get('status')})")
        if denied:
            check(DENIED[review.name] in got["status"]["message"], f"{review}: {got['status']['message']}")
            check("patch" not in got, f"{review}: denied, with a patch")


@test("what isn't selected gets nothing but allowed: true, and a word for the audit log")
def _(w):
    for review in REVIEWS:
        if not review.selected():
            got = response(w, review)
            audit = got.pop("auditAnnotations")
            equal(got, {"uid": review.request["uid"], "allowed": True}, f"{review}")
            equal((audit["decision"], list(audit)), ("allowed", ["decision", "reason"]), f"{review}: audit annotations")


@test("everything selected and not denied is mutated, affinity assistants are not")
def _(w):
    for review in REVIEWS:
        want = review.selected() and review.name not in DENIED
        equal(patch_of(response(w, review)) is not None, want, f"{review}: has a patch")
        if "affinity-assistant" in review.name:
            check(not want, f"{review}: an assistant is selected")


@test("a bare pod with the label is selected, Tekton's or not")
def _(w):
    bare = [r for r in REVIEWS if r.how == "labelled" and r.name.startswith(("bare", "job", "deployment", "statefulset"))]
    check(len(bare) >= 8, f"only {len(bare)} of them")
    for review in bare:
        equal(patch_of(response(w, review)) is not None, review.name not in DENIED, f"{review}: has a patch")


@test("nothing but what the contract names changes")
def _(w):
    for review in REVIEWS:
        after = mutated(w, review)
        if after is None:
            continue
        old, new = leaves(review.request["object"]), leaves(after)
        changed = {at for at in old.keys() | new.keys() if old.get(at) != new.get(at)}
        # An empty map that gets a member is no leaf any more.
        changed = {at for at in changed if not (old.get(at) == "{}" and at not in new)}
        strange = [at for at in changed if not MAY_CHANGE.fullmatch(at)]
        equal(strange, [], f"{review}: changed besides")
        check(len({at.split("/")[3] for at in changed if at.startswith("/spec/containers")}) <= 1,
              f"{review}: more than one container changed")


@test("what is written: class, initdata, size, note, and requests that say the same")
def _(w):
    initdata = subprocess.run([COCOPIPE, "initdata", "build", "--profile", w.folders["plain"] / "profiles.yaml"],
                              capture_output=True, text=True, check=True).stdout.strip()
    for review in REVIEWS:
        after = mutated(w, review)
        if after is None:
            continue
        annotations = after["metadata"]["annotations"]
        note = json.loads(annotations[P + "injected"])
        check(after["spec"]["runtimeClassName"] in ("kata-cc", "gvisor", "kata", "kata-oh"), f"{review}: class")
        equal(annotations[KATA + "cc_init_data"], initdata, f"{review}: initdata")
        equal(annotations[KATA + "default_memory"], str(note["vmMiB"]), f"{review}: size")
        equal((note["profile"], note["generation"]), ("coco-pipelines-system/default", 7), f"{review}: note")
        check(2048 <= note["vmMiB"] <= 65536, f"{review}: {note['vmMiB']} MiB")
        audit = response(w, review)["auditAnnotations"]
        known = ("mutated", "Mutated", "coco-pipelines-system/default", "7", str(note["vmMiB"]), note["initdata"])
        told = [audit[key] for key in ("decision", "reason", "profile", "generation", "vm-mib", "initdata")]
        equal(told, list(known), f"{review}: audit annotations")


@test("a second call, with our own output and a new uid, changes nothing")
def _(w):
    for review in REVIEWS:
        after = mutated(w, review)
        if after is None:
            continue
        again = copy.deepcopy(review.tree)
        again["request"] |= {"object": after, "uid": "again-" + review.request["uid"]}
        # What Kubernetes' own plugins add between the two.
        after["spec"] |= {"overhead": {"memory": "350Mi"}, "nodeSelector": {"kata": "true"}}
        got = json.loads(w.ask(review, "/mutate-pods", again))["response"]
        equal((got["uid"], got["allowed"], got.get("patch")), (again["request"]["uid"], True, None), f"{review}: again")
        equal(got["auditAnnotations"]["reason"], "AlreadyConfidential", f"{review}: again")
        equal(got.get("warnings"), response(w, review).get("warnings"), f"{review}: warnings, again")
        checked = json.loads(w.ask(review, "/validate-pods", again))["response"]
        equal((checked["allowed"], checked.get("patch")), (True, None), f"{review}: validated")


@test("validation refuses what was selected and not mutated, and nothing else")
def _(w):
    for review in REVIEWS:
        got = json.loads(w.ask(review, "/validate-pods"))["response"]
        refused = review.selected() or (review.name == GUARDED and review.how != "as it came")
        equal((got["uid"], got["allowed"]), (review.request["uid"], not refused), f"{review}")
        check("patch" not in got, f"{review}: a validating webhook must not patch")


@test("dry runs are answered alike")
def _(w):
    for review in REVIEWS:
        other = copy.deepcopy(review.tree)
        other["request"]["dryRun"] = not review.request.get("dryRun", False)
        equal(w.ask(review, "/mutate-pods", other), answer(w, review), f"{review}: dryRun the other way")


@test("the live server's answer is what `inject -o review` prints, byte for byte")
def _(w):
    for review in REVIEWS:
        answer(w, review)

    def compare(review):
        got = w.inject(review, "review")
        equal(got.stdout, answer(w, review) + b"\n", f"{review}")
        equal(got.returncode, 0 if b'"allowed":true' in got.stdout else 1, f"{review}: exit status")

    each(compare, REVIEWS)


@test("`inject -o json` prints what an independent library makes of the patch")
def _(w):
    labelled = [r for r in REVIEWS if r.how == "labelled"]
    for review in labelled:
        answer(w, review)

    def compare(review):
        if not response(w, review)["allowed"]:
            equal(w.inject(review, "json").stdout, b"", f"{review}: the pod of a denial")
            return
        equal(json.loads(w.inject(review, "patch").stdout), patch_of(response(w, review)) or [], f"{review}: patch")
        want = mutated(w, review) or review.request.get("object")
        got = w.inject(review, "json").stdout
        equal(json.loads(got) if got else None, want, f"{review}: pod")

    each(compare, labelled)


main(world())
