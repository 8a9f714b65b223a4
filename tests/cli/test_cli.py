#!/usr/bin/env python3
"""cocopipe as a person meets it: exit statuses, outputs, messages. test_cli.py COCOPIPE"""

import base64
import contextlib
import copy
import gzip
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonpatch
import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from tap import check, equal, main, test  # noqa: E402

COCOPIPE = os.path.abspath(sys.argv.pop(1))
VECTORS = HERE.parent / "data" / "vectors" / "initdata"
REVIEW = HERE.parent / "data" / "corpus" / "tekton" / "taskrun__single-step.json"
P = "pipelines.confidentialcontainers.org/"
INITDATA = "io.katacontainers.config.hypervisor.cc_init_data"


def profile(name="default", ns="coco-pipelines-system", more=""):
    return f"""apiVersion: {P}v1alpha1
kind: ConfidentialProfile
metadata: {{name: {name}{', namespace: ' + ns if ns else ''}}}
spec: {{initdata: {{kbs: {{url: "http://kbs:8080"}}}}{more}}}
"""


POD = f"""apiVersion: v1
kind: Pod
metadata:
  name: a
  labels: {{{P}confidential: "true"}}
spec:
  containers:
  - {{name: step-a, image: img}}
"""


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="coco-cli-") as path:
        os.chdir(path)
        files = {
            "pod.yaml": POD,
            "pod.json": json.dumps(yaml.safe_load(POD)),
            "plain.yaml": POD.replace('"true"', '"false"'),
            "hostnet.yaml": POD + "  hostNetwork: true\n",
            "profile.yaml": profile(),
            "other.yaml": profile("team-x", "team-ns"),
            "two.yaml": profile() + "---\n" + profile("second"),
            "bad-profile.yaml": profile(more=", memory: {min: 8Gi, max: 4Gi}"),
            "typo-profile.yaml": profile(more=", memory: {mim: 8Gi}"),
            "broken.yaml": "kind: Pod\n  metadata: [\n",
            "deployment.yaml": "kind: Deployment\n",
            "empty": "",
            "review.json": REVIEW.read_text(),
        }
        for name, text in files.items():
            pathlib.Path(name).write_text(text)
        yield path
        os.chdir("/")


