"""Streams as Twisted knows streams: endpoints, factories, transports, half-closes and ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionAborted, ConnectionDone, NoProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from tests.pairs import CallbackBug, Pair, PairCase, firings, freshClient, freshServer
from thing.core.capacity import Capacity
from thing.core.records import RECORD_LIMIT
from thing.core.window import RECORD_COST
from thing.errors import (
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    SessionEnded,
    StopCode,
    StreamRefused,
)
from thing.session.interfaces import IStreamServer, IThingTransport
from thing.session.protocol import linkOf
from thing.session.reasons import Aborted, SessionLost, StreamCut


class Talk(Protocol):
    """
    Notes all that it is told, and does in it what it is told to.

    :cvar doing: what to do in a callback, by its name.
    :ivar inside: what of the transport is being called; no callback may come meanwhile.
    """

    doing: ClassVar[dict[str, Callable[[Any], object]]] = {}
    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.reason: Any = None
        self.made = 0
        self.inside = ""

    def call(self, name: str, *args: object) -> None:
        """Call a method of the transport, and let nothing be called back meanwhile."""
        self.inside = name
        getattr(self.transport, name)(*args)
        self.inside = ""

    def tell(self, name: str) -> None:
        assert not self.inside, f"{name} came inside {self.inside}"
        if name in self.doing:
            self.doing[name](self)

    def connectionMade(self) -> None:
        self.made += 1
        self.tell("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.tell("dataReceived")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None, "told twice"
        self.reason = reason.value
        self.tell("connectionLost")


def doing(**callbacks: Callable[[Any], object]) -> type[Talk]:
    """A kind of protocol that does something in its callbacks."""
    return type("Doing", (Talk,), {"doing": callbacks})


@implementer(IHalfCloseableProtocol)
class HalfTalk(Talk):
    """The same, of half-closes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")
        self.tell("readConnectionLost")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")
        self.tell("writeConnectionLost")


class Maker(Factory):
    """Builds protocols, and keeps them."""

    noisy = False

    def __init__(self, kind: type[Talk] = Talk) -> None:
        self.kind = kind
        self.made: list[Any] = []
        self.used: list[str] = []

    def startFactory(self) -> None:
        self.used.append("start")

    def stopFactory(self) -> None:
        self.used.append("stop")

    def buildProtocol(self, addr: Any) -> Talk:
        self.made.append(self.kind())
        return self.made[-1]


