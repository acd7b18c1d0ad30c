"""
What a node's figures were in the last hour, day and week, in bounded memory and without a database.

Figures are read at each tick, and never while something happens. What is kept of them is of a
fixed size, however many things there are, and is by the steady clock: if the time of day is set,
what was keeps its distance from now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.fleet.local import LocalRegistry
from thing.fleet.meter import Meter
from thing.fleet.model import Kind

TICK = 10.0
"""How often the figures are read, seconds."""

SPANS = {"1h": (360, 1), "24h": (288, 30), "7d": (336, 180)}
"""Of each span how many points it has, and of how many ticks each: 10 s, 5 and 30 minutes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the figures of things are at one moment; all but the sessions only grow."""

    sessions: int
    """How many are up."""

    joined: int
    """How many have come up."""

    left: int
    """How many have ended."""

    heartbeats: int
    """How many have come."""

    messages: int
    """How many things have sent, requests among them."""

    roundTrips: tuple[int, ...]
    """How many heartbeats had a round trip of which bucket."""


@dataclass(frozen=True, slots=True)
class _Point:
    """What was between two readings."""

    end: float  # By the steady clock, seconds, as is all here.
    seconds: float
    sessions: int
    joined: int
    left: int
    heartbeats: int
    messages: int
    p50: float | None
    p99: float | None


class _Ring:
    """The points of one span; the oldest goes when a new one comes."""

    def __init__(self, size: int, ticks: int, first: Reading, now: float) -> None:
        self.points: deque[_Point] = deque(maxlen=size)
        self._ticks = ticks
        self._left = ticks
        self._since, self._begun = first, now

    def tick(self, reading: Reading, now: float, bounds: Sequence[float]) -> None:
        """Take a reading; every so many make a point."""
        self._left -= 1
        if self._left == 0:
            self.points.append(self.pointUntil(reading, now, bounds))
            self._left = self._ticks
            self._since, self._begun = reading, now

    @property
    def open(self) -> bool:
        """Whether readings were taken that are in no point yet."""
        return self._left < self._ticks

    def pointUntil(self, reading: Reading, now: float, bounds: Sequence[float]) -> _Point:
        """What was since the last point."""
        since = self._since
        trips = [new - old for new, old in zip(reading.roundTrips, since.roundTrips, strict=True)]
        return _Point(
            end=now,
            seconds=now - self._begun,
            sessions=reading.sessions,
            joined=reading.joined - since.joined,
            left=reading.left - since.left,
            heartbeats=reading.heartbeats - since.heartbeats,
            messages=reading.messages - since.messages,
            p50=quantile(0.5, trips, bounds),
            p99=quantile(0.99, trips, bounds),
        )


class History:
    """The figures of one node over each of :data:`SPANS`."""

    def __init__(
        self,
        read: Callable[[], Reading],
        bounds: Sequence[float],
        clock: IReactorTime,
        wallClock: Callable[[], float],
    ) -> None:
        """
        :param read: tells what the figures are now, at a cost that does not grow with the fleet.
        :param bounds: the upper bounds of the buckets of round trips; the last bucket has none.
        :param clock: measures time.
        :param wallClock: tells the time of day, seconds.
        """
        self._read = read
        self._bounds = bounds
        self._clock = clock
        self._wallClock = wallClock
        self._tick: IDelayedCall | None = None
        self._latest, self._at = read(), clock.seconds()
        self._rings = {
            span: _Ring(size, ticks, self._latest, self._at)
            for span, (size, ticks) in SPANS.items()
        }

    def start(self) -> None:
        """Read the figures from now on."""
        if self._tick is None:
            self._tick = self._clock.callLater(TICK, self._ticked)

    def _ticked(self) -> None:
        self._tick = self._clock.callLater(TICK, self._ticked)
        self._latest, self._at = self._read(), self._clock.seconds()
        for ring in self._rings.values():
            ring.tick(self._latest, self._at, self._bounds)

    def stop(self) -> None:
        """Read them no more; what is known stays."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def told(self, span: str) -> dict[str, Any]:
        """
        Tell what was.

        :param span: one of :data:`SPANS`.
        :return: what JSON can hold: the usual length of a step, and lists, each with a value for
            every point, the oldest first. A point that is not over yet is told as it is.
        :raises KeyError: if there is no such span.
        """
        ring, now = self._rings[span], self._clock.seconds()
        size, ticks = SPANS[span]
        step = TICK * ticks
        points = [point for point in ring.points if point.end > now - size * step]
        if ring.open:
            points.append(ring.pointUntil(self._latest, self._at, self._bounds))
        ahead = self._wallClock() - now
        return {
            "span": span,
            "step": step,
            "at": [round(point.end + ahead, 3) for point in points],
            "seconds": [round(point.seconds, 3) for point in points],
            "sessions": [point.sessions for point in points],
            "joined": [point.joined for point in points],
            "left": [point.left for point in points],
            "heartbeats": [point.heartbeats for point in points],
            "messages": [point.messages for point in points],
            "roundTripP50": [point.p50 for point in points],
            "roundTripP99": [point.p99 for point in points],
        }


def quantile(share: float, counts: Sequence[int], bounds: Sequence[float]) -> float | None:
    """
    Estimate below what most of some durations are, as if each bucket were evenly filled.

    :param share: how many of them, from 0 to 1.
    :param counts: how many are in each bucket.
    :param bounds: the buckets' upper bounds, ascending, seconds; the last bucket has none.
    :return: the duration, seconds, to the microsecond; the largest bound if it is above that;
        None without any.
    """
    rank, below = share * sum(counts), 0.0
    if not rank:
        return None
    lower = 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= rank:
            return round(lower + (upper - lower) * (rank - below) / count, 6)
        below += count
        lower = upper
    return lower


def historyOf(meter: Meter, local: LocalRegistry) -> History:
    """
    Make the history of a node.

    :param meter: counts what happens to its sessions.
    :param local: knows its things.
    :return: the history; it begins when it is started.
    """

    def read() -> Reading:
        return Reading(
            sessions=len(meter.factory.sessions),
            joined=meter.joined,
            left=meter.left,
            heartbeats=meter.heartbeats,
            messages=local.told[Kind.MESSAGE],
            roundTrips=tuple(meter.roundTrips.counts),
        )

    return History(read, meter.roundTrips.bounds, meter.factory.clock, local.wallClock)
