#!/usr/bin/env python3
"""cocopipe render: what it prints for every choice that a Trustee leaves, and what it says of mistakes.

    test_render.py COCOPIPE            compares with tests/golden/render
    test_render.py --update COCOPIPE   rewrites those; then read the difference

A golden is all that is rendered, in words where it is random or long (keys, digests, policies); or, of a case that differs
from another one in a setting, the lines in which its output differs from that one's.
"""

import contextlib
import difflib
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "lib"))
from certificates import decode, encode, make_pair  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

UPDATE = "--update" in sys.argv
if UPDATE:
    sys.argv.remove("--update")
COCOPIPE = os.path.abspath(sys.argv.pop(1))
GOLDENS = HERE.parent / "golden" / "render"
SAMPLES = ROOT / "manifests" / "samples" / "trustee"
API = "confidentialcontainers.org/v1alpha1"
P = "pipelines.confidentialcontainers.org/"
HOST = "kbs.example.com"
OURS = "app.kubernetes.io/"


def run(*arguments, text="", env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCO_")}
    return subprocess.run([COCOPIPE, "render", *arguments], input=text, capture_output=True, text=True, timeout=60,
                          check=False, env=clean | (env or {}))


def render(*objects, options=(), want=0):
    """The documents that come of these objects, and what is said."""
    done = run("-f", "-", *options, text=yaml.safe_dump_all(objects))
    equal(done.returncode, want, f"exit status ({done.stderr})")
    return list(yaml.safe_load_all(done.stdout)), done.stderr


def named(kind, name, api="v1", ns=None, **rest):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name} | ({"namespace": ns} if ns else {}), **rest}


def trustee(name="t", ns=None, **spec):
    return named("TrusteeConfig", name, API, ns, spec=spec)


def kbs_config(name, ns=None, **spec):
    return named("KbsConfig", name, API, ns, spec=spec)


def secret(name, ns=None, **data):
    return named("Secret", name, ns=ns, data={key: encode(value) for key, value in data.items()})


def config_map(name, **data):
    return named("ConfigMap", name, data=data)


def find(documents, kind, name):
    found = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    equal(len(found), 1, f"how many {kind}s are named {name}")
    return found[0]


HTTPS, TOKEN = make_pair(HOST), make_pair("token")
TLS = [secret("kbs-tls", **{"tls.crt": HTTPS[0], "tls.key": HTTPS[1]}),
       secret("token-tls", **{"tls.crt": TOKEN[0], "tls.key": TOKEN[1]})]
RESTRICTED = {"profileType": "Restricted", "httpsSpec": {"tlsSecretName": "kbs-tls"},
              "attestationTokenVerificationSpec": {"tlsSecretName": "token-tls"}}
POLICY = '{"default": [{"type": "reject"}]}'
PROFILE = named("ConfidentialProfile", "p", P + "v1alpha1",
                spec={"initdata": {"trusteeConfigRef": {"name": "t", "namespace": "default"}}})


# ---- Goldens

CASES = {}  # name -> (name of what it is compared with, objects, options)


def case(name, *objects, than=None, options=()):
    CASES[name] = (than, objects, options)


def restricted(name, *more, options=(), **spec):
    case(name, trustee(**RESTRICTED, **spec), *TLS, *more, than="restricted", options=options)


case("permissive", trustee(profileType="Permissive"))
case("permissive-https", trustee(profileType="Permissive", httpsSpec=RESTRICTED["httpsSpec"]), *TLS, than="permissive")
case("restricted", trustee(**RESTRICTED), *TLS)
case("restricted-own-signer", trustee(profileType="Restricted", httpsSpec=RESTRICTED["httpsSpec"]), *TLS, than="restricted")
for _profile in ("old", "intermediate", "modern"):
    restricted(f"tls-{_profile}", tlsConfig={"profile": _profile})
restricted("tls-custom", tlsConfig={"profile": "custom", "minVersion": "1.2", "maxVersion": "1.3",
                                    "ciphers": ["ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384"],
                                    "groups": ["X25519", "secp256r1"]})
