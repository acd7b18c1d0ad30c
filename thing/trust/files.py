"""
Files of keys: bounded reading, atomic writing, one lock.

Every failure is a :exc:`~thing.errors.CredentialError` of one line that names
the file. POSIX only, as modes and ``flock`` are.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from thing.errors import CredentialError

StrPath = str | os.PathLike[str]
"""What names a file here."""

MAX_FILE = 16 * 1024 * 1024
"""The most bytes that a file of public keys may hold: over a hundred thousand keys."""

MAX_LINE = 8 * 1024
"""The most bytes in one of its lines, as OpenSSH has it; the longest RSA keys fit."""

LOCK_TRIES = 100
"""How often a lock is tried before giving up, 10 milliseconds apart."""


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
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise CredentialError(f"cannot read {path}: not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        if private and mode & 0o077 and status.st_uid == os.getuid():
            raise CredentialError(f"{path}: permissions {mode:04o} are too open: chmod 600 {path}")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CredentialError(f"cannot read {path}: longer than {limit} bytes")
    return content


def _openAtOnce(path: str, flags: int) -> int:
    """Open without waiting, so that a FIFO cannot stop the caller for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def textLines(path: StrPath, content: bytes) -> Iterator[tuple[int, str]]:
    """
    The lines of a file of public keys that say something.

    :param path: the file, for the error.
    :param content: what it holds.
    :return: the number (from 1) and the stripped text of each line that is
        neither blank nor a comment; bytes that are not UTF-8 become surrogates.
    :raises CredentialError: if a line is too long.
    """
    for number, line in enumerate(content.split(b"\n"), 1):
        if len(line) > MAX_LINE:
            raise CredentialError(f"{path}:{number}: longer than {MAX_LINE} bytes")
        text = line.decode("utf-8", "surrogateescape").strip(" \t\r")
        if text and not text.startswith("#"):
            yield number, text


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
    with _plainErrors("write", path), _temporaryFile(path, content, mode) as temporary:
        try:
            # Unlike a rename, a link fails if the name is taken.
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def replaceFile(path: StrPath, content: bytes) -> None:
    """
    Give a file new content, at once and durably; it keeps its owner and mode.

    :param path: the file, which must exist; of a symbolic link, its target.
    :param content: all that it is to hold.
    :raises CredentialError: if it cannot be written.
    """
    path = os.fspath(path)
    with _plainErrors("write", path):
        target = os.path.realpath(path)
        old = os.stat(target)
        with _temporaryFile(target, content, 0o600) as temporary:
            os.chown(temporary, old.st_uid, old.st_gid)
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
            os.rename(temporary, target)


@contextmanager
def _temporaryFile(path: str, content: bytes, mode: int) -> Iterator[str]:
    """A durable file in the directory of ``path``, for the caller to link or rename."""
    directory = os.path.dirname(path) or "."
    # mkstemp creates exclusively and with mode 0600: no byte is ever public.
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield temporary
        _syncDirectory(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _syncDirectory(directory: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lockedFile(path: StrPath) -> Iterator[None]:
    """
    Hold a file's advisory lock; a missing file is created empty, mode 0600.

    :param path: the file.
    :return: a context manager.
    :raises CredentialError: if the file cannot be opened for writing, or if
        another process holds the lock for longer than a second.
    """
    descriptor = _lock(os.fspath(path))
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: str) -> int:
    """Open and lock the file that has this name once the lock is ours."""
    with _plainErrors("lock", path):
        for _ in range(LOCK_TRIES):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before us may have replaced the file by another.
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BlockingIOError:
                time.sleep(0.01)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    raise CredentialError(f"cannot lock {path}: another process holds its lock")
