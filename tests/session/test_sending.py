"""How a driver sends: at once over transports that can, else as any other protocol."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ISSLTransport, ITransport, IWriteDescriptor
from twisted.internet.tcp import Connection
from twisted.internet.unix import Server as UnixServer
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer

from tests.pairs import MemoryTransport, Pair, PairCase
from tests.session import test_driver, test_protocol
from thing.errors import ErrorCode
from thing.events import Cause
from thing.session.sinks import QUICK, QUICK_BATCH, WRITE_BATCH
from thing.session.transports import canSendDirectly


@implementer(ITransport, IConsumer, IWriteDescriptor)
class DirectTransport(MemoryTransport):
    """
    One end that can send at once, as Twisted's own transports for sockets.

    :ivar direct: what was sent at once.
    :ivar written: what was written, to be sent in another turn.
    :ivar broken: whether sending fails.
    """

    def __init__(self, name: str, kernelSize: int) -> None:
        super().__init__(name, kernelSize)
        self.direct = bytearray()
        self.written = bytearray()
        self.broken = False
        self._streaming = True

    def writeSomeData(self, data: bytes) -> int | Exception:
        if not self.connected:
            raise AttributeError("socket")  # As Twisted's own transports have none any more.
        if self.outgoing:
            raise AssertionError("something is to be sent before this")
        if self.broken:
            return ConnectionLost()
        part = data[: self.kernelSize - len(self.kernel)]
        self.kernel += part
        self.direct += part
        return len(part)

    def write(self, data: bytes) -> None:
        self.written += data
        if not self._streaming:
            self.producerPaused = True  # A pull producer is not paused: it is asked for each time.
        super().write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, True)
        self._streaming = streaming
        if not streaming:
            producer.resumeProducing()

    def _fillKernel(self) -> bool:
        if self.broken:
            self.reason = self.reason or (ConnectionLost if self.outgoing else None)
            return False
        return super()._fillKernel()

    def unregisterProducer(self) -> None:
        super().unregisterProducer()
        self._streaming = True

    def _close(self) -> bool:
        if self.disconnecting and self.producer and not self._streaming and not self.outgoing:
            self.producer.resumeProducing()  # It is asked whether there is more.
        return super()._close()


class DirectPair(Pair):
    """A pair whose ends can send at once."""

    endType = DirectTransport
    serverEnd: DirectTransport
    clientEnd: DirectTransport


class DirectCase(PairCase):
    """Tests over transports that can send at once."""

    pairType = DirectPair

    def direct(self, **named: Any) -> Any:
        """A pair that is up, with nothing of it noted yet."""
        pair: Any = self.pair(**named).up()
        for end in (pair.serverEnd, pair.clientEnd):
            end.direct.clear()
            end.written.clear()
        return pair


class AtOnceTests(DirectCase):
    """What follows from what came in is sent at once."""

    def test_heartbeat(self) -> None:
        """A heartbeat is answered in the turn in which it came."""
        pair = self.direct()
        pair.advance(pair.client.session.interval + 1)  # type: ignore[union-attr]
        self.assertGreater(pair.server.heartbeats, 0)
        self.assertGreater(len(pair.serverEnd.direct), 0)
        self.assertEqual(pair.serverEnd.written, b"")

    def test_finalWord(self) -> None:
        """A session's final word is with the kernel before the application is told of the end."""
        pair = self.direct()
        pair.clientEnd.frozen = True
        sent: list[bytes] = []
        pair.server.doing["terminated"] = lambda *_: sent.append(bytes(pair.serverEnd.direct))
        pair.server.reject(ErrorCode.ABORTED)
        self.assertEqual(len(sent), 1)
        self.assertGreater(len(sent[0]), 0)
        self.assertEqual(pair.serverEnd.written, b"")

    def test_handshake(self) -> None:
        """The first words are written, as others may have written before; the rest goes at once."""
        pair: Any = self.pair()
        pair.connect()
        pair.server.transport.write(b"")
        pair.pump()
        self.assertIsNotNone(pair.server.session)
        for end in (pair.serverEnd, pair.clientEnd):
            self.assertGreater(len(end.written), 0)
            self.assertGreater(len(end.direct), 0)

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
        self.assertEqual(pair.serverEnd.direct, b"")

    def test_startTLS(self) -> None:
        """What begins TLS when its connection is made is written to, never past its encryption."""
        pair: Any = self.pair()
        end = pair.serverEnd
        pair.server.doing["connectionMade"] = lambda: directlyProvides(end, ISSLTransport)
        pair.connect().pump()
        self.assertIsNotNone(pair.server.session)
        self.assertEqual(end.direct, b"")

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
        pair: Any = self.pair(kernelSize=100)
        pair.connect().pump(limit=300)
        self.assertIsNotNone(pair.server.session)
        self.assertIsNotNone(pair.client.session)
        for end in (pair.serverEnd, pair.clientEnd):
            self.assertGreater(len(end.direct), 0)
            self.assertGreater(len(end.written), 0)

    def test_bounded(self) -> None:
        """While the peer takes nothing, the transport holds no more than one batch."""
        pair = self.direct(kernelSize=1000)
        pair.serverEnd.frozen = True
        for _ in range(20):
            pair.server.sendMessage(bytes(WRITE_BATCH))
            pair.serverEnd.step(0)
        self.assertLessEqual(len(pair.serverEnd.outgoing), 2 * WRITE_BATCH)
        pair.serverEnd.frozen = False
        pair.pump()
        self.assertEqual(len(pair.client.messages), 20)

    def test_quick(self) -> None:
        """A transport that sends a batch at once is given more in the next turn, a slow one not."""
        for wait, most in ((0.0, QUICK_BATCH), (2 * QUICK, WRITE_BATCH)):
            pair = self.direct(kernelSize=1 << 20)
            pair.server.sendMessage(bytes(10 * WRITE_BATCH))
            pair.clock.advance(wait)
            pair.serverEnd.step(0)
            self.assertIn(len(pair.serverEnd.outgoing), range(most, most + 17_000))
            pair.pump()
            self.assertEqual(len(pair.client.messages[0]), 10 * WRITE_BATCH)

    def test_broken(self) -> None:
        """A stream that breaks while sending is reported by the reactor, once, as any other."""
        pair = self.direct()
        pair.serverEnd.broken = True
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
        pair.server.transport.loseConnection()  # type: ignore[union-attr]
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
        self.assertFalse(canSendDirectly(MemoryTransport("any", 1)))
        self.assertTrue(issubclass(Connection, FileDescriptor))


