"""A lamp: a thing with a key of its own, which does what it is told and says what it did."""

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


class Lamp(ThingProtocol):
    lit = "off"

    def requestReceived(self, data):
        if data in (b"on", b"off"):
            self.lit = data.decode()
        return f"the lamp is {self.lit}".encode()


async def main(reactor):
    settings = ClientSettings(
        credential=IdentityKey.load("lamp_key"), lastWord=b"nobody knows whether the lamp is on"
    )
    servers = KnownServers("known_servers", "localhost", 9000, firstUse=True)
    factory = ThingFactory(settings, servers)
    factory.protocol = Lamp
    try:
        lamp = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        await lamp.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    print("The lamp is here", flush=True)
    print(await lamp.whenTerminated())


task.react(main)
