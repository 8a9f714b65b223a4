#!/usr/bin/python3
"""Drives the client (argv[1] is a kube_call) against a real API server, and against one that misbehaves as it is told."""

import contextlib
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from cluster import Cluster
from fake_api import (
    HOST, Caller, Certificates, Connection, FakeApi, Proxy, answer, answer2, close, close2, drip, hang, message, packed, raw, refuse2,
    reset, silent2, status, then_close, write_kubeconfig,
)
from fake_server import dead_port
from live import until
from tap import check, equal, main, test

BINARY = "build/tests/kube_call"
if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
    BINARY = sys.argv.pop(1)
TOKEN = "a-token-that-is-secret"
TRIES_MAX = 6
HANDLES_MAX = 8
ANSWER_MAX = 64 * 1024 * 1024
GET = {"verb": "get", "resource": "configmaps", "ns": "a", "name": "b"}
GET_PATH = "GET /api/v1/namespaces/a/configmaps/b"
CREATE = {"verb": "create", "resource": "configmaps", "ns": "a", "object": {"metadata": {"name": "b"}}}
LIST = {"verb": "list", "resource": "configmaps", "ns": "a"}


class World:
    def __init__(self, folder, stack):
        self.folder = pathlib.Path(folder)
        self.certificates = Certificates(folder)
        self.stack = stack
        self._cluster = None

    @property
    def cluster(self):
        """Started when first asked for."""
        if not self._cluster:
            self._cluster = self.stack.enter_context(Cluster())
        return self._cluster

    def api(self, pair="good", **options):
        return FakeApi(self.certificates.pair(pair), **options)

    def kubeconfig(self, api, server=None, ca="ca", token=TOKEN, **options):
        path = self.folder / "kubeconfig"
        ca = self.certificates.ca(ca)[0] if ca else None
        return write_kubeconfig(path, server or api.url, ca=ca, token=token, **options)

    def caller(self, api, *arguments, **options):
        return Caller(BINARY, self.kubeconfig(api, **options), "--qps", "1000", *arguments, secrets=[TOKEN])

    @contextlib.contextmanager
    def both(self, *steps, **options):
        """A server with this script, and a caller of it."""
        with self.api() as api, self.caller(api, **options) as caller:
            api.script(*steps)
            yield api, caller

    def admin(self, user="admin"):
        return Caller(BINARY, self.cluster.kubeconfig(user), "--qps", "1000", secrets=[self.cluster.tokens[user]])


@contextlib.contextmanager
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack.enter_context(tempfile.TemporaryDirectory(prefix="coco-kube-")), stack)


def failed(got, error, *words):
    equal(got.get("error"), error, f"the error of {got}")
    for word in words:
        check(word in got["message"], f"'{word}' is missing in: {got['message']}")


def worked(got):
    check("error" not in got, f"it failed: {got.get('error')}: {got.get('message')}")
    return got.get("result")


def configmap(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# ---- What is sent


@test("fake: a request is what it should be")
def _(w):
    with w.both(answer({"kind": "ConfigMap"})) as (api, caller):
        equal(worked(caller.call(**GET)), {"kind": "ConfigMap"}, "the object")
        equal(api.paths(), [GET_PATH], "requests")
        headers = api.requests[0].headers
        equal(headers, {
            "host": f"{HOST}:{api.port}", "authorization": f"Bearer {TOKEN}", "accept": "application/json",
            "accept-encoding": "gzip", "user-agent": "kube_call/0"}, "headers")


@test("fake: a body is what it should be")
def _(w):
    with w.both() as (api, caller):
        worked(caller.call(**CREATE))
        worked(caller.call(verb="apply", resource="configmaps", ns="a", object=configmap("b"), manager="m&n", force=True))
        worked(caller.call(verb="patch", resource="configmaps", ns="a", name="b", subresource="status", object={"x": None}))
        worked(caller.call(verb="update", resource="namespaces", name="b", object={"x": "\u00e4"}))
        worked(caller.call(verb="delete", resource="configmaps", ns="a", name="b", uid="u", resourceVersion="7",
                           propagation="Foreground"))
        worked(caller.call(verb="delete", resource="configmaps", ns="a", name="b"))
        equal(api.paths(), [
            "POST /api/v1/namespaces/a/configmaps",
            "PATCH /api/v1/namespaces/a/configmaps/b?fieldManager=m%26n&force=true",
            "PATCH /api/v1/namespaces/a/configmaps/b/status",
            "PUT /api/v1/namespaces/b",
            "DELETE /api/v1/namespaces/a/configmaps/b",
            "DELETE /api/v1/namespaces/a/configmaps/b"], "requests")
        types = ["application/json", "application/apply-patch+yaml", "application/merge-patch+json"] + 3 * ["application/json"]
        equal([r.headers["content-type"] for r in api.requests], types, "content types")
        check(all("expect" not in r.headers for r in api.requests), "a request asks before it sends")
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {}}
        equal([r.json() for r in api.requests], [
            CREATE["object"], configmap("b"), {"x": None}, {"x": "\u00e4"},
            options | {"preconditions": {"uid": "u", "resourceVersion": "7"}, "propagationPolicy": "Foreground"},
            options], "bodies")
        equal(api.accepted, 1, "connections")


@test("fake: a server below a path, plain")
def _(w):
    with FakeApi() as api, w.caller(api, server=f"{api.url}/k8s/c-1/", ca=None) as caller:
        worked(caller.call(**GET))
        equal(api.paths(), [GET_PATH.replace("/api", "/k8s/c-1/api")], "requests")


