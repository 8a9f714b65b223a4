"""A TLS proxy on loopback before a Kubernetes API server that does what networks and servers do on their bad days.

    with FaultProxy(cluster.port, cluster.dir / "certs" / "apiserver.crt") as proxy:
        proxy.add_rule(r"^GET .*watch=true", Answer(429, retry_after=1), times=2)
        ... a client that trusts proxy.ca talks to https://127.0.0.1:{proxy.port} ...
        proxy.cut("watch=true", rst=True)
        proxy.count("watch=true")

It ends the client's TLS with a certificate of a CA of its own, opens one connection to the API server for each of the
client's, and follows HTTP/1.1 and WebSockets in both directions, so that a fault hits a request, an answer, an event or
a byte. Rules decide about requests that are still to come; cut(), drop() and expire() hit those under way; to_client and
to_server are the weather. A pattern is a regular expression over "METHOD PATH", or a function of a Request.

All of it runs on one thread with an event loop, and is gone after the with statement. Methods may be called from any
thread. Limits: CONNECTIONS_MAX at once, LANE_MAX pieces under way in each direction, HELD_MAX of an answer held back.
"""

import asyncio
import collections
import contextlib
import dataclasses
import json
import logging
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

from http_stream import HEAD_MAX, Malformed, has_body, make_chunk, make_frame, read_body, read_frame, read_head

HOST = "127.0.0.1"
CONNECTIONS_MAX = 256
LANE_MAX = 256
HELD_MAX = 64 * 1024 * 1024
RECORDS_MAX = 100_000
CALL_S = 20
CONNECT_S = 10

REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 410: "Expired", 429: "TooManyRequests",
    500: "InternalError", 503: "ServiceUnavailable",
}

logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a client that has gone

# What went wrong here when a peer went away at a bad moment, which is this program's daily work.
PEER_GONE = (OSError, EOFError, ssl.SSLError, Malformed)


def make_status(code, message, retry_after=None):
    """A Status as API servers send it."""
    details = {} if retry_after is None else {"retryAfterSeconds": retry_after}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": REASONS.get(code, "Unknown"), "details": details, "code": code}


@dataclasses.dataclass
class Request:
    """What a client asked for, and what it got. status: 0 as long as no answer's head was sent."""

    method: str
    path: str
    headers: dict
    at: float  # time.monotonic()
    connection: int
    status: int = 0
    injected: bool = False  # the answer is the proxy's
    ended: float = 0.0  # time.monotonic(); 0 until it has

    def end(self):
        self.ended = self.ended or time.monotonic()

    @property
    def upgrade(self):
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def bearer(self):
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def matches(self, pattern):
        return bool(pattern(self) if callable(pattern) else re.search(pattern, f"{self.method} {self.path}"))


# ---- Faults of one request


