"""What users have for their tests: pairs in memory, faults, keys, a fake transport, a server."""

from __future__ import annotations

import socket
import subprocess
import sys
from inspect import signature
from types import FunctionType
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IWriteDescriptor,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementedBy, implementer
from zope.interface.verify import verifyObject

from thing import (
    Cause,
    ClientSettings,
    ErrorCode,
    HandshakeFailed,
    Limits,
    Termination,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)
from thing.endpoints import (
    Aborted,
    ApplicationFactory,
    FlatLined,
    Goodbye,
    IThingTransport,
    StreamFactory,
)
from thing.session.carried import StreamTransport
from thing.session.clock import SteadyClock
from thing.session.transports import canSendDirectly
from thing.testing import FakeThingTransport, Keys, LoopbackServer, Pair
from thing.testing.sockets import CLIENT_ADDRESS, SERVER_ADDRESS, MemorySocket, connectedSockets
from thing.testing.transports import MemoryTransport, connectedTransports


class Echo(ThingProtocol):
    """Answers with what it got."""

    def messageReceived(self, message: bytes) -> None:
        self.sendMessage(message)


class Listener(ThingProtocol):
    """Keeps what it got."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def messageReceived(self, message: bytes) -> None:
        self.heard.append(message)


class EchoFactory(ThingFactory):
    """Builds an echo."""

    protocol = Echo


class Speaker(Protocol):
    """A protocol that knows nothing of Thing, and keeps what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.reason: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert self.reason is None, "it is lost once"
        self.reason = reason.value


class Repeater(Speaker):
    """Answers with what it got."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(data)


class SocketTests(SynchronousTestCase):
    """Sockets in memory do what a kernel's do."""

    def sockets(self, size: int = 10) -> tuple[MemorySocket, MemorySocket]:
        """Two that are connected, with all that is sent free to be read."""
        pair = connectedSockets(size)
        for one in pair:
            one.sending.limit = 1000
        return pair

    def test_carries(self) -> None:
        """What is sent is received, in order; where there is nothing, that is said."""
        one, other = self.sockets()
        self.assertEqual(one.send(b"abcdef"), 6)
        self.assertEqual(other.recv(4), b"abcd")
        self.assertEqual(other.recv(4), b"ef")
        self.assertRaises(BlockingIOError, other.recv, 4)
        self.assertEqual(one.sending.carried, 6)

    def test_full(self) -> None:
        """It takes what there is room for, and then nothing."""
        one, other = self.sockets()
        self.assertEqual(one.send(bytes(14)), 10)
        self.assertFalse(one.writable)
        self.assertRaises(BlockingIOError, one.send, b"a")
        other.recv(1)
        self.assertTrue(one.writable)
        self.assertEqual(one.send(bytes(4)), 1)

    def test_halfClose(self) -> None:
        """A closed half ends after what was sent; the other half goes on."""
        one, other = self.sockets()
        one.send(b"last")
        one.shutdown(socket.SHUT_WR)
        self.assertRaises(BrokenPipeError, one.send, b"more")
        self.assertEqual([other.recv(9), other.recv(9)], [b"last", b""])
        other.send(b"heard")
        self.assertEqual(one.recv(9), b"heard")

    def test_closeWithUnread(self) -> None:
        """To close with octets unread resets the connection, as with Linux: its own are lost."""
        one, other = self.sockets()
        other.send(b"unread")
        one.send(b"lost")
        one.close()
        self.assertRaises(ConnectionResetError, other.recv, 9)
        self.assertRaises(ConnectionResetError, other.send, b"a")

    def test_frozen(self) -> None:
        """A frozen network tells nothing, of a reset neither, and loses nothing."""
        one, other = self.sockets()
        one.send(b"later")
        one.sending.frozen = True
        self.assertFalse(one.sending.tells)
        self.assertRaises(BlockingIOError, other.recv, 9)
        one.sending.frozen = False
        self.assertEqual(other.recv(9), b"later")
        one.sending.frozen = True
        one.sending.cut()
        self.assertEqual(other.send(b"a"), 1)
        one.sending.frozen = False
        self.assertRaises(ConnectionResetError, other.send, b"a")

    def test_drop(self) -> None:
        """What is dropped never arrives, what is behind it does; it is no end."""
        one, other = self.sockets()
        one.send(b"abcdef")
        self.assertEqual(one.sending.drop(2), 2)
        self.assertEqual(other.recv(9), b"cdef")
        one.send(b"abc")
        self.assertEqual(one.sending.drop(9), 3)
        self.assertRaises(BlockingIOError, other.recv, 9)

    def test_tap(self) -> None:
        """What is carried can be changed on its way; changed into nothing, it is no end."""
        one, other = self.sockets()
        one.sending.tap = bytes.upper
        one.send(b"abc")
        self.assertEqual(other.recv(9), b"ABC")
        one.sending.tap = lambda _: b""
        one.send(b"abc")
        self.assertRaises(BlockingIOError, other.recv, 9)