for _minor in range(15, 22):
    restricted(f"version-0.{_minor}", trusteeVersion=f"0.{_minor}", image=f"registry.example/kbs:v0.{_minor}.0")
restricted("exposure-host", exposure={"type": "Auto", "host": HOST})
restricted("exposure-route", exposure={"type": "Route", "host": HOST})
restricted("exposure-tlsroute", exposure={"type": "TLSRoute", "host": HOST, "gatewayRef": {"name": "gateway"}},
           options=("--has=tlsroutes",))
restricted("exposure-ingress", exposure={"type": "Ingress", "host": HOST, "ingressClassName": "nginx"})
restricted("exposure-none", exposure={"type": "None"})
restricted("exposure-nothing-there", options=("--has=none",))
restricted("load-balancer", kbsServiceType="LoadBalancer", exposure={"type": "None"})
restricted("ibm-se", ibmSE={"pvName": "ibmse-pv"})
restricted("nvidia-remote", nvidia="Remote")
restricted("air-gapped", airGapped=True)
restricted("vault", secret("vault", token="hvs.token", ca="a CA"),
           vault={"address": "https://vault:8200", "tokenSecretRef": {"name": "vault", "key": "token"},
                  "caSecretRef": {"name": "vault", "key": "ca"}})
restricted("postgres", secret("sessions", url="postgres://kbs:password@postgres/kbs"), replicas=3,
           sessionStorage={"type": "Postgres", "secretRef": {"name": "sessions", "key": "url"}})
restricted("redis", secret("sessions", url="redis://:password@redis/"), replicas=2,
           sessionStorage={"type": "Redis", "secretRef": {"name": "sessions", "key": "url"}})
restricted("resources", secret("app.v1", **{"key": "value", "two": "2"}), secretResources=["app.v1"],
           imagePolicy={"name": "signed", "securityPolicy": POLICY})
restricted("pods", instanceName="b", resources={"requests": {"cpu": "100m"}}, imagePullSecrets=[{"name": "pull"}],
           image="example/kbs:1", metrics={"serviceMonitor": True})
restricted("bindings", PROFILE, exposure={"host": HOST}, bindings=[{"profileRef": {"name": "p"}, "resources": ["default/app"]}])
restricted("admins-part", kbs_config("t-kbs-config", KbsDeploymentSpec={"replicas": 2}, KbsEnvVars={"RUST_LOG": "warn"},
                                     kbsSecretResources=["mine"],
                                     kbsLocalCertCacheSpec={"secrets": [{"secretName": "vcek", "mountPath": "/vcek"}]}),
           secret("mine", key="value"), secret("vcek", **{"vcek.der": "a certificate"}))
_microservices = [d | {"metadata": {"name": d["metadata"]["name"]}}
                  for d in yaml.safe_load_all((SAMPLES / "kbsconfig-microservices.yaml").read_text())]
case("microservices", *_microservices, secret("kbs-https-key", privateKey=HTTPS[1]), secret("kbs-https-cert", certificate=HTTPS[0]),
     secret("kbs-token-key", **{"token.key": TOKEN[1]}), secret("kbs-token-cert", **{"token.crt": TOKEN[0]}))
case("all-in-one", _microservices[0] | {"spec": _microservices[0]["spec"] | {"kbsDeploymentType": "AllInOneDeployment"}},
     *CASES["microservices"][1][1:], than="microservices")


class Text(str):
    """Printed as lines."""


