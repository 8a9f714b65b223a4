#!/usr/bin/env python3
"""What `cocopipe inject` does to telling pods, beside what it did when a person last looked.

Each folder below mutate/ is a case: pod.yaml or review.json, or `corpus`, the name of a review of tests/data/corpus/tekton
that gets the label; profile.yaml; and what comes out: patch.json (of large ones only patch.sha256), and warnings.txt with
the messages. A case without a patch is denied. In patches, the profile's initdata, its digest and our version are words,
since they change for reasons of their own.

    run.py build/bin/cocopipe             compares
    run.py --update build/bin/cocopipe    rewrites what comes out; then read the difference
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from tap import check, equal, main, test  # noqa: E402

CORPUS = HERE.parent / "data" / "corpus" / "tekton"
LABEL = "pipelines.confidentialcontainers.org/confidential"
UPDATE = "--update" in sys.argv
if UPDATE:
    sys.argv.remove("--update")
if len(sys.argv) < 2:
    sys.exit(__doc__)
COCOPIPE = sys.argv.pop(1)


def run(*arguments, text=""):
    return subprocess.run([COCOPIPE, *arguments], input=text, capture_output=True, text=True, timeout=30, check=False)


def review_of(case):
    """The text to inject: of a corpus review, with the label added."""
    for name in ("pod.yaml", "review.json"):
        if (case / name).exists():
            return (case / name).read_text()
    review = json.loads((CORPUS / (case / "corpus").read_text().strip()).read_text())
    review["request"]["object"]["metadata"].setdefault("labels", {})[LABEL] = "true"
    return json.dumps(review)


def readable(patch, profile):
    """The patch with words for what isn't the case's own: initdata, digest, version."""
    initdata = run("initdata", "build", "--profile", str(profile))
    digest = run("initdata", "digest", "-f", "-", "-o", "json", text=initdata.stdout)
    version = run("--version").stdout.split()[1]
    equal((initdata.returncode, digest.returncode), (0, 0), "building the profile's initdata")
    named = json.loads(digest.stdout)
    for edit in patch:
        value = edit.get("value")
        if isinstance(value, str):
            value = value.replace(initdata.stdout.strip(), "INITDATA").replace(named["digest"], "DIGEST")
            edit["value"] = value.replace(f'"version":"{version}"', '"version":"VERSION"')
    return "[\n" + ",\n".join("  " + json.dumps(edit, ensure_ascii=False) for edit in patch) + "\n]\n"


def outputs(case):
    """File name -> text, of everything that comes out; None where a file must not be there."""
    got = run("inject", "-f", "-", "--profile", str(case / "profile.yaml"), "-o", "patch", text=review_of(case))
    files = {"patch.json": None, "patch.sha256": None, "warnings.txt": got.stderr or None}
    check(got.returncode in (0, 1), f"exit status {got.returncode}: {got.stderr}")
    equal(got.stdout == "", got.returncode == 1, "no patch and denied")
    if got.returncode == 0:
        patch = json.loads(got.stdout)
        text = readable(patch, case / "profile.yaml") if patch else "[]\n"
        if (case / "corpus").exists():
            files["patch.sha256"] = hashlib.sha256(text.encode()).hexdigest() + "\n"
        else:
            files["patch.json"] = text
    return files


def compare(case):
    for name, text in outputs(case).items():
        path = case / name
        if UPDATE and text is None:
            path.unlink(missing_ok=True)
        elif UPDATE:
            path.write_text(text)
        else:
            equal(path.read_text() if path.exists() else None, text, name)


CASES = sorted(path for path in (HERE / "mutate").iterdir() if path.is_dir())
for _case in CASES:
    test(_case.name)(lambda case=_case: compare(case))


@test("there are cases")
def _():
    check(len(CASES) >= 15, f"only {len(CASES)} cases below mutate/")


@test("the KBS's configurations are TOML to Python too, and closed to admins")
def _():
    files = sorted((HERE / "kbs-config").glob("*.toml"))
    check(len(files) > 10, f"only {len(files)} files")
    for file in files:
        config = tomllib.loads(file.read_text())
        equal(config["http_server"]["sockets"], ["0.0.0.0:8080"], f"{file.name}: sockets")
        closed = {"type": "DenyAll"}, {"authorization_mode": "DenyAll"}
        keyed = {"insecure_api": False, "auth_public_key": "/etc/auth-secret/publicKey"}
        check(config["admin"] in (*closed, keyed), f"{file.name}: {config['admin']}")


def values(documents, key):
    """What a key of data has, in whichever objects have it."""
    return [d["data"][key] for d in documents if isinstance(d, dict) and key in d.get("data", {})]


@test("a Trustee's configuration says what its KbsConfig mounts")
def _():
    files = sorted((HERE / "trustee").glob("*/output.yaml"))
    check(len(files) > 10, f"only {len(files)} files")
    for file in files:
        documents = list(yaml.safe_load_all(file.read_text()))
        texts = values(documents, "kbs-config.toml")
        kbs = [d["spec"] for d in documents if "kbsDeploymentType" in (d or {}).get("spec", {})]
        if not texts or not kbs:  # it stays as it is
            check("stays as it is" in file.read_text(), f"{file.parent.name}: what is missing is not kept")
            continue
        config = tomllib.loads(texts[0])
        https = "kbsHttpsKeySecretName" in kbs[0] and "kbsHttpsCertSecretName" in kbs[0]
        signer = "kbsAttestationKeySecretName" in kbs[0] and "kbsAttestationCertSecretName" in kbs[0]
        token = config["attestation_token"]
        equal(config["http_server"]["insecure_http"], not https, f"{file.parent.name}: HTTPS")
        equal("signer" in config["attestation_service"]["attestation_token_broker"], signer, f"{file.parent.name}: signer")
        equal(token.get("insecure_header_jwk", token.get("insecure_key")), not signer, f"{file.parent.name}: tokens")
        equal("vault" in kbs[0], "vault_url" in config["plugins"][0], f"{file.parent.name}: Vault")
        for text in values(documents, "reference_value"):
            json.loads(text)


main()
