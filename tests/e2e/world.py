"""A cluster with our manifests, and our programs beside it on loopback: what the end-to-end suites share.

Of the webhook configurations that `kubectl kustomize manifests/base` prints, only the way to reach the webhook is replaced,
clientConfig.service by a URL and a CA.
"""

import base64
import contextlib
import copy
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from cluster import HOST, ROOT, Cluster, Proc, answers, free_ports
from tap import check, equal

BASE = ROOT / "manifests/base"
SAMPLES = ROOT / "manifests/samples"
CRDS = ROOT / "crds"
SYSTEM_NAMESPACE = "coco-pipelines-system"
P = "pipelines.confidentialcontainers.org/"
LABEL = P + "confidential"
KATA = "io.katacontainers.config.hypervisor."
GRACE_S = 30  # that a kubelet gives a program to end
REFUSED_TOKEN_S = 30  # an API server remembers a token that was good for 10 s
MUTATING, VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"

# How kubectl tells of a refusal.
FORBIDDEN = 'Error from server (Forbidden): error when creating "STDIN": '
MUTATE = 'admission webhook "labelled.mutate.pipelines.confidentialcontainers.org" denied the request: '
VALIDATE = 'admission webhook "labelled.validate.pipelines.confidentialcontainers.org" denied the request: '
REFUSED = 'admission webhook "profiles.validate.pipelines.confidentialcontainers.org" denied the request: '
HTTP_WARNING = (
    "Warning: spec.initdata.kbs.url is plain http: guests can't tell the KBS from whoever answers in its place; use https, "
    "with caBundle or caConfigMapRef for a CA of your own\n"
)


def programs(*names):
    """The programs' paths: those of the command line, which are taken from it, else of the build."""
    paths = []
    for name in names:
        given = len(sys.argv) > 1 and not sys.argv[1].startswith("-")
        paths.append(pathlib.Path(sys.argv.pop(1)).resolve() if given else ROOT / "build/bin" / name)
    return paths


# ---- Objects


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def profile(name, namespace=SYSTEM_NAMESPACE, **spec):
    """The sample profile under another name, with some parts of its spec replaced."""
    made = documents(SAMPLES / "profile.yaml")[0]
    made["metadata"] = {"name": name, "namespace": namespace}
    for part, fields in spec.items():
        made["spec"][part] = made["spec"].get(part, {}) | fields
    return made


def stored_profile(name, spec, **metadata):
    """A profile of namespace plain with just this spec, in YAML as people write it; a KBS where spec names none."""
    if "initdata" not in spec:
        spec = ", ".join(["initdata: {kbs: {url: 'https://kbs'}}", *([spec] if spec else [])])
    head = {"apiVersion": P + "v1alpha1", "kind": "ConfidentialProfile"}
    metadata = {"name": name, "namespace": "plain"} | metadata
    return f"{yaml.safe_dump(head)}metadata: {json.dumps(metadata)}\nspec: {{{spec}}}\n"


def namespace(name, **labels):
    labels = {P + key.replace("_", "-"): value for key, value in labels.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name, labels=None, annotations=None, container=None, **spec):
    """A pod of one container; labelled confidential unless labels say otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {LABEL: "true"} if labels is None else labels,
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "main", "image": "none.invalid/none", **(container or {})}], **spec},
    }


def sample_pod(name):
    """The pod that Tekton makes of the sample TaskRun."""
    made = documents(SAMPLES / "pod.yaml")[0]
    made["metadata"]["name"] = name
    return made


def each_container(made):
    return [*made["spec"].get("initContainers", []), *made["spec"]["containers"]]


def mib(quantity):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|)", quantity).groups()
    return int(number) * {"Mi": 1, "Gi": 1024, "": 1 / 2**20}[unit]


def memory_request(made):
    """The pod's effective memory request in MiB, without overhead: containers at once, init containers one by one."""

    def requests(containers):
        return [mib(c["resources"].get("requests", {}).get("memory", "0")) for c in containers]

    return max(sum(requests(made["spec"]["containers"])), *requests(made["spec"].get("initContainers", [])), 0)


def check_confidential(made, what):
    """The pod is a confidential guest of the size that the scheduler accounts for."""
    annotations = made["metadata"]["annotations"]
    equal(made["spec"].get("runtimeClassName"), "kata-cc", f"{what}: the RuntimeClass")
    check(annotations.get(KATA + "cc_init_data"), f"{what} has no initdata")
    equal(annotations.get(KATA + "default_memory"), str(int(memory_request(made))), f"{what}: the VM's MiB")
    injected = json.loads(annotations[P + "injected"])
    equal(injected["vmMiB"], memory_request(made), f"{what}: the VM's MiB as injected")


# ---- What runs


def publish(folder, files):
    """Replaces a folder's files at once, as kubelet does it for the volume of a Secret or ConfigMap."""
    folder.mkdir(exist_ok=True)
    data = folder / "..data"
    version = pathlib.Path(tempfile.mkdtemp(prefix="..version", dir=folder))
    version.chmod(0o755)  # its reader may be another user
    for name, content in files.items():
        (version / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "..new").symlink_to(version.name)
    old = data.resolve() if data.exists() else None
    os.replace(folder / "..new", data)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for link in folder.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
    if old:
        shutil.rmtree(old)


