"""
An asyncio program, with asyncio's streams, whose sessions are Thing's.

    $ python transport_asyncio.py server thing:9000:identity=server_key:authorized=things
    $ python transport_asyncio.py thing \
        thing:localhost:9000:identity=thing_key:serverKey=...
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet import asyncioreactor, endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from thing import HandshakeFailed
from thing.endpoints import IThingTransport, SessionOver


class Flow(asyncio.ReadTransport):
    """What a StreamReader asks for when nobody reads."""

    def __init__(self, producer: IPushProducer) -> None:
        super().__init__()
        self.producer = producer

    def pause_reading(self) -> None:
        self.producer.pauseProducing()

    def resume_reading(self) -> None:
        self.producer.resumeProducing()


class Stream(Protocol):
    """A session that asyncio's code awaits: ``reader`` is one of asyncio's own."""

    transport: IThingTransport

    def __init__(self, work: Callable[[Stream], Coroutine[Any, Any, None]] | None = None) -> None:
        self.work = work

    def connectionMade(self) -> None:
        self.reader = asyncio.StreamReader()
        self.reader.set_transport(Flow(IPushProducer(self.transport)))
        self.closed = asyncio.get_running_loop().create_future()
        if self.work is not None:
            self.working = asyncio.create_task(self.work(self))

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        why: Any = reason.value
        if isinstance(why, ConnectionDone):
            self.reader.feed_eof()
        else:  # Whoever awaits more gets this exception, and not an end that looks whole.
            self.reader.set_exception(why)
        self.closed.set_result(why)


async def shout(stream: Stream) -> None:
    """The server's side of one session."""
    peer = stream.transport.peer
    with suppress(SessionOver, ValueError):  # Over, or a line too long for the reader.
        async for line in stream.reader:
            stream.transport.write(b"%s, %s!\n" % (line.strip().upper(), str(peer).encode()))
    stream.transport.loseConnection()
    print(f"{peer}: {await stream.closed}", flush=True)


async def serve(reactor: Any, description: str) -> None:
    factory = Factory.forProtocol(partial(Stream, shout))
    listening = endpoints.serverFromString(reactor, description).listen(factory)
    port = await listening.asFuture(asyncio.get_running_loop())
    print(f"listening on {port.getHost()}", flush=True)
    await asyncio.Event().wait()


async def connect(reactor: Any, description: str) -> None:
    endpoint = endpoints.clientFromString(reactor, description)
    connecting = endpoints.connectProtocol(endpoint, Stream())
    stream = await connecting.asFuture(asyncio.get_running_loop())
    for line in (b"hello", b"goodbye"):
        stream.transport.write(line + b"\n")
        answer = await asyncio.wait_for(stream.reader.readline(), timeout=30)
        print(answer.decode().strip())
    stream.transport.loseConnection()
    print(await stream.closed)


async def main(reactor: Any, role: str, description: str) -> None:
    work = serve if role == "server" else connect
    working = loop.create_task(work(reactor, description))
    reactor.addSystemEventTrigger("before", "shutdown", working.cancel)
    try:
        await Deferred.fromFuture(working)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


loop = asyncio.new_event_loop()
asyncioreactor.install(loop)  # Before anything imports the reactor.
task.react(main, sys.argv[1:])
