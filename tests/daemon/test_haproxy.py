"""Behind a balancer: whose address counts, and a real HAProxy before three servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.haproxy import proxyEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.daemon.test_twistd import PROJECT, Process, TwistdCase
from tests.helpers import CountedCredential, CountedGroup, serverSettings
from thing import (
    Anyone,
    Cause,
    ClientSettings,
    ErrorCode,
    HandshakeFailed,
    IdentityKey,
    Limits,
    PinnedServers,
    ThingFactory,
)
from thing.core.client import ClientConnection
from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.endpoints import Backoff, ThingClientEndpoint, ThingClientService

CONFIGURATION = Path(PROJECT, "docs", "examples", "operating", "haproxy.cfg")

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

BALANCER = IPv4Address("TCP", "198.51.100.1", 4000)

RUN = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
"""Become another program."""


@implementer(IStreamServerEndpoint)
class Captured:
    """Keeps the factory that is to listen."""

    factory: Any = None

    def listen(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return succeed(None)


def header(host: str = "192.0.2.1", family: str = "TCP4") -> bytes:
    """A PROXY header of version 1."""
    return f"PROXY {family} {host} 198.51.100.1 40000 9000\r\n".encode()


def headerTwo(host: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    """A PROXY header of version 2."""
    addresses = host + host + b"\x9c\x40\x23\x28"
    start = b"\r\n\r\n\x00\r\nQUIT\n" + bytes([command, family])
    return start + len(addresses).to_bytes(2, "big") + addresses


class AddressTests(SynchronousTestCase):
    """The limits of one address count what the PROXY header tells."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[str] = []
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        globalLogPublisher.addObserver(self.observe)

    def observe(self, event: Any) -> None:
        self.logged.append(formatEvent(event))

    def factory(self, **limits: int) -> Any:
        """A server's factory, and beside it what listens with it behind a balancer."""
        self.things = ThingFactory(
            serverSettings(allowAnonymous=True),
            Anyone(),
            limits=Limits(**limits),  # type: ignore[arg-type]
            clock=self.clock,
        )
        captured = Captured()
        proxyEndpoint(captured).listen(self.things)  # type: ignore[arg-type]
        return captured.factory

    def connect(self, factory: Any, *pieces: bytes) -> tuple[Any, StringTransport]:
        """A connection from the balancer, on which this comes."""
        protocol = factory.buildProtocol(BALANCER)
        transport = StringTransport(peerAddress=BALANCER)
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
        return protocol, transport

    def counted(self) -> dict[str, int]:
        """How many handshakes of each address are counted, and no sessions."""
        self.assertEqual(self.things.door.perNetwork, {})
        return dict(self.things.door.handshakesPerNetwork)

    def test_headers(self) -> None:
        """It is the client's address in a header of either version, of either kind."""
        factory = self.factory()
        six = socket.inet_pton(socket.AF_INET6, "2001:db8::7")
        for start, network in (
            (header(), "192.0.2.1"),
            (header("2001:db8::7", "TCP6"), "2001:db8::/64"),
            (headerTwo(bytes([192, 0, 2, 9])), "192.0.2.9"),
            (headerTwo(six, 0x21), "2001:db8::/64"),
        ):
            protocol, _ = self.connect(factory, start, b"\x00")
            self.assertEqual(self.counted(), {network: 1})
            protocol.connectionLost(None)
            self.assertEqual(self.counted(), {})

    def test_withData(self) -> None:
        """It counts, too, if the first data comes in one piece with the header."""
        factory = self.factory()
        self.connect(factory, header() + b"\x00")
        self.assertEqual(self.counted(), {"192.0.2.1": 1})

    def test_noAddress(self) -> None:
        """Without an address, or a header yet, none is counted: the balancer has no limit."""
        factory = self.factory()
        self.connect(factory)
        self.connect(factory, headerTwo(b"", 0, 0x20), b"\x00")
        self.connect(factory, b"PROXY UNKNOWN\r\n", b"\x00")
        self.assertEqual(self.counted(), {"": 3})

    def test_limits(self) -> None:
        """Who has too many is refused, whoever else comes through the same balancer."""
        factory = self.factory(handshakesPerAddress=2)
        self.connect(factory, header("192.0.2.1"), b"\x00")
        self.connect(factory, header("192.0.2.1"), b"\x00")
        refused, transport = self.connect(factory, header("192.0.2.1"), b"\x00")
        self.assertEqual(len(self.logged), 1)
        self.assertIn("a stranger at 192.0.2.1:40000", self.logged[0])
        self.assertIn("limit of 2 handshakes of one address", self.logged[0])
        self.assertTrue(transport.value())
        other, _ = self.connect(factory, header("192.0.2.2"), b"\x00")
        self.assertIsNone(other.wrappedProtocol.termination)
        refused.connectionLost(None)
        self.assertEqual(self.counted(), {"192.0.2.1": 2, "192.0.2.2": 1})

    def test_sessions(self) -> None:
        """So is who has too many sessions."""
        factory = self.factory(sessionsPerAddress=1)
        self.things.door.perNetwork["192.0.2.1"] = 1
        refused, _ = self.connect(factory, header("192.0.2.1"), b"\x00")
        self.assertIn("sessions of one address", refused.wrappedProtocol.termination.detail)

    def test_manyThroughOne(self) -> None:
        """The balancer itself may bring any number of clients, and of connections to check."""
        factory = self.factory(handshakesPerAddress=1, sessionsPerAddress=1)
        for _ in range(10):
            self.connect(factory)
        for number in range(100):
            protocol, _ = self.connect(factory, header(f"192.0.2.{number}"), b"\x00")
            self.assertIsNone(protocol.wrappedProtocol.termination)

    def test_alreadyRefused(self) -> None:
        """Who was turned away before its header came is counted no more."""
        factory = self.factory(sessions=0)
        protocol, _ = self.connect(factory, header(), b"\x00")
        self.assertEqual(self.counted(), {})
        protocol.connectionLost(None)
        self.assertEqual(self.counted(), {})
        self.assertEqual(self.things.terminations[Cause.REJECTED], 1)

    def test_nonsense(self) -> None:
        """A header whose address is none raises nothing, and writes no log of its own."""
        factory = self.factory()
        protocol, _ = self.connect(factory, header("x:\x1b[2J", "TCP6"), b"GET / HTTP/1.1\r\n")
        self.assertIn("HTTP", protocol.wrappedProtocol.termination.detail)
        protocol.connectionLost(None)
        self.assertEqual(self.counted(), {})
        (line,) = self.logged
        self.assertIn("[x:\ufffd[2J]:40000", line)

    def test_healthCheck(self) -> None:
        """A check that comes and goes is counted and not logged; one that says something is."""
        factory = self.factory()
        for pieces in ((), (headerTwo(b"", 0, 0x20),)):
            protocol, _ = self.connect(factory, *pieces)
            protocol.connectionLost(None)
        self.assertEqual(self.logged, [])
        self.assertEqual(self.things.terminations[Cause.TRUNCATED], 2)
        protocol, _ = self.connect(factory, header(), b"\x00")
        protocol.connectionLost(None)
        self.assertEqual(len(self.logged), 1)


