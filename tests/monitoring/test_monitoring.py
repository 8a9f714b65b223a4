#!/usr/bin/env python3
"""What manifests/components/monitoring has Prometheus and Grafana do: the rules are valid, each alert fires when it should and not
before, has its page, and everything reads metrics that there are. Judged by Prometheus' own promtool, without a server.

That the metrics of docs/observability.md are those of the programs is for tests/e2e/test_observability.py.
"""

import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from kustomize import built
from metrics_text import base_of, documented, used_in
from tap import check, equal, main, test

COMPONENT = ROOT / "manifests/components/monitoring"
RUNBOOKS = ROOT / "docs/runbooks"
MONITORED = built(ROOT / "manifests/overlays/monitored")
PROGRAMS = ("coco-webhook", "coco-controller")
OTHERS = {"up", "ALERTS"}  # metrics that are Prometheus' own
# What a KBS says of guests, with labels of its own: kbs/src/prometheus/mod.rs of Trustee v0.21.0, and the same since v0.15.0.
KBS = {
    "kbs_attestation_errors_total": set(),
    "kbs_attestation_failures_total": {"tee_type"},
    "kbs_attestation_requests_total": set(),
    "kbs_attestation_successes_total": {"tee_type"},
    "kbs_auth_errors_total": set(),
    "kbs_auth_requests_total": set(),
    "kbs_auth_successes_total": set(),
    "kbs_policy_approvals_total": set(),
    "kbs_policy_errors_total": set(),
    "kbs_policy_evaluations_total": set(),
    "kbs_policy_violations_total": set(),
}
KBS_SCRAPED = {"namespace", "service"}  # labels that the scrape adds, and that tell Trustees apart
DAY = 86400
W, C = 'job="coco-webhook",instance="w"', 'job="coco-controller",instance="c"'
K = 'namespace="a",service="kbs-service",pod="p",job="kbs-service"'


def of_kind(kind):
    return {d["metadata"]["name"]: d for d in MONITORED if d["kind"] == kind}


RULES = {name: rule["spec"] for name, rule in of_kind("PrometheusRule").items()}
ALERTS = [(program, r) for program, spec in RULES.items() for group in spec["groups"] for r in group["rules"]]
PANELS = json.loads((COMPONENT / "dashboard.json").read_text())["panels"]


def promtool(*arguments):
    tool = subprocess.run([ROOT / "hack/promtool.sh"], capture_output=True, text=True, check=True).stdout.strip()
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


# ---- When alerts fire: (alert, series as promtool writes them, minutes until it has fired, minutes in which it must not have)


def rising(name, labels, each_minute, minutes):
    return {f"{name}{{{labels}}}": f"0+{each_minute}x{minutes}"}


def slow(bound):
    """Reviews that all take this long."""
    name, labels = "controller_runtime_webhook_latency_seconds_bucket", f'{W},webhook="/mutate-pods"'
    counts = [(le, "0+0x30" if float(le) < bound else "0+60x30") for le in ("0.1", "1", "2.5", "5", "+Inf")]
    return {f'{name}{{{labels},le="{le}"}}': values for le, values in counts}


def of_kbs(**values):
    """A KBS whose counters of trouble do this, and are 0 else; failures have no series before the first one."""
    troubles = ("attestation_errors", "auth_errors", "policy_errors", "policy_violations")
    counts = {f"kbs_{name}_total{{{K}}}": "0x180" for name in troubles}
    for name, value in values.items():
        labels = f'{K},tee_type="snp"' if name == "attestation_failures" else K
        counts[f"kbs_{name}_total{{{labels}}}"] = value
    return counts


def quiet_day_then(each_minute):
    """Denials: none for a day, then these."""
    return {f'coco_webhook_denials_total{{{W},reason="HostPath"}}': f"0x1440 0+{each_minute}x60"}


