"""``thing ls``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.completing import completeNodes
from thing.cli.exits import ASKING, guide
from thing.cli.status import StatusOptions, statusOptions

STATUSES = ("present", "late", "gone")
"""What a thing can be."""


@click.command(
    epilog=guide(
        "thing ls", "thing ls --status-is late", "thing ls --all --json | jq -r .id", codes=ASKING
    )
)
@click.argument("text", required=False)
@click.option(
    "--status-is",
    "wanted",
    type=click.Choice(STATUSES),
    help="Only things that are so.  [default: those that are here]",
)
@click.option(
    "--node", metavar="NAME", shell_complete=completeNodes, help="Only things on this node."
)
@click.option("-a", "--all", "everything", is_flag=True, help="List all, however many there are.")
@click.option("--reach", "reached", is_flag=True, help="List the services that are reached.")
@click.option("--json", "asJson", is_flag=True, help="Print each as a JSON object on a line.")
@statusOptions
def ls(
    status: StatusOptions,
    text: str | None,
    wanted: str | None,
    node: str | None,
    everything: bool,
    reached: bool,
    asJson: bool,
) -> None:
    """
    List the things that are here, or were.

    With TEXT, only those that have it in the id, the name, the fingerprint or
    the address; case counts not.

    The first 500 are listed, in the order of their ids; that there are more,
    or that a part of the fleet could not be asked, is said on standard error.

    With --reach those services are listed, all of them, that operators have
    open now: who, by which thing, from where, for how long, and how many
    octets went up to the thing and down from it. TEXT is looked for there.
    """
    if reached:
        if wanted is not None:
            raise click.UsageError("--reach and --status-is exclude each other")
        from thing.cli.reachlist import listReaches

        with status.api() as api:
            listReaches(api, text, node, asJson)
        return
    from thing.cli.listing import Listing

    listing = Listing({"q": text, "status": wanted, "node": node}, everything, asJson)
    with status.api() as api:
        listing.run(api)