class GateTests(SynchronousTestCase):
    """What a client that is turned away costs."""

    def test_cheap(self) -> None:
        """No key exchange, no signature, and one small record."""
        credential, group = CountedCredential("the server"), CountedGroup()
        clock = Clock()
        factory = ThingFactory(
            serverSettings(
                credential=credential,
                allowAnonymous=True,
                groupTable={GroupName.X25519: group},
            ),
            Anyone(),
            limits=Limits(sessions=0),
            clock=clock,
        )
        sizes = set()
        for _ in range(100):
            protocol: Any = factory.buildProtocol(BALANCER)
            transport = StringTransport(peerAddress=BALANCER)
            client = ClientConnection(ClientSettings())
            client.start(0.0)
            protocol.makeConnection(transport)
            protocol.dataReceived(client.dataToSend(0.0, 1 << 20))
            sizes.add(len(transport.value()))
            protocol.connectionLost(None)
        self.assertEqual((credential.signatures, group.exchanges), (0, 0))
        self.assertLess(max(sizes), 32)


class HaproxyTests(TwistdCase):
    """A real HAProxy with the example's configuration, before three nodes."""

    skip = None if HAPROXY else "the program haproxy is missing"

    def setUp(self) -> None:
        super().setUp()
        self.key = IdentityKey.generate()
        self.key.save(os.path.join(self.cwd, "key"))
        self.text = CONFIGURATION.read_text()

    def freePort(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
            return port

    async def node(self, *options: str) -> tuple[Process, int]:
        """A server that takes PROXY headers, with what nodes have in common."""
        process = self.twistd(
            "--port=haproxy:tcp:0:interface=127.0.0.1",
            *("--identity", os.path.join(self.cwd, "key")),
            *("--ticket-keys", os.path.join(self.cwd, "tickets"), "--retry-after=0.1"),
            *options,
        )
        line = await process.whenLine("Listening on 127.0.0.1:")
        return process, int(line.partition("127.0.0.1:")[2].split()[0])

    async def balancer(self, *nodes: int) -> tuple[Process, int]:
        """HAProxy with the example, these ports of ours in place of its own; what it listens on."""
        from twisted.internet import reactor

        port = self.freePort()
        text = self.text.replace("bind :9000", f"bind 127.0.0.1:{port}")
        for number, node in enumerate(nodes, 1):
            text, count = re.subn(rf"192\.0\.2\.1{number}:9000", f"127.0.0.1:{node}", text)
            self.assertEqual(count, 1)
        # A test has neither so many files nor the time for pauses that spare a network.
        text = text.replace("maxconn 60000", "maxconn 100").replace("inter 2s", "inter 100ms")
        path = Path(self.cwd, "haproxy.cfg")
        path.write_text(text)
        process = self.spawn("-c", RUN, HAPROXY or "", "-db", "-f", str(path))
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except ConnectionRefusedError:
                self.assertFalse(process.ended.called, process.output)
                await deferLater(reactor, 0.05)  # type: ignore[arg-type]
            else:
                return process, port

    def alwaysOn(self, port: int, up: DeferredQueue[Any]) -> None:
        """A client that comes back soon, and tells each session of its."""
        from twisted.internet import reactor

        service = ThingClientService(
            ThingClientEndpoint(
                TCP4ClientEndpoint(reactor, "127.0.0.1", port),
                ClientSettings(),
                PinnedServers([self.key.fingerprint]),
            ),
            Factory.forProtocol(Protocol),
            backoff=Backoff(base=0.2, cap=1.0),
            onUp=lambda protocol: up.put(protocol.transport.session.sessionId.hex()),
        )
        self.addCleanup(service.stopService)
        service.startService()

    async def test_killedNode(self) -> None:
        """Sessions are spread; those of a node that is killed are soon on the others."""
        nodes = [await self.node() for _ in range(3)]
        (_, port) = await self.balancer(*(number for _, number in nodes))
        up: DeferredQueue[Any] = DeferredQueue()
        for _ in range(6):
            self.alwaysOn(port, up)
        holders = [await self.holder(nodes, await up.get()) for _ in range(6)]
        dead = holders[0]
        self.assertNotEqual(set(holders), {dead})
        os.kill(dead.pid, signal.SIGKILL)
        await dead.ended
        others = [node for node in nodes if node[0] is not dead]
        for _ in range(holders.count(dead)):
            await self.holder(others, await up.get())

    async def test_drainedNode(self) -> None:
        """A node that drains sends its things away in order, and they are on the others."""
        nodes = [await self.node() for _ in range(2)]
        third = self.freePort()  # It was never started.
        balancing, port = await self.balancer(*(number for _, number in nodes), third)
        await balancing.whenLine("Server things/node3 is DOWN")
        up: DeferredQueue[Any] = DeferredQueue()
        for _ in range(4):
            self.alwaysOn(port, up)
        holders = [await self.holder(nodes, await up.get()) for _ in range(4)]
        leaving, number = holders[0], holders.count(holders[0])
        others = [node for node in nodes if node[0] is not leaving]
        await self.stop(leaving)
        self.assertIn(f"Draining {number} sessions", leaving.output)
        self.assertEqual(leaving.output.count("both sides said goodbye"), number)
        for _ in range(number):
            await self.holder(others, await up.get())

    async def holder(self, nodes: list[tuple[Process, int]], sessionId: str) -> Process:
        """The node that has a session."""
        lines = [node.whenLine(f"Session {sessionId} ") for node, _ in nodes]
        # The others may end before they have it.
        _, index = await DeferredList(lines, fireOnOneCallback=True, consumeErrors=True)
        return nodes[index][0]

    async def test_addresses(self) -> None:
        """A node knows, logs and limits the address of the client, and not of the balancer."""
        node, number = await self.node("--max-sessions-per-address=2")
        unused = [self.freePort(), self.freePort()]
        balancing, port = await self.balancer(number, *unused)
        await balancing.whenLine("Server things/node3 is DOWN")
        for host in ("127.0.0.5", "127.0.0.5", "127.0.0.6"):
            client = await self.connect(f"tcp:127.0.0.1:{port}:bindAddress={host}")
            line = await node.whenLine(f"Session {client.sessionId} ")
            self.assertIn(f" at {host}:", line)
        refused = self.connect(f"tcp:127.0.0.1:{port}:bindAddress=127.0.0.5")
        failure = await self.assertFailure(Deferred.fromCoroutine(refused), HandshakeFailed)
        self.assertIs(failure.termination.code, ErrorCode.SERVER_BUSY)
        await node.whenLine("limit of 2 sessions of one address")
        self.assertNotIn("at 127.0.0.1:", node.output)  # Its health checks fill no log.
        self.assertClean(node)

    def test_timeouts(self) -> None:
        """No session is cut for being quiet: HAProxy waits longer than any TTL lasts."""
        for side in ("client", "server"):
            (minutes,) = re.findall(rf"(?m)^ +timeout {side} (\d+)m$", self.text)
            self.assertGreater(int(minutes) * 60, TtlPolicy().maximum)
            (seconds,) = re.findall(rf"(?m)^ +timeout {side}-fin (\d+)s$", self.text)
            self.assertGreater(int(seconds), ClientSettings().closeTimeout)
