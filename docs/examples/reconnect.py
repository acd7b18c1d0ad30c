"""A thing of one's own that is always on: it comes back, and does not stampede."""

import sys

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred

from thing import ClientSettings, PinnedServers, ThingFactory, ThingProtocol
from thing.endpoints import ThingClientService, terminationOf


class Lamp(ThingProtocol):
    def handshakeCompleted(self):
        print(f"session {self.sessionId}", flush=True)

    def requestReceived(self, data):
        return b"lit" if data == b"how are you?" else b"what?"


def down(reason, delay):
    when = "stopped" if delay is None else f"next try in {delay:.1f} s"
    print(f"{terminationOf(reason) or reason.getErrorMessage()}; {when}", flush=True)


def main(reactor, fingerprint):
    factory = ThingFactory(
        ClientSettings(lastWord=b"the lamp is gone"), PinnedServers([fingerprint])
    )
    factory.protocol = Lamp
    server = endpoints.clientFromString(reactor, "tcp:localhost:9000")
    service = ThingClientService(server, factory, onDown=down)
    service.startService()
    # Say goodbye, if the program is ended; else the stream would just be cut.
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    return Deferred()


task.react(main, sys.argv[1:])
