"""A client that sends a file as fast as the server takes it."""

import sys

from twisted.internet import endpoints, task
from twisted.internet.error import ConnectError
from twisted.protocols.basic import FileSender

from thing import ClientSettings, HandshakeFailed, PinnedServers, ThingFactory


async def main(reactor, fingerprint, path):
    factory = ThingFactory(ClientSettings(), PinnedServers([fingerprint]))
    try:
        client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        await client.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    with open(path, "rb") as file:
        await FileSender().beginFileTransfer(file, client)
        print(await client.goodbye())


task.react(main, sys.argv[1:])
