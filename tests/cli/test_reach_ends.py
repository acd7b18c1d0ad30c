"""Reaches whose parts are killed, or read nothing, and many at once: real processes."""

from __future__ import annotations

import json
import os
import random
import signal
from typing import Any
from urllib.request import urlopen

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from tests.cli.reachable import LONG, PATIENCE, WELCOME, Echo, Piped, ReachCase, Service
from tests.daemon.test_twistd import Process
from thing.cli.exits import ExitCode
from thing.session.relay import factoryOf

MANY = 200
"""How many reaches there are at once."""

SOME = 20_000
"""How much goes each way in each of them, octets."""

MUCH = 32 << 20
"""How much is read late, octets: more than all windows, sockets and pipes hold."""

HELD = 16 << 20
"""How much more memory a server may take for it, octets: a window each way, and what it sends."""

TTLS = 10
"""For how many TTLs nothing is read."""

ECHO = """
import socket
from contextlib import suppress
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("port", listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionResetError):
            while data := connection.recv(1000):
                connection.sendall(data)
        print("closed", flush=True)
"""
"""A service with one connection at a time."""


class KillTests(ReachCase):
    """A part is gone from one moment to the next; the others learn it, and with which words."""

    async def conversation(self) -> Piped:
        """A reach in which something has come back."""
        reach = self.reach("echo")
        reach.transport.write(b"here\n")
        await self.until(lambda: reach.received or reach.ended.called)
        self.assertEqual(reach.received, b"here\n", reach.output)
        return reach

    def kill(self, process: Process) -> None:
        """End it without a warning."""
        os.kill(process.pid, signal.SIGKILL)

    async def test_outside(self) -> None:
        """
        Without the operator's command the service's connection is closed. Without the service the
        output ends, and the command does when its input has, too.
        """
        service = self.spawn("-c", ECHO)
        port = (await service.whenLine("port")).split()[-1]
        await self.serve()
        await self.agent(f"echo=tcp:127.0.0.1:{port}")
        self.kill(await self.conversation())
        await service.whenLine("closed")
        reach = await self.conversation()
        self.kill(service)
        await reach.outputEnded
        reach.transport.closeStdin()
        self.assertEqual(await reach.ended, ExitCode.GOODBYE, reach.output)
        again = self.reach("echo")
        self.assertEqual(await again.ended, ExitCode.UNREACHABLE, again.output)

    async def test_between(self) -> None:
        """
        Without the agent the command says that the thing went away, and without the server that
        its session did. An agent that is started in its place does as well.
        """
        service = Service(Echo)
        endpoint = await self.listen(service)
        server = await self.serve()
        agent = await self.agent(f"echo={endpoint}")
        reach = await self.conversation()
        self.kill(agent)
        self.assertEqual(await reach.ended, ExitCode.WENT_AWAY, reach.output)
        await self.until(lambda: not service.connections)
        agent = await self.agent(f"echo={endpoint}")
        reach = await self.conversation()
        self.kill(server)
        self.assertEqual(await reach.ended, ExitCode.TRUNCATED, reach.output)
        await self.until(lambda: not service.connections)
        if LONG:  # The agent waits for up to ten seconds, by chance.
            begun = len(agent.lines)
            await self.serve(listen=f"tcp:{self.where.rpartition(':')[2]}:interface=127.0.0.1")
            await agent.whenLine(WELCOME, begun)
            await self.conversation()

    async def test_thingsNode(self) -> None:
        """Without the node that has the thing, the command at another one says so."""
        service = Service(Echo)
        _, thingsNode = await self.serveTogether()
        await self.agent(f"echo={await self.listen(service)}")
        reach = await self.conversation()
        self.kill(thingsNode)
        self.assertEqual(await reach.ended, ExitCode.NOT_CONNECTED, reach.output)
        self.assertIn("no way to the node that lamp is on", reach.output)
        await self.until(lambda: not service.connections)


class Telling(Protocol):
    """Says much at once."""

    content = random.Random(14).randbytes(MUCH)

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.transport.write(self.content)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)


def memoryOf(pid: int) -> int:
    """How much of the machine's memory a process has, octets."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kilobytes) * 1024


class PauseTests(ReachCase):
    """A reader that stops."""

    ttl = 1

    async def test_tenTtls(self) -> None:
        """Nobody is lost, nothing is missing, and the server holds no more than its windows."""
        server = await self.serve()
        agent = await self.agent(f"much={await self.listen(Service(Telling))}")
        before = memoryOf(server.pid)
        reach = self.reach("much")
        await self.until(lambda: reach.received)
        reach.transport.pauseProducing()
        await self.later(TTLS * self.ttl)
        self.assertLess(len(reach.received), MUCH // 2)
        self.assertLess(memoryOf(server.pid) - before, HELD)
        reach.transport.resumeProducing()
        await reach.outputEnded
        reach.transport.closeStdin()
        self.assertEqual(await reach.ended, ExitCode.GOODBYE, reach.output)
        self.assertTrue(reach.received == Telling.content)
        self.assertEqual(agent.output.count(WELCOME), 1, agent.output)


class Asking(Protocol):
    """One operator's connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.wanted = 0
        self.came: Deferred[None] = succeed(None)
        self.closed: Deferred[None] = Deferred()

    def ask(self, content: bytes) -> Deferred[None]:
        """Say something; fires when as much has come back."""
        self.came, self.wanted = Deferred(), len(self.received) + len(content)
        self.transport.write(content)
        return self.came

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if len(self.received) == self.wanted:
            self.came.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.came.called:
            self.came.errback(reason)
        self.closed.callback(None)


class ManyTests(ReachCase):
    """Many connections at a time through one command."""

    async def test_atOnce(self) -> None:
        """All are open at once, each gets what is its own, and the server tells of them."""
        server = await self.serve("--status=tcp:0:interface=127.0.0.1")
        status = (await server.whenLine("Status is told at ")).split()[-1]
        service = Service(Echo)
        await self.agent(f"echo={await self.listen(service)}")
        port = await self.forward("echo")
        from twisted.internet import reactor

        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        operators = [Asking() for _ in range(MANY)]
        await gatherResults([endpoint.connect(factoryOf(each)) for each in operators])
        self.addCleanup(self.hangUp, operators)
        contents = [random.Random(number).randbytes(SOME) for number in range(MANY)]
        await gatherResults(
            [each.ask(content[:1]) for each, content in zip(operators, contents, strict=True)]
        )
        self.assertEqual(len(service.connections), MANY)
        self.assertEqual(len(await self.reaches(status)), MANY)
        await gatherResults(
            [each.ask(content[1:]) for each, content in zip(operators, contents, strict=True)]
        )
        self.assertEqual([bytes(each.received) for each in operators], contents)
        await self.hangUp(operators)
        await self.until(lambda: not service.connections)
        self.assertEqual(await self.reaches(status), [])

    def hangUp(self, operators: list[Asking]) -> Deferred[Any]:
        """Close all connections."""
        for each in operators:
            each.transport.abortConnection()
        return gatherResults([each.closed for each in operators])

    async def reaches(self, status: str) -> list[Any]:
        """What a server tells of open reaches."""

        def ask() -> Any:
            with urlopen(f"{status}/reaches", timeout=PATIENCE) as answer:
                return json.load(answer)["reaches"]

        found: list[Any] = await deferToThread(ask)
        return found
