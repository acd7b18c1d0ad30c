"""
The endpoint descriptions ``thing:...`` of Twisted's ``serverFromString`` and ``clientFromString``.

One table for each says what can be written: :data:`SERVER_FIELDS` and
:data:`CLIENT_FIELDS`. What is wrong in a description fails when it is parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.core.records import Aead
from thing.core.settings import Settings
from thing.endpoints.endpoints import ThingClientEndpoint, ThingServerEndpoint
from thing.errors import CredentialError, LocalProtocolError
from thing.session.clock import SteadyClock
from thing.session.limits import Limits
from thing.session.live import LiveTrust
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS, ClientChoice, ServerChoice
from thing.trust.keywords import Keyword, readKeywords, seconds

BACKLOG = 50
"""How many connections may wait to be accepted, as in Twisted's own descriptions."""

CONNECT_TIMEOUT = 30.0
"""How long each attempt to connect may take, seconds, as in Twisted's own descriptions."""

_TTL = TtlPolicy()
_LIMITS = Limits()
_SETTINGS = Settings()


def _seconds(value: str) -> float:
    duration = seconds(value)
    if duration == 0:
        raise ValueError(f"{value!r} is not more than zero seconds")
    return duration


def _count(value: str) -> int:
    if re.fullmatch("0*[1-9][0-9]{0,8}", value) is None:
        raise ValueError(f"{value!r} is not a whole number above zero")
    return int(value)


def _port(value: str) -> int:
    if re.fullmatch("[0-9]{1,5}", value) is None or int(value) > 0xFFFF:
        raise ValueError(f"{value!r} is not a port")
    return int(value)


def _names(registry: type[IntEnum]) -> Callable[[str], tuple[IntEnum, ...]]:
    """What reads names of a registry, with commas between, the preferred first."""

    def read(value: str) -> tuple[IntEnum, ...]:
        try:
            return tuple(registry[name.strip().upper()] for name in value.split(","))
        except KeyError:
            known = ", ".join(registry.__members__)
            raise ValueError(f"{value!r}: known are {known}") from None

    return read


def _namesOf(members: Sequence[IntEnum]) -> str:
    return ",".join(member.name for member in members)


_SERVER_STREAM: tuple[Keyword, ...] = (
    Keyword("port", "N", "the TCP port; the first field, too", _port),
    Keyword("interface", "ADDRESS", "the address to listen on", default="all of IPv4"),
    Keyword(
        "backlog", "N", "connections that may wait to be accepted", _count, default=f"{BACKLOG}"
    ),
    Keyword(
        "endpoint",
        "ENDPOINT",
        "in place of a port, another description, its colons escaped",
        excludes=("port", "interface", "backlog"),
    ),
)

_CLIENT_STREAM: tuple[Keyword, ...] = (
    Keyword("host", "HOST", "the server's name or address; the first field, too"),
    Keyword("port", "N", "its TCP port; the second field, too", _port, needs=("host",)),
    Keyword(
        "timeout",
        "SECONDS",
        "for each attempt to connect",
        _seconds,
        default=f"{CONNECT_TIMEOUT:g}",
    ),
    Keyword("bindAddress", "ADDRESS", "the own address to connect from"),
    Keyword(
        "endpoint",
        "ENDPOINT",
        "in place of host and port, another description, its colons escaped",
        excludes=("host", "port", "timeout", "bindAddress"),
    ),
)

_SESSION: tuple[Keyword, ...] = (
    Keyword(
        "handshakeTimeout",
        "SECONDS",
        "for a handshake",
        _seconds,
        default=f"{_SETTINGS.handshakeTimeout:g}",
    ),
    Keyword(
        "closeTimeout",
        "SECONDS",
        "for an orderly close",
        _seconds,
        default=f"{_SETTINGS.closeTimeout:g}",
    ),
    Keyword(
        "pauseLimit",
        "SECONDS",
        "how long reading may be held back",
        _seconds,
        default="a third of the TTL",
    ),
    Keyword(
        "groups",
        "NAMES",
        "the key exchange groups, the preferred first, commas between",
        _names(GroupName),
        default=_namesOf(_SETTINGS.groups),
    ),
    Keyword(
        "aeads",
        "NAMES",
        "the AEADs, the preferred first, commas between",
        _names(Aead),
        default=_namesOf(_SETTINGS.aeads),
    ),
)
"""Keywords that are settings of the same name."""