def run(*arguments, text="", env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCO_")}
    got = subprocess.run([COCOPIPE, *arguments], input=text.encode() if isinstance(text, str) else text,
                         capture_output=True, timeout=30, check=False, env=clean | (env or {}))
    return got.returncode, got.stdout.decode(), got.stderr.decode()


def status(want, *arguments, **more):
    """Standard output and error of a run that must end with this exit status."""
    code, out, err = run(*arguments, **more)
    equal(code, want, f"exit status of {' '.join(arguments)} ({err.strip()})")
    return out, err


# ---- Help, versions, mistakes in the command line

HELP = {
    (): ["inject", "explain", "render", "doctor", "initdata", "seal", "unseal"],
    ("initdata",): ["build", "show", "digest", "lint", "diff"],
    ("inject",): ["-f, --file FILE", "--profile FILE", "--profiles DIR", "-n, --namespace NS", "--as USER",
                  "--server", "--kubeconfig FILE", "--context NAME", "--system-namespace NS", "-o, --output FORMAT", "-h, --help", "--version"],
    ("explain",): ["-f, --file FILE", "--profile FILE", "--profiles DIR", "-n, --namespace NS", "--as USER",
                   "--server", "--kubeconfig FILE", "--context NAME", "--system-namespace NS", "-h, --help", "--version"],
    ("render",): ["-f, --file FILE", "-n, --namespace NS", "-o, --output FORMAT", "--has KINDS", "--diff",
                  "--keep FOLDER", "--kubeconfig FILE", "--context NAME", "--kbs-image IMAGE",
                  "--kbs-grpc-image IMAGE", "--as-image IMAGE", "--rvps-image IMAGE", "-h, --help", "--version"],
    ("doctor",): ["-n, --namespace NS", "-o, --output FORMAT", "--kubeconfig FILE", "--context NAME",
                  "--system-namespace NS", "-h, --help", "--version"],
    ("initdata", "build"): ["-f, --file FILE", "--profile FILE", "--name NAME", "--system-namespace NS",
                            "-o, --output FORMAT", "-h, --help", "--version"],
    ("initdata", "show"): ["-f, --file FILE", "-h, --help", "--version"],
    ("initdata", "digest"): ["-f, --file FILE", "-o, --output FORMAT", "-h, --help", "--version"],
    ("initdata", "lint"): ["-f, --file FILE", "-h, --help", "--version"],
    ("initdata", "diff"): ["-h, --help", "--version"],
    ("seal",): ["-r, --resource URI", "--key FILE", "--kid URI", "--unsigned", "--provider NAME", "--provider-settings JSON",
                "--annotations JSON", "-o, --output FORMAT", "--name NAME", "-n, --namespace NS", "--data-key KEY",
                "-h, --help", "--version"],
    ("unseal",): ["-f, --file FILE", "--key FILE", "--certificate FILE", "--unsigned", "-o, --output FORMAT", "-h, --help",
                  "--version"],
}

for _command, _words in HELP.items():
    @test(f"--help, --version and mistakes: cocopipe {' '.join(_command)}")
    def _(_folder, command=_command, words=_words):
        out, err = status(0, *command, "--help")
        equal(status(0, *command, "-h"), (out, err), "-h")
        check(out.startswith(f"Usage: {' '.join(['cocopipe', *command])} ") and err == "", f"help: {out!r} {err!r}")
        lines = [line.strip() for line in out.splitlines()]
        missing = [w for w in words if not any(line.startswith(w) for line in lines)]
        equal(missing, [], "not in the help")
        options = [line for line in lines if line.startswith("-")]
        equal(len(options), len([w for w in words if w.startswith("-")]), "number of options")
        check(re.fullmatch(r"cocopipe [0-9]+\.[0-9]+\.[0-9]+[^\s]*\n", status(0, *command, "--version")[0]), "version")
        for wrong in ("--frob", "-x", "--frob=1"):
            out, err = status(2, *command, wrong)
            check(out == "" and wrong.split("=")[0] in err, f"{wrong}: {err!r}")
        if command != ("doctor",):  # it needs none, but a cluster
            status(2, *command)
        status(2, *command, "surplus", "words", "here")


@test("an unknown command is named")
def _(_):
    check('unknown command "frob"' in status(2, "frob")[1], "cocopipe frob")
    check('cocopipe initdata: unknown command "frob"' in status(2, "initdata", "frob")[1], "cocopipe initdata frob")


@test("an option without its value is named")
def _(_):
    check("option -f needs a value" in status(2, "inject", "-f")[1], "-f")
    check("option --profile needs a value" in status(2, "inject", "--profile")[1], "--profile")


# ---- inject

@test("inject: YAML is the default, JSON on demand, and both are the patch applied")
def _(_):
    common = ("inject", "--profile", "profile.yaml", "-f")
    patch = json.loads(status(0, *common, "pod.yaml", "-o", "patch")[0])
    want = jsonpatch.JsonPatch(copy.deepcopy(patch)).apply(yaml.safe_load(POD))
    equal(yaml.safe_load(status(0, *common, "pod.yaml")[0]), want, "-o yaml, by default")
    equal(yaml.safe_load(status(0, *common, "pod.yaml", "-o", "yaml")[0]), want, "-o yaml")
    equal(json.loads(status(0, *common, "pod.yaml", "-o", "json")[0]), want, "-o json")
    equal(json.loads(status(0, *common, "pod.json", "-o", "json")[0]), want, "-o json, from JSON")
    equal(json.loads(status(0, *common, "-", "-o", "json", text=POD)[0]), want, "-o json, from standard input")
    answer = json.loads(status(0, *common, "pod.yaml", "-o", "review")[0])["response"]
    equal((answer["uid"], answer["allowed"]), ("preview", True), "-o review")
    equal(json.loads(base64.b64decode(answer["patch"])), patch, "the patch of -o review")


@test("inject: what it prints is what it takes: a second time changes nothing")
def _(_):
    for form in ("yaml", "json"):
        out = status(0, "inject", "--profile", "profile.yaml", "-f", "pod.yaml", "-o", form)[0]
        again = status(0, "inject", "--profile", "profile.yaml", "-f", "-", "-o", "patch", text=out)
        equal(again, ("[]\n", ""), f"the second time, {form}")


@test("inject: a review is answered with its uid")
def _(_):
    out, err = status(0, "inject", "-f", "review.json", "-o", "review")
    request = json.loads(REVIEW.read_text())["request"]
    audit = {"decision": "allowed", "reason": "NotSelected"}
    equal(json.loads(out)["response"], {"uid": request["uid"], "allowed": True, "auditAnnotations": audit}, "the answer")
    equal(err, "left alone: NotSelected ('cocopipe explain' tells why)\n", "message")
    equal(status(0, "inject", "-f", "review.json", "-o", "patch")[0], "[]\n", "-o patch")
    equal(json.loads(status(0, "inject", "-f", "review.json", "-o", "json")[0]), request["object"], "-o json")


@test("inject: left alone is exit status 0, denied 1 with the reason, nothing on standard output")
def _(_):
    equal(status(0, "inject", "-f", "plain.yaml", "-o", "patch"), ("[]\n", "left alone: OptedOut ('cocopipe explain' tells "
                                                                   "why)\n"), "left alone")
    for form in ("yaml", "json", "patch"):
        out, err = status(1, "inject", "-f", "hostnet.yaml", "--profile", "profile.yaml", "-o", form)
        check(out == "" and err.startswith("denied: spec.hostNetwork is true; "), f"denied: {out!r} {err!r}")
    out, err = status(1, "inject", "-f", "pod.yaml", "-o", "review")
    equal(json.loads(out)["response"]["allowed"], False, "-o review of a denial")
    check('denied: there is no ConfidentialProfile "default"' in err, f"no profile: {err!r}")


@test("inject: nothing to print where a review has no object")
def _(_):
    review = json.loads(REVIEW.read_text())
    review["request"] |= {"operation": "DELETE", "object": None}
    for form in ("yaml", "json"):
        equal(status(0, "inject", "-f", "-", "-o", form, text=json.dumps(review))[0], "", f"-o {form}")


@test("inject: warnings are told, one a line")
def _(_):
    pod = yaml.safe_load(POD)
    pod["spec"]["volumes"] = [{"name": "v", "hostPath": {"path": "/"}}, {"name": "c", "persistentVolumeClaim": {}}]
    out, err = status(0, "inject", "-f", "-", "--profile", "profile.yaml", text=yaml.safe_dump(pod))
    lines = err.splitlines()
    check(len(lines) == 2 and all(line.startswith("Warning: spec.volumes[") for line in lines), err)


@test("messages from a pod don't control the terminal")
def _(_):
    pod = yaml.safe_load(POD)
    for where in ({"labels": {P + "confidential": "\x1b[2J\x7f\n"}},
                  {"annotations": {P + "profile": "\x1b]0;x\x07"}}, {"name": "a\x1b[31m"}):
        text = json.dumps(pod | {"metadata": pod["metadata"] | where})
        for command in (["inject", "-o", "patch"], ["explain"]):
            _, out, err = run(*command, "--profile", "profile.yaml", "-f", "-", text=text)
            bad = re.findall("[\x00-\x09\x0b-\x1f\x7f]", err + (out if command[0] == "explain" else ""))
            equal(bad, [], f"control characters from {command[0]} with {where}")


# ---- One profile alone

@test("a single --profile is used whatever its name and namespace, and that is said")
def _(_):
    out, err = status(0, "inject", "-f", "pod.yaml", "--profile", "other.yaml", "-o", "json")
    note = json.loads(json.loads(out)["metadata"]["annotations"][P + "injected"])
    equal(note["profile"], "team-ns/team-x", "profile")
    equal(err, f'note: profile "team-x" is used since it is the only one given; on a cluster, name it with annotation '
               f"{P}profile, or make it the namespace's {P}default-profile\n", "note")


@test("a single --profile named default needs no note; an annotation, a Namespace or a second profile turn the rule off")
def _(_):
    equal(status(0, "inject", "-f", "pod.yaml", "--profile", "profile.yaml")[1], "", "default")
    named = POD.replace("  name: a\n", f"  name: a\n  annotations: {{{P}profile: gone}}\n")
    check('no ConfidentialProfile "gone"' in status(1, "inject", "-f", "-", "--profile", "other.yaml", text=named)[1], "named")
    pathlib.Path("with-ns.yaml").write_text(profile("team-x", "team-ns") + "---\napiVersion: v1\nkind: Namespace\n"
                                            "metadata: {name: elsewhere}\n")
    check('no ConfidentialProfile "default"' in status(1, "inject", "-f", "pod.yaml", "--profile", "with-ns.yaml")[1],
          "with a Namespace")
    pathlib.Path("x2.yaml").write_text(profile("x2", "team-ns"))
    err = status(1, "inject", "-f", "pod.yaml", "--profile", "other.yaml", "--profile", "x2.yaml")[1]
    check('no ConfidentialProfile "default"' in err, f"two: {err}")


@test("--profiles, --namespace, --system-namespace, --as and the environment")
def _(_):
    pathlib.Path("dir").mkdir()
    pathlib.Path("dir/p.yaml").write_text(profile("default", "team-b") + "---\n" + profile("default", "sys"))
    def used(*arguments, env=None):
        out = status(0, "inject", "-f", "pod.yaml", "-o", "json", *arguments, env=env)[0]
        return json.loads(json.loads(out)["metadata"]["annotations"][P + "injected"])["profile"]
    equal(used("--profiles", "dir", "-n", "team-b"), "team-b/default", "-n")
    equal(used("--profiles", "dir", "--system-namespace", "sys"), "sys/default", "--system-namespace")
    equal(used(env={"COCO_PROFILES": "dir", "COCO_SYSTEM_NAMESPACE": "sys"}), "sys/default", "the environment")
    equal(used("--system-namespace=sys", env={"COCO_PROFILES": "dir", "COCO_SYSTEM_NAMESPACE": "no"}), "sys/default",
          "the option wins")
    pod = yaml.safe_load(POD)
    pod["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "affinity-assistant-0", "controller": True}]
    text = json.dumps(pod)
    check("AffinityAssistant" in status(0, "inject", "-f", "-", "--profile", "profile.yaml", text=text)[1], "an assistant")
    equal(status(0, "inject", "-f", "-", "--profile", "profile.yaml", "--as", "me", text=text)[1], "", "--as")


# ---- Mistakes in files

MISTAKES = {
    "no -f": (["inject"], ["say what to look at: -f FILE"]),
    "a file that isn't there": (["inject", "-f", "gone.yaml"], ["gone.yaml", "No such file"]),
    "a folder": (["inject", "-f", "."], ["Is a directory"]),
    "an empty file": (["inject", "-f", "empty"], ["empty holds 0 documents; give it exactly one object"]),
    "two documents": (["inject", "-f", "two.yaml"], ["two.yaml holds 2 documents"]),
    "YAML that isn't": (["inject", "-f", "broken.yaml"], ["broken.yaml: line 2, column"]),
    "another kind": (["inject", "-f", "deployment.yaml"], ['deployment.yaml is of kind "Deployment"', "give the Pod"]),
    "an output that isn't": (["inject", "-f", "pod.yaml", "-o", "xml"],
                             ['-o is "xml"; it must be yaml, json, patch or review']),
    "a profile file that isn't there": (["inject", "-f", "pod.yaml", "--profile", "gone"], ["--profile", "gone"]),
    "a profile file that is no YAML": (["inject", "-f", "pod.yaml", "--profile", "broken.yaml"],
                                       ["--profile", "broken.yaml", "line 2"]),
    "a folder of profiles that isn't there": (["inject", "-f", "pod.yaml", "--profiles", "gone"], ["gone"]),
    "explain: no -f": (["explain"], ["say what to look at: -f FILE"]),
    "explain: YAML that isn't": (["explain", "-f", "broken.yaml"], ["broken.yaml: line 2, column"]),
    "build: neither": (["initdata", "build"], ["give either -f FILE", "or --profile FILE"]),
    "build: both": (["initdata", "build", "-f", "x", "--profile", "profile.yaml"], ["give either -f FILE"]),
    "build: a file that isn't there": (["initdata", "build", "-f", "gone"], ["gone", "No such file"]),
    "build: an output that isn't": (["initdata", "build", "-f", "x", "-o", "yaml"], ["-o must be annotation or toml"]),
    "show: a pod without it": (["initdata", "show", "-f", "pod.yaml"], ["pod.yaml", INITDATA]),
    "show: empty": (["initdata", "show", "-f", "empty"], ["empty: it is empty"]),
    "digest: an output that isn't": (["initdata", "digest", "-f", str(VECTORS / "initdata.toml"), "-o", "xml"],
                                     ["-o must be text or json"]),
    "diff: one file": (["initdata", "diff", str(VECTORS / "initdata.toml")], ["name both"]),
    "diff: a file that isn't there": (["initdata", "diff", "gone", str(VECTORS / "initdata.toml")], ["gone"]),
}

for _name, (_arguments, _words) in MISTAKES.items():
    @test(f"a mistake, exit status 2: {_name}")
    def _(_folder, arguments=_arguments, words=_words):
        out, err = status(2, *arguments)
        equal(out, "", "standard output")
        for word in words:
            check(word in err, f"{word!r} is not in {err!r}")


@test("a profile that can't be used is told with file, line, field, value and remedy")
def _(_):
    out, err = status(1, "inject", "-f", "pod.yaml", "--profile", "bad-profile.yaml")
    check("bad-profile.yaml:1: profile coco-pipelines-system/default: spec.memory.min is above spec.memory.max; raise max or "
          "lower min\n" in err, err)
    check("denied: ConfidentialProfile \"default\"" in err, err)
    out, err = status(1, "inject", "-f", "pod.yaml", "--profile", "typo-profile.yaml")
    check("spec.memory.mim" in err, f"an unknown field passes: {err}")


# ---- explain

@test("explain: each rule in order with its outcome, and a conclusion")
def _(_):
    out, err = status(0, "explain", "-f", "pod.yaml", "--profile", "profile.yaml")
    lines = out.splitlines()
    check(re.match(r"RULE +OUTCOME +WHY$", lines[0]), out)
    rules = [re.split(" {2,}", line)[:2] for line in lines[1:-2]]
    equal([r[:2] for r in rules],
          [["is Tekton's affinity assistant", "no"], [f"is labelled {P}confidential", "selected"], ["which profile", "found"],
           ["the profile can be used", "yes"], ["memory", "sized"], ["result", "confidential"]], "rules")
    equal(lines[-1], "Pod a of namespace coco-pipelines-system: confidential.", "conclusion")
    equal(err, "", "standard error")
    out, _ = status(1, "explain", "-f", "hostnet.yaml", "--profile", "profile.yaml")
    check("denied (HostNetwork): spec.hostNetwork is true" in out.splitlines()[-1], out)
    out, _ = status(0, "explain", "-f", "review.json")
    equal(out.splitlines()[-1], "Pod single-step-pod of namespace team-a: left alone (NotSelected).", "left alone")


# ---- initdata

WANT = json.loads((VECTORS / "result.json").read_text())
TOML = (VECTORS / "initdata.toml").read_bytes()


def forms():
    annotation = (VECTORS / "annotation.txt").read_text().strip()
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {INITDATA: annotation}}, "spec": {}}
    yield "TOML", TOML
    yield "gzip", (VECTORS / "initdata.toml.gz").read_bytes()
    yield "annotation", annotation
    yield "annotation with a line end", annotation + "\n"
    yield "pod in JSON", json.dumps(pod)
    yield "pod in YAML", yaml.safe_dump(pod)
    yield "review", json.dumps({"kind": "AdmissionReview", "request": {"object": pod}})