@test("fake: names that would be another path are refused before anything is sent")
def _(w):
    with w.both() as (api, caller):
        for name in ("", ".", "..", "a/b", "%2e%2e"):
            failed(caller.call(**GET | {"name": name}), "EINVAL", f'"{name}" can\'t be the name of a ConfigMap')
            failed(caller.call(verb="delete", resource="configmaps", ns="a", name=name), "EINVAL")
        failed(caller.call(**GET | {"ns": ".."}), "EINVAL", '".." can\'t be the namespace')
        failed(caller.call(verb="get", resource="configmaps", name="b"), "EINVAL", "namespace")
        failed(caller.call(verb="apply", resource="configmaps", ns="a", object={}, manager="m"), "EINVAL", "name")
        failed(caller.call(verb="do", method="GET", path="http://other/"), "EINVAL", "must start with '/'")
        failed(caller.call(verb="do", method="GET", path="/a b"), "EINVAL", "percent-encoded")
        failed(caller.call(verb="do", method="GET", path="/" + 9000 * "a"), "EINVAL", "longer than 8192 bytes")
        equal(api.paths(), [], "requests")


@test("fake: a large body")
def _(w):
    with w.both() as (api, caller):
        value = 3_000_000 * "x"
        worked(caller.call(**CREATE | {"object": configmap("b", v=value)}))
        equal(len(api.requests[0].json()["data"]["v"]), len(value), "the length that arrived")


# ---- Tried again


@test("fake: 429 and 503 wait as the server says, whatever the request")
def _(w):
    for code in (429, 503):
        for call in (GET, CREATE):
            with w.both(answer(b"busy", code, {"Retry-After": "1"}), answer({"kind": "x"})) as (api, caller):
                equal(worked(caller.call(**call)), {"kind": "x"}, "the object")
                equal(len(api.requests), 2, "requests")
                gap = api.requests[1].at - api.requests[0].at
                check(0.95 < gap < 5, f"tried again after {gap:.2f} s")
                equal(api.requests[0].body, api.requests[1].body, "the bodies")


@test("fake: the wait may stand in the Status")
def _(w):
    with w.both(status(429, "TooManyRequests", retryAfterSeconds=1)) as (api, caller):
        worked(caller.call(**GET))
        gap = api.requests[1].at - api.requests[0].at
        check(0.95 < gap < 5, f"tried again after {gap:.2f} s")


@test("fake: a wait beyond the timeout is an error at once")
def _(w):
    with w.both(status(429, "TooManyRequests", "slow down", {"Retry-After": "3600"})) as (api, caller):
        got = caller.call(verb="do", method="GET", path="/x")
        failed(got, "EAGAIN", "GET /x: answered 429 TooManyRequests: slow down")
        equal(got["result"]["retryAfterS"], 3600, "retryAfterS")
        check(got["ms"] < 3000, f"it took {got['ms']} ms")
        equal(len(api.requests), 1, "requests")


@test("fake: without a wait there is back-off, and an end to it")
def _(w):
    with w.both(*(2 * TRIES_MAX) * [status(503, "ServiceUnavailable")]) as (api, caller):
        failed(caller.call(**GET), "EIO", "answered 503 ServiceUnavailable")
        equal(len(api.requests), TRIES_MAX, "requests")
        gaps = [b.at - a.at for a, b in zip(api.requests, api.requests[1:])]
        check(all(gap >= 0.045 * 2**i for i, gap in enumerate(gaps)), f"the gaps are {gaps}")


@test("fake: the timeout bounds all tries together")
def _(w):
    # The server says when, as a try by chance may come so late that it has no time left.
    with w.both(*(2 * TRIES_MAX) * [status(503, "ServiceUnavailable", retryAfterSeconds=1)]) as (api, caller):
        got = caller.call(verb="do", method="GET", path="/x", timeoutMs=1900)
        failed(got, "EIO", "503")
        check(got["ms"] < 2500, f"it took {got['ms']} ms")
        check(1 < len(api.requests) < TRIES_MAX, f"{len(api.requests)} requests")


@test("fake: what the caller must decide isn't tried again")
def _(w):
    codes = {400: "EINVAL", 403: "EPERM", 404: "ENOENT", 409: "EBUSY", 410: "ESTALE", 413: "EFBIG", 418: "EINVAL",
             422: "EINVAL", 500: "EIO", 502: "EIO", 504: "EIO"}
    with w.both() as (api, caller):
        for code, error in codes.items():
            api.script(status(code, "R", "why", {"Retry-After": "1"}))
            failed(caller.call(**GET), error, f"{GET_PATH}: answered {code} R: why")
        equal(len(api.requests), len(codes), "requests")


@test("fake: 401 once is answered with the token read anew")
def _(w):
    token = w.folder / "token"
    token.write_text(TOKEN)
    with w.both(token=None, token_file=token) as (api, caller):
        worked(caller.call(**GET))

        def renew(connection, request):
            token.write_text("another")
            return status(401, "Unauthorized")(connection, request)

        api.script(renew)
        worked(caller.call(**CREATE))
        sent = [r.headers["authorization"] for r in api.requests]
        equal(sent, [f"Bearer {TOKEN}", f"Bearer {TOKEN}", "Bearer another"], "what was sent")


@test("fake: 401 twice is an error")
def _(w):
    token = w.folder / "token"
    token.write_text(TOKEN)
    with w.both(*4 * [status(401, "Unauthorized")], token=None, token_file=token) as (api, caller):
        failed(caller.call(**GET), "EACCES", "the credential was refused")
        check(len(api.requests) <= 2, f"{len(api.requests)} requests")


