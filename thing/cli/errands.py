"""What ``thing top`` is asked to do with the thing that is chosen, each in a thread of its own."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from thing.cli.api import Api
from thing.cli.details import askToLeave, detailLines, lookAt
from thing.cli.exits import CommandError
from thing.cli.formats import visible
from thing.cli.sending import deliver, readable

PATIENCE = 10.0
"""How long a thing may take to answer, seconds."""


class Deed(Enum):
    """What can be done with a thing."""

    SHOW = "show"
    SEND = "send"
    LEAVE = "leave"
    REACH = "reach"
    """Run a command on the terminal, which the screen does."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Something that is to be done."""

    deed: Deed
    id: str
    """With which thing."""
    text: str = ""
    """The message, or the command."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an errand."""

    errand: Errand
    lines: list[str]
    """What to show: of one that shows a thing its details, else a line."""
    failed: bool = False


def run(api: Api, errand: Errand) -> Outcome:
    """
    Do it, and wait for what comes of it.

    :param api: the server.
    :param errand: what to do.
    :return: what came of it.
    """
    try:
        return Outcome(errand, _done(api, errand))
    except CommandError as error:
        return Outcome(errand, [str(error)], failed=True)


def _done(api: Api, errand: Errand) -> list[str]:
    if errand.deed is Deed.SHOW:
        return list(detailLines(lookAt(api, errand.id)))
    if errand.deed is Deed.LEAVE:
        askToLeave(api, errand.id)
        return [f"{visible(errand.id)} was asked to leave"]
    message = errand.text.encode("utf-8", "surrogateescape")
    answer = " ".join(readable(deliver(api, errand.id, message, PATIENCE)))
    return [f"{visible(errand.id)} answers: {answer}" if answer else f"{visible(errand.id)} has it"]


def start(api: Api, errand: Errand, tell: Callable[[Outcome | Exception], None]) -> None:
    """
    Begin it; who waits for keys does not wait for this.

    :param api: the server; it is asked over another connection.
    :param errand: what to do.
    :param tell: is told, in another thread, what came of it, or which mistake of the program.
    """

    def work() -> None:
        try:
            with api.another() as own:
                tell(run(own, errand))
        except Exception as error:
            tell(error)

    threading.Thread(target=work, name="errand", daemon=True).start()


def reachCommand(id: str) -> str:
    """
    Propose a command that reaches a thing's ssh, to be changed as one likes.

    :param id: which thing.
    :return: a line for a shell.
    """
    words = shlex.quote(id)
    if id.isascii() and id.replace("-", "").replace(".", "").isalnum() and not id.startswith("-"):
        return f"ssh -o ProxyCommand='thing reach %h ssh' {words}"
    return f"thing reach -- {words} ssh"
