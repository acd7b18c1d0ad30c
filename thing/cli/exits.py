"""
How a command ends: every exit code, and the one line that goes with it.

Nothing here costs time to import, since ``thing --help`` shows the codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import click

from thing.errors import Worded


class ExitCode(Worded):
    """The exit codes of all commands; :attr:`sentence` is what ``--help`` shows."""

    GOODBYE = 0, "done; a session ended with goodbye from both sides"
    FAILED = 1, "a key, a file, standard input or output cannot be used"
    USAGE = 2, "the command line is not right"
    NOT_CONNECTED = 3, "no connection, or no answer in time"
    NOT_TRUSTED = 4, "the server's key is unknown, changed, revoked or not valid now"
    REJECTED = 5, "the server refused the handshake"
    FLAT_LINED = 6, "the server flat-lined the session"
    LAPSED = 7, "the server gave no sign of life within the TTL"
    TRUNCATED = 8, "the stream ended without goodbye"
    PROTOCOL_ERROR = 9, "a rule of the protocol was broken"
    ABORTED = 10, "the session was aborted, but not by you"
    SENT_AWAY = 11, "the server asked to leave before all was done"
    NOT_HERE = 12, "the thing is not here"
    UNANSWERED = 13, "the thing gave no answer in time; the message may have arrived"
    REFUSED = 14, "the thing's program takes no such messages"
    BROKE = 15, "the thing's program failed"
    NOT_TAKEN = 16, "the server did not take it: too long, or too many at a time"
    NO_ACCESS = 17, "the status server wants a token, or another one"
    NOT_PERMITTED = 18, "you may not reach that"
    UNKNOWN = 19, "there is no such thing, reach or node"
    NOT_EXPOSED = 20, "the thing does not expose that service"
    UNREACHABLE = 21, "the service refused, or the thing cannot reach it"
    WENT_AWAY = 22, "the thing went away while it was reached"
    ENDED = 23, "somebody ended the reach"
    DAMAGED = 24, "the token to join by is damaged, or none"
    OVER = 25, "the invitation was used or withdrawn, or its time is over"
    OTHER_KEY = 26, "another key has come with the invitation"
    NAME_TAKEN = 27, "another thing has the name"
    WAITING = 28, "nobody has said yes to the key yet"
    KEY_REFUSED = 29, "the server does not take the key"
    NODE_UP = 30, "the node is up, and cannot be forgotten"
    NOT_CONFORMING = 31, "the examined peer does not keep to the specification"
    INTERRUPTED = 130, "interrupted before goodbye, or before all was done"


ANY_COMMAND = (ExitCode.GOODBYE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.INTERRUPTED)
"""How every command can end."""

ASKING = (
    *(*ANY_COMMAND, ExitCode.NOT_CONNECTED, ExitCode.NOT_TRUSTED),
    *(ExitCode.PROTOCOL_ERROR, ExitCode.NO_ACCESS),
)
"""How one can end that asks a status server."""

HOLDING = (*ANY_COMMAND, *(ExitCode(value) for value in range(3, 12)))
"""How one can end that holds a session."""


def guide(*examples: str, codes: Iterable[ExitCode]) -> str:
    """
    Write what stands at the end of a command's ``--help``.

    :param examples: lines to type.
    :param codes: with which exit codes it can end.
    :return: the text, whose lines click is to leave alone.
    """
    typed = "".join(f"  {example}\n" for example in examples)
    shown = [f"\b\nExamples:\n{typed}"] if examples else []
    table = "".join(f"  {code.value:>3}  {code.sentence}\n" for code in sorted(codes))
    return "\n".join((*shown, f"\b\nExit codes:\n{table}"))


class CommandError(click.ClickException):
    """A command cannot go on: a line on standard error, and an exit code."""

    def __init__(
        self, message: str, code: ExitCode = ExitCode.FAILED, advice: str | None = None
    ) -> None:
        """
        :param message: the line.
        :param code: what to exit with.
        :param advice: a second line, on what to do; None for none.
        """
        super().__init__(message)
        self._advice = advice
        self.exit_code = code.value  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """
        Print it.

        :param file: where to; by default standard error.
        """
        complain(self.format_message())
        if self._advice is not None:
            complain(self._advice)


def complain(message: str) -> None:
    """
    Print a line for the user to standard error.

    :param message: the line, without a newline.
    """
    click.echo(f"thing: {message}", err=True)
