#!/usr/bin/env python3
"""The ValidatingAdmissionPolicies of manifests/, by an engine for CEL in place of an API server that has them (1.30+):
test_policy.py COCOPIPE

By a table of pods, and over every pod that Tekton and Kubernetes really sent: what the webhook would change or refuse is
refused as it is, what the webhook has made of it is admitted, and what it leaves alone isn't concerned. policy_live.py has
a real API server say the same of the table.
"""

import concurrent.futures
import contextlib
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonpatch
import yaml
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from policy_cases import CASES, CHANGES, DEBUGS, EDITS, ENABLED, INITDATA, INJECTED, LABEL, TEKTON
from tap import check, equal, main, test

COCOPIPE = pathlib.Path(sys.argv.pop(1)).resolve()
POLICIES = ROOT / "manifests/components/admission-policy/policy.yaml"
CONDITIONS = ROOT / "manifests/components/match-conditions"
CORPUS = ROOT / "tests/data/corpus/tekton"
VARIABLES = ("object", "oldObject", "request", "namespaceObject", "variables")
ENV = cel.NewEnv(variables={name: cel.Type.DYN for name in VARIABLES}, extensions=[ext_strings.ExtStrings()])
PROFILE = """
apiVersion: pipelines.confidentialcontainers.org/v1alpha1
kind: ConfidentialProfile
metadata: {name: default, namespace: coco-pipelines-system, generation: 7}
spec: {initdata: {kbs: {url: "http://kbs.trustee.svc:8080"}}}
"""


class Policy:
    """A ValidatingAdmissionPolicy as an API server evaluates it."""

    def __init__(self, spec):
        self.selector = spec["matchConstraints"].get("namespaceSelector", {}).get("matchExpressions", [])
        self.conditions = [ENV.compile(c["expression"]) for c in spec.get("matchConditions", [])]
        self.variables = [(v["name"], ENV.compile(v["expression"])) for v in spec["variables"]]
        self.validations = spec["validations"]
        for v in self.validations:
            v["compiled"] = ENV.compile(v["expression"])

    def matches_namespace(self, labels):
        for want in self.selector:
            equal(want["operator"], "NotIn", "the operator, of which nothing else is known here")
            if labels.get(want["key"]) in want["values"]:
                return False
        return True

    def refusal(self, request, pod, old=None, namespace=None):
        """The message, or None where the pod is admitted."""
        labels = namespace or {}
        metadata = {"name": request["namespace"]} | ({"labels": labels} if labels else {})
        data = {"object": pod, "oldObject": old or {}, "request": request, "namespaceObject": {"metadata": metadata}}
        data["variables"] = {}
        if not self.matches_namespace(labels | {"kubernetes.io/metadata.name": request["namespace"]}):
            return None
        if not all(result(condition, data) for condition in self.conditions):
            return None
        for name, expression in self.variables:
            data["variables"][name] = result(expression, data)
        for validation in self.validations:
            if not result(validation["compiled"], data):
                if "messageExpression" in validation:
                    return result(ENV.compile(validation["messageExpression"]), data)
                return validation["message"]
        return None


def result(expression, data):
    got = expression.eval(data=data)
    check(got.type() != cel.Type.ERROR, f"CEL fails: {got.value()}")
    return got.plain_value()


def load():
    documents = list(yaml.safe_load_all(POLICIES.read_text()))
    return {d["metadata"]["name"]: Policy(d["spec"]) for d in documents if d["kind"] == "ValidatingAdmissionPolicy"}


def request(user=TEKTON, namespace="plain"):
    return {"userInfo": {"username": user}, "namespace": namespace}


def check_refusal(got, words, what):
    if words is None:
        equal(got, None, f"{what}: the refusal")
    else:
        check(got is not None and words in got, f"{what}: refused with {got!r}, which doesn't say {words!r}")


@test("pods are judged as the table says")
def _():
    policy = load()["coco-pipelines"]
    for case in CASES:
        got = policy.refusal(request(case.user), case.pod(), namespace=case.namespace)
        check_refusal(got, case.refused, case.name)


