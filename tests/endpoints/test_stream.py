"""A protocol over Thing, in memory: what its transport does, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionClosed,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
)
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.anypeer import AnyPeer
from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from tests.pairs import firings, freshClient, freshServer
from thing import testing
from thing.core.window import RECORD_COST
from thing.endpoints import (
    Aborted,
    ApplicationFactory,
    FlatLined,
    Goodbye,
    IThingTransport,
    Lapsed,
    RuleBroken,
    SentAway,
    SessionAborted,
    SessionLost,
    StreamFactory,
    Truncated,
)
from thing.errors import (
    EndReason,
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    NotAuthorized,
    ReplyStatus,
    StopCode,
)
from thing.events import Cause, Termination
from thing.identity import Identity
from thing.session.protocol import linkOf
from thing.session.reasons import reasonOf
from thing.trust.authorized import Anyone


class Bug(Exception):
    """What an application raises where it was told to."""


class Speaker(Protocol):
    """
    Records what it is told, and does what the test wants meanwhile.

    :ivar told: the callbacks, in order.
    :ivar doing: what else to do in a callback, by its name.
    :ivar inside: what of the transport is being called; no callback may come meanwhile.
    """

    transport: Any

    def __init__(self, doing: dict[str, Callable[[Speaker], object]] | None = None) -> None:
        self.told: list[str] = []
        self.received = bytearray()
        self.reason: BaseException | None = None
        self.doing = doing or {}
        self.inside = ""

    def call(self, name: str, *args: object) -> None:
        """Call a method of the transport, and let nothing be called back meanwhile."""
        self.inside = name
        getattr(self.transport, name)(*args)
        self.inside = ""

    def tell(self, name: str) -> None:
        assert not self.inside, f"{name} came inside {self.inside}"
        self.told.append(name)
        if name in self.doing:
            self.doing[name](self)

    def connectionMade(self) -> None:
        self.tell("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.tell("dataReceived")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.reason = reason.value
        self.tell("connectionLost")


class Producer:
    """
    A producer that records what it is told.

    :ivar produce: called when it may go on.
    """

    def __init__(self, speaker: Speaker, produce: Callable[[], object] = lambda: None) -> None:
        self.speaker = speaker
        self.produce = produce
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.produce()

    def stopProducing(self) -> None:
        assert not self.speaker.inside
        self.told.append("stop")


class StreamPair(testing.Pair):
    """Two applications over Thing in memory, on one clock."""

    def __init__(
        self,
        server: Speaker,
        client: Speaker,
        *,
        serverChoices: dict[str, Any] | None = None,
        clientChoices: dict[str, Any] | None = None,
        authorizer: object = None,
        networkSize: int = 1 << 18,
        applications: tuple[Any, Any] = (None, None),
    ) -> None:
        clock = Clock()
        self.speakers = server, client
        self.applications = [
            application or Factory.forProtocol(lambda speaker=speaker: speaker)
            for application, speaker in zip(applications, self.speakers, strict=True)
        ]
        sessions = (
            StreamFactory(freshServer(**serverChoices or {}), authorizer or Anyone(), clock=clock),
            StreamFactory(
                freshClient(**clientChoices or {}), AnyPeer(), clock=clock, jitter=lambda: 0.5
            ),
        )
        super().__init__(
            *map(ApplicationFactory, sessions, self.applications), networkSize=networkSize
        )
        self.serverFactory, self.clientFactory = sessions

    server = property(lambda self: self.serverSession)
    client = property(lambda self: self.clientSession)


class StreamCase(SynchronousTestCase):
    """Tests with pairs; each speaker is connected and lost once at most, and no timer is left."""

    def setUp(self) -> None:
        self.pairs: list[StreamPair] = []
        self.others()

    def others(self) -> None:
        """Two speakers that have not said anything."""
        self.server, self.client = Speaker(), Speaker()

    def pair(self, **choices: Any) -> StreamPair:
        """A pair whose session is up."""
        return self.connected(**choices).up()  # type: ignore[return-value]

    def connected(self, **choices: Any) -> StreamPair:
        """A pair that has done nothing yet."""
        pair = StreamPair(self.server, self.client, **choices)
        self.pairs.append(pair)
        return pair

    def tearDown(self) -> None:
        for pair in self.pairs:
            pair.close()
            self.assertEqual(pair.clock.getDelayedCalls(), [])
            self.assertEqual(pair.serverFactory.sessions | pair.clientFactory.sessions, set())
            for speaker in filter(lambda speaker: speaker.told, pair.speakers):
                self.assertEqual(speaker.told[0], "connectionMade")
                self.assertEqual(speaker.told.index("connectionLost"), len(speaker.told) - 1)

    def assertOrderly(self) -> None:
        """Both sides were told that all has arrived."""
        for speaker in (self.server, self.client):
            self.assertIsInstance(speaker.reason, Goodbye)
            self.assertIsInstance(speaker.reason, ConnectionDone)


class TransportTests(StreamCase):
    """What a protocol sees of its transport."""

    def test_builtWhenTheSessionIsUp(self) -> None:
        """The application hears nothing of a stream before both sides have proved themselves."""
        pair = self.connected().connect()
        pair.step(1 << 30, 1 << 30)
        self.assertEqual(self.server.told + self.client.told, [])
        pair.pump()
        self.assertEqual(self.server.told + self.client.told, ["connectionMade"] * 2)

    def test_interfaces(self) -> None:
        """The transport is all that TCP's is, and tells of the session."""
        self.pair()
        for interface in (ITCPTransport, IThingTransport, IPushProducer, IConsumer):
            self.assertTrue(verifyObject(interface, self.client.transport))

    def test_session(self) -> None:
        """Each side knows who the other is, and both have the same session and keys."""
        pair = self.pair()
        server, client = self.server.transport, self.client.transport
        self.assertEqual(server.peer.publicKey, CLIENT_CREDENTIAL.data)
        self.assertEqual(client.peer.publicKey, SERVER_CREDENTIAL.data)
        self.assertEqual(server.sessionId, client.sessionId)
        self.assertEqual(server.session.sessionId.hex(), client.sessionId)
        self.assertEqual(server.ttl, 30.0)
        exported = client.exportKeyingMaterial("a test", b"", 32)
        self.assertEqual(server.exportKeyingMaterial("a test", b"", 32), exported)
        self.assertIsNone(client.roundTripTime)
        pair.advance(20)
        self.assertEqual(client.roundTripTime, 0.0)

    def test_requests(self) -> None:
        """Neither side takes requests: what they carry is not for the application."""
        pair = self.pair()
        for waiter in (pair.client.request(b"what?"), pair.server.request(b"what?")):
            fired = firings(waiter)
            pair.pump()
            self.assertIs(fired[0].status, ReplyStatus.NOT_TAKEN)
        self.assertEqual(self.server.received + self.client.received, b"")
        self.assertIsNone(pair.server.termination)

    def test_sessionAfterTheEnd(self) -> None:
        """Who the peer was is known after the end; keys are not."""
        pair = self.pair()
        self.client.transport.loseConnection()
        pair.pump()
        self.assertEqual(self.client.transport.peer.publicKey, SERVER_CREDENTIAL.data)
        with self.assertRaises(LocalProtocolError):
            self.client.transport.exportKeyingMaterial("a test", b"", 32)

    def test_addresses(self) -> None:
        """The addresses are those of the stream below."""
        self.pair()
        self.assertEqual(self.client.transport.getPeer().host, "192.0.2.1")
        self.assertEqual(self.client.transport.getHost().host, "192.0.2.2")

    def test_tcpOptions(self) -> None:
        """TCP's options reach TCP; over a stream that has none they do nothing."""
        pair = self.pair()
        transport, options = self.client.transport, []
        self.assertTrue(transport.getTcpNoDelay())
        pair.clientEnd.getTcpNoDelay = pair.clientEnd.setTcpKeepAlive = None
        self.assertFalse(transport.getTcpNoDelay())
        transport.setTcpKeepAlive(True)
        pair.clientEnd.setTcpKeepAlive = options.append  # type: ignore[attr-defined]
        pair.clientEnd.getTcpKeepAlive = lambda: 1  # type: ignore[attr-defined]
        transport.setTcpKeepAlive(True)
        self.assertEqual(options, [True])
        self.assertIs(transport.getTcpKeepAlive(), True)

    def test_names(self) -> None:
        """In logs the stream bears its protocol's name, and its factory's."""
        pair = self.pair()
        self.assertEqual(self.client.transport.logPrefix(), "Speaker")
        self.assertIn(self.client.transport.sessionId, repr(self.client.transport))
        prefix = ApplicationFactory(pair.clientFactory, Factory()).logPrefix()
        self.assertEqual(prefix, "Factory (Thing)")

    def test_startAndStop(self) -> None:
        """The application's factory learns when it is in use, and when no more."""
        pair = self.pair()
        started: list[str] = []
        factory = Factory()
        factory.startFactory = lambda: started.append("start")  # type: ignore[method-assign]
        factory.stopFactory = lambda: started.append("stop")  # type: ignore[method-assign]
        for _ in range(2):
            ApplicationFactory(pair.serverFactory, factory).doStart()
        for _ in range(2):
            ApplicationFactory(pair.serverFactory, factory).doStop()
        self.assertEqual(started, ["start", "stop"])


