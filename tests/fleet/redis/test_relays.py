"""
Reaches through two real ``twistd`` processes that share a Redis, with one part after the other
killed: each end learns it, and with which words.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.anypeer import AnyPeer
from tests.daemon.test_twistd import Process
from tests.fleet.redis.processes import ProcessCase
from tests.fleet.redis.redises import Client
from tests.pairs import freshClient
from thing import IdentityKey, StopCode, StreamRefused, ThingFactory
from thing.core.capacity import Capacity
from thing.core.records import RECORD_LIMIT
from thing.fleet.nodes import TTL

BUSY_TIME = 16.0
"""What a busy machine takes besides, seconds."""


class End(Protocol):
    """
    An end of a reach.

    :ivar gone: fires with why it is over.
    """

    transport: Any
    echoes = False

    def __init__(self) -> None:
        self.data = bytearray()
        self.gone: Deferred[BaseException | None] = Deferred()
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.echoes:
            self.transport.write(data)
        for waiter in [each for each in self._waiting if len(self.data) >= each[0]]:
            self._waiting.remove(waiter)
            waiter[1].callback(None)

    def whenCame(self, count: int) -> Deferred[None]:
        """Wait for so many octets in all."""
        came: Deferred[None] = Deferred()
        if len(self.data) >= count:
            came.callback(None)
        else:
            self._waiting.append((count, came))
        return came

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(reason.value)


class Echo(End):
    """A service that sends back what it is sent."""

    echoes = True


class Services(Factory[Any]):
    """Builds the ends of a thing, and keeps them."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Echo] = []

    def buildProtocol(self, address: object) -> Echo:
        self.made.append(Echo())
        return self.made[-1]


