"""
Files on their way to their name: they appear under it whole, or not at all.

Where the system can, a new file has no name until it is whole: of a process that is killed nothing
is left. Else it waits in a directory of its own, which is locked as long as its process lives, so
that the next one to write there knows what was left behind, and removes it. Where there are no hard
links, which never overwrite, who gives a file its name locks the directory around it for that. All
of this goes through the descriptors of directories; every failure is an :exc:`OSError`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

TEMPORARY = "new"
"""What a file is called until it has its name, in a directory of its own."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
"""How a directory is opened."""

_PREFIX = ".thing-"
_OURS = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}")
_NAMELESS = os.O_TMPFILE if sys.platform == "linux" else 0
_TRIES = 100
_PAUSE = 0.01  # seconds
_DISK_FAULTS = (errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS)
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def opened(path: str, flags: int, directory: int | None = None) -> Iterator[int]:
    """
    Open a file or a directory.

    :param path: its name.
    :param flags: how; a file that is created has mode 0600.
    :param directory: the descriptor of the directory that the name is in.
    :return: a context manager for the descriptor, which is closed in the end.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        yield descriptor
    finally:
        close(descriptor)


def close(descriptor: int) -> None:
    """
    Close a descriptor; that fails because of writes alone, and those are durable by then.

    :param descriptor: of a file or a directory.
    """
    with suppress(OSError):
        os.close(descriptor)


def isLocked(descriptor: int, name: str, directory: int | None = None) -> bool:
    """
    Lock what was opened, and see that it still is what has that name.

    :param descriptor: of a file or a directory; its lock ends when it is closed.
    :param name: the name by which it was opened.
    :param directory: the descriptor of the directory that the name is in; None for the current one.
    :return: whether it is; false if another process has the lock, too.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Where there are no locks the later one of two wins, which is better than neither.
        if error.errno not in _NO_LOCKS:
            raise
    try:
        # The holder before us may have replaced it by another, or removed it.
        now = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), now)


def createIn(directory: int, name: str, content: bytes, mode: int) -> bool:
    """
    Create a file with its content, at once and durably.

    :param directory: the descriptor of the directory that it is to be in.
    :param name: what it is to be called there; nothing of that name is overwritten. Where there are
        no hard links that does not hold for what another program than ours makes in that instant.
    :param content: all that it is to hold.
    :param mode: its permissions.
    :return: whether it was created; false if something of that name exists.
    """
    created = _createdNameless(directory, name, content, mode)
    if created is None:
        with _temporaryFile(directory, content, mode) as source:
            created = _named(source, name, directory)
    if created:
        _synchronize(directory)
    return created


def replaceIn(directory: int, name: str, content: bytes, mode: int, owner: tuple[int, int]) -> None:
    """
    Put a file with its content in the place of another, at once and durably.

    :param directory: the descriptor of the directory that it is in.
    :param name: what it is called there.
    :param content: all that it is to hold.
    :param mode: its permissions.
    :param owner: its user and its group.
    """
    with _temporaryFile(directory, content, mode, owner) as source:
        os.rename(TEMPORARY, name, src_dir_fd=source, dst_dir_fd=directory)
    _synchronize(directory)


def sweep(directory: int) -> None:
    """
    Remove what others have left that were killed while they wrote.

    :param directory: the descriptor of the directory that they wrote to.
    """
    with suppress(OSError):
        for name in filter(_OURS.fullmatch, os.listdir(directory)):
            _removeStale(name, directory)