class WritingTests(StreamCase):
    """Octets on their way, and their producers."""

    def test_bothWays(self) -> None:
        """What is written arrives, however it was cut, from ``connectionMade`` on."""
        self.server.doing["connectionMade"] = lambda it: it.transport.write(b"welcome")
        self.client.doing["connectionMade"] = lambda it: it.transport.writeSequence([b"a", b"b"])
        pair = self.pair()
        self.client.transport.write(b"")
        self.client.transport.write(b"c" * 200_000)
        pair.pump(limit=1000)
        self.assertEqual(self.client.received, b"welcome")
        self.assertEqual(self.server.received, b"ab" + b"c" * 200_000)

    def test_noLimit(self) -> None:
        """A write is never too big, though the peer reads nothing; heartbeats go on."""
        pair = self.pair()
        pair.serverEnd.reading = False
        self.client.call("write", b"x" * (20 << 20))
        pair.pump()
        self.assertGreater(pair.client.queued, 19 << 20)
        pair.serverEnd.reading = True
        pair.pump()
        self.assertEqual(len(self.server.received), 20 << 20)

    def test_onlyBytes(self) -> None:
        """Anything but bytes is refused as Twisted's transports refuse it."""
        self.pair()
        for wrong in ("text", bytearray(b"x"), None):
            self.assertRaises(TypeError, self.client.transport.write, wrong)
            self.assertRaises(TypeError, self.client.transport.writeSequence, [b"x", wrong])

    def test_afterTheEnd(self) -> None:
        """After a close, and after the end, what is written is dropped in silence."""
        pair = self.pair()
        self.client.transport.loseConnection()
        self.client.transport.write(b"late")
        pair.pump()
        self.client.transport.write(b"later")
        self.client.transport.writeSequence([b"latest"])
        for name in ("loseConnection", "abortConnection", "resumeProducing", "pauseProducing"):
            self.client.call(name)
        pair.pump()
        self.assertEqual(self.server.received, b"")
        self.assertOrderly()

    def test_answerBeforeTheClose(self) -> None:
        """An answer to what came just before the peer's close is not lost with the close."""
        pair = self.pair()
        self.client.doing["dataReceived"] = lambda it: it.transport.write(b"answer")
        self.server.transport.write(b"question")
        self.server.transport.loseConnection()
        pair.pump()
        self.assertEqual(self.server.received, b"answer")
        self.assertOrderly()

    def test_writtenBeforeTheCloseIsSeen(self) -> None:
        """What was written in the same turn in which the peer's close arrives is not lost."""
        pair = self.pair()
        self.server.transport.loseConnection()
        pair.clock.advance(0)
        pair.serverEnd.step(0)
        self.client.transport.write(b"just in time")
        pair.serverEnd.step(1 << 30)
        pair.pump()
        self.assertEqual(self.server.received, b"just in time")
        self.assertOrderly()

    def test_pushProducer(self) -> None:
        """A push producer is paused while much is unsent and resumed when it is not."""
        pair = self.pair(networkSize=4096)
        pair.serverEnd.reading = False
        producer = Producer(self.client)
        self.client.transport.registerProducer(producer, True)
        self.client.transport.bufferSize *= 2
        sent = 0
        while producer.told != ["pause"]:
            self.client.call("write", b"x" * 10_000)
            sent += 10_000
            pair.pump()
            self.assertLess(sent, 1 << 20)
        self.client.call("write", b"x")
        self.assertEqual(producer.told, ["pause"])
        pair.serverEnd.reading = True
        pair.pump()
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertEqual(len(self.server.received), sent + 1)

    def test_pullProducer(self) -> None:
        """A pull producer is asked as often as there is room, and memory stays bounded."""
        pair = self.pair(networkSize=4096)
        producer = Producer(self.client)
        sizes = []

        def produce() -> None:
            sizes.append(pair.client.queued)
            if len(sizes) == 200:
                self.client.transport.unregisterProducer()
                self.client.transport.loseConnection()
            self.client.transport.write(b"y" * 10_000)

        producer.produce = produce
        self.client.transport.registerProducer(producer, False)
        pair.pump(limit=3000)
        self.assertEqual(self.server.received, b"y" * 199 * 10_000)
        self.assertLess(max(sizes), 65536)
        self.assertOrderly()

    def test_oneProducer(self) -> None:
        """A second producer is refused; one that is forgotten makes room."""
        self.pair()
        self.client.transport.registerProducer(Producer(self.client), True)
        with self.assertRaises(RuntimeError):
            self.client.transport.registerProducer(Producer(self.client), True)
        self.client.transport.unregisterProducer()
        self.client.transport.registerProducer(Producer(self.client), True)

    def test_producerIsStopped(self) -> None:
        """When the session ends its producer is stopped, once; one that comes later, at once."""
        for closing in ("client", "server"):
            with self.subTest(closing=closing):
                self.others()
                pair = self.pair()
                producer = Producer(self.client)
                self.client.transport.registerProducer(producer, True)
                {"client": self.client, "server": self.server}[closing].call("abortConnection")
                self.assertEqual(producer.told, [])
                pair.pump()
                self.assertEqual(producer.told, ["stop"])
                late = Producer(self.client)
                self.client.transport.registerProducer(late, True)
                self.assertEqual(late.told, ["stop"])

    def test_producerFails(self) -> None:
        """A producer that raises ends its session, and is the reason of its end."""
        pair = self.pair()

        def fail() -> None:
            if producer.told == ["resume", "resume"]:
                raise Bug
            self.client.transport.write(b"x")

        producer = Producer(self.client, fail)
        self.client.transport.registerProducer(producer, False)
        pair.pump()
        self.assertIsInstance(self.client.reason, Bug)
        self.assertIsInstance(self.server.reason, SessionAborted)
        self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)


