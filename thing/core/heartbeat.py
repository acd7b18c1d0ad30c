"""
Liveness: what TTL is granted, when a client beats, and when a peer is late or dead.

Specification, "Heartbeat" and "Timing and liveness". Nothing here reads a clock; times are
seconds on one monotonic clock and come as arguments. Each call costs O(1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from thing.arguments import checkNumber
from thing.core.messages import CHB, MAX_TTL, MIN_INTERVAL, MIN_TTL, SUU, UNKNOWN_RTT
from thing.errors import BadArgument, ErrorCode, RemoteProtocolError

BEATS_PER_TTL = 3
"""How many beats a client sends in one TTL: two may be lost, the third renews."""

LATE_TOLERANCE = 0.05
"""A deadline that is seen later than this was missed by this side's own stall, seconds."""

STILL_GRACE = 1.0
"""The least grace of a side that did not see half a TTL pass, and the most of a client, seconds."""


@dataclass(frozen=True, slots=True)
class TtlPolicy:
    """
    What TTL a server grants (specification, "The granted TTL").

    The grant is what the client asked for, or :attr:`default`, within
    :attr:`minimum` and :attr:`maximum`; and never so short that the fleet
    would beat more than :attr:`beatsPerSecond` times a second:
    ``ttl >= 3 * sessions / beatsPerSecond``. The maximum holds all the same.
    """

    default: float = 30.0
    """Granted to a client that does not ask, seconds."""

    minimum: float = 1.0
    """The shortest TTL granted, seconds."""

    maximum: float = 3600.0
    """The longest TTL granted, seconds."""

    beatsPerSecond: float = 5000.0
    """How many heartbeats the server is willing to take from its whole fleet."""

    def __post_init__(self) -> None:
        """
        :raises TypeError: if one is no number.
        :raises BadArgument: if the numbers do not fit together.
        """
        for name in ("default", "minimum", "maximum"):
            checkNumber(f"TTL: {name}", getattr(self, name))
        checkNumber("TTL: beatsPerSecond", self.beatsPerSecond, "heartbeats a second")
        legal = MIN_TTL / 1000 <= self.minimum <= self.default <= self.maximum <= MAX_TTL / 1000
        if not legal:
            raise BadArgument(
                f"TTL: {MIN_TTL / 1000:g} <= minimum {self.minimum:g} <= default {self.default:g}"
                f" <= maximum {self.maximum:g} <= {MAX_TTL / 1000:g} seconds must hold"
            )

    def grant(self, requested: float | None, sessions: int) -> float:
        """
        Decide a TTL.

        :param requested: what the client asked for, seconds, or None.
        :param sessions: how many sessions the server has.
        :return: the TTL, seconds.
        """
        ttl = self.default if requested is None else requested
        ttl = max(ttl, self.minimum, BEATS_PER_TTL * sessions / self.beatsPerSecond)
        return min(ttl, self.maximum)


def toMilliseconds(seconds: float) -> int:
    """
    A duration as it goes over the wire.

    :param seconds: the duration, seconds.
    :return: whole milliseconds, within an unsigned 32-bit integer.
    """
    return max(0, min(round(seconds * 1000), 0xFFFFFFFF))


@lru_cache(maxsize=64)
def scheduleOf(ttl: float) -> tuple[int, int]:
    """
    A TTL and its beat interval as they go over the wire.

    :param ttl: the TTL, seconds.
    :return: both, milliseconds.
    """
    return toMilliseconds(ttl), toMilliseconds(ttl / BEATS_PER_TTL)


