"""
:class:`LiveTrust`: a server trusts what its files of keys have now.

Here the files are looked at and read again. What becomes of a new choice, in the sessions that
are up above all, is up to those who follow it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from thing.core.credentials import Credential, readCredential
from thing.errors import ThingError
from thing.trust.choice import ServerChoice

INTERVAL = 1.0
"""How often the files are looked at, seconds; a change counts when it was seen twice."""

Stamp = tuple[int, int, int] | None
"""What tells that a file has changed; None for a file that is not there."""


class LiveTrust:
    """
    Reads a server's files of keys again when they have changed, or when it is told to.

    On any error all stays as it was, and the log says why.

    :ivar followers: told each new choice. A follower puts it to use, and gives a Deferred that
        fires with how many sessions were asked to leave for it; what it raises is such an error.
    """

    _log = Logger()

    def __init__(self, choice: ServerChoice, clock: IReactorTime) -> None:
        """
        :param choice: what the server chose.
        :param clock: tells when to look.
        """
        self.followers: list[Callable[[ServerChoice], Deferred[int]]] = []
        self._choice = choice
        self._read = self._seen = self._stamps()
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look at the files from now on."""
        if not self._looking.running:
            self._looking.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look at them no more."""
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Look at the files, and read them again if they have changed, and change no more."""
        before, self._seen = self._seen, self._stamps()
        # Who writes a file in place empties it first: that must not revoke everybody.
        if self._seen != self._read and self._seen == before:
            self.reload()

    def reload(self) -> Deferred[int]:
        """
        Read the files again, all or nothing; the outcome is logged.

        :return: fires with how many sessions were asked to leave for it, once all are reviewed.
        """
        self._read = self._stamps()
        try:
            choice = self._choice.again()
            reviews = [follow(choice) for follow in self.followers]
        except Exception as error:
            self._log.error("Not reloaded, all stays as it was: {reason}", reason=_reasonOf(error))
            return succeed(0)
        self._choice = choice
        following = choice.nextCredential
        self._log.info(
            "Reloaded: the server's key is {fingerprint}{next}{admitted}",
            fingerprint=fingerprintOf(choice.credentials[0]),
            next="" if following is None else f", the next one {fingerprintOf(following)}",
            admitted="" if choice.things is None else f"; keys authorized: {choice.things}",
        )
        return gatherResults(reviews).addCallback(sum)

    def _stamps(self) -> list[Stamp]:
        return [_stampOf(path) for path in self._choice.files]


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


def _stampOf(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
