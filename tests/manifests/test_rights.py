#!/usr/bin/env python3
"""Every right that manifests/ give is one that some code asks for, and every such code has its right.

A row is the code that makes a request: the file, and words of it. A row whose words are gone fails, and so does a rule without
a row, or a row without a rule. That no request is forbidden, and that the watching ones are made, the end-to-end tests tell from
the API server's audit log.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from kustomize import built
from tap import check, equal, main, test

OURS = "pipelines.confidentialcontainers.org"
TRUSTEE = "confidentialcontainers.org"
FEED, LOOKUP = "common/catalog_feed.c", "common/catalog_lookup.c"
VIEW, APPLY, DELETE = "controller/view.c", "controller/apply.c", "controller/pass_sync.c"
SERVING, PLAN = "webhook/serving_certificates.c", "webhook/serving_plan.c"
WEBHOOKS = "admissionregistration.k8s.io"


def followed(group, resource, constant, row="{&%s,"):
    """What the controller follows by its view."""
    return [(group, resource, verb, VIEW, row % constant) for verb in ("list", "watch")]


def rendered(group, resource, file, words):
    """What the controller makes, changes and deletes of one kind: a server-side apply is a patch, and what isn't there yet wants
    the right to create."""
    return [
        (group, resource, "create", file, words),
        (group, resource, "patch", APPLY, "kube_apply(client, x->resource"),
        (group, resource, "delete", DELETE, "kube_delete(p->t->config.client, res"),
    ]


# (group, resource, verb, file, words of it)
USES = {
    ("ClusterRole", "coco-webhook"): [
        (OURS, "confidentialprofiles", "get", LOOKUP, "ask(l, &KUBE_CONFIDENTIAL_PROFILES"),
        (OURS, "confidentialprofiles", "list", FEED, "follow(f, &KUBE_CONFIDENTIAL_PROFILES"),
        (OURS, "confidentialprofiles", "watch", FEED, "follow(f, &KUBE_CONFIDENTIAL_PROFILES"),
        ("", "configmaps", "get", LOOKUP, "ask(ctx, &KUBE_CONFIG_MAPS"),
        ("", "configmaps", "list", FEED, "follow(f, &KUBE_CONFIG_MAPS"),
        ("", "configmaps", "watch", FEED, "follow(f, &KUBE_CONFIG_MAPS"),
        ("", "namespaces", "get", LOOKUP, "ask(&l, &KUBE_NAMESPACES"),
        ("", "namespaces", "list", FEED, "follow(f, &KUBE_NAMESPACES"),
        ("", "namespaces", "watch", FEED, "follow(f, &KUBE_NAMESPACES"),
    ],
    ("ClusterRole", "coco-webhook-trustees"): [
        (TRUSTEE, "trusteeconfigs", "list", "webhook/trustee_lookup.c", "ask(client, &KUBE_TRUSTEE_CONFIGS, namespace"),
        (TRUSTEE, "kbsconfigs", "list", "webhook/trustee_lookup.c", "ask(client, &KUBE_KBS_CONFIGS, namespace"),
    ],
    ("ClusterRole", "coco-webhook-certificates"): [
        (WEBHOOKS, f"{kind}webhookconfigurations", verb, file, words)
        for kind in ("mutating", "validating")
        for verb, file, words in (
            ("list", PLAN, f"&KUBE_{kind.upper()}_WEBHOOKS"),
            ("watch", SERVING, "kube_informer"),
            ("patch", SERVING, "kube_apply("),
        )
    ],
    ("Role", "coco-webhook-certificates"): [
        ("", "secrets", "get", SERVING, "kube_get(s->config.client, &KUBE_SECRETS"),
        ("", "secrets", "list", SERVING, ".resource = &KUBE_SECRETS"),
        ("", "secrets", "watch", SERVING, ".resource = &KUBE_SECRETS"),
        ("", "secrets", "patch", SERVING, "kube_patch_merge(s->config.client, &KUBE_SECRETS"),
    ],
    ("ClusterRole", "coco-controller"): [
        (OURS, "confidentialprofiles", "list", FEED, "follow(f, &KUBE_CONFIDENTIAL_PROFILES"),
        (OURS, "confidentialprofiles", "watch", FEED, "follow(f, &KUBE_CONFIDENTIAL_PROFILES"),
        *followed("", "configmaps", "KUBE_CONFIG_MAPS"),
        *followed(TRUSTEE, "trusteeconfigs", "KUBE_TRUSTEE_CONFIGS"),
        *followed(TRUSTEE, "kbsconfigs", "KUBE_KBS_CONFIGS"),
        *followed("", "services", "KUBE_SERVICES"),
        *followed("", "persistentvolumeclaims", "KUBE_PVCS"),
        *followed("", "pods", "KUBE_PODS"),
        *followed("apps", "deployments", "KUBE_DEPLOYMENTS"),
        *followed("networking.k8s.io", "ingresses", "KUBE_INGRESSES"),
        *followed("route.openshift.io", "routes", "KUBE_ROUTES"),
        *followed("gateway.networking.k8s.io", "tlsroutes", "KUBE_TLS_ROUTES"),
        *followed("monitoring.coreos.com", "servicemonitors", "KUBE_SERVICE_MONITORS"),
        (TRUSTEE, "trusteeconfigs/status", "patch", "controller/pass_report.c", "report(p, &KUBE_TRUSTEE_CONFIGS"),
        (TRUSTEE, "kbsconfigs/status", "patch", "controller/pass_report.c", "report(p, &KUBE_KBS_CONFIGS"),
        (OURS, "confidentialprofiles/status", "patch", "controller/profiles.c", "kube_apply(p->client, &KUBE_CONFIDENTIAL_PROFILES"),
        ("events.k8s.io", "events", "create", "common/kube/events.c", 'create ? "POST" : "PATCH"'),
        ("events.k8s.io", "events", "patch", "common/kube/events.c", 'create ? "POST" : "PATCH"'),
    ],
    ("Role", "coco-controller"): [
        ("coordination.k8s.io", "leases", "get", "common/kube/lease.c", 'ask(l, "GET"'),
        ("coordination.k8s.io", "leases", "create", "common/kube/lease.c", 'ask(l, "POST"'),
        ("coordination.k8s.io", "leases", "update", "common/kube/lease.c", 'ask(l, "PUT"'),
    ],
    ("ClusterRole", "coco-trustee"): [
        *followed("", "secrets", "KUBE_SECRETS", "want_extra(v, &%s"),
        ("", "secrets", "get", VIEW, "kube_get(v->config.client, res"),
        *rendered("", "secrets", "controller/trustee_render.c", "parts_put(p, &KUBE_SECRETS"),
        ("", "configmaps", "get", VIEW, "kube_get(v->config.client, res"),
        *rendered("", "configmaps", "controller/kbs_render.c", "rendered_add(ret, &KUBE_CONFIG_MAPS"),
        *rendered("", "services", "controller/kbs_render.c", "rendered_add(ret, &KUBE_SERVICES"),
        *rendered("", "persistentvolumeclaims", "controller/trustee_render.c", "parts_put(p, &KUBE_PVCS"),
        *rendered("apps", "deployments", "controller/kbs_render.c", "rendered_add(ret, &KUBE_DEPLOYMENTS"),
        *rendered("networking.k8s.io", "ingresses", "controller/kbs_exposure.c", "return &KUBE_INGRESSES"),
        *rendered("route.openshift.io", "routes", "controller/kbs_exposure.c", "return &KUBE_ROUTES"),
        # Not asked for by a path of its own: OpenShift's admission looks for these rights where a Route has a host.
        ("route.openshift.io", "routes/custom-host", "create", "controller/kbs_exposure.c", '"host"'),
        ("route.openshift.io", "routes/custom-host", "update", "controller/kbs_exposure.c", '"host"'),
        *rendered("gateway.networking.k8s.io", "tlsroutes", "controller/kbs_exposure.c", "return &KUBE_TLS_ROUTES"),
        *rendered("monitoring.coreos.com", "servicemonitors", "controller/kbs_exposure.c", "rendered_add(ret, &KUBE_SERVICE_MONITORS"),
        (TRUSTEE, "kbsconfigs", "create", "controller/trustee_kbs.c", "parts_put(p, &KUBE_KBS_CONFIGS"),
        (TRUSTEE, "kbsconfigs", "patch", "controller/trustee_pass.c", "kube_patch_merge(p->t->config.client, &KUBE_KBS_CONFIGS"),
        # OwnerReferencesPermissionEnforcement, an admission plugin.
        (TRUSTEE, "trusteeconfigs/finalizers", "update", "controller/rendered.c", '"blockOwnerDeletion"'),
        (TRUSTEE, "kbsconfigs/finalizers", "update", "controller/rendered.c", '"blockOwnerDeletion"'),
    ],
}
# Rights of one object, by its name; the rest are of kinds.
NAMED = {
    ("ClusterRole", "coco-webhook-certificates"): ["coco-webhook"],
    ("Role", "coco-webhook-certificates"): ["coco-webhook-tls"],
}
BUILDS = [ROOT / "manifests/base", *sorted(path.parent for path in ROOT.glob("manifests/overlays/*/kustomization.yaml"))]


def roles(folder):
    return {(d["kind"], d["metadata"]["name"]): d for d in built(folder) if d["kind"] in ("Role", "ClusterRole")}


def rights(role):
    return {(group, resource, verb) for rule in role["rules"] for group in rule["apiGroups"]
            for resource in rule["resources"] for verb in rule["verbs"]}


@test("every right has a use, and every use its right")
def _():
    base = roles(BUILDS[0])
    equal(sorted(base), sorted(USES), "the roles")
    for name, role in base.items():
        used = {use[:3] for use in USES[name]}
        equal((sorted(rights(role) - used), sorted(used - rights(role))), ([], []), f"{name}: unused rights, and missing ones")


@test("the code of each use is there")
def _():
    texts = {}
    for name, uses in USES.items():
        for *right, file, words in uses:
            text = texts.setdefault(file, (ROOT / file).read_text())
            check(words in text, f"{name}, {right}: {file} has no {words!r}")


@test("no rule is for everything, and Secrets and configurations are named one by one where it is only one")
def _():
    for folder in BUILDS:
        for name, role in roles(folder).items():
            for rule in role["rules"]:
                given = [item for part in ("apiGroups", "resources", "verbs") for item in rule[part]]
                check("*" not in given, f"{folder.name}: {name} has a wildcard: {rule}")
                equal(rule.get("resourceNames"), NAMED.get(name), f"{folder.name}: {name}: the names of {rule['resources']}")


@test("no overlay gives more than the base")
def _():
    base = roles(BUILDS[0])
    for folder in BUILDS[1:]:
        for name, role in roles(folder).items():
            check(name in base, f"{folder.name} has another role, {name}")
            equal(sorted(rights(role) - rights(base[name])), [], f"{folder.name}: what {name} gives beyond the base")


main()
