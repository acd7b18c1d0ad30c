"""Servers that a file knows, asked on asyncio: what is decided is the file's to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar, runtime_checkable

from zope.interface import implementer

from thing.asyncio.log import log
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import Identity
from thing.text import visible
from thing.trust.files import LOCK_INTERVAL, LOCK_TRIES, FileLocked, StrPath
from thing.trust.interfaces import IServerAuthorizer, ServerIdentity
from thing.trust.servers import ServersFile

T = TypeVar("T")


@runtime_checkable
class KeyContinuity(Protocol):
    """What an authorizer also has that follows a server from key to key."""

    async def keys_announced(self, current: Identity, following: Identity | None) -> None:
        """
        Remember by which keys a server holds.

        :param current: the server as the handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        """


@implementer(IServerAuthorizer)
class KnownServers(ServersFile):
    """
    Believes the keys that a file has for one host and port.

    What counts in the file is described at :class:`~thing.trust.servers.ServersFile`.

    :param path: the file; it is read now, so that a mistake in it shows early.
    :param host: the host name or address that the client connects to.
    :param port: the port, 1 to 65535.
    :param first_use: whether to believe and store the key of a server that the
        file does not know; the file itself may then be missing.
    :param on_first_use: called with the identity after it was stored so.
    :raises CredentialError: if the host or the port cannot be one, or if the
        file cannot be read or understood.
    """

    def __init__(
        self,
        path: StrPath,
        host: str,
        port: int,
        first_use: bool = False,
        on_first_use: Callable[[Identity], object] | None = None,
    ) -> None:
        super().__init__(path, host, port, first_use, on_first_use, self._warn)

    def _warn(self, text: str) -> None:
        log.warning("%s", visible(text))

    async def authorize(self, identity: ServerIdentity) -> Identity:
        """
        Admit the server if the file has its key, or on first use.

        :param identity: what the server has proved.
        :return: the identity, named ``[host]:port``.
        :raises NotAuthorized: if the server is not known, has another key or a
            revoked one; ``UNDECIDED`` if the file cannot be read or written.
        """
        try:
            return await _once_unlocked(lambda: self.admit(identity))
        except CredentialError as error:
            raise NotAuthorized(str(error), ErrorCode.UNDECIDED) from error

    async def keys_announced(self, current: Identity, following: Identity | None) -> None:
        """
        Add the server's next key to the file, and drop the keys that it replaces.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        :raises NotAuthorized: if the current key is not known, or if one of
            the two is revoked.
        :raises CredentialError: if the file cannot be read or written, or if
            the next key cannot be added.
        """
        await _once_unlocked(lambda: self.update(current, following))


async def _once_unlocked(action: Callable[[], T]) -> T:
    """Do something that locks a file; while another process has the lock, again and again."""
    for _ in range(LOCK_TRIES - 1):
        with suppress(FileLocked):
            return action()
        await asyncio.sleep(LOCK_INTERVAL)
    return action()
