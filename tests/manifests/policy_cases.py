"""Pods and what the ValidatingAdmissionPolicies of manifests/ say of them while the webhook is gone: a row per case."""

import copy
import dataclasses

P = "pipelines.confidentialcontainers.org/"
LABEL = P + "confidential"
TASKRUN = "tekton.dev/taskRun"
INJECTED = P + "injected"
INITDATA = "io.katacontainers.config.hypervisor.cc_init_data"
STATEFULSETS = "system:serviceaccount:kube-system:statefulset-controller"
WEBHOOK = "system:serviceaccount:coco-pipelines-system:coco-webhook"
TEKTON = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"

# Words of each refusal.
MISSPELLED = 'must be "true" or "false"'
NO_OPT_OUT = "every TaskRun pod of this namespace is confidential"
NO_CLASS = "its runtimeClassName is not set"
NO_INITDATA = "has no initdata"
KEPT = "of a confidential pod can't be changed after its creation"
LATE = "was created without protection"
DEBUG = "an ephemeral container would run inside a confidential guest"

ENABLED = {LABEL: "enabled"}
OPT_OUT = ENABLED | {P + "opt-out": "allowed"}
ASSISTANT = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "affinity-assistant-1", "uid": "1", "controller": True}


@dataclasses.dataclass
class Case:
    """A pod that is created; refused: words of the refusal, None where it is admitted."""

    name: str
    refused: str | None
    labels: dict | None = None
    annotations: dict | None = None
    namespace: dict = dataclasses.field(default_factory=dict)  # the namespace's labels
    user: str = TEKTON
    owners: list | None = None
    runtime_class: str | None = None

    def pod(self):
        metadata = {"name": "a"}
        parts = {"labels": self.labels, "annotations": self.annotations, "ownerReferences": self.owners}
        metadata |= {key: value for key, value in parts.items() if value is not None}
        spec = {"containers": [{"name": "main", "image": "none.invalid/none"}]}
        if self.runtime_class is not None:
            spec["runtimeClassName"] = self.runtime_class
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