FIRES = [
    ("CocoWebhookDown", {f"up{{{W}}}": "1x5 0x60"}, 9, 6),
    ("CocoNotReady", {f"coco_ready{{{W}}}": "1x5 0x60"}, 12, 9),
    ("CocoNotReady", {f"coco_ready{{{C}}}": "1x5 0x60"}, 12, 9),
    ("CocoAdmissionSlow", slow(2), 12, 4),
    ("CocoAdmissionFailing", rising("controller_runtime_webhook_requests_total", f'{W},webhook="/mutate-pods",code="503"', 1, 60)
     | rising("coco_webhook_refused_requests_total", f'{W},code="413"', 0, 60), 10, 3),
    ("CocoDenialsRising", quiet_day_then(5), 1465, 1440),
    ("CocoMutationBypassed", {f'coco_webhook_denials_total{{{W},reason="NotConfidential"}}': "0x5 1x30"}, 7, 4),
    ("CocoProfileInvalid", {f'coco_webhook_profiles{{{W},state="stale"}}': "0x5 1x60"}, 17, 12),
    ("CocoLookupFailing", rising("coco_webhook_lookups_total", f'{W},result="failure"', 1, 60), 8, 2),
    ("CocoCertificateExpiring", {f"coco_webhook_certificate_not_after_timestamp_seconds{{{W}}}": f"{13 * DAY}x120"}, 65, 50),
    ("CocoCertificateNotTrusted", {f"coco_webhook_certificate_trusted{{{W}}}": "1x5 0x60"}, 12, 9),
    ("CocoWatchBroken", {f'coco_watches{{{W},kind="Namespace"}}': "1x60", f'coco_watches_open{{{W},kind="Namespace"}}': "1x5 0x60"}, 17, 12),
    ("CocoWatchBroken", {f'coco_watches{{{C},kind="Secret"}}': "3x60", f'coco_watches_open{{{C},kind="Secret"}}': "3x5 2x60"}, 17, 12),
    ("CocoApiRequestsRefused", rising("rest_client_requests_total", f'{W},code="403",method="GET",host="h"', 1, 60), 20, 10),
    ("CocoApiRequestsRefused", rising("rest_client_requests_total", f'{C},code="401",method="GET",host="h"', 1, 60), 20, 10),
    ("CocoControllerDown", {f"up{{{C}}}": "1x5 0x60"}, 12, 9),
    ("CocoControllerWithoutLeader", {f'leader_election_master_status{{{C},name="coco-controller"}}': "1x5 0x60"}, 12, 9),
    ("CocoReconcileErrors", rising("controller_runtime_reconcile_errors_total", f'{C},controller="trustee"', 3, 60)
     | rising("controller_runtime_reconcile_total", f'{C},controller="trustee",result="error"', 3, 60)
     | rising("controller_runtime_reconcile_total", f'{C},controller="trustee",result="success"', 5, 60), 20, 10),
    ("CocoWorkerStuck", {f'workqueue_longest_running_processor_seconds{{{C},name="trustee"}}': "0+60x60"}, 18, 13),
    ("CocoTrusteeNotReady", {f'coco_trustee_ready{{{C},kind="TrusteeConfig",trustee_namespace="a",trustee="t"}}': "1x5 0x60"}, 23, 18),
    ("CocoTrusteeNotSynced", {f'coco_trustee_resources_synced{{{C},kind="TrusteeConfig",trustee_namespace="a",trustee="t"}}': "1x5 0x120"}, 68, 63),
    ("CocoTrusteeCertificateExpiring",
     {f'coco_trustee_certificate_not_after_timestamp_seconds{{{C},kind="TrusteeConfig",trustee_namespace="a",trustee="t"}}':
      f"{6 * DAY}x120"}, 65, 50),
    ("CocoDriftRepairedOften", rising("coco_repairs_total", f'{C},kind="Service"', 1, 60), 20, 5),
    ("CocoWriteStorm", rising("coco_writes_total", f'{C},kind="Deployment",verb="apply"', 120, 90), 40, 25),
    ("CocoKbsAttestationFailing", of_kbs(attestation_failures="_x5 1+1x90"), 25, 20),
    ("CocoKbsAttestationFailing", of_kbs(attestation_errors="0x5 0+1x90"), 25, 20),
    # A guest that the kubelet starts again, ever more rarely.
    ("CocoKbsAttestationFailing", of_kbs(auth_errors="0x5 5x8 10x8 15x8 20x60"), 25, 18),
    ("CocoKbsPolicyViolations", of_kbs(policy_violations="0x5 2x60"), 7, 4),
    ("CocoKbsPolicyFailing", of_kbs(policy_errors="0x5 2x60"), 7, 4),
]  # fmt: skip
# What is in order must not alarm anybody, however long it goes on.
QUIET = [
    ("a good day of the webhook", {
        f"up{{{W}}}": "1x180", f"coco_ready{{{W}}}": "1x180",
        f'coco_webhook_profiles{{{W},state="good"}}': "3x180", f'coco_webhook_profiles{{{W},state="stale"}}': "0x180",
        f'controller_runtime_webhook_requests_total{{{W},webhook="/mutate-pods",code="200"}}': "0+600x180",
        f'controller_runtime_webhook_requests_total{{{W},webhook="/mutate-pods",code="503"}}': "0x180",
        f'coco_webhook_refused_requests_total{{{W},code="503"}}': "0x180",
        f'coco_webhook_denials_total{{{W},reason="HostPath"}}': "0+0.1x180",
        f'coco_webhook_denials_total{{{W},reason="NotConfidential"}}': "0x180",
        f"coco_webhook_certificate_not_after_timestamp_seconds{{{W}}}": f"{31 * DAY}x180",
        f"coco_webhook_certificate_trusted{{{W}}}": "1x180",
        f'coco_watches{{{W},kind="Namespace"}}': "1x180",
        # Each stream ends now and then, and is opened again.
        f'coco_watches_open{{{W},kind="Namespace"}}': "1x9 0 1x9 0 1x160",
        f'rest_client_requests_total{{{W},code="200",method="GET",host="h"}}': "0+1x180",
    } | slow(0.1)),
    ("a good day of two controllers and a Trustee", {
        f"up{{{C}}}": "1x180", f"coco_ready{{{C}}}": "1x180",
        f'leader_election_master_status{{{C},name="coco-controller"}}': "1x180",
        'leader_election_master_status{job="coco-controller",instance="d",name="coco-controller"}': "0x180",
        f'controller_runtime_reconcile_total{{{C},controller="trustee",result="success"}}': "0+9x180",
        f'controller_runtime_reconcile_errors_total{{{C},controller="trustee"}}': "0+1x180",
        f'coco_trustee_ready{{{C},kind="TrusteeConfig",trustee_namespace="a",trustee="t"}}': "0x5 1x175",
        f'coco_trustee_resources_synced{{{C},kind="TrusteeConfig",trustee_namespace="a",trustee="t"}}': "0x5 1x20 0x50 1x100",
        f'coco_repairs_total{{{C},kind="Service"}}': "0x60 3x120",
        f'coco_writes_total{{{C},kind="Deployment",verb="apply"}}': "0x30 300x150",
        f'workqueue_longest_running_processor_seconds{{{C},name="trustee"}}': "2x180",
        # A guest that fails now and then; others don't.
    } | of_kbs(attestation_failures="_x60 5x59 10x60", attestation_errors="0x30 1x150", attestation_requests="0+9x180")),
]  # fmt: skip


