"""Tests of a protocol that speaks over ``thing:`` and greets who is there."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from thing import Cause, Termination
from thing.endpoints import FlatLined, Truncated
from thing.testing import FakeThingTransport, Keys, LoopbackServer, Pair


class Greeter(Protocol):
    reason = None

    def connectionMade(self):
        self.transport.write(b"hello, " + self.transport.peer.name.encode())

    def connectionLost(self, reason):
        self.reason = reason.value


class Listener(Protocol):
    def __init__(self):
        self.heard = Deferred()

    def dataReceived(self, data):
        self.heard.callback(data)


class FaultTests(TestCase):
    def setUp(self):
        self.pair = Pair(Greeter, Listener, keys=Keys("lamp")).up()
        self.addCleanup(self.pair.close)

    def test_greets(self):
        self.assertEqual(self.successResultOf(self.pair.client.heard), b"hello, lamp")

    def test_cut(self):
        self.pair.cut()
        self.assertIsInstance(self.pair.server.reason, Truncated)

    def test_silence(self):
        self.pair.freeze()
        self.pair.advance(33)  # the TTL, and how long a last word may take
        self.assertIsInstance(self.pair.server.reason, FlatLined)


class AloneTests(TestCase):
    def test_end(self):
        greeter, transport = Greeter(), FakeThingTransport()
        transport.connect(greeter)
        self.assertEqual(transport.value(), b"hello, thing")
        transport.lose(Termination(Cause.FLAT_LINED))
        self.assertIsInstance(greeter.reason, FlatLined)


class SocketTests(TestCase):
    async def test_greets(self):
        server = LoopbackServer(self, Greeter)
        listener = await server.connect(Listener)
        self.assertEqual(await listener.heard, b"hello, thing")