class DirectCloseTests(test_driver.CloseTests):
    """As over other transports."""

    pairType = DirectPair


class DirectGoneTests(test_driver.GoneTests):
    """As over other transports."""

    pairType = DirectPair


class DirectFlushTests(test_driver.FlushTests):
    """As over other transports."""

    pairType = DirectPair


class DirectProducerTests(test_driver.ProducerTests):
    """As over other transports."""

    pairType = DirectPair


class DirectPauseTests(test_driver.PauseTests):
    """As over other transports."""

    pairType = DirectPair


class DirectEndTests(test_protocol.EndTests):
    """As over other transports."""

    pairType = DirectPair


class DirectCallbackTests(test_protocol.CallbackTests):
    """As over other transports."""

    pairType = DirectPair


class DirectWithinCallbackTests(test_protocol.WithinCallbackTests):
    """As over other transports."""

    pairType = DirectPair


class ReasonTests(DirectCase):
    """The end of the stream is told as it is."""

    def test_closedByPeer(self) -> None:
        """A peer that closes its stream leaves it truncated."""
        pair = self.direct()
        pair.client.transport.loseConnection()  # type: ignore[union-attr]
        pair.pump()
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)
        (reason,) = pair.server.of("connectionLost")
        self.assertIsInstance(reason.value, ConnectionDone)
