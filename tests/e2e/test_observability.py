#!/usr/bin/python3
"""coco-webhook (argv[1]) and coco-controller (argv[2]) on a real API server: what their /metrics say, and what the API server's
audit log says of admissions. docs/observability.md tells the same.

With --table, prints the rows of that page's tables instead, as the programs say them.
"""

import contextlib
import functools
import re
import sys

from trustee_world import TrusteeWorld, trustee
from world import HOST, P, SAMPLES, SYSTEM_NAMESPACE, Account, Program, Webhook, World, namespace, pod, profile, programs

from cluster import free_ports
from metrics_text import check_by_promtool, documented, read
from tap import check, equal, main, test

WEBHOOK, CONTROLLER = programs("coco-webhook", "coco-controller")
TABLE = "--table" in sys.argv
SERIES_MAX = 1000  # of one program on this small cluster
PROFILES = f"/apis/{P}v1alpha1/namespaces/plain/confidentialprofiles"
BAD = profile("bad", "plain", memory={"min": "8Gi", "max": "4Gi"})


class Observed(TrusteeWorld):
    """A webhook in force, a controller with a Trustee."""

    def set_up(self):
        super().set_up()
        self.apply_base("PriorityClass", "Secret")
        self.cluster.kubectl("label", "namespace", SYSTEM_NAMESPACE, f"kubernetes.io/metadata.name={SYSTEM_NAMESPACE}")
        self.cluster.kubectl("apply", "-f", str(SAMPLES / "runtimeclass-test.yaml"))
        self.apply_all([namespace("plain")])
        self.cluster.grant_edit("tekton", "alice")
        kubeconfig = f"--kubeconfig={Account(self, 'coco-webhook', self.proxy).kubeconfig}"
        # One that makes its own certificate, while there are no configurations that it would write to.
        options = (f"--listen={HOST}:{free_ports(1)[0]}", "--tls-secret=coco-webhook-tls", kubeconfig)
        own = Program(WEBHOOK, self.folder / "own-certificate", self.cluster.env, *options)
        own.start()
        own.proc.wait_until(lambda: own.metric("coco_webhook_certificate_not_after_timestamp_seconds") > 0, "has a certificate")
        self.own_text = own.get("/metrics")[1]
        own.stop()
        self.webhook = Webhook(WEBHOOK, self.folder / "webhook", self.cluster.env, kubeconfig)
        self.start(self.webhook)
        self.cluster.kubectl("apply", "-f", str(SAMPLES / "profile.yaml"))
        self.webhook.proc.wait_until(lambda: self.webhook.metric('coco_webhook_profiles{state="good"}') == 1, "has the profile")
        self.install()

    def create(self, *objects, **how):
        """A pod with its namespace, as World does it, or objects, as TrusteeWorld does."""
        if how or (len(objects) > 1 and isinstance(objects[1], str)):
            return World.create(self, *objects, **how)
        return super().create(*objects)

    @contextlib.contextmanager
    def trusted(self, ns, **spec):
        """With a Trustee in a namespace of its own. Afterwards the metrics don't know it any more."""
        self.namespace(ns)
        self.apply(trustee(ns, profileType="Permissive", **spec))
        self.ready(ns)
        self.cluster.wait_for(lambda: gauge(self, ns, "ready") == 1, "the metric says that it is ready")
        yield
        self.delete("TrusteeConfig", ns, "t")
        self.cluster.wait_for(lambda: gauge(self, ns, "ready") == -1, "the metric is gone with it")

    def repair(self, ns):
        """Has the controller make the Trustee's Service anew, which is counted once."""
        leader, series = self.leader(), 'coco_repairs_total{kind="Service"}'
        before = leader.metric(series, 0)
        self.delete("Service", ns, "kbs-service")
        self.cluster.wait_for(lambda: leader.metric(series, 0) == before + 1, "the repair is counted")

    @functools.cached_property
    def controller_text(self):
        """Of a controller that has a Trustee, and has repaired it."""
        with self.trusted("repaired"):
            self.repair("repaired")
            return self.texts()["controller"]

    def texts(self):
        return {"webhook": self.webhook.get("/metrics")[1], "controller": self.leader().get("/metrics")[1]}

    def audited(self, name, stage="ResponseComplete"):
        """The annotations of the events about creating an object of that name."""
        return [
            event.get("annotations", {})
            for event in self.cluster.audit()
            if event["stage"] == stage and event["verb"] == "create" and self.is_about(event, name)
        ]

    def is_about(self, event, name):
        return event.get("objectRef", {}).get("name") == name or name in event.get("requestURI", "")


