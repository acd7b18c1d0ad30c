"""A client on asyncio that is always on: python asyncio_always_on.py KNOWN_SERVERS KEY"""

import asyncio
import logging
import sys

from thing.asyncio import KnownServers, reconnect
from thing.core import ClientSettings
from thing.errors import SessionEnded
from thing.trust.keys import IdentityKey


async def main(known, key):
    servers = KnownServers(known, "localhost", 9000, first_use=True)
    settings = ClientSettings(credential=IdentityKey.load(key))
    async for session in reconnect("localhost:9000", settings, servers):
        print("up with", session.peer, flush=True)
        try:
            async for message in session:
                print("told:", message.decode(), flush=True)
        except SessionEnded as ended:
            print("lost:", ended.termination.cause.value, flush=True)


logging.basicConfig(level=logging.INFO, format="%(message)s")
asyncio.run(main(*sys.argv[1:]))
