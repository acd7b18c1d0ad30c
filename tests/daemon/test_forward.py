"""Sessions in front of servers that know nothing of Thing, over real sockets of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.anypeer import AnyPeer
from tests.helpers import serverSettings
from tests.pairs import Pair, firings
from thing import (
    Anyone,
    Cause,
    ClientSettings,
    ErrorCode,
    IdentityKey,
    ReplyStatus,
    ServerSettings,
    Termination,
    ThingFactory,
    ThingProtocol,
)
from thing.core.window import MAX_WINDOW
from thing.daemon.forward import ForwardFactory, ForwardProtocol
from thing.endpoints.backend import CONNECT_TIMEOUT, Backend, BackendEnd
from thing.session.protocol import linkOf

TIMEOUT = 60.0
"""How long any test here may take, seconds."""

BIG = 4 << 20
"""How many octets a big transfer has."""


def octets(seed: str, count: int) -> bytes:
    """Octets that cannot be mistaken for others."""
    return hashlib.shake_256(seed.encode()).digest(count)


class LineServer(LineReceiver):
    """A server as anybody would write it: it answers lines and knows of nothing else."""

    def connectionMade(self) -> None:
        self.sendLine(b"ready")

    def lineReceived(self, line: bytes) -> None:
        if line == b"quit":
            self.sendLine(b"goodbye")
            self.transport.loseConnection()
        else:
            self.sendLine(line.upper())


class BackendServer(Protocol):
    """
    Keeps what it gets, and sends what it is told to.

    :ivar received: what came.
    :ivar lost: fires with the reason when the connection is gone.
    """

    greeting = b""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Deferred[Exception] = Deferred()
        self._enough: tuple[int, Deferred[None]] | None = None

    def connectionMade(self) -> None:
        self.factory.made(self)
        self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._enough is not None and len(self.received) >= self._enough[0]:
            (_, waiter), self._enough = self._enough, None
            waiter.callback(None)

    def whenReceived(self, count: int) -> Deferred[None]:
        """Wait for so many octets in all."""
        waiter: Deferred[None] = Deferred()
        if len(self.received) >= count:
            waiter.callback(None)
        else:
            self._enough = (count, waiter)
        return waiter

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


@implementer(IHalfCloseableProtocol)
class HalfBackend(BackendServer):
    """
    Keeps what it is told of half-closes, too.

    :ivar halves: which are closed.
    :ivar readEnded: fires when the client's is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []
        self.readEnded: Deferred[None] = Deferred()

    def readConnectionLost(self) -> None:
        self.halves.append("read")
        self.readEnded.callback(None)

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class BackendFactory(Factory):
    """
    Tells of each backend connection.

    :ivar connected: fires with the first.
    """

    noisy = False

    def __init__(self, protocol: Callable[[], Protocol]) -> None:
        self.protocol = protocol
        self.connected: Deferred[BackendServer] = Deferred()

    def made(self, protocol: BackendServer) -> None:
        """Note a connection."""
        if not self.connected.called:
            self.connected.callback(protocol)


