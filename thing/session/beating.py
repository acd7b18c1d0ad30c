"""
When a client beats: a steady schedule, in step with no other client's.

What a heartbeat is, and what follows from one that is missed, is decided in the core.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.logger import Logger
from thing.session.clock import callOff


class Beating:
    """
    One client's schedule of heartbeats; a server has none.

    :ivar interval: from one heartbeat to the next, seconds.
    """

    __slots__ = ("_clock", "_firstBeat", "_lastBeat", "_loop", "interval")
    _log = Logger()

    def __init__(self, beat: Callable[[], object], clock: IReactorTime) -> None:
        """
        :param beat: sends a heartbeat.
        :param clock: measures time.
        """
        from twisted.internet.task import LoopingCall  # It takes long to import.

        self._clock = clock
        self._loop = LoopingCall(beat)
        self._loop.clock = clock
        self._firstBeat: IDelayedCall | None = None
        self._lastBeat = 0.0
        self.interval = 0.0

    def start(self, interval: float, jitter: float) -> None:
        """
        Beat from a random moment of the first interval on: a fleet never beats in step.

        :param interval: from one heartbeat to the next, seconds.
        :param jitter: which moment, from 0 up to 1.
        """
        self.interval = interval
        self._startAfter(jitter * interval)

    def sent(self) -> None:
        """Note that a heartbeat is on its way."""
        self._lastBeat = self._clock.seconds()

    def changeInterval(self, interval: float) -> None:
        """
        Beat in another interval from now on, counted from the last beat.

        :param interval: the interval, seconds.
        """
        self.stop()
        self.interval = interval
        self._startAfter(max(0.0, self._lastBeat + interval - self._clock.seconds()))

    def _startAfter(self, wait: float) -> None:
        self._firstBeat = self._clock.callLater(wait, self._startLoop)

    def _startLoop(self) -> None:
        self._firstBeat = None
        self._loop.start(self.interval).addErrback(
            lambda failure: self._log.failure("A heartbeat failed", failure=failure)
        )

    def stop(self) -> None:
        """Beat no more."""
        first, self._firstBeat = self._firstBeat, None
        callOff(first)
        if self._loop.running:
            self._loop.stop()