class TransportTests(SynchronousTestCase):
    """Transports in memory are Twisted's own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ends = connectedTransports(self.clock, self.clock, SERVER_ADDRESS, CLIENT_ADDRESS, 100)
        self.one, self.other = Speaker(), Speaker()
        for end, speaker in zip(self.ends, (self.one, self.other), strict=True):
            end.connect(speaker)

    def turn(self) -> None:
        """Let both send and receive for a while."""
        for _ in range(20):
            self.clock.advance(0)
            for end in self.ends:
                end.step()

    def test_kind(self) -> None:
        """A session sends over them as over sockets."""
        self.assertIsInstance(self.ends[0], MemoryTransport)
        self.assertTrue(IWriteDescriptor.providedBy(self.ends[0]))
        self.assertTrue(canSendDirectly(self.ends[0]))
        self.assertEqual(self.ends[0].getHost(), self.ends[1].getPeer())
        self.ends[0].setTcpNoDelay(True)
        self.assertTrue(self.ends[0].getTcpNoDelay())

    def test_notInsideCalls(self) -> None:
        """Nothing arrives, and nothing is lost, before a step."""
        self.ends[0].write(b"hello")
        self.ends[0].loseConnection()
        self.ends[1].abortConnection()
        self.assertEqual(
            (self.other.received, self.one.reason, self.other.reason), (b"",) + (None,) * 2
        )

    def test_closes(self) -> None:
        """A close comes after all that was written, however little is carried at once."""
        self.ends[0].write(bytes(1000))
        self.ends[0].loseConnection()
        self.turn()
        self.assertEqual(len(self.other.received), 1000)
        for speaker in (self.one, self.other):
            self.assertIsInstance(speaker.reason, ConnectionDone)

    def test_aborts(self) -> None:
        """An abort is a reset for the other side."""
        self.ends[0].write(b"lost")
        self.ends[0].abortConnection()
        self.turn()
        self.assertIsInstance(self.one.reason, ConnectionAborted)
        self.assertIsInstance(self.other.reason, ConnectionLost)
        self.assertEqual(self.other.received, b"")

    def test_halfClose(self) -> None:
        """After a half-close the other half carries on."""
        self.other.connectionLost = lambda _: None  # type: ignore[method-assign, assignment]
        self.ends[1].readConnectionLost = lambda _: None  # type: ignore[method-assign]
        self.ends[0].loseWriteConnection()
        self.turn()
        self.ends[1].write(b"still here")
        self.turn()
        self.assertEqual(self.one.received, b"still here")
        self.assertTrue(self.ends[0].sending.finished)

    def test_gone(self) -> None:
        """After the end writes are ignored, and there is no socket any more."""
        self.ends[0].abortConnection()
        self.turn()
        self.ends[0].write(b"too late")
        self.assertEqual(self.ends[0].outgoing, b"")
        self.assertRaises(AttributeError, self.ends[0].writeSomeData, b"too late")
        self.assertRaises(AttributeError, self.ends[0].getHandle)

    def test_answersWithReset(self) -> None:
        """What arrives at a socket that is closed is answered with a reset."""
        self.other.connectionLost = lambda _: None  # type: ignore[method-assign, assignment]
        self.ends[1].pauseProducing()
        self.ends[0].loseConnection()
        self.ends[0].step()
        self.ends[1].write(b"nobody hears it")
        self.ends[1].step()
        self.ends[1].write(b"and this fails")
        self.ends[1].step()
        self.assertFalse(self.ends[1].connected)

    def test_writesAtOnce(self) -> None:
        """``writeSomeData`` sends into the kernel now, what there is room for."""
        self.assertEqual(self.ends[0].writeSomeData(bytes(150)), 100)
        self.assertEqual(self.ends[0].writeSomeData(bytes(50)), 0)
        self.assertEqual(len(self.ends[0].kernel), 100)

    def test_producers(self) -> None:
        """A push producer is paused above the buffer, a pull producer asked when it is empty."""
        told: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

            def stopProducing(self) -> None:
                told.append("stop")

        self.ends[0].registerProducer(Producer(), True)  # type: ignore[arg-type]
        self.ends[0].write(bytes(70_000))
        self.assertEqual(told, ["pause"])
        self.assertEqual(self.ends[0].highest, 70_000)
        while self.ends[0].outgoing:
            self.ends[0].step()
        self.assertEqual(told, ["pause", "resume"])
        self.ends[0].unregisterProducer()
        self.ends[0].registerProducer(Producer(), False)  # type: ignore[arg-type]
        self.ends[0].abortConnection()
        self.turn()
        self.assertEqual(told[2:], ["resume", "stop"])


class PairTests(SynchronousTestCase):
    """Two sides in memory."""

    def pair(self, *sides: Any, **named: Any) -> Pair:
        """A pair that is up, and closed after the test."""
        pair = Pair(*sides, **named).up()
        self.addCleanup(self.assertClosed, pair)
        return pair

    def assertClosed(self, pair: Pair) -> None:
        """Nothing of a closed pair is left."""
        pair.close()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_classes(self) -> None:
        """Protocols need no more than to be named; each side knows who the other is."""
        pair = self.pair(Echo, Listener)
        pair.client.sendMessage(b"hello")
        pair.pump()
        self.assertEqual(pair.client.heard, [b"hello"])
        self.assertEqual(pair.server.peer.name, "thing")
        self.assertEqual(pair.client.peer.publicKey, pair.keys.server.data)

    def test_factoryClass(self) -> None:
        """A class of factories is called as the daemon calls it."""
        settings = Keys().serverSettings(ttl=TtlPolicy(default=5.0))
        keys = Keys()
        pair = self.pair(
            EchoFactory,
            Listener,
            keys=keys,
            serverSettings=keys.serverSettings(ttl=settings.ttl),
        )
        self.assertIsInstance(pair.serverFactory, EchoFactory)
        self.assertEqual(pair.client.ttl, 5.0)

    def test_factories(self) -> None:
        """Factories of one's own bring their clock, and build as many sessions as one likes."""
        clock, keys = Clock(), Keys("lamp")
        server = EchoFactory(keys.serverSettings(), keys.things, clock=clock)
        pairs = [Pair(server, Listener, keys=keys).up() for _ in range(3)]
        self.assertEqual(len(server.sessions), 3)
        for pair in pairs:
            self.addCleanup(pair.close)
            self.assertIs(pair.clock, clock)
            self.assertIs(pair.clientFactory.clock, clock)
            self.assertEqual(pair.server.peer.name, "lamp")

    def test_twoClocks(self) -> None:
        """Each side may have its own clock; both move together."""
        pair = self.pair(Echo, Listener, clientClock=Clock())
        pair.clientClock.advance(1000.0)  # What time it is says nothing.
        pair = self.pair(Echo, Listener, clientClock=Clock())
        pair.advance(100)
        self.assertEqual(pair.clientClock.seconds(), 100)
        self.assertIsNone(pair.server.termination)

    def test_applications(self) -> None:
        """Protocols that know nothing of Thing speak as over ``thing:``."""
        pair = self.pair(Repeater, Speaker)
        pair.client.transport.write(b"hello")
        pair.pump()
        self.assertEqual(pair.client.received, b"hello")
        self.assertTrue(IThingTransport.providedBy(pair.client.transport))
        pair.client.transport.loseConnection()
        pair.pump()
        for side in (pair.client, pair.server):
            self.assertIsInstance(side.reason, Goodbye)

    def test_applicationFactories(self) -> None:
        """So do those that a factory builds, and those of an ``ApplicationFactory``."""
        clock, keys = Clock(), Keys()
        sessions = StreamFactory(keys.serverSettings(), keys.things, clock=clock)
        server = ApplicationFactory(sessions, Factory.forProtocol(Repeater))
        pair = self.pair(server, Factory.forProtocol(Speaker), keys=keys)
        self.assertIs(pair.clock, clock)
        pair.client.transport.write(b"hello")
        pair.pump()
        self.assertEqual(pair.server.received, b"hello")

    def test_notYetBuilt(self) -> None:
        """Before the session is up there is no application's protocol."""
        pair = Pair(Repeater, Speaker).connect()
        self.assertIsNone(pair.client)
        pair.pump()
        self.assertIsInstance(pair.client, Speaker)
        pair.close()

    def test_nonsense(self) -> None:
        """What is neither protocol nor factory is refused, and a factory in real time."""
        self.assertRaises(TypeError, Pair, object, Listener)
        self.assertRaises(TypeError, Pair, Echo, Listener())
        keys = Keys()
        clock: Any = SteadyClock(Clock())
        other = EchoFactory(keys.serverSettings(), keys.things, clock=clock)
        self.assertRaises(TypeError, Pair, other, Listener)

    def test_refused(self) -> None:
        """A client that is not admitted is told so, and so is the test."""
        pair = Pair(Echo, Listener, clientSettings=Keys().clientSettings())
        failure = self.assertRaises(HandshakeFailed, pair.up)
        self.assertIs(failure.termination.code, ErrorCode.NOT_AUTHORIZED)
        pair.close()

    def test_comesToAHalt(self) -> None:
        """A handshake that waits for somebody is no session that is up."""

        class Undecided:
            def authorize(self, identity: object) -> Deferred[Any]:
                return Deferred()

        keys = Keys()
        server = EchoFactory(keys.serverSettings(), Keys().things, clock=Clock())
        server.authorizer = Undecided()
        pair = Pair(server, Listener, keys=keys)
        self.assertRaises(AssertionError, pair.up)
        pair.close()

    def test_full(self) -> None:
        """A server's factory that takes no connection at all builds nothing."""
        keys = Keys()
        limits = Limits(sessions=0, handshakes=0)
        server = EchoFactory(keys.serverSettings(), keys.things, clock=Clock(), limits=limits)
        self.assertRaises(ConnectionRefusedError, Pair, server, Listener)

    def test_layers(self) -> None:
        """Behind a layer a session has a transport that cannot send at once."""
        for layers in (False, True):
            pair = self.pair(Echo, Listener, layers=layers)
            self.assertIs(canSendDirectly(pair.client.transport.below), not layers)
            pair.client.sendMessage(bytes(200_000))
            pair.pump(limit=5000)
            self.assertEqual(pair.client.heard, [bytes(200_000)])

    def test_frozen(self) -> None:
        """A peer behind a frozen network flat-lines, a TTL after its last heartbeat."""
        pair = self.pair(Echo, Listener)
        pair.advance(300)
        self.assertIsNone(pair.server.termination)
        pair.freeze()
        pair.advance(19)
        self.assertIsNone(pair.server.termination)
        pair.advance(12)
        self.assertIs(pair.server.termination.cause, Cause.FLAT_LINED)

    def test_thawed(self) -> None:
        """What is sent over a frozen network arrives when it thaws."""
        pair = self.pair(Echo, Listener)
        pair.freeze()
        pair.client.sendMessage(b"later")
        pair.advance(5)
        self.assertEqual(pair.client.heard, [])
        pair.thaw()
        pair.pump()
        self.assertEqual(pair.client.heard, [b"later"])

    def test_oneWay(self) -> None:
        """One direction can freeze alone."""
        pair = self.pair(Echo, Listener)
        pair.serverEnd.frozen = True
        pair.client.sendMessage(b"heard")
        pair.advance(40)
        self.assertIs(pair.client.termination.cause, Cause.LAPSED)
        self.assertIs(pair.server.termination.cause, Cause.TRUNCATED)  # It heard of that.

    def test_cut(self) -> None:
        """Both sides learn that the connection is cut, and what was on its way is lost."""
        pair = self.pair(Echo, Listener)
        pair.client.sendMessage(b"lost")
        pair.cut()
        for side in (pair.client, pair.server):
            self.assertIs(side.termination.cause, Cause.TRUNCATED)
        self.assertEqual(pair.client.heard, [])

    def test_drop(self) -> None:
        """Behind what was lost nothing opens: who drops a message ends the session."""
        for layers in (False, True):
            pair = self.pair(Echo, Listener, layers=layers)
            pair.client.sendMessage(b"lost")
            self.assertGreater(pair.drop(serverLimit=0), len(b"lost"))
            pair.pump()
            self.assertIsNone(pair.server.termination)
            pair.client.sendMessage(b"next")
            pair.pump()
            self.assertEqual(pair.client.heard, [])
            self.assertIs(pair.server.termination.code, ErrorCode.RECORD_UNREADABLE)

    def test_dropOneWay(self) -> None:
        """Of each side as much is lost as is asked for."""
        pair = self.pair(Echo, Listener)
        for side in (pair.client, pair.server):
            side.sendMessage(b"hello")
        self.assertEqual(pair.drop(0, 0), 0)
        self.assertGreater(pair.drop(clientLimit=0), 0)
        pair.server.sendMessage(b"more")
        pair.step()
        self.assertIsNone(pair.server.termination)
        pair.pump()
        self.assertIs(pair.client.termination.code, ErrorCode.RECORD_UNREADABLE)
        self.assertEqual(pair.client.heard, [])

    def test_stall(self) -> None:
        """A process that stood still finds its sessions alive, if the network still is."""
        pair = self.pair(Echo, Listener)
        for seconds in (29, 100):
            pair.stall(seconds)
            pair.advance(60)
            self.assertIsNone(pair.server.termination)
            self.assertIsNone(pair.client.termination)
        pair.freeze()
        pair.stall(100)
        pair.advance(1)
        self.assertIs(pair.client.termination.cause, Cause.LAPSED)

    def test_step(self) -> None:
        """The test says how many octets arrive in a turn, each way."""
        pair = self.pair(Echo, Listener)
        pair.client.sendMessage(bytes(1000))
        before = pair.clientEnd.taken
        self.assertTrue(pair.step(clientLimit=10))
        self.assertEqual(pair.clientEnd.taken - before, 10)
        pair.pump()
        self.assertFalse(pair.step())

    def test_timersInTime(self) -> None:
        """However long the turns are, what is due is done when it is due."""
        pair = self.pair(Echo, Listener)
        at: list[float] = []
        pair.clock.callLater(0.3, lambda: at.append(pair.clock.seconds()))
        pair.advance(1.0, turn=1.0)
        self.assertEqual(at, [0.3])

    def test_turns(self) -> None:
        """What calls itself again and again lets the network have its turn, and time go on."""
        pair = self.pair(Echo, Listener)
        turns: list[int] = []

        def again() -> None:
            turns.append(1)
            if not pair.client.heard:
                pair.clock.callLater(0, again)

        again()
        pair.client.sendMessage(b"between")
        pair.pump()
        self.assertEqual(pair.client.heard, [b"between"])
        self.assertGreater(len(turns), 1)

    def test_neverAtRest(self) -> None:
        """Two that talk for ever are no endless loop."""
        pair = Pair(Echo, Echo).up()
        pair.client.sendMessage(b"hello")
        self.assertRaises(AssertionError, pair.pump, rounds=100)
        pair.close()


