#!/usr/bin/env python3
"""Writes what manifests/ has twice, from the one place where each thing is said: `make manifests`.

    hack/manifests.py            writes the files that differ, and names them
    hack/manifests.py --check    writes nothing; names those that are stale, with status 1

| file | of |
|---|---|
| manifests/install.yaml | manifests/overlays/single-cluster |
| manifests/helm/coco-pipelines/templates/*.yaml | overlays that differ in who makes certificates, by hack/helm_chart.py |
| manifests/components/crds-without-cel/kustomization.yaml | crds/ |
| manifests/olm/bundle/ | overlay openshift, by hack/olm_bundle.py |

Needs kubectl (1.21 or newer, for its kustomize) and PyYAML.
"""

import argparse
import copy
import json
import pathlib
import re
import subprocess
import sys

import yaml

import helm_chart
import olm_bundle

ROOT = pathlib.Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "manifests"
MADE = "# Written by `make manifests` from {}: edit that instead.\n"


def kustomize(folder):
    """What kubectl makes of a kustomization, as text."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"hack/manifests.py: kubectl kustomize {folder.relative_to(ROOT)} failed: {done.stderr.strip()}")
    return done.stdout


# ---- CRDs as Kubernetes 1.20 to 1.24 knows them


def rule_paths(node, path=""):
    """JSON pointers of all x-kubernetes-validations below node."""
    if isinstance(node, dict):
        for key, value in node.items():
            below = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key == "x-kubernetes-validations":
                yield below
            else:
                yield from rule_paths(value, below)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from rule_paths(value, f"{path}/{number}")


def crds_without_cel():
    """A Component that takes all rules in CEL out of the CRDs."""
    patches = []
    for path in sorted((ROOT / "crds").glob("*_*.yaml")):
        crd = yaml.safe_load(path.read_text())
        removed = [{"op": "remove", "path": pointer} for pointer in rule_paths(crd)]
        target = {"kind": crd["kind"], "name": crd["metadata"]["name"]}
        patches.append({"target": target, "patch": "".join(f"- {json.dumps(step)}\n" for step in removed)})
    return (
        MADE.format("crds")
        + "#\n# Rules in CEL came with Kubernetes 1.25; before, kubectl refuses CRDs that have them. The webhook knows the same rules.\n"
        + dump({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": patches})
    )


# ---- All of them


class Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def represent_text(dumper, text):
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, represent_text)


def dump(tree):
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, width=130)


def documents(overlay):
    return [document for document in yaml.safe_load_all(kustomize(overlay)) if document]


def install():
    overlay = MANIFESTS / "overlays/single-cluster"
    return (
        MADE.format(overlay.relative_to(ROOT))
        + "#\n#   kubectl apply -f install.yaml\n#\n# Kubernetes 1.30 and newer. docs/install.md tells what everything is for.\n"
        + kustomize(overlay)
    )


def chart():
    """(path, text) of the chart's templates."""
    # openshift is for a release that doesn't serve all that single-cluster has: of it, only the certificates count.
    base = documents(MANIFESTS / "overlays/single-cluster")
    modes = [("self", base), ("cert-manager", documents(MANIFESTS / "overlays/cert-manager"))]
    openshift = {helm_chart.key(d): d for d in documents(MANIFESTS / "overlays/openshift")}
    policies = [d for d in base if d["kind"].startswith("ValidatingAdmissionPolicy")]
    modes.append(("openshift", [*openshift.values(), *policies]))
    known = {helm_chart.key(d) for d in base}
    monitoring = [d for d in documents(MANIFESTS / "overlays/monitored") if helm_chart.key(d) not in known]
    modes = [(mode, [*made_of, *copy.deepcopy(monitoring)]) for mode, made_of in modes]
    head = "{{- /* " + MADE.format("manifests/overlays").strip("# \n") + " */}}\n"
    for name, text in helm_chart.templates(modes).items():
        yield MANIFESTS / "helm/coco-pipelines/templates" / name, head + text


def bundle():
    """(path, text) of the bundle's files."""
    version = re.search(r'COCO_VERSION "(.*)"', (ROOT / "common/version.h").read_text())[1]
    samples = [MANIFESTS / "samples/profile.yaml", *sorted((MANIFESTS / "samples/trustee").glob("*.yaml"))]
    examples = [d for path in samples for d in yaml.safe_load_all(path.read_text()) if d]
    first = {}
    for example in examples:
        if example["kind"] in olm_bundle.DISPLAY:
            first.setdefault(example["kind"], example)
    made_of = documents(MANIFESTS / "overlays/openshift")
    for name, tree in olm_bundle.bundle(made_of, list(first.values()), version).items():
        yield MANIFESTS / "olm/bundle" / name, MADE.format("manifests/overlays/openshift") + dump(tree)


def made():
    """(path, text) of every file. Those that others are made of come first: they are written before those are made."""
    yield MANIFESTS / "components/crds-without-cel/kustomization.yaml", crds_without_cel()
    yield MANIFESTS / "install.yaml", install()
    yield from chart()
    yield from bundle()


def main():
    parser = argparse.ArgumentParser(description="Writes the generated files of manifests/.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where a file is stale")
    check = parser.parse_args().check
    stale = 0
    for path, text in made():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)} {'is stale: run make manifests' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