class Producer:
    """A push producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class StreamCase(PairCase):
    """Pairs with a stream between them."""

    def stream(self, kind: type[Talk] = Talk, pair: Pair | None = None) -> tuple[Pair, Any, Any]:
        """A pair, and the protocols of a stream that the client opened."""
        pair = pair or self.pair().up()
        ours, theirs = self.maker(kind), self.maker(kind)
        pair.server.streams.serve("talk", theirs)
        (client,) = self.connected(pair, "talk", ours)
        return pair, client, theirs.made[-1]

    def assertOver(self, pair: Pair) -> None:
        """No stream is left, and no factory in use."""
        super().assertOver(pair)
        for side in (pair.client, pair.server):
            streams = side.streams
            for left in (
                *(streams._carried, streams._opening, streams._deciding),
                *(streams._unsent, streams._served),
            ):
                self.assertEqual(left, {})
        for maker in self.makers:
            self.assertEqual(maker.numPorts, 0)

    def setUp(self) -> None:
        super().setUp()
        self.makers: list[Maker] = []

    def maker(self, kind: type[Talk] = Talk) -> Maker:
        """A factory that nobody may use at the end of the test."""
        self.makers.append(Maker(kind))
        return self.makers[-1]

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
        maker = self.maker()
        pair.client.streams.serve("to-the-device", maker)
        fired = firings(pair.server.streams.endpoint("to-the-device").connect(self.maker()))
        pair.pump()
        self.assertEqual(len(maker.made), 1)
        self.assertIsInstance(fired[0], Talk)

    def test_beforeEstablished(self) -> None:
        """An endpoint waits for the session."""
        pair = self.pair()
        pair.server.doing["handshakeCompleted"] = lambda: pair.server.streams.serve(
            "x", self.maker()
        )
        fired: list[Any] = []
        pair.client.doing["connectionMade"] = lambda: fired.extend(
            [pair.client.streams.endpoint("x").connect(self.maker())]
        )
        pair.up()
        pair.pump()
        self.assertIsInstance(self.successResultOf(fired[0]), Talk)

    def test_requested(self) -> None:
        """The program decides about other labels: at once or later, by a factory or a refusal."""
        later: Deferred[Any] = Deferred()
        maker = self.maker()

        def decide(label: str) -> Any:
            if label == "raise":
                raise StreamRefused(0x1234)
            return {"now": maker, "later": later, "no": None}[label]

        pair = self.pair().up()
        pair.server.streamRequested = decide  # type: ignore[method-assign]
        self.assertIsInstance(self.connected(pair, "now", self.maker())[0], Talk)
        (refused,) = self.connected(pair, "no", self.maker())
        self.assertEqual(refused.code, StopCode.NOT_TAKEN)
        (refused,) = self.connected(pair, "raise", self.maker())
        self.assertEqual(refused.code, 0x1234)
        waiting = self.connected(pair, "later", self.maker())
        self.assertEqual(waiting, [])
        later.callback(maker)
        pair.pump()
        self.assertIsInstance(waiting[0], Talk)

    def test_undecided(self) -> None:
        """Who does not decide in time refuses; the question is cancelled."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        waiting = self.connected(pair, "later", self.maker())
        pair.advance(11)
        self.assertEqual(waiting[0].code, StopCode.TIMED_OUT)

    def test_failing(self) -> None:
        """A program that fails to decide is logged and refuses; the session goes on."""
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: 1 // 0  # type: ignore[method-assign]
        (refused,) = self.connected(pair, "x", self.maker())
        self.assertEqual(refused.code, StopCode.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.server.termination)

    def test_refusedAsFailed(self) -> None:
        """A program that refuses as failed has said so: no traceback tells of it."""
        pair = self.pair().up()

        def refuse(label: str) -> None:
            raise StreamRefused(StopCode.FAILED)

        pair.server.streamRequested = refuse  # type: ignore[method-assign]
        (refused,) = self.connected(pair, "x", self.maker())
        self.assertEqual(refused.code, StopCode.FAILED)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_givenUp(self) -> None:
        """To cancel the connecting gives the stream up, on both sides."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        connecting = pair.client.streams.endpoint("x").connect(self.maker())
        fired = firings(connecting)
        pair.pump()
        connecting.cancel()
        pair.pump()
        self.assertEqual(len(fired), 1)
        self.assertTrue(later.called)

    def test_wrongLabel(self) -> None:
        """A label that is none is an error of the caller's."""
        pair = self.pair().up()
        (error,) = self.connected(pair, "x" * 300, self.maker())
        self.assertIsInstance(error, LocalProtocolError)

    def test_over(self) -> None:
        """Once the session is over an endpoint says so."""
        pair = self.pair().up()
        pair.client.goodbye()
        pair.advance(1)
        (error,) = self.connected(pair, "x", self.maker())
        self.assertIsInstance(error, SessionEnded)


