"""``thing events``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.completing import completeThings
from thing.cli.exits import ASKING, guide
from thing.cli.status import StatusOptions, statusOptions

KINDS = (
    *("joined", "moved", "late", "renewed", "message", "left", "lastWord", "twins"),
    *("reached", "reachEnded"),
)
"""The values of :class:`thing.fleet.Kind`, which is not imported just for the help."""


@click.command(
    epilog=guide(
        "thing events --kind joined --kind left", "thing events -n 1 --id lamp", codes=ASKING
    )
)
@click.option(
    "--id",
    "ids",
    metavar="ID",
    multiple=True,
    shell_complete=completeThings,
    help="Only of this thing; repeatable.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    metavar="KIND",
    multiple=True,
    help=f"Only these; repeatable: {', '.join(KINDS)}.",
)
@click.option(
    "--after",
    metavar="POSITION",
    help="Begin behind this position, as --json shows it, if the server still remembers; "
    "0-0 is before all.  [default: now]",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many.")
@click.option("--json", "asJson", is_flag=True, help="Print each as a JSON object on a line.")
@statusOptions
def events(
    status: StatusOptions,
    ids: tuple[str, ...],
    kinds: tuple[str, ...],
    after: str | None,
    count: int | None,
    asJson: bool,
) -> None:
    """
    Follow what happens to the things: one line for each event.

    Ctrl-C ends it. A connection that is lost is made again, and the events
    of the meantime are told; if some are lost, that is said on standard
    error, and with --json by the object {"kind": "reset"}, too.
    """
    from thing.cli.following import Follower
    from thing.fleet.positions import parsePosition

    if after is not None:
        try:
            parsePosition(after)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--after") from None
    with status.api() as api:
        Follower(api, {"id": list(ids), "kind": list(kinds)}, count, asJson).run(after)
