"""Files of keys, whatever else happens to their names meanwhile."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from unittest import mock

from twisted.trial.unittest import SkipTest, TestCase

from tests.trust.power import Power, PowerLost, outages
from tests.trust.test_keys import DirectoryMixin, modeOf, read, write
from thing.errors import CredentialError
from thing.trust import IdentityKey, places, temporary
from thing.trust.files import FileLocked, createFile, lockedFile
from thing.trust.keys import loadPublicKey

LIMIT = 100


class LockedFileTests(DirectoryMixin, TestCase):
    """A file that is read and replaced under its lock."""

    def setUp(self) -> None:
        super().setUp()
        self.file = write(self.path("keys"), b"old", 0o640)

    def test_readAndReplaced(self) -> None:
        """What the file holds is read, and replaced by another of its mode and owner."""
        before = os.stat(self.file)
        with lockedFile(self.file) as file:
            self.assertEqual(file.read(LIMIT), b"old")
            self.assertEqual(file.read(LIMIT), b"old")
            file.replace(b"new")
        after = os.stat(self.file)
        self.assertEqual(read(self.file), b"new")
        self.assertEqual(
            (after.st_uid, after.st_gid, after.st_mode),
            (before.st_uid, before.st_gid, before.st_mode),
        )
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual(os.listdir(self.directory), ["keys"])

    def test_created(self) -> None:
        """A file that is missing is created empty, for its owner alone."""
        with lockedFile(self.path("new")) as file:
            self.assertEqual(file.read(LIMIT), b"")
        self.assertEqual(modeOf(self.path("new")), 0o600)

    def test_links(self) -> None:
        """Links of our own are followed, on the way and at its end; to what is missing, too."""
        os.mkdir(self.path("real"))
        os.symlink(os.path.abspath(self.path("real")), self.path("way"))
        os.symlink("../keys", self.path("real/link"))
        os.symlink("./new/../missing", self.path("real/dangling"))
        os.mkdir(self.path("real/new"))
        with lockedFile(self.path("way//link")) as file:
            file.replace(b"new")
        self.assertEqual(read(self.file), b"new")
        self.assertTrue(os.path.islink(self.path("real/link")))
        with lockedFile(self.path("way/dangling")) as file:
            file.replace(b"there")
        self.assertEqual(read(self.path("real/missing")), b"there")

    def test_linksOfOthers(self) -> None:
        """One that another user has made is not, or root would write to a file of its choice."""
        os.mkdir(self.path("real"))
        write(self.path("real/keys"), b"secret")
        os.symlink("real/keys", self.path("link"))
        os.symlink("real", self.path("way"))
        self.patch(os, "geteuid", lambda: 2**31)
        if os.getuid() == 0:
            for name in ("link", "way"):
                os.chown(self.path(name), 65534, 65534, follow_symlinks=False)
        for path in ("link", "way/keys"):
            error = self.assertRaises(CredentialError, self.lock, self.path(path))
            self.assertIn("is a link that another user has made", str(error))
        self.assertEqual(read(self.path("real/keys")), b"secret")

    def test_linkIsExchanged(self) -> None:
        """One of another user that takes the place of ours for a moment is not, either."""
        write(self.path("secret"), b"secret")
        os.symlink("keys", self.path("link"))
        os.symlink("secret", self.path("evil"))
        readlink = os.readlink

        def exchanged(name: str, *, dir_fd: int) -> str:
            os.rename(self.path("link"), self.path("away"))
            os.rename(self.path("evil"), self.path("link"))
            target = readlink(name, dir_fd=dir_fd)
            os.rename(self.path("away"), self.path("link"))
            return target

        self.patch(os, "readlink", exchanged)
        error = self.assertRaises(CredentialError, self.lock, self.path("link"))
        self.assertIn("is a link that others exchange", str(error))

    def test_noPlace(self) -> None:
        """What leads in circles, or to a directory, is an error."""
        os.symlink("b", self.path("a"))
        os.symlink("a", self.path("b"))
        for path, reason in (
            (self.path("a"), "symbolic links"),
            (self.directory, "directory"),
            ("/", "directory"),
            ("", "directory"),
            (self.path("keys/x"), "Not a directory"),
            (self.path("missing/x"), "No such file"),
            ("a\0b", "null"),
        ):
            error = self.assertRaises(CredentialError, self.lock, path)
            self.assertIn(reason, str(error))

    def test_unreadableDirectory(self) -> None:
        """A directory that we may pass, but not look into, is no hindrance."""
        if not hasattr(os, "O_PATH"):
            raise SkipTest("this system has no such descriptors")
        opening = os.open

        def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if flags & os.O_DIRECTORY and not flags & os.O_PATH:
                raise PermissionError(errno.EACCES, "Permission denied")
            return opening(path, flags, mode, dir_fd=dir_fd)

        self.patch(os, "open", refuse)
        self.patch(os, "mkdir", mock.Mock(side_effect=PermissionError(errno.EACCES, "no")))
        with lockedFile(self.file) as file:
            file.replace(b"new")
        self.assertEqual(read(self.file), b"new")

    def test_lockHeld(self) -> None:
        """Of two only one has the lock, and the other is told at once."""
        with lockedFile(self.file):
            error = self.assertRaises(FileLocked, self.lock)
            self.assertEqual(str(error), f"cannot lock {self.file}: another process holds its lock")
        self.lock()

    def lock(self, path: str | None = None) -> None:
        with lockedFile(self.file if path is None else path):
            pass

    def test_replacedWhileWaiting(self) -> None:
        """The lock of a file that was replaced meanwhile does not count for the new file."""
        flock = fcntl.flock

        def replaceFirst(descriptor: int, operation: int) -> None:
            self.patch(fcntl, "flock", flock)
            os.rename(write(self.path("next"), b"new"), self.file)
            flock(descriptor, operation)

        self.patch(fcntl, "flock", replaceFirst)
        self.assertRaises(FileLocked, self.lock)
        with lockedFile(self.file) as file:
            self.assertEqual(file.read(LIMIT), b"new")
            self.assertRaises(FileLocked, self.lock)

    def test_removedWhileWaiting(self) -> None:
        """So it is with a file that was removed."""
        self.patch(os, "stat", mock.Mock(side_effect=FileNotFoundError))
        self.assertRaises(FileLocked, self.lock)

    def test_nameIsGivenAway(self) -> None:
        """Owner and mode come from the file that is locked, not from what has its name now."""
        with lockedFile(self.file) as file:
            os.rename(write(self.path("next"), b"theirs", 0o666), self.file)
            file.replace(b"ours")
        self.assertEqual(read(self.file), b"ours")
        self.assertEqual(modeOf(self.file), 0o640)

    def test_directoryIsGivenAway(self) -> None:
        """The file is replaced where it was locked, whatever has its directory's name now."""
        moved = f"{self.directory}.moved"
        with lockedFile(self.file) as file:
            os.rename(self.directory, moved)
            os.mkdir(self.directory)
            write(self.file, b"theirs")
            file.replace(b"ours")
        self.assertEqual(read(self.file), b"theirs")
        self.assertEqual(read(os.path.join(moved, "keys")), b"ours")
        self.assertEqual(os.listdir(moved), ["keys"])

    def test_linkAtTheLastMoment(self) -> None:
        """A symbolic link that takes the file's place once it was looked up is not followed."""
        write(self.path("secret"), b"secret")
        os.unlink(self.file)
        os.symlink("secret", self.file)
        self.patch(places, "_targetOf", lambda name, directory: None)
        error = self.assertRaises(CredentialError, self.lock)
        self.assertNotIsInstance(error, FileLocked)
        self.assertIn("cannot lock", str(error))

    def test_notRegular(self) -> None:
        """What is no file is not read, though it can be locked."""
        os.mkfifo(self.path("fifo"), 0o600)
        with lockedFile(self.path("fifo")) as file:
            error = self.assertRaises(CredentialError, file.read, LIMIT)
        self.assertIn("not a regular file", str(error))

    def test_bounds(self) -> None:
        """A file that is too long, or too open for what it holds, is not read."""
        with lockedFile(self.file) as file:
            self.assertIn("longer", str(self.assertRaises(CredentialError, file.read, 2)))
            error = self.assertRaises(CredentialError, file.read, LIMIT, private=True)
            self.assertIn("too open", str(error))

    def test_noDescriptorIsLeft(self) -> None:
        """Whatever happens, all that was opened is closed."""
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
        for _ in range(3):
            with lockedFile(self.file) as file:
                self.assertRaises(FileLocked, self.lock)
                file.replace(b"new")
            self.assertRaises(CredentialError, self.lockNothing)
        if before is not None:
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def lockNothing(self) -> None:
        with lockedFile(self.path("missing/file")):
            pass


