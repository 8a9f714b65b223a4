#!/usr/bin/python3
"""cocopipe render beside a controller that runs: what it prints of a cluster's objects is what the controller applied, and
what it prints of the samples is what an API server takes. And what its doctor says of the controller's rights.

test_render.py COCO-CONTROLLER COCOPIPE
"""

import base64
import json
import pathlib
import re
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from trustee_world import (
    APPLIED,
    CHILDREN,
    DEPLOYMENT,
    RESOURCES,
    TrusteeWorld,
    condition,
    config_map,
    kbs_config,
    path_of,
    restricted,
    secret,
    tls_secret,
    trustee,
)
from upstream_world import ALLOW_ALL, FINALIZER, edit_as_admin, make_upstreams, owned
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
    world.there("ConfigMap", ns, "trustee-endpoint-t")

    def is_bound():
        status = world.get("ConfidentialProfile", ns, "p").get("status", {})
        digest = status.get("initdata", {}).get("digest", "none").partition(":")[2]
        policy = world.get("ConfigMap", ns, "t-resource-policy")["data"]["resource-policy.rego"]
        return digest and digest in policy

    world.cluster.wait_for(is_bound, "the policy has the profile's digest")
    world.ready(ns)
    same_as_applied(world, ns, "--has=Route,TLSRoute,Ingress,ServiceMonitor")


@test("what an admin keeps in the KbsConfig counts")
def _(world):
    ns = world.namespace("admin")
    world.apply(secret(ns, "more", {"key": "value"}), trustee(ns, profileType="Permissive"))
    world.ready(ns)
    with world.heard():
        world.patch("KbsConfig", ns, "t-kbs-config", [{"op": "add", "path": "/spec/kbsSecretResources/-", "value": "more"}], "json")
    with world.heard():
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


# ---- The diff before the switch

BOOKKEEPING = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")
# What the API server fills in by itself: it isn't taken away where upstream's operator has owned it.
FILLED_IN = ("dnsPolicy", "schedulerName", "clusterIP", "restartPolicy")


def diff(world, ns, *options, want):
    """[(kind/namespace/name before, the same after, its lines)], and what was said."""
    command = [COCOPIPE, "render", "--diff", "--kubeconfig", world.cluster.kubeconfig(), "-n", ns, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, want, f"the exit status ({done.stdout}{done.stderr})")
    heads = r"^--- (live .*|/dev/null)\n\+\+\+ (new .*|/dev/null)\n"
    parts = re.split(heads, done.stdout, flags=re.M)[1:]
    found = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    return found, done.stdout + done.stderr


def plain(object):
    """The object without what each write of it changes."""
    copy = json.loads(json.dumps(object))
    copy.pop("status", None)
    metadata = copy["metadata"]
    for key in BOOKKEEPING:
        metadata.pop(key, None)
    annotations = metadata.get("annotations", {})
    for key in (APPLIED, "deployment.kubernetes.io/revision"):
        annotations.pop(key, None)
    if not annotations:
        metadata.pop("annotations", None)
    return copy


def all_of(world, ns):
    """(kind, namespace/name) -> the object, of what a Trustee comes to."""
    return {(kind, f"{ns}/{o['metadata']['name']}"): plain(o) for kind in CHILDREN for o in world.list(kind, ns)}


def changes(before, after):
    """What is made, changed, deleted."""
    return tuple(
        sorted(keys)
        for keys in (
            after.keys() - before.keys(),
            (key for key in before.keys() & after.keys() if before[key] != after[key]),
            before.keys() - after.keys(),
        )
    )


def foretold(found):
    """The same as it was printed."""
    heads = [tuple(head.removeprefix("live ").removeprefix("new ").split(" ") for head in row[:2]) for row in found]
    made = sorted(tuple(after) for before, after in heads if before == ["/dev/null"])
    gone = sorted(tuple(before) for before, after in heads if after == ["/dev/null"])
    return made, sorted(tuple(a) for b, a in heads if ["/dev/null"] not in (a, b)), gone


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout


def is_rolled_out(world, ns):
    """Whether the controllers of Kubernetes have nothing left to write into the Deployment."""
    deployment = world.get("Deployment", ns, DEPLOYMENT)
    status = deployment.get("status", {})
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("availableReplicas") == status.get("replicas") == deployment["spec"]["replicas"]
        and condition(deployment, "Progressing").get("reason") == "NewReplicaSetAvailable"
    )


