"""``thing connect``: its options; what it does is imported when it runs."""

from __future__ import annotations

import math
import sys

import click

from thing.cli.exits import HOLDING, guide
from thing.cli.options import ClientOptions, clientOptions, secondsOption


@click.command(
    epilog=guide(
        "thing connect localhost:9000 --server-key SHA256:...",
        "thing connect localhost:9000 < measured.csv > answers.txt",
        codes=HOLDING,
    )
)
# It has the words of the table of settings, which is not loaded just for the help.
@secondsOption("--ttl", help="The TTL to ask for.  [default: the server's choice]")
@click.option(
    "-q",
    "--quit-after",
    "quitAfter",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Say goodbye when standard input has ended and nothing was received for so long; "
    "0 for at once, a negative number for never.",
)
@clientOptions
def connect(client: ClientOptions, ttl: float | None, quitAfter: float) -> None:
    """
    Connect standard input and output to a server, as nc does.

    TARGET is HOST, HOST:PORT or [IPV6]:PORT (port 9000 by default), or a
    Twisted client endpoint string such as tcp:HOST:PORT, tls:HOST:PORT or
    unix:PATH. One such as thing:HOST:PORT:identity=FILE says the keys, too;
    options count more.

    Standard input is sent as it comes, at once and whatever octets it has: a
    terminal gives a line, a pipe what was written to it. Each such piece is a
    message, of 64 KiB at most. What is received is written to standard output
    as it is. When standard input has ended, all of it is sent, replies are
    awaited until -q says that enough is enough, and goodbye is said: what the
    server had to send before that still arrives. A server that has ended its
    half is sent the rest of standard input, too, unless that is a terminal.

    When input and output are files and take longer than a second, a line on the
    terminal shows how far they are.

    Ctrl-C says goodbye, too, and drops what was not read yet; a second Ctrl-C
    ends at once. A reader of standard output that stops reading for longer
    than a third of the TTL ends the session.
    """
    from thing.cli.pipe import Pipe
    from thing.cli.session import converse

    if math.isnan(quitAfter):
        raise click.UsageError("--quit-after: not a number")
    if sys.stdin is None:
        raise click.UsageError("standard input must be open; /dev/null is")
    converse(client, lambda: Pipe(client.verbose, quitAfter), requestedTtl=ttl, stream=True)