def refusing(number: int) -> mock.Mock:
    """What a file system does that cannot do something."""
    return mock.Mock(side_effect=OSError(number, os.strerror(number)))


class IrreplaceableTests(DirectoryMixin, TestCase):
    """Files that cannot be replaced: each alone is mounted, or is in a directory of others."""

    def setUp(self) -> None:
        super().setUp()
        self.file = write(self.path("keys"), b"old\n", 0o640)
        self.patch(os, "rename", refusing(errno.EBUSY))

    def replace(self, content: bytes) -> None:
        with lockedFile(self.file) as file:
            file.read(LIMIT)
            file.replace(content)

    def test_written(self) -> None:
        """The file itself holds the new content, be it longer, shorter or another."""
        before = os.stat(self.file)
        for content in (b"old\nnew\n", b"new\n", b"n", b"", b"another\n"):
            self.replace(content)
            self.assertEqual(read(self.file), content)
        self.assertEqual(os.stat(self.file).st_ino, before.st_ino)
        self.assertEqual(os.stat(self.file).st_mode, before.st_mode)
        self.assertEqual(os.listdir(self.directory), ["keys"])

    def test_foreignDirectory(self) -> None:
        """So it is where no other file can be made."""
        made = os.open

        def refuse(path: str, flags: int, *more: object, **others: object) -> int:
            if flags & os.O_EXCL:
                raise PermissionError(errno.EACCES, "Permission denied")
            return made(path, flags, *more, **others)

        self.patch(os, "open", refuse)
        self.replace(b"old\nnew\n")
        self.assertEqual(read(self.file), b"old\nnew\n")

    def test_failure(self) -> None:
        """If that fails it holds what it held, and the error says why."""
        sync, failing = os.fsync, [OSError(errno.ENOSPC, "No space left on device")]

        def fail(descriptor: int) -> None:
            if failing and os.path.samestat(os.fstat(descriptor), os.stat(self.file)):
                raise failing.pop()
            sync(descriptor)

        self.patch(os, "fsync", fail)
        for content in (b"old\nnew\n", b"another\n", b""):
            failing = [OSError(errno.ENOSPC, "No space left on device")]
            error = self.assertRaises(CredentialError, self.replace, content)
            self.assertIn(f"cannot write {self.file}: No space left", str(error))
            self.assertEqual(read(self.file), b"old\n")

    def test_otherTrouble(self) -> None:
        """A full disk is no reason to write the file itself."""
        self.patch(os, "rename", refusing(errno.ENOSPC))
        self.assertRaises(CredentialError, self.replace, b"new\n")
        self.assertEqual(read(self.file), b"old\n")


