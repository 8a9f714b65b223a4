"""The templates of the Helm chart, made of what kustomize builds: see hack/manifests.py.

The chart says nothing of its own about our objects. Those of overlays that differ in one thing are laid over each other
(merge()), and an object or a field that only some have is put under the condition by which a value chooses it.
"""

import dataclasses
import json
import re

SYSTEM_NAMESPACE = "coco-pipelines-system"
TRUSTEE_NAMESPACE = "trustee-operator-system"
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")  # needs no quotes, unless YAML reads it as something else
SPECIAL = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


@dataclasses.dataclass
class Expr:
    """Text of the template in place of a value."""

    text: str


@dataclasses.dataclass
class Choice:
    """What a field or an item of a list is, by condition; nothing where none holds."""

    cases: list  # (condition, value)


# ---- Trees laid over each other


def merge(variants):
    """One tree of [(condition, tree)], whose conditions exclude each other."""
    first = variants[0][1]
    if all(tree == first for _, tree in variants):
        return first
    if all(isinstance(tree, dict) for _, tree in variants):
        return {key: merge_part([(c, t[key]) for c, t in variants if key in t], len(variants)) for key in keys_of(variants)}
    if all(isinstance(tree, list) and all(isinstance(i, dict) and "name" in i for i in tree) for _, tree in variants):
        by_name = [(c, {item["name"]: item for item in tree}) for c, tree in variants]
        return [merge_part([(c, t[name]) for c, t in by_name if name in t], len(variants)) for name in keys_of(by_name)]
    return merge_part(variants, None)


def keys_of(variants):
    return list(dict.fromkeys(key for _, tree in variants for key in tree))


def merge_part(variants, count):
    """Of a part that not all variants may have; count: how many there are."""
    if len(variants) == count:
        return merge(variants)
    grouped = []
    for condition, tree in variants:
        same = next((group for group in grouped if group[1] == tree), None)
        if same:
            same[0].append(condition)
        else:
            grouped.append(([condition], tree))
    return Choice([(any_of(conditions), tree) for conditions, tree in grouped])


def any_of(conditions):
    return conditions[0] if len(conditions) == 1 else "or " + " ".join(f"({c})" for c in conditions)


def all_of(conditions):
    return conditions[0] if len(conditions) == 1 else "and " + " ".join(f"({c})" for c in conditions)


# ---- Trees as text


def scalar(value):
    if isinstance(value, Expr):
        return value.text
    if isinstance(value, str) and (not PLAIN.fullmatch(value) or value.lower() in SPECIAL):
        value = json.dumps(value, ensure_ascii=False)
    elif not isinstance(value, str):
        value = json.dumps(value)
    return value.replace("{{", '{{ "{{" }}')


def emit(node, indent):
    """Lines of a mapping or list, in block style."""
    entries = node.items() if isinstance(node, dict) else (("-", item) for item in node)
    for key, value in entries:
        if not isinstance(value, Choice):
            yield from entry(key, value, indent)
            continue
        for number, (condition, chosen) in enumerate(value.cases):
            yield f"{{{{- {'else ' if number else ''}if {condition} }}}}"
            yield from entry(key, chosen, indent)
        yield "{{- end }}"


def entry(key, value, indent):
    head = "-" if key == "-" else f"{scalar(key)}:"
    if isinstance(value, (dict, list)) and value:
        # Items of a list stand at their key's own depth, as kubectl prints them.
        deeper = indent + ("" if isinstance(value, list) and key != "-" else "  ")
        lines = list(emit(value, deeper))
        if key == "-" and not lines[0].startswith("{{"):
            yield f"{indent}- {lines[0].lstrip()}"
            lines = lines[1:]
        else:
            yield f"{indent}{head}"
        yield from lines
    else:
        yield f"{indent}{head} {scalar(value)}"


# ---- What values change


def is_of(document, program):
    return document["metadata"].get("labels", {}).get("app.kubernetes.io/name") == program


KIND_CONDITIONS = {
    "PodDisruptionBudget": ".Values.podDisruptionBudget.enabled",
    "NetworkPolicy": ".Values.networkPolicy.enabled",
    "ValidatingAdmissionPolicy": ".Values.admissionPolicy.enabled",
    "ValidatingAdmissionPolicyBinding": ".Values.admissionPolicy.enabled",
    "ServiceMonitor": ".Values.monitoring.enabled",
    "PrometheusRule": ".Values.monitoring.enabled",
}
MONITORING = ("coco-webhook-metrics", "coco-controller-metrics", "coco-pipelines-dashboard")


def conditions_of(document):
    """When the chart has the object, beside the mode of certificates."""
    kind, name = document["kind"], document["metadata"]["name"]
    found = []
    if kind == "CustomResourceDefinition":
        found.append(".Values.crds.enabled")
    if is_of(document, "coco-webhook"):
        found.append(".Values.webhook.enabled")
    if is_of(document, "coco-controller") or name.endswith(("configs.confidentialcontainers.org", "-webhook-trustees")):
        found.append(".Values.controller.enabled")
    if TRUSTEE_NAMESPACE in (name, document["metadata"].get("namespace")):
        found += [] if is_of(document, "coco-controller") else [".Values.controller.enabled"]
        found.append(".Values.trusteeNamespace.enabled")
    if kind in KIND_CONDITIONS:
        found.append(KIND_CONDITIONS[kind])
    if name in MONITORING:
        found.append(".Values.monitoring.enabled")
    return found


