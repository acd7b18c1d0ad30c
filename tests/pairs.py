"""What the tests of the Twisted layer share: recording protocols, and pairs of them in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.helpers import clientSettings, serverSettings
from thing.core.settings import ClientSettings, ServerSettings
from thing.events import Session, Termination
from thing.session.driver import LINGER
from thing.session.factory import ThingFactory
from thing.session.limits import Limits
from thing.session.protocol import ThingProtocol
from thing.trust.authorized import Anyone

ADDRESS = IPv4Address("TCP", "192.0.2.1", 1)
"""Where either side sees the other, unless a test says so."""

CALLBACKS = (
    "connectionMade",
    "handshakeCompleted",
    "messageReceived",
    "lastWordReceived",
    "heartbeatSent",
    "heartbeatReceived",
    "heartbeatAcknowledged",
    "heartbeatLate",
    "goingAway",
    "serverKeyAnnounced",
    "keyUpdated",
    "terminated",
    "connectionLost",
)
"""Every callback of a ThingProtocol."""


class CallbackBug(Exception):
    """What a recording protocol raises where it was told to."""


class Recorder(ThingProtocol):
    """
    Records its callbacks, as (name, arguments), and does what it is told in them.

    :ivar calls: the callbacks, in order.
    :ivar raising: the names of the callbacks that raise.
    :ivar doing: what else to do in a callback, by its name; called with the callback's arguments.
    """

    raising: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.doing: dict[str, Callable[..., object]] = {}

    def names(self) -> list[str]:
        """The names of the callbacks, in order."""
        return [call[0] for call in self.calls]

    def of(self, name: str) -> list[Any]:
        """The first arguments of the calls of one callback."""
        return [call[1] for call in self.calls if call[0] == name]

    @property
    def messages(self) -> list[bytes]:
        """The messages received."""
        return self.of("messageReceived")

    @property
    def end(self) -> Termination:
        """How the session ended; it must have, once."""
        (termination,) = self.of("terminated")
        return termination


def _recording(name: str) -> Callable[..., None]:
    def callback(self: Recorder, *args: object) -> None:
        self.calls.append((name, *args))
        if name in self.doing:
            self.doing[name](*args)
        if name in self.raising:
            raise CallbackBug(name)

    return callback


for _name in CALLBACKS:
    setattr(Recorder, _name, _recording(_name))


@implementer(ITransport, IConsumer, IPushProducer)
class MemoryTransport:
    """
    One end of a stream in memory, as fast as the test lets it be.

    As a TCP transport it has a buffer that pauses the producer, a kernel below
    it that holds some octets, a half-close, and ``connectionLost`` never comes
    while a method runs.

    :ivar outgoing: what was written and the kernel has not taken yet.
    :ivar kernel: what is on its way to the peer.
    :ivar taken: how many octets the peer's protocol was given.
    :ivar tap: changes what is carried, if set.
    """

    bufferSize = 65536

    def __init__(self, name: str, kernelSize: int) -> None:
        self.name = name
        self.kernelSize = kernelSize
        self.outgoing = bytearray()
        self.kernel = bytearray()
        self.taken = 0
        self.tap: Callable[[bytes], bytes] | None = None
        self.frozen = False
        self.reading = True
        self.connected = True
        self.disconnecting = False
        self.writeClosing = False
        self.finReceived = False
        self.reason: type[Exception] | None = None
        self.producer: Any = None
        self.producerPaused = False
        self.highest = 0
        self.protocol: Any
        self.peer: MemoryTransport

    # The transport, as the protocol sees it.

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not self.connected or self.disconnecting or self.writeClosing or not data:
            return
        self.outgoing += data
        self.highest = max(self.highest, len(self.outgoing))
        if self.producer and not self.producerPaused and len(self.outgoing) > self.bufferSize:
            self.producerPaused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None and streaming
        self.producer = producer
        if not self.connected:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting:
            self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.reading = False

    def loseWriteConnection(self) -> None:
        self.writeClosing = True

    def abortConnection(self) -> None:
        if self.connected and self.reason is None:
            self.reason = ConnectionAborted

    def getPeer(self) -> object:
        return IPv4Address("TCP", "192.0.2.1", 1)

    def getHost(self) -> object:
        return IPv4Address("TCP", "192.0.2.2", 2)

    # The network, as the test drives it.

    def step(self, limit: int) -> bool:
        """Carry up to ``limit`` octets onward; whether anything happened."""
        return self._fillKernel() | self._carry(limit) | self._close()

    def _fillKernel(self) -> bool:
        room = self.kernelSize - len(self.kernel)
        part = bytes(self.outgoing[: max(0, room)])
        del self.outgoing[: len(part)]
        self.kernel += part
        if self.producer and self.producerPaused and not self.outgoing and self.connected:
            self.producerPaused = False
            self.producer.resumeProducing()
            return True
        return bool(part)

    def _carry(self, limit: int) -> bool:
        peer = self.peer
        if self.frozen or self.reason or not (peer.reading and peer.connected):
            return False
        part = bytes(self.kernel[: min(limit, 65536)])
        if not part:
            return False
        del self.kernel[: len(part)]
        self.taken += len(part)
        peer.protocol.dataReceived(self.tap(part) if self.tap else part)
        return True

    def _close(self) -> bool:
        if not self.connected:
            return False
        if self.reason is not None:
            self.lose(self.reason)
            self.peer.reason = self.peer.reason or ConnectionLost
            return True
        drained = not self.outgoing and (self.disconnecting or self.writeClosing)
        if drained and not self.kernel and not self.frozen and not self.peer.finReceived:
            self.peer.finReceived = True
        if drained and self.disconnecting and self.producer is None:
            self.lose(ConnectionDone)
            return True
        if self.finReceived and self.reading:
            self.peer.finReceived = True
            self.lose(ConnectionDone)
            return True
        return False

    def lose(self, reason: type[Exception]) -> None:
        """Tell the protocol that the stream is gone."""
        self.connected = self.reading = False
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason()))


def freshServer(**choices: Any) -> ServerSettings:
    """A server's settings; unlike the core's tests, with real randomness in every session."""
    return serverSettings(**{"random": secrets.token_bytes, **choices})


def freshClient(**choices: Any) -> ClientSettings:
    """A client's settings, with real randomness in every session."""
    return clientSettings(**{"random": secrets.token_bytes, **choices})


