"""ConfigMaps in a namespace of their own, written straight to the API server, by several threads where it must be quick."""

import concurrent.futures
import contextlib
import http.client
import json
import random
import ssl

from cluster import HOST
from tap import check

WRITERS = 4


class Writer:
    """One connection to the API server."""

    def __init__(self, cluster):
        self.headers = {"Authorization": f"Bearer {cluster.tokens['admin']}"}
        tls = ssl.create_default_context(cafile=cluster.dir / "certs" / "apiserver.crt")
        self.connection = http.client.HTTPSConnection(HOST, cluster.port, timeout=30, context=tls)

    def close(self):
        self.connection.close()

    def ask(self, method, path, body=None, content_type="application/json"):
        """Status and decoded answer."""
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, self.headers | {"Content-Type": content_type})
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def do(self, method, path, body=None, content_type="application/json"):
        status, answer = self.ask(method, path, body, content_type)
        check(200 <= status < 300, f"{method} {path}: status {status}, {str(answer)[:300]}")
        return answer


class ConfigMaps:
    """A namespace with objects of one kind (plural): configmaps or secrets."""

    def __init__(self, cluster, namespace, plural="configmaps"):
        self.cluster, self.namespace = cluster, namespace
        self.path = f"/api/v1/namespaces/{namespace}/{plural}"
        status, answer = cluster.raw("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        check(status in (201, 409), f"creating namespace {namespace}: status {status}, {answer}")

    @contextlib.contextmanager
    def writer(self):
        with contextlib.closing(Writer(self.cluster)) as writer:
            yield writer

    def list(self, labels=""):
        """{key: object} as the API server has them now."""
        with self.writer() as writer:
            answer = writer.do("GET", f"{self.path}?labelSelector={labels}")
        named = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
        return {f"{self.namespace}/{item['metadata']['name']}": item | named for item in answer["items"]}

    def create(self, *names, size=16):
        with self.writer() as writer:
            for name in names:
                self._create(writer, name, size)

    def change(self, *names):
        with self.writer() as writer:
            for name in names:
                self._change(writer, name)

    def delete(self, *names):
        with self.writer() as writer:
            for name in names:
                writer.do("DELETE", f"{self.path}/{name}")

    def _create(self, writer, name, size=16):
        odd = "yes" if sum(name.encode()) % 2 else "no"
        body = {"metadata": {"name": name, "labels": {"odd": odd}}, "data": {"x": "eHh4" * (size // 4)}}
        writer.do("POST", self.path, body)

    def _change(self, writer, name):
        patch = {"data": {"y": "eHg" + random.choice("wxyz")}, "metadata": {"labels": {"odd": random.choice(("yes", "no"))}}}
        # The same value twice would be no change.
        patch["metadata"]["annotations"] = {"n": str(random.getrandbits(64))}
        writer.do("PATCH", f"{self.path}/{name}", patch, "application/merge-patch+json")

    def fill(self, count, prefix="a"):
        """Creates so many, by several threads."""
        self._by_threads([f"{prefix}-{i:04}" for i in range(count)], self._create)

    def churn(self, count, seed, prefix="s"):
        """Creates so many, changes each, and deletes some of them: each writer in an order of its own."""
        names = [f"{prefix}-{i:04}" for i in range(count)]

        def live(writer, name):
            draw = random.Random(f"{seed} {name}")
            self._create(writer, name, draw.choice((4, 16, 400, 3000)))
            for _ in range(draw.choice((1, 1, 1, 3))):
                self._change(writer, name)
            if draw.random() < 0.6:
                writer.do("DELETE", f"{self.path}/{name}")
            if draw.random() < 0.1:
                writer.ask("DELETE", f"{self.path}/{name}")
                self._create(writer, name)  # the same name, another object

        self._by_threads(names, live)

    def _by_threads(self, names, function):
        def write(part):
            with self.writer() as writer:
                for name in part:
                    function(writer, name)

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, [names[i::WRITERS] for i in range(WRITERS)]))
