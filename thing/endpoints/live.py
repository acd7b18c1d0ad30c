"""What a server's description trusts, as its files have it now."""

from __future__ import annotations

import os

from twisted.logger import Logger

from thing.core.settings import ServerSettings
from thing.endpoints.stream import StreamFactory
from thing.errors import CredentialError
from thing.trust.choice import ServerChoice

INTERVAL = 1.0
"""How often the files are looked at, at most, seconds."""

Stamp = tuple[int, int, int] | None
"""What tells that a file has changed; None for a file that is not there."""


class LiveTrust:
    """
    Reads a server's files of keys again when they have changed, as somebody connects.

    On any error all stays as it was, and the log says why. Sessions that are up stay up.
    """

    _log = Logger()

    def __init__(self, choice: ServerChoice, factory: StreamFactory) -> None:
        """
        :param choice: what the server chose.
        :param factory: its sessions; the settings and the authorizer are replaced there.
        """
        self._choice = choice
        self._factory = factory
        self._stamps = self._look()
        self._next = factory.clock.seconds() + INTERVAL

    def __call__(self) -> None:
        """Look at the files, unless that was just done."""
        now = self._factory.clock.seconds()
        if now < self._next:
            return
        self._next = now + INTERVAL
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            self._readAgain()

    def _readAgain(self) -> None:
        try:
            choice = self._choice.again()
        except CredentialError as error:
            self._log.error("Not reloaded, all stays as it was: {error}", error=str(error))
            return
        settings = self._factory.settings
        assert isinstance(settings, ServerSettings), "a server's sessions"
        self._choice = choice
        self._factory.settings = choice.applied(settings)
        self._factory.authorizer = choice.authorizer
        self._log.info("Reloaded: the files of keys have changed")

    def _look(self) -> list[Stamp]:
        return [_stampOf(path) for path in self._choice.files]


def _stampOf(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
