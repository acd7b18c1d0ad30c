"""``thing reach``: its options; what it does is imported when it runs."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from thing.cli.completing import completeThings
from thing.cli.exits import HOLDING, ExitCode, guide
from thing.cli.listenaddress import ListenAddress, parseListen
from thing.cli.options import ClientOptions, serverOptions

if TYPE_CHECKING:
    from thing.cli.destination import Destination


def _parseListen(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> ListenAddress | None:
    try:
        return None if text is None else parseListen(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_ENDS = (
    ExitCode.NOT_PERMITTED,
    ExitCode.UNKNOWN,
    ExitCode.NOT_HERE,
    ExitCode.NOT_EXPOSED,
    ExitCode.UNREACHABLE,
    ExitCode.WENT_AWAY,
    ExitCode.ENDED,
    ExitCode.NOT_TAKEN,
    ExitCode.BROKE,
)
"""How it can end besides."""


@click.command(
    epilog=guide(
        "thing reach lamp web --listen 8080",
        "ssh -o ProxyCommand='thing reach %h ssh' root@lamp",
        codes=(*HOLDING, *_ENDS),
    )
)
@click.argument("thing", shell_complete=completeThings)
@click.argument("service")
@click.option(
    "--listen",
    "address",
    metavar="ADDRESS",
    callback=_parseListen,
    help="Listen, and reach the service for each connection, as ssh -L does. ADDRESS is PORT (of "
    "127.0.0.1; 0 for any), ADDRESS:PORT, [IPV6]:PORT or unix:PATH.",
)
@serverOptions
def reach(client: ClientOptions, thing: str, service: str, address: ListenAddress | None) -> None:
    """
    Reach a service of a thing by standard input and output.

    THING is what thing ls calls it, and SERVICE what its agent exposes
    (thing agent --expose SERVICE=ENDPOINT). The server must permit it to your
    key.

    Octets go both ways as they come, and each direction ends for itself. So
    ssh takes it for a connection, and scp and rsync do:

    ssh -o ProxyCommand='thing reach %h ssh' root@lamp

    Ctrl-C cuts the connection.

    With --listen the URL of the service is printed, and connections are taken
    until Ctrl-C. One that is refused does not end it, and a session that is
    lost is had again.
    """
    from thing.cli.destination import Destination
    from thing.cli.reaching import Reacher
    from thing.cli.session import converse

    try:
        destination = Destination(thing, service)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if address is not None:
        _forward(client, destination, address)
    if sys.stdin is None:
        raise click.UsageError("standard input must be open; /dev/null is")
    converse(client, lambda: Reacher(client.verbose, destination))


def _forward(client: ClientOptions, destination: Destination, address: ListenAddress) -> NoReturn:
    from thing.cli.forwarding import Forwarder, ForwardSession
    from thing.cli.session import converse

    converse(
        client,
        lambda: ForwardSession(client.verbose),
        held=functools.partial(Forwarder, destination=destination, address=address),
    )
