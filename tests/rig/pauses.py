"""
A reader that pauses for many TTLs, or is very slow, costs no session and no memory.

Server and client are in one process, over the loopback. Six sessions at once, each way over
``thing:``, with messages, and with a stream, are read until their windows have grown; then the
reader pauses for five TTLs, and goes on. Beside them sessions are read at 10 kB/s by pausing and
resuming. No session may be lost, and no more be held than the windows allow.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from benchmarks import credentials
from benchmarks.processes import memoryOf
from tests.rig import check as rig
from thing import (
    AuthorizedThings,
    ClientSettings,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)
from thing.core.window import MAX_WINDOW
from thing.trust.keys import fingerprint, parsePublicKey

MIB = 1 << 20
CHUNK = bytes(16384)

PAUSED_TTL = 2.0
"""The TTL of the sessions that pause, seconds."""

TTLS = 5
"""For how many TTLs they pause."""

GROWN = 16 * MIB
"""After so many octets the windows have grown."""

SLOW = 10_000.0
"""What a slow reader takes, octets a second."""

SLACK = 32 * MIB
"""How much more memory the process may take than the windows: queues and what Python keeps."""

LABEL = "bulk"


@dataclass(frozen=True)
class Row:
    """One session, and how it is read."""

    kind: str
    """``thing:``, ``messages`` or ``stream``."""
    up: bool
    """Whether the client sends."""
    ttl: float
    """Seconds."""
    slow: float = 0.0
    """For how many seconds it is read slowly; zero to pause."""
    ttls: int = TTLS
    """For how many TTLs it pauses."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        how = f"10 kB/s for {self.slow:.0f} s" if self.slow else f"paused for {self.ttls} TTLs"
        return f"{self.kind}, {'up' if self.up else 'down'}, TTL {self.ttl:g} s, {how}"


