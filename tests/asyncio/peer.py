"""
The side of a conversation that runs on asyncio, in a process without Twisted.

Run as ``python -m tests.asyncio.peer LOOP client PORT KEY OTHER``, or with ``server`` and port 0;
KEY is a private key's file, and OTHER the fingerprint of the other side's. It ends after one
session, says how that ended, and fails if anything was not as it should be.
"""

from __future__ import annotations

import asyncio
import sys

from thing.asyncio import Session, connect, serve
from thing.core import ClientSettings, ServerSettings
from thing.errors import NotAuthorized
from thing.identity import Identity
from thing.trust.keys import IdentityKey
from thing.trust.servers import PinnedServers

MESSAGES = [bytes([number]) * 100_000 for number in range(20)]
"""What each side sends: more than any window holds."""

DONE = b"done"

OCTETS = bytes(range(256)) * 8192
"""What goes through a stream, and comes back."""


def say(line: str) -> None:
    """Tell the test something."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def reverse(session: Session, data: bytes) -> bytes:
    """Answers a request."""
    return data[::-1]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def give(session: Session) -> None:
    """Send all messages."""
    for message in MESSAGES:
        await session.send(message)


async def stream(session: Session) -> None:
    """Have a stream's octets come back."""
    reader, writer = await session.open_stream("echo")

    async def write() -> None:
        for at in range(0, len(OCTETS), 50_000):
            writer.write(OCTETS[at : at + 50_000])
            await writer.drain()
        writer.write_eof()

    _, back = await asyncio.gather(write(), reader.read())
    assert back == OCTETS, len(back)
    await writer.wait_closed()


async def take(session: Session) -> None:
    """Take all messages."""
    got = [await session.recv() for _ in MESSAGES]
    assert got == MESSAGES, list(map(len, got))


async def converse(session: Session) -> None:
    """All at once; then wait for the other side to be through, too."""
    await asyncio.gather(give(session), stream(session), take(session))
    assert await session.request(b"abc") == b"cba"
    await session.send(DONE)
    assert await session.recv() == DONE


class Only:
    """Admits one thing."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def authorize(self, identity: Identity) -> Identity:
        """Admit it, and nobody else."""
        if identity.fingerprint != self._fingerprint:
            raise NotAuthorized(identity.fingerprint)
        return identity


async def client(port: int, key: IdentityKey, other: str) -> None:
    """Have a session with a server."""
    settings = ClientSettings(credential=key)
    where = f"127.0.0.1:{port}"
    choices = {"on_request": reverse, "streams": {"echo": echo}}
    async with connect(where, settings, PinnedServers([other]), **choices) as session:
        await converse(session)
    say(str(session.termination))


async def server(port: int, key: IdentityKey, other: str) -> None:
    """Have a session with the first client that comes."""
    over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handle(session: Session) -> None:
        await converse(session)
        over.set_result(str(await session.wait_closed()))

    settings = ServerSettings(credential=key)
    choices = {"on_request": reverse, "streams": {"echo": echo}}
    async with serve(handle, "127.0.0.1", port, settings, Only(other), **choices) as listening:
        say(f"port {listening.sockets[0].getsockname()[1]}")
        say(await over)


def main(loop: str, role: str, port: str, key: str, other: str) -> None:
    """Run one side on a loop."""
    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    run = client if role == "client" else server
    asyncio.run(run(int(port), IdentityKey.load(key), other))
    assert not [name for name in sys.modules if name.split(".")[0] == "twisted"]


if __name__ == "__main__":
    main(*sys.argv[1:])
