"""
Files of keys: bounded reading, atomic writing, one lock.

A file is opened once, and what follows goes through its descriptor and its directory's:
whoever may write there may give its name to another file at any moment, and ours must not
be mistaken for that. Nothing here waits, but where there are no hard links whoever makes a file
while another does, for a second at most. Every failure is a
:exc:`~thing.errors.CredentialError` of one line that names the file. POSIX only, as modes and
``flock`` are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

from thing.errors import CredentialError
from thing.trust.places import placeOf
from thing.trust.temporary import DIRECTORY, createIn, isLocked, opened, replaceIn, sweep

StrPath = str | os.PathLike[str]
"""What names a file here."""

MAX_FILE = 16 * 1024 * 1024
"""The most bytes that a file of public keys may hold: over a hundred thousand keys."""

LOCK_TRIES = 100
"""How often whoever needs a lock tries to get it before giving up."""

LOCK_INTERVAL = 0.01
"""How long after one try the next one comes, seconds."""

_IRREPLACEABLE = (errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS, errno.EXDEV)
"""What the system says where a file cannot be replaced, but perhaps written."""


class FileLocked(CredentialError):
    """Another process holds a file's lock, or has replaced the file this very moment."""


@contextmanager
def _plainErrors(action: str, path: str) -> Iterator[None]:
    """Turn what the system says about a file into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        # ValueError is a path that cannot be one, such as one with a NUL in it.
        reason = error.strerror if isinstance(error, OSError) else error
        raise CredentialError(f"cannot {action} {path}: {reason}") from error


def readFile(path: StrPath, limit: int, private: bool = False) -> bytes:
    """
    Read a regular file whole.

    :param path: the file.
    :param limit: the most bytes that it may hold.
    :param private: whether to refuse, as ssh does, a file of our own that
        anybody else may access.
    :return: its content.
    :raises CredentialError: if it cannot be read, is not a regular file, is
        longer than ``limit`` or is too open.
    """
    path = os.fspath(path)
    with _plainErrors("read", path), open(path, "rb", opener=_openAtOnce) as file:
        return _content(file, path, limit, private)


def _openAtOnce(path: str, flags: int) -> int:
    """Open without waiting, so that a FIFO cannot stop the caller for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _content(file: BinaryIO, path: str, limit: int, private: bool) -> bytes:
    """Read an opened file whole."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise CredentialError(f"cannot read {path}: not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if private and mode & 0o077 and status.st_uid == os.getuid():
        raise CredentialError(f"{path}: permissions {mode:04o} are too open: chmod 600 {path}")
    file.seek(0)  # It may have been read before.
    content = file.read(limit + 1)
    if len(content) > limit:
        raise CredentialError(f"cannot read {path}: longer than {limit} bytes")
    return content


def createFile(path: StrPath, content: bytes, mode: int) -> bool:
    """
    Create a file with its content, at once and durably.

    :param path: the file; it is never overwritten.
    :param content: all that it is to hold.
    :param mode: its permissions.
    :return: whether it was created; false if something of that name exists.
    :raises CredentialError: if it cannot be written.
    """
    path = os.fspath(path)
    directory, name = os.path.split(path)
    with _plainErrors("write", path), opened(directory or ".", DIRECTORY) as parent:
        sweep(parent)
        return createIn(parent, name, content, mode)


def sweepBeside(path: StrPath) -> None:
    """
    Remove what was left beside a file by processes that were killed while they wrote there.

    :param path: the file; where nothing can be removed, nothing happens.
    """
    directory, _ = os.path.split(os.fspath(path))
    with suppress(OSError, ValueError), opened(directory or ".", DIRECTORY) as parent:
        sweep(parent)


class LockedFile:
    """A file while its lock is ours, in the directory where it was found."""

    def __init__(self, path: str, name: str, directory: int, descriptor: int) -> None:
        """
        :param path: what the caller calls it, for errors.
        :param name: its name in its directory.
        :param directory: the directory's descriptor.
        :param descriptor: the file's own, which holds the lock.
        """
        self._path = path
        self._name = name
        self._directory = directory
        self._descriptor = descriptor

    def read(self, limit: int, private: bool = False) -> bytes:
        """
        Read the file whole.

        :param limit: the most bytes that it may hold.
        :param private: whether to refuse a file of our own that anybody else may access.
        :return: its content.
        :raises CredentialError: if it cannot be read, is not a regular file, is longer than
            ``limit`` or is too open.
        """
        with (
            _plainErrors("read", self._path),
            open(self._descriptor, "rb", closefd=False) as file,
        ):
            return _content(file, self._path, limit, private)

    def replace(self, content: bytes) -> None:
        """
        Put another in its place, of the same owner and mode, at once and durably.

        Where that cannot be, as the file alone is mounted here or its directory is not ours to
        write, the file itself is written.

        :param content: all that it is to hold.
        :raises CredentialError: if it cannot be written; then it holds what it held.
        """
        old = os.fstat(self._descriptor)
        mode, owner = stat.S_IMODE(old.st_mode), (old.st_uid, old.st_gid)
        with _plainErrors("write", self._path):
            try:
                replaceIn(self._directory, self._name, content, mode, owner)
            except OSError as error:
                if error.errno not in _IRREPLACEABLE:
                    raise
                self._overwrite(content)

    def _overwrite(self, content: bytes) -> None:
        """Write the file itself, and only its end if that is new: others may be reading it."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            old = file.read()
        same = len(old) if content.startswith(old) else 0
        try:
            self._writeFrom(same, content)
        except OSError:
            self._writeFrom(same, old)
            raise

    def _writeFrom(self, start: int, content: bytes) -> None:
        """Have the file hold this content, of which it has the beginning already."""
        size = os.fstat(self._descriptor).st_size
        # Whoever is killed before it is cut off has left empty lines, and nothing of the old ones.
        rest = memoryview(content.ljust(size, b"\n"))[start:]
        while rest:
            written = os.pwrite(self._descriptor, rest, start)
            rest, start = rest[written:], start + written
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)


