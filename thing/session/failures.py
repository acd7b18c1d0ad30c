""":class:`Failures`: the log of what goes wrong in a program's own code, however often it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.python.failure import Failure

from thing.core.rates import FailureLimiter
from thing.logger import Logger
from thing.session.started import started


class Failures:
    """Logs failures; of each sort so many, and then how many there were."""

    def __init__(self, log: Logger, now: Callable[[], float]) -> None:
        """
        :param log: takes the lines.
        :param now: tells the time, seconds.
        """
        self._log = log
        self._now = now
        self._limiter = FailureLimiter()

    def guard(self, what: str, callback: Callable[..., object], *args: object) -> None:
        """
        Call something of the program's, which may be a coroutine; if it fails, log that and go on.

        :param what: as for :meth:`log`.
        :param callback: what to call.
        :param args: with what.
        """
        try:
            work = started(callback(*args))
        except KeyboardInterrupt:
            raise
        except BaseException:  # As in Twisted, sys.exit() in a callback ends no program.
            self.log(what)
        else:
            if work is not None:
                work.addErrback(partial(self.log, what))

    def log(self, what: str, failure: Failure | None = None) -> None:
        """
        Log one, unless it is one too many; the number of those is told with the next that is not.

        :param what: what has failed; one of few texts, each is a sort of its own.
        :param failure: how; by default the exception that is being handled.
        """
        logged, held = self._limiter.judge(what, self._now())
        if held:
            self._log.error("{what} ({count} more times)", what=what, count=held)
        if logged:
            self._log.failure("{what}", failure=failure, what=what)
