"""
:class:`Failures`: the log of what goes wrong in a program's own code, however often it does.

Many a peer can make such code fail, strangers among them: a traceback each time would fill a disk.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure

from thing.core.rates import RateLimiter
from thing.logger import Logger

FAILURES_LOGGED = 10
"""How many failures of one sort are logged in :data:`FAILURES_WINDOW`, with their tracebacks."""

FAILURES_WINDOW = 60.0
"""For how long they are counted before that begins anew, seconds."""


class Failures:
    """Logs failures; of each sort so many, and then how many there were."""

    def __init__(self, log: Logger, now: Callable[[], float]) -> None:
        """
        :param log: takes the lines.
        :param now: tells the time, seconds.
        """
        self._log = log
        self._now = now
        self._limiters: dict[str, RateLimiter] = {}

    def log(self, what: str, failure: Failure | None = None) -> None:
        """
        Log one, unless it is one too many; the number of those is told with the next that is not.

        :param what: what has failed; one of few texts, each is a sort of its own.
        :param failure: how; by default the exception that is being handled.
        """
        now = self._now()
        if what not in self._limiters:
            self._limiters[what] = RateLimiter(FAILURES_LOGGED, FAILURES_WINDOW)
        limiter = self._limiters[what]
        held = limiter.takeHeld(now)
        if held:
            self._log.error("{what} ({count} more times)", what=what, count=held)
        if limiter.passes(now):
            self._log.failure("{what}", failure=failure, what=what)
