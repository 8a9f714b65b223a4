#!/usr/bin/python3
"""A container's program for tests: tells over HTTP how it sees the world. Run by tests/e2e/node.py as image "pod_probe.py".

    GET /                what the process is: its user, environment, arguments, host name
    GET /file?PATH       a file's text, or how it can't be read or written
    POST /ready, /unready, /sick, /exit     change what /readyz and /healthz say, or end with status 3

SIGTERM ends it with status 0 after $LINGER seconds.
"""

import http.server
import json
import os
import pathlib
import signal
import socket
import sys
import threading

state = {"/readyz": True, "/healthz": True}
ended = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path in state:
            self.answer(200 if state[path] else 503, {})
        elif path == "/file":
            self.answer(200, look(pathlib.Path(query)))
        else:
            capabilities = [line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "Cap" in line]
            told = {"user": os.getuid(), "environment": dict(os.environ), "arguments": sys.argv[1:]}
            self.answer(200, told | {"host": socket.gethostname(), "capabilities": capabilities})

    def do_POST(self):
        changes = {"/ready": ("/readyz", True), "/unready": ("/readyz", False), "/sick": ("/healthz", False)}
        if self.path == "/exit":
            os._exit(3)
        state.update([changes[self.path]])
        self.answer(200, {})

    def log_message(self, *_):
        pass


def look(path):
    """A file as text; for a folder, whether a file can be made there."""
    try:
        if path.is_dir():
            (path / "made").write_text("")
            return {"writable": True}
        return {"text": path.read_text()}
    except OSError as error:
        return {"error": error.strerror}


def main():
    host, port = os.environ["COCO_PLAIN_LISTEN"].rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    ended.wait()
    threading.Event().wait(float(os.environ.get("LINGER", "0")))
    os._exit(0)


main()