class Sending:
    """A pull producer that always has more."""

    def __init__(self, consumer: Any, left: int = sys.maxsize) -> None:
        """
        :param consumer: what it writes to.
        :param left: how many octets.
        """
        self._consumer = consumer
        self._left = left
        consumer.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write some more (``IPullProducer``)."""
        some = CHUNK[: self._left]
        self._left -= len(some)
        self._consumer.write(some)
        if not self._left:
            self._consumer.unregisterProducer()
            self._consumer.loseConnection()

    def stopProducing(self) -> None:
        """Write no more (``IPullProducer``)."""


class Reading:
    """Takes octets in the way of its row."""

    def __init__(self, reactor: Any, row: Row, paused: Callable[[], object]) -> None:
        """
        :param reactor: the reactor.
        :param row: how to read.
        :param paused: is called when the long pause ends.
        """
        self.row = row
        self.received = 0
        self.lost = ""
        self.ended: Deferred[Reading] = Deferred()
        self.reactor = reactor
        self._paused = paused
        self._producer: Any = None
        self._until = 0.0

    def begin(self, producer: Any) -> None:
        """
        What is read is there.

        :param producer: it is paused and resumed.
        """
        self._producer = producer
        self._until = time.monotonic() + self.row.slow

    def take(self, data: bytes) -> None:
        """
        Take what came.

        :param data: the octets.
        """
        before, self.received = self.received, self.received + len(data)
        if self.row.slow:
            if time.monotonic() >= self._until:
                self.end("")
            else:
                self._pause(len(data) / SLOW)
        elif before < GROWN <= self.received:
            self._pause(self.row.ttls * self.row.ttl, self._paused)
        elif before < 2 * GROWN <= self.received:
            self.end("")

    def _pause(self, seconds: float, *after: Callable[[], object]) -> None:
        self._producer.pauseProducing()

        def resume() -> None:
            for each in after:
                each()
            self._producer.resumeProducing()

        self.reactor.callLater(seconds, resume)

    def end(self, lost: str) -> None:
        """
        It is over.

        :param lost: why, if it was lost.
        """
        if not self.ended.called:
            self.lost = lost
            self.ended.callback(self)


class Octets(Protocol):
    """One end of an ordinary protocol, over ``thing:`` or in a stream."""

    def __init__(self, reading: Reading, sends: bool) -> None:
        """
        :param reading: what takes what comes.
        :param sends: whether this is the other end.
        """
        self._reading, self._sends = reading, sends

    def connectionMade(self) -> None:
        """Begin."""
        if self._sends:
            Sending(self.transport)
        else:
            self._reading.begin(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Take it.

        :param data: the octets.
        """
        self._reading.take(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It is over.

        :param reason: why.
        """
        self._reading.end(str(reason.value))


class Messages(ThingProtocol):
    """One end of a session of messages."""

    def __init__(self, reading: Reading, sends: bool) -> None:
        """
        :param reading: what takes what comes.
        :param sends: whether this is the other end.
        """
        self._reading, self._sends = reading, sends

    def handshakeCompleted(self) -> None:
        """Begin."""
        if self._sends:
            Sending(self)
        else:
            self._reading.begin(self)

    def messageReceived(self, message: bytes) -> None:
        """
        Take it.

        :param message: the octets.
        """
        self._reading.take(message)

    def terminated(self, termination: Any) -> None:
        """
        It is over.

        :param termination: how.
        """
        self._reading.end(str(termination))


class Site:
    """Makes sessions between a server and a client of this process."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        """
        :param reactor: the reactor.
        :param directory: for the credentials; empty.
        """
        self.reactor = reactor
        self._directory = directory
        credentials.create(directory)
        public = parsePublicKey((directory / "thing-server.pub").read_text())
        self._known = fingerprint(public)

    async def connect(self, row: Row, reading: Reading) -> Any:
        """
        Have one session.

        :param row: of which kind.
        :param reading: what reads.
        :return: what ends it with ``loseConnection``, or None.
        """
        if row.kind == "thing:":
            return await self._connectOctets(row, reading)
        server, client = self.factories(row.ttl)
        if row.kind == "messages":
            server.protocol = lambda: Messages(reading, not row.up)
            client.protocol = lambda: Messages(reading, row.up)
            return await self.join(server, client)
        server.serve(LABEL, building(lambda: Octets(reading, not row.up)))
        session = await self.join(server, client)
        await session.streams.endpoint(LABEL).connect(building(lambda: Octets(reading, row.up)))
        return session

    async def _connectOctets(self, row: Row, reading: Reading) -> Any:
        directory = self._directory
        key = f"identity={directory / 'thing-server'}:authorized={directory / 'authorized'}"
        port = await serverFromString(self.reactor, f"thing:0:interface=127.0.0.1:{key}").listen(
            building(lambda: Octets(reading, not row.up))
        )
        known = self._known.removeprefix("SHA256:")
        key = f"identity={directory / 'thing-client'}:serverKey={known}:ttl={row.ttl:g}"
        return await clientFromString(
            self.reactor, f"thing:127.0.0.1:{port.getHost().port}:{key}"
        ).connect(building(lambda: Octets(reading, row.up)))

    def factories(self, ttl: float, streams: int = 100) -> tuple[ThingFactory[Any], ...]:
        """
        Make the factories of both sides.

        :param ttl: what the client asks for, seconds.
        :param streams: how many streams the other side may have open.
        :return: the server's and the client's.
        """
        settings = ServerSettings(credential=IdentityKey.load(self._directory / "thing-server"))
        capacity = settings.capacity._replace(maxStreams=streams)
        return (
            ThingFactory(
                ServerSettings(credential=settings.credential, capacity=capacity),
                AuthorizedThings(self._directory / "authorized"),
            ),
            ThingFactory(
                ClientSettings(
                    credential=IdentityKey.load(self._directory / "thing-client"),
                    requestedTtl=ttl,
                ),
                PinnedServers([self._known]),
            ),
        )

    async def join(self, server: ThingFactory[Any], client: ThingFactory[Any]) -> Any:
        """
        Connect a client to a server.

        :param server: the server's factory.
        :param client: the client's.
        :return: the client's protocol, once its session is up.
        """
        port = await serverFromString(self.reactor, "tcp:0:interface=127.0.0.1").listen(server)
        protocol = await clientFromString(
            self.reactor, f"tcp:127.0.0.1:{port.getHost().port}"
        ).connect(client)
        await protocol.whenEstablished()
        return protocol


def building(make: Callable[[], Protocol]) -> Factory:
    """A factory of protocols that are made in some way."""
    factory = Factory()
    factory.protocol = make
    factory.noisy = False
    return factory


def rows() -> list[Row]:
    """All sessions that there are at once."""
    kinds = [(kind, up) for kind in ("thing:", "messages", "stream") for up in (True, False)]
    slow = [(ttl, up) for ttl in (5.0, 30.0) for up in (True, False)]
    return [
        *(Row(kind, up, PAUSED_TTL) for kind, up in kinds),
        *(Row("thing:", up, ttl, 3 * ttl) for ttl, up in slow),
    ]


SHORT_ROWS = [Row("thing:", True, 1.0, ttls=2), Row("stream", False, 1.0, ttls=2)]


async def pause(reactor: Any, site: Site, rows: Sequence[Row]) -> list[rig.Row]:
    """
    Have the sessions that are paused and those that are slow.

    :param reactor: the reactor.
    :param site: makes them.
    :param rows: the sessions.
    :return: what became of each, and how much memory was taken at most.
    """
    before = memoryOf(os.getpid())
    grown: list[int] = []
    readings = [
        Reading(reactor, row, lambda: grown.append(memoryOf(os.getpid()) - before)) for row in rows
    ]
    sessions = [await site.connect(each.row, each) for each in readings]
    await gatherResults([each.ended for each in readings])
    for session in sessions:
        getattr(session, "transport", session).abortConnection()
    most, limit = max(grown, default=0), len(rows) * MAX_WINDOW + SLACK
    return [
        *(rig.Row(each.row.name, each.lost or "lives", not each.lost) for each in readings),
        rig.Row(
            f"memory for all {len(rows)}, {limit >> 20} MiB allowed",
            f"{most / MIB:.0f} MiB",
            most <= limit,
        ),
    ]


async def main(reactor: Any, rows: Sequence[Row]) -> list[rig.Row]:
    """
    Have them, with new keys.

    :param reactor: the reactor.
    :param rows: the sessions.
    :return: what was found.
    """
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as name:
        return await pause(reactor, Site(reactor, Path(name)), rows)


def check(short: bool) -> Iterator[rig.Row]:
    """All kinds of readers, or two of them."""
    yield from rig.reacting(main, SHORT_ROWS if short else rows())
