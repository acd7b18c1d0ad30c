"""What :mod:`thing.asyncio` logs, and how often: by ``logging``, as ``thing.asyncio``."""

from __future__ import annotations

import asyncio
import logging
import sys

from thing.core.rates import FailureLimiter

log = logging.getLogger("thing.asyncio")


class Failures:
    """Logs failures of the program's code; of each sort so many, and then how many there were."""

    def __init__(self) -> None:
        """Nothing has failed."""
        self._limiter = FailureLimiter()

    def log(self, what: str) -> None:
        """
        Log one, with the exception that is being handled if any is, unless it is one too many.

        :param what: what has failed; one of few texts, each is a sort of its own.
        """
        logged, held = self._limiter.judge(what, asyncio.get_running_loop().time())
        if held:
            log.error("%s (%d more times)", what, held)
        if logged:
            log.error(what, exc_info=sys.exc_info()[0] is not None)
