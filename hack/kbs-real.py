"""The real Trustee KBS, run as the controller would have it run. Not a part of CI: docs/trustee-real.md.

    "$(hack/pyenv.sh)" hack/kbs-real.py KBS KBS_CLIENT COCOPIPE POLICY_TEXT [-k SUBSTRING]

KBS and KBS_CLIENT are Trustee's own programs, release 0.21; COCOPIPE is build/bin/cocopipe, and POLICY_TEXT
build/asan/tests/policy_text. What runs is what `cocopipe render` prints for a TrusteeConfig; or, where a case wants more
than one of those can say, a configuration of tests/golden/kbs-config with a Deployment of tests/golden/kbs-render, and
policies made for it. The guest is the sample TEE, which needs no hardware.

A stand-in for the kubelet lays the volumes out below a temporary folder: a ConfigMap, Secret or projected volume is a
read-only folder of links to ..data, which a rename changes; a subPath is a file that stays as it is. Run by root, the KBS
runs as a user who owns nothing. Everything happens on this machine's loopback.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lib"))
from tap import check, equal, main, test  # noqa: E402

if len(sys.argv) < 5:
    sys.exit(__doc__)
KBS, KBS_CLIENT, COCOPIPE, POLICY_TEXT = (os.path.abspath(sys.argv.pop(1)) for _ in range(4))
GOLDENS = ROOT / "tests/golden"
NOBODY = {"user": 12345, "group": 0, "extra_groups": []} if os.geteuid() == 0 else {}
START_S = 30
COMMAND_S = 60
STOP_S = 60

INITDATA = 'version = "0.1.0"\nalgorithm = "sha256"\n\n[data]\n"aa.toml" = "a = 1\\n"\n'
OTHER_INITDATA = INITDATA.replace("a = 1", "a = 2")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False, **options)


def policy(*arguments):
    done = run(POLICY_TEXT, *arguments)
    check(done.returncode == 0, f"policy_text {arguments[:3]}: {done.stderr}")
    return done.stdout


def replaced(text, old, new):
    check(old in text, f"there is no {old!r} to replace")
    return text.replace(old, new)


# ---- Certificates


def openssl(*arguments):
    done = run("openssl", *arguments)
    check(done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}")


class Certificates:
    """PEM texts: own, self-signed, with key; leaf with leaf_key, signed by ca with ca_key. All for this machine."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            self.folder = folder
            new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
            names = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
            # What OpenSSL makes unasked is a CA's.
            plain = (*names, "-addext", "basicConstraints=critical,CA:FALSE")
            openssl("req", "-x509", *new, *plain, "-subj", "/CN=own", *self.out("key", "own"))
            openssl("req", "-x509", *new, *names, "-subj", "/CN=ca", *self.out("ca_key", "ca"))
            openssl("req", *new, *plain, "-subj", "/CN=leaf", *self.out("leaf_key", "request"))
            signer = ("-CA", self.path("ca"), "-CAkey", self.path("ca_key"), "-CAcreateserial")
            signed = ("-copy_extensions", "copy", "-out", self.path("leaf"))
            openssl("x509", "-req", "-in", self.path("request"), *signer, *signed)
            for name in ("key", "own", "ca_key", "ca", "leaf_key", "leaf"):
                setattr(self, name, pathlib.Path(self.path(name)).read_text())

    def path(self, name):
        return f"{self.folder}/{name}"

    def out(self, key, certificate):
        return "-keyout", self.path(key), "-out", self.path(certificate)


# ---- Volumes, as the kubelet lays them out


def lay_out_volume(path, files):
    """A read-only folder of links. Laid out again, it changes under whoever has it open."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    data = path / f"..{time.time_ns()}"
    data.mkdir()
    for name, content in files.items():
        (data / name).write_text(content)
        (data / name).chmod(0o444)
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"..data/{name}")
    data.chmod(0o555)
    (path / "..new").symlink_to(data.name)
    (path / "..new").rename(path / "..data")
    path.chmod(0o555)


def files_of(source, objects):
    """File name -> content, of a volume's configMap or secret, or of a source of a projected volume."""
    kind = "ConfigMap" if "configMap" in source else "Secret"
    body = source.get("configMap") or source["secret"]
    data = objects[f"{kind}/{body.get('secretName') or body['name']}"]
    items = body.get("items") or [{"key": key, "path": key} for key in data]
    return {item["path"]: data[item["key"]] for item in items}


