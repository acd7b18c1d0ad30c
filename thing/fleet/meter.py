"""
The figures of one node: counted as things happen, read when somebody asks.

Counting is on the path of every heartbeat, so that it is a few additions and no more.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, ClassVar

from twisted.internet.interfaces import IDelayedCall

from thing.core.heartbeat import BEATS_PER_TTL
from thing.errors import EndReason, ErrorCode, Worded
from thing.events import (
    Cause,
    Event,
    HandshakeCompleted,
    HeartbeatLate,
    HeartbeatReceived,
    Terminated,
    Termination,
)
from thing.identity import Identity, Purpose
from thing.session.factory import ThingFactory
from thing.session.link import Link
from thing.session.protocol import ThingProtocol, linkOf

HANDSHAKE_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of handshakes: some milliseconds of work, some round trips, then the time limit."""

ROUND_TRIP_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From the same rack to a satellite, and beyond."""

LATENESS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of heartbeats; a TTL is some seconds or more."""

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Of the event loop."""

PAUSE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Of Python's collector."""

PROBE_INTERVAL = 0.5
"""How often the event loop's lag is measured, seconds."""

ESTABLISHED, RESUMED = "ESTABLISHED", "RESUMED"
"""The results of handshakes that came to a session; the others are named by their error."""

SILENT = "SILENT"
"""
The result of what was no handshake: a peer without an octet, who hung up as balancers do, or
waited for the server to speak first.
"""

OTHER = "OTHER"
"""In place of a number that has no name here."""

THING, GUEST = "thing", "guest"
"""Whose sessions end: things', and those of operators, other nodes and newcomers who join."""

_SILENCES = (Cause.TRUNCATED.name, ErrorCode.HANDSHAKE_TIMEOUT.name)
_CODES = (*(code.name for code in ErrorCode), OTHER)
_REASONS = tuple(reason.name for reason in EndReason)

RESULTS = (ESTABLISHED, RESUMED, SILENT, Cause.TRUNCATED.name, *_CODES)
"""All results of handshakes."""

ENDS = (
    *((Cause.GOODBYE.name, reason) for reason in ("", *_REASONS)),
    *((Cause.FLAT_LINED.name, reason) for reason in _REASONS),
    (Cause.TRUNCATED.name, ""),
    *((cause.name, code) for cause in (Cause.PROTOCOL_ERROR, Cause.ABORTED) for code in _CODES),
)
"""
All ends of a server's sessions, by cause and by code or reason.

They are told from the start, at zero: of a figure that is first seen at 50, nobody knows that it
grew.
"""


