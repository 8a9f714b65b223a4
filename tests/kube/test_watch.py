#!/usr/bin/python3
"""Drives watch_probe (argv[1]): watch streams against a server that does what a script says, and a real API server.

Nothing sleeps for a fixed time: each wait is for a line of the probe or for a condition, with a deadline.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import queue
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib"), str(HERE.parent / "e2e")]

from cluster import Cluster
from fake_server import (BINARY, CONTINUATION, HOST, PING, PONG, TEXT, Authority, FakeServer, Gone, dead_port, make_chunk,
                         make_frame, make_status)
from tap import check, equal, main, test

PROBE = "build/tests/watch_probe"
if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
    PROBE = sys.argv.pop(1)
SANITIZED = any(word in pathlib.Path(PROBE).read_bytes() for word in (b"__asan_init", b"__tsan_init"))
DEADLINE_S = 60
EVENT_MAX = 8 * 1024 * 1024
BODY_MAX = 64 * 1024
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="coco-watch-"))
CA = Authority(SCRATCH)
PAIR = CA.sign("server")
_numbers = itertools.count()


def until(condition, what, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"never happened in {deadline_s} s: {what}")
        select.select([], [], [], 0.01)


def write_kubeconfig(server, user=None, **cluster):
    path = SCRATCH / f"config{next(_numbers)}"
    cluster = {"server": server, "certificate-authority": str(CA.ca)} | cluster
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {k: v for k, v in cluster.items() if v is not None}}],
        "users": [{"name": "test", "user": {"token": "abc"} if user is None else user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }))
    return path


class Probe:
    """The program, whose lines are kept in the order in which they came."""

    def __init__(self, kubeconfig, *options, env=None):
        self.log = tempfile.TemporaryFile()
        argv = [PROBE, "--kubeconfig", str(kubeconfig), *map(str, options)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=os.environ | (env or {}))
        self.lines, self.changed = [], threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the probe doesn't end") from None
        finally:
            self.reader.join(DEADLINE_S)
            self.process.stdout.close()
        if kind is None:
            equal((status, self.errors()), (0, ""), "exit status and stderr")
            equal(self.of(call="late"), [], "calls after a cancel")

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.lines.append({"call": "eof"})
            self.changed.notify_all()

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def of(self, **wanted):
        with self.changed:
            return [line for line in self.lines if all(line.get(k) == v for k, v in wanted.items())]

    def wait(self, n=1, **wanted):
        """The n-th line of that kind."""
        with self.changed:
            def there():
                return len(self._of(wanted)) >= n or self.lines[-1:] == [{"call": "eof"}]

            self.changed.wait_for(there, DEADLINE_S)
            lines = self._of(wanted)
            check(len(lines) >= n, f"{len(lines)} lines of {wanted} instead of {n}; there are {self.lines[-20:]}, and "
                                   f"on stderr {self.errors()}")
            return lines[n - 1]

    def _of(self, wanted):
        return [line for line in self.lines if all(line.get(k) == v for k, v in wanted.items())]

    def ended(self, name):
        line = self.wait(id=name, call="ended")
        return line["http"], line["reason"]

    def events(self, name):
        return [line["text"] for line in self.of(id=name, call="event")]

    def memory(self):
        n = len(self.of(call="memory"))
        self.do("memory")
        return self.wait(n + 1, call="memory")


@contextlib.contextmanager
def fake(scripts, *options, user=None, cluster=None, prefix="", pair=PAIR, **server_options):
    """A server and a probe that is configured for it."""
    with FakeServer(scripts, pair, **server_options) as server:
        scheme = "https" if server.tls else "http"
        host = f"[{server.host}]" if ":" in server.host else server.host
        config = write_kubeconfig(f"{scheme}://{host}:{server.port}{prefix}", user, **(cluster or {}))
        with Probe(config, *options) as probe:
            yield server, probe


def in_order(http, reason):
    check(http == 200 and "ended the stream" in reason, f"not ended in order: {http} {reason}")


def broken(ended, words):
    http, reason = ended
    check(http == 0 and words in reason, f"ended with {http} {reason!r}, without {words!r}")


# ---- WebSocket


@test("the handshake says who we are, and what for")
def _():
    def script(c):
        c.upgrade()
        c.close(1000)

    with fake({"/api/v1/pods": script}) as (server, probe):
        probe.do("open", "a", "/api/v1/pods?watch=true&resourceVersion=5")
        in_order(*probe.ended("a"))
        (request,) = server.requests()
        equal(request.target, "/api/v1/pods?watch=true&resourceVersion=5", "the path")
        wanted = {"authorization": "Bearer abc", "accept": "application/json", "user-agent": "watch_probe/0",
                  "host": f"{HOST}:{server.port}", "origin": f"https://{HOST}:{server.port}"}
        equal({k: request.headers.get(k) for k in wanted}, wanted, "headers")
        check("sec-websocket-extensions" not in request.headers, "an extension is asked for")
        check("sec-websocket-protocol" not in request.headers, "a protocol is asked for")


@test("several messages in one segment, with the handshake's answer before them")
def _():
    def script(c):
        c.send(c.upgrade_head() + b"".join(make_frame(TEXT, f"event {i}") for i in range(100)) + make_frame(8, b"\x03\xe8"))

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(probe.events("a"), [f"event {i}" for i in range(100)], "events")
        calls = [line["call"] for line in probe.of(id="a")]
        equal((calls[0], calls[-1], calls.count("opened")), ("opened", "ended", 1), "the calls' order")


@test("byte by byte")
def _():
    def script(c):
        c.send_bytewise(c.upgrade_head() + make_frame(TEXT, "first") + make_frame(TEXT, "x" * 300) + make_frame(PING, "p")
                        + make_frame(TEXT, "a", fin=False) + make_frame(CONTINUATION, "b") + make_frame(8, b"\x03\xe8"))

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(probe.events("a"), ["first", "x" * 300, "ab"], "events")


@test("a message in many fragments, with pings and empty ones between them")
def _():
    parts = [f"<{i}>" + "y" * (i * 37 % 9000) for i in range(60)]

    def script(c):
        c.upgrade()
        c.send(make_frame(TEXT, "", fin=False))
        for i, part in enumerate(parts):
            c.send(make_frame(CONTINUATION, part, fin=False))
            if i % 7 == 0:
                c.send(make_frame(PING, "hello"))
            if i % 11 == 0:
                c.send(make_frame(CONTINUATION, "", fin=False))
        c.send(make_frame(CONTINUATION, "", fin=True))
        c.send(make_frame(BINARY, "binary"))
        c.close(1000)

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal([line["bytes"] for line in probe.of(id="a", call="event")], [sum(map(len, parts)), 6], "sizes")


@test("pings of the server are answered")
def _():
    answers = queue.Queue()

    def script(c):
        c.upgrade()
        c.send(make_frame(PING, "are you there"))
        answers.put(c.read_frame())
        c.close(1000)

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(answers.get(timeout=DEADLINE_S), (PONG, b"are you there"), "the answer")


@test("events that came whole before the connection broke are told before the end, each once")
def _():
    def script(c):
        c.upgrade()
        c.text(*(f"{i} " + "z" * (i % 700) for i in range(3000)))  # and the socket is closed

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "the connection broke")
        equal(probe.events("a"), [f"{i} " + "z" * (i % 700) for i in range(3000)], "events")


@test("the connection breaks within a frame, and between two fragments")
def _():
    def in_frame(c):
        c.upgrade()
        c.send(make_frame(TEXT, "whole") + make_frame(TEXT, "x" * 6000)[:5000])

    def in_message(c):
        c.upgrade()
        c.send(make_frame(TEXT, "whole") + make_frame(TEXT, "half", fin=False))

    def close_in_message(c):
        c.upgrade()
        c.send(make_frame(TEXT, "whole") + make_frame(TEXT, "half", fin=False))
        c.close(1000)

    with fake({"/frame": in_frame, "/message": in_message, "/close": close_in_message}) as (_, probe):
        for name in ("frame", "message", "close"):
            probe.do("open", name, f"/{name}")
            broken(probe.ended(name), "the connection broke")
            equal(probe.events(name), ["whole"], f"events of {name}")


@test("a close says how it is meant")
def _():
    def ends(code, reason):
        def script(c):
            c.upgrade()
            c.close(code, reason)
        return script

    def without_code(c):
        c.upgrade()
        c.send(make_frame(8))

    with fake({"/normal": ends(1000, "bye"), "/away": ends(1001, ""), "/error": ends(1011, "etcd\x07 is gone"),
               "/none": without_code}) as (_, probe):
        for name in ("normal", "away", "error", "none"):
            probe.do("open", name, f"/{name}")
        for name in ("normal", "away", "none"):
            in_order(*probe.ended(name))
        broken(probe.ended("error"), "WebSocket code 1011: etcd? is gone")


@test("an event of the maximum comes whole, one byte more ends the stream")
def _():
    def script(c):
        c.upgrade()
        c.text("m" * EVENT_MAX)
        c.send(make_frame(TEXT, "m" * EVENT_MAX, fin=False) + make_frame(CONTINUATION, "n"))
        c.text("never seen")
        c.wait_gone()

    def plain(c):
        if c.is_upgrade:
            c.answer(404)
            return
        c.start_chunks()
        c.chunk("m" * EVENT_MAX + "\n")
        c.chunk("m" * EVENT_MAX)
        c.chunk("n")
        c.wait_gone()

    with fake({"/w": script, "/plain": plain}) as (_, probe):
        for name, path in (("a", "/w"), ("b", "/plain")):
            probe.do("open", name, path)
            broken(probe.ended(name), f"an event has more than {EVENT_MAX} bytes")
            equal([line["bytes"] for line in probe.of(id=name, call="event")], [EVENT_MAX], "sizes")


@test("frames in no order end the stream")
def _():
    def begins_in_another(c):
        c.upgrade()
        c.send(make_frame(TEXT, "a", fin=False) + make_frame(TEXT, "b"))
        c.wait_gone()

    def goes_on(c):
        c.upgrade()
        c.send(make_frame(CONTINUATION, "a"))
        c.wait_gone()

    def not_allowed(c):
        c.upgrade()
        c.send(b"\xf1\x01a")  # reserved bits
        c.wait_gone()

    scripts = {"/begins": begins_in_another, "/goes": goes_on, "/reserved": not_allowed}
    with fake(scripts) as (_, probe):
        for name in ("begins", "goes", "reserved"):
            probe.do("open", name, f"/{name}")
            equal((probe.ended(name)[0], probe.events(name)), (0, []), name)


# ---- Refusals, and the plain way


@test("a refusal brings its status and its Status")
def _():
    codes = {403: "Forbidden", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}

    def refuses(code):
        return lambda c: c.answer(code, make_status(code, codes[code]))

    with fake({f"/{code}": refuses(code) for code in codes}) as (server, probe):
        for code, reason in codes.items():
            probe.do("open", code, f"/{code}")
            line = probe.wait(id=str(code), call="ended")
            equal((line["http"], json.loads(line["body"])["reason"]), (code, reason), "status and body")
            check(f"status {code}" in line["reason"], line["reason"])
            upgrade, plain = server.requests(f"/{code}")
            equal((upgrade.is_upgrade, plain.is_upgrade, plain.method), (True, False, "GET"), "requests")
            equal(plain.headers.get("authorization"), "Bearer abc", "the credential of the second")
        equal(probe.of(call="opened"), [], "opened")


@test("a refusal without a body, and one in chunks")
def _():
    def chunked(c):
        c.send("HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.chunk("half ")
        c.chunk("and half")
        c.end_chunks()

    with fake({"/none": lambda c: c.answer(403), "/chunked": chunked}) as (_, probe):
        for name, http, body in (("none", 403, None), ("chunked", 502, "half and half")):
            probe.do("open", name, f"/{name}")
            line = probe.wait(id=name, call="ended")
            equal((line["http"], line["body"]), (http, body), name)


@test("of a refusal's body, 64 KiB are kept")
def _():
    with fake({"/w": lambda c: c.answer(500, "b" * 300_000)}) as (_, probe):
        probe.do("open", "a", "/w")
        line = probe.wait(id="a", call="ended")
        equal((line["http"], len(line["body"])), (500, BODY_MAX), "status and size")


@test("a refusal whose body never ends is told in time")
def _():
    def script(c):
        c.send("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nbusy")
        c.wait_gone()

    with fake({"/w": script}, "--handshake-ms", 3000) as (_, probe):
        probe.do("open", "a", "/w")
        line = probe.wait(id="a", call="ended")
        equal((line["http"], line["body"]), (503, "busy"), "status and body")


@test("a redirect isn't followed")
def _():
    def script(c):
        c.answer(302, "elsewhere", ["Location: https://127.0.0.1:1/x"])

    with fake({"/w": script}) as (_, probe):
        probe.do("open", "a", "/w")
        line = probe.wait(id="a", call="ended")
        equal((line["http"], line["body"]), (302, "elsewhere"), "status and body")


def stripping_proxy(c):
    """What a proxy makes of it that takes the Upgrade away: the stream, as a plain answer."""
    c.start_chunks()
    with contextlib.suppress(Gone):
        c.chunk('{"n":1}\n{"n":2}\n{"n"')
        c.chunk(":3}\n")
        if c.is_upgrade:
            c.wait_gone()
        c.end_chunks()
        c.end_tls()


@test("where the upgrade is taken away, the stream comes plain, and later ones at once")
def _():
    with fake({"/w": stripping_proxy}) as (server, probe):
        for name in ("a", "b"):
            probe.do("open", name, "/w")
            in_order(*probe.ended(name))
            equal(probe.events(name), ['{"n":1}', '{"n":2}', '{"n":3}'], "events")
        equal([c.is_upgrade for c in server.requests()], [True, False, False], "which asked for an upgrade")


@test("after a while, the upgrade is tried again")
def _():
    with fake({"/w": stripping_proxy}, "--plain-ms", 1) as (server, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))

        def tried_again():
            name = f"n{next(_numbers)}"
            probe.do("open", name, "/w")
            in_order(*probe.ended(name))
            return [c.is_upgrade for c in server.requests()].count(True) > 1

        until(tried_again, "another upgrade")


@test("a refusal that passes by itself doesn't speak against upgrades")
def _():
    def script(c):
        if c.is_upgrade:
            c.answer(503)
        else:
            c.start_chunks()
            c.end_chunks()

    with fake({"/w": script}) as (server, probe):
        for name in ("a", "b"):
            probe.do("open", name, "/w")
            in_order(*probe.ended(name))
        # Each asks once more, as it may have passed.
        equal([c.is_upgrade for c in server.requests()], [True, False] * 4, "which asked for an upgrade")


@test("a refusal that has passed meanwhile makes no stream plain, nor later ones")
def _():
    def refused_once(code):
        left = [code]  # an API server that starts

        def script(c):
            if c.is_upgrade and left:
                c.answer(left.pop(), make_status(code, "Any"))
            elif c.is_upgrade:
                opens_and_ends(c)
            else:
                stripping_proxy(c)

        return script

    codes = (400, 401, 403, 404, 410, 429, 500, 501, 503)
    with fake({f"/{code}": refused_once(code) for code in codes}) as (server, probe):
        for code in codes:
            for number, wanted in enumerate(([True, False, True], [True])):
                before = len(server.requests(f"/{code}"))
                probe.do("open", f"{code}-{number}", f"/{code}")
                in_order(*probe.ended(f"{code}-{number}"))
                asked = [c.is_upgrade for c in server.requests(f"/{code}")[before:]]
                equal(asked, wanted, f"which asked for an upgrade, stream {number} after a {code}")
                equal(len(probe.of(id=f"{code}-{number}", call="opened")), 1, "how often it opened")


def plain_only(script):
    return lambda c: c.answer(400, "no WebSocket") if c.is_upgrade else script(c)


@test("a plain stream byte by byte, without a length, and with lines across chunks")
def _():
    events = [f'{{"n":{i}}}' for i in range(20)]
    lines = "".join(event + "\n" for event in events)

    def bytewise(c):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(lines[i:i + 17]), lines[i:i + 17].encode())
                          for i in range(0, len(lines), 17))
        c.send_bytewise(head + chunks + b"0\r\n\r\n")

    def until_close(c):
        c.send("HTTP/1.1 200 OK\r\n\r\n" + lines)
        c.end_tls()

    def large(c):
        c.start_chunks()
        for _ in range(40):
            c.chunk("x" * 30_000)
        c.chunk("\n" + lines)
        c.end_chunks()

    with fake({"/bytewise": plain_only(bytewise), "/close": plain_only(until_close), "/large": plain_only(large)}) as (_, probe):
        for name in ("bytewise", "close"):
            probe.do("open", name, f"/{name}")
            in_order(*probe.ended(name))
            equal(probe.events(name), events, f"events of {name}")
        probe.do("open", "large", "/large")
        in_order(*probe.ended("large"))
        equal([line["bytes"] for line in probe.of(id="large", call="event")][0], 1_200_000, "the first one's size")
        equal(probe.events("large")[1:], events, "events of large")


@test("a plain stream breaks within a line: what was whole is told")
def _():
    def script(c):
        c.start_chunks()
        c.chunk('{"n":1}\n{"n":')
        c.end_tls()

    with fake({"/w": plain_only(script)}) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "in the middle of an event")
        equal(probe.events("a"), ['{"n":1}'], "events")


@test("a body that isn't as its head says ends the stream")
def _():
    def script(c):
        c.start_chunks()
        c.chunk("good\n")
        c.send("zz\r\nbad\n")
        c.wait_gone()

    with fake({"/w": plain_only(script)}) as (_, probe):
        probe.do("open", "a", "/w")
        equal((probe.ended("a")[0] in (0, 200), probe.events("a")), (True, ["good"]), "the end, and events")


# ---- Silence


@test("a handshake that isn't answered ends in time")
def _():
    with fake({"/w": lambda c: c.wait_gone()}, "--handshake-ms", 300) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "no answer to the handshake in 300 ms")
    with fake({}, "--handshake-ms", 300, banner=b"") as (_, probe):
        probe.do("open", "b", "/w")
        broken(probe.ended("b"), "no answer to the handshake in 300 ms")


@test("a stream on which not even a pong comes is ended")
def _():
    pings = queue.Queue()

    def script(c):
        c.send(c.upgrade_head() + make_frame(TEXT, "one"))  # together, so that no silence comes between them
        pings.put(c.read_frame())
        c.wait_gone()

    with fake({"/w": script}, "--ping-ms", 100, "--silent-ms", 3000) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "no answer to a ping either")
        equal((probe.events("a"), pings.get(timeout=DEADLINE_S)), (["one"], (PING, b"")), "events and the ping")


@test("pongs keep a stream open")
def _():
    def answers(c):
        c.upgrade()
        for _ in range(8):
            equal(c.read_frame()[0], PING, "the frame's kind")
            c.send(make_frame(PONG))
        c.text("still there")
        c.close(1000)

    with fake({"/w": answers}, "--ping-ms", 100, "--silent-ms", 2000) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(probe.events("a"), ["still there"], "events")


@test("a plain stream is ended after its own time")
def _():
    def script(c):
        # Together, so that no silence comes between them.
        c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + make_chunk("one\n"))
        c.wait_gone()

    with fake({"/w": plain_only(script)}, "--silent-ms", 50, "--plain-silent-ms", 1500) as (_, probe):
        probe.do("open", "a", "/w")
        http, reason = probe.ended("a")
        milliseconds = int(reason.partition("nothing came for ")[2].partition(" ms")[0])
        check(http == 0 and milliseconds >= 1500, reason)
        equal(probe.events("a"), ["one"], "events")


# ---- Whom to trust


def opens_and_ends(c):
    c.upgrade()
    c.close(1000)


@test("a certificate for another name is refused, unless tls-server-name says it")
def _():
    other = CA.sign("other", "DNS:api.example.com")
    with fake({"/w": opens_and_ends}, pair=other) as (server, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "isn't for 127.0.0.1 (IP address mismatch)")
        equal(server.requests(), [], "requests")
    with fake({"/w": opens_and_ends}, pair=other, cluster={"tls-server-name": "api.example.com"}) as (server, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(server.requests()[0].headers["host"], f"api.example.com:{server.port}", "the host that is asked")
        equal(server.names, ["api.example.com"], "the name in TLS")
    with fake({"/w": opens_and_ends}, cluster={"tls-server-name": "example.com"}) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "isn't for example.com")


@test("a CA that isn't the configured one is refused, the system's too")
def _():
    folder = SCRATCH / "other-ca"
    folder.mkdir()
    stranger = Authority(folder)
    with fake({"/w": opens_and_ends}, pair=stranger.sign("server")) as (server, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "its certificate is not to be trusted: ")
        equal(server.requests(), [], "requests")
    with fake({"/w": opens_and_ends}, cluster={"certificate-authority": None}) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "its certificate is not to be trusted: ")


@test("an expired certificate is refused")
def _():
    expired = CA.sign("expired", days=-1)
    with fake({"/w": opens_and_ends}, pair=expired) as (_, probe):
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "certificate has expired")


@test("insecure-skip-tls-verify takes any certificate")
def _():
    cluster = {"certificate-authority": None, "insecure-skip-tls-verify": True}
    folder = SCRATCH / "insecure-ca"
    folder.mkdir()
    for pair in (CA.sign("other2", "DNS:api.example.com"), Authority(folder).sign("server", days=-1)):
        with fake({"/w": opens_and_ends}, pair=pair, cluster=cluster) as (_, probe):
            probe.do("open", "a", "/w")
            in_order(*probe.ended("a"))


@test("a CA file that isn't there fails streams by its name, until it is there")
def _():
    missing = SCRATCH / "later.crt"
    shutil.copy(CA.ca, missing)
    with fake({"/w": opens_and_ends}, cluster={"certificate-authority": str(missing)}) as (server, probe):
        probe.memory()  # it has read its configuration
        missing.unlink()
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "later.crt")
        equal(server.requests(), [], "requests")
        shutil.copy(CA.ca, missing)

        def works():
            name = f"n{next(_numbers)}"
            probe.do("open", name, "/w")
            return probe.ended(name)[0] == 200

        until(works, "a stream")


@test("a renewed CA counts for new connections, and the open ones go on")
def _():
    folder = SCRATCH / "new-ca"
    folder.mkdir()
    renewed = Authority(folder)
    trusted = SCRATCH / "trusted.crt"
    shutil.copy(CA.ca, trusted)
    gate = threading.Event()

    def waits(c):
        c.upgrade()
        gate.wait(DEADLINE_S)
        c.text("after")
        c.close(1000)

    with fake({"/w": opens_and_ends, "/waits": waits}, cluster={"certificate-authority": str(trusted)}) as (server, probe):
        probe.do("open", "old", "/waits")
        probe.wait(id="old", call="opened")
        server.context.load_cert_chain(*renewed.sign("server"))
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "not to be trusted")
        (SCRATCH / "trusted.new").write_bytes(renewed.ca.read_bytes())
        os.replace(SCRATCH / "trusted.new", trusted)

        def works():
            name = f"n{next(_numbers)}"
            probe.do("open", name, "/w")
            return probe.ended(name)[0] == 200

        until(works, "a stream under the new CA")
        gate.set()
        in_order(*probe.ended("old"))
        equal(probe.events("old"), ["after"], "events of the old one")


@test("a server without TLS, and one that isn't there, are told apart")
def _():
    with FakeServer({}, tls=False, banner=b"SSH-2.0-OpenSSH_9.2\r\n") as server:
        with Probe(write_kubeconfig(f"https://{HOST}:{server.port}")) as probe:
            probe.do("open", "a", "/w")
            broken(probe.ended("a"), "is this a TLS server")
    with dead_port() as port, Probe(write_kubeconfig(f"https://{HOST}:{port}")) as probe:
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "connection refused")


@test("http://, IPv6, a name, and a path before the API's")
def _():
    with fake({"/w": opens_and_ends}, tls=False) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
    with fake({"/w": opens_and_ends}, host="::1") as (server, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(server.requests()[0].headers["host"], f"[::1]:{server.port}", "the host that is asked")
        equal(server.names, [None], "an address is no name in TLS")
    with fake({"/k8s/clusters/c-1/api/v1/pods": opens_and_ends}, prefix="/k8s/clusters/c-1") as (server, probe):
        probe.do("open", "a", "/api/v1/pods?watch=true")
        in_order(*probe.ended("a"))
    with fake({"/w": opens_and_ends}) as (server, _):
        with Probe(write_kubeconfig(f"https://localhost:{server.port}")) as probe:
            probe.do("open", "a", "/w")
            in_order(*probe.ended("a"))
            equal(server.names[-1], "localhost", "the name in TLS")


# ---- Credentials


@test("after a 401, the token is read again, and the upgrade tried again")
def _():
    token = SCRATCH / "token"
    token.write_text("old")

    def script(c):
        if c.headers["authorization"] != "Bearer new":
            token.write_text("new")
            c.answer(401, make_status(401, "Unauthorized"))
        else:
            opens_and_ends(c)

    with fake({"/w": script}, user={"tokenFile": str(token)}) as (server, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal([(c.is_upgrade, c.headers["authorization"]) for c in server.requests()],
              [(True, "Bearer old"), (True, "Bearer new")], "requests")


@test("after a 401 on the plain way too")
def _():
    token = SCRATCH / "token2"
    token.write_text("old")

    def script(c):
        if c.is_upgrade:
            c.answer(400)
        elif c.headers["authorization"] != "Bearer new":
            token.write_text("new")
            c.answer(401, make_status(401, "Unauthorized"))
        else:
            c.start_chunks()
            c.chunk("good\n")
            c.end_chunks()

    with fake({"/w": script}, user={"tokenFile": str(token)}) as (_, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        equal(probe.events("a"), ["good"], "events")


@test("a 401 that stays one ends the stream, after few requests, and with no token in what is said")
def _():
    token = SCRATCH / "token3"
    token.write_text("secret-token")
    with fake({"/w": lambda c: c.answer(401, make_status(401, "Unauthorized"))}, user={"tokenFile": str(token)}) as (server, probe):
        probe.do("open", "a", "/w")
        line = probe.wait(id="a", call="ended")
        equal((line["http"], json.loads(line["body"])["code"]), (401, 401), "the end")
        check(len(server.requests()) <= 3, f"{len(server.requests())} requests")
        check("secret-token" not in json.dumps(probe.lines), "the token is told")


@test("a token file that isn't there is named")
def _():
    token = SCRATCH / "no-token"
    token.write_text("abc")
    with fake({"/w": opens_and_ends}, user={"tokenFile": str(token)}) as (_, probe):
        probe.memory()  # it has read its configuration
        token.unlink()
        probe.do("open", "a", "/w")
        broken(probe.ended("a"), "no-token")


def write_plugin(name, text):
    path = SCRATCH / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


CREDENTIAL = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"TOKEN"}}'


@test("while a credential plugin takes its time, the other streams go on")
def _():
    gate, count = SCRATCH / "gate", SCRATCH / "count"
    os.mkfifo(gate)
    user = write_plugin("plugin", f"""