class ReadingTests(StreamCase):
    """Octets held back."""

    def test_pause(self) -> None:
        """A paused protocol gets no data, and its session lives on by its heartbeats."""
        pair = self.pair()
        self.server.call("pauseProducing")
        self.client.transport.write(b"x" * 1000)
        pair.advance(100)
        self.assertEqual(self.server.received, b"")
        self.assertEqual(self.server.told, ["connectionMade"])
        self.server.call("resumeProducing")
        self.assertEqual(self.server.received, b"")
        pair.pump()
        self.assertEqual(self.server.received, b"x" * 1000)

    def test_pauseAgain(self) -> None:
        """A pause takes back a resumption that has not come into force."""
        pair = self.pair()
        self.server.call("pauseProducing")
        self.server.call("resumeProducing")
        self.server.call("resumeProducing")
        self.server.call("stopReading")
        self.client.transport.write(b"x")
        pair.pump()
        self.assertEqual(self.server.received, b"")
        self.server.call("startReading")
        pair.pump()
        self.assertEqual(self.server.received, b"x")

    def test_pauseWhileReceiving(self) -> None:
        """Within ``dataReceived``, too, a pause holds back all that comes next."""
        pair = self.pair()
        self.server.doing["dataReceived"] = lambda it: it.transport.pauseProducing()
        self.client.transport.write(b"x" * 50_000)
        pair.pump()
        self.assertEqual(self.server.told.count("dataReceived"), 1)
        for _ in range(10):
            self.server.call("resumeProducing")
            pair.pump()
        self.assertEqual(len(self.server.received), 50_000)

    def test_backpressure(self) -> None:
        """A protocol that reads nothing stops the peer's producer, and holds a bounded amount."""
        pair = self.pair(networkSize=4096)
        self.server.call("pauseProducing")
        producer = Producer(self.client)
        self.client.transport.registerProducer(producer, True)
        sent = 0
        while "pause" not in producer.told:
            self.client.call("write", b"x" * 10_000)
            pair.pump()
            sent += 10_000
        self.assertLess(sent, 500_000)
        self.assertTrue(pair.serverEnd.reading)
        self.server.call("resumeProducing")
        pair.pump()
        self.assertEqual(len(self.server.received), sent)

    def test_answerOnResumption(self) -> None:
        """What is written with a resumption goes out before a goodbye that was held back counts."""
        pair = self.pair()
        self.server.call("pauseProducing")
        self.client.transport.write(b"x")
        pair.pump()
        self.client.transport.loseConnection()
        pair.pump()
        self.server.call("resumeProducing")
        self.server.call("write", b"answer")
        pair.pump()
        self.assertEqual(self.client.received, b"answer")
        self.assertOrderly()

    def test_pauseAtTheEnd(self) -> None:
        """A protocol that pauses while the server sends it away gets no data until it resumes."""
        pair = self.pair()
        self.client.doing["dataReceived"] = lambda it: it.transport.pauseProducing()
        self.server.transport.write(b"x" * 100_000)
        self.server.transport.loseConnection()
        pair.pump()
        self.assertEqual(self.client.told.count("dataReceived"), 1)
        while "connectionLost" not in self.client.told:
            self.client.call("resumeProducing")
            pair.pump()
        self.assertEqual(len(self.client.received), 100_000)
        self.assertOrderly()

    def test_endWhilePaused(self) -> None:
        """A peer's goodbye waits behind what is held back; a stream that breaks does not wait."""
        pair = self.pair()
        self.server.call("pauseProducing")
        self.client.transport.write(b"x")
        self.client.transport.loseConnection()
        pair.pump()
        self.assertEqual(self.server.told, ["connectionMade"])
        self.server.call("resumeProducing")
        pair.pump()
        self.assertEqual(self.server.told, ["connectionMade", "dataReceived", "connectionLost"])
        self.assertOrderly()


