"""A container of a pod: one of our programs as a process, in a root of its own, as an unprivileged user.

The root is a tmpfs in a mount namespace: /usr and the few files of /etc that libraries want from the machine, the program,
the pod's volumes, nothing else; read-only where the container asks for that. Without root's rights a user namespace has to
do, and the program's user is then the one who runs the test.
"""

import functools
import http.client
import os
import pathlib
import re
import shlex
import socket
import ssl
import subprocess
import time

from cluster import ClusterError, Proc

USER_ID = 65532  # of our images
PROBE_DEFAULTS = {
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 3,
}
BACKOFF_MAX_S = 8  # a kubelet starts with 10 s and goes up to 5 min
PASSED_ON = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
SYSTEM_FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
SYSTEM_FOLDERS = ("/usr", "/etc/ssl", "/proc")


class Unsupported(Exception):
    """A part of a pod that this stand-in for a kubelet doesn't know, or that a kubelet would refuse."""


@functools.cache
def namespace_command():
    """The start of a command line that gives what follows mounts and a host name of its own."""
    commands = (["unshare", "--mount", "--uts"], ["unshare", "--user", "--map-root-user", "--mount", "--uts"])
    said = []
    for command in commands:
        done = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return [*command, "--propagation", "private"]
        said.append(done.stderr.strip())
    raise ClusterError(f"no namespaces for pods: run this as root or allow user namespaces ({'; '.join(said)})")


def user_options():
    """Options for setpriv: who the program runs as."""
    if "--user" in namespace_command():
        return []
    return [f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]


def root_script(root, program, mounts, argv, host_name, read_only):
    """A script that makes the root and becomes the program. mounts: (source folder, path in the container, read-only)."""
    quote = shlex.quote

    def bind(source, path, folder, writable=False):
        target = quote(f"{root}{path}")
        make = f"mkdir -p {target}" if folder else f"install -D -m 644 /dev/null {target}"
        option = "--rbind" if path == "/proc" else "--bind"
        lines = [make, f"mount {option} {quote(str(source))} {target}"]
        return lines + ([] if writable else [f"mount -o remount,bind,ro {target}"])

    here = quote(str(root))
    lines = ["set -e", f"hostname {quote(host_name)}", f"mount -t tmpfs -o mode=755,size=16m tmpfs {here}", f"cd {here}"]
    lines += ["ln -s usr/bin usr/sbin usr/lib .", "[ ! -d /usr/lib64 ] || ln -s usr/lib64 ."]
    for path in SYSTEM_FOLDERS:
        lines += bind(path, path, True, path == "/proc")
    for path in SYSTEM_FILES:
        lines += bind(path, path, False, path.startswith("/dev"))
    lines += bind(program, f"/{program.name}", False)
    for source, path, only_read in mounts:
        lines += bind(source, path, True, not only_read)
    if read_only:
        lines.append(f"mount -o remount,ro {here}")
    options = [*user_options(), "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--pdeathsig=KILL"]
    lines += ["cd /", f"exec /usr/sbin/chroot {here} /usr/bin/setpriv {' '.join(options)} -- {shlex.join(argv)}"]
    return "\n".join(lines) + "\n"


class Probe:
    """A probe's verdict: None before there is one."""

    def __init__(self, container, spec):
        self.container = container
        self.spec = PROBE_DEFAULTS | spec
        self.due = time.monotonic() + self.spec["initialDelaySeconds"]
        self.passed = self.failed = 0
        self.verdict = None
        self.message = ""

    def step(self):
        """Asks when it is time to. True when the verdict is another than before."""
        if time.monotonic() < self.due:
            return False
        self.due = max(self.due + self.spec["periodSeconds"], time.monotonic())
        before = self.verdict
        try:
            good = self._ask()
        except (OSError, http.client.HTTPException) as error:
            good, self.message = False, str(error)
        self.passed, self.failed = (self.passed + 1, 0) if good else (0, self.failed + 1)
        if good and self.passed >= self.spec["successThreshold"]:
            self.verdict = True
        elif not good and self.failed >= self.spec["failureThreshold"]:
            self.verdict = False
        return self.verdict != before

    def _ask(self):
        address = self.container.pod.address
        if "tcpSocket" in self.spec:
            socket.create_connection((address, self._port("tcpSocket")), self.spec["timeoutSeconds"]).close()
            return True
        if "httpGet" not in self.spec:
            raise Unsupported(f"a probe that is neither httpGet nor tcpSocket: {sorted(self.spec)}")
        get = self.spec["httpGet"]
        where = (address, self._port("httpGet"))
        if get.get("scheme") == "HTTPS":
            insecure = ssl._create_unverified_context()  # as a kubelet's probes are
            connection = http.client.HTTPSConnection(*where, timeout=self.spec["timeoutSeconds"], context=insecure)
        else:
            connection = http.client.HTTPConnection(*where, timeout=self.spec["timeoutSeconds"])
        try:
            connection.request("GET", get.get("path", "/"))
            answer = connection.getresponse()
            self.message = f"HTTP probe failed with statuscode: {answer.status}"
            return 200 <= answer.status < 400
        finally:
            connection.close()

    def _port(self, kind):
        return self.container.port(self.spec[kind]["port"])