def _removeStale(name: str, directory: int) -> None:
    """Remove a private directory of ours, unless its lock says that it is in use."""
    flags = DIRECTORY | os.O_NOFOLLOW
    with suppress(OSError), opened(name, flags, directory) as stale:
        if os.fstat(stale).st_uid == os.geteuid():
            fcntl.flock(stale, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                os.unlink(TEMPORARY, dir_fd=stale)
            os.rmdir(name, dir_fd=directory)


def _createdNameless(directory: int, name: str, content: bytes, mode: int) -> bool | None:
    """Create a file that has no name before it is whole; None where that cannot be."""
    if not _NAMELESS:
        return None
    try:
        nameless = os.open(".", os.O_WRONLY | os.O_CLOEXEC | _NAMELESS, 0o600, dir_fd=directory)
    except OSError:  # Here are no such files: of NFS, vfat, FUSE, an old overlay.
        return None
    try:
        _fill(nameless, content, mode)
        try:
            # Unlike a rename, a link fails if the name is taken.
            os.link(f"/proc/self/fd/{nameless}", name, dst_dir_fd=directory)
        except FileExistsError:
            return False
        except OSError:  # Here is no /proc.
            return None
        return True
    finally:
        close(nameless)


def _named(source: int, name: str, directory: int) -> bool:
    """Give a temporary file its name, unless that is taken; whether it has it."""
    between = {"src_dir_fd": source, "dst_dir_fd": directory}
    try:
        os.link(TEMPORARY, name, follow_symlinks=False, **between)
    except FileExistsError:
        return False
    except OSError:  # Here are no links: of vfat, Android, FUSE, SMB.
        _lockForNames(directory)
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            return False
        # An empty file under the name would keep it from others, too, but stay after a kill.
        os.rename(TEMPORARY, name, **between)
    return True


def _lockForNames(directory: int) -> None:
    """Be the only one of us to give a name in a directory, until its descriptor is closed."""
    for _ in range(_TRIES):
        if isLocked(directory, ".", directory):
            return
        time.sleep(_PAUSE)
    raise BlockingIOError(errno.EAGAIN, "another process has locked the directory")


@contextmanager
def _temporaryFile(
    directory: int, content: bytes, mode: int, owner: tuple[int, int] | None = None
) -> Iterator[int]:
    """
    A durable file, for the caller to link or rename.

    It is in a directory of its own, which only we may enter: whoever may write to the one around
    it, as its owner may where we are root, cannot put another file in its place.

    :return: that directory's descriptor; the file's name in it is :data:`TEMPORARY`.
    """
    with _privateDirectory(directory) as source:
        try:
            # Mode 0600, and created exclusively: no byte is ever public.
            with opened(TEMPORARY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, source) as descriptor:
                _fill(descriptor, content, mode, owner)
            yield source
        finally:
            with suppress(OSError):  # What stays is swept by the next one.
                os.unlink(TEMPORARY, dir_fd=source)


@contextmanager
def _privateDirectory(around: int) -> Iterator[int]:
    """The descriptor of a new directory in another, which is locked, and removed in the end."""
    with ExitStack() as made:
        for _ in range(_TRIES):
            name = f"{_PREFIX}{secrets.token_hex(8)}"
            os.mkdir(name, 0o700, dir_fd=around)
            made.callback(_removeEmpty, name, around)
            # Whoever sweeps at this moment may take it for one that was left behind.
            with suppress(FileNotFoundError):
                descriptor = made.enter_context(opened(name, DIRECTORY | os.O_NOFOLLOW, around))
                if isLocked(descriptor, name, around):
                    break
        else:
            raise FileNotFoundError(errno.ENOENT, "others remove files there")
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "others exchange files there")
        yield descriptor


def _removeEmpty(name: str, around: int) -> None:
    """Remove a directory of ours; if somebody has moved it, it is theirs to remove."""
    with suppress(OSError):
        os.rmdir(name, dir_fd=around)


def _fill(descriptor: int, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Have a new file hold its content, durably, and have its mode and owner."""
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    _setOwnership(descriptor, mode, owner)
    os.fsync(descriptor)


def _setOwnership(descriptor: int, mode: int, owner: tuple[int, int] | None) -> None:
    """Set mode and owner, where files have their own: on vfat, SMB and the like all have one."""
    now = os.fstat(descriptor)
    if owner is not None and owner != (now.st_uid, now.st_gid):
        os.fchown(descriptor, *owner)
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise
    now = os.fstat(descriptor)
    if now.st_mode & ~mode & 0o077 and now.st_uid == os.getuid():
        raise PermissionError(errno.EPERM, "others may access all files there")


def _synchronize(directory: int) -> None:
    """Have the names in a directory be durable, where the file system can do that."""
    try:
        os.fsync(directory)
    except OSError as error:
        # EBADF: of a directory that we may enter, but not read.
        if error.errno not in (errno.EBADF, errno.EINVAL):
            raise
