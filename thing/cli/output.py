"""
Writes to the standard streams; what cannot be written to standard output ends the command.

What is written is up to the commands.
"""

from __future__ import annotations

import io
import json
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

import click

from thing.cli.exits import CommandError, ExitCode

_ENDING = (signal.SIGINT, signal.SIGTERM)


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


class Stopped(BaseException):
    """Somebody asked the process to end."""


class _StandardOutput(io.FileIO):
    """Standard output, whoever writes there: a failure is told once, and what follows dropped."""

    def __init__(self) -> None:
        super().__init__(sys.stdout.fileno(), "w", closefd=False)
        self._failed = False

    def write(self, octets: Any) -> int:
        """
        Write some octets, and wait until it can be done.

        :param octets: the octets.
        :return: how many were written.
        :raises ReaderGone: if nobody reads them.
        :raises CommandError: if they cannot be written.
        """
        if self._failed:
            return len(octets)
        try:
            while (written := super().write(octets)) is None:
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            self._failed = True
            raise ReaderGone from None
        except OSError as error:
            self._failed = True
            raise CommandError(f"cannot write to standard output: {error.strerror}") from None
        except BaseException:
            self._failed = True  # A signal's: some of it may be written, and not once more.
            raise


class _StandardError(io.FileIO):
    """Standard error, which may be full or gone: then what is written there is lost."""

    def __init__(self) -> None:
        super().__init__(2, "w", closefd=False)

    def write(self, octets: Any) -> int:
        """
        Write some octets, or drop them.

        :param octets: the octets.
        :return: how many there were to write less.
        """
        try:
            written: int | None = super().write(octets)
        except OSError:
            written = None
        return len(octets) if written is None else written


def guardStandardStreams() -> None:
    """
    Have what fails at the standard streams told as :func:`write` tells it, whoever writes.

    A closed standard error swallows what is written: it must not go elsewhere.
    """
    if sys.stdout is not None:
        # A question mark for what the user's encoding does not have.
        sys.stdout = _textOver(_StandardOutput(), sys.stdout, "replace")
    sys.stderr = _textOver(_StandardError(), sys.stderr, "backslashreplace")


def _textOver(raw: io.FileIO, before: TextIO | None, errors: str) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=True)


def write(lines: Iterable[str]) -> None:
    """
    Write some lines.

    :param lines: the lines, without newlines.
    :raises ReaderGone: if nobody reads them.
    :raises CommandError: if they cannot be written.
    """
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


def writeOctets(octets: bytes) -> None:
    """
    Write octets as they are.

    :param octets: the octets.
    :raises ReaderGone: if nobody reads them.
    :raises CommandError: if they cannot be written.
    """
    click.echo(octets, nl=False)


def asLine(found: dict[str, Any]) -> str:
    """
    Write a JSON object on one line, in ASCII, so that no terminal is steered by it.

    :param found: the object.
    :return: the line.
    """
    return json.dumps(found)


def readerIsGone() -> bool:
    """:return: whether standard output is a pipe or a socket that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0))
    except (OSError, ValueError):  # There is no such file: a test's, or one that is closed.
        return False


class _Stopper:
    """
    Hears the signals that end a command, and raises :class:`Stopped` at the first.

    :ivar heard: whether one came. What it interrupts may make another error of it, as a lock does.
    """

    def __init__(self) -> None:
        self.heard = False
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Hear them, but for those that the process was told to ignore."""
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self)

    def restore(self) -> None:
        """Have them do what they did before, unless the process is about to end."""
        self._replace(self._before)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Stop; a second one, while that unwinds, just kills."""
        self.heard = True
        self._replace(dict.fromkeys(self._before, signal.SIG_DFL))
        raise Stopped

    def _replace(self, handlers: dict[int, Any]) -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) is self:
                signal.signal(number, handler)


@contextmanager
def endingQuietly(unfinished: ExitCode = ExitCode.GOODBYE) -> Iterator[None]:
    """
    Exit in order when the user has seen enough: at Ctrl-C, SIGTERM, or a reader that went away.

    :param unfinished: the exit code if it was a signal; one that is not zero is explained.
    :return: a context manager.
    :raises SystemExit: with the exit code.
    """
    stopper = _Stopper()
    try:
        stopper.listen()
        yield
    except ReaderGone:
        raise SystemExit(ExitCode.GOODBYE) from None
    except (Exception, KeyboardInterrupt, Stopped) as error:
        if not (stopper.heard or isinstance(error, KeyboardInterrupt)):
            raise
        if unfinished is ExitCode.GOODBYE:
            raise SystemExit(unfinished) from None
        raise CommandError("interrupted", unfinished) from None
    finally:
        stopper.restore()
