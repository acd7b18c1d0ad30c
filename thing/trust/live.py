"""
:class:`LiveTrust`: a server trusts what its files of keys have now.

Here the files are looked at and read again. What becomes of a new choice, in the sessions that
are up above all, is up to those who follow it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater

from thing.core.credentials import Credential, readCredential
from thing.errors import ThingError
from thing.logger import Logger
from thing.trust.chosen import ServerChoice
from thing.trust.files import Stamp, stampOf, unreadable
from thing.trust.slices import inTurns

INTERVAL = 1.0
"""How often the files are looked at, seconds; a change counts when it was seen twice."""


class LiveTrust:
    """
    Reads a server's files of keys again when they have changed, or when it is told to.

    On any error all stays as it was, and the log says why. What is not wrong enough for that, such
    as a list of revoked certificates whose time is over, it says once.

    Long lists are read in slices, while the reactor goes on and what was read before counts. Who
    asks for a reading while there is one gets the next, which begins when that one is done: it
    might have passed by what was changed meanwhile.

    :ivar choice: what the files come to now.
    :ivar followers: told each new choice. A follower puts it to use, and gives a Deferred that
        fires with how many sessions were asked to leave for it; what it raises is such an error.
    """

    _log = Logger()

    def __init__(
        self,
        choice: ServerChoice,
        clock: IReactorTime,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param choice: what the server chose.
        :param clock: tells when to look.
        :param wallClock: tells the time, seconds since 1970.
        """
        self.followers: list[Callable[[ServerChoice], Deferred[int]]] = []
        self.choice = choice
        self._clock = clock
        self._wallClock = wallClock
        self._asked: list[Deferred[list[Deferred[int]]]] = []
        self._pause: Deferred[None] = succeed(None)
        self._isReading = False
        self._begins = choice.nextBegin(self._now())
        self._said: list[str] = []
        self._known = self._seen = [stampOf(path) for path in choice.files]
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look at the files from now on."""
        if not self._looking.running:
            self._sayTroubles()
            self._looking.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look at them no more; a reading that has begun is given up."""
        if self._looking.running:
            self._looking.stop()
        self._pause.cancel()

    def look(self) -> None:
        """Look at the files, and read them again if they have changed, and change no more."""
        before, self._seen = self._seen, self._stamps()
        # Who writes a file in place empties it first: that must not revoke everybody.
        changed = self._seen != self._known and self._seen == before
        if changed or (self._begins is not None and self._begins <= self._now()):
            self.reload()
        self._sayTroubles()

    def reload(self) -> Deferred[int]:
        """
        Read those of the files again that have changed, all or nothing; the outcome is logged.

        :return: fires with how many sessions were asked to leave for it, once all are reviewed.
        """
        return self._renew().addCallback(gatherResults).addCallback(sum)

    def refresh(self) -> Deferred[None]:
        """
        Do as :meth:`reload`, and let the sessions be reviewed in their own time.

        :return: fires once what the files have counts.
        """
        return self._renew().addCallback(lambda _: None)

    def _renew(self) -> Deferred[list[Deferred[int]]]:
        """Have the files read; fires with what the followers gave."""
        asked = Deferred[list[Deferred[int]]]()
        self._asked.append(asked)
        if not self._isReading:
            self._begin()
        return asked

    def _begin(self) -> None:
        self._isReading = True
        asked, self._asked = self._asked, []
        Deferred.fromCoroutine(self._read()).addBoth(self._done, asked)

    def _done(self, result: Any, asked: list[Deferred[Any]]) -> None:
        """A reading is over; begin the next, if somebody has asked since."""
        self._isReading = False
        if self._asked:
            self._begin()
        for each in asked:
            each.callback(result)

    async def _read(self) -> list[Deferred[int]]:
        self._known = self._stamps()
        self._begins = None
        try:
            choice = await inTurns(self.choice.again(), self._nextTurn)
            reviews = [follow(choice) for follow in self.followers]
        except CancelledError:
            self._known = [None] * len(self._known)  # They are read when it starts again.
            return []
        except Exception as error:
            self._log.error("Not reloaded, all stays as it was: {reason}", reason=_reasonOf(error))
            return []
        self.choice = choice
        self._begins = choice.nextBegin(self._now())
        following = choice.nextCredential
        self._log.info(
            "Reloaded: the server's key is {fingerprint}{next}{admitted}",
            fingerprint=fingerprintOf(choice.credentials[0]),
            next="" if following is None else f", the next one {fingerprintOf(following)}",
            admitted="" if choice.things is None else f"; keys authorized: {choice.things}",
        )
        return reviews

    def _nextTurn(self) -> Deferred[None]:
        self._pause = deferLater(self._clock, 0.0)
        return self._pause

    def _stamps(self) -> list[Stamp]:
        return list(map(stampOf, self.choice.files, self._known))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wallClock(), timezone.utc)

    def _sayTroubles(self) -> None:
        """Say what is wrong, each thing once as long as it lasts."""
        before, self._said = self._said, self.choice.troubles(self._now())
        for trouble in self._said:
            if trouble not in before:
                self._log.error("{trouble}", trouble=trouble)

    def sayUnreadable(self) -> None:
        """Say, once the process has the rights that it will have, what it cannot follow."""
        for line in unreadable(self.choice.files):
            self._log.warn("{line}", line=line)
        if self.choice.tickets is not None:
            self.choice.tickets.sayUnwritable()


def fingerprintOf(credential: Credential) -> str:
    """
    Tell what a server is known by.

    :param credential: the server's own.
    :return: the fingerprint of its key.
    """
    return readCredential(credential.kind, credential.data).fingerprint


def _reasonOf(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ThingError) else f"{type(error).__name__}: {text}"