TRUE, FALSE, RUN = {LABEL: "true"}, {LABEL: "false"}, {TASKRUN: "r"}
DONE = {INITDATA: "H4sI"}
CASES = [
    Case("no labels", None),
    Case("no labels, enabled namespace", None, namespace=ENABLED),
    Case("another's label", None, {"app": "a"}, namespace=ENABLED),
    Case("labelled, nothing done", NO_CLASS, TRUE),
    Case("labelled TaskRun, nothing done", NO_CLASS, TRUE | RUN),
    Case("labelled, class alone", NO_INITDATA, TRUE, runtime_class="kata-cc"),
    Case("labelled, class and other annotations", NO_INITDATA, TRUE, {"a": "b"}, runtime_class="kata-cc"),
    Case("labelled, class and empty initdata", NO_INITDATA, TRUE, {INITDATA: ""}, runtime_class="kata-cc"),
    Case("labelled, initdata alone", NO_CLASS, TRUE, DONE),
    Case("labelled, another class", 'its runtimeClassName is "runc", not one of kata-cc, kata-remote', TRUE, DONE,
         runtime_class="runc"),
    Case("labelled and confidential", None, TRUE, DONE, runtime_class="kata-cc"),
    Case("labelled and confidential, a peer pod", None, TRUE, DONE, runtime_class="kata-remote"),
    Case("label misspelled", MISSPELLED, {LABEL: "yes"}),
    Case("label True", MISSPELLED, {LABEL: "True"}),
    Case("label empty", MISSPELLED, {LABEL: ""}),
    Case("label misspelled, confidential all the same", MISSPELLED, {LABEL: "1"}, DONE, runtime_class="kata-cc"),
    Case("opted out", None, FALSE),
    Case("TaskRun opted out", None, FALSE | RUN),
    Case("opted out, no TaskRun, enabled namespace", None, FALSE, namespace=ENABLED),
    Case("TaskRun opted out, enabled namespace", NO_OPT_OUT, FALSE | RUN, namespace=ENABLED),
    Case("TaskRun opted out, enabled namespace, confidential", NO_OPT_OUT, FALSE | RUN, DONE, ENABLED,
         runtime_class="kata-cc"),
    Case("TaskRun opted out, where it may", None, FALSE | RUN, namespace=OPT_OUT),
    Case("TaskRun opted out, where opt-out is misspelled", NO_OPT_OUT, FALSE | RUN,
         namespace=ENABLED | {P + "opt-out": "yes"}),
    Case("TaskRun", None, RUN),
    Case("TaskRun, enabled namespace", NO_CLASS, RUN, namespace=ENABLED),
    Case("TaskRun, enabled namespace that allows opt-out", NO_CLASS, RUN, namespace=OPT_OUT),
    Case("TaskRun, enabled namespace, class alone", NO_INITDATA, RUN, namespace=ENABLED, runtime_class="kata-cc"),
    Case("TaskRun, enabled namespace, confidential", None, RUN, DONE, ENABLED, runtime_class="kata-cc"),
    Case("TaskRun, namespace with another value", None, RUN, namespace={LABEL: "true"}),
    Case("labelled, enabled namespace", NO_CLASS, TRUE, namespace=ENABLED),
    Case("affinity assistant", None, TRUE, user=STATEFULSETS, owners=[ASSISTANT]),
    Case("affinity assistant with a TaskRun's label", None, RUN, namespace=ENABLED, user=STATEFULSETS, owners=[ASSISTANT]),
    Case("affinity assistant of a controller manager with one account", None, TRUE, user="system:kube-controller-manager",
         owners=[ASSISTANT]),
    Case("an assistant's owner, forged", NO_CLASS, TRUE, owners=[ASSISTANT]),
    Case("the controller's user, no owner", NO_CLASS, TRUE, user=STATEFULSETS),
    Case("the controller's user, another StatefulSet", NO_CLASS, TRUE, user=STATEFULSETS,
         owners=[ASSISTANT | {"name": "my-affinity-assistant-1"}]),
    Case("the controller's user, an owner of another kind", NO_CLASS, TRUE, user=STATEFULSETS,
         owners=[ASSISTANT | {"kind": "Job"}]),
    Case("the controller's user, an owner of another group", NO_CLASS, TRUE, user=STATEFULSETS,
         owners=[ASSISTANT | {"apiVersion": "fake.example/v1"}]),
    Case("the controller's user, an owner that controls nothing", NO_CLASS, TRUE, user=STATEFULSETS,
         owners=[{key: value for key, value in ASSISTANT.items() if key != "controller"}]),
    Case("the controller's user, an owner that says it controls nothing", NO_CLASS, TRUE, user=STATEFULSETS,
         owners=[ASSISTANT | {"controller": False}]),
]


@dataclasses.dataclass
class Debug:
    """A pod that gets ephemeral containers."""

    name: str
    refused: str | None
    labels: dict | None = None
    annotations: dict | None = None
    namespace: dict = dataclasses.field(default_factory=dict)
    had: int = 0
    has: int = 1

    def pod(self, count):
        pod = Case("", None, self.labels, self.annotations).pod()
        if count:
            pod["spec"]["ephemeralContainers"] = [{"name": f"debug-{n}", "image": "none.invalid/none"} for n in range(count)]
        return pod


DEBUGS = [
    Debug("an ordinary pod", None),
    Debug("an ordinary pod with labels and annotations", None, {"app": "a"}, {"a": "b"}),
    Debug("opted out", None, FALSE),
    Debug("labelled", DEBUG, TRUE, DONE),
    Debug("by its initdata alone", DEBUG, None, DONE),
    Debug("labelled, a second one", DEBUG, TRUE, DONE, had=1, has=2),
    Debug("labelled, none more", None, TRUE, DONE, had=1, has=1),
    Debug("labelled, none at all", None, TRUE, DONE, has=0),
    Debug("labelled, where a namespace allows it", None, TRUE, DONE, {P + "debug": "allowed"}),
    Debug("labelled, where a namespace says something else", DEBUG, TRUE, DONE, {P + "debug": "yes"}),
]


@dataclasses.dataclass
class Change:
    """A pod whose annotations or labels are changed while it runs."""

    name: str
    refused: str | None
    before: dict | None = None
    after: dict | None = None
    namespace: dict = dataclasses.field(default_factory=dict)
    labels_before: dict | None = None
    labels_after: dict | None = None
    runtime_class: str | None = None

    def pods(self):
        """Before, and after it."""
        pairs = ((self.labels_before, self.before), (self.labels_after, self.after))
        return [Case("", None, labels, notes, runtime_class=self.runtime_class).pod() for labels, notes in pairs]


