"""A client that sends a file as fast as the server takes it."""

import sys

from twisted.internet import endpoints, task
from twisted.protocols.basic import FileSender

from thing import ClientSettings, PinnedServers, ThingFactory


async def main(reactor, fingerprint, path):
    factory = ThingFactory(ClientSettings(), PinnedServers([fingerprint]))
    client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
    await client.whenEstablished()
    with open(path, "rb") as file:
        await FileSender().beginFileTransfer(file, client)
        print(await client.goodbye())


task.react(main, sys.argv[1:])
