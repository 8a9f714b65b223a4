#!/usr/bin/python3
"""The samples' pipelines in Tekton itself, up to their pods and on to their end. Not a part of CI: docs/samples/README.md.

    hack/tekton-run.py COCO_WEBHOOK COCO_CONTROLLER [-k SUBSTRING]

The cases build on each other. With COCO_KUBE_APISERVER, Tekton's CRDs have their schemas.

Tekton's controller and webhook (hack/peer-build.sh) run beside the test cluster on which our manifests are installed, with
Tekton's own CRDs, roles and configuration. No kubelet: the steps' containers are told to have succeeded, with the results that
their tasks declare. Tekton's programs listen on all addresses of the machine while it runs.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/e2e")]

import follow
import samples
import yaml
from cluster import TEKTON_USER, Proc, free_ports
from install_world import DEPLOYMENTS, case
from samples_world import SamplesWorld
from world import KATA, LABEL, P, programs

from tap import check, equal, main

BINARIES = dict(zip(DEPLOYMENTS, programs(*DEPLOYMENTS)))
HOME = pathlib.Path(subprocess.run([ROOT / "hack/peer-build.sh", "tekton"], check=True, capture_output=True, text=True).stdout.strip())
NS = "tekton-pipelines"
ADDRESS = "10.9.9.9"  # of Tekton's webhook; the harness's network makes it 127.9.9.9
RESULTS = {"IMAGE_DIGEST": "sha256:" + "ab" * 32, "commit": "c" * 40, "IMAGE_URL": "a:b", "handover": "aGFuZG92ZXI="}
WAIT_S = 180


def finished(pod):
    """The status of a pod: of a task's, that all its steps have succeeded; of others, that they are ready."""
    if "tekton.dev/taskRun" not in pod["metadata"]["labels"]:
        return follow.FATES["ready"](pod)
    results = [{"key": key, "value": value, "type": 1} for key, value in RESULTS.items()]
    results.append({"key": "StartedAt", "value": "2026-01-01T00:00:00.000Z", "type": 3})
    over = {"exitCode": 0, "reason": "Completed", "startedAt": follow.now(), "finishedAt": follow.now()}
    statuses = []
    for container in pod["spec"]["containers"]:
        last = container is pod["spec"]["containers"][-1]
        message = json.dumps(results if last else results[-1:])
        state = {"terminated": over | {"message": message}}
        told = {"name": container["name"], "image": container["image"], "imageID": "", "state": state}
        statuses.append(told | {"ready": False, "restartCount": 0})
    return {"phase": "Succeeded", "startTime": follow.now(), "containerStatuses": statuses}


follow.FATES["finished"] = finished


def for_old_servers(crd):
    """Without a schema: the test cluster's own API server 1.20 takes empty texts for null where one says string."""
    for version in crd["spec"]["versions"]:
        version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return crd