class Client(ThingProtocol):
    """
    Keeps what it gets.

    :ivar received: what came.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self._expected: tuple[Callable[[], bool], Deferred[None]] | None = None

    def messageReceived(self, message: bytes) -> None:
        self.received += message
        if self._expected is not None and self._expected[0]():
            (_, waiter), self._expected = self._expected, None
            waiter.callback(None)

    def when(self, expected: Callable[[], bool]) -> Deferred[None]:
        """Wait until this is true of what was received."""
        waiter: Deferred[None] = Deferred()
        if expected():
            waiter.callback(None)
        else:
            self._expected = (expected, waiter)
        return waiter

    def dataEnded(self) -> None:
        """Close as soon as the peer has closed its half, as most protocols do."""
        self.goodbye()


@implementer(IPullProducer)
class Pieces:
    """Produces octets piece by piece, as fast as the consumer takes them."""

    def __init__(self, consumer: Any, data: bytes) -> None:
        self._consumer = consumer
        self._data = data
        self._at = 0
        self.done: Deferred[None] = Deferred()
        consumer.registerProducer(self, False)

    def resumeProducing(self) -> None:
        piece = self._data[self._at : self._at + 16384]
        self._at += len(piece)
        if piece:
            self._consumer.write(piece)
        if self._at >= len(self._data) and not self.done.called:
            self._consumer.unregisterProducer()
            self.done.callback(None)

    def stopProducing(self) -> None:
        self._at = len(self._data)


class ForwardCase(TestCase):
    """Tests with a backend, a forwarding server and clients, all on 127.0.0.1."""

    timeout = TIMEOUT

    def setUp(self) -> None:
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if event["log_namespace"].startswith(("thing.daemon.forward", "thing.endpoints.backend")):
            self.logged.append(formatEvent(event))

    async def listen(self, factory: Factory, description: str = "tcp:0:interface=127.0.0.1") -> int:
        """Listen until the end of the test; the port."""
        from twisted.internet import reactor

        port = await serverFromString(reactor, description).listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def start(self, backend: Callable[[], Protocol], **choices: Any) -> BackendFactory:
        """A backend, and a server that forwards to it."""
        backends = BackendFactory(backend)
        port = await self.listen(backends)
        await self.serve(f"tcp:127.0.0.1:{port}", **choices)
        return backends

    async def serve(self, backend: str, **choices: Any) -> None:
        """A server that forwards to a backend."""
        from twisted.internet import reactor

        settings = ServerSettings(credential=IdentityKey.generate(), allowAnonymous=True, **choices)
        self.backend = Backend(clientFromString(reactor, backend))
        self.server = ForwardFactory(settings, Anyone(), self.backend)
        self.port = await self.listen(self.server)
        self.addCleanup(self.assertNothingLeft)

    async def connect(self) -> Client:
        """A client with a session."""
        from twisted.internet import reactor

        factory = ThingFactory(ClientSettings(stream=True), AnyPeer())
        factory.protocol = Client
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{self.port}")
        client = await endpoint.connect(factory)
        assert isinstance(client, Client)
        self.addCleanup(self.gone, client)
        await client.whenEstablished()
        return client

    async def linked(self) -> BackendEnd:
        """The only session's connection to its backend; the client can be up before it."""
        from twisted.internet import reactor

        while True:
            for link in self.backend.connections:
                if link.transport is not None:
                    return link
            await deferLater(reactor, 0.01)

    def gone(self, client: Client) -> Deferred[Any]:
        """Cut whatever is left of a client, its session and its link, and wait for it."""
        lost: Deferred[None] = Deferred()
        if client.transport.connected:
            original = client.connectionLost

            def connectionLost(*args: Any) -> None:
                original(*args)
                lost.callback(None)

            client.connectionLost = connectionLost  # type: ignore[method-assign]
            client.transport.abortConnection()
        else:
            lost.callback(None)
        self.backend.abort()
        closed: list[Deferred[Any]] = [link.closed for link in self.backend.connections]
        ended = [session.whenTerminated() for session in self.server.sessions]
        return DeferredList([lost, *closed, *ended])

    def assertNothingLeft(self) -> None:
        """No session and no link outlives its test."""
        self.assertEqual(self.server.sessions, set())
        self.assertEqual(self.backend.connections, set())