class ForeignSystemTests(DirectoryMixin, TestCase):
    """File systems that lack what those of POSIX have: vfat, FUSE, SMB."""

    def test_noLinks(self) -> None:
        """Without hard links a file is created all the same, and nothing is overwritten."""
        for number in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP):
            self.patch(os, "link", refusing(number))
            name = self.path(f"new {number}")
            self.assertTrue(createFile(name, b"content", 0o644))
            self.assertEqual((read(name), modeOf(name)), (b"content", 0o644))
            os.symlink("nowhere", self.path("link"))
            self.assertFalse(createFile(name, b"other", 0o600))
            self.assertFalse(createFile(self.path("link"), b"other", 0o600))
            self.assertEqual(read(name), b"content")
            os.unlink(name)
            os.unlink(self.path("link"))
        self.assertEqual(os.listdir(self.directory), [])

    def test_noLinksAtOnce(self) -> None:
        """Without them, of two that create a file the second waits for the first, and finds it."""
        self.patch(os, "link", refusing(errno.EPERM))
        other = os.open(self.directory, os.O_RDONLY)
        self.addCleanup(os.close, other)
        fcntl.flock(other, fcntl.LOCK_EX)

        def theirs(_: float) -> None:
            self.assertEqual([name for name in os.listdir(self.directory) if name[0] != "."], [])
            write(self.path("key"), b"theirs")
            fcntl.flock(other, fcntl.LOCK_UN)

        self.patch(temporary.time, "sleep", theirs)
        self.assertFalse(createFile(self.path("key"), b"ours", 0o600))
        self.assertEqual(read(self.path("key")), b"theirs")
        self.assertEqual(os.listdir(self.directory), ["key"])

    def test_noLinksAndLocked(self) -> None:
        """Nobody waits for ever for whoever has locked the directory."""
        self.patch(os, "link", refusing(errno.EPERM))
        other = os.open(self.directory, os.O_RDONLY)
        self.addCleanup(os.close, other)
        fcntl.flock(other, fcntl.LOCK_EX)
        waited = mock.Mock()
        self.patch(temporary.time, "sleep", waited)
        message = self.refusal(createFile, self.path("key"), b"content", 0o600)
        self.assertIn("another process has locked the directory", message)
        self.assertAlmostEqual(sum(call.args[0] for call in waited.mock_calls), 1.0)
        self.assertEqual(os.listdir(self.directory), [])

    def test_noLinksAndNoSpace(self) -> None:
        """If it fails at last, nothing is left."""
        self.patch(os, "link", refusing(errno.EPERM))
        self.patch(os, "rename", refusing(errno.ENOSPC))
        self.assertRaises(CredentialError, createFile, self.path("new"), b"content", 0o600)
        self.assertEqual(os.listdir(self.directory), [])

    def test_key(self) -> None:
        """A key is made there, and found."""
        self.patch(os, "link", refusing(errno.EPERM))
        made = IdentityKey.loadOrCreate(self.path("key"))
        self.assertEqual(IdentityKey.load(self.path("key")).publicKey, made.publicKey)
        self.assertEqual(loadPublicKey(self.path("key.pub")), made.publicKey)

    def test_noLocks(self) -> None:
        """Where files cannot be locked they are changed all the same."""
        for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            self.patch(fcntl, "flock", refusing(number))
            with lockedFile(self.path("keys")) as file:
                file.replace(b"%d" % number)
            self.assertEqual(read(self.path("keys")), b"%d" % number)
        self.patch(fcntl, "flock", refusing(errno.EIO))
        with self.assertRaises(CredentialError), lockedFile(self.path("keys")):
            self.fail("it has no lock")

    def test_oneMode(self) -> None:
        """Where all files have one mode it must not give away what is for the owner alone."""
        chmod = os.fchmod

        def setIt(mode: int) -> None:
            self.patch(os, "fchmod", lambda descriptor, _: chmod(descriptor, mode))

        setIt(0o700)
        self.assertTrue(createFile(self.path("key"), b"secret", 0o600))
        setIt(0o755)
        self.assertTrue(createFile(self.path("key.pub"), b"public", 0o755))
        error = self.assertRaises(CredentialError, createFile, self.path("k"), b"secret", 0o600)
        self.assertIn("others may access all files there", str(error))
        self.assertEqual(sorted(os.listdir(self.directory)), ["key", "key.pub"])

    def test_noModes(self) -> None:
        """Where modes cannot be set, nor directories synchronized, a file is made all the same."""
        self.patch(os, "fchmod", refusing(errno.EPERM))
        sync = os.fsync

        def refuse(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "Invalid argument")
            sync(descriptor)

        self.patch(os, "fsync", refuse)
        self.assertTrue(createFile(self.path("key"), b"secret", 0o600))
        self.assertEqual(read(self.path("key")), b"secret")

    def test_closing(self) -> None:
        """That a file cannot be closed without an error is no matter: what is in it is safe."""
        close = os.close

        def failing(descriptor: int) -> None:
            close(descriptor)
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "close", failing)
        self.assertTrue(createFile(self.path("key"), b"secret", 0o600))
        with lockedFile(self.path("key")) as file:
            file.replace(b"another")
        self.assertEqual(read(self.path("key")), b"another")
        self.assertEqual(os.listdir(self.directory), ["key"])

    def test_lockFails(self) -> None:
        """If the directory that a file waits in cannot be locked or opened, it is not left."""
        self.patch(temporary, "_NAMELESS", 0)
        self.patch(fcntl, "flock", refusing(errno.EIO))
        self.refusal(createFile, self.path("key"), b"secret", 0o600)
        self.assertEqual(os.listdir(self.directory), [])

    def test_modeIsLost(self) -> None:
        """A disk that fails as the mode is set is another matter: no file is made."""
        for number in (errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS):
            self.patch(os, "fchmod", refusing(number))
            self.refusal(createFile, self.path("key.pub"), b"public", 0o644)
        self.assertEqual(os.listdir(self.directory), [])


