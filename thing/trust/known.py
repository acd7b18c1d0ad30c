"""Servers that a file knows, asked on the reactor: what is decided is the file's to say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import Identity
from thing.logger import Logger
from thing.trust.files import StrPath
from thing.trust.interfaces import IKeyContinuity, IServerAuthorizer, ServerIdentity
from thing.trust.servers import ServersFile
from thing.trust.unlocking import onceUnlocked


def _refuse(failure: Failure) -> Identity:
    """Refuse a server because of this side's file, which time can mend."""
    failure.trap(CredentialError)  # type: ignore[no-untyped-call]
    raise NotAuthorized(str(failure.value), ErrorCode.UNDECIDED) from failure.value


@implementer(IServerAuthorizer, IKeyContinuity)
class KnownServers(ServersFile):
    """
    Believes the keys that a file has for one host and port.

    What counts in the file is described at :class:`~thing.trust.servers.ServersFile`.

    :param path: the file; it is read now, so that a mistake in it shows early.
    :param host: the host name or address that the client connects to.
    :param port: the port, 1 to 65535.
    :param firstUse: whether to believe and store the key of a server that the
        file does not know; the file itself may then be missing.
    :param onFirstUse: called with the identity after it was stored so.
    :param clock: measures how long to wait for another process that has locked the
        file; by default the reactor.
    :raises CredentialError: if the host or the port cannot be one, or if the
        file cannot be read or understood.
    :raises TypeError: if ``firstUse`` is no bool, or ``onFirstUse`` nothing that is called.
    :ivar server: the server, as the file names it.
    """

    _log = Logger()

    def __init__(
        self,
        path: StrPath,
        host: str,
        port: int,
        firstUse: bool = False,
        onFirstUse: Callable[[Identity], object] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        self._clock = clock
        super().__init__(path, host, port, firstUse, onFirstUse, self._warn)

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def authorize(self, identity: ServerIdentity) -> Identity | Deferred[Identity]:
        """
        Admit the server if the file has its key, or on first use.

        :param identity: what the server has proved.
        :return: the identity, named ``[host]:port``; a Deferred of that if it is to be
            stored and another process has locked the file.
        :raises NotAuthorized: if the server is not known, has another key or a
            revoked one; ``UNDECIDED`` if the file cannot be read or written.
        """
        try:
            admitted = onceUnlocked(partial(self.admit, identity), self._clock)
        except CredentialError as error:
            raise NotAuthorized(str(error), ErrorCode.UNDECIDED) from error
        if isinstance(admitted, Deferred):
            admitted.addErrback(_refuse)
        return admitted

    def keysAnnounced(self, current: Identity, following: Identity | None) -> Deferred[None] | None:
        """
        Add the server's next key to the file, and drop the keys that it replaces.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        :return: fires when that is done, if another process has locked the file.
        :raises NotAuthorized: if the current key is not known, or if one of
            the two is revoked.
        :raises CredentialError: if the file cannot be read or written, or if
            the next key cannot be added.
        """
        return onceUnlocked(partial(self.update, current, following), self._clock)