class TektonWorld(SamplesWorld):
    def install_tekton(self):
        cluster = self.cluster
        old = cluster.raw("GET", "/version")[1]["minor"] < "28"
        for file in sorted((HOME / "config/300-crds").glob("*.yaml")):
            crd = yaml.safe_load(file.read_text())
            crd = for_old_servers(crd) if old else crd
            self.node.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        config = HOME / "config"
        files = [config / "100-namespace", *sorted(config.glob("20*.yaml")), *sorted(config.glob("config-*.yaml"))]
        for file in files:
            cluster.kubectl("apply", "--validate=false", "-f", str(file))
        quiet = json.dumps({"data": {"metrics-protocol": "none"}})
        cluster.kubectl("patch", "configmap", "config-observability", "-n", NS, "--type=merge", "-p", quiet)
        self.webhook_port, *probes = free_ports(3)
        self.route_webhook()
        cluster.kubectl("apply", "-f", str(config / "500-webhooks.yaml"))
        self.tekton = {}
        self.start_tekton("webhook", "admin", probes[0])
        cluster.wait_for(self.webhook_answers, "Tekton's webhook answers", WAIT_S)
        self.start_tekton("controller", "tekton", probes[1], *self.images())

    @staticmethod
    def images():
        for name in ("entrypoint", "nop", "sidecarlogresults", "workingdirinit", "shell"):
            yield from (f"-{name}-image", f"ghcr.io/tektoncd/pipeline/{name}:{samples.TEKTON_RELEASE}")
        yield from ("-shell-image-win", f"ghcr.io/tektoncd/pipeline/shell:{samples.TEKTON_RELEASE}")

    def route_webhook(self):
        """The Service, with the webhook that runs beside the cluster as its endpoint."""
        meta = {"name": "tekton-pipelines-webhook", "namespace": NS}
        port = {"name": "https-webhook", "port": 443, "targetPort": self.webhook_port}
        ends = [{"addresses": [{"ip": ADDRESS}], "ports": [{"name": "https-webhook", "port": self.webhook_port}]}]
        self.apply_all(
            [
                {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [port]}},
                {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": ends},
            ]
        )

    def start_tekton(self, name, user, probes, *arguments):
        env = self.cluster.env | {
            "KUBECONFIG": str(self.cluster.kubeconfig(user)),
            "SYSTEM_NAMESPACE": NS,
            "KUBERNETES_MIN_VERSION": "v1.20.0",
            "KUBE_FEATURE_WatchListClient": "false",  # an API server before 1.27 ignores the wish and never ends the list
            "PROBES_PORT": str(probes),
            "WEBHOOK_PORT": str(self.webhook_port),
            "WEBHOOK_SERVICE_NAME": "tekton-pipelines-webhook",
            "WEBHOOK_SECRET_NAME": "webhook-certs",
            "WEBHOOK_ADMISSION_CONTROLLER_NAME": "webhook.pipeline.tekton.dev",
            "METRICS_DOMAIN": "tekton.dev/pipeline",
            "CONFIG_LOGGING_NAME": "config-logging",
            "CONFIG_OBSERVABILITY_NAME": "config-observability",
            "CONFIG_FEATURE_FLAGS_NAME": "feature-flags",
            "CONFIG_DEFAULTS_NAME": "config-defaults",
            "CONFIG_SPIRE": "config-spire",
            "CONFIG_LEADERELECTION_NAME": f"config-leader-election-{name}",
        }
        argv = [HOME / "bin" / name, *arguments] + (["-disable-ha"] if name == "controller" else [])
        self.tekton[name] = Proc(f"tekton-{name}", argv, self.folder / f"tekton-{name}.log", env)
        self.stack.callback(self.tekton[name].stop)

    def webhook_answers(self):
        """Whether a Task that is wrong is refused by Tekton's own check."""
        self.tekton["webhook"].check_alive()
        wrong = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "wrong"}, "spec": {"steps": []}}
        path = "/apis/tekton.dev/v1/namespaces/default/tasks?dryRun=All"
        status, answer = self.cluster.raw("POST", path, wrong)
        return status == 400 and "validation.webhook.pipeline.tekton.dev" in answer["message"]

    def logs(self):
        return "\n".join(f"---- Tekton's {name}\n{proc.tail(25)}" for name, proc in self.tekton.items())

    def object(self, kind, ns, name):
        status, answer = self.cluster.raw("GET", f"/apis/tekton.dev/v1/namespaces/{ns}/{kind}/{name}")
        return answer if status == 200 else {}

    def ended(self, kind, ns, name):
        """The run, once it has succeeded or failed."""

        def so():
            for proc in self.tekton.values():
                proc.check_alive()
            found = self.object(kind, ns, name)
            conditions = found.get("status", {}).get("conditions", [])
            return found if conditions and conditions[0]["status"] != "Unknown" else None

        try:
            return self.cluster.wait_for(so, f"{kind} {ns}/{name} ends", WAIT_S)
        except Exception:
            print(json.dumps(self.object(kind, ns, name).get("status"), indent=1))
            print(self.logs())
            raise


def check_succeeded(run):
    condition = run["status"]["conditions"][0]
    equal(condition["status"], "True", f"{run['metadata']['name']}: {condition['message']}")


