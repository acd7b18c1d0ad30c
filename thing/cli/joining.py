"""
What ``thing join`` does: it has this thing join, and says how it goes.

How a thing joins is in :mod:`thing.endpoints.joining`.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall

from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.keys import loadKey, userAtHost
from thing.cli.output import write
from thing.cli.session import runToExit
from thing.endpoints.joining import (
    PATIENCE,
    Joined,
    JoinFailed,
    Joining,
    JoinRefused,
    NotReached,
    OtherServer,
)
from thing.errors import CredentialError
from thing.session.clock import SteadyClock
from thing.session.hosts import HostEndpoint, SystemResolver
from thing.session.joinmessages import Refusal
from thing.text import visible
from thing.trust import IdentityKey
from thing.trust.files import FileLocked, lockedFile
from thing.trust.jointoken import JoinToken

CONNECT_TIMEOUT = 10.0
"""How long each attempt to connect may take, seconds."""

SOON = 1.0
"""An answer that takes longer waits for somebody's yes, seconds."""

_COMMAND = "thing join "
"""What stands before a token on the line that ``thing invite`` prints."""

_REFUSALS = {
    None: ExitCode.OVER,
    Refusal.WITHDRAWN: ExitCode.OVER,
    Refusal.OTHER_KEY: ExitCode.OTHER_KEY,
    Refusal.NAME_TAKEN: ExitCode.NAME_TAKEN,
    Refusal.KEY_TAKEN: ExitCode.KEY_REFUSED,
    Refusal.KEY_REFUSED: ExitCode.KEY_REFUSED,
}
"""How the command ends when the server refuses."""

_AGAIN = "the same command goes on with it"


def parseToken(text: str) -> JoinToken:
    """
    Read a token.

    :param text: the token, or the line that ``thing invite`` prints.
    :return: the token.
    :raises CommandError: if it is none; nothing of it is quoted.
    """
    try:
        return JoinToken.parse(text.strip().removeprefix(_COMMAND))
    except CredentialError as error:
        raise CommandError(str(error), ExitCode.DAMAGED) from None


def keyFor(path: str, passphraseFile: str | None) -> IdentityKey:
    """
    Read a private key, or make it.

    :param path: its file.
    :param passphraseFile: the file that has its passphrase; None to ask on the terminal.
    :return: the key, which is in the file.
    :raises CredentialError: if a file cannot be used, or nobody can be asked.
    """
    if not os.path.lexists(path):
        return IdentityKey.loadOrCreate(path, userAtHost())
    key = loadKey(path, passphraseFile)
    with suppress(CredentialError):
        key.savePublic(path, userAtHost())
    return key


def joinServer(
    token: JoinToken, key: IdentityKey, keyFile: str, knownServers: str, timeout: float | None
) -> NoReturn:
    """
    Join, and exit with the code that says how it went.

    :param token: the token.
    :param key: the key to join with.
    :param keyFile: where it is.
    :param knownServers: where to write the server's key.
    :param timeout: when to give up, seconds; None for the defaults.
    :raises SystemExit: always, with the exit code.
    :raises CredentialError: if the server's key could not be written: then nobody is asked.
    """
    from twisted.internet import reactor

    with suppress(FileLocked), lockedFile(knownServers):
        pass  # It is there now, and can be written.

    reactor.installNameResolver(SystemResolver(reactor))  # type: ignore[attr-defined]
    joining = _Run(reactor, token, key, knownServers, timeout)
    runToExit(lambda _: joining.run(keyFile))


class _Run:
    """A run of the command."""

    def __init__(
        self,
        reactor: Any,
        token: JoinToken,
        key: IdentityKey,
        knownServers: str,
        timeout: float | None,
    ) -> None:
        self._reactor = reactor
        self._clock = SteadyClock.of(reactor)
        self._key = key
        self._knownServers = knownServers
        self._timeout = timeout
        self._soon: IDelayedCall | None = None
        self._waits = False
        self._interrupted = False
        self._joined: Deferred[Joined]
        self._joining = Joining(
            token,
            key,
            knownServers,
            endpointFor=lambda host, port: HostEndpoint(
                reactor, host, port, timeout=CONNECT_TIMEOUT
            ),
            clock=self._clock,
            patience=PATIENCE if timeout is None else timeout,
            onAsked=self._asked,
        )

    async def run(self, keyFile: str) -> ExitCode:
        """Go through with it; the exit code."""
        self._catchSignals()
        # The reactor sets its own handlers when it starts.
        self._reactor.callWhenRunning(self._catchSignals)
        complain(f"joining with the key {self._key.fingerprint}")
        self._joined = self._joining.run()
        if self._timeout is not None:
            self._joined.addTimeout(self._timeout, self._clock)
        try:
            joined = await self._joined
        except (CancelledError, DeferredTimeout, JoinFailed) as error:
            raise self._problem(error) from None
        finally:
            self._noMoreWaiting()
        return self._tell(joined, keyFile)

    def _catchSignals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._interrupt))

    def _interrupt(self) -> None:
        self._interrupted = True
        self._joined.cancel()

    # That it takes long.

    def _asked(self) -> None:
        self._noMoreWaiting()
        self._soon = self._clock.callLater(SOON, self._sayThatItWaits)

    def _noMoreWaiting(self) -> None:
        if self._soon is not None and self._soon.active():
            self._soon.cancel()

    def _sayThatItWaits(self) -> None:
        if not self._waits:
            complain("waiting until somebody says yes to that key")
        self._waits = True

    # How it went.

    def _problem(self, error: Exception) -> CommandError:
        if self._interrupted:
            return CommandError("interrupted", ExitCode.INTERRUPTED, _AGAIN)
        if isinstance(error, JoinRefused):
            return CommandError(visible(str(error)), _REFUSALS[error.refusal])
        if isinstance(error, OtherServer):
            return CommandError(visible(str(error)), ExitCode.NOT_TRUSTED)
        if isinstance(error, NotReached):
            return CommandError(visible(str(error)), ExitCode.NOT_CONNECTED, _AGAIN)
        if isinstance(error, JoinFailed):
            return CommandError(visible(str(error)), ExitCode.FAILED, _AGAIN)
        within = f"within {self._timeout:g} s"
        if self._waits:
            return CommandError(f"nobody has said yes {within}", ExitCode.WAITING, _AGAIN)
        why = visible(self._joining.whyNot) or "no answer"
        return CommandError(f"not joined {within}: {why}", ExitCode.NOT_CONNECTED, _AGAIN)

    def _tell(self, joined: Joined, keyFile: str) -> ExitCode:
        name = "it had joined before" if joined.name is None else f"as {visible(joined.name)}"
        write(
            [
                f"Joined {joined.address}, {name}.",
                f"The key of this thing is {self._key.fingerprint}, in {keyFile}.",
                f"The key of the server is {joined.server}, in {self._knownServers}.",
            ]
        )
        if joined.trouble:
            complain(f"no session with that key yet: {visible(joined.trouble)}")
            return ExitCode.NOT_CONNECTED
        write(["A first session with the key of this thing was in order."])
        return ExitCode.GOODBYE