class Program:
    """A server of ours on loopback: its folder, its log, its plain port."""

    def __init__(self, binary, folder, env, *options):
        self.name = binary.name
        self.folder = folder
        self.env = env
        self.plain_port = free_ports(1)[0]
        self.argv = [binary, f"--plain-listen={HOST}:{self.plain_port}", "--log-level=debug", *options]
        self.proc = None
        folder.mkdir(parents=True, exist_ok=True)

    def launch(self, *options):
        """Starts it, with further options, and waits for nothing: it may be about to die."""
        self.proc = Proc(self.name, [*self.argv, *options], self.folder / f"{self.name}.log", self.env)

    def start(self, *options):
        self.launch(*options)
        self.proc.wait_until(self.is_listening, "listens")

    def is_listening(self):
        return answers(self.plain_port)

    def stop(self):
        self.proc.stop(GRACE_S)
        equal(self.proc.process.returncode, 0, f"{self.name}'s exit status")

    def log(self):
        lines = self.proc.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def logged(self, message):
        return [line for line in self.log() if line["msg"] == message]

    def get(self, path):
        """(status, text) from the plain port."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.plain_port, timeout=10)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def follows_all(self, text=None):
        """Whether it has all streams open that it wants; text: of its /metrics, where that is known."""
        text = text or self.get("/metrics")[1]
        wanted, there = (
            sum(float(value) for value in re.findall(rf"^{name}{{\S* (\S+)$", text, re.M))
            for name in ("coco_watches", "coco_watches_open")
        )
        return wanted > 0 and wanted == there

    def metric(self, series, default=None):
        """The value of a series, such as 'a_total{b="c"}'. default: where it isn't there (yet)."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.get("/metrics")[1], re.M)
        check(found or default is not None, f"{self.name} has no metric {series}")
        return float(found[1]) if found else default