@test("fake: 401 to each of many tokens ends with the second")
def _(w):
    token = w.folder / "token"
    token.write_text(TOKEN)

    def renew(connection, request):
        token.write_text(f"token-{len(api.requests)}")
        return status(401, "Unauthorized")(connection, request)

    with w.both(*4 * [renew], token=None, token_file=token) as (api, caller):
        failed(caller.call(**GET), "EACCES", "401")
        equal(len(api.requests), 2, "requests")


@test("fake: a token that no header can hold is not sent")
def _(w):
    token = w.folder / "token"
    token.write_bytes(b"a\r\nX-Evil: 1")
    with w.both(token=None, token_file=token) as (api, caller):
        failed(caller.call(**GET), "EINVAL")
        equal(api.paths(), [], "requests")


# ---- Broken connections

TRUNCATED = raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"kind":')
CHUNK_CUT = raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"kind":')
HALF_HEADER = raw(b"HTTP/1.1 200 OK\r\nContent-Le")
BREAKS = {"before the answer": close, "by a reset": reset, "in the header": HALF_HEADER, "in the body": TRUNCATED,
          "in a chunk": CHUNK_CUT}


@test("fake: a GET is sent anew when its connection broke")
def _(w):
    for how, step in BREAKS.items():
        with w.both(step, answer({"kind": "x"})) as (api, caller):
            equal(worked(caller.call(**GET)), {"kind": "x"}, f"the object, broken {how}")
            equal(len(api.requests), 2, f"requests, broken {how}")


@test("fake: a GET isn't sent anew for ever")
def _(w):
    for how, step in BREAKS.items():
        with w.both(*(2 * TRIES_MAX) * [step]) as (api, caller):
            failed(caller.call(verb="do", method="GET", path="/x", timeoutMs=20000), "ECONNRESET", "GET /x: ", api.url)
            equal(len(api.requests), TRIES_MAX, f"requests, broken {how}")


ONCE = [
    CREATE,
    {"verb": "update", "resource": "configmaps", "ns": "a", "name": "b", "object": configmap("b")},
    {"verb": "patch", "resource": "configmaps", "ns": "a", "name": "b", "object": {"x": 1}},
    {"verb": "delete", "resource": "configmaps", "ns": "a", "name": "b"},
    {"verb": "do", "method": "DELETE", "path": "/x"},
    {"verb": "do", "method": "POST", "path": "/x"},
]
VERSIONED = {"metadata": {"name": "b", "resourceVersion": "7"}}
AGAIN = [
    {"verb": "update", "resource": "configmaps", "ns": "a", "name": "b", "object": VERSIONED},
    {"verb": "patch", "resource": "configmaps", "ns": "a", "name": "b", "object": VERSIONED},
    {"verb": "apply", "resource": "configmaps", "ns": "a", "object": configmap("b"), "manager": "m"},
    {"verb": "delete", "resource": "configmaps", "ns": "a", "name": "b", "uid": "u"},
    {"verb": "delete", "resource": "configmaps", "ns": "a", "name": "b", "resourceVersion": "7"},
    {"verb": "do", "method": "DELETE", "path": "/x", "repeatable": True},
]


@test("fake: what could happen twice is sent once, on a new connection and on a reused one")
def _(w):
    for call in ONCE:
        for how, step in BREAKS.items():
            with w.both(step) as (api, caller):
                failed(caller.call(**call), "ECONNRESET")
                equal(len(api.requests), 1, f"requests of {call}, broken {how}")
                worked(caller.call(**GET))
                api.script(step)
                failed(caller.call(**call), "ECONNRESET")
                equal(len(api.requests), 3, f"requests of {call}, on a reused connection, broken {how}")


@test("fake: what can't happen twice is sent anew")
def _(w):
    for call in AGAIN:
        for how, step in BREAKS.items():
            with w.both(step) as (api, caller):
                worked(caller.call(**call))
                api.script(step)
                worked(caller.call(**call))
                equal(len(api.requests), 4, f"requests of {call}, broken {how}")
                equal(len({(r.method, r.path, r.body) for r in api.requests}), 1, "different requests")


@test("fake: a body that nobody reads")
def _(w):
    def refuse(sock):
        with api.context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(100)
            Connection(tls, 0).reset()

    with w.both() as (api, caller):
        api.before_tls.put(refuse)
        failed(caller.call(**CREATE | {"object": configmap("b", v=20_000_000 * "x")}), "ECONNRESET")
        worked(caller.call(**GET))


@test("fake: an idle connection that the server ended fails no request")
def _(w):
    for call in (GET, CREATE):
        with w.both(then_close(answer({}))) as (api, caller):
            worked(caller.call(**call))
            until(lambda: not api.open, "the connection is gone")
            worked(caller.call(**call))
            api.cut()
            until(lambda: not api.open, "the connection is gone")
            worked(caller.call(**call))
            equal([r.connection for r in api.requests], [1, 2, 3], "the connections of the requests")


@test("fake: a connection is kept between requests, and after an error that the server tells")
def _(w):
    with w.both(answer({}), status(404), status(500), answer({}, headers={"Connection": "close"})) as (api, caller):
        for _ in range(5):
            caller.call(**GET)
        equal([r.connection for r in api.requests], [1, 1, 1, 1, 2], "the connections of the requests")


@test("fake: nobody listens")
def _(w):
    with dead_port() as port, w.caller(None, server=f"https://{HOST}:{port}") as caller:
        got = caller.call(**GET)
        failed(got, "ECONNREFUSED", GET_PATH, f"https://{HOST}:{port}", "kubeconfig", "is the API server up")
        check(got["ms"] < 3000, f"it took {got['ms']} ms")


