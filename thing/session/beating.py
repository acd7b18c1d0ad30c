"""When a client beats: a steady schedule, in step with no other client's."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from thing.session.clock import callOff


class Beating:
    """
    One client's schedule of heartbeats; a server has none.

    :ivar interval: from one heartbeat to the next, seconds.
    """

    __slots__ = ("_beats", "_clock", "_first", "_last", "interval")
    _log = Logger()

    def __init__(self, beat: Callable[[], object], clock: IReactorTime) -> None:
        """
        :param beat: sends a heartbeat.
        :param clock: measures time.
        """
        from twisted.internet.task import LoopingCall  # It takes long to import.

        self._clock = clock
        self._beats = LoopingCall(beat)
        self._beats.clock = clock
        self._first: IDelayedCall | None = None
        self._last = 0.0
        self.interval = 0.0

    def start(self, interval: float, jitter: float) -> None:
        """
        Beat from a random moment of the first interval on: a fleet never beats in step.

        :param interval: from one heartbeat to the next, seconds.
        :param jitter: which moment, from 0 up to 1.
        """
        self.interval = interval
        self._after(jitter * interval)

    def sent(self) -> None:
        """Note that a heartbeat is on its way."""
        self._last = self._clock.seconds()

    def keep(self, interval: float) -> None:
        """
        Beat in another interval from now on, counted from the last beat.

        :param interval: the interval, seconds.
        """
        self.stop()
        self.interval = interval
        self._after(max(0.0, self._last + interval - self._clock.seconds()))

    def _after(self, wait: float) -> None:
        self._first = self._clock.callLater(wait, self._goOn)

    def _goOn(self) -> None:
        self._first = None
        self._beats.start(self.interval).addErrback(
            lambda failure: self._log.failure("A heartbeat failed", failure=failure)
        )

    def stop(self) -> None:
        """Beat no more."""
        first, self._first = self._first, None
        callOff(first)
        if self._beats.running:
            self._beats.stop()