def served(world):
    """{name: (Family, program)}, as the programs say now; of the webhook, both ways to have a certificate."""
    webhook, controller = (read(text) for text in world.texts().values())
    webhook |= {name: f for name, f in read(world.own_text).items() if name not in webhook}
    found = {}
    for name in sorted(webhook.keys() | controller.keys()):
        program = "both" if name in webhook and name in controller else "webhook" if name in webhook else "controller"
        family = webhook.get(name) or controller.get(name)
        labels = [f[name].labels for f in (webhook, controller) if name in f and f[name].labels is not None]
        family.labels = set().union(*labels) if labels else None
        found[name] = family, program
    return found


def annotations_of(world, webhook, name):
    """What coco-webhook left in the audit log about the creation of an object, by one of its webhooks."""
    prefix = f"{webhook}.{P.rstrip('/')}/"

    def now():
        for annotations in world.audited(name):
            found = {k.removeprefix(prefix): v for k, v in annotations.items() if k.startswith(prefix)}
            if found:
                return found
        return None

    return world.cluster.wait_for(now, f"the audit log has annotations of {webhook} about {name}")


# ---- The audit trail


@test("audit: a pod that was made confidential, by whom and how")
def _(world):
    stored = world.created(pod("audited"))
    equal(stored["spec"]["runtimeClassName"], "kata-cc", "the RuntimeClass")
    got = annotations_of(world, "labelled.mutate", "/namespaces/plain/pods")
    profile_of = {"profile": f"{SYSTEM_NAMESPACE}/default", "generation": "1"}
    digest = got["initdata"]
    check(re.fullmatch(r"sha256:[0-9a-f]{64}", digest), f"the digest is {digest}")
    rest = profile_of | {"initdata": digest, "vm-mib": got["vm-mib"], "version": got["version"]}
    equal(got, {"decision": "mutated", "reason": "Mutated"} | rest, "what mutation left")
    got = annotations_of(world, "labelled.validate", "/namespaces/plain/pods")
    equal(got, {"decision": "allowed", "reason": "AlreadyConfidential"} | rest, "what validation left")


@test("audit: a pod that was denied, and why")
def _(world):
    namespaced = namespace("denied")
    world.apply_all([namespaced])
    world.cluster.wait_for(lambda: world.create(pod("probe", {}), "denied", dry_run=True)[0] == 201, "pods may be created")
    status, _ = world.create(pod("audited", hostNetwork=True), "denied")
    equal(status, 403, "the status")
    prefix = f"labelled.mutate.{P}"
    world.cluster.wait_for(
        lambda: any(
            a.get(prefix + "decision") == "denied"
            and a.get(prefix + "reason") == "HostNetwork"
            and a.get(prefix + "profile") == f"{SYSTEM_NAMESPACE}/default"
            for a in world.audited("/namespaces/denied/pods")
        ),
        "the audit log tells of the denial",
    )


@test("audit: resources of our own, good and bad")
def _(world):
    equal(world.cluster.raw("POST", PROFILES, profile("good", "plain"))[0], 201, "the status of a good one")
    equal(world.cluster.raw("POST", PROFILES, BAD)[0], 422, "of a bad one")
    prefix = f"profiles.validate.{P}"
    want = {("allowed", "ProfileValid"), ("denied", "ProfileInvalid")}

    def told():
        events = world.audited("/confidentialprofiles")
        return {(a.get(prefix + "decision"), a.get(prefix + "reason")) for a in events} >= want

    world.cluster.wait_for(told, "the audit log tells of both")


# ---- Metrics


