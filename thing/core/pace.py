"""
:class:`Pace`: how much a transport is handed at a time, so that a heartbeat waits behind little.

A path is measured by what was handed over, and how long that took to leave. When to look at that,
and how, is the driver's: it has the transport and the clock.
"""

from __future__ import annotations

from thing.core.capacity import DATA_OVERHEAD
from thing.core.connection import WRITE_BATCH
from thing.core.messages import FRAGMENT_LIMIT
from thing.core.records import RECORD_LIMIT

FIRST_BATCH = FRAGMENT_LIMIT
"""How much at first, when nobody knows how quick the path is, octets."""

LEAST_BATCH = FRAGMENT_LIMIT // 2
"""The least, for the slowest path."""

LONG_RECORD = RECORD_LIMIT - DATA_OVERHEAD
"""How many octets of data a record has at most on a quick path."""

QUICK_BATCH = 2 * LONG_RECORD
"""The most, for the quickest path: fewer turns of the loop."""

QUICK = 0.01
"""What leaves within so many seconds tells of no bound."""

AHEAD = 0.1
"""For how long a path may be busy with one batch, seconds: a heartbeat waits behind it."""


class Pace:
    """
    What one path takes.

    :ivar batch: about how many octets to hand over at a time.
    :ivar longest: how many octets of data a record has at most: a batch ends with the record it
        began, so many only where the path is quick.
    :ivar unsentLimit: how many octets the kernel may hold unsent before it asks for more.
    """

    __slots__ = ("batch", "longest", "unsentLimit")

    def __init__(self) -> None:
        """Nobody knows yet."""
        self.batch = self.unsentLimit = FIRST_BATCH
        self.longest = FRAGMENT_LIMIT

    def measure(self, octets: int, took: float) -> bool:
        """
        Take note of how long something took to leave.

        :param octets: how much was handed over.
        :param took: how long until the kernel asked for more, seconds.
        :return: whether ``unsentLimit`` is another.
        """
        if took < QUICK:  # That little has left at once tells nothing of much.
            fits = max(self.batch, 2 * min(octets, self.batch))
        else:
            fits = int(octets * AHEAD / took)
        self.batch = max(LEAST_BATCH, min(fits, QUICK_BATCH))
        self.longest = LONG_RECORD if self.batch == QUICK_BATCH else FRAGMENT_LIMIT
        # It asks when a batch is nearly out, not when much is left of it.
        before, limit = self.unsentLimit, min(self.batch, WRITE_BATCH)
        if not before // 2 < limit < before * 2:
            self.unsentLimit = limit
        return self.unsentLimit != before
