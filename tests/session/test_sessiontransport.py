"""What a session's protocol has for a transport."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from thing import testing
from thing.errors import ErrorCode
from thing.events import Cause
from thing.session.protocol import ThingProtocol

SECRET = b"my password is swordfish"


class Listener(ThingProtocol):
    """Records what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def messageReceived(self, message: bytes) -> None:
        self.heard.append(message)


class TransportTests(SynchronousTestCase):
    """Habits of those who know Twisted."""

    def setUp(self) -> None:
        self.pair: Any = testing.Pair(Listener, Listener).up()

    def test_interfaces(self) -> None:
        """It is a transport, and who asks it is told of the one below."""
        transport = self.pair.client.transport
        for interface in (ITransport, IPushProducer):
            self.assertTrue(verifyObject(interface, transport))
        self.assertEqual(transport.getPeer(), transport.below.getPeer())
        self.assertEqual(transport.getHost(), transport.below.getHost())
        self.assertEqual(self.pair.server.address, self.pair.server.transport.getPeer())
        self.assertTrue(transport.connected)
        self.assertFalse(transport.disconnecting)
        self.assertTrue(transport.getTcpNoDelay())  # As each session has it.
        transport.setTcpNoDelay(False)
        self.assertFalse(transport.getTcpNoDelay())
        transport.setTcpKeepAlive(True)
        self.assertIn("SessionTransport over", repr(transport))

    def test_write(self) -> None:
        """To write is an error that says what to do; nothing goes out, and the session goes on."""
        client = self.pair.client
        for write in (
            lambda: client.transport.write(SECRET),
            lambda: client.transport.writeSequence([SECRET]),
        ):
            error = self.assertRaises(TypeError, write)
            self.assertIn("use self.sendMessage(data)", str(error))
        for register in (
            lambda: client.transport.registerProducer(None, True),
            client.transport.unregisterProducer,
        ):
            self.assertIn("use self.", str(self.assertRaises(TypeError, register)))
        client.sendMessage(b"hello")
        self.pair.pump()
        self.assertEqual(self.pair.server.heard, [b"hello"])

    def test_writeInCallback(self) -> None:
        """In a callback it is a failure like any other: logged, and the end of the session."""

        class Writes(Listener):
            def handshakeCompleted(self) -> None:
                self.transport.write(SECRET)

        pair: Any = testing.Pair(Listener, Writes).connect()
        pair.pump()
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("use self.sendMessage(data)", str(failure.value))
        self.assertEqual(pair.client.termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(pair.server.termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertTrue(pair.server.termination.byPeer)

    def test_loseConnection(self) -> None:
        """To close ends the session in order: what was sent before arrives."""
        for side in ("client", "server"):
            for close in ("loseConnection", "stopProducing"):
                pair: Any = testing.Pair(Listener, Listener).up()
                getattr(pair, side).sendMessage(b"hello")
                getattr(getattr(pair, side).transport, close)()
                pair.pump()
                other = pair.server if side == "client" else pair.client
                self.assertEqual(other.heard, [b"hello"])
                for end in (pair.client, pair.server):
                    self.assertIs(end.termination.cause, Cause.GOODBYE)

    def test_otherEnds(self) -> None:
        """To abort aborts the session; to close one half ends this side's data."""
        self.pair.client.sendMessage(b"hello")
        self.pair.client.transport.loseWriteConnection()
        self.pair.server.sendMessage(b"go on")
        self.pair.pump()
        self.assertEqual((self.pair.server.heard, self.pair.client.heard), ([b"hello"], [b"go on"]))
        self.pair.client.transport.abortConnection()
        self.pair.pump()
        self.assertIs(self.pair.client.termination.cause, Cause.ABORTED)
        self.pair.client.transport.loseConnection()  # It is harmless afterwards.
        self.pair.client.transport.abortConnection()

    def test_pause(self) -> None:
        """To pause holds messages back and nothing else: the session lives on."""
        self.pair.server.transport.pauseProducing()
        self.pair.client.sendMessage(b"hello")
        self.pair.advance(100)
        self.assertEqual(self.pair.server.heard, [])
        self.assertIsNone(self.pair.server.termination)
        self.pair.server.transport.resumeProducing()
        self.assertEqual(self.pair.server.heard, [b"hello"])