n=$(($(cat {count} 2>/dev/null || echo 0) + 1)); echo $n >{count}
[ $n = 1 ] || read line <{gate}
echo '{CREDENTIAL}' | sed s/TOKEN/token$n/
""")
    feed = queue.Queue()

    def streams(c):
        c.upgrade()
        while (text := feed.get(timeout=DEADLINE_S)) is not None:
            c.text(text)
        c.close(1000)

    def wants_second(c):
        if c.headers["authorization"] == "Bearer token2":
            opens_and_ends(c)
        else:
            c.answer(401, make_status(401, "Unauthorized"))

    with fake({"/streams": streams, "/second": wants_second}, user=user) as (_, probe):
        probe.do("open", "a", "/streams")
        probe.wait(id="a", call="opened")
        for name in ("b", "c"):
            probe.do("open", name, "/second")
        until(lambda: count.read_text().strip() == "2", "the second run of the plugin")
        for i in range(3):
            feed.put(f"event {i}")
            probe.wait(i + 1, id="a", call="event")
        equal(probe.of(call="ended"), [], "ends")
        gate.write_text("go\n")
        for name in ("b", "c"):
            in_order(*probe.ended(name))
        feed.put(None)
        in_order(*probe.ended("a"))


@test("a plugin whose credentials are all refused is asked a few times, not for ever")
def _():
    count = SCRATCH / "refused-count"
    user = write_plugin("refused-plugin", f"echo x >>{count}; echo '{CREDENTIAL}'")
    with fake({"/w": lambda c: c.answer(401, make_status(401, "Unauthorized"))}, user=user) as (server, probe):
        probe.do("open", "a", "/w")
        equal(probe.ended("a")[0], 401, "the end")
        check(len(server.requests()) <= 3, f"{len(server.requests())} requests")
        check(len(count.read_text().split()) <= 3, f"{count.read_text().split()} runs")


@test("a credential plugin that fails is named")
def _():
    with fake({"/w": opens_and_ends}, user=write_plugin("broken-plugin", "echo out of luck >&2; exit 3")) as (_, probe):
        for name in ("a", "b"):
            probe.do("open", name, "/w")
            broken(probe.ended(name), "broken-plugin")


# ---- Proxies


class ConnectProxy:
    """Answers one CONNECT after the other, by the status that it is given."""

    def __init__(self, status=200):
        self.status = status
        self.heads = []
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    self._serve(client)

    def _serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        self.heads.append(head.decode())
        client.sendall(b"HTTP/1.1 %d Whatever\r\n\r\n" % self.status)
        if self.status != 200:
            return
        host, _, port = head.split(b" ")[1].rpartition(b":")
        with socket.create_connection((host.decode().strip("[]"), int(port))) as server:
            ends = {client: server, server: client}
            while True:
                for end in select.select(list(ends), [], [], DEADLINE_S)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(DEADLINE_S)
        self.listener.close()


@test("an http:// proxy is asked to CONNECT, with its user and password")
def _():
    proxy = ConnectProxy()
    url = f"http://us%40er:pass%20word@{HOST}:{proxy.port}"
    with contextlib.closing(proxy), fake({"/w": opens_and_ends}, cluster={"proxy-url": url}) as (server, probe):
        probe.do("open", "a", "/w")
        in_order(*probe.ended("a"))
        head = proxy.heads[0]
        check(head.startswith(f"CONNECT {HOST}:{server.port} HTTP/1.1\r\n"), head)
        wanted = base64.b64encode(b"us@er:pass word").decode()
        check(f"basic {wanted}\r\n" in head.replace("Basic", "basic"), head)
        check("Bearer" not in head, "the proxy gets the token")


@test("a proxy that refuses, and a kind of proxy that isn't supported")
def _():
    proxy = ConnectProxy(403)
    with contextlib.closing(proxy):
        cluster = {"proxy-url": f"http://{HOST}:{proxy.port}"}
        with fake({"/w": opens_and_ends}, cluster=cluster) as (_, probe):
            probe.do("open", "a", "/w")
            broken(probe.ended("a"), "the proxy refuses CONNECT")
    for url in ("socks5://user:hidden@127.0.0.1:1", "https://user:hidden@127.0.0.1:1"):
        with fake({"/w": opens_and_ends}, cluster={"proxy-url": url}) as (_, probe):
            probe.do("open", "a", "/w")
            broken(probe.ended("a"), "http:// proxies only")
            check("hidden" not in json.dumps(probe.lines), "the password is told")


@test("the environment's proxies aren't used")
def _():
    environment = {name: f"http://{HOST}:1" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "socks_proxy")}
    with FakeServer({"/w": opens_and_ends}, PAIR) as server:
        with Probe(write_kubeconfig(f"https://{HOST}:{server.port}"), env=environment) as probe:
            probe.do("open", "a", "/w")
            in_order(*probe.ended("a"))


# ---- Cancels, timers, limits


def chatters(c):
    c.upgrade()
    with contextlib.suppress(Gone):
        for i in range(100_000):
            c.text(f"{i}")


def busy_upgrade(c):
    if c.is_upgrade:
        c.answer(503)
    else:
        stripping_proxy(c)


@test("after a cancel from a handler, no other is called")
def _():
    with fake({"/w": chatters, "/ends": opens_and_ends, "/plain": busy_upgrade}) as (_, probe):
        for how, path, last in (("cancel-opened", "/w", "opened"), ("cancel-event", "/w", "event"),
                                ("cancel-opened", "/plain", "opened"), ("cancel-event", "/plain", "event"),
                                ("cancel-ended", "/ends", "ended")):
            name = f"{how}{path}"
            probe.do("open", name, path, how)
            probe.wait(id=name, call=last)
        probe.do("after", 200, "later")
        probe.wait(call="after")
        equal([line["call"] for line in probe.of(id="cancel-event/w")], ["opened", "event"], "calls")
        equal([line["call"] for line in probe.of(id="cancel-event/plain")], ["opened", "event"], "calls")


@test("after a cancel from another thread, none is called")
def _():
    with fake({"/w": chatters}) as (_, probe):
        for i in range(20):
            probe.do("open", f"s{i}", "/w")
        for i in range(20):
            probe.wait(3, id=f"s{i}", call="event")
            probe.do("cancel", f"s{i}")
        probe.do("after", 100, "later")
        probe.wait(call="after")  # and the probe itself tells of calls that come late


@test("streams that are cancelled at once, and after their end")
def _():
    with fake({"/w": chatters, "/ends": opens_and_ends}) as (_, probe):
        probe.do("race", 300, "/w")
        probe.wait(call="raced")
        for i in range(10):
            probe.do("open", f"s{i}", "/ends", "keep")
        for i in range(10):
            in_order(*probe.ended(f"s{i}"))
            probe.do("cancel", f"s{i}")
        probe.do("open", "kept", "/ends", "keep")  # freed by the stop
        in_order(*probe.ended("kept"))


@test("a stop ends what is open, without calls")
def _():
    with fake({"/w": chatters, "/silent": lambda c: c.wait_gone()}) as (server, probe):
        for i in range(5):
            probe.do("open", f"s{i}", "/w")
            probe.do("open", f"silent{i}", "/silent")
        probe.wait(id="s4", call="event")
        server.wait_requests(5, "/silent")
        probe.do("quit")
        probe.process.wait(DEADLINE_S)
        equal(probe.of(call="ended"), [], "ends")


@test("timers run in their order, and at the stop those that are left")
def _():
    with fake({}) as (_, probe):
        for ms in (1000, 1, 500):  # far apart, as the commands come one after the other
            probe.do("after", ms, f"t{ms}")
        probe.do("after", 10_000_000, "never")
        probe.wait(3, call="after")
        equal([line["name"] for line in probe.of(call="after")], ["t1", "t500", "t1000"], "the order")
        probe.do("quit")
        probe.process.wait(DEADLINE_S)
        equal(probe.wait(call="after", name="never")["ran"], False, "ran")


@test("what can't be asked for is said")
def _():
    with fake({}) as (server, probe):
        probe.do("open", "long", "/" + "p" * 2001)
        broken(probe.ended("long"), "path is longer")
        probe.do("open", "control", "/a\tb")
        broken(probe.ended("control"), "percent-encode")
        equal(server.requests(), [], "requests")


@test("a path of the largest size arrives whole, with a large token")
def _():
    path = "/" + "p" * 1999
    token = "t" * 20_000
    with fake({path: opens_and_ends}, user={"token": token}) as (server, probe):
        probe.do("open", "a", path)
        in_order(*probe.ended("a"))
        equal(server.requests()[0].headers["authorization"], f"Bearer {token}", "the token")


@test("100 streams at once are open soon, and small; more than 500 aren't opened")
def _():
    gate = threading.Event()

    def waits(c):
        c.upgrade()
        c.text("here")
        gate.wait(DEADLINE_S)
        c.close(1000)

    with fake({"/w": waits, "/first": opens_and_ends}) as (server, probe):
        probe.do("open", "first", "/first")
        in_order(*probe.ended("first"))
        before = probe.memory()
        for i in range(100):
            probe.do("open", f"s{i}", "/w")
        for i in range(100):
            probe.wait(id=f"s{i}", call="event")
        after = probe.memory()
        each = (after["bytes"] - before["bytes"]) // 100
        print(f"a stream takes {each} bytes of malloc's, {(after['rss_kib'] - before['rss_kib']) * 10.24:.0f} of memory")
        check(SANITIZED or each < 60_000, f"a stream takes {each} bytes")
        for i in range(410):
            probe.do("open", f"more{i}", "/first", "keep")
        refused = [probe.ended(f"more{i}") for i in range(410)]
        equal(sum("too many streams (500)" in reason for _, reason in refused), 10, "refused")
        gate.set()
        for i in range(100):
            in_order(*probe.ended(f"s{i}"))


@test("hundreds of reconnects leave nothing behind")
def _():
    counter = itertools.count()

    def ends_somehow(c):
        n = next(counter) % 4
        if n == 0 or not c.is_upgrade:
            c.answer(503)
            return
        c.upgrade()
        c.text("event")
        if n == 1:
            c.close(1000)

    with fake({"/w": ends_somehow}) as (_, probe):
        probe.do("open", "warm", "/w", "again=50")
        probe.ended("warm")
        before = probe.memory()
        probe.do("open", "a", "/w", "again=400")
        probe.ended("a")
        after = probe.memory()
        print(f"malloc's bytes: {before['bytes']} before, {after['bytes']} after; rss {before['rss_kib']} KiB, "
              f"{after['rss_kib']} KiB")
        check(SANITIZED or after["bytes"] - before["bytes"] < 200 * 1024, "memory grows")


# ---- The real one

NAMESPACES = "/api/v1/namespaces?watch=true&allowWatchBookmarks=true"


_cluster = []


def cluster():
    """Started when the first case needs it."""
    if not _cluster:
        _cluster.append(Cluster().__enter__())
    return _cluster[0]


@contextlib.contextmanager
def real(*options, user="admin"):
    with Probe(cluster().kubeconfig(user), *options) as probe:
        yield probe


def latest_version():
    _, body = cluster().raw("GET", "/api/v1/namespaces")
    return body["metadata"]["resourceVersion"]


def event_names(probe, name):
    return [(e["type"], e["object"]["metadata"]["name"]) for e in map(json.loads, probe.events(name))
            if e["type"] != "BOOKMARK"]


@test("a real API server: events as they happen, on several streams")
def _():
    with real() as probe:
        names = [f"live{i}" for i in range(5)]
        for i in range(3):
            probe.do("open", f"s{i}", NAMESPACES)
            probe.wait(id=f"s{i}", call="opened")
        for name in names:
            cluster().kubectl("create", "namespace", name)
        for i in range(3):
            until(lambda i=i: {("ADDED", name) for name in names} <= set(event_names(probe, f"s{i}")), "the events")
            added = event_names(probe, f"s{i}")
            equal(len(added), len(set(added)), "events that came twice")


@test("a real API server: a stream that asks to be short ends in order, and one more goes on from there")
def _():
    with real() as probe:
        version = latest_version()
        probe.do("open", "a", f"{NAMESPACES}&resourceVersion={version}&timeoutSeconds=1")
        in_order(*probe.ended("a"))
        cluster().kubectl("create", "namespace", "resumed")
        probe.do("open", "b", f"{NAMESPACES}&resourceVersion={version}")
        probe.wait(id="b", call="event")
        equal(event_names(probe, "b")[0], ("ADDED", "resumed"), "the first event")


@test("a real API server: pings are answered")
def _():
    with real("--ping-ms", 100, "--silent-ms", 4000) as probe:
        probe.do("open", "a", f"{NAMESPACES}&resourceVersion={latest_version()}")
        probe.wait(id="a", call="opened")
        probe.do("after", 7000, "patience")
        probe.wait(call="after")
        equal(probe.of(call="ended"), [], "ends")


@test("a real API server: 403, 401 and 404 come with their Status")
def _():
    with real(user="alice") as probe:
        probe.do("open", "a", NAMESPACES)
        line = probe.wait(id="a", call="ended")
        equal((line["http"], json.loads(line["body"])["reason"]), (403, "Forbidden"), "forbidden")
    certificate = cluster().dir / "certs" / "apiserver.crt"
    config = write_kubeconfig(cluster().url, {"token": "wrong"}, **{"certificate-authority": str(certificate)})
    with Probe(config) as probe:
        probe.do("open", "a", NAMESPACES)
        line = probe.wait(id="a", call="ended")
        equal((line["http"], json.loads(line["body"])["reason"]), (401, "Unauthorized"), "unauthorized")
    with real() as probe:
        probe.do("open", "a", "/apis/example.com/v1/things?watch=true")
        equal(probe.ended("a")[0], 404, "not found")


@test("a real API server: its restart ends streams, and it is found again")
def _():
    with real() as probe:
        probe.do("open", "a", NAMESPACES)
        probe.wait(id="a", call="event")
        cluster().stop_apiserver()
        check(probe.ended("a")[0] in (0, 200), "the end of the stream")
        probe.do("open", "b", NAMESPACES)
        broken(probe.ended("b"), "")
        cluster().start_apiserver()
        probe.do("open", "c", NAMESPACES)
        probe.wait(id="c", call="event")


@test("a real API server: an expired version is told, one way or the other")
def _():
    cluster().stop_apiserver()  # which has old events in memory
    cluster().compact_etcd()
    cluster().start_apiserver()
    with real() as probe:
        probe.do("open", "a", "/api/v1/configmaps?watch=true&resourceVersion=1")
        until(lambda: probe.of(id="a", call="ended") or probe.of(id="a", call="event"), "an answer")
        events, ended = probe.events("a"), probe.of(id="a", call="ended")
        told = json.loads(events[0])["object"] if events else json.loads(ended[0]["body"])
        equal((told["code"], told["reason"]), (410, "Expired"), "what is told")


if __name__ == "__main__":
    try:
        main()
    finally:
        if _cluster:
            _cluster[0].__exit__()
        shutil.rmtree(SCRATCH)
