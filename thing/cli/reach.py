"""``thing reach``: its options; what it does is imported when it runs."""

from __future__ import annotations

import sys

import click

from thing.cli.exits import EPILOG
from thing.cli.options import ClientOptions, serverOptions


@click.command(epilog=EPILOG)
@click.argument("thing")
@click.argument("service")
@serverOptions
def reach(client: ClientOptions, thing: str, service: str) -> None:
    """
    Reach a service of a thing: standard input and output become the service's.

    THING is what thing ls calls it, and SERVICE what its agent exposes
    (thing agent --expose SERVICE=ENDPOINT). The server must permit it to your
    key.

    Octets go both ways as they come, and each direction ends for itself. So
    ssh takes it for a connection, and scp and rsync do:

    ssh -o ProxyCommand='thing reach %h ssh' root@lamp

    Ctrl-C cuts the connection.
    """
    from thing.cli.destination import Destination
    from thing.cli.reaching import Reacher
    from thing.cli.session import converse

    try:
        destination = Destination(thing, service)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if sys.stdin is None:
        raise click.UsageError("standard input must be open; /dev/null is")
    converse(client, lambda: Reacher(client.verbose, destination), requestedTtl=None)
