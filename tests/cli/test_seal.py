#!/usr/bin/env python3
"""cocopipe seal and unseal against another implementation of JWS, jwcrypto: it takes ours, we take its, and neither takes
what was tampered with. test_seal.py COCOPIPE"""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat,
                                                          PublicFormat)
from jwcrypto import jwk, jws

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from tap import check, equal, main, test  # noqa: E402

COCOPIPE = os.path.abspath(sys.argv.pop(1))
RESOURCE = "kbs:///default/app/key"
KID = "kbs:///default/sealed-secret/public-key"
VAULT = {"version": "0.1.0", "type": "vault", "name": RESOURCE, "provider": "kbs", "provider_settings": {},
         "annotations": {}}
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(key, form=PrivateFormat.PKCS8, password=None):
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password) if password else NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk_of(key, private=False):
    both = jwk.JWK.from_pem(pem(key))
    return (both.export_private if private else both.export_public)()


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="coco-seal-") as path:
        os.chdir(path)
        files = {
            "key.pem": pem(KEY),
            "sec1.pem": pem(KEY, PrivateFormat.TraditionalOpenSSL),
            "key.jwk": jwk_of(KEY, private=True).encode(),
            "locked.pem": pem(KEY, password=b"secret"),
            "public.pem": public_pem(KEY),
            "public.jwk": jwk_of(KEY).encode(),
            "other.pem": pem(OTHER),
            "other-public.pem": public_pem(OTHER),
            "p384.pem": pem(ec.generate_private_key(ec.SECP384R1())),
            "k1.pem": pem(ec.generate_private_key(ec.SECP256K1())),
            "rsa.pem": pem(rsa.generate_private_key(65537, 2048)),
            "ed25519.pem": pem(ed25519.Ed25519PrivateKey.generate()),
        }
        for name, data in files.items():
            pathlib.Path(name).write_bytes(data)
        subprocess.run(["openssl", "req", "-x509", "-key", "key.pem", "-subj", "/CN=a", "-days", "2", "-out", "cert.pem"],
                       check=True, capture_output=True)
        yield path
        os.chdir("/")


