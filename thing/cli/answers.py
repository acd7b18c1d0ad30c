"""What a status server answers, good, bad or none, and how a stranger's words are read."""

from __future__ import annotations

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
