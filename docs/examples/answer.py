"""A server that multiplies when it is asked to, and reads out the last words of the lost."""

import math

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from thing import Anyone, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Answer(ThingProtocol):
    async def requestReceived(self, data):
        return b"%d" % math.prod(map(int, data.split()))

    def terminated(self, termination):
        if self.lastWord and not termination.clean:
            print(f"{self.peer}: {self.lastWord.decode()}", flush=True)


async def main(reactor):
    key = IdentityKey.loadOrCreate("server_key")
    factory = ThingFactory(ServerSettings(credential=key, allowAnonymous=True), Anyone())
    factory.protocol = Answer
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(key.fingerprint, flush=True)
    await Deferred()


task.react(main)
