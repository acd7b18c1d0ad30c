"""A client with a key of its own, which remembers the server that it met first."""

from twisted.internet import endpoints, task
from twisted.internet.error import ConnectError

from thing import (
    ClientSettings,
    HandshakeFailed,
    IdentityKey,
    KnownServers,
    ThingFactory,
    ThingProtocol,
)


class Client(ThingProtocol):
    def messageReceived(self, message):
        print(message.decode())
        self.goodbye()


def metFirst(identity):
    print(f"Met {identity.name} for the first time: {identity.fingerprint}")


async def main(reactor):
    settings = ClientSettings(credential=IdentityKey.loadOrCreate("thing_key"))
    servers = KnownServers("known_servers", "localhost", 9000, firstUse=True, onFirstUse=metFirst)
    factory = ThingFactory(settings, servers)
    factory.protocol = Client
    try:
        client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        await client.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    client.sendMessage(b"hello")
    print(await client.whenTerminated())


task.react(main)
