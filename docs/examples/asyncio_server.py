"""A server on asyncio: it answers in capitals, tells the time, and counts lines in streams."""

import asyncio
import time

from thing.asyncio import serve
from thing.core import ServerSettings
from thing.trust.authorized import Anyone
from thing.trust.keys import IdentityKey


async def shout(session):
    print(f"{session.peer} is here", flush=True)
    try:
        async for message in session:
            await session.send(message.upper())
    finally:
        print(f"{session.peer}: {await session.wait_closed()}", flush=True)


async def answer(session, question):
    return time.strftime("%H:%M").encode() if question == b"time" else None


async def count(reader, writer):
    lines = 0
    async for _ in reader:
        lines += 1
    writer.write(b"%d lines" % lines)


async def main():
    key = IdentityKey.loadOrCreate("server_key")
    settings = ServerSettings(credential=key, allowAnonymous=True)
    async with serve(
        shout, None, 9000, settings, Anyone(), on_request=answer, streams={"count": count}
    ) as server:
        print(key.fingerprint, flush=True)
        await server.serve_forever()


try:
    asyncio.run(main())
except OSError as error:  # The port is taken.
    raise SystemExit(error) from None
