"""The bundle for the Operator Lifecycle Manager, made of what kustomize builds: see hack/manifests.py.

OLM makes the webhooks' configurations, their Service, certificate and caBundle itself, of the CSV's webhookdefinitions. These
know no namespaceSelector: every TaskRun's pod is sent to the webhook, which looks at its namespace itself, and fails closed.
OLM takes no ValidatingAdmissionPolicy either.
"""

import copy
import json

SYSTEM_NAMESPACE = "coco-pipelines-system"
SERVING = "/tmp/k8s-webhook-server/serving-certs"  # where OLM mounts the certificate
PORT = 9443
PLAIN_KINDS = ("PriorityClass", "PodDisruptionBudget")
FIELDS = ("rules", "failurePolicy", "matchPolicy", "objectSelector", "sideEffects", "timeoutSeconds", "reinvocationPolicy",
          "admissionReviewVersions")
DISPLAY = {
    "ConfidentialProfile": ("Confidential profile", "What makes a pod confidential: the Trustee that it attests to, the policy of "
                            "its agent, the size of its VM."),
    "TrusteeConfig": ("Trustee", "A Trustee that attests guests and releases secrets to them, in a few settings."),
    "KbsConfig": ("Trustee in detail", "A Trustee whose ConfigMaps and Secrets are written by hand."),
}
DESCRIPTION = """Confidential Tekton pipelines.

**coco-webhook** makes TaskRun pods confidential: a pod with the label `pipelines.confidentialcontainers.org/confidential: "true"`
gets a confidential RuntimeClass, a VM's size with matching requests and limits, and measured initdata. What is to be
confidential and can't be made so is refused.

**coco-controller** turns TrusteeConfigs and KbsConfigs into a running Trustee, the service that attests those pods and releases
secrets to them.

After the installation, create a ConfidentialProfile named `default` in the operator's namespace. For a Trustee in a namespace,
bind ClusterRole `coco-trustee` there to ServiceAccount `coco-controller` of the operator's namespace.
"""


def find(documents, kind, name=None):
    return [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]


def deployment(document):
    """As install.spec.deployments has it."""
    spec = copy.deepcopy(document["spec"])
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    # It may be installed elsewhere than in the namespace that is suggested.
    here = {"name": "COCO_SYSTEM_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    container["env"] = [*container.get("env", []), here]
    if document["metadata"]["name"] == "coco-webhook":
        container["args"] += [f"--tls-cert={SERVING}/tls.crt", f"--tls-key={SERVING}/tls.key"]
        del container["volumeMounts"], pod["volumes"]
    return {"name": document["metadata"]["name"], "label": document["metadata"]["labels"], "spec": spec}


def rules(documents, kind, prefix):
    found = [rule for d in find(documents, kind) if d["metadata"]["name"].startswith(prefix) for rule in d["rules"]]
    return {"serviceAccountName": prefix, "rules": found}


def webhook_definitions(documents):
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for webhook in find(documents, kind)[0]["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"].removesuffix("/enabled-namespace")
            yield {
                "type": kind.replace("WebhookConfiguration", "AdmissionWebhook"),
                "generateName": webhook["name"],
                "deploymentName": "coco-webhook",
                "containerPort": 443,
                "targetPort": PORT,
                "webhookPath": path,
            } | {field: webhook[field] for field in FIELDS if field in webhook}


def owned(crd):
    names, group = crd["spec"]["names"], crd["spec"]["group"]
    display, description = DISPLAY[names["kind"]]
    version = next(v["name"] for v in crd["spec"]["versions"] if v["storage"])
    return {
        "name": f"{names['plural']}.{group}",
        "kind": names["kind"],
        "version": version,
        "displayName": display,
        "description": description,
    }


def csv(documents, examples, version):
    deployments = find(documents, "Deployment")
    image = next(d for d in deployments if d["metadata"]["name"] == "coco-controller")
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"coco-pipelines.v{version}",
            "namespace": "placeholder",
            "annotations": {
                "alm-examples": json.dumps(examples, indent=2),
                "capabilities": "Seamless Upgrades",
                "categories": "Security",
                "containerImage": image["spec"]["template"]["spec"]["containers"][0]["image"],
                "description": "Makes Tekton pipelines confidential, and runs the Trustee that attests them.",
                "operatorframework.io/suggested-namespace": SYSTEM_NAMESPACE,
                "features.operators.openshift.io/disconnected": "true",
                "features.operators.openshift.io/fips-compliant": "false",
                "features.operators.openshift.io/proxy-aware": "false",
            },
        },
        "spec": {
            "displayName": "Confidential pipelines",
            "description": DESCRIPTION,
            "keywords": ["confidential-containers", "tekton", "trustee", "attestation"],
            "maturity": "alpha",
            "version": version,
            "minKubeVersion": "1.29.0",
            "provider": {"name": "coco-pipelines"},
            "maintainers": [{"name": "coco-pipelines", "email": "coco-pipelines@example.com"}],
            "installModes": [
                {"type": mode, "supported": mode == "AllNamespaces"}
                for mode in ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
            ],
            "customresourcedefinitions": {"owned": [owned(crd) for crd in find(documents, "CustomResourceDefinition")]},
            "install": {
                "strategy": "deployment",
                "spec": {
                    "deployments": [deployment(d) for d in deployments],
                    "clusterPermissions": [rules(documents, "ClusterRole", n) for n in ("coco-webhook", "coco-controller")],
                    "permissions": [rules(documents, "Role", "coco-controller")],
                },
            },
            "webhookdefinitions": list(webhook_definitions(documents)),
        },
    }


def bundle(documents, examples, version):
    """{path in the bundle: object}. documents: of overlay openshift."""
    files = {"manifests/coco-pipelines.clusterserviceversion.yaml": csv(documents, examples, version)}
    plain = [d for kind in PLAIN_KINDS for d in find(documents, kind)]
    plain += [*find(documents, "CustomResourceDefinition"), *find(documents, "ClusterRole", "coco-trustee")]
    for document in plain:
        document = copy.deepcopy(document)
        document["metadata"].pop("namespace", None)
        files[f"manifests/{document['metadata']['name']}.{document['kind'].lower()}.yaml"] = document
    part = "operators.operatorframework.io.bundle"
    files["metadata/annotations.yaml"] = {
        "annotations": {
            f"{part}.mediatype.v1": "registry+v1",
            f"{part}.manifests.v1": "manifests/",
            f"{part}.metadata.v1": "metadata/",
            f"{part}.package.v1": "coco-pipelines",
            f"{part}.channels.v1": "alpha",
            f"{part}.channel.default.v1": "alpha",
            "com.redhat.openshift.versions": "v4.16",
        }
    }
    return files