def run(*arguments, text="", want=0):
    """What it prints on stdout and on stderr."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCO_")}
    got = subprocess.run([COCOPIPE, *arguments], input=text if isinstance(text, bytes) else text.encode(),
                         capture_output=True, timeout=30, check=False, env=clean)
    equal(got.returncode, want, f"exit status of {' '.join(arguments)} ({got.stderr.decode()})")
    check(want == 0 or not got.stdout, f"something on stdout, though it failed: {got.stdout!r}")
    return got.stdout.decode(), got.stderr.decode()


def seal(*more, key="key.pem", want=0):
    return run("seal", "--resource", RESOURCE, "--key", key, "--kid", KID, *more, want=want)


def unseal(text, *more, key="public.pem", want=0):
    return run("unseal", "-f", "-", *(["--key", key] if key else []), *more, text=text, want=want)


def sign(payload, header=None, key=KEY):
    """A sealed secret as jwcrypto signs it."""
    token = jws.JWS(payload if isinstance(payload, (str, bytes)) else json.dumps(payload))
    token.add_signature(jwk.JWK.from_pem(pem(key)), None, json.dumps(header or {"alg": "ES256", "kid": KID}))
    return "sealed." + token.serialize(compact=True)


def raw(header, payload=None, signature=bytes(64)):
    """With any header and signature."""
    return f"sealed.{b64(json.dumps(header).encode())}.{b64(json.dumps(payload or VAULT).encode())}.{b64(signature)}"


# ---- Ours, read by the other one


@test("seal: the other implementation takes what each form of the key signs")
def _(_):
    for key in ("key.pem", "sec1.pem", "key.jwk"):
        out, err = seal(key=key)
        equal(err, "", "said")
        check(out.startswith("sealed.") and "\n" not in out, f"a newline, or no prefix: {out!r}")
        token = jws.JWS()
        token.deserialize(out.removeprefix("sealed."), key=jwk.JWK.from_pem(public_pem(KEY)))
        equal(token.jose_header, {"alg": "ES256", "kid": KID}, "header")
        equal(json.loads(token.payload), VAULT, "payload")


@test("seal: 40 signatures, each good, no two the same")
def _(_):
    # r and s have a leading zero byte in one of 128: then they must be padded.
    public = jwk.JWK.from_pem(public_pem(KEY))
    seen = set()
    for _i in range(40):
        text = seal()[0].removeprefix("sealed.")
        token = jws.JWS()
        token.deserialize(text, key=public)
        equal(len(base64.urlsafe_b64decode(text.split(".")[2] + "==")), 64, "bytes of the signature")
        seen.add(text)
    equal(len(seen), 40, "different signatures")


@test("seal -o jwk: the other implementation checks by it, and it has nothing private")
def _(_):
    out, _err = run("seal", "--key", "key.pem", "--kid", KID, "-o", "jwk")
    public = json.loads(out)
    equal(set(public), {"kty", "crv", "x", "y", "alg", "use", "kid"}, "members")
    equal({k: public[k] for k in ("kty", "crv", "x", "y")}, {k: v for k, v in json.loads(jwk_of(KEY)).items() if k != "kid"}, "the point")
    jws.JWS().deserialize(seal()[0].removeprefix("sealed."), key=jwk.JWK(**public))
    pathlib.Path("ours.jwk").write_text(out)
    unseal(seal()[0], key="ours.jwk")


@test("seal -o yaml: a Kubernetes Secret")
def _(_):
    out, _err = seal("-o", "yaml", "--name", "signing", "-n", "team-a", "--data-key", "cosign.key")
    secret = yaml.safe_load(out)
    text = secret["stringData"].pop("cosign.key")
    equal(secret, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "signing", "namespace": "team-a"},
                   "type": "Opaque", "stringData": {}}, "Secret")
    equal(json.loads(unseal(text)[0]), VAULT, "payload")
    secret = yaml.safe_load(seal("-o", "yaml")[0])
    equal((secret["metadata"], list(secret["stringData"])), ({"name": "sealed-secret"}, ["secret"]), "defaults")


@test("seal --unsigned: as guests that skip verification have always read it")
def _(_):
    out, err = run("seal", "--unsigned", "--resource", RESOURCE)
    equal(err, "", "said")
    first, header, payload, signature = out.split(".")
    equal((first, header, signature), ("sealed", "fakejwsheader", "fakesignature"), "parts")
    check("=" not in payload, "padding")
    equal(json.loads(base64.urlsafe_b64decode(payload + "==")), VAULT, "payload")
    got, err = unseal(out, "--unsigned", key=None)
    equal((json.loads(got), err), (VAULT, "Warning: no signature was checked\n"), "unsealed")
    _out, err = unseal(out, want=1)
    check("it is not signed" in err and "--unsigned" in err, err)


@test("unseal: a newline at the end is told of, as a guest doesn't take it off")
def _(_):
    out, _err = run("seal", "--unsigned", "--resource", RESOURCE)
    for end in ("\n", "\r\n"):
        got, err = unseal(out + end, "--unsigned", key=None)
        equal(json.loads(got), VAULT, "unsealed")
        check(err.startswith("Warning: it ends with a newline"), err)


@test("seal: other providers")
def _(_):
    out, _err = run("seal", "--unsigned", "--provider", "aws", "--resource", "db-password", "--provider-settings",
                    '{"region": "eu-west-1"}', "--annotations", '{"version_stage": "AWSCURRENT"}')
    got = json.loads(unseal(out, "--unsigned", key=None)[0])
    equal(got, VAULT | {"provider": "aws", "name": "db-password", "provider_settings": {"region": "eu-west-1"},
                        "annotations": {"version_stage": "AWSCURRENT"}}, "payload")


@test("seal: what a guest would refuse, and what is asked wrongly")
def _(_):
    base = ["--resource", RESOURCE]
    signed = [*base, "--key", "key.pem", "--kid", KID]
    rows = [
        (1, ["--resource", "kbs:///default/app", *signed[2:]], "error: name is \"kbs:///default/app\""),
        (1, [*base, "--key", "key.pem", "--kid", "kbs:///a/b"], "error: kid is \"kbs:///a/b\""),
        (1, [*signed, "--provider", "aws"], "provider_settings.region is missing"),
        (1, [*signed, "--provider", "vault"], "it must be kbs, aws or aliyun"),
        (2, base, "or say --unsigned"),
        (2, [*base, "--key", "key.pem"], "--kid"),
        (2, [*signed, "--unsigned"], "--unsigned goes without"),
        (2, signed[2:], "--resource"),
        (2, [*signed, "-o", "json"], "-o must be"),
        (2, ["-o", "jwk"], "--key FILE"),
        (2, [*signed, "--provider-settings", "[]"], "--provider-settings must be a JSON object"),
        (2, [*signed, "--annotations", '{"a":1,"a":2}'], "--annotations must be a JSON object"),
        (2, [*signed, "-o", "yaml", "--name", "Signing"], "--name and --namespace"),
        (2, [*signed, "-o", "yaml", "--data-key", "a/b"], "--data-key"),
        (2, [*base, "--key", "no-such-file", "--kid", KID], "no-such-file"),
    ]
    for want, arguments, says in rows:
        _out, err = run("seal", *arguments, want=want)
        check(says in err, f"{arguments}: {err}")


@test("seal: keys that can't sign, of which nothing is shown")
def _(_):
    rows = {"locked.pem": "password", "public.pem": "no private key", "public.jwk": "d is missing", "p384.pem": "secp384r1",
            "k1.pem": "secp256k1", "rsa.pem": "RSA", "ed25519.pem": "ED25519", "cert.pem": "no private key"}
    for key, says in rows.items():
        _out, err = seal(key=key, want=2)
        check(says in err, f"{key}: {err}")
    private = json.loads(jwk_of(KEY, private=True))
    for damage in (private["d"][:-1], private["d"] + "=", private["d"] + "\\u0000"):
        pathlib.Path("damaged.jwk").write_text(json.dumps(private | {"d": "@"}).replace("@", damage))
        _out, err = seal(key="damaged.jwk", want=2)
        check(private["d"][:8] not in err, f"shows the key: {err}")
    for cut in (10, 60, 120):
        pathlib.Path("cut.pem").write_bytes(pem(KEY)[:-cut])
        _out, err = seal(key="cut.pem", want=2)
        check(not any(line in err for line in pem(KEY).decode().splitlines()[1:-1]), f"shows the key: {err}")


# ---- The other one's, read by us


@test("unseal: takes what the other implementation signs, by each form of the public key")
def _(_):
    text = sign(VAULT)
    for key in ("public.pem", "public.jwk", "key.pem", "key.jwk", "cert.pem"):
        out, err = unseal(text, key=key)
        equal((json.loads(out), err), (VAULT, f"signed: kid {KID}\n"), key)
    out, _err = unseal(text, "--certificate", "cert.pem", "-o", "yaml", key=None)
    equal(yaml.safe_load(out), VAULT, "as YAML")
    for _i in range(40):
        unseal(sign(VAULT, {"kid": KID, "alg": "ES256", "typ": "JWS"}))
    equal(json.loads(unseal(text + "\n")[0]), VAULT, "from a file with a newline")


@test("unseal: what was tampered with")
def _(_):
    good = sign(VAULT)
    head, header, payload, signature = good.split(".")
    signed = f"{header}.{payload}".encode()
    der = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    hmac = hashlib.sha256(public_pem(KEY) + signed).digest()
    wide = ec.generate_private_key(ec.SECP384R1())
    p384 = jws.JWS(json.dumps(VAULT))
    p384.add_signature(jwk.JWK.from_pem(pem(wide)), None, json.dumps({"alg": "ES384", "kid": KID}))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551.to_bytes(32, "big")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]
    twice = b64(b'{"alg":"none","alg":"ES256","kid":"a"}')
    rows = [
        ("another key", sign(VAULT, key=OTHER), "not this key's"),
        ("alg none", f"sealed.{b64(json.dumps({'alg': 'none', 'kid': KID}).encode())}.{payload}.", 'alg is "none"'),
        ("alg none with a signature", raw({"alg": "none", "kid": KID}), 'alg is "none"'),
        ("alg HS256 by the public key", raw({"alg": "HS256", "kid": KID}, signature=hmac), 'alg is "HS256"'),
        ("alg ES384", "sealed." + p384.serialize(compact=True), 'alg is "ES384"'),
        ("a key in the header", sign(VAULT, {"alg": "ES256", "kid": KID, "jwk": json.loads(jwk_of(OTHER))}, OTHER),
         "not this key's"),
        ("crit", sign(VAULT, {"alg": "ES256", "kid": KID, "crit": ["b64"], "b64": True}), "extension"),
        ("DER", f"{head}.{header}.{payload}.{b64(der)}", "in DER"),
        ("truncated", good[:-1], "base64url"),
        ("truncated by a byte", f"{head}.{header}.{payload}.{b64(base64.urlsafe_b64decode(signature + '==')[:-1])}",
         "63 bytes"),
        ("a byte more", f"{head}.{header}.{payload}.{b64(base64.urlsafe_b64decode(signature + '==') + bytes(1))}",
         "65 bytes"),
        ("trailing data", good + "A", "65 bytes"),
        ("a trailing part", good + ".e30", "4 parts"),
        ("two newlines", good + "\n\n", "base64url"),
        ("padding", good + "==", "base64url"),
        ("standard alphabet", good[:-2] + "+/", "URL alphabet"),
        ("bits beyond the data", f"{head}.{header}.{payload}.{loose}", "bits beyond"),
        ("r and s zero", f"{head}.{header}.{payload}.{b64(bytes(64))}", "not this key's"),
        ("r and s the order", f"{head}.{header}.{payload}.{b64(order + order)}", "not this key's"),
        ("r and s swapped", f"{head}.{header}.{payload}." + b64(
            base64.urlsafe_b64decode(signature + "==")[32:] + base64.urlsafe_b64decode(signature + "==")[:32]),
         "not this key's"),
        ("another payload", f"{head}.{header}.{b64(json.dumps(VAULT | {'name': 'kbs:///x/y/z'}).encode())}.{signature}",
         "not this key's"),
        ("another kid", f"{head}.{b64(json.dumps({'alg': 'ES256', 'kid': 'x'}).encode())}.{payload}.{signature}",
         "not this key's"),
        ("no kid", sign(VAULT, {"alg": "ES256"}), "header.kid is missing"),
        ("a member twice", sign('{"version":"0.1.0","version":"0.1.0"}'), "duplicate"),
        ("header member twice", f"{head}.{twice}.{payload}.{signature}",
         "duplicate"),
        ("no JSON", sign("hello"), "payload is not JSON"),
        ("not UTF-8", sign(b'{"a":"\xff"}'), "payload is not JSON"),
        ("a guest would refuse it", sign(VAULT | {"name": "kbs:///a"}), 'name is "kbs:///a"'),
        ("annotations missing", sign({k: v for k, v in VAULT.items() if k != "annotations"}), "annotations is missing"),
        ("not sealed", good.removeprefix("sealed."), 'doesn\'t start with "sealed."'),
        ("empty", "", 'doesn\'t start with "sealed."'),
    ]
    for name, text, says in rows:
        _out, err = unseal(text, want=1)
        check(says in err, f"{name}: {err}")
        _out, err = unseal(text, "--certificate", "cert.pem", key=None, want=1)
        check(says in err, f"{name}, by certificate: {err}")


@test("unseal: no character can change")
def _(_):
    good = sign(VAULT)
    for at in range(0, len(good), 7):
        changed = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1:]
        unseal(changed, want=1)


@test("unseal: what is asked wrongly")
def _(_):
    pathlib.Path("s").write_text(sign(VAULT))
    pathlib.Path("large").write_bytes(b"A" * (2 << 20))
    rows = [([], "-f FILE"), (["-f", "s"], "give one of --key FILE"), (["-f", "s", "--key", "public.pem", "--unsigned"], "one"),
            (["-f", "s", "--key", "public.pem", "--certificate", "cert.pem"], "one"),
            (["-f", "s", "--key", "public.pem", "-o", "text"], "json or yaml"),
            (["-f", "no-such-file", "--key", "public.pem"], "no-such-file"),
            (["-f", "s", "--key", "rsa.pem"], "RSA"), (["-f", "s", "--key", "s"], "it is no key"),
            (["-f", "large", "--key", "public.pem"], "large"), (["-f", "s", "--key", "large"], "large")]
    for arguments, says in rows:
        _out, err = run("unseal", *arguments, want=2)
        check(says in err, f"{arguments}: {err}")


main(folder())
