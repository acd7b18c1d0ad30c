"""``thing ping``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.exits import HOLDING, guide
from thing.cli.options import ClientOptions, clientOptions, secondsOption


@click.command(epilog=guide("thing ping localhost:9000 -c 5", codes=HOLDING))
@click.option("-c", "--count", type=click.IntRange(min=1), help="Say goodbye after so many.")
@secondsOption(
    "-i",
    "--interval",
    help="The time from one heartbeat to the next; the server may grant another.",
    default=1.0,
)
@clientOptions
def ping(client: ClientOptions, count: int | None, interval: float) -> None:
    """
    Measure a server's heartbeats, as ping does.

    TARGET is HOST, HOST:PORT or [IPV6]:PORT (port 9000 by default), or a
    Twisted client endpoint string; one that begins with thing: says the keys,
    too.

    Heartbeats are sent when the protocol says so: three times in a TTL, and
    the TTL is what the server grants. Three times the interval are asked for;
    the first line tells what was granted, and the time of the handshake. A
    server that stays silent for that TTL has lapsed, and ping ends.

    Ctrl-C prints the summary and says goodbye, as -c does; a second Ctrl-C
    ends at once. Heartbeats that are not acknowledged at the end count as lost.
    """
    from thing.cli.pinging import Pinger
    from thing.cli.session import converse
    from thing.core.heartbeat import BEATS_PER_TTL

    converse(
        client,
        lambda: Pinger(client.target.text, client.verbose, count),
        requestedTtl=BEATS_PER_TTL * interval,
        jitter=lambda: 0.0,  # One who watches does not want to wait for the first.
    )
