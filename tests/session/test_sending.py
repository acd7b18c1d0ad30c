"""How a driver sends: at once over transports that can, else as any other protocol."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport, IWriteDescriptor
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.internet.unix import Server as UnixServer
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from tests.pairs import Pair, PairCase
from tests.session import test_driver, test_protocol
from thing.core.connection import WRITE_BATCH
from thing.core.pace import FIRST_BATCH, LONG_RECORD, QUICK_BATCH
from thing.errors import ErrorCode
from thing.events import Cause
from thing.session.transports import FULL_READ, LONG_READ, canSendDirectly


class Recorded:
    """
    Notes how an end of a pair is sent over.

    :ivar direct: what was sent at once.
    :ivar written: what was written, to be sent in another turn.
    """

    def __init__(self, end: Any) -> None:
        self.direct = bytearray()
        self.written = bytearray()
        self._turn = False
        self._end, self._kind = end, type(end)
        end.writeSomeData, end.write, end.doWrite = self.writeSomeData, self.write, self.doWrite

    def writeSomeData(self, data: bytes) -> Any:
        if self._turn:
            return self._kind.writeSomeData(self._end, data)
        if self._end.outgoing:
            raise AssertionError("something is to be sent before this")
        sent = self._kind.writeSomeData(self._end, data)
        self.direct += data[:sent] if isinstance(sent, int) else b""
        return sent

    def write(self, data: bytes) -> None:
        self.written += data
        self._kind.write(self._end, data)

    def doWrite(self) -> Any:
        self._turn = True
        try:
            return self._kind.doWrite(self._end)
        finally:
            self._turn = False


class RecordedPair(Pair):
    """A pair whose ends note how they are sent over."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.serverSent, self.clientSent = Recorded(self.serverEnd), Recorded(self.clientEnd)


class LayeredPair(Pair):
    """A pair with a layer between session and socket, which cannot send at once."""

    layers = True


class DirectCase(PairCase):
    """Tests over transports that can send at once."""

    pairType = RecordedPair

    def direct(self, **named: Any) -> Any:
        """A pair that is up, with nothing of it noted yet."""
        pair: Any = self.pair(**named).up()
        for sent in (pair.serverSent, pair.clientSent):
            sent.direct.clear()
            sent.written.clear()
        return pair


