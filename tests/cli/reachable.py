"""A thing whose services are reached, by real processes: server, agent, the operator's command."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.daemon.test_twistd import Process, TwistdCase
from tests.fleet.redis.redises import RedisServer
from tests.trust.test_keys import write
from thing import IdentityKey

LONG = bool(os.environ.get("THING_LONG_TESTS"))
"""Whether tests may take as long as they like."""

WELCOME = "Welcome to Thing"
"""What the demo says first in each session; the agent prints it."""

PATIENCE = 60.0
"""How long anything may take, seconds."""


class Piped(Process):
    """
    A process whose standard output is octets, and only its standard error lines.

    :ivar received: the octets.
    :ivar outputEnded: fires when no more come.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.received = bytearray()
        self.outputEnded: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.received += data

    def errReceived(self, data: bytes) -> None:
        super().outReceived(data)

    def outConnectionLost(self) -> None:
        self.outputEnded.callback(None)


class Echo(Protocol):
    """One connection to a service that gives back what it gets."""

    factory: Service

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)


class Service(Factory):
    """
    A service beside the thing, in this process.

    :ivar connections: those that are open.
    """

    noisy = False

    def __init__(self, protocol: type[Protocol] = Echo) -> None:
        self.protocol = protocol
        self.connections: set[Any] = set()


class ReachCase(TwistdCase):
    """
    Tests with a server, a thing called ``lamp`` and an operator who may reach all of it.

    :ivar where: where the operator's node listens, host and port.
    :ivar agentsNode: where the thing's does.
    :ivar known: the options by which a command believes them.
    """

    timeout = 3 * PATIENCE
    ttl = 5

    def setUp(self) -> None:
        super().setUp()
        keys = {name: IdentityKey.generate() for name in ("server", "lamp", "operator")}
        for name, key in keys.items():
            key.save(self.absolute(name))
        write(
            self.path("authorized"),
            f"{keys['lamp'].publicLine()} lamp\n"
            f'permit-reach="lamp:*" {keys["operator"].publicLine()} operator\n'.encode(),
        )
        self.known = ("--server-key", keys["server"].fingerprint)
        self.where = self.agentsNode = ""

    def absolute(self, name: str) -> str:
        """The path of a file in the test's directory, from wherever."""
        return os.path.abspath(self.path(name))

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        from twisted.internet import reactor

        end = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), end, "it never holds")
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def later(self, seconds: float) -> None:
        """Wait."""
        from twisted.internet import reactor

        await deferLater(reactor, seconds)  # type: ignore[arg-type]

    # The programs.

    async def serve(self, *arguments: str, listen: str = "tcp:0:interface=127.0.0.1") -> Process:
        """Start a server; it is the operator's and the thing's from now on."""
        server = self.twistd(
            *(f"--port={listen}", f"--ttl={self.ttl}", "--identity", self.absolute("server")),
            *("--authorized", self.absolute("authorized"), "--demo", *arguments),
        )
        line = await server.whenLine("Listening on ")
        self.where = self.agentsNode = line.partition("Listening on ")[2].split()[0]
        return server

    async def serveTogether(self) -> tuple[Process, Process]:
        """Start two nodes of a fleet, the operator's and the thing's."""
        redis = RedisServer().start()
        self.addCleanup(redis.remove)
        key = Path(self.path("server.pub")).read_text()
        write(self.path("nodes"), f'permit-reach="*:*" {key}'.encode())
        nodes, places = [], []
        for name in ("south", "north"):
            port = freePort()
            node = await self.serve(
                *("--presence", f"unix://{redis.path}", "--node", name),
                *("--nodes", self.absolute("nodes"), "--advertise", f"127.0.0.1:{port}"),
                listen=f"tcp:{port}:interface=127.0.0.1",
            )
            await node.whenLine("is up to date")
            nodes.append(node)
            places.append(self.where)
        self.agentsNode, self.where = places
        return nodes[1], nodes[0]

    async def agent(self, *exposed: str, prefix: tuple[str, ...] = ()) -> Process:
        """
        Start the thing's agent, and wait until it has its session.

        :param exposed: its services, as ``--expose`` takes them.
        :param prefix: a command that runs it.
        """
        agent = Process()
        self.begin(
            agent,
            *(*prefix, sys.executable, "-m", "thing.cli", "agent", self.agentsNode),
            *("--identity", self.absolute("lamp"), *self.known),
            *(word for service in exposed for word in ("--expose", service)),
        )
        await agent.whenLine(WELCOME)
        return agent

    def reaching(self, service: str) -> tuple[str, ...]:
        """The command that reaches a service."""
        return (
            *(sys.executable, "-m", "thing.cli", "reach", "lamp", service),
            *("--server", self.where, "--identity", self.absolute("operator"), *self.known),
        )

    def reach(self, service: str) -> Piped:
        """Start the command, with its standard input and output in this test's hands."""
        process = Piped()
        self.begin(process, *self.reaching(service))
        return process

    async def forward(self, service: str) -> int:
        """Start the command so that it listens; the port."""
        process = Process()
        self.begin(process, *self.reaching(service), "--listen", "0")
        line = await process.whenLine("127.0.0.1:")
        return int(line.rpartition(":")[2].rstrip("/"))

    async def listen(self, service: Service) -> str:
        """Have a service, until the test is over; the endpoint to expose."""
        from twisted.internet import reactor

        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(service)
        self.addCleanup(port.stopListening)

        def hangUp() -> None:
            for connection in list(service.connections):
                connection.transport.abortConnection()

        self.addCleanup(hangUp)
        return f"tcp:127.0.0.1:{port.getHost().port}"

    async def run_(self, *command: str, status: int = 0) -> str:
        """Run a program to its end; what it wrote."""
        process = Process()
        self.begin(process, *command)
        self.assertEqual(await process.ended, status, process.output)
        return process.output


def freePort() -> int:
    """A port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