class CreateFileTests(DirectoryMixin, TestCase):
    """A file that is made with all that it holds."""

    def test_created(self) -> None:
        """It has its content and mode, and no other name."""
        self.assertTrue(createFile(self.path("new"), b"content", 0o644))
        self.assertEqual(read(self.path("new")), b"content")
        self.assertEqual(modeOf(self.path("new")), 0o644)
        self.assertEqual(os.listdir(self.directory), ["new"])

    def test_taken(self) -> None:
        """What has the name already stays as it is, be it a link to nowhere."""
        write(self.path("old"), b"old")
        os.symlink("nowhere", self.path("link"))
        for name in ("old", "link"):
            self.assertFalse(createFile(self.path(name), b"new", 0o600))
        self.assertEqual(read(self.path("old")), b"old")
        self.assertEqual(sorted(os.listdir(self.directory)), ["link", "old"])

    def test_temporaryNameIsGivenAway(self) -> None:
        """What takes the place of anything that is there for a moment, nothing follows it."""
        secret = write(self.path("secret"), b"secret")
        self.patch(temporary, "_NAMELESS", 0)
        self.stealFrom("link")
        self.assertTrue(createFile(self.path("key"), b"content", 0o644))
        self.stealFrom("rename")
        with lockedFile(self.path("key")) as locked:
            locked.replace(b"changed")
        self.assertFalse(os.path.islink(self.path("key")))
        self.assertEqual(read(self.path("key")), b"changed")
        self.assertEqual(modeOf(self.path("key")), 0o644)
        self.assertEqual((os.stat(secret).st_nlink, modeOf(secret)), (1, 0o600))

    def stealFrom(self, function: str) -> None:
        """Have all that is hidden exchanged for links to the secret, just before a call."""
        call, rename = getattr(os, function), os.rename

        def steal(*args: object, **others: object) -> None:
            for name in os.listdir(self.directory):
                if name.startswith(".") and not os.path.islink(self.path(name)):
                    rename(self.path(name), self.path(f"moved-{name}"))
                    os.symlink("secret", self.path(name))
            call(*args, **others)

        self.patch(os, function, steal)

    def test_exchangedDirectory(self) -> None:
        """A directory that is not ours is not believed to be the one that was made."""
        self.patch(temporary, "_NAMELESS", 0)
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        self.assertRaises(CredentialError, createFile, self.path("key"), b"content", 0o644)
        self.assertEqual(os.listdir(self.directory), [])


