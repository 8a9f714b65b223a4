#!/usr/bin/python3
"""The samples on a real API server, as their pages in docs/samples say: what is set up is taken as it stands and becomes
Ready, and what is run is confidential. argv: coco-webhook, coco-controller.

Tekton's part is played by tests/lib/samples.py; hack/tekton-run.py has Tekton itself. Each case goes on where the one before it
ended, so alone (-k) most fail.
"""

import copy
import json

from install_world import DEPLOYMENTS, case
from samples_world import SamplesWorld
from trustee_world import condition
from world import KATA, LABEL, P, check_confidential, memory_request, programs

import samples
from tap import check, equal, main

BINARIES = dict(zip(DEPLOYMENTS, programs(*DEPLOYMENTS)))
CLASSES = {"gpu": "kata-cc-nvidia-gpu", "peer-pods": "kata-remote"}  # by namespace, where it isn't kata-cc


def profile_of(world, pod):
    """The profile that the pod is to have, with its status."""
    ns = pod["metadata"]["namespace"]
    of_namespace = world.get("Namespace", None, ns)["metadata"].get("annotations", {})
    default = of_namespace.get(P + "default-profile", "default")
    return world.get("ConfidentialProfile", ns, pod["metadata"].get("annotations", {}).get(P + "profile", default))


def check_protected(world, pod):
    """The stored pod is what its profile makes of it."""
    name, ns = pod["metadata"]["name"], pod["metadata"]["namespace"]
    profile = profile_of(world, pod)
    equal(pod["spec"].get("runtimeClassName"), CLASSES.get(ns, "kata-cc"), f"{name}: the RuntimeClass")
    injected = json.loads(pod["metadata"]["annotations"][P + "injected"])
    equal(injected["profile"], f"{ns}/{profile['metadata']['name']}", f"{name}: the profile")
    check(profile["status"]["initdata"]["digest"] in json.dumps(injected), f"{name} has another initdata: {injected}")
    equal(pod["metadata"]["annotations"][KATA + "default_memory"], str(injected["vmMiB"]), f"{name}: the VM's MiB")
    equal(memory_request(pod), injected["vmMiB"], f"{name}: what the scheduler sees")
    if ns not in CLASSES:
        check_confidential(pod, name)


@case("what is set up is taken as it stands, and taken again without a change")
def _(world):
    said = world.set_up_samples()
    check(said.count(" created") >= 40, said)
    world.make_secrets()
    again = world.set_up_samples()
    # Older kubectls say that of every Secret with stringData.
    anew = [line for line in again.splitlines() if not line.endswith(" unchanged") and not line.startswith("secret/")]
    equal(anew, [], "what is applied anew")


@case("every Trustee is Ready, and every profile")
def _(world):
    # What a cloud does for a Service of type LoadBalancer.
    world.cluster.wait_for(lambda: world.get("Service", "peer-pods-trustee", "kbs-service"), "the Service of the peer pods")
    path = "/api/v1/namespaces/peer-pods-trustee/services/kbs-service/status"
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    world.node.call("PATCH", path, address)
    for trustee in samples.of_kind("TrusteeConfig"):
        ready = world.wait_ready("TrusteeConfig", *samples.key(trustee))
        reason = condition(ready, "Ready")["reason"]
        restricted = trustee["spec"]["profileType"] == "Restricted"
        equal(reason, "NoReferenceValues" if restricted else "NotForProduction", f"why {samples.key(trustee)} is Ready")
        equal(condition(ready, "CertificateValid").get("status"), "True" if restricted else "Unknown", "its certificate")
    for profile in samples.of_kind("ConfidentialProfile"):
        world.wait_ready("ConfidentialProfile", *samples.key(profile))


@case("the policy of a Trustee names the initdata of the profiles that are bound there, and no others")
def _(world):
    digests = {}
    for profile in samples.of_kind("ConfidentialProfile"):
        stored = world.wait_ready("ConfidentialProfile", *samples.key(profile))
        digests[samples.key(profile)] = stored["status"]["initdata"]["digest"].split(":")[1]
    equal(len(set(digests.values())), len(digests), "how many initdata differ")

    def so():
        for trustee in samples.of_kind("TrusteeConfig"):
            ns, name = samples.key(trustee)
            policy = json.dumps(world.get("ConfigMap", ns, f"{name}-resource-policy").get("data", {}))
            bound = {(b["profileRef"]["namespace"], b["profileRef"]["name"]) for b in trustee["spec"].get("bindings", [])}
            if {key for key, digest in digests.items() if digest in policy} != bound:
                return False
        return True

    world.cluster.wait_for(so, "every policy names what is bound")


@case("the pods that are run are confidential, but for the one that shows what isn't")
def _(world):
    for name in samples.NAMES:
        world.cluster.kubectl("apply", "-f", str(samples.SAMPLES / name / "run"))
    ordinary = []
    for pod in samples.of_kind("Pod"):
        stored = world.get("Pod", *samples.key(pod))
        if LABEL in pod["metadata"]["labels"]:
            check_protected(world, stored)
        else:
            check("runtimeClassName" not in stored["spec"], f"{pod['metadata']['name']} is confidential")
            ordinary.append(pod["metadata"]["name"])
    equal(ordinary, ["standard"], "ordinary pods")


