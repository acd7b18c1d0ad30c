"""Where a driver's octets go: each kind of sink alone, over a transport that is made up."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport, IWriteDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer

from thing.core.messages import FRAGMENT_LIMIT
from thing.core.pace import AHEAD, FIRST_BATCH, LEAST_BATCH, LONG_RECORD, QUICK, QUICK_BATCH
from thing.session.sinks import WRITE_BATCH, DirectSink, WritingSink, openSink


class PlainTransport:
    """
    A transport that only writes, and notes what it is told.

    :ivar written: what it was given to write.
    :ivar producer: its producer, or None.
    :ivar streaming: of which kind the producer is.
    """

    def __init__(self) -> None:
        self.written = b""
        self.producer: Any = None
        self.streaming: bool | None = None
        self.disconnecting = False

    def write(self, data: bytes) -> None:
        self.written += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, "one at a time"
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        assert self.producer is not None, "there is one to forget"
        self.producer = self.streaming = None


@implementer(IWriteDescriptor)
class DirectTransport(PlainTransport):
    """
    A transport that can send at once, too.

    :ivar direct: what it sent at once.
    :ivar takes: how many octets it takes at once, or the exception that it returns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.direct = b""
        self.takes: Any = 1 << 30

    def writeSomeData(self, data: bytes) -> Any:
        if not isinstance(self.takes, int):
            return self.takes
        self.direct += data[: self.takes]
        return min(self.takes, len(data))


class GoneTransport(DirectTransport):
    """A transport whose socket is gone, and with it whatever could send."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        producer.stopProducing()

    def write(self, data: bytes) -> None:
        raise AttributeError("socket")

    def writeSomeData(self, data: bytes) -> Any:
        raise AttributeError("socket")

    def unregisterProducer(self) -> None:
        raise AttributeError("socket")


class SinkCase(SynchronousTestCase):
    """A clock, and a count of how often a sink has asked for more."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked = 0

    def more(self) -> None:
        self.asked += 1

    def open(self, transport: Any) -> Any:
        """The sink that a transport is given, which has asked for nothing yet."""
        sink = openSink(transport, self.more, self.clock.seconds)
        self.asked = 0
        return sink


class WritingSinkTests(SinkCase):
    """Over any transport: ``write``, and a push producer."""

    def setUp(self) -> None:
        super().setUp()
        self.transport = PlainTransport()
        self.sink = self.open(self.transport)

    def test_registers(self) -> None:
        """It is its transport's push producer, and has room for a batch."""
        self.assertIsInstance(self.sink, WritingSink)
        self.assertIs(self.transport.producer, self.sink)
        self.assertIs(self.transport.streaming, True)
        self.assertEqual(self.sink.room, WRITE_BATCH)

    def test_send(self) -> None:
        """Whatever there is, urgent or not, is written in order."""
        self.sink.send(b"one", False)
        self.sink.send(b"two", True)
        self.assertEqual(self.transport.written, b"onetwo")

    def test_noRoom(self) -> None:
        """There is no room while the transport has enough; what is sent all the same is written."""
        self.sink.pauseProducing()
        self.assertEqual(self.sink.room, 0)
        self.sink.send(b"final", True)
        self.assertEqual(self.transport.written, b"final")
        self.assertEqual(self.asked, 0)
        self.sink.resumeProducing()
        self.assertEqual(self.sink.room, WRITE_BATCH)
        self.assertEqual(self.asked, 1)

    def test_suits(self) -> None:
        """It stays, even when TLS begins."""
        directlyProvides(self.transport, ISSLTransport)
        self.assertTrue(self.sink.suits())


