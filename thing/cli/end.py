"""``thing end``: its options; what it does is imported when it runs."""

from __future__ import annotations

import re

import click

from thing.cli.completing import completeReaches
from thing.cli.exits import ASKING, ExitCode, guide
from thing.cli.status import StatusOptions, statusOptions

_ID = re.compile("[0-9a-f]{16}")


def _checkId(context: click.Context, parameter: click.Parameter, id: str) -> str:
    if not _ID.fullmatch(id):
        raise click.BadParameter(f"{id!r} is not 16 hexadecimal digits, as thing ls --reach has it")
    return id


@click.command(epilog=guide("thing end 0123456789abcdef", codes=(*ASKING, ExitCode.UNKNOWN)))
@click.argument("id", callback=_checkId, shell_complete=completeReaches)
@statusOptions
def end(status: StatusOptions, id: str) -> None:
    """
    End what somebody reaches.

    ID is what thing ls --reach calls it. Both sides are cut at once, and the
    operator is told that somebody ended it. To keep them from coming back,
    take the permission out of the server's file of authorized things.
    """
    from thing.cli.reachlist import endReach

    with status.api() as api:
        endReach(api, id)