class AtOnceTests(DirectCase):
    """What follows from what came in is sent at once."""

    def test_heartbeat(self) -> None:
        """A heartbeat is answered in the turn in which it came."""
        pair = self.direct()
        pair.advance(pair.client.session.interval + 1)  # type: ignore[union-attr]
        self.assertGreater(pair.server.heartbeats, 0)
        self.assertGreater(len(pair.serverSent.direct), 0)
        self.assertEqual(pair.serverSent.written, b"")

    def test_finalWord(self) -> None:
        """A session's final word is with the kernel before the application is told of the end."""
        pair = self.direct()
        pair.clientEnd.frozen = True
        sent: list[bytes] = []
        pair.server.doing["terminated"] = lambda *_: sent.append(bytes(pair.serverSent.direct))
        pair.server.reject(ErrorCode.ABORTED)
        self.assertEqual(len(sent), 1)
        self.assertGreater(len(sent[0]), 0)
        self.assertEqual(pair.serverSent.written, b"")

    def test_handshake(self) -> None:
        """The first words are written, as others may have written before; the rest goes at once."""
        pair: Any = self.pair()
        pair.connect()
        pair.server.transport.below.write(b"")
        pair.pump()
        self.assertIsNotNone(pair.server.session)
        for sent in (pair.serverSent, pair.clientSent):
            self.assertGreater(len(sent.written), 0)
            self.assertGreater(len(sent.direct), 0)

    def test_preamble(self) -> None:
        """What an application writes before the handshake stays before it."""
        pair: Any = self.pair()
        pair.client.doing["connectionMade"] = lambda: pair.clientEnd.write(b"PREAMBLE")
        seen: list[bytes] = []

        def takeOff(data: bytes) -> bytes:
            seen.append(data)
            pair.clientEnd.tap = None
            return data.removeprefix(b"PREAMBLE")

        pair.clientEnd.tap = takeOff
        pair.connect().pump()
        self.assertTrue(seen[0].startswith(b"PREAMBLE"))
        self.assertIsNotNone(pair.client.session)

    def test_data(self) -> None:
        """Data wait for the reactor to find the socket writable, and so does what is with them."""
        pair = self.direct()
        pair.server.doing["messageReceived"] = pair.server.sendMessage
        pair.server.doing["heartbeatReceived"] = lambda *_: pair.server.sendMessage(b"with it")
        pair.client.sendMessage(b"echo")
        pair.advance(pair.client.session.interval + 1)  # type: ignore[union-attr]
        self.assertEqual(pair.client.messages[:2], [b"echo", b"with it"])
        self.assertEqual(len(pair.client.of("heartbeatAcknowledged")), pair.server.heartbeats)
        self.assertEqual(pair.serverSent.direct, b"")

    def test_startTLS(self) -> None:
        """What begins TLS when its connection is made is written to, never past its encryption."""
        pair: Any = self.pair()
        end = pair.serverEnd
        pair.server.doing["connectionMade"] = lambda: directlyProvides(end, ISSLTransport)
        pair.connect().pump()
        self.assertIsNotNone(pair.server.session)
        self.assertEqual(pair.serverSent.direct, b"")

    def test_repliesTogether(self) -> None:
        """Many small messages sent in a callback go out as one."""
        pair = self.direct()
        writes: list[int] = []
        original = pair.serverEnd.write

        def count(data: bytes) -> None:
            writes.append(len(data))
            original(data)

        def answer(_: bytes) -> None:
            for _ in range(50):
                pair.server.sendMessage(b"small")

        pair.serverEnd.write = count  # type: ignore[method-assign]
        pair.server.doing["messageReceived"] = answer
        pair.client.sendMessage(b"go")
        pair.pump()
        self.assertEqual(pair.client.messages, [b"small"] * 50)
        self.assertEqual(len(writes), 1)

    def test_partly(self) -> None:
        """What the kernel does not take goes through the transport, in order."""
        pair: Any = self.pair(networkSize=100)
        pair.connect().pump(limit=300)
        self.assertIsNotNone(pair.server.session)
        self.assertIsNotNone(pair.client.session)
        for sent in (pair.serverSent, pair.clientSent):
            self.assertGreater(len(sent.direct), 0)
            self.assertGreater(len(sent.written), 0)

    def test_bounded(self) -> None:
        """While the peer takes nothing, the transport holds no more than one batch."""
        pair = self.direct(networkSize=1000)
        pair.serverEnd.frozen = True
        for _ in range(20):
            pair.server.sendMessage(bytes(WRITE_BATCH))
            pair.serverEnd.step(0)
        self.assertLessEqual(len(pair.serverEnd.outgoing), 2 * WRITE_BATCH)
        pair.serverEnd.frozen = False
        pair.pump()
        self.assertEqual(len(pair.client.messages), 20)

    def test_longReads(self) -> None:
        """Much is read at a time where much comes, and only there: reads take memory."""
        pair = self.direct(networkSize=1 << 20)
        self.assertEqual(pair.clientEnd.bufferSize, FULL_READ)
        for _ in range(10):  # Windows grow with time.
            pair.server.sendMessage(bytes(10 * FULL_READ))
            pair.advance(0.02)
        self.assertEqual(len(pair.client.messages), 10)
        self.assertEqual(pair.clientEnd.bufferSize, LONG_READ)
        self.assertEqual(pair.serverEnd.bufferSize, FULL_READ)

    def test_longSends(self) -> None:
        """A batch of whole records goes to the kernel at once, longer than Twisted's own limit."""
        pair = self.direct(networkSize=1 << 20)
        self.assertGreaterEqual(pair.serverEnd.SEND_LIMIT, QUICK_BATCH + LONG_RECORD)

    def test_quick(self) -> None:
        """A transport that sends a batch at once is given more in the next turn, a slow one not."""
        for wait, quick in ((0.0, True), (0.5, False)):
            pair = self.direct(networkSize=1 << 20)
            first = pair.server.octetsSent
            pair.server.sendMessage(bytes(FIRST_BATCH - 100))
            handed = pair.server.octetsSent - first
            pair.clock.advance(wait)
            pair.pump()
            pair.server.sendMessage(bytes(10 * WRITE_BATCH))
            next_ = pair.server.octetsSent - first - handed
            self.assertEqual(next_ > 1.5 * handed, quick)
            pair.pump()
            self.assertEqual(len(pair.client.messages[1]), 10 * WRITE_BATCH)

    def test_broken(self) -> None:
        """A stream that breaks while sending is reported by the reactor, once, as any other."""
        pair = self.direct()
        pair.serverEnd.peer.sending.reset = True
        pair.server.doing["messageReceived"] = lambda _: pair.server.sendMessage(b"lost")
        pair.client.sendMessage(b"go")
        pair.clientEnd.step(1 << 20)
        self.assertIsNone(pair.server.termination)
        pair.pump()
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)
        self.assertEqual(pair.server.names().count("connectionLost"), 1)

    def test_transportCloses(self) -> None:
        """A transport that the application closes itself does close, though we produce for it."""
        pair = self.direct()
        pair.server.transport.below.loseConnection()  # type: ignore[union-attr]
        pair.pump()
        self.assertFalse(pair.serverEnd.connected)
        self.assertIs(pair.client.end.cause, Cause.TRUNCATED)

    def test_goodbye(self) -> None:
        """A session ends in order, and its transport with it."""
        pair = self.direct()
        pair.client.sendMessage(b"last")
        pair.client.goodbye()
        pair.pump()
        self.assertEqual(pair.server.messages, [b"last"])
        self.assertTrue(pair.client.end.clean and pair.server.end.clean)


