"""A client that is always on, for twistd."""

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol

from thing import IdentityKey
from thing.endpoints import ThingClientService, terminationOf

SERVER = "thing:localhost:9000:identity=thing_key:knownServers=known_servers:firstUse=yes"


class Lamp(Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")

    def dataReceived(self, data):
        print(data.decode(), flush=True)


def up(lamp):
    print(f"up: session {lamp.transport.sessionId}", flush=True)


def down(reason, delay):
    when = "stopped" if delay is None else f"next try in {delay:.1f} s"
    print(f"down: {terminationOf(reason) or reason.getErrorMessage()}; {when}", flush=True)


def rejected(reason):
    print(f"rejected: {terminationOf(reason)}", flush=True)


IdentityKey.loadOrCreate("thing_key")
service = ThingClientService(
    clientFromString(reactor, SERVER),
    Factory.forProtocol(Lamp),
    onUp=up,
    onDown=down,
    onRejected=rejected,
)
application = Application("always on")
service.setServiceParent(application)
