"""
What all commands that hold a session are told alike: the server, the keys, the patience.

The options about trust are made from :data:`~thing.trust.choice.CLIENT_KEYWORDS`. They are
checked here; files are read in :mod:`thing.cli.servers`.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from thing.cli.keys import FILE, defaultKeyFile
from thing.cli.target import Target, parseTarget, serverTarget
from thing.errors import CredentialError
from thing.trust.choice import CLIENT_KEYWORDS, expectedServer
from thing.trust.home import homeDirectory
from thing.trust.keywords import Keyword, Where, asOption, readKeywords, writtenIn, yes

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
"""What gives a command one more option."""

_KEYWORDS = writtenIn(Where.COMMAND, CLIENT_KEYWORDS)
"""What can be chosen here."""

_SPELLED = {"knownServers": "--known-hosts", "firstUse": "--trust-on-first-use"}
"""The keywords that are named here as ssh's users would name them."""

_HELP = {
    "identity": "OpenSSH private key, Ed25519.  [default: the one that thing "
    "keygen makes, if it is there; else you are anonymous]",
    "passphraseFile": "Its first line decrypts the private keys.  [default: ask on the terminal]",
    "serverKey": "Believe a server with this key; repeat it to allow several.",
    "knownServers": "Believe the keys in it, as in known_hosts.  [default: known_servers in the "
    "per-user directory, if no other choice says which server to believe]",
}
"""What is said here of a keyword in place of the table's words."""