def firing(alert, minute, want):
    names = f'alertname="{alert}",' if alert else ""
    expression = f'count by (alertname) (ALERTS{{{names}alertstate="firing"}})'
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if want else []
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}


def case(name, series, checks):
    inputs = [{"series": key, "values": values} for key, values in series.items()]
    return {"name": name, "interval": "1m", "input_series": inputs, "promql_expr_test": checks}


def alarms(name, series, fired, quiet):
    return case(name, series, [firing(name, fired, True), firing(name, quiet, False)])


def run_rules(program, cases):
    """What promtool says of the program's rules in these cases."""
    with tempfile.TemporaryDirectory(prefix="coco-rules-") as folder:
        (pathlib.Path(folder) / "rules.yaml").write_text(yaml.safe_dump(RULES[program]))
        tests = pathlib.Path(folder) / "tests.yaml"
        tests.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases}))
        done = promtool("test", "rules", str(tests))
        return done.returncode, done.stdout + done.stderr


def program_of(alert, series):
    return "coco-webhook" if any(W in key for key in series) else "coco-controller"


@test("the rules are valid")
def _():
    for program in PROGRAMS:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(yaml.safe_dump(RULES[program]))
            file.flush()
            done = promtool("check", "rules", file.name)
        count = sum(1 for of, _ in ALERTS if of == program)
        equal((done.returncode, done.stderr), (0, ""), f"what promtool says of {program}'s rules: {done.stdout}")
        check(f"{count} rules found" in done.stdout, done.stdout)


