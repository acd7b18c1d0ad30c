"""Streams as Twisted knows streams: endpoints, factories, transports, half-closes and ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.pairs import Pair, PairCase, firings
from thing.errors import LocalProtocolError, SessionEnded, StopCode, StreamRefused
from thing.session.interfaces import IThingTransport
from thing.session.reasons import SessionLost
from thing.session.streams import StreamCut


class Talk(Protocol):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Any = None
        self.made = 0

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None, "told twice"
        self.reason = reason.value


@implementer(IHalfCloseableProtocol)
class HalfTalk(Talk):
    """The same, of half-closes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Maker(Factory):
    """Builds protocols, and keeps them."""

    def __init__(self, kind: type[Talk] = Talk) -> None:
        self.kind = kind
        self.made: list[Any] = []

    def buildProtocol(self, addr: Any) -> Talk:
        self.made.append(self.kind())
        return self.made[-1]


class StreamCase(PairCase):
    """Pairs with a stream between them."""

    def stream(self, kind: type[Talk] = Talk, pair: Pair | None = None) -> tuple[Pair, Any, Any]:
        """A pair, and the protocols of a stream that the client opened."""
        pair = pair or self.pair().up()
        ours, theirs = Maker(kind), Maker(kind)
        pair.server.streams.serve("talk", theirs)
        (client,) = self.connected(pair, "talk", ours)
        return pair, client, theirs.made[-1]

    def connected(self, pair: Pair, label: str, maker: Maker) -> list[Any]:
        """What connecting by the client's endpoint has come to."""
        fired = firings(pair.client.streams.endpoint(label).connect(maker))
        pair.pump()
        return fired


class OpeningTests(StreamCase):
    """How a stream comes to its protocols."""

    def test_served(self) -> None:
        """A protocol on each side is connected, and they talk."""
        pair, client, server = self.stream()
        client.transport.write(b"up")
        server.transport.write(b"down")
        pair.advance(1)
        self.assertEqual((server.data, client.data), (b"up", b"down"))
        self.assertTrue(IThingTransport.providedBy(client.transport))
        self.assertEqual(client.transport.peer, pair.client.peer)
        self.assertIs(server.transport.streams, pair.server.streams)

    def test_byServer(self) -> None:
        """A server opens streams as well."""
        pair = self.pair().up()
        maker = Maker()
        pair.client.streams.serve("to-the-device", maker)
        fired = firings(pair.server.streams.endpoint("to-the-device").connect(Maker()))
        pair.pump()
        self.assertEqual(len(maker.made), 1)
        self.assertIsInstance(fired[0], Talk)

    def test_beforeEstablished(self) -> None:
        """An endpoint waits for the session."""
        pair = self.pair()
        pair.server.doing["handshakeCompleted"] = lambda: pair.server.streams.serve("x", Maker())
        fired: list[Any] = []
        pair.client.doing["connectionMade"] = lambda: fired.extend(
            [pair.client.streams.endpoint("x").connect(Maker())]
        )
        pair.up()
        pair.pump()
        self.assertIsInstance(self.successResultOf(fired[0]), Talk)

    def test_requested(self) -> None:
        """The program decides about other labels: at once or later, by a factory or a refusal."""
        later: Deferred[Any] = Deferred()
        maker = Maker()

        def decide(label: str) -> Any:
            if label == "raise":
                raise StreamRefused(0x1234)
            return {"now": maker, "later": later, "no": None}[label]

        pair = self.pair().up()
        pair.server.streamRequested = decide  # type: ignore[method-assign]
        self.assertIsInstance(self.connected(pair, "now", Maker())[0], Talk)
        (refused,) = self.connected(pair, "no", Maker())
        self.assertEqual(refused.code, StopCode.NOT_TAKEN)
        (refused,) = self.connected(pair, "raise", Maker())
        self.assertEqual(refused.code, 0x1234)
        waiting = self.connected(pair, "later", Maker())
        self.assertEqual(waiting, [])
        later.callback(maker)
        pair.pump()
        self.assertIsInstance(waiting[0], Talk)

    def test_undecided(self) -> None:
        """Who does not decide in time refuses; the question is cancelled."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        waiting = self.connected(pair, "later", Maker())
        pair.advance(11)
        self.assertEqual(waiting[0].code, StopCode.TIMED_OUT)

    def test_failing(self) -> None:
        """A program that fails to decide is logged and refuses; the session goes on."""
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: 1 // 0  # type: ignore[method-assign]
        (refused,) = self.connected(pair, "x", Maker())
        self.assertEqual(refused.code, StopCode.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.server.termination)

    def test_givenUp(self) -> None:
        """To cancel the connecting gives the stream up, on both sides."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        connecting = pair.client.streams.endpoint("x").connect(Maker())
        fired = firings(connecting)
        pair.pump()
        connecting.cancel()
        pair.pump()
        self.assertEqual(len(fired), 1)
        self.assertTrue(later.called)

    def test_wrongLabel(self) -> None:
        """A label that is none is an error of the caller's."""
        pair = self.pair().up()
        (error,) = self.connected(pair, "x" * 300, Maker())
        self.assertIsInstance(error, LocalProtocolError)

    def test_over(self) -> None:
        """Once the session is over an endpoint says so."""
        pair = self.pair().up()
        pair.client.goodbye()
        pair.advance(1)
        (error,) = self.connected(pair, "x", Maker())
        self.assertIsInstance(error, SessionEnded)