class LineServerTests(ForwardCase):
    """An unmodified line server behind sessions."""

    async def test_conversation(self) -> None:
        """Lines and answers go to and fro, and what the server says first arrives."""
        await self.start(LineServer)
        client = await self.connect()
        client.sendMessage(b"hello\r\nwor")
        client.sendMessage(b"ld\r\n")
        await client.when(lambda: client.received.count(b"\r\n") == 3)
        self.assertEqual(bytes(client.received), b"ready\r\nHELLO\r\nWORLD\r\n")

    async def test_serverCloses(self) -> None:
        """When the server closes, its last words arrive, and then a goodbye."""
        await self.start(LineServer)
        client = await self.connect()
        client.sendMessage(b"quit\r\n")
        termination: Termination = await client.whenTerminated()
        self.assertEqual(bytes(client.received), b"ready\r\ngoodbye\r\n")
        self.assertIs(termination.cause, Cause.GOODBYE)

    async def test_sessionsAreApart(self) -> None:
        """Each session has a connection of its own."""
        await self.start(LineServer)
        clients = [await self.connect() for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendMessage(b"from %d\r\n" % number)
        for number, client in enumerate(clients):
            await client.when(lambda client=client: client.received.count(b"\r\n") == 2)
            self.assertEqual(bytes(client.received), b"ready\r\nFROM %d\r\n" % number)
        self.assertEqual(len(self.backend.connections), 3)


class TransferTests(ForwardCase):
    """A lot of octets, both ways, with nothing lost."""

    async def test_bothWays(self) -> None:
        """Megabytes go both ways at once and arrive as they were."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        there, back = octets("there", BIG), octets("back", BIG)
        Pieces(client, there)
        Pieces(backend.transport, back)
        await backend.whenReceived(BIG)
        await client.when(lambda: len(client.received) >= BIG)
        self.assertEqual(bytes(backend.received), there)
        self.assertEqual(bytes(client.received), back)

    async def test_clientClosesFirst(self) -> None:
        """All that a client sent before its goodbye arrives, and then the backend sees the end."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        data = octets("there", BIG)
        Pieces(client, data).done.addCallback(lambda _: client.goodbye())
        reason = await backend.lost
        self.assertEqual(bytes(backend.received), data)
        self.assertIsInstance(reason, ConnectionDone)
        self.assertTrue((await client.whenTerminated()).clean)

    async def test_clientClosesAgainstTheStream(self) -> None:
        """Octets of the backend on their way do not make it lose what the client sent last."""

        class Talker(BackendServer):
            greeting = octets("back", 1 << 20)

        backends = await self.start(Talker)
        client = await self.connect()
        backend = await backends.connected
        client.pauseProducing()
        data = octets("there", 1 << 19)
        Pieces(client, data).done.addCallback(lambda _: client.goodbye())
        await backend.whenReceived(len(data))
        client.resumeProducing()
        reason = await backend.lost
        self.assertEqual(bytes(backend.received), data)
        self.assertIsInstance(reason, ConnectionDone)

    async def test_backendClosesFirst(self) -> None:
        """All that the backend sent before it closed arrives, and then a goodbye."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        data = octets("back", BIG)
        Pieces(backend.transport, data).done.addCallback(
            lambda _: backend.transport.loseConnection()
        )
        termination: Termination = await client.whenTerminated()
        self.assertEqual(bytes(client.received), data)
        self.assertIs(termination.cause, Cause.GOODBYE)

    async def test_unix(self) -> None:
        """A backend on a unix socket is closed in order, too."""
        backends = BackendFactory(BackendServer)
        path = self.mktemp()
        await self.listenUnix(backends, path)
        await self.serve(f"unix:{path}")
        client = await self.connect()
        client.sendMessage(b"hello")
        client.goodbye()
        backend = await backends.connected
        self.assertIsInstance(await backend.lost, ConnectionDone)
        self.assertEqual(bytes(backend.received), b"hello")

    async def listenUnix(self, factory: Factory, path: str) -> None:
        from twisted.internet import reactor

        port = await serverFromString(reactor, f"unix:{path}").listen(factory)
        self.addCleanup(port.stopListening)

    async def test_drain(self) -> None:
        """A server that stops waits until the backend has what the clients sent."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        data = octets("there", 1 << 20)
        client.sendMessage(data)
        await self.server.drain(20.0)
        await self.backend.stopService()
        self.assertEqual(self.backend.connections, set())
        reason = await backend.lost
        self.assertEqual(bytes(backend.received), data)
        self.assertIsInstance(reason, ConnectionLost)  # The client had no say in when it ends.
        self.assertTrue((await client.whenTerminated()).clean)


class HalfCloseTests(ForwardCase):
    """Each direction ends for itself."""

    async def setUpHalves(self) -> tuple[Client, HalfBackend]:
        """A client that does not leave at the backend's end of file, and the backend."""
        backends = await self.start(HalfBackend)
        client = await self.connect()
        self.ended: Deferred[None] = Deferred()
        client.dataEnded = lambda: self.ended.callback(None)  # type: ignore[method-assign]
        backend = await backends.connected
        assert isinstance(backend, HalfBackend)
        return client, backend

    async def test_clientsHalf(self) -> None:
        """The backend sees the end of what the client sends, and can go on answering."""
        client, backend = await self.setUpHalves()
        data, answer = octets("there", 1 << 20), octets("back", 1 << 20)
        client.sendMessage(data)
        client.endData()
        await backend.readEnded
        self.assertEqual(bytes(backend.received), data)
        backend.transport.write(answer)
        await client.when(lambda: len(client.received) >= len(answer))
        self.assertEqual(bytes(client.received), answer)
        self.assertFalse(backend.lost.called)
        backend.transport.loseConnection()
        self.assertTrue((await client.whenTerminated()).clean)

    async def test_backendsHalf(self) -> None:
        """The client sees the end of what the backend sends, and can go on sending."""
        client, backend = await self.setUpHalves()
        data, answer = octets("there", 1 << 20), octets("back", 1 << 20)
        backend.transport.write(answer)
        backend.transport.loseWriteConnection()
        await self.ended
        self.assertEqual(bytes(client.received), answer)
        client.sendMessage(data)
        await backend.whenReceived(len(data))
        self.assertIsNone(client.termination)
        client.goodbye()
        await backend.readEnded
        backend.transport.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionDone)
        self.assertEqual(bytes(backend.received), data)

    async def test_bothHalves(self) -> None:
        """When both directions have ended, all is closed in order at both sides."""
        client, backend = await self.setUpHalves()
        client.sendMessage(b"question")
        client.endData()
        await backend.readEnded
        backend.transport.write(b"answer")
        backend.transport.loseWriteConnection()
        termination: Termination = await client.whenTerminated()
        self.assertIs(termination.cause, Cause.GOODBYE)
        self.assertEqual(bytes(client.received), b"answer")
        backend.transport.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionDone)


