"""What ``thing connect`` and ``thing ping`` are told alike: the server, the keys, the patience."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import click

from thing.cli.keys import FILE
from thing.cli.target import Target, parseTarget

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
"""What gives a command one more option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What the user chose for a session."""

    target: Target
    """The server."""

    identity: str | None
    """The own private key's file; None for the default one if there is one."""

    passphraseFile: str | None
    """The file that has the key's passphrase."""

    anonymous: bool
    """Whether to show no key."""

    serverKeys: tuple[str, ...]
    """The fingerprints of which the server's key must have one; empty to ask the file."""

    knownHosts: str | None
    """The file of known servers; None for the default one."""

    trustOnFirstUse: bool
    """Whether an unknown server's key is believed and stored."""

    timeout: float
    """How long connecting, and then the handshake, may take, seconds."""

    verbose: bool
    """Whether to report on standard error."""


def secondsOption(*names: str, help: str, default: float | None = None) -> Decorator:
    """
    Declare an option that takes a positive, finite number of seconds.

    :param names: its names.
    :param help: what it is for.
    :param default: what it is if it is not given.
    :return: a decorator of a command.
    """
    return click.option(
        *names,
        type=float,
        metavar="SECONDS",
        callback=_checkSeconds,
        help=help,
        default=default,
        show_default=default is not None,
    )


def _checkSeconds(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value} is not a positive number of seconds")
    return value


def _parseTarget(context: click.Context, parameter: click.Parameter, text: str) -> Target:
    try:
        return parseTarget(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS: tuple[Decorator, ...] = (
    click.argument("target", callback=_parseTarget),
    click.option(
        "--identity",
        type=FILE,
        help="Your private key.  [default: the one that thing "
        "keygen makes, if it is there; else you are anonymous]",
    ),
    click.option(
        "--passphrase-file",
        "passphraseFile",
        type=FILE,
        help="A file whose first line decrypts the private key.  [default: ask on the terminal]",
    ),
    click.option("--anonymous", is_flag=True, help="Show no key."),
    click.option(
        "--server-key",
        "serverKeys",
        multiple=True,
        metavar="SHA256:...",
        help="The fingerprint that the server's key must have; repeat it to allow several.",
    ),
    click.option(
        "--known-hosts",
        "knownHosts",
        type=FILE,
        help="The file of known servers, of ssh's "
        "known_hosts format.  [default: known_servers in the per-user directory]",
    ),
    click.option(
        "--trust-on-first-use",
        "trustOnFirstUse",
        is_flag=True,
        help="Believe and store the key of a server that is not known. A changed key is refused.",
    ),
    secondsOption(
        "--timeout",
        help="How long connecting, and then the handshake, may take.",
        default=10.0,
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Report the handshake, each heartbeat and the end on standard error.",
    ),
)


def clientOptions(command: Callable[..., None]) -> Callable[..., None]:
    """
    Give a command the argument TARGET and the options of a session.

    :param command: called with ``client``, the :class:`ClientOptions`, and
        with its own options.
    :return: the command, to be given its own options.
    """

    def withOptions(
        target: Target,
        identity: str | None,
        passphraseFile: str | None,
        anonymous: bool,
        serverKeys: tuple[str, ...],
        knownHosts: str | None,
        trustOnFirstUse: bool,
        timeout: float,
        verbose: bool,
        **own: object,
    ) -> None:
        client = ClientOptions(
            target=target,
            identity=identity,
            passphraseFile=passphraseFile,
            anonymous=anonymous,
            serverKeys=serverKeys,
            knownHosts=knownHosts,
            trustOnFirstUse=trustOnFirstUse,
            timeout=timeout,
            verbose=verbose,
        )
        _check(client)
        command(client, **own)

    decorated: Callable[..., None] = functools.wraps(command)(withOptions)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _check(client: ClientOptions) -> None:
    """Refuse options that exclude each other."""
    if client.serverKeys and (client.trustOnFirstUse or client.knownHosts is not None):
        raise click.UsageError(
            "--server-key leaves nothing to --known-hosts and --trust-on-first-use"
        )
    if client.anonymous and client.identity is not None:
        raise click.UsageError("--anonymous and --identity exclude each other")
    if client.target.server is None and not client.serverKeys:
        raise click.UsageError(
            f"{client.target.text} has no host and port to look up in known_servers; "
            "give --server-key"
        )