class KilledTests(DirectoryMixin, TestCase):
    """A process that is killed at any moment leaves a file whole, and nothing that stays."""

    def names(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def killedAtEach(self, function: Callable[[], object]) -> Iterator[Power]:
        """Go through all moments at which it can be killed."""
        for power in outages():
            with power, contextlib.suppress(PowerLost):
                function()
            yield power
        self.assertGreater(power.done, 3)

    def test_created(self) -> None:
        """A file is there or not, and there is nothing beside it, not even for a moment."""
        try:
            os.close(os.open(self.directory, os.O_WRONLY | os.O_TMPFILE))
        except (AttributeError, OSError):
            raise SkipTest("the file system has no files without a name") from None
        for power in self.killedAtEach(lambda: createFile(self.path("key"), b"secret", 0o600)):
            self.assertIn(self.names(), ([], ["key"]))
            if self.names():
                self.assertEqual(
                    (read(self.path("key")), modeOf(self.path("key"))), (b"secret", 0o600)
                )
                os.unlink(self.path("key"))
            else:
                self.assertTrue(power.lost)

    def test_createdByAnotherName(self) -> None:
        """Where a file must have another name before, whoever writes there next takes it away."""
        self.patch(temporary, "_NAMELESS", 0)
        self.createdByAnotherName()

    def test_createdWithoutLinks(self) -> None:
        """So it is where it gets its name otherwise than by a link."""
        self.patch(os, "link", refusing(errno.EPERM))
        self.createdByAnotherName()

    def createdByAnotherName(self) -> None:
        left = set()
        for _ in self.killedAtEach(lambda: createFile(self.path("key"), b"secret", 0o600)):
            left.update(name for name in self.names() if name != "key")
            if "key" in self.names():
                self.assertEqual(read(self.path("key")), b"secret")
            createFile(self.path("key"), b"secret", 0o600)
            self.assertEqual(self.names(), ["key"])
            self.assertEqual(os.stat(self.path("key")).st_nlink, 1)
            os.unlink(self.path("key"))
        self.assertNotEqual(left, set())

    def test_replaced(self) -> None:
        """A file is the old or the new one; whoever locks it next takes away what was left."""
        write(self.path("keys"), b"old", 0o640)
        left = set()
        for _ in self.killedAtEach(self.replace):
            left.update(name for name in self.names() if name != "keys")
            self.assertIn(read(self.path("keys")), (b"old", b"new"))
            self.assertEqual(modeOf(self.path("keys")), 0o640)
            with lockedFile(self.path("keys")):
                self.assertEqual(self.names(), ["keys"])
            write(self.path("keys"), b"old", 0o640)
        self.assertNotEqual(left, set())

    def replace(self) -> None:
        with lockedFile(self.path("keys")) as file:
            file.replace(b"new")

    def test_overwritten(self) -> None:
        """A file that cannot be replaced is the old one, or the new one with empty lines behind."""
        cut = os.ftruncate
        self.patch(os, "rename", refusing(errno.EBUSY))
        for kept in (True, False):
            write(self.path("keys"), b"long\nold\n")
            self.patch(os, "ftruncate", mock.Mock(side_effect=PowerLost) if kept else cut)
            with contextlib.suppress(PowerLost):
                self.replace()
            self.assertEqual(read(self.path("keys")), b"new\n\n\n\n\n\n" if kept else b"new")

    def test_inUse(self) -> None:
        """What a living process has there is not taken away by another, nor what is no such."""
        self.patch(temporary, "_NAMELESS", 0)
        os.mkdir(self.path(".thing-mine"))
        link, seen = os.link, []

        def linked(*arguments: object, **others: object) -> None:
            before = self.names()
            with lockedFile(self.path("another")):
                seen.append(self.names() == sorted([*before, "another"]))
            link(*arguments, **others)

        self.patch(os, "link", linked)
        self.assertTrue(createFile(self.path("key"), b"secret", 0o600))
        self.assertEqual(seen, [True])
        self.assertEqual(self.names(), [".thing-mine", "another", "key"])

    def test_foreign(self) -> None:
        """What another user has left is not ours to take away."""
        os.mkdir(self.path(f".thing-{16 * '0'}"))
        user = os.geteuid()
        self.patch(os, "geteuid", lambda: user + 1)
        with lockedFile(self.path("keys")):
            self.assertEqual(self.names(), [f".thing-{16 * '0'}", "keys"])

    def test_sweptAtOnce(self) -> None:
        """Whose directory is taken away before it is locked makes another."""
        self.patch(temporary, "_NAMELESS", 0)
        mkdir, seen = os.mkdir, []

        def sweptAtOnce(name: str, *more: object, **others: int) -> None:
            mkdir(name, *more, **others)
            seen.append(name)
            if len(seen) < 3:
                temporary.sweep(others["dir_fd"])

        self.patch(os, "mkdir", sweptAtOnce)
        self.assertTrue(createFile(self.path("key"), b"secret", 0o600))
        self.assertEqual((len(seen), self.names()), (3, ["key"]))

    def test_sweptForEver(self) -> None:
        """Whose directories are always taken away gives up."""
        self.patch(temporary, "_NAMELESS", 0)
        mkdir = os.mkdir

        def swept(name: str, *more: object, **others: int) -> None:
            mkdir(name, *more, **others)
            os.rmdir(name, dir_fd=others["dir_fd"])

        self.patch(os, "mkdir", swept)
        message = self.refusal(createFile, self.path("key"), b"secret", 0o600)
        self.assertIn("others remove files there", message)