class BackpressureTests(ForwardCase):
    """A slow side slows the other one down, and costs no memory."""

    async def test_slowBackend(self) -> None:
        """What a backend does not read stays with the client; the session lives; all arrives."""

        class Slow(BackendServer):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()
                super().connectionMade()

        backends = await self.start(Slow)
        client = await self.connect()
        backend = await backends.connected
        link = await self.linked()
        (session,) = self.server.sessions
        assert isinstance(session, ForwardProtocol) and session._back is link
        full = whenCalled(session._front, "pauseProducing")
        data = octets("there", 32 << 20)
        pieces = Pieces(client, data)
        await full
        self.assertFalse(pieces.done.called)
        self.assertLess(linkOf(session).core.held, MAX_WINDOW)
        self.assertLess(transportBuffer(link.transport), 1 << 18)
        self.assertLess(client.queued, 1 << 18)
        backend.transport.resumeProducing()
        await backend.whenReceived(len(data))
        self.assertEqual(bytes(backend.received), data)

    async def test_slowClient(self) -> None:
        """What a client does not read stays with the backend, and all arrives in the end."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        client.transport.below.pauseProducing()
        link = await self.linked()
        (session,) = self.server.sessions
        assert isinstance(session, ForwardProtocol) and session._back is link
        full = whenCalled(link, "pauseProducing")
        data = octets("back", 32 << 20)
        pieces = Pieces(backend.transport, data)
        await full
        self.assertFalse(pieces.done.called)
        self.assertLess(session.queued, 1 << 18)
        client.transport.below.resumeProducing()
        await client.when(lambda: len(client.received) >= len(data))
        self.assertEqual(bytes(client.received), data)


def whenCalled(target: Any, name: str) -> Deferred[None]:
    """Wait for the first call of a method of this object."""
    called: Deferred[None] = Deferred()
    original = getattr(target, name)

    def method(*args: object) -> None:
        original(*args)
        if not called.called:
            called.callback(None)

    setattr(target, name, method)
    return called


def transportBuffer(transport: Any) -> int:
    """How many octets a transport of Twisted's holds."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class TroubleTests(ForwardCase):
    """Backends that are not there, or go away as they should not."""

    async def test_refused(self) -> None:
        """If nothing listens there, the session ends with an error, and a line says why."""
        port = await self.freePort()
        await self.serve(f"tcp:127.0.0.1:{port}")
        client = await self.connect()
        client.sendMessage(b"hello")
        termination: Termination = await client.whenTerminated()
        self.assertIs(termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertTrue(termination.byPeer)
        self.assertFalse(termination.clean)
        (line,) = [line for line in self.logged if line.startswith("The backend")]
        self.assertIn("refused", line)
        self.assertNotIn("\n", line)

    async def freePort(self) -> int:
        """A port on which nothing listens."""
        from twisted.internet import reactor

        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory())
        number = port.getHost().port
        await port.stopListening()
        return int(number)

    async def test_reset(self) -> None:
        """A backend's connection that breaks is not told as a goodbye."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        client.sendMessage(b"hello")
        await backend.whenReceived(5)
        backend.transport.abortConnection()
        termination: Termination = await client.whenTerminated()
        self.assertIs(termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertTrue([line for line in self.logged if line.startswith("The backend")])

    async def test_clientVanishes(self) -> None:
        """What a client sent before it was cut off arrives, and then the backend sees a reset."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        client.sendMessage(b"hello")
        client.transport.below.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionLost)
        self.assertEqual(bytes(backend.received), b"hello")

    async def test_tampered(self) -> None:
        """A session that was tampered with is a reset to the backend, behind what was whole."""
        backends = await self.start(BackendServer)
        client = await self.connect()
        backend = await backends.connected
        client.sendMessage(b"hello")
        client.transport.below.write(
            b"\x00\x00\x64" + octets("forged", 100)
        )  # A record of this length.
        self.assertIsInstance(await backend.lost, ConnectionLost)
        self.assertEqual(bytes(backend.received), b"hello")
        self.assertFalse((await client.whenTerminated()).clean)

    async def test_cutAgainstTheStream(self) -> None:
        """A backend that closes its half just then sees a reset all the same."""
        backends = await self.start(HalfBackend)
        client = await self.connect()
        backend = await backends.connected
        client.sendMessage(b"hello")
        connection = await self.linked()
        parted = whenCalled(connection, "cut")
        client.transport.below.loseConnection()
        await parted
        backend.transport.loseWriteConnection()
        self.assertIsInstance(await backend.lost, ConnectionLost)
        self.assertEqual((bytes(backend.received), backend.halves), (b"hello", ["write"]))

    async def test_impatience(self) -> None:
        """A backend that does not close when it should is cut off after ``closeTimeout``."""

        class Stubborn(BackendServer):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()

        backends = await self.start(Stubborn, closeTimeout=0.3)
        client = await self.connect()
        backend = await backends.connected
        client.goodbye()
        link = await self.linked()
        await link.closed
        backend.transport.resumeProducing()
        await backend.lost


