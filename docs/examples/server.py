"""The first server: it answers in capitals, to anyone."""

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from thing import Anyone, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Shout(ThingProtocol):
    def handshakeCompleted(self):
        print(f"{self.peer} is here, TTL {self.session.ttl:g} s", flush=True)

    def messageReceived(self, message):
        self.sendMessage(message.upper())

    def terminated(self, termination):
        print(f"{self.peer}: {termination}", flush=True)


async def main(reactor):
    key = IdentityKey.loadOrCreate("server_key")
    factory = ThingFactory(ServerSettings(credential=key, allowAnonymous=True), Anyone())
    factory.protocol = Shout
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(key.fingerprint, flush=True)
    await Deferred()


task.react(main)
