#!/usr/bin/python3
"""Tests of the fault proxy before a real API server: a fault that does not happen would let every other test pass."""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "e2e")]

from cluster import HOST, Cluster, free_ports, wait_for
from fault_proxy import Answer, Cut, FaultProxy, Half, Hold, Hole, Lost, StripUpgrade, Weather, make_authority
from http_stream import CLOSE, PING, TEXT, make_frame, read_frame
from tap import check, equal, main, test

MAPS = "/api/v1/namespaces/default/configmaps"
DEADLINE_S = 30
HANDSHAKES = 50
TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8


@contextlib.contextmanager
def proxy_before(cluster, port=None):
    with FaultProxy(port or cluster.port, cluster.dir / "certs" / "apiserver.crt") as proxy:
        proxy.token = cluster.tokens["admin"]
        yield proxy
    check(not proxy.errors, f"the proxy's own errors: {proxy.errors!r}")


def connect(proxy):
    tls = ssl.create_default_context(cafile=proxy.ca)
    tls.options |= ssl.OP_IGNORE_UNEXPECTED_EOF  # or an alert would go out, to which the answer is a reset
    tls.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection((HOST, proxy.port), DEADLINE_S)
    return tls.wrap_socket(plain, server_hostname=HOST, suppress_ragged_eofs=False)


def get(proxy, path, timeout=DEADLINE_S):
    """Status, headers, body of a request on a connection of its own."""
    connection = http.client.HTTPSConnection(
        HOST, proxy.port, timeout=timeout, context=ssl.create_default_context(cafile=proxy.ca))
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {proxy.token}"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def send_request(sock, proxy, path, *headers, method="GET"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {proxy.token}", *headers]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())


def create(cluster, name, size=4):
    body = {"metadata": {"name": name}, "data": {"x": "x" * size}}
    status, answer = cluster.raw("POST", MAPS, body)
    equal(status, 201, f"the status of creating {name} ({str(answer)[:200]})")


class Watch:
    """A watch of the ConfigMaps, over WebSocket or plain, read by code that is not the proxy's."""

    def __init__(self, proxy, websocket, query=""):
        self.sock = connect(proxy)
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", f"Origin: https://{HOST}", "Sec-WebSocket-Version: 13",
                   "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="]
        send_request(self.sock, proxy, f"{MAPS}?watch=true{query}", *(upgrade if websocket else []))
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)
        self.websocket = self.status == 101
        self.rest = b""  # of a plain stream's chunks

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def event(self):
        """(type, name or code) of the next event."""
        text = self._frame() if self.websocket else self._line()
        event = json.loads(text)
        thing = event["object"]
        return event["type"], thing["code"] if event["type"] == "ERROR" else thing["metadata"]["name"]

    def _exactly(self, size):
        data = self.file.read(size)
        check(len(data) == size, f"the stream ended after {len(data)} of {size} bytes")
        return data

    def _frame(self):
        first, size = self._exactly(2)
        equal(first, 0x81, "a frame's first byte")
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        return self._exactly(size)

    def _line(self):
        while b"\n" not in self.rest:
            size = int(self.file.readline(), 16)
            self.rest += self._exactly(size)
            equal(self._exactly(2), b"\r\n", "what follows a chunk")
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def until(self, wanted):
        while self.event() != wanted:
            pass


BOTH = (True, False)


def how_it_ended(sock):
    """Reads to the end; returns what came, and whether a reset was the end. Python's ssl says EOF to both."""
    got = b""
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        while piece := sock.recv(65536):
            got += piece
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    check(state in (TCP_CLOSE, TCP_CLOSE_WAIT), f"the connection's state is {state}")
    return got, state == TCP_CLOSE


def expect(kind, function, what):
    """The exception of that kind which the function must raise."""
    try:
        result = function()
    except kind as error:
        return error
    check(False, f"{what}: no {kind}, but {result!r}")