class FactoryTests(StreamCase):
    """Factories: those that build nothing, and what they are told of their use."""

    def opened(self, kind: Any, theirs: Any) -> tuple[Pair, Any, Maker]:
        """What a client's connecting has come to, and the server's factory."""
        pair = self.pair().up()
        served = self.maker(theirs)
        pair.server.streams.serve("talk", served)
        (result,) = self.connected(pair, "talk", self.maker(kind))
        return pair, result, served

    def test_nothingBuilt(self) -> None:
        """A served factory that builds nothing does not take the stream."""
        _, refused, _ = self.opened(Talk, lambda: None)
        self.assertIsInstance(refused, StreamRefused)
        self.assertEqual(refused.code, StopCode.NOT_TAKEN)

    def test_failing(self) -> None:
        """One that raises is logged, and the stream is refused as a failure."""
        pair, refused, _ = self.opened(Talk, lambda: 1 // 0)
        self.assertEqual(refused.code, StopCode.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.server.termination)

    def test_opener(self) -> None:
        """An opener's factory that builds nothing, or fails, is told so; the peer's stream ends."""
        for kind, error in ((lambda: None, NoProtocol), (lambda: 1 // 0, ZeroDivisionError)):
            pair, result, served = self.opened(kind, Talk)
            self.assertIsInstance(result, error)
            pair.advance(1)
            self.assertIsInstance(served.made[0].reason, StreamCut)
            self.assertEqual((len(pair.client.streams), len(pair.server.streams)), (0, 0))

    def test_connectionMadeRaises(self) -> None:
        """A protocol that fails in ``connectionMade`` is not handed out, and told of its end."""
        made = []

        def fails(talk: Talk) -> None:
            made.append(talk)
            raise ZeroDivisionError

        pair, result, served = self.opened(doing(connectionMade=fails), Talk)
        self.assertIsInstance(result, ZeroDivisionError)
        pair.advance(1)
        self.assertIsInstance(made[0].reason, ZeroDivisionError)
        self.assertEqual(served.made[0].reason.code, StopCode.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_started(self) -> None:
        """A factory is in use while it is served, and while a stream of its lasts."""
        pair = self.pair().up()
        ours, theirs, other = self.maker(), self.maker(), self.maker()
        pair.server.streams.serve("talk", theirs)
        self.assertEqual(theirs.used, ["start"])
        (client,) = self.connected(pair, "talk", ours)
        self.assertEqual(ours.used, ["start"])
        pair.server.streams.serve("talk", other)
        self.assertEqual((theirs.used, other.used), (["start"], ["start"]))
        client.transport.loseConnection()
        pair.advance(1)
        self.assertEqual((theirs.used, ours.used), (["start", "stop"],) * 2)
        pair.client.goodbye()
        pair.advance(1)
        self.assertEqual(other.used, ["start", "stop"])
        pair.server.streams.serve("talk", other)
        self.assertEqual(other.used, ["start", "stop"])

    def test_ofAllSessions(self) -> None:
        """What a factory serves is served in each of its sessions, unless that says otherwise."""
        pair = self.pair()
        everywhere, here = self.maker(), self.maker()
        pair.serverFactory.serve("a", everywhere)
        pair.serverFactory.serve("b", everywhere)
        pair.serverFactory.serve("c", everywhere)
        pair.serverFactory.doStart()
        self.assertEqual((everywhere.used, everywhere.numPorts), (["start"], 3))
        pair.up()
        pair.server.streams.serve("b", here)
        pair.server.streams.serve("c", None)
        self.assertIsInstance(self.connected(pair, "a", self.maker())[0], Talk)
        self.assertIsInstance(self.connected(pair, "b", self.maker())[0], Talk)
        self.assertEqual((len(everywhere.made), len(here.made)), (1, 1))
        (refused,) = self.connected(pair, "c", self.maker())
        self.assertEqual(refused.code, StopCode.NOT_TAKEN)
        late = self.maker()
        pair.serverFactory.serve("a", late)
        self.assertEqual((late.used, everywhere.numPorts), (["start"], 3))
        pair.serverFactory.doStop()
        self.assertEqual(late.used, ["start", "stop"])

    def test_decidedForEach(self) -> None:
        """What is served may decide about each stream: it is told whose it is, and may wait."""

        @implementer(IStreamServer)
        class Deciding:
            asked: ClassVar[list[Any]] = []

            def streamRequested(self, protocol: Any, label: str) -> Any:
                self.asked.append((protocol, label))
                return later

            def doStart(self) -> None:
                """Nothing is to be done."""

            def doStop(self) -> None:
                """Nothing is to be done."""

        later: Deferred[Any] = Deferred()
        pair, maker = self.pair(), self.maker()
        pair.serverFactory.serve("a", Deciding())
        pair.up()
        waiting = self.connected(pair, "a", self.maker())
        self.assertEqual((Deciding.asked, waiting), ([(pair.server, "a")], []))
        later.callback(maker)
        pair.pump()
        self.assertIsInstance(waiting[0], Talk)
        self.assertEqual(len(maker.made), 1)
        pair.server.streams.serve("b", Deciding())
        later = Deferred()
        refused = self.connected(pair, "b", self.maker())
        later.errback(StreamRefused(StopCode.UNREACHABLE))
        pair.pump()
        self.assertIs(refused[0].code, StopCode.UNREACHABLE)

    def test_stopFails(self) -> None:
        """Factories that fail to stop keep nobody from hearing of the end."""

        class Stubborn(Maker):
            def stopFactory(self) -> None:
                super().stopFactory()
                raise CallbackBug("stopFactory")

        pair = self.pair().up()
        served = [Stubborn(), Stubborn()]
        for label, factory in zip("ab", served, strict=True):
            pair.server.streams.serve(label, factory)
        ours = [Stubborn(), Stubborn()]
        for label, factory in zip("ab", ours, strict=True):
            self.assertIsInstance(self.connected(pair, label, factory)[0], Talk)
        (refused,) = self.connected(pair, "c", Stubborn())
        self.assertIsInstance(refused, StreamRefused)
        pair.client.abort()
        pair.pump()
        for factory in (*ours, *served):
            self.assertEqual(factory.used, ["start", "stop"])
            self.assertIsNotNone(factory.made[0].reason)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 5)
        for side in (pair.client, pair.server):
            self.assertEqual(side.names()[-2:], ["terminated", "connectionLost"])

    def test_exits(self) -> None:
        """A protocol that leaves by sys.exit() loses its stream, and its session goes on."""

        def leave(protocol: Talk) -> None:
            raise SystemExit(1)

        pair, client, server = self.stream(doing(dataReceived=leave))
        client.transport.write(b"x")
        pair.advance(1)
        self.assertIsInstance(server.reason, SystemExit)
        self.assertIsInstance(client.reason, StreamCut)
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)
        self.assertIsNone(pair.server.termination)

    def test_nothingToServe(self) -> None:
        """A class, and what builds nothing, are refused when they are given; nothing is kept."""
        pair = self.pair().up()
        for wrong in (Talk, object(), None):
            served = {"label": "x", "factory": wrong}
            self.assertRaises(TypeError, pair.serverFactory.serve, **served)
            if wrong is not None:
                self.assertRaises(TypeError, pair.server.streams.serve, **served)
            endpoint = pair.client.streams.endpoint("x")
            self.assertRaises(TypeError, endpoint.connect, wrong)
        self.assertEqual(pair.serverFactory.served, {})

    def test_twoAtOnce(self) -> None:
        """Streams of one label have protocols of their own."""
        pair, first, _ = self.stream()
        (second,) = self.connected(pair, "talk", self.maker())
        first.transport.write(b"1")
        second.transport.write(b"2")
        pair.advance(1)
        self.assertEqual(len(pair.server.streams), 2)


class GivenUpTests(StreamCase):
    """A Deferred of a connecting fires once, however it ends."""

    def waiting(self) -> tuple[Pair, Any, list[Any], Deferred[Any]]:
        """A stream that the server is asked for, and has not decided about."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        connecting = pair.client.streams.endpoint("x").connect(self.maker())
        fired = firings(connecting)
        pair.pump()
        return pair, connecting, fired, later

    def test_whileNotUp(self) -> None:
        """It may be cancelled while the session is not up: no stream is opened."""
        pair = self.pair()
        asked: list[str] = []
        pair.server.streamRequested = asked.append  # type: ignore[method-assign]
        connecting: list[Any] = []

        def connect() -> None:
            connecting.append(pair.client.streams.endpoint("x").connect(self.maker()))

        pair.client.doing["connectionMade"] = connect
        pair.connect()
        fired = firings(connecting[0])
        connecting[0].cancel()
        pair.pump()
        self.assertEqual(([type(each) for each in fired], asked), ([CancelledError], []))

    def test_noSession(self) -> None:
        """If the session does not come up it fails with that."""
        pair = self.pair()
        connecting: list[Any] = []
        pair.client.doing["connectionMade"] = lambda: connecting.append(
            pair.client.streams.endpoint("x").connect(self.maker())
        )
        pair.connect()
        fired = firings(connecting[0])
        pair.server.abort()
        pair.pump()
        self.assertEqual([type(each) for each in fired], [HandshakeFailed])

    def test_timeout(self) -> None:
        """A peer that does not decide in time is waited for no longer; its question is over."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        fired = firings(pair.client.streams.endpoint("x", timeout=3.0).connect(self.maker()))
        pair.advance(2.5)
        self.assertEqual(fired, [])
        pair.advance(1)
        self.assertEqual([type(each) for each in fired], [TimeoutError])
        self.assertTrue(later.called)
        self.assertIsNone(pair.client.termination)

    def test_crossing(self) -> None:
        """It is cancelled while the acceptance is on its way: the peer's protocol loses its."""
        pair, connecting, fired, later = self.waiting()
        theirs = self.maker()
        later.callback(theirs)
        pair.serverEnd.step(0)
        connecting.cancel()
        pair.advance(1)
        self.assertEqual([type(each) for each in fired], [CancelledError])
        self.assertEqual(theirs.made[0].reason.code, StopCode.CANCELLED)

    def test_failsToGiveUp(self) -> None:
        """A question that cannot be cancelled is logged; it ends no session and keeps no end."""
        pair, client, server = self.stream()
        stuck: list[Deferred[Any]] = []

        def decide(label: str) -> Deferred[Any]:
            stuck.append(Deferred(lambda _: 1 // 0))
            return stuck[-1]

        pair.server.streamRequested = decide  # type: ignore[method-assign]
        connecting = pair.client.streams.endpoint("stuck").connect(self.maker())
        fired = firings(connecting)
        pair.pump()
        connecting.cancel()
        pair.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.server.termination)
        others = firings(pair.client.streams.endpoint("stuck").connect(self.maker()))
        pair.pump()
        pair.client.abort()
        pair.advance(3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNotNone(server.reason)
        self.assertIsNotNone(client.reason)
        self.assertEqual((len(fired), len(others)), (1, 1))
        for each in stuck:
            each.callback(None)

    def test_sessionEnds(self) -> None:
        """The session ends meanwhile, by either side and in any way: so it fails, and once."""
        for ends in (
            lambda pair: pair.client.abort(),
            lambda pair: pair.server.abort(),
            lambda pair: pair.client.goodbye(),
            lambda pair: pair.server.goodbye(),
        ):
            pair, _, fired, later = self.waiting()
            ends(pair)
            pair.advance(2)
            self.assertEqual(len(fired), 1)
            self.assertIn(type(fired[0]), (SessionEnded, StreamRefused))
            self.assertTrue(later.called)

    def test_endsOnAcceptance(self) -> None:
        """A protocol that ends the session in ``connectionMade`` is told of that, once."""
        for name in ("abort", "goodbye"):
            pair = self.pair().up()
            kind = doing(
                connectionMade=lambda _, name=name, pair=pair: getattr(pair.server, name)()
            )
            theirs = self.maker(kind)
            pair.server.streams.serve("talk", theirs)
            fired = self.connected(pair, "talk", self.maker())
            pair.advance(3)
            self.assertEqual(len(fired), 1)
            self.assertIsNotNone(theirs.made[0].reason)

    def test_whileLeaving(self) -> None:
        """While the session says goodbye no stream is opened."""
        pair = self.pair().up()
        pair.client.goodbye()
        fired = firings(pair.client.streams.endpoint("x").connect(self.maker()))
        (error,) = fired
        self.assertIs(error.code, ErrorCode.WRONG_STATE)

    def test_tooMany(self) -> None:
        """More streams than the peer takes are not opened."""
        pair = self.pair(freshServer(capacity=Capacity(RECORD_LIMIT, 32768, 16384, 1))).up()
        pair.server.streams.serve("talk", self.maker())
        self.assertIsInstance(self.connected(pair, "talk", self.maker())[0], Talk)
        (error,) = self.connected(pair, "talk", self.maker())
        self.assertIs(error.code, ErrorCode.TOO_MANY_STREAMS)


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
        self.assertIsInstance(client.reason, ConnectionAborted)

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

    def test_halfCloseBack(self) -> None:
        """Who closes its half when the peer's is closed, and no more, has closed both."""
        pair, client, server = self.stream(HalfTalk)
        server.doing = {"readConnectionLost": lambda it: it.transport.loseWriteConnection()}
        client.call("loseWriteConnection")
        pair.advance(1)
        self.assertEqual((server.halves, client.halves), (["read", "write"], ["write", "read"]))
        self.assertIsInstance(client.reason, ConnectionDone)
        self.assertIsInstance(server.reason, ConnectionDone)

    def test_halfCloseBug(self) -> None:
        """A protocol that fails when it is told of a half-close loses its stream, and no more."""
        for name in ("readConnectionLost", "writeConnectionLost"):
            pair, client, server = self.stream(HalfTalk)
            failing = {"readConnectionLost": server, "writeConnectionLost": client}[name]
            failing.doing = {name: lambda _: 1 // 0}
            client.call("loseWriteConnection")
            pair.advance(1)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertIsInstance(failing.reason, ZeroDivisionError)
            self.assertIsNone(pair.server.termination)

    def test_insideCallbacks(self) -> None:
        """A protocol may close in any callback, in any way, and is lost once; so is its peer's."""
        for name in ("connectionMade", "dataReceived", "connectionLost"):
            for how in ("loseConnection", "abortConnection", "loseWriteConnection"):
                with self.subTest(name=name, how=how):
                    pair = self.pair().up()
                    kind = doing(**{name: lambda it, how=how: getattr(it.transport, how)()})
                    theirs = self.maker(kind)
                    pair.server.streams.serve("talk", theirs)
                    (client,) = self.connected(pair, "talk", self.maker())
                    if (name, how) == ("connectionMade", "abortConnection"):
                        self.assertIs(client.code, StopCode.CANCELLED)  # It is not accepted.
                    else:
                        client.call("write", b"x")
                        pair.advance(1)
                        client.call("loseConnection")
                        pair.advance(1)
                        self.assertIsNotNone(client.reason)
                    pair.advance(1)
                    self.assertIsNotNone(theirs.made[0].reason)
                    self.assertIsNone(pair.client.termination)

    def test_outsideCallbacks(self) -> None:
        """No method of the transport calls the protocol back."""
        names = ("loseConnection", "abortConnection", "loseWriteConnection", "stopConsuming")
        for name in (*names, "stopProducing", "pauseProducing", "resumeProducing"):
            pair, client, server = self.stream(HalfTalk)
            client.call("write", b"x")
            client.call(name)
            pair.advance(1)
            server.call("abortConnection")
            pair.advance(1)
            client.call("resumeProducing")
            pair.advance(1)
            self.assertIsNotNone(client.reason)

    def test_writesInConnectionLost(self) -> None:
        """What is written, asked or registered once the stream is over does nothing."""
        producer = Producer()

        def late(talk: Talk) -> None:
            talk.transport.write(b"late")
            talk.transport.registerProducer(producer, True)
            talk.transport.pauseProducing()
            talk.transport.resumeProducing()
            talk.transport.loseWriteConnection()

        pair, client, server = self.stream()
        client.doing = {"connectionLost": late}
        server.call("loseConnection")
        pair.advance(1)
        self.assertEqual(producer.told, ["stop"])
        self.assertIsNone(pair.client.termination)

    def test_lateFailure(self) -> None:
        """A protocol that fails when its stream is over is logged; nothing else comes of it."""
        pair, client, server = self.stream()
        client.doing = {"connectionLost": lambda _: 1 // 0}
        server.call("loseConnection")
        pair.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.client.termination)

    def test_stalled(self) -> None:
        """A close that gets nowhere ends its stream after twice closeTimeout, and says so."""
        pair = self.pair(client=freshClient(closeTimeout=5.0)).up()
        _, client, server = self.stream(pair=pair)
        server.call("pauseProducing")
        client.call("write", bytes(1 << 20))
        pair.advance(0.1)  # The credit is used up.
        client.call("loseConnection")
        pair.advance(9.5)
        self.assertIsNone(client.reason)
        pair.advance(1)
        self.assertEqual(client.reason.code, StopCode.TIMED_OUT)
        self.assertIsNone(server.reason)  # It has paused: what came is to be taken first.
        server.call("resumeProducing")
        pair.advance(1)
        self.assertGreater(len(server.data), 0)
        self.assertEqual(server.reason.code, StopCode.TIMED_OUT)
        self.assertIsNone(pair.client.termination)

    def test_endedInItsTime(self) -> None:
        """What both sides have ended waits for as long as its reader has paused, and arrives."""
        pair = self.pair(client=freshClient(closeTimeout=5.0)).up()
        _, client, server = self.stream(HalfTalk, pair=pair)
        server.call("loseWriteConnection")
        pair.advance(1)
        server.call("pauseProducing")
        client.call("write", bytes(100_000))
        client.call("loseWriteConnection")
        pair.advance(60)
        client.call("loseConnection")  # Nothing is left to be closed.
        pair.advance(60)
        self.assertIsNone(client.reason)
        self.assertEqual(client.halves, ["read", "write"])
        server.call("resumeProducing")
        pair.advance(1)
        self.assertEqual(len(server.data), 100_000)
        for side in (client, server):
            self.assertIsInstance(side.reason, ConnectionDone)

    def test_abortedWithCode(self) -> None:
        """Who aborts a stream may say why."""
        for code in (StopCode.UNREACHABLE, 0x1234):
            pair, client, server = self.stream()
            client.call("abortConnection", code)
            pair.advance(1)
            self.assertIsInstance(client.reason, ConnectionAborted)
            self.assertEqual(server.reason.code, code)

    def test_slowButMoving(self) -> None:
        """A close that gets anywhere is waited for."""
        pair = self.pair(client=freshClient(closeTimeout=5.0)).up()
        _, client, server = self.stream(pair=pair)
        server.call("pauseProducing")
        client.call("write", bytes(200_000))
        client.call("loseConnection")
        for _ in range(60):
            server.call("resumeProducing")
            pair.clock.advance(0)
            server.call("pauseProducing")
            pair.advance(3)
        self.assertEqual(len(server.data), 200_000)
        self.assertIsInstance(client.reason, ConnectionDone)

    def test_trickling(self) -> None:
        """A peer that takes an octet now and then keeps nothing open that was closed."""
        pair = self.pair(
            freshServer(capacity=Capacity(RECORD_LIMIT, 32768, 1 << 20, 100)),
            freshClient(closeTimeout=5.0),
        ).up()
        _, client, server = self.stream(pair=pair)
        core, driver = linkOf(pair.client).core, linkOf(pair.client).driver
        (stream,) = core._streams.open.values()
        stream.lane.credit = 0
        client.call("write", bytes(100_000))
        client.call("loseConnection")
        for _ in range(3):
            core._outbox.raiseCredit(stream.lane, stream.lane.credit + RECORD_COST + 1)
            driver.flush()
            pair.advance(4.9)
        self.assertGreater(len(server.data), 1)
        self.assertEqual(client.reason.code, StopCode.TIMED_OUT)
        self.assertEqual(server.reason.code, StopCode.TIMED_OUT)

    def test_stalledProducer(self) -> None:
        """So is one whose producer never ends, at a peer that takes nothing."""
        pair = self.pair(client=freshClient(closeTimeout=5.0)).up()
        _, client, server = self.stream(pair=pair)
        server.call("pauseProducing")
        producer = Producer()
        client.call("write", bytes(1 << 20))
        pair.advance(0.1)  # The credit is used up.
        client.transport.registerProducer(producer, True)
        client.call("loseConnection")
        pair.advance(6)  # To let the peer go on now would hide what was not written.
        server.call("resumeProducing")
        pair.advance(5)
        for side in (client, server):
            self.assertEqual(side.reason.code, StopCode.TIMED_OUT)
        self.assertEqual(producer.told, ["stop"])

    def test_idleProducer(self) -> None:
        """A producer that has nothing to write is waited for, for as long as it likes."""
        pair = self.pair(client=freshClient(closeTimeout=5.0)).up()
        _, client, server = self.stream(pair=pair)
        client.transport.registerProducer(Producer(), True)
        client.call("loseConnection")
        pair.advance(60)
        self.assertIsNone(client.reason)
        client.call("write", b"more")
        client.call("unregisterProducer")
        pair.advance(1)
        self.assertEqual(server.data, b"more")
        self.assertIsInstance(client.reason, ConnectionDone)

    def test_goodbyeWhilePaused(self) -> None:
        """A goodbye waits for a stream whose protocol has paused, and then all is clean."""
        pair, client, server = self.stream()
        server.call("pauseProducing")
        client.call("write", bytes(10_000))
        pair.advance(1)
        pair.client.goodbye()
        pair.advance(20)
        self.assertEqual(server.data, b"")
        self.assertIsNone(server.reason)
        server.call("resumeProducing")
        pair.advance(1)
        self.assertEqual(len(server.data), 10_000)
        self.assertIsInstance(server.reason, ConnectionDone)
        self.assertIsInstance(client.reason, ConnectionDone)

    def test_writtenBeforeTheEnd(self) -> None:
        """What was written counts although the session is asked to end in the same turn."""
        for name in ("client", "server"):
            pair, client, server = self.stream()
            client.transport.write(b"up")
            server.transport.write(b"down")
            getattr(pair, name).goodbye()
            pair.advance(1)
            self.assertEqual((server.data, client.data), (b"up", b"down"))

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
        self.assertIsInstance(client.reason, SessionLost | Aborted)

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

    def test_notAtOnce(self) -> None:
        """Data of a stream wait for a turn of the reactor, as the main one's do; beats do not."""
        pair, client, _ = self.stream()
        pair.advance(0.1)
        client.transport.write(b"x")
        client.transport.outflow.drain()
        self.assertEqual(pair.clientEnd.kernel, b"")
        self.assertNotEqual(pair.clientEnd.outgoing, b"")
        pair.advance(0.1)
        driver = linkOf(pair.client).driver
        driver.follow(driver.core.beat(pair.clock.seconds()))
        self.assertNotEqual(pair.clientEnd.kernel, b"")

    def test_piecesBeforeTheEnd(self) -> None:
        """What was written in short and in long pieces is all sent before the end, in order."""
        for end in ("loseWriteConnection", "loseConnection"):
            pair, client, server = self.stream(HalfTalk)
            pieces = [b"a", bytes(70_000), b"b", b"c", bytes(20_000), b"d"]
            for piece in pieces:
                client.transport.write(piece)
            getattr(client.transport, end)()
            pair.advance(1)
            self.assertEqual(server.data, b"".join(pieces))

    def test_piecesBeforeTheProducer(self) -> None:
        """What a pull producer writes comes behind what was written before, in whatever pieces."""

        class Producer:
            left = 3

            def resumeProducing(self) -> None:
                if self.left:
                    self.left -= 1
                    client.transport.write(b"p")

            def stopProducing(self) -> None:
                pass

        pair, client, server = self.stream()
        pieces = [b"a", bytes(20_000), b"b"]
        for piece in pieces:
            client.transport.write(piece)
        producer = Producer()
        client.transport.registerProducer(producer, False)
        pair.advance(1)
        self.assertEqual(producer.left, 0)
        self.assertEqual(server.data, b"".join(pieces) + b"ppp")
        client.transport.unregisterProducer()

    def test_neverFull(self) -> None:
        """To write never fails for size, as in Twisted's transports, nor leaves anything out."""
        pair, client, server = self.stream()
        server.transport.pauseProducing()
        data = secrets.token_bytes(6 << 20)
        for _ in range(3):
            client.transport.write(data)
            pair.advance(1)
        server.transport.resumeProducing()
        pair.advance(5)
        self.assertEqual(server.data, 3 * data)

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
        producer = Producer()
        server.transport.pauseProducing()
        client.transport.registerProducer(producer, True)
        client.transport.write(bytes(200_000))
        pair.advance(1)
        self.assertEqual(producer.told, ["pause"])
        server.transport.resumeProducing()
        pair.advance(1)
        self.assertEqual(producer.told, ["pause", "resume"])
        client.transport.unregisterProducer()

    def test_pausedAtTheEnd(self) -> None:
        """Who was paused by the last octets hears that the stream was stopped behind them."""
        pair, client, server = self.stream(HalfTalk)
        server.doing = {"dataReceived": lambda it: it.transport.pauseProducing()}
        client.transport.write(b"last")
        client.transport.loseWriteConnection()
        pair.advance(1)
        self.assertEqual((server.data, server.halves), (b"last", ["read"]))
        server.transport.pauseProducing()
        client.transport.abortConnection()
        pair.advance(1)
        self.assertIsInstance(server.reason, StreamCut)

    def test_pausedFromTheStart(self) -> None:
        """A protocol that pauses in ``connectionMade`` is given nothing that came before."""
        later: Deferred[Any] = Deferred()
        pair = self.pair().up()
        pair.server.streamRequested = lambda label: later  # type: ignore[method-assign]
        number = linkOf(pair.client).core.openStream("x", 0.0)
        linkOf(pair.client).core.sendStream(number, b"early")
        linkOf(pair.client).driver.flush()
        pair.pump()
        theirs = self.maker(doing(connectionMade=lambda it: it.transport.pauseProducing()))
        later.callback(theirs)
        pair.advance(100)
        self.assertEqual(theirs.made[0].data, b"")
        theirs.made[0].call("resumeProducing")
        pair.advance(1)
        self.assertEqual(theirs.made[0].data, b"early")

    def test_othersGoOn(self) -> None:
        """A stream that nobody reads holds up no other, nor the main one."""
        pair, client, server = self.stream()
        _, other, theirOther = self.stream(pair=pair)
        server.call("pauseProducing")
        client.call("write", bytes(1 << 20))
        other.call("write", bytes(1 << 20))
        pair.client.sendMessage(bytes(1 << 20))
        pair.advance(5)
        self.assertEqual((len(server.data), len(theirOther.data)), (0, 1 << 20))
        self.assertEqual([len(message) for message in pair.server.messages], [1 << 20])

    def test_pullProducer(self) -> None:
        """A pull producer is asked as long as there is room."""
        pair, client, server = self.stream()

        class Pulled:
            left = 100

            def resumeProducing(self) -> None:
                self.left -= 1
                client.transport.write(bytes(10_000))
                if not self.left:
                    client.transport.stopConsuming()

            def stopProducing(self) -> None:
                raise AssertionError("it was not stopped")

        client.transport.registerProducer(Pulled(), False)
        pair.advance(5)
        self.assertEqual(len(server.data), 1_000_000)
        self.assertIsInstance(client.reason, ConnectionDone)

    def test_logContext(self) -> None:
        """What a protocol logs bears its name."""
        systems: list[str] = []
        pair, client, _ = self.stream(
            doing(dataReceived=lambda _: systems.append(context.get(ILogContext)["system"]))
        )
        client.call("write", b"x")
        pair.advance(1)
        self.assertEqual(systems, ["Doing"])

    def test_lines(self) -> None:
        """Any protocol of Twisted's runs in a stream."""
        lines: list[bytes] = []

        class Lines(LineReceiver):
            def lineReceived(self, line: bytes) -> None:
                lines.append(line)

        pair = self.pair().up()
        pair.server.streams.serve("lines", Factory.forProtocol(Lines))
        (client,) = self.connected(pair, "lines", self.maker())
        client.transport.writeSequence([b"one\r\ntw", b"o\r\n"])
        pair.advance(1)
        self.assertEqual(lines, [b"one", b"two"])
