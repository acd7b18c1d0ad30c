"""Files of keys, whatever else happens to their names meanwhile."""

from __future__ import annotations

import os
from unittest import mock

from twisted.trial.unittest import TestCase

from tests.trust.test_keys import DirectoryMixin, modeOf, read, write
from thing.errors import CredentialError
from thing.trust import files
from thing.trust.files import FileLocked, createFile, lockedFile

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

    def test_lockHeld(self) -> None:
        """Of two only one has the lock, and the other is told at once."""
        with lockedFile(self.file):
            error = self.assertRaises(FileLocked, self.lock)
            self.assertEqual(str(error), f"cannot lock {self.file}: another process holds its lock")
        self.lock()

    def lock(self) -> None:
        with lockedFile(self.file):
            pass

    def test_replacedWhileWaiting(self) -> None:
        """The lock of a file that was replaced meanwhile does not count for the new file."""
        flock = files.fcntl.flock

        def replaceFirst(descriptor: int, operation: int) -> None:
            self.patch(files.fcntl, "flock", flock)
            os.rename(write(self.path("next"), b"new"), self.file)
            flock(descriptor, operation)

        self.patch(files.fcntl, "flock", replaceFirst)
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
        self.patch(os.path, "realpath", os.path.abspath)
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
        """A link that takes the temporary file's place makes no second name for what it names."""
        secret = write(self.path("secret"), b"secret")
        link = os.link

        def steal(temporary: str, *names: object, **others: object) -> None:
            os.unlink(self.path(temporary))
            os.symlink("secret", self.path(temporary))
            link(temporary, *names, **others)

        self.patch(os, "link", steal)
        createFile(self.path("new"), b"content", 0o644)
        self.assertEqual(os.stat(secret).st_nlink, 1)
        self.assertEqual(modeOf(secret), 0o600)
