"""A client on asyncio: python asyncio_client.py FINGERPRINT"""

import asyncio
import sys

from thing.asyncio import connect
from thing.core import ClientSettings
from thing.errors import HandshakeFailed
from thing.trust.servers import PinnedServers


async def main(fingerprint):
    servers = PinnedServers([fingerprint])
    async with connect("localhost:9000", ClientSettings(), servers) as session:
        await session.send(b"is anybody there?")
        print((await session.recv()).decode())

        print("it is", (await session.request(b"time")).decode())

        reader, writer = await session.open_stream("count")
        for _ in range(100_000):
            writer.write(b"a line\n")
            await writer.drain()
        writer.write_eof()
        print((await reader.read()).decode())
    print(session.termination)


try:
    asyncio.run(main(*sys.argv[1:]))
except (OSError, HandshakeFailed) as error:  # Nobody listens, or somebody else.
    raise SystemExit(error) from None