def defaultKnownServers() -> str:
    """:return: where the servers are that the user knows, if nothing is said."""
    return os.path.join(homeDirectory(), "known_servers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What the user chose for a session."""

    target: Target
    """The server."""

    others: tuple[Target, ...] = ()
    """Further addresses of it."""

    trust: Mapping[str, str]
    """The keys, and which server to believe, by the keywords of :mod:`thing.trust.choice`."""

    anonymous: bool
    """Whether to show no key."""

    timeout: float
    """How long connecting, and then the handshake, may take, seconds."""

    verbose: bool
    """Whether to report on standard error."""

    insists: bool = False
    """Whether the user said :attr:`timeout`, so that it counts more than a ``thing:`` string."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """All addresses of the server, in the order in which they are tried."""
        return self.target, *self.others

    @property
    def settings(self) -> dict[str, Any]:
        """What a ``thing:`` string says of the session, and the patience for the handshake."""
        said = {} if self.target.thing is None else self.target.thing.settings
        patience = {"handshakeTimeout": self.timeout}
        return {**said, **patience} if self.insists else {**patience, **said}

    @property
    def decided(self) -> bool:
        """Whether the user said which server to believe."""
        return any(keyword.decides and keyword.name in self.trust for keyword in _KEYWORDS)

    @property
    def trustWithDefaults(self) -> dict[str, str]:
        """:attr:`trust`, and the default files where nothing was said."""
        trust = {"resumption": "no", **self.trust}
        if not self.decided:
            trust["knownServers"] = defaultKnownServers()
        named = {"identity", "certificate", "presharedKey"} & trust.keys()
        if not (named or self.anonymous):
            with suppress(CredentialError):  # Who has no home has no key there.
                if os.path.lexists(defaultKeyFile()):
                    trust["identity"] = defaultKeyFile()
        return trust


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


def _parseTargets(
    context: click.Context, parameter: click.Parameter, texts: str | tuple[str, ...]
) -> tuple[Target, ...]:
    try:
        return tuple(map(parseTarget, (texts,) if isinstance(texts, str) else texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _spelled(name: str) -> str:
    """A keyword as an option."""
    return _SPELLED.get(name) or asOption(name)


def _trustOption(keyword: Keyword) -> Decorator:
    doc = keyword.plainDoc
    help = _HELP.get(keyword.name) or f"{doc[0].upper()}{doc[1:]}."
    names = _spelled(keyword.name), keyword.name
    if keyword.read is yes:
        return click.option(*names, is_flag=True, help=help)
    return click.option(
        *names,
        type=FILE if keyword.value == "FILE" else str,
        metavar=keyword.value,
        multiple=keyword.name == "serverKey",
        help=help,
    )


_OPTIONS: tuple[Decorator, ...] = (
    *map(_trustOption, _KEYWORDS),
    click.option("--anonymous", is_flag=True, help="Show no key."),
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
    return _sessionOptions(
        command, click.argument("targets", metavar="TARGET", callback=_parseTargets)
    )


def addressOptions(command: Callable[..., None]) -> Callable[..., None]:
    """
    Give a command any number of arguments TARGET, and the options of a session.

    :param command: as for :func:`clientOptions`.
    :return: the command, to be given its own options.
    """
    targets = click.argument(
        "targets", metavar="[TARGET]...", nargs=-1, envvar="THING_SERVER", callback=_parseTargets
    )
    return _sessionOptions(command, targets)


def serverOptions(command: Callable[..., None]) -> Callable[..., None]:
    """
    Give a command the option ``--server`` and the options of a session.

    :param command: as for :func:`clientOptions`.
    :return: the command, to be given its own options.
    """
    return _sessionOptions(
        command,
        click.option(
            "--server",
            "targets",
            metavar="TARGET",
            multiple=True,
            envvar="THING_SERVER",
            show_envvar=True,
            callback=_parseTargets,
            help="The server, as for thing connect; repeat it to have several addresses tried, the "
            "first first.  [default: the only one in known_servers]",
        ),
    )


def _sessionOptions(command: Callable[..., None], whom: Decorator) -> Callable[..., None]:
    """Give a command the options of a session; how the server is named is up to it."""

    def withOptions(
        targets: tuple[Target, ...],
        anonymous: bool,
        timeout: float,
        verbose: bool,
        **others: object,
    ) -> None:
        values = {keyword.name: others.pop(keyword.name) for keyword in _KEYWORDS}
        trust = {
            name: _written(value)
            for name, value in values.items()
            if value not in (None, False, ())
        }
        target, *more = targets or _onlyServer(trust)
        if target.thing is not None:
            trust = {**target.thing.trust, **trust}
        client = ClientOptions(
            target=target,
            others=tuple(more),
            trust=trust,
            anonymous=anonymous,
            timeout=timeout,
            verbose=verbose,
            insists=_wasSaid("timeout"),
        )
        _check(client)
        command(client, **others)

    decorated: Callable[..., None] = functools.wraps(command)(withOptions)
    for option in reversed((whom, *_OPTIONS)):
        decorated = option(decorated)
    return decorated


def _wasSaid(option: str) -> bool:
    """Whether the user gave an option, and it is not the default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not ParameterSource.DEFAULT


def _onlyServer(trust: Mapping[str, str]) -> list[Target]:
    """The addresses of the server that is meant when none is named."""
    from thing.trust.onlyserver import onlyServer

    try:
        path = trust.get("knownServers") or defaultKnownServers()
        if not os.path.lexists(path):
            raise CredentialError(f"no server is known, as there is no {path}")
        found = onlyServer(path)
        return [serverTarget(*address) for address in found]
    except (CredentialError, ValueError) as error:
        raise click.UsageError(f"{error}; name the server, or set THING_SERVER") from None


def _written(value: object) -> str:
    """A value as the table's readers take it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return "yes" if value is True else str(value)


def _check(client: ClientOptions) -> None:
    """Refuse options that exclude or need each other, and values that cannot be."""
    for name in ("identity", "certificate", "presharedKey"):
        if client.anonymous and name in client.trust:
            raise click.UsageError(f"--anonymous and {_spelled(name)} exclude each other")
    try:
        chosen = readKeywords(CLIENT_KEYWORDS, client.trustWithDefaults, _spelled)
    except CredentialError as error:
        raise click.UsageError(str(error)) from None
    for target in client.targets:
        try:
            expectedServer(chosen, target.server, _spelled)
        except CredentialError as error:
            if client.decided:
                raise click.UsageError(str(error)) from None
            raise click.UsageError(
                f"{target.text} has no host and port to look up in known_servers; "
                "give --server-key or --server-name"
            ) from None
