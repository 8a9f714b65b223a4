"""What the Trustee suites share: a cluster whose Deployments become pods, and coco-controllers with the rights of the base.

    world.namespace("a")                                  with the RoleBinding that lets the controller work there
    world.apply(trustee("a", "t", profileType="Permissive"))
    world.ready("a", "t")

The controllers' requests take the way through world.proxy. Tests act as users "admin" and "alice"; other managers' fields
are told apart by the field manager. Nothing here waits for a fixed time.
"""

import contextlib
import copy
import datetime
import difflib
import http.client
import json
import re
import time
import types

from world import P, ROOT, SYSTEM_NAMESPACE, Account, Program, World, documents

from certificates import body_of, decode, encode
from cluster import USERS
from fault_proxy import FaultProxy
from follow import History, Kubelet
from tap import check, equal

API = "confidentialcontainers.org/v1alpha1"
GRANT = ROOT / "manifests/trustee-namespace/rolebinding.yaml"
MANAGER = "coco-controller"  # its field manager, and the value of label managed-by
CONTENT = P + "content"  # the annotation of a pod's template
APPLIED = P + "applied"
DEPLOYMENT, SERVICE = "trustee-deployment", "kbs-service"
WAIT_S = 30
RENEWAL_S = 3  # from one renewal of the Lease to the next, at most: a second where nothing else runs
# Of Secrets: what guests, or everybody, may read. The configuration holds Vault's token, which is in a Secret of its own too.
PUBLIC_KEYS = {"certificate", "tls.crt", "ca.crt", "token.crt", "publicKey", "status", "kbs-config.toml"}
TRACE_MIN = 16  # shorter texts are found anywhere

RESOURCES = {
    "Namespace": "/api/v1/namespaces",
    "ConfigMap": "/api/v1/configmaps",
    "Secret": "/api/v1/secrets",
    "Service": "/api/v1/services",
    "Pod": "/api/v1/pods",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/deployments",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "Ingress": "/apis/networking.k8s.io/v1/ingresses",
    "Event": "/apis/events.k8s.io/v1/events",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "Route": "/apis/route.openshift.io/v1/routes",
    "TLSRoute": "/apis/gateway.networking.k8s.io/v1alpha2/tlsroutes",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/servicemonitors",
    "TrusteeConfig": f"/apis/{API}/trusteeconfigs",
    "KbsConfig": f"/apis/{API}/kbsconfigs",
    "ConfidentialProfile": f"/apis/{P}v1alpha1/confidentialprofiles",
}
# Kinds of the objects that a Trustee comes to.
CHILDREN = (
    "ConfigMap", "Secret", "PersistentVolumeClaim", "KbsConfig", "Deployment", "Service", "Route", "TLSRoute", "Ingress",
    "ServiceMonitor",
)  # fmt: skip
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


def path_of(kind, ns=None, name=None, subresource=None):
    folder, plural = RESOURCES[kind].rsplit("/", 1)
    parts = [folder, *(["namespaces", ns] if ns else []), plural, name, subresource]
    return "/".join(part for part in parts if part)


# ---- Objects


def named(kind, ns, name, api="v1", **rest):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": ns}, **rest}


def trustee(ns, name="t", **spec):
    return named("TrusteeConfig", ns, name, API, spec=spec)


def restricted(ns, name="t", secret="kbs-tls", **spec):
    spec = {"profileType": "Restricted", "httpsSpec": {"tlsSecretName": secret}} | spec
    return trustee(ns, name, **spec)


def kbs_config(ns, name, **spec):
    return named("KbsConfig", ns, name, API, spec=spec)


def config_map(ns, name, data):
    return named("ConfigMap", ns, name, data=data)


def secret(ns, name, data, type="Opaque"):
    return named("Secret", ns, name, type=type, data={key: encode(value) for key, value in data.items()})


def tls_secret(ns, name, pair):
    return secret(ns, name, {"tls.crt": pair[0], "tls.key": pair[1]}, "kubernetes.io/tls")


def condition(object, type):
    """A condition of its status; {} where there is none."""
    found = [c for c in object.get("status", {}).get("conditions", []) if c["type"] == type]
    return found[0] if found else {}


