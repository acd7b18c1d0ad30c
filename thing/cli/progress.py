"""
How far a long ``thing connect`` with files is, on the terminal, as ``pv`` shows it.

What is carried is not touched.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from thing.cli.formats import formatCount, formatSpan

INTERVAL = 1.0
"""From one look to the next, seconds; what takes less shows nothing."""

WINDOW = 5
"""The rate is that of so many intervals."""

_BAR = 20
"""How long the bar is, characters."""


class Progress:
    """
    What was sent and received so far, in a line that is written over again and again.

    :ivar sent: how many octets of input were taken.
    :ivar received: how many octets came.
    """

    def __init__(
        self, clock: IReactorTime, terminal: TextIO, total: int | None, width: Callable[[], int]
    ) -> None:
        """
        :param clock: measures time.
        :param terminal: where the line is shown.
        :param total: how many octets of input there are; None if that is not known.
        :param width: tells how wide the terminal is, characters.
        """
        self.sent = 0
        self.received = 0
        self._clock = clock
        self._terminal = terminal
        self._total = total
        self._width = width
        self._began = clock.seconds()
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=WINDOW + 1)
        self._shown = ""
        self._showing = LoopingCall(self._show)
        self._showing.clock = clock
        self._showing.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Show where it ended, if anything was shown, and leave the terminal's line."""
        if self._showing.running:
            self._showing.stop()
            if self._shown:
                self._show()
        self.interrupt()

    def interrupt(self) -> None:
        """Leave the terminal's line to something else."""
        if self._shown:
            self._shown = ""
            self._write("\n")

    def line(self) -> str:
        """:return: how far it is, in one line."""
        now, moved = self._clock.seconds(), self.sent + self.received
        self._seen.append((now, moved))
        (since, before), elapsed = self._seen[0], now - self._began
        rate = (moved - before) / (now - since) if now > since else 0.0
        parts = []
        if self._total:
            done = min(self.sent / self._total, 1.0)
            bar = "#" * int(done * _BAR)
            parts.append(f"[{bar:<{_BAR}}] {done:4.0%}")
        of = f" of {formatCount(self._total)}B" if self._total else ""
        if self.sent or self._total:
            parts.append(f"{formatCount(self.sent)}B{of} sent")
        parts.append(f"{formatCount(self.received)}B received")
        parts.append(f"{formatCount(int(rate))}B/s")
        if self._total and 0 < self.sent < self._total:
            left = elapsed * (self._total - self.sent) / self.sent
            parts.append(f"{formatSpan(left)} left")
        else:
            parts.append(formatSpan(elapsed))
        return "  ".join(parts)

    def _show(self) -> None:
        if not _inForeground(self._terminal):
            return  # Whoever has the terminal now is not to be written over.
        line = self.line()[: max(0, self._width() - 1)]
        self._write(f"\r{line:<{len(self._shown)}}")
        self._shown = line

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._terminal.write(text)
            self._terminal.flush()


def progressOf(clock: IReactorTime) -> Progress | None:
    """
    Show progress, if there is somebody to see it and nothing else to be seen.

    That is if standard error is a terminal, and neither input nor output is one: output goes to a
    file. Who reads a pipe may write to the terminal, too.

    :param clock: measures time.
    :return: what shows it; None if it is not to be shown.
    """
    terminal = sys.stderr
    if terminal is None or not terminal.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    if os.isatty(0) or os.isatty(1) or stat.S_ISFIFO(os.fstat(1).st_mode):
        return None

    def width() -> int:
        with suppress(OSError):
            return os.get_terminal_size(terminal.fileno()).columns or 80
        return 80

    return Progress(clock, terminal, _inputSize(), width)


def _inputSize() -> int | None:
    """How much there is to read of a file."""
    status = os.fstat(0)
    if not stat.S_ISREG(status.st_mode):
        return None
    with suppress(OSError):
        return max(0, status.st_size - os.lseek(0, 0, os.SEEK_CUR))
    return None


def _inForeground(terminal: TextIO) -> bool:
    """Whether the terminal is this process's; one that is not a terminal is everybody's."""
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return True
