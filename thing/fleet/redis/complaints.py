"""
Why a connection is down, and what the log says of it: each reason once, until it is up again.

When a connection is down, and when it is up, is for those to say who have it.
"""

from __future__ import annotations

MOST_REASONS = 10
"""How many different reasons are said of one outage; there may be a time of day in each."""


class Complaints:
    """
    The reasons for which a connection is down.

    :ivar reason: the latest, in one line; empty while it is up.
    """

    def __init__(self, borne: int = 0) -> None:
        """:param borne: of how many failures in a row nothing is said."""
        self.reason = "it is not up yet"
        self._borne = borne
        self._failures = 0
        self._said: set[str] = set()

    def isNew(self, reason: str) -> bool:
        """
        Tell whether a reason is to be said, and take it as said.

        :param reason: why the connection is down, in one line.
        :return: whether it was not said yet, and there were not too many others.
        """
        self._failures += 1
        if self._failures <= self._borne:
            return False
        if reason in self._said or len(self._said) >= MOST_REASONS:
            return False
        self._said.add(reason)
        return True

    def clear(self) -> None:
        """Say all anew from now on, as the connection is up."""
        self.reason = ""
        self._failures = 0
        self._said.clear()
