"""
:class:`LiveTrust`: a server trusts what its files of keys have now.

Here the files are looked at and read again. What becomes of a new choice, in the sessions that
are up above all, is up to those who follow it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from thing.core.credentials import Credential, readCredential
from thing.errors import ThingError
from thing.logger import Logger
from thing.trust.chosen import ServerChoice
from thing.trust.files import Stamp, stampOf, unreadable

INTERVAL = 1.0
"""How often the files are looked at, seconds; a change counts when it was seen twice."""


class LiveTrust:
    """
    Reads a server's files of keys again when they have changed, or when it is told to.

    On any error all stays as it was, and the log says why. What is not wrong enough for that, such
    as a list of revoked certificates whose time is over, it says once.

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
        self._wallClock = wallClock
        self._begins = choice.nextBegin(self._now())
        self._said: list[str] = []
        self._read = self._seen = [stampOf(path) for path in choice.files]
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look at the files from now on."""
        if not self._looking.running:
            self._sayTroubles()
            self._looking.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look at them no more."""
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Look at the files, and read them again if they have changed, and change no more."""
        before, self._seen = self._seen, self._stamps()
        # Who writes a file in place empties it first: that must not revoke everybody.
        changed = self._seen != self._read and self._seen == before
        if changed or (self._begins is not None and self._begins <= self._now()):
            self.reload()
        self._sayTroubles()

    def reload(self) -> Deferred[int]:
        """
        Read those of the files again that have changed, all or nothing; the outcome is logged.

        :return: fires with how many sessions were asked to leave for it, once all are reviewed.
        """
        self._read = self._stamps()
        self._begins = None
        try:
            choice = self.choice.again()
            reviews = [follow(choice) for follow in self.followers]
        except Exception as error:
            self._log.error("Not reloaded, all stays as it was: {reason}", reason=_reasonOf(error))
            return succeed(0)
        self.choice = choice
        self._begins = choice.nextBegin(self._now())
        following = choice.nextCredential
        self._log.info(
            "Reloaded: the server's key is {fingerprint}{next}{admitted}",
            fingerprint=fingerprintOf(choice.credentials[0]),
            next="" if following is None else f", the next one {fingerprintOf(following)}",
            admitted="" if choice.things is None else f"; keys authorized: {choice.things}",
        )
        return gatherResults(reviews).addCallback(sum)

    def _stamps(self) -> list[Stamp]:
        return list(map(stampOf, self.choice.files, self._read))

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
