"""A timer kept at the next deadline; which deadlines there are is decided in the core."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.session.clock import callOff


class DeadlineTimer:
    """One timer at one deadline; moving it later, as each heartbeat does, costs next to nothing."""

    __slots__ = ("_call", "_clock", "_due", "_passed", "_wakesAt")

    def __init__(self, clock: IReactorTime, passed: Callable[[float], object]) -> None:
        """
        :param clock: measures time.
        :param passed: is called once the deadline has passed, with how late that is, seconds.
        """
        self._clock = clock
        self._passed = passed
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._wakesAt = 0.0

    def set(self, deadline: float | None) -> None:
        """
        Move the deadline.

        :param deadline: the clock's seconds; None for no deadline.
        """
        if deadline is None:
            self.stop()
            return
        self._due = deadline
        if self._call is None:
            # A wait of zero is one turn of the reactor: what has arrived is read in between.
            self._wakesAt = deadline
            self._call = self._clock.callLater(self._wait(), self)  # A bound method is big.
        elif deadline < self._wakesAt:
            self._wakesAt = deadline
            self._call.reset(self._wait())

    def stop(self) -> None:
        """Have no deadline."""
        call, self._call = self._call, None
        callOff(call)

    def end(self) -> None:
        """There is no deadline any more, and nobody to be told of one."""
        self.stop()
        self._passed = _ignored

    def _wait(self) -> float:
        return max(0.0, self._due - self._clock.seconds())

    def __call__(self) -> None:
        """Look whether the deadline has passed; the clock calls this."""
        self._call = None
        late = self._clock.seconds() - self._due
        if late < 0:
            self.set(self._due)  # It was moved meanwhile.
        else:
            self._passed(late)


def _ignored(late: float) -> None:
    """Nobody waits."""
