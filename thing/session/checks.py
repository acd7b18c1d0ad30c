"""
What factories, endpoints and services are given, looked at when it is given.

What a peer sends is not looked at here.
"""

from __future__ import annotations

from typing import Any

from thing.arguments import checkCallable, checkKind, checkMethods, described
from thing.core.limits import Limits
from thing.core.messages import Role
from thing.core.settings import ClientSettings, ServerSettings
from thing.session.protocol import ThingProtocol
from thing.trust.interfaces import checkAuthorizer

_SETTINGS: dict[Role | None, type | tuple[type, ...]] = {
    None: (ServerSettings, ClientSettings),
    Role.SERVER: ServerSettings,
    Role.CLIENT: ClientSettings,
}


def roleOf(settings: object, role: Role | None = None) -> Role:
    """
    Tell for which role settings are.

    :param settings: what was given.
    :param role: which they must be for; None for either.
    :return: the role.
    :raises TypeError: if they are none, or for the other role.
    """
    wanted = {Role.SERVER: "ServerSettings(...)", Role.CLIENT: "ClientSettings(...)"}
    words = " or ".join(wanted.values()) if role is None else wanted[role]
    checkKind("settings", settings, _SETTINGS[role], words)
    return Role.SERVER if isinstance(settings, ServerSettings) else Role.CLIENT


def checkParts(authorizer: object, role: Role, limits: object, **others: object) -> None:
    """
    Refuse what a factory can do nothing with.

    :param authorizer: whom to believe.
    :param role: the factory's.
    :param limits: how much it takes on; None for the usual.
    :param others: its clock, and what is to be called.
    :raises TypeError: if one of them is something else.
    """
    checkAuthorizer(authorizer, role)
    if limits is not None:
        checkKind("limits", limits, Limits, "Limits(...)")
    clock = others.pop("clock")
    if clock is not None:
        checkMethods("clock", clock, ("seconds", "callLater"), "a clock, as task.Clock()")
    for name, other in others.items():
        checkCallable(name, other)


def checkProtocol(protocol: Any) -> None:
    """
    Refuse what builds no sessions.

    :param protocol: the ``protocol`` of a factory.
    :raises TypeError: if it cannot be called, or is a class of something else.
    """
    wrong = isinstance(protocol, type) and not issubclass(protocol, ThingProtocol)
    if wrong or not callable(protocol):
        raise TypeError(f"protocol is a subclass of ThingProtocol, not {described(protocol)}")


def checkEndpoint(endpoint: object, method: str) -> None:
    """
    Refuse what is no endpoint of Twisted's.

    :param endpoint: what was given.
    :param method: what it is asked for: ``listen`` or ``connect``.
    :raises TypeError: if it cannot do that.
    """
    parser = "serverFromString" if method == "listen" else "clientFromString"
    wanted = f"an endpoint, as {parser}(reactor, 'tcp:...')"
    checkMethods("endpoint", endpoint, (method,), wanted)