class Layout:
    """What is to run: a configuration, a Deployment, and the ConfigMaps and Secrets that it names. To be changed first."""

    def __init__(self, config, deployment="restricted"):
        made = Certificates()
        self.take("config", "resource-policy", "references", "kbs-https-cert")
        self.config = (GOLDENS / f"kbs-config/{config}.toml").read_text()
        documents = yaml.safe_load_all((GOLDENS / f"kbs-render/{deployment}.yaml").read_text())
        self.take_deployment(next(d for d in documents if d and d["kind"] == "Deployment"))
        self.objects = {
            "ConfigMap/resource-policy": {"resource-policy.rego": policy("resource", "permissive")},
            "ConfigMap/cpu": {"default_cpu.rego": policy("attestation", "cpu", "query")},
            "ConfigMap/gpu": {"default_gpu.rego": policy("attestation", "gpu", "query")},
            "ConfigMap/references": {"reference_value": "{\n}\n"},
            "Secret/app": {"key1": "the key", "key2": "another"},
            "Secret/app.example.com": {"tls.crt": "a certificate", "tls.key": "its key"},
            "Secret/credentials": {"config": "a configuration"},
            "Secret/kbs-auth": {"publicKey": ""},
            "Secret/vault-ca": {"ca.pem": made.own},
            "Secret/sessions": {"url": "redis://127.0.0.1:1"},
        }
        self.use_https(made.key, made.own)
        self.use_token(made.key, made.own)

    def take(self, config, resource_policy, references, certificate):
        """Names of objects."""
        self.config_name, self.certificate = config, f"Secret/{certificate}"
        self.resource_policy, self.references = f"ConfigMap/{resource_policy}", f"ConfigMap/{references}"
        self.folder_mode, self.folders = 0o777, []  # of emptyDirs

    def take_deployment(self, deployment):
        pod = deployment["spec"]["template"]["spec"]
        self.container, self.volumes = pod["containers"][0], {v["name"]: v for v in pod["volumes"]}

    def use_https(self, key, certificate):
        self.objects["Secret/kbs-https-key"] = {"privateKey": key}
        self.objects["Secret/kbs-https-cert"] = {"certificate": certificate}

    def use_token(self, key, certificate):
        self.objects["Secret/kbs-token-key"] = {"token.key": key}
        self.objects["Secret/kbs-token-cert"] = {"token.crt": certificate}

    def add_secret(self, name):
        """Serves all of a Secret, as the controller does."""
        items = [{"key": key, "path": f"default\\x2F{name}\\x2F{key}"} for key in self.objects[f"Secret/{name}"]]
        self.volumes["resources"]["projected"]["sources"].append({"secret": {"name": name, "items": items}})

    def use_policy(self, text):
        self.objects[self.resource_policy] = {"resource-policy.rego": text}

    def use_references(self, **values):
        def record(name, value):
            text = json.dumps({"version": "0.1.0", "name": name, "expiration": "2099-01-01T00:00:00Z", "value": value})
            return base64.urlsafe_b64encode(text.encode()).decode()

        text = json.dumps({name: record(name, value) for name, value in values.items()})
        self.objects[self.references] = {"reference_value": text}

    def is_https(self):
        return "insecure_http = false" in self.config

    def environment(self):
        """What the Deployment sets, but for the addresses of sessions, whose Secrets are elsewhere."""
        return {e["name"]: e.get("value", "") for e in self.container.get("env", []) if "valueFrom" not in e}

    def lay_out(self, root, port):
        text = re.sub(r"(?<=[\"/])/(opt|etc)/", lambda match: f"{root}/{match[1]}/", self.config)
        text = replaced(text, "0.0.0.0:8080", f"127.0.0.1:{port}")
        for kind in ("ConfigMap", "Secret"):
            self.objects[f"{kind}/{self.config_name}"] = {"kbs-config.toml": text}
        self.folders = []
        for mount in sorted(self.container["volumeMounts"], key=lambda mount: mount["mountPath"]):
            self.mount(root, mount)
        for folder in self.folders:
            folder.chmod(self.folder_mode)

    def mount(self, root, mount):
        volume, path = self.volumes[mount["name"]], root / mount["mountPath"].strip("/")
        if "emptyDir" in volume:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
            self.folders.append(path)
            return
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        files = {}
        for source in sources:
            files |= files_of(source, self.objects)
        if "subPath" not in mount:
            lay_out_volume(path, files)
            return
        # The kubelet makes no file, and the pod no start, where there is none.
        path.write_text(files[mount["subPath"]])
        path.chmod(0o444)

    def refresh(self, root, name):
        """What the kubelet does when an object has changed: subPaths stay as they are."""
        for mount in self.container["volumeMounts"]:
            if mount["name"] == name and "subPath" not in mount:
                self.mount(root, mount)