@test("each alert fires when it should, and not before")
def _():
    tried = {(program_of(name, series), name) for name, series, _, _ in FIRES}
    equal(sorted(tried ^ {(program, rule["alert"]) for program, rule in ALERTS}), [], "alerts without a case, and cases without")
    for program in PROGRAMS:
        cases = [alarms(*row) for row in FIRES if program_of(*row[:2]) == program]
        status, text = run_rules(program, cases)
        equal((status, "SUCCESS" in text), (0, True), f"what promtool says of {program}: {text}")


@test("what is in order alarms nobody")
def _():
    for program, (name, series) in zip(PROGRAMS, QUIET):
        checks = [firing(None, minute, False) for minute in (30, 60, 120, 179)]
        status, text = run_rules(program, [case(name, series, checks)])
        equal((status, "SUCCESS" in text), (0, True), f"{name}: {text}")


# ---- Pages


@test("each alert has its page, and each page its alert")
def _():
    for program, rule in ALERTS:
        name, annotations = rule["alert"], rule["annotations"]
        equal(sorted(annotations), ["description", "runbook_url", "summary"], f"{name}'s annotations")
        equal(annotations["runbook_url"], f"docs/runbooks/{name}.md", f"{name}'s page")
        check(rule["labels"]["severity"] in ("critical", "warning"), f"{name}'s severity")
        of_kbs_alone = used_in(rule["expr"]) <= KBS.keys()
        check(of_kbs_alone or f'job="{program}"' in rule["expr"], f"{name} doesn't say whose metrics it reads")
    names = {rule["alert"] for _, rule in ALERTS}
    equal(sorted({page.stem for page in RUNBOOKS.glob("*.md")} ^ names), [], "pages without alerts, and alerts without pages")
    listed = re.findall(r"^\| \[(Coco\w+)\]\(runbooks/(Coco\w+)\.md\)", (ROOT / "docs/observability.md").read_text(), re.M)
    equal([name for name, _ in listed], sorted(names), "the alerts of observability.md")
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        equal(re.findall(r"^#+ (.*)$", text, re.M), [page.stem, "Meaning", "Impact", "Diagnosis", "Remedy"], page.name)
        check(re.search(r"^## Diagnosis\n\n    \S", text, re.M), f"{page.name} has no command to begin with")


# ---- What is read


def unknown(expression):
    known = documented()
    return {name for name in used_in(expression) if base_of(name, known) not in known.keys() | OTHERS | KBS.keys()}