_SERVER_TTL = {
    Keyword(
        "ttl", "SECONDS", "if the client asks for none", _seconds, default=f"{_TTL.default:g}"
    ): "default",
    Keyword(
        "minTtl", "SECONDS", "the shortest granted", _seconds, default=f"{_TTL.minimum:g}"
    ): "minimum",
    Keyword(
        "maxTtl", "SECONDS", "the longest granted", _seconds, default=f"{_TTL.maximum:g}"
    ): "maximum",
    Keyword(
        "beatsPerSecond",
        "N",
        "of all clients; TTLs grow to hold it",
        _count,
        default=f"{_TTL.beatsPerSecond:g}",
    ): "beatsPerSecond",
}
"""Keywords, and the fields of :class:`TtlPolicy` that they are."""

_SERVER_LIMITS = {
    Keyword(
        "maxSessions", "N", "at once, with handshakes", _count, default=f"{_LIMITS.sessions}"
    ): "sessions",
    Keyword(
        "maxSessionsPerAddress",
        "N",
        "of them, from one network address",
        _count,
        default=f"{_LIMITS.sessionsPerAddress}",
    ): "sessionsPerAddress",
    Keyword(
        "maxHandshakes", "N", "in progress at once", _count, default=f"{_LIMITS.handshakes}"
    ): "handshakes",
    Keyword(
        "maxHandshakesPerAddress",
        "N",
        "of them, from one network address",
        _count,
        default=f"{_LIMITS.handshakesPerAddress}",
    ): "handshakesPerAddress",
    Keyword(
        "retryAfter",
        "SECONDS",
        "told to clients that are turned away",
        seconds,
        default=f"{_LIMITS.retryAfter:g}",
    ): "retryAfter",
}
"""Keywords, and the fields of :class:`Limits` that they are."""

_CLIENT_TTL = Keyword(
    "ttl", "SECONDS", "the TTL to ask for", _seconds, default="the server's choice"
)

SERVER_FIELDS = (
    *_SERVER_STREAM,
    *SERVER_KEYWORDS,
    *_SERVER_TTL,
    *_SESSION,
    *_SERVER_LIMITS,
)
"""All that a server's description may have."""

CLIENT_FIELDS = (*_CLIENT_STREAM, *CLIENT_KEYWORDS, _CLIENT_TTL, *_SESSION)
"""All that a client's description may have."""


def parseServer(
    reactor: Any, positional: Sequence[str], named: Mapping[str, str]
) -> ThingServerEndpoint:
    """
    Understand a server's description.

    :param reactor: the reactor.
    :param positional: its fields without a name, after ``thing``.
    :param named: its fields with a name.
    :return: the endpoint.
    :raises ValueError: if it is wrong in any way; the message is one plain line.
    """
    with _plainly():
        given = _nameAll(SERVER_FIELDS, ("port",), positional, named)
        trust, rest = _split(SERVER_KEYWORDS, given)
        chosen = readKeywords((*_SERVER_STREAM, *_SERVER_TTL, *_SESSION, *_SERVER_LIMITS), rest)
        choice = ServerChoice.read(_absolute(SERVER_KEYWORDS, trust))
        endpoint = ThingServerEndpoint(
            _listenOn(reactor, chosen),
            choice.settings(ttl=TtlPolicy(**_fields(_SERVER_TTL, chosen)), **_settings(chosen)),
            choice.authorizer,
            limits=Limits(**_fields(_SERVER_LIMITS, chosen)),
            clock=SteadyClock.of(reactor),
        )
        endpoint.factory.trust = LiveTrust(choice, endpoint.factory)
        return endpoint