class Histogram:
    """
    How often a duration was how long.

    :ivar bounds: the upper bounds of the buckets; the last bucket has none.
    :ivar counts: how many durations are in each bucket.
    :ivar total: the sum of all, seconds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """:param bounds: the upper bounds, ascending."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """
        Count one.

        :param seconds: the duration.
        """
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class TrafficSum:
    """
    What went over sessions and handshakes.

    :ivar figures: octets in and out, messages in and out, waits for credit.
    """

    __slots__ = ("figures",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self.figures = (0, 0, 0, 0, 0)

    def add(self, protocols: Iterable[ThingProtocol]) -> None:
        """
        Add the traffic of sessions.

        :param protocols: the sessions.
        """
        octetsIn, octetsOut, messagesIn, messagesOut, stalls = self.figures
        for each in protocols:
            octetsIn += each.octetsReceived
            octetsOut += each.octetsSent
            messagesIn += each.messagesReceived
            messagesOut += each.messagesSent
            stalls += each.creditStalls
        self.figures = octetsIn, octetsOut, messagesIn, messagesOut, stalls


class Meter:
    """
    Counts what happens to the sessions of one factory.

    :ivar factory: whose sessions they are.
    :ivar handshakes: handshakes that are over, by result.
    :ivar handshakeTimes: how long they took, by whether they came to a session; of those that
        began at all.
    :ivar joined: sessions of things that came up.
    :ivar terminations: sessions that ended, by cause, by the code or the reason, and by whose they
        were: things' or guests'.
    :ivar heartbeats: how many came.
    :ivar late: how many were missed.
    :ivar roundTrips: what clients measured.
    :ivar lateness: how much later than agreed heartbeats came.
    :ivar loopLag: how late the event loop called.
    :ivar pauses: for how long Python's collector stopped the process.
    """

    def __init__(self, factory: ThingFactory) -> None:
        """:param factory: a server's factory, with no session yet; it is observed from now on."""
        self.factory = factory
        self.handshakes = Counter(dict.fromkeys(RESULTS, 0))
        self.handshakeTimes = {up: Histogram(HANDSHAKE_BOUNDS) for up in (True, False)}
        self.joined = 0
        self.terminations = Counter({(*end, peer): 0 for end in ENDS for peer in (THING, GUEST)})
        self.heartbeats = 0
        self.late = 0
        self.roundTrips = Histogram(ROUND_TRIP_BOUNDS)
        self.lateness = Histogram(LATENESS_BOUNDS)
        self.loopLag = Histogram(LAG_BOUNDS)
        self.pauses = Histogram(PAUSE_BOUNDS)
        self._pausedAt = 0.0
        self._ended = TrafficSum()
        self._due: dict[Link[Any], float] = {}
        self._probe: IDelayedCall | None = None
        factory.observers.append(self.observe)

    # What happens.

    def observe(self, protocol: ThingProtocol, event: Event) -> None:
        """
        Take note of an event of the factory's.

        :param protocol: whose it is.
        :param event: the event.
        """
        handler = self._HANDLERS.get(type(event))
        if handler is not None:
            handler(self, protocol, event)

    def _handshakeCompleted(self, protocol: ThingProtocol, event: HandshakeCompleted) -> None:
        self.joined += whoseOf(event.session.peer) == THING
        self._countHandshake(protocol, RESUMED if event.session.resumed else ESTABLISHED)

    def _countHandshake(self, protocol: ThingProtocol, result: str) -> None:
        self.handshakes[result] += 1
        taken = self.factory.handshakeTime(protocol)
        if taken is not None and result != SILENT:  # Else it was turned away before it began.
            self.handshakeTimes[result in (ESTABLISHED, RESUMED)].add(taken)

    def _heartbeatReceived(self, protocol: ThingProtocol, event: HeartbeatReceived) -> None:
        self.heartbeats += 1
        if event.roundTripTime is not None:
            self.roundTrips.add(event.roundTripTime)
        now = self.factory.clock.seconds()
        link = linkOf(protocol)  # A user's protocol may have no hash.
        due = self._due.get(link)
        if due is not None:  # The first one comes when it likes.
            self.lateness.add(max(0.0, now - due))
        self._due[link] = now + event.ttl / BEATS_PER_TTL

    def _heartbeatLate(self, protocol: ThingProtocol, event: HeartbeatLate) -> None:
        self.late += 1

    def _terminated(self, protocol: ThingProtocol, event: Terminated) -> None:
        self._due.pop(linkOf(protocol), None)
        self._ended.add((protocol,))
        termination = event.termination
        cause, reason = termination.cause.name, reasonOf(termination)
        if protocol.peer is not None:
            self.terminations[cause, reason, whoseOf(protocol.peer)] += 1
        elif protocol.silent and (reason or cause) in _SILENCES:
            self._countHandshake(protocol, SILENT)
        else:
            self._countHandshake(protocol, reason or cause)

    _HANDLERS: ClassVar[dict[type[Any], Callable[[Meter, ThingProtocol, Any], None]]] = {
        HandshakeCompleted: _handshakeCompleted,
        HeartbeatReceived: _heartbeatReceived,
        HeartbeatLate: _heartbeatLate,
        Terminated: _terminated,
    }

    # The event loop.

    def start(self) -> None:
        """Measure the event loop's lag and the collector's pauses from now on."""
        if self._probe is None:
            gc.callbacks.append(self._collected)
            self._lookAhead()

    def _lookAhead(self) -> None:
        clock = self.factory.clock
        due = clock.seconds() + PROBE_INTERVAL
        self._probe = clock.callLater(PROBE_INTERVAL, self._probed, due)

    def _probed(self, due: float) -> None:
        self.loopLag.add(max(0.0, self.factory.clock.seconds() - due))
        self._lookAhead()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        now = perf_counter()
        if phase == "start":
            self._pausedAt = now
        else:
            self.pauses.add(now - self._pausedAt)

    def stop(self) -> None:
        """Measure them no more."""
        if self._probe is not None:
            gc.callbacks.remove(self._collected)
            self._probe.cancel()
            self._probe = None

    # What can be asked.

    @property
    def left(self) -> int:
        """How many sessions of things have ended."""
        return sum(count for end, count in self.terminations.items() if end[2] == THING)

    @property
    def openStreams(self) -> int:
        """How many streams are open in all sessions, besides their main ones."""
        return sum(each.openStreams for each in self.factory.everybody)

    @property
    def streamOctets(self) -> dict[tuple[str, str], int]:
        """Octets of streams, by what is served in them and by direction."""
        return {
            (label, direction): getattr(tally, direction)
            for label, tally in self.factory.served.tallies()
            for direction in ("received", "sent")
        }

    @property
    def traffic(self) -> tuple[int, int, int, int, int]:
        """
        Octets in and out, messages in and out, waits for credit.

        They are of all sessions that are up and of all that is over.
        """
        traffic = TrafficSum()
        traffic.figures = self._ended.figures
        traffic.add(self.factory.everybody)
        return traffic.figures


def whoseOf(peer: Identity) -> str:
    """
    Tell whether a peer is a thing.

    :param peer: who has a session.
    :return: :data:`THING` or :data:`GUEST`.
    """
    return THING if peer.purpose is Purpose.THING else GUEST


def reasonOf(termination: Termination) -> str:
    """
    Name why a session ended.

    :param termination: how it ended.
    :return: the name of the code, or of the reason; :data:`OTHER` for a number that is not known,
        as a peer may choose any; empty if there is none.
    """
    number = termination.code if termination.code is not None else termination.reason
    if number is None:
        return ""
    return number.name if isinstance(number, Worded) else OTHER