class ClosingTests(StreamCase):
    """Orderly ends."""

    def test_everyName(self) -> None:
        """Each way to ask for it ends the session in order, from either side."""
        names = ("loseConnection", "stopProducing", "stopConsuming")
        for name in names:
            for closing in ("server", "client"):
                with self.subTest(name=name, closing=closing):
                    self.others()
                    pair = self.pair()
                    speaker = {"server": self.server, "client": self.client}[closing]
                    speaker.transport.write(b"last words")
                    speaker.call(name)
                    self.assertTrue(speaker.transport.disconnecting)
                    pair.pump()
                    self.assertEqual(self.server.received + self.client.received, b"last words")
                    self.assertFalse(speaker.transport.connected)
                    self.assertOrderly()

    def test_pieces(self) -> None:
        """What was written in short and in long pieces is all sent before the close, in order."""
        pair = self.pair()
        pieces = [b"a", bytes(70_000), b"b", b"c", bytes(20_000), b"d"]
        self.client.call("writeSequence", pieces)
        self.client.call("loseConnection")
        pair.advance(1)
        self.assertEqual(self.server.received, b"".join(pieces))

    def test_fullBuffers(self) -> None:
        """Two sides that close at once with full buffers lose nothing of either."""
        pair = self.pair(networkSize=4096)
        for speaker in (self.server, self.client):
            speaker.transport.write(b"z" * 300_000)
            speaker.call("loseConnection")
        pair.pump()
        self.assertEqual(len(self.server.received), 300_000)
        self.assertEqual(len(self.client.received), 300_000)
        self.assertOrderly()

    def test_waitsForTheProducer(self) -> None:
        """A close waits until the producer is unregistered, and all that it wrote is sent."""
        pair = self.pair()
        producer = Producer(self.client)
        self.client.transport.registerProducer(producer, True)
        self.client.call("loseConnection")
        pair.advance(60)
        self.client.transport.write(b"more")
        pair.pump()
        self.assertEqual(self.server.received, b"more")
        self.assertIsNone(self.server.reason)
        self.client.call("unregisterProducer")
        self.client.transport.write(b"too late")
        pair.pump()
        self.assertEqual(self.server.received, b"more")
        self.assertOrderly()

    def test_slowPeer(self) -> None:
        """A close takes as long as octets move, however long that is."""
        for closing in ("server", "client"):
            with self.subTest(closing=closing):
                self.others()
                pair = self.pair(networkSize=4096)
                speakers = {"server": self.server, "client": self.client}
                end = {"server": pair.serverEnd, "client": pair.clientEnd}[closing]
                speakers[closing].transport.write(b"z" * 2_000_000)
                speakers[closing].call("loseConnection")
                for _ in range(1500):
                    end.step(2000)
                    end.peer.step(1 << 30)
                    pair.clock.advance(0.1)
                self.assertEqual(len(self.server.received + self.client.received), 2_000_000)
                self.assertOrderly()

    def test_stalledPeer(self) -> None:
        """A close that gets nowhere ends by its deadline, and says that octets are missing."""
        pair = self.pair(clientChoices={"closeTimeout": 5.0})
        self.server.call("pauseProducing")
        self.client.transport.write(b"z" * 3_000_000)
        pair.advance(0.1)  # The credit is used up.
        self.client.call("loseConnection")
        pair.advance(9.5)
        self.assertIsNone(self.client.reason)
        pair.advance(1)
        assert isinstance(self.client.reason, SessionAborted)
        self.assertIs(self.client.reason.termination.code, ErrorCode.CLOSE_TIMEOUT)

    def test_trickling(self) -> None:
        """A peer that takes an octet now and then keeps no session open that was closed."""
        pair = self.pair(clientChoices={"closeTimeout": 5.0})
        core, driver = linkOf(pair.client).core, linkOf(pair.client).driver
        main = core._outbox.main
        main.credit = 0
        self.client.transport.write(b"z" * 100_000)
        self.client.call("loseConnection")
        for _ in range(4):
            core._outbox.raiseCredit(main, main.credit + RECORD_COST + 1)
            driver.flush()
            pair.advance(4.9)
        self.assertGreater(len(self.server.received), 1)
        assert isinstance(self.client.reason, SessionAborted)
        self.assertIs(self.client.reason.termination.code, ErrorCode.CLOSE_TIMEOUT)

    def test_stalledWhileWriting(self) -> None:
        """A close that gets nowhere says so although its producer has not written all yet."""
        pair = self.pair(clientChoices={"closeTimeout": 5.0})
        self.server.call("pauseProducing")
        producer = Producer(self.client)
        self.client.transport.registerProducer(producer, True)
        self.client.transport.write(b"z" * 3_000_000)
        pair.advance(0.1)  # The credit is used up.
        self.client.call("loseConnection")
        pair.advance(6)
        self.server.call("resumeProducing")
        pair.advance(1)
        assert isinstance(self.client.reason, SessionAborted)
        self.assertIs(self.client.reason.termination.code, ErrorCode.CLOSE_TIMEOUT)
        self.assertIsInstance(self.server.reason, ConnectionLost)

    def test_whoIsLostFirst(self) -> None:
        """The client, which says the final word, is lost when its server has heard it."""
        for closing in ("server", "client"):
            self.others()
            order: list[Speaker] = []
            for speaker in (self.server, self.client):
                speaker.doing["connectionLost"] = order.append
            pair = self.pair()
            {"server": self.server, "client": self.client}[closing].call("loseConnection")
            pair.pump()
            self.assertEqual(order, [self.server, self.client])

    def test_closesInsideCallbacks(self) -> None:
        """A protocol may close in any callback, and is lost once."""
        for name in ("connectionMade", "dataReceived", "connectionLost"):
            for how in ("loseConnection", "abortConnection"):
                with self.subTest(name=name, how=how):
                    self.others()
                    self.client.doing[name] = lambda it, how=how: it.call(how)  # type: ignore[misc]
                    pair = self.pair()
                    self.server.transport.write(b"x")
                    pair.pump()
                    self.server.transport.loseConnection()
                    pair.pump()
                    self.assertEqual(self.client.told.count("connectionLost"), 1)