@test("initdata show: every form becomes the same bytes")
def _(_):
    for name, text in forms():
        equal(status(0, "initdata", "show", "-f", "-", text=text)[0].encode(), TOML, name)


@test("initdata digest: as each platform shows it, from every form")
def _(_):
    want = {"algorithm": "sha256", "digest": WANT["digest_hex"], "snpHostData": WANT["snp_hostdata_hex_32"],
            "tdxMrConfigId": WANT["tdx_mrconfigid_hex_48"], "ccaPersonalization": WANT["cca_personalization_hex_64"],
            "azurePcr8": WANT["vtpm_pcr8_sha256_hex"]}
    for name, text in forms():
        equal(json.loads(status(0, "initdata", "digest", "-f", "-", "-o", "json", text=text)[0]), want, name)
    text = status(0, "initdata", "digest", "-f", str(VECTORS / "initdata.toml"))[0]
    equal([line.split()[-1] for line in text.splitlines()], list(want.values())[1:], "as text")


@test("initdata digest: other algorithms, truncated and padded, and no PCR8")
def _(_):
    for algorithm in ("sha384", "sha512"):
        toml = TOML.replace(b'"sha256"', f'"{algorithm}"'.encode())
        digest = hashlib.new(algorithm, toml).hexdigest()
        got = json.loads(status(0, "initdata", "digest", "-f", "-", "-o", "json", text=toml)[0])
        equal((got["digest"], got["snpHostData"], got["tdxMrConfigId"]), (digest, digest[:64], digest[:96]), algorithm)
        equal(got["ccaPersonalization"], digest.ljust(128, "0"), algorithm)
        check("azurePcr8" not in got, f"PCR8 of {algorithm}")


