"""The first client: it knows the server by its key's fingerprint."""

import sys

from twisted.internet import endpoints, task
from twisted.internet.error import ConnectError

from thing import ClientSettings, HandshakeFailed, PinnedServers, ThingFactory, ThingProtocol


class Client(ThingProtocol):
    def messageReceived(self, message):
        print(message.decode())
        self.goodbye()


async def main(reactor, fingerprint):
    factory = ThingFactory(ClientSettings(), PinnedServers([fingerprint]))
    factory.protocol = Client
    try:
        client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        await client.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    client.sendMessage(b"is anybody there?")
    print(await client.whenTerminated())


task.react(main, sys.argv[1:])
