"""What kubectl's kustomize makes of a folder."""

import functools
import subprocess

import yaml

from tap import equal


@functools.cache
def built(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ""), f"kubectl kustomize {folder.name}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def key(document):
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace"), metadata["name"]
