"""``thing show`` and ``thing leave``: their options; what they do is imported when they run."""

from __future__ import annotations

import click

from thing.cli.completing import completeThings
from thing.cli.exits import ASKING, ExitCode, guide
from thing.cli.status import StatusOptions, statusOptions


@click.command(
    epilog=guide(
        "thing show lamp",
        "thing show lamp --json | jq .traffic.roundTripTime",
        codes=(*ASKING, ExitCode.UNKNOWN),
    )
)
@click.argument("id", shell_complete=completeThings)
@click.option("--json", "asJson", is_flag=True, help="Print it as a JSON object.")
@statusOptions
def show(status: StatusOptions, id: str, asJson: bool) -> None:
    """
    Show all that is known of one thing, here or gone.

    ID is what thing ls calls it. What is shown is its session, what was
    measured of it, who reaches it now, and how its sessions before ended.
    """
    from thing.cli.details import showThing

    with status.api() as api:
        showThing(api, id, asJson)


@click.command(epilog=guide("thing leave lamp", codes=(*ASKING, ExitCode.NOT_HERE)))
@click.argument("id", shell_complete=completeThings)
@statusOptions
def leave(status: StatusOptions, id: str) -> None:
    """
    Ask a thing to leave.

    ID is what thing ls calls it. The thing finishes what it is at, and says
    goodbye. Whether it comes back is up to it: an agent does. To keep it away,
    take its key out of the server's file of authorized things.
    """
    from thing.cli.details import dismissThing

    with status.api() as api:
        dismissThing(api, id)