class Webhook(Program):
    """coco-webhook as its container would see the world."""

    def __init__(self, binary, folder, env, *options):
        self.port = free_ports(1)[0]
        tls = [f"--listen={HOST}:{self.port}", f"--tls-cert={folder}/tls/tls.crt", f"--tls-key={folder}/tls/tls.key"]
        super().__init__(binary, folder, env, *tls, *options)
        self.renew_certificate()

    def is_listening(self):
        return answers(self.port) and super().is_listening()

    def renew_certificate(self):
        """A new serving certificate of the same CA."""
        subprocess.run(
            [ROOT / "hack/certs.sh", "--san", f"IP:{HOST}", self.folder / "certs"],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        self.certificate = (self.folder / "certs/tls.crt").read_text()
        publish(self.folder / "tls", {f: (self.folder / "certs" / f).read_text() for f in ("tls.crt", "tls.key")})

    @property
    def ca(self):
        return (self.folder / "certs/ca.crt").read_text()

    def served_certificate(self):
        return ssl.get_server_certificate((HOST, self.port))

    def reviews(self, name, endpoint=None):
        """What the log says of one pod's reviews, in their order."""
        return [r for r in self.log() if r.get("pod") == name and endpoint in (None, r["endpoint"])]

    def decisions(self, name, endpoint="mutate-pods"):
        return [review["decision"] for review in self.reviews(name, endpoint)]


class Account:
    """A ServiceAccount of the base as a pod has it: a token in a file that is replaced now and then. It reaches the API
    server through a proxy."""

    def __init__(self, world, name, proxy):
        self.cluster, self.name = world.cluster, name
        self.user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{name}"
        self.folder = world.folder / f"account-{name}"
        self.kubeconfig = self.folder / "kubeconfig"
        self.folder.mkdir()
        self.renew()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": f"https://{HOST}:{proxy.port}", "certificate-authority": str(proxy.ca)},
                }
            ],
            "users": [{"name": name, "user": {"tokenFile": f"{self.folder}/token/token"}}],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": name}}],
            "current-context": name,
        }
        self.kubeconfig.write_text(json.dumps(content))

    def renew(self):
        """Puts another token into the file. It counts as long as the Secret exists that it is bound to."""
        secret = self.post("secrets", {"metadata": {"generateName": f"{self.name}-token-"}})["metadata"]
        bound = {"apiVersion": "v1", "kind": "Secret", "name": secret["name"], "uid": secret["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
        answer = self.post(f"serviceaccounts/{self.name}/token", request)
        self.secret, self.token = secret["name"], answer["status"]["token"]
        publish(self.folder / "token", {"token": self.token})

    def post(self, path, body):
        status, answer = self.cluster.raw("POST", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/{path}", body)
        equal(status, 201, f"the status for {path} ({answer})")
        return answer

    def rotate(self):
        """Another token in the file; the old one is refused from the return on."""
        old = self.token
        revoked = self.secret
        self.renew()
        self.cluster.kubectl("delete", "secret", revoked, "-n", SYSTEM_NAMESPACE)
        self.cluster.tokens["revoked"] = old
        self.cluster.wait_for(
            lambda: self.cluster.raw("GET", "/api/v1/namespaces/plain/configmaps", user="revoked")[0] == 401,
            f"the old token of {self.name} is refused",
            REFUSED_TOKEN_S,
        )


class World:
    """The cluster, and the webhook in force. A subclass's set_up() starts what there is beside the cluster."""

    apiserver_args = ()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.stack = stack
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coco-world-")))
            self.cluster = stack.enter_context(Cluster(self.apiserver_args))
            self.base = list(yaml.safe_load_all(self.cluster.kubectl("kustomize", str(BASE))[1]))
            self.configurations = {d["kind"]: d for d in self.base if d["kind"] in (MUTATING, VALIDATING)}
            self.webhook = None
            self.canaries = 0
            self.set_up()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def set_up(self):
        raise NotImplementedError

    def start(self, program):
        """Starts a program, which then stops with the world."""
        program.start()
        self.stack.callback(program.stop)

    def prepare_cluster(self, *objects):
        """What the samples need, namespace plain and the objects given, and users who may create pods."""
        cluster = self.cluster
        self.apply_base("Namespace")
        for name in (SYSTEM_NAMESPACE, "kube-system"):  # as API servers do by themselves from 1.21 on
            cluster.kubectl("label", "namespace", name, f"kubernetes.io/metadata.name={name}")
        for name in ("namespace.yaml", "runtimeclass-test.yaml"):
            cluster.kubectl("apply", "-f", str(SAMPLES / name))
        cluster.kubectl("apply", "-f", str(ROOT / "tests/e2e/crds"))
        cluster.kubectl("apply", "--validate=false", "-k", str(CRDS))  # 1.20 knows no rules in CEL
        self.apply_all([namespace("plain"), *objects])
        cluster.grant_edit("tekton", "statefulset", "alice")
        cluster.wait_for(
            lambda: all(
                self.create(pod("probe", {}), user=user, dry_run=True)[0] == 201
                for user in ("tekton", "statefulset", "alice")
            ),
            "the users may create pods",
        )

    def apply_base(self, *kinds):
        self.apply_all([document for document in self.base if document["kind"] in kinds])

    def apply_all(self, objects):
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    # Webhook configurations

    def reachable(self, configuration, ca=None):
        """The configuration, with our loopback address in place of the Service's."""
        configuration = copy.deepcopy(configuration)
        for webhook in configuration["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {
                "url": f"https://{HOST}:{self.webhook.port}{path}",
                "caBundle": base64.b64encode((ca or self.webhook.ca).encode()).decode(),
            }
        return configuration

    def reaches(self, endpoint):
        """Whether the API server asks the webhook's endpoint now."""
        self.canaries += 1
        name = f"canary-{self.canaries}"
        self.create(pod(name), dry_run=True)
        return bool(self.webhook.reviews(name, endpoint))

    def install(self, *kinds, ca=None):
        for kind in kinds or self.configurations:
            self.cluster.apply(json.dumps(self.reachable(self.configurations[kind], ca)))
            endpoint = "mutate-pods" if kind == MUTATING else "validate-pods"
            self.cluster.wait_for(lambda: self.reaches(endpoint), f"the {kind} is in force")

    @contextlib.contextmanager
    def without(self, *kinds):
        """With these webhook configurations out of force."""
        for kind in kinds:
            self.cluster.kubectl("delete", kind, "coco-webhook")
            endpoint = "mutate-pods" if kind == MUTATING else "validate-pods"
            # Twice in a row, as an API server may ask once more from what it had listed before.
            self.cluster.wait_for(lambda: not self.reaches(endpoint), f"the {kind} is out of force")
        try:
            yield
        finally:
            self.install(*kinds)

    # Pods

    def create(self, made, ns="plain", user="tekton", dry_run=False):
        """One request without kubectl: (status, answer)."""
        made = copy.deepcopy(made)
        made["metadata"].pop("namespace", None)
        path = f"/api/v1/namespaces/{ns}/pods" + ("?dryRun=All" if dry_run else "")
        return self.cluster.raw("POST", path, made, user=user)

    def created(self, made, ns="plain", user="tekton"):
        """The pod as it is stored."""
        status, answer = self.create(made, ns, user)
        equal(status, 201, f"the status for {made['metadata']['name']} ({answer.get('message')})")
        return self.stored(made["metadata"]["name"], ns)

    def stored(self, name, ns="plain"):
        status, answer = self.cluster.raw("GET", f"/api/v1/namespaces/{ns}/pods/{name}")
        equal(status, 200, f"the status of getting {name}")
        return answer

    def kubectl_create(self, made, ns="plain", user="tekton", *args):
        """(exit status, stdout, stderr) of kubectl create."""
        made = copy.deepcopy(made)
        made["metadata"].pop("namespace", None)
        return self.cluster.kubectl(
            "create", "-n", ns, *args, "-f", "-", user=user, stdin=json.dumps(made), check=False
        )
