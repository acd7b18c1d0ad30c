"""
The log's file: its lines are whole, and it goes on when there is room again.

A disk may be full in the midst of a line, and a process have no file left just as the log is
rotated. Neither may tear a line, which programs would not read, nor end the log for good.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from twisted.logger import LogEvent, LogLevel
from twisted.python.logfile import LogFile


class LineFile(LogFile):
    """
    A log file that is rotated by its size, and to which whole lines are written.

    :ivar lost: how many writes were in vain since the last one that was not.
    """

    lost = 0
    _rest = b""

    def write(self, data: str) -> None:
        """
        Write lines; if that cannot be they are lost, and counted.

        :param data: the lines, each with its end.
        """
        octets = data.encode("utf-8", "backslashreplace")
        try:
            self._prepare()
            self._put(octets)
        except OSError:
            self.lost += 1
        else:
            self.lost = 0

    def rotate(self) -> None:
        """Give the file another name and begin a new one; what fails is tried again in time."""
        with suppress(OSError):
            super().rotate()  # type: ignore[no-untyped-call]

    def _prepare(self) -> None:
        """Have a file to write to, the next one if it is time."""
        # The rest of a line belongs to the same file.
        if not self._file.closed and not self._rest and self.shouldRotate():  # type: ignore[no-untyped-call]
            self.rotate()
        if self._file.closed:  # It could not be opened when it was rotated.
            self._openFile()  # type: ignore[no-untyped-call]

    def _put(self, octets: bytes) -> None:
        """Write the rest of what was begun before, and this."""
        if self._rest:
            self._rest = self._rest[self._file.write(self._rest) :]
            if self._rest:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._rest = octets[self._file.write(octets) :]
        self.size += len(octets)


def withLosses(
    write: Callable[[LogEvent], str | None], log: LineFile
) -> Callable[[LogEvent], str | None]:
    """
    Have the log say, as soon as it goes on, how much of it is missing.

    :param write: writes an event as text.
    :param log: where the text goes.
    :return: writes it with that before it.
    """

    def writeWithLosses(event: LogEvent) -> str | None:
        text = write(event)
        if not text or not log.lost:
            return text
        missing = {
            "log_time": event.get("log_time"),
            "log_level": LogLevel.warn,
            "log_namespace": __name__,
            "log_format": "{lost} entries are missing here: they could not be written",
            "lost": log.lost,
        }
        return f"{write(missing) or ''}{text}"

    return writeWithLosses