yaml.SafeDumper.add_representer(Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def readable_value(kind, key, value):
    if kind == "Secret" and key != "kbs-config.toml":
        return f"({key})"
    if kind == "Secret":
        value = decode(value)
    if key.endswith(".rego"):
        bindings = value[value.index("\nbindings := "):] if "\nbindings := " in value else ""
        bindings = re.sub(r'"[0-9A-Za-z+/=]{44,}"', '"(digest)"', bindings)
        for line in value.split("\n"):
            if line.startswith("#"):
                return Text(f"{line} (...){bindings}") if bindings.count("\n") > 2 else f"{line} (...)"
    return Text(value) if "\n" in value and "CERTIFICATE" not in value else "(certificate)" if "\n" in value else value


def readable(document):
    """A document in which a person can read what is the case's own."""
    kind, metadata = document["kind"], document["metadata"]
    labels = {k: v for k, v in metadata.get("labels", {}).items() if k == OURS + "component" or not k.startswith(OURS)}
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if k != P + "applied"}
    equal({k for k in metadata["labels"] if k.startswith(OURS)},
          {OURS + k for k in ("managed-by", "part-of", "instance", "component")}, f"labels of {kind} {metadata['name']}")
    equal(len(metadata["annotations"][P + "applied"]), 64, "the digest of what is applied")
    document = document | {"metadata": {"name": metadata["name"], "labels": labels}}
    if annotations:
        document["metadata"]["annotations"] = annotations
    if "data" in document:
        document["data"] = {k: readable_value(kind, k, v) for k, v in document["data"].items()}
    if kind == "Deployment":
        template = document["spec"]["template"]["metadata"]
        template["labels"] = {k: v for k, v in template["labels"].items() if not k.startswith(OURS)}
        template["annotations"][P + "content"] = "(digest)"
    return document


def golden_text(documents, said):
    lines = [f"# {line}\n" for line in said.splitlines()]
    return "".join(lines) + yaml.safe_dump_all(map(readable, documents), sort_keys=False, width=120)


@functools.cache
def output(name):
    _, objects, options = CASES[name]
    return golden_text(*render(*objects, options=options))


def golden_file(name):
    return GOLDENS / (f"{name}.yaml" if CASES[name][0] is None else f"{name}.diff")


def golden(name):
    """What a golden's file holds."""
    than = CASES[name][0]
    if than is None:
        return output(name)
    lines = [output(n).splitlines(keepends=True) for n in (than, name)]
    return "".join(difflib.unified_diff(*lines, than, name, n=3))


def check_config(documents):
    """The KBS's configuration is TOML to others too, and closed to admins."""
    held = [d["data"]["kbs-config.toml"] for d in documents if d["kind"] == "ConfigMap" and "kbs-config.toml" in d["data"]]
    held += [decode(d["data"]["kbs-config.toml"]) for d in documents if d["kind"] == "Secret" and "kbs-config.toml" in d["data"]]
    for text in held:
        config = tomllib.loads(text)
        equal(config["http_server"]["sockets"], ["0.0.0.0:8080"], "sockets")
        closed = {"type": "DenyAll"}, {"authorization_mode": "DenyAll"}
        keyed = {"insecure_api": False, "auth_public_key": "/etc/auth-secret/publicKey"}
        check(config["admin"] in (*closed, keyed), f"{config['admin']}")
    return len(held)


def check_keys(documents, said):
    """A private key is in Secrets alone, and whoever mounts it names the key."""
    keys = [value for d in documents if d["kind"] == "Secret" for value in d["data"].values() if "PRIVATE" in decode(value)]
    others = json.dumps([d for d in documents if d["kind"] != "Secret"]) + said
    check("PRIVATE" not in others, "a private key outside of a Secret")
    for value in keys:
        for line in decode(value).splitlines()[1:-1]:
            check(line not in others and value not in others, "a private key outside of a Secret")