@implementer(IHalfCloseableProtocol)
class HalfSpeaker(Speaker):
    """A speaker that knows of half-closes."""

    def readConnectionLost(self) -> None:
        self.tell("readConnectionLost")

    def writeConnectionLost(self) -> None:
        self.tell("writeConnectionLost")


class HalfCloseTests(StreamCase):
    """One half is closed, as TCP does it."""

    def others(self) -> None:
        self.server, self.client = HalfSpeaker(), HalfSpeaker()

    def test_answer(self) -> None:
        """Who has closed its half is still answered; when both halves are closed, all is."""
        for asking, answering in (("client", "server"), ("server", "client")):
            self.others()
            pair = self.pair()
            one, other = getattr(self, asking), getattr(self, answering)
            one.call("write", b"question")
            one.call("loseWriteConnection")
            one.call("write", b"too late")
            pair.advance(60)
            self.assertEqual(other.received, b"question")
            self.assertEqual(other.told[-1], "readConnectionLost")
            self.assertEqual(one.told[-1], "writeConnectionLost")
            other.call("write", b"answer")
            other.call("loseWriteConnection")
            pair.advance(1)
            self.assertEqual(one.received, b"answer")
            self.assertOrderly()

    def test_unaware(self) -> None:
        """A protocol that knows of no halves is closed with its peer's, what it writes first."""
        self.server = Speaker({"dataReceived": lambda it: it.transport.write(b"answer")})
        pair = self.pair()
        self.client.call("write", b"question")
        self.client.call("loseWriteConnection")
        pair.advance(1)
        self.assertEqual(self.client.received, b"answer")
        self.assertEqual(self.server.told, ["connectionMade", "dataReceived", "connectionLost"])
        self.assertOrderly()

    def test_behindTheProducer(self) -> None:
        """A half is closed when the producer is done."""
        pair = self.pair()
        self.client.transport.registerProducer(Producer(self.client), True)
        self.client.call("loseWriteConnection")
        self.client.call("write", b"more")
        pair.advance(1)
        self.assertNotIn("writeConnectionLost", self.client.told)
        self.client.call("unregisterProducer")
        pair.advance(1)
        self.assertEqual(self.server.received, b"more")
        self.assertEqual(self.server.told[-1], "readConnectionLost")

    def test_behindAPause(self) -> None:
        """A protocol that has paused is told of its peer's half-close when it has the data."""
        pair = self.pair()
        self.server.call("pauseProducing")
        self.client.call("write", b"data")
        self.client.call("loseWriteConnection")
        pair.advance(300)
        self.assertEqual(self.server.told, ["connectionMade"])
        self.server.call("resumeProducing")
        pair.pump()
        self.assertEqual(self.server.told[1:], ["dataReceived", "readConnectionLost"])

    def test_nothingToPause(self) -> None:
        """Behind the half-close there is only the end, which no pause holds back."""
        self.others()
        self.server.doing["readConnectionLost"] = lambda it: it.transport.pauseProducing()
        pair = self.pair()
        self.client.call("write", b"last")
        self.client.call("loseWriteConnection")
        pair.advance(1)
        self.server.call("pauseProducing")
        self.client.call("loseConnection")
        pair.advance(1)
        told = ["connectionMade", "dataReceived", "readConnectionLost", "connectionLost"]
        self.assertEqual(self.server.told, told)

    def test_bugs(self) -> None:
        """A protocol that fails when it is told loses its session."""
        for name in ("readConnectionLost", "writeConnectionLost"):
            self.others()
            failing = {"readConnectionLost": self.server, "writeConnectionLost": self.client}[name]

            def fail(speaker: Speaker) -> None:
                raise Bug

            failing.doing[name] = fail
            pair = self.pair()
            self.client.call("loseWriteConnection")
            pair.advance(1)
            self.assertIsInstance(failing.reason, Bug)
            self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)

    def test_closesInsideCallbacks(self) -> None:
        """A protocol may close all when it is told of a half, and is lost once."""
        for name in ("readConnectionLost", "writeConnectionLost"):
            for how in ("loseConnection", "abortConnection", "loseWriteConnection"):
                with self.subTest(name=name, how=how):
                    self.others()
                    for speaker in (self.server, self.client):
                        speaker.doing[name] = lambda it, how=how: getattr(it.transport, how)()
                    pair = self.pair()
                    self.client.call("loseWriteConnection")
                    pair.advance(1)
                    self.server.call("loseConnection")
                    pair.advance(1)
                    for speaker in (self.server, self.client):
                        self.assertIsNotNone(speaker.reason)