@contextmanager
def lockedFile(path: StrPath) -> Iterator[LockedFile]:
    """
    Hold a file's advisory lock; a missing file is created empty, mode 0600.

    :param path: the file; of a symbolic link of our own or of root's, its target.
    :return: a context manager for the file.
    :raises FileLocked: if another process holds the lock.
    :raises CredentialError: if the file cannot be opened for writing.
    """
    path = os.fspath(path)
    with ExitStack() as stack:
        with _plainErrors("lock", path):
            parent, name = stack.enter_context(placeOf(path))
            sweep(parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = stack.enter_context(opened(name, flags, parent))
            if not isLocked(descriptor, name, parent):
                raise FileLocked(f"cannot lock {path}: another process holds its lock")
        yield LockedFile(path, name, parent, descriptor)


Stamp = tuple[int, ...] | None
"""What tells that a file has changed; None for one that is not there."""


def stampOf(path: StrPath, before: Stamp = None) -> Stamp:
    """
    Look whether a file has changed, without reading it.

    :param path: the file.
    :param before: how it looked before: so it still does, if we may not look any more.
    :return: how it looks; None if it is not there.
    """
    try:
        status = os.stat(path)
    except PermissionError:
        return before
    except (OSError, ValueError):
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def unreadable(paths: Iterable[str]) -> Iterator[str]:
    """
    Tell which files that were read may not be read any more, as after rights were given up.

    :param paths: the files.
    :return: a line for each of those.
    """
    for path in paths:
        try:
            os.close(_openAtOnce(path, os.O_RDONLY))
        except OSError as error:
            yield (
                f"{path} cannot be read any more: {error.strerror}; "
                "what it was at the start holds until a restart, even if it changes"
            )