@test("initdata build: an annotation that others can read, the same every time")
def _(_):
    out = status(0, "initdata", "build", "-f", str(VECTORS / "initdata.toml"))[0]
    equal(gzip.decompress(base64.b64decode(out, validate=False)), TOML, "unpacked")
    check(re.fullmatch(r"[A-Za-z0-9+/]+=*\n", out), "base64 on one line")
    equal(status(0, "initdata", "build", "-f", "-", text=TOML)[0], out, "again")
    equal(status(0, "initdata", "build", "-f", "-", "-o", "toml", text=out)[0].encode(), TOML, "-o toml")


@test("initdata build --profile: what inject puts on the pod")
def _(_):
    pod = json.loads(status(0, "inject", "-f", "pod.yaml", "--profile", "profile.yaml", "-o", "json")[0])
    out = status(0, "initdata", "build", "--profile", "profile.yaml")[0]
    equal(out.strip(), pod["metadata"]["annotations"][INITDATA], "annotation")
    note = json.loads(pod["metadata"]["annotations"][P + "injected"])
    digest = json.loads(status(0, "initdata", "digest", "-f", "-", "-o", "json", text=out)[0])
    equal(note["initdata"], "sha256:" + digest["digest"], "digest")
    check("2 profiles; choose one with --name" in status(1, "initdata", "build", "--profile", "two.yaml")[1], "two profiles")
    status(0, "initdata", "build", "--profile", "two.yaml", "--name", "second")
    check("is not valid" in status(1, "initdata", "build", "--profile", "bad-profile.yaml")[1], "a bad profile")


