#!/usr/bin/python3
"""cocopipe render beside a controller that runs: what it prints of a cluster's objects is what the controller applied, and
what it prints of the samples is what an API server takes. And what its doctor says of the controller's rights.

test_render.py COCO-CONTROLLER COCOPIPE
"""

import json
import pathlib
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from trustee_world import (
    APPLIED,
    CHILDREN,
    RESOURCES,
    TrusteeWorld,
    config_map,
    kbs_config,
    path_of,
    restricted,
    secret,
    tls_secret,
    trustee,
)
from world import ROOT, documents, profile, programs

from certificates import make_pair
from tap import check, equal, main, test

CONTROLLER, COCOPIPE = programs("coco-controller", "cocopipe")
READ = ("TrusteeConfig", "ConfidentialProfile", *CHILDREN)


def render(objects, *options, want=0):
    """What cocopipe makes of these objects, and what it says."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    command = [COCOPIPE, "render", "-f", "-", "-o", "json", *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, want, f"the exit status ({done.stderr})")
    return json.loads(done.stdout)["items"], done.stderr


def live(world, ns):
    """All of a namespace that says something about a Trustee, as kubectl get -o yaml has it."""
    found = []
    for kind in READ:
        for object in world.list(kind, ns):
            # A list has it once for all, below /api or /apis.
            object["apiVersion"] = RESOURCES[kind].split("/", 2)[2].rsplit("/", 1)[0]
            object["metadata"].pop("managedFields", None)
            found.append(object)
    return found


def digests(objects):
    """(kind, name) -> the digest over all that was applied."""
    return {(o["kind"], o["metadata"]["name"]): o["metadata"]["annotations"][APPLIED] for o in objects}


def same_as_applied(world, ns, *options):
    """Rendering what is live gives the objects that the controller has applied: their digests, owners included."""
    world.rested()
    rendered, said = render(live(world, ns), *options)
    applied = {key: object["metadata"]["annotations"][APPLIED] for key, object in world.children(ns).items()}
    equal(digests(rendered), applied, f"what was applied in {ns} ({said})")
    check("made anew" not in said, f"keys are kept: {said}")
    return rendered


@test("a Permissive Trustee: what is printed is what was applied")
def _(world):
    ns = world.namespace("permissive")
    world.apply(trustee(ns, profileType="Permissive"))
    world.ready(ns)
    same_as_applied(world, ns)


@test("a Restricted one on a Route, bound to a profile that finds it by its endpoint")
def _(world):
    ns = world.namespace("restricted")
    pair = make_pair("kbs.apps.example")
    p = profile("p", ns)
    p["spec"]["initdata"] = {"trusteeConfigRef": {"name": "t", "namespace": ns}}
    world.apply(tls_secret(ns, "kbs-tls", pair), secret(ns, "app", {"key": "value"}), p)
    world.apply(restricted(ns, secretResources=["app"], bindings=[{"profileRef": {"name": "p"}, "resources": ["default/app"]}]))
    world.admit_route(ns, "kbs.apps.example")
    world.ready(ns)
    world.there("ConfigMap", ns, "trustee-endpoint-t")
    same_as_applied(world, ns, "--has=Route,TLSRoute,Ingress,ServiceMonitor")


@test("what an admin keeps in the KbsConfig counts")
def _(world):
    ns = world.namespace("admin")
    world.apply(secret(ns, "more", {"key": "value"}), trustee(ns, profileType="Permissive"))
    world.ready(ns)
    world.patch("KbsConfig", ns, "t-kbs-config", [{"op": "add", "path": "/spec/kbsSecretResources/-", "value": "more"}], "json")
    world.patch("KbsConfig", ns, "t-kbs-config", {"spec": {"KbsDeploymentSpec": {"replicas": 2}, "KbsEnvVars": {"A": "b"}}})
    world.ready(ns)
    rendered = same_as_applied(world, ns)
    deployment = next(o for o in rendered if o["kind"] == "Deployment")
    equal(deployment["spec"]["replicas"], 2, "the replicas")


@test("a KbsConfig of an admin's own")
def _(world):
    ns = world.namespace("own")
    pair = make_pair("kbs.apps.example")
    world.apply(
        config_map(ns, "config", {"kbs-config.toml": "[http_server]\n"}),
        secret(ns, "auth", {"publicKey": "key"}),
        secret(ns, "key", {"privateKey": pair[1]}),
        secret(ns, "cert", {"certificate": pair[0]}),
        kbs_config(
            ns, "k", kbsConfigMapName="config", kbsAuthSecretName="auth", kbsHttpsKeySecretName="key",
            kbsHttpsCertSecretName="cert", exposure={"type": "None"},
        ),
    )  # fmt: skip
    world.ready(ns, "k", "KbsConfig")
    same_as_applied(world, ns)


SAMPLES = sorted((ROOT / "manifests/samples/trustee").glob("*.yaml"))
APPLY = "application/apply-patch+yaml"
SAMPLE_NAMESPACE = "trustee-operator-system"


def sample_secrets():
    """What the samples need beside themselves, as their headers say."""
    found = []
    for option in ([], ["--kbs-config"]):
        command = [ROOT / "hack/trustee-secrets.sh", *option, "kbs.example.com"]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
        found += yaml.safe_load_all(text)
    vault = secret(SAMPLE_NAMESPACE, "vault-token", {"token": "hvs.token"})
    return [*found, vault, secret(SAMPLE_NAMESPACE, "vault-ca", {"ca.crt": make_pair("vault")[0]})]


def try_apply(world, objects):
    """Has the API server judge what it is to apply, without applying it."""
    for object in objects:
        metadata = object["metadata"]
        path = path_of(object["kind"], metadata["namespace"], metadata["name"])
        world.request("PATCH", f"{path}?dryRun=All&fieldManager=coco-controller&force=true", object, APPLY)


@test("the API server takes the samples, and all that is rendered of them")
def _(world):
    check(len(SAMPLES) >= 6, f"samples: {SAMPLES}")
    world.namespace(SAMPLE_NAMESPACE, granted=False)
    secrets = sample_secrets()
    try_apply(world, secrets)
    for sample in SAMPLES:
        objects = documents(sample)
        try_apply(world, objects)
        rendered, said = render(objects + secrets)
        check("error: " not in said, f"{sample.name}: {said}")
        kinds = {o["kind"] for o in rendered}
        check({"Deployment", "Service"} <= kinds, f"{sample.name} comes to {kinds}")
        try_apply(world, rendered)


@test("cocopipe doctor tells where the controller has no rights for a Trustee, and the command gives them")
def _(world):
    ns = world.namespace("doctor-sees", granted=False)
    world.apply(trustee(ns))
    command = [COCOPIPE, "doctor", "--kubeconfig", world.cluster.kubeconfig(), "-n", ns, "-o", "json"]

    def seen():
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
        return next(c for c in json.loads(done.stdout)["checks"] if c["check"] == "controller's rights")

    told = seen()
    equal((told["what"], told["status"]), (ns, "failed"), "without rights")
    check("coco-controller may not list secrets there" in told["result"], told["result"])
    world.cluster.kubectl(*told["remedy"].split()[1:])
    world.cluster.wait_for(lambda: seen()["status"] == "ok", "the doctor finds the rights")


main(TrusteeWorld(CONTROLLER))
