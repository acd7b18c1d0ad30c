"""A client that comes back, and does not stampede."""

import random
import sys

from twisted.application.internet import ClientService
from twisted.internet import endpoints, reactor
from twisted.internet.defer import gatherResults

from thing import ClientSettings, PinnedServers, ThingFactory, ThingProtocol

PATIENCE = 60.0
"""The longest that this client stays away, whatever the server says, seconds."""


class Reporter(ThingProtocol):
    def handshakeCompleted(self):
        self.factory.retryAfter = 0.0
        print(f"session {self.sessionId}", flush=True)

    def terminated(self, termination):
        self.factory.retryAfter = termination.retryAfter or self.factory.retryAfter
        print(termination, flush=True)

    def goingAway(self, reason, retryAfter):
        self.factory.retryAfter = retryAfter


def pause(failures):
    """What the server asked for, within reason, and as much chance as failures suggest."""
    asked = min(factory.retryAfter, PATIENCE)
    return asked + random.random() * min(2.0 ** min(failures, 10), PATIENCE)


factory = ThingFactory(ClientSettings(), PinnedServers(sys.argv[1:]))
factory.protocol = Reporter
factory.retryAfter = 0.0
service = ClientService(
    endpoints.clientFromString(reactor, "tcp:localhost:9000"),
    factory,
    retryPolicy=pause,
    # A connection counts as a success when its session is up, not before.
    prepareConnection=lambda protocol: protocol.whenEstablished(),
)


def leave():
    """Say goodbye; the service by itself would just cut the stream."""
    goodbyes = gatherResults([session.goodbye() for session in list(factory.sessions)])
    return goodbyes.addCallback(lambda _: service.stopService())


service.startService()
reactor.addSystemEventTrigger("before", "shutdown", leave)
reactor.run()