# ---- Answers


@test("fake: an answer that doesn't end ends with the timeout")
def _(w):
    text = message(200, b'{"kind":"' + 10000 * b"x" + b'"}')
    for step in (drip(text), hang):
        with w.both(step) as (api, caller):
            got = caller.call(verb="do", method="GET", path="/x", timeoutMs=1200)
            failed(got, "ETIMEDOUT", "GET /x")
            check(1000 <= got["ms"] < 5000, f"it took {got['ms']} ms")
            equal(len(api.requests), 1, "requests")
            worked(caller.call(**GET))


@test("fake: a packed answer")
def _(w):
    with w.both(packed(json.dumps(configmap("b", v=300_000 * "x")).encode())) as (_api, caller):
        equal(len(worked(caller.call(**GET))["data"]["v"]), 300_000, "the length")


@test("fake: too large, plain, packed and without an end")
def _(w):
    large = b'{"kind":"' + ANSWER_MAX * b"x" + b'"}'
    endless = raw(b"HTTP/1.1 200 OK\r\n\r\n" + large)
    for step in (answer(large), packed(large), endless):
        with w.both(step) as (api, caller):
            failed(caller.call(**GET), "EFBIG", "larger than 67108864 bytes", GET_PATH)
            equal(len(api.requests), 1, "requests")
            worked(caller.call(**GET))