def freePort() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class RelayTests(ProcessCase):
    """The thing ``lamp`` is on the node ``x``, and the operator ``olga`` on ``y``."""

    def setUp(self) -> None:
        super().setUp()
        self.server, self.lamp, self.olga = (IdentityKey.generate() for _ in range(3))
        self.server.save(self.path("server"))
        self.write("things", self.lamp.publicLine("lamp"), self.operatorLine("*:ssh"))
        self.write("nodes", f'permit-reach="*:*" {self.server.publicLine("fleet")}')
        self.services = Services()

    def path(self, name: str) -> str:
        return os.path.join(self.redis.directory, name)

    def write(self, name: str, *lines: str) -> None:
        """Write a file anew."""
        new = Path(self.path("new"))
        new.write_text("".join(f"{line}\n" for line in lines))
        os.replace(new, self.path(name))

    def operatorLine(self, permit: str) -> str:
        return f'name="olga",permit-reach="{permit}" {self.olga.publicLine()}'

    async def spawn(self, name: str, *more: str) -> tuple[Process, int]:
        """A node that others reach."""
        port = freePort()
        return await self.spawned(
            name,
            *("--identity", self.path("server"), "--authorized", self.path("things")),
            *("--nodes", self.path("nodes"), "--advertise", f"127.0.0.1:{port}", *more),
            port=port,
        )

    async def client(self, key: IdentityKey, port: int) -> Client:
        """Somebody has a session with a node."""
        settings = freshClient(credential=key, capacity=Capacity(RECORD_LIMIT, 32768, 16384, 300))
        factory = ThingFactory(settings, AnyPeer())
        factory.protocol = Client
        factory.serve("reach:ssh", self.services)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        client: Any = await endpoint.connect(factory)
        self.things.append(client)
        await client.whenEstablished()
        return client

    async def both(self) -> tuple[Process, Process, Client]:
        """Two nodes, the thing's and the operator's; and the operator, that has a session."""
        (there, port), (here, other) = await self.spawn("x"), await self.spawn("y")
        await self.client(self.lamp, port)
        operator = await self.client(self.olga, other)
        for node in ("x", "y"):
            await self.until(lambda node=node: self.isThere(node))
        return there, here, operator

    async def isThere(self, node: str) -> bool:
        """Whether a node knows where the thing is."""
        found = await self.json(self.status[node], "/things")
        return bool([each["node"] for each in found["things"]] == ["x"])

    async def reach(self, operator: Client, label: str = "reach:ssh:lamp") -> End:
        """The operator's end of a reach."""
        end: Any = await operator.streams.endpoint(label).connect(Factory.forProtocol(End))
        return end

    async def reached(self) -> tuple[Process, Process, End, Echo]:
        """Two nodes, and both ends of a reach through them."""
        there, here, operator = await self.both()
        end = await self.reach(operator)
        end.transport.write(b"hello")
        await end.whenCame(5)
        return there, here, end, self.services.made[-1]

    async def within(self, waiter: Deferred[Any], seconds: float) -> Any:
        """What something comes to within a time, and what a busy machine takes besides."""
        return await waiter.addTimeout(seconds + BUSY_TIME, self.reactor)

    async def assertRefused(self, operator: Client, code: StopCode) -> None:
        """A reach is refused with a code."""
        error = await self.assertFailure(self.reaching(operator), StreamRefused)
        self.assertEqual(error.code, code)

    def reaching(self, operator: Client) -> Deferred[End]:
        return Deferred.fromCoroutine(self.reach(operator))

    async def test_told(self) -> None:
        """Octets pass; each node tells of it over HTTP, and each can end it."""
        there, here, end, far = await self.reached()
        data = os.urandom(1 << 20)
        end.transport.write(data)
        await end.whenCame(5 + len(data))
        self.assertEqual(bytes(end.data[5:]), data)
        self.assertEqual(far.data, end.data)
        for node in ("x", "y"):
            found = await self.json(self.status[node], "/reaches")
            (record,), complete = found["reaches"], found["complete"]
            self.assertEqual((record["by"], record["node"], complete), ("olga", "x", True))
            self.assertGreater(record["octetsUp"], len(data))
            (shown,) = (await self.json(self.status[node], "/thing?id=lamp"))["reaches"]
            self.assertEqual(shown["id"], record["id"])
        answer = await self.ask(self.status["y"], f"/reaches/{record['id']}", "DELETE")
        self.assertEqual(answer.code, 202)
        self.assertIs((await end.gone).code, StopCode.ENDED)
        self.assertIs((await far.gone).code, StopCode.CANCELLED)
        await self.until(lambda: "reachEnded" in self.kindsOf("lamp"))
        self.assertEqual(self.kindsOf("lamp"), ["joined", "reached", "reachEnded"])
        self.assertIn("Reach", there.output)
        self.assertIn("SHA256", here.output)

    async def test_many(self) -> None:
        """Two hundred at once, in a few sessions, do not mix."""
        _, _, operator = await self.both()
        other = await self.client(self.olga, int(operator.transport.getPeer().port))
        ends = [await self.reach(each) for each in (operator, other) for _ in range(100)]
        for number, end in enumerate(ends):
            end.transport.write(b"%03d" % number)
        await DeferredList([end.whenCame(3) for end in ends])
        self.assertEqual([int(end.data) for end in ends], [*range(200)])
        found = await self.json(self.status["y"], "/reaches")
        self.assertEqual(len(found["reaches"]), 200)

    async def test_thingsNodeKilled(self) -> None:
        """The thing's node is killed: the operator is told that there is no way."""
        there, _, end, far = await self.reached()
        os.kill(there.pid, signal.SIGKILL)
        self.assertIs((await self.within(end.gone, TTL)).code, StopCode.NO_WAY)
        await self.within(far.gone, TTL)  # Its own session is over.
        await self.assertRefused(self.things[-1], StopCode.NO_WAY)

    async def test_thingsNodeSilent(self) -> None:
        """The thing's node stops in the middle: the operator is told within the TTL."""
        there, _, end, _ = await self.reached()
        os.kill(there.pid, signal.SIGSTOP)
        try:
            self.assertIs((await self.within(end.gone, TTL)).code, StopCode.NO_WAY)
        finally:
            os.kill(there.pid, signal.SIGCONT)

    async def test_operatorsNodeKilled(self) -> None:
        """The operator's node is killed: the thing is told that nobody wants it any more."""
        _, here, end, far = await self.reached()
        os.kill(here.pid, signal.SIGKILL)
        self.assertIs((await self.within(far.gone, TTL)).code, StopCode.CANCELLED)
        await self.within(end.gone, TTL)
        await self.until(lambda: "reachEnded" in self.kindsOf("lamp"))
        found = await self.json(self.status["x"], "/reaches")
        self.assertEqual(found["reaches"], [])

    async def test_thingKilled(self) -> None:
        """The thing is gone: the operator is told that, through both nodes."""
        _, _, end, _ = await self.reached()
        self.things[0].abort()
        self.assertIs((await self.within(end.gone, TTL)).code, StopCode.WENT_AWAY)

    async def test_registryKilled(self) -> None:
        """Redis is killed: what is open goes on, and nothing new is found until it is back."""
        _, here, end, _ = await self.reached()
        self.redis.kill()
        await here.whenLine("is away")
        end.transport.write(b"still")
        await end.whenCame(10)
        operator = self.things[-1]
        await self.assertRefused(operator, StopCode.NO_WAY)
        self.redis.start()
        await self.until(lambda: self.isThere("y"))
        again = await self.reach(operator)
        again.transport.write(b"again")
        await again.whenCame(5)
        end.transport.write(b"!")
        await end.whenCame(11)

    async def test_bound(self) -> None:
        """What the node's line permits no more ends, and so does all when the line is gone."""
        _, _, end, _ = await self.reached()
        line = self.server.publicLine("fleet")
        self.write("nodes", f'permit-reach="*:web" {line}')
        self.assertIs((await self.within(end.gone, 5)).code, StopCode.NOT_PERMITTED)
        await self.assertRefused(self.things[-1], StopCode.NOT_PERMITTED)
        self.write("nodes", f'permit-reach="*:*" {line}')
        await self.until(lambda: self.isAgain(self.things[-1]))
        end = await self.reach(self.things[-1])
        self.write("nodes", f'permit-reach="*:*" {IdentityKey.generate().publicLine()}')
        self.assertIs((await self.within(end.gone, 5)).code, StopCode.NO_WAY)

    async def isAgain(self, operator: Client) -> bool:
        """Whether a reach comes about."""
        try:
            end = await self.reach(operator)
        except StreamRefused:
            return False
        end.transport.abortConnection()
        return True
