"""The first client: it knows the server by its key's fingerprint."""

import sys

from twisted.internet import endpoints, task

from thing import ClientSettings, PinnedServers, ThingFactory, ThingProtocol


class Client(ThingProtocol):
    def messageReceived(self, message):
        print(message.decode())
        self.goodbye()


async def main(reactor, fingerprint):
    factory = ThingFactory(ClientSettings(), PinnedServers([fingerprint]))
    factory.protocol = Client
    client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
    await client.whenEstablished()
    client.sendMessage(b"is anybody there?")
    print(await client.whenTerminated())


task.react(main, sys.argv[1:])
