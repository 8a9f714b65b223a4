"""A cluster on which our manifests are installed as they stand: the programs run as the pods that their Deployments make.

    with InstallWorld(programs) as world:
        world.install()
        world.created(pod("a"), "team-a")

What a confidential cluster has before us is there: the RuntimeClass, and kubelets for other people's pods, which are ready at
once. When a case fails, the ends of the pods' logs follow its error: see case().
"""

import contextlib
import functools
import pathlib
import tempfile
import time

from node import Node
from world import ROOT, SAMPLES, SYSTEM_NAMESPACE, World, check_confidential
from cluster import ClusterError
from tap import check, equal, test

DEV = ROOT / "manifests/overlays/dev"
DEPLOYMENTS = ("coco-webhook", "coco-controller")
USERS_PREFIX = f"system:serviceaccount:{SYSTEM_NAMESPACE}:"
INSTALL_S = 60  # for a slow machine; what it takes is printed
UNINSTALL_S = 60
# Of pods: the standard "restricted", as far as it says anything about specs without host paths.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def case(name):
    """As tap.test, for cases with a world: a failure shows the pods' logs too."""

    def register(function):
        @functools.wraps(function)
        def run(world):
            try:
                function(world)
            except Exception:
                print(world.node.logs())
                raise

        return test(name)(run)

    return register


class InstallWorld(World):
    """binaries: paths of the programs, by the name of their image. others: as for a Node."""

    def __init__(self, binaries, overlay=DEV, others="ready"):
        self.binaries, self.overlay, self.others = binaries, overlay, others

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.stack = stack
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="coco-install-"))
            self.folder = pathlib.Path(folder)
            self.node = stack.enter_context(Node.for_cluster(folder, self.binaries, self.others))
            self.cluster = self.node.cluster
            self.audited = 0  # events of the audit log that forbidden() is done with
            self.cluster.kubectl("apply", "-f", str(SAMPLES / "runtimeclass-test.yaml"))
            try:
                self.set_up()
            except BaseException:
                print(self.node.logs())
                raise
            self.stack = stack.pop_all()
        return self

    def set_up(self):
        """A subclass's: what is there beside the cluster."""

    def install(self):
        """Installs as a user does, and waits for the programs. Returns when it began, by time.monotonic()."""
        begin = time.monotonic()
        self.apply()
        self.wait_available()
        return begin

    def apply(self):
        """kubectl apply; returns what it says."""
        return self.cluster.kubectl("apply", "-k", str(self.overlay))[1]

    def wait_available(self):
        self.node.wait_available(SYSTEM_NAMESPACE, *DEPLOYMENTS)

    def uninstall(self):
        """Uninstalls as a user does, and waits until nothing of ours is left. While it goes, programs outlive their rights."""
        equal(self.forbidden(), [], "what our ServiceAccounts were forbidden")
        begin = time.monotonic()
        self.cluster.kubectl("delete", "-k", str(self.overlay))
        print(f"kubectl delete took {time.monotonic() - begin:.1f} s")
        with contextlib.suppress(ClusterError):  # what is left says more
            self.cluster.wait_for(lambda: not self.leftovers(), "nothing of ours is left", UNINSTALL_S)
        equal(self.leftovers(), [], "what is left after the uninstallation")
        check(len(self.node.exits) >= len(DEPLOYMENTS), f"pods that ended when asked to: {self.node.exits}")
        equal([ended for ended in self.node.exits if ended[3] != 0], [], "programs that did not end well")
        self.audited = len(self.cluster.audit())

    def until_created(self, made, ns, user="admin", timeout=INSTALL_S):
        """Creates a pod as soon as that is possible, as an impatient user does; returns (pod, refusals before)."""
        deadline = time.monotonic() + timeout
        refusals = []
        while True:
            status, answer = self.create(made, ns, user)
            if status == 201:
                return answer, refusals
            refusals.append(answer["message"])
            check(time.monotonic() < deadline, f"no pod is created within {timeout} s: {answer['message']}")

    def check_created(self, made, ns, what):
        """Creates a pod, which has to be confidential then."""
        status, answer = self.create(made, ns, "admin")
        equal(status, 201, f"the status for {what} ({answer.get('message')})")
        check_confidential(answer, what)
        return answer

    def forbidden(self):
        """What our ServiceAccounts were refused so far."""
        return sorted(
            {
                f"{e['user']['username']}: {e['verb']} {e['requestURI'].split('?')[0]}"
                for e in self.cluster.audit()[self.audited :]
                if e["responseStatus"]["code"] == 403 and e["user"]["username"].startswith(USERS_PREFIX)
            }
        )

    def users(self):
        """Which of our ServiceAccounts made requests."""
        names = {e["user"]["username"] for e in self.cluster.audit()}
        return sorted(name.removeprefix(USERS_PREFIX) for name in names if name.startswith(USERS_PREFIX))

    def leftovers(self):
        """What is left on the cluster that is ours, of any kind: paths of collections and names."""
        left = []
        for path in self._collections():
            status, answer = self.node.call("GET", path, good=(200, 404, 405))
            if status == 200:
                left += [f"{path}/{o['metadata']['name']}" for o in answer["items"] if is_ours(o["metadata"])]
        return sorted(set(left))

    def _collections(self):
        """The paths of all that can be listed."""
        groups = self.node.call("GET", "/apis")[1]["groups"]
        roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
        for root in roots:
            status, answer = self.node.call("GET", root, good=(200, 404))
            for resource in answer["resources"] if status == 200 else ():
                if "list" in resource["verbs"] and resource["name"] not in ("events", "componentstatuses"):
                    yield f"{root}/{resource['name']}"


def is_ours(metadata):
    """By its name, its app.kubernetes.io labels, or a finalizer."""
    labels = [value for key, value in metadata.get("labels", {}).items() if key.startswith("app.kubernetes.io/")]
    marks = [metadata["name"], *labels, *metadata.get("finalizers", [])]
    return any("coco-" in mark or "confidentialcontainers" in mark for mark in marks)


def restricted_violations(pod):
    """What the Pod Security Standard "restricted" has against a pod's spec."""
    spec = pod["spec"]
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    found += [f"volume {v['name']}" for v in spec.get("volumes", []) if not (set(v) - {"name"}) <= VOLUMES]
    own = spec.get("securityContext", {})
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        context = container.get("securityContext", {})
        both = own | context
        wrong = {
            "privileged": context.get("privileged"),
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop": "ALL" not in context.get("capabilities", {}).get("drop", []),
            "capabilities.add": set(context.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is not True,
            "runAsUser": both.get("runAsUser") == 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "procMount": context.get("procMount", "Default") != "Default",
            "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {field}" for field, bad in wrong.items() if bad]
    return found