class DirectSinkTests(SinkCase):
    """Over a transport that can send at once: ``writeSomeData`` or ``write``, a pull producer."""

    def setUp(self) -> None:
        super().setUp()
        self.transport = DirectTransport()
        self.sink = self.open(self.transport)

    def drain(self) -> None:
        """The transport has sent all."""
        self.sink.resumeProducing()
        self.asked = 0

    def assertSent(self, direct: bytes, written: bytes) -> None:
        self.assertEqual((self.transport.direct, self.transport.written), (direct, written))

    def test_registers(self) -> None:
        """It is its transport's pull producer, and has room for a batch."""
        self.assertIsInstance(self.sink, DirectSink)
        self.assertIs(self.transport.producer, self.sink)
        self.assertIs(self.transport.streaming, False)
        self.assertEqual(self.sink.room, FIRST_BATCH)

    def test_first(self) -> None:
        """The first octets are written: others may have written before them."""
        self.sink.send(b"first", True)
        self.assertSent(b"", b"first")

    def test_urgent(self) -> None:
        """What is urgent goes at once when nothing is before it, and takes no room."""
        self.drain()
        room = self.sink.room
        self.sink.send(b"beat", True)
        self.sink.send(b"again", True)
        self.assertSent(b"beatagain", b"")
        self.assertEqual(self.sink.room, room)

    def test_notUrgent(self) -> None:
        """What can wait is written, and so is all that comes behind it until it is sent."""
        self.drain()
        self.sink.send(b"data", False)
        self.sink.send(b"beat", True)
        self.assertSent(b"", b"databeat")
        self.drain()
        self.sink.send(b"beat", True)
        self.assertSent(b"beat", b"databeat")

    def test_partly(self) -> None:
        """What the kernel does not take is written, and what comes then goes behind it."""
        self.drain()
        room = self.sink.room
        self.transport.takes = 2
        self.sink.send(b"beat", True)
        self.assertSent(b"be", b"at")
        self.assertEqual(self.sink.room, room - 2)
        self.sink.send(b"next", True)
        self.assertSent(b"be", b"atnext")

    def test_noRoom(self) -> None:
        """The kernel takes nothing: all is written."""
        self.drain()
        self.transport.takes = 0
        self.sink.send(b"beat", True)
        self.assertSent(b"", b"beat")

    def test_broken(self) -> None:
        """A stream that breaks while sending is left to the reactor to find."""
        for answer in (CONNECTION_LOST, -1):
            self.transport = DirectTransport()
            self.sink = self.open(self.transport)
            self.drain()
            self.transport.takes = answer
            self.sink.send(b"beat", True)
            self.assertEqual(self.transport.written, b"beat")

    def test_room(self) -> None:
        """What is written takes room until all is sent; then more is asked for."""
        self.sink.send(bytes(FIRST_BATCH - 1), False)
        self.assertEqual(self.sink.room, 1)
        self.sink.send(bytes(10), False)
        self.assertLess(self.sink.room, 0)
        self.clock.advance(AHEAD)
        self.sink.resumeProducing()
        self.assertEqual(self.sink.room, FIRST_BATCH + 9)
        self.assertEqual(self.asked, 1)

    def leave(self, octets: int, seconds: float) -> int:
        """Hand octets over that have left after some seconds; how many there is room for next."""
        self.sink.send(bytes(octets), False)
        self.clock.advance(seconds)
        self.sink.resumeProducing()
        return self.sink.room

    def test_quick(self) -> None:
        """A batch that leaves soon is followed by one of twice the size, up to the most."""
        room = self.sink.room
        while room < QUICK_BATCH:
            following = self.leave(room, QUICK / 2)
            self.assertEqual(following, min(2 * room, QUICK_BATCH))
            room = following
        self.assertEqual(self.leave(room, 0.0), QUICK_BATCH)

    def test_longest(self) -> None:
        """Records are long on a path that has shown to take the most, and only while it does."""
        self.assertEqual(self.sink.longest, FRAGMENT_LIMIT)
        while self.leave(self.sink.room, 0.0) < QUICK_BATCH:
            self.assertLessEqual(self.sink.longest, FRAGMENT_LIMIT)
        self.assertEqual(self.sink.longest, LONG_RECORD)
        self.leave(QUICK_BATCH, 2 * AHEAD)
        self.assertEqual(self.sink.longest, FRAGMENT_LIMIT)

    def test_slow(self) -> None:
        """A path is given no more than leaves within the time that a beat may wait, but some."""
        self.leave(FIRST_BATCH, 0.0)
        self.leave(2 * FIRST_BATCH, 0.0)
        self.assertEqual(self.leave(4 * FIRST_BATCH, 2 * AHEAD), 2 * FIRST_BATCH)
        self.assertEqual(self.leave(FIRST_BATCH, 100.0), LEAST_BATCH)
        following = self.leave(LEAST_BATCH, AHEAD / 4)
        self.assertAlmostEqual(following / LEAST_BATCH, 4.0, 3)

    def test_disconnecting(self) -> None:
        """A transport that is to close is asked for nothing: it waits for its producer to go."""
        self.transport.disconnecting = True
        self.sink.resumeProducing()
        self.assertIsNone(self.transport.producer)
        self.assertEqual(self.asked, 0)

    def test_suits(self) -> None:
        """Once TLS has begun it suits no more: it would go past the encryption."""
        self.assertTrue(self.sink.suits())
        directlyProvides(self.transport, ISSLTransport)
        self.assertFalse(self.sink.suits())
        self.sink.close(b"")
        self.assertIsInstance(self.open(self.transport), WritingSink)
        self.assertIs(self.transport.streaming, True)

    def test_finalWord(self) -> None:
        """A final word goes at once if it can."""
        self.drain()
        self.sink.close(b"final")
        self.assertSent(b"final", b"")

    def test_finalWordBehind(self) -> None:
        """A final word goes behind what was written before."""
        self.drain()
        self.sink.send(b"data", False)
        self.sink.close(b"final")
        self.assertSent(b"", b"datafinal")


class ClosedTests(SinkCase):
    """What either sink does when it is closed, or its transport gone: nothing."""

    def assertNothing(self, sink: Any) -> None:
        sink.send(b"late", True)
        sink.send(b"late", False)
        sink.resumeProducing()
        sink.close(b"late")
        sink.close(b"")
        self.assertLessEqual(sink.room, 0)
        self.assertTrue(sink.suits())
        self.assertEqual(self.asked, 0)

    def test_closed(self) -> None:
        """A closed sink has said its final word, and is its transport's producer no more."""
        for kind in (PlainTransport, DirectTransport):
            transport = kind()
            sink = self.open(transport)
            sink.close(b"final")
            self.assertIsNone(transport.producer)
            self.assertNothing(sink)
            self.assertEqual(transport.written, b"final")

    def test_lost(self) -> None:
        """A sink whose transport says that it is gone does not touch it."""
        for kind in (PlainTransport, DirectTransport):
            transport = kind()
            sink = self.open(transport)
            sink.resumeProducing()
            self.asked = 0
            transport.producer.stopProducing()
            transport.producer = None
            self.assertNothing(sink)
            self.assertEqual(transport.written, b"")

    def test_goneBefore(self) -> None:
        """So with a transport that is gone before it has a sink."""
        transport = GoneTransport()
        self.assertNothing(self.open(transport))
        self.assertNothing(WritingSink(transport, self.more))
