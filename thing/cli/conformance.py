"""``thing conformance``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.exits import ANY_COMMAND, ExitCode, guide
from thing.cli.options import ClientOptions, clientOptions

PROFILES = ("full", "small")
"""What a peer may claim to be."""


def _list(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from thing.cli.conforming import listChecks

    listChecks()
    context.exit()


_EPILOG = guide(
    "thing conformance --anonymous --server-key SHA256:... localhost:9000",
    "thing conformance --listen 127.0.0.1:9000 --profile small --json",
    codes=(*ANY_COMMAND, ExitCode.NOT_CONNECTED, ExitCode.NOT_CONFORMING),
)


@click.command(epilog=_EPILOG)
@click.option("--listen", is_flag=True, help="Examine a client: be the server at TARGET.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default=PROFILES[0],
    show_default=True,
    help="What the peer claims to be: a small one need not have all.",
)
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    help="Only the checks of this name, as records.tag or 'records.*'; repeatable.",
)
@click.option(
    "--except", "without", metavar="NAME", multiple=True, help="None of this name; repeatable."
)
@click.option(
    "--label",
    metavar="LABEL",
    default="conformance",
    show_default=True,
    help="Of the streams that are opened; a peer that takes them is examined further.",
)
@click.option(
    "--parallel",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Make so many checks at once; a server must let a key have so many sessions then.",
)
@click.option("--json", "asJson", is_flag=True, help="Print each as a JSON object on a line.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="List the checks and exit.",
)
@clientOptions
def conformance(
    client: ClientOptions,
    listen: bool,
    profile: str,
    only: tuple[str, ...],
    without: tuple[str, ...],
    label: str,
    parallel: int,
    asJson: bool,
) -> None:
    """
    Examine an implementation of Thing against the specification.

    Without --listen the server at TARGET is examined: it is connected to again
    and again, with messages of every kind, right and wrong. With --listen this
    is the server at TARGET, HOST:PORT, and the client is examined that connects
    to it, as often as it takes: have it connect again as soon as a connection
    has ended. The server's key is made for this run, unless --identity gives
    one, and its fingerprint is printed on standard error.

    Each line tells whether a sentence of the specification holds, section by
    section. What is not tried has no use with this peer, or needs an option;
    what differs is recommended only. The exit code is 0 if all holds that has
    to, and 31 if something does not.
    """
    from thing.cli.conforming import Conforming

    Conforming(client, listen, profile, only, without, label, asJson).run(parallel)