@test("metrics: decisions, denials and requests are counted")
def _(world):
    world.created(pod("counted"))
    equal(world.create(pod("counted", hostNetwork=True), "plain")[0], 403, "the status of a pod that is denied")
    equal(world.cluster.raw("POST", PROFILES, BAD)[0], 422, "the status of a bad profile")
    for series in (
        'coco_webhook_admissions_total{endpoint="mutate-pods",outcome="mutated"}',
        'coco_webhook_admissions_total{endpoint="validate-resources",outcome="denied"}',
        'coco_webhook_denials_total{reason="HostNetwork"}',
        'controller_runtime_webhook_requests_total{webhook="/mutate-pods",code="200"}',
        'controller_runtime_webhook_latency_seconds_count{webhook="/mutate-pods"}',
        'coco_watches{kind="ConfidentialProfile"}',
    ):
        check(world.webhook.metric(series) >= 1, f"{series} is 0")
    for series in (
        'coco_webhook_denials_total{reason="other"}',
        'controller_runtime_webhook_requests_in_flight{webhook="/mutate-pods"}',
    ):
        equal(world.webhook.metric(series), 0, series)
    equal(world.webhook.metric("coco_ready"), 1, "coco_ready")


def gauge(world, ns, what):
    """A gauge of Trustee t, -1 where it isn't there."""
    labels = f'kind="TrusteeConfig",trustee_namespace="{ns}",trustee="t"'
    return world.leader().metric(f"coco_trustee_{what}{{{labels}}}", -1)


@test("metrics: a Trustee comes, is repaired, and goes")
def _(world):
    leader = world.leader()
    with world.trusted("trusted"):
        equal(leader.metric('coco_trustees{state="ready"}'), 1, "Trustees that are ready")
        check(leader.metric('coco_writes_total{kind="Deployment",verb="apply"}') >= 1, "the Deployment's write isn't counted")
        world.repair("trusted")


@test("metrics: a Trustee whose objects aren't as rendered is ready, and not in sync until they are")
def _(world):
    ns = "drifted"
    with world.trusted(ns, driftPolicy="Warn"):
        world.cluster.wait_for(lambda: gauge(world, ns, "resources_synced") == 1, "the metric says that all is as rendered")
        world.patch("ConfigMap", ns, "t-resource-policy", {"data": {"resource-policy.rego": "edited"}}, manager="someone")
        world.cluster.wait_for(lambda: gauge(world, ns, "resources_synced") == 0, "the metric says that something isn't")
        equal(gauge(world, ns, "ready"), 1, "that it is ready")
        world.apply(trustee(ns, profileType="Permissive"))
        world.cluster.wait_for(lambda: gauge(world, ns, "resources_synced") == 1, "the metric says that it was taken back")


@test("metrics: Prometheus' own reader takes them")
def _(world):
    for text in (*world.texts().values(), world.own_text, world.controller_text):
        check_by_promtool(text)


@test("metrics: the tables of docs/observability.md are what the programs say")
def _(world):
    page, found = documented(), served(world)
    seen = read(world.controller_text)
    equal(sorted(page.keys() ^ found.keys()), [], "metrics that only one of them has")
    for name, (family, program) in found.items():
        known, known_program = page[name]
        equal((known.kind, known.help, known_program), (family.kind, family.help, program), name)
        labels = family.labels if family.labels is not None else seen[name].labels if name in seen else None
        if labels is not None:
            equal(known.labels, labels, f"the labels of {name}")


@test("metrics: few series, and none names a pod, a user or a request")
def _(world):
    for program, text in world.texts().items():
        families = read(text)
        total = sum(family.series for family in families.values())
        print(f"{program}: {len(families)} metrics, {total} series, {len(text)} bytes")
        check(total <= SERIES_MAX, f"{program} has {total} series")
        for word in ("audited", "alice", "tekton", "kbs-service", "trustee-deployment-"):
            check(word not in text, f'"{word}" is in the metrics of {program}')


def print_table(world):
    world.namespace("trusted")
    world.apply(trustee("trusted", profileType="Permissive"))
    world.ready("trusted")
    world.delete("Service", "trusted", "kbs-service")
    world.there("Service", "trusted", "kbs-service")
    world.created(pod("audited"))
    for name, (family, program) in served(world).items():
        labels = ", ".join(f"`{label}`" for label in sorted(family.labels or ()))
        print(f"| `{name}` | {family.kind} | {labels} | {program} | {family.help} |")


if TABLE:
    with Observed(CONTROLLER) as observed:
        print_table(observed)
else:
    main(Observed(CONTROLLER))