class Rendered(Layout):
    """What the controller makes of a TrusteeConfig "t" and the objects that it refers to."""

    def __init__(self, manifests):
        self.take("t-kbs-config", "t-resource-policy", "t-rvps-reference-values", "t-https-cert-secret")
        done = run(COCOPIPE, "render", "-f", "-", "-o", "json", input=manifests)
        print(done.stderr)
        equal(done.returncode, 0, "exit status of cocopipe render")
        given = [document for document in yaml.safe_load_all(manifests) if document]
        self.objects = {}
        for made in given + json.loads(done.stdout)["items"]:
            name = f"{made['kind']}/{made['metadata']['name']}"
            data = made.get("data", {})
            if made["kind"] == "Secret":
                data = {key: base64.b64decode(value).decode() for key, value in data.items()}
            self.objects[name] = data | made.get("stringData", {})
            if made["kind"] == "Deployment":
                self.take_deployment(made)
        self.config = self.objects["ConfigMap/t-kbs-config"]["kbs-config.toml"]


# ---- The KBS, and its guest


class Refused:
    """That a guest didn't get a resource, and the KBS's word for it."""

    def __init__(self, error, details=""):
        self.error, self.details = error, details

    def __eq__(self, other):
        return isinstance(other, Refused) and self.error == other.error

    def __repr__(self):
        return f"Refused({self.error}{self.details})"


DENIED = Refused("PolicyDeny")
UNTRUSTED = Refused("TokenVerifierError")
FAILED = Refused("PluginInternalError")


