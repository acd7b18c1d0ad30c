"""
:class:`FreshTrust`: a client trusts what its files of keys have when it connects.

A client that is always on outlives its certificate, and the lists of what is revoked: whoever
renews those files must not have to start it again. What a server does is in
:mod:`thing.trust.live`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from thing.errors import CredentialError
from thing.logger import Logger
from thing.trust.chosen import ClientChoice
from thing.trust.slices import inTurns


class FreshTrust:
    """
    Reads a client's files of keys again, if they have changed, before it connects.

    On any error all stays as it was until the next time, and the log says why, once as long as it
    lasts. Long lists are read in slices, while the reactor goes on.

    :ivar choice: what the files came to at last.
    """

    _log = Logger()

    def __init__(
        self,
        choice: ClientChoice,
        clock: IReactorTime,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param choice: what the client chose.
        :param clock: gives the reactor its turns.
        :param wallClock: tells the time, seconds since 1970.
        """
        self.choice = choice
        self._clock = clock
        self._wallClock = wallClock
        self._said: list[str] = []

    async def renewed(self) -> ClientChoice:
        """
        Have what the files have now.

        :return: the choice; the same one if no file has changed.
        """
        problems = []
        try:
            self.choice = await inTurns(self.choice.again(), lambda: deferLater(self._clock, 0.0))
        except CredentialError as error:
            problems.append(f"The keys stay as they were: {error}")
        now = datetime.fromtimestamp(self._wallClock(), timezone.utc)
        before, self._said = self._said, problems + self.choice.troubles(now)
        for trouble in self._said:
            if trouble not in before:
                self._log.warn("{trouble}", trouble=trouble)
        return self.choice