def set_labels(document):
    labels = document["metadata"].setdefault("labels", {})
    labels["app.kubernetes.io/managed-by"] = Expr("{{ .Release.Service }}")
    labels["helm.sh/chart"] = Expr("{{ .Chart.Name }}-{{ .Chart.Version }}")


def block(value, depth):
    return Expr("{{- toYaml " + value + f" | nindent {depth} }}}}")


def set_deployment(document):
    program = document["metadata"]["name"]
    values = ".Values." + program.removeprefix("coco-")
    spec = document["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    spec["replicas"] = Expr(f"{{{{ {values}.replicas }}}}")
    image = f"{values}.image"
    container["image"] = Expr(f'"{{{{ {image}.repository }}}}:{{{{ {image}.tag | default .Chart.AppVersion }}}}"')
    container["imagePullPolicy"] = Expr(f"{{{{ {image}.pullPolicy }}}}")
    container["resources"] = block(f"{values}.resources", 10)
    for field in ("nodeSelector", "tolerations"):
        pod[field] = Choice([(f"{values}.{field}", block(f"{values}.{field}", 8))])
    pod["imagePullSecrets"] = Choice([(".Values.imagePullSecrets", block(".Values.imagePullSecrets", 8))])


def set_webhooks(document):
    for number, webhook in enumerate(document["webhooks"]):
        if "matchConditions" in webhook:
            webhook["matchConditions"] = Choice([(".Values.matchConditions.enabled", webhook["matchConditions"])])
        if webhook["name"].startswith("trustees."):
            document["webhooks"][number] = Choice([(".Values.controller.enabled", webhook)])


def set_policy(document):
    for variable in document["spec"].get("variables", []):
        if variable["name"] == "runtimeClasses":
            classes = "{{ range $i, $c := .Values.admissionPolicy.runtimeClasses }}{{ if $i }}, {{ end }}'{{ $c }}'{{ end }}"
            variable["expression"] = Expr(f'"[{classes}]"')


def set_rules(document):
    for group in document["spec"]["groups"]:
        for rule in group["rules"]:
            page = rule["annotations"]["runbook_url"].removeprefix("docs/runbooks/")
            rule["annotations"]["runbook_url"] = Expr(f'"{{{{ .Values.monitoring.runbooks }}}}/{page}"')


def set_crd(document):
    document["metadata"]["annotations"] = Choice([(".Values.crds.keep", {"helm.sh/resource-policy": "keep"})])


def set_namespace(document):
    document["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}  # what people have in it isn't ours to delete


SETTERS = {
    "Namespace": set_namespace,
    "Deployment": set_deployment,
    "MutatingWebhookConfiguration": set_webhooks,
    "ValidatingWebhookConfiguration": set_webhooks,
    "ValidatingAdmissionPolicy": set_policy,
    "CustomResourceDefinition": set_crd,
    "PrometheusRule": set_rules,
}


# ---- The files


def key(document):
    return document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"]


def file_of(document):
    if document["kind"] == "CustomResourceDefinition":
        return "crds.yaml"
    if document["kind"].startswith("ValidatingAdmissionPolicy"):
        return "admission-policy.yaml"
    if ".Values.monitoring.enabled" in conditions_of(document):
        return "monitoring.yaml"
    if TRUSTEE_NAMESPACE in (document["metadata"]["name"], document["metadata"].get("namespace")):
        return "trustee-namespace.yaml"
    if is_of(document, "coco-webhook"):
        return "webhook.yaml"
    return "controller.yaml" if is_of(document, "coco-controller") else "common.yaml"


def templates(modes):
    """{file name: text}. modes: [(mode of certificates, documents)], which are the same but for that."""
    by_key = [(f'eq .Values.certificates.mode "{mode}"', {key(d): d for d in documents}) for mode, documents in modes]
    files = {}
    for name in keys_of(by_key):
        if name == ("Namespace", None, SYSTEM_NAMESPACE):
            continue  # Helm's own, by --create-namespace
        having = [(condition, documents[name]) for condition, documents in by_key if name in documents]
        conditions = conditions_of(having[0][1])
        if len(having) < len(by_key):
            conditions.append(any_of([condition for condition, _ in having]))
        document = merge(having)
        set_labels(document)
        SETTERS.get(document["kind"], lambda _: None)(document)
        text = "\n".join(["---", *emit(document, "")])
        if conditions:
            text = f"{{{{- if {all_of(conditions)} }}}}\n{text}\n{{{{- end }}}}"
        files.setdefault(file_of(having[0][1]), []).append(text)
    return {name: "\n".join(texts) + "\n" for name, texts in files.items()}
