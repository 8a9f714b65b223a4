"""An API server that does what it is told, for the faults that a real one won't show on demand.

    with FakeApi(certificates.pair("good")) as api:
        api.script(status(429, headers={"Retry-After": "1"}), answer({"kind": "Pod"}))

Each request takes the next step of the script; without one, it is answered with an empty object. A step is called with
the connection and the request, and returns whether the connection stays open. Loopback only; nothing sleeps for a
fixed time.
"""

import contextlib
import gzip
import json
import os
import pathlib
import queue
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

HOST = "127.0.0.1"
DEADLINE_S = 60


# ---- Certificates


class Certificates:
    """Makes, once each, CAs and what they sign, in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def _openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def _make(self, name, *args):
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not certificate.exists():
            self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                          "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate), *args)
        return str(certificate), str(key)

    def ca(self, name="ca"):
        return self._make(name, "-addext", "keyUsage=critical,keyCertSign")

    def pair(self, name, names=f"IP:{HOST},DNS:localhost", ca="ca"):
        certificate, key = self.ca(ca)
        return self._make(name, "-CA", certificate, "-CAkey", key, "-addext", f"subjectAltName={names}",
                          "-addext", "basicConstraints=critical,CA:FALSE")


# ---- HTTP/1.1


class Request:
    def __init__(self, method, path, headers, body, connection):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.connection = connection  # its number, from 1
        self.at = time.monotonic()

    def json(self):
        return json.loads(self.body)


class Gone(Exception):
    """The client has closed the connection."""


class Connection:
    def __init__(self, sock, number):
        self.sock, self.number, self.pending = sock, number, b""

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone from e

    def receive(self):
        try:
            data = self.sock.recv(65536)
        except OSError as e:
            raise Gone from e
        if not data:
            raise Gone
        self.pending += data

    def until(self, mark):
        while mark not in self.pending:
            self.receive()
        head, self.pending = self.pending.split(mark, 1)
        return head

    def exactly(self, n):
        while len(self.pending) < n:
            self.receive()
        data, self.pending = self.pending[:n], self.pending[n:]
        return data

    def request(self):
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        body = self.exactly(int(headers.get("content-length", 0)))
        return Request(method, path, headers, body, self.number)

    def wait_for_end(self):
        """Until the client goes away."""
        with contextlib.suppress(Gone):
            while True:
                self.receive()

    def reset(self):
        """Ends it with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class _Server:
    """Accepts on loopback; a thread for each connection."""

    def __init__(self):
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        self.open = {}
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self):
        """Ends all connections."""
        with self.lock:
            for sock in self.open.values():
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.accepted += 1
                number = self.accepted
                self.open[number] = sock
            threading.Thread(target=self._run, args=(sock, number), daemon=True).start()

    def _run(self, sock, number):
        sock.settimeout(DEADLINE_S)
        with contextlib.suppress(Gone, OSError, ValueError), sock:
            self.serve(sock, number)
        with self.lock:
            del self.open[number]

    def serve(self, sock, number):
        raise NotImplementedError


