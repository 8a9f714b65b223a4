"""The samples that people apply folder by folder, as objects, and the pods that Tekton makes of their tasks.

manifests/samples/NAME is what an admin sets up, manifests/samples/NAME/run what is run then; docs/samples/NAME.md tells of it.
"""

import copy
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "manifests/samples"
DOCS = ROOT / "docs/samples"
NAMES = sorted(folder.parent.name for folder in SAMPLES.glob("*/run"))
API = "pipelines.confidentialcontainers.org/"
LABEL, PROFILE = API + "confidential", API + "profile"
TEKTON_RELEASE = "v1.15.0"


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def objects(name, *folders):
    """The objects of a sample: of the folders below it that are named ("." is its own); by default of all."""
    below = SAMPLES / name
    files = [f for folder in folders for f in (below / folder).glob("*.yaml")] if folders else below.rglob("*.yaml")
    return [document for file in sorted(files) for document in documents(file)]


def of_kind(kind, *names):
    """All objects of a kind in the samples."""
    return [o for name in names or NAMES for o in objects(name) if o["kind"] == kind]


def key(object):
    return object["metadata"].get("namespace"), object["metadata"]["name"]


# ---- Tekton's part


def _substitute(value, values):
    """Replaces $(params.X) and the like in all texts; what isn't known stays."""
    if isinstance(value, str):
        return re.sub(r"\$\(([^()]+)\)", lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [_substitute(item, values) for item in value]
    if isinstance(value, dict):
        return {name: _substitute(item, values) for name, item in value.items()}
    return value


def runs():
    """Every run of a task that the samples ask for: (name of the pod, namespace, metadata, taskSpec, ServiceAccount)."""
    tasks = {key(task): task for task in of_kind("Task")}
    pipelines = {key(pipeline): pipeline for pipeline in of_kind("Pipeline")}
    for run in of_kind("TaskRun"):
        ns, name = key(run)
        yield f"{name}-pod", ns, [run["metadata"]], run["spec"]["taskSpec"], run["spec"].get("serviceAccountName")
    for run in of_kind("PipelineRun"):
        ns, name = key(run)
        own = {o["pipelineTaskName"]: o for o in run["spec"].get("taskRunSpecs", [])}
        for part in pipelines[ns, run["spec"]["pipelineRef"]["name"]]["spec"]["tasks"]:
            task = tasks[ns, part["taskRef"]["name"]]
            account = own.get(part["name"], {}).get("serviceAccountName")
            yield f"{name}-{part['name']}-pod", ns, [task["metadata"], run["metadata"]], task["spec"], account


def _container(step, template, number):
    merged = copy.deepcopy({k: v for k, v in step.items() if k not in ("script", "computeResources", "onError")})
    merged["env"] = template.get("env", []) + merged.get("env", [])
    merged["volumeMounts"] = template.get("volumeMounts", []) + merged.get("volumeMounts", [])
    merged["securityContext"] = template.get("securityContext", {}) | merged.get("securityContext", {})
    merged["resources"] = step.get("computeResources", {})
    merged["name"] = f"step-{step['name']}"
    merged["command"] = ["/tekton/bin/entrypoint"]
    merged["args"] = ["-post_file", f"/tekton/run/{number}/out", "-entrypoint", "/tekton/scripts/script", "--"]
    return merged


def pod_of_run(name, ns, metadata, task, account):
    """The pod, as near to Tekton's as matters to admission: labels, annotations, containers, volumes."""
    template = task.get("stepTemplate", {})
    labels, annotations = {}, {"pipeline.tekton.dev/release": TEKTON_RELEASE}
    for part in metadata:
        labels |= part.get("labels", {})
        annotations |= part.get("annotations", {})
    run = name.removesuffix("-pod")
    labels |= {"tekton.dev/taskRun": run, "app.kubernetes.io/managed-by": "tekton-pipelines"}
    prepare = {"name": "prepare", "image": "ghcr.io/tektoncd/pipeline/entrypoint:" + TEKTON_RELEASE}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": ns, "labels": labels, "annotations": annotations},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": account or "default",
            "volumes": copy.deepcopy(task.get("volumes", [])),
            "initContainers": [prepare],
            "containers": [_container(step, template, number) for number, step in enumerate(task["steps"])],
        },
    }
    return _substitute(pod, {f"params.{p['name']}": p.get("default", "") for p in task.get("params", [])})


def scripts():
    """(what, text) of every shell script in the samples."""
    for kind, specs in (("Task", lambda o: o["spec"]), ("TaskRun", lambda o: o["spec"].get("taskSpec", {"steps": []}))):
        for object in of_kind(kind):
            for step in specs(object)["steps"]:
                if "script" in step:
                    yield f"{kind} {object['metadata']['name']}, step {step['name']}", step["script"]
    for pod in of_kind("Pod"):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            if container.get("command", [])[:2] == ["/bin/sh", "-c"]:
                yield f"Pod {pod['metadata']['name']}, container {container['name']}", container["args"][0]


def step_script(task, step):
    """The script of a step of a Task."""
    found = next(t for t in of_kind("Task") if t["metadata"]["name"] == task)
    return next(s["script"] for s in found["spec"]["steps"] if s["name"] == step)