def uid(object):
    return object["metadata"]["uid"]


def content(object):
    """All of it but what the API server and who writes status change by themselves."""
    kept = copy.deepcopy(object)
    kept.pop("status", None)
    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "selfLink"):
        kept["metadata"].pop(field, None)
    for owner in kept["metadata"].get("ownerReferences", []):
        owner.pop("uid", None)
    return kept


def traces(value):
    """The texts by which a secret value can be told: a key's lines of base64, and the value as it is and in base64."""
    lines = [line for line in value.splitlines() if len(line) >= TRACE_MIN and not line.startswith("-----")]
    if "PRIVATE KEY" in value:
        return {*lines, body_of(value), encode(value)}
    return {value, encode(value)} if len(value) >= TRACE_MIN else set()


def iso(seconds):
    """As the audit log has it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="microseconds")[:-6]


def is_lease(event):
    return event.get("objectRef", {}).get("resource") == "leases"


# ---- What runs


RESTING = {
    'leader_election_master_status{name="coco-controller"}': 1,
    'workqueue_depth{name="profile"}': 0,
    'workqueue_unfinished_work_seconds{name="profile"}': 0,
    'controller_runtime_active_workers{controller="profile"}': 0,
    'workqueue_depth{name="trustee"}': 0,
    'workqueue_unfinished_work_seconds{name="trustee"}': 0,
    'controller_runtime_active_workers{controller="trustee"}': 0,
    'coco_trustees{state="pending"}': 0,
}


class Controller(Program):
    """coco-controller as its container would see the world."""

    @property
    def identity(self):
        return self.logged("started")[-1]["identity"]

    def leads(self):
        try:
            return self.metric('leader_election_master_status{name="coco-controller"}', 0) == 1
        except (OSError, http.client.HTTPException):  # it has just died
            return False

    def is_resting(self):
        """Whether it leads, follows all that it wants to, has looked at all Trustees and has nothing to do just now. One that
        has only begun has nothing to do either."""
        try:
            text = self.get("/metrics")[1]
        except (OSError, http.client.HTTPException):  # it has just died
            return False

        def values(series):
            return [float(value) for value in re.findall(rf"^{re.escape(series)} (\S+)$", text, re.M)]

        return self.follows_all(text) and all(values(series) == [value] for series, value in RESTING.items())


class TrusteeWorld(World):
    """binary: of coco-controller. controllers: how many of them run."""

    behind_proxy = True  # else the controllers ask the API server itself, as a measurement wants it

    def __init__(self, binary, controllers=1):
        self.binary = binary
        self.ncontrollers = controllers

    def set_up(self):
        cluster = self.cluster
        self.apply_base("Namespace")
        cluster.kubectl("apply", "-f", str(ROOT / "tests/e2e/crds/exposure"))
        cluster.kubectl("apply", "--validate=false", "-k", str(ROOT / "crds"))  # 1.20 knows no rules in CEL
        self.apply_base("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        self.grant = documents(GRANT)[0]
        self.forbidden_in = set()  # namespaces in which a test has the controller refused
        # What collects garbage looks for kinds when it starts, and then every 30 s.
        cluster.wait_for(self.knows_all_kinds, "the API server tells of all kinds")
        cluster.start_controller_manager()
        self.kubelet = self.stack.enter_context(Kubelet(cluster))
        follow = {"Deployment", "TrusteeConfig", "KbsConfig", "Secret"}
        self.histories = {kind: self.stack.enter_context(History(cluster, path_of(kind))) for kind in follow}
        certificate = cluster.dir / "certs/apiserver.crt"
        if self.behind_proxy:
            self.proxy = self.stack.enter_context(FaultProxy(cluster.port, certificate))
        else:
            self.proxy = types.SimpleNamespace(port=cluster.port, ca=certificate)
        self.account = Account(self, "coco-controller", self.proxy)
        options = (self.cluster.env, f"--kubeconfig={self.account.kubeconfig}")
        self.controllers = [
            Controller(self.binary, self.folder / f"controller-{n}", *options) for n in range(self.ncontrollers)
        ]
        for controller in self.controllers:
            self.start(controller)
        self.leader()

    def knows_all_kinds(self):
        groups = self.cluster.raw("GET", "/apis")[1]["groups"]
        versions = {f"/apis/{version['groupVersion']}" for group in groups for version in group["versions"]} | {"/api/v1"}
        for folder, plural in (path.rsplit("/", 1) for path in RESOURCES.values()):
            status, answer = self.cluster.raw("GET", folder)
            if folder not in versions or status != 200 or plural not in {known["name"] for known in answer["resources"]}:
                return False
        return True

    def leader(self):
        """Who leads, once somebody does."""

        def leading():
            found = [c for c in self.controllers if c.proc.alive() and c.leads()]
            return found[0] if len(found) == 1 else None

        return self.cluster.wait_for(leading, "one controller leads", 60)

    @contextlib.contextmanager
    def stopped(self):
        """With no controller; they run again afterwards, for other cases too where this one fails."""
        for controller in self.controllers:
            controller.stop()
        try:
            yield
        finally:
            for controller in self.controllers:
                controller.start()

    # Objects

    def get(self, kind, ns, name):
        """The object, or None."""
        status, answer = self.cluster.raw("GET", path_of(kind, ns, name))
        check(status in (200, 404), f"the status of getting {kind} {ns}/{name} is {status}: {answer}")
        return answer if status == 200 else None

    def there(self, kind, ns, name):
        """The object, once it is there."""
        return self.cluster.wait_for(lambda: self.get(kind, ns, name), f"{kind} {ns}/{name} is there", WAIT_S)

    def gone(self, kind, ns, name, timeout=WAIT_S):
        self.cluster.wait_for(lambda: not self.get(kind, ns, name), f"{kind} {ns}/{name} is gone", timeout)

    def list(self, kind, ns=None):
        status, answer = self.cluster.raw("GET", path_of(kind, ns))
        equal(status, 200, f"the status of listing {kind}s of {ns} ({answer})")
        return [item | {"kind": kind} for item in answer["items"]]

    def request(self, method, path, body, content_type="application/json", user="admin"):
        status, answer = self.cluster.raw(method, path, body, user=user, content_type=content_type)
        check(200 <= status < 300, f"the status of {method} {path} is {status}: {answer}")
        return answer

    def create(self, *objects):
        for object in objects:
            self.request("POST", path_of(object["kind"], object["metadata"].get("namespace")), object)

    def apply(self, *objects):
        """Makes the objects, or has those that are there say this instead, as kubectl replace does. Returns the last one."""
        answer = None
        for object in objects:
            answer = self.cluster.wait_for(lambda: self._apply(object), f"no conflict over {object['metadata']['name']}")
        return answer

    def _apply(self, object):
        """The answer; None: it has changed meanwhile."""
        kind, metadata = object["kind"], object["metadata"]
        live = self.get(kind, metadata.get("namespace"), metadata["name"])
        if not live:
            return self.request("POST", path_of(kind, metadata.get("namespace")), object)
        version = {"resourceVersion": live["metadata"]["resourceVersion"]}
        path = path_of(kind, metadata.get("namespace"), metadata["name"])
        status, answer = self.cluster.raw("PUT", path, object | {"metadata": metadata | version})
        check(status in (200, 409), f"the status of PUT {path} is {status}: {answer}")
        return answer if status == 200 else None

    def patch(self, kind, ns, name, body, type="merge", subresource=None, manager="admin"):
        path = f"{path_of(kind, ns, name, subresource)}?fieldManager={manager}"
        return self.request("PATCH", path, body, PATCHES[type])

    def delete(self, kind, ns, name, propagation="Background"):
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        return self.request("DELETE", path_of(kind, ns, name), options)

    # Namespaces

    def namespace(self, name, granted=True, *objects):
        """Makes the namespace with the objects; granted: the controller may work in it."""
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if granted:
            self.bind(name)
        else:
            self.forbidden_in.add(name)
        self.create(*objects)
        return name

    def bind(self, ns):
        """Once it returns, the rights are in force: what decides about them hears of a RoleBinding a little later."""
        made = copy.deepcopy(self.grant)
        made["metadata"]["namespace"] = ns
        self.create(made)
        self.cluster.wait_for(lambda: self.may_work_in(ns), f"the controller may work in {ns}")

    def may_work_in(self, ns):
        asked = {"namespace": ns, "verb": "list", "resource": "secrets"}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        review["spec"] = {"user": self.account.user, "resourceAttributes": asked}
        return self.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    def children(self, ns):
        """All objects of the namespace that the controller has made: (kind, name) -> object."""
        return {
            (kind, object["metadata"]["name"]): object
            for kind in CHILDREN
            for object in self.list(kind, ns)
            if object["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == MANAGER
        }

    # Statuses

    def said(self, kind, ns, name, type, status=None, reason=None):
        """The object, if its condition is about its newest generation and like this; else None."""
        object = self.get(kind, ns, name)
        found = condition(object or {}, type)
        fits = (
            found
            and found["observedGeneration"] == object["metadata"]["generation"]
            and status in (None, found["status"])
            and reason in (None, found["reason"])
        )
        return object if fits else None

    def says(self, ns, name, type, status=None, reason=None, kind="TrusteeConfig", timeout=WAIT_S):
        """The condition, once it is about the newest generation and like this."""

        def found():
            return self.said(kind, ns, name, type, status, reason)

        try:
            object = self.cluster.wait_for(found, f"{kind} {ns}/{name} says {type} {status} {reason}", timeout)
        except Exception:
            self.show(kind, ns, name)
            raise
        return condition(object, type)

    def has_said(self, ns, name, type, status, reason):
        """The condition of the TrusteeConfig, once it was like this, be it for a moment that is over."""

        def found():
            told = [condition(version, type) for version in self.histories["TrusteeConfig"].of(ns, name)]
            return [c for c in told if c and (c["status"], c["reason"]) == (status, reason)]

        try:
            return self.cluster.wait_for(found, f"TrusteeConfig {ns}/{name} has said {type} {status} {reason}", WAIT_S)[-1]
        except Exception:
            self.show("TrusteeConfig", ns, name)
            raise

    def ready(self, ns, name="t", kind="TrusteeConfig", timeout=WAIT_S):
        """The object, once it is Ready and all its pods are the newest ones."""

        def is_so():
            return self.said(kind, ns, name, "Ready", "True") and self.said(kind, ns, name, "Progressing", "False")

        try:
            return self.cluster.wait_for(is_so, f"{kind} {ns}/{name} is ready", timeout)
        except Exception:
            self.show(kind, ns, name)
            raise

    def ready_at(self, ns, url, name="t", kind="TrusteeConfig"):
        """The object, once it is Ready, and says that it is reached there: it may be ready before what exposes it is."""

        def is_there():
            return ((self.get(kind, ns, name) or {}).get("status") or {}).get("url") == url

        try:
            self.cluster.wait_for(is_there, f"{kind} {ns}/{name} is at {url}", WAIT_S)
        except Exception:
            self.show(kind, ns, name)
            raise
        return self.ready(ns, name, kind)

    def show(self, kind, ns, name):
        """What people would look at first."""
        object = self.get(kind, ns, name)
        print(f"{kind} {ns}/{name}: {json.dumps((object or {}).get('status'), indent=1)}")
        for controller in self.controllers:
            print("\n".join(controller.proc.log.read_text().splitlines()[-20:]))

    # What the controller has done

    def adds(self):
        return self.leader().metric('workqueue_adds_total{name="trustee"}')

    def rested(self):
        """Waits until it has nothing left to do, and nothing has come of what it did last."""

        def twice():
            before = self.adds()
            leader = self.leader()
            return leader.is_resting() and leader.is_resting() and self.adds() == before

        self.cluster.wait_for(twice, "the controller comes to rest", WAIT_S)

    @contextlib.contextmanager
    def heard(self):
        """Waits, at the end of the with statement, until the controller has looked at what was done in there, of which
        it has to hear, and has nothing left to do."""
        self.rested()
        before = self.adds()
        yield
        self.cluster.wait_for(lambda: self.adds() > before, "the controller hears of it", WAIT_S)
        self.rested()

    def templates(self, ns, name=DEPLOYMENT):
        """The pod templates that the Deployment has had since it was made, each as often as it was a new one."""
        live = self.there("Deployment", ns, name)
        found = []
        for version in self.histories["Deployment"].of(ns, name, live):
            template = version["spec"]["template"]
            if uid(version) == uid(live) and (not found or found[-1] != template):
                found.append(template)
        return found

    def rollouts(self, ns, name=DEPLOYMENT):
        return len(self.templates(ns, name)) - 1

    def rolled(self, ns, count, name=DEPLOYMENT):
        """So often the pods were replaced since the Deployment was made; shows how they differ where it isn't so."""
        templates = self.templates(ns, name)
        if len(templates) - 1 != count:
            for old, new in zip(templates, templates[1:]):
                texts = [json.dumps(one, indent=1, sort_keys=True).splitlines() for one in (old, new)]
                print("\n".join(difflib.unified_diff(*texts, lineterm="", n=1)))
        equal(len(templates) - 1, count, f"the rollouts of {name} in {ns}")

    @contextlib.contextmanager
    def rolls(self, ns, count, name=DEPLOYMENT):
        """What is done in the with statement is this many rollouts. With none, it has to wait for the end of it itself."""
        before = self.rollouts(ns, name)
        yield
        self.cluster.wait_for(lambda: self.rollouts(ns, name) >= before + count, f"{count} rollouts in {ns}", WAIT_S)
        self.rested()
        self.rolled(ns, before + count, name)

    def requests(self, since=""):
        """The requests of the controllers, from the audit log. since: as requestReceivedTimestamp."""
        return [
            event
            for event in self.cluster.audit()
            if event["user"].get("username") == self.account.user and event["requestReceivedTimestamp"] >= since
        ]

    def refusals(self):
        """What the controllers were forbidden where no test meant it."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self.requests()
            if event["responseStatus"]["code"] == 403
            and event.get("objectRef", {}).get("namespace") not in self.forbidden_in
        ]

    def idle(self, renewals):
        """What the controllers ask for, but for the Lease, while it is renewed so often. Events of what was done last, which
        another thread sends, are out before that: it is renewed once meanwhile."""
        for count in (1, renewals):
            since = iso(time.time())

            def renewed(since=since, count=count):
                return len([e for e in self.requests(since) if is_lease(e) and e["verb"] == "update"]) >= count

            self.cluster.wait_for(renewed, f"the Lease is renewed {count} times", WAIT_S + count * RENEWAL_S)
        return [f"{e['verb']} {e['requestURI']}" for e in self.requests(since) if not is_lease(e)]

    # Secrets

    def secrets(self):
        """What was ever in a Secret and is for nobody else's eyes: texts that give it away, by where it was."""
        found = {}
        for (ns, name), versions in list(self.histories["Secret"].versions.items()):  # a thread adds to it
            for version in versions:
                for key, value in (version.get("data") or {}).items():
                    if key not in PUBLIC_KEYS and ns != SYSTEM_NAMESPACE:
                        found.setdefault(f"{ns}/{name} {key}", set()).update(traces(decode(value)))
        return found

    def told(self):
        """All that the controllers and the API server tell to whoever may not read Secrets: text by where it is."""
        for number, controller in enumerate(self.controllers):
            yield f"log of controller {number}", controller.proc.log.read_text()
            yield f"metrics of controller {number}", controller.get("/metrics")[1]
        for kind in RESOURCES:
            if kind != "Secret":
                yield f"{kind}s", json.dumps(self.list(kind))

    def leaks(self):
        told = list(self.told())
        return [
            f"{secret} in {place}"
            for secret, texts in self.secrets().items()
            for place, text in told
            if any(part in text for part in texts)
        ]

    # What others do

    def admit_route(self, ns, host, name="kbs"):
        """As OpenShift's router does, with the host that is asked for, else this one."""
        route = self.there("Route", ns, name)
        if "host" not in route["spec"]:
            self.patch("Route", ns, name, {"spec": {"host": host}}, manager="openshift")
        host = route["spec"].get("host", host)
        admitted = {"host": host, "conditions": [{"type": "Admitted", "status": "True"}], "routerName": "default"}
        self.patch("Route", ns, name, {"status": {"ingress": [admitted]}}, subresource="status", manager="router")
