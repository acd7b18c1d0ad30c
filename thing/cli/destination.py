"""What is reached: a service of a thing; and in which words a user learns that it is not."""

from __future__ import annotations

from dataclasses import dataclass

from thing.cli.exits import CommandError, ExitCode
from thing.core.streams import LABEL_LIMIT
from thing.errors import StopCode, StreamRefused
from thing.text import visible
from thing.trust.permits import REACH, SERVICE_NAME

_REFUSALS: dict[StopCode | int, tuple[ExitCode, str]] = {
    StopCode.NOT_PERMITTED: (
        ExitCode.NOT_PERMITTED,
        'not permitted: the server wants permit-reach="{thing}:{service}", or one that includes '
        "it, in the line of {key} in its file of authorized things; if {thing} is on another node, "
        "that node does, too, and in its file of nodes",
    ),
    StopCode.UNKNOWN_THING: (ExitCode.UNKNOWN, "the server knows no thing {thing}"),
    StopCode.NOT_CONNECTED: (ExitCode.NOT_HERE, "{thing} is not connected"),
    StopCode.NOT_EXPOSED: (
        ExitCode.NOT_EXPOSED,
        "{thing} does not expose {service}: its agent wants --expose {service}=ENDPOINT",
    ),
    StopCode.UNREACHABLE: (
        ExitCode.UNREACHABLE,
        "{service} of {thing} refused the connection, or {thing} cannot reach it",
    ),
    StopCode.WENT_AWAY: (ExitCode.WENT_AWAY, "{thing} went away"),
    StopCode.ENDED: (ExitCode.ENDED, "somebody ended this reach"),
    StopCode.NO_WAY: (
        ExitCode.NOT_CONNECTED,
        "there is no way to the node that {thing} is on: that node, its registry or what is "
        "between is away",
    ),
    StopCode.NOT_TAKEN: (ExitCode.NOT_TAKEN, "the server knows nothing of reaching things"),
    StopCode.BUSY: (ExitCode.NOT_TAKEN, "there is no room for one more reach now"),
    StopCode.TIMED_OUT: (ExitCode.NOT_CONNECTED, "{thing} gave no answer in time"),
    StopCode.FAILED: (ExitCode.BROKE, "the program that serves {service} failed"),
    StopCode.CANCELLED: (
        ExitCode.TRUNCATED,
        "{service} of {thing} cut the connection: what it sent last may be missing",
    ),
}
"""How the command ends for each reason, and the line for the user."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A service of a thing, as the user named it."""

    thing: str
    """The thing's id."""

    service: str
    """What the service is called."""

    def __post_init__(self) -> None:
        """:raises ValueError: if there can be no such thing or service; the message says so."""
        if not SERVICE_NAME.fullmatch(self.service):
            raise ValueError(
                f"{self.service!r} can be no service: 1 to 64 ASCII letters, digits, '.', '_', '-'"
            )
        if not self.thing or len(self.label.encode("utf-8", "surrogateescape")) > LABEL_LIMIT:
            raise ValueError(f"{self.thing!r} can be no thing: it is empty, or too long")

    @property
    def label(self) -> str:
        """The label of a stream that reaches it."""
        return f"{REACH}{self.service}:{self.thing}"

    def refusal(self, code: StopCode | int, key: str) -> CommandError:
        """
        Say why it is not reached, or not any more.

        :param code: what the server said.
        :param key: the user's key, for a sentence.
        :return: the line and the exit code.
        """
        known = _REFUSALS.get(code)
        if known is None:
            return CommandError(f"the stream was cut: {StreamRefused(code)}", ExitCode.TRUNCATED)
        exitCode, text = known
        line = text.format(thing=visible(self.thing), service=self.service, key=key)
        return CommandError(line, exitCode)