class Kbs(contextlib.AbstractContextManager):
    """A KBS that serves, or one that has ended: then status is its exit status."""

    def __init__(self, layout, probe=True, **environment):
        self.layout = layout
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="kbs-real-"))
        self.root.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        layout.lay_out(self.root, self.port)
        self.trusted = self.root / "ca.pem"
        self.trusted.write_text(layout.objects.get(layout.certificate, {}).get("certificate", ""))
        command = [KBS, *layout.container["command"][1:-1], f"{self.root}/{layout.container['command'][-1]}"]
        environment = {"PATH": os.environ["PATH"]} | layout.environment() | environment
        self.log_path = self.root / "log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd="/", env=environment, **NOBODY
            )
        self.status = self.wait(probe)

    def wait(self, probe):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return self.process.returncode
            if not probe and "starting service" in self.log():
                return None
            with contextlib.suppress(OSError):
                if probe and self.get("/healthz") == (200, b""):
                    return None
            time.sleep(0.05)
        self.process.kill()
        raise TimeoutError(f"not ready in {START_S} s: {self.log()}")

    def log(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log_path.read_text())

    def tls(self):
        return ssl.create_default_context(cafile=str(self.trusted))

    def connection(self):
        if self.layout.is_https():
            return http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.tls())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, path):
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def guest(self, *arguments, **environment):
        command = [KBS_CLIENT, "--url", f"http{'s' if self.layout.is_https() else ''}://localhost:{self.port}"]
        if self.layout.is_https():
            command += ["--cert-file", str(self.trusted)]
        return run(*command, *arguments, env={"PATH": os.environ["PATH"]} | environment)

    def fetch(self, path="default/app/key1", initdata=None, **environment):
        """What a guest gets: a text, or Refused."""
        before = len(self.log())
        done = self.guest("get-resource", "--path", path, *([initdata] if initdata else []), **environment)
        if done.returncode == 0:
            return base64.b64decode(done.stdout).decode()
        reasons = re.findall(r"ERROR kbs::error: (\w+)(.*)", self.log()[before:])
        check(reasons, f"no answer of the KBS: {done.stderr}")
        return Refused(*reasons[-1])

    def token(self, *arguments, **environment):
        """The claims of the token that a guest gets."""
        done = self.guest("attest", *arguments, **environment)
        check(done.returncode == 0, f"attest: {done.stderr}")
        payload = done.stdout.strip().split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    def cpu(self, *arguments):
        return self.token(*arguments)["submods"]["cpu0"]

    def stop(self):
        """Seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=STOP_S)
        return time.monotonic() - began

    def __exit__(self, *details):
        if self.process.poll() is None:
            self.stop()
        if details[0] is not None:
            print(self.log()[-6000:])
        for folder, names, _ in os.walk(self.root):
            for path in (pathlib.Path(folder, name) for name in names):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)
        shutil.rmtree(self.root)


def started(layout, probe=True, **environment):
    kbs = Kbs(layout, probe, **environment)
    if kbs.status is not None:
        with kbs:
            check(False, f"it ended with {kbs.status}")
    return kbs


def refuses_to_start(layout, why, **environment):
    with Kbs(layout, **environment) as kbs:
        check(kbs.status not in (None, 0), f"exit status {kbs.status}")
        check(why in kbs.log(), f"it doesn't say {why!r}")


# With these, the sample TEE's evidence is affirming.
SAMPLE_VALUES = {"launch_digest": ["abcde"], "svn": ["1"], "major_version": [1], "minimum_minor_version": 4}


def sample_is_fine(text):
    """The policy without its word on the sample TEE."""
    text, n = re.subn(r"\n\s*not has_sample\(claims\)\n", "\n", text)
    equal(n, 1, "lines left out")
    return text


# ---- From a TrusteeConfig to a secret

PROFILE = """
apiVersion: pipelines.confidentialcontainers.org/v1alpha1
kind: ConfidentialProfile
metadata: {name: p, namespace: trustee-operator-system}
spec: {initdata: {kbs: {url: "http://localhost:8080"}, agentPolicy: {preset: %s}}}
"""
APP = """
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: trustee-operator-system}
stringData: {greeting: hello}
"""
TRUSTEE = """
apiVersion: confidentialcontainers.org/v1alpha1
kind: TrusteeConfig
metadata: {name: t, namespace: trustee-operator-system}
spec: {secretResources: [app], %s}
"""
HTTPS = "httpsSpec: {tlsSecretName: kbs-tls}, profileType: Restricted"
BOUND = "bindings: [{profileRef: {name: p}, resources: [default/app]}]"
HELLO = "default/app/greeting"


def rendered(spec, preset="NoExec"):
    """With a profile, a Secret to serve, and a certificate for the name that guests use here."""
    secrets = run(str(ROOT / "hack/trustee-secrets.sh"), "localhost")
    check(secrets.returncode == 0, secrets.stderr)
    return Rendered("---".join((TRUSTEE % spec, PROFILE % preset, APP, "\n" + secrets.stdout)))


def initdata_of(preset):
    """Of pods with the profile."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(PROFILE % preset)
        file.flush()
        done = run(COCOPIPE, "initdata", "build", "--profile", file.name, "-o", "toml")
    check(done.returncode == 0, done.stderr)
    return done.stdout


@test("a TrusteeConfig, Permissive: its Secret is released")
def _():
    with started(rendered("profileType: Permissive")) as kbs:
        equal(kbs.fetch(HELLO), "hello", "the resource")
        equal(kbs.fetch("default/attestation-status/status"), "success", "upstream's sample")


@test("a TrusteeConfig, Restricted, with a signer of its own and of the user's: the sample TEE is refused")
def _():
    for spec in (HTTPS, HTTPS + ", attestationTokenVerificationSpec: {tlsSecretName: token-tls}"):
        layout = rendered(spec)
        with started(layout) as kbs:
            equal(kbs.fetch(HELLO), DENIED, "as it is")
        layout.use_policy(sample_is_fine(layout.objects[layout.resource_policy]["resource-policy.rego"]))
        layout.use_references(**SAMPLE_VALUES)
        with started(layout) as kbs:
            equal(kbs.fetch(HELLO), "hello", "affirming, and the sample TEE being fine")


@test("a TrusteeConfig that binds a resource to a profile: released with the profile's initdata alone")
def _():
    layout = rendered(f"{HTTPS}, {BOUND}")
    layout.use_policy(sample_is_fine(layout.objects[layout.resource_policy]["resource-policy.rego"]))
    layout.use_references(**SAMPLE_VALUES)
    with started(layout) as kbs:
        equal(kbs.fetch(HELLO, initdata_of("NoExec")), "hello", "the profile's")
        equal(kbs.fetch(HELLO, initdata_of("AllowAll")), DENIED, "another agent policy's")
        equal(kbs.fetch(HELLO), DENIED, "none")
        equal(kbs.fetch("default/attestation-status/status"), "success", "bound to nothing")


