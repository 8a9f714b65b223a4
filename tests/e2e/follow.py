"""What happens on a cluster, followed over watches: a history of objects, and a stand-in for the kubelet.

Each runs on a thread of its own, against the API server itself, and is gone after the with statement. An API server that
goes is asked again until it is back.
"""

import contextlib
import copy
import datetime
import http.client
import json
import socket
import ssl
import threading

from cluster import HOST

RETRY_S = 0.1


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Follower:
    """Lists and watches the objects at a path, and calls seen(type, object) for each: ADDED, MODIFIED or DELETED.

    After a list all that is there is ADDED again.
    """

    def __init__(self, cluster, path, seen):
        self.cluster, self.path, self.seen = cluster, path, seen
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.connection = None
        self.failure = None  # of seen(), which is a bug of the test
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        with self.lock, contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        if self.failure:
            raise self.failure

    def _run(self):
        while not self.stopped.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError):
                self.stopped.wait(RETRY_S)
            except Exception as error:  # told by __exit__()
                self.failure = error
                return

    def _open(self):
        context = ssl.create_default_context(cafile=self.cluster.dir / "certs" / "apiserver.crt")
        connection = http.client.HTTPSConnection(HOST, self.cluster.port, context=context)
        connection.connect()
        with self.lock:
            self.connection = connection
        return connection

    def _ask(self, connection, path):
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.cluster.tokens['admin']}"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"status {answer.status} for {path}")
        return answer

    def _follow(self):
        with contextlib.closing(self._open()) as connection:
            listed = json.loads(self._ask(connection, self.path).read())
            kind = listed["kind"].removesuffix("List")
            for item in listed["items"]:
                self.seen("ADDED", item | {"kind": kind})
            version = listed["metadata"]["resourceVersion"]
            stream = self._ask(connection, f"{self.path}?watch=true&resourceVersion={version}")
            while not self.stopped.is_set():
                line = stream.readline()
                if not line:
                    return
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self.seen(event["type"], event["object"])


class History(Follower):
    """All versions of the objects at a path that were seen, by namespace and name."""

    def __init__(self, cluster, path):
        super().__init__(cluster, path, self._note)
        self.versions = {}

    def _note(self, type, object):
        if type == "DELETED":
            return
        metadata = object["metadata"]
        known = self.versions.setdefault((metadata["namespace"], metadata["name"]), [])
        if not known or known[-1]["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            known.append(object)

    def of(self, ns, name, live=None):
        """The versions of an object, oldest first; live: wait until they reach this one."""
        if live is not None:
            version = live["metadata"]["resourceVersion"]
            self.cluster.wait_for(
                lambda: any(v["metadata"]["resourceVersion"] == version for v in self.of(ns, name)),
                f"the history of {ns}/{name} reaches version {version}",
            )
        return list(self.versions.get((ns, name), []))


# ---- Pods


def _condition(type, status, reason=None, message=None):
    made = {"type": type, "status": status, "lastTransitionTime": now()}
    return made | ({"reason": reason, "message": message or ""} if reason else {})


def _containers(pod, ready, state, **more):
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state(container),
            **more,
        }
        for container in pod["spec"]["containers"]
    ]


def _status(phase, ready, containers, why=None):
    reason = () if ready == "True" else ("ContainersNotReady", why or "containers with unready status")
    conditions = [_condition("PodScheduled", "True"), _condition("Initialized", "True")]
    conditions += [_condition(type, ready, *reason) for type in ("Ready", "ContainersReady")]
    return {"phase": phase, "podIP": "10.1.0.1", "conditions": conditions, "containerStatuses": containers}


def _ready(pod):
    return _status("Running", "True", _containers(pod, True, lambda c: {"running": {"startedAt": now()}}))


def _unready(pod):
    return _status("Running", "False", _containers(pod, False, lambda c: {"running": {"startedAt": now()}}))


def _image(pod):
    def state(container):
        message = f'Back-off pulling image "{container["image"]}"'
        return {"waiting": {"reason": "ImagePullBackOff", "message": message}}

    return _status("Pending", "False", _containers(pod, False, state))


def _crash(pod):
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now(), "finishedAt": now()}}
    more = {"restartCount": 5, "lastState": last}
    return _status("Running", "False", _containers(pod, False, lambda c: {"waiting": waiting}, **more))


def _unschedulable(pod):
    message = "0/3 nodes are available: 3 Insufficient memory."
    return {"phase": "Pending", "conditions": [_condition("PodScheduled", "False", "Unschedulable", message)]}


# What may become of a pod.
FATES = {
    "ready": _ready,
    "unready": _unready,
    "image": _image,
    "crash": _crash,
    "unschedulable": _unschedulable,
    "pending": lambda pod: None,  # nobody has looked at it yet
}


class Kubelet(Follower):
    """Gives pods the status that a scheduler and a kubelet would: they are ready at once, unless their namespace has
    another fate. They are on no node, so one that is deleted is gone at once."""

    def __init__(self, cluster):
        super().__init__(cluster, "/api/v1/pods", self._see)
        self.fates = {}  # by namespace
        self.pods = {}  # (namespace, name) -> the pod
        self.told = {}  # uid -> the fate that the API server was told
        self.kept = {}  # uid -> a fate that stays

    def _see(self, type, pod):
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        with self.lock:
            if type == "DELETED":
                self.pods.pop(key, None)
            else:
                self.pods[key] = copy.deepcopy(pod)
            fate = self.kept.get(pod["metadata"]["uid"], self.fates.get(key[0], "ready"))
        if type != "DELETED":
            self._tell(pod, fate)

    def _tell(self, pod, fate):
        metadata = pod["metadata"]
        with self.lock:
            if self.told.get(metadata["uid"]) == fate or "deletionTimestamp" in metadata:
                return
            self.told[metadata["uid"]] = fate
        status = FATES[fate](pod)
        if status is None:
            return
        try:
            self._patch(metadata, status)
        except (OSError, http.client.HTTPException):
            with self.lock:
                self.told.pop(metadata["uid"], None)  # the next list has it told again
            raise

    def _patch(self, metadata, status):
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        merge = "application/merge-patch+json"
        code, answer = self.cluster.raw("PATCH", path, {"status": status}, content_type=merge)
        if code == 429 or code >= 500:
            raise OSError(f"status {code} for {path}")
        if code not in (200, 404, 409):
            raise AssertionError(f"the status of pod {metadata['name']} is not taken: {code}, {answer}")

    @contextlib.contextmanager
    def fate(self, ns, fate):
        """The namespace's pods, those that are there too, have this fate until the end of the with statement."""
        self.decide(ns, fate)
        try:
            yield
        finally:
            self.decide(ns, "ready")

    def decide(self, ns, fate, new_only=False):
        """The namespace's pods have this fate from now on; new_only: those that are still to come."""
        with self.lock:
            before = self.fates.get(ns, "ready")
            self.fates[ns] = fate
            there = [pod for key, pod in self.pods.items() if key[0] == ns]
            for pod in there:
                if new_only:
                    self.kept.setdefault(pod["metadata"]["uid"], before)
                else:
                    self.kept.pop(pod["metadata"]["uid"], None)
        for pod in () if new_only else there:
            self._tell(pod, fate)
