#!/usr/bin/python3
"""Three coco-webhooks (argv[1]) make, renew and repair their serving certificate on a real API server, with the rights of
manifests/base and no others.
"""

import sys

from certificates_world import (
    BUNDLE_PATCH,
    MANAGER,
    REPLICAS,
    SECRET,
    SECRET_PATCH,
    CertificatesWorld,
    Stream,
)
from world import MUTATING, SYSTEM_NAMESPACE, VALIDATING, programs

from cluster import wait_for
from tap import check, equal, main, test

(WEBHOOK,) = programs("coco-webhook")


@test("from nothing: three replicas end with one certificate, which the API server trusts")
def _(world):
    world.wipe()
    world.start_all()
    for replica in world.replicas:
        world.cluster.wait_for(lambda: replica.ready()[0] == 503, "it isn't ready")
    no_secret = f"there is no Secret {SYSTEM_NAMESPACE}/{SECRET} for the serving certificate: apply the manifests again"
    for replica in world.replicas:
        world.cluster.wait_for(lambda: replica.ready()[1].startswith(no_secret), f"it says so: {replica.ready()[1]}")
    since = len(world.cluster.audit())
    world.apply_all(world.manifests())
    world.all_ready()
    data = world.settled()
    world.verify(data["tls.crt"], data["ca.crt"])
    equal(set(data), {"tls.crt", "tls.key", "ca.crt"}, "the Secret's keys")
    world.cluster.wait_for(world.admits, "a pod is admitted")
    written = [e for e in world.writes(since) if e["objectRef"]["resource"] == "secrets"]
    codes = sorted(e["responseStatus"]["code"] for e in written)
    equal(codes[:1], [200], "the Secret is written once")
    equal(set(codes[1:]) - {409}, set(), "others' tries are conflicts")


main(CertificatesWorld(WEBHOOK, "--certificate-life=30s"))