class Pair:
    """
    A server and a client in memory, on one clock.

    :cvar endType: makes one end of their stream.
    """

    endType: type[MemoryTransport] = MemoryTransport
    server: Recorder
    client: Recorder

    def __init__(
        self,
        server: ServerSettings | None = None,
        client: ClientSettings | None = None,
        *,
        limits: Limits | None = None,
        authorizer: object = None,
        clientAuthorizer: object = None,
        clock: Clock | None = None,
        clientClock: Clock | None = None,
        kernelSize: int = 1 << 18,
        serverFactory: ThingFactory | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        address: object = ADDRESS,
    ) -> None:
        self.clock = clock or Clock()
        self.clientClock = clientClock or self.clock
        self.serverFactory = serverFactory or ThingFactory(
            server or freshServer(),
            authorizer or Anyone(),
            limits=limits,
            clock=self.clock,
            jitter=jitter,
        )
        if serverFactory is None:
            self.serverFactory.protocol = Recorder
        self.clientFactory = ThingFactory(
            client or freshClient(),
            clientAuthorizer or Anyone(),
            clock=self.clientClock,
            jitter=jitter,
        )
        self.clientFactory.protocol = Recorder
        self.server = self._build(self.serverFactory, address)
        self.client = self._build(self.clientFactory, address)
        self.serverEnd = self.endType("server", kernelSize)
        self.clientEnd = self.endType("client", kernelSize)
        self.serverEnd.peer, self.clientEnd.peer = self.clientEnd, self.serverEnd
        self.serverEnd.protocol, self.clientEnd.protocol = self.server, self.client

    @staticmethod
    def _build(factory: ThingFactory, address: Any = ADDRESS) -> Any:
        return factory.buildProtocol(address)

    def connect(self) -> Pair:
        """Tell both protocols that the stream is there."""
        self.server.makeConnection(self.serverEnd)
        self.client.makeConnection(self.clientEnd)
        return self

    def pump(self, limit: int = 1 << 30, rounds: int = 100_000) -> None:
        """Carry octets both ways until nothing moves any more."""
        for _ in range(rounds):
            if not self.clientEnd.step(limit) | self.serverEnd.step(limit):
                return
        raise AssertionError("the streams do not come to rest")

    def step(self, clientLimit: int, serverLimit: int) -> None:
        """Carry at most so many octets of the client's and of the server's."""
        self.clientEnd.step(clientLimit)
        self.serverEnd.step(serverLimit)

    def up(self) -> Pair:
        """Connect, and complete the handshake."""
        self.connect().pump()
        assert self.server.session is not None and self.client.session is not None
        return self

    def advance(self, seconds: float, step: float = 0.125) -> None:
        """Let time pass, with the network at work all the while."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            part = min(step, end - self.clock.seconds())
            self.clock.advance(part)
            if self.clientClock is not self.clock:
                self.clientClock.advance(part)
            self.pump()

    def freeze(self) -> None:
        """Carry nothing any more, in either direction."""
        self.serverEnd.frozen = self.clientEnd.frozen = True


def firings(waiter: Any) -> list[Any]:
    """What a Deferred fires with, as a list that grows; a failure's exception for a failure."""
    fired: list[Session | Termination | BaseException] = []
    waiter.addCallbacks(fired.append, lambda failure: fired.append(failure.value))
    return fired


