"""
Where a file is that will be written: its directory, found step by step.

Whoever owns a directory on the way may put a link there, beforehand or at any moment. A link is
followed if it is our own or root's, as links that others made would have root write to files of
theirs to choose; and each step goes through the descriptor of the one before.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from thing.trust.temporary import DIRECTORY, close

MAX_LINKS = 40
"""How many links are followed, as in Linux."""

_READ = DIRECTORY | os.O_CLOEXEC
_ENTER = _READ | (os.O_PATH if hasattr(os, "O_PATH") else 0)
"""How a directory is opened that need not be read: we may pass where we may not look."""


@contextmanager
def placeOf(path: str) -> Iterator[tuple[int, str]]:
    """
    Find the directory of a file.

    :param path: the file; of a symbolic link, its target is meant.
    :return: a context manager for the directory's descriptor and the file's name in it. Where we
        may not read the directory, and the system has such, it is good for the names in it alone.
    :raises OSError: if there is none, or if a link is somebody else's.
    """
    names, links = _steps(path), 0
    directory = os.open(_start(path), _ENTER)
    try:
        while True:
            if not names:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            name = names.pop()
            target = _targetOf(name, directory)
            if target is None:
                if not names:
                    break
                step = name
            else:
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                names += _steps(target)
                step = _start(target)
            directory = _entered(step, directory)
        with suppress(PermissionError):
            directory = _entered(".", directory, _READ)
        yield directory, name
    finally:
        close(directory)


def _steps(path: str) -> list[str]:
    """The names on a way, the last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _start(path: str) -> str:
    """Where a way begins."""
    return "/" if path.startswith("/") else "."


def _entered(name: str, directory: int, how: int = _ENTER) -> int:
    """The descriptor of a directory in another, whose own is closed."""
    entered = os.open(name, how | os.O_NOFOLLOW, dir_fd=directory)
    close(directory)
    return entered


def _targetOf(name: str, directory: int) -> str | None:
    """Where a link leads that is ours or root's; None for what is no link, or not there."""
    try:
        link = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(link.st_mode):
        return None
    if link.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, f"{name} is a link that another user has made")
    target = os.readlink(name, dir_fd=directory)
    # It may have been exchanged in between; what is moved away and back has another time.
    now = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if (link.st_dev, link.st_ino, link.st_ctime_ns) != (now.st_dev, now.st_ino, now.st_ctime_ns):
        raise PermissionError(errno.EPERM, f"{name} is a link that others exchange")
    return target