@test("alerts, pages and dashboard read metrics that there are, by labels that they have")
def _():
    known = documented()
    labels = set().union(*(family.labels for family, _ in known.values())) | {"job", "instance", "le"} | KBS_SCRAPED
    queries = [(rule["alert"], rule["expr"]) for _, rule in ALERTS]
    queries += [(panel["title"], t["expr"]) for panel in PANELS for t in panel.get("targets", [])]
    check(len(queries) > 50, f"only {len(queries)} queries")
    for what, query in queries:
        equal(unknown(query), set(), f"{what} reads metrics that no program has: {query}")
        grouped = itertools.chain(*(part.split(",") for part in re.findall(r"\bby \(([^)]*)\)", query)))
        matched = re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", query)
        equal({label.strip() for label in [*grouped, *matched]} - labels, set(), f"{what} goes by labels that there are not")
    for page in RUNBOOKS.glob("*.md"):
        named = re.findall(r"`((?:coco|kbs|controller_runtime|workqueue|rest_client|leader_election)_[a-z_]+)", page.read_text())
        equal({n for n in named if base_of(n, known) not in known.keys() | KBS.keys()}, set(), f"metrics that {page.name} names")


@test("alerts on a KBS tell Trustees apart, and the page tells what they read")
def _():
    read = {}
    for program, rule in ALERTS:
        used = used_in(rule["expr"]) & KBS.keys()
        if not used:
            continue
        read |= {name: KBS[name] for name in used}
        equal(program, "coco-controller", f"where {rule['alert']} is")
        equal(re.findall(r"\bby \(([^)]*)\)", rule["expr"]), ["namespace, service"], f"what {rule['alert']} goes by")
    rows = re.findall(r"^\| `(kbs_\w+)` \| counter \| (.*?) \| .+ \|$", (ROOT / "docs/observability.md").read_text(), re.M)
    equal({name: set(re.findall(r"\w+", labels)) for name, labels in rows}, read, "the metrics of a KBS in observability.md")


@test("every metric but those of processes is on the dashboard or behind an alert, or said to be for other dashboards")
def _():
    read = set().union(*(used_in(rule["expr"]) for _, rule in ALERTS))
    read |= set().union(*(used_in(t["expr"]) for panel in PANELS for t in panel.get("targets", [])))
    known = documented()
    left = known.keys() - {base_of(name, known) for name in read}
    foreign = ("process_", "workqueue_", "controller_runtime_")
    equal(sorted(name for name in left if not name.startswith(foreign)), [], "metrics of ours that nobody looks at")


@test("the dashboard is one that Grafana takes: ids differ, panels don't overlap, the data source is chosen")
def _():
    made = of_kind("ConfigMap")["coco-pipelines-dashboard"]
    equal(json.loads(made["data"]["coco-pipelines.json"])["panels"], PANELS, "the dashboard in the ConfigMap")
    equal(made["metadata"]["labels"]["grafana_dashboard"], "1", "the label for Grafana's sidecar")
    ids = [panel["id"] for panel in PANELS]
    equal(len(ids), len(set(ids)), "ids")
    taken = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        check(at["x"] + at["w"] <= 24 and not cells & taken, f"{panel['title']} lies on another")
        taken |= cells
        check(panel["type"] == "row" or panel["description"], f"{panel['title']} isn't explained")
        for target in panel.get("targets", []):
            equal(target["datasource"]["uid"], "${datasource}", f"the data source of {panel['title']}")


# ---- Scraping


@test("each ServiceMonitor finds a Service, which finds the pods' plain port")
def _():
    services, deployments = of_kind("Service"), of_kind("Deployment")
    monitors = of_kind("ServiceMonitor")
    equal(sorted(monitors), sorted(PROGRAMS), "the ServiceMonitors")
    for program, monitor in monitors.items():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [s for s in services.values() if wanted <= s["metadata"]["labels"].items()]
        equal([s["metadata"]["name"] for s in found], [f"{program}-metrics"], f"what {program}'s ServiceMonitor finds")
        equal(found[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]], program, "the label job")
        pod = deployments[program]["spec"]["template"]
        check(found[0]["spec"]["selector"].items() <= pod["metadata"]["labels"].items(), f"{program}'s Service finds no pods")
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        (port,) = found[0]["spec"]["ports"]
        equal([e["port"] for e in monitor["spec"]["endpoints"]], [port["name"]], "the endpoint")
        equal(ports[port["targetPort"]], port["port"], "the port")


main()
