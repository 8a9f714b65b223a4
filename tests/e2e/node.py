"""Plays kube-scheduler, kubelet and kube-proxy on the test cluster, for pods of our own images.

    with tempfile.TemporaryDirectory() as folder, Node.for_cluster(folder, programs) as node:
        node.cluster.kubectl("apply", "-k", "manifests/overlays/dev")

Each pod whose containers have our images runs as processes of build/bin, with the command, arguments, environment, volumes,
ServiceAccount's token, probes, restarts and grace of its manifest, each with an address of its own in 127.0.0.0/8: so many
replicas listen on the same ports. The address in the pod's status is the same with 10 in place of 127, as endpoints can't be
on loopback. The API server reaches Services through its egress selector and a proxy here, which takes the ready endpoints
that the real endpoints controller has found, in turn, and keeps connections to pods that terminate.

What it does not do: resources and limits, NetworkPolicies, seccomp and user ids other than the image's, init containers,
lifecycle hooks, exec probes, resourceFieldRef, envFrom, host names of Services; pods reach the API server at its own address.
Tokens aren't renewed before they expire (an hour). Volumes follow their Secrets and ConfigMaps at once, where a kubelet takes
a minute; restarts after a crash wait for seconds, where a kubelet waits for minutes. Pods of other images stay as they are, or
are marked as others= says (a fate of follow.py), without a process. A pod that asks for what isn't known here waits with reason
CreateContainerConfigError and says so.
"""

import base64
import contextlib
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from cluster import HOST, MANAGER_CONTROLLERS, Cluster, ClusterError, wait_for
from connect_proxy import ConnectProxy
from container import Container, Unsupported, image_name, namespace_command
from follow import FATES, Follower, now
from world import publish

NODE_NAME = "node"
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_S = 3607
PORTS = (9443, 8080)  # where our programs listen by themselves
PODS_MAX = 250  # an address each, never given twice
RETRY_S = 0.5  # of a pod that waits for something
LOG_LINES = 15  # of each pod, when a test fails
PATHS = {
    "Pod": "/api/v1/pods",
    "Secret": "/api/v1/secrets",
    "ConfigMap": "/api/v1/configmaps",
    "Service": "/api/v1/services",
    "Endpoints": "/api/v1/endpoints",
}


class Missing(Exception):
    """What a pod needs isn't there yet."""


def key_of(object):
    return object["metadata"].get("namespace"), object["metadata"]["name"]


# ---- Pods