@test("ephemeral containers are judged as the table says")
def _():
    policy = load()["coco-pipelines-debug"]
    for case in DEBUGS:
        got = policy.refusal(request(), case.pod(case.has), case.pod(case.had), case.namespace)
        check_refusal(got, case.refused, case.name)


@test("what a confidential pod is known by stays, and no other gets it, as the table says")
def _():
    policy = load()["coco-pipelines-debug"]
    for case in CHANGES:
        before, after = case.pods()
        got = policy.refusal(request(), after, before, case.namespace)
        check_refusal(got, case.refused, case.name)


@test("our own namespace and kube-system are kept out")
def _():
    policy = load()["coco-pipelines"]
    for name in ("coco-pipelines-system", "kube-system"):
        labelled = next(case for case in CASES if case.name == "labelled, nothing done")
        equal(policy.refusal(request(namespace=name), labelled.pod()), None, f"the refusal in {name}")


@test("of its configurations the webhook may change caBundle alone")
def _():
    policy = load()["coco-pipelines-configurations"]
    text = (ROOT / "manifests/base/webhook/webhooks.yaml").read_text()
    for configuration in yaml.safe_load_all(text):
        for edit in EDITS:
            before, after = edit.on(configuration)
            got = policy.refusal(request(edit.user, ""), after, before)
            check_refusal(got, "caBundle" if edit.refused else None, f"{configuration['kind']}: {edit.name}")


def conditions(kind):
    """Webhook's name -> its match conditions, compiled."""
    webhooks = yaml.safe_load((CONDITIONS / f"{kind}.yaml").read_text())["webhooks"]
    return {w["name"]: [ENV.compile(c["expression"]) for c in w["matchConditions"]] for w in webhooks}


@test("of pods that are created, only affinity assistants aren't sent to the webhook")
def _():
    created = [c for kind in ("mutating", "validating") for name, c in conditions(kind).items() if ".update." not in name]
    equal(len(created), 6, "how many webhooks have the condition")
    for expressions in created:
        for case in CASES:
            sent = all(result(e, {"object": case.pod(), "request": request(case.user)}) for e in expressions)
            equal(sent, not case.name.startswith("affinity assistant"), f"whether it is sent: {case.name}")


# The annotations before and after, and whether the webhook is asked.
UPDATES = [
    ("none", None, None, False),
    ("another's is added", None, {"a": "b"}, False),
    ("another's changes", {"a": "b", INITDATA: "x"}, {"a": "c", INITDATA: "x"}, False),
    ("another's goes", {"a": "b"}, None, False),
    ("initdata stays", {INITDATA: "x"}, {INITDATA: "x", "a": "b"}, False),
    ("initdata comes", None, {INITDATA: "x"}, True),
    ("initdata changes", {INITDATA: "x"}, {INITDATA: "y"}, True),
    ("initdata goes", {INITDATA: "x", "a": "b"}, {"a": "b"}, True),
    ("all go", {INITDATA: "x"}, None, True),
    ("another of Kata's comes", {INITDATA: "x"}, {INITDATA: "x", "io.katacontainers.config.a": "b"}, True),
    ("injected comes", {}, {INJECTED: "{}"}, True),
    ("injected goes", {INJECTED: "{}"}, {}, True),
]
# The same of labels.
LABELS = [
    ("another label comes", {LABEL: "true"}, {LABEL: "true", "app": "a"}, False),
    ("our label comes", None, {LABEL: "true"}, True),
    ("our label comes to others", {"app": "a"}, {"app": "a", LABEL: "true"}, True),
    ("our label changes", {LABEL: "false"}, {LABEL: "true"}, True),
    ("our label goes", {LABEL: "true"}, None, False),
    ("a TaskRun's label comes", {"app": "a"}, {"app": "a", "tekton.dev/taskRun": "a"}, True),
    ("a TaskRun's label stays", {"tekton.dev/taskRun": "a"}, {"tekton.dev/taskRun": "a"}, False),
]


