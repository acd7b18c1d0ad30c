"""
What a status server answers, good, bad or none, and how a stranger's words are read.

How they are shown is not said here.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from thing.cli.exits import CommandError, ExitCode
from thing.cli.formats import visible

MAX_SAID = 200
"""How much of what a server says is shown, characters."""


class Unreachable(CommandError):
    """The server cannot be reached now, or does not answer; later it may."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        """
        :param message: the line.
        :param advice: a second line, on what to do; None for none.
        """
        super().__init__(message, ExitCode.NOT_CONNECTED, advice)


class BadAnswer(CommandError):
    """What was answered is not what a status server answers."""

    def __init__(self, message: str) -> None:
        """:param message: the line."""
        super().__init__(message, ExitCode.PROTOCOL_ERROR)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    """HTTP's number."""

    found: dict[str, Any]
    """The JSON object."""

    now: float
    """The server's time of day, if it told it; else this machine's."""

    @property
    def title(self) -> str:
        """What went wrong, as the server put it."""
        return quoted(self.found.get("title"))


def quoted(text: object) -> str:
    """
    Make what a stranger said fit for a part of a line.

    :param text: what it said.
    :return: the beginning of it; nothing if it is no text.
    """
    return visible(text, MAX_SAID) if isinstance(text, str) else ""


def listIn(found: dict[str, Any], name: str) -> list[object]:
    """
    Read a list.

    :param found: what was told.
    :param name: which of its members.
    :return: the list.
    :raises BadAnswer: if it is none.
    """
    items = found.get(name)
    if not isinstance(items, list):
        raise wrong(name)
    return items


def textIn(found: dict[str, Any], name: str) -> str:
    """
    Read a text.

    :param found: what was told.
    :param name: which of its members.
    :return: the text, whatever is in it.
    :raises BadAnswer: if it is none.
    """
    text = found.get(name)
    if not isinstance(text, str):
        raise wrong(name)
    return text


def numberIn(found: dict[str, Any], name: str) -> float:
    """
    Read a number.

    :param found: what was told.
    :param name: which of its members.
    :return: the number, which is finite.
    :raises BadAnswer: if it is none.
    """
    return finite(found.get(name), name)


def numberOrNoneIn(found: dict[str, Any], name: str) -> float | None:
    """
    Read a number that may be missing.

    :param found: what was told.
    :param name: which of its members.
    :return: the number, which is finite; None if there is none.
    :raises BadAnswer: if it is something else.
    """
    number = found.get(name)
    return None if number is None else finite(number, name)


def countIn(found: dict[str, Any], name: str) -> int:
    """
    Read how many there are.

    :param found: what was told.
    :param name: which of its members.
    :return: the whole number; zero if it is missing.
    :raises BadAnswer: if it is something else.
    """
    return int(numberOrNoneIn(found, name) or 0)


def finite(number: object, name: str) -> float:
    """
    Check a number.

    :param number: what may be one.
    :param name: of which member, for the error.
    :return: the number.
    :raises BadAnswer: if it is none, or is not finite.
    """
    if isinstance(number, int | float) and not isinstance(number, bool):
        with suppress(OverflowError):
            if math.isfinite(float(number)):
                return float(number)
    raise wrong(name)


def wrong(name: str) -> BadAnswer:
    """
    Say that a member is not what it must be.

    :param name: which.
    :return: what to raise.
    """
    return BadAnswer(f"the status server's answer makes no sense: {name!r} is missing or wrong")