# ---- Configurations

# Another release's words: which of them it names first isn't the same each time.
OTHER_RELEASE = "failed to load configuration file"
CONFIGURATIONS = {
    "permissive-0.21": "restricted",  # with a signer of the user's, as the Deployment permissive hasn't
    "no-signer-0.21": "permissive",
    "restricted-0.21": "restricted",
    "restricted-0.21-everything": "redis",
    "restricted-0.21-tls-custom": "restricted",
    "restricted-0.21-tls-custom-1.2": "restricted",
    "restricted-0.21-tls-custom-ciphers-of-1.2": "restricted",
    "restricted-0.21-tls-custom-ciphers-of-1.3": "restricted",
    "restricted-0.21-tls-custom-ciphers-of-both": "restricted",
    "restricted-0.21-tls-modern": "restricted",
    "restricted-0.21-tls-old": "restricted",
    "restricted-0.21-vault": "vault",
    "restricted-0.15": OTHER_RELEASE,
    "restricted-0.19": OTHER_RELEASE,
    "restricted-0.20-postgres": OTHER_RELEASE,
}
for config, deployment in CONFIGURATIONS.items():

    @test(f"{config}: {'refused' if deployment == OTHER_RELEASE else 'served'}")
    def _(config=config, deployment=deployment):
        if deployment == OTHER_RELEASE:
            refuses_to_start(Layout(config), OTHER_RELEASE)
            return
        with started(Layout(config, deployment)):
            pass


