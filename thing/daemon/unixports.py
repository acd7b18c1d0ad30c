"""
Unix sockets that can be opened again, however the process before ended.

Twisted has a file that names the process that listens. In a container that is number 1 each time,
so that after a crash the new process takes itself for the old one; and elsewhere numbers are given
out again, too. Whether anybody listens the socket itself can tell.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

LOCK_TRIES = 100
"""How often a directory's lock is tried: another process has it for a moment, as we do."""

LOCK_INTERVAL = 0.01
"""How long after one try the next one comes, seconds."""


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
            with _alone(os.path.dirname(address) or "."):
                if _isAbandoned(address):
                    os.unlink(address)
                port = self._reactor.listenUNIX(address, factory, backlog, mode)
        except OSError as error:
            raise CannotListenError(None, address, error) from error  # type: ignore[no-untyped-call]
        return port


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Hold a directory's lock, if we may, and where directories can be locked."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # We may use what is in there, but not look.
        yield
        return
    try:
        for tries in range(LOCK_TRIES, 0, -1):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if tries == 1:
                    raise
                time.sleep(LOCK_INTERVAL)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)


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
