#!/usr/bin/python3
"""manifests/components/certificates/cert-manager with cert-manager itself. Not a part of CI: docs/certificates.md.

    hack/cert-manager-run.py COCO_WEBHOOK COCO_CONTROLLER

cert-manager's controller and CA injector (hack/peer-build.sh) run beside the test cluster, on which overlay dev is installed with
that component, by one command and two webhooks. The cases build on each other. cert-manager's own webhook isn't there: what it
checks is checked by its CRDs.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/e2e")]

import yaml
from cluster import HOST, Proc, free_ports
from follow import now
from install_world import DEPLOYMENTS, DEV, SYSTEM_NAMESPACE, InstallWorld, case
from world import SAMPLES, check_confidential, pod, programs

from tap import check, equal, main

BINARIES = dict(zip(DEPLOYMENTS, programs(*DEPLOYMENTS)))
HOME = pathlib.Path(
    subprocess.run([ROOT / "hack/peer-build.sh", "cert-manager"], check=True, capture_output=True, text=True).stdout.strip()
)
COMPONENT = ROOT / "manifests/components/certificates/cert-manager"
NS = "team-a"
CERTIFICATES = f"/apis/cert-manager.io/v1/namespaces/{SYSTEM_NAMESPACE}/certificates"
KINDS = ("mutating", "validating")
WEBHOOK_HOST = f"coco-webhook.{SYSTEM_NAMESPACE}.svc"
WAIT_S = 120
RENEWALS = 10


class CertManagerWorld(InstallWorld):
    """cert-manager runs, and nothing of ours is installed yet."""

    def set_up(self):
        self.overlay = self.folder / "overlay"
        self.overlay.mkdir()
        here = self.overlay.resolve()
        made = {
            "resources": [os.path.relpath(DEV, here)],
            "components": [os.path.relpath(COMPONENT, here)],
            "replicas": [{"name": "coco-webhook", "count": 2}],
        }
        (self.overlay / "kustomization.yaml").write_text(json.dumps(made))
        self.cluster.kubectl("apply", "-f", str(SAMPLES / "namespace.yaml"))
        self.start_cert_manager()

    def start_cert_manager(self):
        for file in sorted((HOME / "config").glob("crd-*.yaml")):
            crd = yaml.safe_load(file.read_text())
            crd["metadata"] = {"name": crd["metadata"]["name"]}  # its labels are Helm's templates
            self.node.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        kubeconfig = f"--kubeconfig={self.cluster.kubeconfig('admin')}"
        metrics = f"--metrics-listen-address={HOST}:{free_ports(1)[0]}"
        self.peers = []
        for name, options in (("controller", [metrics]), ("cainjector", [])):
            argv = [HOME / "bin" / name, kubeconfig, "--leader-elect=false", *options]
            self.peers.append(Proc(f"cert-manager-{name}", argv, self.folder / f"{name}.log", self.cluster.env))
            self.stack.callback(self.peers[-1].stop)

    def wait(self, so, what):
        try:
            return self.cluster.wait_for(so, what, WAIT_S)
        except Exception:
            for peer in self.peers:
                print(peer.tail(25))
            raise

    def bundles(self):
        """The caBundle of each webhook, by its configuration's kind."""
        path = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations/coco-webhook"
        found = {kind: self.node.call("GET", path.format(kind))[1]["webhooks"] for kind in KINDS}
        return {kind: [w["clientConfig"].get("caBundle", "") for w in webhooks] for kind, webhooks in found.items()}

    def served(self):
        """The certificate of each ready webhook, which has to be trusted by what the configurations say by now."""
        seen = {}
        for kind, bundles in self.bundles().items():
            equal(len(set(bundles)), 1, f"how many bundles the {kind} configuration has")
            context = ssl.create_default_context(cadata=base64.b64decode(bundles[0]).decode())
            for running in self.node.running(SYSTEM_NAMESPACE, "coco-webhook"):
                with contextlib.suppress(ConnectionError), socket.create_connection((running.address, 9443), 5) as plain:
                    with context.wrap_socket(plain, server_hostname=WEBHOOK_HOST) as secure:
                        seen[running.name] = secure.getpeercert(binary_form=True)
        return seen

    def renew(self, name):
        """As cmctl renew does, once cert-manager is done with what was before."""

        def asked():
            live = self.node.call("GET", f"{CERTIFICATES}/{name}")[1]
            conditions = live["status"]["conditions"]
            if any(c["type"] == "Issuing" for c in conditions):
                return False
            conditions.append({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "lastTransitionTime": now()})
            return self.node.call("PUT", f"{CERTIFICATES}/{name}/status", live, good=(200, 409))[0] == 200

        self.wait(asked, f"another Certificate {name} is asked for")


@case("one command: cert-manager makes the certificate, writes both caBundles, and a labelled pod is confidential")
def _(world):
    world.apply()
    made, refusals = world.until_created(pod("first"), NS, timeout=WAIT_S)
    check_confidential(made, "the first pod")
    world.wait_available()
    print(f"attempts refused before: {len(refusals)}, the last: {refusals[-1:]}")
    for kind, bundles in world.bundles().items():
        check(all(bundles), f"webhooks of the {kind} configuration have no caBundle: {bundles}")
    equal(len(world.served()), 2, "webhooks that are trusted")


@case("it is renewed, again and again: both serve the new one, no creation fails, none is unprotected")
def _(world):
    pods = itertools.count()
    for turn in range(RENEWALS):
        before = set(world.served().values())
        world.renew("coco-webhook-serving")

        def renewed():
            world.check_created(pod(f"renewal-{next(pods)}"), NS, f"a pod of renewal {turn}")
            return not before & set(world.served().values())

        world.wait(renewed, "both serve another certificate")
    print(f"{next(pods)} pods were created meanwhile")


@case("nothing of ours was forbidden, and the webhook asked for no Secret")
def _(world):
    equal(world.forbidden(), [], "what our ServiceAccounts were forbidden")
    requests = [e["requestURI"] for e in world.cluster.audit() if e["user"]["username"].endswith(":coco-webhook")]
    check(requests, "the webhook made no requests at all")
    equal([uri for uri in requests if "/secrets" in uri], [], "Secrets that the webhook asked for")


main(CertManagerWorld(BINARIES, others=None))
