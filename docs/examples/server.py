"""The first server: it answers in capitals, to anyone."""

from twisted.internet import endpoints, reactor

from thing import Anyone, IdentityKey, ServerSettings, ThingFactory, ThingProtocol


class Shout(ThingProtocol):
    def handshakeCompleted(self):
        print(f"{self.peer} is here, TTL {self.session.ttl:g} s", flush=True)

    def messageReceived(self, message):
        self.sendMessage(message.upper())

    def terminated(self, termination):
        print(f"{self.peer}: {termination}", flush=True)


key = IdentityKey.loadOrCreate("server_key")
factory = ThingFactory(ServerSettings(credential=key, allowAnonymous=True), Anyone())
factory.protocol = Shout
endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
print(key.fingerprint, flush=True)
reactor.run()