for _name in CASES:
    @test(f"rendered: {_name}")
    def _(name=_name):
        _, objects, options = CASES[name]
        text = yaml.safe_dump_all(objects)
        first = run("-f", "-", *options, text=text)
        equal(first.returncode, 0, f"exit status ({first.stderr})")
        documents = list(yaml.safe_load_all(first.stdout))
        equal(check_config(documents), 0 if objects[0]["kind"] == "KbsConfig" else 1, "how many configurations there are")
        check_keys(documents, first.stderr)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as own:
            own.write(first.stdout)
            own.flush()
            again = run("-f", "-", "-f", own.name, *options, text=text)
            as_json = run("-f", "-", "-f", own.name, "-o", "json", *options, text=text)
        equal(again.stdout, first.stdout, "with its own output fed back in")
        check("anew" not in again.stderr, f"keys are kept: {again.stderr}")
        parsed = json.loads(as_json.stdout)
        equal((parsed["apiVersion"], parsed["kind"], parsed["items"]), ("v1", "List", documents), "as JSON")
        path, content = golden_file(name), golden(name)
        if UPDATE:
            path.write_text(content)
        equal(path.read_text() if path.exists() else None, content, path.name)


@test("each golden is of a case")
def _():
    equal({p.name for p in GOLDENS.iterdir()}, {golden_file(name).name for name in CASES}, "files")


# ---- What is read

@contextlib.contextmanager
def folder(**files):
    """A folder with these files; _ stands for the point in their names."""
    with tempfile.TemporaryDirectory(prefix="coco-render-") as path:
        for name, objects in files.items():
            text = objects if isinstance(objects, str) else yaml.safe_dump_all(objects)
            (pathlib.Path(path) / name.replace("_", ".")).write_text(text)
        yield path


def rendered_of(*arguments, want=0, **more):
    done = run(*arguments, **more)
    equal(done.returncode, want, f"exit status ({done.stderr})")
    return list(yaml.safe_load_all(done.stdout))


def names(documents):
    return [(d["kind"], d["metadata"]["name"]) for d in documents]


@test("files, folders, standard input, Lists and JSON are read alike")
def _():
    objects = [trustee(**RESTRICTED), *TLS, secret("t-auth-secret")]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    with folder(a_yaml=objects[:1], b_yml=objects[1:3], c_json=json.dumps(objects[3]), d_txt="{", e_json=json.dumps(listed)) as at:
        want = names(rendered_of("-f", "-", text=yaml.safe_dump_all(objects)))
        equal(names(rendered_of("-f", f"{at}/a.yaml", "-f", f"{at}/b.yml", "--file", f"{at}/c.json")), want, "files")
        equal(names(rendered_of("-f", f"{at}/e.json")), want, "a List")
        equal(names(rendered_of("-f", f"{at}/a.yaml", "-f", "-", text=yaml.safe_dump_all(objects[1:]))), want, "two sources")
        os.unlink(f"{at}/e.json")
        equal(names(rendered_of("-f", at)), want, "a folder, but for d.txt")
        os.unlink(f"{at}/a.yaml")
        check("there is no TrusteeConfig and no KbsConfig" in run("-f", at).stderr, "a folder without a Trustee")


@test("an object that names no namespace is in -n's, or in default")
def _():
    objects = [trustee("a"), trustee("b", "other"), secret("a-auth-secret", "mine")]
    for options, want in (([], "default"), (["-n", "mine"], "mine"), (["--namespace=mine"], "mine")):
        documents, _said = render(*objects, options=options)
        equal({d["metadata"]["namespace"] for d in documents}, {want, "other"}, f"namespaces with {options}")