class BesideTests(StreamCase):
    """Streams beside the one that an application has."""

    def connect(self, pair: StreamPair, opening: str, serving: str) -> tuple[Speaker, Speaker]:
        """The protocols of a stream that one application opens and the other serves."""
        ours, theirs = Speaker(), Speaker()
        server = getattr(self, serving).transport
        server.streams.serve("beside", Factory.forProtocol(lambda: theirs))
        endpoint = getattr(self, opening).transport.streams.endpoint("beside")
        fired = firings(endpoint.connect(Factory.forProtocol(lambda: ours)))
        pair.pump()
        self.assertEqual(fired, [ours])
        return ours, theirs

    def test_both(self) -> None:
        """Each side's application serves streams, and opens them, by its own transport."""
        for opening, serving in (("client", "server"), ("server", "client")):
            self.others()
            pair = self.pair()
            ours, theirs = self.connect(pair, opening, serving)
            ours.call("write", b"question")
            self.client.call("write", b"main")
            pair.pump()
            theirs.call("write", b"answer")
            theirs.call("loseConnection")
            pair.advance(1)
            self.assertEqual((theirs.received, ours.received), (b"question", b"answer"))
            self.assertEqual(self.server.received, b"main")
            self.assertIsInstance(ours.reason, ConnectionDone)
            self.assertIsNone(self.client.reason)
            self.assertEqual(theirs.transport.peer, getattr(self, serving).transport.peer)

    def test_fromTheStart(self) -> None:
        """What is served in ``connectionMade`` is there for the first stream that can come."""
        theirs = Factory.forProtocol(Speaker)
        connecting: list[Any] = []
        self.server.doing["connectionMade"] = lambda it: it.transport.streams.serve("b", theirs)
        self.client.doing["connectionMade"] = lambda it: connecting.append(
            firings(it.transport.streams.endpoint("b").connect(Factory.forProtocol(Speaker)))
        )
        self.pair()
        self.assertIsInstance(connecting[0][0], Speaker)

    def test_notServed(self) -> None:
        """An application that knows of no streams takes none."""
        pair = self.pair()
        endpoint = self.client.transport.streams.endpoint("beside")
        fired = firings(endpoint.connect(Factory.forProtocol(Speaker)))
        pair.pump()
        self.assertEqual([each.code for each in fired], [StopCode.NOT_TAKEN])
        self.assertIsNone(self.client.reason)

    def test_closedWithTheMainStream(self) -> None:
        """The end of the main stream is the session's, and all others end with it, in order."""
        pair = self.pair()
        ours, theirs = self.connect(pair, "client", "server")
        ours.call("write", b"z" * 300_000)
        self.client.call("loseConnection")
        pair.advance(1)
        self.assertEqual(len(theirs.received), 300_000)
        for speaker in (ours, theirs):
            self.assertIsInstance(speaker.reason, Goodbye)
        self.assertOrderly()

    def test_halfOfTheMainStream(self) -> None:
        """A half-close of the main stream ends no other."""
        self.server, self.client = HalfSpeaker(), HalfSpeaker()
        pair = self.pair()
        ours, theirs = self.connect(pair, "client", "server")
        self.client.call("loseWriteConnection")
        ours.call("write", b"data")
        pair.advance(1)
        self.assertEqual(theirs.received, b"data")
        self.assertIn("readConnectionLost", self.server.told)