@test("of updates, the webhook is asked about what it guards")
def _():
    updated = [c for name, c in conditions("validating").items() if ".update." in name]
    equal(len(updated), 2, "how many webhooks have the condition")
    for expressions in updated:
        cases = [("annotations", *case) for case in UPDATES] + [("labels", *case) for case in LABELS]
        for part, name, before, after, asked in cases:
            pods = [{"metadata": {} if a is None else {part: a}} for a in (before, after)]
            sent = all(result(e, {"oldObject": pods[0], "object": pods[1]}) for e in expressions)
            equal(sent, asked, f"whether it is sent: {name}")


def recorded():
    """(name, review, labels of the namespace): every pod that was created, as it came, labelled, in an enabled namespace."""
    for path in sorted(CORPUS.glob("*.json")):
        review = json.loads(path.read_bytes())
        asked = review["request"]
        if asked["operation"] != "CREATE" or asked.get("subResource") or asked["resource"]["resource"] != "pods":
            continue
        if not isinstance(asked.get("object"), dict) or "metadata" not in asked["object"]:
            continue
        yield f"{path.name} as it came", review, {}
        yield f"{path.name} in an enabled namespace", review, ENABLED
        labelled = copy.deepcopy(review)
        labelled["request"]["object"]["metadata"].setdefault("labels", {})[LABEL] = "true"
        yield f"{path.name} labelled", labelled, {}


def inject(folder, review, enabled):
    """(exit status, patch) of what the webhook would do."""
    profiles = folder / ("enabled" if enabled else "plain")
    text = json.dumps(review)
    command = [COCOPIPE, "inject", "-f", "-", "--profiles", profiles, "-o", "patch"]
    got = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode in (0, 1), f"cocopipe inject exits with {got.returncode}: {got.stderr}")
    return got.returncode, json.loads(got.stdout) if got.returncode == 0 else None


def compare(policy, folder, name, review, labels):
    """The policy agrees with the webhook on one review. Returns what the webhook does."""
    asked = review["request"]
    before = asked["object"]
    # It is Namespaces that are enabled in the folder, so the policy's selector of namespaces stays out of it.
    ask = request(asked["userInfo"]["username"])
    refused = policy.refusal(ask, before, namespace=labels)
    status, patch = inject(folder, review, bool(labels))
    if status == 0 and patch:
        check(refused is not None, f"{name}: the webhook makes it confidential, and the policy admits it as it was")
        after = jsonpatch.apply_patch(before, patch)
        equal(policy.refusal(ask, after, namespace=labels), None, f"{name}: the refusal of what the webhook makes of it")
        return "confidential"
    if status == 0:
        equal(refused, None, f"{name}: the refusal of what the webhook leaves alone")
        return "left alone"
    bringing = before["spec"].get("runtimeClassName") and INITDATA in before["metadata"].get("annotations", {})
    check(refused is not None or bringing, f"{name}: the webhook denies it, and the policy admits it")
    return "denied"


@test("on every recorded pod the policy agrees with the webhook")
def _():
    policy = load()["coco-pipelines"]
    reviews = list(recorded())
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        names = sorted({review["request"].get("namespace") or "default" for _, review, _ in reviews})
        head = {"apiVersion": "v1", "kind": "Namespace"}
        enabled = [head | {"metadata": {"name": ns, "labels": ENABLED}} for ns in names]
        for kind, text in (("plain", PROFILE), ("enabled", PROFILE + "---\n" + yaml.safe_dump_all(enabled))):
            (folder / kind).mkdir()
            (folder / kind / "profiles.yaml").write_text(text)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(2))
        done = list(pool.map(lambda row: compare(policy, folder, *row), reviews))
    counts = {outcome: done.count(outcome) for outcome in set(done)}
    print(counts)
    for outcome, least in (("confidential", 100), ("left alone", 100), ("denied", 5)):
        check(counts.get(outcome, 0) >= least, f"only {counts.get(outcome, 0)} were {outcome}")


main()