@test("initdata build: what the guest would refuse is refused")
def _(_):
    for toml, word in ((TOML.replace(b"0.1.0", b"0.2.0"), "0.1.0"), (TOML.replace(b'"sha256"', b'"sha-256"'), "sha-256"),
                       (b'version = "0.1.0"\nalgorithm = "sha256"\n', "data"), (b'a = \n', "line 1")):
        err = status(1, "initdata", "build", "-f", "-", text=toml)[1]
        check(word in err, f"{word!r} is not in {err!r}")


@test("initdata lint: nothing, a warning, an error")
def _(_):
    clean = TOML.replace(b"http://", b"https://")
    out, _err = status(0, "initdata", "lint", "-f", "-", text=clean)
    equal(out, "", "nothing found")
    out, _err = status(1, "initdata", "lint", "-f", str(VECTORS / "initdata.toml"))
    check(": warning: data.\"aa.toml\".token_configs.kbs.url: " in out and "plain http" in out, out)
    bad = clean.replace(b"default SetPolicyRequest := false", b"default SetPolicyRequest := true")
    out, _err = status(1, "initdata", "lint", "-f", "-", text=bad)
    check("SetPolicyRequest" in out, out)
    out, _err = status(1, "initdata", "lint", "-f", "-", text=clean.replace(b'"sha256"', b'"md5"'))
    check(": error: " in out and "md5" in out, out)


@test("initdata diff: the same, other settings, other bytes only")
def _(_):
    toml = str(VECTORS / "initdata.toml")
    equal(status(0, "initdata", "diff", toml, str(VECTORS / "annotation.txt")), ("", ""), "the same in two forms")
    pathlib.Path("changed.toml").write_bytes(TOML.replace(b"http://", b"https://"))
    out, _err = status(1, "initdata", "diff", toml, "changed.toml")
    check(f"- digest               {WANT['digest_hex']}" in out, out)
    check("aa.toml\n" in out and re.search(r"^  - .*http://", out, re.M) and re.search(r"^  \+ .*https://", out, re.M), out)
    check("policy.rego" not in out, f"what is the same is told too: {out}")
    pathlib.Path("spaced.toml").write_bytes(TOML + b"\n")
    out, _err = status(1, "initdata", "diff", toml, "spaced.toml")
    check("The settings are the same; the bytes, and so the measurement, are not." in out, out)


main(folder())