@test("a request passes, is recorded, and its connection is kept")
def _(cluster):
    with proxy_before(cluster) as proxy:
        tls = ssl.create_default_context(cafile=proxy.ca)
        with contextlib.closing(http.client.HTTPSConnection(HOST, proxy.port, context=tls)) as connection:
            for path, want in (("/readyz", 200), (MAPS, 200), (MAPS + "/none", 404)):
                connection.request("GET", path, headers={"Authorization": f"Bearer {proxy.token}"})
                answer = connection.getresponse()
                answer.read()
                equal(answer.status, want, f"the status of {path}")
        seen = [(r.method, r.path, r.status, r.connection) for r in proxy.requests()]
        want = [("GET", "/readyz", 200, 1), ("GET", MAPS, 200, 1), ("GET", MAPS + "/none", 404, 1)]
        equal(seen, want, "the record")
        equal(proxy.requests(MAPS)[0].bearer, proxy.token, "the recorded token")


@test("a client that does not trust the proxy's CA is not served, and h2 is not offered")
def _(cluster):
    with proxy_before(cluster) as proxy:
        other = ssl.create_default_context(cafile=cluster.dir / "certs" / "apiserver.crt")
        plain = socket.create_connection((HOST, proxy.port), DEADLINE_S)
        with plain:
            expect(ssl.SSLCertVerificationError, lambda: other.wrap_socket(plain, server_hostname=HOST), "trusted")
        with connect(proxy) as sock:
            equal(sock.selected_alpn_protocol(), "http/1.1", "the protocol")


@test("curl sends a large body through it, with Expect: 100-continue")
def _(cluster):
    with proxy_before(cluster) as proxy, tempfile.NamedTemporaryFile("w") as body:
        json.dump({"metadata": {"name": "large"}, "data": {"x": "x" * 1_000_000}}, body)
        body.flush()
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", proxy.ca, "-o", "/dev/null", "-w", "%{http_code}"]
        headers = ["-H", f"Authorization: Bearer {proxy.token}", "-H", "Content-Type: application/json"]
        expected = ["-H", "Expect: 100-continue", "--data-binary", f"@{body.name}", f"https://{HOST}:{proxy.port}{MAPS}"]
        done = subprocess.run([*command, *headers, *expected], capture_output=True, text=True, timeout=DEADLINE_S)
        equal(done.stdout, "201", f"curl's status ({done.stderr})")
    equal(len(cluster.raw("GET", MAPS + "/large")[1]["data"]["x"]), 1_000_000, "the size that arrived")
    cluster.raw("DELETE", MAPS + "/large")


@test("events of both kinds of watch pass")
def _(cluster):
    for websocket in BOTH:
        with proxy_before(cluster) as proxy, Watch(proxy, websocket) as watch:
            equal(watch.status, 101 if websocket else 200, "the handshake's status")
            for size in (1, 300, 70_000):  # one for each length of a frame's head
                name = f"event-{websocket}-{size}".lower()
                create(cluster, name, size)
                watch.until(("ADDED", name))
            equal(len(proxy.streams()), 1, "the number of open streams")


@test("answers in the API server's place, as often as was said, in the handshake too")
def _(cluster):
    with proxy_before(cluster) as proxy:
        for status in (401, 410, 429, 500, 503):
            rule = proxy.add_rule("^GET .*configmaps", Answer(status, retry_after=7 if status == 429 else None), times=2)
            got, headers, body = get(proxy, MAPS)
            equal((got, json.loads(body)["code"], json.loads(body)["kind"]), (status, status, "Status"), "the answer")
            equal(headers["Retry-After"], "7" if status == 429 else None, "Retry-After")
            with Watch(proxy, True) as watch:
                equal(watch.status, status, "the handshake's status")
            equal(get(proxy, MAPS)[0], 200, "the status after two refusals")
            equal((rule.used, rule.left), (2, 0), "the rule's counts")
        check(all(r.injected == (r.status != 200) for r in proxy.requests()), "the record confuses whose answer it was")


@test("a rule may look at the whole request, and goes when it is removed")
def _(cluster):
    with proxy_before(cluster) as proxy:
        rule = proxy.add_rule(lambda request: request.bearer == proxy.token, Answer(401))
        equal([get(proxy, MAPS)[0] for _ in range(3)], [401] * 3, "the statuses")
        proxy.remove_rule(rule)
        equal(get(proxy, MAPS)[0], 200, "the status without the rule")


