"""
How much a peer may send: the credit of one direction of a stream, and the window behind it.

Specification, "Credit". What is granted, spent and consumed is counted here, and how far the
window grows and falls back is decided here; what waits is kept elsewhere, and no clock is read.
"""

from __future__ import annotations

import math

from thing.errors import ErrorCode, RemoteProtocolError

RECORD_COST = 64
"""What a record in a stream's order spends besides its octets, so that empty ones are not free."""

MAX_WINDOW = 4 << 20
"""How far a window grows by default, octets: a path of 200 Mbit/s and 160 ms is filled."""

BRIEF = 0.01
"""A window may always hold what goes in so many seconds, and no rate is taken of less."""

QUEUE = 0.25
"""For how long what it holds beyond a round trip may wait on the path, seconds."""

FEW_RECORDS = 98304
"""A window of less holds so few records that they tell little of a rate, octets."""


class Budget:
    """
    What many windows may have together beyond their first, octets.

    There is one for all Connections, and for the streams of each a share of it.

    :ivar reserved: how much of it they have.
    """

    __slots__ = ("_most", "_total", "_whole", "reserved")

    def __init__(self, total: int, whole: Budget | None = None) -> None:
        """
        :param total: how much there is, octets.
        :param whole: the budget that this is a share of.
        """
        self._total = self._most = total
        self._whole = whole
        self.reserved = 0

    @property
    def short(self) -> bool:
        """Whether something was refused, and no eighth of it all has come back since."""
        return self.reserved > self._most or (self._whole is not None and self._whole.short)

    def reserve(self, octets: int) -> bool:
        """
        Ask for more.

        :param octets: how much.
        :return: whether it is granted.
        """
        if self.reserved + octets > self._total:
            self._most = max(0, self.reserved - self._total // 8)
            return False
        if self._whole is not None and not self._whole.reserve(octets):
            return False
        self.reserved += octets
        return True

    def release(self, octets: int) -> None:
        """
        Give back what was reserved.

        :param octets: how much.
        """
        self.reserved -= octets
        if self.reserved <= self._most:
            self._most = self._total
        if self._whole is not None:
            self._whole.release(octets)


class Window:
    """
    What this side grants for one direction of a stream.

    The window is what may be spent beyond what was consumed. It follows the rate of that, which is
    looked at once in a round trip, and falls back to the first when the budget is short.

    :ivar size: the window, octets.
    :ivar granted: how much the peer may have spent in all.
    """

    __slots__ = (
        "_before", "_budget", "_consumed", "_first", "_lookedAt", "_most", "_rate", "_received",
        "_reserved", "_whole", "granted", "size",
    )  # fmt: skip

    def __init__(
        self, first: int, now: float, budget: Budget, most: int = MAX_WINDOW, whole: int = 0
    ) -> None:
        """
        :param first: what the peer was granted at the beginning, octets.
        :param now: the time, seconds.
        :param budget: what bounds all windows together.
        :param most: how far this one may grow, octets.
        :param whole: the cost of the longest record that the peer cannot split, octets.
        """
        self.size = self.granted = self._first = first
        self._budget = budget
        self._most = most
        self._whole = whole
        self._received = self._consumed = self._before = self._reserved = 0
        self._lookedAt = now
        self._rate = math.inf

    def spend(self, cost: int) -> None:
        """
        The peer sent something.

        :param cost: what that spends, octets.
        :raises RemoteProtocolError: ``CREDIT_EXCEEDED`` if it was not granted.
        """
        self._received += cost
        if self._received > self.granted:
            raise RemoteProtocolError(
                ErrorCode.CREDIT_EXCEEDED, f"{self._received} of {self.granted} octets are spent"
            )

    def consume(self, cost: int, now: float, roundTrip: float) -> int | None:
        """
        The application has taken something that was spent for.

        :param cost: what it had cost, octets.
        :param now: the time, seconds.
        :param roundTrip: the shortest round trip that was seen, seconds.
        :return: how much to grant in all from now on; None if the peer need not be told yet.
        """
        self._consumed += cost
        if self._reserved:
            if self._budget.short:
                self.size = self._first
            if self.size == self._first >= self.granted - self._consumed:
                self.close()  # The peer has used up what it was granted before that.
                self._before, self._lookedAt = self._consumed, now
        gained = self._consumed + self.size - self.granted
        due = 4 * gained >= self.size
        if not due and (self._consumed != self._received or not self._isStuck()):
            return None
        if now - self._lookedAt >= max(roundTrip, BRIEF) and not self._budget.short:
            self._grow(now, roundTrip)
        credit = self._consumed + self.size
        if credit <= self.granted:
            return None
        self.granted = credit
        return credit

    def _isStuck(self) -> bool:
        """Whether a record that is not split might wait for ever, now that all was consumed."""
        return self.granted - self._received < self._whole

    def _grow(self, now: float, roundTrip: float) -> None:
        consumed, took = self._consumed - self._before, now - self._lookedAt
        self._before, self._lookedAt = self._consumed, now
        before, self._rate = self._rate, consumed / took
        rate = min(self._rate, 2 * before)  # What was held up on its way comes all at once.
        fits = rate * max(BRIEF, min(8 * roundTrip, roundTrip + max(QUEUE, roundTrip / 2)))
        if self.size < FEW_RECORDS:
            fits = max(fits, min(rate * 4 * roundTrip, FEW_RECORDS))
        more = int(min(fits, 2 * self.size, self._most)) - self.size
        if more > 0 and self._budget.reserve(more):
            self.size += more
            self._reserved += more

    def close(self) -> None:
        """Give back to the budget what this window had of it."""
        if self._reserved:
            self._budget.release(self._reserved)
            self._reserved = 0
