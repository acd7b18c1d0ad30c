"""``thing agent``: its options; what it does is imported when it runs."""

from __future__ import annotations

import click

from thing.cli.exits import ANY_COMMAND, guide
from thing.cli.options import ClientOptions, addressOptions, secondsOption


@click.command(
    epilog=guide(
        "thing agent thing.example --expose ssh=tcp:localhost:22",
        "thing agent thing.example --on-request ./answer",
        codes=ANY_COMMAND,
    )
)
# It has the words of the table of settings, which is not loaded just for the help.
@secondsOption("--ttl", help="The TTL to ask for.  [default: the server's choice]")
@click.option(
    "--last-word",
    "lastWord",
    metavar="TEXT",
    default="",
    help="What the server makes public if this thing is lost.",
)
@click.option(
    "--on-request",
    "onRequest",
    metavar="COMMAND",
    help="Answer each request by a run of this program: the request is its standard input, its "
    "standard output the answer.  [default: a request is a message]",
)
@click.option(
    "--on-message",
    "onMessage",
    metavar="COMMAND",
    help="Give each message to a run of this program, as its standard input, one after the "
    "other.  [default: standard output]",
)
@click.option(
    "--messages-from",
    "messagesFrom",
    metavar="FIFO",
    help="Send each line that is written there as a message; it is made if it is not there.  "
    "[default: standard input]",
)
@click.option(
    "--expose",
    metavar="NAME=ENDPOINT",
    multiple=True,
    help="Let operators reach what listens there, such as ssh=tcp:localhost:22; repeat it for "
    "others.",
)
@secondsOption(
    "--program-timeout",
    "programTimeout",
    help="How long a run of a program may take.",
    default=10.0,
)
@click.option(
    "--requests-at-once",
    "requestsAtOnce",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    metavar="N",
    help="How many requests are answered at once; one more is told that this thing is busy.",
)
@addressOptions
def agent(
    client: ClientOptions,
    lastWord: str,
    onRequest: str | None,
    onMessage: str | None,
    messagesFrom: str | None,
    expose: tuple[str, ...],
    programTimeout: float,
    requestsAtOnce: int,
    ttl: float | None,
) -> None:
    """
    Be a thing that is always on, as a service of systemd is.

    TARGET is HOST, HOST:PORT or [IPV6]:PORT (port 9000 by default), or a
    Twisted client endpoint string such as tcp:HOST:PORT, tls:HOST:PORT or
    unix:PATH. One such as thing:HOST:PORT:identity=FILE says the keys, too;
    options count more. Name several addresses of the server to have them tried
    one after the other; none for those of $THING_SERVER, or else of the only
    server in known_servers.

    It keeps a session with the server up, and comes back whatever happens,
    after a pause that it tells. Each line of standard input is sent as a
    message; while there is no session, lines wait to be read. Each message
    that comes is a line of standard output. What it does otherwise is logged
    to standard error.

    SIGTERM, Ctrl-C or the end of its terminal says goodbye and ends it; a
    second one ends it at once. Standard output that cannot be written ends it,
    too, with exit code 1. Nothing else does.
    """
    from thing.cli.attending import Choices, attend

    attend(
        client,
        Choices(
            ttl=ttl,
            lastWord=lastWord,
            onRequest=onRequest,
            onMessage=onMessage,
            messagesFrom=messagesFrom,
            expose=expose,
            programTimeout=programTimeout,
            requestsAtOnce=requestsAtOnce,
        ),
    )