@case("Tekton's webhook takes what the samples set up")
def _(world):
    world.set_up_samples()
    world.make_secrets()
    for ns in {run[1] for run in samples.runs()}:  # as a controller of Kubernetes' does, which the test cluster lacks
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": ns}}
        world.cluster.apply(json.dumps(account))
    path = "/api/v1/namespaces/peer-pods-trustee/services/kbs-service/status"
    world.cluster.wait_for(lambda: world.get("Service", "peer-pods-trustee", "kbs-service"), "the Service of the peer pods")
    world.node.call("PATCH", path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    for profile in samples.of_kind("ConfidentialProfile"):
        world.wait_ready("ConfidentialProfile", *samples.key(profile))


@case("every PipelineRun and TaskRun of the samples comes to its end, by confidential pods alone")
def _(world):
    for name in samples.NAMES:
        world.cluster.kubectl("apply", "-f", str(samples.SAMPLES / name / "run"))
    for kind in ("TaskRun", "PipelineRun"):
        for run in samples.of_kind(kind):
            check_succeeded(world.ended(f"{kind.lower()}s", *samples.key(run)))
    pods = [p for p in world.cluster.get_json("pods", "-A")["items"] if "tekton.dev/taskRun" in p["metadata"].get("labels", {})]
    equal(sorted(p["metadata"]["name"] for p in pods), sorted(run[0] for run in samples.runs()), "the pods")
    for pod in pods:
        name, labels, annotations = pod["metadata"]["name"], pod["metadata"]["labels"], pod["metadata"]["annotations"]
        injected = json.loads(annotations[P + "injected"])
        said = next(run for run in samples.runs() if run[0] == name and run[1] == pod["metadata"]["namespace"])
        meant = samples.pod_of_run(*said)["metadata"]
        print(f"{name}: {pod['spec']['runtimeClassName']}, {injected['profile']}, {injected['vmMiB']} MiB")
        equal(annotations.get(P + "profile"), meant["annotations"].get(P + "profile"), f"{name}: the profile asked for")
        equal(labels.get(LABEL), meant["labels"].get(LABEL), f"{name}: the label")
        check(annotations.get(KATA + "cc_init_data"), f"{name} has no initdata")
        check(pod["metadata"]["ownerReferences"][0]["kind"] == "TaskRun", f"{name} isn't Tekton's")


@case("what the sign task is given is what the build has handed on")
def _(world):
    for run in ("release-1", "release-keyless-1"):
        params = {p["name"]: p["value"] for p in world.object("taskruns", "release", f"{run}-sign")["spec"]["params"]}
        equal(params["digest"], RESULTS["IMAGE_DIGEST"], f"the digest in {run}")
        equal(params["handover"], RESULTS["handover"], f"the handover in {run}")
        told = {r["name"]: r["value"] for r in world.object("pipelineruns", "release", run)["status"]["results"]}
        equal(told["IMAGE_DIGEST"], RESULTS["IMAGE_DIGEST"], f"the digest that {run} tells")


@case("a token for sigstore is in the pod of the keyless task alone, and in one step of it")
def _(world):
    for pod in world.cluster.get_json("pods", "-n", "release")["items"]:
        tokens = [
            (volume["name"], source["serviceAccountToken"])
            for volume in pod["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            if "serviceAccountToken" in source
        ]
        keyless = pod["metadata"]["name"] == "release-keyless-1-sign-pod"
        equal([t.get("audience") for _, t in tokens], ["sigstore"] if keyless else [], f"tokens of {pod['metadata']['name']}")
        names = {name for name, _ in tokens}
        steps = [c["name"] for c in pod["spec"]["containers"] if names & {m["name"] for m in c["volumeMounts"]}]
        equal(steps, ["step-sign"] if keyless else [], "steps that see it")


@case("a TaskRun that brings annotations of Kata's fails, and says why")
def _(world):
    run = next(o for o in samples.of_kind("TaskRun") if o["metadata"]["namespace"] == "team-red")
    made = yaml.safe_load(yaml.safe_dump(run))
    made["metadata"] |= {"name": "foreign", "annotations": {KATA + "kernel_params": "agent.debug_console"}}
    world.cluster.apply(json.dumps(made))
    condition = world.ended("taskruns", "team-red", "foreign")["status"]["conditions"][0]
    print(condition)
    equal((condition["status"], condition["reason"]), ("False", "PodCreationFailed"), "its condition")
    said = "annotation io.katacontainers.config.hypervisor.kernel_params is set on the pod"
    check(said in condition["message"], condition["message"])


@case("neither Tekton nor we were forbidden anything")
def _(world):
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")
    refused = {
        f"{e['verb']} {e['requestURI'].split('?')[0]}"
        for e in world.cluster.audit()
        if e["user"]["username"] == TEKTON_USER and e["responseStatus"]["code"] == 403
    }
    equal(refused, {"create /api/v1/namespaces/team-red/pods"}, "what Tekton was refused: the pod with Kata's annotations")


main(TektonWorld(BINARIES, others="finished"))
