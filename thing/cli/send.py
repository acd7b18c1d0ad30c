"""``thing send``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.completing import completeThings
from thing.cli.exits import ASKING, ExitCode, guide
from thing.cli.options import secondsOption
from thing.cli.status import StatusOptions, statusOptions

LONGEST_TIMEOUT = 60.0
"""The longest that a status server waits for a thing, seconds."""


_ENDS = (
    ExitCode.NOT_HERE,
    ExitCode.UNANSWERED,
    ExitCode.REFUSED,
    ExitCode.BROKE,
    ExitCode.NOT_TAKEN,
)
"""How it can end besides."""


@click.command(
    epilog=guide(
        "thing send lamp 'lights on'",
        "thing send camera - < settings.json",
        codes=(*ASKING, *_ENDS),
    )
)
@click.argument("id", shell_complete=completeThings)
@click.argument("message", required=False)
@secondsOption("--timeout", help="How long the thing may take to answer.", default=10.0)
@click.option("--json", "asJson", is_flag=True, help="Print the answer as a JSON object.")
@statusOptions
def send(status: StatusOptions, id: str, message: str | None, timeout: float, asJson: bool) -> None:
    """
    Send a message to a thing, and print what it answers.

    ID is what thing ls calls it. Without MESSAGE, or if it is -, the message
    is standard input, whatever octets it has.

    The thing has the message when its program has answered: the exit code
    says so, and says what went wrong if it has not. An answer goes to
    standard output as it is; to a terminal, line by line, without what could
    steer it.
    """
    from thing.cli.sending import readMessage, sendMessage

    if timeout > LONGEST_TIMEOUT:
        raise click.UsageError(f"--timeout: {LONGEST_TIMEOUT:g} s is the longest")
    octets = readMessage(message)
    with status.api() as api:
        sendMessage(api, id, octets, timeout, asJson)