class LaterEndpoint:
    """
    An endpoint that the test answers for.

    :ivar cancelled: how often the attempt was given up.
    """

    def __init__(self) -> None:
        self.cancelled = 0
        self.factories: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.factories.append(factory)
        self.connecting: Deferred[Any] = Deferred(self._cancel)
        return self.connecting

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class BeforeTests(SynchronousTestCase):
    """What happens while the backend is not there yet, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = LaterEndpoint()
        self.backend = Backend(self.endpoint)
        self.factory = ForwardFactory(
            serverSettings(allowAnonymous=True),
            Anyone(),
            self.backend,
            clock=self.clock,
            jitter=lambda: 0.5,
        )
        self.pair = Pair(clock=self.clock, serverFactory=self.factory).up()

    def link(self) -> Pair:
        """Let the backend be there, over a stream in memory; a pair whose streams are used."""
        other = Pair(clock=self.clock)
        (linkFactory,) = self.endpoint.factories
        link = linkFactory.buildProtocol(None)
        self.server = BackendServer()
        self.server.factory = BackendFactory(BackendServer)
        other.clientEnd.connect(self.server)
        other.serverEnd.connect(link)
        self.endpoint.connecting.callback(link)
        return other

    def test_held(self) -> None:
        """What a client sends meanwhile is held, and arrives in order."""
        for word in (b"one ", b"two ", b"three"):
            self.pair.client.sendMessage(word)
        self.pair.pump()
        other = self.link()
        other.pump()
        self.assertEqual(bytes(self.server.received), b"one two three")

    def test_requests(self) -> None:
        """Requests wait for the backend as data does, and then they are not taken."""
        fired = firings(self.pair.client.request(b"what?"))
        self.pair.client.sendMessage(b"data")
        self.pair.pump()
        self.assertEqual(fired, [])
        other = self.link()
        self.pair.pump()
        other.pump()
        self.assertIs(fired[0].status, ReplyStatus.NOT_TAKEN)
        self.assertEqual(bytes(self.server.received), b"data")

    def test_goodbyeIsHeld(self) -> None:
        """A client may be gone before the backend is there: what it sent arrives."""
        self.pair.client.sendMessage(b"hello")
        self.pair.client.goodbye()
        self.pair.pump()
        self.assertIsNone(self.pair.client.termination)
        other = self.link()
        self.pair.pump()
        self.assertTrue(self.pair.client.end.clean)
        other.pump()
        self.assertEqual(bytes(self.server.received), b"hello")
        self.assertTrue(self.server.lost.called)

    def test_places(self) -> None:
        """Without a place for another connection the client is told to come back later."""
        self.backend.most = 1
        late = Pair(clock=self.clock, serverFactory=self.factory).up()
        end = late.client.end
        assert end is not None, "the second has no place"
        self.assertEqual(end.code, ErrorCode.SERVER_BUSY)
        self.assertGreater(end.retryAfter or 0, 0)
        self.assertIsNone(self.pair.client.termination)

    def test_timeout(self) -> None:
        """A backend that does not answer in time is given up, and the session with it."""
        self.pair.advance(CONNECT_TIMEOUT - 1)
        self.assertIsNone(self.pair.client.termination)
        self.pair.advance(2)
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertIs(self.pair.client.end.code, ErrorCode.INTERNAL_ERROR)
        self.assertGreater(self.pair.client.end.retryAfter or 0.0, 0.0)

    def test_clientIsGone(self) -> None:
        """If the client is cut off meanwhile, the attempt is given up and nothing is left."""
        self.pair.client.abort()
        self.pair.pump()
        self.assertEqual(self.endpoint.cancelled, 1)
        self.pair.advance(CONNECT_TIMEOUT + 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_linkTooLate(self) -> None:
        """A backend that is there in spite of it all is closed again."""
        self.pair.client.abort()
        self.pair.pump()
        (linkFactory,) = self.endpoint.factories
        link = linkFactory.buildProtocol(None)
        self.assertIsInstance(link, BackendEnd)
        other = Pair(clock=self.clock)
        backend = BackendServer()
        backend.factory = BackendFactory(BackendServer)
        other.clientEnd.connect(backend)
        other.serverEnd.connect(link)
        other.pump()
        self.assertTrue(link.closed.called)
        self.assertEqual(self.backend.connections, set())
