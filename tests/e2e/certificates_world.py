"""A cluster whose API server asks several coco-webhooks by their Service, with the certificates that these make.

The webhook configurations are the base's, with nothing replaced: the Service is of type ExternalName, so that it leads to
loopback, where a balancer stands for kube-proxy. The server's name that the API server insists on is the true one.
"""

import base64
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from world import MUTATING, ROOT, SYSTEM_NAMESPACE, Account, Program, World, pod

from balancer import Balancer
from cluster import HOST, answers, free_ports
from fault_proxy import FaultProxy
from tap import equal

SECRET = "coco-webhook-tls"
SERVER_NAME = f"coco-webhook.{SYSTEM_NAMESPACE}.svc"
MANAGER = "coco-webhook-certificates"
REPLICAS = 3
SECRET_PATCH = f"^PATCH .*/secrets/{SECRET}"
BUNDLE_PATCH = "^PATCH .*webhookconfigurations/coco-webhook"


class Replica(Program):
    """coco-webhook as its container would see the world, through a proxy of its own."""

    def __init__(self, world, binary, number):
        self.world, self.number = world, number
        self.proxy = world.make_proxy()
        self.port = free_ports(1)[0]
        folder = world.folder / f"replica-{number}"
        folder.mkdir()
        kubeconfig = folder / "kubeconfig"
        text = world.account.kubeconfig.read_text().replace(f":{world.proxy.port}", f":{self.proxy.port}")
        kubeconfig.write_text(text.replace(str(world.proxy.ca), str(self.proxy.ca)))
        super().__init__(
            binary,
            folder,
            world.cluster.env,
            f"--listen={HOST}:{self.port}",
            f"--kubeconfig={kubeconfig}",
            f"--tls-secret={SECRET}",
        )

    def is_listening(self):
        return answers(self.port) and super().is_listening()

    def ready(self):
        """(status, text) of /readyz; (0, "") where nobody answers."""
        try:
            return self.get("/readyz")
        except (OSError, http.client.HTTPException):  # it may die while it answers
            return 0, ""

    def is_ready(self):
        return self.ready()[0] == 200

    def alive(self):
        return self.proc is not None and self.proc.alive()

    def kill(self):
        """As the kernel would: nothing is said to anyone. From any thread."""
        self.proc.process.send_signal(signal.SIGKILL)

    def stop(self):
        if self.alive():
            super().stop()

    def served(self):
        """The certificate that it shows now."""
        return ssl.get_server_certificate((HOST, self.port))


