"""A client that comes back, and does not stampede."""

import sys
from time import monotonic

from twisted.internet import endpoints, task
from twisted.internet.defer import gatherResults
from twisted.internet.error import ConnectError

from thing import ClientSettings, HandshakeFailed, PinnedServers, ThingFactory, ThingProtocol
from thing.endpoints import Backoff


class Reporter(ThingProtocol):
    def handshakeCompleted(self):
        print(f"session {self.sessionId}", flush=True)

    def terminated(self, termination):
        print(termination, flush=True)


async def stay(reactor, endpoint, factory):
    """Have one session after the other."""
    backoff = Backoff()
    while True:
        termination = None
        try:
            client = await endpoint.connect(factory)
            session = await client.whenEstablished()
            backoff.up(monotonic(), session.ttl)
            termination = await client.whenTerminated()
        except HandshakeFailed as failure:
            termination = failure.termination
        except ConnectError as error:
            print(error, flush=True)
        await task.deferLater(reactor, backoff.down(monotonic(), termination))


async def main(reactor, fingerprint):
    factory = ThingFactory(ClientSettings(), PinnedServers([fingerprint]))
    factory.protocol = Reporter

    def leave():
        """Say goodbye, if the program is ended; else the stream would just be cut."""
        return gatherResults([session.goodbye() for session in list(factory.sessions)])

    reactor.addSystemEventTrigger("before", "shutdown", leave)
    await stay(reactor, endpoints.clientFromString(reactor, "tcp:localhost:9000"), factory)


task.react(main, sys.argv[1:])
