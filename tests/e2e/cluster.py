"""A real Kubernetes API server for tests: etcd and kube-apiserver on loopback, everything else in a temporary folder.

    with Cluster() as cluster:
        cluster.kubectl("create", "namespace", "x")

There is no kubelet (pods stay Pending), and, unless start_controller_manager() is called, no controller manager (no garbage
collection, no ReplicaSets' pods, no default service accounts). COCO_KUBE_APISERVER names the binary of another version. Run
as a program, it keeps a cluster up until interrupted, to look around in by hand.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"

# The controllers whose pods the webhook knows by user name, as the real ones authenticate.
TEKTON_USER = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"
STATEFULSET_USER = "system:serviceaccount:kube-system:statefulset-controller"

# What Deployments become pods by, and what ends namespaces and what has lost its owner.
MANAGER_CONTROLLERS = ("deployment", "replicaset", "garbagecollector", "namespace", "pvc-protection")

# What the methods call a user: the user's name and groups in the cluster.
USERS = {
    "admin": ("admin", ["system:masters"]),
    "tekton": (
        TEKTON_USER,
        ["system:serviceaccounts", "system:serviceaccounts:tekton-pipelines", "system:authenticated"],
    ),
    "statefulset": (
        STATEFULSET_USER,
        ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
    ),
    "alice": ("alice", ["system:authenticated"]),
    "manager": ("system:kube-controller-manager", ["system:masters"]),
}

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here, as little should happen between fork and exec


class ClusterError(Exception):
    """The cluster, or a call to it, did not do what it should; the text says what to do about it."""


def wait_for(predicate, what, timeout=30):
    """Polls until the predicate gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {timeout} s")
        time.sleep(0.05)


_given_ports = {}  # port -> a socket that keeps it for us


def _keep_port(port):
    """Whether no other test on this machine, nor this one, has been given the port: for the life of this process. Its server
    may not have started yet, or be stopped for a while."""
    if port in _given_ports:
        return False
    keeper = socket.socket(socket.AF_UNIX)
    try:
        keeper.bind(f"\0coco-test-port-{port}")  # in the abstract namespace: gone with the process
    except OSError:
        keeper.close()
        return False
    _given_ports[port] = keeper
    return True


def free_ports(count):
    """Ports of loopback that nobody uses, each given once.

    They lie below the range from which the kernel takes ports of outgoing connections, so that none of these can
    take a server's port while it is stopped.
    """
    low, high = 10000, int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if low >= high:
        raise ClusterError(f"net.ipv4.ip_local_port_range starts at {high}: have it start above {low} for these tests")
    ports = set()
    while len(ports) < count:
        port = random.randrange(low, high)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if _keep_port(port):
                ports.add(port)
    return list(ports)


def answers(port):
    """Whether someone takes connections there, on loopback."""
    with contextlib.suppress(OSError):
        socket.create_connection((HOST, port), timeout=5).close()
        return True
    return False


