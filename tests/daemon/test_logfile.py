"""The log's file, on a disk that is full and for a process that has no file left."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from twisted.logger import FileLogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase

from thing.daemon.logfile import LineFile, withLosses
from thing.daemon.logs import TextLines, eventAsLine


class Disk:
    """A file on a disk that has room for so many octets."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.room = 1 << 20

    def write(self, octets: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self.file.write(octets[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


class LineFileCase(SynchronousTestCase):
    """A log in a directory of its own."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.mkdir()
        self.path /= "log"
        self.log = LineFile.fromFullPath(str(self.path))
        self.disk = self.log._file = Disk(self.log._file)
        self.addCleanup(self.log.close)

    def refuse(self, *names: str) -> None:
        """Have the system open no file, or do something else, until the result is called."""

        def refused(*arguments: object, **others: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        for name in names:
            patch = self.patch(self.log, name, refused)
        self.allow = patch.restore


class LineFileTests(LineFileCase):
    """What is in the file."""

    def test_written(self) -> None:
        """Lines are written, whatever is in them."""
        self.log.write("one\n")
        self.log.write("\u2713\udcff\n")
        self.assertEqual(self.path.read_bytes(), "one\n\u2713\\udcff\n".encode())
        self.assertEqual(self.log.size, self.path.stat().st_size)

    def test_full(self) -> None:
        """A line in which the disk was full is completed first, and no other is torn."""
        for room in range(4):
            self.disk.room = room
            for line in ("two\n", "three\n", "four\n"):
                self.log.write(line)
            self.assertEqual(self.log.lost, 2 if room else 3)
            self.disk.room = 1
            self.log.write("five\n")
            self.disk.room = 1 << 20
            self.log.write("six\n")
            self.assertEqual(self.log.lost, 0)
            begun = "five\n" if not room else "two\n"
            self.assertEqual(self.path.read_text(), f"{begun}six\n")
            os.truncate(self.path, 0)
            self.disk.file.seek(0)

    def test_rotated(self) -> None:
        """It is rotated by its size, but not in the midst of a line."""
        self.log.rotateLength = 4
        self.disk.room = 6
        self.log.write("a long line\n")
        self.disk.room = 1 << 20
        self.log.write("two\n")
        self.log.write("three\n")
        self.assertEqual(Path(f"{self.path}.1").read_text(), "a long line\ntwo\n")
        self.assertEqual(self.path.read_text(), "three\n")

    def test_rotatedWithoutAFile(self) -> None:
        """Where no new file can be opened, lines are lost until one can."""
        self.log.rotateLength = 4
        self.log.write("a long line\n")
        self.refuse("_openFile")
        self.log.write("two\n")
        self.log.write("three\n")
        self.assertEqual(self.log.lost, 2)
        self.allow()
        self.log.write("four\n")
        self.assertEqual(self.path.read_text(), "four\n")
        self.assertEqual(Path(f"{self.path}.1").read_text(), "a long line\n")

    def test_rotatedByHand(self) -> None:
        """That it cannot be rotated is no error of whoever asks for it."""
        self.log.write("one\n")
        self.patch(os, "rename", lambda *names: os.stat("/missing"))
        self.log.rotate()
        self.log.write("two\n")
        self.assertEqual(self.path.read_text(), "one\ntwo\n")


class LossesTests(LineFileCase):
    """What the log says of what is missing."""

    def logged(self, write: Any) -> str:
        """What is in a log while two of its entries could not be written."""
        observer = FileLogObserver(self.log, withLosses(write, self.log))
        logger = Logger("test", observer=observer)
        logger.info("before")
        self.disk.room = 0
        logger.info("lost")
        logger.info("lost, too")
        self.disk.room = 1 << 20
        logger.info("after")
        logger.info("and on")
        return self.path.read_text()

    def test_text(self) -> None:
        """It says so once, before the first entry that is there again."""
        lines = [line.partition("] ")[2] for line in self.logged(TextLines()).splitlines()]
        missing = "2 entries are missing here: they could not be written"
        self.assertEqual(lines, ["before", missing, "after", "and on"])

    def test_json(self) -> None:
        """So it is with JSON, with the number as a field."""
        lines = [json.loads(line) for line in self.logged(eventAsLine).splitlines()]
        self.assertEqual([line.get("lost") for line in lines], [None, 2, None, None])
        self.assertEqual(lines[1]["level"], "warn")