def parseClient(
    reactor: Any, positional: Sequence[str], named: Mapping[str, str]
) -> ThingClientEndpoint:
    """
    Understand a client's description.

    :param reactor: the reactor.
    :param positional: its fields without a name, after ``thing``.
    :param named: its fields with a name.
    :return: the endpoint.
    :raises ValueError: if it is wrong in any way; the message is one plain line.
    """
    with _plainly():
        given = _nameAll(CLIENT_FIELDS, ("host", "port"), positional, named)
        trust, rest = _split(CLIENT_KEYWORDS, given)
        chosen = readKeywords((*_CLIENT_STREAM, _CLIENT_TTL, *_SESSION), rest)
        endpoint = _connectBy(reactor, chosen)
        server = (chosen["host"], chosen["port"]) if "host" in chosen else None
        choice = ClientChoice.read(trust, server)
        return ThingClientEndpoint(
            endpoint,
            choice.settings(requestedTtl=chosen.get("ttl"), **_settings(chosen)),
            choice.authorizer,
            clock=SteadyClock.of(reactor),
        )


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn the errors of a choice into what Twisted's parsers raise."""
    try:
        yield
    except CredentialError as error:
        raise ValueError(str(error)) from None
    except LocalProtocolError as error:
        raise ValueError(error.detail) from None


def _nameAll(
    table: Sequence[Keyword],
    names: Sequence[str],
    positional: Sequence[str],
    named: Mapping[str, str],
) -> dict[str, str]:
    """Give fields without a name those names that are not used, in order; refuse strange ones."""
    free = [name for name in names if name not in named]
    if len(positional) > len(free):
        raise ValueError(
            f"{positional[len(free)]!r} is a field too many;"
            " a colon inside a value is written with a backslash before it"
        )
    known = [keyword.name for keyword in table]
    for name in named:
        if name not in known:
            raise ValueError(f"{name} is not known; known are {', '.join(known)}")
    return {**dict(zip(free, positional, strict=False)), **named}


def _absolute(keywords: Sequence[Keyword], given: Mapping[str, str]) -> dict[str, str]:
    """The same with whole paths: a daemon changes its directory before it reads files again."""
    files = {keyword.name for keyword in keywords if keyword.value == "FILE"}
    return {
        name: os.path.abspath(value) if name in files and value else value
        for name, value in given.items()
    }


def _split(
    keywords: Sequence[Keyword], given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What is of these keywords, and the rest."""
    names = {keyword.name for keyword in keywords}
    return (
        {name: value for name, value in given.items() if name in names},
        {name: value for name, value in given.items() if name not in names},
    )


def _fields(keywords: Mapping[Keyword, str], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen, by the fields' own names."""
    return {
        field: chosen[keyword.name] for keyword, field in keywords.items() if keyword.name in chosen
    }


def _settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: chosen[each.name] for each in _SESSION if each.name in chosen}


def _listenOn(reactor: Any, chosen: Mapping[str, Any]) -> IStreamServerEndpoint:
    if "endpoint" in chosen:
        inner: IStreamServerEndpoint = _inner(serverFromString, reactor, chosen["endpoint"])
        return inner
    if "port" not in chosen:
        raise ValueError("port or endpoint must be said")
    endpoint: IStreamServerEndpoint = TCP4ServerEndpoint(  # type: ignore[no-untyped-call]
        reactor, chosen["port"], chosen.get("backlog", BACKLOG), chosen.get("interface", "")
    )
    return endpoint


def _connectBy(reactor: Any, chosen: Mapping[str, Any]) -> IStreamClientEndpoint:
    if "endpoint" in chosen:
        inner: IStreamClientEndpoint = _inner(clientFromString, reactor, chosen["endpoint"])
        return inner
    if not ("host" in chosen and "port" in chosen):
        raise ValueError("host and port, or endpoint, must be said")
    address = chosen.get("bindAddress")
    return HostnameEndpoint(
        reactor,
        chosen["host"],
        chosen["port"],
        chosen.get("timeout", CONNECT_TIMEOUT),
        None if address is None else (address, 0),
    )


def _inner(parse: Callable[..., Any], reactor: Any, description: str) -> Any:
    try:
        return parse(reactor, description)
    except Exception as error:  # A parser may raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"endpoint: {description!r}: {reason}") from None
