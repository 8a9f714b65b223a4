#!/usr/bin/python3
"""The manifests as they stand, on a real API server: manifests/overlays/dev is installed by one command, makes a labelled pod
confidential, needs no right that it doesn't have, goes without a trace, and comes back.

The programs (argv[1] coco-webhook, argv[2] coco-controller) run as the pods that the Deployments make: see node.py. Each case
goes on where the one before it ended, so alone (-k) only the first one passes.
"""

import json
import time

from install_world import (
    DEPLOYMENTS,
    INSTALL_S,
    SYSTEM_NAMESPACE,
    InstallWorld,
    case,
    restricted_violations,
)
from world import SAMPLES, check_confidential, pod, profile, programs, sample_pod

from tap import check, equal, main

BINARIES = dict(zip(DEPLOYMENTS, programs(*DEPLOYMENTS)))
NS = "team-a"  # of the sample namespace
TRUSTEE_NS = "trustee-operator-system"


def sample(name):
    """The sample pod. Without its owner, which isn't there: such a pod is removed as garbage."""
    made = sample_pod(name)
    del made["metadata"]["ownerReferences"]
    return made


def versions(world):
    """What was applied, and in which version it is: kinds, names, generations."""
    text = world.cluster.kubectl("get", "-k", str(world.overlay), "-o", "json")[1]
    return {
        (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o["metadata"].get("generation")
        for o in json.loads(text)["items"]
    }


@case("one command, and a labelled pod is confidential")
def _(world):
    begin = time.monotonic()
    world.apply()
    applied = time.monotonic()
    world.cluster.kubectl("apply", "-f", str(SAMPLES / "namespace.yaml"))
    made, refusals = world.until_created(sample("first"), NS)
    took = time.monotonic() - begin
    print(f"confidential {took:.1f} s after the first command ({applied - begin:.1f} s of it kubectl apply)")
    print(f"attempts refused before: {len(refusals)}, the last: {refusals[-1:]}")
    check_confidential(made, "the sample pod")
    check(took < INSTALL_S, f"the first confidential pod took {took:.1f} s")


@case("the Deployments become available, their pods within the standard 'restricted'")
def _(world):
    world.wait_available()
    namespace = world.cluster.get_json("namespace", SYSTEM_NAMESPACE)
    equal(namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce"), "restricted", "what is enforced")
    for running in world.cluster.get_json("pods", "-n", SYSTEM_NAMESPACE)["items"]:
        equal(restricted_violations(running), [], f"what is against pod {running['metadata']['name']}")


@case("a profile of the cluster and a Trustee work, and no request of ours is forbidden")
def _(world):
    world.cluster.apply(json.dumps(profile("other")))
    world.cluster.kubectl("apply", "-f", str(SAMPLES / "trustee/permissive.yaml"))

    def conditions(kind, ns, name):
        found = world.cluster.get_json(kind, name, "-n", ns).get("status", {}).get("conditions", [])
        return {condition["type"]: condition["status"] for condition in found}

    world.cluster.wait_for(
        lambda: conditions("confidentialprofile", SYSTEM_NAMESPACE, "other").get("Ready") == "True",
        "the sample profile is ready",
    )
    world.cluster.wait_for(
        lambda: conditions("trusteeconfig", TRUSTEE_NS, "trusteeconfig").get("Ready") == "True", "the Trustee is ready", 60
    )
    world.check_created(sample("second"), NS, "a pod beside a Trustee")
    equal(world.users(), ["coco-controller", "coco-webhook"], "who of us asked the API server")
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")


@case("applying it again changes nothing")
def _(world):
    before = versions(world)
    world.apply()
    equal(versions(world), before, "the objects' generations")
    world.check_created(sample("third"), NS, "a pod after the second apply")


@case("uninstalled, nothing of ours is left, and nothing blocks pods")
def _(world):
    world.uninstall()
    made = world.created(pod("unprotected"), NS, "admin")
    check("runtimeClassName" not in made["spec"], "a pod is confidential, though nothing is installed")


@case("it can be installed again")
def _(world):
    begin = world.install()
    print(f"available {time.monotonic() - begin:.1f} s after the command")
    world.check_created(sample("again"), NS, "a pod of the second installation")
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")


main(InstallWorld(BINARIES))