class Container:
    """pod: a node.Pod. All of it is done on that pod's thread, which a process doesn't outlive."""

    def __init__(self, pod, spec, program):
        self.pod, self.spec, self.program = pod, spec, program
        self.name = spec["name"]
        self.folder = pod.folder / self.name
        self.root = self.folder / "root"
        self.log = self.folder / "log"
        self.root.mkdir(parents=True)
        self.proc = None
        self.probes = {}
        self.restarts = -1
        self.started_at = None
        self.last_state = {}
        self.waiting = {"reason": "ContainerCreating"}
        self.not_before = 0  # the backoff's end

    # What the pod says

    def port(self, wanted):
        """A port's number by its name, or itself."""
        if isinstance(wanted, int):
            return wanted
        for port in self.spec.get("ports", []):
            if port.get("name") == wanted:
                return port["containerPort"]
        raise Unsupported(f"container {self.name} has no port named '{wanted}'")

    def environment(self):
        """As the container has it, and where to listen unless that is said: replicas share the machine's ports."""
        made = {"PATH": "/usr/bin:/bin", "HOSTNAME": self.pod.name, "LC_ALL": "C.UTF-8"}
        made |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        made |= self.pod.api_server_variables()
        made |= {"COCO_LISTEN": f"{self.pod.address}:9443", "COCO_PLAIN_LISTEN": f"{self.pod.address}:8080"}
        if self.spec.get("envFrom"):
            raise Unsupported("envFrom")
        for entry in self.spec.get("env", []):
            value = entry.get("value", "") if "valueFrom" not in entry else self._value_from(entry["valueFrom"])
            if value is not None:
                made[entry["name"]] = expand(value, made)
        return made

    def _value_from(self, source):
        kind, reference = next(iter(source.items()))
        if kind == "fieldRef":
            return self.pod.field(reference["fieldPath"])
        kinds = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
        if kind not in kinds:
            raise Unsupported(f"an environment variable from {kind}")
        return self.pod.key(kinds[kind], reference)

    def security(self, field):
        context = self.pod.object["spec"].get("securityContext", {}) | self.spec.get("securityContext", {})
        return context.get(field)

    def argv(self, environment):
        if self.security("runAsUser") == 0:
            raise Unsupported("container has runAsNonRoot and image will run as root")
        command = self.spec.get("command") or [f"/{self.program.name}"]
        return [expand(word, environment) for word in [*command, *self.spec.get("args", [])]]

    # The process

    def start(self):
        """Unsupported, or node.Missing, where it can't be."""
        self.pod.check_supported()
        environment = self.environment()
        argv = self.argv(environment)
        script = self.folder / "start.sh"
        mounts = self.pod.mounts(self.spec)
        read_only = bool(self.security("readOnlyRootFilesystem"))
        script.write_text(root_script(self.root, self.program, mounts, argv, self.pod.name, read_only))
        self.proc = Proc(f"{self.pod.name}/{self.name}", [*namespace_command(), "/bin/sh", script], self.log, environment)
        self.restarts += 1
        self.started_at = self.pod.now()
        probes = {kind: self.spec.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")}
        self.probes = {kind: Probe(self, spec) for kind, spec in probes.items() if spec}

    def running(self):
        """From any thread: the pod's own may take the process away meanwhile."""
        proc = self.proc
        return proc is not None and proc.alive()

    def started(self):
        return self.running() and ("startup" not in self.probes or self.probes["startup"].verdict is True)

    def ready(self):
        return self.started() and ("readiness" not in self.probes or self.probes["readiness"].verdict is True)

    def step(self):
        """Starts it when it isn't there, probes it while it is, restarts it when it doesn't live."""
        if self.proc and not self.proc.alive():
            self._note_exit()
        if not self.proc:
            if time.monotonic() >= self.not_before:
                self.start()
            return
        kinds = ("liveness", "readiness") if self.started() else ("startup",)
        for kind in kinds:
            probe = self.probes.get(kind)
            if probe and probe.step() and probe.verdict is False:
                self.pod.event("Warning", "Unhealthy", f"{kind} probe failed: {probe.message}")
        if any(self.probes[kind].verdict is False for kind in kinds if kind != "readiness" and kind in self.probes):
            self.pod.event("Normal", "Killing", f"Container {self.name} failed its probe, will be restarted")
            self.proc.stop(self.pod.grace())
            self._note_exit()

    def _note_exit(self):
        code = self.proc.process.returncode
        ended = {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error"}
        ended |= {"startedAt": self.started_at, "finishedAt": self.pod.now()}
        self.last_state = {"terminated": ended}
        self.waiting = {"reason": "CrashLoopBackOff", "message": f"it ended with status {ended['exitCode']}"}
        self.proc = None
        # The first restart is at once.
        self.not_before = time.monotonic() + (min(2 ** (self.restarts - 1), BACKOFF_MAX_S) if self.restarts else 0)
        self.pod.event("Warning", "BackOff", f"Container {self.name} ended with status {ended['exitCode']}")

    def wait(self, why, seconds):
        """It can't be started now, and is tried again later."""
        self.waiting = why
        self.not_before = time.monotonic() + seconds

    def next_step(self):
        """When there is something to do, by time.monotonic()."""
        if not self.proc:
            return self.not_before
        kinds = ("liveness", "readiness") if self.started() else ("startup",)
        return min((self.probes[kind].due for kind in kinds if kind in self.probes), default=float("inf"))

    def status(self):
        made = {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "",
            "restartCount": max(self.restarts, 0),
            "ready": self.ready(),
            "started": self.started(),
            "lastState": self.last_state,
        }
        running = {"running": {"startedAt": self.started_at}}
        return made | {"state": running if self.running() else {"waiting": self.waiting}}


def expand(text, variables):
    """$(NAME) as Kubernetes expands it in commands, arguments and variables: $$ is $, unknown ones stay."""

    def value(found):
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)", value, text)


def image_name(image):
    """The last part of an image's path, without tag and digest."""
    return pathlib.PurePosixPath(image.split("@")[0]).name.split(":")[0]
