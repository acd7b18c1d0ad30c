"""A server that admits the things whose keys are in its file."""

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from thing import AuthorizedThings, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Shout(ThingProtocol):
    def messageReceived(self, message):
        self.sendMessage(b"%s, %s!" % (message.upper(), str(self.peer).encode()))

    def terminated(self, termination):
        print(termination, flush=True)


async def main(reactor):
    key = IdentityKey.loadOrCreate("server_key")
    factory = ThingFactory(ServerSettings(credential=key), AuthorizedThings("authorized_things"))
    factory.protocol = Shout
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(key.fingerprint, flush=True)
    await Deferred()


task.react(main)