class ReasonTests(StreamCase):
    """What ``connectionLost`` is told."""

    def test_kinds(self) -> None:
        """Each reason is of the kind that Twisted's protocols look for, and tells the whole."""
        for cause, kind in (
            (Cause.GOODBYE, ConnectionDone),
            (Cause.FLAT_LINED, FlatLined),
            (Cause.LAPSED, Lapsed),
            (Cause.TRUNCATED, Truncated),
            (Cause.PROTOCOL_ERROR, RuleBroken),
            (Cause.ABORTED, SessionAborted),
        ):
            termination = Termination(cause, byPeer=True, detail="seen")
            reason = reasonOf(termination)
            self.assertIsInstance(reason, kind)
            self.assertIsInstance(reason, ConnectionClosed)
            self.assertIs(reason.termination, termination)
            self.assertIn(str(termination), str(reason))
            self.assertEqual(isinstance(reason, SessionLost), cause is not Cause.GOODBYE)
            self.assertEqual(isinstance(reason, ConnectionLost), cause is not Cause.GOODBYE)
            self.assertNotIsInstance(reason, ConnectionAborted)

    def test_abort(self) -> None:
        """Who aborts is told so; its peer, that the stream was cut."""
        for first in (True, False):
            self.others()
            pair = self.pair()
            aborting, other = pair.speakers if first else pair.speakers[::-1]
            aborting.transport.write(b"unsent")
            aborting.call("abortConnection")
            aborting.call("abortConnection")
            aborting.call("loseConnection")
            pair.pump()
            self.assertIsInstance(aborting.reason, Aborted)
            self.assertIsInstance(aborting.reason, ConnectionAborted)
            self.assertIsInstance(other.reason, Truncated)
            self.assertEqual(other.received, b"")

    def test_silentClient(self) -> None:
        """A client that is silent for a TTL is flat-lined; the server's protocol is told."""
        pair = self.pair()
        pair.freeze()
        pair.advance(35)
        self.assertIsInstance(self.server.reason, FlatLined)

    def test_silentServer(self) -> None:
        """A client whose server is silent for a TTL is told that it lapsed."""
        pair = self.pair()
        pair.serverEnd.frozen = True
        pair.advance(60)
        self.assertIsInstance(self.client.reason, Lapsed)

    def test_flatLine(self) -> None:
        """A client that is flat-lined is told so, with the server's reason."""
        pair = self.pair()
        pair.clientEnd.frozen = True
        pair.serverFactory.drain(2.0)
        pair.advance(5)
        assert isinstance(self.client.reason, FlatLined)
        self.assertTrue(self.client.reason.termination.byPeer)
        self.assertIs(self.client.reason.termination.reason, EndReason.SHUTDOWN)

    def test_tampering(self) -> None:
        """Whoever changes a bit of the stream breaks it, on both sides."""
        pair = self.pair()
        pair.clientEnd.tap = lambda data: data[:-1] + bytes((data[-1] ^ 1,))
        self.client.transport.write(b"x")
        pair.pump()
        self.assertIsInstance(self.server.reason, RuleBroken)
        self.assertIsInstance(self.client.reason, RuleBroken)
        self.assertEqual(self.server.received, b"")

    def test_failingProtocol(self) -> None:
        """A protocol that raises gets its own exception back; its peer learns of an abort."""
        pair = self.pair()

        def fail(speaker: Speaker) -> None:
            raise Bug

        self.server.doing["dataReceived"] = fail
        self.client.transport.write(b"x")
        pair.pump()
        self.assertIsInstance(self.server.reason, Bug)
        assert isinstance(self.client.reason, SessionAborted)
        self.assertIs(self.client.reason.termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)

    def test_drain(self) -> None:
        """In a drain both sides are told that what was being written may be cut short, and why."""
        pair = self.pair()
        drained = firings(pair.serverFactory.drain(10.0, retryAfter=3.0))
        pair.pump()
        self.assertEqual(drained, [None])
        for speaker in (self.server, self.client):
            self.assertIsInstance(speaker.reason, SentAway)
            self.assertNotIsInstance(speaker.reason, ConnectionDone)
        assert isinstance(self.client.reason, SentAway)
        retryAfter = self.client.reason.termination.retryAfter
        self.assertIsNotNone(retryAfter)

    def test_drainInTransfer(self) -> None:
        """A transfer that a drain cuts short does not look whole to either side."""
        pair = self.pair()
        producer = Producer(self.server, lambda: self.server.transport.write(b"x" * 10_000))
        self.server.transport.registerProducer(producer, False)
        pair.serverFactory.drain(10.0)
        pair.pump()
        self.assertEqual(producer.told[-1], "stop")
        for speaker in (self.server, self.client):
            self.assertIsInstance(speaker.reason, ConnectionLost)


