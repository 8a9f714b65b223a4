"""The program informer_probe under test: told what to follow, asked what it knows, its handlers' calls judged.

    with Probe(binary, kubeconfig, log) as probe:
        probe.add("maps", "-", "v1", "configmaps", "ConfigMap", namespace="x")
        until(lambda: probe.dump("maps")["synced"], "the first list")

Each call of a handler that it prints is replayed: `old` must be what the calls before it left, and `new` something else,
so an event that was lost or told twice is found in `wrong`. replayed() is what the calls amount to.
"""

import collections
import contextlib
import json
import os
import pathlib
import subprocess
import threading

from live import until
from tap import check

STOP_S = 60

# What "timing" says to the program, in its order; 0 keeps a default.
TIMING = ("backoff_first_ms", "backoff_max_ms", "watch_min_s", "watch_max_s", "silent_ms", "ping_ms", "page",
          "plain_silent_ms", "handshake_ms", "plain_ms")


class Probe:
    """The running program; a context manager, which wants it to end in order and with status 0."""

    def __init__(self, binary, kubeconfig, log, sanitizer_options="", **timing):
        self.binary, self.kubeconfig, self.log = binary, kubeconfig, pathlib.Path(log)
        self.timing = timing
        self.environment = dict(os.environ)
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
            given = os.environ.get(name, "")
            self.environment[name] = ":".join(part for part in (given, sanitizer_options) if part)
        self.lock = threading.Lock()
        self.answers = collections.defaultdict(list)  # (what, id): answers
        self.objects = collections.defaultdict(dict)  # id: key: resourceVersion
        self.calls = collections.Counter()  # by id
        self.wrong = []
        self.troubles = []

    def __enter__(self):
        with open(self.log, "wb") as errors:
            self.program = subprocess.Popen(
                [self.binary, str(self.kubeconfig)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=self.environment)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        try:
            if self.timing:
                self.tell("timing", *(self.timing.get(name, 0) for name in TIMING))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        status = self._end()
        if kind is None:
            check(status == 0, f"the probe ended with status {status}: {self.log.read_text()[-4000:]}")
            self.check_calls()

    def _end(self):
        try:
            self.tell("quit")
            return self.program.wait(STOP_S)
        except (OSError, subprocess.TimeoutExpired):
            self.program.kill()
            return self.program.wait()
        finally:
            with contextlib.suppress(BrokenPipeError):
                self.program.stdin.close()
            self.reader.join(STOP_S)
            self.program.stdout.close()

    # What it prints

    def _read(self):
        for line in self.program.stdout:
            with self.lock:
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    self.wrong.append(f"a line that is none ({error!r}): {line[:300]}")

    def _take(self, said):
        if "trouble" in said:
            self.troubles.append(said)
        elif "dump" in said or "stats" in said:
            what = "dump" if "dump" in said else "stats"
            self.answers[what, said[what]].append(said)
        elif "key" in said:
            self._replay(said)
        elif "error" in said:
            self.wrong.append(said["error"])

    def _replay(self, call):
        objects, key, old, new = self.objects[call["id"]], call["key"], call["old"], call["new"]
        self.calls[call["id"]] += 1
        if objects.get(key) != old or old == new:
            self.wrong.append(f"{call}, where the calls before it left {objects.get(key)}")
        if new is None:
            objects.pop(key, None)
        else:
            objects[key] = new

    # What it is told and asked

    def tell(self, *words):
        self.program.stdin.write(" ".join(map(str, words)) + "\n")
        self.program.stdin.flush()

    def add(self, name, group, version, plural, kind, namespace="-", labels="-", fields="-", metadata=False):
        words = [name, group, version, plural, kind, namespace, labels, fields]
        self.tell("add", *words, *(["metadata"] if metadata else []))

    def _ask(self, what, name):
        with self.lock:
            before = len(self.answers[what, name])
        self.tell(what, name)
        until(lambda: len(self.answers[what, name]) > before or self.program.poll() is not None, f"{what} {name}")
        check(self.program.poll() is None, f"the probe has ended: {self.log.read_text()[-4000:]}")
        with self.lock:
            return self.answers[what, name][-1]

    def dump(self, name):
        """{"objects": {key: resourceVersion}, "hashes": {key: SHA-256}, "synced": bool}"""
        return self._ask("dump", name)

    def stats(self, name):
        """lists, watches, events, bookmarks, expired, failures"""
        return self._ask("stats", name)

    def replayed(self, name):
        """{key: resourceVersion} as the handlers' calls have it."""
        with self.lock:
            return dict(self.objects[name])

    def check_calls(self):
        with self.lock:
            check(not self.wrong, f"{len(self.wrong)} wrong calls, such as {self.wrong[:5]}")

    def rss_kib(self):
        text = pathlib.Path(f"/proc/{self.program.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])