class FakeApi(_Server):
    """pair None: plain HTTP. client_ca: clients need a certificate of it."""

    def __init__(self, pair=None, alpn=("http/1.1",), client_ca=None):
        self.requests = []
        self.names = []  # asked for by SNI, in order of the handshakes
        self.clients = []  # common names of the clients' certificates
        self.steps = queue.Queue()
        self.before_tls = queue.Queue()
        self.context = self._context(pair, alpn, client_ca) if pair else None
        super().__init__()

    def _context(self, pair, alpn, client_ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        context.set_alpn_protocols(list(alpn))
        context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://{HOST}:{self.port}"

    def script(self, *steps):
        for step in steps:
            self.steps.put(step)

    def serve(self, sock, number):
        with contextlib.suppress(queue.Empty):
            self.before_tls.get_nowait()(sock)
            return
        if self.context:
            sock = self._shake_hands(sock)
            with self.lock:
                self.open[number] = sock
            certificate = sock.getpeercert() or {}
            self.clients += [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        with sock:
            if self.context and sock.selected_alpn_protocol() == "h2":
                Http2(Connection(sock, number), self).run()
                return
            connection = Connection(sock, number)
            while self.step(connection, connection.request()):
                pass

    def _shake_hands(self, sock):
        """One who is refused reads why: closed with something unread, the connection would be reset, and the alert lost."""
        tls = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        try:
            tls.do_handshake()
        except ssl.SSLError as error:
            with socket.socket(fileno=tls.detach()) as plain:
                plain.shutdown(socket.SHUT_WR)
                plain.settimeout(DEADLINE_S)
                while plain.recv(65536):
                    pass
            raise Gone(str(error)) from None
        return tls

    def step(self, connection, request):
        self.requests.append(request)
        try:
            step = self.steps.get_nowait()
        except queue.Empty:
            step = answer({})
        return step(connection, request)

    def paths(self):
        return [f"{r.method} {r.path}" for r in self.requests]


# ---- Steps


def raw(data, stays=False):
    """These bytes, and the end unless it stays."""

    def step(connection, _request):
        connection.send(data)
        return stays

    return step


def message(code, body, headers=None):
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(value, code=200, headers=None):
    """A value as JSON, or bytes as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return raw(message(code, body, {"Content-Type": "application/json"} | (headers or {})), stays=True)


def status(code, reason="", text="", headers=None, **details):
    value = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text,
             "reason": reason, "details": details, "code": code}
    return answer(value, code, headers)


def packed(data):
    """The bytes as the content of a gzip answer that says so."""
    return answer(gzip.compress(data), headers={"Content-Encoding": "gzip"})


def close(_connection, _request):
    """The end, without an answer."""
    return False


def reset(connection, _request):
    connection.reset()
    return False


def hang(connection, _request):
    connection.wait_for_end()
    return False


def drip(data):
    """A byte now and then, until the client has had enough."""

    def step(connection, _request):
        for byte in data:
            connection.send(bytes([byte]))
            if select.select([connection.sock], [], [], 0.02)[0]:
                connection.receive()
        return False

    return step


def then_close(step):
    """Another step, and then the end, unannounced."""

    def both(connection, request):
        step(connection, request)
        return False

    return both


# ---- HTTP/2: as much of it as a client of one request at a time needs


class Http2:
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
    END_STREAM, ACK, END_HEADERS = 1, 1, 4
    REFUSED_STREAM = 7

    def __init__(self, connection, api):
        self.connection, self.api = connection, api

    def frame(self, kind, flags, stream, payload=b""):
        self.connection.send(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def run(self):
        self.connection.exactly(24)
        self.frame(self.SETTINGS, 0, 0)
        while True:
            head = self.connection.exactly(9)
            payload = self.connection.exactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == self.SETTINGS and not flags & self.ACK:
                self.frame(self.SETTINGS, self.ACK, 0)
            if kind == self.PING and not flags & self.ACK:
                self.frame(self.PING, self.ACK, 0, payload)
            if kind in (self.HEADERS, self.DATA) and flags & self.END_STREAM:
                request = Request("h2", str(stream), {}, payload, self.connection.number)
                if not self.api.step(self, request):
                    return

    def answer(self, request, body):
        stream = int(request.path)
        self.frame(self.HEADERS, self.END_HEADERS, stream, b"\x88")  # :status 200
        self.frame(self.DATA, self.END_STREAM, stream, body)


def answer2(value):
    def step(http2, request):
        http2.answer(request, json.dumps(value).encode())
        return True

    return step


def refuse2(http2, request):
    """The stream has not been looked at, says the server, and the connection ends."""
    http2.frame(Http2.GOAWAY, 0, 0, struct.pack(">II", 0, 0))
    http2.frame(Http2.RST_STREAM, 0, int(request.path), struct.pack(">I", Http2.REFUSED_STREAM))
    return True


def silent2(_http2, _request):
    """Nothing, but the connection stays."""
    return True


def close2(_http2, _request):
    return False


# ---- Proxies


class Proxy(_Server):
    """Speaks CONNECT and SOCKS5; notes where to it was asked to connect, and connects to `port` whatever that was."""

    def __init__(self, port):
        self.to_port = port
        self.asked = []
        self.heads = []
        super().__init__()

    def serve(self, sock, number):
        connection = Connection(sock, number)
        if connection.exactly(1) == b"\x05":
            self._socks(connection)
        else:
            head = connection.until(b"\r\n\r\n").decode()
            self.heads.append(head)
            self.asked.append(head.split(" ")[1])
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection((HOST, self.to_port)) as other:
            self._pass(sock, other)

    def _socks(self, connection):
        connection.exactly(connection.exactly(1)[0])
        connection.send(b"\x05\x00")
        kind = connection.exactly(4)[3]
        name = socket.inet_ntoa(connection.exactly(4)) if kind == 1 else connection.exactly(connection.exactly(1)[0]).decode()
        port = int.from_bytes(connection.exactly(2), "big")
        self.asked.append(f"{'address' if kind == 1 else 'name'} {name}:{port}")
        connection.send(b"\x05\x00\x00\x01" + bytes(6))

    def _pass(self, one, other):
        ends = {one: other, other: one}
        while True:
            for sock in select.select(list(ends), [], [], DEADLINE_S)[0]:
                data = sock.recv(65536)
                if not data:
                    return
                ends[sock].sendall(data)


# ---- The client


class Caller:
    """A kube_call that takes calls until the end; its answers are decoded."""

    def __init__(self, program, kubeconfig, *arguments, secrets=()):
        self.secrets = [s.encode() for s in secrets]
        self.log = open(os.memfd_create("log"), "w+b")
        # What would lead all requests astray, and must not count.
        trap = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        self.process = subprocess.Popen(
            [program, "--kubeconfig", str(kubeconfig), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, env=os.environ | trap | {"no_proxy": "", "SSL_CERT_FILE": "/nowhere"})

    def start(self, **call):
        self.process.stdin.write(json.dumps(call).encode() + b"\n")
        self.process.stdin.flush()

    def finish(self):
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise AssertionError(f"kube_call says nothing; its errors: {self.errors()}")
        for secret in self.secrets:
            if secret in line:
                raise AssertionError(f"a secret is in {line}")
        return json.loads(line)

    def call(self, **call):
        self.start(**call)
        return self.finish()

    def signal(self, number):
        self.process.send_signal(number)

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.process.stdin.close()
            code = self.process.wait(DEADLINE_S)
            if kind is None and (code != 0 or self.errors()):
                raise AssertionError(f"kube_call ended with {code}: {self.errors()}")
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.log.close()


def write_kubeconfig(path, server, ca=None, token=None, token_file=None, client=None, **cluster):
    """cluster: further settings, with '_' for '-'."""
    entry = {"server": server} | {k.replace("_", "-"): v for k, v in cluster.items()}
    if ca:
        entry["certificate-authority"] = str(ca)
    user = {}
    if token:
        user["token"] = token
    if token_file:
        user["tokenFile"] = str(token_file)
    if client:
        user["client-certificate"], user["client-key"] = client
    pathlib.Path(path).write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "t",
        "clusters": [{"name": "t", "cluster": entry}], "users": [{"name": "t", "user": user}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
    }))
    return path