class PairCase(SynchronousTestCase):
    """
    Tests with pairs; at the end of each, whatever it did, nothing of a session is left.

    :ivar pairType: makes a pair.
    """

    pairType: Callable[..., Pair] = Pair

    def setUp(self) -> None:
        self.pairs: list[Pair] = []

    def pair(self, *args: Any, **named: Any) -> Pair:
        """A pair that is checked at the end of the test."""
        pair = self.pairType(*args, **named)
        self.pairs.append(pair)
        return pair

    def tearDown(self) -> None:
        for pair in self.pairs:
            for side in (pair.server, pair.client):
                if side.transport is not None and side.termination is None:
                    side.abort()
        for pair in self.pairs:
            pair.serverEnd.frozen = pair.clientEnd.frozen = False
            pair.pump()
            pair.advance(LINGER + 1, 0.5)
        for pair in self.pairs:
            self.assertOver(pair)

    def assertOver(self, pair: Pair) -> None:
        """Both sides have ended, once each, in order, and left nothing behind."""
        for side, end in ((pair.server, pair.serverEnd), (pair.client, pair.clientEnd)):
            if side.transport is None:
                continue
            self.assertFalse(end.connected, f"the {end.name}'s transport is open")
            names = side.names()
            self.assertEqual(names[0], "connectionMade")
            self.assertLessEqual(names.count("handshakeCompleted"), 1)
            self.assertEqual(names[-2:], ["terminated", "connectionLost"])
            self.assertEqual(names.count("terminated"), 1)
            self.assertEqual(names.count("connectionLost"), 1)
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        self.assertEqual(pair.clientClock.getDelayedCalls(), [])
        for factory in (pair.serverFactory, pair.clientFactory):
            self.assertEqual(factory.sessions, set())
            self.assertEqual(factory.door.handshakes, {})
            self.assertEqual(factory.door.handshakesPerNetwork, {})
            self.assertEqual(factory.door.connected, 0)
            self.assertEqual(factory.door.perNetwork, {})