@test("a stripped upgrade becomes a plain watch")
def _(cluster):
    with proxy_before(cluster) as proxy:
        proxy.add_rule("watch=", StripUpgrade(), times=1)
        with Watch(proxy, True) as watch:
            equal(watch.status, 200, "the status")
            create(cluster, "stripped")
            watch.until(("ADDED", "stripped"))
        with Watch(proxy, True) as watch:
            equal(watch.status, 101, "the next one's status")


@test("cuts now, by RST or by FIN")
def _(cluster):
    for websocket in BOTH:
        for rst in BOTH:
            with proxy_before(cluster) as proxy, Watch(proxy, websocket, "&resourceVersion=0") as watch:
                watch.event()
                equal(proxy.cut("secrets", rst), 0, "the number of others' connections that were cut")
                equal(proxy.cut("watch=", rst), 1, "the number of connections that were cut")
                equal(how_it_ended(watch.sock)[1], rst, "whether it was a reset")
                wait_for(lambda: not proxy.connections, "the connection is gone")


@test("cuts after exactly n bytes of the answer")
def _(cluster):
    for after in (0, 1, 100, 1000):
        for rst in BOTH:
            with proxy_before(cluster) as proxy, connect(proxy) as sock:
                proxy.add_rule("configmaps", Cut(after, rst), times=1)
                send_request(sock, proxy, MAPS)
                got, reset = how_it_ended(sock)
                equal(reset, rst, "whether it was a reset")
                # A reset may throw away what the client has not read yet, never add to it.
                check(len(got) == after or (rst and len(got) < after), f"{len(got)} bytes came, not {after}")


