"""
Unix sockets that can be opened again, however the process before ended.

Twisted has a file that names the process that listens. In a container that is number 1 each time,
so that after a crash the new process takes itself for the old one; and elsewhere numbers are given
out again, too. Whether anybody listens the socket itself can tell.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from thing.trust.temporary import isLocked, opened


class UnixPorts:
    """A reactor that takes the place of a unix socket on which nobody listens any more."""

    def __init__(self, reactor: Any) -> None:
        """:param reactor: provides ``IReactorUNIX``."""
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        """Be the reactor in all else."""
        return getattr(self._reactor, name)

    def listenUNIX(
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """
        Listen, as ``IReactorUNIX`` has it.

        :param address: the path.
        :param factory: builds the protocols.
        :param backlog: how many connections may wait to be accepted.
        :param mode: the socket's permissions.
        :param wantPID: whether to take the place of a socket on which nobody listens; no file is
            made for that.
        :return: the port.
        :raises CannotListenError: if it cannot be had.
        """
        if not wantPID or address.startswith("\0"):
            port: IListeningPort = self._reactor.listenUNIX(address, factory, backlog, mode)
            return port
        try:
            # Of two that start at once the second must not remove the socket of the first.
            with _alone(address):
                if _isAbandoned(address):
                    os.unlink(address)
                port = self._reactor.listenUNIX(address, factory, backlog, mode)
        except OSError as error:
            raise CannotListenError(None, address, error) from error  # type: ignore[no-untyped-call]
        return port


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Be the only one that looks at a socket: another one is about to listen there itself."""
    directory, name = os.path.split(path)
    lock = os.path.join(directory, f".{name}.starting")
    # It is for our user alone, so that nobody else can hold its lock.
    with opened(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as descriptor:
        if not isLocked(descriptor, lock):
            raise OSError(errno.EADDRINUSE, "another process is about to listen there")
        try:
            yield
        finally:
            with suppress(FileNotFoundError):  # Where there are no locks, there may be two.
                os.unlink(lock)


def _isAbandoned(path: str) -> bool:
    """Whether there is a socket on which nobody listens."""
    with suppress(OSError):  # There is none, it is not ours to ask, or so many wait there.
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as trial:
                trial.setblocking(False)
                try:
                    trial.connect(path)
                except ConnectionRefusedError:
                    return True
    return False