BOTH = DONE | {INJECTED: "{}"}
CHANGES = [
    Change("of an ordinary pod", None, {"a": "b"}, None),
    Change("another is added to an ordinary pod", None, None, {"a": "b"}),
    Change("another is added", None, BOTH, BOTH | {"a": "b"}),
    Change("another goes", None, BOTH | {"a": "b"}, BOTH),
    Change("initdata goes", KEPT, BOTH, {INJECTED: "{}"}),
    Change("initdata changes", KEPT, DONE, {INITDATA: "H4sJ"}),
    Change("injected goes", KEPT, BOTH, DONE),
    Change("all go", KEPT, DONE, None),
    Change("all go, where a namespace allows to debug", None, DONE, None, {P + "debug": "allowed"}),
    Change("a label comes, without protection", LATE, labels_after=TRUE),
    Change("a label comes in place of false", LATE, labels_before=FALSE, labels_after=TRUE),
    Change("a label comes, with a class alone", LATE, labels_after=TRUE, runtime_class="kata-cc"),
    Change("a label comes, with initdata alone", LATE, DONE, DONE, labels_after=TRUE),
    Change("a label comes together with initdata", LATE, None, DONE, labels_after=TRUE, runtime_class="kata-cc"),
    Change("a confidential pod gets its label back", None, DONE, DONE, labels_after=TRUE, runtime_class="kata-cc"),
    Change("another label comes", None, labels_after={"app": "a"}),
    Change("a label goes", None, DONE, DONE, labels_before=TRUE, runtime_class="kata-cc"),
]


@dataclasses.dataclass
class Edit:
    """A JSON patch of a webhook configuration, by the webhook unless another user is named."""

    name: str
    refused: bool
    operation: str
    path: str
    value: object = None
    user: str = WEBHOOK

    def patch(self):
        patch = {"op": self.operation, "path": self.path}
        return [patch if self.operation == "remove" else patch | {"value": self.value}]

    def on(self, configuration):
        """(before, after) of it, as an API server has them: with what it fills in."""
        before = copy.deepcopy(configuration)
        for webhook in before["webhooks"]:
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
        after = copy.deepcopy(before)
        *folders, name = self.path.strip("/").split("/")
        at = after
        for folder in folders:
            at = at[int(folder) if isinstance(at, list) else folder]
        if self.operation == "remove":
            del at[int(name) if isinstance(at, list) else name]
        elif name == "-":
            at.append(self.value)
        else:
            at[int(name) if isinstance(at, list) else name] = self.value
        return before, after


MORE = {
    "name": "more.example.com",
    "clientConfig": {"service": {"name": "coco-webhook", "namespace": "coco-pipelines-system"}},
    "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
FIRST = "/webhooks/0"
EDITS = [
    Edit("caBundle comes", False, "add", FIRST + "/clientConfig/caBundle", "YQ=="),
    Edit("a label comes", False, "add", "/metadata/labels/a", "b"),
    Edit("rules are widened", True, "replace", FIRST + "/rules/0/resources", ["secrets"]),
    Edit("rules are widened by an admin", False, "replace", FIRST + "/rules/0/resources", ["secrets"], user="admin"),
    Edit("a rule comes", True, "add", FIRST + "/rules/-", MORE["rules"][0]),
    Edit("another operation", True, "replace", FIRST + "/rules/0/operations", ["*"]),
    Edit("the last one's rules", True, "replace", "/webhooks/1/rules/0/operations", ["DELETE"]),
    Edit("another namespace's pods", True, "replace", FIRST + "/namespaceSelector", {}),
    Edit("other pods", True, "replace", FIRST + "/objectSelector", {}),
    Edit("failures ignored", True, "replace", FIRST + "/failurePolicy", "Ignore"),
    Edit("exact matches", True, "replace", FIRST + "/matchPolicy", "Exact"),
    Edit("another service", True, "replace", FIRST + "/clientConfig/service/name", "other"),
    Edit("another path", True, "replace", FIRST + "/clientConfig/service/path", "/other"),
    Edit("a longer time", True, "replace", FIRST + "/timeoutSeconds", 30),
    Edit("a condition", True, "add", FIRST + "/matchConditions", [{"name": "a", "expression": "false"}]),
    Edit("another name", True, "replace", FIRST + "/name", "other.example.com"),
    Edit("one webhook less", True, "remove", FIRST),
    Edit("one webhook more", True, "add", "/webhooks/-", MORE),
    Edit("none at all", True, "replace", "/webhooks", []),
]
