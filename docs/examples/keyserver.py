"""A server that admits the things whose keys are in its file."""

from twisted.internet import endpoints, reactor

from thing import AuthorizedThings, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Shout(ThingProtocol):
    def messageReceived(self, message):
        self.sendMessage(b"%s, %s!" % (message.upper(), str(self.peer).encode()))

    def terminated(self, termination):
        print(termination, flush=True)


key = IdentityKey.loadOrCreate("server_key")
factory = ThingFactory(ServerSettings(credential=key), AuthorizedThings("authorized_things"))
factory.protocol = Shout
endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
print(key.fingerprint, flush=True)
reactor.run()
