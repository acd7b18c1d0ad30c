"""
The endpoint descriptions ``thing:...`` of Twisted's ``serverFromString`` and ``clientFromString``.

What can be written is in :data:`SERVER_FIELDS` and :data:`CLIENT_FIELDS`: the tables of trust and
of the session, and where to listen or connect, which is here. What is wrong in a description
fails when it is parsed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from thing.endpoints.endpoints import ThingClientEndpoint, ThingServerEndpoint
from thing.errors import CredentialError, LocalProtocolError
from thing.session.clock import SteadyClock
from thing.session.hosts import CONNECT_TIMEOUT, HostEndpoint
from thing.session.settable import CLIENT_SETTINGS, SERVER_SETTINGS, limitsOf, settingsOf
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS
from thing.trust.chosen import ClientChoice, ServerChoice
from thing.trust.fresh import FreshTrust
from thing.trust.keywords import (
    Keyword,
    Where,
    count,
    duration,
    host,
    port,
    readKeywords,
    writtenIn,
)
from thing.trust.live import LiveTrust
from thing.trust.makers import PLATFORM

BACKLOG = 50
"""How many connections may wait to be accepted, as in Twisted's own descriptions."""

_SERVER_STREAM: tuple[Keyword, ...] = (
    Keyword("port", "N", "the TCP port; the first field, too", port),
    Keyword("interface", "ADDRESS", "the address to listen on", shown="all of IPv4"),
    Keyword("backlog", "N", "connections that may wait to be accepted", count, default=BACKLOG),
    Keyword(
        "endpoint",
        "ENDPOINT",
        "in place of a port, another description, its colons escaped",
        excludes=("port", "interface", "backlog"),
    ),
)

_CLIENT_STREAM: tuple[Keyword, ...] = (
    Keyword("host", "HOST", "the server's name or address; the first field, too", host),
    Keyword("port", "N", "its TCP port; the second field, too", port, needs=("host",)),
    Keyword(
        "timeout",
        "SECONDS",
        "for each attempt to connect",
        duration,
        default=CONNECT_TIMEOUT,
    ),
    Keyword("bindAddress", "ADDRESS", "the own address to connect from"),
    Keyword(
        "endpoint",
        "ENDPOINT",
        "in place of host and port, another description, its colons escaped",
        excludes=("host", "port", "timeout", "bindAddress"),
    ),
)

SERVER_FIELDS = writtenIn(Where.ENDPOINT, (*_SERVER_STREAM, *SERVER_KEYWORDS, *SERVER_SETTINGS))
"""All that a server's description may have."""

CLIENT_FIELDS = writtenIn(Where.ENDPOINT, (*_CLIENT_STREAM, *CLIENT_KEYWORDS, *CLIENT_SETTINGS))
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
    with _errorsAsValueError():
        given = _namedFields(SERVER_FIELDS, ("port",), positional, named)
        trust, rest = _split(SERVER_KEYWORDS, given)
        chosen = readKeywords((*_SERVER_STREAM, *SERVER_SETTINGS), rest)
        choice = ServerChoice.read(_withAbsolutePaths(SERVER_KEYWORDS, trust))
        endpoint = ThingServerEndpoint(
            _listenOn(reactor, chosen),
            choice.settings(**settingsOf(SERVER_SETTINGS, chosen)),
            choice.authorizer,
            limits=limitsOf(chosen),
            clock=SteadyClock.of(reactor),
        )
        endpoint.factory.trust = LiveTrust(choice, endpoint.factory.clock)
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
    described = describeClient(positional, named)
    endpoint = described.endpoint(reactor)
    with _errorsAsValueError():
        trust = _withAbsolutePaths(CLIENT_KEYWORDS, described.trust)
        choice = ClientChoice.read(trust, described.server)
        thing = ThingClientEndpoint(
            endpoint,
            choice.settings(**described.settings),
            choice.authorizer,
            clock=SteadyClock.of(reactor),
        )
        thing.trust = FreshTrust(choice, thing.factory.clock)
        return thing


@dataclass(frozen=True, slots=True)
class ClientDescription:
    """What a client's description says, before a file is read or anything connected."""

    trust: Mapping[str, str]
    """The keys, and which server to believe, by the keywords of :mod:`thing.trust.choice`."""

    chosen: Mapping[str, Any]
    """All else."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of ``ClientSettings`` that are said."""
        return settingsOf(CLIENT_SETTINGS, self.chosen)

    @property
    def server(self) -> tuple[str, int] | None:
        """The server's host and port; None if another description says how to connect."""
        return (self.chosen["host"], self.chosen["port"]) if "host" in self.chosen else None

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """
        Make what connects, below Thing.

        :param reactor: the reactor.
        :return: the endpoint.
        :raises ValueError: if another description that it has is wrong.
        """
        if "endpoint" in self.chosen:
            inner: IStreamClientEndpoint = _inner(
                clientFromString, reactor, self.chosen["endpoint"]
            )
            return inner
        address = self.chosen.get("bindAddress")
        return HostEndpoint(
            reactor,
            self.chosen["host"],
            self.chosen["port"],
            self.chosen.get("timeout", CONNECT_TIMEOUT),
            None if address is None else (address, 0),
        )


def describeClient(positional: Sequence[str], named: Mapping[str, str]) -> ClientDescription:
    """
    Read a client's description.

    :param positional: its fields without a name, after ``thing``.
    :param named: its fields with a name.
    :return: what it says.
    :raises ValueError: if it is wrong; the message is one plain line.
    """
    with _errorsAsValueError():
        given = _namedFields(CLIENT_FIELDS, ("host", "port"), positional, named)
        trust, rest = _split(CLIENT_KEYWORDS, given)
        chosen = readKeywords((*_CLIENT_STREAM, *CLIENT_SETTINGS), rest)
        if "endpoint" not in chosen and not ("host" in chosen and "port" in chosen):
            raise ValueError("host and port, or endpoint, must be said")
        return ClientDescription(trust, chosen)


@contextmanager
def _errorsAsValueError() -> Iterator[None]:
    """Turn the errors of a choice into what Twisted's parsers raise."""
    try:
        yield
    except CredentialError as error:
        raise ValueError(str(error)) from None
    except LocalProtocolError as error:
        raise ValueError(error.detail) from None


def _namedFields(
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


def _withAbsolutePaths(keywords: Sequence[Keyword], given: Mapping[str, str]) -> dict[str, str]:
    """The same with whole paths: a daemon changes its directory before it reads files again."""
    files = {keyword.name for keyword in keywords if keyword.value == "FILE"}
    return {
        name: os.path.abspath(value) if name in files and value not in ("", PLATFORM) else value
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


def _inner(parse: Callable[..., Any], reactor: Any, description: str) -> Any:
    try:
        return parse(reactor, description)
    except Exception as error:  # A parser may raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"endpoint: {description!r}: {reason}") from None
