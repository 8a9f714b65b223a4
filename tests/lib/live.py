"""A coco-webhook that runs: started with certificates of its own, asked over TLS, stopped.

    with Webhook(binary, folder_of_profiles) as webhook:
        status, body = webhook.post("/mutate-pods", text)

Nothing here waits for a fixed time: until() polls for a condition, with a deadline.
"""

import contextlib
import http.client
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from tap import check

DEADLINE_S = 30
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def until(condition, what, deadline_s=DEADLINE_S):
    """Waits until the condition's value is true, and returns that."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"never happened in {deadline_s} s: {what}")
        time.sleep(0.01)


def make_certificate(folder):
    """A key and a certificate for 127.0.0.1 that signs itself."""
    certificate, key = pathlib.Path(folder, "tls.crt"), pathlib.Path(folder, "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-keyout", key, "-out", certificate, "-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return certificate, key


class Webhook:
    """The program, its log, and a connection to it that is kept."""

    def __init__(self, binary, profiles, *options):
        self.arguments = [binary, "--profiles", str(profiles), *options]
        self.lines = []
        self.program = self.connection = self.scratch = None

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="coco-live-")
        certificate, key = make_certificate(self.scratch.name)
        self.tls = ssl.create_default_context(cafile=certificate)
        self.program = subprocess.Popen(
            self.arguments + ["--listen", "127.0.0.1:0", "--plain-listen", "127.0.0.1:0"]
            + ["--tls-cert", certificate, "--tls-key", key],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        try:
            serving = until(lambda: self.logged("serving") or self.program.poll() is not None, "the line 'serving'")
            check(isinstance(serving, list), f"the webhook stopped: {self.lines}")
        except BaseException:
            self.__exit__()
            raise
        self.port, self.plain_port = serving[0]["port"], serving[0]["plainPort"]
        return self

    def __exit__(self, *_):
        self.close()
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        self.reader.join(DEADLINE_S)
        self.program.stderr.close()
        self.scratch.cleanup()

    def _read_log(self):
        for line in self.program.stderr:
            self.lines.append(line.rstrip("\n"))

    def logged(self, message):
        """The log lines of that message."""
        return [entry for entry in map(json.loads, [line for line in self.lines if line.startswith("{")])
                if entry.get("msg") == message]

    def stop(self):
        """SIGTERM; the exit status."""
        self.program.send_signal(signal.SIGTERM)
        status = self.program.wait(DEADLINE_S)
        self.reader.join(DEADLINE_S)
        return status

    def rss_kib(self):
        text = pathlib.Path(f"/proc/{self.program.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=DEADLINE_S)

    def raw(self):
        """A connection after its handshake, for what http.client doesn't do."""
        plain = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        return self.tls.wrap_socket(plain, server_hostname="127.0.0.1")

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def post(self, path, body, headers=None):
        """Status and body, over the kept connection, or a new one where the server closed it."""
        for attempt in range(2):
            if self.connection is None:
                self.connection = self.connect()
            fresh = self.connection.sock is None
            try:
                self.connection.request("POST", path, body, HEADERS | (headers or {}))
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self.close()
                if fresh or attempt > 0:
                    raise
        return None

    def get(self, path):
        """Status and text, from the plain port."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=DEADLINE_S)) as c:
            c.request("GET", path)
            answer = c.getresponse()
            return answer.status, answer.read().decode()
