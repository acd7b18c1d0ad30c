"""
A thousand streams of one session are served alike, beside one that nobody reads.

Server and client are in one process, over the loopback. Each stream has to complete, and the last
may take no more than twice as long as the first.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.rig import check as rig
from tests.rig.pauses import LABEL, MIB, Sending, Site, building

STREAMS = 1000
SIZE = MIB

FAIR = 2.0
"""How many times as long as the first the last stream may take."""

LONGEST = 300.0
"""How long the streams may take at most, seconds."""


class Piece(Protocol):
    """Reads one of many streams, or does not."""

    def __init__(self, reads: bool = True) -> None:
        """:param reads: whether it does."""
        self._reads = reads
        self.received = 0
        self.ended: Deferred[float] = Deferred()

    def connectionMade(self) -> None:
        """Begin."""
        if not self._reads:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Count.

        :param data: the octets.
        """
        self.received += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It is over.

        :param reason: why.
        """
        self.ended.callback(time.monotonic() if self.received == SIZE else 0.0)


class Giving(Protocol):
    """Sends one of many streams."""

    def connectionMade(self) -> None:
        """Begin."""
        Sending(self.transport, SIZE)


async def crowd(site: Site, count: int, fair: float) -> rig.Row:
    """
    Have many streams in one session, and one that nobody reads.

    :param site: makes the session.
    :param count: how many streams.
    :param fair: how many times as long as the first the last may take.
    :return: what became of them.
    """
    server, client = site.factories(30.0, count + 1)
    server.serve(LABEL, building(Giving))
    session = await site.join(server, client)
    streams = session.streams.endpoint(LABEL, timeout=60.0)
    idle = Piece(reads=False)
    await streams.connect(building(lambda: idle))
    pieces = [Piece() for _ in range(count)]
    began = time.monotonic()
    opening = DeferredList([streams.connect(building(lambda each=each: each)) for each in pieces])
    await opening
    ends = await gatherResults([each.ended for each in pieces]).addTimeout(LONGEST, site.reactor)
    took = [end - began for end in ends if end]
    held = len(took) == count and max(took) <= fair * min(took) and session.termination is None
    session.transport.abortConnection()
    return rig.Row(
        f"{count} streams of 1 MiB beside one that nobody reads",
        f"{len(took)} complete, the first in {min(took):.1f} s, the last in {max(took):.1f} s",
        held,
    )


async def main(reactor: Any, count: int, fair: float) -> list[rig.Row]:
    """
    Have them, with new keys.

    :param reactor: the reactor.
    :param count: how many streams.
    :param fair: as of :func:`crowd`.
    :return: what was found.
    """
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as name:
        return [await crowd(Site(reactor, Path(name)), count, fair)]


def check(short: bool) -> Iterator[rig.Row]:
    """All of them, or as many as complete in a moment, however fairly."""
    yield from rig.reacting(main, *((STREAMS // 50, math.inf) if short else (STREAMS, FAIR)))