MISTAKES = {
    "nothing": ([], "", "say what to render: -f FILE"),
    "no such file": (["-f", "/nonexistent.yaml"], "", "can't open /nonexistent.yaml"),
    "no YAML": (["-f", "-"], "a: [", "standard input: line 2"),
    "no object": (["-f", "-"], "- a", "standard input:1: it is no object"),
    "no kind": (["-f", "-"], "apiVersion: v1", "standard input:1: kind is missing"),
    "no apiVersion": (["-f", "-"], "kind: TrusteeConfig", "standard input:1: apiVersion is missing"),
    "another version": (["-f", "-"], f"---\n---\napiVersion: {P}v1\nkind: TrusteeConfig\nmetadata: {{name: t}}",
                        f'apiVersion of TrusteeConfig is "{P}v1"; it must be {API}'),
    "no name": (["-f", "-"], f"apiVersion: {API}\nkind: TrusteeConfig\nspec: {{}}", 'metadata.name of the TrusteeConfig is ""'),
    "no namespace's name": (["-f", "-"], yaml.safe_dump(trustee("t", "No")), 'is "No", which is no namespace\'s name'),
    "a namespace that is true": (["-f", "-"], f"apiVersion: {API}\nkind: TrusteeConfig\nmetadata: {{name: t, namespace: y}}",
                                 'metadata.namespace of TrusteeConfig "t" is no text to YAML'),
    "no Trustee": (["-f", "-"], yaml.safe_dump(config_map("a")), "there is no TrusteeConfig and no KbsConfig"),
    "no documents": (["-f", "-"], "", "there is no TrusteeConfig and no KbsConfig"),
    "twice": (["-f", "-"], yaml.safe_dump_all([trustee(), trustee()]),
              "TrusteeConfig default/t is there twice, before in standard input:1"),
    "another format": (["-f", "-", "-o", "wide"], "", '-o is "wide"; it must be yaml or json'),
    "another kind": (["-f", "-", "--has", "Route,Gateway"], "", '--has is "Route,Gateway"; it must be none'),
    "what goes with --diff, without it": (["-f", "-", "--keep", "folder"], "", "--keep and --context go with --diff"),
    "no cluster": (["--diff", "--kubeconfig", "/nonexistent"], "", "can't open /nonexistent"),
    "no kind between commas": (["-f", "-", "--has=Route,"], "", "--has is"),
}
for _name, _mistake in MISTAKES.items():
    @test(f"exit status 2: {_name}")
    def _(mistake=_mistake):
        arguments, text, said = mistake
        done = run(*arguments, text=text)
        equal((done.returncode, done.stdout), (2, ""), f"exit status and output ({done.stderr})")
        check(said in done.stderr and "cocopipe" in done.stderr, f"said: {done.stderr}")


@test("--has takes kinds by their names and plurals, in any case")
def _():
    spec = RESTRICTED | {"exposure": {"type": "Ingress", "host": HOST}, "metrics": {"serviceMonitor": True}}
    for has, want in (("none", set()), ("ingress", {"Ingress"}), ("Ingresses,SERVICEMONITORS", {"Ingress", "ServiceMonitor"})):
        documents, said = render(trustee(**spec), *TLS, options=[f"--has={has}"])
        equal({d["kind"] for d in documents} & {"Route", "Ingress", "ServiceMonitor"}, want, f"kinds with {has}")
        equal(said.count("warning: "), 2 - len(want), f"warnings with {has}")


@test("a certificate that isn't good for the Service is warned of, where guests know no other name")
def _():
    for spec, want in (({}, 1), ({"exposure": {"host": HOST}}, 0)):
        said = render(trustee(**RESTRICTED, **spec), *TLS, options=["--has=none"])[1]
        equal(said.count("warning: "), want, f"warnings with {spec} ({said})")
        equal(said.count('HostMissing: spec.httpsSpec.tlsSecretName: Secret "kbs-tls": tls.crt is not good for "kbs-service.'), want,
              f"what is said with {spec}")


@test("images are the controller's, by option or from the environment")
def _():
    kbs = CASES["microservices"][1]
    documents, _said = render(*kbs, options=["--kbs-grpc-image=a", "--as-image=b", "--rvps-image=c"])
    containers = find(documents, "Deployment", "trustee-deployment")["spec"]["template"]["spec"]["containers"]
    equal([c["image"] for c in containers], ["a", "b", "c"], "images of containers")
    done = run("-f", "-", text=yaml.safe_dump(trustee()), env={"COCO_KBS_IMAGE": "d"})
    container = find(list(yaml.safe_load_all(done.stdout)), "Deployment", "trustee-deployment")["spec"]["template"]["spec"]
    equal(container["containers"][0]["image"], "d", "image from the environment")


# ---- What comes of it

