"""Writes lines to standard output, until its reader goes away."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

from thing.cli.exits import CommandError, ExitCode


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


class Stopped(BaseException):
    """Somebody asked the process to end."""


def write(lines: Iterable[str]) -> None:
    """
    Write some lines.

    :param lines: the lines, without newlines.
    :raises ReaderGone: if nobody reads them.
    :raises CommandError: if they cannot be written.
    """
    text = "".join(f"{line}\n" for line in lines)
    with _plainErrors():
        click.echo(text, nl=False)


def writeOctets(octets: bytes) -> None:
    """
    Write octets as they are.

    :param octets: the octets.
    :raises ReaderGone: if nobody reads them.
    :raises CommandError: if they cannot be written.
    """
    with _plainErrors():
        click.echo(octets, nl=False)


@contextmanager
def _plainErrors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        _dropOutput()
        raise CommandError(f"cannot write to standard output: {error.strerror}") from None


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


@contextmanager
def endingQuietly(unfinished: ExitCode = ExitCode.GOODBYE) -> Iterator[None]:
    """
    Exit in order when the user has seen enough: at Ctrl-C, SIGTERM, or a reader that went away.

    :param unfinished: the exit code if it was a signal; one that is not zero is explained.
    :return: a context manager.
    :raises SystemExit: with the exit code.
    :raises click.UsageError: if there is no standard output.
    """
    if sys.stdout is None:
        raise click.UsageError("standard output must be open; /dev/null is")
    _replaceUnwritable()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except ReaderGone:
        _dropOutput()
        raise SystemExit(ExitCode.GOODBYE) from None
    except (KeyboardInterrupt, Stopped):
        if unfinished is ExitCode.GOODBYE:
            raise SystemExit(unfinished) from None
        raise CommandError("interrupted", unfinished) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _replaceUnwritable() -> None:
    """Write a question mark for what the user's encoding does not have."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _dropOutput() -> None:
    """What Python still holds for standard output shall not be tried again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