@dataclasses.dataclass
class Answer:
    """The proxy answers in the API server's place."""

    status: int
    retry_after: int | None = None
    message: str = "the fault proxy says so"

    def render(self):
        body = json.dumps(make_status(self.status, self.message, self.retry_after)).encode()
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}", "Content-Type: application/json",
                 f"Content-Length: {len(body)}"]
        if self.retry_after is not None:
            lines.append(f"Retry-After: {self.retry_after}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclasses.dataclass
class Cut:
    """The connection ends after so many bytes of the answer, head included, in order (FIN) or not (RST)."""

    after: int = 0
    rst: bool = True


@dataclasses.dataclass
class Hole:
    """After so many bytes of the answer nothing travels any more, in either direction, and nobody is told."""

    after: int = 0


@dataclasses.dataclass
class Half:
    """Half of the answer, then the end. Not for streams, which have no half."""

    rst: bool = False


@dataclasses.dataclass
class Lost:
    """The request comes whole and does not reach the API server, or (answered) it is answered and the client does not hear
    of it. The connection ends by RST. At that moment `then` is called, on the proxy's thread: it may kill the client."""

    answered: bool = False
    then: Callable = lambda: None


@dataclasses.dataclass
class StripUpgrade:
    """The API server does not hear of the wish for a WebSocket, so it answers with a plain stream."""


class Hold:
    """Whole answers wait here until `count` have come (or FaultProxy.release()), and then go out last first."""

    def __init__(self, count=1_000_000):
        self.count = count
        self.waiting = []  # of asyncio.Event, in the order in which they came
        self.open = False

    def release(self):
        """On the proxy's loop."""
        self.open = True
        if self.waiting:
            self.waiting[-1].set()

    @contextlib.asynccontextmanager
    async def turn(self):
        mine = asyncio.Event()
        self.waiting.append(mine)
        try:
            if self.open or len(self.waiting) >= self.count:
                self.release()
            await mine.wait()
            yield
        finally:
            self.waiting.remove(mine)
            if self.open and self.waiting:
                self.waiting[-1].set()


class Rule:
    """A fault for the requests that match, for the first `times` of them (None: all)."""

    def __init__(self, pattern, fault, times):
        self.pattern, self.fault, self.left = pattern, fault, times
        self.used = 0

    def take(self, request):
        if self.left == 0 or not request.matches(self.pattern):
            return False
        self.used += 1
        if self.left is not None:
            self.left -= 1
        return True


@dataclasses.dataclass(frozen=True)
class Weather:
    """How bytes travel in one direction: late by delay_ms; in pieces of so many bytes (0: as they come), each a TLS
    record and a segment of its own, gap_ms apart."""

    delay_ms: int = 0
    piece: int = 0
    gap_ms: int = 0


# ---- One connection

def socket_of(writer):
    """The socket of a connection that has just been made. asyncio has two words for one whose peer has gone already."""
    with contextlib.suppress(AttributeError):
        if (sock := writer.get_extra_info("socket")) is not None:
            return sock
    raise ConnectionResetError("the peer has gone already")


_END, _FIN, _RST, _DROP = "end", "fin", "rst", "drop"  # what a lane carries beside bytes


class _Lane:
    """One direction: what was sent comes out in order, as the weather has it."""

    def __init__(self, connection, writer, weather):
        self.connection, self.writer, self.weather = connection, writer, weather
        self.queue = asyncio.Queue(LANE_MAX)

    async def send(self, item):
        await self.queue.put((time.monotonic() + self.weather().delay_ms / 1000, item))

    def try_send(self, item):
        """Whether there was room for it."""
        if self.queue.full():
            return False
        self.queue.put_nowait((time.monotonic() + self.weather().delay_ms / 1000, item))
        return True

    async def flush(self):
        """Waits until all that was sent is out."""
        await self.queue.join()

    async def run(self):
        """Returns where the connection is to end."""
        while True:
            due, item = await self.queue.get()
            if (late := due - time.monotonic()) > 0:
                await asyncio.sleep(late)
            if item is _DROP:
                self.connection.dropped = True
            if not self.connection.dropped:
                if isinstance(item, str):
                    self.connection.end = item
                    return
                await self._write(item)
            self.queue.task_done()

    async def _write(self, data):
        weather = self.weather()
        step = weather.piece or len(data)
        for i, start in enumerate(range(0, len(data), step)):
            self.writer.write(data[start : start + step])
            await self.writer.drain()
            if weather.gap_ms or i % 64 == 63:  # others have a turn as well
                await asyncio.sleep(weather.gap_ms / 1000)


class _Exchange:
    """A request and the fault that is its lot."""

    def __init__(self, request, fault):
        self.request, self.fault = request, fault
        self.switched = asyncio.get_running_loop().create_future()


class _Connection:
    """A client's connection and its twin to the API server."""

    def __init__(self, proxy, number, reader, writer, sock):
        self.proxy, self.number = proxy, number
        self.client, self.client_writer, self.client_socket = reader, writer, sock
        self.server = self.server_writer = None
        self.dropped = False  # nothing is forwarded any more
        self.end = _RST  # how it ends
        self.ending = asyncio.Event()
        self.current = None  # the exchange whose answer is under way
        self.exchanges = asyncio.Queue(16)
        self.boundary = False  # a stream is open, and stands between two events
        self.stream = None  # how an event is wrapped: make_frame or make_chunk
        self.gone = None  # an event to put in at the next boundary
        self.task = None

    async def run(self):
        tasks = []
        try:
            self.client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._open_server()
            self.down = _Lane(self, self.client_writer, lambda: self.proxy.to_client)
            self.up = _Lane(self, self.server_writer, lambda: self.proxy.to_server)
            steps = (self._requests(), self._responses(), self.down.run(), self.up.run(), self.ending.wait())
            tasks = [asyncio.ensure_future(step) for step in steps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except PEER_GONE:
            pass
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, PEER_GONE):
                    self.proxy.errors.append(outcome)
            if self.current is not None:
                self.current.request.end()
            await self._close()

    async def _open_server(self):
        opening = asyncio.open_connection(
            HOST, self.proxy.upstream_port, ssl=self.proxy.upstream_tls, limit=HEAD_MAX, ssl_shutdown_timeout=1)
        self.server, self.server_writer = await asyncio.wait_for(opening, CONNECT_S)
        socket_of(self.server_writer).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _close(self):
        if self.end == _END:
            self.client_writer.close()  # with TLS's own farewell
            with contextlib.suppress(*PEER_GONE, TimeoutError):
                await asyncio.wait_for(self.client_writer.wait_closed(), 1)
        if self.end == _RST:
            with contextlib.suppress(OSError):  # it may be closed already
                self.client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for writer in (self.client_writer, self.server_writer):
            if writer is not None:
                with contextlib.suppress(AttributeError):  # asyncio's word for a transport that has gone already
                    writer.transport.abort()  # without TLS's farewell

    # From the client to the server

    async def _requests(self):
        """Returns when the client has closed."""
        while (head := await read_head(self.client)) is not None:
            exchange = self._begin(head)
            await self.exchanges.put(exchange)
            lost = isinstance(exchange.fault, Lost) and not exchange.fault.answered
            kept = lost or isinstance(exchange.fault, Answer)
            if not kept:
                stripped = isinstance(exchange.fault, StripUpgrade)
                await self.up.send(head.without_upgrade() if stripped else head.raw)
            async for piece in read_body(self.client, head):
                if not kept:
                    await self.up.send(piece)
            if lost:
                exchange.fault.then()
                return  # self.end is RST
            if head.upgrades() and await exchange.switched:
                while piece := await self.client.read(HEAD_MAX):
                    await self.up.send(piece)
                return

    def _begin(self, head):
        request = Request(head.method, head.path, head.headers, time.monotonic(), self.number)
        rule = self.proxy.take_rule(request)
        self.proxy.records.append(request)
        fault = rule.fault if rule else None
        if isinstance(fault, Hole) and fault.after == 0:
            self.dropped = True
        return _Exchange(request, fault)

    # From the server to the client

    async def _responses(self):
        while True:
            self.current = exchange = await self.exchanges.get()
            if isinstance(exchange.fault, Answer):
                exchange.request.status, exchange.request.injected = exchange.fault.status, True
                await self.down.send(exchange.fault.render())
                exchange.switched.set_result(False)
            elif not await self._response(exchange):
                await self.down.send(_END)
                await asyncio.Event().wait()  # the lane ends the connection when all is out
            exchange.request.end()

    async def _response(self, exchange):
        """False where the server closed the connection."""
        fault = exchange.fault
        out = _Out(self.down, fault)
        head = await read_head(self.server)
        while head is not None and head.status == 100:
            await out.send(head.raw)
            head = await read_head(self.server)
        if head is None:
            return False
        exchange.request.status = head.status
        await out.send(head.raw)
        if head.status == 101:
            exchange.switched.set_result(True)
            await self._frames(out)
            return False
        exchange.switched.set_result(False)
        if has_body(exchange.request.method, head.status):
            await self._body(exchange, head, out)
        await out.finish()
        return head.headers.get("connection", "").lower() != "close"

    async def _body(self, exchange, head, out):
        streams = "watch=" in exchange.request.path and head.headers.get("transfer-encoding") == "chunked"
        if streams:
            self.stream, self.boundary = make_chunk, True
        async for piece in read_body(self.server, head, until_close=True):
            self.boundary = False
            await out.send(piece)
            self.boundary = streams and not piece.startswith(b"0\r\n") and piece.endswith(b"\n\r\n")
            self._put_in_event()
        self.boundary = False

    async def _frames(self, out):
        self.stream, self.boundary = make_frame, True
        while (frame := await read_frame(self.server)) is not None:
            after, self.boundary = frame.ends_message(self.boundary), False
            await out.send(frame.raw)
            self.boundary = after
            self._put_in_event()
        self.boundary = False

    async def expire(self):
        """An ERROR event with a Status 410, as soon as it doesn't come within another event."""
        status = make_status(410, "too old resource version: 1 (2)")
        self.gone = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        self._put_in_event()

    def _put_in_event(self):
        """Where there is no room just now, the event waits for the next boundary."""
        if self.gone is not None and self.boundary and self.down.try_send(self.stream(self.gone)):
            self.gone = None


class _Out:
    """An answer's way into the client's lane, as far as its fault lets it."""

    def __init__(self, lane, fault):
        self.lane, self.fault = lane, fault
        self.held = bytearray() if isinstance(fault, (Half, Hold, Lost)) else None
        self.left = fault.after if isinstance(fault, (Cut, Hole)) else None

    async def send(self, data):
        if self.held is not None:
            self.held += data
            if len(self.held) > HELD_MAX:
                raise Malformed(f"an answer of more than {HELD_MAX} bytes, which is to be held back")
            return
        if self.left is None:
            await self.lane.send(data)
            return
        part = data[: self.left]
        self.left -= len(part)
        if part:
            await self.lane.send(part)
        if len(part) < len(data):
            await self.lane.send(_DROP if isinstance(self.fault, Hole) else _RST if self.fault.rst else _FIN)
            await asyncio.Event().wait()

    async def finish(self):
        """The answer was complete."""
        if self.held is None:
            return
        data = bytes(self.held)
        if isinstance(self.fault, Half):
            await self.lane.send(data[: len(data) // 2])
            await self.lane.send(_RST if self.fault.rst else _FIN)
            await asyncio.Event().wait()
        if isinstance(self.fault, Lost):
            self.fault.then()
            await self.lane.send(_RST)
            await asyncio.Event().wait()
        async with self.fault.turn():
            await self.lane.send(data)
            await self.lane.flush()


# ---- The proxy


def make_authority(folder):
    """A CA and a certificate for 127.0.0.1 that it signed; the paths of the CA's, the certificate and its key."""
    folder = pathlib.Path(folder)
    ca, ca_key, certificate, key = (folder / name for name in ("ca.crt", "ca.key", "tls.crt", "tls.key"))
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    options = dict(check=True, stdin=subprocess.DEVNULL, capture_output=True)
    subprocess.run([*new, "-keyout", ca_key, "-out", ca, "-subj", "/CN=fault-proxy-ca"], **options)
    subprocess.run(
        [*new, "-keyout", key, "-out", certificate, "-CA", ca, "-CAkey", ca_key, "-subj", "/CN=fault-proxy"]
        + ["-addext", f"subjectAltName=IP:{HOST},DNS:localhost", "-addext", "basicConstraints=CA:FALSE"], **options)
    return ca, certificate, key


class FaultProxy:
    """The proxy; a context manager. See the module's text."""

    def __init__(self, upstream_port, upstream_ca):
        self.upstream_port = upstream_port
        self.upstream_tls = ssl.create_default_context(cafile=upstream_ca)
        self.to_client = self.to_server = Weather()
        self.records = collections.deque(maxlen=RECORDS_MAX)
        self.errors = []  # of the proxy itself: a test that finds one here proves nothing
        self.rules = []
        self.connections = {}
        self.accepted = 0
        self.port = None

    # Start and stop

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="coco-proxy-")
        self.ca, certificate, key = make_authority(self.scratch.name)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self.tls.set_alpn_protocols(["http/1.1"])
        self.tls.num_tickets = 0  # or a client could read something before the first answer
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._keep_error)
        self.thread = threading.Thread(target=self.loop.run_forever, name="fault-proxy")
        self.thread.start()
        try:
            self._call(self._listen())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(TimeoutError):
            self._call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(CALL_S)
        self.loop.close()
        self.scratch.cleanup()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(CALL_S)

    def _keep_error(self, _, context):
        error = context.get("exception")
        if not isinstance(error, (*PEER_GONE, asyncio.CancelledError)):
            self.errors.append(error or context["message"])

    async def _listen(self):
        self.server = await asyncio.start_server(
            self._accept, HOST, self.port or 0, ssl=self.tls, limit=HEAD_MAX, ssl_shutdown_timeout=1)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _stop(self):
        if getattr(self, "server", None) is not None:
            self.server.close()
        tasks = [connection.task for connection in self.connections.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader, writer):
        self.accepted += 1
        number = self.accepted
        if len(self.connections) >= CONNECTIONS_MAX:
            self.errors.append(Malformed(f"more than {CONNECTIONS_MAX} connections at once"))
            writer.transport.abort()
            return
        try:
            sock = socket_of(writer)
        except ConnectionResetError:
            return
        connection = self.connections[number] = _Connection(self, number, reader, writer, sock)
        connection.task = asyncio.current_task()
        try:
            await connection.run()
        finally:
            del self.connections[number]

    # Rules for what is to come

    def add_rule(self, pattern, fault, times=None):
        """The fault for the next `times` requests that match (None: all); earlier rules go first. Returns the Rule,
        whose `used` counts."""
        rule = Rule(pattern, fault, times)
        self.rules = [*self.rules, rule]
        return rule

    def remove_rule(self, rule):
        self.rules = [other for other in self.rules if other is not rule]

    def clear(self):
        """No more rules, no weather, nothing held back; dropped connections stay dropped."""
        held = [rule.fault for rule in self.rules if isinstance(rule.fault, Hold)]
        self.rules = []
        self.to_client = self.to_server = Weather()
        for fault in held:
            self.release(fault)

    def take_rule(self, request):
        """The first rule that wants the request, or None. For the connections."""
        return next((rule for rule in self.rules if rule.take(request)), None)

    def release(self, hold):
        """Lets all answers go that wait there."""

        async def run():
            hold.release()

        self._call(run())

    # What is under way

    def cut(self, pattern="", rst=True):
        """Ends the connections whose last request matches, by RST or FIN. Returns how many."""

        async def run(connection):
            connection.end = _RST if rst else _FIN
            connection.ending.set()

        return self._each(pattern, run)

    def drop(self, pattern=""):
        """The same connections stay open, and carry nothing any more. Returns how many."""

        async def run(connection):
            connection.dropped = True

        return self._each(pattern, run)

    def expire(self, pattern=""):
        """Puts an ERROR event (410) between two events of the streams that match. Returns how many."""
        return self._each(pattern, lambda connection: connection.expire(), streams=True)

    def _each(self, pattern, function, streams=False):
        async def run():
            hit = [connection for connection in self.connections.values() if self._is_hit(connection, pattern, streams)]
            for connection in hit:
                await function(connection)
            return len(hit)

        return self._call(run())

    @staticmethod
    def _is_hit(connection, pattern, streams):
        if connection.current is None:
            return pattern == "" and not streams
        request = connection.current.request
        open_stream = connection.stream is not None and not request.ended and not connection.dropped
        return request.matches(pattern) and (open_stream or not streams)

    # What was

    def requests(self, pattern="", since=0.0):
        """The requests that matched, oldest first; since: of time.monotonic()."""
        return [r for r in list(self.records) if r.at >= since and r.matches(pattern)]

    def count(self, pattern="", since=0.0):
        return len(self.requests(pattern, since))

    def is_idle(self):
        """Whether nobody is connected, and nothing that somebody has sent who is gone is still to be looked at."""
        async def run():
            for _ in range(3):  # what has come is read in the loop's next turn, and known as a connection in the one after
                await asyncio.sleep(0)
            return not self.connections

        return self._call(run())

    def streams(self, pattern="watch="):
        """The requests whose streams are open and carry something."""
        async def run():
            return [connection.current.request for connection in self.connections.values()
                    if self._is_hit(connection, pattern, True)]

        return self._call(run())
