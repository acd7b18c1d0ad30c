"""
:class:`Expiry`: a session ends when what its peer has proved is over.

When that is, and how often the wall clock is looked at, is decided in :mod:`thing.core.expiry`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.core.expiry import nextLook, whenAsked
from thing.session.clock import callOff


class Expiring(Protocol):
    """A session that can be told that its time is over."""

    def expire(self) -> None:
        """Ask the client to leave, since its credential has expired."""


E = TypeVar("E", bound=Expiring)


class Expiry(Generic[E]):
    """Tells the sessions whose credential has expired; one that never does costs nothing here."""

    def __init__(self, clock: IReactorTime, wallClock: Callable[[], float]) -> None:
        """
        :param clock: measures time.
        :param wallClock: tells the time, seconds since 1970.
        """
        self._clock = clock
        self._wallClock = wallClock
        self._calls: dict[E, IDelayedCall] = {}

    def begin(self, session: E, expires: float, chance: float) -> None:
        """
        See to it that a session is told in time.

        :param session: which has just begun.
        :param expires: when its credential is over, seconds since 1970.
        :param chance: a random number from 0 up to 1.
        """
        self._wait(session, whenAsked(expires, self._wallClock(), chance))

    def end(self, session: E) -> None:
        """
        Forget a session.

        :param session: which is over, or was never begun.
        """
        callOff(self._calls.pop(session, None))

    def _wait(self, session: E, due: float) -> None:
        left = nextLook(due, self._wallClock())
        self._calls[session] = self._clock.callLater(left, self._look, session, due)

    def _look(self, session: E, due: float) -> None:
        del self._calls[session]
        if self._wallClock() < due:
            self._wait(session, due)
        else:
            session.expire()