def handshake(kbs, version):
    """The cipher, or False."""
    context = kbs.tls()
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(("127.0.0.1", kbs.port), 10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                return wrapped.cipher()[0]
    except OSError:
        return False


OLD, NEW = "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"
OLD_BY_IANA = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
# What handshakes of TLS 1.2 and of 1.3 come to; None: the KBS doesn't start. It gives its one list to both versions, which
# is why controller/kbs_config.c completes a list.
HANDSHAKES = {
    ("1.2", "1.3"): {
        (OLD, NEW): (OLD, NEW),
        (NEW, OLD): (OLD, NEW),
        (OLD,): None,
        (NEW,): None,
        (OLD_BY_IANA,): (False, False),
        (OLD_BY_IANA, NEW): (OLD, NEW),
        ("NO-SUCH", OLD, NEW): (OLD, NEW),
    },
    ("1.2", "1.2"): {(OLD,): (OLD, False), (OLD_BY_IANA,): (OLD, False), (OLD, NEW): (OLD, False), (NEW,): None},
    ("1.3", "1.3"): {(NEW,): (False, NEW), (OLD_BY_IANA,): (False, False), (OLD, NEW): (False, NEW), (OLD,): None},
}


@test("custom TLS: which names of ciphers go with which versions")
def _():
    for (low, high), lists in HANDSHAKES.items():
        for ciphers, want in lists.items():
            layout = Layout("restricted-0.21-tls-custom")
            text = f'tls_min_version = "{low}"\ntls_max_version = "{high}"\ntls_ciphers = "{":".join(ciphers)}"\n'
            layout.config, n = re.subn(r"tls_min_version.*'''\n", text, layout.config, flags=re.DOTALL)
            equal(n, 1, "lines replaced")
            with Kbs(layout, probe=False) as kbs:
                versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
                got = None if kbs.status is not None else tuple(handshake(kbs, version) for version in versions)
                equal(got, want, f"{low} to {high}, {ciphers}")


# ---- Releases

@test("permissive: released to the sample TEE, over HTTP")
def _():
    with started(Layout("permissive-0.21")) as kbs:
        equal(kbs.fetch(), "the key", "the resource")
        equal(kbs.fetch("default/app/key2"), "another", "another resource")
        equal(kbs.fetch("default/app/absent"), FAILED, "no such resource")
        claims = kbs.token()
        equal(list(claims["submods"]), ["cpu0"], "submods")
        equal(claims["submods"]["cpu0"]["ear.status"], "contraindicated", "without reference values")
        equal(claims["exp"] - claims["iat"], 300, "a token's life")
        digest = base64.b64encode(hashlib.sha256(INITDATA.encode()).digest()).decode()
        shown = kbs.cpu(INITDATA)["ear.veraison.annotated-evidence"]["init_data"]
        equal(shown, digest, "the digest as the sample TEE shows it")


@test("nobody without attestation; the admin's API is closed")
def _():
    answers = {
        "/kbs/v0/resource/default/app/key1": 401,
        "/kbs/v0/resource-policy": 401,
        "/kbs/v0/reference-value/svn": 401,
        "/kbs/v0/no-such-plugin": 404,
        "/metrics": 200,
        "/": 404,
    }
    with started(Layout("permissive-0.21")) as kbs:
        equal({path: kbs.get(path)[0] for path in answers}, answers, "answers")


def restricted(text=None, **values):
    layout = Layout("restricted-0.21")
    layout.use_policy(text or policy("resource", "restrictive"))
    if values:
        layout.use_references(**values)
    return layout


@test("restricted: refused to the sample TEE, over TLS, whatever its verdict")
def _():
    for values, verdict in (({}, "contraindicated"), (SAMPLE_VALUES, "affirming")):
        with started(restricted(**values)) as kbs:
            equal(kbs.cpu()["ear.status"], verdict, "the verdict")
            equal(kbs.fetch(), DENIED, "the resource")


@test("restricted but for the sample TEE: released where the verdict is affirming, and only there")
def _():
    text = sample_is_fine(policy("resource", "restrictive"))
    with started(restricted(text, **SAMPLE_VALUES)) as kbs:
        equal(kbs.fetch(), "the key", "affirming")
    for name, bad in {"launch_digest": ["x"], "svn": ["2"], "minimum_minor_version": 5, "major_version": []}.items():
        with started(restricted(text, **(SAMPLE_VALUES | {name: bad}))) as kbs:
            cpu = kbs.cpu()
            print(name, bad, cpu["ear.status"], cpu["ear.trustworthiness-vector"])
            check(cpu["ear.status"] in ("warning", "contraindicated"), cpu["ear.status"])
            equal(kbs.fetch(), DENIED, f"{name} {bad}")


@test("IBM SE's policy: refused to the sample TEE")
def _():
    with started(restricted(policy("resource", "ibm-se"), **SAMPLE_VALUES)) as kbs:
        equal(kbs.fetch(), DENIED, "the resource")


@test("a device beside the CPU: its own verdict counts as well")
def _():
    device = {"ENABLE_SAMPLE_DEVICE": "1"}
    text = sample_is_fine(policy("resource", "restrictive"))
    with started(restricted(text, **SAMPLE_VALUES)) as kbs:
        verdicts = {name: part["ear.status"] for name, part in kbs.token(**device)["submods"].items()}
        equal(verdicts, {"cpu0": "affirming", "gpu0": "contraindicated"}, "verdicts")
        equal(kbs.fetch(), "the key", "the CPU alone")
        equal(kbs.fetch(**device), DENIED, "with the device")
    with started(Layout("permissive-0.21")) as kbs:
        equal(kbs.fetch(**device), "the key", "permissive, with the device")


@test("bindings: released with the initdata that a resource is bound to, and with no other")
def _():
    bindings = ("default/app/", f"sha256:{INITDATA}", "--", "default/app/key2", f"sha256:{OTHER_INITDATA}")
    texts = {
        "permissive-0.21": policy("resource", "permissive", *bindings),
        "restricted-0.21": sample_is_fine(policy("resource", "restrictive", *bindings)),
    }
    for config, text in texts.items():
        layout = Layout(config)
        layout.add_secret("credentials")
        layout.use_policy(text)
        layout.use_references(**SAMPLE_VALUES)
        with started(layout) as kbs:
            equal(kbs.fetch(initdata=INITDATA), "the key", "its own initdata")
            equal(kbs.fetch(initdata=OTHER_INITDATA), DENIED, "another's")
            equal(kbs.fetch(initdata=INITDATA + "\n"), DENIED, "a byte more")
            equal(kbs.fetch(), DENIED, "none")
            equal(kbs.fetch("default/app/key2", INITDATA), DENIED, "bound closer, to another")
            equal(kbs.fetch("default/app/key2", OTHER_INITDATA), "another", "bound closer, its own")
            equal(kbs.fetch("default/credentials/config"), "a configuration", "bound to nothing")


@test("names of resources: with dots, and one that nobody can ask for")
def _():
    with started(Layout("permissive-0.21", "resources-odd")) as kbs:
        equal(kbs.fetch("default/app.example.com/tls.crt"), "a certificate", "dots")
        equal(kbs.fetch("default/credentials/config"), "a configuration", "one key of several")
        equal(kbs.fetch("default/credentials/.dockerconfigjson"), DENIED, "a leading dot")


# ---- Certificates, as guests and the KBS see them


@test("HTTPS certificates, for guests who trust nothing else")
def _():
    made = Certificates()
    kinds = {
        "self-signed": (made.key, made.own, made.own, True),
        "self-signed, and a CA's": (made.ca_key, made.ca, made.ca, False),
        "by a CA": (made.leaf_key, made.leaf, made.ca, True),
        "by a CA, with its own sent along": (made.leaf_key, made.leaf + made.ca, made.ca, True),
        "by a CA that isn't trusted, but the leaf is": (made.leaf_key, made.leaf, made.leaf, False),
        "another's": (made.key, made.own, made.ca, False),
    }
    for name, (key, certificate, trusted, want) in kinds.items():
        layout = Layout("restricted-0.21")
        layout.use_https(key, certificate)
        with started(layout, probe=False) as kbs:
            kbs.trusted.write_text(trusted)
            done = kbs.guest("attest")
            print(name, done.returncode, sorted(set(re.findall(r"UnknownIssuer|CaUsedAsEndEntity", done.stderr))))
            equal(done.returncode == 0, want, name)


@test("token signers: self-signed, by a CA, another key's")
def _():
    made = Certificates()
    kinds = {
        "self-signed": (made.key, made.own, "the key"),
        "leaf and root": (made.leaf_key, made.leaf + made.ca, "the key"),
        "leaf without its root": (made.leaf_key, made.leaf, UNTRUSTED),
        "root before leaf": (made.leaf_key, made.ca + made.leaf, UNTRUSTED),
        "another key's": (made.leaf_key, made.own, UNTRUSTED),
    }
    for name, (key, certificate, want) in kinds.items():
        layout = Layout("permissive-0.21")
        layout.use_token(key, certificate)
        with started(layout) as kbs:
            equal(kbs.fetch(), want, name)


@test("token signers that it doesn't start with: RSA, no certificate")
def _():
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=r", "-keyout", key, "-out", certificate)
        rsa = pathlib.Path(key).read_text(), pathlib.Path(certificate).read_text()
    made = Certificates()
    for pair, why in ((rsa, "expecting an ec key"), ((made.key, ""), "token.crt")):
        layout = Layout("permissive-0.21")
        layout.use_token(*pair)
        refuses_to_start(layout, why)


@test("no signer: tokens are believed by the key that they bring; without that, it doesn't start")
def _():
    layout = Layout("no-signer-0.21")
    with started(layout) as kbs:
        equal(kbs.fetch(), "the key", "the resource")
    layout.config = replaced(layout.config, "insecure_header_jwk = true", "insecure_header_jwk = false")
    refuses_to_start(layout, "no trusted verification materials")
    trusted = 'insecure_header_jwk = false\ntrusted_certs_paths = ["/etc/attestation-cert/token.crt"]'
    layout.config = replaced(layout.config, "insecure_header_jwk = false", trusted)
    with started(layout) as kbs:
        equal(kbs.fetch(), UNTRUSTED, "a key without a certificate")


# ---- Vault


class VaultDouble(contextlib.AbstractContextManager):
    """Answers one token as Vault's KV version 1 does, over TLS."""

    def __init__(self, made, secrets):
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.path, self.headers["X-Vault-Token"]))
                data = secrets.get(self.path) if self.headers["X-Vault-Token"] == "hvs.made-up" else None
                found = {"request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data}
                body = json.dumps(found if data is not None else {"errors": []}).encode()
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as pem:
            pem.write(made.leaf_key + made.leaf)
            pem.flush()
            context.load_cert_chain(pem.name)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def __exit__(self, *details):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@test("Vault: resources come from there, over TLS that is checked, after the policy")
def _():
    made = Certificates()
    secrets = {"/v1/secret/default/app/key1": {"data": "in Vault"}, "/v1/secret/default/app/odd": {"other": "x"}}
    with VaultDouble(made, secrets) as vault:
        layout = Layout("restricted-0.21-vault", "vault")
        layout.config = replaced(layout.config, "vault.example.com:8200", f"localhost:{vault.server.server_port}")
        layout.objects["Secret/vault-ca"] = {"ca.pem": made.ca}
        with started(layout) as kbs:
            equal(kbs.fetch(), "in Vault", "the resource")
            equal(vault.asked, [("/v1/secret/default/app/key1", "hvs.made-up")], "what Vault was asked")
            equal(kbs.fetch("default/app/odd"), FAILED, "an entry without data")
            equal(kbs.fetch("default/app/absent"), FAILED, "no such entry")
        vault.asked.clear()
        layout.use_policy(policy("resource", "restrictive"))
        with started(layout) as kbs:
            equal(kbs.fetch(), DENIED, "restricted")
        layout.use_policy(policy("resource", "permissive"))
        layout.objects["Secret/vault-ca"] = {"ca.pem": made.own}
        with started(layout) as kbs:
            equal(kbs.fetch(), FAILED, "a Vault of another CA")
        equal(vault.asked, [], "what Vault was asked then")


# ---- Files, and the process


@test("a resource changes under a KBS that runs")
def _():
    layout = Layout("permissive-0.21")
    with started(layout) as kbs:
        equal(kbs.fetch(), "the key", "at first")
        layout.objects["Secret/app"]["key1"] = "a new key"
        layout.refresh(kbs.root, "resources")
        equal(kbs.fetch(), "a new key", "afterwards")


@test("what it writes itself, and that it can't be kept from it")
def _():
    layout = Layout("permissive-0.21")
    storage = "opt/confidential-containers/storage"
    with started(layout) as kbs:
        found = sorted(path.name for path in (kbs.root / storage / "attestation_service_policy").iterdir())
        equal(found, [f"default_{name}.rego" for name in ("cpu", "gpu", "ppcie", "switch")], "policies")
        found = sorted(path.name for path in (kbs.root / storage).iterdir())
        equal(found, ["attestation_service_policy", "kbs", "local_json", "repository"], "folders")
    # A folder that is the container runtime's, made for the files that are mounted in there, isn't writable.
    layout.folder_mode = 0o555
    refuses_to_start(layout, "default_switch.rego")


@test("what is broken and mounted: no resources, but it runs")
def _():
    broken = {
        "ConfigMap/references": {"reference_value": ""},
        "ConfigMap/cpu": {"default_cpu.rego": "package policy\n}"},
        "ConfigMap/resource-policy": {"resource-policy.rego": "package policy\n}"},
    }
    for name, data in broken.items():
        layout = Layout("permissive-0.21")
        layout.objects[name] = data
        with started(layout) as kbs:
            refused = kbs.fetch()
            print(name, refused)
            check(isinstance(refused, Refused), name)
            equal(kbs.get("/healthz")[0], 200, "health")


@test("SIGTERM: it ends at once, but waits for connections")
def _():
    grace_s = 35  # less than the Deployment's terminationGracePeriodSeconds
    with started(Layout("permissive-0.21")) as kbs:
        took = {"idle": kbs.stop()}
        equal(kbs.process.returncode, 0, "exit status")
    with started(Layout("permissive-0.21")) as kbs, contextlib.closing(kbs.connection()) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        took["kept alive"] = kbs.stop()
    with started(Layout("permissive-0.21")) as kbs, contextlib.closing(kbs.connection()) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        connection.sock.sendall(b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
        for _ in range(20):  # by when it has seen that, too
            kbs.get("/healthz")
        took["half a request"] = kbs.stop()
    print({what: f"{seconds:.1f} s" for what, seconds in took.items()})
    check(max(took.values()) < grace_s, f"{took}")


@test("RUST_LOG: a bad one keeps it from starting; no secret is logged at debug")
def _():
    refuses_to_start(Layout("permissive-0.21"), "RUST_LOG is present but invalid", RUST_LOG="a=b=c")
    with started(Layout("permissive-0.21"), RUST_LOG="debug") as kbs:
        equal(kbs.fetch(), "the key", "the resource")
        for secret in ("the key", "PRIVATE KEY"):
            check(secret not in kbs.log(), f"{secret!r} is logged")
    with started(Layout("restricted-0.21-vault", "vault"), RUST_LOG="debug") as kbs:
        check("hvs.made-up" not in kbs.log(), "Vault's token is logged")


main()