def checkSchedule(ttl: int, interval: int) -> None:
    """
    Refuse a TTL or a beat interval that no server may grant.

    :param ttl: milliseconds.
    :param interval: milliseconds.
    :raises RemoteProtocolError: ``TTL_OUT_OF_BOUNDS``.
    """
    if not (MIN_TTL <= ttl <= MAX_TTL and MIN_INTERVAL <= interval <= ttl // 2):
        raise RemoteProtocolError(
            ErrorCode.TTL_OUT_OF_BOUNDS, f"TTL {ttl} ms, interval {interval} ms"
        )


class Deadline:
    """
    A moment after which the peer has had its chance, fair to a side that stalled itself.

    Seen past for the first time, it asks to be looked at again, after what the
    network already delivered has been read. If it was seen *late*, this side
    was not there to read, and the peer gets as much time again as it was late;
    but from that first look on no more than :attr:`patience` in all.
    """

    __slots__ = ("_limit", "due", "patience")

    def __init__(self, due: float, patience: float) -> None:
        """
        :param due: the moment, seconds.
        :param patience: how much time may be added after the first look, seconds.
        """
        self.set(due, patience)

    def set(self, due: float, patience: float) -> None:
        """
        Start afresh.

        :param due: the moment, seconds.
        :param patience: how much time may be added after the first look, seconds.
        """
        self.due = due
        self.patience = patience
        self._limit: float | None = None

    def expired(self, now: float) -> bool:
        """
        Whether the peer has had its chance; False may move :attr:`due`.

        :param now: the time, seconds.
        :return: whether the deadline is over.
        """
        if now < self.due:
            return False
        if self._limit is None:
            self._limit = now + self.patience
        elif now <= self.due + LATE_TOLERANCE or now >= self._limit:
            return True
        self.due = min(now + (now - self.due), self._limit)
        return False


class Verdict(Enum):
    """What a look at the clock finds."""

    ALIVE = "nothing to report"
    LATE = "overdue for the first time since it was last heard"
    DEAD = "silent for a TTL, and reading once more brought nothing"
    OUT_OF_TIME = "a handshake or an orderly close took too long"


class Watch(Deadline):
    """
    Watches one peer's silence.

    A peer is late after half a TTL, and dead when the deadline of a whole TTL has expired.

    :ivar nextCheck: when :meth:`check` wants to be called next, seconds.
    """

    __slots__ = ("_last", "_late", "_patient", "_ttl", "nextCheck")

    def __init__(self, ttl: float, now: float, patient: bool = True) -> None:
        """
        :param ttl: the TTL, seconds.
        :param now: the time, seconds.
        :param patient: whether this side's lateness gives the peer up to a TTL more.
            A client's does not: it did not beat meanwhile, so the server has most likely
            ended the session, and the sooner it connects again the better. It waits only
            for the server's word, or for a server that stood still together with it.
        """
        self._patient = patient
        self.renew(now, ttl)

    def renew(self, now: float, ttl: float) -> None:
        """
        The peer gave its sign of life.

        :param now: the time, seconds.
        :param ttl: the TTL from now on, seconds.
        """
        self._ttl = ttl
        self._last = now
        self._late = False
        self.due = now + ttl
        self.patience = ttl if self._patient else min(ttl, STILL_GRACE)
        self._limit = None
        self.nextCheck = now + ttl / 2

    def remaining(self, now: float) -> float:
        """
        How long the peer still has.

        :param now: the time, seconds.
        :return: seconds, not negative.
        """
        return max(0.0, self.due - now)

    def _schedule(self) -> None:
        if self._late:
            self.nextCheck = self.due
        else:
            self.nextCheck = min(self._last + self._ttl / 2, self.due)

    def silence(self, now: float) -> float:
        """
        How long the peer has been silent.

        :param now: the time, seconds.
        :return: seconds.
        """
        return now - self._last

    def check(self, now: float) -> Verdict:
        """
        Judge the peer; to be called at :attr:`nextCheck`.

        :param now: the time, seconds.
        :return: the verdict.
        """
        verdict = self._judge(now)
        self._schedule()
        return verdict

    def _judge(self, now: float) -> Verdict:
        if self.expired(now):
            return Verdict.DEAD
        if not self._late and now >= self._last + self._ttl / 2:
            self._late = True
            if self._limit is not None:  # Half a TTL and more went by unseen.
                self.due = min(max(self.due, now + STILL_GRACE), self._limit)
            return Verdict.LATE
        return Verdict.ALIVE


class Pulse:
    """
    The client's heartbeats: one outstanding at a time, numbered from one, on a steady schedule.

    They follow the schedule, and one that is answered late makes none later. But where the answer
    has taken more than half of a TTL the next one cannot wait for its time as well.

    :ivar due: when the next one is to be made, seconds.
    :ivar roundTripTime: what was measured last, seconds, or None.
    """

    __slots__ = (
        "_interval", "_lastAt", "_scheduled", "_sequence", "_waiting", "due", "roundTripTime",
    )  # fmt: skip

    def __init__(self) -> None:
        """Start before the first heartbeat."""
        self._sequence = 0
        self._waiting = False
        self._interval = self._lastAt = 0.0
        self.due = self._scheduled = math.inf
        self.roundTripTime: float | None = None

    def begin(self, now: float, interval: float, jitter: float) -> None:
        """
        Beat from a random moment of the first interval on: a fleet never beats in step.

        :param now: the time, seconds.
        :param interval: from one heartbeat to the next, seconds.
        :param jitter: which moment, from 0 up to 1.
        """
        self._interval = interval
        self.due = self._scheduled = now + jitter * interval

    def keepTime(self, now: float) -> CHB | None:
        """
        Make the next heartbeat if it is due by now.

        What was missed while this side stood still is not made up for.

        :param now: the time, seconds.
        :return: the heartbeat, or None if it is not time, or while one is outstanding.
        """
        if now < self.due:
            return None
        if now >= self._scheduled:
            self._scheduled += self._interval * ((now - self._scheduled) // self._interval + 1)
        self.due = self._scheduled
        return self.beat(now)

    def beat(self, now: float) -> CHB | None:
        """
        Make the next heartbeat.

        :param now: the time, seconds.
        :return: the heartbeat, or None while one is outstanding.
        """
        if self._waiting:
            return None
        self._waiting, self._lastAt = True, now
        self._sequence += 1
        rtt = UNKNOWN_RTT
        if self.roundTripTime is not None:
            rtt = min(round(self.roundTripTime * 1e6), UNKNOWN_RTT)
        return CHB(self._sequence, rtt)

    def acknowledged(self, suu: SUU, now: float) -> float:
        """
        Take the acknowledgement; another interval counts from the last heartbeat.

        :param suu: the acknowledgement.
        :param now: the time, seconds.
        :return: the round-trip time, seconds.
        :raises RemoteProtocolError: if it is not for the outstanding heartbeat,
            or grants what may not be granted.
        """
        if not self._waiting or suu.sequence != self._sequence:
            raise RemoteProtocolError(
                ErrorCode.HEARTBEAT_SEQUENCE, f"SUU {suu.sequence}, sent {self._sequence}"
            )
        checkSchedule(suu.ttl, suu.interval)
        self.roundTripTime = max(0.0, now - self._lastAt)
        self._waiting = False
        interval = suu.interval / 1000
        if self._interval not in (0.0, interval):
            self._interval = interval
            self.due = self._scheduled = max(now, self._lastAt + interval)
        elif 2000 * self.roundTripTime > suu.ttl:
            self.due = min(self.due, now)
        return self.roundTripTime
