"""A Service of loopback: takes connections on one port and passes each to the next of its backends that is ready, as
kube-proxy does by endpoints.

    with Balancer(lambda: [9443, 9444]) as balancer:
        ... a client connects to 127.0.0.1:{balancer.port} ...

ready: the ports that are ready, asked a few times a second. All of it runs on two threads, and is gone after the with
statement.
"""

import asyncio
import contextlib
import threading

HOST = "127.0.0.1"
PROBE_S = 0.2
CALL_S = 20
PIECE = 64 * 1024


class Balancer:
    def __init__(self, ready):
        self.ready = ready
        self.backends = []
        self.turns = 0
        self.refused = 0  # connections for which nobody was ready
        self._stopping = threading.Event()

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._pass, HOST, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._prober = threading.Thread(target=self._probe, daemon=True)
        self._prober.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._prober.join(CALL_S)
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_S)

    def _probe(self):
        while not self._stopping.wait(PROBE_S):
            self.backends = self.ready()

    async def _end(self):
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self):
        """To one that is ready and takes it; None where there is none."""
        ports = list(self.backends)
        self.turns += 1
        for port in ports[self.turns % len(ports) :] + ports[: self.turns % len(ports)] if ports else ():
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        self.refused += 1
        return None

    async def _pass(self, reader, writer):
        backend = await self._connect()
        if backend:
            await asyncio.gather(self._pump(reader, backend[1]), self._pump(backend[0], writer))
        writer.close()

    @staticmethod
    async def _pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