class Proc:
    """A program in the background, its output in a log file.

    It dies with the thread that started it, even when that is killed with SIGKILL.
    """

    def __init__(self, name, argv, log, env):
        self.name = name
        self.log = pathlib.Path(log)
        parent = os.getpid()

        def die_with_parent():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call
                os._exit(1)

        with open(self.log, "ab") as out:
            # A session of its own: an interrupt from the keyboard reaches the test alone, which stops it in order.
            self.process = subprocess.Popen(
                [str(arg) for arg in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def tail(self, lines=30):
        """The log's end."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check_alive(self):
        if not self.alive():
            raise ClusterError(
                f"{self.name} ended by itself with status {self.process.returncode}; its log's end:\n{self.tail()}"
            )

    def wait_until(self, predicate, what, timeout=60):
        """Waits for the predicate, and fails with the log's end when the program dies or the time is over."""

        def alive_and_so():
            self.check_alive()
            return predicate()

        try:
            return wait_for(alive_and_so, f"{self.name}: {what}", timeout)
        except ClusterError as error:
            if self.alive():
                raise ClusterError(f"{error}; its log's end:\n{self.tail()}") from None
            raise

    def pause(self):
        """Freezes it: its connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """Ends it without a word. Does no harm when it has ended."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=10):
        """Asks it to end, and kills it when it has not after the timeout."""
        self.process.terminate()
        self.resume()  # a frozen process gets no other signal
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Cluster:
    """etcd and a kube-apiserver. Use it as a context manager: it then stops everything, whatever happens.

    apiserver_args: more arguments for the kube-apiserver, such as feature gates.
    """

    def __init__(self, apiserver_args=()):
        self.dir = None
        self.apiserver_args = apiserver_args
        self.procs = []  # in the order of their start
        self.apiserver = None
        self.tokens = {user: secrets.token_hex(16) for user in USERS}
        self._handlers = {}

    # Start and stop

    def __enter__(self):
        self._catch_signals()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _catch_signals(self):
        """Has SIGTERM unwind the test as an exception, as SIGINT does by itself, so that stop() runs."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

    def start(self):
        binary = self._find_programs()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="coco-cluster-"))
        (self.dir / "home").mkdir()
        # A clean environment: a proxy would get the API server's calls to webhooks, and ETCD_* change etcd.
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.dir / "home"), "LC_ALL": "C"}
        self.etcd_port, etcd_peer_port, self.port = free_ports(3)
        self.url = f"https://{HOST}:{self.port}"
        self._etcd_argv = self._make_etcd_argv(etcd_peer_port)
        self.start_etcd()
        self._write_apiserver_files()
        self._apiserver_argv = self._make_apiserver_argv(binary)
        self.start_apiserver()

    def stop(self):
        """Stops what was started, last first, and removes the temporary folder. Does no harm when called again."""
        for number in self._handlers:  # a second interrupt must not leave half of it running
            signal.signal(number, signal.SIG_IGN)
        while self.procs:
            self.procs[-1].stop()
            self.procs.pop()
        if self.dir:
            shutil.rmtree(self.dir)
            self.dir = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    @staticmethod
    def _built(name):
        """The path of a program that hack/kube-build.sh builds."""
        command = [ROOT / "hack" / "kube-build.sh", "--path"]
        return pathlib.Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()) / name

    def _find_programs(self):
        """Checks that all programs are there and returns the API server's path."""
        override = os.environ.get("COCO_KUBE_APISERVER")
        binary = pathlib.Path(override) if override else self._built("kube-apiserver")
        missing = [name for name in ("etcd", "kubectl", "openssl") if not shutil.which(name)]
        if not os.access(binary, os.X_OK):
            missing.append(str(binary))
        if missing:
            raise ClusterError(
                f"{', '.join(missing)} not found: run 'hack/kube-build.sh kube-apiserver' once, which builds or "
                "installs it (openssl is Debian's package of that name)"
            )
        return binary

    def _make_etcd_argv(self, peer_port):
        client, peer = f"http://{HOST}:{self.etcd_port}", f"http://{HOST}:{peer_port}"
        return [
            "etcd",
            f"--data-dir={self.dir}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data does not outlive the test
            "--logger=zap",
            "--log-outputs=stderr",
        ]

    def start_etcd(self):
        """Starts etcd, again with the same port and data, and waits until it serves."""
        # etcd 3.4 refuses to run on arm64 unless told so.
        env = self.env | {"ETCD_UNSUPPORTED_ARCH": "arm64"}
        self.etcd = Proc("etcd", self._etcd_argv, self.dir / "etcd.log", env)
        self.procs.insert(0, self.etcd)  # what needs it stops before it
        self.etcd.wait_until(self._etcd_healthy, "answers /health")

    def stop_etcd(self):
        """Stops etcd alone, for start_etcd() to bring it back."""
        self.etcd.stop()
        self.procs.remove(self.etcd)

    def _etcd_healthy(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask_etcd("GET", "/health")[0] == 200
        return False

    def _ask_etcd(self, method, path, body=None):
        connection = http.client.HTTPConnection(HOST, self.etcd_port, timeout=5)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def compact_etcd(self):
        """Has etcd forget all revisions but the latest: continue tokens and versions to watch from expire, the latter
        where the API server doesn't have them in memory."""
        _, answer = self._ask_etcd("POST", "/v3/kv/range", {"key": "Lw=="})  # "/", which nobody has
        revision = answer["header"]["revision"]
        status, answer = self._ask_etcd("POST", "/v3/kv/compaction", {"revision": revision, "physical": True})
        if status != 200:
            raise ClusterError(f"etcd does not compact to revision {revision}: status {status}, {answer}")

    def _write_apiserver_files(self):
        (self.dir / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        self._write_tokens()
        command = ["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", self.dir / "sa.key"]
        subprocess.run(command, check=True, capture_output=True)
        for user in USERS:
            self.kubeconfig(user).write_text(json.dumps(self._kubeconfig_content(user)))

    def _write_tokens(self):
        lines = [f'{self.tokens[user]},{name},{name},"{",".join(groups)}"\n' for user, (name, groups) in USERS.items()]
        (self.dir / "tokens.csv").write_text("".join(lines))

    def rotate_token(self, user):
        """Gives the user another token, returned, which counts instead of the old one from the API server's next start
        on. The user's kubeconfig has it at once."""
        self.tokens[user] = secrets.token_hex(16)
        self._write_tokens()
        self.kubeconfig(user).write_text(json.dumps(self._kubeconfig_content(user)))
        return self.tokens[user]

    def _kubeconfig_content(self, user):
        # The file with the self-signed certificate also holds the CA that signed it.
        cluster = {"server": self.url, "certificate-authority": f"{self.dir}/certs/apiserver.crt"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": user, "context": {"cluster": "test", "user": user}}],
            "current-context": user,
        }

    def _make_apiserver_argv(self, binary):
        return [
            binary,
            f"--etcd-servers=http://{HOST}:{self.etcd_port}",
            f"--bind-address={HOST}",
            f"--secure-port={self.port}",
            # It would look for a default route otherwise, and loopback can be no endpoint of service "kubernetes".
            f"--advertise-address={HOST}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.dir}/certs",
            f"--service-account-key-file={self.dir}/sa.key",
            f"--service-account-signing-key-file={self.dir}/sa.key",
            f"--service-account-issuer={self.url}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--token-auth-file={self.dir}/tokens.csv",
            "--authorization-mode=RBAC",
            # The other plugins we need (webhooks, RuntimeClass, LimitRanger, ResourceQuota, Priority) are on by
            # themselves. This one refuses pods until a controller has made the default service account.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            f"--audit-policy-file={self.dir}/audit-policy.json",
            f"--audit-log-path={self.dir}/audit.log",
            *self.apiserver_args,
        ]

    def start_apiserver(self):
        """Starts the API server, again with the same port, certificate and data, and waits until it serves."""
        self.apiserver = Proc("kube-apiserver", self._apiserver_argv, self.dir / "apiserver.log", self.env)
        self.procs.append(self.apiserver)
        self.apiserver.wait_until(self._apiserver_ready, "answers /readyz and has namespace default")

    def _apiserver_ready(self):
        # Connections are refused first; the certificate's file comes a little before it serves.
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.raw("GET", "/readyz")[0] == 200 and self.raw("GET", "/api/v1/namespaces/default")[0] == 200
        return False

    def start_controller_manager(self, controllers=MANAGER_CONTROLLERS):
        """Starts these controllers. CRDs are to be there by then: their objects are collected as garbage once it knows the
        kind, and it looks for new ones every 30 s only."""
        binary = self._built("kube-controller-manager")
        if not os.access(binary, os.X_OK):
            raise ClusterError(f"{binary} not found: run 'hack/kube-build.sh kube-controller-manager' once, which builds it")
        port = free_ports(1)[0]
        argv = [
            binary,
            f"--kubeconfig={self.kubeconfig('manager')}",
            f"--controllers={','.join(controllers)}",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            "--port=0",
            f"--cert-dir={self.dir}/manager-certs",
            "--kube-api-qps=500",  # tests are in a greater hurry than clusters
            "--kube-api-burst=1000",
        ]
        self.manager = Proc("kube-controller-manager", argv, self.dir / "controller-manager.log", self.env)
        self.procs.append(self.manager)
        self.manager.wait_until(lambda: answers(port), "listens")

    def stop_apiserver(self):
        """Stops the API server alone, for start_apiserver() to bring it back."""
        self.apiserver.stop()
        self.procs.remove(self.apiserver)

    def pause_apiserver(self):
        """Freezes the API server: connections stay open and nothing answers, as when the network is gone."""
        self.apiserver.pause()

    def resume_apiserver(self):
        self.apiserver.resume()

    # Use

    def kubeconfig(self, user="admin"):
        """The path of the user's kubeconfig."""
        return self.dir / f"kubeconfig-{user}"

    def kubectl(self, *args, user="admin", stdin=None, check=True):
        """Runs kubectl and returns its (exit status, stdout, stderr); when it fails, raises unless check is False."""
        done = subprocess.run(
            ["kubectl", *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.env | {"KUBECONFIG": str(self.kubeconfig(user))},
        )
        if check and done.returncode != 0:
            raise ClusterError(
                f"kubectl {' '.join(args)} (as {user}) failed with status {done.returncode}:\n"
                f"{done.stdout}{done.stderr}".rstrip()
            )
        return done.returncode, done.stdout, done.stderr

    def apply(self, manifest, user="admin"):
        """kubectl apply of a text in YAML or JSON."""
        return self.kubectl("apply", "-f", "-", user=user, stdin=manifest)

    def get_json(self, *args, user="admin"):
        """kubectl get, decoded: get_json("pod", "a", "-n", "default")."""
        return json.loads(self.kubectl("get", *args, "-o", "json", user=user)[1])

    def raw(self, method, path, body=None, user="admin", content_type="application/json"):
        """One request to the API server without kubectl; returns (status, decoded answer).

        A body that is no str or bytes is sent as JSON; an answer that is no JSON comes back as text.
        """
        context = ssl.create_default_context(cafile=self.dir / "certs" / "apiserver.crt")
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=30, context=context)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        if body is not None:
            headers["Content-Type"] = content_type
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        if "json" in response.getheader("Content-Type", ""):
            return response.status, json.loads(content)
        return response.status, content.decode()

    def wait_for(self, predicate, what, timeout=30):
        """Polls until the predicate gives something true, and returns that; fails at once when a server died."""

        def servers_live_and_so():
            for proc in self.procs:
                proc.check_alive()
            return predicate()

        return wait_for(servers_live_and_so, what, timeout)

    def audit(self):
        """The audit log's events. One is written when its answer is out, so poll for what you look for."""
        lines = (self.dir / "audit.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def grant_edit(self, *users):
        """Lets the users (names as in USERS) work on pods and what belongs to them, in every namespace.

        A role of its own: the rules of cluster role "edit" are filled in by the controller manager only.
        """
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "test-edit"},
            "rules": [{"apiGroups": ["", "apps", "batch"], "resources": ["*"], "verbs": ["*"]}],
        }
        bindings = [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"test-edit-{user}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "test-edit"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USERS[user][0]}],
            }
            for user in users
        ]
        self.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, *bindings]}))


if __name__ == "__main__":
    try:
        with Cluster() as running:
            print(f"export KUBECONFIG={running.kubeconfig()}", flush=True)
            print("The cluster runs until you interrupt this program.", file=sys.stderr)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except ClusterError as error:
        sys.exit(f"cluster: {error}")