class EndTests(StreamCase):
    """How a stream ends."""

    def test_closed(self) -> None:
        """All that was written arrives, and both protocols are told of a clean end."""
        pair, client, server = self.stream()
        client.transport.write(bytes(300_000))
        client.transport.loseConnection()
        pair.advance(1)
        self.assertEqual(len(server.data), 300_000)
        self.assertIsInstance(client.reason, ConnectionDone)
        self.assertIsInstance(server.reason, ConnectionDone)
        self.assertIsNone(pair.server.termination)
        self.assertEqual((len(pair.client.streams), len(pair.server.streams)), (0, 0))

    def test_aborted(self) -> None:
        """An abort ends both directions at once; the peer is told that it is no clean end."""
        pair, client, server = self.stream()
        client.transport.abortConnection()
        self.assertIsNone(client.reason)
        pair.advance(1)
        self.assertIsInstance(server.reason, StreamCut)
        self.assertEqual(server.reason.code, StopCode.CANCELLED)
        self.assertIsNotNone(client.reason)

    def test_halfClosed(self) -> None:
        """A half-close is told to protocols that know of it; the other half goes on."""
        pair, client, server = self.stream(HalfTalk)
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        pair.advance(1)
        self.assertEqual((server.data, server.halves), (b"question", ["read"]))
        self.assertEqual(client.halves, ["write"])
        server.transport.write(b"answer")
        server.transport.loseWriteConnection()
        pair.advance(1)
        self.assertEqual(client.data, b"answer")
        self.assertIsInstance(client.reason, ConnectionDone)
        self.assertIsInstance(server.reason, ConnectionDone)

    def test_halfCloseUnknown(self) -> None:
        """A protocol that knows of no half-closes is closed by its peer's."""
        pair, client, server = self.stream()
        client.transport.loseWriteConnection()
        pair.advance(1)
        self.assertIsInstance(server.reason, ConnectionDone)
        self.assertIsInstance(client.reason, ConnectionDone)

    def test_bug(self) -> None:
        """A protocol that raises loses its stream; the session and other streams go on."""
        pair, client, server = self.stream()
        _, other, _ = self.stream(pair=pair)
        server.dataReceived = lambda data: 1 // 0
        client.transport.write(b"x")
        pair.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(client.reason.code, StopCode.FAILED)
        self.assertIsInstance(server.reason, ZeroDivisionError)
        self.assertIsNone(other.reason)
        self.assertIsNone(pair.server.termination)

    def test_sessionLost(self) -> None:
        """A session that is cut ends its streams, and never as a clean end."""
        pair, client, server = self.stream()
        pair.client.abort()
        pair.advance(3)
        self.assertIsInstance(server.reason, SessionLost)
        self.assertNotIsInstance(client.reason, type(None))

    def test_goodbye(self) -> None:
        """A goodbye ends all streams in order: what was written before arrives."""
        pair, client, server = self.stream()
        client.transport.write(bytes(100_000))
        pair.pump()
        pair.client.goodbye()
        pair.advance(1)
        self.assertEqual(len(server.data), 100_000)
        self.assertIsInstance(server.reason, ConnectionDone)


class FlowTests(StreamCase):
    """Producers, consumers and pauses."""

    def test_paused(self) -> None:
        """A pause of many TTLs costs no session, and holds back the writer."""
        pair, client, server = self.stream()
        server.transport.pauseProducing()
        client.transport.write(bytes(1 << 20))
        pair.advance(10 * (pair.client.ttl or 0), 1.0)
        self.assertEqual(server.data, b"")
        self.assertIsNone(pair.client.termination)
        server.transport.resumeProducing()
        pair.advance(5)
        self.assertEqual(len(server.data), 1 << 20)

    def test_producer(self) -> None:
        """A push producer is paused while little can be sent, and resumed."""
        pair, client, server = self.stream()
        told: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

            def stopProducing(self) -> None:
                told.append("stop")

        server.transport.pauseProducing()
        client.transport.registerProducer(Producer(), True)
        client.transport.write(bytes(200_000))
        pair.advance(1)
        self.assertEqual(told, ["pause"])
        server.transport.resumeProducing()
        pair.advance(1)
        self.assertEqual(told, ["pause", "resume"])
        client.transport.unregisterProducer()

    def test_lines(self) -> None:
        """Any protocol of Twisted's runs in a stream."""
        lines: list[bytes] = []

        class Lines(LineReceiver):
            def lineReceived(self, line: bytes) -> None:
                lines.append(line)

        pair = self.pair().up()
        pair.server.streams.serve("lines", Factory.forProtocol(Lines))
        (client,) = self.connected(pair, "lines", Maker())
        client.transport.writeSequence([b"one\r\ntw", b"o\r\n"])
        pair.advance(1)
        self.assertEqual(lines, [b"one", b"two"])