class CertificatesWorld(World):
    """binary: of the replicas, which each test starts."""

    def __init__(self, binary):
        self.binary = binary

    def set_up(self):
        self.prepare_cluster()
        self.proxy = self.make_proxy()
        self.apply_base("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        self.account = Account(self, "coco-webhook", self.proxy)
        self.cluster.kubectl("apply", "-f", str(ROOT / "manifests/samples/profile.yaml"))
        self.replicas = [Replica(self, self.binary, n) for n in range(REPLICAS)]
        for replica in self.replicas:
            self.stack.callback(replica.stop)
        self.balancer = self.stack.enter_context(
            Balancer(lambda: [r.port for r in self.replicas if r.alive() and r.is_ready()])
        )
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "coco-webhook", "namespace": SYSTEM_NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": HOST},
        }
        self.apply_all([service])
        for configuration in self.configurations.values():
            for webhook in configuration["webhooks"]:
                webhook["clientConfig"]["service"]["port"] = self.balancer.port
        self.secret = next(d for d in self.base if d["kind"] == "Secret")

    def make_proxy(self):
        return self.stack.enter_context(FaultProxy(self.cluster.port, self.cluster.dir / "certs/apiserver.crt"))

    # What is applied

    def manifests(self):
        """What the webhook writes into, as the manifests have it."""
        return [self.secret, *self.configurations.values()]

    def wipe(self):
        """As if it had never been installed."""
        for replica in self.replicas:
            replica.stop()
            replica.proxy.clear()
        for kind in self.configurations:
            self.cluster.kubectl("delete", "--ignore-not-found", kind, "coco-webhook")
        self.cluster.kubectl("delete", "--ignore-not-found", "secret", SECRET, "-n", SYSTEM_NAMESPACE)

    def install_anew(self, *options, replicas=REPLICAS):
        """From nothing: the manifests, and so many replicas, all ready and agreed; returns the Secret's values."""
        self.wipe()
        self.apply_all(self.manifests())
        self.start_all(*options, replicas=replicas)
        self.all_ready()
        self.cluster.wait_for(self.admits, "a pod is admitted")
        return self.settled()

    def start_all(self, *options, replicas=REPLICAS):
        """Those that don't run."""
        for replica in self.replicas[:replicas]:
            if not replica.alive():
                replica.start(*options)

    def all_ready(self, timeout=30):
        """All that run."""
        running = [r for r in self.replicas if r.alive()]
        self.cluster.wait_for(lambda: all(r.is_ready() for r in running), "all replicas are ready", timeout)
        self.cluster.wait_for(lambda: len(self.balancer.backends) == len(running), "the balancer knows all replicas")

    # What is there

    def data(self):
        """The Secret's values."""
        status, secret = self.cluster.raw("GET", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{SECRET}")
        equal(status, 200, "the status of getting the Secret")
        return {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}

    def configuration(self, kind):
        path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s/coco-webhook"
        status, configuration = self.cluster.raw("GET", path)
        equal(status, 200, f"the status of getting the {kind}")
        return configuration

    def bundles(self, kind):
        """The different caBundles of a configuration's webhooks."""
        return {
            base64.b64decode(webhook["clientConfig"].get("caBundle", "")).decode()
            for webhook in self.configuration(kind)["webhooks"]
        }

    def is_settled(self):
        """Whether all replicas show the Secret's certificate, and both configurations have just the Secret's bundle."""
        data = self.data()
        wanted = "".join(data.get(key, "") for key in ("old.ca.crt", "ca.crt", "next.ca.crt"))
        return (
            "tls.crt" in data
            and "next.tls.crt" not in data
            and all(r.served() == data["tls.crt"] for r in self.replicas if r.alive())
            and all(self.bundles(kind) == {wanted} for kind in self.configurations)
        )

    def settled(self, timeout=30):
        self.cluster.wait_for(self.is_settled, "Secret, configurations and replicas agree", timeout)
        return self.data()

    def patch_secret(self, patch):
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{SECRET}"
        status, answer = self.cluster.raw("PATCH", path, patch, content_type="application/merge-patch+json")
        equal(status, 200, f"the status of patching the Secret ({answer})")

    def verify(self, certificate, bundle):
        """As a strict client would: purpose, name, chain, time."""
        with tempfile.TemporaryDirectory(prefix="coco-verify-") as scratch:
            files = {name: pathlib.Path(scratch) / name for name in ("ca", "cert")}
            files["ca"].write_text(bundle)
            files["cert"].write_text(certificate)
            command = ["openssl", "verify", "-x509_strict", "-CAfile", files["ca"], "-purpose", "sslserver"]
            command += ["-verify_hostname", SERVER_NAME, files["cert"]]
            done = subprocess.run(command, capture_output=True, text=True)
            equal(done.returncode, 0, f"openssl verify's exit status ({done.stdout}{done.stderr})")

    # What it does

    def tried(self, name="trial"):
        """(status, message) of a labelled pod's creation, by a dry run."""
        status, answer = self.create(pod(name), dry_run=True)
        return status, answer.get("message")

    def admits(self):
        return self.tried()[0] == 201

    # Requests

    def connect(self):
        context = ssl.create_default_context(cafile=self.cluster.dir / "certs/apiserver.crt")
        return http.client.HTTPSConnection(HOST, self.cluster.port, timeout=30, context=context)

    def headers(self, user):
        return {"Authorization": f"Bearer {self.cluster.tokens[user]}", "Content-Type": "application/json"}

    def requests(self, since=0, stage="ResponseComplete"):
        """What the replicas asked the API server, from the audit log; stage None: watches that go on as well."""
        events = self.cluster.audit()[since:]
        return [e for e in events if e["user"]["username"] == self.account.user and stage in (None, e["stage"])]

    def writes(self, since=0):
        return [e for e in self.requests(since) if e["verb"] in ("patch", "update", "create", "delete")]


class Stream:
    """Labelled pods are created one after the other, by several clients at once, while the with statement lasts: at most
    LIMIT of them. Beside that, replicas are asked for their certificates, which has to be of a CA that was trusted
    before. What failed is in `failed`."""

    CLIENTS = 2
    LIMIT = 20000
    # A handshake that comes so late after its bundle was read may be another's.
    SOON_S = 0.2

    def __init__(self, world):
        self.world = world
        self.body = json.dumps(pod("stream"))
        self.failed, self.created, self.shaken = [], 0, 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._local = threading.local()  # one connection a thread: a handshake for each pod would take longer than the pod

    def __enter__(self):
        runs = [self._create] * self.CLIENTS + [self._shake]
        self._threads = [threading.Thread(target=self._run, args=(run,), daemon=True) for run in runs]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, once):
        with contextlib.ExitStack() as stack:
            self._local.connection = stack.enter_context(contextlib.closing(self.world.connect()))
            self._repeat(once)

    def _repeat(self, once):
        while not self._stopping.is_set() and self.created < self.LIMIT:
            try:
                wrong = once()
            except (OSError, http.client.HTTPException) as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                with self._lock:
                    self.failed.append((round(time.monotonic(), 2), once.__name__, wrong))

    def _create(self):
        connection = self._local.connection
        connection.request("POST", "/api/v1/namespaces/plain/pods?dryRun=All", self.body, self.world.headers("tekton"))
        response = connection.getresponse()
        status, answer = response.status, json.loads(response.read())
        with self._lock:
            self.created += 1
        injected = status == 201 and answer["spec"].get("runtimeClassName") == "kata-cc"
        return None if injected else (status, answer.get("message"))

    def _shake(self):
        world = self.world
        replica = world.replicas[self.shaken % REPLICAS]
        at = time.monotonic()
        (bundle,) = world.bundles(MUTATING)
        context = ssl.create_default_context(cadata=bundle)
        self.shaken += 1
        if not replica.alive():
            return None
        try:
            with socket.create_connection((HOST, replica.port), timeout=10) as connection:
                context.wrap_socket(connection, server_hostname=SERVER_NAME).close()
        except ssl.SSLCertVerificationError as error:
            return f"replica {replica.number}: {error}" if time.monotonic() - at < self.SOON_S else None
        return None