@test("the diff before a takeover from upstream's operator is what the takeover then changes, and writes nothing")
def _(world):
    pair, signer = make_pair("kbs.example"), make_pair("signer")
    ns = world.namespace(
        "rehearsal", True, tls_secret("rehearsal", "kbs-tls", pair), tls_secret("rehearsal", "token-tls", signer),
        secret("rehearsal", "own", {"a": "b"}),
    )  # fmt: skip
    with world.stopped():
        world.apply(
            restricted(ns, attestationTokenVerificationSpec={"tlsSecretName": "token-tls"}, exposure={"type": "None"})
        )
        private = openssl("genpkey", "-algorithm", "ed25519")
        keys = {"privateKey": private, "publicKey": openssl("pkey", "-pubout", stdin=private)}
        make_upstreams(world, ns, keys, pair, signer)
        edit_as_admin(world, ns)
        world.cluster.wait_for(lambda: is_rolled_out(world, ns), "upstream's Deployment has come to rest")
        before = all_of(world, ns)
        versions = {key: o["metadata"]["resourceVersion"] for key, o in live_versions(world, ns).items()}
        folder = world.folder / "kept"
        found, said = diff(world, ns, "--keep", str(folder), want=1)
        equal({key: o["metadata"]["resourceVersion"] for key, o in live_versions(world, ns).items()}, versions,
              "what is on the cluster after the rehearsal")  # fmt: skip
        lines = "".join(row[2] for row in found)
        for gone in ("default allow = true", "insecure_http = true", FINALIZER, "secret-converter", "RUST_LOG"):
            check(re.search(rf"^-.*{re.escape(gone)}", lines, re.M), f"{gone!r} goes: {said}")
        for stays in ("HTTPS_PROXY", *FILLED_IN):
            check(not re.search(rf"^-.*{re.escape(stays)}", lines, re.M), f"{stays!r} stays: {said}")
        equal(len(re.findall(r"^-.* imagePullPolicy: ", lines, re.M)), 1, "containers that go")
        secrets = [base64.b64encode(text.encode()).decode() for text in (private, pair[1], signer[1])]
        check("PRIVATE KEY" not in said and not any(text in said for text in secrets), f"no key is printed: {said}")
        check("made anew" not in said, f"keys are kept: {said}")
        check(f"The pods of Deployment {ns}/trustee-deployment are replaced." in said, said)
        kept = {path.name: yaml.safe_load(path.read_text()) for path in folder.iterdir()}
        equal(kept[f"{ns}-t-resource-policy.yaml"]["data"], {"resource-policy.rego": ALLOW_ALL}, "the policy that is kept")
        check(f"{ns}-t-rvps-reference-values.yaml" not in kept, "reference values are the admin's, and not written over")
    world.leader()
    world.ready(ns)
    world.rested()
    equal(foretold(found), changes(before, all_of(world, ns)), "what was foretold, and what came of it")
    after, said = diff(world, ns, want=0)
    equal(after, [], "what is left to do")
    check(said.startswith("0 to be made, 0 changed, 0 deleted; "), said)

    # The edited policy is put back, by an admin who wants it so.
    world.patch("TrusteeConfig", ns, "t", {"spec": {"driftPolicy": "Warn"}})
    world.ready(ns)
    world.cluster.kubectl("apply", "-f", str(folder / f"{ns}-t-resource-policy.yaml"))
    world.says(ns, "t", "ResourcesSynced", "False", "Drifted")
    equal(world.get("ConfigMap", ns, "t-resource-policy")["data"], {"resource-policy.rego": ALLOW_ALL}, "the policy")
    diff(world, ns, want=0)


def live_versions(world, ns):
    return {(kind, o["metadata"]["name"]): o for kind in (*READ, "Secret") for o in world.list(kind, ns)}


@test("the diff of a change that is still in a file, of a Trustee in another namespace too")
def _(world):
    ns = world.namespace("diffed")
    world.apply(trustee(ns))
    world.ready(ns)
    diff(world, ns, want=0)
    file = world.folder / "change.yaml"
    file.write_text(json.dumps(trustee(ns, kbsServiceType="NodePort")))
    found, said = diff(world, ns, "-f", str(file), want=1)
    equal(foretold(found), ([], [("KbsConfig", f"{ns}/t-kbs-config"), ("Service", f"{ns}/kbs-service")], []), said)
    check(re.search(r"^\+  type: NodePort$", found[-1][2], re.M), said)
    file.write_text(json.dumps(trustee(ns, profileType="Restricted")))
    _, said = diff(world, ns, "-f", str(file), want=2)
    check("error: " in said and "httpsSpec" in said, said)
    other = world.namespace("diffed-new")
    file.write_text(json.dumps(trustee(other)))
    found, said = diff(world, other, "-f", str(file), want=1)
    made, changed, gone = foretold(found)
    equal((len(made) > 8, changed, gone), (True, [], []), said)
    world.create(config_map(other, "boss", {}))
    boss = world.get("ConfigMap", other, "boss")
    world.create(owned(config_map(other, "t-resource-policy", {}), boss | {"apiVersion": "v1", "kind": "ConfigMap"}))
    found, said = diff(world, other, "-f", str(file), want=1)
    check(f'warning: ConfigMap {other}/t-resource-policy belongs to ConfigMap "boss", and is left alone' in said, said)
    equal([key for key in foretold(found)[0] if key not in made], [], "what is made beside it")


@test("the diff names what is to be deleted, and then it is")
def _(world):
    ns = world.namespace("diffed-less")
    world.apply(trustee(ns, metrics={"serviceMonitor": True}))
    world.ready(ns)
    world.there("ServiceMonitor", ns, "kbs-service")
    file = world.folder / "less.yaml"
    file.write_text(json.dumps(trustee(ns)))
    found, said = diff(world, ns, "-f", str(file), want=1)
    equal(foretold(found)[1:], ([("KbsConfig", f"{ns}/t-kbs-config")], [("ServiceMonitor", f"{ns}/kbs-service")]), said)
    world.apply(trustee(ns))
    world.gone("ServiceMonitor", ns, "kbs-service")
    world.ready(ns)
    world.rested()
    diff(world, ns, want=0)


main(TrusteeWorld(CONTROLLER))
