"""Real ``twistd`` processes as nodes: what the tests of them share."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from tests.anypeer import AnyPeer
from tests.daemon.test_twistd import PROJECT, TWISTD, Process
from tests.fleet.http.test_process import AskMixin
from tests.fleet.redis.redises import Client, FleetCase
from tests.pairs import freshClient
from thing import IdentityKey, ThingFactory


class ProcessCase(AskMixin, FleetCase):
    """Tests in which nodes are processes of their own, and are asked over HTTP."""

    def setUp(self) -> None:
        super().setUp()
        self.status: dict[str, str] = {}

    async def spawned(self, name: str, *admitting: str, port: int = 0) -> tuple[Process, int]:
        """A node in a process, and its port; it admits everybody, or as it is told."""
        process = Process()
        transport = self.reactor.spawnProcess(
            process,
            sys.executable,
            [
                *(sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "thing"),
                *("--port", f"tcp:{port}:interface=127.0.0.1", "--node", name),
                *(admitting or ("--anyone",)),
                *("--presence", f"unix://{self.redis.path}", "--status", "0"),
            ],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(PROJECT),
                "PYTHONUNBUFFERED": "1",
                "THING_HOME": os.path.join(self.redis.directory, "home"),
            },
            path=self.redis.directory,
        )
        process.pid = transport.pid

        async def end() -> None:
            if not process.ended.called:
                os.kill(process.pid, signal.SIGKILL)
                await process.ended

        self.addCleanup(end)
        line = await process.whenLine("Listening on")
        await process.whenLine("up to date")
        status = await process.whenLine("Status is told at")
        self.status[name] = "tcp:" + status.rpartition("/")[2]
        return process, int(line.partition("127.0.0.1:")[2].split()[0])

    async def come(self, port: int, count: int, *keys: IdentityKey) -> list[Client]:
        """Things come to a port, with these keys or new ones; each is called by its fingerprint."""
        clients: list[Client] = []
        for key in keys or [IdentityKey.generate() for _ in range(count)]:
            factory = ThingFactory(freshClient(credential=key), AnyPeer())
            factory.protocol = Client
            endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
            client: Any = await endpoint.connect(factory)
            self.things.append(client)
            await client.whenEstablished()
            clients.append(client)
        return clients
