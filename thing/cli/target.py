"""
What a user writes to name a server: a host and a port, or an endpoint string.

It is understood here, and made an endpoint; nothing is looked up or connected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING, Any

import click

from thing.trust.keywords import host

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint

    from thing.endpoints.parsers import ClientDescription

DEFAULT_PORT = 9000
"""The port of a server that is named by its host alone."""

_HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?")
_FIELD = re.compile(r"((?:\\.|[^\\:])*)(?::|$)", re.DOTALL)
_NAMED = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)
_WITH_HOST = {"tcp", "tls", "ssl"}
"""The kinds of endpoint whose arguments are first a host and a port."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, as the user named it."""

    text: str
    """What the user wrote."""

    server: tuple[str, int] | None
    """Its host and port, by which known_servers knows it; None if it has none."""

    isEndpoint: bool
    """Whether :attr:`text` is an endpoint string."""

    thing: ClientDescription | None = None
    """What a ``thing:`` string says besides: the keys, whom to believe, the settings."""

    def endpoint(self, reactor: Any, timeout: float) -> IStreamClientEndpoint:
        """
        Make the endpoint to connect by.

        :param reactor: the reactor.
        :param timeout: how long each attempt to connect may take, seconds; an
            endpoint string has its own.
        :return: the endpoint.
        :raises click.UsageError: if the endpoint string is not one.
        """
        from twisted.internet.endpoints import clientFromString

        from thing.session.hosts import HostEndpoint

        if self.thing is not None:
            try:
                return self.thing.endpoint(reactor)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
        if not self.isEndpoint:
            assert self.server is not None, "a host and a port were parsed"
            return HostEndpoint(reactor, *self.server, timeout=timeout)
        try:
            endpoint: IStreamClientEndpoint = clientFromString(  # type: ignore[no-untyped-call]
                reactor, self.text
            )
        except (ValueError, TypeError, LookupError, OSError) as error:
            raise click.UsageError(f"not a client endpoint: {self.text}: {error}") from None
        return endpoint


def parseTarget(text: str) -> Target:
    """
    Understand what the user wrote.

    :param text: ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or an endpoint string; of one that begins
        with ``thing:`` all counts that it says of a session.
    :return: the target.
    :raises ValueError: if it is none of these; the message says so.
    """
    match = _HOST.fullmatch(text)
    if match is None:
        if _isIPv6(text):
            raise ValueError(f"an IPv6 address goes in brackets: [{text}]")
        if text.startswith("thing:"):
            return _thingTarget(text)
        if re.match(r"[A-Za-z]\w*:.", text):
            return Target(text, _serverOf(text), True)
        raise ValueError(f"{text!r} is not HOST, HOST:PORT, [IPV6]:PORT or an endpoint string")
    if match["v6"] is not None and not _isIPv6(match["v6"]):
        raise ValueError(f"{match['v6']!r} is not an IPv6 address")
    port = _port(int(match["port"] or DEFAULT_PORT))
    return Target(text, (host(match["v6"] or match["host"]), port), False)


def serverTarget(host: str, port: int) -> Target:
    """
    Make a target of a host and a port.

    :param host: a name, or an address.
    :param port: the port.
    :return: the target.
    :raises ValueError: if they can be none.
    """
    return parseTarget(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _thingTarget(text: str) -> Target:
    """A session as programs write it; what connects below it is looked at later."""
    from thing.endpoints.parsers import describeClient

    positional: list[str] = []
    named: dict[str, str] = {}
    for field in _FIELD.findall(text)[1:-1]:
        match = _NAMED.match(field)
        if match is None:
            positional.append(_unescaped(field))
        else:
            named[_unescaped(match[1])] = _unescaped(match[2])
    described = describeClient(positional, named)
    server = described.server
    if server is None:
        return Target(described.chosen["endpoint"], None, True, described)
    return Target(serverTarget(*server).text, server, True, described)


def _unescaped(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL)


def _port(port: int) -> int:
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    return port


def _isIPv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _serverOf(description: str) -> tuple[str, int] | None:
    """The host and the port in an endpoint string, if it is of a kind that has them first."""
    prefix, *fields = map(_unescaped, _FIELD.findall(description))
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    positional = [field for field in fields if field and "=" not in field] + ["", ""]
    name, port = (
        named.get("host", positional[0]),
        named.get("port", positional["host" not in named]),
    )
    if prefix not in _WITH_HOST or not name:
        return None
    try:
        number = int(port)  # As Twisted reads it.
    except ValueError:
        return None
    return host(name), _port(number)