class BuildingTests(StreamCase):
    """Applications that are not there, and sessions that never come up."""

    def broken(self, build: Callable[[Any], Any]) -> Any:
        """A factory that builds so."""
        factory = Factory()
        factory.buildProtocol = build  # type: ignore[method-assign]
        return factory

    def raising(self, address: object) -> Any:
        raise Bug

    def test_serverBuildsNone(self) -> None:
        """A server that has no protocol for a client lets it go in order."""
        self.pair(applications=(self.broken(lambda address: None), None))
        self.assertIsInstance(self.client.reason, Goodbye)

    def test_serverCannotBuild(self) -> None:
        """A server whose factory raises logs that, and lets the client go."""
        self.pair(applications=(self.broken(self.raising), None))
        self.assertIsInstance(self.client.reason, Goodbye)
        self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)

    def test_clientBuildsNone(self) -> None:
        """A client that has no protocol is told so, and its server sees it leave."""
        pair = self.connected(applications=(None, self.broken(lambda address: None)))
        fired = firings(pair.client.whenConnected())
        pair.up()
        self.assertEqual([type(each) for each in fired], [NoProtocol])
        self.assertIsInstance(self.server.reason, Goodbye)

    def test_clientCannotBuild(self) -> None:
        """A client whose factory raises gets the exception, which is logged nowhere else."""
        pair = self.connected(applications=(None, self.broken(self.raising)))
        fired = firings(pair.client.whenConnected())
        pair.up()
        self.assertEqual([type(each) for each in fired], [Bug])

    def test_connectionMadeFails(self) -> None:
        """A client whose protocol fails at once is told why, and the protocol is lost."""

        def fail(speaker: Speaker) -> None:
            raise Bug

        self.client.doing["connectionMade"] = fail
        pair = self.connected()
        fired = firings(pair.client.whenConnected())
        pair.up()
        self.assertEqual([type(each) for each in fired], [Bug])
        self.assertIsInstance(self.client.reason, Bug)
        self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)

    def test_waitingTooLate(self) -> None:
        """Who asks when all is known is answered at once."""
        pair = self.pair()
        self.assertEqual(firings(pair.client.whenConnected()), [self.client])
        self.others()
        pair = self.connected(applications=(None, self.broken(lambda address: None))).up()  # type: ignore[assignment]
        (failure,) = firings(pair.client.whenConnected())
        self.assertIsInstance(failure, NoProtocol)
        self.others()
        pair = self.connected(authorizer=Refusing()).connect()
        pair.pump()
        (failure,) = firings(pair.client.whenConnected())
        self.assertIsInstance(failure, HandshakeFailed)

    def test_refused(self) -> None:
        """A client that is refused learns the code; neither application hears of it."""
        pair = self.connected(authorizer=Refusing()).connect()
        fired = firings(pair.client.whenConnected())
        pair.pump()
        (failure,) = fired
        self.assertIs(failure.termination.code, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual(self.server.told + self.client.told, [])
        self.assertEqual(pair.serverFactory.terminations[Cause.REJECTED], 1)

    def test_cancelled(self) -> None:
        """Who cancels during the handshake is told at once, and the stream is cut."""
        pair = self.connected().connect()
        waiter: Deferred[Any] = pair.client.whenConnected()
        fired = firings(waiter)
        waiter.cancel()
        self.assertEqual([type(each) for each in fired], [CancelledError])
        pair.pump()
        self.assertFalse(pair.serverEnd.connected)
        self.assertEqual(self.server.told + self.client.told, [])


class Refusing:
    """Refuses everybody."""

    def __init__(self) -> None:
        from zope.interface import directlyProvides

        from thing.trust import IAuthorizer

        directlyProvides(self, IAuthorizer)

    def authorize(self, identity: Identity) -> Identity:
        raise NotAuthorized("not today")
