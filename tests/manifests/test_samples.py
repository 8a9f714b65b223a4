#!/usr/bin/env python3
"""The samples as files, without a cluster: opt-in by one label, sealed secrets that verify, scripts that do what they say.
test_samples.py COCOPIPE

The scripts of the signing pipeline run here as they stand, step after step, with a KBS of the test's on loopback, a git
repository in a folder, and programs in place of buildah.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

import samples
from samples import DOCS, LABEL, NAMES, objects, of_kind
from tap import check, equal, main, test

COCOPIPE = os.path.abspath(sys.argv.pop(1))
# Of the steps' scripts: Tekton fills in $(results.X.path), which the shell would take for a command.
NOT_TEKTONS = "SC1091,SC2154"
IMAGE, TAG, DIGEST = "registry.example.com/team/app", "v1.0.0", "sha256:" + "ab" * 32
SEALING = "kbs:///default/sealing/public.jwk"
BUILDAH = f"""#!/bin/sh
set -eu
[ "$1" = push ] || exit 0
while [ "$1" != --digestfile ]; do shift; done
echo {DIGEST} >"$2"
"""


# ---- The files


@test("every sample has a page, and every page a sample")
def _():
    pages = sorted(page.stem for page in DOCS.glob("*.md"))
    equal(pages, sorted([*NAMES, "README"]), "pages of docs/samples")
    listed = re.findall(r"\]\(([a-z-]+)\.md\)", (DOCS / "README.md").read_text())
    equal(sorted(set(listed)), NAMES, "what its README lists")


@test("every command that a page shows names files that are there")
def _():
    for page in DOCS.glob("*.md"):
        named = re.findall(r"(?<![\w/-])(?:manifests|hack|tests)/[\w./-]*\w/?", page.read_text())
        absent = [path for path in named if "NAME" not in path and not (ROOT / path).exists()]
        equal(absent, [], f"paths in {page.name} that lead nowhere")


@test("what is run opts in by the one label, its own or its namespace's, and by nothing of Kata's")
def _():
    enabled = {o["metadata"]["name"] for o in of_kind("Namespace") if o["metadata"].get("labels", {}).get(LABEL) == "enabled"}
    ordinary = []
    for name in NAMES:
        for object in objects(name, "run"):
            if object["kind"] not in ("Pod", "TaskRun", "PipelineRun"):
                continue
            text = json.dumps(object)
            more = "katacontainers" in text or "runtimeClassName" in text
            check(not more, f"{samples.key(object)} says more than it must")
            label = object["metadata"].get("labels", {}).get(LABEL)
            if label != "true" and object["metadata"]["namespace"] not in enabled:
                ordinary.append(object["metadata"]["name"])
    equal(ordinary, ["standard"], "what runs unprotected")


@test("images are named by a version, and profiles by one that is there")
def _():
    profiles = {samples.key(profile) for profile in of_kind("ConfidentialProfile")}
    for run in samples.runs():
        pod = samples.pod_of_run(*run)
        for container in pod["spec"]["containers"]:
            check(re.search(r":[\w.-]*\d[\w.-]*$", container["image"]), f"{container['image']} is no version")
            check(not container["image"].endswith(":latest"), f"{container['image']} is whatever comes")
        profile = pod["metadata"]["annotations"].get(samples.PROFILE)
        check(profile is None or (run[1], profile) in profiles, f"{run[0]}: no profile {profile}")


@test("what a pipeline results in are results of its tasks, as they are")
def _():
    # Tekton's own webhook refuses others, which the minimal CRDs of the tests take.
    for pipeline in of_kind("Pipeline"):
        tasks = {t["name"]: t["taskRef"]["name"] for t in pipeline["spec"]["tasks"]}
        declared = {t["metadata"]["name"]: [r["name"] for r in t["spec"].get("results", [])] for t in of_kind("Task")}
        values = [r["value"] for r in pipeline["spec"]["results"]]
        values += [p["value"] for t in pipeline["spec"]["tasks"] for p in t["params"] if "$(tasks." in p["value"]]
        for value in values:
            found = re.fullmatch(r"\$\(tasks\.([\w-]+)\.results\.([\w-]+)\)", value)
            check(found and found[2] in declared[tasks[found[1]]], f"{pipeline['metadata']['name']}: {value}")


@test("keys lie in memory, and no volume is shared between guests")
def _():
    for run in samples.runs():
        for volume in samples.pod_of_run(*run)["spec"]["volumes"]:
            kinds = set(volume) - {"name"}
            check(kinds <= {"emptyDir", "projected"}, f"{run[0]} has a volume of {kinds}")
            if "emptyDir" in volume:
                equal(volume["emptyDir"].get("medium"), "Memory", f"medium of {run[0]}'s volume {volume['name']}")
                check("sizeLimit" in volume["emptyDir"], f"{run[0]}'s volume {volume['name']} has no limit")


@test("the token for sigstore is short, for one audience, and seen by one step")
def _():
    task = next(t for t in of_kind("Task") if t["metadata"]["name"] == "sign-image-keyless")["spec"]
    tokens = [s["serviceAccountToken"] for v in task["volumes"] if "projected" in v for s in v["projected"]["sources"]]
    equal(tokens, [{"audience": "sigstore", "expirationSeconds": 600, "path": "oidc-token"}], "the tokens")
    seen = [s["name"] for s in task["steps"] if any(m["name"] == "sigstore-token" for m in s.get("volumeMounts", []))]
    equal(seen, ["sign"], "steps that see it")
    check(all(m["name"] != "sigstore-token" for m in task["stepTemplate"]["volumeMounts"]), "all steps see it")
    for account in of_kind("ServiceAccount"):
        equal(account.get("automountServiceAccountToken"), False, f"{samples.key(account)}: automountServiceAccountToken")


@test("what is bound is served, and what pods fetch is served to their profile")
def _():
    trustees = {samples.key(t): t["spec"] for t in of_kind("TrusteeConfig")}
    references = {samples.key(p): p["spec"]["initdata"]["trusteeConfigRef"] for p in of_kind("ConfidentialProfile")}
    trustee_of = {profile: (to["namespace"], to["name"]) for profile, to in references.items()}
    for (ns, name), spec in trustees.items():
        for binding in spec.get("bindings", []):
            of = (binding["profileRef"]["namespace"], binding["profileRef"]["name"])
            equal(trustee_of[of], (ns, name), f"the Trustee of profile {of}, which has a binding there")
            for path in binding["resources"]:
                check(path.split("/")[1] in spec["secretResources"], f"{name} binds {path}, which it doesn't serve")
    namespace_profile = {
        o["metadata"]["name"]: o["metadata"].get("annotations", {}).get(samples.API + "default-profile", "default")
        for o in of_kind("Namespace")
    }
    pods = [samples.pod_of_run(*run) for run in samples.runs()] + of_kind("Pod")
    fetched = 0
    for pod in pods:
        ns = pod["metadata"]["namespace"]
        named = pod["metadata"].get("annotations", {}).get(samples.PROFILE, namespace_profile[ns])
        for secret in fetched_secrets(pod):
            fetched += 1
            spec = trustees[trustee_of[ns, named]]
            check(secret in spec["secretResources"], f"{pod['metadata']['name']} asks for {secret}, which isn't served")
            bound = [b for b in spec.get("bindings", []) if f"default/{secret}" in b["resources"]]
            allowed = [b["profileRef"]["name"] for b in bound]
            check(not bound or named in allowed, f"{pod['metadata']['name']} ({named}) asks for {secret}, bound to {allowed}")
    check(fetched >= 8, f"only {fetched} resources are fetched")


def fetched_secrets(pod):
    """Names of the Secrets whose keys a pod's scripts ask the KBS for."""
    texts = []
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        texts.append(json.dumps(container))
    # Tekton's pods have their scripts elsewhere: of the task of that name.
    for task in of_kind("Task") + of_kind("TaskRun"):
        steps = (task["spec"].get("taskSpec") or task["spec"])["steps"]
        names = [f"step-{step['name']}" for step in steps]
        if names == [c["name"] for c in pod["spec"]["containers"]] and of_same(task, pod):
            texts += [step.get("script", "") for step in steps]
    found = re.findall(r"(?:cdh/resource/default/|\$CDH/|fetch )([a-z0-9][a-z0-9-]*)/", "\n".join(texts))
    return sorted(set(found))