@test("the order is that in which things are applied: first what others name")
def _():
    documents, _said = render(trustee(**RESTRICTED, exposure={"host": HOST}), *TLS)
    kinds = [d["kind"] for d in documents]
    equal(kinds[-5:], ["KbsConfig", "Deployment", "Service", "Route", "ConfigMap"], "the last ones")
    equal(documents[-1]["metadata"]["name"], "trustee-endpoint-t", "the last one")


@test("keys that are given are kept, others are made, and it is said which")
def _():
    documents, said = render(trustee(profileType="Restricted", httpsSpec=RESTRICTED["httpsSpec"]), *TLS)
    made = ["t-auth-secret", "t-attestation-key-secret"]
    for name in made:
        check(f'the keys in Secret "{name}" are made anew here' in said, f"{name}: {said}")
    kept = [find(documents, "Secret", name) for name in (*made, "t-attestation-cert-secret")]
    plain = [{k: v for k, v in d.items() if k != "metadata"} | {"metadata": {"name": d["metadata"]["name"]}} for d in kept]
    again, said = render(trustee(profileType="Restricted", httpsSpec=RESTRICTED["httpsSpec"]), *TLS, *plain)
    equal(again, documents, "with these Secrets in a file")
    check("anew" not in said, f"said: {said}")
    texts = [d | {"data": None, "stringData": {k: decode(v) for k, v in d["data"].items()}} for d in plain]
    equal(render(trustee(profileType="Restricted", httpsSpec=RESTRICTED["httpsSpec"]), *TLS, *texts)[0], documents,
          "as texts, in stringData")


@test("a binding has the digest that the profile's pods show")
def _():
    objects = CASES["bindings"][1]
    documents, _said = render(*objects)
    with folder(profile_yaml=[PROFILE, find(documents, "ConfigMap", "trustee-endpoint-t")]) as at:
        built = subprocess.run([COCOPIPE, "initdata", "build", "--profile", f"{at}/profile.yaml"], capture_output=True, check=True)
        shown = subprocess.run([COCOPIPE, "initdata", "digest", "-f", "-", "-o", "json"], input=built.stdout,
                               capture_output=True, check=True)
    policy = find(documents, "ConfigMap", "t-resource-policy")["data"]["resource-policy.rego"]
    check(f'"{json.loads(shown.stdout)["snpHostData"]}"' in policy, "the digest on SNP")


@test("a profile that isn't there is a warning, and its resources go to nobody")
def _():
    documents, said = render(trustee(**RESTRICTED, bindings=[{"profileRef": {"name": "p"}, "resources": ["default/app"]}]), *TLS)
    check("warning: TrusteeConfig default/t: ProfileNotFound: spec.bindings[0].profileRef" in said, f"said: {said}")
    policy = find(documents, "ConfigMap", "t-resource-policy")["data"]["resource-policy.rego"]
    held = re.search(r'"default/app/": ({.*?})', policy, re.S)
    equal(json.loads(held[1]), dict.fromkeys(("az-snp-vtpm", "az-tdx-vtpm", "cca", "sample", "snp", "tdx"), []), "who gets it")


@test("what is wrong is exit status 1, and what would be applied nevertheless is printed")
def _():
    documents, said = render(trustee(**RESTRICTED), want=1)
    check('error: TrusteeConfig default/t: SecretMissing: spec.httpsSpec.tlsSecretName: there is no Secret "kbs-tls"' in said, said)
    check(("ConfigMap", "t-kbs-config") in names(documents), "the configuration")
    check(("Deployment", "trustee-deployment") not in names(documents), "no pods that can't start")
    documents, said = render(trustee(profileType="restricted"), want=1)
    equal(documents, [], "a spec that can't be read")
    check("error: TrusteeConfig default/t: Invalid: spec.profileType" in said, said)
    documents, said = render(kbs_config("k", replicas=2), want=1)
    check("error: KbsConfig default/k: Invalid: " in said, said)