class Pod:
    """A pod of ours and the thread that runs it."""

    def __init__(self, node, object, address):
        self.node, self.object, self.address = node, object, address
        self.ns, self.name = key_of(object)
        self.uid = object["metadata"]["uid"]
        self.folder = node.folder / f"{self.ns}_{self.name}"
        self.folder.mkdir()
        self.changed = threading.Condition()
        self.gone = False  # the object is deleted, or the test ends
        self.reported = None
        self.failure = None
        self.conditions = {}
        self.volumes = {}  # name -> folder
        self.containers = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    now = staticmethod(now)

    def update(self, object):
        with self.changed:
            self.object = object
            self.changed.notify()

    def wake(self):
        with self.changed:
            self.changed.notify()

    def end(self):
        with self.changed:
            self.gone = True
            self.changed.notify()

    def terminating(self):
        return "deletionTimestamp" in self.object["metadata"]

    def grace(self):
        return self.object["metadata"].get("deletionGracePeriodSeconds", self.object["spec"]["terminationGracePeriodSeconds"])

    def ready(self):
        return bool(self.containers) and all(container.ready() for container in self.containers)

    # Its life

    def _run(self):
        try:
            self._bind()
            while not self.gone and not self.terminating():
                self._step()
                self._wait()
            self._terminate()
        except Exception as error:  # told by Node.__exit__()
            self.failure = error
            for container in self.containers:
                if container.proc:
                    container.proc.kill()

    def _bind(self):
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE_NAME}
        made = {"metadata": {"name": self.name, "uid": self.uid}, "target": target}
        self.node.call("POST", f"{self.path()}/binding", made, good=(201, 404, 409))
        self.containers = [
            Container(self, spec, self.node.programs[image_name(spec["image"])]) for spec in self.object["spec"]["containers"]
        ]

    def _step(self):
        for container in self.containers:
            try:
                container.step()
            except Missing as error:
                container.wait({"reason": "ContainerCreating", "message": str(error)}, RETRY_S)
                self.event("Warning", "FailedMount", str(error))
            except Unsupported as error:
                container.wait({"reason": "CreateContainerConfigError", "message": str(error)}, RETRY_S)
        self._renew_volumes()
        self._report()

    def _wait(self):
        due = min((container.next_step() for container in self.containers), default=float("inf"))
        with self.changed:
            if not self.gone and not self.terminating():
                # Half a second at most: an exit of a process wakes nobody.
                self.changed.wait(max(0, min(due - time.monotonic(), RETRY_S)))

    def _terminate(self):
        running = [container for container in self.containers if container.running()]
        deadline = time.monotonic() + (self.grace() if not self.gone else 0)
        for container in running:
            container.proc.process.terminate()
        for container in running:
            # Not stop(), which asks again: to our programs, a second SIGTERM is an order to drain no longer.
            with contextlib.suppress(subprocess.TimeoutExpired):
                container.proc.process.wait(max(0, deadline - time.monotonic()))
            container.proc.kill()
            self.node.exits.append((self.ns, self.name, container.name, container.proc.process.returncode))
        if self.terminating() and not self.gone:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            self.node.call("DELETE", self.path(), options, good=(200, 404, 409))

    def _report(self):
        """Tells the API server how it is."""
        started = all(container.restarts >= 0 for container in self.containers)
        ready = {"Initialized": True, "PodScheduled": True, "ContainersReady": self.ready(), "Ready": self.ready()}
        for type, so in ready.items():
            if self.conditions.get(type, {}).get("status") != str(so):
                self.conditions[type] = {"type": type, "status": str(so), "lastTransitionTime": now()}
        address = self.node.outer(self.address)
        status = {
            "phase": "Running" if started else "Pending",
            "hostIP": HOST,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": self.object["metadata"]["creationTimestamp"],
            "conditions": list(self.conditions.values()),
            "containerStatuses": [container.status() for container in self.containers],
        }
        if status != self.reported:
            self.node.call("PATCH", f"{self.path()}/status", {"status": status}, good=(200, 404, 409))
            self.reported = status

    def path(self):
        return f"/api/v1/namespaces/{self.ns}/pods/{self.name}"

    def event(self, type, reason, message):
        self.node.event(self, type, reason, message)

    # What its containers see

    def check_supported(self):
        refused = ("initContainers", "hostNetwork", "hostPID", "hostIPC")
        for field in refused:
            if self.object["spec"].get(field):
                raise Unsupported(f"spec.{field}")

    def api_server_variables(self):
        return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.node.cluster.port)}

    def field(self, path):
        """A field of the downward API."""
        subscript = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if subscript:
            return self.object["metadata"].get(subscript[1], {}).get(subscript[2], "")
        known = {
            "metadata.name": self.name,
            "metadata.namespace": self.ns,
            "metadata.uid": self.uid,
            "spec.nodeName": NODE_NAME,
            "spec.serviceAccountName": self.object["spec"].get("serviceAccountName", ""),
            "status.hostIP": HOST,
            "status.podIP": self.address,  # where it can listen
            "status.podIPs": self.address,
        }
        if path not in known:
            raise Unsupported(f"field {path}")
        return known[path]

    def key(self, kind, reference):
        """A value of a Secret or ConfigMap; None where it is optional and not there."""
        data = self._data(kind, reference["name"], reference.get("optional"))
        if reference["key"] not in data and not reference.get("optional"):
            raise Missing(f"{kind} {self.ns}/{reference['name']} has no key {reference['key']}")
        value = data.get(reference["key"])
        return None if value is None else value.decode()

    def _data(self, kind, name, optional=False):
        """A Secret's or ConfigMap's content."""
        object = self.node.seen[kind].get((self.ns, name))
        if object is None and not optional:
            raise Missing(f'{kind.lower()} "{name}" not found')
        return content(object or {})

    def mounts(self, spec):
        """(source, path, read-only) of a container's mounts; the volumes' folders are filled by then."""
        declared = {volume["name"]: volume for volume in self.object["spec"].get("volumes", [])}
        made = []
        for mount in spec.get("volumeMounts", []):
            if "subPath" in mount or "subPathExpr" in mount:
                raise Unsupported(f"subPath of mount {mount['mountPath']}")
            volume = declared[mount["name"]]
            only_read = mount.get("readOnly", False) or "emptyDir" not in volume
            made.append((self._fill(volume), mount["mountPath"], only_read))
        if self._has_token() and not any(path == TOKEN_FOLDER for _, path, _ in made):
            made.append((self._fill({"name": "kube-api-access", "projected": self._access()}), TOKEN_FOLDER, True))
        return made

    def _has_token(self):
        """As admission plugin ServiceAccount decides it, which the test cluster doesn't run: nobody adds the default account."""
        if "serviceAccountName" not in self.object["spec"]:
            return False
        asked = self.object["spec"].get("automountServiceAccountToken")
        if asked is None:
            asked = self._service_account().get("automountServiceAccountToken", True)
        return asked

    def _service_account(self):
        name = self.field("spec.serviceAccountName")
        path = f"/api/v1/namespaces/{self.ns}/serviceaccounts/{name}"
        status, answer = self.node.call("GET", path, good=(200, 404))
        if status == 404:
            raise Missing(f'serviceaccount "{name}" not found')
        return answer

    def _access(self):
        token = {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}}
        return {"sources": [token, {"clusterTrust": {}}, {"namespace": {}}]}

    # Volumes

    def _fill(self, volume):
        """Writes a volume's files, and returns its folder."""
        folder = self.volumes.get(volume["name"], (self.folder / "volumes" / volume["name"],))[0]
        if folder.exists():
            return folder
        files = self._files(volume)
        folder.mkdir(parents=True)
        folder.chmod(0o777 if "emptyDir" in volume else 0o755)
        if files is not None:
            publish(folder, files)
        self.volumes[volume["name"]] = (folder, volume, files)
        return folder

    def _renew_volumes(self):
        for name, (folder, volume, files) in list(self.volumes.items()):
            if "secret" not in volume and "configMap" not in volume:
                continue
            with contextlib.suppress(Missing):  # what is gone leaves the files as they are
                renewed = self._files(volume)
                if renewed != files:
                    publish(folder, renewed)
                    self.volumes[name] = (folder, volume, renewed)

    def _files(self, volume):
        """What is in a volume by name; None for an empty one."""
        if "emptyDir" in volume:
            return None
        if "projected" in volume:
            files = {}
            for source in volume["projected"]["sources"]:
                files |= self._source_files(*next(iter(source.items())))
            return files
        for kind in ("secret", "configMap", "downwardAPI"):
            if kind in volume:
                return self._source_files(kind, volume[kind])
        raise Unsupported(f"volume {volume['name']} of {sorted(set(volume) - {'name'})}")

    def _source_files(self, kind, source):
        if kind == "serviceAccountToken":
            return {source["path"]: self._token(source)}
        if kind == "clusterTrust":
            return {"ca.crt": (self.node.cluster.dir / "certs/apiserver.crt").read_bytes()}
        if kind == "namespace":
            return {"namespace": self.ns.encode()}
        if kind == "downwardAPI":
            return {item["path"]: self.field(item["fieldRef"]["fieldPath"]).encode() for item in source["items"]}
        kinds = {"secret": "Secret", "configMap": "ConfigMap"}
        if kind not in kinds:
            raise Unsupported(f"a volume's source of {kind}")
        data = self._data(kinds[kind], source.get("secretName") or source["name"], source.get("optional"))
        if "items" not in source:
            return data
        absent = [item["key"] for item in source["items"] if item["key"] not in data]
        if absent:
            raise Missing(f"references non-existent {kind} key: {absent[0]}")
        return {item["path"]: data[item["key"]] for item in source["items"]}

    def _token(self, source):
        bound = {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}
        spec = {"boundObjectRef": bound, "expirationSeconds": source.get("expirationSeconds", TOKEN_S)}
        if source.get("audience"):
            spec["audiences"] = [source["audience"]]
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        name = self.field("spec.serviceAccountName")
        path = f"/api/v1/namespaces/{self.ns}/serviceaccounts/{name}/token"
        status, answer = self.node.call("POST", path, request, good=(201, 404, 409))
        if status != 201:  # 409: another pod has its name by now
            raise Missing(answer["message"])
        return answer["status"]["token"].encode()


