"""
:class:`Expiry`: a session ends when what its peer has proved is over.

A certificate says by the wall clock when that is, and a wall clock can be set; so it is looked at
again and again, and no timer runs for longer than that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.session.clock import callOff

SPREAD = 60.0
"""How long after the end of its credential a session is asked to leave at most, seconds."""

SHARE = 0.1
"""That is also at most this share of the time for which the credential was still good."""

LOOK_INTERVAL = 60.0
"""How often the wall clock is looked at, seconds."""


class Expiring(Protocol):
    """A session that can be told that its time is over."""

    def expire(self) -> None:
        """Ask the client to leave, since its credential has expired."""


E = TypeVar("E", bound=Expiring)


class Expiry(Generic[E]):
    """
    Tells the sessions whose credential has expired; one that never does costs nothing here.

    Certificates that were issued together end together. So that their things do not come back as
    one, each session is told a random while later, within :data:`SPREAD` and :data:`SHARE`. Not
    before: who then came back with the same certificate would be asked to leave again.
    """

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
        left = max(0.0, expires - self._wallClock())
        self._wait(session, expires + chance * min(SPREAD, SHARE * left))

    def end(self, session: E) -> None:
        """
        Forget a session.

        :param session: which is over, or was never begun.
        """
        callOff(self._calls.pop(session, None))

    def _wait(self, session: E, due: float) -> None:
        left = min(LOOK_INTERVAL, max(0.0, due - self._wallClock()))
        self._calls[session] = self._clock.callLater(left, self._look, session, due)

    def _look(self, session: E, due: float) -> None:
        del self._calls[session]
        if self._wallClock() < due:
            self._wait(session, due)
        else:
            session.expire()
