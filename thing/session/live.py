"""Keys are live: a server trusts what its files have now, in the sessions that are up, too."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from thing.core.credentials import Credential, readCredential
from thing.core.settings import ServerSettings
from thing.errors import ThingError
from thing.session.factory import ThingFactory
from thing.session.review import Review
from thing.trust.choice import ServerChoice

INTERVAL = 1.0
"""How often the files are looked at, seconds; a change counts when it was seen twice."""

Stamp = tuple[int, int, int] | None
"""What tells that a file has changed; None for a file that is not there."""


class LiveTrust:
    """
    Reads a server's files of keys again when they have changed, or when it is told to.

    On any error all stays as it was, and the log says why. Whose key is not admitted any
    more loses the session that is up (:class:`~thing.session.review.Review`).
    """

    _log = Logger()

    def __init__(self, choice: ServerChoice, factory: ThingFactory) -> None:
        """
        :param choice: what the server chose.
        :param factory: its sessions; the settings and the authorizer are replaced there.
        """
        self._choice = choice
        self._factory = factory
        self._read = self._seen = self._stamps()
        self._looking = LoopingCall(self.look)
        self._looking.clock = factory.clock

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
            settings = self._factory.settings
            assert isinstance(settings, ServerSettings), "a server's sessions"
            settings = choice.applied(settings)
        except Exception as error:
            self._log.error("Not reloaded, all stays as it was: {reason}", reason=_reasonOf(error))
            return succeed(0)
        self._choice = choice
        self._factory.settings, self._factory.authorizer = settings, choice.authorizer
        following = settings.nextCredential
        self._log.info(
            "Reloaded: the server's key is {fingerprint}{next}{admitted}",
            fingerprint=fingerprintOf(settings.credential),
            next="" if following is None else f", the next one {fingerprintOf(following)}",
            admitted="" if choice.things is None else f"; keys authorized: {choice.things}",
        )
        return Review(self._factory).run()

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
