"""``thing invite`` and ``thing invitations``: their options; what they do is imported later."""

from __future__ import annotations

import re

import click

from thing.cli.completing import completeInvitations
from thing.cli.exits import ASKING, ExitCode, guide
from thing.cli.status import StatusOptions, statusOptions
from thing.cli.target import parseTarget

_ENDS = (ExitCode.NOT_TAKEN, ExitCode.OVER, ExitCode.OTHER_KEY)
"""How both can end besides."""

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
"""The seconds in each unit of time."""


def _parseSpan(context: click.Context, parameter: click.Parameter, text: str) -> float:
    match = _SPAN.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r} is not a time such as 90s, 30m, 1h or 2d")
    return seconds


def _parseServers(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[str]:
    """The addresses as tokens have them, each with its port."""
    servers = []
    for text in texts:
        try:
            target = parseTarget(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if target.isEndpoint or target.server is None:
            raise click.BadParameter(f"{text!r} is not HOST, HOST:PORT or [IPV6]:PORT")
        host, port = target.server
        servers.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return servers


@click.command(
    epilog=guide(
        "thing invite kettle --server localhost:9000",
        "thing invite kettle --server localhost:9000 --confirm --qr",
        codes=(*ASKING, *_ENDS, ExitCode.NAME_TAKEN, ExitCode.WAITING),
    )
)
@click.argument("name")
@click.option(
    "--server",
    "servers",
    metavar="HOST:PORT",
    multiple=True,
    required=True,
    envvar="THING_SERVER",
    show_envvar=True,
    callback=_parseServers,
    help="Where the thing finds the server; repeat it to have several tried, the first first.",
)
@click.option(
    "--expires",
    "life",
    metavar="TIME",
    default="1h",
    show_default=True,
    callback=_parseSpan,
    help="For how long the invitation counts: 90s, 30m, 1h, 2d.",
)
@click.option("--confirm", is_flag=True, help="Ask for a yes to the key that comes with it.")
@click.option("--replace", is_flag=True, help="Let it take the place of a thing of that name.")
@click.option("--qr", "code", is_flag=True, help="Show the token as a QR code on standard error.")
@statusOptions
def invite(
    status: StatusOptions,
    name: str,
    servers: list[str],
    life: float,
    confirm: bool,
    replace: bool,
    code: bool,
) -> None:
    """
    Invite a thing to join, once, and print what to type on it.

    The line on standard output is all that the thing needs: where the server
    is, how to know it, and a secret. Whoever reads it may join in its place:
    send it by a way that only the right one reads.

    With --confirm the key that comes waits for a yes. On a terminal this
    command waits for the key, shows its fingerprint and asks; else thing
    invitations --confirm says it.
    """
    from thing.cli.inviting import Wish, inviteThing

    if not name.strip():
        raise click.BadParameter("it is empty", param_hint="NAME")
    wish = Wish(name, servers, life, confirm, replace)
    with status.api() as api:
        inviteThing(api, wish, code)


@click.command(
    epilog=guide(
        "thing invitations",
        "thing invitations --withdraw 0123456789abcdef",
        codes=(*ASKING, *_ENDS),
    )
)
@click.option(
    "--withdraw",
    metavar="ID",
    shell_complete=completeInvitations,
    help="Have this one count no more.",
)
@click.option(
    "--confirm",
    metavar="ID",
    shell_complete=completeInvitations,
    help="Say yes to the key that has come with this one.",
)
@click.option(
    "--key",
    "fingerprint",
    metavar="FINGERPRINT",
    help="The key to say yes to.  [default: ask on the terminal]",
)
@click.option("--json", "asJson", is_flag=True, help="Print each as a JSON object on a line.")
@statusOptions
def invitations(
    status: StatusOptions,
    withdraw: str | None,
    confirm: str | None,
    fingerprint: str | None,
    asJson: bool,
) -> None:
    """
    List the invitations, withdraw one, or say yes to a key.

    An invitation is listed until its time is over. One that was withdrawn
    counts no more at once; a thing that has joined by it stays.

    Before you say yes, compare the fingerprint with the one that thing join
    shows on the thing itself.
    """
    from thing.cli.inviting import confirmKey, listInvitations, withdrawInvitation

    if withdraw is not None and confirm is not None:
        raise click.UsageError("--withdraw and --confirm exclude each other")
    if fingerprint is not None and confirm is None:
        raise click.UsageError("--key needs --confirm")
    with status.api() as api:
        if withdraw is not None:
            withdrawInvitation(api, withdraw)
        elif confirm is not None:
            confirmKey(api, confirm, fingerprint)
        else:
            listInvitations(api, asJson)