def content(object):
    """The data of a Secret or ConfigMap as bytes."""
    decoded = {key: base64.b64decode(value) for key, value in object.get("binaryData", {}).items()}
    plain = object.get("data") or {}
    if object.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in plain.items()}
    return decoded | {key: value.encode() for key, value in plain.items()}


# ---- The node


class Node:
    """programs: paths by the name of their image. folder: gets the pods' logs and roots. others: a fate of follow.py for
    pods of other images. Use it as a context manager, within the cluster's.
    """

    def __init__(self, cluster, folder, programs, others=None):
        self.cluster, self.folder, self.others = cluster, pathlib.Path(folder), others
        self.programs = programs
        self.seen = {kind: {} for kind in PATHS}  # kind -> key -> object
        self.pods = {}  # uid -> Pod; ended ones too
        self.exits = []  # (namespace, pod, container, exit status) of what was asked to end
        self.events = {}  # (uid, reason, message) -> count
        self.turns = {}  # (Service's key, port) -> how many connections it had
        self.lock = threading.RLock()
        self.addresses = 0

    @staticmethod
    @contextlib.contextmanager
    def for_cluster(folder, programs, others=None, apiserver_args=()):
        """A cluster and its node."""
        folder = pathlib.Path(folder)
        selection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(folder / "egress.sock")}}}
        configuration = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": selection}],
        }
        (folder / "egress.json").write_text(json.dumps(configuration))
        arguments = [f"--egress-selector-config-file={folder}/egress.json", *apiserver_args]
        with Cluster(arguments) as cluster, Node(cluster, folder, programs, others) as node:
            yield node

    def __enter__(self):
        namespace_command()
        self.cluster.start_controller_manager((*MANAGER_CONTROLLERS, "endpoint"))
        with contextlib.ExitStack() as stack:
            self.network = stack.enter_context(_network())
            self.proxy = stack.enter_context(ConnectProxy(self.folder / "egress.sock", self.resolve))
            stack.callback(self._end_pods)
            for kind, path in PATHS.items():
                stack.enter_context(Follower(self.cluster, path, lambda type, o, kind=kind: self._see(kind, type, o)))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _end_pods(self):
        for pod in self.pods.values():
            pod.end()
        for pod in self.pods.values():
            pod.thread.join()
        failures = [pod.failure for pod in self.pods.values() if pod.failure]
        if failures:
            raise failures[0]

    def call(self, method, path, body=None, good=(200, 201)):
        merge = "application/merge-patch+json" if method == "PATCH" else "application/json"
        status, answer = self.cluster.raw(method, path, body, content_type=merge)
        if status not in good:
            raise ClusterError(f"{method} {path}: status {status}, {answer}")
        return status, answer

    def event(self, pod, type, reason, message):
        """Tells of something once."""
        with self.lock:
            self.events[pod.uid, reason, message] = self.events.get((pod.uid, reason, message), 0) + 1
            if self.events[pod.uid, reason, message] > 1:
                return
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": pod.ns, "name": pod.name, "uid": pod.uid}
        made = {"metadata": {"generateName": f"{pod.name}.", "namespace": pod.ns}, "involvedObject": about}
        made |= {"type": type, "reason": reason, "message": message, "count": 1, "source": {"component": "kubelet"}}
        made |= {"firstTimestamp": now(), "lastTimestamp": now()}
        # 403, 404: the namespace is being deleted, or is gone.
        self.call("POST", f"/api/v1/namespaces/{pod.ns}/events", made, good=(201, 403, 404))

    # What is on the cluster

    def _see(self, kind, type, object):
        object.setdefault("kind", kind)
        with self.lock:
            if type == "DELETED":
                self.seen[kind].pop(key_of(object), None)
            else:
                self.seen[kind][key_of(object)] = object
            pods = list(self.pods.values())
        if kind == "Pod":
            self._see_pod(type, object)
        elif kind in ("Secret", "ConfigMap"):
            for pod in pods:
                pod.wake()

    def _see_pod(self, type, object):
        with self.lock:
            pod = self.pods.get(object["metadata"]["uid"])
            ours = all(image_name(c["image"]) in self.programs for c in object["spec"]["containers"])
            if not pod and ours and type != "DELETED" and not object["spec"].get("nodeName"):
                pod = self.pods[object["metadata"]["uid"]] = Pod(self, object, self._next_address())
                pod.thread.start()
        if pod and type == "DELETED":
            pod.end()
        elif pod:
            pod.update(object)
        elif type == "ADDED" and self.others and not ours:
            path = f"/api/v1/namespaces/{object['metadata']['namespace']}/pods/{object['metadata']['name']}/status"
            self.call("PATCH", path, {"status": FATES[self.others](object)}, good=(200, 404, 409))

    # Network

    def _next_address(self):
        self.addresses += 1
        if self.addresses > PODS_MAX:
            raise ClusterError(f"more than {PODS_MAX} pods of ours in one test")
        return f"127.{self.network}.{self.addresses}"

    # A pod's address as the API server knows it, and as it is here.

    @staticmethod
    def outer(address):
        return f"10.{address.removeprefix('127.')}"

    @staticmethod
    def inner(address):
        return f"127.{address.removeprefix('10.')}"

    def resolve(self, host, port):
        """Where a Service's connection goes: a ready endpoint, in turn; None where there is none."""
        with self.lock:
            service = next((s for s in self.seen["Service"].values() if host in service_hosts(s)), None)
            if service is None:
                return None
            ports = [p for p in service["spec"]["ports"] if p["port"] == port]
            endpoints = self.seen["Endpoints"].get(key_of(service), {})
            there = [
                (address["ip"], target["port"])
                for subset in endpoints.get("subsets", [])
                for target in subset.get("ports", [])
                for address in subset.get("addresses", [])
                if ports and target.get("name") == ports[0].get("name")
            ]
            if not there:
                return None
            turn = self.turns[host, port] = self.turns.get((host, port), -1) + 1
        ip, number = there[turn % len(there)]
        return self.inner(ip), number

    # For tests

    def running(self, ns, app):
        """Our pods that run or are to, by their label app.kubernetes.io/name, oldest first."""
        label = "app.kubernetes.io/name"
        return [
            pod
            for pod in self.pods.values()
            if pod.ns == ns and not pod.gone and pod.object["metadata"].get("labels", {}).get(label) == app
        ]

    def wait_available(self, ns, *deployments, timeout=60):
        """Until Deployments have all their replicas updated and available."""

        def available(name):
            status, answer = self.call("GET", f"/apis/apps/v1/namespaces/{ns}/deployments/{name}", good=(200, 404))
            if status == 404:
                return False
            told, wanted = answer["status"], answer["spec"]["replicas"]
            current = told.get("observedGeneration") == answer["metadata"]["generation"]
            counts = [told.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas")]
            return current and counts == [wanted] * 3

        for name in deployments:
            try:
                wait_for(lambda name=name: available(name), f"Deployment {ns}/{name} is available", timeout)
            except ClusterError as error:
                raise ClusterError(f"{error}\n{self.logs()}") from None

    def logs(self):
        """The end of each pod's log."""
        told = []
        for pod in self.pods.values():
            for container in pod.containers:
                if container.log.exists():
                    lines = container.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                    told += [f"---- {pod.ns}/{pod.name} {container.name} ({container.log})", *lines]
                else:
                    told.append(f"---- {pod.ns}/{pod.name} {container.name}: {container.waiting}")
        return "\n".join(told)


def service_hosts(service):
    ns, name = key_of(service)
    return {service["spec"].get("clusterIP"), f"{name}.{ns}.svc", f"{name}.{ns}.svc.cluster.local"}


@contextlib.contextmanager
def _network():
    """The middle of addresses 127.X.Y.*, which no other test on this machine uses for as long."""
    for _ in range(50):
        prefix = f"{random.randrange(64, 192)}.{random.randrange(1, 255)}"
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in PORTS:
                held.enter_context(contextlib.closing(socket.create_server((f"127.{prefix}.254", port))))
            kept = held.pop_all()
            break
    else:
        raise ClusterError(f"nobody can listen on ports {PORTS} of 127.0.0.0/8: end what listens there on all addresses")
    with kept:
        yield prefix
