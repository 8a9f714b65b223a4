#!/usr/bin/python3
"""coco-controller (argv[1]) is killed at each of its writes in turn, started again, killed at the first write of its new
life, and started again: what comes of it is what would have come of it anyway, and no more.

The first write that it dies at has reached nobody, the second one is done, and nobody has heard of it. One controller on a
real API server, behind a proxy that kills it.
"""

import itertools
import time

from fault_world import (
    Deaths,
    FaultWorld,
    check_ready_was_whole,
    newest,
    renamed,
    revision,
    same_state,
    settled,
    state,
    without_digests,
)
from trustee_world import restricted, tls_secret, trustee, uid
from world import programs

from certificates import make_pair
from tap import check, equal, main, test

(CONTROLLER,) = programs("coco-controller")
HOST = "kbs.example"
EXPOSURE = {"exposure": {"type": "None"}}
WRITES_MAX = 40  # of one change
AUTH = "t-auth-secret"


def disturb(world, ns, n, change):
    """Makes the change, which returns the object as it is then, and waits for what comes of it; the controller dies at its
    n-th write. Returns how often it died."""
    with Deaths(world, n) as deaths:
        at = revision(change())

        def is_done():
            trustee = newest(world, "TrusteeConfig", ns, "t")
            return trustee and revision(trustee) > at and settled(world, ns)

        deaths.wait_for(is_done, f"{ns} is settled, though the controller dies at write {n}")
        return deaths.count


def at_each_write(what, once):
    """Calls once(n), which says how often the controller died, for n = 1, 2, ... until it doesn't die any more."""
    begin = time.monotonic()
    for n in itertools.count(1):
        check(n < WRITES_MAX, f"{what} takes more than {WRITES_MAX} writes")
        if not once(n):
            break
    print(f"{what}: {n - 1} writes at most, {time.monotonic() - begin:.0f} s")
    check(n > 3, f"{what} takes hardly a write: nothing was tested")


def check_state(world, ns, wanted, what, simplify=lambda found: found):
    """What there is is what is wanted, soon at least."""
    found = simplify(state(world, ns))
    if found != wanted:
        print(f"{what}: it took a little longer")
        world.rested()
        found = simplify(state(world, ns))
    same_state(found, wanted, what)


# ---- From nothing


def create_again_and_again(world, what, make):
    """In a namespace each time, since there is nothing in it then."""
    numbers = itertools.count()

    def once(n):
        ns = f"{what}-{next(numbers)}"
        *others, made = make(ns)
        world.namespace(ns, True, *others)
        deaths = disturb(world, ns, n, lambda: world.apply(made))

        def simplify(found):
            return renamed(without_digests(found, [AUTH]), ns)

        found = simplify(state(world, ns))
        wanted.update({} if wanted else found)
        check_state(world, ns, wanted, f"{ns}, killed at write {n}", simplify)
        world.rolled(ns, 0)
        check_ready_was_whole(world, ns)
        world.delete("TrusteeConfig", ns, "t")
        return deaths

    wanted = {}
    equal(once(0), 0, "how often it died undisturbed")
    at_each_write(what, once)


@test("created as Permissive")
def _(world):
    create_again_and_again(world, "permissive", lambda ns: [trustee(ns, profileType="Permissive")])


def both_secrets(ns, pair, signer):
    return [tls_secret(ns, "kbs-tls", pair), tls_secret(ns, "token-tls", signer)]


BOTH = EXPOSURE | {"attestationTokenVerificationSpec": {"tlsSecretName": "token-tls"}}


@test("created as Restricted, with certificates of KBS and token signer")
def _(world):
    pair, signer = make_pair(HOST), make_pair("signer")
    create_again_and_again(world, "restricted", lambda ns: [*both_secrets(ns, pair, signer), restricted(ns, **BOTH)])


# ---- From one state to another


def rollouts_since(world, ns, at):
    """How often templates of the namespace's Deployments have changed since then; a new Deployment is no change."""
    count = 0
    for live in world.list("Deployment", ns):
        before = None
        for version in world.histories["Deployment"].of(ns, live["metadata"]["name"], live):
            if before and uid(before) == uid(version) and revision(version) > at:
                count += before["spec"]["template"] != version["spec"]["template"]
            before = version
    return count


def change_again_and_again(world, ns, what, changes, undisturbed):
    """The changes in turn, from one to the next; the controller dies at the n-th write of each. undisturbed: so many
    rollouts are needed for one; one more is allowed where it dies."""
    wanted, at = [], 0

    def change_it(number):
        nonlocal at
        made = changes[number]()
        at = revision(made)
        return made

    for number in (*range(len(changes)), *range(len(changes))):  # from the last one's state to the first one's
        equal(disturb(world, ns, 0, lambda: change_it(number)), 0, "how often it died undisturbed")
        wanted = [*wanted[-len(changes) + 1 :], state(world, ns)]
    equal(rollouts_since(world, ns, at), undisturbed, "the rollouts undisturbed")

    def once(n):
        deaths = 0
        for number in range(len(changes)):
            deaths += disturb(world, ns, n, lambda: change_it(number))
            name = f"{what}, change {number}, killed at write {n}"
            check_state(world, ns, wanted[number], name)
            made = rollouts_since(world, ns, at)
            check(made <= undisturbed + 1, f"{name}: {made} rollouts")
        return deaths

    at_each_write(what, once)


@test("from Permissive to Restricted and back")
def _(world):
    ns = world.namespace("profiles", True, *both_secrets("profiles", make_pair(HOST), make_pair("signer")))
    changes = [
        lambda: world.apply(trustee(ns, profileType="Permissive", allowDowngrade=True, **EXPOSURE)),
        lambda: world.apply(restricted(ns, **BOTH)),
    ]
    change_again_and_again(world, ns, "profiles", changes, 1)
    world.delete("TrusteeConfig", ns, "t")


@test("another certificate")
def _(world):
    pairs = [make_pair(HOST, days=days) for days in (100, 200)]
    ns = world.namespace("certificates", True, *both_secrets("certificates", pairs[1], make_pair("signer")))
    changes = [lambda pair=pair: world.apply(tls_secret(ns, "kbs-tls", pair)) for pair in pairs]
    world.apply(restricted(ns, **BOTH))
    change_again_and_again(world, ns, "certificates", changes, 1)
    world.delete("TrusteeConfig", ns, "t")


@test("another instanceName, without HTTPS, and back")
def _(world):
    ns = world.namespace("instances", True, *both_secrets("instances", make_pair(HOST), make_pair("signer")))
    https = {"httpsSpec": {"tlsSecretName": "kbs-tls"}}
    changes = [
        lambda: world.apply(trustee(ns, instanceName="blue", **EXPOSURE)),
        lambda: world.apply(trustee(ns, **https, **EXPOSURE)),
    ]
    change_again_and_again(world, ns, "instances", changes, 0)
    world.delete("TrusteeConfig", ns, "t")


main(FaultWorld(CONTROLLER))
