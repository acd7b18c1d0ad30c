"""``thing top``: its options; what it does is imported when it runs."""

from __future__ import annotations

import sys

import click

from thing.cli.exits import ASKING, guide
from thing.cli.options import secondsOption
from thing.cli.status import StatusOptions, statusOptions

SORTS = ("name", "trip", "beat", "messages")
"""By what things are sorted."""


@click.command(epilog=guide("thing top --sort trip", "thing top --once", codes=ASKING))
@click.argument("text", required=False, default="")
@secondsOption("-d", "--delay", help="The time from one look to the next.", default=2.0)
@click.option(
    "-s",
    "--sort",
    type=click.Choice(SORTS),
    default="name",
    show_default=True,
    help="By name, round trip, last heartbeat or messages; what is worst or most is first.",
)
@click.option("-R", "--reverse", is_flag=True, help="The other way round.")
@click.option("-b", "--batch", is_flag=True, help="Print plain tables, one after the other.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="With -b: end after so many.")
@click.option("--once", is_flag=True, help="The same as -b -n 1.")
@click.option("--json", "asJson", is_flag=True, help="With -b: print JSON objects, one a line.")
@statusOptions
def top(
    status: StatusOptions,
    text: str,
    delay: float,
    sort: str,
    reverse: bool,
    batch: bool,
    count: int | None,
    once: bool,
    asJson: bool,
) -> None:
    """
    Watch the fleet, its nodes and its things, as top does.

    With TEXT, only things that have it in the id, the name, the fingerprint or
    the address. The keys are shown by the key ?, and q ends it.

    A server that is away is asked again and again; what was known last stays
    on the screen.
    """
    batch = batch or once
    if not batch and (count is not None or asJson):
        raise click.UsageError("--count and --json need --batch")
    if once and count is not None:
        raise click.UsageError("--once and --count exclude each other")
    from thing.cli.batch import Batch
    from thing.cli.board import Board

    board = Board(status.address.text, sort, reverse, text)
    if batch:
        with status.api() as api:
            Batch(api, board, delay, 1 if once else count, asJson).run()
        return
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("standard input and output are no terminal; -b needs none")
    from thing.cli.screen import Screen

    Screen(status.api(), board, delay).run()