@test("every line that is said has a level, and says of whom")
def _():
    _documents, said = render(trustee("a", "x"), trustee("b", "x"), kbs_config("k", "z"), want=1)
    check(all(f"\n{level}: " in f"\n{said}" for level in ("error", "note")), said)
    for line in said.splitlines():
        check(re.match(r"(error|warning|note): (TrusteeConfig x/[ab]|KbsConfig z/k): \S", line), line)


@test("of two Trustees with the same names, one is rendered; with an instanceName, both are")
def _():
    documents, said = render(trustee("a"), trustee("b"), want=1)
    equal({d["metadata"]["labels"][OURS + "instance"] for d in documents}, {"a"}, "whose objects")
    check('error: TrusteeConfig default/b: NameTaken: TrusteeConfig "a" of this namespace is older' in said, said)
    documents, _said = render(trustee("a"), trustee("b", instanceName="b"))
    equal({n for k, n in names(documents) if k == "Deployment"}, {"trustee-deployment", "b-trustee-deployment"}, "Deployments")
    equal(len(names(documents)), len(set(names(documents))), "each object once")


@test("a TrusteeConfig's KbsConfig is no Trustee of its own, whatever stands in a file")
def _():
    documents, _said = render(trustee(), kbs_config("t-kbs-config", kbsServiceType="NodePort", kbsDeploymentType="MicroservicesDeployment"))
    equal(names(documents).count(("Deployment", "trustee-deployment")), 1, "Deployments")
    equal(find(documents, "Service", "kbs-service")["spec"]["type"], "ClusterIP", "the TrusteeConfig's word")


@test("Permissive to Restricted: of a cluster's KbsConfig, only an admin's part stays")
def _():
    documents, _said = render(trustee(profileType="Permissive", nvidia="Local"))
    live = find(documents, "KbsConfig", "t-kbs-config")
    live["metadata"]["uid"] = "1"
    live["spec"]["KbsEnvVars"]["PROXY"] = "mine"
    live["spec"]["kbsServiceType"] = "NodePort"
    live["spec"]["instanceName"] = "earlier"
    documents, said = render(trustee(**RESTRICTED), *TLS, live)
    container = find(documents, "Deployment", "trustee-deployment")["spec"]["template"]["spec"]["containers"][0]
    equal(container["env"], [{"name": "PROXY", "value": "mine"}], "environment")
    equal(find(documents, "Service", "kbs-service")["spec"]["type"], "ClusterIP", "the Service's type")
    check("DebugLogging" not in said, said)


@test("a bad certificate isn't rolled out: what a cluster has stays")
def _():
    documents, _said = render(trustee(**RESTRICTED), *TLS)
    wrong = secret("kbs-tls", **{"tls.crt": HTTPS[0], "tls.key": TOKEN[1]})
    again, said = render(trustee(**RESTRICTED), wrong, TLS[1], *documents, want=1)
    check("error: TrusteeConfig default/t: KeyMismatch: " in said, said)
    equal(again, documents, "what is rendered")


@test("a KbsConfig's own bad pair isn't rolled out: the live content's digest stays")
def _():
    def content(documents):
        template = find(documents, "Deployment", "trustee-deployment")["spec"]["template"]
        return template["metadata"]["annotations"][P + "content"]

    good = CASES["microservices"][1]
    bad = [secret("kbs-https-key", privateKey=TOKEN[1]) if o["metadata"]["name"] == "kbs-https-key" else o for o in good]
    documents, said = render(*good)
    check("error: " not in said, said)
    live = find(documents, "Deployment", "trustee-deployment")
    held, said = render(*bad, live, want=1)
    check('error: KbsConfig default/advanced: KeyMismatch: spec.kbsHttpsCertSecretName: Secret "kbs-https-cert" with Secret '
          '"kbs-https-key": ' in said, said)
    equal(content(held), content(documents), "the digest of what is mounted")
    first, _said = render(*bad, want=1)
    equal([d["kind"] for d in first if d["kind"] == "Deployment"], [], "the Deployments, where there was none")


main()
