"""A TLS server on loopback that does what a script says, for answers that no API server gives on demand.

    def script(c):
        c.upgrade()
        c.text('{"type":"ADDED"}')
        c.close(1000)

    with FakeServer({"/watch": script}) as server:
        ... a client that trusts server.ca talks to https://127.0.0.1:{server.port}/watch ...
        server.requests("/watch")

A script runs on a thread of its own for each request of its path, and what it raises fails the test at the end of the
with statement, unless it is that the client hung up. A Connection is closed when its script returns.
"""

import base64
import contextlib
import hashlib
import json
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import traceback

HOST = "127.0.0.1"
DEADLINE_S = 30
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@contextlib.contextmanager
def dead_port():
    """A port on which nobody listens: bound, as one that is merely free may be another's at any time."""
    with socket.socket() as keeper:
        keeper.bind((HOST, 0))
        yield keeper.getsockname()[1]


class Gone(Exception):
    """The client hung up."""


def make_frame(opcode, payload=b"", fin=True):
    payload = payload.encode() if isinstance(payload, str) else payload
    if len(payload) < 126:
        size = struct.pack("!B", len(payload))
    elif len(payload) < 65536:
        size = struct.pack("!BH", 126, len(payload))
    else:
        size = struct.pack("!BQ", 127, len(payload))
    return bytes([opcode | (0x80 if fin else 0)]) + size + payload


def make_chunk(data):
    data = data.encode() if isinstance(data, str) else data
    return b"%x\r\n%s\r\n" % (len(data), data)


def make_status(code, reason, message="no"):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
                       "reason": reason, "code": code})


class Authority:
    """A CA, and certificates that it signs, in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.ca = self.folder / f"{name}.crt"
        self._run("req", "-x509", *self._new_key(name), "-days", "2", "-out", self.ca, "-subj", f"/CN={name}")

    def _new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key"]

    def _run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True,
                       cwd=self.folder)

    def sign(self, name, names="IP:127.0.0.1,IP:::1,DNS:localhost", days=2):
        """Returns certificate and key."""
        certificate, request = self.folder / f"{name}.crt", self.folder / f"{name}.csr"
        self._run("req", *self._new_key(name), "-subj", f"/CN={name}", "-out", request)
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.folder / f"{self.name}.key",
                  "-CAcreateserial", "-days", str(days), "-extfile", self.folder / f"{name}.ext", "-out", certificate)
        return certificate, self.folder / f"{name}.key"


class Connection:
    """One request, and what a script may do to it."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.head = b""
        self.rest = b""

    def read_head(self):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._receive()
            data += piece
        self.head, _, self.rest = data.partition(b"\r\n\r\n")
        lines = self.head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.path = self.target.partition("?")[0]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.is_upgrade = self.headers.get("upgrade", "").lower() == "websocket"

    def _receive(self):
        try:
            piece = self.sock.recv(65536)
        except (ssl.SSLError, ConnectionError) as error:
            raise Gone(str(error)) from None
        if not piece:
            raise Gone("end")
        return piece

    def send(self, data):
        try:
            self.sock.sendall(data.encode() if isinstance(data, str) else data)
        except (ssl.SSLError, ConnectionError, BrokenPipeError) as error:
            raise Gone(str(error)) from None

    def send_bytewise(self, data):
        """Each byte in a TLS record of its own, and mostly in a segment of its own."""
        for byte in data:
            self.send(bytes([byte]))

    # HTTP

    def answer(self, status, body="", headers=()):
        lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body.encode())}", "", body]
        self.send("\r\n".join(lines))

    def start_chunks(self):
        self.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        self.send(make_chunk(data))

    def end_chunks(self):
        self.send("0\r\n\r\n")

    # WebSocket

    def upgrade_head(self):
        key = self.headers["sec-websocket-key"] + GUID
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        return (f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode()

    def upgrade(self):
        self.send(self.upgrade_head())

    def text(self, *payloads):
        self.send(b"".join(make_frame(TEXT, payload) for payload in payloads))

    def close(self, code, reason=""):
        """With what was sent before it read by the client: a close of the socket alone may throw that away."""
        self.send(make_frame(CLOSE, struct.pack("!H", code) + reason.encode()))
        self.wait_gone()

    def _exactly(self, n):
        while len(self.rest) < n:
            self.rest += self._receive()
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def read_frame(self):
        """(opcode, payload) of a client's frame."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        mask = self._exactly(4)
        return first & 0xF, bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._exactly(size)))

    def end_tls(self):
        """Says that nothing more comes, as servers do before they close in order."""
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            self.sock.unwrap()

    def wait_gone(self):
        """Reads until the client hangs up."""
        with contextlib.suppress(Gone):
            while True:
                self._receive()


class FakeServer:
    """scripts: path -> function(Connection). pair: certificate and key; without tls, it is plain TCP. banner: all that it
    says to anybody, before any handshake."""

    def __init__(self, scripts, pair=None, tls=True, host=HOST, banner=None):
        self.scripts = scripts
        self.tls = tls
        self.banner = banner
        self.names = []  # that clients asked for in TLS
        self.host = host
        self.seen = []
        self.errors = []
        self.lock = threading.Lock()
        self.threads = []
        self.sockets = set()
        self.ending = False
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
            self.context.sni_callback = lambda _sock, name, _context: self.names.append(name)

    def __enter__(self):
        self.listener = socket.create_server((self.host, 0), family=socket.AF_INET6 if ":" in self.host else
                                             socket.AF_INET, backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._accept)
        self.acceptor.start()
        return self

    def __exit__(self, kind, *_):
        self.ending = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(DEADLINE_S)
        self.listener.close()
        self.hang_up()
        for thread in self.threads:
            thread.join(DEADLINE_S)
        if self.errors and kind is None:
            raise AssertionError("a script of the fake server failed:\n" + "\n".join(self.errors))

    def hang_up(self):
        """Cuts all connections."""
        with self.lock:
            sockets = list(self.sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def requests(self, path=None):
        with self.lock:
            return [c for c in self.seen if path is None or c.path == path]

    def wait_requests(self, n, path=None):
        end = time.monotonic() + DEADLINE_S
        while len(self.requests(path)) < n:
            if time.monotonic() > end:
                raise AssertionError(f"{len(self.requests(path))} requests of {path} instead of {n}")
            select.select([], [], [], 0.01)
        return self.requests(path)

    def _accept(self):
        while not self.ending:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self.threads = [t for t in self.threads if t.is_alive()] + [thread]
            thread.start()

    def _serve(self, raw):
        sock = raw
        with self.lock:
            self.sockets.add(raw)
        try:
            raw.settimeout(DEADLINE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.banner is not None:
                raw.sendall(self.banner)
                Connection(self, raw).wait_gone()
                return
            if self.tls:
                sock = self.context.wrap_socket(raw, server_side=True)
                with self.lock:
                    self.sockets.discard(raw)
                    self.sockets.add(sock)
            connection = Connection(self, sock)
            connection.read_head()
            with self.lock:
                self.seen.append(connection)
            self.scripts[connection.path](connection)
        except (Gone, ssl.SSLError, ConnectionError):
            pass
        except Exception:  # whatever a script raises
            if not self.ending:
                self.errors.append(traceback.format_exc())
        finally:
            with self.lock:
                self.sockets.discard(sock)
                self.sockets.discard(raw)
            with contextlib.suppress(OSError):
                sock.close()
