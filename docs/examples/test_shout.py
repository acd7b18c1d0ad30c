"""How a protocol is tested without a network and without waiting."""

from shout import ShoutFactory
from twisted.internet.task import Clock
from twisted.test.iosim import connectedServerAndClient
from twisted.trial.unittest import TestCase

from thing import (
    Anyone,
    Cause,
    ClientSettings,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)


class Listener(ThingProtocol):
    def connectionMade(self):
        self.heard = []

    def messageReceived(self, message):
        self.heard.append(message)


class ShoutTests(TestCase):
    def setUp(self):
        self.clock = Clock()
        key = IdentityKey.generate()
        server = ShoutFactory(
            ServerSettings(credential=key, allowAnonymous=True, ttl=TtlPolicy(default=30.0)),
            Anyone(),
            clock=self.clock,
        )
        client = ThingFactory(
            ClientSettings(),
            PinnedServers([key.fingerprint]),
            clock=self.clock,
            jitter=lambda: 0.5,  # the first heartbeat comes after half an interval
        )
        client.protocol = Listener
        self.client, self.server, self.pump = connectedServerAndClient(
            lambda: server.buildProtocol(None), lambda: client.buildProtocol(None)
        )
        self.pump.flush()

    def elapse(self, seconds, connected=True):
        """Let time pass in small steps: one large step would look like a stall of this process."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            if connected:
                self.pump.flush()

    def test_capitals(self):
        """It answers in capitals."""
        self.client.sendMessage(b"hello")
        self.pump.flush()
        self.assertEqual(self.client.heard, [b"HELLO"])

    def test_silence(self):
        """It lives on while the client's heartbeats come, and ends a TTL after the last."""
        self.elapse(300)
        self.assertIsNone(self.server.termination)
        self.elapse(31, connected=False)
        self.assertIs(self.server.termination.cause, Cause.FLAT_LINED)

    def test_goodbye(self):
        """It takes a goodbye, and leaves no timer behind."""
        ended = self.client.goodbye()
        self.pump.flush()
        self.assertTrue(self.successResultOf(ended).clean)
        self.assertTrue(self.server.termination.clean)
        self.assertEqual(self.clock.getDelayedCalls(), [])