class KeysTests(SynchronousTestCase):
    """Keys made on the spot."""

    def test_fresh(self) -> None:
        """No two have a key in common, and settings take what they are told."""
        one, other = Keys(), Keys()
        keys = (one.server, one.client, other.server, other.client)
        self.assertEqual(len({key.data for key in keys}), 4)
        self.assertEqual(one.clientSettings(lastWord=b"oh").lastWord, b"oh")
        self.assertIs(one.clientSettings().credential, one.client)
        self.assertTrue(one.serverSettings(allowAnonymous=True).allowAnonymous)

    def test_stranger(self) -> None:
        """A client does not believe another server than its own."""
        keys = Keys()
        pair = Pair(Echo, Listener, serverSettings=Keys().serverSettings(), keys=keys)
        failure = self.assertRaises(HandshakeFailed, pair.up)
        self.assertIs(failure.termination.code, ErrorCode.NOT_AUTHORIZED)
        pair.close()


class FakeTests(SynchronousTestCase):
    """A protocol alone, over a transport that is none."""

    def setUp(self) -> None:
        self.transport = FakeThingTransport(ttl=60.0)
        self.speaker = Repeater()
        self.transport.connect(self.speaker)

    def test_interfaces(self) -> None:
        """It is all that a session's transport is."""
        for interface in implementedBy(StreamTransport):
            self.assertTrue(verifyObject(interface, self.transport))

    def test_complete(self) -> None:
        """Whatever a protocol may do with its transport in service it can do with this one."""
        sessions = {"outflow", "ended", "peerEnded", "lost"}  # What only the session calls.
        for name in {name for name in dir(StreamTransport) if name[0] != "_"} - sessions:
            self.assertTrue(hasattr(self.transport, name), name)
            real = vars(StreamTransport).get(name)
            if isinstance(real, FunctionType):
                here, there = signature(getattr(FakeThingTransport, name)), signature(real)
                self.assertEqual([*here.parameters], [*there.parameters], name)

    def test_reading(self) -> None:
        """Twisted's own names for to pause and to resume, and for a consumer that stops."""
        self.transport.stopReading()
        self.assertFalse(self.transport.reading)
        self.transport.startReading()
        self.assertTrue(self.transport.reading)
        self.transport.registerProducer(object(), True)
        self.transport.stopConsuming()
        self.assertEqual((self.transport.producer, self.transport.disconnecting), (None, True))
        self.transport.bufferSize = 1
        self.assertEqual(self.transport.logPrefix(), "Repeater")

    def test_abortCode(self) -> None:
        """What an application tells the other side of a stream is noted."""
        self.transport.abortConnection(0x123)
        self.assertEqual(self.transport.abortCode, 0x123)

    def test_written(self) -> None:
        """What is written is kept until it is cleared, and must be bytes."""
        self.speaker.dataReceived(b"hello")
        self.assertEqual(self.transport.value(), b"hello")
        self.transport.clear()
        self.assertEqual(self.transport.value(), b"")
        self.assertRaises(TypeError, self.transport.write, "text")

    def test_session(self) -> None:
        """It tells of a made-up session."""
        self.assertEqual(self.transport.ttl, 60.0)
        self.assertEqual(self.transport.session.ttl, 60.0)
        self.assertEqual(self.transport.peer.name, "thing")
        one = self.transport.exportKeyingMaterial("a", b"", 40)
        self.assertEqual(one, FakeThingTransport().exportKeyingMaterial("a", b"", 40))
        self.assertNotEqual(one, self.transport.exportKeyingMaterial("b", b"", 40))
        self.assertEqual(len(one), 40)

    def test_ends(self) -> None:
        """The test says how the session ends, and the protocol hears it in Twisted's words."""
        self.transport.lose(Termination(Cause.FLAT_LINED))
        self.assertIsInstance(self.speaker.reason, FlatLined)
        self.transport.write(b"too late")
        self.transport.lose()
        self.assertEqual(self.transport.value(), b"")

    def test_closes(self) -> None:
        """The protocol's own close is noted, and comes when the test says so."""
        self.transport.loseConnection()
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.speaker.reason)
        self.transport.lose()
        self.assertIsInstance(self.speaker.reason, Goodbye)

    def test_halfCloses(self) -> None:
        """Either half is closed for itself, where the protocol knows of halves."""

        @implementer(IHalfCloseableProtocol)
        class Halves(Speaker):
            told = 0

            def readConnectionLost(self) -> None:
                self.told += 1

        transport, halves = FakeThingTransport(), Halves()
        transport.connect(halves)
        transport.write(b"data")
        transport.loseWriteConnection()
        transport.write(b"too late")
        self.assertEqual((transport.value(), transport.disconnecting), (b"data", False))
        transport.endRead()
        self.assertEqual((halves.told, transport.disconnecting), (1, False))
        self.transport.endRead()
        self.assertTrue(self.transport.disconnecting)

    def test_closesOnAClock(self) -> None:
        """With a clock it comes in the next turn."""
        clock = Clock()
        for close, kind in (("loseConnection", Goodbye), ("abortConnection", Aborted)):
            transport, speaker = FakeThingTransport(clock=clock), Speaker()
            transport.connect(speaker)
            getattr(transport, close)()
            self.assertIsNone(speaker.reason)
            clock.advance(0)
            self.assertIsInstance(speaker.reason, kind)

    def test_producers(self) -> None:
        """A producer is noted, one at a time, and stopped at the end."""
        stopped: list[int] = []

        class Producer:
            def stopProducing(self) -> None:
                stopped.append(1)

        self.transport.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, self.transport.registerProducer, Producer(), True)
        self.transport.lose()
        self.assertEqual(stopped, [1])
        self.transport.registerProducer(Producer(), True)
        self.assertEqual(stopped, [1, 1])


