"""How a protocol is tested without a network and without waiting."""

from shout import ShoutFactory
from twisted.trial.unittest import TestCase

from thing import Cause, ThingProtocol
from thing.testing import Pair


class Listener(ThingProtocol):
    def connectionMade(self):
        self.heard = []

    def messageReceived(self, message):
        self.heard.append(message)


class ShoutTests(TestCase):
    def setUp(self):
        self.pair = Pair(ShoutFactory, Listener).up()
        self.addCleanup(self.pair.close)

    def test_capitals(self):
        """It answers in capitals."""
        self.pair.client.sendMessage(b"hello")
        self.pair.pump()
        self.assertEqual(self.pair.client.heard, [b"HELLO"])

    def test_silence(self):
        """It lives on while the client's heartbeats come, and ends a TTL after the last."""
        self.pair.advance(300)
        self.assertIsNone(self.pair.server.termination)
        self.pair.freeze()
        self.pair.advance(31)
        self.assertIs(self.pair.server.termination.cause, Cause.FLAT_LINED)

    def test_goodbye(self):
        """It takes a goodbye, and leaves no timer behind."""
        ended = self.pair.client.goodbye()
        self.pair.pump()
        self.assertTrue(self.successResultOf(ended).clean)
        self.assertTrue(self.pair.server.termination.clean)
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])