@test("half an answer, then the end")
def _(cluster):
    with proxy_before(cluster) as proxy:
        whole = len(get(proxy, MAPS)[2])
        proxy.add_rule("configmaps", Half(), times=1)
        with connect(proxy) as sock:
            send_request(sock, proxy, MAPS)
            got, _ = how_it_ended(sock)
        check(got.startswith(b"HTTP/1.1 200 OK\r\n"), f"it starts with {got[:40]!r}")
        check(whole // 3 < len(got) < whole, f"{len(got)} of more than {whole} bytes came")


@test("a request that is lost reaches nobody, one whose answer is lost has been done, and both are told of")
def _(cluster):
    with proxy_before(cluster) as proxy:
        told = []
        for answered in (False, True):
            name = f"lost-{str(answered).lower()}"
            proxy.add_rule("^POST ", Lost(answered, lambda name=name: told.append(name)), times=1)
            body = json.dumps({"metadata": {"name": name}}).encode()
            with connect(proxy) as sock:
                length = f"Content-Length: {len(body)}"
                send_request(sock, proxy, MAPS, "Content-Type: application/json", length, method="POST")
                sock.sendall(body)
                got, reset = how_it_ended(sock)
            equal((got, reset), (b"", True), "how it ended")
            equal(told[-1:], [name], "what was told")
            status, _ = cluster.raw("GET", f"{MAPS}/{name}")
            equal(status, 200 if answered else 404, f"the status of getting {name}")


@test("delays one direction, or the other")
def _(cluster):
    with proxy_before(cluster) as proxy:
        for name in ("to_client", "to_server"):
            setattr(proxy, name, Weather(delay_ms=300))
            start = time.monotonic()
            equal(get(proxy, MAPS)[0], 200, "the status")
            took = time.monotonic() - start
            request = proxy.requests()[-1]
            check(took >= 0.3, f"{name}: it took {took} s")
            answered = wait_for(lambda: request.ended and time.monotonic() - request.at, "the answer's end")
            check(answered >= (0.3 if name == "to_server" else 0), f"{name}: the server answered after {answered} s")
            proxy.clear()


@test("delays keep the order, and are not added up")
def _(cluster):
    with proxy_before(cluster) as proxy, Watch(proxy, True) as watch:
        proxy.to_client = Weather(delay_ms=1000)
        names = [f"late-{i}" for i in range(20)]
        start = time.monotonic()
        for name in names:
            create(cluster, name)
        watch.until(("ADDED", names[0]))
        for name in names[1:]:
            equal(watch.event(), ("ADDED", name), "the next event")
        check(time.monotonic() - start < 20, "the delays were added up")


@test("splits all into single bytes, both ways")
def _(cluster):
    with proxy_before(cluster) as proxy, connect(proxy) as sock:
        proxy.to_client = proxy.to_server = Weather(piece=1)
        send_request(sock, proxy, MAPS + "/none")
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            piece = sock.recv(4096)
            equal(len(piece), 1, f"the size of a piece after {len(got)} bytes")
            got += piece
        check(got.startswith(b"HTTP/1.1 404 "), f"it starts with {got[:40]!r}")


@test("trickles with a gap between pieces")
def _(cluster):
    with proxy_before(cluster) as proxy:
        size = len(get(proxy, MAPS + "/none")[2])
        proxy.to_client = Weather(piece=8, gap_ms=4)
        start = time.monotonic()
        equal(get(proxy, MAPS + "/none")[0], 404, "the status")
        check(time.monotonic() - start >= size / 8 * 0.004, "it came faster than it should")


@test("a dropped connection stays open and carries nothing")
def _(cluster):
    for websocket in BOTH:
        with proxy_before(cluster) as proxy, Watch(proxy, websocket) as dropped:
            create(cluster, f"seen-{websocket}".lower())
            dropped.until(("ADDED", f"seen-{websocket}".lower()))
            equal(proxy.drop("watch="), 1, "the number of dropped connections")
            equal(proxy.streams(), [], "the open streams")
            with Watch(proxy, websocket) as other:
                name = f"unseen-{websocket}".lower()
                create(cluster, name)
                other.until(("ADDED", name))
                equal(select.select([dropped.sock], [], [], 0)[0], [], "what can be read")
                equal(len(proxy.connections), 2, "the number of connections")
            dropped.close()
            wait_for(lambda: not proxy.connections, "the client's close is noticed")


@test("a hole by rule swallows the answer, at once or after n bytes")
def _(cluster):
    with proxy_before(cluster) as proxy:
        for bytes_before in (0, 10):
            rule = proxy.add_rule("configmaps", Hole(bytes_before), times=1)
            with connect(proxy) as sock:
                send_request(sock, proxy, MAPS)
                wait_for(lambda: rule.used, "the request came")
                got = b""
                while len(got) < bytes_before:
                    got += sock.recv(100)
                equal(got, b"HTTP/1.1 2"[:bytes_before], "what came before the hole")
                equal(get(proxy, MAPS)[0], 200, "the status of another connection")
                equal(select.select([sock], [], [], 0)[0], [], "what can be read")


@test("whole answers are held, and go out last first")
def _(cluster):
    with proxy_before(cluster) as proxy:
        hold = Hold(count=4)
        proxy.add_rule("limit=", hold)
        done = []

        def ask(number):
            status = get(proxy, f"{MAPS}?limit={number}")[0]
            done.append((number, status))

        threads = []
        for number in range(1, 5):
            threads.append(threading.Thread(target=ask, args=(number,)))
            threads[-1].start()
            if number < 4:
                wait_for(lambda: len(hold.waiting) == number, f"answer {number} is held")
        for thread in threads:
            thread.join(DEADLINE_S)
        equal(sorted(done), [(n, 200) for n in range(1, 5)], "the answers")
        hold = Hold()
        proxy.clear()
        proxy.add_rule("limit=", hold)
        thread = threading.Thread(target=ask, args=(9,))
        thread.start()
        wait_for(lambda: hold.waiting, "the answer is held")
        proxy.release(hold)
        thread.join(DEADLINE_S)
        equal(done[-1], (9, 200), "the released answer")


@test("the order of held answers is the reverse of theirs")
def _(cluster):
    with proxy_before(cluster) as proxy:
        hold = Hold(count=3)
        proxy.add_rule("limit=", hold)
        with contextlib.ExitStack() as stack:
            socks = []
            for number in range(1, 4):
                socks.append(stack.enter_context(connect(proxy)))
                send_request(socks[-1], proxy, f"{MAPS}?limit={number}")
                if number < 3:
                    wait_for(lambda: len(hold.waiting) == number, f"answer {number} is held")
            for sock in socks:
                check(sock.recv(100).startswith(b"HTTP/1.1 200 "), "an answer")
            # When each was out, as a client that looks a moment late finds several at once.
            requests = proxy.requests("limit=")
            wait_for(lambda: all(request.ended for request in requests), "all are out")
            ended = [request.ended for request in requests]
            check(ended[0] > ended[1] > ended[2], f"they went out at {ended}")


@test("an ERROR event comes between events, never within one")
def _(cluster):
    for websocket in BOTH:
        with proxy_before(cluster) as proxy, Watch(proxy, websocket, "&resourceVersion=0") as watch:
            proxy.to_client = proxy.to_server = Weather(piece=3)
            names = [f"between-{i}-{websocket}".lower() for i in range(40)]
            writer = threading.Thread(target=lambda: [create(cluster, name, 500) for name in names])
            writer.start()
            for _ in range(3):
                equal(proxy.expire("watch="), 1, "the number of streams that expire")
            writer.join()
            equal(proxy.expire("secrets"), 0, "the number of others' streams that expire")
            seen = []
            while names[-1] not in [what for _, what in seen]:
                seen.append(watch.event())
            check(("ERROR", 410) in seen, f"no ERROR among {seen}")
            equal([what for _, what in seen if what in names], names, "the events around it")


@test("frames are read as they are meant: fragments, pings between them, all lengths")
def _(_):
    async def read_all():
        reader = asyncio.StreamReader()
        fragments = b"\x01\x02ab" + make_frame(b"p", PING) + b"\x80\x01c"
        reader.feed_data(fragments + make_frame(b"y" * 126) + make_frame(b"z" * 65536) + make_frame(b"m", mask=b"abcd"))
        reader.feed_data(make_frame(b"", CLOSE))
        reader.feed_eof()
        frames, boundary = [], True
        while (frame := await read_frame(reader)) is not None:
            boundary = frame.ends_message(boundary)
            frames.append((frame.opcode, len(frame.payload), boundary))
        return frames

    want = [(TEXT, 2, False), (PING, 1, False), (0, 1, True), (TEXT, 126, True), (TEXT, 65536, True), (TEXT, 1, True)]
    equal(asyncio.run(read_all()), [*want, (CLOSE, 0, True)], "the frames")


@test("where the API server is gone, so is the proxy's client")
def _(cluster):
    with proxy_before(cluster, free_ports(1)[0]) as proxy:

        def ask():
            get(proxy, "/readyz")

        expect((ConnectionResetError, ssl.SSLError, http.client.RemoteDisconnected), ask, "an answer came")
        wait_for(lambda: not proxy.connections, "the connection is gone")


@contextlib.contextmanager
def gone_after_handshake(folder):
    """A server that resets each connection once TLS is up; its port and CA."""
    ca, certificate, key = make_authority(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.num_tickets = 0  # nothing comes between the handshake and the end

    def serve(listener):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                plain, _ = listener.accept()
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError), tls.wrap_socket(plain, server_side=True):
                    pass

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], ca
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@test("a server that goes right after the handshake is no trouble of the proxy's")
def _(_):
    with tempfile.TemporaryDirectory() as folder, gone_after_handshake(folder) as (port, ca), FaultProxy(port, ca) as proxy:
        proxy.token = "none"
        for _ in range(HANDSHAKES):
            with contextlib.suppress(OSError), connect(proxy) as sock:
                send_request(sock, proxy, MAPS)
                sock.recv(1)
    equal(proxy.errors, [], "the proxy's own errors")


@test("nothing is left of a stopped proxy, whatever was under way")
def _(cluster):
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as clients:
        with proxy_before(cluster) as proxy:
            hold = Hold()
            proxy.add_rule("limit=", hold)
            for websocket in BOTH:
                clients.enter_context(Watch(proxy, websocket))
            sock = clients.enter_context(connect(proxy))
            send_request(sock, proxy, MAPS + "?limit=1")
            wait_for(lambda: hold.waiting, "the answer is held")
            folder = pathlib.Path(proxy.scratch.name)
            proxy.drop("watch=")
        equal(threading.active_count(), threads, "the number of threads")
        expect(ConnectionRefusedError, lambda: socket.create_connection((HOST, proxy.port)), "it listens")
        check(not folder.exists(), f"{folder} is still there")
    left = len(os.listdir("/proc/self/fd"))  # fewer where something older was closed meanwhile
    check(left <= files, f"{left} files are open, of {files} before")


main(Cluster())
