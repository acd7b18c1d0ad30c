"""What clients and servers are given, looked at when it is given."""

from __future__ import annotations

from collections.abc import Mapping

from thing.arguments import checkCoroutine, checkKind
from thing.core.messages import Role
from thing.core.settings import ServerSettings, Settings
from thing.trust.interfaces import checkRole


def check_settings(settings: object, kind: type[Settings]) -> None:
    """
    Refuse what are no settings.

    :param settings: what was given.
    :param kind: what they are to be.
    :raises TypeError: if they are of another kind.
    """
    checkKind("settings", settings, kind, f"{kind.__name__}(...)")


def check_authorizer(authorizer: object, kind: type[Settings]) -> None:
    """
    Refuse what cannot judge the peers, or not on asyncio.

    :param authorizer: what was given.
    :param kind: what this side's settings are.
    :raises TypeError: if it is of another kind.
    """
    checkRole(authorizer, Role.SERVER if kind is ServerSettings else Role.CLIENT)
    if hasattr(authorizer, "keysAnnounced") and not hasattr(authorizer, "keys_announced"):
        name = type(authorizer).__name__
        raise TypeError(f"{name} waits on the reactor: thing.asyncio.KnownServers is for asyncio")


def check_on_request(on_request: object) -> None:
    """
    Refuse what answers no requests.

    :param on_request: what was given; None for nothing.
    :raises TypeError: if it is no coroutine function.
    """
    if on_request is not None:
        checkCoroutine("on_request", on_request)


def check_streams(streams: object) -> None:
    """
    Refuse what serves no streams.

    :param streams: what was given.
    :raises TypeError: unless it is a mapping, of labels to coroutine functions.
    """
    checkKind("streams", streams, Mapping, 'a mapping, as {"label": handler}')
    assert isinstance(streams, Mapping)
    for label, handler in streams.items():
        checkKind("the label of a stream", label, str, "a text")
        checkCoroutine(f"the handler of {label!r:.80}", handler)
