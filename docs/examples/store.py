"""A server that stores what it gets, and takes no more than its disk can write."""

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread
from twisted.python.filepath import FilePath

from thing import Anyone, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Store(ThingProtocol):
    def handshakeCompleted(self):
        self.path = FilePath(f"{self.sessionId}.part")
        self.file = self.path.open("wb")

    def messageReceived(self, data):
        self.pauseProducing()  # No more until this is written; heartbeats go on.
        writing = deferToThread(self.file.write, data)
        writing.addCallbacks(lambda _: self.resumeProducing(), lambda _: self.abort())

    def terminated(self, termination):
        print(termination, flush=True)
        if self.session is None:
            return
        self.file.close()
        if termination.clean:  # Only now is it certain that the file is whole.
            self.path.moveTo(FilePath("stored"))
            print("stored", flush=True)
        else:
            self.path.remove()


async def main(reactor):
    key = IdentityKey.loadOrCreate("server_key")
    settings = ServerSettings(credential=key, allowAnonymous=True, stream=True)
    factory = ThingFactory(settings, Anyone())
    factory.protocol = Store
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(key.fingerprint, flush=True)
    await Deferred()


task.react(main)