class WhichTransportTests(SynchronousTestCase):
    """Which transports are sent over at once."""

    def test_sockets(self) -> None:
        """Twisted's own transports for sockets are."""
        for kind in (Connection, UnixServer):
            self.assertTrue(canSendDirectly(kind.__new__(kind)))

    def test_tls(self) -> None:
        """A socket that speaks TLS is not: it would be gone past."""
        transport = Connection.__new__(Connection)
        directlyProvides(transport, ISSLTransport)
        self.assertFalse(canSendDirectly(transport))

    def test_wrapped(self) -> None:
        """A wrapper is not, though it lends all that the transport below it has."""
        wrapper = ProtocolWrapper(WrappingFactory(None), None)
        transport = Connection.__new__(Connection)
        wrapper.transport = transport
        directlyProvides(wrapper, IWriteDescriptor)
        self.assertTrue(callable(wrapper.writeSomeData))
        self.assertFalse(canSendDirectly(wrapper))

    def test_others(self) -> None:
        """A transport that has only what the interfaces ask is not."""
        self.assertFalse(canSendDirectly(StringTransport()))
        self.assertTrue(issubclass(Connection, FileDescriptor))


class LayeredCloseTests(test_driver.CloseTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredGoneTests(test_driver.GoneTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredFlushTests(test_driver.FlushTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredProducerTests(test_driver.ProducerTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredPauseTests(test_driver.PauseTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredEndTests(test_protocol.EndTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredCallbackTests(test_protocol.CallbackTests):
    """As over sockets."""

    pairType = LayeredPair


class LayeredWithinCallbackTests(test_protocol.WithinCallbackTests):
    """As over sockets."""

    pairType = LayeredPair


class ReasonTests(DirectCase):
    """The end of the stream is told as it is."""

    def test_closedByPeer(self) -> None:
        """A peer that closes its stream leaves it truncated."""
        pair = self.direct()
        pair.client.transport.below.loseConnection()  # type: ignore[union-attr]
        pair.pump()
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)
        (reason,) = pair.server.of("connectionLost")
        self.assertIsInstance(reason.value, ConnectionDone)