def of_same(task, pod):
    """Whether they are of one namespace and profile."""

    def where(object):
        return object["metadata"]["namespace"], object["metadata"].get("annotations", {}).get(samples.PROFILE)

    return where(task) == where(pod)


@test("sealed secrets in the samples are signed by the key that is served, and point to what is served")
def _():
    served = {
        f"kbs:///default/{o['metadata']['name']}/{k}": text
        for o in of_kind("Secret")
        for k, text in o.get("stringData", {}).items()
    }
    sealed = [(o, text) for o in of_kind("Secret") for text in o.get("stringData", {}).values() if text.startswith("sealed.")]
    check(sealed, "no sample has a sealed secret")
    for secret, text in sealed:
        with tempfile.TemporaryDirectory(prefix="coco-samples-") as folder:
            public, pointer = pathlib.Path(folder, "public.jwk"), pathlib.Path(folder, "sealed")
            public.write_text(served[SEALING])
            pointer.write_text(text)
            command = [COCOPIPE, "unseal", "-f", pointer, "--key", public]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            equal(done.returncode, 0, f"cocopipe unseal of {samples.key(secret)} ({done.stderr})")
            told = json.loads(done.stdout)
            check(find(told, "name") in served, f"it points to {find(told, 'name')}, which no sample serves")
            head = text.split(".")[1]
            equal(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"], SEALING, "its kid")


def find(node, name):
    """The first value of this key anywhere below."""
    if isinstance(node, dict):
        if name in node:
            return node[name]
        node = list(node.values())
    if isinstance(node, list):
        return next((found for item in node if (found := find(item, name)) is not None), None)
    return None


# ---- The scripts


@test("every script is right by the shell and by shellcheck, and stops at the first error")
def _():
    found = list(samples.scripts())
    check(len(found) >= 10, f"scripts: {[what for what, _ in found]}")
    for what, text in found:
        body = re.sub(r"\$\(results\.[\w-]+\.path\)", "/tekton/results/x", text)
        check("$(params." not in body, f"{what}: a parameter inside of a script is code; hand it on by env")
        check(re.search(r"^set -eu$", body, re.M), f"{what} doesn't set -eu")
        for command in (["sh", "-n", "/dev/stdin"], ["shellcheck", "-s", "sh", "-e", NOT_TEKTONS, "-"]):
            done = subprocess.run(command, input=body, capture_output=True, text=True, check=False)
            equal(done.returncode, 0, f"{what}: {command[0]} ({done.stdout}{done.stderr})")


class Kbs(http.server.BaseHTTPRequestHandler):
    """The guest's side of a KBS: self.server.resources by path."""

    def do_GET(self):
        body = self.server.resources.get(self.path.removeprefix("/cdh/resource/default/"))
        self.send_response(500 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")
        self.server.asked.append(self.path.removeprefix("/cdh/resource/default/"))

    def log_message(self, *_):
        pass


class Guests:
    """A folder for each task's guest, the keys, and the repository."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.env = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": folder, "LC_ALL": "C", "no_proxy": "*"}
        self.env |= {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in self._person()}
        (self.folder / "bin").mkdir()
        buildah = self.folder / "bin/buildah"
        buildah.write_text(BUILDAH)
        buildah.chmod(0o755)
        # Not to wait for seconds between attempts.
        sleep = self.folder / "bin/sleep"
        sleep.write_text("#!/bin/sh\n")
        sleep.chmod(0o755)
        for name in ("tag", "other", "handover"):
            self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kbs)
        self.server.asked = []
        self.server.resources = {
            "release-public/tag-signers": self.signer("developer", "tag"),
            "release-public/handover-signers": self.signer("build", "handover"),
            "release-registry/config.json": b"{}",
            "release-handover/key": (self.folder / "handover").read_bytes(),
            "signing-key/cosign": b"a key",
        }
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.make_repository()

    @staticmethod
    def _person():
        return ("NAME", "dev"), ("EMAIL", "dev@example.com")

    def signer(self, who, name):
        return f"{who} {(self.folder / name).with_suffix('.pub').read_text()}".encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def run(self, *command, cwd=None, env=None):
        done = subprocess.run(
            [str(c) for c in command], cwd=cwd, env=env or self.env, capture_output=True, text=True, check=False, timeout=60
        )
        equal(done.returncode, 0, f"{command[:4]} ({done.stdout}{done.stderr})")
        return done.stdout

    def git(self, *arguments):
        return self.run("git", "-c", "gpg.format=ssh", *arguments, cwd=self.repository)

    def make_repository(self):
        self.repository = self.folder / "repository"
        self.repository.mkdir()
        self.git("init", "-q", ".")
        (self.repository / "Containerfile").write_text("FROM scratch\n")
        self.git("add", "Containerfile")
        self.git("commit", "-q", "-m", "a")
        self.tag(TAG, "tag")
        self.tag("v0.9.0", "tag")
        self.tag("by-a-stranger", "other")
        self.git("tag", "light")
        self.git("tag", "-a", "-m", "a", "unsigned")
        self.git("update-ref", "refs/tags/v2.0.0", "refs/tags/v0.9.0")  # an old tag under a new name

    def tag(self, name, key):
        self.git("-c", f"user.signingkey={self.folder / key}", "tag", "-s", "-m", name, name)

    def task(self, task, steps, guest, **env):
        """Runs steps of a Task until one fails: (name of the failed step or None, its stderr, results)."""
        place = self.folder / guest
        for name in ("source", "keys", "results"):
            (place / name).mkdir(parents=True, exist_ok=True)
        known = {"CDH": f"http://127.0.0.1:{self.server.server_address[1]}/cdh/resource/default"}
        known |= {"SOURCE": str(place / "source"), "KEYS": str(place / "keys"), "IMAGE": IMAGE}
        for step in steps:
            text = samples.step_script(task, step)
            text = re.sub(r"\$\(results\.([\w-]+)\.path\)", lambda found: str(place / "results" / found[1]), text)
            done = subprocess.run(
                ["sh", "-c", text], env=self.env | known | env, cwd=place, capture_output=True, text=True, check=False, timeout=60
            )
            if done.returncode != 0:
                return step, done.stderr, {}
        return None, "", {file.name: file.read_text() for file in (place / "results").iterdir()}

    def build(self, tag, guest):
        steps = ("keys", "clone", "verify", "build", "handover")
        url = f"file://{self.repository}"
        return self.task("verified-build", steps, guest, URL=url, TAG=tag, CONTAINERFILE="Containerfile")

    def sign(self, guest, handover, digest=DIGEST, task="sign-image", steps=("keys", "verify")):
        return self.task(task, steps, guest, DIGEST=digest, HANDOVER=handover)


@contextlib.contextmanager
def guests():
    with tempfile.TemporaryDirectory(prefix="coco-samples-") as folder, contextlib.closing(Guests(folder)) as made:
        yield made


@test("a tag that is signed is built, and what was built is signed")
def _():
    with guests() as made:
        failed, said, results = made.build(TAG, "build")
        equal(failed, None, f"the step of the build that failed ({said})")
        commit = made.git("rev-parse", "HEAD").strip()
        handover = results.pop("handover")
        equal(results, {"commit": commit, "IMAGE_URL": f"{IMAGE}:{TAG}", "IMAGE_DIGEST": DIGEST}, "the results")
        check(len(json.dumps(results)) + len(handover) < 2048, "results that don't fit into a termination message with others")
        check("signing-key/cosign" not in made.server.asked, "the build asks for the signing key")
        failed, said, _ = made.sign("sign", handover)
        equal(failed, None, f"the step of signing that failed ({said})")
        equal((made.folder / "sign/keys/cosign.key").read_text(), "a key", "the key")
        equal((made.folder / "sign/keys/cosign.key").stat().st_mode & 0o077, 0, "who else may read the key")
        failed, said, _ = made.sign("keyless", handover, task="sign-image-keyless", steps=("verify",))
        equal(failed, None, f"the step of keyless signing that failed ({said})")


REFUSED_TAGS = {
    "by-a-stranger": "by-a-stranger isn't signed by one of default/release-public/tag-signers",
    "light": "light is no annotated tag: sign it with git tag -s",
    "unsigned": "unsigned isn't signed by one of default/release-public/tag-signers",
    "v2.0.0": "the tag that is served as v2.0.0 was signed as v0.9.0",
}


@test("a tag that isn't signed by one who may, or is another's, is not built")
def _():
    with guests() as made:
        for tag, message in REFUSED_TAGS.items():
            failed, said, _ = made.build(tag, f"build-{tag}")
            equal(failed, "verify", f"the step that fails for {tag} ({said})")
            check(message in said, f"{tag}: {said}")
        for tag in ("no-such", "--upload-pack=touch x", "v1..2", "$(touch x)"):
            failed, said, _ = made.build(tag, "build-none")
            equal(failed, "clone", f"the step that fails for {tag} ({said})")
        equal(list(made.folder.rglob("x")), [], "what a tag's name ran")


@test("what the build didn't vouch for is not signed, and no key is fetched for it")
def _():
    with guests() as made:
        _, said, results = made.build(TAG, "build")
        handover = results.get("handover", said)
        made.server.asked.clear()
        other = "sha256:" + "cd" * 32
        for name, arguments in {
            "another digest": {"handover": handover, "digest": other},
            "no signature": {"handover": ""},
            "no base64": {"handover": "!"},
        }.items():
            failed, said, _ = made.sign("sign-" + name.replace(" ", "-"), **arguments)
            equal(failed, "verify", f"the step that fails with {name} ({said})")
            told = "the handover is no base64" if name == "no base64" else "the build didn't vouch for"
            check(told in said, f"{name}: {said}")
            failed, said, _ = made.sign("keyless", task="sign-image-keyless", steps=("verify",), **arguments)
            equal(failed, "verify", f"the step of keyless signing that fails with {name} ({said})")
        check("signing-key/cosign" not in made.server.asked, "the key was fetched")


@test("what Trustee doesn't release stops the task, with a message that names it")
def _():
    with guests() as made:
        for resource in ("release-public/tag-signers", "release-handover/key"):
            kept = made.server.resources.pop(resource)
            failed, said, _ = made.build(TAG, "build-without")
            equal(failed, "keys", f"the step that fails without {resource} ({said})")
            check(f"Trustee released no default/{resource} to this guest" in said, said)
            made.server.resources[resource] = kept
        _, _, results = made.build(TAG, "build")
        del made.server.resources["signing-key/cosign"]
        failed, said, _ = made.sign("sign", results["handover"])
        equal(failed, "verify", f"the step that fails without the signing key ({said})")
        check("Trustee released no default/signing-key/cosign to this guest" in said, said)


main()
