"""
How often something happens: what a server under a flood is to know, and what it is to say.

What follows from it is for who counts to decide.
"""

from __future__ import annotations

import math

WINDOW = 1.0
"""For how long a :class:`RateLimiter` counts by default before it begins anew, seconds."""

FAILURES_LOGGED = 10
"""How many failures of one sort are logged in :data:`FAILURES_WINDOW`, with their tracebacks."""

FAILURES_WINDOW = 60.0
"""For how long they are counted before that begins anew, seconds."""


class RecentCount:
    """How many of something there were lately: every second, each counts half as much."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0.0
        self._since = 0.0

    def count(self, now: float) -> float:
        """
        Count.

        :param now: the time, seconds.
        :return: how many there were lately.
        """
        return self._count * math.pow(0.5, now - self._since)

    def add(self, number: int, now: float) -> None:
        """
        Note some more, or some fewer: it turned out that they do not count.

        :param number: how many.
        :param now: the time, seconds.
        """
        self._count = max(0.0, self.count(now) + number)
        self._since = now


class RateLimiter:
    """Lets so many of something through in a time, and counts what it holds back."""

    def __init__(self, most: int, window: float = WINDOW) -> None:
        """
        :param most: how many get through.
        :param window: in how long, seconds.
        """
        self._most = most
        self._window = window
        self._passed = 0
        self._held = 0
        self._until = 0.0

    def passes(self, now: float) -> bool:
        """
        Decide about one more.

        :param now: the time, seconds.
        :return: whether it gets through; else it is counted.
        """
        if now >= self._until:
            self._until, self._passed = now + self._window, 0
        if self._passed < self._most:
            self._passed += 1
            return True
        self._held += 1
        return False

    def takeHeld(self, now: float) -> int:
        """
        Say how many were held back, once their time is over.

        :param now: the time, seconds.
        :return: how many since the last time; zero while they are still counted.
        """
        if now < self._until:
            return 0
        held, self._held = self._held, 0
        return held


class FailureLimiter:
    """
    Decides which failures of a program's own code are logged: of each sort so many.

    Many a peer can make such code fail, strangers among them: a traceback each time would fill a
    disk.
    """

    def __init__(self) -> None:
        """Nothing has failed."""
        self._limiters: dict[str, RateLimiter] = {}

    def judge(self, what: str, now: float) -> tuple[bool, int]:
        """
        Decide about one more.

        :param what: what has failed; one of few texts, each is a sort of its own.
        :param now: the time, seconds.
        :return: whether it is logged, and how many before it were not, if that is to be said now.
        """
        if what not in self._limiters:
            self._limiters[what] = RateLimiter(FAILURES_LOGGED, FAILURES_WINDOW)
        limiter = self._limiters[what]
        held = limiter.takeHeld(now)
        return limiter.passes(now), held
