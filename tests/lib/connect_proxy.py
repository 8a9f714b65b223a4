"""An HTTP CONNECT proxy on a Unix socket, as kube-apiserver's egress selector uses it to reach Services.

    with ConnectProxy(path, resolve) as proxy: ...

resolve(host, port) gives (address, port) to connect to, or None where nothing is there, which the client is told with
status 503. A connection that was made stays until one of its ends closes it, whatever resolve says later. Limits: a head
of HEAD_MAX, CONNECTIONS_MAX connections at a time, CONNECT_S to reach the other side.
"""

import contextlib
import os
import selectors
import socket
import threading

HEAD_MAX = 4096
CONNECTIONS_MAX = 500
CONNECT_S = 3
PIECE = 64 * 1024


class ConnectProxy:
    """failures: (target, reason) of the connections that were refused."""

    def __init__(self, path, resolve):
        self.path, self.resolve = str(path), resolve
        self.failures = []
        self.lock = threading.Lock()
        self.stopped = False
        self.sockets = set()  # that are open, both sides'
        self.threads = set()

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()
        return self

    def __exit__(self, *_):
        with self.lock:
            self.stopped = True
            for end in self.sockets:
                _shut(end, socket.SHUT_RDWR)
        _shut(self.listener, socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()
        os.unlink(self.path)
        for thread in list(self.threads):
            thread.join()

    def _accept(self):
        while not self.stopped:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if len(self.threads) >= CONNECTIONS_MAX:
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self.threads.add(thread)
            thread.start()

    def _serve(self, client):
        try:
            with self._kept(client):
                head = _read_head(client)
                server = self._connect(client, head) if head else None
                if server:
                    with self._kept(server):
                        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        _pump(client, server)
        except OSError:
            pass  # an end that is gone is what both see
        finally:
            self.threads.discard(threading.current_thread())

    @contextlib.contextmanager
    def _kept(self, end):
        with self.lock:
            self.sockets.add(end)
            if self.stopped:
                _shut(end, socket.SHUT_RDWR)
        try:
            yield
        finally:
            with self.lock:
                self.sockets.discard(end)
            end.close()

    def _connect(self, client, head):
        method, target = head.split(b" ")[:2]
        if method != b"CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return None
        host, _, port = target.decode().rpartition(":")
        there = self.resolve(host.strip("[]"), int(port))
        try:
            if there is None:
                raise OSError("nobody is ready there")
            return socket.create_connection(there, CONNECT_S)
        except OSError as error:
            self.failures.append((target.decode(), str(error)))
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return None


def _shut(end, how):
    with contextlib.suppress(OSError):
        end.shutdown(how)


def _read_head(client):
    """The bytes before the empty line; b"" where the client went or sends too much. It sends no more before the answer."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(HEAD_MAX)
        head += piece
        if not piece or len(head) > HEAD_MAX:
            return b""
    return head


def _pump(client, server):
    """Passes on what each side sends until both have ended, or one is gone."""
    server.settimeout(None)
    other = {client: server, server: client}
    with selectors.DefaultSelector() as selector:
        for end in other:
            selector.register(end, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                piece = key.fileobj.recv(PIECE)
                if piece:
                    other[key.fileobj].sendall(piece)
                else:
                    selector.unregister(key.fileobj)
                    _shut(other[key.fileobj], socket.SHUT_WR)