@test("fake: headers too large")
def _(w):
    lines = b"".join(b"X-%d: %s\r\n" % (i, 1000 * b"y") for i in range(80))
    with w.both(raw(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\n{}")) as (_api, caller):
        failed(caller.call(**GET), "EIO", "headers are larger than 65536 bytes")


@test("fake: what is no answer of an API server")
def _(w):
    cases = {
        b"<html>login secret</html>": "it is not JSON, at byte 1 of 25",
        b'{"kind":': "it ends too early",
        b'{"a":1,"a":2}': "a key is there twice",
        b'{"a":1e999}': "a number is beyond what a double holds",
        b"": "without an object",
        b"[1]": "without an object",
    }
    with w.both() as (api, caller):
        for body, words in cases.items():
            api.script(answer(body))
            got = caller.call(**GET)
            failed(got, "EIO", f"{GET_PATH}: answered 200", words)
            check("secret" not in got["message"], f"the answer is in: {got['message']}")
        api.script(answer(b"not packed", headers={"Content-Encoding": "gzip"}))
        failed(caller.call(**GET), "EIO", GET_PATH)
        api.script(raw(b"SSH-2.0-OpenSSH_9\r\n\r\n"))
        failed(caller.call(**GET), "EIO", GET_PATH)
        api.script(answer(b"<html>bad gateway</html>", 502))
        failed(caller.call(**GET), "EIO", "answered 502, without the API server's word on why")


@test("fake: a redirect isn't followed with our token")
def _(w):
    with w.api() as other, w.both() as (api, caller):
        for code in (301, 302, 307, 308):
            for call in (GET, CREATE):
                api.script(answer(b"", code, {"Location": f"{other.url}/login"}))
                failed(caller.call(**call), "EINVAL", f"answered {code}", "redirects are not followed")
        equal((other.accepted, len(api.requests)), (0, 8), "connections to the other, requests")


# ---- TLS


@test("fake: certificates that prove nothing, and no request is sent")
def _(w):
    cases = {
        "another name": dict(pair=w.certificates.pair("name", "DNS:other.test")),
        "unknown CA": dict(pair=w.certificates.pair("stranger", ca="strange-ca")),
        "itself": dict(pair=w.certificates.ca("self")),
    }
    for what, options in cases.items():
        with FakeApi(**options) as api, w.caller(api) as caller:
            got = caller.call(**GET)
            failed(got, "EPROTO", GET_PATH, api.url, "certificate-authority must hold")
            check(got["ms"] < 3000, f"{what}: it took {got['ms']} ms")
            equal(api.paths(), [], f"{what}: requests")


@test("fake: the config's CA alone is trusted")
def _(w):
    # The trap of SSL_CERT_FILE in the environment names nothing; here it names the server's CA.
    with w.api() as api:
        os.environ["SSL_CERT_FILE"] = w.certificates.ca()[0]
        with w.caller(api, ca="strange-ca") as caller:
            failed(caller.call(**GET), "EPROTO")
        equal(api.paths(), [], "requests")


@test("fake: insecure means that any certificate does")
def _(w):
    pair = w.certificates.pair("worst", "DNS:other.test", ca="strange-ca")
    with FakeApi(pair) as api, w.caller(api, ca=None, insecure_skip_tls_verify=True) as caller:
        worked(caller.call(**GET))


@test("fake: a server name of its own: asked for, verified, and not the Host")
def _(w):
    with FakeApi(w.certificates.pair("name", "DNS:other.test")) as api:
        with w.caller(api, tls_server_name="other.test") as caller:
            worked(caller.call(**GET))
            worked(caller.call(**GET))
            equal(api.names, ["other.test"], "names asked for")
            equal([r.headers["host"] for r in api.requests], 2 * [f"{HOST}:{api.port}"], "hosts")
        with w.caller(api, tls_server_name="third.test") as caller:
            failed(caller.call(**GET), "EPROTO", "third.test")
        equal(len(api.requests), 2, "requests")


@test("fake: a server name through proxies, which connect to the host")
def _(w):
    with FakeApi(w.certificates.pair("name", "DNS:other.test")) as api, Proxy(api.port) as proxy:
        for scheme, asked in (("http", f"{HOST}:{api.port}"), ("socks5", f"address {HOST}:{api.port}")):
            url = f"{scheme}://{HOST}:{proxy.port}"
            with w.caller(api, tls_server_name="other.test", proxy_url=url) as caller:
                worked(caller.call(**GET))
                equal(proxy.asked.pop(), asked, "where the proxy was asked to connect")
        check(TOKEN not in "".join(proxy.heads), "the proxy got the token")


@test("fake: a SOCKS proxy looks the name up itself")
def _(w):
    with w.api() as api, Proxy(api.port) as proxy:
        server = f"https://localhost:{api.port}"
        with w.caller(api, server=server, proxy_url=f"socks5://{HOST}:{proxy.port}") as caller:
            worked(caller.call(**GET))
        equal(proxy.asked, [f"name localhost:{api.port}"], "where the proxy was asked to connect")


@test("fake: a proxy that isn't there")
def _(w):
    with dead_port() as port, w.api() as api, w.caller(api, proxy_url=f"http://{HOST}:{port}") as caller:
        failed(caller.call(**GET), "ECONNREFUSED", GET_PATH)
        equal(api.paths(), [], "requests")


@test("fake: no TLS where TLS is expected, and an end in the handshake")
def _(w):
    with w.both() as (api, caller):
        api.before_tls.put(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") or sock.recv(10000))
        failed(caller.call(**GET), "EPROTO", GET_PATH)
        equal(api.accepted, 1, "connections")
        api.before_tls.put(lambda sock: sock.recv(10))
        api.before_tls.put(lambda sock: sock.close())
        worked(caller.call(**GET))
        equal(api.accepted, 4, "connections")


@test("fake: a client certificate is shown, its successor as soon as it is there")
def _(w):
    files = w.folder / "client.crt", w.folder / "client.key"

    def put(name):
        for source, target in zip(w.certificates.pair(name, "DNS:x", ca="client-ca"), files):
            fresh = target.with_suffix(".new")
            fresh.write_bytes(pathlib.Path(source).read_bytes())
            fresh.rename(target)

    put("first")
    with w.api(client_ca=w.certificates.ca("client-ca")[0]) as api:
        with w.caller(api, token=None, client=[str(f) for f in files]) as caller:
            worked(caller.call(**GET))
            worked(caller.call(**GET))
            put("second")

            def shown():
                worked(caller.call(**GET))
                return "second" in api.clients

            until(shown, "the second certificate is shown")
            equal(api.clients, ["first", "second"], "certificates shown")


@test("fake: a client certificate is missing")
def _(w):
    with w.api(client_ca=w.certificates.ca("client-ca")[0]) as api, w.caller(api) as caller:
        failed(caller.call(**GET), "EPROTO", GET_PATH)


@test("fake: a new CA counts for the next connection")
def _(w):
    ca = w.folder / "ca.pem"
    ca.write_bytes(pathlib.Path(w.certificates.ca("strange-ca")[0]).read_bytes())
    path = w.folder / "kubeconfig-ca"
    with w.api() as api:
        write_kubeconfig(path, api.url, ca=ca, token=TOKEN)
        with Caller(BINARY, path, "--qps", "1000", secrets=[TOKEN]) as caller:
            failed(caller.call(**GET), "EPROTO")
            ca.write_bytes(pathlib.Path(w.certificates.ca()[0]).read_bytes())
            worked(caller.call(**GET))
            # And the old one doesn't any more: a store that only grows would trust both.
            ca.write_bytes(pathlib.Path(w.certificates.ca("strange-ca")[0]).read_bytes())
            api.cut()
            until(lambda: not api.open, "the connection is gone")
            failed(caller.call(**GET), "EPROTO")


# ---- HTTP/2


@test("fake h2: requests share a connection, and 1.1 is spoken where it is all there is")
def _(w):
    with w.api(alpn=("h2", "http/1.1")) as api, w.caller(api) as caller:
        api.script(answer2({"kind": "x"}), answer2({}), answer2({}))
        equal(worked(caller.call(**GET)), {"kind": "x"}, "the object")
        worked(caller.call(**CREATE))
        worked(caller.call(**GET))
        equal([(r.method, r.connection) for r in api.requests], 3 * [("h2", 1)], "requests")


@test("fake h2: a connection that went silent is not used again")
def _(w):
    with w.api(alpn=("h2",)) as api, w.caller(api) as caller:
        api.script(answer2({}), silent2, answer2({}))
        worked(caller.call(**GET))
        failed(caller.call(verb="do", method="GET", path="/x", timeoutMs=1000), "ETIMEDOUT")
        worked(caller.call(verb="do", method="GET", path="/x", timeoutMs=10000))
        equal([r.connection for r in api.requests], [1, 1, 2], "the connections of the requests")


@test("fake h2: a stream that was refused, and a connection that ended, fail no GET")
def _(w):
    for step in (refuse2, close2):
        with w.api(alpn=("h2",)) as api, w.caller(api) as caller:
            api.script(answer2({}), step, answer2({"kind": "x"}))
            worked(caller.call(**GET))
            equal(worked(caller.call(**GET)), {"kind": "x"}, "the object")
            equal([r.connection for r in api.requests], [1, 1, 2], "the connections of the requests")


@test("fake h2: a POST whose connection ended is not sent again")
def _(w):
    with w.api(alpn=("h2",)) as api, w.caller(api) as caller:
        api.script(answer2({}), close2, answer2({}))
        worked(caller.call(**GET))
        failed(caller.call(**CREATE), "ECONNRESET")
        equal(len(api.requests), 2, "requests")


# ---- Stop, limit, pool


def stops(caller, error="ECANCELED"):
    """Has it stop, and expects the call under way to end soon."""
    start = time.monotonic()
    caller.signal(signal.SIGUSR1)
    got = caller.finish()
    took = time.monotonic() - start
    failed(got, error, "the program stops")
    check(took < 5, f"it took {took:.1f} s")  # of the 20 and more that it would have waited


@test("fake: stop ends a request under way, and there is no later one")
def _(w):
    with w.both(hang) as (api, caller):
        caller.start(**GET)
        until(lambda: api.requests, "the request has come")
        stops(caller)
        failed(caller.call(**GET), "ECANCELED")
        equal(len(api.requests), 1, "requests")


@test("fake: stop ends the wait that the server asked for")
def _(w):
    with w.both(answer(b"", 429, {"Retry-After": "25"})) as (api, caller):
        caller.start(**GET)
        until(lambda: api.requests, "the request has come")
        stops(caller)


@test("fake: stop ends the wait for the rate limit")
def _(w):
    with w.api() as api, w.caller(api, "--qps", "0.05", "--burst", "1") as caller:
        worked(caller.call(**GET))
        caller.start(**GET)
        stops(caller)
        equal(len(api.requests), 1, "requests")


@test("fake: the rate limit")
def _(w):
    with w.api() as api, w.caller(api, "--qps", "10", "--burst", "2") as caller:
        start = time.monotonic()
        for _ in range(8):
            worked(caller.call(**GET))
        took = time.monotonic() - start
        check(0.6 <= took < 5, f"8 requests took {took:.2f} s")
        got = caller.call(verb="metrics")["result"]
        counts = re.findall(r"^rest_client_rate_limiter_duration_seconds_count\{[^}]*\} (\d+)", got, re.M)
        count = sum(map(int, counts))
        equal(count, 8, "waits in the metrics")


@test("fake: a rate limit that lets nothing through in time is an error at once")
def _(w):
    with w.api() as api, w.caller(api, "--qps", "0.01", "--burst", "1") as caller:
        worked(caller.call(**GET))
        got = caller.call(verb="do", method="GET", path="/x", timeoutMs=5000)
        failed(got, "ETIMEDOUT", "limit of 0.01 requests a second")
        check(got["ms"] < 2000, f"it took {got['ms']} ms")
        equal(len(api.requests), 1, "requests")


@test("fake: threads share a few connections")
def _(w):
    with w.both() as (api, caller):
        got = worked(caller.call(**GET, threads=16, times=25))
        equal(got, {"0": 400}, "how the calls ended")
        equal(len(api.requests), 400, "requests")
        check(api.accepted <= HANDLES_MAX, f"{api.accepted} connections")


@test("fake: threads with faults: each call ends once, one way or the other")
def _(w):
    with w.both() as (api, caller):
        api.script(*20 * [close, answer({}), TRUNCATED, status(404), reset, status(409)])
        got = worked(caller.call(**CREATE, threads=8, times=20))
        equal(got, {"0": 60, "ECONNRESET": 60, "ENOENT": 20, "EBUSY": 20}, "how the calls ended")
        equal(len(api.requests), 160, "requests")


@test("fake: who finds all connections busy waits no longer than it may")
def _(w):
    gate = threading.Event()

    def wait(connection, request):
        gate.wait(30)
        return answer({})(connection, request)

    # The last two too: a thread that began late may be given a connection at the end of the others' time, before that of its own.
    with w.both(*(HANDLES_MAX + 2) * [wait]) as (api, caller):
        caller.start(verb="do", method="GET", path="/x", timeoutMs=5000, threads=HANDLES_MAX + 2, times=1)
        until(lambda: len(api.requests) >= HANDLES_MAX, "all connections are busy")
        got = caller.finish()
        gate.set()
        equal(worked(got), {"ETIMEDOUT": HANDLES_MAX + 2}, "how the calls ended")
        check(got["ms"] < 15000, f"it took {got['ms']} ms")


@test("fake: metrics")
def _(w):
    with w.both(answer({}), status(404), status(429, retryAfterSeconds=1), answer({}), close, status(418)) as (_api, caller):
        for call in (GET, GET, GET, CREATE, CREATE):
            caller.call(**call)
        text = caller.call(verb="metrics")["result"]
        lines = dict(re.findall(r"^(rest_client_[^ ]*) ([1-9].*)$", text, re.M))
        host = set(re.findall(r'host="([^"]*)"', text))
        check(len(host) == 1 and re.fullmatch(r"127\.0\.0\.1:\d+", (where := host.pop())), f"the API server is {where}")
        for name, value in {
            'rest_client_requests_total{code="200",method="GET",host="%s"}': "2",
            'rest_client_requests_total{code="404",method="GET",host="%s"}': "1",
            'rest_client_requests_total{code="429",method="GET",host="%s"}': "1",
            'rest_client_requests_total{code="<error>",method="POST",host="%s"}': "1",
            'rest_client_requests_total{code="other",method="POST",host="%s"}': "1",
            'rest_client_request_retries_total{code="429",verb="GET",host="%s"}': "1",
            'rest_client_request_duration_seconds_count{verb="GET",host="%s"}': "4",
            'rest_client_request_duration_seconds_count{verb="POST",host="%s"}': "2",
            'rest_client_rate_limiter_duration_seconds_count{verb="GET",host="%s"}': "4",
        }.items():
            equal(lines.get(name % where), value, name)
        equal([line for line in lines if 'method="PUT"' in line], [], "series of what never was asked")


# ---- Lists


def page(names, more=None, version="9", **head):
    meta = {"resourceVersion": version} | ({"continue": more} if more else {})
    items = [{"metadata": {"name": n}} for n in names]
    return answer({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": items} | head)


def names(result):
    return [item["metadata"]["name"] for item in result["items"]]


@test("fake list: pages, selectors, kinds")
def _(w):
    with w.both(page("ab", "t=1&"), page("c", version="10")) as (api, caller):
        got = worked(caller.call(**LIST, labels="a in (b, c)", fields="metadata.name=x"))
        equal((names(got), got["pages"], got["resourceVersion"]), (["a", "b", "c"], 2, "10"), "the list")
        check(all(i["kind"] == "ConfigMap" and i["apiVersion"] == "v1" for i in got["items"]), f"kinds of {got['items']}")
        query = "/api/v1/namespaces/a/configmaps?labelSelector=a%20in%20%28b%2C%20c%29&fieldSelector=metadata.name%3Dx&limit="
        equal(api.paths(), [f"GET {query}500", f"GET {query}500&continue=t%3D1%26"], "requests")


@test("fake list: one that expires midway starts over without pages, once")
def _(w):
    gone = status(410, "Expired", "too old")
    with w.both(page("ab", "t"), gone, page("xyz")) as (api, caller):
        got = worked(caller.call(**LIST, page=2))
        equal((names(got), got["restarts"]), (["x", "y", "z"], 1), "the list")
        equal([p.partition("?")[2] for p in api.paths()], ["limit=2", "limit=2&continue=t", ""], "queries")
    with w.both(page("ab", "t"), gone, gone) as (api, caller):
        failed(caller.call(**LIST), "ESTALE", "too old")
        equal(len(api.requests), 3, "requests")
    with w.both(gone) as (api, caller):
        failed(caller.call(**LIST), "ESTALE", "too old")
        equal(len(api.requests), 1, "requests")


@test("fake list: a page that is too large is asked for in smaller ones")
def _(w):
    large = answer(b'{"items":["' + ANSWER_MAX * b"x" + b'"]}')
    with w.both(page("a", "t"), large, large, page("bc", "u"), page("d")) as (api, caller):
        got = worked(caller.call(**LIST))
        equal((names(got), got["restarts"]), (["a", "b", "c", "d"], 0), "the list")
        equal([p.partition("?")[2] for p in api.paths()], [
            "limit=500", "limit=500&continue=t", "limit=62&continue=t", "limit=7&continue=t", "limit=7&continue=u"], "queries")


@test("fake list: what is no list")
def _(w):
    with w.both(answer({"kind": "Pod"}), page("ab", "t"), status(403, "Forbidden", "no")) as (_api, caller):
        failed(caller.call(**LIST), "EIO", "GET /api/v1/namespaces/a/configmaps: the answer is no list")
        failed(caller.call(**LIST), "EPERM", "no")


@test("fake list: metadata only is asked for, and taken as it comes")
def _(w):
    head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    with w.both(page("a", **head)) as (api, caller):
        got = worked(caller.call(**LIST, metadataOnly=True))
        equal(got["items"][0]["kind"], "PartialObjectMetadata", "the kind")
        equal(api.requests[0].headers["accept"],
              "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json", "what is accepted")


@test("fake: versions")
def _(w):
    with w.both() as (api, caller):
        api.script(answer({"major": "1", "minor": "27+", "gitVersion": "v1.27.3-eks"}))
        equal(worked(caller.call(verb="version")), {"major": 1, "minor": 27, "git": "v1.27.3-eks"}, "the version")
        for value in ({}, {"major": "", "minor": "1"}, {"major": "1", "minor": "x"}, {"major": 1, "minor": 2}):
            api.script(answer(value))
            failed(caller.call(verb="version"), "EIO", "GET /version")


# ---- A real API server


@test("real: an object's life")
def _(w):
    with w.admin() as caller:
        where = {"resource": "configmaps", "ns": "default", "name": "life"}
        made = worked(caller.call(**where | {"verb": "create", "object": configmap("life", a="1")}))
        failed(caller.call(**where | {"verb": "create", "object": configmap("life")}), "EEXIST", "AlreadyExists", '"life"')
        got = worked(caller.call(verb="get", **where))
        equal((got["kind"], got["data"]), ("ConfigMap", {"a": "1"}), "kind and data")
        changed = worked(caller.call(verb="update", object=got | {"data": {"a": "2"}}, **where))
        equal(changed["data"], {"a": "2"}, "the data")
        failed(caller.call(verb="update", object=made, **where), "EBUSY", "409 Conflict", "the object has been modified")
        patched = worked(caller.call(verb="patch", object={"data": {"a": None, "b": "3"}}, **where))
        equal(patched["data"], {"b": "3"}, "the data")
        failed(caller.call(verb="delete", uid="another", **where), "EBUSY", "does not match the UID")
        failed(caller.call(verb="delete", resourceVersion=made["metadata"]["resourceVersion"], **where), "EBUSY")
        worked(caller.call(verb="delete", uid=made["metadata"]["uid"], **where))
        failed(caller.call(verb="get", **where), "ENOENT",
               'GET /api/v1/namespaces/default/configmaps/life: answered 404 NotFound: configmaps "life" not found')
        failed(caller.call(verb="delete", **where), "ENOENT")


@test("real: server-side apply, and its conflicts")
def _(w):
    with w.admin() as caller:
        def apply(manager, **more):
            return caller.call(verb="apply", resource="configmaps", ns="default", manager=manager, **more)

        worked(apply("one", object=configmap("ssa", a="1", b="1", c="1")))
        failed(apply("two", object=configmap("ssa", a="2")), "EBUSY", "409 Conflict", '"one"', ".data.a")
        failed(apply("two", object=configmap("ssa", a="2", b="2")), "EBUSY", '"one"', ".data.a", ".data.b")
        got = worked(apply("two", object=configmap("ssa", a="2"), force=True))
        equal(got["data"], {"a": "2", "b": "1", "c": "1"}, "the data")
        got = worked(apply("one", object=configmap("ssa", b="1")))
        equal(got["data"], {"a": "2", "b": "1"}, "the data")


@test("real: the status of a deployment, by subresource")
def _(w):
    labels = {"app": "x"}
    container = {"name": "m", "image": "none.invalid/none"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}
    with w.admin() as caller:
        where = {"resource": "deployments", "ns": "default", "name": "d"}
        worked(caller.call(**where, verb="create", object=deployment))
        patch = {"status": {"replicas": 3}, "spec": {"replicas": 7}}
        got = worked(caller.call(**where, verb="patch", subresource="status", object=patch))
        equal((got["status"]["replicas"], got["spec"]["replicas"]), (3, 1), "status and spec")
        failed(caller.call(**where, verb="patch", object={"spec": {"replicas": -1}}), "EINVAL", "422 Invalid", "spec.replicas")


@test("real: lists in pages, by selector and of metadata, with texts that hold U+0000")
def _(w):
    with w.admin() as caller:
        worked(caller.call(verb="create", resource="namespaces", object={"metadata": {"name": "lists"}}))
        for i in range(25):
            value = configmap(f"c{i:02}", v="a\0b" if i == 3 else "x")
            value["metadata"]["labels"] = {"odd": str(i % 2)}
            worked(caller.call(verb="create", resource="configmaps", ns="lists", object=value))
        where = {"verb": "list", "resource": "configmaps", "ns": "lists"}
        got = worked(caller.call(**where, page=10))
        equal((names(got), got["pages"]), ([f"c{i:02}" for i in range(25)], 3), "all, in pages")
        check(all(i["kind"] == "ConfigMap" and i["apiVersion"] == "v1" for i in got["items"]), "kinds")
        equal(got["items"][3]["data"]["v"], "a\0b", "the text with U+0000")
        check(got["resourceVersion"].isdigit(), f"the version is {got['resourceVersion']}")
        equal(worked(caller.call(**where, labels="odd=1"))["count"], 12, "with the label")
        equal(names(worked(caller.call(**where, fields="metadata.name=c07"))), ["c07"], "with the name")
        partial = worked(caller.call(**where, metadataOnly=True))
        equal(partial["count"], 25, "of metadata")
        equal({i["kind"] for i in partial["items"]}, {"PartialObjectMetadata"}, "kinds")
        check(all("data" not in i for i in partial["items"]), "there is data")
        everywhere = worked(caller.call(verb="list", resource="configmaps"))
        check(everywhere["count"] >= 25, f"{everywhere['count']} in all namespaces")
        equal(worked(caller.call(verb="list", resource="leases", ns="lists"))["items"], [], "an empty list")
        failed(caller.call(**where, labels="!!"), "EINVAL", "400 BadRequest")


@test("real: what the cluster has")
def _(w):
    with w.admin() as caller:
        equal(worked(caller.call(verb="version"))["minor"], 20, "the minor version")
        for resource in ("pods", "leases", "customresourcedefinitions", "events", "runtimeclasses"):
            equal(worked(caller.call(verb="has", resource=resource)), 1, resource)
        equal(worked(caller.call(verb="has", resource="confidentialprofiles")), 0, "a group that isn't there")
        absent = {"group": "apps", "version": "v1", "plural": "teapots"}
        equal(worked(caller.call(verb="has", resource=absent)), 0, "a resource that isn't there")
        missing = caller.call(verb="list", resource="confidentialprofiles")
        failed(missing, "ENOENT", "404")


@test("real: who may not, and who isn't anyone")
def _(w):
    with w.admin("alice") as caller:
        failed(caller.call(verb="list", resource="secrets"), "EPERM", "403 Forbidden", 'User "alice"')
    kubeconfig = w.folder / "kubeconfig-nobody"
    write_kubeconfig(kubeconfig, w.cluster.url, ca=f"{w.cluster.dir}/certs/apiserver.crt", token=TOKEN)
    with Caller(BINARY, kubeconfig, secrets=[TOKEN]) as caller:
        failed(caller.call(verb="list", resource="secrets"), "EACCES", "401 Unauthorized")


@test("real: threads")
def _(w):
    with w.admin() as caller:
        got = worked(caller.call(verb="apply", resource="configmaps", ns="default", manager="m",
                                 object=configmap("crowd", a="1"), threads=8, times=25))
        equal(got, {"0": 200}, "how the calls ended")


@test("real: an API server that starts anew, and one that freezes")
def _(w):
    call = {"verb": "get", "resource": "namespaces", "name": "default"}
    with w.admin() as caller:
        worked(caller.call(**call))
        w.cluster.stop_apiserver()
        failed(caller.call(**call), "ECONNREFUSED")
        w.cluster.start_apiserver()
        worked(caller.call(**call))
        w.cluster.pause_apiserver()
        try:
            failed(caller.call(verb="do", method="GET", path="/version", timeoutMs=1000), "ETIMEDOUT")
        finally:
            w.cluster.resume_apiserver()
        worked(caller.call(**call))


@test("real: a call from the command line")
def _(w):
    with Caller(BINARY, w.cluster.kubeconfig(), json.dumps({"verb": "version"})) as caller:
        equal(caller.finish()["result"]["git"], "v1.20.2", "the version")


if __name__ == "__main__":
    main(world())