@case("the pods that Tekton makes of what is run are confidential")
def _(world):
    made = 0
    for run in samples.runs():
        pod = samples.pod_of_run(*run)
        check_protected(world, world.created(pod, run[1], "tekton"))
        made += 1
    check(made >= 6, f"pods of tasks: {made}")


@case("VMs are as large as the pages say")
def _(world):
    def mib(ns, name):
        return int(world.get("Pod", ns, name)["metadata"]["annotations"][KATA + "default_memory"])

    # S + R + B: 2Gi of images, 1Gi of the build and its volumes, 512Mi.
    equal(mib("release", "release-1-build-pod"), 2048 + 1024 + 512 + 8 + 4096 + 512, "the guest that builds")
    equal(mib("release", "release-1-sign-pod"), 2048, "the guest that signs")
    equal(mib("peer-pods", "hello-pod"), 8192, "the peer pod's VM")
    equal(world.get("Pod", "peer-pods", "hello-pod")["metadata"]["annotations"][KATA + "default_vcpus"], "2", "its vCPUs")
    equal(mib("gpu", "vectoradd"), 16384, "the guest with a GPU")


@case("who asks for another's profile, or brings annotations of Kata's, is refused")
def _(world):
    run = next(run for run in samples.runs() if run[1] == "team-red")
    for text, annotation, value in (
        ("no ConfidentialProfile", P + "profile", "release-sign"),
        ("io.katacontainers", KATA + "cc_init_data", "anything"),
    ):
        pod = samples.pod_of_run(*run)
        pod["metadata"]["name"] = "refused"
        pod["metadata"]["annotations"][annotation] = value
        status, answer = world.create(pod, "team-red", "tekton")
        equal(status, 403, f"the status for {annotation} ({answer.get('message')})")
        print(answer["message"])
        check(text in answer["message"], answer["message"])
    opted_out = samples.pod_of_run(*run)
    opted_out["metadata"]["labels"] |= {LABEL: "false"}
    opted_out["metadata"]["name"] = "refused"
    status, answer = world.create(opted_out, "team-red", "tekton")
    equal(status, 403, f"the status for a TaskRun that opts out ({answer.get('message')})")
    print(answer["message"])


# Who may do what, as docs/samples/multi-tenant.md tells: group, verb, what, namespace, whether.
RIGHTS = [
    ("red", "create", "pipelineruns.tekton.dev", "team-red", True),
    ("red", "create", "pipelineruns.tekton.dev", "team-blue", False),
    ("red", "create", "pods", "team-red", False),
    ("red", "create", "deployments.apps", "team-red", False),
    ("red", "create", "pods/exec", "team-red", False),
    ("red", "update", "pods", "team-red", False),
    ("red", "get", "pods/log", "team-red", True),
    ("red", "get", "confidentialprofiles.pipelines.confidentialcontainers.org", "team-red", True),
    ("red", "update", "confidentialprofiles.pipelines.confidentialcontainers.org", "team-red", False),
    ("red", "update", "namespaces", "team-red", False),
    ("red", "get", "secrets", "team-trustees", False),
    ("red", "create", "trusteeconfigs.confidentialcontainers.org", "team-trustees", False),
    ("red", "create", "trusteeconfigs.confidentialcontainers.org", "team-red", False),
    ("confidential-keepers", "update", "confidentialprofiles.pipelines.confidentialcontainers.org", "team-blue", True),
    ("confidential-keepers", "create", "trusteeconfigs.confidentialcontainers.org", "team-trustees", True),
    ("confidential-keepers", "create", "secrets", "team-trustees", True),
    ("confidential-keepers", "create", "pipelineruns.tekton.dev", "team-red", False),
    ("confidential-keepers", "create", "pods", "team-red", False),
]


@case("each member of a team may do what the page says, and no more")
def _(world):
    wrong = []
    for group, verb, what, ns, wanted in RIGHTS:
        resource, _, subresource = what.partition("/")
        resource, _, api = resource.partition(".")
        attributes = {"verb": verb, "group": api, "resource": resource, "subresource": subresource, "namespace": ns}
        spec = {"user": "someone", "groups": [group, "system:authenticated"], "resourceAttributes": attributes}
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        _, answer = world.node.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
        if answer["status"]["allowed"] != wanted:
            wrong.append((group, verb, what, ns))
    equal(wrong, [], "rights that are other than they should be")


@case("a binding follows its profile")
def _(world):
    before = world.wait_ready("ConfidentialProfile", "release", "release-sign")["status"]["initdata"]["digest"]
    profiles = samples.of_kind("ConfidentialProfile")
    changed = copy.deepcopy(next(p for p in profiles if samples.key(p) == ("release", "release-sign")))
    changed["spec"]["initdata"]["algorithm"] = "sha384"
    world.cluster.apply(json.dumps(changed))

    def so():
        digest = world.get("ConfidentialProfile", "release", "release-sign")["status"]["initdata"]["digest"]
        policy = json.dumps(world.get("ConfigMap", "release-trustee", "release-resource-policy")["data"])
        return digest != before and digest.split(":")[1] in policy and before.split(":")[1] not in policy

    world.cluster.wait_for(so, "the policy names the new initdata")


@case("no request of ours was forbidden")
def _(world):
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")


main(SamplesWorld(BINARIES))
