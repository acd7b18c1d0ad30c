"""``thing nodes``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.completing import completeNodes
from thing.cli.exits import ASKING, ExitCode, guide
from thing.cli.status import StatusOptions, statusOptions


@click.command(
    epilog=guide(
        "thing nodes",
        "thing nodes --forget north",
        codes=(*ASKING, ExitCode.UNKNOWN, ExitCode.NODE_UP),
    )
)
@click.option(
    "--forget",
    metavar="NAME",
    shell_complete=completeNodes,
    help="Have this one, which was lost, listed no more.",
)
@click.option("--json", "asJson", is_flag=True, help="Print each as a JSON object on a line.")
@statusOptions
def nodes(status: StatusOptions, forget: str | None, asJson: bool) -> None:
    """
    List the nodes, and how they are.

    One that was stopped is listed for an hour, and one that was lost for a day,
    unless it comes back or is forgotten: then it is not missed any more. One
    that is up cannot be forgotten.
    """
    from thing.cli.nodelist import forgetNode, listNodes

    if forget is not None and asJson:
        raise click.UsageError("--forget and --json exclude each other")
    with status.api() as api:
        if forget is not None:
            forgetNode(api, forget)
        else:
            listNodes(api, asJson)