class LoopbackTests(TestCase):
    """A real server on a free port."""

    timeout = 60

    @inlineCallbacks
    def test_protocol(self) -> Any:
        """A client of any kind speaks with it, over either family of addresses."""
        for host in ("127.0.0.1", "::1"):
            server = LoopbackServer(self, Echo, host=host)
            client = yield server.connect(Listener)
            answered: Deferred[bytes] = Deferred()
            client.messageReceived = answered.callback
            client.sendMessage(b"hello")
            self.assertEqual((yield answered), b"hello")
            self.assertEqual(client.peer.fingerprint, server.fingerprint)
            self.assertEqual(len(server.factory.sessions), 1)

    @inlineCallbacks
    def test_application(self) -> Any:
        """So do applications."""
        server = LoopbackServer(self, Repeater)
        client = yield server.connect(Speaker)
        answered: Deferred[bytes] = Deferred()
        client.dataReceived = answered.callback
        client.transport.write(b"hello")
        self.assertEqual((yield answered), b"hello")

    @inlineCallbacks
    def test_refuses(self) -> Any:
        """A stranger is refused."""
        server = LoopbackServer(self, Echo)
        yield self.assertFailure(server.connect(Listener, ClientSettings()), HandshakeFailed)

    @inlineCallbacks
    def test_cleansUp(self) -> Any:
        """After the test the port is closed, and so is each connection, at both ends."""
        cleanups: list[Any] = []

        class Case:
            def addCleanup(self, function: Any) -> None:
                cleanups.append(function)

        server = LoopbackServer(Case(), Echo)
        client = yield server.connect(Listener)
        (cleanup,) = cleanups
        yield cleanup()
        self.assertFalse(client.transport.connected)
        self.assertEqual(server.factory.sessions, set())
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=5).close()


class ImportTests(SynchronousTestCase):
    """What is for tests stays out of what serves."""

    def loaded(self, statement: str) -> set[str]:
        """The modules that are loaded after a statement."""
        script = f"{statement}\nimport sys\nprint(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return set(done.stdout.decode().split())

    def test_apart(self) -> None:
        """``import thing`` does not load it, and it loads neither trial nor a reactor."""
        self.assertNotIn("thing.testing", self.loaded("import thing, thing.endpoints"))
        loaded = self.loaded("import thing.testing")
        self.assertIn("thing.testing.pair", loaded)
        for name in ("twisted.trial", "twisted.trial.unittest", "twisted.internet.reactor"):
            self.assertNotIn(name, loaded)
