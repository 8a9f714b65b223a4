"""A cluster on which everything is installed, for the samples: with the RuntimeClasses that they name, and the Secrets that
their pages have people make."""

import json
import subprocess

from install_world import InstallWorld
from trustee_world import condition, path_of
from world import ROOT

import samples

RUNTIME_CLASSES = ("kata-cc-nvidia-gpu", "kata-remote")
WAIT_S = 60
# The Secrets of certificates: namespace, prefix, the KBS's host.
CERTIFICATES = (
    ("release-trustee", "", "kbs-service.release-trustee.svc"),
    ("gpu-trustee", "", "kbs-service.gpu-trustee.svc"),
    ("gpu-trustee", "local-", "local-kbs-service.gpu-trustee.svc"),
    ("team-trustees", "red-", "red-kbs-service.team-trustees.svc"),
    ("team-trustees", "blue-", "blue-kbs-service.team-trustees.svc"),
    ("peer-pods-trustee", "", "kbs.example.com"),
)
# What else is served, with content that nobody looks at.
SECRETS = {
    ("release-trustee", "signing-key"): {"cosign": "a"},
    ("release-trustee", "release-handover"): {"key": "a"},
    ("release-trustee", "release-registry"): {"config.json": "{}"},
    ("release-trustee", "release-public"): {"tag-signers": "a", "handover-signers": "a"},
    ("gpu-trustee", "model"): {"key": "a"},
    ("team-trustees", "red-app"): {"key": "a"},
    ("team-trustees", "red-cosign"): {"cosign.pub": "a"},
    ("team-trustees", "blue-app"): {"key": "a"},
    ("team-trustees", "blue-cosign"): {"cosign.pub": "a"},
}


class SamplesWorld(InstallWorld):
    """The cluster; the samples are applied by set_up_samples()."""

    def set_up(self):
        for name in RUNTIME_CLASSES:
            made = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}}
            self.cluster.apply(json.dumps(made | {"handler": name, "overhead": {"podFixed": {"memory": "120Mi"}}}))
        self.install_tekton()
        self.cluster.grant_edit("tekton")
        self.install()

    def install_tekton(self):
        self.cluster.kubectl("apply", "-f", str(ROOT / "tests/e2e/crds"))

    def set_up_samples(self, *names):
        """Applies what admins set up, as the pages say, and returns what kubectl said."""
        said = ""
        for name in names or samples.NAMES:
            said += self.cluster.kubectl("apply", "-f", str(samples.SAMPLES / name))[1]
        if not names or "gpu" in names:
            said += self.cluster.kubectl("apply", "-f", str(samples.SAMPLES / "gpu/local"))[1]
        return said

    def make_secrets(self, *namespaces):
        """The Secrets, in these namespaces; by default in all."""
        for ns, prefix, host in CERTIFICATES:
            if not namespaces or ns in namespaces:
                made = subprocess.run(
                    [ROOT / "hack/trustee-secrets.sh", "-n", ns, "-p", prefix, host], check=True, capture_output=True, text=True
                )
                self.cluster.apply(made.stdout)
        made = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": ns, "name": name}, "stringData": data}
            for (ns, name), data in SECRETS.items()
            if not namespaces or ns in namespaces
        ]
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))

    def get(self, kind, ns, name):
        status, answer = self.cluster.raw("GET", path_of(kind, ns, name))
        return answer if status == 200 else {}

    def wait_ready(self, kind, ns, name):
        """The object, once it is Ready."""

        def so():
            object = self.get(kind, ns, name)
            return object if condition(object, "Ready").get("status") == "True" else None

        try:
            return self.cluster.wait_for(so, f"{kind} {ns}/{name} is Ready", WAIT_S)
        except Exception:
            print(json.dumps(self.get(kind, ns, name).get("status"), indent=1))
            raise
