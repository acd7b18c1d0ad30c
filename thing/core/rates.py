"""How often something happens: what a server under a flood is to know, and what it is to say."""

from __future__ import annotations

import math

WINDOW = 1.0
"""For how long a :class:`RateLimiter` counts by default before it begins anew, seconds."""


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
